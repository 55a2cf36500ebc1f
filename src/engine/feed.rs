//! Applying the stream of a primary: one pseudo connection on the first core, whose requests are cut, routed by slot and
//! kept in order like those of any client, and whose transactions are one step over all their shards.
//!
//! Its replies go nowhere; errors are logged and counted. When everything up to some place has been executed and no
//! transaction is open there, the bytes up to that place are *applied*: they are mailed to the control core, which
//! appends them to its own stream, and acknowledged. So a replica that is asked how far it is never names a place within
//! a transaction.

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
use crate::replication::Replid;
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
}

impl Feed {
    /// Whether nothing more of it is begun.
    fn holds(&self, connection: &Connection) -> bool {
        self.cutting || !self.chores.is_empty() && connection.client.multi.is_none()
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
            } => self.begin_feed(link, client, addresses, db, (history, offset)),
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
                } else {
                    self.tell_feed_ended(link, 0, false);
                }
            }
        }
    }

    fn tell_feed_ended(&mut self, link: u64, db: u32, broken: bool) {
        let message = CoreMessage::FeedEnded { link, db, broken };
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
        link.note_taken(0);
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
                && (self.pause.until_ms == 0 || connection.client.multi.is_some())
                && !connection.ending
                && !feed.holds(&connection);
            if free {
                connection.client.active_ms = self.now;
                self.replay_here(true);
                self.on_bytes(&mut connection, &bytes);
                self.replay_here(false);
                connection.output.clear();
            } else if !connection.ending {
                connection.keep_input(&bytes);
                if connection.pending_input() >= connection.needs {
                    self.make_ready(&mut connection);
                }
            }
            if let Some(feed) = &mut self.feed {
                feed.kept.push_back(bytes);
            }
        }
        self.put_back(connection);
    }

    /// Goes on with what was kept of it.
    pub(super) fn run_feed_input(&mut self, connection: &mut Connection) {
        // A transaction that has begun is let to its end: whatever waits for a rest in the stream waits for that.
        let paused = self.pause.until_ms > 0 && connection.client.multi.is_none();
        // The disk does not keep pace: neither does the stream.
        let busy = self.gates.busy || paused || self.gates.trouble == Some(Trouble::Behind);
        let Some(feed) = &mut self.feed else {
            return;
        };
        if busy || feed.holds(connection) {
            feed.stalled = true; // it goes on when the script, the pause or the cut is over, or the disk has caught up
            return;
        }
        feed.base = feed.given - connection.pending_input() as u64;
        self.replay_here(true);
        self.run_kept_input(connection);
        self.replay_here(false);
        connection.output.clear();
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
        let behind = self.gates.trouble == Some(Trouble::Behind);
        let busy = self.gates.busy || self.pause.until_ms > 0 || behind;
        if (self.durable.always || self.logs_are_covered())
            && let Some(feed) = &self.feed
            && feed.link.synced.load(Relaxed) < feed.start + feed.applied
        {
            self.begin_chore(|core, held| core.await_feed_sync(held));
        }
        if let Some(feed) = &mut self.feed
            && feed.stalled
            && !busy
            && feed.chores.is_empty()
            && !feed.cutting
        {
            feed.stalled = false;
            let place = feed.place;
            if let Some(mut connection) = self.take_connection(place) {
                self.make_ready(&mut connection);
                self.keep(connection);
            }
            self.run_feed();
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
        if feed.ending || feed.broken || feed.cut {
            // What has not been begun is dropped; it will be asked for again.
            feed.queue.clear();
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
            feed.link.note_taken(taken);
        }
        if is_idle && (feed.ending || feed.broken) {
            self.end_feed();
        } else if is_idle && !feed.chores.is_empty() && !feed.cutting && !in_multi {
            self.cut_between();
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
                    std::mem::take(&mut feed.chores)
                }
                None => return, // it has ended, and they are done without it
            };
            for chore in chores {
                chore(core, held);
            }
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
            // A stream may begin while the shards are gathered.
            None => self.begin_chore(move |core, held| match &core.feed {
                Some(_) => core.begin_chore_between(chore),
                None => chore(core, held),
            }),
        }
    }

    /// Where the stream stands while it rests between two commands; nothing when there is none.
    pub(super) fn feed_place(&self) -> Option<StreamPlace> {
        let feed = self.feed.as_ref()?;
        Some(StreamPlace {
            id: feed.history.as_bytes().to_vec(),
            offset: feed.start + feed.applied,
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
        let db = connection.client.db;
        connection.client.multi = None;
        connection.receiving = false;
        connection.output.clear();
        self.shut_down(&mut connection);
        self.put_back(connection);
        if feed.broken {
            feed.link.disconnect();
        }
        self.tell_feed_ended(feed.link.generation, db, feed.broken);
        self.chores_due.extend(feed.chores);
    }

    /// CLIENT KILL of the primary: its link is cut and made again. True when the connection is that.
    pub(super) fn cut_link(&mut self, place: Place) -> bool {
        match &mut self.feed {
            Some(feed) if feed.place == place => {
                feed.cut = true;
                feed.link.note_taken(u64::MAX); // nobody waits for what is passed over
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
