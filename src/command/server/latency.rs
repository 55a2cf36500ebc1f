//! LATENCY: slow events over time, and how long commands take.

use crate::command::client::{Context, Step};
use crate::command::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};
use crate::command::table::{Registered, commands};
use crate::observe::{Histogram, latency};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::{Outcome, named_integer};

pub(super) const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "DOCTOR",
        arity: Arity::Exactly(2),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(1)",
            summary: "Explains the latency spikes seen so far.",
            arguments: &[],
            history: &[],
            tips: &[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ],
            deprecated: None,
        },
        run: Run::Client(latency_doctor),
        subcommands: &[],
    },
    Command {
        name: "GRAPH",
        arity: Arity::Exactly(3),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(1)",
            summary: "Draws the latency of an event over time.",
            arguments: &[Argument::string("event")],
            history: &[],
            tips: &[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ],
            deprecated: None,
        },
        run: Run::Client(latency_graph),
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
            since: "2.8.13",
            complexity: "O(1)",
            summary: "Lists the subcommands.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(latency_help),
        subcommands: &[],
    },
    Command {
        name: "HISTOGRAM",
        arity: Arity::AtLeast(2),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "7.0.0",
            complexity: "O(N), N being the commands asked for that ran",
            summary: "Shows how long commands took, cumulated over powers of two.",
            arguments: &[Argument::string("command").optional().multiple()],
            history: &[],
            tips: &[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ],
            deprecated: None,
        },
        run: Run::Client(latency_histogram),
        subcommands: &[],
    },
    Command {
        name: "HISTORY",
        arity: Arity::Exactly(3),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(1)",
            summary: "Reads the latency samples of an event.",
            arguments: &[Argument::string("event")],
            history: &[],
            tips: &[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ],
            deprecated: None,
        },
        run: Run::Client(latency_history),
        subcommands: &[],
    },
    Command {
        name: "LATEST",
        arity: Arity::Exactly(2),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(1)",
            summary: "Reads the newest latency sample of each event.",
            arguments: &[],
            history: &[],
            tips: &[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ],
            deprecated: None,
        },
        run: Run::Client(latency_latest),
        subcommands: &[],
    },
    Command {
        name: "RESET",
        arity: Arity::AtLeast(2),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(1)",
            summary: "Forgets the latency samples of some events, or all.",
            arguments: &[Argument::string("event").optional().multiple()],
            history: &[],
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            deprecated: None,
        },
        run: Run::Client(latency_reset),
        subcommands: &[],
    },
];

fn latency_history(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let series = context
        .core
        .observatory
        .latency
        .series(args.get(2))
        .unwrap_or_default();
    reply.array(series.samples.len());
    for sample in &series.samples {
        reply.array(2);
        reply.integer(sample.time_s);
        reply.integer(sample.latency_ms as i64);
    }
    Ok(Step::Done)
}

fn latency_latest(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let all = context.core.observatory.latency.all();
    reply.array(all.len());
    for (event, series) in all {
        let newest = series.samples.last();
        reply.array(4);
        reply.bulk(event.as_bytes());
        reply.integer(newest.map_or(0, |sample| sample.time_s));
        reply.integer(newest.map_or(0, |sample| sample.latency_ms as i64));
        reply.integer(series.worst_ms as i64);
    }
    Ok(Step::Done)
}

fn latency_reset(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let events = &context.core.observatory.latency;
    let forgotten = if args.len() == 2 {
        events.reset(None)
    } else {
        args.iter_from(2)
            .map(|event| events.reset(Some(event)))
            .sum()
    };
    reply.count(forgotten);
    Ok(Step::Done)
}

fn latency_graph(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let event = args.get(2);
    let Some(series) = context.core.observatory.latency.series(event) else {
        return Err(ErrorReply::no_latency_samples(event));
    };
    let graph = series.graph(&String::from_utf8_lossy(event), context.core.now / 1000);
    reply.verbatim("txt", graph.as_bytes());
    Ok(Step::Done)
}

fn latency_doctor(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let core = context.core;
    let report = latency::doctor(
        &core.observatory.latency.all(),
        core.config.latency_monitor_threshold_ms,
    );
    reply.verbatim("txt", report.as_bytes());
    Ok(Step::Done)
}

/// Commands that never ran are left out, and a container stands for its subcommands.
fn latency_histogram(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut asked: Vec<&Registered> = Vec::new();
    if args.len() == 2 {
        asked.extend(commands().all());
    }
    for name in args.iter_from(2) {
        if let Some(command) = super::command::look_up(name) {
            asked.push(command);
            asked.extend(&command.subcommands);
        }
    }
    let mut found = Vec::new();
    for command in asked {
        let durations = context.core.observatory.durations(command.id.into());
        if durations.iter().any(|count| *count > 0) {
            found.push((command, durations));
        }
    }
    reply.map(found.len());
    for (command, durations) in found {
        let buckets = Histogram::by_power_of_two_us(&durations);
        reply.bulk(command.name.as_bytes());
        reply.map(2);
        named_integer(reply, "calls", durations.iter().sum::<u64>() as i64);
        reply.bulk(b"histogram_usec");
        reply.map(buckets.len());
        for (us, count) in buckets {
            reply.integer(us as i64);
            reply.integer(count as i64);
        }
    }
    Ok(Step::Done)
}

fn latency_help(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.help(
        "LATENCY",
        &[
            ("DOCTOR", &["What the events recorded so far mean."]),
            ("GRAPH <event>", &["The latency of an event over time, drawn in characters."]),
            ("HISTORY <event>", &["The samples of an event: time and milliseconds."]),
            ("LATEST", &["The newest sample of each event, and the worst ever."]),
            ("RESET [<event> ...]", &["Forgets some events, or all."]),
            (
                "HISTOGRAM [<command> ...]",
                &["How many calls took at most so many microseconds, of some commands or of all that ran."],
            ),
        ],
    );
    Ok(Step::Done)
}
