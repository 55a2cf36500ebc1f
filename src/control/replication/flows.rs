//! Parallel flows, the primary's side: their connections, and what is sent over them.
//!
//! A replica that can make use of flows, and is one of a server that offers them, is sent the stream in frames from the
//! beginning (`replication/spread.rs`). Its flows come afterwards, each as a connection of its own that asks for its place by
//! name. Until all are there, and if they never come, everything goes over the main connection.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::Ordering::Relaxed;

use socket2::Socket;

use crate::base::sys;
use crate::control::Control;
use crate::mesh::message::Candidate;
use crate::replication::handshake::Offer;
use crate::replication::{Replid, Spread, SyncRequest};
use crate::ring::{Completion, Operation};

use super::replicas::{Replica, SEND_MAX, SPARE_MAX, token_of};

/// Tokens of flows' operations bear this, and in the lower half an odd number: the even ones are replicas'.
const FLOW: u64 = 2 << 32;

/// Which flow of which replica an operation belongs to.
#[derive(Debug, Default)]
pub(super) struct FlowPlaces(Vec<Option<(u32, usize)>>);

impl FlowPlaces {
    /// The token of a flow's operations.
    fn take(&mut self, place: u32, number: usize) -> u64 {
        let at = match self.0.iter().position(Option::is_none) {
            Some(at) => at,
            None => {
                self.0.push(None);
                self.0.len() - 1
            }
        };
        self.0[at] = Some((place, number));
        FLOW | (at as u64) << 1 | 1
    }

    /// The replica's place and the flow's number, if the token is one of a flow.
    pub fn of(&self, token: u64) -> Option<(u32, usize)> {
        let is_flow = token >> 32 == FLOW >> 32;
        let at = token as u32 as usize >> 1;
        self.0.get(at).copied().flatten().filter(|_| is_flow)
    }

    /// A replica has gone, and nothing of its flows is under way.
    pub fn free(&mut self, place: u32) {
        for known in &mut self.0 {
            known.take_if(|known| known.0 == place);
        }
    }
}

/// One flow's connection.
struct Connection {
    token: u64,
    socket: Socket,
    receiving: bool,
    sending: bool,
    sent: usize,
    spare: Vec<u8>,
}

impl Connection {
    fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The flows of one replica.
pub(in crate::control) struct Flows {
    name: Replid,
    spread: Spread,
    connections: Vec<Option<Connection>>,
}

impl Flows {
    fn there(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().flatten()
    }

    /// Whether a flow has yet to be made.
    fn lacks(&self, number: usize) -> bool {
        matches!(self.connections.get(number), Some(None))
    }

    /// How many there are, if all are.
    pub fn in_use(&self) -> usize {
        match self.there().count() {
            count if count == self.connections.len() => count,
            _ => 0,
        }
    }

    /// Memory of what is kept for sending.
    pub fn memory(&self) -> usize {
        self.there().map(|flow| flow.spare.capacity()).sum()
    }

    /// Whether the ring is through with all of them.
    pub fn are_free(&self) -> bool {
        self.there().all(|flow| !flow.receiving && !flow.sending)
    }

    /// Ends them all.
    pub fn shut_down(&self) {
        self.there()
            .for_each(|flow| sys::shutdown_socket(flow.fd()));
    }
}

impl Control {
    /// Offers flows to a replica that is about to be told how it gets the stream: what is added to that.
    pub(super) fn offer_flows(&mut self, place: u32) -> String {
        let is_wanted = self.config.repl_parallel_flows && !self.is_replica();
        let name = self.new_replid();
        let (Some(backlog), Some(replica)) =
            (&mut self.replication.backlog, self.replicas.get_mut(place))
        else {
            return String::new();
        };
        replica.flows = None;
        let facts = &replica.facts;
        if !is_wanted || !facts.knows_two_histories || facts.copy_only {
            return String::new();
        }
        let Some(spread) = Spread::between(self.links.shards(), facts.flows) else {
            return String::new();
        };
        backlog.note_sources();
        let flows = spread.flows();
        replica.flows = Some(Box::new(Flows {
            name,
            spread,
            connections: (0..flows).map(|_| None).collect(),
        }));
        Offer { flows, name }.words()
    }

    /// A connection asks to be a flow.
    pub(super) fn on_flow_asked_for(&mut self, candidate: Candidate) {
        let socket = Socket::from(sys::own(candidate.connection.fd));
        let SyncRequest::Flow { offer, number } = candidate.request else {
            return;
        };
        let (name, number) = (Replid::parse(&offer), usize::from(number));
        let is_its = |replica: &&Replica| {
            let flows = replica.flows.as_ref();
            flows.is_some_and(|flows| Some(flows.name) == name && flows.lacks(number))
        };
        let Some(place) = self
            .replicas
            .iter()
            .find(is_its)
            .map(|replica| replica.place)
        else {
            return; // its replica has gone, and so does it
        };
        let said = socket.send_with_flags(b"+OK\r\n", libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
        if !matches!(said, Ok(5)) {
            return;
        }
        let token = self.replicas.flow_places.take(place, number);
        let Some(replica) = self.replicas.get_mut(place) else {
            return;
        };
        let replica_name = replica.name();
        let Some(flows) = &mut replica.flows else {
            return;
        };
        let _ = socket.set_tcp_nodelay(true); // it works without
        self.ring.receive(socket.as_raw_fd(), token);
        flows.connections[number] = Some(Connection {
            token,
            socket,
            receiving: true,
            sending: false,
            sent: 0,
            spare: Vec::new(),
        });
        let in_use = flows.in_use();
        if in_use > 0 {
            log::info!("Replica {replica_name} follows over {in_use} parallel flows");
        }
    }

    /// Sends a replica with flows what it lacks: one share to each connection, and the next when all have left.
    pub(super) fn send_spread(&mut self, place: u32) {
        let (Some(backlog), Some(replica)) =
            (&mut self.replication.backlog, self.replicas.get_mut(place))
        else {
            return;
        };
        let fd = replica.fd();
        let Replica {
            flows: Some(flows),
            spare,
            ..
        } = replica
        else {
            return;
        };
        if flows.there().any(|flow| flow.sending) {
            return;
        }
        let ready = flows.in_use() > 0;
        let mut shares = vec![std::mem::take(spare)];
        for flow in &mut flows.connections {
            shares.push(
                flow.as_mut()
                    .map(|flow| std::mem::take(&mut flow.spare))
                    .unwrap_or_default(),
            );
        }
        shares.iter_mut().for_each(Vec::clear);
        replica.next = flows
            .spread
            .cut(backlog, replica.next, SEND_MAX, ready, &mut shares);
        replica.block_bytes = shares.iter().map(Vec::capacity).sum();
        let mut shares = shares.into_iter();
        let main = shares.next().unwrap_or_default();
        (replica.sending, replica.sent) = (true, 0);
        self.ring.send(fd, token_of(place), main, 0, true);
        for (flow, share) in flows.connections.iter_mut().zip(shares) {
            let Some(flow) = flow else {
                continue;
            };
            if share.is_empty() {
                flow.spare = share;
                continue;
            }
            (flow.sending, flow.sent) = (true, 0);
            self.ring.send(flow.fd(), flow.token, share, 0, true);
        }
    }

    /// Something has happened on a flow.
    pub(super) fn on_flow_completion(
        &mut self,
        place: u32,
        number: usize,
        completion: &mut Completion,
    ) {
        let is_send = completion.operation == Operation::Send;
        let bytes = is_send.then(|| self.ring.take_sent(completion.token));
        let slot = self.replicas.places.get_mut(place as usize);
        let Some(replica) = slot.and_then(Option::as_deref_mut) else {
            return;
        };
        let is_closed = replica.is_closed;
        let flows = replica.flows.as_mut();
        let Some(Some(flow)) = flows.and_then(|flows| flows.connections.get_mut(number)) else {
            return;
        };
        let result = completion.result;
        let again = matches!(-result, libc::EAGAIN | libc::EINTR | libc::ENOBUFS);
        let mut has_ended = false;
        if let Some(bytes) = bytes {
            flow.sent += result.max(0) as usize;
            self.replication.moved += result.max(0) as usize;
            let sent_in_all = &self.observatory.replication.bytes_out;
            sent_in_all.fetch_add(result.max(0) as u64, Relaxed);
            if is_closed || (result <= 0 && !again) {
                flow.sending = false;
                has_ended = true;
            } else if flow.sent < bytes.len() {
                let (fd, from) = (flow.fd(), flow.sent);
                self.ring.send(fd, completion.token, bytes, from, true);
            } else {
                flow.sending = false;
                if bytes.capacity() <= SPARE_MAX.max(SEND_MAX) {
                    flow.spare = bytes;
                }
                self.send_more(place);
                self.trim_backlog();
            }
        } else {
            if !completion.more {
                flow.receiving = false;
            }
            match completion.received.take() {
                Some(received) => {
                    // A flow has nothing to say: its end is all that is heard.
                    has_ended = received.is_empty() && result == 0;
                    self.ring.recycle(received);
                }
                None if -result == libc::ENOBUFS => self.ring.grow_buffers(),
                None => has_ended = !again,
            }
            if !has_ended && !is_closed && !flow.receiving {
                flow.receiving = true;
                self.ring.receive(flow.fd(), completion.token);
            }
        }
        if has_ended {
            self.close_replica(place);
        }
    }

    /// This server becomes a replica: those who follow over flows begin anew, since nothing more of their kind comes.
    pub(super) fn drop_flows(&mut self) {
        let with_flows = self
            .replicas
            .iter()
            .filter(|replica| replica.flows.is_some());
        let places: Vec<u32> = with_flows.map(|replica| replica.place).collect();
        places
            .into_iter()
            .for_each(|place| self.close_replica(place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_known_by_its_token() {
        let mut places = FlowPlaces::default();
        let tokens =
            [(0, 0), (0, 1), (3, 0), (3, 1)].map(|(place, number)| places.take(place, number));
        let found = tokens.map(|token| places.of(token));
        assert_eq!(
            found,
            [Some((0, 0)), Some((0, 1)), Some((3, 0)), Some((3, 1))]
        );
        assert!((0..9).all(|place| places.of(token_of(place)).is_none()));
        let low = |token: u64| token as u32;
        assert!((0..9).all(|place| !tokens.map(low).contains(&low(token_of(place)))));
        places.free(0);
        assert_eq!(
            tokens.map(|token| places.of(token).is_some()),
            [false, false, true, true]
        );
        assert_eq!(places.take(5, 0), tokens[0]);
    }
}
