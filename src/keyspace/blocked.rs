//! Blocked keys: who waits for data to come to a key, in the order of blocking, and which keys have changed since.
//!
//! A blocked client is one `Waiter`, registered with every key it waits for, on however many shards. Its token is the
//! whole truth about it: whoever has something for it (a shard with data, the time-out, CLIENT UNBLOCK, the end of its
//! connection) wins or loses by one compare-and-swap, before anything is popped. The winner takes the waiter off the
//! keys; until that has happened everywhere, a waiter that is over is passed over.
//!
//! Nothing here answers anybody. A changed key is noted as ready; after the unit that changed it (a command, EXEC, a
//! script) the engine runs the requests of those who wait for it again (`engine/blocked.rs`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hashbrown::{Equivalent, HashMap, HashSet};
use smallvec::SmallVec;

use crate::resp::request::{Caller, OwnedArgs};

use super::value::Value;

/// Queues shorter than this are not cleared of waiters that are over.
const COMPACT_MIN: usize = 32;

/// Keys become ready in one order over all shards, in which they are served. Counted only while somebody is blocked.
static READY_ORDER: AtomicU64 = AtomicU64::new(0);

/// What a blocked client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// BLPOP and its kin.
    List,
    /// BZPOPMIN and its kin.
    Zset,
    /// XREAD and XREADGROUP.
    Stream,
}

impl Awaits {
    /// What a value can serve.
    pub fn of(value: &Value) -> Option<Awaits> {
        match value {
            Value::List(_) => Some(Awaits::List),
            Value::Zset(_) => Some(Awaits::Zset),
            Value::Stream(_) => Some(Awaits::Stream),
            Value::Set(_) | Value::Hash(_) => None,
        }
    }
}

/// What a command says when it has to wait (`Shards::block`).
#[derive(Clone, Debug)]
pub struct Wait {
    /// The type of value that may serve it.
    pub awaits: Awaits,
    /// Which arguments are the keys it waits for.
    pub keys: SmallVec<[u32; 4]>,
    /// Which argument is a key whose shard must be at hand too when it is served: where BLMOVE puts the element.
    pub target: Option<u32>,
    /// Until when, Unix milliseconds; `None` for ever.
    pub until: Option<i64>,
    /// It also wants to hear when a key is deleted, or replaced by another type: XREADGROUP, whose group is gone then.
    pub when_gone: bool,
    /// The request that is run again when a key is ready, if it is not the same one: XREAD with what `$` stands for.
    /// The keys are at the same places.
    pub again: Option<OwnedArgs>,
}

/// A blocked client, as the shards that it waits for know it.
#[derive(Debug)]
pub struct Waiter {
    over: AtomicBool,
    /// The core that serves its connection.
    pub home: u16,
    /// The connection there, as a `Place` token.
    pub place: u64,
    /// Place of its command in the command table.
    pub command: u16,
    /// The request that is run again.
    pub args: OwnedArgs,
    /// Who asks.
    pub caller: Caller,
    /// For what.
    pub wait: Wait,
}

impl Waiter {
    /// A waiter whose token is free.
    pub fn new(
        home: usize,
        place: u64,
        command: u16,
        args: OwnedArgs,
        caller: Caller,
        mut wait: Wait,
    ) -> Self {
        {
            // Each key once; there may be many.
            let args = args.args(caller);
            let mut known = HashSet::with_capacity(wait.keys.len());
            wait.keys
                .retain(|place| known.insert(args.get(*place as usize)));
        }
        Waiter {
            over: AtomicBool::new(false),
            home: home as u16,
            place,
            command,
            args,
            caller,
            wait,
        }
    }

    /// Whoever has something for this client asks this before doing anything: true for one caller only.
    pub fn win(&self) -> bool {
        self.over
            .compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Whether somebody has won.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// The keys it waits for, each once, in the order of the request.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let args = self.args.args(self.caller);
        self.wait
            .keys
            .iter()
            .map(move |&place| args.get(place as usize))
    }
}

/// A key that has changed since its waiters were looked at.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Its turn among the ready keys of all shards.
    pub order: u64,
    /// The database.
    pub db: u32,
    /// The key.
    pub key: Box<[u8]>,
    /// The shard without which the first of its waiters cannot be served: found when that was tried.
    pub needs: Option<u16>,
}

#[derive(Debug, Default)]
struct Queue {
    waiters: VecDeque<Arc<Waiter>>,
    /// Those that are not over, as far as the shard has heard.
    live: usize,
    /// Those of the living that want to hear of a deletion.
    when_gone: usize,
    /// It is among the ready keys.
    ready: bool,
}

/// Looks a key up without owning it.
#[derive(Hash)]
struct Name<'a>(u32, &'a [u8]);

impl Equivalent<(u32, Box<[u8]>)> for Name<'_> {
    fn equivalent(&self, known: &(u32, Box<[u8]>)) -> bool {
        self.0 == known.0 && *self.1 == *known.1
    }
}

/// The blocked keys of one shard, which are mostly missing keys.
#[derive(Debug, Default)]
pub struct Blocked {
    by_key: HashMap<(u32, Box<[u8]>), Queue>,
    ready: VecDeque<Ready>,
    /// How many keys somebody waits for who wants to hear of a deletion.
    when_gone: usize,
}

impl Blocked {
    /// Whether nobody waits for a key of this shard.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// How many keys somebody waits for.
    #[inline]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// How many of them somebody waits for who wants to hear of a deletion too.
    pub fn when_gone(&self) -> usize {
        self.when_gone
    }

    /// Whether keys have changed whose waiters have not been looked at: what every unit asks at its end.
    #[inline]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Adds a waiter behind those that wait for the key.
    pub fn add(&mut self, db: u32, key: &[u8], waiter: &Arc<Waiter>) {
        let queue = self.by_key.entry((db, key.into())).or_default();
        if queue.waiters.len() > 2 * queue.live + COMPACT_MIN {
            queue.waiters.retain(|waiter| !waiter.is_over());
        }
        queue.waiters.push_back(waiter.clone());
        queue.live += 1;
        if waiter.wait.when_gone {
            queue.when_gone += 1;
            self.when_gone += usize::from(queue.when_gone == 1);
        }
    }

    /// A waiter is over and leaves this key. Its winner says so, once for each of its keys.
    pub fn remove(&mut self, db: u32, key: &[u8], waiter: &Waiter) {
        assert!(waiter.is_over(), "somebody has won before a waiter leaves");
        let Some(queue) = self.by_key.get_mut(&Name(db, key)) else {
            return;
        };
        queue.live -= 1;
        if waiter.wait.when_gone {
            queue.when_gone -= 1;
            self.when_gone -= usize::from(queue.when_gone == 0);
        }
        if queue.live == 0 {
            self.by_key.remove(&Name(db, key));
        }
    }

    /// A key has changed: if somebody waits for it, it is ready.
    #[cold]
    pub fn signal(&mut self, db: usize, key: &[u8]) {
        if let Some(queue) = self.by_key.get_mut(&Name(db as u32, key))
            && !queue.ready
        {
            queue.ready = true;
            self.ready.push_back(Ready {
                order: READY_ORDER.fetch_add(1, Ordering::Relaxed),
                db: db as u32,
                key: key.into(),
                needs: None,
            });
        }
    }

    /// A whole database has changed: emptied or exchanged. All its blocked keys are looked at.
    pub fn signal_db(&mut self, db: usize) {
        let keys: Vec<Box<[u8]>> = self
            .by_key
            .keys()
            .filter(|(of, _)| *of == db as u32)
            .map(|(_, key)| key.clone())
            .collect();
        for key in keys {
            self.signal(db, &key);
        }
    }

    /// The turn of the ready key that comes next here.
    pub fn next_ready(&self) -> Option<u64> {
        self.ready.front().map(|ready| ready.order)
    }

    /// Takes the next ready key; if it changes while it is served, it is ready again.
    pub fn take_ready(&mut self) -> Option<Ready> {
        let ready = self.ready.pop_front()?;
        if let Some(queue) = self.by_key.get_mut(&Name(ready.db, &ready.key)) {
            queue.ready = false;
        }
        Some(ready)
    }

    /// A ready key could not be served with the shards at hand: it is ready still, and before all others.
    pub fn put_back(&mut self, ready: Ready) {
        let Some(queue) = self.by_key.get_mut(&Name(ready.db, &ready.key)) else {
            return; // all who waited are gone meanwhile
        };
        if std::mem::replace(&mut queue.ready, true) {
            self.ready
                .retain(|other| other.db != ready.db || other.key != ready.key);
        }
        self.ready.push_front(ready);
    }

    /// The shards that the ready keys need beside this one.
    pub fn needs(&self) -> impl Iterator<Item = u16> {
        self.ready.iter().filter_map(|ready| ready.needs)
    }

    /// Begins to look at a key's waiters: clears away some of those that are over.
    pub fn begin(&mut self, ready: &Ready) {
        let Some(queue) = self.by_key.get_mut(&Name(ready.db, &ready.key)) else {
            return;
        };
        while queue.waiters.pop_front_if(|w| w.is_over()).is_some() {}
    }

    /// The first living waiter of a key from `place` on in its queue, with its place.
    pub fn waiter(&self, ready: &Ready, mut place: usize) -> Option<(usize, Arc<Waiter>)> {
        let queue = self.by_key.get(&Name(ready.db, &ready.key))?;
        while let Some(waiter) = queue.waiters.get(place) {
            if !waiter.is_over() {
                return Some((place, waiter.clone()));
            }
            place += 1;
        }
        None
    }

    /// Whether somebody waits for the key who wants to hear of its deletion.
    pub fn wants_gone(&self, ready: &Ready) -> bool {
        self.by_key
            .get(&Name(ready.db, &ready.key))
            .is_some_and(|queue| queue.when_gone > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(keys: &[&str], when_gone: bool) -> Arc<Waiter> {
        let args: OwnedArgs = std::iter::once(&b"BLPOP"[..])
            .chain(keys.iter().map(|key| key.as_bytes()))
            .collect();
        let wait = Wait {
            awaits: Awaits::List,
            keys: (1..=keys.len() as u32).collect(),
            target: None,
            until: None,
            when_gone,
            again: None,
        };
        Arc::new(Waiter::new(0, 0, 0, args, Caller::default(), wait))
    }

    fn add(blocked: &mut Blocked, waiter: &Arc<Waiter>) {
        for key in waiter.keys() {
            blocked.add(0, key, waiter);
        }
    }

    fn end(blocked: &mut Blocked, waiter: &Arc<Waiter>) {
        assert!(waiter.win());
        for key in waiter.keys() {
            blocked.remove(0, key, waiter);
        }
    }

    #[test]
    fn one_of_many_wins_a_waiter() {
        let waiter = waiter(&["k"], false);
        let winners: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| usize::from(waiter.win())))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(winners, 1);
        assert!(waiter.is_over());
    }

    #[test]
    fn a_key_is_ready_once_however_often_it_changes_and_only_while_somebody_waits() {
        let mut blocked = Blocked::default();
        blocked.signal(0, b"a");
        assert!(!blocked.has_ready());
        let (first, second) = (waiter(&["a", "b", "a"], false), waiter(&["a"], false));
        add(&mut blocked, &first);
        add(&mut blocked, &second);
        assert_eq!(blocked.len(), 2);
        for key in ["b", "a", "b", "c"] {
            blocked.signal(0, key.as_bytes());
        }
        blocked.signal(1, b"a");
        let ready = blocked.take_ready().unwrap();
        assert_eq!(&*ready.key, b"b");
        let ready = blocked.take_ready().unwrap();
        assert_eq!(&*ready.key, b"a");
        assert!(!blocked.has_ready());
        let (place, found) = blocked.waiter(&ready, 0).unwrap();
        assert!(Arc::ptr_eq(&found, &first), "first come, first served");
        end(&mut blocked, &first);
        let (_, found) = blocked.waiter(&ready, place).unwrap();
        assert!(Arc::ptr_eq(&found, &second));
        end(&mut blocked, &second);
        assert!(blocked.waiter(&ready, 0).is_none() && blocked.is_empty());
    }

    #[test]
    fn a_key_that_could_not_be_served_stays_first() {
        let mut blocked = Blocked::default();
        add(&mut blocked, &waiter(&["a", "b"], false));
        blocked.signal(0, b"a");
        blocked.signal(0, b"b");
        let mut ready = blocked.take_ready().unwrap();
        blocked.signal(0, b"a");
        ready.needs = Some(3);
        blocked.put_back(ready);
        assert_eq!(blocked.needs().collect::<Vec<_>>(), [3]);
        assert_eq!(&*blocked.take_ready().unwrap().key, b"a");
        assert_eq!(&*blocked.take_ready().unwrap().key, b"b");
        assert!(!blocked.has_ready());
    }

    #[test]
    fn those_who_want_to_hear_of_deletions_are_counted() {
        let mut blocked = Blocked::default();
        let waiters = [
            waiter(&["a"], true),
            waiter(&["a", "b"], true),
            waiter(&["c"], false),
        ];
        waiters.iter().for_each(|waiter| add(&mut blocked, waiter));
        assert_eq!((blocked.len(), blocked.when_gone()), (3, 2));
        waiters.iter().for_each(|waiter| end(&mut blocked, waiter));
        assert_eq!((blocked.len(), blocked.when_gone()), (0, 0));
    }

    #[test]
    fn a_queue_does_not_keep_many_that_are_over() {
        let mut blocked = Blocked::default();
        let last = waiter(&["a"], false);
        add(&mut blocked, &last);
        for _ in 0..10_000 {
            let waiter = waiter(&["a"], false);
            add(&mut blocked, &waiter);
            end(&mut blocked, &waiter);
        }
        let queue = &blocked.by_key[&Name(0, b"a")];
        assert!(queue.live == 1 && queue.waiters.len() < 100);
    }
}
