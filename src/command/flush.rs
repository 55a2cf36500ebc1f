//! Whole databases: counting, emptying and exchanging them. COMMAND DOCS files these under `server`.

use crate::base::number::parse_i64;
use crate::persistence::status::Purpose;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Shard, Shards, saving};

use super::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Merge, Run};

pub(super) const COMMANDS: &[Command] = &[DBSIZE, FLUSHALL, FLUSHDB, SWAPDB];

pub(super) const DBSIZE: Command = Command {
    name: "DBSIZE",
    arity: Arity::Exactly(1),
    flags: Flags::READONLY
        .and(Flags::FAST)
        .and(Flags::TOUCHES_ARBITRARY_KEYS),
    acl: Acl::KEYSPACE,
    keys: &[],
    docs: Docs {
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Counts the keys of the selected database.",
        arguments: &[],
        history: &[],
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        deprecated: None,
    },
    run: Run::Every {
        part: dbsize,
        merge: Merge::Sum,
    },
    subcommands: &[],
};

pub(super) const FLUSHALL: Command = Command {
    name: "FLUSHALL",
    arity: Arity::AtLeast(1),
    flags: Flags::WRITE,
    acl: Acl::KEYSPACE.and(Acl::DANGEROUS),
    keys: &[],
    docs: Docs {
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(N) where N is the total number of keys in all databases",
        summary: "Removes all keys of all databases.",
        arguments: &[Argument::one_of(
            "async",
            &[
                Argument::word("async", "ASYNC").since("4.0.0"),
                Argument::word("sync", "SYNC").since("6.2.0"),
            ],
        )
        .optional()],
        history: &[("4.0.0", "Learned `ASYNC`."), ("6.2.0", "Learned `SYNC`.")],
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        deprecated: None,
    },
    run: Run::Whole(flushall),
    subcommands: &[],
};

pub(super) const FLUSHDB: Command = Command {
    name: "FLUSHDB",
    arity: Arity::AtLeast(1),
    flags: Flags::WRITE,
    acl: Acl::KEYSPACE.and(Acl::DANGEROUS),
    keys: &[],
    docs: Docs {
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys in the selected database",
        summary: "Removes all keys of the selected database.",
        arguments: &[Argument::one_of(
            "async",
            &[
                Argument::word("async", "ASYNC").since("4.0.0"),
                Argument::word("sync", "SYNC").since("6.2.0"),
            ],
        )
        .optional()],
        history: &[("4.0.0", "Learned `ASYNC`."), ("6.2.0", "Learned `SYNC`.")],
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        deprecated: None,
    },
    run: Run::Whole(flushdb),
    subcommands: &[],
};

pub(super) const SWAPDB: Command = Command {
    name: "SWAPDB",
    arity: Arity::Exactly(3),
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::KEYSPACE.and(Acl::DANGEROUS),
    keys: &[],
    docs: Docs {
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(N) where N is the count of clients watching or blocking on keys from both databases.",
        summary: "Exchanges two databases.",
        arguments: &[Argument::integer("index1"), Argument::integer("index2")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Whole(swapdb),
    subcommands: &[],
};

/// Elements of each database that FLUSHDB and FLUSHALL free before they reply, unless they are told ASYNC. Redis frees everything first,
/// and everybody waits; here that holds for small databases, where a test may look at the memory, and whatever is more
/// goes in steps as with ASYNC.
const FREE_BEFORE_REPLY: usize = 2000;

fn dbsize(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    reply.count(shard.keyspace.db(args.db()).keys());
    Ok(())
}

fn flushdb(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let db = args.db();
    flush(shards, args, db..db + 1, reply)
}

fn flushall(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let all = 0..shards.any().keyspace.databases();
    flush(shards, args, all, reply)?;
    // As in Redis: a snapshot that is being written is of no use any more, and the file becomes an empty one.
    let any = shards.any();
    let (status, has_save_points) = (any.snapshots.clone(), !any.config.save.is_empty());
    if status.saves.cancel(Purpose::Snapshot) {
        log::warn!("Background saving terminated by FLUSHALL");
    }
    if has_save_points && status.saves.wake().is_some() {
        saving::save_now(shards);
    }
    Ok(())
}

/// Empties databases on all shards in one step: nobody sees one shard flushed and another not.
fn flush(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    dbs: std::ops::Range<usize>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let later = match args.len() {
        1 => false,
        2 if args.is(1, "SYNC") => false,
        2 if args.is(1, "ASYNC") => true,
        _ => return Err(ErrorReply::SYNTAX),
    };
    let parts: Vec<&[u8]> = args.iter_from(0).collect();
    shards.any().news.flushed(true);
    for shard in shards.iter_mut() {
        shard.news.flushed(false);
        for db in dbs.clone() {
            shard.touch_watched_keys_of(db);
            let keys = shard.flush_db(db);
            shard.effects.count(keys as u64);
            shard.blocked.signal_db(db);
        }
        // Also when nothing was there: a replica may still have what this one has lost.
        shard.effects.record_everywhere(args.db(), &parts);
        if !later {
            let _ = dbs.clone().any(|_| shard.free_some(FREE_BEFORE_REPLY));
        }
    }
    reply.ok();
    Ok(())
}

fn swapdb(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    if shards.any().config.cluster_enabled {
        return Err(ErrorReply::CLUSTER_SWAPDB);
    }
    let databases = shards.any().keyspace.databases();
    let index = |at: usize, error: ErrorReply| {
        let number = parse_i64(args.get(at)).and_then(|number| i32::try_from(number).ok());
        number.map(usize::try_from).ok_or(error)
    };
    let first = index(1, ErrorReply::INVALID_FIRST_DB)?;
    let second = index(2, ErrorReply::INVALID_SECOND_DB)?;
    let (Ok(first), Ok(second)) = (first, second) else {
        return Err(ErrorReply::DB_OUT_OF_RANGE);
    };
    if first >= databases || second >= databases {
        return Err(ErrorReply::DB_OUT_OF_RANGE);
    }
    shards.any().effects.count(1);
    let parts: Vec<&[u8]> = args.iter_from(0).collect();
    for shard in shards.iter_mut() {
        if first != second {
            // A watched key has changed where it was there before or is there now.
            shard.touch_watched_keys_of(first);
            shard.touch_watched_keys_of(second);
            // What is there in name only does not come into the place of a watched key (SWAPDB, 7.2).
            shard.expire_watched_keys_of(first, second);
            shard.expire_watched_keys_of(second, first);
            shard.swap_dbs(first, second);
            shard.touch_watched_keys_of(first);
            shard.touch_watched_keys_of(second);
            shard.blocked.signal_db(first);
            shard.blocked.signal_db(second);
        }
        shard.effects.record_everywhere(args.db(), &parts);
    }
    reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::command::harness::Harness;
    use crate::keyspace::watch::WatchToken;
    use crate::resp::request::Key;

    fn watch(h: &mut Harness, db: usize, key: &str) -> Arc<WatchToken> {
        let token = Arc::new(WatchToken::default());
        let total = h.shards.len();
        let slot = usize::from(Key::new(key.as_bytes()).slot);
        h.shards[slot % total]
            .watched
            .add(db, key.as_bytes(), &token);
        token
    }

    #[test]
    fn flushing_empties_one_database_or_all() {
        for shards in [1, 4] {
            let mut h = Harness::new(shards);
            for mode in ["", " SYNC", " async"] {
                h.line("MSET a 1 b 2 c 3");
                h.caller.db = 1;
                h.line("MSET a 1 b 2");
                assert_eq!(h.line("DBSIZE"), ":2\r\n");
                assert_eq!(h.line(&format!("FLUSHDB{mode}")), "+OK\r\n");
                assert_eq!(h.line("DBSIZE"), ":0\r\n");
                h.line("SET a 1");
                h.caller.db = 0;
                assert_eq!(h.line("DBSIZE"), ":3\r\n");
                assert_eq!(h.line(&format!("FLUSHALL{mode}")), "+OK\r\n");
                assert_eq!(h.line("DBSIZE"), ":0\r\n");
                let waiting = h.shards.iter().any(|shard| shard.has_garbage());
                assert_eq!(waiting, mode == " async", "{mode}");
                h.shards
                    .iter_mut()
                    .for_each(|shard| while !shard.free_some(100) {});
            }
            assert_eq!(h.line("FLUSHALL foo"), "-ERR syntax error\r\n");
            assert_eq!(h.line("FLUSHDB SYNC ASYNC"), "-ERR syntax error\r\n");
        }
    }

    #[test]
    fn an_empty_database_is_flushed_on_record_all_the_same() {
        let mut h = Harness::new(2);
        h.line("FLUSHALL");
        assert_eq!(h.effects(), ["FLUSHALL", "FLUSHALL"]);
    }

    #[test]
    fn flushing_breaks_watches_on_keys_that_were_there() {
        let mut h = Harness::new(4);
        h.line("SET there v");
        let there = watch(&mut h, 0, "there");
        let missing = watch(&mut h, 0, "missing");
        let elsewhere = watch(&mut h, 1, "there");
        h.line("FLUSHDB");
        assert!(there.is_broken());
        assert!(!missing.is_broken() && !elsewhere.is_broken());
    }

    #[test]
    fn swapping_exchanges_keys_and_breaks_watches_in_both() {
        let mut h = Harness::new(4);
        h.line("MSET a zero b zero");
        h.caller.db = 3;
        h.line("SET c three");
        let watched = [
            (0, "a"),
            (0, "c"),
            (3, "a"),
            (3, "c"),
            (0, "d"),
            (3, "d"),
            (1, "a"),
        ]
        .map(|(db, key)| watch(&mut h, db, key));
        assert_eq!(h.line("SWAPDB 0 3"), "+OK\r\n");
        assert_eq!(h.line("DBSIZE"), ":2\r\n");
        assert_eq!(h.line("GET a"), "$4\r\nzero\r\n");
        h.caller.db = 0;
        assert_eq!(h.line("GET c"), "$5\r\nthree\r\n");
        let broken = watched.map(|token| token.is_broken());
        assert_eq!(broken, [true, true, true, true, false, false, false]);
    }

    #[test]
    fn swapping_in_a_key_whose_time_has_come_breaks_no_watch() {
        let mut h = Harness::new(1);
        h.line("SET x stale PX 1");
        let later = h.shards[0].now + 10;
        h.shards[0].set_now(later);
        let token = watch(&mut h, 1, "x");
        assert_eq!(h.line("SWAPDB 0 1"), "+OK\r\n");
        assert!(!token.is_broken());
        assert_eq!(h.line("DBSIZE"), ":0\r\n");
    }

    #[test]
    fn swapdb_looks_at_its_numbers_one_after_the_other() {
        let mut h = Harness::new(1);
        for (line, error) in [
            ("SWAPDB a 1", "invalid first DB index"),
            ("SWAPDB 99999999999 b", "invalid first DB index"),
            ("SWAPDB 0 b", "invalid second DB index"),
            ("SWAPDB 0 16", "DB index is out of range"),
            ("SWAPDB -1 0", "DB index is out of range"),
        ] {
            assert_eq!(h.line(line), format!("-ERR {error}\r\n"), "{line}");
        }
        assert_eq!(h.line("SWAPDB 0 0"), "+OK\r\n");
    }
}
