//! How handlers reach keys: with expiry, access clocks and hit counts taken care of.

use crate::keyspace::{KeyEntry, Kind, Value};
use crate::resp::ErrorReply;
use crate::resp::request::{Caller, Key};
use crate::structures::entry::NewValue;

use super::own::{Class, Shard};

/// The starting value of an LFU counter (Redis: LFU_INIT_VAL): a new key must survive its first sampling.
const LFU_START: u32 = 5;

impl Shard {
    /// The clock a key gets when it is touched for the first time.
    pub fn fresh_clock(&self) -> u32 {
        if self.config.maxmemory_policy.is_lfu() {
            self.lfu_minutes() << 8 | LFU_START
        } else {
            self.lru_seconds()
        }
    }

    /// The LRU clock: seconds, 24 bits.
    pub fn lru_seconds(&self) -> u32 {
        (self.now / 1000) as u32 & 0x00ff_ffff
    }

    /// The time part of the LFU clock: minutes, 16 bits.
    fn lfu_minutes(&self) -> u32 {
        (self.now / 60_000) as u32 & 0xffff
    }

    /// The LFU counter of a clock after its decay (`lfu-decay-time`).
    pub fn lfu_counter(&self, clock: u32) -> u32 {
        let (minutes, counter) = (clock >> 8, clock & 0xff);
        let decay = self.config.lfu_decay_minutes;
        if decay == 0 {
            return counter;
        }
        let passed = self.lfu_minutes().wrapping_sub(minutes) & 0xffff;
        counter.saturating_sub(passed / decay)
    }

    /// The clock after one more access.
    #[inline]
    fn touched_clock(&mut self, clock: u32) -> u32 {
        if self.config.maxmemory_policy.is_lfu() {
            self.lfu_touched(clock)
        } else {
            self.lru_seconds()
        }
    }

    #[cold]
    fn lfu_touched(&mut self, clock: u32) -> u32 {
        let mut counter = self.lfu_counter(clock);
        if counter < 255 {
            let base = f64::from(counter.saturating_sub(LFU_START));
            let chance = 1.0 / (base * f64::from(self.config.lfu_log_factor) + 1.0);
            let draw = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            counter += u32::from(draw < chance);
        }
        self.lfu_minutes() << 8 | counter
    }

    /// Seconds since the last access by an LRU clock (OBJECT IDLETIME).
    pub fn idle_seconds(&self, clock: u32) -> u32 {
        self.lru_seconds().wrapping_sub(clock) & 0x00ff_ffff
    }

    /// Deletes the key if its time has come; true when it did.
    #[inline]
    fn expire_if_due(&mut self, db: usize, key: &Key<'_>) -> bool {
        match self.keyspace.find(db, key).and_then(KeyEntry::expire_at) {
            Some(at) if at <= self.now => self.expire(db, key),
            _ => false,
        }
    }

    /// Deletes a key whose time has come; false while that is not for us to do.
    #[cold]
    pub fn expire(&mut self, db: usize, key: &Key<'_>) -> bool {
        if self.expiry_paused {
            return true; // gone for the reader, deleted later
        }
        if let Some(entry) = self.keyspace.remove(db, key) {
            self.let_go(entry);
            self.stats.expired += 1;
            self.effects
                .record_aside(db, &[b"DEL", key.bytes]);
            if !self.watched.is_empty() {
                self.watched.touch(db, key.bytes);
            }
            self.notify(db, key, Class::Expired, "expired");
        }
        true
    }

    /// Whether an entry is past its time.
    #[inline]
    pub fn is_due(&self, entry: &KeyEntry) -> bool {
        entry.expire_at().is_some_and(|at| at <= self.now)
    }

    /// A key for a reading command: counts hit or miss, moves the access clock.
    #[inline]
    pub fn read(&mut self, caller: &Caller, key: &Key<'_>) -> Option<&KeyEntry> {
        let db = caller.db as usize;
        let lfu = self.config.maxmemory_policy.is_lfu();
        let (now, lru) = (self.now, self.lru_seconds());
        // One probe in the usual case: found, not due, LRU.
        let found = self.keyspace.find_mut(db, key);
        let due = match &found {
            None => {
                self.stats.misses += 1;
                return None;
            }
            Some(entry) => entry.expire_at().is_some_and(|at| at <= now),
        };
        if due {
            self.expire(db, key);
            self.stats.misses += 1;
            return None;
        }
        self.stats.hits += 1;
        if !caller.no_touch {
            if lfu {
                let clock = self.keyspace.find(db, key)?.clock();
                let clock = self.touched_clock(clock);
                self.keyspace.find_mut(db, key)?.set_clock(clock);
            } else {
                let entry = self.keyspace.find_mut(db, key)?;
                entry.set_clock(lru);
                return Some(entry);
            }
        }
        self.keyspace.find(db, key)
    }

    /// A key for OBJECT, TYPE, TTL and their like: no clock moves; no hit is counted when `quiet`.
    pub fn peek(&mut self, db: usize, key: &Key<'_>) -> Option<&KeyEntry> {
        if self.expire_if_due(db, key) {
            return None;
        }
        self.keyspace.find(db, key)
    }

    /// The same, counting a hit or a miss.
    pub fn peek_counted(&mut self, db: usize, key: &Key<'_>) -> Option<&KeyEntry> {
        let found = !self.expire_if_due(db, key) && self.keyspace.find(db, key).is_some();
        if found {
            self.stats.hits += 1;
        } else {
            self.stats.misses += 1;
        }
        self.keyspace.find(db, key).filter(|_| found)
    }

    /// A key for a writing command. Expired keys are deleted first. Its expiry changes through `set_expire_at` only.
    #[inline]
    pub fn write(&mut self, caller: &Caller, key: &Key<'_>) -> Option<&mut KeyEntry> {
        let db = caller.db as usize;
        if self.expire_if_due(db, key) && !self.expiry_paused {
            return None;
        }
        let clock = self.keyspace.find(db, key)?.clock();
        let clock = if caller.no_touch { clock } else { self.touched_clock(clock) };
        let entry = self.keyspace.find_mut(db, key)?;
        entry.set_clock(clock);
        Some(entry)
    }

    /// A structure for a reading command.
    pub fn read_as<T: Kind>(
        &mut self,
        caller: &Caller,
        key: &Key<'_>,
    ) -> Result<Option<&T>, ErrorReply> {
        match self.read(caller, key) {
            None => Ok(None),
            Some(entry) => match entry.boxed().and_then(T::of) {
                Some(inner) => Ok(Some(inner)),
                None => Err(ErrorReply::WRONG_TYPE),
            },
        }
    }

    /// A structure for a writing command, when the key is there.
    pub fn write_as<T: Kind>(
        &mut self,
        caller: &Caller,
        key: &Key<'_>,
    ) -> Result<Option<&mut T>, ErrorReply> {
        match self.write(caller, key) {
            None => Ok(None),
            Some(entry) => match entry.boxed_mut().and_then(T::of_mut) {
                Some(inner) => Ok(Some(inner)),
                None => Err(ErrorReply::WRONG_TYPE),
            },
        }
    }

    /// A structure for a writing command; a missing key is made with what `make` gives. The caller must put something
    /// into a new one, or delete the key again.
    pub fn create_as<T: Kind>(
        &mut self,
        caller: &Caller,
        key: &Key<'_>,
        make: impl FnOnce() -> T,
    ) -> Result<&mut T, ErrorReply> {
        let db = caller.db as usize;
        if self.write(caller, key).is_none() {
            let clock = self.fresh_clock();
            let value = NewValue::Boxed(Box::new(make().into_value()));
            self.keyspace.insert(db, key, value, clock, None);
            self.notify(db, key, Class::New, "new");
        }
        let entry = self.keyspace.find_mut(db, key).ok_or(ErrorReply::NO_SUCH_KEY)?;
        entry
            .boxed_mut()
            .and_then(T::of_mut)
            .ok_or(ErrorReply::WRONG_TYPE)
    }

    /// Sets a key to a value, whatever it held; the expiry goes unless `keep_ttl`.
    pub fn put(
        &mut self,
        caller: &Caller,
        key: &Key<'_>,
        value: NewValue<'_, Value>,
        keep_ttl: bool,
    ) {
        let db = caller.db as usize;
        let clock = self.fresh_clock();
        let due = self.expire_if_due(db, key) && self.expiry_paused;
        let Some(entry) = self.keyspace.find_mut(db, key) else {
            self.keyspace.insert(db, key, value, clock, None);
            self.notify(db, key, Class::New, "new");
            return;
        };
        let expires = entry.expire_at().is_some();
        if entry.is_string() {
            entry.set_value(value);
            entry.set_clock(clock);
            if expires && (due || !keep_ttl) {
                self.keyspace.set_expire_at(db, key, None);
            }
        } else {
            let expire_at = entry.expire_at().filter(|_| keep_ttl && !due);
            if let Some(old) = self.keyspace.remove(db, key) {
                self.let_go(old);
            }
            self.keyspace.insert(db, key, value, clock, expire_at);
        }
    }

    /// Deletes a key; false when there is none (or its time had come).
    pub fn delete(&mut self, db: usize, key: &Key<'_>) -> bool {
        if self.expire_if_due(db, key) {
            return false;
        }
        match self.keyspace.remove(db, key) {
            Some(entry) => {
                self.let_go(entry);
                true
            }
            None => false,
        }
    }

    /// Deletes a key whose structure has just become empty, and says so: the `del` event after a pop.
    pub fn delete_emptied(&mut self, db: usize, key: &Key<'_>) {
        if let Some(entry) = self.keyspace.remove(db, key) {
            self.let_go(entry);
        }
        self.notify(db, key, Class::Generic, "del");
    }

    /// Takes a living key out whole: RENAME, MOVE.
    pub fn take(&mut self, db: usize, key: &Key<'_>) -> Option<KeyEntry> {
        if self.expire_if_due(db, key) {
            return None;
        }
        self.keyspace.remove(db, key)
    }

    /// Frees an entry; its value in steps when it is big.
    pub fn let_go(&mut self, mut entry: KeyEntry) {
        if let Some(value) = entry.boxed_mut()
            && value.elements() > super::own::FREE_AT_ONCE_MAX
            && let Some(value) = entry.take_boxed()
        {
            self.discard(value);
        }
    }
}
