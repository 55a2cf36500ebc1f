//! What one client has subscribed to.

use hashbrown::HashSet;

/// What a subscription is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A channel: SUBSCRIBE, PUBLISH.
    Channel,
    /// Every channel whose name fits a pattern: PSUBSCRIBE.
    Pattern,
    /// A channel of the slot of its name: SSUBSCRIBE, SPUBLISH.
    Shard,
}

/// What one client has subscribed to.
#[derive(Debug, Default)]
pub struct Subscriptions {
    names: [HashSet<Box<[u8]>>; 3],
    bytes: usize,
}

/// Memory of a subscription beside its name, with the client and with its core.
const EACH: usize = 64;

impl Subscriptions {
    /// Adds one; false when it is there already.
    pub fn add(&mut self, topic: Topic, name: &[u8]) -> bool {
        let is_new = self.names[topic as usize].insert(name.into());
        if is_new {
            self.bytes += name.len() + EACH;
        }
        is_new
    }

    /// Takes one away; false when there is none.
    pub fn remove(&mut self, topic: Topic, name: &[u8]) -> bool {
        let was_there = self.names[topic as usize].remove(name);
        if was_there {
            self.bytes -= name.len() + EACH;
        }
        was_there
    }

    /// Takes all of a topic away.
    pub fn take(&mut self, topic: Topic) -> Vec<Box<[u8]>> {
        let names: Vec<Box<[u8]>> = self.names[topic as usize].drain().collect();
        self.bytes -= names.iter().map(|name| name.len() + EACH).sum::<usize>();
        names
    }

    /// Those of a topic.
    pub fn of(&self, topic: Topic) -> impl Iterator<Item = &[u8]> {
        self.names[topic as usize].iter().map(|name| &**name)
    }

    /// How many there are of a topic (CLIENT LIST `sub`, `psub`, `ssub`).
    pub fn count(&self, topic: Topic) -> usize {
        self.names[topic as usize].len()
    }

    /// The number that confirms a change: channels and patterns together, shard channels by themselves.
    pub fn count_beside(&self, topic: Topic) -> usize {
        match topic {
            Topic::Shard => self.count(Topic::Shard),
            Topic::Channel | Topic::Pattern => {
                self.count(Topic::Channel) + self.count(Topic::Pattern)
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.iter().all(HashSet::is_empty)
    }

    /// Bytes of memory that they take, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
