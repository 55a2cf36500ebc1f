//! What outlives the process: the snapshot format, and the files it goes into.
//!
//! `rdb/` is the format, `snapshot.rs` writes a keyspace in it,
//! `background.rs` what walks hand over while the server goes on (`parts.rs`, `spill.rs`, `packing.rs`), `load.rs` reads a file back, `flow.rs`
//! takes its keys to the cores that own them, `aof/` is the append-only files, `file.rs` is the only place
//! that makes files, `status.rs` what others may know about all that.

pub mod aof;
pub mod background;
pub mod file;
pub mod flow;
pub mod load;
mod packing;
pub mod parts;
pub mod rdb;
pub mod snapshot;
mod spill;
pub mod status;

pub use status::{Status, Trouble};
