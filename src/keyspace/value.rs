//! What a key other than a string holds.

use super::db::KeyEntry;
use crate::base::sys;
use crate::structures::entry::Payload;
use crate::structures::hash::Hash;
use crate::structures::list::List;
use crate::structures::quicklist;
use crate::structures::set::Set;
use crate::structures::stream::Stream;
use crate::structures::zset::Zset;

/// Elements that stand for all when it is asked how big a value is.
const SIZE_SAMPLES: usize = 16;

/// A value of a type other than string (strings lie in the entry itself).
pub enum Value {
    /// LPUSH and friends.
    List(List),
    /// SADD and friends.
    Set(Set),
    /// HSET and friends.
    Hash(Hash),
    /// ZADD and friends.
    Zset(Zset),
    /// XADD and friends.
    Stream(Box<Stream>),
}

impl Value {
    /// The word that TYPE replies.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::List(_) => "list",
            Value::Set(_) => "set",
            Value::Hash(_) => "hash",
            Value::Zset(_) => "zset",
            Value::Stream(_) => "stream",
        }
    }

    /// The word that OBJECT ENCODING replies.
    pub fn encoding_name(&self) -> &'static str {
        match self {
            Value::List(list) => list.encoding_name(),
            Value::Set(set) => set.encoding_name(),
            Value::Hash(hash) => hash.encoding_name(),
            Value::Zset(zset) => zset.encoding_name(),
            Value::Stream(_) => "stream",
        }
    }

    /// Elements held, of a stream nodes and the like: what freeing the value costs.
    pub fn elements(&self) -> usize {
        match self {
            Value::List(list) => list.len(),
            Value::Set(set) => set.len(),
            Value::Hash(hash) => hash.len(),
            Value::Zset(zset) => zset.len(),
            Value::Stream(stream) => stream.weight(),
        }
    }

    /// A second, independent instance in the same encoding (COPY).
    pub fn copy(&self) -> Value {
        match self {
            Value::List(list) => Value::List(list.clone()),
            Value::Set(Set::Intset(intset)) => Value::Set(Set::Intset(intset.clone())),
            Value::Set(Set::Listpack(pack)) => Value::Set(Set::Listpack(pack.clone())),
            Value::Set(Set::Table(table)) => Value::Set(Set::Table(table.copy())),
            Value::Hash(Hash::Listpack(pack)) => Value::Hash(Hash::Listpack(pack.clone())),
            Value::Hash(Hash::Table(table)) => Value::Hash(Hash::Table(table.copy())),
            Value::Zset(zset) => Value::Zset(zset.copy()),
            Value::Stream(stream) => Value::Stream(stream.clone()),
        }
    }

    /// Bytes on the heap, estimated from `samples` elements or nodes (0: all of them): MEMORY USAGE.
    pub fn allocated(&self, samples: usize) -> usize {
        match self {
            Value::List(list) => list.allocated(samples),
            Value::Set(set) => set.allocated(samples),
            Value::Hash(hash) => hash.allocated(samples),
            Value::Zset(zset) => zset.allocated(samples),
            Value::Stream(stream) => stream.allocated(samples),
        }
    }

    // The walk of a value against a cut: what is written down of it in steps is what it was when the walk began, while
    // commands go on changing it. Small forms have none.

    /// Whether the value takes so little that it is written down at once: a packed form, or few elements of few bytes.
    pub fn is_small(&self, elements_max: usize, bytes_max: usize) -> bool {
        match self {
            Value::List(List::Packed(_))
            | Value::Set(Set::Intset(_) | Set::Listpack(_))
            | Value::Hash(Hash::Listpack(_)) => true,
            Value::Zset(zset) if zset.as_listpack().is_some() => true,
            _ => self.elements() <= elements_max && self.allocated(SIZE_SAMPLES) <= bytes_max,
        }
    }

    /// Fixes a cut.
    pub fn begin_walk(&mut self) {
        match self {
            Value::List(List::Quick(list)) => list.begin_walk(),
            Value::Set(Set::Table(members)) | Value::Hash(Hash::Table(members)) => {
                members.begin_walk();
            }
            Value::Zset(zset) => zset.begin_walk(),
            Value::Stream(stream) => stream.begin_walk(),
            Value::List(_) | Value::Set(_) | Value::Hash(_) => {}
        }
    }

    /// Whether a walk is under way.
    pub fn is_walking(&self) -> bool {
        match self {
            Value::List(List::Quick(list)) => list.is_walking(),
            Value::Set(set) => set.is_walking(),
            Value::Hash(hash) => hash.is_walking(),
            Value::Zset(zset) => zset.is_walking(),
            Value::Stream(stream) => stream.is_walked(),
            Value::List(List::Packed(_)) => false,
        }
    }

    /// Bytes that are kept only because of a walk.
    pub fn walk_kept_bytes(&self) -> usize {
        match self {
            Value::List(List::Quick(list)) => list.walk_kept_bytes(),
            Value::Set(Set::Table(members)) | Value::Hash(Hash::Table(members)) => {
                members.walk_kept_bytes()
            }
            Value::Zset(zset) => zset.walk_kept_bytes(),
            Value::Stream(stream) => stream.walk_kept_bytes(),
            Value::List(_) | Value::Set(_) | Value::Hash(_) => 0,
        }
    }

    /// Gives a walk up, or ends one that has given everything. What was put aside for it and takes time to free comes
    /// back.
    pub fn end_walk(&mut self) -> Option<Box<Value>> {
        match self {
            Value::List(List::Quick(list)) => {
                list.cancel_walk();
                while !list.walk_step(usize::MAX, |_| {}) {}
            }
            Value::Set(Set::Table(members)) | Value::Hash(Hash::Table(members)) => {
                members.end_walk();
            }
            Value::Zset(zset) => zset.end_walk(),
            Value::Stream(stream) => {
                return Some(Box::new(Value::Stream(Box::new(stream.end_walk()))));
            }
            Value::List(_) | Value::Set(_) | Value::Hash(_) => {}
        }
        None
    }

    /// The value as something to be freed in steps.
    pub fn into_remains(self) -> Remains {
        match self {
            Value::List(list) => Remains::Nodes(list.into_remains()),
            other => Remains::Value(Box::new(other)),
        }
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.encoding_name(), self.elements())
    }
}

/// Bytes of a string that are freed at once. To give its memory back takes the kernel some 0.1 ms for each megabyte.
pub const TEXT_AT_ONCE_MAX: usize = 2 * 1024 * 1024;

/// Bytes freed for each element that a budget has.
const TEXT_BYTES_PER_ELEMENT: usize = 4096;

/// What is left of a big value that nobody can reach any more.
pub enum Remains {
    /// A string, from its end.
    Text(Vec<u8>),
    /// A list's nodes.
    Nodes(quicklist::Remains),
    /// Anything else, emptied from within.
    Value(Box<Value>),
}

impl Remains {
    /// What of an entry that is about to be dropped is to be freed in steps: a value of more than `elements_max` elements,
    /// or a long string.
    #[inline]
    pub fn of(entry: &mut KeyEntry, elements_max: usize) -> Option<Remains> {
        match entry.lies_apart() {
            true => Remains::of_apart(entry, elements_max),
            false => None,
        }
    }

    fn of_apart(entry: &mut KeyEntry, elements_max: usize) -> Option<Remains> {
        match entry.payload() {
            Payload::Boxed(value) if value.elements() > elements_max => {
                entry.take_boxed().map(|value| value.into_remains())
            }
            Payload::Bytes(bytes) if bytes.len() > TEXT_AT_ONCE_MAX => {
                entry.take_string().map(Remains::Text)
            }
            _ => None,
        }
    }

    /// Frees up to `budget` elements (of a list: nodes); true when nothing is left and dropping the rest is cheap.
    pub fn drain_some(&mut self, budget: usize) -> bool {
        match self {
            Remains::Text(bytes) => {
                let end = bytes.len();
                let step = budget.saturating_mul(TEXT_BYTES_PER_ELEMENT).max(1);
                bytes.truncate(end.saturating_sub(step));
                let freed = end - bytes.len();
                sys::give_back(&mut bytes.spare_capacity_mut()[..freed]);
                bytes.is_empty()
            }
            Remains::Nodes(nodes) => nodes.drain_some(budget / 16 + 1),
            Remains::Value(value) => match &mut **value {
                Value::List(_) => true, // lists come as nodes
                Value::Set(set) => set.drain_some(budget),
                Value::Hash(hash) => hash.drain_some(budget),
                // A sorted set answers whether something is left.
                Value::Zset(zset) => !zset.drain_some(budget),
                Value::Stream(stream) => stream.drain_some(budget / 16 + 1),
            },
        }
    }
}

/// A structure that a `Value` can hold: lets a handler ask for the type it works on.
pub trait Kind: Sized {
    /// The structure inside, when the value is of this kind.
    fn of(value: &Value) -> Option<&Self>;
    /// The same, to change.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// The value around it.
    fn into_value(self) -> Value;
    /// Whether it is nothing any more: such a key does not exist.
    fn is_empty(&self) -> bool;
}

macro_rules! kind {
    ($type:ident) => {
        impl Kind for $type {
            fn of(value: &Value) -> Option<&Self> {
                match value {
                    Value::$type(inner) => Some(inner),
                    _ => None,
                }
            }

            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                match value {
                    Value::$type(inner) => Some(inner),
                    _ => None,
                }
            }

            fn into_value(self) -> Value {
                Value::$type(self)
            }

            fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }
    };
}

kind!(List);
kind!(Set);
kind!(Hash);
kind!(Zset);

impl Kind for Stream {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::Stream(Box::new(self))
    }

    /// Never: a stream without entries is there, with its last id and its groups.
    fn is_empty(&self) -> bool {
        false
    }
}
