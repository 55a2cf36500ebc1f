//! Where results of ZRANGESTORE, ZUNIONSTORE and their like go.

use crate::keyspace::{Kind, Value};
use crate::resp::Reply;
use crate::resp::request::{Args, Key};
use crate::shard::{Class, Shards};
use crate::structures::entry::NewValue;
use crate::structures::zset::Zset;

/// Puts a result in place of whatever `key` held, or deletes the key when the result is empty, and replies the number
/// of members. `together` says that the keys the result was made of lie on the shard of `key`.
pub(super) fn store(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    key: &Key<'_>,
    result: Zset,
    event: &'static str,
    together: bool,
    reply: &mut Reply<'_>,
) {
    let count = result.len();
    let shard = shards.of(key);
    if count > 0 {
        let value = NewValue::<Value>::Boxed(Box::new(result.into_value()));
        shard.put(&args.caller, key, value, false);
        shard.changed(args.db(), key, Class::Zset, event);
        if !together {
            shard.made_from_afar(args.db(), key);
        }
    } else if shard.delete(args.db(), key) {
        shard.changed(args.db(), key, Class::Generic, "del");
        if !together {
            shard.effects.record(args.db(), &[b"DEL", key.bytes]);
        }
    }
    reply.count(count);
}
