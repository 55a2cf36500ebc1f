//! From nodes.conf and back, and what changes with the settings (specification, section 6 and 4.5).

use super::super::address::{Address, IpText};
use super::super::flags::NodeFlags;
use super::super::node_id::NodeId;
use super::super::nodes_conf::{NodeLine, NodesConf, Open};
use super::super::settings::Settings;
use super::super::slots::SlotSet;
use super::node::Node;
use super::table::{NodeKey, Nodes};
use super::{Cluster, Counters, Observed};
use crate::base::random::Random;
use crate::base::slot::{SLOTS, Slot};
use std::collections::BTreeMap;

impl Cluster {
    /// A node that has never been in a cluster. `seed` comes from the system's entropy: names are made from it.
    pub fn fresh(settings: Settings, seed: u64, now_ms: i64) -> Self {
        let mut random = Random::new(seed);
        let id = NodeId::random(&mut random);
        let shard_id = NodeId::random(&mut random);
        let flags = NodeFlags::MYSELF | NodeFlags::PRIMARY;
        let me = Node::new(id, shard_id, flags, now_ms);
        let mut cluster = Cluster::with(settings, random, now_ms, me);
        cluster.note(
            log::Level::Info,
            format!("No cluster configuration found, I'm {id}"),
        );
        cluster.save_durably();
        cluster
    }

    /// A node as its file has it.
    pub fn restore(settings: Settings, seed: u64, now_ms: i64, conf: &NodesConf) -> Self {
        let mut random = Random::new(seed);
        let mine = |line: &&NodeLine| line.flags.has(NodeFlags::MYSELF);
        let my_line = conf.nodes.iter().find(mine);
        let my_line = my_line.expect("a file without a line for this node is refused");
        let me = node_of(my_line, &mut random, now_ms);
        let mut cluster = Cluster::with(settings, random, now_ms, me);
        for line in conf.nodes.iter().filter(|line| !mine(line)) {
            let node = node_of(line, &mut cluster.random, now_ms);
            cluster.nodes.insert(node);
        }
        for line in &conf.nodes {
            cluster.relate(line);
        }
        cluster.current_epoch = conf.current_epoch.max(cluster.highest_epoch());
        cluster.last_vote_epoch = conf.last_vote_epoch;
        let id = cluster.my_id();
        cluster.note(
            log::Level::Info,
            format!("Node configuration loaded, I'm {id}"),
        );
        cluster.look_soon();
        // Nothing of this has happened now.
        cluster.unbound.clear();
        cluster
    }

    fn with(settings: Settings, random: Random, now_ms: i64, me: Node) -> Self {
        let mut nodes = Nodes::default();
        let myself = nodes.insert(me);
        let mut cluster = Cluster {
            settings: Settings::default(),
            nodes,
            links: BTreeMap::new(),
            myself,
            slots: Box::new([None; SLOTS]),
            unclaimed: SlotSet::default(),
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
            current_epoch: 0,
            last_vote_epoch: 0,
            health: Default::default(),
            election: Default::default(),
            manual: Default::default(),
            forgotten: BTreeMap::new(),
            counters: Counters::default(),
            observed: Observed {
                repl_offset: 0,
                is_replicating: false,
                primary_seen_ms: now_ms,
            },
            random,
            now_ms,
            next_link: 0,
            ticks: 0,
            suspects: Vec::new(),
            gossip_round: 0,
            unbound: SlotSet::default(),
            todo: Default::default(),
            owes_save: false,
            actions: Vec::new(),
            published: None,
        };
        cluster.configure(now_ms, settings);
        cluster
    }

    /// A node that only other lines speak of has nothing but its name.
    fn known_or_new(&mut self, id: NodeId) -> NodeKey {
        self.nodes.find(&id).unwrap_or_else(|| {
            let shard_id = NodeId::random(&mut self.random);
            self.nodes
                .insert(Node::new(id, shard_id, NodeFlags::NONE, self.now_ms))
        })
    }

    fn relate(&mut self, line: &NodeLine) {
        let key = self.known_or_new(line.id);
        if let Some(primary) = line.primary.filter(|id| *id != line.id) {
            let primary = self.known_or_new(primary);
            self.attach(key, primary);
            // Redis refuses files in which the two differ; a crash between two of its saves can leave such.
            self.nodes[key].shard_id = self.nodes[primary].shard_id;
            if self.nodes[key].is_replica() {
                self.nodes[key].config_epoch = 0;
            }
        }
        for slot in line.slots.iter() {
            self.bind(slot, key);
        }
        for (slot, open) in &line.open {
            match open {
                Open::MigratingTo(id) => {
                    let to = self.known_or_new(*id);
                    self.migrating.insert(*slot, to);
                }
                Open::ImportingFrom(id) => {
                    let from = self.known_or_new(*id);
                    self.importing.insert(*slot, from);
                }
            }
        }
    }

    /// What nodes.conf is to hold.
    pub fn conf(&self) -> NodesConf {
        let nodes = self.nodes.iter();
        let nodes = nodes.filter(|(_, node)| !node.is_in_handshake());
        NodesConf {
            nodes: nodes.map(|(key, _)| self.line(key)).collect(),
            current_epoch: self.current_epoch,
            last_vote_epoch: self.last_vote_epoch,
        }
    }

    /// A node as a line of the file or of CLUSTER NODES has it.
    pub(in crate::cluster) fn line(&self, key: NodeKey) -> NodeLine {
        let node = &self.nodes[key];
        let primary = node.primary.map(|key| &self.nodes[key]);
        let owner = primary.filter(|_| node.is_replica()).unwrap_or(node);
        let id = |key: &NodeKey| self.nodes[*key].id;
        let mut open: Vec<(Slot, Open)> = Vec::new();
        if node.is_myself() {
            let migrating = self.migrating.iter();
            open.extend(migrating.map(|(slot, to)| (*slot, Open::MigratingTo(id(to)))));
            let importing = self.importing.iter();
            let importing = importing.filter(|(slot, _)| !self.migrating.contains_key(slot));
            open.extend(importing.map(|(slot, from)| (*slot, Open::ImportingFrom(id(from)))));
            open.sort_by_key(|(slot, _)| *slot);
        }
        NodeLine {
            id: node.id,
            address: node.address,
            hostname: node.hostname.clone(),
            node_name: node.node_name.clone(),
            shard_id: Some(node.shard_id),
            flags: node.flags,
            primary: primary.map(|node| node.id),
            ping_sent_ms: node.ping_sent_ms.max(0),
            pong_received_ms: node.pong_received_ms.max(0),
            config_epoch: owner.config_epoch,
            is_connected: node.outbound.is_some() || node.is_myself(),
            slots: node.slots.clone(),
            open,
        }
    }

    /// Takes over the settings, at the start and whenever they change.
    pub fn configure(&mut self, now_ms: i64, settings: Settings) {
        self.now_ms = now_ms;
        let announced_before = self.settings.announce_ip;
        self.settings = settings;
        self.nodes.set_all_due();
        let settings = &self.settings;
        let (no_failover, announced) = (settings.replica_no_failover, settings.announce_ip);
        let (hostname, node_name) = (settings.hostname.clone(), settings.node_name.clone());
        let ports = (settings.port, settings.tls_port, settings.bus_port);
        let me = self.me_mut();
        let mut is_changed = me.flags.put(NodeFlags::NO_FAILOVER, no_failover);
        is_changed |= me.hostname != hostname || me.node_name != node_name;
        (me.hostname, me.node_name) = (hostname, node_name);
        let ip = match announced {
            Some(ip) => ip,
            // No longer announced: it is learned again.
            None if announced_before.is_some() => IpText::EMPTY,
            None => me.address.ip,
        };
        let address = Address {
            ip,
            port: ports.0,
            tls_port: ports.1,
            bus_port: ports.2,
        };
        is_changed |= me.address != address;
        me.address = address;
        if is_changed {
            self.save_soon();
        }
        self.look_soon();
    }

    /// The data has been loaded, and there are keys in these slots: slots of nobody become this node's, others are marked
    /// as coming from their owner, so that an operator can see to them. A replica leaves that to its primary.
    pub fn adopt_keys(&mut self, now_ms: i64, with_keys: &SlotSet) {
        self.now_ms = now_ms;
        if self.me().is_replica() {
            return;
        }
        for slot in with_keys.iter() {
            let owner = self.owner(slot);
            if owner == Some(self.myself) || self.importing.contains_key(&slot) {
                continue;
            }
            let text = match owner {
                None => {
                    self.bind(slot, self.myself);
                    format!("I have keys for unassigned slot {slot}. Taking responsibility for it.")
                }
                Some(key) => {
                    self.importing.insert(slot, key);
                    format!(
                        "I have keys for slot {slot}, but the slot is assigned to another node. Setting it to importing state."
                    )
                }
            };
            self.note(log::Level::Info, text);
            self.save_durably();
            self.look_soon();
        }
    }
}

fn node_of(line: &NodeLine, random: &mut Random, now_ms: i64) -> Node {
    let shard_id = line.shard_id.unwrap_or_else(|| NodeId::random(random));
    let mut node = Node::new(line.id, shard_id, line.flags, now_ms);
    node.address = line.address;
    node.hostname = line.hostname.clone();
    node.node_name = line.node_name.clone();
    node.config_epoch = line.config_epoch;
    // What was under way then has to begin anew.
    node.ping_sent_ms = if line.ping_sent_ms != 0 { now_ms } else { 0 };
    node.pong_received_ms = if line.pong_received_ms != 0 {
        now_ms
    } else {
        0
    };
    node.fail_ms = if node.has_failed() { now_ms } else { 0 };
    node
}
