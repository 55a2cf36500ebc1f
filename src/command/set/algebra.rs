//! Sets out of sets: intersections, unions and differences, replied, counted or stored.
//!
//! The sets may lie on several shards. First every key is looked up in turn, as any command does (expiry, clocks, the
//! type); then all sets are read together, since nothing changes any more before the result stands.

use crate::keyspace::{KeyEntry, Kind, Value};
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shards};
use crate::structures::entry::NewValue;
use crate::structures::listpack::Item;
use crate::structures::members::Members;
use crate::structures::set::{Set, SetLimits};

use super::super::parse;
use super::super::spec::{Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run};
use super::limits;
use super::members::reply_all;

/// The keys of a command, each with whether there is such a set.
struct Sources<'a> {
    keys: Vec<(Key<'a>, bool)>,
    db: usize,
}

impl<'a> Sources<'a> {
    /// Looks up the keys from argument `from` to before `to`; the first of another type is an error.
    fn look_up(
        shards: &mut Shards<'_>,
        args: &Args<'a>,
        from: usize,
        to: usize,
    ) -> Result<Self, ErrorReply> {
        let mut keys = Vec::with_capacity(to - from);
        for key in (from..to).map(|index| args.key(index)) {
            let found = shards.of(&key).read_as::<Set>(&args.caller, &key)?;
            let found = found.is_some();
            keys.push((key, found));
        }
        Ok(Sources {
            keys,
            db: args.db(),
        })
    }

    /// The sets in the order of their keys, nothing for those that are missing.
    fn sets<'s>(&self, shards: &'s Shards<'_>) -> Vec<Option<&'s Set>> {
        let set = |key: &Key<'_>| {
            let entry = shards.at(key).keyspace.find(self.db, key);
            entry.and_then(KeyEntry::boxed).and_then(Set::of)
        };
        self.keys
            .iter()
            .map(|(key, found)| if *found { set(key) } else { None })
            .collect()
    }

    /// All sets, the smallest first, or nothing if one is missing: then nothing is in all of them.
    fn sets_to_intersect<'s>(&self, shards: &'s Shards<'_>) -> Option<Vec<&'s Set>> {
        let mut sets: Vec<&Set> = self.sets(shards).into_iter().collect::<Option<_>>()?;
        sets.sort_by_key(|set| set.len());
        Some(sets)
    }

    /// Whether all keys and `key` are on one shard, so that the command itself reproduces what it did.
    fn all_with(&self, shards: &Shards<'_>, key: &Key<'_>) -> bool {
        self.keys
            .iter()
            .all(|(other, _)| shards.together(other, key))
    }
}

/// What all of these sets have, the smallest of which is the first.
fn intersection<'s>(sets: &'s [&'s Set]) -> impl Iterator<Item = Item<'s>> {
    let (smallest, others) = sets.split_first().expect("a set at least is intersected");
    smallest
        .iter()
        .filter(move |member| others.iter().all(|set| set.contains_item(*member)))
}

/// Adds to `result`, which is empty, what any of the sets has.
fn union(sets: &[Option<&Set>], mut result: Set, limits: SetLimits) -> Set {
    for member in sets.iter().flatten().flat_map(|set| set.iter()) {
        result.add_item(member, limits);
    }
    result
}

/// Adds to `result`, which is empty, what the first set has and no other.
///
/// Either each member of the first set is looked up in the others, or the first set is copied and the members of the
/// others are taken out of the copy. The first way costs at most the first set's size times the number of sets, the second
/// the sizes of all. Redis halves the first figure, since a look-up that hits ends the search; a stored result shows by
/// its encoding which way was taken, so the choice is the same here.
fn difference(sets: &[Option<&Set>], mut result: Set, limits: SetLimits) -> Set {
    let Some((Some(first), others)) = sets.split_first() else {
        return result;
    };
    let mut others: Vec<&Set> = others.iter().copied().flatten().collect();
    if others.iter().any(|set| std::ptr::eq(*set, *first)) {
        return result;
    }
    let looking_up = first.len() * (others.len() + 1) / 2;
    let taking_out = first.len() + others.iter().map(|set| set.len()).sum::<usize>();
    if looking_up <= taking_out {
        // The biggest one is the likeliest to have a member.
        others.sort_by_key(|set| std::cmp::Reverse(set.len()));
        for member in first.iter() {
            if !others.iter().any(|set| set.contains_item(member)) {
                result.add_item(member, limits);
            }
        }
    } else {
        for member in first.iter() {
            result.add_item(member, limits);
        }
        for member in others.into_iter().flat_map(|set| set.iter()) {
            result.remove_item(member);
            if result.is_empty() {
                break;
            }
        }
    }
    result
}

/// Replies a result that is not kept. A big one is freed in steps.
fn reply_and_discard(shards: &mut Shards<'_>, result: Set, reply: &mut Reply<'_>) {
    reply_all(&result, reply);
    shards.any().discard(Box::new(Value::Set(result)));
}

/// Makes `result` the value of the first argument, or deletes that key when nothing is in it, and replies its size.
fn store(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    sources: &Sources<'_>,
    result: Set,
    event: &'static str,
    reply: &mut Reply<'_>,
) {
    let (key, db) = (args.key(1), args.db());
    let together = sources.all_with(shards, &key);
    let shard = shards.of(&key);
    let len = result.len();
    if len == 0 {
        if shard.delete(db, &key) {
            shard.changed(db, &key, Class::Generic, "del");
            if !together {
                shard.effects.record(db, &[b"DEL", key.bytes]);
            }
        }
    } else {
        let value = NewValue::Boxed(Box::new(Value::Set(result)));
        shard.put(&args.caller, &key, value, false);
        shard.changed(db, &key, Class::Set, event);
        if !together {
            shard.made_from_afar(db, &key);
        }
    }
    reply.count(len);
}

pub(super) const SINTER: Command = Command {
    name: "SINTER",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY,
    acl: Acl::SET,
    keys: &[KeySpec::range(1, -1, 1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Set,
        since: "1.0.0",
        complexity: "O(N*M) at worst, N being the members of the smallest set and M the number of sets",
        summary: "Reads the members that all of several sets have.",
        arguments: &[Argument::key("key").multiple()],
        history: &[],
        tips: &["nondeterministic_output_order"],
        deprecated: None,
    },
    run: Run::Plan(sinter),
    subcommands: &[],
};

fn sinter(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let sources = Sources::look_up(shards, args, 1, args.len())?;
    match sources.sets_to_intersect(shards).as_deref() {
        None => reply.set(0),
        Some([set]) => reply_all(set, reply),
        Some(sets) => {
            let header = reply.deferred();
            let mut count = 0;
            for member in intersection(sets) {
                reply.bulk_item(member);
                count += 1;
            }
            reply.set_at(header, count);
        }
    }
    Ok(())
}

pub(super) const SINTERCARD: Command = Command {
    name: "SINTERCARD",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY.and(Flags::MOVABLE_KEYS),
    acl: Acl::SET,
    keys: &[KeySpec::counted(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Set,
        since: "7.0.0",
        complexity: "O(N*M) at worst, N being the members of the smallest set and M the number of sets",
        summary: "Counts the members that all of several sets have, up to a limit.",
        arguments: &[
            Argument::integer("numkeys"),
            Argument::key("key").multiple(),
            Argument::integer("limit").token("LIMIT").optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(sintercard),
    subcommands: &[],
};

fn sintercard(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let keys = parse::at_least(args, 1, 1, ErrorReply::NUMKEYS_NOT_POSITIVE)?;
    if keys > args.len() as u64 - 2 {
        return Err(ErrorReply::NUMKEYS_TOO_MANY);
    }
    let options = 2 + keys as usize;
    let mut limit = 0;
    for at in (options..args.len()).step_by(2) {
        if !args.is(at, "LIMIT") || at + 1 == args.len() {
            return Err(ErrorReply::SYNTAX);
        }
        limit = parse::at_least(args, at + 1, 0, ErrorReply::LIMIT_NEGATIVE)?;
    }
    let limit = match limit {
        0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let sources = Sources::look_up(shards, args, 2, options)?;
    let count = match sources.sets_to_intersect(shards).as_deref() {
        None => 0,
        Some([set]) => set.len().min(limit),
        Some(sets) => intersection(sets).take(limit).count(),
    };
    reply.count(count);
    Ok(())
}

pub(super) const SINTERSTORE: Command = Command {
    name: "SINTERSTORE",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::SET,
    keys: &[
        KeySpec::one(1, Access::RW.and(Access::UPDATE)),
        KeySpec::range(2, -1, 1, Access::RO.and(Access::ACCESS)),
    ],
    docs: Docs {
        group: Group::Set,
        since: "1.0.0",
        complexity: "O(N*M) at worst, N being the members of the smallest set and M the number of sets",
        summary: "Stores the members that all of several sets have as a new set.",
        arguments: &[
            Argument::key("destination"),
            Argument::key_of("key", 1).multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(sinterstore),
    subcommands: &[],
};

fn sinterstore(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let limits = limits(shards.any());
    let sources = Sources::look_up(shards, args, 2, args.len())?;
    let result = match sources.sets_to_intersect(shards) {
        None => Set::new(),
        Some(sets) => {
            let mut result = Set::for_intersection(sets[0]);
            for member in intersection(&sets) {
                result.add_item(member, limits);
            }
            result.into_intset_if_integers(limits)
        }
    };
    store(shards, args, &sources, result, "sinterstore", reply);
    Ok(())
}

pub(super) const SUNION: Command = Command {
    name: "SUNION",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY,
    acl: Acl::SET,
    keys: &[KeySpec::range(1, -1, 1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Set,
        since: "1.0.0",
        complexity: "O(N), N being the members of all sets together",
        summary: "Reads the members that any of several sets has.",
        arguments: &[Argument::key("key").multiple()],
        history: &[],
        tips: &["nondeterministic_output_order"],
        deprecated: None,
    },
    run: Run::Plan(sunion),
    subcommands: &[],
};

fn sunion(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let limits = limits(shards.any());
    let sources = Sources::look_up(shards, args, 1, args.len())?;
    let sets = sources.sets(shards);
    let mut present = sets.iter().flatten();
    match (present.next(), present.next()) {
        (None, _) => reply.set(0),
        (Some(set), None) => reply_all(set, reply),
        _ => {
            let result = union(&sets, Set::Table(Members::new()), limits);
            reply_and_discard(shards, result, reply);
        }
    }
    Ok(())
}

pub(super) const SUNIONSTORE: Command = Command {
    name: "SUNIONSTORE",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::SET,
    keys: &[
        KeySpec::one(1, Access::OW.and(Access::UPDATE)),
        KeySpec::range(2, -1, 1, Access::RO.and(Access::ACCESS)),
    ],
    docs: Docs {
        group: Group::Set,
        since: "1.0.0",
        complexity: "O(N), N being the members of all sets together",
        summary: "Stores the members that any of several sets has as a new set.",
        arguments: &[
            Argument::key("destination"),
            Argument::key_of("key", 1).multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(sunionstore),
    subcommands: &[],
};

fn sunionstore(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let limits = limits(shards.any());
    let sources = Sources::look_up(shards, args, 2, args.len())?;
    let result = union(&sources.sets(shards), Set::new(), limits);
    store(shards, args, &sources, result, "sunionstore", reply);
    Ok(())
}

pub(super) const SDIFF: Command = Command {
    name: "SDIFF",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY,
    acl: Acl::SET,
    keys: &[KeySpec::range(1, -1, 1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Set,
        since: "1.0.0",
        complexity: "O(N), N being the members of all sets together",
        summary: "Reads the members of the first set that no other one has.",
        arguments: &[Argument::key("key").multiple()],
        history: &[],
        tips: &["nondeterministic_output_order"],
        deprecated: None,
    },
    run: Run::Plan(sdiff),
    subcommands: &[],
};

fn sdiff(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let limits = limits(shards.any());
    let sources = Sources::look_up(shards, args, 1, args.len())?;
    let sets = sources.sets(shards);
    match sets.split_first() {
        Some((Some(first), others)) if others.iter().all(Option::is_none) => {
            reply_all(first, reply);
        }
        _ => {
            let result = difference(&sets, Set::Table(Members::new()), limits);
            reply_and_discard(shards, result, reply);
        }
    }
    Ok(())
}

pub(super) const SDIFFSTORE: Command = Command {
    name: "SDIFFSTORE",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::SET,
    keys: &[
        KeySpec::one(1, Access::OW.and(Access::UPDATE)),
        KeySpec::range(2, -1, 1, Access::RO.and(Access::ACCESS)),
    ],
    docs: Docs {
        group: Group::Set,
        since: "1.0.0",
        complexity: "O(N), N being the members of all sets together",
        summary: "Stores the members of the first set that no other one has as a new set.",
        arguments: &[
            Argument::key("destination"),
            Argument::key_of("key", 1).multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(sdiffstore),
    subcommands: &[],
};

fn sdiffstore(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let limits = limits(shards.any());
    let sources = Sources::look_up(shards, args, 2, args.len())?;
    let result = difference(&sources.sets(shards), Set::new(), limits);
    store(shards, args, &sources, result, "sdiffstore", reply);
    Ok(())
}
