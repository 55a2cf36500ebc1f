//! Where a shard lies while nobody works on it: its core takes it out, a borrower may, a transaction gives it back here.
//!
//! One atomic pointer. Whoever swaps the shard out holds it; whoever holds it puts it back. A core that finds its own
//! berth empty says so by `wanted` and is woken by whoever puts the shard back, so nobody ever spins on a descheduled
//! borrower. Only the owner writes that word; while it stands, borrowers leave the shard alone, so that they cannot
//! pass it on among themselves before its owner.
#![allow(unsafe_code)]

use std::ptr;

use super::sync::{AtomicBool, AtomicPtr, Ordering, total_order};

/// A place for one `S`.
pub struct Berth<S> {
    lies: AtomicPtr<S>,
    wanted: AtomicBool,
}

// SAFETY: the value changes threads only through an atomic swap, whole.
unsafe impl<S: Send> Sync for Berth<S> {}

impl<S> Default for Berth<S> {
    fn default() -> Self {
        Berth {
            lies: AtomicPtr::new(ptr::null_mut()),
            wanted: AtomicBool::new(false),
        }
    }
}

impl<S> Berth<S> {
    /// Takes the value out if it lies here.
    #[inline]
    pub fn take(&self) -> Option<Box<S>> {
        if self.lies.load(Ordering::Relaxed).is_null() {
            return None;
        }
        let taken = self.lies.swap(ptr::null_mut(), Ordering::SeqCst);
        // SAFETY: a pointer in the berth came from `Box::into_raw` in `put`, and the swap makes us its only owner.
        (!taken.is_null()).then(|| unsafe { Box::from_raw(taken) })
    }

    /// Takes the value for another than its owner: not while the owner waits for it.
    #[inline]
    pub fn borrow(&self) -> Option<Box<S>> {
        if self.wanted.load(Ordering::Relaxed) {
            return None;
        }
        self.take()
    }

    /// Lays the value down. True when the owner waits for it and must be woken.
    #[inline]
    pub fn put(&self, value: Box<S>) -> bool {
        let before = self.lies.swap(Box::into_raw(value), Ordering::SeqCst);
        assert!(before.is_null(), "one value has one berth");
        total_order();
        self.wanted.load(Ordering::SeqCst)
    }

    /// The owner lays its value down: from now on others may use it.
    pub fn park(&self, value: Box<S>) {
        self.wanted.store(false, Ordering::SeqCst);
        self.put(value);
    }

    /// The owner takes its value, or leaves word that it wants it.
    pub fn take_or_want(&self) -> Option<Box<S>> {
        let mut value = self.take();
        if value.is_none() {
            self.wanted.store(true, Ordering::SeqCst);
            total_order();
            value = self.take();
        }
        if value.is_some() {
            self.wanted.store(false, Ordering::SeqCst);
        }
        value
    }

    /// Whether the value lies here.
    #[inline]
    pub fn is_filled(&self) -> bool {
        !self.lies.load(Ordering::SeqCst).is_null()
    }
}

impl<S> Drop for Berth<S> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn one_value_is_held_by_one_at_a_time_and_the_owner_is_told() {
        let berth = Arc::new(Berth::default());
        assert!(!berth.put(Box::new(0u64)));
        let rounds = if cfg!(miri) { 50 } else { 20_000 };
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let berth = berth.clone();
                std::thread::spawn(move || {
                    let mut done = 0;
                    while done < rounds {
                        if let Some(mut value) = berth.take() {
                            *value += 1;
                            berth.put(value);
                            done += 1;
                        } else {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let value = berth.take().unwrap();
        assert_eq!(*value, 4 * rounds);
        assert!(berth.take_or_want().is_none());
        assert!(berth.put(value), "the owner wants it");
        assert!(berth.borrow().is_none(), "the owner comes first");
        let value = berth.take_or_want().unwrap();
        berth.park(value);
        assert!(berth.borrow().is_some());
    }
}
