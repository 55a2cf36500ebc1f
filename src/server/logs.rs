//! The append-only files at start: opened once the data are in, before anybody is served.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::config::Config;
use crate::engine::SharedLinks;
use crate::mesh::message::CoreMessage;
use crate::observe::Observatory;
use crate::persistence::aof::log::{Growing, Log};
use crate::persistence::aof::manifest::{Durability, FileKind, Manifest};
use crate::persistence::aof::rewrite::{NUMBERS_OF_A_RUN, durability};
use crate::persistence::aof::set::{Set, boot_id};
use crate::persistence::file::{Disk, RealDisk};
use crate::recovery::{Choice, Recovered};

use super::recover;

/// Brings back the data set that `choice` says, opens the files that it goes on in, and hands both to the cores. The text
/// of an error is for whoever started the server.
pub(super) fn start(
    choice: Choice,
    config: &Arc<Config>,
    links: &SharedLinks,
    observatory: &Observatory,
) -> Result<(), String> {
    let shards = links.shards();
    let directory = config.dir.join(&config.appenddirname);
    let failed = |error: io::Error| {
        format!(
            "Can't open the append-only files in '{}': {error}. Look at the directory's owner and the room on its disk, \
             or start with 'appendonly no'.",
            directory.display()
        )
    };
    // Before they are read: what breaks off is cut, and somebody else may be writing there.
    let held = match directory.is_dir() {
        true => RealDisk.hold(&directory).map_err(failed)?,
        false => None,
    };
    let Some(recovered) = recover::bring_back(choice, config, shards, observatory)? else {
        return Ok(()); // told to stop meanwhile
    };
    let Recovered {
        manifest,
        mut keyspaces,
        needs_base,
        ..
    } = recovered;
    let status = &observatory.snapshots.log;
    let first = manifest.next_number.max(1);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let prefix = &config.appendfilename;
    let mut set = Set::new(disk.clone(), directory.clone(), prefix, manifest);
    set.keep(held);
    set.set_run(&boot_id(), durability(config), first + NUMBERS_OF_A_RUN);
    status.numbers_from(first);
    let files = if needs_base {
        let mut rewrite = set.begin_anew(shards).map_err(failed)?;
        let bases = &rewrite.bases;
        recover::write_bases(&*disk, bases, &mut keyspaces, config, observatory).map_err(failed)?;
        let files = std::mem::take(&mut rewrite.logs);
        set.finish(rewrite).map_err(failed)?;
        files
    } else {
        set.begin(shards).map_err(failed)?
    };
    let before = bytes_of(&directory, set.manifest(), |_| true);
    // What has come since a base was written is growth, whenever that was.
    let bases = bytes_of(&directory, set.manifest(), |kind| kind == FileKind::Base);
    status.base_bytes.store(bases, Relaxed);
    *status.lock_set() = Some(set);
    status
        .always
        .store(durability(config) == Durability::Always, Relaxed);
    status.on.store(true, Relaxed);
    status.complete.store(true, Relaxed);
    recover::hand_over(keyspaces, links);
    hand_out(files, before, links);
    Ok(())
}

/// The cores have ended, each with its log on disk: a start after the machine has gone down as well can rely on all of it.
pub(super) fn end(observatory: &Observatory) {
    let log = &observatory.snapshots.log;
    if !log.complete.load(Relaxed) || log.trouble().is_some() {
        return;
    }
    if let Some(set) = &mut *log.lock_set()
        && let Err(error) = set.end()
    {
        log::warn!("Can't note in the manifest that the files are complete: {error}");
    }
}

/// Each core gets its log. What earlier files hold is counted with the first.
fn hand_out(files: Vec<Box<dyn Growing>>, before: u64, links: &SharedLinks) {
    for ((index, file), core) in files.into_iter().enumerate().zip(links.shard_cores()) {
        let before = if index == 0 { before } else { 0 };
        core.mail(CoreMessage::KeepLog(Box::new(Log::new(file, 0, before))));
        core.wake_by_event();
    }
}

/// Bytes of the files of some kinds that a manifest names.
fn bytes_of(directory: &Path, manifest: &Manifest, counts: impl Fn(FileKind) -> bool) -> u64 {
    let files = manifest.generations.iter().flat_map(|one| &one.files);
    let size = |name: &str| std::fs::metadata(directory.join(name)).map_or(0, |meta| meta.len());
    files
        .filter(|file| counts(file.kind))
        .map(|file| size(&file.name))
        .sum()
}
