//! Connection commands: who the client is, which protocol and database it uses. CLIENT is in `client.rs`, its lines in
//! `line.rs`.

mod client;
mod line;
mod tracking;

pub use line::{ConnectionFacts, client_line, list_lines};

use crate::base::number::parse_i64;
use crate::config::Config;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::client::{Client, Context, ReplyMode, Step};
use super::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};

/// The version of Redis whose behaviour clients may expect: tools switch on it.
pub const REDIS_VERSION: &str = "7.2.4";

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "AUTH",
        arity: Arity::AtLeast(2),
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::NO_AUTH)
            .and(Flags::ALLOW_BUSY),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "1.0.0",
            complexity: "O(N), N being the passwords of the user",
            summary: "Proves who the client is with a password, or a user name and a password.",
            arguments: &[
                Argument::string("username").optional().since("6.0.0"),
                Argument::string("password"),
            ],
            history: &[("6.0.0", "A user name may come before the password.")],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(auth),
        subcommands: &[],
    },
    Command {
        name: "CLIENT",
        arity: Arity::AtLeast(2),
        flags: Flags::NONE,
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "2.4.0",
            complexity: "That of the subcommand",
            summary: "Container of the commands about client connections.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Container,
        subcommands: client::SUBCOMMANDS,
    },
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
        name: "HELLO",
        arity: Arity::AtLeast(1),
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::NO_AUTH)
            .and(Flags::ALLOW_BUSY),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "6.0.0",
            complexity: "O(1)",
            summary: "Agrees on the protocol version, and may authenticate and name the connection.",
            arguments: &[Argument::block(
                "arguments",
                &[
                    Argument::integer("protover"),
                    Argument::block(
                        "username_password",
                        &[Argument::string("username"), Argument::string("password")],
                    )
                    .token("AUTH")
                    .optional(),
                    Argument::string("clientname").token("SETNAME").optional(),
                ],
            )
            .optional()],
            history: &[(
                "6.2.0",
                "Without arguments it describes the connection and changes nothing.",
            )],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(hello),
        subcommands: &[],
    },
    Command {
        name: "PING",
        arity: Arity::AtLeast(1),
        flags: Flags::FAST
            .and(Flags::WHILE_SUBSCRIBED)
            .and(Flags::TELLS_TROUBLE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "1.0.0",
            complexity: "O(1)",
            summary: "Answers, to show that the server is there.",
            arguments: &[Argument::string("message").optional()],
            history: &[],
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            deprecated: None,
        },
        run: Run::Client(ping),
        subcommands: &[],
    },
    Command {
        name: "QUIT",
        arity: Arity::AtLeast(1),
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::NO_AUTH)
            .and(Flags::ALLOW_BUSY)
            .and(Flags::IMMEDIATE)
            .and(Flags::WHILE_SUBSCRIBED),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "1.0.0",
            complexity: "O(1)",
            summary: "Closes the connection.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: Some(("7.2.0", "just closing the connection")),
        },
        run: Run::Client(quit),
        subcommands: &[],
    },
    Command {
        name: "RESET",
        arity: Arity::Exactly(1),
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::NO_AUTH)
            .and(Flags::ALLOW_BUSY)
            .and(Flags::IMMEDIATE)
            .and(Flags::WHILE_SUBSCRIBED),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "6.2.0",
            complexity: "O(1)",
            summary: "Brings the connection back to the state of a new one.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(reset),
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

fn ping(
    context: &mut Context<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Step, ErrorReply> {
    match args.len() {
        1 | 2 if context.client.subscribed && !reply.is_resp3() => {
            // The shape of a message, because that is what such a client expects.
            reply.array(2);
            reply.bulk(b"pong");
            reply.bulk(args.opt(1).unwrap_or_default());
        }
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
    let db = parse_i64(args.get(1)).ok_or(ErrorReply::NOT_INTEGER)?;
    if i32::try_from(db).is_err() {
        return Err(ErrorReply::out_of_range(i32::MIN.into(), i32::MAX.into()));
    }
    if context.core.config.cluster_enabled && db != 0 {
        return Err(ErrorReply::CLUSTER_SELECT);
    }
    match u32::try_from(db) {
        Ok(db) if db < context.core.config.databases => context.client.db = db,
        _ => return Err(ErrorReply::DB_OUT_OF_RANGE),
    }
    reply.ok();
    Ok(Step::Done)
}

fn auth(
    context: &mut Context<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Step, ErrorReply> {
    let (user, password): (&[u8], &[u8]) = match args.len() {
        2 if context.core.users.default_user().needs_no_password() => {
            return Err(ErrorReply::AUTH_NO_PASSWORD);
        }
        2 => (b"default", args.get(1)),
        3 => (args.get(1), args.get(2)),
        _ => return Err(ErrorReply::SYNTAX),
    };
    authenticate(context, user, password)?;
    reply.ok();
    Ok(Step::Done)
}

/// Makes the client another user, if the password is right. The core writes down what is refused.
fn authenticate(context: &mut Context<'_>, name: &[u8], password: &[u8]) -> Result<(), ErrorReply> {
    match context.core.users.get(name) {
        Some(user) if user.accepts(password) => {
            context.client.become_user(user.clone());
            Ok(())
        }
        _ => {
            context.client.denied = Some(name.to_vec());
            Err(ErrorReply::WRONG_PASS)
        }
    }
}

fn hello(
    context: &mut Context<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Step, ErrorReply> {
    let resp3 = match args.opt(1).map(parse_i64) {
        None => None,
        Some(None) => return Err(ErrorReply::PROTO_NOT_INTEGER),
        Some(Some(2)) => Some(false),
        Some(Some(3)) => Some(true),
        Some(Some(_)) => return Err(ErrorReply::NO_PROTO),
    };
    let (mut credentials, mut name) = (None, None);
    let mut at = 2;
    while at < args.len() {
        let more = args.len() - 1 - at;
        if args.is(at, "AUTH") && more >= 2 {
            credentials = Some((args.get(at + 1), args.get(at + 2)));
            at += 3;
        } else if args.is(at, "SETNAME") && more >= 1 {
            name = Some(client::checked_name(args.get(at + 1))?);
            at += 2;
        } else {
            return Err(ErrorReply::hello_option(args.get(at)));
        }
    }
    if let Some((user, password)) = credentials {
        authenticate(context, user, password)?;
    }
    if !context.client.has_proved() {
        return Err(ErrorReply::HELLO_NO_AUTH);
    }
    if let Some(name) = name {
        context.client.name = name.to_vec();
    }
    if let Some(resp3) = resp3 {
        context.client.resp3 = resp3;
        context.client.refresh();
        reply.set_resp3(resp3);
    }
    hello_reply(context.client, context.core.config, reply);
    Ok(Step::Done)
}

fn hello_reply(client: &Client, config: &Config, reply: &mut Reply<'_>) {
    reply.map(7);
    for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(if client.resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(client.id as i64);
    let mode = match config.cluster_enabled {
        true => "cluster",
        false => "standalone",
    };
    for (name, value) in [("mode", mode), ("role", "master")] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
}

fn quit(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Result<Step, ErrorReply> {
    reply.ok();
    Ok(Step::Close)
}

/// The library's name and version stay: the same library still speaks.
fn reset(
    context: &mut Context<'_>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Step, ErrorReply> {
    let client = &mut *context.client;
    client.multi = None;
    client.monitor = false;
    client.db = 0;
    client.resp3 = false;
    client.name.clear();
    client.reply_mode = ReplyMode::On;
    client.no_evict = false;
    client.no_touch = false;
    (client.asking, client.readonly) = (false, false);
    client.tracking_changed = client.tracking.take().is_some();
    client.refresh();
    client.become_default(context.core.users);
    reply.set_resp3(false);
    reply.simple("RESET");
    Ok(Step::Reset)
}

#[cfg(test)]
mod tests;
