//! The keys of one hash slot, for a cluster: counted, listed, and deleted when the slot has gone to another node.

use crate::base::slot::Slot;
use crate::resp::request::Key;

use super::own::{Class, Shard, gone};

/// The one database of a server in cluster mode.
const DB: usize = 0;

impl Shard {
    /// Whether requests for this slot are served by this shard without any further question, as far as the cluster goes.
    #[inline]
    pub fn serves(&self, slot: Slot) -> bool {
        self.slot_map.as_ref().is_none_or(|map| map.serves(slot))
    }

    /// Whether a key is there for a client that asks for it now. It is neither touched nor expired.
    pub fn has_key(&self, bytes: &[u8]) -> bool {
        let entry = self.keyspace.find(DB, &Key::new(bytes));
        entry.is_some_and(|entry| !self.is_due(entry))
    }

    /// Up to `most` keys of a slot that this shard owns.
    pub fn keys_of_slot(&self, slot: Slot, most: usize) -> Vec<Box<[u8]>> {
        let mut keys = Vec::new();
        if usize::from(slot) % self.keyspace.shards() != self.keyspace.index() || most == 0 {
            return keys;
        }
        let (place, mut cursor) = (self.keyspace.place(slot), 0);
        loop {
            cursor = self.keyspace.scan(DB, place, cursor, |entry| {
                if keys.len() < most {
                    keys.push(Box::from(entry.key()));
                }
            });
            if cursor == 0 || keys.len() >= most {
                return keys;
            }
        }
    }

    /// How many keys a slot holds here.
    pub fn slot_len(&self, slot: Slot) -> usize {
        match usize::from(slot) % self.keyspace.shards() == self.keyspace.index() {
            true => self.keyspace.slot_len(DB, slot),
            false => 0,
        }
    }

    /// Deletes up to `budget` keys of a slot that another node owns now. Whether some are left.
    pub fn drop_keys_of_slot(&mut self, slot: Slot, budget: usize) -> bool {
        for bytes in self.keys_of_slot(slot, budget) {
            let key = Key::new(&bytes);
            let Some(entry) = self.keyspace.remove(DB, &key) else {
                continue;
            };
            self.let_go(DB, entry);
            let word = gone(self.config.lazyfree_lazy_server_del);
            self.effects.record_aside(DB, &[word, key.bytes]);
            self.changed(DB, &key, Class::Generic, "del");
        }
        self.slot_len(slot) > 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::slot::key_slot;
    use crate::config::Config;
    use crate::structures::entry::NewValue;

    #[test]
    fn keys_of_one_slot_are_listed_and_dropped_and_others_stay() {
        let mut shard = Shard::new(0, 1, Arc::new(Config::default()), 1);
        for number in 0..100 {
            for tag in ["a", "b"] {
                let name = format!("{{{tag}}}{number}");
                let key = Key::new(name.as_bytes());
                shard
                    .keyspace
                    .insert(0, &key, NewValue::Int(number), 0, None);
            }
        }
        let (a, b) = (key_slot(b"a"), key_slot(b"b"));
        assert_eq!(shard.keys_of_slot(a, 10).len(), 10);
        assert_eq!(shard.keys_of_slot(a, 1000).len(), 100);
        assert!(shard.has_key(b"{a}7") && !shard.has_key(b"{a}700"));
        assert!(shard.drop_keys_of_slot(a, 60));
        assert!(!shard.drop_keys_of_slot(a, 60));
        assert_eq!((shard.slot_len(a), shard.slot_len(b)), (0, 100));
        assert!(shard.serves(a), "there is no cluster");
    }
}
