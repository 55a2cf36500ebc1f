//! Streams in snapshots: nodes, numbers, then each group with what is pending and who owns it.
//!
//! ```text
//!   nodes  ( key(16 bytes) listpack )*
//!   length last_id [ first_id max_deleted_id entries_added ]                          from Redis 7.0 on
//!   groups ( name last_id [ entries_read ]                                            from Redis 7.0 on
//!            pending ( id(16) delivery_time(i64 LE) deliveries )*
//!            consumers ( name seen_time(i64 LE) [ active_time(i64 LE) ]               from Redis 7.2 on
//!                        owned ( id(16) )* )* )*
//! ```
//!
//! Ids among the numbers are two lengths each. Written is the form of 7.0, which has no active times: they come back as
//! the seen times.

use super::code::value_type;
use super::input::Input;
use super::problem::{Halt, What};
use super::write::Writer;
use crate::structures::listpack::TextBuffer;
use crate::structures::stream::{ConsumerPlace, Numbers, Stream, StreamBuilder, StreamId, Walked};

/// A stream of which a part is there.
pub(super) struct Reading {
    builder: StreamBuilder,
    kind: u8,
    phase: Phase,
    /// Groups that have yet to come, the one at hand not counted.
    groups: u64,
    /// The group at hand.
    group: Vec<u8>,
    /// Its consumers that have yet to come.
    consumers: u64,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Phase {
    Nodes(u64),
    Numbers,
    Group,
    Pending(u64),
    Consumer,
    Owned(ConsumerPlace, u64),
}

/// How far a stream's groups have been written.
#[derive(Default)]
pub(super) struct GroupsAt {
    group: usize,
    part: GroupPart,
}

/// What of a group comes next.
#[derive(Clone, Copy, Default)]
enum GroupPart {
    /// Its name and numbers.
    #[default]
    Head,
    /// What is pending from this id on.
    Pending(StreamId),
    /// The consumer of this number.
    Consumer(usize),
    /// What that consumer owns, from this id on.
    Owned(usize, StreamId),
}

/// Elements of groups after which a buffer may be spilled.
const SPILLED: usize = 1024;

impl Reading {
    pub fn begin(kind: u8, input: &mut Input<'_>) -> Result<Reading, Halt> {
        Ok(Reading {
            builder: StreamBuilder::new(),
            kind,
            phase: Phase::Nodes(input.length()?),
            groups: 0,
            group: Vec::new(),
            consumers: 0,
        })
    }

    /// Takes one element; true when the stream is complete. Nothing is changed when bytes are missing.
    pub fn step(&mut self, input: &mut Input<'_>) -> Result<bool, Halt> {
        let at = input.at;
        let has_history = self.kind != value_type::STREAM;
        self.phase = match self.phase {
            Phase::Nodes(0) => Phase::Numbers,
            Phase::Nodes(left) => {
                let key = input.string()?;
                let blob = input.blob()?;
                let key = <[u8; 16]>::try_from(key.bytes(&mut TextBuffer::new()))
                    .map_err(|_| input.bad_at(at, What::StreamKey))?;
                self.builder
                    .node(StreamId::from_bytes(key), &blob)
                    .map_err(|error| input.bad_at(at, What::Stream(error)))?;
                Phase::Nodes(left - 1)
            }
            Phase::Numbers => {
                let length = input.length()?;
                let last_id = id(input)?;
                let history = if has_history {
                    let _first_id = id(input)?;
                    Some((id(input)?, input.length()?))
                } else {
                    None
                };
                let groups = input.length()?;
                self.builder
                    .numbers(length, last_id)
                    .map_err(|error| input.bad_at(at, What::Stream(error)))?;
                if let Some((max_deleted_id, entries_added)) = history {
                    self.builder.history(max_deleted_id, entries_added);
                }
                self.groups = groups;
                Phase::Group
            }
            Phase::Group if self.groups == 0 => return Ok(true),
            Phase::Group => {
                let name = input.string()?.into_vec();
                let last_id = id(input)?;
                let read = has_history
                    .then(|| input.length())
                    .transpose()?
                    .map(|read| read as i64);
                let pending = input.length()?;
                self.builder
                    .group(&name, last_id, read)
                    .map_err(|error| input.bad_at(at, What::Stream(error)))?;
                self.group = name;
                self.groups -= 1;
                Phase::Pending(pending)
            }
            Phase::Pending(0) => {
                self.consumers = input.length()?;
                Phase::Consumer
            }
            Phase::Pending(left) => {
                let entry = raw_id(input)?;
                let delivery_time = input.i64_le()?;
                let deliveries = input.length()?;
                self.builder
                    .group_at_hand(&self.group)
                    .pending(entry, delivery_time, deliveries)
                    .map_err(|error| input.bad_at(at, What::Stream(error)))?;
                Phase::Pending(left - 1)
            }
            Phase::Consumer if self.consumers == 0 => Phase::Group,
            Phase::Consumer => {
                let name = input.string()?;
                let seen_time = input.i64_le()?;
                let active_time = if self.kind == value_type::STREAM_3 {
                    input.i64_le()?
                } else {
                    seen_time
                };
                let owned = input.length()?;
                let place = self
                    .builder
                    .group_at_hand(&self.group)
                    .consumer(name.bytes(&mut TextBuffer::new()), seen_time, active_time)
                    .map_err(|error| input.bad_at(at, What::Stream(error)))?;
                self.consumers -= 1;
                Phase::Owned(place, owned)
            }
            Phase::Owned(_, 0) => Phase::Consumer,
            Phase::Owned(place, left) => {
                let entry = raw_id(input)?;
                self.builder
                    .group_at_hand(&self.group)
                    .own(place, entry)
                    .map_err(|error| input.bad_at(at, What::Stream(error)))?;
                Phase::Owned(place, left - 1)
            }
        };
        Ok(false)
    }

    pub fn finish(self, input: &Input<'_>) -> Result<Stream, Halt> {
        self.builder
            .finish()
            .map_err(|error| input.bad(What::Stream(error)))
    }
}

fn id(input: &mut Input<'_>) -> Result<StreamId, Halt> {
    Ok(StreamId::new(input.length()?, input.length()?))
}

fn raw_id(input: &mut Input<'_>) -> Result<StreamId, Halt> {
    Ok(StreamId::new(input.u64_be()?, input.u64_be()?))
}

impl Writer {
    fn id(&mut self, id: StreamId) {
        self.length(id.ms);
        self.length(id.seq);
    }

    /// A stream as it is now; `spill` as in [`Writer::value`].
    pub(super) fn stream(&mut self, stream: &Stream, spill: &mut impl FnMut(&mut Vec<u8>)) {
        self.count(stream.nodes_len());
        for (id, node) in stream.nodes() {
            self.piece(Walked::Node(id, node));
            spill(&mut self.out);
        }
        self.stream_numbers(stream);
        let mut at = GroupsAt::default();
        while !self.stream_groups(stream, &mut at, SPILLED) {
            spill(&mut self.out);
        }
        spill(&mut self.out);
    }

    /// Nodes from the `from`th on until `bytes` or more are in the buffer; how many.
    pub(super) fn stream_nodes(&mut self, stream: &Stream, from: usize, bytes: usize) -> usize {
        let mut written = 0;
        for (id, node) in stream.nodes().skip(from) {
            self.piece(Walked::Node(id, node));
            written += 1;
            if self.out.len() >= bytes {
                break;
            }
        }
        written
    }

    /// What stands behind a stream's nodes and before its groups.
    pub(super) fn stream_numbers(&mut self, stream: &Stream) {
        self.piece(Walked::Numbers(Numbers {
            length: stream.length(),
            last_id: stream.last_id,
            first_id: stream.first_id(),
            max_deleted_id: stream.max_deleted_id,
            entries_added: stream.entries_added,
            groups: stream.groups().len(),
        }));
    }

    /// Up to `most` elements of a stream's groups, from where `at` stands; true when there are no more. The stream is the
    /// same each time.
    pub(super) fn stream_groups(
        &mut self,
        stream: &Stream,
        at: &mut GroupsAt,
        most: usize,
    ) -> bool {
        let mut left = most;
        while let Some(group) = stream.group_at(at.group) {
            at.part = match at.part {
                GroupPart::Head => {
                    self.group(
                        group.name(),
                        group.last_id,
                        group.entries_read,
                        group.pending_len(),
                    );
                    GroupPart::Pending(StreamId::MIN)
                }
                GroupPart::Pending(from) => {
                    for (id, pending) in group.pending_from(from) {
                        if left == 0 {
                            at.part = GroupPart::Pending(id);
                            return false;
                        }
                        left -= 1;
                        self.piece(Walked::Pending(id, pending));
                    }
                    self.count(group.consumers_len());
                    GroupPart::Consumer(0)
                }
                GroupPart::Consumer(number) => match group.consumer_at(number) {
                    Some(_) if left == 0 => return false,
                    Some(consumer) => {
                        left -= 1;
                        let pending = consumer.pending_len();
                        self.consumer(consumer.name(), consumer.seen_time, pending);
                        GroupPart::Owned(number, StreamId::MIN)
                    }
                    None => {
                        at.group += 1;
                        GroupPart::Head
                    }
                },
                GroupPart::Owned(number, from) => {
                    let consumer = group.consumer_at(number);
                    let consumer = consumer.expect("a stream that is written stays as it is");
                    for id in consumer.pending_from(from) {
                        if left == 0 {
                            at.part = GroupPart::Owned(number, id);
                            return false;
                        }
                        left -= 1;
                        self.piece(Walked::Owned(id));
                    }
                    GroupPart::Consumer(number + 1)
                }
            };
        }
        true
    }

    fn group(&mut self, name: &[u8], last_id: StreamId, entries_read: i64, pending: usize) {
        self.string(name);
        self.id(last_id);
        self.length(entries_read as u64);
        self.count(pending);
    }

    fn consumer(&mut self, name: &[u8], seen_time: i64, pending: usize) {
        self.string(name);
        self.out.extend_from_slice(&seen_time.to_le_bytes());
        self.count(pending);
    }

    /// What a walk gives of a stream, in its order.
    pub fn piece(&mut self, walked: Walked<'_>) {
        match walked {
            Walked::Nodes(count) | Walked::Consumers(count) => self.count(count),
            Walked::Node(id, node) => {
                self.string(&id.to_bytes());
                self.string(node.bytes());
            }
            Walked::Numbers(numbers) => {
                self.length(numbers.length);
                self.id(numbers.last_id);
                self.id(numbers.first_id);
                self.id(numbers.max_deleted_id);
                self.length(numbers.entries_added);
                self.count(numbers.groups);
            }
            Walked::Group(group) => self.group(
                &group.name,
                group.last_id,
                group.entries_read,
                group.pending,
            ),
            Walked::Pending(id, pending) => {
                self.out.extend_from_slice(&id.to_bytes());
                self.out
                    .extend_from_slice(&pending.delivery_time.to_le_bytes());
                self.length(pending.deliveries);
            }
            Walked::Consumer(consumer) => {
                self.consumer(&consumer.name, consumer.seen_time, consumer.pending);
            }
            Walked::Owned(id) => self.out.extend_from_slice(&id.to_bytes()),
        }
    }
}
