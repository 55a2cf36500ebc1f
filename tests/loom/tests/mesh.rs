//! The mesh's ring, berth and sleep under loom: every order in which the threads can meet, up to three preemptions.
//!
//! The files are the server's own. Cores are threads; a wake-up is a `Notify`; a core that sleeps for ever, and with it a
//! lost wake-up, is a deadlock that loom reports. The shard is a cell whose concurrent use loom reports as well.
#![cfg(loom)]
#![allow(unsafe_code)]

#[path = "../../../src/mesh/sync.rs"]
#[allow(dead_code)]
mod sync;
#[path = "../../../src/mesh/berth.rs"]
#[allow(dead_code)]
mod berth;
#[path = "../../../src/mesh/ring.rs"]
#[allow(dead_code)]
mod ring;
#[path = "../../../src/mesh/sleep.rs"]
#[allow(dead_code)]
mod sleep;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex, Notify};
use loom::thread;

use berth::Berth;
use ring::{Receiver, channel};
use sleep::{Sleep, Waiting};

/// What a shard is to the model: a number that one thread at a time may change.
type Shard = loom::cell::UnsafeCell<usize>;

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn work_on(shard: &Shard) {
    // SAFETY: whoever holds the shard is alone with it, which is what loom checks here.
    shard.with_mut(|count| unsafe { *count += 1 });
}

/// A core as the others see it.
struct Core {
    berth: Berth<Shard>,
    sleep: Sleep,
    wakes: Notify,
    /// Transactions that wait for the shard.
    scheduled: AtomicUsize,
    /// The shard on its way to the home core of a transaction.
    lent: Mutex<Option<Box<Shard>>>,
    has_lent: Notify,
}

impl Core {
    fn new() -> Arc<Self> {
        Arc::new(Core {
            berth: Berth::default(),
            sleep: Sleep::default(),
            wakes: Notify::new(),
            scheduled: AtomicUsize::new(0),
            lent: Mutex::new(None),
            has_lent: Notify::new(),
        })
    }

    fn wake(&self) {
        if self.sleep.must_be_woken() {
            self.wakes.notify();
        }
    }

    fn give_back(&self, shard: Box<Shard>) {
        if self.berth.put(shard) {
            self.wake();
        }
    }

    /// One attempt of another core to use the shard.
    fn try_borrow(&self) -> usize {
        match self.berth.borrow() {
            Some(shard) => {
                work_on(&shard);
                self.give_back(shard);
                1
            }
            None => 0,
        }
    }

    /// The owner's turns until it has run `messages` and lent its shard `loans` times; then it holds its shard again.
    fn run(&self, mut receiver: Receiver<usize>, mut messages: usize, mut loans: usize) -> usize {
        let mut hand = Some(Box::new(Shard::new(0)));
        while messages > 0 || loans > 0 {
            if hand.is_none() {
                hand = self.berth.take_or_want();
            }
            if hand.is_some() && self.scheduled.load(Ordering::SeqCst) > 0 {
                self.scheduled.fetch_sub(1, Ordering::SeqCst);
                *self.lent.lock().unwrap() = hand.take();
                self.has_lent.notify();
                loans -= 1;
            }
            while let Some(shard) = &hand
                && receiver.pop().is_some()
            {
                work_on(shard);
                messages -= 1;
            }
            if messages == 0 && loans == 0 {
                break;
            }
            let sleeps = self.sleep.lie_down(&self.berth, &mut hand, true, |waiting| match waiting {
                Waiting::ForCore => false,
                Waiting::ForShard => self.scheduled.load(Ordering::SeqCst) > 0 || !receiver.is_empty(),
            });
            if sleeps {
                self.wakes.wait();
                self.sleep.awake();
            }
        }
        // It wants its shard for one thing more, and nobody will send it anything.
        while hand.is_none() {
            if self.sleep.lie_down(&self.berth, &mut hand, false, |waiting| waiting == Waiting::ForShard) {
                self.wakes.wait();
                self.sleep.awake();
            }
        }
        let shard = hand.expect("the loop ends with the shard in hand");
        // SAFETY: as in `work_on`.
        shard.with(|count| unsafe { *count })
    }
}

#[test]
fn values_pass_the_ring_once_and_in_order() {
    explore(|| {
        let (mut sender, mut receiver) = channel(2);
        let producer = thread::spawn(move || {
            let mut refused = 0;
            for value in 0..3 {
                refused += usize::from(sender.push(Box::new(value)).is_err());
            }
            refused
        });
        let mut next = 0;
        for _ in 0..3 {
            if let Some(value) = receiver.pop() {
                assert!(*value >= next);
                next = *value + 1;
            }
        }
        drop(receiver);
        assert!(producer.join().unwrap() <= 1);
    });
}

#[test]
fn a_shard_has_one_holder_and_its_owner_gets_it_back() {
    explore(|| {
        let core = Core::new();
        core.berth.park(Box::new(Shard::new(0)));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let core = core.clone();
                thread::spawn(move || core.try_borrow())
            })
            .collect();
        let mut hand = core.berth.take_or_want();
        while hand.is_none() {
            if core.sleep.lie_down(&core.berth, &mut hand, true, |waiting| waiting == Waiting::ForShard) {
                core.wakes.wait();
                core.sleep.awake();
            }
        }
        let shard = hand.take().expect("the loop ends with the shard in hand");
        work_on(&shard);
        core.berth.park(shard);
        let borrowed: usize = others.into_iter().map(|other| other.join().unwrap()).sum();
        let shard = core.berth.take().expect("everybody has put it back");
        // SAFETY: as in `work_on`.
        assert_eq!(shard.with(|count| unsafe { *count }), borrowed + 1);
    });
}

#[test]
fn a_message_wakes_a_core_that_lies_down() {
    explore(|| {
        let core = Core::new();
        let (mut sender, receiver) = channel(2);
        let producer = {
            let core = core.clone();
            thread::spawn(move || {
                for value in 0..2 {
                    assert!(sender.push(value).is_ok());
                    core.wake();
                }
            })
        };
        assert_eq!(core.run(receiver, 2, 0), 2);
        producer.join().unwrap();
    });
}

#[test]
fn a_message_is_run_though_the_shard_is_borrowed_when_it_comes() {
    explore(|| {
        let core = Core::new();
        let (mut sender, receiver) = channel(2);
        let producer = {
            let core = core.clone();
            thread::spawn(move || {
                assert!(sender.push(1).is_ok());
                core.wake();
            })
        };
        let borrower = {
            let core = core.clone();
            thread::spawn(move || core.try_borrow())
        };
        let count = core.run(receiver, 1, 0);
        producer.join().unwrap();
        let borrowed = borrower.join().unwrap();
        assert!(count == 1 + borrowed || count == 1, "the borrower may also come too late or never");
    });
}

#[test]
fn a_core_that_has_lent_its_shard_runs_what_came_meanwhile() {
    explore(|| {
        let core = Core::new();
        let (mut sender, receiver) = channel(2);
        let home = {
            let core = core.clone();
            thread::spawn(move || {
                core.scheduled.fetch_add(1, Ordering::SeqCst);
                core.wake();
                let shard = loop {
                    if let Some(shard) = core.lent.lock().unwrap().take() {
                        break shard;
                    }
                    core.has_lent.wait();
                };
                work_on(&shard);
                // A message of this core comes while the shard is with it.
                assert!(sender.push(1).is_ok());
                core.wake();
                core.give_back(shard);
            })
        };
        assert_eq!(core.run(receiver, 1, 1), 2);
        home.join().unwrap();
    });
}

#[test]
fn a_core_that_has_lent_its_shard_lends_it_again() {
    explore(|| {
        let core = Core::new();
        let (_sender, receiver) = channel(2);
        let home = {
            let core = core.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    core.scheduled.fetch_add(1, Ordering::SeqCst);
                    core.wake();
                    let shard = loop {
                        if let Some(shard) = core.lent.lock().unwrap().take() {
                            break shard;
                        }
                        core.has_lent.wait();
                    };
                    work_on(&shard);
                    core.give_back(shard);
                }
            })
        };
        assert_eq!(core.run(receiver, 0, 2), 2);
        home.join().unwrap();
    });
}

/// The model would notice: when a core leaves its word at the berth before it announces its sleep, whoever puts the
/// shard back may see the word and not the sleep, and wakes nobody.
#[test]
fn wanting_the_shard_before_announcing_the_sleep_would_lose_the_wake_up() {
    static LOST: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    explore(|| {
        let core = Core::new();
        let shard = Box::new(Shard::new(0));
        let holder = {
            let core = core.clone();
            thread::spawn(move || core.berth.put(shard) && core.sleep.must_be_woken())
        };
        let wanted = core.berth.take_or_want().is_none();
        core.sleep.going_to_sleep();
        let woken = holder.join().unwrap();
        if wanted && !woken {
            LOST.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    assert!(LOST.load(std::sync::atomic::Ordering::Relaxed));
}
