//! Client-side caching: who must be told that a key has changed (CLIENT TRACKING).
//!
//! Each shard remembers which clients have read which of its keys, by their numbers, and knows every tracking client and
//! every broadcast prefix of the server. What a client that has gone had read is passed over when the key changes.

use std::sync::{Arc, OnceLock};

use hashbrown::{HashMap, HashTable};
use smallvec::SmallVec;

use crate::base::hash::hash;
use crate::resp::Reply;

/// Random places looked at for an entry to drop before the first one that is found will do.
const DRAWS_MAX: usize = 64;

/// Where a client is: its core, and the token of its place there.
pub type Whereabouts = (u16, u64);

/// A client that wants to know of changes.
#[derive(Debug)]
pub struct Tracker {
    /// Its number.
    pub client: u64,
    /// Where it is.
    pub at: Whereabouts,
    /// Where the client is that is told instead, if another is.
    pub redirect: Option<Whereabouts>,
    /// It is told of all keys with its prefixes, not of those that it has read.
    pub bcast: bool,
    /// It is not told of its own changes.
    pub noloop: bool,
    /// Its prefixes in broadcast mode.
    pub prefixes: Vec<Box<[u8]>>,
}

/// Those who are told of all keys with one prefix.
#[derive(Debug)]
pub struct Group {
    prefix: Box<[u8]>,
    /// They.
    pub trackers: Vec<Arc<Tracker>>,
}

#[derive(Debug)]
struct Entry {
    key: Box<[u8]>,
    clients: SmallVec<[u64; 2]>,
}

/// Who must be told of changes on one shard.
#[derive(Debug, Default)]
pub struct Tracking {
    trackers: HashMap<u64, Arc<Tracker>>,
    groups: Vec<Arc<Group>>,
    table: HashTable<Entry>,
    items: usize,
}

impl Tracking {
    /// A client begins to track, changes how, or ends.
    pub fn set(&mut self, client: u64, tracker: Option<Arc<Tracker>>) {
        if let Some(old) = self.trackers.remove(&client)
            && old.bcast
        {
            for group in &mut self.groups {
                if group.trackers.iter().any(|one| one.client == client) {
                    let others = group.trackers.iter().filter(|one| one.client != client);
                    *group = Arc::new(Group {
                        prefix: group.prefix.clone(),
                        trackers: others.cloned().collect(),
                    });
                }
            }
            self.groups.retain(|group| !group.trackers.is_empty());
        }
        if let Some(tracker) = tracker {
            for prefix in &tracker.prefixes {
                self.join(prefix, &tracker);
            }
            self.trackers.insert(client, tracker);
        }
        if self.trackers.is_empty() {
            self.clear();
        }
    }

    fn join(&mut self, prefix: &[u8], tracker: &Arc<Tracker>) {
        let place = self
            .groups
            .binary_search_by(|group| (*group.prefix).cmp(prefix));
        let mut trackers = match place {
            Ok(at) => self.groups[at].trackers.clone(),
            Err(_) => Vec::new(),
        };
        trackers.push(tracker.clone());
        let group = Arc::new(Group {
            prefix: prefix.into(),
            trackers,
        });
        match place {
            Ok(at) => self.groups[at] = group,
            Err(at) => self.groups.insert(at, group),
        }
    }

    /// Whether any client tracks anything.
    pub fn is_active(&self) -> bool {
        !self.trackers.is_empty()
    }

    /// All tracking clients.
    pub fn trackers(&self) -> impl Iterator<Item = &Arc<Tracker>> {
        self.trackers.values()
    }

    /// A client has read a key.
    pub fn remember(&mut self, client: u64, key: &[u8]) {
        // Its end may have been made known while its last command was under way.
        if self
            .trackers
            .get(&client)
            .is_none_or(|tracker| tracker.bcast)
        {
            return;
        }
        let same = |entry: &Entry| *entry.key == *key;
        let entry = self
            .table
            .entry(hash(key), same, |entry| hash(&entry.key))
            .or_insert_with(|| Entry {
                key: key.into(),
                clients: SmallVec::new(),
            })
            .into_mut();
        if !entry.clients.contains(&client) {
            entry.clients.push(client);
            self.items += 1;
        }
    }

    /// A key has changed or is no longer remembered: who has read it and must be told.
    pub fn forget(&mut self, key: &[u8]) -> SmallVec<[Arc<Tracker>; 2]> {
        let same = |entry: &Entry| *entry.key == *key;
        let Ok(entry) = self.table.find_entry(hash(key), same) else {
            return SmallVec::new();
        };
        let (entry, _) = entry.remove();
        self.items -= entry.clients.len();
        let known = entry.clients.iter().filter_map(|id| self.trackers.get(id));
        known.filter(|tracker| !tracker.bcast).cloned().collect()
    }

    /// The groups whose prefix a key has.
    pub fn groups_of(&self, key: &[u8]) -> impl Iterator<Item = &Arc<Group>> {
        self.groups
            .iter()
            .filter(move |group| key.starts_with(&group.prefix))
    }

    /// A key that is remembered, by `chance`; none when there is none.
    pub fn any_key(&self, mut chance: impl FnMut() -> u64) -> Option<Box<[u8]>> {
        let places = self.table.num_buckets() as u64;
        let drawn = (0..DRAWS_MAX).find_map(|_| {
            let place = chance() % places.max(1);
            self.table.get_bucket(place as usize)
        });
        let entry = drawn.or_else(|| self.table.iter().next());
        entry.map(|entry| entry.key.clone())
    }

    /// Forgets what has been read.
    pub fn clear(&mut self) {
        self.table = HashTable::new();
        self.items = 0;
    }

    /// How many keys are remembered.
    pub fn keys(&self) -> usize {
        self.table.len()
    }

    /// How many keys are remembered, each as often as there are clients.
    pub fn items(&self) -> usize {
        self.items
    }

    /// How many prefixes are broadcast.
    pub fn prefixes(&self) -> usize {
        self.groups.len()
    }
}

/// How a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// By a push message: RESP3.
    Push,
    /// By a message on the channel `__redis__:invalidate`: RESP2, on behalf of another client.
    Message,
}

/// Keys that are no longer valid, as clients are told.
#[derive(Debug)]
pub struct Invalidation {
    keys: Option<Box<[Box<[u8]>]>>,
    encoded: [OnceLock<Box<[u8]>>; 2],
}

impl Invalidation {
    /// Of these keys, or of all.
    pub fn new(keys: Option<Vec<Box<[u8]>>>) -> Self {
        Invalidation {
            keys: keys.map(Vec::into_boxed_slice),
            encoded: Default::default(),
        }
    }

    /// Its bytes.
    pub fn bytes(&self, form: Form) -> &[u8] {
        self.encoded[form as usize].get_or_init(|| {
            let mut out = Vec::new();
            let mut reply = Reply::new(&mut out, form == Form::Push);
            match form {
                Form::Push => {
                    reply.push(2);
                    reply.bulk(b"invalidate");
                }
                Form::Message => {
                    reply.array(3);
                    reply.bulk(b"message");
                    reply.bulk(b"__redis__:invalidate");
                }
            }
            match &self.keys {
                None => reply.null(),
                Some(keys) => {
                    reply.array(keys.len());
                    keys.iter().for_each(|key| reply.bulk(key));
                }
            }
            out.into()
        })
    }

    /// Bytes of memory it takes, about.
    pub fn size(&self) -> usize {
        const EACH: usize = 32;
        let keys = self.keys.iter().flatten();
        size_of::<Invalidation>() + keys.map(|key| key.len() + EACH).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker(client: u64, prefixes: &[&str]) -> Option<Arc<Tracker>> {
        Some(Arc::new(Tracker {
            client,
            at: (0, client),
            redirect: None,
            bcast: !prefixes.is_empty(),
            noloop: false,
            prefixes: prefixes.iter().map(|one| one.as_bytes().into()).collect(),
        }))
    }

    fn clients(all: &[Arc<Tracker>]) -> Vec<u64> {
        all.iter().map(|tracker| tracker.client).collect()
    }

    #[test]
    fn who_has_read_a_key_is_told_once_unless_gone() {
        let mut tracking = Tracking::default();
        for client in 1..=3 {
            tracking.set(client, tracker(client, &[]));
            tracking.remember(client, b"k");
            tracking.remember(client, b"k");
        }
        tracking.remember(4, b"k");
        assert_eq!((tracking.keys(), tracking.items()), (1, 3));
        tracking.set(2, None);
        assert_eq!(clients(&tracking.forget(b"k")), [1, 3]);
        assert!(tracking.forget(b"k").is_empty());
        tracking.remember(1, b"k");
        tracking.set(1, None);
        tracking.set(3, None);
        assert_eq!((tracking.keys(), tracking.is_active()), (0, false));
    }

    #[test]
    fn prefixes_have_groups() {
        let mut tracking = Tracking::default();
        tracking.set(1, tracker(1, &["a", "b"]));
        tracking.set(2, tracker(2, &["ab", "b"]));
        let of = |tracking: &Tracking, key: &[u8]| -> Vec<Vec<u64>> {
            tracking
                .groups_of(key)
                .map(|group| clients(&group.trackers))
                .collect()
        };
        assert_eq!(of(&tracking, b"abc"), [vec![1], vec![2]]);
        assert_eq!(of(&tracking, b"bc"), [vec![1, 2]]);
        assert!(of(&tracking, b"c").is_empty());
        assert_eq!(tracking.prefixes(), 3);
        tracking.set(1, None);
        assert_eq!(
            (of(&tracking, b"bc"), tracking.prefixes()),
            (vec![vec![2]], 2)
        );
    }

    #[test]
    fn any_remembered_key_may_be_drawn() {
        let mut tracking = Tracking::default();
        tracking.set(1, tracker(1, &[]));
        assert!(tracking.any_key(|| 5).is_none());
        for n in 0..100u8 {
            tracking.remember(1, &[n]);
        }
        let (mut seed, mut drawn) = (1u64, std::collections::HashSet::new());
        for _ in 0..2000 {
            let key = tracking.any_key(|| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed >> 33
            });
            drawn.insert(key.unwrap());
        }
        assert_eq!(drawn.len(), 100);
    }

    #[test]
    fn each_form_has_its_bytes() {
        let some = Invalidation::new(Some(vec![Box::from(&b"k"[..])]));
        assert_eq!(
            some.bytes(Form::Push),
            b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"
        );
        let all = Invalidation::new(None);
        assert_eq!(all.bytes(Form::Push), b">2\r\n$10\r\ninvalidate\r\n_\r\n");
        assert_eq!(
            all.bytes(Form::Message),
            b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n"
        );
    }
}
