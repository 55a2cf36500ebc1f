//! What a core does between requests: expiry, freeing, time-outs, limits. All of it in small steps.

use crate::base::clock::ticks;
use crate::mesh::message::ClientKind;
use crate::observe::CoreCounters;
use crate::pubsub::Topic;
use crate::shard::{FORGET_STEP, Shard};

use super::core::{Core, FAREWELL_MS, IDLE_TICK_MS, TICK_MS};

/// Elements freed in one step of a turn.
const FREE_STEP: usize = 256;
/// After so long without a word from the client, memory beyond what its input takes is given back (as in Redis).
const INPUT_IDLE_MS: i64 = 2000;
/// Connections looked at in one tick.
const CRON_CONNECTIONS: usize = 256;

/// Shares a shard's counts with whoever reports. Called by whoever holds the shard.
pub(super) fn publish_shard(counters: &CoreCounters, shard: &Shard) {
    counters.changes.set(shard.effects.changes());
    counters.hits.set(shard.stats.hits);
    counters.misses.set(shard.stats.misses);
    counters.expired.set(shard.stats.expired);
    counters.evicted.set(shard.stats.evicted);
    counters.lazy_freed.set(shard.stats.lazy_freed);
    counters.watched.set(shard.watched.len() as u64);
    counters.blocking_keys.set(shard.blocked.len() as u64);
    counters
        .blocking_keys_gone
        .set(shard.blocked.when_gone() as u64);
    let tracking = &shard.news.tracking;
    counters.tracking_keys.set(tracking.keys() as u64);
    counters.tracking_items.set(tracking.items() as u64);
    counters.tracking_prefixes.set(tracking.prefixes() as u64);
    let audience = &shard.news.audience;
    counters
        .pubsub_channels
        .set(audience.len(Topic::Channel) as u64);
    counters
        .pubsub_patterns
        .set(audience.len(Topic::Pattern) as u64);
    counters
        .pubsub_shard_channels
        .set(audience.len(Topic::Shard) as u64);
    let freed_later = if shard.has_garbage() {
        shard.garbage_len()
    } else {
        0
    };
    counters.garbage.set(freed_later as u64);
    counters
        .evictable
        .set((shard.evictable() + freed_later) as u64);
    for db in 0..shard.keyspace.databases() {
        let db_counts = shard.keyspace.db(db);
        counters.keys[db].set(db_counts.keys() as u64);
        counters.expires[db].set(db_counts.expires() as u64);
    }
}

impl Core {
    /// Whether something is to be done before the core may sleep.
    pub(super) fn has_background_work(&self) -> bool {
        self.shard.as_ref().is_some_and(|shard| {
            shard.has_garbage()
                || self.expiry.pressing
                || self.memory.pressing
                || !self.chores_due.is_empty()
                || !self.slots_to_drop.is_empty()
                || !self.copying.is_empty()
        }) || self.can_walk()
    }

    /// A bounded bit of background work.
    pub(super) fn between_requests(&mut self) {
        if let Some(shard) = &mut self.shard
            && shard.has_garbage()
        {
            shard.free_some(FREE_STEP);
        }
        if self
            .shard
            .as_ref()
            .is_some_and(|shard| shard.walk().is_some())
        {
            self.walk_on();
        }
        if !self.slots_to_drop.is_empty() {
            self.drop_some_keys();
        }
        if !self.copying.is_empty() {
            self.copy_on();
        }
        self.mind_memory();
        if self.clients.are_limited() {
            self.limit_clients();
        }
        let rewrites = &self.observatory.snapshots.log.rewrites;
        let saves = &self.observatory.snapshots.saves;
        if self.index == 0 && rewrites.is_due() && !saves.is_saving() {
            self.next_tick_ms = self.now; // somebody has asked, and looks
        }
        if self.now >= self.next_tick_ms {
            let begun = ticks();
            self.tick();
            let ns = self.observatory.scale.ns(ticks().wrapping_sub(begun));
            self.counters().cron_ns.add(ns);
            self.next_tick_ms = self.now + self.tick_interval();
        } else if self.expiry.pressing {
            self.expire_some();
        }
        if !self.chores_due.is_empty() {
            self.start_chores();
        }
        if let Some(shard) = self.shard.take() {
            self.end_unit(shard); // a deletion may be what somebody waits for
        }
    }

    fn tick(&mut self) {
        if self.pause.until_ms > 0 && self.pause.until_ms <= self.now {
            self.end_pause();
        }
        if let Some(shard) = &mut self.shard {
            shard.limit_tracking(FORGET_STEP); // the limit may have been lowered
        }
        if self.index == 0 {
            self.mind_saves();
            self.mind_rewrites();
            self.mind_stream();
        }
        self.mind_feed();
        self.begin_expiry();
        self.mind_logs();
        self.mind_links();
        self.look_after_connections();
    }

    /// When the next tick is due: soon, unless nothing has happened since the last one and nothing is waiting for it.
    fn tick_interval(&mut self) -> i64 {
        let counters = self.counters();
        let traffic = counters
            .bytes_in
            .get()
            .wrapping_add(counters.bytes_out.get())
            .wrapping_add(counters.remote.get());
        let idle = traffic == self.traffic
            && self.pause.until_ms == 0
            && !self.memory.has_waiting()
            && self.migrations.is_empty()
            && self.connections.len() <= CRON_CONNECTIONS
            && self.shard.as_ref().is_some_and(|shard| {
                (0..shard.keyspace.databases()).all(|db| shard.keyspace.db(db).expires() == 0)
            });
        self.traffic = traffic;
        if idle { IDLE_TICK_MS } else { TICK_MS }
    }

    /// Idle clients, output limits: some connections each tick.
    fn look_after_connections(&mut self) {
        let count = self.connections.len();
        for _ in 0..CRON_CONNECTIONS.min(count) {
            self.cron_from = (self.cron_from + 1) % count;
            let Some(mut connection) = self.connections[self.cron_from].take() else {
                continue;
            };
            let timeout = i64::from(self.config.timeout_seconds) * 1000;
            let idle = self.now - connection.client.active_ms;
            if timeout > 0
                && idle > timeout
                && !connection.client.monitor
                && !connection.waiting
                && connection.client.kind() == ClientKind::Normal
            {
                log::info!("Closing idle client {}", connection.client.peer);
                self.shut_down(&mut connection);
            }
            if connection.at_end && idle > FAREWELL_MS && connection.output.is_sending() {
                self.shut_down(&mut connection);
            }
            self.limit_output(&mut connection);
            if idle > INPUT_IDLE_MS {
                connection.trim_input();
            }
            self.count_client(&mut connection);
            self.put_back(connection);
        }
    }

    /// Closes a client that is owed more than `client-output-buffer-limit` allows.
    pub(super) fn limit_output(&mut self, connection: &mut crate::net::Connection) {
        let class = match connection.client.kind() {
            ClientKind::Normal => 0,
            ClientKind::Replica | ClientKind::Primary => 1,
            ClientKind::PubSub => 2,
        };
        if connection.client.primary {
            return; // it reads nothing, and is not owed anything for long
        }
        let limits = self.config.client_output_buffer_limit[class];
        let owed = connection.output.owed() as u64;
        let hard = limits.hard_bytes > 0 && owed >= limits.hard_bytes;
        let soft = limits.soft_bytes > 0 && owed >= limits.soft_bytes;
        if !soft {
            connection.over_soft_since_ms = 0;
        } else if connection.over_soft_since_ms == 0 {
            connection.over_soft_since_ms = self.now;
        }
        let soft_for = self.now - connection.over_soft_since_ms;
        let too_long = soft && soft_for > limits.soft_seconds as i64 * 1000;
        if (hard || too_long) && !connection.closed {
            log::warn!(
                "Client {} ({}) closed for overcoming of output buffer limits: {owed} bytes are unread",
                connection.client.id,
                connection.client.peer
            );
            self.counters().output_limit_closed.add(1);
            self.shut_down(connection);
        }
    }
}
