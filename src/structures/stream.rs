//! The stream: entries in the order of their ids, and the groups that read it.
//!
//! ```text
//!   nodes: id of the first entry -> listpack of some hundred entries        (node.rs, id_map.rs)
//!   groups, by name: last id, pending entries, consumers                    (group.rs)
//! ```
//!
//! Entries are appended at the high end and go from anywhere: a deletion marks the entry's place, and a node goes when
//! nothing in it is left. The nodes are byte for byte those of a snapshot, and what happens to them (when a new one is
//! begun, which a trim takes) is as in Redis, because DUMP, XINFO and approximate trims show it. Rejected: keeping
//! entries in a layout of our own and converting, which would cost a pass over the data for each snapshot.
//!
//! `build.rs` takes a stream in from outside, `trim.rs` shortens it, `walk.rs` gives it as it was while writes go on.

mod build;
mod group;
mod id;
pub mod id_map;
mod node;
#[cfg(test)]
mod tests;
mod trim;
mod walk;

use std::fmt;

pub use build::{GroupBuilder, StreamBuilder};
pub use group::{Consumer, ConsumerPlace, Group, Pending, READ_UNKNOWN};
pub use id::{IdText, StreamId};
pub use node::{Node, NodeLimits, Pairs, StreamEntry};
pub use trim::TrimTo;
pub use walk::{ConsumerCut, GroupCut, Numbers, Walked};

use super::listpack::{self, ListpackError};
use id_map::{IdMap, Iter, IterBack};
use node::{Entries, EntriesBack};

/// Why bytes or numbers make no stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamError {
    /// A node is no listpack.
    Listpack(ListpackError),
    /// A node's items are not those of a master entry and its entries.
    Frame,
    /// A node's counts are not those of its entries.
    Counts,
    /// Two nodes have the same id.
    DuplicateNode,
    /// The length is not the number of entries in the nodes.
    Length,
    /// Two groups have the same name.
    DuplicateGroup,
    /// Two consumers of a group have the same name.
    DuplicateConsumer,
    /// A group lists an entry twice.
    DuplicatePending,
    /// A consumer owns what its group does not list.
    UnknownPending,
    /// Two consumers own the same entry.
    OwnedTwice,
    /// A group lists an entry that no consumer owns.
    Unowned,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listpack(error) => return write!(f, "a stream's node: {error}"),
            Self::Frame => "a stream's node that does not hold entries",
            Self::Counts => "a stream's node that counts other entries than it holds",
            Self::DuplicateNode => "two nodes of a stream with the same id",
            Self::Length => "a stream of another length than its nodes",
            Self::DuplicateGroup => "two groups of a stream with the same name",
            Self::DuplicateConsumer => "two consumers of a group with the same name",
            Self::DuplicatePending => "an entry that is pending twice",
            Self::UnknownPending => "a consumer that owns an entry which is not pending",
            Self::OwnedTwice => "a pending entry with two owners",
            Self::Unowned => "a pending entry without an owner",
        })
    }
}

impl std::error::Error for StreamError {}

/// A stream; see the head of the file.
#[derive(Default)]
pub struct Stream {
    nodes: IdMap<Node>,
    length: u64,
    /// The last id given to an entry, or set by XSETID.
    pub last_id: StreamId,
    first_id: StreamId,
    /// The highest id deleted one by one: trims do not count.
    pub max_deleted_id: StreamId,
    /// Entries added in the stream's history.
    pub entries_added: u64,
    /// In the order of names.
    groups: Vec<Box<Group>>,
    walk: Option<Box<walk::Walk>>,
}

impl Clone for Stream {
    /// The stream; a walk stays with the original.
    fn clone(&self) -> Self {
        Stream {
            nodes: self.nodes.clone(),
            length: self.length,
            last_id: self.last_id,
            first_id: self.first_id,
            max_deleted_id: self.max_deleted_id,
            entries_added: self.entries_added,
            groups: self.groups.clone(),
            walk: None,
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries up to {}", self.length, self.last_id)
    }
}

impl Stream {
    /// An empty stream.
    pub fn new() -> Stream {
        Stream::default()
    }

    /// How many entries there are.
    #[inline]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The id of the first entry; `0-0` when there is none.
    #[inline]
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// How many nodes there are.
    pub fn nodes_len(&self) -> usize {
        self.nodes.len()
    }

    /// How many rows hold the nodes: the inner size of the index.
    pub fn node_rows(&self) -> usize {
        self.nodes.rows()
    }

    /// The nodes in order, with their ids.
    pub fn nodes(&self) -> Iter<'_, Node> {
        self.nodes.iter()
    }

    /// Whether an entry whose names and values take `bytes` together can be stored at all.
    pub fn can_store(bytes: usize) -> bool {
        bytes <= listpack::BYTES_MAX
    }

    /// Appends an entry. Names and values alternate in `fields`.
    ///
    /// # Panics
    /// If `id` is not above the last one: the caller has refused that.
    pub fn append<'f>(
        &mut self,
        id: StreamId,
        fields: impl ExactSizeIterator<Item = &'f [u8]> + Clone,
        limits: NodeLimits,
    ) {
        assert!(id > self.last_id, "ids rise");
        let bytes = fields.clone().map(<[u8]>::len).sum();
        match self.nodes.last_mut() {
            Some((own, node)) if node.has_room(bytes, limits) => node.push(own, id, fields),
            _ => {
                self.nodes.insert(id, Node::new(fields));
            }
        }
        self.length += 1;
        self.entries_added = self.entries_added.wrapping_add(1);
        self.last_id = id;
        if self.length == 1 {
            self.first_id = id;
        }
    }

    /// The entries from `start` to `end`, both included, rising.
    #[inline]
    pub fn range(&self, start: StreamId, end: StreamId) -> Range<'_> {
        let from = self.nodes.floor(start).map_or(StreamId::MIN, |node| node.0);
        Range {
            nodes: self.nodes.iter_from(from),
            entries: None,
            start,
            end,
            done: start > end,
        }
    }

    /// The entries from `end` down to `start`, both included, falling.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> RangeBack<'_> {
        RangeBack {
            nodes: self.nodes.iter_back(end),
            entries: None,
            start,
            end,
            done: start > end,
        }
    }

    /// An entry.
    pub fn get(&self, id: StreamId) -> Option<StreamEntry<'_>> {
        self.range(id, id).next()
    }

    /// The last entry's id, which is below [`Stream::last_id`] after a deletion.
    #[inline]
    pub fn last_entry_id(&self) -> Option<StreamId> {
        let last = self.range_back(StreamId::MIN, StreamId::MAX).next()?;
        Some(last.id)
    }

    /// The id at the first place of an entry, be it there or deleted.
    pub fn first_place(&self) -> Option<StreamId> {
        let (own, node) = self.nodes.first()?;
        node.entries(own).next().map(|entry| entry.id)
    }

    /// Deletes entries and returns how many were there (XDEL).
    pub fn delete(&mut self, ids: impl Iterator<Item = StreamId>) -> u64 {
        let (mut deleted, mut first_went) = (0, false);
        for id in ids {
            if !self.delete_one(id) {
                continue;
            }
            first_went |= id == self.first_id;
            self.max_deleted_id = self.max_deleted_id.max(id);
            deleted += 1;
        }
        if first_went || self.length == 0 {
            self.settle_first_id();
        }
        deleted
    }

    fn delete_one(&mut self, id: StreamId) -> bool {
        // Usually the node below; another one only after XSETID has set the order back.
        let Some((own, place)) = self.range(id, id).next_placed() else {
            return false;
        };
        let node = self.nodes.get_mut(own).expect("it was found there");
        if node.live() == 1 {
            self.nodes.remove(own);
        } else {
            node.delete(place);
        }
        self.length -= 1;
        true
    }

    /// Looks up the first entry after some have gone.
    fn settle_first_id(&mut self) {
        let first = self.range(StreamId::MIN, StreamId::MAX).next();
        self.first_id = first.map_or(StreamId::MIN, |entry| entry.id);
    }

    // Counting reads.

    /// Whether an entry from `start` on was deleted one by one, so that numbers of entries do not follow from ids.
    pub fn has_gaps_from(&self, start: StreamId) -> bool {
        self.length > 0
            && self.max_deleted_id != StreamId::MIN
            && self.first_id <= self.max_deleted_id
            && start <= self.max_deleted_id
    }

    /// How many entries the stream had ever been given when `id` was its last one, if that can be told.
    pub fn reads_up_to(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.length == 0 && id <= self.last_id || id == self.last_id {
            return Some(self.entries_added);
        }
        let whole = self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id;
        if id > self.last_id || !whole {
            return None;
        }
        let before = self.entries_added.wrapping_sub(self.length);
        match id.cmp(&self.first_id) {
            std::cmp::Ordering::Less => Some(before),
            std::cmp::Ordering::Equal => Some(before.wrapping_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// How many entries a group has yet to read, if that can be told.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        let read = if group.entries_read != READ_UNKNOWN && !self.has_gaps_from(group.last_id) {
            group.entries_read
        } else {
            self.reads_up_to(group.last_id)? as i64
        };
        Some((self.entries_added as i64).wrapping_sub(read))
    }

    /// What `entries_read` of a group becomes by reading `id`, given what it was.
    pub fn entries_read_after(&self, entries_read: i64, id: StreamId) -> i64 {
        if entries_read != READ_UNKNOWN && !self.has_gaps_from(id) {
            entries_read.wrapping_add(1)
        } else if self.entries_added > 0 {
            self.reads_up_to(id)
                .map_or(READ_UNKNOWN, |read| read as i64)
        } else {
            entries_read
        }
    }

    // Groups.

    /// The groups in the order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &Group> {
        self.groups.iter().map(|group| &**group)
    }

    /// The group of this number, in the order of names.
    pub fn group_at(&self, number: usize) -> Option<&Group> {
        self.groups.get(number).map(|group| &**group)
    }

    fn search(&self, name: &[u8]) -> Result<usize, usize> {
        self.groups.binary_search_by(|group| group.name().cmp(name))
    }

    /// A group.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        let at = self.search(name).ok()?;
        Some(&self.groups[at])
    }

    /// A group, to change.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        let at = self.search(name).ok()?;
        Some(&mut self.groups[at])
    }

    /// Lets `work` change a group beside the entries that it reads.
    pub fn with_group<R>(
        &mut self,
        name: &[u8],
        work: impl FnOnce(&Stream, &mut Group) -> R,
    ) -> Option<R> {
        let at = self.search(name).ok()?;
        // Out of the row while it is lent: the row is short, and a box is a word.
        let mut group = self.groups.remove(at);
        let result = work(self, &mut group);
        self.groups.insert(at, group);
        Some(result)
    }

    /// Adds a group; `Err` gives it back when the name is taken.
    pub fn put_group(&mut self, group: Box<Group>) -> Result<(), Box<Group>> {
        match self.search(group.name()) {
            Ok(_) => Err(group),
            Err(at) => {
                self.groups.insert(at, group);
                Ok(())
            }
        }
    }

    /// Takes a group out for good, as the only content of a stream of its own: something to be freed in steps.
    pub fn take_group(&mut self, name: &[u8]) -> Option<Stream> {
        let at = self.search(name).ok()?;
        let group = self.groups.remove(at);
        let mut taken = Stream::default();
        match &mut self.walk {
            // The walk needs it for a while; `end_walk` gives it back.
            Some(walk) if group.is_walked() => walk.gone.push(group),
            _ => taken.groups.push(group),
        }
        Some(taken)
    }

    // Memory.

    /// What freeing the stream costs: nodes, rows of pending entries, consumers.
    pub fn weight(&self) -> usize {
        self.nodes.len()
            + self
                .groups
                .iter()
                .map(|group| group.weight())
                .sum::<usize>()
    }

    /// Frees some `budget` nodes, rows of pending entries and consumers; true when nothing is left.
    pub fn drain_some(&mut self, budget: usize) -> bool {
        let mut left = budget;
        while left > 0 && !self.nodes.is_empty() {
            self.nodes.pop_last();
            left -= 1;
        }
        while let Some(group) = self.groups.last_mut() {
            if left == 0 || !group.drain_some(&mut left) {
                return false;
            }
            self.groups.pop();
        }
        self.nodes.is_empty()
    }

    /// Bytes on the heap; those of the nodes scaled up from the first `samples` of them (0: all).
    pub fn allocated(&self, samples: usize) -> usize {
        let limit = if samples == 0 { usize::MAX } else { samples };
        let (mut bytes, mut seen) = (0_usize, 0_usize);
        for (_, node) in self.nodes.iter().take(limit) {
            bytes += node.allocated();
            seen += 1;
        }
        let of_nodes = (bytes as u128 * self.nodes.len() as u128)
            .checked_div(seen as u128)
            .unwrap_or(0) as usize;
        let of_groups: usize = self.groups.iter().map(|group| group.allocated()).sum();
        size_of::<Self>()
            + of_nodes
            + self.nodes.allocated()
            + self.groups.capacity() * size_of::<Box<Group>>()
            + of_groups
    }

    /// Verifies what can be counted.
    ///
    /// # Panics
    /// If something is not so.
    pub fn check(&self) {
        self.nodes.check();
        let mut live = 0;
        for (own, node) in self.nodes.iter() {
            if let Err(error) = Node::from_bytes(node.bytes()) {
                panic!("node {own}: {error}");
            }
            live += node.live();
            let forth: Vec<StreamId> = node.entries(own).map(|entry| entry.id).collect();
            let mut back: Vec<StreamId> = node.entries_back(own).map(|entry| entry.id).collect();
            back.reverse();
            assert_eq!(forth, back, "both ways meet the same entries");
        }
        assert_eq!(live, self.length);
        let names: Vec<&[u8]> = self.groups().map(Group::name).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
        self.groups().for_each(Group::check);
    }
}

/// Entries in rising order.
#[derive(Clone)]
pub struct Range<'a> {
    nodes: Iter<'a, Node>,
    entries: Option<(StreamId, Entries<'a>)>,
    start: StreamId,
    end: StreamId,
    done: bool,
}

impl<'a> Range<'a> {
    /// The next entry: its node and its place in there.
    fn next_placed(&mut self) -> Option<(StreamId, listpack::Pos)> {
        let entry = self.next()?;
        let own = self.entries.as_ref()?.0;
        Some((own, entry.place()))
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = StreamEntry<'a>;

    #[inline]
    fn next(&mut self) -> Option<StreamEntry<'a>> {
        while !self.done {
            if let Some((_, entries)) = &mut self.entries {
                for entry in entries.by_ref() {
                    if entry.id < self.start || entry.is_deleted() {
                        continue;
                    }
                    if entry.id > self.end {
                        self.done = true;
                        return None;
                    }
                    return Some(entry);
                }
            }
            match self.nodes.next() {
                Some((own, node)) if own <= self.end => {
                    self.entries = Some((own, node.entries(own)));
                }
                _ => self.done = true,
            }
        }
        None
    }
}

/// Entries in falling order.
#[derive(Clone)]
pub struct RangeBack<'a> {
    nodes: IterBack<'a, Node>,
    entries: Option<EntriesBack<'a>>,
    start: StreamId,
    end: StreamId,
    done: bool,
}

impl<'a> Iterator for RangeBack<'a> {
    type Item = StreamEntry<'a>;

    #[inline]
    fn next(&mut self) -> Option<StreamEntry<'a>> {
        while !self.done {
            if let Some(entries) = &mut self.entries {
                for entry in entries.by_ref() {
                    if entry.id > self.end || entry.is_deleted() {
                        continue;
                    }
                    if entry.id < self.start {
                        self.done = true;
                        return None;
                    }
                    return Some(entry);
                }
            }
            match self.nodes.next() {
                Some((own, node)) => self.entries = Some(node.entries_back(own)),
                None => self.done = true,
            }
        }
        None
    }
}
