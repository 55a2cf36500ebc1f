//! Links: two for each node, the one that this node opened and speaks on first, and the one that it accepted.

use super::super::action::{Action, LinkId};
use super::super::address::IpText;
use super::super::flags::NodeFlags;
use super::super::packet::Kind;
use super::Cluster;
use super::table::NodeKey;
use crate::resp::ErrorReply;

/// A connection of the bus.
#[derive(Clone, Debug)]
pub struct Link {
    /// Whose it is; an accepted one's is known once its sender is.
    pub node: Option<NodeKey>,
    /// Accepted, not opened.
    pub is_inbound: bool,
    /// Since when, Unix milliseconds.
    pub created_ms: i64,
    /// Whether it has come about.
    pub is_connected: bool,
    /// The other side's address as the socket has it.
    pub peer_ip: IpText,
    /// This side's address as the socket has it.
    pub local_ip: IpText,
}

impl Cluster {
    /// A connection was accepted on the bus's port.
    pub fn link_accepted(&mut self, now_ms: i64, peer_ip: IpText, local_ip: IpText) -> LinkId {
        self.now_ms = now_ms;
        self.add_link(Link {
            node: None,
            is_inbound: true,
            created_ms: now_ms,
            is_connected: true,
            peer_ip,
            local_ip,
        })
    }

    /// A link that was to be opened is there.
    pub fn link_connected(&mut self, now_ms: i64, link: LinkId, local_ip: IpText) {
        self.now_ms = now_ms;
        let Some(of) = self.links.get_mut(&link) else {
            return;
        };
        (of.is_connected, of.local_ip) = (true, local_ip);
        let key = of.node.expect("an opened link belongs to a node");
        let node = &self.nodes[key];
        let kind = match node.flags.has(NodeFlags::MEET) {
            true => Kind::Meet,
            false => Kind::Ping,
        };
        // A ping that has waited since before the link broke goes on waiting, so that a node that accepts and says
        // nothing is found out.
        let waiting_ms = node.ping_sent_ms;
        self.send_gossip(link, kind);
        let node = &mut self.nodes[key];
        if waiting_ms != 0 {
            node.ping_sent_ms = waiting_ms;
        }
        // If no PONG ever comes the handshake ends; if one does, pings follow.
        node.flags.put(NodeFlags::MEET, false);
    }

    /// A link has broken, or never came about.
    pub fn link_closed(&mut self, now_ms: i64, link: LinkId) {
        self.now_ms = now_ms;
        let Some(of) = self.forget_link(link) else {
            return;
        };
        if let Some(key) = of.node
            && !of.is_inbound
            && !of.is_connected
            && self.nodes[key].ping_sent_ms == 0
        {
            // Nobody answered the attempt; without a ping that waits nothing would ever be found out.
            self.nodes[key].ping_sent_ms = now_ms;
        }
    }

    /// A link has more to send than cluster-link-sendbuf-limit lets it keep.
    pub fn link_over_limit(&mut self, now_ms: i64, link: LinkId, queued_bytes: usize) {
        self.now_ms = now_ms;
        let Some(of) = self.links.get(&link) else {
            return;
        };
        let whose = of
            .node
            .map_or(String::new(), |key| self.nodes[key].id.to_string());
        let way = if of.is_inbound { "from" } else { "to" };
        self.note(
            log::Level::Warn,
            format!("Closing the cluster link {way} node {whose}: {queued_bytes} bytes wait to be sent, more than cluster-link-sendbuf-limit. It is opened again"),
        );
        self.counters.links_over_limit += 1;
        self.close_link(link);
    }

    /// Breaks links with a node (DEBUG CLUSTERLINK KILL): the one that this node opened, the accepted one, or both.
    pub fn kill_links(
        &mut self,
        now_ms: i64,
        id: &[u8],
        opened: bool,
        accepted: bool,
    ) -> Result<(), ErrorReply> {
        self.now_ms = now_ms;
        let key = self.find(id).ok_or_else(|| ErrorReply::unknown_node(id))?;
        let node = &self.nodes[key];
        let links = [
            node.outbound.filter(|_| opened),
            node.inbound.filter(|_| accepted),
        ];
        links
            .into_iter()
            .flatten()
            .for_each(|link| self.close_link(link));
        Ok(())
    }

    /// The links that there are.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().map(|(id, link)| (*id, link))
    }

    fn add_link(&mut self, link: Link) -> LinkId {
        self.next_link += 1;
        let id = LinkId(self.next_link);
        self.links.insert(id, link);
        id
    }

    /// Opens the link to a node that has none. One without an address is treated as one that does not answer.
    pub(super) fn open_link(&mut self, key: NodeKey) {
        let now_ms = self.now_ms;
        let node = &mut self.nodes[key];
        let (ip, port) = (node.address.ip, node.address.bus_port);
        if ip.is_empty() || port == 0 {
            if node.ping_sent_ms == 0 {
                node.ping_sent_ms = now_ms;
            }
            return;
        }
        let link = self.add_link(Link {
            node: Some(key),
            is_inbound: false,
            created_ms: now_ms,
            is_connected: false,
            peer_ip: ip,
            local_ip: IpText::EMPTY,
        });
        self.nodes[key].outbound = Some(link);
        self.act(Action::OpenLink { link, ip, port });
    }

    /// Closes a link and forgets it.
    pub(super) fn close_link(&mut self, link: LinkId) {
        if self.forget_link(link).is_some() {
            self.act(Action::CloseLink(link));
        }
    }

    /// Takes a link out of all places that refer to it.
    fn forget_link(&mut self, link: LinkId) -> Option<Link> {
        let of = self.links.remove(&link)?;
        if let Some(key) = of.node {
            let node = &mut self.nodes[key];
            for side in [&mut node.outbound, &mut node.inbound] {
                if *side == Some(link) {
                    *side = None;
                }
            }
        }
        Some(of)
    }

    /// An accepted link turns out to be `key`'s; one that it had before is closed.
    pub(super) fn bind_inbound(&mut self, link: LinkId, key: NodeKey) {
        if let Some(old) = self.nodes[key].inbound {
            self.close_link(old);
        }
        self.nodes[key].inbound = Some(link);
        if let Some(of) = self.links.get_mut(&link) {
            assert!(of.is_inbound && of.node.is_none());
            of.node = Some(key);
        }
    }
}
