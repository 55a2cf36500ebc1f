//! What shards know of the cluster: who owns which slot, as one immutable value behind an `Arc`.
//!
//! A request whose slot this node serves without any further question finds that out by one look into an array of 2048
//! bytes, [`SlotMap::serves`]: the bit is set when the slot is this node's, no keys are under way, and the cluster is up.
//! Everything else goes to `route.rs`, which reads the rest of the map. The control core replaces the map as a whole,
//! so nobody sees half of a change.

use super::address::Address;
use super::node_id::NodeId;
use super::slots::SlotSet;
use crate::base::slot::{SLOTS, Slot};

/// The entry of a slot that nobody owns.
const NOBODY: u16 = u16::MAX;

/// What clients are told about a node (cluster-preferred-endpoint-type).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Endpoint {
    /// Its address.
    #[default]
    Ip,
    /// Its announced host name, `?` if it has none.
    Hostname,
    /// Nothing: clients go on with the address that they have used.
    Unknown,
}

/// A node that clients may be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapNode {
    /// Its name.
    pub id: NodeId,
    /// Where it is.
    pub address: Address,
    /// Its announced host name; empty if there is none.
    pub hostname: Box<str>,
}

/// A slot under way here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSlot {
    /// Which.
    pub slot: Slot,
    /// Place among the nodes of the one that it goes to.
    pub migrating_to: Option<u16>,
    /// Place among the nodes of the one that it comes from.
    pub importing_from: Option<u16>,
}

/// What the map is made from, apart from the owners.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MapFacts {
    /// Owners, targets and sources of slots, this node and its primary, in any order.
    pub nodes: Vec<MapNode>,
    /// This node's place among them.
    pub myself: u16,
    /// The place of this node's primary if it is a replica and knows it.
    pub primary: Option<u16>,
    /// Whether this node is a replica.
    pub is_replica: bool,
    /// Slots under way, ascending.
    pub open: Vec<OpenSlot>,
    /// The cluster is down.
    pub is_down: bool,
    /// cluster-allow-reads-when-down.
    pub reads_when_down: bool,
    /// cluster-allow-pubsubshard-when-down.
    pub pubsubshard_when_down: bool,
    /// cluster-preferred-endpoint-type.
    pub endpoint: Endpoint,
}

/// Who owns which slot.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotMap {
    /// Slots that are served here without any further question, a bit for each. They lie in the map itself, whose address a
    /// core has: a request follows no second pointer.
    serves: [u8; SLOTS / 8],
    /// The owner's place among the nodes, or [`NOBODY`].
    owners: Box<[u16; SLOTS]>,
    facts: MapFacts,
}

impl SlotMap {
    /// A map in which `owner` gives each slot's owner as a place in `facts.nodes`.
    pub fn new(facts: MapFacts, owner: impl Fn(Slot) -> Option<u16>) -> Self {
        let nodes = facts.nodes.len();
        assert!(nodes < usize::from(NOBODY) && usize::from(facts.myself) < nodes);
        assert!(facts.open.is_sorted_by_key(|open| open.slot));
        let (mut owners, mut serves) = (Box::new([NOBODY; SLOTS]), SlotSet::default());
        for slot in 0..SLOTS as Slot {
            let Some(at) = owner(slot) else {
                continue;
            };
            assert!(usize::from(at) < nodes, "an owner is among the nodes");
            owners[usize::from(slot)] = at;
            if at == facts.myself && !facts.is_down {
                serves.insert(slot);
            }
        }
        for open in &facts.open {
            serves.remove(open.slot);
        }
        SlotMap {
            serves: *serves.to_wire(),
            owners,
            facts,
        }
    }

    /// Whether a request for this slot is served here and nothing else needs to be asked.
    #[inline]
    pub fn serves(&self, slot: Slot) -> bool {
        self.serves[usize::from(slot) / 8] & (1 << (slot % 8)) != 0
    }

    /// Whether the slot is this node's, or keys of it come here.
    pub fn is_here(&self, slot: Slot) -> bool {
        let comes = self
            .open(slot)
            .is_some_and(|open| open.importing_from.is_some());
        comes || self.owner_at(slot) == Some(self.facts.myself)
    }

    /// The slot's owner.
    pub fn owner(&self, slot: Slot) -> Option<&MapNode> {
        self.node(self.owner_at(slot)?)
    }

    /// The place of the slot's owner.
    pub(super) fn owner_at(&self, slot: Slot) -> Option<u16> {
        Some(self.owners[usize::from(slot)]).filter(|at| *at != NOBODY)
    }

    /// The node at a place.
    pub(super) fn node(&self, at: u16) -> Option<&MapNode> {
        self.facts.nodes.get(usize::from(at))
    }

    /// The slot, if it is under way here.
    pub(super) fn open(&self, slot: Slot) -> Option<&OpenSlot> {
        let at = self
            .facts
            .open
            .binary_search_by_key(&slot, |open| open.slot);
        at.ok().map(|at| &self.facts.open[at])
    }

    /// Everything but the owners.
    pub fn facts(&self) -> &MapFacts {
        &self.facts
    }

    /// Whether this node or its primary owns the slot: whose subscribers of sharded channels stay.
    pub fn is_of_my_group(&self, slot: Slot) -> bool {
        let owner = self.owner_at(slot);
        owner == Some(self.facts.myself) || owner.is_some() && owner == self.facts.primary
    }
}

impl std::fmt::Debug for SlotMap {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("SlotMap")
            .field("serves", &SlotSet::from_wire(&self.serves))
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(digit: u8) -> MapNode {
        MapNode {
            id: NodeId([digit; 40]),
            address: Address::NONE,
            hostname: "".into(),
        }
    }

    #[test]
    fn one_bit_says_that_nothing_else_needs_to_be_asked() {
        let facts = MapFacts {
            nodes: vec![node(b'a'), node(b'b')],
            open: vec![OpenSlot {
                slot: 7,
                migrating_to: Some(1),
                importing_from: None,
            }],
            ..MapFacts::default()
        };
        let owner = |slot| match slot {
            0..100 => Some(0),
            100..200 => Some(1),
            _ => None,
        };
        let map = SlotMap::new(facts.clone(), owner);
        assert!(map.serves(0) && map.serves(99));
        assert!(!map.serves(7) && !map.serves(100) && !map.serves(200));
        assert_eq!(map.owner(150).map(|node| node.id), Some(NodeId([b'b'; 40])));
        assert!(map.owner(200).is_none() && map.open(7).is_some() && map.open(8).is_none());
        assert!(map.is_of_my_group(7) && !map.is_of_my_group(150) && !map.is_of_my_group(200));
        let down = SlotMap::new(
            MapFacts {
                is_down: true,
                ..facts
            },
            owner,
        );
        assert!((0..SLOTS as Slot).all(|slot| !down.serves(slot)));
    }
}
