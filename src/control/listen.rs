//! The sockets the server listens on: one for each address, never shared with another process.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::Config;

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
}

/// Why an address cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    address: String,
    error: io::Error,
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
    let mut listeners = Vec::new();
    if config.port != 0 {
        for word in &config.bind {
            let (optional, word) = match word.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, word.as_str()),
            };
            match tcp(word, config) {
                Ok(listener) => listeners.push(listener),
                Err(error) if optional && may_be_missing(&error) => {}
                Err(error) => {
                    return Err(ListenError {
                        address: format!("{word}:{}", config.port),
                        error,
                    });
                }
            }
        }
    }
    if let Some(path) = &config.unixsocket {
        listeners.push(unix(path, config).map_err(|error| ListenError {
            address: path.display().to_string(),
            error,
        })?);
    }
    Ok(listeners)
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

fn tcp(word: &str, config: &Config) -> io::Result<Listener> {
    let address: IpAddr = match word {
        "*" => Ipv4Addr::UNSPECIFIED.into(),
        "::*" => Ipv6Addr::UNSPECIFIED.into(),
        other => match other.parse() {
            Ok(address) => address,
            Err(_) => resolve(other)?,
        },
    };
    let address = SocketAddr::new(address, config.port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    let mut tries = BIND_TRIES;
    while let Err(error) = socket.bind(&address.into()) {
        tries -= 1;
        if error.kind() != io::ErrorKind::AddrInUse || tries == 0 {
            return Err(error);
        }
        std::thread::sleep(BIND_PAUSE);
    }
    socket.listen(config.tcp_backlog)?;
    Ok(Listener {
        fd: socket.into(),
        unix: false,
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
    })
}
