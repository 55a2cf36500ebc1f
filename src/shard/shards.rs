//! Several shards at hand at once: what a command sees whose keys concern each other.
//!
//! When all keys are on one shard this is that shard; else it is a transaction's lent shards. The handler is the same.

use super::own::Shard;
use crate::base::slot::key_slot;
use crate::keyspace::blocked::{Wait, Waiter};
use crate::resp::request::{Args, Key};

/// Exclusive access to the shards that own a command's keys.
pub struct Shards<'a> {
    held: &'a mut [&'a mut Shard],
    /// How many shards the server has.
    total: usize,
    /// The blocked client whose request is run again.
    waiter: Option<&'a Waiter>,
    /// This run has won the waiter.
    won: bool,
    /// The command wants to wait.
    wait: Option<Wait>,
}

impl<'a> Shards<'a> {
    /// The shards at hand, of so many in all.
    pub fn new(held: &'a mut [&'a mut Shard], total: usize) -> Self {
        assert!(!held.is_empty(), "a step concerns a shard at least");
        Shards {
            held,
            total,
            waiter: None,
            won: false,
            wait: None,
        }
    }

    /// The same, for the request of a blocked client: a key that it waits for has changed.
    pub fn for_waiter(held: &'a mut [&'a mut Shard], total: usize, waiter: &'a Waiter) -> Self {
        let mut shards = Shards::new(held, total);
        shards.waiter = Some(waiter);
        shards
    }

    /// A blocking command has found nothing: its client waits until a key of `wait` changes, and then the command runs
    /// again. Whatever it replies now is what it says where nobody may block (in EXEC and scripts), and is dropped
    /// otherwise. A client whose request was run again goes on waiting as before.
    pub fn block(&mut self, wait: Wait) {
        self.wait = Some(wait);
    }

    /// A blocking command asks this before it changes anything. False when the client has been answered by somebody
    /// else meanwhile: then the command returns at once and changes nothing.
    #[must_use]
    pub fn claim(&mut self) -> bool {
        if !self.won {
            self.won = self.waiter.is_none_or(Waiter::win);
        }
        self.won
    }

    /// Whether this is a blocked client's request, run again because a key has changed.
    pub fn runs_again(&self) -> bool {
        self.waiter.is_some()
    }

    /// What the command has said by `block`.
    pub fn take_wait(&mut self) -> Option<Wait> {
        self.wait.take()
    }

    /// The shard that owns `key`, when it is at hand. For blocking commands, which pass over keys of other shards: these
    /// were looked at when the client blocked, and if they have changed since, their own shard sees to it.
    pub fn get(&mut self, key: &Key<'_>) -> Option<&mut Shard> {
        let index = usize::from(key.slot) % self.total;
        self.held
            .iter_mut()
            .find(|shard| shard.index == index)
            .map(|shard| &mut **shard)
    }

    /// The shard that owns `key`. Panics when it is not at hand: routing has failed.
    #[inline]
    pub fn of(&mut self, key: &Key<'_>) -> &mut Shard {
        let index = usize::from(key.slot) % self.total;
        if self.held.len() == 1 {
            debug_assert_eq!(self.held[0].index, index, "the key's shard is at hand");
            return self.held[0];
        }
        self.held
            .iter_mut()
            .find(|shard| shard.index == index)
            .expect("routing holds the shard of every key")
    }

    /// The same to read: several shards can be looked at together.
    pub fn at(&self, key: &Key<'_>) -> &Shard {
        let index = usize::from(key.slot) % self.total;
        self.held
            .iter()
            .find(|shard| shard.index == index)
            .expect("routing holds the shard of every key")
    }

    /// Any of them: for what does not depend on a key (time, configuration, chance).
    pub fn any(&mut self) -> &mut Shard {
        self.held[0]
    }

    /// All that are at hand.
    pub fn all(&mut self) -> &mut [&'a mut Shard] {
        self.held
    }

    /// The same, one after the other.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Shard> {
        self.held.iter_mut().map(|shard| &mut **shard)
    }

    /// The same to read.
    pub fn iter(&self) -> impl Iterator<Item = &Shard> {
        self.held.iter().map(|shard| &**shard)
    }

    /// How many of them are at hand.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Records a request whose keys, from argument 1 on and `step` arguments apart, are spread: each shard that changed
    /// something says `name` with its own keys and what follows them. Where a single shard is at hand there is nothing
    /// to say: the request itself is the effect.
    pub fn record_parts(&mut self, args: &Args<'_>, name: &[u8], step: usize) {
        if self.held.len() == 1 || !self.held[0].effects.wanted() {
            return;
        }
        let total = self.total;
        for shard in self
            .held
            .iter_mut()
            .filter(|shard| shard.effects.has_changed())
        {
            let mut parts = vec![name];
            for at in (1..args.len()).step_by(step) {
                if usize::from(key_slot(args.get(at))) % total == shard.index {
                    parts.extend((at..at + step).filter_map(|at| args.opt(at)));
                }
            }
            shard.effects.record(args.db(), &parts);
        }
    }

    /// How many shards the server has.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Whether two keys are on the same shard.
    pub fn together(&self, a: &Key<'_>, b: &Key<'_>) -> bool {
        usize::from(a.slot) % self.total == usize::from(b.slot) % self.total
    }
}
