//! Scripts and functions: EVAL and its kin, SCRIPT, FCALL, FUNCTION.
//!
//! Running a script is the engine's part, since only it knows which shards are concerned; what a request asks for is
//! read here.

mod eval;
mod function;
mod script;

use super::spec::Command;

pub use eval::{read, split};
pub use function::change_functions;

pub(super) const COMMANDS: &[Command] = &[
    eval::EVAL,
    eval::EVALSHA,
    eval::EVAL_RO,
    eval::EVALSHA_RO,
    eval::FCALL,
    eval::FCALL_RO,
    script::SCRIPT,
    function::FUNCTION,
];
