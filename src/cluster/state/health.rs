//! Whether the cluster is up, which decides what clients get (specification, 5.6).

use super::super::flags::NodeFlags;
use super::Cluster;

/// A primary that has just started does not serve for so long, milliseconds: the others may have replaced it.
const WRITABLE_MS: i64 = 2000;
/// Bounds of the time after a partition during which a primary does not serve either.
const REJOIN_MS: (i64, i64) = (500, 5000);

/// What is known of the cluster as a whole.
#[derive(Debug)]
pub(in crate::cluster) struct Health {
    /// Clients get CLUSTERDOWN.
    pub(in crate::cluster) is_down: bool,
    /// How many vote.
    pub(in crate::cluster) size: usize,
    /// When this was first looked at.
    first_ms: Option<i64>,
    /// When this node last was with a minority.
    minority_ms: Option<i64>,
}

impl Default for Health {
    fn default() -> Self {
        Health {
            is_down: true,
            size: 1,
            first_ms: None,
            minority_ms: None,
        }
    }
}

impl Health {
    /// Votes that are a majority.
    pub(in crate::cluster) fn quorum(&self) -> usize {
        self.size / 2 + 1
    }
}

impl Cluster {
    /// Finds out whether the cluster is up.
    pub(super) fn look_at_health(&mut self) {
        self.todo.health = false;
        let now_ms = self.now_ms;
        let voters = self.nodes.iter().filter(|(_, node)| node.is_voter());
        let (mut size, mut reachable) = (0, 0);
        for (_, node) in voters {
            size += 1;
            reachable += usize::from(!node.flags.has(NodeFlags::PFAIL | NodeFlags::FAIL));
        }
        let is_primary = self.me().is_primary();
        let first_ms = *self.health.first_ms.get_or_insert(now_ms);
        if is_primary && self.health.is_down && now_ms - first_ms < WRITABLE_MS {
            return;
        }
        self.health.size = size;
        let mut is_down = self.settings.require_full_coverage && !self.is_covered();
        if reachable < self.health.quorum() {
            is_down = true;
            self.health.minority_ms = Some(now_ms);
        }
        if is_down == self.health.is_down {
            return;
        }
        let rejoin_ms = self.settings.timeout_ms().clamp(REJOIN_MS.0, REJOIN_MS.1);
        let since_ms = self.health.minority_ms;
        let too_soon = since_ms.is_some_and(|since_ms| now_ms - since_ms < rejoin_ms);
        if !is_down && is_primary && too_soon {
            return;
        }
        self.health.is_down = is_down;
        self.todo.map = true;
        let (level, word) = match is_down {
            true => (log::Level::Warn, "fail"),
            false => (log::Level::Info, "ok"),
        };
        self.note(level, format!("Cluster state changed: {word}"));
    }

    /// Whether every slot has an owner that has not failed.
    fn is_covered(&self) -> bool {
        let mut last = None;
        self.slots.iter().all(|owner| {
            let Some(key) = owner else {
                return false;
            };
            // Runs of one owner are the rule.
            if last != Some(*key) && self.nodes[*key].has_failed() {
                return false;
            }
            last = Some(*key);
            true
        })
    }
}
