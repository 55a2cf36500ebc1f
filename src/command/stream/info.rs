//! XINFO: what a stream, its groups and its consumers look like.

use crate::base::number::parse_i64;
use crate::command::client::{Context, Step};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shard;
use crate::structures::stream::{Consumer, Group as StreamGroup, READ_UNKNOWN, Stream, StreamId};

use super::super::spec::{Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run};
use super::range::write_entries;
use super::{write_entry, write_id};

/// Entries of each kind that FULL shows without COUNT.
const FULL_DEFAULT: usize = 10;

pub(super) const XINFO: Command = Command {
    name: "XINFO",
    arity: Arity::AtLeast(2),
    flags: Flags::NONE,
    acl: Acl::NONE,
    keys: &[],
    docs: Docs {
        group: Group::Stream,
        since: "5.0.0",
        complexity: "Depends on subcommand.",
        summary: "Subcommands that show what a stream and its groups look like.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Container,
    subcommands: &[
        Command {
            name: "CONSUMERS",
            arity: Arity::Exactly(4),
            flags: Flags::READONLY,
            acl: Acl::STREAM,
            keys: &[KeySpec::one(2, Access::RO.and(Access::ACCESS))],
            docs: Docs {
                group: Group::Stream,
                since: "5.0.0",
                complexity: "O(1)",
                summary: "Lists the consumers of a group.",
                arguments: &[Argument::key("key"), Argument::string("group")],
                history: &[("7.2.0", "Shows `inactive`.")],
                tips: &["nondeterministic_output"],
                deprecated: None,
            },
            run: Run::Shard(xinfo_consumers),
            subcommands: &[],
        },
        Command {
            name: "GROUPS",
            arity: Arity::Exactly(3),
            flags: Flags::READONLY,
            acl: Acl::STREAM,
            keys: &[KeySpec::one(2, Access::RO.and(Access::ACCESS))],
            docs: Docs {
                group: Group::Stream,
                since: "5.0.0",
                complexity: "O(1)",
                summary: "Lists the groups of a stream.",
                arguments: &[Argument::key("key")],
                history: &[("7.0.0", "Shows `entries-read` and `lag`.")],
                tips: &[],
                deprecated: None,
            },
            run: Run::Shard(xinfo_groups),
            subcommands: &[],
        },
        Command {
            name: "HELP",
            arity: Arity::Exactly(2),
            flags: Flags::LOADING.and(Flags::STALE),
            acl: Acl::STREAM,
            keys: &[],
            docs: Docs {
                group: Group::Stream,
                since: "5.0.0",
                complexity: "O(1)",
                summary: "Explains the subcommands of XINFO.",
                arguments: &[],
                history: &[],
                tips: &[],
                deprecated: None,
            },
            run: Run::Client(xinfo_help),
            subcommands: &[],
        },
        Command {
            name: "STREAM",
            arity: Arity::AtLeast(3),
            flags: Flags::READONLY,
            acl: Acl::STREAM,
            keys: &[KeySpec::one(2, Access::RO.and(Access::ACCESS))],
            docs: Docs {
                group: Group::Stream,
                since: "5.0.0",
                complexity: "O(1)",
                summary: "Describes a stream, in full if asked to.",
                arguments: &[
                    Argument::key("key"),
                    Argument::block(
                        "full-block",
                        &[
                            Argument::word("full", "FULL"),
                            Argument::integer("count").token("COUNT").optional(),
                        ],
                    )
                    .optional(),
                ],
                history: &[
                    ("6.0.0", "Takes `FULL`."),
                    (
                        "7.0.0",
                        "Shows `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` and `lag`.",
                    ),
                    ("7.2.0", "Shows `active-time`; `seen-time` counts attempts."),
                ],
                tips: &[],
                deprecated: None,
            },
            run: Run::Shard(xinfo_stream),
            subcommands: &[],
        },
    ],
};

fn existing<'s>(shard: &'s mut Shard, args: &Args<'_>) -> Result<&'s Stream, ErrorReply> {
    shard
        .read_as::<Stream>(&args.caller, &args.key(2))?
        .ok_or(ErrorReply::NO_SUCH_KEY)
}

fn xinfo_consumers(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (name, now) = (args.get(3), shard.now);
    let group = existing(shard, args)?
        .group(name)
        .ok_or_else(|| ErrorReply::no_group_at_key(name, args.get(2)))?;
    reply.array(group.consumers_len());
    for consumer in group.consumers() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(consumer.name());
        reply.bulk(b"pending");
        reply.count(consumer.pending_len());
        reply.bulk(b"idle");
        reply.integer(now.wrapping_sub(consumer.seen_time).max(0));
        reply.bulk(b"inactive");
        reply.integer(match consumer.active_time {
            -1 => -1,
            active => now.wrapping_sub(active),
        });
    }
    Ok(())
}

/// Writes what GROUPS and FULL both tell of a group's progress.
fn write_progress(reply: &mut Reply<'_>, stream: &Stream, group: &StreamGroup) {
    reply.bulk(b"last-delivered-id");
    write_id(reply, group.last_id);
    reply.bulk(b"entries-read");
    match group.entries_read {
        READ_UNKNOWN => reply.null(),
        read => reply.integer(read),
    }
    reply.bulk(b"lag");
    match stream.lag(group) {
        Some(lag) => reply.integer(lag),
        None => reply.null(),
    }
}

fn xinfo_groups(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let stream = existing(shard, args)?;
    let groups = stream.groups();
    reply.array(groups.len());
    for group in groups {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(group.name());
        reply.bulk(b"consumers");
        reply.count(group.consumers_len());
        reply.bulk(b"pending");
        reply.count(group.pending_len());
        write_progress(reply, stream, group);
    }
    Ok(())
}

/// FULL's count, if FULL is asked for; no bound is `usize::MAX`.
fn full(args: &Args<'_>) -> Result<Option<usize>, ErrorReply> {
    let misused = || ErrorReply::subcommand_syntax(args.get(1), "XINFO");
    match args.len() {
        3 => Ok(None),
        4 if args.is(3, "FULL") => Ok(Some(FULL_DEFAULT)),
        6 if args.is(3, "FULL") && args.is(4, "COUNT") => {
            let count = parse_i64(args.get(5)).ok_or(ErrorReply::NOT_INTEGER)?;
            Ok(Some(match count {
                0 => usize::MAX,
                1.. => count as usize,
                _ => FULL_DEFAULT,
            }))
        }
        _ => Err(misused()),
    }
}

fn xinfo_stream(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let stream = existing(shard, args)?;
    let full = full(args)?;
    reply.map(if full.is_some() { 9 } else { 10 });
    reply.bulk(b"length");
    reply.integer(stream.length() as i64);
    reply.bulk(b"radix-tree-keys");
    reply.count(stream.nodes_len());
    // There is no radix tree: these are the rows of the index, and what holds them together.
    reply.bulk(b"radix-tree-nodes");
    reply.count(stream.node_rows() + 1);
    reply.bulk(b"last-generated-id");
    write_id(reply, stream.last_id);
    reply.bulk(b"max-deleted-entry-id");
    write_id(reply, stream.max_deleted_id);
    reply.bulk(b"entries-added");
    reply.integer(stream.entries_added as i64);
    reply.bulk(b"recorded-first-entry-id");
    write_id(reply, stream.first_id());
    match full {
        Some(count) => write_full(reply, stream, count),
        None => {
            reply.bulk(b"groups");
            reply.count(stream.groups().len());
            let (lowest, highest) = (StreamId::MIN, StreamId::MAX);
            let ends = [
                ("first-entry", stream.range(lowest, highest).next()),
                ("last-entry", stream.range_back(lowest, highest).next()),
            ];
            for (name, entry) in ends {
                reply.bulk(name.as_bytes());
                match entry {
                    Some(entry) => write_entry(reply, &entry),
                    None => reply.null(),
                }
            }
        }
    }
    Ok(())
}

fn write_full(reply: &mut Reply<'_>, stream: &Stream, count: usize) {
    reply.bulk(b"entries");
    write_entries(
        reply,
        stream.range(StreamId::MIN, StreamId::MAX).take(count),
    );
    reply.bulk(b"groups");
    reply.array(stream.groups().len());
    for group in stream.groups() {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(group.name());
        write_progress(reply, stream, group);
        reply.bulk(b"pel-count");
        reply.count(group.pending_len());
        reply.bulk(b"pending");
        reply.array(group.pending_len().min(count));
        for (id, pending) in group.pending_from(StreamId::MIN).take(count) {
            reply.array(4);
            write_id(reply, id);
            reply.bulk(group.consumer(pending.owner()).name());
            reply.integer(pending.delivery_time);
            reply.integer(pending.deliveries as i64);
        }
        reply.bulk(b"consumers");
        reply.array(group.consumers_len());
        for consumer in group.consumers() {
            write_consumer(reply, group, consumer, count);
        }
    }
}

fn write_consumer(reply: &mut Reply<'_>, group: &StreamGroup, consumer: &Consumer, count: usize) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(consumer.name());
    reply.bulk(b"seen-time");
    reply.integer(consumer.seen_time);
    reply.bulk(b"active-time");
    reply.integer(consumer.active_time);
    reply.bulk(b"pel-count");
    reply.count(consumer.pending_len());
    reply.bulk(b"pending");
    reply.array(consumer.pending_len().min(count));
    for id in consumer.pending_from(StreamId::MIN).take(count) {
        let pending = group.pending(id).expect("what a consumer owns is pending");
        reply.array(3);
        write_id(reply, id);
        reply.integer(pending.delivery_time);
        reply.integer(pending.deliveries as i64);
    }
}

fn xinfo_help(
    _: &mut Context<'_>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Step, ErrorReply> {
    reply.help(
        "XINFO",
        &[
            (
                "CONSUMERS <key> <groupname>",
                &["List the consumers of a group."],
            ),
            ("GROUPS <key>", &["List the groups of a stream."]),
            (
                "STREAM <key> [FULL [COUNT <count>]",
                &["Describe a stream; FULL shows entries, groups and what is pending."],
            ),
        ],
    );
    Ok(Step::Done)
}
