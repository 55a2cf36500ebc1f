//! Server commands: what the server is, how it is set up, what it has counted, and how it stops.

pub mod client_classes;
mod command;
mod config;
mod debug;
mod debug_tools;
pub(super) mod digest;
mod info;
mod latency;
mod lolwut;
mod memory;
mod module;
mod slowlog;
mod snapshot;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk_tests;

pub(in crate::command) use command::access_of;
pub use snapshot::{prepare_reload, reload_snapshot, save_here};

use crate::base::clock::unix_us;
use crate::mesh::message::{CoreAnswer, CoreAsk};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::client::{Context, Step, Whom};
use super::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "COMMAND",
        arity: Arity::AtLeast(1),
        flags: Flags::LOADING.and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(N), N being the commands there are",
            summary: "Describes all commands.",
            arguments: &[],
            history: &[],
            tips: &["nondeterministic_output_order"],
            deprecated: None,
        },
        run: Run::Client(command::command),
        subcommands: command::SUBCOMMANDS,
    },
    Command {
        name: "CONFIG",
        arity: Arity::AtLeast(2),
        flags: Flags::NONE,
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.0.0",
            complexity: "That of the subcommand",
            summary: "Container of the commands about the configuration.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Container,
        subcommands: config::SUBCOMMANDS,
    },
    Command {
        name: "INFO",
        arity: Arity::AtLeast(1),
        flags: Flags::LOADING.and(Flags::STALE),
        acl: Acl::DANGEROUS,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "1.0.0",
            complexity: "O(1)",
            summary: "Describes the server and what it has counted.",
            arguments: &[Argument::string("section").optional().multiple()],
            history: &[("7.0.0", "Several sections in one call.")],
            tips: &[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ],
            deprecated: None,
        },
        run: Run::Client(info::info),
        subcommands: &[],
    },
    Command {
        name: "LOLWUT",
        arity: Arity::AtLeast(1),
        flags: Flags::READONLY.and(Flags::FAST),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "5.0.0",
            complexity: "",
            summary: "Draws something, and tells the version.",
            arguments: &[Argument::integer("version").token("VERSION").optional()],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(lolwut::lolwut),
        subcommands: &[],
    },
    Command {
        name: "MEMORY",
        arity: Arity::AtLeast(2),
        flags: Flags::NONE,
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "4.0.0",
            complexity: "That of the subcommand",
            summary: "Container of the commands about memory.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Container,
        subcommands: memory::SUBCOMMANDS,
    },
    Command {
        name: "MODULE",
        arity: Arity::AtLeast(2),
        flags: Flags::NONE,
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "4.0.0",
            complexity: "That of the subcommand",
            summary: "Container of the commands about modules.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Container,
        subcommands: module::SUBCOMMANDS,
    },
    Command {
        name: "SLOWLOG",
        arity: Arity::AtLeast(2),
        flags: Flags::NONE,
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.2.12",
            complexity: "That of the subcommand",
            summary: "Container of the commands about the slow log.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Container,
        subcommands: slowlog::SUBCOMMANDS,
    },
    Command {
        name: "LATENCY",
        arity: Arity::AtLeast(2),
        flags: Flags::NONE,
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.8.13",
            complexity: "That of the subcommand",
            summary: "Container of the commands about latency.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Container,
        subcommands: latency::SUBCOMMANDS,
    },
    Command {
        name: "MONITOR",
        arity: Arity::Exactly(1),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "1.0.0",
            complexity: "",
            summary: "Shows every command as it is processed.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(monitor),
        subcommands: &[],
    },
    Command {
        name: "TIME",
        arity: Arity::Exactly(1),
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.6.0",
            complexity: "O(1)",
            summary: "Reads the server's clock.",
            arguments: &[],
            history: &[],
            tips: &["nondeterministic_output"],
            deprecated: None,
        },
        run: Run::Client(time),
        subcommands: &[],
    },
    Command {
        name: "SHUTDOWN",
        arity: Arity::AtLeast(1),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::NO_MULTI)
            .and(Flags::ALLOW_BUSY),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "1.0.0",
            complexity: "O(N) when it saves, N being the keys in all databases, otherwise O(1)",
            summary: "Stops the server.",
            arguments: &[
                Argument::one_of(
                    "nosave_save",
                    &[
                        Argument::word("nosave", "NOSAVE"),
                        Argument::word("save", "SAVE"),
                    ],
                )
                .optional(),
                Argument::word("now", "NOW").optional().since("7.0.0"),
                Argument::word("force", "FORCE").optional().since("7.0.0"),
                Argument::word("abort", "ABORT").optional().since("7.0.0"),
            ],
            history: &[("7.0.0", "The modifiers `NOW`, `FORCE` and `ABORT`.")],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(shutdown),
        subcommands: &[],
    },
    snapshot::BGSAVE,
    snapshot::BGREWRITEAOF,
    snapshot::LASTSAVE,
    snapshot::SAVE,
    Command {
        name: "DEBUG",
        arity: Arity::AtLeast(2),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::SYSTEM),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "1.0.0",
            complexity: "That of the subcommand",
            summary: "Things that help to test and debug the server.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(debug::debug),
        subcommands: &[],
    },
];

type Outcome = Result<Step, ErrorReply>;

/// A bulk string under a name, within a map.
fn named(reply: &mut Reply<'_>, name: &str, value: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}

/// An integer under a name, within a map.
fn named_integer(reply: &mut Reply<'_>, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.integer(value);
}

/// The turn's time would do for one command, but two TIMEs in one pipeline should differ.
fn time(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    // Time stands still while a script runs.
    let now = if args.caller.from_script {
        context.core.now * 1000
    } else {
        unix_us()
    };
    reply.array(2);
    reply.bulk_integer(now / 1_000_000);
    reply.bulk_integer(now % 1_000_000);
    Ok(Step::Done)
}

/// The engine ends what is known of the client as a MONITOR when it goes.
fn monitor(context: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    Ok(Step::Ask {
        whom: Whom::Control,
        ask: CoreAsk::SetMonitor {
            core: context.core.index as u16,
            client: context.client.id,
            on: true,
        },
        then: monitor_begins,
    })
}

fn monitor_begins(
    context: &mut Context<'_>,
    _: Vec<CoreAnswer>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    context.client.monitor = true;
    reply.ok();
    Ok(())
}

/// Where all goes well there is no answer: the connection closes.
fn shutdown(_: &mut Context<'_>, args: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    let (mut save, mut now, mut force, mut abort) = (None, false, false, false);
    for place in 1..args.len() {
        if args.is(place, "NOSAVE") && save != Some(true) {
            save = Some(false);
        } else if args.is(place, "SAVE") && save != Some(false) {
            save = Some(true);
        } else if args.is(place, "NOW") {
            now = true;
        } else if args.is(place, "FORCE") {
            force = true;
        } else if args.is(place, "ABORT") {
            abort = true;
        } else {
            return Err(ErrorReply::SYNTAX);
        }
    }
    if abort && args.len() > 2 {
        return Err(ErrorReply::SYNTAX);
    }
    let ask = if abort {
        CoreAsk::AbortShutdown
    } else {
        CoreAsk::Shutdown { save, now, force }
    };
    Ok(Step::Ask {
        whom: Whom::Control,
        ask,
        then: super::client::ok_or_failed,
    })
}
