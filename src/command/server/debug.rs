//! DEBUG: what tests and tools do to a server and no application should. Behind `enable-debug-command`.
//!
//! It is no container in the table, as in Redis: its words are its own affair. What looks at keys runs over every shard
//! lent whole, so that DEBUG itself needs no key.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::base::glob;
use crate::base::number::{parse_f64, parse_i64};
use crate::command::client::{Context, Reload, Step};
use crate::config;
use crate::keyspace::{KeyEntry, Value};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shards;
use crate::structures::entry::Payload;

use super::Outcome;

/// Strings up to this length are `embstr` to OBJECT ENCODING.
const EMBEDDED_MAX: usize = 44;
/// The longest nap that DEBUG SLEEP takes: a day is as good as for ever.
pub(super) const SLEEP_SECONDS_MAX: f64 = 86_400.0;

type Done = Result<(), ErrorReply>;

pub(super) fn debug(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if !context
        .core
        .config
        .enable_debug_command
        .allows(context.client.is_local())
    {
        return Err(ErrorReply::DEBUG_NOT_ALLOWED);
    }
    let is = |word: &str, count: usize| args.is(1, word) && args.len() == count;
    if is("HELP", 2) {
        help(reply);
    } else if is("SLEEP", 3) {
        // What is no number is zero, as it is to atof.
        let seconds = parse_f64(args.get(2))
            .unwrap_or(0.0)
            .clamp(0.0, SLEEP_SECONDS_MAX);
        reply.ok();
        return Ok(Step::Stall {
            time: Duration::from_secs_f64(seconds),
            only: None,
        });
    } else if is("ERROR", 3) {
        return Err(ErrorReply::text(args.get(2)));
    } else if is("LOG", 3) {
        log::warn!("DEBUG LOG: {}", String::from_utf8_lossy(args.get(2)));
        reply.ok();
    } else if is("PROTOCOL", 3) {
        protocol(args.get(2), reply)?;
    } else if is("STRINGMATCH-LEN", 4) {
        let length = parse_i64(args.get(2)).ok_or(ErrorReply::NOT_INTEGER)?;
        let length = length.clamp(0, context.core.config.proto_max_bulk_len as i64) as usize;
        let text = vec![b'a'; length];
        reply.integer(glob::matches(args.get(3), &text, false).into());
    } else if is("JMAP", 2) {
        crate::base::allocator::purge();
        reply.ok();
    } else if is("QUICKLIST-PACKED-THRESHOLD", 3) {
        packed_threshold(args.get(2))?;
        reply.ok();
    } else if is("PAUSE-CRON", 3) {
        // Of what Redis's cron does, signals are what others can tell apart from other times.
        let paused = parse_i64(args.get(2)).unwrap_or(0) != 0;
        context.core.observatory.cron_paused.store(paused, Relaxed);
        reply.ok();
    } else if is("AOF-FLUSH-SLEEP", 3) {
        let us = parse_i64(args.get(2)).ok_or(ErrorReply::NOT_INTEGER)?;
        let us = us.clamp(0, (SLEEP_SECONDS_MAX * 1e6) as i64) as u64;
        let log = &context.core.observatory.snapshots.log;
        log.write_delay_us.store(us, Relaxed);
        reply.ok();
    } else if is("SET-DISABLE-DENY-SCRIPTS", 3) {
        let allowed = parse_i64(args.get(2)).unwrap_or(0) != 0;
        context.core.scripting.scripts.allow_everything(allowed);
        reply.ok();
    } else if is("DICT-RESIZING", 3) || is("REPLYBUFFER", 4) {
        // Tables grow bucket by bucket and buffers follow what is in them: nothing to switch either.
        reply.ok();
    } else if is("OBJECT", 3) {
        return Ok(Step::Whole(object));
    } else if is("LISTPACK", 3) {
        return Ok(Step::Whole(listpack));
    } else if is("SET-SKIP-CHECKSUM-VALIDATION", 3) {
        let skip = parse_i64(args.get(2)).unwrap_or(0) != 0;
        let snapshots = &context.core.observatory.snapshots;
        snapshots.skip_checksums.store(skip, Relaxed);
        reply.ok();
    } else if args.is(1, "RELOAD") {
        return super::snapshot::reload(args);
    } else if is("LOADAOF", 2) {
        return Ok(Step::Reload(Reload::Logs));
    } else if is("DIGEST", 2) {
        return Ok(Step::Whole(super::digest::digest));
    } else if args.is(1, "DIGEST-VALUE") {
        return Ok(Step::Whole(super::digest::digest_values));
    } else if is("HTSTATS", 3) || is("HTSTATS", 4) {
        return Ok(Step::Whole(table_stats));
    } else if is("HTSTATS-KEY", 3) || is("HTSTATS-KEY", 4) {
        return Ok(Step::Whole(key_table_stats));
    } else if is("SET-ACTIVE-EXPIRE", 3) {
        return Ok(Step::Whole(set_active_expire));
    } else {
        return super::debug_tools::run(context, args, reply)
            .or_else(|| crate::command::cluster::debug(context, args, reply))
            .unwrap_or_else(|| Err(ErrorReply::subcommand_syntax(args.get(1), "DEBUG")));
    }
    Ok(Step::Done)
}

/// One reply of each kind: what client libraries are tested with.
#[allow(clippy::approx_constant)] // the number is the one that Redis answers, not pi
fn protocol(kind: &[u8], reply: &mut Reply<'_>) -> Done {
    match kind.to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        b"double" => reply.double(3.141),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.integer(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            // RESP2 has no attributes, so only the reply they would go with is left.
            if reply.is_resp3() {
                reply.buffer().extend_from_slice(b"|1\r\n");
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.integer(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" => {
            if !reply.is_resp3() {
                return Err(ErrorReply::RESP2_NOT_SUPPORTED);
            }
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
            // A push message is no answer; this is.
            reply.bulk(b"Some real reply following the push reply");
        }
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        _ => return Err(ErrorReply::DEBUG_PROTOCOL_TYPE),
    }
    Ok(())
}

/// The threshold itself cannot be moved here: elements beyond a node's size have one of their own at any size.
fn packed_threshold(size: &[u8]) -> Done {
    match config::memory(size) {
        Some(bytes) if bytes <= u64::from(u32::MAX) => Ok(()),
        _ => Err(ErrorReply::DEBUG_PACKED_THRESHOLD),
    }
}

fn object(shards: &mut Shards<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Done {
    let key = args.key(2);
    let shard = shards.of(&key);
    let clock_now = shard.lru_seconds();
    let lfu = shard.config.maxmemory_policy.is_lfu();
    let Some(entry) = shard.keyspace.find(args.db(), &key) else {
        return Err(ErrorReply::NO_SUCH_KEY);
    };
    let clock = entry.clock();
    let (lru, idle) = if lfu {
        (clock, 0)
    } else {
        (clock, clock_now.wrapping_sub(clock) & 0x00ff_ffff)
    };
    reply.simple(&format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{} lru:{lru} lru_seconds_idle:{idle}",
        entry.key().as_ptr(),
        encoding_name(entry),
        content_bytes(entry),
    ));
    Ok(())
}

fn encoding_name(entry: &KeyEntry) -> &'static str {
    match entry.payload() {
        Payload::Int(_) => "int",
        Payload::Bytes(bytes) if entry.is_raw() || bytes.len() > EMBEDDED_MAX => "raw",
        Payload::Bytes(_) => "embstr",
        Payload::Boxed(value) => value.encoding_name(),
    }
}

/// Nobody writes snapshots yet, so the serialized length is that of the content in memory.
fn content_bytes(entry: &KeyEntry) -> usize {
    match entry.payload() {
        Payload::Int(_) => size_of::<i64>(),
        Payload::Bytes(bytes) => bytes.len(),
        Payload::Boxed(value) => value.allocated(0),
    }
}

fn listpack(shards: &mut Shards<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Done {
    let key = args.key(2);
    let Some(entry) = shards.of(&key).keyspace.find(args.db(), &key) else {
        return Err(ErrorReply::NO_SUCH_KEY);
    };
    if encoding_name(entry) != "listpack" {
        return Err(ErrorReply::DEBUG_NO_LISTPACK);
    }
    let elements = entry.boxed().map_or(0, Value::elements);
    reply.simple(&format!(
        "Listpack of {elements} elements in {} bytes",
        content_bytes(entry)
    ));
    Ok(())
}

fn table_stats(shards: &mut Shards<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Done {
    let db = parse_i64(args.get(2)).ok_or(ErrorReply::NOT_INTEGER)?;
    let databases = shards.any().keyspace.databases();
    let Some(db) = usize::try_from(db).ok().filter(|db| *db < databases) else {
        return Err(ErrorReply::DEBUG_DB);
    };
    let mut text = String::new();
    for shard in shards.iter_mut() {
        let keyspace = &shard.keyspace;
        let (mut tables, mut fullest) = (0, 0);
        let mut place = 0;
        while let Some(used) = keyspace.next_used(db, place) {
            tables += 1;
            fullest = fullest.max(keyspace.slot_len(db, keyspace.slot_at(used)));
            place = used + 1;
        }
        text += &format!(
            "[Shard {}]\n slots in use: {tables} of {}\n number of elements: {}\n with an expiry: {}\n fullest slot: \
             {fullest}\n",
            shard.index,
            keyspace.slots(),
            keyspace.db(db).keys(),
            keyspace.db(db).expires(),
        );
    }
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn key_table_stats(shards: &mut Shards<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Done {
    let key = args.key(2);
    let Some(entry) = shards.of(&key).keyspace.find(args.db(), &key) else {
        return Err(ErrorReply::NO_SUCH_KEY);
    };
    if !matches!(encoding_name(entry), "hashtable" | "skiplist") {
        return Err(ErrorReply::DEBUG_NO_TABLE);
    }
    let elements = entry.boxed().map_or(0, Value::elements);
    let text = format!("Hash table 0 stats (main hash table):\n number of elements: {elements}\n");
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn set_active_expire(shards: &mut Shards<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Done {
    let on = parse_i64(args.get(2)).unwrap_or(0) != 0;
    for shard in shards.iter_mut() {
        shard.expires_actively = on;
    }
    reply.ok();
    Ok(())
}

fn help(reply: &mut Reply<'_>) {
    reply.help(
        "DEBUG",
        &[
            (
                "AOF-FLUSH-SLEEP <microseconds>",
                &["Each write to an append-only file is preceded by so long a wait."],
            ),
            ("ASSERT", &["Ends the server by a failed assertion."]),
            (
                "CHANGE-REPL-ID",
                &["Gives the stream of changes another name, which nobody can go on with."],
            ),
            (
                "CLIENT-EVICTION",
                &["Clients that maxmemory-clients may close, by size class."],
            ),
            (
                "CLUSTERLINK KILL <to|from|all> <node-id>",
                &["Breaks the links that this node opened to another one, accepted from it, or both."],
            ),
            (
                "CONFIG-REWRITE-FORCE-ALL",
                &["Like CONFIG REWRITE, with the directives at their defaults as well."],
            ),
            (
                "DIGEST",
                &["A number in hexadecimal that is the same for equal data sets."],
            ),
            (
                "DIGEST-VALUE <key> [<key> ...]",
                &["The same of the values of keys."],
            ),
            (
                "DICT-RESIZING <0|1>",
                &["Accepted for tests; tables grow bucket by bucket."],
            ),
            (
                "DROP-CLUSTER-PACKET-FILTER <packet-type>",
                &["Passes over arriving packets of the bus of that type; -1 for none."],
            ),
            ("ERROR <string>", &["Answers with this error."]),
            (
                "HTSTATS <dbid>",
                &["The tables of a database, shard by shard."],
            ),
            ("HTSTATS-KEY <key>", &["The table behind a key."]),
            (
                "JMAP",
                &["Gives memory that nothing uses back to the system."],
            ),
            ("LEAK <string>", &["Forgets a copy of the string."]),
            ("LISTPACK <key>", &["The listpack behind a key."]),
            ("LOG <message>", &["Writes a line to the server's log."]),
            (
                "OBJECT <key>",
                &["Address, encoding and access clock of a key."],
            ),
            ("PANIC", &["Ends the server by a panic."]),
            (
                "PAUSE-CRON <0|1>",
                &["Whether signals wait. Nothing else stops: there is no cron job."],
            ),
            (
                "POPULATE <count> [<prefix>] [<size>]",
                &["Adds string keys called <prefix>:<number> where there are none yet."],
            ),
            (
                "PROTOCOL <type>",
                &[
                    "Answers with a value of a type: string, integer, double, bignum, null, array,",
                    "set, map, attrib, push, verbatim, true, false.",
                ],
            ),
            (
                "QUICKLIST-PACKED-THRESHOLD <size>",
                &["Accepted for tests; large elements have a node of their own anyway."],
            ),
            (
                "RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
                &[
                    "Writes a snapshot and loads it again. MERGE replaces keys that are there, NOFLUSH",
                    "keeps what is in memory, NOSAVE loads the file as it is.",
                ],
            ),
            (
                "REPLICATE <command> [<argument> ...]",
                &["Sends replicas a command that is not executed here."],
            ),
            (
                "REPLYBUFFER <what> <value>",
                &["Accepted for tests; buffers follow what is in them."],
            ),
            ("SEGFAULT", &["Ends the server by a memory fault."]),
            (
                "SET-ACTIVE-EXPIRE <0|1>",
                &["Whether keys expire when nobody meets them."],
            ),
            (
                "SET-DISABLE-DENY-SCRIPTS <0|1>",
                &["Whether scripts may call what is not for scripts."],
            ),
            (
                "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
                &["Whether snapshots and payloads are taken without a look at their checksums."],
            ),
            (
                "SLEEP <seconds>",
                &["Serves nobody for so long. Decimals allowed."],
            ),
            (
                "STALL-SHARD <shard> <seconds>",
                &["The core of one shard, counted from zero, serves nobody for so long. Others go on."],
            ),
            ("STRUCTSIZE", &["Sizes of some structures, in bytes."]),
            (
                "STRINGMATCH-LEN <length> <pattern>",
                &["Whether a pattern fits a string of so many letters a."],
            ),
        ],
    );
}
