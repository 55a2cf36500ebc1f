//! Words of DEBUG that fill the server, end it the hard way, or tell of its insides: for tests of what stands around it.
//!
//! Ending it here goes the way of a real mistake (a panic, a fault), because that way is what is to be tested.

use std::time::Duration;

use crate::base::number::{parse_f64, parse_i64};
use crate::base::sys;
use crate::command::client::{Context, Step, Whom, ok_or_failed};
use crate::keyspace::{KeyEntry, Value};
use crate::mesh::message::CoreAsk;
use crate::resp::request::{Args, Key, write_parts};
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shards;
use crate::structures::entry::NewValue;

use super::Outcome;
use super::debug::SLEEP_SECONDS_MAX;

/// How DEBUG POPULATE begins its keys unless told otherwise.
const PREFIX: &[u8] = b"key";

/// Runs the word if it is one of these; `None` when it is not.
pub(super) fn run(
    context: &mut Context<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Option<Outcome> {
    let is = |word: &str, count: usize| args.is(1, word) && args.len() == count;
    if args.is(1, "POPULATE") && (3..=5).contains(&args.len()) {
        return Some(Ok(Step::Whole(populate)));
    }
    if is("CONFIG-REWRITE-FORCE-ALL", 2) {
        return Some(Ok(Step::Ask {
            whom: Whom::Control,
            ask: CoreAsk::ConfigRewrite { all: true },
            then: ok_or_failed,
        }));
    }
    if args.is(1, "REPLICATE") && args.len() >= 3 {
        let mut bytes = Vec::new();
        write_parts(&mut bytes, args.len() - 2, args.iter_from(2));
        return Some(Ok(of_stream(Some(bytes))));
    }
    if is("CHANGE-REPL-ID", 2) {
        return Some(Ok(of_stream(None)));
    }
    if is("CLIENT-EVICTION", 2) {
        return Some(super::client_classes::client_eviction(context));
    }
    if is("STALL-SHARD", 4) {
        return Some(stall_shard(context, args, reply));
    }
    if is("LEAK", 3) {
        // For leak checkers: somebody should miss these bytes.
        Box::leak(Box::<[u8]>::from(args.get(2)));
        reply.ok();
    } else if is("STRUCTSIZE", 2) {
        reply.simple(&format!(
            "bits:{} key-entry:{} value:{} client:{}",
            usize::BITS,
            size_of::<KeyEntry>(),
            size_of::<Value>(),
            size_of_val(context.client)
        ));
    } else if is("PANIC", 2) {
        panic!("called by the DEBUG PANIC command");
    } else if is("ASSERT", 2) {
        let one = args.len();
        assert_eq!(one, 1, "called by the DEBUG ASSERT command");
    } else if is("SEGFAULT", 2) {
        log::warn!("DEBUG SEGFAULT: the process faults now");
        sys::fault();
    } else {
        return None;
    }
    Some(Ok(Step::Done))
}

/// DEBUG STALL-SHARD shard seconds: for tests of what becomes of a node with one shard that hangs.
fn stall_shard(context: &Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let shard = parse_i64(args.get(2)).and_then(|shard| usize::try_from(shard).ok());
    let shards = context.core.observatory.cores().len() - 1; // the last is the control core's
    let Some(shard) = shard.filter(|shard| *shard < shards) else {
        return Err(ErrorReply::NOT_INTEGER);
    };
    let seconds = parse_f64(args.get(3)).ok_or(ErrorReply::NOT_FLOAT)?;
    reply.ok();
    Ok(Step::Stall {
        time: Duration::from_secs_f64(seconds.clamp(0.0, SLEEP_SECONDS_MAX)),
        only: Some(shard),
    })
}

/// What the control core does to the stream for DEBUG.
fn of_stream(command: Option<Vec<u8>>) -> Step {
    Step::Ask {
        whom: Whom::Control,
        ask: CoreAsk::DebugStream(command),
        then: ok_or_failed,
    }
}

/// DEBUG POPULATE count [prefix [size]]: keys that are not there yet get `value:N`, filled with zeros or cut to the size.
fn populate(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let positive = |place: usize| {
        let number = parse_i64(args.get(place)).ok_or(ErrorReply::NOT_INTEGER)?;
        usize::try_from(number).map_err(|_| ErrorReply::NOT_POSITIVE)
    };
    let count = positive(2)?;
    let prefix = args.opt(3).unwrap_or(PREFIX);
    let size = match args.len() {
        5 => Some(positive(4)?),
        _ => None,
    };
    if size.is_some_and(|size| size as u64 > shards.any().config.proto_max_bulk_len) {
        return Err(ErrorReply::STRING_TOO_LONG);
    }
    for number in 0..count {
        let name = [prefix, b":", number.to_string().as_bytes()].concat();
        let key = Key::new(&name);
        let shard = shards.of(&key);
        if shard.peek(args.db(), &key).is_some() {
            continue;
        }
        let mut value = format!("value:{number}").into_bytes();
        if let Some(size) = size {
            value.resize(size, 0);
        }
        shard.put(&args.caller, &key, NewValue::Bytes(&value), false);
        shard.watched.touch(args.db(), key.bytes);
    }
    reply.ok();
    Ok(())
}
