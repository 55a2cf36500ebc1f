//! The sockets the server listens on: one for each address, never shared with another process.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::Config;

use super::core::Control;

/// How often an address in use is tried: for a second in all. The kernel takes a ring apart some time after its process
/// was killed, and the accept in it holds the socket until then; a restart at once must not fail for that.
const BIND_TRIES: u32 = 21;
/// Between two tries.
const BIND_PAUSE: Duration = Duration::from_millis(50);

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub fd: OwnedFd,
    /// A unix socket.
    pub unix: bool,
    /// The word of `bind` and the port that it stands for; none for a unix socket.
    address: Option<(String, u16)>,
}

/// Why an address cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    address: String,
    error: io::Error,
}

impl ListenError {
    fn is_in_use(&self) -> bool {
        self.error.kind() == io::ErrorKind::AddrInUse
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Could not create server TCP listening socket {}: ",
            self.address
        )?;
        match self.error.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "bind: Address already in use. Another server has this port: stop it, or choose another one with \
                 'port' or --port."
            ),
            io::ErrorKind::AddrNotAvailable => write!(
                f,
                "bind: Cannot assign requested address. No interface of this machine has it: correct 'bind', or put \
                 a '-' before the address if it may be missing."
            ),
            io::ErrorKind::PermissionDenied => write!(
                f,
                "bind: Permission denied. Ports below 1024 need CAP_NET_BIND_SERVICE; a unix socket needs a \
                 directory this user may write to."
            ),
            _ => write!(f, "{}", self.error),
        }
    }
}

impl std::error::Error for ListenError {}

/// Opens all sockets that the configuration names.
pub fn listen(config: &Config) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = open_all(&addresses(config), config, BIND_TRIES)?;
    if let Some(path) = &config.unixsocket {
        listeners.push(unix(path, config).map_err(|error| ListenError {
            address: path.display().to_string(),
            error,
        })?);
    }
    Ok(listeners)
}

/// Opens the sockets of the cluster's bus, on the addresses on which clients are listened to.
pub fn listen_bus(config: &Config, port: u16) -> Result<Vec<Listener>, ListenError> {
    let addresses = addresses_at(config, port);
    open_all(&addresses, config, BIND_TRIES)
}

/// The same while the server runs, which must not wait for an address that is in use.
pub(super) fn listen_bus_at_once(config: &Config, port: u16) -> Result<Vec<Listener>, ListenError> {
    open_all(&addresses_at(config, port), config, 1)
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    /// It may be missing.
    optional: bool,
    word: String,
    port: u16,
}

/// The TCP addresses that the configuration names.
fn addresses(config: &Config) -> Vec<Address> {
    match config.port {
        0 => Vec::new(),
        port => addresses_at(config, port),
    }
}

fn addresses_at(config: &Config, port: u16) -> Vec<Address> {
    let words = config.bind.iter();
    words
        .map(|word| {
            let bare = word.strip_prefix('-');
            Address {
                optional: bare.is_some(),
                word: bare.unwrap_or(word).to_owned(),
                port,
            }
        })
        .collect()
}

/// Opens all of them or none. An address in use is tried so many times.
fn open_all(
    addresses: &[Address],
    config: &Config,
    tries: u32,
) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        match tcp(&address.word, address.port, config.tcp_backlog, tries) {
            Ok(listener) => listeners.push(listener),
            Err(error) if address.optional && may_be_missing(&error) => {}
            Err(error) => {
                return Err(ListenError {
                    address: format!("{}:{}", address.word, address.port),
                    error,
                });
            }
        }
    }
    Ok(listeners)
}

impl Control {
    /// Accepts from a listener.
    pub(super) fn accept_from(&mut self, listener: Listener) {
        self.ring
            .accept(listener.fd.as_raw_fd(), self.listeners.len() as u64);
        self.listeners.push(Some(listener));
    }

    /// Listens on the addresses of `config` in the place of those of now; those in both are not touched, and clients
    /// stay connected. When an address cannot be had, all is as before (CONFIG SET port and bind).
    pub(super) fn listen_anew(&mut self, config: &Config) -> Result<(), ListenError> {
        let wanted = addresses(config);
        let is_at = |listener: &Listener, address: &Address| {
            let (word, port) = (&address.word, address.port);
            listener
                .address
                .as_ref()
                .is_some_and(|known| known.0 == *word && known.1 == port)
        };
        let open = self.listeners.iter().flatten();
        let fresh: Vec<Address> = wanted
            .iter()
            .filter(|address| !open.clone().any(|listener| is_at(listener, address)))
            .cloned()
            .collect();
        let leaving: Vec<usize> = (0..self.listeners.len())
            .filter(|&place| {
                self.listeners[place].as_ref().is_some_and(|listener| {
                    listener.address.is_some() && !wanted.iter().any(|one| is_at(listener, one))
                })
            })
            .collect();
        match open_all(&fresh, config, 1) {
            Ok(listeners) => {
                self.close_listeners(&leaving);
                listeners.into_iter().for_each(|one| self.accept_from(one));
                return Ok(());
            }
            Err(error) if leaving.is_empty() || !error.is_in_use() => return Err(error),
            Err(_) => {}
        }
        // One of ours may stand in the way: of one port, `*` and 127.0.0.1 exclude each other.
        let before: Vec<Address> = self
            .close_listeners(&leaving)
            .into_iter()
            .map(|(word, port)| Address {
                optional: false,
                word,
                port,
            })
            .collect();
        let opened = open_all(&fresh, config, 1);
        match opened {
            Ok(listeners) => {
                listeners.into_iter().for_each(|one| self.accept_from(one));
                Ok(())
            }
            Err(error) => {
                match open_all(&before, config, BIND_TRIES) {
                    Ok(listeners) => listeners.into_iter().for_each(|one| self.accept_from(one)),
                    Err(lost) => log::error!("An address that was in use before is lost: {lost}"),
                }
                Err(error)
            }
        }
    }

    /// Closes the listeners at these places and gives their addresses.
    fn close_listeners(&mut self, places: &[usize]) -> Vec<(String, u16)> {
        let mut addresses = Vec::new();
        for &place in places {
            if let Some(listener) = self.listeners[place].take() {
                // The accept in the ring holds the socket for a while; shut down, it gives its address free at once.
                crate::base::sys::shutdown_socket(listener.fd.as_raw_fd());
                self.ring.cancel_accept(place as u64);
                addresses.extend(listener.address);
            }
        }
        addresses
    }
}

/// Errors that an optional address may have: it, or its whole family, is not there.
fn may_be_missing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EADDRNOTAVAIL
                | libc::EAFNOSUPPORT
                | libc::EPROTONOSUPPORT
                | libc::ESOCKTNOSUPPORT
                | libc::EPFNOSUPPORT
                | libc::ENOPROTOOPT
        )
    )
}

fn tcp(word: &str, port: u16, backlog: i32, mut tries: u32) -> io::Result<Listener> {
    let address: IpAddr = match word {
        "*" => Ipv4Addr::UNSPECIFIED.into(),
        "::*" => Ipv6Addr::UNSPECIFIED.into(),
        other => match other.parse() {
            Ok(address) => address,
            Err(_) => resolve(other)?,
        },
    };
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    while let Err(error) = socket.bind(&address.into()) {
        tries -= 1;
        if error.kind() != io::ErrorKind::AddrInUse || tries == 0 {
            return Err(error);
        }
        std::thread::sleep(BIND_PAUSE);
    }
    socket.listen(backlog)?;
    Ok(Listener {
        fd: socket.into(),
        unix: false,
        address: Some((word.to_owned(), port)),
    })
}

fn resolve(name: &str) -> io::Result<IpAddr> {
    use std::net::ToSocketAddrs;
    (name, 0)
        .to_socket_addrs()?
        .next()
        .map(|address| address.ip())
        .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
}

fn unix(path: &Path, config: &Config) -> io::Result<Listener> {
    // A socket left by a server that was killed; anything else in its place is not ours to remove.
    if std::fs::symlink_metadata(path).is_ok_and(|known| known.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(config.tcp_backlog)?;
    if config.unixsocketperm != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(config.unixsocketperm))?;
    }
    Ok(Listener {
        fd: socket.into(),
        unix: true,
        address: None,
    })
}
