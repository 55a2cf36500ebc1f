//! What a running script needs of the server.

use crate::resp::request::OwnedArgs;

/// What a script that has run for a while is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Go on.
    Continue,
    /// End: somebody asked for it, or the server stops.
    Kill,
}

/// The server as a running script sees it.
pub trait Host {
    /// Runs a command and appends its reply, in the given version of the protocol. An error that the command itself
    /// answers is a reply; what keeps it from running at all is the text of an error, without a code where it is `ERR`.
    fn call(&mut self, args: &OwnedArgs, resp3: bool, out: &mut Vec<u8>) -> Result<(), Vec<u8>>;

    /// Called every so many instructions.
    fn pulse(&mut self) -> Pulse;

    /// redis.set_repl: whether writes from here on go to the append-only file (1) and to replicas (2).
    fn set_repl(&mut self, flags: u8);

    /// Whether the caller may run the command, for redis.acl_check_cmd; `None` when there is no such command.
    fn may_run(&mut self, args: &OwnedArgs) -> Option<bool>;

    /// redis.log: a line for the server's log; 0 is debug, 3 a warning.
    fn log(&mut self, level: u8, line: &[u8]);
}
