//! Commands that wait at empty lists: BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH.
//!
//! Each does at once what its twin without the B does, or says that it has to wait; when an element has come it runs
//! again (`Shards::block`). What it has done is recorded as the twin.

use smallvec::smallvec;

use crate::keyspace::blocked::{Awaits, Wait};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shards;
use crate::structures::list::List;
use crate::structures::quicklist::End;

use super::super::parse;
use super::super::spec::{Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run};
use super::ends::{end_word, lmpop_arguments, lmpop_from, move_element, pop_command, popped};
use super::fill;

const TAKES: Access = Access::RW.and(Access::ACCESS).and(Access::DELETE);
const TIMEOUT_HISTORY: &[(&str, &str)] = &[("6.0.0", "The timeout may have a fraction.")];
const ENDS: &[Argument] = &[
    Argument::word("left", "LEFT"),
    Argument::word("right", "RIGHT"),
];

pub(super) const BLPOP: Command = Command {
    name: "BLPOP",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::BLOCKING),
    acl: Acl::LIST,
    keys: &[KeySpec::range(1, -2, 1, TAKES)],
    docs: Docs {
        group: Group::List,
        since: "2.0.0",
        complexity: "O(N) where N is the number of provided keys.",
        summary: "Takes the first element of the first list that has one, waiting for it if need be.",
        arguments: &[Argument::key("key").multiple(), Argument::double("timeout")],
        history: TIMEOUT_HISTORY,
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(blpop),
    subcommands: &[],
};

pub(super) const BRPOP: Command = Command {
    name: "BRPOP",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::BLOCKING),
    acl: Acl::LIST,
    keys: &[KeySpec::range(1, -2, 1, TAKES)],
    docs: Docs {
        group: Group::List,
        since: "2.0.0",
        complexity: "O(N) where N is the number of provided keys.",
        summary: "Takes the last element of the first list that has one, waiting for it if need be.",
        arguments: &[Argument::key("key").multiple(), Argument::double("timeout")],
        history: TIMEOUT_HISTORY,
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(brpop),
    subcommands: &[],
};

fn blpop(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    pop(shards, args, End::Head, reply)
}

fn brpop(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    pop(shards, args, End::Tail, reply)
}

fn pop(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    end: End,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let last = args.len() - 1;
    let until = parse::timeout_seconds(args, last, shards.any().now)?;
    for key in (1..last).map(|index| args.key(index)) {
        let Some(shard) = shards.get(&key) else {
            continue;
        };
        if shard.write_as::<List>(&args.caller, &key)?.is_none() {
            continue;
        }
        if !shards.claim() {
            return Ok(());
        }
        let shard = shards.of(&key);
        let fill = fill(shard);
        reply.array(2);
        reply.bulk(key.bytes);
        let list = shard
            .write_as::<List>(&args.caller.again(), &key)?
            .ok_or(ErrorReply::NO_SUCH_KEY)?;
        list.pop(end, fill, |item| reply.bulk_item(item))
            .expect("a list without elements has no key");
        let empty = list.is_empty();
        popped(shard, args, &key, end, 1, empty);
        let parts = [pop_command(end), key.bytes];
        shard.effects.record(args.db(), &parts);
        return Ok(());
    }
    reply.null_array();
    shards.block(Wait {
        awaits: Awaits::List,
        keys: (1..last as u32).collect(),
        target: None,
        until,
        when_gone: false,
        again: None,
    });
    Ok(())
}

pub(super) const BLMPOP: Command = Command {
    name: "BLMPOP",
    arity: Arity::AtLeast(5),
    flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLE_KEYS),
    acl: Acl::LIST,
    keys: &[KeySpec::counted(2, TAKES)],
    docs: Docs {
        group: Group::List,
        since: "7.0.0",
        complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        summary: "Takes elements from the first of several lists that has any, waiting for one if need be.",
        arguments: &[
            Argument::double("timeout"),
            Argument::integer("numkeys"),
            Argument::key("key").multiple(),
            Argument::one_of("where", ENDS),
            Argument::integer("count").token("COUNT").optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(blmpop),
    subcommands: &[],
};

fn blmpop(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (keys, end, count) = lmpop_arguments(args, 2)?;
    let until = parse::timeout_seconds(args, 1, shards.any().now)?;
    for key in keys.clone().map(|index| args.key(index)) {
        let Some(shard) = shards.get(&key) else {
            continue;
        };
        if shard.write_as::<List>(&args.caller, &key)?.is_none() {
            continue;
        }
        if !shards.claim() {
            return Ok(());
        }
        return lmpop_from(shards.of(&key), args, &key, end, count, reply);
    }
    reply.null_array();
    shards.block(Wait {
        awaits: Awaits::List,
        keys: keys.map(|index| index as u32).collect(),
        target: None,
        until,
        when_gone: false,
        again: None,
    });
    Ok(())
}

pub(super) const BLMOVE: Command = Command {
    name: "BLMOVE",
    arity: Arity::Exactly(6),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::BLOCKING),
    acl: Acl::LIST,
    keys: &[
        KeySpec::one(1, TAKES),
        KeySpec::one(2, Access::RW.and(Access::INSERT)),
    ],
    docs: Docs {
        group: Group::List,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Takes an element from one list, waiting for it if need be, and puts it to another, which is created if needed.",
        arguments: &[
            Argument::key("source"),
            Argument::key_of("destination", 1),
            Argument::one_of("wherefrom", ENDS),
            Argument::one_of("whereto", ENDS),
            Argument::double("timeout"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(blmove),
    subcommands: &[],
};

fn blmove(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (from, to) = (end_word(args, 3)?, end_word(args, 4)?);
    let (source, destination) = (args.key(1), args.key(2));
    let twin = [
        b"LMOVE",
        source.bytes,
        destination.bytes,
        args.get(3),
        args.get(4),
    ];
    move_or_wait(shards, args, (from, to, 5), &twin, reply)
}

pub(super) const BRPOPLPUSH: Command = Command {
    name: "BRPOPLPUSH",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::BLOCKING),
    acl: Acl::LIST,
    keys: &[
        KeySpec::one(1, TAKES),
        KeySpec::one(2, Access::RW.and(Access::INSERT)),
    ],
    docs: Docs {
        group: Group::List,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Takes the last element of a list, waiting for it if need be, and puts it before the head of another, which is created if needed.",
        arguments: &[
            Argument::key("source"),
            Argument::key_of("destination", 1),
            Argument::double("timeout"),
        ],
        history: TIMEOUT_HISTORY,
        tips: &[],
        deprecated: Some(("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments")),
    },
    run: Run::Plan(brpoplpush),
    subcommands: &[],
};

fn brpoplpush(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let twin = [&b"RPOPLPUSH"[..], args.get(1), args.get(2)];
    move_or_wait(shards, args, (End::Tail, End::Head, 3), &twin, reply)
}

/// Moves an element from one end to the other, or waits as long as the argument after them says.
fn move_or_wait(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    (from, to, timeout): (End, End, usize),
    twin: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let until = parse::timeout_seconds(args, timeout, shards.any().now)?;
    let (source, destination) = (args.key(1), args.key(2));
    let shard = shards.of(&source);
    if shard.write_as::<List>(&args.caller, &source)?.is_none() {
        reply.null();
        shards.block(Wait {
            awaits: Awaits::List,
            keys: smallvec![1],
            target: Some(2),
            until,
            when_gone: false,
            again: None,
        });
        return Ok(());
    }
    move_element(shards, args, from, to, reply)?;
    let together = shards.together(&source, &destination);
    let effects = &mut shards.of(&source).effects;
    if together && effects.has_changed() {
        effects.record(args.db(), twin);
    }
    Ok(())
}
