//! Commands that wait at empty sorted sets: BZPOPMIN, BZPOPMAX, BZMPOP. See `list/blocking.rs`.

use crate::command::parse;
use crate::command::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run};
use crate::command::wait::{TAKES, TIMEOUT_HISTORY, take_or_wait};
use crate::keyspace::blocked::Awaits;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shards;
use crate::structures::zset::Zset;

use super::pop::{End, take, taken, zmpop_arguments, zmpop_from};

pub(super) const BZPOPMIN: Command = Command {
    name: "BZPOPMIN",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::FAST),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::range(1, -2, 1, TAKES)],
    docs: Docs {
        group: Group::SortedSet,
        since: "5.0.0",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Removes the member with the lowest score of the first sorted set that has one, waiting for it if need be.",
        arguments: &[Argument::key("key").multiple(), Argument::double("timeout")],
        history: TIMEOUT_HISTORY,
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(bzpopmin),
    subcommands: &[],
};

pub(super) const BZPOPMAX: Command = Command {
    name: "BZPOPMAX",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::FAST),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::range(1, -2, 1, TAKES)],
    docs: Docs {
        group: Group::SortedSet,
        since: "5.0.0",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Removes the member with the highest score of the first sorted set that has one, waiting for it if need be.",
        arguments: &[Argument::key("key").multiple(), Argument::double("timeout")],
        history: TIMEOUT_HISTORY,
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(bzpopmax),
    subcommands: &[],
};

fn bzpopmin(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    pop(shards, args, End::Min, reply)
}

fn bzpopmax(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    pop(shards, args, End::Max, reply)
}

fn pop(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    end: End,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let last = args.len() - 1;
    let until = parse::timeout_seconds(args, last, shards.any().now)?;
    let wait = (Awaits::Zset, until);
    take_or_wait::<Zset>(shards, args, 1..last, wait, reply, |shard, key, reply| {
        reply.array(3);
        reply.bulk(key.bytes);
        // To look for a set and to pop from it count as two uses, as in Redis.
        let zset = shard
            .write_as::<Zset>(&args.caller, key)?
            .ok_or(ErrorReply::NO_SUCH_KEY)?;
        let emptied = take(zset, end, 1, false, reply);
        taken(shard, args, key, end, 1, emptied);
        let parts = [end.command(), key.bytes];
        shard.effects.record(args.db(), &parts);
        Ok(())
    })
}

pub(super) const BZMPOP: Command = Command {
    name: "BZMPOP",
    arity: Arity::AtLeast(5),
    flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLE_KEYS),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::counted(2, TAKES)],
    docs: Docs {
        group: Group::SortedSet,
        since: "7.0.0",
        complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Removes members with the lowest or highest scores from the first of several sorted sets that has any, waiting for one if need be.",
        arguments: &[
            Argument::double("timeout"),
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
    run: Run::Plan(bzmpop),
    subcommands: &[],
};

fn bzmpop(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (keys, end, count) = zmpop_arguments(args, 2)?;
    let until = parse::timeout_seconds(args, 1, shards.any().now)?;
    let wait = (Awaits::Zset, until);
    take_or_wait::<Zset>(shards, args, keys, wait, reply, |shard, key, reply| {
        zmpop_from(shard, args, &args.caller, key, end, count, reply)
    })
}

#[cfg(test)]
mod tests {
    use crate::command::harness::Harness;

    #[test]
    fn what_is_there_is_taken_at_once_and_recorded_as_the_twin() {
        for shards in [1, 4] {
            let mut h = Harness::new(shards);
            h.line("ZADD z 1 a 2 b 3 c 4 d 5 e");
            h.effects();
            h.dialogue(
                "BZPOPMIN y z 0 => *3 $1 z $1 a $1 1
                 BZPOPMAX y z 0.1 => *3 $1 z $1 e $1 5
                 BZMPOP 0 2 y z MAX COUNT 2 => *2 $1 z *2 *2 $1 d $1 4 *2 $1 c $1 3
                 BZMPOP 0 1 z MIN => *2 $1 z *1 *2 $1 b $1 2
                 EXISTS z => :0",
            );
            let effects = ["ZPOPMIN z", "ZPOPMAX z", "ZPOPMAX z 2", "ZPOPMIN z 1"];
            assert_eq!(h.effects(), effects);
            h.line("ZADD z 1.5 a");
            h.caller.resp3 = true;
            h.dialogue("BZPOPMIN z 0 => *3 $1 z $1 a ,1.5");
        }
    }

    #[test]
    fn nothing_there_means_null_and_arguments_are_judged_in_the_order_of_redis() {
        let mut h = Harness::new(4);
        h.line("SET s x");
        h.dialogue(
            "BZPOPMIN a b 0 => *-1
             BZPOPMAX a 1 => *-1
             BZMPOP 1 2 a b MIN => *-1
             BZPOPMIN s x => -ERR timeout is not a float or out of range
             BZPOPMIN s 0 => -WRONGTYPE Operation against a key holding the wrong kind of value
             BZMPOP x 0 a MIN => -ERR numkeys should be greater than 0
             BZMPOP x 1 a LOW => -ERR syntax error
             BZMPOP x 1 a MIN => -ERR timeout is not a float or out of range
             BZMPOP -1 1 a MIN => -ERR timeout is negative",
        );
    }
}
