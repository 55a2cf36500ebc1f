//! What a packet tells of other nodes, and what its sender adds about itself (specification, 3.3 and 1.6).

use super::super::address::Address;
use super::super::flags::NodeFlags;
use super::super::node_id::NodeId;
use super::super::packet::{Extension, Extensions, GossipEntry, GossipSection, Told};
use super::node::Node;
use super::table::NodeKey;
use super::{Cluster, NODES_MAX};

/// How far ahead of this node's clock a time in gossip may be, milliseconds.
const AHEAD_MS: i64 = 500;

/// Longest time for which another node can have a node forgotten here, seconds.
const FORGOTTEN_S_MAX: u64 = 24 * 60 * 60;

impl Cluster {
    /// Reads gossip; `sender` is `None` in the MEET of a stranger, which refreshes what is known and adds nothing.
    pub(super) fn on_gossip(&mut self, sender: Option<NodeKey>, gossip: GossipSection<'_>) {
        // One name that is none, and the whole is not believed (Valkey 8).
        if gossip.told().any(|told| !told.id().is_valid()) {
            return;
        }
        let is_from_primary = sender.is_some_and(|sender| self.nodes[sender].is_primary());
        let reporter = sender.filter(|_| is_from_primary);
        for told in gossip.told() {
            match self.nodes.find(&told.id()) {
                Some(key) => self.on_known(reporter, key, told),
                None => {
                    if let Some(sender) = sender {
                        self.on_unknown(sender, &told.entry());
                    }
                }
            }
        }
    }

    /// `reporter` is the sender if its word counts where nodes cannot be reached.
    fn on_known(&mut self, reporter: Option<NodeKey>, key: NodeKey, told: Told<'_>) {
        if key == self.myself {
            return;
        }
        let flags = told.flags();
        let is_failing = flags.has(NodeFlags::PFAIL | NodeFlags::FAIL);
        if let Some(reporter) = reporter {
            if is_failing {
                self.add_report(key, reporter);
                self.fail_if_agreed(key);
            } else {
                self.remove_report(key, reporter);
            }
        }
        let is_quiet = !is_failing && self.nodes[key].ping_sent_ms == 0;
        if is_quiet && self.report_count(key) == 0 {
            // Friends' pongs count, which is why not everybody is pinged every second.
            let pong_ms = i64::from(told.pong_received_s()) * 1000;
            let newest_ms = self.now_ms.saturating_add(AHEAD_MS);
            let node = self.nodes.aside(key);
            if pong_ms <= newest_ms && pong_ms > node.pong_received_ms {
                node.pong_received_ms = pong_ms;
            }
        }
        let is_lost = self.nodes[key]
            .flags
            .has(NodeFlags::PFAIL | NodeFlags::FAIL);
        if is_lost && !is_failing && !flags.has(NodeFlags::NO_ADDRESS) {
            // Somebody reaches it, maybe elsewhere.
            if let Some(address) = self.entry_address(&told.entry()) {
                self.move_to(key, address);
            }
        }
    }

    fn on_unknown(&mut self, sender: NodeKey, entry: &GossipEntry) {
        if entry.flags.has(NodeFlags::NO_ADDRESS)
            || self.is_forgotten(&entry.id)
            || self.nodes.len() >= NODES_MAX
        {
            return;
        }
        let Some(address) = self.entry_address(entry) else {
            return;
        };
        debug_assert!(self.nodes.get(sender).is_some());
        let shard_id = NodeId::random(&mut self.random);
        let flags = entry.flags & NodeFlags::FROM_GOSSIP;
        let mut node = Node::new(entry.id, shard_id, flags, self.now_ms);
        node.address = address;
        if flags.has(NodeFlags::FAIL) {
            node.fail_ms = self.now_ms;
        }
        self.nodes.insert(node);
        self.save_soon();
        self.look_soon();
    }

    fn entry_address(&self, entry: &GossipEntry) -> Option<Address> {
        let (first, second) = (entry.port, entry.other_port);
        Some(Address::of_wire(
            entry.ip?,
            first,
            second,
            entry.bus_port,
            self.settings.tls,
        ))
    }

    /// Reads what the sender adds about itself. What it does not say it does not have.
    pub(super) fn on_extensions(&mut self, sender: NodeKey, extensions: Extensions<'_>) {
        let (mut hostname, mut node_name, mut shard_id) = ("", "", None);
        for extension in extensions.iter() {
            match extension {
                Extension::Hostname(name) => hostname = name,
                Extension::NodeName(name) => node_name = name,
                Extension::ShardId(id) => shard_id = Some(id),
                Extension::Forgotten { id, ttl_s } => self.on_forgotten(sender, id, ttl_s),
                Extension::Unknown(_) => {}
            }
        }
        let node = &mut self.nodes[sender];
        if node.hostname != hostname || node.node_name != node_name {
            node.hostname = hostname.to_owned();
            node.node_name = node_name.to_owned();
            self.save_soon();
            self.todo.map = true;
        }
        let shard_id = shard_id.unwrap_or_else(|| self.nodes[self.primary_of(sender)].shard_id);
        self.set_shard_id(sender, shard_id);
    }

    /// An operator has removed a node elsewhere. The one that says so cannot mean itself.
    fn on_forgotten(&mut self, sender: NodeKey, id: NodeId, ttl_s: u64) {
        let Some(key) = self.nodes.find(&id) else {
            return;
        };
        if key == self.myself || key == sender || self.me().primary == Some(key) {
            return;
        }
        let ttl_ms = ttl_s.min(FORGOTTEN_S_MAX) as i64 * 1000;
        self.forget(key, ttl_ms);
    }
}
