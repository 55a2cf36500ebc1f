//! A slow disk holds up no core: while a thread writes a log, what rests on it waits behind a gate until it is written.
//!
//! The mode of a log travels with its shard, so whoever holds the shard meets it. A core that meets a log of which something
//! is not written yet begins to hold back what it answers, as it always does under `appendfsync always`; it stops when
//! nothing is held back any more. Who has only read, and only in slots all of whose changes are written, waits for nobody;
//! nor does who has asked for nothing that is in the data (PING, CONFIG GET, CLIENT, INFO).

use std::sync::atomic::Ordering::Relaxed;

use smallvec::{SmallVec, smallvec};

use crate::base::slot::{Slot, key_slot};
use crate::command::keys::key_places;
use crate::command::spec::{Command, Flags, Group, Run};
use crate::command::table::{CommandTable, Registered};
use crate::mesh::message::Part;
use crate::net::Connection;
use crate::persistence::aof::log::Mark;
use crate::persistence::aof::writer::Writer;
use crate::resp::parser::{Limits, Parsed, Parser};
use crate::resp::request::{Args, Caller};
use crate::shard::Shard;

use super::core::{Core, Held};

/// Slots that recorded commands have changed; none for "any".
type Slots = Option<SmallVec<[Slot; 32]>>;

impl Core {
    // Logs.

    /// An append has taken so long, or one to another log on the same disk has: from now on a thread writes this log.
    #[cold]
    pub(super) fn defer_log(&mut self, shard: &mut Shard, ns: Option<u64>) {
        let Some(log) = &mut shard.log else {
            return;
        };
        match Writer::start(&self.observatory.snapshots, shard.index, self.shards) {
            Ok(writer) => {
                log.defer(writer, self.now);
                if let Some(ns) = ns {
                    log::warn!(
                        "Writing to the append-only file of shard {} took {} ms (disk is busy?). A thread writes it until \
                         the disk is quick again.",
                        shard.index,
                        ns / 1_000_000
                    );
                }
            }
            Err(error) => log::warn!("Can't start a thread that writes to a slow disk: {error}"),
        }
    }

    /// All shards are in hand and each log is about to be written: where the disk is slow for one of them it is for all, and
    /// this core is not to wait for it once for each.
    pub(super) fn defer_all(&mut self, held: &mut Held) {
        let is_deferred = |shard: &Shard| shard.log.as_ref().is_some_and(|log| log.is_deferred());
        let deferred = held.iter().filter(|shard| is_deferred(shard)).count();
        if deferred == 0 || deferred == held.len() {
            return;
        }
        for shard in held.iter_mut().filter(|shard| !is_deferred(shard)) {
            if shard.log.as_ref().is_some_and(|log| !log.is_stuck()) {
                self.defer_log(shard, None);
            }
        }
    }

    /// What was recorded on a shard whose log is slow goes to the thread that writes it. True when there is no thread, or
    /// none any more, and it is to be written plainly.
    #[cold]
    pub(super) fn write_deferred(&mut self, shard: &mut Shard) -> bool {
        let Some(log) = &mut shard.log else {
            return false;
        };
        if !log.is_deferred() {
            return true;
        }
        let counters = self.observatory.core(shard.index);
        let threshold = self.config.latency_monitor_threshold_ms;
        let longest_ms = log.longest_write_ns() / 1_000_000;
        self.observatory
            .latency
            .record("aof-write", self.now, longest_ms, threshold);
        if let Some((error, lost)) = log.take_back() {
            counters
                .log_buffer
                .set(shard.effects.len() as u64 + log.unwritten_bytes());
            counters.log_bytes.set(log.total_bytes());
            if lost {
                // It is in the base that follows, if that comes to be: only that makes the log whole again.
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                let status = &self.observatory.snapshots.log;
                status.sync_error.store(errno, Relaxed);
            }
            self.append_failed(shard, &error);
            return false;
        }
        if log.recover(self.now) {
            counters.log_buffer.set(0);
            log::info!(
                "The append-only file of shard {} is written without a thread",
                shard.index
            );
            return true;
        }
        if !shard.effects.is_empty() || log.has_to_seal() {
            let second = shard
                .config
                .aof_timestamp_enabled
                .then_some(shard.now / 1000);
            let bytes = shard.effects.recorded();
            if !bytes.is_empty() || log.has_to_seal() {
                log.set_buffer_limit(shard.config.aof_buffer_limit);
                let slots = slots_of(self.table, bytes);
                log.hand_on(bytes, second, slots.as_deref());
            }
            shard.effects.clear();
            counters.log_bytes.set(log.total_bytes());
        }
        counters.log_buffer.set(log.unwritten_bytes());
        false
    }

    // What is answered.

    /// Something that is answered rests on what is not written: from here on it waits. Connections follow at the end of
    /// the turn, before anything of it leaves.
    #[cold]
    pub(super) fn begin_holding(&mut self) {
        self.durable.slow = true;
        if !self.durable.gating {
            self.durable.gating = true;
            self.durable.ungated = true;
        }
        self.gates.notes_reads = !self.durable.always;
    }

    /// Nothing of what connections are owed leaves before it is let out.
    #[cold]
    pub(super) fn gate_connections(&mut self) {
        self.durable.ungated = false;
        for connection in self.connections.iter_mut().flatten() {
            if connection.output.is_gated() {
                continue;
            }
            connection.output.gate_all();
            if connection.output.has_more() && !connection.dirty && !connection.closed {
                connection.dirty = true;
                self.dirty.push(connection.place.index);
            }
        }
    }

    /// Now and then: goes on with what waits for a thread, and lets answers leave at once again when none does.
    #[cold]
    pub(super) fn mind_holding(&mut self) {
        self.open_gates();
        self.start_syncs();
        let Some(durable) = self.durable.idle() else {
            return;
        };
        durable.slow = false;
        self.gates.notes_reads = false;
        if durable.always || durable.ungated {
            return;
        }
        durable.gating = false;
        for connection in self.connections.iter_mut().flatten() {
            connection.output.end_gate();
            if connection.output.has_more() && !connection.dirty && !connection.closed {
                connection.dirty = true;
                self.dirty.push(connection.place.index);
            }
        }
    }

    /// At the end of a turn: whoever writes wakes this core when something goes on that is waited for here.
    #[cold]
    pub(super) fn await_writes(&mut self) {
        let waits = |mark: &&Mark| !mark.is_written();
        for gate in &self.durable.gates {
            for mark in gate.marks.iter().filter(waits) {
                mark.wake_when_written(self.index);
                // Written before it was known that somebody waits: the next turn comes at once.
                self.follow_up |= mark.is_written();
            }
        }
    }

    /// A command is about to run here, and some logs are slow: notes what its answer rests on, if that is little.
    #[cold]
    pub(super) fn note_read(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        args: &Args<'_>,
        slot: Slot,
    ) {
        if connection.wave.is_some() {
            return;
        }
        let is_own = |slot: &Slot| usize::from(*slot) % self.shards == self.index;
        let slots = match command.spec.run {
            Run::Shard(_) if command.spec.flags.has(Flags::READONLY) => Some(smallvec![slot]),
            _ if knows_no_data(command.spec) => Some(SmallVec::new()),
            _ => read_slots(command.spec, args),
        };
        if let Some(slots) = slots
            && slots.iter().all(is_own)
            && self.is_light(connection)
        {
            connection.light.noted += 1;
            connection.light.slots.extend_from_slice(&slots);
        }
    }

    /// The same for a read of keys on several shards, which are in hand.
    #[cold]
    pub(super) fn note_read_of(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        args: &Args<'_>,
        held: &Held,
    ) {
        let is_clean_in = |slot: Slot| {
            let owner = usize::from(slot) % self.shards;
            let shard = held.iter().find(|shard| shard.index == owner);
            is_clean(shard.map(|shard| &**shard), slot)
        };
        if let Some(slots) = read_slots(command.spec, args)
            && slots.iter().all(|&slot| is_clean_in(slot))
        {
            let others = u64::from(connection.light.is);
            if self.is_light(connection) {
                connection.light.noted += others; // the first one is among those before
            }
        }
    }

    /// The answer that a connection gets now rests on nothing that is written here: another core has let it out.
    pub(super) fn note_answer(&mut self, connection: &mut Connection) {
        self.is_light(connection);
    }

    /// Whether a connection is owed nothing so far but what waits for nobody.
    fn is_light(&self, connection: &mut Connection) -> bool {
        if connection.light.is {
            return true;
        }
        let client = &connection.client;
        let is_owed = connection.output.has_uncleared()
            || (self.durable.ungated && connection.output.has_more());
        if is_owed || client.subscriptions.is_some() || client.tracking.is_some() {
            return false;
        }
        connection.light.is = true;
        connection.light.commands = connection.commands;
        connection.light.noted = 0;
        connection.light.slots.clear();
        true
    }
}

/// Whether what a connection has been answered in this turn rests on nothing but slots all of whose changes are written.
/// `own` is the shard of its core, if that is in hand.
pub(super) fn takes_light(connection: &mut Connection, own: Option<&Shard>) -> bool {
    let light = &mut connection.light;
    std::mem::take(&mut light.is)
        && connection.commands == light.commands + light.noted
        && light.slots.iter().all(|&slot| is_clean(own, slot))
}

/// The same for the requests of another core.
pub(super) fn are_light(parts: &[Box<Part>], own: Option<&Shard>, table: &CommandTable) -> bool {
    parts.iter().all(|part| {
        part.exec.is_none()
            && part.blocked.is_none()
            && part.requests.iter().all(|request| {
                let spec = table.by_id(request.command).spec;
                match spec.run {
                    Run::Shard(_) => {
                        request.key > 0
                            && spec.flags.has(Flags::READONLY)
                            && is_clean(own, request.slot)
                    }
                    _ => read_slots(spec, &part.args(request))
                        .is_some_and(|slots| slots.iter().all(|&slot| is_clean(own, slot))),
                }
            })
    })
}

/// Whether the answer of a command rests on what is remembered of clients and the server alone.
fn knows_no_data(spec: &Command) -> bool {
    matches!(spec.run, Run::Client(_))
        && matches!(spec.docs.group, Group::Connection | Group::Server)
        && spec.name != "DEBUG"
}

/// The slots of the keys that a command reads and does nothing else but answer. None when it is no such command.
fn read_slots(spec: &Command, args: &Args<'_>) -> Slots {
    let reads = matches!(spec.run, Run::Keys { .. } | Run::Plan(_))
        && spec.flags.has(Flags::READONLY)
        && !spec.flags.has(Flags::BLOCKING);
    if !reads {
        return None;
    }
    let places = key_places(spec, args).filter(|places| !places.is_empty())?;
    let slots = places
        .iter()
        .map(|(place, _)| key_slot(args.get(*place as usize)));
    Some(slots.collect())
}

fn is_clean(own: Option<&Shard>, slot: Slot) -> bool {
    own.is_some_and(|shard| shard.log.as_ref().is_none_or(|log| log.is_clean(slot)))
}

/// The slots of all keys that recorded commands name; none when one of them is about more than its keys.
fn slots_of(table: &CommandTable, bytes: &[u8]) -> Slots {
    const FRAMES: [&str; 3] = ["MULTI", "EXEC", "SELECT"];
    let limits = Limits {
        bulk_max: u64::MAX,
        authenticated: true,
    };
    let (mut parser, mut spans, mut slots) = (Parser::default(), Vec::new(), SmallVec::new());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'#' {
            at += memchr::memchr(b'\n', &bytes[at..])? + 1;
            continue;
        }
        spans.clear();
        let Parsed::Request(length) = parser.next(bytes, at, limits, &mut spans) else {
            return None;
        };
        at += length;
        let args = Args::new(bytes, &spans, Caller::default());
        let command = crate::command::admit::find(table, &args).ok()?;
        if FRAMES.contains(&command.spec.name) {
            continue;
        }
        let places = key_places(command.spec, &args)?;
        if places.is_empty() {
            return None;
        }
        for (place, _) in places {
            let slot = key_slot(args.get(place as usize));
            if slots.last() != Some(&slot) {
                slots.push(slot);
            }
        }
    }
    Some(slots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::commands;
    use crate::resp::request::write_parts;

    fn recorded(commands: &[&[&str]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for command in commands {
            let parts = command.iter().map(|part| part.as_bytes());
            write_parts(&mut bytes, command.len(), parts);
        }
        bytes
    }

    #[test]
    fn what_rests_on_no_data_and_which_reads_tell_their_keys() {
        let spec = |words: &[&str]| {
            let owned: crate::resp::request::OwnedArgs =
                words.iter().map(|word| word.as_bytes()).collect();
            let args = owned.args(Caller::default());
            let command = crate::command::admit::find(commands(), &args).unwrap();
            (
                knows_no_data(command.spec),
                read_slots(command.spec, &args).map(|s| s.len()),
            )
        };
        let tell_nothing = "PING, ECHO x, INFO, CONFIG GET x, CLIENT ID, SELECT 1, TIME";
        let are_neither = "WAIT 0 0, DEBUG SLEEP 0, DBSIZE, EXEC, SET a b, MSET a b, BLPOP a 0";
        for (requests, knows_nothing) in [(tell_nothing, true), (are_neither, false)] {
            for request in requests.split(", ") {
                let words: Vec<&str> = request.split(' ').collect();
                assert_eq!(spec(&words), (knows_nothing, None), "{request}");
            }
        }
        assert_eq!(spec(&["MGET", "a", "b"]), (false, Some(2)));
        assert_eq!(spec(&["SINTERCARD", "2", "a", "b"]), (false, Some(2)));
        assert_eq!(spec(&["XREAD", "STREAMS", "a", "0"]).1, None, "it may wait");
    }

    #[test]
    fn recorded_commands_name_the_slots_they_change() {
        let slots = |list: &[&[&str]]| slots_of(commands(), &recorded(list)).map(|s| s.to_vec());
        let of = |key: &str| key_slot(key.as_bytes());
        let plain: &[&[&str]] = &[
            &["SELECT", "0"],
            &["MULTI"],
            &["SET", "a", "1"],
            &["DEL", "b", "c"],
            &["XGROUP", "CREATE", "d", "g", "$", "MKSTREAM"],
            &["EXEC"],
        ];
        assert_eq!(slots(plain), Some(vec![of("a"), of("b"), of("c"), of("d")]));
        assert_eq!(slots(&[&["SET", "a", "1"], &["FLUSHALL"]]), None);
        assert_eq!(slots(&[&["SWAPDB", "0", "1"]]), None);
        let mut bytes = b"#TX:7 0-3\r\n".to_vec();
        bytes.extend(recorded(&[&["SET", "a", "1"]]));
        assert_eq!(slots_of(commands(), &bytes).unwrap().to_vec(), [of("a")]);
    }
}
