//! System calls that the standard library has no safe form for.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// Ends both directions of a socket; pending receives on it complete.
pub fn shutdown_socket(fd: RawFd) {
    // SAFETY: takes no pointers; a stale descriptor only makes it fail.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// A descriptor that came as a number, in a message: the receiver owns it from here on.
pub fn own(fd: RawFd) -> OwnedFd {
    assert!(fd >= 0, "a descriptor is no negative number");
    // SAFETY: the caller owns the descriptor and gives it away.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Closes a descriptor that nobody else owns.
pub fn close(fd: RawFd) {
    // SAFETY: takes no pointers; the caller owns the descriptor.
    unsafe { libc::close(fd) };
}

/// Sets an integer socket option; false when the kernel refuses.
pub fn set_socket_option(fd: RawFd, level: i32, name: i32, value: i32) -> bool {
    // SAFETY: the option value is a live integer of the size given.
    unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        ) == 0
    }
}

/// Gives whole pages of memory that nobody reads any more back to the kernel, where they are large anyway. The memory
/// stays its owner's: what is freed in the end is then only addresses, and freeing it takes no time.
pub fn give_back(unread: &mut [MaybeUninit<u8>]) {
    // SAFETY: takes no pointers.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as usize;
    let from = unread.as_mut_ptr();
    let skipped = from.align_offset(page);
    let length = unread.len().saturating_sub(skipped) / page * page;
    if length == 0 {
        return;
    }
    // SAFETY: the pages are within the slice, which is borrowed exclusively, and whose bytes are of no meaning before they
    // are written again: they may become zeroes. Memory from the allocator is private and anonymous.
    unsafe {
        let from = from.add(skipped).cast();
        libc::madvise(from, length, libc::MADV_DONTNEED);
    }
}

/// Nanoseconds of CPU time that the calling thread has used.
pub fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Replaces a file's content so that a crash leaves the old one or the new one whole: a temporary file beside it, fsync,
/// rename, fsync of the directory.
pub fn replace_file(path: &std::path::Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => std::path::Path::new("."),
    };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = std::path::PathBuf::from(temporary);
    let written = (|| {
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(content)?;
        if let Ok(known) = std::fs::metadata(path) {
            file.set_permissions(known.permissions())?;
        }
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        std::fs::File::open(directory)?.sync_all()
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Sixty-four random bits of the kernel's.
pub fn entropy() -> u64 {
    let mut bytes = [0u8; 8];
    // SAFETY: eight bytes are written to a live array; a request this small is never cut short.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    assert_eq!(got, 8, "the kernel has random bytes");
    u64::from_ne_bytes(bytes)
}

/// Descriptors kept free for files and the server itself beside `maxclients` (Redis: CONFIG_MIN_RESERVED_FDS).
pub const RESERVED_FDS: u64 = 32;

/// Raises the soft limit of open files towards `wanted`; gives the limit in force.
pub fn raise_open_files(wanted: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live structure.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return 1024;
    }
    if limit.rlim_cur >= wanted {
        return limit.rlim_cur;
    }
    // A privileged process may raise the hard limit too; any other gets as much as that allows.
    for hard in [limit.rlim_max.max(wanted), limit.rlim_max] {
        let raised = libc::rlimit {
            rlim_cur: wanted.min(hard),
            rlim_max: hard,
        };
        // SAFETY: the pointer is to a live structure.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
            return raised.rlim_cur;
        }
    }
    limit.rlim_cur
}

/// Detaches from the terminal: the parent ends, the child goes on in a session of its own with its standard streams on
/// /dev/null. Must come before the first thread.
pub fn daemonize() -> std::io::Result<()> {
    // SAFETY: no other thread exists yet, so the child may go on as if nothing had happened.
    if unsafe { libc::daemon(1, 0) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

/// Tells systemd about the process, if it listens (sd_notify).
pub fn notify_systemd(state: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let path = path.to_string_lossy().into_owned();
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name.as_bytes()),
        None => SocketAddr::from_pathname(&path),
    };
    if let (Ok(socket), Ok(address)) = (UnixDatagram::unbound(), address) {
        let _ = socket.send_to_addr(state.as_bytes(), &address);
    }
}

/// Names the calling thread for `top -H` (at most fifteen bytes).
pub fn name_thread(name: &str) {
    let mut bytes = [0u8; 16];
    let length = name.len().min(15);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    // SAFETY: the name is a live array that ends in a zero byte.
    unsafe { libc::prctl(libc::PR_SET_NAME, bytes.as_ptr()) };
}

/// The niceness `more` above the calling thread's.
fn nicer_by(more: i32) -> i32 {
    // SAFETY: no memory is involved. For Linux zero names the calling thread, not its process.
    let own = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    (own + more).min(19)
}

/// What `sched_setattr` takes, as far as every kernel that has it knows it.
#[repr(C)]
#[derive(Default)]
struct Scheduling {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

/// How much less of the processor's time than others get a thread in the background asks for, as niceness.
const NICENESS: i32 = 5;
/// How long it works at a time before it lets others have the processor. The kernel would look after them with its next
/// tick only, which may be 4 ms away.
pub const BACKGROUND_SLICE: Duration = Duration::from_micros(100);

/// The calling thread does work that may wait: it asks for less processor time than others get, in short slices, and does
/// not push others aside when it wakes. Kernels before 6.12 know no such slices and pass over them. What is refused leaves
/// the thread as it was.
pub fn be_background() {
    let nice = nicer_by(NICENESS);
    let wanted = Scheduling {
        size: size_of::<Scheduling>() as u32,
        policy: libc::SCHED_BATCH as u32,
        nice,
        runtime_ns: BACKGROUND_SLICE.as_nanos() as u64,
        ..Scheduling::default()
    };
    // SAFETY: the structure is live, says its size, and is only read. Zero names the calling thread.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0) };
    if done != 0 {
        // SAFETY: no memory is involved, and zero names the calling thread.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    }
}

/// How often the calling thread has let go of its processor because it had to wait for something, and not because others
/// wanted it.
pub fn voluntary_waits() -> i64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel fills in a value of this type, of which all zeros are one.
    unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init().ru_nvcsw
    }
}

/// Where a report of a fault goes beside standard error; negative for nowhere.
static REPORT_FD: AtomicI32 = AtomicI32::new(-1);

/// Makes faults in machine code (a bad address, a bad instruction, a division by zero) and SIGABRT leave a line before they
/// end the process: on standard error and on `log`, a descriptor that stays open.
pub fn report_faults(log: RawFd) {
    REPORT_FD.store(log, Ordering::Relaxed);
    for signal in [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGABRT,
    ] {
        // SAFETY: an all-zero `sigaction` is a valid one (no flags, an empty mask), completed by the next lines.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_fault as *const () as usize;
        // On the stack that each thread has for signals, since its own may be what is used up; once only, so that a
        // fault in the handler ends the process.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
        // SAFETY: the handler has the signature that SA_SIGINFO asks for and does only what is allowed in one.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
}

/// Writes the report and lets the signal end the process as it would have.
extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let mut line = [0u8; 160];
    let mut length = 0;
    let mut add = |bytes: &[u8]| {
        line[length..length + bytes.len()].copy_from_slice(bytes);
        length += bytes.len();
    };
    let mut digits = [0u8; 20];
    add(b"\n=== SLOTWISE BUG REPORT: crashed by signal: ");
    add(decimal(signal.unsigned_abs() as usize, 10, &mut digits));
    if signal != libc::SIGABRT {
        // SAFETY: the kernel hands over a valid siginfo, and the other signals carry an address.
        let address = unsafe { (*info).si_addr() } as usize;
        add(b", accessing address: 0x");
        add(decimal(address, 16, &mut digits));
    }
    add(b" ===\nPlease report this with the log lines above.\n");
    for fd in [libc::STDERR_FILENO, REPORT_FD.load(Ordering::Relaxed)] {
        if fd >= 0 {
            // SAFETY: write is allowed in a signal handler, and the line is live.
            unsafe { libc::write(fd, line.as_ptr().cast(), length) };
        }
    }
    // SAFETY: raise is allowed in a signal handler; the default action is in force again (SA_RESETHAND).
    unsafe { libc::raise(signal) };
}

/// A number as text, without allocation: a signal handler may not allocate.
fn decimal(mut number: usize, base: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[number % base];
        number /= base;
        if number == 0 {
            return &digits[at..];
        }
    }
}

/// What the system says about an errno: `No space left on device`.
pub fn error_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// A memory fault, as DEBUG SEGFAULT wants one.
pub fn fault() {
    // SAFETY: raising a signal at oneself touches no memory.
    unsafe { libc::raise(libc::SIGSEGV) };
}
