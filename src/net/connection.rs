//! A connection as its core keeps it.

use std::os::fd::RawFd;
use std::sync::Arc;

use crate::command::client::{Await, Client};
use crate::command::connection::ConnectionFacts;
use crate::command::table::Registered;
use crate::keyspace::TEXT_AT_ONCE_MAX;
use crate::keyspace::blocked::Waiter;
use crate::mesh::Place;
use crate::mesh::message::Have;
use crate::persistence::rdb::Restoring;
use crate::replication::SyncRequest;
use crate::resp::parser::Parser;

use super::output::Output;
use super::wave::Wave;

/// Kept input up to this size grows as vectors do; beyond it, no further than the request at hand takes.
const INPUT_EXACT: usize = 32 * 1024;
/// From here on it gets room for all of its request at once.
const INPUT_EARNEST: usize = 16 * 1024 * 1024;
/// Memory beyond what is kept that an idle connection may go on holding for input.
const INPUT_SPARE: usize = 32 * 1024;

/// A client's connection. An idle one holds no buffer.
pub struct Connection {
    /// Where it is kept.
    pub place: Place,
    /// The socket.
    pub fd: RawFd,
    /// What is remembered of the client.
    pub client: Client,
    /// What has been read of an unfinished request.
    pub parser: Parser,
    /// Bytes that have not been executed; those before `input_at` have.
    pub input: Vec<u8>,
    /// See `input`.
    pub input_at: usize,
    /// Bytes of kept input before which it holds no whole request.
    pub needs: usize,
    /// Replies.
    pub output: Output,
    /// Commands of the pipeline on other shards.
    pub wave: Option<Box<Wave>>,
    /// Something under way must end before the next command: a wave, a transaction, a question to other cores.
    pub waiting: bool,
    /// What it has been answered waits for the disk; it executes nothing meanwhile.
    pub held: bool,
    /// Up to which block of its output that is; what others send it meanwhile makes it wait no longer.
    pub held_to: u64,
    /// Behind how many gates some of its output is.
    pub gates: u32,
    /// Up to which block.
    pub gated_to: u64,
    /// While a log is slow: what its answers of this turn rest on.
    pub light: Light,
    /// The value of the RESTORE that comes next, as far as it is decoded.
    pub restoring: Option<Box<Restoring>>,
    /// Waits in a blocking command.
    pub blocked: Option<Box<Blocking>>,
    /// It has asked for the stream, and leaves this core when nothing of it is under way any more.
    pub leaving: Option<Box<SyncRequest>>,
    /// What it was served before its core has heard that it is blocked.
    pub served: Option<(Arc<Waiter>, Vec<u8>)>,
    /// The shards know it as one that tracks keys.
    pub tracks: bool,
    /// Its PUBLISH is under way.
    pub publishing: bool,
    /// Messages that came while a reply was under way, which they follow.
    pub late: Vec<u8>,
    /// Its subscriptions have changed, and not all shards have been told.
    pub unconfirmed: bool,
    /// In the core's list of connections with something to send.
    pub dirty: bool,
    /// In the core's list of connections with input to execute.
    pub ready: bool,
    /// A multishot receive is armed.
    pub receiving: bool,
    /// The client has ended its side: what it sent before is executed and answered, then the connection ends.
    pub at_end: bool,
    /// No more input is read; the connection ends once its output is sent.
    pub ending: bool,
    /// The socket has been shut down; the connection is freed when the ring is through with it.
    pub closed: bool,
    /// Since when the output is above its soft limit, Unix milliseconds; zero when it is not.
    pub over_soft_since_ms: i64,
    /// Bytes read and written, for CLIENT LIST.
    pub bytes_in: u64,
    /// See `bytes_in`.
    pub bytes_out: u64,
    /// Commands run.
    pub commands: u64,
    /// When its output was handed to the ring last.
    pub sent: Sent,
    /// It has run what may change data since `written` was found out.
    pub has_written: bool,
    /// Where its last change stands, as far as WAIT and WAITAOF have found out.
    pub written: Written,
    /// Memory that its core has counted for it, and how large a client that makes it.
    pub counted: Counted,
}

/// A moment at which a connection's output left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Higher than the stamps of all that had been handed on for replicas (`mesh/flow.rs`).
    pub stamp: u64,
    /// Commands that it had run, all of them to their end; zero when some had not come to it.
    pub commands: u64,
}

/// Where the last change of a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The offset of the stream behind it, or a later one; zero when there is no change.
    pub offset: u64,
    /// It is known to be on disk here.
    pub on_disk: bool,
}

impl Default for Written {
    fn default() -> Self {
        Written {
            offset: 0,
            on_disk: true,
        }
    }
}

/// What rests on no data, and reads, which wait for no disk if all changes to what they read are written.
#[derive(Clone, Debug, Default)]
pub struct Light {
    /// Nothing else so far.
    pub is: bool,
    /// Commands that the connection had run before.
    pub commands: u64,
    /// Commands noted since then.
    pub noted: u64,
    /// The slots that were read.
    pub slots: Vec<u16>,
}

/// What a core has counted for a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Bytes of memory.
    pub bytes: u64,
    /// Its size class, if it may be closed for its size.
    pub class: Option<u8>,
}

/// A blocked client, as its home core knows it.
pub struct Blocking {
    /// The command.
    pub command: &'static Registered,
    /// What shards know of it, when it waits for data.
    pub waiter: Option<Arc<Waiter>>,
    /// Until when, Unix milliseconds.
    pub until: Option<i64>,
    /// The reply when its time has come and it did not wait for data.
    pub timed_out: Vec<u8>,
    /// It waits for replicas or disks.
    pub awaiting: Option<Awaiting>,
}

/// WAIT or WAITAOF under way.
pub struct Awaiting {
    /// Its number.
    pub number: u64,
    /// What for.
    pub wanted: Await,
    /// What the control core has said.
    pub have: Option<Have>,
    /// It has been looked whether the logs are on disk.
    pub log_is_known: bool,
    /// They are.
    pub is_synced: bool,
    /// Its time has come: the next word of the control core is its answer.
    pub is_over: bool,
}

impl Awaiting {
    /// What to answer with, when there is nothing left to wait for.
    pub fn outcome(&self) -> Option<Have> {
        let local = self.wanted.on_disk == Some(true);
        let is_enough = self.log_is_known && (self.is_synced || !local);
        self.have.filter(|_| is_enough || self.is_over)
    }
}

impl Connection {
    /// A connection that has just been accepted.
    pub fn new(place: Place, fd: RawFd, client: Client) -> Self {
        Connection {
            place,
            fd,
            client,
            parser: Parser::default(),
            input: Vec::new(),
            input_at: 0,
            needs: 0,
            output: Output::default(),
            wave: None,
            waiting: false,
            held: false,
            held_to: 0,
            gates: 0,
            gated_to: 0,
            light: Light::default(),
            blocked: None,
            leaving: None,
            restoring: None,
            served: None,
            tracks: false,
            publishing: false,
            late: Vec::new(),
            unconfirmed: false,
            dirty: false,
            ready: false,
            receiving: false,
            at_end: false,
            ending: false,
            closed: false,
            over_soft_since_ms: 0,
            bytes_in: 0,
            bytes_out: 0,
            commands: 0,
            sent: Sent::default(),
            has_written: false,
            written: Written::default(),
            counted: Counted::default(),
        }
    }

    /// Bytes of input not executed yet.
    pub fn pending_input(&self) -> usize {
        // Nothing while its input is being executed and out of its hands.
        self.input.len().saturating_sub(self.input_at)
    }

    /// Whether it is blocked and nobody has ended that yet: who waits for replicas is answered a moment after its time.
    pub fn can_be_unblocked(&self) -> bool {
        self.blocked.as_deref().is_some_and(|blocking| {
            let awaiting = blocking.awaiting.as_ref();
            awaiting.is_none_or(|awaiting| !awaiting.is_over)
        })
    }

    /// Whether it waits for something or for its turn: then what is kept of its input may hold whole requests.
    pub fn has_work(&self) -> bool {
        self.waiting || self.ready || self.held
    }

    /// A stamp above those of all that it has written, which has been answered; nothing when that is not known. `running`
    /// commands of those that it has begun are not asked about.
    pub fn stamp_behind(&self, running: u64) -> Option<u64> {
        let is_answered = self.output.is_done() && self.sent.commands + running == self.commands;
        (is_answered && self.sent.commands > 0).then_some(self.sent.stamp)
    }

    /// Keeps bytes for later.
    pub fn keep_input(&mut self, bytes: &[u8]) {
        if self.input_at == self.input.len() {
            self.input.clear();
            self.input_at = 0;
        }
        let length = self.input.len() + bytes.len();
        if length > INPUT_EXACT && length > self.input.capacity() {
            // A long request is on its way: room for it is made in doubles, but never for more than it will take. Whoever has
            // sent a good part gets all of it, which is only addresses until it comes: to copy hundreds of megabytes when
            // they outgrow their room would hold up the core.
            let whole = (self.input_at + self.needs).max(length);
            let most = if length >= INPUT_EARNEST {
                whole
            } else {
                2 * length
            };
            let room = most.min(whole) - self.input.len();
            self.input.reserve_exact(room);
        }
        self.input.extend_from_slice(bytes);
    }

    /// Gives back memory that input took and no longer needs.
    pub fn trim_input(&mut self) {
        if self.input.capacity() > self.input.len() + INPUT_SPARE {
            self.input.shrink_to_fit();
        }
    }

    /// Bytes of memory it takes.
    pub fn memory(&self) -> usize {
        size_of::<Connection>()
            + self.input.capacity()
            + self.output.memory()
            + self.parser.held_bytes()
            + self.client.memory()
    }

    /// So many more bytes of the kept input have been executed. Gives its memory where that is so much that it has to be
    /// freed in steps.
    pub fn consumed(&mut self, bytes: usize) -> Option<Vec<u8>> {
        self.input_at += bytes;
        if self.input_at == self.input.len() {
            self.input_at = 0;
            if self.input.capacity() > 64 * 1024 {
                let input = std::mem::take(&mut self.input);
                return (input.len() > TEXT_AT_ONCE_MAX).then_some(input);
            }
            self.input.clear();
        } else if self.input_at >= self.input.len() / 2 && self.input_at > 64 * 1024 {
            // Moves at most as much as has been executed since the last move.
            self.input.drain(..self.input_at);
            self.input_at = 0;
        }
        None
    }
}

impl Connection {
    /// What CLIENT LIST and CLIENT INFO tell of it beyond the client itself.
    pub fn facts(&self) -> ConnectionFacts {
        let output = self.output.shown();
        // Redis takes whole arguments out of its query buffer; here they stay in place until the request runs.
        let argument_bytes = self.parser.bytes_read().min(self.pending_input());
        ConnectionFacts {
            input_bytes: self.pending_input() - argument_bytes,
            input_free: self.input.capacity() - self.input.len(),
            argument_bytes,
            output_capacity: self.output.capacity(),
            output_peak: self.output.capacity(),
            output_bytes: output.buffered,
            output_blocks: output.blocks,
            output_queued: output.queued,
            total_bytes: self.memory(),
            sending: self.output.is_sending(),
            blocked: self.blocked.is_some(),
            closing: self.ending,
        }
    }
}
