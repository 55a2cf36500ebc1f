//! The hash table that carries the keyspace, one per hash slot and database, and the big hashes, sets and member
//! indexes of sorted sets.
//!
//! It is the structure that every command goes through, so it counts cache lines: a bucket is one line (drawn in
//! `table/bucket.rs`) with seven element handles and their tags, and a hit costs that line and the element itself, one
//! time in four with an overflow node between them.
//!
//! **Growth** is linear hashing (Litwin 1980): with n buckets, `2^k <= n < 2^(k+1)`, an element lives in the bucket of
//! its lowest k+1 hash bits, or of its lowest k bits where that bucket does not exist yet. One more bucket takes
//! elements from exactly one other. So a table never doubles, its load stays level, and 16384 tables filled alike do
//! not all double together. Rejected: doubling with two tables side by side (half of the memory idle on average, and
//! two places to look in), and open addressing (no order in which a scan survives growth).
//!
//! **Memory.** Up to `SEGMENT` buckets are one allocation, whose size steps through jemalloc's size classes (1 to 8
//! lines one by one, then four steps per doubling), so that nothing is lost to rounding; the table uses all buckets of
//! a step at once, because an idle bucket would be memory that relieves nobody. Larger tables are a directory of
//! segments of 8 KB; only the last segment is ever resized, and a directory for ten million elements has 96 KB, the
//! most that one insert copies. All capacities follow from the number of buckets, which keeps the header at 16
//! bytes: 16384 of them stand in an array per database.
//!
//! **Scan order.** An element's *position* is its lowest 38 hash bits in reverse order: a number below 2^38. Every
//! bucket, at every size of the table, covers one interval of positions. A cursor is the position reached: everything
//! below it was visited, nothing from it on (`walked`). Growth and shrinking move elements between buckets but never
//! change a position, so each element present during the whole scan is seen exactly once, even when the interval that
//! the cursor cuts has merged or split meanwhile.
//!
//! Invariants: no heap when empty; every element stands in the chain of its bucket; see also `table/bucket.rs`.

#![allow(unsafe_code)]

mod bucket;
mod growth;
#[cfg(test)]
mod tests;

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::marker::PhantomData;
use std::ptr::NonNull;

use bucket::{BUCKET_BYTES, Bits, Meta, Node, SMALL, SMALL_BYTES, SMALL_ENTRIES, tag_of};

/// What a table holds: an owned handle of eight bytes (a thin box, as it were) that knows its key and its hash.
///
/// The table drops its elements when it is dropped. The key, and thereby the hash, must not change while the element is
/// in a table; a key that does change makes elements unfindable, but nothing worse.
pub trait Element: Sized {
    /// The key by which [`Table::find`] compares.
    fn key(&self) -> &[u8];

    /// The hash under which the element was inserted. Called when a bucket splits and in checks, not by look-ups.
    fn hash(&self) -> u64;

    /// The memory that look-ups read first, for prefetching. It is never dereferenced.
    fn address(&self) -> *const u8;

    /// Asks for what look-ups read after that, which what lies at `address` tells.
    fn prefetch_rest(&self) {}
}

/// Bits of a position, and of a scan cursor.
pub const CURSOR_BITS: u32 = 38;

/// Buckets of a segment; a table of at most this many is one allocation. 8 KB: the largest power of two that is still
/// a small size to jemalloc (it pads each large one, from 16 KB on, by a page: measured 15.0 instead of 12.7 bytes of
/// pages per entry), and yet a directory for ten million elements has less than 100 KB.
const SEGMENT: usize = 128;
/// The last segment of a directory is resized in steps of this many buckets (jemalloc has all these sizes) ...
const SEGMENT_STEP: usize = 16;
/// ... until the table has this many buckets. Then half of a segment is less than one part in thirty.
const STEPS_UNTIL: usize = 16 * SEGMENT;
/// A table of one allocation takes the next step when it has more elements per hundred buckets than this. Measured with
/// the large load below, from one to ten million elements: 725 and 650 take 12.2 to 13.2 allocated bytes per element, and
/// a hit reads 0.19 to 0.23 overflow nodes; 790 and 700 take 11.6 to 12.4, and 0.24 to 0.34. That tenth of a line
/// more per hit is the price of about 0.8 bytes.
const LOAD_SMALL: u64 = 790;
/// A table with a directory adds a bucket when it has more elements per hundred buckets than this. Lower than above,
/// because it stands at this load always and the other only at the end of each step.
const LOAD_LARGE: u64 = 700;
/// A large table merges buckets when its load has fallen to this percentage of what makes it grow ...
const SHRINK_LARGE_PERCENT: u64 = 75;
/// ... and a small one goes back a step when its load would still be below this percentage. Both leave a gap, so that
/// alternating inserts and removals do not flap.
const SHRINK_SMALL_PERCENT: u64 = 80;
/// Splits or merges that one insert or removal does at most in a table with a directory. One per six inserts keeps
/// pace; two let it catch up.
const STEPS_MAX: usize = 2;
/// A chain longer than this has its elements drawn less often by [`Table::random`].
const FAIR_CHAIN: u64 = 24;
/// Tries of [`Table::random`] before it takes the next element there is. A try succeeds with about 0.3.
const RANDOM_TRIES: usize = 64;
/// Most elements of one table, as in Redis (2^32 - 1 members).
const LEN_MAX: u32 = u32::MAX;

/// Asks the processor to bring the line at `address` into its cache. Any address will do.
#[inline]
pub fn prefetch(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch is a hint that never faults. Worth it: bench/table.rs, "batch".
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}

/// Whether a scan that now stands at `cursor` has visited the element with this hash, or would have. At cursor 0 the
/// answer is no: the caller knows whether 0 means "not begun" or "ended".
#[inline]
pub fn walked(cursor: u64, hash: u64) -> bool {
    position_of(hash) < cursor
}

/// The place of a hash in scan order: its lowest 38 bits, reversed.
#[inline]
fn position_of(hash: u64) -> u64 {
    hash.reverse_bits() >> (64 - CURSOR_BITS)
}

/// The next size class of jemalloc for `count` things of 64 (or 8) bytes: 1 to 8, then four steps per doubling.
#[inline]
fn step_up(count: usize) -> usize {
    if count <= 8 {
        return count;
    }
    count.next_multiple_of(1 << ((count - 1).ilog2() - 2))
}

/// The largest step below `count`, which is not 0.
#[inline]
fn step_down(count: usize) -> usize {
    if count <= 8 {
        return count - 1;
    }
    let step = 1 << ((count - 1).ilog2() - 2);
    (count - 1) / step * step
}

/// Buckets for which the last (or only) segment of a table of `buckets` has room.
fn last_capacity(buckets: usize) -> usize {
    if buckets <= SEGMENT {
        step_up(buckets)
    } else if buckets <= STEPS_UNTIL {
        ((buckets - 1) % SEGMENT + 1).next_multiple_of(SEGMENT_STEP)
    } else {
        SEGMENT
    }
}

fn buckets_layout(count: usize) -> Layout {
    Layout::from_size_align(count * BUCKET_BYTES, BUCKET_BYTES).expect("a segment has at most 8 KB")
}

fn directory_layout(segments: usize) -> Layout {
    Layout::array::<NonNull<u8>>(segments).expect("2^32 buckets have 2^25 segments")
}

/// Memory for `layout`, moved over from `old` when there is one.
///
/// # Unsafe
///
/// `old` must be an allocation with that layout; it is gone afterwards. `layout` must have a size and the alignment of
/// the old one.
unsafe fn resize(old: Option<(NonNull<u8>, Layout)>, layout: Layout) -> NonNull<u8> {
    // SAFETY: by the caller's word.
    let address = unsafe {
        match old {
            Some((address, old)) => realloc(address.as_ptr(), old, layout.size()),
            None => alloc(layout),
        }
    };
    NonNull::new(address).unwrap_or_else(|| handle_alloc_error(layout))
}

/// A uniform number below `bound`, out of a uniform 64-bit one.
#[inline]
fn below(random: u64, bound: u64) -> u64 {
    ((u128::from(random) * u128::from(bound)) >> 64) as u64
}

/// A hash table of owned handles; see the header of the file. Hashes come from the caller.
pub struct Table<E: Element> {
    /// Nothing (dangling), the one segment, or the directory: which, `buckets` says.
    root: NonNull<u8>,
    len: u32,
    buckets: u32,
    elements: PhantomData<E>,
}

// SAFETY: the table owns its memory and its elements, shares nothing, and has no interior mutability of its own.
unsafe impl<E: Element + Send> Send for Table<E> {}
// SAFETY: a shared table only hands out `&E`.
unsafe impl<E: Element + Sync> Sync for Table<E> {}

impl<E: Element> Default for Table<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Element> Drop for Table<E> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The answer of [`Table::entry`].
pub enum Entry<'a, E: Element> {
    /// The key is there.
    Found(Found<'a, E>),
    /// The key is not there; insert it if you like.
    Vacant(Vacant<'a, E>),
}

/// An element that was found, with its place.
pub struct Found<'a, E: Element> {
    table: &'a mut Table<E>,
    bucket: Node<E>,
    node: Node<E>,
    entry: usize,
}

/// The absence of a key, with its hash.
pub struct Vacant<'a, E: Element> {
    table: &'a mut Table<E>,
    hash: u64,
}

impl<'a, E: Element> Found<'a, E> {
    /// The element.
    #[inline]
    pub fn get(&self) -> &E {
        // SAFETY: the place is occupied, and the exclusive borrow of the table keeps it so.
        unsafe { &*self.node.entry(self.entry) }
    }

    /// The element, to change; its key must stay.
    #[inline]
    pub fn get_mut(&mut self) -> &mut E {
        // SAFETY: as in `get`, and no other reference exists.
        unsafe { &mut *self.node.entry(self.entry) }
    }

    /// The element for as long as the table was borrowed.
    #[inline]
    pub fn into_mut(self) -> &'a mut E {
        // SAFETY: as in `get_mut`; the borrow of the table passes on to the result.
        unsafe { &mut *self.node.entry(self.entry) }
    }

    /// Puts `element`, which must have the same key, in its place and hands back the old one.
    pub fn replace(&mut self, element: E) -> E {
        std::mem::replace(self.get_mut(), element)
    }

    /// Whether the table holds nothing else.
    #[inline]
    pub fn is_only(&self) -> bool {
        self.table.len == 1
    }

    /// Takes the element out of the table.
    pub fn remove(self) -> E {
        // SAFETY: the place is occupied and belongs to this bucket's chain.
        unsafe { self.table.take_out(self.bucket, self.node, self.entry) }
    }
}

impl<'a, E: Element> Vacant<'a, E> {
    /// The table, for a caller that keeps books beside it and inserts by itself.
    #[inline]
    pub fn into_table(self) -> &'a mut Table<E> {
        self.table
    }

    /// Inserts `element`, which must have the key and hash that were looked for.
    pub fn insert(self, element: E) -> &'a mut E {
        self.table.insert(self.hash, element)
    }
}

impl<E: Element> Table<E> {
    const SIZES: () = {
        assert!(
            size_of::<E>() == 8 && align_of::<E>() <= 8,
            "an element is a handle of eight bytes"
        );
        assert!(size_of::<Self>() == 16, "headers stand in arrays of 16384");
    };

    /// An empty table, without heap.
    pub const fn new() -> Self {
        let () = Self::SIZES;
        Table {
            root: NonNull::dangling(),
            len: 0,
            buckets: 0,
            elements: PhantomData,
        }
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The element with this key.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<&E> {
        self.find_by(hash, |element| element.key() == key)
    }

    /// The first element under this hash for which `is_it` answers yes. It is asked about others too, whose hash only
    /// resembles this one, so it must compare the key.
    #[inline]
    pub fn find_by(&self, hash: u64, is_it: impl FnMut(&E) -> bool) -> Option<&E> {
        let (_, node, entry) = self.locate(hash, is_it)?;
        // SAFETY: `locate` answers with occupied places, and the borrow of the table keeps them so.
        Some(unsafe { &*node.entry(entry) })
    }

    /// The element with this key, to change; its key must stay.
    #[inline]
    pub fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut E> {
        let (_, node, entry) = self.locate(hash, |element| element.key() == key)?;
        // SAFETY: as in `find_by`, and the table is borrowed exclusively.
        Some(unsafe { &mut *node.entry(entry) })
    }

    /// The place of this key, from which the element can be read, replaced or removed without another search.
    #[inline]
    pub fn found(&mut self, hash: u64, key: &[u8]) -> Option<Found<'_, E>> {
        let (bucket, node, entry) = self.locate(hash, |element| element.key() == key)?;
        Some(Found {
            table: self,
            bucket,
            node,
            entry,
        })
    }

    /// The place of this key, or the chance to insert it: one search for both.
    #[inline]
    pub fn entry(&mut self, hash: u64, key: &[u8]) -> Entry<'_, E> {
        match self.locate(hash, |element| element.key() == key) {
            Some((bucket, node, entry)) => Entry::Found(Found {
                table: self,
                bucket,
                node,
                entry,
            }),
            None => Entry::Vacant(Vacant { table: self, hash }),
        }
    }

    /// Inserts an element whose key is not in the table; the caller knows that it is not.
    ///
    /// Growth comes first: in a large table at most two splits, each of one bucket, in one below `SEGMENT` (128) buckets at
    /// most a quarter of them.
    #[inline]
    pub fn insert(&mut self, hash: u64, element: E) -> &mut E {
        debug_assert_eq!(hash, element.hash(), "an element knows its hash");
        assert!(
            self.len < LEN_MAX,
            "a table holds at most 2^32 - 1 elements"
        );
        self.len += 1;
        if self.overloaded() {
            self.prefetch_bucket(hash);
            self.grow();
        } else if self.len as usize == SMALL_ENTRIES + 1 && self.is_small() {
            self.widen();
        }
        // SAFETY: there is a bucket now, and the table is borrowed exclusively for as long as the result.
        unsafe { &mut *self.bucket_of(hash).place(tag_of(hash), element) }
    }

    /// Removes the element with this key.
    #[inline]
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<E> {
        self.remove_by(hash, |element| element.key() == key)
    }

    /// Removes the first element under this hash for which `is_it` answers yes (see [`Table::find_by`]).
    #[inline]
    pub fn remove_by(&mut self, hash: u64, is_it: impl FnMut(&E) -> bool) -> Option<E> {
        let (bucket, node, entry) = self.locate(hash, is_it)?;
        // SAFETY: the place is occupied and belongs to this bucket's chain.
        Some(unsafe { self.take_out(bucket, node, entry) })
    }

    /// Puts `element` in the place of the one with the same key and hands that back; or hands `element` back as the
    /// error when there is none.
    pub fn replace(&mut self, hash: u64, element: E) -> Result<E, E> {
        match self.find_mut(hash, element.key()) {
            Some(place) => Ok(std::mem::replace(place, element)),
            None => Err(element),
        }
    }

    /// First stage for a batch of look-ups: asks for the line of the bucket.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        if self.buckets != 0 {
            prefetch(self.bucket_of(hash).address());
        }
    }

    /// Second stage, some look-ups later: reads the bucket and asks for the elements whose tag matches, and for the first
    /// overflow node.
    #[inline]
    pub fn prefetch_element(&self, hash: u64) {
        if self.buckets != 0 {
            // SAFETY: the table has buckets, and the chain is live.
            unsafe { self.bucket_of(hash).prefetch_matching(tag_of(hash)) }
        }
    }

    /// Third stage: what is behind the beginning of an element, and what the overflow node leads to.
    #[inline]
    pub fn prefetch_rest(&self, hash: u64) {
        if self.buckets != 0 {
            // SAFETY: the table has buckets, and the chain is live.
            unsafe { self.bucket_of(hash).prefetch_behind(tag_of(hash)) }
        }
    }

    /// The part of a scan that `cursor` stands in: the cursor as it counts, the bucket, and where the part and the next one
    /// begin. None of a table without buckets.
    #[inline]
    fn part_at(&self, cursor: u64) -> Option<(u64, u32, u64, u64)> {
        const END: u64 = 1 << CURSOR_BITS;
        if self.buckets == 0 {
            return None;
        }
        let cursor = cursor & (END - 1);
        let index = self.index_of(cursor.reverse_bits() >> (64 - CURSOR_BITS));
        let span = END >> self.depth_of(index);
        let start = cursor & !(span - 1);
        Some((cursor, index, start, (start + span) & (END - 1)))
    }

    /// Visits the part of the table at `cursor` with `emit` and answers the next cursor; 0 begins and 0 ends.
    ///
    /// A part is one bucket with its chain, or what of it lies behind the cursor. Exactly the elements with a position
    /// from `cursor` to below the answer are emitted, so a whole scan emits each element that stays exactly once,
    /// however the table grows and shrinks between calls. Bits of the cursor above the 38th are ignored.
    pub fn scan(&self, cursor: u64, mut emit: impl FnMut(&E)) -> u64 {
        let Some((cursor, index, start, next)) = self.part_at(cursor) else {
            return 0;
        };
        // SAFETY: the index is a bucket's, and occupied places hold elements; `emit` cannot reach the table but shared.
        unsafe {
            let bucket = self.bucket_at(index);
            bucket.prefetch_all();
            bucket.for_each(|node, entry| {
                let element = &*node.entry(entry);
                if start == cursor || !walked(cursor, element.hash()) {
                    emit(element);
                }
            });
        }
        next
    }

    /// The same, to change the elements; their keys must stay.
    pub fn scan_mut(&mut self, cursor: u64, mut emit: impl FnMut(&mut E)) -> u64 {
        let Some((cursor, index, start, next)) = self.part_at(cursor) else {
            return 0;
        };
        // SAFETY: the index is a bucket's, and occupied places hold elements. The table is borrowed exclusively, `emit`
        // cannot reach it, and each place is shown once.
        unsafe {
            let bucket = self.bucket_at(index);
            bucket.prefetch_all();
            bucket.for_each(|node, entry| {
                let element = &mut *node.entry(entry);
                if start == cursor || !walked(cursor, element.hash()) {
                    emit(element);
                }
            });
        }
        next
    }

    /// An element drawn nearly uniformly with numbers from `supply`.
    ///
    /// Tables of up to eight buckets are exactly uniform. In others a bucket and a rank below 24 are drawn until an
    /// element has that rank (three or four times): uniform, except that the elements of a chain of c > 24 are drawn 24/c
    /// times as often as others, which hits fewer than one element in a thousand. A table where 64 tries find nothing
    /// (hashes all alike) answers with the next element there is.
    pub fn random(&self, supply: &mut impl FnMut() -> u64) -> Option<&E> {
        if self.len == 0 {
            return None;
        }
        let buckets = u64::from(self.buckets);
        if buckets <= 8 {
            let mut rank = below(supply(), u64::from(self.len)) as usize;
            for index in 0..self.buckets {
                match self.ranked(index, rank) {
                    Ok(element) => return Some(element),
                    Err(count) => rank -= count,
                }
            }
        }
        for _ in 0..RANDOM_TRIES {
            let index = below(supply(), buckets) as u32;
            // SAFETY: the chain is live.
            let count = unsafe { self.bucket_at(index).chain_count() };
            let rank = below(supply(), FAIR_CHAIN.max(count as u64)) as usize;
            if let Ok(element) = self.ranked(index, rank) {
                return Some(element);
            }
        }
        let start = below(supply(), buckets);
        (0..buckets).find_map(|step| self.ranked(((start + step) % buckets) as u32, 0).ok())
    }

    /// Visits up to `count` elements that stand together, from the bucket that `start` (a random number) chooses, and
    /// answers how many they were: the sample that eviction and expiry judge. Nothing is visited twice.
    ///
    /// At most `10 * count` buckets are looked at, so a sparse table may yield fewer.
    pub fn sample(&self, count: usize, start: u64, mut visit: impl FnMut(&E)) -> usize {
        let buckets = u64::from(self.buckets);
        let first = below(start, buckets);
        let mut visited = 0;
        for step in 0..buckets.min(10 * count as u64) {
            if visited == count {
                break;
            }
            let bucket = self.bucket_at(((first + step) % buckets) as u32);
            // SAFETY: the chain is live, and occupied places hold elements.
            unsafe {
                bucket.prefetch_all();
                bucket.for_each(|node, entry| {
                    if visited < count {
                        visited += 1;
                        visit(&*node.entry(entry));
                    }
                });
            }
        }
        visited
    }

    /// All elements, in no order worth naming.
    pub fn iter(&self) -> Iter<'_, E> {
        Iter {
            places: Places::of(self),
            table: PhantomData,
        }
    }

    /// All elements, to change; their keys must stay.
    pub fn iter_mut(&mut self) -> IterMut<'_, E> {
        IterMut {
            places: Places::of(self),
            table: PhantomData,
        }
    }

    /// Drops up to `budget` elements and the buckets that become empty, from the end; answers whether any are left.
    ///
    /// This is how a table of millions is freed in steps. In between it is a sound table of the rest. A step also walks
    /// over empty buckets, at most ten for each element of the budget.
    pub fn drain_some(&mut self, budget: usize) -> bool {
        self.drain_with(budget, |_| 1)
    }

    /// The same for elements that differ in what they cost: each is handed to `take`, which answers its price. Ends when
    /// the budget is spent, which the last element may overdraw.
    pub fn drain_with(&mut self, budget: usize, mut take: impl FnMut(E) -> usize) -> bool {
        let mut spent = 0;
        let mut steps = budget.saturating_mul(10).max(1);
        while self.buckets != 0 && steps != 0 {
            steps -= 1;
            let mut bucket = self.bucket_at(self.buckets - 1);
            // SAFETY: the chain is live; `any` answers with an occupied place. The length is counted down before the
            // element is handed out, so that a panic there leaves a sound table.
            unsafe {
                bucket.prefetch_all();
                while let Some((node, entry)) = bucket.any() {
                    if spent >= budget {
                        return true;
                    }
                    let element = self.lift(bucket, node, entry);
                    bucket = self.bucket_at(self.buckets - 1); // an only one may have moved
                    spent = spent.saturating_add(take(element));
                }
            }
            self.drop_bucket();
        }
        self.buckets != 0
    }

    /// Drops all elements and all memory at once.
    pub fn clear(&mut self) {
        while self.drain_some(usize::MAX) {}
    }

    /// Bytes of heap that the table itself holds, elements excluded. Exact up to 64 buckets; above, the overflow nodes of
    /// 64 buckets stand for all.
    pub fn heap_bytes(&self) -> usize {
        const LOOKED_AT: u64 = 64;
        let buckets = u64::from(self.buckets);
        let looked_at = buckets.min(LOOKED_AT);
        let overflow: usize = (0..looked_at)
            .map(|step| {
                let bucket = self.bucket_at((step * buckets / looked_at) as u32);
                // SAFETY: the chain is live.
                unsafe { bucket.overflow_bytes() }
            })
            .sum();
        self.array_bytes()
            + (overflow as u64 * buckets)
                .checked_div(looked_at)
                .unwrap_or(0) as usize
    }

    /// Asserts all invariants of the header; for tests, fuzzers and debug builds. Walks the whole table.
    pub fn check(&self) {
        let mut count = 0;
        for index in 0..self.buckets {
            let bucket = self.bucket_at(index);
            // SAFETY: the chain is live.
            unsafe {
                bucket.check_chain();
                bucket.for_each(|node, entry| {
                    count += 1;
                    let hash = (*node.entry(entry)).hash();
                    assert_eq!(
                        self.index_of(hash),
                        index,
                        "an element stands in its bucket"
                    );
                    assert_eq!(
                        node.meta().tag(entry),
                        tag_of(hash),
                        "a tag is its element's"
                    );
                });
            }
        }
        assert_eq!(count, self.len(), "the length is the number of elements");
        if self.buckets == 1 {
            let fits = if self.is_small() { 0..=3 } else { 3..=7 };
            assert!(
                fits.contains(&self.len),
                "an only bucket is as large as it has to be"
            );
        }
        assert!(
            self.len != 0 || self.buckets == 0,
            "an empty table has no heap"
        );
    }

    // -- finding places ------------------------------------------------------------------------------------------

    /// Number of the bucket for a hash. The table has buckets.
    #[inline]
    fn index_of(&self, hash: u64) -> u32 {
        let mask = (u64::from(u32::MAX) >> (self.buckets - 1).leading_zeros()) as u32;
        let index = hash as u32 & mask;
        if index < self.buckets {
            index
        } else {
            index & (mask >> 1)
        }
    }

    /// Number of low hash bits that the elements of a bucket share.
    fn depth_of(&self, index: u32) -> u32 {
        let bits = u32::BITS - (self.buckets - 1).leading_zeros();
        if bits == 0 {
            return 0;
        }
        let half = 1u64 << (bits - 1);
        let split = u64::from(index) >= half || u64::from(index) + half < u64::from(self.buckets);
        if split { bits } else { bits - 1 }
    }

    /// The bucket with this number, which must exist.
    #[inline]
    fn bucket_at(&self, index: u32) -> Node<E> {
        debug_assert!(index < self.buckets);
        let index = index as usize;
        // SAFETY: up to SEGMENT buckets the root is the array of them; above, it is the directory with an address for
        // each segment in use. The index is below the number of buckets, so both reads and offsets stay inside.
        unsafe {
            if self.buckets as usize <= SEGMENT {
                Node::at(self.root.add(index * BUCKET_BYTES))
            } else {
                let segment = self.root.cast::<NonNull<u8>>().add(index / SEGMENT).read();
                Node::at(segment.add(index % SEGMENT * BUCKET_BYTES))
            }
        }
    }

    #[inline]
    fn bucket_of(&self, hash: u64) -> Node<E> {
        self.bucket_at(self.index_of(hash))
    }

    /// Bucket, node and entry of the first element under this hash that `is_it` accepts.
    #[inline]
    fn locate(
        &self,
        hash: u64,
        is_it: impl FnMut(&E) -> bool,
    ) -> Option<(Node<E>, Node<E>, usize)> {
        if self.buckets == 0 {
            return None;
        }
        let bucket = self.bucket_of(hash);
        // SAFETY: the chain is live, and nothing changes it during the search: the table is borrowed.
        let (node, entry) = unsafe { bucket.find(tag_of(hash), is_it) }?;
        Some((bucket, node, entry))
    }

    /// The element of this rank in the chain of a bucket, or the number of elements in the chain.
    fn ranked(&self, index: u32, rank: usize) -> Result<&E, usize> {
        let mut node = Some(self.bucket_at(index));
        let mut passed = 0;
        while let Some(here) = node {
            // SAFETY: the chain is live, and occupied places hold elements.
            unsafe {
                let meta = here.meta();
                if let Some(entry) = Bits(meta.occupied()).nth(rank - passed) {
                    return Ok(&*here.entry(entry));
                }
                passed += meta.count() as usize;
                node = here.next(meta);
            }
        }
        Err(passed)
    }
}

/// The occupied places of a table, bucket by bucket.
struct Places<E: Element> {
    /// A copy of the header, so that only raw pointers are kept; it owns nothing.
    table: std::mem::ManuallyDrop<Table<E>>,
    next_bucket: u32,
    node: Option<Node<E>>,
    entries: Bits,
    left: u32,
}

impl<E: Element> Places<E> {
    fn of(table: &Table<E>) -> Self {
        Places {
            table: std::mem::ManuallyDrop::new(Table {
                root: table.root,
                len: table.len,
                buckets: table.buckets,
                elements: PhantomData,
            }),
            next_bucket: 0,
            node: None,
            entries: Bits(0),
            left: table.len,
        }
    }

    /// # Unsafe
    ///
    /// The table must not have changed since `of`.
    unsafe fn next(&mut self) -> Option<*mut E> {
        loop {
            // SAFETY: the nodes are live, the table being unchanged.
            unsafe {
                if let (Some(node), Some(entry)) = (self.node, self.entries.next()) {
                    self.left -= 1;
                    return Some(node.entry(entry));
                }
                self.node = self.node.and_then(|node| node.next(node.meta()));
                if self.node.is_none() {
                    if self.next_bucket == self.table.buckets {
                        return None;
                    }
                    let bucket = self.table.bucket_at(self.next_bucket);
                    bucket.prefetch_all();
                    self.node = Some(bucket);
                    self.next_bucket += 1;
                }
                self.entries = Bits(self.node.map_or(0, |node| node.meta().occupied()));
            }
        }
    }
}

/// The answer of [`Table::iter`].
pub struct Iter<'a, E: Element> {
    places: Places<E>,
    table: PhantomData<&'a Table<E>>,
}

impl<'a, E: Element> Iterator for Iter<'a, E> {
    type Item = &'a E;

    fn next(&mut self) -> Option<&'a E> {
        // SAFETY: the table is borrowed, so it does not change and its elements outlive the result.
        unsafe { self.places.next().map(|place| &*place) }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.places.left as usize, Some(self.places.left as usize))
    }
}

/// The answer of [`Table::iter_mut`].
pub struct IterMut<'a, E: Element> {
    places: Places<E>,
    table: PhantomData<&'a mut Table<E>>,
}

impl<'a, E: Element> Iterator for IterMut<'a, E> {
    type Item = &'a mut E;

    fn next(&mut self) -> Option<&'a mut E> {
        // SAFETY: the table is borrowed exclusively, and each place is answered once.
        unsafe { self.places.next().map(|place| &mut *place) }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.places.left as usize, Some(self.places.left as usize))
    }
}

impl<'a, E: Element> IntoIterator for &'a Table<E> {
    type Item = &'a E;
    type IntoIter = Iter<'a, E>;

    fn into_iter(self) -> Iter<'a, E> {
        self.iter()
    }
}
