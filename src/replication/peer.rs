//! What a replica says of itself before it asks for the stream (REPLCONF), and what it then asks for (PSYNC, SYNC).

use super::Replid;

/// What a full copy holds, for those who want less than all (`rdb-filter-only`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Keys.
    pub data: bool,
    /// Function libraries.
    pub functions: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Filter {
            data: true,
            functions: true,
        }
    }
}

impl Filter {
    /// Whether the copy is the usual one.
    pub fn is_everything(&self) -> bool {
        self.data && self.functions
    }
}

/// See the head of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerFacts {
    /// The port it serves on; 0 when it has not said.
    pub port: u16,
    /// The address under which it wants to be known; empty means that of its connection.
    pub ip: String,
    /// It finds the end of a copy by a mark, so no length needs to be known.
    pub takes_marked: bool,
    /// It knows that a history may have two names.
    pub knows_two_histories: bool,
    /// Of so many parallel flows it can make use.
    pub flows: u16,
    /// It wants the copy and nothing after it.
    pub copy_only: bool,
    /// What it wants of the copy.
    pub filter: Filter,
}

/// What it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncRequest {
    /// SYNC: a full copy, and no talk about offsets.
    Legacy,
    /// PSYNC.
    Partial {
        /// The history it follows, as it wrote it: `?` for none.
        id: Vec<u8>,
        /// The number of the first byte it lacks.
        from: i64,
        /// It hands over: this server is to be the primary (FAILOVER).
        takes_over: bool,
    },
    /// A flow of a replica that is there already.
    Flow {
        /// The name that the replica's flows were offered under, as the peer wrote it.
        offer: Vec<u8>,
        /// Which of them.
        number: u16,
    },
}

impl SyncRequest {
    /// The history it asks for, if it names one.
    pub fn history(&self) -> Option<Replid> {
        match self {
            SyncRequest::Legacy | SyncRequest::Flow { .. } => None,
            SyncRequest::Partial { id, .. } => Replid::parse(id),
        }
    }
}
