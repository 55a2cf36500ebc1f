//! What outlives the process: the snapshot format and the files it goes into.

pub mod rdb;
