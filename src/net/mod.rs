//! The client side of a data core: a connection with its input, its replies in order and its output.

mod connection;
mod output;
mod wave;

pub use connection::{Awaiting, Blocking, Connection, Sent, Written};
pub use output::Output;
pub use wave::Wave;
