//! Blocked clients: who waits, who is served, who gives up.
//!
//! A command that finds nothing says so by `Shards::block`; its client is registered with the keys on the shards that are
//! at hand, in the same step (`register`), and its connection waits. A unit that changes such a key makes it ready. When
//! the unit ends, and before anything else runs on that shard, `serve` runs the requests of those who wait again, in the
//! order of blocking, until nobody can be served: on whatever core the unit ran. The reply goes to the client's home core.
//!
//! BLMOVE needs the shard of its target too. Where that is not at hand, the key stays ready and its shard is *held*: it
//! goes home, where nothing runs on it but transactions that stand before one which fetches what is missing. Such a
//! transaction serves first when it has what that takes, and else comes back with the missing shard as one more
//! participant. So nobody sees an element that belongs to a blocked client.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::base::clock::{ticks, unix_ms};
use crate::base::slot::key_slot;
use crate::command::spec::{Flags, Run};
use crate::command::table::Registered;
use crate::keyspace::blocked::{Awaits, Ready, Wait, Waiter};
use crate::mesh::Place;
use crate::mesh::message::CoreMessage;
use crate::net::{Blocking, Connection};
use crate::resp::request::{Args, Key, OwnedArgs};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Shard, Shards};
use crate::transaction::{Transaction, Work};

use super::core::{Core, Held};

/// What a blocked client is owed: by whom it was served, and the reply.
pub(super) struct Served {
    pub place: Place,
    pub waiter: Arc<Waiter>,
    pub reply: Vec<u8>,
}

impl Core {
    // Blocking.

    /// Registers a client with the keys it waits for; all their shards are at hand, as its command has just run on them.
    pub(super) fn register(
        &mut self,
        held: &mut [&mut Shard],
        home: usize,
        place: Place,
        command: &'static Registered,
        args: &Args<'_>,
        mut wait: Wait,
    ) -> Arc<Waiter> {
        let again = wait.again.take();
        let again = again.unwrap_or_else(|| OwnedArgs::copy_of(args));
        let (caller, place) = (args.caller, place.token());
        let waiter = Waiter::new(home, place, command.id, again, caller, wait);
        let waiter = Arc::new(waiter);
        for key in waiter.keys() {
            let owner = self.owner_of(key);
            if let Some(shard) = held.iter_mut().find(|shard| shard.index == owner) {
                shard.blocked.add(caller.db, key, &waiter);
            }
        }
        waiter
    }

    /// A connection begins to wait for data.
    pub(super) fn begin_to_wait(&mut self, connection: &mut Connection, waiter: Arc<Waiter>) {
        let blocking = Blocking {
            command: self.table.by_id(waiter.command),
            until: waiter.wait.until,
            waiter: Some(waiter),
            timed_out: Vec::new(),
            awaiting: None,
        };
        self.block(connection, blocking);
        if self.slot_map.is_some() {
            self.send_away_if_moved(connection); // its slot may have gone while it was on its way
        }
    }

    /// A connection begins to wait.
    pub(super) fn block(&mut self, connection: &mut Connection, blocking: Blocking) {
        assert!(connection.blocked.is_none(), "a client blocks once");
        connection.waiting = true;
        self.counters().blocked.add(1);
        if let Some(until) = blocking.until {
            self.deadlines.insert((until, connection.place.index));
            self.counters().timed.set(self.deadlines.len() as u64);
        }
        connection.blocked = Some(Box::new(blocking));
        self.read_on(connection); // it may have been held back while its command was on its way
    }

    /// Its command blocked on another core, which the part says that has come back. It may have been served already.
    pub(super) fn blocked_afar(&mut self, connection: &mut Connection, waiter: Arc<Waiter>) {
        let served = connection.served.take();
        if connection.closed {
            if waiter.win() {
                self.depart(&mut [], &waiter);
            }
        } else if let Some((_, reply)) = served.filter(|(whose, _)| Arc::ptr_eq(whose, &waiter)) {
            self.write_reply(connection, |out| out.buffer().extend_from_slice(&reply));
            self.resume(connection);
        } else {
            self.begin_to_wait(connection, waiter);
        }
    }

    /// A connection waits no longer.
    fn unblock(&mut self, connection: &mut Connection) -> Option<Box<Blocking>> {
        let blocking = connection.blocked.take()?;
        connection.waiting = false;
        let blocked = self.counters().blocked.get();
        self.counters().blocked.set(blocked.saturating_sub(1));
        if let Some(until) = blocking.until {
            self.deadlines.remove(&(until, connection.place.index));
            self.counters().timed.set(self.deadlines.len() as u64);
        }
        Some(blocking)
    }

    // Giving up.

    /// Takes a client's waiter, unless somebody serves it just now: then the reply is on its way.
    pub(super) fn recall(&mut self, connection: &Connection) -> bool {
        let Some(blocking) = &connection.blocked else {
            return false;
        };
        match blocking.waiter.clone() {
            None => true,
            Some(waiter) => {
                let won = waiter.win();
                if won {
                    self.depart(&mut [], &waiter);
                }
                won
            }
        }
    }

    /// A connection ends: nobody is to serve it any more.
    pub(super) fn leave_block(&mut self, connection: &mut Connection) {
        self.recall(connection);
        let blocking = self.unblock(connection);
        if let Some(awaiting) = blocking.and_then(|blocking| blocking.awaiting) {
            self.stop_awaiting(connection.place, awaiting.number);
        }
    }

    /// Answers the blocked clients whose time has come.
    pub(super) fn time_out(&mut self) {
        while let Some(&(until, index)) = self.deadlines.first()
            && until <= self.now
        {
            self.deadlines.pop_first();
            self.counters().timed.set(self.deadlines.len() as u64);
            let Some(mut connection) = self.connections[index as usize].take() else {
                continue;
            };
            if self.recall(&connection) {
                self.give_up(&mut connection, None);
            }
            self.put_back(connection);
        }
    }

    /// What a client that waits for no data has waited for has come; `write` says so.
    pub(super) fn end_wait(
        &mut self,
        connection: &mut Connection,
        write: impl FnOnce(&mut Reply<'_>),
    ) {
        if let Some(blocking) = self.unblock(connection) {
            self.count_served(&blocking);
            self.write_reply(connection, write);
            self.resume(connection);
        }
    }

    /// A command that has blocked is over and counts as run.
    fn count_served(&self, blocking: &Blocking) {
        let counters = self.counters();
        let of_command = &counters.commands[usize::from(blocking.command.id)];
        counters.processed.add(1);
        of_command.ran(0, self.observatory.scale, self.config.latency_tracking);
    }

    /// CLIENT UNBLOCK: whether this core has such a client and it was blocked.
    pub(super) fn unblock_client(&mut self, client: u64, error: bool) -> bool {
        let place = self
            .connections
            .iter()
            .flatten()
            .find(|connection| connection.client.id == client && connection.can_be_unblocked())
            .map(|connection| connection.place);
        let Some(mut connection) = place.and_then(|place| self.take_connection(place)) else {
            return false;
        };
        let won = self.recall(&connection);
        if won {
            let error = error.then_some(&ErrorReply::UNBLOCKED);
            self.give_up(&mut connection, error);
        }
        self.put_back(connection);
        won
    }

    /// A client's user has changed. One that may not run its command any more reads so now, not when it would be served.
    pub(super) fn ask_blocked_again(&mut self, connection: &mut Connection) {
        let Some(waiter) = connection
            .blocked
            .as_ref()
            .and_then(|blocking| blocking.waiter.clone())
        else {
            return;
        };
        let command = self.table.by_id(waiter.command);
        let args = waiter.args.args(waiter.caller);
        let Some(error) = self.refused(connection, command, &args) else {
            return;
        };
        if self.recall(connection) {
            self.unblock(connection);
            self.counters().commands[usize::from(command.id)]
                .rejected
                .add(1);
            self.write_error(connection, &error);
            self.resume(connection);
        }
    }

    /// A client that has been recalled is answered: as if its time had come, or by an error. The command counts as run.
    pub(super) fn give_up(&mut self, connection: &mut Connection, error: Option<&ErrorReply>) {
        if error.is_none() && self.ask_for_outcome(connection) {
            return;
        }
        let Some(blocking) = self.unblock(connection) else {
            return;
        };
        if let Some(awaiting) = &blocking.awaiting {
            self.stop_awaiting(connection.place, awaiting.number);
        }
        self.count_served(&blocking);
        match error {
            Some(error) => {
                self.counters().commands[usize::from(blocking.command.id)]
                    .failed
                    .add(1);
                self.write_error(connection, error);
            }
            None if blocking.waiter.is_some() => {
                self.write_reply(connection, |reply| reply.null_array());
            }
            None => self.write_reply(connection, |reply| {
                reply.buffer().extend_from_slice(&blocking.timed_out);
            }),
        }
        self.resume(connection);
    }

    /// A waiter is over: takes it off its keys, here and by messages.
    fn depart(&mut self, held: &mut [&mut Shard], waiter: &Arc<Waiter>) {
        let mut told: SmallVec<[usize; 8]> = SmallVec::new();
        for key in waiter.keys() {
            let owner = self.owner_of(key);
            if let Some(shard) = held.iter_mut().find(|shard| shard.index == owner) {
                shard.blocked.remove(waiter.caller.db, key, waiter);
            } else if !told.contains(&owner) {
                told.push(owner);
            }
        }
        for owner in told {
            let message = CoreMessage::Depart(waiter.clone());
            if owner == self.index {
                self.on_message(message);
            } else {
                self.links.core(owner).mail(message);
                self.wake(owner);
            }
        }
    }

    /// A waiter leaves the keys of this core's shard.
    pub(super) fn on_depart(&mut self, waiter: Arc<Waiter>) {
        let Some(mut shard) = self.shard.take() else {
            self.deferred.push(CoreMessage::Depart(waiter));
            return;
        };
        for key in waiter.keys() {
            if self.owner_of(key) == self.index {
                shard.blocked.remove(waiter.caller.db, key, &waiter);
            }
        }
        self.shard = Some(shard);
    }

    fn owner_of(&self, key: &[u8]) -> usize {
        usize::from(key_slot(key)) % self.shards
    }

    // Serving.

    /// The own shard after a unit: back in its place, once nobody is owed anything of it.
    #[inline]
    pub(super) fn end_unit(&mut self, shard: Box<Shard>) {
        if shard.blocked.has_ready() {
            self.serve_and_keep(shard);
        } else {
            self.shard = Some(shard);
        }
    }

    #[cold]
    fn serve_and_keep(&mut self, mut shard: Box<Shard>) {
        self.serve(&mut [&mut shard]);
        if shard.blocked.has_ready() {
            self.hold(shard);
        } else {
            self.shard = Some(shard);
        }
    }

    /// The same for shards in hand for one step. True when nobody is owed anything of them.
    pub(super) fn serve_held(&mut self, held: &mut Held) -> bool {
        if held.iter().any(|shard| shard.blocked.has_ready()) {
            let mut at_hand: Vec<&mut Shard> = held.iter_mut().map(|shard| &mut **shard).collect();
            self.serve(&mut at_hand);
        }
        !held.iter().any(|shard| shard.blocked.has_ready())
    }

    /// Serves those who wait for the keys that a unit has changed, and for the keys that this changes in turn, until
    /// nobody can be served with the shards at hand. Keys that need another shard are ready still.
    pub(super) fn serve(&mut self, held: &mut [&mut Shard]) {
        // The unit may have taken long (a big EXEC, DEBUG SLEEP in it); what has expired meanwhile serves nobody.
        let now = unix_ms();
        // What is due to those who blocked here is so even while a primary's stream runs, which says itself what goes.
        let replaying = held.iter().any(|shard| shard.replaying);
        held.iter_mut().for_each(|shard| {
            shard.set_now(now);
            shard.replaying = false;
        });
        let mut unserved: Vec<(usize, Ready)> = Vec::new();
        loop {
            let next = held
                .iter()
                .enumerate()
                .filter_map(|(at, shard)| Some((shard.blocked.next_ready()?, at)))
                .min();
            let Some((_, at)) = next else {
                break;
            };
            if let Some(mut ready) = held[at].blocked.take_ready() {
                ready.needs = self.serve_key(held, at, &ready);
                if ready.needs.is_some() {
                    unserved.push((at, ready));
                }
            }
        }
        for (at, ready) in unserved.into_iter().rev() {
            held[at].blocked.put_back(ready);
        }
        held.iter_mut()
            .for_each(|shard| shard.replaying = replaying);
    }

    /// Serves those who wait for one key, in the order of blocking. Gives the shard that is missing for the first who
    /// could be served, if one is.
    fn serve_key(&mut self, held: &mut [&mut Shard], at: usize, ready: &Ready) -> Option<u16> {
        let (db, key) = (ready.db as usize, Key::new(&ready.key));
        held[at].blocked.begin(ready);
        let mut place = 0;
        while let Some((found, waiter)) = held[at].blocked.waiter(ready, place) {
            place = found;
            let shard = &held[at];
            let entry = shard.keyspace.find(db, &key);
            let serves = entry
                .filter(|entry| !shard.is_due(entry))
                .and_then(|entry| entry.boxed())
                .and_then(Awaits::of);
            if serves != Some(waiter.wait.awaits) && !waiter.wait.when_gone {
                if serves.is_none() && !shard.blocked.wants_gone(ready) {
                    return None; // nothing is left for anybody
                }
                place += 1;
                continue;
            }
            if let Some(target) = waiter.wait.target {
                let args = waiter.args.args(waiter.caller);
                let owner = self.owner_of(args.get(target as usize));
                if held.iter().all(|shard| shard.index != owner) {
                    return Some(owner as u16);
                }
            }
            if !self.run_again(held, &waiter) {
                place += 1;
            }
        }
        None
    }

    /// Runs a blocked client's request again. False when it goes on waiting.
    fn run_again(&mut self, held: &mut [&mut Shard], waiter: &Arc<Waiter>) -> bool {
        let command = self.table.by_id(waiter.command);
        let Run::Plan(plan) = command.spec.run else {
            unreachable!("only plans block, {} is none", command.name);
        };
        if self.is_short() && command.spec.flags.has(Flags::DENYOOM) {
            held.iter_mut().for_each(|shard| self.make_room_on(shard));
        }
        self.last_ticks = ticks();
        let args = waiter.args.args(waiter.caller);
        let mut at_hand: Vec<&mut Shard> = held.iter_mut().map(|shard| &mut **shard).collect();
        let is_step = at_hand.len() > 1 && Self::begin_unit_on(&mut at_hand);
        let mut shards = Shards::for_waiter(&mut at_hand, self.shards, waiter);
        shards.iter_mut().for_each(|shard| shard.effects.begin());
        let mut out = Vec::new();
        let outcome = plan(
            &mut shards,
            &args,
            &mut Reply::new(&mut out, args.caller.resp3),
        );
        for shard in shards.iter_mut() {
            shard.effects.end(&args);
            if shard.news.has_some() {
                self.take_news(shard, args.caller.client);
            }
        }
        if is_step {
            self.end_unit_on(shards.all());
        }
        if outcome.is_ok() && shards.take_wait().is_some() {
            self.last_ticks = ticks();
            return false;
        }
        if !shards.claim() {
            return true; // its time has come, or it has gone
        }
        if let Err(error) = outcome {
            self.failed(command, &error, &mut out, 0);
        }
        if held.iter().any(|shard| shard.slot_costs.is_some()) {
            let shards = held.iter_mut().map(|shard| &mut **shard);
            self.charge(shards, command, &args, out.len());
        }
        self.ran(command, &args);
        self.depart(held, waiter);
        let place = Place::of_token(waiter.place);
        let home = usize::from(waiter.home);
        let served = Served {
            place,
            waiter: waiter.clone(),
            reply: out,
        };
        if home == self.index {
            self.served.push(served);
        } else {
            let message = CoreMessage::Served {
                place: served.place,
                waiter: served.waiter,
                reply: served.reply,
            };
            self.mail_later(home, message);
        }
        true
    }

    /// Hands the clients of this core what they were served.
    pub(super) fn take_served(&mut self) {
        for served in std::mem::take(&mut self.served) {
            self.on_served(served);
        }
    }

    /// A client of this core has been served.
    pub(super) fn on_served(&mut self, served: Served) {
        let Served {
            place,
            waiter,
            reply,
        } = served;
        let Some(mut connection) = self.take_connection(place) else {
            return; // it has gone after it was served
        };
        let waits_for_it = connection.blocked.as_ref().is_some_and(|blocking| {
            blocking
                .waiter
                .as_ref()
                .is_some_and(|known| Arc::ptr_eq(known, &waiter))
        });
        if waits_for_it {
            self.unblock(&mut connection);
            self.write_reply(&mut connection, |out| {
                out.buffer().extend_from_slice(&reply)
            });
            self.resume(&mut connection);
        } else if connection.wave.is_some() {
            // The part that tells of the blocking is still on its way.
            connection.served = Some((waiter, reply));
        }
        self.put_back(connection);
    }

    // Holding.

    /// Keeps the own shard from everybody until what a blocked client is owed has been brought to another shard.
    pub(super) fn hold(&mut self, shard: Box<Shard>) {
        assert!(self.held_shard.is_none(), "a core has one shard");
        if !self.fetching {
            let mut participants: Vec<u16> = shard.blocked.needs().collect();
            participants.push(self.index as u16);
            participants.sort_unstable();
            participants.dedup();
            self.fetching = true;
            self.counters().transactions.add(1);
            let transaction = Transaction::new(
                self.index,
                Place::NOWHERE,
                participants,
                Work::Lend,
                self.now,
            );
            self.to_schedule.push(Arc::new(transaction));
        }
        self.held_shard = Some(shard);
    }

    /// All shards of a transaction that serves blocked clients of this shard are in hand.
    pub(super) fn fetched(&mut self, mut held: Held) {
        self.fetching = false;
        self.serve_held(&mut held);
        self.give_back(held);
    }

    /// A transaction has met keys that others are owed and cannot serve them: it comes back with the shards for that too.
    pub(super) fn come_back(&mut self, transaction: &Transaction, held: Held) {
        let mut participants = transaction.participants.clone();
        for shard in &held {
            participants.extend(shard.blocked.needs());
        }
        participants.sort_unstable();
        participants.dedup();
        self.give_back(held);
        let again = Transaction::new(
            transaction.home,
            transaction.place,
            participants,
            Work::Lend,
            self.now,
        );
        self.to_schedule.push(Arc::new(again));
    }
}
