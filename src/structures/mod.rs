//! Data structures in memory. They read no clock, no entropy and no configuration: what they need comes in.


/// The sorted row of integers that small sets of integers are.
pub mod intset;

/// The packed row of elements that small collections are.
pub mod listpack;

/// Bytes behind a handle of one word.
pub mod thin;
