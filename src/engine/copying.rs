//! A full copy of the primary's data comes in: the shards are made ready for it, and it takes the place of what they held.
//!
//! The keys are taken in beside the data (`Shard::incoming`) and become the data in one step with all shards in hand,
//! whether these have been emptied before, which spares their memory, or go on answering until then.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;

use crate::keyspace::Keyspace;
use crate::mesh::message::CoreMessage;
use crate::persistence::status::Purpose;

use super::core::{Core, Held};

impl Core {
    /// On the first core: a copy is about to come.
    pub(super) fn begin_copy_in(&mut self, empties: bool, refuses: bool, done: mpsc::Sender<()>) {
        let (status, beside) = (&self.observatory.snapshots, !refuses);
        if self.shard.is_none() && status.loading.load(Relaxed) {
            // A thread reads the data again, and opens the gates when it is over.
            let message = CoreMessage::BeginCopy {
                empties,
                refuses,
                done,
            };
            self.deferred.push(message);
            return;
        }
        match beside {
            true => status.loading_beside.store(true, Relaxed),
            false => status.loading.store(true, Relaxed),
        }
        self.tell_loading(beside);
        self.begin_chore(move |core, held| {
            core.settle_all(held);
            if empties {
                core.empty_for_copy(held);
            }
            for shard in held.iter_mut() {
                let databases = shard.keyspace.databases();
                let fresh = Keyspace::new(shard.index, core.shards, databases);
                shard.incoming = Some(Box::new(fresh));
            }
            let _ = done.send(()); // whoever asked may have given up
        });
    }

    /// Commands that need the data are refused until all of it is there; or those that would disturb a copy that is
    /// loaded beside them.
    pub(super) fn refuse_while_loading(&mut self, beside: bool) {
        match beside {
            true => self.gates.loading_beside = true,
            false => self.gates.loading = true,
        }
        self.settle_expiry();
    }

    /// On the first core: the copy is in, or it is given up.
    pub(super) fn end_copy_in(&mut self, whole: bool, done: mpsc::Sender<()>) {
        self.begin_chore(move |core, held| {
            core.settle_all(held);
            if whole {
                core.empty_for_copy(held);
            }
            for shard in held.iter_mut() {
                let Some(mut incoming) = shard.incoming.take() else {
                    continue;
                };
                if whole {
                    shard.keyspace = *incoming;
                    for db in 0..shard.keyspace.databases() {
                        shard.touch_watched_keys_of(db);
                        shard.blocked.signal_db(db);
                    }
                    continue;
                }
                for db in 0..incoming.databases() {
                    let content = incoming.take_db(db);
                    shard.discard_db(content);
                }
            }
            let status = core.observatory.snapshots.clone();
            let was_loading = status.loading.swap(false, Relaxed);
            let was_beside = status.loading_beside.swap(false, Relaxed);
            if was_loading || was_beside {
                core.tell_loaded();
            }
            if whole {
                core.switch_logs();
            }
            let _ = done.send(());
        });
    }

    /// All data go, and with them what would be written of them: snapshots under way, and the append-only files, which
    /// are begun anew when the copy is in.
    fn empty_for_copy(&mut self, held: &mut Held) {
        let status = self.observatory.snapshots.clone();
        for purpose in [Purpose::Snapshot, Purpose::Rewrite, Purpose::Sync] {
            status.saves.cancel(purpose);
        }
        if self.cut_due.take().is_some() {
            status.log.rewrites.end(self.now, false);
        }
        if status.log.on.load(Relaxed) {
            self.end_logs(held);
        }
        if let Some(shard) = held.first_mut() {
            shard.news.flushed(true);
        }
        for shard in held.iter_mut() {
            shard.news.flushed(false);
            shard.give_up_walk();
            for db in 0..shard.keyspace.databases() {
                shard.touch_watched_keys_of(db);
                shard.flush_db(db);
                shard.blocked.signal_db(db);
            }
        }
    }
}
