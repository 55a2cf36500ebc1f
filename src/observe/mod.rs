//! What the server counts. Each core writes its own counters and nobody else's; whoever reports reads them all.

mod counters;
mod histogram;

pub use counters::{CommandCounters, CoreCounters, Counter, Observatory};
pub use histogram::Histogram;
