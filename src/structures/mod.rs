//! Data structures in memory. They read no clock, no entropy and no configuration: what they need comes in.

pub mod bitmap;
pub mod blob;
mod draw;
pub mod entry;
pub mod hash;
pub mod hyperloglog;
pub mod intset;
pub mod list;
pub mod listpack;
pub mod member;
pub mod members;
pub mod ordered;
pub mod ordered_walk;
pub mod quicklist;
pub mod set;
pub mod stream;
pub mod table;
pub mod thin;
pub mod zset;
