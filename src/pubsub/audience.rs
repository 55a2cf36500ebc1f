//! How many subscribers each core has: what every shard knows, so that a message goes to the cores that want it and no
//! further.
//!
//! Every shard has a copy. A core tells all of them of each subscription that begins or ends, in any order among cores;
//! that is why counts may be below zero for a moment.

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::subscriptions::Topic;
use crate::base::glob;

/// Cores, ascending.
pub type Cores = SmallVec<[u16; 4]>;

/// A subscription that begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Of which kind.
    pub topic: Topic,
    /// Begins or ends.
    pub begins: bool,
    /// Channel or pattern.
    pub name: Box<[u8]>,
}

/// Subscribers of one name by core; a core with none is not listed.
type Counts = SmallVec<[(u16, i32); 2]>;

/// How many subscribers each core has.
#[derive(Debug, Default)]
pub struct Audience {
    topics: [HashMap<Box<[u8]>, Counts>; 3],
}

impl Audience {
    /// Takes note of a change on `core`.
    pub fn apply(&mut self, core: u16, change: &Subscription) {
        let names = &mut self.topics[change.topic as usize];
        let counts = names.entry(change.name.clone()).or_default();
        let by = if change.begins { 1 } else { -1 };
        match counts.iter().position(|(of, _)| *of == core) {
            Some(at) => {
                counts[at].1 += by;
                if counts[at].1 == 0 {
                    counts.remove(at);
                }
            }
            None => {
                let at = counts.partition_point(|(of, _)| *of < core);
                counts.insert(at, (core, by));
            }
        }
        if counts.is_empty() {
            names.remove(&change.name);
        }
    }

    /// Whether nobody listens to anything.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.topics.iter().all(HashMap::is_empty)
    }

    /// The cores that a message on `channel` must go to.
    pub fn cores(&self, topic: Topic, channel: &[u8]) -> Cores {
        let mut cores = Cores::new();
        self.each(topic, channel, |counts| {
            for &(core, _) in counts {
                if let Err(at) = cores.binary_search(&core) {
                    cores.insert(at, core);
                }
            }
        });
        cores
    }

    /// How many receive a message on `channel`: a client counts for the channel and for each pattern that fits.
    pub fn receivers(&self, topic: Topic, channel: &[u8]) -> usize {
        let mut receivers = 0;
        self.each(topic, channel, |counts| receivers += sum(counts));
        receivers
    }

    /// How many have subscribed to just this name (PUBSUB NUMSUB, SHARDNUMSUB).
    pub fn subscribers(&self, topic: Topic, name: &[u8]) -> usize {
        self.topics[topic as usize].get(name).map_or(0, sum)
    }

    /// How many names of a topic have subscribers.
    pub fn len(&self, topic: Topic) -> usize {
        self.topics[topic as usize].len()
    }

    /// The names of a topic that have subscribers.
    pub fn names(&self, topic: Topic) -> impl Iterator<Item = &[u8]> {
        self.topics[topic as usize].keys().map(|name| &**name)
    }

    /// Calls `on` for the counts of the channel itself and of each pattern that fits it.
    fn each(&self, topic: Topic, channel: &[u8], mut on: impl FnMut(&Counts)) {
        let names = &self.topics[topic as usize];
        if !names.is_empty()
            && let Some(counts) = names.get(channel)
        {
            on(counts);
        }
        if topic == Topic::Channel {
            for (pattern, counts) in &self.topics[Topic::Pattern as usize] {
                if glob::matches(pattern, channel, false) {
                    on(counts);
                }
            }
        }
    }
}

fn sum(counts: &Counts) -> usize {
    let total: i64 = counts.iter().map(|(_, count)| i64::from(*count)).sum();
    total.max(0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(topic: Topic, begins: bool, name: &[u8]) -> Subscription {
        Subscription {
            topic,
            begins,
            name: name.into(),
        }
    }

    #[test]
    fn a_message_goes_to_the_cores_with_subscribers_of_the_channel_or_of_a_pattern_that_fits() {
        let mut audience = Audience::default();
        audience.apply(3, &change(Topic::Channel, true, b"news"));
        audience.apply(1, &change(Topic::Channel, true, b"news"));
        audience.apply(1, &change(Topic::Channel, true, b"news"));
        audience.apply(2, &change(Topic::Pattern, true, b"n*"));
        audience.apply(0, &change(Topic::Shard, true, b"news"));
        assert_eq!(audience.cores(Topic::Channel, b"news").to_vec(), [1, 2, 3]);
        assert_eq!(audience.receivers(Topic::Channel, b"news"), 4);
        assert_eq!(audience.subscribers(Topic::Channel, b"news"), 3);
        assert_eq!(audience.cores(Topic::Shard, b"news").to_vec(), [0]);
        assert!(audience.cores(Topic::Channel, b"other").is_empty());
    }

    #[test]
    fn changes_of_one_core_may_come_in_any_order() {
        let mut audience = Audience::default();
        audience.apply(1, &change(Topic::Channel, false, b"c"));
        assert_eq!(audience.receivers(Topic::Channel, b"c"), 0);
        audience.apply(1, &change(Topic::Channel, true, b"c"));
        assert!(audience.is_empty() && audience.len(Topic::Channel) == 0);
    }
}
