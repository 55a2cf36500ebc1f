//! What a ping may add: host name, human name, forgotten nodes, shard id (specification, 1.6).
//!
//! An extension has its length in front, so that whoever does not know its type can pass over it. Names are state and not
//! changes: a ping without one says that the sender has none.

use super::super::address::{is_hostname, is_node_name};
use super::super::node_id::NodeId;
use super::layout::*;

const HOSTNAME: u16 = 0;
const NODE_NAME: u16 = 1;
const FORGOTTEN: u16 = 2;
const SHARD_ID: u16 = 3;

/// One extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension<'a> {
    /// cluster-announce-hostname; has passed [`is_hostname`].
    Hostname(&'a str),
    /// cluster-announce-human-nodename; has passed [`is_node_name`].
    NodeName(&'a str),
    /// A node that an operator has removed.
    Forgotten {
        /// Which.
        id: NodeId,
        /// For how many seconds nobody is to take it in again.
        ttl_s: u64,
    },
    /// The sender's replica group.
    ShardId(NodeId),
    /// A type of another version, or one whose data is not what it should be: passed over.
    Unknown(u16),
}

impl<'a> Extension<'a> {
    fn read(kind: u16, data: &'a [u8]) -> Self {
        let text = || {
            let end = memchr::memchr(0, data).unwrap_or(data.len());
            &data[..end]
        };
        let utf8 = |text| std::str::from_utf8(text).expect("a checked name is UTF-8");
        match kind {
            HOSTNAME if is_hostname(text()) => Extension::Hostname(utf8(text())),
            NODE_NAME if is_node_name(text()) => Extension::NodeName(utf8(text())),
            FORGOTTEN if data.len() + EXTENSION_HEADER == EXTENSION_FORGOTTEN => {
                Extension::Forgotten {
                    id: NodeId(array_at(data, 0)),
                    ttl_s: u64_at(data, 40),
                }
            }
            SHARD_ID if data.len() + EXTENSION_HEADER == EXTENSION_SHARD_ID => {
                let id = NodeId(array_at(data, 0));
                if id.is_valid() {
                    Extension::ShardId(id)
                } else {
                    Extension::Unknown(kind)
                }
            }
            _ => Extension::Unknown(kind),
        }
    }

    /// Bytes it takes.
    pub(super) fn length(&self) -> usize {
        match self {
            // The text, its end, and zeros up to a multiple of 8.
            Extension::Hostname(text) | Extension::NodeName(text) => {
                EXTENSION_HEADER + (text.len() + 1).next_multiple_of(8)
            }
            Extension::Forgotten { .. } => EXTENSION_FORGOTTEN,
            Extension::ShardId(_) => EXTENSION_SHARD_ID,
            Extension::Unknown(_) => EXTENSION_HEADER,
        }
    }

    pub(super) fn write(&self, to: &mut Vec<u8>) {
        let end = to.len() + self.length();
        let kind = match self {
            Extension::Hostname(_) => HOSTNAME,
            Extension::NodeName(_) => NODE_NAME,
            Extension::Forgotten { .. } => FORGOTTEN,
            Extension::ShardId(_) => SHARD_ID,
            Extension::Unknown(kind) => *kind,
        };
        to.extend_from_slice(&(self.length() as u32).to_be_bytes());
        to.extend_from_slice(&kind.to_be_bytes());
        to.extend_from_slice(&[0, 0]);
        match self {
            Extension::Hostname(text) | Extension::NodeName(text) => {
                to.extend_from_slice(text.as_bytes());
            }
            Extension::Forgotten { id, ttl_s } => {
                to.extend_from_slice(id.as_bytes());
                to.extend_from_slice(&ttl_s.to_be_bytes());
            }
            Extension::ShardId(id) => to.extend_from_slice(id.as_bytes()),
            Extension::Unknown(_) => {}
        }
        to.resize(end, 0);
    }
}

/// The extensions of one packet, as they lie there. Their lengths have been found to add up.
#[derive(Clone, Copy, Debug)]
pub struct Extensions<'a>(pub(super) &'a [u8]);

impl<'a> Extensions<'a> {
    /// The extensions in order.
    pub fn iter(&self) -> impl Iterator<Item = Extension<'a>> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (one, behind) = rest.split_at(u32_at(rest, 0) as usize);
            rest = behind;
            Some(Extension::read(u16_at(one, 4), &one[EXTENSION_HEADER..]))
        })
    }
}

/// Bytes that `count` extensions at the front of `bytes` take; `None` if they do not fit or are not padded.
pub(super) fn measure(bytes: &[u8], count: u16) -> Option<usize> {
    let mut at = 0;
    for _ in 0..count {
        let rest = &bytes[at..];
        if rest.len() < EXTENSION_HEADER {
            return None;
        }
        let length = u32_at(rest, 0) as usize;
        if length < EXTENSION_HEADER || !length.is_multiple_of(8) || length > rest.len() {
            return None;
        }
        at += length;
    }
    Some(at)
}
