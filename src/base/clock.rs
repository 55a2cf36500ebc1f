//! Time: the wall clock for expiry, the cycle counter for what a command costs.
//!
//! Pure rooms never read either; the engine reads the wall clock once a turn and hands it down.
#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub fn unix_ms() -> i64 {
    unix_us() / 1000
}

/// Microseconds since the Unix epoch.
pub fn unix_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_micros() as i64)
}

/// Ticks of a steady counter: the time-stamp counter where the CPU has one, else nanoseconds.
///
/// A reading costs some eight nanoseconds where a system clock costs twenty-five, and each command is timed.
#[inline]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: RDTSC reads a register and has no precondition on any x86-64 CPU.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}

/// Converts ticks to nanoseconds by a scale measured once at start.
#[derive(Clone, Copy, Debug)]
pub struct TickScale {
    /// Nanoseconds per tick, as a 32.32 fixed-point number.
    ns_per_tick: u64,
}

impl TickScale {
    /// Measures the counter against the monotonic clock; takes two milliseconds, once a process.
    pub fn measured() -> Self {
        static SCALE: OnceLock<TickScale> = OnceLock::new();
        *SCALE.get_or_init(|| {
            let (start, start_ticks) = both_clocks();
            while start.elapsed().as_nanos() < 2_000_000 {
                std::hint::spin_loop();
            }
            let (end, end_ticks) = both_clocks();
            let ns = end.duration_since(start).as_nanos();
            let passed = end_ticks.wrapping_sub(start_ticks).max(1);
            TickScale {
                ns_per_tick: ((ns << 32) / u128::from(passed)) as u64,
            }
        })
    }

    /// Nanoseconds in so many ticks.
    #[inline]
    pub fn ns(self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.ns_per_tick)) >> 32) as u64
    }

    /// Ticks in so many nanoseconds.
    pub fn ticks(self, ns: u64) -> u64 {
        ((u128::from(ns) << 32) / u128::from(self.ns_per_tick.max(1))) as u64
    }
}

/// One moment on both clocks: of several readings the one that was least held up between them. A thread that loses its
/// processor there would put the two milliseconds apart, and everything that is measured with them later.
fn both_clocks() -> (Instant, u64) {
    let read = || {
        let before = ticks();
        let now = Instant::now();
        (ticks().wrapping_sub(before), now, before)
    };
    let (width, now, before) = (0..16)
        .map(|_| read())
        .min_by_key(|reading| reading.0)
        .expect("sixteen readings");
    (now, before.wrapping_add(width / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_turns_ticks_into_time_and_back() {
        let scale = TickScale::measured();
        let ticks = scale.ticks(1_000_000);
        let ns = scale.ns(ticks);
        assert!((999_000..=1_001_000).contains(&ns), "{ns}");
    }
}
