//! The thread of a replica's link to its primary: it connects, talks until the copy or the stream comes, and hands on
//! what comes. Whatever may take long there (names, connecting, files) holds up nobody else.
//!
//! What it does to this server's data and history it asks of the control core and the first core (`mesh/primary.rs`),
//! which do not listen once the link has been replaced by another one.

use std::io::{self, Read};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::base::allocator::Account;
use crate::base::clock::unix_ms;
use crate::engine::SharedLinks;
use crate::mesh::message::CoreMessage;
use crate::mesh::primary::{Attempt, FeedMessage, LinkEvent, PrimaryLink};
use crate::observe::Observatory;
use crate::replication::handshake::{Beginning, Handshake, Offer, Settings};
use crate::replication::report::LinkState;

/// Time between two attempts, and between two acknowledgements.
const SECOND: Duration = Duration::from_secs(1);
/// Bytes read at a time.
pub(super) const CHUNK: usize = 128 * 1024;
/// Bytes of the stream in the applying core's hands beyond which no more are read.
pub(super) const UNAPPLIED_MAX: u64 = 8 << 20;
/// The longest line taken before the copy or the stream.
const LINE_MAX: usize = 64 * 1024;

/// Why a link ends.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was told to.
    Stopped,
    /// The primary was silent for longer than `repl-timeout`.
    Silent,
    /// As the text says, which is logged.
    Told(String),
    /// The primary cannot answer yet: logged as something usual.
    NotYet(String),
    /// The other end does not take over, as FAILOVER had asked for.
    Refused(String),
    /// It has been logged.
    Logged,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Told(error.to_string())
    }
}

/// The thread's own view.
#[derive(Clone)]
pub(super) struct Thread {
    pub link: Arc<PrimaryLink>,
    pub links: Arc<SharedLinks>,
    pub observatory: Arc<Observatory>,
    pub host: String,
    pub port: u16,
}

/// What comes from the primary.
pub(super) struct Incoming {
    pub socket: Arc<Socket>,
    link: Arc<PrimaryLink>,
    observatory: Arc<Observatory>,
    /// What has been read and not been used.
    pub rest: Vec<u8>,
    heard: Instant,
    /// What comes in goes on to cores, which free it.
    account: Account,
}

impl Incoming {
    /// What comes over a socket, for a thread.
    pub fn new(socket: Arc<Socket>, thread: &Thread) -> Self {
        Incoming {
            socket,
            link: thread.link.clone(),
            observatory: thread.observatory.clone(),
            rest: Vec::new(),
            heard: Instant::now(),
            account: thread.observatory.snapshots.beside.account(),
        }
    }

    /// Reads some bytes; nothing at the end of the stream. Waits for `repl-timeout` at most.
    pub fn read_some(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        if !self.rest.is_empty() {
            let count = self.rest.len().min(into.len());
            into[..count].copy_from_slice(&self.rest[..count]);
            self.rest.drain(..count);
            return Ok(count);
        }
        loop {
            if self.is_over() {
                return Err(Failure::Stopped);
            }
            match (&*self.socket).read(into) {
                Ok(count) => {
                    self.note(count);
                    return Ok(count);
                }
                Err(error) if is_silence(&error) => {
                    if self.heard.elapsed() > self.observatory.replication.timeout() {
                        return Err(Failure::Silent);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether nothing is to be waited for any more.
    pub fn is_over(&self) -> bool {
        self.link.is_stopped() || self.observatory.snapshots.stopping.load(Relaxed)
    }

    pub(super) fn note(&mut self, count: usize) {
        self.account.settle();
        self.heard = Instant::now();
        self.link.last_io_ms.store(unix_ms(), Relaxed);
        let bytes = &self.observatory.replication.bytes_in;
        bytes.fetch_add(count as u64, Relaxed);
    }

    /// The next line without its end.
    pub fn line(&mut self) -> Result<Vec<u8>, Failure> {
        let mut line = Vec::new();
        let mut chunk = [0; 1024];
        loop {
            let count = self.read_some(&mut chunk)?;
            if count == 0 {
                return Err(Failure::Told("connection lost".to_owned()));
            }
            match chunk[..count].iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    line.extend_from_slice(&chunk[..end]);
                    let mut rest = chunk[end + 1..count].to_vec();
                    rest.append(&mut self.rest);
                    self.rest = rest;
                    if line.last() == Some(&b'\r') {
                        line.pop();
                    }
                    return Ok(line);
                }
                None => line.extend_from_slice(&chunk[..count]),
            }
            if line.len() > LINE_MAX {
                return Err(Failure::Told("a line of the primary has no end".to_owned()));
            }
        }
    }
}

/// Whether a read has only found nothing to read.
pub(super) fn is_silence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

impl Thread {
    /// Begins the thread.
    pub fn start(self) -> io::Result<()> {
        let thread = std::thread::Builder::new().name("primary-link".to_owned());
        thread.spawn(move || self.run()).map(drop)
    }

    fn run(self) {
        while !self.is_over() {
            let begun = Instant::now();
            let was_up = self.attempt();
            if self.is_over() {
                break;
            }
            // A link that was up is made again at once.
            while !was_up && begun.elapsed() < SECOND && !self.is_over() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.drop_connection();
    }

    /// Whether the link is to end.
    pub fn is_over(&self) -> bool {
        self.link.is_stopped() || self.observatory.snapshots.stopping.load(Relaxed)
    }

    fn drop_connection(&self) {
        self.link.disconnect();
        self.link.end_connection();
        self.link.set_socket(None);
        self.link.last_io_ms.store(0, Relaxed);
    }

    /// Tells the control core.
    pub fn tell(&self, event: LinkEvent) {
        let control = self.links.control();
        control.mail(CoreMessage::Link(self.link.generation, event));
        control.wake_by_event();
    }

    /// Tells the first core.
    pub fn tell_first(&self, message: CoreMessage) {
        let first = self.links.core(0);
        first.mail(message);
        first.wake_by_event();
    }

    /// Asks and waits for the answer, which does not come when the link has been replaced or the server stops.
    pub fn ask<T>(&self, ask: impl FnOnce(mpsc::Sender<T>)) -> Result<T, Failure> {
        let (answer, answered) = mpsc::channel();
        ask(answer);
        loop {
            match answered.recv_timeout(Duration::from_millis(100)) {
                Ok(answer) => return Ok(answer),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(Failure::Stopped),
                Err(mpsc::RecvTimeoutError::Timeout)
                    if self.observatory.snapshots.stopping.load(Relaxed) =>
                {
                    return Err(Failure::Stopped);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// One connection from beginning to end. True when the stream was followed.
    fn attempt(&self) -> bool {
        self.link.set_state(LinkState::Connect);
        let Ok(attempt) = self.ask(|answer| self.tell(LinkEvent::Attempt(answer))) else {
            return false;
        };
        let mut was_up = false;
        let outcome = self.follow(&attempt, &mut was_up);
        self.drop_connection();
        self.link.set_state(LinkState::Connect);
        self.link.is_syncing.store(false, Relaxed);
        match outcome {
            Err(Failure::Told(ref text)) => log::warn!("{text}"),
            Err(Failure::NotYet(ref text)) => log::info!("{text}"),
            Err(Failure::Refused(ref text)) => log::warn!("{text}"),
            Err(Failure::Silent) => log::warn!("Timeout connecting to the MASTER..."),
            Ok(()) | Err(Failure::Stopped | Failure::Logged) => {}
        }
        if !self.link.is_stopped() {
            let refused = matches!(outcome, Err(Failure::Refused(_)));
            let since_ms = unix_ms();
            self.tell(LinkEvent::Lost { refused, since_ms });
        }
        was_up
    }

    fn follow(&self, attempt: &Attempt, was_up: &mut bool) -> Result<(), Failure> {
        log::info!("Connecting to MASTER {}:{}", self.host, self.port);
        self.link.set_state(LinkState::Connecting);
        let socket = Arc::new(self.connect(attempt)?);
        log::info!("MASTER <-> REPLICA sync started");
        self.link.set_socket(Some(socket.clone()));
        self.link.last_io_ms.store(unix_ms(), Relaxed);
        self.link.set_state(LinkState::Handshake);
        let mut incoming = Incoming::new(socket, self);
        let (beginning, offer) = self.converse(attempt, &mut incoming)?;
        let flows = offer.map_or(0, |offer| offer.flows);
        if usize::from(flows) > self.links.shards() {
            let text = format!("The primary offers {flows} flows, more than were asked for");
            return Err(Failure::Told(text));
        }
        self.link.flows.store(flows, Relaxed);
        self.link
            .is_mute
            .store(beginning == Beginning::Legacy, Relaxed);
        let offset = match beginning {
            Beginning::Continue(id) => {
                log::info!("Successful partial resynchronization with master.");
                self.ask(|answer| self.tell(LinkEvent::Continues(id, answer)))?;
                log::info!("MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization.");
                attempt.position.map_or(0, |(_, from)| from - 1)
            }
            Beginning::Full(id, offset) => {
                self.copy(attempt, &mut incoming, Some((id, offset)))?;
                offset
            }
            Beginning::Legacy => {
                self.copy(attempt, &mut incoming, None)?;
                0
            }
        };
        *was_up = true;
        if let Some(offer) = offer {
            self.start_flows(attempt, &incoming.socket, offer);
        }
        self.stream(&mut incoming, offset)
    }

    /// Connects to the first address of the host that answers.
    fn connect(&self, attempt: &Attempt) -> Result<Socket, Failure> {
        let failed =
            |error: io::Error| Failure::Told(format!("Unable to connect to MASTER: {error}"));
        let addresses = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(failed)?;
        let timeout = Duration::from_secs(attempt.config.repl_timeout_s.max(1).into());
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            if self.is_over() {
                return Err(Failure::Stopped);
            }
            match connect_to(address, attempt, timeout) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        if last.kind() == io::ErrorKind::TimedOut {
            return Err(Failure::Told(
                "Timeout connecting to the MASTER...".to_owned(),
            ));
        }
        if last.kind() == io::ErrorKind::ConnectionRefused {
            return Err(Failure::Told(format!(
                "Error condition on socket for SYNC: {last}"
            )));
        }
        Err(failed(last))
    }

    fn converse(
        &self,
        attempt: &Attempt,
        incoming: &mut Incoming,
    ) -> Result<(Beginning, Option<Offer>), Failure> {
        let config = &attempt.config;
        let has_failed = self.link.flows_failed.swap(false, Relaxed);
        let shards = self.links.shards();
        let flows = config.repl_parallel_flows && shards > 1 && !has_failed;
        let settings = Settings {
            user: config.masteruser.clone(),
            password: config.masterauth.clone(),
            port: match config.replica_announce_port {
                0 => config.port,
                port => port,
            },
            address: config.replica_announce_ip.clone(),
            position: attempt.position,
            failover: attempt.failover,
            flows: if flows { shards as u16 } else { 0 },
        };
        let (mut handshake, first) = Handshake::begin(settings);
        send_all(&incoming.socket, &first)?;
        loop {
            let line = incoming.line().map_err(|failure| match failure {
                Failure::Told(text) => {
                    Failure::Told(format!("Failed to read response from the server: {text}"))
                }
                other => other,
            })?;
            match handshake.on_line(&line) {
                Ok(next) => {
                    if !next.send.is_empty() {
                        send_all(&incoming.socket, &next.send)?;
                    }
                    if let Some(beginning) = next.begins {
                        return Ok((beginning, handshake.offer()));
                    }
                }
                Err(refused) if attempt.failover && handshake.is_at_the_end() => {
                    return Err(Failure::Refused(refused.text));
                }
                Err(refused) if refused.is_passing => return Err(Failure::NotYet(refused.text)),
                Err(refused) => return Err(Failure::Told(refused.text)),
            }
        }
    }

    /// Hands the stream on as it comes, and acknowledges what has been applied of it once a second.
    fn stream(&self, incoming: &mut Incoming, offset: u64) -> Result<(), Failure> {
        let link = &self.link;
        link.received.store(offset, Relaxed);
        link.set_state(LinkState::Connected);
        let mut sent = 0;
        if !incoming.rest.is_empty() {
            let rest = std::mem::take(&mut incoming.rest);
            sent = self.hand_on(rest, sent);
        }
        let mut chunk = vec![0; CHUNK];
        let mut acknowledged = Instant::now();
        link.acknowledge(link.applied.load(Relaxed));
        let mut patience = Duration::ZERO;
        loop {
            if self.is_over() {
                return Err(Failure::Stopped);
            }
            let due = SECOND.saturating_sub(acknowledged.elapsed());
            if due.is_zero() {
                link.acknowledge(link.applied.load(Relaxed));
                acknowledged = Instant::now();
                incoming.account.settle();
                continue;
            }
            if sent > 0 && !link.wait_for_room(0, sent, UNAPPLIED_MAX, due) {
                incoming.heard = Instant::now(); // nothing is read, so nothing can be heard
                continue;
            }
            let wanted = due.max(Duration::from_millis(1));
            if patience.abs_diff(wanted) > Duration::from_millis(50) {
                incoming.socket.set_read_timeout(Some(wanted))?;
                patience = wanted;
            }
            match (&*incoming.socket).read(&mut chunk) {
                Ok(0) => {
                    log::warn!("Connection with master lost.");
                    return Err(Failure::Logged);
                }
                Ok(count) => {
                    incoming.note(count);
                    sent = self.hand_on(chunk[..count].to_vec(), sent);
                }
                Err(error) if is_silence(&error) => {
                    if incoming.heard.elapsed() > self.observatory.replication.timeout() {
                        log::warn!("MASTER timeout: no data nor PING received...");
                        log::warn!("Connection with master lost.");
                        return Err(Failure::Logged);
                    }
                }
                Err(error) => {
                    log::warn!("Error reading from master: {error}");
                    log::warn!("Connection with master lost.");
                    return Err(Failure::Logged);
                }
            }
        }
    }

    fn hand_on(&self, bytes: Vec<u8>, sent: u64) -> u64 {
        let count = bytes.len() as u64;
        if self.link.flows.load(Relaxed) > 0 {
            self.tell_arrived(self.link.connection.load(Relaxed), 0, bytes);
            return sent + count;
        }
        self.link.received.fetch_add(count, Relaxed);
        let message = FeedMessage::Bytes(self.link.generation, bytes);
        self.tell_first(CoreMessage::Feed(message));
        sent + count
    }
}

pub(super) fn connect_to(
    address: SocketAddr,
    attempt: &Attempt,
    timeout: Duration,
) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    let from = &attempt.config.bind_source_addr;
    if !from.is_empty() {
        let own = (from.as_str(), 0).to_socket_addrs()?;
        let same = |own: &SocketAddr| own.is_ipv4() == address.is_ipv4();
        let mut own = own.filter(same);
        if let Some(own) = own.next() {
            socket.bind(&SockAddr::from(own))?;
        }
    }
    socket.connect_timeout(&SockAddr::from(address), timeout)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.set_read_timeout(Some(SECOND))?;
    socket.set_write_timeout(Some(timeout))?;
    Ok(socket)
}

/// Sends all of it, waiting for room.
pub(super) fn send_all(socket: &Socket, mut bytes: &[u8]) -> Result<(), Failure> {
    while !bytes.is_empty() {
        match socket.send_with_flags(bytes, libc::MSG_NOSIGNAL) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(Failure::Told(format!(
                    "Sending command to master in replication handshake: {error}"
                )));
            }
        }
    }
    Ok(())
}
