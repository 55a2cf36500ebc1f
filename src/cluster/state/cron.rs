//! Ten times a second: links, pings, who cannot be reached, what a replica has to do (specification, 3.1).

use super::super::action::{Action, LinkId};
use super::super::flags::NodeFlags;
use super::super::node_id::NodeId;
use super::super::packet::Kind;
use super::Cluster;
use super::table::NodeKey;

/// A ping to somebody at random every so many ticks.
const RANDOM_PING_TICKS: u64 = 10;
/// Voters that hear at once of a primary that cannot be reached, besides its replicas.
const COLLECTORS: usize = 3;
/// How many are drawn for it, of which the one that has been silent the longest gets it.
const RANDOM_PING_DRAWS: usize = 5;

impl Cluster {
    /// A tenth of a second has passed, or more.
    pub fn tick(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        self.ticks += 1;
        if self.owes_save {
            self.save_durably();
        }
        self.suspects.clear();
        let due = self.nodes.due(now_ms);
        if cfg!(debug_assertions) {
            self.check_those_at_rest(&due);
        }
        for key in &due {
            self.keep_link(*key);
        }
        if self.ticks.is_multiple_of(RANDOM_PING_TICKS) {
            self.ping_somebody();
        }
        for key in due {
            let Some(node) = self.nodes.get(key) else {
                continue; // a handshake that took too long
            };
            let unknown = NodeFlags::MYSELF | NodeFlags::NO_ADDRESS | NodeFlags::HANDSHAKE;
            if !node.flags.has(unknown) {
                self.look_after(key);
                self.let_rest(key);
            }
        }
        self.check_manual_timeout();
        if self.me().is_replica() {
            self.replicate_if_idle();
            self.manual_step();
            self.election_step();
            self.migrate_if_needed();
        }
        if self.health.is_down {
            self.todo.health = true;
        }
    }

    /// Opens a link that is missing, ends a handshake that takes too long.
    fn keep_link(&mut self, key: NodeKey) {
        let node = &self.nodes[key];
        if node.flags.has(NodeFlags::MYSELF | NodeFlags::NO_ADDRESS) {
            return;
        }
        let age_ms = self.now_ms - node.created_ms;
        if node.is_in_handshake() && age_ms > self.settings.handshake_ms() {
            self.remove_node(key);
            return;
        }
        let (is_suspect, is_linked) = (node.flags.has(NodeFlags::PFAIL), node.outbound.is_some());
        if is_suspect {
            self.suspects.push(key);
        }
        if !is_linked {
            self.open_link(key);
        }
    }

    fn ping_somebody(&mut self) {
        let mut oldest: Option<(i64, NodeKey)> = None;
        for _ in 0..RANDOM_PING_DRAWS {
            let key = self.nodes.draw(&mut self.random);
            let node = &self.nodes[key];
            let can = node.outbound.is_some()
                && node.ping_sent_ms == 0
                && !node.flags.has(NodeFlags::MYSELF | NodeFlags::HANDSHAKE);
            if can && oldest.is_none_or(|(pong_ms, _)| pong_ms > node.pong_received_ms) {
                oldest = Some((node.pong_received_ms, key));
            }
        }
        if let Some(link) = oldest.and_then(|(_, key)| self.nodes[key].outbound) {
            self.send_gossip(link, Kind::Ping);
        }
    }

    /// Pings a node when it is time, finds out that it does not answer.
    fn look_after(&mut self, key: NodeKey) {
        let (now_ms, timeout_ms) = (self.now_ms, self.settings.timeout_ms());
        let node = &self.nodes[key];
        let ping_ms = now_ms - node.ping_sent_ms;
        let data_ms = now_ms - node.data_received_ms;
        let silent_ms = ping_ms.min(data_ms);
        let is_waiting = node.ping_sent_ms != 0;
        if let Some(link) = node.outbound {
            let age_ms = now_ms - self.links[&link].created_ms;
            if is_waiting && silent_ms > timeout_ms / 2 && age_ms > timeout_ms {
                // Maybe only the connection has died. The next tick opens another.
                self.close_link(link);
            }
        }
        let node = &self.nodes[key];
        if let Some(link) = node.outbound {
            let pong_ms = now_ms - node.pong_received_ms;
            let is_due = !is_waiting && pong_ms > self.settings.ping_after_ms();
            // The replica of a manual failover is to learn the offset soon.
            let is_manual = self.me().is_primary() && self.manual.is_for(key);
            if is_due || is_manual {
                self.send_gossip(link, Kind::Ping);
                return;
            }
        }
        if is_waiting && silent_ms > timeout_ms {
            self.suspect(key);
        }
    }

    /// A node that has answered, as nearly all have at any time, is not looked at until its next ping is due: that is what
    /// ticks of a large cluster would be spent on. One that cannot be reached is looked at, and counted, in every tick.
    fn let_rest(&mut self, key: NodeKey) {
        if self.is_at_rest(key) {
            let after_ms = self.settings.ping_after_ms();
            let due_ms = self.nodes[key].pong_received_ms.saturating_add(after_ms) + 1;
            self.nodes.set_due(key, due_ms);
        }
    }

    fn is_at_rest(&self, key: NodeKey) -> bool {
        let node = &self.nodes[key];
        node.outbound.is_some()
            && node.ping_sent_ms == 0
            && !node.flags.has(NodeFlags::PFAIL)
            && !self.manual.is_for(key)
    }

    /// What a tick passes over is what it would do nothing about.
    fn check_those_at_rest(&self, due: &[NodeKey]) {
        let mut due = due.iter().peekable();
        for (key, node) in self.nodes.iter() {
            if due.next_if(|next| **next == key).is_some() {
                continue;
            }
            let pong_ms = self.now_ms - node.pong_received_ms;
            let is_pinged = pong_ms > self.settings.ping_after_ms();
            assert!(
                self.is_at_rest(key) && !is_pinged,
                "node {} is due",
                node.id
            );
        }
    }

    /// This node cannot reach `key` any more.
    fn suspect(&mut self, key: NodeKey) {
        let flags = &mut self.nodes[key].flags;
        if flags.has(NodeFlags::PFAIL | NodeFlags::FAIL) {
            return;
        }
        flags.put(NodeFlags::PFAIL, true);
        self.suspects.push(key);
        let text = format!("Node {} possibly failing", self.nodes[key].name_for_log());
        self.note(log::Level::Debug, text);
        self.look_soon();
        // Others may have said so before. Redis waits for the next report.
        self.fail_if_agreed(key);
        if self.nodes[key].is_voter() && self.me().is_voter() {
            self.tell_collectors(key);
        }
    }

    /// Tells those who are to find a majority soon that this voter cannot reach `key`: its replicas, and a few voters that
    /// all choose alike. With pings at random alone that takes seconds in a large cluster, in which slots are not served.
    fn tell_collectors(&mut self, key: NodeKey) {
        let mut voters: Vec<(NodeId, NodeKey)> = self
            .nodes
            .iter()
            .filter(|(other, node)| *other != key && node.is_voter() && !node.is_myself())
            .filter(|(_, node)| !node.flags.has(NodeFlags::PFAIL | NodeFlags::FAIL))
            .map(|(other, node)| (node.id, other))
            .collect();
        voters.sort_unstable();
        let mut told = self.nodes[key].replicas.clone();
        told.extend(voters.iter().take(COLLECTORS).map(|(_, other)| *other));
        let links: Vec<LinkId> = told
            .iter()
            .filter_map(|other| self.nodes[*other].outbound)
            .collect();
        for link in links {
            self.send_gossip(link, Kind::Pong);
        }
    }

    /// A replica whose replication is off begins it as soon as its primary's address is known.
    fn replicate_if_idle(&mut self) {
        let Some(key) = self.me().primary.filter(|_| !self.observed.is_replicating) else {
            return;
        };
        let node = &self.nodes[key];
        if !node.flags.has(NodeFlags::NO_ADDRESS) && !node.address.ip.is_empty() {
            let (id, address) = (node.id, node.address);
            self.act(Action::Replicate { id, address });
        }
    }
}
