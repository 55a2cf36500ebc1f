//! What INFO replication and ROLE say, as the control core knows it at one moment.

use super::History;

/// How far a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaState {
    /// Waits for a full copy to begin: `wait_bgsave`.
    WaitsForCopy,
    /// Is sent a full copy: `send_bulk`.
    ReceivesCopy,
    /// Follows the stream: `online`.
    Online,
}

impl ReplicaState {
    /// INFO's word.
    pub fn word(self) -> &'static str {
        match self {
            ReplicaState::WaitsForCopy => "wait_bgsave",
            ReplicaState::ReceivesCopy => "send_bulk",
            ReplicaState::Online => "online",
        }
    }
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaReport {
    /// The address it announced, or that of its connection.
    pub ip: String,
    /// The port it announced; 0 when it did not.
    pub port: u16,
    /// How far it is.
    pub state: ReplicaState,
    /// What it has acknowledged.
    pub offset: u64,
    /// Seconds since it last acknowledged something; 0 unless it is online.
    pub lag_s: u64,
    /// Parallel flows in use.
    pub flows: usize,
}

/// How a replica stands to its primary: ROLE's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Nothing has been begun: `none`.
    None,
    /// A connection is to be made: `connect`.
    Connect,
    /// It is being made: `connecting`.
    Connecting,
    /// The handshake is under way: `handshake`.
    Handshake,
    /// A full copy is received: `sync`.
    Sync,
    /// The stream is followed: `connected`.
    Connected,
}

impl LinkState {
    /// All of them.
    pub const ALL: [LinkState; 6] = [
        LinkState::None,
        LinkState::Connect,
        LinkState::Connecting,
        LinkState::Handshake,
        LinkState::Sync,
        LinkState::Connected,
    ];

    /// ROLE's word.
    pub fn word(self) -> &'static str {
        match self {
            LinkState::None => "none",
            LinkState::Connect => "connect",
            LinkState::Connecting => "connecting",
            LinkState::Handshake => "handshake",
            LinkState::Sync => "sync",
            LinkState::Connected => "connected",
        }
    }
}

/// A full copy being received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferReport {
    /// Its length; -1 before it is known, 0 when it is sent without one.
    pub total_bytes: i64,
    /// Bytes received.
    pub read_bytes: u64,
    /// Seconds since the last of them.
    pub last_io_s: i64,
}

/// A replica's link to its primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkReport {
    /// The primary.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it stands.
    pub state: LinkState,
    /// Seconds since the last byte; -1 without a link.
    pub last_io_s: i64,
    /// Bytes of the stream received.
    pub read_offset: u64,
    /// Bytes of the stream applied.
    pub applied_offset: u64,
    /// The full copy under way.
    pub transfer: Option<TransferReport>,
    /// Seconds since the link went down; -1 when it has never been up.
    pub down_s: i64,
    /// Parallel flows in use, and bytes that they have carried.
    pub flows: (u16, u64),
}

/// The whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// A replica's link; `None` for a primary.
    pub link: Option<LinkReport>,
    /// Its replicas, in the order in which they came.
    pub replicas: Vec<ReplicaReport>,
    /// Replicas that are well, where writes depend on that.
    pub good_replicas: Option<u32>,
    /// `master_failover_state`.
    pub failover: &'static str,
    /// History and offset.
    pub history: History,
    /// The backlog's first byte and its length.
    pub backlog: Option<(u64, u64)>,
}
