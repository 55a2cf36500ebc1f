//! Commands: what one is, all of them, and one file for each group with declarations and handlers side by side.

pub mod admit;
pub mod client;
pub mod connection;
pub mod keys;
pub mod permit;
pub mod server;
pub mod spec;
pub mod table;
pub mod trace;

mod acl;
mod bitmap;
mod cluster;
mod draw;
mod flush;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod list;
mod parse;
mod pubsub;
mod replication;
mod scan;
pub(crate) mod scripting;
mod set;
mod sorted_set;
mod stream;
mod string;
pub(crate) mod transactions;
mod wait;

pub use generic::{cursor_begins, cursor_slot};
pub use scripting::change_functions;

#[cfg(test)]
mod desk;
#[cfg(test)]
pub(crate) mod harness;
