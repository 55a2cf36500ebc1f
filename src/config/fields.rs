//! [`Config`]: the configuration in force, with a typed field for each directive that code reads.
//!
//! A `Config` never changes. CONFIG SET builds another one (`set.rs`), and whoever holds an `Arc` of the old one goes
//! on reading consistent values until it takes the new one. The fields are a projection of the values behind CONFIG
//! GET, made once when the `Config` is built, so that hot code reads a number and not a name.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::choice::{
    AppendFsync, ChannelDefault, DisklessLoad, EndpointType, LogLevel, MaxmemoryPolicy,
    OomScoreAdj, PipelineOrder, PropagationErrors, ProtectedAction, SnapshotFiles, Supervised,
    SyslogFacility,
};
use super::directive::{self, Directive};
use super::special::{BufferLimits, SHUTDOWN_FORCE, SHUTDOWN_NOSAVE, SHUTDOWN_NOW, SHUTDOWN_SAVE};
use super::value::{Kind, Value};

/// A command that goes by another name (`rename-command`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenamedCommand {
    /// The name in the table of commands, in lower case.
    pub command: String,
    /// The name that clients must use; `None` when nobody can call it any more.
    pub new_name: Option<String>,
}

/// Memory for all clients together (`maxmemory-clients`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientMemory {
    /// This many bytes; 0 means no limit.
    Bytes(u64),
    /// This part of `maxmemory`, from 1 to 100.
    Percent(u8),
}

/// How a signal stops the server (`shutdown-on-sigterm`, `shutdown-on-sigint`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownWay {
    /// Whether a snapshot is written first; unless said, when there are save points.
    pub save: Option<bool>,
    /// Without waiting for replicas.
    pub now: bool,
    /// Also when the snapshot cannot be written.
    pub force: bool,
}

/// How a field is made from a value. The types agree because the table says which type a directive has; the test
/// `every_honoured_directive_has_a_field` builds them all, at both bounds.
trait FromValue: Sized {
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Option<$type> {
                match value {
                    Value::Number(number) => <$type>::try_from(*number).ok(),
                    Value::Memory(bytes) => <$type>::try_from(*bytes).ok(),
                    Value::Events(bits) => <$type>::try_from(*bits).ok(),
                    _ => None,
                }
            }
        }
    )*};
}
numbers!(u8, u16, u32, u64, usize, i32, i64);

macro_rules! enums {
    ($($type:ty),*) => {$(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Option<$type> {
                if let Value::Choice(code) = value { Some(<$type>::from_code(*code)) } else { None }
            }
        }
    )*};
}
enums!(
    AppendFsync,
    ChannelDefault,
    DisklessLoad,
    EndpointType,
    LogLevel,
    MaxmemoryPolicy,
    OomScoreAdj,
    PipelineOrder,
    PropagationErrors,
    ProtectedAction,
    SnapshotFiles,
    Supervised,
    SyslogFacility
);

macro_rules! variants {
    ($($type:ty: $pattern:pat => $result:expr),* $(,)?) => {$(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Option<$type> {
                if let $pattern = value { Some($result) } else { None }
            }
        }
    )*};
}
variants! {
    bool: Value::YesNo(yes) => *yes,
    Vec<u8>: Value::Text(text) => text.clone(),
    String: Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
    PathBuf: Value::Text(text) => PathBuf::from(OsString::from_vec(text.clone())),
    Option<PathBuf>: Value::Text(text) => (!text.is_empty()).then(|| OsString::from_vec(text.clone()).into()),
    Vec<String>: Value::Addresses(all) => all.iter().map(|one| String::from_utf8_lossy(one).into_owned()).collect(),
    Vec<(u64, u64)>: Value::SavePoints(points) => points.clone(),
    [BufferLimits; 3]: Value::BufferLimits(limits) => *limits,
    [i32; 3]: Value::OomValues(values) => *values,
    Option<(Vec<u8>, u16)>: Value::Primary(primary) => primary.clone(),
    Vec<f64>: Value::Percentiles(percentiles) => percentiles.clone(),
}

impl FromValue for ShutdownWay {
    fn from_value(value: &Value) -> Option<ShutdownWay> {
        let Value::Choice(flags) = value else {
            return None;
        };
        let save = match (flags & SHUTDOWN_SAVE != 0, flags & SHUTDOWN_NOSAVE != 0) {
            (false, false) => None,
            (save, _) => Some(save),
        };
        Some(ShutdownWay {
            save,
            now: flags & SHUTDOWN_NOW != 0,
            force: flags & SHUTDOWN_FORCE != 0,
        })
    }
}

impl FromValue for ClientMemory {
    fn from_value(value: &Value) -> Option<ClientMemory> {
        match value {
            Value::Memory(bytes) => Some(ClientMemory::Bytes(*bytes)),
            Value::Percent(percent) => Some(ClientMemory::Percent(*percent)),
            _ => None,
        }
    }
}

macro_rules! fields {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $name:literal;)*) => {
        /// The configuration in force. See the head of this file.
        #[derive(Clone, Debug)]
        pub struct Config {
            /// One value for each directive of [`directive::all`], in the same order.
            values: Vec<Value>,
            /// Commands that go by another name.
            pub renamed_commands: Vec<RenamedCommand>,
            $($(#[$doc])* pub $field: $type,)*
        }

        impl Config {
            /// The directives that have a field.
            pub const FIELDS: &'static [&'static str] = &[$($name),*];

            pub(super) fn from_values(values: Vec<Value>, renamed_commands: Vec<RenamedCommand>) -> Config {
                assert_eq!(values.len(), directive::all().len(), "one value for each directive");
                Config { $($field: project(&values, $name),)* renamed_commands, values }
            }
        }
    };
}

fn project<T: FromValue>(values: &[Value], name: &str) -> T {
    let place = directive::find(name.as_bytes()).expect("fields bear the names of directives");
    T::from_value(&values[place])
        .expect("the table gives each directive a type and bounds that fit its field")
}

fields! {
    /// Addresses to listen on; `*` and `::*` mean all of a family, a `-` in front that the address may be missing.
    bind: Vec<String> = "bind";
    /// TCP port; 0 means no TCP at all.
    port: u16 = "port";
    /// Whether clients from other machines are turned away while there is no password and no `bind`.
    protected_mode: bool = "protected-mode";
    /// Length of the queue of connections not yet accepted.
    tcp_backlog: i32 = "tcp-backlog";
    /// Seconds between keep-alive probes; 0 means none.
    tcp_keepalive_seconds: u32 = "tcp-keepalive";
    /// Seconds after which an idle client is closed; 0 means never.
    timeout_seconds: u32 = "timeout";
    /// Path of the unix socket, if any.
    unixsocket: Option<PathBuf> = "unixsocket";
    /// Mode of the unix socket; 0 leaves it to the umask.
    unixsocketperm: u32 = "unixsocketperm";

    /// Number of shards; 0 means one for each CPU.
    shards: u32 = "shards";
    /// Whether each shard is tied to a CPU of its own when there are enough.
    pin: bool = "pin";
    /// CPUs to use, as in `0-3,6`; empty means those of the affinity mask.
    server_cpulist: String = "server_cpulist";
    /// Whether a core may run a small batch on the shard of a sleeping core.
    borrow: bool = "borrow";
    /// How strictly one connection's pipelined commands are ordered across shards.
    pipeline_order: PipelineOrder = "pipeline-order";

    /// Connections at most.
    maxclients: u32 = "maxclients";
    /// Which keyspace events are published, as the bits that Redis gives the letters; 0 means none.
    notify_keyspace_events: u32 = "notify-keyspace-events";
    /// Keys that are remembered for tracking clients at most; 0 means no limit.
    tracking_table_max_keys: u64 = "tracking-table-max-keys";
    /// Bytes of unread replies: for normal clients, replicas and subscribers.
    client_output_buffer_limit: [BufferLimits; 3] = "client-output-buffer-limit";
    /// Bytes of one client's unfinished input at most.
    client_query_buffer_limit: u64 = "client-query-buffer-limit";
    /// Bytes of one argument at most.
    proto_max_bulk_len: u64 = "proto-max-bulk-len";
    /// Memory for all clients together.
    maxmemory_clients: ClientMemory = "maxmemory-clients";

    /// Number of databases.
    databases: u32 = "databases";
    /// Bytes of memory before eviction begins; 0 means no limit.
    maxmemory: u64 = "maxmemory";
    /// What is evicted.
    maxmemory_policy: MaxmemoryPolicy = "maxmemory-policy";
    /// Keys looked at to find one to evict.
    maxmemory_samples: u32 = "maxmemory-samples";
    /// Whether the stream says UNLINK of what is evicted, rather than DEL.
    lazyfree_lazy_eviction: bool = "lazyfree-lazy-eviction";
    /// The same for what has expired.
    lazyfree_lazy_expire: bool = "lazyfree-lazy-expire";
    /// The same for what a command has deleted that is no DEL itself.
    lazyfree_lazy_server_del: bool = "lazyfree-lazy-server-del";
    /// How much time eviction may take, 0 to 100.
    maxmemory_eviction_tenacity: u8 = "maxmemory-eviction-tenacity";
    /// How many hits saturate the LFU counter.
    lfu_log_factor: u32 = "lfu-log-factor";
    /// Minutes after which the LFU counter loses one; 0 means at each look.
    lfu_decay_minutes: u32 = "lfu-decay-time";
    /// How much time active expiry may take, 1 to 10.
    active_expire_effort: u8 = "active-expire-effort";

    /// Fields of a hash kept as a listpack, at most.
    hash_max_listpack_entries: usize = "hash-max-listpack-entries";
    /// Bytes of a field or value in such a hash, at most.
    hash_max_listpack_value: usize = "hash-max-listpack-value";
    /// Size of a list's nodes: entries when positive, -1 to -5 for 4 KB to 64 KB.
    list_max_listpack_size: i32 = "list-max-listpack-size";
    /// Nodes at each end of a list that stay uncompressed; 0 means all.
    list_compress_depth: i32 = "list-compress-depth";
    /// Members of a set of integers kept as an intset, at most.
    set_max_intset_entries: usize = "set-max-intset-entries";
    /// Members of a set kept as a listpack, at most.
    set_max_listpack_entries: usize = "set-max-listpack-entries";
    /// Bytes of a member in such a set, at most.
    set_max_listpack_value: usize = "set-max-listpack-value";
    /// Members of a sorted set kept as a listpack, at most.
    zset_max_listpack_entries: usize = "zset-max-listpack-entries";
    /// Bytes of a member in such a sorted set, at most.
    zset_max_listpack_value: usize = "zset-max-listpack-value";
    /// Whose order of texts SORT ALPHA follows; empty means the environment's.
    locale_collate: String = "locale-collate";
    /// Bytes a sparse HyperLogLog may have, header included.
    hll_sparse_max_bytes: u64 = "hll-sparse-max-bytes";

    /// Bytes of a stream's node, at most; 0 means no limit.
    stream_node_max_bytes: u64 = "stream-node-max-bytes";
    /// Entries in such a node, at most; 0 means no limit.
    stream_node_max_entries: u64 = "stream-node-max-entries";

    /// Whether the process detaches from its terminal.
    daemonize: bool = "daemonize";
    /// Path of the file with the process id, if any.
    pidfile: Option<PathBuf> = "pidfile";
    /// Who is told that the server is ready.
    supervised: Supervised = "supervised";
    /// The working directory, absolute.
    dir: PathBuf = "dir";
    /// Whether and how the OOM score is set.
    oom_score_adj: OomScoreAdj = "oom-score-adj";
    /// OOM scores of a primary, a replica and a child.
    oom_score_adj_values: [i32; 3] = "oom-score-adj-values";
    /// Whether `ps` shows a title of ours.
    set_proc_title: bool = "set-proc-title";
    /// What it says.
    proc_title_template: String = "proc-title-template";
    /// Whether transparent huge pages are turned off for the process.
    disable_thp: bool = "disable-thp";
    /// Who may change modules.
    enable_module_command: ProtectedAction = "enable-module-command";
    /// Whether the system's log gets our lines too.
    syslog_enabled: bool = "syslog-enabled";
    /// How they are called there.
    syslog_ident: String = "syslog-ident";
    /// What they are taken for there.
    syslog_facility: SyslogFacility = "syslog-facility";
    /// Who may use DEBUG.
    enable_debug_command: ProtectedAction = "enable-debug-command";
    /// Who may change protected directives with CONFIG SET.
    enable_protected_configs: ProtectedAction = "enable-protected-configs";

    /// How much is logged.
    loglevel: LogLevel = "loglevel";
    /// Path of the log; `None` means standard output.
    logfile: Option<PathBuf> = "logfile";
    /// Whether a crash writes a report.
    crash_log_enabled: bool = "crash-log-enabled";
    /// Microseconds from which a command enters the slow log; 0 takes all, negative none.
    slowlog_log_slower_than_us: i64 = "slowlog-log-slower-than";
    /// Entries of the slow log at most.
    slowlog_max_len: u64 = "slowlog-max-len";
    /// Milliseconds from which an event enters the latency history; 0 means never.
    latency_monitor_threshold_ms: u64 = "latency-monitor-threshold";
    /// Whether latencies are counted by command.
    latency_tracking: bool = "latency-tracking";
    /// The percentiles that INFO latencystats shows.
    latency_tracking_info_percentiles: Vec<f64> = "latency-tracking-info-percentiles";

    /// The default user's password; empty means none.
    requirepass: Vec<u8> = "requirepass";
    /// The file that users are loaded from and saved to.
    aclfile: Option<PathBuf> = "aclfile";
    /// Which channels a new user may use.
    acl_pubsub_default: ChannelDefault = "acl-pubsub-default";
    /// Entries of the log of denials at most.
    acllog_max_len: u64 = "acllog-max-len";

    /// Whether strings in snapshots are compressed.
    rdbcompression: bool = "rdbcompression";
    /// Whether snapshots bear a checksum, and whether it is verified.
    rdbchecksum: bool = "rdbchecksum";
    /// Whether a snapshot goes to the disk bit by bit as it is written.
    rdb_save_incremental_fsync: bool = "rdb-save-incremental-fsync";
    /// Microseconds that the writer of a snapshot waits for each key.
    rdb_key_save_delay_us: i64 = "rdb-key-save-delay";
    /// Whether writes are refused when the last snapshot has failed.
    stop_writes_on_bgsave_error: bool = "stop-writes-on-bgsave-error";
    /// Bytes of a snapshot that may be under way for each shard.
    snapshot_memory_limit: u64 = "snapshot-memory-limit";
    /// Bytes for each shard that may wait to be written to its log before commands that write are refused.
    aof_buffer_limit: u64 = "aof-buffer-limit";
    /// Whether shards write snapshots into one file.
    snapshot_files: SnapshotFiles = "snapshot-files";
    /// What SIGTERM stops the server with.
    shutdown_on_sigterm: ShutdownWay = "shutdown-on-sigterm";
    /// What SIGINT stops the server with.
    shutdown_on_sigint: ShutdownWay = "shutdown-on-sigint";
    /// Microseconds that loading waits after each key; of a negative number, one after so many keys. For tests.
    key_load_delay_us: i32 = "key-load-delay";
    /// Name of the snapshot's file, in the working directory.
    dbfilename: String = "dbfilename";
    /// Whether every change is written to the append-only files.
    appendonly: bool = "appendonly";
    /// What the names of the append-only files begin with.
    appendfilename: String = "appendfilename";
    /// Their directory, within the working directory.
    appenddirname: String = "appenddirname";
    /// When what is written to them is on disk.
    appendfsync: AppendFsync = "appendfsync";
    /// Whether no sync is asked for while they are rewritten or a snapshot is.
    no_appendfsync_on_rewrite: bool = "no-appendfsync-on-rewrite";
    /// Growth in percent after which they are rewritten; 0 means never.
    auto_aof_rewrite_percentage: u64 = "auto-aof-rewrite-percentage";
    /// Bytes below which they are not rewritten by themselves.
    auto_aof_rewrite_min_size: u64 = "auto-aof-rewrite-min-size";
    /// Whether a start goes on when a file ends within a command.
    aof_load_truncated: bool = "aof-load-truncated";
    /// Whether they bear the time.
    aof_timestamp_enabled: bool = "aof-timestamp-enabled";
    /// Seconds and changes after which a snapshot is written.
    save: Vec<(u64, u64)> = "save";
    /// Milliseconds after which a running script answers BUSY to others.
    busy_reply_threshold_ms: u64 = "busy-reply-threshold";
    /// The primary to replicate, as host and port; `None` for a primary.
    replicaof: Option<(Vec<u8>, u16)> = "replicaof";
    /// The password that the primary asks for; empty means none.
    masterauth: Vec<u8> = "masterauth";
    /// The user to be there; empty means the default user.
    masteruser: Vec<u8> = "masteruser";
    /// Replicas that must be well for writes to be accepted; 0 asks for none.
    min_replicas_to_write: u32 = "min-replicas-to-write";
    /// Seconds since its last acknowledgement up to which a replica is well; 0 asks for none.
    min_replicas_max_lag: u32 = "min-replicas-max-lag";
    /// Whether a replica without its primary answers from what it has.
    replica_serve_stale_data: bool = "replica-serve-stale-data";
    /// Whether a replica refuses writes of clients.
    replica_read_only: bool = "replica-read-only";
    /// What Sentinel prefers when it promotes; 0 means never.
    replica_priority: u32 = "replica-priority";
    /// Whether Sentinel tells of this replica.
    replica_announced: bool = "replica-announced";
    /// The address a primary lists for this replica; empty means that of the connection.
    replica_announce_ip: Vec<u8> = "replica-announce-ip";
    /// The port it lists; 0 means ours.
    replica_announce_port: u16 = "replica-announce-port";
    /// Whether a replica leaves eviction to its primary.
    replica_ignore_maxmemory: bool = "replica-ignore-maxmemory";
    /// Whether a replica frees its old data in the background before a full sync.
    replica_lazy_flush: bool = "replica-lazy-flush";
    /// Whether a replica goes on when what it receives cannot be kept on disk.
    replica_ignore_disk_write_errors: bool = "replica-ignore-disk-write-errors";
    /// What an error of a command ends that came from a primary or a log.
    propagation_error_behavior: PropagationErrors = "propagation-error-behavior";
    /// Bytes of the stream kept for replicas that come back.
    repl_backlog_size: u64 = "repl-backlog-size";
    /// Seconds without replicas after which the backlog is given up; 0 means never.
    repl_backlog_ttl_s: i64 = "repl-backlog-ttl";
    /// Seconds of silence after which a link is closed.
    repl_timeout_s: u32 = "repl-timeout";
    /// Seconds between the PINGs in the stream.
    repl_ping_replica_period_s: u32 = "repl-ping-replica-period";
    /// Whether the stream is sent in fewer and larger packets.
    repl_disable_tcp_nodelay: bool = "repl-disable-tcp-nodelay";
    /// Whether the stream between two Slotwise nodes is shared out to flows.
    repl_parallel_flows: bool = "repl-parallel-flows";
    /// Whether full copies go straight to the sockets.
    repl_diskless_sync: bool = "repl-diskless-sync";
    /// Seconds that such a copy waits for more replicas.
    repl_diskless_sync_delay_s: u32 = "repl-diskless-sync-delay";
    /// Replicas that make it begin earlier; 0 means that none do.
    repl_diskless_sync_max_replicas: u32 = "repl-diskless-sync-max-replicas";
    /// Whether a full copy is loaded straight from the socket.
    repl_diskless_load: DisklessLoad = "repl-diskless-load";
    /// Whether a snapshot that only a full copy was written for is removed.
    rdb_del_sync_files: bool = "rdb-del-sync-files";
    /// Seconds that a stop waits for replicas.
    shutdown_timeout_s: u32 = "shutdown-timeout";
    /// The address that outgoing connections come from; empty leaves it to the system.
    bind_source_addr: String = "bind-source-addr";
    /// Whether this server is a node of a cluster.
    cluster_enabled: bool = "cluster-enabled";
    /// The file in which it remembers the cluster, in the working directory.
    cluster_config_file: String = "cluster-config-file";
    /// The port of its bus; 0 means its client port and 10000.
    cluster_port: u16 = "cluster-port";
    /// Milliseconds after which a node that does not answer counts as unreachable.
    cluster_node_timeout_ms: i64 = "cluster-node-timeout";
    /// Whether it is counted what each slot costs.
    cluster_slot_stats_enabled: bool = "cluster-slot-stats-enabled";
    /// Milliseconds after which a node is asked again; 0 means half of the time-out.
    cluster_ping_interval_ms: i64 = "cluster-ping-interval";
    /// The address that other nodes and clients are told; empty leaves it to be learned.
    cluster_announce_ip: String = "cluster-announce-ip";
    /// The port that they are told; 0 means that of `port`.
    cluster_announce_port: u16 = "cluster-announce-port";
    /// The port of the bus that nodes are told; 0 means the one that is used.
    cluster_announce_bus_port: u16 = "cluster-announce-bus-port";
    /// The host name that clients are told; empty means none.
    cluster_announce_hostname: String = "cluster-announce-hostname";
    /// A name for logs; empty means none.
    cluster_announce_human_nodename: String = "cluster-announce-human-nodename";
    /// What clients are told about nodes.
    cluster_preferred_endpoint_type: EndpointType = "cluster-preferred-endpoint-type";
    /// How old a replica's data may be when it stands for election, in time-outs; 0 means any age.
    cluster_replica_validity_factor: i64 = "cluster-replica-validity-factor";
    /// Working replicas that a primary keeps when others move away.
    cluster_migration_barrier: i64 = "cluster-migration-barrier";
    /// Whether replicas move to primaries without any, and empty primaries become replicas.
    cluster_allow_replica_migration: bool = "cluster-allow-replica-migration";
    /// Whether a slot without owner stops the whole cluster.
    cluster_require_full_coverage: bool = "cluster-require-full-coverage";
    /// Whether a replica never takes over by itself.
    cluster_replica_no_failover: bool = "cluster-replica-no-failover";
    /// Whether reads are answered while the cluster is down.
    cluster_allow_reads_when_down: bool = "cluster-allow-reads-when-down";
    /// Whether sharded channels work while the cluster is down.
    cluster_allow_pubsubshard_when_down: bool = "cluster-allow-pubsubshard-when-down";
    /// Bytes that may wait to be sent on a link of the bus; 0 means without limit.
    cluster_link_sendbuf_limit: u64 = "cluster-link-sendbuf-limit";
    /// How often background work runs each second, as INFO shows it.
    hz: u32 = "hz";
}

impl Default for Config {
    /// Every directive at its default, with `/` as the working directory.
    fn default() -> Config {
        Config::from_values(default_values(b"/"), Vec::new())
    }
}

impl Config {
    /// The value of the directive at `place` of [`directive::all`].
    pub(super) fn value(&self, place: usize) -> &Value {
        &self.values[place]
    }

    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }

    /// The value of a directive as CONFIG GET shows it; `None` when there is no such directive.
    pub fn show(&self, name: &str) -> Option<Vec<u8>> {
        let place = directive::find(name.as_bytes())?;
        Some(self.values[place].show(&directive::all()[place].kind))
    }

    /// The same configuration with another working directory: what the system says after the change of directory.
    pub fn with_directory(&self, absolute: &[u8]) -> Config {
        let place = directive::find(b"dir").expect("the table has it");
        let mut values = self.values.clone();
        values[place] = Value::Text(absolute.to_vec());
        Config::from_values(values, self.renamed_commands.clone())
    }

    /// The same with another primary, or none: REPLICAOF.
    pub fn with_primary(&self, primary: Option<(Vec<u8>, u16)>) -> Config {
        let place = directive::find(b"replicaof").expect("the table has it");
        let mut values = self.values.clone();
        values[place] = Value::Primary(primary);
        Config::from_values(values, self.renamed_commands.clone())
    }
}

/// The default of every directive; `working_directory` is that of `dir`.
pub(super) fn default_values(working_directory: &[u8]) -> Vec<Value> {
    directive::all()
        .iter()
        .map(|one| default_value(one, working_directory))
        .collect()
}

/// The default of one directive.
pub(super) fn default_value(one: &Directive, working_directory: &[u8]) -> Value {
    let words: Vec<Vec<u8>> = match one.kind.takes_many_words() {
        true => one
            .default
            .split_whitespace()
            .map(|word| word.as_bytes().to_vec())
            .collect(),
        false => vec![one.default.as_bytes().to_vec()],
    };
    let start = match one.kind {
        Kind::Directory => Value::Text(working_directory.to_vec()),
        _ => Value::YesNo(false),
    };
    Value::parse(&one.kind, &words, &start).expect("defaults are within their bounds")
}
