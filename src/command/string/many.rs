//! Several strings in one request: MGET, MSET and MSETNX.

use smallvec::SmallVec;

use crate::keyspace::{Hint, Keyspace};
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shards};

use super::{reply_string, string_value};
use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Merge, Run,
};

pub(super) const MGET: Command = Command {
    name: "MGET",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::STRING,
    keys: &[KeySpec::range(1, -1, 1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::String,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys to retrieve.",
        summary: "Reads several strings.",
        arguments: &[Argument::key("key").multiple()],
        history: &[],
        tips: &["request_policy:multi_shard"],
        deprecated: None,
    },
    run: Run::Keys {
        plan: mget,
        step: 1,
        merge: Merge::Interleave,
    },
    subcommands: &[],
};

pub(super) const MSET: Command = Command {
    name: "MSET",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::STRING,
    keys: &[KeySpec::range(1, -1, 2, Access::OW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Stores several strings in one step.",
        arguments: &[Argument::block(
            "key_value",
            &[Argument::key("key"), Argument::string("value")],
        )
        .multiple()],
        history: &[],
        tips: &[
            "request_policy:multi_shard",
            "response_policy:all_succeeded",
        ],
        deprecated: None,
    },
    run: Run::Keys {
        plan: mset,
        step: 2,
        merge: Merge::Ok,
    },
    subcommands: &[],
};

pub(super) const MSETNX: Command = Command {
    name: "MSETNX",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::STRING,
    keys: &[KeySpec::range(1, -1, 2, Access::OW.and(Access::INSERT))],
    docs: Docs {
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Stores several strings in one step if all keys are free.",
        arguments: &[Argument::block(
            "key_value",
            &[Argument::key("key"), Argument::string("value")],
        )
        .multiple()],
        history: &[],
        tips: &["request_policy:multi_shard", "response_policy:agg_min"],
        deprecated: None,
    },
    run: Run::Plan(msetnx),
    subcommands: &[],
};

/// Keys looked at ahead of the one in work, so that their cache misses overlap.
const AHEAD: usize = 16;

/// Calls `each` with the place of every key and the key, having fetched what it needs with some keys before.
fn for_each_key<'a>(
    shards: &mut Shards<'_>,
    args: &Args<'a>,
    step: usize,
    mut each: impl FnMut(&mut Shards<'_>, usize, &Key<'a>),
) {
    let mut at = 1;
    while at < args.len() {
        let end = args.len().min(at + AHEAD * step);
        let keys: SmallVec<[(Key<'a>, Hint); AHEAD]> = (at..end)
            .step_by(step)
            .map(|at| {
                let key = args.key(at);
                let keyspace = &shards.at(&key).keyspace;
                let hint = keyspace.hint(args.caller.db, key.slot, key.hash);
                (key, hint)
            })
            .collect();
        Keyspace::prefetch(
            keys.iter()
                .map(|(key, hint)| (&shards.at(key).keyspace, *hint)),
        );
        for (key, _) in &keys {
            each(shards, at, key);
            at += step;
        }
    }
}

fn mget(shards: &mut Shards<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    reply.array(args.len() - 1);
    for_each_key(shards, args, 1, |shards, _, key| {
        match shards.of(key).read(&args.caller, key) {
            Some(entry) if entry.is_string() => {
                let _ = reply_string(&entry.payload(), reply); // a string is no error
            }
            _ => reply.null(),
        }
    });
    Ok(())
}

fn mset(shards: &mut Shards<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    if args.len().is_multiple_of(2) {
        return Err(ErrorReply::wrong_arity("mset"));
    }
    put_all(shards, args);
    reply.ok();
    Ok(())
}

fn msetnx(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    if args.len().is_multiple_of(2) {
        return Err(ErrorReply::wrong_arity("msetnx"));
    }
    for at in (1..args.len()).step_by(2) {
        let key = args.key(at);
        if shards.of(&key).write(&args.caller, &key).is_some() {
            reply.integer(0);
            return Ok(());
        }
    }
    put_all(shards, args);
    reply.integer(1);
    Ok(())
}

fn put_all(shards: &mut Shards<'_>, args: &Args<'_>) {
    for_each_key(shards, args, 2, |shards, at, key| {
        let shard = shards.of(key);
        shard.put(&args.caller, key, string_value(args.get(at + 1)), false);
        shard.changed(args.db(), key, Class::String, "set");
    });
    // Of MSETNX too: whoever replays it must not ask again.
    shards.record_parts(args, b"MSET", 2);
}

#[cfg(test)]
mod tests {
    use crate::command::harness::Harness;
    use crate::command::string::tests::set_list;

    #[test]
    fn several_strings_at_once_on_one_shard_and_on_four() {
        for shards in [1, 4] {
            let mut h = Harness::new(shards);
            assert_eq!(h.line("MSET a 1 b two c 3 a 4"), "+OK\r\n");
            set_list(&mut h, "l");
            assert_eq!(
                h.line("MGET a b none l c"),
                "*5\r\n$1\r\n4\r\n$3\r\ntwo\r\n$-1\r\n$-1\r\n$1\r\n3\r\n"
            );
            assert_eq!(h.line("MSETNX d 1 b 2"), ":0\r\n");
            assert_eq!(h.line("EXISTS d"), ":0\r\n");
            assert_eq!(h.line("MSETNX d 1 e 2"), ":1\r\n");
            for name in ["mset", "msetnx"] {
                assert_eq!(
                    h.line(&format!("{name} a 1 b")),
                    format!("-ERR wrong number of arguments for '{name}' command\r\n")
                );
            }
        }
    }

    #[test]
    fn each_shard_records_its_own_keys() {
        let mut h = Harness::new(1);
        h.line("MSET a 1 b 2");
        assert_eq!(h.effects(), ["MSET a 1 b 2"]);
        let mut h = Harness::new(2);
        // The slots of a (15495) and c (7365) are odd, that of b (3300) is even.
        h.line("MSET a 1 b 2 c 3");
        assert_eq!(h.effects(), ["MSET b 2", "MSET a 1 c 3"]);
        h.line("MSETNX a 1 d 2");
        assert!(h.effects().is_empty());
    }

    #[test]
    fn more_keys_than_are_looked_ahead() {
        let mut h = Harness::new(3);
        let names: Vec<String> = (0..100).map(|n| format!("key:{n}")).collect();
        let mut request = vec!["MSET"];
        for name in &names {
            request.extend([name.as_str(), name.as_str()]);
        }
        assert_eq!(h.run(&request), "+OK\r\n");
        let mut request = vec!["MGET"];
        request.extend(names.iter().map(String::as_str));
        let expected: String = names
            .iter()
            .map(|name| format!("${}\r\n{name}\r\n", name.len()))
            .collect();
        assert_eq!(h.run(&request), format!("*100\r\n{expected}"));
    }
}
