//! Storing a whole string: SET with all its options, and the older commands that are SET with one of them.

use crate::base::number::{format_i64, parse_i64};
use crate::resp::request::{Args, Caller, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard};

use super::{reply_string, string_value};
use crate::command::spec::{
    Access, Acl, Argument, ArgumentKind, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};

pub(super) const SET: Command = Command {
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
                    Argument::integer("milliseconds")
                        .token("PX")
                        .since("2.6.12"),
                    Argument::new("unix-time-seconds", ArgumentKind::UnixTime)
                        .token("EXAT")
                        .since("6.2.0"),
                    Argument::new("unix-time-milliseconds", ArgumentKind::UnixTime)
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
            (
                "7.0.0",
                "Allowed the `NX` and `GET` options to be used together.",
            ),
        ],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(set),
    subcommands: &[],
};

pub(super) const GETSET: Command = Command {
    name: "GETSET",
    arity: Arity::Exactly(3),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    acl: Acl::STRING,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::UPDATE),
    )],
    docs: Docs {
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Stores a string and gives the one it replaces.",
        arguments: &[Argument::key("key"), Argument::string("value")],
        history: &[],
        tips: &[],
        deprecated: Some(("6.2.0", "`SET` with the `GET` argument")),
    },
    run: Run::Shard(getset),
    subcommands: &[],
};

pub(super) const SETNX: Command = Command {
    name: "SETNX",
    arity: Arity::Exactly(3),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    acl: Acl::STRING,
    keys: &[KeySpec::one(1, Access::OW.and(Access::INSERT))],
    docs: Docs {
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Stores a string if the key is free.",
        arguments: &[Argument::key("key"), Argument::string("value")],
        history: &[],
        tips: &[],
        deprecated: Some(("2.6.12", "`SET` with the `NX` argument")),
    },
    run: Run::Shard(setnx),
    subcommands: &[],
};

pub(super) const SETEX: Command = Command {
    name: "SETEX",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::STRING,
    keys: &[KeySpec::one(1, Access::OW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::String,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Stores a string that expires after so many seconds.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("seconds"),
            Argument::string("value"),
        ],
        history: &[],
        tips: &[],
        deprecated: Some(("2.6.12", "`SET` with the `EX` argument")),
    },
    run: Run::Shard(setex),
    subcommands: &[],
};

pub(super) const PSETEX: Command = Command {
    name: "PSETEX",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::STRING,
    keys: &[KeySpec::one(1, Access::OW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::String,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Stores a string that expires after so many milliseconds.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("milliseconds"),
            Argument::string("value"),
        ],
        history: &[],
        tips: &[],
        deprecated: Some(("2.6.12", "`SET` with the `PX` argument")),
    },
    run: Run::Shard(psetex),
    subcommands: &[],
};

/// What an option says of the expiry.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Expiry<'a> {
    /// Nothing: SET drops it, GETEX leaves it.
    #[default]
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Persist,
    /// EX, PX, EXAT or PXAT with its number, which is read later.
    At(&'static str, &'a [u8]),
}

/// What the options of SET, and in part of GETEX, ask for.
#[derive(Default)]
pub(super) struct Options<'a> {
    if_absent: bool,
    if_present: bool,
    get: bool,
    pub(super) expiry: Expiry<'a>,
}

/// Reads the options of SET, or of GETEX when `reading`, from argument `from` on.
pub(super) fn options<'a>(
    args: &Args<'a>,
    from: usize,
    reading: bool,
) -> Result<Options<'a>, ErrorReply> {
    let mut options = Options::default();
    let mut at = from;
    while at < args.len() {
        let timed = ["EX", "PX", "EXAT", "PXAT"]
            .into_iter()
            .find(|word| args.is(at, word));
        let unsaid = options.expiry == Expiry::Unsaid;
        if args.is(at, "NX") && !options.if_present && !reading {
            options.if_absent = true;
        } else if args.is(at, "XX") && !options.if_absent && !reading {
            options.if_present = true;
        } else if args.is(at, "GET") && !reading {
            options.get = true;
        } else if args.is(at, "KEEPTTL") && !reading && (unsaid || options.expiry == Expiry::Keep) {
            options.expiry = Expiry::Keep;
        } else if args.is(at, "PERSIST") && reading && (unsaid || options.expiry == Expiry::Persist)
        {
            options.expiry = Expiry::Persist;
        } else if let Some(unit) = timed
            && let Some(number) = args.opt(at + 1)
            // The same unit may be named twice, and the last number counts, as in Redis.
            && (unsaid || matches!(options.expiry, Expiry::At(known, _) if known == unit))
        {
            options.expiry = Expiry::At(unit, number);
            at += 1;
        } else {
            return Err(ErrorReply::SYNTAX);
        }
        at += 1;
    }
    Ok(options)
}

/// The Unix time in milliseconds that an option such as `EX 10` names.
pub(crate) fn expire_time(
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

fn set(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let key = args.key(1);
    if args.len() == 3 {
        shard.put(&args.caller, &key, string_value(args.get(2)), false);
        shard.changed(args.db(), &key, Class::String, "set");
        reply.ok();
        return Ok(());
    }
    set_with(shard, args, &key, reply)
}

fn set_with(
    shard: &mut Shard,
    args: &Args<'_>,
    key: &Key<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let options = options(args, 3, false)?;
    let expire_at = match options.expiry {
        Expiry::At(unit, number) => Some(expire_time(unit, number, shard.now, "set")?),
        _ => None,
    };
    let mut caller = args.caller;
    if options.get {
        let old = shard.read(&args.caller, key);
        let found = old.is_some();
        match old {
            Some(entry) => reply_string(&entry.payload(), reply)?,
            None => reply.null(),
        }
        // GET reads the key, then SET looks for it: two uses, also when it stays as it is.
        shard.write(&caller, key);
        caller = caller.again();
        if (options.if_absent && found) || (options.if_present && !found) {
            return Ok(());
        }
    } else if options.if_absent || options.if_present {
        let found = shard.write(&caller, key).is_some();
        caller = caller.again();
        if found == options.if_absent {
            reply.null();
            return Ok(());
        }
    }
    let value = args.get(2);
    match expire_at {
        Some(at) => {
            put_until(shard, &caller, key, value, at);
            // A request that names the moment itself is its own effect, as in Redis, down to its small letters.
            if options.get || !matches!(options.expiry, Expiry::At("PXAT", _)) {
                tell_until(shard, caller.db as usize, key, value, at);
            }
        }
        None => {
            let keep = options.expiry == Expiry::Keep;
            shard.put(&caller, key, string_value(value), keep);
            shard.changed(args.db(), key, Class::String, "set");
            if options.get {
                // The reply is no part of the effect, and an older reader of the stream may refuse GET with NX.
                let parts: [&[u8]; 4] = [b"SET", key.bytes, value, b"KEEPTTL"];
                let said = if keep { &parts[..] } else { &parts[..3] };
                shard.effects.record(args.db(), said);
            }
        }
    }
    if !options.get {
        reply.ok();
    }
    Ok(())
}

/// Stores a string that expires at `at`, in Unix milliseconds.
fn put_until(shard: &mut Shard, caller: &Caller, key: &Key<'_>, value: &[u8], at: i64) {
    let db = caller.db as usize;
    shard.put_until(caller, key, string_value(value), at);
    shard.changed(db, key, Class::String, "set");
    shard.notify(db, key, Class::Generic, "expire");
}

/// Records it with that moment: a relative time would mean another one to whoever replays it later.
fn tell_until(shard: &mut Shard, db: usize, key: &Key<'_>, value: &[u8], at: i64) {
    if shard.effects.wanted() {
        let at = format_i64(at);
        shard
            .effects
            .record(db, &[b"SET", key.bytes, value, b"PXAT", &at]);
    }
}

fn getset(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (db, key, value) = (args.db(), args.key(1), args.get(2));
    match shard.read(&args.caller, &key) {
        Some(entry) => reply_string(&entry.payload(), reply)?,
        None => reply.null(),
    }
    shard.put(&args.caller, &key, string_value(value), false);
    shard.changed(db, &key, Class::String, "set");
    shard.effects.record(db, &[b"SET", key.bytes, value]);
    Ok(())
}

fn setnx(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let key = args.key(1);
    let absent = shard.write(&args.caller, &key).is_none();
    if absent {
        shard.put(&args.caller, &key, string_value(args.get(2)), false);
        shard.changed(args.db(), &key, Class::String, "set");
    }
    reply.integer(absent.into());
    Ok(())
}

fn set_for(shard: &mut Shard, args: &Args<'_>, unit: &str, name: &str) -> Result<(), ErrorReply> {
    let at = expire_time(unit, args.get(2), shard.now, name)?;
    let (key, value) = (args.key(1), args.get(3));
    put_until(shard, &args.caller, &key, value, at);
    tell_until(shard, args.db(), &key, value, at);
    Ok(())
}

fn setex(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    set_for(shard, args, "EX", "setex")?;
    reply.ok();
    Ok(())
}

fn psetex(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    set_for(shard, args, "PX", "psetex")?;
    reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::Harness;
    use crate::command::string::tests::set_list;

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
    #[test]
    fn the_conditions_of_set() {
        let mut h = Harness::new(4);
        assert_eq!(h.line("SET k v XX"), "$-1\r\n");
        assert_eq!(h.line("SET k v NX"), "+OK\r\n");
        assert_eq!(h.line("SET k w NX"), "$-1\r\n");
        assert_eq!(h.line("SET k w XX"), "+OK\r\n");
        assert_eq!(h.line("SETNX k x"), ":0\r\n");
        assert_eq!(h.line("SETNX j x"), ":1\r\n");
        assert_eq!(h.line("GETSET k 7"), "$1\r\nw\r\n");
        assert_eq!(h.line("GETSET none 7"), "$-1\r\n");
        assert_eq!(h.line("GET k"), "$1\r\n7\r\n");
        set_list(&mut h, "l");
        assert!(h.line("SET l v GET").starts_with("-WRONGTYPE"));
        assert!(h.line("GETSET l v").starts_with("-WRONGTYPE"));
        assert!(h.line("GET l").starts_with("-WRONGTYPE"));
        assert_eq!(h.line("SETNX l v"), ":0\r\n");
        assert_eq!(h.line("SET l v"), "+OK\r\n");
        assert_eq!(h.line("GET l"), "$1\r\nv\r\n");
    }

    #[test]
    fn the_expiry_options_of_set_and_its_older_kin() {
        let mut h = Harness::new(1);
        h.line("SET k v EX 10 EX 20");
        assert_eq!(h.line("TTL k"), ":20\r\n");
        h.line("SET k w KEEPTTL");
        assert_eq!(h.line("TTL k"), ":20\r\n");
        h.line("SET k w");
        assert_eq!(h.line("TTL k"), ":-1\r\n");
        assert_eq!(h.line("SETEX k 5 v"), "+OK\r\n");
        assert_eq!(h.line("PSETEX j 1500 v"), "+OK\r\n");
        assert_eq!(h.line("PTTL j"), ":1500\r\n");
        h.effects();
        assert_eq!(h.line("SETEX j 5 v"), "+OK\r\n");
        assert_eq!(h.effects(), ["SET j v PXAT 1700000005000"]);
        // What names the moment itself stays as it was said; GET is no part of an effect.
        h.line("SET soon v pxat 1800000000000 nx");
        assert_eq!(h.effects(), ["SET soon v pxat 1800000000000 nx"]);
        h.line("SET soon w pxat 1800000000000 get");
        assert_eq!(h.effects(), ["SET soon w PXAT 1800000000000"]);
        for (line, error) in [
            ("SET k v XX NX", "syntax error"),
            ("SET k v PX 10 EX 10", "syntax error"),
            ("SET k v KEEPTTL EX 10", "syntax error"),
            ("SET k v EX", "syntax error"),
            ("SET k v PERSIST", "syntax error"),
            ("SET k v EX 0", "invalid expire time in 'set' command"),
            (
                "SET k v EX 9223372036854775807",
                "invalid expire time in 'set' command",
            ),
            (
                "SET k v PX 9223372036854775807",
                "invalid expire time in 'set' command",
            ),
            (
                "SET k v GET EX x",
                "value is not an integer or out of range",
            ),
            ("SETEX k 0 v", "invalid expire time in 'setex' command"),
            ("PSETEX k -1 v", "invalid expire time in 'psetex' command"),
            ("SETEX k a v", "value is not an integer or out of range"),
        ] {
            assert_eq!(h.line(line), format!("-ERR {error}\r\n"), "{line}");
        }
    }
}
