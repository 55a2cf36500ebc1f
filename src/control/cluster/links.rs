//! The bus's connections: made without waiting, read by the ring, written at once as far as the socket takes it.
//!
//! What a socket does not take waits in order; `cluster-link-sendbuf-limit` bounds it, and a node that reads nothing is
//! found out by its pings. One packet may be unfinished in the input, of at most 64 MiB.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::base::clock::unix_ms;
use crate::base::sys;
use crate::cluster::LinkId;
use crate::cluster::address::IpText;
use crate::cluster::packet::{Frame, Kind, frame, layout};
use crate::cluster::render::LinkUse;
use crate::control::Control;
use crate::ring::{Completion, Operation};

use super::super::listen::{Listener, listen_bus_at_once};
use super::{Bus, bus_port};

/// Tokens of the bus's operations bear this; what follows is the link.
const TOKEN: u64 = 3 << 48;
/// Those of its listeners bear this as well.
pub(super) const LISTENER: u64 = TOKEN | 1 << 47;
const LINK_MASK: u64 = (1 << 47) - 1;
/// Milliseconds that writes are held back for a manual failover at most, until the machine says for how long.
const HAND_OVER_MS: i64 = 10_000;

/// A connection.
pub(super) struct Wire {
    socket: Socket,
    is_connected: bool,
    /// What has come of an unfinished packet.
    input: Vec<u8>,
    /// How much must have come before it is looked at again.
    needs: usize,
    /// What waits to be sent.
    output: VecDeque<Arc<[u8]>>,
    /// How much of the first of it has been sent.
    sent: usize,
    queued_bytes: usize,
    /// It is waited for that the socket takes bytes.
    is_awaited: bool,
}

impl Wire {
    fn new(socket: Socket, is_connected: bool) -> Self {
        Wire {
            socket,
            is_connected,
            input: Vec::new(),
            needs: 0,
            output: VecDeque::new(),
            sent: 0,
            queued_bytes: 0,
            is_awaited: !is_connected,
        }
    }

    /// What it takes of memory.
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.input.capacity()
            + self.output.capacity() * size_of::<Arc<[u8]>>()
            + self.queued_bytes
    }

    /// Sends what the socket takes; whether something is left.
    fn send(&mut self) -> io::Result<bool> {
        while let Some(first) = self.output.front() {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            match self.socket.send_with_flags(&first[self.sent..], flags) {
                Ok(sent) => {
                    self.sent += sent;
                    self.queued_bytes -= sent;
                    if self.sent == first.len() {
                        self.output.pop_front();
                        self.sent = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // What the ring still waits for on it ends at once.
        sys::shutdown_socket(self.socket.as_raw_fd());
    }
}

/// The address of a socket as the bus writes it.
fn ip_of(address: io::Result<SockAddr>) -> IpText {
    let address = address.ok().and_then(|address| address.as_socket());
    let ip = address.map(|address| match address.ip() {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        ip => ip,
    });
    ip.and_then(|ip| IpText::new(&ip.to_string()))
        .unwrap_or(IpText::EMPTY)
}

impl Bus {
    pub(super) fn close_wire(&mut self, link: LinkId) {
        self.wires.remove(&link);
    }

    /// Links that have more to send than they may are closed.
    pub(super) fn close_overflowing(&mut self, limit: u64, now: i64) {
        if limit == 0 {
            return;
        }
        let over = self.wires.iter();
        let over: Vec<(LinkId, usize)> = over
            .filter(|(_, wire)| wire.queued_bytes as u64 > limit)
            .map(|(link, wire)| (*link, wire.queued_bytes))
            .collect();
        for (link, bytes) in over {
            self.cluster.link_over_limit(now, link, bytes);
        }
    }

    /// What all links take.
    pub(super) fn wire_bytes(&self) -> u64 {
        let wires = self.wires.values();
        wires.map(|wire| wire.bytes() as u64).sum()
    }

    /// What CLUSTER LINKS shows of a link's queue.
    pub(super) fn usage(&self, link: LinkId) -> LinkUse {
        self.wires
            .get(&link)
            .map_or(LinkUse::default(), |wire| LinkUse {
                allocated_bytes: wire.output.capacity() * size_of::<Arc<[u8]>>()
                    + wire.queued_bytes,
                queued_bytes: wire.queued_bytes,
            })
    }
}

impl Bus {
    /// Whether a replica of this node asks it to hold writes back (MFSTART).
    fn asks_for_pause(&self, link: LinkId, packet: &[u8]) -> bool {
        if layout::u16_at(packet, layout::TYPE) != Kind::MfStart.number() {
            return false;
        }
        let known = self.cluster.links().find(|(id, _)| *id == link);
        let Some(key) = known.and_then(|(_, of)| of.node) else {
            return false;
        };
        let nodes = self.cluster.nodes();
        let primary = nodes[key].primary.filter(|_| nodes[key].is_replica());
        primary.is_some_and(|primary| nodes[primary].is_myself())
    }
}

impl Control {
    /// A replica wants to take over. The offset that it is told must be the last: so writes are held back everywhere
    /// before the machine hears of it.
    fn begin_handing_over(&mut self, bus: &mut Bus, link: LinkId, packet: &[u8]) {
        bus.hands_over = Some((link, packet.to_vec()));
        self.bus_pause_until_ms = unix_ms() + HAND_OVER_MS;
        self.spread_pause();
    }

    /// Goes on with that once all cores hold writes back and what they had written has come.
    pub(super) fn go_on_handing_over(&mut self, bus: &mut Bus) {
        if self.is_spreading_pause() {
            return;
        }
        let Some((link, packet)) = bus.hands_over.take() else {
            return;
        };
        self.drain_stream();
        self.observe_for(bus);
        bus.cluster.packet(unix_ms(), link, &packet);
        if !bus.cluster.holds_writes() {
            // It may not take over, or has gone meanwhile.
            self.bus_pause_until_ms = 0;
            self.spread_pause();
        }
    }

    /// Accepts links from a listener.
    pub(super) fn accept_links(&mut self, bus: &mut Bus, listener: Listener) {
        let token = LISTENER | bus.listeners.len() as u64;
        self.ring.accept(listener.fd.as_raw_fd(), token);
        bus.listeners.push(Some(listener));
    }

    /// The bus goes along when CONFIG SET has moved the port for clients. Where it cannot it stays, and so does what other
    /// nodes are told. Links that are there stay in any case.
    pub(super) fn listen_for_links_anew(&mut self, bus: &mut Bus) {
        let stays = bus.port;
        let Some(port) = bus_port(&self.config) else {
            log::warn!(
                "The cluster bus stays on port {stays}: there is none 10000 above that for clients"
            );
            return;
        };
        if port == stays {
            return;
        }
        match listen_bus_at_once(&self.config, port) {
            Ok(listeners) => {
                for (place, listener) in bus.listeners.iter_mut().enumerate() {
                    if let Some(listener) = listener.take() {
                        sys::shutdown_socket(listener.fd.as_raw_fd());
                        self.ring.cancel_accept(LISTENER | place as u64);
                    }
                }
                for listener in listeners {
                    self.accept_links(bus, listener);
                }
                bus.port = port;
            }
            Err(error) => log::warn!("{error} The cluster bus stays on port {stays}."),
        }
    }

    /// Begins to connect.
    pub(super) fn open_wire(&mut self, bus: &mut Bus, link: LinkId, ip: &IpText, port: u16) {
        if bus.silence.is_some() {
            bus.broken.push(link);
            return;
        }
        match self.connect(ip, port) {
            Ok(socket) => {
                self.ring
                    .await_writable(socket.as_raw_fd(), TOKEN | link.0 & LINK_MASK);
                bus.wires.insert(link, Wire::new(socket, false));
            }
            Err(error) => {
                log::debug!("Unable to connect to the cluster node at {ip}:{port}: {error}");
                bus.broken.push(link);
            }
        }
    }

    fn connect(&self, ip: &IpText, port: u16) -> io::Result<Socket> {
        let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let ip: IpAddr = ip.as_str().parse().map_err(invalid)?;
        let address = SocketAddr::new(ip, port);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), None)?;
        let source = self.config.bind_source_addr.parse::<IpAddr>();
        if let Ok(source) = source
            && source.is_ipv4() == ip.is_ipv4()
        {
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(socket),
        }
    }

    /// Sends a packet, behind what waits.
    pub(super) fn send_on_wire(&mut self, bus: &mut Bus, link: LinkId, packet: Arc<[u8]>) {
        let Some(wire) = bus.wires.get_mut(&link) else {
            return;
        };
        wire.queued_bytes += packet.len();
        wire.output.push_back(packet);
        if !wire.is_awaited {
            self.send_wire(bus, link);
        }
    }

    fn send_wire(&mut self, bus: &mut Bus, link: LinkId) {
        let Some(wire) = bus.wires.get_mut(&link) else {
            return;
        };
        match wire.send() {
            Ok(false) => {}
            Ok(true) => {
                wire.is_awaited = true;
                let fd = wire.socket.as_raw_fd();
                self.ring.await_writable(fd, TOKEN | link.0 & LINK_MASK);
            }
            Err(_) => bus.broken.push(link),
        }
    }

    /// A completion of the bus's; false if it is somebody else's.
    pub(in crate::control) fn on_bus_completion(&mut self, completion: &mut Completion) -> bool {
        if completion.token & TOKEN != TOKEN {
            return false;
        }
        self.with_bus(|control, bus| {
            bus.cache.clear_live();
            let link = LinkId(completion.token & LINK_MASK);
            match completion.operation {
                Operation::Accept => control.on_bus_accepted(bus, completion),
                Operation::Writable => control.on_wire_writable(bus, link),
                Operation::Receive => control.on_wire_bytes(bus, link, completion),
                _ => {}
            }
        });
        if let Some(received) = completion.received.take() {
            self.ring.recycle(received);
        }
        true
    }

    fn on_bus_accepted(&mut self, bus: &mut Bus, completion: &mut Completion) {
        let place = (completion.token & (LINK_MASK >> 1)) as usize;
        let Some(Some(listener)) = bus.listeners.get(place) else {
            return; // closed meanwhile
        };
        if !completion.more {
            let fd = listener.fd.as_raw_fd();
            self.ring.accept(fd, completion.token);
        }
        let Some(fd) = completion.connection.take() else {
            return;
        };
        if let Some(silence) = &mut bus.silence {
            silence.keep(fd);
            return;
        }
        // A primary that is loading cannot say whether it works. Others try again.
        let is_loading = self.observatory.snapshots.loading.load(Relaxed);
        if is_loading && !bus.cluster.me().is_replica() {
            return;
        }
        if let Err(error) = self.accept_wire(bus, fd) {
            log::debug!("Error accepting cluster node: {error}");
        }
    }

    fn accept_wire(&mut self, bus: &mut Bus, fd: OwnedFd) -> io::Result<()> {
        let socket = Socket::from(fd);
        socket.set_tcp_nodelay(true)?;
        let fd = socket.as_raw_fd();
        let seconds = (bus.cluster.settings().timeout_ms() / 1000 * 2).clamp(1, 7200) as i32;
        sys::set_socket_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
        sys::set_socket_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds);
        let (peer, local) = (ip_of(socket.peer_addr()), ip_of(socket.local_addr()));
        let link = bus.cluster.link_accepted(unix_ms(), peer, local);
        self.ring.receive(fd, TOKEN | link.0 & LINK_MASK);
        bus.wires.insert(link, Wire::new(socket, true));
        Ok(())
    }

    fn on_wire_writable(&mut self, bus: &mut Bus, link: LinkId) {
        let Some(wire) = bus.wires.get_mut(&link) else {
            return;
        };
        wire.is_awaited = false;
        if !wire.is_connected {
            let failed = wire.socket.take_error().ok().flatten();
            let ready = wire.socket.set_nonblocking(false);
            if failed.is_some() || ready.is_err() {
                bus.broken.push(link);
                return;
            }
            wire.is_connected = true;
            let _ = wire.socket.set_tcp_nodelay(true); // it is slower without
            let local = ip_of(wire.socket.local_addr());
            let fd = wire.socket.as_raw_fd();
            self.ring.receive(fd, TOKEN | link.0 & LINK_MASK);
            bus.cluster.link_connected(unix_ms(), link, local);
        }
        self.send_wire(bus, link);
    }

    fn on_wire_bytes(&mut self, bus: &mut Bus, link: LinkId, completion: &mut Completion) {
        let Some(wire) = bus.wires.get_mut(&link) else {
            return;
        };
        let bytes = completion.received.as_deref().unwrap_or_default();
        if bytes.is_empty() {
            match -completion.result {
                libc::ENOBUFS => self.ring.grow_buffers(),
                libc::EINTR | libc::EAGAIN => {}
                _ => {
                    bus.broken.push(link);
                    return;
                }
            }
        }
        let fd = wire.socket.as_raw_fd();
        if !completion.more {
            self.ring.receive(fd, TOKEN | link.0 & LINK_MASK);
        }
        wire.input.extend_from_slice(bytes);
        if wire.input.len() < wire.needs {
            return;
        }
        let input = std::mem::take(&mut wire.input);
        let (mut at, now) = (0, unix_ms());
        let missing = loop {
            match frame(&input[at..]) {
                Ok(Frame::Whole(length)) => {
                    let packet = &input[at..at + length];
                    let kind = layout::u16_at(packet, layout::TYPE);
                    if bus.dropped_kind == Some(kind) {
                        log::warn!("Dropping a packet of type {kind}, as DEBUG says");
                    } else if bus.asks_for_pause(link, packet) {
                        self.begin_handing_over(bus, link, packet);
                    } else {
                        bus.cluster.packet(now, link, packet);
                    }
                    at += length;
                }
                Ok(Frame::Incomplete { missing }) => break missing,
                Err(bad) => {
                    bus.cluster.bad_frame(now, link, bad);
                    return;
                }
            }
        };
        if let Some(wire) = bus.wires.get_mut(&link) {
            let left = input.len() - at;
            wire.needs = left + missing;
            wire.input = input;
            wire.input.drain(..at);
        }
    }
}
