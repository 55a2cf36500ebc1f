//! Every core as the others see it: its berth, its inbox, whether it sleeps and how to wake it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::ring::WakeHandle;

use super::berth::Berth;
use super::flow::Stamps;
use super::message::CoreMessage;
use super::sleep::Sleep;

/// One core as the others see it. `S` is what its berth holds, `T` what is scheduled on it.
#[repr(align(128))]
pub struct CoreLink<S, T> {
    /// Where its shard lies while nobody works on it.
    pub berth: Berth<S>,
    /// Whether it sleeps.
    pub sleep: Sleep,
    wake: OnceLock<WakeHandle>,
    /// Rare messages of any kind: a lock is fine, the flag spares taking it.
    inbox: Mutex<VecDeque<CoreMessage>>,
    has_mail: AtomicBool,
    /// Transactions that take place on this core's shard, in the one order all cores share.
    scheduled: Mutex<VecDeque<T>>,
    scheduled_len: AtomicUsize,
    /// Bytes of messages to its clients that lie in its inbox.
    pub push_backlog: AtomicUsize,
    /// Connections it serves, for whoever places new ones.
    pub connections: AtomicUsize,
}

impl<S, T> CoreLink<S, T> {
    fn new() -> Self {
        CoreLink {
            berth: Berth::default(),
            sleep: Sleep::default(),
            wake: OnceLock::new(),
            inbox: Mutex::new(VecDeque::new()),
            has_mail: AtomicBool::new(false),
            scheduled: Mutex::new(VecDeque::new()),
            scheduled_len: AtomicUsize::new(0),
            push_backlog: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        }
    }

    /// Says once, at start, how this core is woken.
    pub fn set_wake(&self, handle: WakeHandle) {
        assert!(self.wake.set(handle).is_ok(), "a core starts once");
    }

    /// How to wake it, once it has started.
    pub fn wake_handle(&self) -> Option<&WakeHandle> {
        self.wake.get()
    }

    /// Wakes this core from a thread without a ring of its own, if it sleeps.
    pub fn wake_by_event(&self) {
        if self.sleep.must_be_woken()
            && let Some(handle) = self.wake.get()
        {
            handle.wake();
        }
    }

    /// Leaves a message. The caller wakes the core.
    pub fn mail(&self, message: CoreMessage) {
        lock(&self.inbox).push_back(message);
        self.has_mail.store(true, Ordering::SeqCst);
    }

    /// Whether messages wait.
    #[inline]
    pub fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire)
    }

    /// Takes the messages.
    pub fn take_mail(&self) -> VecDeque<CoreMessage> {
        self.has_mail.store(false, Ordering::SeqCst);
        std::mem::take(&mut *lock(&self.inbox))
    }

    /// Whether transactions wait to take place here.
    #[inline]
    pub fn has_scheduled(&self) -> bool {
        self.scheduled_len.load(Ordering::SeqCst) > 0
    }

    /// The next transaction to take place here; it stays first until `unschedule`.
    pub fn first_scheduled(&self) -> Option<T>
    where
        T: Clone,
    {
        lock(&self.scheduled).front().cloned()
    }

    /// The first transaction has taken place.
    pub fn unschedule(&self) {
        let mut queue = lock(&self.scheduled);
        queue.pop_front();
        self.scheduled_len.store(queue.len(), Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic aborts the process, so a poisoned lock is never met; its content would be whole anyway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All cores as they see each other. The control core is the last one and has no shard.
pub struct Links<S, T> {
    cores: Vec<CoreLink<S, T>>,
    /// Held while a transaction is put into the queues of its participants: the one order of transactions.
    order: Mutex<()>,
    /// Held while a message to subscribers is put into the inboxes of several cores: the one order of messages.
    messages: Mutex<()>,
    /// Transactions so far.
    pub transactions: AtomicUsize,
    /// What is handed on for replicas draws its stamps from here, whichever stream it is for.
    pub stamps: Stamps,
}

impl<S, T: Clone> Links<S, T> {
    /// Links of so many shards and the control core.
    pub fn new(shards: usize) -> Self {
        Links {
            cores: (0..=shards).map(|_| CoreLink::new()).collect(),
            order: Mutex::new(()),
            messages: Mutex::new(()),
            transactions: AtomicUsize::new(0),
            stamps: Stamps::default(),
        }
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.cores.len() - 1
    }

    /// A shard's core.
    #[inline]
    pub fn core(&self, index: usize) -> &CoreLink<S, T> {
        &self.cores[index]
    }

    /// The control core.
    pub fn control(&self) -> &CoreLink<S, T> {
        &self.cores[self.cores.len() - 1]
    }

    /// The shards' cores.
    pub fn shard_cores(&self) -> &[CoreLink<S, T>] {
        &self.cores[..self.cores.len() - 1]
    }

    /// Runs `send`, which leaves messages with several cores. If `together`, nobody else's come between them: any two
    /// cores find what both of them get in the same order. The latch is held for as long as an inbox is locked.
    pub fn together(&self, together: bool, send: impl FnOnce()) {
        let _messages = together.then(|| lock(&self.messages));
        send();
    }

    /// Puts transactions, each with its participants, into the participants' queues, one after the other and all under
    /// one latch: any two shards see the transactions they share in the same order. False when another core is at it
    /// just now: try again next turn, since a core never waits.
    pub fn schedule<'a>(&self, transactions: impl Iterator<Item = (&'a [u16], T)>) -> bool
    where
        T: 'a,
    {
        let Ok(_order) = self.order.try_lock() else {
            return false;
        };
        for (participants, transaction) in transactions {
            for &core in participants {
                let link = &self.cores[usize::from(core)];
                let mut queue = lock(&link.scheduled);
                queue.push_back(transaction.clone());
                link.scheduled_len.store(queue.len(), Ordering::SeqCst);
            }
            self.transactions.fetch_add(1, Ordering::Relaxed);
        }
        true
    }
}
