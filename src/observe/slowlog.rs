//! The slow log: the last commands that took longer than `slowlog-log-slower-than`.
//!
//! One for all cores, behind a lock that only slow commands and SLOWLOG itself take, so the data path never meets it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Arguments kept of a command, the note about those left out included (as in Redis).
const ARGUMENTS_MAX: usize = 32;
/// Bytes kept of one argument (as in Redis).
const ARGUMENT_BYTES_MAX: usize = 128;

/// What stands in place of an argument that nobody may read.
pub const REDACTED: &[u8] = b"(redacted)";

/// A slow command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowEntry {
    /// Rises by one with each entry since start; SLOWLOG RESET does not set it back.
    pub id: u64,
    /// When it ended, Unix seconds.
    pub time_s: i64,
    /// How long it ran, in microseconds.
    pub duration_us: u64,
    /// Its arguments, cut as Redis cuts them.
    pub args: Vec<Vec<u8>>,
    /// `ip:port` of the client.
    pub peer: String,
    /// Name of the client.
    pub name: Vec<u8>,
}

/// The log, newest entry first.
#[derive(Debug, Default)]
pub struct SlowLog {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    next_id: u64,
    entries: VecDeque<SlowEntry>,
}

impl SlowLog {
    fn held(&self) -> MutexGuard<'_, Held> {
        // The lock guards a plain list that is whole after every statement.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a command; the oldest ones beyond `entries_max` (`slowlog-max-len`) go. `args` must be free of secrets.
    pub fn record<'a>(
        &self,
        now_ms: i64,
        duration_us: u64,
        args: impl ExactSizeIterator<Item = &'a [u8]>,
        peer: &str,
        name: &[u8],
        entries_max: u64,
    ) {
        if entries_max == 0 {
            return;
        }
        let args = shortened(args);
        let mut held = self.held();
        let id = held.next_id;
        held.next_id += 1;
        held.entries.push_front(SlowEntry {
            id,
            time_s: now_ms / 1000,
            duration_us,
            args,
            peer: peer.to_owned(),
            name: name.to_vec(),
        });
        let kept = usize::try_from(entries_max).unwrap_or(usize::MAX);
        held.entries.truncate(kept);
    }

    /// The newest entries, at most so many.
    pub fn newest(&self, count: usize) -> Vec<SlowEntry> {
        self.held().entries.iter().take(count).cloned().collect()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.held().entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all entries.
    pub fn reset(&self) {
        self.held().entries.clear();
    }
}

fn shortened<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let count = args.len();
    let whole = if count > ARGUMENTS_MAX {
        ARGUMENTS_MAX - 1
    } else {
        count
    };
    let mut kept: Vec<Vec<u8>> = args.take(whole).map(shortened_argument).collect();
    if whole < count {
        kept.push(format!("... ({} more arguments)", count - whole).into_bytes());
    }
    kept
}

fn shortened_argument(arg: &[u8]) -> Vec<u8> {
    if arg.len() <= ARGUMENT_BYTES_MAX {
        return arg.to_vec();
    }
    let mut kept = arg[..ARGUMENT_BYTES_MAX].to_vec();
    kept.extend(format!("... ({} more bytes)", arg.len() - ARGUMENT_BYTES_MAX).into_bytes());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(log: &SlowLog, args: &[&[u8]], entries_max: u64) {
        log.record(
            1_700_000_000_999,
            12,
            args.iter().copied(),
            "1.2.3.4:5",
            b"n",
            entries_max,
        );
    }

    #[test]
    fn the_newest_entries_are_kept_and_ids_go_on_after_a_reset() {
        let log = SlowLog::default();
        for _ in 0..5 {
            add(&log, &[b"GET", b"k"], 3);
        }
        let ids: Vec<u64> = log.newest(10).iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [4, 3, 2]);
        assert_eq!(log.newest(1)[0].time_s, 1_700_000_000);
        log.reset();
        assert!(log.is_empty());
        add(&log, &[b"GET"], 3);
        assert_eq!(log.newest(1)[0].id, 5);
        add(&log, &[b"GET"], 0);
        assert_eq!(log.len(), 1);
    }

    #[test]
    fn long_commands_and_long_arguments_are_cut_as_redis_cuts_them() {
        let log = SlowLog::default();
        let long = [b'x'; 200];
        let mut args: Vec<&[u8]> = vec![b"a"; 40];
        args[1] = &long;
        add(&log, &args, 10);
        let kept = &log.newest(1)[0].args;
        assert_eq!(kept.len(), 32);
        assert_eq!(kept[31], b"... (9 more arguments)");
        assert_eq!(kept[1].len(), 128 + "... (72 more bytes)".len());
        add(&log, &[b"a".as_slice(); 32], 10);
        assert_eq!(log.newest(1)[0].args.len(), 32);
        assert_eq!(log.newest(1)[0].args[31], b"a");
    }
}
