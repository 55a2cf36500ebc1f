//! The ground floor: small facilities that know nothing of commands, shards or sockets.

pub mod glob;
