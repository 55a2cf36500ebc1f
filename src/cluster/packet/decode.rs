//! One whole packet read, or passed over for the reasons that real nodes pass one over (specification, 1.7).
//!
//! The length of a packet must be exactly what its type and its own counts say. Nothing here ends a link, and nothing
//! allocates by a number from the wire.

use std::fmt;

use super::super::node_id::NodeId;
use super::super::slots::SlotSet;
use super::Kind;
use super::extension::{Extensions, measure};
use super::gossip::GossipSection;
use super::header::{Header, MessageFlags};
use super::layout;
use super::layout::{
    HEADER, LIGHT, LIGHT_HEADER, TOTLEN, TYPE, VER, VERSION, u16_at, u32_at, u64_at,
};

/// A packet.
#[derive(Clone, Debug)]
pub enum Packet<'a> {
    /// With everything about its sender.
    Full {
        /// Who sends, and how it sees itself.
        header: Header,
        /// What for.
        body: Body<'a>,
    },
    /// Without (Valkey 8): the sender is the one that the link belongs to.
    Light(Light<'a>),
}

/// What stands behind a header.
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// PING, PONG or MEET.
    Gossip {
        /// Which of them.
        kind: Kind,
        /// What the sender knows of others.
        gossip: GossipSection<'a>,
        /// What it adds about itself.
        extensions: Extensions<'a>,
    },
    /// This node has failed.
    Fail(NodeId),
    /// A message for subscribers.
    Publish(Message<'a>),
    /// A vote is asked for.
    AuthRequest,
    /// A vote.
    AuthAck,
    /// Whose slots they are.
    Update {
        /// The epoch under which they are.
        config_epoch: u64,
        /// The owner.
        owner: NodeId,
        /// All its slots.
        slots: SlotSet,
    },
    /// Hold writes for a manual failover.
    MfStart,
    /// Between modules.
    Module(ModuleMessage<'a>),
    /// A type of a newer version: its header counts, the rest does not.
    Unknown(u16),
}

/// What PUBLISH and PUBLISHSHARD carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// PUBLISHSHARD.
    pub is_sharded: bool,
    /// The channel.
    pub channel: &'a [u8],
    /// The message.
    pub message: &'a [u8],
}

/// What MODULE carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleMessage<'a> {
    /// The module, as the bytes of the sender's machine.
    pub module: [u8; 8],
    /// A number of the module's own.
    pub kind: u8,
    /// The rest.
    pub payload: &'a [u8],
}

/// What may come under a light header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Light<'a> {
    /// PUBLISH, PUBLISHSHARD.
    Publish(Message<'a>),
    /// MODULE.
    Module(ModuleMessage<'a>),
}

/// Why a packet is passed over. The link stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Another version of the protocol.
    Version(u16),
    /// Its length is not what its type and counts make.
    Length {
        /// Its type.
        kind: u16,
        /// Bytes it should have; `None` where extensions do not fit or are not padded.
        expected: Option<usize>,
        /// Bytes it has.
        found: usize,
    },
    /// A type that never comes under a light header.
    LightKind(u16),
}

impl fmt::Display for Ignored {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |kind: u16| Kind::from_number(kind).map_or("unknown", Kind::name);
        match *self {
            Ignored::Version(version) => write!(to, "packet of protocol version {version}"),
            Ignored::Length {
                kind,
                expected: Some(expected),
                found,
            } => write!(
                to,
                "invalid {} packet of length {found} but expected length {expected}",
                name(kind)
            ),
            Ignored::Length { kind, found, .. } => write!(
                to,
                "invalid {} packet of length {found} with extensions that do not fit",
                name(kind)
            ),
            Ignored::LightKind(kind) => {
                write!(to, "{} packet under a light header", name(kind & !LIGHT))
            }
        }
    }
}

impl Packet<'_> {
    /// The number of its type.
    pub fn kind(&self) -> u16 {
        let publish = |message: &Message<'_>| match message.is_sharded {
            true => Kind::PublishShard.number(),
            false => Kind::Publish.number(),
        };
        match self {
            Packet::Light(Light::Publish(message)) => publish(message),
            Packet::Light(Light::Module(_)) => Kind::Module.number(),
            Packet::Full { body, .. } => match body {
                Body::Gossip { kind, .. } => kind.number(),
                Body::Fail(_) => Kind::Fail.number(),
                Body::Publish(message) => publish(message),
                Body::AuthRequest => Kind::AuthRequest.number(),
                Body::AuthAck => Kind::AuthAck.number(),
                Body::Update { .. } => Kind::Update.number(),
                Body::MfStart => Kind::MfStart.number(),
                Body::Module(_) => Kind::Module.number(),
                Body::Unknown(kind) => *kind,
            },
        }
    }
}

/// Reads `bytes`, one whole packet as [`super::frame`] has cut it.
pub fn decode(bytes: &[u8]) -> Result<Packet<'_>, Ignored> {
    assert!(
        bytes.len() >= LIGHT_HEADER && u32_at(bytes, TOTLEN) as usize == bytes.len(),
        "the stream was cut by `frame`"
    );
    match u16_at(bytes, VER) {
        VERSION => {}
        version => return Err(Ignored::Version(version)),
    }
    let kind = u16_at(bytes, TYPE);
    if kind & LIGHT != 0 {
        return light(bytes, kind).map(Packet::Light);
    }
    assert!(bytes.len() >= HEADER, "`frame` lets nothing shorter pass");
    let body = body(bytes, kind)?;
    Ok(Packet::Full {
        header: Header::read(bytes),
        body,
    })
}

fn light(bytes: &[u8], kind: u16) -> Result<Light<'_>, Ignored> {
    match Kind::from_number(kind & !LIGHT) {
        Some(kind @ (Kind::Publish | Kind::PublishShard)) => {
            message(bytes, LIGHT_HEADER, kind).map(Light::Publish)
        }
        Some(Kind::Module) => module(bytes, LIGHT_HEADER).map(Light::Module),
        _ => Err(Ignored::LightKind(kind)),
    }
}

fn body(bytes: &[u8], number: u16) -> Result<Body<'_>, Ignored> {
    let Some(kind) = Kind::from_number(number) else {
        return Ok(Body::Unknown(number));
    };
    Ok(match kind {
        Kind::Ping | Kind::Pong | Kind::Meet => return gossip(bytes, kind),
        Kind::Fail => {
            exactly(bytes, kind, layout::FAIL)?;
            Body::Fail(NodeId(layout::array_at(bytes, HEADER)))
        }
        Kind::Publish | Kind::PublishShard => Body::Publish(message(bytes, HEADER, kind)?),
        Kind::AuthRequest | Kind::AuthAck | Kind::MfStart => {
            exactly(bytes, kind, HEADER)?;
            match kind {
                Kind::AuthRequest => Body::AuthRequest,
                Kind::AuthAck => Body::AuthAck,
                _ => Body::MfStart,
            }
        }
        Kind::Update => {
            exactly(bytes, kind, layout::UPDATE)?;
            Body::Update {
                config_epoch: u64_at(bytes, HEADER),
                owner: NodeId(layout::array_at(bytes, HEADER + 8)),
                slots: SlotSet::from_wire(&layout::array_at(bytes, HEADER + 48)),
            }
        }
        Kind::Module => Body::Module(module(bytes, HEADER)?),
    })
}

fn gossip(bytes: &[u8], kind: Kind) -> Result<Body<'_>, Ignored> {
    let end = HEADER + usize::from(u16_at(bytes, layout::COUNT)) * layout::GOSSIP;
    if bytes.len() < end {
        return Err(wrong_length(bytes, kind, Some(end)));
    }
    let rest = &bytes[end..];
    // Without the flag the number of extensions is not looked at, so nothing may follow.
    let extensions = if MessageFlags(bytes[layout::MFLAGS]).has(MessageFlags::EXTENSIONS) {
        match measure(rest, u16_at(bytes, layout::EXTENSIONS)) {
            Some(length) => length,
            None => return Err(wrong_length(bytes, kind, None)),
        }
    } else {
        0
    };
    exactly(bytes, kind, end + extensions)?;
    Ok(Body::Gossip {
        kind,
        gossip: GossipSection(&bytes[HEADER..end]),
        extensions: Extensions(rest),
    })
}

/// Two lengths, channel and message at `at`.
fn message(bytes: &[u8], at: usize, kind: Kind) -> Result<Message<'_>, Ignored> {
    if bytes.len() < at + 8 {
        return Err(wrong_length(bytes, kind, Some(at + 8)));
    }
    let channel = u32_at(bytes, at) as usize;
    let message = u32_at(bytes, at + 4) as usize;
    exactly(bytes, kind, at + 8 + channel + message)?;
    let (channel, message) = bytes[at + 8..].split_at(channel);
    Ok(Message {
        is_sharded: kind == Kind::PublishShard,
        channel,
        message,
    })
}

/// Module, length, kind and payload at `at`.
fn module(bytes: &[u8], at: usize) -> Result<ModuleMessage<'_>, Ignored> {
    if bytes.len() < at + 13 {
        return Err(wrong_length(bytes, Kind::Module, Some(at + 13)));
    }
    let length = u32_at(bytes, at + 8) as usize;
    exactly(bytes, Kind::Module, at + 13 + length)?;
    Ok(ModuleMessage {
        module: layout::array_at(bytes, at),
        kind: bytes[at + 12],
        payload: &bytes[at + 13..],
    })
}

fn exactly(bytes: &[u8], kind: Kind, expected: usize) -> Result<(), Ignored> {
    if bytes.len() == expected {
        return Ok(());
    }
    Err(wrong_length(bytes, kind, Some(expected)))
}

fn wrong_length(bytes: &[u8], kind: Kind, expected: Option<usize>) -> Ignored {
    Ignored::Length {
        kind: kind.number(),
        expected,
        found: bytes.len(),
    }
}
