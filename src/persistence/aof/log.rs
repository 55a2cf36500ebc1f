//! One shard's log as it is written: the file, how far it has been written and how far it is on disk.
//!
//! A log belongs to its shard and travels with it; whoever holds the shard appends. How far the file is on disk is
//! shared, because any core may have synced it. A reply that promises durability waits for *marks*: places in files up
//! to which they must be on disk. A step over several shards leaves in each participant's log the marks of the others:
//! what follows it there must not be acknowledged before the whole step is on disk, or recovery, which drops a step
//! that is not whole together with what follows, would drop something acknowledged.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::number::format_i64;
use crate::effect::TIME_MARK;

/// Bytes of a file that whoever lets go of it last closes itself.
const CLOSED_HERE_MAX: u64 = 1 << 20;

/// What a log asks of its file. Appending and syncing may come from different threads.
pub trait Growing: Send + Sync {
    /// Writes at the end; how many bytes the disk took.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Returns when what was written before the call survives a loss of power.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// The descriptor, where there is one: then a ring may sync it.
    fn fd(&self) -> Option<RawFd>;
}

/// A file that was opened for appending.
impl Growing for fs::File {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self;
        file.write(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn fd(&self) -> Option<RawFd> {
        Some(self.as_raw_fd())
    }
}

/// A log's file, shared by whoever waits for it.
pub struct LogFile {
    /// There until the end.
    file: Option<Box<dyn Growing>>,
    synced: AtomicU64,
}

impl LogFile {
    /// A file of which the first `synced` bytes are on disk.
    pub fn new(file: Box<dyn Growing>, synced: u64) -> Self {
        LogFile {
            file: Some(file),
            synced: AtomicU64::new(synced),
        }
    }

    /// The descriptor, for a ring that is to sync it.
    pub fn fd(&self) -> Option<RawFd> {
        self.file().fd()
    }

    fn file(&self) -> &dyn Growing {
        &**self.file.as_ref().expect("it goes with the value")
    }

    /// Everything up to `to` bytes is on disk.
    pub fn on_synced(&self, to: u64) {
        self.synced.fetch_max(to, Ordering::AcqRel);
    }

    /// Syncs at once, on this thread.
    pub fn sync_now(&self, to: u64) -> io::Result<()> {
        self.file().sync()?;
        self.on_synced(to);
        Ok(())
    }
}

impl Drop for LogFile {
    /// Closing a large file that has been removed frees what the system keeps of it, which takes milliseconds.
    fn drop(&mut self) {
        if let Some(file) = self.file.take()
            && self.synced.load(Ordering::Relaxed) > CLOSED_HERE_MAX
        {
            // Where there is no thread to be had the file is closed here after all.
            let thread = std::thread::Builder::new().name("closing".to_owned());
            let _ = thread.spawn(move || drop(file));
        }
    }
}

/// A place in a file.
#[derive(Clone)]
pub struct Mark {
    /// The file.
    pub file: Arc<LogFile>,
    /// Bytes from its start.
    pub to: u64,
}

impl Mark {
    /// Whether the file is on disk so far.
    pub fn is_synced(&self) -> bool {
        self.file.synced.load(Ordering::Acquire) >= self.to
    }
}

/// A shard's log.
pub struct Log {
    file: Arc<LogFile>,
    /// Bytes of whole commands in the file.
    length: u64,
    /// Bytes of the files before it, the base included.
    before: u64,
    /// What must be on disk before anything that follows here is acknowledged: steps that others have a part in.
    behind: Vec<Mark>,
    /// The second of the last annotation of time (`aof-timestamp-enabled`).
    last_second: i64,
    /// The last append has failed: nothing is tried before this time, in Unix milliseconds.
    retry_at: i64,
}

impl Log {
    /// A log that goes on at the end of a file of `length` bytes, all of them on disk, after files of `before` bytes.
    pub fn new(file: Box<dyn Growing>, length: u64, before: u64) -> Self {
        Log {
            file: Arc::new(LogFile::new(file, length)),
            length,
            before,
            behind: Vec::new(),
            last_second: 0,
            retry_at: 0,
        }
    }

    /// Appends whole commands; `second` is written before them when it is a new one. After an error the file ends where
    /// it did before, so far as the disk lets it.
    pub fn append(&mut self, bytes: &[u8], second: Option<i64>) -> io::Result<()> {
        let mut stamped;
        let mut rest = bytes;
        if let Some(second) = second.filter(|second| *second > self.last_second) {
            stamped = TIME_MARK.to_vec();
            stamped.extend_from_slice(&format_i64(second));
            stamped.extend_from_slice(b"\r\n");
            stamped.extend_from_slice(bytes);
            rest = &stamped;
            self.last_second = second;
        }
        let length = rest.len() as u64;
        while !rest.is_empty() {
            let error = match self.file.file().append(rest) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(taken) => {
                    rest = &rest[taken..];
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            // Half a command at the end would be in the way of what comes next.
            self.file.file().truncate(self.length)?;
            return Err(error);
        }
        self.length += length;
        Ok(())
    }

    /// Whether an append may be tried: always, but not at once after one has failed.
    #[inline]
    pub fn may_try(&self, now_ms: i64) -> bool {
        now_ms >= self.retry_at
    }

    /// An append has failed: the next is tried a little later. Or it has gone through.
    pub fn retry_at(&mut self, at_ms: i64) {
        self.retry_at = at_ms;
    }

    /// Whether the last append has failed.
    pub fn is_stuck(&self) -> bool {
        self.retry_at > 0
    }

    /// Goes on in another file. What is in the old one must be on disk before what follows counts as being so.
    pub fn switch_to(&mut self, file: Box<dyn Growing>) {
        let old = self.mark();
        self.before += self.length;
        self.file = Arc::new(LogFile::new(file, 0));
        self.length = 0;
        self.behind.push(old);
    }

    /// A rewrite has put everything before the present file into a base of so many bytes.
    pub fn rebase(&mut self, bytes: u64) {
        self.before = bytes;
    }

    /// The end of the file.
    pub fn mark(&self) -> Mark {
        Mark {
            file: self.file.clone(),
            to: self.length,
        }
    }

    /// Whether all that an acknowledgement stands on is on disk.
    pub fn is_synced(&mut self) -> bool {
        self.behind.retain(|mark| !mark.is_synced());
        self.behind.is_empty() && self.mark().is_synced()
    }

    /// Whether what follows here stands on other files that are not on disk.
    pub fn stands_on_others(&self) -> bool {
        self.behind.iter().any(|mark| !mark.is_synced())
    }

    /// All that must be on disk before what has been appended so far is acknowledged, and is not yet.
    pub fn unsynced(&mut self, into: &mut Vec<Mark>) {
        if !self.is_synced() {
            into.extend(self.behind.iter().cloned());
            let mark = self.mark();
            if !mark.is_synced() {
                into.push(mark);
            }
        }
    }

    /// A step ended here that the other shards of `marks` have a part in.
    pub fn stands_on(&mut self, marks: &[Mark]) {
        let own = &self.file;
        self.behind.extend(
            marks
                .iter()
                .filter(|mark| !Arc::ptr_eq(&mark.file, own))
                .cloned(),
        );
    }

    /// Bytes of all files of this log (`aof_current_size`).
    pub fn total_bytes(&self) -> u64 {
        self.before + self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Takes at most so many bytes in all, and at most seven at a time.
    struct Narrow(Mutex<(Vec<u8>, usize)>);

    impl Growing for Arc<Narrow> {
        fn append(&self, bytes: &[u8]) -> io::Result<usize> {
            let mut inner = self.0.lock().unwrap();
            let room = inner.1 - inner.0.len();
            if room == 0 {
                return Err(io::Error::from_raw_os_error(28));
            }
            let taken = bytes.len().min(7).min(room);
            inner.0.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn truncate(&self, length: u64) -> io::Result<()> {
            self.0.lock().unwrap().0.truncate(length as usize);
            Ok(())
        }

        fn fd(&self) -> Option<RawFd> {
            None
        }
    }

    fn narrow(room: usize) -> (Arc<Narrow>, Log) {
        let file = Arc::new(Narrow(Mutex::new((Vec::new(), room))));
        let log = Log::new(Box::new(file.clone()), 0, 0);
        (file, log)
    }

    #[test]
    fn a_write_that_fails_midway_leaves_the_file_as_it_was() {
        let (file, mut log) = narrow(30);
        log.append(b"twenty bytes of text", None).unwrap();
        assert!(log.append(b"twenty bytes of text", None).is_err());
        assert_eq!(file.0.lock().unwrap().0, b"twenty bytes of text");
        assert_eq!(log.total_bytes(), 20);
        log.append(b"ten bytes.", None).unwrap();
        assert_eq!(log.total_bytes(), 30);
    }

    #[test]
    fn a_second_is_written_once() {
        let (file, mut log) = narrow(100);
        log.append(b"a", Some(5)).unwrap();
        log.append(b"b", Some(5)).unwrap();
        log.append(b"c", Some(6)).unwrap();
        assert_eq!(file.0.lock().unwrap().0, b"#TS:5\r\nab#TS:6\r\nc");
    }

    #[test]
    fn what_follows_a_step_waits_for_all_its_parts() {
        let (_, mut here) = narrow(100);
        let (_, mut there) = narrow(100);
        here.append(b"part", None).unwrap();
        there.append(b"part", None).unwrap();
        let marks = [here.mark(), there.mark()];
        here.stands_on(&marks);
        there.stands_on(&marks);
        here.append(b"next", None).unwrap();
        here.mark().file.on_synced(8);
        assert!(!here.is_synced(), "the other part is not on disk");
        let mut needed = Vec::new();
        here.unsynced(&mut needed);
        assert_eq!(needed.len(), 1);
        there.mark().file.on_synced(4);
        assert!(here.is_synced() && there.is_synced());
        here.switch_to(Box::new(Arc::new(Narrow(Mutex::new((Vec::new(), 9))))));
        assert!(here.is_synced());
        here.append(b"x", None).unwrap();
        assert!(!here.is_synced());
    }
}
