//! Latency events: when something took longer than `latency-monitor-threshold`, one series of samples for each cause.
//!
//! One for all cores, behind a lock that only slow events and LATENCY take.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Samples kept of one event (as in Redis).
const SAMPLES_MAX: usize = 160;
/// Columns of a graph (as in Redis).
const GRAPH_COLUMNS: usize = 80;
/// Rows of a graph above its labels (as in Redis).
const GRAPH_ROWS: usize = 4;
/// From low to high within one row of a graph; what stands above in the same column is `|`.
const GRAPH_MARKS: &[u8] = b"_o#";

/// The worst latency within one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Unix seconds.
    pub time_s: i64,
    /// Milliseconds.
    pub latency_ms: u64,
}

/// What is known of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Oldest first, at most one for each second.
    pub samples: Vec<Sample>,
    /// The worst latency since start or the last reset, in milliseconds.
    pub worst_ms: u64,
}

/// All events by name.
#[derive(Debug, Default)]
pub struct LatencyEvents {
    held: Mutex<BTreeMap<&'static str, Series>>,
}

impl LatencyEvents {
    fn held(&self) -> MutexGuard<'_, BTreeMap<&'static str, Series>> {
        // A series is whole after every statement that changes it.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a latency of `event` when it reaches the threshold (`latency-monitor-threshold`, zero for never).
    /// Names are Redis's: `command`, `fast-command`, `expire-cycle`, `eviction-cycle`, `eviction-del`.
    pub fn record(&self, event: &'static str, now_ms: i64, latency_ms: u64, threshold_ms: u64) {
        if threshold_ms == 0 || latency_ms < threshold_ms {
            return;
        }
        let mut held = self.held();
        let series = held.entry(event).or_default();
        series.worst_ms = series.worst_ms.max(latency_ms);
        let time_s = now_ms / 1000;
        match series.samples.last_mut() {
            Some(last) if last.time_s == time_s => {
                last.latency_ms = last.latency_ms.max(latency_ms)
            }
            _ => {
                if series.samples.len() == SAMPLES_MAX {
                    series.samples.remove(0);
                }
                series.samples.push(Sample { time_s, latency_ms });
            }
        }
    }

    /// Every event with its series.
    pub fn all(&self) -> Vec<(&'static str, Series)> {
        self.held()
            .iter()
            .map(|(event, series)| (*event, series.clone()))
            .collect()
    }

    /// One event's series.
    pub fn series(&self, event: &[u8]) -> Option<Series> {
        let held = self.held();
        let found = held.iter().find(|(name, _)| name.as_bytes() == event);
        found.map(|(_, series)| series.clone())
    }

    /// Forgets one event, or all; gives how many there were.
    pub fn reset(&self, event: Option<&[u8]>) -> usize {
        let mut held = self.held();
        let before = held.len();
        held.retain(|name, _| event.is_some_and(|event| event != name.as_bytes()));
        before - held.len()
    }
}

impl Series {
    /// The series as characters: LATENCY GRAPH.
    pub fn graph(&self, event: &str, now_s: i64) -> String {
        let latencies = || self.samples.iter().map(|sample| sample.latency_ms);
        let (low, high) = (
            latencies().min().unwrap_or(0),
            latencies().max().unwrap_or(0),
        );
        let mut text = format!(
            "{event} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
            self.worst_ms,
            "-".repeat(GRAPH_COLUMNS)
        );
        for (part, samples) in self.samples.chunks(GRAPH_COLUMNS).enumerate() {
            if part > 0 {
                text.push('\n');
            }
            graph_part(&mut text, samples, low, high, now_s);
        }
        text
    }
}

/// Columns of marks, a blank row, and below each column how long ago it was, read downwards.
fn graph_part(text: &mut String, samples: &[Sample], low: u64, high: u64, now_s: i64) {
    let marks = GRAPH_MARKS.len() as i64;
    let steps = marks * GRAPH_ROWS as i64;
    let range = (high - low).max(1) as f64;
    for row in 0..GRAPH_ROWS {
        let below = (GRAPH_ROWS - row - 1) as i64 * marks;
        for sample in samples {
            let step = ((sample.latency_ms - low) as f64 * steps as f64 / range) as i64;
            let mark = step.min(steps - 1) - below;
            text.push(match usize::try_from(mark) {
                Err(_) => ' ',
                Ok(mark) => GRAPH_MARKS.get(mark).map_or('|', |mark| char::from(*mark)),
            });
        }
        text.push('\n');
    }
    let labels: Vec<String> = samples
        .iter()
        .map(|sample| ago(now_s - sample.time_s))
        .collect();
    let height = labels.iter().map(String::len).max().unwrap_or(0);
    text.extend(std::iter::repeat_n(' ', samples.len()));
    text.push('\n');
    for place in 0..height {
        text.extend(
            labels
                .iter()
                .map(|label| char::from(*label.as_bytes().get(place).unwrap_or(&b' '))),
        );
        text.push('\n');
    }
}

/// Seconds as the largest unit that fits.
fn ago(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m", s / 60),
        s @ 3600..86400 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86400),
    }
}

/// What a person should read about the events: LATENCY DOCTOR.
pub fn doctor(events: &[(&str, Series)], threshold_ms: u64) -> String {
    if threshold_ms == 0 {
        return "Latency events are not recorded. Set latency-monitor-threshold to a number of milliseconds with CONFIG \
                SET, wait until the trouble shows, and ask again.\n"
            .into();
    }
    if events.is_empty() {
        return format!("No event took {threshold_ms} milliseconds or more.\n");
    }
    let mut text = String::from("Events that took longer than they should:\n\n");
    for (place, (event, series)) in events.iter().enumerate() {
        let count = series.samples.len().max(1) as u64;
        let sum: u64 = series.samples.iter().map(|sample| sample.latency_ms).sum();
        let mean = sum / count;
        let deviation: u64 = series
            .samples
            .iter()
            .map(|s| s.latency_ms.abs_diff(mean))
            .sum::<u64>()
            / count;
        let first = series.samples.first().map_or(0, |sample| sample.time_s);
        let last = series.samples.last().map_or(0, |sample| sample.time_s);
        let period = (last - first) as f64 / count as f64;
        text += &format!(
            "{}. {event}: {count} latency spikes (average {mean}ms, mean deviation {deviation}ms, period {period:.2} \
             sec). Worst all time event {}ms.\n",
            place + 1,
            series.worst_ms
        );
    }
    text += "\nWhat may help:\n\n";
    if events.iter().any(|(event, _)| event.ends_with("command")) {
        text += "- SLOWLOG GET shows which commands are slow; commands over big values take time in proportion to \
                 their size.\n";
    }
    if events.iter().any(|(event, _)| event.starts_with("expire")) {
        text += "- Many keys expire at once; spread their times, or lower active-expire-effort.\n";
    }
    if events
        .iter()
        .any(|(event, _)| event.starts_with("eviction"))
    {
        text += "- Memory is used up and keys must go for each write; raise maxmemory or lower \
                 maxmemory-eviction-tenacity.\n";
    }
    text += "- Compare with redis-cli --intrinsic-latency on this machine: what the system itself delays, no server \
             can make good.\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_second_has_one_sample_and_the_threshold_keeps_the_rest_out() {
        let events = LatencyEvents::default();
        events.record("command", 1_000_100, 5, 10);
        events.record("command", 1_000_100, 50, 0);
        assert!(events.all().is_empty());
        events.record("command", 1_000_100, 10, 10);
        events.record("command", 1_000_900, 30, 10);
        events.record("command", 1_000_950, 20, 10);
        events.record("command", 1_001_000, 15, 10);
        let series = events.series(b"command").unwrap();
        let latencies: Vec<u64> = series
            .samples
            .iter()
            .map(|sample| sample.latency_ms)
            .collect();
        assert_eq!((latencies, series.worst_ms), (vec![30, 15], 30));
        for second in 0..500 {
            events.record("command", second * 1000, 11, 10);
        }
        assert_eq!(
            events.series(b"command").unwrap().samples.len(),
            SAMPLES_MAX
        );
        events.record("expire-cycle", 0, 11, 10);
        assert_eq!(events.reset(Some(b"nothing")), 0);
        assert_eq!(events.reset(Some(b"command")), 1);
        assert_eq!(events.reset(None), 1);
    }

    #[test]
    fn a_graph_of_one_sample_is_what_redis_draws() {
        let events = LatencyEvents::default();
        events.record("command", 5_000, 20, 10);
        let graph = events.series(b"command").unwrap().graph("command", 5);
        let bottom = " \n \n \n_\n \n0\ns\n";
        assert_eq!(
            graph,
            format!(
                "command - high 20 ms, low 20 ms (all time high 20 ms)\n{}\n{bottom}",
                "-".repeat(80)
            )
        );
        events.record("command", 70_000, 80, 10);
        let graph = events.series(b"command").unwrap().graph("command", 75);
        assert!(graph.ends_with(" #\n |\n |\n_|\n  \n15\nms\n"), "{graph}");
    }
}
