//! Replication: what replicas say and ask for, what operators ask and order. The control core does the rest.

mod failover;
mod psync;
mod replconf;
mod replicaof;
mod role;

#[cfg(test)]
mod tests;

use crate::resp::ErrorReply;

use super::client::Step;
use super::spec::Command;

pub(super) const COMMANDS: &[Command] = &[
    failover::FAILOVER,
    psync::PSYNC,
    replconf::REPLCONF,
    replicaof::REPLICAOF,
    replicaof::SLAVEOF,
    role::ROLE,
    psync::SYNC,
];

type Outcome = Result<Step, ErrorReply>;
