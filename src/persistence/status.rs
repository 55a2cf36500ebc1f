//! What is known about snapshots: when the last one was written, whether one is being loaded and how far.
//!
//! One value for the whole server, shared by whoever writes, loads or reports. All of it is numbers of their own; nobody
//! draws conclusions from two of them together but INFO, which may be a moment behind.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::aof::status::LogStatus;
use super::background::{Feed, Wake};
use super::snapshot::StreamPlace;
use crate::base::allocator::Beside;
use crate::config::Config;

/// Whoever knows the function libraries, which a snapshot holds beside the keys.
#[derive(Default)]
pub struct Functions(OnceLock<Box<dyn Fn() -> Vec<Vec<u8>> + Send + Sync>>);

impl Functions {
    /// Says once, at start, where the sources of the libraries come from.
    pub fn set(&self, sources: impl Fn() -> Vec<Vec<u8>> + Send + Sync + 'static) {
        assert!(
            self.0.set(Box::new(sources)).is_ok(),
            "a server starts once"
        );
    }

    /// The sources; none where nobody knows of any.
    pub fn sources(&self) -> Vec<Vec<u8>> {
        self.0.get().map(|sources| sources()).unwrap_or_default()
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Functions")
    }
}

/// Moments that are marked in the stream which replicas follow: somebody waits to hear where they lie.
#[derive(Debug, Default)]
pub struct Moments {
    last: AtomicU64,
    asked: Mutex<Vec<(u64, Sender<StreamPlace>)>>,
}

/// Numbers of barriers from here on are those of moments; what is below is the control core's.
const MOMENTS: u64 = 1 << 62;

impl Moments {
    fn asked(&self) -> MutexGuard<'_, Vec<(u64, Sender<StreamPlace>)>> {
        // A panic ends the process, so a poisoned lock is never met.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for the barrier that marks a moment, and where its place will be told.
    pub fn ask(&self) -> (u64, Receiver<StreamPlace>) {
        let (teller, place) = channel();
        let number = MOMENTS | self.last.fetch_add(1, Relaxed);
        self.asked().push((number, teller));
        (number, place)
    }

    /// A barrier has been passed. False when it marks no such moment.
    pub fn tell(&self, number: u64, place: impl FnOnce() -> StreamPlace) -> bool {
        if number < MOMENTS {
            return false;
        }
        let mut asked = self.asked();
        if let Some(at) = asked.iter().position(|(asked, _)| *asked == number) {
            let (_, teller) = asked.swap_remove(at);
            let _ = teller.send(place()); // who asked may have given up
        }
        true
    }
}

/// What a walk through all shards is for. There is one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// BGSAVE and save points.
    Snapshot,
    /// The append-only files are rewritten.
    Rewrite,
    /// Replicas get a full copy.
    Sync,
}

/// So long writes wait for a disk that takes nothing at all, milliseconds.
const STALLED_MS: i64 = 10_000;

/// Snapshots in the background: what is under way, and how the last one ended.
#[derive(Default)]
pub struct Saves {
    under_way: Mutex<Option<(Purpose, Arc<Feed>)>>,
    /// A snapshot is under way, or a full copy for replicas.
    saving: AtomicBool,
    /// One is to be begun as soon as possible.
    pub scheduled: AtomicBool,
    /// The last one failed.
    failed: AtomicBool,
    /// Unix seconds when the last one was begun.
    pub tried_at: AtomicI64,
    /// Seconds that the last one took; one too many, so that zero says there was none.
    took: AtomicI64,
    /// Bytes that writes made the last one copy or keep.
    pub copied: AtomicU64,
    /// Feeds that have writes wait; there may be one that is under way, and one that is being given up.
    pub crowds: Arc<AtomicUsize>,
    /// How far the writer was when that was last looked at, and since when it has not come further, Unix milliseconds.
    stalled: Mutex<(u64, i64)>,
    wake: OnceLock<Wake>,
    /// Writers' threads that have not ended, also of what was given up.
    writers: Mutex<usize>,
    writer_ended: Condvar,
}

impl fmt::Debug for Saves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Saves")
    }
}

impl Saves {
    fn lock(&self) -> MutexGuard<'_, Option<(Purpose, Arc<Feed>)>> {
        // A panic ends the process, so a poisoned lock is never met.
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Says once, at start, how cores are woken.
    pub fn set_wake(&self, wake: Wake) {
        assert!(self.wake.set(wake).is_ok(), "a server starts once");
    }

    /// How cores are woken; none where there is no server around, in tests.
    pub fn wake(&self) -> Option<Wake> {
        self.wake.get().cloned()
    }

    /// What is under way.
    pub fn under_way(&self) -> Option<(Purpose, Arc<Feed>)> {
        self.lock().clone()
    }

    /// Whether a snapshot is under way, for the disk or for replicas.
    pub fn is_saving(&self) -> bool {
        self.saving.load(Relaxed)
    }

    /// A walk begins.
    pub fn begins(&self, purpose: Purpose, feed: Arc<Feed>) {
        *self.lock() = Some((purpose, feed));
        *self.writers() += 1;
        self.saving.store(purpose != Purpose::Rewrite, Relaxed);
    }

    fn writers(&self) -> MutexGuard<'_, usize> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A writer's thread ends: it has nothing more to clear away.
    pub fn writer_ends(&self, feed: &Arc<Feed>) {
        self.ended(feed);
        *self.writers() -= 1;
        self.writer_ended.notify_all();
    }

    /// Waits until no writer's thread is left, for so long at most: they remove what they have not finished.
    pub fn wait_for_writers(&self, longest: Duration) {
        let _ = self
            .writer_ended
            .wait_timeout_while(self.writers(), longest, |left| *left > 0);
    }

    /// What is under way for `feed` is over; nothing happens if something else is under way by now.
    fn ended(&self, feed: &Arc<Feed>) {
        let mut under_way = self.lock();
        if let Some((purpose, current)) = &*under_way
            && Arc::ptr_eq(current, feed)
        {
            if *purpose == Purpose::Snapshot {
                self.took
                    .store(feed.began().elapsed().as_secs() as i64 + 1, Relaxed);
                self.copied.store(feed.copied(), Relaxed);
            }
            *under_way = None;
            self.saving.store(false, Relaxed);
        }
    }

    /// Gives up what is under way for this purpose; false if nothing is.
    pub fn cancel(&self, purpose: Purpose) -> bool {
        match self.under_way() {
            Some((of, feed)) if of == purpose => {
                feed.cancel();
                self.ended(&feed);
                true
            }
            _ => false,
        }
    }

    /// Whether writes that would make a walk keep more wait for the disk.
    #[inline]
    pub fn is_crowded(&self) -> bool {
        self.crowds.load(Relaxed) > 0
    }

    /// Gives up what is under way when writes wait for it and the disk has taken nothing for a long time. To be called now and
    /// then. What it was for.
    pub fn give_up_stalled(&self, now_ms: i64) -> Option<Purpose> {
        let (purpose, feed) = self.under_way()?;
        let progress = feed.progress_made();
        let mut stalled = self.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        if !feed.is_crowded() || stalled.0 != progress || stalled.1 == 0 {
            *stalled = (progress, now_ms);
            return None;
        }
        if now_ms - stalled.1 < STALLED_MS {
            return None;
        }
        drop(stalled);
        self.cancel(purpose).then_some(purpose)
    }

    /// How the last snapshot ended.
    pub fn set_failed(&self, failed: bool) {
        self.failed.store(failed, Relaxed);
    }

    /// Whether the last snapshot failed.
    #[inline]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    /// Seconds that the last one took; -1 before the first.
    pub fn last_seconds(&self) -> i64 {
        self.took.load(Relaxed) - 1
    }
}

/// Why commands that write are refused: what they did could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The last snapshot could not be written, and `stop-writes-on-bgsave-error` wants to hear of it.
    Snapshot,
    /// A log could not be written or synced: the errno.
    Log(i32),
    /// More waits to be written to a log than is allowed: the disk is slow.
    Behind,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub struct Status {
    /// Snapshots in the background.
    pub saves: Saves,
    /// Function libraries.
    pub functions: Functions,
    /// Moments marked in the stream that replicas follow.
    pub moments: Moments,
    /// The append-only files.
    pub log: LogStatus,
    /// Unix seconds of the last snapshot that was written (LASTSAVE); the start of the server before the first.
    pub saved_at: AtomicI64,
    /// Changes of all shards when it was written.
    pub saved_changes: AtomicU64,
    /// Snapshots begun since start.
    pub begun: AtomicU64,
    /// A file is being loaded and most commands are refused.
    pub loading: AtomicBool,
    /// A full copy is being loaded beside the data, which are there to be read meanwhile (`async_loading`).
    pub loading_beside: AtomicBool,
    /// Unix seconds of the beginning of that.
    pub load_started_at: AtomicI64,
    /// Size of the file, in bytes.
    pub load_total: AtomicU64,
    /// Bytes of it that have been read.
    pub load_done: AtomicU64,
    /// Microseconds that a save waits for each key (`rdb-key-save-delay`, for tests).
    pub key_delay_us: Arc<AtomicU64>,
    /// Bytes that threads which are no cores have taken or given.
    pub beside: Beside,
    /// Memory in use when the file was written, as it says itself.
    pub load_used_memory: AtomicU64,
    /// Keys that the last loading has brought.
    pub keys_loaded: AtomicU64,
    /// Keys of that file whose time had come.
    pub keys_expired: AtomicU64,
    /// Checksums of files and payloads are not verified (DEBUG SET-SKIP-CHECKSUM-VALIDATION).
    pub skip_checksums: AtomicBool,
    /// The server is stopping: loading is given up.
    pub stopping: AtomicBool,
    /// The moment of a primary's stream that the data are, while whoever saves them has all shards in hand.
    followed: Mutex<Option<StreamPlace>>,
}

impl Status {
    /// That of a server started at this time, in Unix milliseconds.
    pub fn new(started_ms: i64) -> Self {
        Status {
            saved_at: AtomicI64::new(started_ms / 1000),
            ..Status::default()
        }
    }

    /// A snapshot has been written at `now_ms`, when the shards had counted so many changes.
    pub fn saved(&self, now_ms: i64, changes: u64) {
        self.saved_at.store(now_ms / 1000, Relaxed);
        self.saved_changes.fetch_max(changes, Relaxed);
        self.saves.set_failed(false);
    }

    /// Why commands that write are refused, if they are.
    #[inline]
    pub fn trouble(&self, stops_writes: impl FnOnce() -> bool) -> Option<Trouble> {
        if self.saves.has_failed() && stops_writes() {
            return Some(Trouble::Snapshot);
        }
        let behind = || (self.log.behind.load(Relaxed) > 0).then_some(Trouble::Behind);
        self.log.trouble().map(Trouble::Log).or_else(behind)
    }

    /// Changes since the last snapshot, of `changes` in all.
    pub fn unsaved(&self, changes: u64) -> u64 {
        changes.saturating_sub(self.saved_changes.load(Relaxed))
    }

    /// Takes over what the configuration says of slow saves.
    pub fn set_key_delay(&self, config: &Config) {
        let us = u64::try_from(config.rdb_key_save_delay_us).unwrap_or(0);
        self.key_delay_us.store(us, Relaxed);
    }

    /// Says which moment of a primary's stream the data are, or that nobody saves them.
    pub fn set_followed(&self, place: Option<StreamPlace>) {
        // A panic ends the process, so a poisoned lock is never met.
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    /// What `set_followed` has said.
    pub fn followed(&self) -> Option<StreamPlace> {
        let followed = self.followed.lock();
        followed.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loading begins.
    pub fn load_begins(&self, now_ms: i64, bytes: u64) {
        self.load_started_at.store(now_ms / 1000, Relaxed);
        self.load_total.store(bytes, Relaxed);
        self.load_done.store(0, Relaxed);
        self.load_used_memory.store(0, Relaxed);
    }
}
