//! Finding keys to evict: which slot to look into, and the few worst keys met so far.
//!
//! Every key should be met with the same chance, though a slot may hold one key or ten million (hash tags). So a slot is
//! drawn by its share of the keys: running sums over groups of slots are made now and then and searched for each draw,
//! and within the group found the true counts decide. A tree of counts kept exact by every insertion was rejected: each
//! write would pay for what only eviction reads.
//!
//! What the samples show is kept in a pool of the worst keys, as Redis does (LRU by approximation, since 3.0): the best
//! of many small samples comes close to the true order. A candidate may have been used or deleted since, so whoever takes
//! one looks at the key again.

use crate::base::random::Random;

use super::db::{KeyEntry, Keyspace};

/// Slots whose keys are summed together.
const GROUP_SLOTS: usize = 16;
/// Draws after which the sums are made anew.
const DRAWS_MAX: u32 = 4096;
/// Keys a pool holds (Redis: EVPOOL_SIZE).
const POOL_KEYS: usize = 16;
/// Keys in a bucket of the table.
const BUCKET_KEYS: usize = 7;
/// Elements looked at in one sample at most, where keys with an expiry are rare.
const LOOKS_MAX: usize = 2048;
/// Capacity of a key's copy that is kept for the next one; a longer one is given back.
const SPARE_BYTES_MAX: usize = 256;

/// Which keys may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// Any key (`allkeys-*`).
    All,
    /// Keys with an expiry (`volatile-*`).
    Volatile,
}

impl Keyspace {
    /// How many keys of all databases may go.
    pub fn population(&self, among: Among) -> usize {
        self.dbs
            .iter()
            .map(|db| match among {
                Among::All => db.keys(),
                Among::Volatile => db.expires(),
            })
            .sum()
    }

    /// How many keys of one slot's table may go.
    fn weight(&self, db: usize, place: usize, among: Among) -> u64 {
        match among {
            Among::All => self.dbs[db]
                .tables
                .get(place)
                .map_or(0, |table| table.len() as u64),
            Among::Volatile => self.dbs[db]
                .counts
                .volatile
                .get(place)
                .map_or(0, |&n| u64::from(n)),
        }
    }

    /// Visits some keys that may go, up to `count` of them, which stand together in the table at `place`, and answers how
    /// many they were. Where few of its keys have an expiry, it may be none: looking further is the next sample's work.
    pub fn sample(
        &self,
        db: usize,
        place: usize,
        among: Among,
        count: usize,
        random: &mut Random,
        mut visit: impl FnMut(&KeyEntry),
    ) -> usize {
        let Some(table) = self.dbs[db].tables.get(place) else {
            return 0;
        };
        let volatile = self.weight(db, place, Among::Volatile) as usize;
        if among == Among::All || volatile == table.len() {
            // A bucket is always read from its first place: skipping some gives those behind them their chance.
            let others = table.len().saturating_sub(count);
            let mut skip = random.below(others.min(BUCKET_KEYS - 1) as u64 + 1) as usize;
            let skipped = skip;
            let met = table.sample(count + skip, random.next_u64(), |entry| {
                if skip > 0 {
                    skip -= 1;
                } else {
                    visit(entry);
                }
            });
            return met.saturating_sub(skipped);
        }
        if volatile == 0 {
            return 0;
        }
        let looks = (2 * count * table.len() / volatile).min(LOOKS_MAX);
        let mut visited = 0;
        table.sample(looks, random.next_u64(), |entry| {
            if visited < count && entry.expire_at().is_some() {
                visited += 1;
                visit(entry);
            }
        });
        visited
    }
}

/// Running sums of keys over groups of slots: where a draw finds its slot.
#[derive(Debug, Default)]
pub struct Weights {
    /// Database, first slot's place, and the sum up to and with this group.
    groups: Vec<(u32, u32, u64)>,
    of: Option<Among>,
    population: usize,
    draws_left: u32,
}

impl Weights {
    /// Draws a database and a place in it, each by its share of the keys that may go. None when there are none.
    pub fn draw(
        &mut self,
        keyspace: &Keyspace,
        among: Among,
        random: &mut Random,
    ) -> Option<(usize, usize)> {
        let population = keyspace.population(among);
        if population == 0 {
            return None;
        }
        let stale = self.of != Some(among)
            || self.draws_left == 0
            || population.abs_diff(self.population) > self.population / 8;
        if stale {
            self.sum(keyspace, among, population);
        }
        self.draws_left -= 1;
        if let Some(found) = self.draw_live(keyspace, among, random) {
            return Some(found);
        }
        // The group has been emptied since the sums were made; fresh sums hold no empty group.
        self.sum(keyspace, among, population);
        self.draw_live(keyspace, among, random)
    }

    fn draw_live(
        &self,
        keyspace: &Keyspace,
        among: Among,
        random: &mut Random,
    ) -> Option<(usize, usize)> {
        let total = self.groups.last()?.2;
        let rank = random.below(total);
        let &(db, first, _) = &self.groups[self.groups.partition_point(|group| group.2 <= rank)];
        let (db, first) = (db as usize, first as usize);
        let places = first..first + GROUP_SLOTS;
        let live: u64 = places
            .clone()
            .map(|place| keyspace.weight(db, place, among))
            .sum();
        if live == 0 {
            return None;
        }
        let mut rank = random.below(live);
        for place in places {
            let weight = keyspace.weight(db, place, among);
            if rank < weight {
                return Some((db, place));
            }
            rank -= weight;
        }
        unreachable!("a rank below the sum of the weights falls into one of them")
    }

    #[cold]
    fn sum(&mut self, keyspace: &Keyspace, among: Among, population: usize) {
        self.groups.clear();
        let mut sum = 0;
        for db in 0..keyspace.databases() {
            if keyspace.db(db).keys() == 0 {
                continue;
            }
            for first in (0..keyspace.slots()).step_by(GROUP_SLOTS) {
                let of_group: u64 = (first..first + GROUP_SLOTS)
                    .map(|place| keyspace.weight(db, place, among))
                    .sum();
                if of_group > 0 {
                    sum += of_group;
                    self.groups.push((db as u32, first as u32, sum));
                }
            }
        }
        self.of = Some(among);
        self.population = population;
        self.draws_left = DRAWS_MAX;
    }
}

/// A key that may go.
#[derive(Debug, Default)]
pub struct Candidate {
    /// How much it deserves to go; the more, the sooner.
    pub score: u64,
    /// Its database.
    pub db: u32,
    /// Its name.
    pub key: Vec<u8>,
}

/// The worst keys met so far, the very worst last.
#[derive(Debug, Default)]
pub struct Pool {
    candidates: Vec<Candidate>,
    spare: Vec<Vec<u8>>,
}

impl Pool {
    /// Keeps a key if it is worse than one of those kept, or there is room. A score of zero means that it must stay.
    pub fn offer(&mut self, score: u64, db: usize, key: &[u8]) {
        let full = self.candidates.len() == POOL_KEYS;
        if score == 0 || full && score <= self.candidates[0].score {
            return;
        }
        let db = db as u32;
        if self
            .candidates
            .iter()
            .any(|known| known.db == db && known.key == key)
        {
            return;
        }
        if full {
            let best = self.candidates.remove(0);
            self.recycle(best);
        }
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.extend_from_slice(key);
        let at = self.candidates.partition_point(|known| known.score < score);
        self.candidates.insert(
            at,
            Candidate {
                score,
                db,
                key: copy,
            },
        );
    }

    /// The worst key.
    pub fn worst(&self) -> Option<&Candidate> {
        self.candidates.last()
    }

    /// Takes the worst key out.
    pub fn take_worst(&mut self) -> Option<Candidate> {
        self.candidates.pop()
    }

    /// Keeps the memory of a candidate's key for another.
    pub fn recycle(&mut self, candidate: Candidate) {
        let mut key = candidate.key;
        if key.capacity() <= SPARE_BYTES_MAX && self.spare.len() < POOL_KEYS {
            key.clear();
            self.spare.push(key);
        }
    }

    /// Forgets all candidates.
    pub fn clear(&mut self) {
        self.candidates.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::request::Key;
    use crate::structures::entry::{Entry, NewValue};

    fn add(keyspace: &mut Keyspace, db: usize, name: &str, expire_at: Option<i64>) {
        let key = Key::new(name.as_bytes());
        keyspace.insert_entry(
            db,
            &key,
            Entry::new(key.bytes, NewValue::Bytes(b"v"), 0, expire_at),
        );
    }

    #[test]
    fn slots_are_drawn_by_how_many_of_their_keys_may_go() {
        let mut keyspace = Keyspace::new(0, 1, 2);
        for n in 0..3000 {
            add(&mut keyspace, 0, &format!("{{one}}{n}"), None);
        }
        for n in 0..1000 {
            add(&mut keyspace, 1, &format!("spread:{n}"), Some(5));
        }
        let (mut weights, mut random) = (Weights::default(), Random::new(3));
        let tagged = keyspace.place(Key::new(b"{one}").slot);
        let mut hits = 0;
        for _ in 0..10_000 {
            let drawn = weights.draw(&keyspace, Among::All, &mut random).unwrap();
            hits += usize::from(drawn == (0, tagged));
        }
        assert!(
            (7200..7800).contains(&hits),
            "{hits} of 10000 for three quarters of the keys"
        );
        for _ in 0..1000 {
            let (db, _) = weights
                .draw(&keyspace, Among::Volatile, &mut random)
                .unwrap();
            assert_eq!(db, 1);
        }
        keyspace.take_db(1);
        assert_eq!(weights.draw(&keyspace, Among::Volatile, &mut random), None);
        assert_eq!(
            weights.draw(&keyspace, Among::All, &mut random),
            Some((0, tagged))
        );
    }

    #[test]
    fn draws_survive_that_the_keys_have_moved_to_another_database() {
        let mut keyspace = Keyspace::new(0, 1, 2);
        for n in 0..1000 {
            add(&mut keyspace, 0, &format!("key:{n}"), None);
        }
        let (mut weights, mut random) = (Weights::default(), Random::new(3));
        assert_eq!(
            weights.draw(&keyspace, Among::All, &mut random).unwrap().0,
            0
        );
        keyspace.swap(0, 1);
        assert_eq!(
            weights.draw(&keyspace, Among::All, &mut random).unwrap().0,
            1
        );
    }

    #[test]
    fn a_sample_among_volatile_keys_shows_no_other_and_finds_rare_ones() {
        let mut keyspace = Keyspace::new(0, 1, 1);
        for n in 0..20_000 {
            add(
                &mut keyspace,
                0,
                &format!("{{t}}{n}"),
                (n % 5000 == 0).then_some(9),
            );
        }
        let (mut random, mut found) = (Random::new(11), 0);
        let place = keyspace.place(Key::new(b"{t}").slot);
        for _ in 0..200 {
            found += keyspace.sample(0, place, Among::Volatile, 5, &mut random, |entry| {
                assert!(entry.expire_at().is_some());
            });
        }
        assert!(found > 20, "{found} found");
    }

    #[test]
    fn every_key_of_a_small_table_is_met() {
        let mut keyspace = Keyspace::new(0, 1, 1);
        for n in 0..7 {
            add(&mut keyspace, 0, &format!("{{t}}{n}"), None);
        }
        let (mut random, mut met) = (Random::new(5), std::collections::BTreeMap::new());
        let place = keyspace.place(Key::new(b"{t}").slot);
        for _ in 0..1000 {
            keyspace.sample(0, place, Among::All, 3, &mut random, |entry| {
                *met.entry(entry.key().to_vec()).or_insert(0) += 1;
            });
        }
        assert!(
            met.len() == 7 && met.values().all(|&count| count > 100),
            "{met:?}"
        );
    }

    #[test]
    fn the_pool_keeps_the_worst_each_once_and_gives_the_worst_first() {
        let mut pool = Pool::default();
        for score in (1..=100u64).rev().chain(1..=100) {
            pool.offer(score, 0, format!("key:{score}").as_bytes());
        }
        pool.offer(0, 0, b"stays");
        let mut given = Vec::new();
        while let Some(candidate) = pool.take_worst() {
            given.push(candidate.score);
            pool.recycle(candidate);
        }
        assert_eq!(given, (85..=100).rev().collect::<Vec<_>>());
    }
}
