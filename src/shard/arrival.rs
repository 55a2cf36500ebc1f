//! Values that come from other shards, as effects: what makes a shard's stream tell its own keys' story alone.

use super::own::Shard;
use crate::base::number::format_i64;
use crate::persistence::rdb;
use crate::resp::request::Key;
use crate::structures::entry::Payload;

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
}
