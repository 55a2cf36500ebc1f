//! Members by name: adding, removing, asking for and moving them; all of them, at once or by a scan.

use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard, Shards};
use crate::structures::set::Set;

use super::super::scan::{self, ScanOptions};
use super::super::spec::{
    Access, Acl, Argument, ArgumentKind, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};
use super::limits;

pub(super) const SADD: Command = Command {
    name: "SADD",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    acl: Acl::SET,
    keys: &[KeySpec::one(1, Access::RW.and(Access::INSERT))],
    docs: Docs {
        group: Group::Set,
        since: "1.0.0",
        complexity: "O(1) per member, O(N) for N members",
        summary: "Adds members to a set, which is created if needed.",
        arguments: &[Argument::key("key"), Argument::string("member").multiple()],
        history: &[("2.4.0", "Takes several members at once.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(sadd),
    subcommands: &[],
};

fn sadd(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (key, limits) = (args.key(1), limits(shard));
    let given = args.len() - 2;
    let set = shard.create_as(&args.caller, &key, || {
        Set::for_members(args.get(2), given, limits)
    })?;
    set.expect(given, limits);
    let mut added = 0;
    for member in args.iter_from(2) {
        added += usize::from(set.add(member, limits));
    }
    if added > 0 {
        shard.changed_by(args.db(), &key, Class::Set, "sadd", added as u64);
    }
    reply.count(added);
    Ok(())
}

pub(super) const SREM: Command = Command {
    name: "SREM",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::SET,
    keys: &[KeySpec::one(1, Access::RW.and(Access::DELETE))],
    docs: Docs {
        group: Group::Set,
        since: "1.0.0",
        complexity: "O(N), N being the members to remove",
        summary: "Removes members from a set.",
        arguments: &[Argument::key("key"), Argument::string("member").multiple()],
        history: &[("2.4.0", "Takes several members at once.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(srem),
    subcommands: &[],
};

fn srem(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let key = args.key(1);
    let Some(set) = shard.write_as::<Set>(&args.caller, &key)? else {
        reply.integer(0);
        return Ok(());
    };
    let removed = args
        .iter_from(2)
        .filter(|member| set.remove(member))
        .count();
    let empty = set.is_empty();
    if removed > 0 {
        shard.changed_by(args.db(), &key, Class::Set, "srem", removed as u64);
    }
    if empty {
        shard.delete_emptied(args.db(), &key);
    }
    reply.count(removed);
    Ok(())
}

pub(super) const SCARD: Command = Command {
    name: "SCARD",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::SET,
    keys: &[KeySpec::one(1, Access::RO)],
    docs: Docs {
        group: Group::Set,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Counts the members of a set.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(scard),
    subcommands: &[],
};

fn scard(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let set = shard.read_as::<Set>(&args.caller, &args.key(1))?;
    reply.count(set.map_or(0, Set::len));
    Ok(())
}

pub(super) const SISMEMBER: Command = Command {
    name: "SISMEMBER",
    arity: Arity::Exactly(3),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::SET,
    keys: &[KeySpec::one(1, Access::RO)],
    docs: Docs {
        group: Group::Set,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Tells whether a value is a member of a set.",
        arguments: &[Argument::key("key"), Argument::string("member")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(sismember),
    subcommands: &[],
};

fn sismember(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let set = shard.read_as::<Set>(&args.caller, &args.key(1))?;
    reply.integer(set.is_some_and(|set| set.contains(args.get(2))).into());
    Ok(())
}

pub(super) const SMISMEMBER: Command = Command {
    name: "SMISMEMBER",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::SET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Set,
        since: "6.2.0",
        complexity: "O(N), N being the values asked for",
        summary: "Tells of several values whether each is a member of a set.",
        arguments: &[Argument::key("key"), Argument::string("member").multiple()],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(smismember),
    subcommands: &[],
};

fn smismember(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let set = shard.read_as::<Set>(&args.caller, &args.key(1))?;
    let members = args.iter_from(2);
    reply.array(members.len());
    for member in members {
        reply.integer(set.is_some_and(|set| set.contains(member)).into());
    }
    Ok(())
}

pub(super) const SMEMBERS: Command = Command {
    name: "SMEMBERS",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY,
    acl: Acl::SET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Set,
        since: "1.0.0",
        complexity: "O(N), N being the members of the set",
        summary: "Reads all members of a set.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &["nondeterministic_output_order"],
        deprecated: None,
    },
    run: Run::Shard(smembers),
    subcommands: &[],
};

fn smembers(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    match shard.read_as::<Set>(&args.caller, &args.key(1))? {
        Some(set) => reply_all(set, reply),
        None => reply.set(0),
    }
    Ok(())
}

/// Replies all members as a set.
pub(super) fn reply_all(set: &Set, reply: &mut Reply<'_>) {
    reply.set(set.len());
    for member in set {
        reply.bulk_item(member);
    }
}

pub(super) const SSCAN: Command = Command {
    name: "SSCAN",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY,
    acl: Acl::SET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Set,
        since: "2.8.0",
        complexity: "O(1) per call, O(N) for a whole iteration over N elements",
        summary: "Iterates over the members of a set.",
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
    run: Run::Shard(sscan),
    subcommands: &[],
};

fn sscan(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let cursor = scan::cursor(args, 2)?;
    let Some(set) = shard.read_as::<Set>(&args.caller, &args.key(1))? else {
        scan::reply_found(reply, 0, 0, b"");
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3)?;
    let (mut elements, mut shown) = (Vec::new(), 0);
    let mut found = Reply::new(&mut elements, reply.is_resp3());
    let cursor = options.walk(cursor, |cursor| {
        let mut seen = 0;
        let next = set.scan(cursor, |member| {
            seen += 1;
            if options.matches(member) {
                found.bulk_item(member);
                shown += 1;
            }
        });
        (next, seen)
    });
    scan::reply_found(reply, cursor, shown, &elements);
    Ok(())
}

pub(super) const SMOVE: Command = Command {
    name: "SMOVE",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::SET,
    keys: &[
        KeySpec::one(1, Access::RW.and(Access::ACCESS).and(Access::DELETE)),
        KeySpec::one(2, Access::RW.and(Access::INSERT)),
    ],
    docs: Docs {
        group: Group::Set,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Moves a member from one set to another.",
        arguments: &[
            Argument::key("source"),
            Argument::key_of("destination", 1),
            Argument::string("member"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(smove),
    subcommands: &[],
};

fn smove(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (source, destination, member) = (args.key(1), args.key(2), args.get(3));
    let (caller, db) = (&args.caller, args.db());
    let limits = limits(shards.any());
    shards.of(&source).write(caller, &source);
    // Both are looked up before either is judged: a destination is used, and of any type, even when nothing moves.
    shards.of(&destination).write(caller, &destination);
    let again = caller.again();
    let Some(set) = shards.of(&source).write_as::<Set>(&again, &source)? else {
        reply.integer(0);
        return Ok(());
    };
    let found = set.contains(member);
    shards
        .of(&destination)
        .write_as::<Set>(&again, &destination)?;
    if !found || source.bytes == destination.bytes {
        reply.integer(found.into());
        return Ok(());
    }
    let together = shards.together(&source, &destination);

    let shard = shards.of(&source);
    let empty = shard
        .write_as::<Set>(&again, &source)?
        .is_some_and(|set| set.remove(member) && set.is_empty());
    shard.changed(db, &source, Class::Set, "srem");
    if empty {
        shard.delete_emptied(db, &source);
    }
    if !together {
        shard.effects.record(db, &[b"SREM", source.bytes, member]);
    }

    let shard = shards.of(&destination);
    let added = shard
        .create_as(&again, &destination, || Set::for_members(member, 1, limits))?
        .add(member, limits);
    if added {
        shard.changed(db, &destination, Class::Set, "sadd");
        if !together {
            shard
                .effects
                .record(db, &[b"SADD", destination.bytes, member]);
        }
    }
    reply.integer(1);
    Ok(())
}
