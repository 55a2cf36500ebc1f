//! The subscribers of one core: which of its clients have subscribed to what.
//!
//! `S` names a client on its core.

use std::hash::Hash;

use hashbrown::{HashMap, HashSet};

use super::subscriptions::Topic;
use crate::base::glob;

/// Subscribers of one name in a list at most; more are kept in a set, for the sake of those who leave.
const LIST_MAX: usize = 16;

/// Subscribers of one name.
#[derive(Debug)]
enum Subscribers<S> {
    Few(Vec<S>),
    Many(HashSet<S>),
}

impl<S: Copy + Eq + Hash> Subscribers<S> {
    fn add(&mut self, subscriber: S) {
        match self {
            Subscribers::Few(list) if list.len() < LIST_MAX => list.push(subscriber),
            Subscribers::Few(list) => {
                let mut set: HashSet<S> = list.drain(..).collect();
                set.insert(subscriber);
                *self = Subscribers::Many(set);
            }
            Subscribers::Many(set) => {
                set.insert(subscriber);
            }
        }
    }

    /// True when nobody is left.
    fn remove(&mut self, subscriber: S) -> bool {
        match self {
            Subscribers::Few(list) => {
                list.retain(|one| *one != subscriber);
                list.is_empty()
            }
            Subscribers::Many(set) => {
                set.remove(&subscriber);
                set.is_empty()
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Subscribers::Few(list) => list.len(),
            Subscribers::Many(set) => set.len(),
        }
    }

    fn copy_to(&self, out: &mut Vec<S>) {
        match self {
            Subscribers::Few(list) => out.extend_from_slice(list),
            Subscribers::Many(set) => out.extend(set),
        }
    }
}

/// The subscribers of one core. Each client is added at most once to a name.
#[derive(Debug)]
pub struct Registry<S> {
    topics: [HashMap<Box<[u8]>, Subscribers<S>>; 3],
}

impl<S> Default for Registry<S> {
    fn default() -> Self {
        Registry {
            topics: Default::default(),
        }
    }
}

impl<S: Copy + Eq + Hash> Registry<S> {
    /// Adds a subscriber that is not there.
    pub fn add(&mut self, topic: Topic, name: &[u8], subscriber: S) {
        self.topics[topic as usize]
            .entry(name.into())
            .or_insert_with(|| Subscribers::Few(Vec::with_capacity(1)))
            .add(subscriber);
    }

    /// Takes a subscriber away.
    pub fn remove(&mut self, topic: Topic, name: &[u8], subscriber: S) {
        let names = &mut self.topics[topic as usize];
        if let Some(subscribers) = names.get_mut(name)
            && subscribers.remove(subscriber)
        {
            names.remove(name);
        }
    }

    /// Appends the subscribers of one name.
    pub fn subscribers(&self, topic: Topic, name: &[u8], out: &mut Vec<S>) {
        if let Some(subscribers) = self.topics[topic as usize].get(name) {
            subscribers.copy_to(out);
        }
    }

    /// The patterns that fit a channel.
    pub fn patterns<'a>(&'a self, channel: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.topics[Topic::Pattern as usize]
            .keys()
            .filter(move |pattern| glob::matches(pattern, channel, false))
            .map(|pattern| &**pattern)
    }

    /// How many receive a message: a client counts for the channel and for each of its patterns that fits.
    pub fn receivers(&self, topic: Topic, channel: &[u8]) -> usize {
        let of = |topic: Topic, name: &[u8]| {
            self.topics[topic as usize]
                .get(name)
                .map_or(0, Subscribers::len)
        };
        let mut receivers = of(topic, channel);
        if topic == Topic::Channel {
            receivers += self
                .patterns(channel)
                .map(|pattern| of(Topic::Pattern, pattern))
                .sum::<usize>();
        }
        receivers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribers(registry: &Registry<u32>, topic: Topic, name: &[u8]) -> Vec<u32> {
        let mut out = Vec::new();
        registry.subscribers(topic, name, &mut out);
        out.sort_unstable();
        out
    }

    #[test]
    fn a_name_keeps_its_subscribers_however_many_come_and_go() {
        let mut registry = Registry::default();
        for n in 0..100u32 {
            registry.add(Topic::Channel, b"c", n);
            let all: Vec<u32> = (0..=n).collect();
            assert_eq!(subscribers(&registry, Topic::Channel, b"c"), all);
        }
        for n in 0..100 {
            assert_eq!(registry.receivers(Topic::Channel, b"c"), 100 - n as usize);
            registry.remove(Topic::Channel, b"c", n);
        }
        assert!(registry.topics.iter().all(HashMap::is_empty));
    }

    #[test]
    fn a_client_counts_for_its_channel_and_for_each_pattern_that_fits() {
        let mut registry = Registry::default();
        registry.add(Topic::Channel, b"news", 1);
        registry.add(Topic::Pattern, b"n*", 1);
        registry.add(Topic::Pattern, b"*s", 1);
        registry.add(Topic::Pattern, b"x*", 1);
        registry.add(Topic::Shard, b"news", 2);
        assert_eq!(registry.receivers(Topic::Channel, b"news"), 3);
        assert_eq!(registry.receivers(Topic::Shard, b"news"), 1);
        assert_eq!(registry.receivers(Topic::Channel, b"nothing"), 1);
    }
}
