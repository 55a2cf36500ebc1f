//! Data structures in memory. They read no clock, no entropy and no configuration: what they need comes in.

/// One member of a big sorted set, reached by name and by order.
pub mod member;

/// The order of a big sorted set.
pub mod ordered;

/// Walks over that order which writers may interrupt.
pub mod ordered_walk;

/// Sorted sets: small ones packed, big ones as table and order.
pub mod zset;
