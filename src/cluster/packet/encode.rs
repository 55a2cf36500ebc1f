//! Packets as bytes: one function for each form.

use super::super::node_id::NodeId;
use super::super::slots::SlotSet;
use super::Kind;
use super::extension::Extension;
use super::gossip::GossipEntry;
use super::header::{Header, MessageFlags};
use super::layout;
use super::layout::{GOSSIP, HEADER, LIGHT, PACKET_BYTES_MAX, SIGNATURE, VERSION};

/// PING, PONG or MEET. The header's flag for extensions is set whatever there are, since it also says that the sender
/// reads them.
pub fn gossip(
    kind: Kind,
    header: &Header,
    entries: &[GossipEntry],
    extensions: &[Extension<'_>],
) -> Vec<u8> {
    assert!(kind.is_gossip(), "only these carry gossip");
    assert!(
        entries.len() <= usize::from(u16::MAX) && extensions.len() <= usize::from(u16::MAX),
        "who sends bounds what it says"
    );
    let length =
        HEADER + entries.len() * GOSSIP + extensions.iter().map(Extension::length).sum::<usize>();
    let mut bytes = header.write(
        kind.number(),
        length,
        entries.len() as u16,
        extensions.len() as u16,
    );
    bytes[layout::MFLAGS] |= MessageFlags::EXTENSIONS;
    for entry in entries {
        entry.write(&mut bytes);
    }
    for extension in extensions {
        extension.write(&mut bytes);
    }
    assert_eq!(bytes.len(), length);
    bytes
}

/// AUTH_REQUEST, AUTH_ACK or MFSTART: a header and nothing else.
pub fn plain(kind: Kind, header: &Header) -> Vec<u8> {
    assert!(
        matches!(kind, Kind::AuthRequest | Kind::AuthAck | Kind::MfStart),
        "only these have no body"
    );
    header.write(kind.number(), HEADER, 0, 0)
}

/// FAIL about `failed`.
pub fn fail(header: &Header, failed: NodeId) -> Vec<u8> {
    let mut bytes = header.write(Kind::Fail.number(), layout::FAIL, 0, 0);
    bytes.extend_from_slice(failed.as_bytes());
    bytes
}

/// UPDATE: `slots` are `owner`'s under `config_epoch`.
pub fn update(header: &Header, config_epoch: u64, owner: NodeId, slots: &SlotSet) -> Vec<u8> {
    let mut bytes = header.write(Kind::Update.number(), layout::UPDATE, 0, 0);
    bytes.extend_from_slice(&config_epoch.to_be_bytes());
    bytes.extend_from_slice(owner.as_bytes());
    bytes.extend_from_slice(slots.to_wire());
    bytes
}

/// Whether a message fits into one packet. One that does not stays on this node.
pub fn publish_fits(channel: &[u8], message: &[u8]) -> bool {
    let room = PACKET_BYTES_MAX - layout::PUBLISH;
    channel.len() <= room && message.len() <= room - channel.len()
}

/// PUBLISH or PUBLISHSHARD of what [`publish_fits`].
pub fn publish(header: &Header, is_sharded: bool, channel: &[u8], message: &[u8]) -> Vec<u8> {
    let length = layout::PUBLISH + channel.len() + message.len();
    let mut bytes = header.write(publish_kind(is_sharded).number(), length, 0, 0);
    append_message(&mut bytes, channel, message);
    bytes
}

/// The same under a light header, for nodes that have said that they read it.
pub fn light_publish(is_sharded: bool, channel: &[u8], message: &[u8]) -> Vec<u8> {
    let length = layout::LIGHT_PUBLISH + channel.len() + message.len();
    assert!(length <= PACKET_BYTES_MAX, "who sends has seen to that");
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(SIGNATURE);
    bytes.extend_from_slice(&(length as u32).to_be_bytes());
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&(publish_kind(is_sharded).number() | LIGHT).to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    append_message(&mut bytes, channel, message);
    bytes
}

/// MODULE. This server has no modules and sends none; tests speak for nodes that do.
pub fn module(header: &Header, module: [u8; 8], kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = layout::MODULE + payload.len();
    let mut bytes = header.write(Kind::Module.number(), length, 0, 0);
    bytes.extend_from_slice(&module);
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(payload);
    bytes
}

fn publish_kind(is_sharded: bool) -> Kind {
    if is_sharded {
        Kind::PublishShard
    } else {
        Kind::Publish
    }
}

fn append_message(bytes: &mut Vec<u8>, channel: &[u8], message: &[u8]) {
    bytes.extend_from_slice(&(channel.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
    bytes.extend_from_slice(channel);
    bytes.extend_from_slice(message);
}
