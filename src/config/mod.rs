//! The configuration: every directive of Redis 7.2 and our own, how files, the command line and CONFIG SET give them
//! values, and the `Config` that the rest of the server reads.
//!
//! `table/` declares each directive once. `value.rs` and `special.rs` are the types, `file.rs`, `command_line.rs`,
//! `set.rs` and `rewrite.rs` the four ways in and out. The room opens no file: texts come in and go out.

mod choice;
mod command_line;
mod directive;
mod fields;
mod file;
mod rewrite;
mod set;
mod special;
mod table;
mod title;
mod value;

#[cfg(test)]
mod tests;

pub use choice::{
    AppendFsync, ChannelDefault, DisklessLoad, EndpointType, LogLevel, MaxmemoryPolicy,
    OomScoreAdj, PipelineOrder, PropagationErrors, ProtectedAction, SnapshotFiles, Supervised,
    SyslogFacility,
};
pub use command_line::{CommandLine, Invocation};
pub use directive::{
    Change, Directive, FileDirective, Role, accepted, all, find, honoured, is_sensitive, refused,
};
pub use fields::{ClientMemory, Config, RenamedCommand, ShutdownWay};
pub use file::{LoadError, Loaded, Origin, Source, Surroundings, load};
pub use rewrite::rewrite;
pub use set::{Changed, SetContext, SetError};
pub use special::BufferLimits;
pub use value::{Kind, Value, memory};
