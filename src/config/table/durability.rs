//! Snapshots, the append-only files and replication. Replication this build does not have, so what would promise it is
//! refused and what only tunes it is kept for later.

use super::{COUNT, INT_MAX, PORT, base_name, refused};
use crate::config::choice::{AppendFsync, SnapshotFiles};
use crate::config::directive::Change::{AtRunTime, AtStart, Protected};
use crate::config::directive::Directive;
use crate::config::directive::Role::{self, Accepted, Honoured};
use crate::config::value::Kind;

const LONG_MAX: u64 = i64::MAX as u64;
const DISKLESS_LOAD: &[(&str, u8)] = &[("disabled", 0), ("on-empty-db", 1), ("swapdb", 2)];

const NO_CHOICE: Role =
    Accepted("the base of a log is always a snapshot, and it always goes to the disk bit by bit");
const NO_REPLICATION: Role =
    Accepted("it only matters with replication, which this build does not have");

const SNAPSHOT_NAME: Kind = Kind::Text {
    unset_when_empty: false,
    check: |name| base_name(name, "dbfilename can't be a path, just a filename"),
};
const LOG_NAME: Kind = Kind::Text {
    unset_when_empty: false,
    check: |name| match name {
        [] => Err("appendfilename can't be empty"),
        name => base_name(name, "appendfilename can't be a path, just a filename"),
    },
};
const LOG_DIRECTORY: Kind = Kind::Text {
    unset_when_empty: false,
    check: |name| match name {
        [] => Err("appenddirname can't be empty"),
        name => base_name(name, "appenddirname can't be a path, just a dirname"),
    },
};

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("dir", None, Kind::Directory, ".", Protected, Honoured).not_while_loading(),
    // Snapshots.
    Directive::new(
        "save",
        None,
        Kind::SavePoints,
        "3600 1 300 100 60 10000",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "snapshot-files",
        None,
        Kind::Choice(SnapshotFiles::NAMES),
        "one",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "snapshot-memory-limit",
        None,
        Kind::Memory(1 << 20, 1 << 40),
        "4mb",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "dbfilename",
        None,
        SNAPSHOT_NAME,
        "dump.rdb",
        Protected,
        Honoured,
    ),
    Directive::new(
        "stop-writes-on-bgsave-error",
        None,
        Kind::YesNo,
        "yes",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "rdbcompression",
        None,
        Kind::YesNo,
        "yes",
        AtRunTime,
        Honoured,
    ),
    Directive::new("rdbchecksum", None, Kind::YesNo, "yes", AtStart, Honoured),
    Directive::new(
        "rdb-del-sync-files",
        None,
        Kind::YesNo,
        "no",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "rdb-save-incremental-fsync",
        None,
        Kind::YesNo,
        "yes",
        AtRunTime,
        Honoured,
    ),
    // Append-only file.
    Directive::new("appendonly", None, Kind::YesNo, "no", AtRunTime, Honoured).not_while_loading(),
    Directive::new(
        "appendfilename",
        None,
        LOG_NAME,
        "appendonly.aof",
        AtStart,
        Honoured,
    ),
    Directive::new(
        "appenddirname",
        None,
        LOG_DIRECTORY,
        "appendonlydir",
        AtStart,
        Honoured,
    ),
    Directive::new(
        "appendfsync",
        None,
        Kind::Choice(AppendFsync::NAMES),
        "everysec",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "no-appendfsync-on-rewrite",
        None,
        Kind::YesNo,
        "no",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "auto-aof-rewrite-percentage",
        None,
        COUNT,
        "100",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "auto-aof-rewrite-min-size",
        None,
        Kind::Memory(0, LONG_MAX),
        "64mb",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "aof-load-truncated",
        None,
        Kind::YesNo,
        "yes",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "aof-use-rdb-preamble",
        None,
        Kind::YesNo,
        "yes",
        AtRunTime,
        NO_CHOICE,
    ),
    Directive::new(
        "aof-timestamp-enabled",
        None,
        Kind::YesNo,
        "no",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "aof-rewrite-incremental-fsync",
        None,
        Kind::YesNo,
        "yes",
        AtRunTime,
        NO_CHOICE,
    ),
    Directive::new(
        "aof-disable-auto-gc",
        None,
        Kind::YesNo,
        "no",
        AtRunTime,
        Accepted("files that a rewrite replaces are removed"),
    )
    .hidden(),
    // Replication.
    Directive::new(
        "replicaof",
        Some("slaveof"),
        Kind::Primary,
        "no one",
        AtStart,
        refused("replication", "no one"),
    ),
    Directive::new(
        "masterauth",
        None,
        Kind::OPTIONAL_TEXT,
        "",
        AtRunTime,
        NO_REPLICATION,
    )
    .sensitive(),
    Directive::new(
        "masteruser",
        None,
        Kind::OPTIONAL_TEXT,
        "",
        AtRunTime,
        NO_REPLICATION,
    )
    .sensitive(),
    Directive::new(
        "min-replicas-to-write",
        Some("min-slaves-to-write"),
        COUNT,
        "0",
        AtRunTime,
        refused("replication", "0"),
    ),
    Directive::new(
        "min-replicas-max-lag",
        Some("min-slaves-max-lag"),
        COUNT,
        "10",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "replica-serve-stale-data",
        Some("slave-serve-stale-data"),
        Kind::YesNo,
        "yes",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "replica-read-only",
        Some("slave-read-only"),
        Kind::YesNo,
        "yes",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "replica-priority",
        Some("slave-priority"),
        COUNT,
        "100",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "replica-announced",
        None,
        Kind::YesNo,
        "yes",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "replica-announce-ip",
        Some("slave-announce-ip"),
        Kind::OPTIONAL_TEXT,
        "",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "replica-announce-port",
        Some("slave-announce-port"),
        PORT,
        "0",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "replica-ignore-maxmemory",
        Some("slave-ignore-maxmemory"),
        Kind::YesNo,
        "yes",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "replica-lazy-flush",
        Some("slave-lazy-flush"),
        Kind::YesNo,
        "no",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "replica-ignore-disk-write-errors",
        None,
        Kind::YesNo,
        "no",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "repl-backlog-size",
        None,
        Kind::Memory(1, LONG_MAX),
        "1mb",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "repl-backlog-ttl",
        None,
        Kind::Number(0, i64::MAX),
        "3600",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "repl-timeout",
        None,
        Kind::Number(1, INT_MAX),
        "60",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "repl-ping-replica-period",
        Some("repl-ping-slave-period"),
        Kind::Number(1, INT_MAX),
        "10",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "repl-disable-tcp-nodelay",
        None,
        Kind::YesNo,
        "no",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "repl-diskless-sync",
        None,
        Kind::YesNo,
        "yes",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "repl-diskless-sync-delay",
        None,
        COUNT,
        "5",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "repl-diskless-sync-max-replicas",
        None,
        COUNT,
        "0",
        AtRunTime,
        NO_REPLICATION,
    ),
    Directive::new(
        "repl-diskless-load",
        None,
        Kind::Choice(DISKLESS_LOAD),
        "disabled",
        AtRunTime,
        NO_REPLICATION,
    )
    .not_while_loading(),
];
