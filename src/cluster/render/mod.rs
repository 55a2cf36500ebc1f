//! What CLUSTER's subcommands show, from what the node knows (specification, 8.2 to 8.7).
//!
//! `text.rs` has NODES, REPLICAS and INFO, `maps.rs` SLOTS and SHARDS, `links.rs` LINKS. All of them only read, so their
//! replies can be kept until the map changes, where a client does not ask for times.

mod links;
mod maps;
mod text;

#[cfg(test)]
mod tests;

pub use links::{LinkUse, links};
pub use maps::{shards, slots};
pub use text::{info, nodes, replicas};
