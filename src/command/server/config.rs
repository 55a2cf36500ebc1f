//! CONFIG. Reading needs only the configuration at hand; changes go through the control core, which puts a new
//! configuration in force on all cores before it answers.

use crate::command::client::{Context, Step, Whom, ok_or_failed};
use crate::command::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};
use crate::mesh::message::CoreAsk;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::Outcome;

pub(super) const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "GET",
        arity: Arity::AtLeast(3),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.0.0",
            complexity: "O(N), N being the directives given",
            summary: "Reads directives by name or pattern.",
            arguments: &[Argument::block("parameter", &[Argument::string("parameter")]).multiple()],
            history: &[("7.0.0", "Several names or patterns in one call.")],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(config_get),
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
            since: "5.0.0",
            complexity: "O(1)",
            summary: "Lists the subcommands.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(config_help),
        subcommands: &[],
    },
    Command {
        name: "RESETSTAT",
        arity: Arity::Exactly(2),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.0.0",
            complexity: "O(1)",
            summary: "Sets the counters of INFO to zero.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(config_resetstat),
        subcommands: &[],
    },
    Command {
        name: "REWRITE",
        arity: Arity::Exactly(2),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.8.0",
            complexity: "O(1)",
            summary: "Brings the configuration file up to date.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(config_rewrite),
        subcommands: &[],
    },
    Command {
        name: "SET",
        arity: Arity::AtLeast(4),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.0.0",
            complexity: "O(N), N being the directives given",
            summary: "Changes directives, all of them or none.",
            arguments: &[Argument::block(
                "parameter_value",
                &[Argument::string("parameter"), Argument::string("value")],
            )
            .multiple()],
            history: &[("7.0.0", "Several directives in one call.")],
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            deprecated: None,
        },
        run: Run::Client(config_set),
        subcommands: &[],
    },
];

fn config_get(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let patterns: Vec<&[u8]> = args.iter_from(2).collect();
    let found = context.core.config.get(&patterns);
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(&name);
        reply.bulk(&value);
    }
    Ok(Step::Done)
}

fn config_set(context: &mut Context<'_>, args: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    if args.len() % 2 == 1 {
        return Err(ErrorReply::SYNTAX);
    }
    let words: Vec<&[u8]> = args.iter_from(2).collect();
    let pairs = words
        .chunks_exact(2)
        .map(|pair| (pair[0].to_vec(), pair[1].to_vec()));
    Ok(Step::Ask {
        whom: Whom::Control,
        ask: CoreAsk::ConfigSet {
            pairs: pairs.collect(),
            local: context.client.is_local(),
        },
        then: ok_or_failed,
    })
}

fn config_rewrite(context: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    if context.core.observatory.about.config_file.is_empty() {
        return Err(ErrorReply::NO_CONFIG_FILE);
    }
    Ok(Step::Ask {
        whom: Whom::Control,
        ask: CoreAsk::ConfigRewrite { all: false },
        then: ok_or_failed,
    })
}

/// Each core resets its own counters, because nobody else may write them.
fn config_resetstat(_: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    Ok(Step::Ask {
        whom: Whom::Cores,
        ask: CoreAsk::ResetStats,
        then: ok_or_failed,
    })
}

fn config_help(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.help(
        "CONFIG",
        &[
            (
                "GET <pattern> [...]",
                &["The directives that a name or pattern fits, with their values."],
            ),
            (
                "SET <directive> <value> [...]",
                &["Changes directives: all of them, or none if one cannot be changed."],
            ),
            ("RESETSTAT", &["Sets the counters of INFO to zero."]),
            (
                "REWRITE",
                &["Writes what was changed into the configuration file."],
            ),
        ],
    );
    Ok(Step::Done)
}
