//! Boot: command line, configuration, limits, threads; and the way down.

mod boot;
pub mod logging;
mod placement;

pub use boot::main;
