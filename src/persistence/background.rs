//! A snapshot that is written while the server goes on: walks hand over chunks, one thread writes them.
//!
//! Every shard's walk (`shard/walk.rs`) fills chunks and leaves them in the [`Feed`], a queue with a bound. No core ever
//! waits for it: when the queue is half full the walk pauses, and the writer wakes the core when there is room. The other half
//! is for what commands make a walk hand over or keep, which has to be taken at once. When that fills it, the feed is
//! *crowded* ([`Bound`]): commands that would make a walk keep more wait before they begin, until the disk has taken enough;
//! or the whole is given up, where it is for replicas that are too slow. The walk goes on meanwhile, so the queue empties.
//!
//! A chunk holds whole records, or a piece of one big value. Pieces of two values never mix: a walk that wants to hand
//! over a big value asks for the output first ([`Feed::claim`]), and has it alone until the last piece. Whole records of
//! others, and of the same shard, that come meanwhile are put aside (`spill.rs`) and follow it. So where all shards write
//! into one file ([`Layout::Joined`]) nothing of a big value is ever copied, and with one shard almost nothing is.
//!
//! Long strings come as they are and are compressed here, very long ones piece by piece (`packing.rs`). The checksum goes along with the writing. What the bytes go
//! into, and what makes them count when all are there, is a [`Consumer`]'s business: snapshot files (`parts.rs`), the bases
//! of append-only files, a replica's socket.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::file::{Disk, Output, Syncing};
use super::packing::{Packed, Packing};
use super::rdb::{Compressor, Writer};
use super::snapshot::{Header, StreamPlace, header};
use super::spill::Spill;
use crate::base::allocator::{Account, Beside};
use crate::base::clock::unix_ms;
use crate::base::crc64;
use crate::base::sys;

/// The walk's part of what may be under way is one in so many; the rest is for what writes make it hand over or keep.
const WALK_SHARE: usize = 2;
/// Bytes written between two looks at the clock.
const STEP: usize = 32 * 1024;
/// A line of progress is logged after so many bytes.
const PROGRESS_EVERY: u64 = 4 << 30;
/// No shard has this number.
const NOBODY: usize = usize::MAX;

/// What a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Records, each complete; the first of them says its database.
    Whole,
    /// The beginning, or a further piece, of a big value.
    Piece,
    /// The last piece of one.
    Last,
}

/// Bytes on their way from a walk to the writer.
#[derive(Debug)]
pub struct Chunk {
    /// Whose walk it comes from.
    pub shard: usize,
    /// What it is.
    pub part: Part,
    /// Encoded.
    pub bytes: Vec<u8>,
    /// The value is a long string: from where on in `bytes` they are the string's, and how many it has in all. What comes
    /// before belongs to the record, and is there in its first piece only.
    pub long: Option<(usize, usize)>,
    /// Strings that are to be encoded here, each with its place in `bytes`; in order.
    pub strings: Vec<(usize, Box<[u8]>)>,
    /// Keys that are complete with it.
    pub keys: u64,
}

impl Chunk {
    fn weight(&self) -> usize {
        let strings: usize = self.strings.iter().map(|(_, string)| string.len()).sum();
        self.bytes.len() + strings
    }
}

/// Whether all shards write into one output or each into its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One output.
    Joined,
    /// One for each shard, each a file of its own.
    Apart,
}

/// What the bytes go into.
pub trait Consumer: Send {
    /// Opens output `number`, below the number of outputs.
    fn open(&mut self, number: usize) -> io::Result<Box<dyn Output>>;
    /// Where the data set stands in the stream that replicas follow, known once an output is open.
    fn place(&self) -> Option<StreamPlace> {
        None
    }
    /// All outputs are complete and on the disk: makes them count.
    fn commit(&mut self) -> io::Result<()>;
    /// Leaves nothing behind.
    fn abandon(&mut self);
}

/// What is written.
pub struct Plan {
    /// What each output begins with.
    pub header: Header,
    /// Keys at the cut, for each shard and database: number of the database, keys, keys with an expiry.
    pub sizes: Vec<Vec<(usize, usize, usize)>>,
    /// How the outputs are shared.
    pub layout: Layout,
    /// Compress strings.
    pub compress: bool,
    /// Write a checksum rather than zero.
    pub check_sum: bool,
    /// Tell the disk every few megabytes.
    pub incremental_sync: bool,
    /// Microseconds to wait for each key (`rdb-key-save-delay`).
    pub key_delay_us: Arc<AtomicU64>,
    /// Bytes that may be under way, or be kept by walks.
    pub memory_limit: usize,
    /// What becomes of writers, or of the whole, beyond that.
    pub bound: Bound,
    /// Where files are made.
    pub disk: Arc<dyn Disk>,
    /// Where records may be put aside; names are made from it.
    pub spill: PathBuf,
    /// Wakes a shard's core.
    pub wake: Wake,
    /// Where the writer says that it frees what cores have allocated.
    pub beside: Beside,
}

/// What happens when writes have made walks hand over and keep more than may be.
#[derive(Clone, Debug)]
pub enum Bound {
    /// Writes that would add to it wait: this counts the feeds that say so.
    Wait(Arc<AtomicUsize>),
    /// Nobody waits for those it is for. Beyond so many bytes it is given up.
    GiveUp(usize),
}

/// Wakes the core of a shard, from any thread.
pub type Wake = Arc<dyn Fn(usize) + Send + Sync>;

/// How it ended.
#[derive(Debug)]
pub enum Ending {
    /// All is written, and counts.
    Done {
        /// Bytes in all outputs.
        bytes: u64,
        /// When, in Unix milliseconds.
        at: i64,
    },
    /// The disk failed.
    Failed(io::Error),
    /// It was given up.
    Cancelled,
}

#[derive(Default)]
struct Queue {
    /// Walks have begun: whoever began them has noted it everywhere.
    is_open: bool,
    chunks: VecDeque<Chunk>,
    /// Walks that are through.
    ended: usize,
}

/// Where walks leave their chunks; see the head of the file.
pub struct Feed {
    queue: Mutex<Queue>,
    arrived: Condvar,
    in_flight: AtomicUsize,
    /// Bytes that walks keep because of writes, and will hand over later.
    kept: AtomicUsize,
    limit: usize,
    bound: Bound,
    /// Writes that would add to it wait.
    crowded: AtomicBool,
    /// It was given up since it could not keep pace.
    outrun: AtomicBool,
    /// Rises with all that the writer gets done.
    progress: AtomicU64,
    /// Given up or failed: nobody needs more chunks.
    over: AtomicBool,
    /// Held while what is written is made to count: who gives it up waits for the end of that.
    committing: Mutex<()>,
    /// Shards that wait for room or for an output.
    waiting: Vec<AtomicBool>,
    /// For each output the shard whose value is being handed over.
    claims: Vec<AtomicUsize>,
    wake: Wake,
    keys_total: u64,
    keys_done: AtomicU64,
    /// Bytes that writes have made walks copy or keep.
    copied: AtomicU64,
    began: Instant,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Feed({} bytes)", self.in_flight.load(Ordering::Relaxed))
    }
}

impl Feed {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic ends the process, so a poisoned lock is never met.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn output_of(&self, shard: usize) -> usize {
        if self.claims.len() == 1 { 0 } else { shard }
    }

    /// Whether a walk may hand over more. If not, its core will be woken when it may.
    pub fn has_room(&self, shard: usize) -> bool {
        let full = || self.in_flight.load(Ordering::SeqCst) >= self.limit / WALK_SHARE;
        if !full() {
            return true;
        }
        self.waiting[shard].store(true, Ordering::SeqCst);
        !full()
    }

    /// Claims the output for a big value of a shard. If another one has it, the core will be woken when it is free.
    pub fn claim(&self, shard: usize) -> bool {
        let claim = &self.claims[self.output_of(shard)];
        let take = || claim.compare_exchange(NOBODY, shard, Ordering::SeqCst, Ordering::SeqCst);
        if take().is_ok() {
            return true;
        }
        self.waiting[shard].store(true, Ordering::SeqCst);
        take().is_ok()
    }

    /// Whether a claim would succeed. If not, the core will be woken when it may.
    pub fn is_claimable(&self, shard: usize) -> bool {
        let claim = &self.claims[self.output_of(shard)];
        if claim.load(Ordering::SeqCst) == NOBODY {
            return true;
        }
        self.waiting[shard].store(true, Ordering::SeqCst);
        claim.load(Ordering::SeqCst) == NOBODY
    }

    /// Hands over a chunk, room or not. The last piece of a value frees the output.
    pub fn send(&self, chunk: Chunk) {
        let (shard, part) = (chunk.shard, chunk.part);
        self.in_flight.fetch_add(chunk.weight(), Ordering::SeqCst);
        let mut queue = self.queue();
        queue.chunks.push_back(chunk);
        drop(queue);
        self.arrived.notify_one();
        if part == Part::Last {
            self.claims[self.output_of(shard)].store(NOBODY, Ordering::SeqCst);
            self.wake_waiting();
        }
        self.settle();
    }

    /// A walk keeps so many bytes because of writes, after so many before.
    pub fn keeps(&self, before: usize, now: usize) {
        match now.checked_sub(before) {
            Some(more) => self.kept.fetch_add(more, Ordering::SeqCst),
            None => self.kept.fetch_sub(before - now, Ordering::SeqCst),
        };
        self.settle();
    }

    /// Bytes that walks keep because of writes, beside what is under way.
    pub fn kept(&self) -> usize {
        self.kept.load(Ordering::SeqCst)
    }

    /// What a value of so many bytes counts for that was taken out whole. It is no copy, and letting others wait until all of a
    /// very big one is on the disk would cost more than it spares: so a few of them may be kept, whatever their size.
    pub fn whole(&self, bytes: usize) -> usize {
        bytes.min(self.limit / 4)
    }

    /// Whether writes that would add to it wait.
    pub fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::SeqCst)
    }

    /// Something has been added or taken away: says whether it is crowded now, or gives up what is outrun.
    fn settle(&self) {
        let all = || self.in_flight.load(Ordering::SeqCst) + self.kept.load(Ordering::SeqCst);
        match &self.bound {
            Bound::GiveUp(most) if all() > *most && !self.outrun.swap(true, Ordering::SeqCst) => {
                self.over.store(true, Ordering::SeqCst);
                drop(self.queue()); // the writer looks before it waits
                self.arrived.notify_one();
                self.wake_waiting();
            }
            Bound::GiveUp(_) => {}
            Bound::Wait(crowds) => {
                if all() >= self.limit
                    && !self.over.load(Ordering::SeqCst)
                    && !self.crowded.swap(true, Ordering::SeqCst)
                {
                    crowds.fetch_add(1, Ordering::SeqCst);
                }
                // Also after it has just been said: the writer may have taken the last of it in between.
                if all() <= self.limit / 4 * 3 || self.over.load(Ordering::SeqCst) {
                    self.ends_crowd();
                }
            }
        }
    }

    /// Nobody waits any more.
    fn ends_crowd(&self) {
        if let Bound::Wait(crowds) = &self.bound
            && self.crowded.swap(false, Ordering::SeqCst)
        {
            crowds.fetch_sub(1, Ordering::SeqCst);
            for shard in 0..self.waiting.len() {
                (self.wake)(shard);
            }
        }
    }

    /// It was given up since those it was for could not keep pace with what is written.
    pub fn was_outrun(&self) -> bool {
        self.outrun.load(Ordering::SeqCst)
    }

    /// Rises as long as the writer gets anything done.
    pub fn progress_made(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Frees the output: what it was claimed for has been handed over as a whole record after all.
    pub fn unclaim(&self, shard: usize) {
        self.claims[self.output_of(shard)].store(NOBODY, Ordering::SeqCst);
        self.wake_waiting();
    }

    /// The walks have begun, and the writer may.
    pub fn open(&self) {
        self.queue().is_open = true;
        self.arrived.notify_one();
    }

    /// A shard's walk is through.
    pub fn end(&self) {
        self.queue().ended += 1;
        self.arrived.notify_one();
    }

    /// Gives it all up. When this returns nothing of it will count that does not yet; so whoever writes the same files next
    /// can rely on having the last word. It waits for a rename under way, nothing else.
    pub fn cancel(&self) {
        self.over.store(true, Ordering::SeqCst);
        drop(self.commit_lock());
        drop(self.queue());
        self.arrived.notify_one();
        self.wake_waiting();
        self.settle();
    }

    /// Whether it was given up or has failed: walks end.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Writes have made a walk copy or keep so many bytes.
    pub fn on_copied(&self, bytes: usize) {
        self.copied.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// See [`Feed::on_copied`].
    pub fn copied(&self) -> u64 {
        self.copied.load(Ordering::Relaxed)
    }

    /// Keys written, and keys at the cut.
    pub fn progress(&self) -> (u64, u64) {
        (self.keys_done.load(Ordering::Relaxed), self.keys_total)
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }

    fn commit_lock(&self) -> MutexGuard<'_, ()> {
        self.committing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_waiting(&self) {
        for (shard, waiting) in self.waiting.iter().enumerate() {
            if waiting.swap(false, Ordering::SeqCst) {
                (self.wake)(shard);
            }
        }
    }

    fn wait_for_opening(&self) {
        let mut queue = self.queue();
        while !queue.is_open {
            queue = self
                .arrived
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next chunk; none when all walks are through or it is over.
    fn next(&self) -> Option<Chunk> {
        let mut queue = self.queue();
        let chunk = loop {
            if self.over.load(Ordering::SeqCst) {
                return None;
            }
            if let Some(chunk) = queue.chunks.pop_front() {
                break chunk;
            }
            if queue.ended == self.waiting.len() {
                return None;
            }
            queue = self
                .arrived
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        };
        drop(queue);
        let weight = chunk.weight();
        let before = self.in_flight.fetch_sub(weight, Ordering::SeqCst);
        // Half empty: waking for every chunk would have the walk run and pause in turns.
        if before - weight <= self.limit / WALK_SHARE / 2 {
            self.wake_waiting();
        }
        self.progress.fetch_add(1, Ordering::Relaxed);
        self.settle();
        Some(chunk)
    }
}

/// Starts the writer; `on_end` is called on its thread when all is over.
pub fn start(
    plan: Plan,
    consumer: Box<dyn Consumer>,
    on_end: impl FnOnce(&Arc<Feed>, Ending) + Send + 'static,
) -> io::Result<Arc<Feed>> {
    let shards = plan.sizes.len();
    let outputs = match plan.layout {
        Layout::Joined => 1,
        Layout::Apart => shards,
    };
    let keys = plan.sizes.iter().flatten().map(|(_, keys, _)| *keys as u64);
    let feed = Arc::new(Feed {
        queue: Mutex::default(),
        arrived: Condvar::new(),
        in_flight: AtomicUsize::new(0),
        kept: AtomicUsize::new(0),
        limit: plan.memory_limit,
        bound: plan.bound.clone(),
        crowded: AtomicBool::new(false),
        outrun: AtomicBool::new(false),
        progress: AtomicU64::new(0),
        over: AtomicBool::new(false),
        committing: Mutex::default(),
        waiting: (0..shards).map(|_| AtomicBool::new(false)).collect(),
        claims: (0..outputs).map(|_| AtomicUsize::new(NOBODY)).collect(),
        wake: plan.wake.clone(),
        keys_total: keys.sum(),
        keys_done: AtomicU64::new(0),
        copied: AtomicU64::new(0),
        began: Instant::now(),
    });
    let fed = feed.clone();
    std::thread::Builder::new()
        .name("snapshot".to_owned())
        .spawn(move || {
            sys::be_background();
            fed.wait_for_opening();
            let ending = Writing::new(&fed, plan, consumer, outputs).run();
            on_end(&fed, ending);
        })?;
    Ok(feed)
}

/// One output with what it takes to write it.
struct Target {
    output: Box<dyn Output>,
    sum: u64,
    bytes: u64,
    /// A value is incomplete.
    is_open: bool,
    spill: Spill,
    /// The long string that comes in pieces.
    packing: Option<Packing>,
}

/// The writer at work.
struct Writing<'a> {
    feed: &'a Feed,
    plan: Plan,
    consumer: Box<dyn Consumer>,
    outputs: usize,
    targets: Vec<Target>,
    encoder: Writer,
    compressor: Compressor,
    next_line: u64,
    /// What it frees cores have allocated.
    account: Account,
    /// Since when it has had the processor.
    working: Instant,
}

impl<'a> Writing<'a> {
    fn new(feed: &'a Feed, plan: Plan, consumer: Box<dyn Consumer>, outputs: usize) -> Self {
        Writing {
            account: plan.beside.account(),
            encoder: Writer::new(plan.compress),
            compressor: Compressor::default(),
            feed,
            plan,
            consumer,
            outputs,
            targets: Vec::new(),
            next_line: PROGRESS_EVERY,
            working: Instant::now(),
        }
    }

    /// Lets others have the processor when it has had it long enough.
    fn breathe(&mut self) {
        if self.working.elapsed() >= sys::BACKGROUND_SLICE {
            std::thread::yield_now();
            self.working = Instant::now();
        }
    }

    fn run(mut self) -> Ending {
        let written = self.write();
        let committing = self.feed.commit_lock();
        let ending = match written {
            _ if self.feed.was_outrun() => Ending::Failed(io::Error::other(
                "what was written meanwhile came faster than it was taken (client-output-buffer-limit)",
            )),
            _ if self.feed.is_over() => Ending::Cancelled,
            Err(error) => Ending::Failed(error),
            Ok(()) => match self.consumer.commit() {
                Ok(()) => Ending::Done {
                    bytes: self.targets.iter().map(|target| target.bytes).sum(),
                    at: unix_ms(),
                },
                Err(error) => Ending::Failed(error),
            },
        };
        drop(committing);
        if !matches!(ending, Ending::Done { .. }) {
            self.feed.cancel(); // walks need go no further
            self.targets.clear();
            self.consumer.abandon();
            // What is still under way takes memory.
            self.feed.queue().chunks.clear();
        } else {
            self.feed.ends_crowd(); // all of it is written
        }
        ending
    }

    fn write(&mut self) -> io::Result<()> {
        for number in 0..self.outputs {
            let output = self.consumer.open(number)?;
            let name = format!("{}.spill-{number}", self.plan.spill.display());
            self.targets.push(Target {
                output: Box::new(Syncing::new(output, self.plan.incremental_sync)),
                sum: 0,
                bytes: 0,
                is_open: false,
                spill: Spill::new(self.plan.disk.clone(), name.into(), self.plan.memory_limit),
                packing: None,
            });
            self.begin(number)?;
        }
        while let Some(chunk) = self.feed.next() {
            self.take(chunk)?;
            self.account.settle();
            self.breathe();
        }
        if self.feed.is_over() {
            return Ok(());
        }
        for number in 0..self.outputs {
            assert!(!self.targets[number].is_open, "walks end between records");
            self.encoder.end();
            let end = std::mem::take(&mut self.encoder.out);
            self.append(number, &end)?;
            let target = &mut self.targets[number];
            let sum = if self.plan.check_sum { target.sum } else { 0 };
            target.output.append(&sum.to_le_bytes())?;
            target.bytes += 8;
            target.output.sync()?;
        }
        Ok(())
    }

    /// What an output begins with: facts, libraries, and how many keys each database has.
    fn begin(&mut self, number: usize) -> io::Result<()> {
        if number > 0 && self.plan.header.aof_base {
            self.plan.header.functions.clear(); // they are the server's: the first shard's base has them
        }
        if let Some(place) = self.consumer.place() {
            self.plan.header.stream = Some(place);
        }
        header(&mut self.encoder, &self.plan.header);
        let shards = match self.plan.layout {
            Layout::Joined => 0..self.plan.sizes.len(),
            Layout::Apart => number..number + 1,
        };
        let sizes = self.plan.sizes[shards].iter().flatten();
        let mut sums = std::collections::BTreeMap::<usize, (usize, usize)>::new();
        for &(db, keys, expires) in sizes {
            let sum = sums.entry(db).or_default();
            *sum = (sum.0 + keys, sum.1 + expires);
        }
        for (db, (keys, expires)) in sums.into_iter().filter(|(_, (keys, _))| *keys > 0) {
            self.encoder.select(db, keys, expires);
        }
        let bytes = std::mem::take(&mut self.encoder.out);
        self.append(number, &bytes)
    }

    fn take(&mut self, mut chunk: Chunk) -> io::Result<()> {
        self.encode(&mut chunk);
        self.count(chunk.keys);
        let number = self.feed.output_of(chunk.shard);
        let target = &mut self.targets[number];
        if chunk.part == Part::Whole && target.is_open {
            return target.spill.put(&chunk.bytes);
        }
        target.is_open = chunk.part == Part::Piece;
        match chunk.long {
            None => self.append(number, &chunk.bytes)?,
            Some((from, length)) => self.take_string(number, &chunk, from, length)?,
        }
        if chunk.part == Part::Last && !self.targets[number].spill.is_empty() {
            let mut spill = self.targets[number].spill.take();
            while let Some(bytes) = spill.next()? {
                self.append(number, bytes)?;
                if self.feed.is_over() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// A piece of a long string of so many bytes; the string begins at `from`.
    fn take_string(
        &mut self,
        number: usize,
        chunk: &Chunk,
        from: usize,
        length: usize,
    ) -> io::Result<()> {
        let (head, piece) = chunk.bytes.split_at(from);
        if from > 0 {
            self.append(number, head)?;
            if self.plan.compress {
                let path = format!("{}.packed-{number}", self.plan.spill.display());
                let packing = Packing::new(self.plan.disk.clone(), path.into());
                self.targets[number].packing = Some(packing);
            } else {
                self.append_count(number, length)?;
            }
        }
        let last = chunk.part == Part::Last;
        let packed = match &mut self.targets[number].packing {
            Some(packing) => packing.take(piece, last, &mut self.compressor)?,
            None => Packed::Piece,
        };
        if last {
            self.targets[number].packing = None;
        }
        match packed {
            Packed::Nothing => Ok(()),
            Packed::Piece => self.append(number, piece),
            Packed::Begin(bytes) => {
                self.append_count(number, length)?;
                self.append(number, &bytes)
            }
            Packed::Whole(bytes, mut packed) => {
                self.encoder.begin_packed(bytes, length);
                let head = std::mem::take(&mut self.encoder.out);
                self.append(number, &head)?;
                while let Some(bytes) = packed.next()? {
                    self.append(number, bytes)?;
                    if self.feed.is_over() {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    fn append_count(&mut self, number: usize, count: usize) -> io::Result<()> {
        self.encoder.count(count);
        let bytes = std::mem::take(&mut self.encoder.out);
        self.append(number, &bytes)
    }

    /// Counts keys, and waits as long for each as somebody wants who tests with a slow save.
    fn count(&self, keys: u64) {
        const LOOK_US: u64 = 5000;
        let done = |keys| self.feed.keys_done.fetch_add(keys, Ordering::Relaxed);
        // It may be changed meanwhile.
        let delay = || self.plan.key_delay_us.load(Ordering::Relaxed);
        let mut left = if delay() == 0 { 0 } else { keys };
        done(keys - left);
        while left > 0 && !self.feed.is_over() {
            let each = delay();
            let few = LOOK_US
                .checked_div(each)
                .map_or(left, |few| few.clamp(1, left));
            let mut us = few.saturating_mul(each);
            while us > 0 && delay() > 0 && !self.feed.is_over() {
                std::thread::sleep(Duration::from_micros(us.min(LOOK_US)));
                self.feed.progress.fetch_add(1, Ordering::Relaxed); // the disk has no part in it
                us = us.saturating_sub(LOOK_US);
            }
            done(few);
            left -= few;
        }
    }

    /// Puts strings that were put off into their places.
    fn encode(&mut self, chunk: &mut Chunk) {
        if chunk.strings.is_empty() {
            return;
        }
        let out = &mut self.encoder;
        let mut from = 0;
        for (place, string) in chunk.strings.drain(..) {
            out.out.extend_from_slice(&chunk.bytes[from..place]);
            out.string(&string);
            from = place;
        }
        out.out.extend_from_slice(&chunk.bytes[from..]);
        chunk.bytes = std::mem::take(&mut out.out);
    }

    fn append(&mut self, number: usize, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(STEP) {
            let target = &mut self.targets[number];
            if self.plan.check_sum {
                target.sum = crc64::update(target.sum, part);
            }
            target.bytes += part.len() as u64;
            target.output.append(part)?;
            self.feed.progress.fetch_add(1, Ordering::Relaxed);
            self.breathe();
        }
        let written: u64 = self.targets.iter().map(|target| target.bytes).sum();
        if written >= self.next_line {
            self.next_line += PROGRESS_EVERY;
            let (done, total) = self.feed.progress();
            log::info!(
                "Saving: {done} of {total} keys, {} MB so far",
                written >> 20
            );
        }
        Ok(())
    }
}
