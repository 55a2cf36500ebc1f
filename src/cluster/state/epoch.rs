//! Epochs: the cluster's logical clock, and under which of its ticks somebody owns slots (specification, 4.1).

use super::Cluster;
use super::table::NodeKey;

impl Cluster {
    /// The highest epoch that is known of.
    pub(super) fn highest_epoch(&self) -> u64 {
        let epochs = self.nodes.iter().map(|(_, node)| node.config_epoch);
        epochs.max().unwrap_or(0).max(self.current_epoch)
    }

    /// The next epoch. The last one of all 2^64 is not passed, which no cluster reaches unless a node lies.
    pub(super) fn next_epoch(&mut self) -> u64 {
        self.current_epoch = self.current_epoch.saturating_add(1);
        self.save_durably();
        self.current_epoch
    }

    /// Gives this node an epoch above all others without asking anybody; whether it needed one.
    pub(super) fn bump_epoch(&mut self) -> bool {
        let epoch = self.me().config_epoch;
        if epoch != 0 && epoch == self.highest_epoch() {
            return false;
        }
        let epoch = self.next_epoch();
        self.me_mut().config_epoch = epoch;
        self.note(log::Level::Info, format!("New configEpoch set to {epoch}"));
        true
    }

    /// Two primaries under one epoch: the one with the smaller name takes another. The greatest name never
    /// moves, so all end up apart.
    pub(super) fn resolve_collision(&mut self, sender: NodeKey, config_epoch: u64) {
        let (me, other) = (self.me(), &self.nodes[sender]);
        let collide = me.is_primary()
            && other.is_primary()
            && config_epoch == me.config_epoch
            && other.config_epoch == me.config_epoch;
        if !collide || me.id >= other.id {
            return;
        }
        let name = other.name_for_log();
        let epoch = self.next_epoch();
        self.me_mut().config_epoch = epoch;
        self.note(
            log::Level::Debug,
            format!("configEpoch collision with node {name}. configEpoch set to {epoch}"),
        );
    }
}
