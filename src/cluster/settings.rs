//! What an operator decides about the cluster: the cluster-* directives, and where this node can be reached.

use super::address::IpText;
use super::slot_map::Endpoint;

/// Milliseconds that no time of a directive goes beyond: 34 years. Sums and small multiples of it stay within 64 bits.
const TIME_MAX_MS: i64 = 1 << 40;

/// The directives that decisions depend on. Those with an effect on files and sockets alone are the driver's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// cluster-node-timeout, milliseconds.
    pub node_timeout_ms: i64,
    /// cluster-ping-interval, milliseconds; 0 for half of the time-out.
    pub ping_interval_ms: i64,
    /// cluster-replica-validity-factor; 0 lets a replica stand for election however old its data is.
    pub replica_validity_factor: i64,
    /// repl-ping-replica-period, seconds.
    pub repl_ping_period_s: i64,
    /// cluster-migration-barrier: replicas that a primary keeps.
    pub migration_barrier: i64,
    /// cluster-allow-replica-migration.
    pub allow_replica_migration: bool,
    /// cluster-require-full-coverage.
    pub require_full_coverage: bool,
    /// cluster-replica-no-failover.
    pub replica_no_failover: bool,
    /// cluster-allow-reads-when-down.
    pub reads_when_down: bool,
    /// cluster-allow-pubsubshard-when-down.
    pub pubsubshard_when_down: bool,
    /// cluster-preferred-endpoint-type.
    pub endpoint: Endpoint,
    /// cluster-announce-ip; `None` to learn the address from those who connect.
    pub announce_ip: Option<IpText>,
    /// Announced port for clients without TLS, 0 if there is none.
    pub port: u16,
    /// Announced port for clients with TLS, 0 if there is none.
    pub tls_port: u16,
    /// Announced port of the bus.
    pub bus_port: u16,
    /// cluster-announce-hostname; empty if there is none.
    pub hostname: String,
    /// cluster-announce-human-nodename; empty if there is none.
    pub node_name: String,
    /// tls-cluster.
    pub tls: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            node_timeout_ms: 15000,
            ping_interval_ms: 0,
            replica_validity_factor: 10,
            repl_ping_period_s: 10,
            migration_barrier: 1,
            allow_replica_migration: true,
            require_full_coverage: true,
            replica_no_failover: false,
            reads_when_down: false,
            pubsubshard_when_down: true,
            endpoint: Endpoint::Ip,
            announce_ip: None,
            port: 6379,
            tls_port: 0,
            bus_port: 16379,
            hostname: String::new(),
            node_name: String::new(),
            tls: false,
        }
    }
}

impl Settings {
    /// Time after which a node that does not answer counts as unreachable.
    pub fn timeout_ms(&self) -> i64 {
        self.node_timeout_ms.clamp(0, TIME_MAX_MS)
    }

    /// Time after which a node is asked again at the latest.
    pub fn ping_after_ms(&self) -> i64 {
        match self.ping_interval_ms {
            0 => self.timeout_ms() / 2,
            interval => interval.clamp(0, TIME_MAX_MS),
        }
    }

    /// How long a handshake may take.
    pub fn handshake_ms(&self) -> i64 {
        self.timeout_ms().max(1000)
    }

    /// How long votes are waited for (5.1).
    pub fn election_ms(&self) -> i64 {
        (self.timeout_ms() * 2).max(2000)
    }

    /// Oldest data with which a replica stands for election; `None` for any age.
    pub fn data_age_max_ms(&self) -> Option<i64> {
        let factor = self.replica_validity_factor;
        (factor != 0).then(|| {
            let ping = self.repl_ping_period_s.clamp(0, TIME_MAX_MS / 1000) * 1000;
            ping.saturating_add(self.timeout_ms().saturating_mul(factor))
        })
    }
}
