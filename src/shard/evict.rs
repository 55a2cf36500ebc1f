//! Eviction on one shard: how much each key deserves to go under the policy in force, and letting the worst one go.
//!
//! Scores are absolute: they mean the same on every shard and do not change with time alone, so a core can compare its
//! worst key with what another core published a while ago. The engine decides when and where; see `engine/evict.rs`.

use crate::config::{Config, MaxmemoryPolicy};
use crate::keyspace::{Among, KeyEntry, Keyspace, Pool, Weights};
use crate::resp::request::Key;

use super::access::{idle_seconds, is_due, lfu_counter};
use super::own::Shard;

/// Samples taken for a pool without a valid candidate before the look-out is left for later.
const ROUNDS_MAX: usize = 4;
/// The score of a key whose time has come.
const SCORE_DUE: u64 = u64::MAX;
/// What scores by time are counted down from: beyond any Unix time in milliseconds.
const SCORE_EPOCH: u64 = 1 << 62;

/// What a shard remembers between evictions.
#[derive(Debug, Default)]
pub(super) struct Evictor {
    /// The policy under which the pool was filled.
    policy: Option<MaxmemoryPolicy>,
    weights: Weights,
    pool: Pool,
    /// Under a random policy: the best lot among this shard's keys, zero when it must be drawn.
    lot: u64,
}

/// What came of an attempt to evict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// A key has gone.
    Evicted,
    /// There are keys that may go, but this look at some did not show one.
    Missed,
    /// No key may go.
    Nothing,
}

/// The keys that may go under a policy.
fn among(policy: MaxmemoryPolicy) -> Option<Among> {
    use MaxmemoryPolicy::*;
    match policy {
        AllkeysLru | AllkeysLfu | AllkeysRandom => Some(Among::All),
        VolatileLru | VolatileLfu | VolatileRandom | VolatileTtl => Some(Among::Volatile),
        Noeviction => None,
    }
}

fn is_random(policy: MaxmemoryPolicy) -> bool {
    matches!(
        policy,
        MaxmemoryPolicy::AllkeysRandom | MaxmemoryPolicy::VolatileRandom
    )
}

/// How much an entry deserves to go: more is sooner, zero is never. `lot` is what a random policy goes by.
fn score(config: &Config, now: i64, entry: &KeyEntry, lot: u64) -> u64 {
    use MaxmemoryPolicy::*;
    let policy = config.maxmemory_policy;
    if among(policy).is_none_or(|among| among == Among::Volatile && entry.expire_at().is_none()) {
        return 0;
    }
    if is_due(entry, now) {
        return SCORE_DUE;
    }
    match policy {
        AllkeysLru | VolatileLru => {
            let used_s = now / 1000 - i64::from(idle_seconds(entry.clock(), now));
            SCORE_EPOCH.saturating_add_signed(-used_s)
        }
        AllkeysLfu | VolatileLfu => {
            // Of keys used as rarely, the one that was used longest ago.
            let counter = lfu_counter(entry.clock(), now, config.lfu_decay_minutes);
            let used_minute = now / 60_000 - lfu_idle_minutes(entry.clock(), now);
            u64::from(256 - counter) << 40 | (1u64 << 40).saturating_add_signed(-used_minute) >> 1
        }
        VolatileTtl => {
            SCORE_EPOCH.saturating_add_signed(-entry.expire_at().unwrap_or(i64::MAX >> 2))
        }
        AllkeysRandom | VolatileRandom => lot,
        Noeviction => 0,
    }
}

/// Minutes since the last access by an LFU clock.
fn lfu_idle_minutes(clock: u32, now: i64) -> i64 {
    i64::from(((now / 60_000) as u32).wrapping_sub(clock >> 8) & 0xffff)
}

impl Shard {
    /// How many keys may be evicted here under the policy in force.
    pub fn evictable(&self) -> usize {
        among(self.config.maxmemory_policy).map_or(0, |among| self.keyspace.population(among))
    }

    /// How much the worst key known here deserves to go, for comparison with other shards; zero when none is known.
    pub fn worst_score(&mut self) -> u64 {
        let policy = self.config.maxmemory_policy;
        let evictable = self.evictable();
        if evictable == 0 || self.expiry_paused {
            return 0;
        }
        if is_random(policy) {
            // The best of n lots drawn evenly: with it, shards win in proportion to their keys.
            let evictor = &mut self.evictor;
            if evictor.lot == 0 {
                let draw = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
                let shortfall = -(1.0 - draw).ln() / evictable as f64;
                evictor.lot = SCORE_EPOCH - (shortfall * (1u64 << 40) as f64) as u64;
            }
            return evictor.lot;
        }
        for _ in 0..ROUNDS_MAX {
            if let Some(score) = self.settle() {
                return score;
            }
            self.look_for_candidates();
        }
        self.settle().unwrap_or(0)
    }

    /// Evicts the worst key known, after one more look for a worse one.
    pub fn evict_one(&mut self) -> Eviction {
        if self.expiry_paused || !self.look_for_candidates() {
            return Eviction::Nothing;
        }
        if self.settle().is_none() {
            return Eviction::Missed;
        }
        let Some(candidate) = self.evictor.pool.take_worst() else {
            return Eviction::Missed;
        };
        self.evictor.lot = 0;
        let (db, key) = (candidate.db as usize, Key::new(&candidate.key));
        let (keyspace, mut beside) = self.split();
        if let Some(entry) = keyspace.remove(db, &key) {
            if is_due(&entry, beside.now) {
                beside.on_expired(db, &key, entry);
            } else {
                beside.on_evicted(db, &key, entry);
            }
        }
        self.evictor.pool.recycle(candidate);
        Eviction::Evicted
    }

    /// Takes a sample (`maxmemory-samples`) into the pool. False when no key may go.
    fn look_for_candidates(&mut self) -> bool {
        let (now, config) = (self.now, &self.config);
        let policy = config.maxmemory_policy;
        let evictor = &mut self.evictor;
        if evictor.policy != Some(policy) {
            evictor.policy = Some(policy);
            evictor.pool.clear();
            evictor.lot = 0;
        }
        let keyspace: &Keyspace = &self.keyspace;
        let Some(among) = among(policy) else {
            return false;
        };
        // Tables are small while keys are few: then a sample is made of several.
        let mut wanted = config.maxmemory_samples as usize;
        let mut lots = self.random.clone();
        self.random.next_u64();
        while wanted > 0 {
            let Some((db, place)) = evictor.weights.draw(keyspace, among, &mut self.random) else {
                return false;
            };
            let met = keyspace.sample(db, place, among, wanted, &mut self.random, |entry| {
                let score = score(config, now, entry, lots.next_u64() >> 2 | 1);
                evictor.pool.offer(score, db, entry.key());
            });
            if met == 0 {
                break; // few keys have an expiry, and looking for them takes long enough
            }
            wanted -= met;
        }
        true
    }

    /// Drops candidates that have been used, changed or deleted since they were met, until the worst one is what the
    /// pool says it is; gives its score.
    fn settle(&mut self) -> Option<u64> {
        let policy = self.config.maxmemory_policy;
        if self.evictor.policy != Some(policy) {
            self.evictor.pool.clear();
        }
        while let Some(worst) = self.evictor.pool.worst() {
            let found = self.keyspace.find(worst.db as usize, &Key::new(&worst.key));
            let score = found.map_or(0, |entry| score(&self.config, self.now, entry, worst.score));
            if score >= worst.score {
                return Some(score);
            }
            if let Some(stale) = self.evictor.pool.take_worst() {
                self.evictor.pool.recycle(stale);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::keyspace::Value;
    use crate::keyspace::watch::WatchToken;
    use crate::resp::request::Caller;
    use crate::structures::entry::NewValue;
    use crate::structures::set::{Set, SetLimits};

    const START_MS: i64 = 1_700_000_000_000;

    fn shard(policy: MaxmemoryPolicy) -> Shard {
        let mut config = Config::default();
        config.maxmemory_policy = policy;
        let mut shard = Shard::new(0, 1, Arc::new(config), 42);
        shard.set_now(START_MS);
        shard
    }

    fn name(n: usize) -> Vec<u8> {
        format!("key:{n}").into_bytes()
    }

    fn set(shard: &mut Shard, n: usize, ttl_ms: Option<i64>) {
        let (caller, name, now) = (Caller::default(), name(n), shard.now);
        let key = Key::new(&name);
        match ttl_ms {
            Some(ttl) => shard.put_until(&caller, &key, NewValue::Bytes(b"v"), now + ttl),
            None => shard.put(&caller, &key, NewValue::Bytes(b"v"), false),
        }
    }

    /// Which of the keys `0..count` are still there.
    fn survivors(shard: &Shard, count: usize) -> Vec<bool> {
        (0..count)
            .map(|n| shard.keyspace.find(0, &Key::new(&name(n))).is_some())
            .collect()
    }

    fn share(of: &[bool]) -> f64 {
        of.iter().filter(|there| **there).count() as f64 / of.len() as f64
    }

    fn evict(shard: &mut Shard, keys: u64) {
        let mut missed = 0;
        let goal = shard.stats.evicted + keys;
        while shard.stats.evicted < goal {
            match shard.evict_one() {
                Eviction::Evicted => {}
                Eviction::Missed => missed += 1,
                Eviction::Nothing => panic!("{} keys left", shard.keyspace.db(0).keys()),
            }
            assert!(missed < 10_000, "eviction makes progress");
        }
        shard.keyspace.check();
    }

    #[test]
    fn under_lru_the_keys_used_last_stay() {
        for policy in [MaxmemoryPolicy::AllkeysLru, MaxmemoryPolicy::VolatileLru] {
            let mut shard = shard(policy);
            for n in 0..4000 {
                shard.set_now(START_MS + n as i64 * 1000);
                set(&mut shard, n, Some(100_000_000));
            }
            evict(&mut shard, 2000);
            let there = survivors(&shard, 4000);
            assert!(
                share(&there[..1500]) < 0.05,
                "old: {}",
                share(&there[..1500])
            );
            assert!(
                share(&there[2500..]) > 0.95,
                "new: {}",
                share(&there[2500..])
            );
        }
    }

    #[test]
    fn a_candidate_that_has_been_used_since_is_spared() {
        let mut shard = shard(MaxmemoryPolicy::AllkeysLru);
        for n in 0..10 {
            set(&mut shard, n, None);
        }
        shard.set_now(START_MS + 100_000);
        for _ in 0..20 {
            shard.look_for_candidates();
        }
        for n in 1..10 {
            shard.read(&Caller::default(), &Key::new(&name(n)));
        }
        evict(&mut shard, 1);
        assert_eq!(survivors(&shard, 10), [&[false][..], &[true; 9]].concat());
    }

    #[test]
    fn under_lfu_the_keys_used_often_stay() {
        let mut shard = shard(MaxmemoryPolicy::AllkeysLfu);
        for n in 0..2000 {
            set(&mut shard, n, None);
            for _ in 0..if n >= 1000 { 60 } else { 0 } {
                shard.read(&Caller::default(), &Key::new(&name(n)));
            }
        }
        evict(&mut shard, 700);
        let there = survivors(&shard, 2000);
        assert!(
            share(&there[1000..]) > 0.98,
            "hot: {}",
            share(&there[1000..])
        );
    }

    #[test]
    fn under_volatile_ttl_the_keys_that_expire_first_go() {
        let mut shard = shard(MaxmemoryPolicy::VolatileTtl);
        for n in 0..2000 {
            set(&mut shard, n, Some(1_000_000 + n as i64 * 1000));
        }
        evict(&mut shard, 1000);
        let there = survivors(&shard, 2000);
        let (early, late) = (share(&there[..600]), share(&there[1400..]));
        assert!(
            early < 0.1 && late > 0.9,
            "{early} of the first and {late} of the last stay"
        );
    }

    #[test]
    fn volatile_policies_touch_only_keys_with_an_expiry() {
        use MaxmemoryPolicy::*;
        for policy in [VolatileLru, VolatileLfu, VolatileRandom, VolatileTtl] {
            let mut shard = shard(policy);
            for n in 0..3000 {
                set(&mut shard, n, (n % 10 == 0).then_some(1_000_000));
            }
            evict(&mut shard, 300);
            assert_eq!(shard.evict_one(), Eviction::Nothing);
            assert_eq!((shard.evictable(), shard.worst_score()), (0, 0));
            let there = survivors(&shard, 3000);
            assert!((0..3000).all(|n| there[n] == (n % 10 != 0)));
        }
    }

    #[test]
    fn a_random_policy_empties_everything_and_noeviction_nothing() {
        let mut shard = shard(MaxmemoryPolicy::AllkeysRandom);
        for n in 0..1000 {
            set(&mut shard, n, None);
        }
        evict(&mut shard, 500);
        let there = survivors(&shard, 1000);
        assert!((0.35..0.65).contains(&share(&there[..500])));
        evict(&mut shard, 500);
        assert_eq!(shard.evict_one(), Eviction::Nothing);

        let mut shard = self::shard(MaxmemoryPolicy::Noeviction);
        set(&mut shard, 1, Some(1));
        assert_eq!(
            (shard.evict_one(), shard.evictable()),
            (Eviction::Nothing, 0)
        );
    }

    #[test]
    fn a_change_of_policy_forgets_what_the_old_one_thought() {
        let mut shard = shard(MaxmemoryPolicy::AllkeysLru);
        for n in 0..100 {
            set(&mut shard, n, (n == 7).then_some(1_000_000));
        }
        assert!(shard.worst_score() > 0);
        let mut config = Config::default();
        config.maxmemory_policy = MaxmemoryPolicy::VolatileTtl;
        shard.config = Arc::new(config);
        evict(&mut shard, 1);
        assert_eq!(
            survivors(&shard, 100).iter().position(|there| !there),
            Some(7)
        );
    }

    #[test]
    fn an_evicted_key_breaks_watches_leaves_an_effect_and_its_big_value_is_freed_in_steps() {
        let mut shard = shard(MaxmemoryPolicy::AllkeysLru);
        let mut big = Set::new();
        for n in 0..10_000 {
            big.add(format!("member:{n}").as_bytes(), SetLimits::default());
        }
        let key = Key::new(b"big");
        let value = NewValue::Boxed(Box::new(Value::Set(big)));
        shard.put(&Caller::default(), &key, value, false);
        let token = Arc::new(WatchToken::default());
        shard.watched.add(0, b"big", &token);
        shard.effects.set_logged(true);
        evict(&mut shard, 1);
        assert!(token.is_broken() && shard.has_garbage());
        assert_eq!((shard.stats.evicted, shard.stats.expired), (1, 0));
        let said = String::from_utf8_lossy(shard.effects.recorded()).into_owned();
        assert!(said.ends_with("DEL\r\n$3\r\nbig\r\n"), "{said}");
    }

    #[test]
    fn an_expired_key_goes_first_and_counts_as_expired() {
        let mut shard = shard(MaxmemoryPolicy::AllkeysLru);
        for n in 0..8 {
            set(&mut shard, n, (n == 5).then_some(10));
        }
        shard.set_now(START_MS + 20);
        for _ in 0..20 {
            shard.look_for_candidates();
        }
        assert_eq!(shard.evict_one(), Eviction::Evicted);
        assert_eq!((shard.stats.evicted, shard.stats.expired), (0, 1));
        assert!(!survivors(&shard, 8)[5]);
    }

    #[test]
    fn nothing_is_evicted_while_the_server_is_paused() {
        let mut shard = shard(MaxmemoryPolicy::AllkeysLru);
        set(&mut shard, 1, None);
        shard.expiry_paused = true;
        assert_eq!(shard.evict_one(), Eviction::Nothing);
        assert_eq!(shard.keyspace.db(0).keys(), 1);
    }
}
