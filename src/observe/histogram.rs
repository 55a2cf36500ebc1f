//! A histogram of durations with a relative error below four percent, in eight kilobytes.
//!
//! Log-linear: thirty-two equal steps to each power of two, the scheme of HDR histograms. Written by one core.

use super::counters::Counter;

const STEP_BITS: u32 = 5;
const STEPS: usize = 1 << STEP_BITS;
/// Powers of two above the linear start: up to some 70 seconds in nanoseconds.
const POWERS: usize = 32;

/// Counts of durations in nanoseconds.
#[derive(Debug)]
pub struct Histogram {
    counts: Vec<Counter>,
}

impl Default for Histogram {
    fn default() -> Self {
        let mut counts = Vec::new();
        counts.resize_with(STEPS * (POWERS + 1), Counter::default);
        Histogram { counts }
    }
}

impl Histogram {
    #[inline]
    fn place(ns: u64) -> usize {
        let power = (u64::BITS - ns.leading_zeros()).saturating_sub(STEP_BITS + 1);
        let step = (ns >> power) as usize;
        let place = if power == 0 {
            step
        } else {
            power as usize * STEPS + step
        };
        place.min(STEPS * (POWERS + 1) - 1)
    }

    /// The largest value of a place.
    fn upper(place: usize) -> u64 {
        if place < 2 * STEPS {
            return place as u64;
        }
        let power = place / STEPS - 1;
        let step = place % STEPS + STEPS;
        ((step as u64 + 1) << power) - 1
    }

    /// Counts one duration.
    #[inline]
    pub fn record(&self, ns: u64) {
        self.counts[Self::place(ns)].add(1);
    }

    /// Sets everything to zero.
    pub fn reset(&self) {
        self.counts.iter().for_each(|count| count.set(0));
    }

    /// Adds this histogram's counts to `total`, which has a place for each.
    pub fn add_to(&self, total: &mut Vec<u64>) {
        total.resize(self.counts.len(), 0);
        for (sum, count) in total.iter_mut().zip(&self.counts) {
            *sum += count.get();
        }
    }

    /// The duration in nanoseconds below which `percentile` of the counts in `total` lie.
    pub fn percentile(total: &[u64], percentile: f64) -> u64 {
        let all: u64 = total.iter().sum();
        let wanted = ((percentile / 100.0) * all as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (place, &count) in total.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Self::upper(place);
            }
        }
        0
    }

    /// Counts at or below each power of two microseconds, from the first that is not zero on to the last: LATENCY
    /// HISTOGRAM's buckets.
    pub fn by_power_of_two_us(total: &[u64]) -> Vec<(u64, u64)> {
        let mut buckets: Vec<(u64, u64)> = Vec::new();
        let all: u64 = total.iter().sum();
        let mut bound_us = 1u64;
        let (mut place, mut seen) = (0, 0u64);
        while seen < all {
            while place < total.len() && Self::upper(place) < bound_us * 1000 {
                seen += total[place];
                place += 1;
            }
            let before = buckets.last().map_or(0, |bucket| bucket.1);
            if seen > before {
                buckets.push((bound_us, seen));
            }
            if place >= total.len() {
                break;
            }
            bound_us *= 2;
        }
        buckets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_within_two_steps_of_its_place() {
        for shift in 0..36 {
            for extra in [0u64, 1, 3] {
                let ns = (1u64 << shift) + extra * (1u64 << shift) / 5;
                let upper = Histogram::upper(Histogram::place(ns));
                assert!(
                    upper >= ns && upper as f64 <= ns as f64 * 1.05 + 1.0,
                    "{ns} -> {upper}"
                );
            }
        }
    }

    #[test]
    fn percentiles_and_buckets_come_from_the_counts() {
        let histogram = Histogram::default();
        for us in 1..=1000u64 {
            histogram.record(us * 1000);
        }
        let mut total = Vec::new();
        histogram.add_to(&mut total);
        let median = Histogram::percentile(&total, 50.0);
        assert!((490_000..=525_000).contains(&median), "{median}");
        let buckets = Histogram::by_power_of_two_us(&total);
        assert_eq!(buckets.last().unwrap().1, 1000);
        assert!(buckets.windows(2).all(|pair| pair[0].1 < pair[1].1));
    }
}
