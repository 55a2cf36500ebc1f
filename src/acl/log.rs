//! The log of denials: who was refused what, and how often of late.

use std::collections::VecDeque;

use super::user::Reason;

/// Denials alike within this time count as one entry.
const SAME_WITHIN_MS: u64 = 60_000;
/// Newest entries looked at for one alike.
const LOOK_BACK: usize = 10;

/// From where a refused command came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// A client sent it.
    TopLevel,
    /// It stood in a transaction.
    Multi,
    /// A script called it.
    Script,
}

impl Context {
    /// The word in ACL LOG.
    pub fn name(self) -> &'static str {
        match self {
            Context::TopLevel => "toplevel",
            Context::Multi => "multi",
            Context::Script => "lua",
        }
    }
}

impl Reason {
    /// The word in ACL LOG.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Auth => "auth",
            Reason::Channel => "channel",
        }
    }
}

/// Denials of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// How many.
    pub count: u64,
    /// Why.
    pub reason: Reason,
    /// From where.
    pub context: Context,
    /// The command, key or channel that was refused.
    pub object: Vec<u8>,
    /// Who was refused.
    pub user: Vec<u8>,
    /// The last client's line of CLIENT LIST.
    pub client: Vec<u8>,
    /// Rises by one with each new entry since start.
    pub id: u64,
    /// First denial, Unix milliseconds.
    pub created_ms: i64,
    /// Last denial, Unix milliseconds.
    pub updated_ms: i64,
}

/// The log, newest entry first.
#[derive(Debug, Default)]
pub struct DenialLog {
    entries: VecDeque<LogEntry>,
    next_id: u64,
}

impl DenialLog {
    /// Adds a denial: `entry` as a first one, its `id` not set. The oldest entries beyond `entries_max`
    /// (`acllog-max-len`) go.
    pub fn record(&mut self, mut entry: LogEntry, entries_max: u64) {
        let alike = |known: &LogEntry| {
            known.reason == entry.reason
                && known.context == entry.context
                && known.updated_ms.abs_diff(entry.updated_ms) <= SAME_WITHIN_MS
                && known.object == entry.object
                && known.user == entry.user
        };
        let place = self.entries.iter().take(LOOK_BACK).position(alike);
        if let Some(mut known) = place.and_then(|place| self.entries.remove(place)) {
            known.client = entry.client;
            known.updated_ms = entry.updated_ms;
            known.count += 1;
            self.entries.push_front(known);
            return;
        }
        entry.id = self.next_id;
        self.next_id += 1;
        self.entries.push_front(entry);
        let kept = usize::try_from(entries_max).unwrap_or(usize::MAX);
        self.entries.truncate(kept);
    }

    /// The newest entries, at most so many.
    pub fn newest(&self, count: usize) -> Vec<LogEntry> {
        self.entries.iter().take(count).cloned().collect()
    }

    /// Forgets all entries.
    pub fn reset(&mut self) {
        self.entries.clear();
    }
}
