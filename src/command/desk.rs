//! Runs client commands without a server: what the unit tests of connection, transaction and server commands stand on.

use std::sync::Arc;

use crate::acl::Users;
use crate::config::Config;
use crate::mesh::message::{CoreAnswer, CoreAsk};
use crate::observe::Observatory;
use crate::resp::request::OwnedArgs;
use crate::resp::{ErrorReply, Reply};
use crate::script::CoreScripts;
use crate::shard::{Shard, Shards};

use super::admit;
use super::client::{Client, Context, CoreView, Step};
use super::spec::Run;
use super::table::{catalog, commands};

/// One client before one core, and what the core would ask of others.
pub struct Desk {
    /// The client.
    pub client: Client,
    /// The configuration.
    pub config: Arc<Config>,
    /// All users.
    pub users: Arc<Users>,
    /// Counters.
    pub observatory: Observatory,
    /// Unix milliseconds.
    pub now: i64,
    /// What is answered to every question.
    pub answers: Vec<CoreAnswer>,
    /// The questions asked.
    pub asked: Vec<CoreAsk>,
    /// Scripts.
    pub scripting: CoreScripts,
    /// One shard, for steps over all of them.
    pub shard: Shard,
    out: Vec<u8>,
}

impl Desk {
    /// A client of a server with one shard and the default configuration.
    pub fn new() -> Self {
        let config = Arc::new(Config::default());
        let now = 1_700_000_000_000;
        let count = commands().all().len();
        let mut shard = Shard::new(0, 1, config.clone(), 7);
        shard.set_now(now);
        let users = Arc::new(Users::new(b"", catalog()));
        Desk {
            client: Client::new(
                7,
                "127.0.0.1:5000".into(),
                "127.0.0.1:6379".into(),
                false,
                9,
                now,
                &users,
            ),
            users,
            observatory: Observatory::new(1, count, 16, now, "a".repeat(40)),
            scripting: CoreScripts::new(Default::default()),
            config,
            now,
            answers: vec![CoreAnswer::Done],
            asked: Vec::new(),
            shard,
            out: Vec::new(),
        }
    }

    /// Changes one directive.
    pub fn set(&mut self, name: &str, value: &str) {
        let context = crate::config::SetContext {
            client_is_local: true,
            loading: false,
        };
        let changed = self
            .config
            .set(&[(name.as_bytes(), value.as_bytes())], context);
        self.config = Arc::new(changed.unwrap().config);
        if name == "requirepass" {
            let users = Users::clone(&self.users);
            self.set_users(users.with_default_password(value.as_bytes(), catalog()));
        }
    }

    /// Gives all users by rules, as ACL SETUSER would.
    pub fn set_user(&mut self, name: &str, rules: &str) {
        let rules: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
        let users = self
            .users
            .with_rules(name.as_bytes(), &rules, false, catalog());
        self.set_users(users.unwrap());
    }

    /// Replaces the users, for the client too.
    pub fn set_users(&mut self, users: Users) {
        self.users = Arc::new(users);
        self.client.take_over(&self.users);
    }

    /// Runs a command given as words up to its first step.
    pub fn step_of(&mut self, words: &[&[u8]]) -> Result<Step, ErrorReply> {
        let owned: OwnedArgs = words.iter().copied().collect();
        let args = owned.args(self.client.caller());
        self.out.clear();
        let command = admit::find(commands(), &args)?;
        self.client.last_command = Some(command);
        let core = CoreView {
            index: 0,
            shards: 1,
            now: self.now,
            config: &self.config,
            users: &self.users,
            observatory: &self.observatory,
            scripting: &self.scripting,
        };
        let resp3 = self.client.resp3;
        let mut reply = Reply::new(&mut self.out, resp3);
        match command.spec.run {
            Run::Client(handler) => {
                let mut context = Context {
                    client: &mut self.client,
                    core: &core,
                };
                handler(&mut context, &args, &mut reply)
            }
            Run::Shard(handler) | Run::Any(handler) | Run::Publish(handler) => {
                handler(&mut self.shard, &args, &mut reply)?;
                Ok(Step::Done)
            }
            _ => panic!("{} is no client command", command.name),
        }
    }

    /// The same, of a line split at blanks.
    pub fn step(&mut self, line: &str) -> Result<Step, ErrorReply> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.step_of(&words)
    }

    /// Runs a line to its end and gives the reply as text.
    pub fn line(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.run(&words)
    }

    /// Runs words to the end and gives the reply as text.
    pub fn run(&mut self, words: &[&[u8]]) -> String {
        let outcome = self.step_of(words);
        let resp3 = self.client.resp3;
        let outcome = match outcome {
            Ok(Step::Ask { ask, then, .. }) => {
                self.asked.push(ask);
                let core = CoreView {
                    index: 0,
                    shards: 1,
                    now: self.now,
                    config: &self.config,
                    users: &self.users,
                    observatory: &self.observatory,
                    scripting: &self.scripting,
                };
                let mut context = Context {
                    client: &mut self.client,
                    core: &core,
                };
                let mut reply = Reply::new(&mut self.out, resp3);
                then(&mut context, self.answers.clone(), &mut reply)
            }
            Ok(Step::Whole(plan)) => {
                let owned: OwnedArgs = words.iter().copied().collect();
                let args = owned.args(self.client.caller());
                let mut held = [&mut self.shard];
                let mut reply = Reply::new(&mut self.out, resp3);
                plan(&mut Shards::new(&mut held, 1), &args, &mut reply)
            }
            Ok(Step::Fail(error)) | Err(error) => Err(error),
            Ok(_) => Ok(()),
        };
        if let Err(error) = outcome {
            self.out.clear();
            Reply::new(&mut self.out, resp3).error(&error);
        }
        String::from_utf8_lossy(&self.out).into_owned()
    }
}
