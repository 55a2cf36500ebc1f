//! A data core at work.
//!
//! `core.rs` is the loop turn; `input.rs` cuts input into commands and decides where each runs; `execute.rs` runs them;
//! `remote.rs` moves batches between cores and borrows; `wide.rs` is what takes several shards, `exec.rs` transactions,
//! `questions.rs` what takes answers of other cores and `asks.rs` the answers; `script.rs` runs scripts, `blocked.rs`
//! serves clients that wait for data, `push.rs` says things to clients that have not asked, `users.rs` keeps
//! permissions; `background.rs` is what happens between requests: `expire.rs`, `evict.rs` and `clients.rs` are its
//! larger parts. `migrating.rs` and `restoring.rs` move keys to and from other servers. `loading.rs` takes in a snapshot at start,
//! `reloading.rs` has the data read again.

mod asks;
mod awaiting;
mod background;
mod blocked;
mod carrying;
mod clients;
mod copying;
mod core;
mod deferring;
mod durable;
mod evict;
mod exec;
mod execute;
mod expire;
mod feed;
mod handover;
mod input;
mod loading;
pub mod merge;
mod migrating;
mod patience;
mod pausing;
mod push;
mod questions;
mod reloading;
mod remote;
mod replicating;
mod restoring;
mod rewriting;
mod role;
mod saving;
mod script;
mod slot_costs;
mod slots;
mod users;
mod wide;

pub use self::core::{Core, CoreParts, SharedLinks};
