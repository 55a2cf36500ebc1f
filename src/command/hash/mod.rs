//! Hash commands: fields with their values under one key.

mod fields;
mod whole;

use crate::shard::Shard;
use crate::structures::hash::HashLimits;

use super::spec::Command;

pub(super) const COMMANDS: &[Command] = &[
    fields::HDEL,
    fields::HEXISTS,
    fields::HGET,
    whole::HGETALL,
    fields::HINCRBY,
    fields::HINCRBYFLOAT,
    whole::HKEYS,
    fields::HLEN,
    fields::HMGET,
    fields::HMSET,
    whole::HRANDFIELD,
    whole::HSCAN,
    fields::HSET,
    fields::HSETNX,
    fields::HSTRLEN,
    whole::HVALS,
];

/// Where a listpack ends, from the configuration.
fn limits(shard: &Shard) -> HashLimits {
    HashLimits {
        listpack_entries: shard.config.hash_max_listpack_entries,
        listpack_value: shard.config.hash_max_listpack_value,
    }
}

#[cfg(test)]
mod tests;
