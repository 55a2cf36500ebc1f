//! The one stream: what the shards hand on is merged here and goes into the backlog, from which replicas are sent.
//!
//! While this server is a replica the stream is its primary's, byte for byte.

use std::collections::VecDeque;

use super::role::Following;
use crate::control::Control;
use crate::effect::Block;
use crate::mesh::flow::FlowEnd;
use crate::mesh::message::CoreMessage;
use crate::replication::{Backlog, Copy, Cut, History, Merge, Milestones, Replid, Sink, Streaming};

/// Bytes of one shard's effects that may be on their way here at least. A replica that is fed through a short backlog
/// must not need a full copy because this core did not run for a moment.
const FLOW_LIMIT_MIN: usize = 64 << 20;
/// Bytes merged in one turn of this core: replicas, the bus and whoever shares its processor get their turn in between.
const MERGED_AT_ONCE: usize = 256 * 1024;
/// Bytes merged and sent before others may have the processor: some hundred microseconds.
const MOVED_AT_ONCE: usize = 256 * 1024;
/// When a shard has so many bytes under way this core gives nothing of its time away.
const HURRY_FROM: usize = FLOW_LIMIT_MIN / 8;

/// What the control core knows of replication.
pub(in crate::control) struct Replication {
    /// Which history the data belongs to, and how far it is.
    pub history: History,
    /// The end of the stream, once there has been a replica.
    pub backlog: Option<Backlog>,
    /// The merge of the shards' streams, while this server is a primary whose stream is wanted.
    pub merge: Merge,
    /// Where that was at moments of the past.
    pub milestones: Milestones,
    /// What this server follows, if it does.
    pub following: Following,
    flows: Vec<FlowEnd>,
    /// The number of the last cut asked for.
    last_cut: u64,
    /// Bytes merged and sent since this core last let others have its processor.
    pub(super) moved: usize,
    /// The backlog has more to give back than was done at once.
    pub(super) is_trimming: bool,
}

impl Replication {
    /// A primary without replicas.
    pub fn new(history: History, shards: usize) -> Self {
        Replication {
            history,
            backlog: None,
            merge: Merge::new(shards),
            milestones: Milestones::default(),
            following: Following::default(),
            flows: Vec::new(),
            last_cut: 0,
            moved: 0,
            is_trimming: false,
        }
    }

    /// Whether there is more to do, above all something of the shards to merge: asked before going to sleep.
    pub fn has_work(&mut self) -> bool {
        self.is_trimming || self.merge.has_more() || self.flows.iter_mut().any(FlowEnd::has_some)
    }

    /// Lets others have the processor where much has been moved since that was last done, and no shard hands on more than
    /// this core can take. The kernel would look after them with its next tick only, which may be 4 ms away.
    pub fn breathe(&mut self) {
        if self.moved < MOVED_AT_ONCE {
            return;
        }
        self.moved = 0;
        if self.flows.iter().all(|flow| flow.under_way() < HURRY_FROM) {
            std::thread::yield_now();
        }
    }

    /// Whether the shards hand on what they do.
    pub fn has_flows(&self) -> bool {
        !self.flows.is_empty()
    }

    /// Appends to the stream.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.history.offset += bytes.len() as u64;
        let db = (!self.flows.is_empty()).then(|| self.merge.db());
        if let Some(backlog) = &mut self.backlog {
            backlog.begin_run(None, db);
            backlog.append(bytes);
        }
    }
}

/// What a run of the merge leaves behind.
struct Merged<'a> {
    backlog: Option<&'a mut Backlog>,
    history: &'a mut History,
    flows: &'a mut [FlowEnd],
    /// Barriers passed: number, offset, database.
    barriers: VecDeque<(u64, u64, u32)>,
}

impl Sink for Merged<'_> {
    fn begin_run(&mut self, source: Option<usize>, db: u32) {
        if let Some(backlog) = &mut self.backlog {
            backlog.begin_run(source.map(|shard| shard as u16), Some(db));
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.history.offset += bytes.len() as u64;
        if let Some(backlog) = &mut self.backlog {
            backlog.append(bytes);
        }
    }

    fn on_barrier(&mut self, number: u64, db: u32) {
        self.barriers.push_back((number, self.history.offset, db));
    }

    fn on_done(&mut self, shard: usize, block: Block) {
        self.flows[shard].give_back(block);
    }
}

impl Control {
    /// Takes all that the shards have handed on, merges it and lets replicas have it.
    pub(in crate::control) fn drain_stream(&mut self) {
        if self.replication.merge.is_unfinished() {
            self.merge_stream(usize::MAX);
        }
        self.merge_stream(usize::MAX);
    }

    /// The same in a turn's portion; what is left keeps the core from sleeping.
    pub(in crate::control) fn drain_stream_on(&mut self) {
        self.merge_stream(MERGED_AT_ONCE);
    }

    /// Merges about so many bytes. Nothing more is taken before all that was taken is merged, so what waits is counted by
    /// the flows.
    fn merge_stream(&mut self, most: usize) {
        let Replication {
            history,
            backlog,
            merge,
            flows,
            ..
        } = &mut self.replication;
        let Some(first) = flows.first() else {
            return;
        };
        let before = history.offset;
        let mut lost = false;
        let mut below = None;
        if !merge.is_unfinished() {
            // Before anything is taken: what was handed on until now is there then, and what it rests on with it.
            let stamps = first.stamps();
            for (shard, flow) in flows.iter_mut().enumerate() {
                while let Some(block) = flow.take() {
                    merge.take(shard, block);
                }
                lost |= flow.is_lost();
                if flow.is_stuck() {
                    self.links.core(shard).wake_by_event(); // it hands on the rest at the end of its turn
                }
            }
            let complete = |below, flow: &FlowEnd| flow.complete_below(below);
            below = Some(flows.iter().fold(stamps, complete));
        }
        let mut merged = Merged {
            backlog: backlog.as_mut(),
            history,
            flows,
            barriers: VecDeque::new(),
        };
        match below {
            _ if lost => {}
            Some(below) => merge.run(below, most, &mut merged),
            None => merge.go_on(most, &mut merged),
        }
        for (number, offset, db) in merged.barriers {
            self.on_barrier(number, offset, db);
        }
        if lost {
            self.on_stream_lost();
            return;
        }
        if !self.replication.merge.is_unfinished() {
            let offset = self.offset_of_changes();
            let Replication {
                merge, milestones, ..
            } = &mut self.replication;
            milestones.note(merge.merged_below(), offset);
        }
        if self.replication.history.offset > before {
            self.replication.moved += (self.replication.history.offset - before) as usize;
            self.stream_grew();
        }
    }

    /// Puts something into the stream that no shard of this server has done: PING and GETACK, or, on a replica, what its
    /// primary has sent and it has applied.
    pub(in crate::control) fn append_to_stream(&mut self, bytes: &[u8]) {
        self.replication.append(bytes);
        self.stream_grew();
    }

    /// DEBUG REPLICATE and, without a command, DEBUG CHANGE-REPL-ID.
    pub(in crate::control) fn debug_stream(&mut self, command: Option<Vec<u8>>) {
        self.drain_stream();
        match command {
            Some(bytes) if !self.is_replica() && self.replication.backlog.is_some() => {
                self.append_to_stream(&bytes);
            }
            Some(_) => {}
            None => {
                log::info!("Changing replication IDs after receiving change-repl-id");
                let id = self.new_replid();
                self.replication.history.break_off(id);
            }
        }
    }

    /// Asks for a cut through all shards; its number. `on_barrier` or `on_cut_without_stream` is called when it is made.
    pub(in crate::control) fn cut_stream(
        &mut self,
        streaming: Streaming,
        copy: Option<Copy>,
    ) -> u64 {
        self.replication.last_cut += 1;
        let number = self.replication.last_cut;
        let first = self.links.core(0);
        first.mail(CoreMessage::CutStream(Box::new(Cut {
            number,
            streaming,
            copy,
        })));
        first.wake_by_event();
        number
    }

    /// The stream is wanted from the next cut on: begins the backlog if there is none, and says how the flows are to be.
    pub(in crate::control) fn begin_stream(&mut self) -> Streaming {
        if self.replication.backlog.is_none() {
            let id = self.new_replid();
            self.replication.history.break_off(id);
            let next = self.replication.history.offset + 1;
            self.replication.backlog = Some(Backlog::new(next));
        }
        Streaming::On(self.flow_limit())
    }

    pub(in crate::control) fn flow_limit(&self) -> usize {
        (self.config.repl_backlog_size as usize).max(FLOW_LIMIT_MIN)
    }

    /// A name for a new history.
    pub(in crate::control) fn new_replid(&mut self) -> Replid {
        Replid::new(&mut self.random)
    }

    /// The shards have begun to hand on what they do.
    pub(in crate::control) fn on_flows(&mut self, flows: Vec<FlowEnd>) {
        self.replication.merge.reset();
        self.replication.milestones.clear();
        self.replication.flows = flows;
    }

    /// Nobody follows the stream any more and it is given up.
    pub(in crate::control) fn on_stream_ended(&mut self) {
        self.replication.merge.reset();
        self.replication.milestones.clear();
        self.replication.flows.clear();
    }
}
