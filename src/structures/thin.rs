//! An owned run of bytes behind an 8-byte handle.
//!
//! Small collections are counted in millions, and there the three words of a `Vec` weigh as much as two or three
//! members. A `ThinBytes` is one pointer. The length stands in the first four bytes of the run itself, which is where
//! a listpack keeps its total size anyway, so that a listpack costs no byte more than its own form:
//!
//! ```text
//!   handle --> [ len: u32 LE, counting itself | len - 4 bytes of the owner's | slack ]
//! ```
//!
//! The capacity is not stored: it is `capacity` of the length, always. That function follows the size classes of
//! jemalloc (16-byte steps up to 128, then four classes in each doubling), so the slack is what the allocator would
//! have wasted unseen. Growth is therefore geometric (a class is at least an eighth above the one before), appending n bytes
//! one by one costs O(n) copies, and a shrinking run gives its memory back class by class.
//!
//! What `unsafe` buys here is memory and nothing else: 16 bytes for each collection against a `Vec`, 8 against a boxed
//! slice, and a value enum of two words. A property test holds a run equal to a `Vec`.
//!
//! The invariant on which every `unsafe` below rests: `ptr` is an allocation of `capacity(len)` bytes, all of them
//! initialised up to `len`, and nobody but `ThinBytes::resize` writes the first four bytes.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::ptr::NonNull;

/// Bytes of the length prefix.
pub const PREFIX: usize = 4;

/// The longest run, prefix included.
pub const LEN_MAX: usize = u32::MAX as usize;

/// What is allocated for a run of `len` bytes: the allocator's size class.
pub const fn capacity(len: usize) -> usize {
    if len <= 8 {
        8
    } else if len <= 128 {
        (len + 15) & !15
    } else {
        let step = 1usize << ((len - 1).ilog2() - 2);
        (len + step - 1) & !(step - 1)
    }
}

/// An owned run of bytes that begins with its own length; see the head of the file.
pub struct ThinBytes {
    ptr: NonNull<u8>,
}

// SAFETY: a ThinBytes owns its allocation alone and has no interior mutability, like a Box<[u8]>.
unsafe impl Send for ThinBytes {}
// SAFETY: shared references only read.
unsafe impl Sync for ThinBytes {}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(capacity(len), 1).expect("a capacity near 4 GiB fits isize")
}

impl ThinBytes {
    /// A run of `len` bytes, prefix included: zeroes behind the prefix.
    ///
    /// # Panics
    /// If `len` is below [`PREFIX`] or above [`LEN_MAX`].
    pub fn zeroed(len: usize) -> Self {
        assert!((PREFIX..=LEN_MAX).contains(&len), "a run of {len} bytes");
        // SAFETY: the layout has at least eight bytes.
        let raw = unsafe { alloc(layout(len)) };
        let Some(ptr) = NonNull::new(raw) else {
            handle_alloc_error(layout(len))
        };
        // SAFETY: the allocation has capacity(len) >= len >= PREFIX bytes; all `len` are initialised here.
        unsafe {
            ptr.write_bytes(0, len);
            ptr.cast::<[u8; PREFIX]>().write((len as u32).to_le_bytes());
        }
        Self { ptr }
    }

    /// Bytes in the run, prefix included.
    #[inline]
    pub fn len(&self) -> usize {
        // SAFETY: the first PREFIX bytes are always there and initialised; [u8; 4] has no alignment.
        u32::from_le_bytes(unsafe { self.ptr.cast::<[u8; PREFIX]>().read() }) as usize
    }

    /// Never: a run holds at least its prefix.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Bytes allocated.
    pub fn allocated(&self) -> usize {
        capacity(self.len())
    }

    /// The whole run with its prefix.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `len` bytes are allocated and initialised, and borrowed as long as self.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len()) }
    }

    /// The run without its prefix, which alone must not be written by others.
    #[inline]
    pub fn body_mut(&mut self) -> &mut [u8] {
        let len = self.len();
        // SAFETY: PREFIX..len lies in the allocation, is initialised, and self is borrowed mutably. The prefix, on
        // which the layout depends, is out of the caller's reach.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr().add(PREFIX), len - PREFIX) }
    }

    /// Makes the run `len` bytes long; bytes beyond the old length are zero.
    ///
    /// # Panics
    /// If `len` is below [`PREFIX`] or above [`LEN_MAX`].
    pub fn resize(&mut self, len: usize) {
        assert!((PREFIX..=LEN_MAX).contains(&len), "a run of {len} bytes");
        let old = self.len();
        if capacity(old) != capacity(len) {
            // SAFETY: ptr was allocated with layout(old); the new size is not zero and does not overflow isize.
            let raw = unsafe { realloc(self.ptr.as_ptr(), layout(old), capacity(len)) };
            let Some(ptr) = NonNull::new(raw) else {
                handle_alloc_error(layout(len))
            };
            self.ptr = ptr;
        }
        // SAFETY: capacity(len) >= len bytes are allocated now; what lies between the lengths is initialised here.
        unsafe {
            if len > old {
                self.ptr.add(old).write_bytes(0, len - old);
            }
            self.ptr
                .cast::<[u8; PREFIX]>()
                .write((len as u32).to_le_bytes());
        }
    }

    /// Replaces the `removed` bytes at offset `at` by `inserted` bytes of unspecified content and moves what follows.
    /// Offsets count from the start of the run.
    ///
    /// # Panics
    /// If the range touches the prefix or leaves the run, or the result would be longer than [`LEN_MAX`].
    pub fn splice(&mut self, at: usize, removed: usize, inserted: usize) {
        let len = self.len();
        assert!(at >= PREFIX && at + removed <= len, "a splice out of range");
        if inserted > removed {
            self.resize(len + inserted - removed);
        }
        if inserted != removed {
            let (from, to) = (at + removed - PREFIX, at + inserted - PREFIX);
            self.body_mut().copy_within(from..len - PREFIX, to);
        }
        if inserted < removed {
            self.resize(len + inserted - removed);
        }
    }
}

impl Clone for ThinBytes {
    fn clone(&self) -> Self {
        let mut copy = Self::zeroed(self.len());
        copy.body_mut().copy_from_slice(&self.as_slice()[PREFIX..]);
        copy
    }
}

impl Drop for ThinBytes {
    fn drop(&mut self) {
        // SAFETY: allocated with this very layout, and dropped once.
        unsafe { dealloc(self.ptr.as_ptr(), layout(self.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handle_is_one_word_and_leaves_a_niche() {
        assert_eq!(size_of::<ThinBytes>(), 8);
        assert_eq!(size_of::<Option<ThinBytes>>(), 8);
    }

    #[test]
    fn capacities_are_the_size_classes_of_the_allocator() {
        for (len, class) in [
            (4, 8),
            (9, 16),
            (17, 32),
            (128, 128),
            (129, 160),
            (160, 160),
            (161, 192),
            (256, 256),
            (257, 320),
            (8192, 8192),
            (8193, 10240),
            (LEN_MAX, 1 << 32),
        ] {
            assert_eq!(capacity(len), class, "for {len}");
        }
    }

    #[test]
    fn splices_equal_those_of_a_vector() {
        let mut seed = 7u64;
        let mut next = move |bound: usize| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) as usize % bound
        };
        let mut run = ThinBytes::zeroed(PREFIX);
        let mut model: Vec<u8> = Vec::new();
        for _ in 0..4000 {
            let at = next(model.len() + 1);
            let removed = next((model.len() - at).min(60) + 1);
            let inserted = next(50);
            let fill = next(256) as u8;
            run.splice(PREFIX + at, removed, inserted);
            run.body_mut()[at..at + inserted].fill(fill);
            model.splice(at..at + removed, std::iter::repeat_n(fill, inserted));
            assert_eq!(&run.as_slice()[PREFIX..], &model[..]);
            assert_eq!(run.len(), model.len() + PREFIX);
        }
        assert_eq!(run.clone().as_slice(), run.as_slice());
    }
}
