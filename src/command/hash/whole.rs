//! A hash as a whole: all fields or values, a scan over them, some drawn at random.

use crate::base::random::Random;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shard;
use crate::structures::hash::Hash;
use crate::structures::listpack::Item;

use super::super::scan::{self, ScanOptions};
use super::super::spec::{
    Access, Acl, Argument, ArgumentKind, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};
use super::super::{draw, parse};

pub(super) const HGETALL: Command = Command {
    name: "HGETALL",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY,
    acl: Acl::HASH,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(N), N being the fields of the hash",
        summary: "Reads all fields of a hash with their values.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &["nondeterministic_output_order"],
        deprecated: None,
    },
    run: Run::Shard(hgetall),
    subcommands: &[],
};

fn hgetall(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let hash = shard.read_as::<Hash>(&args.caller, &args.key(1))?;
    reply.map(hash.map_or(0, Hash::len));
    for (field, value) in hash.into_iter().flatten() {
        reply.bulk_item(field);
        reply.bulk_item(value);
    }
    Ok(())
}

pub(super) const HKEYS: Command = Command {
    name: "HKEYS",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY,
    acl: Acl::HASH,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(N), N being the fields of the hash",
        summary: "Reads the names of all fields of a hash.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &["nondeterministic_output_order"],
        deprecated: None,
    },
    run: Run::Shard(hkeys),
    subcommands: &[],
};

fn hkeys(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let hash = shard.read_as::<Hash>(&args.caller, &args.key(1))?;
    reply.array(hash.map_or(0, Hash::len));
    for (field, _) in hash.into_iter().flatten() {
        reply.bulk_item(field);
    }
    Ok(())
}

pub(super) const HVALS: Command = Command {
    name: "HVALS",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY,
    acl: Acl::HASH,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(N), N being the fields of the hash",
        summary: "Reads the values of all fields of a hash.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &["nondeterministic_output_order"],
        deprecated: None,
    },
    run: Run::Shard(hvals),
    subcommands: &[],
};

fn hvals(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let hash = shard.read_as::<Hash>(&args.caller, &args.key(1))?;
    reply.array(hash.map_or(0, Hash::len));
    for (_, value) in hash.into_iter().flatten() {
        reply.bulk_item(value);
    }
    Ok(())
}

pub(super) const HSCAN: Command = Command {
    name: "HSCAN",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY,
    acl: Acl::HASH,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Hash,
        since: "2.8.0",
        complexity: "O(1) per call, O(N) for a whole iteration over N elements",
        summary: "Iterates over the fields of a hash with their values.",
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
    run: Run::Shard(hscan),
    subcommands: &[],
};

fn hscan(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let cursor = scan::cursor(args, 2)?;
    let Some(hash) = shard.read_as::<Hash>(&args.caller, &args.key(1))? else {
        scan::reply_found(reply, 0, 0, b"");
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3)?;
    let (mut elements, mut shown) = (Vec::new(), 0);
    let mut found = Reply::new(&mut elements, reply.is_resp3());
    let cursor = options.walk(cursor, |cursor| {
        let mut seen = 0;
        let next = hash.scan(cursor, |field, value| {
            seen += 1;
            if options.matches(field) {
                found.bulk_item(field);
                found.bulk_item(value);
                shown += 2;
            }
        });
        (next, seen)
    });
    scan::reply_found(reply, cursor, shown, &elements);
    Ok(())
}

pub(super) const HRANDFIELD: Command = Command {
    name: "HRANDFIELD",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY,
    acl: Acl::HASH,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Hash,
        since: "6.2.0",
        complexity: "O(N), N being the fields returned",
        summary: "Draws fields of a hash at random.",
        arguments: &[
            Argument::key("key"),
            Argument::block(
                "options",
                &[
                    Argument::integer("count"),
                    Argument::word("withvalues", "WITHVALUES").optional(),
                ],
            )
            .optional(),
        ],
        history: &[],
        tips: &["nondeterministic_output"],
        deprecated: None,
    },
    run: Run::Shard(hrandfield),
    subcommands: &[],
};

fn hrandfield(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let key = args.key(1);
    let mut random = Random::new(shard.random.next_u64());
    if args.len() == 2 {
        let hash = shard.read_as::<Hash>(&args.caller, &key)?;
        match hash.and_then(|hash| hash.random(&mut || random.next_u64())) {
            Some((field, _)) => reply.bulk_item(field),
            None => reply.null(),
        }
        return Ok(());
    }
    let count = parse::negatable(args, 2)?;
    let with_values = match args.len() {
        3 => false,
        4 if args.is(3, "WITHVALUES") => true,
        _ => return Err(ErrorReply::SYNTAX),
    };
    // Twice as many replies must still be countable.
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(ErrorReply::OUT_OF_RANGE);
    }
    let closing = draw::closing_bytes(&shard.config, &args.caller);
    let Some(hash) = shard.read_as::<Hash>(&args.caller, &key)? else {
        reply.array(0);
        return Ok(());
    };
    let wanted = count.unsigned_abs() as usize;
    let shown = if count < 0 {
        wanted
    } else {
        wanted.min(hash.len())
    };
    let nested = with_values && reply.is_resp3();
    reply.array(if with_values && !nested {
        2 * shown
    } else {
        shown
    });
    let show = |reply: &mut Reply<'_>, (field, value): (Item<'_>, Item<'_>)| {
        if nested {
            reply.array(2);
        }
        reply.bulk_item(field);
        if with_values {
            reply.bulk_item(value);
        }
    };
    if count < 0 {
        return draw::repeated(wanted, closing, reply, |reply| {
            let drawn = hash.random(&mut || random.next_u64());
            show(reply, drawn.expect("a hash without fields has no key"));
        });
    } else {
        draw::different(
            hash.len(),
            shown,
            &mut random,
            |(field, _)| *field,
            |random| hash.random(&mut || random.next_u64()),
            hash.iter(),
            |drawn| show(reply, drawn),
        );
    }
    Ok(())
}
