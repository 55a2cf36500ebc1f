//! What the cluster wants done: values that the driver carries out.

use std::sync::Arc;

use super::address::{Address, IpText};
use super::node_id::NodeId;
use super::slot_map::SlotMap;
use super::slots::SlotSet;

/// A connection of the bus. Numbers are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// All that is to be done after a turn: first the save, then the actions in order.
#[derive(Debug, Default)]
pub struct Turn {
    /// nodes.conf has changed. **No action of this or a later turn may begin before this is done**: votes and claims must
    /// not be seen by anybody before they would survive a crash. When it fails the process has to end.
    pub save: Option<Save>,
    /// The rest, in order.
    pub actions: Vec<Action>,
}

/// nodes.conf, as it is to be from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Save {
    /// The whole text.
    pub text: String,
    /// It must be on disk, and not only in the kernel's memory.
    pub is_durable: bool,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Connect to a node's bus; `link_connected` or `link_closed` says how that ended.
    OpenLink {
        /// The new link.
        link: LinkId,
        /// Where to.
        ip: IpText,
        /// The port of the bus there.
        port: u16,
    },
    /// Close a link; nothing more comes from it. It is not reported back.
    CloseLink(LinkId),
    /// Send a packet, behind what the link has not sent yet; on one that is not connected yet, as soon as it is.
    Send {
        /// Where.
        link: LinkId,
        /// What; several links may share it.
        packet: Arc<[u8]>,
    },
    /// Give this message to subscribers here. It came from another node.
    Deliver {
        /// It goes to subscribers of sharded channels (SSUBSCRIBE).
        is_sharded: bool,
        /// The channel.
        channel: Vec<u8>,
        /// The message.
        message: Vec<u8>,
    },
    /// Replicate that node from now on, whatever has been before; blocked clients are sent away.
    Replicate {
        /// Who.
        id: NodeId,
        /// Where.
        address: Address,
    },
    /// Be a primary from now on, with the data that is here.
    StopReplicating,
    /// Drop all data (CLUSTER RESET of a replica).
    DropAllKeys,
    /// Drop all keys of these slots: they are another node's now. Not replicated, no events.
    DropKeys(SlotSet),
    /// These slots have been bound anew: subscribers of their sharded channels get `sunsubscribe`.
    DropSubscribers(SlotSet),
    /// Hold writes, and whatever else changes the replication offset, until then (Unix milliseconds).
    PauseWrites {
        /// At the latest.
        until_ms: i64,
    },
    /// Let writes go on.
    ResumeWrites,
    /// Give all shards this map.
    PublishMap(Arc<SlotMap>),
    /// A line for the log.
    Log(log::Level, String),
}
