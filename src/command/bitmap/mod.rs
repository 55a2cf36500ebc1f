//! Bitmaps: strings as arrays of bits. The bits themselves are in `structures/bitmap.rs`.

use crate::base::number::parse_i64;
use crate::resp::ErrorReply;
use crate::resp::request::{Args, Key};
use crate::shard::Shard;
use crate::structures::entry::{INLINE_MAX, NewValue};

use super::spec::Command;
use super::string::edit;

mod bit;
mod field;
mod op;

#[cfg(test)]
mod tests;

pub(super) const COMMANDS: &[Command] = &[
    bit::BITCOUNT,
    field::BITFIELD,
    field::BITFIELD_RO,
    op::BITOP,
    bit::BITPOS,
    bit::GETBIT,
    bit::SETBIT,
];

/// The offset of a bit as a client gives it.
fn bit_offset(shard: &Shard, word: &[u8]) -> Result<u64, ErrorReply> {
    check_bit_offset(shard, parse_i64(word))
}

/// An offset that was read must be within the longest string there may be (`proto-max-bulk-len`).
fn check_bit_offset(shard: &Shard, offset: Option<i64>) -> Result<u64, ErrorReply> {
    match offset.map(u64::try_from) {
        Some(Ok(offset)) if offset / 8 < shard.config.proto_max_bulk_len => Ok(offset),
        _ => Err(ErrorReply::BIT_OFFSET),
    }
}

/// The bytes of a string to change in place from `first` on, made or continued with zeros where it has fewer than `bytes`.
/// The answer says whether it had. From then on the string is `raw`.
fn room_for<'a>(
    shard: &'a mut Shard,
    args: &Args<'_>,
    key: &Key<'_>,
    first: usize,
    bytes: usize,
) -> Result<(&'a mut [u8], bool), ErrorReply> {
    static ZEROS: [u8; INLINE_MAX] = [0; INLINE_MAX];
    let zeros = || match ZEROS.get(..bytes) {
        Some(zeros) => NewValue::Bytes(zeros),
        None => NewValue::Long(Box::new(vec![0; bytes])),
    };
    let (entry, new) = shard.write_bytes_or_put(&args.caller, key, first..bytes, zeros);
    if !entry.is_string() {
        return Err(ErrorReply::WRONG_TYPE);
    }
    let mut grown = new;
    if entry.bytes_mut().is_none_or(|old| old.len() < bytes) {
        edit(entry, |old| {
            grown |= old.len() < bytes;
            old.resize(bytes.max(old.len()), 0);
        });
    }
    entry.set_raw(true);
    let bytes = entry.bytes_mut().expect("an edited string is bytes");
    Ok((bytes, grown))
}
