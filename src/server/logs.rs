//! The append-only files at start: opened once the data are in, before anybody is served.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};

use crate::config::{AppendFsync, Config};
use crate::engine::SharedLinks;
use crate::mesh::message::CoreMessage;
use crate::observe::Observatory;
use crate::persistence::aof::log::{Growing, Log};
use crate::persistence::aof::manifest::{Durability, Manifest};
use crate::persistence::aof::set::{Set, boot_id};
use crate::persistence::file::RealDisk;

/// Numbers that one run may use for its steps and epochs.
const NUMBERS_OF_A_RUN: u64 = 1 << 40;

/// What a reply promises under a configuration, as the manifest says it.
pub(super) fn durability(config: &Config) -> Durability {
    match config.appendfsync {
        AppendFsync::Always => Durability::Always,
        AppendFsync::EverySec | AppendFsync::No => Durability::Relaxed,
    }
}

/// Gives every shard its log. `manifest` is what was found; `needs_base`: the data are in no file that it names, so each
/// shard writes its keys down first.
pub(super) fn open(
    manifest: Manifest,
    needs_base: bool,
    config: &Config,
    links: &SharedLinks,
    observatory: &Observatory,
) -> Result<(), String> {
    let status = &observatory.snapshots.log;
    let directory = config.dir.join(&config.appenddirname);
    let failed = |error: io::Error| {
        format!(
            "Can't open the append-only files in '{}': {error}. Look at the directory's owner and the room on its disk, \
             or start with 'appendonly no'.",
            directory.display()
        )
    };
    let before = bytes_of(&directory, &manifest);
    let first = manifest.next_number.max(1);
    let prefix = &config.appendfilename;
    let mut set = Set::new(Arc::new(RealDisk), directory.clone(), prefix, manifest);
    set.set_run(&boot_id(), durability(config), first + NUMBERS_OF_A_RUN);
    status.numbers_from(first);
    let (files, before) = if needs_base {
        let mut rewrite = set.begin_anew(links.shards()).map_err(failed)?;
        write_bases(&rewrite.bases, links).map_err(failed)?;
        let files = std::mem::take(&mut rewrite.logs);
        set.finish(rewrite).map_err(failed)?;
        (files, bytes_of(&directory, set.manifest()))
    } else {
        (set.begin(links.shards()).map_err(failed)?, before)
    };
    status.base_bytes.store(before, Relaxed);
    hand_out(files, before, links);
    *status.lock_set() = Some(set);
    status.on.store(true, Relaxed);
    Ok(())
}

/// Each core gets its log. What earlier files hold is counted with the first.
fn hand_out(files: Vec<Box<dyn Growing>>, before: u64, links: &SharedLinks) {
    for ((index, file), core) in files.into_iter().enumerate().zip(links.shard_cores()) {
        let before = if index == 0 { before } else { 0 };
        core.mail(CoreMessage::KeepLog(Box::new(Log::new(file, 0, before))));
        core.wake_by_event();
    }
}

/// All cores write their bases side by side.
fn write_bases(paths: &[std::path::PathBuf], links: &SharedLinks) -> io::Result<()> {
    let (done, outcomes) = mpsc::channel();
    for (path, core) in paths.iter().zip(links.shard_cores()) {
        let (path, done) = (path.clone(), done.clone());
        core.mail(CoreMessage::WriteBase { path, done });
        core.wake_by_event();
    }
    drop(done);
    paths.iter().try_for_each(|_| {
        let gone = |_| io::Error::other("a core has ended");
        outcomes.recv().map_err(gone)?
    })
}

/// Bytes of the files that a manifest names.
fn bytes_of(directory: &std::path::Path, manifest: &Manifest) -> u64 {
    let files = manifest.generations.iter().flat_map(|one| &one.files);
    let size = |name: &str| std::fs::metadata(directory.join(name)).map_or(0, |meta| meta.len());
    files.map(|file| size(&file.name)).sum()
}
