//! The log, in Redis's line format: `pid:role date time level message`, with the core that speaks before the message.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter};

use syslog::{Facility, Formatter3164, LoggerBackend};

use crate::config::{LogLevel, SyslogFacility};

/// How often the file's name is looked up again: a rotated log is followed within this time.
const REOPEN: Duration = Duration::from_secs(1);

/// A log file that is opened anew when its name stands for another file.
struct Followed {
    path: PathBuf,
    file: File,
    inode: u64,
    looked: Instant,
}

impl Followed {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let inode = file.metadata()?.ino();
        Ok(Followed {
            path: path.to_owned(),
            file,
            inode,
            looked: Instant::now(),
        })
    }
}

impl Write for Followed {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.looked.elapsed() > REOPEN {
            self.looked = Instant::now();
            let same = std::fs::metadata(&self.path).is_ok_and(|now| now.ino() == self.inode);
            if !same && let Ok(anew) = Followed::open(&self.path) {
                *self = anew;
            }
        }
        self.file.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

type Syslog = syslog::Logger<LoggerBackend, Formatter3164>;

/// The system's log, if it gets our lines too.
static SYSLOG: Mutex<Option<Syslog>> = Mutex::new(None);

/// Sends lines to the system's log as well, as `name`.
pub fn start_syslog(name: &str, facility: SyslogFacility) -> Result<(), String> {
    let facility = match facility {
        SyslogFacility::User => Facility::LOG_USER,
        SyslogFacility::Local0 => Facility::LOG_LOCAL0,
        SyslogFacility::Local1 => Facility::LOG_LOCAL1,
        SyslogFacility::Local2 => Facility::LOG_LOCAL2,
        SyslogFacility::Local3 => Facility::LOG_LOCAL3,
        SyslogFacility::Local4 => Facility::LOG_LOCAL4,
        SyslogFacility::Local5 => Facility::LOG_LOCAL5,
        SyslogFacility::Local6 => Facility::LOG_LOCAL6,
        SyslogFacility::Local7 => Facility::LOG_LOCAL7,
    };
    let logger = syslog::unix(Formatter3164 {
        facility,
        hostname: None,
        process: name.to_owned(),
        pid: std::process::id(),
    })
    .map_err(|error| error.to_string())?;
    *SYSLOG.lock().unwrap_or_else(PoisonError::into_inner) = Some(logger);
    Ok(())
}

/// One line to the system's log. What cannot be delivered is lost there: it stands in our own log.
fn tell_syslog(level: Level, line: &str) {
    let mut syslog = SYSLOG.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(syslog) = syslog.as_mut() else {
        return;
    };
    let _ = match level {
        Level::Error | Level::Warn => syslog.warning(line),
        Level::Info => syslog.notice(line),
        Level::Debug => syslog.info(line),
        Level::Trace => syslog.debug(line),
    };
}

static STARTED: Mutex<bool> = Mutex::new(false);

/// Lines bear the letter of a replica.
static IS_REPLICA: AtomicBool = AtomicBool::new(false);

/// Says what this server is from now on: lines of a replica bear another letter than those of a primary.
pub fn set_role(is_replica: bool) {
    IS_REPLICA.store(is_replica, Relaxed);
}

/// Begins to log: to `file`, or to standard output.
pub fn start(level: LogLevel, file: Option<&Path>) -> io::Result<()> {
    let mut started = STARTED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if *started {
        return Ok(());
    }
    let mut builder = env_logger::Builder::new();
    builder.filter_level(LevelFilter::Trace);
    builder.filter_module("glommio", LevelFilter::Warn);
    builder.format(|out, record| {
        let sign = match record.level() {
            Level::Error | Level::Warn => '#',
            Level::Info => '*',
            Level::Debug => '-',
            Level::Trace => '.',
        };
        let now = chrono::Local::now().format("%d %b %Y %H:%M:%S%.3f");
        let thread = std::thread::current();
        // Executors number their threads behind the name given to them.
        let name = thread.name().unwrap_or("main");
        let core = match name.rsplit_once('-') {
            Some((core, number))
                if number.bytes().all(|byte| byte.is_ascii_digit()) && core != "shard" =>
            {
                core
            }
            _ => name,
        };
        tell_syslog(record.level(), &format!("{core}: {}", record.args()));
        writeln!(
            out,
            "{}:{} {now} {sign} {core}: {}",
            std::process::id(),
            if IS_REPLICA.load(Relaxed) { 'S' } else { 'M' },
            record.args()
        )
    });
    match file {
        Some(path) => {
            builder.target(env_logger::Target::Pipe(Box::new(Followed::open(path)?)));
        }
        None => {
            builder.target(env_logger::Target::Stdout);
        }
    }
    if builder.try_init().is_ok() {
        *started = true;
    }
    set_level(level);
    Ok(())
}

/// Sets what is logged. Redis's levels map to the four of `log`: notice is Info, verbose Debug, debug Trace.
pub fn set_level(level: LogLevel) {
    log::set_max_level(match level {
        LogLevel::Debug => LevelFilter::Trace,
        LogLevel::Verbose => LevelFilter::Debug,
        LogLevel::Notice => LevelFilter::Info,
        LogLevel::Warning => LevelFilter::Warn,
        LogLevel::Nothing => LevelFilter::Off,
    });
}
