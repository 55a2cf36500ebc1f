//! Replication as the control core performs it: the stream that replicas follow, the replicas of this server, and the
//! link of a replica to its primary. What is decided is decided in `replication/`.

mod answers;
mod copy;
mod failover;
mod flows;
mod link;
mod replicas;
mod role;
mod stream;
mod sync;
mod transfer;
mod waits;
mod weaving;

pub(in crate::control) use failover::Failover;
pub(in crate::control) use replicas::Replicas;
pub(in crate::control) use stream::Replication;
pub(in crate::control) use sync::Copies;
pub(in crate::control) use waits::Waits;
