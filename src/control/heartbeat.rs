//! Whether the shards' cores are alive: one that hangs makes its node behave as failed, so that a replica takes over.
//!
//! Each turn of a core's loop moves its counter of turns, which is there anyway; the control core looks at it ten times a
//! second, so the request path knows nothing of this. A core that sleeps does not hang: it is woken to be asked, and answers
//! with a turn. A process that was stopped as a whole is not held against the cores: what counts is time in which the
//! control core ran.
//!
//! A node with a core that hangs is cut off from the bus (`silence.rs` in `cluster/`): it says nothing and hears nothing, as behind a broken
//! cable. What follows is what follows from that: the others fail it over, and its own part of the machine, which sees
//! nobody any more, stops serving the shards that still run before that. When the core turns again the node is there again.

use crate::base::clock::unix_ms;

use super::core::{CRON, Control};

/// A core is asked when it has not turned for this part of what it may take.
const ASKED_AT: i64 = 4;

/// What is known of one core.
#[derive(Clone, Debug, Default)]
struct Pulse {
    turns: u64,
    /// For how long the counter has not moved.
    still_ms: i64,
    hangs: bool,
}

/// What a look at a core has shown.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// It turns, or may take longer.
    Alive,
    /// It may be asleep: wake it and see.
    Quiet,
    /// It has just been found to hang.
    Hangs,
    /// It had hung for so long and turns again.
    Back { still_ms: i64 },
}

impl Pulse {
    /// A look `elapsed_ms` after the last one; `bound_ms` is how long a turn may take.
    fn look(&mut self, turns: u64, elapsed_ms: i64, bound_ms: i64) -> Found {
        if turns != self.turns {
            let still_ms = self.still_ms + elapsed_ms;
            let hung = self.hangs;
            *self = Pulse {
                turns,
                ..Pulse::default()
            };
            return match hung {
                true => Found::Back { still_ms },
                false => Found::Alive,
            };
        }
        self.still_ms += elapsed_ms;
        if self.still_ms >= bound_ms && !self.hangs {
            self.hangs = true;
            return Found::Hangs;
        }
        match self.still_ms >= bound_ms / ASKED_AT {
            true => Found::Quiet,
            false => Found::Alive,
        }
    }
}

/// The pulses of all shards' cores.
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    pulses: Vec<Pulse>,
    looked_ms: i64,
}

impl Control {
    /// A tenth of a second has passed: looks at every core.
    pub(super) fn mind_cores(&mut self) {
        let now = unix_ms();
        let cron_ms = CRON.as_millis() as i64;
        let since_ms = now - std::mem::replace(&mut self.heartbeat.looked_ms, now);
        let elapsed_ms = since_ms.clamp(0, 2 * cron_ms);
        // Half of it: a silence that ends before the whole has passed is noticed by nobody, as in Redis.
        let bound_ms = (self.config.cluster_node_timeout_ms / 2).max(4 * cron_ms);
        let shards = self.links.shards();
        self.heartbeat.pulses.resize(shards, Pulse::default());
        for core in 0..shards {
            let turns = self.observatory.core(core).turns.get();
            let pulse = &mut self.heartbeat.pulses[core];
            match pulse.look(turns, elapsed_ms, bound_ms) {
                Found::Alive => continue,
                Found::Quiet => self.links.core(core).wake_by_event(),
                Found::Hangs => {
                    let then = match self.bus.is_some() {
                        true => " This node keeps silent on the cluster bus until it does.",
                        false => "",
                    };
                    log::warn!(
                        "Shard {core} hangs: its core has not turned for {bound_ms} ms.{then}"
                    );
                }
                Found::Back { still_ms } => {
                    log::warn!("Shard {core} is back: its core had not turned for {still_ms} ms.");
                }
            }
        }
        let hangs = self.heartbeat.pulses.iter().any(|pulse| pulse.hangs);
        self.keep_silent(hangs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every 100 ms at a counter that stands still; what was found last, and after how long something else than Alive was.
    fn still(pulse: &mut Pulse, turns: u64, looks: usize) -> Vec<Found> {
        (0..looks).map(|_| pulse.look(turns, 100, 1000)).collect()
    }

    #[test]
    fn a_core_that_stands_still_is_asked_first_and_hangs_once() {
        let mut pulse = Pulse::default();
        assert_eq!(pulse.look(7, 100, 1000), Found::Alive);
        let found = still(&mut pulse, 7, 12);
        assert_eq!(found.iter().filter(|one| **one == Found::Alive).count(), 2);
        assert_eq!(found[2..9], [const { Found::Quiet }; 7]);
        assert_eq!(found[9..], [Found::Hangs, Found::Quiet, Found::Quiet]);
        assert_eq!(pulse.look(8, 100, 1000), Found::Back { still_ms: 1300 });
        assert_eq!(pulse.look(9, 100, 1000), Found::Alive);
    }

    #[test]
    fn a_core_that_answers_never_hangs_and_a_counter_that_begins_anew_is_an_answer() {
        let mut pulse = Pulse::default();
        for turn in 1..100 {
            assert_eq!(pulse.look(turn, 100, 1000), Found::Alive);
        }
        still(&mut pulse, 99, 5);
        assert_eq!(pulse.look(0, 100, 1000), Found::Alive, "CONFIG RESETSTAT");
        assert_eq!(pulse.still_ms, 0);
    }
}
