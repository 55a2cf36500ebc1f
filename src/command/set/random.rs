//! Members at random: drawn, or drawn and removed.

use crate::base::random::Random;
use crate::keyspace::Value;
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard};
use crate::structures::listpack::{Item, Listpack};
use crate::structures::set::Set;

use super::super::spec::{Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run};
use super::super::{draw, parse};
use super::{limits, members};

/// SPOP moves the members that stay into a new set when they are at most this part of those that go: fewer draws. Redis
/// (SPOP_MOVE_STRATEGY_MUL) has the same figure, and OBJECT ENCODING shows the new set.
const POPPED_PER_KEPT: usize = 5;
/// Members named by one SREM among the effects, at most.
const MEMBERS_PER_EFFECT: usize = 1024;

pub(super) const SRANDMEMBER: Command = Command {
    name: "SRANDMEMBER",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY,
    acl: Acl::SET,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Set,
        since: "1.0.0",
        complexity: "O(1) without a count, otherwise O(N), N being the count without its sign",
        summary: "Draws members of a set at random.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("count").optional().since("2.6.0"),
        ],
        history: &[("2.6.0", "Takes a count.")],
        tips: &["nondeterministic_output"],
        deprecated: None,
    },
    run: Run::Shard(srandmember),
    subcommands: &[],
};

fn srandmember(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let key = args.key(1);
    let mut random = Random::new(shard.random.next_u64());
    if args.len() == 2 {
        let set = shard.read_as::<Set>(&args.caller, &key)?;
        match set.and_then(|set| set.random(&mut || random.next_u64())) {
            Some(member) => reply.bulk_item(member),
            None => reply.null(),
        }
        return Ok(());
    }
    if args.len() > 3 {
        return Err(ErrorReply::SYNTAX);
    }
    let count = parse::negatable(args, 2)?;
    let closing = draw::closing_bytes(&shard.config, &args.caller);
    let Some(set) = shard.read_as::<Set>(&args.caller, &key)? else {
        reply.array(0);
        return Ok(());
    };
    let wanted = count.unsigned_abs() as usize;
    if count < 0 {
        reply.array(wanted);
        return draw::repeated(wanted, closing, reply, |reply| {
            let drawn = set.random(&mut || random.next_u64());
            reply.bulk_item(drawn.expect("a set without members has no key"));
        });
    }
    let shown = wanted.min(set.len());
    reply.array(shown);
    draw::different(
        set.len(),
        shown,
        &mut random,
        |member| *member,
        |random| set.random(&mut || random.next_u64()),
        set.iter(),
        |member: Item<'_>| reply.bulk_item(member),
    );
    Ok(())
}

pub(super) const SPOP: Command = Command {
    name: "SPOP",
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::SET,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::DELETE),
    )],
    docs: Docs {
        group: Group::Set,
        since: "1.0.0",
        complexity: "O(1) without a count, otherwise O(N), N being the count",
        summary: "Removes members drawn at random and replies them.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("count").optional().since("3.2.0"),
        ],
        history: &[("3.2.0", "Takes a count.")],
        tips: &["nondeterministic_output"],
        deprecated: None,
    },
    run: Run::Shard(spop),
    subcommands: &[],
};

fn spop(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    if args.len() > 3 {
        return Err(ErrorReply::SYNTAX);
    }
    let (key, db) = (args.key(1), args.db());
    let mut random = Random::new(shard.random.next_u64());
    if args.len() == 3 {
        let count = parse::at_least(args, 2, 0, ErrorReply::NOT_POSITIVE)?;
        return match shard.write_as::<Set>(&args.caller, &key)? {
            Some(set) if count > 0 => {
                let (count, len) = (usize::try_from(count).unwrap_or(usize::MAX), set.len());
                if count >= len {
                    members::reply_all(set, reply);
                    shard.changed_by(db, &key, Class::Set, "spop", len as u64);
                    shard.delete_emptied(db, &key);
                    shard.record_removal(db, &key);
                    Ok(())
                } else {
                    spop_some(shard, args, &key, count, &mut random, reply)
                }
            }
            _ => {
                reply.set(0);
                Ok(())
            }
        };
    }
    let Some(set) = shard.write_as::<Set>(&args.caller, &key)? else {
        reply.null();
        return Ok(());
    };
    let member = set
        .pop_random(&mut || random.next_u64())
        .expect("a set without members has no key");
    let empty = set.is_empty();
    shard.changed(db, &key, Class::Set, "spop");
    if empty {
        shard.delete_emptied(db, &key);
    }
    shard.effects.record(db, &[b"SREM", key.bytes, &member]);
    reply.bulk(&member);
    Ok(())
}

/// Pops `count` members, fewer than there are.
fn spop_some(
    shard: &mut Shard,
    args: &Args<'_>,
    key: &Key<'_>,
    count: usize,
    random: &mut Random,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (db, limits) = (args.db(), limits(shard));
    let wanted = shard.effects.wanted();
    let mut popped = Vec::new();
    let set = shard
        .write_as::<Set>(&args.caller.again(), key)?
        .ok_or(ErrorReply::NO_SUCH_KEY)?;
    let kept_len = set.len() - count;
    let supply = &mut || random.next_u64();
    let mut left_over = None;
    reply.set(count);
    // A set that is being walked must stay the one it is.
    if kept_len.saturating_mul(POPPED_PER_KEPT) > count || set.is_walking() {
        for _ in 0..count {
            let member = set
                .pop_random(supply)
                .expect("fewer are popped than there are");
            reply.bulk(&member);
            if wanted {
                popped.push(member);
            }
        }
    } else {
        let mut kept = match set {
            Set::Intset(_) => Set::new(),
            _ => Set::Listpack(Listpack::new()),
        };
        for _ in 0..kept_len {
            let member = set
                .pop_random(supply)
                .expect("fewer are kept than there are");
            kept.add(&member, limits);
        }
        for member in &*set {
            reply.bulk_item(member);
            if wanted {
                popped.push(member.to_vec());
            }
        }
        left_over = Some(std::mem::replace(set, kept));
    }
    if let Some(set) = left_over {
        shard.discard(Box::new(Value::Set(set)));
    }
    shard.changed_by(db, key, Class::Set, "spop", count as u64);
    record_removal(shard, db, key, &popped);
    Ok(())
}

/// Records that members went, as SREM in place of the running SPOP.
fn record_removal(shard: &mut Shard, db: usize, key: &Key<'_>, members: &[Vec<u8>]) {
    shard.effects.suppress();
    for members in members.chunks(MEMBERS_PER_EFFECT) {
        let mut parts: Vec<&[u8]> = vec![b"SREM", key.bytes];
        parts.extend(members.iter().map(Vec::as_slice));
        shard.effects.record(db, &parts);
    }
}
