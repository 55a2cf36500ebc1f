//! The ground floor: small facilities that know nothing of commands, shards or sockets.

/// 80-bit floating-point numbers: the arithmetic of INCRBYFLOAT.
pub mod long_double;

/// Numbers as text, exactly as Redis reads and writes them.
pub mod number;
