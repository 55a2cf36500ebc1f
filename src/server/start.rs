//! Bringing back the data: the snapshot file that a server finds when it starts.
//!
//! The main thread reads the file and hands the keys to the cores that own them, which decode them side by side. The
//! cores serve what needs no data meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, RecvTimeoutError};
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
use crate::replication::{Backlog, Replid};
use crate::resp::request::write_command;
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
    let _account = status.beside.account(); // the cores free what this thread has read
    let started = Instant::now();
    let (mut keys, mut functions) = (0, Vec::new());
    let mut stream = StreamFacts::default();
    let is_replica = observatory.replication.is_replica.load(Relaxed);
    let mut ends = Ends::new(config, is_replica);
    for path in files {
        match load_one(path, config, links, status, &mut ends)? {
            Some(report) => {
                keys += report.keys;
                (functions, stream) = (report.functions, report.stream); // each file of a set has them all
            }
            None => return Ok(()),
        }
    }
    add_libraries(&functions, &observatory.scripts)?;
    restore_history(&stream, ends.commands, links, status);
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
    ends: &mut Ends,
) -> Result<Option<Report>, String> {
    match load_file(path, config, links, status, ends) {
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

/// What a primary says of keys whose time had come before they were loaded: replicas that go on with the history of the
/// file still have them. Of that, what replicas could be sent is kept.
struct Ends {
    commands: Backlog,
    size: u64,
    word: &'static [u8],
    db: Option<u64>,
    /// A replica leaves them to its primary.
    is_replica: bool,
}

impl Ends {
    fn new(config: &Config, is_replica: bool) -> Self {
        Ends {
            commands: Backlog::new(1),
            size: config.repl_backlog_size,
            word: match config.lazyfree_lazy_expire {
                true => b"UNLINK",
                false => b"DEL",
            },
            db: None,
            is_replica,
        }
    }

    fn add(&mut self, db: u64, key: &[u8]) {
        let mut bytes = Vec::new();
        if self.db.replace(db) != Some(db) {
            write_command(&mut bytes, &[b"SELECT", db.to_string().as_bytes()]);
        }
        write_command(&mut bytes, &[self.word, key]);
        self.commands.append(&bytes);
        self.commands.trim(self.size, None);
    }
}

fn load_file(
    path: &Path,
    config: &Config,
    links: &SharedLinks,
    status: &Status,
    ends: &mut Ends,
) -> Result<Report, LoadError> {
    let shards = links.shards();
    let plan = Plan {
        limits: Limits::of(config),
        check_sum: config.rdbchecksum,
        databases: config.databases as usize,
        now: unix_ms(),
        drop_expired: false,
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
    let (mut keys, mut expired) = (0, 0);
    let mut report = load::load(&RealDisk, path, &plan, status, |loaded| {
        if !ends.is_replica && loaded.expire_at.is_some_and(|at| at < plan.now) {
            expired += 1;
            ends.add(loaded.db, &loaded.key);
            return Ok(());
        }
        let owner = usize::from(key_slot(&loaded.key)) % shards;
        load::delay(config.key_load_delay_us, &mut keys);
        sender.add(owner, *loaded)
    })?;
    let empty = sender.finish()?;
    report.keys -= empty + expired;
    report.empty += empty;
    report.expired += expired;
    status.keys_loaded.store(report.keys, Relaxed);
    status.keys_expired.store(report.expired, Relaxed);
    report.log();
    Ok(report)
}

/// Tells the control core which history the data belong to, if the file says all of it. A primary's stream goes on when this
/// returns: nobody has written yet.
fn restore_history(stream: &StreamFacts, ends: Backlog, links: &SharedLinks, status: &Status) {
    let id = stream.id.as_deref().and_then(Replid::parse);
    if let (Some(id), Some(offset), Some(db)) = (id, stream.offset, stream.db) {
        let control = links.control();
        let (begun, has_begun) = mpsc::channel();
        control.mail(CoreMessage::Restored {
            id,
            offset,
            db,
            ends: Box::new(ends),
            begun,
        });
        control.wake_by_event();
        while let Err(RecvTimeoutError::Timeout) = has_begun.recv_timeout(LOOK) {
            if status.stopping.load(Relaxed) {
                return;
            }
        }
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
