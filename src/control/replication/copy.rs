//! A full copy on its way to replicas: what the thread that writes it does with the bytes.
//!
//! The thread is the one of `persistence/background.rs`, which may wait. It begins by waiting for the control core to
//! say where the cut lies in the stream and who gets the copy. Then it writes straight to the sockets between two marks
//! of forty characters (`$EOF:`), or into a file of known length that a further thread sends to each replica (`$length`).
//! A replica that takes nothing for `repl-timeout` is given up; the others go on.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::base::crc64;
use crate::base::sys;
use crate::engine::SharedLinks;
use crate::mesh::message::{CopyOutcome, CoreMessage};
use crate::persistence::background::{Consumer, Ending};
use crate::persistence::file::{Disk, Output, RealDisk};
use crate::persistence::parts::Files;
use crate::persistence::rdb::Writer;
use crate::persistence::snapshot::{Header, StreamPlace, header};
use crate::replication::{Copy, OnEnd, Status};

/// How long a write may wait before `repl-timeout` is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Bytes of a file sent at a time, after which others may have the processor.
const CHUNK: usize = 64 * 1024;

/// A replica that gets a copy.
pub(super) struct Target {
    /// Its place among the replicas.
    pub place: u32,
    /// How logs name it.
    pub name: String,
    /// Its socket.
    pub socket: Socket,
    /// What it reads first.
    pub preamble: Vec<u8>,
}

impl Target {
    /// It has gone, or takes nothing: its connection ends, so that it can begin anew while others go on.
    fn give_up(&self, error: &io::Error) {
        let name = &self.name;
        match is_full(error) {
            true => log::warn!("Disconnecting timedout replica (full sync): {name}"),
            false => log::warn!("Diskless rdb transfer, write to replica {name} failed: {error}"),
        }
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// What the thread waits for.
pub(super) struct Start {
    /// Where the cut lies.
    pub stream: StreamPlace,
    /// Who gets the copy; none when it goes into a file.
    pub targets: Vec<Target>,
}

/// How copies are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Straight to the sockets, up to a mark.
    Marked,
    /// Through a file, with its length ahead.
    Measured,
}

/// Whom the outcome is told.
#[derive(Clone)]
pub(super) struct Teller {
    /// How the control core is reached.
    pub links: Arc<SharedLinks>,
    /// The copy's number.
    pub number: u64,
    /// Where what has been sent is counted.
    pub status: Arc<Status>,
}

impl Teller {
    fn tell(&self, outcome: CopyOutcome) {
        let (number, control) = (self.number, self.links.control());
        control.mail(CoreMessage::CopyEnded { number, outcome });
        control.wake_by_event();
    }
}

/// Writes all of it; an error when the other end takes nothing for `repl-timeout`.
fn write_all(mut socket: &Socket, mut bytes: &[u8], status: &Status) -> io::Result<()> {
    let mut taken = Instant::now();
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = &bytes[count..];
                status.bytes_out.fetch_add(count as u64, Relaxed);
                taken = Instant::now();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_full(&error) && taken.elapsed() <= status.timeout() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the other end has only not taken anything for a moment.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// The sockets of those who are still there.
#[derive(Clone)]
struct Alive(Arc<Mutex<Vec<Target>>>, Arc<Status>);

impl Alive {
    fn none_yet(teller: &Teller) -> Self {
        Alive(Arc::default(), teller.status.clone())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Target>) -> T) -> T {
        // A panic ends the process, so a poisoned lock is never met.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes to all; an error when nobody is left.
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.with(|targets| {
            targets.retain_mut(|target| {
                let written = write_all(&target.socket, bytes, &self.1);
                if let Err(error) = &written {
                    target.give_up(error);
                }
                written.is_ok()
            });
            match targets.is_empty() {
                true => Err(io::Error::other("no replica is left that wants the copy")),
                false => Ok(()),
            }
        })
    }

    fn places(&self) -> Vec<u32> {
        self.with(|targets| targets.iter().map(|target| target.place).collect())
    }
}

/// Takes no part in the copy any more: its socket waits as long as others want again.
fn release(targets: &mut Vec<Target>) {
    for target in targets.drain(..) {
        let _ = target.socket.set_write_timeout(None);
    }
}

/// Where the copy stands in the stream, once that is known.
fn wait(start: &Receiver<Start>) -> io::Result<Start> {
    start
        .recv()
        .map_err(|_| io::Error::other("nobody wants the copy any more"))
}

/// Straight to the sockets.
struct Sockets {
    start: Receiver<Start>,
    alive: Alive,
    mark: [u8; 40],
    place: Option<StreamPlace>,
}

struct SocketsOutput(Alive);

impl Output for SocketsOutput {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(()) // what has left cannot be hurried
    }
}

impl Consumer for Sockets {
    fn open(&mut self, _: usize) -> io::Result<Box<dyn Output>> {
        let start = wait(&self.start)?;
        begin(&self.alive, start.targets, &self.mark)?;
        self.place = Some(start.stream);
        Ok(Box::new(SocketsOutput(self.alive.clone())))
    }

    fn place(&self) -> Option<StreamPlace> {
        self.place.clone()
    }

    fn commit(&mut self) -> io::Result<()> {
        self.alive.write(&self.mark)
    }

    fn abandon(&mut self) {}
}

/// Takes the replicas in and tells them how to find the end.
fn begin(alive: &Alive, targets: Vec<Target>, mark: &[u8; 40]) -> io::Result<()> {
    for target in &targets {
        let _ = target.socket.set_write_timeout(Some(LOOK_EVERY));
    }
    alive.with(|all| *all = targets);
    let status = &alive.1;
    alive.with(|all| {
        all.retain_mut(|target| {
            let head = [&target.preamble[..], b"$EOF:", mark, b"\r\n"].concat();
            write_all(&target.socket, &head, status).is_ok()
        });
    });
    alive.write(b"")
}

/// Through a file under the name of the snapshot, as Redis leaves one.
struct Measured {
    start: Receiver<Start>,
    files: Files,
    place: Option<StreamPlace>,
}

impl Consumer for Measured {
    fn open(&mut self, number: usize) -> io::Result<Box<dyn Output>> {
        self.place = Some(wait(&self.start)?.stream);
        self.files.open(number)
    }

    fn place(&self) -> Option<StreamPlace> {
        self.place.clone()
    }

    fn commit(&mut self) -> io::Result<()> {
        self.files.commit()
    }

    fn abandon(&mut self) {
        self.files.abandon();
    }
}

/// A copy of everything in either form, and where to say that it may begin. `mark` ends a copy to sockets, `path` is the
/// file of the other form.
pub(super) fn of_everything(
    form: Form,
    mark: [u8; 40],
    path: PathBuf,
    teller: Teller,
) -> (Copy, Sender<Start>) {
    let (starter, start) = channel();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let files = Files::one(disk.clone(), path.clone());
    let spill = files.spill();
    let copy = match form {
        Form::Marked => {
            let alive = Alive::none_yet(&teller);
            let told = alive.clone();
            let on_end: OnEnd = Box::new(move |ending| {
                let places = told.places();
                // Said here, before anybody can see that no copy is under way any more.
                let outcome = match ending {
                    Ending::Done { .. } => {
                        done_reading(places.len());
                        CopyOutcome::Sent(places)
                    }
                    ending => {
                        if places.is_empty() && matches!(ending, Ending::Failed(_)) {
                            log::info!(
                                "Diskless rdb transfer, last replica dropped, killing fork child."
                            );
                        }
                        CopyOutcome::Failed(reason(ending))
                    }
                };
                told.with(release);
                teller.tell(outcome);
            });
            Copy {
                consumer: Box::new(Sockets {
                    start,
                    alive,
                    mark,
                    place: None,
                }),
                disk,
                spill,
                on_end,
            }
        }
        Form::Measured => Copy {
            consumer: Box::new(Measured {
                start,
                files,
                place: None,
            }),
            disk,
            spill,
            on_end: Box::new(move |ending| {
                let opened = match ending {
                    // Whatever is saved under that name later, this is the copy.
                    Ending::Done { .. } => File::open(&path).map_err(|error| error.to_string()),
                    ending => Err(reason(ending)),
                };
                teller.tell(match opened {
                    Ok(file) => CopyOutcome::Written(file),
                    Err(reason) => CopyOutcome::Failed(reason),
                });
            }),
        },
    };
    (copy, starter)
}

fn done_reading(replicas: usize) {
    log::info!("Diskless rdb transfer, done reading from pipe, {replicas} replicas still up.");
}

fn reason(ending: &Ending) -> String {
    match ending {
        Ending::Failed(error) => error.to_string(),
        _ => "it was given up".to_owned(),
    }
}

/// Sends a copy without keys, for those who want no more: libraries, or nothing. It needs no walk.
pub(super) fn send_without_data(
    about: Header,
    check_sum: bool,
    mark: [u8; 40],
    start: Start,
    teller: Teller,
) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("copy".to_owned());
    thread.spawn(move || {
        let mut writer = Writer::new(false);
        header(&mut writer, &about);
        writer.end();
        let sum = if check_sum {
            crc64::update(0, &writer.out)
        } else {
            0
        };
        writer.out.extend_from_slice(&sum.to_le_bytes());
        writer.out.extend_from_slice(&mark);
        let alive = Alive::none_yet(&teller);
        let sent = begin(&alive, start.targets, &mark).and_then(|()| alive.write(&writer.out));
        let outcome = match sent {
            Ok(()) => {
                let places = alive.places();
                done_reading(places.len());
                CopyOutcome::Sent(places)
            }
            Err(error) => CopyOutcome::Failed(error.to_string()),
        };
        alive.with(release);
        teller.tell(outcome);
    })?;
    Ok(())
}

/// Sends a file to a replica on a thread of its own.
pub(super) fn send_file(
    mut file: File,
    place: u32,
    socket: Socket,
    teller: Teller,
) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("copy".to_owned());
    thread.spawn(move || {
        sys::be_background();
        let _ = socket.set_write_timeout(Some(LOOK_EVERY));
        let sent: io::Result<()> = (|| {
            let mut left = file.metadata()?.len();
            let status = &teller.status;
            write_all(&socket, format!("${left}\r\n").as_bytes(), status)?;
            let mut chunk = vec![0; CHUNK];
            while left > 0 {
                let most = left.min(CHUNK as u64) as usize;
                let count = file.read(&mut chunk[..most])?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                write_all(&socket, &chunk[..count], status)?;
                left -= count as u64;
                std::thread::yield_now();
            }
            Ok(())
        })();
        let _ = socket.set_write_timeout(None);
        if let Err(error) = &sent {
            log::warn!("Write error sending DB to replica: {error}");
        }
        let is_sent = sent.is_ok();
        teller.tell(CopyOutcome::FileSent(place, is_sent));
    })?;
    Ok(())
}
