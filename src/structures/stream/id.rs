//! The id of a stream's entry: milliseconds and a sequence number, ordered as one number of 128 bits.

use std::fmt;

/// An entry's id. `0-0` is no entry's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct StreamId {
    /// Milliseconds, of Unix time where the server chose them.
    pub ms: u64,
    /// Counts within a millisecond.
    pub seq: u64,
}

/// Bytes of the longest id as text: two numbers of twenty digits and the dash.
const TEXT_MAX: usize = 41;

/// An id as text, on the stack.
#[derive(Clone, Copy)]
pub struct IdText {
    bytes: [u8; TEXT_MAX],
    len: u8,
}

impl IdText {
    /// The text.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl StreamId {
    /// Below every entry's id.
    pub const MIN: StreamId = StreamId::new(0, 0);
    /// The last id there can be.
    pub const MAX: StreamId = StreamId::new(u64::MAX, u64::MAX);

    /// The id of these two numbers.
    #[inline]
    pub const fn new(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    /// The id right after this one; nothing comes after the last.
    pub fn next(self) -> Option<StreamId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(StreamId::new(self.ms, seq)),
            None => Some(StreamId::new(self.ms.checked_add(1)?, 0)),
        }
    }

    /// The id right before this one; nothing comes before `0-0`.
    pub fn previous(self) -> Option<StreamId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(StreamId::new(self.ms, seq)),
            None => Some(StreamId::new(self.ms.checked_sub(1)?, u64::MAX)),
        }
    }

    /// Sixteen bytes, big endian: how snapshots spell it.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.ms.to_be_bytes());
        bytes[8..].copy_from_slice(&self.seq.to_be_bytes());
        bytes
    }

    /// The id that [`StreamId::to_bytes`] spells.
    pub fn from_bytes(bytes: [u8; 16]) -> StreamId {
        let number = u128::from_be_bytes(bytes);
        StreamId::new((number >> 64) as u64, number as u64)
    }

    /// `ms-seq`.
    #[inline]
    pub fn text(self) -> IdText {
        let mut text = IdText {
            bytes: [0; TEXT_MAX],
            len: 0,
        };
        let mut digits = itoa::Buffer::new();
        let mut put = |bytes: &[u8]| {
            let at = usize::from(text.len);
            text.bytes[at..at + bytes.len()].copy_from_slice(bytes);
            text.len += bytes.len() as u8; // at most TEXT_MAX in all
        };
        put(digits.format(self.ms).as_bytes());
        put(b"-");
        put(digits.format(self.seq).as_bytes());
        text
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_carry_from_one_half_into_the_other() {
        let edge = StreamId::new(7, u64::MAX);
        assert_eq!(edge.next(), Some(StreamId::new(8, 0)));
        assert_eq!(StreamId::new(8, 0).previous(), Some(edge));
        assert_eq!(
            StreamId::new(8, 0).next().and_then(StreamId::previous),
            Some(StreamId::new(8, 0))
        );
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.previous(), None);
    }

    #[test]
    fn an_id_reads_the_same_as_text_and_as_bytes() {
        for id in [
            StreamId::MIN,
            StreamId::MAX,
            StreamId::new(1_700_000_000_000, 3),
        ] {
            assert_eq!(id.text().as_bytes(), id.to_string().as_bytes());
            assert_eq!(StreamId::from_bytes(id.to_bytes()), id);
        }
        assert!(StreamId::new(1, 9).to_bytes() < StreamId::new(2, 0).to_bytes());
    }
}
