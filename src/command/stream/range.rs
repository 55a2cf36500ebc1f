//! Reading a stream by ids: XRANGE, XREVRANGE, and its length.

use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shard;
use crate::structures::stream::{Stream, StreamEntry};

use super::super::parse;
use super::super::spec::{Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run};
use super::{id, write_entry};

pub(super) const XLEN: Command = Command {
    name: "XLEN",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::STREAM,
    keys: &[KeySpec::one(1, Access::RO)],
    docs: Docs {
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Counts the entries of a stream.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(xlen),
    subcommands: &[],
};

fn xlen(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let stream = shard.read_as::<Stream>(&args.caller, &args.key(1))?;
    reply.integer(stream.map_or(0, |stream| stream.length() as i64));
    Ok(())
}

pub(super) const XRANGE: Command = Command {
    name: "XRANGE",
    arity: Arity::AtLeast(4),
    flags: Flags::READONLY,
    acl: Acl::STREAM,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(N), N being the entries returned.",
        summary: "Reads a range of a stream.",
        arguments: &[
            Argument::key("key"),
            Argument::string("start"),
            Argument::string("end"),
            Argument::integer("count").token("COUNT").optional(),
        ],
        history: &[(
            "6.2.0",
            "Takes ids that are not part of the range themselves.",
        )],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(xrange),
    subcommands: &[],
};

fn xrange(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    range(shard, args, false, reply)
}

pub(super) const XREVRANGE: Command = Command {
    name: "XREVRANGE",
    arity: Arity::AtLeast(4),
    flags: Flags::READONLY,
    acl: Acl::STREAM,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(N), N being the entries returned.",
        summary: "Reads a range of a stream from its newest entry back.",
        arguments: &[
            Argument::key("key"),
            Argument::string("end"),
            Argument::string("start"),
            Argument::integer("count").token("COUNT").optional(),
        ],
        history: &[(
            "6.2.0",
            "Takes ids that are not part of the range themselves.",
        )],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(xrevrange),
    subcommands: &[],
};

fn xrevrange(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    range(shard, args, true, reply)
}

fn range(
    shard: &mut Shard,
    args: &Args<'_>,
    backwards: bool,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (from, to) = if backwards { (3, 2) } else { (2, 3) };
    let start = id::start(args.get(from))?;
    let end = id::end(args.get(to))?;
    let mut count = usize::MAX;
    let mut at = 4;
    while at < args.len() {
        if !args.is(at, "COUNT") || at + 1 == args.len() {
            return Err(ErrorReply::SYNTAX);
        }
        count = parse::integer(args, at + 1)?.max(0) as usize;
        at += 2;
    }
    let Some(stream) = shard.read_as::<Stream>(&args.caller, &args.key(1))? else {
        reply.array(0);
        return Ok(());
    };
    if count == 0 {
        reply.null_array();
    } else if backwards {
        write_entries(reply, stream.range_back(start, end).take(count));
    } else {
        write_entries(reply, stream.range(start, end).take(count));
    }
    Ok(())
}

/// Writes entries as an array.
pub(super) fn write_entries<'a>(
    reply: &mut Reply<'_>,
    entries: impl Iterator<Item = StreamEntry<'a>>,
) {
    let (header, mut written) = (reply.deferred(), 0);
    for entry in entries {
        write_entry(reply, &entry);
        written += 1;
    }
    reply.array_at(header, written);
}
