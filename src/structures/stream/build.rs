//! Taking a stream in from a snapshot or a DUMP payload. Everything is checked; nothing is allocated that the input
//! has not paid for.

use super::group::ConsumerPlace;
use super::{Consumer, Group, Node, Stream, StreamError, StreamId};

/// A stream that is being read in: its nodes first, then its numbers, then its groups.
#[derive(Default)]
pub struct StreamBuilder {
    stream: Stream,
}

/// The group that is being read in: its pending entries first, then each consumer with those that it owns.
pub struct GroupBuilder<'a> {
    group: &'a mut Group,
}

impl StreamBuilder {
    /// Nothing yet.
    pub fn new() -> StreamBuilder {
        StreamBuilder::default()
    }

    /// Adds a node: the id it is saved under and its listpack. Nodes may come in any order.
    pub fn node(&mut self, id: StreamId, listpack: &[u8]) -> Result<(), StreamError> {
        let node = Node::from_bytes(listpack)?;
        self.stream.length += node.live();
        match self.stream.nodes.insert(id, node) {
            None => Ok(()),
            Some(_) => Err(StreamError::DuplicateNode),
        }
    }

    /// The length and the last id, which all formats have; the rest is set to what formats without it imply.
    pub fn numbers(&mut self, length: u64, last_id: StreamId) -> Result<(), StreamError> {
        if length != self.stream.length {
            return Err(StreamError::Length);
        }
        self.stream.last_id = last_id;
        self.stream.entries_added = length;
        self.stream.settle_first_id();
        Ok(())
    }

    /// What formats from Redis 7 on have in addition. The first id they hold is not needed: it is in the nodes.
    pub fn history(&mut self, max_deleted_id: StreamId, entries_added: u64) {
        self.stream.max_deleted_id = max_deleted_id;
        self.stream.entries_added = entries_added;
    }

    /// Begins a group. Without `entries_read` (formats before Redis 7) it is estimated.
    pub fn group(
        &mut self,
        name: &[u8],
        last_id: StreamId,
        entries_read: Option<i64>,
    ) -> Result<GroupBuilder<'_>, StreamError> {
        let entries_read = entries_read.unwrap_or_else(|| {
            let reads = self.stream.reads_up_to(last_id);
            reads.map_or(super::READ_UNKNOWN, |reads| reads as i64)
        });
        let group = Box::new(Group::new(name, last_id, entries_read));
        self.stream
            .put_group(group)
            .map_err(|_| StreamError::DuplicateGroup)?;
        let group = self.stream.group_mut(name).expect("it was just put there");
        Ok(GroupBuilder { group })
    }

    /// A group that was begun, to go on with.
    ///
    /// # Panics
    /// If it was not.
    pub fn group_at_hand(&mut self, name: &[u8]) -> GroupBuilder<'_> {
        let group = self.stream.group_mut(name);
        GroupBuilder {
            group: group.expect("the group was begun"),
        }
    }

    /// The stream. Whatever is pending must have an owner.
    pub fn finish(self) -> Result<Stream, StreamError> {
        let owned = |group: &Group| {
            let owned: usize = group.consumers().map(Consumer::pending_len).sum();
            owned == group.pending_len()
        };
        if self.stream.groups().all(owned) {
            Ok(self.stream)
        } else {
            Err(StreamError::Unowned)
        }
    }
}

impl GroupBuilder<'_> {
    /// Adds a pending entry, delivered last at `delivery_time` in Unix milliseconds.
    pub fn pending(
        &mut self,
        id: StreamId,
        delivery_time: i64,
        deliveries: u64,
    ) -> Result<(), StreamError> {
        self.group.add_unowned(id, delivery_time, deliveries)
    }

    /// Adds a consumer; times are in Unix milliseconds, `active_time` -1 for never.
    pub fn consumer(
        &mut self,
        name: &[u8],
        seen_time: i64,
        active_time: i64,
    ) -> Result<ConsumerPlace, StreamError> {
        let place = self
            .group
            .create_consumer(name, seen_time)
            .map_err(|_| StreamError::DuplicateConsumer)?;
        self.group.consumer_mut(place).active_time = active_time;
        Ok(place)
    }

    /// The consumer owns this pending entry.
    pub fn own(&mut self, consumer: ConsumerPlace, id: StreamId) -> Result<(), StreamError> {
        self.group.own(consumer, id)
    }
}
