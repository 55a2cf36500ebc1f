//! How handlers reach keys: with expiry, access clocks and hit counts taken care of.

use std::collections::HashSet;
use std::ops::Range;

use crate::config::Config;
use crate::keyspace::{KeyEntry, KeyPlace, Kind, Value};
use crate::persistence::rdb::Usage;
use crate::resp::ErrorReply;
use crate::resp::request::{Caller, Key};
use crate::structures::entry::{Entry, NewValue};

use super::own::{Beside, Class, Shard};

/// The starting value of an LFU counter (Redis: LFU_INIT_VAL): a new key must survive its first sampling.
const LFU_START: u32 = 5;

/// What becomes of a key's expiry when its value is replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ttl {
    Drop,
    Keep,
    /// Unix milliseconds.
    At(i64),
}

/// What a command wants done to a key's expiry, once it knows what that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryChange {
    /// Nothing.
    Leave,
    /// Sets it, in Unix milliseconds, or takes it away.
    To(Option<i64>),
    /// The key goes at once.
    Delete,
}

/// The LRU clock: seconds, 24 bits.
#[inline]
fn lru_seconds(now: i64) -> u32 {
    (now / 1000) as u32 & 0x00ff_ffff
}

/// The time part of the LFU clock: minutes, 16 bits.
fn lfu_minutes(now: i64) -> u32 {
    (now / 60_000) as u32 & 0xffff
}

/// Seconds since the last access by an LRU clock.
#[inline]
pub(super) fn idle_seconds(clock: u32, now: i64) -> u32 {
    lru_seconds(now).wrapping_sub(clock) & 0x00ff_ffff
}

/// Whether an entry is past its time.
#[inline]
pub(super) fn is_due(entry: &KeyEntry, now: i64) -> bool {
    entry.expire_at().is_some_and(|at| at <= now)
}

/// The LFU counter of a clock after its decay.
pub(super) fn lfu_counter(clock: u32, now: i64, decay_minutes: u32) -> u32 {
    let (minutes, counter) = (clock >> 8, clock & 0xff);
    if decay_minutes == 0 {
        return counter;
    }
    let passed = lfu_minutes(now).wrapping_sub(minutes) & 0xffff;
    counter.saturating_sub(passed / decay_minutes)
}

/// See `Shard::fresh_clock`.
#[inline]
fn fresh_clock(config: &Config, now: i64) -> u32 {
    if config.maxmemory_policy.is_lfu() {
        lfu_minutes(now) << 8 | LFU_START
    } else {
        lru_seconds(now)
    }
}

/// What a snapshot notes of a key's use under the policy in force.
pub fn usage(entry: &KeyEntry, config: &Config, now: i64) -> Usage {
    let policy = config.maxmemory_policy;
    if policy.is_lfu() {
        Usage::Freq(lfu_counter(entry.clock(), now, config.lfu_decay_minutes) as u8)
    } else if policy.is_lru() {
        Usage::Idle(idle_seconds(entry.clock(), now).into())
    } else {
        Usage::None
    }
}

impl Beside<'_> {
    #[inline]
    fn is_due(&self, entry: &KeyEntry) -> bool {
        is_due(entry, self.now) && !self.replaying
    }

    #[inline]
    fn fresh_clock(&self) -> u32 {
        fresh_clock(self.config, self.now)
    }

    /// The clock after one more access.
    #[inline]
    fn touched_clock(&mut self, clock: u32) -> u32 {
        if self.config.maxmemory_policy.is_lfu() {
            self.lfu_touched(clock)
        } else {
            lru_seconds(self.now)
        }
    }

    #[cold]
    fn lfu_touched(&mut self, clock: u32) -> u32 {
        let mut counter = lfu_counter(clock, self.now, self.config.lfu_decay_minutes);
        if counter < 255 {
            let base = f64::from(counter.saturating_sub(LFU_START));
            let chance = 1.0 / (base * f64::from(self.config.lfu_log_factor) + 1.0);
            let draw = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            counter += u32::from(draw < chance);
        }
        lfu_minutes(self.now) << 8 | counter
    }

    /// The clock of a key whose value is replaced. Under LFU it keeps its standing and gains a hit, as in Redis.
    #[inline]
    fn clock_after_overwrite(&mut self, caller: &Caller, clock: u32) -> u32 {
        if caller.no_touch && self.config.maxmemory_policy.is_lfu() {
            clock
        } else {
            self.touched_clock(clock)
        }
    }

    /// Moves the clock of an entry that `caller` has used.
    #[inline]
    fn touch(&mut self, caller: &Caller, entry: &mut KeyEntry) {
        if !caller.no_touch {
            let clock = self.touched_clock(entry.clock());
            entry.set_clock(clock);
        }
    }
}

impl Shard {
    /// The clock a key gets when it is touched for the first time.
    pub fn fresh_clock(&self) -> u32 {
        fresh_clock(&self.config, self.now)
    }

    /// The clock of a key that comes with what another server noted of its use: seconds without access, or an access
    /// counter, of which the policy in force takes its own (RESTORE, snapshots).
    pub fn clock_of_usage(&self, idle_seconds: Option<u64>, freq: Option<u8>) -> u32 {
        match (self.config.maxmemory_policy.is_lfu(), freq, idle_seconds) {
            (true, Some(counter), _) => lfu_minutes(self.now) << 8 | u32::from(counter),
            (false, _, Some(seconds)) => {
                // Beyond half the clock's range it would seem to lie in the future.
                let seconds = seconds.min(0x007f_ffff) as u32;
                lru_seconds(self.now).wrapping_sub(seconds) & 0x00ff_ffff
            }
            _ => self.fresh_clock(),
        }
    }

    /// The LRU clock: seconds, 24 bits.
    pub fn lru_seconds(&self) -> u32 {
        lru_seconds(self.now)
    }

    /// The LFU counter of a clock after its decay (`lfu-decay-time`).
    pub fn lfu_counter(&self, clock: u32) -> u32 {
        lfu_counter(clock, self.now, self.config.lfu_decay_minutes)
    }

    /// Seconds since the last access by an LRU clock (OBJECT IDLETIME).
    pub fn idle_seconds(&self, clock: u32) -> u32 {
        idle_seconds(clock, self.now)
    }

    /// Deletes a key whose time has come; true also when that has to wait: gone for the reader, deleted later.
    #[cold]
    pub fn expire(&mut self, db: usize, key: &Key<'_>) -> bool {
        let (keyspace, mut beside) = self.split();
        if !(beside.expiry_paused || beside.follows)
            && let Some(entry) = keyspace.remove(db, key)
        {
            beside.on_expired(db, key, entry);
        }
        true
    }

    /// Whether an entry is past its time.
    #[inline]
    pub fn is_due(&self, entry: &KeyEntry) -> bool {
        is_due(entry, self.now) && !self.replaying
    }

    /// Whether a key that is to go at this time, in Unix milliseconds, goes at once. While a log is replayed it does
    /// not: whoever wrote the log has said when it went. On a replica its primary says so.
    #[inline]
    pub fn is_past(&self, at: i64) -> bool {
        at <= self.now && !self.replaying && !self.follows
    }

    /// A key for a reading command: counts hit or miss, moves the access clock.
    #[inline]
    pub fn read(&mut self, caller: &Caller, key: &Key<'_>) -> Option<&KeyEntry> {
        let db = caller.db as usize;
        let (keyspace, mut beside) = self.split();
        let Some(mut found) = keyspace.found(db, key) else {
            beside.on_missed(db, key);
            return None;
        };
        if beside.is_due(found.get()) {
            if !(beside.expiry_paused || beside.follows) {
                beside.on_expired(db, key, found.remove());
            }
            beside.on_missed(db, key);
            return None;
        }
        beside.stats.hits += 1;
        beside.touch(caller, found.get_mut());
        Some(found.into_mut())
    }

    /// A key for OBJECT, TYPE, TTL and their like: no clock moves and nothing is counted.
    #[inline]
    pub fn peek(&mut self, db: usize, key: &Key<'_>) -> Option<&KeyEntry> {
        let (keyspace, mut beside) = self.split();
        let found = keyspace.found(db, key)?;
        if beside.is_due(found.get()) {
            if !(beside.expiry_paused || beside.follows) {
                beside.on_expired(db, key, found.remove());
            }
            return None;
        }
        Some(found.into_mut())
    }

    /// The same, counting a hit or a miss.
    pub fn peek_counted(&mut self, db: usize, key: &Key<'_>) -> Option<&KeyEntry> {
        if self.peek(db, key).is_none() {
            self.split().1.on_missed(db, key);
            return None;
        }
        self.stats.hits += 1;
        self.keyspace.find(db, key)
    }

    /// The same without a `keymiss` event: OBJECT.
    pub fn peek_silently(&mut self, db: usize, key: &Key<'_>) -> Option<&KeyEntry> {
        if self.peek(db, key).is_none() {
            self.stats.misses += 1;
            return None;
        }
        self.stats.hits += 1;
        self.keyspace.find(db, key)
    }

    /// A key for a writing command. Expired keys are deleted first. Its expiry changes through `set_expire_at` only.
    #[inline]
    pub fn write(&mut self, caller: &Caller, key: &Key<'_>) -> Option<&mut KeyEntry> {
        self.change(caller, key, None)
    }

    /// A key for a command that changes a string where it is: these bytes of it at most, and others may be added at its
    /// end.
    #[inline]
    pub fn write_bytes(
        &mut self,
        caller: &Caller,
        key: &Key<'_>,
        bytes: Range<usize>,
    ) -> Option<&mut KeyEntry> {
        self.change(caller, key, Some(bytes))
    }

    #[inline]
    fn change(
        &mut self,
        caller: &Caller,
        key: &Key<'_>,
        bytes: Option<Range<usize>>,
    ) -> Option<&mut KeyEntry> {
        let db = caller.db as usize;
        let (keyspace, mut beside) = self.split();
        let mut found = keyspace.found(db, key)?;
        if beside.is_due(found.get()) && !beside.expiry_paused {
            beside.on_expired(db, key, found.remove());
            return None;
        }
        beside.before_change(db, found.get_mut(), bytes);
        beside.touch(caller, found.get_mut());
        Some(found.into_mut())
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
        let make = || NewValue::Boxed(Box::new(make().into_value()));
        self.write_or_put(caller, key, make)
            .0
            .boxed_mut()
            .and_then(T::of_mut)
            .ok_or(ErrorReply::WRONG_TYPE)
    }

    /// A key for a writing command, put there with what `make` gives when it is missing; true says that it was.
    #[inline]
    pub fn write_or_put<'v>(
        &mut self,
        caller: &Caller,
        key: &Key<'_>,
        make: impl FnOnce() -> NewValue<'v, Value>,
    ) -> (&mut KeyEntry, bool) {
        self.change_or_put(caller, key, None, make)
    }

    /// The same where only these bytes of a string change, and others may be added at its end.
    #[inline]
    pub fn write_bytes_or_put<'v>(
        &mut self,
        caller: &Caller,
        key: &Key<'_>,
        bytes: Range<usize>,
        make: impl FnOnce() -> NewValue<'v, Value>,
    ) -> (&mut KeyEntry, bool) {
        self.change_or_put(caller, key, Some(bytes), make)
    }

    #[inline]
    fn change_or_put<'v>(
        &mut self,
        caller: &Caller,
        key: &Key<'_>,
        bytes: Option<Range<usize>>,
        make: impl FnOnce() -> NewValue<'v, Value>,
    ) -> (&mut KeyEntry, bool) {
        let db = caller.db as usize;
        let (keyspace, mut beside) = self.split();
        let clock = beside.fresh_clock();
        let new = || Entry::new(key.bytes, make(), clock, None);
        match keyspace.entry(db, key) {
            KeyPlace::Found(mut found) => {
                let due = beside.is_due(found.get()) && !beside.expiry_paused;
                if due {
                    let old = found.replace(new());
                    beside.on_expired(db, key, old);
                    beside.notify(db, key, Class::New, "new");
                } else {
                    beside.before_change(db, found.get_mut(), bytes);
                    beside.touch(caller, found.get_mut());
                }
                (found.into_mut(), due)
            }
            KeyPlace::Vacant(vacant) => {
                beside.notify(db, key, Class::New, "new");
                (vacant.insert(new()), true)
            }
        }
    }

    /// Sets a key to a value, whatever it held; the expiry goes unless `keep_ttl`.
    #[inline]
    pub fn put(
        &mut self,
        caller: &Caller,
        key: &Key<'_>,
        value: NewValue<'_, Value>,
        keep_ttl: bool,
    ) {
        self.replace(
            caller,
            key,
            value,
            if keep_ttl { Ttl::Keep } else { Ttl::Drop },
        );
    }

    /// Sets a key to a value that expires at `expire_at`, in Unix milliseconds.
    pub fn put_until(
        &mut self,
        caller: &Caller,
        key: &Key<'_>,
        value: NewValue<'_, Value>,
        expire_at: i64,
    ) {
        self.replace(caller, key, value, Ttl::At(expire_at));
        if self.follows {
            self.note_own_expiry(caller.db as usize, key);
        }
    }

    /// One search; in the usual overwrite no allocation either, since the new value goes where the old one was.
    #[inline]
    fn replace(&mut self, caller: &Caller, key: &Key<'_>, value: NewValue<'_, Value>, ttl: Ttl) {
        let db = caller.db as usize;
        let (keyspace, mut beside) = self.split();
        let mut found = match keyspace.entry(db, key) {
            KeyPlace::Found(found) => found,
            KeyPlace::Vacant(vacant) => {
                let expire_at = if let Ttl::At(at) = ttl {
                    Some(at)
                } else {
                    None
                };
                let clock = beside.fresh_clock();
                vacant.insert(Entry::new(key.bytes, value, clock, expire_at));
                beside.notify(db, key, Class::New, "new");
                return;
            }
        };
        let due = beside.is_due(found.get());
        let old_expiry = found.get().expire_at();
        let expire_at = match ttl {
            Ttl::Drop => None,
            Ttl::Keep => old_expiry.filter(|_| !due),
            Ttl::At(at) => Some(at),
        };
        let stays = !due || beside.expiry_paused;
        if stays
            && found.get().is_string()
            && expire_at.is_some() == old_expiry.is_some()
            && beside.before_overwrite(db, found.get_mut())
        {
            let clock = beside.clock_after_overwrite(caller, found.get().clock());
            let entry = found.get_mut();
            entry.set_value(value);
            entry.set_clock(clock);
            found.set_expire_at(expire_at);
            return;
        }
        let clock = if stays {
            beside.clock_after_overwrite(caller, found.get().clock())
        } else {
            beside.fresh_clock()
        };
        let entry = Entry::new(key.bytes, value, clock, expire_at);
        let old = found.replace(entry);
        if stays {
            beside.let_go(db, old);
        } else {
            beside.on_expired(db, key, old);
            beside.notify(db, key, Class::New, "new");
        }
    }

    /// Changes the expiry of a key as `decide` says, which gets the present one. The answer is what it said, or nothing
    /// when there is no such key.
    pub fn change_expiry(
        &mut self,
        caller: &Caller,
        key: &Key<'_>,
        decide: impl FnOnce(Option<i64>) -> ExpiryChange,
    ) -> Option<ExpiryChange> {
        let db = caller.db as usize;
        let (keyspace, mut beside) = self.split();
        let mut found = keyspace.found(db, key)?;
        if beside.is_due(found.get()) && !beside.expiry_paused {
            beside.on_expired(db, key, found.remove());
            return None;
        }
        beside.before_expiry_change(db, found.get_mut());
        beside.touch(caller, found.get_mut());
        let change = decide(found.get().expire_at());
        match change {
            ExpiryChange::Leave => {}
            ExpiryChange::To(expire_at) => found.set_expire_at(expire_at),
            ExpiryChange::Delete => beside.let_go(db, found.remove()),
        }
        if self.follows && matches!(change, ExpiryChange::To(Some(_))) {
            self.note_own_expiry(db, key);
        }
        Some(change)
    }

    /// On a replica: a key has got an expiry, by a client or by the stream.
    #[cold]
    fn note_own_expiry(&mut self, db: usize, key: &Key<'_>) {
        if !self.replaying {
            self.own_expiries.insert((db as u32, key.bytes.into()));
        }
    }

    /// On a replica: deletes those of the keys that its clients have given an expiry whose time has come.
    pub fn expire_own(&mut self) {
        if !self.follows {
            self.own_expiries = HashSet::new();
            return;
        }
        let now = self.now;
        let mut own = std::mem::take(&mut self.own_expiries);
        own.retain(|(db, name)| {
            let (db, key) = (*db as usize, Key::new(name));
            let (keyspace, mut beside) = self.split();
            match keyspace.found(db, &key) {
                Some(found) if is_due(found.get(), now) => {
                    beside.on_expired(db, &key, found.remove());
                    false
                }
                Some(found) => found.get().expire_at().is_some(),
                None => false,
            }
        });
        self.own_expiries = own;
    }

    /// Deletes a key; false when there is none (or its time had come).
    pub fn delete(&mut self, db: usize, key: &Key<'_>) -> bool {
        match self.take_living(db, key) {
            Some(entry) => {
                self.let_go(db, entry);
                true
            }
            None => false,
        }
    }

    /// Deletes a key whose structure has just become empty, and says so: the `del` event after a pop.
    pub fn delete_emptied(&mut self, db: usize, key: &Key<'_>) {
        if let Some(entry) = self.keyspace.remove(db, key) {
            self.let_go(db, entry);
        }
        self.notify(db, key, Class::Generic, "del");
    }

    /// Sets or removes the expiry of a key that was found before; false when there is no such key.
    pub fn set_expire_at(&mut self, db: usize, key: &Key<'_>, expire_at: Option<i64>) -> bool {
        let (keyspace, mut beside) = self.split();
        let Some(mut found) = keyspace.found(db, key) else {
            return false;
        };
        beside.before_expiry_change(db, found.get_mut());
        found.set_expire_at(expire_at);
        if self.follows && expire_at.is_some() {
            self.note_own_expiry(db, key);
        }
        true
    }

    /// A key that was found before, of which these bytes are to be changed, as by [`Shard::write_bytes`].
    pub fn edit_bytes(
        &mut self,
        db: usize,
        key: &Key<'_>,
        bytes: Range<usize>,
    ) -> Option<&mut KeyEntry> {
        let (keyspace, mut beside) = self.split();
        let mut found = keyspace.found(db, key)?;
        beside.before_change(db, found.get_mut(), Some(bytes));
        Some(found.into_mut())
    }

    /// A key that was found by a reading command and is to be changed all the same: what PFCOUNT keeps in its key. No
    /// clock moves.
    pub fn edit(&mut self, db: usize, key: &Key<'_>) -> Option<&mut KeyEntry> {
        let (keyspace, mut beside) = self.split();
        let mut found = keyspace.found(db, key)?;
        beside.before_change(db, found.get_mut(), None);
        Some(found.into_mut())
    }

    fn take_living(&mut self, db: usize, key: &Key<'_>) -> Option<KeyEntry> {
        let (keyspace, mut beside) = self.split();
        let found = keyspace.found(db, key)?;
        if !beside.is_due(found.get()) {
            return Some(found.remove());
        }
        if !beside.expiry_paused {
            beside.on_expired(db, key, found.remove());
        }
        None
    }
}
