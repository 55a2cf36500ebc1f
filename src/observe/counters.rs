//! Counters with one writer: a plain load and store each, visible to every core.

use crate::persistence::Status;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::acl::DenialLog;
use crate::base::clock::TickScale;
use crate::script::Scripts;

use super::errors::ErrorKinds;
use super::histogram::Histogram;
use super::latency::LatencyEvents;
use super::rates::{Look, Rates};
use super::slowlog::SlowLog;

/// A number that one core writes and any core may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owning core may.
    #[inline]
    pub fn add(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }

    /// Sets; only the owning core may.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Raises to `value` if that is more; only the owning core may.
    pub fn raise(&self, value: u64) {
        if value > self.get() {
            self.set(value);
        }
    }

    /// The number as of some moment ago.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted of one command on one core.
#[derive(Debug, Default)]
pub struct CommandCounters {
    /// Times run.
    pub calls: Counter,
    /// Clock ticks spent.
    pub ticks: Counter,
    /// Refused before running.
    pub rejected: Counter,
    /// Ended in an error.
    pub failed: Counter,
    /// Durations, from the first call on.
    latency: OnceLock<Box<Histogram>>,
}

impl CommandCounters {
    /// A run of so many ticks.
    #[inline]
    pub fn ran(&self, ticks: u64, scale: TickScale, track_latency: bool) {
        self.calls.add(1);
        self.ticks.add(ticks);
        if track_latency {
            self.latency
                .get_or_init(Box::default)
                .record(scale.ns(ticks));
        }
    }

    /// The histogram of durations, if the command ever ran.
    pub fn latency(&self) -> Option<&Histogram> {
        self.latency.get().map(|boxed| &**boxed)
    }

    fn reset(&self) {
        for counter in [&self.calls, &self.ticks, &self.rejected, &self.failed] {
            counter.set(0);
        }
        if let Some(latency) = self.latency() {
            latency.reset();
        }
    }
}

macro_rules! core_counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What one core counts.
        #[repr(align(128))]
        #[derive(Debug, Default)]
        pub struct CoreCounters {
            $($(#[$doc])* pub $name: Counter,)*
            /// By place in the command table.
            pub commands: Vec<CommandCounters>,
            /// Keys by database.
            pub keys: Vec<Counter>,
            /// Keys with an expiry by database.
            pub expires: Vec<Counter>,
            /// Mean time to live by database in milliseconds, as active expiry estimates it from the keys it meets.
            pub avg_ttl_ms: Vec<Counter>,
            /// Errors by kind.
            pub error_kinds: ErrorKinds,
        }

        impl CoreCounters {
            /// Sets to zero what CONFIG RESETSTAT does; gauges stay.
            pub fn reset(&self) {
                for counter in [$(&self.$name),*] {
                    if !self.is_gauge(counter) {
                        counter.set(0);
                    }
                }
                self.commands.iter().for_each(CommandCounters::reset);
                self.error_kinds.reset();
            }
        }
    };
}

core_counters! {
    /// Commands run here, for whatever shard.
    processed,
    /// Commands run on this core's shard for another core's connection.
    remote,
    /// Commands run by this core on a borrowed shard.
    borrowed,
    /// Connections accepted.
    accepted,
    /// Connections refused over `maxclients`.
    refused,
    /// Connections open now (a gauge).
    connected,
    /// Clients blocked now (a gauge).
    blocked,
    /// Clients blocked now that have a time-out (a gauge).
    timed,
    /// Bytes read from clients.
    bytes_in,
    /// Bytes written to clients.
    bytes_out,
    /// Error replies.
    errors,
    /// Loop turns.
    turns,
    /// Times asleep.
    sleeps,
    /// System calls on the ring.
    enters,
    /// Batches sent to other cores.
    batches,
    /// Cross-shard transactions begun here.
    transactions,
    /// Reads that found their key.
    hits,
    /// Reads that did not.
    misses,
    /// Keys expired.
    expired,
    /// Keys evicted.
    evicted,
    /// Values and databases freed in steps.
    lazy_freed,
    /// Keys of values waiting to be freed (a gauge).
    garbage,
    /// Changes to data.
    changes,
    /// Bytes of the shard's log.
    log_bytes,
    /// Bytes that wait to be appended to it (a gauge).
    log_buffer,
    /// Links to other servers that MIGRATE keeps (a gauge).
    migrate_links,
    /// Bytes that this core's interpreter of EVAL uses (a gauge).
    lua_eval_bytes,
    /// Bytes that its interpreter of functions uses (a gauge).
    lua_function_bytes,
    /// Bytes allocated by this core's thread less what it freed, modulo 2^64 (a gauge).
    allocated,
    /// Longest loop turn in nanoseconds, by the clock: on a core shared with others their time is in it.
    longest_turn_ns,
    /// Bytes of the largest unfinished input (a gauge).
    input_max,
    /// Bytes of the largest output queue (a gauge).
    output_max,
    /// Clients closed for an unfinished request beyond `client-query-buffer-limit`.
    input_limit_closed,
    /// Clients closed for replies beyond `client-output-buffer-limit`.
    output_limit_closed,
    /// Errors of commands that a primary has sent.
    unexpected_errors,
    /// Watched keys (a gauge).
    watched,
    /// Clients that track keys (a gauge).
    tracking_clients,
    /// Keys remembered for them on this shard (a gauge).
    tracking_keys,
    /// The same, each as often as there are clients (a gauge).
    tracking_items,
    /// Prefixes that any client of the server tracks (a gauge).
    tracking_prefixes,
    /// Clients with subscriptions (a gauge).
    pubsub_clients,
    /// Channels with subscribers on any core, as this core's shard knows them (a gauge).
    pubsub_channels,
    /// The same for patterns (a gauge).
    pubsub_patterns,
    /// The same for shard channels (a gauge).
    pubsub_shard_channels,
    /// Nanoseconds in loop turns, sleep left out. The engine adds at the end of a turn.
    busy_ns,
    /// Receives that brought bytes from clients. The engine adds.
    reads,
    /// Sends to clients. The engine adds.
    writes,
    /// AUTH and HELLO refused. The engine adds, here and to the next three.
    auth_denied,
    /// Commands refused because the user may not run them.
    command_denied,
    /// Commands refused because the user may not use a key.
    key_denied,
    /// Commands refused because the user may not use a channel.
    channel_denied,
    /// Clients closed because all of them took too much memory (`maxmemory-clients`). The engine adds.
    evicted_clients,
    /// Active expiry stopped because its time was up. The engine adds.
    expire_capped,
    /// Microseconds of active expiry. The engine adds.
    expire_us,
    /// Expired keys among those that active expiry looked at last, in hundredths of a percent (a gauge). The engine sets.
    expired_stale,
    /// Size class of the largest client that `maxmemory-clients` may close, from 1; zero for none (a gauge).
    largest_client,
    /// Bytes of memory for connections: input, output, what is remembered of clients (a gauge). The engine sets.
    client_bytes,
    /// Bytes of memory of the hash tables themselves (a gauge). The engine sets it now and then.
    table_bytes,
    /// Blocking keys (a gauge). The engine sets.
    blocking_keys,
    /// Those of them whose deletion wakes somebody too (a gauge).
    blocking_keys_gone,
    /// Keys that `maxmemory-policy` may evict, and values still being freed (a gauge).
    evictable,
    /// How much the worst key known here deserves to go, zero when none is known (a gauge): `shard/evict.rs`.
    evict_score,
    /// Milliseconds for which memory stayed over `maxmemory`, as this core saw it.
    eviction_exceeded_ms,
    /// Since when it does, Unix milliseconds; zero when it does not (a gauge).
    eviction_exceeding_since_ms,
}

impl CoreCounters {
    fn new(commands: usize, databases: usize) -> Self {
        let mut counters = CoreCounters::default();
        counters.commands.resize_with(commands, Default::default);
        counters.keys.resize_with(databases, Default::default);
        counters.expires.resize_with(databases, Default::default);
        counters.avg_ttl_ms.resize_with(databases, Default::default);
        counters
    }

    fn is_gauge(&self, counter: &Counter) -> bool {
        [
            &self.connected,
            &self.blocked,
            &self.timed,
            &self.garbage,
            &self.lua_eval_bytes,
            &self.lua_function_bytes,
            &self.allocated,
            &self.watched,
            &self.tracking_clients,
            &self.tracking_keys,
            &self.tracking_items,
            &self.tracking_prefixes,
            &self.pubsub_clients,
            &self.pubsub_channels,
            &self.pubsub_patterns,
            &self.pubsub_shard_channels,
            &self.changes,
            &self.expired_stale,
            &self.client_bytes,
            &self.largest_client,
            &self.table_bytes,
            &self.blocking_keys,
            &self.blocking_keys_gone,
            &self.evictable,
            &self.evict_score,
            &self.eviction_exceeding_since_ms,
        ]
        .iter()
        .any(|gauge| std::ptr::eq(*gauge, counter))
    }
}

/// The counters of all cores.
#[derive(Debug)]
pub struct Observatory {
    cores: Vec<CoreCounters>,
    /// Turns ticks into time.
    pub scale: TickScale,
    /// Unix milliseconds of the start.
    pub started_ms: i64,
    /// Forty hexadecimal digits, new at each start.
    pub run_id: String,
    /// What boot knows and nothing changes.
    pub about: About,
    /// Slow commands.
    pub slow_log: SlowLog,
    /// Slow events.
    pub latency: LatencyEvents,
    /// How much happens each second.
    pub rates: Rates,
    /// Cached scripts, function libraries, and which of them run too long.
    pub scripts: Arc<Scripts>,
    /// Snapshots.
    pub snapshots: Arc<Status>,
    /// This server's part in replication.
    pub replication: Arc<crate::replication::Status>,
    memory_peak: AtomicU64,
    denials: Mutex<DenialLog>,
}

/// What INFO says of this process besides counters. Boot fills it in before the cores start.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Absolute path of the program.
    pub executable: String,
    /// Absolute path of the configuration file, empty without one.
    pub config_file: String,
    /// Forty hexadecimal digits that name the history of the data.
    pub replid: String,
    /// `used_memory` when the server was ready to serve.
    pub startup_bytes: u64,
}

impl Observatory {
    /// Counters of so many shards' cores and the control core.
    pub fn new(shards: usize, commands: usize, databases: usize, now: i64, run_id: String) -> Self {
        Observatory {
            cores: (0..=shards)
                .map(|_| CoreCounters::new(commands, databases))
                .collect(),
            scale: TickScale::measured(),
            started_ms: now,
            run_id,
            about: About::default(),
            slow_log: SlowLog::default(),
            latency: LatencyEvents::default(),
            rates: Rates::default(),
            scripts: Arc::default(),
            replication: Arc::default(),
            snapshots: Arc::new(Status::new(now)),
            memory_peak: AtomicU64::new(0),
            denials: Mutex::default(),
        }
    }

    /// One core's counters; the control core is the last.
    #[inline]
    pub fn core(&self, index: usize) -> &CoreCounters {
        &self.cores[index]
    }

    /// The counters of all cores.
    pub fn cores(&self) -> &[CoreCounters] {
        &self.cores
    }

    /// A counter summed over all cores.
    pub fn sum(&self, of: impl Fn(&CoreCounters) -> u64) -> u64 {
        self.cores.iter().map(of).fold(0, u64::wrapping_add)
    }

    /// Keys in all databases, as the cores last said.
    pub fn keys(&self) -> u64 {
        self.sum(|core| core.keys.iter().map(|keys| keys.get()).sum())
    }

    /// The log of denials, which only they and ACL LOG lock.
    pub fn denials(&self) -> MutexGuard<'_, DenialLog> {
        // The lock guards a plain list that is whole after every statement.
        self.denials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes allocated in all: cores allocate for each other, so single counters may be negative.
    pub fn used_memory(&self) -> u64 {
        let beside = self.snapshots.beside.bytes();
        let cores = self.sum(|core| core.allocated.get());
        (cores.wrapping_add(beside) as i64).max(0) as u64
    }

    /// The most memory ever used, as far as anybody looked.
    pub fn memory_peak(&self) -> u64 {
        self.memory_peak
            .fetch_max(self.used_memory(), Ordering::Relaxed);
        self.memory_peak.load(Ordering::Relaxed)
    }

    /// Looks at what rates and peaks are made of. The control core calls it every 100 milliseconds.
    pub fn look(&self, now_ms: i64) {
        self.memory_peak();
        self.rates.record(Look {
            time_ms: now_ms,
            commands: self.sum(|core| core.processed.get()),
            bytes_in: self.sum(|core| core.bytes_in.get()),
            bytes_out: self.sum(|core| core.bytes_out.get()),
            turns: self.sum(|core| core.turns.get()),
            busy_us: self.sum(|core| core.busy_ns.get()) / 1000,
        });
    }

    /// One command's durations over all cores, as `Histogram` counts them; empty when it never ran.
    pub fn durations(&self, command: usize) -> Vec<u64> {
        let mut total = Vec::new();
        for core in &self.cores {
            if let Some(latency) = core
                .commands
                .get(command)
                .and_then(CommandCounters::latency)
            {
                latency.add_to(&mut total);
            }
        }
        total
    }

    /// A counter of one command summed over all cores.
    pub fn sum_of(&self, command: usize, of: impl Fn(&CommandCounters) -> &Counter) -> u64 {
        self.sum(|core| {
            core.commands
                .get(command)
                .map_or(0, |counters| of(counters).get())
        })
    }
}
