//! Parallel flows, the replica's side: a thread for each flow reads it, and the control core makes one stream out of what
//! comes (`replication/weave.rs`), gives the cores their pieces and appends what is applied to the own stream.
//!
//! The threads belong to one connection of the link. When that ends they end, and when one of them breaks, the link does: what
//! was given to cores is executed, and the next connection does without flows if that one had not worked for long.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::base::clock::unix_ms;
use crate::control::Control;
use crate::mesh::message::CoreMessage;
use crate::mesh::primary::{Attempt, FeedMessage, LinkEvent, PrimaryLink};
use crate::replication::handshake::{Offer, command};
use crate::replication::{Piece, Weave};

use super::link::{
    CHUNK, Failure, Incoming, Thread, UNAPPLIED_MAX, connect_to, is_silence, send_all,
};

/// A flow that breaks alone so soon after it was made is not made again by the next connection.
const SOON: Duration = Duration::from_secs(10);
/// How often a thread that waits looks whether it is still wanted, though it would be told.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A stream in frames being applied.
pub(in crate::control) struct Weaving {
    weave: Weave,
    link: Arc<PrimaryLink>,
    /// The connection it comes over.
    connection: u64,
    /// The first core wants a rest; it has one.
    wants_rest: bool,
    rests: bool,
    /// What the threads were told of the bytes of their ways that are not held here any more.
    taken: Vec<u64>,
    /// Nothing more is given.
    ending: bool,
    /// Cores that have ended, and whether the first one has been told to.
    ended: Vec<bool>,
    first_told: bool,
    broken: bool,
}

impl Weaving {
    /// The stream of a link, from an offset on; the selected database.
    pub fn new(link: &Arc<PrimaryLink>, offset: u64, db: u32) -> Self {
        let flows = link.flows.load(Relaxed);
        link.flow_bytes.store(0, Relaxed);
        link.received.store(offset, Relaxed);
        Weaving {
            weave: Weave::new(flows, offset, db),
            link: link.clone(),
            connection: link.connection.load(Relaxed),
            wants_rest: false,
            rests: false,
            taken: vec![0; usize::from(flows) + 1],
            ending: false,
            ended: vec![false; usize::from(flows)],
            first_told: false,
            broken: false,
        }
    }
}

impl Control {
    /// Bytes have come over one of the ways of a link.
    pub(super) fn on_arrived(&mut self, connection: u64, way: usize, bytes: Vec<u8>) {
        let Some(weaving) = &mut self.replication.following.weaving else {
            return;
        };
        if weaving.connection != connection || weaving.ending {
            return;
        }
        if weaving.weave.receive(way, bytes).is_err() {
            log::warn!("The primary sends what is no frame of a stream");
            weaving.link.disconnect();
            return;
        }
        self.weave_on();
    }

    /// Gives the cores what they may execute. A pause holds that back, and not what they have been given.
    pub(super) fn weave_on(&mut self) {
        if self.replication.following.weaving.is_none() {
            return;
        }
        let pauses = self.pause_in_force().0 > unix_ms();
        let Some(weaving) = &mut self.replication.following.weaving else {
            return;
        };
        if weaving.ending {
            return;
        }
        let weave = &mut weaving.weave;
        let mut shares: Vec<Vec<Piece>> = vec![Vec::new(); weave.flows()];
        weave.give(weaving.wants_rest || pauses, |to, piece| {
            let share = &mut shares[to];
            let left = match share.last_mut() {
                Some(last) => last.extend(piece),
                None => Some(piece),
            };
            share.extend(left);
        });
        let link = weaving.link.clone();
        link.received.store(weave.given(), Relaxed);
        link.flow_bytes.store(weave.carried(), Relaxed);
        for (way, told) in weaving.taken.iter_mut().enumerate() {
            let taken = weave.taken(way);
            if std::mem::replace(told, taken) != taken {
                link.note_taken(way, taken);
            }
        }
        let is_rest = weaving.wants_rest && !weaving.rests && weave.rests();
        let db = weave.db();
        weaving.rests |= is_rest;
        for (core, share) in shares.into_iter().enumerate() {
            if !share.is_empty() {
                let pieces = FeedMessage::Pieces(link.generation, share);
                self.tell_core(core, CoreMessage::Feed(pieces));
            }
        }
        if is_rest {
            let rests = FeedMessage::Rests(link.generation, db);
            self.tell_core(0, CoreMessage::Feed(rests));
        }
    }

    /// A core has executed some of what it was given.
    pub(in crate::control) fn on_pieces_executed(
        &mut self,
        generation: u64,
        core: u16,
        told: (u64, u64, u32),
    ) {
        let mut weaving = self.replication.following.weaving.take();
        if let Some(weaving) = weaving
            .as_mut()
            .filter(|one| one.link.generation == generation)
        {
            let before = weaving.weave.applied();
            let replication = &mut self.replication;
            let append = |bytes: &[u8]| replication.append(bytes);
            weaving.weave.executed(usize::from(core), told, append);
            weaving.link.applied.store(weaving.weave.applied(), Relaxed);
            if weaving.weave.applied() > before {
                self.stream_grew();
            }
        }
        self.replication.following.weaving = weaving;
        self.weave_on();
    }

    /// The first core wants the stream to rest between two commands, or has done what it wanted that for.
    pub(in crate::control) fn on_wants_rest(&mut self, generation: u64, wants: bool) {
        let weaving = self.replication.following.weaving.as_mut();
        if let Some(weaving) = weaving.filter(|one| one.link.generation == generation) {
            weaving.wants_rest = wants;
            weaving.rests = false;
            self.weave_on();
        }
    }

    /// The stream of a link is to be applied no further: all that was given is executed, and on the first core last, since
    /// what waits there for the end wants the data of one offset.
    pub(super) fn end_feeds(&mut self, generation: u64) {
        let end = || CoreMessage::Feed(FeedMessage::End(generation));
        let Some(weaving) = &mut self.replication.following.weaving else {
            self.tell_core(0, end());
            return;
        };
        if !std::mem::replace(&mut weaving.ending, true) {
            let ended = weaving.ended.clone();
            for core in (1..ended.len()).filter(|core| !ended[*core]) {
                self.tell_core(core, end());
            }
        }
        self.end_first_feed();
    }

    fn end_first_feed(&mut self) {
        let Some(weaving) = &mut self.replication.following.weaving else {
            return;
        };
        let is_last = weaving.ended.iter().skip(1).all(|ended| *ended) && !weaving.ended[0];
        if weaving.ending && is_last && !std::mem::replace(&mut weaving.first_told, true) {
            let end = FeedMessage::End(weaving.link.generation);
            self.tell_core(0, CoreMessage::Feed(end));
        }
    }

    /// A core has ended. When all have: the database selected behind the last command, and whether the stream was broken.
    pub(super) fn end_of_feeds(
        &mut self,
        generation: u64,
        core: u16,
        (executed, db): (u64, u32),
        broken: bool,
    ) -> Option<(u32, bool)> {
        let Some(weaving) = &mut self.replication.following.weaving else {
            return Some((db, broken));
        };
        let core_at = usize::from(core);
        if weaving.link.generation != generation || weaving.ended[core_at] {
            return None;
        }
        weaving.ended[core_at] = true;
        weaving.broken |= broken;
        self.on_pieces_executed(generation, core, (executed, executed, db));
        self.end_first_feed();
        let following = &mut self.replication.following;
        let has_ended = |weaving: &mut Box<Weaving>| weaving.ended.iter().all(|ended| *ended);
        let weaving = following.weaving.take_if(has_ended)?;
        Some((weaving.weave.db(), weaving.broken))
    }
}

impl Thread {
    /// Hands on what has come over a way.
    pub(super) fn tell_arrived(&self, connection: u64, way: usize, bytes: Vec<u8>) {
        self.tell(LinkEvent::Arrived {
            connection,
            way,
            bytes,
        });
    }

    /// Makes the flows that a primary has offered. Where that fails the stream comes over the main connection alone.
    pub(super) fn start_flows(&self, attempt: &Attempt, main: &Socket, offer: Offer) {
        let address = main
            .peer_addr()
            .ok()
            .and_then(|address| address.as_socket());
        let Some(address) = address else {
            return;
        };
        let connection = self.link.connection.load(Relaxed);
        for number in 0..offer.flows {
            let (thread, attempt) = (self.clone(), attempt.clone());
            let builder = std::thread::Builder::new().name("primary-flow".to_owned());
            let run = move || thread.follow_flow(&attempt, address, offer, number, connection);
            if let Err(error) = builder.spawn(run) {
                log::warn!("Can't begin the thread of a flow: {error}");
            }
        }
    }

    /// Whether a connection of the link has ended.
    fn is_past(&self, connection: u64) -> bool {
        self.is_over() || self.link.connection.load(Relaxed) != connection
    }

    fn follow_flow(
        &self,
        attempt: &Attempt,
        address: SocketAddr,
        offer: Offer,
        number: u16,
        connection: u64,
    ) {
        let made = self.make_flow(attempt, address, offer, number, connection);
        let mut incoming = match made {
            Ok(incoming) => incoming,
            Err(_) if self.is_past(connection) => return,
            Err(failure) => {
                log::warn!("Parallel flow {number} to the primary can't be made: {failure:?}");
                return;
            }
        };
        let begun = Instant::now();
        let outcome = self.read_flow(&mut incoming, usize::from(number) + 1, connection);
        if self.is_past(connection) {
            return;
        }
        if !self.link.has_ended() {
            let why = outcome
                .err()
                .map_or("its end has come".to_owned(), |error| error.to_string());
            log::warn!("Parallel flow {number} from the primary is lost: {why}");
            let has_failed = begun.elapsed() < SOON;
            self.link.flows_failed.store(has_failed, Relaxed);
        }
        self.link.disconnect();
    }

    fn make_flow(
        &self,
        attempt: &Attempt,
        address: SocketAddr,
        offer: Offer,
        number: u16,
        connection: u64,
    ) -> Result<Incoming, Failure> {
        let config = &attempt.config;
        let patience = Duration::from_secs(config.repl_timeout_s.max(1).into());
        let socket = Arc::new(connect_to(address, attempt, patience)?);
        if !self.link.add_flow(connection, socket.clone()) {
            return Err(Failure::Stopped);
        }
        let mut incoming = Incoming::new(socket, self);
        if !config.masterauth.is_empty() {
            let mut words: Vec<&[u8]> = vec![b"AUTH"];
            if !config.masteruser.is_empty() {
                words.push(&config.masteruser);
            }
            words.push(&config.masterauth);
            send_all(&incoming.socket, &command(&words))?;
            said_yes(&incoming.line()?)?;
        }
        send_all(&incoming.socket, &offer.request(number))?;
        said_yes(&incoming.line()?)?;
        incoming.socket.set_read_timeout(Some(LOOK_EVERY))?;
        Ok(incoming)
    }

    /// Hands on what comes, until it ends.
    fn read_flow(&self, incoming: &mut Incoming, way: usize, connection: u64) -> io::Result<()> {
        let rest = std::mem::take(&mut incoming.rest);
        let mut sent = rest.len() as u64;
        if !rest.is_empty() {
            self.tell_arrived(connection, way, rest);
        }
        let mut chunk = vec![0; CHUNK];
        while !self.is_past(connection) {
            if !self
                .link
                .wait_for_room(way, sent, UNAPPLIED_MAX, LOOK_EVERY)
            {
                continue;
            }
            match (&*incoming.socket).read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => {
                    incoming.note(count);
                    self.tell_arrived(connection, way, chunk[..count].to_vec());
                    sent += count as u64;
                }
                Err(error) if is_silence(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A reply other than an error.
fn said_yes(line: &[u8]) -> Result<(), Failure> {
    match line.first() {
        Some(b'+') => Ok(()),
        _ => Err(Failure::Told(String::from_utf8_lossy(line).into_owned())),
    }
}
