//! How much happens each second just now: counters looked at ten times a second, over the last sixteen looks.

use std::sync::{Mutex, PoisonError};

/// Looks that a rate is made of (as in Redis).
const LOOKS: usize = 16;

/// Counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Look {
    /// Unix milliseconds.
    pub time_ms: i64,
    /// Commands run.
    pub commands: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Loop turns.
    pub turns: u64,
    /// Microseconds in loop turns.
    pub busy_us: u64,
}

/// Rates each second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Commands.
    pub commands: u64,
    /// Kilobytes read.
    pub kb_in: f64,
    /// Kilobytes written.
    pub kb_out: f64,
    /// Loop turns.
    pub turns: u64,
    /// Microseconds of a loop turn.
    pub turn_us: u64,
}

/// The last looks. The control core writes; INFO reads.
#[derive(Debug, Default)]
pub struct Rates {
    looks: Mutex<Vec<Look>>,
}

impl Rates {
    /// Adds a look; to be called every 100 milliseconds while there is something to count.
    pub fn record(&self, look: Look) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        // After a reset of the counters the past says nothing.
        if looks
            .last()
            .is_some_and(|last| last.commands > look.commands || last.time_ms > look.time_ms)
        {
            looks.clear();
        }
        if looks.len() == LOOKS {
            looks.remove(0);
        }
        looks.push(look);
    }

    /// What the looks come to. A look that is long past counts with the time since, so that rates fall to zero when
    /// nobody looks because nothing happens.
    pub fn now(&self, now_ms: i64) -> Rate {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(first), Some(last)) = (looks.first(), looks.last()) else {
            return Rate::default();
        };
        let passed_ms = now_ms.max(last.time_ms) - first.time_ms;
        if passed_ms <= 0 {
            return Rate::default();
        }
        let each_second =
            |from: u64, to: u64| to.saturating_sub(from) as f64 * 1000.0 / passed_ms as f64;
        let turns = last.turns.saturating_sub(first.turns);
        Rate {
            commands: each_second(first.commands, last.commands) as u64,
            kb_in: each_second(first.bytes_in, last.bytes_in) / 1024.0,
            kb_out: each_second(first.bytes_out, last.bytes_out) / 1024.0,
            turns: each_second(first.turns, last.turns) as u64,
            turn_us: last.busy_us.saturating_sub(first.busy_us) / turns.max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_covers_the_last_looks_and_falls_when_nobody_looks() {
        let rates = Rates::default();
        assert_eq!(rates.now(0), Rate::default());
        for look in 0..100u64 {
            rates.record(Look {
                time_ms: look as i64 * 100,
                commands: look * 50,
                bytes_in: look * 1024,
                ..Look::default()
            });
        }
        let rate = rates.now(9900);
        assert_eq!((rate.commands, rate.kb_in), (500, 10.0));
        assert_eq!(rates.now(9900 + 13_500).commands, 50);
        rates.record(Look {
            time_ms: 10_000,
            ..Look::default()
        });
        assert_eq!(rates.now(10_100).commands, 0);
    }
}
