//! What commands have in common that take from the first of several keys that has something, or wait for one.

use std::ops::Range;

use crate::keyspace::Kind;
use crate::keyspace::blocked::{Awaits, Wait};
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Shard, Shards};

use super::spec::Access;

/// What they do with a key.
pub(super) const TAKES: Access = Access::RW.and(Access::ACCESS).and(Access::DELETE);
/// History of those that came before fractions of a second.
pub(super) const TIMEOUT_HISTORY: &[(&str, &str)] =
    &[("6.0.0", "The timeout may have a fraction.")];

/// Runs `take` on the first key of `keys` (places among the arguments) that holds a `T`. Where none does, the command has
/// to wait until the time `until`, in Unix milliseconds, and the reply is what it reads if that comes.
pub(super) fn take_or_wait<T: Kind>(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    keys: Range<usize>,
    (awaits, until): (Awaits, Option<i64>),
    reply: &mut Reply<'_>,
    take: impl FnOnce(&mut Shard, &Key<'_>, &mut Reply<'_>) -> Result<(), ErrorReply>,
) -> Result<(), ErrorReply> {
    for key in keys.clone().map(|index| args.key(index)) {
        let Some(shard) = shards.get(&key) else {
            continue; // it is not this key that has made the command run again
        };
        if shard.write_as::<T>(&args.caller, &key)?.is_none() {
            continue;
        }
        if !shards.claim() {
            return Ok(()); // somebody else has ended the wait
        }
        return take(shards.of(&key), &key, reply);
    }
    reply.null_array();
    shards.block(Wait {
        awaits,
        keys: keys.map(|index| index as u32).collect(),
        target: None,
        until,
        when_gone: false,
        again: None,
    });
    Ok(())
}
