//! Rewriting the append-only files: how far it has come, how it ended, and what the bases of the shards go into.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};

use super::manifest::{self, Durability, Manifest};
use super::set::{Rewrite, Set, boot_id};
use crate::config::{AppendFsync, Config};
use crate::persistence::Status;
use crate::persistence::background::Consumer;
use crate::persistence::file::{Disk, Output, RealDisk};

/// Numbers that one run may use for its steps and epochs.
pub const NUMBERS_OF_A_RUN: u64 = 1 << 40;
/// After so many failures in a row a rewrite that nobody has asked for waits (Redis: AOF_REWRITE_LIMITE_THRESHOLD).
const FAILURES_AT_ONCE: u64 = 3;
/// How long it waits at most, in seconds.
const WAIT_MAX_S: u64 = 3600;

const IDLE: u8 = 0;
const SCHEDULED: u8 = 1;
const DUE: u8 = 2;
const UNDER_WAY: u8 = 3;

/// What is known about rewriting.
#[derive(Debug, Default)]
pub struct Rewrites {
    state: AtomicU8,
    /// Unix seconds when the one under way began.
    began_at: AtomicI64,
    /// Seconds that the last one took; one too many, so that zero says there was none.
    took: AtomicI64,
    /// The last one failed.
    failed: AtomicBool,
    failures: AtomicU64,
    /// Begun since start.
    pub begun: AtomicU64,
}

impl Rewrites {
    fn change(&self, from: u8, to: u8) -> bool {
        self.state
            .compare_exchange(from, to, Relaxed, Relaxed)
            .is_ok()
    }

    /// One is wanted; `later`: as soon as the snapshot that is under way is written. False when one is on its way.
    pub fn want(&self, later: bool) -> bool {
        self.change(IDLE, if later { SCHEDULED } else { DUE })
    }

    /// Whether the first core is to begin one.
    #[inline]
    pub fn is_due(&self) -> bool {
        self.state.load(Relaxed) == DUE
    }

    /// Whether one is to follow the snapshot under way.
    pub fn is_scheduled(&self) -> bool {
        self.state.load(Relaxed) == SCHEDULED
    }

    /// The snapshot is over.
    pub fn snapshot_is_over(&self) {
        self.change(SCHEDULED, DUE);
    }

    /// The one that is due begins.
    pub fn begin(&self, now_ms: i64) {
        self.state.store(UNDER_WAY, Relaxed);
        self.began_at.store(now_ms / 1000, Relaxed);
        self.begun.fetch_add(1, Relaxed);
    }

    /// It is over.
    pub fn end(&self, now_ms: i64, is_well: bool) {
        let seconds = now_ms / 1000 - self.began_at.load(Relaxed);
        self.took.store(seconds + 1, Relaxed);
        self.failed.store(!is_well, Relaxed);
        if is_well {
            self.failures.store(0, Relaxed);
        } else {
            self.failures.fetch_add(1, Relaxed);
        }
        self.state.store(IDLE, Relaxed);
    }

    /// Whether one is under way, or begins at once.
    pub fn is_under_way(&self) -> bool {
        matches!(self.state.load(Relaxed), DUE | UNDER_WAY)
    }

    /// Seconds since the beginning of the one under way; -1 when there is none.
    pub fn seconds(&self, now_ms: i64) -> i64 {
        match self.state.load(Relaxed) {
            UNDER_WAY => now_ms / 1000 - self.began_at.load(Relaxed),
            _ => -1,
        }
    }

    /// Seconds that the last one took; -1 before the first.
    pub fn last_seconds(&self) -> i64 {
        self.took.load(Relaxed) - 1
    }

    /// Whether the last one failed.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    /// Failures since the last one that went well.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Whether one that nobody has asked for may begin: after some failures in a row the next one waits longer each time.
    pub fn may_try(&self, now_ms: i64) -> bool {
        let failures = self.failures();
        if failures == 0 {
            return true;
        }
        let beyond = failures.saturating_sub(FAILURES_AT_ONCE).min(6);
        let wait = if failures < FAILURES_AT_ONCE {
            5
        } else {
            (60 << beyond).min(WAIT_MAX_S)
        };
        now_ms / 1000 - self.began_at.load(Relaxed) >= wait as i64
    }
}

/// What a reply promises under a configuration, as the manifest says it.
pub fn durability(config: &Config) -> Durability {
    match config.appendfsync {
        AppendFsync::Always => Durability::Always,
        AppendFsync::EverySec | AppendFsync::No => Durability::Relaxed,
    }
}

/// Prepares to rewrite the files of so many shards; where none are written yet, to write the first. Waits for the disk.
pub fn prepare(status: &Status, config: &Config, shards: usize) -> io::Result<Rewrite> {
    let mut set = status.log.lock_set();
    if let Some(set) = &mut *set {
        return set.prepare();
    }
    let directory = config.dir.join(&config.appenddirname);
    // Files of an earlier time go when the new ones are complete.
    let earlier = match std::fs::read_to_string(directory.join(manifest::NAME)) {
        Ok(text) => Manifest::parse(&text).unwrap_or_default(),
        Err(_) => Manifest::default(),
    };
    let first = earlier.next_number.max(1);
    let disk = Arc::new(RealDisk);
    let mut new = Set::new(disk, directory, &config.appendfilename, earlier);
    new.set_run(&boot_id(), durability(config), first + NUMBERS_OF_A_RUN);
    status.log.numbers_from(first);
    let rewrite = new.begin_anew(shards)?;
    *set = Some(new);
    Ok(rewrite)
}

/// The bases of all shards, on their way to the disk.
pub struct Bases {
    disk: Arc<dyn Disk>,
    status: Arc<Status>,
    rewrite: Option<Rewrite>,
}

impl Bases {
    /// Those of a rewrite.
    pub fn new(disk: Arc<dyn Disk>, status: Arc<Status>, rewrite: Rewrite) -> Self {
        Bases {
            disk,
            status,
            rewrite: Some(rewrite),
        }
    }

    fn path(&self, number: usize) -> Option<&Path> {
        Some(self.rewrite.as_ref()?.bases.get(number)?.as_path())
    }

    /// A path that temporary names are made from.
    pub fn spill(&self) -> std::path::PathBuf {
        self.path(0).unwrap_or(Path::new("")).to_owned()
    }
}

impl Consumer for Bases {
    fn open(&mut self, number: usize) -> io::Result<Box<dyn Output>> {
        match self.path(number) {
            Some(path) => self.disk.create(path),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn commit(&mut self) -> io::Result<()> {
        // Taken: if the manifest could not be replaced for certain, what it may name must stay.
        match (&mut *self.status.log.lock_set(), self.rewrite.take()) {
            (Some(set), Some(rewrite)) => set.finish(rewrite),
            _ => Err(io::Error::other("there are no append-only files any more")),
        }
    }

    fn abandon(&mut self) {
        if let (Some(set), Some(rewrite)) = (&*self.status.log.lock_set(), &self.rewrite) {
            set.abandon(rewrite);
        }
    }
}
