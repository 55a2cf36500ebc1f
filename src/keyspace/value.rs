//! What a key other than a string holds.

use crate::structures::blob::Blob;
use crate::structures::hash::Hash;
use crate::structures::list::List;
use crate::structures::quicklist;
use crate::structures::set::Set;
use crate::structures::stream::Stream;
use crate::structures::table::{Element, Table};
use crate::structures::zset::Zset;

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
            Value::Set(Set::Table(table)) => Value::Set(Set::Table(copy_table(table))),
            Value::Hash(Hash::Listpack(pack)) => Value::Hash(Hash::Listpack(pack.clone())),
            Value::Hash(Hash::Table(table)) => Value::Hash(Hash::Table(copy_table(table))),
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

    /// The value as something to be freed in steps.
    pub fn into_remains(self) -> Remains {
        match self {
            Value::List(list) => Remains::Nodes(list.into_remains()),
            other => Remains::Value(Box::new(other)),
        }
    }
}

fn copy_table(table: &Table<Blob>) -> Table<Blob> {
    let mut copy = Table::new();
    for blob in table.iter() {
        copy.insert(blob.hash(), Blob::new(blob.key(), blob.value()));
    }
    copy
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.encoding_name(), self.elements())
    }
}

/// What is left of a big value that nobody can reach any more.
pub enum Remains {
    /// A list's nodes.
    Nodes(quicklist::Remains),
    /// Anything else, emptied from within.
    Value(Box<Value>),
}

impl Remains {
    /// Frees up to `budget` elements (of a list: nodes); true when nothing is left and dropping the rest is cheap.
    pub fn drain_some(&mut self, budget: usize) -> bool {
        match self {
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
