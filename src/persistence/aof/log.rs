//! One shard's log as it is written: the file, how far it has been written and how far it is on disk.
//!
//! A log belongs to its shard and travels with it; whoever holds the shard appends. How far the file is on disk is
//! shared, because any core may have synced it. A reply that promises durability waits for *marks*: places in files up
//! to which they must be on disk. A step over several shards leaves in each participant's log the marks of the others:
//! what follows it there must not be acknowledged before the whole step is on disk, or recovery, which drops a step
//! that is not whole together with what follows, would drop something acknowledged. With the marks of the others goes what
//! *they* stand on: a step that is dropped takes along the next one on one of its shards, and with that what follows on a
//! third.
//!
//! *Seals* are lines with a checksum of all bytes since the one before (or the beginning of the file): a part of a sector
//! that was lost with the power does not pass for a value. Under `always` each append ends with one, otherwise each epoch.
//!
//! On a slow disk a thread writes ([`super::writer`]), and what a reply waits for is that its mark is *written*.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::seal::Unsealed;
use super::writer::{Deferred, Failure, Writer};
use crate::base::number::format_i64;
use crate::base::slot::Slot;
use crate::base::sys::voluntary_waits;
use crate::effect::TIME_MARK;

/// Bytes of a file that whoever lets go of it last closes itself.
const CLOSED_HERE_MAX: u64 = 1 << 20;

/// An append that takes so long shows a disk that is slow.
const SLOW_NS: u64 = 5_000_000;
/// What each byte may take beyond that: memory that is copied at 500 MB a second.
const SLOW_NS_PER_BYTE: u64 = 2;
/// How long the disk must have been quick before a log is written plainly again, at first and at most, milliseconds.
const CALM_MIN_MS: i64 = 250;
const CALM_MAX_MS: i64 = 60_000;
/// A disk that is slow again within so many times that waits twice as long the next time.
const RELAPSE: i64 = 8;
/// How often somebody looks whether a thread has written.
const LOOK: Duration = Duration::from_millis(1);

/// Whether an append of so many bytes that took so long is slow.
#[inline]
pub fn is_slow(ns: u64, bytes: usize) -> bool {
    ns > SLOW_NS && ns > SLOW_NS + SLOW_NS_PER_BYTE * bytes as u64
}

/// An append that takes so long shows it whatever the reason.
const SLOW_AT_ONCE_NS: u64 = 100_000_000;
/// For so long after an append that was slow for one reason or the other it is looked at which, in milliseconds.
const WARY_MS: i64 = 3000;

/// Tells a disk that is slow from a processor that others want: both make an append take long, and only in the first case
/// has the thread waited for something.
///
/// Asking the system each time would cost as much as a small append. So the first one that takes long is let pass, and for a
/// while from then on it is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    wary_until_ms: i64,
    waits: Option<i64>,
}

impl Watch {
    /// An append begins.
    #[inline]
    pub fn begin(&mut self, now_ms: i64) {
        self.waits = (now_ms < self.wary_until_ms).then(voluntary_waits);
    }

    /// An append of so many bytes has taken so long: whether the disk is slow.
    #[inline]
    pub fn is_slow(&mut self, now_ms: i64, ns: u64, bytes: usize) -> bool {
        is_slow(ns, bytes) && self.was_the_disk(now_ms, ns)
    }

    #[cold]
    fn was_the_disk(&mut self, now_ms: i64, ns: u64) -> bool {
        self.wary_until_ms = now_ms + WARY_MS;
        ns > SLOW_AT_ONCE_NS || self.waits.is_some_and(|waits| waits != voluntary_waits())
    }
}

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
    /// Bytes that the system has taken.
    written: AtomicU64,
    synced: AtomicU64,
    /// A thread could not write what it was handed: nobody waits for that any more.
    gave_up: AtomicBool,
    /// What was not written never will be.
    lost: AtomicBool,
    /// Cores that wait for a thread to write, a bit for each (modulo 64).
    waiting: AtomicU64,
}

impl LogFile {
    /// A file of which the first `synced` bytes are on disk.
    pub fn new(file: Box<dyn Growing>, synced: u64) -> Self {
        LogFile {
            file: Some(file),
            written: AtomicU64::new(synced),
            synced: AtomicU64::new(synced),
            gave_up: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            waiting: AtomicU64::new(0),
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

    /// Syncs at once, on this thread. What a thread has not written yet is not synced with it.
    pub fn sync_now(&self, to: u64) -> io::Result<()> {
        let to = self.written_of(to);
        self.file().sync()?;
        self.on_synced(to);
        Ok(())
    }

    /// How much of what ends at `to` has been written, and can be synced.
    pub fn written_of(&self, to: u64) -> u64 {
        to.min(self.written.load(Ordering::SeqCst))
    }

    /// Appends whole commands to a file of `length` bytes. After an error it ends where it did before, so far as the disk
    /// lets it.
    pub(super) fn append(&self, mut rest: &[u8], length: u64) -> io::Result<()> {
        let end = length + rest.len() as u64;
        while !rest.is_empty() {
            let error = match self.file().append(rest) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(taken) => {
                    rest = &rest[taken..];
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            // Half a command at the end would be in the way of what comes next.
            self.file().truncate(length)?;
            return Err(error);
        }
        self.written.store(end, Ordering::Release);
        Ok(())
    }

    /// Nobody waits for what could not be written, or somebody does again.
    pub(super) fn give_up(&self, has: bool) {
        self.gave_up.store(has, Ordering::SeqCst);
    }

    /// The file ends where it ends: what was to follow is elsewhere, or lost.
    pub(super) fn ends_here(&self) {
        self.lost.store(true, Ordering::SeqCst);
    }

    /// The cores that wait, by their bits; they wait no longer.
    pub(super) fn take_waiting(&self) -> u64 {
        self.waiting.swap(0, Ordering::SeqCst)
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

/// What is waited for at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The system has it: it survives the end of this process.
    Written,
    /// The disk has it.
    Synced,
}

/// A place in a file.
#[derive(Clone)]
pub struct Mark {
    /// The file.
    pub file: Arc<LogFile>,
    /// Bytes from its start.
    pub to: u64,
    /// What is waited for.
    pub need: Need,
}

impl Mark {
    /// Whether the file is as far as is needed.
    pub fn is_reached(&self) -> bool {
        match self.need {
            Need::Written => self.is_written(),
            Need::Synced => self.is_synced(),
        }
    }

    /// Whether the file is on disk so far, or as far as it will ever go.
    pub fn is_synced(&self) -> bool {
        let synced = self.file.synced.load(Ordering::Acquire);
        synced >= self.to
            || self.file.lost.load(Ordering::SeqCst) && synced >= self.file.written_of(self.to)
    }

    /// Whether the file is written so far, or nobody waits for that any more.
    pub fn is_written(&self) -> bool {
        self.file.written.load(Ordering::SeqCst) >= self.to
            || self.file.gave_up.load(Ordering::SeqCst)
    }

    /// A core wants to be woken when more is written. It must look once more afterwards.
    pub fn wake_when_written(&self, core: usize) {
        self.file
            .waiting
            .fetch_or(1 << (core % 64), Ordering::SeqCst);
    }

    /// Waits until it is written, on a thread that may. False when that was given up.
    pub fn wait_until_written(&self) -> bool {
        while !self.is_written() {
            std::thread::sleep(LOOK);
        }
        !self.file.gave_up.load(Ordering::SeqCst)
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
    /// Answers may have to wait until something is written: `deferred`, or `awaited` is not empty.
    slow: bool,
    /// A thread writes.
    deferred: Option<Box<Deferred>>,
    /// What must be written before anything that follows here is acknowledged: steps that others have a part in.
    awaited: Vec<Mark>,
    /// What a thread could not write: it comes before all else.
    left: Vec<u8>,
    /// For how long the disk must be quick before this log is written plainly again, in milliseconds.
    calm_ms: i64,
    /// When it last was, in Unix milliseconds.
    recovered_at: i64,
    /// What has come since the last seal.
    unsealed: Unsealed,
    /// The next append ends with a seal.
    seals: bool,
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
            slow: false,
            deferred: None,
            awaited: Vec::new(),
            left: Vec::new(),
            calm_ms: CALM_MIN_MS,
            recovered_at: 0,
            unsealed: Unsealed::default(),
            seals: false,
        }
    }

    /// The next append ends with a seal, if there is anything to seal.
    #[inline]
    pub fn seal_next(&mut self) {
        self.seals = true;
    }

    /// Whether an append of nothing would write a seal.
    pub fn has_to_seal(&self) -> bool {
        self.seals && self.unsealed.length() > 0
    }

    /// Appends whole commands; `second` is written before them when it is a new one. After an error the file ends where
    /// it did before, so far as the disk lets it.
    pub fn append(&mut self, bytes: &[u8], second: Option<i64>) -> io::Result<()> {
        if !self.left.is_empty() {
            self.file.append(&self.left, self.length)?;
            self.length += self.left.len() as u64;
            self.left = Vec::new();
            self.file.give_up(false);
        }
        let (rest, unsealed) = self.stamped(bytes, second);
        self.file.append(&rest, self.length)?;
        self.length += rest.len() as u64;
        self.unsealed = unsealed;
        self.seals = false;
        Ok(())
    }

    /// Whole commands, behind a second that has not been written before, and sealed if that is wanted. What is unsealed
    /// afterwards.
    fn stamped<'a>(&mut self, bytes: &'a [u8], second: Option<i64>) -> (Cow<'a, [u8]>, Unsealed) {
        let mut rest = match second.filter(|second| *second > self.last_second) {
            Some(second) => {
                self.last_second = second;
                Cow::Owned(stamp(second, bytes))
            }
            None => Cow::Borrowed(bytes),
        };
        let mut unsealed = self.unsealed.clone();
        unsealed.update(&rest);
        if self.seals && unsealed.length() > 0 {
            unsealed.seal(rest.to_mut());
        }
        (rest, unsealed)
    }

    // A slow disk.

    /// Whether answers that rest on this log may have to wait until it is written.
    #[inline]
    pub fn is_slow(&self) -> bool {
        self.slow
    }

    /// Whether a thread writes this log.
    pub fn is_deferred(&self) -> bool {
        self.deferred.is_some()
    }

    fn mind_slow(&mut self) {
        self.awaited.retain(|mark| !mark.is_written());
        self.slow = self.deferred.is_some() || !self.awaited.is_empty();
    }

    /// From here on this writer's thread writes. All that was appended before is written.
    pub fn defer(&mut self, writer: Arc<Writer>, now_ms: i64) {
        assert!(self.deferred.is_none(), "one thread writes a log");
        self.calm_ms = match now_ms - self.recovered_at < self.calm_ms * RELAPSE {
            true => (self.calm_ms * 2).min(CALM_MAX_MS),
            false => CALM_MIN_MS,
        };
        self.deferred = Some(Box::new(Deferred::new(writer)));
        self.slow = true;
    }

    /// More than `limit` bytes that wait for the thread are too many: commands that write are refused.
    pub fn set_buffer_limit(&self, limit: u64) {
        if let Some(deferred) = &self.deferred {
            deferred.writer.set_limit(limit);
        }
    }

    /// Hands whole commands to the thread. They have changed keys of these slots; none for "of any slot".
    pub fn hand_on(&mut self, bytes: &[u8], second: Option<i64>, slots: Option<&[Slot]>) {
        let (rest, unsealed) = self.stamped(bytes, second);
        let deferred = self.deferred.as_mut().expect("a thread writes");
        deferred.push(&self.file, &rest, self.length, slots);
        self.length += rest.len() as u64;
        self.unsealed = unsealed;
        self.seals = false;
    }

    /// Writes plainly again when the disk has been quick for a while and nothing is left to write. True when it does.
    pub fn recover(&mut self, now_ms: i64) -> bool {
        let calm = Duration::from_millis(self.calm_ms as u64);
        if let Some(deferred) = &self.deferred
            && deferred.writer.is_calm(calm)
        {
            self.deferred = None;
            self.recovered_at = now_ms;
            self.mind_slow();
            return true;
        }
        false
    }

    /// What the thread could not write is this log's again, to be appended before all else, and the thread ends. The
    /// error, and whether something is lost that belonged into a file before this one.
    pub fn take_back(&mut self) -> Option<(io::Error, bool)> {
        let deferred = self.deferred.as_ref()?;
        let Failure { error, chunks } = deferred.writer.take_failure()?;
        let mut lost = false;
        for chunk in chunks {
            if Arc::ptr_eq(&chunk.file, &self.file) {
                if self.left.is_empty() {
                    self.length = chunk.from;
                }
                self.left.extend_from_slice(&chunk.bytes);
            } else {
                chunk.file.ends_here();
                lost = true;
            }
        }
        self.deferred = None;
        self.mind_slow();
        Some((error, lost))
    }

    /// Whether something is left that a thread could not write.
    pub fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// What is left is elsewhere.
    pub fn drop_left(&mut self) {
        if self.has_left() {
            self.left = Vec::new();
            self.file.ends_here();
        }
    }

    /// Waits until the thread has written everything, or cannot.
    pub fn drain(&self) {
        if let Some(deferred) = &self.deferred {
            deferred.writer.drain();
        }
    }

    /// Bytes that were handed to a thread, or left by one, and are not written.
    pub fn unwritten_bytes(&self) -> u64 {
        let queued = self.deferred.as_ref().map_or(0, |one| one.writer.bytes());
        queued + self.left.len() as u64
    }

    /// The longest time that the thread has taken for a write since this was last asked, in nanoseconds.
    pub fn longest_write_ns(&self) -> u64 {
        let deferred = self.deferred.as_ref();
        deferred.map_or(0, |one| one.writer.take_longest_ns())
    }

    /// All that must be written before what has been recorded so far is acknowledged, and is not yet.
    pub fn unwritten(&mut self, into: &mut Vec<Mark>) {
        self.mind_slow();
        into.extend(self.awaited.iter().cloned());
        let mark = Mark {
            need: Need::Written,
            ..self.mark()
        };
        if !mark.is_written() {
            into.push(mark);
        }
    }

    /// What this log has to have, or the others that it stands on, before its last step counts as written or, for `always`, as
    /// being on disk. Places in the same file become one.
    pub fn needs(&mut self, always: bool, into: &mut Vec<Mark>) {
        let mut marks = Vec::new();
        match always {
            true => self.unsynced(&mut marks),
            false => self.unwritten(&mut marks),
        }
        marks.into_iter().for_each(|mark| add_mark(into, mark));
    }

    /// A step ended here, and these are the [needs](Log::needs) of all that have a part in it: what follows waits until they
    /// are written.
    pub fn awaits(&mut self, marks: &[Mark]) {
        let own = self.file.clone();
        let others = marks
            .iter()
            .filter(|mark| !Arc::ptr_eq(&mark.file, &own) && !mark.is_written());
        for mark in others.cloned() {
            let need = Need::Written;
            add_mark(&mut self.awaited, Mark { need, ..mark });
        }
        self.mind_slow();
    }

    /// Whether all changes to keys of a slot are written.
    pub fn is_clean(&self, slot: Slot) -> bool {
        !self.slow
            || self.awaited.iter().all(Mark::is_written)
                && self.deferred.as_ref().is_none_or(|one| one.is_clean(slot))
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
        self.unsealed = Unsealed::default();
        if !old.is_written() {
            let need = Need::Written;
            let to_come = Mark {
                need,
                ..old.clone()
            };
            add_mark(&mut self.awaited, to_come); // the new file says nothing of it
            self.slow = true;
        }
        add_mark(&mut self.behind, old);
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
            need: Need::Synced,
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

    /// A step ended here, and these are the [needs](Log::needs) of all that have a part in it: what follows is not on disk
    /// before they are.
    pub fn stands_on(&mut self, marks: &[Mark]) {
        let own = self.file.clone();
        let others = marks.iter().filter(|mark| !Arc::ptr_eq(&mark.file, &own));
        others
            .cloned()
            .for_each(|mark| add_mark(&mut self.behind, mark));
    }

    /// Bytes of all files of this log (`aof_current_size`).
    pub fn total_bytes(&self) -> u64 {
        self.before + self.length
    }
}

/// Adds a place; of two in one file the later one says all.
fn add_mark(marks: &mut Vec<Mark>, mark: Mark) {
    let same = |other: &&mut Mark| Arc::ptr_eq(&other.file, &mark.file);
    match marks.iter_mut().find(same) {
        Some(other) => other.to = other.to.max(mark.to),
        None => marks.push(mark),
    }
}

/// Commands with an annotation of time before them.
fn stamp(second: i64, bytes: &[u8]) -> Vec<u8> {
    let mut stamped = TIME_MARK.to_vec();
    stamped.extend_from_slice(&format_i64(second));
    stamped.extend_from_slice(b"\r\n");
    stamped.extend_from_slice(bytes);
    stamped
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
    fn a_thread_that_was_only_kept_from_running_shows_no_slow_disk() {
        let (mut watch, slow) = (Watch::default(), 20_000_000);
        watch.begin(1000);
        assert!(!watch.is_slow(1000, slow, 100), "the first one");
        watch.begin(1001);
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(1) {}
        assert!(!watch.is_slow(1001, slow, 100), "it has waited for nothing");
        watch.begin(1002);
        std::thread::sleep(Duration::from_millis(1));
        assert!(watch.is_slow(1002, slow, 100));
        watch.begin(1003);
        assert!(watch.is_slow(1003, 10 * slow, 100));
        watch.begin(9000);
        std::thread::sleep(Duration::from_millis(1));
        assert!(!watch.is_slow(9000, slow, 100), "long after the last one");
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
        let mut marks = Vec::new();
        here.needs(true, &mut marks);
        there.needs(true, &mut marks);
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
