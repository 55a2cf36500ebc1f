//! Long strings of a snapshot, compressed piece by piece by the thread that writes it.
//!
//! The compressed length stands in front of the compressed bytes, so they are gathered: a megabyte of them in memory, more in
//! a file that nobody else sees ([`Spill`]). Each piece is compressed by itself, and one after the other they are what the
//! whole would be. Whether that is worth it is tried with the beginning; if it is not, nothing is gathered.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::file::Disk;
use super::rdb::Compressor;
use super::spill::{Spill, Spilled};

/// Bytes of a string that are tried.
const TRIED: usize = 1 << 20;
/// Bytes of compressed strings kept in memory.
const KEPT: usize = 1 << 20;

/// A long string on its way.
pub(super) struct Packing {
    state: State,
    /// Compressed.
    packed: Spill,
    packed_bytes: usize,
}

enum State {
    /// So much of it has come, and all of that is here.
    Trying(Vec<u8>),
    Packing,
    Plain,
}

/// What is to be written when a piece has come.
pub(super) enum Packed {
    /// Nothing yet.
    Nothing,
    /// The beginning of the string, which is not compressed.
    Begin(Vec<u8>),
    /// The piece itself.
    Piece,
    /// The whole string, of so many compressed bytes.
    Whole(usize, Spilled),
}

impl Packing {
    /// Of a string of which nothing has come yet; `path` is where compressed bytes may be put aside.
    pub fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Packing {
            state: State::Trying(Vec::new()),
            packed: Spill::new(disk, path, KEPT),
            packed_bytes: 0,
        }
    }

    fn pack(&mut self, piece: &[u8], compressor: &mut Compressor) -> io::Result<()> {
        let mut packed = Vec::new();
        // What does not shrink grows by a thirty-second part.
        let fits = compressor.compress(piece, 2 * piece.len() + 8, &mut packed);
        assert!(fits, "a piece is short");
        self.packed_bytes += packed.len();
        self.packed.put(&packed)
    }

    /// Takes the next piece, or with `last` the last one.
    pub fn take(
        &mut self,
        piece: &[u8],
        last: bool,
        compressor: &mut Compressor,
    ) -> io::Result<Packed> {
        match &mut self.state {
            State::Plain => return Ok(Packed::Piece),
            State::Packing => self.pack(piece, compressor)?,
            State::Trying(tried) => {
                tried.extend_from_slice(piece);
                if tried.len() < TRIED && !last {
                    return Ok(Packed::Nothing);
                }
                let tried = std::mem::take(tried);
                self.pack(&tried, compressor)?;
                if self.packed_bytes >= tried.len() - tried.len() / 16 {
                    drop(self.packed.take());
                    self.state = State::Plain;
                    return Ok(Packed::Begin(tried));
                }
                self.state = State::Packing;
            }
        }
        if !last {
            return Ok(Packed::Nothing);
        }
        Ok(Packed::Whole(self.packed_bytes, self.packed.take()))
    }
}
