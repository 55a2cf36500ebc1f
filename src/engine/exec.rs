//! MULTI, EXEC and WATCH as a core runs them.
//!
//! EXEC finds out which shards its queue takes. One other shard: the whole transaction is one message. Else it is a step
//! over all shards concerned (`wide.rs`), which runs the queue with them in hand, and goes on later with the same ones in
//! hand when a command has to ask other cores.

use std::sync::Arc;

use crate::command::client::{Queued, ReplyMode, Step, Watching};
use crate::command::keys::key_places;
use crate::command::spec::{Flags, Run};
use crate::command::table::Registered;
use crate::keyspace::watch::WatchToken;
use crate::mesh::message::{CoreAsk, CoreMessage, ExecUnit, Watch};
use crate::net::Connection;
use crate::resp::request::{Args, Key, Span};
use crate::resp::{ErrorReply, Reply};
use crate::transaction::Work;

use super::core::{Core, Held};
use super::evict::Room;
use super::questions::Question;
use super::wide::{Errand, Owners, Pending};

/// Memory of a watched key beside its name: its places with the client and with the shard.
const WATCH_BYTES: usize = 96;

/// EXEC under way.
pub(super) struct Exec {
    pub(super) queue: std::vec::IntoIter<Queued>,
    pub(super) watching: Option<Box<Watching>>,
    pub(super) held: Held,
    pub(super) out: Vec<u8>,
    /// Messages to the client itself, which come after the reply.
    pub(super) messages: Vec<u8>,
    pub(super) started: bool,
    /// A command in it has changed whose replica this server is, which the cores learn of after it.
    pub(super) changes_role: bool,
    /// CLIENT REPLY wants no replies just now.
    pub(super) muted: bool,
    /// EXEC itself.
    pub(super) command: &'static Registered,
    /// Clock ticks at its beginning.
    pub(super) begun: u64,
    /// What monitors see of its commands; it leaves as one block.
    pub(super) block: Vec<u8>,
    /// What they see of itself, behind that.
    pub(super) shown: Vec<u8>,
}

impl Exec {
    /// A reply has been written from `start` on, CLIENT REPLY being as given: it stays unless none is wanted. Within
    /// EXEC, OFF and ON hold from there on; SKIP is for the first command after EXEC. As in Redis the array's header has
    /// announced all replies by then.
    pub(super) fn mute(&mut self, mode: ReplyMode, start: usize) {
        match mode {
            ReplyMode::On => self.muted = false,
            ReplyMode::Off => self.muted = true,
            ReplyMode::Skip | ReplyMode::SkipNext => {}
        }
        if self.muted {
            self.out.truncate(start);
        }
    }
}

impl Core {
    /// EXEC: finds out which shards it takes.
    ///
    /// `shown` is what monitors see of EXEC itself.
    pub(super) fn exec(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        shown: Vec<u8>,
    ) {
        let begun = self.last_ticks;
        connection.has_written = true;
        let Some(multi) = connection.client.multi.take() else {
            self.send_to_monitors(shown);
            self.write_error(connection, &ErrorReply::EXEC_WITHOUT_MULTI);
            self.ran_exec(connection, command, begun);
            self.counters_of(command).failed.add(1);
            return;
        };
        if multi.refused {
            self.forget_watches(connection);
            self.send_to_monitors(shown);
            self.write_error(connection, &ErrorReply::EXEC_ABORT);
            self.ran_exec(connection, command, begun);
            self.counters_of(command).failed.add(1);
            return;
        }
        // Memory may have been used up since the commands were queued. One that must only wait has been let in then.
        let growing = |queued: &Queued| queued.command.spec.flags.has(Flags::DENYOOM);
        if self.is_short()
            && !connection.client.primary
            && multi.queue.iter().any(growing)
            && self.make_room() == Room::Nothing
        {
            self.forget_watches(connection);
            self.send_to_monitors(shown);
            self.write_error(
                connection,
                &ErrorReply::exec_abort(&ErrorReply::OUT_OF_MEMORY),
            );
            self.counters_of(command).rejected.add(1);
            return;
        }
        // And replicas may have gone.
        let writing = |queued: &Queued| queued.command.spec.flags.has(Flags::WRITE);
        if self.gates.lacks_replicas && multi.queue.iter().any(writing) {
            self.forget_watches(connection);
            self.send_to_monitors(shown);
            self.write_error(
                connection,
                &ErrorReply::exec_abort(&ErrorReply::NO_REPLICAS),
            );
            self.counters_of(command).rejected.add(1);
            return;
        }
        let watching = connection.client.watching.take();
        let mut owners = Owners::new();
        let mut all = false;
        let mut travels = true;
        // Some command wants a shard, whichever it is.
        let mut keyless = false;
        for queued in &multi.queue {
            let args = queued.args.args(connection.client.caller());
            match queued.command.spec.run {
                // DEBUG may turn out to want every shard; whatever it is, it is no command for a hot path.
                Run::Client(_) if queued.command.name.starts_with("debug") => {
                    (travels, all) = (false, true)
                }
                Run::Client(_) if !queued.command.spec.keys.is_empty() => {
                    (travels, all) = (false, true) // MIGRATE
                }
                Run::Client(_) | Run::Container => {
                    travels = false;
                    // Subscriptions concern what is published later on in the transaction.
                    keyless |= queued.command.spec.flags.has(Flags::PUBSUB);
                }
                Run::Any(_) | Run::Publish(_) => keyless = true,
                Run::Script { .. } => (travels, all) = (false, true),
                Run::Every { .. } | Run::Whole(_) | Run::Cursor { .. } => all = true,
                Run::Reach { everything, .. } if everything(&args) => all = true,
                Run::Shard(_) | Run::Keys { .. } | Run::Plan(_) | Run::Reach { .. } => {
                    match key_places(queued.command.spec, &args) {
                        Some(places) if !places.is_empty() => {
                            for (place, _) in places {
                                self.add_owner(&mut owners, args.get(place as usize));
                            }
                        }
                        // A plan that refuses its arguments still wants a shard to look at.
                        _ => self.add_owner(&mut owners, b""),
                    }
                }
            }
        }
        if let Some(watching) = &watching {
            for (_, key) in &watching.keys {
                self.add_owner(&mut owners, key);
            }
        }
        if all {
            owners = self.everyone().into();
        }
        if keyless && (owners.is_empty() || !travels) && !owners.contains(&(self.index as u16)) {
            owners.push(self.index as u16);
        }
        owners.sort_unstable();
        if let [one] = owners[..]
            && usize::from(one) != self.index
            && travels
            && !multi.queue.is_empty()
            && self.may_still_run(connection, &multi.queue)
        {
            self.send_exec(connection, usize::from(one), &multi.queue, watching, shown);
            self.ran_exec(connection, command, begun);
            return;
        }
        let exec = Box::new(Exec {
            queue: multi.queue.into_iter(),
            watching,
            held: Held::new(),
            out: Vec::new(),
            messages: Vec::new(),
            started: false,
            changes_role: false,
            muted: false,
            command,
            begun,
            block: Vec::new(),
            shown,
        });
        if owners.is_empty() {
            connection.waiting = true;
            if let Some(held) = self.run_exec(connection, exec) {
                self.give_back(held);
            }
        } else {
            self.begin(
                connection,
                owners.to_vec(),
                Pending::Lent(Errand::Exec(exec)),
                Work::Lend,
            );
        }
    }

    /// Everything is on one other shard: the whole transaction is one message.
    fn send_exec(
        &mut self,
        connection: &mut Connection,
        owner: usize,
        queue: &[Queued],
        watching: Option<Box<Watching>>,
        shown: Vec<u8>,
    ) {
        for queued in queue {
            let args = queued.args.args(connection.client.caller());
            let first = usize::from(queued.command.first_key);
            let (hash, slot) = if first > 0 {
                let key = args.key(first);
                (key.hash, key.slot)
            } else {
                (0, 0)
            };
            self.send_to(connection, owner, queued.command, &args, hash, slot);
        }
        if let Some(wave) = &mut connection.wave {
            wave.as_one_reply();
            let watch = watching.map(|watching| Watch {
                token: watching.token,
                keys: watching.keys,
            });
            let part = wave.part_of(owner);
            part.caller.deny_blocking = true;
            part.exec = Some(ExecUnit { watch, shown });
        }
    }

    /// Runs the queue, or goes on with it after a question has been answered. Hands back the shards when it is over and has
    /// not given them back itself.
    pub(super) fn run_exec(
        &mut self,
        connection: &mut Connection,
        mut exec: Box<Exec>,
    ) -> Option<Held> {
        if connection.client.primary {
            Self::replay_held(&mut exec.held, true);
        }
        if !exec.started {
            exec.started = true;
            exec.muted = matches!(
                connection.client.reply_mode,
                ReplyMode::Off | ReplyMode::Skip
            );
            if let Some(watching) = &exec.watching {
                self.drop_watches(watching, &mut exec.held);
                if watching.token.is_broken() {
                    let resp3 = connection.client.resp3;
                    Reply::new(&mut exec.out, resp3).null_array();
                    exec.mute(connection.client.reply_mode, 0);
                    return self.end_exec(connection, *exec);
                }
            }
            if self.slot_map.is_some() {
                let caller = connection.client.caller();
                let queued = exec.queue.as_slice().iter();
                let queued = queued.map(|queued| (queued.command, queued.args.args(caller)));
                if let Some(error) = self.refused_on(&exec.held, &caller, queued) {
                    self.count_error(&error);
                    Reply::new(&mut exec.out, connection.client.resp3).error(&error);
                    exec.mute(connection.client.reply_mode, 0);
                    return self.end_exec(connection, *exec);
                }
            }
            Self::begin_unit_on(&mut exec.held);
            let resp3 = connection.client.resp3;
            Reply::new(&mut exec.out, resp3).array(exec.queue.len());
            exec.mute(connection.client.reply_mode, 0);
        }
        while let Some(queued) = exec.queue.next() {
            let mut caller = connection.client.caller();
            caller.deny_blocking = true;
            let args = queued.args.args(caller);
            let start = exec.out.len();
            if let Some(error) = self.refused_at_exec(connection, queued.command, &args) {
                self.failed(queued.command, &error, &mut exec.out, start);
                exec.mute(connection.client.reply_mode, start);
                continue;
            }
            let handler = match queued.command.spec.run {
                Run::Client(handler) => handler,
                other => {
                    self.monitor_lines(&mut exec.block, &connection.client, queued.command, &args);
                    let mut out = std::mem::take(&mut exec.out);
                    if let Run::Script { .. } = other {
                        self.run_script(
                            connection,
                            &mut exec.held,
                            queued.command,
                            &args,
                            &mut out,
                        );
                        exec.block.append(&mut self.script_lines);
                    } else {
                        self.run_held(&mut exec.held, queued.command, &args, &mut out);
                    }
                    exec.out = out;
                    exec.mute(connection.client.reply_mode, start);
                    continue;
                }
            };
            for shard in &exec.held {
                super::background::publish_shard(self.observatory.core(shard.index), shard);
            }
            let mut out = std::mem::take(&mut exec.out);
            let step = self.call_client(connection, queued.command, &args, &mut out, handler);
            exec.out = out;
            self.monitor_lines(&mut exec.block, &connection.client, queued.command, &args);
            match step {
                Step::Close => connection.ending = true,
                Step::Ask { whom, ask, then } => {
                    exec.changes_role |= matches!(ask, CoreAsk::ReplicaOf { .. });
                    let question = Question { whom, ask, then };
                    self.settle_all(&mut exec.held); // its own unit is open and stays
                    self.ask(connection, queued.command, &args, question, Some(exec));
                    return None;
                }
                Step::Migrate(what) => {
                    self.migrate(connection, queued.command, &args, *what, Some(exec));
                    return None;
                }
                Step::Stall { time, only } => {
                    self.stall(time, only);
                    self.ran(queued.command, &args);
                }
                Step::Subscription { topic, begins } => {
                    std::mem::swap(connection.output.buffer(), &mut exec.messages);
                    self.settle_messages(connection);
                    std::mem::swap(connection.output.buffer(), &mut exec.messages);
                    let (mut out, mut held) = (
                        std::mem::take(&mut exec.out),
                        std::mem::take(&mut exec.held),
                    );
                    let change = (topic, begins);
                    self.change_subscriptions(connection, change, &args, &mut out, &mut held);
                    (exec.out, exec.held) = (out, held);
                }
                Step::Whole(plan) => {
                    let mut out = std::mem::take(&mut exec.out);
                    self.plan_held(&mut exec.held, queued.command, plan, &args, &mut out);
                    exec.out = out;
                }
                Step::Reload(what) => {
                    let outcome = self.reload_held(&mut exec.held, what);
                    self.ran(queued.command, &args);
                    let mut reply = Reply::new(&mut exec.out, args.caller.resp3);
                    match outcome {
                        Ok(()) => reply.ok(),
                        Err(error) => self.failed(queued.command, &error, &mut exec.out, start),
                    }
                }
                // Watches are gone by now, and the rest runs at once instead of being queued.
                Step::Unwatch
                | Step::Done
                | Step::Watch
                | Step::Exec
                | Step::Fail(_)
                | Step::Await(_)
                | Step::HandOver(_)
                | Step::Reset => {}
            }
            exec.mute(connection.client.reply_mode, start);
        }
        self.end_exec(connection, *exec)
    }

    fn end_exec(&mut self, connection: &mut Connection, mut exec: Exec) -> Option<Held> {
        let mut held = std::mem::take(&mut exec.held);
        self.end_unit_on(&mut held);
        if connection.client.primary {
            Self::replay_held(&mut held, false);
        }
        let mut block = std::mem::take(&mut exec.block);
        block.append(&mut exec.shown);
        self.send_to_monitors(block);
        self.serve_held(&mut held);
        self.ran_exec(connection, exec.command, exec.begun);
        if exec.changes_role {
            // The change may have waited for the shards; the reply waits for the change.
            self.give_back(held);
            self.await_role(connection, Box::new(exec));
            return None;
        }
        self.end_step(&mut held);
        self.answer_exec(connection, exec);
        Some(held)
    }

    /// EXEC is over, and whoever reads its reply may rely on all that it has done.
    pub(super) fn answer_exec(&mut self, connection: &mut Connection, exec: Exec) {
        connection.waiting = false;
        // What CLIENT REPLY silences is not in there any more.
        connection.output.buffer().extend_from_slice(&exec.out);
        if connection.client.reply_mode == ReplyMode::Skip {
            connection.client.reply_mode = ReplyMode::On;
        }
        connection.output.close_reply();
        connection.output.buffer().extend_from_slice(&exec.messages);
        self.await_confirmation(connection);
        if !connection.waiting {
            self.resume(connection);
        }
    }

    /// Counts an EXEC, whose time is that of all that it ran.
    fn ran_exec(&mut self, connection: &Connection, command: &'static Registered, begun: u64) {
        let name = Span {
            start: 0,
            length: 4,
        };
        let args = [name];
        let args = Args::new(b"EXEC", &args, connection.client.caller());
        self.ran_since(command, &args, begun);
    }

    /// WATCH: registers with the shards that own the keys.
    pub(super) fn watch(&mut self, connection: &mut Connection, args: &Args<'_>) {
        let keys: Vec<Box<[u8]>> = args.iter_from(1).map(Box::from).collect();
        let mut owners = Owners::new();
        for key in &keys {
            self.add_owner(&mut owners, key);
        }
        owners.sort_unstable();
        self.begin(
            connection,
            owners.to_vec(),
            Pending::Lent(Errand::Watch(keys)),
            Work::Lend,
        );
    }

    pub(super) fn watch_held(
        &mut self,
        connection: &mut Connection,
        keys: &[Box<[u8]>],
        held: &mut Held,
    ) {
        let db = connection.client.db;
        let watching = connection.client.watching.get_or_insert_with(|| {
            Box::new(Watching {
                token: Arc::new(WatchToken::default()),
                keys: Vec::new(),
                bytes: 0,
            })
        });
        for bytes in keys {
            let key = Key::new(bytes);
            let owner = usize::from(key.slot) % self.shards;
            let known = watching
                .keys
                .iter()
                .any(|(of, other)| *of == db && other == bytes);
            if let (false, Some(shard)) =
                (known, held.iter_mut().find(|shard| shard.index == owner))
            {
                // A key whose time has come is a missing key from here on.
                shard.peek(db as usize, &key);
                shard.watched.add(db as usize, bytes, &watching.token);
                watching.keys.push((db, bytes.clone()));
                watching.bytes += bytes.len() + WATCH_BYTES;
            }
        }
        self.write_reply(connection, |reply| reply.ok());
    }

    /// Takes a client's watches off the shards in hand, and breaks the watch if a watched key's time has come.
    pub(super) fn drop_watches(&mut self, watching: &Watching, held: &mut Held) {
        for (db, bytes) in &watching.keys {
            let key = Key::new(bytes);
            let owner = usize::from(key.slot) % self.shards;
            if let Some(shard) = held.iter_mut().find(|shard| shard.index == owner) {
                shard.peek(*db as usize, &key);
                shard.watched.remove(*db as usize, bytes, &watching.token);
            }
        }
    }

    /// A connection gives up its watches.
    pub(super) fn forget_watches(&mut self, connection: &mut Connection) {
        if let Some(watching) = connection.client.watching.take() {
            self.forget(*watching);
        }
    }

    /// Tells the shards that own the keys to forget a watch.
    fn forget(&mut self, watching: Watching) {
        let Watching { token, keys, .. } = watching;
        let mut by_owner: Vec<Vec<(u32, Box<[u8]>)>> = vec![Vec::new(); self.shards];
        for (db, key) in keys {
            let owner = usize::from(crate::base::slot::key_slot(&key)) % self.shards;
            by_owner[owner].push((db, key));
        }
        for (owner, keys) in by_owner.into_iter().enumerate() {
            if keys.is_empty() {
                continue;
            }
            let message = CoreMessage::Forget {
                token: token.clone(),
                keys,
            };
            if owner == self.index {
                self.on_message(message);
            } else {
                self.links.core(owner).mail(message);
                self.wake(owner);
            }
        }
    }
}
