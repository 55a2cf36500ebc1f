//! What every packet says about its sender: 2256 bytes, half a page of which are its slots.

use super::super::address::{Address, IpText};
use super::super::flags::NodeFlags;
use super::super::node_id::NodeId;
use super::super::slots::SlotSet;
use super::layout::*;

/// Flags of a packet: the first of three bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MessageFlags(pub u8);

impl MessageFlags {
    /// The sender holds writes for a manual failover, or has just won one.
    pub const PAUSED: u8 = 0x01;
    /// The vote is asked for although the primary is up.
    pub const FORCE_ACK: u8 = 0x02;
    /// Extensions may follow; the sender reads them.
    pub const EXTENSIONS: u8 = 0x04;

    /// Whether `flag` is set.
    pub fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }
}

/// A packet's header, but for its type, length and counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who sends. Any bytes: a name only once it was looked up or found valid.
    pub sender: NodeId,
    /// The highest epoch that the sender has seen.
    pub current_epoch: u64,
    /// The epoch of the slots below: the sender's, or its primary's.
    pub config_epoch: u64,
    /// Replication offset: written by a primary, processed by a replica.
    pub offset: u64,
    /// Slots of the sender, or of its primary.
    pub slots: SlotSet,
    /// The sender's primary; [`NodeId::NONE`] for a primary.
    pub primary: NodeId,
    /// Announced address; empty for "the one you see", and so if it was none.
    pub ip: IpText,
    /// Client port of the bus's own kind of connection (plain, or TLS).
    pub port: u16,
    /// Client port of the other kind, 0 if there is none.
    pub other_port: u16,
    /// Port of the sender's bus.
    pub bus_port: u16,
    /// The sender's flags for itself.
    pub flags: NodeFlags,
    /// The cluster is down as the sender sees it.
    pub is_down: bool,
    /// Flags of this packet.
    pub message: MessageFlags,
}

impl Header {
    /// Reads the header at the front of `bytes`, which has at least [`HEADER`] bytes.
    pub(super) fn read(bytes: &[u8]) -> Self {
        Header {
            sender: NodeId(array_at(bytes, SENDER)),
            current_epoch: u64_at(bytes, CURRENT_EPOCH),
            config_epoch: u64_at(bytes, CONFIG_EPOCH),
            offset: u64_at(bytes, OFFSET),
            slots: SlotSet::from_wire(&array_at(bytes, MYSLOTS)),
            primary: NodeId(array_at(bytes, SLAVEOF)),
            ip: IpText::from_wire(&array_at(bytes, MYIP)).unwrap_or(IpText::EMPTY),
            port: u16_at(bytes, PORT),
            other_port: u16_at(bytes, PPORT),
            bus_port: u16_at(bytes, CPORT),
            flags: NodeFlags(u16_at(bytes, FLAGS)),
            is_down: bytes[STATE] != 0,
            message: MessageFlags(bytes[MFLAGS]),
        }
    }

    /// A header of type `kind` with the counts `count` and `extensions`, for a packet of `length` bytes, for which there
    /// is room.
    pub(super) fn write(&self, kind: u16, length: usize, count: u16, extensions: u16) -> Vec<u8> {
        assert!(length <= PACKET_BYTES_MAX, "who sends has seen to that");
        let mut bytes = Vec::with_capacity(length);
        bytes.resize(HEADER, 0);
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(SIG, SIGNATURE);
        put(TOTLEN, &(length as u32).to_be_bytes());
        put(VER, &VERSION.to_be_bytes());
        put(PORT, &self.port.to_be_bytes());
        put(TYPE, &kind.to_be_bytes());
        put(COUNT, &count.to_be_bytes());
        put(CURRENT_EPOCH, &self.current_epoch.to_be_bytes());
        put(CONFIG_EPOCH, &self.config_epoch.to_be_bytes());
        put(OFFSET, &self.offset.to_be_bytes());
        put(SENDER, self.sender.as_bytes());
        put(MYSLOTS, self.slots.to_wire());
        put(SLAVEOF, self.primary.as_bytes());
        put(MYIP, self.ip.to_wire());
        put(EXTENSIONS, &extensions.to_be_bytes());
        put(PPORT, &self.other_port.to_be_bytes());
        put(CPORT, &self.bus_port.to_be_bytes());
        put(FLAGS, &self.flags.0.to_be_bytes());
        put(STATE, &[u8::from(self.is_down)]);
        put(MFLAGS, &[self.message.0]);
        bytes
    }

    /// Where the sender is, `seen` being the address that the connection shows.
    pub fn address(&self, seen: IpText, tls: bool) -> Address {
        let ip = if self.ip.is_empty() { seen } else { self.ip };
        Address::of_wire(ip, self.port, self.other_port, self.bus_port, tls)
    }
}
