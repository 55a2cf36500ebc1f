//! The cluster's bus as the control core drives it: sockets, the clock, nodes.conf, and everything that the state machine
//! (`cluster/state/`) wants done. No load of data keeps this core from it.
//!
//! What happens in a turn of the core (packets, the tick, commands) goes into the machine; at the end of the turn it says
//! what is to be done: first nodes.conf is saved, and only then anything leaves. `links.rs` has the connections, `asks.rs`
//! the subcommands of CLUSTER, `file.rs` nodes.conf.

mod asks;
mod cached;
mod file;
mod links;
mod silence;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::base::clock::unix_ms;
use crate::base::sys;
use crate::cluster::address::IpText;
use crate::cluster::nodes_conf::NodesConf;
use crate::cluster::slot_map::Endpoint;
use crate::cluster::{Action, Cluster, LinkId, NodeFlags, Observed, Settings, SlotSet};
use crate::config::{Config, EndpointType};
use crate::mesh::message::{BusMessage, CoreAsk, CoreMessage};

use super::core::Control;
use super::listen::{Listener, listen_bus};
use asks::Counting;
use cached::Cache;
use file::NodesFile;
use links::Wire;
use silence::Silence;

/// What a client port is added to for the port of the bus.
const BUS_PORT_OFFSET: u16 = 10_000;
/// Turns of the machine in one turn of the core at most: what it wants done may fail at once, which it is told.
const ROUNDS_MAX: usize = 8;
/// The exit status when nodes.conf cannot be written: whatever is promised next could not be kept.
const EXIT_UNSAVED: i32 = 1;

/// What a node of a cluster has before it starts: its file, locked and read, and its sockets.
#[derive(Debug)]
pub struct ClusterBoot {
    file: NodesFile,
    conf: Option<NodesConf>,
    listeners: Vec<Listener>,
}

impl ClusterBoot {
    /// Reads nodes.conf and listens on the bus's port; the error says why the server cannot start.
    pub fn new(config: &Config) -> Result<Self, String> {
        if config.replicaof.is_some() {
            return Err("replicaof directive not allowed in cluster mode".to_owned());
        }
        let port = bus_port(config).ok_or(
            "The port is too high for cluster mode: the bus listens on the port plus 10000. Choose a port of at most \
             55535, or set 'cluster-port'.",
        )?;
        let path = PathBuf::from(&config.cluster_config_file);
        let (file, text) = NodesFile::open(&path)?;
        let conf = match NodesConf::parse(&text, false) {
            Ok(Some((conf, passed))) => {
                for line in passed {
                    log::warn!("{}: {line}", path.display());
                }
                Some(conf)
            }
            Ok(None) => None,
            Err(bad) => {
                return Err(format!(
                    "Unrecoverable error: corrupted cluster config file {} at line {}: {}",
                    path.display(),
                    bad.line,
                    bad.reason
                ));
            }
        };
        let listeners = listen_bus(config, port).map_err(|error| {
            format!("{error} Failed listening on port {port} (cluster bus), aborting.")
        })?;
        Ok(ClusterBoot {
            file,
            conf,
            listeners,
        })
    }

    /// Whether this node was a replica when its file was written.
    pub fn is_replica(&self) -> bool {
        let mut lines = self.conf.iter().flat_map(|conf| &conf.nodes);
        lines.any(|line| line.flags.has(NodeFlags::MYSELF) && line.flags.has(NodeFlags::REPLICA))
    }
}

/// The port on which the bus listens; `None` when there is none that high.
fn bus_port(config: &Config) -> Option<u16> {
    match config.cluster_port {
        0 => config.port.checked_add(BUS_PORT_OFFSET),
        port => Some(port),
    }
}

/// What the state machine needs to know of the configuration.
fn settings(config: &Config, bus_port: u16) -> Settings {
    let or = |announced: u16, real: u16| if announced == 0 { real } else { announced };
    Settings {
        node_timeout_ms: config.cluster_node_timeout_ms,
        ping_interval_ms: config.cluster_ping_interval_ms,
        replica_validity_factor: config.cluster_replica_validity_factor,
        repl_ping_period_s: config.repl_ping_replica_period_s.into(),
        migration_barrier: config.cluster_migration_barrier,
        allow_replica_migration: config.cluster_allow_replica_migration,
        require_full_coverage: config.cluster_require_full_coverage,
        replica_no_failover: config.cluster_replica_no_failover,
        reads_when_down: config.cluster_allow_reads_when_down,
        pubsubshard_when_down: config.cluster_allow_pubsubshard_when_down,
        endpoint: match config.cluster_preferred_endpoint_type {
            EndpointType::Ip => Endpoint::Ip,
            EndpointType::Hostname => Endpoint::Hostname,
            EndpointType::Unknown => Endpoint::Unknown,
        },
        announce_ip: match config.cluster_announce_ip.as_str() {
            "" => None,
            ip => IpText::new(ip),
        },
        port: or(config.cluster_announce_port, config.port),
        tls_port: 0,
        bus_port: or(config.cluster_announce_bus_port, bus_port),
        hostname: config.cluster_announce_hostname.clone(),
        node_name: config.cluster_announce_human_nodename.clone(),
        tls: false,
    }
}

/// This node's part in its cluster, with its links.
pub(in crate::control) struct Bus {
    pub(super) cluster: Cluster,
    file: NodesFile,
    wires: HashMap<LinkId, Wire>,
    /// Sockets on which the bus listens, at the places that their tokens have.
    listeners: Vec<Option<Listener>>,
    /// Their port.
    port: u16,
    /// Links that have broken while the machine was not looking.
    broken: Vec<LinkId>,
    /// Commands that wait until keys have been counted.
    counting: HashMap<u64, Counting>,
    next_count: u64,
    /// Replies that hold until something happens.
    cache: Cache,
    /// The map has been sent to the cores in this turn, under this number of a question to all.
    map_round: Option<u64>,
    /// Keys that are there have been made known to the machine.
    has_adopted: bool,
    /// The last that replication was seen to do.
    seen: Observed,
    /// The kind of packet that is passed over on arrival (DEBUG DROP-CLUSTER-PACKET-FILTER).
    dropped_kind: Option<u16>,
    /// A replica's wish to take over, which waits until all cores hold writes back.
    hands_over: Option<(LinkId, Vec<u8>)>,
    /// A shard hangs: nothing leaves and nothing is heard.
    silence: Option<Silence>,
}

impl Control {
    /// Becomes a node of the cluster.
    pub(in crate::control) fn begin_bus(&mut self, boot: ClusterBoot) {
        let (now, seed) = (unix_ms(), sys::entropy());
        let port = bus_port(&self.config).unwrap_or_default();
        let settings = settings(&self.config, port);
        let cluster = match &boot.conf {
            Some(conf) => Cluster::restore(settings, seed, now, conf),
            None => Cluster::fresh(settings, seed, now),
        };
        let primary = cluster.me().primary.filter(|_| cluster.me().is_replica());
        let primary = primary.map(|key| cluster.nodes()[key].address);
        let seen = cluster.observed();
        let mut bus = Bus {
            cluster,
            file: boot.file,
            wires: HashMap::new(),
            listeners: Vec::new(),
            port,
            broken: Vec::new(),
            counting: HashMap::new(),
            next_count: 0,
            cache: Cache::default(),
            map_round: None,
            has_adopted: false,
            seen,
            dropped_kind: None,
            hands_over: None,
            silence: None,
        };
        for listener in boot.listeners {
            self.accept_links(&mut bus, listener);
        }
        self.bus = Some(Box::new(bus));
        match primary.filter(|address| !address.ip.is_empty()) {
            Some(primary) => self.begin_as_replica(primary.ip.to_string(), primary.port),
            None => self.begin_as_primary(),
        }
        // The first map reaches the cores before they let anybody in.
        self.with_bus(|control, bus| {
            let map = bus.cluster.shared_slot_map();
            control.ask_all(CoreAsk::TakeSlotMap(map), None);
        });
        self.bus_turn();
    }

    /// Does something with the bus and this core at hand.
    fn with_bus<R>(&mut self, work: impl FnOnce(&mut Control, &mut Bus) -> R) -> Option<R> {
        let mut bus = self.bus.take()?;
        let result = work(self, &mut bus);
        self.bus = Some(bus);
        Some(result)
    }

    /// A tenth of a second has passed.
    pub(in crate::control) fn bus_cron(&mut self, now: i64) {
        if self.bus.is_none() {
            return;
        }
        self.drain_stream();
        self.adopt_keys();
        self.with_bus(|control, bus| {
            control.observe_for(bus);
            bus.close_overflowing(control.config.cluster_link_sendbuf_limit, now);
            bus.cluster.tick(now);
            let links = &control.observatory.replication.cluster_links;
            links.store(bus.wires.len() as u32, Relaxed);
            control.count_wire_bytes(bus);
            bus.cache.clear();
        });
    }

    /// Tells the machine what replication does.
    fn observe_for(&mut self, bus: &mut Bus) {
        let link = self.link_report();
        let now = unix_ms();
        let snapshots = &self.observatory.snapshots;
        let is_loading = snapshots.loading.load(Relaxed) || snapshots.loading_beside.load(Relaxed);
        let observed = Observed {
            // A replica that takes a whole copy in has nothing yet: that keeps it out of what clients are told.
            repl_offset: match self.is_replica() && is_loading {
                true => 0,
                false => self.replication.history.offset,
            },
            is_replicating: self.is_replica(),
            primary_seen_ms: match &link {
                None => now,
                Some(link) if link.down_s > 0 => now - link.down_s * 1000,
                Some(link) => now - link.last_io_s.max(0) * 1000,
            },
        };
        if observed != bus.seen {
            bus.seen = observed;
            bus.cache.clear_live();
            bus.cluster.observe(observed);
        }
    }

    /// Once the data are loaded: slots of keys that are there and nobody owns become this node's.
    fn adopt_keys(&mut self) {
        let loading = &self.observatory.snapshots.loading;
        let is_loading = loading.load(Relaxed);
        let waits = self.bus.as_ref().is_some_and(|bus| !bus.has_adopted);
        if is_loading || !waits {
            return;
        }
        self.with_bus(|control, bus| {
            bus.has_adopted = true;
            let what = asks::Wanted::Adopt(Box::default());
            control.count_on_all(bus, CoreAsk::SlotsWithKeys, what, None);
        });
    }

    /// The end of a turn: saves what is to be saved, then does what is to be done.
    pub(in crate::control) fn bus_turn(&mut self) {
        self.with_bus(|control, bus| {
            control.go_on_handing_over(bus);
            for _ in 0..ROUNDS_MAX {
                let now = unix_ms();
                for link in std::mem::take(&mut bus.broken) {
                    bus.wires.remove(&link);
                    bus.cluster.link_closed(now, link);
                }
                control.observe_for(bus);
                let turn = bus.cluster.end_turn(now);
                let is_quiet = turn.save.is_none() && turn.actions.is_empty();
                if !is_quiet {
                    bus.cache.clear_live();
                }
                if let Some(save) = &turn.save {
                    bus.cache.clear();
                    if let Err(error) = bus.file.save(save) {
                        log::error!(
                            "Fatal: can't update cluster config file: {error}. What this node promises next could \
                             not be kept, so it stops."
                        );
                        std::process::exit(EXIT_UNSAVED);
                    }
                }
                for action in turn.actions {
                    control.carry_out_action(bus, action);
                }
                if is_quiet && bus.broken.is_empty() {
                    break;
                }
            }
        });
    }

    fn count_wire_bytes(&self, bus: &Bus) {
        let bytes = &self.observatory.replication.cluster_link_bytes;
        bytes.store(bus.wire_bytes(), Relaxed);
    }

    fn carry_out_action(&mut self, bus: &mut Bus, action: Action) {
        match action {
            Action::OpenLink { link, ip, port } => self.open_wire(bus, link, &ip, port),
            Action::CloseLink(link) => bus.close_wire(link),
            Action::Send { link, packet } => self.send_on_wire(bus, link, packet),
            Action::Deliver {
                is_sharded,
                channel,
                message,
            } => self.tell_core(
                0,
                CoreMessage::BusDeliver(Box::new(BusMessage {
                    is_sharded,
                    channel: channel.into(),
                    message: message.into(),
                })),
            ),
            Action::Replicate { id, address } => {
                let (host, port) = (address.ip.to_string(), address.port);
                if !host.is_empty() && !self.is_following(&host, port) {
                    log::info!("Replicating node {id} at {host}:{port}");
                    self.follow(host, port, false);
                }
            }
            Action::StopReplicating => {
                // A change to a replica may be under way, or wait for the one before.
                if self.will_be_replica() {
                    self.promote("this node is a primary of its cluster");
                }
            }
            Action::DropAllKeys => self.tell_core(0, CoreMessage::DropAllKeys),
            Action::DropKeys(slots) => {
                let slots = Arc::new(slots);
                self.tell_cores(|| CoreMessage::DropKeys(slots.clone()));
            }
            Action::DropSubscribers(slots) => {
                // Of slots that stay within the group nobody has to go.
                let map = bus.cluster.slot_map();
                let lost = slots.iter().filter(|slot| !map.is_of_my_group(*slot));
                let lost: SlotSet = lost.collect();
                if !lost.is_empty() {
                    let lost = Arc::new(lost);
                    self.tell_cores(|| CoreMessage::DropSubscribers(lost.clone()));
                }
            }
            Action::PauseWrites { until_ms } => {
                self.bus_pause_until_ms = until_ms;
                self.spread_pause();
            }
            Action::ResumeWrites => {
                self.bus_pause_until_ms = 0;
                self.spread_pause();
            }
            Action::PublishMap(map) => {
                bus.cache.clear();
                bus.map_round = Some(self.ask_all(CoreAsk::TakeSlotMap(map), None));
            }
            Action::Log(level, text) => log::log!(level, "{text}"),
        }
    }

    /// Sends a data core a message.
    pub(in crate::control) fn tell_core(&mut self, core: usize, message: CoreMessage) {
        let core = self.links.core(core);
        core.mail(message);
        core.wake_by_event();
    }

    fn tell_cores(&mut self, message: impl Fn() -> CoreMessage) {
        for core in 0..self.links.shards() {
            self.tell_core(core, message());
        }
    }

    /// CONFIG SET has changed something.
    pub(in crate::control) fn bus_configured(&mut self) {
        self.with_bus(|control, bus| {
            control.listen_for_links_anew(bus);
            let settings = settings(&control.config, bus.port);
            if *bus.cluster.settings() != settings {
                bus.cluster.configure(unix_ms(), settings);
            }
            bus.cache.clear();
        });
    }

    /// A client here has published.
    pub(in crate::control) fn publish_on_bus(&mut self, message: &BusMessage) {
        self.with_bus(|_, bus| {
            let (channel, text) = (&message.channel, &message.message);
            bus.cluster.publish(message.is_sharded, channel, text);
        });
    }
}
