//! SLOWLOG: the commands that took longest.

use crate::base::number::parse_i64;
use crate::command::client::{Context, Step};
use crate::command::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::Outcome;

/// Entries that SLOWLOG GET gives when it is not told how many.
const DEFAULT_COUNT: i64 = 10;

pub(super) const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "GET",
        arity: Arity::AtLeast(2),
        flags: Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.2.12",
            complexity: "O(N), N being the entries returned",
            summary: "Reads entries of the slow log, the newest first.",
            arguments: &[Argument::integer("count").optional()],
            history: &[("4.0.0", "The client's address and name in each entry.")],
            tips: &["request_policy:all_nodes", "nondeterministic_output"],
            deprecated: None,
        },
        run: Run::Client(slowlog_get),
        subcommands: &[],
    },
    Command {
        name: "HELP",
        arity: Arity::Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "6.2.0",
            complexity: "O(1)",
            summary: "Lists the subcommands.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(slowlog_help),
        subcommands: &[],
    },
    Command {
        name: "LEN",
        arity: Arity::Exactly(2),
        flags: Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.2.12",
            complexity: "O(1)",
            summary: "Counts the entries of the slow log.",
            arguments: &[],
            history: &[],
            tips: &[
                "request_policy:all_nodes",
                "response_policy:agg_sum",
                "nondeterministic_output",
            ],
            deprecated: None,
        },
        run: Run::Client(slowlog_len),
        subcommands: &[],
    },
    Command {
        name: "RESET",
        arity: Arity::Exactly(2),
        flags: Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.2.12",
            complexity: "O(N), N being the entries in the log",
            summary: "Empties the slow log.",
            arguments: &[],
            history: &[],
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            deprecated: None,
        },
        run: Run::Client(slowlog_reset),
        subcommands: &[],
    },
];

fn slowlog_get(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let count = match args.len() {
        2 => DEFAULT_COUNT,
        3 => parse_i64(args.get(2))
            .filter(|count| *count >= -1)
            .ok_or(ErrorReply::SLOWLOG_COUNT)?,
        _ => return Err(ErrorReply::subcommand_syntax(args.get(1), "SLOWLOG")),
    };
    // -1 asks for all.
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let entries = context.core.observatory.slow_log.newest(count);
    reply.array(entries.len());
    for entry in entries {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.time_s);
        reply.integer(entry.duration_us as i64);
        reply.array(entry.args.len());
        for arg in &entry.args {
            reply.bulk(arg);
        }
        reply.bulk(entry.peer.as_bytes());
        reply.bulk(&entry.name);
    }
    Ok(Step::Done)
}

fn slowlog_len(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.count(context.core.observatory.slow_log.len());
    Ok(Step::Done)
}

fn slowlog_reset(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    context.core.observatory.slow_log.reset();
    reply.ok();
    Ok(Step::Done)
}

fn slowlog_help(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.help(
        "SLOWLOG",
        &[
            (
                "GET [<count>]",
                &[
                    "The newest entries (default: 10, -1 means all), each with its id, the time it",
                    "ended, its duration in microseconds, its arguments, and the client's address and",
                    "name.",
                ],
            ),
            ("LEN", &["How many entries there are."]),
            ("RESET", &["Forgets all entries."]),
        ],
    );
    Ok(Step::Done)
}
