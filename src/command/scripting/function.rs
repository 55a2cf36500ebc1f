//! FUNCTION: libraries of functions.
//!
//! The libraries are one snapshot that all cores share: when a change has been made, every core sees it, so the reply
//! can leave at once. A change is made with all shards in hand: it is data, and stands in one shard's effects.

use std::sync::Arc;

use crate::base::glob;
use crate::command::client::{Context, Step};
use crate::command::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};
use crate::persistence::rdb::{PayloadError, What, dump_functions, restore_functions};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::script::{CoreScripts, Libraries, Library};
use crate::shard::Shards;

use super::script::kill;

type Outcome = Result<Step, ErrorReply>;
type Done = Result<(), ErrorReply>;

pub(super) const FUNCTION: Command = Command {
    name: "FUNCTION",
    arity: Arity::AtLeast(2),
    flags: Flags::NONE,
    acl: Acl::NONE,
    keys: &[],
    docs: Docs {
        group: Group::Scripting,
        since: "7.0.0",
        complexity: "Depends on subcommand.",
        summary: "Commands about libraries of functions.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Container,
    subcommands: &[
        Command {
            name: "DELETE",
            arity: Arity::Exactly(3),
            flags: Flags::WRITE.and(Flags::NOSCRIPT),
            acl: Acl::SCRIPTING,
            keys: &[],
            docs: Docs {
                group: Group::Scripting,
                since: "7.0.0",
                complexity: "O(1)",
                summary: "Deletes a library with its functions.",
                arguments: &[Argument::string("library-name")],
                history: &[],
                tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
                deprecated: None,
            },
            run: Run::Whole(function_delete),
            subcommands: &[],
        },
        Command {
            name: "DUMP",
            arity: Arity::Exactly(2),
            flags: Flags::NOSCRIPT,
            acl: Acl::SCRIPTING,
            keys: &[],
            docs: Docs {
                group: Group::Scripting,
                since: "7.0.0",
                complexity: "O(N) where N is the number of functions",
                summary: "Gives all libraries as one payload for FUNCTION RESTORE.",
                arguments: &[],
                history: &[],
                tips: &[],
                deprecated: None,
            },
            run: Run::Client(function_dump),
            subcommands: &[],
        },
        Command {
            name: "FLUSH",
            arity: Arity::AtLeast(2),
            flags: Flags::WRITE.and(Flags::NOSCRIPT),
            acl: Acl::SCRIPTING,
            keys: &[],
            docs: Docs {
                group: Group::Scripting,
                since: "7.0.0",
                complexity: "O(N) where N is the number of functions deleted",
                summary: "Deletes all libraries with their functions.",
                arguments: &[Argument::one_of(
                    "flush-type",
                    &[
                        Argument::word("async", "ASYNC"),
                        Argument::word("sync", "SYNC"),
                    ],
                )
                .optional()],
                history: &[],
                tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
                deprecated: None,
            },
            run: Run::Whole(function_flush),
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
                since: "7.0.0",
                complexity: "O(1)",
                summary: "Explains the subcommands.",
                arguments: &[],
                history: &[],
                tips: &[],
                deprecated: None,
            },
            run: Run::Client(function_help),
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
                since: "7.0.0",
                complexity: "O(1)",
                summary: "Ends a running function that has not written yet.",
                arguments: &[],
                history: &[],
                tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
                deprecated: None,
            },
            run: Run::Client(function_kill),
            subcommands: &[],
        },
        Command {
            name: "LIST",
            arity: Arity::AtLeast(2),
            flags: Flags::NOSCRIPT,
            acl: Acl::SCRIPTING,
            keys: &[],
            docs: Docs {
                group: Group::Scripting,
                since: "7.0.0",
                complexity: "O(N) where N is the number of functions",
                summary: "Lists the libraries and their functions.",
                arguments: &[
                    Argument::string("library-name-pattern")
                        .token("LIBRARYNAME")
                        .optional(),
                    Argument::word("withcode", "WITHCODE").optional(),
                ],
                history: &[],
                tips: &["nondeterministic_output_order"],
                deprecated: None,
            },
            run: Run::Client(function_list),
            subcommands: &[],
        },
        Command {
            name: "LOAD",
            arity: Arity::AtLeast(3),
            flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::NOSCRIPT),
            acl: Acl::SCRIPTING,
            keys: &[],
            docs: Docs {
                group: Group::Scripting,
                since: "7.0.0",
                complexity: "O(1) (considering compilation time is redundant)",
                summary: "Adds a library of functions.",
                arguments: &[
                    Argument::word("replace", "REPLACE").optional(),
                    Argument::string("function-code"),
                ],
                history: &[],
                tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
                deprecated: None,
            },
            run: Run::Whole(function_load),
            subcommands: &[],
        },
        Command {
            name: "RESTORE",
            arity: Arity::AtLeast(3),
            flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::NOSCRIPT),
            acl: Acl::SCRIPTING,
            keys: &[],
            docs: Docs {
                group: Group::Scripting,
                since: "7.0.0",
                complexity: "O(N) where N is the number of functions on the payload",
                summary: "Adds the libraries of a payload that FUNCTION DUMP made.",
                arguments: &[
                    Argument::string("serialized-value"),
                    Argument::one_of(
                        "policy",
                        &[
                            Argument::word("flush", "FLUSH"),
                            Argument::word("append", "APPEND"),
                            Argument::word("replace", "REPLACE"),
                        ],
                    )
                    .optional(),
                ],
                history: &[],
                tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
                deprecated: None,
            },
            run: Run::Whole(function_restore),
            subcommands: &[],
        },
        Command {
            name: "STATS",
            arity: Arity::Exactly(2),
            flags: Flags::NOSCRIPT.and(Flags::ALLOW_BUSY),
            acl: Acl::SCRIPTING,
            keys: &[],
            docs: Docs {
                group: Group::Scripting,
                since: "7.0.0",
                complexity: "O(1)",
                summary: "Tells which function runs and how many there are.",
                arguments: &[],
                history: &[],
                tips: &[
                    "nondeterministic_output",
                    "request_policy:all_shards",
                    "response_policy:special",
                ],
                deprecated: None,
            },
            run: Run::Client(function_stats),
            subcommands: &[],
        },
    ],
};

fn error(text: impl AsRef<[u8]>) -> ErrorReply {
    ErrorReply::text([b"ERR ", text.as_ref()].concat())
}

/// FUNCTION LOAD, DELETE, FLUSH and RESTORE without a client: what a log holds of them. Gives the name of a library that
/// was loaded.
pub fn change_functions(
    scripting: &CoreScripts,
    args: &Args<'_>,
) -> Result<Option<String>, ErrorReply> {
    if args.is(1, "load") {
        return load(scripting, args).map(Some);
    }
    if args.is(1, "delete") {
        delete(scripting, args)?;
    } else if args.is(1, "flush") {
        flush(scripting, args)?;
    } else if args.is(1, "restore") {
        restore(scripting, args)?;
    }
    Ok(None)
}

/// Changes the libraries, which is one shard's effect, and always the same one's, so that changes stay in order there. A
/// library's code runs in an interpreter of its own: nothing of one that is refused stays.
fn change<T>(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    change: fn(&CoreScripts, &Args<'_>) -> Result<T, ErrorReply>,
) -> Result<T, ErrorReply> {
    let scripting = CoreScripts::new(shards.any().scripts.clone());
    let done = change(&scripting, args)?;
    let first = shards.iter_mut().min_by_key(|shard| shard.index);
    let first = first.expect("a step concerns a shard at least");
    first.effects.count(1);
    Ok(done)
}

fn function_load(shards: &mut Shards<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Done {
    let name = change(shards, args, load)?;
    reply.bulk(name.as_bytes());
    Ok(())
}

fn load(scripting: &CoreScripts, args: &Args<'_>) -> Result<String, ErrorReply> {
    let code = args.len() - 1;
    for at in 2..code {
        if !args.is(at, "replace") {
            return Err(error([b"Unknown option given: ", args.get(at)].concat()));
        }
    }
    let replace = code > 2;
    let library = Arc::new(scripting.read_library(args.get(code))?);
    let name = library.name.clone();
    scripting
        .scripts
        .change_libraries(|all| all.add(library, replace))
        .map_err(error)?;
    Ok(name)
}

fn function_delete(shards: &mut Shards<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Done {
    change(shards, args, delete)?;
    reply.ok();
    Ok(())
}

fn delete(scripting: &CoreScripts, args: &Args<'_>) -> Result<(), ErrorReply> {
    let name = String::from_utf8_lossy(args.get(2));
    scripting.scripts.change_libraries(|all| {
        if all.remove(&name) {
            Ok(())
        } else {
            Err(error("Library not found"))
        }
    })
}

fn function_flush(shards: &mut Shards<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Done {
    change(shards, args, flush)?;
    reply.ok();
    Ok(())
}

fn flush(scripting: &CoreScripts, args: &Args<'_>) -> Result<(), ErrorReply> {
    match args.len() {
        2 => {}
        3 if args.is(2, "sync") || args.is(2, "async") => {}
        3 => return Err(error("FUNCTION FLUSH only supports SYNC|ASYNC option")),
        _ => return Err(ErrorReply::subcommand_syntax(args.get(1), "FUNCTION")),
    }
    scripting.scripts.change_libraries(|all| {
        *all = Libraries::default();
        Ok(())
    })
}

fn function_kill(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    kill(context, reply, false)
}

fn function_list(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (mut with_code, mut pattern) = (false, None);
    let mut at = 2;
    while at < args.len() {
        if !with_code && args.is(at, "withcode") {
            with_code = true;
        } else if pattern.is_none() && args.is(at, "libraryname") {
            at += 1;
            let Some(given) = args.opt(at) else {
                return Err(error("library name argument was not given"));
            };
            pattern = Some(given);
        } else {
            return Err(error([b"Unknown argument ", args.get(at)].concat()));
        }
        at += 1;
    }
    let libraries = context.core.scripting.scripts.libraries();
    let fits = |library: &&Arc<Library>| {
        pattern.is_none_or(|pattern| glob::matches(pattern, library.name.as_bytes(), true))
    };
    let shown: Vec<_> = libraries.iter().filter(fits).collect();
    reply.array(shown.len());
    for library in shown {
        list_library(library, with_code, reply);
    }
    Ok(Step::Done)
}

fn list_library(library: &Library, with_code: bool, reply: &mut Reply<'_>) {
    reply.map(3 + usize::from(with_code));
    reply.bulk(b"library_name");
    reply.bulk(library.name.as_bytes());
    reply.bulk(b"engine");
    reply.bulk(b"LUA");
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(function.name.as_bytes());
        reply.bulk(b"description");
        match &function.description {
            Some(text) => reply.bulk(text),
            None => reply.null(),
        }
        reply.bulk(b"flags");
        reply.set(function.flags.words().count());
        for word in function.flags.words() {
            reply.simple(word);
        }
    }
    if with_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.code);
    }
}

fn function_stats(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let scripts = &context.core.scripting.scripts;
    let running = scripts.busy_ones();
    if running.first().is_some_and(|running| running.is_eval) {
        return Err(ErrorReply::BUSY_SCRIPT);
    }
    reply.map(2);
    reply.bulk(b"running_script");
    match running.first() {
        None => reply.null(),
        Some(running) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(running.name.as_bytes());
            reply.bulk(b"command");
            reply.array(running.command.len());
            running.command.iter().for_each(|word| reply.bulk(word));
            reply.bulk(b"duration_ms");
            reply.integer((context.core.now - running.since_ms).max(0));
        }
    }
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    let libraries = scripts.libraries();
    reply.bulk(b"libraries_count");
    reply.count(libraries.len());
    reply.bulk(b"functions_count");
    reply.count(libraries.functions());
    Ok(Step::Done)
}

fn function_dump(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let libraries = context.core.scripting.scripts.libraries();
    let compress = context.core.config.rdbcompression;
    reply.bulk(&dump_functions(libraries.codes(), compress));
    Ok(Step::Done)
}

/// What FUNCTION RESTORE does with libraries that are there already.
enum Policy {
    Append,
    Replace,
    Flush,
}

fn function_restore(shards: &mut Shards<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Done {
    change(shards, args, restore)?;
    reply.ok();
    Ok(())
}

fn restore(scripting: &CoreScripts, args: &Args<'_>) -> Result<(), ErrorReply> {
    let policy = match args.len() {
        3 => Policy::Append,
        4 if args.is(3, "append") => Policy::Append,
        4 if args.is(3, "replace") => Policy::Replace,
        4 if args.is(3, "flush") => Policy::Flush,
        4 => {
            return Err(error(
                "Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            ));
        }
        _ => return Err(ErrorReply::subcommand_syntax(args.get(1), "FUNCTION")),
    };
    let codes = restore_functions(args.get(2)).map_err(|fault| match fault {
        PayloadError::Footer => error("DUMP payload version or checksum are wrong"),
        PayloadError::Content(problem) => match problem.what {
            What::Type(246) => error("Pre-GA function format not supported"),
            What::Type(_) => error("given type is not a function"),
            _ => error("failed loading the given functions payload"),
        },
    })?;
    // All of them or none: they are read before the first one is added.
    let mut restored = Libraries::default();
    for code in codes {
        let library = Arc::new(scripting.read_library(&code)?);
        restored.add(library, false).map_err(error)?;
    }
    scripting.scripts.change_libraries(|all| {
        if matches!(policy, Policy::Flush) {
            *all = restored;
            return Ok(());
        }
        for library in restored.iter() {
            if all.find(&library.name).is_none() {
                continue;
            }
            if matches!(policy, Policy::Append) {
                return Err(error(format!("Library {} already exists", library.name)));
            }
            all.remove(&library.name);
        }
        restored
            .iter()
            .try_for_each(|library| all.add(library.clone(), false).map_err(error))
    })
}

fn function_help(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.help(
        "FUNCTION",
        &[
            (
                "LOAD [REPLACE] <FUNCTION CODE>",
                &["Add a library; its first line gives its name."],
            ),
            ("DELETE <LIBRARY NAME>", &["Delete a library."]),
            (
                "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
                &[
                    "List libraries with their functions, those whose name fits the pattern.",
                    "WITHCODE shows their code as well.",
                ],
            ),
            (
                "STATS",
                &["Tell which function is over its time, if any, and how many there are."],
            ),
            (
                "KILL",
                &["End a function that runs too long and has not written."],
            ),
            (
                "FLUSH [ASYNC|SYNC]",
                &["Delete all libraries. Both modes do it at once, on every core."],
            ),
            (
                "DUMP",
                &["Give all libraries as one payload for FUNCTION RESTORE."],
            ),
            (
                "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
                &[
                    "Add the libraries of a payload.",
                    "FLUSH deletes all others first, REPLACE those of the same name;",
                    "APPEND (the default) adds nothing when one is there already.",
                ],
            ),
        ],
    );
    Ok(Step::Done)
}
