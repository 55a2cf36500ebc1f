//! Running scripts: what a script calls is run like the commands of EXEC, over shards in hand.
//!
//! A script may touch keys that it did not declare, so it runs over all shards: they are borrowed at once or lent, and a
//! script is a transaction like any other. Nobody sees half of it, and one `now` holds for all of it.

use crate::base::clock::{ticks, unix_us};
use crate::base::slot::{Slot, key_slot};
use crate::command::admit;
use crate::command::client::{Client, Context, CoreView, Step};
use crate::command::keys::routed_places;
use crate::command::permit::{self, Refusal};
use crate::command::scripting;
use crate::command::spec::{Flags, Run, Source};
use crate::command::table::Registered;
use crate::command::trace;
use crate::effect::Audience;
use crate::net::Connection;
use crate::resp::request::{Args, Caller, OwnedArgs};
use crate::resp::{ErrorReply, Reply};
use crate::script::{self, Call, Host, Kind, Pulse, Running, Sha, Shebang};
use crate::transaction::Work;

use super::core::{Core, Held};
use super::evict::Room;
use super::wide::{Errand, Pending};

/// What a script may do, as found out before it starts.
#[derive(Clone, Copy)]
struct Rights {
    /// It may not write.
    read_only: bool,
    /// Memory was used up when it started, and it has not said that it may run then.
    short_of_memory: bool,
}

/// Whose the commands of scripts are, to MONITOR.
const SHOWN_AS: &str = "lua";

/// redis.REPL_AOF.
const REPL_AOF: u8 = 1;
/// redis.REPL_REPLICA.
const REPL_REPLICAS: u8 = 2;

/// What a script is called.
enum Name {
    Script(Sha),
    Function(String),
}

impl Name {
    fn as_str(&self) -> &str {
        match self {
            Name::Script(sha) => sha.as_str(),
            Name::Function(name) => name,
        }
    }
}

impl Core {
    /// A request for a script: refused here or run as soon as all shards are in hand.
    pub(super) fn run_script_wide(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        args: &Args<'_>,
    ) {
        // What is wrong with the request itself needs no shard.
        let found = self.script_of(command, args);
        if let Err(error) = found {
            self.note_script(connection, command, args);
            self.show_script();
            let mut out = std::mem::take(connection.output.buffer());
            let start = out.len();
            self.failed(command, &error, &mut out, start);
            self.ran(command, args);
            *connection.output.buffer() = out;
            self.after_reply(connection, start);
            return;
        }
        if self.shards == 1
            && let Some(shard) = self.shard.take()
        {
            let mut held = vec![shard];
            let mut out = std::mem::take(connection.output.buffer());
            let start = out.len();
            self.run_found_script(connection, &mut held, command, args, found, &mut out);
            self.show_script();
            *connection.output.buffer() = out;
            self.after_reply(connection, start);
            if let Some(shard) = held.pop() {
                self.end_unit(shard);
            }
            return;
        }
        let errand = Errand::Script(command, OwnedArgs::copy_of(args));
        self.begin(
            connection,
            self.everyone(),
            Pending::Lent(errand),
            Work::Lend,
        );
    }

    /// Whether a request runs a script that has declared that it does not write.
    pub(super) fn is_reading_script(&self, command: &Registered, args: &Args<'_>) -> bool {
        self.script_flags(command, args).is_some_and(|flags| {
            !flags.has(script::Flags::COMPATIBLE) && flags.has(script::Flags::NO_WRITES)
        })
    }

    /// Whether a request runs a script that may write, and has declared what it does. One without a declaration counts
    /// by what it calls.
    pub(super) fn is_writing_script(&self, command: &Registered, args: &Args<'_>) -> bool {
        self.script_flags(command, args).is_some_and(|flags| {
            !flags.has(script::Flags::COMPATIBLE) && !flags.has(script::Flags::NO_WRITES)
        })
    }

    /// What the script that a request runs has declared.
    fn script_flags(&self, command: &Registered, args: &Args<'_>) -> Option<script::Flags> {
        let Run::Script { source, .. } = command.spec.run else {
            return None;
        };
        let text = args.opt(1)?;
        match source {
            Source::Body => Shebang::of_script(text).ok().map(|found| found.flags),
            Source::Sha => Sha::parse(text)
                .and_then(|sha| self.scripting.find(&sha).ok().flatten())
                .map(|script| script.flags),
            Source::Function => {
                let found = self.scripting.function(text).ok().flatten();
                found.map(|(_, flags)| flags)
            }
        }
    }

    /// The script or function that a request names, compiled on this core and cached: its name and its flags.
    fn script_of(
        &mut self,
        command: &'static Registered,
        args: &Args<'_>,
    ) -> Result<(Name, script::Flags), ErrorReply> {
        let Run::Script { source, .. } = command.spec.run else {
            unreachable!("{} runs no script", command.name)
        };
        let text = args.get(1);
        if source == Source::Function {
            let found = self.scripting.function(text)?;
            let (name, flags) = found.ok_or(ErrorReply::FUNCTION_NOT_FOUND)?;
            scripting::split(args).map_err(|error| {
                if error == ErrorReply::NOT_INTEGER {
                    ErrorReply::BAD_NUMBER_OF_KEYS
                } else {
                    error
                }
            })?;
            return Ok((Name::Function(name), flags));
        }
        if source == Source::Sha && text.len() != 40 {
            return Err(ErrorReply::NO_SCRIPT);
        }
        scripting::split(args)?;
        let sha = match source {
            Source::Sha => Sha::parse(text).ok_or(ErrorReply::NO_SCRIPT)?,
            _ => match self.scripting.find_recent(text) {
                Some((sha, flags)) => return Ok((Name::Script(sha), flags)),
                None => Sha::of(text),
            },
        };
        if let Some(script) = self.scripting.find(&sha)? {
            let flags = script.flags;
            if source == Source::Body {
                self.scripting.remember(sha, script);
            }
            return Ok((Name::Script(sha), flags));
        }
        if source == Source::Sha {
            return Err(ErrorReply::NO_SCRIPT);
        }
        let flags = self.scripting.learn(sha, text)?;
        Ok((Name::Script(sha), flags))
    }

    /// Runs a script over shards in hand, which are all there are.
    pub(super) fn run_script(
        &mut self,
        connection: &Connection,
        held: &mut Held,
        command: &'static Registered,
        args: &Args<'_>,
        out: &mut Vec<u8>,
    ) {
        let found = self.script_of(command, args);
        self.run_found_script(connection, held, command, args, found, out);
    }

    /// The same, once it has been found out what script it is.
    fn run_found_script(
        &mut self,
        connection: &Connection,
        held: &mut Held,
        command: &'static Registered,
        args: &Args<'_>,
        found: Result<(Name, script::Flags), ErrorReply>,
        out: &mut Vec<u8>,
    ) {
        let begun = ticks();
        let start = out.len();
        self.note_script(connection, command, args);
        let outcome = found
            .and_then(|found| self.run_script_checked(connection, held, command, args, found, out));
        if let Err(error) = outcome {
            self.failed(command, &error, out, start);
        }
        // The time of the commands it called is counted as theirs and as its own.
        self.last_ticks = begun;
        if held.iter().any(|shard| shard.slot_costs.is_some()) {
            let shards = held.iter_mut().map(|shard| &mut **shard);
            self.charge(shards, command, args, out.len() - start);
        }
        self.ran(command, args);
    }

    /// Monitors see a request for a script before what the script calls, and also one that fails.
    fn note_script(&mut self, connection: &Connection, command: &Registered, args: &Args<'_>) {
        if !self.monitors.is_empty() {
            let source = trace::monitor_source(&connection.client);
            let line = trace::monitor_line(command, args, &source, unix_us());
            self.script_lines.extend(line);
        }
    }

    /// Shows the script that has just run, as one block.
    pub(super) fn show_script(&mut self) {
        let lines = std::mem::take(&mut self.script_lines);
        self.send_to_monitors(lines);
    }

    fn run_script_checked(
        &mut self,
        connection: &Connection,
        held: &mut Held,
        command: &'static Registered,
        args: &Args<'_>,
        (name, flags): (Name, script::Flags),
        out: &mut Vec<u8>,
    ) -> Result<(), ErrorReply> {
        let Run::Script { source, read_only } = command.spec.run else {
            unreachable!("{} runs no script", command.name)
        };
        let kind = match name {
            Name::Script(_) => Kind::Eval,
            Name::Function(_) => Kind::Functions,
        };
        let declared = !flags.has(script::Flags::COMPATIBLE);
        let no_writes = declared && flags.has(script::Flags::NO_WRITES);
        if self.slot_map.is_some() {
            if declared && flags.has(script::Flags::NO_CLUSTER) {
                return Err(ErrorReply::SCRIPT_NO_CLUSTER);
            }
            let commands = std::iter::once((command, *args));
            if let Some(error) = self.refused_on(held, &args.caller, commands) {
                return Err(error);
            }
        }
        if read_only && declared && !no_writes {
            return Err(ErrorReply::SCRIPT_MAY_WRITE);
        }
        let allow_oom = script::Flags::ALLOW_OOM.and(script::Flags::NO_WRITES);
        let short = !(declared && flags.any(allow_oom)) && self.is_short_for_script(held);
        if short && declared {
            return Err(ErrorReply::SCRIPT_OUT_OF_MEMORY);
        }
        let obeys = connection.client.primary;
        if self.gates.read_only && declared && !no_writes && !obeys {
            return Err(ErrorReply::READONLY);
        }
        if self.gates.stale && !obeys && !(declared && flags.has(script::Flags::ALLOW_STALE)) {
            return Err(ErrorReply::MASTERDOWN);
        }
        if let Some(trouble) = self.gates.trouble
            && !obeys
            && declared
            && !no_writes
        {
            return Err(admit::misconfigured(trouble));
        }
        if self.gates.lacks_replicas && declared && !no_writes {
            return Err(ErrorReply::NO_REPLICAS);
        }
        let rights = Rights {
            read_only: read_only || no_writes,
            short_of_memory: short,
        };
        let request = scripting::read(args)?;
        let call = Call {
            name: name.as_str(),
            keys: &request.keys,
            args: &request.args,
        };
        let mut interpreter = self.scripting.take(kind)?;
        let start = out.len();
        let time = self.config.busy_reply_threshold_ms;
        let per_ms = self.observatory.scale.ticks(1_000_000);
        let outer = std::mem::replace(&mut self.runs_script, true);
        let is_unit = Self::begin_unit_on(held);
        let mut host = ScriptHost {
            now: self.now,
            busy_at: (time > 0).then(|| ticks().saturating_add(time.saturating_mul(per_ms))),
            is_busy: false,
            turn_ticks: per_ms / 2,
            name: name.as_str(),
            source,
            request: args,
            core: self,
            held,
            client: &connection.client,
            stand_in: None,
            db: args.caller.db,
            rights,
            slot: request.keys.first().map(|key| key_slot(key)),
            may_cross: !declared || flags.has(script::Flags::ALLOW_CROSS_SLOT),
            has_written: false,
            has_set_repl: false,
        };
        let errors = interpreter.run(&mut host, &call, &mut Reply::new(out, args.caller.resp3));
        let was_busy = host.is_busy;
        if host.has_set_repl {
            host.set_repl(REPL_AOF | REPL_REPLICAS);
        }
        self.runs_script = outer;
        if is_unit {
            self.end_unit_on(held);
        }
        if was_busy {
            self.scripting.scripts.end_busy(self.index);
            self.gates.busy = self.scripting.scripts.is_busy();
            log::info!("The slow script {} has ended", name.as_str());
        }
        let counters = self.counters();
        match kind {
            Kind::Eval => counters.lua_eval_bytes.set(interpreter.memory() as u64),
            Kind::Functions => counters.lua_function_bytes.set(interpreter.memory() as u64),
        }
        self.scripting.put_back(kind, interpreter);
        errors.iter().for_each(|error| self.count_error(error));
        // An error of a command that the script passed on has been counted, and is a failure of the script too.
        if !errors.is_empty() || out.get(start) == Some(&b'-') {
            self.counters().commands[usize::from(command.id)]
                .failed
                .add(1);
        }
        Ok(())
    }

    /// Whether memory is used up as a script begins.
    fn is_short_for_script(&mut self, held: &mut Held) -> bool {
        if !self.is_short() {
            return false;
        }
        let own = held.iter().position(|shard| shard.index == self.index);
        match own {
            Some(own) => self.make_room_for_script(&mut held[own]) == Room::Nothing,
            None => false,
        }
    }
}

/// The server as the running script sees it.
struct ScriptHost<'a> {
    core: &'a mut Core,
    held: &'a mut Held,
    client: &'a Client,
    /// Who runs commands that ask something of a client, made when one is called.
    stand_in: Option<Box<Client>>,
    /// The database that the script has selected.
    db: u32,
    /// Unix milliseconds of the whole script.
    now: i64,
    rights: Rights,
    /// In cluster mode: the slot of the keys so far.
    slot: Option<Slot>,
    /// Keys of several slots are let pass.
    may_cross: bool,
    has_written: bool,
    /// redis.set_repl has been called.
    has_set_repl: bool,
    /// Clock ticks from which on the server is busy with it; or when it lets the core live next, once it is.
    busy_at: Option<u64>,
    is_busy: bool,
    turn_ticks: u64,
    /// What it is called, and the request that began it.
    name: &'a str,
    source: Source,
    request: &'a Args<'a>,
}

impl ScriptHost<'_> {
    /// The script is over its time: every core answers BUSY from here on.
    #[cold]
    fn begin_busy(&mut self) {
        let is_eval = self.source != Source::Function;
        log::warn!(
            "Slow script detected: still in execution after {} milliseconds. You can try killing it with {} KILL. \
             It is called {}.",
            self.core.config.busy_reply_threshold_ms,
            if is_eval { "SCRIPT" } else { "FUNCTION" },
            self.name
        );
        self.core.scripting.scripts.begin_busy(Running {
            core: self.core.index,
            name: self.name.to_owned(),
            command: self.request.iter_from(0).map(<[u8]>::to_vec).collect(),
            since_ms: self.now,
            is_eval,
            has_written: self.has_written,
            killed: false,
        });
        let home = self.core.index;
        for core in (0..self.core.shards).filter(|&core| core != home) {
            self.core.wake(core);
        }
    }

    /// The command that a script names.
    fn find(&self, args: &Args<'_>) -> Result<&'static Registered, &'static str> {
        const UNKNOWN: &str = "Unknown Redis command called from script";
        const ARITY: &str = "Wrong number of args calling Redis command from script";
        let command = self.core.table.find(args.get(0)).ok_or(UNKNOWN)?;
        let command = match (command.subcommands.is_empty(), args.opt(1)) {
            (true, _) => command,
            (false, Some(word)) => command.subcommand(word).ok_or(UNKNOWN)?,
            (false, None) => command.bare().ok_or(ARITY)?,
        };
        if command.spec.arity.accepts(args.len()) {
            Ok(command)
        } else {
            Err(ARITY)
        }
    }

    /// Why the caller's permissions do not let the script run a command, if so: the one place that asks them.
    fn forbidden(&self, command: &'static Registered, args: &Args<'_>) -> Option<Vec<u8>> {
        if self.client.is_trusted() {
            return None;
        }
        let user = &self.client.user;
        let refusal = permit::check(user, command, args).err()?;
        if let Refusal::Denied(denial) = refusal {
            self.core
                .note_denial_in_script(self.client, command, args, denial);
        }
        let reply = refusal.into_reply(user, command);
        let text = reply.as_bytes();
        Some(text.strip_prefix(b"NOPERM ").unwrap_or(text).to_vec())
    }

    /// Why a command may not run, if it may not.
    fn refusal(&self, command: &'static Registered, args: &Args<'_>) -> Option<Vec<u8>> {
        let flags = command.spec.flags;
        if flags.has(Flags::NOSCRIPT) && !self.core.scripting.scripts.is_everything_allowed() {
            return Some(b"This Redis command is not allowed from script".to_vec());
        }
        if let Some(reason) = self.forbidden(command, args) {
            return Some([b"ACL failure in script: ", &reason[..]].concat());
        }
        if self.rights.read_only && flags.any(Flags::WRITE.and(Flags::MAY_REPLICATE)) {
            return Some(b"Write commands are not allowed from read-only scripts.".to_vec());
        }
        let (gates, obeys) = (self.core.gates, self.client.primary);
        if gates.stale && !flags.has(Flags::STALE) && !obeys {
            return Some(b"Can not execute the command on a stale replica".to_vec());
        }
        if gates.read_only && flags.has(Flags::WRITE) && !obeys {
            return Some([b"-", ErrorReply::READONLY.as_bytes()].concat());
        }
        if let Some(trouble) = gates.trouble
            && flags.has(Flags::WRITE)
            && !obeys
        {
            return Some([b"-", admit::misconfigured(trouble).as_bytes()].concat());
        }
        if self.core.gates.lacks_replicas && flags.has(Flags::WRITE) {
            return Some([b"-", ErrorReply::NO_REPLICAS.as_bytes()].concat());
        }
        if self.rights.short_of_memory && !self.has_written && flags.has(Flags::DENYOOM) {
            return Some([b"-", ErrorReply::OUT_OF_MEMORY.as_bytes()].concat());
        }
        None
    }

    /// Why this node of a cluster may not run a command, if so.
    fn refusal_by_slot(
        &mut self,
        command: &'static Registered,
        args: &Args<'_>,
    ) -> Option<Vec<u8>> {
        const CROSSED: &str = "Script attempted to access keys that do not hash to the same slot";
        if let Some(error) = self.core.refused_in_script(self.held, command, args) {
            let text = match () {
                () if error == ErrorReply::CLUSTER_DOWN => {
                    "Script attempted to execute a command while the cluster is down"
                }
                () if error == ErrorReply::CLUSTER_DOWN_READ_ONLY => {
                    "Script attempted to execute a write command while the cluster is down and readonly"
                }
                () if error == ErrorReply::CROSS_SLOT => CROSSED,
                () => "Script attempted to access a non local key in a cluster node",
            };
            return Some(text.as_bytes().to_vec());
        }
        let places = routed_places(command.spec, args)?;
        let slot = key_slot(args.get(places.first()?.0 as usize));
        if !self.may_cross && *self.slot.get_or_insert(slot) != slot {
            return Some(CROSSED.as_bytes().to_vec());
        }
        None
    }

    /// Runs a command that concerns the client rather than keys.
    fn call_client(
        &mut self,
        command: &'static Registered,
        handler: crate::command::client::ClientFn,
        args: &Args<'_>,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        for shard in self.held.iter() {
            super::background::publish_shard(self.core.observatory.core(shard.index), shard);
        }
        let (now, caller) = (self.now, args.caller);
        let client = self.client;
        let stand_in = self.stand_in.get_or_insert_with(|| {
            let (peer, local) = (client.peer.clone(), client.local.clone());
            let mut stand_in = Client::new(
                client.id,
                peer,
                local,
                client.unix,
                client.fd,
                now,
                &self.core.users,
            );
            stand_in.user = client.user.clone();
            Box::new(stand_in)
        });
        (stand_in.db, stand_in.resp3) = (caller.db, caller.resp3);
        let core = CoreView {
            index: self.core.index,
            shards: self.core.shards,
            now,
            config: &self.core.config,
            users: &self.core.users,
            observatory: &self.core.observatory,
            scripting: &self.core.scripting,
        };
        let mut context = Context {
            client: stand_in,
            core: &core,
        };
        let outcome = handler(&mut context, args, &mut Reply::new(out, caller.resp3));
        self.db = stand_in.db;
        let outcome = outcome.and_then(|step| match step {
            Step::Whole(plan) => {
                self.core.plan_held(self.held, command, plan, args, out);
                Ok(())
            }
            Step::Reload(what) => {
                let outcome = self.core.reload_held(self.held, what);
                outcome.map(|()| Reply::new(out, args.caller.resp3).ok())
            }
            Step::Fail(error) => Err(error),
            // What would have to wait for other cores is no command for a script, as their flags say.
            Step::Ask { .. } | Step::Migrate(_) => Err(ErrorReply::text(
                "ERR This Redis command is not allowed from script",
            )),
            Step::Stall { time, only } => {
                self.core.stall(time, only);
                Ok(())
            }
            Step::Done
            | Step::Close
            | Step::Watch
            | Step::Unwatch
            | Step::Reset
            | Step::Exec
            | Step::Await(_)
            | Step::HandOver(_)
            | Step::Subscription { .. } => Ok(()),
        });
        if let Err(error) = outcome {
            self.core.failed(command, &error, out, start);
        }
        self.core.ran(command, args);
    }
}

impl Host for ScriptHost<'_> {
    fn call(&mut self, args: &OwnedArgs, resp3: bool, out: &mut Vec<u8>) -> Result<(), Vec<u8>> {
        let args = args.args(Caller {
            db: self.db,
            deny_blocking: true,
            from_script: true,
            resp3,
            ..self.client.caller()
        });
        let found = self.find(&args);
        let refusal = match found {
            Ok(command) if self.core.slot_map.is_some() => {
                let refusal = self.refusal(command, &args);
                refusal.or_else(|| self.refusal_by_slot(command, &args))
            }
            Ok(command) => self.refusal(command, &args),
            Err(text) => Some(text.as_bytes().to_vec()),
        };
        if let Some(text) = refusal {
            let error = match text.strip_prefix(b"-") {
                Some(text) => ErrorReply::text(text),
                None => ErrorReply::text([b"ERR ", &text[..]].concat()),
            };
            self.core.count_error(&error);
            if let Ok(command) = found {
                self.core.counters().commands[usize::from(command.id)]
                    .rejected
                    .add(1);
            }
            return Err(text);
        }
        let command = found.expect("what was not found has been refused");
        self.has_written |= command.spec.flags.has(Flags::WRITE);
        if !self.core.monitors.is_empty() && trace::is_monitored(command) {
            let line = trace::monitor_line(command, &args, SHOWN_AS, unix_us());
            self.core.script_lines.extend(line);
        }
        match command.spec.run {
            Run::Client(handler) => self.call_client(command, handler, &args, out),
            _ => self.core.run_held(self.held, command, &args, out),
        }
        Ok(())
    }

    fn pulse(&mut self) -> Pulse {
        let now = ticks();
        if self.busy_at.is_none_or(|at| now < at) {
            return Pulse::Continue;
        }
        if !self.is_busy {
            self.is_busy = true;
            self.begin_busy();
        }
        self.busy_at = Some(now.wrapping_add(self.turn_ticks));
        self.core.settle_all(self.held);
        self.core.busy_turn();
        let scripts = &self.core.scripting.scripts;
        if scripts.update_busy(self.core.index, self.has_written) || self.core.stopping {
            Pulse::Kill
        } else {
            Pulse::Continue
        }
    }

    fn set_repl(&mut self, flags: u8) {
        self.has_set_repl = true;
        let audience = match (flags & REPL_AOF != 0, flags & REPL_REPLICAS != 0) {
            (true, true) => Audience::All,
            (true, false) => Audience::Logs,
            (false, true) => Audience::Replicas,
            (false, false) => Audience::Nobody,
        };
        for shard in self.held.iter_mut() {
            shard.effects.set_audience(audience);
        }
    }

    fn may_run(&mut self, args: &OwnedArgs) -> Option<bool> {
        let args = args.args(Caller::default());
        let command = self.core.table.find(args.get(0))?;
        let command = match (command.subcommands.is_empty(), args.opt(1)) {
            (false, Some(word)) => command.subcommand(word)?,
            _ => command,
        };
        let client = self.client;
        Some(client.is_trusted() || permit::denial(&client.user, command, &args).is_none())
    }

    fn log(&mut self, level: u8, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        match level {
            0 => log::debug!("{line}"),
            1 | 2 => log::info!("{line}"),
            _ => log::warn!("{line}"),
        }
    }
}
