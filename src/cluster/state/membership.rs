//! Who belongs to the cluster: handshakes, addresses, and nodes that are to stay away (specification, 2.3 to 2.7).

use super::super::action::Action;
use super::super::action::LinkId;
use super::super::address::{Address, IpText};
use super::super::flags::NodeFlags;
use super::super::node_id::NodeId;
use super::super::packet::{Header, Kind};
use super::node::Node;
use super::table::NodeKey;
use super::{Cluster, HANDSHAKES_MAX, NODES_MAX};

impl Cluster {
    /// Takes in a node of which only the address is known, unless that is being done already.
    pub(super) fn start_handshake(&mut self, address: Address, flags: NodeFlags) {
        let tls = self.settings.tls;
        let is_same = |other: &Address| {
            other.ip == address.ip
                && other.bus_port == address.bus_port
                && other.client_port(tls) == address.client_port(tls)
        };
        let handshakes = self.nodes.iter().filter(|(_, node)| node.is_in_handshake());
        let mut count = 0;
        for (_, node) in handshakes {
            if is_same(&node.address) {
                return;
            }
            count += 1;
        }
        if count >= HANDSHAKES_MAX || self.nodes.len() >= NODES_MAX {
            self.note(
                log::Level::Warn,
                format!(
                    "No handshake with {}: {count} others are going on",
                    address.ip
                ),
            );
            return;
        }
        let id = NodeId::random(&mut self.random);
        let shard_id = NodeId::random(&mut self.random);
        let mut node = Node::new(id, shard_id, flags | NodeFlags::HANDSHAKE, self.now_ms);
        node.address = address;
        self.nodes.insert(node);
    }

    /// A packet came on the link that this node opened in a handshake; whether the link is still there.
    pub(super) fn on_handshake(
        &mut self,
        link: LinkId,
        key: NodeKey,
        sender: Option<NodeKey>,
        header: &Header,
    ) -> bool {
        if let Some(sender) = sender {
            // An acquaintance at another address, perhaps.
            self.update_address(sender, link, header);
            self.remove_node(key);
            return false;
        }
        if !header.sender.is_valid() {
            self.remove_node(key);
            return false;
        }
        self.nodes.rename(key, header.sender);
        let node = &mut self.nodes[key];
        node.flags.put(NodeFlags::HANDSHAKE, false);
        node.flags |= header.flags & (NodeFlags::PRIMARY | NodeFlags::REPLICA);
        let text = format!("Handshake with node {} completed.", node.id);
        self.note(log::Level::Debug, text);
        self.save_soon();
        true
    }

    /// Somebody else is where a node was.
    pub(super) fn on_stranger(&mut self, link: LinkId, key: NodeKey) {
        let node = &mut self.nodes[key];
        node.flags.put(NodeFlags::NO_ADDRESS, true);
        node.address = Address::NONE;
        let text = format!("Another node answers at the address of node {}", node.id);
        self.note(log::Level::Debug, text);
        self.close_link(link);
        self.save_soon();
        self.todo.map = true;
    }

    /// A PING came from `key`: that is where it is.
    pub(super) fn update_address(&mut self, key: NodeKey, link: LinkId, header: &Header) {
        let Some(of) = self.links.get(&link) else {
            return;
        };
        if self.nodes[key].outbound == Some(link) || key == self.myself {
            return;
        }
        let address = header.address(of.peer_ip, self.settings.tls);
        if address.ip.is_empty() || address == self.nodes[key].address {
            return;
        }
        self.move_to(key, address);
        let node = &self.nodes[key];
        let text = format!(
            "Address updated for node {}, now {}:{}",
            node.name_for_log(),
            address.ip,
            address.client_port(self.settings.tls)
        );
        self.note(log::Level::Info, text);
    }

    /// `key` is at `address` from now on.
    pub(super) fn move_to(&mut self, key: NodeKey, address: Address) {
        if self.nodes[key].address == address {
            return;
        }
        if let Some(link) = self.nodes[key].outbound {
            self.close_link(link);
        }
        let node = &mut self.nodes[key];
        node.address = address;
        node.flags.put(NodeFlags::NO_ADDRESS, false);
        let id = node.id;
        if self.me().is_replica() && self.me().primary == Some(key) {
            self.act(Action::Replicate { id, address });
        }
        self.save_soon();
        self.look_soon();
    }

    /// Others reach this node at the address on which `link` arrived.
    pub(super) fn learn_own_address(&mut self, link: LinkId, kind: Kind) {
        if self.settings.announce_ip.is_some()
            || kind != Kind::Meet && !self.me().address.ip.is_empty()
        {
            return;
        }
        let ip = self
            .links
            .get(&link)
            .map_or(IpText::EMPTY, |of| of.local_ip);
        if ip.is_empty() || ip == self.me().address.ip {
            return;
        }
        self.me_mut().address.ip = ip;
        self.note(
            log::Level::Info,
            format!("IP address for this node updated to {ip}"),
        );
        self.save_soon();
        self.todo.map = true;
    }

    /// Takes a node out, and does not let gossip bring it back for a while.
    pub(super) fn forget(&mut self, key: NodeKey, ttl_ms: i64) {
        self.drop_remembered();
        let until_ms = self.now_ms.saturating_add(ttl_ms);
        self.forgotten.insert(self.nodes[key].id, until_ms);
        self.remove_node(key);
        self.save_soon();
        self.look_soon();
    }

    /// Whether gossip must not bring the node back.
    pub(super) fn is_forgotten(&mut self, id: &NodeId) -> bool {
        self.drop_remembered();
        self.forgotten.contains_key(id)
    }

    fn drop_remembered(&mut self) {
        let now_ms = self.now_ms;
        self.forgotten.retain(|_, until_ms| *until_ms >= now_ms);
    }

    /// Empties the list of nodes that are to stay away.
    pub(super) fn forgive_all(&mut self) {
        self.forgotten.clear();
    }

    /// Takes a node out of the table and out of everything that refers to it.
    pub(super) fn remove_node(&mut self, key: NodeKey) {
        assert_ne!(key, self.myself, "this node stays");
        self.unbind_all(key);
        self.migrating.retain(|_, to| *to != key);
        self.importing.retain(|_, from| *from != key);
        for other in self.nodes.keys() {
            self.nodes[other].reports.retain(|(from, _)| *from != key);
        }
        self.detach(key);
        for replica in std::mem::take(&mut self.nodes[key].replicas) {
            self.nodes[replica].primary = None;
        }
        let (outbound, inbound) = (self.nodes[key].outbound, self.nodes[key].inbound);
        for link in outbound.into_iter().chain(inbound) {
            self.close_link(link);
        }
        self.manual_replica_gone(key);
        self.nodes.remove(key);
        self.todo.map = true;
    }
}
