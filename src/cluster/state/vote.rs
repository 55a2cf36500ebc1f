//! Votes: which replica may take the place of its primary (specification, 5.2).
//!
//! One vote for each epoch, and the file knows of it before anybody else does: the vote leaves behind a durable save of
//! the same turn. So a voter that crashes and comes back cannot vote twice.

use super::super::packet::{self, Header, Kind, MessageFlags};
use super::Cluster;
use super::table::NodeKey;

/// Between two votes about one primary: so many node time-outs.
const TIMEOUTS: i64 = 2;

impl Cluster {
    /// A replica asks for a vote. The epoch of its request has been taken over already.
    pub(super) fn on_auth_request(&mut self, sender: NodeKey, header: &Header) {
        // Who has no slots has no vote, and no reason to say so.
        if !self.me().is_voter() {
            return;
        }
        let name = self.nodes[sender].name_for_log();
        match self.refusal(sender, header) {
            Some(reason) => {
                self.note(
                    log::Level::Warn,
                    format!("Failover auth denied to {name}: {reason}"),
                );
            }
            None => self.vote_for(sender, &name),
        }
    }

    fn vote_for(&mut self, sender: NodeKey, name: &str) {
        assert!(
            self.last_vote_epoch != self.current_epoch,
            "one vote an epoch"
        );
        let primary = self.nodes[sender].primary;
        let primary = primary.expect("only replicas with a primary get a vote");
        self.last_vote_epoch = self.current_epoch;
        self.nodes[primary].voted_ms = Some(self.now_ms);
        self.save_durably();
        let packet = packet::plain(Kind::AuthAck, &self.header());
        self.send_to(sender, Kind::AuthAck, packet);
        let epoch = self.current_epoch;
        self.note(
            log::Level::Info,
            format!("Failover auth granted to {name} for epoch {epoch}"),
        );
    }

    fn refusal(&self, sender: NodeKey, header: &Header) -> Option<String> {
        let epoch = self.current_epoch;
        if header.current_epoch < epoch {
            return Some(format!(
                "reqEpoch ({}) < curEpoch({epoch})",
                header.current_epoch
            ));
        }
        // Not below, either: a file that was put back from a copy must not make an old epoch new.
        if self.last_vote_epoch >= epoch {
            return Some(format!("already voted for epoch {}", self.last_vote_epoch));
        }
        let node = &self.nodes[sender];
        if node.is_primary() {
            return Some("it is a master node".to_owned());
        }
        let Some(primary) = node.primary.map(|key| &self.nodes[key]) else {
            return Some("I don't know its master".to_owned());
        };
        if !primary.has_failed() && !header.message.has(MessageFlags::FORCE_ACK) {
            return Some("its master is up".to_owned());
        }
        let wait_ms = self.settings.timeout_ms() * TIMEOUTS;
        if let Some(voted_ms) = primary.voted_ms
            && self.now_ms - voted_ms < wait_ms
        {
            let left_ms = wait_ms - (self.now_ms - voted_ms);
            return Some(format!(
                "can't vote about this master before {left_ms} milliseconds"
            ));
        }
        header.slots.iter().find_map(|slot| {
            if self.is_free(slot) {
                return None;
            }
            let owner_epoch = self.nodes[self.owner(slot)?].config_epoch;
            (owner_epoch > header.config_epoch).then(|| {
                format!(
                    "slot {slot} epoch ({owner_epoch}) > reqEpoch ({})",
                    header.config_epoch
                )
            })
        })
    }
}
