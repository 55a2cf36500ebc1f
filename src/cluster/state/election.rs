//! A replica takes the place of its primary: when it stands for election, how it asks, what it does when it has won
//! (specification, 5.1).
//!
//! The replica with the most data stands first: each one whose offset is greater costs a second of delay. Votes are
//! counted for one epoch and for a while; then it begins again under another.

use super::super::action::Action;
use super::super::packet::{self, Header, Kind, MessageFlags};
use super::Cluster;
use super::table::NodeKey;
use crate::base::slot::Slot;

/// Delay of every election: FAIL gets around meanwhile. Milliseconds.
const DELAY_MS: i64 = 500;
/// A further delay below this is drawn, so that replicas do not stand at once.
const SCATTER_MS: u64 = 500;
/// Delay for each replica with more data.
const RANK_MS: i64 = 1000;
/// The same reason is not logged again for so long.
const LOG_AGAIN_MS: i64 = 10_000;
/// Time after the node time-out during which a failover that takes its time is nothing to speak of.
const LOG_QUIET_MS: i64 = 5000;

/// How far an election is.
#[derive(Debug, Default)]
pub(super) struct Election {
    /// When this node asks for votes, or has; `None` before the first time.
    at_ms: Option<i64>,
    /// Who has voted for this node. Redis counts packets; one that came twice does not make a majority here.
    votes: Vec<NodeKey>,
    /// Votes have been asked for.
    is_sent: bool,
    rank: usize,
    epoch: u64,
    /// Why it does not go on, and when that was logged.
    hindrance: Option<Hindrance>,
    logged_ms: i64,
}

/// Why a replica of a primary that has failed does not take its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hindrance {
    DataAge,
    Delay,
    Expired,
    Votes,
}

impl Hindrance {
    fn text(self) -> &'static str {
        match self {
            Hindrance::DataAge => {
                "Disconnected from master for longer than allowed. Please check the 'cluster-replica-validity-factor' configuration option."
            }
            Hindrance::Delay => "Waiting the delay before I can start a new failover.",
            Hindrance::Expired => "Failover attempt expired.",
            Hindrance::Votes => "Waiting for votes, but majority still not reached.",
        }
    }
}

impl Cluster {
    /// A vote has come.
    pub(super) fn on_auth_ack(&mut self, sender: NodeKey, header: &Header) {
        let counts = self.nodes[sender].is_voter()
            && self.election.is_sent
            && header.current_epoch >= self.election.epoch;
        if counts && !self.election.votes.contains(&sender) {
            self.election.votes.push(sender);
            self.todo.election = true;
        }
    }

    /// Goes on as far as it goes.
    pub(super) fn election_step(&mut self) {
        let is_manual = self.manual.can_start();
        let Some(primary) = self.me().primary.filter(|_| self.me().is_replica()) else {
            return;
        };
        let is_due =
            is_manual || self.nodes[primary].has_failed() && !self.settings.replica_no_failover;
        if !is_due || self.nodes[primary].slot_count == 0 {
            self.election.hindrance = None;
            return;
        }
        if !is_manual && self.data_is_too_old() {
            return self.hinder(Hindrance::DataAge);
        }
        let timeout_ms = self.settings.election_ms();
        let age_ms = self.election.at_ms.map(|at_ms| self.now_ms - at_ms);
        let Some(age_ms) = age_ms.filter(|age_ms| *age_ms <= 2 * timeout_ms) else {
            return self.schedule();
        };
        if !self.election.is_sent && !self.manual.is_running() {
            self.fall_back();
        }
        if self.election.at_ms > Some(self.now_ms) {
            return self.hinder(Hindrance::Delay);
        }
        if age_ms > timeout_ms {
            return self.hinder(Hindrance::Expired);
        }
        if !self.election.is_sent {
            return self.ask();
        }
        if self.election.votes.len() < self.health.quorum() {
            return self.hinder(Hindrance::Votes);
        }
        self.note(
            log::Level::Info,
            "Failover election won: I'm the new master.".to_owned(),
        );
        let epoch = self.election.epoch;
        if self.me().config_epoch < epoch {
            self.me_mut().config_epoch = epoch;
            self.note(
                log::Level::Info,
                format!("configEpoch set to {epoch} after successful failover"),
            );
        }
        self.take_over();
    }

    fn data_is_too_old(&self) -> bool {
        let timeout_ms = self.settings.timeout_ms();
        let mut age_ms = self.now_ms - self.observed.primary_seen_ms;
        // That long it takes to find out that the primary has failed.
        if age_ms > timeout_ms {
            age_ms -= timeout_ms;
        }
        self.settings
            .data_age_max_ms()
            .is_some_and(|max_ms| age_ms > max_ms)
    }

    fn schedule(&mut self) {
        let rank = self.rank();
        let delay_ms = match self.manual.is_running() {
            true => 0,
            false => DELAY_MS + self.random.below(SCATTER_MS) as i64 + rank as i64 * RANK_MS,
        };
        let rank = if delay_ms == 0 { 0 } else { rank };
        self.election = Election {
            at_ms: Some(self.now_ms + delay_ms),
            rank,
            epoch: self.election.epoch,
            ..Election::default()
        };
        let offset = self.observed.repl_offset;
        self.note(
            log::Level::Info,
            format!("Start of election delayed for {delay_ms} milliseconds (rank #{rank}, offset {offset})."),
        );
        if delay_ms == 0 {
            self.todo.election = true;
        }
        // The others learn this node's offset, and may find that they come later.
        self.broadcast_pong(true);
    }

    /// How many replicas of the same primary have more data and stand for election.
    fn rank(&self) -> usize {
        let Some(primary) = self.me().primary else {
            return 0;
        };
        let others = self.nodes[primary].replicas.iter();
        let better = others.filter(|key| {
            let other = &self.nodes[**key];
            !other.is_myself()
                && !other.flags.has(super::super::flags::NodeFlags::NO_FAILOVER)
                && other.repl_offset > self.observed.repl_offset
        });
        better.count()
    }

    /// Others have turned out to have more data.
    fn fall_back(&mut self) {
        let rank = self.rank();
        if rank <= self.election.rank {
            return;
        }
        let added_ms = (rank - self.election.rank) as i64 * RANK_MS;
        self.election.at_ms = self.election.at_ms.map(|at_ms| at_ms + added_ms);
        self.election.rank = rank;
        self.note(
            log::Level::Info,
            format!("Replica rank updated to #{rank}, added {added_ms} milliseconds of delay."),
        );
    }

    fn ask(&mut self) {
        let epoch = self.next_epoch();
        (self.election.epoch, self.election.is_sent) = (epoch, true);
        self.note(
            log::Level::Info,
            format!("Starting a failover election for epoch {epoch}."),
        );
        let mut header = self.header();
        if self.manual.is_running() {
            header.message.0 |= MessageFlags::FORCE_ACK;
        }
        self.broadcast(Kind::AuthRequest, packet::plain(Kind::AuthRequest, &header));
        self.look_soon();
    }

    /// This node is the primary now, under an epoch that it has.
    pub(super) fn take_over(&mut self) {
        let Some(old) = self.me().primary.filter(|_| self.me().is_replica()) else {
            return;
        };
        self.set_as_primary(self.myself);
        self.act(Action::StopReplicating);
        let slots: Vec<Slot> = self.nodes[old].slots.iter().collect();
        for slot in slots {
            self.unbind(slot);
            self.unbound.insert(slot);
            self.bind(slot, self.myself);
        }
        self.look_at_health();
        self.save_durably();
        // The flag PAUSED goes with these, as in Redis: the manual failover is over only after them.
        self.broadcast_pong(false);
        self.end_manual_failover();
    }

    fn hinder(&mut self, hindrance: Hindrance) {
        let is_same = self.election.hindrance == Some(hindrance);
        if is_same && self.now_ms - self.election.logged_ms < LOG_AGAIN_MS {
            return;
        }
        self.election.hindrance = Some(hindrance);
        let quiet_ms = self.settings.timeout_ms() + LOG_QUIET_MS;
        let failed_ms = self.me().primary.map(|key| &self.nodes[key]);
        let failed_ms = failed_ms.filter(|node| node.has_failed());
        if failed_ms.is_some_and(|node| self.now_ms - node.fail_ms < quiet_ms) {
            return;
        }
        self.election.logged_ms = self.now_ms;
        self.note(
            log::Level::Info,
            format!("Currently unable to failover: {}", hindrance.text()),
        );
        if matches!(hindrance, Hindrance::Votes | Hindrance::Expired) {
            let (quorum, votes) = (self.health.quorum(), self.election.votes.len());
            self.note(
                log::Level::Info,
                format!("Needed quorum: {quorum}. Number of votes received so far: {votes}"),
            );
        }
    }

    /// Forgets the election, so that another begins without waiting for its time to run out (CLUSTER RESET).
    pub(super) fn drop_election(&mut self) {
        self.election = Election::default();
    }
}
