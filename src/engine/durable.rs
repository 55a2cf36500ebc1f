//! Writing down what was done, before anybody hears that it was; and, where that is promised, holding back what is
//! answered until it is on disk.
//!
//! Whoever holds a shard appends what its commands have recorded to its log before the shard leaves its hands, before
//! the replies of the turn leave, and before other cores get theirs: one write a turn. A step over several shards writes
//! all its parts before any of them is given back.
//!
//! Under `appendfsync always` a turn's answers stand on *marks*: places in logs that must be on disk first. They are put
//! behind a gate, which opens when all its marks are reached. One sync of a file is under way at a time here, and what
//! gathers meanwhile shares the next. A connection behind a gate executes nothing more until it opens, which bounds
//! what is held back.

use std::ops::DerefMut;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use smallvec::SmallVec;

use crate::base::clock::{ticks, unix_ms};
use crate::config::AppendFsync;
use crate::effect::{EPOCH_MARK, Step};
use crate::mesh::Place;
use crate::mesh::message::{CoreMessage, Part};
use crate::persistence::aof::log::{LogFile, Mark, Need, Watch};
use crate::persistence::aof::manifest::Durability;
use crate::ring::Completion;
use crate::shard::Shard;
use crate::transaction::{Outcome, Transaction};

use super::core::{Core, Held};
use super::deferring::{are_light, takes_light};
use super::patience::Patience;

/// How often all logs are marked as one cut and put on disk.
const EPOCH_MS: i64 = 1000;
/// The same where nothing is promised: for a start after a loss of power, which needs a cut that is on disk.
const EPOCH_UNPROMISED_MS: i64 = 30_000;
/// After so long a write that has failed is tried again.
const RETRY_MS: i64 = 100;

/// What this core knows about logs and what waits for them.
#[derive(Default)]
pub(super) struct Durable {
    /// Clients that wait for the own disk and have not been told how it stands.
    pub asks_for_logs: Vec<Place>,
    /// Nothing is answered before it is on disk.
    pub always: bool,
    /// What is answered waits behind gates until its marks are reached: `always`, or some log is slow.
    pub gating: bool,
    /// Some connections are not under their gates yet, since that has begun in this turn.
    pub(super) ungated: bool,
    /// Something that is answered here rests, or has rested a moment ago, on what a thread has to write.
    pub(super) slow: bool,
    /// What the last epoch takes in and is not on disk.
    epoch: Vec<Mark>,
    /// What this turn's answers stand on, beside the own log.
    marks: Vec<Mark>,
    /// What answers about the own shard stand on, as of when it was last in hand.
    own: Vec<Mark>,
    /// Parts of transactions that have been run and not been handed in.
    arrivals: Vec<(Arc<Transaction>, Outcome)>,
    /// Answers to clients of other cores that have not been sent.
    mails: Vec<(usize, CoreMessage)>,
    pub(super) gates: Vec<Gate>,
    /// Replies to other cores' requests that gates have let out in this turn.
    released: Vec<(usize, Vec<Box<Part>>)>,
    /// Syncs under way, by their number.
    syncs: Vec<Option<Sync>>,
    /// When the next epoch is due, Unix milliseconds.
    next_epoch: i64,
    /// Bytes of all logs at the last epoch; none when they have been switched to other files since.
    pub(super) epoch_bytes: Option<u64>,
    /// Whether appends take long, and whose fault it is.
    watch: Watch,
    /// Whether this core may wait for the disk by itself.
    patience: Patience,
    /// The last epoch is marked in all logs.
    epoch_is_cut: bool,
    /// The manifest says `always` and is to say that no more is promised than an epoch, when the next one is on disk.
    relaxing: bool,
}

/// What leaves when its marks are reached.
#[derive(Default)]
pub(super) struct Gate {
    pub(super) marks: Vec<Mark>,
    /// Connections, and how many blocks of their output.
    connections: Vec<(Place, u64)>,
    /// Replies to the requests of other cores.
    replies: Vec<(usize, Vec<Box<Part>>)>,
    arrivals: Vec<(Arc<Transaction>, Outcome)>,
    mails: Vec<(usize, CoreMessage)>,
    /// Clients that wait for nothing else: WAITAOF.
    waiting: Vec<Place>,
    /// Then the stream of a primary is on disk up to here.
    followed: Option<u64>,
}

/// A sync under way.
struct Sync {
    file: Arc<LogFile>,
    /// Bytes that are on disk when it is over.
    to: u64,
    /// Clock ticks when it began.
    began: u64,
}

impl Durable {
    /// This, if nothing waits for a mark that is not reached.
    pub(super) fn idle(&mut self) -> Option<&mut Self> {
        self.own.retain(|mark| !mark.is_reached());
        let is_idle = self.gates.is_empty() && self.own.is_empty() && self.marks.is_empty();
        is_idle.then_some(self)
    }
}

impl Core {
    // Units and steps.

    /// Several commands, or one over several shards, are one unit from here on. False when they are part of one already.
    pub(super) fn begin_unit_on(shards: &mut [impl DerefMut<Target = Shard>]) -> bool {
        let mut begun = false;
        for shard in shards {
            begun |= shard.effects.begin_unit();
        }
        begun
    }

    /// The unit ends. Where several shards have recorded a part of it, each part says so.
    pub(super) fn end_unit_on(&self, shards: &mut [impl DerefMut<Target = Shard>]) {
        type Parts = SmallVec<[u16; 16]>;
        let (mut logged, mut streamed) = (Parts::new(), Parts::new());
        for shard in shards.iter() {
            if shard.effects.has_part() {
                logged.push(shard.index as u16);
            }
            if shard.effects.has_streamed_part() {
                streamed.push(shard.index as u16);
            }
        }
        let number = (streamed.len() > 1).then(|| self.observatory.snapshots.log.number());
        for shard in shards {
            shard.effects.end_unit(number.map(|number| Step {
                number,
                logged: &logged,
                streamed: &streamed,
            }));
        }
    }

    // Writing.

    /// The own shard, at the end of the turn: what was recorded is written before anything of this turn leaves.
    #[inline]
    pub(super) fn settle_own(&mut self) {
        if let Some(mut shard) = self.shard.take() {
            self.settle(&mut shard);
            self.shard = Some(shard);
        } else if let Some(mut shard) = self.held_shard.take() {
            self.settle(&mut shard);
            self.held_shard = Some(shard);
        }
    }

    /// Writes down what was recorded on a shard in hand.
    #[inline]
    pub(super) fn settle(&mut self, shard: &mut Shard) {
        if shard.effects.wanted() {
            self.write_down(shard);
            self.stand_on(shard);
        }
    }

    /// The same for the shards of a step, before any of them is given back.
    pub(super) fn settle_all(&mut self, held: &mut Held) {
        if held.iter().all(|shard| !shard.effects.wanted()) {
            return;
        }
        let mut in_step: SmallVec<[usize; 16]> = SmallVec::new();
        for (at, shard) in held.iter_mut().enumerate() {
            if shard.effects.has_step() {
                in_step.push(at);
            }
            self.write_down(shard);
        }
        let always = self.durable.always;
        let is_slow = |at: &usize| held[*at].log.as_ref().is_some_and(|log| log.is_slow());
        if in_step.len() > 1 && (always || in_step.iter().any(is_slow)) {
            let mut marks: Vec<Mark> = Vec::new();
            for at in &in_step {
                if let Some(log) = &mut held[*at].log {
                    log.needs(always, &mut marks);
                }
            }
            for at in in_step {
                match &mut held[at].log {
                    Some(log) if always => log.stands_on(&marks),
                    Some(log) => log.awaits(&marks),
                    None => {}
                }
            }
        }
        for shard in held {
            self.stand_on(shard);
        }
    }

    /// Hands what was recorded on to replicas, and appends it to the shard's log.
    fn write_down(&mut self, shard: &mut Shard) {
        if let Some(flow) = &mut shard.flow {
            // What was done here came before what is done on a shard of others, and may be what that rests on.
            let mut has_handed = self.shard.as_mut().is_some_and(|own| match &mut own.flow {
                Some(flow) => flow.hand_on(&mut own.effects),
                None => false,
            });
            has_handed |= flow.hand_on(&mut shard.effects);
            if has_handed {
                self.wake(self.shards);
            }
        }
        let Some(log) = &mut shard.log else {
            shard.effects.clear();
            return;
        };
        if self.durable.always {
            log.seal_next();
        }
        let is_slow = log.is_slow();
        if is_slow && !self.write_deferred(shard) {
            return;
        }
        let Some(log) = &mut shard.log else {
            return;
        };
        if !log.may_try(self.now) {
            return;
        }
        if shard.effects.is_empty() && !log.has_left() && !log.has_to_seal() {
            return;
        }
        let second = shard
            .config
            .aof_timestamp_enabled
            .then_some(shard.now / 1000);
        let begun = ticks();
        self.durable.watch.begin(self.now);
        let delay_us = self.observatory.snapshots.log.write_delay_us.load(Relaxed);
        if delay_us > 0 {
            std::thread::sleep(Duration::from_micros(delay_us));
        }
        let bytes = shard.effects.recorded();
        let length = bytes.len();
        let written = log.append(bytes, second);
        let is_well = written.is_ok();
        match written {
            Ok(()) => {
                shard.effects.clear();
                if log.is_stuck() {
                    log.retry_at(0);
                    self.observatory.snapshots.log.write_error.store(0, Relaxed);
                    log::warn!("AOF write error looks solved, Redis can write again.");
                }
            }
            Err(error) => self.append_failed(shard, &error),
        }
        let counters = self.observatory.core(shard.index);
        counters.log_buffer.set(shard.effects.len() as u64);
        if let Some(log) = &shard.log {
            counters.log_bytes.set(log.total_bytes());
        }
        let ns = self.observatory.scale.ns(ticks().wrapping_sub(begun));
        self.counters().log_ns.add(ns);
        let threshold = self.config.latency_monitor_threshold_ms;
        if threshold > 0 {
            self.observatory
                .latency
                .record("aof-write", self.now, ns / 1_000_000, threshold);
        }
        if self.durable.watch.is_slow(self.now, ns, length) && is_well {
            self.defer_log(shard, Some(ns));
        }
    }

    /// A shard's log could not be written: it is tried again a little later.
    #[cold]
    pub(super) fn append_failed(&mut self, shard: &mut Shard, error: &std::io::Error) {
        if let Some(log) = &mut shard.log {
            let stuck = log.is_stuck();
            log.retry_at(self.now + RETRY_MS);
            self.write_failed(error, stuck);
        }
    }

    fn write_failed(&mut self, error: &std::io::Error, again: bool) {
        if !again {
            log::warn!("Error writing to the AOF file: {error}");
        }
        if self.durable.always {
            log::error!(
                "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting..."
            );
            std::process::exit(1);
        }
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        let status = &self.observatory.snapshots.log;
        status.write_error.store(errno, Relaxed);
    }

    /// Answers of this turn stand on what is in the shard's log.
    #[inline]
    fn stand_on(&mut self, shard: &mut Shard) {
        if let Some(log) = &shard.log
            && (self.durable.always | log.is_slow())
        {
            self.stand_on_log(shard);
        }
    }

    #[inline(never)]
    fn stand_on_log(&mut self, shard: &mut Shard) {
        let Some(log) = &mut shard.log else {
            return;
        };
        let marks = match shard.index == self.index {
            true => {
                self.durable.own.clear();
                &mut self.durable.own
            }
            false => &mut self.durable.marks,
        };
        let before = marks.len();
        if self.durable.always {
            log.unsynced(marks);
        } else {
            log.unwritten(marks);
        }
        if log.is_slow() && marks.len() > before {
            self.begin_holding();
        }
    }

    // Answers that wait.

    /// A part of a transaction has been run: hands in its outcome when that may be known.
    pub(super) fn hand_in(&mut self, transaction: Arc<Transaction>, outcome: Outcome) {
        if self.durable.gating && matches!(outcome, Outcome::Reply(..)) {
            self.durable.arrivals.push((transaction, outcome));
        } else {
            self.arrive(&transaction, outcome);
        }
    }

    fn arrive(&mut self, transaction: &Transaction, outcome: Outcome) {
        if transaction.arrive(self.index, outcome) && transaction.home != self.index {
            let home = self.links.core(transaction.home);
            home.mail(CoreMessage::Complete);
            self.wake(transaction.home);
        }
    }

    /// An answer for a client of another core leaves at the end of the turn, when what it stands on is written.
    pub(super) fn mail_later(&mut self, to: usize, message: CoreMessage) {
        self.durable.mails.push((to, message));
    }

    /// Sends such answers now if nothing holds them back: a blocked client reads what it was given before the messages
    /// that tell of the change.
    pub(super) fn send_settled_mails(&mut self) {
        if !self.durable.gating && !self.durable.mails.is_empty() {
            self.settle_own();
            if !self.durable.gating {
                self.send_mails();
            }
        }
    }

    /// Whether anything waits to be sent or put behind a gate.
    #[inline]
    pub(super) fn has_held_back(&self) -> bool {
        self.durable.gating || !self.durable.mails.is_empty() || !self.durable.released.is_empty()
    }

    /// Sends what has been written down meanwhile, or puts everything that this turn has answered behind a gate.
    pub(super) fn hold_back(&mut self) {
        if !self.durable.gating {
            self.send_mails();
            self.release();
            return;
        }
        if self.durable.ungated {
            self.gate_connections();
        }
        let gates = &self.durable.gates;
        if !gates.is_empty()
            && (self.durable.slow || gates.iter().any(|gate| gate.marks.is_empty()))
        {
            self.open_gates();
        }
        let Durable { marks, own, .. } = &mut self.durable;
        own.retain(|mark| !mark.is_reached());
        marks.extend(own.iter().cloned());
        let mut marks = std::mem::take(&mut self.durable.marks);
        marks.retain(|mark| !mark.is_reached());
        if self.shards == 1 && self.durable.patience.waits() && self.durable.gates.is_empty() {
            self.sync_here(&mut marks);
        }
        let notes_reads = self.gates.notes_reads;
        let shard = self.shard.as_deref().or(self.held_shard.as_deref());
        for index in &self.dirty {
            if let Some(connection) = &mut self.connections[*index as usize] {
                let blocks = connection.output.close();
                let is_light = notes_reads && takes_light(connection, shard);
                // What is behind a gate waits for that, whatever has come of this turn.
                if (marks.is_empty() || is_light) && connection.gates == 0 {
                    connection.output.clear_to(blocks);
                }
            }
        }
        if marks.is_empty() {
            self.send_mails();
            for (transaction, outcome) in std::mem::take(&mut self.durable.arrivals) {
                self.arrive(&transaction, outcome);
            }
            self.release();
            self.start_syncs();
            if self.durable.slow {
                self.await_writes();
            }
            return;
        }
        let mut gate = Gate {
            marks,
            connections: Vec::with_capacity(self.dirty.len()),
            replies: Vec::new(),
            arrivals: std::mem::take(&mut self.durable.arrivals),
            mails: std::mem::take(&mut self.durable.mails),
            waiting: Vec::new(),
            followed: None,
        };
        for index in &self.dirty {
            if let Some(connection) = &mut self.connections[*index as usize]
                && connection.output.has_uncleared()
            {
                let blocks = connection.output.close();
                if connection.gates > 0 && blocks == connection.gated_to {
                    continue; // all of it is behind a gate
                }
                if !connection.held {
                    connection.held = true;
                    connection.held_to = blocks;
                }
                connection.gates += 1;
                connection.gated_to = blocks;
                gate.connections.push((connection.place, blocks));
            }
        }
        for (to, outgoing) in self.outgoing.iter_mut().enumerate() {
            let is_light =
                |parts: &mut Vec<Box<Part>>| notes_reads && are_light(parts, shard, self.table);
            let resting = outgoing.replies.extract_if(.., |parts| !is_light(parts));
            gate.replies.extend(resting.map(|parts| (to, parts)));
        }
        let holds = !gate.connections.is_empty()
            || !gate.replies.is_empty()
            || !gate.arrivals.is_empty()
            || !gate.mails.is_empty();
        if holds {
            self.durable.gates.push(gate);
        }
        self.start_syncs();
        if self.durable.slow {
            self.await_writes();
        }
        self.release();
    }

    /// Waits for the disk, which is quick.
    fn sync_here(&mut self, marks: &mut Vec<Mark>) {
        let [mark] = &marks[..] else {
            return; // a file that ends, with much to sync perhaps
        };
        if mark.need != Need::Synced || mark.file.written_of(mark.to) < mark.to {
            return;
        }
        let began = ticks();
        if let Err(error) = mark.file.sync_now(mark.to) {
            self.sync_failed(error.raw_os_error().unwrap_or(libc::EIO));
        }
        let ns = self.observatory.scale.ns(ticks().wrapping_sub(began));
        self.durable.patience.note(ns);
        marks.retain(|mark| !mark.is_reached());
    }

    /// What gates have let out joins what leaves now.
    fn release(&mut self) {
        for (to, parts) in self.durable.released.drain(..) {
            self.outgoing[to].replies.push(parts);
        }
    }

    fn send_mails(&mut self) {
        if !self.durable.mails.is_empty() {
            for (to, message) in std::mem::take(&mut self.durable.mails) {
                self.links.core(to).mail(message);
                self.wake(to);
            }
        }
    }

    /// Lets out what does not wait any more. The connection whose script runs cannot be told until that is over.
    pub(super) fn open_gates(&mut self) {
        let connections = &self.connections;
        let runs_script = self.runs_script;
        let is_in_hand = |one: &(Place, u64)| connections[one.0.index as usize].is_none();
        let is_open = |gate: &mut Gate| {
            gate.marks.retain(|mark| !mark.is_reached());
            gate.marks.is_empty() && !(runs_script && gate.connections.iter().any(is_in_hand))
        };
        let gates = &mut self.durable.gates;
        let mut open = Vec::new();
        let mut at = 0;
        while at < gates.len() {
            if is_open(&mut gates[at]) {
                open.push((at, gates.remove(at)));
            } else {
                at += 1;
            }
        }
        for (before, gate) in &mut open {
            for (place, blocks) in gate.connections.drain(..) {
                self.pass_gate(place, blocks, *before);
            }
        }
        for (_, gate) in open {
            self.durable.released.extend(gate.replies);
            for (transaction, outcome) in gate.arrivals {
                self.arrive(&transaction, outcome);
            }
            for (to, message) in gate.mails {
                self.links.core(to).mail(message);
                self.wake(to);
            }
            if let Some(offset) = gate.followed {
                self.feed_is_synced(offset);
            }
            for place in gate.waiting {
                self.log_is_synced(place);
            }
        }
    }

    /// A gate has opened behind which a connection had this much of its output; so many older ones are still shut. The logs are
    /// on disk in an order of their own: what is behind an older gate as well leaves when that opens.
    fn pass_gate(&mut self, place: Place, blocks: u64, older: usize) {
        let Some(mut connection) = self.take_connection(place) else {
            return;
        };
        connection.gates -= 1;
        let mut shut = self.durable.gates[..older].iter_mut().rev();
        let waits = match connection.gates {
            0 => None,
            _ => shut.find_map(|gate| gate.connections.iter_mut().find(|one| one.0 == place)),
        };
        if let Some((_, to)) = waits {
            *to = blocks;
        } else {
            connection.output.clear_to(blocks);
            if blocks >= connection.held_to {
                connection.held = false;
            }
            self.resume(&mut connection);
        }
        self.put_back(connection);
    }

    /// All shards are in hand: a client waits until what their logs hold is on disk.
    pub(super) fn await_sync(&mut self, place: Place, held: &mut Held) {
        self.settle_all(held);
        let mut marks = Vec::new();
        for log in held.iter_mut().filter_map(|shard| shard.log.as_mut()) {
            log.unsynced(&mut marks);
        }
        let waiting = vec![place];
        self.durable.gates.push(Gate {
            marks,
            waiting,
            ..Gate::default()
        });
        self.open_gates();
        self.start_syncs();
    }

    /// All shards are in hand: when what their logs hold is on disk, so is the stream of the primary as far as it has been
    /// applied.
    pub(super) fn await_feed_sync(&mut self, held: &mut Held) {
        let Some(place) = self.feed_place() else {
            return;
        };
        self.settle_all(held);
        let mut marks = Vec::new();
        for log in held.iter_mut().filter_map(|shard| shard.log.as_mut()) {
            log.unsynced(&mut marks);
        }
        self.durable.gates.push(Gate {
            marks,
            followed: Some(place.offset),
            ..Gate::default()
        });
        self.open_gates();
        self.start_syncs();
    }

    // Syncing.

    /// Sees to it that every mark that something waits for is on its way to the disk.
    pub(super) fn start_syncs(&mut self) {
        if self.durable.gates.is_empty() {
            return;
        }
        let mut wanted: Vec<Mark> = Vec::new();
        let marks = self.durable.gates.iter().flat_map(|gate| &gate.marks);
        for mark in marks.filter(|mark| mark.need == Need::Synced) {
            let same = |other: &&mut Mark| Arc::ptr_eq(&other.file, &mark.file);
            match wanted.iter_mut().find(same) {
                Some(other) => other.to = other.to.max(mark.to),
                None => wanted.push(mark.clone()),
            }
        }
        for mark in wanted {
            self.start_sync(mark);
        }
    }

    /// Begins to sync a file as far as it is written, unless that is under way.
    fn start_sync(&mut self, mut mark: Mark) {
        mark.to = mark.file.written_of(mark.to);
        let syncs = &mut self.durable.syncs;
        let same = |sync: &Sync| Arc::ptr_eq(&sync.file, &mark.file);
        if mark.is_synced() {
            return;
        }
        if syncs.iter().flatten().any(same) {
            return;
        }
        let Some(fd) = mark.file.fd() else {
            return;
        };
        let number = match syncs.iter().position(Option::is_none) {
            Some(number) => number,
            None => {
                syncs.push(None);
                syncs.len() - 1
            }
        };
        let Mark { file, to, .. } = mark;
        let began = ticks();
        syncs[number] = Some(Sync { file, to, began });
        let status = &self.observatory.snapshots.log;
        status.pending_syncs.fetch_add(1, Relaxed);
        self.ring.sync(fd, number as u64);
    }

    /// A sync is over.
    pub(super) fn on_synced(&mut self, completion: &Completion) {
        let syncs = &mut self.durable.syncs;
        let Some(sync) = syncs
            .get_mut(completion.token as usize)
            .and_then(Option::take)
        else {
            return;
        };
        let status = &self.observatory.snapshots.log;
        status.pending_syncs.fetch_sub(1, Relaxed);
        match -completion.result {
            error if error > 0 => self.sync_failed(error),
            _ => sync.file.on_synced(sync.to),
        }
        if self.durable.always {
            let ns = self.observatory.scale.ns(ticks().wrapping_sub(sync.began));
            self.durable.patience.note(ns);
        }
        self.open_gates();
        if !self.durable.always {
            self.start_syncs(); // else at the end of the turn, for what it adds as well
        }
    }

    #[cold]
    fn sync_failed(&mut self, errno: i32) {
        let error = std::io::Error::from_raw_os_error(errno);
        if self.durable.always {
            log::error!(
                "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {error}. Exiting..."
            );
            std::process::exit(1);
        }
        log::warn!("Fail to fsync the AOF file: {error}");
        let status = &self.observatory.snapshots.log;
        status.sync_error.store(errno, Relaxed);
    }

    /// Whether nothing is promised beyond about a second: then the first core sees to all logs once a second.
    pub(super) fn mind_logs(&mut self) {
        if !self.durable.asks_for_logs.is_empty() {
            self.look_at_logs();
        }
        if self.durable.slow || !self.durable.gates.is_empty() {
            self.mind_holding();
        }
        if !self.durable.epoch.is_empty() {
            self.mind_epoch();
        }
        let status = &self.observatory.snapshots.log;
        if self.index != 0
            || self.durable.always
            || self.gates.loading
            || self.now < self.durable.next_epoch
            || !status.on.load(Relaxed)
        {
            return;
        }
        let saves = &self.observatory.snapshots.saves;
        let spared = self.config.no_appendfsync_on_rewrite && saves.under_way().is_some();
        self.durable.next_epoch = self.now
            + match self.config.appendfsync {
                AppendFsync::No => EPOCH_UNPROMISED_MS,
                _ => EPOCH_MS,
            };
        if spared {
            return;
        }
        if !self.durable.epoch.is_empty() || self.durable.syncs.iter().any(Option::is_some) {
            // An epoch begins when the one before it is on disk: recovery relies on that.
            status.delayed_syncs.fetch_add(1, Relaxed);
            log::warn!(
                "Asynchronous AOF fsync is taking too long (disk is busy?). Writing the AOF buffer without waiting for \
                 fsync to complete, this may slow down Redis."
            );
            return;
        }
        if self.durable.epoch_bytes != Some(self.log_bytes()) {
            self.begin_chore(|core, held| core.end_epoch(held));
        }
    }

    /// What the last epoch takes in and could not be synced then goes to the disk as it is written.
    #[cold]
    fn mind_epoch(&mut self) {
        let mut epoch = std::mem::take(&mut self.durable.epoch);
        epoch.retain(|mark| !mark.is_synced());
        for mark in &epoch {
            self.start_sync(mark.clone());
        }
        if epoch.is_empty() && self.durable.relaxing && self.durable.epoch_is_cut {
            self.durable.relaxing = false;
            self.promise_less();
        }
        self.durable.epoch = epoch;
    }

    /// From here on a start after a loss of power may go back to an epoch: what was acknowledged under `always` is in one
    /// that is on disk.
    #[cold]
    fn promise_less(&self) {
        self.note_promise(Durability::Relaxed, Vec::new());
    }

    /// Notes in the manifest what a start may count on, once these marks are on disk.
    fn note_promise(&self, promise: Durability, marks: Vec<Mark>) {
        let always = promise == Durability::Always;
        let failed = move |error: std::io::Error| {
            let what = if always { "always" } else { "not always" };
            log::warn!("Can't note in the manifest that appendfsync is {what}: {error}");
        };
        let status = self.observatory.snapshots.clone();
        let thread = std::thread::Builder::new().name("sync".to_owned());
        let started = thread.spawn(move || {
            let synced = marks.iter().try_for_each(|mark| {
                if !mark.wait_until_written() {
                    return Err(std::io::Error::other("they could not be written"));
                }
                mark.file.sync_now(mark.to)
            });
            let noted = synced.and_then(|()| match &mut *status.log.lock_set() {
                // It may have changed again meanwhile.
                Some(set) if status.log.always.load(Relaxed) == always => {
                    set.set_durability(promise)
                }
                _ => Ok(()),
            });
            noted.unwrap_or_else(failed);
        });
        if let Err(error) = started {
            failed(error);
        }
    }

    /// Whether the last epoch took in all there is in the logs. The stream of the primary may have gone on without writing, or
    /// have been counted as applied only afterwards.
    pub(super) fn logs_are_covered(&self) -> bool {
        let log = &self.observatory.snapshots.log;
        log.on.load(Relaxed)
            && log.complete.load(Relaxed)
            && self.durable.epoch_bytes == Some(self.log_bytes())
    }

    /// Bytes of all logs.
    pub(super) fn log_bytes(&self) -> u64 {
        (0..self.shards)
            .map(|core| self.observatory.core(core).log_bytes.get())
            .sum()
    }

    /// All shards are in hand: what their logs hold up to here is one cut, and goes to the disk.
    fn end_epoch(&mut self, held: &mut Held) {
        self.defer_all(held);
        self.settle_all(held);
        let mut marks = Vec::new();
        let mut old_files = false;
        for log in held.iter_mut().filter_map(|shard| shard.log.as_mut()) {
            log.unsynced(&mut marks);
            old_files |= log.stands_on_others();
        }
        // The first epoch in a new file comes when the file before it is on disk.
        if !old_files {
            let number = self.observatory.snapshots.log.number();
            for shard in held.iter_mut() {
                if let Some(log) = &mut shard.log {
                    log.seal_next();
                    shard.effects.annotate(EPOCH_MARK, number);
                }
            }
            self.settle_all(held);
            marks.clear();
            for log in held.iter_mut().filter_map(|shard| shard.log.as_mut()) {
                log.unsynced(&mut marks);
            }
        }
        self.durable.epoch_bytes = (!old_files).then(|| self.log_bytes());
        self.durable.epoch_is_cut = !old_files;
        if let Some(place) = self.feed_place() {
            self.durable.gates.push(Gate {
                marks: marks.clone(),
                followed: Some(place.offset),
                ..Gate::default()
            });
        }
        self.durable.epoch = marks;
        self.mind_epoch();
    }

    /// Takes over `appendfsync`.
    pub(super) fn configure_logs(&mut self) {
        let always = self.config.appendonly && self.config.appendfsync == AppendFsync::Always;
        if always == self.durable.always {
            return;
        }
        self.durable.always = always;
        if self.index == 0 {
            self.durable.relaxing = !always && self.observatory.snapshots.log.on.load(Relaxed);
            self.durable.epoch_is_cut = false;
            self.durable.epoch_bytes = None;
        }
        // What waits for the disk by now goes on waiting; when nothing does any more, answers leave at once again.
        self.durable.slow |= !always;
        self.gates.notes_reads = !always;
        if always && self.index == 0 && self.observatory.snapshots.log.on.load(Relaxed) {
            self.begin_chore(|core, held| core.promise_always(held));
        }
        if self.durable.slow {
            return; // answers wait anyhow
        }
        self.durable.gating = true;
        for connection in self.connections.iter_mut().flatten() {
            connection.output.begin_gate();
        }
    }

    /// All shards are in hand, and from now on nothing is answered before it is on disk. The manifest says so as soon as
    /// that holds for what came before, too.
    fn promise_always(&mut self, held: &mut Held) {
        for shard in held.iter_mut() {
            if let Some(log) = &mut shard.log {
                log.seal_next(); // whatever came before: what is not sealed would not count
            }
            self.write_down(shard);
        }
        self.settle_all(held);
        let marks: Vec<Mark> = held
            .iter()
            .filter_map(|shard| Some(shard.log.as_ref()?.mark()))
            .collect();
        self.note_promise(Durability::Always, marks);
    }

    /// The server ends: everything is on disk before the last answers leave.
    pub(super) fn sync_at_end(&mut self) {
        self.now = unix_ms();
        let mut shards = self.end_reload();
        if self.shard.is_none() {
            self.shard = self.link().berth.take();
        }
        shards.extend(self.shard.take());
        for shard in &mut shards {
            self.settle(shard);
            if let Some(log) = &shard.log
                && log.is_deferred()
            {
                log.drain();
                self.settle(shard); // it takes back what could not be written
            }
            if let Some(log) = &shard.log {
                let mark = log.mark();
                if let Err(error) = mark.file.sync_now(mark.to) {
                    log::warn!("Fail to fsync the AOF file: {error}");
                    let errno = error.raw_os_error().unwrap_or(libc::EIO);
                    let status = &self.observatory.snapshots.log;
                    status.sync_error.store(errno, Relaxed);
                }
            }
        }
        for shard in shards {
            match shard.index == self.index {
                true => self.shard = Some(shard),
                false => std::mem::forget(shard), // freeing it would take its time, and the process ends
            }
        }
        for gate in &self.durable.gates {
            for mark in &gate.marks {
                mark.wait_until_written();
                if let Err(error) = mark.file.sync_now(mark.to) {
                    log::warn!("Fail to fsync the AOF file: {error}");
                }
            }
        }
        self.open_gates();
    }
}
