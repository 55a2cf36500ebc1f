//! One key with what it holds, in one allocation for the usual small value.
//!
//! ```text
//!  0        3        4      5      6       8
//! +--------+--------+------+------+-------+------------+------------+-----------+-------------------+
//! | clock  | flags  | kind | klen | inline| expire     | klen, long | key bytes | value             |
//! | 24 bit | 8 bit  | u8   | u8   | u16   | i64, opt.  | u32, opt.  |           |                   |
//! +--------+--------+------+------+-------+------------+------------+-----------+-------------------+
//! ```
//!
//! - `clock`: LRU or LFU clock, as the keyspace wants it. `flags`: has an expiry, string made by an edit ("raw"),
//!   and in its upper half the stamp of a walk.
//! - `kind`: what `value` is: an `i64`, `inline` bytes, a pointer to a `Vec<u8>` (long strings), a pointer to a `V`.
//! - `klen` is 255 when the length needs the long field.
//!
//! The size asked of the allocator is rounded up to its size class by `class_size`, so an overwrite that stays in
//! the class happens in place: a SET of an existing key costs neither malloc nor free. Expiry lies in the same
//! allocation and is there only when set. Rejected: a separate expiry table (two more cache misses and 40 bytes for a
//! volatile key), a value pointer always (one more miss for a GET).
//!
//! Unsafe is here because safe Rust has no such variable layout behind one pointer; `bench/compare.sh memory` and
//! `get_set` are what it buys (96 bytes for a 20-byte key with 64 bytes of value, two misses for a GET).
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::base::hash::hash;

use super::table::{Element, prefetch};

/// Strings up to this many bytes lie beside their key; longer ones in an allocation of their own.
pub const INLINE_MAX: usize = 512;

/// Bytes of a cache line.
const LINE: usize = 64;
/// What of an entry is fetched ahead, in bytes: beyond that the CPU sees for itself that one line follows another.
const REST_MAX: usize = 256;

const HEADER: usize = 8;
const LONG_KEY: u8 = 255;

const FLAG_EXPIRE: u8 = 1;
const FLAG_RAW: u8 = 2;
/// Where the stamp begins.
const STAMP_SHIFT: u32 = 4;
/// Stamps are below this.
pub const STAMPS: u8 = 16;

const KIND_INT: u8 = 0;
const KIND_INLINE: u8 = 1;
const KIND_LONG: u8 = 2;
const KIND_BOXED: u8 = 3;

/// The owning handle of an entry: eight bytes, never null. `V` is what a key of a type other than string holds.
pub struct Entry<V> {
    at: NonNull<u8>,
    holds: PhantomData<V>,
}

// SAFETY: an entry owns everything it points to, so it may move to another thread whenever its value may.
unsafe impl<V: Send> Send for Entry<V> {}

/// What a key holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload<'a, V> {
    /// A string that is a canonical integer.
    Int(i64),
    /// Any other string.
    Bytes(&'a [u8]),
    /// A value of another type.
    Boxed(&'a V),
}

/// A value on its way into an entry.
pub enum NewValue<'a, V> {
    /// A string that is a canonical integer.
    Int(i64),
    /// Any other string, copied.
    Bytes(&'a [u8]),
    /// A long string that gives its allocation.
    Long(Box<Vec<u8>>),
    /// A value of another type.
    Boxed(Box<V>),
}

impl<V> NewValue<'_, V> {
    /// What the entry will hold.
    pub fn payload(&self) -> Payload<'_, V> {
        match self {
            NewValue::Int(value) => Payload::Int(*value),
            NewValue::Bytes(bytes) => Payload::Bytes(bytes),
            NewValue::Long(bytes) => Payload::Bytes(bytes),
            NewValue::Boxed(value) => Payload::Boxed(value),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            NewValue::Int(_) => KIND_INT,
            NewValue::Bytes(bytes) if bytes.len() <= INLINE_MAX => KIND_INLINE,
            NewValue::Bytes(_) | NewValue::Long(_) => KIND_LONG,
            NewValue::Boxed(_) => KIND_BOXED,
        }
    }

    fn tail(&self) -> usize {
        match self {
            NewValue::Bytes(bytes) if bytes.len() <= INLINE_MAX => bytes.len(),
            _ => 8,
        }
    }
}

/// Rounds a size up to the allocator's class: steps of 16 up to 128 bytes, then four steps to each doubling (jemalloc's
/// classes; another allocator loses nothing but a little room).
#[inline]
pub const fn class_size(size: usize) -> usize {
    if size <= 128 {
        return (size + 15) & !15;
    }
    let step = 1usize << (usize::BITS - 1 - (size - 1).leading_zeros() - 2);
    (size + step - 1) & !(step - 1)
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(class_size(size), 8)
        .expect("an entry is far smaller than the address space")
}

impl<V> Entry<V> {
    /// A key with a value. `clock` is cut to 24 bits; `expire_at` is in Unix milliseconds.
    pub fn new(key: &[u8], value: NewValue<'_, V>, clock: u32, expire_at: Option<i64>) -> Self {
        assert!(u32::try_from(key.len()).is_ok(), "a key is at most 4 GiB");
        let size = HEADER + prefix(key.len(), expire_at.is_some()) + key.len() + value.tail();
        // SAFETY: the layout is never empty.
        let Some(at) = NonNull::new(unsafe { alloc(layout(size)) }) else {
            handle_alloc_error(layout(size));
        };
        let mut entry = Entry {
            at,
            holds: PhantomData,
        };
        entry.set_word(clock & 0x00ff_ffff);
        // SAFETY: all writes stay within `size`, which the sum above is made of.
        unsafe {
            entry.put(4, value.kind());
            let short = key.len().min(usize::from(LONG_KEY)) as u8;
            entry.put(5, short);
            entry.put(6, 0u16);
            let mut offset = HEADER;
            if let Some(expire_at) = expire_at {
                entry.put(3, FLAG_EXPIRE);
                entry.put(offset, expire_at);
                offset += 8;
            }
            if short == LONG_KEY {
                entry.put(offset, key.len() as u32);
                offset += 4;
            }
            at.as_ptr()
                .add(offset)
                .copy_from_nonoverlapping(key.as_ptr(), key.len());
            entry.put_value(offset + key.len(), value);
        }
        entry
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        let (offset, length) = self.key_place();
        // SAFETY: `key_place` describes the bytes that `new` wrote; they live as long as the entry and only change
        // through `&mut self`.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr().add(offset), length) }
    }

    /// What the key holds.
    #[inline]
    pub fn payload(&self) -> Payload<'_, V> {
        let offset = self.value_offset();
        // SAFETY: `kind` says what lies at the value's offset; pointers there came from `Box::into_raw` and are owned.
        unsafe {
            match self.kind() {
                KIND_INT => Payload::Int(self.take(offset)),
                KIND_INLINE => Payload::Bytes(std::slice::from_raw_parts(
                    self.at.as_ptr().add(offset),
                    self.inline_len(),
                )),
                KIND_LONG => Payload::Bytes(&*self.take::<*const Vec<u8>>(offset)),
                _ => Payload::Boxed(&*self.take::<*const V>(offset)),
            }
        }
    }

    /// The value of a type other than string.
    #[inline]
    pub fn boxed(&self) -> Option<&V> {
        match self.payload() {
            Payload::Boxed(value) => Some(value),
            _ => None,
        }
    }

    /// The value of a type other than string, to change.
    #[inline]
    pub fn boxed_mut(&mut self) -> Option<&mut V> {
        if self.kind() != KIND_BOXED {
            return None;
        }
        // SAFETY: the kind says that an owned `V` pointer lies here; `&mut self` makes the access exclusive.
        unsafe { Some(&mut *self.take::<*mut V>(self.value_offset())) }
    }

    /// Takes the value of a type other than string out and leaves an integer: the caller is about to drop the entry.
    pub fn take_boxed(&mut self) -> Option<Box<V>> {
        if self.kind() != KIND_BOXED {
            return None;
        }
        match self.take_value() {
            Taken::Owned(NewValue::Boxed(value)) => Some(value),
            _ => None,
        }
    }

    /// Whether the value has memory of its own: a long string, or another type.
    #[inline]
    pub fn lies_apart(&self) -> bool {
        self.kind() >= KIND_LONG
    }

    /// Whether the entry holds a string.
    #[inline]
    pub fn is_string(&self) -> bool {
        self.kind() != KIND_BOXED
    }

    /// The LRU or LFU clock, 24 bits.
    #[inline]
    pub fn clock(&self) -> u32 {
        self.word() & 0x00ff_ffff
    }

    /// Sets the LRU or LFU clock, 24 bits.
    #[inline]
    pub fn set_clock(&mut self, clock: u32) {
        self.set_word(self.word() & 0xff00_0000 | clock & 0x00ff_ffff);
    }

    /// When the key expires, in Unix milliseconds.
    #[inline]
    pub fn expire_at(&self) -> Option<i64> {
        if !self.flag(FLAG_EXPIRE) {
            return None;
        }
        // SAFETY: the flag says that the field is there.
        Some(unsafe { self.take(HEADER) })
    }

    /// Sets or removes the expiry. Adding or removing it moves the entry to an allocation of the right size.
    pub fn set_expire_at(&mut self, expire_at: Option<i64>) {
        match (self.flag(FLAG_EXPIRE), expire_at) {
            (false, None) => {}
            // SAFETY: the flag says that the field is there.
            (true, Some(at)) => unsafe { self.put(HEADER, at) },
            _ => self.rebuild(None, expire_at),
        }
    }

    /// The string was made by an edit and reports encoding `raw` however short it is.
    pub fn is_raw(&self) -> bool {
        self.flag(FLAG_RAW) || self.kind() == KIND_LONG
    }

    /// See `is_raw`.
    pub fn set_raw(&mut self, raw: bool) {
        self.set_flag(FLAG_RAW, raw);
    }

    /// The stamp of the walk that last dealt with this entry, below [`STAMPS`] (see `shard/walk.rs`).
    #[inline]
    pub fn stamp(&self) -> u8 {
        self.flags() >> STAMP_SHIFT
    }

    /// See `stamp`.
    #[inline]
    pub fn set_stamp(&mut self, stamp: u8) {
        debug_assert!(stamp < STAMPS);
        let rest = self.flags() & ((1 << STAMP_SHIFT) - 1);
        // SAFETY: the flags are a byte of the header.
        unsafe { self.put(3, stamp << STAMP_SHIFT | rest) };
    }

    /// Replaces the value, in place when it fits the allocation; key, clock and expiry stay. Clears `raw`.
    #[inline]
    pub fn set_value(&mut self, value: NewValue<'_, V>) {
        self.set_raw(false);
        let offset = self.value_offset();
        if self.kind() <= KIND_INLINE
            && class_size(offset + value.tail()) == class_size(self.size())
        {
            // SAFETY: the class of the new size is the class of the allocation, so the value fits behind the key; what
            // was there (an integer or bytes) needs no drop.
            unsafe {
                self.put(4, value.kind());
                self.put_value(offset, value);
            }
        } else {
            self.rebuild(Some(value), self.expire_at());
        }
    }

    /// Takes a string out as bytes that can be edited and grown; put them back with `set_string`.
    pub fn take_string(&mut self) -> Option<Vec<u8>> {
        let offset = self.value_offset();
        match self.kind() {
            KIND_INT => {
                // SAFETY: the kind says that an integer lies here.
                let value: i64 = unsafe { self.take(offset) };
                Some(itoa::Buffer::new().format(value).as_bytes().to_vec())
            }
            KIND_INLINE => match self.payload() {
                Payload::Bytes(bytes) => Some(bytes.to_vec()),
                _ => None,
            },
            KIND_LONG => {
                // SAFETY: the pointer came from `Box::into_raw`; the integer written over it keeps the entry from
                // freeing it again.
                let long = unsafe { Box::from_raw(self.take::<*mut Vec<u8>>(offset)) };
                // SAFETY: an integer needs the same eight bytes as the pointer.
                unsafe {
                    self.put(4, KIND_INT);
                    self.put(offset, 0i64);
                }
                Some(*long)
            }
            _ => None,
        }
    }

    /// Puts edited bytes in as the value; long ones keep their allocation.
    pub fn set_string(&mut self, bytes: Vec<u8>) {
        if bytes.len() > INLINE_MAX {
            self.set_value(NewValue::Long(Box::new(bytes)));
        } else {
            self.set_value(NewValue::Bytes(&bytes));
        }
    }

    /// The bytes of a string that is not an integer, to change without changing the length.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        let offset = self.value_offset();
        // SAFETY: as in `payload`, with exclusive access.
        unsafe {
            match self.kind() {
                KIND_INLINE => Some(std::slice::from_raw_parts_mut(
                    self.at.as_ptr().add(offset),
                    self.inline_len(),
                )),
                KIND_LONG => Some(&mut *self.take::<*mut Vec<u8>>(offset)),
                _ => None,
            }
        }
    }

    /// The vector of a long string, to append to.
    pub fn long_mut(&mut self) -> Option<&mut Vec<u8>> {
        if self.kind() != KIND_LONG {
            return None;
        }
        // SAFETY: as in `payload`, with exclusive access.
        unsafe { Some(&mut *self.take::<*mut Vec<u8>>(self.value_offset())) }
    }

    /// Overwrites an integer in place; false when the value is not one.
    #[inline]
    pub fn set_int_in_place(&mut self, value: i64) -> bool {
        if self.kind() != KIND_INT {
            return false;
        }
        // SAFETY: the kind says that eight bytes lie here.
        unsafe { self.put(self.value_offset(), value) };
        true
    }

    /// The same value under another key; a value of its own allocation is not copied.
    pub fn renamed(mut self, key: &[u8]) -> Self {
        let (clock, expire_at, raw) = (self.clock(), self.expire_at(), self.is_raw());
        let value = self.take_value();
        let mut entry = match value {
            Taken::Owned(value) => Entry::new(key, value, clock, expire_at),
            Taken::Inline(bytes) => Entry::new(key, NewValue::Bytes(&bytes), clock, expire_at),
        };
        entry.set_flag(FLAG_RAW, raw);
        entry
    }

    /// Bytes this entry asked of the allocator, a boxed value's own aside.
    pub fn allocated_bytes(&self) -> usize {
        let long = match self.payload() {
            Payload::Bytes(bytes) if self.kind() == KIND_LONG => {
                class_size(bytes.len()) + size_of::<Vec<u8>>()
            }
            _ => 0,
        };
        class_size(self.size()) + long
    }

    /// Moves everything into an allocation that fits the new value (or the old one) and expiry.
    #[cold]
    fn rebuild(&mut self, value: Option<NewValue<'_, V>>, expire_at: Option<i64>) {
        let (clock, flags) = (self.clock(), self.flags());
        let new = match value {
            Some(value) => Entry::new(self.key(), value, clock, expire_at),
            None => match self.take_value() {
                Taken::Owned(value) => Entry::new(self.key(), value, clock, expire_at),
                Taken::Inline(bytes) => {
                    Entry::new(self.key(), NewValue::Bytes(&bytes), clock, expire_at)
                }
            },
        };
        *self = new;
        let expire = self.flags() & FLAG_EXPIRE;
        // SAFETY: the flags are a byte of the header.
        unsafe { self.put(3, flags & !FLAG_EXPIRE | expire) };
    }

    /// Takes the value out and leaves an integer, so that dropping the entry frees the value no second time.
    fn take_value(&mut self) -> Taken<V> {
        let offset = self.value_offset();
        // SAFETY: the kind says what lies at the offset; owned pointers are turned into a harmless integer, which
        // needs the same eight bytes.
        unsafe {
            match self.kind() {
                KIND_INT => Taken::Owned(NewValue::Int(self.take(offset))),
                KIND_INLINE => Taken::Inline(
                    std::slice::from_raw_parts(self.at.as_ptr().add(offset), self.inline_len())
                        .to_vec(),
                ),
                KIND_LONG => {
                    let long = Box::from_raw(self.take::<*mut Vec<u8>>(offset));
                    self.put(4, KIND_INT);
                    Taken::Owned(NewValue::Long(long))
                }
                _ => {
                    let boxed = Box::from_raw(self.take::<*mut V>(offset));
                    self.put(4, KIND_INT);
                    Taken::Owned(NewValue::Boxed(boxed))
                }
            }
        }
    }

    /// Writes the value at `offset`; what was there must need no drop.
    ///
    /// # Safety
    /// The allocation has room for the value's tail at `offset`, and the kind byte is already the value's.
    #[inline]
    unsafe fn put_value(&mut self, offset: usize, value: NewValue<'_, V>) {
        // SAFETY: the caller has made the room.
        unsafe {
            match value {
                NewValue::Int(value) => self.put(offset, value),
                NewValue::Bytes(bytes) if bytes.len() <= INLINE_MAX => {
                    self.put(6, bytes.len() as u16);
                    self.at
                        .as_ptr()
                        .add(offset)
                        .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                }
                NewValue::Bytes(bytes) => {
                    self.put(offset, Box::into_raw(Box::new(bytes.to_vec())));
                }
                NewValue::Long(long) => self.put(offset, Box::into_raw(long)),
                NewValue::Boxed(boxed) => self.put(offset, Box::into_raw(boxed)),
            }
        }
    }

    #[inline]
    fn key_place(&self) -> (usize, usize) {
        let offset = HEADER + if self.flag(FLAG_EXPIRE) { 8 } else { 0 };
        // SAFETY: the header is always there; the long length is when the short one says so.
        unsafe {
            match self.take::<u8>(5) {
                LONG_KEY => (offset + 4, self.take::<u32>(offset) as usize),
                short => (offset, usize::from(short)),
            }
        }
    }

    #[inline]
    fn value_offset(&self) -> usize {
        let (offset, length) = self.key_place();
        offset + length
    }

    fn size(&self) -> usize {
        self.value_offset()
            + match self.kind() {
                KIND_INLINE => self.inline_len(),
                _ => 8,
            }
    }

    #[inline]
    fn kind(&self) -> u8 {
        // SAFETY: the header is always there.
        unsafe { self.take(4) }
    }

    #[inline]
    fn inline_len(&self) -> usize {
        // SAFETY: the header is always there.
        usize::from(unsafe { self.take::<u16>(6) })
    }

    #[inline]
    fn word(&self) -> u32 {
        // SAFETY: the header is always there.
        unsafe { self.take(0) }
    }

    #[inline]
    fn set_word(&mut self, word: u32) {
        // SAFETY: the header is always there.
        unsafe { self.put(0, word) }
    }

    #[inline]
    fn flags(&self) -> u8 {
        (self.word() >> 24) as u8
    }

    #[inline]
    fn flag(&self, flag: u8) -> bool {
        self.flags() & flag != 0
    }

    #[inline]
    fn set_flag(&mut self, flag: u8, on: bool) {
        let bit = u32::from(flag) << 24;
        let word = self.word();
        self.set_word(if on { word | bit } else { word & !bit });
    }

    /// # Safety
    /// A `T` was written at `offset` before.
    #[inline]
    unsafe fn take<T: Copy>(&self, offset: usize) -> T {
        // SAFETY: promised by the caller; the read may be unaligned.
        unsafe { self.at.as_ptr().add(offset).cast::<T>().read_unaligned() }
    }

    /// # Safety
    /// The allocation has room for a `T` at `offset`.
    #[inline]
    unsafe fn put<T: Copy>(&mut self, offset: usize, value: T) {
        // SAFETY: promised by the caller; the write may be unaligned.
        unsafe {
            self.at
                .as_ptr()
                .add(offset)
                .cast::<T>()
                .write_unaligned(value)
        }
    }
}

enum Taken<V> {
    Owned(NewValue<'static, V>),
    Inline(Vec<u8>),
}

/// Bytes between the header and the key.
const fn prefix(key_len: usize, expires: bool) -> usize {
    (if expires { 8 } else { 0 }) + (if key_len >= LONG_KEY as usize { 4 } else { 0 })
}

impl<V> Drop for Entry<V> {
    fn drop(&mut self) {
        let size = self.size();
        drop(self.take_value_if_owned());
        // SAFETY: every allocation is made with the layout of its class, and every change of size keeps the class.
        unsafe { dealloc(self.at.as_ptr(), layout(size)) };
    }
}

impl<V> Entry<V> {
    fn take_value_if_owned(&mut self) -> Option<Taken<V>> {
        (self.kind() >= KIND_LONG).then(|| self.take_value())
    }
}

impl<V> Element for Entry<V> {
    fn key(&self) -> &[u8] {
        Entry::key(self)
    }

    fn hash(&self) -> u64 {
        hash(Entry::key(self))
    }

    fn address(&self) -> *const u8 {
        self.at.as_ptr()
    }

    #[inline]
    fn prefetch_rest(&self) {
        let start = self.at.as_ptr();
        let here = LINE - start.addr() % LINE;
        let size = self.size();
        let mut behind = here;
        while behind < size.min(REST_MAX) {
            prefetch(start.wrapping_add(behind));
            behind += LINE;
        }
        if self.kind() >= KIND_LONG && size <= here {
            // SAFETY: the kind says that a pointer lies at the value's offset.
            prefetch(unsafe { self.take::<*const u8>(size - 8) });
        }
    }
}

impl<V: std::fmt::Debug> std::fmt::Debug for Entry<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("key", &String::from_utf8_lossy(self.key()))
            .field("payload", &self.payload())
            .field("expire_at", &self.expire_at())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    type Tested = Entry<String>;

    #[test]
    fn a_short_key_and_value_take_one_allocation_of_the_right_class() {
        let entry = Tested::new(&[b'k'; 20], NewValue::Bytes(&[b'v'; 64]), 1, None);
        assert_eq!(entry.allocated_bytes(), 96);
        assert_eq!(class_size(128), 128);
        assert_eq!(class_size(129), 160);
        assert_eq!(class_size(256), 256);
        assert_eq!(class_size(257), 320);
        assert_eq!(class_size(1025), 1280);
    }

    #[test]
    fn any_sequence_of_changes_reads_back_as_the_model_says() {
        #[derive(Clone, PartialEq, Debug)]
        enum Model {
            Int(i64),
            Bytes(Vec<u8>),
            Text(String),
        }
        let mut random = Random::new(3);
        for round in 0..if cfg!(miri) { 20 } else { 500 } {
            let key = vec![b'k'; [0, 1, 20, 254, 255, 300, 70_000][round % 7]];
            let mut model = Model::Int(5);
            let (mut expire, mut clock) = (None, 9);
            let mut entry = Tested::new(&key, NewValue::Int(5), clock, None);
            for _ in 0..40 {
                match random.below(9) {
                    0 => {
                        expire = (random.below(2) == 0).then(|| random.next_u64() as i64);
                        entry.set_expire_at(expire);
                    }
                    1 => {
                        clock = random.next_u64() as u32 & 0xff_ffff;
                        entry.set_clock(clock);
                    }
                    2 => {
                        let value = random.next_u64() as i64;
                        model = Model::Int(value);
                        entry.set_value(NewValue::Int(value));
                    }
                    3 => {
                        let text = format!("{}", random.next_u64());
                        model = Model::Text(text.clone());
                        entry.set_value(NewValue::Boxed(Box::new(text)));
                    }
                    4 => {
                        if let Some(mut bytes) = entry.take_string() {
                            bytes.extend_from_slice(b"more");
                            model = Model::Bytes(bytes.clone());
                            entry.set_string(bytes);
                            entry.set_raw(true);
                            assert!(entry.is_raw());
                        }
                    }
                    5 => {
                        let mut other = key.clone();
                        other.push(b'x');
                        entry = entry.renamed(&other);
                        assert_eq!(entry.key(), other);
                        entry = entry.renamed(&key);
                    }
                    6 => {
                        if entry.set_int_in_place(77) {
                            model = Model::Int(77);
                        }
                    }
                    _ => {
                        let bytes = vec![b'v'; random.below(700) as usize];
                        model = Model::Bytes(bytes.clone());
                        entry.set_value(NewValue::Bytes(&bytes));
                        assert_eq!(entry.is_raw(), bytes.len() > INLINE_MAX);
                    }
                }
                assert_eq!(entry.key(), key);
                assert_eq!((entry.expire_at(), entry.clock()), (expire, clock));
                match (entry.payload(), &model) {
                    (Payload::Int(a), Model::Int(b)) => assert_eq!(a, *b),
                    (Payload::Bytes(a), Model::Bytes(b)) => assert_eq!(a, b),
                    (Payload::Boxed(a), Model::Text(b)) => assert_eq!(a, b),
                    (is, should) => panic!("{is:?} is not {should:?}"),
                }
            }
        }
    }
}
