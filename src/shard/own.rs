//! The shard itself and what happens around a change: watches, effects, freeing.

use std::sync::Arc;

use crate::base::random::Random;
use crate::config::Config;
use crate::effect::Effects;
use crate::keyspace::watch::Watched;
use crate::keyspace::{Db, Keyspace, Remains, Value};
use crate::resp::request::Key;

/// Values with at most so many elements are freed at once; larger ones in steps between requests.
pub const FREE_AT_ONCE_MAX: usize = 64;

/// Event classes of keyspace notifications (`notify-keyspace-events`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the classes are Redis's
pub enum Class {
    Generic,
    String,
    List,
    Set,
    Hash,
    Zset,
    Expired,
    Evicted,
    New,
}

/// What a shard counts about itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardStats {
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Keys deleted because their time had come.
    pub expired: u64,
    /// Keys deleted to free memory.
    pub evicted: u64,
    /// Values freed in steps.
    pub lazy_freed: u64,
}

/// One core's share of the data.
pub struct Shard {
    /// Which shard this is.
    pub index: usize,
    /// The databases.
    pub keyspace: Keyspace,
    /// What was done, for those who reproduce it.
    pub effects: Effects,
    /// Watched keys.
    pub watched: Watched,
    /// Unix milliseconds of the running batch or transaction. Never goes backwards.
    pub now: i64,
    /// Chance.
    pub random: Random,
    /// The configuration, as of the last change.
    pub config: Arc<Config>,
    /// Counters.
    pub stats: ShardStats,
    /// Reads leave access clocks alone and expired keys stay (a paused server, an import).
    pub expiry_paused: bool,
    /// Keys expire in the background too (DEBUG SET-ACTIVE-EXPIRE); else only when somebody meets them.
    pub expires_actively: bool,
    /// Values to be freed in steps.
    garbage: Vec<Garbage>,
}

enum Garbage {
    Value(Remains),
    Db(Box<Db>),
}

impl Shard {
    /// An empty shard.
    pub fn new(index: usize, shards: usize, config: Arc<Config>, seed: u64) -> Self {
        Shard {
            index,
            keyspace: Keyspace::new(index, shards, config.databases as usize),
            effects: Effects::default(),
            watched: Watched::default(),
            now: 0,
            random: Random::new(seed ^ (index as u64) << 32),
            config,
            stats: ShardStats::default(),
            expiry_paused: false,
            expires_actively: true,
            garbage: Vec::new(),
        }
    }

    /// Sets the time of what runs next; an earlier time changes nothing.
    #[inline]
    pub fn set_now(&mut self, now: i64) {
        self.now = self.now.max(now);
    }

    /// A key was changed by a command: breaks watches, counts the change. `event` is the name a keyspace notification
    /// bears.
    #[inline]
    pub fn changed(&mut self, db: usize, key: &Key<'_>, class: Class, event: &'static str) {
        self.changed_by(db, key, class, event, 1);
    }

    /// The same for several changes at once, as `rdb_changes_since_last_save` counts them.
    #[inline]
    pub fn changed_by(
        &mut self,
        db: usize,
        key: &Key<'_>,
        class: Class,
        event: &'static str,
        changes: u64,
    ) {
        self.effects.count(changes);
        if !self.watched.is_empty() {
            self.watched.touch(db, key.bytes);
        }
        self.notify(db, key, class, event);
    }

    /// Something happened to a key that is no change of its own (a `new` key, a `del` after a pop).
    #[inline]
    pub fn notify(&mut self, _db: usize, _key: &Key<'_>, _class: Class, _event: &'static str) {
        // Notifications go to subscribers, and this build has none (docs/compatibility.md): the call sites name the
        // events so that pub/sub finds them in place.
    }

    /// Lets go of a value: at once when it is small, else in steps.
    pub fn discard(&mut self, value: Box<Value>) {
        if value.elements() <= FREE_AT_ONCE_MAX {
            drop(value);
        } else {
            self.garbage.push(Garbage::Value(value.into_remains()));
        }
    }

    /// Lets go of a whole database, in steps.
    pub fn discard_db(&mut self, db: Db) {
        if db.keys() > 0 {
            self.garbage.push(Garbage::Db(Box::new(db)));
        }
    }

    /// Whether something waits to be freed.
    pub fn has_garbage(&self) -> bool {
        !self.garbage.is_empty()
    }

    /// How many values and databases wait to be freed (`lazyfree_pending_objects`).
    pub fn garbage_len(&self) -> usize {
        self.garbage
            .iter()
            .map(|garbage| match garbage {
                Garbage::Value(_) => 1,
                Garbage::Db(db) => db.keys(),
            })
            .sum()
    }

    /// Frees up to `budget` elements of what waits. True when nothing is left.
    pub fn free_some(&mut self, budget: usize) -> bool {
        let Some(garbage) = self.garbage.last_mut() else {
            return true;
        };
        let done = match garbage {
            Garbage::Value(value) => value.drain_some(budget),
            Garbage::Db(db) => db.drain_some(budget),
        };
        if done {
            self.garbage.pop();
            self.stats.lazy_freed += 1;
        }
        self.garbage.is_empty()
    }
}
