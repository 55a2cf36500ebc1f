//! SAVE, LASTSAVE and DEBUG RELOAD: snapshots that are written and loaded while everything waits.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::command::client::{Context, Step};
use crate::command::spec::{Acl, Arity, Command, Docs, Flags, Group, Run};
use crate::persistence::file::RealDisk;
use crate::persistence::load::{self, LoadError, Plan};
use crate::persistence::rdb::Limits;
use crate::persistence::snapshot::{self, About};
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::script::{CoreScripts, Libraries, Scripts};
use crate::shard::{Shards, usage};

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
    run: Run::Whole(save),
    subcommands: &[],
};

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

fn save(shards: &mut Shards<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    write(shards)?;
    reply.ok();
    Ok(())
}

/// Writes all shards into the file that the configuration names.
fn write(shards: &mut Shards<'_>) -> Result<(), ErrorReply> {
    let any = shards.any();
    let (config, now, status) = (any.config.clone(), any.now, any.snapshots.clone());
    let keyspaces: Vec<_> = shards.iter().map(|shard| &shard.keyspace).collect();
    let about = About {
        now,
        used_memory: tikv_jemalloc_ctl::stats::allocated::read().unwrap_or(0) as u64,
        compress: config.rdbcompression,
        check_sum: config.rdbchecksum,
        incremental_sync: config.rdb_save_incremental_fsync,
        aof_base: false,
        functions: &status.functions.sources(),
        usage: &|entry| usage(entry, &config, now),
    };
    status.saves.fetch_add(1, Relaxed);
    let path = config.dir.join(&config.dbfilename);
    match snapshot::save(&RealDisk, &path, &keyspaces, &about) {
        Ok(_) => {
            let changes = shards.iter().map(|shard| shard.effects.changes()).sum();
            status.saved(now, changes);
            log::info!("DB saved on disk");
            Ok(())
        }
        Err(error) => {
            log::warn!("Can't write the snapshot '{}': {error}", path.display());
            Err(ErrorReply::FAILED)
        }
    }
}

/// DEBUG RELOAD: what it was told, as the plan that does it.
pub(super) fn reload(args: &Args<'_>) -> Outcome {
    let known = |at: usize| {
        ["MERGE", "NOFLUSH", "NOSAVE"]
            .iter()
            .any(|word| args.is(at, word))
    };
    if !(2..args.len()).all(known) {
        return Err(ErrorReply::DEBUG_RELOAD);
    }
    Ok(Step::Whole(reload_now))
}

fn reload_now(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let said = |word: &str| (2..args.len()).any(|at| args.is(at, word));
    if !said("NOSAVE") {
        write(shards)?;
    }
    if !said("NOFLUSH") {
        for shard in shards.iter_mut() {
            for db in 0..shard.keyspace.databases() {
                shard.touch_watched_keys_of(db);
                let flushed = shard.keyspace.take_db(db);
                shard.discard_db(flushed);
            }
        }
    }
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
    let merge = said("MERGE");
    let loaded = load::load(&RealDisk, &path, &plan, &status, |loaded| {
        let shard = shards.of(&Key::new(&loaded.key));
        shard.take_in(*loaded, merge)
    });
    let loaded = loaded.and_then(|report| {
        load_functions(
            &shards.any().scripts,
            &report.functions,
            said("NOFLUSH"),
            merge,
        )?;
        Ok(report)
    });
    match loaded {
        Ok(report) => {
            report.log();
            log::warn!("DB reloaded by DEBUG RELOAD");
            reply.ok();
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
