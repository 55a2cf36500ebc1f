//! Data structures in memory. They read no clock, no entropy and no configuration: what they need comes in.


/// The sorted row of integers that small sets of integers are.
pub mod intset;

/// The value of a list key, whichever form it has.
pub mod list;

/// The packed row of elements that small collections are.
pub mod listpack;

/// Lists of any length as nodes of listpacks.
pub mod quicklist;

/// Bytes behind a handle of one word.
pub mod thin;
