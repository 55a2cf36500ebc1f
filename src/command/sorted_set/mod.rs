//! Sorted set commands, declarations beside their handlers, a file for each thing one does.

mod blocking;
mod bounds;
mod combine;
mod pop;
mod range;
mod read;
mod scan;
mod store;
mod write;

#[cfg(test)]
mod tests;

pub(super) use bounds::pack_limits;
pub(super) use combine::in_order;

use super::spec::Command;

pub(super) const COMMANDS: &[Command] = &[
    blocking::BZMPOP,
    blocking::BZPOPMAX,
    blocking::BZPOPMIN,
    write::ZADD,
    read::ZCARD,
    read::ZCOUNT,
    combine::ZDIFF,
    combine::ZDIFFSTORE,
    write::ZINCRBY,
    combine::ZINTER,
    combine::ZINTERCARD,
    combine::ZINTERSTORE,
    read::ZLEXCOUNT,
    pop::ZMPOP,
    read::ZMSCORE,
    pop::ZPOPMAX,
    pop::ZPOPMIN,
    scan::ZRANDMEMBER,
    range::ZRANGE,
    range::ZRANGEBYLEX,
    range::ZRANGEBYSCORE,
    range::ZRANGESTORE,
    read::ZRANK,
    write::ZREM,
    write::ZREMRANGEBYLEX,
    write::ZREMRANGEBYRANK,
    write::ZREMRANGEBYSCORE,
    range::ZREVRANGE,
    range::ZREVRANGEBYLEX,
    range::ZREVRANGEBYSCORE,
    read::ZREVRANK,
    scan::ZSCAN,
    read::ZSCORE,
    combine::ZUNION,
    combine::ZUNIONSTORE,
];
