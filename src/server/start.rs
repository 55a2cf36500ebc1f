//! Bringing back the data: the snapshot file that a server finds when it starts.
//!
//! The main thread reads the file and hands the keys to the cores that own them, which decode them side by side. The
//! cores serve what needs no data meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
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
use crate::persistence::load::{self, LoadError, Plan};
use crate::persistence::rdb::Limits;
use crate::script::{CoreScripts, Scripts};

/// The file to load, if there is one.
pub(super) fn snapshot_file(config: &Config) -> Option<PathBuf> {
    if config.dbfilename.is_empty() {
        return None;
    }
    let path = config.dir.join(&config.dbfilename);
    path.symlink_metadata().is_ok().then_some(path)
}

/// Loads the file into the shards. The text of an error is for whoever started the server.
pub(super) fn load(
    path: &Path,
    config: &Config,
    links: &SharedLinks,
    observatory: &Observatory,
) -> Result<(), String> {
    let status = &observatory.snapshots;
    let started = Instant::now();
    match load_file(path, config, links, status) {
        Ok((keys, functions)) => {
            add_libraries(&functions, &observatory.scripts)?;
            log::info!(
                "DB loaded from disk: {:.3} seconds, {keys} keys",
                started.elapsed().as_secs_f64()
            );
        }
        // It went away between two looks: an empty data set, as if it had never been there.
        Err(error) if error.is_missing() => {}
        Err(LoadError::Stopped) => return Ok(()),
        Err(error @ LoadError::Io(..)) => {
            log::error!("{error}");
            return Err("Fatal error loading the DB, check server logs. Exiting.".to_owned());
        }
        Err(error) => {
            log::error!("{}", error.of_file(path));
            return Err(
                "Terminating server after rdb file reading failure. redis-check-rdb tells more about the file."
                    .to_owned(),
            );
        }
    }
    Ok(())
}

/// Lets the cores serve.
pub(super) fn open_gates(links: &SharedLinks, status: &Status) {
    status.loading.store(false, Relaxed);
    for core in links.shard_cores() {
        core.mail(CoreMessage::Loaded);
        core.wake_by_event();
    }
}

fn load_file(
    path: &Path,
    config: &Config,
    links: &SharedLinks,
    status: &Status,
) -> Result<(u64, Vec<Vec<u8>>), LoadError> {
    let shards = links.shards();
    let plan = Plan {
        limits: Limits::of(config),
        check_sum: config.rdbchecksum,
        databases: config.databases as usize,
        now: unix_ms(),
        drop_expired: true,
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
        delay(config.key_load_delay_us, &mut keys);
        sender.add(owner, *loaded)
    })?;
    let empty = sender.finish()?;
    report.keys -= empty;
    report.empty += empty;
    status.keys_loaded.store(report.keys, Relaxed);
    report.log();
    Ok((report.keys, report.functions))
}

/// Makes loading slow, as tests want it: see the configuration. `keys` counts them.
fn delay(us: i32, keys: &mut u32) {
    *keys = keys.wrapping_add(1);
    match us {
        0 => {}
        1.. => std::thread::sleep(Duration::from_micros(us.unsigned_abs().into())),
        _ if keys.is_multiple_of(us.unsigned_abs()) => {
            std::thread::sleep(Duration::from_micros(1));
        }
        _ => {}
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
