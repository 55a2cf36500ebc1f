//! Packets that leave: what a header says, what a ping tells of others, who is told.

use std::sync::Arc;

use super::super::action::{Action, LinkId};
use super::super::address::IpText;
use super::super::flags::NodeFlags;
use super::super::node_id::NodeId;
use super::super::packet::{self, Extension, GossipEntry, Header, Kind, MessageFlags};
use super::Cluster;
use super::node::Node;
use super::table::NodeKey;

/// Most entries that a ping has, whatever the number of nodes: the count has 16 bits.
const ENTRIES_MAX: usize = u16::MAX as usize;

impl Cluster {
    /// What every packet says now.
    pub(super) fn header(&self) -> Header {
        let me = self.me();
        let primary = me.primary.map(|key| &self.nodes[key]);
        let owner = primary.filter(|_| me.is_replica()).unwrap_or(me);
        let (port, other_port) = me.address.wire_ports(self.settings.tls);
        let mut message = MessageFlags::default();
        if me.is_primary() && self.manual.is_running() {
            message.0 |= MessageFlags::PAUSED;
        }
        Header {
            sender: me.id,
            current_epoch: self.current_epoch,
            config_epoch: owner.config_epoch,
            offset: self.observed.repl_offset,
            slots: owner.slots.clone(),
            primary: primary.map_or(NodeId::NONE, |primary| primary.id),
            ip: self.settings.announce_ip.unwrap_or(IpText::EMPTY),
            port,
            other_port,
            bus_port: me.address.bus_port,
            // Valkey 8 spares itself 2 KB of header with every message that is published, towards whoever says this.
            flags: me.flags & NodeFlags::ON_THE_WIRE | NodeFlags::LIGHT_PUBLISH,
            is_down: self.health.is_down,
            message,
        }
    }

    pub(super) fn send(&mut self, link: LinkId, kind: Kind, packet: Arc<[u8]>) {
        debug_assert!(self.links.contains_key(&link), "the link is there");
        self.counters.sent[usize::from(kind.number())] += 1;
        self.act(Action::Send { link, packet });
    }

    /// Sends to a node on the link that this node opened, if there is one.
    pub(super) fn send_to(&mut self, key: NodeKey, kind: Kind, packet: Vec<u8>) {
        if let Some(link) = self.nodes[key].outbound {
            self.send(link, kind, packet.into());
        }
    }

    /// Sends to all nodes whose names are known and to which there is a link.
    pub(super) fn broadcast(&mut self, kind: Kind, packet: Vec<u8>) {
        let packet: Arc<[u8]> = packet.into();
        let links: Vec<LinkId> = self
            .nodes
            .iter()
            .filter(|(_, node)| !node.is_myself() && !node.is_in_handshake())
            .filter_map(|(_, node)| node.outbound)
            .collect();
        for link in links {
            self.send(link, kind, packet.clone());
        }
    }

    /// Tells all, or only the replicas of one's own group, how one is now.
    pub(super) fn broadcast_pong(&mut self, only_my_replicas: bool) {
        let my_primary = self.me().primary;
        let links: Vec<LinkId> = self
            .nodes
            .iter()
            .filter(|(_, node)| !node.is_myself() && !node.is_in_handshake())
            .filter(|(_, node)| {
                let primary = node.primary.filter(|_| node.is_replica());
                !only_my_replicas
                    || primary.is_some() && (primary == Some(self.myself) || primary == my_primary)
            })
            .filter_map(|(_, node)| node.outbound)
            .collect();
        for link in links {
            self.send_gossip(link, Kind::Pong);
        }
    }

    /// Sends PING, PONG or MEET with some gossip (3.2).
    pub(super) fn send_gossip(&mut self, link: LinkId, kind: Kind) {
        let Some(of) = self.links.get(&link) else {
            return;
        };
        let receiver = of.node;
        if kind == Kind::Ping
            && !of.is_inbound
            && let Some(key) = receiver
        {
            self.nodes[key].ping_sent_ms = self.now_ms;
        }
        let entries = self.gossip_for(receiver);
        let reads_extensions =
            receiver.is_some_and(|key| self.nodes[key].flags.has(NodeFlags::EXTENSIONS));
        let extensions = match reads_extensions {
            true => self.extensions(),
            false => Vec::new(),
        };
        let bytes = packet::gossip(kind, &self.header(), &entries, &extensions);
        self.send(link, kind, bytes.into());
    }

    /// Some nodes drawn at random, and all that cannot be reached.
    fn gossip_for(&mut self, receiver: Option<NodeKey>) -> Vec<GossipEntry> {
        self.gossip_round += 1;
        let round = self.gossip_round;
        let mut hoped = self.nodes.len().saturating_sub(2);
        let wanted = (self.nodes.len() / 10).max(3).min(hoped);
        let mut entries = Vec::with_capacity(wanted + self.suspects.len());
        for _ in 0..wanted * 3 {
            if entries.len() >= wanted || hoped == 0 {
                break;
            }
            let key = self.nodes.draw(&mut self.random);
            let node = &self.nodes[key];
            if node.is_myself() || node.flags.has(NodeFlags::PFAIL) || receiver == Some(key) {
                continue;
            }
            let unknown = node.flags.has(NodeFlags::HANDSHAKE | NodeFlags::NO_ADDRESS);
            if unknown || node.outbound.is_none() && node.slot_count == 0 {
                hoped -= 1;
                continue;
            }
            if node.gossiped_in == round {
                continue;
            }
            entries.push(self.entry(node));
            self.nodes.aside(key).gossiped_in = round;
            hoped -= 1;
        }
        let room = ENTRIES_MAX - entries.len();
        let suspects = self.suspects.iter().filter_map(|key| self.nodes.get(*key));
        let unreachable = suspects.filter(|node| {
            node.flags.has(NodeFlags::PFAIL)
                && !node.flags.has(NodeFlags::HANDSHAKE | NodeFlags::NO_ADDRESS)
        });
        let unreachable: Vec<GossipEntry> = unreachable
            .take(room)
            .map(|node| self.entry(node))
            .collect();
        entries.extend(unreachable);
        entries
    }

    fn entry(&self, node: &Node) -> GossipEntry {
        let (port, other_port) = node.address.wire_ports(self.settings.tls);
        let seconds = |ms: i64| u32::try_from(ms / 1000).unwrap_or(0);
        GossipEntry {
            id: node.id,
            ping_sent_s: seconds(node.ping_sent_ms),
            pong_received_s: seconds(node.pong_received_ms),
            ip: Some(node.address.ip),
            port,
            bus_port: node.address.bus_port,
            flags: node.flags & NodeFlags::ON_THE_WIRE,
            other_port,
        }
    }

    fn extensions(&self) -> Vec<Extension<'_>> {
        let me = self.me();
        let mut extensions = Vec::new();
        if !me.hostname.is_empty() {
            extensions.push(Extension::Hostname(&me.hostname));
        }
        if !me.node_name.is_empty() {
            extensions.push(Extension::NodeName(&me.node_name));
        }
        for (id, until_ms) in self.forgotten.iter().take(ENTRIES_MAX - 8) {
            // Whole seconds: nothing is said of one that is as good as over.
            let ttl_s = (until_ms - self.now_ms) / 1000;
            if ttl_s > 0 {
                extensions.push(Extension::Forgotten {
                    id: *id,
                    ttl_s: ttl_s as u64,
                });
            }
        }
        extensions.push(Extension::ShardId(me.shard_id));
        extensions
    }

    /// A client here has published: all nodes are told, or those of this node's replica group. Returns whether the message
    /// fits into a packet; one that does not stays here.
    pub fn publish(&mut self, is_sharded: bool, channel: &[u8], message: &[u8]) -> bool {
        if !packet::publish_fits(channel, message) {
            self.note(
                log::Level::Warn,
                format!("A message of {} bytes is not published to other nodes: it does not fit into a packet of the bus", message.len()),
            );
            return false;
        }
        let my_group = self.me().shard_id;
        let receivers: Vec<(LinkId, bool)> = self
            .nodes
            .iter()
            .filter(|(_, node)| !node.is_myself() && !node.is_in_handshake())
            .filter(|(_, node)| !is_sharded || node.shard_id == my_group)
            .filter_map(|(_, node)| {
                Some((node.outbound?, node.flags.has(NodeFlags::LIGHT_PUBLISH)))
            })
            .collect();
        let kind = match is_sharded {
            true => Kind::PublishShard,
            false => Kind::Publish,
        };
        // Each form is made when the first receiver needs it.
        let (mut full, mut light): (Option<Arc<[u8]>>, Option<Arc<[u8]>>) = (None, None);
        for (link, reads_light) in receivers {
            let packet = if reads_light {
                light.get_or_insert_with(|| {
                    packet::light_publish(is_sharded, channel, message).into()
                })
            } else {
                full.get_or_insert_with(|| {
                    packet::publish(&self.header(), is_sharded, channel, message).into()
                })
            };
            let packet = packet.clone();
            self.send(link, kind, packet);
        }
        true
    }
}
