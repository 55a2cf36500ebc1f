//! Cluster mode on a data core: who owns which slot, and what becomes of requests for slots that are not served here.
//!
//! The home core of a client looks up one bit for each request. What it does not find served goes through
//! `cluster/route.rs`: sent elsewhere, refused, or served after all. Where the answer depends on which keys are there, the
//! core decides that has the shard in hand. Each shard carries the map as of the moment at which it was told; whoever runs
//! something on a shard of another core asks that one again. So nothing is done on a slot that has been given away,
//! however long a request was on its way, and a request sees one map.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::base::slot::{SLOTS, Slot, key_slot};
use crate::cluster::route::{self, Presence, Request};
use crate::cluster::{SlotMap, SlotSet};
use crate::command::client::Client;
use crate::command::keys::routed_places;
use crate::command::spec::{Flags, Run};
use crate::command::table::Registered;
use crate::command::transactions::is_exec;
use crate::mesh::message::{BusMessage, CoreAnswer, CoreMessage};
use crate::net::Connection;
use crate::pubsub::{Topic, confirmation};
use crate::resp::request::{Args, Caller};
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shard;

use super::core::{Core, Held};

/// Keys of lost slots that are deleted between two turns.
const DROP_STEP: usize = 256;

pub(super) type Keys<'a> = SmallVec<[&'a [u8]; 8]>;

/// What the home core finds.
pub(super) enum Judgement {
    /// It runs here, or the core that has its shard decides.
    GoOn,
    /// The own shard must be asked, and is away.
    Wait,
    /// It does not run here.
    Refused(ErrorReply),
}

/// How a request wants to be routed.
fn request_of(flags: Flags, caller: &Caller, is_write: bool) -> Request {
    Request {
        is_write,
        is_pubsubshard: flags.has(Flags::SHARDED),
        is_migrate: flags.has(Flags::MOVES_KEYS),
        is_asking: caller.asking || flags.has(Flags::ASKING),
        is_readonly: caller.readonly,
        is_tls: false,
    }
}

pub(super) fn keys_of<'a>(command: &Registered, args: &Args<'a>, keys: &mut Keys<'a>) {
    if let Some(places) = routed_places(command.spec, args) {
        // MIGRATE has an empty word in the place of the key where its keys come last.
        let comes_last = command.spec.flags.has(Flags::MOVES_KEYS) && places.len() > 1;
        let places = places.iter().skip(usize::from(comes_last));
        keys.extend(places.map(|(place, _)| args.get(*place as usize)));
    }
}

/// What is there of the keys.
fn presence(shard: &Shard, keys: &[&[u8]]) -> Presence {
    let present = keys.iter().filter(|key| shard.has_key(key)).count();
    Presence {
        present,
        missing: keys.len() - present,
    }
}

/// Decides with the shard in hand.
fn judge_on(shard: &Shard, keys: &[&[u8]], request: &Request) -> Result<(), ErrorReply> {
    let Some(map) = &shard.slot_map else {
        return Ok(());
    };
    let Some(placed) = route::place(map, keys.iter().copied())? else {
        return Ok(());
    };
    let there = match placed.needs_presence(request) {
        true => presence(shard, keys),
        false => Presence::default(),
    };
    route::decide(map, &placed, request, there)
}

impl Core {
    /// Whether a request may change data, as the cluster sees it: a script that says what it does is taken at its word.
    fn may_write(&self, command: &Registered, args: &Args<'_>) -> bool {
        match command.spec.run {
            Run::Script { .. } => self.is_writing_script(command, args),
            _ => command.spec.flags.has(Flags::WRITE),
        }
    }

    /// A request whose slot is not simply served, on its client's core.
    #[cold]
    pub(super) fn judge_one(
        &self,
        client: &Client,
        command: &'static Registered,
        args: &Args<'_>,
    ) -> Judgement {
        let Some(map) = self.slot_map.as_ref().filter(|_| !client.primary) else {
            return Judgement::GoOn;
        };
        let mut keys = Keys::new();
        keys_of(command, args, &mut keys);
        if keys.is_empty() {
            return Judgement::GoOn;
        }
        let is_write = self.may_write(command, args);
        let request = request_of(command.spec.flags, &client.caller(), is_write);
        self.judge_keys(map, &keys, &request)
    }

    fn judge_keys(&self, map: &SlotMap, keys: &[&[u8]], request: &Request) -> Judgement {
        let placed = match route::place(map, keys.iter().copied()) {
            Ok(Some(placed)) => placed,
            Ok(None) => return Judgement::GoOn,
            Err(error) => return Judgement::Refused(error),
        };
        let mut there = Presence::default();
        if placed.needs_presence(request) {
            if usize::from(placed.slot) % self.shards != self.index {
                return Judgement::GoOn; // its core decides
            }
            match &self.shard {
                Some(shard) => there = presence(shard, keys),
                None => return Judgement::Wait,
            }
        }
        match route::decide(map, &placed, request, there) {
            Ok(()) => Judgement::GoOn,
            Err(error) => Judgement::Refused(error),
        }
    }

    /// EXEC, on its client's core: judged by the keys of all that is queued.
    #[cold]
    pub(super) fn judge_exec(&self, client: &Client) -> Judgement {
        let (Some(map), Some(multi)) = (&self.slot_map, &client.multi) else {
            return Judgement::GoOn;
        };
        let caller = client.caller();
        let (mut keys, mut is_write, mut flags) = (Keys::new(), false, Flags::NONE);
        for queued in &multi.queue {
            let args = queued.args.args(caller);
            keys_of(queued.command, &args, &mut keys);
            is_write |= self.may_write(queued.command, &args);
            flags = flags.and(queued.command.spec.flags);
        }
        let request = Request {
            is_pubsubshard: false,
            is_migrate: false,
            ..request_of(flags, &caller, is_write)
        };
        match client.primary {
            true => Judgement::GoOn,
            false => self.judge_keys(map, &keys, &request),
        }
    }

    /// Commands that are to run together on shards in hand: why they do not, if so.
    pub(super) fn refused_on<'a>(
        &self,
        held: &[Box<Shard>],
        caller: &Caller,
        commands: impl Iterator<Item = (&'static Registered, Args<'a>)>,
    ) -> Option<ErrorReply> {
        if self.slot_map.is_none() || caller.primary {
            return None;
        }
        let (mut keys, mut is_write, mut flags, mut count) = (Keys::new(), false, Flags::NONE, 0);
        for (command, args) in commands {
            keys_of(command, &args, &mut keys);
            is_write |= self.may_write(command, &args);
            flags = flags.and(command.spec.flags);
            count += 1;
        }
        let mut request = request_of(flags, caller, is_write);
        if count > 1 {
            (request.is_pubsubshard, request.is_migrate) = (false, false);
        }
        let owner = usize::from(key_slot(keys.first()?)) % self.shards;
        let shard = held.iter().find(|shard| shard.index == owner)?;
        judge_on(shard, &keys, &request).err()
    }

    /// A request that has come to a shard which does not simply serve its slot.
    #[cold]
    pub(super) fn refused_there(
        &self,
        shard: &Shard,
        command: &'static Registered,
        args: &Args<'_>,
    ) -> Option<ErrorReply> {
        if args.caller.primary {
            return None;
        }
        let mut keys = Keys::new();
        keys_of(command, args, &mut keys);
        let is_write = self.may_write(command, args);
        let request = request_of(command.spec.flags, &args.caller, is_write);
        judge_on(shard, &keys, &request).err()
    }

    /// A key that a running script is about to use: what is wrong with that.
    #[cold]
    pub(super) fn refused_in_script(
        &self,
        held: &[Box<Shard>],
        command: &'static Registered,
        args: &Args<'_>,
    ) -> Option<ErrorReply> {
        let commands = std::iter::once((command, *args));
        self.refused_on(held, &args.caller, commands)
    }

    // The map.

    /// Takes over a map: from here on requests are judged by it.
    pub(super) fn take_slot_map(&mut self, map: Arc<SlotMap>) {
        self.slot_map = Some(map);
        self.slot_map_due = true;
        if let Some(mut shard) = self.shard.take() {
            self.tell_slot_map(&mut shard);
            self.shard = Some(shard);
        }
        self.send_moved_away();
    }

    /// Lets the own shard, which is in hand, know the map.
    pub(super) fn tell_slot_map(&mut self, shard: &mut Shard) {
        if !std::mem::take(&mut self.slot_map_due) {
            return;
        }
        shard.slot_map.clone_from(&self.slot_map);
        if let (Some(costs), Some(map)) = (&mut shard.slot_costs, &self.slot_map) {
            costs.retain(self.index, |slot| map.is_of_my_group(slot));
        }
        // What a slot held when it was lost must not be there when it comes back.
        let Some(map) = &self.slot_map else {
            return;
        };
        let returned: Vec<Slot> = self
            .slots_to_drop
            .iter()
            .copied()
            .filter(|slot| map.is_here(*slot))
            .collect();
        for slot in returned {
            while shard.drop_keys_of_slot(slot, DROP_STEP) {}
            self.slots_to_drop.retain(|one| *one != slot);
        }
    }

    /// Blocked clients whose slots have gone, or cannot be served, are told where to go.
    fn send_moved_away(&mut self) {
        let blocked: Vec<_> = self
            .connections
            .iter()
            .flatten()
            .filter(|connection| connection.blocked.is_some() && !connection.closed)
            .map(|connection| connection.place)
            .collect();
        for place in blocked {
            if let Some(mut connection) = self.take_connection(place) {
                self.send_away_if_moved(&mut connection);
                self.put_back(connection);
            }
        }
    }

    /// The same for one.
    pub(super) fn send_away_if_moved(&mut self, connection: &mut Connection) {
        let Some(map) = self.slot_map.clone() else {
            return;
        };
        let Some(waiter) = connection
            .blocked
            .as_ref()
            .and_then(|blocking| blocking.waiter.clone())
        else {
            return;
        };
        let command = self.table.by_id(waiter.command);
        let is_write = command.spec.flags.has(Flags::WRITE);
        let request = request_of(command.spec.flags, &waiter.caller, is_write);
        let error = waiter
            .keys()
            .find_map(|key| route::unblock(&map, key_slot(key), &request));
        if let Some(error) = error
            && self.recall(connection)
        {
            self.give_up(connection, Some(&error));
        }
    }

    // Keys and subscribers of slots.

    /// Keys of these slots are another node's now.
    pub(super) fn on_drop_keys(&mut self, slots: &SlotSet) {
        let mine = (self.index..SLOTS).step_by(self.shards);
        let lost = mine
            .map(|slot| slot as Slot)
            .filter(|slot| slots.contains(*slot));
        let lost: Vec<Slot> = lost.collect();
        self.slots_to_drop.extend(lost);
    }

    /// Deletes some of them; a bounded bit of background work.
    #[cold]
    pub(super) fn drop_some_keys(&mut self) {
        let Some(mut shard) = self.shard.take() else {
            return;
        };
        if let Some(slot) = self.slots_to_drop.front().copied()
            && !shard.drop_keys_of_slot(slot, DROP_STEP)
        {
            self.slots_to_drop.pop_front();
        }
        if shard.news.has_some() {
            self.take_news(&mut shard, 0);
        }
        self.end_unit(shard);
    }

    /// CLUSTER RESET of a replica deletes everything.
    pub(super) fn on_drop_all_keys(&mut self) {
        self.begin_chore(|_, held| {
            for shard in held.iter_mut() {
                shard.touch_watched_keys_of(0);
                shard.flush_db(0);
                shard.blocked.signal_db(0);
                shard.effects.record_aside(0, &[b"FLUSHALL"]);
            }
        });
    }

    /// How many keys there are, in one slot or at all. `None` while the shard is away.
    pub(super) fn count_keys(&self, slot: Option<Slot>) -> Option<CoreAnswer> {
        let shard = self.shard.as_ref()?;
        Some(CoreAnswer::Count(match slot {
            Some(slot) => shard.slot_len(slot),
            None => shard.keyspace.db(0).keys(),
        }))
    }

    /// In which slots there are keys. `None` while the shard is away.
    pub(super) fn slots_with_keys(&self) -> Option<CoreAnswer> {
        let shard = self.shard.as_ref()?;
        let slots = (0..SLOTS as Slot).filter(|slot| shard.slot_len(*slot) > 0);
        Some(CoreAnswer::Slots(Box::new(slots.collect())))
    }

    /// A message from another node: all who listen here get it.
    pub(super) fn on_bus_message(&mut self, message: Box<BusMessage>) {
        let Some(mut shard) = self.shard.take() else {
            self.deferred.push(CoreMessage::BusDeliver(message));
            return;
        };
        let topic = match message.is_sharded {
            true => Topic::Shard,
            false => Topic::Channel,
        };
        shard.publish(topic, &message.channel, &message.message);
        self.take_news(&mut shard, 0);
        self.shard = Some(shard);
    }

    /// Subscribers of sharded channels of these slots have to look elsewhere.
    pub(super) fn on_drop_subscribers(&mut self, slots: &SlotSet) {
        let subscribed: Vec<_> = self
            .connections
            .iter()
            .flatten()
            .filter(|connection| connection.client.subscriptions(Topic::Shard) > 0)
            .map(|connection| connection.place)
            .collect();
        for place in subscribed {
            let Some(mut connection) = self.take_connection(place) else {
                continue;
            };
            let lost: Vec<Box<[u8]>> = connection
                .client
                .subscriptions
                .iter()
                .flat_map(|all| all.of(Topic::Shard))
                .filter(|name| slots.contains(key_slot(name)))
                .map(Box::from)
                .collect();
            if !lost.is_empty() && !connection.closed {
                self.end_sharded(&mut connection, lost);
            }
            self.put_back(connection);
        }
    }

    fn end_sharded(&mut self, connection: &mut Connection, names: Vec<Box<[u8]>>) {
        let mut subscriptions = connection.client.subscriptions.take().unwrap_or_default();
        let mut out = Vec::new();
        let resp3 = connection.client.resp3;
        for name in names {
            subscriptions.remove(Topic::Shard, &name);
            let left = subscriptions.count_beside(Topic::Shard);
            let mut reply = Reply::new(&mut out, resp3);
            confirmation(Topic::Shard, false, Some(&name), left, &mut reply);
            self.forget_subscription(connection, Topic::Shard, name, &mut Held::new());
        }
        self.keep_subscriptions(connection, subscriptions);
        super::push::write(connection, |_| Some(&out[..]));
        connection.output.close_reply();
    }

    /// Whether a command is one that ends a transaction: its own keys are those of the queue.
    pub(super) fn ends_transaction(command: &Registered, client: &Client) -> bool {
        is_exec(command) && client.multi.as_ref().is_some_and(|multi| !multi.refused)
    }
}

impl Core {
    /// A transaction that has come to its shard in one piece: why it does not run, if so.
    #[cold]
    pub(super) fn part_refused(
        &self,
        shard: &Shard,
        part: &crate::mesh::message::Part,
    ) -> Option<ErrorReply> {
        if part.caller.primary {
            return None;
        }
        let (mut keys, mut is_write) = (Keys::new(), false);
        for request in &part.requests {
            let command = self.table.by_id(request.command);
            let args = part.args(request);
            keys_of(command, &args, &mut keys);
            is_write |= self.may_write(command, &args);
        }
        let request = request_of(Flags::NONE, &part.caller, is_write);
        judge_on(shard, &keys, &request).err()
    }
}
