//! A consumer group: how far it has read, who its consumers are, and what they have not acknowledged yet.
//!
//! A pending entry stands in the group's map, with when and how often it was delivered and the place of its owner, and
//! by its id alone in the owner's map. Owners are places in a row of consumers that stay as long as the consumer does,
//! so nothing is shared and nothing dangles: a consumer leaves together with its pending entries.

use std::collections::VecDeque;

use super::id_map::{IdMap, Iter};
use super::walk::ConsumerCut;
use super::{StreamError, StreamId};

/// `entries_read` when nobody can say (-1 on every wire).
pub const READ_UNKNOWN: i64 = -1;

/// An owner that a pending entry has while a snapshot is read in and has not named it yet.
const NOBODY: u32 = u32::MAX;

/// A consumer's place in its group; it stays until the consumer is deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsumerPlace(u32);

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pending {
    /// Of the last delivery, in Unix milliseconds.
    pub delivery_time: i64,
    /// How often it was delivered.
    pub deliveries: u64,
    owner: u32,
}

impl Pending {
    /// Whose it is.
    #[inline]
    pub fn owner(&self) -> ConsumerPlace {
        ConsumerPlace(self.owner)
    }
}

/// A consumer of a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Box<[u8]>,
    /// Of its last attempt, in Unix milliseconds.
    pub seen_time: i64,
    /// Of its last success (it was given entries or claimed some), in Unix milliseconds; -1 for never.
    pub active_time: i64,
    pending: IdMap<()>,
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// How many entries it has not acknowledged.
    #[inline]
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The ids of those entries from `start` on, rising.
    pub fn pending_from(&self, start: StreamId) -> impl Iterator<Item = StreamId> + '_ {
        self.pending.iter_from(start).map(|(id, ())| id)
    }
}

/// A consumer group; see the head of the file.
#[derive(Debug)]
pub struct Group {
    name: Box<[u8]>,
    /// The last entry delivered to any consumer.
    pub last_id: StreamId,
    /// How many entries the group has read in the stream's history, [`READ_UNKNOWN`] when nobody can say.
    pub entries_read: i64,
    pending: IdMap<Pending>,
    /// Consumers at their places; a free place is empty.
    places: Vec<Option<Consumer>>,
    free: Vec<u32>,
    /// Places in the order of names.
    order: Vec<u32>,
    /// It was there at the cut of the walk that is under way.
    walked: bool,
    /// Consumers that were deleted before that walk came to them.
    gone: Vec<Consumer>,
}

impl Clone for Group {
    /// The group; a walk stays with the original.
    fn clone(&self) -> Self {
        Group {
            name: self.name.clone(),
            last_id: self.last_id,
            entries_read: self.entries_read,
            pending: self.pending.clone(),
            places: self.places.clone(),
            free: self.free.clone(),
            order: self.order.clone(),
            walked: false,
            gone: Vec::new(),
        }
    }
}

impl Group {
    /// A group that has read up to `last_id`.
    pub fn new(name: &[u8], last_id: StreamId, entries_read: i64) -> Group {
        Group {
            name: name.into(),
            last_id,
            entries_read,
            pending: IdMap::new(),
            places: Vec::new(),
            free: Vec::new(),
            order: Vec::new(),
            walked: false,
            gone: Vec::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    // Consumers.

    /// How many consumers there are.
    pub fn consumers_len(&self) -> usize {
        self.order.len()
    }

    /// The consumers in the order of their names.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = &Consumer> {
        self.order
            .iter()
            .map(|place| self.consumer(ConsumerPlace(*place)))
    }

    /// The consumer of this number, in the order of names.
    pub fn consumer_at(&self, number: usize) -> Option<&Consumer> {
        let place = self.order.get(number)?;
        Some(self.consumer(ConsumerPlace(*place)))
    }

    /// The consumer at a place.
    ///
    /// # Panics
    /// If it was deleted.
    #[inline]
    pub fn consumer(&self, place: ConsumerPlace) -> &Consumer {
        self.places[place.0 as usize]
            .as_ref()
            .expect("places in use are filled")
    }

    /// The consumer at a place, to change.
    ///
    /// # Panics
    /// If it was deleted.
    #[inline]
    pub fn consumer_mut(&mut self, place: ConsumerPlace) -> &mut Consumer {
        self.places[place.0 as usize]
            .as_mut()
            .expect("places in use are filled")
    }

    fn search(&self, name: &[u8]) -> Result<usize, usize> {
        self.order
            .binary_search_by(|place| self.consumer(ConsumerPlace(*place)).name().cmp(name))
    }

    /// The place of the consumer with this name.
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerPlace> {
        let at = self.search(name).ok()?;
        Some(ConsumerPlace(self.order[at]))
    }

    /// Adds a consumer that was seen at `now`; `Err` gives the one that has the name already.
    pub fn create_consumer(
        &mut self,
        name: &[u8],
        now: i64,
    ) -> Result<ConsumerPlace, ConsumerPlace> {
        let at = match self.search(name) {
            Ok(at) => return Err(ConsumerPlace(self.order[at])),
            Err(at) => at,
        };
        let consumer = Some(Consumer {
            name: name.into(),
            seen_time: now,
            active_time: -1,
            pending: IdMap::new(),
        });
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = consumer;
                place
            }
            None => {
                self.places.push(consumer);
                let place = self.places.len() - 1;
                u32::try_from(place).expect("memory ends before four billion consumers")
            }
        };
        self.order.insert(at, place);
        Ok(ConsumerPlace(place))
    }

    /// Deletes a consumer with its pending entries; how many those were comes back.
    pub fn delete_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let at = self.search(name).ok()?;
        let place = self.order.remove(at);
        self.free.push(place);
        let consumer = self.places[place as usize]
            .take()
            .expect("places in use are filled");
        for (id, ()) in consumer.pending.iter() {
            self.pending.remove(id);
        }
        let owned = consumer.pending.len();
        if consumer.pending.is_walked() {
            self.gone.push(consumer);
        }
        Some(owned)
    }

    // Pending entries.

    /// How many entries are pending.
    #[inline]
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// A pending entry.
    #[inline]
    pub fn pending(&self, id: StreamId) -> Option<&Pending> {
        self.pending.get(id)
    }

    /// Pending entries from `start` on, rising.
    pub fn pending_from(&self, start: StreamId) -> Iter<'_, Pending> {
        self.pending.iter_from(start)
    }

    /// The highest pending id.
    pub fn last_pending(&self) -> Option<StreamId> {
        self.pending.last().map(|(id, _)| id)
    }

    /// Makes an entry pending for a consumer, or passes it on to that consumer, with this time and count.
    pub fn assign(&mut self, id: StreamId, to: ConsumerPlace, delivery_time: i64, deliveries: u64) {
        let pending = Pending {
            delivery_time,
            deliveries,
            owner: to.0,
        };
        let old = self.pending.insert(id, pending);
        match old.map(|old| old.owner) {
            Some(owner) if owner == to.0 => return,
            Some(NOBODY) | None => {}
            Some(owner) => {
                self.consumer_mut(ConsumerPlace(owner)).pending.remove(id);
            }
        }
        self.consumer_mut(to).pending.insert(id, ());
    }

    /// Notes that a pending entry was delivered to its owner once more.
    pub fn deliver_again(&mut self, id: StreamId, now: i64) {
        if let Some(pending) = self.pending.get_mut(id) {
            pending.delivery_time = now;
            pending.deliveries = pending.deliveries.wrapping_add(1);
        }
    }

    /// The entry is pending no more; false when it was not.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(id) else {
            return false;
        };
        if pending.owner != NOBODY {
            let owner = self.consumer_mut(ConsumerPlace(pending.owner));
            owner.pending.remove(id);
        }
        true
    }

    // Taking in snapshots.

    /// Adds a pending entry whose owner is named later.
    pub(super) fn add_unowned(
        &mut self,
        id: StreamId,
        delivery_time: i64,
        deliveries: u64,
    ) -> Result<(), StreamError> {
        let pending = Pending {
            delivery_time,
            deliveries,
            owner: NOBODY,
        };
        match self.pending.insert(id, pending) {
            None => Ok(()),
            Some(_) => Err(StreamError::DuplicatePending),
        }
    }

    /// Names the owner of a pending entry.
    pub(super) fn own(&mut self, place: ConsumerPlace, id: StreamId) -> Result<(), StreamError> {
        let pending = self
            .pending
            .get_mut(id)
            .ok_or(StreamError::UnknownPending)?;
        if pending.owner != NOBODY {
            return Err(StreamError::OwnedTwice);
        }
        pending.owner = place.0;
        self.consumer_mut(place).pending.insert(id, ());
        Ok(())
    }

    // The walk (walk.rs).

    /// Begins the walks of what is pending; the consumers as they are.
    pub(super) fn begin_walk(&mut self) -> VecDeque<ConsumerCut> {
        self.walked = true;
        self.pending.begin_walk();
        for consumer in self.places.iter_mut().flatten() {
            if consumer.pending_len() > 0 {
                consumer.pending.begin_walk();
            }
        }
        self.consumers().map(ConsumerCut::from).collect()
    }

    /// Whether it was there at the cut of the walk that is under way.
    pub(super) fn is_walked(&self) -> bool {
        self.walked
    }

    pub(super) fn end_walk(&mut self) {
        self.walked = false;
        self.gone = Vec::new();
        self.pending.end_walk();
        for consumer in self.places.iter_mut().flatten() {
            consumer.pending.end_walk();
        }
    }

    /// Goes on with what is pending. True when that is over.
    pub(super) fn walk_pending(
        &mut self,
        budget: &mut usize,
        give: impl FnMut(StreamId, &Pending),
    ) -> bool {
        self.pending.walk_step(budget, give)
    }

    /// Goes on with what the consumer owns that had this name at the cut. True when that is over.
    pub(super) fn walk_owned(
        &mut self,
        name: &[u8],
        budget: &mut usize,
        mut give: impl FnMut(StreamId),
    ) -> bool {
        let gone = self.gone.iter_mut().find(|gone| *gone.name == *name);
        let consumer = match gone {
            Some(gone) => gone,
            None => {
                let place = self
                    .find_consumer(name)
                    .expect("a consumer that is to be walked is there or put aside");
                self.consumer_mut(place)
            }
        };
        consumer.pending.walk_step(budget, |id, ()| give(id))
    }

    // Memory.

    /// What freeing the group costs, in rows and consumers.
    pub(super) fn weight(&self) -> usize {
        1 + self.pending.rows() + self.order.len()
    }

    /// Frees up to `budget` rows and consumers; true when hardly anything is left.
    pub(super) fn drain_some(&mut self, budget: &mut usize) -> bool {
        if !self.pending.drain_rows(budget) {
            return false;
        }
        while let Some(last) = self.places.last_mut() {
            if *budget == 0 {
                return false;
            }
            if let Some(consumer) = last
                && !consumer.pending.drain_rows(budget)
            {
                return false;
            }
            *budget = budget.saturating_sub(1);
            self.places.pop();
        }
        true
    }

    /// Bytes on the heap, those of the group itself included.
    pub(super) fn allocated(&self) -> usize {
        let consumers: usize = self
            .places
            .iter()
            .flatten()
            .map(|consumer| consumer.name.len() + consumer.pending.allocated())
            .sum();
        size_of::<Self>()
            + self.name.len()
            + self.pending.allocated()
            + self.places.capacity() * size_of::<Option<Consumer>>()
            + (self.free.capacity() + self.order.capacity()) * size_of::<u32>()
            + consumers
    }

    /// Verifies that both maps of pending entries say the same and consumers are where they should be.
    ///
    /// # Panics
    /// If something is not so.
    pub fn check(&self) {
        self.pending.check();
        let mut owned = 0;
        for place in &self.order {
            let consumer = self.consumer(ConsumerPlace(*place));
            consumer.pending.check();
            for (id, ()) in consumer.pending.iter() {
                let pending = self
                    .pending
                    .get(id)
                    .expect("what a consumer owns is pending");
                assert_eq!(pending.owner, *place);
            }
            owned += consumer.pending.len();
        }
        assert_eq!(owned, self.pending.len(), "what is pending has an owner");
        assert_eq!(self.order.len() + self.free.len(), self.places.len());
        let names: Vec<&[u8]> = self.consumers().map(Consumer::name).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
