//! Stream commands: entries under ids that rise, and groups of consumers that read them.

mod add;
mod claim;
mod group;
mod id;
mod info;
mod pending;
mod range;
mod read;

use crate::resp::Reply;
use crate::shard::Shard;
use crate::structures::stream::{NodeLimits, StreamEntry, StreamId};

use super::spec::Command;

pub(super) const COMMANDS: &[Command] = &[
    pending::XACK,
    add::XADD,
    claim::XAUTOCLAIM,
    claim::XCLAIM,
    add::XDEL,
    group::XGROUP,
    info::XINFO,
    range::XLEN,
    pending::XPENDING,
    range::XRANGE,
    read::XREAD,
    read::XREADGROUP,
    range::XREVRANGE,
    add::XSETID,
    add::XTRIM,
];

/// When a node is full, from the configuration.
fn limits(shard: &Shard) -> NodeLimits {
    let config = &shard.config;
    NodeLimits::new(config.stream_node_max_bytes, config.stream_node_max_entries)
}

/// Writes an id.
fn write_id(reply: &mut Reply<'_>, id: StreamId) {
    reply.bulk(id.text().as_bytes());
}

/// Writes an entry: its id, then names and values.
fn write_entry(reply: &mut Reply<'_>, entry: &StreamEntry<'_>) {
    reply.array(2);
    write_id(reply, entry.id);
    reply.array(2 * entry.len());
    for (name, value) in entry.pairs() {
        reply.bulk_item(name);
        reply.bulk_item(value);
    }
}

#[cfg(test)]
mod tests;
