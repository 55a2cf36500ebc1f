//! Boot: command line, configuration, limits, threads; and the way down.

mod boot;
mod placement;

pub use boot::main;
