//! Files of Redis: a base and its incremental files, a single log, or a snapshot, into one shard that holds all.
//!
//! They are read and never changed: where a log breaks off, what is whole is taken, and the set that we write from then
//! on holds it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::base::clock::unix_ms;
use crate::config::Config;
use crate::keyspace::Keyspace;
use crate::persistence::Status;
use crate::persistence::aof::manifest::Manifest;

use super::choice::Foreign;
use super::executor::Executor;
use super::feed::Feed;
use super::{FunctionChange, Halt, Recovered, in_parallel};

pub(super) fn recover(
    foreign: &Foreign,
    config: &Arc<Config>,
    shards: usize,
    status: &Status,
) -> Result<Recovered, Halt> {
    let mut read = in_parallel(vec![foreign], status, |foreign| {
        read_files(foreign, config, status)
    })?;
    let (keyspace, functions) = read.pop().expect("one piece of work was given");
    Ok(Recovered {
        manifest: Manifest {
            taken: foreign.taken.clone(),
            ..Manifest::default()
        },
        keyspaces: Keyspace::redistribute(vec![keyspace], shards),
        functions,
        needs_base: true,
        keys: 0,
    })
}

fn read_files(
    foreign: &Foreign,
    config: &Arc<Config>,
    status: &Status,
) -> Result<(Keyspace, Vec<FunctionChange>), Halt> {
    let keyspace = Keyspace::new(0, 1, config.databases as usize);
    let now = unix_ms();
    let mut feed = Feed::new(Executor::new(keyspace, config, now), config, status);
    if foreign.is_snapshot {
        for path in &foreign.files {
            feed.snapshot(path, Some(now))?;
        }
        return Ok(feed.executor.into_keyspace());
    }
    let last = foreign.files.len().saturating_sub(1);
    for (at, path) in foreign.files.iter().enumerate() {
        let began = Instant::now();
        let end = feed.log(path, u64::MAX)?;
        if !end.is_whole {
            truncated(path, end.offset, at == last, config)?;
        }
        log::info!(
            "DB loaded from {} file {}: {:.3} seconds",
            if at == 0 && foreign.has_base {
                "base"
            } else {
                "incr"
            },
            name_of(path),
            began.elapsed().as_secs_f64()
        );
    }
    Ok(feed.executor.into_keyspace())
}

/// A log that breaks off: only the last one may, and only where the configuration allows it. What is said is Redis's.
pub(super) fn truncated(
    path: &Path,
    offset: u64,
    is_last: bool,
    config: &Config,
) -> Result<(), Halt> {
    let name = name_of(path);
    if !config.aof_load_truncated {
        return Err(Halt::Fatal(format!(
            "Unexpected end of file reading the append only file {name}: what is whole ends at offset {offset}. Make a \
             backup of it and cut it there (redis-check-aof --fix does, or slotwise-dump check --fix for the files of this \
             server), or set aof-load-truncated to yes and start again."
        )));
    }
    if !is_last {
        return Err(Halt::Fatal(format!(
            "Fatal error: the truncated file is not the last file: {name} breaks off at offset {offset}"
        )));
    }
    log::warn!("!!! Warning: short read while loading the AOF file {name}!!!");
    log::warn!(
        "AOF {name} loaded anyway because aof-load-truncated is enabled: up to offset {offset}"
    );
    Ok(())
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().map(PathBuf::from).unwrap_or_default();
    name.display().to_string()
}
