//! The protocol of clients: bytes to requests, replies to bytes, and every error text a client can read.

pub mod error;
pub mod parser;
pub mod reply;
pub mod request;

pub use error::ErrorReply;
pub use reply::Reply;
pub use request::{Args, Caller, Key, Span, write_command};
