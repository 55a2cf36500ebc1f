//! The replicas of this server: their connections, what they have acknowledged, what they are sent.
//!
//! A replica comes as a connection that a data core has parted with (`engine/handover.rs`). It waits for a full copy, gets
//! one (`sync.rs`), or goes on where it stopped; then it is sent the stream out of the backlog, from its own position
//! there. It says nothing but what it has applied; whatever asks for a reply ends it.
//!
//! Whatever is written before the stream is a line or a few bytes, written at once; a socket that does not even take that
//! is closed. A copy is written by its thread. From the first byte of the stream on the ring sends. So there is one
//! writer at a time.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::Ordering::Relaxed;

use socket2::Socket;

use crate::base::clock::unix_ms;
use crate::base::number::parse_i64;
use crate::base::sys;
use crate::command::client::Client;
use crate::command::connection::ConnectionFacts;
use crate::command::spec::Flags;
use crate::command::table::commands;
use crate::control::Control;
use crate::mesh::message::{Candidate, CoreMessage};
use crate::replication::psync::{self, Refusal};
use crate::replication::report::ReplicaState;
use crate::replication::{PeerFacts, SyncRequest};
use crate::resp::ErrorReply;
use crate::resp::parser::{Limits, Parsed, Parser};
use crate::resp::request::Args;
use crate::ring::{Completion, Operation};

use super::flows::{FlowPlaces, Flows};

/// Tokens of replicas' operations bear this, and twice their place in the lower half: what lies between is their flows'.
const TOKEN: u64 = 1 << 32;
/// Bytes of the stream handed to a socket at a time.
pub(super) const SEND_MAX: usize = 128 * 1024;
/// Bytes of memory for the next block that a replica keeps while there is none.
pub(super) const SPARE_MAX: usize = 64 * 1024;
/// Bytes of unfinished input of a replica at most: what it may say is short.
const INPUT_MAX: usize = 64 * 1024;
/// What keeps a waiting replica's patience.
const KEEP_ALIVE: &[u8] = b"\n";

pub(super) fn token_of(place: u32) -> u64 {
    TOKEN | u64::from(place) << 1
}

/// How far a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) enum Stage {
    /// Has asked, and it is not settled what it gets. A cut that is met meanwhile is not for it.
    Asks,
    /// Waits for a copy to begin.
    Waits,
    /// A copy is made, by this number; the stream follows it.
    Copied(u64),
    /// Its copy is sent out of a file.
    Fed(u64),
    /// It has its copy but not said so yet: what it was sent ends with a mark, and it may still be reading.
    Silent,
    /// It is sent the stream.
    Follows,
}

/// One replica.
pub(in crate::control) struct Replica {
    pub place: u32,
    pub socket: Socket,
    /// What CLIENT LIST shows.
    pub client: Client,
    pub facts: PeerFacts,
    /// It came by SYNC: it acknowledges nothing.
    pub is_legacy: bool,
    pub stage: Stage,
    /// The number of the first byte of the stream that it lacks, from the beginning of its copy on.
    pub next: u64,
    /// What it has applied, and what it has on its disk.
    pub acked: u64,
    pub acked_on_disk: u64,
    /// When it last said so, Unix milliseconds.
    pub acked_ms: i64,
    /// It has said so since it is being copied.
    pub has_acked: bool,
    parser: Parser,
    input: Vec<u8>,
    receiving: bool,
    pub(super) sending: bool,
    /// How much of the block at the ring has been sent.
    pub(super) sent: usize,
    pub(super) spare: Vec<u8>,
    /// Memory of the block at the ring.
    pub(super) block_bytes: usize,
    pub(super) is_closed: bool,
    /// Since when it is too far behind for the soft limit, Unix milliseconds; zero when it is not.
    over_soft_ms: i64,
    /// Order of coming.
    came: u64,
    /// The stream goes to it in frames, and over flows when they are there.
    pub(super) flows: Option<Box<Flows>>,
}

impl Replica {
    /// How logs name it.
    pub fn name(&self) -> String {
        let ip = self.ip();
        match self.facts.port {
            0 => format!("{ip}:<unknown-replica-port>"),
            port => format!("{ip}:{port}"),
        }
    }

    /// The address it wants to be known by, or that of its connection.
    pub fn ip(&self) -> String {
        if !self.facts.ip.is_empty() {
            return self.facts.ip.clone();
        }
        match self.client.peer.parse::<SocketAddr>() {
            Ok(address) => address.ip().to_string(),
            Err(_) => self.client.peer.clone(),
        }
    }

    /// Whether it has all data: INFO's `online`.
    pub fn is_online(&self) -> bool {
        matches!(self.stage, Stage::Silent | Stage::Follows)
    }

    pub fn state(&self) -> ReplicaState {
        match self.stage {
            Stage::Asks | Stage::Waits | Stage::Copied(_) => ReplicaState::WaitsForCopy,
            Stage::Fed(_) => ReplicaState::ReceivesCopy,
            Stage::Silent | Stage::Follows => ReplicaState::Online,
        }
    }

    /// Whether the stream is kept for it.
    pub(super) fn needs_stream(&self) -> bool {
        !matches!(self.stage, Stage::Asks | Stage::Waits) && !self.facts.copy_only
    }

    pub fn lag_s(&self, now_ms: i64) -> u64 {
        match self.is_online() {
            true => (now_ms / 1000 - self.acked_ms / 1000).max(0) as u64,
            false => 0,
        }
    }

    pub(super) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Writes a few bytes; false when the socket does not take them at once.
    pub fn write(&self, bytes: &[u8]) -> bool {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let sent = self.socket.send_with_flags(bytes, flags);
        sent.is_ok_and(|sent| sent == bytes.len())
    }

    pub(super) fn memory(&self) -> usize {
        size_of::<Replica>() + self.input.capacity() + self.buffers() + self.client.memory()
    }

    /// Memory of what is on its way to it.
    pub(super) fn buffers(&self) -> usize {
        let flows = self.flows.as_ref().map_or(0, |flows| flows.memory());
        self.spare.capacity() + self.block_bytes + flows
    }

    pub(super) fn facts_for_list(&self) -> ConnectionFacts {
        ConnectionFacts {
            input_bytes: self.input.len(),
            input_free: self.input.capacity() - self.input.len(),
            total_bytes: self.memory(),
            sending: self.sending,
            closing: self.is_closed,
            ..ConnectionFacts::default()
        }
    }
}

/// All of them, and what concerns all.
#[derive(Default)]
pub(in crate::control) struct Replicas {
    pub(super) places: Vec<Option<Box<Replica>>>,
    pub(super) flow_places: FlowPlaces,
    came: u64,
    /// When the last one left, Unix milliseconds.
    left_ms: i64,
    /// When PING was last put into the stream, Unix milliseconds.
    pinged_ms: i64,
    /// When the slow duties were last done, in Unix seconds.
    looked_s: i64,
    /// GETACK goes into the stream at the end of the turn.
    pub ack_wanted: bool,
    /// How many there were, and how many of them online, when that was last looked at.
    pub(super) known: (usize, usize),
    /// That has changed: scripts, which cannot ask this core, are to see it soon.
    pub(super) report_due: bool,
    /// The end of the stream as far as this core has put it there itself: offsets before and behind.
    own: Option<(u64, u64)>,
}

impl Replicas {
    /// Those who are there.
    pub fn iter(&self) -> impl Iterator<Item = &Replica> {
        let known = self.places.iter().flatten().map(|replica| &**replica);
        known.filter(|replica| !replica.is_closed)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Replica> {
        let known = self
            .places
            .iter_mut()
            .flatten()
            .map(|replica| &mut **replica);
        known.filter(|replica| !replica.is_closed)
    }

    pub fn get(&self, place: u32) -> Option<&Replica> {
        let replica = self.places.get(place as usize)?.as_deref();
        replica.filter(|replica| !replica.is_closed)
    }

    pub fn get_mut(&mut self, place: u32) -> Option<&mut Replica> {
        let replica = self.places.get_mut(place as usize)?.as_deref_mut();
        replica.filter(|replica| !replica.is_closed)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// How many have all up to an offset.
    pub fn count_with(&self, offset: u64, on_disk: bool) -> usize {
        let has = |replica: &&Replica| {
            let acked = match on_disk {
                true => replica.acked_on_disk,
                false => replica.acked,
            };
            replica.is_online() && acked >= offset
        };
        self.iter().filter(has).count()
    }

    pub(super) fn in_order(&self) -> Vec<&Replica> {
        let mut all: Vec<&Replica> = self.iter().collect();
        all.sort_unstable_by_key(|replica| replica.came);
        all
    }

    /// The first byte that somebody has yet to be sent.
    fn needed(&self) -> Option<u64> {
        let needing = self.iter().filter(|replica| replica.needs_stream());
        needing.map(|replica| replica.next).min()
    }
}

impl Control {
    /// A connection has asked for the stream.
    pub(in crate::control) fn on_candidate(&mut self, candidate: Candidate) {
        let candidate = match candidate.request {
            SyncRequest::Flow { .. } => return self.on_flow_asked_for(candidate),
            _ => candidate,
        };
        let Candidate {
            connection,
            facts,
            request,
            input,
            created_ms,
            name,
            user,
            db,
            resp3,
        } = candidate;
        let now = unix_ms();
        let (fd, peer, local) = (connection.fd, connection.peer, connection.local);
        let socket = Socket::from(sys::own(fd));
        let unix = connection.unix;
        let mut client = Client::new(connection.client, peer, local, unix, fd, now, &self.users);
        client.become_user(user);
        (client.created_ms, client.name, client.db) = (created_ms, name, db);
        (client.resp3, client.is_replica) = (resp3, true);
        client.last_command = commands().find(match request {
            SyncRequest::Legacy => b"sync",
            SyncRequest::Partial { .. } | SyncRequest::Flow { .. } => b"psync",
        });
        let places = &mut self.replicas.places;
        let place = match places.iter().position(Option::is_none) {
            Some(place) => place,
            None => {
                places.push(None);
                places.len() - 1
            }
        } as u32;
        self.replicas.came += 1;
        self.replicas.places[place as usize] = Some(Box::new(Replica {
            place,
            socket,
            client,
            facts,
            is_legacy: request == SyncRequest::Legacy,
            stage: Stage::Asks,
            next: 0,
            acked: 0,
            acked_on_disk: 0,
            acked_ms: now,
            has_acked: false,
            parser: Parser::default(),
            input,
            receiving: true,
            sending: false,
            sent: 0,
            spare: Vec::new(),
            block_bytes: 0,
            is_closed: false,
            over_soft_ms: 0,
            came: self.replicas.came,
            flows: None,
        }));
        self.ring.receive(fd, token_of(place));
        self.take_or_refuse(place, &request);
        self.read_replica(place);
        self.publish_replicas();
    }

    /// Gives a newcomer what it asks for, or says why not.
    pub(super) fn take_or_refuse(&mut self, place: u32, request: &SyncRequest) {
        if let Err(error) = self.take_request(place, request) {
            if let Some(replica) = self.replicas.get(place) {
                let line = [b"-", error.as_bytes(), b"\r\n"].concat();
                replica.write(&line);
            }
            self.close_replica(place);
        }
    }

    /// Decides what a newcomer gets.
    fn take_request(&mut self, place: u32, request: &SyncRequest) -> Result<(), ErrorReply> {
        self.drain_stream();
        if let SyncRequest::Partial {
            id,
            takes_over: true,
            from,
        } = request
        {
            return self.take_over(place, id, *from);
        }
        if self.failover.is_some() {
            return Err(ErrorReply::SYNC_WHILE_FAILING_OVER);
        }
        let status = self.observatory.replication.clone();
        if self.is_cut_off() {
            return Err(ErrorReply::SYNC_WITHOUT_PRIMARY);
        }
        let name = self.name_of(place);
        log::info!("Replica {name} asks for synchronization");
        if let SyncRequest::Partial { id, from, .. } = request {
            match self.may_continue(&name, id, *from) {
                Ok(next) => {
                    self.go_on(place, next);
                    status.syncs_partial.fetch_add(1, Relaxed);
                    return Ok(());
                }
                Err(Refusal::Asked) => {}
                Err(_) => {
                    status.syncs_partial_refused.fetch_add(1, Relaxed);
                }
            }
        }
        status.syncs_full.fetch_add(1, Relaxed);
        if self.config.repl_disable_tcp_nodelay
            && let Some(replica) = self.replicas.get(place)
        {
            let _ = replica.socket.set_tcp_nodelay(false);
        }
        self.want_copy(place);
        Ok(())
    }

    /// PSYNC ... FAILOVER: this server's primary hands over to it.
    fn take_over(&mut self, place: u32, id: &[u8], from: i64) -> Result<(), ErrorReply> {
        log::info!(
            "Failover request received for replid {}.",
            String::from_utf8_lossy(id)
        );
        if !self.is_replica() {
            return Err(ErrorReply::FAILOVER_OF_PRIMARY);
        }
        if !id.eq_ignore_ascii_case(self.replication.history.id.as_bytes()) {
            return Err(ErrorReply::FAILOVER_OF_OTHERS);
        }
        let line = self.line_of(place);
        // It is answered when this server is a primary, and is not one of those whose history ends with that.
        let request = SyncRequest::Partial {
            id: id.to_vec(),
            from,
            takes_over: false,
        };
        self.park(place, request);
        self.promote(&format!("failover request from '{line}'"));
        Ok(())
    }

    fn name_of(&self, place: u32) -> String {
        self.replicas
            .get(place)
            .map(Replica::name)
            .unwrap_or_default()
    }

    /// Its line of CLIENT LIST.
    fn line_of(&self, place: u32) -> String {
        let Some(replica) = self.replicas.get(place) else {
            return String::new();
        };
        let facts = replica.facts_for_list();
        let line = crate::command::connection::client_line(&replica.client, &facts, unix_ms());
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }

    /// Whether a replica may go on from byte `from` of a history; says so in the log.
    fn may_continue(&self, name: &str, id: &[u8], from: i64) -> Result<u64, Refusal> {
        let history = &self.replication.history;
        let backlog = self.replication.backlog.as_ref();
        let held = backlog.map(|backlog| (backlog.first(), backlog.next()));
        let outcome = psync::may_continue(history, held, id, from);
        match outcome {
            Ok(_) => {}
            Err(Refusal::Asked) => log::info!("Full resync requested by replica {name}"),
            Err(Refusal::OtherHistory) => log::info!(
                "Partial resynchronization not accepted: Replication ID mismatch (Replica asked for '{}', my replication \
                 IDs are '{}' and '{}')",
                String::from_utf8_lossy(id),
                history.id,
                history
                    .previous
                    .map_or(crate::replication::Replid::NONE, |(id, _)| id)
            ),
            Err(Refusal::BeyondCommon(until)) => log::info!(
                "Partial resynchronization not accepted: Requested offset for second ID was {from}, but I can reply up to \
                 {until}"
            ),
            Err(Refusal::NotHeld) => {
                log::info!(
                    "Unable to partial resync with replica {name} for lack of backlog (Replica request was: {from})."
                );
                if from > history.offset as i64 {
                    log::warn!(
                        "Warning: replica {name} tried to PSYNC with an offset that is greater than the master \
                         replication offset."
                    );
                }
            }
        }
        outcome
    }

    /// A replica goes on where it stopped.
    fn go_on(&mut self, place: u32, next: u64) {
        let id = self.replication.history.id;
        let left = (self.replication.history.offset + 1).saturating_sub(next);
        let offer = self.offer_flows(place);
        let Some(replica) = self.replicas.get_mut(place) else {
            return;
        };
        let line = match replica.facts.knows_two_histories {
            true => format!("+CONTINUE {id}{offer}\r\n"),
            false => "+CONTINUE\r\n".to_owned(),
        };
        replica.stage = Stage::Follows;
        replica.next = next;
        log::info!(
            "Partial resynchronization request from {} accepted. Sending {left} bytes of backlog starting from offset \
             {next}.",
            replica.name()
        );
        if replica.write(line.as_bytes()) {
            self.send_more(place);
        } else {
            self.close_replica(place);
        }
    }

    // The stream.

    /// There is more of the stream.
    pub(in crate::control) fn stream_grew(&mut self) {
        let places: Vec<u32> = self.replicas.iter().map(|replica| replica.place).collect();
        for place in places {
            self.send_more(place);
            self.limit_replica(place);
        }
        self.trim_backlog();
    }

    /// Looks at all of them for the limit of their output.
    fn limit_replicas(&mut self) {
        let places: Vec<u32> = self.replicas.iter().map(|replica| replica.place).collect();
        for place in places {
            self.limit_replica(place);
        }
    }

    pub(super) fn trim_backlog(&mut self) {
        let (size, needed) = (self.config.repl_backlog_size, self.replicas.needed());
        self.replication.is_trimming = match &mut self.replication.backlog {
            Some(backlog) => backlog.trim(size, needed),
            None => false,
        };
        self.publish_backlog();
    }

    /// Goes on with what was too much for one go.
    pub(in crate::control) fn trim_backlog_on(&mut self) {
        if self.replication.is_trimming {
            self.trim_backlog();
        }
    }

    /// Sends a replica what it lacks, unless that is under way.
    pub(super) fn send_more(&mut self, place: u32) {
        let (Some(backlog), Some(replica)) =
            (&self.replication.backlog, self.replicas.get_mut(place))
        else {
            return;
        };
        if replica.stage != Stage::Follows || replica.sending || replica.next >= backlog.next() {
            return;
        }
        if replica.flows.is_some() {
            self.send_spread(place);
            return;
        }
        let mut bytes = std::mem::take(&mut replica.spare);
        bytes.clear();
        replica.next += backlog.read(replica.next, SEND_MAX, &mut bytes) as u64;
        (replica.sending, replica.sent) = (true, 0);
        replica.block_bytes = bytes.capacity();
        self.ring
            .send(replica.fd(), token_of(place), bytes, 0, true);
    }

    /// Closes a replica that is too far behind, as `client-output-buffer-limit` says.
    fn limit_replica(&mut self, place: u32) {
        let Some(backlog) = &self.replication.backlog else {
            return;
        };
        let Some(replica) = self
            .replicas
            .get_mut(place)
            .filter(|one| one.needs_stream())
        else {
            return;
        };
        let behind = backlog.next().saturating_sub(replica.next);
        let limits = &self.config.client_output_buffer_limit[1];
        // Less than the backlog would make no sense: that much is kept anyway.
        let hard = match limits.hard_bytes {
            0 => u64::MAX,
            hard => hard.max(self.config.repl_backlog_size),
        };
        let now = unix_ms();
        if limits.soft_bytes == 0 || behind <= limits.soft_bytes {
            replica.over_soft_ms = 0;
        } else if replica.over_soft_ms == 0 {
            replica.over_soft_ms = now;
        }
        let too_long = replica.over_soft_ms > 0
            && now - replica.over_soft_ms > limits.soft_seconds as i64 * 1000;
        if behind > hard || too_long {
            let line = self.line_of(place);
            log::warn!(
                "Client {line} scheduled to be closed ASAP for overcoming of output buffer limits."
            );
            self.counters().output_limit_closed.add(1);
            self.close_replica(place);
        }
    }

    // Their connections.

    /// Whether a completion is of a replica's connection; then it has been dealt with.
    pub(in crate::control) fn on_replica_completion(
        &mut self,
        completion: &mut Completion,
    ) -> bool {
        if let Some((place, number)) = self.replicas.flow_places.of(completion.token) {
            self.on_flow_completion(place, number, completion);
            self.free_replica(place);
            return true;
        }
        if completion.token >> 32 != TOKEN >> 32 {
            return false;
        }
        let place = completion.token as u32 / 2;
        match completion.operation {
            Operation::Receive => self.on_replica_bytes(place, completion),
            Operation::Send => self.on_replica_sent(place, completion),
            _ => return false,
        }
        self.free_replica(place);
        true
    }

    fn on_replica_bytes(&mut self, place: u32, completion: &mut Completion) {
        let slot = self.replicas.places.get_mut(place as usize);
        let Some(replica) = slot.and_then(Option::as_deref_mut) else {
            return;
        };
        if !completion.more {
            replica.receiving = false;
        }
        let mut has_ended = false;
        match completion.received.take() {
            Some(received) => {
                if !received.is_empty() && !replica.is_closed {
                    replica.client.active_ms = unix_ms();
                    replica.input.extend_from_slice(&received);
                }
                has_ended = received.is_empty() && completion.result == 0;
                self.ring.recycle(received);
            }
            None => match -completion.result {
                libc::ENOBUFS => self.ring.grow_buffers(),
                libc::EINTR | libc::EAGAIN => {}
                _ => has_ended = true,
            },
        }
        if has_ended {
            self.close_replica(place);
            return;
        }
        self.read_replica(place);
        if let Some(replica) = self.replicas.get_mut(place)
            && !replica.receiving
        {
            replica.receiving = true;
            let fd = replica.fd();
            self.ring.receive(fd, token_of(place));
        }
    }

    fn on_replica_sent(&mut self, place: u32, completion: &Completion) {
        let bytes = self.ring.take_sent(completion.token);
        let slot = self.replicas.places.get_mut(place as usize);
        let Some(replica) = slot.and_then(Option::as_deref_mut) else {
            return;
        };
        let sent = completion.result.max(0) as usize;
        replica.sent += sent;
        self.replication.moved += sent;
        self.observatory
            .replication
            .bytes_out
            .fetch_add(sent as u64, Relaxed);
        let again = matches!(-completion.result, libc::EAGAIN | libc::EINTR);
        if replica.is_closed {
            replica.sending = false;
        } else if completion.result <= 0 && !again {
            replica.sending = false;
            self.close_replica(place);
        } else if replica.sent < bytes.len() {
            let (fd, from) = (replica.fd(), replica.sent);
            self.ring.send(fd, completion.token, bytes, from, true);
        } else {
            replica.sending = false;
            replica.block_bytes = 0;
            replica.spare = bytes;
            self.send_more(place);
            if let Some(replica) = self.replicas.get_mut(place)
                && !replica.sending
                && replica.spare.capacity() > SPARE_MAX
            {
                replica.spare = Vec::new(); // it has all there is
            }
            self.trim_backlog(); // it may have been kept for this one
        }
    }

    /// Ends a replica's connection.
    pub(super) fn close_replica(&mut self, place: u32) {
        let Some(replica) = self.replicas.get_mut(place) else {
            return;
        };
        replica.is_closed = true;
        sys::shutdown_socket(replica.fd());
        if let Some(flows) = &replica.flows {
            flows.shut_down();
        }
        log::info!("Connection with replica {} lost.", replica.name());
        self.replicas.left_ms = unix_ms();
        self.replica_left();
        self.free_replica(place);
        self.trim_backlog(); // what only this one needed goes
        self.publish_replicas();
    }

    /// Frees a closed one when the ring is through with it.
    fn free_replica(&mut self, place: u32) {
        let slot = &mut self.replicas.places[place as usize];
        let is_free = |replica: &Replica| {
            let flows_are = replica.flows.as_ref().is_none_or(|flows| flows.are_free());
            replica.is_closed && !replica.receiving && !replica.sending && flows_are
        };
        if slot.as_deref().is_some_and(is_free) {
            self.replicas.flow_places.free(place);
            *slot = None;
        }
    }

    /// Ends all of them: their history is not ours any more.
    pub(in crate::control) fn drop_replicas(&mut self) {
        let parked: Vec<u32> = self.parked().collect();
        let all = self.replicas.iter().map(|replica| replica.place);
        let places: Vec<u32> = all.filter(|place| !parked.contains(place)).collect();
        places
            .into_iter()
            .for_each(|place| self.close_replica(place));
    }

    // What they say.

    /// Reads what a replica has said.
    fn read_replica(&mut self, place: u32) {
        let limits = Limits {
            bulk_max: INPUT_MAX as u64,
            authenticated: true,
        };
        let Some(replica) = self.replicas.get_mut(place) else {
            return;
        };
        let input = std::mem::take(&mut replica.input);
        let mut parser = std::mem::take(&mut replica.parser);
        let (mut at, mut spans) = (0, Vec::new());
        loop {
            spans.clear();
            match parser.next(&input, at, limits, &mut spans) {
                Parsed::Request(length) => {
                    at += length;
                    self.hear(place, &Args::new(&input, &spans, Default::default()));
                }
                Parsed::Incomplete { .. } => break,
                Parsed::Failed(text) => {
                    log::warn!(
                        "Protocol error ({}) from replica {}",
                        String::from_utf8_lossy(&text),
                        self.name_of(place)
                    );
                    self.close_replica(place);
                    break;
                }
            }
        }
        if let Some(replica) = self.replicas.get_mut(place) {
            replica.input.extend_from_slice(&input[at..]);
            replica.parser = parser;
            if replica.input.len() > INPUT_MAX {
                self.close_replica(place);
            }
        }
    }

    /// One request of a replica.
    fn hear(&mut self, place: u32, args: &Args<'_>) {
        let now = unix_ms();
        let Some(replica) = self.replicas.get_mut(place) else {
            return;
        };
        if args.len() == 0 {
            replica.acked_ms = now; // a bare line end: it is there
            return;
        }
        if args.is(0, "PSYNC") || args.is(0, "SYNC") {
            return; // it is a replica already
        }
        if !args.is(0, "REPLCONF")
            || args.len().is_multiple_of(2)
            || !(args.is(1, "ACK") || args.is(1, "GETACK"))
        {
            let command = commands().resolve(args);
            let name = match command {
                Some(command) => command.name.clone(),
                None => String::from_utf8_lossy(args.get(0)).to_lowercase(),
            };
            let touches_keys = Flags::WRITE.and(Flags::READONLY).and(Flags::MAY_REPLICATE);
            if command.is_some_and(|command| command.spec.flags.any(touches_keys)) {
                log::warn!(
                    "== CRITICAL == This master is sending an error to its replica: 'ERR Replica can't interact with the \
                     keyspace' after processing the command '{name}'"
                );
            }
            let line = self.line_of(place);
            log::warn!("Replica generated a reply to command '{name}', disconnecting it: {line}");
            self.close_replica(place);
            return;
        }
        if args.is(1, "GETACK") {
            return;
        }
        let Some(offset) = parse_i64(args.get(2)) else {
            return;
        };
        replica.acked = replica.acked.max(offset.max(0) as u64);
        if args.len() > 4 && args.is(3, "FACK") {
            let Some(offset) = parse_i64(args.get(4)) else {
                return;
            };
            replica.acked_on_disk = replica.acked_on_disk.max(offset.max(0) as u64);
        }
        replica.acked_ms = now;
        replica.has_acked = true;
        if replica.stage == Stage::Silent {
            self.begin_to_follow(place);
        }
        self.publish_replicas();
        self.on_acknowledged();
    }

    /// A replica has its copy and is sent the stream from now on.
    pub(super) fn begin_to_follow(&mut self, place: u32) {
        let Some(replica) = self.replicas.get_mut(place) else {
            return;
        };
        replica.stage = Stage::Follows;
        log::info!("Streaming replica {} begins", replica.name());
        self.send_more(place);
        self.publish_replicas();
    }

    // Now and then.

    /// Duties of every turn.
    pub(in crate::control) fn replicas_turn(&mut self) {
        // A pause holds GETACK back too, as a hand-over does: it would move the offset that somebody waits for.
        let pauses = || self.failover.is_some() || self.pause_asked_for().0 > unix_ms();
        let is_wanted = self.replicas.ack_wanted && !pauses();
        if is_wanted
            && std::mem::take(&mut self.replicas.ack_wanted)
            && self.replicas.iter().any(Replica::needs_stream)
            && !self.is_replica()
        {
            self.append_own(b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n");
        }
        self.answer_waiting();
        if std::mem::take(&mut self.replicas.report_due) {
            self.share_report();
        }
    }

    /// Shares how replication stands with those who cannot wait for an answer.
    fn share_report(&mut self) {
        let report = self.report();
        self.observatory.replication.set_report(report);
    }

    /// Puts something into the stream that changes no data.
    fn append_own(&mut self, bytes: &[u8]) {
        if self.stopping_for.is_some() {
            return; // the last snapshot says how far the stream is: a start goes on from there
        }
        self.drain_stream();
        let from = self.offset_of_changes();
        self.append_to_stream(bytes);
        self.replicas.own = Some((from, self.replication.history.offset));
    }

    /// The offset of the last change: what follows it in the stream changes no data.
    pub(in crate::control) fn offset_of_changes(&self) -> u64 {
        let offset = self.replication.history.offset;
        match self.replicas.own {
            Some((from, to)) if to == offset => from,
            _ => offset,
        }
    }

    /// Ten times a second.
    pub(in crate::control) fn replicas_cron(&mut self, now: i64) {
        self.mind_failover(now);
        self.mind_shutdown(now);
        self.mind_copies(now);
        let is_replica = self.is_replica();
        let period = i64::from(self.config.repl_ping_replica_period_s).max(1) * 1000;
        if now - self.replicas.pinged_ms >= period {
            self.replicas.pinged_ms = now;
            let anybody = self.replicas.iter().any(Replica::needs_stream);
            let pauses = self.failover.is_some() || self.bus_pause_until_ms > now;
            if anybody && !is_replica && !pauses {
                self.append_own(b"*1\r\n$4\r\nping\r\n");
            }
        }
        if now / 1000 == self.replicas.looked_s {
            return;
        }
        self.replicas.looked_s = now / 1000;
        self.keep_patience();
        self.close_silent_replicas(now);
        // The soft limit is one of time, which passes while nothing is written, too.
        self.limit_replicas();
        if self.replicas.left_ms == 0 {
            self.replicas.left_ms = now; // those who followed before the start may come back as late
        }
        let ttl = self.config.repl_backlog_ttl_s;
        if ttl > 0
            && !is_replica
            && self.replication.backlog.is_some()
            && self.replicas.count() == 0
            && now - self.replicas.left_ms > ttl * 1000
        {
            self.end_stream();
            log::info!("Replication backlog freed after {ttl} seconds without connected replicas.");
        }
        self.trim_backlog();
        self.publish_replicas();
        self.share_report();
    }

    /// Tells those who wait that this server is there.
    fn keep_patience(&mut self) {
        let waiting: Vec<u32> = self
            .replicas
            .iter()
            .filter(|replica| match replica.stage {
                Stage::Waits => true,
                Stage::Copied(number) => self.is_measured(number),
                _ => false,
            })
            .filter(|replica| !replica.write(KEEP_ALIVE))
            .map(|replica| replica.place)
            .collect();
        waiting
            .into_iter()
            .for_each(|place| self.close_replica(place));
    }

    /// Closes those who follow and have not been heard of for too long.
    fn close_silent_replicas(&mut self, now: i64) {
        let longest = i64::from(self.config.repl_timeout_s);
        let silent: Vec<u32> = self
            .replicas
            .iter()
            .filter(|replica| replica.is_online() && !replica.is_legacy)
            .filter(|replica| now / 1000 - replica.acked_ms / 1000 > longest)
            .map(|replica| replica.place)
            .collect();
        for place in silent {
            let name = self.name_of(place);
            log::warn!("Disconnecting timedout replica (streaming sync): {name}");
            self.close_replica(place);
        }
    }

    /// A message that concerns replicas; others are given back.
    pub(in crate::control) fn on_replica_message(
        &mut self,
        message: CoreMessage,
    ) -> Option<CoreMessage> {
        match message {
            CoreMessage::Replica(candidate) => self.on_candidate(*candidate),
            CoreMessage::AwaitReplicas(wait) => self.await_replicas(*wait),
            CoreMessage::StopAwaiting {
                core,
                place,
                number,
            } => self.stop_awaiting(core, place, number),
            CoreMessage::CopyEnded { number, outcome } => self.on_copy_ended(number, outcome),
            CoreMessage::CopyRefused(cut) => self.on_copy_refused(cut),
            CoreMessage::CutWithoutStream { number, db } => self.on_cut_without_stream(number, db),
            other => return Some(other),
        }
        None
    }
}
