//! The snapshot format of Redis (RDB): values as bytes and back, in DUMP payloads and in whole files.
//!
//! ```text
//!   file    = "REDIS" digits{4} ( AUX | FUNCTION | SELECT | RESIZE | entry )* EOF checksum(u64 LE)
//!   entry   = [ EXPIRE_MS i64 LE ] [ IDLE length | FREQ u8 ] type(u8) key(string) value
//!   payload = type(u8) value version(u16 LE) checksum(u64 LE)           DUMP, RESTORE
//! ```
//!
//! Written is version 10 with the value types that Redis 7.0 knows, because every server since then reads that. Read
//! is every version and type up to Redis 7.2, older encodings being turned into ours on the way.
//!
//! `code.rs` has the numbers, `write.rs` the writer, `input.rs` the ground of the reader, `value.rs` its values,
//! `stream.rs` streams, `old.rs` the forms that nobody writes any more, `payload.rs` DUMP payloads, `dumping.rs` those of large values
//! in steps, and `read.rs` whole files.
//!
//! The reader trusts nothing: every length is believed only as far as bytes are there, every packed form is walked to
//! its end, and what is wrong is refused with its offset ([`Problem`]).

pub mod code;
mod dumping;
mod input;
mod lzf;
mod old;
mod payload;
mod problem;
mod read;
mod stream;
mod value;
mod write;

#[cfg(test)]
mod tests;

pub use dumping::{Dumping, Restoring};
pub use lzf::Compressor;
pub use payload::{
    PayloadError, dump, dump_bytes, dump_functions, restore, restore_functions, seal,
};
pub use problem::{Problem, What};
pub use read::{Event, Loaded, Reader};
pub use value::{Content, Limits, Raw};
pub use write::{Usage, Writer};
