//! A full copy of the primary's data: received into a file or straight from the socket, and loaded side by side by all
//! cores into keyspaces of their own, which take the place of the data in one step when all of it is there.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::base::clock::unix_ms;
use crate::base::number::parse_i64;
use crate::base::slot::key_slot;
use crate::config::{Config, DisklessLoad};
use crate::mesh::message::CoreMessage;
use crate::mesh::primary::{Attempt, LinkEvent};
use crate::persistence::file::{Disk, RealDisk};
use crate::persistence::flow::Sender;
use crate::persistence::load::{self, LoadError, Plan, Report};
use crate::persistence::rdb::Limits;
use crate::persistence::status::Purpose;
use crate::recovery::functions::{self, FunctionChange};
use crate::replication::Replid;
use crate::replication::report::LinkState;

use super::link::{Failure, Incoming, Thread};

/// Bytes of the mark that ends a copy without a length.
const MARK: usize = 40;
/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// How a copy is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// So many bytes.
    Length(u64),
    /// Up to this mark.
    Mark(Vec<u8>),
}

/// The line before a copy.
fn form(line: &[u8]) -> Option<Form> {
    let rest = line.strip_prefix(b"$")?;
    if let Some(mark) = rest.strip_prefix(b"EOF:") {
        return (mark.len() == MARK).then(|| Form::Mark(mark.to_vec()));
    }
    let length = parse_i64(rest)?;
    u64::try_from(length).ok().map(Form::Length)
}

/// The copy's bytes as they come.
struct Source<'a> {
    incoming: &'a mut Incoming,
    thread: &'a Thread,
    /// Bytes that are left, where the length is known.
    left: Option<u64>,
    failure: Option<Failure>,
}

impl Read for Source<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = match self.left {
            Some(0) => return Ok(0),
            Some(left) => into.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
            None => into.len(),
        };
        match self.incoming.read_some(&mut into[..most]) {
            Ok(count) => {
                if let Some(left) = &mut self.left {
                    *left -= count as u64;
                }
                let read = &self.thread.link.copy_read;
                read.fetch_add(count as u64, Relaxed);
                Ok(count)
            }
            Err(failure) => {
                self.failure = Some(failure);
                Err(io::Error::other("the link has ended"))
            }
        }
    }
}

/// A file that is removed unless it is kept.
struct Temporary<'a>(Option<&'a Path>);

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            let _ = RealDisk.remove(path); // there is nothing more to be done about it
        }
    }
}

impl Thread {
    /// Receives a copy and loads it.
    pub(super) fn copy(
        &self,
        attempt: &Attempt,
        incoming: &mut Incoming,
        position: Option<(Replid, u64)>,
    ) -> Result<(), Failure> {
        self.link.copy_total.store(-1, Relaxed);
        self.link.copy_read.store(0, Relaxed);
        self.link.set_state(LinkState::Sync);
        self.link.is_syncing.store(true, Relaxed);
        self.tell(LinkEvent::Copies(position));
        let line = loop {
            let line = incoming.line().map_err(|failure| match failure {
                Failure::Told(text) => {
                    Failure::Told(format!("I/O error reading bulk count from MASTER: {text}"))
                }
                Failure::Silent => receiving(Some(Failure::Silent)),
                other => other,
            })?;
            if !line.is_empty() {
                break line;
            }
        };
        if line[0] == b'-' {
            return Err(Failure::Told(format!(
                "MASTER aborted replication with an error: {}",
                String::from_utf8_lossy(&line[1..])
            )));
        }
        let Some(form) = form(&line) else {
            return Err(Failure::Told(format!(
                "Bad protocol from MASTER, the first byte is not '$' (we received '{}'), are you sure the host and port \
                 are right?",
                String::from_utf8_lossy(&line)
            )));
        };
        let total = match form {
            Form::Length(length) => length as i64,
            Form::Mark(_) => 0,
        };
        self.link.copy_total.store(total, Relaxed);
        let config = &attempt.config;
        let straight = match config.repl_diskless_load {
            DisklessLoad::Disabled => false,
            DisklessLoad::OnEmptyDb => self.observatory.keys() == 0,
            DisklessLoad::SwapDb => true,
        };
        let to = if straight { "to parser" } else { "to disk" };
        match &form {
            Form::Length(length) => {
                log::info!("MASTER <-> REPLICA sync: receiving {length} bytes from master {to}")
            }
            Form::Mark(_) => log::info!(
                "MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF {to}"
            ),
        }
        let report = if straight {
            let swaps = config.repl_diskless_load == DisklessLoad::SwapDb;
            self.load_straight(attempt, incoming, &form, swaps, position)?
        } else {
            self.load_by_file(config, incoming, &form)?
        };
        let db = report.stream.db.unwrap_or(0);
        // What was applied is what the copy holds, for the acknowledgement that opens the stream.
        let offset = position.map_or(0, |(_, offset)| offset);
        self.link.applied.store(offset, Relaxed);
        self.ask(|answer| {
            self.tell(LinkEvent::Loaded {
                position,
                db,
                answer,
            });
        })?;
        self.link.is_syncing.store(false, Relaxed);
        log::info!("MASTER <-> REPLICA sync: Finished with success");
        Ok(())
    }

    /// Receives the copy into a file, which becomes the snapshot of this server, and loads that.
    fn load_by_file(
        &self,
        config: &Config,
        incoming: &mut Incoming,
        form: &Form,
    ) -> Result<Report, Failure> {
        let name = format!("temp-{}.{}.rdb", unix_ms() / 1000, std::process::id());
        let temporary = config.dir.join(name);
        let opened = RealDisk.create(&temporary).map_err(|error| {
            Failure::Told(format!(
                "Opening the temp file needed for MASTER <-> REPLICA synchronization: {error}"
            ))
        })?;
        let mut output = opened;
        let mut unkept = Temporary(Some(&temporary));
        let mut tail: Vec<u8> = Vec::new();
        let mut chunk = vec![0; CHUNK];
        let mut source = Source {
            incoming: &mut *incoming,
            thread: self,
            left: match form {
                Form::Length(length) => Some(*length),
                Form::Mark(_) => None,
            },
            failure: None,
        };
        let failed = |error: io::Error| {
            Failure::Told(format!(
                "Write error or short write writing to the DB dump file needed for MASTER <-> REPLICA \
                 synchronization: {error}"
            ))
        };
        let mut ended = source.left == Some(0);
        while !ended {
            let count = match source.read(&mut chunk) {
                Ok(count) => count,
                Err(_) => return Err(receiving(source.failure.take())),
            };
            if count == 0 {
                return Err(receiving(None));
            }
            match form {
                Form::Length(_) => {
                    output.append(&chunk[..count]).map_err(failed)?;
                    ended = source.left == Some(0);
                }
                Form::Mark(mark) => {
                    // The last bytes may be the mark, so they are held back.
                    tail.extend_from_slice(&chunk[..count]);
                    ended = tail.ends_with(mark);
                    let sure = tail.len().saturating_sub(MARK);
                    output.append(&tail[..sure]).map_err(failed)?;
                    tail.drain(..sure);
                }
            }
        }
        output.sync().map_err(failed)?;
        drop(output);
        let path = config.dir.join(&config.dbfilename);
        let saves = &self.observatory.snapshots.saves;
        if saves.cancel(Purpose::Snapshot) {
            log::info!(
                "Replica is about to load the RDB file received from the master, but there is a pending RDB child \
                 running. Killing process and removing its temp file to avoid any race"
            );
        }
        // Opened by the name that is its own: until all shards are ready to take it in, somebody may save under the other.
        let opened = RealDisk.open(&temporary);
        RealDisk
            .rename(&temporary, &path)
            .and_then(|()| RealDisk.sync_directory(&config.dir))
            .map_err(|error| {
                Failure::Told(format!(
                    "Failed trying to rename the temp DB into {} in MASTER <-> REPLICA synchronization: {error}",
                    path.display()
                ))
            })?;
        unkept.0 = None;
        self.begin_loading(true, true)?;
        let outcome = opened
            .map_err(|error| LoadError::Io(path.clone(), error))
            .and_then(|(mut file, size)| self.load(&mut *file, &path, size, config, incoming));
        let outcome = outcome.map(|(report, _)| report).map_err(|error| {
            log::warn!("{}", error.of_file(&path));
            Failure::Told(
                "Failed trying to load the MASTER synchronization DB from disk, check server logs."
                    .to_owned(),
            )
        });
        let report = self.end_loading(outcome)?;
        if config.rdb_del_sync_files && !config.appendonly && config.save.is_empty() {
            log::info!(
                "Removing the RDB file obtained from the master. This replica has persistence disabled"
            );
            let _ = RealDisk.remove(&path);
        }
        Ok(report)
    }

    /// Loads the copy from the socket.
    fn load_straight(
        &self,
        attempt: &Attempt,
        incoming: &mut Incoming,
        form: &Form,
        swaps: bool,
        position: Option<(Replid, u64)>,
    ) -> Result<Report, Failure> {
        let same = position.is_some_and(|(id, _)| id == attempt.history);
        self.begin_loading(!swaps, !(swaps && same))?;
        let (left, size) = match form {
            Form::Length(length) => (Some(*length), *length),
            Form::Mark(_) => (None, 0),
        };
        let socket = incoming.socket.clone();
        let mut source = Source {
            incoming,
            thread: self,
            left,
            failure: None,
        };
        let path = PathBuf::from("the primary's stream");
        let outcome = self.load_from(&mut source, &path, size, &attempt.config, &|| {
            let _ = socket.send_with_flags(b"\n", libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
        });
        let outcome = match outcome {
            Ok((report, rest)) => check_end(&mut source, form, rest).map(|()| report),
            Err(error) => {
                if let Some(failure) = source.failure.take() {
                    Err(receiving(Some(failure)))
                } else {
                    log::warn!("{error}");
                    Err(Failure::Told(
                        "Failed trying to load the MASTER synchronization DB from socket, check server logs."
                            .to_owned(),
                    ))
                }
            }
        };
        self.end_loading(outcome)
    }

    /// Everything is made ready to take keys in.
    fn begin_loading(&self, empties: bool, refuses: bool) -> Result<(), Failure> {
        self.ask(|answer| self.tell(LinkEvent::Replaces(answer)))?;
        if empties {
            log::info!("MASTER <-> REPLICA sync: Flushing old data");
        }
        self.ask(|done| {
            self.tell_first(CoreMessage::BeginCopy {
                empties,
                refuses,
                done,
            });
        })?;
        log::info!("MASTER <-> REPLICA sync: Loading DB in memory");
        Ok(())
    }

    /// The keys are in, or it has failed.
    fn end_loading(&self, outcome: Result<Report, Failure>) -> Result<Report, Failure> {
        let outcome = outcome.and_then(|report| {
            let sources = report.functions.iter().cloned();
            let changes: Vec<_> = sources.map(FunctionChange::Source).collect();
            functions::replace(&changes, &self.observatory.scripts).map_err(Failure::Told)?;
            Ok(report)
        });
        let whole = outcome.is_ok();
        self.ask(|done| self.tell_first(CoreMessage::EndCopy { whole, done }))?;
        outcome
    }

    fn load(
        &self,
        file: &mut dyn Read,
        path: &Path,
        size: u64,
        config: &Config,
        incoming: &Incoming,
    ) -> Result<(Report, Vec<u8>), LoadError> {
        self.load_from(file, path, size, config, &|| {
            let socket = &incoming.socket;
            let _ = socket.send_with_flags(b"\n", libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
        })
    }

    /// Hands the keys to the cores. The primary is sent a sign of life once a second.
    fn load_from(
        &self,
        source: &mut dyn Read,
        path: &Path,
        size: u64,
        config: &Config,
        sign: &dyn Fn(),
    ) -> Result<(Report, Vec<u8>), LoadError> {
        let started = Instant::now();
        let status = &self.observatory.snapshots;
        let shards = self.links.shards();
        let plan = Plan {
            limits: Limits::of(config),
            check_sum: config.rdbchecksum,
            databases: config.databases as usize,
            now: unix_ms(),
            drop_expired: false,
            leave_raw: true,
        };
        let signed = std::cell::Cell::new(Instant::now());
        let keep_alive = || {
            if signed.get().elapsed() >= Duration::from_secs(1) {
                signed.set(Instant::now());
                sign();
            }
        };
        let mut sender = Sender::new(
            shards,
            |core, shipment| {
                let link = self.links.core(core);
                link.mail(CoreMessage::Load(shipment));
                link.wake_by_event();
            },
            || {
                keep_alive();
                self.is_over()
            },
        )
        .apart();
        let mut keys = 0u32;
        let (mut report, rest) = load::load_from(source, path, size, &plan, status, |loaded| {
            let owner = usize::from(key_slot(&loaded.key)) % shards;
            load::delay(config.key_load_delay_us, &mut keys);
            keep_alive();
            if self.is_over() {
                return Err(LoadError::Stopped);
            }
            sender.add(owner, *loaded)
        })?;
        let empty = sender.finish()?;
        report.keys -= empty;
        report.empty += empty;
        status.keys_loaded.store(report.keys, Relaxed);
        report.log();
        log::debug!(
            "The copy was loaded in {:.3} seconds",
            started.elapsed().as_secs_f64()
        );
        Ok((report, rest))
    }
}

/// What follows a copy that was read to its end must be what was announced.
fn check_end(source: &mut Source<'_>, form: &Form, rest: Vec<u8>) -> Result<(), Failure> {
    match form {
        Form::Length(_) => {
            let left = source.left.unwrap_or(0);
            if left > 0 || !rest.is_empty() {
                return Err(Failure::Told(
                    "The copy of the primary ends before its length".to_owned(),
                ));
            }
            Ok(())
        }
        Form::Mark(mark) => {
            let mut end = rest;
            let mut chunk = [0; MARK];
            while end.len() < MARK {
                let most = MARK - end.len();
                match source.read(&mut chunk[..most]) {
                    Ok(count) if count > 0 => end.extend_from_slice(&chunk[..count]),
                    _ => return Err(receiving(source.failure.take())),
                }
            }
            if end != *mark {
                return Err(Failure::Told(
                    "Replication stream EOF marker is broken".to_owned(),
                ));
            }
            Ok(())
        }
    }
}

/// Why receiving has ended too soon.
fn receiving(failure: Option<Failure>) -> Failure {
    match failure {
        Some(Failure::Silent) => {
            Failure::Told(
                "Timeout receiving bulk data from MASTER... If the problem persists try to set the 'repl-timeout' \
                 parameter in redis.conf to a larger value."
                    .to_owned(),
            )
        }
        Some(Failure::Told(text)) => {
            Failure::Told(format!("I/O error trying to sync with MASTER: {text}"))
        }
        Some(other) => other,
        None => Failure::Told("I/O error trying to sync with MASTER: connection lost".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_announced_by_its_length_or_by_its_mark() {
        assert_eq!(form(b"$187"), Some(Form::Length(187)));
        assert_eq!(form(b"$0"), Some(Form::Length(0)));
        let mark = [b'f'; MARK];
        let line = [&b"$EOF:"[..], &mark].concat();
        assert_eq!(form(&line), Some(Form::Mark(mark.to_vec())));
        for wrong in ["", "$", "$-1", "$x", "$EOF:short", "+OK"] {
            assert_eq!(form(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
