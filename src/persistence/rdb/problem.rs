//! What can be wrong with bytes from outside.

use std::fmt;

use super::lzf::LzfError;
use crate::structures::intset::IntsetError;
use crate::structures::listpack::ListpackError;
use crate::structures::stream::StreamError;

/// A refusal: what, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Offset of what is wrong, from the first byte of the file or payload.
    pub offset: u64,
    /// What is wrong.
    pub what: What,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the texts below say it
pub enum What {
    /// The bytes end too soon.
    Truncated,
    /// The first bytes are not those of a snapshot.
    Magic,
    Version(u32),
    /// A byte that begins no length.
    Length(u8),
    /// A string or number beyond what can be held.
    TooLong,
    Lzf(LzfError),
    /// A number that is no value type.
    Type(u8),
    /// A known opcode, or a byte in its place, that cannot stand here.
    Opcode(u8),
    /// A module's value; its type's name and version.
    Module(String, u16),
    Listpack(ListpackError),
    Intset(IntsetError),
    Ziplist(&'static str),
    Zipmap(&'static str),
    /// A node of a list of an unknown kind.
    Container(u64),
    /// A member or field occurs twice.
    Duplicate,
    /// A field without a value, a member without a score.
    Odd,
    /// A score that is no number.
    Score,
    Stream(StreamError),
    /// The id of a stream's node has not sixteen bytes.
    StreamKey,
    Checksum {
        expected: u64,
        found: u64,
    },
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Truncated => f.write_str("unexpected end"),
            What::Magic => f.write_str("wrong signature"),
            What::Version(version) => write!(f, "can't handle RDB format version {version}"),
            What::Length(byte) => write!(f, "byte {byte:#04x} begins no length"),
            What::TooLong => f.write_str("longer than can be held"),
            What::Lzf(error) => write!(f, "compressed string: {error:?}"),
            What::Type(byte) => write!(f, "unknown value type {byte}"),
            What::Opcode(byte) => write!(f, "opcode {byte} cannot stand here"),
            What::Module(name, version) => write!(
                f,
                "a value of the module type '{name}' (version {version}); modules are not supported"
            ),
            What::Listpack(error) => write!(f, "listpack integrity check failed: {error}"),
            What::Intset(error) => write!(f, "intset integrity check failed: {error}"),
            What::Ziplist(error) => write!(f, "ziplist integrity check failed: {error}"),
            What::Zipmap(error) => write!(f, "Zipmap integrity check failed: {error}"),
            What::Container(kind) => write!(f, "unknown kind {kind} of list node"),
            What::Duplicate => f.write_str("an element occurs twice"),
            What::Odd => f.write_str("an element without its partner"),
            What::Score => f.write_str("a score that is no number"),
            What::Stream(
                error @ (StreamError::Listpack(_) | StreamError::Frame | StreamError::Counts),
            ) => write!(f, "Stream listpack integrity check failed: {error}"),
            What::Stream(StreamError::DuplicateConsumer) => {
                f.write_str("Duplicate stream consumer detected")
            }
            What::Stream(error) => write!(f, "{error}"),
            What::StreamKey => f.write_str("a stream's node without an id"),
            What::Checksum { expected, found } => write!(
                f,
                "RDB CRC error: the checksum should be ({expected:x}) but is ({found:x})"
            ),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.what, self.offset)
    }
}

impl std::error::Error for Problem {}

/// Why a step of the reader stopped short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// So many bytes beyond the last one at hand are needed at least.
    More(usize),
    /// The bytes are wrong.
    Bad(Problem),
}

impl From<Problem> for Halt {
    fn from(problem: Problem) -> Self {
        Halt::Bad(problem)
    }
}
