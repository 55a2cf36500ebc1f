//! What the thread of a replica's link, the control core, and the core that applies the stream share of one link, and
//! what they tell each other.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use socket2::Socket;

use crate::config::Config;
use crate::persistence::snapshot::StreamPlace;
use crate::replication::report::LinkState;
use crate::replication::{Piece, Replid};

/// One link of this replica to its primary. REPLICAOF ends it and begins another.
#[derive(Debug, Default)]
pub struct PrimaryLink {
    /// Rises with each link; what an earlier one still says is not listened to.
    pub generation: u64,
    /// The link is to end.
    pub stopped: AtomicBool,
    socket: Mutex<Option<Arc<Socket>>>,
    state: AtomicU8,
    /// Offset of the stream up to which it has been received.
    pub received: AtomicU64,
    /// Offset of the stream up to which it has been applied.
    pub applied: AtomicU64,
    /// Offset up to which what was applied is on disk, when append-only files are written; else zero.
    pub synced: AtomicU64,
    /// The primary wants no acknowledgements: it was asked by SYNC.
    pub is_mute: AtomicBool,
    /// When the primary last sent something, Unix milliseconds; zero without a connection.
    pub last_io_ms: AtomicI64,
    /// A full copy is being received or loaded.
    pub is_syncing: AtomicBool,
    /// Length of the full copy being received: -1 before it is known, 0 when it is sent without one.
    pub copy_total: AtomicI64,
    /// Bytes of it received.
    pub copy_read: AtomicU64,
    /// Bytes of the stream that the applying core has dealt with or cannot go on without more.
    taken: Mutex<Vec<u64>>,
    taken_moved: Condvar,
    /// The number of the connection; what comes late of an earlier one is not listened to.
    pub connection: AtomicU64,
    /// The stream comes in frames, for so many parallel flows; zero when it comes as it is.
    pub flows: AtomicU16,
    /// Bytes that flows have carried.
    pub flow_bytes: AtomicU64,
    /// A flow has broken: the next connection does without.
    pub flows_failed: AtomicBool,
    flow_sockets: Mutex<Vec<Arc<Socket>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic ends the process, so a poisoned lock is never met.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PrimaryLink {
    /// A link that has not been begun.
    pub fn new(generation: u64) -> Self {
        PrimaryLink {
            generation,
            copy_total: AtomicI64::new(-1),
            state: AtomicU8::new(LinkState::Connect as u8),
            ..PrimaryLink::default()
        }
    }

    /// How it stands.
    pub fn state(&self) -> LinkState {
        let state = self.state.load(Relaxed);
        LinkState::ALL
            .into_iter()
            .find(|one| *one as u8 == state)
            .unwrap_or(LinkState::None)
    }

    /// It stands so.
    pub fn set_state(&self, state: LinkState) {
        self.state.store(state as u8, Relaxed);
    }

    /// Its connection, or that it has none.
    pub fn set_socket(&self, socket: Option<Arc<Socket>>) {
        *lock(&self.socket) = socket;
        if self.stopped.load(Relaxed) {
            self.disconnect(); // it was stopped while it connected
        }
    }

    /// The addresses of both ends of its connection: the primary's and ours.
    pub fn addresses(&self) -> (String, String) {
        let socket = lock(&self.socket).clone();
        let shown = |address: Option<std::io::Result<socket2::SockAddr>>| {
            let address = address.and_then(Result::ok);
            address
                .and_then(|address| address.as_socket())
                .map_or_else(|| "?:0".to_owned(), |address| address.to_string())
        };
        let socket = socket.as_deref();
        (
            shown(socket.map(Socket::peer_addr)),
            shown(socket.map(Socket::local_addr)),
        )
    }

    /// Ends the connection: whoever reads from it finds its end.
    pub fn disconnect(&self) {
        if let Some(socket) = &*lock(&self.socket) {
            let _ = socket.shutdown(std::net::Shutdown::Both); // it may have ended by itself
        }
        for socket in &*lock(&self.flow_sockets) {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }

    /// A flow of connection `connection` has been made. False when that has ended.
    pub fn add_flow(&self, connection: u64, socket: Arc<Socket>) -> bool {
        let mut sockets = lock(&self.flow_sockets);
        let is_wanted = self.connection.load(Relaxed) == connection && !self.is_stopped();
        if is_wanted {
            sockets.push(socket);
        }
        is_wanted
    }

    /// A connection has ended, and its flows with it.
    pub fn end_connection(&self) {
        let mut sockets = lock(&self.flow_sockets);
        self.connection.fetch_add(1, Relaxed);
        for socket in sockets.drain(..) {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        drop(sockets);
        self.taken_moved.notify_all();
    }

    /// Whether all has been read that the primary had sent before it closed the connection.
    pub fn has_ended(&self) -> bool {
        let socket = lock(&self.socket).clone();
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        socket.is_none_or(|socket| matches!(socket.recv_with_flags(&mut byte, flags), Ok(0)))
    }

    /// Ends the link for good.
    pub fn stop(&self) {
        self.stopped.store(true, Relaxed);
        self.disconnect();
        self.taken_moved.notify_all();
    }

    /// Whether it is to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Sends a few bytes if there is room for them, which there is unless the primary has stopped reading.
    pub fn send_little(&self, bytes: &[u8]) {
        let socket = lock(&self.socket).clone();
        if let Some(socket) = socket {
            let _ = socket.send_with_flags(bytes, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
        }
    }

    /// Tells the primary that everything up to `offset` has been applied.
    pub fn acknowledge(&self, offset: u64) {
        if self.is_mute.load(Relaxed) {
            return;
        }
        let offset = offset.to_string();
        let synced = self.synced.load(Relaxed);
        let mut parts: Vec<&[u8]> = vec![b"REPLCONF", b"ACK", offset.as_bytes()];
        let digits = synced.to_string();
        if synced > 0 {
            parts.extend([&b"FACK"[..], digits.as_bytes()]);
        }
        self.send_little(&crate::replication::handshake::command(&parts));
    }

    /// A stream begins, over so many ways.
    pub fn begin_ways(&self, ways: usize) {
        *lock(&self.taken) = vec![0; ways];
    }

    /// The applying core is through with so many bytes of this way since the stream began, or needs more.
    pub fn note_taken(&self, way: usize, bytes: u64) {
        if let Some(taken) = lock(&self.taken).get_mut(way) {
            *taken = bytes;
        }
        self.taken_moved.notify_all();
    }

    /// Waits until at most `most` of the `sent` bytes of a way are in the applying core's hands, but not for ever.
    pub fn wait_for_room(&self, way: usize, sent: u64, most: u64, longest: Duration) -> bool {
        let taken = lock(&self.taken);
        let is_full = |taken: &mut Vec<u64>| {
            let taken = taken.get(way).copied().unwrap_or(0);
            sent.saturating_sub(taken) > most && !self.is_stopped()
        };
        let waited = self.taken_moved.wait_timeout_while(taken, longest, is_full);
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !is_full(&mut taken)
    }
}

/// What a link's thread wants of the control core.
#[derive(Debug)]
pub enum LinkEvent {
    /// It is about to connect.
    Attempt(mpsc::Sender<Attempt>),
    /// The primary has agreed to go on where this replica is, perhaps under another name.
    Continues(Option<Replid>, mpsc::Sender<()>),
    /// The primary sends a full copy; how far it is, when it says so.
    Copies(Option<(Replid, u64)>),
    /// The copy takes the place of the data that are there from here on.
    Replaces(mpsc::Sender<()>),
    /// The copy is in. The history it belongs to, and the database selected in the stream that follows.
    Loaded {
        /// Name and offset; none when the primary knows only SYNC.
        position: Option<(Replid, u64)>,
        /// The selected database.
        db: u32,
        /// Told when the stream may come.
        answer: mpsc::Sender<()>,
    },
    /// Bytes have come over a way of a stream in frames: 0 is the connection itself, flows follow.
    Arrived {
        /// The connection's number.
        connection: u64,
        /// The way.
        way: usize,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The link is down. What was begun is given up.
    Lost {
        /// The primary did not agree to what FAILOVER had asked for.
        refused: bool,
        /// Since when, Unix milliseconds: whoever is told may have been asleep since.
        since_ms: i64,
    },
}

/// What a link's thread needs to know to connect.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The configuration.
    pub config: Arc<Config>,
    /// Name of the history, and the number of the first byte of it that is missing here; none when a full copy is needed.
    pub position: Option<(Replid, u64)>,
    /// Name of the history that the data belong to.
    pub history: Replid,
    /// The other end is to become the primary of this server (FAILOVER).
    pub failover: bool,
}

/// What the core that applies the stream is told.
#[derive(Debug)]
pub enum FeedMessage {
    /// A stream begins.
    Begin {
        /// The link.
        link: Arc<PrimaryLink>,
        /// The id of the pseudo client.
        client: u64,
        /// Its peer's and its own address.
        addresses: (String, String),
        /// The selected database.
        db: u32,
        /// The history that it is of.
        history: Replid,
        /// The offset before the first byte.
        offset: u64,
        /// It is applied by several cores, each of which gets its pieces.
        in_pieces: bool,
    },
    /// Bytes of it.
    Bytes(u64, Vec<u8>),
    /// Bytes of it for this core, where it is applied by several: all before them has been given to somebody.
    Pieces(u64, Vec<Piece>),
    /// It stands between two commands, with this database selected, and goes on when that is no longer wanted.
    Rests(u64, u32),
    /// It has ended: what has not been begun of it is dropped.
    End(u64),
    /// All cores have ended it, and the data are this moment of it, if it is one that can be gone on from.
    Ended(Option<StreamPlace>),
}
