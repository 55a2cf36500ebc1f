//! Commands that read a range of members in order, and ZRANGESTORE, which keeps what it reads.

use std::ops::Range;

use crate::command::parse;
use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Shard, Shards};
use crate::structures::ordered::{LexBound, ScoreBound};
use crate::structures::zset::Zset;

use super::bounds::{
    lex_bounds, open_members, pack_limits, rank_bounds, score_bounds, write_member,
};
use super::store::store;

pub(super) const ZRANGE: Command = Command {
    name: "ZRANGE",
    arity: Arity::AtLeast(4),
    flags: Flags::READONLY,
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.",
        summary: "Reads the members of a range of ranks, scores or names.",
        arguments: &[
            Argument::key("key"),
            Argument::string("start"),
            Argument::string("stop"),
            Argument::one_of(
                "sortby",
                &[
                    Argument::word("byscore", "BYSCORE"),
                    Argument::word("bylex", "BYLEX"),
                ],
            )
            .optional()
            .since("6.2.0"),
            Argument::word("rev", "REV").optional().since("6.2.0"),
            Argument::block(
                "offset_count",
                &[Argument::integer("offset"), Argument::integer("count")],
            )
            .token("LIMIT")
            .optional()
            .since("6.2.0"),
            Argument::word("withscores", "WITHSCORES").optional(),
        ],
        history: &[(
            "6.2.0",
            "Has the options `REV`, `BYSCORE`, `BYLEX` and `LIMIT`.",
        )],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(zrange),
    subcommands: &[],
};

pub(super) const ZREVRANGE: Command = Command {
    name: "ZREVRANGE",
    arity: Arity::AtLeast(4),
    flags: Flags::READONLY,
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.",
        summary: "Reads the members of a range of ranks counted from the highest score.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("start"),
            Argument::integer("stop"),
            Argument::word("withscores", "WITHSCORES").optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: Some(("6.2.0", "`ZRANGE` with the `REV` argument")),
    },
    run: Run::Shard(zrevrange),
    subcommands: &[],
};

pub(super) const ZRANGEBYSCORE: Command = Command {
    name: "ZRANGEBYSCORE",
    arity: Arity::AtLeast(4),
    flags: Flags::READONLY,
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "1.0.5",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
        summary: "Reads the members with scores in a range, in rising order.",
        arguments: &[
            Argument::key("key"),
            Argument::double("min"),
            Argument::double("max"),
            Argument::word("withscores", "WITHSCORES")
                .optional()
                .since("2.0.0"),
            Argument::block(
                "offset_count",
                &[Argument::integer("offset"), Argument::integer("count")],
            )
            .token("LIMIT")
            .optional(),
        ],
        history: &[("2.0.0", "Has the option `WITHSCORES`.")],
        tips: &[],
        deprecated: Some(("6.2.0", "`ZRANGE` with the `BYSCORE` argument")),
    },
    run: Run::Shard(zrangebyscore),
    subcommands: &[],
};

pub(super) const ZREVRANGEBYSCORE: Command = Command {
    name: "ZREVRANGEBYSCORE",
    arity: Arity::AtLeast(4),
    flags: Flags::READONLY,
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "2.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
        summary: "Reads the members with scores in a range, in falling order.",
        arguments: &[
            Argument::key("key"),
            Argument::double("max"),
            Argument::double("min"),
            Argument::word("withscores", "WITHSCORES").optional(),
            Argument::block(
                "offset_count",
                &[Argument::integer("offset"), Argument::integer("count")],
            )
            .token("LIMIT")
            .optional(),
        ],
        history: &[("2.1.6", "Takes exclusive bounds.")],
        tips: &[],
        deprecated: Some(("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments")),
    },
    run: Run::Shard(zrevrangebyscore),
    subcommands: &[],
};

pub(super) const ZRANGEBYLEX: Command = Command {
    name: "ZRANGEBYLEX",
    arity: Arity::AtLeast(4),
    flags: Flags::READONLY,
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "2.8.9",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
        summary: "Reads the members with names in a range, in rising order.",
        arguments: &[
            Argument::key("key"),
            Argument::string("min"),
            Argument::string("max"),
            Argument::block(
                "offset_count",
                &[Argument::integer("offset"), Argument::integer("count")],
            )
            .token("LIMIT")
            .optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: Some(("6.2.0", "`ZRANGE` with the `BYLEX` argument")),
    },
    run: Run::Shard(zrangebylex),
    subcommands: &[],
};

pub(super) const ZREVRANGEBYLEX: Command = Command {
    name: "ZREVRANGEBYLEX",
    arity: Arity::AtLeast(4),
    flags: Flags::READONLY,
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "2.8.9",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
        summary: "Reads the members with names in a range, in falling order.",
        arguments: &[
            Argument::key("key"),
            Argument::string("max"),
            Argument::string("min"),
            Argument::block(
                "offset_count",
                &[Argument::integer("offset"), Argument::integer("count")],
            )
            .token("LIMIT")
            .optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: Some(("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments")),
    },
    run: Run::Shard(zrevrangebylex),
    subcommands: &[],
};

pub(super) const ZRANGESTORE: Command = Command {
    name: "ZRANGESTORE",
    arity: Arity::AtLeast(5),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::SORTEDSET,
    keys: &[
        KeySpec::one(1, Access::OW.and(Access::UPDATE)),
        KeySpec::one(2, Access::RO.and(Access::ACCESS)),
    ],
    docs: Docs {
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements stored into the destination key.",
        summary: "Stores the members of a range of ranks, scores or names under another key.",
        arguments: &[
            Argument::key("dst"),
            Argument::key_of("src", 1),
            Argument::string("min"),
            Argument::string("max"),
            Argument::one_of(
                "sortby",
                &[
                    Argument::word("byscore", "BYSCORE"),
                    Argument::word("bylex", "BYLEX"),
                ],
            )
            .optional(),
            Argument::word("rev", "REV").optional(),
            Argument::block(
                "offset_count",
                &[Argument::integer("offset"), Argument::integer("count")],
            )
            .token("LIMIT")
            .optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(zrangestore),
    subcommands: &[],
};

/// What the bounds of a range are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// What a command of this file leaves open to its options.
struct Form {
    /// Where the bounds are among the arguments.
    bounds_at: usize,
    by: Option<By>,
    reverse: Option<bool>,
    /// Scores may be asked for.
    may_score: bool,
}

/// A range that was asked for.
struct Query<'a> {
    bounds: Bounds<'a>,
    reverse: bool,
    offset: i64,
    /// Negative for no limit.
    limit: i64,
    with_scores: bool,
}

enum Bounds<'a> {
    Rank(i64, i64),
    Score(ScoreBound, ScoreBound),
    Lex(LexBound<'a>, LexBound<'a>),
}

impl<'a> Query<'a> {
    /// Reads options and bounds; the order of checks is Redis's.
    fn of(args: &Args<'a>, form: Form) -> Result<Query<'a>, ErrorReply> {
        let (mut by, mut reverse) = (form.by, form.reverse);
        let (mut offset, mut limit) = (0, -1);
        let mut with_scores = false;
        let mut at = form.bounds_at + 2;
        while at < args.len() {
            if form.may_score && args.is(at, "WITHSCORES") {
                with_scores = true;
            } else if args.is(at, "LIMIT") && at + 2 < args.len() {
                offset = parse::integer(args, at + 1)?;
                limit = parse::integer(args, at + 2)?;
                at += 2;
            } else if reverse.is_none() && args.is(at, "REV") {
                reverse = Some(true);
            } else if by.is_none() && args.is(at, "BYLEX") {
                by = Some(By::Lex);
            } else if by.is_none() && args.is(at, "BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(ErrorReply::SYNTAX);
            }
            at += 1;
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        // A limit of -1 is no limit and passes everywhere, as in Redis.
        if limit != -1 && by == By::Rank {
            return Err(ErrorReply::LIMIT_NEEDS_BY);
        }
        if with_scores && by == By::Lex {
            return Err(ErrorReply::WITHSCORES_BYLEX);
        }
        let (min_at, max_at) = (form.bounds_at, form.bounds_at + 1);
        let (low, high) = if reverse {
            (args.get(max_at), args.get(min_at))
        } else {
            (args.get(min_at), args.get(max_at))
        };
        let bounds = match by {
            By::Rank => Bounds::Rank(parse::integer(args, min_at)?, parse::integer(args, max_at)?),
            By::Score => {
                let (min, max) = score_bounds(low, high)?;
                Bounds::Score(min, max)
            }
            By::Lex => {
                let (min, max) = lex_bounds(low, high)?;
                Bounds::Lex(min, max)
            }
        };
        Ok(Query {
            bounds,
            reverse,
            offset,
            limit,
            with_scores,
        })
    }

    /// The ranks asked for, counted from the lowest score in either direction.
    fn ranks(&self, zset: &Zset) -> Range<usize> {
        let ranks = match self.bounds {
            Bounds::Rank(start, stop) => {
                let ranks = rank_bounds(start, stop, zset.len());
                return if self.reverse {
                    zset.len() - ranks.end..zset.len() - ranks.start
                } else {
                    ranks
                };
            }
            Bounds::Score(min, max) => zset.ranks_by_score(min, max),
            Bounds::Lex(min, max) => zset.ranks_by_lex(min, max),
        };
        // A negative offset skips everything.
        let skipped = usize::try_from(self.offset)
            .unwrap_or(usize::MAX)
            .min(ranks.len());
        let kept = usize::try_from(self.limit)
            .unwrap_or(usize::MAX)
            .min(ranks.len() - skipped);
        if self.reverse {
            let end = ranks.end - skipped;
            end - kept..end
        } else {
            let start = ranks.start + skipped;
            start..start + kept
        }
    }
}

fn zrange(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    range(shard, args, None, None, reply)
}

fn zrevrange(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    range(shard, args, Some(By::Rank), Some(true), reply)
}

fn zrangebyscore(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    range(shard, args, Some(By::Score), Some(false), reply)
}

fn zrevrangebyscore(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    range(shard, args, Some(By::Score), Some(true), reply)
}

fn zrangebylex(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    range(shard, args, Some(By::Lex), Some(false), reply)
}

fn zrevrangebylex(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    range(shard, args, Some(By::Lex), Some(true), reply)
}

fn range(
    shard: &mut Shard,
    args: &Args<'_>,
    by: Option<By>,
    reverse: Option<bool>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let form = Form {
        bounds_at: 2,
        by,
        reverse,
        may_score: true,
    };
    let query = Query::of(args, form)?;
    let Some(zset) = shard.read_as::<Zset>(&args.caller, &args.key(1))? else {
        reply.array(0);
        return Ok(());
    };
    let ranks = query.ranks(zset);
    open_members(reply, ranks.len(), query.with_scores);
    let members = zset.iter(ranks);
    if query.reverse {
        members
            .rev()
            .for_each(|member| write_member(reply, member, query.with_scores));
    } else {
        members.for_each(|member| write_member(reply, member, query.with_scores));
    }
    Ok(())
}

fn zrangestore(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let form = Form {
        bounds_at: 3,
        by: None,
        reverse: None,
        may_score: false,
    };
    let query = Query::of(args, form)?;
    let (destination, source) = (args.key(1), args.key(2));
    let shard = shards.of(&source);
    let limits = pack_limits(shard);
    let result = match shard.read_as::<Zset>(&args.caller, &source)? {
        Some(zset) => Zset::of_rising(zset.iter(query.ranks(zset)), limits),
        None => Zset::new(),
    };
    let together = shards.together(&destination, &source);
    store(
        shards,
        args,
        &destination,
        result,
        "zrangestore",
        together,
        reply,
    );
    Ok(())
}
