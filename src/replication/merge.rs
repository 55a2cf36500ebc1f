//! The merge of the shards' effect streams into one stream of commands.
//!
//! Each shard hands over its effects in blocks, in order, with stamps that put the blocks of all shards in order
//! (`mesh/flow.rs`): so what a client did after an answer comes after what it had been answered. What is a shard's own
//! goes out as it comes, a SELECT before it where the database changes. A step over several shards waits at the head of each participant's queue until all have
//! it there, and goes out as one MULTI ... EXEC. A barrier waits for all shards: it names one offset of the stream. Steps
//! that share two shards, and steps and barriers, stand in the same order in every stream that holds both
//! (docs/architecture.md says why), so the oldest of those at the heads is complete sooner or later and nothing waits for
//! ever.
//!
//! Within a step, a command that all shards recorded alike (FLUSHALL) is one command: it goes out once, after what each
//! part did before it and ahead of what each did afterwards.

use std::collections::VecDeque;
use std::ops::Range;

use crate::base::number::format_i64;
use crate::effect::{Block, Mark, Marked, Part};

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// Where the merged stream goes.
pub trait Sink {
    /// The next bytes are whole commands of this shard alone, or of none; the database in force, where one is.
    fn begin_run(&mut self, _source: Option<usize>, _db: u32) {}
    /// The next bytes of the stream.
    fn append(&mut self, bytes: &[u8]);
    /// All shards have passed this barrier: the stream as it is now is that of the cut. `db` is the database of the last
    /// command; the next one says its own.
    fn on_barrier(&mut self, number: u64, db: u32);
    /// A block has been read to its end.
    fn on_done(&mut self, shard: usize, block: Block);
}

/// One shard's blocks that have not been merged.
#[derive(Debug, Default)]
struct Input {
    blocks: VecDeque<Block>,
    /// How far the first block has been merged: bytes, marks.
    at: usize,
    mark: usize,
    /// The database in force there.
    db: Option<u32>,
    /// Blocks merged since the beginning.
    done: u64,
}

/// What stands at the head of an input once what is its own has gone out.
#[derive(Debug, PartialEq, Eq)]
enum Head {
    /// Nothing that it shares: the block has come to its end.
    Nothing,
    /// A part of a step.
    Part(u64),
    /// A barrier.
    Barrier(u64),
}

/// See the head of the file.
#[derive(Debug)]
pub struct Merge {
    inputs: Vec<Input>,
    /// The database of the next command of the stream; none: it says it.
    db: Option<u32>,
    /// The last run merged blocks with stamps below this.
    below: u64,
    /// It stopped before it had come to their end.
    is_unfinished: bool,
}

/// How far each input has been handed over at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position(Vec<u64>);

impl Merge {
    /// A merge of so many shards.
    pub fn new(shards: usize) -> Self {
        Merge {
            inputs: (0..shards).map(|_| Input::default()).collect(),
            db: None,
            below: 0,
            is_unfinished: false,
        }
    }

    /// The next command says its database again: somebody begins to read here who does not know it.
    pub fn forget_db(&mut self) {
        self.db = None;
    }

    /// The database of the last command of the stream; 0 when none has said one.
    pub fn db(&self) -> u32 {
        self.db.unwrap_or(0)
    }

    /// Forgets all that has not been merged: the flows begin anew.
    pub fn reset(&mut self) {
        *self = Merge::new(self.inputs.len());
    }

    /// Takes a shard's next block.
    pub fn take(&mut self, shard: usize, block: Block) {
        let input = &mut self.inputs[shard];
        if input.blocks.is_empty() {
            input.db = block.db.or(input.db);
        }
        input.blocks.push_back(block);
    }

    /// All that has been taken so far.
    pub fn position(&self) -> Position {
        let handed = |input: &Input| input.done + input.blocks.len() as u64;
        Position(self.inputs.iter().map(handed).collect())
    }

    /// Whether all of it has been merged.
    pub fn has_passed(&self, position: &Position) -> bool {
        let passed = |(input, upto): (&Input, &u64)| input.done >= *upto;
        self.inputs.iter().zip(&position.0).all(passed)
    }

    /// All blocks with stamps below this have been merged.
    pub fn merged_below(&self) -> u64 {
        let first = |input: &Input| input.blocks.front().map(|block| block.stamp);
        let left = self.inputs.iter().filter_map(first).min();
        left.map_or(self.below, |left| left.min(self.below))
    }

    /// Whether the last run stopped because it had merged enough: [`Merge::go_on`] comes before anything is taken.
    pub fn is_unfinished(&self) -> bool {
        self.is_unfinished
    }

    /// Whether something is there that the last run left for the next: nothing was known of what may come before it.
    pub fn has_more(&self) -> bool {
        if self.is_unfinished {
            return true;
        }
        let later = |input: &Input| {
            let block = input.blocks.front();
            block.is_some_and(|block| block.stamp >= self.below)
        };
        self.inputs.iter().any(later)
    }

    /// Merges blocks with stamps below that, in their order; all of these must have been taken. It stops early behind a
    /// block with which it has merged so many bytes.
    pub fn run(&mut self, below: u64, most: usize, sink: &mut impl Sink) {
        self.below = below;
        self.go_on(most, sink);
    }

    /// Goes on with a run that has stopped early.
    pub fn go_on(&mut self, most: usize, sink: &mut impl Sink) {
        let below = self.below;
        let mut merged = 0;
        self.is_unfinished = false;
        let mut heads: Vec<Option<Head>> = Vec::new();
        heads.resize_with(self.inputs.len(), || None);
        loop {
            // The earliest of those that do not wait for others.
            let free = (0..self.inputs.len()).filter(|&shard| heads[shard].is_none());
            let first = free
                .filter_map(|shard| Some((self.inputs[shard].blocks.front()?.stamp, shard)))
                .filter(|(stamp, _)| *stamp < below)
                .min();
            let Some((_, shard)) = first else {
                return;
            };
            if merged >= most {
                self.is_unfinished = true;
                return;
            }
            let input = &self.inputs[shard];
            let length = input.blocks.front().map_or(0, |block| block.bytes.len());
            let (at, done) = (input.at, input.done);
            let head = self.run_own(shard, sink);
            // What waits is met again by every run, and counts once.
            let input = &self.inputs[shard];
            merged += if input.done == done { input.at } else { length } - at;
            match head {
                Head::Nothing => {}
                Head::Barrier(number) => {
                    heads[shard] = Some(Head::Barrier(number));
                    if heads
                        .iter()
                        .all(|head| *head == Some(Head::Barrier(number)))
                    {
                        sink.on_barrier(number, self.db());
                        self.forget_db(); // whoever gets a copy of this moment knows of none
                        for shard in 0..self.inputs.len() {
                            self.end_block(shard, sink);
                        }
                        heads.fill_with(|| None);
                    }
                }
                Head::Part(number) => {
                    heads[shard] = Some(Head::Part(number));
                    let waits = |one: &u16| heads[usize::from(*one)] == Some(Head::Part(number));
                    let part = self.part_of(shard).expect("the head is a part");
                    if part.shards.iter().all(waits) {
                        let shards = part.shards.clone();
                        self.run_step(&shards, sink);
                        for &shard in &shards {
                            heads[usize::from(shard)] = None;
                        }
                    }
                }
            }
        }
    }

    fn part_of(&self, shard: usize) -> Option<&Part> {
        let input = &self.inputs[shard];
        let mark = input.blocks.front()?.marks.get(input.mark)?;
        match &mark.what {
            Marked::Part(part) if mark.at == input.at => Some(part),
            _ => None,
        }
    }

    /// Lets out what is one shard's own, to the end of its first block or up to what it shares with others.
    fn run_own(&mut self, shard: usize, sink: &mut impl Sink) -> Head {
        let input = &self.inputs[shard];
        let Some(block) = input.blocks.front() else {
            return Head::Nothing;
        };
        let part = |mark: &Mark| match &mark.what {
            Marked::Part(part) => Some((mark.at, part.number)),
            _ => None,
        };
        let next = block.marks[input.mark..].iter().find_map(part);
        let (end, barrier) = (block.bytes.len(), block.barrier);
        // Messages keep one order over all shards.
        let is_message = |mark: &Mark| matches!(mark.what, Marked::ReplicasOnly { .. });
        let has_message = block.marks[input.mark..].iter().any(is_message);
        sink.begin_run((!has_message).then_some(shard), self.db());
        self.emit(shard, next.map_or(end, |(at, _)| at), false, sink);
        match (next, barrier) {
            (Some((_, number)), _) => Head::Part(number),
            (None, Some(number)) => Head::Barrier(number),
            (None, None) => {
                self.end_block(shard, sink);
                Head::Nothing
            }
        }
    }

    fn end_block(&mut self, shard: usize, sink: &mut impl Sink) {
        let input = &mut self.inputs[shard];
        if let Some(block) = input.blocks.pop_front() {
            (input.at, input.mark) = (0, 0);
            input.done += 1;
            sink.on_done(shard, block);
        }
    }

    /// Lets out a shard's bytes up to offset `to` of its first block; in a step only up to the next command that all its
    /// shards recorded. True when that is where it stands.
    fn emit(&mut self, shard: usize, to: usize, in_step: bool, sink: &mut impl Sink) -> bool {
        let Input {
            blocks,
            at,
            mark,
            db,
            ..
        } = &mut self.inputs[shard];
        let Some(block) = blocks.front() else {
            return false;
        };
        loop {
            let next = block.marks.get(*mark).filter(|mark| mark.at <= to);
            let until = next.map_or(to, |mark| mark.at);
            plain(&block.bytes, *at..until, *db, &mut self.db, sink);
            *at = until;
            let Some(next) = next else {
                return false;
            };
            match &next.what {
                Marked::Part(_) => return false,
                Marked::Everywhere { .. } if in_step => return true,
                Marked::Everywhere { .. } => {}
                Marked::Select { length, db: new } => {
                    *at += length;
                    *db = Some(*new);
                }
                Marked::LogsOnly { length } => *at += length,
                Marked::ReplicasOnly { db, bytes } => {
                    plain(bytes, 0..bytes.len(), Some(*db), &mut self.db, sink);
                }
            }
            *mark += 1;
        }
    }

    /// Lets out a step whose parts are all at the heads.
    fn run_step(&mut self, shards: &[u16], sink: &mut impl Sink) {
        let mut ends = Vec::with_capacity(shards.len());
        for &shard in shards {
            let part = self.part_of(shard.into()).expect("the head is a part");
            let (head, length, tail) = (part.head, part.length, part.tail);
            let input = &mut self.inputs[usize::from(shard)];
            ends.push((input.at + length - tail, tail));
            input.at += head;
            input.mark += 1;
        }
        let everywhere = shards.iter().zip(&ends).all(|(&shard, (end, _))| {
            let input = &self.inputs[usize::from(shard)];
            input.is_one_command_everywhere(*end)
        });
        sink.begin_run(None, self.db());
        if !everywhere {
            sink.append(MULTI);
        }
        loop {
            let mut common = None;
            for (&shard, (end, _)) in shards.iter().zip(&ends) {
                if self.emit(shard.into(), *end, true, sink) {
                    common.get_or_insert(usize::from(shard));
                }
            }
            let Some(speaker) = common else {
                break;
            };
            // All stand before the same command: it goes out once.
            let input = &self.inputs[speaker];
            let (from, length) = (input.at, input.everywhere_here());
            if let Some(block) = input.blocks.front() {
                plain(
                    &block.bytes,
                    from..from + length,
                    input.db,
                    &mut self.db,
                    sink,
                );
            }
            for &shard in shards {
                let input = &mut self.inputs[usize::from(shard)];
                let length = input.everywhere_here();
                if length > 0 {
                    input.at += length;
                    input.mark += 1;
                }
            }
        }
        if !everywhere {
            sink.append(EXEC);
        }
        for (&shard, (_, tail)) in shards.iter().zip(&ends) {
            self.inputs[usize::from(shard)].at += tail;
        }
    }
}

impl Input {
    /// Bytes of the command at hand if all shards of the step have recorded it; 0 otherwise.
    fn everywhere_here(&self) -> usize {
        let mark = self
            .blocks
            .front()
            .and_then(|block| block.marks.get(self.mark));
        match mark {
            Some(mark) if mark.at == self.at => match mark.what {
                Marked::Everywhere { length } => length,
                _ => 0,
            },
            _ => 0,
        }
    }

    /// Whether the part at hand, which ends at `end`, is nothing but such a command.
    fn is_one_command_everywhere(&self, end: usize) -> bool {
        let Some(block) = self.blocks.front() else {
            return false;
        };
        let mut at = self.at;
        for mark in &block.marks[self.mark..] {
            match mark.what {
                Marked::Select { length, .. } if mark.at == at => at += length,
                Marked::Everywhere { length } => return mark.at == at && at + length == end,
                _ => return false,
            }
        }
        false
    }
}

/// Lets out commands for a database. A SELECT stands within MULTI rather than before it, as Redis 7.2 writes it.
fn plain(
    bytes: &[u8],
    range: Range<usize>,
    db: Option<u32>,
    current: &mut Option<u32>,
    sink: &mut impl Sink,
) {
    if range.is_empty() {
        return;
    }
    let mut rest = &bytes[range];
    if db.is_some()
        && db != *current
        && let Some(after) = rest.strip_prefix(MULTI)
    {
        sink.append(MULTI);
        rest = after;
    }
    if !rest.is_empty() {
        select(db, current, sink);
        sink.append(rest);
    }
}

fn select(db: Option<u32>, current: &mut Option<u32>, sink: &mut impl Sink) {
    if let Some(number) = db
        && *current != db
    {
        let digits = format_i64(i64::from(number));
        let mut line = Vec::with_capacity(32);
        line.extend_from_slice(b"*2\r\n$6\r\nSELECT\r\n$");
        line.extend_from_slice(&format_i64(digits.len() as i64));
        line.extend_from_slice(b"\r\n");
        line.extend_from_slice(&digits);
        line.extend_from_slice(b"\r\n");
        sink.append(&line);
        *current = db;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::effect::{Effects, Step};
    use crate::resp::request::{Caller, OwnedArgs};

    /// What came out: each command's words joined by blanks, barriers as `|number`.
    #[derive(Default)]
    struct Out {
        bytes: Vec<u8>,
        barriers: Vec<(u64, usize, u32)>,
    }

    impl Sink for Out {
        fn append(&mut self, bytes: &[u8]) {
            self.bytes.extend_from_slice(bytes);
        }

        fn on_barrier(&mut self, number: u64, db: u32) {
            let commands = words(&self.bytes).len();
            self.barriers.push((number, commands, db));
        }

        fn on_done(&mut self, _: usize, _: Block) {}
    }

    fn words(bytes: &[u8]) -> Vec<String> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let commands = text.split('*').filter(|command| !command.is_empty());
        let words = commands.map(|command| {
            let lines = command.split("\r\n").skip(1);
            let words: Vec<&str> = lines.filter(|line| !line.starts_with('$')).collect();
            words.join(" ").trim().to_owned()
        });
        words.collect()
    }

    /// Shards as whoever holds them changes them.
    struct Model {
        stamp: u64,
        shards: Vec<Effects>,
        /// What each shard has handed on and the merge has not taken.
        ways: Vec<VecDeque<Block>>,
        steps: u64,
    }

    impl Model {
        fn new(shards: usize) -> Self {
            let streaming = |_| {
                let mut effects = Effects::default();
                effects.set_streamed(true);
                effects
            };
            Model {
                stamp: 0,
                shards: (0..shards).map(streaming).collect(),
                ways: (0..shards).map(|_| VecDeque::new()).collect(),
                steps: 0,
            }
        }

        fn set(&mut self, shard: usize, db: u32, key: &str) {
            let request: OwnedArgs = [&b"SET"[..], key.as_bytes()].into_iter().collect();
            let caller = Caller {
                db,
                ..Caller::default()
            };
            let effects = &mut self.shards[shard];
            effects.begin();
            effects.count(1);
            effects.end(&request.args(caller));
        }

        fn flush(&mut self, shard: usize, db: u32, name: &str) {
            let request: OwnedArgs = [&b"FLUSHALL"[..]].into_iter().collect();
            let effects = &mut self.shards[shard];
            effects.begin();
            effects.record_everywhere(db as usize, &[b"FLUSHALL", name.as_bytes()]);
            effects.end(&request.args(Caller::default()));
        }

        fn step(&mut self, work: impl FnOnce(&mut Self)) {
            for effects in &mut self.shards {
                assert!(effects.begin_unit());
            }
            work(self);
            let parts = |has_part: fn(&Effects) -> bool| -> Vec<u16> {
                let has_part = |shard: &u16| has_part(&self.shards[usize::from(*shard)]);
                (0..self.shards.len() as u16).filter(has_part).collect()
            };
            let (logged, streamed) = (parts(Effects::has_part), parts(Effects::has_streamed_part));
            self.steps += 1;
            let step = (streamed.len() > 1).then_some(Step {
                number: self.steps,
                logged: &logged,
                streamed: &streamed,
            });
            for effects in &mut self.shards {
                effects.end_unit(step);
            }
        }

        fn hand_on(&mut self, shard: usize, barrier: Option<u64>) {
            let mut block = Block::default();
            self.shards[shard].hand_on(&mut block);
            self.shards[shard].clear();
            (block.barrier, block.stamp) = (barrier, self.stamp);
            self.stamp += 1;
            self.ways[shard].push_back(block);
        }
    }

    fn merged(model: &mut Model) -> Out {
        let (mut merge, mut out) = (Merge::new(model.shards.len()), Out::default());
        for shard in 0..model.shards.len() {
            model.hand_on(shard, None);
            while let Some(block) = model.ways[shard].pop_front() {
                merge.take(shard, block);
            }
        }
        merge.run(u64::MAX, usize::MAX, &mut out);
        out
    }

    #[test]
    fn what_is_a_shards_own_goes_out_with_its_database() {
        let mut model = Model::new(2);
        model.set(0, 0, "a");
        model.set(0, 3, "b");
        model.set(1, 3, "c");
        model.set(1, 0, "d");
        model.shards[1].tell_replicas(0, 1, [&b"PUBLISH"[..]].into_iter());
        let out = merged(&mut model);
        let expected = "SELECT 0,SET a,SELECT 3,SET b,SET c,SELECT 0,SET d,PUBLISH";
        assert_eq!(words(&out.bytes).join(","), expected);
    }

    #[test]
    fn a_step_goes_out_once_as_one_block_when_all_its_parts_are_there() {
        let mut model = Model::new(3);
        model.set(1, 1, "before");
        model.step(|model| {
            model.set(0, 1, "a");
            model.set(2, 1, "b");
            model.set(2, 2, "c");
        });
        model.set(2, 2, "after");
        model.hand_on(2, None);
        let (mut merge, mut out) = (Merge::new(3), Out::default());
        merge.take(2, model.ways[2].pop_front().unwrap());
        let position = merge.position();
        merge.run(u64::MAX, usize::MAX, &mut out);
        assert_eq!(
            (words(&out.bytes).len(), merge.has_passed(&position)),
            (0, false)
        );
        for shard in [1, 0] {
            model.hand_on(shard, None);
            merge.take(shard, model.ways[shard].pop_front().unwrap());
        }
        merge.run(u64::MAX, usize::MAX, &mut out);
        let expected = "SELECT 1,SET before,MULTI,SET a,SET b,SELECT 2,SET c,EXEC,SET after";
        assert_eq!(words(&out.bytes).join(","), expected);
        assert!(merge.has_passed(&position));
    }

    #[test]
    fn what_replicas_alone_are_told_is_a_part_of_its_transaction() {
        let publish = |model: &mut Model, shard: usize| {
            let parts = [&b"PUBLISH"[..]].into_iter();
            model.shards[shard].tell_replicas(0, 1, parts);
        };
        // Alone, beside a command of its shard, beside one of another, and with a step of two others.
        let mut model = Model::new(3);
        model.step(|model| publish(model, 0));
        model.step(|model| {
            publish(model, 0);
            model.set(0, 0, "a");
        });
        model.step(|model| {
            model.set(1, 0, "b");
            publish(model, 0);
        });
        model.step(|model| {
            model.set(1, 0, "c");
            model.set(2, 0, "d");
            publish(model, 0);
        });
        model.set(0, 0, "e");
        let commands = words(&merged(&mut model).bytes).join(",");
        let expected = "SELECT 0,PUBLISH,MULTI,PUBLISH,SET a,EXEC,MULTI,PUBLISH,SET b,EXEC,\
                        MULTI,PUBLISH,SET c,SET d,EXEC,SET e";
        assert_eq!(commands, expected);
        let log = |shard: usize| {
            let mut model = Model::new(3);
            model.step(|model| {
                model.set(1, 0, "b");
                publish(model, 0);
            });
            String::from_utf8(model.shards[shard].recorded().to_vec()).unwrap()
        };
        assert!(log(0).is_empty() && !log(1).contains('#'), "{}", log(1));
    }

    #[test]
    fn what_all_shards_record_alike_is_one_command_between_what_came_before_and_after() {
        let mut model = Model::new(3);
        model.step(|model| (0..3).for_each(|shard| model.flush(shard, 0, "x")));
        model.step(|model| {
            model.set(1, 0, "before");
            (0..3).for_each(|shard| model.flush(shard, 0, "y"));
            model.set(0, 0, "after");
            (0..3).for_each(|shard| model.flush(shard, 0, "z"));
            model.set(2, 0, "last");
        });
        let expected =
            "SELECT 0,FLUSHALL x,MULTI,SET before,FLUSHALL y,SET after,FLUSHALL z,SET last,EXEC";
        assert_eq!(words(&merged(&mut model).bytes).join(","), expected);
        // With one shard there are no parts.
        let mut model = Model::new(1);
        model.flush(0, 0, "x");
        assert_eq!(
            words(&merged(&mut model).bytes).join(","),
            "SELECT 0,FLUSHALL x"
        );
    }

    #[test]
    fn what_was_handed_on_first_goes_out_first_and_only_when_all_before_it_is_known() {
        let mut model = Model::new(3);
        for (number, shard) in [2, 0, 1, 1, 2, 0].into_iter().enumerate() {
            model.set(shard, 0, &number.to_string());
            model.hand_on(shard, None);
        }
        let (mut merge, mut out) = (Merge::new(3), Out::default());
        for shard in [1, 2, 0] {
            while let Some(block) = model.ways[shard].pop_front() {
                merge.take(shard, block);
            }
        }
        merge.run(4, usize::MAX, &mut out);
        let expected = "SELECT 0,SET 0,SET 1,SET 2,SET 3";
        assert_eq!(
            (words(&out.bytes).join(",").as_str(), merge.has_more()),
            (expected, true)
        );
        merge.run(6, usize::MAX, &mut out);
        assert_eq!(
            words(&out.bytes).join(","),
            format!("{expected},SET 4,SET 5")
        );
        assert!(!merge.has_more());
    }

    #[test]
    fn random_histories_keep_order_databases_whole_steps_and_whole_cuts() {
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let mut below = |n: usize| (random.next_u64() % n as u64) as usize;
            let shards = 1 + below(5);
            let mut model = Model::new(shards);
            let (mut merge, mut out) = (Merge::new(shards), Out::default());
            // What each shard did, in order: database and key; which step a key belongs to.
            let mut did: Vec<Vec<(u32, String)>> = vec![Vec::new(); shards];
            let mut step_of = std::collections::HashMap::new();
            let mut cuts: Vec<Vec<usize>> = Vec::new();
            for number in 0..below(120) {
                let key = |shard: usize, at: usize| format!("{number}-{shard}-{at}");
                match below(10) {
                    0..5 => {
                        let (shard, db) = (below(shards), below(3) as u32);
                        model.set(shard, db, &key(shard, 0));
                        did[shard].push((db, key(shard, 0)));
                    }
                    5..7 => {
                        let mut plan = Vec::new();
                        for shard in 0..shards {
                            for at in 0..below(3) {
                                plan.push((shard, below(3) as u32, key(shard, at)));
                            }
                        }
                        model.step(|model| {
                            for (shard, db, key) in &plan {
                                model.set(*shard, *db, key);
                            }
                        });
                        for (shard, db, key) in plan {
                            step_of.insert(key.clone(), number);
                            did[shard].push((db, key));
                        }
                    }
                    7..9 => model.hand_on(below(shards), None),
                    _ => {
                        let cut = cuts.len() as u64;
                        (0..shards).for_each(|shard| model.hand_on(shard, Some(cut)));
                        cuts.push(did.iter().map(Vec::len).collect());
                    }
                }
                for _ in 0..below(4) {
                    let shard = below(shards);
                    if let Some(block) = model.ways[shard].pop_front() {
                        merge.take(shard, block);
                    }
                }
                merge.run(u64::MAX, 1 + below(200), &mut out);
                while merge.is_unfinished() {
                    assert!(merge.has_more());
                    merge.go_on(1 + below(200), &mut out);
                }
            }
            for shard in 0..shards {
                model.hand_on(shard, None);
                while let Some(block) = model.ways[shard].pop_front() {
                    merge.take(shard, block);
                }
            }
            merge.run(u64::MAX, usize::MAX, &mut out);
            assert!(merge.has_passed(&merge.position()), "seed {seed}");
            let (mut db, mut multi, mut got) = (0, None, vec![Vec::new(); shards]);
            let mut passed = Vec::new();
            let commands = words(&out.bytes);
            for (at, command) in commands.iter().enumerate() {
                while let Some((cut, _, _)) =
                    out.barriers.get(passed.len()).filter(|cut| cut.1 == at)
                {
                    passed.push((*cut, got.iter().map(Vec::len).collect::<Vec<_>>()));
                }
                match command.split_once(' ') {
                    Some(("SELECT", number)) => db = number.parse().unwrap(),
                    Some((_, key)) => {
                        let step = step_of.get(key);
                        assert!(multi.is_none() || multi == Some(step), "seed {seed}: {key}");
                        if multi == Some(None) {
                            panic!("seed {seed}: {key} is in no step");
                        }
                        let shard: usize = key.split('-').nth(1).unwrap().parse().unwrap();
                        got[shard].push((db, key.to_owned()));
                    }
                    None if command == "MULTI" => {
                        let inner = commands[at + 1..]
                            .iter()
                            .find_map(|next| next.strip_prefix("SET "));
                        multi = Some(inner.and_then(|key| step_of.get(key)));
                    }
                    None => multi = None,
                }
            }
            while passed.len() < out.barriers.len() {
                passed.push((passed.len() as u64, got.iter().map(Vec::len).collect()));
            }
            assert_eq!(got, did, "seed {seed}");
            let expected: Vec<_> = (0..).zip(cuts).collect();
            assert_eq!(passed, expected, "seed {seed}");
        }
    }
}
