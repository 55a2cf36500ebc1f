//! What handlers have to say to clients: it is collected with the shard they run on, and the engine delivers it when the
//! command, transaction or script is over.
//!
//! A handler knows no sockets. It finds out here who would listen, so that nothing is built for nobody.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::audience::{Audience, Cores, Subscription};
use super::message::Publication;
use super::subscriptions::Topic;
use super::tracking::{Group, Tracker, Tracking};

/// Bits of `notify-keyspace-events` that say on which channels events appear: `K` and `E`.
const ON_KEY_CHANNEL: u32 = 1;
const ON_EVENT_CHANNEL: u32 = 1 << 1;

/// Something to be delivered.
#[derive(Debug)]
pub enum Outgoing {
    /// A message to all subscribers on these cores.
    Publication(Cores, Arc<Publication>),
    /// A client that has read this key, or all of them, is told that they are no longer valid.
    Invalid(Arc<Tracker>, Option<Box<[u8]>>),
    /// Other nodes of the cluster are to have this message too: topic, channel, message.
    ToNodes(Topic, Box<[u8]>, Box<[u8]>),
    /// A key with the prefix of a group has changed.
    Changed {
        /// Who is told, at the end of the turn.
        group: Arc<Group>,
        /// The key.
        key: Box<[u8]>,
        /// By nobody: it expired or was evicted.
        aside: bool,
    },
}

/// A change that every shard is told of.
#[derive(Clone, Debug)]
pub enum Change {
    /// A subscription begins or ends.
    Subscription(Subscription),
    /// A client tracks keys in this way from now on, or not at all.
    Tracker(u64, Option<Arc<Tracker>>),
}

/// Set in `News::attention` while some client tracks keys. Redis's letters need far fewer bits.
const TRACKED: u32 = 1 << 31;

/// What is said on one shard, and who would hear it.
#[derive(Debug, Default)]
pub struct News {
    /// Who has subscribed where.
    pub audience: Audience,
    /// Who must hear that a key has changed.
    pub tracking: Tracking,
    /// Bits of `notify-keyspace-events`, none unless some event would appear on some channel; and `TRACKED`.
    attention: u32,
    /// Each with its number among what is said on several shards in one step.
    outbox: Vec<(u64, Outgoing)>,
    /// Bytes of memory that names of keys in there take.
    outbox_bytes: usize,
    /// Numbers for what is said on several shards in one step.
    numbers: Option<Arc<AtomicU64>>,
    /// Room for names of channels.
    name: Vec<u8>,
}

impl News {
    /// The bits of `notify-keyspace-events`.
    pub fn set_events(&mut self, bits: u32) {
        let channels = ON_KEY_CHANNEL | ON_EVENT_CHANNEL;
        let events = if bits & channels == 0 { 0 } else { bits };
        self.attention = self.attention & TRACKED | events;
    }

    /// Takes note of a change on `core`.
    pub fn apply(&mut self, core: u16, change: &Change) {
        match change {
            Change::Subscription(subscription) => self.audience.apply(core, subscription),
            Change::Tracker(client, tracker) => {
                self.tracking.set(*client, tracker.clone());
                let tracked = if self.tracking.is_active() {
                    TRACKED
                } else {
                    0
                };
                self.attention = self.attention & !TRACKED | tracked;
            }
        }
    }

    /// Whether anybody might want to hear of a change: the branch that every change pays.
    #[inline]
    pub fn is_attentive(&self) -> bool {
        self.attention != 0
    }

    /// Whether events of this class are wanted.
    #[inline]
    pub fn wants(&self, class: u32) -> bool {
        self.attention & class != 0
    }

    /// Something happened to a key. Nothing is kept of it if nobody would hear it.
    #[cold]
    pub fn event(&mut self, db: usize, event: &str, key: &[u8]) {
        if self.audience.is_empty() {
            return;
        }
        let mut name = std::mem::take(&mut self.name);
        for (bit, kind, about, payload) in [
            (ON_KEY_CHANNEL, "keyspace", key, event.as_bytes()),
            (ON_EVENT_CHANNEL, "keyevent", event.as_bytes(), key),
        ] {
            if self.attention & bit != 0 {
                name.clear();
                write!(name, "__{kind}@{db}__:").expect("a vector takes what is written");
                name.extend_from_slice(about);
                self.publish(Topic::Channel, &name, payload);
            }
        }
        self.name = name;
    }

    /// Leaves a message for whoever has subscribed. Gives the number of receivers: all whose subscription has been
    /// confirmed, and possibly some whose subscription is about to be.
    pub fn publish(&mut self, topic: Topic, channel: &[u8], payload: &[u8]) -> usize {
        let cores = self.audience.cores(topic, channel);
        if cores.is_empty() {
            return 0;
        }
        let publication = Arc::new(Publication::new(topic, channel, payload));
        self.say(Outgoing::Publication(cores, publication));
        self.audience.receivers(topic, channel)
    }

    /// Leaves a message for the other nodes of the cluster.
    pub fn tell_nodes(&mut self, topic: Topic, channel: &[u8], payload: &[u8]) {
        self.say(Outgoing::ToNodes(topic, channel.into(), payload.into()));
    }

    /// A key has changed: who has read it, or listens to its prefix, is told. `aside` when it expired or was evicted.
    pub fn changed(&mut self, key: &[u8], aside: bool) {
        if self.attention & TRACKED == 0 {
            return;
        }
        let groups: Vec<Arc<Group>> = self.tracking.groups_of(key).cloned().collect();
        for group in groups {
            let key = key.into();
            self.say(Outgoing::Changed { group, key, aside });
        }
        self.forget(key);
    }

    /// A key is remembered no longer: who has read it is told.
    pub fn forget(&mut self, key: &[u8]) {
        for tracker in self.tracking.forget(key) {
            self.say(Outgoing::Invalid(tracker, Some(key.into())));
        }
    }

    /// All keys have gone. Every tracking client is told if this is said on one shard; the others only forget.
    pub fn flushed(&mut self, tell: bool) {
        self.tracking.clear();
        if tell {
            let trackers: Vec<Arc<Tracker>> = self.tracking.trackers().cloned().collect();
            for tracker in trackers {
                self.say(Outgoing::Invalid(tracker, None));
            }
        }
    }

    fn say(&mut self, outgoing: Outgoing) {
        let numbers = self.numbers.as_ref();
        let number = numbers.map_or(0, |numbers| numbers.fetch_add(1, Ordering::Relaxed));
        self.outbox_bytes += match &outgoing {
            Outgoing::Publication(..) | Outgoing::ToNodes(..) => 0,
            Outgoing::Invalid(_, key) => key.as_ref().map_or(0, |key| key.len()),
            Outgoing::Changed { key, .. } => key.len(),
        };
        self.outbox.push((number, outgoing));
    }

    /// A step over several shards begins: what is said on any of them is numbered from here on. Or it ends.
    pub fn number_by(&mut self, numbers: Option<Arc<AtomicU64>>) {
        self.numbers = numbers;
    }

    /// Whether something waits to be delivered.
    #[inline]
    pub fn has_some(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Bytes of memory that the names of changed keys take until clients are told.
    pub fn outbox_bytes(&self) -> usize {
        self.outbox_bytes
    }

    /// What waits to be delivered, in order, with its numbers.
    pub fn take(&mut self) -> std::vec::Drain<'_, (u64, Outgoing)> {
        self.outbox_bytes = 0;
        self.outbox.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::Subscription;

    fn heard(news: &mut News) -> Vec<String> {
        news.take()
            .filter_map(|(_, outgoing)| match outgoing {
                Outgoing::Publication(_, publication) => {
                    let bytes = publication.message().bytes(false);
                    Some(String::from_utf8_lossy(bytes).replace("\r\n", " "))
                }
                _ => None,
            })
            .collect()
    }

    fn listening() -> News {
        let mut news = News::default();
        let all = Subscription {
            topic: Topic::Pattern,
            begins: true,
            name: Box::from(&b"*"[..]),
        };
        news.audience.apply(0, &all);
        news
    }

    #[test]
    fn an_event_appears_on_the_channels_that_are_switched_on() {
        let mut news = listening();
        news.set_events(0b1000);
        assert!(!news.is_attentive(), "no channel");
        news.set_events(0b1011);
        assert!(news.wants(0b1000) && !news.wants(0b100));
        news.event(9, "set", b"k");
        assert_eq!(
            heard(&mut news),
            [
                "*3 $7 message $16 __keyspace@9__:k $3 set ",
                "*3 $7 message $18 __keyevent@9__:set $1 k "
            ]
        );
        assert!(!news.has_some());
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let mut news = News::default();
        news.set_events(0b1011);
        news.event(0, "set", b"k");
        assert_eq!(news.publish(Topic::Channel, b"c", b"m"), 0);
        assert!(!news.has_some());
        let mut news = listening();
        assert_eq!(news.publish(Topic::Channel, b"c", b"m"), 1);
        assert_eq!(news.publish(Topic::Shard, b"c", b"m"), 0);
        assert!(news.has_some());
    }
}
