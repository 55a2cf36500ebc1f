//! The merge of the shards' effect streams into one stream of commands.
//!
//! Each shard hands over its effects in blocks, in order. What is a shard's own goes out as it comes, a SELECT before it
//! where the database changes. A step over several shards waits at the head of each participant's queue until all have
//! it there, and goes out as one MULTI ... EXEC. A barrier waits for all shards: it names one offset of the stream. Steps
//! that share two shards, and steps and barriers, stand in the same order in every stream that holds both
//! (docs/architecture.md says why), so the oldest of those at the heads is complete sooner or later and nothing waits for
//! ever.

use std::collections::VecDeque;

/// Effects of one shard, whole units, as they are handed over.
#[derive(Debug, Default)]
pub struct Block {
    /// RESP commands one after the other.
    pub bytes: Vec<u8>,
}

/// What the merge comes to beside bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeEvent {
    /// All shards have passed this barrier: the offset of the stream is that of the cut.
    Barrier(u64),
}

/// See the head of the file.
#[derive(Debug)]
pub struct Merge {
    inputs: Vec<VecDeque<Block>>,
}

impl Merge {
    /// A merge of so many shards.
    pub fn new(shards: usize) -> Self {
        Merge {
            inputs: (0..shards).map(|_| VecDeque::new()).collect(),
        }
    }
}
