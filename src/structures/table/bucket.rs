//! One bucket of the table and the chain of overflow nodes behind it, as raw memory.
//!
//! ```text
//!  byte 0     1     2     3     4     5     6     7
//!     +-----+-----+-----+-----+-----+-----+-----+---------+
//!     | tag | tag | tag | tag | tag | tag | tag | control |  word 0: the meta word
//!     |  0  |  1  |  2  |  3  |  4  |  5  |  6  |         |
//!     +-----+-----+-----+-----+-----+-----+-----+---------+
//!   8 | element 0                                         |  control, bit 0..6: entry i is occupied
//!  16 | element 1                                         |           bit 7:    the chain goes on
//!  24 | element 2                                         |
//!     +---------------------------------------------------+  a small node ends here (32 bytes, 3 entries)
//!  32 | element 3                                         |
//!  40 | element 4                                         |
//!  48 | element 5                                         |
//!  56 | element 6, or the address of the next node        |
//!     +---------------------------------------------------+  bucket and full node: 64 bytes, 7 entries
//! ```
//!
//! The meta word is a `u64` whose lowest byte is tag 0, whatever the byte order of the machine. When the chain goes on,
//! entry 6 gives way to the address of the next node, bit 6 of the control byte is clear, and tag 6 says how big the
//! next node is ([`SMALL`] or [`FULL`]).
//!
//! Invariants of a chain: every node but the last holds six elements and an address; a last node that is not the
//! bucket itself holds at least two (one alone would fit where its address stands). So holes exist in the last node
//! only, and a chain never takes more memory than its elements need.
//!
//! The small node is what makes high load affordable: at seven elements a bucket, two of five buckets overflow, most
//! of them by two or three elements, and half a line apiece is enough for those.
//!
//! The only bucket of a table may be a small node, too: 16384 tables with a key or two each are not rare. Such a table
//! has no room to say so but the bucket itself: it is small when none of the entries 3 to 6 is occupied and the chain
//! does not go on. A full one therefore keeps one of them occupied ([`Node::settle`]).

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use super::{Element, prefetch};

/// Entries of a bucket, and of a full overflow node.
pub(super) const ENTRIES: usize = 7;
/// The entry that gives way to the address of the next node.
const LAST: usize = ENTRIES - 1;
/// Entries of a small overflow node.
pub(super) const SMALL_ENTRIES: usize = 3;
/// A full overflow node shrinks to a small one at this count: one below what fits, so that it does not flap.
const SMALL_AGAIN: u32 = 2;

/// What tag 6 says of the next node: 64 bytes, seven entries.
const FULL: u8 = 0;
/// What tag 6 says of the next node: 32 bytes, three entries.
pub(super) const SMALL: u8 = 1;

/// Memory of one bucket: one cache line.
pub(super) const BUCKET_BYTES: usize = 64;
const BUCKET_LAYOUT: Layout = layout(BUCKET_BYTES);
pub(super) const SMALL_BYTES: usize = 32;
const SMALL_LAYOUT: Layout = layout(SMALL_BYTES);

const _: () = assert!(BUCKET_BYTES == 8 * (1 + ENTRIES));
const _: () = assert!(SMALL_BYTES == 8 * (1 + SMALL_ENTRIES));

/// A layout of `size` bytes, aligned to `size`.
const fn layout(size: usize) -> Layout {
    match Layout::from_size_align(size, size) {
        Ok(layout) => layout,
        Err(_) => panic!("sizes of nodes are powers of two"),
    }
}

/// The tag of a hash: bits that never choose a bucket.
#[inline]
pub(super) fn tag_of(hash: u64) -> u8 {
    (hash >> 56) as u8
}

/// The meta word of a node: seven tags and the control byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta(pub(super) u64);

impl Meta {
    /// No entry, no next node.
    pub(super) const EMPTY: Meta = Meta(0);

    /// Bit i is set when entry i holds an element.
    #[inline]
    pub(super) fn occupied(self) -> u32 {
        (self.0 >> 56) as u32 & 0x7f
    }

    /// Number of elements in this node.
    #[inline]
    pub(super) fn count(self) -> u32 {
        self.occupied().count_ones()
    }

    /// Whether all of it has room in a small node.
    #[inline]
    pub(super) fn fits_small(self) -> bool {
        self.0 >> (56 + SMALL_ENTRIES) == 0
    }

    /// Whether entry 6 is the address of a next node.
    #[inline]
    pub(super) fn goes_on(self) -> bool {
        self.0 >> 63 != 0
    }

    /// Bit i is set when entry i holds an element with this tag.
    #[inline]
    pub(super) fn matches(self, tag: u8) -> u32 {
        equal_bytes(self.0, tag) & self.occupied()
    }

    #[inline]
    pub(super) fn tag(self, entry: usize) -> u8 {
        (self.0 >> (8 * entry)) as u8
    }

    #[inline]
    fn with_tag(self, entry: usize, tag: u8) -> Meta {
        let shift = 8 * entry;
        Meta(self.0 & !(0xff << shift) | u64::from(tag) << shift)
    }

    #[inline]
    fn with(self, entry: usize, tag: u8) -> Meta {
        Meta(self.with_tag(entry, tag).0 | 1 << (56 + entry))
    }

    #[inline]
    fn without(self, entry: usize) -> Meta {
        Meta(self.0 & !(1 << (56 + entry)))
    }

    #[inline]
    fn going_on(self, kind: u8) -> Meta {
        Meta(self.without(LAST).with_tag(LAST, kind).0 | 1 << 63)
    }

    #[inline]
    fn ending(self) -> Meta {
        Meta(self.0 & !(1 << 63))
    }
}

/// Bit i is set when byte i of `word` (byte 0 the lowest) equals `byte`.
#[cfg(target_arch = "x86_64")]
#[inline]
fn equal_bytes(word: u64, byte: u8) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_cvtsi64_si128, _mm_movemask_epi8, _mm_set1_epi8};
    // SAFETY: SSE2 belongs to every x86-64, and these intrinsics touch no memory. Worth it: three instructions in the
    // one path every command takes; `equal_bytes_portable` is the safe twin (bench/table.rs, "find").
    let mask = unsafe {
        _mm_movemask_epi8(_mm_cmpeq_epi8(
            _mm_cvtsi64_si128(word as i64),
            _mm_set1_epi8(byte as i8),
        ))
    };
    mask as u32 & 0xff
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn equal_bytes(word: u64, byte: u8) -> u32 {
    equal_bytes_portable(word, byte)
}

/// The same without SIMD: for other machines, and the twin that the tests hold [`equal_bytes`] to.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn equal_bytes_portable(word: u64, byte: u8) -> u32 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let difference = word ^ (u64::from(byte) * 0x0101_0101_0101_0101);
    // The high bit of each byte that is zero; exact, since no carry leaves a byte.
    let zero = !(((difference & LOW) + LOW) | difference | LOW);
    ((zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
}

#[cfg(test)]
pub(super) fn equal_bytes_twins(word: u64, byte: u8) -> (u32, u32) {
    (equal_bytes(word, byte), equal_bytes_portable(word, byte))
}

/// The indexes of the set bits, lowest first.
#[derive(Clone, Copy)]
pub(super) struct Bits(pub(super) u32);

impl Iterator for Bits {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let index = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(index)
    }
}

/// The address of a bucket or an overflow node: a plain pointer, which owns nothing by itself.
pub(super) struct Node<E> {
    words: NonNull<u64>,
    elements: PhantomData<*mut E>,
}

impl<E> Clone for Node<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Node<E> {}

impl<E> PartialEq for Node<E> {
    fn eq(&self, other: &Self) -> bool {
        self.words == other.words
    }
}

/// # Unsafe
///
/// All of these ask that the node is live: a bucket of the table or a node of its chains, with its meta word written;
/// and, for those that change it, that no reference to one of its elements exists.
impl<E: Element> Node<E> {
    #[inline]
    pub(super) fn at(address: NonNull<u8>) -> Self {
        Node {
            words: address.cast(),
            elements: PhantomData,
        }
    }

    /// The address as a table keeps it.
    pub(super) fn root(self) -> NonNull<u8> {
        self.words.cast()
    }

    #[inline]
    pub(super) fn address(self) -> *const u8 {
        self.words.as_ptr() as *const u8
    }

    #[inline]
    pub(super) unsafe fn meta(self) -> Meta {
        // SAFETY: the node is live, and word 0 is its meta word.
        Meta(unsafe { self.words.as_ptr().read() })
    }

    #[inline]
    pub(super) unsafe fn set_meta(self, meta: Meta) {
        // SAFETY: the node's memory is live, and word 0 is its meta word.
        unsafe { self.words.as_ptr().write(meta.0) }
    }

    /// Where entry `entry` stands. The entry must lie within the node's size.
    #[inline]
    pub(super) unsafe fn entry(self, entry: usize) -> *mut E {
        // SAFETY: the node has more than `entry` entries, by the caller's word.
        unsafe { self.words.as_ptr().add(1 + entry).cast() }
    }

    /// The next node of the chain, when `meta` (this node's) says that there is one.
    #[inline]
    pub(super) unsafe fn next(self, meta: Meta) -> Option<Node<E>> {
        if !meta.goes_on() {
            return None;
        }
        // SAFETY: a node that goes on has all seven entries, and the last is an address written by `link`.
        let next = unsafe {
            self.words
                .as_ptr()
                .add(1 + LAST)
                .cast::<NonNull<u8>>()
                .read()
        };
        Some(Node::at(next))
    }

    /// Makes entry 6 the address of `next`, whose kind is `kind`. An element that stood there was moved before.
    unsafe fn link(self, next: Node<E>, kind: u8) {
        // SAFETY: only nodes with seven entries are linked from.
        unsafe {
            self.words
                .as_ptr()
                .add(1 + LAST)
                .cast::<NonNull<u64>>()
                .write(next.words);
            self.set_meta(self.meta().going_on(kind));
        }
    }

    #[inline]
    unsafe fn put(self, entry: usize, tag: u8, element: E) -> *mut E {
        // SAFETY: the entry lies within the node and is free, by the caller's word.
        unsafe {
            let place = self.entry(entry);
            place.write(element);
            self.set_meta(self.meta().with(entry, tag));
            place
        }
    }

    /// Moves the element of entry `entry` out.
    #[inline]
    unsafe fn lift(self, entry: usize) -> E {
        // SAFETY: the entry is occupied, by the caller's word; it is marked free, so that nobody reads it again.
        unsafe {
            let element = self.entry(entry).read();
            self.set_meta(self.meta().without(entry));
            element
        }
    }

    /// An empty node.
    pub(super) fn allocate(kind: u8) -> Self {
        let layout = layout_of(kind);
        // SAFETY: the layout has a size.
        let Some(address) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        let node = Node::at(address);
        // SAFETY: fresh memory of at least a word.
        unsafe { node.set_meta(Meta::EMPTY) };
        node
    }

    /// Frees an overflow node or an only bucket, not its elements.
    pub(super) unsafe fn free(self, kind: u8) {
        // SAFETY: overflow nodes come from `allocate` with the kind that is kept in their parent; an only bucket has the
        // layout of its kind, too.
        unsafe { dealloc(self.words.as_ptr().cast(), layout_of(kind)) }
    }

    /// A full node in the place of this small one, with all that is in it.
    pub(super) unsafe fn widened(self) -> Self {
        let full = Node::allocate(FULL);
        // SAFETY: a small node ends after its third entry; what is copied has one owner, since this one is freed.
        unsafe {
            ptr::copy_nonoverlapping(self.words.as_ptr(), full.words.as_ptr(), 1 + SMALL_ENTRIES);
            self.free(SMALL);
        }
        full
    }

    /// A small node in the place of this full one, with all that is in it.
    unsafe fn narrowed(self) -> Self {
        let small = Node::allocate(SMALL);
        // SAFETY: the caller knows that it ends the chain and has room in a small one; each element is moved once.
        unsafe {
            let meta = self.meta();
            for (to, from) in Bits(meta.occupied()).enumerate() {
                small.put(to, meta.tag(from), self.lift(from));
            }
            self.free(FULL);
        }
        small
    }

    /// An only bucket that is a full node, after elements have left it: it becomes a small one when that leaves room
    /// for one more, or shows by an entry behind the third that it is none. Answers which node the bucket is now.
    pub(super) unsafe fn settle(self) -> Self {
        // SAFETY: the node is live and full-sized, by the caller's word, so entry 3 is within it.
        unsafe {
            let meta = self.meta();
            if meta.fits_small() && meta.count() > SMALL_AGAIN {
                self.put(SMALL_ENTRIES, meta.tag(0), self.lift(0));
            } else if !meta.goes_on() && meta.count() <= SMALL_AGAIN {
                return self.narrowed();
            }
        }
        self
    }

    /// The first element of the chain with this tag for which `is_it` answers yes: its node and entry.
    #[inline]
    pub(super) unsafe fn find(
        self,
        tag: u8,
        mut is_it: impl FnMut(&E) -> bool,
    ) -> Option<(Node<E>, usize)> {
        let mut node = self;
        loop {
            // SAFETY: the chain is live, and matching entries are occupied.
            unsafe {
                let meta = node.meta();
                for entry in Bits(meta.matches(tag)) {
                    if is_it(&*node.entry(entry)) {
                        return Some((node, entry));
                    }
                }
                node = node.next(meta)?;
            }
        }
    }

    /// Asks for the memory of the elements that carry this tag, and for the next node when there is one.
    #[inline]
    pub(super) unsafe fn prefetch_matching(self, tag: u8) {
        // SAFETY: the node is live, and matching entries are occupied.
        unsafe {
            let meta = self.meta();
            for entry in Bits(meta.matches(tag)) {
                prefetch((*self.entry(entry)).address());
            }
            if let Some(next) = self.next(meta) {
                prefetch(next.address());
            }
        }
    }

    /// Asks for the rest of the elements that carry this tag, which `prefetch_matching` has asked for the beginning of,
    /// and for those in the next node: one in four stands there. Their size is not known yet; two lines are usual.
    #[inline]
    pub(super) unsafe fn prefetch_behind(self, tag: u8) {
        // SAFETY: the chain is live, and matching entries are occupied.
        unsafe {
            let meta = self.meta();
            for entry in Bits(meta.matches(tag)) {
                (*self.entry(entry)).prefetch_rest();
            }
            if let Some(next) = self.next(meta) {
                for entry in Bits(next.meta().matches(tag)) {
                    let address = (*next.entry(entry)).address();
                    prefetch(address);
                    prefetch(address.wrapping_add(BUCKET_BYTES));
                }
            }
        }
    }

    /// Asks for the memory of all elements of the chain, so that the misses overlap.
    pub(super) unsafe fn prefetch_all(self) {
        // SAFETY: the chain is live.
        unsafe { self.for_each(|node, entry| prefetch((*node.entry(entry)).address())) }
    }

    /// Calls `visit` with the node and entry of each element of the chain.
    #[inline]
    pub(super) unsafe fn for_each(self, mut visit: impl FnMut(Node<E>, usize)) {
        let mut node = Some(self);
        while let Some(here) = node {
            // SAFETY: the chain is live.
            unsafe {
                let meta = here.meta();
                for entry in Bits(meta.occupied()) {
                    visit(here, entry);
                }
                node = here.next(meta);
            }
        }
    }

    /// Elements in the chain.
    pub(super) unsafe fn chain_count(self) -> usize {
        let (mut node, mut count) = (Some(self), 0);
        while let Some(here) = node {
            // SAFETY: the chain is live.
            unsafe {
                let meta = here.meta();
                count += meta.count() as usize;
                node = here.next(meta);
            }
        }
        count
    }

    /// Bytes of the overflow nodes behind this bucket.
    pub(super) unsafe fn overflow_bytes(self) -> usize {
        let (mut node, mut bytes) = (self, 0);
        // SAFETY: the chain is live.
        unsafe {
            while let Some(next) = node.next(node.meta()) {
                bytes += layout_of(node.meta().tag(LAST)).size();
                node = next;
            }
        }
        bytes
    }

    /// Adds an element to the chain of this bucket; answers where it stands now.
    #[inline]
    pub(super) unsafe fn place(self, tag: u8, element: E) -> *mut E {
        // SAFETY: the chain is live, and a free entry below 6, or 6 in a node that ends the chain, may be written.
        unsafe {
            let meta = self.meta();
            if !meta.goes_on() {
                let free = !meta.occupied() & 0x7f;
                if free != 0 {
                    return self.put(free.trailing_zeros() as usize, tag, element);
                }
            }
            self.place_far(tag, element)
        }
    }

    /// The part of [`Node::place`] that leaves the bucket: it is full, or goes on already.
    #[cold]
    unsafe fn place_far(self, tag: u8, element: E) -> *mut E {
        // SAFETY: see `place`; only the last node has free entries, and its size is known from its parent.
        unsafe {
            let (parent, last) = self.ends();
            let Some(parent) = parent else {
                return last.extend(tag, element);
            };
            let kind = parent.meta().tag(LAST);
            let entries = if kind == SMALL { 0x07 } else { 0x7f };
            let free = !last.meta().occupied() & entries;
            if free != 0 {
                return last.put(free.trailing_zeros() as usize, tag, element);
            }
            if kind == FULL {
                return last.extend(tag, element);
            }
            let bigger = last.widened();
            parent.link(bigger, FULL);
            bigger.put(SMALL_ENTRIES, tag, element)
        }
    }

    /// Lengthens the chain behind this node, which ends it and is full.
    unsafe fn extend(self, tag: u8, element: E) -> *mut E {
        // SAFETY: all seven entries are occupied; the last moves to the new node before its place becomes the address.
        unsafe {
            let next = Node::allocate(SMALL);
            let moved_tag = self.meta().tag(LAST);
            next.put(0, moved_tag, self.lift(LAST));
            self.link(next, SMALL);
            next.put(1, tag, element)
        }
    }

    /// The last node of the chain and the one before it.
    unsafe fn ends(self) -> (Option<Node<E>>, Node<E>) {
        let (mut parent, mut last) = (None, self);
        // SAFETY: the chain is live.
        while let Some(next) = unsafe { last.next(last.meta()) } {
            parent = Some(last);
            last = next;
        }
        (parent, last)
    }

    /// Takes the element of `entry` in `node` out of the chain of this bucket, and closes the gap from its end.
    #[inline]
    pub(super) unsafe fn take(self, node: Node<E>, entry: usize) -> E {
        // SAFETY: `node` belongs to the chain and the entry is occupied, by the caller's word.
        unsafe {
            let element = node.lift(entry);
            if self.meta().goes_on() {
                self.close_gap(node, entry);
            }
            element
        }
    }

    /// Restores the invariants of a chain with overflow after `entry` of `node` became free.
    #[cold]
    unsafe fn close_gap(self, node: Node<E>, entry: usize) {
        // SAFETY: the chain is live; the last node holds at least two elements before the removal, thus one now.
        unsafe {
            let (parent, last) = self.ends();
            let parent = parent.expect("a chain that goes on has a node before the last");
            if last != node {
                let from = last.meta().occupied().trailing_zeros() as usize;
                let tag = last.meta().tag(from);
                node.put(entry, tag, last.lift(from));
            }
            let kind = parent.meta().tag(LAST);
            let rest = last.meta();
            if rest.count() == 1 {
                let from = rest.occupied().trailing_zeros() as usize;
                let element = last.lift(from);
                last.free(kind);
                parent.set_meta(parent.meta().ending());
                parent.put(LAST, rest.tag(from), element);
            } else if kind == FULL && rest.count() <= SMALL_AGAIN {
                parent.link(last.narrowed(), SMALL);
            }
        }
    }

    /// Moves the whole chain out: afterwards the bucket is empty, its overflow nodes are freed, and `each` has had every
    /// element with its tag.
    ///
    /// `each` may put elements into this very bucket. If it panics, the elements that it has not had yet leak.
    pub(super) unsafe fn empty(self, mut each: impl FnMut(u8, E)) {
        // SAFETY: the bucket is copied aside and then marked empty, so every element has one owner at any time. The
        // copy stays at a live address until the loop ends; overflow nodes are freed after they were read.
        unsafe {
            let mut aside = [const { std::mem::MaybeUninit::<u64>::uninit() }; 1 + ENTRIES];
            ptr::copy_nonoverlapping(self.words.as_ptr(), aside.as_mut_ptr().cast(), 1 + ENTRIES);
            self.set_meta(Meta::EMPTY);
            let mut node: Node<E> = Node::at(NonNull::from(&mut aside).cast());
            let mut kind = None;
            loop {
                let meta = node.meta();
                for entry in Bits(meta.occupied()) {
                    each(meta.tag(entry), node.entry(entry).read());
                }
                let next = node.next(meta);
                if let Some(kind) = kind {
                    node.free(kind);
                }
                let Some(next) = next else { return };
                kind = Some(meta.tag(LAST));
                node = next;
            }
        }
    }

    /// Some element of the chain, an overflow node's first: the cheapest to take out.
    pub(super) unsafe fn any(self) -> Option<(Node<E>, usize)> {
        // SAFETY: the chain is live.
        unsafe {
            let (_, last) = self.ends();
            let entry = Bits(last.meta().occupied()).next()?;
            Some((last, entry))
        }
    }

    /// Asserts the invariants of the chain (see the header).
    pub(super) unsafe fn check_chain(self) {
        let (mut node, mut kind) = (self, None);
        loop {
            // SAFETY: the chain is live.
            unsafe {
                let meta = node.meta();
                if kind == Some(SMALL) {
                    assert!(!meta.goes_on(), "a small node ends its chain");
                    assert!(
                        meta.occupied() < 1 << SMALL_ENTRIES,
                        "a small node has three entries"
                    );
                }
                let Some(next) = node.next(meta) else {
                    assert!(
                        kind.is_none() || meta.count() >= 2,
                        "a last node holds two or more"
                    );
                    return;
                };
                assert_eq!(meta.occupied(), 0x3f, "a node that goes on is full");
                let next_kind = meta.tag(LAST);
                assert!(
                    next_kind == SMALL || next_kind == FULL,
                    "a node is small or full"
                );
                kind = Some(next_kind);
                node = next;
            }
        }
    }
}

fn layout_of(kind: u8) -> Layout {
    if kind == SMALL {
        SMALL_LAYOUT
    } else {
        BUCKET_LAYOUT
    }
}
