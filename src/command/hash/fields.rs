//! Fields by name: setting, reading, removing and counting them, and arithmetic on their values.

use crate::base::long_double::LongDouble;
use crate::base::number::{format_i64, parse_i64};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard};
use crate::structures::hash::Hash;
use crate::structures::listpack::Item;

use super::super::parse;
use super::super::spec::{Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run};
use super::limits;

pub(super) const HSET: Command = Command {
    name: "HSET",
    arity: Arity::AtLeast(4),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    acl: Acl::HASH,
    keys: &[KeySpec::one(1, Access::RW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(1) per field, O(N) for N fields",
        summary: "Gives fields of a hash their values; the hash is created if needed.",
        arguments: &[
            Argument::key("key"),
            Argument::block(
                "data",
                &[Argument::string("field"), Argument::string("value")],
            )
            .multiple(),
        ],
        history: &[("4.0.0", "Takes several fields with their values at once.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(hset),
    subcommands: &[],
};

fn hset(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let created = set_pairs(shard, args, "hset")?;
    reply.count(created);
    Ok(())
}

pub(super) const HMSET: Command = Command {
    name: "HMSET",
    arity: Arity::AtLeast(4),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    acl: Acl::HASH,
    keys: &[KeySpec::one(1, Access::RW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(N), N being the fields given",
        summary: "Gives several fields of a hash their values.",
        arguments: &[
            Argument::key("key"),
            Argument::block(
                "data",
                &[Argument::string("field"), Argument::string("value")],
            )
            .multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: Some(("4.0.0", "`HSET` with multiple field-value pairs")),
    },
    run: Run::Shard(hmset),
    subcommands: &[],
};

fn hmset(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    set_pairs(shard, args, "hmset")?;
    reply.ok();
    Ok(())
}

/// Sets fields to values from argument 2 on. Returns how many fields are new.
fn set_pairs(shard: &mut Shard, args: &Args<'_>, name: &str) -> Result<usize, ErrorReply> {
    if !args.len().is_multiple_of(2) {
        return Err(ErrorReply::wrong_arity(name));
    }
    let (key, limits) = (args.key(1), limits(shard));
    let pairs = (args.len() - 2) / 2;
    let hash = shard.create_as(&args.caller, &key, Hash::new)?;
    hash.expect(pairs, limits);
    let mut created = 0;
    for at in (2..args.len()).step_by(2) {
        created += usize::from(hash.set(args.get(at), args.get(at + 1), limits));
    }
    shard.changed_by(args.db(), &key, Class::Hash, "hset", pairs as u64);
    Ok(created)
}

pub(super) const HSETNX: Command = Command {
    name: "HSETNX",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    acl: Acl::HASH,
    keys: &[KeySpec::one(1, Access::RW.and(Access::INSERT))],
    docs: Docs {
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Gives a field of a hash a value if it has none yet.",
        arguments: &[
            Argument::key("key"),
            Argument::string("field"),
            Argument::string("value"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(hsetnx),
    subcommands: &[],
};

fn hsetnx(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (key, limits) = (args.key(1), limits(shard));
    let hash = shard.create_as(&args.caller, &key, Hash::new)?;
    if !hash.set_if_absent(args.get(2), args.get(3), limits) {
        reply.integer(0);
        return Ok(());
    }
    shard.changed(args.db(), &key, Class::Hash, "hset");
    reply.integer(1);
    Ok(())
}

pub(super) const HGET: Command = Command {
    name: "HGET",
    arity: Arity::Exactly(3),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::HASH,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Reads the value of a field.",
        arguments: &[Argument::key("key"), Argument::string("field")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(hget),
    subcommands: &[],
};

fn hget(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let hash = shard.read_as::<Hash>(&args.caller, &args.key(1))?;
    match hash.and_then(|hash| hash.get(args.get(2))) {
        Some(value) => reply.bulk_item(value),
        None => reply.null(),
    }
    Ok(())
}

pub(super) const HMGET: Command = Command {
    name: "HMGET",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::HASH,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(N), N being the fields asked for",
        summary: "Reads the values of several fields.",
        arguments: &[Argument::key("key"), Argument::string("field").multiple()],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(hmget),
    subcommands: &[],
};

fn hmget(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let hash = shard.read_as::<Hash>(&args.caller, &args.key(1))?;
    let fields = args.iter_from(2);
    reply.array(fields.len());
    for field in fields {
        match hash.and_then(|hash| hash.get(field)) {
            Some(value) => reply.bulk_item(value),
            None => reply.null(),
        }
    }
    Ok(())
}

pub(super) const HDEL: Command = Command {
    name: "HDEL",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::HASH,
    keys: &[KeySpec::one(1, Access::RW.and(Access::DELETE))],
    docs: Docs {
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(N), N being the fields to remove",
        summary: "Removes fields from a hash.",
        arguments: &[Argument::key("key"), Argument::string("field").multiple()],
        history: &[("2.4.0", "Takes several fields at once.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(hdel),
    subcommands: &[],
};

fn hdel(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let key = args.key(1);
    let Some(hash) = shard.write_as::<Hash>(&args.caller, &key)? else {
        reply.integer(0);
        return Ok(());
    };
    let removed = args.iter_from(2).filter(|field| hash.remove(field)).count();
    let empty = hash.is_empty();
    if removed > 0 {
        shard.changed_by(args.db(), &key, Class::Hash, "hdel", removed as u64);
    }
    if empty {
        shard.delete_emptied(args.db(), &key);
    }
    reply.count(removed);
    Ok(())
}

pub(super) const HLEN: Command = Command {
    name: "HLEN",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::HASH,
    keys: &[KeySpec::one(1, Access::RO)],
    docs: Docs {
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Counts the fields of a hash.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(hlen),
    subcommands: &[],
};

fn hlen(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let hash = shard.read_as::<Hash>(&args.caller, &args.key(1))?;
    reply.count(hash.map_or(0, Hash::len));
    Ok(())
}

pub(super) const HEXISTS: Command = Command {
    name: "HEXISTS",
    arity: Arity::Exactly(3),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::HASH,
    keys: &[KeySpec::one(1, Access::RO)],
    docs: Docs {
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Tells whether a hash has a field.",
        arguments: &[Argument::key("key"), Argument::string("field")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(hexists),
    subcommands: &[],
};

fn hexists(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let hash = shard.read_as::<Hash>(&args.caller, &args.key(1))?;
    let found = hash.is_some_and(|hash| hash.contains(args.get(2)));
    reply.integer(found.into());
    Ok(())
}

pub(super) const HSTRLEN: Command = Command {
    name: "HSTRLEN",
    arity: Arity::Exactly(3),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::HASH,
    keys: &[KeySpec::one(1, Access::RO)],
    docs: Docs {
        group: Group::Hash,
        since: "3.2.0",
        complexity: "O(1)",
        summary: "Measures the value of a field in bytes.",
        arguments: &[Argument::key("key"), Argument::string("field")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(hstrlen),
    subcommands: &[],
};

fn hstrlen(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let hash = shard.read_as::<Hash>(&args.caller, &args.key(1))?;
    reply.count(hash.map_or(0, |hash| hash.value_len(args.get(2))));
    Ok(())
}

pub(super) const HINCRBY: Command = Command {
    name: "HINCRBY",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    acl: Acl::HASH,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::UPDATE),
    )],
    docs: Docs {
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Adds an integer to the number in a field, which counts as 0 if absent.",
        arguments: &[
            Argument::key("key"),
            Argument::string("field"),
            Argument::integer("increment"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(hincrby),
    subcommands: &[],
};

fn hincrby(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (key, field, limits) = (args.key(1), args.get(2), limits(shard));
    let increment = parse::integer(args, 3)?;
    let hash = shard.write_as::<Hash>(&args.caller, &key)?;
    let old = match hash.and_then(|hash| hash.get(field)) {
        None => 0,
        Some(Item::Int(number)) => number,
        Some(Item::Bytes(text)) => parse_i64(text).ok_or(ErrorReply::HASH_NOT_INTEGER)?,
    };
    let new = old.checked_add(increment).ok_or(ErrorReply::OVERFLOW)?;
    shard.create_as(&args.caller.again(), &key, Hash::new)?.set(
        field,
        format_i64(new).as_bytes(),
        limits,
    );
    shard.changed(args.db(), &key, Class::Hash, "hincrby");
    reply.integer(new);
    Ok(())
}

pub(super) const HINCRBYFLOAT: Command = Command {
    name: "HINCRBYFLOAT",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    acl: Acl::HASH,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::UPDATE),
    )],
    docs: Docs {
        group: Group::Hash,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Adds a float to the number in a field, which counts as 0 if absent.",
        arguments: &[
            Argument::key("key"),
            Argument::string("field"),
            Argument::double("increment"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(hincrbyfloat),
    subcommands: &[],
};

fn hincrbyfloat(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (key, field, limits) = (args.key(1), args.get(2), limits(shard));
    let increment = LongDouble::parse(args.get(3)).ok_or(ErrorReply::NOT_FLOAT)?;
    if increment.is_infinite() {
        return Err(ErrorReply::FLOAT_NOT_FINITE);
    }
    let hash = shard.write_as::<Hash>(&args.caller, &key)?;
    let old = match hash.and_then(|hash| hash.get(field)) {
        None => LongDouble::from_i64(0),
        Some(Item::Int(number)) => LongDouble::from_i64(number),
        Some(Item::Bytes(text)) => LongDouble::parse(text).ok_or(ErrorReply::HASH_NOT_FLOAT)?,
    };
    let new = old
        .checked_add(increment)
        .ok_or(ErrorReply::NAN_OR_INFINITY)?
        .to_text();
    shard
        .create_as(&args.caller.again(), &key, Hash::new)?
        .set(field, &new, limits);
    shard.changed(args.db(), &key, Class::Hash, "hincrbyfloat");
    // The sum, not the question: another machine may round otherwise.
    shard
        .effects
        .record(args.db(), &[b"HSET", key.bytes, field, &new]);
    reply.bulk(&new);
    Ok(())
}
