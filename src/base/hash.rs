//! The one hash function of keys and members: aHash, keyed at start so that nobody can prepare colliding keys.

use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

static STATE: OnceLock<ahash::RandomState> = OnceLock::new();

/// Fixes the key of the hash function. Called once, before the first table exists; later calls change nothing, because
/// tables stand on it. A process that never calls it gets a random key at the first use.
pub fn seed(seed: [u64; 4]) {
    let [a, b, c, d] = seed;
    let _ = STATE.set(ahash::RandomState::with_seeds(a, b, c, d));
}

/// The 64-bit hash of a key or a member. Stable for the life of the process, different in every process.
#[inline]
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = STATE.get_or_init(ahash::RandomState::new).build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_stable_within_a_process_and_spreads() {
        assert_eq!(hash(b"key"), hash(b"key"));
        let low: std::collections::HashSet<u64> = (0..4096u32)
            .map(|i| hash(&i.to_le_bytes()) & 0xfff)
            .collect();
        assert!(low.len() > 2000, "low bits take {} values", low.len());
    }
}
