//! Commands that change members: ZADD, ZINCRBY, ZREM and the three that remove ranges.

use smallvec::SmallVec;

use crate::base::number::parse_f64;
use crate::command::parse;
use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard};
use crate::structures::member::MEMBER_BYTES_MAX;
use crate::structures::zset::{AddOptions, Added, Zset};

use super::bounds::{lex_bounds, pack_limits, rank_bounds, score_bounds};

pub(super) const ZADD: Command = Command {
    name: "ZADD",
    arity: Arity::AtLeast(4),
    flags: Flags::WRITE
        .and(Flags::DENYOOM)
        .and(Flags::FAST)
        .and(Flags::WAKES),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        summary: "Adds members to a sorted set, or gives members that are there new scores.",
        arguments: &[
            Argument::key("key"),
            Argument::one_of(
                "condition",
                &[Argument::word("nx", "NX"), Argument::word("xx", "XX")],
            )
            .optional()
            .since("3.0.2"),
            Argument::one_of(
                "comparison",
                &[Argument::word("gt", "GT"), Argument::word("lt", "LT")],
            )
            .optional()
            .since("6.2.0"),
            Argument::word("change", "CH").optional().since("3.0.2"),
            Argument::word("increment", "INCR")
                .optional()
                .since("3.0.2"),
            Argument::block(
                "score_member",
                &[Argument::double("score"), Argument::string("member")],
            )
            .multiple(),
        ],
        history: &[
            ("2.4.0", "Takes several members at once."),
            ("3.0.2", "Has the options `XX`, `NX`, `CH` and `INCR`."),
            ("6.2.0", "Has the options `GT` and `LT`."),
        ],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(zadd),
    subcommands: &[],
};

pub(super) const ZINCRBY: Command = Command {
    name: "ZINCRBY",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE
        .and(Flags::DENYOOM)
        .and(Flags::FAST)
        .and(Flags::WAKES),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::UPDATE),
    )],
    docs: Docs {
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)) where N is the number of elements in the sorted set.",
        summary: "Adds to the score of a member, which is made with score 0 if it is missing.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("increment"),
            Argument::string("member"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(zincrby),
    subcommands: &[],
};

pub(super) const ZREM: Command = Command {
    name: "ZREM",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RW.and(Access::DELETE))],
    docs: Docs {
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be removed.",
        summary: "Removes members from a sorted set.",
        arguments: &[Argument::key("key"), Argument::string("member").multiple()],
        history: &[("2.4.0", "Takes several members at once.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(zrem),
    subcommands: &[],
};

pub(super) const ZREMRANGEBYRANK: Command = Command {
    name: "ZREMRANGEBYRANK",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE,
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RW.and(Access::DELETE))],
    docs: Docs {
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
        summary: "Removes the members of a range of ranks.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("start"),
            Argument::integer("stop"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(zremrangebyrank),
    subcommands: &[],
};

pub(super) const ZREMRANGEBYSCORE: Command = Command {
    name: "ZREMRANGEBYSCORE",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE,
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RW.and(Access::DELETE))],
    docs: Docs {
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
        summary: "Removes the members with scores in a range.",
        arguments: &[
            Argument::key("key"),
            Argument::double("min"),
            Argument::double("max"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(zremrangebyscore),
    subcommands: &[],
};

pub(super) const ZREMRANGEBYLEX: Command = Command {
    name: "ZREMRANGEBYLEX",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE,
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RW.and(Access::DELETE))],
    docs: Docs {
        group: Group::SortedSet,
        since: "2.8.9",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
        summary: "Removes the members with names in a range, all scores being equal.",
        arguments: &[
            Argument::key("key"),
            Argument::string("min"),
            Argument::string("max"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(zremrangebylex),
    subcommands: &[],
};

fn zadd(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    add(shard, args, AddOptions::default(), reply)
}

fn zincrby(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let options = AddOptions {
        increment: true,
        ..AddOptions::default()
    };
    // Options are looked for here as well, so `ZINCRBY k NX m` is a syntax error, as in Redis.
    add(shard, args, options, reply)
}

fn add(
    shard: &mut Shard,
    args: &Args<'_>,
    mut options: AddOptions,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let mut count_updated = false;
    let mut first = 2;
    while first < args.len() {
        match () {
            () if args.is(first, "NX") => options.only_new = true,
            () if args.is(first, "XX") => options.only_existing = true,
            () if args.is(first, "CH") => count_updated = true,
            () if args.is(first, "INCR") => options.increment = true,
            () if args.is(first, "GT") => options.only_greater = true,
            () if args.is(first, "LT") => options.only_less = true,
            () => break,
        }
        first += 1;
    }
    let scores = add_scores(args, first, options)?;
    let key = args.key(1);
    let limits = pack_limits(shard);
    let zset = if options.only_existing {
        shard.write_as::<Zset>(&args.caller, &key)?
    } else {
        // As in 7.2, the first member stands for all of them.
        let first_bytes = args.get(first + 1).len();
        let make = || Zset::for_contents(scores.len(), first_bytes, limits);
        Some(shard.create_as(&args.caller, &key, make)?)
    };
    let (mut added, mut updated) = (0, 0);
    let mut last = None;
    if let Some(zset) = zset {
        zset.expect_more(scores.len(), limits);
        for (at, &score) in scores.iter().enumerate() {
            match zset.add(args.get(first + 2 * at + 1), score, options, limits) {
                Added::New(score) => {
                    added += 1;
                    last = Some(score);
                }
                Added::Updated { new, .. } => {
                    updated += 1;
                    last = Some(new);
                }
                Added::Same(score) => last = Some(score),
                Added::Refused => {}
                // Only an increment ends here, and it has one member: nothing has changed yet.
                Added::NotANumber => return Err(ErrorReply::SCORE_NAN),
            }
        }
    }
    if added + updated > 0 {
        let event = if options.increment { "zincr" } else { "zadd" };
        shard.changed_by(args.db(), &key, Class::Zset, event, added + updated);
    }
    match last {
        Some(score) if options.increment => reply.double(score),
        None if options.increment => reply.null(),
        _ if count_updated => reply.integer((added + updated) as i64),
        _ => reply.integer(added as i64),
    }
    Ok(())
}

/// The scores of the pairs from `first` on; checks what can be checked before the key is looked at, in Redis's order.
fn add_scores(
    args: &Args<'_>,
    first: usize,
    options: AddOptions,
) -> Result<SmallVec<[f64; 8]>, ErrorReply> {
    let words = args.len() - first;
    if words == 0 || words % 2 == 1 {
        return Err(ErrorReply::SYNTAX);
    }
    let AddOptions {
        only_new,
        only_existing,
        only_greater,
        only_less,
        increment,
    } = options;
    if only_new && only_existing {
        return Err(ErrorReply::ZADD_XX_NX);
    }
    if (only_new && (only_greater || only_less)) || (only_greater && only_less) {
        return Err(ErrorReply::ZADD_GT_LT_NX);
    }
    if increment && words > 2 {
        return Err(ErrorReply::ZADD_INCR_PAIRS);
    }
    let mut scores = SmallVec::with_capacity(words / 2);
    let mut longest = 0;
    for at in (first..args.len()).step_by(2) {
        scores.push(parse_f64(args.get(at)).ok_or(ErrorReply::NOT_FLOAT)?);
        longest = longest.max(args.get(at + 1).len());
    }
    if longest > MEMBER_BYTES_MAX {
        return Err(ErrorReply::STRING_TOO_LONG);
    }
    Ok(scores)
}

fn zrem(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let key = args.key(1);
    let (mut removed, mut emptied) = (0, false);
    if let Some(zset) = shard.write_as::<Zset>(&args.caller, &key)? {
        for name in args.iter_from(2) {
            removed += u64::from(zset.remove(name).is_some());
            emptied = zset.is_empty();
            if emptied {
                break;
            }
        }
    }
    if removed > 0 {
        shard.changed_by(args.db(), &key, Class::Zset, "zrem", removed);
        if emptied {
            shard.delete_emptied(args.db(), &key);
        }
    }
    reply.integer(removed as i64);
    Ok(())
}

fn zremrangebyrank(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (start, stop) = (parse::integer(args, 2)?, parse::integer(args, 3)?);
    let ranks = |zset: &Zset| rank_bounds(start, stop, zset.len());
    remove_range(shard, args, ranks, "zremrangebyrank", reply)
}

fn zremrangebyscore(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (min, max) = score_bounds(args.get(2), args.get(3))?;
    let ranks = |zset: &Zset| zset.ranks_by_score(min, max);
    remove_range(shard, args, ranks, "zremrangebyscore", reply)
}

fn zremrangebylex(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (min, max) = lex_bounds(args.get(2), args.get(3))?;
    let ranks = |zset: &Zset| zset.ranks_by_lex(min, max);
    remove_range(shard, args, ranks, "zremrangebylex", reply)
}

fn remove_range(
    shard: &mut Shard,
    args: &Args<'_>,
    ranks: impl FnOnce(&Zset) -> std::ops::Range<usize>,
    event: &'static str,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let key = args.key(1);
    let Some(zset) = shard.write_as::<Zset>(&args.caller, &key)? else {
        reply.count(0);
        return Ok(());
    };
    let ranks = ranks(zset);
    let count = ranks.len();
    // A range that is everything stays in the set, which is then freed in steps if it is big.
    let emptied = count == zset.len();
    if !emptied {
        zset.take_ranks(ranks.start, count, |_, _| {});
    }
    if count > 0 {
        shard.changed_by(args.db(), &key, Class::Zset, event, count as u64);
        if emptied {
            shard.delete_emptied(args.db(), &key);
        }
    }
    reply.count(count);
    Ok(())
}
