//! CLUSTER SLOTS and CLUSTER SHARDS.

use super::super::node_id::NodeId;
use super::super::slot_map::Endpoint;
use super::super::slots::SlotSet;
use super::super::state::{Cluster, Node, NodeKey};
use crate::base::slot::{SLOTS, Slot};
use crate::resp::Reply;

/// CLUSTER SLOTS, for a client that came with or without TLS.
pub fn slots(cluster: &Cluster, reply: &mut Reply<'_>, tls: bool) {
    let mut runs: Vec<(Slot, Slot, NodeKey)> = Vec::new();
    for slot in 0..SLOTS as Slot {
        let Some(owner) = cluster.owner(slot) else {
            continue;
        };
        match runs.last_mut() {
            Some((_, last, key)) if *key == owner && *last + 1 == slot => *last = slot,
            _ => runs.push((slot, slot, owner)),
        }
    }
    reply.array(runs.len());
    for (first, last, owner) in runs {
        let owner = &cluster.nodes()[owner];
        let replicas: Vec<&Node> = owner
            .replicas
            .iter()
            .map(|key| &cluster.nodes()[*key])
            .filter(|node| !node.has_failed() && offset(cluster, node) != 0)
            .collect();
        reply.array(3 + replicas.len());
        reply.integer(first.into());
        reply.integer(last.into());
        for node in std::iter::once(owner).chain(replicas) {
            entry(cluster, node, reply, tls);
        }
    }
}

/// Where a node is: endpoint, port, name, and what else is known of its address.
fn entry(cluster: &Cluster, node: &Node, reply: &mut Reply<'_>, tls: bool) {
    let kind = cluster.settings().endpoint;
    let ip = node.address.ip.as_str();
    reply.array(4);
    match kind {
        Endpoint::Ip => reply.bulk(ip.as_bytes()),
        Endpoint::Hostname => reply.bulk(hostname_or_mark(node).as_bytes()),
        Endpoint::Unknown => reply.null(),
    }
    reply.integer(node.address.client_port(tls).into());
    reply.bulk(node.id.as_bytes());
    let shows_ip = kind != Endpoint::Ip;
    let shows_hostname = kind != Endpoint::Hostname && !node.hostname.is_empty();
    reply.map(usize::from(shows_ip) + usize::from(shows_hostname));
    if shows_ip {
        reply.bulk(b"ip");
        reply.bulk(ip.as_bytes());
    }
    if shows_hostname {
        reply.bulk(b"hostname");
        reply.bulk(node.hostname.as_bytes());
    }
}

/// CLUSTER SHARDS: replica groups with their slots and nodes.
pub fn shards(cluster: &Cluster, reply: &mut Reply<'_>) {
    // Groups in the order in which their first node came.
    let mut groups: Vec<(NodeId, Vec<NodeKey>)> = Vec::new();
    for (key, node) in cluster.nodes().iter() {
        if node.is_in_handshake() {
            continue;
        }
        match groups.iter_mut().find(|(id, _)| *id == node.shard_id) {
            Some((_, keys)) => keys.push(key),
            None => groups.push((node.shard_id, vec![key])),
        }
    }
    reply.array(groups.len());
    for (_, mut keys) in groups {
        keys.sort_by_key(|key| !cluster.nodes()[*key].is_primary());
        let mut owned = SlotSet::default();
        for key in &keys {
            for slot in cluster.nodes()[*key].slots.iter() {
                owned.insert(slot);
            }
        }
        let ranges = owned.ranges();
        reply.map(2);
        reply.bulk(b"slots");
        reply.array(2 * ranges.len());
        for (first, last) in ranges {
            reply.integer(first.into());
            reply.integer(last.into());
        }
        reply.bulk(b"nodes");
        reply.array(keys.len());
        for key in keys {
            details(cluster, &cluster.nodes()[key], reply);
        }
    }
}

fn details(cluster: &Cluster, node: &Node, reply: &mut Reply<'_>) {
    let (ports, offset) = (node.address, offset(cluster, node));
    let text = |reply: &mut Reply<'_>, name: &str, value: &str| {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    };
    let number = |reply: &mut Reply<'_>, name: &str, value: i64| {
        reply.bulk(name.as_bytes());
        reply.integer(value);
    };
    let shown = [
        ports.port != 0,
        ports.tls_port != 0,
        !node.hostname.is_empty(),
    ];
    reply.map(6 + shown.into_iter().filter(|shown| *shown).count());
    text(reply, "id", &node.id.to_string());
    if ports.port != 0 {
        number(reply, "port", ports.port.into());
    }
    if ports.tls_port != 0 {
        number(reply, "tls-port", ports.tls_port.into());
    }
    text(reply, "ip", ports.ip.as_str());
    let endpoint = match cluster.settings().endpoint {
        Endpoint::Ip => ports.ip.as_str(),
        Endpoint::Hostname => hostname_or_mark(node),
        Endpoint::Unknown => "",
    };
    text(reply, "endpoint", endpoint);
    if !node.hostname.is_empty() {
        text(reply, "hostname", &node.hostname);
    }
    let role = if node.is_replica() {
        "replica"
    } else {
        "master"
    };
    text(reply, "role", role);
    number(reply, "replication-offset", offset as i64);
    let health = if node.has_failed() {
        "fail"
    } else if node.is_replica() && offset == 0 {
        "loading"
    } else {
        "online"
    };
    text(reply, "health", health);
}

/// Of itself a node knows better than its last packet said.
fn offset(cluster: &Cluster, node: &Node) -> u64 {
    match node.is_myself() {
        true => cluster.observed.repl_offset,
        false => node.repl_offset,
    }
}

fn hostname_or_mark(node: &Node) -> &str {
    match node.hostname.is_empty() {
        true => "?",
        false => &node.hostname,
    }
}
