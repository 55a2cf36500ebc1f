//! Who cannot be reached: reports of others, agreement, and taking it back (specification, 3.3 to 3.5).

use super::super::flags::NodeFlags;
use super::super::node_id::NodeId;
use super::super::packet::{self, Kind};
use super::Cluster;
use super::table::NodeKey;

/// Reports are believed for so many times the node time-out, and a failure with slots stands for as many.
const TIMEOUTS: i64 = 2;

impl Cluster {
    /// `from` says that it cannot reach `about`.
    pub(super) fn add_report(&mut self, about: NodeKey, from: NodeKey) {
        let now_ms = self.now_ms;
        let reports = &mut self.nodes.aside(about).reports;
        match reports.iter_mut().find(|(key, _)| *key == from) {
            Some((_, at_ms)) => *at_ms = now_ms,
            None => {
                reports.push((from, now_ms));
                let (about, from) = (&self.nodes[about], &self.nodes[from]);
                let text = format!(
                    "Node {} reported node {} as not reachable.",
                    from.name_for_log(),
                    about.name_for_log()
                );
                self.note(log::Level::Debug, text);
            }
        }
    }

    /// `from` can reach `about`.
    pub(super) fn remove_report(&mut self, about: NodeKey, from: NodeKey) {
        let reports = &mut self.nodes.aside(about).reports;
        let before = reports.len();
        reports.retain(|(key, _)| *key != from);
        if reports.len() < before {
            let (about, from) = (&self.nodes[about], &self.nodes[from]);
            let text = format!(
                "Node {} reported node {} is back online.",
                from.name_for_log(),
                about.name_for_log()
            );
            self.note(log::Level::Debug, text);
        }
    }

    /// How many others say that they cannot reach `about`; what they said too long ago is dropped.
    pub(super) fn report_count(&mut self, about: NodeKey) -> usize {
        let (now_ms, valid_ms) = (self.now_ms, self.settings.timeout_ms() * TIMEOUTS);
        let reports = &mut self.nodes.aside(about).reports;
        reports.retain(|(_, at_ms)| now_ms - at_ms <= valid_ms);
        reports.len()
    }

    /// Whether a majority cannot reach `about`, which this node cannot reach either: then it has failed, for all.
    pub(super) fn fail_if_agreed(&mut self, about: NodeKey) {
        let node = &self.nodes[about];
        if !node.flags.has(NodeFlags::PFAIL) || node.has_failed() {
            return;
        }
        let agreed = self.report_count(about) + usize::from(self.me().is_primary());
        if agreed < self.health.quorum() {
            return;
        }
        let name = self.nodes[about].name_for_log();
        self.note(
            log::Level::Info,
            format!("Marking node {name} as failing (quorum reached)."),
        );
        let id = self.mark_failed(about);
        let packet = packet::fail(&self.header(), id);
        self.broadcast(Kind::Fail, packet);
    }

    /// Somebody has found a majority for it that `id` has failed.
    pub(super) fn on_fail(&mut self, sender: NodeKey, id: NodeId) {
        let Some(about) = self.nodes.find(&id) else {
            return;
        };
        let node = &self.nodes[about];
        if node.has_failed() || node.is_myself() {
            return;
        }
        let text = format!(
            "FAIL message received from {} about {}",
            self.nodes[sender].name_for_log(),
            node.name_for_log()
        );
        self.note(log::Level::Info, text);
        self.mark_failed(about);
    }

    fn mark_failed(&mut self, key: NodeKey) -> NodeId {
        let now_ms = self.now_ms;
        let node = &mut self.nodes[key];
        node.flags.put(NodeFlags::PFAIL, false);
        node.flags.put(NodeFlags::FAIL, true);
        node.fail_ms = now_ms;
        let id = node.id;
        self.save_soon();
        self.look_soon();
        // A replica of it may stand for election: the sooner that begins, the sooner slots are served again.
        if self.me().primary == Some(key) {
            self.todo.election = true;
        }
        id
    }

    /// `key` has answered on the link that this node opened to it.
    pub(super) fn reached(&mut self, key: NodeKey) {
        let (now_ms, undo_ms) = (self.now_ms, self.settings.timeout_ms() * TIMEOUTS);
        let node = &mut self.nodes[key];
        (node.pong_received_ms, node.ping_sent_ms) = (now_ms, 0);
        if node.flags.put(NodeFlags::PFAIL, false) {
            self.save_soon();
            self.look_soon();
            return;
        }
        if !node.has_failed() {
            return;
        }
        let what = if node.is_replica() {
            "replica is reachable again"
        } else if node.slot_count == 0 {
            "master without slots is reachable again"
        } else if now_ms - node.fail_ms > undo_ms {
            "is reachable again and nobody is serving its slots after some time"
        } else {
            return; // its replicas may be about to take its slots
        };
        node.flags.put(NodeFlags::FAIL, false);
        let text = format!("Clear FAIL state for node {}: {what}.", node.name_for_log());
        self.note(log::Level::Info, text);
        self.save_soon();
        self.look_soon();
    }
}
