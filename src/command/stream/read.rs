//! Reading what is new in several streams: XREAD for anybody, XREADGROUP for a consumer of a group.

use std::ops::Range;

use smallvec::SmallVec;

use crate::keyspace::blocked::{Awaits, Wait};
use crate::resp::request::{Args, Key, OwnedArgs};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Shard, Shards};
use crate::structures::stream::{Group as StreamGroup, IdText, Stream, StreamId};

use super::super::parse;
use super::super::spec::{
    Access, Acl, Argument, Arity, Begin, Command, Docs, Find, Flags, Group, KeySpec, Run,
};
use super::claim::Claims;
use super::range::write_entries;
use super::{id, write_entry, write_id};

/// Options before the word STREAMS, with the number of arguments each takes.
const PAST: &[(&str, u8)] = &[("BLOCK", 1), ("COUNT", 1), ("GROUP", 2)];

pub(super) const XREAD: Command = Command {
    name: "XREAD",
    arity: Arity::AtLeast(4),
    flags: Flags::READONLY
        .and(Flags::BLOCKING)
        .and(Flags::MOVABLE_KEYS),
    acl: Acl::STREAM,
    keys: &[KeySpec {
        begin: Begin::Keyword {
            word: "STREAMS",
            from: 1,
            past: PAST,
            in_place_of: None,
        },
        find: Find::Range {
            last: -1,
            step: 1,
            limit: 2,
        },
        access: Access::RO.and(Access::ACCESS),
        notes: "",
    }],
    docs: Docs {
        group: Group::Stream,
        since: "5.0.0",
        complexity: "",
        summary: "Reads what came after given ids from several streams, and waits for something if asked to.",
        arguments: &[
            Argument::integer("count").token("COUNT").optional(),
            Argument::integer("milliseconds").token("BLOCK").optional(),
            Argument::block(
                "streams",
                &[
                    Argument::key("key").multiple(),
                    Argument::string("id").multiple(),
                ],
            )
            .token("STREAMS"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(xread),
    subcommands: &[],
};

pub(super) const XREADGROUP: Command = Command {
    name: "XREADGROUP",
    arity: Arity::AtLeast(7),
    flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLE_KEYS),
    acl: Acl::STREAM,
    keys: &[KeySpec {
        begin: Begin::Keyword {
            word: "STREAMS",
            from: 4,
            past: PAST,
            in_place_of: None,
        },
        find: Find::Range {
            last: -1,
            step: 1,
            limit: 2,
        },
        access: Access::RO.and(Access::ACCESS),
        notes: "",
    }],
    docs: Docs {
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(M) for each stream, M being the entries returned; an XADD pays O(N) to serve N blocked clients.",
        summary: "Reads for a consumer of a group: new entries, for which it can wait, or its pending ones.",
        arguments: &[
            Argument::block(
                "group-block",
                &[Argument::string("group"), Argument::string("consumer")],
            )
            .token("GROUP"),
            Argument::integer("count").token("COUNT").optional(),
            Argument::integer("milliseconds").token("BLOCK").optional(),
            Argument::word("noack", "NOACK").optional(),
            Argument::block(
                "streams",
                &[
                    Argument::key("key").multiple(),
                    Argument::string("id").multiple(),
                ],
            )
            .token("STREAMS"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(xreadgroup),
    subcommands: &[],
};

/// The options of a request.
struct Options<'a> {
    /// Waits if there is nothing: until then (Unix milliseconds) or for ever.
    block: Option<Option<i64>>,
    /// Entries of each stream at most.
    count: usize,
    no_ack: bool,
    /// Group and consumer.
    group: Option<(&'a [u8], &'a [u8])>,
    /// The first key among the arguments.
    keys_at: usize,
    /// How many keys there are; as many ids follow.
    keys: usize,
}

fn options<'a>(
    shards: &mut Shards<'_>,
    args: &Args<'a>,
    is_group: bool,
) -> Result<Options<'a>, ErrorReply> {
    let mut found = Options {
        block: None,
        count: usize::MAX,
        no_ack: false,
        group: None,
        keys_at: 0,
        keys: 0,
    };
    let mut at = 1;
    while at < args.len() {
        let more = args.len() - 1 - at;
        if args.is(at, "BLOCK") && more > 0 {
            if args.caller.from_script {
                return Err(ErrorReply::block_in_script(args.get(0)));
            }
            found.block = Some(parse::timeout_ms(args, at + 1, shards.any().now)?);
            at += 2;
        } else if args.is(at, "COUNT") && more > 0 {
            found.count = match parse::integer(args, at + 1)? {
                count @ 1.. => count as usize,
                _ => usize::MAX,
            };
            at += 2;
        } else if args.is(at, "STREAMS") && more > 0 {
            if !more.is_multiple_of(2) {
                return Err(ErrorReply::unbalanced_streams(is_group));
            }
            (found.keys_at, found.keys) = (at + 1, more / 2);
            break;
        } else if args.is(at, "GROUP") && more >= 2 {
            if !is_group {
                return Err(ErrorReply::GROUP_IN_XREAD);
            }
            found.group = Some((args.get(at + 1), args.get(at + 2)));
            at += 3;
        } else if args.is(at, "NOACK") {
            if !is_group {
                return Err(ErrorReply::NOACK_IN_XREAD);
            }
            found.no_ack = true;
            at += 1;
        } else {
            return Err(ErrorReply::SYNTAX);
        }
    }
    if found.keys == 0 {
        return Err(ErrorReply::SYNTAX);
    }
    if is_group && found.group.is_none() {
        return Err(ErrorReply::XREADGROUP_NEEDS_GROUP);
    }
    Ok(found)
}

impl Options<'_> {
    /// Where the keys are among the arguments.
    fn key_places(&self) -> Range<usize> {
        self.keys_at..self.keys_at + self.keys
    }

    /// There was nothing to read: waits if the request says so.
    fn wait(&self, shards: &mut Shards<'_>, again: Option<OwnedArgs>) {
        if let Some(until) = self.block {
            shards.block(Wait {
                awaits: Awaits::Stream,
                keys: self.key_places().map(|place| place as u32).collect(),
                target: None,
                until,
                when_gone: self.group.is_some(),
                again,
            });
        }
    }
}

/// Writes the header of the reply once there is something, and what belongs to each stream.
struct Streams {
    header: crate::resp::reply::Deferred,
    written: usize,
}

impl Streams {
    fn begin(reply: &mut Reply<'_>) -> Self {
        Streams {
            header: reply.deferred(),
            written: 0,
        }
    }

    /// The entries of this stream follow.
    fn key(&mut self, reply: &mut Reply<'_>, key: &[u8]) {
        if !reply.is_resp3() {
            reply.array(2);
        }
        reply.bulk(key);
        self.written += 1;
    }

    /// False when there was nothing.
    fn end(self, reply: &mut Reply<'_>) -> bool {
        match self.written {
            0 => reply.null_array(),
            written if reply.is_resp3() => reply.map_at(self.header, written),
            written => reply.array_at(self.header, written),
        }
        self.written > 0
    }
}

fn xread(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let options = options(shards, args, false)?;
    let mut after = SmallVec::<[StreamId; 8]>::new();
    for nth in options.key_places() {
        let key = args.key(nth);
        let stream = match shards.get(&key) {
            Some(shard) => shard.read_as::<Stream>(&args.caller, &key)?,
            None => None,
        };
        after.push(match args.get(nth + options.keys) {
            b"$" => stream.map_or(StreamId::MIN, |stream| stream.last_id),
            b">" => return Err(ErrorReply::NEW_ID_IN_XREAD),
            text => id::strict(text)?,
        });
    }
    let mut streams = Streams::begin(reply);
    // A second use of each key, as OBJECT FREQ counts it in Redis too.
    for (nth, after) in options.key_places().zip(&after) {
        let key = args.key(nth);
        let Some(shard) = shards.get(&key) else {
            continue;
        };
        let Some(stream) = shard.read_as::<Stream>(&args.caller, &key)? else {
            continue;
        };
        if stream.last_entry_id().is_none_or(|last| last <= *after) {
            continue;
        }
        let Some(start) = after.next() else {
            continue;
        };
        streams.key(reply, key.bytes);
        write_entries(
            reply,
            stream.range(start, StreamId::MAX).take(options.count),
        );
    }
    if !streams.end(reply) {
        let again = from_now_on(args, &options, &after);
        options.wait(shards, again);
    }
    Ok(())
}

/// The request with the ids in place that `$` stood for, if it was used: what comes after now is waited for.
fn from_now_on(args: &Args<'_>, options: &Options<'_>, after: &[StreamId]) -> Option<OwnedArgs> {
    let ids_at = options.keys_at + options.keys;
    let is_last = |place: usize| place >= ids_at && args.get(place) == b"$";
    if options.block.is_none() || !(ids_at..args.len()).any(is_last) {
        return None;
    }
    let texts: Vec<IdText> = after.iter().map(|id| id.text()).collect();
    let words = (0..args.len()).map(|place| {
        if is_last(place) {
            texts[place - ids_at].as_bytes()
        } else {
            args.get(place)
        }
    });
    Some(words.collect())
}

fn xreadgroup(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let options = options(shards, args, true)?;
    let (group, consumer) = options.group.ok_or(ErrorReply::XREADGROUP_NEEDS_GROUP)?;
    // None for new entries, else the consumer's own from there on.
    let mut after = SmallVec::<[Option<StreamId>; 8]>::new();
    let mut has_news = false;
    for nth in options.key_places() {
        let key = args.key(nth);
        if let Some(shard) = shards.get(&key) {
            let stream = shard.read_as::<Stream>(&args.caller, &key)?;
            let found = stream.and_then(|stream| Some((stream, stream.group(group)?)));
            let Some((stream, group)) = found else {
                return Err(ErrorReply::no_group_to_read(key.bytes, group));
            };
            has_news |= first_news(stream, group).is_some();
        }
        after.push(match args.get(nth + options.keys) {
            b"$" => return Err(ErrorReply::LAST_ID_IN_XREADGROUP),
            b">" => None,
            text => Some(id::strict(text)?).filter(|id| *id != StreamId::MAX),
        });
    }
    if shards.runs_again() {
        if !has_news {
            reply.null_array();
            options.wait(shards, None);
            return Ok(());
        }
        if !shards.claim() {
            return Ok(());
        }
    }
    let mut streams = Streams::begin(reply);
    for (nth, after) in options.key_places().zip(&after) {
        let key = args.key(nth);
        let Some(shard) = shards.get(&key) else {
            continue;
        };
        let mut reading = Reading {
            options: &options,
            group,
            consumer,
            streams: &mut streams,
            reply: &mut *reply,
        };
        reading.read(shard, args, &key, *after)?;
    }
    if !streams.end(reply) {
        options.wait(shards, None);
    }
    Ok(())
}

/// The first id that a group has not read yet, if there is an entry from there on.
fn first_news(stream: &Stream, group: &StreamGroup) -> Option<StreamId> {
    let start = group.last_id.next()?;
    (stream.last_entry_id()? >= start).then_some(start)
}

/// XREADGROUP at one of its streams.
struct Reading<'r, 'o, 'a> {
    options: &'r Options<'a>,
    group: &'a [u8],
    consumer: &'a [u8],
    streams: &'r mut Streams,
    reply: &'r mut Reply<'o>,
}

impl Reading<'_, '_, '_> {
    fn read(
        &mut self,
        shard: &mut Shard,
        args: &Args<'_>,
        key: &Key<'_>,
        after: Option<StreamId>,
    ) -> Result<(), ErrorReply> {
        let (now, db) = (shard.now, args.db());
        let mut claims = Claims::new(shard, db, key.bytes, self.group);
        let Some(stream) = shard.write_as::<Stream>(&args.caller, key)? else {
            return Ok(()); // it was there a moment ago
        };
        let served = stream.with_group(self.group, |stream, group| {
            let place = claims.consumer(group, self.consumer, now);
            group.consumer_mut(place).seen_time = now;
            match after {
                Some(after) => {
                    self.streams.key(self.reply, key.bytes);
                    self.history(stream, group, after, now);
                    true
                }
                None => self.news(stream, group, &mut claims, key, now),
            }
        });
        claims.finish(shard, key);
        if served == Some(true) {
            shard.effects.count(1);
        }
        Ok(())
    }

    /// The consumer's own pending entries behind `after`.
    fn history(&mut self, stream: &Stream, group: &mut StreamGroup, after: StreamId, now: i64) {
        let place = group
            .find_consumer(self.consumer)
            .expect("it was made if it was missing");
        let ids: Vec<StreamId> = match after.next() {
            None => Vec::new(),
            Some(start) => group
                .consumer(place)
                .pending_from(start)
                .take(self.options.count)
                .collect(),
        };
        self.reply.array(ids.len());
        for id in ids {
            match stream.get(id) {
                Some(entry) => {
                    write_entry(self.reply, &entry);
                    group.deliver_again(id, now);
                }
                None => {
                    // Deleted since: the consumer learns that it has nothing to do for it.
                    self.reply.array(2);
                    write_id(self.reply, id);
                    self.reply.null_array();
                }
            }
        }
    }

    /// Entries that the group has not read yet; false when there is none.
    fn news(
        &mut self,
        stream: &Stream,
        group: &mut StreamGroup,
        claims: &mut Claims<'_>,
        key: &Key<'_>,
        now: i64,
    ) -> bool {
        let Some(start) = first_news(stream, group) else {
            return false;
        };
        let place = group
            .find_consumer(self.consumer)
            .expect("it was made if it was missing");
        self.streams.key(self.reply, key.bytes);
        let (header, mut written) = (self.reply.deferred(), 0);
        for entry in stream.range(start, StreamId::MAX).take(self.options.count) {
            group.entries_read = stream.entries_read_after(group.entries_read, entry.id);
            group.last_id = entry.id;
            write_entry(self.reply, &entry);
            written += 1;
            if !self.options.no_ack {
                group.assign(entry.id, place, now, 1);
                claims.claimed(group, entry.id);
            }
        }
        self.reply.array_at(header, written);
        if !self.options.no_ack {
            group.consumer_mut(place).active_time = now;
        }
        claims.group_moved(group);
        true
    }
}
