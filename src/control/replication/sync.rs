//! Full copies for replicas: who gets one together, when it begins, and what follows it.
//!
//! One copy is made at a time. Those who wait when its cut is made and want the same get it together; a copy through a
//! file is joined even later, by whoever comes while it is written, since the stream from its offset on is still held.
//! Where another walk is under way the cut waits for the end of that (`engine/replicating.rs`).

use std::fs::File;
use std::sync::mpsc::Sender;

use crate::base::clock::unix_ms;
use crate::control::Control;
use crate::mesh::message::CopyOutcome;
use crate::persistence::snapshot::{Header, StreamPlace};
use crate::persistence::status::Purpose;
use crate::replication::{Filter, Replid, Streaming};
use crate::resp::ErrorReply;

use super::copy::{self, Form, Start, Target, Teller};
use super::replicas::{Replica, Stage};

/// A copy under way.
struct Making {
    /// Its number.
    number: u64,
    /// The number of its cut.
    cut: u64,
    form: Form,
    filter: Filter,
    /// How its thread is told to begin; none once it has, and for copies without data.
    starter: Option<Sender<Start>>,
    mark: [u8; 40],
    /// Where its cut lies, once that is known.
    place: Option<StreamPlace>,
}

/// Copies, the one under way and what is left of others.
#[derive(Default)]
pub(in crate::control) struct Copies {
    making: Option<Making>,
    last: u64,
    /// A cut is under way that ends the stream.
    ending: Option<u64>,
    /// A cut is under way that begins it at start, and who waits for it.
    pub(super) beginning: Option<(u64, Sender<()>)>,
}

impl Control {
    /// A replica wants a full copy.
    pub(super) fn want_copy(&mut self, place: u32) {
        if self.replication.backlog.is_none() {
            self.begin_stream();
            log::info!(
                "Replication backlog created, my new replication IDs are '{}' and '{}'",
                self.replication.history.id,
                Replid::NONE
            );
        }
        if let Some(replica) = self.replicas.get_mut(place) {
            replica.stage = Stage::Waits;
        }
        if !self.join(place) {
            self.mind_copies(unix_ms());
        }
    }

    /// Adds a latecomer to the copy under way, if that goes through a file and is what it wants.
    fn join(&mut self, place: u32) -> bool {
        let (Some(making), Some(replica)) = (&self.copies.making, self.replicas.get(place)) else {
            return false;
        };
        let (Some(stream), Form::Measured) = (making.place.clone(), making.form) else {
            log::info!("Waiting for next BGSAVE for SYNC");
            return false;
        };
        // The stream after it must still be held.
        let is_held = |from| {
            let backlog = self.replication.backlog.as_ref();
            backlog.is_some_and(|backlog| backlog.holds(from))
        };
        if replica.facts.filter != making.filter || !is_held(stream.offset + 1) {
            log::info!(
                "Can't attach the replica to the current BGSAVE. Waiting for next BGSAVE for SYNC"
            );
            return false;
        }
        let number = making.number;
        log::info!("Waiting for end of BGSAVE for SYNC");
        self.take_into(number, &stream, place);
        true
    }

    /// Begins a copy when somebody waits for one and none is under way.
    pub(super) fn mind_copies(&mut self, now: i64) {
        if self.copies.making.is_some() || self.copies.ending.is_some() || self.stopping {
            return;
        }
        let mut waiting: Vec<&Replica> = self.waiting_for_copy().collect();
        waiting.sort_unstable_by_key(|replica| replica.client.id);
        let Some(first) = waiting.first() else {
            return;
        };
        let filter = first.facts.filter;
        waiting.retain(|replica| replica.facts.filter == filter);
        let all_marked = waiting.iter().all(|replica| replica.facts.takes_marked);
        let is_marked = all_marked && (self.config.repl_diskless_sync || !filter.is_everything());
        let most = self.config.repl_diskless_sync_max_replicas as usize;
        let delay = i64::from(self.config.repl_diskless_sync_delay_s) * 1000;
        let longest = waiting.iter().map(|replica| now - replica.client.active_ms);
        // Whoever comes in time shares it; through a file, also who comes later.
        let is_due = !self.config.repl_diskless_sync
            || !all_marked
            || (most > 0 && waiting.len() >= most)
            || longest.max().is_some_and(|longest| longest >= delay);
        if is_due {
            let form = if is_marked {
                Form::Marked
            } else {
                Form::Measured
            };
            self.begin_copy(form, filter);
        }
    }

    fn waiting_for_copy(&self) -> impl Iterator<Item = &Replica> {
        let waits = |replica: &&Replica| replica.stage == Stage::Waits;
        self.replicas.iter().filter(waits)
    }

    fn begin_copy(&mut self, form: Form, filter: Filter) {
        self.copies.last += 1;
        let number = self.copies.last;
        let target = match form {
            Form::Marked => "replicas sockets",
            Form::Measured => "disk",
        };
        log::info!("Starting BGSAVE for SYNC with target: {target}");
        let streaming = match self.is_replica() {
            true => Streaming::Same,
            false => self.begin_stream(),
        };
        let mark = *self.new_replid().as_bytes();
        let (copy, starter) = match filter.data {
            true => {
                let path = self.config.dir.join(&self.config.dbfilename);
                let (copy, starter) = copy::of_everything(form, mark, path, self.teller(number));
                (Some(copy), Some(starter))
            }
            false => (None, None),
        };
        let cut = self.cut_stream(streaming, copy);
        self.copies.making = Some(Making {
            number,
            cut,
            form,
            filter,
            starter,
            mark,
            place: None,
        });
    }

    fn teller(&self, number: u64) -> Teller {
        Teller {
            links: self.links.clone(),
            number,
            status: self.observatory.replication.clone(),
        }
    }

    /// A cut has been made, at this offset of the stream.
    pub(super) fn on_barrier(&mut self, number: u64, offset: u64, db: u32) {
        let moments = &self.observatory.snapshots.moments;
        let id = self.replication.history.id;
        let place = || StreamPlace {
            id: id.as_bytes().to_vec(),
            offset,
            db,
        };
        if moments.tell(number, place) || self.on_role_barrier(number) {
            return;
        }
        if let Some((_, begun)) = self.copies.beginning.take_if(|(cut, _)| *cut == number) {
            let _ = begun.send(()); // who waited may have given up
            return;
        }
        if self.copies.ending == Some(number) {
            self.copies.ending = None;
            self.on_stream_ended();
            return;
        }
        let Some(making) = self.copies.making.as_mut().filter(|one| one.cut == number) else {
            return;
        };
        let stream = place();
        making.place = Some(stream.clone());
        let (copy, form, filter, mark) = (making.number, making.form, making.filter, making.mark);
        let starter = making.starter.take();
        let wanted: Vec<u32> = self
            .waiting_for_copy()
            .filter(|replica| {
                replica.facts.filter == filter
                    && (form == Form::Measured || replica.facts.takes_marked)
            })
            .map(|replica| replica.place)
            .collect();
        let mut targets = Vec::with_capacity(wanted.len());
        for place in wanted {
            let preamble = self.take_into(copy, &stream, place);
            let Some(replica) = self.replicas.get(place).filter(|_| form == Form::Marked) else {
                continue;
            };
            match replica.socket.try_clone() {
                Ok(socket) => targets.push(Target {
                    place,
                    name: replica.name(),
                    socket,
                    preamble,
                }),
                Err(error) => {
                    log::warn!("Can't send a full copy: {error}");
                    self.close_replica(place);
                }
            }
        }
        if !self.is_wanted(copy) {
            self.give_up_copy(); // without a starter the thread finds out that nobody is left
            return;
        }
        if form == Form::Marked {
            let pid = std::process::id();
            log::info!("Background RDB transfer started by pid {pid}");
        }
        let start = Start { stream, targets };
        match starter {
            // The thread may have ended for reasons of its own; then it says so.
            Some(starter) => drop(starter.send(start)),
            None => self.send_without_data(copy, filter, mark, start),
        }
    }

    fn send_without_data(&mut self, number: u64, filter: Filter, mark: [u8; 40], start: Start) {
        let functions = match filter.functions {
            true => self.observatory.snapshots.functions.sources(),
            false => Vec::new(),
        };
        let about = Header {
            now: unix_ms(),
            used_memory: self.observatory.used_memory(),
            aof_base: false,
            functions,
            stream: Some(start.stream.clone()),
        };
        let teller = self.teller(number);
        let sent = copy::send_without_data(about, self.config.rdbchecksum, mark, start, teller);
        if let Err(error) = sent {
            self.on_copy_ended(number, CopyOutcome::Failed(error.to_string()));
        }
    }

    /// A replica gets the copy with this number, and from then on the stream. Gives what is to be written ahead of the
    /// copy where its thread does that; where it is written to a file first, the replica is told at once.
    fn take_into(&mut self, number: u64, stream: &StreamPlace, place: u32) -> Vec<u8> {
        let is_measured = self.is_measured(number);
        let offer = self.offer_flows(place);
        let Some(replica) = self.replicas.get_mut(place) else {
            return Vec::new();
        };
        replica.stage = Stage::Copied(number);
        replica.next = stream.offset + 1;
        replica.has_acked = false;
        let id = String::from_utf8_lossy(&stream.id);
        let line = match replica.is_legacy {
            true => Vec::new(),
            false => format!("+FULLRESYNC {id} {}{offer}\r\n", stream.offset).into_bytes(),
        };
        if is_measured {
            if !replica.write(&line) {
                self.close_replica(place);
            }
            return Vec::new();
        }
        line
    }

    /// Whether the copy with this number goes through a file.
    pub(super) fn is_measured(&self, number: u64) -> bool {
        let making = self.copies.making.as_ref();
        making.is_some_and(|making| making.number == number && making.form == Form::Measured)
    }

    fn is_wanted(&self, number: u64) -> bool {
        let mut all = self.replicas.iter();
        all.any(|replica| replica.stage == Stage::Copied(number))
    }

    /// A copy is over, or a part of it.
    pub(super) fn on_copy_ended(&mut self, number: u64, outcome: CopyOutcome) {
        if !matches!(outcome, CopyOutcome::FileSent(..)) {
            self.copies.making.take_if(|making| making.number == number);
        }
        match outcome {
            CopyOutcome::Sent(places) => {
                for place in self.in_copy(number) {
                    match places.contains(&place) {
                        true => self.has_copy(place, true),
                        false => self.close_replica(place),
                    }
                }
            }
            CopyOutcome::Written(file) => self.feed_file(number, &file),
            CopyOutcome::FileSent(place, is_sent) => {
                let replica = self.replicas.get(place);
                if replica.is_some_and(|replica| replica.stage == Stage::Fed(number)) {
                    match is_sent {
                        true => self.has_copy(place, false),
                        false => self.close_replica(place),
                    }
                    self.remove_sync_file();
                }
            }
            CopyOutcome::Failed(reason) => {
                let places = self.in_copy(number);
                if !places.is_empty() {
                    log::warn!("SYNC failed. BGSAVE child returned an error: {reason}");
                }
                places
                    .into_iter()
                    .for_each(|place| self.close_replica(place));
            }
        }
        self.publish_replicas();
        self.mind_copies(unix_ms());
    }

    fn in_copy(&self, number: u64) -> Vec<u32> {
        let all = self.replicas.iter();
        let in_it = all.filter(|replica| replica.stage == Stage::Copied(number));
        in_it.map(|replica| replica.place).collect()
    }

    /// The copy is in a file: it is sent to each by a thread of its own.
    fn feed_file(&mut self, number: u64, file: &File) {
        for place in self.in_copy(number) {
            let teller = self.teller(number);
            let Some(replica) = self.replicas.get_mut(place) else {
                continue;
            };
            replica.stage = Stage::Fed(number);
            // Each reads from the beginning, so they cannot share a position.
            let own = std::fs::File::open(format!("/proc/self/fd/{}", raw(file)));
            let sent = own.and_then(|own| {
                let socket = replica.socket.try_clone()?;
                copy::send_file(own, place, socket, teller)
            });
            if let Err(error) = sent {
                log::warn!("Can't send a full copy: {error}");
                self.close_replica(place);
            }
        }
    }

    /// A replica has its copy.
    fn has_copy(&mut self, place: u32, is_marked: bool) {
        let now = unix_ms();
        let Some(replica) = self.replicas.get_mut(place) else {
            return;
        };
        if replica.facts.copy_only {
            log::info!(
                "RDB transfer completed, rdb only replica ({}) should be disconnected asap",
                replica.name()
            );
            self.close_replica(place);
            return;
        }
        replica.acked_ms = now;
        replica.stage = Stage::Silent;
        let (name, has_acked) = (replica.name(), replica.has_acked);
        log::info!("Synchronization with replica {name} succeeded");
        // It finds the mark by itself, and only then is it ready to read on: it says so.
        if !is_marked || has_acked {
            self.begin_to_follow(place);
        }
    }

    /// A snapshot that only replicas have needed is not left behind, where that is wanted and nothing else is kept.
    fn remove_sync_file(&mut self) {
        let config = &self.config;
        let is_kept = !config.rdb_del_sync_files || config.appendonly || !config.save.is_empty();
        let is_needed = |replica: &Replica| matches!(replica.stage, Stage::Fed(_));
        if is_kept || self.replicas.iter().any(is_needed) {
            return;
        }
        let path = config.dir.join(&config.dbfilename);
        if std::fs::remove_file(&path).is_ok() {
            log::info!(
                "Removing the RDB file {} used to feed replicas in a persistence-less instance",
                path.display()
            );
        }
    }

    /// There was no thread for a copy.
    pub(super) fn on_copy_refused(&mut self, cut: u64) {
        let Some(making) = self.copies.making.take_if(|making| making.cut == cut) else {
            return;
        };
        let line = [b"-", ErrorReply::SYNC_FAILED.as_bytes(), b"\r\n"].concat();
        let mut places = self.in_copy(making.number);
        places.extend(self.waiting_for_copy().map(|replica| replica.place));
        for place in places {
            if let Some(replica) = self.replicas.get(place) {
                replica.write(&line);
            }
            self.close_replica(place);
        }
    }

    /// A replica has left: nobody may want the copy any more.
    pub(super) fn replica_left(&mut self) {
        let Some(making) = &self.copies.making else {
            return;
        };
        // A copy through a file that save points would write anyway goes on, as in Redis.
        let is_useful = making.form == Form::Measured && !self.config.save.is_empty();
        if making.place.is_some() && !is_useful && !self.is_wanted(making.number) {
            log::info!("Diskless rdb transfer, last replica dropped, killing fork child.");
            self.give_up_copy();
        }
    }

    pub(in crate::control) fn give_up_copy(&mut self) {
        self.copies.making = None;
        self.observatory.snapshots.saves.cancel(Purpose::Sync);
    }

    // The stream.

    /// Nobody follows: the stream is given up, and with it the history's name.
    pub(super) fn end_stream(&mut self) {
        let id = self.new_replid();
        self.replication.history.break_off(id);
        self.replication.backlog = None;
        self.copies.ending = Some(self.cut_stream(Streaming::Off, None));
    }

    /// A cut was made while the shards handed on nothing.
    pub(super) fn on_cut_without_stream(&mut self, cut: u64, db: u32) {
        self.copies.ending.take_if(|ending| *ending == cut);
        let offset = self.replication.history.offset;
        self.on_barrier(cut, offset, db);
    }

    /// This core could not keep up: what is missing in the stream is known to nobody. Replicas begin anew.
    pub(super) fn on_stream_lost(&mut self) {
        log::warn!(
            "The stream of changes has outrun the control core: all replicas need a full synchronization"
        );
        let id = self.new_replid();
        self.replication.history.break_off(id);
        let next = self.replication.history.offset + 1;
        self.replication.backlog = Some(crate::replication::Backlog::new(next));
        self.drop_replicas();
        let anew = Streaming::Anew(self.flow_limit());
        self.on_stream_ended();
        self.cut_stream(anew, None);
    }
}

fn raw(file: &File) -> std::os::fd::RawFd {
    std::os::fd::AsRawFd::as_raw_fd(file)
}
