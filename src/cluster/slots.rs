//! Sets of hash slots as the bus writes them: one bit for each of 16384 slots, 2048 bytes.
//!
//! Slot `s` is bit `s % 8`, counted from the lowest, of byte `s / 8` (specification, 1.3). What shards look slots up in is
//! in `slot_map.rs`.

use std::fmt;

use crate::base::slot::{SLOTS, Slot};

/// Bytes of a set on the wire.
pub const SLOT_SET_BYTES: usize = SLOTS / 8;
const _: () = assert!(SLOT_SET_BYTES == 2048);

/// A set of slots.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet(Box<[u8; SLOT_SET_BYTES]>);

impl Default for SlotSet {
    fn default() -> Self {
        SlotSet(Box::new([0; SLOT_SET_BYTES]))
    }
}

impl SlotSet {
    /// The set that the wire holds.
    pub fn from_wire(bytes: &[u8; SLOT_SET_BYTES]) -> Self {
        SlotSet(Box::new(*bytes))
    }

    /// The set as the wire holds it.
    pub fn to_wire(&self) -> &[u8; SLOT_SET_BYTES] {
        &self.0
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
        self.0[usize::from(slot) / 8] & (1 << (slot % 8)) != 0
    }

    /// Adds `slot`; whether it was not there.
    pub fn insert(&mut self, slot: Slot) -> bool {
        let byte = &mut self.0[usize::from(slot) / 8];
        let before = *byte;
        *byte |= 1 << (slot % 8);
        *byte != before
    }

    /// Takes `slot` out; whether it was there.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let byte = &mut self.0[usize::from(slot) / 8];
        let before = *byte;
        *byte &= !(1 << (slot % 8));
        *byte != before
    }

    /// Takes all slots out.
    pub fn clear(&mut self) {
        self.0.fill(0);
    }

    /// Whether there is no slot in it.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// How many slots are in it.
    pub fn len(&self) -> usize {
        self.0.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// The slots, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.0.iter().enumerate().flat_map(|(at, byte)| {
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

    /// Runs of consecutive slots as first and last, ascending.
    pub fn ranges(&self) -> Vec<(Slot, Slot)> {
        let mut ranges: Vec<(Slot, Slot)> = Vec::new();
        for slot in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == slot => *last = slot,
                _ => ranges.push((slot, slot)),
            }
        }
        ranges
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
    fn what_goes_in_is_there_until_it_is_taken_out() {
        let mut set = SlotSet::default();
        assert!(set.insert(16383) && !set.insert(16383) && set.insert(0) && set.insert(1));
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 1, 16383]);
        assert_eq!(set.ranges(), [(0, 1), (16383, 16383)]);
        assert_eq!(set.len(), 3);
        assert!(set.remove(0) && !set.remove(0) && !set.contains(0) && !set.is_empty());
        set.clear();
        assert!(set.is_empty());
    }
}
