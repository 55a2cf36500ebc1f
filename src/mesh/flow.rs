//! The effects of one shard on their way to the control core, which merges them into the stream that replicas follow.
//!
//! The producing end belongs to the shard and travels with it; whoever holds the shard hands on what a turn has recorded.
//! Blocks go over a ring, the memory of those that were taken comes back over another, so a steady stream allocates
//! nothing. Nobody waits: what the ring has no room for gathers at the producing end, and when more is under way than
//! agreed, the flow is lost: nothing is handed on any more, and replicas start anew with a full copy.
//!
//! Each block draws a stamp from one counter before it is sent, and no answer that rests on it leaves before it has been
//! sent. So what a client does after an answer has a higher stamp, on whatever shard; and whoever reads the counter and
//! then empties the rings has all blocks below what it read ([`FlowEnd::complete_below`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::ring::{Receiver, Sender, channel};
use crate::effect::{Block, Effects};

/// Blocks that may be under way: a turn makes one.
const BLOCKS: usize = 256;
/// Memory of a block that is worth giving back for the next, and how many such blocks are kept.
const KEEP_BYTES: usize = 128 * 1024;
const SPARES: usize = 4;

/// The counter that the blocks of all shards draw their stamps from. All cores look at it in each turn, so nothing else that
/// changes lies beside it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counter(AtomicU64);

impl Counter {
    fn draw(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    /// The stamp that is drawn next. Whatever happened before, as the caller sees it, has a lower one.
    #[inline]
    pub fn next(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// The counter as it is shared.
pub type Stamps = Arc<Counter>;

/// Nothing is kept back.
const NOTHING: u64 = u64::MAX;

/// What both ends see.
#[derive(Debug)]
struct Shared {
    stamps: Stamps,
    /// The stamp of the first block that the ring had no room for.
    kept_from: AtomicU64,
    /// Bytes handed on and not taken.
    under_way: AtomicUsize,
    /// Something was not handed on.
    lost: AtomicBool,
}

/// The producing end.
pub struct Flow {
    blocks: Sender<Block>,
    spare: Receiver<Block>,
    shared: Arc<Shared>,
    /// What the ring had no room for.
    kept: VecDeque<Block>,
    /// Bytes that may be under way.
    limit: usize,
}

/// The taking end.
pub struct FlowEnd {
    blocks: Receiver<Block>,
    spare: Sender<Block>,
    shared: Arc<Shared>,
}

/// A flow on which so many bytes may be under way, and its two ends.
pub fn flow(limit: usize, stamps: Stamps) -> (Flow, FlowEnd) {
    let (blocks, taken) = channel(BLOCKS);
    let (returned, spare) = channel(SPARES);
    let shared = Arc::new(Shared {
        stamps,
        kept_from: AtomicU64::new(NOTHING),
        under_way: AtomicUsize::default(),
        lost: AtomicBool::default(),
    });
    let producer = Flow {
        blocks,
        spare,
        shared: shared.clone(),
        kept: VecDeque::new(),
        limit,
    };
    let taker = FlowEnd {
        blocks: taken,
        spare: returned,
        shared,
    };
    (producer, taker)
}

impl Flow {
    /// Hands on what `effects` has recorded since. True when the taking end has something new.
    #[inline]
    pub fn hand_on(&mut self, effects: &mut Effects) -> bool {
        if effects.has_to_hand_on() {
            effects.hand_on(self.open());
        }
        !self.kept.is_empty() && self.send()
    }

    /// Marks a cut: all that came before it has been handed on.
    pub fn barrier(&mut self, effects: &mut Effects, number: u64) -> bool {
        let block = self.open();
        effects.hand_on(block);
        block.barrier = Some(number);
        self.send()
    }

    /// The block that goes on being filled: nothing follows a barrier in the same one.
    fn open(&mut self) -> &mut Block {
        if self.kept.back().is_none_or(|block| block.barrier.is_some()) {
            let mut block = self.spare.pop().unwrap_or_default();
            block.stamp = self.shared.stamps.draw();
            self.kept.push_back(block);
        }
        self.kept.back_mut().expect("one has just been put there")
    }

    fn send(&mut self) -> bool {
        let kept: usize = self.kept.iter().map(|block| block.bytes.len()).sum();
        let under_way = self.shared.under_way.load(Ordering::Relaxed);
        if under_way + kept > self.limit || self.shared.lost.load(Ordering::Relaxed) {
            self.shared.lost.store(true, Ordering::Release);
            // Barriers are passed on all the same: somebody waits for them.
            self.kept.retain(|block| block.barrier.is_some());
            for block in &mut self.kept {
                (block.bytes, block.marks) = (Vec::new(), Vec::new());
            }
        }
        let mut has_sent = false;
        let was_kept = self.shared.kept_from.load(Ordering::Relaxed) != NOTHING;
        while let Some(block) = self.kept.pop_front() {
            let bytes = block.bytes.len();
            self.shared.under_way.fetch_add(bytes, Ordering::Relaxed);
            if let Err(block) = self.blocks.push(block) {
                self.shared.under_way.fetch_sub(bytes, Ordering::Relaxed);
                self.shared.kept_from.store(block.stamp, Ordering::SeqCst);
                self.kept.push_front(block);
                return has_sent;
            }
            has_sent = true;
        }
        if was_kept {
            self.shared.kept_from.store(NOTHING, Ordering::SeqCst);
        }
        has_sent || self.shared.lost.load(Ordering::Relaxed)
    }
}

impl FlowEnd {
    /// The oldest block.
    pub fn take(&mut self) -> Option<Block> {
        let block = self.blocks.pop()?;
        let bytes = block.bytes.len();
        self.shared.under_way.fetch_sub(bytes, Ordering::Relaxed);
        Some(block)
    }

    /// Gives the memory of a block back.
    pub fn give_back(&mut self, mut block: Block) {
        if block.bytes.capacity() <= KEEP_BYTES {
            block.bytes.clear();
            block.marks.clear();
            (block.db, block.barrier, block.stamp) = (None, None, 0);
            let _ = self.spare.push(block); // there are enough of them
        }
    }

    /// Whether something is there to be taken.
    pub fn has_some(&mut self) -> bool {
        !self.blocks.is_empty()
    }

    /// Bytes handed on and not taken.
    pub fn under_way(&self) -> usize {
        self.shared.under_way.load(Ordering::Relaxed)
    }

    /// Whether something was not handed on.
    pub fn is_lost(&self) -> bool {
        self.shared.lost.load(Ordering::Acquire)
    }

    /// Whether the producer keeps something because there was no room.
    pub fn is_stuck(&self) -> bool {
        self.shared.kept_from.load(Ordering::SeqCst) != NOTHING
    }

    /// The stamps drawn so far, by all flows that share the counter. Read before the rings are emptied.
    pub fn stamps(&self) -> u64 {
        self.shared.stamps.next()
    }

    /// Whoever has emptied the ring since it read `stamps` has all blocks of this flow below what this gives.
    pub fn complete_below(&self, stamps: u64) -> u64 {
        stamps.min(self.shared.kept_from.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::request::{Caller, OwnedArgs};

    fn change(effects: &mut Effects, key: &str) {
        let request: OwnedArgs = [&b"DEL"[..], key.as_bytes()].into_iter().collect();
        effects.begin();
        effects.count(1);
        effects.end(&request.args(Caller::default()));
    }

    fn streaming() -> Effects {
        let mut effects = Effects::default();
        effects.set_streamed(true);
        effects
    }

    #[test]
    fn blocks_arrive_in_order_whatever_the_ring_has_room_for() {
        let (mut from, mut to) = flow(1 << 20, Stamps::default());
        let mut effects = streaming();
        let mut sent = Vec::new();
        for number in 0..3 * BLOCKS {
            change(&mut effects, &number.to_string());
            sent.extend_from_slice(effects.recorded());
            from.hand_on(&mut effects);
            effects.clear();
        }
        assert!(to.is_stuck());
        assert!(to.complete_below(to.stamps()) <= BLOCKS as u64);
        let mut got = Vec::new();
        while let Some(block) = to.take() {
            got.extend_from_slice(&block.bytes);
            to.give_back(block);
        }
        assert!(got.len() < sent.len() && sent.starts_with(&got));
        from.barrier(&mut effects, 7);
        let mut barrier = None;
        while let Some(block) = to.take() {
            got.extend_from_slice(&block.bytes);
            barrier = block.barrier;
            to.give_back(block);
        }
        assert_eq!((got, barrier, to.is_lost()), (sent, Some(7), false));
        assert!(!to.is_stuck());
    }

    #[test]
    fn a_flow_beyond_its_limit_is_lost_and_takes_no_more_memory() {
        let (mut from, mut to) = flow(10_000, Stamps::default());
        let mut effects = streaming();
        for number in 0..1000 {
            change(&mut effects, &number.to_string());
            from.hand_on(&mut effects);
            effects.clear();
        }
        assert!(to.is_lost() && from.kept.is_empty());
        let mut bytes = 0;
        while let Some(block) = to.take() {
            bytes += block.bytes.len();
        }
        assert!(bytes <= 10_000);
    }
}
