//! Scripts in a log. Redis before 5.0, or one told to, wrote scripts down instead of what they had done; they are run again
//! over the one shard that takes such a log in.
//!
//! What a script calls goes through the [`Executor`], whatever kind of command it is. Commands that concern a client rather
//! than keys find one that nobody is connected to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::acl::Users;
use crate::command::client::{Client, Context, CoreView, Step};
use crate::command::scripting;
use crate::command::spec::{Flags, Run, Source};
use crate::command::table::{Registered, catalog, commands};
use crate::config::Config;
use crate::observe::Observatory;
use crate::resp::request::{Args, Caller, OwnedArgs};
use crate::resp::{ErrorReply, Reply};
use crate::script::{Call, CoreScripts, Host, Kind, Pulse, Sha};

use super::executor::{Executor, Fault};

/// What scripts need beside the shard: an interpreter, and a client to run as.
pub(super) struct Stage {
    scripting: CoreScripts,
    observatory: Observatory,
    users: Arc<Users>,
    client: Client,
}

impl Stage {
    pub fn new(config: &Config, now: i64) -> Self {
        let databases = config.databases as usize;
        let observatory =
            Observatory::new(1, commands().all().len(), databases, now, String::new());
        let users = Arc::new(Users::new(b"", catalog()));
        Stage {
            scripting: CoreScripts::new(observatory.scripts.clone()),
            client: Client::new(0, String::new(), String::new(), false, -1, now, &users),
            observatory,
            users,
        }
    }

    /// Compiles what EVAL and SCRIPT LOAD bring; its name.
    pub fn add(&self, text: &[u8]) -> Result<Sha, ErrorReply> {
        let sha = Sha::of(text);
        if self.scripting.find(&sha)?.is_none() {
            self.scripting.learn(sha, text)?;
        }
        Ok(sha)
    }

    /// Runs a command that concerns a client; the database that is selected then.
    fn run(
        &mut self,
        command: &'static Registered,
        args: &Args<'_>,
        config: &Arc<Config>,
        now: i64,
        out: &mut Vec<u8>,
    ) -> Result<u32, ErrorReply> {
        let Run::Client(handler) = command.spec.run else {
            unreachable!("{} is no client's", command.name)
        };
        (self.client.db, self.client.resp3) = (args.caller.db, args.caller.resp3);
        let core = CoreView {
            index: 0,
            shards: 1,
            now,
            config,
            users: &self.users,
            observatory: &self.observatory,
            scripting: &self.scripting,
        };
        let mut context = Context {
            client: &mut self.client,
            core: &core,
        };
        match handler(&mut context, args, &mut Reply::new(out, args.caller.resp3))? {
            Step::Done => Ok(self.client.db),
            Step::Fail(error) => Err(error),
            _ => Err(ErrorReply::text(
                "ERR This Redis command is not allowed from script",
            )),
        }
    }
}

impl Executor {
    /// EVAL and EVALSHA. A function cannot be meant: Redis has them since it writes down what was done.
    pub(super) fn run_script(
        &mut self,
        command: &'static Registered,
        args: &Args<'_>,
        source: Source,
    ) -> Result<Result<(), ErrorReply>, Fault> {
        if !self.holds_all() || source == Source::Function {
            return Err(Fault::Script(command.spec.name.to_owned()));
        }
        let mut out = Vec::new();
        let mut fault = None;
        let outcome = self.run_script_into(args, source, &mut out, &mut fault);
        match fault {
            Some(fault) => Err(fault),
            None => Ok(outcome.and_then(|()| match out.strip_prefix(b"-") {
                Some(text) => Err(ErrorReply::text(text.trim_ascii_end())),
                None => Ok(()),
            })),
        }
    }

    fn run_script_into(
        &mut self,
        args: &Args<'_>,
        source: Source,
        out: &mut Vec<u8>,
        fault: &mut Option<Fault>,
    ) -> Result<(), ErrorReply> {
        let request = scripting::read(args)?;
        let text = args.get(1);
        let stage = self.stage();
        let sha = match source {
            Source::Sha => Sha::parse(text).ok_or(ErrorReply::NO_SCRIPT)?,
            _ => stage.add(text)?,
        };
        if stage.scripting.find(&sha)?.is_none() {
            return Err(ErrorReply::NO_SCRIPT);
        }
        let mut interpreter = stage.scripting.take(Kind::Eval)?;
        let call = Call {
            name: sha.as_str(),
            keys: &request.keys,
            args: &request.args,
        };
        let slow_ms = self.config().busy_reply_threshold_ms;
        let mut host = Replay {
            db: args.caller.db,
            executor: self,
            fault,
            slow_at: (slow_ms > 0).then(|| Instant::now() + Duration::from_millis(slow_ms)),
        };
        interpreter.run(&mut host, &call, &mut Reply::new(out, false));
        self.stage().scripting.put_back(Kind::Eval, interpreter);
        Ok(())
    }
}

/// The server as a script of a log sees it.
struct Replay<'a> {
    executor: &'a mut Executor,
    db: u32,
    /// What cannot be replayed at all.
    fault: &'a mut Option<Fault>,
    /// When the script counts as slow.
    slow_at: Option<Instant>,
}

impl Host for Replay<'_> {
    fn call(&mut self, args: &OwnedArgs, resp3: bool, out: &mut Vec<u8>) -> Result<(), Vec<u8>> {
        let args = args.args(Caller {
            db: self.db,
            deny_blocking: true,
            from_script: true,
            resp3,
            ..Caller::default()
        });
        let command = match self.executor.find(&args) {
            Ok(command) => command,
            Err(Fault::Unknown(_)) => {
                return Err(b"Unknown Redis command called from script".to_vec());
            }
            Err(_) => {
                return Err(b"Wrong number of args calling Redis command from script".to_vec());
            }
        };
        if command.spec.flags.has(Flags::NOSCRIPT) {
            return Err(b"This Redis command is not allowed from script".to_vec());
        }
        let start = out.len();
        let outcome = match command.spec.run {
            Run::Client(_) => {
                let (config, now) = (self.executor.config(), self.executor.now());
                let stage = self.executor.stage();
                let outcome = stage.run(command, &args, &config, now, out);
                outcome.map(|db| self.db = db)
            }
            _ => match self.executor.execute(command, &args, out) {
                Ok(outcome) => outcome,
                Err(fault) => {
                    *self.fault = Some(fault);
                    return Err(b"This command cannot be replayed".to_vec());
                }
            },
        };
        if let Err(error) = outcome {
            out.truncate(start);
            Reply::new(out, resp3).error(&error);
        }
        Ok(())
    }

    fn pulse(&mut self) -> Pulse {
        if self.slow_at.is_some_and(|at| Instant::now() >= at) {
            self.slow_at = None;
            log::warn!("Slow script detected: one of an append-only file is still in execution");
        }
        if self.fault.is_some() {
            Pulse::Kill
        } else {
            Pulse::Continue
        }
    }

    fn set_repl(&mut self, _: u8) {}

    fn may_run(&mut self, args: &OwnedArgs) -> Option<bool> {
        let args = args.args(Caller::default());
        self.executor.find(&args).is_ok().then_some(true)
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
