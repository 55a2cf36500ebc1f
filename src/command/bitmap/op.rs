//! BITOP: whole strings combined bit by bit.

use std::borrow::Cow;

use crate::base::number::format_i64;
use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};
use crate::command::string::with_bytes;
use crate::keyspace::KeyEntry;
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shards};
use crate::structures::bitmap::{self, Combine};
use crate::structures::entry::{INLINE_MAX, NewValue, Payload};

pub(super) const BITOP: Command = Command {
    name: "BITOP",
    arity: Arity::AtLeast(4),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::BITMAP,
    keys: &[
        KeySpec::one(2, Access::OW.and(Access::UPDATE)),
        KeySpec::range(3, -1, 1, Access::RO.and(Access::ACCESS)),
    ],
    docs: Docs {
        group: Group::Bitmap,
        since: "2.6.0",
        complexity: "O(N)",
        summary: "Combines strings bit by bit and stores the result under a key.",
        arguments: &[
            Argument::one_of(
                "operation",
                &[
                    Argument::word("and", "AND"),
                    Argument::word("or", "OR"),
                    Argument::word("xor", "XOR"),
                    Argument::word("not", "NOT"),
                ],
            ),
            Argument::key("destkey"),
            Argument::key_of("key", 1).multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(bitop),
    subcommands: &[],
};

fn bitop(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    // NOT has no way of combining.
    let how = match () {
        () if args.is(1, "AND") => Some(Combine::And),
        () if args.is(1, "OR") => Some(Combine::Or),
        () if args.is(1, "XOR") => Some(Combine::Xor),
        () if args.is(1, "NOT") => None,
        () => return Err(ErrorReply::SYNTAX),
    };
    if how.is_none() && args.len() != 4 {
        return Err(ErrorReply::BITOP_NOT);
    }
    let keys: Vec<Key<'_>> = (3..args.len()).map(|at| args.key(at)).collect();
    // Counts hits, moves clocks, deletes what has expired.
    let mut there = Vec::with_capacity(keys.len());
    for key in &keys {
        let entry = shards.of(key).read(&args.caller, key);
        there.push(entry.is_some());
        with_bytes(entry, |_| ())?;
    }
    let sources: Vec<Cow<'_, [u8]>> = keys
        .iter()
        .zip(there)
        .map(|(key, there)| {
            let entry = shards.at(key).keyspace.find(args.db(), key);
            match entry.filter(|_| there).map(KeyEntry::payload) {
                Some(Payload::Bytes(bytes)) => Cow::Borrowed(bytes),
                Some(Payload::Int(number)) => Cow::Owned(format_i64(number).to_vec()),
                // A missing one stays in its place: AND finds zeros there.
                Some(Payload::Boxed(_)) | None => Cow::Borrowed(&[][..]),
            }
        })
        .collect();
    let slices: Vec<&[u8]> = sources.iter().map(|source| &**source).collect();
    let result = match how {
        Some(how) => bitmap::combine(how, &slices),
        None => bitmap::invert(slices[0]),
    };
    drop(sources);
    let (length, destination) = (result.len(), args.key(2));
    let together = keys.iter().all(|key| shards.together(&destination, key));
    store(shards, args, &destination, result, together);
    reply.count(length);
    Ok(())
}

/// Puts the result in place of whatever the key held; an empty one deletes the key.
fn store(shards: &mut Shards<'_>, args: &Args<'_>, key: &Key<'_>, result: Vec<u8>, together: bool) {
    let shard = shards.of(key);
    if !result.is_empty() {
        let value = if result.len() > INLINE_MAX {
            NewValue::Long(Box::new(result))
        } else {
            NewValue::Bytes(&result)
        };
        shard.put(&args.caller, key, value, false);
        if let Some(entry) = shard.edit(args.db(), key) {
            entry.set_raw(true); // it was put together, not given
        }
        shard.changed(args.db(), key, Class::String, "set");
        if !together {
            shard.made_from_afar(args.db(), key);
        }
    } else if shard.delete(args.db(), key) {
        shard.changed(args.db(), key, Class::Generic, "del");
        if !together {
            shard.effects.record(args.db(), &[b"DEL", key.bytes]);
        }
    }
}
