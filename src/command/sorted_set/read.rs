//! Commands that ask about members: scores, ranks, counts.

use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shard;
use crate::structures::zset::Zset;

use super::bounds::{lex_bounds, score_bounds};

pub(super) const ZCARD: Command = Command {
    name: "ZCARD",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RO)],
    docs: Docs {
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Counts the members of a sorted set.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(zcard),
    subcommands: &[],
};

pub(super) const ZSCORE: Command = Command {
    name: "ZSCORE",
    arity: Arity::Exactly(3),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Replies the score of a member.",
        arguments: &[Argument::key("key"), Argument::string("member")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(zscore),
    subcommands: &[],
};

pub(super) const ZMSCORE: Command = Command {
    name: "ZMSCORE",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(N) where N is the number of members being requested.",
        summary: "Replies the scores of several members.",
        arguments: &[Argument::key("key"), Argument::string("member").multiple()],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(zmscore),
    subcommands: &[],
};

pub(super) const ZRANK: Command = Command {
    name: "ZRANK",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(log(N))",
        summary: "Replies the place of a member in rising order of scores.",
        arguments: &[
            Argument::key("key"),
            Argument::string("member"),
            Argument::word("withscore", "WITHSCORE").optional(),
        ],
        history: &[("7.2.0", "Has the option `WITHSCORE`.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(zrank),
    subcommands: &[],
};

pub(super) const ZREVRANK: Command = Command {
    name: "ZREVRANK",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(log(N))",
        summary: "Replies the place of a member in falling order of scores.",
        arguments: &[
            Argument::key("key"),
            Argument::string("member"),
            Argument::word("withscore", "WITHSCORE").optional(),
        ],
        history: &[("7.2.0", "Has the option `WITHSCORE`.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(zrevrank),
    subcommands: &[],
};

pub(super) const ZCOUNT: Command = Command {
    name: "ZCOUNT",
    arity: Arity::Exactly(4),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Counts the members with scores in a range.",
        arguments: &[
            Argument::key("key"),
            Argument::double("min"),
            Argument::double("max"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(zcount),
    subcommands: &[],
};

pub(super) const ZLEXCOUNT: Command = Command {
    name: "ZLEXCOUNT",
    arity: Arity::Exactly(4),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "2.8.9",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Counts the members with names in a range, all scores being equal.",
        arguments: &[
            Argument::key("key"),
            Argument::string("min"),
            Argument::string("max"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(zlexcount),
    subcommands: &[],
};

fn zcard(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let zset = shard.read_as::<Zset>(&args.caller, &args.key(1))?;
    reply.count(zset.map_or(0, Zset::len));
    Ok(())
}

fn zscore(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let zset = shard.read_as::<Zset>(&args.caller, &args.key(1))?;
    write_score(reply, zset.and_then(|zset| zset.score(args.get(2))));
    Ok(())
}

fn zmscore(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let zset = shard.read_as::<Zset>(&args.caller, &args.key(1))?;
    reply.array(args.len() - 2);
    for name in args.iter_from(2) {
        write_score(reply, zset.and_then(|zset| zset.score(name)));
    }
    Ok(())
}

fn write_score(reply: &mut Reply<'_>, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

fn zrank(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    rank(shard, args, "zrank", false, reply)
}

fn zrevrank(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    rank(shard, args, "zrevrank", true, reply)
}

fn rank(
    shard: &mut Shard,
    args: &Args<'_>,
    name: &str,
    reverse: bool,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    if args.len() > 4 {
        return Err(ErrorReply::wrong_arity(name));
    }
    let with_score = args.len() == 4;
    if with_score && !args.is(3, "WITHSCORE") {
        return Err(ErrorReply::SYNTAX);
    }
    let found = shard
        .read_as::<Zset>(&args.caller, &args.key(1))?
        .and_then(|zset| Some((zset.rank(args.get(2))?, zset.len())));
    match found {
        Some(((rank, score), len)) => {
            let rank = if reverse { len - 1 - rank } else { rank };
            if with_score {
                reply.array(2);
            }
            reply.count(rank);
            if with_score {
                reply.double(score);
            }
        }
        None if with_score => reply.null_array(),
        None => reply.null(),
    }
    Ok(())
}

fn zcount(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (min, max) = score_bounds(args.get(2), args.get(3))?;
    let zset = shard.read_as::<Zset>(&args.caller, &args.key(1))?;
    reply.count(zset.map_or(0, |zset| zset.ranks_by_score(min, max).len()));
    Ok(())
}

fn zlexcount(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (min, max) = lex_bounds(args.get(2), args.get(3))?;
    let zset = shard.read_as::<Zset>(&args.caller, &args.key(1))?;
    reply.count(zset.map_or(0, |zset| zset.ranks_by_lex(min, max).len()));
    Ok(())
}
