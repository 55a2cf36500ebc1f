//! All nodes that are known. Others refer to them by key; a key is not used again for another node.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};

use super::super::node_id::NodeId;
use super::node::Node;
use crate::base::random::Random;

/// Which node: a place, and how often the place has been given.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeKey {
    place: u32,
    turn: NonZeroU32,
}

/// A place for a node.
struct Place {
    turn: NonZeroU32,
    /// A tick has nothing to do for the node before then (Unix milliseconds). It stands here and not in the node, so that
    /// a tick of a large cluster, in which hardly anything is due, does not have to fetch every node.
    due_ms: i64,
    node: Option<Box<Node>>,
}

/// The table.
#[derive(Default)]
pub struct Nodes {
    places: Vec<Place>,
    free: Vec<u32>,
    /// Only looked into and never walked, so that its order decides nothing.
    by_id: HashMap<NodeId, NodeKey, ahash::RandomState>,
    /// All keys, in no order of meaning but always the same.
    order: Vec<NodeKey>,
}

impl Nodes {
    /// Takes a node in. Its name is new here.
    pub fn insert(&mut self, node: Node) -> NodeKey {
        let id = node.id;
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                turn: NonZeroU32::MIN,
                due_ms: 0,
                node: None,
            });
            (self.places.len() - 1) as u32
        });
        let at = &mut self.places[place as usize];
        assert!(at.node.is_none(), "a free place is empty");
        at.node = Some(Box::new(node));
        at.due_ms = 0;
        let key = NodeKey {
            place,
            turn: at.turn,
        };
        let before = self.by_id.insert(id, key);
        assert!(before.is_none(), "a name stands for one node");
        self.order.push(key);
        key
    }

    /// Takes a node out. Whoever refers to it has been told.
    pub fn remove(&mut self, key: NodeKey) -> Node {
        let at = &mut self.places[key.place as usize];
        assert_eq!(at.turn, key.turn, "the key of a node that is gone");
        let node = at.node.take().expect("a key's place is taken");
        // After four thousand million uses the place is left alone.
        if let Some(turn) = at.turn.checked_add(1) {
            at.turn = turn;
            self.free.push(key.place);
        }
        self.by_id.remove(&node.id);
        self.order.retain(|other| *other != key);
        *node
    }

    /// Gives a node another name, which is new here.
    pub fn rename(&mut self, key: NodeKey, id: NodeId) {
        let old = std::mem::replace(&mut self[key].id, id);
        self.by_id.remove(&old);
        let before = self.by_id.insert(id, key);
        assert!(before.is_none(), "a name stands for one node");
    }

    /// The node of that name.
    pub fn find(&self, id: &NodeId) -> Option<NodeKey> {
        self.by_id.get(id).copied()
    }

    /// The node, if it is still there.
    pub fn get(&self, key: NodeKey) -> Option<&Node> {
        let at = self.places.get(key.place as usize)?;
        (at.turn == key.turn).then_some(())?;
        at.node.as_deref()
    }

    /// How many there are. A node's own table has that node at least.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// All keys, for a walk that changes nodes or the table.
    pub fn keys(&self) -> Vec<NodeKey> {
        self.order.clone()
    }

    /// Nodes for which a tick may have something to do.
    pub fn due(&self, now_ms: i64) -> Vec<NodeKey> {
        let is_due = |key: &&NodeKey| self.places[key.place as usize].due_ms <= now_ms;
        self.order.iter().filter(is_due).copied().collect()
    }

    /// Nothing is due for a node before then, unless it is changed.
    pub fn set_due(&mut self, key: NodeKey, due_ms: i64) {
        self.places[key.place as usize].due_ms = due_ms;
    }

    /// Something may be due for every node at once.
    pub fn set_all_due(&mut self) {
        self.places.iter_mut().for_each(|place| place.due_ms = 0);
    }

    /// A node, for a change that makes nothing due sooner: what gossip says of it, in how many packets it was. Any other
    /// change goes by the index, and makes the node due.
    pub fn aside(&mut self, key: NodeKey) -> &mut Node {
        let at = &mut self.places[key.place as usize];
        assert_eq!(at.turn, key.turn, "the key of a node that is gone");
        at.node.as_deref_mut().expect("a key's place is taken")
    }

    /// All nodes.
    pub fn iter(&self) -> impl Iterator<Item = (NodeKey, &Node)> {
        self.order.iter().map(|key| (*key, &self[*key]))
    }

    /// One of all.
    pub fn draw(&self, random: &mut Random) -> NodeKey {
        self.order[random.below(self.order.len() as u64) as usize]
    }
}

impl Index<NodeKey> for Nodes {
    type Output = Node;
    fn index(&self, key: NodeKey) -> &Node {
        self.get(key).expect("who keeps a key is told when it goes")
    }
}

impl IndexMut<NodeKey> for Nodes {
    fn index_mut(&mut self, key: NodeKey) -> &mut Node {
        self.set_due(key, 0);
        self.aside(key)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::flags::NodeFlags;
    use super::*;

    #[test]
    fn a_node_is_due_again_when_it_changes_and_not_when_it_is_talked_about() {
        let node = |digit| Node::new(NodeId([digit; 40]), NodeId::NONE, NodeFlags::NONE, 0);
        let mut nodes = Nodes::default();
        let (a, b) = (nodes.insert(node(b'a')), nodes.insert(node(b'b')));
        assert_eq!(nodes.due(10), [a, b]);
        nodes.set_due(a, 20);
        nodes.set_due(b, 20);
        nodes.aside(a).gossiped_in += 1;
        assert_eq!(nodes.due(19), []);
        assert_eq!(nodes.due(20), [a, b]);
        nodes[b].ping_sent_ms = 15;
        assert_eq!(nodes.due(19), [b]);
        nodes.set_all_due();
        assert_eq!(nodes.due(19), [a, b]);
    }

    #[test]
    fn the_key_of_a_node_that_is_gone_finds_nobody_else() {
        let node = |digit| Node::new(NodeId([digit; 40]), NodeId::NONE, NodeFlags::NONE, 0);
        let mut nodes = Nodes::default();
        let a = nodes.insert(node(b'a'));
        nodes.remove(a);
        let b = nodes.insert(node(b'b'));
        assert!(nodes.get(a).is_none() && nodes.get(b).is_some() && a != b);
        nodes.rename(b, NodeId([b'c'; 40]));
        assert_eq!(nodes.find(&NodeId([b'c'; 40])), Some(b));
        assert_eq!(nodes.find(&NodeId([b'b'; 40])), None);
        assert_eq!(nodes.len(), 1);
    }
}
