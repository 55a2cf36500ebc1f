//! Messages as clients read them: encoded once for RESP2 and once for RESP3, whoever many receive them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::subscriptions::Topic;
use crate::resp::Reply;

/// Words of a message in both protocols: an array, or a push message.
#[derive(Debug)]
pub struct Message {
    parts: Box<[Box<[u8]>]>,
    encoded: [OnceLock<Box<[u8]>>; 2],
}

impl Message {
    /// A message of these words.
    pub fn new(parts: &[&[u8]]) -> Self {
        Message {
            parts: parts.iter().map(|part| Box::from(*part)).collect(),
            encoded: Default::default(),
        }
    }

    /// Bytes of memory it takes, about: for the bound on what is on its way.
    pub fn size(&self) -> usize {
        const EACH: usize = 32;
        size_of::<Message>()
            + self
                .parts
                .iter()
                .map(|part| part.len() + EACH)
                .sum::<usize>()
    }

    /// Its bytes for a client.
    pub fn bytes(&self, resp3: bool) -> &[u8] {
        self.encoded[usize::from(resp3)].get_or_init(|| {
            let size = self.parts.iter().map(|part| part.len() + 16).sum();
            let mut out = Vec::with_capacity(size);
            let mut reply = Reply::new(&mut out, resp3);
            reply.push(self.parts.len());
            for part in &self.parts {
                reply.bulk(part);
            }
            out.into()
        })
    }
}

/// Something published, on its way to the cores that have subscribers.
#[derive(Debug)]
pub struct Publication {
    /// PUBLISH or SPUBLISH.
    pub topic: Topic,
    message: Message,
    receivers: AtomicUsize,
    /// Cores that have not delivered it.
    missing: AtomicUsize,
}

impl Publication {
    /// `payload` on `channel`.
    pub fn new(topic: Topic, channel: &[u8], payload: &[u8]) -> Self {
        let word: &[u8] = match topic {
            Topic::Shard => b"smessage",
            Topic::Channel | Topic::Pattern => b"message",
        };
        Publication {
            topic,
            message: Message::new(&[word, channel, payload]),
            receivers: AtomicUsize::new(0),
            missing: AtomicUsize::new(0),
        }
    }

    /// The channel.
    pub fn channel(&self) -> &[u8] {
        &self.message.parts[1]
    }

    /// For those who have subscribed to the channel.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// For those who have subscribed to `pattern`.
    pub fn message_for(&self, pattern: &[u8]) -> Message {
        Message::new(&[b"pmessage", pattern, self.channel(), &self.message.parts[2]])
    }

    /// It leaves for so many cores.
    pub fn leaves(&self, cores: usize) {
        self.missing.store(cores, Ordering::Release);
    }

    /// A core has delivered it to so many of its clients. The last one gets the number of all receivers.
    pub fn delivered(&self, receivers: usize) -> Option<usize> {
        self.receivers.fetch_add(receivers, Ordering::Relaxed);
        (self.missing.fetch_sub(1, Ordering::AcqRel) == 1)
            .then(|| self.receivers.load(Ordering::Relaxed))
    }

    /// See `Message::size`.
    pub fn size(&self) -> usize {
        self.message.size()
    }
}

/// Confirms that a subscription has begun or ended; without a name there was none to end.
pub fn confirmation(
    topic: Topic,
    begins: bool,
    name: Option<&[u8]>,
    count: usize,
    reply: &mut Reply<'_>,
) {
    let word: &[u8] = match (topic, begins) {
        (Topic::Channel, true) => b"subscribe",
        (Topic::Channel, false) => b"unsubscribe",
        (Topic::Pattern, true) => b"psubscribe",
        (Topic::Pattern, false) => b"punsubscribe",
        (Topic::Shard, true) => b"ssubscribe",
        (Topic::Shard, false) => b"sunsubscribe",
    };
    reply.push(3);
    reply.bulk(word);
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.count(count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_an_array_in_resp2_and_a_push_in_resp3() {
        let publication = Publication::new(Topic::Channel, b"news", b"hi");
        let rest = "3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n";
        assert_eq!(
            publication.message().bytes(false),
            format!("*{rest}").as_bytes()
        );
        assert_eq!(
            publication.message().bytes(true),
            format!(">{rest}").as_bytes()
        );
        assert_eq!(
            publication.message_for(b"n*").bytes(false),
            b"*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$2\r\nhi\r\n"
        );
        let publication = Publication::new(Topic::Shard, b"c", b"");
        assert_eq!(
            publication.message().bytes(true),
            b">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$0\r\n\r\n"
        );
    }

    #[test]
    fn the_last_core_to_deliver_learns_the_number_of_receivers() {
        let publication = Publication::new(Topic::Channel, b"c", b"m");
        publication.leaves(3);
        assert_eq!(publication.delivered(2), None);
        assert_eq!(publication.delivered(0), None);
        assert_eq!(publication.delivered(40), Some(42));
    }

    #[test]
    fn the_end_of_nothing_is_confirmed_without_a_name() {
        let mut out = Vec::new();
        confirmation(
            Topic::Pattern,
            false,
            None,
            0,
            &mut Reply::new(&mut out, false),
        );
        assert_eq!(out, b"*3\r\n$12\r\npunsubscribe\r\n$-1\r\n:0\r\n");
    }
}
