//! Texts of CLUSTER's subcommands that name a node or a slot.

use super::{ErrorReply, printed};

impl ErrorReply {
    /// CLUSTER subcommands with a node that is not known.
    pub fn unknown_node(id: &[u8]) -> Self {
        Self::text([b"ERR Unknown node ", printed(id, usize::MAX)].concat())
    }

    /// DEBUG CLUSTERLINK KILL of links that are neither opened nor accepted.
    pub fn debug_link_direction(word: &[u8]) -> Self {
        Self::text([b"ERR Unknown direction ", printed(word, usize::MAX)].concat())
    }

    /// CLUSTER SETSLOT MIGRATING and IMPORTING with a node that is not known.
    pub fn setslot_unknown_node(id: &[u8]) -> Self {
        Self::text([b"ERR I don't know about node ", printed(id, usize::MAX)].concat())
    }

    /// CLUSTER SETSLOT MIGRATING of a slot of another node.
    pub fn not_the_owner(slot: u16) -> Self {
        Self::text(format!("ERR I'm not the owner of hash slot {slot}"))
    }

    /// CLUSTER SETSLOT IMPORTING of an own slot.
    pub fn already_the_owner(slot: u16) -> Self {
        Self::text(format!("ERR I'm already the owner of hash slot {slot}"))
    }

    /// CLUSTER SETSLOT NODE of a slot with keys to another node.
    pub fn slot_has_keys(slot: u16) -> Self {
        Self::text(format!(
            "ERR Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot."
        ))
    }

    /// CLUSTER ADDSLOTS of a slot that has an owner.
    pub fn slot_is_busy(slot: u16) -> Self {
        Self::text(format!("ERR Slot {slot} is already busy"))
    }

    /// CLUSTER DELSLOTS of a slot that has none.
    pub fn slot_is_unassigned(slot: u16) -> Self {
        Self::text(format!("ERR Slot {slot} is already unassigned"))
    }

    /// CLUSTER ADDSLOTS and DELSLOTS of a slot twice.
    pub fn slot_is_repeated(slot: u16) -> Self {
        Self::text(format!("ERR Slot {slot} specified multiple times"))
    }

    /// CLUSTER ADDSLOTSRANGE and DELSLOTSRANGE of a range that runs backwards.
    pub fn slot_range(first: u16, last: u16) -> Self {
        Self::text(format!(
            "ERR start slot number {first} is greater than end slot number {last}"
        ))
    }

    /// CLUSTER SLOT-STATS SLOTSRANGE of a range that runs backwards (Valkey 8.0).
    pub fn stats_range(first: u16, last: u16) -> Self {
        Self::text(format!(
            "ERR Start slot number {first} is greater than end slot number {last}"
        ))
    }

    /// CLUSTER SET-CONFIG-EPOCH below zero.
    pub fn invalid_config_epoch(epoch: i64) -> Self {
        Self::text(format!("ERR Invalid config epoch specified: {epoch}"))
    }

    /// CLUSTER MEET with a client port that is no number.
    pub fn meet_port(port: &[u8]) -> Self {
        let text = b"ERR Invalid base port specified: ";
        Self::text([&text[..], printed(port, usize::MAX)].concat())
    }

    /// CLUSTER MEET with a bus port that is no number.
    pub fn meet_bus_port(port: &[u8]) -> Self {
        let text = b"ERR Invalid bus port specified: ";
        Self::text([&text[..], printed(port, usize::MAX)].concat())
    }

    /// CLUSTER MEET of an address that is none, or of ports out of range.
    pub fn meet_address(ip: &[u8], port: &[u8]) -> Self {
        let text = b"ERR Invalid node address specified: ";
        let (ip, port) = (printed(ip, usize::MAX), printed(port, usize::MAX));
        Self::text([&text[..], ip, b":", port].concat())
    }

    /// CLUSTER SAVECONFIG that the file system refused.
    pub fn saving_nodes_failed(reason: &str) -> Self {
        Self::text(format!(
            "ERR error saving the cluster node config: {reason}"
        ))
    }
}
