//! Counters with one writer: a plain load and store each, visible to every core.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::clock::TickScale;

use super::histogram::Histogram;

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
    /// Bytes allocated by this core's thread less what it freed, modulo 2^64 (a gauge).
    allocated,
    /// Longest loop turn in nanoseconds of thread CPU time.
    longest_turn_ns,
    /// Bytes of the largest unfinished input (a gauge).
    input_max,
    /// Bytes of the largest output queue (a gauge).
    output_max,
    /// Clients closed for exceeding a buffer limit.
    limit_closed,
    /// Watched keys (a gauge).
    watched,
}

impl CoreCounters {
    fn new(commands: usize, databases: usize) -> Self {
        let mut counters = CoreCounters::default();
        counters.commands.resize_with(commands, Default::default);
        counters.keys.resize_with(databases, Default::default);
        counters.expires.resize_with(databases, Default::default);
        counters
    }

    fn is_gauge(&self, counter: &Counter) -> bool {
        [
            &self.connected,
            &self.blocked,
            &self.garbage,
            &self.allocated,
            &self.watched,
            &self.changes,
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

    /// Bytes allocated in all: cores allocate for each other, so single counters may be negative.
    pub fn used_memory(&self) -> u64 {
        (self.sum(|core| core.allocated.get()) as i64).max(0) as u64
    }
}
