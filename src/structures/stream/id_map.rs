//! A map ordered by stream ids: the nodes of a stream, the pending entries of a group and of each consumer.
//!
//! ```text
//!   one row   [ id id id ... | value value value ... ]                        up to 64 entries
//!   many      BTreeMap { lower bound -> row, ... }    a row holds the ids from its bound up to the next one's
//! ```
//!
//! Ids arrive in rising order nearly always and leave from the low end, so a full row at the high end stays full and
//! a new one is begun: an entry costs its own bytes and hardly more. Rows that run empty in the middle join a
//! neighbour. A map of up to a row is a plain sorted array. Rejected: a radix tree as in Redis (some 26 bytes an entry
//! beside key and value, scattered), std's tree by itself (eleven entries a node, two thirds full when they arrive in
//! order), one sorted array (a removal in the middle would move megabytes).
//!
//! The lowest row's bound is `0-0`, so every id has its row.
//!
//! # The walk against a cut
//!
//! `IdMap::begin_walk` fixes a cut; `IdMap::walk_step` then gives the entries *as they were at the cut, in order*, while
//! writes go on in between. A write to what has not been walked first keeps the entry's value (`Walk::kept`), or notes
//! that it is newer than the cut (`Walk::newer`). So a walk costs memory for what is written meanwhile, and a write
//! outside a walk one predictable branch.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::ops::Bound;

use super::StreamId;

/// Entries in a row; few in tests, so that rows part and join all the time.
const ROW_MAX: usize = if cfg!(test) { 8 } else { 64 };
/// A row of fewer looks for a neighbour to join.
const ROW_MIN: usize = ROW_MAX / 4;
/// Rows joined are at most this long, so that the next insertion does not part them again.
const JOINED_MAX: usize = ROW_MAX * 3 / 4;

/// An ordered map from ids to values; see the head of the file.
#[derive(Debug)]
pub struct IdMap<V> {
    len: usize,
    rows: Rows<V>,
    walk: Option<Box<Walk<V>>>,
}

impl<V: Clone> Clone for IdMap<V> {
    /// The entries; a walk stays with the original.
    fn clone(&self) -> Self {
        IdMap {
            len: self.len,
            rows: self.rows.clone(),
            walk: None,
        }
    }
}

/// See the head of the file.
#[derive(Debug)]
struct Walk<V> {
    /// The lowest id that has not been walked; none when all have.
    next: Option<StreamId>,
    /// Entries as they were at the cut, of those that were written to since.
    kept: BTreeMap<StreamId, V>,
    /// Ids that have come since the cut.
    newer: BTreeSet<StreamId>,
}

#[derive(Clone, Debug)]
enum Rows<V> {
    One(Row<V>),
    Many(BTreeMap<StreamId, Row<V>>),
}

/// Ids in rising order and, at the same places, their values.
#[derive(Clone, Debug)]
struct Row<V> {
    ids: Vec<StreamId>,
    values: Vec<V>,
}

impl<V> Row<V> {
    const fn new() -> Self {
        Row {
            ids: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Where `id` is, or where it would be. Ids at the high end are met first.
    #[inline]
    fn place(&self, id: StreamId) -> Result<usize, usize> {
        match self.ids.last() {
            Some(last) if *last < id => Err(self.ids.len()),
            _ => self.ids.binary_search(&id),
        }
    }

    fn insert(&mut self, place: usize, id: StreamId, value: V) {
        self.ids.insert(place, id);
        self.values.insert(place, value);
    }

    fn remove(&mut self, place: usize) -> V {
        self.ids.remove(place);
        self.values.remove(place)
    }

    fn split_off(&mut self, place: usize) -> Self {
        Row {
            ids: self.ids.split_off(place),
            values: self.values.split_off(place),
        }
    }

    fn join(&mut self, mut next: Self) {
        self.ids.append(&mut next.ids);
        self.values.append(&mut next.values);
    }

    fn allocated(&self) -> usize {
        self.ids.capacity() * size_of::<StreamId>() + self.values.capacity() * size_of::<V>()
    }
}

impl<V: Clone> Default for IdMap<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Clone> IdMap<V> {
    /// An empty map.
    pub const fn new() -> Self {
        IdMap {
            len: 0,
            rows: Rows::One(Row::new()),
            walk: None,
        }
    }

    /// How many entries there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many rows there are: what the map is made of.
    pub fn rows(&self) -> usize {
        match &self.rows {
            Rows::One(row) => usize::from(!row.ids.is_empty()),
            Rows::Many(rows) => rows.len(),
        }
    }

    #[inline]
    fn row(&self, id: StreamId) -> &Row<V> {
        match &self.rows {
            Rows::One(row) => row,
            Rows::Many(rows) => {
                rows.range(..=id)
                    .next_back()
                    .expect("the lowest bound is 0-0")
                    .1
            }
        }
    }

    #[inline]
    fn row_mut(&mut self, id: StreamId) -> &mut Row<V> {
        match &mut self.rows {
            Rows::One(row) => row,
            Rows::Many(rows) => {
                rows.range_mut(..=id)
                    .next_back()
                    .expect("the lowest bound is 0-0")
                    .1
            }
        }
    }

    /// The value of an id.
    #[inline]
    pub fn get(&self, id: StreamId) -> Option<&V> {
        let row = self.row(id);
        let place = row.place(id).ok()?;
        Some(&row.values[place])
    }

    /// The value of an id, to change.
    #[inline]
    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut V> {
        self.before_write(id);
        let row = self.row_mut(id);
        let place = row.place(id).ok()?;
        Some(&mut row.values[place])
    }

    /// Whether an id is there.
    #[inline]
    pub fn contains(&self, id: StreamId) -> bool {
        self.row(id).place(id).is_ok()
    }

    /// Sets the value of an id and gives back the one it had.
    pub fn insert(&mut self, id: StreamId, value: V) -> Option<V> {
        self.before_write(id);
        let row = self.row_mut(id);
        match row.place(id) {
            Ok(place) => return Some(std::mem::replace(&mut row.values[place], value)),
            Err(place) if row.ids.len() < ROW_MAX => row.insert(place, id, value),
            Err(place) => {
                // At the end of a full row ids arrive in order: it stays full.
                let mut next = row.split_off(if place == ROW_MAX { place } else { ROW_MAX / 2 });
                match place.checked_sub(row.ids.len()) {
                    Some(place) => next.insert(place, id, value),
                    None => row.insert(place, id, value),
                }
                let bound = next.ids[0];
                self.many().insert(bound, next);
            }
        }
        self.len += 1;
        None
    }

    /// The tree of rows, made out of the single row when there is none yet.
    fn many(&mut self) -> &mut BTreeMap<StreamId, Row<V>> {
        if let Rows::One(row) = &mut self.rows {
            let row = std::mem::replace(row, Row::new());
            self.rows = Rows::Many(BTreeMap::from([(StreamId::MIN, row)]));
        }
        match &mut self.rows {
            Rows::Many(rows) => rows,
            Rows::One(_) => unreachable!("it has just become many"),
        }
    }

    /// Takes an id out.
    pub fn remove(&mut self, id: StreamId) -> Option<V> {
        self.before_write(id);
        let row = self.row_mut(id);
        let place = row.place(id).ok()?;
        let value = row.remove(place);
        let left = row.ids.len();
        self.len -= 1;
        if left < ROW_MIN {
            self.join_around(id);
        }
        Some(value)
    }

    /// The row where `id` was is short: an empty one goes, another joins a neighbour that has room.
    fn join_around(&mut self, id: StreamId) {
        let Rows::Many(rows) = &mut self.rows else {
            return;
        };
        let (&bound, row) = rows
            .range(..=id)
            .next_back()
            .expect("the lowest bound is 0-0");
        let len = row.ids.len();
        let next = rows
            .range((Bound::Excluded(bound), Bound::Unbounded))
            .next()
            .map(|(next, row)| (*next, row.ids.len()));
        let previous = rows
            .range(..bound)
            .next_back()
            .map(|(previous, row)| (*previous, row.ids.len()));
        let fits = |other: usize| len == 0 || len + other <= JOINED_MAX;
        let (low, high) = match (previous, next) {
            (Some((previous, held)), _) if fits(held) => (previous, bound),
            (_, Some((next, held))) if fits(held) => (bound, next),
            _ => return,
        };
        let joined = rows.remove(&high).expect("both rows are there");
        rows.get_mut(&low)
            .expect("both rows are there")
            .join(joined);
        if rows.len() == 1
            && let Some((_, row)) = rows.pop_first()
        {
            self.rows = Rows::One(row);
        }
    }

    /// The lowest entry.
    pub fn first(&self) -> Option<(StreamId, &V)> {
        let row = match &self.rows {
            Rows::One(row) => row,
            Rows::Many(rows) => rows.first_key_value()?.1,
        };
        Some((*row.ids.first()?, row.values.first()?))
    }

    /// The highest entry.
    pub fn last(&self) -> Option<(StreamId, &V)> {
        let row = match &self.rows {
            Rows::One(row) => row,
            Rows::Many(rows) => rows.last_key_value()?.1,
        };
        Some((*row.ids.last()?, row.values.last()?))
    }

    /// The highest entry, its value to change.
    #[inline]
    pub fn last_mut(&mut self) -> Option<(StreamId, &mut V)> {
        if self.walk.is_some() {
            let last = self.last()?.0;
            self.before_write(last);
        }
        let row = match &mut self.rows {
            Rows::One(row) => row,
            Rows::Many(rows) => rows.last_entry()?.into_mut(),
        };
        Some((*row.ids.last()?, row.values.last_mut()?))
    }

    /// The highest entry that is not above `id`.
    pub fn floor(&self, id: StreamId) -> Option<(StreamId, &V)> {
        self.iter_back(id).next()
    }

    /// The lowest entry that is not below `id`.
    pub fn ceiling(&self, id: StreamId) -> Option<(StreamId, &V)> {
        self.iter_from(id).next()
    }

    /// The entries from `id` on, rising.
    pub fn iter_from(&self, id: StreamId) -> Iter<'_, V> {
        let row = self.row(id);
        let place = row.place(id).unwrap_or_else(|place| place);
        Iter {
            row,
            place,
            more: match &self.rows {
                Rows::One(_) => None,
                Rows::Many(rows) => Some(rows.range((Bound::Excluded(id), Bound::Unbounded))),
            },
        }
    }

    /// All entries, rising.
    pub fn iter(&self) -> Iter<'_, V> {
        self.iter_from(StreamId::MIN)
    }

    /// The entries from `id` downwards, falling.
    pub fn iter_back(&self, id: StreamId) -> IterBack<'_, V> {
        let row = self.row(id);
        let place = row.place(id).map_or_else(|place| place, |place| place + 1);
        IterBack {
            row,
            place,
            more: match &self.rows {
                Rows::One(_) => None,
                Rows::Many(rows) => {
                    let mut below = rows.range(..=id);
                    below.next_back(); // the row that holds `id` itself
                    Some(below)
                }
            },
        }
    }

    /// Takes out the highest entry.
    pub fn pop_last(&mut self) -> Option<(StreamId, V)> {
        let (id, _) = self.last()?;
        self.remove(id).map(|value| (id, value))
    }

    // The walk.

    /// Fixes a cut. A walk that was under way is given up.
    pub fn begin_walk(&mut self) {
        self.walk = Some(Box::new(Walk {
            next: Some(StreamId::MIN),
            kept: BTreeMap::new(),
            newer: BTreeSet::new(),
        }));
    }

    /// Whether a walk is under way: only what was there at its cut has one.
    pub fn is_walked(&self) -> bool {
        self.walk.is_some()
    }

    /// What a walk keeps because it was written to.
    pub fn kept(&self) -> impl Iterator<Item = &V> {
        self.walk.iter().flat_map(|walk| walk.kept.values())
    }

    /// Gives a walk up.
    pub fn end_walk(&mut self) {
        self.walk = None;
    }

    /// To be called before the entry at `id` is changed, made or taken away.
    #[inline]
    fn before_write(&mut self, id: StreamId) {
        if self.walk.is_some() {
            self.keep_for_walk(id);
        }
    }

    #[cold]
    fn keep_for_walk(&mut self, id: StreamId) {
        let value = self.get(id).cloned();
        let Some(walk) = &mut self.walk else { return };
        let is_ahead = walk.next.is_some_and(|next| id >= next);
        if !is_ahead || walk.newer.contains(&id) || walk.kept.contains_key(&id) {
            return;
        }
        match value {
            Some(value) => {
                walk.kept.insert(id, value);
            }
            None => {
                walk.newer.insert(id);
            }
        }
    }

    /// Gives some entries more of the walk, as many as `budget` has, and counts them off. True when all have been given;
    /// the walk is over then.
    pub fn walk_step(&mut self, budget: &mut usize, mut give: impl FnMut(StreamId, &V)) -> bool {
        let Some(mut walk) = self.walk.take() else {
            return true;
        };
        while let Some(next) = walk.next {
            if *budget == 0 {
                self.walk = Some(walk);
                return false;
            }
            *budget -= 1;
            let live = self.iter_from(next).next();
            let kept = walk.kept.first_key_value();
            walk.next = match (live, kept) {
                (live, Some((&id, value))) if live.is_none_or(|(live, _)| id <= live) => {
                    give(id, value);
                    walk.kept.pop_first();
                    id.next()
                }
                (Some((id, value)), _) => {
                    if !walk.newer.contains(&id) {
                        give(id, value);
                    }
                    id.next()
                }
                _ => None,
            };
        }
        true
    }

    /// Frees whole rows from the high end, as many as `budget` has, and counts them off; true when none is left.
    pub fn drain_rows(&mut self, budget: &mut usize) -> bool {
        while *budget > 0 {
            *budget -= 1;
            match &mut self.rows {
                Rows::One(row) => {
                    *row = Row::new();
                    self.len = 0;
                    return true;
                }
                Rows::Many(rows) => {
                    if let Some((_, row)) = rows.pop_last() {
                        self.len -= row.ids.len();
                    }
                    if rows.is_empty() {
                        self.rows = Rows::One(Row::new());
                        return true;
                    }
                }
            }
        }
        self.is_empty()
    }

    /// Bytes of heap that the map itself holds, what values point to excluded; full rows are assumed.
    pub fn allocated(&self) -> usize {
        match &self.rows {
            Rows::One(row) => row.allocated(),
            Rows::Many(rows) => {
                // A node of std's tree has eleven places, two thirds of them in use.
                let place = (size_of::<StreamId>() + size_of::<Row<V>>()) * 3 / 2;
                rows.len() * (ROW_MAX * (size_of::<StreamId>() + size_of::<V>()) + place)
            }
        }
    }

    /// Verifies what is said at the head of the file.
    ///
    /// # Panics
    /// If something is not so.
    pub fn check(&self) {
        let mut last = None;
        for (count, (id, _)) in self.iter().enumerate() {
            assert!(count < self.len && last.is_none_or(|last| last < id));
            last = Some(id);
        }
        match &self.rows {
            Rows::One(row) => assert!(row.ids.len() == self.len && self.len <= ROW_MAX),
            Rows::Many(rows) => {
                assert!(rows.len() > 1, "many rows are more than one");
                assert_eq!(
                    rows.first_key_value().map(|row| *row.0),
                    Some(StreamId::MIN)
                );
                let mut sum = 0;
                for (at, (bound, row)) in rows.iter().enumerate() {
                    assert!((1..=ROW_MAX).contains(&row.ids.len()));
                    assert_eq!(row.ids.len(), row.values.len());
                    assert!(*bound <= row.ids[0]);
                    let next = rows.keys().nth(at + 1);
                    assert!(next.is_none_or(|next| row.ids.last() < Some(next)));
                    sum += row.ids.len();
                }
                assert_eq!(sum, self.len);
            }
        }
    }
}

/// Entries in rising order.
#[derive(Clone)]
pub struct Iter<'a, V> {
    row: &'a Row<V>,
    place: usize,
    more: Option<btree_map::Range<'a, StreamId, Row<V>>>,
}

impl<'a, V> Iterator for Iter<'a, V> {
    type Item = (StreamId, &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while self.place == self.row.ids.len() {
            self.row = self.more.as_mut()?.next()?.1;
            self.place = 0;
        }
        let place = self.place;
        self.place += 1;
        Some((self.row.ids[place], &self.row.values[place]))
    }
}

/// Entries in falling order.
#[derive(Clone)]
pub struct IterBack<'a, V> {
    row: &'a Row<V>,
    /// Behind the next one.
    place: usize,
    more: Option<btree_map::Range<'a, StreamId, Row<V>>>,
}

impl<'a, V> Iterator for IterBack<'a, V> {
    type Item = (StreamId, &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while self.place == 0 {
            self.row = self.more.as_mut()?.next_back()?.1;
            self.place = self.row.ids.len();
        }
        self.place -= 1;
        Some((self.row.ids[self.place], &self.row.values[self.place]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_equals_a_plain_ordered_map_under_random_use() {
        let mut state = 11_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for round in 0..60 {
            let span = [20, 200, 2000][round % 3];
            let (mut map, mut model) = (IdMap::new(), BTreeMap::new());
            let mut rising = 0;
            for step in 0..1500_u64 {
                let id = StreamId::new(random(span), random(2));
                match random(if step < 700 { 6 } else { 12 }) {
                    0..3 => assert_eq!(map.insert(id, step), model.insert(id, step)),
                    3 => {
                        rising += 1;
                        let id = StreamId::new(span + rising, 0);
                        assert_eq!(map.insert(id, step), model.insert(id, step));
                    }
                    4 => {
                        let low = model.first_key_value().map(|(id, value)| (*id, *value));
                        assert_eq!(map.first().map(|(id, value)| (id, *value)), low);
                        if let Some((id, value)) = low {
                            assert_eq!(map.remove(id), Some(value));
                            model.remove(&id);
                        }
                    }
                    5 => assert_eq!(map.pop_last(), model.pop_last()),
                    _ => assert_eq!(map.remove(id), model.remove(&id)),
                }
                assert_eq!((map.len(), map.get(id)), (model.len(), model.get(&id)));
                let floor = model.range(..=id).next_back().map(|(id, v)| (*id, *v));
                assert_eq!(map.floor(id).map(|(id, v)| (id, *v)), floor);
                let ceiling = model.range(id..).next().map(|(id, v)| (*id, *v));
                assert_eq!(map.ceiling(id).map(|(id, v)| (id, *v)), ceiling);
                if step % 50 == 0 {
                    map.check();
                    assert!(
                        map.iter_from(id)
                            .eq(model.range(id..).map(|(id, v)| (*id, v)))
                    );
                    let back = model.range(..=id).rev().map(|(id, v)| (*id, v));
                    assert!(map.iter_back(id).eq(back));
                    assert_eq!(map.last(), model.last_key_value().map(|(id, v)| (*id, v)));
                }
            }
        }
    }

    #[test]
    fn a_walk_gives_the_map_as_it_was_at_the_cut() {
        let mut state = 23_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for _ in 0..400 {
            let mut map = IdMap::new();
            for step in 0..random(120) {
                map.insert(StreamId::new(random(150), 0), step);
            }
            let expected: Vec<(StreamId, u64)> = map.iter().map(|(id, v)| (id, *v)).collect();
            let mut seen = Vec::new();
            map.begin_walk();
            loop {
                for _ in 0..random(12) {
                    let id = StreamId::new(random(160), 0);
                    match random(5) {
                        0 | 1 => drop(map.insert(id, 1000 + random(9))),
                        2 => drop(map.remove(id)),
                        3 => map
                            .last_mut()
                            .into_iter()
                            .for_each(|(_, value)| *value += 1000),
                        _ => map.get_mut(id).into_iter().for_each(|value| *value += 1000),
                    }
                }
                let mut budget = 1 + random(9) as usize;
                if map.walk_step(&mut budget, |id, value| seen.push((id, *value))) {
                    break;
                }
            }
            assert_eq!(seen, expected);
            assert!(!map.is_walked());
            map.check();
        }
    }

    #[test]
    fn ids_in_rising_order_fill_their_rows() {
        let mut map = IdMap::new();
        for n in 0..ROW_MAX as u64 * 10 {
            map.insert(StreamId::new(n, 0), ());
        }
        assert_eq!(map.rows(), 10);
    }
}
