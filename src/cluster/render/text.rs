//! CLUSTER NODES, REPLICAS and INFO.

use std::fmt::Write;

use super::super::flags::NodeFlags;
use super::super::nodes_conf::Reader;
use super::super::packet::{KINDS, Kind};
use super::super::state::{Cluster, NodeKey};
use crate::resp::ErrorReply;

/// CLUSTER NODES, for a client that came with or without TLS.
pub fn nodes(cluster: &Cluster, tls: bool) -> String {
    let mut text = String::new();
    for (key, _) in cluster.nodes().iter() {
        cluster.line(key).write(&mut text, Reader::Client { tls });
        text.push('\n');
    }
    text
}

/// CLUSTER REPLICAS and SLAVES: a line for each, without its end.
pub fn replicas(cluster: &Cluster, id: &[u8], tls: bool) -> Result<Vec<String>, ErrorReply> {
    let key = cluster.find(id);
    let key = key.ok_or_else(|| ErrorReply::unknown_node(id))?;
    let node = &cluster.nodes()[key];
    if node.is_replica() {
        return Err(ErrorReply::NOT_A_PRIMARY);
    }
    let line = |key: &NodeKey| {
        let mut text = String::new();
        cluster.line(*key).write(&mut text, Reader::Client { tls });
        text
    };
    Ok(node.replicas.iter().map(line).collect())
}

/// CLUSTER INFO.
pub fn info(cluster: &Cluster) -> String {
    let (mut assigned, mut ok, mut pfail, mut fail) = (0, 0, 0, 0);
    for (_, node) in cluster.nodes().iter() {
        let slots = node.slot_count;
        assigned += slots;
        if node.flags.has(NodeFlags::FAIL) {
            fail += slots;
        } else if node.flags.has(NodeFlags::PFAIL) {
            pfail += slots;
        } else {
            ok += slots;
        }
    }
    let me = cluster.me();
    let owner = me.primary.map_or(me, |key| &cluster.nodes()[key]);
    let state = if cluster.is_down() { "fail" } else { "ok" };
    let mut text = String::new();
    let mut put = |name: &str, value: &dyn std::fmt::Display| {
        let _ = write!(text, "{name}:{value}\r\n");
    };
    put("cluster_state", &state);
    put("cluster_slots_assigned", &assigned);
    put("cluster_slots_ok", &ok);
    put("cluster_slots_pfail", &pfail);
    put("cluster_slots_fail", &fail);
    put("cluster_known_nodes", &cluster.nodes().len());
    put("cluster_size", &cluster.health.size);
    put("cluster_current_epoch", &cluster.current_epoch());
    put("cluster_my_epoch", &owner.config_epoch);
    let mut put_counts = |way: &str, counts: &[u64; KINDS]| {
        for (kind, count) in Kind::ALL.iter().zip(counts) {
            if *count > 0 {
                let name = kind.name();
                put(&format!("cluster_stats_messages_{name}_{way}"), count);
            }
        }
        let all: u64 = counts.iter().sum();
        put(&format!("cluster_stats_messages_{way}"), &all);
    };
    put_counts("sent", &cluster.counters.sent);
    put_counts("received", &cluster.counters.received);
    put(
        "total_cluster_links_buffer_limit_exceeded",
        &cluster.counters.links_over_limit,
    );
    text
}
