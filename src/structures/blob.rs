//! A key with a value behind a handle of one word: a member of a big set (its value is empty) or a field of a big hash.
//!
//! ```text
//!            byte 7         byte 6         bytes 5..0
//!  short   | key length   | value length | address | --> | key | value |                        key below 240 bytes,
//!  long    | FF           | 0            | address | --> | key length | value length | key | value |      value below 256
//!  inside  | F0 + length  | key, padded with zeroes: up to seven bytes, no value    |
//! ```
//!
//! Sets and hashes are made of short strings, and there every byte of header may cost a whole size class: a member of
//! 16 bytes takes 16 here, 32 with any header at all. So the lengths stand in the sixteen address bits that user space
//! does not have (`alloc` is checked for that), and the shortest members need no allocation. Long blobs, where it does
//! not matter, keep their lengths in two words of their own.
//!
//! Allocations are rounded up to the allocator's size class (`thin.rs`), so that a value that stays within the class is
//! replaced in place. A blob that is short enough for the short form has the short form, and likewise for the inner
//! form: the form follows from the lengths.
//!
//! Unsafe is here because safe Rust knows no packed pointer. It is worth a third of the memory: a million members of 16
//! bytes take 28.5 bytes each with their share of the table, against 44.5 with a header
//! (`a_large_set_takes_little_more_than_its_members` in set/tests.rs holds the line).
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::ptr::{self, NonNull};

use super::table::Element;
use super::thin::capacity;
use crate::base::hash::hash;

/// Keys of at most this many bytes, without a value, lie in the handle itself.
const INSIDE_MAX: usize = 7;
/// Top byte of a handle: the length of the key in short blobs, where it is below this, ...
const INSIDE: u8 = 0xF0;
/// ... the mark of a long one ...
const LONG: u8 = 0xFF;
/// ... or `INSIDE` plus a length.
const KEY_SHORT_MAX: usize = INSIDE as usize - 1;
const VALUE_SHORT_MAX: usize = u8::MAX as usize;
/// Bits of an address.
const ADDRESS_BITS: u32 = 48;
/// Bytes of the two lengths of a long blob.
const LONG_HEADER: usize = 16;
/// Enough for the two lengths.
const ALIGN: usize = 8;

const _: () = assert!(
    cfg!(target_endian = "little") && usize::BITS == 64,
    "the handle is laid out for 64-bit little-endian machines"
);

/// An owned key with its value; see the head of the file.
pub struct Blob {
    /// The handle as drawn above. A pointer, so that it keeps the provenance of the allocation.
    word: *mut u8,
}

// SAFETY: a blob owns its allocation alone and has no interior mutability, like a Box<[u8]>.
unsafe impl Send for Blob {}
// SAFETY: shared references only read.
unsafe impl Sync for Blob {}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(capacity(bytes), ALIGN).expect("two slices in memory fit isize")
}

fn is_short(key_len: usize, value_len: usize) -> bool {
    key_len <= KEY_SHORT_MAX && value_len <= VALUE_SHORT_MAX
}

fn is_inside(key_len: usize, value_len: usize) -> bool {
    key_len <= INSIDE_MAX && value_len == 0
}

/// The handle of an allocation.
fn pack(at: NonNull<u8>, top: u8, second: u8) -> *mut u8 {
    at.as_ptr().map_addr(|address| {
        assert!(
            address >> ADDRESS_BITS == 0,
            "user space has addresses of 48 bits"
        );
        address | usize::from(top) << 56 | usize::from(second) << ADDRESS_BITS
    })
}

impl Blob {
    /// A blob with these contents.
    pub fn new(key: &[u8], value: &[u8]) -> Self {
        if is_inside(key.len(), value.len()) {
            let mut bytes = [0; 8];
            bytes[..key.len()].copy_from_slice(key);
            bytes[7] = INSIDE + key.len() as u8;
            return Blob {
                word: ptr::without_provenance_mut(usize::from_le_bytes(bytes)),
            };
        }
        let header = if is_short(key.len(), value.len()) {
            0
        } else {
            LONG_HEADER
        };
        let layout = layout(header + key.len() + value.len());
        // SAFETY: the layout has at least eight bytes. The writes stay within it: the lengths, if there is a header
        // (aligned to 8), the key and the value, both of which lie in other memory than the new allocation.
        unsafe {
            let Some(at) = NonNull::new(alloc(layout)) else {
                handle_alloc_error(layout)
            };
            let word = if header == 0 {
                pack(at, key.len() as u8, value.len() as u8)
            } else {
                at.cast::<[usize; 2]>().write([key.len(), value.len()]);
                pack(at, LONG, 0)
            };
            let key_at = at.add(header);
            key_at.copy_from_nonoverlapping(NonNull::from(key).cast(), key.len());
            key_at
                .add(key.len())
                .copy_from_nonoverlapping(NonNull::from(value).cast(), value.len());
            Blob { word }
        }
    }

    #[inline]
    fn top(&self) -> u8 {
        (self.word.addr() >> 56) as u8
    }

    /// Where the allocation is; not for blobs inside the handle.
    #[inline]
    fn at(&self) -> *mut u8 {
        self.word
            .map_addr(|address| address & ((1 << ADDRESS_BITS) - 1))
    }

    /// Address of the key, length of the key, length of the value. The value follows the key.
    #[inline]
    fn parts(&self) -> (*const u8, usize, usize) {
        match self.top() {
            LONG => {
                // SAFETY: a long blob begins with its two lengths, aligned.
                let [key_len, value_len] = unsafe { self.at().cast::<[usize; 2]>().read() };
                (
                    self.at().wrapping_add(LONG_HEADER).cast_const(),
                    key_len,
                    value_len,
                )
            }
            top @ INSIDE.. => ((&raw const self.word).cast(), usize::from(top - INSIDE), 0),
            top => {
                let value_len = (self.word.addr() >> ADDRESS_BITS) as u8;
                (
                    self.at().cast_const(),
                    usize::from(top),
                    usize::from(value_len),
                )
            }
        }
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        let (at, len, _) = self.parts();
        // SAFETY: that many initialised bytes are there, in the allocation or in the handle, both borrowed with self.
        unsafe { std::slice::from_raw_parts(at, len) }
    }

    /// The value; empty for members of sets.
    #[inline]
    pub fn value(&self) -> &[u8] {
        let (at, key_len, len) = self.parts();
        // SAFETY: as in `key`. Without a value the address may be the end of the key, which is as good as any.
        unsafe { std::slice::from_raw_parts(at.add(key_len), len) }
    }

    /// Bytes of the allocation before rounding, 0 if there is none.
    fn heap_len(&self) -> usize {
        let (_, key_len, value_len) = self.parts();
        match self.top() {
            LONG => LONG_HEADER + key_len + value_len,
            INSIDE.. => 0,
            _ => key_len + value_len,
        }
    }

    /// Bytes allocated beside the handle.
    pub fn allocated(&self) -> usize {
        match self.heap_len() {
            0 => 0,
            len => capacity(len),
        }
    }

    /// Replaces the value, in place when the size class stays.
    pub fn set_value(&mut self, value: &[u8]) {
        let (_, key_len, value_len) = self.parts();
        let form = |value_len| (is_inside(key_len, value_len), is_short(key_len, value_len));
        if form(value_len) != form(value.len()) || is_inside(key_len, value_len) {
            *self = Blob::new(self.key(), value);
            return;
        }
        let old = self.heap_len();
        let new = old - value_len + value.len();
        // SAFETY: the blob is not inside its handle, so there is an allocation, made with `layout(old)`; and it stays
        // long or short. The new size is not zero. The value is written behind the key within the new size; `value` is
        // other memory, self being borrowed exclusively.
        unsafe {
            let mut at = self.at();
            if capacity(old) != capacity(new) {
                at = realloc(at, layout(old), capacity(new));
            }
            let Some(at) = NonNull::new(at) else {
                handle_alloc_error(layout(new))
            };
            if self.top() == LONG {
                at.cast::<[usize; 2]>().write([key_len, value.len()]);
                self.word = pack(at, LONG, 0);
            } else {
                self.word = pack(at, key_len as u8, value.len() as u8);
            }
            at.add(new - value.len())
                .copy_from_nonoverlapping(NonNull::from(value).cast(), value.len());
        }
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        let len = self.heap_len();
        if len != 0 {
            // SAFETY: there is an allocation, made with this very layout, and it is freed once.
            unsafe { dealloc(self.at(), layout(len)) }
        }
    }
}

impl Element for Blob {
    #[inline]
    fn key(&self) -> &[u8] {
        self.key()
    }

    #[inline]
    fn hash(&self) -> u64 {
        hash(self.key())
    }

    #[inline]
    fn address(&self) -> *const u8 {
        match self.top() {
            LONG => self.at().cast_const(),
            INSIDE.. => (&raw const self.word).cast(),
            _ => self.at().cast_const(),
        }
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "({}, {})",
            self.key().escape_ascii(),
            self.value().escape_ascii()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths at which something changes, and their neighbours.
    const LENGTHS: [usize; 14] = [0, 1, 6, 7, 8, 9, 16, 17, 239, 240, 241, 255, 256, 3000];

    fn text(len: usize, seed: u8) -> Vec<u8> {
        (0..len)
            .map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed))
            .collect()
    }

    #[test]
    fn a_blob_keeps_key_and_value_of_any_length() {
        for key_len in LENGTHS {
            for value_len in LENGTHS {
                let (key, value) = (text(key_len, 1), text(value_len, 2));
                let blob = Blob::new(&key, &value);
                assert_eq!((blob.key(), blob.value()), (&key[..], &value[..]));
                let moved = Box::new(blob);
                assert_eq!((moved.key(), moved.value()), (&key[..], &value[..]));
            }
        }
        assert_eq!(size_of::<Blob>(), 8);
    }

    #[test]
    fn a_value_can_become_any_other() {
        for key_len in LENGTHS {
            let key = text(key_len, 1);
            for before in LENGTHS {
                for after in LENGTHS {
                    let mut blob = Blob::new(&key, &text(before, 2));
                    blob.set_value(&text(after, 3));
                    assert_eq!((blob.key(), blob.value()), (&key[..], &text(after, 3)[..]));
                    let fresh = Blob::new(&key, &text(after, 3));
                    assert_eq!(blob.top(), fresh.top(), "the form follows from the lengths");
                    assert_eq!(blob.allocated(), fresh.allocated());
                }
            }
        }
    }

    #[test]
    fn short_blobs_take_no_header_and_a_value_of_the_same_class_stays_in_place() {
        assert_eq!(Blob::new(b"1234567", b"").allocated(), 0);
        assert_eq!(Blob::new(b"12345678", b"").allocated(), 8);
        assert_eq!(Blob::new(b"0123456789abcdef", b"").allocated(), 16);
        let mut blob = Blob::new(b"field", b"value 12");
        let at = blob.at();
        blob.set_value(b"value 12345");
        assert_eq!(blob.at(), at);
        assert_eq!(blob.allocated(), 16);
    }
}
