//! Data structures in memory. They read no clock, no entropy and no configuration: what they need comes in.
/// Bytes behind a handle of one word.
/// One member of a big sorted set, reached by name and by order.
/// The hash table of keyspaces, hashes, sets and member indexes.
/// The order of a big sorted set.
/// The packed row of elements that small collections are.
/// The sorted row of integers that small sets of integers are.
/// Walks over that order which writers may interrupt.
pub mod blob;
mod draw;
pub mod hash;
pub mod intset;
pub mod listpack;
pub mod member;
pub mod ordered;
pub mod ordered_walk;
pub mod set;
pub mod table;
pub mod thin;
