//! The one stream: effects of the shards, or what the primary sends, into the backlog.

use crate::replication::{Backlog, History, Merge};

/// What the control core knows of replication.
pub(in crate::control) struct Replication {
    /// Which history the data belongs to, and how far it is.
    pub history: History,
    /// The end of the stream, once there has been a replica.
    pub backlog: Option<Backlog>,
    /// The merge of the shards' streams, while this server is a primary whose stream is wanted.
    pub merge: Merge,
}

impl Replication {
    /// A primary without replicas.
    pub fn new(history: History, shards: usize) -> Self {
        Replication {
            history,
            backlog: None,
            merge: Merge::new(shards),
        }
    }
}
