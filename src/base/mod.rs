//! The ground floor: small facilities that know nothing of commands, shards or sockets.

pub mod clock;
pub mod hash;
pub mod random;
pub mod slot;
