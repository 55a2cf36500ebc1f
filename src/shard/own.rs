//! The shard itself and what happens around a change: watches, effects, freeing.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::base::random::Random;
use crate::cluster::SlotMap;
use crate::config::Config;
use crate::effect::Effects;
use crate::keyspace::blocked::Blocked;
use crate::keyspace::watch::{WatchToken, Watched};
use crate::keyspace::{Db, KeyEntry, Keyspace, Remains, Value};
use crate::mesh::flow::Flow;
use crate::persistence::Status;
use crate::persistence::aof::log::Log;
use crate::persistence::rdb::Restoring;
use crate::pubsub::{News, Topic};
use crate::resp::request::Key;
use crate::script::Scripts;
use crate::structures::quicklist;

use super::evict::Evictor;
use super::slot_costs::SlotCosts;
use super::walk::Walk;

/// Values with at most so many elements are freed at once; larger ones in steps between requests.
pub const FREE_AT_ONCE_MAX: usize = 64;
/// The same for the nodes of a list, of which each is an allocation for many elements.
const NODES_AT_ONCE_MAX: usize = 16;

/// Keys of tracking clients that are forgotten at once when there are too many.
pub const FORGET_STEP: usize = 1024;

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
    Stream,
    Expired,
    Evicted,
    New,
    Miss,
}

impl Class {
    /// Its bit in `notify-keyspace-events`.
    #[inline]
    const fn bit(self) -> u32 {
        1 << match self {
            Class::Generic => 2,
            Class::String => 3,
            Class::List => 4,
            Class::Set => 5,
            Class::Hash => 6,
            Class::Zset => 7,
            Class::Expired => 8,
            Class::Evicted => 9,
            Class::Stream => 10,
            Class::Miss => 11,
            Class::New => 14,
        }
    }
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
    /// Where that is written down, if it is.
    pub log: Option<Box<Log>>,
    /// The way to the stream that replicas follow, if anybody does.
    pub flow: Option<Box<Flow>>,
    /// Watched keys.
    pub watched: Watched,
    /// Keys that blocked clients wait for.
    pub blocked: Blocked,
    /// What is said to clients: messages, events.
    pub news: News,
    /// Unix milliseconds of the running batch or transaction. Never goes backwards.
    pub now: i64,
    /// Chance.
    pub random: Random,
    /// The configuration, as of the last change.
    pub config: Arc<Config>,
    /// Counters.
    pub stats: ShardStats,
    /// What is known about snapshots, by all who write or load them.
    pub snapshots: Arc<Status>,
    /// The function libraries, which all shards share.
    pub scripts: Arc<Scripts>,
    /// Reads leave access clocks alone and expired keys stay (a paused server, an import).
    pub expiry_paused: bool,
    /// A log or a primary's stream is replayed: nothing is due, however long ago its time was, since what became of it
    /// stands there.
    pub replaying: bool,
    /// This is a replica's shard: who reads does not find what is due, but leaves it to the primary to delete.
    pub follows: bool,
    /// On a replica that takes writes of clients: keys that these have given an expiry. The primary knows nothing of them,
    /// so they go here when their time has come.
    pub own_expiries: HashSet<(u32, Box<[u8]>)>,
    /// In cluster mode: who owns which slot, as of the moment at which this shard was told.
    pub slot_map: Option<Arc<SlotMap>>,
    /// What its slots cost, where somebody wants to know (cluster-slot-stats-enabled).
    pub slot_costs: Option<Box<SlotCosts>>,
    /// A full copy that is coming in.
    pub incoming: Option<Box<Keyspace>>,
    /// The value of the RESTORE that runs next, if it was so large that it has been decoded before.
    pub decoded: Option<Box<Restoring>>,
    /// Keys expire in the background too (DEBUG SET-ACTIVE-EXPIRE); else only when somebody meets them.
    pub expires_actively: bool,
    /// Values to be freed in steps.
    garbage: Vec<Garbage>,
    /// What eviction remembers.
    pub(super) evictor: Evictor,
    /// The walk of a snapshot, while one is under way.
    pub(super) walk: Option<Box<Walk>>,
    /// Walks in a row that were given up.
    pub(super) unfinished_walks: u8,
}

enum Garbage {
    Value(Remains),
    Db(Box<Db>),
}

/// A shard without its keyspace: what happens around a key while its place in the keyspace is held. It is what lets a
/// look-up that finds an overdue key delete it there and then, and any other use what it found, with one search.
pub(super) struct Beside<'a> {
    pub(super) now: i64,
    pub(super) expiry_paused: bool,
    pub(super) replaying: bool,
    pub(super) follows: bool,
    pub(super) config: &'a Config,
    pub(super) random: &'a mut Random,
    pub(super) stats: &'a mut ShardStats,
    effects: &'a mut Effects,
    watched: &'a mut Watched,
    blocked: &'a mut Blocked,
    news: &'a mut News,
    garbage: &'a mut Vec<Garbage>,
    walk: &'a mut Option<Box<Walk>>,
}

/// What replicas and logs read of a key that nobody has deleted.
pub(super) fn gone(lazily: bool) -> &'static [u8] {
    if lazily { b"UNLINK" } else { b"DEL" }
}

impl Beside<'_> {
    /// The time of this entry has come: it was taken out of the keyspace and is no part of the running command.
    #[cold]
    pub(super) fn on_expired(&mut self, db: usize, key: &Key<'_>, entry: KeyEntry) {
        self.let_go(db, entry);
        self.stats.expired += 1;
        let word = gone(self.config.lazyfree_lazy_expire);
        self.effects.record_aside(db, &[word, key.bytes]);
        self.heed(db, key);
        self.news.changed(key.bytes, true);
        self.notify(db, key, Class::Expired, "expired");
    }

    /// A reading command has not found its key.
    #[inline]
    pub(super) fn on_missed(&mut self, db: usize, key: &Key<'_>) {
        self.stats.misses += 1;
        self.notify(db, key, Class::Miss, "keymiss");
    }

    /// An entry was taken out of the keyspace to free memory and is no part of any command.
    #[cold]
    pub(super) fn on_evicted(&mut self, db: usize, key: &Key<'_>, entry: KeyEntry) {
        self.let_go(db, entry);
        self.stats.evicted += 1;
        let word = gone(self.config.lazyfree_lazy_eviction);
        self.effects.record_aside(db, &[word, key.bytes]);
        self.heed(db, key);
        self.news.changed(key.bytes, true);
        self.notify(db, key, Class::Evicted, "evicted");
    }

    /// A key has changed: watches on it are broken, and those who are blocked on it are looked at when the running unit
    /// ends.
    #[cold]
    pub(super) fn heed(&mut self, db: usize, key: &Key<'_>) {
        if !self.watched.is_empty() {
            self.watched.touch(db, key.bytes);
        }
        if !self.blocked.is_empty() {
            self.blocked.signal(db, key.bytes);
        }
    }

    /// An entry is about to change, a string perhaps in `bytes` only, or at its end: a walk may have to write it down
    /// first.
    #[inline]
    pub(super) fn before_change(
        &mut self,
        db: usize,
        entry: &mut KeyEntry,
        bytes: Option<Range<usize>>,
    ) {
        match (&mut *self.walk, bytes) {
            (None, _) => {}
            (Some(walk), None) => walk.before_change(db, entry, self.config, self.now),
            (Some(walk), Some(bytes)) => {
                walk.before_bytes_change(db, entry, bytes, self.config, self.now);
            }
        }
    }

    /// The same where only the expiry of an entry changes.
    #[inline]
    pub(super) fn before_expiry_change(&mut self, db: usize, entry: &mut KeyEntry) {
        if let Some(walk) = self.walk {
            walk.before_expiry_change(db, entry, self.config, self.now);
        }
    }

    /// A string is about to be overwritten. False when it must not be: a walk wants to have it whole.
    #[inline]
    pub(super) fn before_overwrite(&mut self, db: usize, entry: &mut KeyEntry) -> bool {
        if let Some(walk) = self.walk {
            if walk.wants_whole(entry) {
                return false;
            }
            walk.before_change(db, entry, self.config, self.now);
        }
        true
    }

    /// Frees an entry that was taken out of `db`, unless a walk still needs it; its value in steps when it is big.
    pub(super) fn let_go(&mut self, db: usize, mut entry: KeyEntry) {
        if let Some(walk) = self.walk {
            match walk.let_go(db, entry, self.config, self.now) {
                Some(left) => entry = left,
                None => return,
            }
        }
        if let Some(remains) = Remains::of(&mut entry, FREE_AT_ONCE_MAX) {
            self.garbage.push(Garbage::Value(remains));
        }
    }

    /// See `Shard::notify`.
    #[inline]
    pub(super) fn notify(&mut self, db: usize, key: &Key<'_>, class: Class, event: &'static str) {
        if self.news.wants(class.bit()) {
            self.news.event(db, event, key.bytes);
        }
    }
}

impl Shard {
    /// An empty shard.
    pub fn new(index: usize, shards: usize, config: Arc<Config>, seed: u64) -> Self {
        let mut shard = Shard {
            index,
            keyspace: Keyspace::new(index, shards, config.databases as usize),
            effects: Effects::default(),
            log: None,
            flow: None,
            watched: Watched::default(),
            blocked: Blocked::default(),
            news: News::default(),
            now: 0,
            random: Random::new(seed ^ (index as u64) << 32),
            config,
            stats: ShardStats::default(),
            snapshots: Arc::default(),
            scripts: Arc::default(),
            expiry_paused: false,
            replaying: false,
            follows: false,
            own_expiries: HashSet::new(),
            slot_map: None,
            slot_costs: None,
            incoming: None,
            decoded: None,
            expires_actively: true,
            garbage: Vec::new(),
            evictor: Evictor::default(),
            walk: None,
            unfinished_walks: 0,
        };
        shard.news.set_events(shard.config.notify_keyspace_events);
        shard.count_costs();
        shard
    }

    /// Records that all the running command has done to this key is to delete it, because its time is over.
    pub fn record_end(&mut self, db: usize, key: &Key<'_>) {
        let word = gone(self.config.lazyfree_lazy_expire);
        self.effects.record(db, &[word, key.bytes]);
    }

    /// Records that all the running command, which is no DEL, has done to this key is to delete it.
    pub fn record_removal(&mut self, db: usize, key: &Key<'_>) {
        let word = gone(self.config.lazyfree_lazy_server_del);
        self.effects.record(db, &[word, key.bytes]);
    }

    /// Takes over a new configuration.
    pub fn configure(&mut self, config: &Arc<Config>) {
        if !Arc::ptr_eq(&self.config, config) {
            self.config = config.clone();
            self.count_costs();
            self.news.set_events(config.notify_keyspace_events);
            self.limit_tracking(FORGET_STEP);
        }
    }

    /// Begins or ends counting what slots cost, as the configuration says.
    pub(super) fn count_costs(&mut self) {
        if !(self.config.cluster_enabled && self.config.cluster_slot_stats_enabled) {
            self.slot_costs = None;
        } else if self.slot_costs.is_none() {
            self.slot_costs = Some(Box::new(SlotCosts::new(self.keyspace.shards())));
        }
    }

    /// What is counted begins anew (CONFIG RESETSTAT).
    pub fn reset_stats(&mut self) {
        self.stats = ShardStats::default();
        if self.slot_costs.take().is_some() {
            self.count_costs();
        }
    }

    /// A client that tracks what it reads has read this key: it will be told when the key changes. While more keys are
    /// remembered than this shard's share of `tracking-table-max-keys`, others are dropped, as if they had changed.
    pub fn remember_read(&mut self, client: u64, key: &[u8]) {
        self.news.tracking.remember(client, key);
        self.limit_tracking(2);
    }

    /// Drops so many remembered keys at most while there are more than this shard's share of the limit.
    pub fn limit_tracking(&mut self, most: usize) {
        let limit = self.config.tracking_table_max_keys;
        if limit == 0 {
            return;
        }
        // All shares together are the limit exactly, so that small limits hold too; a shard may have to remember nothing.
        let shards = self.keyspace.shards() as u64;
        let share = limit / shards + u64::from((self.index as u64) < limit % shards);
        for _ in 0..most {
            if self.news.tracking.keys() as u64 <= share {
                break;
            }
            let random = &mut self.random;
            let Some(key) = self.news.tracking.any_key(|| random.next_u64()) else {
                break;
            };
            self.news.forget(&key);
        }
    }

    /// Leaves a message for subscribers, to be delivered when the running command, transaction or script is over, and
    /// gives the number of receivers. PUBLISH and SPUBLISH, wherever they run. It changes no data and stands in no
    /// file; replicas, which there are none of yet, would get it.
    pub fn publish(&mut self, topic: Topic, channel: &[u8], payload: &[u8]) -> usize {
        self.news.publish(topic, channel, payload)
    }

    /// Sets the time of what runs next; an earlier time changes nothing.
    #[inline]
    pub fn set_now(&mut self, now: i64) {
        self.now = self.now.max(now);
    }

    /// A key was changed by a command: breaks watches, makes the key ready for clients blocked on it, counts the
    /// change. `event` is the name a keyspace notification bears.
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
        // One branch for all who might want to know.
        if (self.watched.len() | self.blocked.len() != 0) | self.news.is_attentive() {
            let (_, mut beside) = self.split();
            beside.heed(db, key);
            beside.news.changed(key.bytes, false);
            beside.notify(db, key, class, event);
        }
    }

    /// Those who are blocked on a key are looked at when the running unit ends, though only a part of it has gone: a group
    /// of a stream.
    pub fn wake(&mut self, db: usize, key: &Key<'_>) {
        if !self.blocked.is_empty() {
            self.blocked.signal(db, key.bytes);
        }
    }

    /// A key was changed in a way that no watch notices: what groups of a stream have read and acknowledged.
    pub fn changed_aside(
        &mut self,
        db: usize,
        key: &Key<'_>,
        class: Class,
        event: &'static str,
        changes: u64,
    ) {
        self.effects.count(changes);
        self.notify(db, key, class, event);
    }

    /// Something happened to a key that is no change of its own (a `new` key, a `del` after a pop).
    #[inline]
    pub fn notify(&mut self, db: usize, key: &Key<'_>, class: Class, event: &'static str) {
        self.split().1.notify(db, key, class, event);
    }

    /// The keyspace and all the rest, to be used side by side.
    #[inline]
    pub(super) fn split(&mut self) -> (&mut Keyspace, Beside<'_>) {
        let beside = Beside {
            now: self.now,
            expiry_paused: self.expiry_paused,
            replaying: self.replaying,
            follows: self.follows,
            config: &self.config,
            random: &mut self.random,
            stats: &mut self.stats,
            effects: &mut self.effects,
            watched: &mut self.watched,
            blocked: &mut self.blocked,
            news: &mut self.news,
            garbage: &mut self.garbage,
            walk: &mut self.walk,
        };
        (&mut self.keyspace, beside)
    }

    /// A whole database is about to change: breaks the watches on those of its keys that are there.
    pub fn touch_watched_keys_of(&mut self, db: usize) {
        if !self.watched.is_empty() {
            let keyspace = &self.keyspace;
            self.watched
                .touch_if(db, |key| keyspace.find(db, &Key::new(key)).is_some());
        }
    }

    /// Deletes keys of `other` whose time has come and whose names are watched in `db`.
    pub fn expire_watched_keys_of(&mut self, db: usize, other: usize) {
        let mut names: Vec<Box<[u8]>> = Vec::new();
        self.watched.names(db, |key| names.push(key.into()));
        for name in names {
            self.peek(other, &Key::new(&name));
        }
    }

    /// Frees an entry that was taken out of `db`; its value in steps when it is big.
    pub fn let_go(&mut self, db: usize, entry: KeyEntry) {
        self.split().1.let_go(db, entry);
    }

    /// Ends a client's watch on keys of this shard; true when it is broken. A watched key whose time has come breaks it.
    pub fn end_watch(&mut self, token: &Arc<WatchToken>, keys: &[(u32, Box<[u8]>)]) -> bool {
        for (db, bytes) in keys {
            self.peek(*db as usize, &Key::new(bytes));
            self.watched.remove(*db as usize, bytes, token);
        }
        token.is_broken()
    }

    /// Lets go of a value: at once when it is small, else in steps.
    pub fn discard(&mut self, value: Box<Value>) {
        if value.elements() <= FREE_AT_ONCE_MAX {
            drop(value);
        } else {
            self.garbage.push(Garbage::Value(value.into_remains()));
        }
    }

    /// Lets go of a long text that belongs to no key, in steps: memory of a request.
    pub fn discard_text(&mut self, text: Vec<u8>) {
        self.garbage.push(Garbage::Value(Remains::Text(text)));
    }

    /// Lets go of a part of a list: at once when it is small, else in steps.
    pub fn discard_nodes(&mut self, nodes: quicklist::Remains) {
        if nodes.nodes() > NODES_AT_ONCE_MAX {
            self.garbage.push(Garbage::Value(Remains::Nodes(nodes)));
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
        let mut big = Vec::new();
        let done = match garbage {
            Garbage::Value(value) => value.drain_some(budget),
            Garbage::Db(db) => db.drain_some(budget, FREE_AT_ONCE_MAX, |remains| big.push(remains)),
        };
        if done {
            self.garbage.pop();
            self.stats.lazy_freed += 1;
        }
        self.garbage.extend(big.into_iter().map(Garbage::Value));
        self.garbage.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::request::Caller;
    use crate::structures::entry::NewValue;
    use crate::structures::set::{Set, SetLimits};

    #[test]
    fn long_strings_are_freed_in_steps_whether_they_are_deleted_or_flushed() {
        let mut shard = Shard::new(0, 1, Arc::new(Config::default()), 7);
        let caller = Caller::default();
        for name in ["one", "two"] {
            let text = NewValue::Long(Box::new(vec![b'x'; 10 << 20]));
            shard.put(&caller, &Key::new(name.as_bytes()), text, false);
        }
        let short = NewValue::Long(Box::new(vec![b'x'; 1000]));
        shard.put(&caller, &Key::new(b"short"), short, false);
        assert!(shard.delete(0, &Key::new(b"short")) && !shard.has_garbage());
        assert!(shard.delete(0, &Key::new(b"one")));
        assert_eq!(shard.garbage_len(), 1);
        let steps = |shard: &mut Shard| (1..).find(|_| shard.free_some(256));
        assert_eq!(steps(&mut shard), Some(10), "a megabyte each");
        let db = shard.keyspace.take_db(0);
        shard.discard_db(db);
        assert!(steps(&mut shard) > Some(10));
        assert_eq!((shard.garbage_len(), shard.stats.lazy_freed), (0, 3));
    }

    #[test]
    fn a_flushed_database_hands_its_big_values_to_be_freed_in_steps() {
        let mut shard = Shard::new(0, 1, Arc::new(Config::default()), 7);
        let caller = Caller::default();
        let names: Vec<String> = (0..100).map(|n| format!("key:{n}")).collect();
        for name in &names {
            shard.put(
                &caller,
                &Key::new(name.as_bytes()),
                NewValue::Bytes(b"v"),
                false,
            );
        }
        let mut big = Set::new();
        for n in 0..10_000 {
            big.add(format!("member:{n}").as_bytes(), SetLimits::default());
        }
        let value = NewValue::Boxed(Box::new(Value::Set(big)));
        shard.put(&caller, &Key::new(b"big"), value, false);
        let db = shard.keyspace.take_db(0);
        shard.discard_db(db);
        assert_eq!(shard.garbage_len(), 101);
        let mut steps = 0;
        while !shard.free_some(100) {
            steps += 1;
        }
        assert!((100..2000).contains(&steps), "{steps} steps");
        assert_eq!((shard.garbage_len(), shard.stats.lazy_freed), (0, 2));
    }
}
