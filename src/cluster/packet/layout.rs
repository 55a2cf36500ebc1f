//! Where everything is in a packet: offsets and sizes in bytes, all integers big endian.
//!
//! ```text
//! header   sig 4 | totlen 4 | ver 2 | port 2 | type 2 | count 2 | currentEpoch 8 | configEpoch 8 | offset 8
//!          sender 40 | myslots 2048 | slaveof 40 | myip 46 | extensions 2 | unused 30 | pport 2 | cport 2
//!          flags 2 | state 1 | mflags 3                                                              = 2256
//! gossip   name 40 | ping_sent 4 | pong_received 4 | ip 46 | port 2 | cport 2 | flags 2 | pport 2 | unused 2 = 104
//! ext      length 4 | type 2 | zero 2 | data, padded to a multiple of 8
//! light    sig 4 | totlen 4 | ver 2 | zero 2 | type with bit 15 set 2 | zero 2                        = 16
//! ```
//!
//! Each offset is the sum of the sizes before it and is asserted to be the one seen in captured packets.

use super::super::address::IP_BYTES;
use super::super::node_id::NODE_ID_BYTES;
use super::super::slots::SLOT_SET_BYTES;

/// The first four bytes of every packet.
pub const SIGNATURE: &[u8; 4] = b"RCmb";
/// The version of the protocol that this is.
pub const VERSION: u16 = 1;
/// The bit of the type that says "light header" (Valkey 8).
pub const LIGHT: u16 = 0x8000;
/// Longest packet that is read or sent: what is longer ends the link. Redis has no bound.
pub const PACKET_BYTES_MAX: usize = 64 << 20;

/// The signature.
pub const SIG: usize = 0;
/// Length of the whole packet.
pub const TOTLEN: usize = SIG + 4;
/// Version.
pub const VER: usize = TOTLEN + 4;
/// Client port, of the bus's own kind of connection.
pub const PORT: usize = VER + 2;
/// Type.
pub const TYPE: usize = PORT + 2;
/// Number of gossip entries.
pub const COUNT: usize = TYPE + 2;
/// The sender's current epoch.
pub const CURRENT_EPOCH: usize = COUNT + 2;
/// The config epoch of the sender, or of its primary.
pub const CONFIG_EPOCH: usize = CURRENT_EPOCH + 8;
/// Replication offset.
pub const OFFSET: usize = CONFIG_EPOCH + 8;
/// The sender's name.
pub const SENDER: usize = OFFSET + 8;
/// Slots of the sender, or of its primary.
pub const MYSLOTS: usize = SENDER + NODE_ID_BYTES;
/// The sender's primary.
pub const SLAVEOF: usize = MYSLOTS + SLOT_SET_BYTES;
/// Announced address.
pub const MYIP: usize = SLAVEOF + NODE_ID_BYTES;
/// Number of extensions.
pub const EXTENSIONS: usize = MYIP + IP_BYTES;
/// Zeros.
pub const UNUSED: usize = EXTENSIONS + 2;
/// Client port of the other kind of connection.
pub const PPORT: usize = UNUSED + 30;
/// Port of the bus.
pub const CPORT: usize = PPORT + 2;
/// The sender's flags for itself.
pub const FLAGS: usize = CPORT + 2;
/// Whether the cluster is down for the sender.
pub const STATE: usize = FLAGS + 2;
/// Flags of the packet.
pub const MFLAGS: usize = STATE + 1;
/// Length of the header.
pub const HEADER: usize = MFLAGS + 3;

/// Length of a light header.
pub const LIGHT_HEADER: usize = CURRENT_EPOCH;

/// Gossip: the time of the ping that has no answer yet.
pub const GOSSIP_PING_SENT: usize = NODE_ID_BYTES;
/// Gossip: the time of the last pong.
pub const GOSSIP_PONG_RECEIVED: usize = GOSSIP_PING_SENT + 4;
/// Gossip: address.
pub const GOSSIP_IP: usize = GOSSIP_PONG_RECEIVED + 4;
/// Gossip: client port.
pub const GOSSIP_PORT: usize = GOSSIP_IP + IP_BYTES;
/// Gossip: port of the bus.
pub const GOSSIP_CPORT: usize = GOSSIP_PORT + 2;
/// Gossip: flags.
pub const GOSSIP_FLAGS: usize = GOSSIP_CPORT + 2;
/// Gossip: client port of the other kind.
pub const GOSSIP_PPORT: usize = GOSSIP_FLAGS + 2;
/// Length of a gossip entry.
pub const GOSSIP: usize = GOSSIP_PPORT + 4;

/// Length of what stands before an extension's data.
pub const EXTENSION_HEADER: usize = 8;
/// A forgotten node's extension.
pub const EXTENSION_FORGOTTEN: usize = EXTENSION_HEADER + NODE_ID_BYTES + 8;
/// A shard id's extension.
pub const EXTENSION_SHARD_ID: usize = EXTENSION_HEADER + NODE_ID_BYTES;

/// FAIL: whom it is about.
pub const FAIL: usize = HEADER + NODE_ID_BYTES;
/// PUBLISH without channel and message.
pub const PUBLISH: usize = HEADER + 8;
/// The same under a light header.
pub const LIGHT_PUBLISH: usize = LIGHT_HEADER + 8;
/// UPDATE: epoch, owner and slots.
pub const UPDATE: usize = HEADER + 8 + NODE_ID_BYTES + SLOT_SET_BYTES;
/// MODULE without payload.
pub const MODULE: usize = HEADER + 13;
/// MODULE without payload under a light header.
pub const LIGHT_MODULE: usize = LIGHT_HEADER + 13;

const _: () = {
    assert!(PORT == 0x00a && TYPE == 0x00c && COUNT == 0x00e && CURRENT_EPOCH == 0x010);
    assert!(CONFIG_EPOCH == 0x018 && OFFSET == 0x020 && SENDER == 0x028 && MYSLOTS == 0x050);
    assert!(SLAVEOF == 0x850 && MYIP == 0x878 && EXTENSIONS == 0x8a6 && UNUSED == 0x8a8);
    assert!(PPORT == 0x8c6 && CPORT == 0x8c8 && FLAGS == 0x8ca && STATE == 0x8cc);
    assert!(MFLAGS == 0x8cd && HEADER == 0x8d0 && HEADER == 2256 && LIGHT_HEADER == 16);
    assert!(GOSSIP_IP == 48 && GOSSIP_PORT == 94 && GOSSIP_CPORT == 96 && GOSSIP_FLAGS == 98);
    assert!(GOSSIP_PPORT == 100 && GOSSIP == 104);
    assert!(EXTENSION_FORGOTTEN == 56 && EXTENSION_SHARD_ID == 48);
    assert!(FAIL == 2296 && PUBLISH == 2264 && UPDATE == 4352 && MODULE == 2269);
    assert!(LIGHT_PUBLISH == 24 && LIGHT_MODULE == 29);
};

/// The big endian number of two bytes at `at`, which lie within `bytes`.
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array_at(bytes, at))
}

/// The same of four bytes.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array_at(bytes, at))
}

/// The same of eight bytes.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array_at(bytes, at))
}

/// `N` bytes at `at`, which lie within `bytes`.
pub fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has N bytes")
}
