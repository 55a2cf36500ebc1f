//! ZSCAN and ZRANDMEMBER: members in no order that counts.

use hashbrown::HashSet;

use crate::base::glob;
use crate::base::number::{format_f64, parse_i64, parse_u64_loose};
use crate::base::random::Random;
use crate::command::spec::{
    Access, Acl, Argument, ArgumentKind, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shard;
use crate::structures::listpack::TextBuffer;
use crate::structures::zset::Zset;

use super::bounds::{open_members, write_member};

/// Most members that ZRANDMEMBER draws with repetition, some gigabytes of reply. Redis knows no bound here, and one
/// request can fill all memory; ours is refused as out of range.
const DRAWS_MAX: u64 = 1 << 28;

/// Without COUNT a step of ZSCAN visits about so many members.
const SCAN_COUNT: usize = 10;

/// Empty parts of a table that a step of ZSCAN passes for each member it was to visit.
const SCAN_PARTS_PER_MEMBER: usize = 10;

pub(super) const ZSCAN: Command = Command {
    name: "ZSCAN",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY,
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection..",
        summary: "Walks over the members of a sorted set in steps.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("cursor"),
            Argument::new("pattern", ArgumentKind::Pattern)
                .token("MATCH")
                .optional(),
            Argument::integer("count").token("COUNT").optional(),
        ],
        history: &[],
        tips: &["nondeterministic_output"],
        deprecated: None,
    },
    run: Run::Shard(zscan),
    subcommands: &[],
};

pub(super) const ZRANDMEMBER: Command = Command {
    name: "ZRANDMEMBER",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY,
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(N) where N is the number of elements returned",
        summary: "Replies members of a sorted set drawn at random.",
        arguments: &[
            Argument::key("key"),
            Argument::block(
                "options",
                &[
                    Argument::integer("count"),
                    Argument::word("withscores", "WITHSCORES").optional(),
                ],
            )
            .optional(),
        ],
        history: &[],
        tips: &["nondeterministic_output"],
        deprecated: None,
    },
    run: Run::Shard(zrandmember),
    subcommands: &[],
};

fn zscan(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let mut cursor = scan_cursor(args.get(2)).ok_or(ErrorReply::INVALID_CURSOR)?;
    let Some(zset) = shard.read_as::<Zset>(&args.caller, &args.key(1))? else {
        // Before the options are looked at, as in Redis.
        reply.array(2);
        reply.bulk(b"0");
        reply.array(0);
        return Ok(());
    };
    let (pattern, count) = scan_options(args)?;
    let mut members = Vec::new();
    let mut written = Reply::new(&mut members, false);
    let (mut visited, mut parts, mut matched) = (0, 0, 0);
    loop {
        cursor = zset.scan(cursor, |name, score| {
            visited += 1;
            let mut buffer = TextBuffer::new();
            let name = name.text(&mut buffer);
            if pattern.is_none_or(|pattern| glob::matches(pattern, name, false)) {
                matched += 1;
                written.bulk(name);
                written.bulk(&format_f64(score));
            }
        });
        parts += 1;
        let patience = count.saturating_mul(SCAN_PARTS_PER_MEMBER);
        if cursor == 0 || visited >= count || parts >= patience {
            break;
        }
    }
    reply.array(2);
    let mut buffer = TextBuffer::new();
    reply.bulk(buffer.format(cursor).as_bytes());
    reply.array(2 * matched);
    reply.buffer().extend_from_slice(&members);
    Ok(())
}

/// A cursor by the rules of `strtoul`, leading blanks refused.
fn scan_cursor(text: &[u8]) -> Option<u64> {
    match text {
        [] => Some(0),
        [b' ' | b'\t'..=b'\r', ..] => None,
        [b'-', digits @ ..] => parse_u64_loose(digits).map(u64::wrapping_neg),
        _ => parse_u64_loose(text),
    }
}

/// MATCH, when it can fail, and COUNT.
fn scan_options<'a>(args: &Args<'a>) -> Result<(Option<&'a [u8]>, usize), ErrorReply> {
    let (mut pattern, mut count) = (None, SCAN_COUNT);
    for at in (3..args.len()).step_by(2) {
        let Some(value) = args.opt(at + 1) else {
            return Err(ErrorReply::SYNTAX);
        };
        if args.is(at, "COUNT") {
            let number = parse_i64(value).ok_or(ErrorReply::NOT_INTEGER)?;
            if number < 1 {
                return Err(ErrorReply::SYNTAX);
            }
            count = usize::try_from(number).unwrap_or(usize::MAX);
        } else if args.is(at, "MATCH") {
            pattern = (value != b"*").then_some(value);
        } else {
            return Err(ErrorReply::SYNTAX);
        }
    }
    Ok((pattern, count))
}

fn zrandmember(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let mut random = Random::new(shard.random.next_u64());
    let Some(text) = args.opt(2) else {
        let zset = shard.read_as::<Zset>(&args.caller, &args.key(1))?;
        match zset.and_then(|zset| zset.get(random.below(zset.len() as u64) as usize)) {
            Some((name, _)) => reply.bulk(name.text(&mut TextBuffer::new())),
            None => reply.null(),
        }
        return Ok(());
    };
    let count = parse_i64(text).ok_or(ErrorReply::NOT_INTEGER)?;
    if count == i64::MIN {
        return Err(ErrorReply::out_of_range(-i64::MAX, i64::MAX));
    }
    if args.len() > 4 || (args.len() == 4 && !args.is(3, "WITHSCORES")) {
        return Err(ErrorReply::SYNTAX);
    }
    let with_scores = args.len() == 4;
    if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(ErrorReply::OUT_OF_RANGE);
    }
    let Some(zset) = shard.read_as::<Zset>(&args.caller, &args.key(1))? else {
        reply.array(0);
        return Ok(());
    };
    if count < 0 {
        if count.unsigned_abs() > DRAWS_MAX {
            return Err(ErrorReply::OUT_OF_RANGE);
        }
        let draws = count.unsigned_abs() as usize;
        open_members(reply, draws, with_scores);
        for _ in 0..draws {
            let rank = random.below(zset.len() as u64) as usize;
            if let Some(member) = zset.get(rank) {
                write_member(reply, member, with_scores);
            }
        }
    } else {
        let wanted = usize::try_from(count).unwrap_or(usize::MAX).min(zset.len());
        open_members(reply, wanted, with_scores);
        zrandmember_distinct(zset, wanted, &mut random, |member| {
            write_member(reply, member, with_scores);
        });
    }
    Ok(())
}

/// Shows `wanted` different members, every choice of so many being equally likely.
fn zrandmember_distinct(
    zset: &Zset,
    wanted: usize,
    random: &mut Random,
    mut show: impl FnMut((crate::structures::listpack::Item<'_>, f64)),
) {
    let len = zset.len();
    if zset.as_listpack().is_some() || wanted > len / 3 {
        // Selection sampling (Knuth, algorithm S): one walk, each member with the chance that makes the number right.
        let mut missing = wanted;
        for (rank, member) in zset.iter(0..len).enumerate() {
            if missing == 0 {
                break;
            }
            if random.below((len - rank) as u64) < missing as u64 {
                missing -= 1;
                show(member);
            }
        }
        return;
    }
    let mut drawn = HashSet::with_capacity(wanted);
    while drawn.len() < wanted {
        let rank = random.below(len as u64) as usize;
        if drawn.insert(rank)
            && let Some(member) = zset.get(rank)
        {
            show(member);
        }
    }
}
