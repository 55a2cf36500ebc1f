//! Slotwise: a Redis-compatible in-memory data server in which every core owns a share of the hash slots.
//!
//! The rooms below stand in the order of dependency: a room uses those above it and never those below it
//! (`tests/tidy.rs` holds them to that). docs/architecture.md is the map.

/// Hash slots, hashing, random numbers, glob patterns, numbers as text: the ground floor, which knows no commands.
pub mod base;

/// Hash table, listpack, intset, quicklist, ordered set: data structures in memory and nothing else.
pub mod structures;

/// Every directive, how it gets its value, and the `Config` that the server reads.
pub mod config;
