//! SCRIPT: the cache of scripts, and the end of one that runs too long.

use crate::command::client::{Context, Step};
use crate::command::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::script::{Running, Sha};

type Outcome = Result<Step, ErrorReply>;

pub(super) const SCRIPT: Command = Command {
    name: "SCRIPT",
    arity: Arity::AtLeast(2),
    flags: Flags::NONE,
    acl: Acl::NONE,
    keys: &[],
    docs: Docs {
        group: Group::Scripting,
        since: "2.6.0",
        complexity: "Depends on subcommand.",
        summary: "Commands about cached Lua scripts.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Container,
    subcommands: &[
        Command {
            name: "DEBUG",
            arity: Arity::Exactly(3),
            flags: Flags::NOSCRIPT,
            acl: Acl::SCRIPTING,
            keys: &[],
            docs: Docs {
                group: Group::Scripting,
                since: "3.2.0",
                complexity: "O(1)",
                summary: "Would begin or end debugging sessions of Lua scripts.",
                arguments: &[Argument::one_of(
                    "mode",
                    &[
                        Argument::word("yes", "YES"),
                        Argument::word("sync", "SYNC"),
                        Argument::word("no", "NO"),
                    ],
                )],
                history: &[],
                tips: &[],
                deprecated: None,
            },
            run: Run::Client(script_debug),
            subcommands: &[],
        },
        Command {
            name: "EXISTS",
            arity: Arity::AtLeast(3),
            flags: Flags::NOSCRIPT,
            acl: Acl::SCRIPTING,
            keys: &[],
            docs: Docs {
                group: Group::Scripting,
                since: "2.6.0",
                complexity: "O(N) with N being the number of scripts to check (so checking a single script is an O(1) operation).",
                summary: "Tells which Lua scripts are cached.",
                arguments: &[Argument::string("sha1").multiple()],
                history: &[],
                tips: &[
                    "request_policy:all_shards",
                    "response_policy:agg_logical_and",
                ],
                deprecated: None,
            },
            run: Run::Client(script_exists),
            subcommands: &[],
        },
        Command {
            name: "FLUSH",
            arity: Arity::AtLeast(2),
            flags: Flags::NOSCRIPT,
            acl: Acl::SCRIPTING,
            keys: &[],
            docs: Docs {
                group: Group::Scripting,
                since: "2.6.0",
                complexity: "O(N) with N being the number of scripts in cache",
                summary: "Drops all cached Lua scripts.",
                arguments: &[Argument::one_of(
                    "flush-type",
                    &[
                        Argument::word("async", "ASYNC"),
                        Argument::word("sync", "SYNC"),
                    ],
                )
                .optional()
                .since("6.2.0")],
                history: &[("6.2.0", "`ASYNC` and `SYNC` say how the memory is freed.")],
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                deprecated: None,
            },
            run: Run::Client(script_flush),
            subcommands: &[],
        },
        Command {
            name: "HELP",
            arity: Arity::Exactly(2),
            flags: Flags::LOADING.and(Flags::STALE),
            acl: Acl::SCRIPTING,
            keys: &[],
            docs: Docs {
                group: Group::Scripting,
                since: "5.0.0",
                complexity: "O(1)",
                summary: "Explains the subcommands.",
                arguments: &[],
                history: &[],
                tips: &[],
                deprecated: None,
            },
            run: Run::Client(script_help),
            subcommands: &[],
        },
        Command {
            name: "KILL",
            arity: Arity::Exactly(2),
            flags: Flags::NOSCRIPT.and(Flags::ALLOW_BUSY),
            acl: Acl::SCRIPTING,
            keys: &[],
            docs: Docs {
                group: Group::Scripting,
                since: "2.6.0",
                complexity: "O(1)",
                summary: "Ends a running Lua script that has not written yet.",
                arguments: &[],
                history: &[],
                tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
                deprecated: None,
            },
            run: Run::Client(script_kill),
            subcommands: &[],
        },
        Command {
            name: "LOAD",
            arity: Arity::Exactly(3),
            flags: Flags::NOSCRIPT.and(Flags::STALE),
            acl: Acl::SCRIPTING,
            keys: &[],
            docs: Docs {
                group: Group::Scripting,
                since: "2.6.0",
                complexity: "O(N) with N being the length in bytes of the script body.",
                summary: "Caches a Lua script without running it.",
                arguments: &[Argument::string("script")],
                history: &[],
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                deprecated: None,
            },
            run: Run::Client(script_load),
            subcommands: &[],
        },
    ],
};

fn script_debug(_: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.is(2, "no") {
        reply.ok();
        return Ok(Step::Done);
    }
    if args.is(2, "yes") || args.is(2, "sync") {
        return Err(ErrorReply::NO_SCRIPT_DEBUGGER);
    }
    Err(ErrorReply::SCRIPT_DEBUG_MODE)
}

fn script_exists(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let scripts = &context.core.scripting.scripts;
    reply.array(args.len() - 2);
    for digest in args.iter_from(2) {
        let known = Sha::parse(digest).is_some_and(|sha| scripts.find(&sha).is_some());
        reply.integer(known.into());
    }
    Ok(Step::Done)
}

fn script_flush(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let known = match args.len() {
        2 => true,
        3 => args.is(2, "sync") || args.is(2, "async"),
        _ => false,
    };
    if !known {
        return Err(ErrorReply::SCRIPT_FLUSH_OPTION);
    }
    context.core.scripting.scripts.flush();
    reply.ok();
    Ok(Step::Done)
}

fn script_help(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.help(
        "SCRIPT",
        &[
            (
                "DEBUG (YES|SYNC|NO)",
                &["Turn debugging off; this server has no debugger to turn on."],
            ),
            (
                "EXISTS <sha1> [<sha1> ...]",
                &["Tell for each digest whether its script is cached."],
            ),
            (
                "FLUSH [ASYNC|SYNC]",
                &["Drop all cached scripts. Both modes do it at once, on every core."],
            ),
            (
                "KILL",
                &["End a script that runs too long and has not written."],
            ),
            ("LOAD <script>", &["Cache a script without running it."]),
        ],
    );
    Ok(Step::Done)
}

fn script_kill(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    kill(context, reply, true)
}

/// SCRIPT KILL and FUNCTION KILL.
pub(super) fn kill(context: &mut Context<'_>, reply: &mut Reply<'_>, eval: bool) -> Outcome {
    match context.core.scripting.scripts.kill(eval) {
        Ok(true) => {
            reply.ok();
            Ok(Step::Done)
        }
        Ok(false) => Err(ErrorReply::NOT_BUSY),
        Err(Running {
            has_written: true, ..
        }) => Err(ErrorReply::UNKILLABLE),
        Err(Running { is_eval: true, .. }) => Err(ErrorReply::BUSY_SCRIPT),
        Err(_) => Err(ErrorReply::BUSY_FUNCTION),
    }
}

fn script_load(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let body = args.get(2);
    let sha = Sha::of(body);
    if context.core.scripting.scripts.find(&sha).is_none() {
        context.core.scripting.learn(sha, body)?;
    }
    reply.bulk(&sha.0);
    Ok(Step::Done)
}
