//! Slotwise: a Redis-compatible in-memory data server in which every core owns a share of the hash slots.
//!
//! The rooms below stand in the order of dependency: a room uses those above it and never those below it
//! (`tests/tidy.rs` holds them to that). docs/architecture.md is the map.

/// Hash slots, hashing, random numbers, glob patterns, numbers as text: the ground floor, which knows no commands.
pub mod base;

/// One core's io_uring: accept, receive, send, wake. It knows no protocol.
pub mod ring;

/// Hash table, listpack, intset, quicklist, ordered set: data structures in memory and nothing else.
pub mod structures;

/// RESP2, RESP3 and inline requests: bytes to requests, replies to bytes, every error text a client can read.
pub mod resp;

/// Every directive, how it gets its value, and the `Config` that the server reads.
pub mod config;

/// What a write did, as a command that reproduces it; the ordered stream of one shard.
pub mod effect;

/// Databases by slot: values and their encodings, expiry, eviction, watched keys.
pub mod keyspace;

/// Users and what they may do: categories, selectors, key and channel patterns, the log of denials.
pub mod acl;

/// What outlives the process: the snapshot format, and the files it goes into.
pub mod persistence;

/// The cluster bus, who owns which slot, failover: it decides and never acts.
pub mod cluster;
/// Histories and offsets, the backlog, the merge of the shards' effect streams: decisions, no sockets.
pub mod replication;

/// Channels, patterns, subscribers: who hears what, and what a message looks like.
pub mod pubsub;
/// Lua scripts and function libraries: the sandbox, what a script may call, values to replies and back.
pub mod script;

/// All that one core may ask of another, and the channels, berths and wake-ups that carry it.
pub mod mesh;

/// What one core owns, as one value: the argument of every handler.
pub mod shard;

/// What the server counts: per core, by its owner alone, read by whoever reports.
pub mod observe;

/// Several shards as one step: who takes part, in which order, lent and given back.
pub mod transaction;

/// What a command is, all of them, may it run, what is remembered of a client; then one file per group.
pub mod command;

/// Data sets brought back from files: which files, how much of them counts, replayed into shards of their own.
pub mod recovery;

/// The client side of a data core: connections, reply order, output buffers.
pub mod net;

/// A data core at work: the loop turn, execution, batches in and out, background steps.
pub mod engine;

/// The control core at work: accepting, configuration changes, signals.
pub mod control;

/// Boot, core placement, shutdown.
pub mod server;
