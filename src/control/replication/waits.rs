//! WAIT and WAITAOF: clients that wait until replicas have what they have written.
//!
//! A client's core has handed on all that it has written before its question comes here. Where that has been merged, the
//! offset then is what replicas must acknowledge; the parts of a step over several shards may come one by one, so it is
//! not always at once. Of a client whose answers had left before it asked it is known what the stream was then, so what others
//! have written since is not waited for.

use crate::control::Control;
use crate::mesh::Place;
use crate::mesh::message::{AwaitReplicas, CoreMessage, Have};
use crate::replication::Position;

/// A client that waits.
struct Wait {
    asked: AwaitReplicas,
    /// What must be merged before the offset is known.
    position: Position,
    /// The offset.
    offset: Option<u64>,
}

/// All of them.
#[derive(Default)]
pub(in crate::control) struct Waits(Vec<Wait>);

impl Control {
    /// A client begins to wait.
    pub(super) fn await_replicas(&mut self, asked: AwaitReplicas) {
        self.drain_stream();
        let known = |stamp| self.replication.milestones.behind(stamp);
        self.waits.0.push(Wait {
            position: self.replication.merge.position(),
            offset: asked.offset.or_else(|| known(asked.stamp?)),
            asked,
        });
        let before = self.waits.0.len();
        self.on_acknowledged();
        // What is still missing is asked for, once a turn.
        self.replicas.ack_wanted |= self.waits.0.len() == before;
    }

    /// A client waits no longer, and reads how far it has come.
    pub(super) fn stop_awaiting(&mut self, core: u16, place: Place, number: u64) {
        self.drain_stream();
        let same = |wait: &Wait| wait.asked.core == core && wait.asked.number == number;
        let Some(at) = self.waits.0.iter().position(same) else {
            return; // it has been answered
        };
        let wait = self.waits.0.swap_remove(at);
        let changed = wait.offset.unwrap_or_else(|| self.offset_of_changes());
        let replicas = self.replicas.count_with(changed, wait.asked.on_disk);
        let offset = wait.offset;
        self.tell_waiting(core, place, number, Have { replicas, offset });
    }

    /// Replicas have acknowledged something: who waits for that goes on.
    pub(in crate::control) fn on_acknowledged(&mut self) {
        self.answer_waiting();
        if self.failover.is_some() || self.stop_waits() {
            let now = crate::base::clock::unix_ms();
            self.mind_failover(now);
            self.mind_shutdown(now);
        }
    }

    /// Answers those who have waited long enough.
    pub(super) fn answer_waiting(&mut self) {
        if self.waits.0.is_empty() {
            return;
        }
        let offset = self.offset_of_changes();
        let mut answers = Vec::new();
        let (merge, replicas) = (&self.replication.merge, &self.replicas);
        self.waits.0.retain_mut(|wait| {
            if wait.offset.is_none() && merge.has_passed(&wait.position) {
                wait.offset = Some(offset);
            }
            let Some(offset) = wait.offset else {
                return true;
            };
            let count = replicas.count_with(offset, wait.asked.on_disk);
            let is_enough = count as i64 >= wait.asked.replicas;
            if is_enough {
                let have = Have {
                    replicas: count,
                    offset: Some(offset),
                };
                answers.push((wait.asked.core, wait.asked.place, wait.asked.number, have));
            }
            !is_enough
        });
        for (core, place, number, have) in answers {
            self.tell_waiting(core, place, number, have);
        }
    }

    fn tell_waiting(&self, core: u16, place: Place, number: u64, have: Have) {
        let core = self.links.core(usize::from(core));
        core.mail(CoreMessage::ReplicasHave {
            place,
            number,
            have,
        });
        core.wake_by_event();
    }

    /// How many replicas have everything so far.
    pub(in crate::control) fn count_replicas(&mut self, on_disk: bool) -> usize {
        self.drain_stream();
        self.replicas.count_with(self.offset_of_changes(), on_disk)
    }
}
