//! Replies on their way to a client: filled at one end, sent from the other, in blocks.
//!
//! Blocks, because a client that does not read may be owed gigabytes (Redis takes that by default), and one buffer
//! would be copied each time it grows.

use std::collections::VecDeque;

/// A block is closed at the end of the reply that fills it to this size.
const BLOCK_BYTES: usize = 64 * 1024;
/// Capacity of an empty block worth keeping for the next replies.
const KEEP_BYTES: usize = 16 * 1024;

/// So many bytes owed are shown as Redis's fixed buffer (`obl`), more as its list (`oll`, `omem`).
const SHOWN_AS_BUFFER: usize = 16 * 1024;

/// Bytes owed to a client in the terms of CLIENT LIST.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// `obl`: bytes, as long as they are few.
    pub buffered: usize,
    /// `oll`: blocks, when they are many.
    pub blocks: usize,
    /// `omem`: bytes of memory of those.
    pub queued: usize,
}

/// Bytes owed to a client.
#[derive(Debug, Default)]
pub struct Output {
    /// Where replies are written.
    current: Vec<u8>,
    /// Full blocks before it.
    full: VecDeque<Vec<u8>>,
    full_bytes: usize,
    /// Bytes handed to the ring.
    in_flight: usize,
    /// Nothing is handed to the ring for now.
    held_back: bool,
    /// Blocks handed to the ring since the connection was made.
    taken: u64,
    /// How many of all blocks may be handed to it, counted in the same way; only kept under `gate`.
    cleared: Option<u64>,
}

impl Output {
    /// Where the next reply goes. Call `close_reply` after it.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.current
    }

    /// A reply is complete: closes the block if it is full.
    #[inline]
    pub fn close_reply(&mut self) {
        if self.current.len() >= BLOCK_BYTES {
            self.full_bytes += self.current.len();
            self.full.push_back(std::mem::take(&mut self.current));
        }
    }

    /// Whether something can be handed to the ring now.
    #[inline]
    pub fn can_send(&self) -> bool {
        self.in_flight == 0
            && !self.held_back
            && self.cleared.is_none_or(|cleared| self.taken < cleared)
            && (!self.current.is_empty() || !self.full.is_empty())
    }

    /// Holds back what has not been handed to the ring, or lets it go.
    pub fn hold(&mut self, hold: bool) {
        self.held_back = hold;
    }

    /// From now on a block leaves only once it is cleared; what is there is.
    pub fn begin_gate(&mut self) {
        self.cleared = Some(self.close());
    }

    /// The same, but nothing of what is there leaves.
    pub fn gate_all(&mut self) {
        self.cleared = Some(self.taken);
    }

    /// Whether it is under a gate.
    pub fn is_gated(&self) -> bool {
        self.cleared.is_some()
    }

    /// Everything leaves again as it comes.
    pub fn end_gate(&mut self) {
        self.cleared = None;
    }

    /// Ends the block being filled. Gives the number of blocks there have been so far.
    pub fn close(&mut self) -> u64 {
        if !self.current.is_empty() {
            self.full_bytes += self.current.len();
            self.full.push_back(std::mem::take(&mut self.current));
        }
        self.taken + self.full.len() as u64
    }

    /// Whether blocks are there that may not leave.
    pub fn has_uncleared(&self) -> bool {
        let blocks = self.taken + (self.full.len() + usize::from(!self.current.is_empty())) as u64;
        self.cleared.is_some_and(|cleared| cleared < blocks)
    }

    /// So many blocks, counted from the first, may leave.
    pub fn clear_to(&mut self, blocks: u64) {
        if let Some(cleared) = &mut self.cleared {
            *cleared = blocks.max(*cleared);
        }
    }

    /// Whether more is owed than what is under way.
    pub fn has_more(&self) -> bool {
        !self.current.is_empty() || !self.full.is_empty()
    }

    /// Whether a send is under way.
    pub fn is_sending(&self) -> bool {
        self.in_flight > 0
    }

    /// Bytes under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Nothing is owed and nothing under way.
    pub fn is_done(&self) -> bool {
        self.in_flight == 0 && self.current.is_empty() && self.full.is_empty()
    }

    /// Bytes owed, those under way included.
    #[inline]
    pub fn owed(&self) -> usize {
        self.current.len() + self.full_bytes + self.in_flight
    }

    /// Full blocks waiting.
    pub fn blocks(&self) -> usize {
        self.full.len()
    }

    /// What CLIENT LIST shows of it.
    pub fn shown(&self) -> Shown {
        let owed = self.owed();
        if owed <= SHOWN_AS_BUFFER {
            return Shown {
                buffered: owed,
                ..Shown::default()
            };
        }
        let under_way = usize::from(self.in_flight > 0);
        Shown {
            buffered: 0,
            blocks: self.full.len() + under_way + usize::from(!self.current.is_empty()),
            queued: self.memory(),
        }
    }

    /// Bytes of memory it takes. A buffer for few bytes is the core's, lent for a turn, and not counted.
    #[inline]
    pub fn memory(&self) -> usize {
        match self.owed() <= SHOWN_AS_BUFFER {
            true => 0,
            false => self.current.capacity() + self.full_bytes + self.in_flight,
        }
    }

    /// Size of the block being filled.
    pub fn capacity(&self) -> usize {
        self.current.capacity()
    }

    /// Takes the next block for the ring. `spare` becomes the new current block when that was taken.
    #[inline]
    pub fn take(&mut self, spare: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
        let block = match self.full.pop_front() {
            Some(block) => {
                self.full_bytes -= block.len();
                block
            }
            None => std::mem::replace(&mut self.current, spare()),
        };
        self.in_flight = block.len();
        self.taken += 1;
        block
    }

    /// The bytes under way have been sent, all but `rest`.
    #[inline]
    pub fn sent(&mut self, rest: usize) {
        self.in_flight = rest;
    }

    /// Drops everything that has not been handed to the ring.
    pub fn clear(&mut self) {
        self.current = Vec::new();
        self.full.clear();
        self.full_bytes = 0;
    }

    /// Takes a spare buffer for the next replies, if there is none yet.
    #[inline]
    pub fn lend(&mut self, spare: &mut Vec<Vec<u8>>) {
        if self.current.capacity() == 0
            && let Some(buffer) = spare.pop()
        {
            self.current = buffer;
        }
    }

    /// Gives the current block back when it is empty: an idle connection holds no buffer.
    #[inline]
    pub fn release(&mut self) -> Option<Vec<u8>> {
        (self.current.is_empty() && self.current.capacity() > 0)
            .then(|| std::mem::take(&mut self.current))
            .filter(|block| block.capacity() <= KEEP_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_a_gate_only_what_is_cleared_leaves() {
        let mut output = Output::default();
        output.buffer().extend_from_slice(b"before");
        output.begin_gate();
        assert_eq!(output.take(Vec::new), b"before");
        output.sent(0);
        output.buffer().extend_from_slice(b"first");
        let first = output.close();
        output.buffer().extend_from_slice(b"second");
        assert!(!output.can_send() && output.has_uncleared());
        output.clear_to(first);
        assert_eq!(output.take(Vec::new), b"first");
        output.sent(0);
        assert!(!output.can_send() && !output.is_done());
        output.end_gate();
        assert!(!output.has_uncleared());
        assert_eq!(output.take(Vec::new), b"second");
    }

    #[test]
    fn bytes_leave_in_order_block_by_block() {
        let mut output = Output::default();
        let mut expected = Vec::new();
        for i in 0..100u8 {
            let reply = vec![i; 3000];
            output.buffer().extend_from_slice(&reply);
            output.close_reply();
            expected.extend(reply);
        }
        assert_eq!(output.owed(), 300_000);
        let mut sent = Vec::new();
        while output.can_send() {
            let block = output.take(Vec::new);
            assert!(output.is_sending() && !output.can_send());
            sent.extend(block);
            output.sent(0);
        }
        assert_eq!(sent, expected);
        assert!(output.is_done());
    }
}
