//! The ordered effect stream of one shard, as the bytes its readers want.
//!
//! Effects are kept as RESP commands one after the other, the form of append-only files and of replication, with a
//! SELECT wherever the database changes. A *unit* is what must be reproduced whole: a command with what it caused, an
//! EXEC, a script. A unit of several commands stands between MULTI and EXEC. A unit that is one shard's part of a step
//! over several shards begins with an annotation line that names the step and the shards that have a part in it
//! (docs/formats.md), so that whoever reads the files can tell whether all parts are there.
//!
//! There are two readers. The log writes the bytes down and clears them; the stream that replicas follow is handed the same
//! bytes before, with marks where it differs ([`Block`]).

use super::block::{Block, Mark, Marked, Part};
use crate::base::number::format_i64;
use crate::resp::request::{Args, write_parts};

/// First word of the annotation of a part of a cross-shard step: `#TX:number shard,first-last,...`.
pub const TRANSACTION_MARK: &[u8] = b"#TX:";
/// First word of the annotation that says that all shards' files up to here make one cut: `#EPOCH number`.
pub const EPOCH_MARK: &[u8] = b"#EPOCH:";
/// What an annotation begins with that bears a checksum: XXH64 of all bytes of the file since the one before, in
/// hexadecimal digits.
pub const SEAL_MARK: &[u8] = b"#SEAL:";
/// First word of Redis's annotation of time, in Unix seconds.
pub const TIME_MARK: &[u8] = b"#TS:";

/// What begins a unit of several commands, and what ends it.
const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// Bytes that a stream keeps allocated while it is empty.
const KEEP_BYTES: usize = 64 * 1024;

/// Whom what a command does is recorded for (redis.set_repl).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// Logs and replicas.
    #[default]
    All,
    /// Logs alone.
    Logs,
    /// Replicas alone.
    Replicas,
    /// Nobody.
    Nobody,
}

/// A step over several shards.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Its number.
    pub number: u64,
    /// The shards whose logs hold a part of it, ascending.
    pub logged: &'a [u16],
    /// Those that have something for replicas, PUBLISH included.
    pub streamed: &'a [u16],
}

impl<'a> Step<'a> {
    /// A step whose parts logs and replicas see alike.
    pub fn of(number: u64, shards: &'a [u16]) -> Self {
        Step {
            number,
            logged: shards,
            streamed: shards,
        }
    }
}

/// What a shard has done, in order.
#[derive(Debug, Default)]
pub struct Effects {
    /// Somebody reads the stream: `logged` or `streamed`.
    wanted: bool,
    /// A log does.
    logged: bool,
    /// Replicas do.
    streamed: bool,
    /// Changes to data since start, as `rdb_changes_since_last_save` counts them.
    changes: u64,
    /// `changes` when the running command began.
    before: u64,
    /// The running command has said what to record.
    said: bool,
    /// A command is running.
    running: bool,
    /// Commands belong to a unit that somebody ends.
    in_unit: bool,
    /// Whom it is recorded for.
    audience: Audience,
    /// What has been recorded and not been taken.
    bytes: Vec<u8>,
    /// What of it is marked for those who hand it on to replicas.
    marks: Vec<Mark>,
    /// How much of the bytes has been handed on.
    handed: usize,
    /// The database in force there.
    handed_db: Option<u32>,
    /// Parts of steps over several shards are among them.
    has_step: bool,
    /// Where the unit at hand begins in `bytes`, after a SELECT that precedes it.
    unit_from: usize,
    /// Commands recorded in the unit at hand.
    unit_commands: usize,
    /// What replicas alone are told in it.
    unit_asides: usize,
    /// Where it begins in `marks`.
    unit_marks: usize,
    /// The database of the last command in `bytes`, or of the bytes taken before; none: the next command says it.
    db: Option<u32>,
}

impl Effects {
    /// A log begins to read the stream, or ends.
    pub fn set_logged(&mut self, logged: bool) {
        self.logged = logged;
        self.forget_db();
        self.readers_changed();
    }

    /// Replicas begin to be handed the stream from here on, or that ends. All before must have been read.
    pub fn set_streamed(&mut self, streamed: bool) {
        self.streamed = streamed;
        self.marks.clear();
        self.unit_marks = 0;
        self.handed = self.bytes.len();
        self.handed_db = self.db;
        self.readers_changed();
    }

    /// Without readers nothing is recorded, and what nobody has read is dropped.
    fn readers_changed(&mut self) {
        self.wanted = self.logged || self.streamed;
        if !self.wanted {
            self.bytes = Vec::new();
            (self.marks, self.unit_marks) = (Vec::new(), 0);
            self.handed = 0;
            self.unit_from = 0;
            (self.unit_commands, self.unit_asides) = (0, 0);
            self.has_step = false;
            self.in_unit = false;
        }
    }

    /// Whether replicas are handed the stream.
    #[inline]
    pub fn streamed(&self) -> bool {
        self.streamed
    }

    /// Whether somebody reads the stream: worth asking before building an effect.
    #[inline]
    pub fn wanted(&self) -> bool {
        self.wanted
    }

    /// Counts `n` changes to data. Every handler that changes something calls it, through `Shard::changed`.
    #[inline]
    pub fn count(&mut self, n: u64) {
        self.changes += n;
    }

    /// Changes to data since start.
    #[inline]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// A command begins.
    #[inline]
    pub fn begin(&mut self) {
        self.before = self.changes;
        self.said = false;
        self.running = true;
    }

    /// Whether the running command has changed data so far.
    pub fn has_changed(&self) -> bool {
        self.changes != self.before
    }

    /// Whom what commands do from here on is recorded for: redis.set_repl. What happens aside always is, for all.
    pub fn set_audience(&mut self, audience: Audience) {
        self.audience = audience;
    }

    /// Records `parts` in place of the running command. Called again, it records several.
    pub fn record(&mut self, db: usize, parts: &[&[u8]]) {
        self.said = true;
        if self.wanted {
            self.append_for_audience(db as u32, parts.len(), parts.iter().copied());
        }
    }

    /// The same for a command that every shard records, and that is one command of the whole server.
    pub fn record_everywhere(&mut self, db: usize, parts: &[&[u8]]) {
        self.said = true;
        if self.wanted {
            let to = self.append_for_audience(db as u32, parts.len(), parts.iter().copied());
            if self.streamed
                && let Some(at) = to
            {
                let length = self.bytes.len() - at;
                self.mark(at, Marked::Everywhere { length });
            }
        }
    }

    /// Tells replicas of something that leaves nothing behind to be written down: PUBLISH.
    pub fn tell_replicas<'a>(
        &mut self,
        db: usize,
        count: usize,
        parts: impl Iterator<Item = &'a [u8]>,
    ) {
        if self.streamed {
            let mut bytes = Vec::new();
            write_parts(&mut bytes, count, parts);
            let (db, bytes) = (db as u32, bytes.into_boxed_slice());
            self.mark(self.bytes.len(), Marked::ReplicasOnly { db, bytes });
            self.unit_asides += 1;
        }
    }

    fn mark(&mut self, at: usize, what: Marked) {
        self.marks.push(Mark { at, what });
    }

    /// Appends a command for those whom it is for; where it begins if it stands in the bytes for all.
    fn append_for_audience<'a>(
        &mut self,
        db: u32,
        count: usize,
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> Option<usize> {
        match self.audience {
            Audience::All => Some(self.append(db, count, parts)),
            Audience::Logs if self.logged => {
                let at = self.append(db, count, parts);
                if self.streamed {
                    let length = self.bytes.len() - at;
                    self.mark(at, Marked::LogsOnly { length });
                }
                None
            }
            Audience::Replicas => {
                self.tell_replicas(db as usize, count, parts);
                None
            }
            Audience::Logs | Audience::Nobody => None,
        }
    }

    /// What the running command meets aside stands for itself: SCAN and RANDOMKEY look at keys that nobody named, so what
    /// expires there is no transaction (7.2).
    pub fn let_asides_stand_alone(&mut self) {
        self.running = false;
    }

    /// Records nothing for the running command, though it changed something.
    pub fn suppress(&mut self) {
        self.said = true;
    }

    /// Records something that the running command, if any, does not stand for: an expired or evicted key's deletion.
    pub fn record_aside(&mut self, db: usize, parts: &[&[u8]]) {
        if self.wanted {
            self.append(db as u32, parts.len(), parts.iter().copied());
            if !self.running && !self.in_unit {
                self.close_unit(None);
            }
        }
    }

    /// The command ends: records the request itself when it changed data and said nothing else. True when it changed
    /// something.
    #[inline]
    pub fn end(&mut self, args: &Args<'_>) -> bool {
        let changed = self.has_changed();
        self.running = false;
        if self.wanted {
            self.end_wanted(args, changed);
        }
        changed
    }

    fn end_wanted(&mut self, args: &Args<'_>, changed: bool) {
        if changed && !self.said {
            self.append_request(args);
        }
        if !self.in_unit {
            self.close_unit(None);
        }
    }

    /// Several commands from here on are one unit: EXEC, a script, a step over several shards. False when they are part
    /// of one already, which somebody else ends, or when nobody reads the stream.
    #[must_use]
    pub fn begin_unit(&mut self) -> bool {
        let begins = self.wanted && !self.in_unit;
        self.in_unit |= begins;
        begins
    }

    /// The unit ends. `step` says which step over several shards it is a part of, and who else has a part in it.
    pub fn end_unit(&mut self, step: Option<Step<'_>>) {
        self.in_unit = false;
        if self.wanted {
            self.has_step |= self.has_part() && step.is_some_and(|step| step.logged.len() > 1);
            self.close_unit(step);
        }
    }

    /// Whether the unit at hand has recorded anything for logs: only such a shard's log has a part in a step.
    pub fn has_part(&self) -> bool {
        self.unit_commands > 0
    }

    /// Whether replicas are told anything of the unit at hand.
    pub fn has_streamed_part(&self) -> bool {
        self.unit_commands + self.unit_asides > 0
    }

    fn close_unit(&mut self, step: Option<Step<'_>>) {
        let commands = std::mem::take(&mut self.unit_commands);
        let asides = std::mem::take(&mut self.unit_asides);
        let from = std::mem::replace(&mut self.unit_from, self.bytes.len());
        if commands + asides == 0 {
            self.unit_marks = self.marks.len();
            return;
        }
        let body = self.bytes.len() - from;
        let mut before = Vec::new();
        if commands > 0
            && let Some(Step { number, logged, .. }) = step
            && logged.len() > 1
        {
            annotate_part(&mut before, number, logged);
        }
        if commands > 1 {
            before.extend_from_slice(MULTI);
            self.bytes.extend_from_slice(EXEC);
        }
        let head = before.len();
        if !before.is_empty() {
            // A step over several shards or a unit of several commands: rare, and the unit is still in the cache.
            self.bytes.splice(from..from, before);
        }
        self.unit_from = self.bytes.len();
        if self.streamed && (head > 0 || step.is_some() || asides > 0) {
            self.mark_unit(from, head, body, step);
            let is_alone = step.is_none_or(|step| step.streamed.len() < 2);
            if is_alone && commands < 2 && commands + asides > 1 {
                self.frame_for_replicas(from);
            }
        }
        self.unit_marks = self.marks.len();
    }

    /// `head` bytes have come before the unit at `from`.
    fn mark_unit(&mut self, from: usize, head: usize, body: usize, step: Option<Step<'_>>) {
        let within = self.unit_marks;
        self.marks[within..]
            .iter_mut()
            .for_each(|mark| mark.at += head);
        if let Some(Step {
            number, streamed, ..
        }) = step
            && streamed.len() > 1
        {
            let length = self.bytes.len() - from;
            let part = Part {
                number,
                shards: streamed.into(),
                length,
                head,
                tail: length - head - body,
            };
            let what = Marked::Part(part);
            self.marks.insert(within, Mark { at: from, what });
        } else if head > 0 && self.bytes[from] == b'#' {
            // Replicas see no step in it: the others had nothing to say to them.
            let length = line_end(&self.bytes[from..]);
            let what = Marked::LogsOnly { length };
            self.marks.insert(within, Mark { at: from, what });
        }
    }

    /// The unit at `from` is one command for logs, or none, and more for replicas: they get it whole all the same.
    fn frame_for_replicas(&mut self, from: usize) {
        let within = self.unit_marks;
        let db = self.marks[within..]
            .iter()
            .find_map(|mark| match mark.what {
                Marked::ReplicasOnly { db, .. } => Some(db),
                _ => None,
            });
        let db = self.db.or(db).unwrap_or_default();
        let frame = |bytes: &[u8], at: usize| Mark {
            at,
            what: Marked::ReplicasOnly {
                db,
                bytes: bytes.into(),
            },
        };
        self.marks.insert(within, frame(MULTI, from));
        self.marks.push(frame(EXEC, self.bytes.len()));
    }

    /// Appends one command, with a SELECT before it when the database changes. Where it begins.
    fn append<'a>(
        &mut self,
        db: u32,
        count: usize,
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> usize {
        if self.db != Some(db) {
            let number = format_i64(i64::from(db));
            let at = self.bytes.len();
            write_parts(&mut self.bytes, 2, [&b"SELECT"[..], &number].into_iter());
            if self.streamed {
                let length = self.bytes.len() - at;
                self.mark(at, Marked::Select { length, db });
            }
            if self.unit_commands + self.unit_asides == 0 {
                // It stands before MULTI, as Redis writes it.
                (self.unit_from, self.unit_marks) = (self.bytes.len(), self.marks.len());
            }
            self.db = Some(db);
        }
        let at = self.bytes.len();
        write_parts(&mut self.bytes, count, parts);
        self.unit_commands += 1;
        at
    }

    /// Appends the request itself: as it came where it stands in its usual form, else put together again.
    fn append_request(&mut self, args: &Args<'_>) {
        match verbatim(args) {
            Some(bytes) if self.db == Some(args.caller.db) && self.audience == Audience::All => {
                self.bytes.extend_from_slice(bytes);
                self.unit_commands += 1;
            }
            _ => {
                self.append_for_audience(args.caller.db, args.len(), args.iter_from(0));
            }
        }
    }

    /// Appends an annotation line, between units.
    pub fn annotate(&mut self, mark: &[u8], number: u64) {
        self.close_unit(None);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(mark);
        self.bytes.extend_from_slice(&format_i64(number as i64));
        self.bytes.extend_from_slice(b"\r\n");
        self.unit_from = self.bytes.len();
        if self.streamed {
            let length = self.bytes.len() - at;
            self.mark(at, Marked::LogsOnly { length });
            self.unit_marks = self.marks.len();
        }
    }

    /// Whether something has not been handed on to replicas.
    #[inline]
    pub fn has_to_hand_on(&self) -> bool {
        self.streamed && (self.handed < self.bytes.len() || !self.marks.is_empty())
    }

    /// Appends what has not been handed on to `block`; without the unit at hand, which is handed on whole later.
    pub fn hand_on(&mut self, block: &mut Block) {
        let (to, marks) = if self.in_unit {
            (self.unit_from, self.unit_marks)
        } else {
            self.close_unit(None);
            (self.bytes.len(), self.marks.len())
        };
        if block.is_empty() {
            block.db = self.handed_db;
        }
        let (base, from) = (block.bytes.len(), self.handed);
        for mark in self.marks.drain(..marks) {
            if let Marked::Select { db, .. } = mark.what {
                self.handed_db = Some(db);
            }
            block.marks.push(Mark {
                at: mark.at - from + base,
                what: mark.what,
            });
        }
        self.unit_marks -= marks;
        block.bytes.extend_from_slice(&self.bytes[from..to]);
        self.handed = to;
    }

    /// The next command says its database again: its reader begins a new file.
    pub fn forget_db(&mut self) {
        self.db = None;
    }

    /// Whether there is nothing to take.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that wait to be taken.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What has been recorded and not been cleared; without the unit at hand, which is taken whole later.
    pub fn recorded(&mut self) -> &[u8] {
        if self.in_unit {
            return &self.bytes[..self.unit_from];
        }
        self.close_unit(None);
        &self.bytes
    }

    /// Whether parts of steps over several shards are among what has been recorded.
    pub fn has_step(&self) -> bool {
        self.has_step
    }

    /// What was recorded has been read.
    pub fn clear(&mut self) {
        self.has_step = false;
        let gone = match self.in_unit {
            true => self.unit_from,
            false => self.bytes.len(),
        };
        self.handed = self.handed.saturating_sub(gone);
        for mark in &mut self.marks {
            mark.at = mark.at.saturating_sub(gone); // what had not been handed on is lost: see `set_streamed`
        }
        if self.in_unit {
            self.bytes.drain(..self.unit_from);
        } else {
            self.bytes.clear();
            self.bytes.shrink_to(KEEP_BYTES);
            (self.unit_commands, self.unit_asides) = (0, 0);
        }
        self.unit_from = 0;
    }
}

/// Appends the annotation of a part of a step.
fn annotate_part(out: &mut Vec<u8>, number: u64, shards: &[u16]) {
    out.extend_from_slice(TRANSACTION_MARK);
    out.extend_from_slice(&format_i64(number as i64));
    let mut from = 0;
    while from < shards.len() {
        // Neighbours as a range: a line has room for 1024 bytes.
        let run = shards[from..]
            .windows(2)
            .take_while(|two| two[0] + 1 == two[1]);
        let to = from + run.count();
        out.push(if from == 0 { b' ' } else { b',' });
        out.extend_from_slice(&format_i64(i64::from(shards[from])));
        if to > from + 1 {
            out.push(b'-');
            out.extend_from_slice(&format_i64(i64::from(shards[to])));
            from = to;
        }
        from += 1;
    }
    out.extend_from_slice(b"\r\n");
}

/// Bytes of the line at the beginning, its end included.
fn line_end(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1)
}

/// Bytes of a line like `$64` with its end.
#[inline]
fn line_bytes(number: usize) -> usize {
    match number {
        0..=9 => 4,
        10..=99 => 5,
        100..=999 => 6,
        _ => number.ilog10() as usize + 4,
    }
}

/// Whether the line that ends before `end` is `marker` and this number.
#[inline]
fn says(bytes: &[u8], end: usize, marker: u8, number: usize) -> bool {
    let Some(line) = bytes.get(end - line_bytes(number)..end) else {
        return false;
    };
    let mut rest = number;
    let is_number = line[1..line.len() - 2].iter().rev().all(|digit| {
        let expected = b'0' + (rest % 10) as u8;
        rest /= 10;
        *digit == expected
    });
    is_number && line[0] == marker && line.ends_with(b"\r\n")
}

/// The bytes of a request where they stand as RESP writes them: each argument behind its length, nothing between. What was
/// sent in a line, or with other lengths than the shortest, or has been put together here, does not.
#[inline]
fn verbatim<'a>(args: &Args<'a>) -> Option<&'a [u8]> {
    let (bytes, spans) = args.parts();
    let first = spans.first()?.start as usize;
    let start =
        first.checked_sub(line_bytes(spans[0].length as usize) + line_bytes(spans.len()))?;
    let mut end = start + line_bytes(spans.len());
    for span in spans {
        let (from, length) = (span.start as usize, span.length as usize);
        if from != end + line_bytes(length) || !says(bytes, from, b'$', length) {
            return None;
        }
        end = from + length + 2;
    }
    let whole = bytes.get(start..end)?;
    let head = start + line_bytes(spans.len());
    (says(bytes, head, b'*', spans.len()) && whole.ends_with(b"\r\n")).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::request::{Caller, OwnedArgs, Span};

    /// The stream's bytes with the lines' lengths left out: words and blanks.
    fn taken(effects: &mut Effects) -> String {
        let text = String::from_utf8(effects.recorded().to_vec()).unwrap();
        effects.clear();
        let words = text.split("\r\n").filter(|word| !word.is_empty());
        let words = words.map(|word| if word.starts_with('*') { ";" } else { word });
        let words: Vec<&str> = words.filter(|word| !word.starts_with('$')).collect();
        words.join(" ")
    }

    fn recording() -> Effects {
        let mut effects = Effects::default();
        effects.set_logged(true);
        effects
    }

    fn run(effects: &mut Effects, db: u32, work: impl FnOnce(&mut Effects)) {
        let request: OwnedArgs = [&b"CMD"[..], b"k"].into_iter().collect();
        effects.begin();
        work(effects);
        let caller = Caller {
            db,
            ..Caller::default()
        };
        effects.end(&request.args(caller));
    }

    #[test]
    fn a_command_that_changes_nothing_leaves_no_effect_and_one_that_says_its_own_leaves_that() {
        let mut effects = recording();
        run(&mut effects, 0, |_| {});
        assert_eq!(taken(&mut effects), "");
        run(&mut effects, 0, |e| e.count(1));
        assert_eq!(taken(&mut effects), "; SELECT 0 ; CMD k");
        run(&mut effects, 0, |e| {
            e.count(1);
            e.record(0, &[b"DEL", b"k"]);
        });
        assert_eq!(taken(&mut effects), "; DEL k");
        effects.set_logged(false);
        run(&mut effects, 0, |e| e.count(1));
        assert_eq!(taken(&mut effects), "");
    }

    #[test]
    fn a_muted_stream_records_what_happens_aside_and_counts_changes_all_the_same() {
        let mut effects = recording();
        assert!(effects.begin_unit());
        run(&mut effects, 0, |e| e.count(1));
        effects.set_audience(Audience::Nobody);
        run(&mut effects, 0, |e| e.count(1));
        run(&mut effects, 0, |e| {
            e.record_aside(0, &[b"DEL", b"old"]);
            e.count(1);
            e.record(0, &[b"SET", b"k"]);
        });
        effects.set_audience(Audience::All);
        effects.end_unit(None);
        assert_eq!(
            taken(&mut effects),
            "; SELECT 0 ; MULTI ; CMD k ; DEL old ; EXEC"
        );
        assert_eq!(effects.changes(), 3);
    }

    #[test]
    fn several_effects_of_one_command_stand_between_multi_and_exec_after_their_select() {
        let mut effects = recording();
        run(&mut effects, 3, |e| {
            e.record_aside(3, &[b"DEL", b"old"]);
            e.count(1);
        });
        run(&mut effects, 3, |e| e.count(1));
        assert_eq!(
            taken(&mut effects),
            "; SELECT 3 ; MULTI ; DEL old ; CMD k ; EXEC ; CMD k"
        );
    }

    #[test]
    fn a_unit_takes_in_all_its_commands_and_names_the_step_it_is_a_part_of() {
        let mut effects = recording();
        assert!(effects.begin_unit());
        run(&mut effects, 0, |e| e.count(1));
        run(&mut effects, 1, |e| e.count(1));
        assert!(effects.has_part());
        effects.end_unit(Some(Step::of(7, &[0, 2])));
        assert!(effects.begin_unit());
        run(&mut effects, 1, |e| e.count(1));
        effects.end_unit(Some(Step::of(8, &[0, 1])));
        assert!(effects.begin_unit());
        assert!(!effects.has_part());
        effects.end_unit(Some(Step::of(9, &[0, 1])));
        effects.annotate(EPOCH_MARK, 4);
        assert_eq!(
            taken(&mut effects),
            "; SELECT 0 #TX:7 0,2 ; MULTI ; CMD k ; SELECT 1 ; CMD k ; EXEC #TX:8 0,1 ; CMD k #EPOCH:4"
        );
    }

    #[test]
    fn a_request_is_taken_as_it_came_only_where_it_stands_in_the_usual_form() {
        use crate::resp::parser::{Limits, Parsed, Parser};
        let limits = Limits {
            bulk_max: 1 << 20,
            authenticated: true,
        };
        let long = "x".repeat(1234);
        let usual = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1234\r\n{long}\r\n");
        let empty = "*2\r\n$0\r\n\r\n$12\r\n*1\r\n$1\r\nabc\n\r\n";
        for (text, is_usual) in [
            (usual.as_str(), true),
            (empty, true),
            ("SET k v\r\n", false),
            ("SET      k      v\r\n", false),
            ("*1\r\n$4\r\nPING\r\nSET      k      v\r\n", false),
        ] {
            let mut spans = Vec::new();
            let (mut at, mut from) = (0, 0);
            while at < text.len() {
                from = at;
                spans.clear();
                match Parser::default().next(text.as_bytes(), at, limits, &mut spans) {
                    Parsed::Request(length) => at += length,
                    _ => panic!("{text:?} is whole"),
                }
            }
            let args = Args::new(text.as_bytes(), &spans, Caller::default());
            let expected = is_usual.then_some(&text.as_bytes()[from..]);
            assert_eq!(verbatim(&args), expected, "{text:?}");
        }
        // Arguments that were copied one behind the other: what stands before the first may be anybody's bytes.
        for (before, is_usual) in [
            ("*2\r\n$3\r\n", true),
            ("*9\r\n$3\r\n", false),
            ("*2\r\n$9\r\n", false),
        ] {
            let text = format!("{before}GET\r\n$1\r\nk\r\n");
            let span = |start, length| Span { start, length };
            let spans = [span(8, 3), span(17, 1)];
            let args = Args::new(text.as_bytes(), &spans, Caller::default());
            assert_eq!(verbatim(&args).is_some(), is_usual, "{text:?}");
        }
    }

    #[test]
    fn a_step_of_many_shards_is_named_by_ranges() {
        let mut effects = recording();
        for shards in [&[0, 1, 2, 3, 7][..], &[1, 2, 4], &[5, 6, 7]] {
            assert!(effects.begin_unit());
            run(&mut effects, 0, |e| e.count(1));
            effects.end_unit(Some(Step::of(1, shards)));
        }
        let text = taken(&mut effects);
        assert!(text.contains("#TX:1 0-3,7 "), "{text}");
        assert!(text.contains("#TX:1 1,2,4 "), "{text}");
        assert!(text.contains("#TX:1 5-7 "), "{text}");
    }

    #[test]
    fn what_stands_before_a_unit_can_be_taken_while_the_unit_is_open() {
        let mut effects = recording();
        run(&mut effects, 0, |e| e.count(1));
        assert!(effects.begin_unit());
        assert!(!effects.begin_unit(), "it is one unit already");
        run(&mut effects, 1, |e| e.count(1));
        assert_eq!(taken(&mut effects), "; SELECT 0 ; CMD k ; SELECT 1");
        run(&mut effects, 1, |e| e.count(1));
        effects.end_unit(Some(Step::of(3, &[0, 1])));
        assert!(effects.has_step());
        assert_eq!(
            taken(&mut effects),
            "#TX:3 0,1 ; MULTI ; CMD k ; CMD k ; EXEC"
        );
        assert!(!effects.has_step());
    }

    #[test]
    fn what_expires_between_commands_stands_for_itself() {
        let mut effects = recording();
        effects.record_aside(0, &[b"DEL", b"a"]);
        effects.record_aside(0, &[b"DEL", b"b"]);
        assert!(effects.begin_unit());
        run(&mut effects, 0, |e| e.count(1));
        effects.end_unit(None);
        effects.record_aside(0, &[b"DEL", b"c"]);
        effects.forget_db();
        run(&mut effects, 0, |e| e.count(1));
        let text = taken(&mut effects);
        assert_eq!(
            text,
            "; SELECT 0 ; DEL a ; DEL b ; CMD k ; DEL c ; SELECT 0 ; CMD k"
        );
    }
}
