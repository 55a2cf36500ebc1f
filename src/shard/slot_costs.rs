//! What each slot of a shard costs: CLUSTER SLOT-STATS beyond the number of keys (Valkey 8.0).
//!
//! There is nothing of this unless `cluster-slot-stats-enabled` says so; then whoever runs a command on the shard adds to
//! its slot, with the shard in hand. A slot that goes to another node begins at zero when it comes back.

use crate::base::slot::{SLOTS, Slot};

/// What commands for one slot took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCost {
    /// Nanoseconds of the cores that ran them.
    pub cpu_ns: u64,
    /// Bytes of requests.
    pub bytes_in: u64,
    /// Bytes of replies.
    pub bytes_out: u64,
}

/// The costs of all slots of one shard.
#[derive(Clone, Debug)]
pub struct SlotCosts {
    shards: usize,
    /// By slot divided by the number of shards.
    costs: Vec<SlotCost>,
}

impl SlotCosts {
    /// Nothing yet, on one of so many shards.
    pub fn new(shards: usize) -> Self {
        SlotCosts {
            shards,
            costs: vec![SlotCost::default(); SLOTS.div_ceil(shards)],
        }
    }

    /// What one of the shard's slots has cost.
    pub fn of(&self, slot: Slot) -> SlotCost {
        self.costs[usize::from(slot) / self.shards]
    }

    /// Adds to one of the shard's slots.
    pub fn add(&mut self, slot: Slot, cost: SlotCost) {
        let sum = &mut self.costs[usize::from(slot) / self.shards];
        sum.cpu_ns += cost.cpu_ns;
        sum.bytes_in += cost.bytes_in;
        sum.bytes_out += cost.bytes_out;
    }

    /// Shard `index` keeps what `stays` says, and forgets all else.
    pub fn retain(&mut self, index: usize, stays: impl Fn(Slot) -> bool) {
        for (at, cost) in self.costs.iter_mut().enumerate() {
            let slot = at * self.shards + index;
            if slot < SLOTS && !stays(slot as Slot) {
                *cost = SlotCost::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_charged_alone_and_forgotten_when_it_goes() {
        let mut costs = SlotCosts::new(3);
        let one = SlotCost {
            cpu_ns: 5,
            bytes_in: 7,
            bytes_out: 9,
        };
        costs.add(16_382, one);
        costs.add(16_382, one);
        costs.add(2, one);
        assert_eq!(costs.of(16_382).bytes_out, 18);
        assert_eq!(costs.of(5), SlotCost::default());
        costs.retain(2, |slot| slot == 2);
        assert_eq!((costs.of(2), costs.of(16_382)), (one, SlotCost::default()));
    }
}
