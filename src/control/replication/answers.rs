//! What others ask about replicas: INFO, ROLE, CLIENT LIST and KILL, and the numbers that every core reads.

use std::sync::atomic::Ordering::Relaxed;

use crate::base::clock::unix_ms;
use crate::command::connection::list_lines;
use crate::control::Control;
use crate::mesh::message::ClientFilter;
use crate::replication::Backlog;
use crate::replication::report::{ReplicaReport, Report};

use super::replicas::Replica;

impl Control {
    /// Replicas that are well.
    fn good_replicas(&self, now: i64) -> u32 {
        let lag = u64::from(self.config.min_replicas_max_lag);
        let good = |replica: &&Replica| replica.is_online() && replica.lag_s(now) <= lag;
        self.replicas.iter().filter(good).count() as u32
    }

    /// Shares what every core wants to know.
    pub(in crate::control) fn publish_replicas(&mut self) {
        let status = self.observatory.replication.clone();
        let now = unix_ms();
        status.good_replicas.store(self.good_replicas(now), Relaxed);
        let count = self.replicas.count();
        status.replicas.store(count as u32, Relaxed);
        let online = self.replicas.iter().filter(|replica| replica.is_online());
        let known = (count, online.count());
        self.replicas.report_due |= std::mem::replace(&mut self.replicas.known, known) != known;
        let own = |replica: &Replica| replica.memory() - replica.buffers();
        let memory: usize = self.replicas.iter().map(own).sum();
        status.replica_bytes.store(memory as u64, Relaxed);
        self.publish_backlog();
    }

    /// Shares how much memory the stream's end takes.
    pub(super) fn publish_backlog(&self) {
        let status = &self.observatory.replication;
        let backlog = self.replication.backlog.as_ref();
        let bytes = backlog.map_or(0, |backlog| {
            (size_of::<Backlog>() + backlog.memory()) as u64
        });
        // What is beyond the backlog's size is there for replicas alone.
        let within = match self.replicas.count() {
            0 => bytes,
            _ => bytes.min(self.config.repl_backlog_size),
        };
        status.backlog_bytes.store(within, Relaxed);
        status.beyond_backlog_bytes.store(bytes - within, Relaxed);
        let buffers: usize = self.replicas.iter().map(Replica::buffers).sum();
        status.replica_buffer_bytes.store(buffers as u64, Relaxed);
    }

    /// How replication stands, with all that the shards have handed on.
    pub(in crate::control) fn report(&mut self) -> Report {
        self.drain_stream();
        let now = unix_ms();
        let replicas = self
            .replicas
            .in_order()
            .into_iter()
            .map(|replica| ReplicaReport {
                ip: replica.ip(),
                port: replica.facts.port,
                state: replica.state(),
                offset: replica.acked,
                lag_s: replica.lag_s(now),
                flows: replica.flows.as_ref().map_or(0, |flows| flows.in_use()),
            });
        let backlog = self.replication.backlog.as_ref();
        Report {
            link: self.link_report(),
            replicas: replicas.collect(),
            good_replicas: (self.config.min_replicas_to_write > 0
                && self.config.min_replicas_max_lag > 0)
                .then(|| self.good_replicas(now)),
            failover: self.failover_word(),
            history: self.replication.history,
            backlog: backlog.map(|backlog| (backlog.first(), backlog.len())),
        }
    }

    /// CLIENT LIST.
    pub(in crate::control) fn list_replicas(
        &self,
        filter: &ClientFilter,
        lines: &mut Vec<(u64, Vec<u8>)>,
    ) {
        let now = unix_ms();
        for replica in self.replicas.iter() {
            let mut facts = replica.facts_for_list();
            if let Some(backlog) = &self.replication.backlog
                && replica.needs_stream()
            {
                let behind = backlog.next().saturating_sub(replica.next) as usize;
                facts.output_queued = behind;
                facts.output_blocks = behind.div_ceil(16 * 1024);
            }
            list_lines(&replica.client, &facts, filter, now, lines);
        }
    }

    /// CLIENT KILL: how many there were.
    pub(in crate::control) fn kill_replicas(&mut self, filter: &ClientFilter) -> usize {
        let fitting: Vec<u32> = self
            .replicas
            .iter()
            .filter(|replica| replica.client.fits(filter))
            .map(|replica| replica.place)
            .collect();
        for &place in &fitting {
            self.close_replica(place);
        }
        fitting.len()
    }

    /// The users have changed: replicas whose user is gone are closed.
    pub(in crate::control) fn replicas_take_over_users(&mut self) {
        let users = self.users.clone();
        let gone: Vec<u32> = self
            .replicas
            .iter_mut()
            .filter_map(|replica| {
                let stays = replica.client.take_over(&users);
                (!stays).then_some(replica.place)
            })
            .collect();
        gone.into_iter().for_each(|place| self.close_replica(place));
    }
}
