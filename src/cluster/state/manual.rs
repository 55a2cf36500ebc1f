//! Manual failover: the primary holds its writes until the replica has them all (specification, 5.3).

use super::super::action::{Action, LinkId};
use super::super::packet::{self, Kind};
use super::Cluster;
use super::table::NodeKey;

/// How long it may take, milliseconds.
const TIMEOUT_MS: i64 = 5000;
/// How long the primary holds writes at most: so many times that.
const PAUSES: i64 = 2;

/// How far a manual failover is, on either side.
#[derive(Debug, Default)]
pub(super) struct Manual {
    /// When it is given up; `None` if there is none.
    ends_ms: Option<i64>,
    /// On the primary: who asked.
    replica: Option<NodeKey>,
    /// On the replica: the offset at which the primary stands still.
    offset: Option<u64>,
    /// On the replica: the election may begin.
    can_start: bool,
}

impl Manual {
    /// Whether there is one.
    pub(super) fn is_running(&self) -> bool {
        self.ends_ms.is_some()
    }

    /// Whether the replica may ask for votes although its primary is up.
    pub(super) fn can_start(&self) -> bool {
        self.is_running() && self.can_start
    }

    /// Whether the replica waits until it has processed everything.
    pub(super) fn waits_for_offset(&self) -> bool {
        self.is_running() && !self.can_start && self.offset.is_some()
    }

    /// Whether `key` asked this primary.
    pub(super) fn is_for(&self, key: NodeKey) -> bool {
        self.is_running() && self.replica == Some(key)
    }
}

impl Cluster {
    /// Whether this node holds its writes for a replica that is to take its place.
    pub fn holds_writes(&self) -> bool {
        self.manual.is_running() && self.manual.replica.is_some()
    }

    /// A replica asks this node to hold its writes.
    pub(super) fn on_mf_start(&mut self, link: LinkId, sender: NodeKey) {
        if !self.me().is_primary() || self.nodes[sender].primary != Some(self.myself) {
            return;
        }
        self.end_manual_failover();
        self.manual.ends_ms = Some(self.now_ms + TIMEOUT_MS);
        self.manual.replica = Some(sender);
        self.nodes.set_due(sender, 0);
        self.act(Action::PauseWrites {
            until_ms: self.now_ms + TIMEOUT_MS * PAUSES,
        });
        let name = self.nodes[sender].name_for_log();
        self.note(
            log::Level::Info,
            format!("Manual failover requested by replica {name}."),
        );
        // It waits for the offset, which any packet with the flag PAUSED tells.
        self.send_gossip(link, Kind::Ping);
    }

    /// Begins one on this replica. With `force` the primary is not asked.
    pub(super) fn start_manual_failover(&mut self, primary: NodeKey, force: bool) {
        self.end_manual_failover();
        self.manual.ends_ms = Some(self.now_ms + TIMEOUT_MS);
        // An earlier attempt's time does not have to run out first.
        self.drop_election();
        if force {
            self.manual.can_start = true;
            self.todo.election = true;
        } else {
            // It may not have heard yet that this is a replica of its own.
            if let Some(link) = self.nodes[primary].outbound {
                self.send_gossip(link, Kind::Ping);
            }
            let packet = packet::plain(Kind::MfStart, &self.header());
            self.send_to(primary, Kind::MfStart, packet);
        }
    }

    /// The primary stands still at `offset`.
    pub(super) fn on_paused_offset(&mut self, offset: u64) {
        if !self.manual.is_running() || self.manual.offset.is_some() {
            return;
        }
        self.manual.offset = Some(offset);
        self.todo.manual = true;
        self.note(
            log::Level::Info,
            format!("Received replication offset for paused master manual failover: {offset}"),
        );
    }

    /// Goes on as far as it goes.
    pub(super) fn manual_step(&mut self) {
        if self.manual.waits_for_offset() && self.manual.offset == Some(self.observed.repl_offset) {
            self.manual.can_start = true;
            self.todo.election = true;
            self.note(
                log::Level::Info,
                "All master replication stream processed, manual failover can start.".to_owned(),
            );
        }
    }

    /// Gives up one that takes too long.
    pub(super) fn check_manual_timeout(&mut self) {
        if self
            .manual
            .ends_ms
            .is_some_and(|ends_ms| ends_ms < self.now_ms)
        {
            self.note(log::Level::Warn, "Manual failover timed out.".to_owned());
            self.end_manual_failover();
        }
    }

    /// Ends one, however it went.
    pub(super) fn end_manual_failover(&mut self) {
        if std::mem::take(&mut self.manual).replica.is_some() {
            self.act(Action::ResumeWrites);
        }
    }

    /// The replica that asked is no longer a node of this cluster.
    pub(super) fn manual_replica_gone(&mut self, key: NodeKey) {
        if self.manual.replica == Some(key) {
            self.end_manual_failover();
        }
    }
}
