//! The control core's own loop: accepted connections, questions from the cores, signals, the clock.
//!
//! It runs on a glommio executor like the others and sleeps by awaiting its event descriptor, which its ring, the other
//! cores and the timer signal; so other tasks of this executor (links of replication and of the cluster) run beside it.

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::acl::Users;
use crate::base::clock::unix_ms;
use crate::base::random::Random;
use crate::base::sys;
use crate::config::{Changed, Config, SetContext, SetError};
use crate::engine::SharedLinks;
use crate::mesh::message::{CoreAnswer, CoreAsk, CoreMessage};
use crate::observe::{CoreCounters, Observatory};
use crate::persistence::aof::manifest::Durability;
use crate::persistence::aof::rewrite::durability;
use crate::persistence::status::Purpose;
use crate::replication::{History, Replid};
use crate::resp::ErrorReply;
use crate::ring::{Operation, Ring};

use super::listen::Listener;
use super::oom::OomScore;
use super::replication::Replication;

/// How often signals and slow duties are looked after.
const CRON: Duration = Duration::from_millis(100);

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
    /// The process's score at start.
    pub oom_score: OomScore,
    /// Sockets to accept from.
    pub listeners: Vec<Listener>,
    /// The server is to stop without a snapshot.
    pub terminate: Arc<AtomicBool>,
    /// Set by SIGTERM and SIGINT.
    pub signals: [Arc<AtomicBool>; 2],
    /// The file the configuration came from.
    pub config_file: Option<std::path::PathBuf>,
}

/// The number of the question whose answer ends the server.
const FINAL_SAVE: u64 = u64::MAX;

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
    signals: [Arc<AtomicBool>; 2],
    /// Who waits for the stop, while the last snapshot is written.
    stopping_for: Option<Vec<(u16, u64)>>,
    config_file: Option<std::path::PathBuf>,
    rounds: HashMap<u64, Round>,
    next_round: u64,
    monitors: Vec<(u16, u64)>,
    oom_score: OomScore,
    /// CLIENT PAUSE: until when (Unix milliseconds), and whether it is for writes only.
    pause: (i64, bool),
    stopping: bool,
    next_look_ms: i64,
    pub(super) replication: Replication,
    /// Chance, for names of histories.
    pub(super) random: Random,
}

impl Control {
    /// Builds the control core on its own thread.
    pub fn new(parts: ControlParts) -> std::io::Result<Self> {
        let ring = Ring::new()?;
        crate::base::sys::name_thread("control");
        parts.links.control().set_wake(ring.wake_handle());
        ring.signal_completions_on(ring.wake_handle().event_fd())?;
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
            config_file: parts.config_file,
            rounds: HashMap::new(),
            next_round: 0,
            monitors: Vec::new(),
            oom_score: parts.oom_score,
            pause: (0, false),
            stopping: false,
            next_look_ms: 0,
            replication,
            random: Random::new(sys::entropy()),
        };
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
        let handle = self.ring.wake_handle();
        let event = match handle.event_file() {
            Ok(event) => event,
            Err(error) => panic!("the control core cannot wait for its event descriptor: {error}"),
        };
        let ticking = handle.clone();
        let timer = glommio::spawn_local(async move {
            loop {
                glommio::timer::sleep(CRON).await;
                ticking.wake();
            }
        });
        while !self.stopping {
            self.turn();
            self.links.control().sleep.going_to_sleep();
            if self.links.control().has_mail()
                || self.ring.has_completions()
                || self.replication.has_blocks()
            {
                self.links.control().sleep.awake();
                continue;
            }
            if event.read_at(0, 8).await.is_err() {
                glommio::timer::sleep(CRON).await;
            }
            self.links.control().sleep.awake();
        }
        timer.cancel().await;
    }

    fn turn(&mut self) {
        self.ring.turn(None);
        let mut completions = Vec::new();
        self.ring.completions(&mut completions);
        for completion in completions {
            if completion.operation != Operation::Accept {
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
            for message in self.links.clone().control().take_mail() {
                self.on_message(message);
            }
        }
        self.drain_stream();
        let now = unix_ms();
        if now >= self.next_look_ms {
            self.next_look_ms = now + CRON.as_millis() as i64;
            self.observatory.look(now);
        }
        if self.terminate.load(Ordering::Relaxed) {
            self.stop();
        }
        for at in 0..self.signals.len() {
            if self.signals[at].swap(false, Ordering::Relaxed) {
                let (name, way) = match at {
                    0 => ("SIGTERM", self.config.shutdown_on_sigterm),
                    _ => ("SIGINT", self.config.shutdown_on_sigint),
                };
                log::warn!("Received {name} scheduling shutdown...");
                self.shut_down(way.save, way.force, None);
            }
        }
        self.ring.turn(None);
    }

    fn on_message(&mut self, message: CoreMessage) {
        match message {
            CoreMessage::Ask { from, ticket, ask } => self.on_ask(from, ticket, ask),
            CoreMessage::Answer {
                ticket: FINAL_SAVE,
                answer,
            } => self.on_final_save(&answer),
            CoreMessage::Answer { ticket, .. } => self.on_answer(ticket),
            CoreMessage::Flows(flows) => self.on_flows(flows),
            _ => {}
        }
    }

    fn on_ask(&mut self, from: u16, ticket: u64, ask: CoreAsk) {
        match ask {
            CoreAsk::ConfigSet { pairs, local } => {
                let pairs: Vec<(&[u8], &[u8])> = pairs
                    .iter()
                    .map(|(name, value)| (&name[..], &value[..]))
                    .collect();
                let context = SetContext {
                    client_is_local: local,
                    loading: self.observatory.snapshots.loading.load(Ordering::Relaxed),
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
            } => {
                let (until_ms, writes_only) = self.pause_for(until_ms, writes_only);
                self.ask_all(
                    CoreAsk::Pause {
                        until_ms,
                        writes_only,
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
            CoreAsk::AbortShutdown => {
                // A stop is never put off in this build (no replicas to wait for), so there is none to abort.
                let text = b"ERR No shutdown in progress.".to_vec();
                self.answer(from, ticket, CoreAnswer::Failed(text));
            }
            CoreAsk::Shutdown { save, force, .. } => {
                self.shut_down(save, force, Some((from, ticket)));
            }
            other => {
                log::error!("a question for the cores reached the control core: {other:?}");
                self.answer(from, ticket, CoreAnswer::Done);
            }
        }
    }

    /// Sets the process's score if `config` asks for another one than now.
    fn with_oom_score(&self, config: Config) -> Result<Config, SetError> {
        let asks = |config: &Config| (config.oom_score_adj, config.oom_score_adj_values);
        if asks(&config) != asks(&self.config)
            && let Err(error) = self.oom_score.apply(&config)
        {
            log::warn!("Unable to write oom_score_adj: {error}");
            return Err(SetError::failed(
                "oom-score-adj",
                "Failed to apply new oom_score_adj configuration, check server logs.",
            ));
        }
        Ok(config)
    }

    /// What a CLIENT PAUSE comes to beside the one under way: the later end and the stricter kind (7.2). Zero ends all.
    fn pause_for(&mut self, until_ms: i64, writes_only: bool) -> (i64, bool) {
        let (old_until_ms, old_writes_only) = self.pause;
        self.pause = if until_ms == 0 || old_until_ms <= unix_ms() {
            (until_ms, writes_only)
        } else {
            (until_ms.max(old_until_ms), writes_only && old_writes_only)
        };
        self.pause
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

    /// Asks every core; `asker` is answered when all have.
    fn ask_all(&mut self, ask: CoreAsk, asker: Option<(u16, u64)>) {
        self.ask_all_then(ask, asker, CoreAnswer::Done);
    }

    /// Asks every core; `asker` is given `answer` when all have answered.
    pub(super) fn ask_all_then(
        &mut self,
        ask: CoreAsk,
        asker: Option<(u16, u64)>,
        answer: CoreAnswer,
    ) {
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
    }

    fn on_answer(&mut self, round: u64) {
        let Some(of) = self.rounds.get_mut(&round) else {
            return;
        };
        of.missing -= 1;
        if of.missing == 0
            && let Some(Round {
                asker: Some((core, ticket)),
                answer,
                ..
            }) = self.rounds.remove(&round)
        {
            self.answer(core, ticket, answer);
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

    /// Stops the server, once the last snapshot is written where one is wanted; when that fails, `asker` is told.
    fn shut_down(&mut self, save: Option<bool>, force: bool, asker: Option<(u16, u64)>) {
        if let Some(askers) = &mut self.stopping_for {
            askers.extend(asker);
            return;
        }
        // What is half loaded must not replace the file that it comes from.
        let loading = self.observatory.snapshots.loading.load(Ordering::Relaxed);
        let wanted = !loading && save.unwrap_or(!self.config.save.is_empty());
        if wanted && let Some((from, ticket)) = asker {
            // A script that runs too long holds what is to be saved (SHUTDOWN, 7.2).
            let busy = self.observatory.scripts.busy_ones();
            if let Some(running) = busy.first() {
                let error = match running.is_eval {
                    true => ErrorReply::BUSY_SCRIPT,
                    false => ErrorReply::BUSY_FUNCTION,
                };
                self.answer(from, ticket, CoreAnswer::Failed(error.as_bytes().to_vec()));
                return;
            }
        }
        let status = &self.observatory.snapshots;
        if self.config.appendonly && !loading && !status.log.complete.load(Ordering::Relaxed) {
            // The append-only files are what a start would read, and they do not hold the data yet (SHUTDOWN, 7.2).
            if force {
                log::warn!("Writing initial AOF. Exit anyway.");
            } else {
                log::warn!("Writing initial AOF, can't exit.");
                if let Some((from, ticket)) = asker {
                    let text = ErrorReply::SHUTDOWN_FAILED.as_bytes().to_vec();
                    self.answer(from, ticket, CoreAnswer::Failed(text));
                }
                return;
            }
        }
        log::info!("User requested shutdown...");
        if !wanted {
            self.stop();
            return;
        }
        self.stopping_for = Some(asker.into_iter().collect());
        let first = self.links.core(0);
        first.mail(CoreMessage::Ask {
            from: self.links.shards() as u16,
            ticket: FINAL_SAVE,
            ask: CoreAsk::FinalSave { force },
        });
        first.wake_by_event();
    }

    /// The last snapshot is written, or cannot be.
    fn on_final_save(&mut self, answer: &CoreAnswer) {
        let askers = self.stopping_for.take().unwrap_or_default();
        if !matches!(answer, CoreAnswer::Failed(_)) {
            self.stop();
            return;
        }
        for (core, ticket) in askers {
            let text = ErrorReply::SHUTDOWN_FAILED.as_bytes().to_vec();
            self.answer(core, ticket, CoreAnswer::Failed(text));
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        if self.observatory.snapshots.saves.cancel(Purpose::Rewrite) {
            log::warn!("There is a child rewriting the AOF. Killing it!");
        }
        if self.observatory.snapshots.saves.cancel(Purpose::Snapshot) {
            log::warn!("There is a child saving an .rdb. Killing it!");
        }
        // Nobody is let in any more before the first client is sent away: who reconnects finds nothing to connect to.
        for listener in self.listeners.iter().flatten() {
            sys::shutdown_socket(listener.fd.as_raw_fd());
        }
        self.observatory
            .snapshots
            .stopping
            .store(true, Ordering::Relaxed);
        let uptime = unix_ms() - self.observatory.started_ms;
        log::info!("Server stops after {} seconds", uptime / 1000);
        for core in self.links.shard_cores() {
            core.mail(CoreMessage::Stop);
            core.wake_by_event();
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
