//! Running a handler: the reply goes where it is told, the effect into the stream, the time into the counters.

use std::sync::Arc;

use crate::base::clock::ticks;
use crate::command::client::{PlanFn, ShardFn};
use crate::command::keys::key_places;
use crate::command::spec::Flags;
use crate::command::table::Registered;
use crate::keyspace::blocked::Wait;
use crate::observe::CommandCounters;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Shard, Shards};

use super::core::Core;

impl Core {
    /// Runs a handler on a shard that is in hand.
    #[inline]
    pub(super) fn execute(
        &mut self,
        shard: &mut Shard,
        command: &'static Registered,
        handler: ShardFn,
        args: &Args<'_>,
        out: &mut Vec<u8>,
    ) {
        self.apply(shard, command, handler, args, out);
        self.ran(command, args);
    }

    /// The same without counting a run: a part of a command that its home core counts.
    #[inline]
    pub(super) fn apply(
        &mut self,
        shard: &mut Shard,
        command: &'static Registered,
        handler: ShardFn,
        args: &Args<'_>,
        out: &mut Vec<u8>,
    ) {
        shard.effects.begin();
        let start = out.len();
        let mut reply = Reply::new(out, args.caller.resp3);
        if let Err(error) = handler(shard, args, &mut reply) {
            self.failed(command, &error, out, start);
            if args.caller.primary {
                self.feed_failed(&command.name, &error);
            }
        }
        shard.effects.end(args);
        if shard.news.has_some()
            | args.caller.remembers
            | shard.slot_costs.is_some()
            | shard.walk().is_some()
        {
            self.follow_up_on(shard, command, args, out.len() - start);
        }
    }

    /// What only some servers and clients want of a command that has written so many bytes.
    #[inline(never)]
    fn follow_up_on(
        &mut self,
        shard: &mut Shard,
        command: &'static Registered,
        args: &Args<'_>,
        bytes: usize,
    ) {
        if shard.slot_costs.is_some() {
            self.charge([&mut *shard], command, args, bytes);
        }
        if shard.count_kept() && !self.gates.crowded {
            self.crowd(true);
        }
        if shard.news.has_some() | args.caller.remembers {
            remember_reads(&mut Shards::new(&mut [shard], self.shards), command, args);
            self.take_news(shard, args.caller.client);
        }
    }

    /// Runs a plan over shards that are in hand. Where it has to wait, and may, it has not run yet and has no reply.
    pub(super) fn execute_plan<'a>(
        &mut self,
        held: &'a mut [&'a mut Shard],
        command: &'static Registered,
        plan: PlanFn,
        args: &Args<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Wait> {
        // What SCAN and its like meet expired on several shards is no transaction.
        let flags = command.spec.flags;
        let looks_about = flags.has(Flags::READONLY) && flags.has(Flags::TOUCHES_ARBITRARY_KEYS);
        let is_step = held.len() > 1 && !looks_about && Self::begin_unit_on(held);
        let mut shards = Shards::new(held, self.shards);
        shards.iter_mut().for_each(|shard| shard.effects.begin());
        let news = &shards.any().news;
        let audible = !news.audience.is_empty() | news.is_attentive();
        if audible && shards.held() > 1 {
            let numbers = Arc::default();
            for shard in shards.iter_mut() {
                shard.news.number_by(Some(Arc::clone(&numbers)));
            }
        }
        let start = out.len();
        let mut reply = Reply::new(out, args.caller.resp3);
        if let Err(error) = plan(&mut shards, args, &mut reply) {
            self.failed(command, &error, out, start);
            if args.caller.primary {
                self.feed_failed(&command.name, &error);
            }
        }
        for shard in shards.iter_mut() {
            shard.effects.end(args);
        }
        if is_step {
            self.end_unit_on(shards.all());
        }
        for shard in shards.iter_mut() {
            if shard.count_kept() && !self.gates.crowded {
                self.crowd(true);
            }
        }
        if audible {
            remember_reads(&mut shards, command, args);
            self.take_news_of(&mut shards, args.caller.client);
        }
        if let Some(wait) = shards.take_wait()
            && !args.caller.deny_blocking
        {
            out.truncate(start);
            self.last_ticks = ticks();
            return Some(wait);
        }
        if shards.any().slot_costs.is_some() {
            self.charge(shards.iter_mut(), command, args, out.len() - start);
        }
        self.ran(command, args);
        None
    }

    /// The handler refused: whatever it wrote is replaced by the error.
    #[cold]
    pub(super) fn failed(
        &mut self,
        command: &'static Registered,
        error: &ErrorReply,
        out: &mut Vec<u8>,
        start: usize,
    ) {
        out.truncate(start);
        Reply::new(out, false).error(error);
        self.count_error(error);
        self.counters_of(command).failed.add(1);
    }

    /// What this core counts of a command.
    pub(super) fn counters_of(&self, command: &Registered) -> &CommandCounters {
        &self.counters().commands[usize::from(command.id)]
    }

    /// Counts an error reply.
    #[cold]
    pub(super) fn count_error(&self, error: &ErrorReply) {
        self.counters().errors.add(1);
        self.counters().error_kinds.count(error.code());
    }

    /// Counts a run and its time, from the end of the run before.
    #[inline]
    pub(super) fn ran(&mut self, command: &'static Registered, args: &Args<'_>) {
        self.ran_since(command, args, self.last_ticks);
    }

    /// The same for what began at `start`: EXEC, and what other cores were asked for.
    #[inline]
    pub(super) fn ran_since(&mut self, command: &'static Registered, args: &Args<'_>, start: u64) {
        let now = ticks();
        let spent = now.wrapping_sub(start);
        self.last_ticks = now;
        let scale = self.observatory.scale;
        let counters = self.observatory.core(self.index);
        counters.processed.add(1);
        counters.commands[usize::from(command.id)].ran(spent, scale, self.config.latency_tracking);
        if spent >= self.slow_ticks {
            self.slow(command, args, scale.ns(spent));
        }
    }
}

/// Keeps in mind what a client has read that wants to hear of changes.
#[cold]
fn remember_reads(shards: &mut Shards<'_>, command: &'static Registered, args: &Args<'_>) {
    let flags = command.spec.flags;
    if !args.caller.remembers || !flags.has(Flags::READONLY) || flags.has(Flags::PUBSUB) {
        return;
    }
    for (place, _) in key_places(command.spec, args).unwrap_or_default() {
        let key = args.key(place as usize);
        shards.of(&key).remember_read(args.caller.client, key.bytes);
    }
}
