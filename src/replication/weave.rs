//! Parallel flows, the replica's side: what comes over the connections of one link becomes the one stream again.
//!
//! Each flow is applied by a core of its own, the main connection's bytes by the first of them. A core is given bytes
//! only when all that stands before them in the stream has come and been given to somebody. So whenever the link breaks,
//! what has been given is a stretch of the stream without a gap, and once the cores are through with it, the data
//! are those of one offset. What the main connection carries waits until all before it has been executed, and all after it waits
//! for it.
//!
//! Bytes are kept until all before them has been executed too: only then do they count as applied.

use std::collections::VecDeque;
use std::sync::Arc;

use super::spread::{FRAME, GOES_ON, NO_DB};

/// Bytes given to one core beyond which it gets no more before it has dealt with some.
const GIVEN_MAX: u64 = 4 << 20;
/// Bytes given and not applied beyond which nothing is given but what everything waits for.
const KEPT_MAX: u64 = 16 << 20;

/// Bytes of the stream for one core.
#[derive(Clone, Debug)]
pub struct Piece {
    chunk: Arc<Vec<u8>>,
    from: usize,
    to: usize,
    /// The database to select first, when all before is executed.
    pub db: Option<u32>,
    /// The stream's offset before its first byte.
    pub at: u64,
}

impl Piece {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.chunk[self.from..self.to]
    }

    /// Takes another piece in that lies right behind it; gives it back where it does not.
    pub fn extend(&mut self, next: Piece) -> Option<Piece> {
        if next.db.is_some() || self.to != next.from || !Arc::ptr_eq(&self.chunk, &next.chunk) {
            return Some(next);
        }
        self.to = next.to;
        None
    }
}

/// What has come makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

#[derive(Clone, Copy, Debug)]
struct Frame {
    way: usize,
    db: Option<u32>,
    left: u64,
    goes_on: bool,
}

/// What has come over one connection and not been given to a core.
#[derive(Debug, Default)]
struct Way {
    chunks: VecDeque<(Arc<Vec<u8>>, usize)>,
    bytes: u64,
    /// Bytes that have come in all.
    come: u64,
}

impl Way {
    fn push(&mut self, chunk: Arc<Vec<u8>>, from: usize) {
        self.bytes += (chunk.len() - from) as u64;
        self.chunks.push_back((chunk, from));
    }

    /// Up to `most` bytes that lie together.
    fn take(&mut self, most: u64) -> Option<(Arc<Vec<u8>>, usize, usize)> {
        let (chunk, from) = self.chunks.front_mut()?;
        let start = *from;
        let there = chunk.len() - start;
        let count = there.min(usize::try_from(most).unwrap_or(usize::MAX));
        *from += count;
        self.bytes -= count as u64;
        let taken = (chunk.clone(), start, start + count);
        if count == there {
            self.chunks.pop_front();
        }
        Some(taken)
    }
}

/// One core that applies.
#[derive(Clone, Debug)]
struct Applier {
    given: u64,
    executed: u64,
    applied: u64,
    taken: u64,
    /// The database in force when it is through with what it was given; none: that has yet to be learnt.
    db: Option<u32>,
    /// The database it has named last.
    told_db: u32,
}

/// Bytes given and not applied.
#[derive(Debug)]
struct Kept {
    to: usize,
    piece: Piece,
}

/// See the head of the file. Way 0 is the main connection, way `n` flow `n - 1`, which applier `n - 1` executes.
#[derive(Debug)]
pub struct Weave {
    ways: Vec<Way>,
    appliers: Vec<Applier>,
    /// The beginning of a frame.
    head: Vec<u8>,
    /// What of the last frame's bytes, which follow it, has yet to come.
    inline_left: u64,
    frames: VecDeque<Frame>,
    /// What the last piece was given by goes on with the next frame.
    within: bool,
    /// The applier that was given something last.
    last: usize,
    /// The last piece came over the main connection.
    last_is_main: bool,
    /// The offset up to which bytes have been given, and up to which they are applied.
    given: u64,
    applied: u64,
    kept: VecDeque<Kept>,
    /// Bytes that flows have carried.
    carried: u64,
}

impl Weave {
    /// A stream over so many flows, from an offset on; the selected database.
    pub fn new(flows: u16, offset: u64, db: u32) -> Self {
        let flows = usize::from(flows.max(1));
        Weave {
            ways: (0..=flows).map(|_| Way::default()).collect(),
            appliers: vec![
                Applier {
                    given: 0,
                    executed: 0,
                    applied: 0,
                    taken: 0,
                    db: Some(db),
                    told_db: db,
                };
                flows
            ],
            head: Vec::new(),
            inline_left: 0,
            frames: VecDeque::new(),
            within: false,
            last: 0,
            last_is_main: true,
            given: offset,
            applied: offset,
            kept: VecDeque::new(),
            carried: 0,
        }
    }

    /// How many flows, and cores that apply.
    pub fn flows(&self) -> usize {
        self.appliers.len()
    }

    /// The offset up to which everything has come without a gap and been given to cores.
    pub fn given(&self) -> u64 {
        self.given
    }

    /// The offset up to which everything is applied.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Bytes that flows have carried.
    pub fn carried(&self) -> u64 {
        self.carried
    }

    /// Bytes that have come over a way and are not held here any more, neither they nor what tells where they belong.
    pub fn taken(&self, way: usize) -> u64 {
        let here = &self.ways[way];
        let frames = match way {
            0 => self.frames.len() * FRAME + self.head.len(),
            _ => 0,
        };
        here.come - here.bytes - frames as u64
    }

    /// Bytes have come over a way.
    ///
    /// # Errors
    /// When they are no frames, or there is no such way.
    pub fn receive(&mut self, way: usize, bytes: Vec<u8>) -> Result<(), Malformed> {
        let chunk = Arc::new(bytes);
        let here = self.ways.get_mut(way).ok_or(Malformed)?;
        here.come += chunk.len() as u64;
        if way > 0 {
            self.carried += chunk.len() as u64;
            here.push(chunk, 0);
            return Ok(());
        }
        let mut at = 0;
        while at < chunk.len() {
            if self.inline_left > 0 {
                let there = (chunk.len() - at) as u64;
                let count = there.min(self.inline_left);
                let to = at + count as usize;
                // The rest of the chunk is frames again: only this much of it is the way's.
                let part = match to == chunk.len() {
                    true => chunk.clone(),
                    false => Arc::new(chunk[at..to].to_vec()),
                };
                let from = if to == chunk.len() { at } else { 0 };
                self.ways[0].push(part, from);
                self.inline_left -= count;
                at = to;
                continue;
            }
            let count = (FRAME - self.head.len()).min(chunk.len() - at);
            self.head.extend_from_slice(&chunk[at..at + count]);
            at += count;
            if self.head.len() == FRAME {
                self.take_frame()?;
            }
        }
        Ok(())
    }

    fn take_frame(&mut self) -> Result<(), Malformed> {
        let head = std::mem::take(&mut self.head);
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (way, db, left) = (
            usize::from(head[0] & !GOES_ON),
            number(1),
            u64::from(number(5)),
        );
        if way >= self.ways.len() || left == 0 {
            return Err(Malformed);
        }
        if way == 0 {
            self.inline_left = left;
        }
        self.frames.push_back(Frame {
            way,
            db: (db != NO_DB).then_some(db),
            left,
            goes_on: head[0] & GOES_ON != 0,
        });
        Ok(())
    }

    /// Gives each core what it may execute now. With `to_a_rest` no more than what has been begun.
    pub fn give(&mut self, to_a_rest: bool, mut take: impl FnMut(usize, Piece)) {
        while let Some(frame) = self.frames.front().copied() {
            let applier = frame.way.saturating_sub(1);
            let is_main = frame.way == 0;
            if !self.within {
                if to_a_rest || (is_main != self.last_is_main && !self.is_executed()) {
                    return;
                }
                if let Some(db) = frame.db {
                    // That is the database behind whatever was given last.
                    self.appliers[self.last].db = Some(db);
                }
            }
            let here = &self.appliers[applier];
            let is_oldest = self.kept.front().is_none_or(|kept| kept.to == applier);
            if here.given - here.taken > GIVEN_MAX
                || (self.given - self.applied > KEPT_MAX && !is_oldest)
            {
                return;
            }
            let Some((chunk, from, to)) = self.ways[frame.way].take(frame.left) else {
                return;
            };
            let here = &mut self.appliers[applier];
            let count = (to - from) as u64;
            let db = match self.within {
                false if here.db != frame.db => frame.db,
                _ => None,
            };
            here.db = None;
            here.given += count;
            let piece = Piece {
                chunk,
                from,
                to,
                db,
                at: self.given,
            };
            self.given += count;
            (self.last, self.last_is_main) = (applier, is_main);
            self.kept.push_back(Kept {
                to: applier,
                piece: piece.clone(),
            });
            take(applier, piece);
            let is_whole = count == frame.left;
            self.within = !is_whole || frame.goes_on;
            match self.frames.front_mut() {
                Some(_) if is_whole => drop(self.frames.pop_front()),
                Some(frame) => frame.left -= count,
                None => {}
            }
        }
    }

    /// A core says how much it has executed of what it was given, how much of it is in nobody's way, and the database
    /// selected there. `apply` gets the bytes that are applied by that, in the order of the stream.
    pub fn executed(
        &mut self,
        applier: usize,
        (executed, taken, db): (u64, u64, u32),
        mut apply: impl FnMut(&[u8]),
    ) {
        let Some(here) = self.appliers.get_mut(applier) else {
            return;
        };
        (here.executed, here.taken, here.told_db) = (executed, taken, db);
        while let Some(first) = self.kept.front_mut() {
            let here = &mut self.appliers[first.to];
            let there = (first.piece.to - first.piece.from) as u64;
            let count = there.min(here.executed - here.applied);
            if count == 0 {
                return;
            }
            apply(&first.piece.bytes()[..count as usize]);
            first.piece.from += count as usize;
            here.applied += count;
            self.applied += count;
            if count == there {
                self.kept.pop_front();
            }
        }
    }

    /// Whether all that was given has been executed.
    fn is_executed(&self) -> bool {
        let mut all = self.appliers.iter();
        all.all(|one| one.executed == one.given)
    }

    /// Whether it stands between two commands, and all before has been executed.
    pub fn rests(&self) -> bool {
        !self.within && self.is_executed()
    }

    /// The database selected behind what was given last, as far as that has been executed.
    pub fn db(&self) -> u32 {
        self.appliers[self.last].told_db
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Backlog, Spread};
    use super::*;
    use crate::base::random::Random;

    fn command(words: &[&str]) -> Vec<u8> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        super::super::handshake::command(&words)
    }

    /// The command at the beginning of the bytes, if it is whole, and how long it is.
    fn first_command(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
        let mut at = 0;
        let line = |at: &mut usize| {
            let end = bytes[*at..].windows(2).position(|two| two == b"\r\n")?;
            let line = std::str::from_utf8(&bytes[*at + 1..*at + end]).ok()?;
            *at += end + 2;
            line.parse::<usize>().ok()
        };
        let mut words = Vec::new();
        for _ in 0..line(&mut at)? {
            let length = line(&mut at)?;
            let word = bytes.get(at..at + length + 2)?;
            words.push(String::from_utf8(word[..length].to_vec()).ok()?);
            at += length + 2;
        }
        Some((words, at))
    }

    /// The data of a replica: who was the last to write a key, and how many commands there were.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Data {
        keys: std::collections::BTreeMap<(u32, String), String>,
        count: usize,
    }

    impl Data {
        fn set(&mut self, db: u32, words: &[String]) {
            self.count += 1;
            self.keys.insert((db, words[1].clone()), words[2].clone());
        }
    }

    /// A core as it executes: commands one by one, transactions whole.
    #[derive(Default)]
    struct Core {
        pieces: VecDeque<Piece>,
        input: Vec<u8>,
        /// How much of the input has been executed.
        at: usize,
        given: u64,
        multi: Option<(u64, Vec<Vec<String>>)>,
        db: u32,
    }

    impl Core {
        fn run(&mut self, data: &mut Data, most: usize) {
            for _ in 0..most {
                if let Some((words, length)) = first_command(&self.input[self.at..]) {
                    let from = self.given - (self.input.len() - self.at) as u64;
                    self.at += length;
                    match (words[0].as_str(), &mut self.multi) {
                        ("MULTI", none) => *none = Some((from, Vec::new())),
                        ("EXEC", open) => {
                            for words in open.take().unwrap().1 {
                                self.execute(data, &words);
                            }
                        }
                        (_, Some((_, queued))) => queued.push(words),
                        (_, None) => self.execute(data, &words),
                    }
                    continue;
                }
                self.input.drain(..std::mem::take(&mut self.at));
                let waits = |piece: &Piece| piece.db.is_some() && !self.input.is_empty();
                if self.pieces.front().is_none_or(waits) {
                    return;
                }
                let piece = self.pieces.pop_front().unwrap();
                self.db = piece.db.unwrap_or(self.db);
                self.given += piece.bytes().len() as u64;
                self.input.extend_from_slice(piece.bytes());
            }
        }

        fn execute(&mut self, data: &mut Data, words: &[String]) {
            match words[0].as_str() {
                "SELECT" => self.db = words[1].parse().unwrap(),
                "SET" => data.set(self.db, words),
                _ => {}
            }
        }

        fn told(&self) -> (u64, u64, u32) {
            let left = (self.input.len() - self.at) as u64;
            let has_work = first_command(&self.input[self.at..]).is_some();
            let taken = self.given - if has_work { left } else { 0 };
            let executed = match &self.multi {
                Some((from, _)) => *from,
                None => self.given - left,
            };
            (executed, taken, self.db)
        }
    }

    /// What a primary with so many shards writes: runs of shards, steps over several, messages, pings.
    struct Primary {
        shards: usize,
        db: u32,
        backlog: Backlog,
        number: u32,
    }

    impl Primary {
        fn write(&mut self, random: &mut Random, longest: usize) {
            let mut below = |n: usize| (random.next_u64() % n as u64) as usize;
            let kind = below(20);
            let source = (kind > 0).then(|| below(self.shards) as u16);
            self.backlog.begin_run(source, Some(self.db));
            let transaction = kind == 0 || kind == 5;
            let mut bytes = Vec::new();
            if transaction {
                bytes.extend(command(&["MULTI"]));
            }
            for _ in 0..1 + below(longest) {
                if below(9) == 0 {
                    self.db = below(3) as u32;
                    bytes.extend(command(&["SELECT", &self.db.to_string()]));
                }
                self.number += 1;
                let shard = source.map_or_else(|| below(self.shards), usize::from);
                let value = format!("{}{}", self.number, "x".repeat(below(60)));
                bytes.extend(command(&["SET", &format!("{shard}-{}", below(5)), &value]));
            }
            if transaction {
                bytes.extend(command(&["EXEC"]));
            }
            self.backlog.append(&bytes);
            if below(30) == 0 {
                self.backlog.begin_run(None, Some(self.db));
                self.backlog.append(&command(&["PING"]));
            }
        }
    }

    /// The data behind the first bytes of a stream; every transaction there is whole.
    fn data_of(stream: &[u8]) -> (Data, u32) {
        let chunk = Arc::new(stream.to_vec());
        let piece = Piece {
            from: 0,
            to: chunk.len(),
            chunk,
            db: None,
            at: 0,
        };
        let mut core = Core::default();
        core.pieces.push_back(piece);
        let mut data = Data::default();
        core.run(&mut data, usize::MAX >> 1);
        assert!(core.multi.is_none(), "an offset lies within a transaction");
        assert!(core.input.is_empty(), "an offset lies within a command");
        (data, core.db)
    }

    #[test]
    fn whatever_comes_when_and_breaks_where_the_data_are_those_of_one_offset() {
        let (mut by_flows, mut rests) = (0, 0);
        for seed in 0..150 {
            let mut random = Random::new(seed);
            let mut dice = Random::new(seed + 1_000_000);
            let mut below = |n: usize| (dice.next_u64() % n as u64) as usize;
            let shards = 2 + below(4);
            let mut primary = Primary {
                shards,
                db: 0,
                backlog: Backlog::new(1),
                number: 0,
            };
            primary.backlog.note_sources();
            let longest = [2, 10, 80][below(3)];
            // The replica: its data, its own backlog, the database where it stopped.
            let (mut data, mut own, mut db) = (Data::default(), Vec::new(), 0);
            for _ in 0..1 + below(4) {
                let wanted = 2 + below(4) as u16;
                let mut spread = Spread::between(shards, wanted).unwrap();
                let flows = usize::from(spread.flows());
                let mut next = own.len() as u64 + 1;
                let mut weave = Weave::new(flows as u16, own.len() as u64, db);
                let core = |_| Core {
                    db,
                    ..Core::default()
                };
                let mut cores: Vec<Core> = (0..flows).map(core).collect();
                let mut wires = vec![Vec::new(); flows + 1];
                let (mut wants_rest, ready_at) = (false, below(30));
                for step in 0..below(150) {
                    for _ in 0..below(6) {
                        primary.write(&mut random, longest);
                    }
                    if below(3) == 0 {
                        let most = 1 + below(40_000);
                        next = spread.cut(
                            &mut primary.backlog,
                            next,
                            most,
                            step >= ready_at,
                            &mut wires,
                        );
                    }
                    let way = below(flows + 1);
                    let count = below(wires[way].len() + 1);
                    if count > 0 {
                        weave
                            .receive(way, wires[way].drain(..count).collect())
                            .unwrap();
                    }
                    weave.give(wants_rest, |to, piece| {
                        let pieces = &mut cores[to].pieces;
                        let left = match pieces.back_mut() {
                            Some(last) => last.extend(piece),
                            None => Some(piece),
                        };
                        pieces.extend(left);
                    });
                    let runs = below(flows);
                    cores[runs].run(&mut data, below(30));
                    let told = cores[runs].told();
                    weave.executed(runs, told, |bytes| own.extend_from_slice(bytes));
                    assert_eq!(weave.applied(), own.len() as u64);
                    wants_rest |= below(40) == 0;
                    if wants_rest && weave.rests() {
                        let (expected, db) = data_of(&own);
                        assert_eq!(data, expected, "seed {seed}: at a rest");
                        assert_eq!(weave.db(), db, "seed {seed}: at a rest");
                        (wants_rest, rests) = (false, rests + 1);
                    }
                }
                // The link breaks: what was given is executed, the rest is forgotten.
                for (at, core) in cores.iter_mut().enumerate() {
                    core.run(&mut data, usize::MAX >> 1);
                    weave.executed(at, core.told(), |bytes| own.extend_from_slice(bytes));
                }
                let mut stream = Vec::new();
                primary.backlog.read(1, own.len(), &mut stream);
                assert!(stream == own, "seed {seed}: the own backlog is another one");
                let (expected, expected_db) = data_of(&own);
                assert_eq!(data, expected, "seed {seed}");
                db = weave.db();
                assert_eq!(db, expected_db, "seed {seed}");
                by_flows += spread.carried();
            }
        }
        assert!(by_flows > 1_000_000 && rests > 100, "{by_flows} {rests}");
    }

    #[test]
    fn all_arrives_when_nothing_breaks_and_what_is_held_back_counts_as_not_taken() {
        let mut random = Random::new(7);
        let mut primary = Primary {
            shards: 3,
            db: 0,
            backlog: Backlog::new(1),
            number: 0,
        };
        primary.backlog.note_sources();
        for _ in 0..2000 {
            primary.write(&mut random, 20);
        }
        let mut spread = Spread::between(3, 3).unwrap();
        let (mut weave, mut data) = (Weave::new(3, 0, 0), Data::default());
        let mut cores: Vec<Core> = (0..3).map(|_| Core::default()).collect();
        let (mut next, mut own, mut come) = (1, Vec::new(), [0; 4]);
        while next < primary.backlog.next() {
            let mut wires = vec![Vec::new(); 4];
            next = spread.cut(&mut primary.backlog, next, 100_000, true, &mut wires);
            for (way, bytes) in wires.into_iter().enumerate() {
                come[way] += bytes.len() as u64;
                weave.receive(way, bytes).unwrap();
            }
            let before = weave.given();
            loop {
                let mut some = false;
                weave.give(false, |to, piece| {
                    some = true;
                    cores[to].pieces.push_back(piece);
                });
                for (at, core) in cores.iter_mut().enumerate() {
                    core.run(&mut data, usize::MAX >> 1);
                    weave.executed(at, core.told(), |bytes| own.extend_from_slice(bytes));
                }
                if !some {
                    break;
                }
            }
            assert!(weave.given() > before);
            for (way, come) in come.iter().enumerate() {
                assert_eq!(weave.taken(way), *come);
            }
        }
        assert_eq!(own.len() as u64 + 1, primary.backlog.next());
        assert_eq!(data, data_of(&own).0);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let frame = |kind: u8, length: u32| {
            let mut bytes = vec![kind];
            bytes.extend_from_slice(&NO_DB.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes
        };
        for (bytes, is_good) in [
            (frame(2, 5), true),
            (frame(3, 5), false),
            (frame(1, 0), false),
        ] {
            let mut weave = Weave::new(2, 0, 0);
            assert_eq!(weave.receive(0, bytes).is_ok(), is_good);
        }
        assert!(Weave::new(2, 0, 0).receive(3, b"x".to_vec()).is_err());
    }
}
