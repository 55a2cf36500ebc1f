//! Errors by their first word, as INFO errorstats counts them. One for each core, written by that core alone; the lock
//! is there for the reader, and an error is rare enough not to feel it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Kinds told apart. A script or a client that makes words up must not fill the memory: beyond it all count as
/// `ERRORSTATS_OVERFLOW` (as in Redis 7.2.6).
const KINDS_MAX: usize = 128;
const OVERFLOW: &[u8] = b"ERRORSTATS_OVERFLOW";

/// How often each kind was answered.
#[derive(Debug, Default)]
pub struct ErrorKinds {
    held: Mutex<BTreeMap<Box<[u8]>, u64>>,
}

impl ErrorKinds {
    fn held(&self) -> MutexGuard<'_, BTreeMap<Box<[u8]>, u64>> {
        // The map is whole after every statement.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an error by its first word (`ErrorReply::code`).
    pub fn count(&self, code: &[u8]) {
        let mut held = self.held();
        if let Some(count) = held.get_mut(code) {
            *count += 1;
        } else if held.len() < KINDS_MAX {
            held.insert(code.into(), 1);
        } else {
            *held.entry(OVERFLOW.into()).or_default() += 1;
        }
    }

    /// Adds the counts to `total`.
    pub fn add_to(&self, total: &mut BTreeMap<Vec<u8>, u64>) {
        for (code, count) in self.held().iter() {
            *total.entry(code.to_vec()).or_default() += count;
        }
    }

    /// Sets everything to zero.
    pub fn reset(&self) {
        self.held().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_beyond_the_bound_share_one_count() {
        let kinds = ErrorKinds::default();
        for number in 0..200 {
            kinds.count(format!("E{number}").as_bytes());
            kinds.count(b"E0");
        }
        let mut total = BTreeMap::new();
        kinds.add_to(&mut total);
        kinds.add_to(&mut total);
        assert_eq!(total.len(), KINDS_MAX + 1);
        assert_eq!(total[b"E0".as_slice()], 402);
        assert_eq!(total[OVERFLOW], 144);
        kinds.reset();
        let mut total = BTreeMap::new();
        kinds.add_to(&mut total);
        assert!(total.is_empty());
    }
}
