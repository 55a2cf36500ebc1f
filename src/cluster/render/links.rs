//! CLUSTER LINKS.

use super::super::action::LinkId;
use super::super::state::Cluster;
use crate::resp::Reply;

/// What a link's queue takes, which its driver knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkUse {
    /// Bytes allocated for what waits to be sent.
    pub allocated_bytes: usize,
    /// Bytes that wait to be sent.
    pub queued_bytes: usize,
}

/// Two links at most for each node, in the order of the nodes.
pub fn links(cluster: &Cluster, reply: &mut Reply<'_>, usage: impl Fn(LinkId) -> LinkUse) {
    let mut all = Vec::new();
    for (_, node) in cluster.nodes().iter() {
        let both = [(node.outbound, "to"), (node.inbound, "from")];
        all.extend(
            both.into_iter()
                .filter_map(|(link, way)| Some((node.id, link?, way))),
        );
    }
    reply.array(all.len());
    for (id, link, way) in all {
        let (of, usage) = (&cluster.links[&link], usage(link));
        // What Redis calls events: it waits for packets once the connection is there, and for room while something waits.
        let waits = usage.queued_bytes > 0 || !of.is_connected;
        let events = match (of.is_connected, waits) {
            (true, true) => "rw",
            (true, false) => "r",
            (false, _) => "w",
        };
        reply.map(6);
        for (name, value) in [("direction", way), ("node", &id.to_string())] {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
        reply.bulk(b"create-time");
        reply.integer(of.created_ms);
        reply.bulk(b"events");
        reply.bulk(events.as_bytes());
        reply.bulk(b"send-buffer-allocated");
        reply.count(usage.allocated_bytes);
        reply.bulk(b"send-buffer-used");
        reply.count(usage.queued_bytes);
    }
}
