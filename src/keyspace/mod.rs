//! Databases by slot: which key is where, what it holds, when it expires. One shard's share of them.

pub mod blocked;
mod db;
mod evict;
mod slots;
mod value;
pub mod watch;

pub use db::{Db, FoundKey, Hint, KeyEntry, KeyPlace, Keyspace};
pub use evict::{Among, Candidate, Pool, Weights};
pub use slots::SlotTables;
pub use value::{Kind, Remains, TEXT_AT_ONCE_MAX, Value};
