//! Data structures in memory. They read no clock, no entropy and no configuration: what they need comes in.

/// One member of a big sorted set, reached by name and by order.
/// The hash table of keyspaces, hashes, sets and member indexes.
/// The order of a big sorted set.
/// Walks over that order which writers may interrupt.
pub mod member;
pub mod ordered;
pub mod ordered_walk;
pub mod table;
