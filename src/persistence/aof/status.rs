//! What is known about the append-only files: whether they are written, how far, what went wrong.
//!
//! One value for the whole server, as that for snapshots beside it.

use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed,
};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::rewrite::Rewrites;
use super::set::Set;

/// See the head of the file.
#[derive(Default)]
pub struct LogStatus {
    /// Shards write logs.
    pub on: AtomicBool,
    /// The files hold the data set: not yet, after they were begun at run time, until all bases are there.
    pub complete: AtomicBool,
    /// Answers stand on the disk, as the configuration now says.
    pub always: AtomicBool,
    /// The files; none while there are none.
    set: Mutex<Option<Set>>,
    /// The next number for a step over several shards, or for an epoch.
    next_number: AtomicU64,
    /// What the last write failed with (errno); zero when it went through.
    pub write_error: AtomicI32,
    /// What a sync has failed with; zero when none has since the last complete set was written.
    pub sync_error: AtomicI32,
    /// Rewriting the files.
    pub rewrites: Rewrites,
    /// Syncs that were still under way when the next one was due (`aof_delayed_fsync`).
    pub delayed_syncs: AtomicU64,
    /// Syncs under way (`aof_pending_bio_fsync`).
    pub pending_syncs: AtomicI64,
    /// Size of all files when they had last been written anew, or of the base at start (`aof_base_size`).
    pub base_bytes: AtomicU64,
    /// Each write is preceded by so long a wait, as on a disk that is slow (DEBUG AOF-FLUSH-SLEEP).
    pub write_delay_us: AtomicU64,
    /// Logs of which more waits to be written than `aof-buffer-limit` allows.
    pub behind: AtomicUsize,
}

impl LogStatus {
    /// The files, for whoever changes which there are.
    pub fn lock_set(&self) -> MutexGuard<'_, Option<Set>> {
        // A panic ends the process, so a poisoned lock is never met.
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers from here on have not been used by earlier runs.
    pub fn numbers_from(&self, number: u64) {
        self.next_number.store(number, Relaxed);
    }

    /// A number of its own, greater than those before.
    pub fn number(&self) -> u64 {
        self.next_number.fetch_add(1, Relaxed)
    }

    /// Why writing commands are refused, if they are: an errno.
    pub fn trouble(&self) -> Option<i32> {
        let error = |of: &AtomicI32| Some(of.load(Relaxed)).filter(|&error| error != 0);
        error(&self.write_error).or_else(|| error(&self.sync_error))
    }
}

impl std::fmt::Debug for LogStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogStatus")
    }
}
