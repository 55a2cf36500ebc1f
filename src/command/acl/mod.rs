//! ACL: users and what they may do. What a rule means is in `crate::acl`; whoever changes users asks the control core,
//! which has every core take over the change before it answers.

use crate::acl::{self, Category, Selector, User};
use crate::base::number::parse_i64;
use crate::base::sys;
use crate::mesh::message::{AclChange, CoreAnswer, CoreAsk};
use crate::observe::Observatory;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::client::{Context, Step, Whom, ok_or_failed};
use super::permit;
use super::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};
use super::table::commands;

/// Bits of a password that ACL GENPASS makes when it is not told how many, and at most.
const PASSWORD_BITS: i64 = 256;
/// See above.
const PASSWORD_BITS_MAX: i64 = 4096;
/// Entries that ACL LOG shows when it is not told how many.
const LOG_COUNT: i64 = 10;

pub(super) const COMMANDS: &[Command] = &[Command {
    name: "ACL",
    arity: Arity::AtLeast(2),
    flags: Flags::NONE,
    acl: Acl::NONE,
    keys: &[],
    docs: Docs {
        group: Group::Server,
        since: "6.0.0",
        complexity: "That of the subcommand",
        summary: "Container of the commands about users and their permissions.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Container,
    subcommands: SUBCOMMANDS,
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "CAT",
        arity: Arity::AtLeast(2),
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "6.0.0",
            complexity: "O(1): there are only so many categories and commands",
            summary: "Lists the categories of commands, or the commands of one.",
            arguments: &[Argument::string("category").optional()],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(acl_cat),
        subcommands: &[],
    },
    Command {
        name: "DELUSER",
        arity: Arity::AtLeast(3),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "6.0.0",
            complexity: "O(1) per user",
            summary: "Removes users and closes their connections.",
            arguments: &[Argument::string("username").multiple()],
            history: &[],
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            deprecated: None,
        },
        run: Run::Client(acl_deluser),
        subcommands: &[],
    },
    Command {
        name: "DRYRUN",
        arity: Arity::AtLeast(4),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "7.0.0",
            complexity: "O(1)",
            summary: "Tells whether a user may run a command, without running it.",
            arguments: &[
                Argument::string("username"),
                Argument::string("command"),
                Argument::string("arg").optional().multiple(),
            ],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(acl_dryrun),
        subcommands: &[],
    },
    Command {
        name: "GENPASS",
        arity: Arity::AtLeast(2),
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "6.0.0",
            complexity: "O(1)",
            summary: "Makes a random password of hexadecimal digits.",
            arguments: &[Argument::integer("bits").optional()],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(acl_genpass),
        subcommands: &[],
    },
    Command {
        name: "GETUSER",
        arity: Arity::Exactly(3),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "6.0.0",
            complexity: "O(N), N being the passwords and rules of the user",
            summary: "Describes a user by its passwords and rules.",
            arguments: &[Argument::string("username")],
            history: &[
                ("6.2.0", "Channel patterns."),
                (
                    "7.0.0",
                    "Selectors; patterns of keys and channels as rules instead of lists.",
                ),
            ],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(acl_getuser),
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
            since: "6.0.0",
            complexity: "O(1)",
            summary: "Lists the subcommands.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(acl_help),
        subcommands: &[],
    },
    Command {
        name: "LIST",
        arity: Arity::Exactly(2),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "6.0.0",
            complexity: "O(N), N being the users",
            summary: "Shows all users as the lines of an ACL file.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(acl_list),
        subcommands: &[],
    },
    Command {
        name: "LOAD",
        arity: Arity::Exactly(2),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "6.0.0",
            complexity: "O(N), N being the users",
            summary: "Reads the ACL file anew: all of it, or nothing if it has an error.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(acl_load),
        subcommands: &[],
    },
    Command {
        name: "LOG",
        arity: Arity::AtLeast(2),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "6.0.0",
            complexity: "O(N), N being the entries shown",
            summary: "Shows whom what was denied of late, or forgets it.",
            arguments: &[Argument::one_of(
                "operation",
                &[Argument::integer("count"), Argument::word("reset", "RESET")],
            )
            .optional()],
            history: &[(
                "7.2.0",
                "The id of an entry, and when it was made and last changed.",
            )],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(acl_log),
        subcommands: &[],
    },
    Command {
        name: "SAVE",
        arity: Arity::Exactly(2),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "6.0.0",
            complexity: "O(N), N being the users",
            summary: "Writes all users into the ACL file.",
            arguments: &[],
            history: &[],
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            deprecated: None,
        },
        run: Run::Client(acl_save),
        subcommands: &[],
    },
    Command {
        name: "SETUSER",
        arity: Arity::AtLeast(3),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "6.0.0",
            complexity: "O(N), N being the rules given",
            summary: "Makes or changes a user by rules: all of them, or none.",
            arguments: &[
                Argument::string("username"),
                Argument::string("rule").optional().multiple(),
            ],
            history: &[
                ("6.2.0", "Channel patterns."),
                (
                    "7.0.0",
                    "Selectors, and permissions to read or to write keys.",
                ),
            ],
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            deprecated: None,
        },
        run: Run::Client(acl_setuser),
        subcommands: &[],
    },
    Command {
        name: "USERS",
        arity: Arity::Exactly(2),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "6.0.0",
            complexity: "O(N), N being the users",
            summary: "Lists the names of all users.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(acl_users),
        subcommands: &[],
    },
    Command {
        name: "WHOAMI",
        arity: Arity::Exactly(2),
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "6.0.0",
            complexity: "O(1)",
            summary: "Tells which user the connection is.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(acl_whoami),
        subcommands: &[],
    },
];

type Outcome = Result<Step, ErrorReply>;

fn acl_whoami(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.bulk(context.client.user.name());
    Ok(Step::Done)
}

fn acl_users(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let users = context.core.users.iter();
    reply.array(users.len());
    for user in users {
        reply.bulk(user.name());
    }
    Ok(Step::Done)
}

fn acl_list(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let users = context.core.users.iter();
    reply.array(users.len());
    for user in users {
        reply.bulk(&user.line());
    }
    Ok(Step::Done)
}

fn acl_getuser(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Some(user) = context.core.users.get(args.get(2)) else {
        reply.null();
        return Ok(Step::Done);
    };
    reply.map(6);
    reply.bulk(b"flags");
    reply.set(user.flags().count());
    for flag in user.flags() {
        reply.bulk(flag.as_bytes());
    }
    reply.bulk(b"passwords");
    reply.array(user.passwords().len());
    for hash in user.passwords() {
        reply.bulk(hash);
    }
    let (own, others) = user
        .selectors()
        .split_first()
        .expect("a user has a selector of its own");
    selector_fields(own, reply);
    reply.bulk(b"selectors");
    reply.array(others.len());
    for selector in others {
        reply.map(3);
        selector_fields(selector, reply);
    }
    Ok(Step::Done)
}

fn selector_fields(selector: &Selector, reply: &mut Reply<'_>) {
    reply.bulk(b"commands");
    reply.bulk(&selector.commands_text());
    reply.bulk(b"keys");
    reply.bulk(&selector.keys_text());
    reply.bulk(b"channels");
    reply.bulk(&selector.channels_text());
}

fn acl_cat(_: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match args.len() {
        2 => {
            reply.array(Category::NAMES.len());
            for (_, name) in Category::NAMES {
                reply.bulk(name.as_bytes());
            }
        }
        3 => {
            let category = Category::named(args.get(2))
                .ok_or_else(|| ErrorReply::unknown_category(args.get(2)))?;
            let all = commands().all().iter();
            let found: Vec<_> = all
                .filter(|command| command.spec.categories().has(category))
                .collect();
            reply.array(found.len());
            for command in found {
                reply.bulk(command.name.as_bytes());
            }
        }
        _ => return Err(ErrorReply::subcommand_syntax(args.get(1), "ACL")),
    }
    Ok(Step::Done)
}

fn acl_genpass(_: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let bits = match args.len() {
        2 => PASSWORD_BITS,
        3 => parse_i64(args.get(2)).ok_or(ErrorReply::NOT_INTEGER)?,
        _ => return Err(ErrorReply::subcommand_syntax(args.get(1), "ACL")),
    };
    if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
        return Err(ErrorReply::GENPASS_BITS);
    }
    let digits = (bits as usize).div_ceil(4);
    let mut password = String::with_capacity(digits + 16);
    while password.len() < digits {
        password += &format!("{:016x}", sys::entropy());
    }
    reply.bulk(&password.as_bytes()[..digits]);
    Ok(Step::Done)
}

fn acl_dryrun(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let user = context.core.users.get(args.get(2));
    let user = user.ok_or_else(|| ErrorReply::user_not_found(args.get(2)))?;
    let inner = args.from(3);
    let missing = || ErrorReply::command_not_found(inner.get(0));
    let command = commands().resolve(&inner).ok_or_else(missing)?;
    if !command.subcommands.is_empty() && inner.len() > 1 {
        return Err(missing());
    }
    if !command.spec.arity.accepts(inner.len()) {
        return Err(ErrorReply::wrong_arity(&command.name));
    }
    match permit::denial(user, command, &inner) {
        None => reply.ok(),
        Some(denial) => reply.bulk(&explained(user, denial, &command.name, &inner)),
    }
    Ok(Step::Done)
}

/// A denial in the words of ACL DRYRUN, which names the key or channel.
fn explained(user: &User, denial: acl::Denial, command: &str, args: &Args<'_>) -> Vec<u8> {
    let (what, object): (&[u8], &[u8]) = match denial.reason {
        acl::Reason::Command | acl::Reason::Auth => (b"command", command.as_bytes()),
        acl::Reason::Key => (b"key", args.get(denial.at)),
        acl::Reason::Channel => (b"channel", args.get(denial.at)),
    };
    let verb: &[u8] = match denial.reason {
        acl::Reason::Command | acl::Reason::Auth => b"run",
        _ => b"access",
    };
    [
        b"User ",
        user.name(),
        b" has no permissions to ",
        verb,
        b" the '",
        object,
        b"' ",
        what,
    ]
    .concat()
}

fn acl_setuser(context: &mut Context<'_>, args: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    Ok(change(
        context,
        AclChange::SetUser {
            name: args.get(2).to_vec(),
            rules: args.iter_from(3).map(<[u8]>::to_vec).collect(),
        },
    ))
}

fn acl_deluser(context: &mut Context<'_>, args: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    if args.iter_from(2).any(|name| name == b"default") {
        return Err(ErrorReply::DEFAULT_USER_STAYS);
    }
    let names = args.iter_from(2).map(<[u8]>::to_vec).collect();
    Ok(change(context, AclChange::DelUser(names)))
}

fn acl_load(context: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    with_file(context, AclChange::Load)
}

fn acl_save(context: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    with_file(context, AclChange::Save)
}

fn with_file(context: &mut Context<'_>, what: AclChange) -> Outcome {
    if context.core.config.aclfile.is_none() {
        return Err(ErrorReply::NO_ACL_FILE);
    }
    Ok(change(context, what))
}

fn change(context: &Context<'_>, change: AclChange) -> Step {
    Step::Ask {
        whom: Whom::Control,
        ask: CoreAsk::ChangeUsers {
            change,
            asker: context.client.id,
        },
        then: changed,
    }
}

/// A number for DELUSER, OK for the others.
fn changed(
    context: &mut Context<'_>,
    answers: Vec<CoreAnswer>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    match answers[..] {
        [CoreAnswer::Count(count)] => {
            reply.count(count);
            Ok(())
        }
        _ => ok_or_failed(context, answers, reply),
    }
}

fn acl_log(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let observatory: &Observatory = context.core.observatory;
    let count = match args.len() {
        2 => LOG_COUNT,
        3 if args.is(2, "RESET") => {
            observatory.denials().reset();
            reply.ok();
            return Ok(Step::Done);
        }
        3 => parse_i64(args.get(2)).ok_or(ErrorReply::NOT_INTEGER)?,
        _ => return Err(ErrorReply::subcommand_syntax(args.get(1), "ACL")),
    };
    let entries = observatory
        .denials()
        .newest(usize::try_from(count).unwrap_or(0));
    reply.array(entries.len());
    for entry in entries {
        reply.map(10);
        reply.bulk(b"count");
        reply.integer(entry.count as i64);
        reply.bulk(b"reason");
        reply.bulk(entry.reason.name().as_bytes());
        reply.bulk(b"context");
        reply.bulk(entry.context.name().as_bytes());
        reply.bulk(b"object");
        reply.bulk(&entry.object);
        reply.bulk(b"username");
        reply.bulk(&entry.user);
        reply.bulk(b"age-seconds");
        reply.double((context.core.now - entry.updated_ms) as f64 / 1000.0);
        reply.bulk(b"client-info");
        reply.bulk(&entry.client);
        reply.bulk(b"entry-id");
        reply.integer(entry.id as i64);
        reply.bulk(b"timestamp-created");
        reply.integer(entry.created_ms);
        reply.bulk(b"timestamp-last-updated");
        reply.integer(entry.updated_ms);
    }
    Ok(Step::Done)
}

fn acl_help(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.help(
        "ACL",
        &[
            (
                "CAT [<category>]",
                &["The categories of commands, or the commands of one."],
            ),
            (
                "DELUSER <username> [<username> ...]",
                &["Removes users and closes their connections."],
            ),
            (
                "DRYRUN <username> <command> [<arg> ...]",
                &["Whether the user may run the command, which is not run."],
            ),
            (
                "GETUSER <username>",
                &["The passwords and rules of a user."],
            ),
            (
                "GENPASS [<bits>]",
                &["A random password, of 256 bits unless it is told otherwise."],
            ),
            ("LIST", &["All users as the lines of an ACL file."]),
            ("LOAD", &["Reads the ACL file anew."]),
            (
                "LOG [<count> | RESET]",
                &["Whom what was denied of late; RESET forgets it."],
            ),
            ("SAVE", &["Writes all users into the ACL file."]),
            (
                "SETUSER <username> <rule> [<rule> ...]",
                &["Makes a user or changes one."],
            ),
            ("USERS", &["The names of all users."]),
            ("WHOAMI", &["Which user this connection is."]),
        ],
    );
    Ok(Step::Done)
}

#[cfg(test)]
mod tests;
