//! Reading a snapshot file: from the disk to whoever takes the keys.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::file::Disk;
use super::rdb::{Content, Event, Limits, Loaded, Problem, Reader};
use super::status::Status;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;
/// A line of progress is logged after so many bytes.
const PROGRESS_EVERY: u64 = 4 << 30;

/// Why loading failed.
#[derive(Debug)]
pub enum LoadError {
    /// The file could not be opened or read.
    Io(PathBuf, io::Error),
    /// Its content is wrong.
    Content(PathBuf, Problem),
    /// It has keys in a database that this server does not have.
    Databases(usize),
    /// A key occurs twice: its name and database.
    Duplicate(Vec<u8>, u64),
    /// A function library cannot be taken in; why.
    Function(String),
    /// The server stops.
    Stopped,
}

impl LoadError {
    /// The same, of this file: what is wrong with a value decoded elsewhere has lost where it came from.
    #[must_use]
    pub fn of_file(self, path: &Path) -> Self {
        match self {
            LoadError::Content(_, problem) => LoadError::Content(path.to_owned(), problem),
            other => other,
        }
    }

    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, LoadError::Io(_, error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Io(path, error) => {
                write!(f, "Can't read '{}': {error}", path.display())
            }
            LoadError::Content(path, problem) => {
                write!(f, "'{}' is no valid snapshot: {problem}", path.display())
            }
            LoadError::Databases(databases) => write!(
                f,
                "FATAL: Data file was created with a Redis server configured to handle more than {databases} databases. \
                 Exiting"
            ),
            LoadError::Duplicate(key, db) => write!(
                f,
                "RDB has duplicated key '{}' in DB {db}",
                String::from_utf8_lossy(key)
            ),
            LoadError::Function(text) => {
                write!(
                    f,
                    "Failed loading a function library of the snapshot: {text}"
                )
            }
            LoadError::Stopped => f.write_str("the server stops while it loads"),
        }
    }
}

impl std::error::Error for LoadError {}

/// How a file is read.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The forms that values take.
    pub limits: Limits,
    /// Verify the checksum (`rdbchecksum`).
    pub check_sum: bool,
    /// How many databases there are.
    pub databases: usize,
    /// Unix milliseconds.
    pub now: i64,
    /// Leave out keys whose time has come, as a primary does.
    pub drop_expired: bool,
    /// Hand on values of moderate size as they stand in the file.
    pub leave_raw: bool,
}

/// What a file held.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Keys handed on.
    pub keys: u64,
    /// Keys left out because their time had come.
    pub expired: u64,
    /// Keys left out because there was nothing in them.
    pub empty: u64,
    /// Sources of function libraries.
    pub functions: Vec<Vec<u8>>,
    /// What the file says of the stream that it belongs to.
    pub stream: StreamFacts,
}

/// The facts of a file about the history of changes that it is a moment of (`repl-id`, `repl-offset`,
/// `repl-stream-db`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamFacts {
    /// The history's name.
    pub id: Option<Vec<u8>>,
    /// Bytes of the stream at that moment.
    pub offset: Option<u64>,
    /// The database selected in the stream.
    pub db: Option<u32>,
}

impl Report {
    /// The line in the log, once all keys have been taken in.
    pub fn log(&self) {
        log::info!(
            "Done loading RDB, keys loaded: {}, keys expired: {}, empty keys skipped: {}.",
            self.keys,
            self.expired,
            self.empty
        );
    }
}

/// Reads the file at `path` and hands each key to `take`.
pub fn load(
    disk: &dyn Disk,
    path: &Path,
    plan: &Plan,
    status: &Status,
    take: impl FnMut(Box<Loaded>) -> Result<(), LoadError>,
) -> Result<Report, LoadError> {
    let failed = |error| LoadError::Io(path.to_owned(), error);
    let (mut file, size) = disk.open(path).map_err(failed)?;
    let (report, _) = load_from(&mut *file, path, size, plan, status, take)?;
    Ok(report)
}

/// Reads a snapshot of `size` bytes (zero when that is unknown) from wherever it comes, `name` in messages, and hands
/// each key to `take`. Beside the report comes what was read beyond the snapshot's end.
pub fn load_from(
    source: &mut dyn Read,
    name: &Path,
    size: u64,
    plan: &Plan,
    status: &Status,
    mut take: impl FnMut(Box<Loaded>) -> Result<(), LoadError>,
) -> Result<(Report, Vec<u8>), LoadError> {
    let path = name;
    let failed = |error| LoadError::Io(path.to_owned(), error);
    status.load_begins(plan.now, size);
    let check_sum = plan.check_sum && !status.skip_checksums.load(Relaxed);
    let mut reader = Reader::new(plan.limits, check_sum);
    if plan.leave_raw {
        reader = reader.leave_raw();
    }
    let mut chunk = vec![0; CHUNK];
    let mut report = Report::default();
    let mut next_line = PROGRESS_EVERY;
    loop {
        let event = reader
            .next_event()
            .map_err(|problem| LoadError::Content(path.to_owned(), problem))?;
        match event {
            Event::More => {
                if status.stopping.load(Relaxed) {
                    return Err(LoadError::Stopped);
                }
                let read = read_some(source, &mut chunk).map_err(failed)?;
                if read == 0 {
                    reader.end();
                } else {
                    reader.feed(&chunk[..read]);
                }
                let done = status.load_done.fetch_add(read as u64, Relaxed) + read as u64;
                if done >= next_line {
                    next_line += PROGRESS_EVERY;
                    log::info!(
                        "Loading: {:.0}% of {size} bytes, {} keys so far",
                        100.0 * done as f64 / size.max(1) as f64,
                        report.keys
                    );
                }
            }
            Event::Aux(name, value) => aux(&name, &value, plan, status, &mut report.stream),
            Event::Function(source) => report.functions.push(source),
            Event::ModuleAux(name) => {
                log::warn!(
                    "The snapshot has data of the module type '{name}' beside its keys, which is left out: there are no \
                     modules here"
                );
            }
            Event::Sizes(..) => {}
            Event::Key(loaded) => {
                if loaded.db >= plan.databases as u64 {
                    return Err(LoadError::Databases(plan.databases));
                }
                if matches!(loaded.content, Content::Empty) {
                    // A few are told one by one: they can only come from a damaged file or an old bug.
                    report.empty += 1;
                    if report.empty <= 10 {
                        log::info!(
                            "rdbLoadObject skipping empty key: {}",
                            String::from_utf8_lossy(&loaded.key)
                        );
                    }
                } else if plan.drop_expired && loaded.expire_at.is_some_and(|at| at < plan.now) {
                    report.expired += 1;
                } else {
                    take(loaded)?;
                    report.keys += 1;
                }
            }
            Event::End => break,
        }
    }
    status.keys_loaded.store(report.keys, Relaxed);
    status.keys_expired.store(report.expired, Relaxed);
    Ok((report, reader.rest().to_vec()))
}

/// Makes loading slow, as tests want it: see the configuration. `keys` counts them.
pub fn delay(us: i32, keys: &mut u32) {
    *keys = keys.wrapping_add(1);
    match us {
        0 => {}
        1.. => std::thread::sleep(Duration::from_micros(us.unsigned_abs().into())),
        _ if keys.is_multiple_of(us.unsigned_abs()) => {
            std::thread::sleep(Duration::from_micros(1));
        }
        _ => {}
    }
}

fn read_some(file: &mut dyn Read, chunk: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Facts about the file: for the log and for INFO, none is needed.
fn aux(name: &[u8], value: &[u8], plan: &Plan, status: &Status, stream: &mut StreamFacts) {
    let text = String::from_utf8_lossy(value);
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    if is("redis-ver") || is("valkey-ver") {
        log::info!("Loading RDB produced by version {text}");
    } else if is("ctime") {
        if let Ok(seconds) = text.parse::<i64>() {
            let age = (plan.now / 1000).saturating_sub(seconds).max(0);
            log::info!("RDB age {age} seconds");
        }
    } else if is("used-mem") {
        if let Ok(bytes) = text.parse::<u64>() {
            log::info!(
                "RDB memory usage when created {:.2} Mb",
                bytes as f64 / (1 << 20) as f64
            );
            status.load_used_memory.store(bytes, Relaxed);
        }
    } else if is("repl-id") {
        stream.id = Some(value.to_vec());
    } else if is("repl-offset") {
        stream.offset = text.parse().ok();
    } else if is("repl-stream-db") {
        stream.db = text.parse().ok(); // -1 stands for none
    } else if name.starts_with(b"%") {
        log::info!("RDB '{}': {text}", String::from_utf8_lossy(name));
    } else if is("lua") {
        log::warn!(
            "The snapshot has a script, which is left out: scripts are not kept since Redis 7.0"
        );
    } else {
        log::debug!(
            "The snapshot's fact '{}' is not used",
            String::from_utf8_lossy(name)
        );
    }
}
