//! Effects: what a write did, as the deterministic command that reproduces it.
//!
//! Every shard owns one ordered stream. A handler that is deterministic says nothing: its own request is the effect.
//! One that is not (SPOP, relative expiry, floats) says what to record instead. Snapshots, the append-only file and
//! replication read this stream and nothing else; while nobody reads it, recording costs one branch.

mod block;
mod stream;

pub use block::{Block, Mark, Marked, Part};
pub use stream::{Audience, EPOCH_MARK, Effects, SEAL_MARK, Step, TIME_MARK, TRANSACTION_MARK};
