//! Sets of hash slots as the bus writes them: one bit for each of 16384 slots, 2048 bytes.
//!
//! Slot `s` is bit `s % 8`, counted from the lowest, of byte `s / 8` (specification, 1.3). What shards look slots up in is
//! in `slot_map.rs`.

use std::fmt;

use crate::base::slot::{SLOTS, Slot};

/// Bytes of a set on the wire.
pub const SLOT_SET_BYTES: usize = SLOTS / 8;
const _: () = assert!(SLOT_SET_BYTES == 2048);

/// What a set without slots is on the wire.
static NO_SLOTS: [u8; SLOT_SET_BYTES] = [0; SLOT_SET_BYTES];

/// A set of slots. One into which none has ever been put takes no memory: in a large cluster half of the nodes are replicas.
#[derive(Clone, Default)]
pub struct SlotSet(Option<Box<[u8; SLOT_SET_BYTES]>>);

impl PartialEq for SlotSet {
    fn eq(&self, other: &Self) -> bool {
        self.to_wire() == other.to_wire()
    }
}

impl Eq for SlotSet {}

impl SlotSet {
    /// The set that the wire holds.
    pub fn from_wire(bytes: &[u8; SLOT_SET_BYTES]) -> Self {
        SlotSet(Some(Box::new(*bytes)))
    }

    /// The set as the wire holds it.
    pub fn to_wire(&self) -> &[u8; SLOT_SET_BYTES] {
        self.0.as_deref().unwrap_or(&NO_SLOTS)
    }

    fn bytes_mut(&mut self) -> &mut [u8; SLOT_SET_BYTES] {
        self.0.get_or_insert_with(|| Box::new(NO_SLOTS))
    }

    /// All slots from `first` to `last`.
    pub fn range(first: Slot, last: Slot) -> Self {
        let mut set = SlotSet::default();
        for slot in first..=last {
            set.insert(slot);
        }
        set
    }

    /// Whether `slot` is in the set.
    #[inline]
    pub fn contains(&self, slot: Slot) -> bool {
        self.to_wire()[usize::from(slot) / 8] & (1 << (slot % 8)) != 0
    }

    /// Adds `slot`; whether it was not there.
    pub fn insert(&mut self, slot: Slot) -> bool {
        let byte = &mut self.bytes_mut()[usize::from(slot) / 8];
        let before = *byte;
        *byte |= 1 << (slot % 8);
        *byte != before
    }

    /// Takes `slot` out; whether it was there.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let Some(bytes) = &mut self.0 else {
            return false;
        };
        let byte = &mut bytes[usize::from(slot) / 8];
        let before = *byte;
        *byte &= !(1 << (slot % 8));
        *byte != before
    }

    /// Takes all slots out.
    pub fn clear(&mut self) {
        self.0 = None;
    }

    /// Whether there is no slot in it.
    pub fn is_empty(&self) -> bool {
        self.to_wire().iter().all(|byte| *byte == 0)
    }

    /// How many slots are in it.
    pub fn len(&self) -> usize {
        let bytes = self.to_wire().iter();
        bytes.map(|byte| byte.count_ones() as usize).sum()
    }

    /// The slots, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.to_wire().iter().enumerate().flat_map(|(at, byte)| {
            let mut bits = *byte;
            std::iter::from_fn(move || {
                (bits != 0).then(|| {
                    let bit = bits.trailing_zeros();
                    bits &= bits - 1;
                    (at * 8) as Slot + bit as Slot
                })
            })
        })
    }

    /// Runs of consecutive slots as first and last, ascending. Each save of nodes.conf asks for those of every node, so whole
    /// words are passed over.
    pub fn ranges(&self) -> Vec<(Slot, Slot)> {
        let mut ranges = Vec::new();
        let mut first = self.next(0, true);
        while first < SLOTS {
            let end = self.next(first, false);
            ranges.push((first as Slot, (end - 1) as Slot));
            first = self.next(end, true);
        }
        ranges
    }

    /// The first slot from `from` on that is in the set, or is not; the number of slots if there is none.
    fn next(&self, from: usize, is_in: bool) -> usize {
        let (words, _) = self.to_wire().as_chunks::<8>();
        let mut known = !0 << (from % 64); // slots before `from` do not count
        for (at, word) in words.iter().enumerate().skip(from / 64) {
            let word = u64::from_le_bytes(*word);
            let found = if is_in { word } else { !word } & known;
            if found != 0 {
                return at * 64 + found.trailing_zeros() as usize;
            }
            known = !0;
        }
        SLOTS
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        let mut set = SlotSet::default();
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:?}", self.ranges())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_a_real_cluster() {
        // Slots of the three primaries that redis-cli makes (specification, 1.3).
        let first = SlotSet::range(0, 5460);
        assert!(first.to_wire()[..682].iter().all(|byte| *byte == 0xff));
        assert_eq!(first.to_wire()[682], 0x1f);
        assert!(first.to_wire()[683..].iter().all(|byte| *byte == 0));
        let second = SlotSet::range(5461, 10922);
        assert_eq!(second.to_wire()[682], 0xe0);
        assert_eq!(second.to_wire()[1365], 0x07);
    }

    #[test]
    fn runs_are_found_wherever_they_begin_and_end() {
        for (first, last) in [
            (0, 0),
            (0, 16383),
            (63, 64),
            (64, 127),
            (65, 130),
            (1, 62),
            (16383, 16383),
        ] {
            assert_eq!(SlotSet::range(first, last).ranges(), [(first, last)]);
        }
        assert_eq!(SlotSet::default().ranges(), []);
        let odd: SlotSet = (0..SLOTS as Slot).filter(|slot| slot % 2 == 1).collect();
        let alone: Vec<_> = odd.iter().map(|slot| (slot, slot)).collect();
        assert_eq!(odd.ranges(), alone);
    }

    #[test]
    fn what_goes_in_is_there_until_it_is_taken_out() {
        let mut set = SlotSet::default();
        assert!(set.insert(16383) && !set.insert(16383) && set.insert(0) && set.insert(1));
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 1, 16383]);
        assert_eq!(set.ranges(), [(0, 1), (16383, 16383)]);
        assert_eq!(set.len(), 3);
        assert!(set.remove(0) && !set.remove(0) && !set.contains(0) && !set.is_empty());
        set.clear();
        assert!(set.is_empty() && set == SlotSet::default() && !set.remove(1));
        set.insert(5);
        set.remove(5);
        assert_eq!(set, SlotSet::default(), "whatever was in it before");
    }
}
