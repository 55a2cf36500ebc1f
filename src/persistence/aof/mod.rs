//! The append-only files: each shard has its own, one manifest names them all.

pub mod log;
pub mod manifest;
pub mod reader;
pub mod recovery;
pub mod rewrite;
pub mod seal;
pub mod set;
pub mod status;
pub mod writer;
