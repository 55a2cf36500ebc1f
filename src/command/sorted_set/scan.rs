//! ZSCAN and ZRANDMEMBER: members in no order that counts.

use crate::base::number::format_f64;
use crate::base::random::Random;
use crate::command::draw;
use crate::command::parse;
use crate::command::scan::{self, ScanOptions};
use crate::command::spec::{
    Access, Acl, Argument, ArgumentKind, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shard;
use crate::structures::zset::Zset;

use super::bounds::{open_members, write_member};

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
    let cursor = scan::cursor(args, 2)?;
    let Some(zset) = shard.read_as::<Zset>(&args.caller, &args.key(1))? else {
        // Before the options are looked at, as in Redis.
        scan::reply_found(reply, 0, 0, b"");
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3)?;
    let (mut members, mut shown) = (Vec::new(), 0);
    let mut found = Reply::new(&mut members, reply.is_resp3());
    let cursor = options.walk(cursor, |cursor| {
        let mut seen = 0;
        let next = zset.scan(cursor, |name, score| {
            seen += 1;
            if options.matches(name) {
                found.bulk_item(name);
                // Text in RESP3 as well. Redis 7.2 shows 17 digits here when the set is a skiplist; a score looks the
                // same everywhere in Slotwise.
                found.bulk(&format_f64(score));
                shown += 2;
            }
        });
        (next, seen)
    });
    scan::reply_found(reply, cursor, shown, &members);
    Ok(())
}

fn zrandmember(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let mut random = Random::new(shard.random.next_u64());
    if args.len() == 2 {
        let zset = shard.read_as::<Zset>(&args.caller, &args.key(1))?;
        match zset.and_then(|zset| zset.get(random.below(zset.len() as u64) as usize)) {
            Some((name, _)) => reply.bulk_item(name),
            None => reply.null(),
        }
        return Ok(());
    }
    let count = parse::negatable(args, 2)?;
    if args.len() > 4 || (args.len() == 4 && !args.is(3, "WITHSCORES")) {
        return Err(ErrorReply::SYNTAX);
    }
    let with_scores = args.len() == 4;
    if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(ErrorReply::OUT_OF_RANGE);
    }
    let closing = draw::closing_bytes(&shard.config, &args.caller);
    let Some(zset) = shard.read_as::<Zset>(&args.caller, &args.key(1))? else {
        reply.array(0);
        return Ok(());
    };
    if count < 0 {
        let draws = count.unsigned_abs() as usize;
        open_members(reply, draws, with_scores);
        return draw::repeated(draws, closing, reply, |reply| {
            let rank = random.below(zset.len() as u64) as usize;
            if let Some(member) = zset.get(rank) {
                write_member(reply, member, with_scores);
            }
        });
    } else {
        let wanted = usize::try_from(count).unwrap_or(usize::MAX).min(zset.len());
        open_members(reply, wanted, with_scores);
        draw::different(
            zset.len(),
            wanted,
            &mut random,
            |(name, _)| *name,
            |random| zset.get(random.below(zset.len() as u64) as usize),
            zset.iter(0..zset.len()),
            |member| write_member(reply, member, with_scores),
        );
    }
    Ok(())
}
