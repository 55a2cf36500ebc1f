//! The registered buffer ring: where the kernel puts what multishot receives bring.
//!
//! A buffer belongs to a connection only between its completion and the end of the loop turn's parse, so few buffers
//! serve many connections and an idle one holds none. The ring starts small, which keeps the buffers in the cache, and
//! doubles when the kernel reports that it ran dry (ENOBUFS).
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::{IoUring, types};

/// Bytes in a buffer: a pipeline of a hundred small commands fits.
pub const BUFFER_BYTES: usize = 16 * 1024;
/// Buffers at start: one megabyte, about what stays in a core's own cache.
const BUFFERS_START: u16 = 64;
/// Buffers at most: a burst past it ends in ENOBUFS and a re-armed receive, never in an error.
const BUFFERS_MAX: u16 = 1024;
/// The only buffer group of a ring.
pub const GROUP: u16 = 0;

/// The buffers and the ring that tells the kernel of them.
pub struct Buffers {
    entries: NonNull<types::BufRingEntry>,
    memory: Vec<NonNull<u8>>,
    tail: u16,
}

/// A buffer that the kernel has filled and leaves alone until it is given back.
#[derive(Debug)]
pub struct Received {
    at: NonNull<u8>,
    length: u32,
    id: u16,
}

impl Deref for Received {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: buffers are never freed, and the kernel writes to this one only after `provide` has taken this value.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.length as usize) }
    }
}

// SAFETY: the pointers are to memory this value owns; it may move to the thread that drives the ring.
unsafe impl Send for Buffers {}

fn entries_layout() -> Layout {
    Layout::from_size_align(
        usize::from(BUFFERS_MAX) * size_of::<types::BufRingEntry>(),
        4096,
    )
    .expect("a few pages")
}

fn buffers_layout(count: u16) -> Layout {
    Layout::from_size_align(usize::from(count) * BUFFER_BYTES, 4096).expect("a few megabytes")
}

impl Buffers {
    /// Registers the ring with `uring` and fills it.
    pub fn register(uring: &IoUring) -> io::Result<Self> {
        // SAFETY: the layout is not empty; zeroed memory is what the kernel expects of a new ring.
        let entries = unsafe { alloc_zeroed(entries_layout()) };
        let Some(entries) = NonNull::new(entries.cast()) else {
            handle_alloc_error(entries_layout());
        };
        // SAFETY: the memory is page aligned, as large as announced, and never freed while the process lives: the
        // kernel may write to it until the ring is gone, and rings live as long as their core.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                BUFFERS_MAX,
                GROUP,
                0,
            )?;
        }
        let mut buffers = Buffers {
            entries,
            memory: Vec::new(),
            tail: 0,
        };
        buffers.add(BUFFERS_START);
        Ok(buffers)
    }

    /// The kernel ran dry: provides as many again, up to the maximum.
    pub fn grow(&mut self) {
        let have = self.memory.len() as u16;
        self.add(have.min(BUFFERS_MAX - have));
    }

    fn add(&mut self, count: u16) {
        if count == 0 {
            return;
        }
        // SAFETY: the layout is not empty.
        let Some(first) = NonNull::new(unsafe { alloc_zeroed(buffers_layout(count)) }) else {
            return; // no memory for more: the ring stays as it is
        };
        for i in 0..usize::from(count) {
            // SAFETY: the allocation holds `count` buffers.
            self.memory.push(unsafe { first.add(i * BUFFER_BYTES) });
            self.provide_id(self.memory.len() as u16 - 1);
        }
        self.publish();
    }

    /// The first `length` bytes of a buffer that a completion named. The kernel names a buffer once each time it is
    /// provided, so the result is the only view of it.
    #[inline]
    pub fn received(&self, id: u16, length: usize) -> Received {
        assert!(length <= BUFFER_BYTES, "the kernel fills a buffer at most");
        Received {
            at: self.memory[usize::from(id)],
            length: length as u32,
            id,
        }
    }

    /// Gives a buffer back to the kernel; it learns of it with the next `publish`.
    #[inline]
    pub fn provide(&mut self, received: Received) {
        self.provide_id(received.id);
    }

    #[inline]
    fn provide_id(&mut self, id: u16) {
        let place = usize::from(self.tail & (BUFFERS_MAX - 1));
        // SAFETY: `place` is below the number of entries, and the kernel reads an entry only after the tail has passed
        // it, which `publish` does.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(place);
            entry.set_addr(self.memory[usize::from(id)].as_ptr() as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see the buffers given back.
    #[inline]
    pub fn publish(&mut self) {
        // SAFETY: the tail lies within the first entry (its reserved field) and is aligned for a 16-bit atomic; the
        // release order makes the entries visible before it.
        unsafe {
            let tail = types::BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}
