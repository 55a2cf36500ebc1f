//! Set commands: different members without an order.

mod algebra;
mod members;
mod random;

use crate::shard::Shard;
use crate::structures::set::SetLimits;

use super::spec::Command;

pub(super) const COMMANDS: &[Command] = &[
    members::SADD,
    members::SCARD,
    algebra::SDIFF,
    algebra::SDIFFSTORE,
    algebra::SINTER,
    algebra::SINTERCARD,
    algebra::SINTERSTORE,
    members::SISMEMBER,
    members::SMEMBERS,
    members::SMISMEMBER,
    members::SMOVE,
    random::SPOP,
    random::SRANDMEMBER,
    members::SREM,
    members::SSCAN,
    algebra::SUNION,
    algebra::SUNIONSTORE,
];

/// Where the small forms end, from the configuration.
fn limits(shard: &Shard) -> SetLimits {
    SetLimits {
        intset_entries: shard.config.set_max_intset_entries,
        listpack_entries: shard.config.set_max_listpack_entries,
        listpack_value: shard.config.set_max_listpack_value,
    }
}

#[cfg(test)]
mod tests;
