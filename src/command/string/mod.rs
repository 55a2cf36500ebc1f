//! String commands: values that are bytes, numbers among them. One file for each way of treating them.
//!
//! OBJECT ENCODING shows how a string came about, and tests look: a value that arrives whole is `int` when it is a
//! canonical integer and else `embstr` up to 44 bytes; one that was edited in place (APPEND, SETRANGE) is `raw`.

use crate::base::number::{format_i64, parse_i64};
use crate::keyspace::{KeyEntry, Value};
use crate::resp::{ErrorReply, Reply};
use crate::structures::entry::{NewValue, Payload};

use super::spec::Command;

mod get;
mod lcs;
mod many;
mod number;
mod range;
mod set;

pub(super) use range::edit;
pub(super) use set::expire_time;

pub(super) const COMMANDS: &[Command] = &[
    range::APPEND,
    number::DECR,
    number::DECRBY,
    get::GET,
    get::GETDEL,
    get::GETEX,
    range::GETRANGE,
    set::GETSET,
    number::INCR,
    number::INCRBY,
    number::INCRBYFLOAT,
    lcs::LCS,
    many::MGET,
    many::MSET,
    many::MSETNX,
    set::PSETEX,
    set::SET,
    set::SETEX,
    set::SETNX,
    range::SETRANGE,
    range::STRLEN,
    range::SUBSTR,
];

/// A string as a value to store: canonical integers are kept as numbers, as Redis does.
#[inline]
pub(super) fn string_value(bytes: &[u8]) -> NewValue<'_, Value> {
    if bytes.len() <= 20
        && let Some(number) = parse_i64(bytes)
    {
        return NewValue::Int(number);
    }
    NewValue::Bytes(bytes)
}

/// Replies with a string entry's value.
#[inline]
pub(super) fn reply_string(
    payload: &Payload<'_, Value>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    match payload {
        Payload::Bytes(bytes) => reply.bulk(bytes),
        Payload::Int(number) => reply.bulk_integer(*number),
        Payload::Boxed(_) => return Err(ErrorReply::WRONG_TYPE),
    }
    Ok(())
}

/// Calls `use_bytes` with the bytes of a string entry, those of a missing one being none.
pub(super) fn with_bytes<R>(
    entry: Option<&KeyEntry>,
    use_bytes: impl FnOnce(&[u8]) -> R,
) -> Result<R, ErrorReply> {
    match entry.map(KeyEntry::payload) {
        None => Ok(use_bytes(b"")),
        Some(Payload::Bytes(bytes)) => Ok(use_bytes(bytes)),
        Some(Payload::Int(number)) => Ok(use_bytes(&format_i64(number))),
        Some(Payload::Boxed(_)) => Err(ErrorReply::WRONG_TYPE),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use crate::command::harness::Harness;
    use crate::keyspace::Value;
    use crate::resp::request::{Caller, Key};
    use crate::structures::entry::NewValue;
    use crate::structures::list::List;
    use crate::structures::quicklist::{End, Fill};

    /// Makes a key that holds a list of one element.
    pub(in crate::command) fn set_list(h: &mut Harness, key: &str) {
        let mut list = List::new();
        list.push(End::Tail, b"element", Fill::new(-2));
        let key = Key::new(key.as_bytes());
        let total = h.shards.len();
        let shard = &mut h.shards[usize::from(key.slot) % total];
        let value = NewValue::Boxed(Box::new(Value::List(list)));
        shard.put(&Caller::default(), &key, value, false);
    }
}
