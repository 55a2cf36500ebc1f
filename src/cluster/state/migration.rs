//! Replicas move to primaries that have lost all of theirs (specification, 5.5).

use super::super::flags::NodeFlags;
use super::Cluster;
use super::table::NodeKey;

/// How long a primary has to be without replicas before one comes, milliseconds.
const DELAY_MS: i64 = 5000;

impl Cluster {
    /// Moves this replica if it is the one to move.
    pub(super) fn migrate_if_needed(&mut self) {
        let Some(primary) = self.me().primary.filter(|_| self.me().is_replica()) else {
            return;
        };
        if !self.settings.allow_replica_migration {
            return;
        }
        let mut any_orphan = false;
        let mut most = 0;
        for (key, node) in self.nodes.iter() {
            let counts = !node.is_myself()
                && !node.flags.has(NodeFlags::NO_ADDRESS | NodeFlags::HANDSHAKE)
                && node.is_primary()
                && !node.has_failed();
            if counts {
                let working = self.working_replicas(key);
                most = most.max(working);
                any_orphan |= self.is_orphan(key) && node.slot_count > 0;
            }
        }
        let is_of_the_best = most >= 2
            && !self.nodes[primary].has_failed()
            && self.working_replicas(primary) == most;
        if any_orphan && is_of_the_best {
            self.migrate(primary, most);
        }
    }

    fn is_orphan(&self, key: NodeKey) -> bool {
        let node = &self.nodes[key];
        node.is_primary()
            && !node.has_failed()
            && node.flags.has(NodeFlags::MIGRATE_TO)
            && self.working_replicas(key) == 0
    }

    fn migrate(&mut self, primary: NodeKey, most: usize) {
        if self.health.is_down {
            return;
        }
        let reachable = self.nodes[primary].replicas.iter().filter(|key| {
            let flags = self.nodes[**key].flags;
            !flags.has(NodeFlags::PFAIL | NodeFlags::FAIL)
        });
        if reachable.count() as i64 <= self.settings.migration_barrier {
            return;
        }
        let mut target: Option<NodeKey> = None;
        let mut candidate = self.my_id();
        for key in self.nodes.keys() {
            let (is_orphan, now_ms) = (self.is_orphan(key), self.now_ms);
            let node = &mut self.nodes[key];
            if is_orphan {
                node.orphaned_ms.get_or_insert(now_ms);
                if node.slot_count > 0 {
                    target.get_or_insert(key);
                }
            } else {
                node.orphaned_ms = None;
            }
            // Of all replicas of the primaries with most the smallest name moves.
            if self.nodes[key].is_primary() && self.working_replicas(key) == most {
                let replicas = self.nodes[key].replicas.iter();
                let smallest = replicas.map(|replica| self.nodes[*replica].id).min();
                candidate = smallest.map_or(candidate, |id| id.min(candidate));
            }
        }
        let Some(target) = target.filter(|_| candidate == self.my_id()) else {
            return;
        };
        let since_ms = self.nodes[target].orphaned_ms;
        if since_ms.is_some_and(|since_ms| self.now_ms - since_ms > DELAY_MS) {
            let name = self.nodes[target].name_for_log();
            self.note(
                log::Level::Info,
                format!("Migrating to orphaned master {name}"),
            );
            self.replicate_from(target);
        }
    }
}
