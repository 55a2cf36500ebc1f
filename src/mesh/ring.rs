//! A bounded ring from one producing core to one consuming core, in shared memory.
//!
//! The Lamport queue with cached positions: each side reads the other's position only when its own cached copy says
//! full or empty, so a message costs no more than one cache line passed each way. A full ring never makes the producer
//! wait: the value comes back and stays in the sender's batch.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use super::sync::{Arc, AtomicUsize, Ordering, UnsafeCell};

#[repr(align(128))]
struct Padded<T>(T);

struct Shared<T> {
    /// Next place to be read; written by the consumer.
    head: Padded<AtomicUsize>,
    /// Next place to be written; written by the producer.
    tail: Padded<AtomicUsize>,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: the positions hand each slot from the producer to the consumer and back; only values that may change threads
// are carried.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    fn slot(&self, position: usize) -> &UnsafeCell<MaybeUninit<T>> {
        &self.slots[position & (self.slots.len() - 1)]
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let (head, tail) = (
            self.head.0.load(Ordering::Relaxed),
            self.tail.0.load(Ordering::Relaxed),
        );
        for position in head..tail {
            // SAFETY: slots between the positions hold values nobody has taken, and both ends are gone.
            self.slot(position)
                .with_mut(|slot| unsafe { (*slot).assume_init_drop() });
        }
    }
}

/// The producing end.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    known_head: usize,
}

/// The consuming end.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    known_tail: usize,
}

/// A ring of `capacity` places (a power of two) and its two ends.
pub fn channel<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity.is_power_of_two(), "positions are masked");
    let shared = Arc::new(Shared {
        head: Padded(AtomicUsize::new(0)),
        tail: Padded(AtomicUsize::new(0)),
        slots: (0..capacity)
            .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
            .collect(),
    });
    (
        Sender {
            shared: shared.clone(),
            tail: 0,
            known_head: 0,
        },
        Receiver {
            shared,
            head: 0,
            known_tail: 0,
        },
    )
}

impl<T> Sender<T> {
    /// Appends, or gives the value back when the ring is full.
    pub fn push(&mut self, value: T) -> Result<(), T> {
        if self.tail - self.known_head == self.shared.slots.len() {
            self.known_head = self.shared.head.0.load(Ordering::Acquire);
            if self.tail - self.known_head == self.shared.slots.len() {
                return Err(value);
            }
        }
        // SAFETY: the consumer is past this slot (acquired above), and the producer is alone in writing.
        self.shared.slot(self.tail).with_mut(|slot| unsafe {
            (*slot).write(value);
        });
        self.tail += 1;
        self.shared.tail.0.store(self.tail, Ordering::Release);
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// Takes the oldest value.
    pub fn pop(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: the producer has written this slot (acquired in `is_empty`) and leaves it until `head` passes it.
        let value = self
            .shared
            .slot(self.head)
            .with(|slot| unsafe { (*slot).assume_init_read() });
        self.head += 1;
        self.shared.head.0.store(self.head, Ordering::Release);
        Some(value)
    }

    /// Takes the oldest value if it is what `wanted` says.
    pub fn pop_if(&mut self, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        if self.is_first(wanted) {
            self.pop()
        } else {
            None
        }
    }

    /// Whether there is an oldest value and it is what `wanted` says.
    pub fn is_first(&mut self, wanted: impl FnOnce(&T) -> bool) -> bool {
        if self.is_empty() {
            return false;
        }
        let slot = self.shared.slot(self.head);
        // SAFETY: as in `pop`; the value stays in its slot while it is looked at.
        slot.with(|slot| wanted(unsafe { (*slot).assume_init_ref() }))
    }

    /// Whether nothing waits. Before going to sleep, ask after announcing it (with sequentially consistent order).
    #[inline]
    pub fn is_empty(&mut self) -> bool {
        if self.head == self.known_tail {
            self.known_tail = self.shared.tail.0.load(Ordering::Acquire);
        }
        self.head == self.known_tail
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_gives_the_value_back_and_order_holds() {
        let (mut sender, mut receiver) = channel(4);
        for i in 0..4 {
            sender.push(i).unwrap();
        }
        assert_eq!(sender.push(9), Err(9));
        assert_eq!(receiver.pop(), Some(0));
        sender.push(4).unwrap();
        assert_eq!(
            (1..=4).map(|_| receiver.pop().unwrap()).collect::<Vec<_>>(),
            [1, 2, 3, 4]
        );
        assert!(receiver.is_empty());
    }

    #[test]
    fn values_cross_threads_once_and_in_order_and_the_rest_is_dropped() {
        let total = if cfg!(miri) { 200 } else { 200_000 };
        let (mut sender, mut receiver) = channel(16);
        let producer = std::thread::spawn(move || {
            for i in 0..total {
                let mut value = Box::new(i);
                while let Err(back) = sender.push(value) {
                    value = back;
                    std::thread::yield_now();
                }
            }
        });
        let mut next = 0;
        while next < total - 3 {
            match receiver.pop() {
                Some(value) => {
                    assert_eq!(*value, next);
                    next += 1;
                }
                None => std::thread::yield_now(),
            }
        }
        drop(receiver);
        producer.join().unwrap();
    }
}
