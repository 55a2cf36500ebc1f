//! Messages as clients read them: encoded once for RESP2 and once for RESP3, whoever many receive them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::subscriptions::Topic;
use crate::resp::Reply;

/// Words of a message in both protocols: an array, or a push message.
///
/// Most messages go to clients that speak RESP2 and are the only copy of their words: one piece of memory, from which
/// RESP3 differs by its first byte.
#[derive(Debug)]
pub struct Message {
    resp2: Box<[u8]>,
    resp3: OnceLock<Box<[u8]>>,
    /// Where the words are, first and length.
    words: [(usize, usize); WORDS_MAX],
    count: usize,
}

/// Words of a message at most: those of a message to a pattern.
const WORDS_MAX: usize = 4;

impl Message {
    /// A message of these words, four at most.
    pub fn new(parts: &[&[u8]]) -> Self {
        assert!(parts.len() <= WORDS_MAX, "a message of a few words");
        let digits = |length: usize| length.checked_ilog10().unwrap_or(0) as usize + 1;
        let headed = |length: usize| length + digits(length) + 5;
        let size = 4 + parts.iter().map(|part| headed(part.len())).sum::<usize>();
        let mut out = Vec::with_capacity(size);
        let mut words = [(0, 0); WORDS_MAX];
        Reply::new(&mut out, false).push(parts.len());
        for (word, part) in words.iter_mut().zip(parts) {
            Reply::new(&mut out, false).bulk(part);
            *word = (out.len() - part.len() - 2, part.len());
        }
        Message {
            resp2: out.into(),
            resp3: OnceLock::new(),
            words,
            count: parts.len(),
        }
    }

    fn word(&self, at: usize) -> &[u8] {
        let (first, length) = self.words[..self.count][at];
        &self.resp2[first..first + length]
    }

    /// Bytes of memory it takes, about: for the bound on what is on its way.
    pub fn size(&self) -> usize {
        size_of::<Message>() + self.resp2.len()
    }

    /// Its bytes for a client.
    pub fn bytes(&self, resp3: bool) -> &[u8] {
        if !resp3 {
            return &self.resp2;
        }
        self.resp3.get_or_init(|| {
            let mut out = self.resp2.clone();
            out[0] = b'>';
            out
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
        self.message.word(1)
    }

    /// For those who have subscribed to the channel.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// For those who have subscribed to `pattern`.
    pub fn message_for(&self, pattern: &[u8]) -> Message {
        Message::new(&[b"pmessage", pattern, self.channel(), self.message.word(2)])
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
    fn a_message_takes_exactly_the_memory_it_needs_and_knows_its_words() {
        for length in [0, 1, 9, 10, 99, 100, 1000, 12345] {
            let payload = vec![b'x'; length];
            let publication = Publication::new(Topic::Channel, b"a channel", &payload);
            assert_eq!(publication.channel(), b"a channel");
            let message = publication.message();
            assert_eq!(message.word(2), payload);
            let sizes = "*3$7message$9a channel$".len() + 4 * 2 + 2 * 2 + 2;
            let digits = length.to_string().len();
            assert_eq!(message.resp2.len(), sizes + digits + length);
            let parts: [&[u8]; 3] = [b"message", b"a channel", &payload];
            let foreseen: usize = parts
                .iter()
                .map(|part| part.len() + part.len().to_string().len() + 5)
                .sum();
            assert_eq!(message.resp2.len(), 4 + foreseen);
        }
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
