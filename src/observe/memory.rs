//! Where memory goes, for INFO and MEMORY STATS: our own counters beside what the allocator and the system say.

use std::sync::atomic::Ordering::Relaxed;

use crate::base::system;

use super::counters::Observatory;

/// What the allocator counts, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocatorFacts {
    /// Handed out.
    pub allocated: u64,
    /// In pages that hold something.
    pub active: u64,
    /// In memory, its own structures included.
    pub resident: u64,
}

impl AllocatorFacts {
    /// Name and release of the allocator, as in `jemalloc-5.3.0`.
    pub fn name() -> String {
        let version = tikv_jemalloc_ctl::version::read().unwrap_or("unknown");
        let release = version.split('-').next().unwrap_or(version);
        format!("jemalloc-{release}")
    }

    /// Asks jemalloc; zeros when another allocator is in use.
    pub fn now() -> Self {
        use tikv_jemalloc_ctl::{epoch, stats};
        // The numbers are as of the last epoch.
        if epoch::advance().is_err() {
            return Self::default();
        }
        let bytes = |read: Result<usize, tikv_jemalloc_ctl::Error>| read.unwrap_or(0) as u64;
        AllocatorFacts {
            allocated: bytes(stats::allocated::read()),
            active: bytes(stats::active::read()),
            resident: bytes(stats::resident::read()),
        }
    }
}

/// Where memory goes, in bytes unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MemoryFacts {
    /// Allocated by all cores.
    pub used: u64,
    /// The most of it ever.
    pub peak: u64,
    /// Used when the server was ready to serve.
    pub startup: u64,
    /// For connections.
    pub clients: u64,
    /// The stream's end that is kept for replicas, up to `repl-backlog-size`.
    pub backlog: u64,
    /// Of the stream beyond that, for slow replicas, and their connections.
    pub replicas: u64,
    /// Hash tables without what is in them.
    pub tables: u64,
    /// In memory, as the system sees it.
    pub resident: u64,
    /// Of the machine.
    pub machine: u64,
    /// What the allocator says.
    pub allocator: AllocatorFacts,
    /// Keys in all databases.
    pub keys: u64,
}

impl MemoryFacts {
    /// Asks everybody.
    pub fn now(observatory: &Observatory) -> Self {
        MemoryFacts {
            used: observatory.used_memory(),
            peak: observatory.memory_peak(),
            startup: observatory.about.startup_bytes,
            clients: observatory.sum(|core| core.client_bytes.get()),
            backlog: observatory.replication.backlog_bytes.load(Relaxed),
            replicas: observatory.replication.beyond_backlog_bytes.load(Relaxed)
                + observatory.replication.replica_bytes.load(Relaxed),
            tables: observatory.sum(|core| core.table_bytes.get()),
            resident: system::resident_bytes(),
            machine: system::machine_bytes(),
            allocator: AllocatorFacts::now(),
            keys: observatory.sum(|core| core.keys.iter().map(|keys| keys.get()).sum()),
        }
    }

    /// Everything but the data.
    pub fn overhead(&self) -> u64 {
        self.startup + self.clients + self.backlog + self.replicas + self.tables
    }

    /// The data.
    pub fn dataset(&self) -> u64 {
        self.used.saturating_sub(self.overhead())
    }

    /// The data as a percentage of what is used beyond the start.
    pub fn dataset_percentage(&self) -> f64 {
        percentage(self.dataset(), self.used.saturating_sub(self.startup))
    }

    /// What is used as a percentage of the peak.
    pub fn peak_percentage(&self) -> f64 {
        percentage(self.used, self.peak)
    }

    /// Memory used beyond the start for each key.
    pub fn bytes_per_key(&self) -> u64 {
        self.used
            .saturating_sub(self.startup)
            .checked_div(self.keys)
            .unwrap_or(0)
    }
}

fn percentage(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 * 100.0 / whole as f64
    }
}

/// How many times `part` `whole` is, and the bytes between them: fragmentation in its several meanings.
pub fn ratio(whole: u64, part: u64) -> (f64, i64) {
    let times = if part == 0 {
        0.0
    } else {
        whole as f64 / part as f64
    };
    (times, whole as i64 - part as i64)
}
