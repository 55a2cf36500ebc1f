//! Connection commands: PING, ECHO, SELECT, HELLO, AUTH, QUIT, RESET, CLIENT.

use crate::base::number::parse_i64;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::client::{Context, Step};
use super::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "ECHO",
        arity: Arity::Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "1.0.0",
            complexity: "O(1)",
            summary: "Gives back what it is given.",
            arguments: &[Argument::string("message")],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(echo),
        subcommands: &[],
    },
    Command {
        name: "PING",
        arity: Arity::AtLeast(1),
        flags: Flags::FAST,
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "1.0.0",
            complexity: "O(1)",
            summary: "Answers, to show that the server is there.",
            arguments: &[Argument::string("message").optional()],
            history: &[],
            tips: &[
                "request_policy:all_shards",
                "response_policy:all_succeeded",
            ],
            deprecated: None,
        },
        run: Run::Client(ping),
        subcommands: &[],
    },
    Command {
        name: "SELECT",
        arity: Arity::Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "1.0.0",
            complexity: "O(1)",
            summary: "Chooses the database that later commands work on.",
            arguments: &[Argument::integer("index")],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(select),
        subcommands: &[],
    },
];

fn echo(_: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<Step, ErrorReply> {
    reply.bulk(args.get(1));
    Ok(Step::Done)
}

fn ping(_: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<Step, ErrorReply> {
    match args.len() {
        1 => reply.simple("PONG"),
        2 => reply.bulk(args.get(1)),
        _ => return Err(ErrorReply::wrong_arity("ping")),
    }
    Ok(Step::Done)
}

fn select(
    context: &mut Context<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Step, ErrorReply> {
    let db = parse_i64(args.get(1)).ok_or(ErrorReply::INVALID_DB)?;
    match u32::try_from(db) {
        Ok(db) if db < context.core.config.databases => context.client.db = db,
        _ => return Err(ErrorReply::DB_OUT_OF_RANGE),
    }
    reply.ok();
    Ok(Step::Done)
}
