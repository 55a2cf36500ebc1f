//! One node as this one knows it (specification, 2.2).

use super::super::action::LinkId;
use super::super::address::Address;
use super::super::flags::NodeFlags;
use super::super::node_id::NodeId;
use super::super::slots::SlotSet;
use super::table::NodeKey;

/// A node. Times are Unix milliseconds of this node's clock, 0 for never.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name; a makeshift during a handshake.
    pub id: NodeId,
    /// What it is.
    pub flags: NodeFlags,
    /// The epoch of its slots. A replica's own is of no meaning.
    pub config_epoch: u64,
    /// Its slots.
    pub slots: SlotSet,
    /// How many they are.
    pub slot_count: usize,
    /// Its replicas.
    pub replicas: Vec<NodeKey>,
    /// Its primary; may be unknown for a replica.
    pub primary: Option<NodeKey>,
    /// Where it is.
    pub address: Address,
    /// Its announced host name; empty if there is none.
    pub hostname: String,
    /// Its announced human name; empty if there is none.
    pub node_name: String,
    /// Its replica group.
    pub shard_id: NodeId,
    /// When it came into the table.
    pub created_ms: i64,
    /// When the ping that has no answer yet was sent.
    pub ping_sent_ms: i64,
    /// When it last answered, as far as this node or its friends know.
    pub pong_received_ms: i64,
    /// When anything last came from it.
    pub data_received_ms: i64,
    /// When it was found to have failed.
    pub fail_ms: i64,
    /// When one of its replicas last got this node's vote; `None` for never.
    pub voted_ms: Option<i64>,
    /// Since when it has no working replica, as a replica that might move to it sees it.
    pub orphaned_ms: Option<i64>,
    /// Its last replication offset.
    pub repl_offset: u64,
    /// Who says that it cannot be reached, and when they last said so.
    pub reports: Vec<(NodeKey, i64)>,
    /// The link that this node opened to it.
    pub outbound: Option<LinkId>,
    /// The link that it opened to this node.
    pub inbound: Option<LinkId>,
    /// The last packet whose gossip it was in.
    pub gossiped_in: u64,
}

impl Node {
    /// A node of which nothing else is known.
    pub fn new(id: NodeId, shard_id: NodeId, flags: NodeFlags, now_ms: i64) -> Self {
        Node {
            id,
            flags,
            config_epoch: 0,
            slots: SlotSet::default(),
            slot_count: 0,
            replicas: Vec::new(),
            primary: None,
            address: Address::NONE,
            hostname: String::new(),
            node_name: String::new(),
            shard_id,
            created_ms: now_ms,
            ping_sent_ms: 0,
            pong_received_ms: 0,
            data_received_ms: 0,
            fail_ms: 0,
            voted_ms: None,
            orphaned_ms: None,
            repl_offset: 0,
            reports: Vec::new(),
            outbound: None,
            inbound: None,
            gossiped_in: 0,
        }
    }

    /// Whether it is a primary.
    pub fn is_primary(&self) -> bool {
        self.flags.has(NodeFlags::PRIMARY)
    }

    /// Whether it is a replica. A node that only another one's line mentions is neither.
    pub fn is_replica(&self) -> bool {
        self.flags.has(NodeFlags::REPLICA)
    }

    /// Whether it votes: a primary with slots.
    pub fn is_voter(&self) -> bool {
        self.is_primary() && self.slot_count > 0
    }

    /// Whether its name is not known yet.
    pub fn is_in_handshake(&self) -> bool {
        self.flags.has(NodeFlags::HANDSHAKE)
    }

    /// Whether it has failed, as a majority agrees.
    pub fn has_failed(&self) -> bool {
        self.flags.has(NodeFlags::FAIL)
    }

    /// Whether it is this node.
    pub fn is_myself(&self) -> bool {
        self.flags.has(NodeFlags::MYSELF)
    }

    /// How it is called in a line of the log.
    pub fn name_for_log(&self) -> String {
        format!("{} ({})", self.id, self.node_name)
    }
}
