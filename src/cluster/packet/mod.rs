//! The packets of the cluster bus, version 1: bytes to packets and back, without any state (specification, section 1).
//!
//! `layout.rs` has every offset; `frame.rs` cuts a stream into packets; `decode.rs` reads one and refuses what real nodes
//! refuse; `encode.rs` writes them.

mod decode;
mod encode;
mod extension;
mod frame;
mod gossip;
mod header;
pub mod layout;

#[cfg(test)]
mod tests;

pub use decode::{Body, Ignored, Light, Message, ModuleMessage, Packet, decode};
pub use encode::{fail, gossip, light_publish, module, plain, publish, publish_fits, update};
pub use extension::{Extension, Extensions};
pub use frame::{BadFrame, Frame, frame};
pub use gossip::{GossipEntry, GossipSection, Told};
pub use header::{Header, MessageFlags};

/// What a packet is for: the number in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// Asks for a PONG; carries gossip.
    Ping = 0,
    /// Answers PING and MEET, or tells everybody of a change.
    Pong = 1,
    /// A PING that asks to be let in.
    Meet = 2,
    /// A node has failed, as a majority agrees.
    Fail = 3,
    /// A message for subscribers everywhere.
    Publish = 4,
    /// A replica asks for a vote.
    AuthRequest = 5,
    /// A vote.
    AuthAck = 6,
    /// Whose slots they are, for somebody who claims them wrongly.
    Update = 7,
    /// A replica asks its primary to hold writes for a manual failover.
    MfStart = 8,
    /// A message between modules.
    Module = 9,
    /// A message for subscribers of the slot's replica group.
    PublishShard = 10,
}

/// How many kinds there are.
pub const KINDS: usize = 11;

impl Kind {
    /// All, in the order of their numbers.
    pub const ALL: [Kind; KINDS] = [
        Kind::Ping,
        Kind::Pong,
        Kind::Meet,
        Kind::Fail,
        Kind::Publish,
        Kind::AuthRequest,
        Kind::AuthAck,
        Kind::Update,
        Kind::MfStart,
        Kind::Module,
        Kind::PublishShard,
    ];

    /// The kind of a number, `None` for one of newer versions.
    pub fn from_number(number: u16) -> Option<Self> {
        Kind::ALL.get(usize::from(number)).copied()
    }

    /// Its number.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// Its name in CLUSTER INFO.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ping => "ping",
            Kind::Pong => "pong",
            Kind::Meet => "meet",
            Kind::Fail => "fail",
            Kind::Publish => "publish",
            Kind::AuthRequest => "auth-req",
            Kind::AuthAck => "auth-ack",
            Kind::Update => "update",
            Kind::MfStart => "mfstart",
            Kind::Module => "module",
            Kind::PublishShard => "publishshard",
        }
    }

    /// Whether it carries gossip and extensions.
    pub fn is_gossip(self) -> bool {
        matches!(self, Kind::Ping | Kind::Pong | Kind::Meet)
    }
}
