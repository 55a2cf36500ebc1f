//! The control core at work: it owns no keys and does what concerns all cores.

mod accept;
mod cluster;
mod core;
mod heartbeat;
mod listen;
pub mod logging;
mod oom;
mod replication;
mod stopping;
mod title;
mod users;

pub use self::core::{Control, ControlParts};
pub use cluster::ClusterBoot;
pub use listen::{ListenError, Listener, listen};
pub use oom::OomScore;
pub use title::ProcessTitle;
pub use users::{all_channels, load_users};
