//! The name of a node on the bus and in nodes.conf: forty characters of `[0-9a-z]`, drawn at random as hexadecimal digits.
//!
//! Bytes from the wire become a `NodeId` as they are, because all that is done with most of them is to look them up; what
//! is stored or shown under a name has passed [`NodeId::is_valid`] before.

use std::fmt;

use crate::base::random::Random;

/// Length of a node's name, of a shard id too.
pub const NODE_ID_BYTES: usize = 40;

/// A node's name; also the id of a replica group (CLUSTER MYSHARDID), which has the same form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; NODE_ID_BYTES]);

impl NodeId {
    /// What the wire has in the place of a name that is not there.
    pub const NONE: NodeId = NodeId([0; NODE_ID_BYTES]);

    /// A new name: the hexadecimal digits of twenty random bytes.
    pub fn random(random: &mut Random) -> Self {
        let mut name = [0; NODE_ID_BYTES];
        for digits in name.chunks_mut(8) {
            let mut bits = random.next_u64();
            for digit in digits {
                *digit = b"0123456789abcdef"[(bits & 15) as usize];
                bits >>= 4;
            }
        }
        NodeId(name)
    }

    /// The name that `text` is; `None` if it is none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let id = NodeId(text.try_into().ok()?);
        id.is_valid().then_some(id)
    }

    /// Whether all characters are of a name.
    pub fn is_valid(&self) -> bool {
        // All bytes are looked at, whatever the first ones are: so it takes a few instructions for many bytes at once, and
        // each packet of a large cluster has a hundred names.
        self.0.iter().fold(true, |is_valid, byte| {
            is_valid & (byte.is_ascii_digit() | byte.is_ascii_lowercase())
        })
    }

    /// Whether the place for a name is empty.
    pub fn is_none(&self) -> bool {
        *self == NodeId::NONE
    }

    /// The characters.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_name_is_valid_and_its_own() {
        let mut random = Random::new(1);
        let (one, other) = (NodeId::random(&mut random), NodeId::random(&mut random));
        assert!(one.is_valid() && other.is_valid() && one != other);
        assert_eq!(NodeId::parse(one.to_string().as_bytes()), Some(one));
    }

    #[test]
    fn a_name_has_forty_characters_of_lower_case_and_digits() {
        assert_eq!(NodeId::parse(&[b'a'; 39]), None);
        assert_eq!(NodeId::parse(&[b'A'; 40]), None);
        assert_eq!(NodeId::parse(&[b'z'; 40]), Some(NodeId([b'z'; 40])));
        assert!(!NodeId::NONE.is_valid());
    }
}
