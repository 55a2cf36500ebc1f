//! Bringing back the data: the snapshot file that a server finds when it starts.
//!
//! The main thread reads the file and hands the keys to the cores that own them, which decode them side by side. The
//! cores serve what needs no data meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::base::clock::unix_ms;
use crate::base::slot::key_slot;
use crate::config::Config;
use crate::engine::SharedLinks;
use crate::mesh::message::CoreMessage;
use crate::observe::Observatory;
use crate::persistence::Status;
use crate::persistence::file::RealDisk;
use crate::persistence::flow::Sender;
use crate::persistence::load::{self, LoadError, Plan, Report, StreamFacts};
use crate::persistence::parts;
use crate::persistence::rdb::Limits;
use crate::replication::Replid;
use crate::script::{CoreScripts, Scripts};

/// The files to load: one for all shards, one for each of a server like this, or none.
pub(super) fn snapshot_files(config: &Config) -> Result<Vec<PathBuf>, String> {
    if config.dbfilename.is_empty() {
        return Ok(Vec::new());
    }
    let path = config.dir.join(&config.dbfilename);
    parts::find(&RealDisk, &path).map_err(|error| error.to_string())
}

/// Loads the files into the shards. The text of an error is for whoever started the server.
pub(super) fn load(
    files: &[PathBuf],
    config: &Config,
    links: &SharedLinks,
    observatory: &Observatory,
) -> Result<(), String> {
    let status = &observatory.snapshots;
    let started = Instant::now();
    let (mut keys, mut functions) = (0, Vec::new());
    let mut stream = StreamFacts::default();
    for path in files {
        match load_one(path, config, links, status)? {
            Some(report) => {
                keys += report.keys;
                (functions, stream) = (report.functions, report.stream); // each file of a set has them all
            }
            None => return Ok(()),
        }
    }
    add_libraries(&functions, &observatory.scripts)?;
    restore_history(&stream, links);
    log::info!(
        "DB loaded from disk: {:.3} seconds, {keys} keys",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// How often somebody who waits for cores looks whether the server stops.
const LOOK: Duration = Duration::from_millis(20);

/// Lets the cores serve, once all of them have what was sent them: a core that serves borrows the shards of others, and
/// these must hold their keys and have their logs by then.
pub(super) fn open_gates(links: &SharedLinks, status: &Status) {
    let (done, arrived) = mpsc::channel();
    for core in links.shard_cores() {
        core.mail(CoreMessage::Arrived(done.clone()));
        core.wake_by_event();
    }
    drop(done);
    let mut missing = links.shards();
    while missing > 0 {
        match arrived.recv_timeout(LOOK) {
            Ok(()) => missing -= 1,
            // A core that has been told to stop answers nothing any more.
            Err(_) if status.stopping.load(Relaxed) => return,
            Err(_) => {}
        }
    }
    status.loading.store(false, Relaxed);
    for core in links.shard_cores() {
        core.mail(CoreMessage::Loaded);
        core.wake_by_event();
    }
}

/// Loads one file; nothing comes back when the server stops.
fn load_one(
    path: &Path,
    config: &Config,
    links: &SharedLinks,
    status: &Status,
) -> Result<Option<Report>, String> {
    match load_file(path, config, links, status) {
        Ok(loaded) => Ok(Some(loaded)),
        // It went away between two looks: an empty data set, as if it had never been there.
        Err(error) if error.is_missing() => Ok(Some(Report::default())),
        Err(LoadError::Stopped) => Ok(None),
        Err(error @ LoadError::Io(..)) => {
            log::error!("{error}");
            Err("Fatal error loading the DB, check server logs. Exiting.".to_owned())
        }
        Err(error) => {
            log::error!("{}", error.of_file(path));
            Err(
                "Terminating server after rdb file reading failure. redis-check-rdb tells more about the file."
                    .to_owned(),
            )
        }
    }
}

fn load_file(
    path: &Path,
    config: &Config,
    links: &SharedLinks,
    status: &Status,
) -> Result<Report, LoadError> {
    let shards = links.shards();
    let plan = Plan {
        limits: Limits::of(config),
        check_sum: config.rdbchecksum,
        databases: config.databases as usize,
        now: unix_ms(),
        drop_expired: config.replicaof.is_none(),
        leave_raw: true,
    };
    let mut sender = Sender::new(
        shards,
        |core, shipment| {
            let link = links.core(core);
            link.mail(CoreMessage::Load(shipment));
            link.wake_by_event();
        },
        || status.stopping.load(Relaxed),
    );
    let mut keys = 0;
    let mut report = load::load(&RealDisk, path, &plan, status, |loaded| {
        let owner = usize::from(key_slot(&loaded.key)) % shards;
        load::delay(config.key_load_delay_us, &mut keys);
        sender.add(owner, *loaded)
    })?;
    let empty = sender.finish()?;
    report.keys -= empty;
    report.empty += empty;
    status.keys_loaded.store(report.keys, Relaxed);
    report.log();
    Ok(report)
}

/// Tells the control core which history the data belong to, if the file says all of it.
fn restore_history(stream: &StreamFacts, links: &SharedLinks) {
    let id = stream.id.as_deref().and_then(Replid::parse);
    if let (Some(id), Some(offset), Some(db)) = (id, stream.offset, stream.db) {
        let control = links.control();
        control.mail(CoreMessage::Restored { id, offset, db });
        control.wake_by_event();
    }
}

/// Adds the function libraries of a file. One that does not load ends the start, as in Redis: an application would find
/// half of what it relies on.
fn add_libraries(sources: &[Vec<u8>], scripts: &Arc<Scripts>) -> Result<(), String> {
    let interpreter = CoreScripts::new(scripts.clone());
    for source in sources {
        let failed =
            |text: &str| format!("Failed loading a function library of the snapshot: {text}");
        let library = interpreter
            .read_library(source)
            .map_err(|error| failed(&String::from_utf8_lossy(error.as_bytes())))?;
        scripts
            .change_libraries(|all| all.add(Arc::new(library), false))
            .map_err(|text| failed(&text))?;
    }
    Ok(())
}
