//! From bytes to commands to where each one runs.
//!
//! Requests are cut out of what has arrived some at a time, so that the buckets and entries they need can be fetched
//! from memory side by side before the first one runs. The fork between "here" and "elsewhere" is in `dispatch` and
//! nowhere else.

use crate::command::client::{Client, Multi, Queued, ReplyMode};
use crate::command::permit::Refusal;
use crate::command::spec::{Flags, Run};
use crate::command::table::Registered;
use crate::command::{admit, cursor_slot, trace, transactions};
use crate::config::PipelineOrder;
use crate::keyspace::Keyspace;
use crate::net::{Connection, Wave};
use crate::resp::parser::{self, Limits, Parsed};
use crate::resp::request::{Args, Key, OwnedArgs, Span};
use crate::resp::{ErrorReply, Reply};
use crate::ring::Completion;

use super::core::{COMMANDS_MAX, Core};
use super::evict::Room;
use super::restoring::HEAVY;
use super::slots::Judgement;

/// Requests looked at together.
pub(super) const LOOKAHEAD: usize = 32;
/// Unexecuted requests of a connection, in bytes, beyond which no more are read: the kernel's buffers then hold the
/// client back. An unfinished request is not counted: its limit is `client-query-buffer-limit`.
const BACKLOG_MAX: usize = 1 << 20;
/// Reading goes on when this much is left, so that it is not switched at every turn.
const BACKLOG_LOW: usize = BACKLOG_MAX / 2;
/// Unexecuted input of a connection at most, whatever `client-query-buffer-limit` says: offsets into it have 32 bits.
const INPUT_MAX: u64 = u32::MAX as u64 - (1 << 20);
/// What has come for a connection is looked at ahead when it is at most this long: a request or a few.
const PEEK_MAX: usize = 512;

/// A request that has been cut out of the input.
#[derive(Clone, Copy)]
pub(super) struct Item {
    command: Option<&'static Registered>,
    spans_from: u32,
    spans_to: u32,
    /// Offset behind the request.
    end: u32,
    slot: u16,
    hash: u64,
}

/// What comes after a request.
pub(super) enum Flow {
    /// The next one.
    Next,
    /// It did not run: something under way must end first.
    Hold,
    /// It ran, and the next one must wait for it.
    Stop,
}

impl Core {
    /// Bytes have come for a connection: they are executed where they lie, and only what is left is copied.
    pub(super) fn on_bytes(&mut self, connection: &mut Connection, bytes: &[u8]) {
        let away = self.lacks_shard(connection);
        let waits = connection.waiting || connection.held;
        if waits || connection.pending_input() > 0 || away || self.pushing.choked {
            connection.keep_input(bytes);
            self.after_keeping(connection);
            return;
        }
        let mut budget = COMMANDS_MAX;
        let used = self.process(connection, bytes, &mut budget);
        if used < bytes.len() && !connection.ending {
            connection.keep_input(&bytes[used..]);
            if budget == 0 || self.shard.is_none() || self.decodes {
                self.decodes = false;
                self.make_ready(connection);
            }
            self.limit_input(connection);
        }
    }

    /// Limits on what is kept, and who goes on when.
    fn after_keeping(&mut self, connection: &mut Connection) {
        if connection.pending_input() >= connection.needs {
            self.make_ready(connection);
        }
        self.limit_input(connection);
        if connection.receiving
            && connection.has_work()
            && connection.blocked.is_none()
            && connection.pending_input() > BACKLOG_MAX
        {
            self.ring.cancel_receive(connection.place.token());
        }
    }

    /// Whether a connection has so much to execute that it is not read meanwhile.
    pub(super) fn is_held_back(&self, connection: &Connection) -> bool {
        // A blocked client is read on, up to its limit: else nobody would notice that it has gone.
        connection.has_work()
            && connection.blocked.is_none()
            && connection.pending_input() > BACKLOG_LOW
    }

    /// Closes a connection whose unfinished request is too long. Whole requests that wait for their turn are not meant:
    /// reading pauses long before they are too many.
    fn limit_input(&mut self, connection: &mut Connection) {
        if connection.has_work()
            && connection.blocked.is_none()
            && (connection.pending_input() as u64) < INPUT_MAX
        {
            return;
        }
        let most = self.config.client_query_buffer_limit.min(INPUT_MAX);
        if connection.pending_input() as u64 > most && !connection.client.primary {
            log::warn!(
                "Closing client {} ({}): its query buffer of {} bytes is above client-query-buffer-limit",
                connection.client.id,
                connection.client.peer,
                connection.pending_input()
            );
            self.counters().input_limit_closed.add(1);
            self.shut_down(connection);
        }
    }

    /// Executes what was kept.
    pub(super) fn run_kept_input(&mut self, connection: &mut Connection) {
        if self.lacks_shard(connection) || self.pushing.choked {
            self.make_ready(connection);
            return;
        }
        let input = std::mem::take(&mut connection.input);
        // Both go together: who asks meanwhile what is pending must not count from a place in what is not there.
        let at = std::mem::take(&mut connection.input_at);
        let mut budget = COMMANDS_MAX;
        let used = self.process(connection, &input[at..], &mut budget);
        if connection.closed {
            return;
        }
        (connection.input, connection.input_at) = (input, at);
        if let Some(input) = connection.consumed(used)
            && let Some(shard) = &mut self.shard
        {
            shard.discard_text(input);
        }
        if budget == 0 || self.shard.is_none() || self.decodes {
            self.decodes = false;
            self.make_ready(connection);
        }
        self.limit_input(connection);
        self.read_on(connection);
    }

    /// Executes requests of `bytes` until they are used up, one must wait, or the budget is. Gives how many bytes are
    /// done with.
    fn process(&mut self, connection: &mut Connection, bytes: &[u8], budget: &mut u32) -> usize {
        let mut spans = std::mem::take(&mut self.spans);
        let mut items = std::mem::take(&mut self.items);
        let mut done = 0;
        connection.needs = 0;
        connection.output.lend(&mut self.spare_buffers);
        loop {
            spans.clear();
            items.clear();
            let cut = self.cut(connection, bytes, done, &mut spans, &mut items);
            if items.len() > 1 {
                self.prefetch();
            }
            let mut flow = Flow::Next;
            for item in &items {
                if *budget == 0 {
                    flow = Flow::Hold;
                    break;
                }
                *budget -= 1;
                let request = &spans[item.spans_from as usize..item.spans_to as usize];
                flow = self.dispatch(connection, bytes, request, item);
                if !matches!(flow, Flow::Hold) {
                    done = item.end as usize;
                }
                if !matches!(flow, Flow::Next) {
                    break;
                }
            }
            if connection.output.blocks() > 0 {
                self.limit_output(connection);
            }
            if !matches!(flow, Flow::Next) || connection.ending {
                // Requests that were cut but did not run are cut again, before the one that is half here.
                if !matches!(cut, Cut::Used(at, _) if at == done) {
                    connection.parser.restart();
                }
                break;
            }
            match cut {
                Cut::More(at) => done = at,
                Cut::Used(at, missing) => {
                    done = at;
                    connection.needs = bytes.len() - at + missing;
                    break;
                }
                Cut::Failed(at, text) => {
                    if connection.wave.is_some() {
                        connection.parser.restart();
                        break; // its replies come first; the error is met again after them
                    }
                    done = at;
                    self.write_error(connection, &ErrorReply::protocol(&text));
                    connection.ending = true;
                    done = done.max(bytes.len());
                    break;
                }
                Cut::Quoted(at) => {
                    if connection.wave.is_some() {
                        break;
                    }
                    match self.run_quoted(connection, &bytes[at..]) {
                        Some(used) => done = at + used,
                        None => break,
                    }
                    if connection.waiting || connection.ending {
                        break;
                    }
                }
            }
        }
        self.spans = spans;
        self.items = items;
        self.launch_wave(connection);
        self.input_ends();
        self.spare_buffers.extend(connection.output.release());
        done
    }

    /// Cuts some requests out of `bytes`.
    fn cut(
        &mut self,
        connection: &mut Connection,
        bytes: &[u8],
        from: usize,
        spans: &mut Vec<Span>,
        items: &mut Vec<Item>,
    ) -> Cut {
        let limits = Limits {
            bulk_max: match connection.client.primary {
                true => u64::MAX,
                false => self.config.proto_max_bulk_len,
            },
            authenticated: connection.client.authenticated,
        };
        let mut at = from;
        if connection.client.heavy {
            connection.client.heavy = false;
            connection.client.refresh();
        }
        self.hints.clear();
        while items.len() < LOOKAHEAD {
            let known = spans.len();
            if bytes.get(at).is_some_and(|&byte| byte != b'*') {
                if connection.client.primary && !matches!(bytes[at], b'\r' | b'\n') {
                    return Cut::Failed(at, b"what a primary sends begins with '*'".to_vec());
                }
                if parser::needs_unquoting(&bytes[at..]) {
                    return Cut::Quoted(at);
                }
            }
            match connection.parser.next(bytes, at, limits, spans) {
                Parsed::Request(length) => {
                    at += length;
                    if length >= HEAVY {
                        connection.client.heavy = true;
                        connection.client.refresh();
                    }
                    if spans.len() == known {
                        continue; // nothing on the line
                    }
                    let args = Args::new(bytes, &spans[known..], connection.client.caller());
                    let command = self.table.find(args.get(0));
                    let (mut slot, mut hash) = (0, 0);
                    if let Some(command) = command
                        && command.first_key > 0
                        && let Some(key) = args.opt(usize::from(command.first_key))
                    {
                        let key = Key::new(key);
                        (slot, hash) = (key.slot, key.hash);
                        if let Some(shard) = &self.shard
                            && usize::from(slot) % self.shards == self.index
                        {
                            let db = connection.client.db;
                            self.hints.push(shard.keyspace.hint(db, slot, hash));
                        }
                    }
                    items.push(Item {
                        command,
                        spans_from: known as u32,
                        spans_to: spans.len() as u32,
                        end: at as u32,
                        slot,
                        hash,
                    });
                }
                Parsed::Incomplete { missing } => return Cut::Used(at, missing),
                Parsed::Failed(text) => return Cut::Failed(at, text),
            }
        }
        Cut::More(at)
    }

    /// Fetches from memory what the first request of each connection in this turn needs, all misses side by side. With
    /// one request at a time from each of many clients this is the only chance; a pipeline has its own look-ahead.
    pub(super) fn prefetch_first_keys(&mut self, completions: &[Completion]) {
        let Some(shard) = &self.shard else {
            return;
        };
        let limits = Limits {
            bulk_max: PEEK_MAX as u64,
            authenticated: true,
        };
        let mut parser = parser::Parser::default();
        self.hints.clear();
        for completion in completions {
            let Some(bytes) = completion.received.as_deref() else {
                continue;
            };
            if bytes.len() > PEEK_MAX || bytes.first() != Some(&b'*') {
                continue;
            }
            self.spans.clear();
            if !matches!(
                parser.next(bytes, 0, limits, &mut self.spans),
                Parsed::Request(_)
            ) {
                parser = parser::Parser::default();
                continue;
            }
            let args = Args::new(bytes, &self.spans, Default::default());
            let key = self.spans.first().and_then(|_| {
                let command = self.table.find(args.get(0))?;
                let place = usize::from(command.first_key);
                if place == 0 { None } else { args.opt(place) }
            });
            if let Some(key) = key.map(Key::new)
                && usize::from(key.slot) % self.shards == self.index
            {
                // Which database the client has selected does not matter much: it is nearly always the first.
                self.hints.push(shard.keyspace.hint(0, key.slot, key.hash));
            }
        }
        Keyspace::prefetch(self.hints.iter().map(|hint| (&shard.keyspace, *hint)));
    }

    /// Brings what the requests that were cut last will read of this shard into the cache.
    #[inline]
    fn prefetch(&self) {
        if let Some(shard) = &self.shard {
            Keyspace::prefetch(self.hints.iter().map(|hint| (&shard.keyspace, *hint)));
        }
    }

    /// Runs one request, or sends it where it belongs.
    #[inline]
    fn dispatch(
        &mut self,
        connection: &mut Connection,
        bytes: &[u8],
        spans: &[Span],
        item: &Item,
    ) -> Flow {
        let mut args = Args::new(bytes, spans, connection.client.caller());
        let (mut hash, mut slot) = (item.hash, item.slot);
        let command = match item.command {
            Some(command)
                if command.subcommands.is_empty() && command.spec.arity.accepts(spans.len()) =>
            {
                command
            }
            _ => match admit::find(self.table, &args) {
                Ok(command) => {
                    // The key of a subcommand is not where its container's would be (OBJECT ENCODING key).
                    if command.first_key > 0 {
                        let key = Key::new(args.get(usize::from(command.first_key)));
                        (hash, slot) = (key.hash, key.slot);
                    }
                    command
                }
                Err(_) if item.command.is_some_and(transactions::is_exec) => {
                    return self.refuse_exec(connection);
                }
                Err(error) => {
                    if item.command.is_none() && is_http(args.get(0)) {
                        log::warn!(
                            "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands \
                             to this server. This is likely due to an attacker attempting to use Cross Protocol \
                             Scripting to compromise it. Connection from {} aborted.",
                            connection.client.peer
                        );
                        self.shut_down(connection);
                        return Flow::Stop;
                    }
                    if let Some(command) = item.command {
                        self.counters().commands[usize::from(command.id)]
                            .rejected
                            .add(1);
                    }
                    return self.refuse(connection, &error);
                }
            },
        };
        let room = if self.is_short() {
            self.room_for(command, &connection.client)
        } else {
            Room::Enough
        };
        let previous = connection.client.last_command.replace(command);
        let mut muted = false;
        if !connection.client.is_plain()
            || self.has_gates()
            || room != Room::Enough
            || command.spec.flags.any(self.gates.refused)
        {
            if connection.client.primary {
                if connection.wave.is_some() && !self.monitors.is_empty() {
                    return Flow::Hold;
                }
                if self.gate_feed(connection, command, &args) {
                    return Flow::Next;
                }
            } else {
                if connection.client.tracking.is_some() {
                    if self.shard.is_none() {
                        connection.client.last_command = previous;
                        return Flow::Hold;
                    }
                    end_caching(&mut connection.client, previous);
                }
                if connection.client.asking {
                    if connection.wave.is_some() {
                        connection.client.last_command = previous;
                        return Flow::Hold;
                    }
                    end_asking(&mut connection.client, previous);
                }
                match self.gate(connection, command, &args, room) {
                    None => {
                        muted = connection.client.reply_mode != ReplyMode::On;
                        args.caller = connection.client.caller();
                    }
                    Some(flow) => {
                        if matches!(flow, Flow::Hold) {
                            connection.client.last_command = previous;
                        }
                        return flow;
                    }
                }
            }
        }
        if let Some(map) = &self.slot_map
            && !(command.first_key > 0
                && matches!(command.spec.run, Run::Shard(_))
                && map.serves(slot))
            && let Some(flow) = self.judge_request(connection, command, &args)
        {
            if matches!(flow, Flow::Hold) {
                connection.client.last_command = previous;
            }
            return flow;
        }
        if self.gates.notes_reads {
            self.note_read(connection, command, &args, slot);
        }
        connection.commands += 1;
        connection.has_written |= command.spec.flags.any(Flags::CHANGES);
        let Run::Shard(handler) = command.spec.run else {
            return self.dispatch_wide(connection, command, &args, item.end);
        };
        args = args.with_key(usize::from(command.first_key), hash, slot);
        let owner = if self.shards == 1 {
            0
        } else {
            usize::from(slot) % self.shards
        };
        if owner == self.index {
            let Some(mut shard) = self.shard.take() else {
                return Flow::Hold;
            };
            if let Some(wave) = &mut connection.wave {
                let strict = command.spec.flags.has(Flags::WAKES)
                    || self.config.pipeline_order == PipelineOrder::Strict;
                if !wave.join(owner, strict) {
                    self.shard = Some(shard);
                    return Flow::Hold;
                }
                self.execute(&mut shard, command, handler, &args, wave.local());
                wave.end_local(self.index);
            } else {
                let start = connection.output.buffer().len();
                self.execute(
                    &mut shard,
                    command,
                    handler,
                    &args,
                    connection.output.buffer(),
                );
                if muted {
                    self.after_reply(connection, start);
                } else {
                    connection.output.close_reply();
                }
            }
            self.end_unit(shard);
            return Flow::Next;
        }
        let strict = command.spec.flags.has(Flags::WAKES)
            || self.config.pipeline_order == PipelineOrder::Strict;
        if !self.wave_of(connection).join(owner, strict) {
            return Flow::Hold;
        }
        self.send_to(connection, owner, command, &args, hash, slot);
        Flow::Next
    }

    /// The connection's wave, begun if there is none.
    fn wave_of<'a>(&mut self, connection: &'a mut Connection) -> &'a mut Wave {
        connection.wave.get_or_insert_with(|| {
            let mut wave = self.spare_waves.pop().unwrap_or_default();
            wave.reset(self.shards);
            wave
        })
    }

    /// A command that is not for one shard's key.
    #[cold]
    fn dispatch_wide(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        args: &Args<'_>,
        end: u32,
    ) -> Flow {
        if connection.wave.is_some() {
            return Flow::Hold;
        }
        // Of what a busy server runs, or one whose data are being read again, hardly anything wants a shard at once.
        if self.shard.is_none()
            && (self.lacks_shard(connection) || !matches!(command.spec.run, Run::Client(_)))
        {
            return Flow::Hold;
        }
        if connection.client.primary && self.feed_command(command, args, end.into()) {
            return Flow::Next;
        }
        self.run_wide(connection, command, args);
        if connection.waiting || connection.wave.is_some() || connection.ending {
            Flow::Stop
        } else {
            Flow::Next
        }
    }

    /// Adds a request to the part for another shard.
    pub(super) fn send_to(
        &mut self,
        connection: &mut Connection,
        owner: usize,
        command: &'static Registered,
        args: &Args<'_>,
        hash: u64,
        slot: u16,
    ) {
        let place = connection.place;
        let caller = connection.client.caller();
        let shown = (!self.monitors.is_empty() && !command.spec.flags.has(Flags::BLOCKING))
            .then(|| trace::monitor_source(&connection.client));
        let wave = self.wave_of(connection);
        let spare = &mut self.spare_parts;
        let part = wave.part(owner, || {
            let mut part = spare.pop().unwrap_or_default();
            part.shown = shown;
            part.place = place;
            part.caller = caller;
            part
        });
        // Only a command for one shard's key comes with that key's hash; others find theirs where they run.
        let first_key = match command.spec.run {
            Run::Shard(_) => usize::from(command.first_key),
            _ => 0,
        };
        part.push(command.id, args, first_key, hash, slot);
    }

    /// Cluster mode: whether a request runs here, or the core with its shard decides. `None` lets it go on.
    #[cold]
    fn judge_request(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        args: &Args<'_>,
    ) -> Option<Flow> {
        let judgement = match Self::ends_transaction(command, &connection.client) {
            true => self.judge_exec(&connection.client),
            false => self.judge_one(&connection.client, command, args),
        };
        let error = match judgement {
            Judgement::GoOn => return None,
            Judgement::Wait => return Some(Flow::Hold),
            Judgement::Refused(error) => error,
        };
        if connection.wave.is_some() && connection.client.multi.is_some() {
            return Some(Flow::Hold); // it is turned away again, once
        }
        self.counters().commands[usize::from(command.id)]
            .rejected
            .add(1);
        if transactions::is_exec(command) {
            connection.client.multi = None;
            self.forget_watches(connection);
            self.write_error(connection, &error);
            return Some(Flow::Next);
        }
        Some(self.refuse(connection, &error))
    }

    /// Whether requests wait for the shard. Where most of them are refused anyhow they are looked at without it.
    #[inline]
    fn lacks_shard(&self, connection: &Connection) -> bool {
        let refuses = self.gates.busy || self.gates.loading && !connection.client.primary;
        self.shard.is_none() && !refuses
    }

    /// Whether any gate of the server is closed or anything wants a second look at commands.
    #[inline]
    fn has_gates(&self) -> bool {
        self.gates.loading
            || self.gates.loading_beside
            || self.gates.busy
            || self.gates.stale
            || self.gates.trouble.is_some()
            || self.gates.lacks_replicas
            || self.pause.until_ms > 0
            || !self.monitors.is_empty()
    }

    /// The slow way in: gates, MULTI's queue, CLIENT REPLY, CLIENT PAUSE, MONITOR. `None` lets the command run.
    #[cold]
    fn gate(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        args: &Args<'_>,
        room: Room,
    ) -> Option<Flow> {
        self.gates.out_of_memory = room == Room::Nothing;
        // On a replica a request is refused only when it is known that it is for this node.
        if connection.client.is_plain_but_restricted()
            && !self.has_gates()
            && !self.gates.read_only
            && !self.gates.crowded
            && room == Room::Enough
        {
            // Permissions depend on nothing that is under way.
            let outcome = admit::admit(command, &connection.client, args, self.gates);
            return outcome
                .err()
                .map(|refusal| self.reject(connection, command, args, refusal));
        }
        if connection.wave.is_some() {
            return Some(Flow::Hold);
        }
        if self.gates.loading {
            self.look_at_gate();
        }
        if self.slot_map.is_some() {
            // A request for another node is sent there whatever state this one is in.
            if let Err(refusal) = admit::admit_client(command, &connection.client, args) {
                return Some(self.reject(connection, command, args, refusal));
            }
            if let Some(flow) = self.judge_request(connection, command, args) {
                return Some(flow);
            }
        }
        if self.gates.read_only
            && self.is_being_promoted()
            && self.writes(command, args, &connection.client)
        {
            return Some(self.keep_waiting(connection));
        }
        if let Err(refusal) = admit::admit(command, &connection.client, args, self.gates) {
            return Some(self.reject(connection, command, args, refusal));
        }
        if self.gates.busy && !command.spec.flags.has(Flags::ALLOW_BUSY) {
            self.counters().commands[usize::from(command.id)]
                .rejected
                .add(1);
            return Some(self.refuse_busy(connection, command));
        }
        if room == Room::Later {
            self.wait_for_memory(connection);
            return Some(Flow::Hold);
        }
        if self.is_paused(command, args, &connection.client)
            || self.gates.crowded && self.waits_for_walk(command, args, &connection.client)
        {
            return Some(self.keep_waiting(connection));
        }
        if let Some(multi) = &mut connection.client.multi
            && !command.spec.flags.has(Flags::IMMEDIATE)
        {
            multi.has_writing_script |= self.is_writing_script(command, args);
            queue(multi, command, args);
            self.write_reply(connection, |reply| reply.simple("QUEUED"));
            return Some(Flow::Next);
        }
        if connection.client.heavy
            && let Some(flow) = self.decode_ahead(connection, command, args)
        {
            return Some(flow);
        }
        if !self.monitors.is_empty() && self.shard.is_some() {
            // Shown now if it runs now. If another core runs it, that core shows it; but one that may block is shown as
            // it comes, once, since it may run again and again before it is served.
            let now = match command.spec.run {
                _ if command.spec.flags.has(Flags::BLOCKING) => true,
                Run::Shard(_) => {
                    let key = args.key(usize::from(command.first_key));
                    usize::from(key.slot) % self.shards == self.index
                }
                _ => false,
            };
            if now {
                self.feed_monitors(&connection.client, command, args);
            }
        }
        match connection.client.reply_mode {
            ReplyMode::On => None,
            ReplyMode::SkipNext => {
                connection.client.reply_mode = ReplyMode::Skip;
                None
            }
            ReplyMode::Skip | ReplyMode::Off => None,
        }
    }

    /// Keeps a request until [`Core::let_go`].
    fn keep_waiting(&mut self, connection: &mut Connection) -> Flow {
        connection.waiting = true;
        self.blocked_by_pause.push(connection.place.index);
        self.counters().blocked.add(1);
        Flow::Hold
    }

    /// Answers a request that a gate has turned away.
    #[cold]
    fn reject(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        args: &Args<'_>,
        refusal: Refusal,
    ) -> Flow {
        if connection.wave.is_some() && connection.client.multi.is_some() {
            return Flow::Hold; // it is turned away again, once
        }
        self.counters().commands[usize::from(command.id)]
            .rejected
            .add(1);
        if let Refusal::Error(error) = &refusal
            && transactions::is_exec(command)
            && connection.client.multi.take().is_some()
        {
            self.forget_watches(connection);
            self.write_error(connection, &ErrorReply::exec_abort(error));
            return Flow::Next;
        }
        if let Refusal::Denied(denial) = refusal {
            self.note_denial(connection, command, args, denial);
        }
        let error = refusal.into_reply(&connection.client.user, command);
        self.refuse(connection, &error)
    }

    /// A script runs too long: what would need the data is refused.
    #[cold]
    fn refuse_busy(&mut self, connection: &mut Connection, command: &Registered) -> Flow {
        let error = self.busy_error();
        if transactions::is_exec(command) && connection.client.multi.take().is_some() {
            self.forget_watches(connection);
            self.write_error(connection, &ErrorReply::exec_abort(&error));
            return Flow::Next;
        }
        self.refuse(connection, &error)
    }

    /// What everybody is told while a script is over its time.
    pub(super) fn busy_error(&self) -> ErrorReply {
        match self.scripting.scripts.busy_ones().first() {
            Some(running) if !running.is_eval => ErrorReply::BUSY_FUNCTION,
            _ => ErrorReply::BUSY_SCRIPT,
        }
    }

    /// Answers a request that does not run.
    #[cold]
    fn refuse(&mut self, connection: &mut Connection, error: &ErrorReply) -> Flow {
        if connection.wave.is_some() {
            if connection.client.multi.is_some() {
                return Flow::Hold;
            }
            self.count_error(error);
            if connection.client.primary {
                self.feed_failed("", error);
            }
            if let Some(wave) = &mut connection.wave {
                Reply::new(wave.local(), false).error(error);
                wave.end_local(self.index);
            }
            return Flow::Next;
        }
        if let Some(multi) = &mut connection.client.multi {
            multi.refused = true;
        }
        self.write_error(connection, error);
        Flow::Next
    }

    /// An EXEC with arguments: it ends the transaction nevertheless, and says so even without one, as Redis does.
    #[cold]
    fn refuse_exec(&mut self, connection: &mut Connection) -> Flow {
        if connection.wave.is_some() {
            return Flow::Hold;
        }
        connection.client.multi = None;
        self.forget_watches(connection);
        self.write_error(connection, &ErrorReply::EXEC_WITH_ARGUMENTS);
        Flow::Next
    }

    /// Writes an error to the connection itself.
    pub(super) fn write_error(&mut self, connection: &mut Connection, error: &ErrorReply) {
        self.count_error(error);
        if connection.client.primary {
            let command = connection.client.last_command;
            self.feed_failed(command.map_or("", |command| &command.name), error);
        }
        self.write_reply(connection, |reply| reply.error(error));
    }

    /// Writes a reply to the connection itself, unless the client wants none.
    pub(super) fn write_reply(
        &mut self,
        connection: &mut Connection,
        write: impl FnOnce(&mut Reply<'_>),
    ) {
        let resp3 = connection.client.resp3;
        connection.output.lend(&mut self.spare_buffers); // an answer may come long after the request was read
        let start = connection.output.buffer().len();
        write(&mut Reply::new(connection.output.buffer(), resp3));
        self.after_reply(connection, start);
    }

    /// A reply has been written from `start` on: it stays, unless CLIENT REPLY says otherwise.
    pub(super) fn after_reply(&mut self, connection: &mut Connection, start: usize) {
        match connection.client.reply_mode {
            ReplyMode::On | ReplyMode::SkipNext => {}
            ReplyMode::Off => connection.output.buffer().truncate(start),
            ReplyMode::Skip => {
                connection.output.buffer().truncate(start);
                connection.client.reply_mode = ReplyMode::On;
            }
        }
        connection.output.close_reply();
    }

    /// Runs an inline request with quotes; gives the bytes it took, or `None` when it must wait.
    #[cold]
    fn run_quoted(&mut self, connection: &mut Connection, input: &[u8]) -> Option<usize> {
        match parser::unquoted(input) {
            Err(text) => {
                self.write_error(connection, &ErrorReply::protocol(&text));
                connection.ending = true;
                Some(input.len())
            }
            Ok((request, used)) => {
                let mut spans = Vec::new();
                let mut items = Vec::new();
                self.cut(connection, &request, 0, &mut spans, &mut items);
                for item in &items {
                    let spans = &spans[item.spans_from as usize..item.spans_to as usize];
                    if let Flow::Hold = self.dispatch(connection, &request, spans, item) {
                        return None;
                    }
                }
                Some(used)
            }
        }
    }

    /// The shard that a SCAN cursor points to.
    pub(super) fn cursor_owner(&self, args: &Args<'_>) -> usize {
        usize::from(cursor_slot(args.opt(1).unwrap_or_default())) % self.shards
    }
}

/// How far cutting came.
enum Cut {
    /// To this offset; there may be more.
    More(usize),
    /// To this offset; what follows is not complete: so many bytes of it are missing at least.
    Used(usize, usize),
    /// To this offset; what follows is no request.
    Failed(usize, Vec<u8>),
    /// To this offset; what follows is an inline request with quotes.
    Quoted(usize),
}

/// CLIENT CACHING concerns the command after it, a whole transaction included. `previous` is the command that ran before
/// the one at hand.
fn end_caching(client: &mut Client, previous: Option<&'static Registered>) {
    let last_is_client = previous.is_some_and(|last| last.parent == Some("CLIENT"));
    if let Some(tracking) = &mut client.tracking
        && tracking.caching
        && client.multi.is_none()
        && !last_is_client
    {
        tracking.caching = false;
        client.refresh();
    }
}

/// ASKING concerns the command after it, a whole transaction included. `previous` is the command that ran before the one at
/// hand.
fn end_asking(client: &mut Client, previous: Option<&'static Registered>) {
    let asked = previous.is_some_and(|last| last.spec.flags.has(Flags::ASKS));
    if !asked && client.multi.is_none() {
        client.asking = false;
        client.refresh();
    }
}

/// Whether the "command" is what a browser says that was tricked into talking to us.
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// Queues a command between MULTI and EXEC.
pub(super) fn queue(multi: &mut Multi, command: &'static Registered, args: &Args<'_>) {
    let args = OwnedArgs::copy_of(args);
    multi.bytes += args.size();
    multi.queue.push(Queued { command, args });
}
