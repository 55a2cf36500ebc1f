//! String commands: values that are bytes, numbers among them.

use crate::base::number::{format_i64, parse_i64};
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard};
use crate::structures::entry::{NewValue, Payload};

use super::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "GET",
        arity: Arity::Exactly(2),
        flags: Flags::READONLY.and(Flags::FAST),
        acl: Acl::STRING,
        keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
        docs: Docs {
            group: Group::String,
            since: "1.0.0",
            complexity: "O(1)",
            summary: "Reads a string.",
            arguments: &[Argument::key("key")],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Shard(get),
        subcommands: &[],
    },
    Command {
        name: "SET",
        arity: Arity::AtLeast(3),
        flags: Flags::WRITE.and(Flags::DENYOOM),
        acl: Acl::STRING,
        keys: &[KeySpec {
            notes: "RW and ACCESS due to the optional `GET` argument",
            ..KeySpec::one(
                1,
                Access::RW
                    .and(Access::ACCESS)
                    .and(Access::UPDATE)
                    .and(Access::VARIABLE_FLAGS),
            )
        }],
        docs: Docs {
            group: Group::String,
            since: "1.0.0",
            complexity: "O(1)",
            summary: "Stores a string, whatever the key held before.",
            arguments: &[
                Argument::key("key"),
                Argument::string("value"),
                Argument::one_of(
                    "condition",
                    &[Argument::word("nx", "NX"), Argument::word("xx", "XX")],
                )
                .optional()
                .since("2.6.12"),
                Argument::word("get", "GET").optional().since("6.2.0"),
                Argument::one_of(
                    "expiration",
                    &[
                        Argument::integer("seconds").token("EX").since("2.6.12"),
                        Argument::integer("milliseconds").token("PX").since("2.6.12"),
                        Argument::new(
                            "unix-time-seconds",
                            super::spec::ArgumentKind::UnixTime,
                        )
                        .token("EXAT")
                        .since("6.2.0"),
                        Argument::new(
                            "unix-time-milliseconds",
                            super::spec::ArgumentKind::UnixTime,
                        )
                        .token("PXAT")
                        .since("6.2.0"),
                        Argument::word("keepttl", "KEEPTTL").since("6.0.0"),
                    ],
                )
                .optional(),
            ],
            history: &[
                ("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."),
                ("6.0.0", "Added the `KEEPTTL` option."),
                ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."),
                ("7.0.0", "Allowed the `NX` and `GET` options to be used together."),
            ],
            tips: &[],
            deprecated: None,
        },
        run: Run::Shard(set),
        subcommands: &[],
    },
];

/// A string as a value to store: canonical integers are kept as numbers, as Redis does.
#[inline]
pub(super) fn string_value(bytes: &[u8]) -> NewValue<'_, crate::keyspace::Value> {
    if bytes.len() <= 20
        && let Some(number) = parse_i64(bytes)
    {
        return NewValue::Int(number);
    }
    NewValue::Bytes(bytes)
}

/// Replies with a string entry's value.
#[inline]
pub(super) fn reply_string(
    payload: &Payload<'_, crate::keyspace::Value>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    match payload {
        Payload::Bytes(bytes) => reply.bulk(bytes),
        Payload::Int(number) => reply.bulk(format_i64(*number).as_bytes()),
        Payload::Boxed(_) => return Err(ErrorReply::WRONG_TYPE),
    }
    Ok(())
}

fn get(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    match shard.read(&args.caller, &args.key(1)) {
        Some(entry) => reply_string(&entry.payload(), reply),
        None => {
            reply.null();
            Ok(())
        }
    }
}

/// What the options of SET, and in part of GETEX, ask for.
#[derive(Default)]
struct SetOptions {
    if_absent: bool,
    if_present: bool,
    get: bool,
    keep_ttl: bool,
    persist: bool,
    /// Unix milliseconds.
    expire_at: Option<i64>,
}

fn set(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let key = args.key(1);
    if args.len() == 3 {
        shard.put(&args.caller, &key, string_value(args.get(2)), false);
        shard.changed(args.db(), &key, Class::String, "set");
        reply.ok();
        return Ok(());
    }
    let options = set_options(args, 3, shard.now)?;
    set_with(shard, args, &key, &options, reply)
}

#[cold]
fn set_with(
    shard: &mut Shard,
    args: &Args<'_>,
    key: &Key<'_>,
    options: &SetOptions,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let old = if options.get {
        shard.read(&args.caller, key)
    } else {
        shard.peek(args.db(), key)
    };
    let found = old.is_some();
    if options.get {
        match old {
            Some(entry) => reply_string(&entry.payload(), reply)?,
            None => reply.null(),
        }
    }
    if (options.if_absent && found) || (options.if_present && !found) {
        if !options.get {
            reply.null();
        }
        return Ok(());
    }
    let value = args.get(2);
    shard.put(&args.caller, key, string_value(value), options.keep_ttl);
    shard.changed(args.db(), key, Class::String, "set");
    if let Some(at) = options.expire_at {
        shard.keyspace.set_expire_at(args.db(), key, Some(at));
        shard.notify(args.db(), key, Class::Generic, "expire");
        shard.effects.record(
            args.db(),
            &[b"SET", key.bytes, value, b"PXAT", format_i64(at).as_bytes()],
        );
    } else if options.get {
        // The reply is no part of the effect, and an older reader of the stream may refuse GET with NX.
        if options.keep_ttl {
            shard
                .effects
                .record(args.db(), &[b"SET", key.bytes, value, b"KEEPTTL"]);
        } else {
            shard.effects.record(args.db(), &[b"SET", key.bytes, value]);
        }
    }
    if !options.get {
        reply.ok();
    }
    Ok(())
}

fn set_options(args: &Args<'_>, from: usize, now: i64) -> Result<SetOptions, ErrorReply> {
    let mut options = SetOptions::default();
    let mut expire: Option<(&str, &[u8])> = None;
    let mut at = from;
    while at < args.len() {
        let timed = ["EX", "PX", "EXAT", "PXAT"]
            .into_iter()
            .find(|word| args.is(at, word));
        if args.is(at, "NX") && !options.if_present {
            options.if_absent = true;
        } else if args.is(at, "XX") && !options.if_absent {
            options.if_present = true;
        } else if args.is(at, "GET") {
            options.get = true;
        } else if args.is(at, "KEEPTTL") && expire.is_none() && !options.persist {
            options.keep_ttl = true;
        } else if let Some(unit) = timed
            && expire.is_none()
            && !options.keep_ttl
            && !options.persist
            && at + 1 < args.len()
        {
            expire = Some((unit, args.get(at + 1)));
            at += 1;
        } else {
            return Err(ErrorReply::SYNTAX);
        }
        at += 1;
    }
    if let Some((unit, number)) = expire {
        options.expire_at = Some(expire_time(unit, number, now, "set")?);
    }
    Ok(options)
}

/// The Unix time in milliseconds that an option such as `EX 10` names.
pub(super) fn expire_time(
    unit: &str,
    number: &[u8],
    now: i64,
    command: &str,
) -> Result<i64, ErrorReply> {
    let number = parse_i64(number).ok_or(ErrorReply::NOT_INTEGER)?;
    let invalid = || ErrorReply::invalid_expire(command);
    if number <= 0 {
        return Err(invalid());
    }
    let milliseconds = if unit.starts_with('E') {
        number.checked_mul(1000).ok_or_else(invalid)?
    } else {
        number
    };
    if unit.ends_with("AT") {
        Ok(milliseconds)
    } else {
        milliseconds.checked_add(now).ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    use crate::command::harness::Harness;

    #[test]
    fn set_with_get_replies_the_old_value_even_when_its_condition_fails() {
        let mut h = Harness::new(1);
        assert_eq!(h.line("SET k a"), "+OK\r\n");
        assert_eq!(h.line("SET k b NX GET"), "$1\r\na\r\n");
        assert_eq!(h.line("GET k"), "$1\r\na\r\n");
        assert_eq!(h.line("SET k 10 PX 1000"), "+OK\r\n");
        assert_eq!(h.effects(), ["SET k a", "SET k 10 PXAT 1700000001000"]);
        h.set_now(1_700_000_001_000);
        assert_eq!(h.line("GET k"), "$-1\r\n");
        assert_eq!(h.effects(), ["DEL k"]);
    }
}
