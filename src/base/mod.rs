//! The ground floor: small facilities that know nothing of commands, shards or sockets.

/// Numbers as text, exactly as Redis reads and writes them.
pub mod number;
