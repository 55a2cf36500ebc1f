//! FAILOVER: this primary and one of its replicas change places.
//!
//! Writes are held back until a replica has all there is; then this server follows it, and asks it by its PSYNC to be the
//! primary. Until that replica has said yes everything can be taken back.

use std::sync::atomic::Ordering::Relaxed;

use crate::base::clock::unix_ms;
use crate::control::Control;
use crate::mesh::message::FailoverOrder;
use crate::resp::ErrorReply;

use super::replicas::Replica;

/// One under way.
pub(in crate::control) struct Failover {
    /// Who takes over, where that is settled.
    target: Option<(String, u16)>,
    /// Until when to wait for it, Unix milliseconds.
    until_ms: Option<i64>,
    /// It takes over then, ready or not.
    force: bool,
    /// It has been asked to.
    in_progress: bool,
    /// This server is about to be a primary again.
    is_aborted: bool,
}

impl Control {
    /// FAILOVER.
    pub(in crate::control) fn order_failover(
        &mut self,
        order: FailoverOrder,
    ) -> Result<(), ErrorReply> {
        let FailoverOrder::Begin {
            target,
            timeout_ms,
            force,
        } = order
        else {
            if self.failover.is_none() {
                return Err(ErrorReply::NO_FAILOVER);
            }
            self.abort_failover("Failover manually aborted");
            return Ok(());
        };
        if self.failover.is_some() {
            return Err(ErrorReply::FAILOVER_UNDER_WAY);
        }
        if self.is_replica() {
            return Err(ErrorReply::FAILOVER_OF_REPLICA);
        }
        if self.replicas.count() == 0 {
            return Err(ErrorReply::FAILOVER_WITHOUT_REPLICAS);
        }
        if force && (timeout_ms.is_none() || target.is_none()) {
            return Err(ErrorReply::FAILOVER_FORCE);
        }
        let target = match target {
            Some((host, port)) => {
                let port = u16::try_from(port).map_err(|_| ErrorReply::FAILOVER_TO_STRANGER)?;
                let replica = self.replica_at(&host, port);
                let replica = replica.ok_or(ErrorReply::FAILOVER_TO_STRANGER)?;
                if !replica.is_online() {
                    return Err(ErrorReply::FAILOVER_TO_NEWCOMER);
                }
                log::info!("FAILOVER requested to {host}:{port}.");
                Some((host, port))
            }
            None => {
                log::info!("FAILOVER requested to any replica.");
                None
            }
        };
        self.failover = Some(Failover {
            target,
            until_ms: timeout_ms.map(|ms| unix_ms().saturating_add(ms)),
            force,
            in_progress: false,
            is_aborted: false,
        });
        self.observatory
            .replication
            .failing_over
            .store(true, Relaxed);
        self.spread_pause();
        Ok(())
    }

    fn replica_at(&self, host: &str, port: u16) -> Option<&Replica> {
        let mut all = self.replicas.iter();
        all.find(|replica| replica.facts.port == port && replica.ip() == host)
    }

    /// INFO's word.
    pub(super) fn failover_word(&self) -> &'static str {
        match &self.failover {
            None => "no-failover",
            Some(failover) if failover.is_aborted => "no-failover",
            Some(failover) if failover.in_progress => "failover-in-progress",
            Some(_) => "waiting-for-sync",
        }
    }

    /// Goes on where somebody is ready, or time is over.
    pub(super) fn mind_failover(&mut self, now: i64) {
        let Some(failover) = self.failover.as_ref().filter(|one| !one.in_progress) else {
            return;
        };
        if failover.until_ms.is_some_and(|until| until <= now) {
            match (&failover.target, failover.force) {
                (Some((host, port)), true) => {
                    log::info!("FAILOVER to {host}:{port} time out exceeded, failing over.");
                    let target = (host.clone(), *port);
                    self.hand_over_to(target);
                }
                _ => self.abort_failover("Replica never caught up before timeout"),
            }
            return;
        }
        if self.is_spreading_pause() {
            return; // some core may still write
        }
        self.drain_stream();
        let offset = self.replication.history.offset;
        let is_ready = |replica: &&Replica| replica.is_online() && replica.acked == offset;
        let failover = self.failover.as_ref();
        let target = match failover.and_then(|failover| failover.target.as_ref()) {
            Some((host, port)) => self.replica_at(host, *port).filter(is_ready),
            None => self.replicas.iter().find(is_ready),
        };
        if let Some(replica) = target {
            let target = (replica.ip(), replica.facts.port);
            let (host, port) = &target;
            log::info!("Failover target {host}:{port} is synced, failing over.");
            self.hand_over_to(target);
        }
    }

    fn hand_over_to(&mut self, (host, port): (String, u16)) {
        if let Some(failover) = &mut self.failover {
            failover.in_progress = true;
            failover.target = Some((host.clone(), port));
        }
        self.follow(host, port, true);
    }

    /// The replica has answered: it is the primary, or it is not to be.
    pub(in crate::control) fn failover_ended(&mut self, outcome: Result<(), ()>) {
        match outcome {
            Ok(()) if self.failover.as_ref().is_some_and(|one| one.is_aborted) => {}
            Ok(()) => self.clear_failover(),
            Err(()) => self.abort_failover("Failover target rejected psync request"),
        }
    }

    fn abort_failover(&mut self, why: &str) {
        let Some(failover) = &self.failover else {
            return;
        };
        match &failover.target {
            Some((host, port)) => log::info!("FAILOVER to {host}:{port} aborted: {why}"),
            None => log::info!("FAILOVER to any replica aborted: {why}"),
        }
        if !failover.in_progress {
            self.clear_failover();
        } else if let Some(failover) = self.failover.as_mut().filter(|one| !one.is_aborted) {
            failover.is_aborted = true;
            self.promote("failover aborted");
        }
    }

    /// A change of the role is made. What an aborted hand-over has held back goes on when this server is a primary again.
    pub(super) fn role_has_changed(&mut self) {
        if self.failover.as_ref().is_some_and(|one| one.is_aborted) && !self.is_replica() {
            self.clear_failover();
        }
    }

    fn clear_failover(&mut self) {
        self.failover = None;
        self.observatory
            .replication
            .failing_over
            .store(false, Relaxed);
        self.spread_pause();
    }
}
