//! The ring: operations queued and submitted with one system call a turn, completions handed out with their bytes.
//!
//! Flags: SINGLE_ISSUER and DEFER_TASKRUN, so that completions run when the core asks for them and on its own stack,
//! TASKRUN_FLAG, so that it can see that some wait, and a registered ring descriptor. Each connection has one multishot
//! receive; sends are queued and go out together.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::buffers::{Buffers, GROUP, Received};

/// Submission entries; a fuller turn submits in between.
const SUBMISSIONS: u32 = 1024;
/// Completion entries; the kernel keeps what overflows.
const COMPLETIONS: u32 = 8192;

const TAG_SHIFT: u32 = 56;
const TAG_RECEIVE: u64 = 1;
const TAG_SEND: u64 = 2;
const TAG_WAKE: u64 = 3;
const TAG_EVENT: u64 = 4;
const TAG_ACCEPT: u64 = 5;
const TAG_IGNORED: u64 = 6;
const TAG_TIMER: u64 = 7;
const TAG_SYNC: u64 = 8;
const TAG_WRITABLE: u64 = 9;

/// What a completion is about. `token` is what the caller gave with the operation (56 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Bytes have come; more may follow without re-arming when `more`.
    Receive,
    /// A send is over.
    Send,
    /// A connection was accepted.
    Accept,
    /// A file's data is on disk, or could not be put there.
    Sync,
    /// A socket takes bytes again, has connected, or has failed.
    Writable,
    /// Another core wants attention.
    Wake,
    /// Of no interest.
    Ignored,
}

/// One completion.
#[derive(Debug)]
pub struct Completion {
    /// What it is about.
    pub operation: Operation,
    /// The caller's mark.
    pub token: u64,
    /// Bytes; negative: an errno.
    pub result: i32,
    /// The multishot operation goes on.
    pub more: bool,
    /// What a receive brought. Goes back by `recycle`.
    pub received: Option<Received>,
    /// What an accept brought.
    pub connection: Option<OwnedFd>,
}

/// How other threads reach this ring.
#[derive(Clone, Debug)]
pub struct WakeHandle {
    /// For threads with a ring of their own.
    ring: RawFd,
    /// For all others.
    event: Arc<OwnedFd>,
}

impl WakeHandle {
    /// Wakes by a write to the event descriptor: a system call, for threads without a ring.
    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes are written from a live array to a descriptor that the handle keeps open.
        let written = unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), 8) };
        // A full counter (EAGAIN) means that a wake-up is already on its way.
        debug_assert!(
            written == 8 || io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
        );
    }
}

/// One core's ring.
pub struct Ring {
    uring: IoUring,
    buffers: Buffers,
    event: Arc<OwnedFd>,
    event_armed: bool,
    enters: u64,
    /// The time at which the armed timer ends the wait, where the kernel reads it.
    timer: Box<types::Timespec>,
    timers_armed: u32,
    /// How long the timer armed last runs; the maximum once it is over.
    timer_limit: Duration,
    /// What the kernel is sending, by connection place. Dropping a buffer before its completion would free memory that
    /// the kernel reads; hence the ring keeps them.
    sending: Vec<Vec<u8>>,
    /// Quick sends queued since completions were last taken, with how many bytes each is to send. One that sends all of
    /// them makes no completion: it is over when the kernel has taken it, which spares an entry and, above all, being
    /// woken by it.
    quick: Vec<(u64, u32)>,
}

impl Ring {
    /// Sets the ring up for the calling thread, which alone may drive it.
    pub fn new() -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(COMPLETIONS);
        let mut uring: IoUring = builder.build(SUBMISSIONS)?;
        let _ = uring.submitter().register_ring_fd(); // saves a descriptor look-up an enter, where the kernel can
        let buffers = Buffers::register(&uring)?;
        // SAFETY: eventfd takes no pointers.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let event = Arc::new(unsafe { OwnedFd::from_raw_fd(event) });
        let _ = uring.completion();
        Ok(Ring {
            uring,
            buffers,
            event,
            event_armed: false,
            enters: 0,
            timer: Box::new(types::Timespec::new()),
            timers_armed: 0,
            timer_limit: Duration::MAX,
            sending: Vec::new(),
            quick: Vec::new(),
        })
    }

    /// How other threads reach this ring.
    pub fn wake_handle(&self) -> WakeHandle {
        WakeHandle {
            ring: self.uring.as_raw_fd(),
            event: self.event.clone(),
        }
    }

    /// Receives from `fd` until told otherwise. Ends with zero at end of stream, or an errno.
    #[inline]
    pub fn receive(&mut self, fd: RawFd, token: u64) {
        self.push(
            opcode::RecvMulti::new(types::Fd(fd), GROUP)
                .build()
                .user_data(TAG_RECEIVE << TAG_SHIFT | token),
        );
    }

    /// Sends `bytes[from..]`; the ring keeps them until the completion hands them back by `take_sent`. One send for each
    /// place (the low half of `token`) at a time.
    ///
    /// The first attempt never waits for room in the socket, so that it is over when `turn` returns; `patient` is for
    /// what such an attempt has left over.
    #[inline]
    pub fn send(&mut self, fd: RawFd, token: u64, bytes: Vec<u8>, from: usize, patient: bool) {
        let place = (token & 0xffff_ffff) as usize;
        if place >= self.sending.len() {
            self.sending.resize_with(place + 1, Vec::new);
        }
        let length = u32::try_from(bytes.len() - from).unwrap_or(u32::MAX);
        let start = bytes[from..].as_ptr();
        self.sending[place] = bytes; // the heap block stays where it is
        let send = opcode::Send::new(types::Fd(fd), start, length);
        let whole = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let entry = if patient {
            send.flags(whole).build()
        } else {
            self.quick.push((token, length));
            send.flags(whole | libc::MSG_DONTWAIT)
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS)
        };
        self.push(entry.user_data(TAG_SEND << TAG_SHIFT | token));
    }

    /// The bytes of a send that is over.
    #[inline]
    pub fn take_sent(&mut self, token: u64) -> Vec<u8> {
        std::mem::take(&mut self.sending[(token & 0xffff_ffff) as usize])
    }

    /// Accepts from the listener `fd` until told otherwise.
    pub fn accept(&mut self, fd: RawFd, token: u64) {
        self.push(
            opcode::AcceptMulti::new(types::Fd(fd))
                .flags(libc::SOCK_CLOEXEC)
                .build()
                .user_data(TAG_ACCEPT << TAG_SHIFT | token),
        );
    }

    /// Puts what has been written to the file `fd` on disk; its completion says so. The caller keeps the file open until
    /// then.
    pub fn sync(&mut self, fd: RawFd, token: u64) {
        self.push(
            opcode::Fsync::new(types::Fd(fd))
                .flags(types::FsyncFlags::DATASYNC)
                .build()
                .user_data(TAG_SYNC << TAG_SHIFT | token),
        );
    }

    /// Waits, once, until a socket takes bytes, or has failed.
    pub fn await_writable(&mut self, fd: RawFd, token: u64) {
        self.push(
            opcode::PollAdd::new(types::Fd(fd), libc::POLLOUT as u32)
                .build()
                .user_data(TAG_WRITABLE << TAG_SHIFT | token),
        );
    }

    /// Ends the multishot operation that bears `operation` and `token`.
    pub fn cancel_accept(&mut self, token: u64) {
        self.push(
            opcode::AsyncCancel::new(TAG_ACCEPT << TAG_SHIFT | token)
                .build()
                .user_data(TAG_IGNORED << TAG_SHIFT),
        );
    }

    /// Ends a connection's multishot receive; its last completion says so.
    pub fn cancel_receive(&mut self, token: u64) {
        self.push(
            opcode::AsyncCancel::new(TAG_RECEIVE << TAG_SHIFT | token)
                .build()
                .user_data(TAG_IGNORED << TAG_SHIFT),
        );
    }

    /// Wakes another ring with the next submission.
    #[inline]
    pub fn wake(&mut self, other: &WakeHandle) {
        self.push(
            opcode::MsgRingData::new(types::Fd(other.ring), 0, TAG_WAKE << TAG_SHIFT, None)
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS)
                .user_data(TAG_IGNORED << TAG_SHIFT),
        );
    }

    #[inline]
    fn push(&mut self, entry: squeue::Entry) {
        loop {
            // SAFETY: every operation is built here; those with a pointer are `send`, whose bytes the ring keeps until
            // their completion, and the timer, whose time is boxed and read by the kernel when it is submitted.
            if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                return;
            }
            self.submit_now();
        }
    }

    /// Hands queued operations to the kernel without waiting.
    fn submit_now(&mut self) {
        self.enters += 1;
        if let Err(error) = self.uring.submit() {
            Self::tolerate(&error);
        }
    }

    fn tolerate(error: &io::Error) {
        // EBUSY and EAGAIN: completions must be taken first; EINTR: a signal; ETIME: the wait is over.
        let known = [libc::EINTR, libc::EBUSY, libc::EAGAIN, libc::ETIME];
        assert!(
            error
                .raw_os_error()
                .is_some_and(|errno| known.contains(&errno)),
            "io_uring enter failed: {error}"
        );
    }

    /// Submits what is queued and collects what is done. Waits when `wait` is given: until something completes, other
    /// than quick sends that go through, or about the time is over: one timer is armed at a time and runs across
    /// waits, which spares each of them setting up a clock of its own; a wait may therefore end early.
    #[inline]
    pub fn turn(&mut self, wait: Option<Duration>) {
        self.buffers.publish();
        match wait {
            None => {
                let queue = self.uring.submission();
                if !queue.is_empty() || queue.taskrun() || queue.cq_overflow() {
                    drop(queue);
                    self.enters += 1;
                    // GETEVENTS (want 0 with arguments would not run task work): deferred completions run now.
                    let pending = self.uring.submission().len() as u32;
                    // SAFETY: no signal mask is passed.
                    let entered = unsafe {
                        self.uring
                            .submitter()
                            .enter::<libc::sigset_t>(pending, 0, 1, None)
                    };
                    if let Err(error) = entered {
                        Self::tolerate(&error);
                    }
                }
            }
            Some(limit) => {
                if !self.event_armed {
                    self.arm_event();
                }
                // A nap much shorter than the timer under way needs one of its own.
                if self.timers_armed == 0 || limit < self.timer_limit / 4 {
                    self.arm_timer(limit);
                }
                self.enters += 1;
                if let Err(error) = self.uring.submit_and_wait(1) {
                    Self::tolerate(&error);
                }
            }
        }
    }

    fn arm_timer(&mut self, limit: Duration) {
        self.timers_armed += 1;
        self.timer_limit = limit;
        *self.timer = types::Timespec::new()
            .sec(limit.as_secs())
            .nsec(limit.subsec_nanos());
        let entry = opcode::Timeout::new(&raw const *self.timer)
            .build()
            .user_data(TAG_TIMER << TAG_SHIFT);
        self.push(entry);
    }

    fn arm_event(&mut self) {
        self.event_armed = true;
        let fd = self.event.as_raw_fd();
        self.push(
            opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32)
                .multi(true)
                .build()
                .user_data(TAG_EVENT << TAG_SHIFT),
        );
    }

    /// Whether completions wait to be taken.
    pub fn has_completions(&mut self) -> bool {
        !self.uring.completion().is_empty()
    }

    /// Takes all completions to the end of `into`. To be called after `turn` and before the next sends are queued.
    #[inline]
    pub fn completions(&mut self, into: &mut Vec<Completion>) {
        while self.uring.submission().cq_overflow() {
            // The kernel keeps what found no room, a failed send's completion perhaps among it.
            self.drain(into);
            self.submit_now();
        }
        self.drain(into);
        if self.quick.is_empty() {
            return;
        }
        // Those that failed or sent a part have said so; the others are over.
        let told = into
            .iter()
            .filter(|completion| completion.operation == Operation::Send)
            .count();
        for (token, length) in self.quick.drain(..) {
            let said = told > 0
                && into.iter().any(|completion| {
                    completion.operation == Operation::Send && completion.token == token
                });
            if !said {
                into.push(Completion {
                    operation: Operation::Send,
                    token,
                    result: length as i32,
                    more: false,
                    received: None,
                    connection: None,
                });
            }
        }
    }

    #[inline]
    fn drain(&mut self, into: &mut Vec<Completion>) {
        let mut woken_by_event = false;
        let mut rearm = false;
        let mut timers_ended = 0;
        for entry in self.uring.completion() {
            let data = entry.user_data();
            let operation = match data >> TAG_SHIFT {
                TAG_RECEIVE => Operation::Receive,
                TAG_SEND => Operation::Send,
                TAG_ACCEPT => Operation::Accept,
                TAG_SYNC => Operation::Sync,
                TAG_WRITABLE => Operation::Writable,
                TAG_WAKE => Operation::Wake,
                TAG_EVENT => {
                    woken_by_event = true;
                    rearm = !cqueue::more(entry.flags());
                    Operation::Wake
                }
                TAG_TIMER => {
                    timers_ended += 1;
                    continue;
                }
                _ => continue,
            };
            into.push(Completion {
                operation,
                token: data & ((1 << TAG_SHIFT) - 1),
                result: entry.result(),
                more: cqueue::more(entry.flags()),
                received: cqueue::buffer_select(entry.flags())
                    .map(|id| self.buffers.received(id, entry.result().max(0) as usize)),
                // SAFETY: the kernel has just made this descriptor for this completion, which is read once.
                connection: (operation == Operation::Accept && entry.result() >= 0)
                    .then(|| unsafe { OwnedFd::from_raw_fd(entry.result()) }),
            });
        }
        if timers_ended > 0 {
            self.timers_armed -= timers_ended;
            self.timer_limit = Duration::MAX;
        }
        if woken_by_event {
            self.drain_event();
            self.event_armed &= !rearm;
        }
    }

    fn drain_event(&self) {
        let mut count = [0u8; 8];
        // SAFETY: eight bytes are read into a live array; the descriptor is non-blocking.
        unsafe { libc::read(self.event.as_raw_fd(), count.as_mut_ptr().cast(), 8) };
    }

    /// Gives a receive's buffer back to the kernel.
    #[inline]
    pub fn recycle(&mut self, received: Received) {
        self.buffers.provide(received);
    }

    /// The kernel ran out of buffers (a receive ended with ENOBUFS): provides more.
    pub fn grow_buffers(&mut self) {
        self.buffers.grow();
    }

    /// System calls made so far.
    pub fn enters(&self) -> u64 {
        self.enters
    }
}
