//! Whole slots on the move: from the share of one number of shards to that of another.
//!
//! A slot's table goes over as it is, with what is counted about it: no key is hashed, copied or looked at.

use crate::base::slot::{SLOTS, Slot};
use crate::structures::table::Table;

use super::db::{KeyEntry, Keyspace};

/// A slot's keys in all databases.
pub struct SlotTables {
    slot: Slot,
    /// Database, its table for the slot, and how many of its keys have an expiry.
    tables: Vec<(usize, Table<KeyEntry>, u32)>,
}

impl SlotTables {
    /// Whether the slot holds no key.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }
}

impl Keyspace {
    /// Takes a slot that this shard owns out of all its databases.
    pub fn take_slot(&mut self, slot: Slot) -> SlotTables {
        let place = self.place(slot);
        let mut taken = SlotTables {
            slot,
            tables: Vec::new(),
        };
        for (number, db) in self.dbs.iter_mut().enumerate() {
            let Some(table) = db.tables.get_mut(place).filter(|table| !table.is_empty()) else {
                continue;
            };
            let table = std::mem::take(table);
            let volatile = db.counts.take_slot(place, table.len());
            taken.tables.push((number, table, volatile));
        }
        taken
    }

    /// Puts a slot in that this shard owns and holds no key of.
    pub fn put_slot(&mut self, taken: SlotTables) {
        assert_eq!(
            usize::from(taken.slot) % self.shards(),
            self.index(),
            "the slot is ours"
        );
        let (place, slots) = (self.place(taken.slot), self.slots());
        for (number, table, volatile) in taken.tables {
            let db = &mut self.dbs[number];
            db.make_tables(slots);
            assert!(db.tables[place].is_empty(), "the slot holds no key");
            db.counts.put_slot(place, slots, table.len(), volatile);
            db.tables[place] = table;
        }
    }

    /// The same keys as the shares of `shards` shards.
    ///
    /// Each of `from` is the share of one shard in the order of their numbers.
    pub fn redistribute(mut from: Vec<Keyspace>, shards: usize) -> Vec<Keyspace> {
        let before = from.len();
        if before == shards {
            return from;
        }
        let databases = from.first().map_or(0, Keyspace::databases);
        let mut to: Vec<Keyspace> = (0..shards)
            .map(|index| Keyspace::new(index, shards, databases))
            .collect();
        for slot in 0..SLOTS {
            let taken = from[slot % before].take_slot(slot as Slot);
            if !taken.is_empty() {
                to[slot % shards].put_slot(taken);
            }
        }
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::resp::request::Key;
    use crate::structures::entry::NewValue;

    /// Keys with their databases and expiries, in order.
    fn content(shares: &[Keyspace]) -> Vec<(usize, Vec<u8>, Option<i64>)> {
        let mut all = Vec::new();
        for share in shares {
            share.check();
            for db in 0..share.databases() {
                let entries = share.entries(db);
                all.extend(entries.map(|entry| (db, entry.key().to_vec(), entry.expire_at())));
            }
        }
        all.sort();
        all
    }

    #[test]
    fn slots_go_over_with_their_keys_and_counters_whatever_the_numbers_of_shards() {
        let mut random = Random::new(7);
        let mut shares: Vec<Keyspace> = vec![Keyspace::new(0, 1, 3)];
        for number in 0..5000 {
            let name = match number % 5 {
                0 => format!("{{tag}}{number}"),
                _ => format!("key:{number}"),
            };
            let key = Key::new(name.as_bytes());
            let expire_at = (random.below(3) == 0).then_some(1_700_000_000_000 + number);
            let db = random.below(3) as usize;
            shares[0].insert(db, &key, NewValue::Int(number), 0, expire_at);
        }
        let before = content(&shares);
        let sizes = |shares: &[Keyspace]| -> Vec<usize> {
            (0..3)
                .map(|db| shares.iter().map(|share| share.db(db).keys()).sum())
                .collect()
        };
        let sizes_before = sizes(&shares);
        for shards in [2, 3, 8, 1, 5, 16384, 4, 4, 1] {
            shares = Keyspace::redistribute(shares, shards);
            assert_eq!(shares.len(), shards);
            assert_eq!(content(&shares), before, "{shards} shards");
            assert_eq!(sizes(&shares), sizes_before);
        }
        // They are where they are looked for, and can be changed.
        shares = Keyspace::redistribute(shares, 3);
        for (db, name, expire_at) in &before {
            let key = Key::new(name);
            let share = &mut shares[usize::from(key.slot) % 3];
            let entry = share.remove(*db, &key).expect("it is there");
            assert_eq!(entry.expire_at(), *expire_at);
        }
        assert!(content(&shares).is_empty());
    }
}
