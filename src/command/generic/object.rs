//! What a key holds: TYPE and OBJECT.

use crate::command::client::{Context, Step};
use crate::config::MaxmemoryPolicy;
use crate::keyspace::KeyEntry;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shard;
use crate::structures::entry::Payload;

use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};

pub(super) const TYPE: Command = Command {
    name: "TYPE",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::one(1, Access::RO)],
    docs: Docs {
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Tells the type of a value.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(type_of),
    subcommands: &[],
};

pub(super) const OBJECT: Command = Command {
    name: "OBJECT",
    arity: Arity::AtLeast(2),
    flags: Flags::NONE,
    acl: Acl::NONE,
    keys: &[],
    docs: Docs {
        group: Group::Generic,
        since: "2.2.3",
        complexity: "Depends on subcommand.",
        summary: "Subcommands that look at how a value is kept.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Container,
    subcommands: &[
        Command {
            name: "ENCODING",
            arity: Arity::Exactly(3),
            flags: Flags::READONLY,
            acl: Acl::KEYSPACE,
            keys: &[KeySpec::one(2, Access::RO)],
            docs: Docs {
                group: Group::Generic,
                since: "2.2.3",
                complexity: "O(1)",
                summary: "Names the internal encoding of a value.",
                arguments: &[Argument::key("key")],
                history: &[],
                tips: &["nondeterministic_output"],
                deprecated: None,
            },
            run: Run::Shard(object_encoding),
            subcommands: &[],
        },
        Command {
            name: "FREQ",
            arity: Arity::Exactly(3),
            flags: Flags::READONLY,
            acl: Acl::KEYSPACE,
            keys: &[KeySpec::one(2, Access::RO)],
            docs: Docs {
                group: Group::Generic,
                since: "4.0.0",
                complexity: "O(1)",
                summary: "Gives the logarithmic counter of accesses to a key.",
                arguments: &[Argument::key("key")],
                history: &[],
                tips: &["nondeterministic_output"],
                deprecated: None,
            },
            run: Run::Shard(object_freq),
            subcommands: &[],
        },
        Command {
            name: "HELP",
            arity: Arity::Exactly(2),
            flags: Flags::LOADING.and(Flags::STALE),
            acl: Acl::KEYSPACE,
            keys: &[],
            docs: Docs {
                group: Group::Generic,
                since: "6.2.0",
                complexity: "O(1)",
                summary: "Explains the subcommands of OBJECT.",
                arguments: &[],
                history: &[],
                tips: &[],
                deprecated: None,
            },
            run: Run::Client(object_help),
            subcommands: &[],
        },
        Command {
            name: "IDLETIME",
            arity: Arity::Exactly(3),
            flags: Flags::READONLY,
            acl: Acl::KEYSPACE,
            keys: &[KeySpec::one(2, Access::RO)],
            docs: Docs {
                group: Group::Generic,
                since: "2.2.3",
                complexity: "O(1)",
                summary: "Gives the seconds since a key was last used.",
                arguments: &[Argument::key("key")],
                history: &[],
                tips: &["nondeterministic_output"],
                deprecated: None,
            },
            run: Run::Shard(object_idletime),
            subcommands: &[],
        },
        Command {
            name: "REFCOUNT",
            arity: Arity::Exactly(3),
            flags: Flags::READONLY,
            acl: Acl::KEYSPACE,
            keys: &[KeySpec::one(2, Access::RO)],
            docs: Docs {
                group: Group::Generic,
                since: "2.2.3",
                complexity: "O(1)",
                summary: "Gives how many references to a value there are.",
                arguments: &[Argument::key("key")],
                history: &[],
                tips: &["nondeterministic_output"],
                deprecated: None,
            },
            run: Run::Shard(object_refcount),
            subcommands: &[],
        },
    ],
};

/// Longest string that Redis keeps together with its object header, and calls `embstr`.
const EMBEDDED_MAX: usize = 44;
/// Integers from 0 to below this are shared by all keys in Redis (OBJ_SHARED_INTEGERS) ...
const SHARED_INTEGERS: i64 = 10_000;
/// ... and claim to have this many references.
const SHARED_REFERENCES: i64 = i32::MAX as i64;

/// The word that TYPE replies.
pub(super) fn type_name(entry: &KeyEntry) -> &'static str {
    entry.boxed().map_or("string", |value| value.type_name())
}

/// The word that OBJECT ENCODING replies.
pub(crate) fn encoding_name(entry: &KeyEntry) -> &'static str {
    match entry.payload() {
        Payload::Int(_) => "int",
        Payload::Bytes(bytes) if bytes.len() <= EMBEDDED_MAX && !entry.is_raw() => "embstr",
        Payload::Bytes(_) => "raw",
        Payload::Boxed(value) => value.encoding_name(),
    }
}

fn type_of(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let entry = shard.peek_counted(args.db(), &args.key(1));
    reply.simple(entry.map_or("none", type_name));
    Ok(())
}

/// The key that a subcommand of OBJECT asks about; when it is missing, that has been replied.
fn look<'a>(shard: &'a mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Option<&'a KeyEntry> {
    let entry = shard.peek_silently(args.db(), &args.key(2));
    if entry.is_none() {
        reply.null();
    }
    entry
}

fn object_encoding(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    if let Some(entry) = look(shard, args, reply) {
        reply.bulk(encoding_name(entry).as_bytes());
    }
    Ok(())
}

fn object_refcount(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    // Redis shares no integers while their clocks matter for eviction.
    let policy = shard.config.maxmemory_policy;
    let by_clock = policy.is_lfu()
        || matches!(
            policy,
            MaxmemoryPolicy::VolatileLru | MaxmemoryPolicy::AllkeysLru
        );
    let shares = shard.config.maxmemory == 0 || !by_clock;
    if let Some(entry) = look(shard, args, reply) {
        let shared = match entry.payload() {
            Payload::Int(number) => shares && (0..SHARED_INTEGERS).contains(&number),
            _ => false,
        };
        reply.integer(if shared { SHARED_REFERENCES } else { 1 });
    }
    Ok(())
}

fn object_idletime(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    if let Some(clock) = look(shard, args, reply).map(KeyEntry::clock) {
        if shard.config.maxmemory_policy.is_lfu() {
            return Err(ErrorReply::LFU_NO_IDLE);
        }
        reply.integer(shard.idle_seconds(clock).into());
    }
    Ok(())
}

fn object_freq(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    if let Some(clock) = look(shard, args, reply).map(KeyEntry::clock) {
        if !shard.config.maxmemory_policy.is_lfu() {
            return Err(ErrorReply::NO_LFU);
        }
        reply.integer(shard.lfu_counter(clock).into());
    }
    Ok(())
}

fn object_help(
    _: &mut Context<'_>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Step, ErrorReply> {
    const LINES: [&str; 14] = [
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Name the internal form in which the value at <key> is kept.",
        "FREQ <key>",
        "    Give the counter of accesses to <key>: logarithmic, decaying with time, kept",
        "    under the LFU policies only.",
        "IDLETIME <key>",
        "    Give the seconds since <key> was last used; not known under the LFU",
        "    policies.",
        "REFCOUNT <key>",
        "    Give the number of references to the value at <key>, as Redis would count",
        "    them.",
        "HELP",
        "    Print this help.",
    ];
    reply.array(LINES.len());
    LINES.iter().for_each(|line| reply.simple(line));
    Ok(Step::Done)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::command::harness::Harness;
    use crate::command::string::tests::set_list;
    use crate::config::MaxmemoryPolicy;

    fn set_policy(h: &mut Harness, policy: MaxmemoryPolicy) {
        for shard in &mut h.shards {
            Arc::make_mut(&mut shard.config).maxmemory_policy = policy;
        }
    }

    #[test]
    fn types_and_encodings_of_strings() {
        let mut h = Harness::new(4);
        h.run(&["SET", "short", &"x".repeat(44)]);
        h.run(&["SET", "long", &"x".repeat(45)]);
        h.line("SET int -12");
        h.line("SET large 12345678901234567890");
        set_list(&mut h, "l");
        for (key, encoding) in [
            ("short", "embstr"),
            ("long", "raw"),
            ("int", "int"),
            ("large", "embstr"),
            ("l", "listpack"),
        ] {
            let expected = format!("${}\r\n{encoding}\r\n", encoding.len());
            assert_eq!(h.line(&format!("OBJECT ENCODING {key}")), expected);
        }
        assert_eq!(h.line("OBJECT ENCODING none"), "$-1\r\n");
        assert_eq!(h.line("TYPE l"), "+list\r\n");
        assert_eq!(h.line("TYPE int"), "+string\r\n");
        assert_eq!(h.line("TYPE none"), "+none\r\n");
    }

    #[test]
    fn small_integers_look_shared() {
        let mut h = Harness::new(1);
        h.line("MSET a 9999 b 10000 c -1 d x");
        assert_eq!(h.line("OBJECT REFCOUNT a"), ":2147483647\r\n");
        for key in ["b", "c", "d"] {
            assert_eq!(h.line(&format!("OBJECT REFCOUNT {key}")), ":1\r\n");
        }
    }

    #[test]
    fn a_command_uses_a_key_as_often_as_redis_looks_it_up() {
        for shards in [1, 4] {
            let mut h = Harness::new(shards);
            set_policy(&mut h, MaxmemoryPolicy::AllkeysLfu);
            for shard in &mut h.shards {
                Arc::make_mut(&mut shard.config).lfu_log_factor = 0; // every use counts
            }
            for (made, used, key, times) in [
                ("SET a 1", "SET a 2", "a", 1),
                ("SET b 1", "SET b 2 XX", "b", 1),
                ("SET c 1", "SET c 2 NX", "c", 1),
                ("SET d 1", "SET d 2 GET", "d", 2),
                ("SET e 1", "SET e 2 NX GET", "e", 2),
                ("SET f 1", "INCRBYFLOAT f 2", "f", 1),
                ("SET g 1", "APPEND g 2", "g", 1),
                ("HSET h f 1", "HINCRBY h f 2", "h", 1),
                ("HSET i f 1", "HINCRBYFLOAT i f 2", "i", 1),
                ("RPUSH j 1 2 3", "LPOP j 2", "j", 1),
                ("RPUSH k 1 2 3", "LMPOP 1 k LEFT", "k", 1),
                ("RPUSH l 1 2 3", "LMOVE l l2 LEFT LEFT", "l", 1),
                ("RPUSH m 1 2 3", "LMOVE m m LEFT LEFT", "m", 2),
                ("SADD n 1 2 3", "SMOVE n n2 1", "n", 1),
                ("SADD o 1 2 3", "SMOVE none o 1", "o", 1),
                ("SADD p 1 2 3", "SPOP p 2", "p", 1),
                ("ZADD q 1 a", "ZINCRBY q 1 a", "q", 1),
                ("ZADD q1 1 a 2 b", "ZMPOP 2 none q1 MIN", "q1", 1),
                ("ZADD q2 1 a 2 b", "BZMPOP 0 2 none q2 MIN", "q2", 2),
                ("ZADD q3 1 a 2 b", "BZPOPMAX none q3 0", "q3", 2),
                ("SET r 1", "TYPE r", "r", 0),
                ("SET s 1", "EXPIRE s 100", "s", 1),
            ] {
                h.line(made);
                h.line(used);
                let frequency = h.line(&format!("OBJECT FREQ {key}"));
                assert_eq!(frequency, format!(":{}\r\n", 5 + times), "{used}");
            }
        }
    }

    #[test]
    fn idle_time_and_frequency_follow_the_policy() {
        let mut h = Harness::new(1);
        h.line("SET k v");
        h.set_now(1_700_000_007_000);
        assert_eq!(h.line("OBJECT IDLETIME k"), ":7\r\n");
        assert_eq!(h.line("OBJECT FREQ none"), "$-1\r\n");
        assert!(
            h.line("OBJECT FREQ k")
                .starts_with("-ERR An LFU maxmemory policy is not")
        );
        h.line("TOUCH k");
        assert_eq!(h.line("OBJECT IDLETIME k"), ":0\r\n");
        set_policy(&mut h, MaxmemoryPolicy::AllkeysLfu);
        h.line("SET f v");
        assert_eq!(h.line("OBJECT FREQ f"), ":5\r\n");
        h.line("GET f");
        assert_eq!(h.line("OBJECT FREQ f"), ":6\r\n");
        assert!(
            h.line("OBJECT IDLETIME f")
                .starts_with("-ERR An LFU maxmemory policy is")
        );
        h.caller.no_touch = true;
        h.line("GET f");
        assert_eq!(h.line("OBJECT FREQ f"), ":6\r\n");
    }

    #[test]
    fn subcommands_check_their_own_arity() {
        let mut h = Harness::new(1);
        assert_eq!(
            h.line("OBJECT FOO k"),
            "-ERR unknown subcommand 'FOO'. Try OBJECT HELP.\r\n"
        );
        assert_eq!(
            h.line("OBJECT ENCODING"),
            "-ERR wrong number of arguments for 'object|encoding' command\r\n"
        );
        assert_eq!(
            h.line("OBJECT"),
            "-ERR wrong number of arguments for 'object' command\r\n"
        );
    }
}
