//! Bringing back a data set from its files.
//!
//! `choice.rs` finds out which files hold it, `own.rs` and `foreign.rs` read a set of ours and what Redis wrote,
//! `feed.rs` takes one file into one shard, where `executor.rs` runs its commands and `script.rs` its scripts; `redis_set.rs` is Redis's manifest,
//! `functions.rs` what becomes of function libraries, `damage.rs` what a loss of power leaves in a log, `inspect.rs` what
//! `slotwise-dump` tells of files.
//!
//! Nobody serves the shards that are filled here. Threads of their own read the files, each its own, under the number of
//! shards they were written with; then whole slots go over to the shards there are now ([`Keyspace::redistribute`]).
//! Whoever starts the server gives these to the cores and goes on writing where [`Recovered::manifest`] says.

pub mod check;
pub mod choice;
mod damage;
pub mod executor;
mod feed;
mod foreign;
pub mod functions;
pub mod inspect;
mod own;
pub mod redis_set;
mod script;

#[cfg(test)]
mod power_disk;
#[cfg(test)]
mod power_tests;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::base::clock::unix_ms;
use crate::base::number::parse_i64;
use crate::config::Config;
use crate::effect::{EPOCH_MARK, TRANSACTION_MARK};
use crate::keyspace::Keyspace;
use crate::persistence::Status;
use crate::persistence::aof::manifest::Manifest;

use own::Files;

pub use choice::{Choice, choose};
pub use functions::FunctionChange;

/// How often progress is logged while files are read.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// A data set that has been brought back.
pub struct Recovered {
    /// Where the writer goes on: the manifest as it is after what did not count was cut off; the default one when there
    /// was none. Its boot id and durability are those of the past.
    pub manifest: Manifest,
    /// The shares of the shards there are now, in order. Nothing in them has been looked at for its time.
    pub keyspaces: Vec<Keyspace>,
    /// Changes to the function libraries, to be applied in order ([`functions::apply`]).
    pub functions: Vec<FunctionChange>,
    /// The data are in no file that the manifest lists: a base must be on disk before anything is acknowledged. Then
    /// `manifest.taken` says what it was made of.
    pub needs_base: bool,
    /// How many keys there are.
    pub keys: u64,
}

/// Why a data set cannot be brought back.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The server stops.
    Stopped,
    /// Something that is no command stands in a log.
    Malformed {
        path: PathBuf,
        offset: u64,
        reason: String,
    },
    /// Anything else, as it is told to whoever started the server.
    Fatal(String),
}

impl Halt {
    /// What is said when the start ends. `own`: the file is one of ours.
    fn text(self, own: bool) -> String {
        match self {
            Halt::Stopped => String::new(),
            Halt::Fatal(text) => text,
            Halt::Malformed {
                path,
                offset,
                reason,
            } => {
                let advice = if own {
                    let directory = path.parent().unwrap_or(Path::new("."));
                    format!(
                        "'slotwise-dump check {}' tells what can be kept, with --fix it keeps that.",
                        directory.display()
                    )
                } else {
                    "Make a backup of it, then use redis-check-aof --fix on it.".to_owned()
                };
                format!(
                    "Bad file format reading the append only file {}: at offset {offset}: {reason}. {advice}",
                    path.display()
                )
            }
        }
    }
}

/// Number of an annotation, and whether it announces a step rather than an epoch.
fn number_of(annotation: &[u8]) -> Option<(u64, bool)> {
    let (digits, is_step) = match annotation.strip_prefix(TRANSACTION_MARK) {
        Some(rest) => {
            let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
            (&rest[..end], true)
        }
        None => (annotation.strip_prefix(EPOCH_MARK)?, false),
    };
    Some((u64::try_from(parse_i64(digits)?).ok()?, is_step))
}

/// Reads what was chosen, for so many shards. Nothing comes back when the server is told to stop meanwhile
/// (`status.stopping`). The text of an error is for whoever started the server. Files of ours are cut where they do not
/// count, and what counts is on disk; other files are left as they are.
pub fn recover(
    choice: Choice,
    config: &Arc<Config>,
    shards: usize,
    status: &Status,
) -> Result<Option<Recovered>, String> {
    let started = Instant::now();
    status.keys_loaded.store(0, Relaxed);
    status.keys_expired.store(0, Relaxed);
    status.load_begins(unix_ms(), choice.bytes());
    let account = status.beside.account();
    let is_own = matches!(choice, Choice::Own { .. });
    let outcome = match choice {
        Choice::Nothing => Ok(Recovered {
            manifest: Manifest::default(),
            keyspaces: empty(config, shards),
            functions: Vec::new(),
            needs_base: false,
            keys: 0,
        }),
        Choice::Own {
            directory,
            manifest,
        } => own::recover(&directory, manifest, config, shards, status, Files::Cut),
        Choice::Foreign(files) => foreign::recover(&files, config, shards, status),
    };
    drop(account);
    match outcome {
        Ok(mut recovered) => {
            recovered.keys = recovered.keyspaces.iter().map(keys_of).sum();
            status.keys_loaded.store(recovered.keys, Relaxed);
            log::info!(
                "DB loaded from append only file: {:.3} seconds, {} keys",
                started.elapsed().as_secs_f64(),
                recovered.keys
            );
            Ok(Some(recovered))
        }
        Err(Halt::Stopped) => Ok(None),
        Err(halt) => Err(halt.text(is_own)),
    }
}

/// Reads a set of ours again while the server runs, whose shards nobody writes to meanwhile (DEBUG LOADAOF). The files stay
/// as they are.
pub fn read_again(
    directory: &Path,
    manifest: Manifest,
    config: &Arc<Config>,
    shards: usize,
    status: &Status,
) -> Result<Recovered, String> {
    own::recover(directory, manifest, config, shards, status, Files::Leave)
        .map_err(|halt| halt.text(true))
}

fn keys_of(keyspace: &Keyspace) -> u64 {
    (0..keyspace.databases())
        .map(|db| keyspace.db(db).keys() as u64)
        .sum()
}

/// The shares of so many shards, with nothing in them.
fn empty(config: &Config, shards: usize) -> Vec<Keyspace> {
    (0..shards)
        .map(|index| Keyspace::new(index, shards, config.databases as usize))
        .collect()
}

/// Does a piece of work for each of `items`, each on a thread of its own, and logs how far `status` says that reading
/// has come. The first failure in the order of the items is the outcome.
fn in_parallel<T: Send, R: Send>(
    items: Vec<T>,
    status: &Status,
    work: impl Fn(T) -> Result<R, Halt> + Sync,
) -> Result<Vec<R>, Halt> {
    std::thread::scope(|scope| {
        let (work, started) = (&work, Instant::now());
        let threads: Vec<_> = items
            .into_iter()
            .enumerate()
            .map(|(index, item)| {
                std::thread::Builder::new()
                    .name(format!("loading-{index}"))
                    .spawn_scoped(scope, move || {
                        let _account = status.beside.account();
                        work(item)
                    })
                    .map_err(|error| Halt::Fatal(format!("Can't start a thread: {error}")))
            })
            .collect();
        let mut said = Instant::now();
        let is_over = |threads: &[Result<std::thread::ScopedJoinHandle<'_, _>, Halt>]| {
            threads
                .iter()
                .all(|thread| thread.as_ref().map_or(true, |thread| thread.is_finished()))
        };
        let mut nap = Duration::from_micros(50);
        while !is_over(&threads) {
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(20));
            if said.elapsed() >= PROGRESS_EVERY {
                said = Instant::now();
                log_progress(status, started);
            }
        }
        threads
            .into_iter()
            .map(|thread| {
                thread?
                    .join()
                    .map_err(|_| Halt::Fatal("A thread that loads has failed".to_owned()))?
            })
            .collect()
    })
}

/// How far reading has come and how long the rest will take at that pace.
fn log_progress(status: &Status, started: Instant) {
    let (total, done) = (
        status.load_total.load(Relaxed),
        status.load_done.load(Relaxed),
    );
    let share = done as f64 / total.max(1) as f64;
    let spent = started.elapsed().as_secs_f64();
    log::info!(
        "Loading: {:.0}% of {total} bytes, about {:.0} seconds left",
        (share * 100.0).min(100.0),
        if share > 0.0 {
            (spent / share - spent).max(0.0)
        } else {
            0.0
        }
    );
}
