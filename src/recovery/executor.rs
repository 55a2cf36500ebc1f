//! Runs the commands of a log against a shard that nobody serves yet.
//!
//! There is no client, no engine and no reply: a handler of the table is called as the engine would call it, over one
//! shard that holds all the keys there are, or the share of one shard under the number that its log was written with.
//! What is due stays (`Shard::replaying`), nothing is evicted, recorded or told. What lies between MULTI and EXEC runs
//! when EXEC has been read, so that a unit which breaks off leaves nothing.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::slot::Slot;
use crate::command::keys::key_places;
use crate::command::spec::{Flags, Run};
use crate::command::table::{Registered, commands};
use crate::config::{Config, PropagationErrors};
use crate::keyspace::Keyspace;
use crate::resp::request::{Args, Caller, OwnedArgs};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Shard, Shards};

use super::functions::FunctionChange;

/// Errors of replayed commands that are logged one by one.
const ERRORS_LOGGED_MAX: u64 = 10;
/// Elements freed after a command that let go of something big.
const FREE_BUDGET: usize = 4096;

/// Why a command cannot be replayed.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no such command.
    Unknown(String),
    /// The request does not fit the command; the error says how.
    Request(String),
    /// A script: logs of Redis before 5.0, or of one told to, hold scripts instead of what they did.
    Script(String),
    /// A key that belongs to another shard's log.
    Foreign(Vec<u8>, Slot),
    /// A database that this server does not have.
    Database(Vec<u8>),
}

/// See the head of the file.
pub struct Executor {
    shard: Box<Shard>,
    total: usize,
    caller: Caller,
    out: Vec<u8>,
    /// Commands between MULTI and EXEC; those beyond `queued` are memory to use again.
    queue: Vec<OwnedArgs>,
    queued: usize,
    in_multi: bool,
    /// Changes of function libraries, in order.
    pub functions: Vec<FunctionChange>,
    /// Commands run.
    pub commands: u64,
    /// Commands that answered with an error.
    pub errors: u64,
    /// Commands under the names they have in the table, where `rename-command` has given them others.
    original: HashMap<&'static str, &'static Registered>,
}

impl Executor {
    /// An executor over the share `keyspace`, at a time in Unix milliseconds.
    pub fn new(keyspace: Keyspace, config: &Arc<Config>, now: i64) -> Self {
        let (index, total) = (keyspace.index(), keyspace.shards());
        let mut shard = Box::new(Shard::new(index, total, config.clone(), 0));
        shard.keyspace = keyspace;
        shard.news.set_events(0);
        shard.set_now(now);
        shard.replaying = true;
        let renamed = !config.renamed_commands.is_empty();
        let original = commands().top().iter().filter(|_| renamed);
        Executor {
            shard,
            total,
            caller: Caller {
                deny_blocking: true,
                ..Caller::default()
            },
            out: Vec::new(),
            queue: Vec::new(),
            queued: 0,
            in_multi: false,
            functions: Vec::new(),
            commands: 0,
            errors: 0,
            original: original
                .map(|command| (command.spec.name, *command))
                .collect(),
        }
    }

    /// The shard, for keys out of a base.
    pub fn shard(&mut self) -> &mut Shard {
        &mut self.shard
    }

    /// What has come together.
    pub fn into_keyspace(self) -> (Keyspace, Vec<FunctionChange>) {
        (self.shard.keyspace, self.functions)
    }

    /// Another file begins: commands are for database 0 until one is selected, and no unit is open.
    pub fn begin_file(&mut self) {
        self.caller.db = 0;
        self.abandon();
    }

    /// Whether a unit is open.
    pub fn is_midway(&self) -> bool {
        self.in_multi
    }

    /// Forgets the unit that is open.
    pub fn abandon(&mut self) {
        self.in_multi = false;
        self.queued = 0;
    }

    /// The next command of the log.
    pub fn take(&mut self, args: &Args<'_>) -> Result<(), Fault> {
        // The two that frame a unit need no look at the table.
        match args.get(0).len() {
            5 if args.is(0, "multi") => {
                self.abandon();
                self.in_multi = true;
                return Ok(());
            }
            4 if self.in_multi && args.is(0, "exec") => return self.run_queue(),
            _ => {}
        }
        if self.in_multi {
            if self.queued == self.queue.len() {
                self.queue.push(OwnedArgs::default());
            }
            let place = &mut self.queue[self.queued];
            place.clear();
            args.iter_from(0).for_each(|part| place.push(part));
            self.queued += 1;
            return Ok(());
        }
        self.run(args)
    }

    fn run_queue(&mut self) -> Result<(), Fault> {
        let queue = std::mem::take(&mut self.queue);
        let count = std::mem::take(&mut self.queued);
        self.in_multi = false;
        let outcome = queue[..count].iter().try_for_each(|owned| {
            let args = owned.args(Caller::default());
            self.run(&args)
        });
        self.queue = queue;
        outcome
    }

    fn run(&mut self, args: &Args<'_>) -> Result<(), Fault> {
        let mut args = *args;
        args.caller = self.caller;
        let command = self.find(&args)?;
        self.commands += 1;
        if command.name.starts_with("function|") {
            // Libraries are the server's, not a shard's.
            let change = OwnedArgs::copy_of(&args);
            self.functions.push(FunctionChange::Command(change));
            return Ok(());
        }
        // PFCOUNT is no write, but it keeps what it has counted in the value.
        let keeps = command.spec.flags.has(Flags::MAY_REPLICATE) && command.first_key > 0;
        if !command.spec.flags.has(Flags::WRITE) && !keeps {
            return self.run_other(command, &args);
        }
        self.out.clear();
        let mut reply = Reply::new(&mut self.out, false);
        let outcome = match command.spec.run {
            Run::Shard(handler) => {
                let place = usize::from(command.first_key).max(1);
                let key = args.key(place);
                if usize::from(key.slot) % self.total != self.shard.index {
                    return Err(Fault::Foreign(key.bytes.to_vec(), key.slot));
                }
                let args = args.with_key(place, key.hash, key.slot);
                handler(&mut self.shard, &args, &mut reply)
            }
            Run::Keys { plan, .. } | Run::Plan(plan) | Run::Reach { plan, .. } => {
                if self.total > 1 {
                    for (place, _) in key_places(command.spec, &args).unwrap_or_default() {
                        let key = args.key(place as usize);
                        if usize::from(key.slot) % self.total != self.shard.index {
                            return Err(Fault::Foreign(key.bytes.to_vec(), key.slot));
                        }
                    }
                }
                let mut held = [&mut *self.shard];
                plan(&mut Shards::new(&mut held, self.total), &args, &mut reply)
            }
            Run::Whole(plan) => {
                let mut held = [&mut *self.shard];
                plan(&mut Shards::new(&mut held, self.total), &args, &mut reply)
            }
            Run::Any(handler) | Run::Cursor { part: handler, .. } | Run::Publish(handler) => {
                handler(&mut self.shard, &args, &mut reply)
            }
            Run::Every { part, .. } => part(&mut self.shard, &args, &mut reply),
            Run::Script { .. } => return Err(Fault::Script(command.spec.name.to_owned())),
            Run::Client(_) | Run::Container => Ok(()),
        };
        if let Err(error) = outcome {
            self.failed(command, &error);
        }
        if self.shard.has_garbage() {
            self.shard.free_some(FREE_BUDGET);
        }
        Ok(())
    }

    fn find(&self, args: &Args<'_>) -> Result<&'static Registered, Fault> {
        let name = args.get(0);
        let found = commands().find(name).or_else(|| {
            let name = String::from_utf8_lossy(name).to_ascii_uppercase();
            self.original.get(name.as_str()).copied()
        });
        let Some(command) = found else {
            return Err(Fault::Unknown(String::from_utf8_lossy(name).into_owned()));
        };
        let command = match args.opt(1) {
            Some(word) if !command.subcommands.is_empty() => {
                command.subcommand(word).ok_or_else(|| {
                    let word = String::from_utf8_lossy(word);
                    Fault::Unknown(format!("{}|{word}", command.name))
                })?
            }
            _ => command,
        };
        if !command.spec.arity.accepts(args.len()) {
            let error = ErrorReply::wrong_arity(&command.name);
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            return Err(Fault::Request(text));
        }
        Ok(command)
    }

    /// What changes no data: SELECT says for which database the next ones are, scripts cannot be run, and the rest
    /// (PUBLISH, SCRIPT LOAD) leaves nothing behind.
    #[cold]
    fn run_other(&mut self, command: &'static Registered, args: &Args<'_>) -> Result<(), Fault> {
        if command.name == "select" {
            let number = crate::base::number::parse_i64(args.get(1));
            let databases = self.shard.keyspace.databases();
            match number.and_then(|number| usize::try_from(number).ok()) {
                Some(db) if db < databases => self.caller.db = db as u32,
                _ => return Err(Fault::Database(args.get(1).to_vec())),
            }
        } else if let Run::Script { .. } = command.spec.run {
            return Err(Fault::Script(command.spec.name.to_owned()));
        }
        Ok(())
    }

    #[cold]
    fn failed(&mut self, command: &'static Registered, error: &ErrorReply) {
        self.errors += 1;
        if self.errors <= ERRORS_LOGGED_MAX {
            log::warn!(
                "== CRITICAL == The append-only file has a command that fails: '{}' after processing the command '{}'",
                String::from_utf8_lossy(error.as_bytes()),
                command.name
            );
        }
        assert!(
            self.shard.config.propagation_error_behavior != PropagationErrors::Panic,
            "This server panicked sending an error to its AOF-loading-client after processing the command '{}'",
            command.name
        );
    }
}
