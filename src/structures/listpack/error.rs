//! Why bytes are no listpack.

use std::fmt;

/// Why bytes are no listpack. Offsets count from their first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListpackError {
    /// Fewer bytes than an empty listpack has.
    TooShort {
        /// Bytes given.
        len: usize,
    },
    /// The header names another size.
    WrongTotal {
        /// The header's total.
        declared: u32,
        /// Bytes given.
        len: usize,
    },
    /// The last byte is not FF.
    NotTerminated {
        /// Where FF should be.
        offset: usize,
    },
    /// A byte that begins no entry.
    BadEncoding {
        /// Where it stands.
        offset: usize,
        /// The byte.
        byte: u8,
    },
    /// An entry reaches beyond the end.
    Overrun {
        /// Where the entry begins.
        offset: usize,
    },
    /// The back length contradicts the entry.
    BadBackLength {
        /// Where the entry begins.
        offset: usize,
    },
    /// The header counts another number of entries.
    WrongCount {
        /// The header's count.
        declared: u16,
        /// Entries found.
        found: usize,
    },
}

impl fmt::Display for ListpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { len } => write!(f, "a listpack of {len} bytes"),
            Self::WrongTotal { declared, len } => {
                write!(f, "a listpack of {len} bytes that declares {declared}")
            }
            Self::NotTerminated { offset } => write!(f, "no end mark at offset {offset}"),
            Self::BadEncoding { offset, byte } => {
                write!(f, "byte {byte:#04x} at offset {offset} begins no entry")
            }
            Self::Overrun { offset } => {
                write!(f, "the entry at offset {offset} reaches beyond the end")
            }
            Self::BadBackLength { offset } => {
                write!(f, "the entry at offset {offset} has a wrong back length")
            }
            Self::WrongCount { declared, found } => {
                write!(f, "{found} entries where the header says {declared}")
            }
        }
    }
}

impl std::error::Error for ListpackError {}
