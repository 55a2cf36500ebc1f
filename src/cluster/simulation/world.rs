//! Machines and the network between them.
//!
//! A connection delivers in order, as TCP does, each packet after a delay of its own; different connections overtake each
//! other. Where the network is split a connection hangs until it is whole again, or somebody gives up. A crash breaks all
//! connections of a machine and takes what was not on disk.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use super::super::action::{Action, LinkId, Turn};
use super::super::address::{IpText, literal};
use super::super::node_id::NodeId;
use super::super::nodes_conf::NodesConf;
use super::super::packet::{Frame, frame};
use super::super::settings::Settings;
use super::super::slot_map::SlotMap;
use super::super::state::{Cluster, Observed};
use super::checks::{Checks, SAMPLES};
use crate::base::random::Random;
use crate::base::slot::Slot;

/// When the world begins, Unix milliseconds.
pub(super) const START_MS: i64 = 1_700_000_000_000;

/// How often a connection across a split is tried again, microseconds.
const RETRY_US: i64 = 100_000;

/// A machine with a server.
pub(super) struct Machine {
    pub(super) ip: IpText,
    /// `None` while it is down.
    pub(super) cluster: Option<Cluster>,
    /// Counts starts: what was meant for an earlier one is dropped.
    start: u32,
    /// nodes.conf as a crash leaves it for sure, and as it may.
    durable: Option<String>,
    written: Option<String>,
    pub(super) settings: Settings,
    /// Ahead of the world's clock, milliseconds, and how many millionths faster.
    clock_ms: i64,
    drift_ppm: i64,
    /// The part of the network that it is in.
    pub(super) side: u8,
    ends: HashMap<LinkId, (usize, usize)>,
    map: Option<Arc<SlotMap>>,
    /// Which of the slots that are looked at it serves: a bit for each.
    pub(super) serves: u32,
    pub(super) replicates: Option<NodeId>,
    pub(super) offset: u64,
    seen_ms: i64,
    pub(super) paused_until_ms: i64,
}

/// A connection: its two ends are the opener's, 0, and the acceptor's, 1.
struct Connection {
    ends: [Option<(usize, u32, LinkId)>; 2],
    to: (IpText, u16),
    /// Packets on their way to each end.
    queues: [VecDeque<Arc<[u8]>>; 2],
    pumping: [bool; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Tick { machine: usize, start: u32 },
    Connect { connection: usize },
    Pump { connection: usize, end: usize },
    Closed { connection: usize, end: usize },
}

/// What goes wrong by itself while machines work.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// One packet of so many breaks its connection; 0 for none.
    pub(super) break_one_in: u64,
    /// One save of so many ends in a crash, before or behind it; 0 for none.
    pub(super) crash_one_in: u64,
}

/// All of it.
pub(crate) struct World {
    pub(super) machines: Vec<Machine>,
    pub(super) random: Random,
    pub(super) now_us: i64,
    pub(super) faults: Faults,
    pub(super) checks: Checks,
    /// Packets, and their bytes.
    pub(super) sent: (u64, u64),
    connections: Vec<Connection>,
    events: BinaryHeap<Reverse<(i64, u64, Event)>>,
    number: u64,
    delay_us: (i64, i64),
    log: bool,
}

impl World {
    /// Machines that do not know each other.
    pub(super) fn new(seed: u64, machines: usize, settings: &Settings) -> Self {
        let mut world = World {
            machines: Vec::new(),
            random: Random::new(seed),
            now_us: 0,
            faults: Faults::default(),
            checks: Checks::default(),
            sent: (0, 0),
            connections: Vec::new(),
            events: BinaryHeap::new(),
            number: 0,
            delay_us: (100, 20_000),
            log: std::env::var_os("SLOTWISE_SIM_LOG").is_some(),
        };
        for at in 0..machines {
            let ip = format!("10.0.{}.{}", at / 250, at % 250 + 1);
            let settings = settings.clone();
            world.machines.push(Machine {
                ip: literal(ip.as_bytes()).unwrap(),
                cluster: None,
                start: 0,
                durable: None,
                written: None,
                settings,
                clock_ms: world.random.below(400) as i64 - 200,
                drift_ppm: world.random.below(2000) as i64 - 1000,
                side: 0,
                ends: HashMap::new(),
                map: None,
                serves: 0,
                replicates: None,
                offset: 0,
                seen_ms: 0,
                paused_until_ms: 0,
            });
            world.start(at);
        }
        world
    }

    /// The world's time since its beginning.
    pub(super) fn now_ms(&self) -> i64 {
        self.now_us / 1000
    }

    /// A machine's clock.
    pub(super) fn clock_ms(&self, at: usize) -> i64 {
        let machine = &self.machines[at];
        let elapsed_ms = self.now_ms();
        START_MS + machine.clock_ms + elapsed_ms + elapsed_ms * machine.drift_ppm / 1_000_000
    }

    /// Starts a machine that is down, with the file that it has.
    pub(super) fn start(&mut self, at: usize) {
        let (seed, now_ms) = (self.random.next_u64(), self.clock_ms(at));
        let machine = &mut self.machines[at];
        assert!(machine.cluster.is_none());
        machine.start += 1;
        machine.written = machine.durable.clone();
        let settings = machine.settings.clone();
        let cluster = match &machine.durable {
            None => Cluster::fresh(settings, seed, now_ms),
            Some(text) => {
                let conf = NodesConf::parse(text.as_bytes(), false);
                let (conf, _) = conf.expect("a file can be read").expect("it is not empty");
                Cluster::restore(settings, seed, now_ms, &conf)
            }
        };
        let map = cluster.shared_slot_map();
        machine.cluster = Some(cluster);
        machine.replicates = None;
        machine.seen_ms = now_ms;
        machine.paused_until_ms = 0;
        let start = machine.start;
        self.take_map(at, Some(map));
        self.say(at, "starts");
        self.act_on(at, |_, _| ());
        self.after(1000 * (at as i64 % 97), Event::Tick { machine: at, start });
    }

    /// Crashes a machine: saves that were not durable may be lost.
    pub(super) fn crash(&mut self, at: usize) {
        let keeps = self.random.below(2) == 0;
        let machine = &mut self.machines[at];
        if machine.cluster.take().is_none() {
            return;
        }
        if keeps {
            machine.durable = machine.written.clone();
        }
        let ends: Vec<(usize, usize)> = machine.ends.drain().map(|(_, end)| end).collect();
        let mut ends = ends;
        ends.sort_unstable();
        for (connection, end) in ends {
            self.hang_up(connection, end);
        }
        self.take_map(at, None);
        self.say(at, "crashes");
    }

    /// Takes a crashed machine's file away: it will be a stranger.
    pub(super) fn lose_file(&mut self, at: usize) {
        assert!(self.machines[at].cluster.is_none());
        self.machines[at].durable = None;
        self.machines[at].offset = 0;
    }

    /// Lets the world go on for so long.
    pub(super) fn run_ms(&mut self, ms: i64) {
        let end_us = self.now_us + ms * 1000;
        while let Some(Reverse((at_us, _, _))) = self.events.peek()
            && *at_us <= end_us
        {
            self.step();
        }
        self.now_us = end_us;
    }

    /// Lets it go on until `done`, for so long at most; whether it came to that.
    pub(super) fn run_until(&mut self, ms_max: i64, done: impl Fn(&World) -> bool) -> bool {
        let end_us = self.now_us + ms_max * 1000;
        while !done(self) {
            match self.events.peek() {
                Some(Reverse((at_us, _, _))) if *at_us <= end_us => self.step(),
                _ => return false,
            }
        }
        true
    }

    fn step(&mut self) {
        let Some(Reverse((at_us, _, event))) = self.events.pop() else {
            return;
        };
        self.now_us = self.now_us.max(at_us);
        match event {
            Event::Tick { machine, start } => self.on_tick(machine, start),
            Event::Connect { connection } => self.on_connect(connection),
            Event::Pump { connection, end } => self.on_pump(connection, end),
            Event::Closed { connection, end } => self.on_closed(connection, end),
        }
        Checks::after_event(self);
    }

    fn after(&mut self, delay_us: i64, event: Event) {
        self.number += 1;
        let at_us = self.now_us + delay_us;
        self.events.push(Reverse((at_us, self.number, event)));
    }

    fn delay(&mut self) -> i64 {
        let (least, most) = self.delay_us;
        // Mostly quick, sometimes slow.
        let spread = (most - least) as u64;
        let spread = if self.random.below(10) == 0 {
            spread
        } else {
            spread / 20
        };
        least + self.random.below(spread.max(1)) as i64
    }

    fn on_tick(&mut self, at: usize, start: u32) {
        if self.machines[at].start != start || self.machines[at].cluster.is_none() {
            return;
        }
        self.replicate(at);
        self.act_on(at, |cluster, now_ms| cluster.tick(now_ms));
        let delay_us = 100_000 + self.random.below(2000) as i64;
        self.after(delay_us, Event::Tick { machine: at, start });
    }

    /// A primary that serves writes some, a replica that reaches its primary has them.
    fn replicate(&mut self, at: usize) {
        let now_ms = self.clock_ms(at);
        let machine = &self.machines[at];
        let Some(cluster) = &machine.cluster else {
            return;
        };
        if cluster.me().is_primary() {
            if !cluster.is_down()
                && cluster.me().slot_count > 0
                && now_ms >= machine.paused_until_ms
            {
                self.machines[at].offset += 10;
            }
            return;
        }
        let from = machine.replicates.and_then(|id| self.find(id));
        let from = from.filter(|from| self.reaches(at, *from));
        let primary = from.map(|from| &self.machines[from]);
        if let Some(primary) = primary
            && primary
                .cluster
                .as_ref()
                .is_some_and(|cluster| cluster.me().is_primary())
        {
            let offset = primary.offset;
            // One of four ticks finds a replica that lags.
            if self.random.below(4) > 0 {
                self.machines[at].offset = offset;
            }
            self.machines[at].seen_ms = now_ms;
        }
    }

    /// The running machine with that name.
    pub(super) fn find(&self, id: NodeId) -> Option<usize> {
        self.machines.iter().position(|machine| {
            machine
                .cluster
                .as_ref()
                .is_some_and(|cluster| cluster.my_id() == id)
        })
    }

    /// Whether packets go from one to the other.
    pub(super) fn reaches(&self, one: usize, other: usize) -> bool {
        self.machines[one].side == self.machines[other].side
    }

    /// Has a running machine do something, and carries out what comes of it.
    pub(super) fn act_on<T>(
        &mut self,
        at: usize,
        act: impl FnOnce(&mut Cluster, i64) -> T,
    ) -> Option<T> {
        let now_ms = self.clock_ms(at);
        let machine = &mut self.machines[at];
        let observed = Observed {
            repl_offset: machine.offset,
            is_replicating: machine.replicates.is_some(),
            primary_seen_ms: machine.seen_ms,
        };
        let cluster = machine.cluster.as_mut()?;
        cluster.observe(observed);
        let result = act(cluster, now_ms);
        let turn = cluster.end_turn(now_ms);
        self.carry_out(at, turn);
        Some(result)
    }

    fn carry_out(&mut self, at: usize, turn: Turn) {
        if let Some(save) = turn.save {
            let crashes =
                self.faults.crash_one_in > 0 && self.random.below(self.faults.crash_one_in) == 0;
            if crashes && self.random.below(2) == 0 {
                return self.crash(at);
            }
            let machine = &mut self.machines[at];
            if save.is_durable {
                machine.durable = Some(save.text.clone());
            }
            machine.written = Some(save.text);
            if crashes {
                return self.crash(at);
            }
        }
        for action in turn.actions {
            self.carry_out_one(at, action);
        }
    }

    fn carry_out_one(&mut self, at: usize, action: Action) {
        match action {
            Action::OpenLink { link, ip, port } => {
                let connection = self.connections.len();
                self.connections.push(Connection {
                    ends: [Some((at, self.machines[at].start, link)), None],
                    to: (ip, port),
                    queues: Default::default(),
                    pumping: [false; 2],
                });
                self.machines[at].ends.insert(link, (connection, 0));
                let delay_us = self.delay();
                self.after(delay_us, Event::Connect { connection });
            }
            Action::CloseLink(link) => {
                if let Some((connection, end)) = self.machines[at].ends.remove(&link) {
                    self.hang_up(connection, end);
                }
            }
            Action::Send { link, packet } => {
                assert_eq!(frame(&packet), Ok(Frame::Whole(packet.len())));
                self.sent = (self.sent.0 + 1, self.sent.1 + packet.len() as u64);
                let Some((connection, end)) = self.machines[at].ends.get(&link).copied() else {
                    panic!("a packet for a link that is not there");
                };
                let to = self.connections[connection].ends[1 - end];
                let to = to.and_then(|(to, ..)| self.machines[to].cluster.as_ref());
                let to = to.map(Cluster::my_id);
                self.checks.on_sent(&packet, to);
                self.connections[connection].queues[1 - end].push_back(packet);
                self.pump(connection, 1 - end);
            }
            Action::Replicate { id, .. } => {
                self.machines[at].replicates = Some(id);
                self.say(at, "replicates");
            }
            Action::StopReplicating => {
                self.machines[at].replicates = None;
                self.say(at, "is a primary");
            }
            Action::PauseWrites { until_ms } => self.machines[at].paused_until_ms = until_ms,
            Action::ResumeWrites => self.machines[at].paused_until_ms = 0,
            Action::PublishMap(map) => self.take_map(at, Some(map)),
            Action::DropAllKeys => self.machines[at].offset = 0,
            Action::Log(_, text) => self.say(at, &text),
            Action::Deliver { .. } | Action::DropKeys(_) | Action::DropSubscribers(_) => {}
        }
    }

    fn take_map(&mut self, at: usize, map: Option<Arc<SlotMap>>) {
        let machine = &mut self.machines[at];
        machine.serves = 0;
        for (bit, slot) in SAMPLES.iter().enumerate() {
            let serves = map.as_ref().is_some_and(|map| map.serves(*slot));
            machine.serves |= u32::from(serves) << bit;
        }
        machine.map = map;
    }

    fn say(&self, at: usize, text: &str) {
        if self.log {
            eprintln!("{:>9.3} {at:>3} {text}", self.now_us as f64 / 1e6);
        }
    }

    fn pump(&mut self, connection: usize, end: usize) {
        let of = &mut self.connections[connection];
        if !of.pumping[end] && of.ends[1].is_some() && !of.queues[end].is_empty() {
            of.pumping[end] = true;
            let delay_us = self.delay();
            self.after(delay_us, Event::Pump { connection, end });
        }
    }

    fn on_connect(&mut self, connection: usize) {
        let of = &self.connections[connection];
        let (Some((opener, start, link)), (ip, port)) = (of.ends[0], of.to) else {
            return;
        };
        let is_target = |machine: &Machine| machine.ip == ip && machine.settings.bus_port == port;
        let target = self.machines.iter().position(is_target);
        if let Some(target) = target
            && !self.reaches(opener, target)
        {
            return self.after(RETRY_US, Event::Connect { connection });
        }
        debug_assert_eq!(self.machines[opener].start, start);
        let Some(target) = target.filter(|at| self.machines[*at].cluster.is_some()) else {
            // Refused.
            return self.on_closed(connection, 0);
        };
        let (from_ip, to_ip) = (self.machines[opener].ip, self.machines[target].ip);
        let accepted = self.act_on(target, |cluster, now_ms| {
            cluster.link_accepted(now_ms, from_ip, to_ip)
        });
        let Some(accepted) = accepted.filter(|_| self.machines[target].cluster.is_some()) else {
            return self.on_closed(connection, 0);
        };
        let start = self.machines[target].start;
        self.connections[connection].ends[1] = Some((target, start, accepted));
        self.machines[target].ends.insert(accepted, (connection, 1));
        self.act_on(opener, |cluster, now_ms| {
            cluster.link_connected(now_ms, link, from_ip)
        });
        self.pump(connection, 1);
    }

    fn on_pump(&mut self, connection: usize, end: usize) {
        let of = &mut self.connections[connection];
        of.pumping[end] = false;
        let (Some((to, _, link)), Some((from, ..))) = (of.ends[end], of.ends[1 - end]) else {
            return;
        };
        if !self.reaches(from, to) {
            self.connections[connection].pumping[end] = true;
            return self.after(RETRY_US, Event::Pump { connection, end });
        }
        let breaks = self.faults.break_one_in;
        if breaks > 0 && self.random.below(breaks) == 0 {
            self.on_closed(connection, 0);
            return self.on_closed(connection, 1);
        }
        let of = &mut self.connections[connection];
        if let Some(packet) = of.queues[end].pop_front() {
            self.act_on(to, |cluster, now_ms| cluster.packet(now_ms, link, &packet));
        }
        self.pump(connection, end);
    }

    /// One end has closed; the other will hear of it.
    fn hang_up(&mut self, connection: usize, end: usize) {
        let of = &mut self.connections[connection];
        of.ends[end] = None;
        for queue in &mut of.queues {
            queue.clear();
        }
        if of.ends[1 - end].is_some() {
            let delay_us = self.delay();
            self.after(
                delay_us,
                Event::Closed {
                    connection,
                    end: 1 - end,
                },
            );
        }
    }

    fn on_closed(&mut self, connection: usize, end: usize) {
        let of = &mut self.connections[connection];
        let Some((at, _, link)) = of.ends[end].take() else {
            return;
        };
        for queue in &mut of.queues {
            queue.clear();
        }
        self.machines[at].ends.remove(&link);
        self.act_on(at, |cluster, now_ms| cluster.link_closed(now_ms, link));
    }

    /// Breaks a connection at random.
    pub(super) fn break_some(&mut self) {
        let open: Vec<usize> = (0..self.connections.len())
            .filter(|at| self.connections[*at].ends[1].is_some())
            .collect();
        if !open.is_empty() {
            let connection = open[self.random.below(open.len() as u64) as usize];
            self.on_closed(connection, 0);
            self.on_closed(connection, 1);
        }
    }

    /// A machine serves writes of this slot now.
    pub(super) fn accepts_writes(&self, at: usize, slot: Slot) -> bool {
        let machine = &self.machines[at];
        machine.map.as_ref().is_some_and(|map| map.serves(slot))
            && self.clock_ms(at) >= machine.paused_until_ms
    }

    /// Machines that run.
    pub(super) fn running(&self) -> impl Iterator<Item = (usize, &Cluster)> {
        let machines = self.machines.iter().enumerate();
        machines.filter_map(|(at, machine)| Some((at, machine.cluster.as_ref()?)))
    }
}
