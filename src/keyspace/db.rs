//! One shard's databases: for each, a table per slot it owns, allocated when the database is first written to.
//!
//! Slot `s` lies on shard `s % shards`, as table `s / shards`. Per-slot tables make counting, listing, moving and
//! flushing a slot direct; a bitmap of slots in use lets walks skip the empty ones.

use crate::base::random::Random;
use crate::base::slot::{SLOTS, Slot};
use crate::resp::request::Key;
use crate::structures::entry::{Entry, NewValue};
use crate::structures::table::{self, Found, Table};

use super::value::{Remains, Value};

/// One key with what it holds.
pub type KeyEntry = Entry<Value>;

/// A key that is about to be looked up; from [`Keyspace::hint`].
#[derive(Clone, Copy)]
pub struct Hint {
    hash: u64,
    db: u32,
    slot: Slot,
}

/// One database's share on one shard.
#[derive(Default)]
pub struct Db {
    /// A table per slot owned; empty until the first key.
    pub(super) tables: Vec<Table<KeyEntry>>,
    pub(super) counts: Counts,
}

/// What a database knows about its tables without looking into them.
#[derive(Default)]
pub(super) struct Counts {
    /// Keys with an expiry, per slot; empty until the first one.
    pub(super) volatile: Vec<u32>,
    /// Bit per slot: its table is not empty.
    used: Vec<u64>,
    keys: usize,
    expires: usize,
}

impl Counts {
    /// A key of the table at `place` has an expiry now; there are so many tables.
    fn add_volatile(&mut self, place: usize, slots: usize) {
        if self.volatile.is_empty() {
            self.volatile.resize(slots, 0);
        }
        self.volatile[place] += 1;
        self.expires += 1;
    }

    /// A table of so many keys leaves its place; gives how many of them have an expiry.
    pub(super) fn take_slot(&mut self, place: usize, keys: usize) -> u32 {
        let volatile = self.volatile.get_mut(place).map_or(0, std::mem::take);
        self.keys -= keys;
        self.expires -= volatile as usize;
        self.used[place / 64] &= !(1 << (place % 64));
        volatile
    }

    /// A table of so many keys comes to an empty place of so many in all.
    pub(super) fn put_slot(&mut self, place: usize, slots: usize, keys: usize, volatile: u32) {
        if volatile > 0 {
            if self.volatile.is_empty() {
                self.volatile.resize(slots, 0);
            }
            self.volatile[place] = volatile;
        }
        self.keys += keys;
        self.expires += volatile as usize;
        self.used[place / 64] |= 1 << (place % 64);
    }

    /// A key of the table at `place` has no expiry any more.
    fn drop_volatile(&mut self, place: usize) {
        self.volatile[place] -= 1;
        self.expires -= 1;
    }
}

/// A key that was found, with its place: it can be read, changed, replaced and removed without another search.
pub struct FoundKey<'a> {
    found: Found<'a, KeyEntry>,
    counts: &'a mut Counts,
    place: usize,
    slots: usize,
    stamp: u8,
}

impl<'a> FoundKey<'a> {
    /// The entry.
    #[inline]
    pub fn get(&self) -> &KeyEntry {
        self.found.get()
    }

    /// The entry, to change; its expiry changes through `set_expire_at` only.
    #[inline]
    pub fn get_mut(&mut self) -> &mut KeyEntry {
        self.found.get_mut()
    }

    /// The entry for as long as the keyspace was borrowed.
    #[inline]
    pub fn into_mut(self) -> &'a mut KeyEntry {
        self.found.into_mut()
    }

    /// Sets or removes the expiry.
    #[inline]
    pub fn set_expire_at(&mut self, expire_at: Option<i64>) {
        let entry = self.found.get_mut();
        match (entry.expire_at().is_some(), expire_at.is_some()) {
            (false, false) => return,
            (false, true) => self.counts.add_volatile(self.place, self.slots),
            (true, false) => self.counts.drop_volatile(self.place),
            (true, true) => {}
        }
        entry.set_expire_at(expire_at);
    }

    /// Puts `entry`, which must bear the same key, in the place of the one found and gives that back.
    pub fn replace(&mut self, mut entry: KeyEntry) -> KeyEntry {
        entry.set_stamp(self.stamp);
        match (
            self.get().expire_at().is_some(),
            entry.expire_at().is_some(),
        ) {
            (false, true) => self.counts.add_volatile(self.place, self.slots),
            (true, false) => self.counts.drop_volatile(self.place),
            _ => {}
        }
        self.found.replace(entry)
    }

    /// Takes the key out.
    pub fn remove(self) -> KeyEntry {
        self.counts.keys -= 1;
        if self.found.get().expire_at().is_some() {
            self.counts.drop_volatile(self.place);
        }
        if self.found.is_only() {
            self.counts.used[self.place / 64] &= !(1 << (self.place % 64));
        }
        self.found.remove()
    }
}

impl Db {
    /// Makes the tables if there are none yet.
    #[inline]
    pub(super) fn make_tables(&mut self, slots: usize) {
        if self.tables.is_empty() {
            self.tables.resize_with(slots, Table::new);
            self.counts.used.resize(slots.div_ceil(64), 0);
        }
    }

    /// Keys, expired ones that nobody has met yet included.
    #[inline]
    pub fn keys(&self) -> usize {
        self.counts.keys
    }

    /// Keys with an expiry.
    #[inline]
    pub fn expires(&self) -> usize {
        self.counts.expires
    }
}

/// The absence of a key, with the place where it would be.
pub struct VacantKey<'a> {
    table: &'a mut Table<KeyEntry>,
    counts: &'a mut Counts,
    place: usize,
    slots: usize,
    hash: u64,
    stamp: u8,
}

impl<'a> VacantKey<'a> {
    /// Adds `entry`, which must bear the key that was looked for.
    pub fn insert(self, mut entry: KeyEntry) -> &'a mut KeyEntry {
        entry.set_stamp(self.stamp);
        if entry.expire_at().is_some() {
            self.counts.add_volatile(self.place, self.slots);
        }
        self.counts.keys += 1;
        self.counts.used[self.place / 64] |= 1 << (self.place % 64);
        self.table.insert(self.hash, entry)
    }
}

/// The answer of [`Keyspace::entry`].
pub enum KeyPlace<'a> {
    /// The key is there.
    Found(FoundKey<'a>),
    /// It is not.
    Vacant(VacantKey<'a>),
}

/// All databases of one shard.
pub struct Keyspace {
    pub(super) dbs: Vec<Db>,
    index: usize,
    shards: usize,
    /// `floor(2^32 / shards) + 1`: turns the division by `shards` on every request into a multiplication.
    reciprocal: u64,
    /// What entries are stamped with when they come: the number of the last walk over this keyspace, modulo the number of
    /// stamps. An entry with another stamp has been there when that walk began, and has not been dealt with.
    stamp: u8,
}

impl Keyspace {
    /// The share of shard `index` of `shards` in so many databases.
    pub fn new(index: usize, shards: usize, databases: usize) -> Self {
        assert!(
            index < shards && shards <= SLOTS,
            "a shard owns a slot at least"
        );
        Keyspace {
            dbs: (0..databases).map(|_| Db::default()).collect(),
            index,
            shards,
            reciprocal: (1u64 << 32) / shards as u64 + 1,
            stamp: 0,
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

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// Whose share this is.
    pub fn index(&self) -> usize {
        self.index
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
        debug_assert_eq!(
            usize::from(slot) % self.shards,
            self.index,
            "slot {slot} is not ours"
        );
        place
    }

    #[inline]
    fn table(&self, db: usize, slot: Slot) -> Option<&Table<KeyEntry>> {
        self.dbs[db].tables.get(self.place(slot))
    }

    /// A key of this shard will be looked up soon. Asks for its table's header; for the rest see [`Keyspace::prefetch`].
    #[inline]
    pub fn hint(&self, db: u32, slot: Slot, hash: u64) -> Hint {
        if let Some(table) = self.table(db as usize, slot) {
            table::prefetch(std::ptr::from_ref(table).cast());
        }
        Hint { hash, db, slot }
    }

    /// Brings into the cache what looking up these keys will read, each in its keyspace, stage by stage, so that the misses
    /// of all of them lie side by side. A few dozen at a time: more would push each other out.
    #[inline]
    pub fn prefetch<'a>(keys: impl Iterator<Item = (&'a Keyspace, Hint)> + Clone) {
        let tables = || {
            keys.clone().filter_map(|(keyspace, key)| {
                Some((keyspace.table(key.db as usize, key.slot)?, key.hash))
            })
        };
        tables().for_each(|(table, hash)| table.prefetch_bucket(hash));
        tables().for_each(|(table, hash)| table.prefetch_element(hash));
        tables().for_each(|(table, hash)| table.prefetch_rest(hash));
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
        self.dbs[db]
            .tables
            .get_mut(place)?
            .find_mut(key.hash, key.bytes)
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
        self.vacant(db, key).insert(entry)
    }

    /// The place of a key or the chance to add it, for commands that make what is missing: one search for both.
    #[inline]
    pub fn entry(&mut self, db: usize, key: &Key<'_>) -> KeyPlace<'_> {
        let VacantKey {
            table,
            counts,
            place,
            slots,
            hash,
            stamp,
        } = self.vacant(db, key);
        match table.entry(hash, key.bytes) {
            table::Entry::Found(found) => KeyPlace::Found(FoundKey {
                found,
                counts,
                place,
                slots,
                stamp,
            }),
            table::Entry::Vacant(vacant) => KeyPlace::Vacant(VacantKey {
                table: vacant.into_table(),
                counts,
                place,
                slots,
                hash,
                stamp,
            }),
        }
    }

    /// The table where a key belongs, made if the database has none yet. The caller has looked for the key, or does.
    #[inline]
    fn vacant(&mut self, db: usize, key: &Key<'_>) -> VacantKey<'_> {
        let (place, slots, stamp) = (self.place(key.slot), self.slots(), self.stamp);
        self.dbs[db].make_tables(slots);
        let Db { tables, counts } = &mut self.dbs[db];
        VacantKey {
            table: &mut tables[place],
            counts,
            place,
            slots,
            hash: key.hash,
            stamp,
        }
    }

    /// The entry of a key with its place, from which it can be changed and removed without another search.
    #[inline]
    pub fn found(&mut self, db: usize, key: &Key<'_>) -> Option<FoundKey<'_>> {
        let (place, slots, stamp) = (self.place(key.slot), self.slots(), self.stamp);
        let Db { tables, counts } = &mut self.dbs[db];
        let found = tables.get_mut(place)?.found(key.hash, key.bytes)?;
        Some(FoundKey {
            found,
            counts,
            place,
            slots,
            stamp,
        })
    }

    /// Takes a key out.
    pub fn remove(&mut self, db: usize, key: &Key<'_>) -> Option<KeyEntry> {
        Some(self.found(db, key)?.remove())
    }

    /// Sets or removes a key's expiry; false when there is no such key.
    pub fn set_expire_at(&mut self, db: usize, key: &Key<'_>, expire_at: Option<i64>) -> bool {
        match self.found(db, key) {
            Some(mut found) => {
                found.set_expire_at(expire_at);
                true
            }
            None => false,
        }
    }

    /// The first place at or after `from` whose table is not empty.
    pub fn next_used(&self, db: usize, from: usize) -> Option<usize> {
        let used = &self.dbs[db].counts.used;
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
        let volatile = &self.dbs[db].counts.volatile;
        (from..volatile.len()).find(|&place| volatile[place] > 0)
    }

    /// Visits one bucket of the table at `place`; gives the next cursor within it, zero at its end.
    pub fn scan(&self, db: usize, place: usize, cursor: u64, visit: impl FnMut(&KeyEntry)) -> u64 {
        match self.dbs[db].tables.get(place) {
            Some(table) => table.scan(cursor, visit),
            None => 0,
        }
    }

    /// The same, to change what is visited: stamps, and what of values has nothing to do with their keys.
    pub fn scan_mut(
        &mut self,
        db: usize,
        place: usize,
        cursor: u64,
        visit: impl FnMut(&mut KeyEntry),
    ) -> u64 {
        match self.dbs[db].tables.get_mut(place) {
            Some(table) => table.scan_mut(cursor, visit),
            None => 0,
        }
    }

    /// See the field.
    pub fn stamp(&self) -> u8 {
        self.stamp
    }

    /// A walk begins: everything that is here has another stamp than this one, everything that comes has this one.
    pub fn set_stamp(&mut self, stamp: u8) {
        self.stamp = stamp;
    }

    /// Gives everything that is here the stamp of today. It takes time with the number of keys.
    pub fn stamp_all(&mut self) {
        let stamp = self.stamp;
        for table in self.dbs.iter_mut().flat_map(|db| &mut db.tables) {
            table.iter_mut().for_each(|entry| entry.set_stamp(stamp));
        }
    }

    /// All entries of a database, slot by slot, for whoever writes them down while nothing changes.
    pub fn entries(&self, db: usize) -> impl Iterator<Item = &KeyEntry> {
        self.dbs[db].tables.iter().flat_map(Table::iter)
    }

    /// A key drawn at random, slot by slot fairly enough: a slot by its place, then by how full it is.
    pub fn random(&self, db: usize, random: &mut Random) -> Option<&KeyEntry> {
        let of = &self.dbs[db];
        if of.counts.keys == 0 {
            return None;
        }
        // Rejection by size: a table is taken with a chance proportional to its keys, tried against the fullest one
        // met. A few tries suffice for the usual even spread; then any non-empty one will do.
        let mut ceiling = of.counts.keys.div_ceil(of.tables.len()).max(1);
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
        if of.counts.expires == 0 {
            return None;
        }
        let from = random.below(of.counts.volatile.len() as u64) as usize;
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

    /// Empties a database and gives what it held, to be freed in steps. Where there were tables there are empty ones
    /// from the start, so that the next key under `maxmemory` costs what a key costs.
    pub fn take_db(&mut self, db: usize) -> Db {
        if self.dbs[db].keys() == 0 {
            return Db::default();
        }
        let taken = std::mem::take(&mut self.dbs[db]);
        let fresh = &mut self.dbs[db];
        fresh.tables.resize_with(taken.tables.len(), Table::new);
        fresh.counts.used.resize(taken.counts.used.len(), 0);
        let slots = taken.tables.len();
        fresh.counts.volatile.resize(slots, 0);
        taken
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
                assert_eq!(
                    db.counts.volatile.get(place).copied().unwrap_or(0) as usize,
                    volatile
                );
                assert_eq!(
                    db.counts.used[place / 64] >> (place % 64) & 1 == 1,
                    !table.is_empty()
                );
            }
            assert_eq!((db.counts.keys, db.counts.expires), (keys, expires));
        }
    }
}

/// A table costs something to look at even when it is empty: one element for so many of them.
const TABLES_PER_ELEMENT: usize = 16;

impl Db {
    /// Frees entries with up to `budget` elements in all; true when nothing is left. A value larger than
    /// `at_once_max` is not freed but handed to `keep`, whose owner frees it in steps: the database of a single set of
    /// five million members is no shorter work than that set.
    pub fn drain_some(
        &mut self,
        budget: usize,
        at_once_max: usize,
        mut keep: impl FnMut(Remains),
    ) -> bool {
        self.drain_with(budget, |mut entry| {
            if let Some(remains) = Remains::of(&mut entry, at_once_max) {
                keep(remains);
                return 1;
            }
            let elements = entry.boxed().map_or(0, Value::elements);
            elements.max(1)
        })
    }

    /// Hands over entries until their prices, which `take` answers, make up `budget`; true when nothing is left.
    pub fn drain_with(&mut self, budget: usize, mut take: impl FnMut(KeyEntry) -> usize) -> bool {
        let budget = budget.saturating_mul(TABLES_PER_ELEMENT);
        let mut spent = 0;
        let keys = &mut self.counts.keys;
        while let Some(table) = self.tables.last_mut() {
            if spent >= budget {
                return false;
            }
            let mut cost = 0;
            let left = table.drain_with((budget - spent).div_ceil(TABLES_PER_ELEMENT), |entry| {
                *keys = keys.saturating_sub(1);
                let price = take(entry);
                cost += price;
                price
            });
            spent += 1 + cost * TABLES_PER_ELEMENT;
            if left {
                return false;
            }
            self.tables.pop();
        }
        true
    }
}
