//! One core's io_uring for client sockets: receive, send, wake. It knows no protocol and owns no connection.

mod buffers;
mod probe;
mod uring;

pub use buffers::Received;
pub use probe::{Unusable, probe};
pub use uring::{Completion, Operation, Ring, WakeHandle};
