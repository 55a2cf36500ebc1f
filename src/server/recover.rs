//! Bringing back the data set of a server with append-only files, and handing it to the cores.
//!
//! The cores serve what needs no data meanwhile; nothing reaches the shards before all of it is there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::clock::unix_ms;
use crate::config::Config;
use crate::engine::SharedLinks;
use crate::keyspace::Keyspace;
use crate::mesh::message::CoreMessage;
use crate::observe::Observatory;
use crate::persistence::file::Disk;
use crate::persistence::snapshot::{self, About, Header};
use crate::recovery::{self, Choice, Recovered};
use crate::shard::usage;

/// Reads what was chosen, and adds its function libraries. Nothing comes back when the server is told to stop
/// meanwhile. The text of an error is for whoever started the server.
pub(super) fn bring_back(
    choice: Choice,
    config: &Arc<Config>,
    shards: usize,
    observatory: &Observatory,
) -> Result<Option<Recovered>, String> {
    let status = &observatory.snapshots;
    let Some(recovered) = recovery::recover(choice, config, shards, status)? else {
        return Ok(None);
    };
    recovery::functions::apply(&recovered.functions, &observatory.scripts)?;
    Ok(Some(recovered))
}

/// Writes the share of each shard as the base of its append-only file, side by side, and waits until they are on disk.
/// Nobody serves the shares yet. The names count when a manifest lists them.
pub(super) fn write_bases(
    disk: &dyn Disk,
    bases: &[PathBuf],
    keyspaces: &mut [Keyspace],
    config: &Config,
    observatory: &Observatory,
) -> io::Result<()> {
    let functions = observatory.snapshots.functions.sources();
    let (used_memory, now) = (observatory.used_memory(), unix_ms());
    let write = |shard: usize, path: &Path, keyspace: &Keyspace| {
        let about = About {
            header: Header {
                now,
                used_memory,
                aof_base: true,
                // They are the server's, not a shard's: one file has them.
                functions: if shard == 0 {
                    functions.clone()
                } else {
                    Vec::new()
                },
                stream: None,
            },
            compress: config.rdbcompression,
            check_sum: config.rdbchecksum,
            incremental_sync: true,
            key_delay_us: 0,
            usage: &|entry| usage(entry, config, now),
        };
        let mut output = disk.create(path)?;
        snapshot::write(&mut *output, &[keyspace], &about)?;
        output.sync()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (bases.iter().zip(keyspaces.iter_mut()).enumerate())
            .map(|(shard, (path, keyspace))| {
                let write = &write;
                scope.spawn(move || write(shard, path, keyspace))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            let failed = |_| Err(io::Error::other("a thread that writes has failed"));
            thread.join().unwrap_or_else(failed)
        })
    })
}

/// Gives each core its shard's share.
pub(super) fn hand_over(keyspaces: Vec<Keyspace>, links: &SharedLinks) {
    for (core, keyspace) in links.shard_cores().iter().zip(keyspaces) {
        core.mail(CoreMessage::Adopt(Box::new(keyspace)));
        core.wake_by_event();
    }
}
