//! Accepted connections: limits, protected mode, and which core serves them.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

use socket2::{SockAddr, Socket};

use crate::base::sys;
use crate::mesh::message::{Accepted, CoreMessage};

use super::core::Control;

/// What a client from elsewhere reads in protected mode.
const PROTECTED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Set up an authentication password for the default user. NOTE: You only need to do one of the above things in order for the server to start accepting connections from the outside.\r\n";
/// What one connection too many reads.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

impl Control {
    /// A connection has been accepted from a listener.
    pub(super) fn on_accepted(&mut self, fd: OwnedFd, unix: bool) {
        let socket = Socket::from(fd);
        if self.connected() >= u64::from(self.config.maxclients) {
            self.refuse(&socket, TOO_MANY);
            return;
        }
        let (peer, local) = names(&socket, unix);
        if !unix
            && self.config.protected_mode
            && self.users.default_user().needs_no_password()
            && !socket
                .peer_addr()
                .ok()
                .and_then(|peer| peer.as_socket())
                .is_some_and(is_loopback)
        {
            self.refuse(&socket, PROTECTED);
            return;
        }
        if !unix {
            let _ = socket.set_tcp_nodelay(true);
            self.keep_alive(socket.as_raw_fd());
        }
        self.last_client_id += 1;
        let core = self.least_connected();
        let link = self.links.core(core);
        link.connections.fetch_add(1, Ordering::Relaxed);
        link.mail(CoreMessage::Accept(Accepted {
            fd: socket.into_raw_fd(),
            client: self.last_client_id,
            peer,
            local,
            unix,
        }));
        link.wake_by_event();
    }

    fn refuse(&mut self, socket: &Socket, text: &[u8]) {
        // A socket that has just been accepted has room for one line; if not, the client learns by the close.
        let _ = socket.set_nonblocking(true);
        let _ = socket.send(text);
        self.counters().refused.add(1);
    }

    /// Connections served now.
    pub(super) fn connected(&self) -> u64 {
        self.links
            .shard_cores()
            .iter()
            .map(|core| core.connections.load(Ordering::Relaxed) as u64)
            .sum::<u64>()
            + self.replicas.count() as u64
    }

    fn least_connected(&self) -> usize {
        let cores = self.links.shard_cores().iter().enumerate();
        cores
            .min_by_key(|(_, core)| core.connections.load(Ordering::Relaxed))
            .map_or(0, |(index, _)| index)
    }

    /// TCP keep-alive as `tcp-keepalive` says: first probe after that time, then three more in a third of it each.
    fn keep_alive(&self, fd: RawFd) {
        let seconds = self.config.tcp_keepalive_seconds as i32;
        if seconds > 0 {
            sys::set_socket_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
            sys::set_socket_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds);
            sys::set_socket_option(
                fd,
                libc::IPPROTO_TCP,
                libc::TCP_KEEPINTVL,
                (seconds / 3).max(1),
            );
            sys::set_socket_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3);
        }
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    match address {
        SocketAddr::V4(v4) => v4.ip().is_loopback(),
        SocketAddr::V6(v6) => {
            v6.ip().is_loopback() || v6.ip().to_ipv4_mapped().is_some_and(|ip| ip.is_loopback())
        }
    }
}

/// Peer and own address as CLIENT LIST shows them.
fn names(socket: &Socket, unix: bool) -> (String, String) {
    let local = socket.local_addr().ok();
    if unix {
        let path = local.as_ref().and_then(SockAddr::as_pathname);
        let name = format!(
            "{}:0",
            path.map_or_else(String::new, |path| path.display().to_string())
        );
        return (name.clone(), name);
    }
    let show = |address: Option<SockAddr>| match address.and_then(|address| address.as_socket()) {
        Some(address) => address.to_string(),
        None => "?:0".to_owned(),
    };
    (show(socket.peer_addr().ok()), show(local))
}
