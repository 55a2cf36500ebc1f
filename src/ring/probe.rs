//! Can this machine run the server at all? Asked once at start, answered with what is wrong and what to do.

use std::fmt;
use std::fs;
use std::io;

use super::uring::Ring;

/// Why io_uring cannot be used here.
#[derive(Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The kernel lacks something; the release is what it calls itself.
    TooOld {
        /// `uname -r`.
        release: String,
    },
    /// `/proc/sys/kernel/io_uring_disabled` is 1 or 2.
    Disabled {
        /// Its value.
        value: u8,
    },
    /// The system call is refused, as container runtimes' default seccomp profiles do.
    Forbidden,
    /// RLIMIT_MEMLOCK does not leave room for the rings.
    MemoryLock {
        /// The limit in bytes.
        limit: u64,
    },
    /// Anything else the kernel said.
    Other(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::TooOld { release } => write!(
                f,
                "this kernel ({release}) is too old: Slotwise needs Linux 6.1 or newer for io_uring with multishot \
                 receive and deferred task work. Upgrade the kernel (Debian 12, Ubuntu 23.04 and RHEL 10 ship one)."
            ),
            Unusable::Disabled { value } => write!(
                f,
                "io_uring is switched off on this machine (kernel.io_uring_disabled = {value}). Allow it with \
                 'sysctl kernel.io_uring_disabled=0' and put the same line into /etc/sysctl.d to keep it{}.",
                if *value == 1 {
                    ", or set kernel.io_uring_group to a group of the server's user"
                } else {
                    ""
                }
            ),
            Unusable::Forbidden => write!(
                f,
                "io_uring is forbidden to this process: most likely by a seccomp profile, such as the default one of \
                 Docker and containerd. Run the container with a profile that allows io_uring_setup, io_uring_enter and \
                 io_uring_register (Docker: --security-opt seccomp=FILE), or outside of one (--security-opt \
                 seccomp=unconfined)."
            ),
            Unusable::MemoryLock { limit } => write!(
                f,
                "the limit of locked memory ({limit} bytes) is too low for io_uring. Raise it: 'ulimit -l 8192' in the \
                 starting shell, LimitMEMLOCK=8M in the systemd unit, or --ulimit memlock=8388608 for Docker."
            ),
            Unusable::Other(error) => write!(f, "io_uring cannot be set up: {error}."),
        }
    }
}

impl std::error::Error for Unusable {}

/// Sets a ring up and throws it away.
pub fn probe() -> Result<(), Unusable> {
    if let Some((major, minor)) = version(&release())
        && (major, minor) < (6, 1)
    {
        return Err(Unusable::TooOld { release: release() });
    }
    match Ring::new() {
        Ok(_) => Ok(()),
        Err(error) => Err(explain(&error)),
    }
}

/// Turns what the kernel said into what it means.
fn explain(error: &io::Error) -> Unusable {
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .ok()
        .and_then(|text| text.trim().parse::<u8>().ok())
        .unwrap_or(0);
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) if disabled > 0 => Unusable::Disabled { value: disabled },
        Some(libc::EPERM | libc::EACCES) => Unusable::Forbidden,
        Some(libc::ENOSYS) if version(&release()).is_some_and(|v| v >= (6, 1)) => {
            Unusable::Forbidden
        }
        Some(libc::ENOSYS | libc::EINVAL) => Unusable::TooOld { release: release() },
        Some(libc::ENOMEM) => Unusable::MemoryLock {
            limit: memory_lock_limit(),
        },
        _ => Unusable::Other(error.to_string()),
    }
}

fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn memory_lock_limit() -> u64 {
    fs::read_to_string("/proc/self/limits")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find(|line| line.starts_with("Max locked memory"))?;
            line.split_whitespace().nth(3)?.parse().ok()
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_read() {
        assert_eq!(version("6.18.44-fc"), Some((6, 18)));
        assert_eq!(version("5.15.0-91-generic"), Some((5, 15)));
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn every_reason_says_what_to_do() {
        let all = [
            Unusable::TooOld {
                release: "5.4.0".into(),
            },
            Unusable::Disabled { value: 1 },
            Unusable::Disabled { value: 2 },
            Unusable::Forbidden,
            Unusable::MemoryLock { limit: 65536 },
        ];
        for reason in all {
            let text = reason.to_string();
            assert!(text.len() > 80 && text.ends_with('.'), "{text}");
        }
    }

    #[test]
    fn refused_calls_are_told_apart() {
        assert_eq!(
            explain(&io::Error::from_raw_os_error(libc::ENOMEM)),
            Unusable::MemoryLock {
                limit: memory_lock_limit()
            }
        );
        assert!(matches!(
            explain(&io::Error::from_raw_os_error(libc::EMFILE)),
            Unusable::Other(_)
        ));
    }
}
