//! Packed forms that servers before Redis 7.0 wrote: ziplists and zipmaps, read into listpacks.
//!
//! ```text
//!   ziplist  bytes(u32) last(u32) count(u16) entry* FF              all little endian
//!   entry    length of the entry before, encoding, data
//!   zipmap   count(u8) ( length field length free(u8) value slack )* FF
//! ```
//!
//! Every byte is checked, the offsets that only a walk backwards would use included: a file in which they are wrong was
//! damaged.

use crate::structures::listpack::{Item, Listpack};

const ZIPLIST_HEADER: usize = 10;
const END: u8 = 0xff;
/// The count when nobody has counted.
const COUNT_UNKNOWN: u16 = u16::MAX;
/// A length in one byte is below this; this one says that four bytes follow.
const LONG: u8 = 254;

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(word.try_into().expect("four bytes")))
}

/// The elements of a ziplist.
pub(super) fn ziplist(bytes: &[u8]) -> Result<Listpack, &'static str> {
    let [body @ .., END] = bytes else {
        return Err("no end mark");
    };
    if body.len() < ZIPLIST_HEADER {
        return Err("too short");
    }
    if u32_at(body, 0) != u32::try_from(bytes.len()).ok() {
        return Err("a wrong size");
    }
    let last = u32_at(body, 4).expect("the header is there") as usize;
    let count = u16::from_le_bytes([body[8], body[9]]);
    let (mut at, mut before, mut found, mut begin) = (ZIPLIST_HEADER, 0, 0usize, ZIPLIST_HEADER);
    let mut pack = Listpack::new();
    while at < body.len() {
        begin = at;
        let previous = match body[at] {
            LONG => {
                at += 5;
                u32_at(body, at - 4).ok_or("an entry beyond the end")? as usize
            }
            END => return Err("an end mark before the end"),
            short => {
                at += 1;
                short.into()
            }
        };
        if previous != before {
            return Err("a wrong length of the entry before");
        }
        let (item, next) = ziplist_entry(body, at)?;
        if !pack.has_room(item.text_len()) {
            return Err("more than a listpack can hold");
        }
        match item {
            Item::Bytes(text) => pack.push_back(text),
            Item::Int(_) => pack.push_item(item),
        }
        at = next;
        before = at - begin;
        found += 1;
    }
    if last != begin {
        return Err("a wrong offset of the last entry");
    }
    if count != COUNT_UNKNOWN && usize::from(count) != found {
        return Err("a wrong count");
    }
    Ok(pack)
}

/// The element whose encoding is at `at`, and where the next entry begins.
fn ziplist_entry(body: &[u8], at: usize) -> Result<(Item<'_>, usize), &'static str> {
    const BEYOND: &str = "an entry beyond the end";
    let first = *body.get(at).ok_or(BEYOND)?;
    let after = |count: usize| body.get(at + 1..at + 1 + count).ok_or(BEYOND);
    let integer = |count: usize| -> Result<(Item<'_>, usize), &'static str> {
        let given = after(count)?;
        let mut word = [0; 8];
        word[8 - count..].copy_from_slice(given);
        let value = i64::from_le_bytes(word) >> (64 - 8 * count);
        Ok((Item::Int(value), at + 1 + count))
    };
    let (length, start) = match first {
        0xc0 => return integer(2),
        0xd0 => return integer(4),
        0xe0 => return integer(8),
        0xf0 => return integer(3),
        0xfe => return integer(1),
        0xf1..=0xfd => return Ok((Item::Int(i64::from(first & 0x0f) - 1), at + 1)),
        0x00..=0x3f => (usize::from(first), at + 1),
        0x40..=0x7f => {
            let low = after(1)?[0];
            (usize::from(first & 0x3f) << 8 | usize::from(low), at + 2)
        }
        0x80..=0xbf => {
            let word = after(4)?.try_into().expect("four bytes");
            (u32::from_be_bytes(word) as usize, at + 5)
        }
        _ => return Err("an unknown encoding"),
    };
    let text = body.get(start..start + length).ok_or(BEYOND)?;
    Ok((Item::Bytes(text), start + length))
}

/// Fields and values of a zipmap, one after the other.
pub(super) fn zipmap(bytes: &[u8]) -> Result<Listpack, &'static str> {
    let [count, body @ .., END] = bytes else {
        return Err("no end mark");
    };
    let (mut at, mut found) = (0, 0usize);
    let mut pack = Listpack::new();
    while at < body.len() {
        for is_value in [false, true] {
            let (length, start) = zipmap_length(body, at)?;
            let (free, start) = if is_value {
                let free = *body.get(start).ok_or("an entry beyond the end")?;
                (usize::from(free), start + 1)
            } else {
                (0, start)
            };
            let text = body
                .get(start..start + length)
                .ok_or("an entry beyond the end")?;
            if !pack.has_room(length) {
                return Err("more than a listpack can hold");
            }
            pack.push_back(text);
            at = start + length + free;
        }
        found += 1;
    }
    if at != body.len() {
        return Err("an entry beyond the end");
    }
    if *count < LONG && usize::from(*count) != found {
        return Err("a wrong count");
    }
    Ok(pack)
}

fn zipmap_length(body: &[u8], at: usize) -> Result<(usize, usize), &'static str> {
    match body.get(at) {
        Some(&LONG) => {
            let length = u32_at(body, at + 1).ok_or("an entry beyond the end")?;
            Ok((length as usize, at + 5))
        }
        Some(&END) => Err("an end mark before the end"),
        Some(&short) => Ok((short.into(), at + 1)),
        None => Err("a field without a value"),
    }
}
