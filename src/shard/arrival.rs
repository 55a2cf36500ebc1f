//! Values that come from elsewhere: from other shards, as effects that make a shard's stream tell its own keys' story
//! alone; from files, as they are loaded.

use super::own::Shard;
use crate::base::number::format_i64;
use crate::keyspace::KeyPlace;
use crate::persistence::load::LoadError;
use crate::persistence::rdb::{self, Loaded};
use crate::resp::request::Key;
use crate::structures::entry::{Entry, Payload};

impl Shard {
    /// Records that a key has come here from another shard, as it is now. The one place that says so.
    ///
    /// A string arrives as SET, anything else as RESTORE with its serialized form.
    pub fn record_arrival(&mut self, db: usize, key: &Key<'_>) {
        self.effects.suppress();
        if !self.effects.wanted() {
            return;
        }
        let Some(entry) = self.keyspace.find(db, key) else {
            return;
        };
        let (payload, at) = (entry.payload(), entry.expire_at().map(format_i64));
        let digits;
        let string = match payload {
            Payload::Bytes(bytes) => Some(bytes),
            Payload::Int(number) => {
                digits = format_i64(number);
                Some(digits.as_bytes())
            }
            Payload::Boxed(_) => None,
        };
        let effects = &mut self.effects;
        match (string, &at) {
            (Some(bytes), None) => effects.record(db, &[b"SET", key.bytes, bytes]),
            (Some(bytes), Some(at)) => {
                effects.record(db, &[b"SET", key.bytes, bytes, b"PXAT", at]);
            }
            (None, None) => {
                let dump = rdb::dump(&payload, self.config.rdbcompression);
                effects.record(db, &[b"RESTORE", key.bytes, b"0", &dump, b"REPLACE"]);
            }
            (None, Some(at)) => {
                let dump = rdb::dump(&payload, self.config.rdbcompression);
                effects.record(
                    db,
                    &[b"RESTORE", key.bytes, at, &dump, b"REPLACE", b"ABSTTL"],
                );
            }
        }
    }

    /// The value at `key` was made out of keys on other shards: what reproduces it from this shard's stream alone is the
    /// value itself.
    pub fn made_from_afar(&mut self, db: usize, key: &Key<'_>) {
        self.record_arrival(db, key);
    }

    /// Takes in a key of a full copy, beside the data that are there.
    pub fn take_in_apart(&mut self, loaded: Loaded) -> Result<(), LoadError> {
        let clock = self.clock_of_usage(loaded.idle_seconds, loaded.freq);
        let (db, expire_at) = (loaded.db as usize, loaded.expire_at);
        let Some(incoming) = &mut self.incoming else {
            return Err(LoadError::Stopped); // the copy was given up
        };
        let key = Key::new(&loaded.key);
        let entry = loaded
            .content
            .with_new(|value| Entry::new(key.bytes, value, clock, expire_at));
        match incoming.entry(db, &key) {
            KeyPlace::Vacant(vacant) => {
                vacant.insert(entry);
                Ok(())
            }
            KeyPlace::Found(_) => Err(LoadError::Duplicate(loaded.key, loaded.db)),
        }
    }

    /// Takes in a key from a file. One that is there already is replaced if `replace` says so, else refused.
    pub fn take_in(&mut self, loaded: Loaded, replace: bool) -> Result<(), LoadError> {
        let clock = self.clock_of_usage(loaded.idle_seconds, loaded.freq);
        let (db, expire_at) = (loaded.db as usize, loaded.expire_at);
        let key = Key::new(&loaded.key);
        let entry = loaded
            .content
            .with_new(|value| Entry::new(key.bytes, value, clock, expire_at));
        match self.keyspace.entry(db, &key) {
            KeyPlace::Vacant(vacant) => {
                vacant.insert(entry);
            }
            KeyPlace::Found(mut found) if replace => {
                let old = found.replace(entry);
                self.let_go(db, old);
            }
            KeyPlace::Found(_) => return Err(LoadError::Duplicate(loaded.key, loaded.db)),
        }
        Ok(())
    }
}
