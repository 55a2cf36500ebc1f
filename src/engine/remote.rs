//! Batches between cores, and borrowing the shard of a core that sleeps.
//!
//! One batch a turn to each core that has something to get. A batch is run as if its commands were local; its parts
//! come back with their replies in the same vector. A full ring keeps the batch here: nobody ever waits for a ring.

use crate::command::spec::{Flags, Run};
use crate::command::table::Registered;
use crate::keyspace::Keyspace;
use crate::keyspace::blocked::Wait;
use crate::mesh::message::{CoreMessage, Watch};
use crate::mesh::{Batch, Part};
use crate::net::Connection;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shard;

use super::core::{Core, Outgoing};
use super::input::LOOKAHEAD;
use super::push::write_late;

/// Commands that may run on a borrowed shard at once. To wake a core, hand it a batch and take it back costs both cores
/// together as much as about a hundred quick commands; beyond that, the core that sleeps is to share the work.
const BORROW_MAX: usize = 128;

/// Parts of a batch that are fetched from the core that wrote them in one go.
const PARTS_AHEAD: usize = 4;

impl Core {
    /// The connection's commands for other shards leave; until they are back it waits.
    pub(super) fn launch_wave(&mut self, connection: &mut Connection) {
        let Some(wave) = &mut connection.wave else {
            return;
        };
        if wave.is_launched() {
            return;
        }
        connection.waiting = true;
        let outgoing = &mut self.outgoing;
        wave.launch(|shard, part| outgoing[shard].requests.push(part));
    }

    /// Takes what other cores have sent.
    pub(super) fn take_batches(&mut self) {
        if self.shard.is_some()
            && let Some((from, parts)) = self.stalled.take()
        {
            self.on_batch(from, Batch::Requests(parts));
        }
        for from in 0..self.receivers.len() {
            while let Some(receiver) = &mut self.receivers[from] {
                // Requests need the shard; replies behind them in the ring wait as long. One look at the ring decides: a
                // batch that comes between two looks must not be taken for what the first one saw.
                let batch = match self.shard {
                    Some(_) if !self.pushing.choked => receiver.pop(),
                    // A script over its time has the shard, and everybody is told so.
                    None if self.gates.busy && self.stalled.is_none() => {
                        receiver.pop_if(may_be_refused)
                    }
                    _ => receiver.pop_if(|batch| matches!(batch, Batch::Replies(_))),
                };
                match batch {
                    Some(batch) => self.on_batch(from, batch),
                    None => break,
                }
            }
        }
    }

    fn on_batch(&mut self, from: usize, batch: Batch) {
        match batch {
            Batch::Requests(mut parts) if self.shard.is_none() && self.gates.busy => {
                self.refuse_parts(&mut parts);
                self.outgoing[from].replies.push(parts);
            }
            Batch::Requests(mut parts) => {
                let mut shard = self
                    .shard
                    .take()
                    .expect("requests are taken with the shard in hand");
                let done = self.run_parts(&mut shard, from, &mut parts);
                self.end_unit(shard);
                if !done {
                    self.stalled = Some((from, parts));
                    return;
                }
                let commands: usize = parts.iter().map(|part| part.requests.len()).sum();
                self.counters().remote.add(commands as u64);
                self.publish();
                self.outgoing[from].replies.push(parts);
            }
            Batch::Replies(parts) => {
                self.outgoing[from].in_flight -= 1;
                self.on_replies(from, parts);
            }
        }
    }

    /// A script of this core runs over its time: what was about to leave for other cores, and what has come from them, is
    /// refused; what has come back is taken. Other answers to them wait until the script is over, as does all that is
    /// told of what they changed.
    pub(super) fn take_batches_while_busy(&mut self) {
        for to in 0..self.shards {
            let requests = std::mem::take(&mut self.outgoing[to].requests);
            let (kept, mut refused): (Vec<_>, Vec<_>) =
                requests.into_iter().partition(|part| part.caller.primary);
            self.outgoing[to].requests = kept;
            if !refused.is_empty() {
                self.refuse_parts(&mut refused);
                self.on_replies(to, refused);
            }
        }
        let replies = |out: &mut Outgoing| std::mem::take(&mut out.replies);
        let earlier: Vec<_> = self.outgoing.iter_mut().map(replies).collect();
        self.take_batches();
        for (to, mut earlier) in earlier.into_iter().enumerate() {
            let refused = std::mem::take(&mut self.outgoing[to].replies);
            let any = !refused.is_empty();
            for parts in refused {
                if let Err(Batch::Replies(parts)) = self.push(to, Batch::Replies(parts)) {
                    earlier.push(parts);
                }
            }
            self.outgoing[to].replies = earlier;
            if any {
                self.wake(to);
            }
        }
    }

    /// Answers the parts of a batch without running them: a script that is over its time has the shard.
    #[cold]
    fn refuse_parts(&mut self, parts: &mut [Box<Part>]) {
        let error = self.busy_error();
        for part in parts {
            let resp3 = part.caller.resp3;
            let mut out = std::mem::take(&mut part.out);
            part.shown = None;
            if let Some(exec) = part.exec.take() {
                if let Some(Watch { token, keys }) = exec.watch {
                    self.on_message(CoreMessage::Forget { token, keys });
                }
                self.count_error(&error);
                Reply::new(&mut out, resp3).error(&ErrorReply::exec_abort(&error));
                part.ends.push(out.len());
            } else {
                for request in &part.requests[part.ends.len()..] {
                    self.counters().commands[usize::from(request.command)]
                        .rejected
                        .add(1);
                    self.count_error(&error);
                    Reply::new(&mut out, resp3).error(&error);
                    part.ends.push(out.len());
                }
            }
            part.out = out;
        }
    }

    /// Runs the parts of a batch of core `home` on a shard that is in hand. False when it got only so far: the shard is
    /// owed to a blocked client that cannot be served here. Called again, it goes on where it was.
    fn run_parts(&mut self, shard: &mut Shard, home: usize, parts: &mut [Box<Part>]) -> bool {
        let mut ahead = (0, 0);
        for at in 0..parts.len() {
            if (at, 0) >= ahead {
                ahead = self.fetch_ahead(shard, parts, (at, 0));
            }
            let part = &mut parts[at];
            let slow_before = self.slow_runs.len();
            let mut out = std::mem::take(&mut part.out);
            let mut ran = true;
            shard.replaying = part.caller.primary;
            if part.exec.is_some() {
                if part.ends.is_empty() {
                    if self.is_short() {
                        self.make_room_on(shard);
                    }
                    ran = self.run_exec_part(shard, part, &mut out);
                    part.ends.push(out.len());
                }
            } else {
                for index in part.ends.len()..part.requests.len() {
                    if (at, index) >= ahead {
                        ahead = self.fetch_ahead(shard, parts, (at, index));
                    }
                    let part = &mut parts[at];
                    let request = part.requests[index];
                    let command = self.table.by_id(request.command);
                    if self.is_short() && command.spec.flags.has(Flags::DENYOOM) {
                        self.make_room_on(shard);
                    }
                    let args = part.args(&request);
                    if shard.slot_map.is_some()
                        && !(request.key > 0 && shard.serves(request.slot))
                        && let Some(error) = self.refused_there(shard, command, &args)
                    {
                        let start = out.len();
                        self.failed(command, &error, &mut out, start);
                        part.ends.push(out.len());
                        continue;
                    }
                    if let Some(wait) = self.run_on(shard, command, &args, &mut out) {
                        let held = &mut [&mut *shard];
                        let waiter = self.register(held, home, part.place, command, &args, wait);
                        part.blocked = Some(waiter);
                    }
                    part.ends.push(out.len());
                    if shard.blocked.has_ready() {
                        self.serve(&mut [&mut *shard]);
                        if shard.blocked.has_ready() {
                            break;
                        }
                    }
                }
            }
            shard.replaying = false;
            let part = &mut parts[at];
            part.out = out;
            if let Some(source) = part.shown.take() {
                self.show_part(part, &source, ran);
            }
            if self.slow_runs.len() > slow_before {
                part.slow.extend(self.slow_runs.drain(slow_before..));
            }
            if shard.blocked.has_ready() {
                self.serve(&mut [&mut *shard]);
                if shard.blocked.has_ready() {
                    return false;
                }
            }
        }
        true
    }

    /// Brings what the next requests from `from` on (part, request) will read into the cache; gives the first whose turn
    /// has not come.
    fn fetch_ahead(
        &mut self,
        shard: &Shard,
        parts: &[Box<Part>],
        from: (usize, usize),
    ) -> (usize, usize) {
        self.hints.clear();
        let (mut at, mut index) = from;
        // Of a part that has been begun the processor sees the rest coming.
        let fresh = at + usize::from(index > 0);
        fetch_parts(&parts[fresh..], Part::prefetch_requests);
        while let Some(part) = parts.get(at)
            && self.hints.len() < LOOKAHEAD
        {
            let Some(request) = part.requests.get(index) else {
                (at, index) = (at + 1, 0);
                continue;
            };
            if request.key > 0 {
                let keyspace = &shard.keyspace;
                self.hints
                    .push(keyspace.hint(part.caller.db, request.slot, request.hash));
            }
            index += 1;
        }
        Keyspace::prefetch(self.hints.iter().map(|hint| (&shard.keyspace, *hint)));
        (at, index)
    }

    /// Runs any command all of whose keys are on one shard. As for `execute_plan`, it may have to wait.
    pub(super) fn run_on(
        &mut self,
        shard: &mut Shard,
        command: &'static Registered,
        args: &Args<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Wait> {
        match command.spec.run {
            Run::Shard(handler)
            | Run::Cursor { part: handler, .. }
            | Run::Any(handler)
            | Run::Publish(handler)
            | Run::Every { part: handler, .. } => {
                self.execute(shard, command, handler, args, out);
                None
            }
            Run::Keys { plan, .. }
            | Run::Plan(plan)
            | Run::Reach { plan, .. }
            | Run::Whole(plan) => self.execute_plan(&mut [shard], command, plan, args, out),
            Run::Client(_) | Run::Script { .. } | Run::Container => {
                unreachable!("{} does not travel", command.name)
            }
        }
    }

    /// EXEC whose keys are all on this shard.
    /// False when its watch was broken and nothing ran.
    fn run_exec_part(&mut self, shard: &mut Shard, part: &Part, out: &mut Vec<u8>) -> bool {
        let resp3 = part.caller.resp3;
        let watch = part.exec.as_ref().and_then(|exec| exec.watch.as_ref());
        if watch.is_some_and(|watch| shard.end_watch(&watch.token, &watch.keys)) {
            Reply::new(out, resp3).null_array();
            return false;
        }
        if shard.slot_map.is_some()
            && let Some(error) = self.part_refused(shard, part)
        {
            self.count_error(&error);
            Reply::new(out, resp3).error(&error);
            return false;
        }
        let begun = shard.effects.begin_unit();
        Reply::new(out, resp3).array(part.requests.len());
        for request in &part.requests {
            let command = self.table.by_id(request.command);
            self.run_on(shard, command, &part.args(request), out);
        }
        if begun {
            shard.effects.end_unit(None);
        }
        true
    }

    fn on_replies(&mut self, from: usize, mut parts: Vec<Box<Part>>) {
        for group in parts.chunks(PARTS_AHEAD) {
            fetch_parts(group, Part::prefetch_replies);
        }
        for mut part in parts.drain(..) {
            self.slow_runs.append(&mut part.slow);
            let Some(mut connection) = self.take_connection(part.place) else {
                self.reuse_part(part);
                continue;
            };
            let Some(mut wave) = connection.wave.take() else {
                self.keep(connection);
                continue;
            };
            if !wave.back(from, part) {
                connection.wave = Some(wave);
                self.keep(connection);
                continue;
            }
            if self.gates.notes_reads && !wave.has_local() {
                self.note_answer(&mut connection);
            }
            connection.output.lend(&mut self.spare_buffers);
            let start = connection.output.buffer().len();
            let home = self.index;
            let spare = &mut self.spare_parts;
            let mut blocked = None;
            wave.splice(home, connection.output.buffer(), |mut part| {
                blocked = blocked.take().or(part.blocked.take());
                part.reset();
                spare.push(part);
            });
            self.reuse_wave(wave);
            connection.waiting = false;
            match blocked {
                Some(waiter) => {
                    write_late(&mut connection);
                    self.blocked_afar(&mut connection, waiter);
                }
                None => {
                    self.after_reply(&mut connection, start);
                    write_late(&mut connection);
                    self.resume(&mut connection);
                }
            }
            self.put_back(connection);
        }
        if self.spare_vectors.len() < 64 {
            self.spare_vectors.push(parts);
        }
    }

    /// Something that a connection waited for is over: its kept input goes on, or it is read again.
    pub(super) fn resume(&mut self, connection: &mut Connection) {
        if connection.closed {
            return;
        }
        if connection.pending_input() > 0 {
            self.make_ready(connection);
        } else {
            self.read_on(connection);
        }
    }

    /// Sends everything that other cores are to get.
    pub(super) fn flush_outgoing(&mut self) {
        for to in 0..self.shards {
            if self.outgoing[to].requests.is_empty() && self.outgoing[to].replies.is_empty() {
                continue;
            }
            let mut sent = false;
            while let Some(parts) = self.outgoing[to].replies.pop() {
                if let Err(Batch::Replies(parts)) = self.push(to, Batch::Replies(parts)) {
                    self.outgoing[to].replies.push(parts);
                    break;
                }
                sent = true;
            }
            if !self.outgoing[to].requests.is_empty() {
                if !sent && self.borrow_for(to) {
                    continue;
                }
                let spare = self.spare_vectors.pop().unwrap_or_default();
                let parts = std::mem::replace(&mut self.outgoing[to].requests, spare);
                match self.push(to, Batch::Requests(parts)) {
                    Ok(()) => {
                        self.outgoing[to].in_flight += 1;
                        self.outgoing[to].sent += 1;
                        sent = true;
                    }
                    Err(Batch::Requests(parts) | Batch::Replies(parts)) => {
                        self.outgoing[to].requests = parts;
                    }
                }
            }
            if sent {
                self.counters().batches.add(1);
                self.wake(to);
            }
        }
    }

    fn push(&mut self, to: usize, batch: Batch) -> Result<(), Batch> {
        match &mut self.senders[to] {
            Some(sender) => sender.push(batch),
            None => unreachable!("a core sends nothing to itself"),
        }
    }

    /// Runs a small batch on the shard of a core that sleeps; false when it has to be sent.
    fn borrow_for(&mut self, to: usize) -> bool {
        if !self.config.borrow
            || self.durable.gating
            || self.outgoing[to].in_flight > 0
            || !self.links.core(to).berth.is_filled()
        {
            return false;
        }
        let commands: usize = self.outgoing[to]
            .requests
            .iter()
            .map(|part| part.requests.len())
            .sum();
        if commands > BORROW_MAX || !self.all_quick(to) {
            return false;
        }
        let Some(mut shard) = self.links.core(to).berth.borrow() else {
            return false;
        };
        // What rests on a slow log waits, and this core may have let out what it holds back in this turn.
        let is_slow = shard.log.as_ref().is_some_and(|log| log.is_slow());
        if is_slow || self.links.core(to).has_scheduled() || shard.blocked.has_ready() {
            self.give_back(vec![shard]);
            return false;
        }
        shard.set_now(self.now);
        let spare = self.spare_vectors.pop().unwrap_or_default();
        let mut parts = std::mem::replace(&mut self.outgoing[to].requests, spare);
        let done = self.run_parts(&mut shard, self.index, &mut parts);
        if shard.news.has_some() {
            self.take_news(&mut shard, 0); // of keys that expired where no command ran
        }
        self.settle(&mut shard);
        self.counters().borrowed.add(commands as u64);
        super::background::publish_shard(self.observatory.core(to), &shard);
        let wake = shard.has_garbage() || shard.blocked.has_ready();
        if self.links.core(to).berth.put(shard) || wake {
            self.wake(to);
        }
        if !done {
            // The rest is the owner's, once what is owed has been served.
            match self.push(to, Batch::Requests(parts)) {
                Ok(()) => {
                    self.outgoing[to].in_flight += 1;
                    self.outgoing[to].sent += 1;
                    self.wake(to);
                }
                Err(Batch::Requests(parts) | Batch::Replies(parts)) => {
                    self.outgoing[to].requests = parts;
                }
            }
            return true;
        }
        self.on_replies(to, parts);
        true
    }

    fn all_quick(&self, to: usize) -> bool {
        self.outgoing[to].requests.iter().all(|part| {
            part.exec.is_none()
                && part
                    .requests
                    .iter()
                    .all(|request| self.table.by_id(request.command).quick)
        })
    }
}

/// Brings the first of these parts, which another core has written, into the cache: their misses side by side.
fn fetch_parts(parts: &[Box<Part>], content: impl Fn(&Part)) {
    let first = || parts.iter().take(PARTS_AHEAD);
    first().for_each(|part| part.prefetch());
    first().for_each(|part| content(part));
}

/// Whether a script over its time need not be waited for: what a primary sends is never refused.
fn may_be_refused(batch: &Batch) -> bool {
    match batch {
        Batch::Requests(parts) => parts.iter().all(|part| !part.caller.primary),
        Batch::Replies(_) => true,
    }
}
