//! ZUNION, ZINTER, ZDIFF, their STORE forms and ZINTERCARD: sorted sets, and sets with every score 1, combined.
//!
//! All shards concerned are at hand, so the inputs are read where they lie; only the result is gathered, as names that
//! still point into the inputs.

use std::cmp::Ordering;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::base::hash::hash;
use crate::base::number::parse_f64;
use crate::command::parse;
use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};
use crate::keyspace::{KeyEntry, Value};
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Shard, Shards};
use crate::structures::listpack::{Item, TextBuffer};
use crate::structures::set::Set;
use crate::structures::zset::{Pair, Zset};

use super::bounds::{open_members, pack_limits, write_member};
use super::store::store;

pub(super) const ZUNION: Command = Command {
    name: "ZUNION",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY.and(Flags::MOVABLE_KEYS),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::counted(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.",
        summary: "Replies the union of sorted sets.",
        arguments: &[
            Argument::integer("numkeys"),
            Argument::key("key").multiple(),
            Argument::integer("weight")
                .token("WEIGHTS")
                .optional()
                .multiple(),
            Argument::one_of(
                "aggregate",
                &[
                    Argument::word("sum", "SUM"),
                    Argument::word("min", "MIN"),
                    Argument::word("max", "MAX"),
                ],
            )
            .token("AGGREGATE")
            .optional(),
            Argument::word("withscores", "WITHSCORES").optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(zunion),
    subcommands: &[],
};

pub(super) const ZINTER: Command = Command {
    name: "ZINTER",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY.and(Flags::MOVABLE_KEYS),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::counted(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.",
        summary: "Replies the intersection of sorted sets.",
        arguments: &[
            Argument::integer("numkeys"),
            Argument::key("key").multiple(),
            Argument::integer("weight")
                .token("WEIGHTS")
                .optional()
                .multiple(),
            Argument::one_of(
                "aggregate",
                &[
                    Argument::word("sum", "SUM"),
                    Argument::word("min", "MIN"),
                    Argument::word("max", "MAX"),
                ],
            )
            .token("AGGREGATE")
            .optional(),
            Argument::word("withscores", "WITHSCORES").optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(zinter),
    subcommands: &[],
};

pub(super) const ZDIFF: Command = Command {
    name: "ZDIFF",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY.and(Flags::MOVABLE_KEYS),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::counted(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.",
        summary: "Replies the members of the first sorted set that are in none of the others.",
        arguments: &[
            Argument::integer("numkeys"),
            Argument::key("key").multiple(),
            Argument::word("withscores", "WITHSCORES").optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(zdiff),
    subcommands: &[],
};

pub(super) const ZINTERCARD: Command = Command {
    name: "ZINTERCARD",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY.and(Flags::MOVABLE_KEYS),
    acl: Acl::SORTEDSET,
    keys: &[KeySpec::counted(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::SortedSet,
        since: "7.0.0",
        complexity: "O(N*K) worst case with N being the smallest input sorted set, K being the number of input sorted sets.",
        summary: "Counts the members of the intersection of sorted sets.",
        arguments: &[
            Argument::integer("numkeys"),
            Argument::key("key").multiple(),
            Argument::integer("limit").token("LIMIT").optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(zintercard),
    subcommands: &[],
};

pub(super) const ZUNIONSTORE: Command = Command {
    name: "ZUNIONSTORE",
    arity: Arity::AtLeast(4),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLE_KEYS),
    acl: Acl::SORTEDSET,
    keys: &[
        KeySpec::one(1, Access::OW.and(Access::UPDATE)),
        KeySpec::counted(2, Access::RO.and(Access::ACCESS)),
    ],
    docs: Docs {
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.",
        summary: "Stores the union of sorted sets under a key.",
        arguments: &[
            Argument::key("destination"),
            Argument::integer("numkeys"),
            Argument::key_of("key", 1).multiple(),
            Argument::integer("weight")
                .token("WEIGHTS")
                .optional()
                .multiple(),
            Argument::one_of(
                "aggregate",
                &[
                    Argument::word("sum", "SUM"),
                    Argument::word("min", "MIN"),
                    Argument::word("max", "MAX"),
                ],
            )
            .token("AGGREGATE")
            .optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(zunionstore),
    subcommands: &[],
};

pub(super) const ZINTERSTORE: Command = Command {
    name: "ZINTERSTORE",
    arity: Arity::AtLeast(4),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLE_KEYS),
    acl: Acl::SORTEDSET,
    keys: &[
        KeySpec::one(1, Access::OW.and(Access::UPDATE)),
        KeySpec::counted(2, Access::RO.and(Access::ACCESS)),
    ],
    docs: Docs {
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.",
        summary: "Stores the intersection of sorted sets under a key.",
        arguments: &[
            Argument::key("destination"),
            Argument::integer("numkeys"),
            Argument::key_of("key", 1).multiple(),
            Argument::integer("weight")
                .token("WEIGHTS")
                .optional()
                .multiple(),
            Argument::one_of(
                "aggregate",
                &[
                    Argument::word("sum", "SUM"),
                    Argument::word("min", "MIN"),
                    Argument::word("max", "MAX"),
                ],
            )
            .token("AGGREGATE")
            .optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(zinterstore),
    subcommands: &[],
};

pub(super) const ZDIFFSTORE: Command = Command {
    name: "ZDIFFSTORE",
    arity: Arity::AtLeast(4),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLE_KEYS),
    acl: Acl::SORTEDSET,
    keys: &[
        KeySpec::one(1, Access::OW.and(Access::UPDATE)),
        KeySpec::counted(2, Access::RO.and(Access::ACCESS)),
    ],
    docs: Docs {
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.",
        summary: "Stores the difference of sorted sets under a key.",
        arguments: &[
            Argument::key("destination"),
            Argument::integer("numkeys"),
            Argument::key_of("key", 1).multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(zdiffstore),
    subcommands: &[],
};

/// What becomes of the inputs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// Which command asks: what its options are and where its keys begin follows.
#[derive(Clone, Copy)]
struct Form {
    operation: Operation,
    name: &'static str,
    target: Target,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Reply,
    Key,
    Count,
}

fn zunion(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    combine(
        shards,
        args,
        Operation::Union,
        Target::Reply,
        "zunion",
        reply,
    )
}

fn zinter(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    combine(
        shards,
        args,
        Operation::Inter,
        Target::Reply,
        "zinter",
        reply,
    )
}

fn zdiff(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    combine(shards, args, Operation::Diff, Target::Reply, "zdiff", reply)
}

fn zintercard(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    combine(
        shards,
        args,
        Operation::Inter,
        Target::Count,
        "zintercard",
        reply,
    )
}

fn zunionstore(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    combine(
        shards,
        args,
        Operation::Union,
        Target::Key,
        "zunionstore",
        reply,
    )
}

fn zinterstore(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    combine(
        shards,
        args,
        Operation::Inter,
        Target::Key,
        "zinterstore",
        reply,
    )
}

fn zdiffstore(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    combine(
        shards,
        args,
        Operation::Diff,
        Target::Key,
        "zdiffstore",
        reply,
    )
}

fn combine(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    operation: Operation,
    target: Target,
    name: &'static str,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let form = Form {
        operation,
        name,
        target,
    };
    let numkeys_at = if target == Target::Key { 2 } else { 1 };
    let keys = combine_keys(args, numkeys_at, form)?;
    // Counts hits, moves clocks, deletes what has expired; and a wrong type comes before wrong options.
    for key in &keys {
        if let Some(entry) = shards.of(key).read(&args.caller, key)
            && Source::of(entry).is_none()
        {
            return Err(ErrorReply::WRONG_TYPE);
        }
    }
    let options = combine_options(args, numkeys_at + 1 + keys.len(), keys.len(), form)?;
    let limits = pack_limits(shards.any());
    let total = shards.total();
    let held: Vec<&Shard> = shards.iter_mut().map(|shard| &*shard).collect();
    let mut inputs: Vec<Input<'_>> = keys
        .iter()
        .zip(&options.weights)
        .map(|(key, &weight)| Input {
            source: Source::find(&held, total, args.db(), key),
            weight,
        })
        .collect();
    let result = match operation {
        Operation::Diff => diff(&inputs),
        Operation::Union => {
            sort_inputs(&mut inputs);
            union(&inputs, options.aggregate)
        }
        Operation::Inter => {
            sort_inputs(&mut inputs);
            let members = inter(&inputs, options.aggregate);
            if target == Target::Count {
                reply.count(members.take(options.limit).count());
                return Ok(());
            }
            members.collect()
        }
    };
    let result = in_order(result);
    if target == Target::Reply {
        open_members(reply, result.len(), options.with_scores);
        for &member in &result {
            write_member(reply, member, options.with_scores);
        }
        return Ok(());
    }
    let result = Zset::of_rising(result.iter().copied(), limits);
    let destination = args.key(1);
    let together = keys.iter().all(|key| shards.together(&destination, key));
    store(shards, args, &destination, result, name, together, reply);
    Ok(())
}

/// The keys counted by the argument at `at`.
fn combine_keys<'a>(args: &Args<'a>, at: usize, form: Form) -> Result<Vec<Key<'a>>, ErrorReply> {
    let count = parse::integer(args, at)?;
    if count < 1 {
        return Err(ErrorReply::input_key_needed(form.name));
    }
    match usize::try_from(count) {
        Ok(count) if count < args.len() - at => {
            Ok((at + 1..=at + count).map(|at| args.key(at)).collect())
        }
        _ => Err(ErrorReply::SYNTAX),
    }
}

/// How scores of the same member become one.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn join(self, one: f64, other: f64) -> f64 {
        match self {
            Aggregate::Sum => number_or_zero(one + other),
            Aggregate::Min if other < one => other,
            Aggregate::Max if other > one => other,
            _ => one,
        }
    }
}

/// Opposite infinities add up to zero, and so does zero times infinity.
fn number_or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

struct Options {
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Members to count at most.
    limit: usize,
}

fn combine_options(
    args: &Args<'_>,
    from: usize,
    keys: usize,
    form: Form,
) -> Result<Options, ErrorReply> {
    let mut options = Options {
        weights: vec![1.0; keys],
        aggregate: Aggregate::Sum,
        with_scores: false,
        limit: usize::MAX,
    };
    let counts = form.target == Target::Count;
    let weighs = form.operation != Operation::Diff && !counts;
    let mut at = from;
    while at < args.len() {
        let left = args.len() - at;
        if weighs && left > keys && args.is(at, "WEIGHTS") {
            for (weight, text) in options.weights.iter_mut().zip(args.iter_from(at + 1)) {
                *weight = parse_f64(text).ok_or(ErrorReply::WEIGHT_NOT_FLOAT)?;
            }
            at += 1 + keys;
        } else if weighs && left >= 2 && args.is(at, "AGGREGATE") {
            options.aggregate = match at + 1 {
                word if args.is(word, "SUM") => Aggregate::Sum,
                word if args.is(word, "MIN") => Aggregate::Min,
                word if args.is(word, "MAX") => Aggregate::Max,
                _ => return Err(ErrorReply::SYNTAX),
            };
            at += 2;
        } else if form.target == Target::Reply && args.is(at, "WITHSCORES") {
            options.with_scores = true;
            at += 1;
        } else if counts && left >= 2 && args.is(at, "LIMIT") {
            options.limit = match parse::at_least(args, at + 1, 0, ErrorReply::LIMIT_NEGATIVE)? {
                0 => usize::MAX,
                limit => limit as usize,
            };
            at += 2;
        } else {
            return Err(ErrorReply::SYNTAX);
        }
    }
    Ok(options)
}

/// An input where it lies.
#[derive(Clone, Copy)]
enum Source<'a> {
    Missing,
    Zset(&'a Zset),
    Set(&'a Set),
}

struct Input<'a> {
    source: Source<'a>,
    weight: f64,
}

impl<'a> Source<'a> {
    /// The structure of an entry, when it is one that may be combined.
    fn of(entry: &'a KeyEntry) -> Option<Source<'a>> {
        match entry.boxed()? {
            Value::Zset(zset) => Some(Source::Zset(zset)),
            Value::Set(set) => Some(Source::Set(set)),
            _ => None,
        }
    }

    fn find(held: &[&'a Shard], total: usize, db: usize, key: &Key<'_>) -> Source<'a> {
        let index = usize::from(key.slot) % total;
        held.iter()
            .find(|shard| shard.index == index)
            .and_then(|shard| {
                let entry = shard.keyspace.find(db, key)?;
                Source::of(entry).filter(|_| !shard.is_due(entry))
            })
            .unwrap_or(Source::Missing)
    }

    fn len(self) -> usize {
        match self {
            Source::Missing => 0,
            Source::Zset(zset) => zset.len(),
            Source::Set(set) => set.len(),
        }
    }

    /// The members, integers as such wherever they lie, so that names of different inputs compare.
    fn members(self) -> Box<dyn Iterator<Item = Pair<'a>> + 'a> {
        let named = |name| match name {
            Item::Bytes(bytes) => Item::of(bytes),
            integer => integer,
        };
        match self {
            Source::Missing => Box::new(std::iter::empty()),
            Source::Zset(zset) => Box::new(
                zset.iter(0..zset.len())
                    .map(move |(name, score)| (named(name), score)),
            ),
            Source::Set(set) => Box::new(set.iter().map(move |name| (named(name), 1.0))),
        }
    }

    fn score(self, name: Item<'_>) -> Option<f64> {
        match self {
            Source::Missing => None,
            Source::Zset(zset) => zset.score(name.text(&mut TextBuffer::new())),
            Source::Set(set) => set.contains_item(name).then_some(1.0),
        }
    }
}

/// Smallest first, as Redis sorts them: it saves look-ups, and the order in which floats are added shows.
fn sort_inputs(inputs: &mut [Input<'_>]) {
    inputs.sort_by_key(|input| input.source.len());
}

fn union<'a>(inputs: &[Input<'a>], aggregate: Aggregate) -> Vec<Pair<'a>> {
    let largest = inputs.last().map_or(0, |input| input.source.len());
    let mut all: HashTable<Pair<'a>> = HashTable::with_capacity(largest);
    let hash_of = |(name, _): &Pair<'_>| hash(name.text(&mut TextBuffer::new()));
    for input in inputs {
        for (name, score) in input.source.members() {
            let score = number_or_zero(input.weight * score);
            let member = (name, score);
            match all.entry(hash_of(&member), |(other, _)| *other == name, hash_of) {
                Entry::Occupied(mut known) => {
                    let known = &mut known.get_mut().1;
                    *known = aggregate.join(*known, score);
                }
                Entry::Vacant(place) => {
                    place.insert(member);
                }
            }
        }
    }
    all.into_iter().collect()
}

/// Members that are in all inputs.
fn inter<'a>(inputs: &[Input<'a>], aggregate: Aggregate) -> impl Iterator<Item = Pair<'a>> {
    let (first, others) = inputs.split_first().expect("numkeys is 1 or more");
    first.source.members().filter_map(move |(name, score)| {
        let mut joined = number_or_zero(first.weight * score);
        for other in others {
            joined = aggregate.join(joined, other.weight * other.source.score(name)?);
        }
        Some((name, joined))
    })
}

/// Members of the first input that are in none of the others.
fn diff<'a>(inputs: &[Input<'a>]) -> Vec<Pair<'a>> {
    let (first, others) = inputs.split_first().expect("numkeys is 1 or more");
    first
        .source
        .members()
        .filter(|(name, _)| {
            others
                .iter()
                .all(|other| other.source.score(*name).is_none())
        })
        .collect()
}

/// Sorts by score and then by name.
pub(in crate::command) fn in_order(mut members: Vec<Pair<'_>>) -> Vec<Pair<'_>> {
    members.sort_unstable_by(|(name, score), (other_name, other_score)| {
        let scores = score.partial_cmp(other_score).unwrap_or(Ordering::Equal);
        scores.then_with(|| {
            let (mut buffer, mut other_buffer) = (TextBuffer::new(), TextBuffer::new());
            name.text(&mut buffer)
                .cmp(other_name.text(&mut other_buffer))
        })
    });
    members
}
