//! Boot: command line, configuration, limits, threads; and the way down.

mod boot;
mod logs;
mod placement;
mod start;

pub use boot::main;
