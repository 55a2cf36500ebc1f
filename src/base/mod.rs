//! The ground floor: small facilities that know nothing of commands, shards or sockets.

/// 80-bit floating-point numbers: the arithmetic of INCRBYFLOAT.
/// Numbers as text, exactly as Redis reads and writes them.
pub mod allocator;
pub mod bits;
pub mod clock;
pub mod collate;
pub mod crc64;
pub mod geo;
pub mod glob;
pub mod hash;
pub mod long_double;
pub mod number;
pub mod random;
pub mod sha1;
pub mod slot;
pub mod sys;
pub mod system;
pub mod title;
pub mod words;
