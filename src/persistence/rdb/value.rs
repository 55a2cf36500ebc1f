//! Values as they are read: element by element where the format has elements, so that a value of any size is built
//! while its bytes arrive.
//!
//! [`Building`] holds what is there so far. An element is taken whole or not at all: when bytes are missing, the input
//! goes back to where the element began, and the next call finds it again.

use std::cmp::Ordering;

use super::code::{NODE_PACKED, NODE_PLAIN, value_type};
use super::input::{Input, Text};
use super::old;
use super::problem::{Halt, Problem, What};
use super::stream::Reading;
use crate::base::number::parse_i64;
use crate::config::Config;
use crate::keyspace::Value;
use crate::structures::entry::NewValue;
use crate::structures::hash::{Hash, HashLimits};
use crate::structures::intset::Intset;
use crate::structures::list::List;
use crate::structures::listpack::{Item, Listpack, TextBuffer};
use crate::structures::quicklist::{End, Fill, Quicklist};
use crate::structures::set::{Set, SetLimits};
use crate::structures::zset::{AddOptions, Added, PackLimits, Zset};

/// Where the small forms end: what a value read becomes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Lists.
    pub list: Fill,
    /// Sets.
    pub set: SetLimits,
    /// Hashes.
    pub hash: HashLimits,
    /// Sorted sets.
    pub zset: PackLimits,
}

impl Limits {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
        Limits {
            list: Fill::new(config.list_max_listpack_size.into()),
            set: SetLimits {
                intset_entries: config.set_max_intset_entries,
                listpack_entries: config.set_max_listpack_entries,
                listpack_value: config.set_max_listpack_value,
            },
            hash: HashLimits {
                listpack_entries: config.hash_max_listpack_entries,
                listpack_value: config.hash_max_listpack_value,
            },
            zset: PackLimits {
                entries_max: config.zset_max_listpack_entries,
                value_bytes_max: config.zset_max_listpack_value,
            },
        }
    }
}

/// A value read.
#[derive(Debug)]
pub enum Content {
    /// A string that is a canonical integer.
    Int(i64),
    /// Any other string.
    Bytes(Vec<u8>),
    /// A value of another type.
    Value(Box<Value>),
    /// A structure without elements: no key may hold it.
    Empty,
    /// A value as it stands in the file, to be decoded by whoever takes it.
    Raw(Raw),
}

/// A value as it stands in a file.
#[derive(Clone, Debug)]
pub struct Raw {
    kind: u8,
    bytes: Vec<u8>,
    /// Where it begins in the file.
    offset: u64,
}

impl Raw {
    /// Takes a whole value out of the input as it is, if it is no longer than `bytes_max` and its type is one whose
    /// length shows without decoding it. Asks for more bytes while it may still turn out to be so.
    pub(super) fn cut(
        kind: u8,
        input: &mut Input<'_>,
        bytes_max: usize,
    ) -> Result<Option<Raw>, Halt> {
        let (at, offset, at_hand) = (input.at, input.offset(), input.left());
        match skip(kind, input) {
            Ok(()) if input.at - at <= bytes_max => {
                let bytes = input.since(at).to_vec();
                return Ok(Some(Raw {
                    kind,
                    bytes,
                    offset,
                }));
            }
            Err(Halt::More(more)) if at_hand < bytes_max => return Err(Halt::More(more)),
            // What is wrong shows again where it is decoded.
            _ => {}
        }
        input.at = at;
        Ok(None)
    }

    /// Bytes it takes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it takes none, which no value does.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The value.
    pub fn decode(&self, limits: &Limits) -> Result<Content, Problem> {
        let mut input = Input::new(&self.bytes, self.offset, true);
        let decoded = Building::begin(self.kind, &mut input, limits)
            .and_then(|mut building| building.go_on(&mut input, limits));
        decoded.map_err(|halt| match halt {
            Halt::Bad(problem) => problem,
            Halt::More(_) => Problem {
                offset: self.offset,
                what: What::Truncated,
            },
        })
    }
}

/// Passes over a value. What is empty, unknown or a stream is refused: it is decoded where it is read.
fn skip(kind: u8, input: &mut Input<'_>) -> Result<(), Halt> {
    use value_type::*;
    let elements = match kind {
        STRING | HASH_ZIPMAP | LIST_ZIPLIST | SET_INTSET | ZSET_ZIPLIST | HASH_ZIPLIST
        | HASH_LISTPACK | ZSET_LISTPACK | SET_LISTPACK => 1,
        LIST | SET | HASH | ZSET | ZSET_2 | LIST_QUICKLIST | LIST_QUICKLIST_2 => input.length()?,
        _ => 0,
    };
    if elements == 0 {
        return Err(input.bad(What::Type(kind)));
    }
    for _ in 0..elements {
        match kind {
            LIST_QUICKLIST_2 => {
                input.length()?;
                input.skip_string()?;
            }
            HASH => {
                input.skip_string()?;
                input.skip_string()?;
            }
            ZSET => {
                input.skip_string()?;
                input.text_score()?;
            }
            ZSET_2 => {
                input.skip_string()?;
                input.f64_le()?;
            }
            _ => input.skip_string()?,
        }
    }
    Ok(())
}

impl Content {
    fn of_string(text: Text<'_>) -> Content {
        match text {
            Text::Int(value) => Content::Int(value),
            Text::Bytes(bytes) => match parse_i64(&bytes) {
                Some(value) if bytes.len() <= 20 => Content::Int(value),
                _ => Content::Bytes(bytes.into_owned()),
            },
        }
    }

    fn of(value: Value) -> Content {
        if value.elements() == 0 {
            Content::Empty
        } else {
            Content::Value(Box::new(value))
        }
    }

    /// As something to be put into an entry.
    ///
    /// # Panics
    /// If it is empty or raw.
    pub fn into_new(self) -> NewValue<'static, Value> {
        match self {
            Content::Int(value) => NewValue::Int(value),
            Content::Bytes(bytes) => NewValue::Long(Box::new(bytes)),
            Content::Value(value) => NewValue::Boxed(value),
            Content::Empty => panic!("an empty structure is no value"),
            Content::Raw(_) => panic!("a raw value is decoded first"),
        }
    }

    /// Bytes of what has yet to be decoded.
    pub fn raw_len(&self) -> usize {
        match self {
            Content::Raw(raw) => raw.len(),
            Content::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }

    /// The same, a short string by reference so that it comes to lie beside its key.
    ///
    /// # Panics
    /// If it is empty.
    pub fn with_new<R>(self, put: impl FnOnce(NewValue<'_, Value>) -> R) -> R {
        match self {
            Content::Bytes(bytes) if bytes.len() <= crate::structures::entry::INLINE_MAX => {
                put(NewValue::Bytes(&bytes))
            }
            other => put(other.into_new()),
        }
    }
}

/// A value of which a part is there.
pub(super) enum Building {
    /// One piece: nothing is there before all of it is.
    Whole(u8),
    List {
        left: u64,
        list: Quicklist,
    },
    Nodes {
        left: u64,
        list: Quicklist,
        kind: u8,
    },
    Set {
        left: u64,
        set: Set,
    },
    Hash {
        left: u64,
        hash: Hash,
    },
    Zset {
        left: u64,
        zset: Zset,
        kind: u8,
    },
    Stream(Box<Reading>),
}

/// Sorted sets that come member by member are trees until all are there: a listpack finds each place by walking.
const TREE: PackLimits = PackLimits {
    entries_max: 0,
    value_bytes_max: 0,
};

impl Building {
    /// Begins a value of this type.
    pub fn begin(kind: u8, input: &mut Input<'_>, limits: &Limits) -> Result<Building, Halt> {
        use value_type::*;
        Ok(match kind {
            LIST => Building::List {
                left: input.length()?,
                list: Quicklist::new(),
            },
            LIST_QUICKLIST | LIST_QUICKLIST_2 => Building::Nodes {
                left: input.length()?,
                list: Quicklist::new(),
                kind,
            },
            SET => {
                let left = input.length()?;
                let mut set = Set::new();
                if left > limits.set.intset_entries.max(limits.set.listpack_entries) as u64 {
                    set.convert_to_table();
                }
                Building::Set { left, set }
            }
            HASH => {
                let left = input.length()?;
                let mut hash = Hash::new();
                if left > limits.hash.listpack_entries as u64 {
                    hash.convert_to_table();
                }
                Building::Hash { left, hash }
            }
            ZSET | ZSET_2 => Building::Zset {
                left: input.length()?,
                zset: Zset::for_contents(1, 1, TREE),
                kind,
            },
            STREAM | STREAM_2 | STREAM_3 => {
                Building::Stream(Box::new(Reading::begin(kind, input)?))
            }
            STRING | HASH_ZIPMAP | LIST_ZIPLIST | SET_INTSET | ZSET_ZIPLIST | HASH_ZIPLIST
            | HASH_LISTPACK | ZSET_LISTPACK | SET_LISTPACK => Building::Whole(kind),
            MODULE | MODULE_2 => {
                let at = input.at;
                let (name, version) = module_name(input.length()?);
                return Err(input.bad_at(at, What::Module(name, version)));
            }
            _ => return Err(input.bad(What::Type(kind))),
        })
    }

    /// Goes on with what is at hand; the value when it is complete.
    pub fn go_on(&mut self, input: &mut Input<'_>, limits: &Limits) -> Result<Content, Halt> {
        loop {
            let before = input.at;
            match self.step(input, limits) {
                Ok(false) => {}
                Ok(true) => return self.finish(input, limits),
                Err(halt) => {
                    if let Halt::More(_) = halt {
                        input.at = before;
                    }
                    return Err(halt);
                }
            }
            if let Building::Whole(kind) = *self {
                return match whole(kind, input, limits) {
                    Err(Halt::More(more)) => {
                        input.at = before;
                        Err(Halt::More(more))
                    }
                    other => other,
                };
            }
        }
    }

    /// Takes one element; true when there was none left.
    fn step(&mut self, input: &mut Input<'_>, limits: &Limits) -> Result<bool, Halt> {
        let (mut one, mut two) = (TextBuffer::new(), TextBuffer::new());
        let at = input.at;
        let left = match self {
            Building::Whole(_) => return Ok(false),
            Building::Stream(reading) => return reading.step(input),
            Building::List { left, list } => {
                if *left > 0 {
                    list.push(End::Tail, input.string()?.bytes(&mut one), limits.list);
                }
                left
            }
            Building::Nodes { left, list, kind } => {
                if *left > 0 {
                    node(input, list, *kind)?;
                }
                left
            }
            Building::Set { left, set } => {
                if *left > 0 && !set.add(input.string()?.bytes(&mut one), limits.set) {
                    return Err(input.bad_at(at, What::Duplicate));
                }
                left
            }
            Building::Hash { left, hash } => {
                if *left > 0 {
                    let field = input.string()?;
                    let value = input.string()?;
                    let (field, value) = (field.bytes(&mut one), value.bytes(&mut two));
                    if !hash.set(field, value, limits.hash) {
                        return Err(input.bad_at(at, What::Duplicate));
                    }
                }
                left
            }
            Building::Zset { left, zset, kind } => {
                if *left > 0 {
                    let member = input.string()?;
                    let score = if *kind == value_type::ZSET {
                        input.text_score()?
                    } else {
                        input.score()?
                    };
                    let member = member.bytes(&mut one);
                    let Added::New(_) = zset.add(member, score, AddOptions::default(), TREE) else {
                        return Err(input.bad_at(at, What::Duplicate));
                    };
                }
                left
            }
        };
        if *left == 0 {
            return Ok(true);
        }
        *left -= 1;
        Ok(false)
    }

    fn finish(&mut self, input: &Input<'_>, limits: &Limits) -> Result<Content, Halt> {
        let done = std::mem::replace(self, Building::Whole(0));
        Ok(Content::of(match done {
            Building::List { list, .. } | Building::Nodes { list, .. } => {
                Value::List(List::loaded(list, limits.list))
            }
            Building::Set { set, .. } => Value::Set(set),
            Building::Hash { hash, .. } => Value::Hash(hash),
            Building::Zset { mut zset, .. } => {
                zset.pack_if_small(limits.zset);
                Value::Zset(zset)
            }
            Building::Stream(reading) => {
                // A stream without entries is a stream.
                let stream = Box::new(reading.finish(input)?);
                return Ok(Content::Value(Box::new(Value::Stream(stream))));
            }
            Building::Whole(_) => unreachable!("a value of one piece has no steps"),
        }))
    }
}

/// A module's type: nine letters of six bits each, then ten bits of version.
pub(super) fn module_name(id: u64) -> (String, u16) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |at: u32| char::from(LETTERS[(id >> (58 - 6 * at) & 0x3f) as usize]);
    ((0..9).map(letter).collect(), (id & 0x3ff) as u16)
}

/// One node of a quicklist.
fn node(input: &mut Input<'_>, list: &mut Quicklist, kind: u8) -> Result<(), Halt> {
    let at = input.at;
    if kind == value_type::LIST_QUICKLIST {
        let blob = input.blob()?;
        let pack = old::ziplist(&blob).map_err(|error| input.bad_at(at, What::Ziplist(error)))?;
        list.append_listpack(pack);
        return Ok(());
    }
    match input.length()? {
        NODE_PLAIN => {
            let element = input.string()?.into_vec();
            if element.is_empty() {
                return Err(input.bad_at(at, What::Odd));
            }
            list.append_plain(element.into());
        }
        NODE_PACKED => {
            let pack = listpack(input, at)?;
            list.append_listpack(pack);
        }
        other => return Err(input.bad_at(at, What::Container(other))),
    }
    Ok(())
}

fn listpack(input: &mut Input<'_>, at: usize) -> Result<Listpack, Halt> {
    let blob = input.blob()?;
    Listpack::from_bytes(&blob).map_err(|error| input.bad_at(at, What::Listpack(error)))
}

fn ziplist(input: &mut Input<'_>, at: usize) -> Result<Listpack, Halt> {
    let blob = input.blob()?;
    old::ziplist(&blob).map_err(|error| input.bad_at(at, What::Ziplist(error)))
}

/// A value of one piece.
fn whole(kind: u8, input: &mut Input<'_>, limits: &Limits) -> Result<Content, Halt> {
    use value_type::*;
    let at = input.at;
    Ok(Content::of(match kind {
        STRING => return Ok(Content::of_string(input.string()?)),
        SET_INTSET => {
            let blob = input.blob()?;
            let intset =
                Intset::from_bytes(&blob).map_err(|error| input.bad_at(at, What::Intset(error)))?;
            Value::Set(Set::from_intset(intset, limits.set))
        }
        SET_LISTPACK => {
            let pack = listpack(input, at)?;
            let set = Set::from_listpack(pack, limits.set);
            Value::Set(set.ok_or_else(|| input.bad_at(at, What::Duplicate))?)
        }
        LIST_ZIPLIST => {
            let mut list = Quicklist::new();
            list.append_listpack(ziplist(input, at)?);
            Value::List(List::loaded(list, limits.list))
        }
        HASH_LISTPACK => {
            let pack = listpack(input, at)?;
            hash(pack, input, at, limits, false)?
        }
        HASH_ZIPLIST => {
            let pack = ziplist(input, at)?;
            hash(pack, input, at, limits, true)?
        }
        HASH_ZIPMAP => {
            let blob = input.blob()?;
            let pack = old::zipmap(&blob).map_err(|error| input.bad_at(at, What::Zipmap(error)))?;
            hash(pack, input, at, limits, true)?
        }
        ZSET_LISTPACK => {
            let pack = listpack(input, at)?;
            zset(pack, input, at, limits, false)?
        }
        ZSET_ZIPLIST => {
            let pack = ziplist(input, at)?;
            zset(pack, input, at, limits, true)?
        }
        other => return Err(input.bad_at(at, What::Type(other))),
    }))
}

/// A hash of pairs. In old forms values may be longer than a listpack may hold today.
fn hash(
    pack: Listpack,
    input: &Input<'_>,
    at: usize,
    limits: &Limits,
    old: bool,
) -> Result<Value, Halt> {
    if !pack.len().is_multiple_of(2) {
        return Err(input.bad_at(at, What::Odd));
    }
    let longest = || pack.iter().map(|item| item.text_len()).max();
    let too_long = old && longest().is_some_and(|len| len > limits.hash.listpack_value);
    let mut hash =
        Hash::from_listpack(pack, limits.hash).ok_or_else(|| input.bad_at(at, What::Duplicate))?;
    if too_long {
        hash.convert_to_table();
    }
    Ok(Value::Hash(hash))
}

/// A sorted set of pairs, which should be in order but are not believed to be.
fn zset(
    pack: Listpack,
    input: &Input<'_>,
    at: usize,
    limits: &Limits,
    old: bool,
) -> Result<Value, Halt> {
    if !pack.len().is_multiple_of(2) {
        return Err(input.bad_at(at, What::Odd));
    }
    let entries = pack.len() / 2;
    let longest = || pack.iter().step_by(2).map(|item| item.text_len()).max();
    let fits = entries <= limits.zset.entries_max
        && !(old && longest().is_some_and(|len| len > limits.zset.value_bytes_max));
    if fits
        && names_differ(&pack)
        && let Some(zset) = Zset::from_listpack(pack.clone())
    {
        return Ok(Value::Zset(zset));
    }
    // Sorting it out takes a tree, which also finds names that occur twice with different scores.
    let mut tree = Zset::for_contents(1, 1, TREE);
    let mut items = pack.iter();
    while let (Some(member), Some(score)) = (items.next(), items.next()) {
        let (mut one, mut two) = (TextBuffer::new(), TextBuffer::new());
        let score = crate::base::number::parse_f64_bound(score.text(&mut two))
            .ok_or_else(|| input.bad_at(at, What::Score))?;
        let added = tree.add(member.text(&mut one), score, AddOptions::default(), TREE);
        let Added::New(_) = added else {
            return Err(input.bad_at(at, What::Duplicate));
        };
    }
    tree.pack_if_small(limits.zset);
    Ok(Value::Zset(tree))
}

/// Whether no name occurs twice in a row of names and scores.
fn names_differ(pack: &Listpack) -> bool {
    let mut names: Vec<Item<'_>> = pack.iter().step_by(2).collect();
    // Equal texts are equal items, since a canonical integer is never kept as bytes.
    names.sort_unstable_by(|a, b| match (a, b) {
        (Item::Int(a), Item::Int(b)) => a.cmp(b),
        (Item::Bytes(a), Item::Bytes(b)) => a.cmp(b),
        (Item::Int(_), Item::Bytes(_)) => Ordering::Less,
        (Item::Bytes(_), Item::Int(_)) => Ordering::Greater,
    });
    names.windows(2).all(|pair| pair[0] != pair[1])
}
