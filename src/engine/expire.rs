//! Active expiry: finding keys whose time has come before anybody asks for them.
//!
//! A walk goes round all slots that hold keys with an expiry, a few buckets each tick. While many of the keys that it
//! meets are due it goes on, in short slices between requests, up to a share of the core's time; as soon as few are, it
//! rests until the next tick. So a server without expired keys spends next to nothing, and one with millions of them
//! gets rid of them at a quarter of its time (Redis: `activeExpireCycle`, whose percentages these are).

use crate::base::clock::ticks;
use crate::resp::request::Key;
use crate::shard::Shard;

use super::core::{Core, TICK_MS};

/// Keys with an expiry looked at before it is judged whether going on pays, at the lowest effort and for each step more.
const BATCH_KEYS: usize = 64;
const BATCH_KEYS_PER_EFFORT: usize = 16;
/// Buckets visited for so many keys at most: where keys with an expiry are rare, looking for them pays less.
const BUCKETS_PER_KEY: usize = 4;
/// How long the walk goes on without a look at requests, in nanoseconds.
const SLICE_NS: u64 = 500_000;
/// Percent of the core's time that it takes at most, at the lowest effort and for each step more.
const TIME_PERCENT: u64 = 25;
const TIME_PERCENT_PER_EFFORT: u64 = 2;
/// Percent of due keys among those met up to which the walk rests, at the lowest effort; one less for each step more.
const STALE_PERCENT: u64 = 10;

/// Where the walk is and how it fares.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    db: usize,
    place: usize,
    cursor: u64,
    /// It goes on in the next turn.
    pub(super) pressing: bool,
    /// Ticks of the clock spent since the last tick of the core.
    spent: u64,
    /// Due keys among those met, running mean in hundredths of a percent.
    stale: f64,
    /// Due keys of one bucket.
    due: Vec<Box<[u8]>>,
}

/// What some steps of the walk met.
#[derive(Default)]
struct Met {
    volatile: usize,
    due: usize,
    buckets: usize,
    /// The walk has come round.
    round: bool,
}

impl Core {
    /// A new tick: the walk may take its share of time again.
    pub(super) fn begin_expiry(&mut self) {
        self.expiry.spent = 0;
        self.expire_some();
    }

    /// A slice of the walk.
    pub(super) fn expire_some(&mut self) {
        self.expiry.pressing = false;
        let Some(mut shard) = self.shard.take() else {
            return;
        };
        if !shard.own_expiries.is_empty() && !shard.expiry_paused {
            shard.expire_own();
        }
        if !shard.expiry_paused
            && !shard.follows
            && !self.gates.crowded
            && shard.expires_actively
            && (0..shard.keyspace.databases()).any(|db| shard.keyspace.db(db).expires() > 0)
        {
            self.expire_slice(&mut shard);
        }
        self.shard = Some(shard);
    }

    fn expire_slice(&mut self, shard: &mut Shard) {
        let effort = u64::from(self.config.active_expire_effort.clamp(1, 10)) - 1;
        let batch = BATCH_KEYS + BATCH_KEYS_PER_EFFORT * effort as usize;
        let scale = self.observatory.scale;
        let percent = TIME_PERCENT + TIME_PERCENT_PER_EFFORT * effort;
        let budget = scale.ticks(TICK_MS as u64 * 1_000_000 * percent / 100);
        let slice = scale.ticks(SLICE_NS);
        let start = ticks();
        let counters = self.observatory.core(self.index);
        let pressing = loop {
            let met = self.expiry.walk(shard, batch, |db, ttl| {
                // A running mean, as slow as in Redis.
                let mean = &counters.avg_ttl_ms[db];
                let old = mean.get() as i64;
                mean.set(
                    if old == 0 {
                        ttl
                    } else {
                        old + (ttl - old) / 50
                    }
                    .max(0) as u64,
                );
            });
            if met.volatile > 0 {
                let stale = met.due as f64 * 10_000.0 / met.volatile as f64;
                self.expiry.stale += (stale - self.expiry.stale) * 0.05;
            }
            let few =
                met.due as u64 * 100 <= met.volatile as u64 * STALE_PERCENT.saturating_sub(effort);
            let spent = ticks().wrapping_sub(start);
            if few || met.round && met.due == 0 {
                break false;
            }
            if self.expiry.spent + spent >= budget {
                counters.expire_capped.add(1);
                break false;
            }
            if spent >= slice {
                break true;
            }
        };
        let spent = ticks().wrapping_sub(start);
        self.expiry.spent += spent;
        self.expiry.pressing = pressing;
        counters.expire_us.add(scale.ns(spent) / 1000);
        counters.expired_stale.set(self.expiry.stale as u64);
    }
}

impl Expiry {
    /// Goes on until `keys` keys with an expiry have been met, or as many buckets as that is worth; deletes what is due.
    fn walk(&mut self, shard: &mut Shard, keys: usize, mut on_ttl: impl FnMut(usize, i64)) -> Met {
        let mut met = Met::default();
        let databases = shard.keyspace.databases();
        let mut ended = 0;
        while met.volatile < keys && met.buckets < keys * BUCKETS_PER_KEY {
            let next = if shard.keyspace.db(self.db).expires() == 0 {
                None
            } else {
                shard.keyspace.next_volatile(self.db, self.place)
            };
            let Some(next) = next else {
                self.db = (self.db + 1) % databases;
                (self.place, self.cursor) = (0, 0);
                met.round |= self.db == 0;
                ended += 1;
                if ended > databases {
                    break;
                }
                continue;
            };
            if next != self.place {
                (self.place, self.cursor) = (next, 0);
            }
            let (now, db, due) = (shard.now, self.db, &mut self.due);
            let (mut volatile, mut ttl) = (0, 0);
            self.cursor = shard.keyspace.scan(db, next, self.cursor, |entry| {
                if let Some(at) = entry.expire_at() {
                    volatile += 1;
                    if at <= now {
                        due.push(entry.key().into());
                    } else {
                        ttl += at - now;
                    }
                }
            });
            met.buckets += 1;
            met.volatile += volatile;
            met.due += due.len();
            if volatile > due.len() {
                on_ttl(db, ttl / (volatile - due.len()) as i64);
            }
            for key in due.drain(..) {
                shard.expire(db, &Key::new(&key));
            }
            if self.cursor == 0 {
                self.place += 1;
            }
        }
        met
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Config;
    use crate::resp::request::Caller;
    use crate::structures::entry::NewValue;

    fn filled(keys: usize, ttl_ms: impl Fn(usize) -> Option<i64>) -> Shard {
        let mut shard = Shard::new(0, 1, Arc::new(Config::default()), 1);
        shard.set_now(1_000_000);
        for n in 0..keys {
            let (name, value) = (format!("key:{n}"), NewValue::Bytes(b"v"));
            let key = Key::new(name.as_bytes());
            match ttl_ms(n) {
                Some(ttl) => shard.put_until(&Caller::default(), &key, value, 1_000_000 + ttl),
                None => shard.put(&Caller::default(), &key, value, false),
            }
        }
        shard
    }

    #[test]
    fn the_walk_comes_round_and_deletes_exactly_what_is_due() {
        let mut shard = filled(5000, |n| match n % 3 {
            0 => None,
            1 => Some(10),
            _ => Some(1_000_000),
        });
        shard.set_now(1_000_010);
        let (mut expiry, mut rounds, mut steps) = (Expiry::default(), 0, 0);
        while rounds < 2 {
            let met = expiry.walk(&mut shard, 64, |_, _| {});
            assert!(met.volatile < 64 + 64 && met.buckets <= 256);
            rounds += usize::from(met.round);
            steps += 1;
        }
        assert!(steps > 50, "in small steps");
        assert_eq!(
            (shard.stats.expired, shard.keyspace.db(0).keys()),
            (1667, 3333)
        );
    }

    #[test]
    fn a_walk_over_databases_without_volatile_keys_ends_at_once() {
        let mut shard = filled(1000, |_| None);
        let met = Expiry::default().walk(&mut shard, 64, |_, _| {});
        assert_eq!((met.buckets, met.volatile, met.round), (0, 0, true));
    }
}
