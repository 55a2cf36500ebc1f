//! The cluster: it decides and never acts.
//!
//! Everything here is pure. Bytes, time and chance come in; packets to send, links to open, a configuration to save and
//! roles to change go out as values, which a driver on the control core carries out (docs/architecture.md, "Cluster: what
//! decides"). So a cluster of hundreds of nodes runs in one test (`simulation/`).

pub mod action;
pub mod address;
pub mod flags;
pub mod node_id;
pub mod nodes_conf;
pub mod packet;
pub mod render;
pub mod route;
pub mod settings;
pub mod slot_map;
pub mod slots;
pub mod state;

#[cfg(test)]
mod simulation;

pub use action::{Action, LinkId, Save, Turn};
pub use flags::NodeFlags;
pub use node_id::NodeId;
pub use settings::Settings;
pub use slot_map::SlotMap;
pub use slots::SlotSet;
pub use state::{Cluster, Observed};
