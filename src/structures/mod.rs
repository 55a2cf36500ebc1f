//! Data structures in memory. They read no clock, no entropy and no configuration: what they need comes in.

/// The hash table of keyspaces, hashes, sets and member indexes.
pub mod table;
