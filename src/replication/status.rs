//! What every core knows about this server's part in replication: numbers that the control core writes and others read.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

/// See the head of the file.
#[derive(Debug, Default)]
pub struct Status {
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
    /// Bytes that replicas have yet to be sent beyond the backlog, and what their connections take.
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
}
