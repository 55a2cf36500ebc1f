//! Several shards as one step.
//!
//! A transaction enters the queues of all its participants under one latch (`mesh::Links::schedule`), so any two shards
//! meet the transactions they share in the same order: nobody can wait in a circle, and nobody is overtaken for ever.
//! When a participant meets a transaction at the head of its queue, it either lends its shard whole (`Work::Lend`): the
//! home core runs the step once it has all of them and puts them back, or runs its part itself (`Work::Part`) and
//! leaves the reply. No key is locked: a lent shard serves nobody else, and a step takes microseconds.

mod step;

pub use step::{Outcome, Transaction, Work};
