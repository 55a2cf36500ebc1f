//! What every core knows about this server's part in replication: numbers that the control core writes and others read.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::report::Report;
use crate::config::Config;

/// See the head of the file.
#[derive(Debug, Default)]
pub struct Status {
    /// `repl-timeout` in seconds, for threads that wait for the other end.
    timeout_s: AtomicU32,
    /// Links of the cluster's bus.
    pub cluster_links: AtomicU32,
    /// Bytes that the links of the cluster's bus take: `mem_cluster_links`.
    pub cluster_link_bytes: AtomicU64,
    /// This server is a replica.
    pub is_replica: AtomicBool,
    /// A replica's link is up: it has all data and follows.
    pub link_is_up: AtomicBool,
    /// Replicas that have acknowledged something within `min-replicas-max-lag` seconds.
    pub good_replicas: AtomicU32,
    /// Replicas of any state.
    pub replicas: AtomicU32,
    /// Bytes of the backlog: `mem_replication_backlog`.
    pub backlog_bytes: AtomicU64,
    /// Bytes that only slow replicas still need, which are kept beyond the backlog's size.
    pub beyond_backlog_bytes: AtomicU64,
    /// Bytes that the connections of replicas take: `mem_clients_slaves`.
    pub replica_bytes: AtomicU64,
    /// INFO's `sync_full`.
    pub syncs_full: AtomicU64,
    /// INFO's `sync_partial_ok`.
    pub syncs_partial: AtomicU64,
    /// INFO's `sync_partial_err`.
    pub syncs_partial_refused: AtomicU64,
    /// Bytes received from the primary: `total_net_repl_input_bytes`.
    pub bytes_in: AtomicU64,
    /// Bytes sent to replicas: `total_net_repl_output_bytes`.
    pub bytes_out: AtomicU64,
    /// Until when a stop waits for replicas, Unix milliseconds; 0 when none does.
    pub stop_waits_until_ms: AtomicI64,
    /// A FAILOVER is under way: nobody is let in who asks for the stream.
    pub failing_over: AtomicBool,
    /// What was reported last, for those who cannot wait for the control core's answer.
    last_report: Mutex<Option<Arc<Report>>>,
}

impl Status {
    /// Whether too few replicas are well for a primary to accept writes.
    pub fn lacks(&self, config: &Config) -> bool {
        config.min_replicas_max_lag > 0
            && !self.is_replica.load(Relaxed)
            && self.good_replicas.load(Relaxed) < config.min_replicas_to_write
    }

    /// How long the other end of a connection may be silent, as configured now.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s.load(Relaxed).max(1).into())
    }

    /// The configuration says so.
    pub fn set_timeout(&self, seconds: u32) {
        self.timeout_s.store(seconds, Relaxed);
    }

    /// CONFIG RESETSTAT.
    pub fn reset_counts(&self) {
        for count in [
            &self.syncs_full,
            &self.syncs_partial,
            &self.syncs_partial_refused,
            &self.bytes_in,
            &self.bytes_out,
        ] {
            count.store(0, Relaxed);
        }
    }

    /// What was reported last; none before the control core has begun.
    pub fn last_report(&self) -> Option<Arc<Report>> {
        // A panic ends the process, so a poisoned lock is never met.
        let last = self.last_report.lock();
        last.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The control core reports.
    pub fn set_report(&self, report: Report) {
        let last = self.last_report.lock();
        *last.unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(report));
    }
}
