//! SAVE and BGSAVE, LASTSAVE, DEBUG RELOAD: `shard/saving.rs` does the work.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::command::client::{Context, PlanFn, Reload, Step, Whom};
use crate::command::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};
use crate::mesh::message::{CoreAnswer, CoreAsk};
use crate::persistence::Status;
use crate::persistence::file::RealDisk;
use crate::persistence::load::{self, LoadError, Plan};
use crate::persistence::parts;
use crate::persistence::rdb::{Limits, Loaded};
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::script::{CoreScripts, Libraries, Scripts};
use crate::shard::{Shards, saving};

use super::Outcome;

pub(super) const SAVE: Command = Command {
    name: "SAVE",
    arity: Arity::Exactly(1),
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::NO_ASYNC_LOADING)
        .and(Flags::NO_MULTI),
    acl: Acl::NONE,
    keys: &[],
    docs: Docs {
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(N), N being the keys in all databases",
        summary: "Writes a snapshot to the disk while everything waits.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(save),
    subcommands: &[],
};

pub(super) const BGSAVE: Command = Command {
    name: "BGSAVE",
    arity: Arity::AtLeast(1),
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::NO_ASYNC_LOADING),
    acl: Acl::NONE,
    keys: &[],
    docs: Docs {
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Begins to write a snapshot while the server goes on.",
        arguments: &[Argument::word("schedule", "SCHEDULE")
            .optional()
            .since("3.2.2")],
        history: &[("3.2.2", "The option `SCHEDULE`.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(bgsave),
    subcommands: &[],
};

pub(super) const BGREWRITEAOF: Command = Command {
    name: "BGREWRITEAOF",
    arity: Arity::Exactly(1),
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::NO_ASYNC_LOADING),
    acl: Acl::NONE,
    keys: &[],
    docs: Docs {
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Begins to write the append-only files anew while the server goes on.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(bgrewriteaof),
    subcommands: &[],
};

fn bgrewriteaof(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let status = &context.core.observatory.snapshots;
    let rewrites = &status.log.rewrites;
    let later = status.saves.is_saving();
    if rewrites.is_under_way() {
        return Err(ErrorReply::REWRITE_UNDER_WAY);
    }
    rewrites.want(later);
    // In EXEC it begins behind the transaction.
    if later || args.caller.deny_blocking {
        reply.simple("Background append only file rewriting scheduled");
        return Ok(Step::Done);
    }
    if let Some(wake) = status.saves.wake() {
        wake(0); // the first core begins it
    }
    reply.simple("Background append only file rewriting started");
    Ok(Step::Done)
}

pub(super) const LASTSAVE: Command = Command {
    name: "LASTSAVE",
    arity: Arity::Exactly(1),
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
    acl: Acl::ADMIN.and(Acl::DANGEROUS),
    keys: &[],
    docs: Docs {
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Says when the last snapshot was written, as a Unix time.",
        arguments: &[],
        history: &[],
        tips: &["nondeterministic_output"],
        deprecated: None,
    },
    run: Run::Client(lastsave),
    subcommands: &[],
};

fn lastsave(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let snapshots = &context.core.observatory.snapshots;
    reply.integer(snapshots.saved_at.load(Relaxed));
    Ok(Step::Done)
}

fn save(context: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    let plan: PlanFn =
        |shards, _, reply| save_here(shards, false, false).map(|words| reply.simple(words));
    Ok(where_it_is_done(context, false, false, plan))
}

fn bgsave(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let schedule = match args.len() {
        1 => false,
        2 if args.is(1, "SCHEDULE") => true,
        _ => return Err(ErrorReply::SYNTAX),
    };
    if !args.caller.deny_blocking {
        let plan: PlanFn = |shards, args, reply| {
            save_here(shards, true, args.len() > 1).map(|words| reply.simple(words))
        };
        return Ok(where_it_is_done(context, true, schedule, plan));
    }
    // Within EXEC a cut would go through the middle of a transaction.
    let status = &context.core.observatory.snapshots;
    if status.saves.is_saving() {
        return Err(ErrorReply::SAVING);
    }
    reply.simple(schedule_save(status));
    Ok(Step::Done)
}

/// A primary saves as soon as all shards are at hand; a replica when its stream rests between two commands, so that the
/// file can say how far it is.
fn where_it_is_done(context: &Context<'_>, background: bool, schedule: bool, plan: PlanFn) -> Step {
    if !context
        .core
        .observatory
        .replication
        .is_replica
        .load(Relaxed)
    {
        return Step::Whole(plan);
    }
    Step::Ask {
        whom: Whom::Control,
        ask: CoreAsk::Save {
            background,
            schedule,
            followed: None,
        },
        then: |_, answers, reply| {
            for answer in answers {
                match answer {
                    CoreAnswer::Reply(words) => reply.simple(&String::from_utf8_lossy(&words)),
                    CoreAnswer::Failed(text) => return Err(ErrorReply::text(text)),
                    _ => {}
                }
            }
            Ok(())
        },
    }
}

fn schedule_save(status: &Status) -> &'static str {
    status.saves.scheduled.store(true, Relaxed);
    if let Some(wake) = status.saves.wake() {
        wake(0);
    }
    "Background saving scheduled"
}

/// SAVE or, if `background`, BGSAVE, over all shards; the words to reply.
///
/// # Errors
/// Another save is under way, or it has failed; the log says how.
pub fn save_here(
    shards: &mut Shards<'_>,
    background: bool,
    schedule: bool,
) -> Result<&'static str, ErrorReply> {
    let status = shards.any().snapshots.clone();
    if status.saves.is_saving() {
        return Err(ErrorReply::SAVING);
    }
    if !background {
        status.begun.fetch_add(1, Relaxed);
        return match saving::save_now(shards) {
            true => Ok("OK"),
            false => Err(ErrorReply::FAILED),
        };
    }
    if status.saves.under_way().is_some() {
        return match schedule {
            true => Ok(schedule_save(&status)),
            false => Err(ErrorReply::OTHER_SAVE),
        };
    }
    match saving::begin_snapshot(shards) {
        true => Ok("Background saving started"),
        false => Err(ErrorReply::FAILED),
    }
}

/// DEBUG RELOAD: what it was told.
pub(super) fn reload(args: &Args<'_>) -> Outcome {
    let known = |at: usize| {
        ["MERGE", "NOFLUSH", "NOSAVE"]
            .iter()
            .any(|word| args.is(at, word))
    };
    if !(2..args.len()).all(known) {
        return Err(ErrorReply::DEBUG_RELOAD);
    }
    let said = |word: &str| (2..args.len()).any(|at| args.is(at, word));
    Ok(Step::Reload(Reload::Snapshot {
        saves: !said("NOSAVE"),
        flushes: !said("NOFLUSH"),
        merges: said("MERGE"),
    }))
}

/// The first half of DEBUG RELOAD: saves what there is and empties the shards, if it is to.
pub fn prepare_reload(
    shards: &mut Shards<'_>,
    saves: bool,
    flushes: bool,
) -> Result<(), ErrorReply> {
    if saves && !saving::save_now(shards) {
        return Err(ErrorReply::FAILED);
    }
    if flushes {
        for shard in shards.iter_mut() {
            for db in 0..shard.keyspace.databases() {
                shard.touch_watched_keys_of(db);
                shard.flush_db(db);
            }
        }
    }
    Ok(())
}

/// The second half: takes in what the files hold, in the place of keys that are there or not (`merges`), with their function
/// libraries in the place of all others or beside them (`keeps`).
pub fn reload_snapshot(
    shards: &mut Shards<'_>,
    keeps: bool,
    merges: bool,
) -> Result<(), ErrorReply> {
    let any = shards.any();
    let (config, now, status) = (any.config.clone(), any.now, any.snapshots.clone());
    let plan = Plan {
        limits: Limits::of(&config),
        check_sum: config.rdbchecksum,
        databases: any.keyspace.databases(),
        now,
        drop_expired: true,
        leave_raw: false,
    };
    let path = config.dir.join(&config.dbfilename);
    let files = match parts::find(&RealDisk, &path) {
        Ok(files) if files.is_empty() => vec![path],
        Ok(files) => files,
        Err(error) => {
            log::warn!("{error}");
            return Err(ErrorReply::DEBUG_RELOAD_FAILED);
        }
    };
    let mut keys = 0;
    let mut take = |loaded: Box<Loaded>| {
        if status.stopping.load(Relaxed) {
            return Err(LoadError::Stopped);
        }
        load::delay(config.key_load_delay_us, &mut keys);
        let shard = shards.of(&Key::new(&loaded.key));
        shard.take_in(*loaded, merges)
    };
    let mut functions = Vec::new();
    let loaded = files.iter().try_for_each(|path| {
        let report = load::load(&RealDisk, path, &plan, &status, &mut take)?;
        report.log();
        functions = report.functions; // each file of a set has them all
        Ok(())
    });
    let loaded = loaded.and_then(|()| {
        let scripts = &shards.any().scripts;
        load_functions(scripts, &functions, keeps, merges)
    });
    match loaded {
        Ok(()) => {
            log::warn!("DB reloaded by DEBUG RELOAD");
            Ok(())
        }
        Err(error) => {
            log::warn!("{error}");
            Err(match error {
                LoadError::Stopped => ErrorReply::FAILED,
                _ => ErrorReply::DEBUG_RELOAD_FAILED,
            })
        }
    }
}

/// Takes in the function libraries of a file: in the place of those in memory, or beside them (`keep`), where a name that
/// is there already is replaced (`merge`) or refused.
fn load_functions(
    scripts: &Arc<Scripts>,
    sources: &[Vec<u8>],
    keep: bool,
    merge: bool,
) -> Result<(), LoadError> {
    let refused = |text: &[u8]| LoadError::Function(String::from_utf8_lossy(text).into_owned());
    let interpreter = CoreScripts::new(scripts.clone());
    let mut libraries = Vec::new();
    for source in sources {
        let library = interpreter.read_library(source);
        libraries.push(Arc::new(
            library.map_err(|error| refused(error.as_bytes()))?,
        ));
    }
    scripts.change_libraries(|all| {
        if !keep {
            *all = Libraries::default();
        }
        libraries.into_iter().try_for_each(|library| {
            all.add(library, merge)
                .map_err(|text| refused(text.as_bytes()))
        })
    })
}
