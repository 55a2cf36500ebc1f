//! One step over several shards, as its participants share it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::mesh::Place;
use crate::resp::request::{Caller, OwnedArgs};
use crate::shard::Shard;

/// What a participant does when the transaction's turn has come.
#[derive(Debug)]
pub enum Work {
    /// Lends its shard to the home core.
    Lend,
    /// Runs this command on its own shard.
    Part {
        /// Place in the command table.
        command: u16,
        /// Its arguments.
        args: OwnedArgs,
        /// Who asks.
        caller: Caller,
    },
}

/// What a participant leaves.
pub enum Outcome {
    /// Its shard.
    Lent(Box<Shard>),
    /// Its part's reply, and the clock ticks that it took.
    Reply(Vec<u8>, u64),
}

/// A transaction.
pub struct Transaction {
    /// The core that began it.
    pub home: usize,
    /// The connection there that waits for it.
    pub place: Place,
    /// Shards that take part, ascending.
    pub participants: Vec<u16>,
    /// What they do.
    pub work: Work,
    /// The time at which it happens, everywhere the same.
    pub now: i64,
    outcomes: Vec<Mutex<Option<Outcome>>>,
    arrived: AtomicUsize,
    taken: AtomicBool,
}

impl Transaction {
    /// A transaction of `participants` (ascending, each once).
    pub fn new(home: usize, place: Place, participants: Vec<u16>, work: Work, now: i64) -> Self {
        assert!(
            participants.is_sorted_by(|a, b| a < b),
            "participants ascend"
        );
        let outcomes = participants.iter().map(|_| Mutex::new(None)).collect();
        Transaction {
            home,
            place,
            participants,
            work,
            now,
            outcomes,
            arrived: AtomicUsize::new(0),
            taken: AtomicBool::new(false),
        }
    }

    /// A participant leaves its outcome; true when it was the last one.
    pub fn arrive(&self, shard: usize, outcome: Outcome) -> bool {
        let place = self
            .participants
            .iter()
            .position(|&participant| usize::from(participant) == shard)
            .expect("only participants arrive");
        *self.outcomes[place]
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.participants.len()
    }

    /// Its home core has run it with shards that it had in hand for another: participants pass it over. They see that with
    /// their shard, which is in hand when this is said.
    pub fn take(&self) {
        self.taken.store(true, Ordering::Release);
    }

    /// See `take`.
    pub fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire)
    }

    /// Whether all participants have arrived.
    pub fn is_complete(&self) -> bool {
        self.arrived.load(Ordering::Acquire) == self.participants.len()
    }

    /// Takes the outcomes, in the order of the participants.
    pub fn take_outcomes(&self) -> Vec<Outcome> {
        assert!(self.is_complete(), "outcomes are taken when all are there");
        self.outcomes
            .iter()
            .filter_map(|outcome| {
                outcome
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take()
            })
            .collect()
    }
}
