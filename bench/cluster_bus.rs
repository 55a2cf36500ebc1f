//! What does the bus of a large cluster cost each node while nothing happens: packets, bytes and CPU in a second?
//!
//! Run with `cargo bench --bench cluster_bus -- [nodes] [seconds]`; 300 nodes and one ping period unless told otherwise, 1,000
//! take about 2.5 GB and two and a half minutes of one CPU, nearly all of it before anything is counted: a million links are
//! made. Half of the nodes are primaries, each with a replica. They begin with the file of a cluster that they know, one after
//! the other during a ping period, and go on for another before anything is counted. Time is virtual and the network is a queue, so packets and bytes are exact and the same in every run; the CPU is that of this
//! machine, with the little that the queue takes in it, and without what a machine for each node would have in its caches:
//! a thousand tables of a thousand nodes are in none. What Redis's rules come to stands beside it: a ping to each node that has not
//! been heard of for half of the time-out, one more to a random node each second, and a pong for each.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use slotwise::base::slot::{SLOTS, Slot};
use slotwise::base::sys::thread_cpu_ns;
use slotwise::cluster::address::{Address, IpText};
use slotwise::cluster::node_id::NodeId;
use slotwise::cluster::nodes_conf::{NodeLine, NodesConf};
use slotwise::cluster::{Action, Cluster, LinkId, NodeFlags, Observed, Settings, SlotSet};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const START_MS: i64 = 1_700_000_000_000;
const BUS_PORT: u16 = 16379;
/// Between two machines, milliseconds.
const DELAY_MS: i64 = 1;
const TICK_MS: i64 = 100;
/// Redis's packet without gossip, and one entry of gossip.
const HEADER_BYTES: usize = 2256;
const GOSSIP_BYTES: usize = 104;

/// One end of a connection.
type End = (usize, LinkId);

enum Event {
    Tick(usize),
    Connect { from: End, to: usize },
    Packet { to: End, packet: Arc<[u8]> },
}

struct World {
    nodes: Vec<Cluster>,
    by_ip: HashMap<String, usize>,
    others: HashMap<End, End>,
    /// Sent before the connection was there.
    early: HashMap<End, Vec<Arc<[u8]>>>,
    events: BTreeMap<i64, Vec<Event>>,
    now_ms: i64,
    packets: u64,
    bytes: u64,
}

fn ip(at: usize) -> IpText {
    IpText::new(&format!("10.0.{}.{}", at / 250, at % 250 + 1)).expect("an address")
}

fn id(at: usize) -> NodeId {
    NodeId::parse(format!("{at:040x}").as_bytes()).expect("forty digits")
}

/// What everybody knows: pairs of a primary and its replica.
fn file(count: usize) -> NodesConf {
    let groups = count.div_ceil(2);
    let line = |at: usize| {
        let (group, is_replica) = (at / 2, at % 2 == 1);
        let flags = match is_replica {
            true => NodeFlags::REPLICA,
            false => NodeFlags::PRIMARY,
        };
        let bound = |group: usize| group * SLOTS / groups;
        NodeLine {
            id: id(at),
            address: Address {
                ip: ip(at),
                port: 6379,
                tls_port: 0,
                bus_port: BUS_PORT,
            },
            hostname: String::new(),
            node_name: String::new(),
            shard_id: Some(id(2 * group)),
            flags,
            primary: is_replica.then(|| id(2 * group)),
            ping_sent_ms: 0,
            pong_received_ms: 0,
            config_epoch: group as u64 + 1,
            is_connected: false,
            slots: match is_replica {
                true => SlotSet::default(),
                false => SlotSet::range(bound(group) as Slot, bound(group + 1) as Slot - 1),
            },
            open: Vec::new(),
        }
    };
    NodesConf {
        nodes: (0..count).map(line).collect(),
        current_epoch: groups as u64,
        last_vote_epoch: 0,
    }
}

impl World {
    fn new(count: usize, settings: &Settings) -> Self {
        let mut file = file(count);
        let nodes = (0..count).map(|at| {
            let seed = at as u64 + 1;
            file.nodes[at].flags.put(NodeFlags::MYSELF, true);
            let node = Cluster::restore(settings.clone(), seed, START_MS, &file);
            file.nodes[at].flags.put(NodeFlags::MYSELF, false);
            node
        });
        let mut world = World {
            nodes: nodes.collect(),
            by_ip: (0..count)
                .map(|at| (ip(at).as_str().to_owned(), at))
                .collect(),
            others: HashMap::new(),
            early: HashMap::new(),
            events: BTreeMap::new(),
            now_ms: START_MS,
            packets: 0,
            bytes: 0,
        };
        let spread_ms = settings.timeout_ms() / 2;
        for at in 0..count {
            let delay_ms = at as i64 * spread_ms / count as i64;
            world.after(delay_ms + 1, Event::Tick(at));
        }
        world
    }

    fn after(&mut self, delay_ms: i64, event: Event) {
        let at_ms = self.now_ms + delay_ms;
        self.events.entry(at_ms).or_default().push(event);
    }

    fn run(&mut self, ms: i64) {
        let end_ms = self.now_ms + ms;
        while let Some(first) = self
            .events
            .first_entry()
            .filter(|first| *first.key() <= end_ms)
        {
            self.now_ms = *first.key();
            for event in first.remove() {
                match event {
                    Event::Tick(at) => self.tick(at),
                    Event::Connect { from, to } => self.connect(from, to),
                    Event::Packet { to, packet } => {
                        self.act(to.0, |cluster, now_ms| {
                            cluster.packet(now_ms, to.1, &packet)
                        });
                    }
                }
            }
        }
        self.now_ms = end_ms;
    }

    fn tick(&mut self, at: usize) {
        self.act(at, |cluster, now_ms| {
            cluster.observe(Observed {
                repl_offset: 1,
                is_replicating: cluster.me().is_replica(),
                primary_seen_ms: now_ms,
            });
            cluster.tick(now_ms);
        });
        self.after(TICK_MS, Event::Tick(at));
    }

    fn connect(&mut self, from: End, to: usize) {
        let ips = (ip(from.0), ip(to));
        let accepted = self.nodes[to].link_accepted(self.now_ms, ips.0, ips.1);
        self.others.insert(from, (to, accepted));
        self.others.insert((to, accepted), from);
        for packet in self.early.remove(&from).unwrap_or_default() {
            let to = (to, accepted);
            self.after(DELAY_MS, Event::Packet { to, packet });
        }
        self.act(from.0, |cluster, now_ms| {
            cluster.link_connected(now_ms, from.1, ips.0);
        });
    }

    fn act<T>(&mut self, at: usize, act: impl FnOnce(&mut Cluster, i64) -> T) -> T {
        let now_ms = self.now_ms;
        let result = act(&mut self.nodes[at], now_ms);
        for action in self.nodes[at].end_turn(now_ms).actions {
            match action {
                Action::OpenLink { link, ip, .. } => {
                    let to = self.by_ip[ip.as_str()];
                    let from = (at, link);
                    self.after(DELAY_MS, Event::Connect { from, to });
                }
                Action::Send { link, packet } => {
                    self.packets += 1;
                    self.bytes += packet.len() as u64;
                    match self.others.get(&(at, link)).copied() {
                        Some(to) => self.after(DELAY_MS, Event::Packet { to, packet }),
                        None => self.early.entry((at, link)).or_default().push(packet),
                    }
                }
                Action::CloseLink(link) => {
                    if let Some(other) = self.others.remove(&(at, link)) {
                        self.others.remove(&other);
                        self.nodes[other.0].link_closed(now_ms, other.1);
                    }
                }
                _ => {}
            }
        }
        result
    }
}

fn main() {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    let count = numbers.first().copied().unwrap_or(300).max(6);
    let settings = Settings {
        port: 6379,
        bus_port: BUS_PORT,
        ..Settings::default()
    };
    let period_ms = settings.timeout_ms() / 2;
    let seconds = numbers
        .get(1)
        .copied()
        .unwrap_or((period_ms as usize).div_ceil(1000))
        .max(1);
    let begun_ns = thread_cpu_ns();
    let mut world = World::new(count, &settings);
    world.run(period_ms * 2); // links are made, pings spread out
    let start_s = (thread_cpu_ns() - begun_ns) as f64 / 1e9;
    let down = world.nodes.iter().filter(|node| node.is_down()).count();
    let (packets, bytes, cpu_ns) = (world.packets, world.bytes, thread_cpu_ns());
    world.run(seconds as i64 * 1000);
    let per = (count * seconds) as f64;
    let packets = (world.packets - packets) as f64 / per;
    let bytes = (world.bytes - bytes) as f64 / per;
    let cpu_us = (thread_cpu_ns() - cpu_ns) as f64 / 1000.0 / per;
    let redis = 2.0 * (1.0 + (count - 1) as f64 / (period_ms as f64 / 1000.0));
    let gossip = (count / 10).max(3).min(count - 2);
    let redis_bytes = redis * (HEADER_BYTES + gossip * GOSSIP_BYTES) as f64;
    println!(
        "{count} nodes, time-out {} ms, {seconds} s of virtual time; for each node and second:",
        settings.timeout_ms()
    );
    println!("  packets sent  {packets:>12.1}   by Redis's rules up to {redis:.1}");
    println!("  bytes sent    {bytes:>12.0}   by Redis's rules up to {redis_bytes:.0}");
    println!(
        "  CPU us        {cpu_us:>12.1}   {:.2} us for each packet sent and received",
        cpu_us / packets
    );
    println!("  nodes that see the cluster down: {down}; CPU until then {start_s:.1} s");
}
