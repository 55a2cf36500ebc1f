//! What a node is, as 16 bits of the wire and as the words of CLUSTER NODES (specification, 2.1).

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign};

/// A set of node flags.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeFlags(pub u16);

impl NodeFlags {
    /// No flag.
    pub const NONE: NodeFlags = NodeFlags(0);
    /// A primary.
    pub const PRIMARY: NodeFlags = NodeFlags(0x0001);
    /// A replica.
    pub const REPLICA: NodeFlags = NodeFlags(0x0002);
    /// Unreachable as far as this node can tell.
    pub const PFAIL: NodeFlags = NodeFlags(0x0004);
    /// Unreachable as a majority agrees.
    pub const FAIL: NodeFlags = NodeFlags(0x0008);
    /// The node that speaks.
    pub const MYSELF: NodeFlags = NodeFlags(0x0010);
    /// Its first PONG is still missing, and its name is a makeshift.
    pub const HANDSHAKE: NodeFlags = NodeFlags(0x0020);
    /// Its address is not known, or was another node's.
    pub const NO_ADDRESS: NodeFlags = NodeFlags(0x0040);
    /// The first packet to it is MEET.
    pub const MEET: NodeFlags = NodeFlags(0x0080);
    /// A primary that replicas may move to.
    pub const MIGRATE_TO: NodeFlags = NodeFlags(0x0100);
    /// A replica that does not stand for election (cluster-replica-no-failover).
    pub const NO_FAILOVER: NodeFlags = NodeFlags(0x0200);
    /// It has shown that it reads ping extensions. Known here alone and never sent.
    pub const EXTENSIONS: NodeFlags = NodeFlags(0x0400);
    /// It reads PUBLISH under a light header (Valkey 8).
    pub const LIGHT_PUBLISH: NodeFlags = NodeFlags(0x0800);

    /// What a gossip entry may say about a node that is not known yet; the rest is the sender's own affair.
    pub const FROM_GOSSIP: NodeFlags = NodeFlags(0x0001 | 0x0002 | 0x0004 | 0x0008 | 0x0200);

    /// What leaves this node about itself and others.
    pub const ON_THE_WIRE: NodeFlags = NodeFlags(0x03ff);

    /// The words, in the order of CLUSTER NODES.
    pub const WORDS: [(NodeFlags, &'static str); 8] = [
        (NodeFlags::MYSELF, "myself"),
        (NodeFlags::PRIMARY, "master"),
        (NodeFlags::REPLICA, "slave"),
        (NodeFlags::PFAIL, "fail?"),
        (NodeFlags::FAIL, "fail"),
        (NodeFlags::HANDSHAKE, "handshake"),
        (NodeFlags::NO_ADDRESS, "noaddr"),
        (NodeFlags::NO_FAILOVER, "nofailover"),
    ];

    /// Whether any flag of `other` is set.
    #[inline]
    pub const fn has(self, other: NodeFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// Sets or clears the flags of `other`; whether that changed anything.
    pub fn put(&mut self, other: NodeFlags, on: bool) -> bool {
        let before = self.0;
        if on {
            self.0 |= other.0;
        } else {
            self.0 &= !other.0;
        }
        self.0 != before
    }
}

impl BitOr for NodeFlags {
    type Output = NodeFlags;
    fn bitor(self, other: NodeFlags) -> NodeFlags {
        NodeFlags(self.0 | other.0)
    }
}

impl BitAnd for NodeFlags {
    type Output = NodeFlags;
    fn bitand(self, other: NodeFlags) -> NodeFlags {
        NodeFlags(self.0 & other.0)
    }
}

impl BitOrAssign for NodeFlags {
    fn bitor_assign(&mut self, other: NodeFlags) {
        self.0 |= other.0;
    }
}

impl fmt::Display for NodeFlags {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut any = false;
        for (flag, word) in NodeFlags::WORDS {
            if self.has(flag) {
                write!(to, "{}{word}", if any { "," } else { "" })?;
                any = true;
            }
        }
        if !any {
            write!(to, "noflags")?;
        }
        Ok(())
    }
}

impl fmt::Debug for NodeFlags {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{self}({:#06x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_stand_in_the_order_of_cluster_nodes() {
        assert_eq!(NodeFlags(0x03ff).to_string(), {
            "myself,master,slave,fail?,fail,handshake,noaddr,nofailover"
        });
        assert_eq!(NodeFlags(0x0111).to_string(), "myself,master");
        assert_eq!(NodeFlags::MIGRATE_TO.to_string(), "noflags");
    }
}
