//! The loop turn of a data core: completions in, messages in, work, messages out, sends out, sleep.
//!
//! Everything runs on the core's own thread in one task, without an await inside: a handler is never interrupted. The
//! shard is in the core's hands, lies in its berth while the core sleeps, or is with a borrower or a transaction; then
//! the core still reads, sends and answers, and what needs the shard waits.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::acl::Users;
use crate::base::allocator::Allocation;
use crate::base::clock::{ticks, unix_ms};
use crate::base::slot::Slot;
use crate::cluster::SlotMap;
use crate::command::admit::Gates;
use crate::command::table::{CommandTable, commands};
use crate::config::Config;
use crate::keyspace::Hint;
use crate::mesh::message::{CoreMessage, Part, Role, SlowRun};
use crate::mesh::{Batch, CoreLink, Links, Place, Receiver, Sender, Waiting};
use crate::net::{Connection, Sent, Wave};
use crate::observe::{CoreCounters, Observatory};
use crate::persistence::aof::set::Rewrite;
use crate::persistence::snapshot::StreamPlace;
use crate::replication::Cut;
use crate::resp::request::Span;
use crate::ring::{Completion, Operation, Ring};
use crate::script::CoreScripts;
use crate::shard::Shard;
use crate::transaction::Transaction;

use super::blocked::Served;
use super::carrying::Carried;
use super::clients::Clients;
use super::durable::Durable;
use super::evict::Memory;
use super::expire::Expiry;
use super::feed::Feed;
use super::input::Item;
use super::migrating::{Lingering, Migrating, Target};
use super::pausing::{Pause, Pausing};
use super::push::Pushing;
use super::saving::Pace;
use super::wide::{Chore, Pending};

/// How cores see each other.
pub type SharedLinks = Links<Shard, Arc<Transaction>>;

/// Commands of one connection run in one turn at most: a long pipeline takes turns with everybody else.
pub(super) const COMMANDS_MAX: u32 = 1024;
/// How often the core looks after things that are not requests, while there are any.
pub(super) const TICK_MS: i64 = 100;
/// How often it does so while nothing happens.
pub(super) const IDLE_TICK_MS: i64 = 1000;
/// How long a core sleeps whose clients wait until another core has freed memory or read its mail.
const MEMORY_NAP: Duration = Duration::from_millis(1);
/// How long a core with nothing to do sleeps at most.
const SLEEP_MAX: Duration = Duration::from_millis(1000);
/// A client that has ended its side and does not read what it is owed is let go after this time without progress.
pub(super) const FAREWELL_MS: i64 = 10_000;
/// Spare buffers, parts and waves kept for reuse.
const SPARE_MAX: usize = 256;

/// Everything a core is made of at start.
pub struct CoreParts {
    /// Which shard it owns.
    pub index: usize,
    /// Its shard, empty.
    pub shard: Box<Shard>,
    /// How it sees the others.
    pub links: Arc<SharedLinks>,
    /// To each shard's core (none to itself).
    pub senders: Vec<Option<Sender<Batch>>>,
    /// From each shard's core (none from itself).
    pub receivers: Vec<Option<Receiver<Batch>>>,
    /// Counters.
    pub observatory: Arc<Observatory>,
    /// The configuration.
    pub config: Arc<Config>,
    /// All users.
    pub users: Arc<Users>,
}

/// What goes out to one other core.
#[derive(Default)]
pub(super) struct Outgoing {
    pub requests: Vec<Box<Part>>,
    pub replies: Vec<Vec<Box<Part>>>,
    /// Request batches that have not come back.
    pub in_flight: usize,
    /// All that have been sent.
    pub sent: u64,
}

/// A data core.
pub struct Core {
    pub(super) index: usize,
    pub(super) shards: usize,
    pub(super) ring: Ring,
    pub(super) shard: Option<Box<Shard>>,
    pub(super) links: Arc<SharedLinks>,
    pub(super) senders: Vec<Option<Sender<Batch>>>,
    pub(super) receivers: Vec<Option<Receiver<Batch>>>,
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) observatory: Arc<Observatory>,
    pub(super) config: Arc<Config>,
    pub(super) users: Arc<Users>,
    pub(super) table: &'static CommandTable,
    pub(super) scripting: CoreScripts,
    pub(super) gates: Gates,

    pub(super) connections: Vec<Option<Box<Connection>>>,
    /// Next generation of each place.
    pub(super) generations: Vec<u32>,
    pub(super) free_places: Vec<u32>,
    pub(super) dirty: Vec<u32>,
    pub(super) ready: VecDeque<u32>,

    /// Transactions begun here that have not been put into the queues yet.
    pub(super) to_schedule: Vec<Arc<Transaction>>,
    /// What waits for a transaction or for answers, by the connection's place.
    pub(super) pending: HashMap<u32, Pending>,
    /// Transactions begun here and under way.
    pub(super) under_way: Vec<Arc<Transaction>>,
    /// Shards that are in hand for more than one step.
    pub(super) carried: Option<Carried>,
    /// What is to be done with all shards in hand.
    pub(super) chores_due: Vec<Chore>,
    /// The same, once a transaction has them.
    pub(super) chores: Vec<(Arc<Transaction>, Chore)>,
    /// Questions asked, by ticket.
    pub(super) tickets: HashMap<u64, Place>,
    pub(super) next_ticket: u64,
    /// Messages that need the shard while it is away.
    pub(super) deferred: Vec<CoreMessage>,

    /// The own shard while a blocked client is owed something of it that another shard is fetched for.
    pub(super) held_shard: Option<Box<Shard>>,
    /// The transaction that fetches it is under way.
    pub(super) fetching: bool,
    /// Requests of another core that are run no further until the own shard is back.
    pub(super) stalled: Option<(usize, Vec<Box<Part>>)>,
    /// Blocked clients of this core that have been served in this turn.
    pub(super) served: Vec<Served>,
    /// When blocked clients have waited long enough: Unix milliseconds, place of the connection.
    pub(super) deadlines: BTreeSet<(i64, u32)>,

    pub(super) spans: Vec<Span>,
    pub(super) items: Vec<Item>,
    /// Keys that are about to be looked up.
    pub(super) hints: Vec<Hint>,
    /// What the ring has brought and nobody has dealt with, the oldest at the end.
    pub(super) completions: Vec<Completion>,
    fresh: Vec<Completion>,
    /// What came for the connection whose script runs.
    late: Vec<Completion>,
    /// A script runs on this core.
    pub(super) runs_script: bool,
    /// Mail that has been taken and not been read.
    pub(super) inbox: VecDeque<CoreMessage>,
    pub(super) spare_buffers: Vec<Vec<u8>>,
    pub(super) spare_parts: Vec<Box<Part>>,
    pub(super) spare_vectors: Vec<Vec<Box<Part>>>,
    pub(super) spare_waves: Vec<Box<Wave>>,

    /// Unix milliseconds of this turn.
    pub(super) now: i64,
    /// Clock ticks at the end of the last command.
    pub(super) last_ticks: u64,
    pub(super) slow_ticks: u64,
    pub(super) next_tick_ms: i64,
    pub(super) cron_from: usize,
    /// What clients had sent and been sent at the last tick.
    pub(super) traffic: u64,
    pub(super) expiry: Expiry,
    pub(super) pace: Pace,
    /// A snapshot is to be begun with all shards in hand.
    pub(super) save_is_due: bool,
    pub(super) memory: Memory,
    pub(super) durable: Durable,
    /// The rewrite under way was begun while changes were written down.
    pub(super) rewrites_logs: bool,
    /// New append-only files that wait until no walk is under way.
    pub(super) cut_due: Option<Box<Rewrite>>,
    /// MIGRATEs under way, by the connection's place.
    pub(super) migrations: HashMap<u32, Box<Migrating>>,
    /// The moment after a MIGRATE in which the next one is awaited without sleep.
    pub(super) lingering: Lingering,
    /// MIGRATEs that go on copying in the next turn.
    pub(super) copying: Vec<Place>,
    /// A request waits for the next turn, in which more of its value is decoded.
    pub(super) decodes: bool,
    /// Links to other servers.
    pub(super) targets: Vec<Box<Target>>,
    /// Full copies that wait for the same.
    pub(super) stream_cuts: VecDeque<Box<Cut>>,
    /// The stream of the primary, on the first core of a replica.
    pub(super) feed: Option<Box<Feed>>,
    /// A stream has ended here, and it is not known yet at which offset; what waits for that.
    pub(super) feed_ends: bool,
    pub(super) feed_left: Vec<Chore>,
    /// That offset, while it is done.
    pub(super) feed_ended_at: Option<StreamPlace>,
    pub(super) role: Role,
    /// What runs on the own shard just now is the stream's.
    pub(super) replays: bool,
    pub(super) clients: Clients,
    pub(super) monitors: Arc<Vec<(u16, u64)>>,
    pub(super) pushing: Pushing,
    /// What monitors are to see of the script that has just run: itself and the commands it called.
    pub(super) script_lines: Vec<u8>,
    /// In cluster mode: who owns which slot.
    pub(super) slot_map: Option<Arc<SlotMap>>,
    /// The own shard has not been told yet.
    pub(super) slot_map_due: bool,
    /// What the own shard counts is to begin anew when it is back.
    pub(super) reset_due: bool,
    /// Slots of the own shard that another node has now, and whose keys go.
    pub(super) slots_to_drop: VecDeque<Slot>,
    pub(super) pause: Pause,
    /// Who waits for it to be in force.
    pub(super) pausing: Vec<Pausing>,
    pub(super) blocked_by_pause: Vec<u32>,
    pub(super) stopping: bool,
    /// Something follows when a send queued in this turn is over.
    pub(super) follow_up: bool,
    pub(super) slow_runs: Vec<SlowRun>,
    /// Clock ticks at the beginning of the turn.
    pub(super) turn_ticks: u64,
    /// The counter of commands when the last turn ended.
    processed: u64,
    pub(super) allocation: Allocation,
}

impl Core {
    /// Builds the core on its own thread.
    pub fn new(parts: CoreParts) -> std::io::Result<Self> {
        let ring = Ring::new()?;
        let shards = parts.links.shards();
        let parts_index = parts.index;
        parts.links.core(parts.index).set_wake(ring.wake_handle());
        let mut core = Core {
            index: parts.index,
            shards,
            ring,
            shard: Some(parts.shard),
            outgoing: (0..shards).map(|_| Outgoing::default()).collect(),
            links: parts.links,
            senders: parts.senders,
            receivers: parts.receivers,
            scripting: CoreScripts::new(parts.observatory.scripts.clone()),
            observatory: parts.observatory,
            config: parts.config,
            users: parts.users,
            table: commands(),
            gates: Gates::default(),
            connections: Vec::new(),
            generations: Vec::new(),
            free_places: Vec::new(),
            dirty: Vec::new(),
            ready: VecDeque::new(),
            to_schedule: Vec::new(),
            pending: HashMap::new(),
            under_way: Vec::new(),
            carried: None,
            chores_due: Vec::new(),
            chores: Vec::new(),
            tickets: HashMap::new(),
            next_ticket: 0,
            deferred: Vec::new(),
            held_shard: None,
            fetching: false,
            stalled: None,
            served: Vec::new(),
            deadlines: BTreeSet::new(),
            spans: Vec::new(),
            items: Vec::new(),
            hints: Vec::new(),
            completions: Vec::new(),
            fresh: Vec::new(),
            late: Vec::new(),
            runs_script: false,
            inbox: VecDeque::new(),
            spare_buffers: Vec::new(),
            spare_parts: Vec::new(),
            spare_vectors: Vec::new(),
            spare_waves: Vec::new(),
            now: unix_ms(),
            last_ticks: ticks(),
            slow_ticks: u64::MAX,
            next_tick_ms: 0,
            cron_from: 0,
            traffic: 0,
            expiry: Expiry::default(),
            pace: Pace::default(),
            save_is_due: false,
            memory: Memory::default(),
            durable: Durable::default(),
            rewrites_logs: false,
            cut_due: None,
            migrations: HashMap::new(),
            lingering: Lingering::default(),
            copying: Vec::new(),
            decodes: false,
            targets: Vec::new(),
            stream_cuts: VecDeque::new(),
            feed: None,
            feed_ends: false,
            feed_left: Vec::new(),
            feed_ended_at: None,
            role: Role::default(),
            replays: false,
            clients: Clients::default(),
            monitors: Arc::new(Vec::new()),
            pushing: Pushing::new(shards),
            script_lines: Vec::new(),
            slot_map: None,
            slot_map_due: false,
            reset_due: false,
            slots_to_drop: VecDeque::new(),
            pause: Pause::default(),
            pausing: Vec::new(),
            blocked_by_pause: Vec::new(),
            stopping: false,
            follow_up: false,
            slow_runs: Vec::new(),
            turn_ticks: ticks(),
            processed: 0,
            allocation: Allocation::of_this_thread(),
        };
        crate::base::sys::name_thread(&format!("shard-{}", parts_index));
        core.role.is_replica = core.observatory.replication.is_replica.load(Relaxed);
        core.configured();
        core.begin_loading();
        core.begin_turn();
        Ok(core)
    }

    /// Serves until told to stop.
    pub async fn run(mut self) {
        // Nothing else runs on this executor, so nothing is ever due to it: the guard of design is a count of zero.
        while !self.stopping {
            self.turn();
        }
        self.finish();
    }

    pub(super) fn link(&self) -> &CoreLink<Shard, Arc<Transaction>> {
        self.links.core(self.index)
    }

    #[inline]
    pub(super) fn counters(&self) -> &CoreCounters {
        self.observatory.core(self.index)
    }

    /// One turn.
    fn turn(&mut self) {
        self.submit_and_collect();
        self.counters().turns.add(1);
        // Mail first: what was said before a client wrote its request comes before the reply.
        if self.link().has_mail() {
            self.take_mail();
        }
        self.take_completions();
        if self.shards > 1 {
            if self.shard.is_some() && self.link().has_scheduled() {
                // Whoever has waited for the shard goes before it is lent again: transactions in a row would keep them
                // out for as long as they last.
                self.take_batches();
                self.run_ready();
            }
            self.take_scheduled();
            self.take_batches();
            self.take_complete();
        }
        if !self.deadlines.is_empty() {
            self.time_out();
        }
        self.run_ready();
        self.between_requests();
        self.publish();
        if self.shards > 1 {
            self.put_down();
            self.schedule();
            self.send_settled_mails();
        }
        if !self.served.is_empty() {
            self.take_served(); // before the messages that tell of the change
        }
        self.flush_pushes();
        if !self.served.is_empty() {
            self.take_served();
        }
        self.settle_own();
        if self.has_held_back() {
            self.flush_pushes();
            self.hold_back();
        }
        if self.shards > 1 {
            self.flush_outgoing();
            self.send_settled_mails(); // of what ran on borrowed shards
            if !self.served.is_empty() {
                self.take_served();
            }
        }
        self.flush_pushes();
        if self.feed.is_some() {
            self.settle_feed();
        }
        if !self.pausing.is_empty() {
            self.report_pauses();
        }
        self.send_dirty();
        if !self.slow_runs.is_empty() {
            self.write_slow_runs();
        }
        let spent = ticks().wrapping_sub(self.turn_ticks);
        let spent_ns = self.observatory.scale.ns(spent);
        self.counters().busy_ns.add(spent_ns);
        self.counters().longest_turn_ns.raise(spent_ns);
        let processed = self.counters().processed.get();
        let ran = processed.saturating_sub(self.processed);
        self.counters().commands_of_turn_max.raise(ran);
        self.processed = processed;
    }

    /// Hands operations to the kernel and waits for something to happen when there is nothing to do.
    fn submit_and_collect(&mut self) {
        // Requests that wait for a shard that is away are no reason to stay awake: its return wakes this core.
        let busy = std::mem::take(&mut self.follow_up)
            || (self.stalled.is_some() && self.shard.is_some())
            || self.held_shard.is_some()
            || (!self.ready.is_empty()
                && (self.shard.is_some() || self.gates.busy)
                && !self.pushing.choked)
            || self.has_background_work()
            || self.pushing.due
            || !self.to_schedule.is_empty()
            // This core may have been the last to arrive, after it looked for complete ones.
            || self.under_way.iter().any(|transaction| transaction.is_complete())
            || self.outgoing.iter().any(|out| !out.requests.is_empty() || !out.replies.is_empty())
            || !self.late.is_empty()
            || self.ring.has_completions();
        if busy {
            self.ring.turn(None);
            self.begin_turn();
            return;
        }
        if self.lingering.goes_on(self.last_ticks) {
            self.ring.turn(None);
            self.begin_turn();
            return;
        }
        let until_tick = (self.next_tick_ms - self.now).max(1) as u64;
        let mut limit = Duration::from_millis(until_tick).min(SLEEP_MAX);
        if let Some(&(until, _)) = self.deadlines.first() {
            limit = limit.min(Duration::from_millis((until - self.now).max(0) as u64));
        }
        let refuses = self.gates.loading && !self.ready.is_empty(); // some wait for the shard, others do not
        if refuses || self.memory.has_waiting() || self.pushing.choked {
            limit = limit.min(MEMORY_NAP);
        }
        if self.shards > 1 {
            if !self.lie_down() {
                self.ring.turn(None);
                self.begin_turn();
                return;
            }
            self.counters().sleeps.add(1);
            self.ring.turn(Some(limit));
            self.link().sleep.awake();
            self.regain_shard();
        } else {
            self.link().sleep.going_to_sleep();
            if self.link().has_mail() {
                self.link().sleep.awake();
                self.ring.turn(None);
            } else {
                self.counters().sleeps.add(1);
                self.ring.turn(Some(limit));
                self.link().sleep.awake();
            }
        }
        self.begin_turn();
    }

    /// Puts the shard into its berth, says that the core sleeps, and looks once more. False when there is something to
    /// do after all; then the shard is back, or away and wanted.
    fn lie_down(&mut self) -> bool {
        let link = self.links.core(self.index);
        let mut shard = self.shard.take();
        let stalled = self.stalled.is_some() || !self.ready.is_empty();
        let receivers = &mut self.receivers;
        let quiet =
            link.sleep.lie_down(
                &link.berth,
                &mut shard,
                self.config.borrow,
                |waiting| match waiting {
                    // Replies behind requests wait until those have run, which takes the shard.
                    Waiting::ForCore => {
                        link.has_mail()
                            || receivers.iter_mut().flatten().any(|receiver| {
                                receiver.is_first(|batch| matches!(batch, Batch::Replies(_)))
                            })
                    }
                    Waiting::ForShard => {
                        stalled
                            || link.has_scheduled()
                            || receivers
                                .iter_mut()
                                .flatten()
                                .any(|receiver| !receiver.is_empty())
                    }
                },
            );
        if let Some(shard) = shard {
            self.have_back(shard);
        }
        quiet
    }

    /// Takes the shard out of its berth; if it is away, whoever has it will wake this core.
    pub(super) fn regain_shard(&mut self) {
        if self.shard.is_none()
            && self.held_shard.is_none()
            && let Some(shard) = self.link().berth.take_or_want()
        {
            self.have_back(shard);
        }
    }

    /// The own shard is in hand again: it learns what has changed while it was away.
    pub(super) fn have_back(&mut self, mut shard: Box<Shard>) {
        shard.configure(&self.config);
        shard.expiry_paused = self.pause.until_ms > 0 || self.gates.loading;
        shard.follows = self.role.is_replica;
        if std::mem::take(&mut self.reset_due) {
            shard.reset_stats();
        }
        if self.slot_map_due {
            self.tell_slot_map(&mut shard);
        }
        self.end_unit(shard);
    }

    fn begin_turn(&mut self) {
        self.now = unix_ms();
        self.last_ticks = ticks();
        self.turn_ticks = self.last_ticks;
        self.gates.busy = self.scripting.scripts.is_busy();
        let config = &self.config;
        self.gates.trouble = self
            .observatory
            .snapshots
            .trouble(|| config.stop_writes_on_bgsave_error && !config.save.is_empty());
        self.look_at_writers();
        if self.shard.is_none() {
            self.regain_shard();
        }
        if let Some(shard) = &mut self.shard {
            shard.set_now(self.now);
        }
        if self.shard.is_some() && !self.deferred.is_empty() {
            for message in std::mem::take(&mut self.deferred) {
                self.on_message(message);
            }
        }
    }

    /// Deals with what the ring has brought. A script that runs too long comes here again from within: what is left of
    /// the turn it interrupts goes first.
    pub(super) fn take_completions(&mut self) {
        let mut fresh = std::mem::take(&mut self.fresh);
        self.ring.completions(&mut fresh);
        if fresh.len() > 1 {
            self.prefetch_first_keys(&fresh);
        }
        // In reverse, so that taking one from the end takes the oldest.
        let left = std::mem::take(&mut self.completions);
        self.completions.extend(fresh.drain(..).rev());
        self.fresh = fresh;
        if !self.runs_script {
            self.completions.extend(self.late.drain(..).rev());
        }
        self.completions.extend(left);
        while let Some(completion) = self.completions.pop() {
            if self.runs_script && self.is_away(&completion) {
                self.late.push(completion);
                continue;
            }
            match completion.operation {
                Operation::Receive => self.on_receive(completion),
                Operation::Send => self.on_sent(&completion),
                Operation::Sync => self.on_synced(&completion),
                Operation::Wake | Operation::Accept | Operation::Writable | Operation::Ignored => {}
            }
        }
    }

    /// Whether it is for the connection whose script runs, which is in hand further up.
    fn is_away(&self, completion: &Completion) -> bool {
        if !matches!(completion.operation, Operation::Receive | Operation::Send) {
            return false;
        }
        let place = Place::of_token(completion.token);
        let index = place.index as usize;
        self.connections.get(index).is_some_and(Option::is_none)
            && self.generations[index] == place.generation
    }

    /// What a core does for its clients while a script of its own runs too long: it reads, refuses what a busy server
    /// refuses, and sends.
    pub(super) fn busy_turn(&mut self) {
        self.now = unix_ms();
        self.counters().turns.add(1);
        self.gates.busy = self.scripting.scripts.is_busy();
        self.ring.turn(None);
        self.take_completions();
        if self.link().has_mail() {
            self.take_mail();
        }
        if self.shards > 1 {
            self.take_batches_while_busy();
        }
        self.run_ready();
        if self.has_held_back() {
            self.hold_back();
        }
        self.send_dirty();
    }

    /// The connection of a token, if it is still the same one.
    pub(super) fn take_connection(&mut self, place: Place) -> Option<Box<Connection>> {
        let slot = self.connections.get_mut(place.index as usize)?;
        match slot {
            Some(connection) if connection.place == place => slot.take(),
            _ => None,
        }
    }

    /// Puts a connection back as it is.
    pub(super) fn keep(&mut self, connection: Box<Connection>) {
        let index = connection.place.index as usize;
        self.connections[index] = Some(connection);
    }

    /// Puts a connection back after work on it; frees it when it has ended.
    pub(super) fn put_back(&mut self, mut connection: Box<Connection>) {
        let index = connection.place.index;
        if connection.leaving.is_some() {
            match self.hand_over(connection) {
                Some(staying) => connection = staying,
                None => return,
            }
        }
        if connection.output.blocks() > 0 {
            self.limit_output(&mut connection);
        }
        if connection.at_end && connection.blocked.is_some() {
            self.shut_down(&mut connection); // nobody is there to be served
        }
        if connection.at_end && !connection.has_work() {
            connection.ending = true; // all that came before the end has been executed
        }
        // A client that kills itself reads the answer to that first.
        let answer_due = connection.client.closing && connection.waiting;
        if connection.ending && !connection.closed && !answer_due && connection.output.is_done() {
            self.shut_down(&mut connection);
        }
        if connection.closed
            && !connection.receiving
            && !connection.output.is_sending()
            && !connection.waiting
        {
            self.free(connection);
            return;
        }
        if self.clients.are_limited() {
            self.count_client(&mut connection);
        }
        let sends = if self.durable.gating {
            if !self.durable.ungated && !connection.output.is_gated() {
                connection.output.gate_all(); // it was in hand when the others came under theirs
            }
            connection.output.has_more()
        } else {
            connection.output.can_send()
        };
        if sends && !connection.dirty && !connection.closed {
            connection.dirty = true;
            self.dirty.push(index);
        }
        self.connections[index as usize] = Some(connection);
    }

    /// Adds a connection to those whose kept input is executed next.
    pub(super) fn make_ready(&mut self, connection: &mut Connection) {
        if !connection.ready
            && !connection.waiting
            && !connection.held
            && !connection.ending
            && connection.pending_input() > 0
        {
            connection.ready = true;
            self.ready.push_back(connection.place.index);
        }
    }

    fn on_receive(&mut self, completion: Completion) {
        let place = Place::of_token(completion.token);
        if let Some(mut connection) = self.take_connection(place) {
            if !completion.more {
                connection.receiving = false;
            }
            if let Some(bytes) = completion.received.as_deref()
                && !bytes.is_empty()
            {
                self.counters().bytes_in.add(bytes.len() as u64);
                self.counters().reads.add(1);
                connection.bytes_in += bytes.len() as u64;
                if !connection.ending && !connection.closed {
                    connection.client.active_ms = self.now;
                    self.on_bytes(&mut connection, bytes);
                }
            } else {
                match -completion.result {
                    libc::ENOBUFS => self.ring.grow_buffers(),
                    libc::EINTR | libc::EAGAIN => {}
                    libc::ECANCELED => {} // held back: it is armed again below or when the wait is over
                    0 => {
                        // The client writes no more, but it may read on: `printf ... | nc` does.
                        connection.at_end = true;
                        connection.client.active_ms = self.now;
                    }
                    _ => {
                        // A failed connection: nobody reads replies that have not left yet.
                        connection.ending = true;
                        connection.output.clear();
                        self.shut_down(&mut connection);
                    }
                }
            }
            self.read_on(&mut connection);
            self.put_back(connection);
        } else {
            self.on_link_received(&completion);
        }
        if let Some(received) = completion.received {
            self.ring.recycle(received);
        }
    }

    /// Arms the receive of a connection that is to be read and is not.
    pub(super) fn read_on(&mut self, connection: &mut Connection) {
        let over = connection.closed || connection.ending || connection.at_end;
        if !connection.receiving
            && !over
            && connection.leaving.is_none()
            && !self.is_held_back(connection)
        {
            self.ring.receive(connection.fd, connection.place.token());
            connection.receiving = true;
        }
    }

    fn on_sent(&mut self, completion: &Completion) {
        let place = Place::of_token(completion.token);
        let mut block = self.ring.take_sent(completion.token);
        let Some(mut connection) = self.take_connection(place) else {
            self.on_link_sent(completion, block);
            return;
        };
        let sent = completion.result.max(0) as usize;
        let before = block.len() - connection.output.in_flight();
        self.counters().bytes_out.add(sent as u64);
        connection.bytes_out += sent as u64;
        if connection.at_end && sent > 0 {
            connection.client.active_ms = self.now;
        }
        let retry = completion.result == -libc::EAGAIN || completion.result == -libc::EINTR;
        if completion.result <= 0 && !retry {
            connection.output.sent(0);
            connection.output.clear();
            connection.ending = true;
            self.shut_down(&mut connection);
        } else if before + sent < block.len() {
            connection.output.sent(block.len() - before - sent);
            if connection.closed {
                connection.output.sent(0);
            } else {
                self.ring
                    .send(connection.fd, completion.token, block, before + sent, true);
                self.connections[place.index as usize] = Some(connection);
                return;
            }
        } else {
            connection.output.sent(0);
        }
        if self.spare_buffers.len() < SPARE_MAX && block.capacity() <= 16 * 1024 {
            block.clear();
            self.spare_buffers.push(block);
        }
        self.put_back(connection);
    }

    /// Hands every connection's output to the ring.
    pub(super) fn send_dirty(&mut self) {
        if self.dirty.is_empty() {
            return;
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        let stamp = self.links.stamps.next();
        for index in dirty.drain(..) {
            let Some(mut connection) = self.connections[index as usize].take() else {
                continue;
            };
            connection.dirty = false;
            if connection.output.can_send() && !connection.closed {
                let spare = &mut self.spare_buffers;
                let block = connection.output.take(|| spare.pop().unwrap_or_default());
                let rests = !connection.waiting && connection.wave.is_none();
                connection.sent = Sent {
                    stamp,
                    commands: if rests { connection.commands } else { 0 },
                };
                self.observatory.core(self.index).writes.add(1);
                self.ring
                    .send(connection.fd, connection.place.token(), block, 0, false);
                self.follow_up |=
                    connection.ending || connection.at_end || connection.output.has_more();
                if let Some(empty) = connection.output.release()
                    && self.spare_buffers.len() < SPARE_MAX
                {
                    self.spare_buffers.push(empty);
                }
            }
            self.connections[index as usize] = Some(connection);
        }
        self.dirty = dirty;
    }

    /// Executes kept input of connections that may go on, each at most once a turn.
    pub(super) fn run_ready(&mut self) {
        for _ in 0..self.ready.len() {
            self.run_first_ready();
        }
    }

    /// The same for the first of them.
    pub(super) fn run_first_ready(&mut self) {
        let Some(index) = self.ready.pop_front() else {
            return;
        };
        let Some(mut connection) = self.connections[index as usize].take() else {
            return;
        };
        connection.ready = false;
        let free = !connection.waiting && !connection.held;
        if free && !connection.ending && !connection.closed {
            if connection.client.primary {
                self.run_feed_input(&mut connection);
            } else {
                self.run_kept_input(&mut connection);
            }
        }
        self.put_back(connection);
    }

    /// Ends a connection: no more input, no more output; freed when the ring is through with it.
    pub(super) fn shut_down(&mut self, connection: &mut Connection) {
        if connection.closed {
            return;
        }
        connection.closed = true;
        connection.ending = true;
        connection.output.clear();
        connection.input = Vec::new();
        connection.input_at = 0;
        self.part_with(connection);
        crate::base::sys::shutdown_socket(connection.fd);
    }

    /// Forgets what is known of a connection elsewhere. It counts no longer: who has seen its end may open another.
    pub(super) fn part_with(&mut self, connection: &mut Connection) {
        let connected = &self.counters().connected;
        connected.set(connected.get().saturating_sub(1));
        self.link()
            .connections
            .fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        self.forget_watches(connection);
        self.leave_block(connection);
        self.discount_client(connection);
        self.forget_subscriptions(connection);
        self.forget_tracking(connection);
    }

    fn free(&mut self, connection: Box<Connection>) {
        crate::base::sys::close(connection.fd);
        self.vacate(connection.place);
        if connection.client.monitor {
            self.monitor_ended(connection.client.id);
        }
    }

    /// A place is free for the next one.
    pub(super) fn free_place(&mut self, place: Place) {
        self.generations[place.index as usize] = place.next().generation;
        self.free_places.push(place.index);
    }

    /// A client's connection has left its place.
    pub(super) fn vacate(&mut self, place: Place) {
        self.pending.remove(&place.index);
        self.free_place(place);
    }

    /// Keeps a part for reuse.
    pub(super) fn reuse_part(&mut self, mut part: Box<Part>) {
        if self.spare_parts.len() < SPARE_MAX {
            part.reset();
            self.spare_parts.push(part);
        }
    }

    /// Keeps a wave for reuse.
    pub(super) fn reuse_wave(&mut self, wave: Box<Wave>) {
        if self.spare_waves.len() < SPARE_MAX {
            self.spare_waves.push(wave);
        }
    }

    /// Shares what others read: key counts, memory.
    pub(super) fn publish(&mut self) {
        self.counters().allocated.set(self.allocation.balance());
        self.counters().enters.set(self.ring.enters());
        if let Some(shard) = &self.shard {
            super::background::publish_shard(self.observatory.core(self.index), shard);
        }
    }

    /// The server stops: replies that are ready leave, then the sockets close.
    fn finish(&mut self) {
        self.sync_at_end();
        self.send_dirty();
        self.ring.turn(None);
    }
}

/// Shards in hand for one step.
pub(super) type Held = Vec<Box<Shard>>;

impl Core {
    /// Gives shards back to where they belong.
    pub(super) fn give_back(&mut self, mut held: Held) {
        self.end_step(&mut held);
        for shard in held {
            let owner = shard.index;
            super::background::publish_shard(self.observatory.core(owner), &shard);
            if owner == self.index {
                self.have_back(shard);
                continue;
            }
            // A walk may have begun while it was away.
            let wake = shard.has_garbage() || shard.blocked.has_ready() || shard.walk().is_some();
            let link = self.links.core(owner);
            if link.berth.put(shard) || wake {
                self.wake(owner);
            }
        }
    }

    /// A step over these shards is over: what it has recorded is written down, what it has to say is said.
    pub(super) fn end_step(&mut self, held: &mut Held) {
        self.settle_all(held);
        for shard in held {
            shard.replaying = shard.index == self.index && self.replays;
            if shard.news.has_some() {
                self.take_news(shard, 0);
            }
        }
    }

    /// Wakes another core if it sleeps.
    pub(super) fn wake(&mut self, core: usize) {
        let link = self.links.core(core);
        if link.sleep.must_be_woken()
            && let Some(handle) = link.wake_handle()
        {
            if core == self.shards {
                handle.wake();
            } else {
                self.ring.wake(handle);
            }
        }
    }
}
