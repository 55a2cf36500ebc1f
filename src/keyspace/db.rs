//! One shard's databases: for each, a table per slot it owns, allocated when the database is first written to.
//!
//! Slot `s` lies on shard `s % shards`, as table `s / shards`. Per-slot tables make counting, listing, moving and
//! flushing a slot direct; a bitmap of slots in use lets walks skip the empty ones.

use crate::base::random::Random;
use crate::base::slot::{SLOTS, Slot};
use crate::resp::request::Key;
use crate::structures::entry::{Entry, NewValue};
use crate::structures::table::Table;

use super::value::Value;

/// One key with what it holds.
pub type KeyEntry = Entry<Value>;

/// One database's share on one shard.
#[derive(Default)]
pub struct Db {
    /// A table per slot owned; empty until the first key.
    tables: Vec<Table<KeyEntry>>,
    /// Keys with an expiry, per slot; empty until the first one.
    volatile: Vec<u32>,
    /// Bit per slot: its table is not empty.
    used: Vec<u64>,
    keys: usize,
    expires: usize,
}

impl Db {
    /// Keys, expired ones that nobody has met yet included.
    #[inline]
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// Keys with an expiry.
    #[inline]
    pub fn expires(&self) -> usize {
        self.expires
    }
}

/// All databases of one shard.
pub struct Keyspace {
    dbs: Vec<Db>,
    index: usize,
    shards: usize,
    /// `floor(2^32 / shards) + 1`: turns the division by `shards` on every request into a multiplication.
    reciprocal: u64,
}

impl Keyspace {
    /// The share of shard `index` of `shards` in so many databases.
    pub fn new(index: usize, shards: usize, databases: usize) -> Self {
        assert!(index < shards && shards <= SLOTS, "a shard owns a slot at least");
        Keyspace {
            dbs: (0..databases).map(|_| Db::default()).collect(),
            index,
            shards,
            reciprocal: (1u64 << 32) / shards as u64 + 1,
        }
    }

    /// How many databases there are.
    pub fn databases(&self) -> usize {
        self.dbs.len()
    }

    /// A database.
    #[inline]
    pub fn db(&self, db: usize) -> &Db {
        &self.dbs[db]
    }

    /// How many slots this shard owns.
    pub fn slots(&self) -> usize {
        (SLOTS - self.index).div_ceil(self.shards)
    }

    /// The slot of table `place`.
    pub fn slot_at(&self, place: usize) -> Slot {
        (place * self.shards + self.index) as Slot
    }

    /// The table of a slot that this shard owns.
    #[inline]
    pub fn place(&self, slot: Slot) -> usize {
        let place = ((u64::from(slot) * self.reciprocal) >> 32) as usize;
        debug_assert_eq!(place, usize::from(slot) / self.shards);
        debug_assert_eq!(usize::from(slot) % self.shards, self.index, "slot {slot} is not ours");
        place
    }

    #[inline]
    fn table(&self, db: usize, slot: Slot) -> Option<&Table<KeyEntry>> {
        self.dbs[db].tables.get(self.place(slot))
    }

    /// Asks the CPU to fetch the bucket where the key would be.
    #[inline]
    pub fn prefetch_bucket(&self, db: usize, slot: Slot, hash: u64) {
        if let Some(table) = self.table(db, slot) {
            table.prefetch_bucket(hash);
        }
    }

    /// Asks the CPU to fetch the entries whose tags match; the bucket should be there by now.
    #[inline]
    pub fn prefetch_entry(&self, db: usize, slot: Slot, hash: u64) {
        if let Some(table) = self.table(db, slot) {
            table.prefetch_element(hash);
        }
    }

    /// The entry of a key, expired or not.
    #[inline]
    pub fn find(&self, db: usize, key: &Key<'_>) -> Option<&KeyEntry> {
        self.table(db, key.slot)?.find(key.hash, key.bytes)
    }

    /// The entry of a key, to change; its expiry changes through `set_expire_at` only.
    #[inline]
    pub fn find_mut(&mut self, db: usize, key: &Key<'_>) -> Option<&mut KeyEntry> {
        let place = self.place(key.slot);
        self.dbs[db].tables.get_mut(place)?.find_mut(key.hash, key.bytes)
    }

    /// Adds a key that is not there.
    pub fn insert(
        &mut self,
        db: usize,
        key: &Key<'_>,
        value: NewValue<'_, Value>,
        clock: u32,
        expire_at: Option<i64>,
    ) -> &mut KeyEntry {
        let entry = Entry::new(key.bytes, value, clock, expire_at);
        self.insert_entry(db, key, entry)
    }

    /// Adds an entry whose key is not there.
    pub fn insert_entry(&mut self, db: usize, key: &Key<'_>, entry: KeyEntry) -> &mut KeyEntry {
        let (place, slots) = (self.place(key.slot), self.slots());
        let db = &mut self.dbs[db];
        if db.tables.is_empty() {
            db.tables.resize_with(slots, Table::new);
            db.used.resize(slots.div_ceil(64), 0);
        }
        if entry.expire_at().is_some() {
            if db.volatile.is_empty() {
                db.volatile.resize(slots, 0);
            }
            db.volatile[place] += 1;
            db.expires += 1;
        }
        db.keys += 1;
        db.used[place / 64] |= 1 << (place % 64);
        db.tables[place].insert(key.hash, entry)
    }

    /// Takes a key out.
    pub fn remove(&mut self, db: usize, key: &Key<'_>) -> Option<KeyEntry> {
        let place = self.place(key.slot);
        let db = &mut self.dbs[db];
        let table = db.tables.get_mut(place)?;
        let entry = table.remove(key.hash, key.bytes)?;
        db.keys -= 1;
        if entry.expire_at().is_some() {
            db.volatile[place] -= 1;
            db.expires -= 1;
        }
        if table.is_empty() {
            db.used[place / 64] &= !(1 << (place % 64));
        }
        Some(entry)
    }

    /// Sets or removes a key's expiry; false when there is no such key.
    pub fn set_expire_at(&mut self, db: usize, key: &Key<'_>, expire_at: Option<i64>) -> bool {
        let (place, slots) = (self.place(key.slot), self.slots());
        let db = &mut self.dbs[db];
        let Some(entry) = db
            .tables
            .get_mut(place)
            .and_then(|table| table.find_mut(key.hash, key.bytes))
        else {
            return false;
        };
        match (entry.expire_at().is_some(), expire_at.is_some()) {
            (false, true) => {
                if db.volatile.is_empty() {
                    db.volatile.resize(slots, 0);
                }
                db.volatile[place] += 1;
                db.expires += 1;
            }
            (true, false) => {
                db.volatile[place] -= 1;
                db.expires -= 1;
            }
            _ => {}
        }
        entry.set_expire_at(expire_at);
        true
    }

    /// The first place at or after `from` whose table is not empty.
    pub fn next_used(&self, db: usize, from: usize) -> Option<usize> {
        let used = &self.dbs[db].used;
        let mut word = from / 64;
        let mut bits = used.get(word)? & (!0u64 << (from % 64));
        loop {
            if bits != 0 {
                return Some(word * 64 + bits.trailing_zeros() as usize);
            }
            word += 1;
            bits = *used.get(word)?;
        }
    }

    /// The first place at or after `from` that holds a key with an expiry.
    pub fn next_volatile(&self, db: usize, from: usize) -> Option<usize> {
        let volatile = &self.dbs[db].volatile;
        (from..volatile.len()).find(|&place| volatile[place] > 0)
    }

    /// Visits one bucket of the table at `place`; gives the next cursor within it, zero at its end.
    pub fn scan(
        &self,
        db: usize,
        place: usize,
        cursor: u64,
        visit: impl FnMut(&KeyEntry),
    ) -> u64 {
        match self.dbs[db].tables.get(place) {
            Some(table) => table.scan(cursor, visit),
            None => 0,
        }
    }

    /// A key drawn at random, slot by slot fairly enough: a slot by its place, then by how full it is.
    pub fn random(&self, db: usize, random: &mut Random) -> Option<&KeyEntry> {
        let of = &self.dbs[db];
        if of.keys == 0 {
            return None;
        }
        // Rejection by size: a table is taken with a chance proportional to its keys, tried against the fullest one
        // met. A few tries suffice for the usual even spread; then any non-empty one will do.
        let mut ceiling = of.keys.div_ceil(of.tables.len()).max(1);
        for _ in 0..64 {
            let place = random.below(of.tables.len() as u64) as usize;
            let Some(place) = self.next_used(db, place).or_else(|| self.next_used(db, 0)) else {
                break;
            };
            let table = &of.tables[place];
            ceiling = ceiling.max(table.len());
            if random.below(ceiling as u64) < table.len() as u64 {
                return table.random(&mut || random.next_u64());
            }
        }
        let place = self.next_used(db, 0)?;
        of.tables[place].random(&mut || random.next_u64())
    }

    /// A key with an expiry drawn at random, if a few tries find one.
    pub fn random_volatile(&self, db: usize, random: &mut Random) -> Option<&KeyEntry> {
        let of = &self.dbs[db];
        if of.expires == 0 {
            return None;
        }
        let from = random.below(of.volatile.len() as u64) as usize;
        let place = self
            .next_volatile(db, from)
            .or_else(|| self.next_volatile(db, 0))?;
        let table = &of.tables[place];
        (0..32).find_map(|_| {
            table
                .random(&mut || random.next_u64())
                .filter(|entry| entry.expire_at().is_some())
        })
    }

    /// Keys in one slot.
    pub fn slot_len(&self, db: usize, slot: Slot) -> usize {
        self.table(db, slot).map_or(0, Table::len)
    }

    /// Empties a database and gives what it held, to be freed in steps.
    pub fn take_db(&mut self, db: usize) -> Db {
        std::mem::take(&mut self.dbs[db])
    }

    /// Exchanges two databases.
    pub fn swap(&mut self, a: usize, b: usize) {
        self.dbs.swap(a, b);
    }

    /// Walks everything and compares with the counters. For tests.
    pub fn check(&self) {
        for db in &self.dbs {
            let (mut keys, mut expires) = (0, 0);
            for (place, table) in db.tables.iter().enumerate() {
                table.check();
                let volatile = table.iter().filter(|e| e.expire_at().is_some()).count();
                keys += table.len();
                expires += volatile;
                assert_eq!(db.volatile.get(place).copied().unwrap_or(0) as usize, volatile);
                assert_eq!(db.used[place / 64] >> (place % 64) & 1 == 1, !table.is_empty());
            }
            assert_eq!((db.keys, db.expires), (keys, expires));
        }
    }
}

impl Db {
    /// Frees up to `budget` entries; true when nothing is left.
    pub fn drain_some(&mut self, budget: usize) -> bool {
        let mut left = budget;
        while let Some(table) = self.tables.last_mut() {
            let held = table.len();
            if table.drain_some(left) {
                return false;
            }
            left = left.saturating_sub(held.max(1));
            self.tables.pop();
            if left == 0 {
                return self.tables.is_empty();
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_taken_out_is_freed_in_steps_down_to_nothing() {
        let mut keyspace = Keyspace::new(0, 1, 1);
        for number in 0..5000 {
            let name = format!("key:{number}");
            keyspace.insert(0, &Key::new(name.as_bytes()), NewValue::Int(number), 0, None);
        }
        let mut taken = keyspace.take_db(0);
        let mut steps = 1;
        while !taken.drain_some(100) {
            steps += 1;
            assert!(steps < 100_000, "a step gets on");
        }
        assert!(steps >= 50, "{steps}");
    }
}
