//! The walk of a shard against a cut: what a snapshot writes down is the data set *as it was when the walk began*, while
//! commands go on changing it.
//!
//! **The cut** takes no time with the number of keys. Each entry bears a stamp, each walk a number; an entry whose stamp is
//! not the walk's has been there at the cut and has not been dealt with. What comes during the walk is stamped when it is
//! put in (`Keyspace`), what the walk or a write deals with is stamped then. So at the end every entry has the walk's stamp
//! and the next walk has the next number. A walk that is given up leaves entries with several stamps behind, which is no
//! matter as long as none of them comes round again: after [`UNFINISHED_MAX`] walks in a row without an end, the next one
//! stamps everything first.
//!
//! **Copy before change.** Whatever is about to change an entry, or takes one out, comes through `Shard` and asks the walk
//! first (`before_change`, `let_go`). A small value is written down there and then. A big one begins a walk of its own
//! (`Value::begin_walk`) and stays on the list of *open* values until it has been written in pieces; from then on the
//! structure itself keeps what writes change. A value that is taken out whole moves to that list. Of a long string the blocks
//! are kept that a command is about to change. A database that is flushed is handed over whole.
//!
//! **Names.** Databases have the numbers of the cut (`numbers`), whatever SWAPDB does. Open values are found by database
//! and name, and by the address of their box when they move: RENAME and MOVE take the box along.
//!
//! Only the owner of a shard makes steps; whoever holds the shard may make it copy. `Feed` is where all of it goes, and where
//! what is kept is counted: blocks, what structures keep, and in part values that were taken out whole (but not what a flushed
//! database held, of which nobody makes more). Before commands that would add to that begin, [`Walk::would_keep`] is asked.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crate::config::Config;
use crate::keyspace::{Db, KeyEntry, Keyspace, Value};
use crate::persistence::background::{Chunk, Feed, Part};
use crate::persistence::rdb::{Limits, Writer};
use crate::resp::request::Key;
use crate::structures::entry::{Payload, STAMPS};
use crate::structures::hash::Hash;
use crate::structures::list::List;
use crate::structures::set::Set;

use super::access::usage;

/// Values with more elements are written in pieces.
const ELEMENTS_AT_ONCE: usize = 512;
/// Values of more bytes are written in pieces.
const BYTES_AT_ONCE: usize = 64 * 1024;
/// Strings from this length on are compressed by the writer's thread.
const PUT_OFF_FROM: usize = 16 * 1024;
/// Strings from this length on are written in pieces: copying one of them at once would be a pause.
const LONG_STRING: usize = 1 << 20;
/// Bytes gathered before they are handed over.
const CHUNK: usize = 128 * 1024;
/// Bytes of a long string that are kept together when one of them changes.
const BLOCK: usize = 64 * 1024;
// A piece of a long string is whole blocks.
const _: () = assert!(CHUNK.is_multiple_of(BLOCK));
/// Elements of an open value in one go, between two looks at the clock.
const PIECE_ELEMENTS: usize = 64;
/// Open values beyond which the walk goes no further until some are written: each may make writes keep something.
const OPEN_MAX: usize = 64;
/// Entries of a flushed database dealt with between two looks at the clock.
const FLUSHED_STEP: usize = 16;
/// Elements looked at to estimate how much a value takes that is kept whole.
const SIZE_SAMPLES: usize = 5;
/// Walks given up in a row before stamps are made alike.
const UNFINISHED_MAX: u8 = STAMPS - 2;

/// How far a step has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do.
    Going,
    /// There is, but the writer has to catch up first.
    Waiting,
    /// The walk is over, or has been given up.
    Over,
}

/// Where an open value is.
enum Source {
    /// In the keyspace, in this database under this name.
    Live(usize, Box<[u8]>),
    /// Here: it has been taken out.
    Kept(Box<Value>),
    /// A long string in the keyspace. Its entry keeps its old stamp, so that a change of it is noticed.
    LiveString(usize, Box<[u8]>),
    /// A long string that has been taken out.
    KeptString(KeyEntry),
    /// A long string whose bytes, as far as they have not been written, are all kept.
    KeptBlocks,
}

/// A big value that is written in pieces.
struct Open {
    /// Its record up to where elements, or bytes, begin.
    head: Vec<u8>,
    head_sent: bool,
    source: Source,
    /// Of the value in its box, or zero.
    address: usize,
    /// Bytes of a string that have been written.
    at: usize,
    /// How many it had at the cut.
    length: usize,
    /// Blocks of it as they were then, by number; the others have not changed.
    blocks: BTreeMap<usize, Box<[u8]>>,
    /// Bytes that are kept because of writes, as far as the feed knows.
    kept: usize,
}

/// Where the walk over the keyspace is. Databases go by their numbers at the cut.
#[derive(Default)]
struct Place {
    number: usize,
    table: usize,
    cursor: u64,
}

impl Open {
    /// So many bytes are kept of it now because of writes.
    fn keeps(&mut self, feed: &Feed, bytes: usize) {
        if bytes != self.kept {
            feed.keeps(std::mem::replace(&mut self.kept, bytes), bytes);
        }
    }
}

/// See the head of the file.
pub struct Walk {
    feed: Arc<Feed>,
    shard: usize,
    stamp: u8,
    writer: Writer,
    /// Keys in the writer's buffer.
    keys: u64,
    /// The database that the records in the buffer are in.
    selected: Option<usize>,
    /// For each database its number at the cut; none if it has been emptied since.
    numbers: Vec<Option<usize>>,
    /// Databases that have been flushed before they were walked, with their numbers.
    flushed: Vec<(usize, Db)>,
    place: Place,
    open: VecDeque<Open>,
    /// The one that is being handed over; the output is claimed for it.
    current: Option<Open>,
    /// What takes time to free and is no longer needed.
    trash: Vec<Box<Value>>,
    /// A long string that has been taken out to be put in elsewhere: where it was, and its stamp.
    moving: Option<(usize, Box<[u8]>, u8)>,
    /// Addresses of values under way that commands have changed since it was last looked at what they keep.
    touched: Vec<usize>,
}

fn address_of(value: &Value) -> usize {
    std::ptr::from_ref(value).addr()
}

/// A string that is walked in pieces.
fn is_long_string(entry: &KeyEntry) -> bool {
    matches!(entry.payload(), Payload::Bytes(bytes) if bytes.len() >= LONG_STRING)
}

fn length_of(entry: &KeyEntry) -> usize {
    match entry.payload() {
        Payload::Bytes(bytes) => bytes.len(),
        _ => unreachable!("a long string is bytes"),
    }
}

impl Walk {
    /// Begins a walk: the cut is now. `unfinished` walks in a row have been given up before.
    pub(super) fn begin(
        feed: Arc<Feed>,
        shard: usize,
        keyspace: &mut Keyspace,
        unfinished: &mut u8,
        config: &Config,
    ) -> Self {
        if *unfinished >= UNFINISHED_MAX {
            keyspace.stamp_all();
            *unfinished = 0;
        }
        let stamp = (keyspace.stamp() + 1) % STAMPS;
        keyspace.set_stamp(stamp);
        Walk {
            feed,
            shard,
            stamp,
            writer: Writer::new(config.rdbcompression).putting_off(PUT_OFF_FROM),
            keys: 0,
            selected: None,
            numbers: (0..keyspace.databases()).map(Some).collect(),
            flushed: Vec::new(),
            place: Place::default(),
            open: VecDeque::new(),
            current: None,
            trash: Vec::new(),
            moving: None,
            touched: Vec::new(),
        }
    }

    /// Where its chunks go.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Whether a step could do something. If not, the core will be woken when one can.
    pub fn is_ready(&self) -> bool {
        if self.feed.is_over() {
            return true;
        }
        if !self.feed.has_room(self.shard) {
            return false;
        }
        let scanning = self.place.number < self.numbers.len() && self.open.len() < OPEN_MAX;
        self.current.is_some()
            || scanning
            || self.open.is_empty()
            || self.feed.is_claimable(self.shard)
    }

    // What writes ask.

    /// An entry is about to change where it is. `db` is its database of today.
    #[cold]
    pub(super) fn before_change(
        &mut self,
        db: usize,
        entry: &mut KeyEntry,
        config: &Config,
        now: i64,
    ) {
        if entry.stamp() == self.stamp || self.feed.is_over() {
            self.note_touched(entry);
            return;
        }
        if is_long_string(entry) {
            self.before_bytes_change(db, entry, 0..usize::MAX, config, now);
            self.open_string(db, entry, config, now).source = Source::KeptBlocks;
            entry.set_stamp(self.stamp);
            return;
        }
        self.deal_with_now(db, entry, config, now);
        self.note_touched(entry);
    }

    /// Writes an entry down, or opens it, because of a write.
    fn deal_with_now(&mut self, db: usize, entry: &mut KeyEntry, config: &Config, now: i64) {
        let before = self.gathered();
        self.deal_with(db, entry, config, now);
        let more = self.gathered().saturating_sub(before);
        self.feed.on_copied(more);
        // It waits in the buffer like what is under way: long strings may make that much.
        if more >= BYTES_AT_ONCE {
            self.flush_if(0);
        }
    }

    /// Bytes in the writer's buffer.
    fn gathered(&self) -> usize {
        let strings = self.writer.put_off.iter();
        self.writer.out.len() + strings.map(|(_, string)| string.len()).sum::<usize>()
    }

    /// A command is about to change a value that is walked, which may make it keep something.
    fn note_touched(&mut self, entry: &KeyEntry) {
        if let Some(value) = entry.boxed()
            && value.is_walking()
        {
            let address = address_of(value);
            if self.touched.last() != Some(&address) {
                self.touched.push(address);
            }
        }
    }

    /// After commands: tells the feed what the values that they have changed keep now.
    pub(super) fn count_kept(&mut self, keyspace: &Keyspace) {
        for address in std::mem::take(&mut self.touched) {
            let feed = self.feed.clone();
            let open = self.find_open(|open| open.address == address);
            if let Some(open) = open
                && let Source::Live(db, key) = &open.source
                && let Some(value) = keyspace.find(*db, &Key::new(key)).and_then(KeyEntry::boxed)
            {
                open.keeps(&feed, value.walk_kept_bytes());
            }
        }
    }

    /// Whether a command that changes or takes out this entry may make the walk hand over or keep more.
    pub(super) fn would_keep(&self, entry: &KeyEntry) -> bool {
        entry.stamp() != self.stamp || entry.boxed().is_some_and(Value::is_walking)
    }

    /// Bytes of an entry are about to change where they are, these at most, and others may be added at the end.
    #[cold]
    pub(super) fn before_bytes_change(
        &mut self,
        db: usize,
        entry: &mut KeyEntry,
        bytes: Range<usize>,
        config: &Config,
        now: i64,
    ) {
        if entry.stamp() == self.stamp || self.feed.is_over() {
            return;
        }
        if !is_long_string(entry) {
            return self.before_change(db, entry, config, now);
        }
        let open = self.open_string(db, entry, config, now);
        let Payload::Bytes(string) = entry.payload() else {
            unreachable!("a long string is bytes")
        };
        // What has been written and what came after the cut may change.
        let from = bytes.start.max(open.at) / BLOCK;
        let to = bytes.end.min(open.length).div_ceil(BLOCK);
        let mut copied = 0;
        for number in from..to {
            let block = &string[number * BLOCK..open.length.min((number + 1) * BLOCK)];
            open.blocks.entry(number).or_insert_with(|| {
                copied += block.len();
                block.into()
            });
        }
        let kept = open.kept + copied;
        let feed = self.feed.clone();
        if let Some(open) = self.live_string(db, entry.key()) {
            open.keeps(&feed, kept);
        }
        feed.on_copied(copied);
    }

    /// The expiry of an entry is about to change. A long string's bytes stay as they are.
    #[cold]
    pub(super) fn before_expiry_change(
        &mut self,
        db: usize,
        entry: &mut KeyEntry,
        config: &Config,
        now: i64,
    ) {
        self.before_bytes_change(db, entry, 0..0, config, now);
    }

    /// Whether an entry had better be let go whole than be changed where it is.
    pub(super) fn wants_whole(&self, entry: &KeyEntry) -> bool {
        entry.stamp() != self.stamp && is_long_string(entry)
    }

    /// An entry has been taken out for good; it comes back if nobody needs it any more.
    #[cold]
    pub(super) fn let_go(
        &mut self,
        db: usize,
        mut entry: KeyEntry,
        config: &Config,
        now: i64,
    ) -> Option<KeyEntry> {
        if self.feed.is_over() {
            return Some(entry);
        }
        if entry.stamp() != self.stamp && is_long_string(&entry) {
            let feed = self.feed.clone();
            let open = self.open_string(db, &entry, config, now);
            let left = open.length - open.at;
            open.source = Source::KeptString(entry);
            open.keeps(&feed, feed.whole(left));
            return None;
        }
        if entry.stamp() != self.stamp {
            self.deal_with_now(db, &mut entry, config, now);
        }
        let value = entry.boxed()?;
        if !value.is_walking() {
            return Some(entry);
        }
        let address = address_of(value);
        let value = entry.take_boxed().expect("a boxed value was seen here");
        let (feed, bytes) = (self.feed.clone(), value.allocated(SIZE_SAMPLES));
        let open = self
            .find_open(|open| open.address == address)
            .expect("a value that is walked is on the list");
        open.source = Source::Kept(value);
        open.keeps(&feed, feed.whole(bytes));
        None
    }

    /// An entry that a writing command has found is taken out, to be put in elsewhere.
    #[cold]
    pub(super) fn taken(&mut self, db: usize, entry: &KeyEntry) {
        let waits = entry.stamp() != self.stamp && is_long_string(entry);
        self.moving = waits.then(|| (db, entry.key().into(), entry.stamp()));
    }

    /// A value that is walked has got another place: RENAME, MOVE.
    #[cold]
    pub(super) fn moved(&mut self, db: usize, entry: &mut KeyEntry) {
        if let Some((from, key, stamp)) = self.moving.take()
            && let Some(open) = self.live_string(from, &key)
        {
            open.source = Source::LiveString(db, entry.key().into());
            entry.set_stamp(stamp); // a change of it is still noticed
            return;
        }
        if let Some(value) = entry.boxed()
            && value.is_walking()
        {
            let (address, key) = (address_of(value), entry.key().into());
            if let Some(open) = self.find_open(|open| open.address == address) {
                open.source = Source::Live(db, key);
            }
        }
    }

    /// A value leaves for another shard, where this walk does not reach: it is written to its end now.
    #[cold]
    pub(super) fn leaves(&mut self, db: usize, entry: &mut KeyEntry, config: &Config, now: i64) {
        self.before_change(db, entry, config, now); // of a long string what has not been written is kept
        let Some(value) = entry.boxed_mut().filter(|value| value.is_walking()) else {
            return;
        };
        let address = address_of(value);
        let claimed = self
            .current
            .as_ref()
            .is_some_and(|open| open.address == address);
        let open = match self.open.iter().position(|open| open.address == address) {
            Some(place) => self.open.remove(place),
            None if claimed => self.current.take(),
            None => None,
        };
        let Some(mut open) = open else {
            self.trash.extend(value.end_walk());
            return;
        };
        open.keeps(&self.feed, 0); // it is written now
        if claimed {
            // Part of it is on its way: the rest follows as pieces.
            while !self.piece(value, &mut open, config, usize::MAX) {}
            self.trash.extend(value.end_walk());
            return;
        }
        // Nobody else can take the output before this record is complete, so it can stand among the others.
        self.select(None);
        let mut records = std::mem::take(&mut self.writer.out);
        let strings = std::mem::take(&mut self.writer.put_off);
        records.append(&mut open.head);
        self.writer.out = records;
        self.writer.put_off = strings;
        while !write_step(value, &mut self.writer, config, usize::MAX) {}
        self.trash.extend(value.end_walk());
        self.keys += 1;
        self.flush_if(CHUNK);
    }

    /// Two databases are exchanged.
    pub(super) fn swapped(&mut self, a: usize, b: usize) {
        self.numbers.swap(a, b);
        let opens = self.open.iter_mut().chain(&mut self.current);
        for open in opens {
            if let Source::Live(db, _) | Source::LiveString(db, _) = &mut open.source {
                *db = match *db {
                    db if db == a => b,
                    db if db == b => a,
                    db => db,
                };
            }
        }
    }

    /// A database is about to be flushed: what is open of it is taken out.
    pub(super) fn before_flush(&mut self, keyspace: &mut Keyspace, db: usize) {
        if self.feed.is_over() {
            return; // what is open may have gone unnoticed by now
        }
        for open in self.open.iter_mut().chain(&mut self.current) {
            let (is_string, key) = match &open.source {
                Source::Live(of, key) if *of == db => (false, key),
                Source::LiveString(of, key) if *of == db => (true, key),
                _ => continue,
            };
            let mut entry = keyspace
                .remove(db, &Key::new(key))
                .expect("an open value is where it is said to be");
            open.source = if is_string {
                Source::KeptString(entry)
            } else {
                Source::Kept(entry.take_boxed().expect("an open value is in a box"))
            };
        }
    }

    /// A database has been flushed; it comes back if the walk has been there already.
    pub(super) fn flushed(&mut self, db: usize, content: Db) -> Option<Db> {
        match self.numbers[db].take() {
            Some(number)
                if number >= self.place.number && content.keys() > 0 && !self.feed.is_over() =>
            {
                self.flushed.push((number, content));
                None
            }
            _ => Some(content),
        }
    }

    // Writing down.

    /// Deals with an entry that is no long string: now if it is small, else by opening it.
    fn deal_with(&mut self, db: usize, entry: &mut KeyEntry, config: &Config, now: i64) {
        let stamp = self.stamp;
        debug_assert_ne!(entry.stamp(), stamp, "an entry is dealt with once");
        let is_big = entry
            .boxed()
            .is_some_and(|value| !value.is_small(ELEMENTS_AT_ONCE, BYTES_AT_ONCE));
        if is_big {
            let head = self.head(db, entry, config, now);
            let key: Box<[u8]> = entry.key().into();
            if let Some(value) = entry.boxed_mut() {
                value.begin_walk();
                let address = address_of(value);
                self.push_open(head, Source::Live(db, key), address);
            }
        } else {
            self.select(self.numbers[db]);
            write_entry(&mut self.writer, entry, config, now);
            self.keys += 1;
            self.flush_if(CHUNK);
        }
        entry.set_stamp(stamp);
    }

    /// Says which database the next record is in; none if the record says it itself.
    fn select(&mut self, number: Option<usize>) {
        if let Some(number) = number
            && self.selected != Some(number)
        {
            self.writer.database(number);
        }
        self.selected = number;
    }

    fn push_open(&mut self, head: Vec<u8>, source: Source, address: usize) {
        self.open.push_back(Open {
            head,
            head_sent: false,
            source,
            address,
            at: 0,
            length: 0,
            blocks: BTreeMap::new(),
            kept: 0,
        });
    }

    /// The long string of an entry that has not been dealt with, on the list of open values.
    fn open_string(&mut self, db: usize, entry: &KeyEntry, config: &Config, now: i64) -> &mut Open {
        if self.live_string(db, entry.key()).is_none() {
            let head = self.head(db, entry, config, now);
            self.push_open(head, Source::LiveString(db, entry.key().into()), 0);
            let open = self.open.back_mut().expect("it has just been put there");
            open.length = length_of(entry);
        }
        self.live_string(db, entry.key())
            .expect("it was there or has been put there")
    }

    fn find_open(&mut self, is_it: impl Fn(&Open) -> bool) -> Option<&mut Open> {
        let mut opens = self.open.iter_mut().chain(&mut self.current);
        opens.find(|open| is_it(open))
    }

    fn live_string(&mut self, db: usize, key: &[u8]) -> Option<&mut Open> {
        self.find_open(
            |open| matches!(&open.source, Source::LiveString(of, name) if *of == db && **name == *key),
        )
    }

    /// A record up to where its elements begin, with its database.
    fn head(&mut self, db: usize, entry: &KeyEntry, config: &Config, now: i64) -> Vec<u8> {
        let number = self.numbers[db].expect("what was there at the cut is in a database of then");
        let mut writer = Writer::new(config.rdbcompression);
        writer.database(number);
        begin_record(&mut writer, entry, config, now);
        writer.out
    }

    /// Hands over the records in the buffer if they are so many bytes.
    fn flush_if(&mut self, at_least: usize) {
        let strings: usize = self
            .writer
            .put_off
            .iter()
            .map(|(_, string)| string.len())
            .sum();
        if self.writer.out.len() + strings < at_least.max(1) {
            return;
        }
        self.selected = None;
        self.feed.send(Chunk {
            shard: self.shard,
            part: Part::Whole,
            long: None,
            bytes: std::mem::replace(&mut self.writer.out, Vec::with_capacity(CHUNK + 1024)),
            strings: std::mem::take(&mut self.writer.put_off),
            keys: std::mem::take(&mut self.keys),
        });
    }

    // Steps.

    /// Goes on while `more` says so.
    pub(super) fn step(
        &mut self,
        keyspace: &mut Keyspace,
        config: &Config,
        now: i64,
        more: &mut dyn FnMut() -> bool,
    ) -> Progress {
        loop {
            if self.feed.is_over() {
                return Progress::Over;
            }
            if !self.feed.has_room(self.shard) {
                return Progress::Waiting;
            }
            if let Some(open) = self.current.take() {
                self.current = self.go_on(keyspace, open, config);
            } else if !self.open.is_empty() && self.feed.claim(self.shard) {
                self.current = self.open.pop_front();
            } else if let Some((number, db)) = self.flushed.pop() {
                self.walk_flushed(number, db, config, now);
            } else if self.place.number == self.numbers.len() {
                if !self.open.is_empty() {
                    return Progress::Waiting;
                }
                self.flush_if(0);
                self.feed.end();
                return Progress::Over;
            } else if self.open.len() >= OPEN_MAX {
                return Progress::Waiting;
            } else {
                self.walk_bucket(keyspace, config, now);
            }
            if !more() {
                return Progress::Going;
            }
        }
    }

    /// The next bucket of the keyspace.
    fn walk_bucket(&mut self, keyspace: &mut Keyspace, config: &Config, now: i64) {
        let number = self.place.number;
        let Some(db) = self.numbers.iter().position(|one| *one == Some(number)) else {
            return self.next_database(); // flushed
        };
        if self.place.cursor == 0 {
            match keyspace.next_used(db, self.place.table) {
                Some(table) => self.place.table = table,
                None => return self.next_database(),
            }
        }
        let (table, cursor, stamp) = (self.place.table, self.place.cursor, self.stamp);
        let next = keyspace.scan_mut(db, table, cursor, |entry| {
            if entry.stamp() == stamp {
                return;
            }
            if !is_long_string(entry) {
                self.deal_with(db, entry, config, now);
            } else {
                self.open_string(db, entry, config, now);
            }
        });
        self.place.cursor = next;
        if next == 0 {
            self.place.table += 1;
        }
    }

    fn next_database(&mut self) {
        self.place = Place {
            number: self.place.number + 1,
            ..Place::default()
        };
    }

    /// Some entries of a flushed database.
    fn walk_flushed(&mut self, number: usize, mut db: Db, config: &Config, now: i64) {
        let stamp = self.stamp;
        let done = db.drain_with(FLUSHED_STEP, |mut entry| {
            if entry.stamp() != stamp {
                let value_is_big = entry
                    .boxed()
                    .is_some_and(|value| !value.is_small(ELEMENTS_AT_ONCE, BYTES_AT_ONCE));
                if value_is_big || is_long_string(&entry) {
                    let mut writer = Writer::new(config.rdbcompression);
                    writer.database(number);
                    begin_record(&mut writer, &entry, config, now);
                    match entry.take_boxed() {
                        Some(mut value) => {
                            value.begin_walk();
                            let address = address_of(&value);
                            self.push_open(writer.out, Source::Kept(value), address);
                        }
                        None => {
                            let length = length_of(&entry);
                            self.push_open(writer.out, Source::KeptString(entry), 0);
                            let open = self.open.back_mut().expect("it has just been put there");
                            open.length = length;
                        }
                    }
                    return 1;
                }
                self.select(Some(number));
                write_entry(&mut self.writer, &entry, config, now);
                self.keys += 1;
                self.flush_if(CHUNK);
            }
            self.trash.extend(entry.take_boxed());
            1
        });
        if !done {
            self.flushed.push((number, db));
        }
    }

    /// The next piece of the open value that the output is claimed for; it comes back if it is not through.
    fn go_on(&mut self, keyspace: &mut Keyspace, mut open: Open, config: &Config) -> Option<Open> {
        let mut source = std::mem::replace(&mut open.source, Source::KeptBlocks);
        let over = match &mut source {
            Source::Live(db, key) => {
                let value = keyspace
                    .find_mut(*db, &Key::new(key))
                    .and_then(KeyEntry::boxed_mut)
                    .expect("an open value is where it is said to be");
                let over = self.piece(value, &mut open, config, PIECE_ELEMENTS);
                if over {
                    self.trash.extend(value.end_walk());
                }
                over
            }
            Source::Kept(value) => self.piece(value, &mut open, config, PIECE_ELEMENTS),
            Source::LiveString(db, key) => {
                let entry = keyspace
                    .find_mut(*db, &Key::new(key))
                    .expect("an open value is where it is said to be");
                let over = self.string_piece(entry, &mut open);
                if over {
                    entry.set_stamp(self.stamp);
                }
                over
            }
            Source::KeptString(entry) => self.string_piece(entry, &mut open),
            Source::KeptBlocks => self.bytes_piece(&[], &mut open),
        };
        let kept = match &source {
            _ if over => 0,
            Source::Live(db, key) => {
                let value = keyspace.find(*db, &Key::new(key));
                let value = value.and_then(KeyEntry::boxed);
                value.map_or(0, Value::walk_kept_bytes)
            }
            Source::Kept(_) => open.kept,
            Source::LiveString(..) | Source::KeptBlocks => {
                open.blocks.values().map(|block| block.len()).sum()
            }
            Source::KeptString(_) => open.kept.min(open.length - open.at), // nothing if it was flushed
        };
        open.keeps(&self.feed, kept);
        if !over {
            open.source = source;
            return Some(open);
        }
        if let Source::Kept(mut value) = source {
            self.trash.extend(value.end_walk());
            self.trash.push(value);
        }
        None
    }

    /// Writes a piece of a value; true when it was the last.
    fn piece(
        &mut self,
        value: &mut Value,
        open: &mut Open,
        config: &Config,
        elements: usize,
    ) -> bool {
        let records = std::mem::take(&mut self.writer.out);
        let strings = std::mem::take(&mut self.writer.put_off);
        if !std::mem::replace(&mut open.head_sent, true) {
            self.writer.out = std::mem::take(&mut open.head);
        }
        let over = write_step(value, &mut self.writer, config, elements);
        let bytes = std::mem::replace(&mut self.writer.out, records);
        let strings = std::mem::replace(&mut self.writer.put_off, strings);
        self.send_piece(bytes, strings, None, over);
        over
    }

    fn string_piece(&mut self, entry: &KeyEntry, open: &mut Open) -> bool {
        match entry.payload() {
            Payload::Bytes(bytes) => self.bytes_piece(bytes, open),
            _ => unreachable!("a long string is bytes"),
        }
    }

    /// A piece of a long string, of which the blocks that are not kept are in `string`.
    fn bytes_piece(&mut self, string: &[u8], open: &mut Open) -> bool {
        let mut bytes = Vec::with_capacity(CHUNK + 64);
        if !std::mem::replace(&mut open.head_sent, true) {
            bytes.append(&mut open.head);
        }
        let long = (bytes.len(), open.length);
        let end = (open.at + CHUNK).min(open.length);
        while open.at < end {
            let until = (open.at + BLOCK).min(end);
            match open.blocks.remove(&(open.at / BLOCK)) {
                Some(block) => bytes.extend_from_slice(&block),
                None => bytes.extend_from_slice(&string[open.at..until]),
            }
            open.at = until;
        }
        let over = end == open.length;
        self.send_piece(bytes, Vec::new(), Some(long), over);
        over
    }

    fn send_piece(
        &mut self,
        bytes: Vec<u8>,
        strings: Vec<(usize, Box<[u8]>)>,
        long: Option<(usize, usize)>,
        over: bool,
    ) {
        self.feed.send(Chunk {
            shard: self.shard,
            part: if over { Part::Last } else { Part::Piece },
            long,
            bytes,
            strings,
            keys: over.into(),
        });
    }

    // The end.

    /// Gives a walk up, or ends one that is through: what takes time to free.
    pub(super) fn end(mut self: Box<Self>, keyspace: &mut Keyspace) -> (Vec<Box<Value>>, Vec<Db>) {
        for open in self.open.drain(..).chain(self.current.take()) {
            match open.source {
                Source::Live(db, key) => {
                    let value = keyspace
                        .find_mut(db, &Key::new(&key))
                        .and_then(KeyEntry::boxed_mut);
                    if let Some(value) = value {
                        self.trash.extend(value.end_walk());
                    }
                }
                Source::Kept(mut value) => {
                    self.trash.extend(value.end_walk());
                    self.trash.push(value);
                }
                Source::LiveString(..) | Source::KeptString(_) | Source::KeptBlocks => {}
            }
        }
        let dbs = self.flushed.drain(..).map(|(_, db)| db).collect();
        (std::mem::take(&mut self.trash), dbs)
    }

    /// What takes time to free and is no longer needed.
    pub(super) fn take_trash(&mut self) -> Vec<Box<Value>> {
        std::mem::take(&mut self.trash)
    }
}

/// A record up to its value, which is given.
fn begin_entry<'a>(
    writer: &mut Writer,
    entry: &'a KeyEntry,
    config: &Config,
    now: i64,
) -> Payload<'a, Value> {
    let payload = entry.payload();
    let kind = Writer::type_of(&payload);
    writer.entry(
        entry.key(),
        kind,
        entry.expire_at(),
        usage(entry, config, now),
    );
    payload
}

/// A record up to where its value's elements, or a string's length, begin.
fn begin_record(writer: &mut Writer, entry: &KeyEntry, config: &Config, now: i64) {
    let payload = begin_entry(writer, entry, config, now);
    if let Payload::Boxed(value) = payload {
        match value {
            Value::List(List::Quick(list)) => writer.count(list.nodes()),
            Value::Stream(_) => {} // its walk gives the count
            other => writer.count(other.elements()),
        }
    }
}

/// A whole record.
fn write_entry(writer: &mut Writer, entry: &KeyEntry, config: &Config, now: i64) {
    let payload = begin_entry(writer, entry, config, now);
    writer.value(&payload, |_| {});
}

/// Goes on with the walk of a value by some `elements`, into the writer. True when it is through.
fn write_step(value: &mut Value, writer: &mut Writer, config: &Config, elements: usize) -> bool {
    match value {
        Value::List(list) => {
            let fill = Limits::of(config).list;
            let bytes = if elements == usize::MAX {
                usize::MAX
            } else {
                CHUNK / 2
            };
            list.walk_step(bytes, fill, |node| writer.node(&node))
        }
        Value::Set(Set::Table(members)) => {
            members.walk_step(elements, |blob| writer.member(blob.key()))
        }
        Value::Hash(Hash::Table(members)) => {
            members.walk_step(elements, |blob| writer.pair(blob.key(), blob.value()))
        }
        Value::Zset(zset) => zset.walk_step(elements, |name, score| writer.scored(name, score)),
        Value::Stream(stream) => {
            // A node has a hundred entries.
            stream.walk_step(elements.div_ceil(4), |walked| writer.piece(walked))
        }
        Value::Set(_) | Value::Hash(_) => true,
    }
}
