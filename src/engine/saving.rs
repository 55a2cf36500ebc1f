//! Snapshots as a core sees them: steps of the walk between requests, save points, the save before a shutdown.
//!
//! While requests come, the walk gets a fifth of the core's time, in slices of a fraction of a millisecond: each turn it
//! may use a quarter of what the turns since its last step have taken. While none come it goes on in short steps, with a
//! look at the ring after each. When the writer has to catch up the core sleeps, and is woken. Where writes make the walk keep
//! more than it may, those that would add to it wait as in a pause ([`Core::waits_for_walk`]); a disk that takes nothing at all
//! has the save given up.

use std::sync::atomic::Ordering::Relaxed;

use crate::base::clock::ticks;
use crate::command::client::Client;
use crate::command::keys::key_places;
use crate::command::server::save_here;
use crate::command::spec::Group;
use crate::command::table::Registered;
use crate::command::transactions::is_exec;
use crate::mesh::message::CoreAnswer;
use crate::persistence::snapshot::StreamPlace;
use crate::persistence::status::Purpose;
use crate::resp::request::Args;
use crate::shard::{Shard, Shards, saving};

use super::core::Core;

/// The walk's time is at most one part in so many of what requests take.
const SHARE: u64 = 4;
/// A step is worth beginning when it may take so long.
const STEP_MIN_NS: u64 = 20_000;
/// A step takes so long at most while requests come.
const STEP_MAX_NS: u64 = 250_000;
/// The same while none come. Whoever asks the next thing waits for half of it on average.
const STEP_IDLE_NS: u64 = 150_000;
/// Buckets or pieces between two looks at the clock.
const LOOK_EVERY: u32 = 4;
/// Seconds after a failed save before save points begin another one (Redis: CONFIG_BGSAVE_RETRY_DELAY).
const RETRY_S: i64 = 5;

/// What the walk has taken, and what the rest has.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last step ended, in ticks.
    stepped: u64,
    /// Ticks of work since then that were not the walk's.
    worked: u64,
    /// Requests run when the last turn was over.
    requests: u64,
}

impl Core {
    /// Whether the walk of a snapshot can go on.
    pub(super) fn can_walk(&self) -> bool {
        self.shard
            .as_ref()
            .and_then(|shard| shard.walk())
            .is_some_and(|walk| walk.is_ready())
    }

    /// A step of the walk, if one is due.
    #[cold]
    pub(super) fn walk_on(&mut self) {
        let counters = self.counters();
        let requests = counters
            .bytes_in
            .get()
            .wrapping_add(counters.remote.get())
            .wrapping_add(counters.processed.get());
        let idle = requests == self.pace.requests && self.ready.is_empty();
        self.pace.requests = requests;
        let scale = self.observatory.scale;
        let start = ticks();
        // What this turn has taken so far counts in full; a core that slept meanwhile has not worked.
        self.pace.worked += start.wrapping_sub(self.turn_ticks.max(self.pace.stepped));
        let slice = if idle {
            scale.ticks(STEP_IDLE_NS)
        } else {
            (self.pace.worked / SHARE).min(scale.ticks(STEP_MAX_NS))
        };
        if slice < scale.ticks(STEP_MIN_NS) {
            self.pace.stepped = start;
            return;
        }
        let Some(shard) = &mut self.shard else {
            return;
        };
        let mut looks = 0;
        shard.step_walk(&mut || {
            looks += 1;
            looks % LOOK_EVERY != 0 || ticks().wrapping_sub(start) < slice
        });
        self.pace.stepped = ticks();
        self.pace.worked = 0;
    }

    /// At the beginning of a turn: whether replicas or the disk have those wait or be refused who write.
    #[inline]
    pub(super) fn look_at_writers(&mut self) {
        let config = &self.config;
        self.gates.lacks_replicas =
            config.min_replicas_to_write > 0 && self.observatory.replication.lacks(config);
        let is_crowded = self.observatory.snapshots.saves.is_crowded();
        if is_crowded != self.gates.crowded {
            self.crowd(is_crowded);
        }
    }

    /// The walk of a snapshot keeps as much as it may because of writes, or no longer: those that would add to it wait.
    #[cold]
    pub(super) fn crowd(&mut self, crowded: bool) {
        self.gates.crowded = crowded;
        self.look_at_writes();
        if !crowded {
            self.let_go();
        }
    }

    /// Whether a command waits until the disk has taken more of a snapshot: it would make the walk keep more than it may. Of
    /// keys on other shards that is not known, nor is it of what transactions and scripts will touch.
    pub(super) fn waits_for_walk(
        &self,
        command: &Registered,
        args: &Args<'_>,
        client: &Client,
    ) -> bool {
        if client.multi.is_some() && !is_exec(command) || !self.writes(command, args, client) {
            return false; // what is queued runs later
        }
        let reaches = is_exec(command) || matches!(command.spec.docs.group, Group::Scripting);
        let Some(places) = key_places(command.spec, args).filter(|_| !reaches) else {
            return true;
        };
        let Some(shard) = &self.shard else {
            return true;
        };
        places.iter().any(|(place, _)| {
            let key = args.key(*place as usize);
            let is_own = usize::from(key.slot) % self.shards == self.index;
            !is_own || shard.would_keep(client.db as usize, &key)
        })
    }

    /// On the first core: begins a snapshot when one is scheduled, or when a save point says so.
    pub(super) fn mind_saves(&mut self) {
        let status = self.observatory.snapshots.clone();
        let saves = &status.saves;
        if let Some(purpose) = saves.give_up_stalled(self.now) {
            log::warn!(
                "The disk has taken nothing for ten seconds, and writes wait for it: what was being saved is given up"
            );
            if purpose == Purpose::Snapshot {
                saves.set_failed(true);
            }
        }
        if self.gates.loading || self.stopping || saves.under_way().is_some() {
            return;
        }
        let seconds = self.now / 1000;
        let mut due = saves.scheduled.load(Relaxed);
        let changes = status.unsaved(self.observatory.sum(|core| core.changes.get()));
        let since = seconds - status.saved_at.load(Relaxed);
        let may_try = !saves.has_failed() || seconds - saves.tried_at.load(Relaxed) > RETRY_S;
        for &(after, least) in &self.config.save {
            if !due && may_try && changes >= least && since > after as i64 {
                log::info!("{least} changes in {after} seconds. Saving...");
                due = true;
            }
        }
        if due && !std::mem::replace(&mut self.save_is_due, true) {
            self.begin_chore_between(|core, held| {
                core.save_is_due = false;
                let status = core.observatory.snapshots.clone();
                status.set_followed(core.feed_place());
                if status.saves.under_way().is_none() {
                    let mut shards: Vec<&mut Shard> =
                        held.iter_mut().map(|shard| &mut **shard).collect();
                    saving::begin_snapshot(&mut Shards::new(&mut shards, core.shards));
                }
                status.set_followed(None);
            });
        }
    }

    /// SAVE and BGSAVE of a replica: the file says which moment of the primary's stream it is, so it is made between two
    /// commands of that.
    pub(super) fn save_between(
        &mut self,
        asker: (u16, u64),
        (background, schedule): (bool, bool),
        followed: Option<StreamPlace>,
    ) {
        self.begin_chore_between(move |core, held| {
            let status = core.observatory.snapshots.clone();
            status.set_followed(core.feed_place().or(followed));
            core.settle_all(held);
            let mut shards: Vec<&mut Shard> = held.iter_mut().map(|shard| &mut **shard).collect();
            let mut shards = Shards::new(&mut shards, core.shards);
            let answer = match save_here(&mut shards, background, schedule) {
                Ok(words) => CoreAnswer::Reply(words.as_bytes().to_vec()),
                Err(error) => CoreAnswer::Failed(error.as_bytes().to_vec()),
            };
            status.set_followed(None);
            core.reply_to(usize::from(asker.0), asker.1, answer);
        });
    }

    /// Writes the last snapshot before the server stops, and lets nothing happen after it: when all is well the shards
    /// are given back to nobody.
    pub(super) fn save_finally(
        &mut self,
        asker: (u16, u64),
        force: bool,
        followed: Option<StreamPlace>,
    ) {
        self.begin_chore_between(move |core, held| {
            let status = core.observatory.snapshots.clone();
            status.set_followed(core.feed_place().or(followed));
            if status.saves.cancel(Purpose::Snapshot) {
                log::warn!("There is a child saving an .rdb. Killing it!");
            }
            log::info!("Saving the final RDB snapshot before exiting.");
            let mut shards: Vec<&mut Shard> = held.iter_mut().map(|shard| &mut **shard).collect();
            let saved = saving::save_now(&mut Shards::new(&mut shards, core.shards));
            match (saved, force) {
                (true, _) => {}
                (false, true) => log::warn!("Error trying to save the DB. Exit anyway."),
                (false, false) => log::warn!("Error trying to save the DB, can't exit."),
            }
            let answer = if saved || force {
                // Freeing them would take its time, and the process ends.
                held.drain(..).for_each(std::mem::forget);
                CoreAnswer::Done
            } else {
                CoreAnswer::Failed(Vec::new())
            };
            status.set_followed(None);
            core.reply_to(usize::from(asker.0), asker.1, answer);
        });
    }
}
