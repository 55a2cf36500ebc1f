//! One member of a big sorted set: score and bytes in one allocation, behind a handle of one pointer.
//!
//! ```text
//! handle --> | score, f64: 8 bytes | length, 31 bits + shared, 1 bit: 4 bytes | the member's bytes |
//! ```
//!
//! A sorted set reaches its members two ways, by name (hash table) and by order (tree), and the bytes should lie in
//! memory once. So a member has at most two handles, and one bit says whether there are two: the first to be
//! dropped clears the bit, the other frees the memory. That is a reference count that costs no space, and it keeps
//! table and tree free of any rule about who must be emptied first. A tree of borrowed pointers was rejected: it
//! saves one memory access in deletion and makes every operation of the tree unsafe to call.
//!
//! The unsafe code is worth it for the size: `Rc<(f64, Box<[u8]>)>` takes 40 bytes and one more cache miss.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::table::Element;
use crate::base::hash::hash;

/// A handle to a member. At most two exist for the same member (see [`Member::share`]).
pub struct Member {
    blob: NonNull<u8>,
}

const TAG_OFFSET: usize = 8;
const BYTES_OFFSET: usize = 12;
const BLOB_ALIGN: usize = 8;
const SHARED: u32 = 1 << 31;

/// Longest member: the length field has 31 bits. (`proto-max-bulk-len` is 512 MiB by default.)
pub const MEMBER_BYTES_MAX: usize = (SHARED - 1) as usize;

// SAFETY: the bytes never change after `new`; score and tag are atomics (plain loads and stores on x86-64 and arm64).
// With the shared bit clear there is one handle, and the type is not Sync, so one thread at a time can share or
// drop it. With the bit set, nobody can share again, and two drops at once may both find it set: then both clear it
// and the memory leaks, which is safe. Otherwise the release store of the one happens before the acquire load of
// the other, which frees. Sharing does not happen across threads in any case: a sorted set moves whole.
unsafe impl Send for Member {}

impl Member {
    /// Makes a member with one handle. The score must not be NaN, and the bytes at most [`MEMBER_BYTES_MAX`].
    pub fn new(score: f64, bytes: &[u8]) -> Member {
        assert!(!score.is_nan(), "a score is never NaN");
        let layout = Member::layout(bytes.len());
        // SAFETY: the layout is never empty. The writes stay within it: 8 bytes, 4 bytes, then the member.
        unsafe {
            let Some(blob) = NonNull::new(alloc(layout)) else {
                handle_alloc_error(layout)
            };
            blob.cast::<u64>().write(score.to_bits());
            blob.add(TAG_OFFSET).cast::<u32>().write(bytes.len() as u32);
            blob.add(BYTES_OFFSET)
                .copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
            Member { blob }
        }
    }

    /// The member's score.
    pub fn score(&self) -> f64 {
        f64::from_bits(self.score_cell().load(Ordering::Relaxed))
    }

    /// The member's name.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `new` wrote that many bytes there, nothing changes them, and they live as long as any handle.
        unsafe { NonNull::slice_from_raw_parts(self.blob.add(BYTES_OFFSET), self.len()).as_ref() }
    }

    /// Bytes asked of the allocator for this member.
    pub fn memory_bytes(&self) -> usize {
        BYTES_OFFSET + self.len()
    }

    /// Makes the second handle. A member that has two already is an error of the caller.
    pub(super) fn share(&self) -> Member {
        let tag = self.tag_cell().load(Ordering::Relaxed);
        assert!(tag & SHARED == 0, "a member has at most two handles");
        self.tag_cell().store(tag | SHARED, Ordering::Relaxed);
        Member { blob: self.blob }
    }

    /// Changes the score, for all handles. Only the ordered index does so, when it has moved the member.
    pub(super) fn set_score(&self, score: f64) {
        self.score_cell().store(score.to_bits(), Ordering::Relaxed);
    }

    /// Whether both are handles of the same member, not only of equal ones.
    pub fn is_same(&self, other: &Member) -> bool {
        self.blob == other.blob
    }

    fn len(&self) -> usize {
        (self.tag_cell().load(Ordering::Relaxed) & !SHARED) as usize
    }

    fn score_cell(&self) -> &AtomicU64 {
        // SAFETY: 8 initialized bytes at an address that is a multiple of 8, only ever used as this atomic.
        unsafe { AtomicU64::from_ptr(self.blob.as_ptr().cast()) }
    }

    fn tag_cell(&self) -> &AtomicU32 {
        // SAFETY: 4 initialized bytes at an address that is a multiple of 4, only ever used as this atomic.
        unsafe { AtomicU32::from_ptr(self.blob.as_ptr().add(TAG_OFFSET).cast()) }
    }

    fn layout(len: usize) -> Layout {
        assert!(len <= MEMBER_BYTES_MAX, "a member is shorter than 2 GiB");
        Layout::from_size_align(BYTES_OFFSET + len, BLOB_ALIGN)
            .expect("the size is far below isize::MAX")
    }
}

impl Element for Member {
    fn key(&self) -> &[u8] {
        self.bytes()
    }

    fn hash(&self) -> u64 {
        hash(self.bytes())
    }

    fn address(&self) -> *const u8 {
        self.blob.as_ptr()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let tag = self.tag_cell().load(Ordering::Acquire);
        if tag & SHARED != 0 {
            self.tag_cell().store(tag & !SHARED, Ordering::Release);
            return;
        }
        // SAFETY: this is the last handle, and the layout is the one of `new`.
        unsafe { dealloc(self.blob.as_ptr(), Member::layout(tag as usize)) }
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({}, {})", self.score(), self.bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_keeps_its_score_and_bytes_until_the_last_handle_goes() {
        for len in [0, 1, 3, 4, 5, 100] {
            let bytes: Vec<u8> = (0..len).collect();
            let first = Member::new(-1.5, &bytes);
            let second = first.share();
            assert!(first.is_same(&second));
            second.set_score(2.5);
            drop(first);
            assert_eq!((second.score(), second.bytes()), (2.5, &bytes[..]));
            let third = second.share();
            drop(second);
            assert_eq!(third.bytes(), bytes);
        }
        assert_eq!(size_of::<Option<Member>>(), 8);
    }

    #[test]
    #[should_panic(expected = "at most two handles")]
    fn a_third_handle_is_refused() {
        let first = Member::new(0.0, b"x");
        let _second = first.share();
        let _third = first.share();
    }
}
