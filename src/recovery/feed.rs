//! One file into one shard: a snapshot, a log, or a log that begins with a snapshot.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use crate::base::slot::key_slot;
use crate::config::Config;
use crate::persistence::Status;
use crate::persistence::aof::reader::{Item, LogProblem, LogReader};
use crate::persistence::rdb::{Content, Event, Limits, Reader};

use super::executor::{Executor, Fault};
use super::functions::FunctionChange;
use super::{Halt, number_of};

/// Bytes of a snapshot read at a time.
const CHUNK: usize = 1 << 20;
/// The first bytes of a snapshot.
pub(super) const SNAPSHOT_MAGIC: &[u8] = b"REDIS";

/// A file that counts what is read of it, and ends when the server stops.
pub(super) struct Counted<'a> {
    file: File,
    status: &'a Status,
    counts: bool,
}

impl<'a> Counted<'a> {
    /// Opens a file.
    pub fn open(path: &Path, status: &'a Status) -> Result<Self, Halt> {
        let file = File::open(path)
            .map_err(|error| Halt::Fatal(format!("Can't open '{}': {error}", path.display())))?;
        Ok(Counted {
            file,
            status,
            counts: true,
        })
    }

    /// The same, uncounted: it will be read again.
    pub fn uncounted(self) -> Self {
        Counted {
            counts: false,
            ..self
        }
    }
}

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.status.stopping.load(Relaxed) {
            return Err(io::Error::other("the server stops"));
        }
        let got = self.file.read(into)?;
        if self.counts {
            self.status.load_done.fetch_add(got as u64, Relaxed);
        }
        Ok(got)
    }
}

/// How far a log was replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogEnd {
    /// Offset at which its last whole unit ends.
    pub offset: u64,
    /// The file ends there.
    pub is_whole: bool,
    /// The greatest number of a step or an epoch.
    pub number_max: u64,
}

/// One shard's files being read, one after the other.
pub(super) struct Feed<'a> {
    pub executor: Executor,
    config: &'a Config,
    status: &'a Status,
    limits: Limits,
    /// Keys that came out of snapshots.
    pub keys: u64,
}

impl<'a> Feed<'a> {
    pub fn new(executor: Executor, config: &'a Config, status: &'a Status) -> Self {
        Feed {
            executor,
            config,
            status,
            limits: Limits::of(config),
            keys: 0,
        }
    }

    /// A failure to read: of the disk, or because the server stops.
    fn disk(&self, path: &Path, error: &io::Error) -> Halt {
        if self.status.stopping.load(Relaxed) {
            return Halt::Stopped;
        }
        Halt::Fatal(format!("Can't read '{}': {error}", path.display()))
    }

    /// Reads a snapshot that ends where its file does, or where a log begins. `drop_before`: keys whose time had come
    /// by then are left out.
    pub fn snapshot(&mut self, path: &Path, drop_before: Option<i64>) -> Result<(), Halt> {
        let file = Counted::open(path, self.status)?;
        self.snapshot_of(file, path, drop_before).map(drop)
    }

    /// The same from an open file; gives what follows the snapshot with its offset.
    fn snapshot_of(
        &mut self,
        mut file: Counted<'a>,
        path: &Path,
        drop_before: Option<i64>,
    ) -> Result<(Counted<'a>, Vec<u8>, u64), Halt> {
        let check_sum = self.config.rdbchecksum && !self.status.skip_checksums.load(Relaxed);
        let mut reader = Reader::new(self.limits, check_sum);
        let mut chunk = vec![0; CHUNK];
        let databases = self.executor.shard().keyspace.databases() as u64;
        let (index, total) = {
            let keyspace = &self.executor.shard().keyspace;
            (keyspace.index(), keyspace.shards())
        };
        loop {
            let event = reader.next_event().map_err(|problem| {
                Halt::Fatal(format!(
                    "'{}' is no valid snapshot: {problem}",
                    path.display()
                ))
            })?;
            match event {
                Event::More => {
                    let got = loop {
                        match file.read(&mut chunk) {
                            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                            Err(error) => return Err(self.disk(path, &error)),
                            Ok(got) => break got,
                        }
                    };
                    if got == 0 {
                        reader.end();
                    } else {
                        reader.feed(&chunk[..got]);
                    }
                }
                Event::Aux(name, value) => {
                    if name.eq_ignore_ascii_case(b"redis-ver")
                        || name.eq_ignore_ascii_case(b"valkey-ver")
                    {
                        let version = String::from_utf8_lossy(&value);
                        log::info!("Loading RDB produced by version {version}");
                    }
                }
                Event::Function(source) => {
                    self.executor.functions.push(FunctionChange::Source(source));
                }
                Event::ModuleAux(name) => log::warn!(
                    "The snapshot has data of the module type '{name}' beside its keys, which is left out: there are no \
                     modules here"
                ),
                Event::Sizes(..) => {}
                Event::Key(loaded) => {
                    if loaded.db >= databases {
                        return Err(Halt::Fatal(format!(
                            "FATAL: Data file was created with a Redis server configured to handle more than {databases} \
                             databases. Exiting"
                        )));
                    }
                    if matches!(loaded.content, Content::Empty) {
                        log::info!(
                            "rdbLoadObject skipping empty key: {}",
                            String::from_utf8_lossy(&loaded.key)
                        );
                        continue;
                    }
                    if loaded
                        .expire_at
                        .is_some_and(|at| drop_before.is_some_and(|now| at < now))
                    {
                        self.status.keys_expired.fetch_add(1, Relaxed);
                        continue;
                    }
                    let slot = key_slot(&loaded.key);
                    if usize::from(slot) % total != index {
                        let key = loaded.key;
                        let fault = Fault::Foreign(key, slot);
                        return Err(Halt::Fatal(fault.of_file(path, reader.offset())));
                    }
                    let taken = self.executor.shard().take_in(*loaded, false);
                    taken.map_err(|error| Halt::Fatal(error.to_string()))?;
                    self.keys += 1;
                    self.status.keys_loaded.fetch_add(1, Relaxed);
                }
                Event::End => break,
            }
        }
        let (rest, offset) = (reader.rest().to_vec(), reader.offset());
        Ok((file, rest, offset))
    }

    /// Replays a log up to `limit` bytes of it. It may begin with a snapshot. What breaks off at the end is no error here.
    pub fn log(&mut self, path: &Path, limit: u64) -> Result<LogEnd, Halt> {
        let mut file = Counted::open(path, self.status)?;
        let mut first = Vec::new();
        let magic = SNAPSHOT_MAGIC.len() as u64;
        (&mut file)
            .take(magic)
            .read_to_end(&mut first)
            .map_err(|error| self.disk(path, &error))?;
        if first == SNAPSHOT_MAGIC {
            log::info!("Reading RDB base file on AOF loading...");
            let again = Counted::open(path, self.status)?;
            self.status.load_done.fetch_sub(magic, Relaxed);
            let (file, rest, offset) = self.snapshot_of(again, path, None)?;
            return self.commands(rest.chain(file), path, offset);
        }
        let whole = first.chain(file).take(limit);
        self.commands(whole, path, 0)
    }

    fn commands(&mut self, input: impl Read, path: &Path, offset: u64) -> Result<LogEnd, Halt> {
        let mut reader = LogReader::new(input, offset);
        self.executor.begin_file();
        let mut end = LogEnd {
            offset,
            ..LogEnd::default()
        };
        // A step has been announced whose unit follows.
        let mut announced = false;
        loop {
            let at = reader.offset();
            match reader.next_item() {
                Ok(Some(Item::Command(args))) => {
                    let taken = self.executor.take(&args);
                    if let Err(fault) = taken {
                        return Err(Halt::Fatal(fault.of_file(path, at)));
                    }
                    announced &= self.executor.is_midway();
                }
                Ok(Some(Item::Annotation(text))) => {
                    if let Some((number, is_step)) = number_of(text) {
                        end.number_max = end.number_max.max(number);
                        announced |= is_step;
                    }
                }
                Ok(None) => {
                    end.is_whole = !announced && !self.executor.is_midway();
                    break;
                }
                Err(LogProblem::Truncated { .. }) => break,
                Err(LogProblem::Malformed { offset, reason }) => {
                    return Err(Halt::Malformed {
                        path: path.to_owned(),
                        offset,
                        reason,
                    });
                }
                Err(LogProblem::Disk(error)) => return Err(self.disk(path, &error)),
            }
            if !announced && !self.executor.is_midway() {
                end.offset = reader.offset();
            }
        }
        self.executor.abandon();
        Ok(end)
    }
}

impl Fault {
    /// The line in the log: what cannot be replayed, in which file, where.
    pub fn of_file(&self, path: &Path, offset: u64) -> String {
        let file = PathBuf::from(path);
        let file = file.display();
        match self {
            Fault::Unknown(name) => format!(
                "Unknown command '{name}' reading the append only file {file}, at offset {offset}"
            ),
            Fault::Request(error) => format!(
                "Bad file format reading the append only file {file}: at offset {offset} is a request that fits no command: \
                 {error}"
            ),
            Fault::Script(name) => format!(
                "The append only file {file} has a script at offset {offset} ({name}) where only what scripts did is written \
                 down: it is damaged, or nobody's log"
            ),
            Fault::Foreign(key, slot) => format!(
                "The file {file} has at offset {offset} the key '{}' of slot {slot}, which belongs to another shard's file",
                String::from_utf8_lossy(key)
            ),
            Fault::Database(number) => format!(
                "The append only file {file} selects database '{}' at offset {offset}, and there is no such database: is \
                 'databases' lower than it was?",
                String::from_utf8_lossy(number)
            ),
        }
    }
}
