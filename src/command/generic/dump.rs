//! A value as bytes and back: DUMP, RESTORE, RESTORE-ASKING.

use std::sync::atomic::Ordering::Relaxed;

use crate::base::number::{format_i64, parse_i64};
use crate::persistence::rdb::{self, Limits, PayloadError};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard};
use crate::structures::entry::Entry;

use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};

pub(super) const DUMP: Command = Command {
    name: "DUMP",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY,
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1) to find the key and O(N*M) to serialize it, N being its elements and M their average size",
        summary: "Reads a value in a serialized form that RESTORE takes.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &["nondeterministic_output"],
        deprecated: None,
    },
    run: Run::Shard(dump),
    subcommands: &[],
};

const RESTORE_COMPLEXITY: &str = "O(1) to make the key and O(N*M) to build the value, N being its elements and M their \
                                  average size; O(N*M*log(N)) for sorted sets";

const RESTORE_ARGUMENTS: &[Argument] = &[
    Argument::key("key"),
    Argument::integer("ttl"),
    Argument::string("serialized-value"),
    Argument::word("replace", "REPLACE")
        .optional()
        .since("3.0.0"),
    Argument::word("absttl", "ABSTTL").optional().since("5.0.0"),
    Argument::integer("seconds")
        .token("IDLETIME")
        .optional()
        .since("5.0.0"),
    Argument::integer("frequency")
        .token("FREQ")
        .optional()
        .since("5.0.0"),
];

const RESTORE_HISTORY: &[(&str, &str)] = &[
    ("3.0.0", "`REPLACE` was added."),
    ("5.0.0", "`ABSTTL` was added."),
    ("5.0.0", "`IDLETIME` and `FREQ` were added."),
];

pub(super) const RESTORE: Command = Command {
    name: "RESTORE",
    arity: Arity::AtLeast(4),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::DECODES),
    acl: Acl::KEYSPACE.and(Acl::DANGEROUS),
    keys: &[KeySpec::one(1, Access::OW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::Generic,
        since: "2.6.0",
        complexity: RESTORE_COMPLEXITY,
        summary: "Makes a key of a value in the serialized form of DUMP.",
        arguments: RESTORE_ARGUMENTS,
        history: RESTORE_HISTORY,
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(restore),
    subcommands: &[],
};

pub(super) const RESTORE_ASKING: Command = Command {
    name: "RESTORE-ASKING",
    flags: RESTORE.flags.and(Flags::ASKING).and(Flags::SYSTEM),
    docs: Docs {
        group: Group::Server,
        since: "3.0.0",
        complexity: RESTORE_COMPLEXITY,
        summary: "RESTORE as nodes send it to one another while a slot moves.",
        arguments: RESTORE_ARGUMENTS,
        history: RESTORE_HISTORY,
        tips: &[],
        deprecated: None,
    },
    ..RESTORE
};

fn dump(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let key = args.key(1);
    let compress = shard.config.rdbcompression;
    match shard.read(&args.caller, &key) {
        None => reply.null(),
        Some(entry) => reply.bulk(&rdb::dump(&entry.payload(), compress)),
    }
    Ok(())
}

/// What RESTORE was told beside key, time and payload.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_seconds: Option<u64>,
    freq: Option<u8>,
}

fn restore_options(args: &Args<'_>) -> Result<Options, ErrorReply> {
    let mut options = Options::default();
    let mut at = 4;
    while at < args.len() {
        let operand = args.opt(at + 1);
        if args.is(at, "REPLACE") {
            options.replace = true;
        } else if args.is(at, "ABSTTL") {
            options.absolute = true;
        } else if args.is(at, "IDLETIME")
            && let (Some(seconds), None) = (operand, options.freq)
        {
            let seconds = parse_i64(seconds).ok_or(ErrorReply::NOT_INTEGER)?;
            let seconds = u64::try_from(seconds).map_err(|_| ErrorReply::RESTORE_IDLETIME)?;
            options.idle_seconds = Some(seconds);
            at += 1;
        } else if args.is(at, "FREQ")
            && let (Some(counter), None) = (operand, options.idle_seconds)
        {
            let counter = parse_i64(counter).ok_or(ErrorReply::NOT_INTEGER)?;
            let counter = u8::try_from(counter).map_err(|_| ErrorReply::RESTORE_FREQ)?;
            options.freq = Some(counter);
            at += 1;
        } else {
            return Err(ErrorReply::SYNTAX);
        }
        at += 1;
    }
    Ok(options)
}

fn restore(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let ahead = shard.decoded.take();
    let options = restore_options(args)?;
    let (db, key) = (args.db(), args.key(1));
    if !options.replace && shard.write(&args.caller, &key).is_some() {
        return Err(ErrorReply::BUSY_KEY);
    }
    let ttl = parse_i64(args.get(2)).ok_or(ErrorReply::NOT_INTEGER)?;
    if ttl < 0 {
        return Err(ErrorReply::RESTORE_TTL);
    }
    let payload = args.get(3);
    let ahead = ahead.filter(|ahead| ahead.is_of(payload));
    let found = ahead
        .and_then(|ahead| ahead.into_found())
        .unwrap_or_else(|| {
            let verify = !shard.snapshots.skip_checksums.load(Relaxed);
            rdb::restore(payload, &Limits::of(&shard.config), verify)
        });
    let content = found.map_err(|error| match error {
        PayloadError::Footer => ErrorReply::DUMP_FOOTER,
        PayloadError::Content(problem) => {
            log::warn!("RESTORE: integrity check failed: {problem}");
            ErrorReply::BAD_DATA_FORMAT
        }
    })?;
    let expire_at = match ttl {
        0 => None,
        at if options.absolute => Some(at),
        after => Some(shard.now.saturating_add(after)),
    };
    let deleted = options.replace && shard.delete(db, &key);
    if expire_at.is_some_and(|at| shard.is_past(at)) {
        // The value was bound to be gone by now; what remains is that the old one is gone too.
        if deleted {
            shard.changed(db, &key, Class::Generic, "del");
            shard.record_removal(db, &key);
        }
        reply.ok();
        return Ok(());
    }
    let clock = shard.clock_of_usage(options.idle_seconds, options.freq);
    let entry = content.with_new(|value| Entry::new(key.bytes, value, clock, expire_at));
    shard.put_entry(db, &key, entry);
    shard.notify(db, &key, Class::New, "new");
    if let Some(at) = expire_at
        && !options.absolute
    {
        let at = format_i64(at);
        let mut parts: Vec<&[u8]> = args.iter_from(0).collect();
        parts[2] = &at;
        parts.push(b"ABSTTL");
        shard.effects.record(db, &parts);
    }
    shard.changed(db, &key, Class::Generic, "restore");
    reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::base::crc64::crc64;
    use crate::command::harness::Harness;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// A payload with this body.
    fn payload(body: &str) -> Vec<u8> {
        let mut bytes = hex(body);
        bytes.extend_from_slice(&[10, 0]);
        let sum = crc64(&bytes).to_le_bytes();
        bytes.extend_from_slice(&sum);
        bytes
    }

    fn restore(h: &mut Harness, words: &[&[u8]]) -> String {
        let mut all: Vec<&[u8]> = vec![b"RESTORE"];
        all.extend_from_slice(words);
        String::from_utf8_lossy(&h.run_bytes(&all)).into_owned()
    }

    #[test]
    fn a_dumped_value_comes_back_as_it_was() {
        for shards in [1, 4] {
            let mut h = Harness::new(shards);
            h.line("SET s hello");
            h.line("SET n 12");
            h.line("RPUSH l a 1 hello");
            h.line("SADD i 1 2 3");
            h.line("SADD t a b");
            h.line("HSET h f v n 7");
            h.line("ZADD z 1 a 2.5 b");
            for key in ["s", "n", "l", "i", "t", "h", "z"] {
                let dumped = h.run_bytes(&[b"DUMP", key.as_bytes()]);
                let start = dumped.iter().position(|byte| *byte == b'\n').unwrap() + 1;
                let body = dumped[start..dumped.len() - 2].to_vec();
                let copy = format!("{key}2");
                assert_eq!(restore(&mut h, &[copy.as_bytes(), b"0", &body]), "+OK\r\n");
                let again = h.run_bytes(&[b"DUMP", copy.as_bytes()]);
                assert_eq!(again, dumped, "{key}");
            }
            assert_eq!(h.line("DUMP none"), "$-1\r\n");
        }
    }

    #[test]
    fn the_bytes_are_those_of_redis() {
        let mut h = Harness::new(1);
        h.line("SET s hello");
        h.line("SET n 12");
        h.line("RPUSH l a 1 hello");
        for (key, dumped) in [
            ("s", "000568656c6c6f0a006372df766534200a"),
            ("n", "00c00c0a003c2af8515c04bcd5"),
            (
                "l",
                "1201021313000000030081610201018568656c6c6f06ff0a00a21038a516cf7d51",
            ),
        ] {
            let expected = hex(dumped);
            let mut reply = format!("${}\r\n", expected.len()).into_bytes();
            reply.extend_from_slice(&expected);
            reply.extend_from_slice(b"\r\n");
            assert_eq!(h.run_bytes(&[b"DUMP", key.as_bytes()]), reply);
        }
    }

    #[test]
    fn what_restore_refuses_and_in_which_order() {
        let mut h = Harness::new(1);
        h.line("SET k v");
        let good = payload("00 0161");
        let mut wrong_sum = good.clone();
        *wrong_sum.last_mut().unwrap() ^= 1;
        let mut newer = hex("00 0161 0c00");
        newer.extend_from_slice(&crc64(&newer).to_le_bytes());
        for (words, error) in [
            (&[&b"k"[..], b"x", b"", b"WHAT"][..], "ERR syntax error"),
            (&[b"k", b"x", b"", b"IDLETIME"], "ERR syntax error"),
            (
                &[b"k", b"x", b"", b"IDLETIME", b"1", b"FREQ", b"1"],
                "ERR syntax error",
            ),
            (
                &[b"k", b"x", b"", b"IDLETIME", b"-1"],
                "ERR Invalid IDLETIME value, must be >= 0",
            ),
            (
                &[b"k", b"x", b"", b"FREQ", b"256"],
                "ERR Invalid FREQ value, must be >= 0 and <= 255",
            ),
            (
                &[b"k", b"x", b"", b"FREQ", b"y"],
                "ERR value is not an integer or out of range",
            ),
            (
                &[b"k", b"x", b""],
                "BUSYKEY Target key name already exists.",
            ),
            (
                &[b"k", b"x", b"", b"REPLACE"],
                "ERR value is not an integer or out of range",
            ),
            (
                &[b"k", b"-1", b"", b"REPLACE"],
                "ERR Invalid TTL value, must be >= 0",
            ),
            (
                &[b"n", b"0", b""],
                "ERR DUMP payload version or checksum are wrong",
            ),
            (
                &[b"n", b"0", &wrong_sum],
                "ERR DUMP payload version or checksum are wrong",
            ),
            (
                &[b"n", b"0", &newer],
                "ERR DUMP payload version or checksum are wrong",
            ),
        ] {
            assert_eq!(restore(&mut h, words), format!("-{error}\r\n"));
        }
        for bad in ["02 00", "ff", "f5 0161", "08 00", "00 0561", "12 01 02 00"] {
            let refused = restore(&mut h, &[b"n", b"0", &payload(bad)]);
            assert_eq!(refused, "-ERR Bad data format\r\n", "{bad}");
        }
        assert_eq!(h.line("EXISTS n"), ":0\r\n");
        assert_eq!(h.line("GET k"), "$1\r\nv\r\n");
    }

    #[test]
    fn the_effect_of_restore_names_a_moment() {
        let mut h = Harness::new(1);
        let good = payload("00 0161");
        h.effects();
        restore(&mut h, &[b"a", b"0", &good]);
        restore(&mut h, &[b"b", b"5000", &good, b"REPLACE"]);
        restore(&mut h, &[b"c", b"1700000009000", &good, b"ABSTTL"]);
        restore(&mut h, &[b"a", b"1", &good, b"ABSTTL", b"REPLACE"]);
        restore(&mut h, &[b"none", b"1", &good, b"ABSTTL", b"REPLACE"]);
        let effects = h.effects();
        let shapes: Vec<(&str, Option<&str>)> = effects
            .iter()
            .map(|effect| {
                let name = effect.split(' ').next().unwrap();
                (name, effect.rsplit(' ').next())
            })
            .collect();
        assert_eq!(
            shapes.iter().map(|shape| shape.0).collect::<Vec<_>>(),
            ["RESTORE", "RESTORE", "RESTORE", "DEL"]
        );
        assert!(effects[1].starts_with("RESTORE b 1700000005000 "));
        assert!(effects[1].ends_with(" REPLACE ABSTTL"));
        assert_eq!(effects[3], "DEL a");
        assert_eq!(h.line("PTTL b"), ":5000\r\n");
        assert_eq!(h.line("PTTL c"), ":9000\r\n");
    }

    #[test]
    fn a_value_that_comes_from_another_shard_is_recorded_as_itself() {
        let mut h = Harness::new(2);
        h.line("RPUSH a x y");
        h.line("PEXPIRE a 5000");
        h.effects();
        h.line("RENAME a b");
        let effects = h.effects();
        assert_eq!(effects.len(), 2, "{effects:?}");
        assert!(effects[0].starts_with("RESTORE b 1700000005000 "));
        assert!(effects[0].ends_with(" REPLACE ABSTTL"));
        assert_eq!(effects[1], "DEL a");
        h.line("SADD a 1");
        h.line("DEL b");
        h.effects();
        h.line("SUNIONSTORE b a none");
        let effects = h.effects();
        assert!(effects[0].starts_with("RESTORE b 0 "), "{effects:?}");
        assert!(effects[0].ends_with(" REPLACE"));
    }
}
