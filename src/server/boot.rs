//! From the command line to a serving process.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use glommio::{LocalExecutorBuilder, Placement as Pinning};

use crate::acl::{UserLineError, Users};
use crate::base::{clock, hash, sys};
use crate::command::table;
use crate::config::{CommandLine, Config, Invocation, Loaded, Supervised, Surroundings, load};
use crate::control::{
    Control, ControlParts, OomScore, ProcessTitle, all_channels, listen, load_users,
};
use crate::engine::{Core, CoreParts, SharedLinks};
use crate::mesh::{Batch, Links, Receiver, Sender, channel};
use crate::observe::{About, Observatory};
use crate::recovery;
use crate::ring;
use crate::shard::Shard;

use super::placement::{Placement, placement};
use super::{logs, start};
use crate::control::logging;

/// Batches that a ring between two cores holds.
const RING_BATCHES: usize = 256;
/// Memory that each executor sets aside for its own file operations; the default is 10 MiB.
const EXECUTOR_IO_MEMORY: usize = 64 * 1024;
/// Descriptors of one core: its ring and its executor's three, and an eventfd of each.
const FDS_OF_CORE: u64 = 6;

const HELP: &str = "\
Usage: slotwise [/path/to/slotwise.conf] [options] [-]
       slotwise - (read the configuration from standard input)
       slotwise -v or --version
       slotwise -h or --help

Examples:
       slotwise (run the server with the default configuration)
       slotwise /etc/slotwise/6379.conf
       slotwise --port 7777
       slotwise --port 7777 --shards 4
       slotwise /etc/slotwise.conf --loglevel verbose -
";

/// Runs the program; the value is its exit status.
pub fn main() -> ExitCode {
    let arguments: Vec<Vec<u8>> = std::env::args_os()
        .skip(1)
        .map(OsStringExt::into_vec)
        .collect();
    match Invocation::parse(&arguments) {
        Invocation::Version => {
            println!(
                "Slotwise server v={} (Redis 7.2.4 compatible) bits=64",
                env!("CARGO_PKG_VERSION")
            );
            ExitCode::SUCCESS
        }
        Invocation::Help => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Invocation::Run(line) => match serve(&line) {
            Ok(()) => ExitCode::SUCCESS,
            Err(text) => {
                eprintln!("{text}");
                if log::log_enabled!(log::Level::Error) {
                    log::error!("{text}");
                }
                ExitCode::FAILURE
            }
        },
    }
}

/// What reading a configuration needs of the system.
struct System;

impl Surroundings for System {
    fn include(
        &mut self,
        directory: &[u8],
        pattern: &[u8],
    ) -> Result<Vec<(String, Vec<u8>)>, String> {
        let path =
            Path::new(OsStr::from_bytes(directory)).join(Path::new(OsStr::from_bytes(pattern)));
        let read = |path: &Path| {
            std::fs::read(path)
                .map(|text| (path.display().to_string(), text))
                .map_err(|error| format!("can't open config file '{}': {error}", path.display()))
        };
        let name = path
            .file_name()
            .map(|name| name.as_bytes().to_vec())
            .unwrap_or_default();
        if !crate::base::glob::is_pattern(&name) {
            return Ok(vec![read(&path)?]);
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let Ok(entries) = std::fs::read_dir(directory) else {
            return Ok(Vec::new());
        };
        let mut found: Vec<PathBuf> = entries
            .flatten()
            .filter(|entry| crate::base::glob::matches(&name, entry.file_name().as_bytes(), false))
            .map(|entry| entry.path())
            .collect();
        found.sort();
        found.iter().map(|path| read(path)).collect()
    }

    fn is_command(&self, name: &str) -> bool {
        table::is_known(name)
    }

    fn check_user(&self, lines: &[Vec<Vec<u8>>]) -> Result<(), String> {
        let users = Users::new(b"", table::catalog());
        let checked = users.with_lines(lines, false, table::catalog());
        checked.map(drop).map_err(|error| error.to_string())
    }

    fn working_directory(&self) -> Vec<u8> {
        std::env::current_dir()
            .map(|path| path.into_os_string().into_vec())
            .unwrap_or_default()
    }
}

fn read_config(line: &CommandLine) -> Result<(Loaded, Option<PathBuf>), String> {
    let path = line
        .file
        .as_ref()
        .map(|path| PathBuf::from(OsStr::from_bytes(path)));
    let file = match &path {
        Some(path) => Some(std::fs::read(path).map_err(|error| {
            format!(
                "Fatal error, can't open config file '{}': {error}",
                path.display()
            )
        })?),
        None => None,
    };
    let mut input = Vec::new();
    if line.reads_standard_input {
        std::io::stdin().read_to_end(&mut input).map_err(|error| {
            format!("Fatal error, can't read the configuration from standard input: {error}")
        })?;
    }
    let shown = path
        .as_ref()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let sources = line.sources(
        file.as_deref().map(|text| (shown.as_str(), text)),
        line.reads_standard_input.then_some(&input[..]),
    );
    let loaded = load(&sources, &mut System).map_err(|error| error.to_string())?;
    let absolute = path.map(|path| std::fs::canonicalize(&path).unwrap_or(path));
    Ok((loaded, absolute))
}

fn serve(line: &CommandLine) -> Result<(), String> {
    let (loaded, config_file) = read_config(line)?;
    let mut config = loaded.config;
    table::start(&config)?;
    if config.dir != Path::new("") {
        std::env::set_current_dir(&config.dir)
            .map_err(|error| format!("Can't chdir to '{}': {error}", config.dir.display()))?;
    }
    let supervised = supervision(&config);
    if config.daemonize && supervised == Supervised::No {
        sys::daemonize().map_err(|error| format!("Can't daemonize: {error}"))?;
    }
    logging::start(config.loglevel, config.logfile.as_deref()).map_err(|error| {
        format!(
            "Can't open the log file '{}': {error}",
            config.logfile.as_deref().unwrap_or(Path::new("")).display()
        )
    })?;
    if config.syslog_enabled
        && let Err(error) = logging::start_syslog(&config.syslog_ident, config.syslog_facility)
    {
        log::warn!("The system's log cannot be reached, lines go to our own only: {error}");
    }
    let mut oom_score = OomScore::default();
    if let Err(error) = oom_score.apply(&config, config.replicaof.is_some()) {
        log::warn!("Unable to write oom_score_adj: {error}");
    }
    crash_reports(&config);
    report_faults(&config);
    let users = initial_users(&config, &loaded.users)?;
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    ring::probe().map_err(|reason| format!("Can't start: {reason}"))?;
    let place = placement(&config)?;
    adjust_descriptors(&mut config, place.shards);
    let listeners = listen(&config).map_err(|error| {
        // Scripts that start servers look for the second sentence.
        format!(
            "{error} Failed listening on port {}, aborting.",
            config.port
        )
    })?;
    let cluster = match config.cluster_enabled {
        true => Some(crate::control::ClusterBoot::new(&config)?),
        false => None,
    };
    log::info!(
        "Slotwise {} starts: {} shards{}, PID: {}",
        env!("CARGO_PKG_VERSION"),
        place.shards,
        if place.pinned.is_empty() {
            ""
        } else {
            ", pinned"
        },
        std::process::id()
    );
    hash::seed([
        sys::entropy(),
        sys::entropy(),
        sys::entropy(),
        sys::entropy(),
    ]);
    if let Some(path) = pid_file(&config)
        && let Err(error) = std::fs::write(&path, format!("{}\n", std::process::id()))
    {
        log::warn!("Can't write the pid file '{}': {error}", path.display());
    }
    let program = std::env::args_os().next().unwrap_or_default();
    let title = ProcessTitle::begin(&config, program.into_vec(), config_file.as_deref());
    let result = run(
        &config,
        users,
        &place,
        listeners,
        config_file,
        supervised,
        oom_score,
        title,
        cluster,
    );
    if let Some(path) = pid_file(&config) {
        let _ = std::fs::remove_file(path);
    }
    if let Some(path) = &config.unixsocket {
        let _ = std::fs::remove_file(path);
    }
    if result.is_ok() {
        log::warn!("Slotwise is now ready to exit, bye bye...");
    }
    result
}

/// The users at start: from the ACL file, or from the `user` lines of the configuration.
fn initial_users(config: &Config, lines: &[Vec<Vec<u8>>]) -> Result<Users, String> {
    if config.aclfile.is_some() && !lines.is_empty() {
        return Err(
            "Users stand in the configuration and in an ACL file ('aclfile') as well, so it is not clear which hold. \
             Keep either the 'user' lines or the ACL file."
                .to_owned(),
        );
    }
    let users = Users::new(&config.requirepass, table::catalog());
    let users = users
        .with_lines(lines, all_channels(config), table::catalog())
        .map_err(|error: UserLineError| error.to_string())?;
    for line in lines {
        if let Some(user) = line.first().and_then(|name| users.get(name))
            && !user.is_enabled()
        {
            log::info!(
                "The user '{}' is disabled (there is no 'on' modifier in the user description). Make sure this is not \
                 a configuration error.",
                String::from_utf8_lossy(user.name())
            );
        }
    }
    load_users(&users, config)
        .map_err(|errors| format!("Aborting Redis startup because of ACL errors: {errors}"))
}

/// Starts the threads and waits for their end.
#[allow(clippy::too_many_arguments)] // each is what one step of boot has made
fn run(
    config: &Config,
    users: Users,
    place: &Placement,
    listeners: Vec<crate::control::Listener>,
    config_file: Option<PathBuf>,
    supervised: Supervised,
    oom_score: OomScore,
    title: Option<ProcessTitle>,
    cluster: Option<crate::control::ClusterBoot>,
) -> Result<(), String> {
    let shards = place.shards;
    let config = Arc::new(config.clone());
    let users = Arc::new(users);
    let links: Arc<SharedLinks> = Arc::new(Links::new(shards));
    let run_id = random_id();
    let mut observatory = Observatory::new(
        shards,
        table::commands().all().len(),
        config.databases as usize,
        clock::unix_ms(),
        run_id,
    );
    observatory.about = About {
        executable: std::env::current_exe()
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        config_file: config_file
            .as_ref()
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        replid: random_id(),
        startup_bytes: tikv_jemalloc_ctl::stats::allocated::read().unwrap_or(0) as u64,
    };
    let observatory = Arc::new(observatory);
    // Before a core lets anybody in.
    let is_replica = match &cluster {
        Some(cluster) => cluster.is_replica(),
        None => config.replicaof.is_some(),
    };
    observatory
        .replication
        .is_replica
        .store(is_replica, Ordering::Relaxed);
    let scripts = observatory.scripts.clone();
    observatory.snapshots.functions.set(move || {
        let libraries = scripts.libraries();
        libraries.codes().map(<[u8]>::to_vec).collect()
    });
    let snapshot = match config.appendonly {
        true => Vec::new(),
        false => start::snapshot_files(&config)?,
    };
    observatory
        .snapshots
        .loading
        .store(!snapshot.is_empty() || config.appendonly, Ordering::Relaxed);
    let terminate = Arc::new(AtomicBool::new(false));
    let signals = [Arc::default(), Arc::<AtomicBool>::default()];
    for (signal, flag) in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT]
        .into_iter()
        .zip(&signals)
    {
        signal_hook::flag::register(signal, flag.clone())
            .map_err(|error| format!("Can't handle signals: {error}"))?;
    }
    // Registered and never looked at: SIGHUP and SIGPIPE end nothing.
    for signal in [signal_hook::consts::SIGHUP, signal_hook::consts::SIGPIPE] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
            .map_err(|error| format!("Can't handle signals: {error}"))?;
    }

    let mut senders: Vec<Vec<Option<Sender<Batch>>>> = Vec::new();
    let mut receivers: Vec<Vec<Option<Receiver<Batch>>>> = (0..shards)
        .map(|_| (0..shards).map(|_| None).collect())
        .collect();
    for from in 0..shards {
        let mut row = Vec::new();
        for (to, of_core) in receivers.iter_mut().enumerate() {
            row.push((from != to).then(|| {
                let (sender, receiver) = channel(RING_BATCHES);
                of_core[from] = Some(receiver);
                sender
            }));
        }
        senders.push(row);
    }

    let (ready, started) = std::sync::mpsc::channel::<Result<(), String>>();
    let mut threads = Vec::new();
    let seed = sys::entropy();
    for (index, (senders, receivers)) in senders.into_iter().zip(receivers).enumerate() {
        let mut shard = Box::new(Shard::new(index, shards, config.clone(), seed));
        shard.snapshots = observatory.snapshots.clone();
        shard.scripts = observatory.scripts.clone();
        let parts = CoreParts {
            index,
            shard,
            links: links.clone(),
            senders,
            receivers,
            observatory: observatory.clone(),
            config: config.clone(),
            users: users.clone(),
        };
        let pinning = match place.pinned.get(index) {
            Some(&cpu) => Pinning::Fixed(cpu),
            None => Pinning::Unbound,
        };
        let ready = ready.clone();
        let thread = LocalExecutorBuilder::new(pinning)
            .name(&format!("shard-{index}"))
            .io_memory(EXECUTOR_IO_MEMORY)
            .spawn(move || async move {
                match Core::new(parts) {
                    Ok(core) => {
                        let _ = ready.send(Ok(()));
                        core.run().await;
                    }
                    Err(error) => {
                        let _ = ready.send(Err(format!(
                            "Can't set up the ring of shard {index}: {error}"
                        )));
                    }
                }
            })
            .map_err(|error| format!("Can't start the thread of shard {index}: {error}"))?;
        threads.push(thread);
    }
    for _ in 0..shards {
        started
            .recv()
            .map_err(|_| "A shard's thread ended at start".to_owned())??;
    }
    let woken = links.clone();
    observatory
        .snapshots
        .saves
        .set_wake(Arc::new(move |shard| woken.core(shard).wake_by_event()));
    let parts = ControlParts {
        links: links.clone(),
        observatory: observatory.clone(),
        config: config.clone(),
        users,
        listeners,
        terminate: terminate.clone(),
        signals,
        config_file,
        oom_score,
        title,
        cluster,
    };
    let terminate_all = terminate;
    let port = config.port;
    let choice = config.appendonly.then(|| recovery::choose(&config));
    // Where there is nothing to load nobody is told that it is being loaded: clients are let in when the files are there.
    let (lets_in, let_in) = std::sync::mpsc::channel::<()>();
    let begins_empty = matches!(&choice, Some(Ok(choice)) if choice.is_nothing());
    let mut lets_in = begins_empty.then_some(lets_in);
    let control = LocalExecutorBuilder::new(Pinning::Unbound)
        .name("control")
        .io_memory(EXECUTOR_IO_MEMORY)
        .spawn(move || async move {
            match Control::new(parts) {
                Ok(control) => {
                    let _ = ready.send(Ok(()));
                    let _ = let_in.recv(); // nothing is ever sent: it ends
                    control.run().await;
                    Ok(())
                }
                Err(error) => Err(format!(
                    "Can't set up the ring of the control core: {error}"
                )),
            }
        })
        .map_err(|error| format!("Can't start the control thread: {error}"))?;
    // When the control thread has failed, joining it says why.
    let mut outcome = Ok(());
    if started.recv().is_ok() {
        log::info!("Server initialized");
        if !snapshot.is_empty() {
            outcome = start::load(&snapshot, &config, &links, &observatory);
        }
        if let Some(choice) = choice {
            outcome = choice.and_then(|choice| logs::start(choice, &config, &links, &observatory));
        }
        // Told to stop meanwhile, it has not got all of the data, and nobody may see that.
        if outcome.is_ok() && !observatory.snapshots.stopping.load(Ordering::Relaxed) {
            start::open_gates(&links, &observatory.snapshots);
        }
        if outcome.is_ok() {
            log::info!("Ready to accept connections on port {port}");
            if supervised == Supervised::Systemd {
                sys::notify_systemd("STATUS=Ready to accept connections\nREADY=1\n");
            }
        } else {
            terminate_all.store(true, Ordering::Relaxed);
        }
    }
    lets_in.take();
    control
        .join()
        .map_err(|error| format!("The control thread failed: {error}"))??;
    for thread in threads {
        thread
            .join()
            .map_err(|error| format!("A shard's thread failed: {error}"))?;
    }
    observatory.snapshots.saves.wait_for_writers(WRITERS_WAIT);
    logs::end(&observatory);
    outcome
}

/// How long the end waits for snapshots that were given up to be cleared away.
const WRITERS_WAIT: std::time::Duration = std::time::Duration::from_secs(2);

/// Forty random hexadecimal digits.
fn random_id() -> String {
    (0..5)
        .map(|_| format!("{:08x}", sys::entropy() as u32))
        .collect()
}

/// Who watches over the process, once `auto` has been resolved.
fn supervision(config: &Config) -> Supervised {
    match config.supervised {
        Supervised::Auto if std::env::var_os("NOTIFY_SOCKET").is_some() => Supervised::Systemd,
        Supervised::Auto if std::env::var_os("UPSTART_JOB").is_some() => Supervised::Upstart,
        Supervised::Auto => Supervised::No,
        other => other,
    }
}

/// Where the process id is written: where the configuration says, or Redis's default place for a daemon.
fn pid_file(config: &Config) -> Option<PathBuf> {
    config.pidfile.clone().or_else(|| {
        config
            .daemonize
            .then(|| PathBuf::from("/var/run/redis.pid"))
    })
}

/// Raises the limit of open files to what `maxclients` needs, or lowers `maxclients` to what the limit allows.
fn adjust_descriptors(config: &mut Config, shards: usize) {
    let reserved = sys::RESERVED_FDS + FDS_OF_CORE * (shards as u64 + 1);
    let wanted = u64::from(config.maxclients) + reserved;
    let limit = sys::raise_open_files(wanted);
    if limit < wanted {
        let lowered = limit.saturating_sub(reserved).max(1);
        log::warn!(
            "You requested maxclients of {} requiring at least {wanted} max file descriptors. The limit is {limit}, so \
             maxclients has been reduced to {lowered}. If you need higher maxclients increase 'ulimit -n'.",
            config.maxclients
        );
        if let Ok(changed) = config.set(
            &[(b"maxclients", lowered.to_string().as_bytes())],
            crate::config::SetContext {
                client_is_local: true,
                loading: false,
            },
        ) {
            *config = changed.config;
        }
    }
}

/// Faults in machine code, of C libraries above all, are reported to the log as well.
fn report_faults(config: &Config) {
    let log = match &config.logfile {
        None => Some(libc::STDOUT_FILENO),
        // A descriptor of its own, kept to the end: a handler of signals can open nothing.
        Some(path) => std::fs::OpenOptions::new()
            .append(true)
            .open(path)
            .ok()
            .map(IntoRawFd::into_raw_fd),
    };
    sys::report_faults(log.unwrap_or(-1));
}

/// A panic writes a report and ends the process: a half-changed shard never serves on.
fn crash_reports(config: &Config) {
    let facts = format!(
        "port {}, shards {}, maxmemory {}, policy {}",
        config.port,
        config.shards,
        config.maxmemory,
        config.maxmemory_policy.name()
    );
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let report = format!(
            "\n=== SLOTWISE BUG REPORT START: Cut & paste starting from here ===\n\
             Slotwise {} crashed on thread {}: {panic}\n\
             Configuration: {facts}\n\
             Stack:\n{}\n\
             Please report this with the log lines above and your configuration file (without passwords).\n\
             === SLOTWISE BUG REPORT END ===",
            env!("CARGO_PKG_VERSION"),
            thread.name().unwrap_or("?"),
            std::backtrace::Backtrace::force_capture()
        );
        log::error!("{report}");
        eprintln!("{report}");
        std::process::abort(); // also where this was built to unwind, for tests
    }));
}
