//! Whether keys are there, and that they are not: EXISTS, TOUCH, DEL, UNLINK.
//!
//! DEL and UNLINK differ in name only: a big value is freed in steps either way, so neither makes anybody wait.

use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shards};

use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Merge, Run,
};

pub(super) const DEL: Command = Command {
    name: "DEL",
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE,
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::range(1, -1, 1, Access::RM.and(Access::DELETE))],
    docs: Docs {
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys that will be removed. When a key to remove holds a value other than a string, the individual complexity for this key is O(M) where M is the number of elements in the list, set, sorted set or hash. Removing a single key that holds a string value is O(1).",
        summary: "Removes keys.",
        arguments: &[Argument::key("key").multiple()],
        history: &[],
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        deprecated: None,
    },
    run: Run::Keys {
        plan: del,
        step: 1,
        merge: Merge::Sum,
    },
    subcommands: &[],
};

pub(super) const UNLINK: Command = Command {
    name: "UNLINK",
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::range(1, -1, 1, Access::RM.and(Access::DELETE))],
    docs: Docs {
        group: Group::Generic,
        since: "4.0.0",
        complexity: "O(1) for each key removed regardless of its size. Then the command does O(N) work in a different thread in order to reclaim memory, where N is the number of allocations the deleted objects where composed of.",
        summary: "Removes keys and frees big values later, in steps.",
        arguments: &[Argument::key("key").multiple()],
        history: &[],
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        deprecated: None,
    },
    run: Run::Keys {
        plan: unlink,
        step: 1,
        merge: Merge::Sum,
    },
    subcommands: &[],
};

pub(super) const EXISTS: Command = Command {
    name: "EXISTS",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::range(1, -1, 1, Access::RO)],
    docs: Docs {
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys to check.",
        summary: "Counts how many of the named keys exist.",
        arguments: &[Argument::key("key").multiple()],
        history: &[("3.0.3", "Takes several keys.")],
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        deprecated: None,
    },
    run: Run::Keys {
        plan: exists,
        step: 1,
        merge: Merge::Sum,
    },
    subcommands: &[],
};

pub(super) const TOUCH: Command = Command {
    name: "TOUCH",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::range(1, -1, 1, Access::RO)],
    docs: Docs {
        group: Group::Generic,
        since: "3.2.1",
        complexity: "O(N) where N is the number of keys that will be touched.",
        summary: "Marks keys as used just now and counts those that exist.",
        arguments: &[Argument::key("key").multiple()],
        history: &[],
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        deprecated: None,
    },
    run: Run::Keys {
        plan: touch,
        step: 1,
        merge: Merge::Sum,
    },
    subcommands: &[],
};

fn del(shards: &mut Shards<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    delete_all(shards, args, b"DEL", reply);
    Ok(())
}

fn unlink(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    delete_all(shards, args, b"UNLINK", reply);
    Ok(())
}

fn delete_all(shards: &mut Shards<'_>, args: &Args<'_>, name: &[u8], reply: &mut Reply<'_>) {
    let db = args.db();
    let mut deleted = 0;
    for at in 1..args.len() {
        let key = args.key(at);
        let shard = shards.of(&key);
        if shard.delete(db, &key) {
            shard.changed(db, &key, Class::Generic, "del");
            deleted += 1;
        }
    }
    shards.record_parts(args, name, 1);
    reply.count(deleted);
}

fn exists(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let found = (1..args.len()).filter(|&at| {
        let key = args.key(at);
        shards.of(&key).peek_counted(args.db(), &key).is_some()
    });
    reply.count(found.count());
    Ok(())
}

fn touch(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    // Even for a client with CLIENT NO-TOUCH: touching is what this command is for.
    let caller = crate::resp::request::Caller {
        no_touch: false,
        ..args.caller
    };
    let found = (1..args.len()).filter(|&at| {
        let key = args.key(at);
        shards.of(&key).read(&caller, &key).is_some()
    });
    reply.count(found.count());
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::Harness;

    #[test]
    fn keys_are_counted_as_often_as_named_and_deleted_once() {
        for shards in [1, 4] {
            let mut h = Harness::new(shards);
            h.line("MSET a 1 b 2 c 3");
            assert_eq!(h.line("EXISTS a a none b"), ":3\r\n");
            assert_eq!(h.line("TOUCH a a none"), ":2\r\n");
            assert_eq!(h.line("DEL a a none"), ":1\r\n");
            assert_eq!(h.line("UNLINK a b c"), ":2\r\n");
            assert_eq!(h.line("EXISTS a b c"), ":0\r\n");
        }
    }

    #[test]
    fn a_shard_that_deleted_nothing_records_nothing() {
        let mut h = Harness::new(2);
        h.line("MSET a 1 c 3");
        h.effects();
        h.line("UNLINK b a c");
        assert_eq!(h.effects(), ["UNLINK a c"]);
        h.line("DEL a b");
        assert!(h.effects().is_empty());
    }
}
