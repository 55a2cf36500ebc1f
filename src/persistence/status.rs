//! What is known about snapshots: when the last one was written, whether one is being loaded and how far.
//!
//! One value for the whole server, shared by whoever writes, loads or reports. All of it is numbers of their own; nobody
//! draws conclusions from two of them together but INFO, which may be a moment behind.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use super::aof::status::LogStatus;

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

/// Why commands that write are refused: what they did could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The last snapshot could not be written, and `stop-writes-on-bgsave-error` wants to hear of it.
    Snapshot,
    /// A log could not be written or synced: the errno.
    Log(i32),
}

/// See the head of the file.
#[derive(Debug, Default)]
pub struct Status {
    /// Function libraries.
    pub functions: Functions,
    /// The append-only files.
    pub log: LogStatus,
    /// Unix seconds of the last snapshot that was written (LASTSAVE); the start of the server before the first.
    pub saved_at: AtomicI64,
    /// Changes of all shards when it was written.
    pub saved_changes: AtomicU64,
    /// The last one failed, there are save points, and writes stop then (`stop-writes-on-bgsave-error`).
    pub refuses_writes: AtomicBool,
    /// Snapshots begun since start.
    pub saves: AtomicU64,
    /// A file is being loaded and most commands are refused.
    pub loading: AtomicBool,
    /// Unix seconds of the beginning of that.
    pub load_started_at: AtomicI64,
    /// Size of the file, in bytes.
    pub load_total: AtomicU64,
    /// Bytes of it that have been read.
    pub load_done: AtomicU64,
    /// Bytes that threads which are no cores have allocated for the data less what they freed, modulo 2^64.
    pub loaded_bytes: AtomicU64,
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
        self.saved_changes.store(changes, Relaxed);
    }

    /// Why commands that write are refused, if they are.
    #[inline]
    pub fn trouble(&self) -> Option<Trouble> {
        if self.refuses_writes.load(Relaxed) {
            return Some(Trouble::Snapshot);
        }
        self.log.trouble().map(Trouble::Log)
    }

    /// Changes since the last snapshot, of `changes` in all.
    pub fn unsaved(&self, changes: u64) -> u64 {
        changes.saturating_sub(self.saved_changes.load(Relaxed))
    }

    /// Loading begins.
    pub fn load_begins(&self, now_ms: i64, bytes: u64) {
        self.load_started_at.store(now_ms / 1000, Relaxed);
        self.load_total.store(bytes, Relaxed);
        self.load_done.store(0, Relaxed);
        self.load_used_memory.store(0, Relaxed);
    }
}
