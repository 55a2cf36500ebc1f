//! Reading a whole string: GET, and the two that do something to its key at once, GETDEL and GETEX.

use crate::base::number::format_i64;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard};

use super::reply_string;
use super::set::{Expiry, Options, options};
use crate::command::spec::{
    Access, Acl, Argument, ArgumentKind, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};

pub(super) const GET: Command = Command {
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
};

pub(super) const GETDEL: Command = Command {
    name: "GETDEL",
    arity: Arity::Exactly(2),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::STRING,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::DELETE),
    )],
    docs: Docs {
        group: Group::String,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Reads a string, then removes its key.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(getdel),
    subcommands: &[],
};

pub(super) const GETEX: Command = Command {
    name: "GETEX",
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::STRING,
    keys: &[KeySpec {
        notes: "RW and UPDATE because it changes the TTL",
        ..KeySpec::one(1, Access::RW.and(Access::ACCESS).and(Access::UPDATE))
    }],
    docs: Docs {
        group: Group::String,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Reads a string and may set or drop its expiry.",
        arguments: &[
            Argument::key("key"),
            Argument::one_of(
                "expiration",
                &[
                    Argument::integer("seconds").token("EX"),
                    Argument::integer("milliseconds").token("PX"),
                    Argument::new("unix-time-seconds", ArgumentKind::UnixTime).token("EXAT"),
                    Argument::new("unix-time-milliseconds", ArgumentKind::UnixTime).token("PXAT"),
                    Argument::word("persist", "PERSIST"),
                ],
            )
            .optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(getex),
    subcommands: &[],
};

fn get(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    match shard.read(&args.caller, &args.key(1)) {
        Some(entry) => reply_string(&entry.payload(), reply),
        None => {
            reply.null();
            Ok(())
        }
    }
}

fn getdel(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (db, key) = (args.db(), args.key(1));
    let Some(entry) = shard.read(&args.caller, &key) else {
        reply.null();
        return Ok(());
    };
    reply_string(&entry.payload(), reply)?;
    shard.delete(db, &key);
    shard.changed(db, &key, Class::Generic, "del");
    // Replicas replay the outcome, not the question.
    shard.effects.record(db, &[b"DEL", key.bytes]);
    Ok(())
}

fn getex(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (db, key) = (args.db(), args.key(1));
    let Options { expiry, .. } = options(args, 2, true)?;
    let now = shard.now;
    let Some(entry) = shard.read(&args.caller, &key) else {
        reply.null();
        return Ok(());
    };
    if !entry.is_string() {
        return Err(ErrorReply::WRONG_TYPE);
    }
    let volatile = entry.expire_at().is_some();
    // The time is looked at after the key: a missing key hides a bad one, as in Redis.
    let expire_at = match expiry {
        Expiry::At(unit, number) => Some(super::expire_time(unit, number, now, "getex")?),
        _ => None,
    };
    reply_string(&entry.payload(), reply)?;
    match (expire_at, expiry) {
        (Some(at), _) if at <= now => {
            shard.delete(db, &key);
            shard.changed(db, &key, Class::Generic, "del");
            shard.record_end(db, &key);
        }
        (Some(at), _) => {
            shard.set_expire_at(db, &key, Some(at));
            shard.changed(db, &key, Class::Generic, "expire");
            let at = format_i64(at);
            shard
                .effects
                .record(db, &[b"PEXPIREAT", key.bytes, at.as_bytes()]);
        }
        (None, Expiry::Persist) if volatile => {
            shard.set_expire_at(db, &key, None);
            shard.changed(db, &key, Class::Generic, "persist");
            shard.effects.record(db, &[b"PERSIST", key.bytes]);
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::Harness;
    use crate::command::string::tests::set_list;

    #[test]
    fn getdel_replies_the_value_and_records_a_del() {
        let mut h = Harness::new(1);
        h.line("SET k 12");
        h.effects();
        assert_eq!(h.line("GETDEL k"), "$2\r\n12\r\n");
        assert_eq!(h.line("GETDEL k"), "$-1\r\n");
        assert_eq!(h.effects(), ["DEL k"]);
        set_list(&mut h, "l");
        assert!(h.line("GETDEL l").starts_with("-WRONGTYPE"));
        assert_eq!(h.line("EXISTS l"), ":1\r\n");
    }

    #[test]
    fn getex_sets_drops_and_leaves_the_expiry() {
        let mut h = Harness::new(4);
        h.line("SET k v");
        h.effects();
        assert_eq!(h.line("GETEX k"), "$1\r\nv\r\n");
        assert_eq!(h.line("TTL k"), ":-1\r\n");
        assert_eq!(h.line("GETEX k EX 10"), "$1\r\nv\r\n");
        assert_eq!(h.line("PTTL k"), ":10000\r\n");
        assert_eq!(h.line("GETEX k PERSIST"), "$1\r\nv\r\n");
        assert_eq!(h.line("GETEX k PERSIST"), "$1\r\nv\r\n");
        assert_eq!(h.line("TTL k"), ":-1\r\n");
        assert_eq!(h.line("GETEX k PXAT 5"), "$1\r\nv\r\n");
        assert_eq!(h.line("GETEX k"), "$-1\r\n");
        assert_eq!(
            h.effects(),
            ["PEXPIREAT k 1700000010000", "PERSIST k", "DEL k"]
        );
    }

    #[test]
    fn getex_checks_its_words_first_then_the_key_then_the_time() {
        let mut h = Harness::new(1);
        set_list(&mut h, "l");
        assert_eq!(h.line("GETEX nokey foo"), "-ERR syntax error\r\n");
        assert_eq!(h.line("GETEX nokey KEEPTTL"), "-ERR syntax error\r\n");
        assert_eq!(h.line("GETEX nokey EX 0"), "$-1\r\n");
        assert!(h.line("GETEX l EX 0").starts_with("-WRONGTYPE"));
        h.line("SET k v");
        assert_eq!(
            h.line("GETEX k EX 0"),
            "-ERR invalid expire time in 'getex' command\r\n"
        );
        assert_eq!(h.line("GETEX k PERSIST EX 1"), "-ERR syntax error\r\n");
    }
}
