//! The listpack: a row of integers and byte strings in one run of bytes, byte for byte what Redis 7 keeps in memory and
//! writes into DUMP and RDB payloads. Small hashes, sets, sorted sets, lists and stream nodes are listpacks.
//!
//! ```text
//!   total bytes: u32 LE | entries: u16 LE, FFFF = count them | entry ... | FF
//!   entry = encoding and data (l bytes), back length (l in 7-bit groups, to be read from its right end)
//!
//!   0xxxxxxx                 integer 0..127            F1 + i16 LE   integer
//!   10xxxxxx                 string below 64 bytes     F2 + i24 LE   integer
//!   110xxxxx yy              integer -4096..4095       F3 + i32 LE   integer
//!   1110xxxx yy              string below 4096 bytes   F4 + i64 LE   integer
//!   F0 + u32 LE              longer string             FF            the end
//! ```
//!
//! Two invariants hold for every `Listpack`, whatever its origin; `Listpack::from_bytes` establishes them:
//! - the run is well formed, so that walking needs no defence (a broken one panics at a slice index, never reads astray);
//! - it is *canonical*: text that reads as an integer is stored as one, everything in its shortest form. One value then
//!   has one encoding, and a search compares encoded bytes instead of decoding each entry.
//!
//! A listpack grows in the size classes of the allocator behind an 8-byte handle (`thin.rs`, which see for the slack).
//! Positions are byte offsets (`Pos`) and stay valid until the listpack is next written.

mod error;

use std::fmt;
use std::ops::ControlFlow;

pub use error::ListpackError;

use super::thin::{self, ThinBytes};
use crate::base::number::parse_i64;

const HEADER: usize = 6;
const END: u8 = 0xFF;
/// The entry count that says "unknown": from this many entries on, counting means walking.
const COUNT_UNKNOWN: u16 = u16::MAX;

/// Bytes of a listpack without entries.
pub const EMPTY_BYTES: usize = HEADER + 1;

/// A listpack that would grow beyond this takes no further entry (1 GiB, as in Redis): see [`Listpack::has_room`].
pub const BYTES_MAX: usize = 1 << 30;

/// Where an entry begins: its byte offset, or that of the final FF.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Pos(u32);

impl Pos {
    fn new(offset: usize) -> Self {
        Self(offset as u32) // offsets are below the u32 total
    }

    fn offset(self) -> usize {
        self.0 as usize
    }
}

/// One element as it is stored: an integer if its text is a canonical i64, bytes otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// A canonical integer (`0`, or an optional minus sign and digits that begin with 1 to 9).
    Int(i64),
    /// Any other bytes.
    Bytes(&'a [u8]),
}

/// The decimal text of an integer item, on the stack.
pub type TextBuffer = itoa::Buffer;

impl<'a> Item<'a> {
    /// The item that stands for these bytes.
    #[inline]
    pub fn of(bytes: &'a [u8]) -> Self {
        match parse_i64(bytes) {
            Some(value) => Self::Int(value),
            None => Self::Bytes(bytes),
        }
    }

    /// The element's bytes; an integer's text is written to `buffer`.
    #[inline]
    pub fn text<'b>(&'b self, buffer: &'b mut TextBuffer) -> &'b [u8] {
        match self {
            Self::Int(value) => buffer.format(*value).as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// Bytes of the element as text.
    pub fn text_len(&self) -> usize {
        match self {
            Self::Int(value) => {
                let digits = value
                    .unsigned_abs()
                    .checked_ilog10()
                    .map_or(1, |log| log + 1);
                digits as usize + usize::from(*value < 0)
            }
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// The element's bytes, appended to `out`.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text(&mut TextBuffer::new()));
    }

    /// The element's bytes, owned.
    pub fn to_vec(&self) -> Vec<u8> {
        self.text(&mut TextBuffer::new()).to_vec()
    }

    /// Whether this is the element that `bytes` spell. Comparing many? Prepare a [`Needle`] instead.
    #[inline]
    pub fn is(&self, bytes: &[u8]) -> bool {
        match self {
            // The lengths tell most apart without formatting.
            Self::Int(value) => self.text_len() == bytes.len() && parse_i64(bytes) == Some(*value),
            Self::Bytes(own) => *own == bytes,
        }
    }
}

/// An element in its encoded form, without back length: what is written and what a search looks for.
#[derive(Clone, Copy)]
pub struct Needle<'a> {
    /// The encoding byte with lengths or the whole integer.
    head: [u8; 9],
    head_len: u8,
    data: &'a [u8],
    /// The first encoded bytes (at most eight) as a little-endian word, and the mask of those that count.
    word: u64,
    mask: u64,
}

impl<'a> Needle<'a> {
    /// The form of the element that `bytes` spell.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::from_item(Item::of(bytes))
    }

    /// The form of an item. Bytes that spell an integer are encoded as one, so a hand-made item cannot break the
    /// canonical form.
    #[inline]
    pub fn from_item(item: Item<'a>) -> Self {
        let item = match item {
            Item::Bytes(bytes) => Item::of(bytes),
            Item::Int(_) => item,
        };
        let mut head = [0u8; 9];
        let mut data: &[u8] = &[];
        let head_len = match item {
            Item::Int(value) => encode_int(value, &mut head),
            Item::Bytes(bytes) => {
                data = bytes;
                encode_len(bytes.len(), &mut head)
            }
        };
        let mut first = [0u8; 8];
        let from_head = head_len.min(8);
        first[..from_head].copy_from_slice(&head[..from_head]);
        let from_data = data.len().min(8 - from_head);
        first[from_head..from_head + from_data].copy_from_slice(&data[..from_data]);
        let counted = from_head + from_data;
        Self {
            head,
            head_len: head_len as u8, // at most nine
            data,
            word: u64::from_le_bytes(first),
            mask: if counted == 8 {
                u64::MAX
            } else {
                (1 << (8 * counted)) - 1
            },
        }
    }

    /// Bytes that the encoded element takes, back length included.
    pub fn entry_bytes(&self) -> usize {
        let l = self.encoded_len();
        l + backlen_size(l)
    }

    #[inline]
    fn encoded_len(&self) -> usize {
        self.head_len as usize + self.data.len()
    }

    fn head(&self) -> &[u8] {
        &self.head[..self.head_len as usize]
    }

    /// Whether the well-formed entry at the start of `entry` (which goes on to the end of the listpack) is this one.
    /// The head contains the length, so one masked word settles nearly all cases; it is followed by the last word of
    /// the text, because the members of one collection tend to begin alike and to end differently.
    #[inline]
    fn matches(&self, entry: &[u8]) -> bool {
        let l = self.encoded_len();
        if let Some(first) = entry.first_chunk::<8>() {
            if (u64::from_le_bytes(*first) ^ self.word) & self.mask != 0 {
                return false;
            }
            if l <= 8 {
                return true;
            }
            if let (Some(tail), Some(own)) = (
                entry.get(l - 8..l).and_then(<[u8]>::last_chunk::<8>),
                self.data.last_chunk::<8>(),
            ) && tail != own
            {
                return false;
            }
        }
        let head_len = self.head_len as usize;
        entry.len() > l && entry[..head_len] == *self.head() && entry[head_len..l] == *self.data
    }
}

#[inline]
fn encode_int(value: i64, head: &mut [u8; 9]) -> usize {
    let bytes = value.to_le_bytes();
    let (tag, width) = match value {
        0..=127 => {
            head[0] = value as u8;
            return 1;
        }
        -4096..=4095 => {
            let bits = (value as u16) & 0x1FFF;
            head[0] = 0xC0 | (bits >> 8) as u8;
            head[1] = bits as u8;
            return 2;
        }
        -0x8000..=0x7FFF => (0xF1, 2),
        -0x80_0000..=0x7F_FFFF => (0xF2, 3),
        -0x8000_0000..=0x7FFF_FFFF => (0xF3, 4),
        _ => (0xF4, 8),
    };
    head[0] = tag;
    head[1..=width].copy_from_slice(&bytes[..width]);
    1 + width
}

#[inline]
fn encode_len(len: usize, head: &mut [u8; 9]) -> usize {
    match len {
        0..64 => {
            head[0] = 0x80 | len as u8;
            1
        }
        64..4096 => {
            head[0] = 0xE0 | (len >> 8) as u8;
            head[1] = len as u8;
            2
        }
        _ => {
            let len =
                u32::try_from(len).expect("an element beyond 4 GiB is refused before it gets here");
            head[0] = 0xF0;
            head[1..5].copy_from_slice(&len.to_le_bytes());
            5
        }
    }
}

/// Bytes of the back length of an entry of `l` bytes. The bounds are one short of what the groups could hold: that is
/// the format.
#[inline]
const fn backlen_size(l: usize) -> usize {
    match l {
        0..=127 => 1,
        128..=16382 => 2,
        16383..=2097150 => 3,
        2097151..=268435454 => 4,
        _ => 5,
    }
}

fn write_backlen(out: &mut [u8], l: usize) {
    let last = out.len() - 1;
    for (group, byte) in out.iter_mut().rev().enumerate() {
        *byte = ((l >> (7 * group)) & 0x7F) as u8 | if group < last { 0x80 } else { 0 };
    }
}

/// Full sizes of the entries whose first byte tells it, back length included; 0 for the rest.
const ENTRY_BYTES: [u8; 256] = {
    let mut sizes = [0u8; 256];
    let mut byte = 0;
    while byte < 256 {
        sizes[byte] = match byte {
            0..0x80 => 2,
            0x80..0xC0 => (byte - 0x80) as u8 + 2,
            0xC0..0xE0 => 3,
            0xF1 => 4,
            0xF2 => 5,
            0xF3 => 6,
            0xF4 => 10,
            _ => 0,
        };
        byte += 1;
    }
    sizes
};

/// Bytes of the entry that begins at `at`, back length included.
#[inline]
fn entry_bytes(buf: &[u8], at: usize) -> usize {
    let first = buf[at];
    // A walk waits for each size before it can load the next byte. Short strings, the most frequent kind, are spared
    // the second load.
    if first & 0xC0 == 0x80 {
        return (first & 0x3F) as usize + 2;
    }
    match ENTRY_BYTES[first as usize] {
        0 => entry_bytes_long(buf, at),
        size => size as usize,
    }
}

fn entry_bytes_long(buf: &[u8], at: usize) -> usize {
    let l = match buf[at] {
        first @ 0xE0..=0xEF => 2 + (((first & 0x0F) as usize) << 8 | buf[at + 1] as usize),
        0xF0 => 5 + long_len(buf, at),
        other => panic!("byte {other:#04x} begins no listpack entry"),
    };
    l + backlen_size(l)
}

fn long_len(buf: &[u8], at: usize) -> usize {
    let bytes = buf[at + 1..at + 5].try_into().expect("four bytes");
    u32::from_le_bytes(bytes) as usize
}

/// The entry that ends right before `at`: where it begins.
#[inline]
fn entry_before(buf: &[u8], at: usize) -> usize {
    let (mut l, mut size) = (0usize, 0usize);
    loop {
        let byte = buf[at - 1 - size];
        l |= ((byte & 0x7F) as usize) << (7 * size);
        size += 1;
        if byte & 0x80 == 0 || size == 5 {
            return at - size - l;
        }
    }
}

#[inline]
fn decode(buf: &[u8], at: usize) -> Item<'_> {
    let signed = |width: usize| {
        let mut bytes = [0u8; 8];
        bytes[..width].copy_from_slice(&buf[at + 1..=at + width]);
        let shift = 64 - 8 * width as u32;
        (i64::from_le_bytes(bytes) << shift) >> shift
    };
    match buf[at] {
        first @ 0..0x80 => Item::Int(first.into()),
        first @ 0x80..0xC0 => Item::Bytes(&buf[at + 1..at + 1 + (first & 0x3F) as usize]),
        first @ 0xC0..0xE0 => {
            let bits = ((first & 0x1F) as i64) << 8 | buf[at + 1] as i64;
            Item::Int((bits << 51) >> 51)
        }
        first @ 0xE0..0xF0 => {
            let len = ((first & 0x0F) as usize) << 8 | buf[at + 1] as usize;
            Item::Bytes(&buf[at + 2..at + 2 + len])
        }
        0xF0 => Item::Bytes(&buf[at + 5..at + 5 + long_len(buf, at)]),
        0xF1 => Item::Int(signed(2)),
        0xF2 => Item::Int(signed(3)),
        0xF3 => Item::Int(signed(4)),
        0xF4 => Item::Int(signed(8)),
        other => panic!("byte {other:#04x} begins no listpack entry"),
    }
}

/// Bytes of the entry at `at` with every length checked against `end`, where the final FF stands.
fn checked_entry_bytes(buf: &[u8], at: usize, end: usize) -> Result<usize, ListpackError> {
    let overrun = ListpackError::Overrun { offset: at };
    let head = match buf[at] {
        0xF5..=0xFF => {
            return Err(ListpackError::BadEncoding {
                offset: at,
                byte: buf[at],
            });
        }
        0xE0..=0xEF => 2,
        0xF0 => 5,
        _ => 1,
    };
    if at + head > end {
        return Err(overrun);
    }
    let size = entry_bytes(buf, at);
    if at + size > end {
        return Err(overrun);
    }
    // The size follows from l, so l is what is left of it, and its back length must be spelt exactly so.
    let l = (1..=5)
        .map(|back| size.saturating_sub(back))
        .find(|l| l + backlen_size(*l) == size)
        .expect("size is the sum of l and its back length");
    let mut back = [0u8; 5];
    let back = &mut back[..size - l];
    write_backlen(back, l);
    if buf[at + l..at + size] != *back {
        return Err(ListpackError::BadBackLength { offset: at });
    }
    Ok(size)
}

/// A listpack; see the head of the file.
#[derive(Clone)]
pub struct Listpack {
    run: ThinBytes,
}

impl Default for Listpack {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Listpack {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Listpack {}

impl fmt::Debug for Listpack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Listpack {
    /// An empty listpack.
    pub fn new() -> Self {
        const { assert!(thin::PREFIX == 4) };
        let mut run = ThinBytes::zeroed(EMPTY_BYTES);
        run.body_mut()[EMPTY_BYTES - 1 - thin::PREFIX] = END;
        Self { run }
    }

    /// A listpack of foreign bytes, every one of which is checked. A well-formed listpack that spells values in other
    /// than their shortest form (no known server writes one) is taken and rewritten.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ListpackError> {
        let len = bytes.len();
        if len < EMPTY_BYTES {
            return Err(ListpackError::TooShort { len });
        }
        let declared = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
        if declared as usize != len {
            return Err(ListpackError::WrongTotal { declared, len });
        }
        let end = len - 1;
        if bytes[end] != END {
            return Err(ListpackError::NotTerminated { offset: end });
        }
        let (mut at, mut found, mut canonical) = (HEADER, 0usize, true);
        while at < end {
            let size = checked_entry_bytes(bytes, at, end)?;
            canonical = canonical && Needle::from_item(decode(bytes, at)).entry_bytes() == size;
            at += size;
            found += 1;
        }
        let count = u16::from_le_bytes(bytes[4..6].try_into().expect("two bytes"));
        if count != COUNT_UNKNOWN && count as usize != found {
            return Err(ListpackError::WrongCount {
                declared: count,
                found,
            });
        }
        let mut run = ThinBytes::zeroed(len);
        run.body_mut().copy_from_slice(&bytes[thin::PREFIX..]);
        let taken = Self { run };
        Ok(if canonical {
            taken
        } else {
            taken.iter().collect()
        })
    }

    /// The whole listpack, as it goes into a DUMP payload.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.run.as_slice()
    }

    /// Bytes of the listpack.
    #[inline]
    pub fn byte_len(&self) -> usize {
        self.run.len()
    }

    /// Bytes allocated on the heap.
    pub fn allocated(&self) -> usize {
        self.run.allocated()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.byte_len() == EMPTY_BYTES
    }

    /// Whether elements of `added` bytes together may still be put in. Whoever adds unbounded data asks first; an entry
    /// that would not fit into the format panics.
    pub fn has_room(&self, added: usize) -> bool {
        self.byte_len().saturating_add(added) <= BYTES_MAX
    }

    fn header_count(&self) -> u16 {
        u16::from_le_bytes(self.bytes()[4..6].try_into().expect("two bytes"))
    }

    fn set_header_count(&mut self, count: usize) {
        let count = u16::try_from(count).unwrap_or(COUNT_UNKNOWN);
        self.run.body_mut()[..2].copy_from_slice(&count.to_le_bytes());
    }

    /// Counts entries in and out. Once the count is unknown it stays so, as in Redis, until few enough bytes are left
    /// that a count is quick.
    fn adjust_count(&mut self, added: usize, removed: usize) {
        match self.header_count() {
            COUNT_UNKNOWN => {
                // 65534 entries take at least twice as many bytes; below, the number fits the header for sure.
                if removed > 0 && self.byte_len() < 2 * COUNT_UNKNOWN as usize {
                    let count = self.count_entries();
                    self.set_header_count(count);
                }
            }
            known => self.set_header_count(known as usize + added - removed),
        }
    }

    fn count_entries(&self) -> usize {
        let (buf, mut at, mut count) = (self.bytes(), HEADER, 0);
        while at < buf.len() - 1 {
            at += entry_bytes(buf, at);
            count += 1;
        }
        count
    }

    /// Number of entries: a look at the header, or a walk when there are 65535 or more.
    #[inline]
    pub fn len(&self) -> usize {
        match self.header_count() {
            COUNT_UNKNOWN => self.count_entries(),
            known => known as usize,
        }
    }

    /// The position of the first entry, or of the end.
    #[inline]
    pub fn first(&self) -> Pos {
        Pos::new(HEADER)
    }

    /// The position behind the last entry.
    #[inline]
    pub fn end(&self) -> Pos {
        Pos::new(self.byte_len() - 1)
    }

    /// The position of the last entry.
    pub fn last(&self) -> Option<Pos> {
        self.before(self.end())
    }

    /// The position after the entry at `pos` (the end, perhaps).
    #[inline]
    pub fn after(&self, pos: Pos) -> Pos {
        Pos::new(pos.offset() + entry_bytes(self.bytes(), pos.offset()))
    }

    /// The position of the entry before `pos`.
    #[inline]
    pub fn before(&self, pos: Pos) -> Option<Pos> {
        (pos.offset() > HEADER).then(|| Pos::new(entry_before(self.bytes(), pos.offset())))
    }

    /// The entry at `pos`.
    ///
    /// # Panics
    /// At the end, and maybe at a position of another listpack or an earlier state.
    #[inline]
    pub fn at(&self, pos: Pos) -> Item<'_> {
        decode(self.bytes(), pos.offset())
    }

    /// The position of the entry with this index, from the nearer end; a negative index counts from the last (-1).
    pub fn seek(&self, index: i64) -> Option<Pos> {
        let (forward, steps) = match self.header_count() {
            COUNT_UNKNOWN if index >= 0 => (true, index as u64),
            COUNT_UNKNOWN => (false, index.unsigned_abs() - 1),
            known => {
                let len = i64::from(known);
                let from_head = if index < 0 {
                    index.checked_add(len)?
                } else {
                    index
                };
                if !(0..len).contains(&from_head) {
                    return None;
                }
                if from_head < len / 2 {
                    (true, from_head as u64)
                } else {
                    (false, (len - 1 - from_head) as u64)
                }
            }
        };
        let end = self.end();
        if forward {
            let mut pos = self.first();
            for _ in 0..steps {
                if pos == end {
                    return None;
                }
                pos = self.after(pos);
            }
            (pos != end).then_some(pos)
        } else {
            let mut pos = self.before(end)?;
            for _ in 0..steps {
                pos = self.before(pos)?;
            }
            Some(pos)
        }
    }

    /// The entry with this index; a negative one counts from the last (-1).
    pub fn get(&self, index: i64) -> Option<Item<'_>> {
        self.seek(index).map(|pos| self.at(pos))
    }

    /// All entries, first to last; turn it round with `rev`.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            buf: self.bytes(),
            front: HEADER,
            back: self.byte_len() - 1,
        }
    }

    /// The entries from `pos` on to the last.
    pub fn iter_from(&self, pos: Pos) -> Iter<'_> {
        Iter {
            front: pos.offset(),
            ..self.iter()
        }
    }

    /// The entries before `pos`, meant to be read from the back: `iter_to(p).rev()` starts right before `p`.
    pub fn iter_to(&self, pos: Pos) -> Iter<'_> {
        Iter {
            back: pos.offset(),
            ..self.iter()
        }
    }

    /// The first entry from `from` on that equals `needle`, looking at one entry and passing over the next `skip`, and
    /// so on: the fields of a hash are found with skip 1.
    #[inline]
    pub fn find(&self, needle: &Needle<'_>, from: Pos, skip: usize) -> Option<Pos> {
        let buf = self.bytes();
        let end = buf.len() - 1;
        let mut at = from.offset();
        while at < end {
            if needle.matches(&buf[at..]) {
                return Some(Pos::new(at));
            }
            at += entry_bytes(buf, at);
            for _ in 0..skip {
                if at >= end {
                    return None;
                }
                at += entry_bytes(buf, at);
            }
        }
        None
    }

    /// Whether the entry at `pos` is the needle.
    #[inline]
    pub fn is_at(&self, pos: Pos, needle: &Needle<'_>) -> bool {
        needle.matches(&self.bytes()[pos.offset()..])
    }

    /// Visits entries by index in one walk; `sorted` ascends and may repeat itself. With `group` 2 the indexes count
    /// pairs and the visitor gets the first of each; it may look further with [`Listpack::after`]. This is how draws
    /// such as SRANDMEMBER -100 cost one walk: draw the indexes, sort them, visit, and put the answers back in place.
    pub fn visit_sorted(
        &self,
        sorted: impl IntoIterator<Item = usize>,
        group: usize,
        mut visit: impl FnMut(usize, Pos),
    ) {
        let (mut pos, mut index) = (self.first(), 0);
        for wanted in sorted {
            assert!(wanted >= index, "indexes must ascend");
            for _ in 0..(wanted - index) * group {
                assert!(pos != self.end(), "an index out of range");
                pos = self.after(pos);
            }
            index = wanted;
            assert!(pos != self.end(), "an index out of range");
            visit(index, pos);
        }
    }

    fn write_entry(&mut self, at: usize, needle: &Needle<'_>) {
        let l = needle.encoded_len();
        let size = needle.entry_bytes();
        let (start, head_len) = (at - thin::PREFIX, needle.head_len as usize);
        let entry = &mut self.run.body_mut()[start..start + size];
        entry[..head_len].copy_from_slice(needle.head());
        entry[head_len..l].copy_from_slice(needle.data);
        write_backlen(&mut entry[l..], l);
    }

    /// Puts an element before the entry at `pos`, or last at the end. The new entry is then at `pos`.
    pub fn insert(&mut self, pos: Pos, needle: &Needle<'_>) {
        self.run.splice(pos.offset(), 0, needle.entry_bytes());
        self.write_entry(pos.offset(), needle);
        self.adjust_count(1, 0);
    }

    /// Puts an element before the one at `pos`.
    pub fn insert_before(&mut self, pos: Pos, element: &[u8]) {
        self.insert(pos, &Needle::new(element));
    }

    /// Puts an element after the one at `pos`; returns where it is.
    pub fn insert_after(&mut self, pos: Pos, element: &[u8]) -> Pos {
        let pos = self.after(pos);
        self.insert(pos, &Needle::new(element));
        pos
    }

    /// Appends an element.
    pub fn push_back(&mut self, element: &[u8]) {
        self.insert(self.end(), &Needle::new(element));
    }

    /// Puts an element first.
    pub fn push_front(&mut self, element: &[u8]) {
        self.insert(self.first(), &Needle::new(element));
    }

    /// Appends an item.
    pub fn push_item(&mut self, item: Item<'_>) {
        self.insert(self.end(), &Needle::from_item(item));
    }

    /// Appends several elements, growing once: how a stream's entry is written.
    pub fn extend_back(&mut self, needles: &[Needle<'_>]) {
        let added = needles.iter().map(Needle::entry_bytes).sum();
        let mut at = self.end().offset();
        self.run.splice(at, 0, added);
        for needle in needles {
            self.write_entry(at, needle);
            at += needle.entry_bytes();
        }
        self.adjust_count(needles.len(), 0);
    }

    /// Puts an element in place of the one at `pos`, where it then stands.
    pub fn replace(&mut self, pos: Pos, element: &[u8]) {
        self.replace_with(pos, Needle::new(element));
    }

    /// Puts an item in place of the one at `pos`, where it then stands.
    pub fn replace_item(&mut self, pos: Pos, item: Item<'_>) {
        self.replace_with(pos, Needle::from_item(item));
    }

    fn replace_with(&mut self, pos: Pos, needle: Needle<'_>) {
        let old = entry_bytes(self.bytes(), pos.offset());
        self.run.splice(pos.offset(), old, needle.entry_bytes());
        self.write_entry(pos.offset(), &needle);
    }

    /// Removes the entry at `pos`. The next one (or the end) is then at `pos`.
    pub fn remove(&mut self, pos: Pos) {
        self.remove_at(pos, 1);
    }

    /// Removes up to `n` entries from `pos` on and returns how many there were. The next one is then at `pos`.
    pub fn remove_at(&mut self, pos: Pos, n: usize) -> usize {
        let (mut to, mut removed) = (pos, 0);
        while removed < n && to != self.end() {
            to = self.after(to);
            removed += 1;
        }
        self.run.splice(pos.offset(), to.offset() - pos.offset(), 0);
        self.adjust_count(0, removed);
        removed
    }

    /// Removes up to `n` entries from an index on (negative from the last, -1) and returns how many there were.
    pub fn remove_range(&mut self, index: i64, n: usize) -> usize {
        match self.seek(index) {
            Some(pos) => self.remove_at(pos, n),
            None => 0,
        }
    }

    /// Keeps the entries for which `keep` says so, in one pass.
    pub fn retain(&mut self, mut keep: impl FnMut(Item<'_>) -> bool) -> usize {
        let kept: Vec<(usize, usize)> = {
            let buf = self.bytes();
            let (mut at, mut kept) = (HEADER, Vec::<(usize, usize)>::new());
            while at < buf.len() - 1 {
                let next = at + entry_bytes(buf, at);
                if keep(decode(buf, at)) {
                    match kept.last_mut() {
                        Some(run) if run.1 == at => run.1 = next,
                        _ => kept.push((at, next)),
                    }
                }
                at = next;
            }
            kept
        };
        let before = self.len();
        let mut to = HEADER - thin::PREFIX;
        let body = self.run.body_mut();
        for (from, until) in kept {
            let (from, until) = (from - thin::PREFIX, until - thin::PREFIX);
            body.copy_within(from..until, to);
            to += until - from;
        }
        body[to] = END;
        self.run.resize(to + 1 + thin::PREFIX);
        let left = self.count_entries();
        self.set_header_count(left);
        before - left
    }

    /// Appends all entries of another listpack.
    pub fn append(&mut self, other: &Self) {
        self.join(self.end(), other);
    }

    /// Puts all entries of another listpack before the own ones.
    pub fn prepend(&mut self, other: &Self) {
        self.join(self.first(), other);
    }

    fn join(&mut self, pos: Pos, other: &Self) {
        let total = self.len() + other.len();
        let entries = &other.bytes()[HEADER..other.byte_len() - 1];
        self.run.splice(pos.offset(), 0, entries.len());
        let start = pos.offset() - thin::PREFIX;
        self.run.body_mut()[start..start + entries.len()].copy_from_slice(entries);
        self.set_header_count(total);
    }

    /// Takes away the entries from `pos` on and returns them as a listpack.
    pub fn split_off(&mut self, pos: Pos) -> Self {
        let (at, len) = (pos.offset(), self.byte_len());
        let mut tail = Self::new();
        tail.run.splice(HEADER, 0, len - 1 - at);
        let moved = &self.bytes()[at..len - 1];
        tail.run.body_mut()[HEADER - thin::PREFIX..][..moved.len()].copy_from_slice(moved);
        self.run.splice(at, len - 1 - at, 0);
        for part in [self, &mut tail] {
            let count = part.count_entries();
            part.set_header_count(count);
        }
        tail
    }

    /// Verifies everything that is said at the head of the file.
    ///
    /// # Panics
    /// If something is not so.
    pub fn check(&self) {
        match Self::from_bytes(self.bytes()) {
            Ok(again) => assert_eq!(again.bytes(), self.bytes(), "not in canonical form"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Calls `visit` with each entry until it breaks; quicker than an iterator in long walks.
    pub fn try_for_each<B>(
        &self,
        mut visit: impl FnMut(Item<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.iter().try_for_each(&mut visit)
    }
}

impl<'a> FromIterator<Item<'a>> for Listpack {
    fn from_iter<I: IntoIterator<Item = Item<'a>>>(items: I) -> Self {
        let mut pack = Self::new();
        for item in items {
            pack.push_item(item);
        }
        pack
    }
}

/// The entries of a listpack, readable from both ends.
#[derive(Clone)]
pub struct Iter<'a> {
    buf: &'a [u8],
    front: usize,
    back: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        (self.front < self.back).then(|| {
            let at = self.front;
            self.front += entry_bytes(self.buf, at);
            decode(self.buf, at)
        })
    }
}

impl<'a> DoubleEndedIterator for Iter<'a> {
    #[inline]
    fn next_back(&mut self) -> Option<Item<'a>> {
        (self.front < self.back).then(|| {
            self.back = entry_before(self.buf, self.back);
            decode(self.buf, self.back)
        })
    }
}

#[cfg(test)]
mod tests;
