//! The server binary: all it does is call the library.

fn main() {}
