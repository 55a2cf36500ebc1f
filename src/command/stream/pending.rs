//! What a group has delivered: acknowledging it, and looking at what is not acknowledged.

use smallvec::SmallVec;

use crate::base::number::format_i64;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shard;
use crate::structures::stream::{Consumer, Group as StreamGroup, Pending, Stream, StreamId};

use super::super::parse;
use super::super::spec::{Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run};
use super::{id, write_id};

pub(super) const XACK: Command = Command {
    name: "XACK",
    arity: Arity::AtLeast(4),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::STREAM,
    keys: &[KeySpec::one(1, Access::RW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(1) for each message ID processed.",
        summary: "Tells a group that entries have been dealt with.",
        arguments: &[
            Argument::key("key"),
            Argument::string("group"),
            Argument::string("id").multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(xack),
    subcommands: &[],
};

fn xack(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let key = args.key(1);
    let stream = shard.write_as::<Stream>(&args.caller, &key)?;
    let Some(group) = stream.and_then(|stream| stream.group_mut(args.get(2))) else {
        reply.integer(0);
        return Ok(());
    };
    let ids: SmallVec<[StreamId; 8]> = args
        .iter_from(3)
        .map(id::strict)
        .collect::<Result<_, _>>()?;
    let acknowledged = ids.into_iter().filter(|id| group.acknowledge(*id)).count();
    // Neither a watch nor a notification takes notice, as in Redis.
    shard.effects.count(acknowledged as u64);
    reply.count(acknowledged);
    Ok(())
}

pub(super) const XPENDING: Command = Command {
    name: "XPENDING",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY,
    acl: Acl::STREAM,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(N), N being the entries returned, or scanned with IDLE; the summary takes O(N) over the consumers.",
        summary: "Shows what a group has delivered and not seen acknowledged.",
        arguments: &[
            Argument::key("key"),
            Argument::string("group"),
            Argument::block(
                "filters",
                &[
                    Argument::integer("min-idle-time")
                        .token("IDLE")
                        .optional()
                        .since("6.2.0"),
                    Argument::string("start"),
                    Argument::string("end"),
                    Argument::integer("count"),
                    Argument::string("consumer").optional(),
                ],
            )
            .optional(),
        ],
        history: &[(
            "6.2.0",
            "Takes `IDLE`, and ids that are not part of the range themselves.",
        )],
        tips: &["nondeterministic_output"],
        deprecated: None,
    },
    run: Run::Shard(xpending),
    subcommands: &[],
};

/// Which pending entries XPENDING lists.
struct Filter<'a> {
    min_idle: i64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

fn filter<'a>(args: &Args<'a>) -> Result<Option<Filter<'a>>, ErrorReply> {
    if args.len() == 3 {
        return Ok(None);
    }
    if !(6..=9).contains(&args.len()) {
        return Err(ErrorReply::SYNTAX);
    }
    let (mut at, mut min_idle) = (3, 0);
    if args.is(3, "IDLE") {
        min_idle = parse::integer(args, 4)?;
        if args.len() < 8 {
            return Err(ErrorReply::SYNTAX);
        }
        at = 5;
    }
    let count = parse::integer(args, at + 2)?.max(0) as usize;
    Ok(Some(Filter {
        min_idle,
        start: id::start(args.get(at))?,
        end: id::end(args.get(at + 1))?,
        count,
        consumer: args.opt(at + 3),
    }))
}

fn xpending(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let filter = filter(args)?;
    let (key, name, now) = (args.key(1), args.get(2), shard.now);
    let stream = shard.read_as::<Stream>(&args.caller, &key)?;
    let group = stream
        .and_then(|stream| stream.group(name))
        .ok_or_else(|| ErrorReply::no_key_or_group(key.bytes, name))?;
    match filter {
        None => write_summary(reply, group),
        Some(filter) => write_list(reply, group, &filter, now),
    }
    Ok(())
}

fn write_summary(reply: &mut Reply<'_>, group: &StreamGroup) {
    reply.array(4);
    reply.count(group.pending_len());
    let first = group.pending_from(StreamId::MIN).next();
    let (Some((first, _)), Some(last)) = (first, group.last_pending()) else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    write_id(reply, first);
    write_id(reply, last);
    let waiting = |consumer: &&Consumer| consumer.pending_len() > 0;
    reply.array(group.consumers().filter(waiting).count());
    for consumer in group.consumers().filter(waiting) {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk(format_i64(consumer.pending_len() as i64).as_bytes());
    }
}

fn write_list(reply: &mut Reply<'_>, group: &StreamGroup, filter: &Filter<'_>, now: i64) {
    let listed = |(id, pending): &(StreamId, &Pending)| {
        let idle = now.wrapping_sub(pending.delivery_time);
        *id <= filter.end && (filter.min_idle == 0 || idle >= filter.min_idle)
    };
    let (header, mut written) = (reply.deferred(), 0);
    let mut write = |(id, pending): (StreamId, &Pending)| {
        written += 1;
        reply.array(4);
        write_id(reply, id);
        reply.bulk(group.consumer(pending.owner()).name());
        reply.integer(now.wrapping_sub(pending.delivery_time).max(0));
        reply.integer(pending.deliveries as i64);
    };
    match filter.consumer {
        None => group
            .pending_from(filter.start)
            .take_while(|(id, _)| *id <= filter.end)
            .filter(listed)
            .take(filter.count)
            .for_each(&mut write),
        Some(name) => {
            if let Some(place) = group.find_consumer(name) {
                group
                    .consumer(place)
                    .pending_from(filter.start)
                    .take_while(|id| *id <= filter.end)
                    .filter_map(|id| group.pending(id).map(|pending| (id, pending)))
                    .filter(listed)
                    .take(filter.count)
                    .for_each(&mut write);
            }
        }
    }
    reply.array_at(header, written);
}
