//! What one core owns, as one value: keyspace, effects, watched keys, time and chance. The argument of every handler.
//!
//! A `Shard` is `Send` and reached only through whoever holds it: its own core, a core that borrowed it while it
//! slept, or a transaction it was lent to. Nothing of it lives in thread-local state.

mod access;
mod arrival;
mod evict;
mod own;
pub mod saving;
mod shards;
mod slot_costs;
mod slots;
mod snapshot;
mod walk;

pub use access::{ExpiryChange, usage};
pub use evict::Eviction;
pub use own::{Class, FORGET_STEP, Shard, ShardStats};
pub use shards::Shards;
pub use slot_costs::{SlotCost, SlotCosts};
pub use walk::{Progress, Walk};
