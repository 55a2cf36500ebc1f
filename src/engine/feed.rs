//! Applying the stream of a primary: one pseudo connection on the first core, whose requests are cut, routed by slot and
//! kept in order like those of any client, and whose transactions are one step over all their shards.
//!
//! Its replies go nowhere; errors are logged and counted. When everything up to some place has been executed and no
//! transaction is open there, the bytes up to that place are *applied*: they are mailed to the control core, which
//! appends them to its own stream, and acknowledged. So a replica that is asked how far it is never names a place within
//! a transaction.
//!
//! Where the stream comes over parallel flows there is such a connection on several cores. The control core gives each its pieces
//! (`replication/weave.rs`), keeps their bytes and knows how far the whole is applied; here is only said what has been executed.
//! Pieces that were given are executed whatever happens to the link, since others may have executed what follows them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::command::client::Client;
use crate::command::spec::Flags;
use crate::command::table::Registered;
use crate::command::transactions;
use crate::config::PropagationErrors;
use crate::mesh::Place;
use crate::mesh::message::CoreMessage;
use crate::mesh::primary::{FeedMessage, PrimaryLink};
use crate::net::Connection;
use crate::persistence::Trouble;
use crate::persistence::snapshot::StreamPlace;
use crate::replication::{Piece, Replid};
use crate::resp::ErrorReply;
use crate::resp::request::Args;

use super::core::{Core, Held};
use super::wide::Chore;

/// How often it is logged that the stream is applied while the disk takes nothing.
const TROUBLE_LOGGED_EVERY_MS: i64 = 10_000;

/// The stream being applied.
pub(super) struct Feed {
    link: Arc<PrimaryLink>,
    place: Place,
    /// Which history it is of.
    history: Replid,
    /// The offset before its first byte.
    start: u64,
    /// Bytes that have come and have not been given to the connection.
    queue: VecDeque<Vec<u8>>,
    /// Bytes given to the connection so far.
    given: u64,
    /// Place of the first byte of what is being executed.
    base: u64,
    /// Place before the MULTI that is open.
    multi_from: Option<u64>,
    /// Bytes applied so far.
    applied: u64,
    /// The last count told to whoever sends.
    taken: u64,
    /// Bytes that have come and have not been told to the control core as applied, and how many of the first ones have.
    kept: VecDeque<Vec<u8>>,
    kept_from: usize,
    /// It ends as soon as nothing of it is under way.
    ending: bool,
    /// A client has cut its link: what has come and has not been begun is passed over, as Redis never reads it.
    cut: bool,
    /// It holds what no primary sends.
    broken: bool,
    /// A script that runs too long, or a pause, keeps it from going on.
    stalled: bool,
    /// What is to be done between two of its commands, with all shards in hand; nothing more is begun meanwhile.
    chores: Vec<Chore>,
    /// They are under way.
    cutting: bool,
    /// When it was last logged that the disk takes nothing, Unix milliseconds.
    trouble_logged_ms: i64,
    /// Pieces that have not been given to the connection, where several cores apply the stream.
    pieces: Option<VecDeque<Piece>>,
    /// The control core has been told that the stream is to rest.
    rest_wanted: bool,
}

impl Feed {
    /// Whether nothing more of it is begun.
    fn holds(&self, connection: &Connection) -> bool {
        let waits = !self.chores.is_empty() && self.pieces.is_none();
        self.cutting || waits && connection.client.multi.is_none()
    }

    /// Whether it is being ended with all that it has been given.
    fn runs_out(&self) -> bool {
        self.ending && self.pieces.is_some()
    }

    /// Whether a pause of clients concerns it. Where several cores apply the stream the control core gives nothing
    /// meanwhile, and what was given is executed, since all of it together is one offset.
    fn pauses(&self, connection: &Connection) -> bool {
        self.pieces.is_none() && connection.client.multi.is_none()
    }

    /// The offset up to which the stream is applied.
    fn offset(&self) -> u64 {
        match self.pieces {
            Some(_) => self.link.applied.load(Relaxed),
            None => self.start + self.applied,
        }
    }

    /// How far what it was given has been executed, and dealt with, is told to the control core.
    fn note(&mut self, executed: u64, taken: u64) -> bool {
        let is_new = executed > self.applied || taken > self.taken;
        (self.applied, self.taken) = (executed.max(self.applied), taken.max(self.taken));
        is_new
    }

    /// Takes the bytes up to `applied` out of those kept.
    fn take_applied(&mut self, applied: u64) -> Vec<Vec<u8>> {
        let mut count = (applied - self.applied) as usize;
        self.applied = applied;
        let mut taken = Vec::new();
        while count > 0 {
            let Some(first) = self.kept.front_mut() else {
                break;
            };
            let left = first.len() - self.kept_from;
            if count < left {
                taken.push(first[self.kept_from..self.kept_from + count].to_vec());
                self.kept_from += count;
                break;
            }
            count -= left;
            let mut whole = std::mem::take(first);
            whole.drain(..std::mem::take(&mut self.kept_from));
            taken.push(whole);
            self.kept.pop_front();
        }
        taken
    }
}

/// Bytes of a request as primaries write it.
fn wire_bytes(args: &Args<'_>) -> u64 {
    let digits = |number: usize| number.checked_ilog10().unwrap_or(0) as usize + 1;
    let mut bytes = 3 + digits(args.len());
    for arg in args.iter_from(0) {
        bytes += 5 + digits(arg.len()) + arg.len();
    }
    bytes as u64
}

impl Core {
    /// A message about the stream.
    pub(super) fn on_feed(&mut self, message: FeedMessage) {
        match message {
            FeedMessage::Begin {
                link,
                client,
                addresses,
                db,
                history,
                offset,
                in_pieces,
            } => {
                self.begin_feed(link, client, addresses, db, (history, offset));
                if let Some(feed) = &mut self.feed {
                    feed.pieces = in_pieces.then(VecDeque::new);
                }
            }
            FeedMessage::Pieces(link, pieces) => {
                if let Some(feed) = &mut self.feed
                    && feed.link.generation == link
                    && let Some(waiting) = &mut feed.pieces
                {
                    waiting.extend(pieces);
                    self.run_feed();
                }
            }
            FeedMessage::Ended(place) => self.do_what_is_left(place),
            FeedMessage::Rests(link, db) => {
                let place = self.feed.as_ref().map(|feed| feed.place.index as usize);
                if let Some(feed) = &self.feed
                    && feed.link.generation == link
                    && !feed.ending
                    && let Some(connection) =
                        place.and_then(|place| self.connections[place].as_deref_mut())
                {
                    connection.client.db = db;
                    self.cut_between();
                }
            }
            FeedMessage::Bytes(link, bytes) => {
                if let Some(feed) = &mut self.feed
                    && feed.link.generation == link
                    && !feed.ending
                    && !feed.cut
                {
                    feed.queue.push_back(bytes);
                    self.run_feed();
                }
            }
            FeedMessage::End(link) => {
                if let Some(feed) = &mut self.feed
                    && feed.link.generation == link
                {
                    feed.ending = true;
                    if feed.runs_out() {
                        self.go_on_with_feed();
                    }
                } else {
                    self.tell_feed_ended(link, 0, 0, false);
                }
            }
        }
    }

    fn tell_feed_ended(&mut self, link: u64, executed: u64, db: u32, broken: bool) {
        let message = CoreMessage::FeedEnded {
            link,
            core: self.index as u16,
            executed,
            db,
            broken,
        };
        self.links.control().mail(message);
        self.wake(self.shards);
    }

    fn begin_feed(
        &mut self,
        link: Arc<PrimaryLink>,
        id: u64,
        (peer, local): (String, String),
        db: u32,
        (history, offset): (Replid, u64),
    ) {
        self.do_what_is_left(None);
        let place = self.new_place();
        let mut client = Client::new(id, peer, local, false, -1, self.now, &self.users);
        client.become_primary();
        client.db = db;
        let mut connection = Box::new(Connection::new(place, -1, client));
        // It has no socket: nothing is to be read from it or sent to it, and both count as under way.
        connection.receiving = true;
        connection.dirty = true;
        self.counters().connected.add(1);
        self.link().connections.fetch_add(1, Relaxed);
        self.connections[place.index as usize] = Some(connection);
        link.note_taken(0, 0);
        self.feed = Some(Box::new(Feed {
            link,
            place,
            history,
            start: offset,
            queue: VecDeque::new(),
            given: 0,
            base: 0,
            multi_from: None,
            applied: 0,
            taken: 0,
            kept: VecDeque::new(),
            kept_from: 0,
            ending: false,
            cut: false,
            broken: false,
            stalled: false,
            chores: Vec::new(),
            cutting: false,
            trouble_logged_ms: 0,
            pieces: None,
            rest_wanted: false,
        }));
    }

    /// Gives what has come to the connection, which executes it if it can.
    fn run_feed(&mut self) {
        let Some(feed) = &self.feed else {
            return;
        };
        let Some(mut connection) = self.take_connection(feed.place) else {
            return; // it is at work further up
        };
        while let Some(feed) = &mut self.feed
            && let Some(bytes) = feed.queue.pop_front()
        {
            self.give_to_feed(&mut connection, &bytes);
            if let Some(feed) = &mut self.feed {
                feed.kept.push_back(bytes);
            }
        }
        self.run_pieces(&mut connection);
        self.put_back(connection);
    }

    /// Executes the next bytes of it if that can be, and keeps them for later if not.
    fn give_to_feed(&mut self, connection: &mut Connection, bytes: &[u8]) {
        let Some(feed) = &mut self.feed else {
            return;
        };
        feed.base = feed.given;
        feed.given += bytes.len() as u64;
        let free = !connection.waiting
            && !connection.held
            && !connection.ready
            && connection.pending_input() == 0
            && self.shard.is_some()
            && !self.pushing.choked
            && !self.gates.busy
            && self.gates.trouble != Some(Trouble::Behind)
            && !self.gates.crowded
            && (self.pause.until_ms == 0 || !feed.pauses(connection))
            && !connection.ending
            && !feed.holds(connection);
        if free {
            connection.client.active_ms = self.now;
            self.replay_here(true);
            self.on_bytes(connection, bytes);
            self.replay_here(false);
            connection.output.clear();
        } else if !connection.ending {
            connection.keep_input(bytes);
            if connection.pending_input() >= connection.needs {
                self.make_ready(connection);
            }
        }
    }

    /// Gives the pieces at hand to the connection. One that names its database waits until all before it is executed.
    fn run_pieces(&mut self, connection: &mut Connection) {
        while let Some(feed) = &mut self.feed
            && let Some(pieces) = &mut feed.pieces
            && let Some(first) = pieces.front()
        {
            let is_idle = !connection.has_work()
                && connection.wave.is_none()
                && connection.pending_input() == 0;
            if first.db.is_some() && !is_idle {
                return;
            }
            let Some(piece) = pieces.pop_front() else {
                return;
            };
            connection.client.db = piece.db.unwrap_or(connection.client.db);
            feed.start = piece.at.saturating_sub(feed.given);
            self.give_to_feed(connection, piece.bytes());
        }
    }

    /// Takes up again what was held up.
    fn go_on_with_feed(&mut self) {
        let Some(feed) = &mut self.feed else {
            return;
        };
        feed.stalled = false;
        let place = feed.place;
        if let Some(mut connection) = self.take_connection(place) {
            self.make_ready(&mut connection);
            self.keep(connection);
        }
        self.run_feed();
    }

    /// Goes on with what was kept of it.
    pub(super) fn run_feed_input(&mut self, connection: &mut Connection) {
        let Some(feed) = &mut self.feed else {
            return;
        };
        // A transaction that has begun is let to its end: whatever waits for a rest in the stream waits for that.
        let paused = self.pause.until_ms > 0 && feed.pauses(connection);
        // The disk does not keep pace: neither does the stream.
        let behind = self.gates.trouble == Some(Trouble::Behind) || self.gates.crowded;
        let busy = self.gates.busy || paused || behind;
        if busy || feed.holds(connection) {
            feed.stalled = true; // it goes on when the script, the pause or the cut is over, or the disk has caught up
            return;
        }
        feed.base = feed.given - connection.pending_input() as u64;
        if connection.pending_input() > 0 {
            self.replay_here(true);
            self.run_kept_input(connection);
            self.replay_here(false);
            connection.output.clear();
        }
        self.run_pieces(connection);
    }

    fn replay_here(&mut self, on: bool) {
        if let Some(shard) = &mut self.shard {
            shard.replaying = on;
        }
        self.replays = on;
    }

    /// What the stream does with shards in hand, it does as its primary has decided.
    pub(super) fn replay_held(held: &mut Held, on: bool) {
        for shard in held {
            shard.replaying = on;
        }
    }

    /// Now and then: goes on after a script that ran too long, or a pause.
    pub(super) fn mind_feed(&mut self) {
        let in_pieces = self.feed.as_ref().is_some_and(|feed| feed.pieces.is_some());
        let behind = self.gates.trouble == Some(Trouble::Behind) || self.gates.crowded;
        let busy = self.gates.busy || self.pause.until_ms > 0 && !in_pieces || behind;
        if self.index == 0
            && (self.durable.always || self.logs_are_covered())
            && let Some(feed) = &self.feed
            && feed.link.synced.load(Relaxed) < feed.offset()
        {
            self.begin_chore(|core, held| core.await_feed_sync(held));
        }
        if let Some(feed) = &mut self.feed
            && feed.stalled
            && !busy
            && (feed.chores.is_empty() || feed.pieces.is_some())
            && !feed.cutting
        {
            self.go_on_with_feed();
        }
    }

    /// A command of the stream that concerns the connection itself. Everything before it has been executed. `end` is
    /// the place behind it in what is being executed. True when that was all there is to do.
    pub(super) fn feed_command(
        &mut self,
        command: &'static Registered,
        args: &Args<'_>,
        end: u64,
    ) -> bool {
        let Some(feed) = &mut self.feed else {
            return false;
        };
        let from = (feed.base + end).saturating_sub(wire_bytes(args));
        match command.spec.name {
            "MULTI" => feed.multi_from = Some(from),
            "REPLCONF" => {
                if args
                    .opt(1)
                    .is_some_and(|word| word.eq_ignore_ascii_case(b"getack"))
                {
                    let offset = feed.start + from;
                    feed.link.acknowledge(offset);
                }
                return true;
            }
            _ => {}
        }
        false
    }

    /// The gates for commands of the stream: it is let in everywhere. True when the command is queued.
    #[cold]
    pub(super) fn gate_feed(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        args: &Args<'_>,
    ) -> bool {
        let trouble = self.gates.trouble.filter(|&of| of != Trouble::Behind);
        if trouble.is_some() && command.spec.flags.has(Flags::WRITE) {
            self.write_in_trouble();
        }
        let Some(multi) = &mut connection.client.multi else {
            if !self.monitors.is_empty() && self.shard.is_some() {
                self.feed_monitors(&connection.client, command, args);
            }
            return false;
        };
        if command.spec.flags.has(Flags::IMMEDIATE) || transactions::is_exec(command) {
            return false;
        }
        super::input::queue(multi, command, args);
        true
    }

    /// The stream writes, and the disk does not take it.
    #[cold]
    fn write_in_trouble(&mut self) {
        assert!(
            self.config.replica_ignore_disk_write_errors,
            "Replica was unable to write command to disk."
        );
        if let Some(feed) = &mut self.feed
            && self.now > feed.trouble_logged_ms + TROUBLE_LOGGED_EVERY_MS
        {
            feed.trouble_logged_ms = self.now;
            log::warn!("Replica is applying a command even though it is unable to write to disk.");
        }
    }

    /// A command of the stream has failed: this replica and its primary may differ from here on.
    #[cold]
    pub(super) fn feed_failed(&self, command: &str, error: &ErrorReply) {
        self.counters().unexpected_errors.add(1);
        log::warn!(
            "== CRITICAL == This replica is sending an error to its master: '{}' after processing the command '{command}'",
            String::from_utf8_lossy(error.as_bytes())
        );
        assert!(
            self.config.propagation_error_behavior == PropagationErrors::Ignore
                || !self.config.replica_read_only,
            "This replica panicked sending an error to its master after processing the command '{command}'"
        );
    }

    /// The end of a turn: says how far the stream has been applied.
    pub(super) fn settle_feed(&mut self) {
        let Some(feed) = &mut self.feed else {
            return;
        };
        let Some(connection) = self.connections[feed.place.index as usize].as_deref_mut() else {
            return;
        };
        feed.broken |= connection.ending || connection.closed;
        if feed.ending && feed.pieces.is_none() || feed.broken || feed.cut {
            // What has not been begun is dropped; it will be asked for again.
            feed.queue.clear();
            feed.pieces.iter_mut().for_each(VecDeque::clear);
            feed.given -= connection.pending_input() as u64;
            connection.input = Vec::new();
            connection.input_at = 0;
        }
        let pending = connection.pending_input() as u64;
        let is_idle = !connection.waiting && connection.wave.is_none();
        if is_idle && !feed.broken {
            let executed = match feed.multi_from {
                Some(from) if connection.client.multi.is_some() => from,
                _ => {
                    feed.multi_from = None;
                    feed.given - pending
                }
            };
            if feed.pieces.is_some() {
                self.settle_pieces(executed);
                return;
            }
            if executed > feed.applied {
                let bytes = feed.take_applied(executed);
                feed.link.applied.store(feed.start + executed, Relaxed);
                let message = CoreMessage::Applied(feed.link.generation, bytes);
                self.links.control().mail(message);
                self.wake(self.shards);
            }
        }
        let Some(feed) = &mut self.feed else {
            return;
        };
        if feed.pieces.is_some() && !feed.broken {
            return;
        }
        // An unfinished request cannot go on without more, so it is not in the way of more.
        let Some(connection) = self.connections[feed.place.index as usize].as_deref() else {
            return;
        };
        let in_multi = connection.client.multi.is_some();
        let taken = match connection.has_work() || feed.stalled {
            true => feed.given - pending,
            false => feed.given,
        };
        if taken > feed.taken && !feed.cut {
            feed.taken = taken;
            feed.link.note_taken(0, taken);
        }
        if is_idle && (feed.ending || feed.broken) {
            self.end_feed();
        } else if is_idle
            && !feed.chores.is_empty()
            && !feed.cutting
            && !in_multi
            && feed.pieces.is_none()
        {
            self.cut_between();
        }
    }

    /// The same where several cores apply the stream and nothing of it is under way here.
    fn settle_pieces(&mut self, executed: u64) {
        let Some(feed) = &mut self.feed else {
            return;
        };
        let place = feed.place.index;
        let Some(connection) = self.connections[place as usize].as_deref_mut() else {
            return;
        };
        let pending = connection.pending_input() as u64;
        let goes_on = connection.has_work() || feed.stalled;
        let taken = if goes_on {
            feed.given - pending
        } else {
            feed.given
        };
        let link = feed.link.generation;
        let has_more = feed
            .pieces
            .as_ref()
            .is_some_and(|pieces| !pieces.is_empty());
        if has_more && !goes_on && !feed.cutting {
            if pending > 0 {
                feed.broken = true; // half a command before another database
            }
            // What waited for the rest to be executed is next.
            connection.ready = true;
            self.ready.push_back(place);
        }
        let is_over = feed.runs_out() && !goes_on && !has_more;
        if !feed.chores.is_empty() && !std::mem::replace(&mut feed.rest_wanted, true) {
            self.links
                .control()
                .mail(CoreMessage::WantsRest(link, true));
            self.wake(self.shards);
        }
        let Some(feed) = &mut self.feed else {
            return;
        };
        if feed.note(executed, taken) {
            let db = self.feed_db();
            self.links.control().mail(CoreMessage::PiecesExecuted {
                link,
                core: self.index as u16,
                executed,
                taken,
                db,
            });
            self.wake(self.shards);
        }
        if is_over {
            self.end_feed();
        }
    }

    /// The stream rests between two commands, and everything before has been told: makes the cuts that waited for that.
    #[cold]
    fn cut_between(&mut self) {
        let Some(feed) = &mut self.feed else {
            return;
        };
        feed.cutting = true;
        self.begin_chore(|core, held| {
            let chores = match &mut core.feed {
                Some(feed) => {
                    feed.cutting = false;
                    feed.stalled = true;
                    if std::mem::take(&mut feed.rest_wanted) {
                        let goes_on = CoreMessage::WantsRest(feed.link.generation, false);
                        core.links.control().mail(goes_on);
                    }
                    std::mem::take(&mut feed.chores)
                }
                None => return, // it has ended, and they are done without it
            };
            for chore in chores {
                chore(core, held);
            }
            core.wake(core.shards);
            core.next_tick_ms = core.now; // the stream goes on
        });
    }

    /// Does something with all shards in hand, and between two commands of the stream if there is one.
    pub(super) fn begin_chore_between(
        &mut self,
        chore: impl FnOnce(&mut Core, &mut Held) + 'static,
    ) {
        match &mut self.feed {
            Some(feed) => feed.chores.push(Box::new(chore)),
            None if self.feed_ends => self.feed_left.push(Box::new(chore)),
            // A stream may begin while the shards are gathered.
            None => self.begin_chore(move |core, held| match &core.feed {
                Some(_) => core.begin_chore_between(chore),
                None => chore(core, held),
            }),
        }
    }

    /// Where the stream stands while it rests between two commands, or has just ended; nothing when there is none.
    pub(super) fn feed_place(&self) -> Option<StreamPlace> {
        let Some(feed) = self.feed.as_ref() else {
            return self.feed_ended_at.clone();
        };
        Some(StreamPlace {
            id: feed.history.as_bytes().to_vec(),
            offset: feed.offset(),
            db: self.feed_db(),
        })
    }

    /// The stream is on disk up to here, in the append-only files.
    pub(super) fn feed_is_synced(&mut self, offset: u64) {
        if let Some(feed) = &self.feed {
            let whole = self.observatory.snapshots.log.complete.load(Relaxed);
            feed.link
                .synced
                .store(if whole { offset } else { 0 }, Relaxed);
        }
    }

    /// The database selected in the stream.
    pub(super) fn feed_db(&self) -> u32 {
        let place = self.feed.as_ref().map(|feed| feed.place.index as usize);
        let connection = place.and_then(|place| self.connections[place].as_deref());
        connection.map_or(0, |connection| connection.client.db)
    }

    /// Nothing of the stream is under way any more.
    fn end_feed(&mut self) {
        let Some(feed) = self.feed.take() else {
            return;
        };
        let Some(mut connection) = self.take_connection(feed.place) else {
            return;
        };
        let (db, executed) = (connection.client.db, feed.applied);
        connection.client.multi = None;
        connection.receiving = false;
        connection.output.clear();
        self.shut_down(&mut connection);
        self.put_back(connection);
        if feed.broken {
            feed.link.disconnect();
        }
        self.tell_feed_ended(feed.link.generation, executed, db, feed.broken);
        self.feed_left.extend(feed.chores);
        self.feed_ends = true;
    }

    /// A stream has ended, and the data are this moment of it: what has waited is done.
    fn do_what_is_left(&mut self, place: Option<StreamPlace>) {
        self.feed_ends = false;
        for chore in std::mem::take(&mut self.feed_left) {
            let place = place.clone();
            self.begin_chore(move |core, held| {
                core.feed_ended_at = place;
                chore(core, held);
                core.feed_ended_at = None;
            });
        }
    }

    /// CLIENT KILL of the primary: its link is cut and made again. True when the connection is that.
    pub(super) fn cut_link(&mut self, place: Place) -> bool {
        match &mut self.feed {
            Some(feed) if feed.place == place => {
                if feed.pieces.is_none() {
                    feed.cut = true;
                    feed.link.note_taken(0, u64::MAX); // nobody waits for what is passed over
                }
                feed.link.disconnect();
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(chunks: &[&[u8]]) -> Feed {
        Feed {
            link: Arc::default(),
            place: Place::NOWHERE,
            history: Replid::NONE,
            start: 0,
            queue: VecDeque::new(),
            given: 0,
            base: 0,
            multi_from: None,
            applied: 0,
            taken: 0,
            kept: chunks.iter().map(|chunk| chunk.to_vec()).collect(),
            kept_from: 0,
            ending: false,
            cut: false,
            broken: false,
            stalled: false,
            chores: Vec::new(),
            cutting: false,
            trouble_logged_ms: 0,
            pieces: None,
            rest_wanted: false,
        }
    }

    #[test]
    fn what_is_applied_leaves_in_order_whatever_the_pieces() {
        let mut feed = feed(&[b"abc", b"de", b"fghij"]);
        let mut all = Vec::new();
        for applied in [1, 2, 3, 6, 6, 9, 10] {
            for bytes in feed.take_applied(applied) {
                all.extend(bytes);
            }
            assert_eq!(all, b"abcdefghij"[..applied as usize], "{applied}");
        }
        assert!(feed.kept.is_empty());
    }

    #[test]
    fn requests_are_as_long_as_primaries_write_them() {
        let request: crate::resp::request::OwnedArgs =
            [&b"REPLCONF"[..], b"GETACK", b"*"].into_iter().collect();
        assert_eq!(wire_bytes(&request.args(Default::default())), 37);
        let long = vec![b'x'; 1000];
        let request: crate::resp::request::OwnedArgs = [&long[..]; 12].into_iter().collect();
        let args = request.args(Default::default());
        assert_eq!(wire_bytes(&args), request.wire_bytes() as u64);
    }
}
