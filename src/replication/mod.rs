//! One stream of changes out of many: histories and offsets, the backlog, the merge of the shards' effect streams, and
//! what is known about links. It decides and never acts; `control/replication` performs.

mod backlog;
mod cut;
pub mod handshake;
mod history;
mod merge;
mod milestones;
mod peer;
pub mod psync;
pub mod report;
mod spread;
mod status;
mod weave;

pub use backlog::Backlog;
pub use cut::{Copy, Cut, OnEnd, Streaming};
pub use history::{History, Replid};
pub use merge::{Merge, Position, Sink};
pub use milestones::Milestones;
pub use peer::{Filter, PeerFacts, SyncRequest};
pub use spread::Spread;
pub use status::Status;
pub use weave::{Malformed, Piece, Weave};
