//! Lua scripts and function libraries: the sandbox, what scripts may call, how values become replies and back.
//!
//! The room knows no shard and no socket: what a running script asks for goes to a `Host`, which the engine implements.
//! `interpreter.rs` is a core's Lua, `stack.rs` the way that every run and call takes through it; `prelude.lua` the
//! sandbox as scripts see it; `store.rs` what all cores share: the cached scripts, the function libraries and what is
//! running.

mod api;
mod arguments;
mod bits;
mod convert;
mod core_scripts;
mod environments;
mod flags;
mod host;
mod interpreter;
mod json;
mod json_read;
mod lent;
mod libraries;
mod msgpack;
mod raised;
mod register;
mod stack;
mod store;
mod structs;

pub use core_scripts::CoreScripts;
pub use flags::{Flags, Shebang};
pub use host::{Host, Pulse};
pub use interpreter::{Call, Interpreter, Kind};
pub use libraries::{Function, Libraries, Library, Metadata};
pub use store::{Running, Script, Scripts, Sha};
