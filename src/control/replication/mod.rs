//! Replication as the control core performs it: the stream that replicas follow, the replicas of this server, and the
//! link of a replica to its primary. What is decided is decided in `replication/`.

mod stream;

pub(in crate::control) use stream::Replication;
