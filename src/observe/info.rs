//! The text of INFO, section by section: a pure function of counters and facts.
//!
//! Names and order of the fields are Redis 7.2's, because tools read them. Fields for parts that this build does not
//! have (replicas, subscribers, scripts, defragmentation) stand with the value they have in a Redis that does not use
//! them. `shards` is ours.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use crate::base::system::{self, CpuTime, Whose};
use crate::config::Config;
use crate::persistence::Status;
use crate::replication::report::Report;

use super::counters::{CoreCounters, Observatory};
use super::histogram::Histogram;
use super::memory::{AllocatorFacts, MemoryFacts, ratio};
use super::rates::Rate;

/// A section of INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are INFO's
pub enum Section {
    Server,
    Clients,
    Memory,
    Persistence,
    Stats,
    Replication,
    Cpu,
    Modules,
    Commandstats,
    Errorstats,
    Latencystats,
    Cluster,
    Keyspace,
    Shards,
}

use Section::*;

/// Sections in the order of INFO, with their words and whether `default` and `all` hold them.
const SECTIONS: &[(Section, &str, bool, bool)] = &[
    (Server, "server", true, true),
    (Clients, "clients", true, true),
    (Memory, "memory", true, true),
    (Persistence, "persistence", true, true),
    (Stats, "stats", true, true),
    (Replication, "replication", true, true),
    (Cpu, "cpu", true, true),
    (Modules, "modules", true, false),
    (Commandstats, "commandstats", false, true),
    (Errorstats, "errorstats", true, true),
    (Latencystats, "latencystats", false, true),
    (Cluster, "cluster", true, true),
    (Keyspace, "keyspace", true, true),
    (Shards, "shards", false, true),
];

/// The sections that words ask for, in the order of INFO; words that name none are passed over. No words mean the
/// default.
pub fn sections<'a>(words: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Section> {
    let words: Vec<Vec<u8>> = words.map(<[u8]>::to_ascii_lowercase).collect();
    let asked = |name: &str| words.iter().any(|word| word == name.as_bytes());
    let (default, all, everything) = (
        words.is_empty() || asked("default"),
        asked("all"),
        asked("everything"),
    );
    SECTIONS
        .iter()
        .filter(|(_, name, in_default, in_all)| {
            everything || asked(name) || (default && *in_default) || (all && *in_all)
        })
        .map(|(section, ..)| *section)
        .collect()
}

/// All of them.
pub fn every_section() -> Vec<Section> {
    SECTIONS.iter().map(|(section, ..)| *section).collect()
}

/// All that INFO is made of besides counters.
pub struct Facts<'a> {
    /// Counters of all cores.
    pub observatory: &'a Observatory,
    /// The configuration.
    pub config: &'a Config,
    /// Names of the commands by their place in the table.
    pub commands: &'a [&'a str],
    /// The version of Redis whose behaviour clients may expect.
    pub redis_version: &'a str,
    /// Unix microseconds.
    pub now_us: i64,
    /// Name of the operating system.
    pub system: String,
    /// Where memory goes.
    pub memory: MemoryFacts,
    /// CPU time of the process, its children, and its first thread.
    pub cpu: [CpuTime; 3],
    /// How replication stands.
    pub replication: Option<&'a Report>,
}

impl<'a> Facts<'a> {
    /// Asks the system.
    pub fn now(
        observatory: &'a Observatory,
        config: &'a Config,
        commands: &'a [&'a str],
        redis_version: &'a str,
        now_us: i64,
    ) -> Self {
        Facts {
            observatory,
            config,
            commands,
            redis_version,
            now_us,
            system: system::system_name(),
            memory: MemoryFacts::now(observatory),
            cpu: [
                system::cpu_time(Whose::Process),
                system::cpu_time(Whose::Children),
                system::main_thread_cpu_time(),
            ],
            replication: None,
        }
    }

    fn rate(&self) -> Rate {
        self.observatory.rates.now(self.now_us / 1000)
    }
}

/// Lines of `name:value`.
#[derive(Default)]
pub(super) struct Lines {
    text: String,
}

impl Lines {
    fn heading(&mut self, name: &str) {
        if !self.text.is_empty() {
            self.text.push_str("\r\n");
        }
        self.text.push_str("# ");
        self.text.push_str(name);
        self.text.push_str("\r\n");
    }

    pub(super) fn put(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{name}:{value}\r\n");
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn all(&mut self, fields: &[(&str, &str)]) {
        for (name, value) in fields {
            self.put(name, value);
        }
    }

    /// Bytes, and again for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.put(name, bytes);
        self.put(&format!("{name}_human"), human(bytes));
    }
}

/// The sections as text.
pub fn render(sections: &[Section], facts: &Facts<'_>) -> String {
    let mut lines = Lines {
        text: String::new(),
    };
    for section in sections {
        let (heading, write): (_, fn(&mut Lines, &Facts<'_>)) = match section {
            Server => ("Server", server),
            Clients => ("Clients", clients),
            Memory => ("Memory", memory),
            Persistence => ("Persistence", persistence),
            Stats => ("Stats", stats),
            Replication => ("Replication", replication),
            Cpu => ("CPU", cpu),
            Modules => ("Modules", |_, _| ()),
            Commandstats => ("Commandstats", command_stats),
            Errorstats => ("Errorstats", error_stats),
            Latencystats => ("Latencystats", latency_stats),
            Cluster => ("Cluster", |lines, facts| {
                lines.put("cluster_enabled", u8::from(facts.config.cluster_enabled));
            }),
            Keyspace => ("Keyspace", keyspace),
            Shards => ("Shards", shards),
        };
        lines.heading(heading);
        write(&mut lines, facts);
    }
    lines.text
}

/// Bytes with a unit, as Redis writes them for people.
pub fn human(bytes: u64) -> String {
    const UNITS: [(u64, &str); 5] = [
        (1 << 50, "P"),
        (1 << 40, "T"),
        (1 << 30, "G"),
        (1 << 20, "M"),
        (1 << 10, "K"),
    ];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.2}{unit}", bytes as f64 / *size as f64),
        None => format!("{bytes}B"),
    }
}

fn server(lines: &mut Lines, facts: &Facts<'_>) {
    let (observatory, config) = (facts.observatory, facts.config);
    let uptime_s = (facts.now_us / 1000 - observatory.started_ms).max(0) / 1000;
    lines.put("redis_version", facts.redis_version);
    lines.all(&[
        ("server_name", "slotwise"),
        ("slotwise_version", env!("CARGO_PKG_VERSION")),
        ("redis_git_sha1", "00000000"),
        ("redis_git_dirty", "0"),
        (
            "redis_mode",
            match config.cluster_enabled {
                true => "cluster",
                false => "standalone",
            },
        ),
    ]);
    lines.put("os", &facts.system);
    lines.put("arch_bits", usize::BITS);
    lines.all(&[
        ("multiplexing_api", "io_uring"),
        ("atomicvar_api", "rust-builtin"),
    ]);
    lines.put("process_id", std::process::id());
    lines.put("process_supervised", config.supervised.name());
    lines.put("run_id", &observatory.run_id);
    lines.put("tcp_port", config.port);
    lines.put("server_time_usec", facts.now_us);
    lines.put("uptime_in_seconds", uptime_s);
    lines.put("uptime_in_days", uptime_s / 86_400);
    lines.put("hz", config.hz);
    lines.put("configured_hz", config.hz);
    lines.put("lru_clock", (facts.now_us / 1_000_000) & 0x00ff_ffff);
    lines.put("executable", &observatory.about.executable);
    lines.put("config_file", &observatory.about.config_file);
    lines.put("io_threads_active", 0);
    let links = &observatory.replication;
    match links.stop_waits_until_ms.load(Relaxed) {
        0 => {}
        until => lines.put(
            "shutdown_in_milliseconds",
            (until - facts.now_us / 1000).max(0),
        ),
    }
    let mut listeners = 0;
    if config.port != 0 {
        let binds: String = config
            .bind
            .iter()
            .map(|address| format!(",bind={address}"))
            .collect();
        lines.put("listener0", format!("name=tcp{binds},port={}", config.port));
        listeners = 1;
    }
    if let Some(path) = &config.unixsocket {
        lines.put(
            &format!("listener{listeners}"),
            format!("name=unix,bind={}", path.display()),
        );
    }
}

fn clients(lines: &mut Lines, facts: &Facts<'_>) {
    let observatory = facts.observatory;
    let largest =
        |of: fn(&super::CoreCounters) -> u64| observatory.cores().iter().map(of).max().unwrap_or(0);
    lines.put(
        "connected_clients",
        observatory.sum(|core| core.connected.get()),
    );
    let links = &observatory.replication.cluster_links;
    lines.put("cluster_connections", links.load(Relaxed));
    lines.put("maxclients", facts.config.maxclients);
    lines.put(
        "client_recent_max_input_buffer",
        largest(|core| core.input_max.get()),
    );
    lines.put(
        "client_recent_max_output_buffer",
        largest(|core| core.output_max.get()),
    );
    lines.put(
        "blocked_clients",
        observatory.sum(|core| core.blocked.get()),
    );
    lines.put(
        "tracking_clients",
        observatory.sum(|core| core.tracking_clients.get()),
    );
    lines.put(
        "pubsub_clients",
        observatory.sum(|core| core.pubsub_clients.get()),
    );
    lines.put(
        "clients_in_timeout_table",
        observatory.sum(|core| core.timed.get()),
    );
    lines.put(
        "total_blocking_keys",
        observatory.sum(|core| core.blocking_keys.get()),
    );
    lines.put(
        "total_blocking_keys_on_nokey",
        observatory.sum(|core| core.blocking_keys_gone.get()),
    );
}

/// What scripts and functions take: the interpreters of all cores, and the texts that all share.
fn scripting(lines: &mut Lines, facts: &Facts<'_>) {
    let scripts = &facts.observatory.scripts;
    let eval = facts.observatory.sum(|core| core.lua_eval_bytes.get());
    let functions = facts.observatory.sum(|core| core.lua_function_bytes.get());
    let libraries = scripts.libraries();
    let library_bytes = libraries.bytes() as u64;
    lines.put("used_memory_lua", eval);
    lines.put("used_memory_vm_eval", eval);
    lines.put("used_memory_lua_human", human(eval));
    lines.put("used_memory_scripts_eval", scripts.bytes());
    lines.put("number_of_cached_scripts", scripts.count());
    lines.put("number_of_functions", libraries.functions());
    lines.put("number_of_libraries", libraries.len());
    lines.put("used_memory_vm_functions", functions);
    lines.put("used_memory_vm_total", eval + functions);
    lines.put("used_memory_vm_total_human", human(eval + functions));
    lines.put("used_memory_functions", library_bytes);
    lines.bytes("used_memory_scripts", scripts.bytes() + library_bytes);
}

fn memory(lines: &mut Lines, facts: &Facts<'_>) {
    let memory = &facts.memory;
    let allocator = &memory.allocator;
    lines.bytes("used_memory", memory.used);
    lines.bytes("used_memory_rss", memory.resident);
    lines.bytes("used_memory_peak", memory.peak);
    lines.put(
        "used_memory_peak_perc",
        format!("{:.2}%", memory.peak_percentage()),
    );
    lines.put("used_memory_overhead", memory.overhead());
    lines.put("used_memory_startup", memory.startup);
    lines.put("used_memory_dataset", memory.dataset());
    lines.put(
        "used_memory_dataset_perc",
        format!("{:.2}%", memory.dataset_percentage()),
    );
    lines.put("allocator_allocated", allocator.allocated);
    lines.put("allocator_active", allocator.active);
    lines.put("allocator_resident", allocator.resident);
    lines.bytes("total_system_memory", memory.machine);
    scripting(lines, facts);
    lines.bytes("maxmemory", facts.config.maxmemory);
    lines.put("maxmemory_policy", facts.config.maxmemory_policy.name());
    for (name, whole, part) in [
        ("allocator_frag", allocator.active, allocator.allocated),
        ("allocator_rss", allocator.resident, allocator.active),
        ("rss_overhead", memory.resident, allocator.resident),
        ("mem_fragmentation", memory.resident, memory.used),
    ] {
        let (times, bytes) = ratio(whole, part);
        lines.put(&format!("{name}_ratio"), format!("{times:.2}"));
        lines.put(&format!("{name}_bytes"), bytes);
    }
    let links = &facts.observatory.replication;
    let beyond = links.beyond_backlog_bytes.load(Relaxed);
    lines.put("mem_not_counted_for_evict", beyond);
    lines.put("mem_replication_backlog", memory.backlog);
    lines.put("mem_total_replication_buffers", memory.backlog + beyond);
    lines.put("mem_clients_slaves", memory.replicas);
    lines.put("mem_clients_normal", memory.clients);
    let cluster_links = links.cluster_link_bytes.load(Relaxed);
    lines.put("mem_cluster_links", cluster_links);
    lines.put("mem_aof_buffer", 0);
    lines.put("mem_allocator", AllocatorFacts::name());
    lines.put("active_defrag_running", 0);
    lines.put(
        "lazyfree_pending_objects",
        facts.observatory.sum(|core| core.garbage.get()),
    );
    lines.put(
        "lazyfreed_objects",
        facts.observatory.sum(|core| core.lazy_freed.get()),
    );
}

fn persistence(lines: &mut Lines, facts: &Facts<'_>) {
    let snapshots = &*facts.observatory.snapshots;
    let loading = snapshots.loading.load(Relaxed);
    lines.put("loading", u8::from(loading));
    lines.put(
        "async_loading",
        u8::from(snapshots.loading_beside.load(Relaxed)),
    );
    let saves = &snapshots.saves;
    let under_way = saves.under_way();
    let (copied, (done, total)) = match &under_way {
        Some((_, feed)) => (feed.copied(), feed.progress()),
        None => (0, (0, 0)),
    };
    lines.put("current_cow_peak", copied);
    lines.put("current_cow_size", copied);
    lines.put("current_cow_size_age", 0);
    let share = 100.0 * done as f64 / total.max(1) as f64;
    lines.put("current_fork_perc", format!("{share:.2}"));
    lines.put("current_save_keys_processed", done);
    lines.put("current_save_keys_total", total);
    lines.put(
        "rdb_changes_since_last_save",
        snapshots.unsaved(facts.observatory.sum(|core| core.changes.get())),
    );
    lines.put("rdb_bgsave_in_progress", u8::from(saves.is_saving()));
    lines.put("rdb_last_save_time", snapshots.saved_at.load(Relaxed));
    let status = if saves.has_failed() { "err" } else { "ok" };
    lines.put("rdb_last_bgsave_status", status);
    lines.put("rdb_last_bgsave_time_sec", saves.last_seconds());
    let seconds = under_way
        .filter(|_| saves.is_saving())
        .map_or(-1, |(_, feed)| feed.began().elapsed().as_secs() as i64);
    lines.put("rdb_current_bgsave_time_sec", seconds);
    lines.put("rdb_saves", snapshots.begun.load(Relaxed));
    lines.put("rdb_last_cow_size", saves.copied.load(Relaxed));
    lines.put(
        "rdb_last_load_keys_expired",
        snapshots.keys_expired.load(Relaxed),
    );
    lines.put(
        "rdb_last_load_keys_loaded",
        snapshots.keys_loaded.load(Relaxed),
    );
    let log = &snapshots.log;
    let is_logged = log.on.load(Relaxed);
    let rewrites = &log.rewrites;
    let is_wanted = facts.config.appendonly;
    lines.put("aof_enabled", u8::from(is_wanted));
    let under_way = rewrites.is_under_way();
    lines.put("aof_rewrite_in_progress", u8::from(under_way));
    lines.put("aof_rewrite_scheduled", u8::from(rewrites.is_scheduled()));
    lines.put("aof_last_rewrite_time_sec", rewrites.last_seconds());
    lines.put(
        "aof_current_rewrite_time_sec",
        rewrites.seconds(facts.now_us / 1000),
    );
    let outcome = if rewrites.has_failed() { "err" } else { "ok" };
    lines.put("aof_last_bgrewrite_status", outcome);
    lines.put("aof_rewrites", rewrites.begun.load(Relaxed));
    lines.put("aof_rewrites_consecutive_failures", rewrites.failures());
    let well = log.trouble().is_none();
    lines.put("aof_last_write_status", if well { "ok" } else { "err" });
    lines.all(&[
        ("aof_last_cow_size", "0"),
        ("module_fork_in_progress", "0"),
        ("module_fork_last_cow_size", "0"),
    ]);
    if is_logged {
        lines.put(
            "aof_current_size",
            facts.observatory.sum(|core| core.log_bytes.get()),
        );
        lines.put("aof_base_size", log.base_bytes.load(Relaxed));
        lines.put("aof_pending_rewrite", u8::from(rewrites.is_scheduled()));
        lines.put(
            "aof_buffer_length",
            facts.observatory.sum(|core| core.log_buffer.get()),
        );
        lines.put("aof_pending_bio_fsync", log.pending_syncs.load(Relaxed));
        lines.put("aof_delayed_fsync", log.delayed_syncs.load(Relaxed));
    }
    if loading {
        loading_progress(lines, facts, snapshots);
    }
}

/// How far loading has come, and when it will be over if it goes on like that.
fn loading_progress(lines: &mut Lines, facts: &Facts<'_>, snapshots: &Status) {
    let started = snapshots.load_started_at.load(Relaxed);
    let total = snapshots.load_total.load(Relaxed);
    let done = snapshots.load_done.load(Relaxed).min(total);
    let elapsed = (facts.now_us / 1_000_000 - started).max(0) as u64;
    let left = if done == 0 {
        1
    } else {
        (u128::from(elapsed) * u128::from(total - done) / u128::from(done)) as u64
    };
    lines.put("loading_start_time", started);
    lines.put("loading_total_bytes", total);
    lines.put(
        "loading_rdb_used_mem",
        snapshots.load_used_memory.load(Relaxed),
    );
    lines.put("loading_loaded_bytes", done);
    let share = 100.0 * done as f64 / total.max(1) as f64;
    lines.put("loading_loaded_perc", format!("{share:.2}"));
    lines.put("loading_eta_seconds", left);
}

fn stats(lines: &mut Lines, facts: &Facts<'_>) {
    let observatory = facts.observatory;
    let rate = facts.rate();
    lines.put(
        "total_connections_received",
        observatory.sum(|core| core.accepted.get()),
    );
    lines.put(
        "total_commands_processed",
        observatory.sum(|core| core.processed.get()),
    );
    lines.put("instantaneous_ops_per_sec", rate.commands);
    lines.put(
        "total_net_input_bytes",
        observatory.sum(|core| core.bytes_in.get()),
    );
    lines.put(
        "total_net_output_bytes",
        observatory.sum(|core| core.bytes_out.get()),
    );
    let links = &observatory.replication;
    lines.put("total_net_repl_input_bytes", links.bytes_in.load(Relaxed));
    lines.put("total_net_repl_output_bytes", links.bytes_out.load(Relaxed));
    lines.put("instantaneous_input_kbps", format!("{:.2}", rate.kb_in));
    lines.put("instantaneous_output_kbps", format!("{:.2}", rate.kb_out));
    lines.all(&[
        ("instantaneous_input_repl_kbps", "0.00"),
        ("instantaneous_output_repl_kbps", "0.00"),
    ]);
    lines.put(
        "rejected_connections",
        observatory.sum(|core| core.refused.get()),
    );
    lines.put("sync_full", links.syncs_full.load(Relaxed));
    lines.put("sync_partial_ok", links.syncs_partial.load(Relaxed));
    lines.put(
        "sync_partial_err",
        links.syncs_partial_refused.load(Relaxed),
    );
    lines.put("expired_keys", observatory.sum(|core| core.expired.get()));
    let stale: Vec<u64> = observatory
        .cores()
        .iter()
        .map(|core| core.expired_stale.get())
        .collect();
    // The control core expires nothing.
    let shards = stale.len().saturating_sub(1).max(1);
    let stale = stale.iter().sum::<u64>() as f64 / 100.0 / shards as f64;
    lines.put("expired_stale_perc", format!("{stale:.2}"));
    lines.put(
        "expired_time_cap_reached_count",
        observatory.sum(|core| core.expire_capped.get()),
    );
    lines.put(
        "expire_cycle_cpu_milliseconds",
        observatory.sum(|core| core.expire_us.get()) / 1000,
    );
    lines.put("evicted_keys", observatory.sum(|core| core.evicted.get()));
    lines.put(
        "evicted_clients",
        observatory.sum(|core| core.evicted_clients.get()),
    );
    lines.put(
        "client_query_buffer_limit_disconnections",
        observatory.sum(|core| core.input_limit_closed.get()),
    );
    lines.put(
        "client_output_buffer_limit_disconnections",
        observatory.sum(|core| core.output_limit_closed.get()),
    );
    // Every core keeps the time by what it sees; those that slept have missed some.
    let now_ms = facts.now_us / 1000;
    let exceeded = |of: fn(&CoreCounters, i64) -> u64| {
        observatory
            .cores()
            .iter()
            .map(|core| of(core, now_ms))
            .max()
            .unwrap_or(0)
    };
    let current = exceeded(
        |core, now_ms| match core.eviction_exceeding_since_ms.get() {
            0 => 0,
            since => (now_ms as u64).saturating_sub(since),
        },
    );
    let limit = facts.config.maxmemory;
    let current = if limit > 0 && facts.memory.used > limit {
        current
    } else {
        0
    };
    let past = exceeded(|core, _| core.eviction_exceeded_ms.get());
    lines.put("total_eviction_exceeded_time", past + current);
    lines.put("current_eviction_exceeded_time", current);
    lines.put("keyspace_hits", observatory.sum(|core| core.hits.get()));
    lines.put("keyspace_misses", observatory.sum(|core| core.misses.get()));
    // Every core knows of all subscriptions.
    let known = observatory.core(0);
    lines.put("pubsub_channels", known.pubsub_channels.get());
    lines.put("pubsub_patterns", known.pubsub_patterns.get());
    lines.put("pubsubshard_channels", known.pubsub_shard_channels.get());
    lines.all(&[("latest_fork_usec", "0"), ("total_forks", "0")]);
    lines.put(
        "migrate_cached_sockets",
        observatory.sum(|core| core.migrate_links.get()),
    );
    lines.all(&[
        ("slave_expires_tracked_keys", "0"),
        ("active_defrag_hits", "0"),
        ("active_defrag_misses", "0"),
        ("active_defrag_key_hits", "0"),
        ("active_defrag_key_misses", "0"),
        ("total_active_defrag_time", "0"),
        ("current_active_defrag_time", "0"),
    ]);
    lines.put(
        "tracking_total_keys",
        observatory.sum(|core| core.tracking_keys.get()),
    );
    lines.put(
        "tracking_total_items",
        observatory.sum(|core| core.tracking_items.get()),
    );
    lines.put("tracking_total_prefixes", known.tracking_prefixes.get());
    lines.put(
        "unexpected_error_replies",
        observatory.sum(|core| core.unexpected_errors.get()),
    );
    lines.put(
        "total_error_replies",
        observatory.sum(|core| core.errors.get()),
    );
    lines.put("dump_payload_sanitizations", 0);
    lines.put(
        "total_reads_processed",
        observatory.sum(|core| core.reads.get()),
    );
    lines.put(
        "total_writes_processed",
        observatory.sum(|core| core.writes.get()),
    );
    lines.all(&[
        ("io_threaded_reads_processed", "0"),
        ("io_threaded_writes_processed", "0"),
        ("reply_buffer_shrinks", "0"),
        ("reply_buffer_expands", "0"),
    ]);
    lines.put("eventloop_cycles", observatory.sum(|core| core.turns.get()));
    lines.put(
        "eventloop_duration_sum",
        observatory.sum(|core| core.busy_ns.get()) / 1000,
    );
    let ticks = observatory.sum(|core| {
        core.commands
            .iter()
            .map(|command| command.ticks.get())
            .sum()
    });
    lines.put(
        "eventloop_duration_cmd_sum",
        observatory.scale.ns(ticks) / 1000,
    );
    lines.put("instantaneous_eventloop_cycles_per_sec", rate.turns);
    lines.put("instantaneous_eventloop_duration_usec", rate.turn_us);
    lines.put(
        "acl_access_denied_auth",
        observatory.sum(|core| core.auth_denied.get()),
    );
    lines.put(
        "acl_access_denied_cmd",
        observatory.sum(|core| core.command_denied.get()),
    );
    lines.put(
        "acl_access_denied_key",
        observatory.sum(|core| core.key_denied.get()),
    );
    lines.put(
        "acl_access_denied_channel",
        observatory.sum(|core| core.channel_denied.get()),
    );
}

fn replication(lines: &mut Lines, facts: &Facts<'_>) {
    super::replication::write(lines, facts.replication, facts.config);
}

fn cpu(lines: &mut Lines, facts: &Facts<'_>) {
    for (suffix, time) in ["", "_children", "_main_thread"].iter().zip(facts.cpu) {
        lines.put(
            &format!("used_cpu_sys{suffix}"),
            format!("{:.6}", time.system.as_secs_f64()),
        );
        lines.put(
            &format!("used_cpu_user{suffix}"),
            format!("{:.6}", time.user.as_secs_f64()),
        );
    }
}

fn command_stats(lines: &mut Lines, facts: &Facts<'_>) {
    let observatory = facts.observatory;
    for (id, name) in facts.commands.iter().enumerate() {
        let calls = observatory.sum_of(id, |command| &command.calls);
        let rejected = observatory.sum_of(id, |command| &command.rejected);
        let failed = observatory.sum_of(id, |command| &command.failed);
        if calls == 0 && rejected == 0 && failed == 0 {
            continue;
        }
        let us = observatory
            .scale
            .ns(observatory.sum_of(id, |command| &command.ticks))
            / 1000;
        let us_per_call = if calls == 0 {
            0.0
        } else {
            us as f64 / calls as f64
        };
        lines.put(
            &format!("cmdstat_{name}"),
            format!(
                "calls={calls},usec={us},usec_per_call={us_per_call:.2},rejected_calls={rejected},failed_calls={failed}"
            ),
        );
    }
}

fn error_stats(lines: &mut Lines, facts: &Facts<'_>) {
    let mut total = BTreeMap::new();
    for core in facts.observatory.cores() {
        core.error_kinds.add_to(&mut total);
    }
    for (code, count) in total {
        lines.put(
            &format!("errorstat_{}", String::from_utf8_lossy(&code)),
            format!("count={count}"),
        );
    }
}

fn latency_stats(lines: &mut Lines, facts: &Facts<'_>) {
    if !facts.config.latency_tracking {
        return;
    }
    for (id, name) in facts.commands.iter().enumerate() {
        let durations = facts.observatory.durations(id);
        if durations.iter().all(|count| *count == 0) {
            continue;
        }
        let percentiles: Vec<String> = facts
            .config
            .latency_tracking_info_percentiles
            .iter()
            .map(|percentile| {
                let us = Histogram::percentile(&durations, *percentile) as f64 / 1000.0;
                format!("p{percentile}={us:.3}")
            })
            .collect();
        lines.put(
            &format!("latency_percentiles_usec_{name}"),
            percentiles.join(","),
        );
    }
}

fn keyspace(lines: &mut Lines, facts: &Facts<'_>) {
    let cores = facts.observatory.cores();
    for db in 0..facts.config.databases as usize {
        let sum = |of: fn(&super::CoreCounters) -> &Vec<super::Counter>| -> u64 {
            cores
                .iter()
                .filter_map(|core| of(core).get(db))
                .map(super::Counter::get)
                .sum()
        };
        let (keys, expires) = (sum(|core| &core.keys), sum(|core| &core.expires));
        if keys == 0 && expires == 0 {
            continue;
        }
        // Each core's estimate counts by the keys it stands for.
        let weighted: u128 = cores
            .iter()
            .filter_map(|core| Some((core.avg_ttl_ms.get(db)?.get(), core.expires.get(db)?.get())))
            .map(|(ttl_ms, keys)| u128::from(ttl_ms) * u128::from(keys))
            .sum();
        let avg_ttl = weighted.checked_div(u128::from(expires)).unwrap_or(0);
        lines.put(
            &format!("db{db}"),
            format!("keys={keys},expires={expires},avg_ttl={avg_ttl}"),
        );
    }
}

/// Ours: one line for each shard, and one for the control core.
fn shards(lines: &mut Lines, facts: &Facts<'_>) {
    let cores = facts.observatory.cores();
    let shards = cores.len().saturating_sub(1);
    lines.put("shards", shards);
    for (index, core) in cores.iter().enumerate() {
        let name = if index < shards {
            format!("shard{index}")
        } else {
            "control".to_string()
        };
        let keys: u64 = core.keys.iter().map(super::Counter::get).sum();
        lines.put(
            &name,
            format!(
                "keys={keys},memory={},connections={},ops={},remote_ops={},borrowed_ops={},transactions={},batches={},\
                 turns={},sleeps={},enters={},longest_turn_usec={}",
                core.allocated.get() as i64,
                core.connected.get(),
                core.processed.get(),
                core.remote.get(),
                core.borrowed.get(),
                core.transactions.get(),
                core.batches.get(),
                core.turns.get(),
                core.sleeps.get(),
                core.enters.get(),
                core.longest_turn_ns.get() / 1000,
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<Section> {
        sections(
            words
                .iter()
                .map(|word| word.as_bytes())
                .collect::<Vec<_>>()
                .into_iter(),
        )
    }

    #[test]
    fn words_choose_sections_and_unknown_ones_choose_none() {
        assert_eq!(
            names(&["KEYSPACE", "server", "nonsense"]),
            [Server, Keyspace]
        );
        assert_eq!(names(&["nonsense"]), []);
        let default = names(&[]);
        assert_eq!(default, names(&["default"]));
        assert!(default.contains(&Modules) && !default.contains(&Commandstats));
        let all = names(&["all"]);
        assert!(!all.contains(&Modules) && all.contains(&Commandstats) && all.contains(&Shards));
        assert_eq!(names(&["everything"]).len(), SECTIONS.len());
        assert!(names(&["commandstats", "default"]).len() == default.len() + 1);
    }

    #[test]
    fn fields_come_from_the_counters_of_all_cores() {
        let mut observatory = Observatory::new(2, 3, 16, 1_700_000_000_000, "f".repeat(40));
        observatory.about.startup_bytes = 1000;
        let config = Config::default();
        for index in 0..2 {
            let core = observatory.core(index);
            core.processed.add(5);
            core.connected.set(2);
            core.keys[3].set(10);
            core.expires[3].set(4);
            core.avg_ttl_ms[3].set(1000 * (index as u64 + 1));
            core.allocated.set(1024 * 1024);
            core.commands[1].ran(observatory.scale.ticks(2_000_000), observatory.scale, true);
            core.error_kinds.count(b"WRONGTYPE");
        }
        observatory.core(0).commands[2].rejected.add(1);
        let mut facts = Facts::now(
            &observatory,
            &config,
            &["get", "set", "client|id"],
            "7.2.4",
            1_700_000_090_000_000,
        );
        facts.memory.resident = 4 << 20;
        let text = render(&names(&["everything"]), &facts);
        for line in [
            "redis_version:7.2.4",
            "server_name:slotwise",
            "uptime_in_seconds:90",
            "connected_clients:4",
            "used_memory:2097152",
            "used_memory_human:2.00M",
            "mem_fragmentation_ratio:2.00",
            "total_commands_processed:10",
            "repl_backlog_size:1048576",
            "errorstat_WRONGTYPE:count=2",
            "cmdstat_client|id:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0",
            "db3:keys=20,expires=8,avg_ttl=1500",
            "cluster_enabled:0",
            "shards:2",
        ] {
            assert!(
                text.contains(&format!("\r\n{line}\r\n")),
                "{line} is missing in\n{text}"
            );
        }
        assert!(text.contains("cmdstat_set:calls=2,usec="));
        assert!(text.contains("latency_percentiles_usec_set:p50="));
        assert!(text.starts_with("# Server\r\n") && text.contains("\r\n\r\n# Clients\r\n"));
    }

    #[test]
    fn bytes_for_people_have_two_digits_behind_the_point() {
        assert_eq!(human(0), "0B");
        assert_eq!(human(1023), "1023B");
        assert_eq!(human(1536), "1.50K");
        assert_eq!(human(5 << 30), "5.00G");
    }
}
