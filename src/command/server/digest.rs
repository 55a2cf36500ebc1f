//! DEBUG DIGEST and DEBUG DIGEST-VALUE: one number for a data set or a value, the same as Redis's, so that tests can
//! compare servers.
//!
//! Two operations on twenty bytes: `add` is the exclusive or with the SHA-1 of some data, which forgets the order;
//! `mix` is that, followed by the SHA-1 of the result, which keeps it.

use sha1::{Digest, Sha1};

use crate::base::number::format_f64_shortest;
use crate::keyspace::{KeyEntry, Value};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shards;
use crate::structures::entry::Payload;
use crate::structures::listpack::{Item, TextBuffer};
use crate::structures::stream::StreamId;

/// See the head of the file.
#[derive(Clone, Copy, Default)]
struct Sum([u8; 20]);

impl Sum {
    fn add(&mut self, data: &[u8]) {
        let hash = Sha1::digest(data);
        for (byte, other) in self.0.iter_mut().zip(hash) {
            *byte ^= other;
        }
    }

    fn mix(&mut self, data: &[u8]) {
        self.add(data);
        let mixed = Sha1::digest(self.0);
        self.0.copy_from_slice(&mixed);
    }

    fn mix_item(&mut self, item: Item<'_>) {
        self.mix(item.text(&mut TextBuffer::new()));
    }

    fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A value with its type and the fact that it expires.
    fn value(&mut self, entry: &KeyEntry) {
        let payload = entry.payload();
        let kind: u32 = match &payload {
            Payload::Int(_) | Payload::Bytes(_) => 0,
            Payload::Boxed(Value::List(_)) => 1,
            Payload::Boxed(Value::Set(_)) => 2,
            Payload::Boxed(Value::Zset(_)) => 3,
            Payload::Boxed(Value::Hash(_)) => 4,
            Payload::Boxed(Value::Stream(_)) => 6,
        };
        self.mix(&kind.to_be_bytes());
        match payload {
            Payload::Int(value) => self.mix_item(Item::Int(value)),
            Payload::Bytes(bytes) => self.mix(bytes),
            Payload::Boxed(Value::List(list)) => list.iter().for_each(|item| self.mix_item(item)),
            Payload::Boxed(Value::Set(set)) => {
                for member in set.iter() {
                    self.add(member.text(&mut TextBuffer::new()));
                }
            }
            Payload::Boxed(Value::Zset(zset)) => {
                for (member, score) in zset.iter(0..zset.len()) {
                    let mut pair = Sum::default();
                    pair.mix_item(member);
                    pair.mix(&format_f64_shortest(score));
                    self.add(&pair.0);
                }
            }
            Payload::Boxed(Value::Hash(hash)) => {
                for (field, value) in hash.iter() {
                    let mut pair = Sum::default();
                    pair.mix_item(field);
                    pair.mix_item(value);
                    self.add(&pair.0);
                }
            }
            Payload::Boxed(Value::Stream(stream)) => {
                for entry in stream.range(StreamId::MIN, StreamId::MAX) {
                    self.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
                    for (field, value) in entry.pairs() {
                        self.mix_item(field);
                        self.mix_item(value);
                    }
                }
            }
        }
        if entry.expire_at().is_some() {
            self.add(b"!!expire!!");
        }
    }
}

/// DEBUG DIGEST.
pub(in crate::command) fn digest(
    shards: &mut Shards<'_>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let mut total = Sum::default();
    for db in 0..shards.any().keyspace.databases() {
        if shards.iter().all(|shard| shard.keyspace.db(db).keys() == 0) {
            continue;
        }
        total.mix(&(db as u32).to_be_bytes());
        for shard in shards.iter() {
            for entry in shard.keyspace.entries(db) {
                let mut sum = Sum::default();
                sum.mix(entry.key());
                sum.value(entry);
                total.add(&sum.0);
            }
        }
    }
    reply.simple(&total.text());
    Ok(())
}

/// DEBUG DIGEST-VALUE key [key ...].
pub(super) fn digest_values(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    reply.array(args.len() - 2);
    for at in 2..args.len() {
        let key = args.key(at);
        let mut sum = Sum::default();
        if let Some(entry) = shards.at(&key).keyspace.find(args.db(), &key) {
            sum.value(entry);
        }
        reply.simple(&sum.text());
    }
    Ok(())
}
