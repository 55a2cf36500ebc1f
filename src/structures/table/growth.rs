//! How a table grows and shrinks: a bucket at a time once it has a directory, a size class of the allocator at a time
//! before that; and the memory behind both. The reasons stand at the head of `table.rs`.

#![allow(unsafe_code)]

use super::*;

impl<E: Element> Table<E> {
    /// Whether the length asks for more buckets.
    #[inline]
    pub(super) fn overloaded(&self) -> bool {
        let load = if self.buckets as usize <= SEGMENT {
            LOAD_SMALL
        } else {
            LOAD_LARGE
        };
        u64::from(self.len) * 100 > u64::from(self.buckets) * load
    }

    #[cold]
    pub(super) fn grow(&mut self) {
        let buckets = self.buckets as usize;
        if buckets < SEGMENT {
            let target = step_up(buckets + 1);
            self.prefetch_next_split();
            while (self.buckets as usize) < target {
                self.add_bucket();
                self.prefetch_next_split();
            }
            return;
        }
        for _ in 0..STEPS_MAX {
            if self.overloaded() {
                self.add_bucket();
                self.prefetch_next_split();
            }
        }
    }

    /// Asks for the elements of the bucket that splits next. That bucket is the neighbour of the one that has just
    /// split, so its own line is near already.
    pub(super) fn prefetch_next_split(&self) {
        if self.buckets != 0 {
            let next = self.bucket_at(self.buckets - (1 << self.buckets.ilog2()));
            // SAFETY: the chain is live.
            unsafe { next.prefetch_all() }
        }
    }

    /// Whether the length asks for fewer buckets: a large table for one less, a small one for one step less, if that
    /// leaves room to grow again before the step is due once more.
    #[inline]
    pub(super) fn underloaded(&self) -> bool {
        let buckets = self.buckets as usize;
        let bound = if buckets <= SEGMENT {
            step_down(buckets) as u64 * (LOAD_SMALL * SHRINK_SMALL_PERCENT / 100)
        } else {
            buckets as u64 * (LOAD_LARGE * SHRINK_LARGE_PERCENT / 100)
        };
        u64::from(self.len) * 100 < bound
    }

    /// Whether the table has one bucket, and that is a small node.
    #[inline]
    pub(super) fn is_small(&self) -> bool {
        // SAFETY: the only bucket is live.
        self.buckets == 1 && unsafe { self.bucket_at(0).meta() }.fits_small()
    }

    /// The only bucket, a small node, becomes a full one.
    #[cold]
    pub(super) fn widen(&mut self) {
        // SAFETY: the only bucket is live and small, and the table is borrowed exclusively.
        self.root = unsafe { self.bucket_at(0).widened() }.root();
    }

    /// The only bucket, a full node, has lost elements.
    #[cold]
    fn settle(&mut self) {
        // SAFETY: as in `widen`, and it is full.
        self.root = unsafe { self.bucket_at(0).settle() }.root();
    }

    /// Takes the element of `entry` in `node` out of the chain of `bucket`, and leaves all buckets.
    ///
    /// # Unsafe
    ///
    /// The entry must be occupied and belong to that chain.
    #[inline]
    pub(super) unsafe fn lift(&mut self, bucket: Node<E>, node: Node<E>, entry: usize) -> E {
        let was_full = self.buckets == 1 && !self.is_small();
        // SAFETY: by the caller's word.
        let element = unsafe { bucket.take(node, entry) };
        self.len -= 1;
        if was_full && self.len as usize <= SMALL_ENTRIES {
            self.settle();
        }
        element
    }

    /// The same, and merges buckets when few enough elements are left.
    ///
    /// # Unsafe
    ///
    /// As for `lift`.
    #[inline]
    pub(super) unsafe fn take_out(&mut self, bucket: Node<E>, node: Node<E>, entry: usize) -> E {
        // SAFETY: by the caller's word.
        let element = unsafe { self.lift(bucket, node, entry) };
        if self.len == 0 || self.underloaded() {
            self.shrink();
        }
        element
    }

    #[cold]
    fn shrink(&mut self) {
        let buckets = self.buckets as usize;
        let target = if self.len == 0 {
            0
        } else if buckets <= SEGMENT {
            step_down(buckets)
        } else {
            buckets - STEPS_MAX // at least SEGMENT - 1
        };
        while self.buckets as usize > target
            && (self.len == 0 || buckets <= SEGMENT || self.underloaded())
        {
            self.drop_bucket();
        }
    }

    /// One bucket more, filled from the one that it shares all but its highest bit with.
    pub(super) fn add_bucket(&mut self) {
        let new = self.buckets;
        self.make_room();
        self.buckets += 1;
        let bucket = self.bucket_at(new);
        // SAFETY: the new bucket's memory is allocated and nothing reads it before this write.
        unsafe { bucket.set_meta(Meta::EMPTY) };
        if new == 0 {
            return;
        }
        let bit = 1 << new.ilog2();
        let old = self.bucket_at(new - bit);
        // SAFETY: both chains are live and no reference into them exists, the table being borrowed exclusively.
        unsafe {
            old.prefetch_all();
            old.empty(|tag, element| {
                let to = if element.hash() as u32 & bit == 0 {
                    old
                } else {
                    bucket
                };
                to.place(tag, element);
            });
        }
    }

    /// One bucket less; what it holds goes to the bucket that it came from. The last bucket of all must be empty.
    pub(super) fn drop_bucket(&mut self) {
        let last = self.buckets - 1;
        if last != 0 {
            let (from, to) = (
                self.bucket_at(last),
                self.bucket_at(last - (1 << last.ilog2())),
            );
            // SAFETY: as in `add_bucket`.
            unsafe {
                from.empty(|tag, element| {
                    to.place(tag, element);
                });
            }
        }
        self.buckets = last;
        self.release_room();
        if last == 1 {
            self.settle();
        }
    }

    /// Memory for bucket number `buckets`, which is not counted yet.
    pub(super) fn make_room(&mut self) {
        let buckets = self.buckets as usize;
        if buckets == 0 {
            self.root = Node::<E>::allocate(SMALL).root();
            return;
        }
        if buckets < SEGMENT {
            let capacity = last_capacity(buckets);
            if capacity == buckets {
                // SAFETY: the root has this capacity: an only bucket was widened before it was full.
                unsafe {
                    let old = Some((self.root, buckets_layout(capacity)));
                    self.root = resize(old, buckets_layout(last_capacity(buckets + 1)));
                }
            }
            return;
        }
        let segments = buckets.div_ceil(SEGMENT);
        let room = last_capacity(buckets + 1);
        // SAFETY: the directory has room for step_up(segments) addresses, and each segment's capacity follows from the
        // number of buckets, by the same functions that chose them.
        unsafe {
            if buckets == SEGMENT {
                let directory = resize(None, directory_layout(step_up(2))).cast::<NonNull<u8>>();
                directory.write(self.root);
                directory.add(1).write(resize(None, buckets_layout(room)));
                self.root = directory.cast();
            } else if buckets.is_multiple_of(SEGMENT) {
                if step_up(segments) == segments {
                    let old = (self.root, directory_layout(segments));
                    self.root = resize(Some(old), directory_layout(step_up(segments + 1)));
                }
                let segment = resize(None, buckets_layout(room));
                self.root.cast::<NonNull<u8>>().add(segments).write(segment);
            } else if last_capacity(buckets) != room {
                self.resize_last(segments, last_capacity(buckets), room);
            }
        }
    }

    /// Gives back the memory of bucket number `buckets`, which is not counted any more.
    pub(super) fn release_room(&mut self) {
        let buckets = self.buckets as usize;
        // SAFETY: as in `make_room`; what is freed belongs to no bucket that is counted.
        unsafe {
            if buckets < SEGMENT {
                let (old, new) = (last_capacity(buckets + 1), last_capacity(buckets));
                if buckets == 0 {
                    Node::<E>::at(self.root).free(SMALL); // what it is when it is empty
                    self.root = NonNull::dangling();
                } else if old != new {
                    self.root = resize(Some((self.root, buckets_layout(old))), buckets_layout(new));
                }
                return;
            }
            let segments = buckets.div_ceil(SEGMENT);
            if !buckets.is_multiple_of(SEGMENT) {
                let (old, new) = (last_capacity(buckets + 1), last_capacity(buckets));
                if old != new {
                    self.resize_last(segments, old, new);
                }
                return;
            }
            let directory = self.root.cast::<NonNull<u8>>();
            let emptied = directory.add(segments).read();
            dealloc(emptied.as_ptr(), buckets_layout(last_capacity(buckets + 1)));
            if buckets == SEGMENT {
                self.root = directory.read();
                dealloc(directory.cast().as_ptr(), directory_layout(step_up(2)));
            } else if step_up(segments) == segments {
                let old = (self.root, directory_layout(step_up(segments + 1)));
                self.root = resize(Some(old), directory_layout(segments));
            }
        }
    }

    /// # Unsafe
    ///
    /// The root must be a directory of `segments`, the last of which has room for `old` buckets.
    pub(super) unsafe fn resize_last(&mut self, segments: usize, old: usize, new: usize) {
        // SAFETY: by the caller's word.
        unsafe {
            let place = self.root.cast::<NonNull<u8>>().add(segments - 1);
            place.write(resize(
                Some((place.read(), buckets_layout(old))),
                buckets_layout(new),
            ));
        }
    }

    /// Bytes of directory and segments.
    pub(super) fn array_bytes(&self) -> usize {
        if self.is_small() {
            return SMALL_BYTES;
        }
        let buckets = self.buckets as usize;
        let segments = buckets.div_ceil(SEGMENT);
        let directory = if segments > 1 {
            directory_layout(step_up(segments)).size()
        } else {
            0
        };
        directory + (segments.saturating_sub(1) * SEGMENT + last_capacity(buckets)) * BUCKET_BYTES
    }
}
