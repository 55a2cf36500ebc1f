//! What a shard does for the walk of a snapshot: beginning it, making steps, and the changes that concern whole databases
//! or move keys about.

use std::sync::Arc;

use super::own::Shard;
use super::walk::{Progress, Walk};
use crate::keyspace::KeyEntry;
use crate::persistence::background::Feed;
use crate::resp::request::Key;

impl Shard {
    /// Begins a walk: the cut is now. One that was under way is given up.
    pub fn begin_walk(&mut self, feed: Arc<Feed>) {
        self.end_walk(false);
        let walk = Walk::begin(
            feed,
            self.index,
            &mut self.keyspace,
            &mut self.unfinished_walks,
            &self.config,
        );
        self.walk = Some(Box::new(walk));
    }

    /// The walk that is under way.
    #[inline]
    pub fn walk(&self) -> Option<&Walk> {
        self.walk.as_deref()
    }

    /// After a command that may have made the walk keep something. Whether writes that would add to it are to wait.
    pub fn count_kept(&mut self) -> bool {
        let Some(walk) = &mut self.walk else {
            return false;
        };
        walk.count_kept(&self.keyspace);
        walk.feed().is_crowded()
    }

    /// Whether a command that changes a key may make the walk keep something.
    pub fn would_keep(&self, db: usize, key: &Key<'_>) -> bool {
        self.walk.as_ref().is_some_and(|walk| {
            let entry = self.keyspace.find(db, key);
            entry.is_some_and(|entry| walk.would_keep(entry))
        })
    }

    /// Goes on with the walk while `more` says so. For the owner of the shard.
    pub fn step_walk(&mut self, more: &mut dyn FnMut() -> bool) -> Progress {
        let Some(walk) = &mut self.walk else {
            return Progress::Over;
        };
        let progress = walk.step(&mut self.keyspace, &self.config, self.now, more);
        let (is_over, trash) = (walk.feed().is_over(), walk.take_trash());
        for value in trash {
            self.discard(value);
        }
        if progress == Progress::Over {
            self.end_walk(!is_over);
        }
        progress
    }

    /// Gives up the walk that is under way: the data it is for go.
    pub fn give_up_walk(&mut self) {
        self.end_walk(false);
    }

    fn end_walk(&mut self, finished: bool) {
        let Some(walk) = self.walk.take() else {
            return;
        };
        self.unfinished_walks = if finished {
            0
        } else {
            self.unfinished_walks + 1
        };
        let (values, dbs) = walk.end(&mut self.keyspace);
        for value in values {
            self.discard(value);
        }
        for db in dbs {
            self.discard_db(db);
        }
    }

    /// Empties a database and gives the number of keys it held, which are freed in steps.
    pub fn flush_db(&mut self, db: usize) -> usize {
        let keys = self.keyspace.db(db).keys();
        if let Some(walk) = &mut self.walk {
            walk.before_flush(&mut self.keyspace, db);
            let content = self.keyspace.take_db(db);
            if let Some(content) = walk.flushed(db, content) {
                self.discard_db(content);
            }
        } else {
            let content = self.keyspace.take_db(db);
            self.discard_db(content);
        }
        keys
    }

    /// Exchanges two databases.
    pub fn swap_dbs(&mut self, a: usize, b: usize) {
        self.keyspace.swap(a, b);
        if let Some(walk) = &mut self.walk {
            walk.swapped(a, b);
        }
    }

    /// Takes out a key that a writing command has found, to put it in elsewhere: on this shard if it `stays`.
    pub fn take_out(&mut self, db: usize, key: &Key<'_>, stays: bool) -> Option<KeyEntry> {
        let mut entry = self.keyspace.remove(db, key)?;
        if let Some(walk) = &mut self.walk {
            match stays {
                true => walk.taken(db, &entry),
                false => walk.leaves(db, &mut entry, &self.config, self.now),
            }
        }
        Some(entry)
    }

    /// Puts in an entry under a key that is free.
    pub fn put_entry(&mut self, db: usize, key: &Key<'_>, entry: KeyEntry) {
        let entry = self.keyspace.insert_entry(db, key, entry);
        if let Some(walk) = &mut self.walk {
            walk.moved(db, entry);
        }
    }
}
