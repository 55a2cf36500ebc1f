//! The last bytes of the stream: what replicas are sent, and what those that come back may still ask for.
//!
//! Bytes are numbered as PSYNC numbers them: the first byte of a history has the number 1. They lie in blocks, so that
//! what is no longer needed goes in whole blocks and growing never moves what is there. All replicas read from here; a
//! slow one keeps more blocks alive than the configured size, which its output buffer limit bounds.

use std::collections::VecDeque;

/// Bytes of a block: the allocator's largest class of which several share pages. From 16 KB on it gives each a page more than it
/// holds, a quarter of what a replica that is loading has kept for it.
const BLOCK: usize = 14 * 1024;
/// Blocks given back at a time: a replica that has caught up leaves thousands, which take milliseconds.
const TRIMMED_MAX: usize = 72;

/// Bytes of the stream that one shard has brought about alone, or that nobody may do apart from the rest. It holds whole
/// commands and whole transactions, and ends where the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    from: u64,
    source: Option<u16>,
    db: Option<u32>,
}

/// What is known of the bytes at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The shard that has brought them about alone.
    pub source: Option<u16>,
    /// The database in force, where it begins here and that is known.
    pub db: Option<u32>,
    /// It begins here.
    pub is_start: bool,
    /// The number of the first byte behind it.
    pub end: u64,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Backlog {
    /// Where its bytes come from, as far as that was noted, while somebody wants to know.
    runs: Option<VecDeque<Run>>,
    /// The next bytes begin a run of their own.
    sealed: bool,
    blocks: VecDeque<Vec<u8>>,
    /// Number of the first byte of the first block.
    block_from: u64,
    /// Number of the next byte to come.
    next: u64,
    /// Number of the first byte that may be asked for: `block_from` or a little later.
    first: u64,
}

impl Backlog {
    /// An empty one; the next byte has the number `next`.
    pub fn new(next: u64) -> Self {
        Backlog {
            runs: None,
            sealed: false,
            blocks: VecDeque::new(),
            block_from: next,
            next,
            first: next,
        }
    }

    /// The same bytes with numbers higher by `offset`.
    pub fn behind(mut self, offset: u64) -> Self {
        self.block_from += offset;
        self.next += offset;
        self.first += offset;
        self.runs
            .iter_mut()
            .flatten()
            .for_each(|run| run.from += offset);
        self
    }

    /// From here on it is noted where bytes come from.
    pub fn note_sources(&mut self) {
        self.runs.get_or_insert_default();
    }

    /// What is appended next comes from this shard alone, or from none; `db` is in force there.
    #[inline]
    pub fn begin_run(&mut self, source: Option<u16>, db: Option<u32>) {
        let Some(runs) = &mut self.runs else {
            return;
        };
        let from = self.next;
        match runs.back_mut() {
            Some(last) if last.source == source && !self.sealed => {}
            Some(last) if last.from == from => *last = Run { from, source, db },
            _ => runs.push_back(Run { from, source, db }),
        }
        self.sealed = false;
    }

    /// All that is there has been sent to somebody: what follows begins a run of its own.
    pub fn seal(&mut self) {
        self.sealed = true;
    }

    /// What is known of the bytes from number `at` on, of which there are some.
    pub fn stretch(&self, at: u64) -> Stretch {
        let runs = self.runs.as_ref();
        let behind = runs.map_or(0, |runs| runs.partition_point(|run| run.from <= at));
        let run = |at: usize| runs.and_then(|runs| runs.get(at));
        let end = run(behind).map_or(self.next, |run| run.from);
        let here = behind.checked_sub(1).and_then(run);
        let is_start = here.is_some_and(|run| run.from == at);
        Stretch {
            source: here.and_then(|run| run.source),
            db: here.and_then(|run| run.db).filter(|_| is_start),
            is_start,
            end,
        }
    }

    /// The number of the first byte held.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The number of the next byte to come.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Bytes held: `repl_backlog_histlen`.
    pub fn len(&self) -> u64 {
        self.next - self.first
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory it takes.
    pub fn memory(&self) -> usize {
        let runs = self.runs.as_ref().map_or(0, VecDeque::capacity);
        self.blocks.len() * (BLOCK + size_of::<Vec<u8>>()) + runs * size_of::<Run>()
    }

    /// Appends.
    pub fn append(&mut self, mut bytes: &[u8]) {
        self.next += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = self.blocks.back().map_or(0, |block| BLOCK - block.len());
            if room == 0 {
                self.blocks.push_back(Vec::with_capacity(BLOCK));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(block) = self.blocks.back_mut() {
                block.extend_from_slice(now);
            }
            bytes = later;
        }
    }

    /// Lets go of what is beyond `size` bytes and before byte `needed`, the first one that a replica has yet to be sent.
    /// True when there is more to let go than is done at once.
    pub fn trim(&mut self, size: u64, needed: Option<u64>) -> bool {
        let keep = self.next.saturating_sub(size).max(self.first);
        let keep = needed.map_or(keep, |needed| keep.min(needed.max(self.first)));
        let (mut trimmed, mut has_more) = (0, false);
        while let Some(block) = self.blocks.front() {
            let end = self.block_from + block.len() as u64;
            if end > keep || block.len() < BLOCK {
                break;
            }
            has_more = trimmed == TRIMMED_MAX;
            if has_more {
                break;
            }
            trimmed += 1;
            self.block_from = end;
            self.blocks.pop_front();
        }
        self.first = self.block_from.max(self.first);
        if let Some(runs) = &mut self.runs {
            while runs.get(1).is_some_and(|second| second.from <= self.first) {
                runs.pop_front();
            }
        }
        has_more
    }

    /// Whether bytes from number `from` on can be had, or the next to come is meant.
    pub fn holds(&self, from: u64) -> bool {
        (self.first..=self.next).contains(&from)
    }

    /// Appends up to `max` bytes from number `from` on, which must be held, to `into`; how many.
    pub fn read(&self, from: u64, max: usize, into: &mut Vec<u8>) -> usize {
        assert!(
            self.holds(from),
            "replicas that lag too far are let go first"
        );
        let before = into.len();
        let mut skip = (from - self.block_from) as usize;
        let mut left = max;
        // All blocks but the last are full.
        let mut at = skip / BLOCK;
        skip %= BLOCK;
        while left > 0 && at < self.blocks.len() {
            let bytes = &self.blocks[at][skip.min(self.blocks[at].len())..];
            let bytes = &bytes[..left.min(bytes.len())];
            into.extend_from_slice(bytes);
            left -= bytes.len();
            skip = 0;
            at += 1;
        }
        into.len() - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(from: u64, count: usize) -> Vec<u8> {
        (from..).take(count).map(|n| (n * 7 % 251) as u8).collect()
    }

    #[test]
    fn bytes_are_found_by_their_numbers_across_blocks() {
        let mut backlog = Backlog::new(101);
        for step in [1, 10, BLOCK, 3 * BLOCK + 5, 100] {
            backlog.append(&bytes(backlog.next(), step));
        }
        assert_eq!(backlog.len(), (4 * BLOCK + 116) as u64);
        for from in [
            101,
            102,
            101 + BLOCK as u64,
            backlog.next() - 1,
            backlog.next(),
        ] {
            for max in [0, 1, 1000, 10 * BLOCK] {
                let mut got = Vec::new();
                let count = backlog.read(from, max, &mut got);
                let expected = max.min((backlog.next() - from) as usize);
                assert_eq!(
                    (count, got),
                    (expected, bytes(from, expected)),
                    "{from} {max}"
                );
            }
        }
        assert!(!backlog.holds(100) && !backlog.holds(backlog.next() + 1));
    }

    #[test]
    fn it_is_known_where_bytes_come_from_as_far_as_that_was_noted() {
        let mut backlog = Backlog::new(1);
        backlog.begin_run(Some(1), Some(0));
        backlog.append(b"abc");
        backlog.note_sources();
        backlog.append(b"d");
        for (source, db) in [(Some(1), 0), (Some(1), 0), (None, 3), (Some(2), 3)] {
            backlog.begin_run(source, Some(db));
            backlog.append(b"xy");
        }
        backlog.begin_run(None, Some(9)); // nothing comes of it
        backlog.begin_run(Some(2), Some(5));
        backlog.append(b"z");
        backlog.seal();
        backlog.begin_run(Some(2), None);
        backlog.append(b"z");
        let known = |at: u64| {
            let stretch = backlog.stretch(at);
            (stretch.source, stretch.db, stretch.is_start, stretch.end)
        };
        assert_eq!(known(1), (None, None, false, 5));
        assert_eq!(known(5), (Some(1), Some(0), true, 9));
        assert_eq!(known(7), (Some(1), None, false, 9));
        assert_eq!(known(9), (None, Some(3), true, 11));
        assert_eq!(known(11), (Some(2), Some(3), true, 13));
        assert_eq!(known(13), (Some(2), Some(5), true, 14));
        assert_eq!(known(14), (Some(2), None, true, 15));
        backlog.begin_run(None, None);
        backlog.append(&bytes(1, 5 * BLOCK));
        backlog.trim(0, None);
        let first = backlog.first();
        assert_eq!(backlog.stretch(first).end, backlog.next());
        assert_eq!(backlog.runs.as_ref().unwrap().len(), 1);
    }

    #[test]
    fn what_nobody_needs_goes_beyond_the_size_and_what_somebody_needs_stays() {
        let mut backlog = Backlog::new(1);
        backlog.append(&bytes(1, 10 * BLOCK + 1));
        backlog.trim(2 * BLOCK as u64, Some(5 * BLOCK as u64 + 3));
        assert_eq!(backlog.first(), 5 * BLOCK as u64 + 1);
        backlog.trim(2 * BLOCK as u64, None);
        assert_eq!(backlog.first(), 8 * BLOCK as u64 + 1);
        assert!(backlog.len() >= 2 * BLOCK as u64);
        let mut got = Vec::new();
        backlog.read(backlog.first(), usize::MAX, &mut got);
        assert_eq!(got, bytes(backlog.first(), got.len()));
        // A size of nothing keeps what the last block holds.
        backlog.trim(0, None);
        assert_eq!(backlog.first(), 10 * BLOCK as u64 + 1);
        let last = bytes(backlog.first(), 1);
        let moved = backlog.behind(1000);
        let mut got = Vec::new();
        moved.read(moved.first(), usize::MAX, &mut got);
        assert_eq!((moved.first(), got), (10 * BLOCK as u64 + 1001, last));
    }
}
