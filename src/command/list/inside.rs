//! What reaches into lists: reading, replacing, inserting, removing and finding elements wherever they are.

use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard};
use crate::structures::list::List;
use crate::structures::quicklist::End;

use super::super::parse;
use super::super::spec::{Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run};
use super::fill;

/// Two indexes as a client gives them (negative ones count from the last) as the first and the last index between them;
/// none when nothing lies there.
fn between(start: i64, stop: i64, len: usize) -> Option<(usize, usize)> {
    let len = len as i64;
    let from_head = |index: i64| if index < 0 { index + len } else { index };
    let (start, stop) = (from_head(start).max(0), from_head(stop).min(len - 1));
    (start <= stop).then_some((start as usize, stop as usize))
}

pub(super) const LLEN: Command = Command {
    name: "LLEN",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::LIST,
    keys: &[KeySpec::one(1, Access::RO)],
    docs: Docs {
        group: Group::List,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Counts the elements of a list.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(llen),
    subcommands: &[],
};

fn llen(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let list = shard.read_as::<List>(&args.caller, &args.key(1))?;
    reply.count(list.map_or(0, List::len));
    Ok(())
}

pub(super) const LRANGE: Command = Command {
    name: "LRANGE",
    arity: Arity::Exactly(4),
    flags: Flags::READONLY,
    acl: Acl::LIST,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::List,
        since: "1.0.0",
        complexity: "O(S+N), S being the way from the nearer end to the first element and N the elements read",
        summary: "Reads the elements between two indexes of a list.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("start"),
            Argument::integer("stop"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(lrange),
    subcommands: &[],
};

fn lrange(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (start, stop) = (parse::integer(args, 2)?, parse::integer(args, 3)?);
    let list = shard.read_as::<List>(&args.caller, &args.key(1))?;
    let range = list.and_then(|list| Some((list, between(start, stop, list.len())?)));
    let Some((list, (start, stop))) = range else {
        reply.array(0);
        return Ok(());
    };
    let count = stop - start + 1;
    reply.array(count);
    for item in list.iter_from(start, End::Tail).take(count) {
        reply.bulk_item(item);
    }
    Ok(())
}

pub(super) const LINDEX: Command = Command {
    name: "LINDEX",
    arity: Arity::Exactly(3),
    flags: Flags::READONLY,
    acl: Acl::LIST,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::List,
        since: "1.0.0",
        complexity: "O(N), N being the way from the nearer end; O(1) at either end",
        summary: "Reads the element at an index of a list.",
        arguments: &[Argument::key("key"), Argument::integer("index")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(lindex),
    subcommands: &[],
};

fn lindex(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let Some(list) = shard.read_as::<List>(&args.caller, &args.key(1))? else {
        reply.null();
        return Ok(());
    };
    let index = list.resolve(parse::integer(args, 2)?);
    match index.and_then(|index| list.get(index)) {
        Some(item) => reply.bulk_item(item),
        None => reply.null(),
    }
    Ok(())
}

pub(super) const LSET: Command = Command {
    name: "LSET",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::LIST,
    keys: &[KeySpec::one(1, Access::RW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::List,
        since: "1.0.0",
        complexity: "O(N), N being the length of the list; O(1) at either end",
        summary: "Replaces the element at an index of a list.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("index"),
            Argument::string("element"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(lset),
    subcommands: &[],
};

fn lset(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (key, fill) = (args.key(1), fill(shard));
    let list = shard
        .write_as::<List>(&args.caller, &key)?
        .ok_or(ErrorReply::NO_SUCH_KEY)?;
    let index = parse::integer(args, 2)?;
    // An index out of range still meets the attempt, because that may turn a listpack into a quicklist.
    let index = list.resolve(index).unwrap_or(usize::MAX);
    if !list.set(index, args.get(3), fill) {
        return Err(ErrorReply::INDEX_OUT_OF_RANGE);
    }
    shard.changed(args.db(), &key, Class::List, "lset");
    reply.ok();
    Ok(())
}

pub(super) const LREM: Command = Command {
    name: "LREM",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE,
    acl: Acl::LIST,
    keys: &[KeySpec::one(1, Access::RW.and(Access::DELETE))],
    docs: Docs {
        group: Group::List,
        since: "1.0.0",
        complexity: "O(N+M), N being the length of the list and M the elements removed",
        summary: "Removes elements equal to a value from a list.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("count"),
            Argument::string("element"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(lrem),
    subcommands: &[],
};

fn lrem(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (key, fill) = (args.key(1), fill(shard));
    let count = parse::integer(args, 2)?;
    let Some(list) = shard.write_as::<List>(&args.caller, &key)? else {
        reply.integer(0);
        return Ok(());
    };
    let removed = list.remove_matching(args.get(3), count, fill);
    let empty = list.is_empty();
    if removed > 0 {
        shard.changed_by(args.db(), &key, Class::List, "lrem", removed as u64);
    }
    if empty {
        shard.delete_emptied(args.db(), &key);
    }
    reply.count(removed);
    Ok(())
}

pub(super) const LTRIM: Command = Command {
    name: "LTRIM",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE,
    acl: Acl::LIST,
    keys: &[KeySpec::one(1, Access::RW.and(Access::DELETE))],
    docs: Docs {
        group: Group::List,
        since: "1.0.0",
        complexity: "O(N), N being the elements removed",
        summary: "Keeps the elements between two indexes of a list and removes the others.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("start"),
            Argument::integer("stop"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(ltrim),
    subcommands: &[],
};

fn ltrim(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (key, fill) = (args.key(1), fill(shard));
    let (start, stop) = (parse::integer(args, 2)?, parse::integer(args, 3)?);
    let Some(list) = shard.write_as::<List>(&args.caller, &key)? else {
        reply.ok();
        return Ok(());
    };
    let len = list.len();
    match between(start, stop, len) {
        Some((start, stop)) => {
            let remains = list.trim(start, stop, fill);
            let removed = len - (stop - start + 1);
            shard.discard_nodes(remains);
            shard.changed_by(args.db(), &key, Class::List, "ltrim", removed as u64);
        }
        None => {
            shard.changed_by(args.db(), &key, Class::List, "ltrim", len as u64);
            shard.delete_emptied(args.db(), &key);
        }
    }
    reply.ok();
    Ok(())
}

pub(super) const LINSERT: Command = Command {
    name: "LINSERT",
    arity: Arity::Exactly(5),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::LIST,
    keys: &[KeySpec::one(1, Access::RW.and(Access::INSERT))],
    docs: Docs {
        group: Group::List,
        since: "2.2.0",
        complexity: "O(N), N being the elements looked at before the pivot is met",
        summary: "Puts an element before or after another one of a list.",
        arguments: &[
            Argument::key("key"),
            Argument::one_of(
                "where",
                &[
                    Argument::word("before", "BEFORE"),
                    Argument::word("after", "AFTER"),
                ],
            ),
            Argument::string("pivot"),
            Argument::string("element"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(linsert),
    subcommands: &[],
};

fn linsert(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let side = if args.is(2, "AFTER") {
        End::Tail
    } else if args.is(2, "BEFORE") {
        End::Head
    } else {
        return Err(ErrorReply::SYNTAX);
    };
    let (key, fill) = (args.key(1), fill(shard));
    let Some(list) = shard.write_as::<List>(&args.caller, &key)? else {
        reply.integer(0);
        return Ok(());
    };
    if !list.insert_pivot(args.get(3), side, args.get(4), fill) {
        reply.integer(-1);
        return Ok(());
    }
    let len = list.len();
    shard.changed(args.db(), &key, Class::List, "linsert");
    reply.count(len);
    Ok(())
}

pub(super) const LPOS: Command = Command {
    name: "LPOS",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY,
    acl: Acl::LIST,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::List,
        since: "6.0.6",
        complexity: "O(N), N being the elements looked at, which MAXLEN bounds",
        summary: "Finds the indexes of elements equal to a value.",
        arguments: &[
            Argument::key("key"),
            Argument::string("element"),
            Argument::integer("rank").token("RANK").optional(),
            Argument::integer("num-matches").token("COUNT").optional(),
            Argument::integer("len").token("MAXLEN").optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(lpos),
    subcommands: &[],
};

fn lpos(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (mut rank, mut count, mut compared) = (1, None, 0);
    let mut at = 3;
    while at < args.len() {
        if at + 1 == args.len() {
            return Err(ErrorReply::SYNTAX);
        }
        if args.is(at, "RANK") {
            rank = parse::negatable(args, at + 1)?;
            if rank == 0 {
                return Err(ErrorReply::LPOS_RANK_ZERO);
            }
        } else if args.is(at, "COUNT") {
            count = Some(parse::at_least(
                args,
                at + 1,
                0,
                ErrorReply::COUNT_NEGATIVE,
            )?);
        } else if args.is(at, "MAXLEN") {
            compared = parse::at_least(args, at + 1, 0, ErrorReply::MAXLEN_NEGATIVE)?;
        } else {
            return Err(ErrorReply::SYNTAX);
        }
        at += 2;
    }
    let list = shard.read_as::<List>(&args.caller, &args.key(1))?;
    let from = if rank < 0 { End::Tail } else { End::Head };
    let (skipped, compared) = (rank.unsigned_abs() as usize - 1, compared as usize);
    let mut found = list
        .into_iter()
        .flat_map(|list| list.positions(args.get(2), from, compared))
        .skip(skipped);
    match count {
        None => match found.next() {
            Some(index) => reply.count(index),
            None => reply.null(),
        },
        Some(count) => {
            let count = if count == 0 {
                usize::MAX
            } else {
                count as usize
            };
            let header = reply.deferred();
            let mut shown = 0;
            for index in found.take(count) {
                reply.count(index);
                shown += 1;
            }
            reply.array_at(header, shown);
        }
    }
    Ok(())
}
