//! The walk of a stream against a cut: all of it *as it was*, in the order of a snapshot, in steps, while writes go on.
//!
//! `Stream::begin_walk` copies what is small (numbers, and what groups and consumers are beside what is pending, so it
//! takes time with their number) and begins a walk in each map (`id_map.rs`), where writes keep what they change.
//! A group or a consumer that is deleted before it has been walked is put aside for as long.

use std::collections::VecDeque;

use super::group::{Consumer, Group, Pending};
use super::{Node, Stream, StreamId};

/// What a walk gives, in the order of a snapshot.
#[derive(Debug)]
pub enum Walked<'a> {
    /// So many nodes follow.
    Nodes(usize),
    /// A node with its id.
    Node(StreamId, &'a Node),
    /// The nodes are over.
    Numbers(Numbers),
    /// A group, in the order of names; what is pending follows.
    Group(GroupCut),
    /// An entry that is pending for the last group given.
    Pending(StreamId, &'a Pending),
    /// What is pending is over; so many consumers follow.
    Consumers(usize),
    /// A consumer, in the order of names; what it owns follows.
    Consumer(ConsumerCut),
    /// A pending entry that the last consumer given owns.
    Owned(StreamId),
}

/// The numbers of a stream at the cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numbers {
    /// Entries.
    pub length: u64,
    /// See [`Stream::last_id`].
    pub last_id: StreamId,
    /// See [`Stream::first_id`].
    pub first_id: StreamId,
    /// See [`Stream::max_deleted_id`].
    pub max_deleted_id: StreamId,
    /// See [`Stream::entries_added`].
    pub entries_added: u64,
    /// Groups that follow.
    pub groups: usize,
}

/// A group at the cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupCut {
    /// Its name.
    pub name: Box<[u8]>,
    /// See [`Group::last_id`].
    pub last_id: StreamId,
    /// See [`Group::entries_read`].
    pub entries_read: i64,
    /// How many entries are pending.
    pub pending: usize,
}

/// A consumer at the cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerCut {
    /// Its name.
    pub name: Box<[u8]>,
    /// See [`Consumer::seen_time`].
    pub seen_time: i64,
    /// See [`Consumer::active_time`].
    pub active_time: i64,
    /// How many entries it owns.
    pub pending: usize,
}

/// What comes next.
#[derive(Debug)]
enum Stage {
    Nodes,
    Groups,
    /// What is pending for a group.
    Pending(Box<[u8]>),
    /// The next consumer of a group.
    Consumers(Box<[u8]>),
    /// What a consumer of a group owns.
    Owned(Box<[u8]>, Box<[u8]>),
}

/// The state of a walk.
#[derive(Debug)]
pub(super) struct Walk {
    begun: bool,
    nodes: usize,
    numbers: Numbers,
    groups: VecDeque<(GroupCut, VecDeque<ConsumerCut>)>,
    /// Consumers of the group that is being walked.
    consumers: VecDeque<ConsumerCut>,
    stage: Stage,
    /// Groups that were deleted before they were walked.
    pub(super) gone: Vec<Box<Group>>,
}

impl Stream {
    /// Fixes a cut. A walk that was under way is given up.
    pub fn begin_walk(&mut self) {
        self.end_walk();
        self.nodes.begin_walk();
        let mut groups = VecDeque::with_capacity(self.groups.len());
        for group in &mut self.groups {
            let cut = GroupCut {
                name: group.name().into(),
                last_id: group.last_id,
                entries_read: group.entries_read,
                pending: group.pending_len(),
            };
            groups.push_back((cut, group.begin_walk()));
        }
        self.walk = Some(Box::new(Walk {
            begun: false,
            nodes: self.nodes.len(),
            numbers: Numbers {
                length: self.length,
                last_id: self.last_id,
                first_id: self.first_id,
                max_deleted_id: self.max_deleted_id,
                entries_added: self.entries_added,
                groups: groups.len(),
            },
            groups,
            consumers: VecDeque::new(),
            stage: Stage::Nodes,
            gone: Vec::new(),
        }));
    }

    /// Whether a walk is under way.
    pub fn is_walked(&self) -> bool {
        self.walk.is_some()
    }

    /// Bytes of nodes that a walk keeps because they were written to.
    pub fn walk_kept_bytes(&self) -> usize {
        self.nodes.kept().map(Node::allocated).sum()
    }

    /// Gives a walk up, or ends one that has given everything: what was put aside for it comes back, as a stream that is
    /// nothing but something to be freed.
    pub fn end_walk(&mut self) -> Stream {
        let mut gone = Stream::default();
        if let Some(walk) = self.walk.take() {
            self.nodes.end_walk();
            self.groups.iter_mut().for_each(|group| group.end_walk());
            gone.groups = walk.gone;
        }
        gone
    }

    /// Goes on with the walk by some `budget` nodes and entries. True when everything has been given; then
    /// [`Stream::end_walk`] is due.
    pub fn walk_step(&mut self, budget: usize, mut give: impl FnMut(Walked<'_>)) -> bool {
        let Some(mut walk) = self.walk.take() else {
            return true;
        };
        let mut left = budget.max(1);
        if !std::mem::replace(&mut walk.begun, true) {
            give(Walked::Nodes(walk.nodes));
        }
        let mut over = false;
        while left > 0 && !over {
            over = walk.step(self, &mut left, &mut give);
        }
        self.walk = Some(walk);
        over
    }
}

impl Walk {
    /// Goes on within one stage or to the next. True when everything has been given.
    fn step(
        &mut self,
        stream: &mut Stream,
        left: &mut usize,
        give: &mut impl FnMut(Walked<'_>),
    ) -> bool {
        match &self.stage {
            Stage::Nodes => {
                if stream
                    .nodes
                    .walk_step(left, |id, node| give(Walked::Node(id, node)))
                {
                    give(Walked::Numbers(self.numbers));
                    self.stage = Stage::Groups;
                }
            }
            Stage::Groups => {
                let Some((group, consumers)) = self.groups.pop_front() else {
                    return true;
                };
                *left -= 1;
                self.stage = Stage::Pending(group.name.clone());
                self.consumers = consumers;
                give(Walked::Group(group));
            }
            Stage::Pending(name) => {
                let group = find(&mut self.gone, stream, name);
                if group.walk_pending(left, |id, pending| give(Walked::Pending(id, pending))) {
                    give(Walked::Consumers(self.consumers.len()));
                    self.stage = Stage::Consumers(name.clone());
                }
            }
            Stage::Consumers(name) => match self.consumers.pop_front() {
                None => self.stage = Stage::Groups,
                Some(consumer) => {
                    *left -= 1;
                    if consumer.pending > 0 {
                        self.stage = Stage::Owned(name.clone(), consumer.name.clone());
                    }
                    give(Walked::Consumer(consumer));
                }
            },
            Stage::Owned(name, consumer) => {
                let group = find(&mut self.gone, stream, name);
                if group.walk_owned(consumer, left, |id| give(Walked::Owned(id))) {
                    self.stage = Stage::Consumers(name.clone());
                }
            }
        }
        false
    }
}

/// The group that bore this name at the cut.
fn find<'a>(gone: &'a mut [Box<Group>], stream: &'a mut Stream, name: &[u8]) -> &'a mut Group {
    match gone.iter_mut().find(|group| group.name() == name) {
        Some(group) => group,
        None => stream
            .group_mut(name)
            .expect("a group that is to be walked is there or put aside"),
    }
}

impl From<&Consumer> for ConsumerCut {
    fn from(consumer: &Consumer) -> Self {
        ConsumerCut {
            name: consumer.name().into(),
            seen_time: consumer.seen_time,
            active_time: consumer.active_time,
            pending: consumer.pending_len(),
        }
    }
}
