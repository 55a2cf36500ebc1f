//! Watched keys: who must hear that a key changed before their EXEC.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;

/// A client's watch: shared with every shard that owns one of its watched keys.
#[derive(Debug, Default)]
pub struct WatchToken {
    broken: AtomicBool,
}

impl WatchToken {
    /// A watched key changed. Release pairs with the acquire in `is_broken`; the shard's own hand-over orders the rest.
    pub fn set_broken(&self) {
        self.broken.store(true, Ordering::Release);
    }

    /// Whether a watched key changed.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }
}

/// The watched keys of one shard, missing keys included.
#[derive(Debug, Default)]
pub struct Watched {
    by_key: HashMap<(u32, Box<[u8]>), Vec<Arc<WatchToken>>>,
}

impl Watched {
    /// Whether anything is watched; the branch every write pays.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Begins to watch.
    pub fn add(&mut self, db: usize, key: &[u8], token: &Arc<WatchToken>) {
        let tokens = self.by_key.entry((db as u32, key.into())).or_default();
        if !tokens.iter().any(|known| Arc::ptr_eq(known, token)) {
            tokens.push(token.clone());
        }
    }

    /// Stops to watch.
    pub fn remove(&mut self, db: usize, key: &[u8], token: &Arc<WatchToken>) {
        let place = (db as u32, Box::from(key));
        if let Some(tokens) = self.by_key.get_mut(&place) {
            tokens.retain(|known| !Arc::ptr_eq(known, token));
            if tokens.is_empty() {
                self.by_key.remove(&place);
            }
        }
    }

    /// The key changed: all watches on it are broken.
    pub fn touch(&mut self, db: usize, key: &[u8]) {
        if self.is_empty() {
            return;
        }
        if let Some(tokens) = self.by_key.get(&(db as u32, Box::from(key))) {
            tokens.iter().for_each(|token| token.set_broken());
        }
    }

    /// Breaks watches in `db` for which `changed` says that the key did.
    pub fn touch_if(&mut self, db: usize, mut changed: impl FnMut(&[u8]) -> bool) {
        for ((of, key), tokens) in &self.by_key {
            if *of == db as u32 && changed(key) {
                tokens.iter().for_each(|token| token.set_broken());
            }
        }
    }

    /// Tells the keys watched in `db`.
    pub fn names(&self, db: usize, mut each: impl FnMut(&[u8])) {
        for (of, key) in self.by_key.keys() {
            if *of == db as u32 {
                each(key);
            }
        }
    }

    /// How many keys are watched.
    #[inline]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }
}
