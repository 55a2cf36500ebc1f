//! Whose replica this server is: REPLICAOF, what its link's thread asks for, and what follows from the link's ups and
//! downs for history, backlog and the cores.
//!
//! A change of the role takes its steps one after the other, since each waits for the cores: what is applied of the old
//! primary's stream ends, the cores learn what they are from now on, the own stream ends or goes on. Until all of that
//! is done another change waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;

use crate::base::clock::unix_ms;
use crate::control::Control;
use crate::mesh::message::{CoreAnswer, CoreAsk, CoreMessage, Role};
use crate::mesh::primary::{Attempt, FeedMessage, LinkEvent, PrimaryLink};
use crate::persistence::snapshot::StreamPlace;
use crate::replication::report::{LinkReport, LinkState, TransferReport};
use crate::replication::{Backlog, Replid, Streaming, SyncRequest};
use crate::resp::ErrorReply;

use super::link::Thread;
use super::stream::Replication;
use super::weaving::Weaving;

/// A replica's side of replication.
#[derive(Default)]
pub(in crate::control) struct Following {
    /// Host and port of the primary; none for a primary.
    primary: Option<(Vec<u8>, u16)>,
    /// The link to it, once begun.
    pub(super) link: Option<Arc<PrimaryLink>>,
    /// The last link's number.
    generation: u64,
    /// The data are a moment of the history, which can be gone on with; the selected database.
    cached_db: Option<u32>,
    /// The first core applies the stream, or several do.
    pub(super) feed: bool,
    /// What several apply, where the stream comes in frames.
    pub(super) weaving: Option<Box<Weaving>>,
    /// The link's thread has been allowed to replace the data and has not said how that ended.
    loading: bool,
    /// The link is up.
    is_up: bool,
    /// Since when it is not, Unix milliseconds; zero when it has never been up.
    down_since_ms: i64,
    /// The next attempt asks the other end to become the primary of this one.
    failover: bool,
    /// Who waits for the end of the feed before connecting.
    attempt_waits: Option<mpsc::Sender<Attempt>>,
    /// Replicas whose requests wait until a change is made.
    parked: Vec<(u32, SyncRequest)>,
    /// What is to be done, the first one being under way.
    changes: VecDeque<Change>,
}

/// A change of the role.
struct Change {
    primary: Option<(Vec<u8>, u16)>,
    failover: bool,
    /// Who are answered at the end.
    askers: Vec<(u16, u64)>,
    step: Step,
}

/// What a change waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Not begun.
    Waits,
    /// The old link has nothing under way any more.
    Unlinks,
    /// All cores know the new role.
    Announces(u64),
    /// The barrier of this number has been passed: the own stream has ended, or begun.
    Cuts(u64),
}

impl Control {
    /// At start: what the configuration says, or the cluster's file, which has been read by then.
    pub(in crate::control) fn begin_role(&mut self) {
        self.replication.following.primary = self.config.replicaof.clone();
        let is_replica = self.observatory.replication.is_replica.load(Relaxed);
        crate::control::logging::set_role(is_replica);
        if self.config.replicaof.is_some() && !self.observatory.snapshots.loading.load(Relaxed) {
            self.start_link();
        }
    }

    /// At start: the cluster's file says that this node is a replica.
    pub(in crate::control) fn begin_as_replica(&mut self, host: String, port: u16) {
        self.replication.following.primary = Some((host.into_bytes(), port));
        self.observatory.replication.is_replica.store(true, Relaxed);
        self.renew_oom_score();
    }

    /// At start: the cluster's file names nobody whose replica this node is.
    pub(in crate::control) fn begin_as_primary(&mut self) {
        self.observatory
            .replication
            .is_replica
            .store(false, Relaxed);
        crate::control::logging::set_role(false);
    }

    /// Now and then.
    pub(in crate::control) fn link_cron(&mut self) {
        self.weave_on(); // a pause may be over
        let following = &self.replication.following;
        let status = &self.observatory.replication;
        status.set_timeout(self.config.repl_timeout_s);
        let loading = self.observatory.snapshots.loading.load(Relaxed);
        if following.primary.is_some()
            && following.link.is_none()
            && following.changes.is_empty()
            && !loading
        {
            self.start_link();
        }
    }

    /// Facts of the snapshot that was loaded at start: the history it belongs to. `begun` is told when the stream goes on, or
    /// dropped where there is nothing to wait for.
    pub(in crate::control) fn restore_history(
        &mut self,
        (id, offset, db): (Replid, u64, u32),
        ends: Backlog,
        begun: mpsc::Sender<()>,
    ) {
        let history = &mut self.replication.history;
        if self.replication.following.primary.is_some() {
            history.id = id;
            history.offset = offset;
            self.replication.following.cached_db = Some(db);
            self.replication.backlog = Some(Backlog::new(offset + 1));
        } else {
            // Those who followed that history can go on under the new name.
            history.previous = Some((id, offset + 1));
            let backlog = ends.behind(offset);
            history.offset = backlog.next() - 1;
            self.replication.backlog = Some(backlog);
        }
        if self.replication.following.primary.is_none() {
            // What is written from the first command on must be there for them.
            let streaming = Streaming::On(self.flow_limit());
            let cut = self.cut_stream(streaming, None);
            self.copies.beginning = Some((cut, begun));
        }
    }

    /// REPLICAOF.
    pub(in crate::control) fn replica_of(
        &mut self,
        asker: (u16, u64),
        primary: Option<(Vec<u8>, u16)>,
        waits: bool,
        client: &str,
    ) {
        if self.failover.is_some() {
            let text = ErrorReply::REPLICAOF_IN_FAILOVER.as_bytes().to_vec();
            self.answer(asker.0, asker.1, CoreAnswer::Failed(text));
            return;
        }
        let last = self.replication.following.changes.back();
        let now = last.map_or(&self.replication.following.primary, |last| &last.primary);
        match (&primary, now) {
            (None, None) => {
                self.answer(asker.0, asker.1, CoreAnswer::Done);
                return;
            }
            (Some((host, port)), Some((old_host, old_port)))
                if host.eq_ignore_ascii_case(old_host) && port == old_port =>
            {
                log::info!(
                    "REPLICAOF would result into synchronization with the master we are already connected with. No \
                     operation performed."
                );
                self.answer(asker.0, asker.1, CoreAnswer::Known);
                return;
            }
            _ => {}
        }
        match &primary {
            None => log::info!("MASTER MODE enabled (user request from '{client}')"),
            Some((host, port)) => log::info!(
                "REPLICAOF {}:{port} enabled (user request from '{client}')",
                String::from_utf8_lossy(host)
            ),
        }
        if !waits {
            self.answer(asker.0, asker.1, CoreAnswer::Done);
        }
        self.change_role(primary, false, waits.then_some(asker));
    }

    /// Answers when all changes of the role that have been asked for are made.
    pub(in crate::control) fn await_role(&mut self, asker: (u16, u64)) {
        match self.replication.following.changes.back_mut() {
            Some(last) => last.askers.push(asker),
            None => self.answer(asker.0, asker.1, CoreAnswer::Done),
        }
    }

    /// Makes this server a primary, in a moment: its primary hands over to it.
    pub(in crate::control) fn promote(&mut self, reason: &str) {
        log::info!("MASTER MODE enabled ({reason})");
        self.change_role(None, false, None);
    }

    /// Makes this server a replica of that one; if `takes_over`, it asks it to be the primary (FAILOVER).
    pub(in crate::control) fn follow(&mut self, host: String, port: u16, takes_over: bool) {
        self.change_role(Some((host.into_bytes(), port)), takes_over, None);
    }

    /// Whether this server is a replica of that one, or about to be.
    pub(in crate::control) fn is_following(&self, host: &str, port: u16) -> bool {
        self.primary_to_be()
            .is_some_and(|known| known.0 == host.as_bytes() && known.1 == port)
    }

    /// Whether it is a replica when all changes under way are done.
    pub(in crate::control) fn will_be_replica(&self) -> bool {
        self.primary_to_be().is_some()
    }

    fn primary_to_be(&self) -> Option<&(Vec<u8>, u16)> {
        let following = &self.replication.following;
        let last = following.changes.back();
        let primary = last.map_or(&following.primary, |last| &last.primary);
        primary.as_ref()
    }

    /// Makes this server a replica, or a primary, in a moment.
    pub(in crate::control) fn change_role(
        &mut self,
        primary: Option<(Vec<u8>, u16)>,
        failover: bool,
        asker: Option<(u16, u64)>,
    ) {
        self.replication.following.changes.push_back(Change {
            primary,
            failover,
            askers: Vec::from_iter(asker),
            step: Step::Waits,
        });
        self.go_on_changing();
    }

    /// Takes the next step of the change under way, if what it waits for has come.
    fn go_on_changing(&mut self) {
        loop {
            let following = &mut self.replication.following;
            let Some(change) = following.changes.front_mut() else {
                return;
            };
            match change.step {
                Step::Waits => {
                    change.step = Step::Unlinks;
                    self.unlink();
                }
                Step::Unlinks => {
                    if following.feed || following.loading {
                        return;
                    }
                    following.link = None;
                    self.take_role();
                }
                Step::Announces(_) | Step::Cuts(_) => return,
            }
        }
    }

    /// The old link ends.
    fn unlink(&mut self) {
        let following = &mut self.replication.following;
        following.attempt_waits = None;
        if let Some(link) = &following.link {
            link.stop();
            if following.feed {
                let generation = link.generation;
                self.end_feeds(generation);
            }
        }
    }

    /// Nothing of the old role is under way any more.
    fn take_role(&mut self) {
        let following = &mut self.replication.following;
        let Some(change) = following.changes.front() else {
            return;
        };
        let (new, failover) = (change.primary.clone(), change.failover);
        let was_replica = following.primary.is_some();
        following.primary = new.clone();
        following.is_up = false;
        following.down_since_ms = if new.is_some() { unix_ms() } else { 0 };
        following.failover = failover;
        let config = self.config.with_primary(new.clone());
        self.config = Arc::new(config);
        self.ask_all(CoreAsk::Configure(self.config.clone()), None);
        let step = match (was_replica, &new) {
            (false, Some(_)) => {
                log::info!(
                    "Before turning into a replica, using my own master parameters to synthesize a cached master: I may \
                     be able to synchronize with the new master with just a partial transfer."
                );
                self.replication.following.cached_db = Some(0);
                self.drop_flows();
                Step::Announces(self.announce_role(true))
            }
            (true, None) => {
                self.begin_own_history();
                // The own stream goes on before anybody may write.
                match self.replication.backlog.is_some() {
                    true => {
                        let streaming = Streaming::On(self.flow_limit());
                        Step::Cuts(self.cut_stream(streaming, None))
                    }
                    false => Step::Announces(self.announce_role(false)),
                }
            }
            (true, Some(_)) => Step::Announces(self.announce_role(false)),
            (false, None) => {
                self.end_change();
                return;
            }
        };
        if let Some(change) = self.replication.following.changes.front_mut() {
            change.step = step;
        }
    }

    /// This server's data go on as a history of their own.
    fn begin_own_history(&mut self) {
        let id = self.new_replid();
        let history = &mut self.replication.history;
        let old = history.id;
        history.begin(id);
        let offset = history.offset + 1;
        log::info!(
            "Setting secondary replication ID to {old}, valid up to offset: {offset}. New replication ID is {id}"
        );
        self.replication.following.cached_db = None;
        self.drop_replicas();
    }

    /// Tells all cores what this server is; the number of the round.
    fn announce_role(&mut self, has_become_replica: bool) -> u64 {
        let following = &self.replication.following;
        let role = Role {
            is_replica: following.primary.is_some(),
            link_is_up: following.is_up,
            has_become_replica,
        };
        let status = &self.observatory.replication;
        if status.is_replica.swap(role.is_replica, Relaxed) != role.is_replica {
            self.renew_oom_score();
        }
        let status = &self.observatory.replication;
        crate::control::logging::set_role(role.is_replica);
        status.link_is_up.store(role.link_is_up, Relaxed);
        self.ask_all(CoreAsk::SetRole(role), None)
    }

    /// All cores have answered a question that nobody outside had asked.
    pub(in crate::control) fn on_round_ended(&mut self, round: u64) {
        let following = &self.replication.following;
        let Some(change) = following.changes.front() else {
            return;
        };
        if change.step != Step::Announces(round) {
            return;
        }
        // A primary's stream ends when nobody can write any more.
        if following.primary.is_some() && self.replication.has_flows() {
            let number = self.cut_stream(Streaming::Off, None);
            if let Some(change) = self.replication.following.changes.front_mut() {
                change.step = Step::Cuts(number);
            }
            return;
        }
        self.end_change();
    }

    /// A barrier has been passed. True when it was one of a change of the role.
    pub(in crate::control) fn on_role_barrier(&mut self, number: u64) -> bool {
        let following = &self.replication.following;
        let is_ours = |change: &Change| change.step == Step::Cuts(number);
        if !following.changes.front().is_some_and(is_ours) {
            return false;
        }
        if following.primary.is_some() {
            self.on_stream_ended();
            self.end_change();
        } else {
            let round = self.announce_role(false);
            if let Some(change) = self.replication.following.changes.front_mut() {
                change.step = Step::Announces(round);
            }
        }
        true
    }

    /// The change is made.
    fn end_change(&mut self) {
        let Some(change) = self.replication.following.changes.pop_front() else {
            return;
        };
        for (core, ticket) in change.askers {
            self.answer(core, ticket, CoreAnswer::Done);
        }
        self.role_has_changed();
        if !self.replication.following.changes.is_empty() {
            self.go_on_changing();
        } else if self.replication.following.primary.is_some() {
            self.start_link();
        }
        for (place, request) in std::mem::take(&mut self.replication.following.parked) {
            self.take_or_refuse(place, &request);
        }
    }

    /// Begins a link to the primary.
    fn start_link(&mut self) {
        let following = &mut self.replication.following;
        let Some((host, port)) = following.primary.clone() else {
            return;
        };
        following.generation += 1;
        let link = Arc::new(PrimaryLink::new(following.generation));
        let status = &self.observatory.replication;
        status.set_timeout(self.config.repl_timeout_s);
        following.link = Some(link.clone());
        let thread = Thread {
            link,
            links: self.links.clone(),
            observatory: self.observatory.clone(),
            host: String::from_utf8_lossy(&host).into_owned(),
            port,
        };
        if let Err(error) = thread.start() {
            log::warn!("Can't begin the thread of the link to the primary: {error}");
            self.replication.following.link = None; // tried again by the clock
        }
    }

    /// What the thread of link `generation` wants. One that has been replaced is not answered.
    pub(in crate::control) fn on_link(&mut self, generation: u64, event: LinkEvent) {
        let following = &mut self.replication.following;
        let Some(link) = following
            .link
            .clone()
            .filter(|link| link.generation == generation)
        else {
            return;
        };
        // What was allowed before is waited for, even when the link is to end.
        match event {
            LinkEvent::Lost { refused, since_ms } => {
                self.on_link_lost(&link, refused, since_ms);
            }
            LinkEvent::Loaded {
                position,
                db,
                answer,
            } => {
                self.on_loaded(&link, position, db, &answer);
            }
            _ if link.is_stopped() => {}
            LinkEvent::Arrived {
                connection,
                way,
                bytes,
            } => self.on_arrived(connection, way, bytes),
            LinkEvent::Attempt(answer) => {
                following.attempt_waits = Some(answer);
                self.let_attempt();
            }
            LinkEvent::Continues(id, answer) => {
                let old = self.replication.history.id;
                if let Some(id) = id
                    && id != old
                {
                    log::info!("Master replication ID changed to {id}");
                    self.replication.history.begin(id);
                    self.drop_replicas();
                }
                let offset = self.replication.history.offset;
                if self.replication.backlog.is_none() {
                    self.replication.backlog = Some(Backlog::new(offset + 1));
                }
                let db = self.replication.following.cached_db.unwrap_or(0);
                self.begin_feed(&link, db, offset, &answer);
            }
            LinkEvent::Copies(_) => {
                if std::mem::take(&mut following.failover) {
                    self.failover_ended(Ok(()));
                }
            }
            LinkEvent::Replaces(answer) => {
                // Until here another primary of the same history can go on where the data are.
                if following.cached_db.take().is_some() {
                    log::info!("Discarding previously cached master state.");
                }
                following.loading = true;
                self.drop_replicas();
                self.replication.backlog = None;
                let _ = answer.send(()); // its thread may have ended
            }
        }
    }

    /// Answers a link's thread that wants to connect, as soon as it is known how far this replica is.
    fn let_attempt(&mut self) {
        let following = &mut self.replication.following;
        if following.feed {
            return;
        }
        let Some(answer) = following.attempt_waits.take() else {
            return;
        };
        let history = &self.replication.history;
        let position = following
            .cached_db
            .map(|_| (history.id, history.offset + 1));
        let _ = answer.send(Attempt {
            config: self.config.clone(),
            position,
            history: history.id,
            failover: following.failover,
        });
    }

    /// The first core applies what comes from here on.
    fn begin_feed(
        &mut self,
        link: &Arc<PrimaryLink>,
        db: u32,
        offset: u64,
        answer: &mpsc::Sender<()>,
    ) {
        link.applied.store(offset, Relaxed);
        let flows = link.flows.load(Relaxed);
        link.begin_ways(1 + usize::from(flows));
        for core in 0..usize::from(flows.max(1)) {
            self.last_client_id += 1;
            let begin = FeedMessage::Begin {
                link: link.clone(),
                client: self.last_client_id,
                addresses: link.addresses(),
                db,
                history: self.replication.history.id,
                offset,
                in_pieces: flows > 0,
            };
            self.tell_core(core, CoreMessage::Feed(begin));
        }
        let weaving = (flows > 0).then(|| Box::new(Weaving::new(link, offset, db)));
        self.replication.following.weaving = weaving;
        let following = &mut self.replication.following;
        following.feed = true;
        following.cached_db = Some(db);
        following.is_up = true;
        let failed_over = std::mem::take(&mut following.failover);
        self.announce_role(false);
        if failed_over {
            self.failover_ended(Ok(()));
        }
        let _ = answer.send(()); // its thread may have ended
    }

    fn on_loaded(
        &mut self,
        link: &Arc<PrimaryLink>,
        position: Option<(Replid, u64)>,
        db: u32,
        answer: &mpsc::Sender<()>,
    ) {
        let (id, offset) = match position {
            Some(position) => position,
            None => (self.new_replid(), 0), // a primary without histories
        };
        let Replication {
            history, backlog, ..
        } = &mut self.replication;
        history.break_off(id);
        history.offset = offset;
        *backlog = Some(Backlog::new(offset + 1));
        self.replication.following.loading = false;
        self.replication.following.cached_db = Some(db);
        if link.is_stopped() {
            self.go_on_changing();
        } else {
            self.begin_feed(link, db, offset, answer);
        }
    }

    fn on_link_lost(&mut self, link: &Arc<PrimaryLink>, refused: bool, since_ms: i64) {
        let following = &mut self.replication.following;
        following.loading = false;
        if refused {
            following.failover = false;
            self.failover_ended(Err(()));
        }
        let following = &mut self.replication.following;
        if following.feed {
            self.end_feeds(link.generation);
        }
        let following = &mut self.replication.following;
        if std::mem::replace(&mut following.is_up, false) {
            following.down_since_ms = since_ms;
            self.announce_role(false);
        }
        self.go_on_changing();
    }

    /// Bytes of the stream have been applied.
    pub(in crate::control) fn on_applied(&mut self, generation: u64, bytes: &[Vec<u8>]) {
        let link = self.replication.following.link.as_ref();
        if link.is_some_and(|link| link.generation == generation) {
            for bytes in bytes {
                self.append_to_stream(bytes);
            }
        }
    }

    /// A core has ended the stream of a link.
    pub(in crate::control) fn on_feed_ended(
        &mut self,
        generation: u64,
        core: u16,
        executed: u64,
        db: u32,
        broken: bool,
    ) {
        let Some((db, broken)) = self.end_of_feeds(generation, core, (executed, db), broken) else {
            return; // others have not ended
        };
        let following = &mut self.replication.following;
        if !following.feed {
            return; // it has been told already
        }
        let Some(link) = following
            .link
            .as_ref()
            .filter(|link| link.generation == generation)
        else {
            return;
        };
        following.feed = false;
        if broken || link.is_mute.load(Relaxed) {
            log::info!("Discarding previously cached master state.");
            following.cached_db = None;
        } else {
            log::info!("Caching the disconnected master state.");
            following.cached_db = Some(db);
        }
        let place = self.followed_place();
        self.tell_core(0, CoreMessage::Feed(FeedMessage::Ended(place)));
        self.let_attempt();
        self.go_on_changing();
    }

    /// What INFO and ROLE say of the link; nothing when this server is a primary.
    pub(in crate::control) fn link_report(&self) -> Option<LinkReport> {
        let following = &self.replication.following;
        let (host, port) = following.primary.clone()?;
        let link = following.link.as_deref();
        let ago = |ms: i64| match ms {
            0 => -1,
            ms => (unix_ms() - ms).max(0) / 1000,
        };
        let state = match link {
            // What is asked after the primary has gone finds that out, though the link's thread has not been told yet.
            Some(link) if following.is_up && link.has_ended() => LinkState::Connect,
            Some(_) if following.is_up => LinkState::Connected,
            Some(link) => link.state(),
            None => LinkState::Connect,
        };
        let of = |value: fn(&PrimaryLink) -> i64| link.map_or(0, value);
        let offset = self.replication.history.offset;
        let flows = link.map_or((0, 0), |link| match following.weaving {
            Some(_) => (link.flows.load(Relaxed), link.flow_bytes.load(Relaxed)),
            None => (0, 0),
        });
        let transfer = link
            .filter(|link| link.is_syncing.load(Relaxed))
            .map(|link| TransferReport {
                total_bytes: link.copy_total.load(Relaxed),
                read_bytes: link.copy_read.load(Relaxed),
                last_io_s: ago(link.last_io_ms.load(Relaxed)),
            });
        let received = link.map_or(0, |link| link.received.load(Relaxed));
        Some(LinkReport {
            host: String::from_utf8_lossy(&host).into_owned(),
            port,
            state,
            last_io_s: ago(of(|link| link.last_io_ms.load(Relaxed))),
            read_offset: received.max(offset),
            applied_offset: offset,
            transfer,
            down_s: match following.is_up {
                true => 0,
                false => ago(following.down_since_ms),
            },
            flows,
        })
    }

    /// The moment of the primary's stream that the data of a replica are while nothing is applied; none for a primary and
    /// for a replica that could not go on from there.
    pub(in crate::control) fn followed_place(&self) -> Option<StreamPlace> {
        let following = &self.replication.following;
        following.primary.as_ref()?;
        let db = following.cached_db?;
        let history = &self.replication.history;
        Some(StreamPlace {
            id: history.id.as_bytes().to_vec(),
            offset: history.offset,
            db,
        })
    }

    /// Whether this server is a replica.
    pub(in crate::control) fn is_replica(&self) -> bool {
        self.replication.following.primary.is_some()
    }

    /// Whether it is a replica without its primary.
    pub(in crate::control) fn is_cut_off(&self) -> bool {
        let following = &self.replication.following;
        following.primary.is_some() && !following.is_up
    }

    /// A replica that is to take over waits until this server is a primary.
    pub(in crate::control) fn park(&mut self, place: u32, request: SyncRequest) {
        self.replication.following.parked.push((place, request));
    }

    /// Replicas that wait for the change under way.
    pub(in crate::control) fn parked(&self) -> impl Iterator<Item = u32> {
        let parked = self.replication.following.parked.iter();
        parked.map(|(place, _)| *place)
    }
}
