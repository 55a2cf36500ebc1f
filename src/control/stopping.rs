//! SHUTDOWN: waiting for replicas, the last snapshot, the stop.
//!
//! Replicas that lag are waited for, for `shutdown-timeout` seconds, while writes are held back; SHUTDOWN ABORT calls that
//! off. Then the last snapshot is written where one is wanted, and the cores stop.

use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use crate::base::clock::unix_ms;
use crate::base::sys;
use crate::mesh::message::{CoreAnswer, CoreAsk, CoreMessage};
use crate::persistence::status::Purpose;
use crate::resp::ErrorReply;

use super::core::{Control, FINAL_SAVE};

/// A stop that waits for replicas.
pub(super) struct Waiting {
    save: Option<bool>,
    force: bool,
    askers: Vec<(u16, u64)>,
    /// Until when, Unix milliseconds.
    until_ms: i64,
}

/// What SHUTDOWN says.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShutdownOrder {
    /// `Some(true)` SAVE, `Some(false)` NOSAVE.
    pub save: Option<bool>,
    /// Do not wait for replicas.
    pub now: bool,
    /// Go on where saving fails.
    pub force: bool,
}

impl Control {
    /// Stops the server: waits for replicas first, then for the last snapshot, where one is wanted. When it cannot be
    /// written `asker` is told.
    pub(super) fn shut_down(&mut self, order: ShutdownOrder, asker: Option<(u16, u64)>) {
        if let Some(askers) = &mut self.stopping_for {
            askers.extend(asker);
            return;
        }
        if let Some(waiting) = &mut self.waiting_to_stop {
            waiting.askers.extend(asker);
            return;
        }
        let ShutdownOrder { save, now, force } = order;
        if self.saves_at_end(save)
            && let Some((from, ticket)) = asker
        {
            // A script that runs too long holds what is to be saved (SHUTDOWN, 7.2).
            let busy = self.observatory.scripts.busy_ones();
            if let Some(running) = busy.first() {
                let error = match running.is_eval {
                    true => ErrorReply::BUSY_SCRIPT,
                    false => ErrorReply::BUSY_FUNCTION,
                };
                self.answer(from, ticket, CoreAnswer::Failed(error.as_bytes().to_vec()));
                return;
            }
        }
        log::info!("User requested shutdown...");
        let askers = asker.into_iter().collect();
        let timeout = i64::from(self.config.shutdown_timeout_s);
        if now || timeout == 0 || self.replicas.count() == 0 {
            self.finish_shutdown(save, force, askers);
            return;
        }
        let until_ms = unix_ms().saturating_add(timeout * 1000);
        self.waiting_to_stop = Some(Waiting {
            save,
            force,
            askers,
            until_ms,
        });
        let status = &self.observatory.replication;
        status
            .stop_waits_until_ms
            .store(until_ms, Ordering::Relaxed);
        // Nothing may be acknowledged to a client that replicas do not get.
        self.spread_pause();
        if !self.replicas_are_ready() {
            self.replicas.ack_wanted = true;
            log::info!("Waiting for replicas before shutting down.");
        }
    }

    /// Whether a stop waits for replicas.
    pub(super) fn stop_waits(&self) -> bool {
        self.waiting_to_stop.is_some()
    }

    fn saves_at_end(&self, save: Option<bool>) -> bool {
        // What is half loaded must not replace the file that it comes from.
        let loading = self.observatory.snapshots.loading.load(Ordering::Relaxed);
        !loading && save.unwrap_or(!self.config.save.is_empty())
    }

    fn replicas_are_ready(&mut self) -> bool {
        self.drain_stream();
        let offset = self.offset_of_changes();
        self.replicas.iter().all(|replica| replica.acked >= offset)
    }

    /// Goes on with a stop when replicas have all there is, or time is over.
    pub(super) fn mind_shutdown(&mut self, now: i64) {
        let Some(waiting) = &self.waiting_to_stop else {
            return;
        };
        let is_over = waiting.until_ms <= now;
        if !is_over && (self.is_spreading_pause() || !self.replicas_are_ready()) {
            return;
        }
        self.log_laggards(now);
        if let Some(Waiting {
            save,
            force,
            askers,
            ..
        }) = self.waiting_to_stop.take()
        {
            self.finish_shutdown(save, force, askers);
        }
    }

    fn log_laggards(&mut self, now: i64) {
        let offset = self.offset_of_changes();
        let (mut all, mut ready) = (0, 0);
        for replica in self.replicas.iter() {
            all += 1;
            if replica.acked >= offset {
                ready += 1;
                continue;
            }
            log::info!(
                "Lagging replica {} reported offset {} behind master, lag={}, state={}.",
                replica.name(),
                offset - replica.acked,
                replica.lag_s(now),
                replica.state().word()
            );
        }
        if all > 0 {
            log::info!("{ready} of {all} replicas are in sync when shutting down.");
        }
    }

    /// SHUTDOWN ABORT: false when no stop can be called off.
    pub(super) fn abort_shutdown(&mut self) -> bool {
        let Some(waiting) = self.waiting_to_stop.take() else {
            return false;
        };
        self.spread_pause();
        log::info!("Shutdown manually aborted.");
        self.refuse_shutdown(waiting.askers);
        true
    }

    fn fail_shutdown(&mut self, askers: Vec<(u16, u64)>) {
        log::warn!("Errors trying to shut down the server. Check the logs for more information.");
        self.refuse_shutdown(askers);
    }

    fn refuse_shutdown(&mut self, askers: Vec<(u16, u64)>) {
        let status = &self.observatory.replication;
        status.stop_waits_until_ms.store(0, Ordering::Relaxed);
        for (core, ticket) in askers {
            let text = ErrorReply::SHUTDOWN_FAILED.as_bytes().to_vec();
            self.answer(core, ticket, CoreAnswer::Failed(text));
        }
    }

    fn finish_shutdown(&mut self, save: Option<bool>, force: bool, askers: Vec<(u16, u64)>) {
        let status = &self.observatory.snapshots;
        let loading = status.loading.load(Ordering::Relaxed);
        if self.config.appendonly && !loading && !status.log.complete.load(Ordering::Relaxed) {
            // The append-only files are what a start would read, and they do not hold the data yet (SHUTDOWN, 7.2).
            if force {
                log::warn!("Writing initial AOF. Exit anyway.");
            } else {
                log::warn!("Writing initial AOF, can't exit.");
                self.spread_pause();
                self.fail_shutdown(askers);
                return;
            }
        }
        if !self.saves_at_end(save) {
            self.stop();
            return;
        }
        self.stopping_for = Some(askers);
        let first = self.links.core(0);
        first.mail(CoreMessage::Ask {
            from: self.links.shards() as u16,
            ticket: FINAL_SAVE,
            ask: CoreAsk::FinalSave {
                force,
                followed: self.followed_place(),
            },
        });
        first.wake_by_event();
    }

    /// The last snapshot is written, or cannot be.
    pub(super) fn on_final_save(&mut self, answer: &CoreAnswer) {
        let askers = self.stopping_for.take().unwrap_or_default();
        if !matches!(answer, CoreAnswer::Failed(_)) {
            self.stop();
            return;
        }
        self.spread_pause();
        self.fail_shutdown(askers);
    }

    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.give_up_copy();
        let saves = &self.observatory.snapshots.saves;
        if saves.cancel(Purpose::Rewrite) {
            log::warn!("There is a child rewriting the AOF. Killing it!");
        }
        if saves.cancel(Purpose::Snapshot) {
            log::warn!("There is a child saving an .rdb. Killing it!");
        }
        // Nobody is let in any more before the first client is sent away: who reconnects finds nothing to connect to.
        for listener in self.listeners.iter().flatten() {
            sys::shutdown_socket(listener.fd.as_raw_fd());
        }
        self.observatory
            .snapshots
            .stopping
            .store(true, Ordering::Relaxed);
        let uptime = unix_ms() - self.observatory.started_ms;
        log::info!("Server stops after {} seconds", uptime / 1000);
        for core in self.links.shard_cores() {
            core.mail(CoreMessage::Stop);
            core.wake_by_event();
        }
    }
}
