//! What one node says of another: 104 bytes each, right after the header.

use super::super::address::IpText;
use super::super::flags::NodeFlags;
use super::super::node_id::NodeId;
use super::layout::*;

/// What the sender knows of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipEntry {
    /// Its name.
    pub id: NodeId,
    /// When the ping that has no answer yet was sent, Unix seconds; 0 if there is none.
    pub ping_sent_s: u32,
    /// When it last answered, Unix seconds.
    pub pong_received_s: u32,
    /// Its address; `None` if what stands there is none.
    pub ip: Option<IpText>,
    /// Client port of the bus's own kind of connection.
    pub port: u16,
    /// Port of its bus.
    pub bus_port: u16,
    /// What it is.
    pub flags: NodeFlags,
    /// Client port of the other kind.
    pub other_port: u16,
}

impl GossipEntry {
    fn read(bytes: &[u8]) -> Self {
        GossipEntry {
            id: NodeId(array_at(bytes, 0)),
            ping_sent_s: u32_at(bytes, GOSSIP_PING_SENT),
            pong_received_s: u32_at(bytes, GOSSIP_PONG_RECEIVED),
            ip: IpText::from_wire(&array_at(bytes, GOSSIP_IP)),
            port: u16_at(bytes, GOSSIP_PORT),
            bus_port: u16_at(bytes, GOSSIP_CPORT),
            flags: NodeFlags(u16_at(bytes, GOSSIP_FLAGS)),
            other_port: u16_at(bytes, GOSSIP_PPORT),
        }
    }

    pub(super) fn write(&self, to: &mut Vec<u8>) {
        let before = to.len();
        to.extend_from_slice(self.id.as_bytes());
        to.extend_from_slice(&self.ping_sent_s.to_be_bytes());
        to.extend_from_slice(&self.pong_received_s.to_be_bytes());
        to.extend_from_slice(self.ip.unwrap_or(IpText::EMPTY).to_wire());
        to.extend_from_slice(&self.port.to_be_bytes());
        to.extend_from_slice(&self.bus_port.to_be_bytes());
        to.extend_from_slice(&self.flags.0.to_be_bytes());
        to.extend_from_slice(&self.other_port.to_be_bytes());
        to.extend_from_slice(&[0, 0]);
        assert_eq!(to.len() - before, GOSSIP);
    }
}

/// An entry as it lies in its packet.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a>(&'a [u8]);

impl Told<'_> {
    /// Whose it is.
    pub fn id(&self) -> NodeId {
        NodeId(array_at(self.0, 0))
    }

    /// What it is.
    pub fn flags(&self) -> NodeFlags {
        NodeFlags(u16_at(self.0, GOSSIP_FLAGS))
    }

    /// When it last answered, Unix seconds.
    pub fn pong_received_s(&self) -> u32 {
        u32_at(self.0, GOSSIP_PONG_RECEIVED)
    }

    /// All of it.
    pub fn entry(&self) -> GossipEntry {
        GossipEntry::read(self.0)
    }
}

/// The entries of one packet, as they lie there.
#[derive(Clone, Copy, Debug)]
pub struct GossipSection<'a>(pub(super) &'a [u8]);

impl<'a> GossipSection<'a> {
    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = GossipEntry> + 'a {
        self.0.chunks_exact(GOSSIP).map(GossipEntry::read)
    }

    /// The entries in order, of which only what is asked for is read: of most of them that is little.
    pub fn told(&self) -> impl Iterator<Item = Told<'a>> + 'a {
        self.0.chunks_exact(GOSSIP).map(Told)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len() / GOSSIP
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
