//! When keys expire: setting it, asking for it, taking it away.

use crate::base::number::{format_i64, parse_i64};
use crate::keyspace::KeyEntry;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, ExpiryChange, Shard};

use crate::command::spec::{
    Access, Acl, Argument, ArgumentKind, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};

pub(super) const EXPIRE: Command = Command {
    name: "EXPIRE",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::one(1, Access::RW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Lets a key expire after so many seconds.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("seconds"),
            Argument::one_of(
                "condition",
                &[
                    Argument::word("nx", "NX"),
                    Argument::word("xx", "XX"),
                    Argument::word("gt", "GT"),
                    Argument::word("lt", "LT"),
                ],
            )
            .optional()
            .since("7.0.0"),
        ],
        history: &[("7.0.0", "Learned the conditions `NX`, `XX`, `GT` and `LT`.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(expire),
    subcommands: &[],
};

pub(super) const PEXPIRE: Command = Command {
    name: "PEXPIRE",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::one(1, Access::RW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Lets a key expire after so many milliseconds.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("milliseconds"),
            Argument::one_of(
                "condition",
                &[
                    Argument::word("nx", "NX"),
                    Argument::word("xx", "XX"),
                    Argument::word("gt", "GT"),
                    Argument::word("lt", "LT"),
                ],
            )
            .optional()
            .since("7.0.0"),
        ],
        history: &[("7.0.0", "Learned the conditions `NX`, `XX`, `GT` and `LT`.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(pexpire),
    subcommands: &[],
};

pub(super) const EXPIREAT: Command = Command {
    name: "EXPIREAT",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::one(1, Access::RW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::Generic,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Lets a key expire at a Unix time in seconds.",
        arguments: &[
            Argument::key("key"),
            Argument::new("unix-time-seconds", ArgumentKind::UnixTime),
            Argument::one_of(
                "condition",
                &[
                    Argument::word("nx", "NX"),
                    Argument::word("xx", "XX"),
                    Argument::word("gt", "GT"),
                    Argument::word("lt", "LT"),
                ],
            )
            .optional()
            .since("7.0.0"),
        ],
        history: &[("7.0.0", "Learned the conditions `NX`, `XX`, `GT` and `LT`.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(expireat),
    subcommands: &[],
};

pub(super) const PEXPIREAT: Command = Command {
    name: "PEXPIREAT",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::one(1, Access::RW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Lets a key expire at a Unix time in milliseconds.",
        arguments: &[
            Argument::key("key"),
            Argument::new("unix-time-milliseconds", ArgumentKind::UnixTime),
            Argument::one_of(
                "condition",
                &[
                    Argument::word("nx", "NX"),
                    Argument::word("xx", "XX"),
                    Argument::word("gt", "GT"),
                    Argument::word("lt", "LT"),
                ],
            )
            .optional()
            .since("7.0.0"),
        ],
        history: &[("7.0.0", "Learned the conditions `NX`, `XX`, `GT` and `LT`.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(pexpireat),
    subcommands: &[],
};

pub(super) const EXPIRETIME: Command = Command {
    name: "EXPIRETIME",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Generic,
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Tells at which Unix time, in seconds, a key expires.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(expiretime),
    subcommands: &[],
};

pub(super) const PEXPIRETIME: Command = Command {
    name: "PEXPIRETIME",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Generic,
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Tells at which Unix time, in milliseconds, a key expires.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(pexpiretime),
    subcommands: &[],
};

pub(super) const TTL: Command = Command {
    name: "TTL",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Tells for how many more seconds a key lives.",
        arguments: &[Argument::key("key")],
        history: &[("2.8.0", "Answers -2 for a missing key.")],
        tips: &["nondeterministic_output"],
        deprecated: None,
    },
    run: Run::Shard(ttl),
    subcommands: &[],
};

pub(super) const PTTL: Command = Command {
    name: "PTTL",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Tells for how many more milliseconds a key lives.",
        arguments: &[Argument::key("key")],
        history: &[("2.8.0", "Answers -2 for a missing key.")],
        tips: &["nondeterministic_output"],
        deprecated: None,
    },
    run: Run::Shard(pttl),
    subcommands: &[],
};

pub(super) const PERSIST: Command = Command {
    name: "PERSIST",
    arity: Arity::Exactly(2),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::one(1, Access::RW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::Generic,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Takes the expiry from a key.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(persist),
    subcommands: &[],
};

/// What the reply says of a missing key, and of one that does not expire.
const NO_KEY: i64 = -2;
const NO_EXPIRY: i64 = -1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Now,
    Epoch,
}

fn expire(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    set_expiry(shard, args, Unit::Seconds, From::Now, "expire", reply)
}

fn pexpire(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    set_expiry(shard, args, Unit::Milliseconds, From::Now, "pexpire", reply)
}

fn expireat(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    set_expiry(shard, args, Unit::Seconds, From::Epoch, "expireat", reply)
}

fn pexpireat(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    set_expiry(
        shard,
        args,
        Unit::Milliseconds,
        From::Epoch,
        "pexpireat",
        reply,
    )
}

fn set_expiry(
    shard: &mut Shard,
    args: &Args<'_>,
    unit: Unit,
    from: From,
    name: &str,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let condition = condition(args)?;
    let (db, key, now) = (args.db(), args.key(1), shard.now);
    let at = expiry_time(args.get(2), unit, from, now, name)?;
    let is_past = shard.is_past(at);
    let change = shard.change_expiry(&args.caller, &key, |old| {
        if !condition.holds(old, at) {
            ExpiryChange::Leave
        } else if is_past {
            ExpiryChange::Delete
        } else {
            ExpiryChange::To(Some(at))
        }
    });
    match change {
        None | Some(ExpiryChange::Leave) => {
            reply.integer(0);
            return Ok(());
        }
        Some(ExpiryChange::Delete) => {
            shard.changed(db, &key, Class::Generic, "del");
            shard.record_end(db, &key);
        }
        Some(ExpiryChange::To(_)) => {
            shard.changed(db, &key, Class::Generic, "expire");
            if shard.effects.wanted() {
                let at = format_i64(at);
                shard.effects.record(db, &[b"PEXPIREAT", key.bytes, &at]);
            }
        }
    }
    reply.integer(1);
    Ok(())
}

/// NX, XX, GT and LT (EXPIRE, 7.0).
#[derive(Clone, Copy, Default)]
struct Condition {
    none_yet: bool,
    some_already: bool,
    later: bool,
    earlier: bool,
}

impl Condition {
    /// Whether a key that expires at `old` may expire at `new`. No expiry counts as the latest of all.
    fn holds(self, old: Option<i64>, new: i64) -> bool {
        !(self.none_yet && old.is_some()
            || self.some_already && old.is_none()
            || self.later && old.is_none_or(|old| new <= old)
            || self.earlier && old.is_some_and(|old| new >= old))
    }
}

fn condition(args: &Args<'_>) -> Result<Condition, ErrorReply> {
    let mut condition = Condition::default();
    for at in 3..args.len() {
        let flag = if args.is(at, "NX") {
            &mut condition.none_yet
        } else if args.is(at, "XX") {
            &mut condition.some_already
        } else if args.is(at, "GT") {
            &mut condition.later
        } else if args.is(at, "LT") {
            &mut condition.earlier
        } else {
            return Err(ErrorReply::unsupported_option(args.get(at)));
        };
        *flag = true;
    }
    let Condition {
        none_yet,
        some_already,
        later,
        earlier,
    } = condition;
    if none_yet && (some_already || later || earlier) {
        return Err(ErrorReply::EXPIRE_NX);
    }
    if later && earlier {
        return Err(ErrorReply::EXPIRE_GT_LT);
    }
    Ok(condition)
}

/// The time in Unix milliseconds; it may lie in the past and even be negative.
fn expiry_time(
    text: &[u8],
    unit: Unit,
    from: From,
    now: i64,
    name: &str,
) -> Result<i64, ErrorReply> {
    let number = parse_i64(text).ok_or(ErrorReply::NOT_INTEGER)?;
    let scale = if unit == Unit::Seconds { 1000 } else { 1 };
    let base = if from == From::Now { now } else { 0 };
    number
        .checked_mul(scale)
        .and_then(|milliseconds| milliseconds.checked_add(base))
        .ok_or_else(|| ErrorReply::invalid_expire(name))
}

fn ttl(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    reply_time(shard, args, reply, |at, now| rounded(at - now))
}

fn pttl(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    reply_time(shard, args, reply, |at, now| at - now)
}

fn expiretime(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    reply_time(shard, args, reply, |at, _| rounded(at))
}

fn pexpiretime(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    reply_time(shard, args, reply, |at, _| at)
}

/// Milliseconds in seconds, to the nearest.
fn rounded(milliseconds: i64) -> i64 {
    milliseconds.saturating_add(500) / 1000
}

fn reply_time(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    show: impl FnOnce(i64, i64) -> i64,
) -> Result<(), ErrorReply> {
    let now = shard.now;
    let entry = shard.peek_counted(args.db(), &args.key(1));
    reply.integer(match entry.map(KeyEntry::expire_at) {
        None => NO_KEY,
        Some(None) => NO_EXPIRY,
        Some(Some(at)) => show(at, now).max(0),
    });
    Ok(())
}

fn persist(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let key = args.key(1);
    let change = shard.change_expiry(&args.caller, &key, |old| match old {
        Some(_) => ExpiryChange::To(None),
        None => ExpiryChange::Leave,
    });
    let changed = matches!(change, Some(ExpiryChange::To(_)));
    if changed {
        shard.changed(args.db(), &key, Class::Generic, "persist");
    }
    reply.integer(changed.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::Harness;

    #[test]
    fn an_expiry_is_set_asked_for_and_taken_away() {
        let mut h = Harness::new(4);
        h.line("SET k v");
        assert_eq!(h.line("TTL k"), ":-1\r\n");
        assert_eq!(h.line("PEXPIRETIME k"), ":-1\r\n");
        assert_eq!(h.line("TTL none"), ":-2\r\n");
        assert_eq!(h.line("EXPIRETIME none"), ":-2\r\n");
        assert_eq!(h.line("EXPIRE none 10"), ":0\r\n");
        assert_eq!(h.line("EXPIRE k 10"), ":1\r\n");
        assert_eq!(h.line("PTTL k"), ":10000\r\n");
        assert_eq!(h.line("PEXPIRE k 1600"), ":1\r\n");
        assert_eq!(h.line("TTL k"), ":2\r\n");
        assert_eq!(h.line("EXPIREAT k 1700000100"), ":1\r\n");
        assert_eq!(h.line("EXPIRETIME k"), ":1700000100\r\n");
        assert_eq!(h.line("PEXPIREAT k 1700000100499"), ":1\r\n");
        assert_eq!(h.line("EXPIRETIME k"), ":1700000100\r\n");
        assert_eq!(h.line("PEXPIRETIME k"), ":1700000100499\r\n");
        h.set_now(1_700_000_100_498);
        assert_eq!(h.line("TTL k"), ":0\r\n");
        assert_eq!(h.line("PERSIST k"), ":1\r\n");
        assert_eq!(h.line("PERSIST k"), ":0\r\n");
        assert_eq!(h.line("PERSIST none"), ":0\r\n");
        h.line("PEXPIRE k 1");
        h.set_now(1_700_000_100_499);
        assert_eq!(h.line("GET k"), "$-1\r\n");
    }

    #[test]
    fn a_time_in_the_past_deletes_and_relative_times_are_recorded_as_absolute() {
        let mut h = Harness::new(1);
        h.line("MSET a 1 b 2 c 3");
        h.effects();
        assert_eq!(h.line("EXPIRE a -1"), ":1\r\n");
        assert_eq!(h.line("PEXPIREAT b 0"), ":1\r\n");
        assert_eq!(h.line("EXPIRE c 1"), ":1\r\n");
        assert_eq!(h.line("PERSIST c"), ":1\r\n");
        assert_eq!(h.line("EXISTS a b c"), ":1\r\n");
        assert_eq!(
            h.effects(),
            ["DEL a", "DEL b", "PEXPIREAT c 1700000001000", "PERSIST c"]
        );
    }

    #[test]
    fn conditions_compare_with_the_present_expiry() {
        let mut h = Harness::new(1);
        h.line("SET k v");
        for (line, expected) in [
            ("EXPIRE k 10 XX", 0),
            ("EXPIRE k 10 GT", 0),
            ("EXPIRE k 10 LT", 1),
            ("EXPIRE k 20 gt", 1),
            ("EXPIRE k 20 GT", 0),
            ("EXPIRE k 20 LT", 0),
            ("EXPIRE k 5 NX", 0),
            ("EXPIRE k 30 GT XX", 1),
        ] {
            assert_eq!(h.line(line), format!(":{expected}\r\n"), "{line}");
        }
    }

    #[test]
    fn words_come_before_the_number_and_the_number_before_the_key() {
        let mut h = Harness::new(1);
        let not_integer = "value is not an integer or out of range";
        let invalid = "invalid expire time in 'expire' command";
        for (line, error) in [
            ("EXPIRE none a foo", "Unsupported option foo"),
            (
                "EXPIRE none 1 NX XX",
                "NX and XX, GT or LT options at the same time are not compatible",
            ),
            (
                "EXPIRE none 1 GT LT",
                "GT and LT options at the same time are not compatible",
            ),
            ("EXPIRE none a", not_integer),
            ("EXPIRE none 9223372036854775807", invalid),
            ("EXPIRE none -9223372036854775808", invalid),
            (
                "PEXPIRE none 9223372036854775807",
                "invalid expire time in 'pexpire' command",
            ),
        ] {
            assert_eq!(h.line(line), format!("-ERR {error}\r\n"), "{line}");
        }
    }
}
