//! What one shard has done in a turn or a few, as it is handed on to whoever merges the streams of all shards.
//!
//! The bytes are those of the log. Where replicas want something else than logs, or where the merge needs to know more
//! than bytes, a mark says so.

/// Effects of one shard, whole units.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// RESP commands one after the other.
    pub bytes: Vec<u8>,
    /// What stands where in them, in order.
    pub marks: Vec<Mark>,
    /// The database of the first command, unless a SELECT comes before it.
    pub db: Option<u32>,
    /// All that the shard did before this cut has been handed on with this block.
    pub barrier: Option<u64>,
    /// Its place among the blocks of all shards: whatever somebody did who knew of what is in another block has a higher one.
    pub stamp: u64,
}

/// A place in the bytes of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Offset.
    pub at: usize,
    /// What stands there.
    pub what: Marked,
}

/// What stands at a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marked {
    /// A SELECT of so many bytes.
    Select {
        /// Bytes.
        length: usize,
        /// What follows is for this database.
        db: u32,
    },
    /// So many bytes that no replica is to see (an annotation line, redis.set_repl).
    LogsOnly {
        /// Bytes.
        length: usize,
    },
    /// A command that stands in no log: PUBLISH, redis.set_repl.
    ReplicasOnly {
        /// Its database.
        db: u32,
        /// The command, as RESP.
        bytes: Box<[u8]>,
    },
    /// A command of so many bytes that all shards that take part in the step record alike, and that is one for replicas:
    /// FLUSHALL, SWAPDB.
    Everywhere {
        /// Bytes.
        length: usize,
    },
    /// A part of a step over several shards. Marks within it follow.
    Part(Part),
}

/// This shard's part of a step over several shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The step's number.
    pub number: u64,
    /// The shards that have a part in it, ascending.
    pub shards: Box<[u16]>,
    /// Bytes of the part.
    pub length: usize,
    /// Bytes of annotation and MULTI at its beginning.
    pub head: usize,
    /// Bytes of EXEC at its end.
    pub tail: usize,
}

impl Block {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.marks.is_empty() && self.barrier.is_none()
    }
}
