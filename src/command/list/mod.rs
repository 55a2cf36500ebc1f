//! List commands: elements in an order that their clients choose.

mod blocking;
mod ends;
mod inside;

use crate::shard::Shard;
use crate::structures::quicklist::Fill;

use super::spec::Command;

pub(super) const COMMANDS: &[Command] = &[
    blocking::BLMOVE,
    blocking::BLMPOP,
    blocking::BLPOP,
    blocking::BRPOP,
    blocking::BRPOPLPUSH,
    inside::LINDEX,
    inside::LINSERT,
    inside::LLEN,
    ends::LMOVE,
    ends::LMPOP,
    ends::LPOP,
    inside::LPOS,
    ends::LPUSH,
    ends::LPUSHX,
    inside::LRANGE,
    inside::LREM,
    inside::LSET,
    inside::LTRIM,
    ends::RPOP,
    ends::RPOPLPUSH,
    ends::RPUSH,
    ends::RPUSHX,
];

/// The limit of a node, from the configuration.
pub(super) fn fill(shard: &Shard) -> Fill {
    Fill::new(shard.config.list_max_listpack_size.into())
}

#[cfg(test)]
mod tests;
