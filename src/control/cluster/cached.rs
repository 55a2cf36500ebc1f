//! CLUSTER SLOTS, SHARDS and NODES, which clients ask for by the thousand when they connect again: written once, kept until
//! something that they show may have changed.
//!
//! A kept reply is never old: packets, links, offsets, the tick and whatever changes the map each end its life. Only
//! SLOTS outlives packets, since in a large cluster they come all the time; what it shows beside the map is compared
//! before it is given out again, which takes a glance at each node.

use crate::cluster::{Cluster, render};
use crate::control::Control;
use crate::mesh::message::ClusterAsk;
use crate::resp::Reply;

use super::Bus;

/// A reply in RESP2 and RESP3.
type Kept = [Option<Vec<u8>>; 2];

/// Replies that hold until something happens.
#[derive(Default)]
pub(super) struct Cache {
    slots: Kept,
    /// What SLOTS showed beside the map.
    shown: u64,
    shards: Kept,
    nodes: Kept,
}

impl Cache {
    /// The map may have changed, or anything else.
    pub fn clear(&mut self) {
        *self = Cache::default();
    }

    /// Something that does not concern the map may have changed.
    pub fn clear_live(&mut self) {
        (self.shards, self.nodes) = Default::default();
    }
}

/// What SLOTS shows beside the map, as a number: which nodes can be reached and which replicas have data.
fn shown_by_slots(cluster: &Cluster) -> u64 {
    let offset = cluster.observed().repl_offset;
    cluster.nodes().iter().fold(0, |sum: u64, (_, node)| {
        let offset = if node.is_myself() {
            offset
        } else {
            node.repl_offset
        };
        let facts = u64::from(node.has_failed()) << 1 | u64::from(offset == 0);
        // FNV-1a: the place of each node counts.
        (sum ^ facts).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Bus {
    fn reply_to(&mut self, ask: &ClusterAsk, name: &[u8]) -> Option<Vec<u8>> {
        let (cluster, version) = (&self.cluster, usize::from(ask.resp3));
        let write: fn(&Cluster, &mut Reply<'_>) = match name {
            b"SLOTS" => |cluster, reply| render::slots(cluster, reply, false),
            b"SHARDS" => render::shards,
            b"NODES" => |cluster, reply| {
                reply.verbatim("txt", render::nodes(cluster, false).as_bytes());
            },
            _ => return None,
        };
        let kept = match name {
            b"SLOTS" => {
                let shown = shown_by_slots(cluster);
                if std::mem::replace(&mut self.cache.shown, shown) != shown {
                    self.cache.slots = Kept::default();
                }
                &mut self.cache.slots
            }
            b"SHARDS" => &mut self.cache.shards,
            _ => &mut self.cache.nodes,
        };
        let reply = kept[version].get_or_insert_with(|| {
            let mut out = Vec::new();
            write(cluster, &mut Reply::new(&mut out, ask.resp3));
            out
        });
        Some(reply.clone())
    }
}

impl Control {
    /// The reply to one of these subcommands; `None` for others.
    pub(super) fn cached_reply(&mut self, ask: &ClusterAsk) -> Option<Vec<u8>> {
        let name = ask.args.get(1)?.to_ascii_uppercase();
        if name == b"SHARDS" {
            self.drain_stream(); // it shows this node's offset
        }
        self.with_bus(|control, bus| {
            control.observe_for(bus);
            bus.reply_to(ask, &name)
        })?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Observed, Settings};

    #[test]
    fn slots_are_written_anew_when_a_node_gets_data() {
        let mut cluster = Cluster::fresh(Settings::default(), 7, 1_700_000_000_000);
        let before = shown_by_slots(&cluster);
        let observed = Observed {
            repl_offset: 10,
            ..cluster.observed()
        };
        cluster.observe(observed);
        let after = shown_by_slots(&cluster);
        assert_ne!(before, after);
        cluster.observe(Observed {
            repl_offset: 20,
            ..observed
        });
        assert_eq!(shown_by_slots(&cluster), after, "how much does not matter");
    }
}
