//! Whatever takes more than one shard's key: client commands, plans, transactions, questions to other cores.
//!
//! Keys all on the home shard: run now. All on one other shard: travel as a wave of one. On several: a transaction,
//! which runs at once when the other cores sleep and their shards can be borrowed, else takes its turn in the queues.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::base::clock::ticks;
use crate::command::client::{
    Context, CoreView, FinishFn, PlanFn, Queued, ReplyMode, Step, Watching, Whom,
};
use crate::command::keys::key_places;
use crate::command::spec::{Flags, Merge, Run};
use crate::command::table::Registered;
use crate::keyspace::blocked::Wait;
use crate::keyspace::watch::WatchToken;
use crate::mesh::Place;
use crate::mesh::message::{CoreAnswer, CoreAsk, CoreMessage, ExecUnit, Watch};
use crate::net::{Blocking, Connection};
use crate::resp::request::{Args, Key, OwnedArgs, Span};
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shard;
use crate::transaction::{Outcome, Transaction, Work};

use super::core::{Core, Held};
use super::evict::Room;
use super::merge::merge;

/// What a connection waits for.
pub(super) enum Pending {
    /// Shards on loan, and what to do with them.
    Lent(Errand),
    /// Parts run on every shard.
    Parts(Merge),
    /// Answers of other cores.
    Answers {
        answers: Vec<Option<CoreAnswer>>,
        then: FinishFn,
        command: &'static Registered,
        args: OwnedArgs,
        /// Clock ticks at the question.
        asked: u64,
        /// An EXEC that goes on afterwards.
        exec: Option<Box<Exec>>,
    },
}

/// What to do with lent shards.
pub(super) enum Errand {
    /// Run a command.
    Plan(&'static Registered, PlanFn, OwnedArgs),
    /// Run a queue of commands.
    Exec(Box<Exec>),
    /// Begin to watch.
    Watch(Vec<Box<[u8]>>),
    /// Run a script.
    Script(&'static Registered, OwnedArgs),
}

/// EXEC under way.
pub(super) struct Exec {
    queue: std::vec::IntoIter<Queued>,
    watching: Option<Box<Watching>>,
    held: Held,
    out: Vec<u8>,
    /// Messages to the client itself, which come after the reply.
    messages: Vec<u8>,
    started: bool,
    /// CLIENT REPLY wants no replies just now.
    muted: bool,
    /// EXEC itself.
    command: &'static Registered,
    /// Clock ticks at its beginning.
    begun: u64,
    /// What monitors see of its commands; it leaves as one block.
    block: Vec<u8>,
    /// What they see of itself, behind that.
    shown: Vec<u8>,
}

impl Exec {
    /// A reply has been written from `start` on, CLIENT REPLY being as given: it stays unless none is wanted. Within
    /// EXEC, OFF and ON hold from there on; SKIP is for the first command after EXEC. As in Redis the array's header has
    /// announced all replies by then.
    fn mute(&mut self, mode: ReplyMode, start: usize) {
        match mode {
            ReplyMode::On => self.muted = false,
            ReplyMode::Off => self.muted = true,
            ReplyMode::Skip | ReplyMode::SkipNext => {}
        }
        if self.muted {
            self.out.truncate(start);
        }
    }
}

/// Memory of a watched key beside its name: its places with the client and with the shard.
const WATCH_BYTES: usize = 96;

type Owners = SmallVec<[u16; 16]>;

impl Core {
    /// Runs a command that is not for one shard's key. Nothing of this connection is under way, the shard is in hand.
    pub(super) fn run_wide(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        args: &Args<'_>,
    ) {
        match command.spec.run {
            Run::Client(handler) => {
                self.publish();
                let mut out = std::mem::take(connection.output.buffer());
                let start = out.len();
                let step = self.call_client(connection, command, args, &mut out, handler);
                *connection.output.buffer() = out;
                // EXEC is shown behind its commands.
                if !self.monitors.is_empty()
                    && !matches!(step, Step::Exec)
                    && !command.spec.flags.has(Flags::BLOCKING)
                {
                    self.feed_monitors(&connection.client, command, args);
                }
                self.take_step(connection, command, args, step, start);
            }
            Run::Reach { plan, everything } if self.shards > 1 && everything(args) => {
                let step = Errand::Plan(command, plan, OwnedArgs::copy_of(args));
                self.begin(connection, self.everyone(), Pending::Lent(step), Work::Lend);
            }
            Run::Keys { plan, .. } | Run::Plan(plan) | Run::Reach { plan, .. } => {
                let owners = self.owners_of(command, args);
                match owners[..] {
                    [] => self.run_plan_here(connection, command, plan, args),
                    [one] if usize::from(one) == self.index => {
                        self.run_plan_here(connection, command, plan, args);
                    }
                    [one] => {
                        // The other core takes the first key's hash and slot as given.
                        let (hash, slot) = match usize::from(command.first_key) {
                            0 => (0, 0),
                            place => {
                                let key = args.key(place);
                                (key.hash, key.slot)
                            }
                        };
                        self.send_to(connection, usize::from(one), command, args, hash, slot);
                    }
                    _ => {
                        let step = Errand::Plan(command, plan, OwnedArgs::copy_of(args));
                        self.begin(connection, owners.to_vec(), Pending::Lent(step), Work::Lend);
                    }
                }
            }
            Run::Whole(plan) => {
                if self.shards == 1 {
                    self.run_plan_here(connection, command, plan, args);
                } else {
                    let step = Errand::Plan(command, plan, OwnedArgs::copy_of(args));
                    self.begin(connection, self.everyone(), Pending::Lent(step), Work::Lend);
                }
            }
            Run::Every { part, merge } => {
                if self.shards == 1 {
                    self.run_here(connection, command, part, args);
                } else {
                    if !self.monitors.is_empty() {
                        self.feed_monitors(&connection.client, command, args);
                    }
                    let work = Work::Part {
                        command: command.id,
                        args: OwnedArgs::copy_of(args),
                        caller: connection.client.caller(),
                    };
                    self.begin(connection, self.everyone(), Pending::Parts(merge), work);
                }
            }
            Run::Any(handler) => self.run_here(connection, command, handler, args),
            Run::Publish(handler) => {
                self.publish_for(connection, |core, connection| {
                    core.run_here(connection, command, handler, args);
                });
            }
            Run::Cursor(handler) => {
                let owner = self.cursor_owner(args);
                if owner == self.index {
                    self.run_here(connection, command, handler, args);
                } else {
                    self.send_to(connection, owner, command, args, 0, 0);
                }
            }
            Run::Script { .. } => self.run_script_wide(connection, command, args),
            Run::Shard(_) | Run::Container => {
                unreachable!("{} is dispatched elsewhere", command.name)
            }
        }
    }

    pub(super) fn everyone(&self) -> Vec<u16> {
        (0..self.shards as u16).collect()
    }

    fn run_here(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        handler: crate::command::client::ShardFn,
        args: &Args<'_>,
    ) {
        if let Some(mut shard) = self.shard.take() {
            if !self.monitors.is_empty() {
                self.feed_monitors(&connection.client, command, args);
            }
            let start = connection.output.buffer().len();
            self.execute(
                &mut shard,
                command,
                handler,
                args,
                connection.output.buffer(),
            );
            self.end_unit(shard);
            if self.publication_is_under_way() {
                connection.output.buffer().truncate(start);
                connection.waiting = true;
                connection.publishing = true;
                return;
            }
            self.after_reply(connection, start);
        }
    }

    fn run_plan_here(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        plan: crate::command::client::PlanFn,
        args: &Args<'_>,
    ) {
        if let Some(mut shard) = self.shard.take() {
            if self.is_shown_when_run(command) {
                self.feed_monitors(&connection.client, command, args);
            }
            let start = connection.output.buffer().len();
            let wait = self.execute_plan(
                &mut [&mut shard],
                command,
                plan,
                args,
                connection.output.buffer(),
            );
            match wait {
                None => self.after_reply(connection, start),
                Some(wait) => {
                    let (home, place) = (self.index, connection.place);
                    let held = &mut [&mut *shard];
                    let waiter = self.register(held, home, place, command, args, wait);
                    self.begin_to_wait(connection, waiter);
                }
            }
            self.end_unit(shard);
        }
    }

    /// The shards that own a command's keys, ascending. None when it has no keys or they cannot be told: then its
    /// handler refuses the arguments before it touches a key.
    fn owners_of(&self, command: &'static Registered, args: &Args<'_>) -> Owners {
        let mut owners = Owners::new();
        if self.shards == 1 {
            owners.push(0);
            return owners;
        }
        if let Some(places) = key_places(command.spec, args) {
            for (place, _) in places {
                self.add_owner(&mut owners, args.get(usize::from(place)));
            }
        }
        owners.sort_unstable();
        owners
    }

    fn add_owner(&self, owners: &mut Owners, key: &[u8]) {
        let owner = (usize::from(crate::base::slot::key_slot(key)) % self.shards) as u16;
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }

    /// Calls a client command's handler.
    fn call_client(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        args: &Args<'_>,
        out: &mut Vec<u8>,
        handler: crate::command::client::ClientFn,
    ) -> Step {
        let start = out.len();
        let core = CoreView {
            index: self.index,
            shards: self.shards,
            now: self.now,
            config: &self.config,
            users: &self.users,
            observatory: &self.observatory,
            scripting: &self.scripting,
        };
        let mut context = Context {
            client: &mut connection.client,
            core: &core,
        };
        let mut reply = Reply::new(out, args.caller.resp3);
        let outcome = handler(&mut context, args, &mut reply);
        let step = outcome.unwrap_or_else(|error| {
            self.failed(command, &error, out, start);
            Step::Done
        });
        if connection.client.closing {
            connection.ending = true; // CLIENT KILL of oneself
        }
        self.note_tracking(connection);
        if let Some(user) = connection.client.denied.take() {
            self.note_refused_password(connection, args, user);
        }
        match step {
            // What is not over yet is counted when it is.
            Step::Ask { .. } | Step::Whole(_) | Step::Exec | Step::Stall(_) => {}
            _ => self.ran(command, args),
        }
        step
    }

    /// Does what a client command's handler has left to its core.
    fn take_step(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        args: &Args<'_>,
        step: Step,
        start: usize,
    ) {
        match step {
            Step::Done => {
                self.after_reply(connection, start);
                self.await_confirmation(connection);
            }
            Step::Close => {
                self.after_reply(connection, start);
                connection.ending = true;
            }
            Step::Ask { whom, ask, then } => {
                self.ask(connection, command, args, (whom, ask, then), None);
            }
            Step::Watch => self.watch(connection, args),
            Step::Unwatch => {
                self.forget_watches(connection);
                self.after_reply(connection, start);
            }
            Step::Fail(error) => {
                self.forget_watches(connection);
                self.write_error(connection, &error);
            }
            Step::Reset => {
                self.forget_watches(connection);
                self.monitor_ended(connection.client.id);
                self.forget_subscriptions(connection);
                self.note_tracking(connection);
                self.after_reply(connection, start);
                self.await_confirmation(connection);
            }
            Step::Whole(plan) => {
                if self.shards == 1 {
                    self.run_plan_here(connection, command, plan, args);
                } else {
                    let step = Errand::Plan(command, plan, OwnedArgs::copy_of(args));
                    self.begin(connection, self.everyone(), Pending::Lent(step), Work::Lend);
                }
            }
            Step::Exec => {
                let mut shown = Vec::new();
                self.monitor_lines(&mut shown, &connection.client, command, args);
                self.exec(connection, command, shown);
            }
            Step::Block(until) => {
                let timed_out = connection.output.buffer().split_off(start);
                let blocking = Blocking {
                    command,
                    waiter: None,
                    until,
                    timed_out,
                };
                self.block(connection, blocking);
            }
            Step::Subscription { topic, begins } => {
                self.settle_messages(connection);
                let mut out = std::mem::take(connection.output.buffer());
                let change = (topic, begins);
                self.change_subscriptions(connection, change, args, &mut out, &mut Held::new());
                *connection.output.buffer() = out;
                // Confirmations are messages: CLIENT REPLY does not hold them back.
                let end = connection.output.buffer().len();
                self.after_reply(connection, end);
                self.await_confirmation(connection);
            }
            Step::Stall(time) => {
                self.stall(time);
                self.ran(command, args);
                self.after_reply(connection, start);
            }
        }
    }

    /// Whether somebody monitors and the command is one to be shown as its plan runs.
    fn is_shown_when_run(&self, command: &Registered) -> bool {
        !self.monitors.is_empty()
            && !matches!(command.spec.run, Run::Client(_))
            && !command.spec.flags.has(Flags::BLOCKING)
    }

    /// DEBUG SLEEP: nobody is served for so long, on no core.
    #[cold]
    fn stall(&mut self, time: Duration) {
        let until = Instant::now() + time;
        for core in (0..self.shards).filter(|&core| core != self.index) {
            let link = self.links.core(core);
            link.mail(CoreMessage::Stall { until });
            // Not over the own ring, which submits nothing while this core sleeps.
            link.wake_by_event();
        }
        std::thread::sleep(time);
    }

    // Transactions.

    /// Begins a transaction; the connection waits for it unless it can run at once.
    pub(super) fn begin(
        &mut self,
        connection: &mut Connection,
        participants: Vec<u16>,
        pending: Pending,
        work: Work,
    ) {
        self.counters().transactions.add(1);
        connection.waiting = true;
        if let Pending::Lent(step) = pending {
            match self.borrow_all(&participants) {
                Some(held) => {
                    let held = self.run_step(connection, step, held);
                    if let Some(held) = held {
                        self.give_back(held);
                    }
                    return;
                }
                None => {
                    self.pending
                        .insert(connection.place.index, Pending::Lent(step));
                }
            }
        } else {
            self.pending.insert(connection.place.index, pending);
        }
        let transaction =
            Transaction::new(self.index, connection.place, participants, work, self.now);
        self.to_schedule.push(Arc::new(transaction));
    }

    /// Takes all participants' shards without waiting, or none. What is on its way to them from here, or queued for
    /// them, must come first.
    fn borrow_all(&mut self, participants: &[u16]) -> Option<Held> {
        let only_home = participants
            .iter()
            .all(|&one| usize::from(one) == self.index);
        if (!self.config.borrow && !only_home) || !self.to_schedule.is_empty() {
            return None;
        }
        let links = self.links.clone();
        let mut held: Held = Vec::with_capacity(participants.len());
        for &participant in participants {
            let index = usize::from(participant);
            let shard = if index == self.index {
                self.shard.take()
            } else if self.outgoing[index].in_flight == 0
                && self.outgoing[index].requests.is_empty()
            {
                links.core(index).berth.borrow()
            } else {
                None
            };
            match shard {
                Some(mut shard) => {
                    shard.set_now(self.now);
                    held.push(shard);
                }
                None => {
                    self.give_back(held);
                    return None;
                }
            }
        }
        // Queues are looked at when everything is in hand: a transaction scheduled before must go first.
        // And what a blocked client is owed goes before everything.
        if participants
            .iter()
            .any(|&one| links.core(usize::from(one)).has_scheduled())
            || held.iter().any(|shard| shard.blocked.has_ready())
        {
            self.give_back(held);
            return None;
        }
        Some(held)
    }

    /// Puts the transactions begun here into their participants' queues, all under one latch.
    pub(super) fn schedule(&mut self) {
        if self.to_schedule.is_empty() {
            return;
        }
        let links = self.links.clone();
        let all = self
            .to_schedule
            .iter()
            .map(|transaction| (&transaction.participants[..], transaction.clone()));
        if !links.schedule(all) {
            return; // another core is at it: next turn
        }
        for transaction in std::mem::take(&mut self.to_schedule) {
            for &participant in &transaction.participants {
                if usize::from(participant) != self.index {
                    self.wake(usize::from(participant));
                }
            }
            self.under_way.push(transaction);
        }
        self.take_scheduled();
        // This core may have been the last to arrive, and then nobody wakes it.
        self.take_complete();
    }

    /// Takes part in the transactions at the head of this core's queue.
    pub(super) fn take_scheduled(&mut self) {
        while self.link().has_scheduled() {
            let Some(mut shard) = self.shard.take().or_else(|| self.held_shard.take()) else {
                return;
            };
            let Some(transaction) = self.link().first_scheduled() else {
                self.end_unit(shard);
                return;
            };
            self.link().unschedule();
            shard.set_now(transaction.now);
            let outcome = match &transaction.work {
                Work::Lend => Outcome::Lent(shard),
                Work::Part {
                    command,
                    args,
                    caller,
                } => {
                    let mut out = Vec::new();
                    let command = self.table.by_id(*command);
                    let args = args.args(*caller);
                    let begun = self.last_ticks;
                    match command.spec.run {
                        Run::Every { part, .. } => {
                            self.apply(&mut shard, command, part, &args, &mut out);
                        }
                        _ => {
                            // A part never blocks: that takes keys, and these are known to be here.
                            self.run_on(&mut shard, command, &args, &mut out);
                        }
                    }
                    self.last_ticks = ticks();
                    let spent = self.last_ticks.wrapping_sub(begun);
                    self.end_unit(shard);
                    Outcome::Reply(out, spent)
                }
            };
            if transaction.arrive(self.index, outcome) && transaction.home != self.index {
                self.links
                    .core(transaction.home)
                    .mail(CoreMessage::Complete);
                self.wake(transaction.home);
            }
        }
    }

    /// Goes on with transactions begun here that have all their participants.
    pub(super) fn take_complete(&mut self) {
        let mut index = 0;
        while index < self.under_way.len() {
            if !self.under_way[index].is_complete() {
                index += 1;
                continue;
            }
            let transaction = self.under_way.swap_remove(index);
            let (mut held, mut replies) = (Held::new(), Vec::new());
            let mut longest = 0;
            for outcome in transaction.take_outcomes() {
                match outcome {
                    Outcome::Lent(shard) => held.push(shard),
                    Outcome::Reply(reply, spent) => {
                        replies.push(reply);
                        longest = spent.max(longest);
                    }
                }
            }
            if transaction.place == Place::NOWHERE {
                self.fetched(held);
                continue;
            }
            if !self.serve_held(&mut held) {
                self.come_back(&transaction, held);
                continue;
            }
            let pending = self.pending.remove(&transaction.place.index);
            let connection = self.take_connection(transaction.place);
            let (Some(pending), Some(mut connection)) = (pending, connection) else {
                self.give_back(held);
                continue;
            };
            match pending {
                Pending::Lent(step) => {
                    if let Some(held) = self.run_step(&mut connection, step, held) {
                        self.give_back(held);
                    }
                }
                Pending::Parts(how) => {
                    connection.waiting = false;
                    if let Work::Part {
                        command,
                        args,
                        caller,
                    } = &transaction.work
                    {
                        // The parts ran side by side: the command took as long as the longest.
                        let (command, args) = (self.table.by_id(*command), args.args(*caller));
                        self.ran_since(command, &args, ticks().wrapping_sub(longest));
                    }
                    self.write_reply(&mut connection, |reply| merge(how, &replies, reply));
                    self.resume(&mut connection);
                }
                Pending::Answers { .. } => {
                    unreachable!("a connection waits for one thing at a time")
                }
            }
            self.put_back(connection);
        }
    }

    /// Runs a step with all its shards in hand. Gives them back unless the step goes on later with them.
    fn run_step(
        &mut self,
        connection: &mut Connection,
        step: Errand,
        mut held: Held,
    ) -> Option<Held> {
        match step {
            Errand::Plan(command, plan, args) => {
                connection.waiting = false;
                let start = connection.output.buffer().len();
                let args = args.args(connection.client.caller());
                if self.is_shown_when_run(command) {
                    self.feed_monitors(&connection.client, command, &args);
                }
                let wait =
                    self.plan_held(&mut held, command, plan, &args, connection.output.buffer());
                if let Some(wait) = wait {
                    let (home, place) = (self.index, connection.place);
                    let mut at_hand: Vec<&mut Shard> =
                        held.iter_mut().map(|shard| &mut **shard).collect();
                    let waiter = self.register(&mut at_hand, home, place, command, &args, wait);
                    self.begin_to_wait(connection, waiter);
                } else {
                    self.after_reply(connection, start);
                    self.resume(connection);
                }
                self.serve_held(&mut held);
                Some(held)
            }
            Errand::Script(command, args) => {
                connection.waiting = false;
                let start = connection.output.buffer().len();
                let args = args.args(connection.client.caller());
                let mut out = std::mem::take(connection.output.buffer());
                self.run_script(connection, &mut held, command, &args, &mut out);
                self.show_script();
                *connection.output.buffer() = out;
                self.after_reply(connection, start);
                self.resume(connection);
                self.serve_held(&mut held);
                Some(held)
            }
            Errand::Watch(keys) => {
                connection.waiting = false;
                self.watch_held(connection, &keys, &mut held);
                self.resume(connection);
                Some(held)
            }
            Errand::Exec(mut exec) => {
                exec.held = held;
                self.run_exec(connection, exec);
                None
            }
        }
    }

    /// Runs a command over shards in hand.
    pub(super) fn run_held(
        &mut self,
        held: &mut Held,
        command: &'static Registered,
        args: &Args<'_>,
        out: &mut Vec<u8>,
    ) {
        match command.spec.run {
            Run::Shard(_) => {
                let key = args.key(usize::from(command.first_key));
                let owner = usize::from(key.slot) % self.shards;
                if let Some(shard) = held.iter_mut().find(|shard| shard.index == owner) {
                    self.run_on(shard, command, args, out);
                }
            }
            Run::Cursor(_) => {
                let owner = self.cursor_owner(args);
                if let Some(shard) = held.iter_mut().find(|shard| shard.index == owner) {
                    self.run_on(shard, command, args, out);
                }
            }
            Run::Every { merge: how, .. } => {
                let mut replies = Vec::with_capacity(held.len());
                for shard in held.iter_mut() {
                    let mut part = Vec::new();
                    self.run_on(shard, command, args, &mut part);
                    replies.push(part);
                }
                merge(how, &replies, &mut Reply::new(out, args.caller.resp3));
            }
            Run::Keys { plan, .. }
            | Run::Plan(plan)
            | Run::Reach { plan, .. }
            | Run::Whole(plan) => {
                self.plan_held(held, command, plan, args, out);
            }
            Run::Any(_) | Run::Publish(_) => {
                // The home shard knows of subscriptions made by this very transaction.
                let home = held.iter().position(|shard| shard.index == self.index);
                if let Some(shard) = held.get_mut(home.unwrap_or(0)) {
                    self.run_on(shard, command, args, out);
                }
            }
            Run::Client(_) | Run::Script { .. } | Run::Container => {
                unreachable!("{} is run by whoever holds the shards", command.name)
            }
        }
    }

    pub(super) fn plan_held(
        &mut self,
        held: &mut Held,
        command: &'static Registered,
        plan: PlanFn,
        args: &Args<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Wait> {
        let mut shards: Vec<&mut Shard> = held.iter_mut().map(|shard| &mut **shard).collect();
        self.execute_plan(&mut shards, command, plan, args, out)
    }

    // MULTI, EXEC, WATCH.

    /// EXEC: finds out which shards it takes.
    ///
    /// `shown` is what monitors see of EXEC itself.
    fn exec(&mut self, connection: &mut Connection, command: &'static Registered, shown: Vec<u8>) {
        let begun = self.last_ticks;
        let Some(multi) = connection.client.multi.take() else {
            self.send_to_monitors(shown);
            self.write_error(connection, &ErrorReply::EXEC_WITHOUT_MULTI);
            self.ran_exec(connection, command, begun);
            return;
        };
        if multi.refused {
            self.forget_watches(connection);
            self.send_to_monitors(shown);
            self.write_error(connection, &ErrorReply::EXEC_ABORT);
            self.ran_exec(connection, command, begun);
            return;
        }
        // Memory may have been used up since the commands were queued. One that must only wait has been let in then.
        let growing = |queued: &Queued| queued.command.spec.flags.has(Flags::DENYOOM);
        if self.is_short() && multi.queue.iter().any(growing) && self.make_room() == Room::Nothing {
            self.forget_watches(connection);
            self.send_to_monitors(shown);
            self.write_error(
                connection,
                &ErrorReply::exec_abort(&ErrorReply::OUT_OF_MEMORY),
            );
            return;
        }
        let watching = connection.client.watching.take();
        let mut owners = Owners::new();
        let mut all = false;
        let mut travels = true;
        // Some command wants a shard, whichever it is.
        let mut keyless = false;
        for queued in &multi.queue {
            let args = queued.args.args(connection.client.caller());
            match queued.command.spec.run {
                // DEBUG may turn out to want every shard; whatever it is, it is no command for a hot path.
                Run::Client(_) if queued.command.name.starts_with("debug") => {
                    (travels, all) = (false, true)
                }
                Run::Client(_) | Run::Container => {
                    travels = false;
                    // Subscriptions concern what is published later on in the transaction.
                    keyless |= queued.command.spec.flags.has(Flags::PUBSUB);
                }
                Run::Any(_) | Run::Publish(_) => keyless = true,
                Run::Script { .. } => (travels, all) = (false, true),
                Run::Every { .. } | Run::Whole(_) | Run::Cursor(_) => all = true,
                Run::Reach { everything, .. } if everything(&args) => all = true,
                Run::Shard(_) | Run::Keys { .. } | Run::Plan(_) | Run::Reach { .. } => {
                    match key_places(queued.command.spec, &args) {
                        Some(places) if !places.is_empty() => {
                            for (place, _) in places {
                                self.add_owner(&mut owners, args.get(usize::from(place)));
                            }
                        }
                        // A plan that refuses its arguments still wants a shard to look at.
                        _ => self.add_owner(&mut owners, b""),
                    }
                }
            }
        }
        if let Some(watching) = &watching {
            for (_, key) in &watching.keys {
                self.add_owner(&mut owners, key);
            }
        }
        if all {
            owners = self.everyone().into();
        }
        if keyless && (owners.is_empty() || !travels) && !owners.contains(&(self.index as u16)) {
            owners.push(self.index as u16);
        }
        owners.sort_unstable();
        if let [one] = owners[..]
            && usize::from(one) != self.index
            && travels
            && !multi.queue.is_empty()
            && self.may_still_run(connection, &multi.queue)
        {
            self.send_exec(connection, usize::from(one), &multi.queue, watching, shown);
            self.ran_exec(connection, command, begun);
            return;
        }
        let exec = Box::new(Exec {
            queue: multi.queue.into_iter(),
            watching,
            held: Held::new(),
            out: Vec::new(),
            messages: Vec::new(),
            started: false,
            muted: false,
            command,
            begun,
            block: Vec::new(),
            shown,
        });
        if owners.is_empty() {
            connection.waiting = true;
            self.run_exec(connection, exec);
        } else {
            self.begin(
                connection,
                owners.to_vec(),
                Pending::Lent(Errand::Exec(exec)),
                Work::Lend,
            );
        }
    }

    /// Everything is on one other shard: the whole transaction is one message.
    fn send_exec(
        &mut self,
        connection: &mut Connection,
        owner: usize,
        queue: &[Queued],
        watching: Option<Box<Watching>>,
        shown: Vec<u8>,
    ) {
        for queued in queue {
            let args = queued.args.args(connection.client.caller());
            let first = usize::from(queued.command.first_key);
            let (hash, slot) = if first > 0 {
                let key = args.key(first);
                (key.hash, key.slot)
            } else {
                (0, 0)
            };
            self.send_to(connection, owner, queued.command, &args, hash, slot);
        }
        if let Some(wave) = &mut connection.wave {
            wave.as_one_reply();
            let watch = watching.map(|watching| Watch {
                token: watching.token,
                keys: watching.keys,
            });
            let part = wave.part_of(owner);
            part.caller.deny_blocking = true;
            part.exec = Some(ExecUnit { watch, shown });
        }
    }

    /// Runs the queue, or goes on with it after a question has been answered.
    fn run_exec(&mut self, connection: &mut Connection, mut exec: Box<Exec>) {
        if !exec.started {
            exec.started = true;
            exec.muted = matches!(
                connection.client.reply_mode,
                ReplyMode::Off | ReplyMode::Skip
            );
            if let Some(watching) = &exec.watching {
                self.drop_watches(watching, &mut exec.held);
                if watching.token.is_broken() {
                    let resp3 = connection.client.resp3;
                    Reply::new(&mut exec.out, resp3).null_array();
                    exec.mute(connection.client.reply_mode, 0);
                    self.end_exec(connection, *exec);
                    return;
                }
            }
            let resp3 = connection.client.resp3;
            Reply::new(&mut exec.out, resp3).array(exec.queue.len());
            exec.mute(connection.client.reply_mode, 0);
        }
        while let Some(queued) = exec.queue.next() {
            let mut caller = connection.client.caller();
            caller.deny_blocking = true;
            let args = queued.args.args(caller);
            let start = exec.out.len();
            if let Some(error) = self.refused_at_exec(connection, queued.command, &args) {
                self.failed(queued.command, &error, &mut exec.out, start);
                exec.mute(connection.client.reply_mode, start);
                continue;
            }
            let handler = match queued.command.spec.run {
                Run::Client(handler) => handler,
                other => {
                    self.monitor_lines(&mut exec.block, &connection.client, queued.command, &args);
                    let mut out = std::mem::take(&mut exec.out);
                    if let Run::Script { .. } = other {
                        self.run_script(
                            connection,
                            &mut exec.held,
                            queued.command,
                            &args,
                            &mut out,
                        );
                        exec.block.append(&mut self.script_lines);
                    } else {
                        self.run_held(&mut exec.held, queued.command, &args, &mut out);
                    }
                    exec.out = out;
                    exec.mute(connection.client.reply_mode, start);
                    continue;
                }
            };
            for shard in &exec.held {
                super::background::publish_shard(self.observatory.core(shard.index), shard);
            }
            let mut out = std::mem::take(&mut exec.out);
            let step = self.call_client(connection, queued.command, &args, &mut out, handler);
            exec.out = out;
            self.monitor_lines(&mut exec.block, &connection.client, queued.command, &args);
            match step {
                Step::Close => connection.ending = true,
                Step::Ask { whom, ask, then } => {
                    self.ask(
                        connection,
                        queued.command,
                        &args,
                        (whom, ask, then),
                        Some(exec),
                    );
                    return;
                }
                Step::Stall(time) => {
                    self.stall(time);
                    self.ran(queued.command, &args);
                }
                Step::Subscription { topic, begins } => {
                    std::mem::swap(connection.output.buffer(), &mut exec.messages);
                    self.settle_messages(connection);
                    std::mem::swap(connection.output.buffer(), &mut exec.messages);
                    let (mut out, mut held) = (
                        std::mem::take(&mut exec.out),
                        std::mem::take(&mut exec.held),
                    );
                    let change = (topic, begins);
                    self.change_subscriptions(connection, change, &args, &mut out, &mut held);
                    (exec.out, exec.held) = (out, held);
                }
                Step::Whole(plan) => {
                    let mut out = std::mem::take(&mut exec.out);
                    self.plan_held(&mut exec.held, queued.command, plan, &args, &mut out);
                    exec.out = out;
                }
                // Watches are gone by now, and the rest runs at once instead of being queued.
                Step::Unwatch
                | Step::Done
                | Step::Watch
                | Step::Exec
                | Step::Fail(_)
                | Step::Block(_)
                | Step::Reset => {}
            }
            exec.mute(connection.client.reply_mode, start);
        }
        self.end_exec(connection, *exec);
    }

    fn end_exec(&mut self, connection: &mut Connection, exec: Exec) {
        let Exec {
            mut held,
            out,
            command,
            begun,
            mut block,
            shown,
            messages,
            ..
        } = exec;
        block.extend(shown);
        self.send_to_monitors(block);
        self.serve_held(&mut held);
        self.give_back(held);
        self.ran_exec(connection, command, begun);
        connection.waiting = false;
        // What CLIENT REPLY silences is not in there any more.
        connection.output.buffer().extend_from_slice(&out);
        if connection.client.reply_mode == ReplyMode::Skip {
            connection.client.reply_mode = ReplyMode::On;
        }
        connection.output.close_reply();
        connection.output.buffer().extend_from_slice(&messages);
        self.await_confirmation(connection);
        if !connection.waiting {
            self.resume(connection);
        }
    }

    /// Counts an EXEC, whose time is that of all that it ran.
    fn ran_exec(&mut self, connection: &Connection, command: &'static Registered, begun: u64) {
        let name = Span {
            start: 0,
            length: 4,
        };
        let args = [name];
        let args = Args::new(b"EXEC", &args, connection.client.caller());
        self.ran_since(command, &args, begun);
    }

    /// WATCH: registers with the shards that own the keys.
    fn watch(&mut self, connection: &mut Connection, args: &Args<'_>) {
        let keys: Vec<Box<[u8]>> = args.iter_from(1).map(Box::from).collect();
        let mut owners = Owners::new();
        for key in &keys {
            self.add_owner(&mut owners, key);
        }
        owners.sort_unstable();
        self.begin(
            connection,
            owners.to_vec(),
            Pending::Lent(Errand::Watch(keys)),
            Work::Lend,
        );
    }

    fn watch_held(&mut self, connection: &mut Connection, keys: &[Box<[u8]>], held: &mut Held) {
        let db = connection.client.db;
        let watching = connection.client.watching.get_or_insert_with(|| {
            Box::new(Watching {
                token: Arc::new(WatchToken::default()),
                keys: Vec::new(),
                bytes: 0,
            })
        });
        for bytes in keys {
            let key = Key::new(bytes);
            let owner = usize::from(key.slot) % self.shards;
            let known = watching
                .keys
                .iter()
                .any(|(of, other)| *of == db && other == bytes);
            if let (false, Some(shard)) =
                (known, held.iter_mut().find(|shard| shard.index == owner))
            {
                // A key whose time has come is a missing key from here on.
                shard.peek(db as usize, &key);
                shard.watched.add(db as usize, bytes, &watching.token);
                watching.keys.push((db, bytes.clone()));
                watching.bytes += bytes.len() + WATCH_BYTES;
            }
        }
        self.write_reply(connection, |reply| reply.ok());
    }

    /// Takes a client's watches off the shards in hand, and breaks the watch if a watched key's time has come.
    fn drop_watches(&mut self, watching: &Watching, held: &mut Held) {
        for (db, bytes) in &watching.keys {
            let key = Key::new(bytes);
            let owner = usize::from(key.slot) % self.shards;
            if let Some(shard) = held.iter_mut().find(|shard| shard.index == owner) {
                shard.peek(*db as usize, &key);
                shard.watched.remove(*db as usize, bytes, &watching.token);
            }
        }
    }

    /// A connection gives up its watches.
    pub(super) fn forget_watches(&mut self, connection: &mut Connection) {
        if let Some(watching) = connection.client.watching.take() {
            self.forget(*watching);
        }
    }

    /// Tells the shards that own the keys to forget a watch.
    fn forget(&mut self, watching: Watching) {
        let Watching { token, keys, .. } = watching;
        let mut by_owner: Vec<Vec<(u32, Box<[u8]>)>> = vec![Vec::new(); self.shards];
        for (db, key) in keys {
            let owner = usize::from(crate::base::slot::key_slot(&key)) % self.shards;
            by_owner[owner].push((db, key));
        }
        for (owner, keys) in by_owner.into_iter().enumerate() {
            if keys.is_empty() {
                continue;
            }
            let message = CoreMessage::Forget {
                token: token.clone(),
                keys,
            };
            if owner == self.index {
                self.on_message(message);
            } else {
                self.links.core(owner).mail(message);
                self.wake(owner);
            }
        }
    }

    // Questions.

    /// Asks other cores; the connection waits for their answers.
    fn ask(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        args: &Args<'_>,
        (whom, ask, then): (Whom, CoreAsk, FinishFn),
        exec: Option<Box<Exec>>,
    ) {
        connection.waiting = true;
        let place = connection.place;
        let expected = match whom {
            Whom::Cores => self.shards,
            Whom::Control => 1,
        };
        self.pending.insert(
            place.index,
            Pending::Answers {
                answers: vec![None; expected],
                then,
                command,
                args: OwnedArgs::copy_of(args),
                asked: self.last_ticks,
                exec,
            },
        );
        let from = self.index as u16;
        match whom {
            Whom::Control => {
                let ticket = self.ticket(place, 0);
                let shards = self.shards;
                self.links
                    .control()
                    .mail(CoreMessage::Ask { from, ticket, ask });
                self.wake(shards);
            }
            Whom::Cores => {
                for core in 0..self.shards {
                    let ticket = self.ticket(place, core);
                    let ask = ask.clone();
                    // Its own answer is taken by mail too, when the connection is back in its place.
                    self.links
                        .core(core)
                        .mail(CoreMessage::Ask { from, ticket, ask });
                    if core != self.index {
                        self.wake(core);
                    }
                }
            }
        }
    }

    fn ticket(&mut self, place: Place, answer: usize) -> u64 {
        self.next_ticket += 1;
        let ticket = self.next_ticket << 16 | answer as u64;
        self.tickets.insert(ticket, place);
        ticket
    }

    /// An answer has come.
    pub(super) fn on_answer(&mut self, ticket: u64, answer: CoreAnswer) {
        let Some(place) = self.tickets.remove(&ticket) else {
            return;
        };
        let Some(Pending::Answers { answers, .. }) = self.pending.get_mut(&place.index) else {
            return;
        };
        answers[(ticket & 0xffff) as usize] = Some(answer);
        if answers.iter().any(Option::is_none) {
            return;
        }
        let Some(Pending::Answers {
            answers,
            then,
            command,
            args,
            asked,
            exec,
        }) = self.pending.remove(&place.index)
        else {
            return;
        };
        let Some(mut connection) = self.take_connection(place) else {
            if let Some(exec) = exec {
                self.give_back(exec.held);
            }
            return;
        };
        let answers: Vec<CoreAnswer> = answers.into_iter().flatten().collect();
        let mut out = Vec::new();
        let core = CoreView {
            index: self.index,
            shards: self.shards,
            now: self.now,
            config: &self.config,
            users: &self.users,
            observatory: &self.observatory,
            scripting: &self.scripting,
        };
        let mut context = Context {
            client: &mut connection.client,
            core: &core,
        };
        let resp3 = context.client.resp3;
        let outcome = then(&mut context, answers, &mut Reply::new(&mut out, resp3));
        if let Err(error) = outcome {
            self.failed(command, &error, &mut out, 0);
        }
        self.ran_since(command, &args.args(connection.client.caller()), asked);
        self.note_tracking(&mut connection);
        match exec {
            Some(mut exec) => {
                let start = exec.out.len();
                exec.out.extend_from_slice(&out);
                exec.mute(connection.client.reply_mode, start);
                self.run_exec(&mut connection, exec);
            }
            None => {
                connection.waiting = false;
                self.write_reply(&mut connection, |reply| {
                    reply.buffer().extend_from_slice(&out)
                });
                self.await_confirmation(&mut connection);
                if !connection.waiting {
                    self.resume(&mut connection);
                }
            }
        }
        self.put_back(connection);
    }
}
