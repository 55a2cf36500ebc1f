//! Staying within `maxmemory`: when keys are evicted, on which core, and what becomes of commands that need memory.
//!
//! Every core reads the memory used by all of them once a turn, and again whenever its own thread has allocated some
//! more; in between, a command that may need memory costs a comparison of the thread's own counter. Each core publishes
//! how much its worst key deserves to go. The core whose key is the worst of all evicts; a core in need that sees a
//! worse key elsewhere wakes that core, and evicts its own only when the excess nears what is tolerated. A command that
//! would go beyond that waits until keys have gone somewhere; it is refused only when no shard has a key left to evict.
//!
//! While a limit below what is in use has just been set, the excess that is tolerated is what is there, and shrinks
//! with it: writers go on at the pace of eviction instead of waiting for its end.

use std::sync::atomic::Ordering::Relaxed;

use crate::base::clock::ticks;
use crate::command::admit::needs_memory;
use crate::command::client::Client;
use crate::command::table::Registered;
use crate::mesh::message::CoreMessage;
use crate::net::Connection;
use crate::shard::{Eviction, Shard};

use super::core::Core;

/// How far beyond the limit memory may go, for each shard.
const EXCESS_PER_SHARD: u64 = 1 << 20;
/// A core that sees a worse key elsewhere leaves eviction to that one up to this share of the tolerated excess.
const LEAVE_SHARE: u64 = 4;
/// What a thread allocates at most before it looks at the sum again: several cores share the room that is left.
const ROOM_MAX: u64 = 256 << 10;
/// What it allocates before it looks again while memory is over the limit.
const ROOM_OVER: u64 = 16 << 10;
/// Eviction goes on to so much below the limit, so that not every command has to evict.
const SPARE_MAX: u64 = 32 << 10;
/// The same as a part of the limit, for small ones.
const SPARE_SHARE: u64 = 2048;
/// Attempts between looks at the clock (Redis: 16 keys).
const ATTEMPTS: u32 = 16;
/// Elements of big values freed at once while memory is short.
const FREE_STEP: usize = 256;

/// What this core knows about the limit.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// `maxmemory` is set.
    limited: bool,
    /// The thread's own counter beyond which the sum must be looked at again.
    ceiling: u64,
    /// Commands that need memory wait or are refused: each looks whether that still holds.
    closed: bool,
    /// Excess that is borne without making writers wait.
    tolerated: u64,
    /// This core has keys to evict before it may sleep.
    pub(super) pressing: bool,
    /// Connections whose command waits for memory.
    waiting: Vec<u32>,
    /// Another core has been asked in this turn.
    asked: bool,
    /// Since when memory is over the limit, Unix milliseconds; zero when it is not.
    since_ms: i64,
}

impl Memory {
    /// Whether commands wait for memory.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// What a command that needs memory finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It may run.
    Enough,
    /// Keys are on their way out: it must wait.
    Later,
    /// Nothing can be evicted any more.
    Nothing,
}

/// How long eviction may take at a time, by `maxmemory-eviction-tenacity`, in nanoseconds.
fn time_limit_ns(tenacity: u8) -> u64 {
    match tenacity {
        0..=10 => 50_000 * u64::from(tenacity),
        11..=99 => (500_000.0 * 1.15f64.powi(i32::from(tenacity) - 10)) as u64,
        _ => u64::MAX,
    }
}

impl Core {
    /// The limit may have changed.
    pub(super) fn memory_configured(&mut self) {
        // A replica waits for its primary to delete what goes.
        let leaves_it = self.role.is_replica && self.config.replica_ignore_maxmemory;
        self.memory.limited = self.config.maxmemory > 0 && !leaves_it;
        self.memory.ceiling = 0;
        self.memory.tolerated = u64::MAX;
        if !self.memory.limited {
            self.memory.pressing = false;
            self.note_excess(0);
            self.let_waiting_go();
        }
    }

    /// Whether the sum must be looked at before a command that needs memory runs here.
    #[inline]
    pub(super) fn is_short(&self) -> bool {
        self.memory.limited
            && (self.memory.closed
                || self.allocation.balance().wrapping_sub(self.memory.ceiling) as i64 > 0)
    }

    /// What a client's command finds when memory may be short.
    #[cold]
    pub(super) fn room_for(&mut self, command: &Registered, client: &Client) -> Room {
        if !client.authenticated || !needs_memory(command, client) {
            return Room::Enough;
        }
        self.make_room()
    }

    /// Evicts for a time if memory is used up, here or by asking others.
    pub(super) fn make_room(&mut self) -> Room {
        let mut shard = self.shard.take();
        let room = self.make_room_with(shard.as_deref_mut());
        self.shard = shard;
        room
    }

    /// A batch of other cores' commands runs on a shard in hand: they have been let in where they come from, and what
    /// they need is made here as they go.
    #[cold]
    pub(super) fn make_room_on(&mut self, shard: &mut Shard) {
        self.make_room_with(Some(shard));
    }

    /// A script begins with all shards in hand.
    #[cold]
    pub(super) fn make_room_for_script(&mut self, shard: &mut Shard) -> Room {
        self.make_room_with(Some(shard))
    }

    fn make_room_with(&mut self, mut shard: Option<&mut Shard>) -> Room {
        let mut over = self.excess_without_clients();
        if over > 0
            && let Some(shard) = &mut shard
        {
            over = self.evict_from(shard, over);
        }
        let room = self.judge(over, shard.is_some_and(|shard| shard.expiry_paused));
        self.memory.closed = room != Room::Enough;
        self.set_ceiling(over);
        room
    }

    /// What an excess means for commands that need memory.
    fn judge(&mut self, over: u64, paused: bool) -> Room {
        if over == 0 {
            self.memory.tolerated = self.excess_max();
            return Room::Enough;
        }
        if paused || self.pause.until_ms > self.now {
            return Room::Enough; // as in Redis: a paused server evicts nothing and refuses nothing for it
        }
        if self.observatory.sum(|core| core.evictable.get()) == 0 {
            return Room::Nothing;
        }
        if over > self.memory.tolerated {
            return Room::Later;
        }
        self.memory.tolerated = over.max(self.excess_max());
        Room::Enough
    }

    /// Excess that is always borne.
    fn excess_max(&self) -> u64 {
        EXCESS_PER_SHARD * self.shards as u64
    }

    /// Memory used, without what only slow replicas need of the stream: keys would go for them without making room.
    fn used_memory(&self) -> u64 {
        self.counters().allocated.set(self.allocation.balance());
        let beyond = &self.observatory.replication.beyond_backlog_bytes;
        let used = self.observatory.used_memory();
        used.saturating_sub(beyond.load(Relaxed))
    }

    /// Bytes beyond the limit.
    fn excess(&self) -> u64 {
        self.used_memory().saturating_sub(self.config.maxmemory)
    }

    /// The same once clients that take more than they may are closed: they go before keys do.
    fn excess_without_clients(&mut self) -> u64 {
        let over = self.excess();
        if over == 0 || !self.clients.are_limited() {
            return over;
        }
        self.limit_clients();
        self.excess()
    }

    fn set_ceiling(&mut self, over: u64) {
        let room = if over > 0 {
            ROOM_OVER
        } else {
            self.config
                .maxmemory
                .saturating_sub(self.used_memory())
                .min(ROOM_MAX)
        };
        self.memory.ceiling = self.allocation.balance().wrapping_add(room);
    }

    /// Evicts from a shard in hand until memory is below the limit, the time is up, or the turn is another core's.
    /// Gives what is still in excess.
    fn evict_from(&mut self, shard: &mut Shard, mut over: u64) -> u64 {
        let limit = self.config.maxmemory;
        let goal = limit - (limit / SPARE_SHARE).min(SPARE_MAX);
        let scale = self.observatory.scale;
        let time = scale.ticks(time_limit_ns(self.config.maxmemory_eviction_tenacity));
        let (start, evicted_before) = (ticks(), shard.stats.evicted);
        let mut used = limit + over;
        // What is to be said of evicted keys leaves with this turn: it must not make more keys go.
        let said = shard.news.outbox_bytes();
        while used > goal {
            if self.leaves_to_another(shard, over) {
                break;
            }
            let mut nothing = false;
            for _ in 0..ATTEMPTS {
                if shard.has_garbage() {
                    shard.free_some(FREE_STEP);
                } else if shard.evict_one() == Eviction::Nothing {
                    nothing = true;
                    break;
                }
                let saying = shard.news.outbox_bytes().saturating_sub(said) as u64;
                used = self.used_memory().saturating_sub(saying);
                if used <= goal {
                    break;
                }
            }
            over = used.saturating_sub(limit);
            if nothing || ticks().wrapping_sub(start) >= time {
                break;
            }
        }
        let counters = self.observatory.core(shard.index);
        super::background::publish_shard(counters, shard);
        counters.evict_score.set(shard.worst_score());
        if shard.stats.evicted > evicted_before {
            let ms = scale.ns(ticks().wrapping_sub(start)) / 1_000_000;
            let threshold = self.config.latency_monitor_threshold_ms;
            self.observatory
                .latency
                .record("eviction-cycle", self.now, ms, threshold);
        }
        over
    }

    /// Whether a key of another shard deserves to go rather than any of this one, and there is time to leave it to the
    /// core there. That core is told.
    fn leaves_to_another(&mut self, shard: &mut Shard, over: u64) -> bool {
        if self.shards == 1 || shard.has_garbage() {
            return false;
        }
        let own = shard.worst_score();
        if own > 0 && over > self.excess_max() / LEAVE_SHARE {
            return false;
        }
        let Some(worse) = self.core_with_worse(shard.index, own) else {
            return false;
        };
        self.ask_to_evict(worse);
        true
    }

    /// The core that has published the worst key of all, if it is worse than `own`. One that has keys but has not said
    /// how bad they are comes first: it is to find out.
    fn core_with_worse(&self, except: usize, own: u64) -> Option<usize> {
        (0..self.shards)
            .filter(|&core| core != except)
            .filter_map(|index| {
                let core = self.observatory.core(index);
                let score = match (core.evictable.get(), core.evict_score.get()) {
                    (0, _) => return None,
                    (_, 0) => u64::MAX,
                    (_, score) => score,
                };
                (score > own).then_some((score, index))
            })
            .max()
            .map(|(_, index)| index)
    }

    /// Wakes another core: it looks at its memory every turn.
    fn ask_to_evict(&mut self, core: usize) {
        if core != self.index && !self.memory.asked {
            self.memory.asked = true;
            self.links.core(core).mail(CoreMessage::Evict);
            self.wake(core);
        }
    }

    /// Once a turn: evicts for a time if memory is used up, and lets go on who waited for that.
    #[inline]
    pub(super) fn mind_memory(&mut self) {
        if self.memory.limited {
            self.mind_limited_memory();
        }
    }

    #[cold]
    fn mind_limited_memory(&mut self) {
        self.memory.asked = false;
        let mut over = self.excess_without_clients();
        self.memory.pressing = false;
        if over > 0 {
            let mut shard = self.shard.take();
            match &mut shard {
                Some(shard) => {
                    over = self.evict_from(shard, over);
                    self.memory.pressing = over > 0
                        && !shard.expiry_paused
                        && (shard.has_garbage() || shard.evictable() > 0)
                        && !self.leaves_to_another(shard, over);
                }
                None => {
                    if let Some(worse) = self.core_with_worse(self.index, 0) {
                        self.ask_to_evict(worse);
                    }
                }
            }
            self.shard = shard;
        }
        self.note_excess(over);
        self.set_ceiling(over);
        let room = self.judge(over, false);
        self.memory.closed = room != Room::Enough;
        if self.memory.has_waiting() && room != Room::Later {
            self.let_waiting_go();
        }
    }

    /// Keeps the time that memory has been over the limit (`total_eviction_exceeded_time`).
    fn note_excess(&mut self, over: u64) {
        let memory = &mut self.memory;
        match (memory.since_ms, over) {
            (0, 0) => return,
            (0, _) => memory.since_ms = self.now,
            (since, 0) => {
                let passed = (self.now - since).max(0) as u64;
                memory.since_ms = 0;
                self.observatory
                    .core(self.index)
                    .eviction_exceeded_ms
                    .add(passed);
            }
            _ => return,
        }
        self.observatory
            .core(self.index)
            .eviction_exceeding_since_ms
            .set(self.memory.since_ms as u64);
    }

    /// A connection's command waits for memory; it is tried again when some has been freed.
    pub(super) fn wait_for_memory(&mut self, connection: &mut Connection) {
        connection.waiting = true;
        self.memory.waiting.push(connection.place.index);
    }

    fn let_waiting_go(&mut self) {
        for index in std::mem::take(&mut self.memory.waiting) {
            if let Some(mut connection) = self.connections[index as usize].take() {
                connection.waiting = false;
                self.resume(&mut connection);
                self.put_back(connection);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenacity_gives_the_time_that_redis_gives() {
        assert_eq!([0, 1, 10].map(time_limit_ns), [0, 50_000, 500_000]);
        assert!((570_000..580_000).contains(&time_limit_ns(11)));
        assert!((120e9..170e9).contains(&(time_limit_ns(99) as f64)));
        assert_eq!(time_limit_ns(100), u64::MAX);
    }
}
