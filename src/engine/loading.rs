//! Taking in keys from a file while the server starts: shipments come by mail and are decoded where they belong.
//!
//! Until the last one of all cores has been taken in, commands that need the data are answered with LOADING, nothing
//! expires and nothing is evicted.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;

use crate::keyspace::Keyspace;
use crate::mesh::message::CoreMessage;
use crate::persistence::aof::log::Log;
use crate::persistence::flow::Shipment;
use crate::persistence::load::LoadError;
use crate::persistence::rdb::{Content, Limits};

use super::core::Core;

impl Core {
    /// Closes the gate if a file is to be loaded.
    pub(super) fn begin_loading(&mut self) {
        self.gates.loading = self.observatory.snapshots.loading.load(Relaxed);
        self.settle_expiry();
    }

    /// All cores have their keys: opens the gate.
    pub(super) fn loading_ended(&mut self) {
        self.gates.loading = false;
        self.gates.loading_beside = false;
        self.settle_expiry();
    }

    /// Closes the gate on all cores.
    pub(super) fn tell_loading(&mut self, beside: bool) {
        self.refuse_while_loading(beside);
        let own = self.index;
        for core in (0..self.shards).filter(|core| *core != own) {
            self.links.core(core).mail(CoreMessage::Loading { beside });
            self.wake(core);
        }
    }

    /// Opens it again.
    pub(super) fn tell_loaded(&mut self) {
        self.loading_ended();
        let own = self.index;
        for core in (0..self.shards).filter(|core| *core != own) {
            self.links.core(core).mail(CoreMessage::Loaded);
            self.wake(core);
        }
    }

    /// A request has come to the closed gate. Who was told on another core that all keys are there must not be refused here: the
    /// message that says so may still be under way.
    #[cold]
    pub(super) fn look_at_gate(&mut self) {
        if !self.observatory.snapshots.loading.load(Relaxed) {
            self.gates.loading = false;
            self.settle_expiry();
        }
    }

    /// Gives the shard its log.
    pub(super) fn keep_log(&mut self, log: Box<Log>) {
        let Some(shard) = &mut self.shard else {
            self.deferred.push(CoreMessage::KeepLog(log));
            return;
        };
        self.observatory
            .core(self.index)
            .log_bytes
            .set(log.total_bytes());
        shard.log = Some(log);
        shard.effects.set_logged(true);
    }

    /// Takes over the shard's keys as they were brought back from files, or keeps them until the shard is back.
    pub(super) fn adopt(&mut self, keyspace: Box<Keyspace>) {
        let Some(shard) = &mut self.shard else {
            self.deferred.push(CoreMessage::Adopt(keyspace));
            return;
        };
        assert_eq!(
            (keyspace.index(), keyspace.shards()),
            (shard.index, shard.keyspace.shards()),
            "the keys are this shard's"
        );
        shard.keyspace = *keyspace;
    }

    /// Says that what came for the shard before has reached it, or keeps the question with what waits for the shard.
    pub(super) fn say_arrived(&mut self, done: mpsc::Sender<()>) {
        if self.shard.is_none() || !self.deferred.is_empty() {
            self.deferred.push(CoreMessage::Arrived(done));
            return;
        }
        let _ = done.send(()); // whoever asked may have given up
    }

    /// Takes in a shipment, or keeps it until the shard is back.
    pub(super) fn take_in(&mut self, shipment: Shipment) {
        let Some(shard) = &mut self.shard else {
            self.deferred.push(CoreMessage::Load(shipment));
            return;
        };
        let Shipment {
            keys,
            bytes,
            flow,
            apart,
        } = shipment;
        let limits = Limits::of(&self.config);
        let mut empty = 0;
        let outcome = keys.into_iter().try_for_each(|mut loaded| {
            if let Content::Raw(raw) = &loaded.content {
                loaded.content = raw
                    .decode(&limits)
                    .map_err(|problem| LoadError::Content(Default::default(), problem))?;
            }
            if matches!(loaded.content, Content::Empty) {
                log::info!(
                    "rdbLoadObject skipping empty key: {}",
                    String::from_utf8_lossy(&loaded.key)
                );
                empty += 1;
                return Ok(());
            }
            match apart {
                true => shard.take_in_apart(loaded),
                false => shard.take_in(loaded, false),
            }
        });
        flow.taken_in(bytes, empty, outcome);
    }
}
