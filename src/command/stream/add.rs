//! What changes the entries of a stream: XADD, XTRIM, XDEL, XSETID.

use smallvec::SmallVec;

use crate::base::number::{format_i64, parse_i64};
use crate::keyspace::Value;
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard};
use crate::structures::stream::{Stream, StreamId, TrimTo};

use super::super::parse;
use super::super::spec::{Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run};
use super::id::{self, NewId};
use super::{limits, write_id};

/// Nodes that an approximate trim without LIMIT takes at most, and what holds where nodes are unbounded or huge.
const TRIM_NODES_MAX: u64 = 100;
const TRIM_DEFAULT: u64 = 10_000;
const TRIM_MAX: u64 = 1_000_000;

/// How to shorten a stream, as the options say it.
struct Trim {
    to: TrimTo,
    /// `~`: whole nodes only.
    whole_nodes: bool,
    /// Entries to remove at most; 0 for any number.
    limit: u64,
    /// Where the threshold stands among the arguments.
    place: usize,
}

/// The options that XADD and XTRIM share, and XADD's own.
struct Options {
    trim: Option<Trim>,
    must_exist: bool,
    /// XADD: the id, `None` for `*`.
    id: Option<NewId>,
    /// The first argument behind the options: XADD's id.
    at: usize,
}

fn options(shard: &Shard, args: &Args<'_>, is_xadd: bool) -> Result<Options, ErrorReply> {
    let mut found = Options {
        trim: None,
        must_exist: false,
        id: None,
        at: 2,
    };
    let mut limit = None;
    while found.at < args.len() {
        let at = found.at;
        let more = args.len() - 1 - at;
        if is_xadd && args.get(at) == b"*" {
            break;
        }
        let is_length = args.is(at, "MAXLEN");
        if (is_length || args.is(at, "MINID")) && more > 0 {
            if found.trim.is_some() {
                return Err(ErrorReply::MAXLEN_AND_MINID);
            }
            let operator = args.get(at + 1);
            let has_operator = more >= 2 && matches!(operator, b"~" | b"=");
            let place = at + 1 + usize::from(has_operator);
            let to = if is_length {
                match parse::integer(args, place)? {
                    length @ 0.. => TrimTo::Length(length as u64),
                    _ => return Err(ErrorReply::TRIM_MAXLEN_NEGATIVE),
                }
            } else {
                TrimTo::Id(id::strict(args.get(place))?)
            };
            found.trim = Some(Trim {
                to,
                whole_nodes: has_operator && operator == b"~",
                limit: 0,
                place,
            });
            found.at = place + 1;
        } else if args.is(at, "LIMIT") && more > 0 {
            match parse::integer(args, at + 1)? {
                number @ 0.. => limit = Some(number as u64),
                _ => return Err(ErrorReply::TRIM_LIMIT_NEGATIVE),
            }
            found.at += 2;
        } else if is_xadd && args.is(at, "NOMKSTREAM") {
            found.must_exist = true;
            found.at += 1;
        } else if is_xadd {
            found.id = Some(id::new_id(args.get(at))?);
            break;
        } else {
            return Err(ErrorReply::SYNTAX);
        }
    }
    let Some(trim) = &mut found.trim else {
        return match limit {
            Some(1..) => Err(ErrorReply::TRIM_LIMIT_ALONE),
            _ if !is_xadd => Err(ErrorReply::TRIM_STRATEGY_MISSING),
            _ => Ok(found),
        };
    };
    // What a primary or a log says was worked out there, and is done as it is said.
    let obeys = args.caller.client == 0;
    trim.limit = match limit {
        _ if obeys => 0,
        Some(limit) if trim.whole_nodes => limit,
        Some(_) => return Err(ErrorReply::TRIM_LIMIT_EXACT),
        None if !trim.whole_nodes => 0,
        None => match shard
            .config
            .stream_node_max_entries
            .saturating_mul(TRIM_NODES_MAX)
        {
            0 => TRIM_DEFAULT,
            limit => limit.min(TRIM_MAX),
        },
    };
    Ok(found)
}

impl Trim {
    /// Trims; what went and is too big to be freed at once comes back as a value of its own.
    fn run(&self, stream: &mut Stream) -> (u64, Stream) {
        let mut gone = Stream::new();
        let trimmed = stream.trim(self.to, self.whole_nodes, self.limit, &mut gone);
        (trimmed, gone)
    }

    /// The threshold that does the same without `~`.
    fn outcome(&self, stream: &Stream) -> SmallVec<[u8; 48]> {
        match self.to {
            TrimTo::Length(_) => format_i64(stream.length() as i64).as_bytes().into(),
            TrimTo::Id(_) => {
                let first = stream.first_place().unwrap_or(StreamId::MAX);
                first.text().as_bytes().into()
            }
        }
    }
}

/// Records the running XADD or XTRIM with an exact threshold, and with the whole `id` where it has been chosen here.
fn record_exactly(
    shard: &mut Shard,
    args: &Args<'_>,
    id: Option<(usize, StreamId)>,
    threshold: Option<(usize, &[u8])>,
) {
    if !shard.effects.wanted() {
        return;
    }
    let text = id.map(|(_, id)| id.text());
    let mut parts: Vec<&[u8]> = args.iter_from(0).collect();
    if let (Some((place, _)), Some(text)) = (id, &text) {
        parts[place] = text.as_bytes();
    }
    if let Some((place, threshold)) = threshold {
        parts[place - 1] = b"=";
        parts[place] = threshold;
        // LIMIT is worked into the threshold, and nothing takes it beside an exact one.
        let end = id.map_or(parts.len(), |(place, _)| place);
        let limit = (2..end)
            .filter(|at| *at != place && *at != place - 1)
            .find(|at| parts[*at].eq_ignore_ascii_case(b"LIMIT"));
        if let Some(at) = limit {
            parts.drain(at..at + 2);
        }
    }
    shard.effects.record(args.db(), &parts);
}

pub(super) const XADD: Command = Command {
    name: "XADD",
    arity: Arity::AtLeast(5),
    flags: Flags::WRITE
        .and(Flags::DENYOOM)
        .and(Flags::FAST)
        .and(Flags::WAKES),
    acl: Acl::STREAM,
    keys: &[KeySpec {
        notes: "It updates, for it may trim what is there",
        ..KeySpec::one(1, Access::RW.and(Access::UPDATE))
    }],
    docs: Docs {
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(1) to add an entry, O(N) to trim N entries.",
        summary: "Adds an entry to a stream, which is created if needed.",
        arguments: &[
            Argument::key("key"),
            Argument::word("nomkstream", "NOMKSTREAM")
                .optional()
                .since("6.2.0"),
            Argument::block(
                "trim",
                &[
                    Argument::one_of(
                        "strategy",
                        &[
                            Argument::word("maxlen", "MAXLEN"),
                            Argument::word("minid", "MINID").since("6.2.0"),
                        ],
                    ),
                    Argument::one_of(
                        "operator",
                        &[
                            Argument::word("equal", "="),
                            Argument::word("approximately", "~"),
                        ],
                    )
                    .optional(),
                    Argument::string("threshold"),
                    Argument::integer("count")
                        .token("LIMIT")
                        .optional()
                        .since("6.2.0"),
                ],
            )
            .optional(),
            Argument::one_of(
                "id-selector",
                &[Argument::word("auto-id", "*"), Argument::string("id")],
            ),
            Argument::block(
                "data",
                &[Argument::string("field"), Argument::string("value")],
            )
            .multiple(),
        ],
        history: &[
            ("6.2.0", "Takes `NOMKSTREAM`, `MINID` and `LIMIT`."),
            ("7.0.0", "Takes ids of the form `<ms>-*`."),
        ],
        tips: &["nondeterministic_output"],
        deprecated: None,
    },
    run: Run::Shard(xadd),
    subcommands: &[],
};

/// The id of the next entry.
fn choose(stream: Option<&Stream>, asked: Option<NewId>, now: i64) -> Result<StreamId, ErrorReply> {
    let last = stream.map_or(StreamId::MIN, |stream| stream.last_id);
    if last == StreamId::MAX {
        return Err(ErrorReply::STREAM_EXHAUSTED);
    }
    let id = match asked {
        Some(NewId::Whole(id)) => id,
        Some(NewId::Milliseconds(ms)) if ms == last.ms => {
            let seq = last.seq.checked_add(1).ok_or(ErrorReply::STREAM_ID_SMALL)?;
            StreamId::new(ms, seq)
        }
        Some(NewId::Milliseconds(ms)) => StreamId::new(ms, 0),
        None if now as u64 > last.ms => StreamId::new(now as u64, 0),
        None => last.next().ok_or(ErrorReply::STREAM_ID_SMALL)?,
    };
    if id <= last {
        return Err(ErrorReply::STREAM_ID_SMALL);
    }
    Ok(id)
}

fn xadd(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let options = options(shard, args, true)?;
    let fields = args.iter_from(options.at + 1);
    if fields.len() < 2 || !fields.len().is_multiple_of(2) {
        return Err(ErrorReply::wrong_arity("xadd"));
    }
    if options.id == Some(NewId::Whole(StreamId::MIN)) {
        return Err(ErrorReply::STREAM_ID_ZERO);
    }
    let (key, limits, now) = (args.key(1), limits(shard), shard.now);
    let too_large = !Stream::can_store(fields.clone().map(<[u8]>::len).sum());
    let refuse_too_large = || {
        if too_large {
            Err(ErrorReply::ELEMENTS_TOO_LARGE)
        } else {
            Ok(())
        }
    };
    let (stream, id) = match shard.write_as::<Stream>(&args.caller, &key)? {
        Some(stream) => {
            let id = choose(Some(stream), options.id, now)?;
            refuse_too_large()?;
            (stream, id)
        }
        None if options.must_exist => {
            reply.null();
            return Ok(());
        }
        None => {
            let id = choose(None, options.id, now)?;
            refuse_too_large()?;
            let stream = shard.create_as(&args.caller.again(), &key, Stream::new)?;
            (stream, id)
        }
    };
    stream.append(id, fields, limits);
    let trimmed = options.trim.as_ref().map(|trim| {
        let (trimmed, gone) = trim.run(stream);
        let threshold = trim.whole_nodes.then(|| (trim.place, trim.outcome(stream)));
        (trimmed, gone, threshold)
    });
    shard.changed(args.db(), &key, Class::Stream, "xadd");
    let mut threshold = None;
    if let Some((trimmed, gone, exact)) = trimmed {
        if trimmed > 0 {
            shard.notify(args.db(), &key, Class::Stream, "xtrim");
            shard.discard(Box::new(Value::Stream(Box::new(gone))));
        }
        threshold = exact;
    }
    let chosen = !matches!(options.id, Some(NewId::Whole(_)));
    if chosen || threshold.is_some() {
        let threshold = threshold.as_ref().map(|(place, text)| (*place, &text[..]));
        record_exactly(shard, args, Some((options.at, id)), threshold);
    }
    write_id(reply, id);
    Ok(())
}

pub(super) const XTRIM: Command = Command {
    name: "XTRIM",
    arity: Arity::AtLeast(4),
    flags: Flags::WRITE,
    acl: Acl::STREAM,
    keys: &[KeySpec::one(1, Access::RW.and(Access::DELETE))],
    docs: Docs {
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(N), N being the entries removed; whole nodes go at once.",
        summary: "Shortens a stream from its oldest entries on.",
        arguments: &[
            Argument::key("key"),
            Argument::block(
                "trim",
                &[
                    Argument::one_of(
                        "strategy",
                        &[
                            Argument::word("maxlen", "MAXLEN"),
                            Argument::word("minid", "MINID").since("6.2.0"),
                        ],
                    ),
                    Argument::one_of(
                        "operator",
                        &[
                            Argument::word("equal", "="),
                            Argument::word("approximately", "~"),
                        ],
                    )
                    .optional(),
                    Argument::string("threshold"),
                    Argument::integer("count")
                        .token("LIMIT")
                        .optional()
                        .since("6.2.0"),
                ],
            ),
        ],
        history: &[("6.2.0", "Takes `MINID` and `LIMIT`.")],
        tips: &["nondeterministic_output"],
        deprecated: None,
    },
    run: Run::Shard(xtrim),
    subcommands: &[],
};

fn xtrim(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let options = options(shard, args, false)?;
    let trim = options.trim.ok_or(ErrorReply::TRIM_STRATEGY_MISSING)?;
    let key = args.key(1);
    let Some(stream) = shard.write_as::<Stream>(&args.caller, &key)? else {
        reply.integer(0);
        return Ok(());
    };
    let (trimmed, gone) = trim.run(stream);
    let threshold = trim.outcome(stream);
    if trimmed > 0 {
        shard.changed_by(args.db(), &key, Class::Stream, "xtrim", trimmed);
        shard.discard(Box::new(Value::Stream(Box::new(gone))));
        if trim.whole_nodes {
            record_exactly(shard, args, None, Some((trim.place, &threshold)));
        }
    }
    reply.integer(trimmed as i64);
    Ok(())
}

pub(super) const XDEL: Command = Command {
    name: "XDEL",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::STREAM,
    keys: &[KeySpec::one(1, Access::RW.and(Access::DELETE))],
    docs: Docs {
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(1) for each entry to delete.",
        summary: "Deletes entries of a stream by their ids.",
        arguments: &[Argument::key("key"), Argument::string("id").multiple()],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(xdel),
    subcommands: &[],
};

fn xdel(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let key = args.key(1);
    let Some(stream) = shard.write_as::<Stream>(&args.caller, &key)? else {
        reply.integer(0);
        return Ok(());
    };
    let ids: SmallVec<[StreamId; 8]> = args
        .iter_from(2)
        .map(id::strict)
        .collect::<Result<_, _>>()?;
    let deleted = stream.delete(ids.into_iter());
    if deleted > 0 {
        shard.changed_by(args.db(), &key, Class::Stream, "xdel", deleted);
    }
    reply.integer(deleted as i64);
    Ok(())
}

pub(super) const XSETID: Command = Command {
    name: "XSETID",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    acl: Acl::STREAM,
    keys: &[KeySpec::one(1, Access::RW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Sets a stream's last id and counters: for replication.",
        arguments: &[
            Argument::key("key"),
            Argument::string("last-id"),
            Argument::integer("entries-added")
                .token("ENTRIESADDED")
                .optional()
                .since("7.0.0"),
            Argument::string("max-deleted-id")
                .token("MAXDELETEDID")
                .optional()
                .since("7.0.0"),
        ],
        history: &[("7.0.0", "Takes `ENTRIESADDED` and `MAXDELETEDID`.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(xsetid),
    subcommands: &[],
};

fn xsetid(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let last_id = id::strict(args.get(2))?;
    let (mut added, mut deleted) = (None, StreamId::MIN);
    let mut at = 3;
    while at < args.len() {
        let more = at + 1 < args.len();
        if args.is(at, "ENTRIESADDED") && more {
            let number = parse_i64(args.get(at + 1)).ok_or(ErrorReply::NOT_INTEGER)?;
            let number = u64::try_from(number).map_err(|_| ErrorReply::ENTRIES_ADDED_NEGATIVE)?;
            added = Some(number);
        } else if args.is(at, "MAXDELETEDID") && more {
            deleted = id::strict(args.get(at + 1))?;
            if last_id < deleted {
                return Err(ErrorReply::SETID_BELOW_GIVEN_DELETED);
            }
        } else {
            return Err(ErrorReply::SYNTAX);
        }
        at += 2;
    }
    let key: Key<'_> = args.key(1);
    let stream = shard
        .write_as::<Stream>(&args.caller, &key)?
        .ok_or(ErrorReply::NO_SUCH_KEY)?;
    if last_id < stream.max_deleted_id {
        return Err(ErrorReply::SETID_BELOW_DELETED);
    }
    if let Some(top) = stream.last_entry_id() {
        if last_id < top {
            return Err(ErrorReply::SETID_BELOW_TOP);
        }
        if added.is_some_and(|added| stream.length() > added) {
            return Err(ErrorReply::SETID_FEWER_THAN_LENGTH);
        }
    }
    stream.last_id = last_id;
    if let Some(added) = added {
        stream.entries_added = added;
    }
    if deleted != StreamId::MIN {
        stream.max_deleted_id = deleted;
    }
    shard.changed_aside(args.db(), &key, Class::Stream, "xsetid", 1);
    reply.ok();
    Ok(())
}
