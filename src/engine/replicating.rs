//! Cuts through all shards for the stream that replicas follow: where it begins and ends, and where a full copy stands in
//! it.
//!
//! The first core sees to it, at the control core's request, with all shards in hand. What they have done so far is handed
//! on, a barrier follows in every flow, and the walk of a copy begins: so the copy is the data set at exactly the offset
//! that the barrier has in the merged stream.

use crate::mesh::flow::flow;
use crate::mesh::message::CoreMessage;
use crate::persistence::background::Layout;
use crate::persistence::status::Purpose;
use crate::replication::{Copy, Cut, Streaming};
use crate::shard::saving;
use crate::shard::{Shard, Shards};

use super::core::{Core, Held};

impl Core {
    /// Cuts all shards for the stream, as soon as no other walk is under way where one is to begin.
    pub(super) fn cut_stream(&mut self, cut: Box<Cut>) {
        if cut.copy.is_some() && self.observatory.snapshots.saves.under_way().is_some() {
            self.stream_cuts.push_back(cut);
            return;
        }
        self.begin_chore_between(move |core, held| core.cut_stream_held(held, cut));
    }

    /// Now and then: tries again what had to wait for another walk.
    pub(super) fn mind_stream(&mut self) {
        for cut in std::mem::take(&mut self.stream_cuts) {
            self.cut_stream(cut);
        }
    }

    fn cut_stream_held(&mut self, held: &mut Held, mut cut: Box<Cut>) {
        if cut.copy.is_some() && self.observatory.snapshots.saves.under_way().is_some() {
            self.stream_cuts.push_back(cut); // it began while the shards were gathered
            return;
        }
        self.settle_all(held);
        match cut.streaming {
            Streaming::On(limit) if held.iter().any(|shard| shard.flow.is_none()) => {
                self.begin_flows(held, limit);
            }
            Streaming::Anew(limit) => self.begin_flows(held, limit),
            _ => {}
        }
        let mut has_flows = false;
        for shard in held.iter_mut() {
            let Shard { flow, effects, .. } = &mut **shard;
            if let Some(flow) = flow {
                flow.barrier(effects, cut.number);
                has_flows = true;
            }
            if cut.streaming == Streaming::Off {
                *flow = None;
                effects.set_streamed(false);
            }
        }
        if !has_flows {
            let (number, db) = (cut.number, self.feed_db());
            self.links
                .control()
                .mail(CoreMessage::CutWithoutStream { number, db });
        }
        if let Some(copy) = cut.copy.take() {
            self.begin_copy(held, cut.number, copy);
        }
        self.wake(self.shards);
    }

    /// From here on the shards hand on what they do.
    fn begin_flows(&mut self, held: &mut Held, limit: usize) {
        let mut ends = Vec::with_capacity(held.len());
        held.sort_unstable_by_key(|shard| shard.index);
        for shard in held.iter_mut() {
            let (producer, end) = flow(limit, self.links.stamps.clone());
            shard.effects.set_streamed(true);
            shard.flow = Some(Box::new(producer));
            ends.push(end);
        }
        self.links.control().mail(CoreMessage::Flows(ends));
    }

    fn begin_copy(&mut self, held: &mut Held, number: u64, copy: Copy) {
        let Copy {
            consumer,
            disk,
            spill,
            on_end,
        } = copy;
        let what = saving::Cut {
            purpose: Purpose::Sync,
            layout: Layout::Joined,
            disk,
            spill,
        };
        let mut shards: Vec<&mut Shard> = held.iter_mut().map(|shard| &mut **shard).collect();
        let mut shards = Shards::new(&mut shards, self.shards);
        if let Err(error) = saving::cut(&mut shards, what, consumer, on_end) {
            log::warn!("Can't begin a full copy for replicas: {error}");
            let control = self.links.control();
            control.mail(CoreMessage::CopyRefused(number));
        }
    }
}
