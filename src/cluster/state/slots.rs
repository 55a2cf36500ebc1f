//! Who owns which slot, as this node has it: binding, unbinding, slots under way, and the map for the shards.

use std::sync::Arc;

use super::super::flags::NodeFlags;
use super::super::slot_map::{MapFacts, MapNode, OpenSlot, SlotMap};
use super::super::slots::SlotSet;
use super::Cluster;
use super::node::Node;
use super::table::NodeKey;
use crate::base::slot::{SLOTS, Slot};

impl Cluster {
    /// Gives a slot that nobody owns to `key`.
    pub(super) fn bind(&mut self, slot: Slot, key: NodeKey) {
        let owner = &mut self.slots[usize::from(slot)];
        assert!(owner.is_none(), "the slot has no owner");
        *owner = Some(key);
        let node = &mut self.nodes[key];
        assert!(node.slots.insert(slot));
        node.slot_count += 1;
        let is_first = node.slot_count == 1;
        self.todo.map = true;
        // In a cluster with replicas a new primary with slots is one that they may move to.
        if is_first && self.nodes.iter().any(|(_, node)| !node.replicas.is_empty()) {
            self.nodes[key].flags.put(NodeFlags::MIGRATE_TO, true);
        }
    }

    /// Takes a slot from its owner; whether it had one.
    pub(super) fn unbind(&mut self, slot: Slot) -> bool {
        let Some(key) = self.slots[usize::from(slot)].take() else {
            return false;
        };
        let node = &mut self.nodes[key];
        assert!(node.slots.remove(slot));
        node.slot_count -= 1;
        self.unclaimed.remove(slot);
        self.todo.map = true;
        if key == self.myself || self.me().primary == Some(key) {
            self.unbound.insert(slot);
        }
        true
    }

    /// Takes all slots from `key`.
    pub(super) fn unbind_all(&mut self, key: NodeKey) {
        let slots: Vec<Slot> = self.nodes[key].slots.iter().collect();
        for slot in slots {
            self.unbind(slot);
        }
    }

    /// Whether anybody may take the slot: it has no owner, or one that does not claim it any more.
    pub(super) fn is_free(&self, slot: Slot) -> bool {
        self.owner(slot).is_none() || self.unclaimed.contains(slot)
    }

    /// No slot is under way any more.
    pub(super) fn close_slots(&mut self) {
        self.migrating.clear();
        self.importing.clear();
        self.todo.map = true;
    }

    /// The node's slots that it is known to claim.
    pub(super) fn claimed_slots(&self, key: NodeKey) -> SlotSet {
        let slots = self.nodes[key].slots.iter();
        slots
            .filter(|slot| !self.unclaimed.contains(*slot))
            .collect()
    }

    /// What shards are told: replaced whenever an action says so.
    pub fn slot_map(&self) -> SlotMap {
        let mut keys: Vec<NodeKey> = Vec::new();
        let place = |key: NodeKey, keys: &mut Vec<NodeKey>| -> u16 {
            let at = keys.iter().position(|known| *known == key);
            at.unwrap_or_else(|| {
                keys.push(key);
                keys.len() - 1
            }) as u16
        };
        let myself = place(self.myself, &mut keys);
        let primary = self.me().primary.map(|key| place(key, &mut keys));
        let mut open: Vec<OpenSlot> = Vec::new();
        let mut under_way: Vec<Slot> = self.migrating.keys().copied().collect();
        under_way.extend(self.importing.keys());
        under_way.sort_unstable();
        under_way.dedup();
        for slot in under_way {
            open.push(OpenSlot {
                slot,
                migrating_to: self.migrating.get(&slot).map(|key| place(*key, &mut keys)),
                importing_from: self.importing.get(&slot).map(|key| place(*key, &mut keys)),
            });
        }
        // Runs of one owner are the rule, so the last answer mostly stands.
        let mut owners: Vec<Option<u16>> = Vec::with_capacity(SLOTS);
        let mut last: Option<(NodeKey, u16)> = None;
        for owner in self.slots.iter() {
            owners.push(owner.map(|key| match last {
                Some((known, at)) if known == key => at,
                _ => {
                    let at = place(key, &mut keys);
                    last = Some((key, at));
                    at
                }
            }));
        }
        let node = |node: &Node| MapNode {
            id: node.id,
            address: node.address,
            hostname: node.hostname.as_str().into(),
        };
        let facts = MapFacts {
            nodes: keys.iter().map(|key| node(&self.nodes[*key])).collect(),
            myself,
            primary,
            is_replica: self.me().is_replica(),
            open,
            is_down: self.health.is_down,
            reads_when_down: self.settings.reads_when_down,
            pubsubshard_when_down: self.settings.pubsubshard_when_down,
            endpoint: self.settings.endpoint,
        };
        SlotMap::new(facts, |slot| owners[usize::from(slot)])
    }

    /// The map, for a driver that starts.
    pub fn shared_slot_map(&self) -> Arc<SlotMap> {
        Arc::new(self.slot_map())
    }
}
