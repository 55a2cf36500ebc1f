//! Which part of the logs is the data set: decided from what their ends hold, before anything is replayed.
//!
//! Each shard's log replays alone, but a step over several shards left a part in each, and a crash may have come
//! between two of them. A step that is not whole is dropped, and with it what follows it in those logs: none of that
//! was acknowledged, because a reply waits for all parts of the steps before it. Dropping something may leave another
//! step without a part, so this goes on until nothing changes.
//!
//! After a loss of power under a relaxed fsync policy the logs may also end at different times. Then all are cut to the
//! last *epoch* that all of them hold: a mark written into all logs while one core held all shards, with a seal behind it.
//! Under `always` each append is sealed, and what is behind the last seal was not acknowledged.

use std::collections::{HashMap, VecDeque};
use std::io::Read;

use super::reader::{Item, LogProblem, LogReader};
use crate::base::number::parse_i64;
use crate::effect::{EPOCH_MARK, SEAL_MARK, TRANSACTION_MARK};

/// Epochs remembered from the end of a log, about one a second. Logs of one machine differ by one or two; the rest is
/// for a disk that hung.
const EPOCHS_MAX: usize = 64;

/// A place in a shard's incremental files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Which file, in the order of the manifest.
    pub file: usize,
    /// Bytes from its start.
    pub offset: u64,
}

/// A part of a step over several shards.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    number: u64,
    shards: Vec<u16>,
    /// Where it begins.
    at: Position,
    /// The epoch before it; zero when there is none.
    epoch: u64,
}

/// What the end of one shard's log holds.
#[derive(Debug, Default)]
pub struct Survey {
    /// The last epochs and where each ends.
    epochs: VecDeque<(u64, Position)>,
    /// Earlier epochs, and the parts before the first one above, have been forgotten.
    forgotten: bool,
    parts: Vec<Part>,
    /// Where the last unit ends that is whole.
    end: Position,
    /// Where the last seal ends.
    sealed: Position,
    /// The greatest number seen.
    pub number_max: u64,
}

/// A unit that is being read.
#[derive(Default)]
struct Unit {
    from: Option<Position>,
    part: Option<(u64, Vec<u16>)>,
    in_multi: bool,
}

impl Survey {
    /// Where the log's last whole unit ends.
    pub fn end(&self) -> Position {
        self.end
    }

    /// Where the log's last seal ends.
    pub fn sealed(&self) -> Position {
        self.sealed
    }

    /// What a seal has shown not to be what was written does not count.
    fn rewind(&mut self, to: Position) {
        self.end = self.end.min(to);
        self.parts.retain(|part| part.at < to);
    }

    /// Reads one more file of the log. A file that ends within a command or a unit is no error here: `end` tells. The
    /// value says whether it ended where it should.
    pub fn read(&mut self, file: usize, input: impl Read) -> Result<bool, LogProblem> {
        let mut reader = LogReader::new(input, 0).strict();
        let mut unit = Unit::default();
        self.end = Position { file, offset: 0 };
        self.sealed = self.end;
        // An epoch that has been marked counts with the seal behind it.
        let mut marked = None;
        loop {
            let at = Position {
                file,
                offset: reader.offset(),
            };
            match reader.next_item() {
                Ok(None) => return Ok(unit.from.is_none()),
                Err(LogProblem::Truncated { .. }) => return Ok(false),
                Err(LogProblem::Malformed { offset, reason }) => {
                    self.rewind(Position { file, offset });
                    return Err(LogProblem::Malformed { offset, reason });
                }
                Err(problem) => return Err(problem),
                Ok(Some(Item::Annotation(text))) => {
                    if let Some(number) = number_after(EPOCH_MARK, text) {
                        self.number_max = self.number_max.max(number);
                        marked = Some(number);
                    } else if text.starts_with(SEAL_MARK) {
                        self.sealed.offset = reader.offset();
                        if let Some(number) = marked.take() {
                            self.on_epoch(number, self.sealed);
                        }
                    } else if let Some(part) = step_of(text) {
                        unit.from.get_or_insert(at);
                        unit.part = Some(part);
                        continue;
                    }
                }
                Ok(Some(Item::Command(args))) => {
                    marked = None;
                    let name = args.get(0);
                    unit.from.get_or_insert(at);
                    if name.eq_ignore_ascii_case(b"MULTI") {
                        unit.in_multi = true;
                        continue;
                    }
                    // A SELECT stands before the unit it is for, or within it.
                    if name.eq_ignore_ascii_case(b"EXEC") {
                        unit.in_multi = false;
                    }
                }
            }
            if unit.in_multi {
                continue;
            }
            let ended = std::mem::take(&mut unit);
            if let (Some((number, shards)), Some(at)) = (ended.part, ended.from) {
                self.number_max = self.number_max.max(number);
                self.parts.push(Part {
                    number,
                    shards,
                    at,
                    epoch: self.epochs.back().map_or(0, |epoch| epoch.0),
                });
            }
            self.end = Position {
                file,
                offset: reader.offset(),
            };
        }
    }

    fn on_epoch(&mut self, number: u64, end: Position) {
        self.epochs.push_back((number, end));
        if self.epochs.len() > EPOCHS_MAX {
            self.epochs.pop_front();
            self.forgotten = true;
            if let Some((_, from)) = self.epochs.front() {
                let from = *from;
                self.parts.retain(|part| part.at >= from);
            }
        }
    }

    /// Where an epoch ends, if it is remembered.
    pub fn epoch_end(&self, number: u64) -> Option<Position> {
        let found = self.epochs.iter().find(|(other, _)| *other == number);
        found.map(|(_, end)| *end)
    }

    /// The epochs that are remembered, oldest first.
    pub fn epochs(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.epochs.iter().map(|(number, _)| *number)
    }

    /// Whether the log holds more epochs than are remembered.
    pub fn has_forgotten(&self) -> bool {
        self.forgotten
    }

    /// Whether the part of a step after `epoch` would be remembered.
    fn remembers(&self, epoch: u64) -> bool {
        !self.forgotten || self.epochs.front().is_some_and(|first| epoch >= first.0)
    }
}

fn number_after(mark: &[u8], text: &[u8]) -> Option<u64> {
    let number = parse_i64(text.strip_prefix(mark)?)?;
    u64::try_from(number).ok()
}

/// Number and shards of a step's annotation.
fn step_of(text: &[u8]) -> Option<(u64, Vec<u16>)> {
    let rest = text.strip_prefix(TRANSACTION_MARK)?;
    let blank = memchr::memchr(b' ', rest)?;
    let number = u64::try_from(parse_i64(&rest[..blank])?).ok()?;
    let shard = |text: &[u8]| parse_i64(text).and_then(|shard| u16::try_from(shard).ok());
    let mut shards = Vec::new();
    for run in rest[blank + 1..].split(|byte| *byte == b',') {
        match memchr::memchr(b'-', run) {
            Some(dash) => shards.extend(shard(&run[..dash])?..=shard(&run[dash + 1..])?),
            None => shards.push(shard(run)?),
        }
    }
    Some((number, shards))
}

/// How much of each log is the data set.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Each shard's log counts up to here.
    pub keep: Vec<Position>,
    /// Steps dropped because they were not whole.
    pub steps_dropped: usize,
    /// The epoch to which all were cut.
    pub cut_to_epoch: Option<u64>,
}

/// What the logs are cut to before steps are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutTo {
    /// Where each ends.
    Ends,
    /// Where the last seal of each ends: power was lost, and each append was sealed.
    Seals,
    /// An epoch that all hold.
    Epoch(u64),
    /// Where each begins: power was lost before the first epoch was on disk everywhere.
    Start,
}

/// The epochs that all logs hold, newest first.
pub fn common_epochs(surveys: &[Survey]) -> Vec<u64> {
    let Some((first, others)) = surveys.split_first() else {
        return Vec::new();
    };
    first
        .epochs()
        .rev()
        .filter(|number| {
            others
                .iter()
                .all(|survey| survey.epoch_end(*number).is_some())
        })
        .collect()
}

/// Decides.
pub fn decide(surveys: &[Survey], cut: CutTo) -> Verdict {
    let mut verdict = Verdict {
        keep: surveys.iter().map(Survey::end).collect(),
        steps_dropped: 0,
        cut_to_epoch: None,
    };
    match cut {
        CutTo::Ends => {}
        CutTo::Seals => {
            for (keep, survey) in verdict.keep.iter_mut().zip(surveys) {
                *keep = survey.sealed();
            }
        }
        CutTo::Epoch(number) => {
            verdict.cut_to_epoch = Some(number);
            for (keep, survey) in verdict.keep.iter_mut().zip(surveys) {
                *keep = survey.epoch_end(number).unwrap_or(*keep);
            }
        }
        CutTo::Start => verdict.keep.fill(Position::default()),
    }
    if surveys.len() < 2 {
        return verdict; // any beginning of a single log is a cut
    }
    let mut places: HashMap<u64, Vec<(u16, Position)>> = HashMap::new();
    for (shard, survey) in surveys.iter().enumerate() {
        for part in &survey.parts {
            places
                .entry(part.number)
                .or_default()
                .push((shard as u16, part.at));
        }
    }
    loop {
        let mut changed = false;
        for shard in 0..surveys.len() {
            let torn = surveys[shard].parts.iter().find(|part| {
                part.at < verdict.keep[shard]
                    && !part.shards.iter().all(|other| {
                        let Some(survey) = surveys.get(usize::from(*other)) else {
                            return true; // names a shard that never was: nothing to wait for
                        };
                        !survey.remembers(part.epoch)
                            || places[&part.number].iter().any(|(at, place)| {
                                at == other && *place < verdict.keep[usize::from(*other)]
                            })
                    })
            });
            if let Some(part) = torn {
                verdict.keep[shard] = part.at;
                verdict.steps_dropped += 1;
                changed = true;
            }
        }
        if !changed {
            return verdict;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::base::random::Random;
    use crate::effect::{Effects, Step};
    use crate::persistence::aof::log::{Growing, Log, Mark};
    use crate::resp::request::{Caller, OwnedArgs};

    fn set(effects: &mut Effects, value: &str) {
        let request: OwnedArgs = [&b"SET"[..], b"k", value.as_bytes()].into_iter().collect();
        effects.begin();
        effects.count(1);
        effects.end(&request.args(Caller::default()));
    }

    /// A step that leaves a part in each of `shards`.
    fn step(logs: &mut [Effects], number: u64, shards: &[u16], writes: usize) {
        for shard in shards {
            let log = &mut logs[usize::from(*shard)];
            assert!(log.begin_unit());
            for write in 0..writes {
                set(log, &format!("step {number} {write}"));
            }
            log.end_unit(Some(Step::of(number, shards)));
        }
    }

    fn logs(count: usize) -> Vec<Effects> {
        let mut logs: Vec<Effects> = (0..count).map(|_| Effects::default()).collect();
        logs.iter_mut().for_each(|log| log.set_logged(true));
        logs
    }

    /// All logs as they are written, with a seal behind each epoch.
    fn sealed(logs: &mut [Effects]) -> Vec<Vec<u8>> {
        logs.iter_mut()
            .map(|log| sealed_bytes(log.recorded()))
            .collect()
    }

    fn sealed_bytes(bytes: &[u8]) -> Vec<u8> {
        let (mut sealed, mut unsealed) = (
            Vec::new(),
            crate::persistence::aof::seal::Unsealed::default(),
        );
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            sealed.extend_from_slice(line);
            unsealed.update(line);
            if line.starts_with(EPOCH_MARK) {
                unsealed.seal(&mut sealed);
            }
        }
        sealed
    }

    fn survey(bytes: &[u8]) -> Survey {
        let mut survey = Survey::default();
        survey.read(0, bytes).unwrap();
        survey
    }

    #[test]
    fn a_step_without_one_of_its_parts_goes_with_what_follows_it() {
        let mut logs = logs(3);
        set(&mut logs[0], "before");
        step(&mut logs, 1, &[0, 1], 2);
        let whole_until = logs[0].recorded().len() as u64;
        step(&mut logs, 2, &[0, 2], 1);
        set(&mut logs[0], "after");
        let bytes: Vec<Vec<u8>> = logs.iter_mut().map(|log| log.recorded().to_vec()).collect();
        let surveys = [survey(&bytes[0]), survey(&bytes[1]), survey(b"")];
        let verdict = decide(&surveys, CutTo::Ends);
        assert_eq!(verdict.steps_dropped, 1);
        let kept: Vec<u64> = verdict.keep.iter().map(|keep| keep.offset).collect();
        assert_eq!(kept, [whole_until, bytes[1].len() as u64, 0]);
        // Everything there: everything kept.
        let surveys: Vec<Survey> = bytes.iter().map(|bytes| survey(bytes)).collect();
        let verdict = decide(&surveys, CutTo::Ends);
        assert_eq!(verdict.steps_dropped, 0);
        assert_eq!(verdict.keep[0].offset, bytes[0].len() as u64);
    }

    #[test]
    fn a_unit_that_breaks_off_ends_before_its_beginning() {
        let mut logs = logs(2);
        set(&mut logs[0], "first");
        let first = logs[0].recorded().len();
        step(&mut logs, 7, &[0, 1], 3);
        let bytes = logs[0].recorded().to_vec();
        for length in first..bytes.len() {
            assert_eq!(
                survey(&bytes[..length]).end().offset,
                first as u64,
                "{length}"
            );
        }
        assert_eq!(survey(&bytes).end().offset, bytes.len() as u64);
    }

    #[test]
    fn after_a_loss_of_power_all_logs_are_cut_to_the_last_epoch_they_share() {
        let mut logs = logs(2);
        for epoch in 1..=100u64 {
            for (shard, log) in logs.iter_mut().enumerate() {
                if shard == 0 || epoch <= 98 {
                    set(log, "x");
                    log.annotate(EPOCH_MARK, epoch);
                }
            }
        }
        set(&mut logs[1], "lost");
        let bytes = sealed(&mut logs);
        let surveys: Vec<Survey> = bytes.iter().map(|bytes| survey(bytes)).collect();
        let verdict = decide(&surveys, CutTo::Epoch(common_epochs(&surveys)[0]));
        assert_eq!(verdict.cut_to_epoch, Some(98));
        let tail = &bytes[0][verdict.keep[0].offset as usize..];
        assert!(tail.starts_with(b"*3") && !bytes[1][verdict.keep[1].offset as usize..].is_empty());
        assert_eq!(decide(&surveys, CutTo::Ends).cut_to_epoch, None);
    }

    /// Random single writes, steps and epochs; each log is cut at random where nothing acknowledged lies. What is kept
    /// must hold every step wholly or not at all, and everything acknowledged.
    #[test]
    fn whatever_is_lost_no_step_is_kept_in_part_and_nothing_acknowledged_is_dropped() {
        for seed in 0..400 {
            let mut random = Random::new(seed);
            let count = 2 + (random.next_u64() % 3) as usize;
            let mut logs = logs(count);
            // For each log the ends of its units; a unit is acknowledged when all up to it, in all logs that its steps
            // reach, is written. Here the crash comes at one moment: a step may be half written, all before it is.
            let mut number = 0;
            for _ in 0..60 {
                match random.next_u64() % 4 {
                    0 => {
                        number += 1;
                        logs.iter_mut()
                            .for_each(|log| log.annotate(EPOCH_MARK, number));
                    }
                    1 => {
                        number += 1;
                        let first = (random.next_u64() % count as u64) as u16;
                        let mut shards = vec![first, (first + 1) % count as u16];
                        shards.sort_unstable();
                        step(&mut logs, number, &shards, 1 + (number % 3) as usize);
                    }
                    _ => {
                        let shard = (random.next_u64() % count as u64) as usize;
                        set(&mut logs[shard], &format!("write {seed}"));
                    }
                }
            }
            let acknowledged: Vec<usize> = logs.iter_mut().map(|l| l.recorded().len()).collect();
            // The step during which the process is killed, written on some of its shards.
            let everyone: Vec<u16> = (0..count as u16).collect();
            step(&mut logs, number + 1, &everyone, 2);
            let mut bytes: Vec<Vec<u8>> = logs.iter_mut().map(|l| l.recorded().to_vec()).collect();
            for (shard, bytes) in bytes.iter_mut().enumerate() {
                let tail = (bytes.len() - acknowledged[shard]) as u64;
                bytes.truncate(acknowledged[shard] + (random.next_u64() % (tail + 1)) as usize);
            }
            let surveys: Vec<Survey> = bytes.iter().map(|bytes| survey(bytes)).collect();
            let verdict = decide(&surveys, CutTo::Ends);
            let mut seen: HashMap<u64, (usize, usize)> = HashMap::new();
            for (shard, survey) in surveys.iter().enumerate() {
                let keep = verdict.keep[shard];
                assert!(keep.offset >= acknowledged[shard] as u64, "seed {seed}");
                for part in survey.parts.iter().filter(|part| part.at < keep) {
                    let entry = seen.entry(part.number).or_insert((0, part.shards.len()));
                    entry.0 += 1;
                }
            }
            for (number, (parts, wanted)) in seen {
                assert_eq!(parts, wanted, "seed {seed}, step {number}");
            }
        }
    }

    /// A file of which the test says how far it is on the disk.
    struct Slow(Arc<Mutex<Vec<u8>>>);

    impl Growing for Slow {
        fn append(&self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn sync(&self) -> std::io::Result<()> {
            Ok(())
        }

        fn truncate(&self, _: u64) -> std::io::Result<()> {
            Ok(())
        }

        fn fd(&self) -> Option<std::os::fd::RawFd> {
            None
        }
    }

    /// The disk takes each log in its own time. What an answer stands on (`Log::unsynced`, with what steps have told the logs
    /// to stand on) must be enough: once that is on disk nothing before the answer is dropped, however little there is of
    /// other logs.
    #[test]
    fn whichever_log_the_disk_takes_first_nothing_acknowledged_is_dropped() {
        let mut acknowledged_in_all = 0;
        for seed in 0..2000 {
            let mut random = Random::new(seed);
            let count = 2 + random.below(4) as usize;
            let mut effects = logs(count);
            let contents: Vec<Arc<Mutex<Vec<u8>>>> = (0..count).map(|_| Arc::default()).collect();
            let open = |content: &Arc<Mutex<Vec<u8>>>| Box::new(Slow(content.clone()));
            let mut files: Vec<Log> = contents
                .iter()
                .map(|content| Log::new(open(content), 0, 0))
                .collect();
            let mut written = vec![0; count];
            // What each answer stands on, and where the logs it is about ended then.
            let mut answers: Vec<(Vec<Mark>, Vec<(usize, u64)>)> = Vec::new();
            for number in 1..30 {
                let first = random.below(count as u64) as u16;
                let mut shards = vec![first];
                if random.below(2) == 0 {
                    shards.push((first + 1 + random.below(count as u64 - 1) as u16) % count as u16);
                    shards.sort_unstable();
                    step(&mut effects, number, &shards, 1);
                } else {
                    set(&mut effects[usize::from(first)], "alone");
                }
                let at: Vec<usize> = shards.iter().map(|&shard| usize::from(shard)).collect();
                for &shard in &at {
                    let recorded = effects[shard].recorded();
                    files[shard]
                        .append(&recorded[written[shard]..], None)
                        .unwrap();
                    written[shard] = recorded.len();
                }
                if at.len() > 1 {
                    let mut needs = Vec::new();
                    at.iter()
                        .for_each(|&shard| files[shard].needs(true, &mut needs));
                    at.iter().for_each(|&shard| files[shard].stands_on(&needs));
                }
                let (mut marks, mut ends) = (Vec::new(), Vec::new());
                for &shard in &at {
                    files[shard].unsynced(&mut marks);
                    ends.push((shard, written[shard] as u64));
                }
                answers.push((marks, ends));
                if random.below(4) == 0 {
                    let mark = files[random.below(count as u64) as usize].mark();
                    mark.file.on_synced(mark.to);
                }
            }
            let left: Vec<Vec<u8>> = files
                .iter()
                .zip(&contents)
                .map(|(file, content)| {
                    let mark = file.mark();
                    let content = content.lock().unwrap();
                    let is_there = |length: &usize| {
                        let to = *length as u64;
                        Mark { to, ..mark.clone() }.is_synced()
                    };
                    let length = (0..=content.len()).rev().find(is_there).unwrap_or(0);
                    content[..length].to_vec()
                })
                .collect();
            let surveys: Vec<Survey> = left.iter().map(|bytes| survey(bytes)).collect();
            let verdict = decide(&surveys, CutTo::Ends);
            for (marks, ends) in &answers {
                if marks.iter().all(Mark::is_synced) {
                    acknowledged_in_all += 1;
                    for (shard, end) in ends {
                        assert!(verdict.keep[*shard].offset >= *end, "seed {seed}");
                    }
                }
            }
        }
        assert!(acknowledged_in_all > 10_000);
    }
}
