//! ZPOPMIN, ZPOPMAX and ZMPOP: members leave from either end.

use std::ops::Range;

use crate::base::number::format_i64;
use crate::command::parse;
use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};
use crate::resp::request::{Args, Caller, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard, Shards};
use crate::structures::zset::{Pair, Zset};

pub(super) const ZPOPMIN: Command = Command {
    name: "ZPOPMIN",
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::DELETE),
    )],
    docs: Docs {
        group: Group::SortedSet,
        since: "5.0.0",
        complexity: "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Removes the members with the lowest scores and replies them.",
        arguments: &[Argument::key("key"), Argument::integer("count").optional()],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(zpopmin),
    subcommands: &[],
};

pub(super) const ZPOPMAX: Command = Command {
    name: "ZPOPMAX",
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::DELETE),
    )],
    docs: Docs {
        group: Group::SortedSet,
        since: "5.0.0",
        complexity: "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Removes the members with the highest scores and replies them.",
        arguments: &[Argument::key("key"), Argument::integer("count").optional()],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(zpopmax),
    subcommands: &[],
};

pub(super) const ZMPOP: Command = Command {
    name: "ZMPOP",
    arity: Arity::AtLeast(4),
    flags: Flags::WRITE.and(Flags::MOVABLE_KEYS),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::counted(
        1,
        Access::RW.and(Access::ACCESS).and(Access::DELETE),
    )],
    docs: Docs {
        group: Group::SortedSet,
        since: "7.0.0",
        complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Removes members with the lowest or highest scores from the first of several sorted sets that is not empty.",
        arguments: &[
            Argument::integer("numkeys"),
            Argument::key("key").multiple(),
            Argument::one_of(
                "where",
                &[Argument::word("min", "MIN"), Argument::word("max", "MAX")],
            ),
            Argument::integer("count").token("COUNT").optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(zmpop),
    subcommands: &[],
};

/// An end of a sorted set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Min,
    Max,
}

impl End {
    pub(super) fn event(self) -> &'static str {
        match self {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        }
    }

    pub(super) fn command(self) -> &'static [u8] {
        match self {
            End::Min => b"ZPOPMIN",
            End::Max => b"ZPOPMAX",
        }
    }
}

fn zpopmin(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    pop(shard, args, End::Min, reply)
}

fn zpopmax(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    pop(shard, args, End::Max, reply)
}

fn pop(
    shard: &mut Shard,
    args: &Args<'_>,
    end: End,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    if args.len() > 3 {
        return Err(ErrorReply::SYNTAX);
    }
    // Whatever is wrong with the count, the text is the same.
    let count = match args.len() {
        2 => None,
        _ => Some(parse::at_least(args, 2, 0, ErrorReply::NOT_POSITIVE)? as usize),
    };
    let key = args.key(1);
    let Some(zset) = shard.write_as::<Zset>(&args.caller, &key)? else {
        reply.array(0);
        return Ok(());
    };
    let count_taken = zset.len().min(count.unwrap_or(1));
    // Without a count even RESP3 gets one flat pair.
    let nested = count.is_some() && reply.is_resp3();
    reply.array(if nested { count_taken } else { 2 * count_taken });
    let emptied = take(zset, end, count_taken, nested, reply);
    taken(shard, args, &key, end, count_taken, emptied);
    Ok(())
}

fn zmpop(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (keys, end, count) = zmpop_arguments(args, 1)?;
    for at in keys {
        let key = args.key(at);
        let shard = shards.of(&key);
        if shard.write_as::<Zset>(&args.caller, &key)?.is_some() {
            return zmpop_from(shard, args, &args.caller.again(), &key, end, count, reply);
        }
    }
    reply.null_array();
    Ok(())
}

/// What ZMPOP and BZMPOP are told, with the number of keys at `numkeys`: the places of the keys, the end, how many.
pub(super) fn zmpop_arguments(
    args: &Args<'_>,
    numkeys: usize,
) -> Result<(Range<usize>, End, usize), ErrorReply> {
    let keys = parse::at_least(args, numkeys, 1, ErrorReply::NUMKEYS_NOT_POSITIVE)? as usize;
    let end_at = keys.saturating_add(numkeys + 1);
    let end = match end_at {
        at if at >= args.len() => return Err(ErrorReply::SYNTAX),
        at if args.is(at, "MIN") => End::Min,
        at if args.is(at, "MAX") => End::Max,
        _ => return Err(ErrorReply::SYNTAX),
    };
    let mut count = None;
    let mut at = end_at + 1;
    while at < args.len() {
        if count.is_some() || !args.is(at, "COUNT") || at + 1 == args.len() {
            return Err(ErrorReply::SYNTAX);
        }
        count = Some(parse::at_least(args, at + 1, 1, ErrorReply::COUNT_NOT_POSITIVE)? as usize);
        at += 2;
    }
    Ok((numkeys + 1..end_at, end, count.unwrap_or(1)))
}

/// Takes members from a sorted set that is there and replies the key with them. Whether that counts as one more use of
/// it is up to `caller`.
pub(super) fn zmpop_from(
    shard: &mut Shard,
    args: &Args<'_>,
    caller: &Caller,
    key: &Key<'_>,
    end: End,
    count: usize,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let zset = shard
        .write_as::<Zset>(caller, key)?
        .ok_or(ErrorReply::NO_SUCH_KEY)?;
    let count = count.min(zset.len());
    reply.array(2);
    reply.bulk(key.bytes);
    reply.array(count);
    let emptied = take(zset, end, count, true, reply);
    taken(shard, args, key, end, count, emptied);
    let number = format_i64(count as i64);
    let parts = [end.command(), key.bytes, number.as_bytes()];
    shard.effects.record(args.db(), &parts);
    Ok(())
}

/// Takes so many members, which the set must have, from the end and writes them with their scores. True when these
/// were all: then they stay inside, and a big set is freed in steps when its key goes.
pub(super) fn take(
    zset: &mut Zset,
    end: End,
    count: usize,
    nested: bool,
    reply: &mut Reply<'_>,
) -> bool {
    let len = zset.len();
    let write = |(name, score): Pair<'_>| {
        if nested {
            reply.array(2);
        }
        reply.bulk_item(name);
        reply.double(score);
    };
    let start = match end {
        End::Min => 0,
        End::Max => len - count,
    };
    let members = zset.iter(start..start + count);
    match end {
        End::Min => members.for_each(write),
        End::Max => members.rev().for_each(write),
    }
    let emptied = count == len;
    if !emptied {
        zset.take_ranks(start, count, |_, _| {});
    }
    emptied
}

/// What follows when members were taken.
pub(super) fn taken(
    shard: &mut Shard,
    args: &Args<'_>,
    key: &Key<'_>,
    end: End,
    count: usize,
    emptied: bool,
) {
    if count == 0 {
        return;
    }
    shard.changed_by(args.db(), key, Class::Zset, end.event(), count as u64);
    if emptied {
        shard.delete_emptied(args.db(), key);
    }
}
