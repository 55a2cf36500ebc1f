//! A log on a slow disk: a thread writes what the holders of the shard hand to it, so that no core waits.
//!
//! The thread begins when an append has taken long ([`super::log::is_slow`]) and ends when the disk has been quick for a
//! while. What is handed to it goes into one queue, the oldest first, each piece with the file it belongs into; so a
//! rewrite, which gives the log another file, changes no order. What it cannot write goes back to the log, and the thread
//! ends. The queue takes whatever comes: beyond its limit commands that write are refused (`aof-buffer-limit`).

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::log::{LogFile, is_slow};
use crate::base::slot::{SLOTS, Slot};
use crate::base::sys::voluntary_waits;
use crate::persistence::Status;
use crate::persistence::background::Wake;

/// Whole commands on their way into a file.
pub(super) struct Chunk {
    /// The file.
    pub file: Arc<LogFile>,
    /// Its length before them.
    pub from: u64,
    /// The commands.
    pub bytes: Vec<u8>,
}

/// What a thread could not write.
pub(super) struct Failure {
    /// Why.
    pub error: io::Error,
    /// All of it, the oldest first.
    pub chunks: Vec<Chunk>,
}

struct Queue {
    chunks: VecDeque<Chunk>,
    /// Bytes of all that is not written, what is being written included.
    bytes: u64,
    /// The thread is writing.
    busy: bool,
    error: Option<io::Error>,
    /// The log has gone: the thread ends when it has written everything.
    ended: bool,
    /// Bytes beyond which too much waits.
    limit: u64,
    /// Too much waits.
    over: bool,
    /// When a write last took long.
    slow_at: Instant,
    /// None has since then.
    was_quick: bool,
}

/// The thread's side and the log's side of the queue.
pub struct Writer {
    queue: Mutex<Queue>,
    moved: Condvar,
    /// Bytes written of all that was handed over.
    done: AtomicU64,
    longest_ns: AtomicU64,
    status: Arc<Status>,
    wake: Option<Wake>,
    /// The shard, whose core is woken when a write fails, and how many there are.
    shard: usize,
    shards: usize,
}

impl Writer {
    /// Starts a thread for one of so many shards.
    pub fn start(status: &Arc<Status>, shard: usize, shards: usize) -> io::Result<Arc<Self>> {
        let writer = Arc::new(Writer {
            queue: Mutex::new(Queue {
                chunks: VecDeque::new(),
                bytes: 0,
                busy: false,
                error: None,
                ended: false,
                limit: u64::MAX,
                over: false,
                slow_at: Instant::now(),
                was_quick: false,
            }),
            moved: Condvar::new(),
            done: AtomicU64::new(0),
            longest_ns: AtomicU64::new(0),
            wake: status.saves.wake(),
            status: status.clone(),
            shard,
            shards,
        });
        let runs = writer.clone();
        std::thread::Builder::new()
            .name(format!("log-{shard}"))
            .spawn(move || runs.run())?;
        Ok(writer)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic ends the process, so a poisoned lock is never met.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        self.moved
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner)
    }

    // The thread.

    fn run(&self) {
        loop {
            let mut queue = self.queue();
            let chunk = loop {
                if let Some(chunk) = queue.chunks.pop_front() {
                    break chunk;
                }
                if queue.ended {
                    return;
                }
                queue = self.wait(queue);
            };
            queue.busy = true;
            drop(queue);
            let (begun, waits) = (Instant::now(), voluntary_waits());
            let delay_us = self.status.log.write_delay_us.load(Relaxed);
            if delay_us > 0 {
                std::thread::sleep(Duration::from_micros(delay_us));
            }
            let written = chunk.file.append(&chunk.bytes, chunk.from);
            let ns = begun.elapsed().as_nanos() as u64;
            self.longest_ns.fetch_max(ns, Relaxed);
            if let Err(error) = written {
                self.fail(chunk, error);
                return;
            }
            let length = chunk.bytes.len();
            self.done.fetch_add(length as u64, SeqCst);
            let mut queue = self.queue();
            queue.busy = false;
            queue.bytes -= length as u64;
            if is_slow(ns, length) && waits != voluntary_waits() {
                queue.slow_at = Instant::now();
                queue.was_quick = false;
            } else {
                queue.was_quick = true;
            }
            if queue.over && queue.bytes <= queue.limit / 2 {
                self.set_over(&mut queue, false);
            }
            drop(queue);
            self.moved.notify_all();
            self.wake_waiting(&chunk.file);
        }
    }

    /// Wakes the cores that wait for a file.
    fn wake_waiting(&self, file: &LogFile) {
        fence(SeqCst); // who registers later sees how far it is written
        let waiting = file.take_waiting();
        if waiting != 0
            && let Some(wake) = &self.wake
        {
            let waits = |core: &usize| waiting & (1 << (core % 64)) != 0;
            (0..self.shards).filter(waits).for_each(|core| wake(core));
        }
    }

    fn set_over(&self, queue: &mut Queue, over: bool) {
        queue.over = over;
        let behind = &self.status.log.behind;
        match over {
            true => behind.fetch_add(1, Relaxed),
            false => behind.fetch_sub(1, Relaxed),
        };
    }

    /// Nobody waits any more for what could not be written; the log takes it back.
    fn fail(&self, chunk: Chunk, error: io::Error) {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        let mut queue = self.queue();
        if queue.ended {
            log::warn!("Error writing to the AOF file, which has ended: {error}");
            queue.chunks.iter().for_each(|chunk| chunk.file.ends_here());
            chunk.file.ends_here();
        } else {
            self.status.log.write_error.store(errno, Relaxed);
        }
        queue.chunks.push_front(chunk);
        queue.error = Some(error);
        queue.busy = false;
        if queue.over {
            self.set_over(&mut queue, false);
        }
        let mut files: Vec<Arc<LogFile>> = Vec::new();
        for chunk in &queue.chunks {
            if files.iter().all(|file| !Arc::ptr_eq(file, &chunk.file)) {
                files.push(chunk.file.clone());
            }
        }
        files.iter().for_each(|file| file.give_up(true));
        drop(queue);
        self.moved.notify_all();
        files.iter().for_each(|file| self.wake_waiting(file));
        if let Some(wake) = &self.wake {
            wake(self.shard);
        }
    }

    // The log.

    /// More than `limit` bytes that wait are too many.
    pub(super) fn set_limit(&self, limit: u64) {
        self.queue().limit = limit;
    }

    fn push(&self, file: &Arc<LogFile>, bytes: &[u8], from: u64) {
        let mut queue = self.queue();
        queue.bytes += bytes.len() as u64;
        match queue.chunks.back_mut() {
            Some(last) if Arc::ptr_eq(&last.file, file) => last.bytes.extend_from_slice(bytes),
            _ => queue.chunks.push_back(Chunk {
                file: file.clone(),
                from,
                bytes: bytes.to_vec(),
            }),
        }
        if queue.error.is_some() {
            file.give_up(true); // the log learns of it next time
        } else if !queue.over && queue.bytes > queue.limit {
            self.set_over(&mut queue, true);
        }
        drop(queue);
        self.moved.notify_all();
    }

    /// Whether everything is written, and none of it has taken long for such a time.
    pub(super) fn is_calm(&self, time: Duration) -> bool {
        let queue = self.queue();
        queue.bytes == 0 && queue.was_quick && queue.slow_at.elapsed() >= time
    }

    /// What could not be written, if a write has failed.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        let mut queue = self.queue();
        let error = queue.error.take()?;
        let chunks = std::mem::take(&mut queue.chunks).into();
        queue.bytes = 0;
        Some(Failure { error, chunks })
    }

    /// Waits until everything is written, or something cannot be.
    pub(super) fn drain(&self) {
        let mut queue = self.queue();
        while queue.bytes > 0 && queue.error.is_none() {
            queue = self.wait(queue);
        }
    }

    /// Bytes that are not written.
    pub(super) fn bytes(&self) -> u64 {
        self.queue().bytes
    }

    /// The longest time a write has taken since this was last asked, in nanoseconds.
    pub(super) fn take_longest_ns(&self) -> u64 {
        self.longest_ns.swap(0, Relaxed)
    }

    fn end(&self) {
        let mut queue = self.queue();
        queue.ended = true;
        if queue.over {
            self.set_over(&mut queue, false);
        }
        drop(queue);
        self.moved.notify_all();
    }
}

/// What a log knows of its writer, and which slots have changes that are not written.
pub(super) struct Deferred {
    /// The writer.
    pub writer: Arc<Writer>,
    /// Bytes handed to it.
    handed: u64,
    /// For each slot how much of that must be written before all its changes are.
    slots: Vec<u64>,
    /// The same for changes that may be anywhere.
    anywhere: u64,
}

impl Deferred {
    /// Nothing has been handed to a writer that has just started.
    pub fn new(writer: Arc<Writer>) -> Self {
        Deferred {
            writer,
            handed: 0,
            slots: vec![0; SLOTS],
            anywhere: 0,
        }
    }

    /// Hands over whole commands, which go into a file of `from` bytes and change these slots, or any.
    pub fn push(&mut self, file: &Arc<LogFile>, bytes: &[u8], from: u64, slots: Option<&[Slot]>) {
        self.handed += bytes.len() as u64;
        match slots {
            Some(slots) => {
                for &slot in slots {
                    self.slots[usize::from(slot)] = self.handed;
                }
            }
            None => self.anywhere = self.handed,
        }
        self.writer.push(file, bytes, from);
    }

    /// Whether all changes of a slot are written.
    pub fn is_clean(&self, slot: Slot) -> bool {
        let done = self.writer.done.load(SeqCst);
        self.anywhere.max(self.slots[usize::from(slot)]) <= done
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        self.writer.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::persistence::aof::log::{Growing, Log, Mark, Need};
    use std::os::fd::RawFd;
    use std::sync::atomic::AtomicUsize;

    /// What a file holds, on a disk that stops while somebody holds its gate and that fails when told so.
    #[derive(Default)]
    struct Slow {
        content: Mutex<Vec<u8>>,
        gate: Mutex<()>,
        failures: AtomicUsize,
        /// Takes only so many bytes at a time.
        portion: AtomicUsize,
    }

    impl Growing for Arc<Slow> {
        fn append(&self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.gate.lock().unwrap();
            let portion = match self.portion.load(Relaxed) {
                0 => bytes.len(),
                portion => portion.min(bytes.len()),
            };
            self.content
                .lock()
                .unwrap()
                .extend_from_slice(&bytes[..portion]);
            let fails = |left: usize| left.checked_sub(1);
            match self.failures.fetch_update(SeqCst, SeqCst, fails) {
                Ok(_) => Err(io::Error::from_raw_os_error(28)),
                Err(_) => Ok(portion),
            }
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn truncate(&self, length: u64) -> io::Result<()> {
            self.content.lock().unwrap().truncate(length as usize);
            Ok(())
        }

        fn fd(&self) -> Option<RawFd> {
            None
        }
    }

    fn status() -> Arc<Status> {
        Arc::new(Status::new(0))
    }

    fn deferred(status: &Arc<Status>, limit: u64) -> (Arc<Slow>, Log) {
        let file = Arc::new(Slow::default());
        let mut log = Log::new(Box::new(file.clone()), 0, 0);
        log.defer(Writer::start(status, 0, 1).unwrap(), 0);
        log.set_buffer_limit(limit);
        (file, log)
    }

    fn content(file: &Slow) -> Vec<u8> {
        file.content.lock().unwrap().clone()
    }

    fn unwritten(log: &mut Log) -> Vec<Mark> {
        let mut marks = Vec::new();
        log.unwritten(&mut marks);
        marks
    }

    #[test]
    fn nobody_waits_for_a_slow_disk_but_who_asks_for_what_it_has_not_taken() {
        let status = status();
        let (file, mut log) = deferred(&status, 10);
        let stopped = file.gate.lock().unwrap();
        log.hand_on(b"first.", None, Some(&[7]));
        log.hand_on(b"second.", None, Some(&[8]));
        assert_eq!(log.total_bytes(), 13);
        let marks = unwritten(&mut log);
        assert!(marks.len() == 1 && !marks[0].is_reached() && marks[0].need == Need::Written);
        assert!(!log.is_clean(7) && !log.is_clean(8) && log.is_clean(9));
        assert_eq!(
            status.trouble(|| false),
            Some(crate::persistence::Trouble::Behind)
        );
        assert!(!log.recover(1_000_000), "something is left to write");
        drop(stopped);
        log.drain();
        assert!(marks[0].is_reached() && log.is_clean(7) && log.is_clean(8));
        assert_eq!(content(&file), b"first.second.");
        assert_eq!(status.trouble(|| false), None);
        assert!(unwritten(&mut log).is_empty());
        log.hand_on(b"flush", None, None);
        log.drain();
        // Now it has been quick for long enough.
        while !log.recover(1_000_000) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!log.is_slow() && !log.is_deferred());
        log.append(b"!", None).unwrap();
        assert_eq!(content(&file), b"first.second.flush!");
    }

    #[test]
    fn a_sync_covers_what_is_written_and_no_more() {
        let status = status();
        let (file, mut log) = deferred(&status, 1000);
        log.hand_on(b"written", None, None);
        log.drain();
        let stopped = file.gate.lock().unwrap();
        log.hand_on(b" and not", None, None);
        let mark = log.mark();
        assert_eq!(mark.file.written_of(mark.to), 7);
        mark.file.sync_now(mark.to).unwrap();
        assert!(!mark.is_synced());
        drop(stopped);
        assert!(mark.wait_until_written());
        mark.file.sync_now(mark.to).unwrap();
        assert!(mark.is_synced());
    }

    #[test]
    fn what_a_thread_cannot_write_is_appended_first_when_the_disk_is_well() {
        let status = status();
        let (file, mut log) = deferred(&status, 1000);
        file.failures.store(2, SeqCst);
        log.hand_on(b"lost?", None, None);
        log.drain();
        assert_eq!(status.log.trouble(), Some(28));
        log.hand_on(b" no.", None, None);
        let waits = log.mark();
        assert!(unwritten(&mut log).is_empty(), "nobody waits for it");
        let (error, lost) = log.take_back().unwrap();
        assert!(error.raw_os_error() == Some(28) && !lost && log.has_left());
        assert!(!log.is_deferred() && log.total_bytes() == 0);
        assert!(log.append(b" Next.", None).is_err());
        assert_eq!(content(&file), b"");
        log.append(b" Next.", None).unwrap();
        assert_eq!(content(&file), b"lost? no. Next.");
        assert!(!waits.is_synced() && waits.file.written_of(waits.to) == waits.to);
    }

    #[test]
    fn what_belonged_into_a_file_before_is_lost_and_said_to_be() {
        let status = status();
        let (file, mut log) = deferred(&status, 1000);
        file.failures.store(1, SeqCst);
        let stopped = file.gate.lock().unwrap();
        log.hand_on(b"old", None, None);
        let old = log.mark();
        let next = Arc::new(Slow::default());
        log.switch_to(Box::new(next.clone()));
        log.hand_on(b"new", None, None);
        drop(stopped);
        log.drain();
        let (_, lost) = log.take_back().unwrap();
        assert!(lost && log.has_left());
        log.append(b"", None).unwrap();
        assert_eq!(content(&next), b"new");
        old.file.sync_now(old.to).unwrap();
        assert!(old.is_synced(), "nobody waits for ever");
    }

    #[test]
    fn whatever_a_disk_does_files_hold_what_was_written_in_order() {
        for seed in 0..60 {
            model(seed);
        }
    }

    /// A log through slow and quick times, failures and other files: no mark is reached before the file is so far, and in
    /// the end all files hold what was handed to them, but for what is said to be lost.
    fn model(seed: u64) {
        let mut random = Random::new(seed);
        let status = status();
        let mut file = Arc::new(Slow::default());
        let mut log = Log::new(Box::new(file.clone()), 0, 0);
        let mut files = vec![(file.clone(), Vec::new())];
        let mut marks: Vec<(Mark, Arc<Slow>)> = Vec::new();
        let mut fails = false;
        let mut now = 0;
        for step in 0..200u64 {
            now += 1000;
            match random.below(12) {
                0 if !log.is_deferred() && !log.has_left() => {
                    log.defer(Writer::start(&status, 0, 1).unwrap(), now);
                }
                1 => {
                    file.portion.store(random.below(5) as usize, Relaxed);
                }
                2 if log.is_deferred() && random.below(4) == 0 => {
                    file.failures.store(1, SeqCst);
                    fails = true;
                }
                3 if random.below(3) == 0 && !log.has_left() && !fails => {
                    file = Arc::new(Slow::default());
                    log.switch_to(Box::new(file.clone()));
                    files.push((file.clone(), Vec::new()));
                }
                4 => drop(log.recover(now)),
                5 => log.drain(),
                _ => {}
            }
            if log.take_back().is_some() {
                fails = false;
            }
            let bytes = format!("<{step}>").into_bytes();
            if log.is_deferred() {
                let _stopped = (random.below(2) == 0).then(|| file.gate.lock().unwrap());
                log.hand_on(&bytes, None, None);
            } else if log.append(&bytes, None).is_err() {
                fails = false;
                continue; // it stays with the shard
            }
            files.last_mut().unwrap().1.extend_from_slice(&bytes);
            marks.push((
                Mark {
                    need: Need::Written,
                    ..log.mark()
                },
                file.clone(),
            ));
            marks.retain(|(mark, file)| {
                let written = mark.file.written_of(mark.to);
                let length = file.content.lock().unwrap().len() as u64;
                assert!(written <= length, "seed {seed}: {written} of {length}");
                mark.to != written
            });
        }
        log.drain();
        drop(log.take_back());
        file.failures.store(0, SeqCst);
        if !log.is_deferred() {
            log.append(b"", None).unwrap();
        }
        for (number, (file, expected)) in files.iter().enumerate() {
            let content = content(file);
            let content = String::from_utf8_lossy(&content);
            let expected = String::from_utf8_lossy(expected);
            assert_eq!(content, expected, "seed {seed}, file {number}");
        }
    }
}
