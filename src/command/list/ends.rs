//! What happens at the ends of lists: pushes, pops, and elements that go from one list to another.

use std::ops::Range;

use crate::base::number::format_u64;
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard, Shards};
use crate::structures::list::List;
use crate::structures::quicklist::End;

use super::super::parse;
use super::super::spec::{Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run};
use super::fill;

/// The event for elements put to an end.
fn push_event(end: End) -> &'static str {
    match end {
        End::Head => "lpush",
        End::Tail => "rpush",
    }
}

/// The event for elements taken from an end.
fn pop_event(end: End) -> &'static str {
    match end {
        End::Head => "lpop",
        End::Tail => "rpop",
    }
}

/// The command that puts to an end.
fn push_command(end: End) -> &'static [u8] {
    match end {
        End::Head => b"LPUSH",
        End::Tail => b"RPUSH",
    }
}

/// The command that takes from an end.
pub(super) fn pop_command(end: End) -> &'static [u8] {
    match end {
        End::Head => b"LPOP",
        End::Tail => b"RPOP",
    }
}

/// LEFT or RIGHT.
pub(super) fn end_word(args: &Args<'_>, index: usize) -> Result<End, ErrorReply> {
    if args.is(index, "LEFT") {
        Ok(End::Head)
    } else if args.is(index, "RIGHT") {
        Ok(End::Tail)
    } else {
        Err(ErrorReply::SYNTAX)
    }
}

pub(super) const LPUSH: Command = Command {
    name: "LPUSH",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE
        .and(Flags::DENYOOM)
        .and(Flags::FAST)
        .and(Flags::WAKES),
    acl: Acl::LIST,
    keys: &[KeySpec::one(1, Access::RW.and(Access::INSERT))],
    docs: Docs {
        group: Group::List,
        since: "1.0.0",
        complexity: "O(1) per element, O(N) for N elements",
        summary: "Puts elements before the head of a list, which is created if needed.",
        arguments: &[Argument::key("key"), Argument::string("element").multiple()],
        history: &[("2.4.0", "Takes several elements at once.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(lpush),
    subcommands: &[],
};

fn lpush(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    push(shard, args, End::Head, reply)
}

pub(super) const RPUSH: Command = Command {
    name: "RPUSH",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE
        .and(Flags::DENYOOM)
        .and(Flags::FAST)
        .and(Flags::WAKES),
    acl: Acl::LIST,
    keys: &[KeySpec::one(1, Access::RW.and(Access::INSERT))],
    docs: Docs {
        group: Group::List,
        since: "1.0.0",
        complexity: "O(1) per element, O(N) for N elements",
        summary: "Puts elements after the tail of a list, which is created if needed.",
        arguments: &[Argument::key("key"), Argument::string("element").multiple()],
        history: &[("2.4.0", "Takes several elements at once.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(rpush),
    subcommands: &[],
};

fn rpush(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    push(shard, args, End::Tail, reply)
}

pub(super) const LPUSHX: Command = Command {
    name: "LPUSHX",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE
        .and(Flags::DENYOOM)
        .and(Flags::FAST)
        .and(Flags::WAKES),
    acl: Acl::LIST,
    keys: &[KeySpec::one(1, Access::RW.and(Access::INSERT))],
    docs: Docs {
        group: Group::List,
        since: "2.2.0",
        complexity: "O(1) per element, O(N) for N elements",
        summary: "Puts elements before the head of a list that exists.",
        arguments: &[Argument::key("key"), Argument::string("element").multiple()],
        history: &[("4.0.0", "Takes several elements at once.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(lpushx),
    subcommands: &[],
};

fn lpushx(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    push_if_present(shard, args, End::Head, reply)
}

pub(super) const RPUSHX: Command = Command {
    name: "RPUSHX",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE
        .and(Flags::DENYOOM)
        .and(Flags::FAST)
        .and(Flags::WAKES),
    acl: Acl::LIST,
    keys: &[KeySpec::one(1, Access::RW.and(Access::INSERT))],
    docs: Docs {
        group: Group::List,
        since: "2.2.0",
        complexity: "O(1) per element, O(N) for N elements",
        summary: "Puts elements after the tail of a list that exists.",
        arguments: &[Argument::key("key"), Argument::string("element").multiple()],
        history: &[("4.0.0", "Takes several elements at once.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(rpushx),
    subcommands: &[],
};

fn rpushx(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    push_if_present(shard, args, End::Tail, reply)
}

fn push(
    shard: &mut Shard,
    args: &Args<'_>,
    end: End,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (key, fill) = (args.key(1), fill(shard));
    let list = shard.create_as(&args.caller, &key, List::new)?;
    list.push_all(end, args.iter_from(2), fill);
    let len = list.len();
    pushed(shard, args, &key, end);
    reply.count(len);
    Ok(())
}

fn push_if_present(
    shard: &mut Shard,
    args: &Args<'_>,
    end: End,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (key, fill) = (args.key(1), fill(shard));
    let Some(list) = shard.write_as::<List>(&args.caller, &key)? else {
        reply.integer(0);
        return Ok(());
    };
    list.push_all(end, args.iter_from(2), fill);
    let len = list.len();
    pushed(shard, args, &key, end);
    reply.count(len);
    Ok(())
}

fn pushed(shard: &mut Shard, args: &Args<'_>, key: &Key<'_>, end: End) {
    let elements = args.len() as u64 - 2;
    shard.changed_by(args.db(), key, Class::List, push_event(end), elements);
}

pub(super) const LPOP: Command = Command {
    name: "LPOP",
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::LIST,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::DELETE),
    )],
    docs: Docs {
        group: Group::List,
        since: "1.0.0",
        complexity: "O(N), N being the elements taken",
        summary: "Takes elements from the head of a list.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("count").optional().since("6.2.0"),
        ],
        history: &[("6.2.0", "Takes a count.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(lpop),
    subcommands: &[],
};

fn lpop(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    pop(shard, args, End::Head, reply)
}

pub(super) const RPOP: Command = Command {
    name: "RPOP",
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::LIST,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::DELETE),
    )],
    docs: Docs {
        group: Group::List,
        since: "1.0.0",
        complexity: "O(N), N being the elements taken",
        summary: "Takes elements from the tail of a list.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("count").optional().since("6.2.0"),
        ],
        history: &[("6.2.0", "Takes a count.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(rpop),
    subcommands: &[],
};

fn rpop(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    pop(shard, args, End::Tail, reply)
}

fn pop(
    shard: &mut Shard,
    args: &Args<'_>,
    end: End,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    if args.len() > 3 {
        return Err(ErrorReply::wrong_arity(pop_event(end)));
    }
    let (key, fill) = (args.key(1), fill(shard));
    if args.len() == 3 {
        let count = parse::at_least(args, 2, 0, ErrorReply::NOT_POSITIVE)?;
        match shard.write_as::<List>(&args.caller, &key)? {
            None => reply.null_array(),
            Some(_) if count == 0 => reply.array(0),
            Some(_) => {
                pop_many(shard, args, &key, end, count, reply)?;
            }
        }
        return Ok(());
    }
    let Some(list) = shard.write_as::<List>(&args.caller, &key)? else {
        reply.null();
        return Ok(());
    };
    list.pop(end, fill, |item| reply.bulk_item(item))
        .expect("a list without elements has no key");
    let empty = list.is_empty();
    popped(shard, args, &key, end, 1, empty);
    Ok(())
}

/// Takes up to `count` elements off a list that is there and replies them as an array. Returns how many.
pub(super) fn pop_many(
    shard: &mut Shard,
    args: &Args<'_>,
    key: &Key<'_>,
    end: End,
    count: u64,
    reply: &mut Reply<'_>,
) -> Result<usize, ErrorReply> {
    let fill = fill(shard);
    let list = shard
        .write_as::<List>(&args.caller.again(), key)?
        .ok_or(ErrorReply::NO_SUCH_KEY)?;
    let len = list.len();
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(len);
    let (from, towards, first) = match end {
        End::Head => (0, End::Tail, 0),
        End::Tail => (len - 1, End::Head, len - count),
    };
    reply.array(count);
    for item in list.iter_from(from, towards).take(count) {
        reply.bulk_item(item);
    }
    let remains = list.remove_range(first, count, fill);
    shard.discard_nodes(remains);
    popped(shard, args, key, end, count, count == len);
    Ok(count)
}

/// Elements were taken from an end: says so, and deletes the key when none is left.
pub(super) fn popped(
    shard: &mut Shard,
    args: &Args<'_>,
    key: &Key<'_>,
    end: End,
    count: usize,
    empty: bool,
) {
    shard.changed_by(args.db(), key, Class::List, pop_event(end), count as u64);
    if empty {
        shard.delete_emptied(args.db(), key);
    }
}

pub(super) const LMOVE: Command = Command {
    name: "LMOVE",
    arity: Arity::Exactly(5),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::LIST,
    keys: &[
        KeySpec::one(1, Access::RW.and(Access::ACCESS).and(Access::DELETE)),
        KeySpec::one(2, Access::RW.and(Access::INSERT)),
    ],
    docs: Docs {
        group: Group::List,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Takes an element from one list and puts it to another, which is created if needed.",
        arguments: &[
            Argument::key("source"),
            Argument::key_of("destination", 1),
            Argument::one_of(
                "wherefrom",
                &[
                    Argument::word("left", "LEFT"),
                    Argument::word("right", "RIGHT"),
                ],
            ),
            Argument::one_of(
                "whereto",
                &[
                    Argument::word("left", "LEFT"),
                    Argument::word("right", "RIGHT"),
                ],
            ),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(lmove),
    subcommands: &[],
};

fn lmove(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (from, to) = (end_word(args, 3)?, end_word(args, 4)?);
    move_element(shards, args, from, to, reply)
}

pub(super) const RPOPLPUSH: Command = Command {
    name: "RPOPLPUSH",
    arity: Arity::Exactly(3),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::LIST,
    keys: &[
        KeySpec::one(1, Access::RW.and(Access::ACCESS).and(Access::DELETE)),
        KeySpec::one(2, Access::RW.and(Access::INSERT)),
    ],
    docs: Docs {
        group: Group::List,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Takes the last element of a list and puts it before the head of another, which is created if needed.",
        arguments: &[Argument::key("source"), Argument::key_of("destination", 1)],
        history: &[],
        tips: &[],
        deprecated: Some(("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments")),
    },
    run: Run::Plan(rpoplpush),
    subcommands: &[],
};

fn rpoplpush(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    move_element(shards, args, End::Tail, End::Head, reply)
}

/// Takes an element from the list of the first argument and puts it to that of the second, which may be the same. A
/// blocked client must be won for that.
pub(super) fn move_element(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    from: End,
    to: End,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (source, destination) = (args.key(1), args.key(2));
    let (caller, db) = (&args.caller, args.db());
    let fill = fill(shards.any());
    if shards
        .of(&source)
        .write_as::<List>(caller, &source)?
        .is_none()
    {
        reply.null();
        return Ok(());
    }
    shards
        .of(&destination)
        .write_as::<List>(caller, &destination)?;
    if !shards.claim() {
        return Ok(());
    }
    let together = shards.together(&source, &destination);
    let again = caller.again();

    let shard = shards.of(&source);
    let list = shard
        .write_as::<List>(&again, &source)?
        .ok_or(ErrorReply::NO_SUCH_KEY)?;
    let element = list
        .pop(from, fill, |item| item.to_vec())
        .expect("a list without elements has no key");

    let shard = shards.of(&destination);
    shard
        .create_as(&again, &destination, List::new)?
        .push(to, &element, fill);
    // Redis counts the move as one change. Apart, each shard has changed something.
    let changes = u64::from(!together);
    shard.changed_by(db, &destination, Class::List, push_event(to), changes);
    if !together {
        let parts = [push_command(to), destination.bytes, &element];
        shard.effects.record(db, &parts);
    }

    let shard = shards.of(&source);
    let empty = shard
        .write_as::<List>(&again, &source)?
        .is_none_or(|list| list.is_empty());
    popped(shard, args, &source, from, 1, empty);
    if !together {
        shard.effects.record(db, &[pop_command(from), source.bytes]);
    }
    reply.bulk(&element);
    Ok(())
}

pub(super) const LMPOP: Command = Command {
    name: "LMPOP",
    arity: Arity::AtLeast(4),
    flags: Flags::WRITE.and(Flags::MOVABLE_KEYS),
    acl: Acl::LIST,
    keys: &[KeySpec::counted(
        1,
        Access::RW.and(Access::ACCESS).and(Access::DELETE),
    )],
    docs: Docs {
        group: Group::List,
        since: "7.0.0",
        complexity: "O(N+M), N being the keys given and M the elements taken",
        summary: "Takes elements from the first of several lists that has any.",
        arguments: &[
            Argument::integer("numkeys"),
            Argument::key("key").multiple(),
            Argument::one_of(
                "where",
                &[
                    Argument::word("left", "LEFT"),
                    Argument::word("right", "RIGHT"),
                ],
            ),
            Argument::integer("count").token("COUNT").optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(lmpop),
    subcommands: &[],
};

fn lmpop(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (keys, end, count) = lmpop_arguments(args, 1)?;
    for key in keys.map(|index| args.key(index)) {
        let shard = shards.of(&key);
        if shard.write_as::<List>(&args.caller, &key)?.is_some() {
            return lmpop_from(shard, args, &key, end, count, reply);
        }
    }
    reply.null_array();
    Ok(())
}

/// What LMPOP and BLMPOP are told, with the number of keys at `numkeys`: the places of the keys, the end, how many.
pub(super) fn lmpop_arguments(
    args: &Args<'_>,
    numkeys: usize,
) -> Result<(Range<usize>, End, u64), ErrorReply> {
    let keys = parse::at_least(args, numkeys, 1, ErrorReply::NUMKEYS_NOT_POSITIVE)?;
    let word = usize::try_from(keys)
        .ok()
        .and_then(|keys| keys.checked_add(numkeys + 1))
        .filter(|&word| word < args.len())
        .ok_or(ErrorReply::SYNTAX)?;
    let end = end_word(args, word)?;
    let count = match args.len() - word {
        1 => 1,
        3 if args.is(word + 1, "COUNT") => {
            parse::at_least(args, word + 2, 1, ErrorReply::COUNT_NOT_POSITIVE)?
        }
        _ => return Err(lmpop_misfit(args, word)),
    };
    Ok((numkeys + 1..word, end, count))
}

/// Takes elements from a list that is there and replies the key with them.
pub(super) fn lmpop_from(
    shard: &mut Shard,
    args: &Args<'_>,
    key: &Key<'_>,
    end: End,
    count: u64,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    reply.array(2);
    reply.bulk(key.bytes);
    let taken = pop_many(shard, args, key, end, count, reply)?;
    let taken = format_u64(taken as u64);
    let parts = [pop_command(end), key.bytes, taken.as_bytes()];
    shard.effects.record(args.db(), &parts);
    Ok(())
}

/// What is wrong with options that are neither none nor one COUNT: a bad first COUNT is found before what follows it.
fn lmpop_misfit(args: &Args<'_>, word: usize) -> ErrorReply {
    if args.len() - word > 3
        && args.is(word + 1, "COUNT")
        && let Err(error) = parse::at_least(args, word + 2, 1, ErrorReply::COUNT_NOT_POSITIVE)
    {
        return error;
    }
    ErrorReply::SYNTAX
}
