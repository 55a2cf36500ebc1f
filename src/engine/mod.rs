//! A data core at work.
//!
//! `core.rs` is the loop turn; `input.rs` cuts input into commands and decides where each runs; `execute.rs` runs them;
//! `remote.rs` moves batches between cores and borrows; `wide.rs` is everything that takes several shards or several
//! cores; `asks.rs` answers other cores; `users.rs` keeps permissions; `background.rs` is what happens between requests; `expire.rs` and `evict.rs` are
//! cores; `asks.rs` answers other cores; `push.rs` says things to clients
//! that have not asked; `background.rs` is what happens between requests; `expire.rs` and `evict.rs` are
//! cores; `script.rs` runs scripts; `asks.rs` answers other cores; `background.rs` is what happens between requests; `expire.rs` and `evict.rs` are
//! its larger parts.

mod asks;
mod background;
mod blocked;
mod clients;
mod core;
mod evict;
mod execute;
mod expire;
mod input;
mod loading;
pub mod merge;
mod push;
mod remote;
mod script;
mod users;
mod wide;

pub use self::core::{Core, CoreParts, SharedLinks};
