//! Pending entries that change hands: XCLAIM, XAUTOCLAIM, and how any such change is recorded.

use smallvec::SmallVec;

use crate::base::number::{format_i64, parse_i64};
use crate::resp::request::{Args, Key, OwnedArgs};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard};
use crate::structures::stream::{ConsumerPlace, Group as StreamGroup, Stream, StreamId};

use super::super::spec::{
    Access, Acl, Argument, ArgumentKind, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};
use super::{id, write_entry, write_id};

/// How many entries XAUTOCLAIM looks at for each that it may claim.
const ATTEMPTS: usize = 10;

/// What happened to the pending entries of one group, gathered while the stream is in hand, recorded afterwards.
///
/// Replicas get the outcome: for each entry an XCLAIM that gives it to its owner with its time and count, whether it is
/// new there or not.
pub(super) struct Claims<'a> {
    db: usize,
    key: &'a [u8],
    group: &'a [u8],
    /// Somebody reads the effects.
    wanted: bool,
    created: bool,
    changes: u64,
    effects: Vec<OwnedArgs>,
}

impl<'a> Claims<'a> {
    pub(super) fn new(shard: &Shard, db: usize, key: &'a [u8], group: &'a [u8]) -> Self {
        Claims {
            db,
            key,
            group,
            wanted: shard.effects.wanted(),
            created: false,
            changes: 0,
            effects: Vec::new(),
        }
    }

    fn record(&mut self, parts: &[&[u8]]) {
        self.effects.push(parts.iter().copied().collect());
    }

    /// The consumer of this name, made if it is missing.
    pub(super) fn consumer(
        &mut self,
        group: &mut StreamGroup,
        name: &[u8],
        now: i64,
    ) -> ConsumerPlace {
        group
            .find_consumer(name)
            .unwrap_or_else(|| self.create_consumer(group, name, now))
    }

    fn create_consumer(&mut self, group: &mut StreamGroup, name: &[u8], now: i64) -> ConsumerPlace {
        self.created = true;
        self.changes += 1;
        if self.wanted {
            self.record(&[b"XGROUP", b"CREATECONSUMER", self.key, self.group, name]);
        }
        group
            .create_consumer(name, now)
            .unwrap_or_else(|there| there)
    }

    /// A pending entry is as it is now, or is about to go because its entry has gone.
    pub(super) fn claimed(&mut self, group: &StreamGroup, id: StreamId) {
        let (true, Some(pending)) = (self.wanted, group.pending(id)) else {
            return;
        };
        let (time, count) = (
            format_i64(pending.delivery_time),
            format_i64(pending.deliveries as i64),
        );
        self.record(&[
            b"XCLAIM",
            self.key,
            self.group,
            group.consumer(pending.owner()).name(),
            b"0",
            id.text().as_bytes(),
            b"TIME",
            time.as_bytes(),
            b"RETRYCOUNT",
            count.as_bytes(),
            b"FORCE",
            b"JUSTID",
            b"LASTID",
            group.last_id.text().as_bytes(),
        ]);
    }

    /// The group has read further.
    pub(super) fn group_moved(&mut self, group: &StreamGroup) {
        if self.wanted {
            let read = format_i64(group.entries_read);
            self.record(&[
                b"XGROUP",
                b"SETID",
                self.key,
                self.group,
                group.last_id.text().as_bytes(),
                b"ENTRIESREAD",
                read.as_bytes(),
            ]);
        }
    }

    /// Counts and records what was gathered.
    pub(super) fn finish(self, shard: &mut Shard, key: &Key<'_>) {
        shard.effects.count(self.changes);
        if self.created {
            shard.notify(self.db, key, Class::Stream, "xgroup-createconsumer");
        }
        shard.effects.suppress();
        for effect in &self.effects {
            let args = effect.args(Default::default());
            let parts: SmallVec<[&[u8]; 16]> = args.iter_from(0).collect();
            shard.effects.record(self.db, &parts);
        }
    }
}

pub(super) const XCLAIM: Command = Command {
    name: "XCLAIM",
    arity: Arity::AtLeast(6),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::STREAM,
    keys: &[KeySpec::one(1, Access::RW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(log N), N being the pending entries of the group.",
        summary: "Hands pending entries to another consumer.",
        arguments: &[
            Argument::key("key"),
            Argument::string("group"),
            Argument::string("consumer"),
            Argument::string("min-idle-time"),
            Argument::string("id").multiple(),
            Argument::integer("ms").token("IDLE").optional(),
            Argument::new("unix-time-milliseconds", ArgumentKind::UnixTime)
                .token("TIME")
                .optional(),
            Argument::integer("count").token("RETRYCOUNT").optional(),
            Argument::word("force", "FORCE").optional(),
            Argument::word("justid", "JUSTID").optional(),
            Argument::string("lastid").token("LASTID").optional(),
        ],
        history: &[],
        tips: &["nondeterministic_output"],
        deprecated: None,
    },
    run: Run::Shard(xclaim),
    subcommands: &[],
};

/// XCLAIM's options, behind the ids.
struct Options {
    /// Unix milliseconds.
    delivery_time: Option<i64>,
    retry_count: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

fn options(args: &Args<'_>, from: usize, now: i64) -> Result<Options, ErrorReply> {
    let mut found = Options {
        delivery_time: None,
        retry_count: None,
        force: false,
        just_id: false,
        last_id: StreamId::MIN,
    };
    let number = |at: usize, name: &str| {
        parse_i64(args.get(at)).ok_or_else(|| ErrorReply::invalid_xclaim_option(name))
    };
    let mut at = from;
    while at < args.len() {
        let more = at + 1 < args.len();
        if args.is(at, "FORCE") {
            found.force = true;
        } else if args.is(at, "JUSTID") {
            found.just_id = true;
        } else if args.is(at, "IDLE") && more {
            at += 1;
            found.delivery_time = Some(now.wrapping_sub(number(at, "IDLE")?));
        } else if args.is(at, "TIME") && more {
            at += 1;
            found.delivery_time = Some(number(at, "TIME")?);
        } else if args.is(at, "RETRYCOUNT") && more {
            at += 1;
            found.retry_count = u64::try_from(number(at, "RETRYCOUNT")?).ok();
        } else if args.is(at, "LASTID") && more {
            at += 1;
            found.last_id = id::strict(args.get(at))?;
        } else {
            return Err(ErrorReply::unrecognized_xclaim_option(args.get(at)));
        }
        at += 1;
    }
    // A time in the future or before 1970 comes of a client's clock or arithmetic: then it is now.
    found.delivery_time = found.delivery_time.filter(|time| (0..=now).contains(time));
    Ok(found)
}

fn xclaim(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (key, name, now) = (args.key(1), args.get(2), shard.now);
    let mut claims = Claims::new(shard, args.db(), key.bytes, name);
    let stream = shard.write_as::<Stream>(&args.caller, &key)?;
    let missing = || ErrorReply::no_key_or_group(key.bytes, name);
    let stream = stream.ok_or_else(missing)?;
    stream.group(name).ok_or_else(missing)?;
    let min_idle = parse_i64(args.get(4))
        .ok_or_else(|| ErrorReply::invalid_min_idle_time("XCLAIM"))?
        .max(0);
    let ids: SmallVec<[StreamId; 8]> = args
        .iter_from(5)
        .map_while(|text| id::strict(text).ok())
        .collect();
    let options = options(args, 5 + ids.len(), now)?;
    let delivery_time = options.delivery_time.unwrap_or(now);

    let header = reply.deferred();
    let mut written = 0;
    stream.with_group(name, |stream, group| {
        let mut moved = options.last_id > group.last_id;
        if moved {
            group.last_id = options.last_id;
        }
        let consumer = claims.consumer(group, args.get(3), now);
        group.consumer_mut(consumer).seen_time = now;
        for id in ids {
            let pending = group.pending(id).copied();
            let Some(entry) = stream.get(id) else {
                if pending.is_some() {
                    claims.claimed(group, id);
                    claims.changes += 1;
                    moved = false;
                    group.acknowledge(id);
                }
                continue;
            };
            let count = match pending {
                Some(pending) => {
                    if min_idle > 0 && now.wrapping_sub(pending.delivery_time) < min_idle {
                        continue;
                    }
                    pending.deliveries
                }
                None if options.force => 1,
                None => continue,
            };
            let count = match options.retry_count {
                Some(count) => count,
                None if options.just_id => count,
                None => count.wrapping_add(1),
            };
            group.assign(id, consumer, delivery_time, count);
            group.consumer_mut(consumer).active_time = now;
            if options.just_id {
                write_id(reply, id);
            } else {
                write_entry(reply, &entry);
            }
            written += 1;
            claims.claimed(group, id);
            claims.changes += 1;
            moved = false;
        }
        if moved {
            claims.group_moved(group);
            claims.changes += 1;
        }
    });
    reply.array_at(header, written);
    claims.finish(shard, &key);
    Ok(())
}

pub(super) const XAUTOCLAIM: Command = Command {
    name: "XAUTOCLAIM",
    arity: Arity::AtLeast(6),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::STREAM,
    keys: &[KeySpec::one(1, Access::RW.and(Access::DELETE))],
    docs: Docs {
        group: Group::Stream,
        since: "6.2.0",
        complexity: "O(1) if COUNT is small.",
        summary: "Hands entries that have been pending for long to another consumer.",
        arguments: &[
            Argument::key("key"),
            Argument::string("group"),
            Argument::string("consumer"),
            Argument::string("min-idle-time"),
            Argument::string("start"),
            Argument::integer("count").token("COUNT").optional(),
            Argument::word("justid", "JUSTID").optional(),
        ],
        history: &[(
            "7.0.0",
            "Also replies the ids it dropped because their entries are gone.",
        )],
        tips: &["nondeterministic_output"],
        deprecated: None,
    },
    run: Run::Shard(xautoclaim),
    subcommands: &[],
};

fn xautoclaim(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (key, name, now) = (args.key(1), args.get(2), shard.now);
    // The key counts as used whatever becomes of the arguments; its type is told last of all.
    shard.read(&args.caller, &key);
    let min_idle = parse_i64(args.get(4))
        .ok_or_else(|| ErrorReply::invalid_min_idle_time("XAUTOCLAIM"))?
        .max(0);
    let start = id::start(args.get(5))?;
    let (mut count, mut just_id) = (100, false);
    let mut at = 6;
    while at < args.len() {
        if args.is(at, "COUNT") && at + 1 < args.len() {
            let most = i64::MAX / size_of::<StreamId>().max(ATTEMPTS) as i64;
            count = match parse_i64(args.get(at + 1)) {
                Some(count) if (1..=most).contains(&count) => count as usize,
                _ => return Err(ErrorReply::XAUTOCLAIM_COUNT),
            };
            at += 2;
        } else if args.is(at, "JUSTID") {
            just_id = true;
            at += 1;
        } else {
            return Err(ErrorReply::SYNTAX);
        }
    }
    let mut claims = Claims::new(shard, args.db(), key.bytes, name);
    let stream = shard.write_as::<Stream>(&args.caller.again(), &key)?;
    let missing = || ErrorReply::no_key_or_group(key.bytes, name);
    let stream = stream.ok_or_else(missing)?;
    stream.group(name).ok_or_else(missing)?;

    let mut entries = Vec::new();
    let mut claimed = Reply::new(&mut entries, reply.is_resp3());
    let mut written = 0;
    let mut deleted: Vec<StreamId> = Vec::new();
    let next = stream.with_group(name, |stream, group| {
        let consumer = claims.consumer(group, args.get(3), now);
        group.consumer_mut(consumer).seen_time = now;
        let mut from = Some(start);
        let mut attempts = count * ATTEMPTS;
        while attempts > 0 && written + deleted.len() < count {
            attempts -= 1;
            let (id, pending) = from.and_then(|from| group.pending_from(from).next())?;
            let pending = *pending;
            from = id.next();
            let Some(entry) = stream.get(id) else {
                claims.claimed(group, id);
                claims.changes += 1;
                group.acknowledge(id);
                deleted.push(id);
                continue;
            };
            if min_idle > 0 && now.wrapping_sub(pending.delivery_time) < min_idle {
                continue;
            }
            let deliveries = pending.deliveries.wrapping_add(u64::from(!just_id));
            group.assign(id, consumer, now, deliveries);
            group.consumer_mut(consumer).active_time = now;
            if just_id {
                write_id(&mut claimed, id);
            } else {
                write_entry(&mut claimed, &entry);
            }
            written += 1;
            claims.claimed(group, id);
            claims.changes += 1;
        }
        Some(group.pending_from(from?).next()?.0)
    });
    claims.finish(shard, &key);
    reply.array(3);
    write_id(reply, next.flatten().unwrap_or(StreamId::MIN));
    reply.array(written);
    reply.buffer().extend_from_slice(&entries);
    reply.array(deleted.len());
    for id in deleted {
        write_id(reply, id);
    }
    Ok(())
}
