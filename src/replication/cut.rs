//! What the control core asks of the shards for the stream: to begin it, to end it, to mark one moment in it, and to copy
//! the data set as it is at that moment.

use std::path::PathBuf;
use std::sync::Arc;

use crate::persistence::background::{Consumer, Ending};
use crate::persistence::file::Disk;

/// What is to hold from the moment of a cut on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streaming {
    /// The shards hand on what they do; those that did not begin here. So many bytes of one shard may be under way.
    On(usize),
    /// The same, with new flows in the place of all that there were.
    Anew(usize),
    /// Nothing is handed on any more.
    Off,
    /// As it is.
    Same,
}

/// What is called on the writer's thread at the end of a copy.
pub type OnEnd = Box<dyn FnOnce(&Ending) + Send>;

/// The data set at the moment of a cut, into a consumer of its own.
pub struct Copy {
    /// What gets it.
    pub consumer: Box<dyn Consumer>,
    /// Where files are made.
    pub disk: Arc<dyn Disk>,
    /// A path that temporary names are made from.
    pub spill: PathBuf,
    /// How it ended, once it has begun.
    pub on_end: OnEnd,
}

/// One moment of all shards. Its barrier stands in the stream, where there is one.
pub struct Cut {
    /// The barrier's number.
    pub number: u64,
    /// What holds from then on.
    pub streaming: Streaming,
    /// What is copied.
    pub copy: Option<Copy>,
}
