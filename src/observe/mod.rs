//! What the server counts. Each core writes its own counters and nobody else's; whoever reports reads them all.

mod counters;
mod errors;
mod histogram;
pub mod info;
pub mod latency;
mod memory;
mod rates;
mod replication;
pub mod slowlog;

pub use counters::{About, CommandCounters, CoreCounters, Counter, Observatory};
pub use errors::ErrorKinds;
pub use histogram::Histogram;
pub use memory::{AllocatorFacts, MemoryFacts, ratio};
pub use rates::{Look, Rate, Rates};
