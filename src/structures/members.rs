//! The members of a big set, or the fields of a big hash: a table, and its walk against a cut while one is under way.
//!
//! `Members::begin_walk` fixes a cut; `Members::walk_step` then gives every element *as it was at the cut*, once, in no
//! order, while writes go on in between. The walk is a scan (`table.rs`), whose cursor tells of any key whether it has
//! been passed. An element that was there at the cut and is not passed yet is kept when it is removed or gets another
//! value, and given with the next step. What has come since stands in `newer` by name, for as long as it lies ahead of the
//! scan, which passes over it. So the memory a walk takes is that of the writes during it, never of the whole.
//!
//! Everything that reads goes to the table straight; whatever changes it goes through here. Rejected: a mark in each
//! element, for which the handle of a blob has no bit left.

use std::collections::HashSet;
use std::ops::Deref;

use super::blob::Blob;
use super::table::{self, Element, Entry, Table};
use crate::base::hash::hash;

/// What the name of a newer element costs beside its bytes.
const NAME_BYTES: usize = 48;

/// A table of blobs that can be walked against a cut; see the head of the file.
#[derive(Default)]
pub struct Members {
    table: Table<Blob>,
    walk: Option<Box<Walk>>,
}

#[derive(Default)]
struct Walk {
    cursor: u64,
    /// The scan has come round.
    is_round: bool,
    /// Elements of the cut still to be given.
    left: usize,
    /// Elements of the cut that are in the table no more, or with another value.
    kept: Vec<Blob>,
    /// What stands ahead of the scan and has come since the cut.
    newer: HashSet<Box<[u8]>>,
    /// Bytes of both.
    kept_bytes: usize,
}

impl Walk {
    fn is_ahead(&self, hash: u64) -> bool {
        !self.is_round && !table::walked(self.cursor, hash)
    }

    /// An element that was not there is about to come.
    #[cold]
    fn before_insert(&mut self, hash: u64, key: &[u8]) {
        if self.is_ahead(hash) && self.newer.insert(key.into()) {
            self.kept_bytes += NAME_BYTES + key.len();
        }
    }

    fn keep(&mut self, blob: Blob) {
        self.kept_bytes += blob.allocated() + size_of::<Blob>();
        self.kept.push(blob);
    }

    /// Whether an element belongs to the cut and has not been given. It has been taken out or is about to change.
    fn is_owed(&mut self, key: &[u8], hash: u64) -> bool {
        if !self.is_ahead(hash) {
            return false;
        }
        let is_newer = self.newer.remove(key);
        if is_newer {
            self.kept_bytes -= NAME_BYTES + key.len();
        }
        !is_newer
    }

    #[cold]
    fn after_removal(&mut self, blob: Blob, hash: u64) {
        if self.is_owed(blob.key(), hash) {
            self.keep(blob);
        }
    }

    #[cold]
    fn before_change(&mut self, blob: &Blob, hash: u64) {
        if self.is_owed(blob.key(), hash) {
            self.keep(Blob::new(blob.key(), blob.value()));
        }
        self.before_insert(hash, blob.key());
    }
}

impl Deref for Members {
    type Target = Table<Blob>;

    #[inline]
    fn deref(&self) -> &Table<Blob> {
        &self.table
    }
}

impl From<Table<Blob>> for Members {
    fn from(table: Table<Blob>) -> Self {
        Members { table, walk: None }
    }
}

impl Members {
    /// None at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an element unless its key is there; true if it was not.
    #[inline]
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> bool {
        let hash = hash(key);
        match self.table.entry(hash, key) {
            Entry::Found(_) => false,
            Entry::Vacant(vacant) => {
                if let Some(walk) = &mut self.walk {
                    walk.before_insert(hash, key);
                }
                vacant.insert(Blob::new(key, value));
                true
            }
        }
    }

    /// Gives a key a value; true if the key is new.
    #[inline]
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> bool {
        let hash = hash(key);
        match self.table.entry(hash, key) {
            Entry::Found(mut found) => {
                if let Some(walk) = &mut self.walk {
                    walk.before_change(found.get(), hash);
                }
                found.get_mut().set_value(value);
                false
            }
            Entry::Vacant(vacant) => {
                if let Some(walk) = &mut self.walk {
                    walk.before_insert(hash, key);
                }
                vacant.insert(Blob::new(key, value));
                true
            }
        }
    }

    /// Removes an element; false if there is none.
    #[inline]
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let hash = hash(key);
        match self.table.remove(hash, key) {
            None => false,
            Some(blob) => {
                if let Some(walk) = &mut self.walk {
                    walk.after_removal(blob, hash);
                }
                true
            }
        }
    }

    /// Removes an element drawn with numbers from `supply`; its key.
    pub fn pop_random(&mut self, supply: &mut impl FnMut() -> u64) -> Option<Vec<u8>> {
        let key = self.table.random(supply)?.key().to_vec();
        self.remove(&key);
        Some(key)
    }

    /// Drops up to `budget` elements; whether any are left. For what nobody can reach any more: a walk goes with it.
    pub fn drain_some(&mut self, budget: usize) -> bool {
        self.walk = None;
        self.table.drain_some(budget)
    }

    /// Fixes a cut: the walk will give the elements that are here now.
    ///
    /// # Panics
    /// If a walk is under way.
    pub fn begin_walk(&mut self) {
        assert!(self.walk.is_none(), "one walk at a time");
        self.walk = Some(Box::new(Walk {
            left: self.table.len(),
            ..Walk::default()
        }));
    }

    /// Whether a walk is under way.
    #[inline]
    pub fn is_walking(&self) -> bool {
        self.walk.is_some()
    }

    /// Bytes that are kept only because of a walk.
    pub fn walk_kept_bytes(&self) -> usize {
        self.walk.as_ref().map_or(0, |walk| walk.kept_bytes)
    }

    /// Gives a walk up.
    pub fn end_walk(&mut self) {
        self.walk = None;
    }

    /// Gives some `budget` elements of the cut. True when all have been given (or no walk was under way).
    pub fn walk_step(&mut self, budget: usize, mut give: impl FnMut(&Blob)) -> bool {
        let Some(mut walk) = self.walk.take() else {
            return true;
        };
        let mut given = 0;
        while given < budget {
            if let Some(blob) = walk.kept.pop() {
                walk.kept_bytes -= blob.allocated() + size_of::<Blob>();
                give(&blob);
                given += 1;
                walk.left -= 1;
                continue;
            }
            if walk.is_round {
                assert_eq!(walk.left, 0, "a walk gives what was there at the cut");
                return true;
            }
            let Walk {
                cursor,
                left,
                newer,
                kept_bytes,
                ..
            } = &mut *walk;
            let passed = &mut given;
            *cursor = self.table.scan(*cursor, |blob| {
                if !newer.is_empty() && newer.remove(blob.key()) {
                    *kept_bytes -= NAME_BYTES + blob.key().len();
                } else {
                    give(blob);
                    *left -= 1;
                }
                *passed += 1;
            });
            given += 1; // an empty bucket costs something too
            if walk.cursor == 0 {
                walk.is_round = true;
                assert!(walk.newer.is_empty(), "nothing lies ahead any more");
            }
        }
        self.walk = Some(walk);
        false
    }

    /// A second, independent instance; a walk stays with the original.
    #[must_use]
    pub fn copy(&self) -> Self {
        let mut copy = Table::new();
        for blob in self.table.iter() {
            copy.insert(blob.hash(), Blob::new(blob.key(), blob.value()));
        }
        copy.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use std::collections::BTreeMap;

    #[test]
    fn a_walk_with_writes_between_gives_each_element_of_the_cut_once() {
        let mut random = Random::new(4711);
        for round in 0..200 {
            let mut members = Members::new();
            let name = |n: u64| format!("member:{n}").into_bytes();
            for _ in 0..random.below(800) {
                members.set(&name(random.below(1000)), &name(random.below(50)));
            }
            let expected: BTreeMap<Vec<u8>, Vec<u8>> = members
                .iter()
                .map(|blob| (blob.key().to_vec(), blob.value().to_vec()))
                .collect();
            let mut seen = BTreeMap::new();
            members.begin_walk();
            // Some rounds have far more writes than steps, so that the table grows and shrinks a lot.
            let writes = [3, 30, 400][round % 3];
            loop {
                for _ in 0..random.below(writes) {
                    let key = name(random.below(1000));
                    match random.below(5) {
                        0 => drop(members.remove(&key)),
                        1 => drop(members.add(&key, b"added")),
                        2 => drop(members.pop_random(&mut || random.next_u64())),
                        _ => drop(members.set(&key, &name(random.below(50)))),
                    }
                }
                let over = members.walk_step(1 + random.below(40) as usize, |blob| {
                    let old = seen.insert(blob.key().to_vec(), blob.value().to_vec());
                    assert_eq!(old, None, "given twice");
                });
                if over {
                    break;
                }
            }
            assert_eq!(seen, expected);
            assert!(!members.is_walking());
            members.check();
        }
    }

    #[test]
    fn what_a_walk_keeps_is_counted_down_to_nothing() {
        let mut members = Members::new();
        for n in 0..1000 {
            members.add(format!("{n}:with some length").as_bytes(), b"v");
        }
        members.begin_walk();
        for n in 0..500 {
            members.remove(format!("{n}:with some length").as_bytes());
            members.set(format!("{}:with some length", n + 500).as_bytes(), b"w");
        }
        assert!(members.walk_kept_bytes() > 1000 * 20);
        while !members.walk_step(64, |_| {}) {
            let walk = members.walk.as_ref().unwrap();
            let names: usize = walk.newer.iter().map(|name| NAME_BYTES + name.len()).sum();
            let kept: usize = walk.kept.iter().map(|blob| blob.allocated() + 8).sum();
            assert_eq!(walk.kept_bytes, names + kept);
        }
        assert_eq!(members.walk_kept_bytes(), 0);
    }
}
