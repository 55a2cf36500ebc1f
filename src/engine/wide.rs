//! Whatever takes more than one shard's key: client commands, plans, transactions, questions to other cores.
//!
//! Keys all on the home shard: run now. All on one other shard: travel as a wave of one. On several: a transaction,
//! which runs at once when the other cores sleep and their shards can be borrowed, else takes its turn in the queues.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::base::clock::ticks;
use crate::command::client::{Context, CoreView, FinishFn, PlanFn, Reload, Step};
use crate::command::cursor_begins;
use crate::command::keys::key_places;
use crate::command::spec::{Flags, Merge, Run};
use crate::command::table::Registered;
use crate::keyspace::blocked::Wait;
use crate::mesh::Place;
use crate::mesh::message::{CoreAnswer, CoreMessage};
use crate::net::Connection;
use crate::persistence::rdb::Restoring;
use crate::resp::Reply;
use crate::resp::request::{Args, OwnedArgs};
use crate::shard::Shard;
use crate::transaction::{Outcome, Transaction, Work};

use super::core::{Core, Held};
use super::exec::Exec;
use super::merge::merge;
use super::migrating::Migrating;
use super::questions::Question;
use super::reloading::Reloading;

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
        /// The client counts as blocked.
        blocks: bool,
        /// An EXEC that goes on afterwards.
        exec: Option<Box<Exec>>,
    },
    /// A change of the role, which an EXEC has asked for that has run.
    Role(Box<Exec>),
    /// A thread that has all shards and reads files.
    Reloading(Reloading),
}

/// What to do with lent shards.
pub(super) enum Errand {
    /// Run a command.
    Plan(&'static Registered, PlanFn, OwnedArgs),
    /// Run a queue of commands.
    Exec(Box<Exec>),
    /// Begin to watch.
    Watch(Vec<Box<[u8]>>),
    /// Read files again, in the place of all data.
    Reload(Reload, &'static Registered, OwnedArgs),
    /// Run a script.
    Script(&'static Registered, OwnedArgs),
    /// Go on with moving keys to another server.
    Migrate(Box<Migrating>),
    /// RESTORE of a value that has been decoded.
    Restore(&'static Registered, OwnedArgs, Box<Restoring>),
}

pub(super) type Owners = SmallVec<[u16; 16]>;

/// Something that a core does for nobody's request with all shards in hand: a cut through all of them.
pub(super) type Chore = Box<dyn FnOnce(&mut Core, &mut Held)>;

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
            Run::Cursor { begin, .. }
                if self.shards > 1 && cursor_begins(args.opt(1).unwrap_or_default()) =>
            {
                let step = Errand::Plan(command, begin, OwnedArgs::copy_of(args));
                self.begin(connection, self.everyone(), Pending::Lent(step), Work::Lend);
            }
            Run::Cursor { part: handler, .. } => {
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
                self.add_owner(&mut owners, args.get(place as usize));
            }
        }
        owners.sort_unstable();
        owners
    }

    pub(super) fn add_owner(&self, owners: &mut Owners, key: &[u8]) {
        let owner = (usize::from(crate::base::slot::key_slot(key)) % self.shards) as u16;
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }

    /// Calls a client command's handler.
    pub(super) fn call_client(
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
            if connection.client.primary {
                self.feed_failed(&command.name, &error);
            }
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
            Step::Ask { .. }
            | Step::Whole(_)
            | Step::Reload(_)
            | Step::Exec
            | Step::Migrate(_)
            | Step::Stall { .. } => {}
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
                let question = Question { whom, ask, then };
                self.ask(connection, command, args, question, None);
            }
            Step::Watch => self.watch(connection, args),
            Step::Unwatch => {
                self.forget_watches(connection);
                self.after_reply(connection, start);
            }
            Step::Fail(error) => {
                self.forget_watches(connection);
                self.write_error(connection, &error);
                self.counters_of(command).failed.add(1);
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
                if self.shards == 1 && self.shard.is_some() {
                    self.run_plan_here(connection, command, plan, args);
                } else {
                    let step = Errand::Plan(command, plan, OwnedArgs::copy_of(args));
                    self.begin(connection, self.everyone(), Pending::Lent(step), Work::Lend);
                }
            }
            Step::Reload(what) => {
                let step = Errand::Reload(what, command, OwnedArgs::copy_of(args));
                self.begin(connection, self.everyone(), Pending::Lent(step), Work::Lend);
            }
            Step::Exec => {
                let mut shown = Vec::new();
                self.monitor_lines(&mut shown, &connection.client, command, args);
                self.exec(connection, command, shown);
            }
            Step::Await(wanted) => self.begin_awaiting(connection, command, wanted),
            Step::HandOver(request) => self.begin_handover(connection, request),
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
            Step::Migrate(what) => self.migrate(connection, command, args, *what, None),
            Step::Stall { time, only } => {
                self.stall(time, only);
                self.ran(command, args);
                self.after_reply(connection, start);
            }
        }
    }

    /// Whether somebody monitors and the command is one to be shown as its plan runs.
    pub(super) fn is_shown_when_run(&self, command: &Registered) -> bool {
        !self.monitors.is_empty()
            && !matches!(command.spec.run, Run::Client(_))
            && !command.spec.flags.has(Flags::BLOCKING)
    }

    /// DEBUG SLEEP: nobody is served for so long, on no core, or not on this one.
    #[cold]
    pub(super) fn stall(&mut self, time: Duration, only: Option<usize>) {
        let until = Instant::now() + time;
        let all = 0..=self.shards; // with the control core
        let sleepers = all.filter(|core| only.is_none_or(|only| only == *core));
        for core in sleepers.filter(|&core| core != self.index) {
            let link = self.links.core(core);
            link.mail(CoreMessage::Stall { until });
            // Not over the own ring, which submits nothing while this core sleeps.
            link.wake_by_event();
        }
        if only.is_none_or(|only| only == self.index) {
            std::thread::sleep(time);
        }
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
            let Some(step) = self.run_carried(connection, &participants, step) else {
                return;
            };
            match self.borrow_all(&participants) {
                Some(held) => {
                    let carries = Self::may_carry(connection, &step);
                    match self.run_step(connection, step, held) {
                        Some(mut held) if carries => {
                            self.end_step(&mut held);
                            let until = self.carry_until();
                            self.carry(participants, held, until, false);
                        }
                        Some(held) => self.give_back(held),
                        None => {}
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

    /// Does something with all shards in hand between two requests: at once when they can be had, else as a transaction
    /// like any other.
    pub(super) fn begin_chore(&mut self, chore: impl FnOnce(&mut Core, &mut Held) + 'static) {
        self.chores_due.push(Box::new(chore));
    }

    /// Begins the chores that are due. With one shard they wait until nobody has it.
    #[cold]
    pub(super) fn start_chores(&mut self) {
        if self.shards == 1 && self.shard.is_none() {
            return;
        }
        for chore in std::mem::take(&mut self.chores_due) {
            let participants = self.everyone();
            if let Some(mut held) = self.borrow_all(&participants) {
                chore(self, &mut held);
                self.give_back(held);
                continue;
            }
            let (home, now) = (self.index, self.now);
            let transaction = Transaction::new(home, Place::NOWHERE, participants, Work::Lend, now);
            let transaction = Arc::new(transaction);
            self.chores.push((transaction.clone(), chore));
            self.to_schedule.push(transaction);
        }
    }

    /// The chore that a transaction is for, if it is for one.
    fn chore_of(&mut self, transaction: &Arc<Transaction>) -> Option<Chore> {
        let of = |(one, _): &(Arc<Transaction>, Chore)| Arc::ptr_eq(one, transaction);
        let place = self.chores.iter().position(of)?;
        Some(self.chores.swap_remove(place).1)
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
        let mut held: Held = Vec::with_capacity(participants.len());
        for &participant in participants {
            let index = usize::from(participant);
            let shard = if index == self.index {
                self.shard.take()
            } else if self.outgoing[index].in_flight == 0
                && self.outgoing[index].requests.is_empty()
            {
                self.links.core(index).berth.borrow()
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
            .any(|&one| self.links.core(usize::from(one)).has_scheduled())
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
        let all = self
            .to_schedule
            .iter()
            .map(|transaction| (&transaction.participants[..], transaction.clone()));
        if !self.links.schedule(all) {
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
            let Some(transaction) = self.link().first_scheduled() else {
                return;
            };
            if transaction.is_taken() {
                self.link().unschedule();
                continue;
            }
            let Some(mut shard) = self.shard.take().or_else(|| self.held_shard.take()) else {
                return;
            };
            self.link().unschedule();
            shard.set_now(transaction.now);
            let outcome = match &transaction.work {
                Work::Lend => {
                    self.settle(&mut shard);
                    Outcome::Lent(shard)
                }
                Work::Part {
                    command,
                    args,
                    caller,
                } => {
                    let mut out = Vec::new();
                    let command = self.table.by_id(*command);
                    let args = args.args(*caller);
                    let begun = self.last_ticks;
                    shard.replaying = caller.primary;
                    match command.spec.run {
                        Run::Every { part, .. } => {
                            self.apply(&mut shard, command, part, &args, &mut out);
                        }
                        _ => {
                            // A part never blocks: that takes keys, and these are known to be here.
                            self.run_on(&mut shard, command, &args, &mut out);
                        }
                    }
                    shard.replaying = false;
                    self.last_ticks = ticks();
                    let spent = self.last_ticks.wrapping_sub(begun);
                    self.end_unit(shard);
                    self.settle_own();
                    Outcome::Reply(out, spent)
                }
            };
            self.hand_in(transaction, outcome);
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
            if let Some(chore) = self.chore_of(&transaction) {
                self.serve_held(&mut held);
                chore(self, &mut held);
                self.give_back(held);
                continue;
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
                    let carries = Self::may_carry(&connection, &step);
                    match self.run_step(&mut connection, step, held) {
                        Some(mut held) if carries => {
                            self.end_step(&mut held);
                            self.put_back(connection);
                            self.carry_on(&transaction.participants, held);
                            index = 0;
                            continue;
                        }
                        Some(held) => self.give_back(held),
                        None => {}
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
                Pending::Answers { .. } | Pending::Role(_) | Pending::Reloading(_) => {
                    unreachable!("a connection waits for one thing at a time")
                }
            }
            self.put_back(connection);
        }
    }

    /// Runs a step with all its shards in hand. Gives them back unless the step goes on later with them.
    pub(super) fn run_step(
        &mut self,
        connection: &mut Connection,
        step: Errand,
        mut held: Held,
    ) -> Option<Held> {
        if connection.client.primary {
            Self::replay_held(&mut held, true);
        }
        match step {
            Errand::Plan(command, plan, args) => {
                connection.waiting = false;
                let start = connection.output.buffer().len();
                let args = args.args(connection.client.caller());
                if self.is_shown_when_run(command) {
                    self.feed_monitors(&connection.client, command, &args);
                }
                if self.gates.notes_reads {
                    self.note_read_of(connection, command, &args, &held);
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
            Errand::Reload(what, command, args) => {
                self.begin_reload(connection, held, what, command, args)
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
            Errand::Migrate(migrating) => self.migrate_held(connection, migrating, held),
            Errand::Restore(command, args, decoded) => {
                connection.waiting = false;
                let args = args.args(connection.client.caller());
                self.restore_held(connection, &mut held, command, &args, decoded);
                self.resume(connection);
                self.serve_held(&mut held);
                Some(held)
            }
            Errand::Exec(mut exec) => {
                exec.held = held;
                self.run_exec(connection, exec)
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
            Run::Cursor { begin, .. } if cursor_begins(args.opt(1).unwrap_or_default()) => {
                self.plan_held(held, command, begin, args, out);
            }
            Run::Cursor { .. } => {
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
}
