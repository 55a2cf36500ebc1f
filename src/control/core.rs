//! The control core's own loop: accepted connections, questions from the cores, signals, the clock.
//!
//! Like a data core it is the only task of its executor and sleeps in its own ring, which the sockets, the other cores and a
//! timer wake. It must not sleep in the executor: glommio parks while tasks are due if the thread was off its processor for
//! longer than a preemption period just before it ran them, and then nothing ever wakes it.

use std::collections::{HashMap, VecDeque};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::acl::Users;
use crate::base::allocator::Allocation;
use crate::base::clock::{ticks, unix_ms};
use crate::base::random::Random;
use crate::base::sys;
use crate::config::{Changed, Config, SetContext, SetError};
use crate::engine::SharedLinks;
use crate::mesh::message::{CoreAnswer, CoreAsk, CoreMessage};
use crate::observe::{CoreCounters, Observatory};
use crate::persistence::aof::manifest::Durability;
use crate::persistence::aof::rewrite::durability;
use crate::replication::{History, Replid};
use crate::resp::ErrorReply;
use crate::ring::{Operation, Ring};

use super::cluster::{Bus, ClusterBoot};
use super::heartbeat::Heartbeat;
use super::listen::Listener;
use super::oom::OomScore;
use super::replication::{Copies, Failover, Replicas, Replication, Waits};
use super::stopping::{ShutdownOrder, Waiting};
use super::title::ProcessTitle;

/// How often signals and slow duties are looked after.
pub(super) const CRON: Duration = Duration::from_millis(100);

/// Messages dealt with in one turn: the bus does not wait for thousands of clients that ask for the map at once.
const MAIL_MAX: usize = 256;

/// Everything the control core is made of at start.
pub struct ControlParts {
    /// How it sees the cores.
    pub links: Arc<SharedLinks>,
    /// Counters.
    pub observatory: Arc<Observatory>,
    /// The configuration.
    pub config: Arc<Config>,
    /// All users.
    pub users: Arc<Users>,
    /// The process's score for the kernel.
    pub oom_score: OomScore,
    /// What `ps` shows of it.
    pub title: Option<ProcessTitle>,
    /// Sockets to accept from.
    pub listeners: Vec<Listener>,
    /// The server is to stop without a snapshot.
    pub terminate: Arc<AtomicBool>,
    /// Set by SIGTERM and SIGINT.
    pub signals: [Arc<AtomicBool>; 2],
    /// The file the configuration came from.
    pub config_file: Option<std::path::PathBuf>,
    /// This node's part in its cluster, in cluster mode.
    pub cluster: Option<ClusterBoot>,
}

/// The number of the question whose answer ends the server.
pub(super) const FINAL_SAVE: u64 = u64::MAX;
/// The number under which this core hears that all others hold back what they are to.
const PAUSE_SPREAD: u64 = u64::MAX - 1;

/// A question under way to all cores.
struct Round {
    missing: usize,
    /// Who is answered when all have.
    asker: Option<(u16, u64)>,
    /// What the answer is.
    answer: CoreAnswer,
}

/// The control core.
pub struct Control {
    pub(super) links: Arc<SharedLinks>,
    pub(super) observatory: Arc<Observatory>,
    pub(super) config: Arc<Config>,
    pub(super) users: Arc<Users>,
    pub(super) last_client_id: u64,
    pub(super) ring: Ring,
    /// The token of an accept is the listener's place here; places are not used again.
    pub(super) listeners: Vec<Option<Listener>>,
    terminate: Arc<AtomicBool>,
    pub(super) signals: [Arc<AtomicBool>; 2],
    allocation: Allocation,
    /// What this thread had allocated before it served: no part of `used_memory`.
    held_before: u64,
    /// Who waits for the stop, while the last snapshot is written.
    pub(super) stopping_for: Option<Vec<(u16, u64)>>,
    /// A stop that waits for replicas.
    pub(super) waiting_to_stop: Option<Waiting>,
    config_file: Option<std::path::PathBuf>,
    /// Messages that have come and wait for the next turn.
    mail: VecDeque<CoreMessage>,
    rounds: HashMap<u64, Round>,
    next_round: u64,
    monitors: Vec<(u16, u64)>,
    oom_score: OomScore,
    title: Option<ProcessTitle>,
    /// CLIENT PAUSE: until when (Unix milliseconds), and whether it is for writes only.
    pause: (i64, bool),
    /// How often the cores have been told what to hold back, and have not all said so.
    pauses_under_way: usize,
    pub(super) stopping: bool,
    next_look_ms: i64,
    pub(super) replication: Replication,
    pub(super) replicas: Replicas,
    pub(super) copies: Copies,
    pub(super) waits: Waits,
    pub(super) failover: Option<Failover>,
    /// Whether the shards' cores are alive.
    pub(super) heartbeat: Heartbeat,
    /// The bus, in cluster mode.
    pub(super) bus: Option<Box<Bus>>,
    /// Until when a manual failover within the cluster holds writes back, Unix milliseconds.
    pub(super) bus_pause_until_ms: i64,
    /// Chance, for names of histories.
    pub(super) random: Random,
}

impl Control {
    /// Builds the control core on its own thread.
    pub fn new(parts: ControlParts) -> std::io::Result<Self> {
        let ring = Ring::new()?;
        crate::base::sys::name_thread("control");
        parts.links.control().set_wake(ring.wake_handle());
        let id = Replid::parse(parts.observatory.about.replid.as_bytes()).unwrap_or(Replid::NONE);
        let replication = Replication::new(History::new(id), parts.links.shards());
        let mut control = Control {
            links: parts.links,
            observatory: parts.observatory,
            config: parts.config,
            users: parts.users,
            last_client_id: 0,
            ring,
            listeners: Vec::new(),
            terminate: parts.terminate,
            signals: parts.signals,
            stopping_for: None,
            waiting_to_stop: None,
            config_file: parts.config_file,
            mail: VecDeque::new(),
            rounds: HashMap::new(),
            next_round: 0,
            monitors: Vec::new(),
            oom_score: parts.oom_score,
            title: parts.title,
            pause: (0, false),
            pauses_under_way: 0,
            allocation: Allocation::of_this_thread(),
            held_before: 0,
            stopping: false,
            next_look_ms: 0,
            replication,
            replicas: Replicas::default(),
            copies: Copies::default(),
            waits: Waits::default(),
            failover: None,
            heartbeat: Heartbeat::default(),
            bus: None,
            bus_pause_until_ms: 0,
            random: Random::new(sys::entropy()),
        };
        let cluster = parts.cluster;
        control.begin_role();
        if let Some(cluster) = cluster {
            control.begin_bus(cluster);
        }
        for listener in parts.listeners {
            control.accept_from(listener);
        }
        Ok(control)
    }

    pub(super) fn counters(&self) -> &CoreCounters {
        self.observatory.core(self.links.shards())
    }

    /// Serves until the server stops.
    pub async fn run(mut self) {
        self.held_before = self.allocation.balance();
        while !self.stopping {
            self.turn();
            self.replication.breathe();
            self.links.control().sleep.going_to_sleep();
            let is_wanted = !self.mail.is_empty()
                || self.links.control().has_mail()
                || self.replication.has_work();
            let left_ms = self.next_look_ms.saturating_sub(unix_ms());
            let limit = Duration::from_millis(left_ms.max(1) as u64).min(CRON);
            self.ring.turn((!is_wanted).then_some(limit));
            self.links.control().sleep.awake();
        }
    }

    fn turn(&mut self) {
        self.ring.turn(None);
        let mut completions = Vec::new();
        self.ring.completions(&mut completions);
        for mut completion in completions {
            if self.on_replica_completion(&mut completion)
                || self.on_bus_completion(&mut completion)
                || completion.operation != Operation::Accept
            {
                continue;
            }
            // None once it has been closed: what it still accepted is dropped.
            let Some(Some(listener)) = self.listeners.get(completion.token as usize) else {
                continue;
            };
            let (fd, unix) = (listener.fd.as_raw_fd(), listener.unix);
            if let Some(connection) = completion.connection {
                self.on_accepted(connection, unix);
            } else {
                log::warn!(
                    "Accepting client connection: {}",
                    std::io::Error::from_raw_os_error(-completion.result)
                );
            }
            if !completion.more {
                self.ring.accept(fd, completion.token);
            }
        }
        if self.links.control().has_mail() {
            self.mail.extend(self.links.control().take_mail());
        }
        let portion = self.mail.len().min(MAIL_MAX);
        for message in self.mail.drain(..portion).collect::<Vec<_>>() {
            self.on_message(message);
        }
        self.drain_stream_on();
        self.trim_backlog_on();
        let now = unix_ms();
        if now >= self.next_look_ms {
            let begun = ticks();
            self.next_look_ms = now + CRON.as_millis() as i64;
            self.observatory.look(now);
            self.mind_cores();
            self.observatory.snapshots.set_key_delay(&self.config);
            self.link_cron();
            self.replicas_cron(now);
            self.bus_cron(now);
            let ns = self.observatory.scale.ns(ticks().wrapping_sub(begun));
            self.observatory.core(self.links.shards()).cron_ns.add(ns);
        }
        self.bus_turn();
        self.replicas_turn();
        let held = self.allocation.balance().wrapping_sub(self.held_before);
        self.counters().allocated.set(held);
        if self.terminate.load(Ordering::Relaxed) {
            self.stop();
        }
        self.mind_signals();
        self.ring.turn(None);
    }

    fn on_message(&mut self, message: CoreMessage) {
        match message {
            CoreMessage::Ask { from, ticket, ask } => self.on_ask(from, ticket, ask),
            CoreMessage::Answer {
                ticket: FINAL_SAVE,
                answer,
            } => self.on_final_save(&answer),
            CoreMessage::Answer {
                ticket: PAUSE_SPREAD,
                ..
            } => {
                self.pauses_under_way -= 1;
                self.on_acknowledged(); // who waits for writes to stop may go on
            }
            CoreMessage::Answer { ticket, answer } => {
                if !self.on_bus_answer(ticket, &answer) {
                    self.on_answer(ticket);
                }
            }
            // As in Redis: neither the bus nor replication hears from a server that sleeps.
            CoreMessage::Stall { until } => {
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
            }
            CoreMessage::BusPublish(message) => self.publish_on_bus(&message),
            CoreMessage::Flows(flows) => self.on_flows(flows),
            CoreMessage::Restored {
                id,
                offset,
                db,
                ends,
                begun,
            } => self.restore_history((id, offset, db), *ends, begun),
            CoreMessage::Link(link, event) => self.on_link(link, event),
            CoreMessage::Applied(link, bytes) => self.on_applied(link, &bytes),
            CoreMessage::FeedEnded {
                link,
                core,
                executed,
                db,
                broken,
            } => self.on_feed_ended(link, core, executed, db, broken),
            CoreMessage::PiecesExecuted {
                link,
                core,
                executed,
                taken,
                db,
            } => self.on_pieces_executed(link, core, (executed, taken, db)),
            CoreMessage::WantsRest(link, wants) => self.on_wants_rest(link, wants),
            other => {
                if self.on_replica_message(other).is_some() {
                    log::error!("a message for another core has come to the control core");
                }
            }
        }
    }

    fn on_ask(&mut self, from: u16, ticket: u64, ask: CoreAsk) {
        match ask {
            CoreAsk::ConfigSet { pairs, local } => {
                let pairs: Vec<(&[u8], &[u8])> = pairs
                    .iter()
                    .map(|(name, value)| (&name[..], &value[..]))
                    .collect();
                let snapshots = &self.observatory.snapshots;
                let context = SetContext {
                    client_is_local: local,
                    loading: snapshots.loading.load(Ordering::Relaxed)
                        || snapshots.loading_beside.load(Ordering::Relaxed),
                };
                let changed = self.config.set(&pairs, context);
                let changed = changed.and_then(|changed| self.carry_out(changed));
                let changed = changed.and_then(|config| self.with_oom_score(config));
                match changed {
                    Ok(config) => {
                        let config = Arc::new(config);
                        let old = std::mem::replace(&mut self.config, config);
                        self.promise_less(&old);
                        if old.requirepass != self.config.requirepass {
                            self.take_required_password();
                        }
                        super::logging::set_level(self.config.loglevel);
                        if let Some(title) = &mut self.title {
                            title.show(&self.config);
                        }
                        self.publish_replicas();
                        self.bus_configured();
                        self.ask_all(
                            CoreAsk::Configure(self.config.clone()),
                            Some((from, ticket)),
                        );
                    }
                    Err(error) => {
                        let error = ErrorReply::from(error);
                        self.answer(from, ticket, CoreAnswer::Failed(error.as_bytes().to_vec()));
                    }
                }
            }
            CoreAsk::ChangeUsers { change, asker } => {
                self.change_users((from, ticket), change, asker);
            }
            CoreAsk::ConfigRewrite { all } => {
                let answer = match self.rewrite(all) {
                    Ok(()) => CoreAnswer::Done,
                    Err(text) => CoreAnswer::Failed(text.into_bytes()),
                };
                self.answer(from, ticket, answer);
            }
            CoreAsk::SetPause {
                until_ms,
                writes_only,
                waits,
            } => {
                self.pause_for(until_ms, writes_only);
                let (until_ms, writes_only) = self.pause_in_force();
                self.ask_all(
                    CoreAsk::Pause {
                        until_ms,
                        writes_only,
                        waits,
                    },
                    Some((from, ticket)),
                );
            }
            CoreAsk::SetMonitor { core, client, on } => {
                self.monitors.retain(|monitor| *monitor != (core, client));
                if on {
                    self.monitors.push((core, client));
                }
                let asker = (ticket != 0).then_some((from, ticket));
                self.ask_all(CoreAsk::Monitors(Arc::new(self.monitors.clone())), asker);
            }
            CoreAsk::Cluster(ask) => self.on_cluster_ask((from, ticket), *ask),
            CoreAsk::ReplicaOf {
                primary,
                waits,
                client,
            } => self.replica_of((from, ticket), primary, waits, &client),
            CoreAsk::AwaitRole => self.await_role((from, ticket)),
            CoreAsk::AbortShutdown => {
                let answer = match self.abort_shutdown() {
                    true => CoreAnswer::Done,
                    false => CoreAnswer::Failed(ErrorReply::NO_SHUTDOWN.as_bytes().to_vec()),
                };
                self.answer(from, ticket, answer);
            }
            CoreAsk::Shutdown { save, now, force } => {
                let order = ShutdownOrder { save, now, force };
                self.shut_down(order, Some((from, ticket)));
            }
            CoreAsk::Replication { note } => {
                let report = Box::new(self.report());
                self.answer(from, ticket, CoreAnswer::Replication { report, note });
            }
            CoreAsk::CountReplicas { on_disk } => {
                let replicas = self.count_replicas(on_disk);
                self.answer(from, ticket, CoreAnswer::Count(replicas));
            }
            CoreAsk::DebugStream(command) => {
                self.debug_stream(command);
                self.answer(from, ticket, CoreAnswer::Done);
            }
            CoreAsk::Save {
                background,
                schedule,
                ..
            } => {
                let first = self.links.core(0);
                first.mail(CoreMessage::Ask {
                    from,
                    ticket,
                    ask: CoreAsk::Save {
                        background,
                        schedule,
                        followed: self.followed_place(),
                    },
                });
                first.wake_by_event();
            }
            CoreAsk::Failover(order) => {
                let answer = match self.order_failover(order) {
                    Ok(()) => CoreAnswer::Done,
                    Err(error) => CoreAnswer::Failed(error.as_bytes().to_vec()),
                };
                self.answer(from, ticket, answer);
            }
            CoreAsk::ListClients(filter) => {
                let mut lines = Vec::new();
                self.list_replicas(&filter, &mut lines);
                self.answer(from, ticket, CoreAnswer::Lines(lines));
            }
            CoreAsk::KillClients(filter) => {
                let killed = self.kill_replicas(&filter);
                self.answer(from, ticket, CoreAnswer::Count(killed));
            }
            other => {
                log::error!("a question for the cores reached the control core: {other:?}");
                self.answer(from, ticket, CoreAnswer::Done);
            }
        }
    }

    /// Sets the process's score if `config` asks for another one than now.
    fn with_oom_score(&mut self, config: Config) -> Result<Config, SetError> {
        let asks = |config: &Config| (config.oom_score_adj, config.oom_score_adj_values);
        if asks(&config) != asks(&self.config)
            && let Err(error) = self.oom_score.apply(&config, self.is_replica())
        {
            log::warn!("Unable to write oom_score_adj: {error}");
            return Err(SetError::failed(
                "oom-score-adj",
                "Failed to apply new oom_score_adj configuration, check server logs.",
            ));
        }
        Ok(config)
    }

    /// The role has changed, and the score with it.
    pub(super) fn renew_oom_score(&mut self) {
        let is_replica = self.is_replica();
        if let Err(error) = self.oom_score.apply(&self.config, is_replica) {
            log::warn!("Unable to write oom_score_adj: {error}");
        }
    }

    /// What a CLIENT PAUSE comes to beside the one under way: the later end and the stricter kind (7.2). Zero ends all.
    fn pause_for(&mut self, until_ms: i64, writes_only: bool) {
        let (old_until_ms, old_writes_only) = self.pause;
        self.pause = if until_ms == 0 || old_until_ms <= unix_ms() {
            (until_ms, writes_only)
        } else {
            (until_ms.max(old_until_ms), writes_only && old_writes_only)
        };
    }

    /// CLIENT PAUSE, and the pause of a manual failover.
    pub(super) fn pause_asked_for(&self) -> (i64, bool) {
        let (until_ms, writes_only) = self.pause;
        let failover_ms = self.bus_pause_until_ms;
        match (until_ms > unix_ms(), failover_ms > unix_ms()) {
            (_, false) => (until_ms, writes_only),
            (false, true) => (failover_ms, true),
            (true, true) => (until_ms.max(failover_ms), writes_only),
        }
    }

    /// What is held back now: by CLIENT PAUSE, and writes while this server hands over or stops.
    pub(super) fn pause_in_force(&self) -> (i64, bool) {
        let (until_ms, writes_only) = self.pause_asked_for();
        if self.failover.is_none() && !self.stop_waits() {
            return (until_ms, writes_only);
        }
        (i64::MAX, writes_only || until_ms <= unix_ms())
    }

    /// Tells the cores what is held back.
    pub(super) fn spread_pause(&mut self) {
        let (until_ms, writes_only) = self.pause_in_force();
        let ask = CoreAsk::Pause {
            until_ms,
            writes_only,
            waits: true,
        };
        self.pauses_under_way += 1;
        self.ask_all(ask, Some((self.links.shards() as u16, PAUSE_SPREAD)));
    }

    /// Whether some core may not know yet.
    pub(super) fn is_spreading_pause(&self) -> bool {
        self.pauses_under_way > 0
    }

    fn rewrite(&self, all: bool) -> Result<(), String> {
        let Some(path) = &self.config_file else {
            return Err("ERR The server is running without a config file".to_owned());
        };
        let old = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(format!("ERR Rewriting config file: {error}")),
        };
        let text = crate::config::rewrite(&old, &self.config, &self.user_lines(), all);
        crate::base::sys::replace_file(path, &text)
            .map_err(|error| format!("ERR Rewriting config file: {error}"))
    }

    /// Asks every core; `asker` is answered when all have. The number of the question.
    pub(super) fn ask_all(&mut self, ask: CoreAsk, asker: Option<(u16, u64)>) -> u64 {
        self.ask_all_then(ask, asker, CoreAnswer::Done)
    }

    /// Asks every core; `asker` is given `answer` when all have answered.
    pub(super) fn ask_all_then(
        &mut self,
        ask: CoreAsk,
        asker: Option<(u16, u64)>,
        answer: CoreAnswer,
    ) -> u64 {
        self.next_round += 1;
        self.rounds.insert(
            self.next_round,
            Round {
                missing: self.links.shards(),
                asker,
                answer,
            },
        );
        for core in self.links.shard_cores() {
            core.mail(CoreMessage::Ask {
                from: self.links.shards() as u16,
                ticket: self.next_round,
                ask: ask.clone(),
            });
            core.wake_by_event();
        }
        self.next_round
    }

    /// Gives `asker` an answer when all cores have answered this question, which nobody else waits for.
    pub(super) fn answer_after(&mut self, round: u64, asker: (u16, u64), answer: CoreAnswer) {
        match self.rounds.get_mut(&round) {
            Some(of) => (of.asker, of.answer) = (Some(asker), answer),
            None => self.answer(asker.0, asker.1, answer),
        }
    }

    fn on_answer(&mut self, round: u64) {
        let Some(of) = self.rounds.get_mut(&round) else {
            return;
        };
        of.missing -= 1;
        if of.missing > 0 {
            return;
        }
        match self.rounds.remove(&round) {
            Some(Round {
                asker: Some((core, ticket)),
                answer,
                ..
            }) => self.answer(core, ticket, answer),
            _ => self.on_round_ended(round),
        }
    }

    pub(super) fn answer(&mut self, to: u16, ticket: u64, answer: CoreAnswer) {
        let core = self.links.core(usize::from(to));
        core.mail(CoreMessage::Answer { ticket, answer });
        core.wake_by_event();
    }

    /// Answers are about to stand on less than the disk: the manifest says so first, for a start after a loss of power.
    fn promise_less(&self, old: &Config) {
        let log = &self.observatory.snapshots.log;
        let (before, now) = (durability(old), durability(&self.config));
        log.always
            .store(now == Durability::Always, Ordering::Relaxed);
        if before == Durability::Always
            && now != before
            && let Some(set) = &mut *log.lock_set()
            && let Err(error) = set.set_durability(Durability::Relaxed)
        {
            log::warn!("Can't note in the manifest that appendfsync is less than always: {error}");
        }
    }
}

impl Control {
    /// Does what a change of configuration asks of the process, before the new values are in force. What cannot be done
    /// refuses the whole change, and nothing of it stays.
    fn carry_out(&mut self, changed: Changed) -> Result<Config, SetError> {
        for warning in &changed.warnings {
            log::warn!("{warning}");
        }
        let directory = std::env::current_dir();
        let addresses = changed
            .names
            .iter()
            .find(|name| matches!(**name, "port" | "bind"))
            .copied();
        let config = carry_out(changed)?;
        let Some(name) = addresses else {
            return Ok(config);
        };
        if let Err(error) = self.listen_anew(&config) {
            log::warn!("{error}");
            if let Ok(directory) = directory {
                let _ = std::env::set_current_dir(directory); // it was ours a moment ago
            }
            let reason = match name {
                "port" => "Unable to listen on this port. Check server logs.",
                _ => "Failed to bind to specified addresses.",
            };
            return Err(SetError::failed(name, reason));
        }
        Ok(config)
    }
}

/// What a change asks of the process but for the addresses.
fn carry_out(changed: Changed) -> Result<Config, SetError> {
    let mut config = changed.config;
    for name in changed.names {
        match name {
            "maxclients" => {
                let wanted = u64::from(config.maxclients) + sys::RESERVED_FDS;
                if sys::raise_open_files(wanted) < wanted {
                    return Err(SetError::failed(
                        name,
                        "the operating system is not able to handle the specified number of clients",
                    ));
                }
            }
            "dir" => {
                std::env::set_current_dir(&config.dir)
                    .map_err(|error| SetError::failed(name, error.to_string()))?;
                if let Ok(directory) = std::env::current_dir() {
                    config = config.with_directory(directory.as_os_str().as_encoded_bytes());
                }
            }
            _ => {}
        }
    }
    Ok(config)
}
