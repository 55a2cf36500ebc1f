//! Taking a value to another key or another database: RENAME, RENAMENX, COPY, MOVE.

use crate::base::number::parse_i64;
use crate::keyspace::{KeyEntry, Value};
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard, Shards};
use crate::structures::entry::{Entry, NewValue, Payload};

use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};

pub(super) const COPY: Command = Command {
    name: "COPY",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::KEYSPACE,
    keys: &[
        KeySpec::one(1, Access::RO.and(Access::ACCESS)),
        KeySpec::one(2, Access::OW.and(Access::UPDATE)),
    ],
    docs: Docs {
        group: Group::Generic,
        since: "6.2.0",
        complexity: "O(N) worst case for collections, where N is the number of nested items. O(1) for string values.",
        summary: "Stores a second, independent instance of a value under another key.",
        arguments: &[
            Argument::key("source"),
            Argument::key_of("destination", 1),
            Argument::integer("destination-db").token("DB").optional(),
            Argument::word("replace", "REPLACE").optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(copy),
    subcommands: &[],
};

pub(super) const MOVE: Command = Command {
    name: "MOVE",
    arity: Arity::Exactly(3),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::UPDATE),
    )],
    docs: Docs {
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Takes a key to another database.",
        arguments: &[Argument::key("key"), Argument::integer("db")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(move_key),
    subcommands: &[],
};

pub(super) const RENAME: Command = Command {
    name: "RENAME",
    arity: Arity::Exactly(3),
    flags: Flags::WRITE,
    acl: Acl::KEYSPACE,
    keys: &[
        KeySpec::one(1, Access::RW.and(Access::ACCESS).and(Access::DELETE)),
        KeySpec::one(2, Access::OW.and(Access::UPDATE)),
    ],
    docs: Docs {
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Gives a key another name, replacing what had it.",
        arguments: &[Argument::key("key"), Argument::key_of("newkey", 1)],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(rename),
    subcommands: &[],
};

pub(super) const RENAMENX: Command = Command {
    name: "RENAMENX",
    arity: Arity::Exactly(3),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[
        KeySpec::one(1, Access::RW.and(Access::ACCESS).and(Access::DELETE)),
        KeySpec::one(2, Access::OW.and(Access::INSERT)),
    ],
    docs: Docs {
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Gives a key another name if that is free.",
        arguments: &[Argument::key("key"), Argument::key_of("newkey", 1)],
        history: &[("3.2.0", "Equal names are no error any more.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(renamenx),
    subcommands: &[],
};

/// A database number. One that is no 32-bit integer is another mistake than one that names no database.
fn database(shard: &Shard, text: &[u8]) -> Result<usize, ErrorReply> {
    let number = parse_i64(text).ok_or(ErrorReply::NOT_INTEGER)?;
    if i32::try_from(number).is_err() {
        return Err(ErrorReply::out_of_range(i32::MIN.into(), i32::MAX.into()));
    }
    usize::try_from(number)
        .ok()
        .filter(|db| *db < shard.keyspace.databases())
        .ok_or(ErrorReply::DB_OUT_OF_RANGE)
}

/// Puts `entry` where `key` is free, or was until it was deleted just now.
fn settle(shard: &mut Shard, db: usize, key: &Key<'_>, entry: KeyEntry) {
    shard.put_entry(db, key, entry);
    shard.notify(db, key, Class::New, "new");
}

fn rename(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    rename_key(shards, args, false)?;
    reply.ok();
    Ok(())
}

fn renamenx(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let renamed = rename_key(shards, args, true)?;
    reply.integer(renamed.into());
    Ok(())
}

/// Whether the key was renamed; a key that keeps its name was not.
fn rename_key(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    only_if_free: bool,
) -> Result<bool, ErrorReply> {
    let (db, from, to) = (args.db(), args.key(1), args.key(2));
    // No byte of a string changes, so a snapshot under way has nothing to keep.
    let found = shards.of(&from).write_bytes(&args.caller, &from, 0..0);
    if found.is_none() {
        return Err(ErrorReply::NO_SUCH_KEY);
    }
    if from.bytes == to.bytes {
        return Ok(false);
    }
    let there = shards.of(&to).write_bytes(&args.caller, &to, 0..0);
    let taken = there.is_some();
    if taken && only_if_free {
        return Ok(false);
    }
    let together = shards.together(&from, &to);
    let entry = shards
        .of(&from)
        .take_out(db, &from, together)
        .ok_or(ErrorReply::NO_SUCH_KEY)?;
    let target = shards.of(&to);
    if taken {
        target.delete(db, &to);
    }
    settle(target, db, &to, entry.renamed(to.bytes));
    let source = shards.of(&from);
    source.changed(db, &from, Class::Generic, "rename_from");
    if !together {
        source.effects.record(db, &[b"DEL", from.bytes]);
    }
    let target = shards.of(&to);
    // The move is one change, counted where the key was.
    target.changed_by(db, &to, Class::Generic, "rename_to", u64::from(!together));
    if !together {
        target.record_arrival(db, &to);
    }
    Ok(true)
}

fn move_key(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    if shard.config.cluster_enabled {
        return Err(ErrorReply::CLUSTER_MOVE);
    }
    let (from, key) = (args.db(), args.key(1));
    let to = database(shard, args.get(2))?;
    if from == to {
        return Err(ErrorReply::SAME_OBJECT);
    }
    let there = crate::resp::request::Caller {
        db: to as u32,
        ..args.caller
    };
    let free = shard.write_bytes(&args.caller, &key, 0..0).is_some()
        && shard.write_bytes(&there, &key, 0..0).is_none();
    if free && let Some(entry) = shard.take_out(from, &key, true) {
        settle(shard, to, &key, entry);
        shard.changed(from, &key, Class::Generic, "move_from");
        shard.changed_by(to, &key, Class::Generic, "move_to", 0);
        reply.integer(1);
    } else {
        reply.integer(0);
    }
    Ok(())
}

fn copy(shards: &mut Shards<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (from_db, from, to) = (args.db(), args.key(1), args.key(2));
    let (mut to_db, mut replace) = (from_db, false);
    let mut at = 3;
    while at < args.len() {
        if args.is(at, "REPLACE") {
            replace = true;
        } else if args.is(at, "DB")
            && let Some(number) = args.opt(at + 1)
        {
            to_db = database(shards.any(), number)?;
            at += 1;
        } else {
            return Err(ErrorReply::SYNTAX);
        }
        at += 1;
    }
    if to_db != 0 && shards.any().config.cluster_enabled {
        return Err(ErrorReply::CLUSTER_COPY);
    }
    if from_db == to_db && from.bytes == to.bytes {
        return Err(ErrorReply::SAME_OBJECT);
    }
    let there = crate::resp::request::Caller {
        db: to_db as u32,
        ..args.caller
    };
    let source = shards.of(&from);
    let clock = source.fresh_clock();
    let found = source.read(&args.caller, &from);
    let copied = found.map(|entry| copied(entry, to.bytes, clock));
    let Some(entry) = copied else {
        reply.integer(0);
        return Ok(());
    };
    let together = shards.together(&from, &to);
    let target = shards.of(&to);
    if target.write(&there, &to).is_some() {
        if !replace {
            target.let_go(to_db, entry);
            reply.integer(0);
            return Ok(());
        }
        target.delete(to_db, &to);
    }
    settle(target, to_db, &to, entry);
    target.changed(to_db, &to, Class::Generic, "copy_to");
    if !together {
        target.record_arrival(to_db, &to);
    }
    reply.integer(1);
    Ok(())
}

/// The same value and expiry under another key.
fn copied(entry: &KeyEntry, key: &[u8], clock: u32) -> KeyEntry {
    let value: NewValue<'_, Value> = match entry.payload() {
        Payload::Int(number) => NewValue::Int(number),
        Payload::Bytes(bytes) => NewValue::Bytes(bytes),
        Payload::Boxed(value) => NewValue::Boxed(Box::new(value.copy())),
    };
    let mut copied = Entry::new(key, value, clock, entry.expire_at());
    copied.set_raw(entry.is_raw());
    copied
}

#[cfg(test)]
mod tests {
    use crate::command::harness::Harness;
    use crate::command::string::tests::set_list;
    use crate::keyspace::Value;
    use crate::resp::request::{Caller, Key};
    use crate::structures::entry::NewValue;
    use crate::structures::hash::{Hash, HashLimits};
    use crate::structures::set::{Set, SetLimits};

    #[test]
    fn a_renamed_key_keeps_value_expiry_and_encoding() {
        for shards in [1, 4] {
            let mut h = Harness::new(shards);
            h.line("SET a 1 EX 100");
            h.line("APPEND a x");
            h.line("SET d old");
            assert_eq!(h.line("RENAME a d"), "+OK\r\n");
            assert_eq!(h.line("GET d"), "$2\r\n1x\r\n");
            assert_eq!(h.line("TTL d"), ":100\r\n");
            assert_eq!(h.line("OBJECT ENCODING d"), "$3\r\nraw\r\n");
            assert_eq!(h.line("EXISTS a"), ":0\r\n");
            set_list(&mut h, "l");
            assert_eq!(h.line("RENAMENX l d"), ":0\r\n");
            assert_eq!(h.line("RENAMENX l m"), ":1\r\n");
            assert_eq!(h.line("TYPE m"), "+list\r\n");
            assert_eq!(h.line("RENAME d d"), "+OK\r\n");
            assert_eq!(h.line("RENAMENX d d"), ":0\r\n");
            for line in ["RENAME none x", "RENAME none none", "RENAMENX none x"] {
                assert_eq!(h.line(line), "-ERR no such key\r\n");
            }
            assert_eq!(h.line("DBSIZE"), ":2\r\n");
        }
    }

    #[test]
    fn a_rename_between_shards_is_recorded_on_both() {
        let mut h = Harness::new(1);
        h.line("SET a 1");
        h.effects();
        h.line("RENAME a b");
        assert_eq!(h.effects(), ["RENAME a b"]);
        let mut h = Harness::new(2);
        h.line("SET a 1 PX 5000");
        h.effects();
        h.line("RENAME a b");
        assert_eq!(h.effects(), ["SET b 1 PXAT 1700000005000", "DEL a"]);
        h.line("COPY b a");
        assert_eq!(h.effects(), ["SET a 1 PXAT 1700000005000"]);
    }

    #[test]
    fn a_moved_key_leaves_its_database() {
        let mut h = Harness::new(4);
        h.line("MSET a 1 b 2");
        h.line("EXPIRE a 100");
        assert_eq!(h.line("MOVE a 1"), ":1\r\n");
        assert_eq!(h.line("MOVE a 1"), ":0\r\n");
        assert_eq!(h.line("MOVE none 1"), ":0\r\n");
        h.line("SET a again");
        assert_eq!(h.line("MOVE a 1"), ":0\r\n");
        h.caller.db = 1;
        assert_eq!(h.line("GET a"), "$1\r\n1\r\n");
        assert_eq!(h.line("TTL a"), ":100\r\n");
        h.caller.db = 0;
        for (line, error) in [
            ("MOVE a 0", "source and destination objects are the same"),
            ("MOVE a 16", "DB index is out of range"),
            ("MOVE a -1", "DB index is out of range"),
            ("MOVE a x", "value is not an integer or out of range"),
            (
                "MOVE a 99999999999",
                "value is out of range, value must between -2147483648 and 2147483647",
            ),
        ] {
            assert_eq!(h.line(line), format!("-ERR {error}\r\n"), "{line}");
        }
    }

    #[test]
    fn a_copy_is_independent_of_its_source() {
        for shards in [1, 4] {
            let mut h = Harness::new(shards);
            h.line("SET a 1 EX 100");
            assert_eq!(h.line("COPY a b"), ":1\r\n");
            h.line("APPEND a x");
            assert_eq!(h.line("GET b"), "$1\r\n1\r\n");
            assert_eq!(h.line("TTL b"), ":100\r\n");
            assert_eq!(h.line("OBJECT ENCODING b"), "$3\r\nint\r\n");
            assert_eq!(h.line("COPY a b"), ":0\r\n");
            assert_eq!(h.line("COPY a b REPLACE"), ":1\r\n");
            assert_eq!(h.line("OBJECT ENCODING b"), "$3\r\nraw\r\n");
            assert_eq!(h.line("COPY a a DB 1"), ":1\r\n");
            assert_eq!(h.line("COPY none x"), ":0\r\n");
            for (line, error) in [
                ("COPY a a", "source and destination objects are the same"),
                (
                    "COPY none none",
                    "source and destination objects are the same",
                ),
                ("COPY none none foo", "syntax error"),
                ("COPY a z DB", "syntax error"),
                ("COPY a a DB 99", "DB index is out of range"),
                ("COPY a z DB x", "value is not an integer or out of range"),
            ] {
                assert_eq!(h.line(line), format!("-ERR {error}\r\n"), "{line}");
            }
        }
    }

    #[test]
    fn every_kind_of_value_is_copied_in_its_encoding() {
        let mut h = Harness::new(4);
        let (mut set, mut hash) = (Set::new(), Hash::new());
        for n in 0..1000 {
            let name = format!("m{n}");
            set.add(name.as_bytes(), SetLimits::default());
            hash.set(name.as_bytes(), b"v", HashLimits::default());
        }
        let mut small = Set::new();
        small.add(b"1", SetLimits::default());
        for (key, value, encoding, length) in [
            ("set", Value::Set(set), "hashtable", 1000),
            ("hash", Value::Hash(hash), "hashtable", 1000),
            ("small", Value::Set(small), "intset", 1),
        ] {
            let name = Key::new(key.as_bytes());
            let shard = &mut h.shards[usize::from(name.slot) % 4];
            let value = NewValue::Boxed(Box::new(value));
            shard.put(&Caller::default(), &name, value, false);
            assert_eq!(h.line(&format!("COPY {key} copy")), ":1\r\n");
            h.line(&format!("DEL {key}"));
            let copy = Key::new(b"copy");
            let shard = &h.shards[usize::from(copy.slot) % 4];
            let value = shard
                .keyspace
                .find(0, &copy)
                .and_then(|entry| entry.boxed())
                .unwrap();
            assert_eq!(
                (value.encoding_name(), value.elements()),
                (encoding, length)
            );
            h.line("DEL copy");
        }
    }
}
