//! MEMORY: what memory is used for.

use crate::base::number::parse_i64;
use crate::command::client::{Context, Step};
use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};
use crate::keyspace::Value;
use crate::observe::{MemoryFacts, ratio};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shard;

use super::{Outcome, named_integer};

/// Elements looked at to estimate the size of a big value, when not told otherwise.
const DEFAULT_SAMPLES: i64 = 5;
/// Below so many bytes in use there is nothing to find for the doctor.
const WORTH_A_LOOK_BYTES: u64 = 5 << 20;

pub(super) const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "DOCTOR",
        arity: Arity::Exactly(2),
        flags: Flags::NONE,
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "4.0.0",
            complexity: "O(1)",
            summary: "Looks for trouble with memory.",
            arguments: &[],
            history: &[],
            tips: &[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ],
            deprecated: None,
        },
        run: Run::Client(memory_doctor),
        subcommands: &[],
    },
    Command {
        name: "HELP",
        arity: Arity::Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE),
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "4.0.0",
            complexity: "O(1)",
            summary: "Lists the subcommands.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(memory_help),
        subcommands: &[],
    },
    Command {
        name: "MALLOC-STATS",
        arity: Arity::Exactly(2),
        flags: Flags::NONE,
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "4.0.0",
            complexity: "Grows with the memory in use, may be slow",
            summary: "Shows what the allocator counts.",
            arguments: &[],
            history: &[],
            tips: &[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ],
            deprecated: None,
        },
        run: Run::Client(memory_malloc_stats),
        subcommands: &[],
    },
    Command {
        name: "PURGE",
        arity: Arity::Exactly(2),
        flags: Flags::NONE,
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "4.0.0",
            complexity: "Grows with the memory in use, may be slow",
            summary: "Gives unused memory back to the system.",
            arguments: &[],
            history: &[],
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            deprecated: None,
        },
        run: Run::Client(memory_purge),
        subcommands: &[],
    },
    Command {
        name: "STATS",
        arity: Arity::Exactly(2),
        flags: Flags::NONE,
        acl: Acl::NONE,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "4.0.0",
            complexity: "O(1)",
            summary: "Shows what memory is used for.",
            arguments: &[],
            history: &[],
            tips: &[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ],
            deprecated: None,
        },
        run: Run::Client(memory_stats),
        subcommands: &[],
    },
    Command {
        name: "USAGE",
        arity: Arity::AtLeast(3),
        flags: Flags::READONLY,
        acl: Acl::NONE,
        keys: &[KeySpec::one(2, Access::RO)],
        docs: Docs {
            group: Group::Server,
            since: "4.0.0",
            complexity: "O(N), N being the samples",
            summary: "Estimates the bytes of memory behind a key.",
            arguments: &[
                Argument::key("key"),
                Argument::integer("count").token("SAMPLES").optional(),
            ],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Shard(memory_usage),
        subcommands: &[],
    },
];

fn memory_usage(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let mut samples = DEFAULT_SAMPLES;
    let mut at = 3;
    while at < args.len() {
        if !args.is(at, "SAMPLES") || at + 1 >= args.len() {
            return Err(ErrorReply::SYNTAX);
        }
        samples = parse_i64(args.get(at + 1)).ok_or(ErrorReply::NOT_INTEGER)?;
        if samples < 0 {
            return Err(ErrorReply::SYNTAX);
        }
        at += 2;
    }
    let Some(entry) = shard.peek(args.db(), &args.key(2)) else {
        reply.null();
        return Ok(());
    };
    let value = entry.boxed().map_or(0, |value| {
        size_of::<Value>() + value.allocated(samples as usize)
    });
    // The entry's share of its table: one place with its tag, at the usual load.
    const PLACE_BYTES: usize = 64 / 7 + 2;
    reply.count(entry.allocated_bytes() + value + PLACE_BYTES);
    Ok(())
}

fn memory_stats(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let observatory = context.core.observatory;
    let memory = MemoryFacts::now(observatory);
    let databases: Vec<usize> = (0..context.core.config.databases as usize)
        .filter(|db| observatory.sum(|core| core.keys.get(*db).map_or(0, |keys| keys.get())) > 0)
        .collect();
    reply.map(27 + databases.len());
    let mut put = |name: &str, bytes: u64| named_integer(reply, name, bytes as i64);
    put("peak.allocated", memory.peak);
    put("total.allocated", memory.used);
    put("startup.allocated", memory.startup);
    put("replication.backlog", memory.backlog);
    put("clients.slaves", memory.replicas);
    put("clients.normal", memory.clients);
    put("cluster.links", 0);
    put("aof.buffer", 0);
    put("lua.caches", 0);
    put("functions.caches", 0);
    for db in databases {
        // Tables are counted together; each database answers for its part of the keys.
        let keys = observatory.sum(|core| core.keys.get(db).map_or(0, |keys| keys.get()));
        let share = u128::from(memory.tables) * u128::from(keys) / u128::from(memory.keys.max(1));
        reply.bulk(format!("db.{db}").as_bytes());
        reply.map(3);
        named_integer(reply, "overhead.hashtable.main", share as i64);
        named_integer(reply, "overhead.hashtable.expires", 0);
        named_integer(reply, "overhead.hashtable.slot-to-keys", 0);
    }
    let mut put = |name: &str, bytes: u64| named_integer(reply, name, bytes as i64);
    put("overhead.total", memory.overhead());
    put("keys.count", memory.keys);
    put("keys.bytes-per-key", memory.bytes_per_key());
    put("dataset.bytes", memory.dataset());
    named_double(reply, "dataset.percentage", memory.dataset_percentage());
    named_double(reply, "peak.percentage", memory.peak_percentage());
    let allocator = &memory.allocator;
    named_integer(reply, "allocator.allocated", allocator.allocated as i64);
    named_integer(reply, "allocator.active", allocator.active as i64);
    named_integer(reply, "allocator.resident", allocator.resident as i64);
    for (times_name, bytes_name, whole, part) in [
        (
            "allocator-fragmentation.ratio",
            "allocator-fragmentation.bytes",
            allocator.active,
            allocator.allocated,
        ),
        (
            "allocator-rss.ratio",
            "allocator-rss.bytes",
            allocator.resident,
            allocator.active,
        ),
        (
            "rss-overhead.ratio",
            "rss-overhead.bytes",
            memory.resident,
            allocator.resident,
        ),
        (
            "fragmentation",
            "fragmentation.bytes",
            memory.resident,
            memory.used,
        ),
    ] {
        let (times, bytes) = ratio(whole, part);
        named_double(reply, times_name, times);
        named_integer(reply, bytes_name, bytes);
    }
    Ok(Step::Done)
}

fn named_double(reply: &mut Reply<'_>, name: &str, value: f64) {
    reply.bulk(name.as_bytes());
    reply.double(value);
}

fn memory_doctor(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let memory = MemoryFacts::now(context.core.observatory);
    let mut report = String::new();
    if memory.used < WORTH_A_LOOK_BYTES {
        report.push_str("There is so little data that nothing can be said about memory.\n");
    } else {
        if memory.peak as f64 / memory.used as f64 > 1.5 {
            report.push_str(
                "- The peak was far above what is used now; the system may not have all of it back. MEMORY PURGE gives \
                 back what the allocator holds.\n",
            );
        }
        let fragmentation = ratio(memory.allocator.active, memory.allocator.allocated);
        if fragmentation.0 > 1.1 && fragmentation.1 > 10 << 20 {
            report.push_str("- Pages are only partly used: values of many sizes came and went.\n");
        }
        let overhead = ratio(memory.resident, memory.allocator.resident);
        if overhead.0 > 1.1 && overhead.1 > 10 << 20 {
            report.push_str("- Memory beyond the allocator's is in use: large buffers of the kernel or of threads.\n");
        }
        if memory.clients > memory.used / 4 {
            report.push_str("- Connections take much of the memory: look for large output buffers in CLIENT LIST.\n");
        }
        if report.is_empty() {
            report.push_str("Nothing about memory looks wrong.\n");
        }
    }
    reply.verbatim("txt", report.as_bytes());
    Ok(Step::Done)
}

fn memory_malloc_stats(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.verbatim("txt", &crate::base::allocator::report());
    Ok(Step::Done)
}

fn memory_purge(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    crate::base::allocator::purge();
    reply.ok();
    Ok(Step::Done)
}

fn memory_help(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.help(
        "MEMORY",
        &[
            ("DOCTOR", &["What looks wrong about memory."]),
            ("MALLOC-STATS", &["What the allocator counts."]),
            (
                "PURGE",
                &["Gives memory that nothing uses back to the system."],
            ),
            ("STATS", &["What memory is used for."]),
            (
                "USAGE <key> [SAMPLES <count>]",
                &[
                    "Bytes of memory behind a key. Of a big value so many elements are looked at",
                    "(default: 5, 0 means all).",
                ],
            ),
        ],
    );
    Ok(Step::Done)
}
