//! MODULE: there are no modules, and each subcommand says so in its way.

use crate::command::client::{Context, Step};
use crate::command::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::Outcome;

pub(super) const SUBCOMMANDS: &[Command] = &[
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
        run: Run::Client(module_help),
        subcommands: &[],
    },
    Command {
        name: "LIST",
        arity: Arity::Exactly(2),
        flags: Flags::ADMIN.and(Flags::NOSCRIPT),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "4.0.0",
            complexity: "O(N), N being the modules",
            summary: "Lists the modules that are loaded.",
            arguments: &[],
            history: &[],
            tips: &["nondeterministic_output_order"],
            deprecated: None,
        },
        run: Run::Client(module_list),
        subcommands: &[],
    },
    Command {
        name: "LOAD",
        arity: Arity::AtLeast(3),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::NO_ASYNC_LOADING),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "4.0.0",
            complexity: "O(1)",
            summary: "Loads a module.",
            arguments: &[
                Argument::string("path"),
                Argument::string("arg").optional().multiple(),
            ],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(module_load),
        subcommands: &[],
    },
    Command {
        name: "LOADEX",
        arity: Arity::AtLeast(3),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::NO_ASYNC_LOADING),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "7.0.0",
            complexity: "O(1)",
            summary: "Loads a module with directives of its own.",
            arguments: &[
                Argument::string("path"),
                Argument::block(
                    "configs",
                    &[Argument::string("name"), Argument::string("value")],
                )
                .token("CONFIG")
                .optional()
                .multiple()
                .multiple_token(),
                Argument::string("args").token("ARGS").optional().multiple(),
            ],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(module_loadex),
        subcommands: &[],
    },
    Command {
        name: "UNLOAD",
        arity: Arity::Exactly(3),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::NO_ASYNC_LOADING),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "4.0.0",
            complexity: "O(1)",
            summary: "Unloads a module.",
            arguments: &[Argument::string("name")],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(module_unload),
        subcommands: &[],
    },
];

fn module_list(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.array(0);
    Ok(Step::Done)
}

/// Who may not change modules learns that first, as in Redis.
fn check_allowed(context: &Context<'_>) -> Result<(), ErrorReply> {
    let allowed = context.core.config.enable_module_command;
    match allowed.allows(context.client.is_local()) {
        true => Ok(()),
        false => Err(ErrorReply::MODULE_NOT_ALLOWED),
    }
}

fn module_load(context: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    check_allowed(context)?;
    Err(ErrorReply::not_in_this_build("MODULE LOAD"))
}

fn module_loadex(context: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    check_allowed(context)?;
    Err(ErrorReply::not_in_this_build("MODULE LOADEX"))
}

fn module_unload(context: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    check_allowed(context)?;
    Err(ErrorReply::NO_SUCH_MODULE)
}

fn module_help(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.help(
        "MODULE",
        &[
            ("LIST", &["The modules that are loaded: none."]),
            (
                "LOAD <path> [<arg> ...]",
                &["Loads a module; not in this build."],
            ),
            (
                "LOADEX <path> [[CONFIG NAME VALUE] [CONFIG NAME VALUE]] [ARGS ...]",
                &["Loads a module with directives of its own; not in this build."],
            ),
            ("UNLOAD <name>", &["Unloads a module."]),
        ],
    );
    Ok(Step::Done)
}
