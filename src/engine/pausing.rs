//! CLIENT PAUSE on one core, and the pauses of a hand-over and of a stop: what is held back, and when the pause may be
//! reported.
//!
//! A core holds commands back at once, but some that came before may be on their way to other cores. It says that the
//! pause is in force when these have run: then nothing that is held back runs anywhere, and the offset of the stream is
//! the last one.

use std::sync::Arc;

use crate::mesh::message::CoreAnswer;
use crate::transaction::Transaction;

use super::core::Core;

/// A pause as this core knows it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pause {
    /// Unix milliseconds; zero for none.
    pub until_ms: i64,
    pub writes_only: bool,
}

/// Whoever waits for a pause to be in force, and what was under way when it began.
pub(super) struct Pausing {
    asker: (u16, u64),
    /// For each core: what was sent to it, once all of it has been.
    sent: Vec<Option<u64>>,
    steps: Vec<Arc<Transaction>>,
}

impl Core {
    /// A pause begins, changes or ends. The asker is answered at once unless it `waits`.
    pub(super) fn pause(&mut self, pause: Pause, waits: bool, asker: (u16, u64)) {
        self.pause = pause;
        self.settle_expiry();
        if pause.until_ms == 0 {
            self.end_pause();
        }
        if !waits {
            self.reply_to(asker.0.into(), asker.1, CoreAnswer::Done);
            return;
        }
        let steps = self.under_way.iter().chain(&self.to_schedule);
        self.pausing.push(Pausing {
            asker,
            sent: vec![None; self.shards],
            steps: steps.cloned().collect(),
        });
        self.report_pauses();
    }

    /// Says of pauses that they are in force, where that is so. At the end of a turn.
    pub(super) fn report_pauses(&mut self) {
        let mut pausing = std::mem::take(&mut self.pausing);
        pausing.retain_mut(|pausing| {
            let is_over = self.has_run(pausing);
            if is_over {
                let (core, ticket) = pausing.asker;
                self.reply_to(core.into(), ticket, CoreAnswer::Done);
            }
            !is_over
        });
        self.pausing = pausing;
    }

    /// Whether all that was under way when a pause began has run.
    fn has_run(&self, pausing: &mut Pausing) -> bool {
        let same = |one: &Arc<Transaction>, other: &Arc<Transaction>| Arc::ptr_eq(one, other);
        pausing.steps.retain(|step| {
            let mut left = self.under_way.iter().chain(&self.to_schedule);
            left.any(|other| same(step, other))
        });
        let mut has_run = pausing.steps.is_empty() && !self.runs_script;
        for (outgoing, sent) in self.outgoing.iter().zip(&mut pausing.sent) {
            if sent.is_none() && outgoing.requests.is_empty() {
                *sent = Some(outgoing.sent);
            }
            let returned = outgoing.sent - outgoing.in_flight as u64;
            has_run &= sent.is_some_and(|sent| returned >= sent);
        }
        has_run
    }

    /// Lets go on what a pause held back.
    pub(super) fn end_pause(&mut self) {
        self.pause = Pause::default();
        self.settle_expiry();
        self.let_go();
    }

    /// Has requests that were held back try again.
    pub(super) fn let_go(&mut self) {
        let paused = std::mem::take(&mut self.blocked_by_pause);
        let blocked = self.counters().blocked.get();
        self.counters()
            .blocked
            .set(blocked.saturating_sub(paused.len() as u64));
        for index in paused {
            if let Some(mut connection) = self.connections[index as usize].take() {
                connection.waiting = false;
                self.resume(&mut connection);
                self.put_back(connection);
            }
        }
    }
}
