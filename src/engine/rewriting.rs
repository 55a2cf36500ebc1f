//! Rewriting the append-only files, and beginning and ending them while the server runs.
//!
//! The first core sees to it. A thread makes the files and says in the manifest that they belong to the set; then all
//! shards are cut at one point: each goes on in its new file, and a walk writes what it holds at the cut into its base.
//! When all bases are on disk the manifest names them in the place of everything before the cut.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::base::clock::unix_ms;
use crate::mesh::message::CoreMessage;
use crate::persistence::aof::log::Log;
use crate::persistence::aof::rewrite::{self, Bases};
use crate::persistence::aof::set::Rewrite;
use crate::persistence::background::{Ending, Layout};
use crate::persistence::file::{Disk, RealDisk};
use crate::persistence::status::Purpose;
use crate::shard::saving::{self, Cut};
use crate::shard::{Shard, Shards};

use super::core::{Core, Held};

impl Core {
    /// On the first core, now and then: begins a rewrite when one is wanted, or when the files have grown enough.
    pub(super) fn mind_rewrites(&mut self) {
        let status = self.observatory.snapshots.clone();
        let (log, saves) = (&status.log, &status.saves);
        if self.gates.loading || self.stopping {
            return;
        }
        if let Some(rewrite) = self.cut_due.take() {
            self.cut_logs(rewrite);
            return;
        }
        if saves.under_way().is_none() {
            log.rewrites.snapshot_is_over();
            if log.rewrites.may_try(self.now) && self.wants_rewrite() {
                log.rewrites.want(false);
            }
        }
        if log.rewrites.is_due() && saves.under_way().is_none() {
            self.start_rewrite();
        }
    }

    /// Whether the files are to be written anew though nobody has asked for it.
    fn wants_rewrite(&self) -> bool {
        let log = &self.observatory.snapshots.log;
        if !log.complete.load(Relaxed) {
            return self.config.appendonly; // they were to be begun, and could not
        }
        if log.sync_error.load(Relaxed) != 0 {
            log::info!("Writing the append-only files anew, since they could not be synced");
            return true;
        }
        let percent = self.config.auto_aof_rewrite_percentage;
        let bytes = self.log_bytes();
        if percent == 0 || bytes <= self.config.auto_aof_rewrite_min_size {
            return false;
        }
        let base = log.base_bytes.load(Relaxed).max(1);
        let growth = (u128::from(bytes) * 100 / u128::from(base)).saturating_sub(100);
        let wanted = growth >= u128::from(percent);
        if wanted {
            log::info!("Starting automatic rewriting of AOF on {growth}% growth");
        }
        wanted
    }

    /// Makes the files, on a thread that may wait for the disk.
    fn start_rewrite(&mut self) {
        let status = self.observatory.snapshots.clone();
        status.log.rewrites.begin(self.now);
        self.rewrites_logs = self.config.appendonly;
        let (links, config, shards) = (self.links.clone(), self.config.clone(), self.shards);
        let prepares = status.clone();
        let thread = std::thread::Builder::new().name("rewrite".to_owned());
        let started = thread.spawn(move || match rewrite::prepare(&prepares, &config, shards) {
            Ok(rewrite) => {
                let first = links.core(0);
                first.mail(CoreMessage::CutLogs(Box::new(rewrite)));
                first.wake_by_event();
            }
            Err(error) => {
                log::warn!("Can't make new append-only files: {error}");
                prepares.log.rewrites.end(unix_ms(), false);
            }
        });
        if let Err(error) = started {
            log::warn!("Can't rewrite append only file in background: {error}");
            status.log.rewrites.end(self.now, false);
        }
    }

    /// The files are there: cuts all shards as soon as no other walk is under way.
    pub(super) fn cut_logs(&mut self, rewrite: Box<Rewrite>) {
        if self.observatory.snapshots.saves.under_way().is_some() {
            self.cut_due = Some(rewrite);
            return;
        }
        self.begin_chore(move |core, held| core.cut_held(held, rewrite));
    }

    fn cut_held(&mut self, held: &mut Held, mut rewrite: Box<Rewrite>) {
        let status = self.observatory.snapshots.clone();
        if status.saves.under_way().is_some() {
            self.cut_due = Some(rewrite); // it began while the shards were gathered
            return;
        }
        if self.rewrites_logs && !self.config.appendonly {
            log::info!("Killing AOF child: the append-only files have ended");
            status.log.rewrites.end(self.now, false);
            return;
        }
        self.settle_all(held);
        self.durable.epoch_bytes = None; // new files may come to the size of the old ones
        let mut files: Vec<_> = rewrite.logs.drain(..).map(Some).collect();
        for shard in held.iter_mut() {
            let file = files.get_mut(shard.index).and_then(Option::take);
            self.switch_log(shard, file.expect("each shard has a file"));
        }
        if self.config.appendonly && !status.log.on.swap(true, Relaxed) {
            status.log.complete.store(false, Relaxed);
        }
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let bases = Bases::new(disk.clone(), status.clone(), *rewrite);
        let cut = Cut {
            purpose: Purpose::Rewrite,
            layout: Layout::Apart,
            disk,
            spill: bases.spill(),
        };
        let (links, ended) = (self.links.clone(), status.clone());
        let mut shards: Vec<&mut Shard> = held.iter_mut().map(|shard| &mut **shard).collect();
        let mut shards = Shards::new(&mut shards, self.shards);
        let begun = saving::cut(&mut shards, cut, Box::new(bases), move |ending| {
            ended
                .log
                .rewrites
                .end(unix_ms(), matches!(ending, Ending::Done { .. }));
            match ending {
                Ending::Done { bytes, .. } => {
                    ended.log.sync_error.store(0, Relaxed);
                    ended.log.complete.store(true, Relaxed);
                    ended.log.base_bytes.store(*bytes, Relaxed);
                    for (index, core) in links.shard_cores().iter().enumerate() {
                        // How the bytes are shared is of no interest.
                        core.mail(CoreMessage::Rebase(if index == 0 { *bytes } else { 0 }));
                        core.wake_by_event();
                    }
                    log::info!("Background AOF rewrite finished successfully");
                }
                Ending::Failed(error) => {
                    log::warn!("Background AOF rewrite terminated with error: {error}");
                }
                Ending::Cancelled => log::warn!("Background AOF rewrite was given up"),
            }
        });
        match begun {
            Ok(_) => {
                log::info!("Background append only file rewriting started by a thread of its own");
            }
            Err(error) => {
                log::warn!("Can't rewrite append only file in background: {error}");
                status.log.rewrites.end(self.now, false);
            }
        }
    }

    /// A shard goes on in another file, or begins to write down what it does.
    fn switch_log(
        &mut self,
        shard: &mut Shard,
        file: Box<dyn crate::persistence::aof::log::Growing>,
    ) {
        let status = &self.observatory.snapshots.log;
        shard.effects.forget_db();
        match &mut shard.log {
            Some(log) => {
                if !shard.effects.is_empty() || log.has_left() {
                    // They could not be written and are in the base that follows: only that makes the log whole again.
                    let error = status.write_error.swap(0, Relaxed).max(1);
                    status.sync_error.store(error, Relaxed);
                    shard.effects.clear();
                    log.drop_left();
                    log.retry_at(0);
                }
                log.switch_to(file);
            }
            None if self.config.appendonly => {
                shard.log = Some(Box::new(Log::new(file, 0, 0)));
                shard.effects.set_logged(true);
            }
            None => {} // BGREWRITEAOF with `appendonly no`: the bases are all that is wanted
        }
    }

    /// Everything before the present file is in a base of so many bytes.
    pub(super) fn rebase_log(&mut self, bytes: u64) {
        let Some(shard) = &mut self.shard else {
            self.deferred.push(CoreMessage::Rebase(bytes));
            return;
        };
        if let Some(log) = &mut shard.log {
            log.rebase(bytes);
            let total = log.total_bytes();
            self.observatory.core(self.index).log_bytes.set(total);
            // Growth is measured against the size when the rewrite ended: what came while it was written belongs to it.
            let log = &self.observatory.snapshots.log;
            log.base_bytes.fetch_add(total - bytes, Relaxed);
        }
    }

    /// On the first core: takes over `appendonly`.
    pub(super) fn switch_logs(&mut self) {
        let status = self.observatory.snapshots.clone();
        if self.index != 0 || status.loading.load(Relaxed) {
            return;
        }
        let is_on = status.log.on.load(Relaxed);
        if self.config.appendonly && !is_on {
            status.log.rewrites.want(status.saves.under_way().is_some());
        } else if !self.config.appendonly && is_on {
            if status.saves.cancel(Purpose::Rewrite) {
                log::info!("Killing AOF child: the append-only files end");
            }
            if self.cut_due.take().is_some() {
                status.log.rewrites.end(self.now, false);
            }
            self.begin_chore(|core, held| core.end_logs(held));
        }
    }

    /// Nothing is written down any more. The files stay, as they are now.
    pub(super) fn end_logs(&mut self, held: &mut Held) {
        self.settle_all(held);
        let log = &self.observatory.snapshots.log;
        for shard in held.iter_mut() {
            shard.effects.set_logged(false);
            shard.log = None;
            let counters = self.observatory.core(shard.index);
            counters.log_bytes.set(0);
            counters.log_buffer.set(0);
        }
        log.on.store(false, Relaxed);
        log.complete.store(false, Relaxed);
        log.write_error.store(0, Relaxed);
        log.sync_error.store(0, Relaxed);
        *log.lock_set() = None;
    }
}
