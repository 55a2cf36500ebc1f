//! Runs commands against shards without sockets: what the groups' unit tests stand on.

use std::sync::Arc;

use crate::base::number::parse_i64;
use crate::config::Config;
use crate::resp::parser::{Limits, Parsed, Parser};
use crate::resp::request::{Args, Caller, Key, OwnedArgs};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Shard, Shards};

use super::admit;
use super::client::ShardFn;
use super::spec::{Merge, Run};
use super::table::commands;

/// Runs a part on every shard and puts the replies together.
fn every(
    shards: &mut [Shard],
    part: ShardFn,
    merge: Merge,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (mut sum, mut elements) = (0, Vec::new());
    for shard in shards {
        let mut out = Vec::new();
        part(shard, args, &mut Reply::new(&mut out, args.caller.resp3))?;
        let header = out
            .iter()
            .position(|byte| *byte == b'\r')
            .expect("a reply has a line");
        if merge != Merge::Ok {
            sum += parse_i64(&out[1..header]).expect("the line is a number");
        }
        elements.extend_from_slice(&out[header + 2..]);
    }
    match merge {
        Merge::Sum => reply.integer(sum),
        Merge::Ok => reply.ok(),
        Merge::Interleave | Merge::Concat => {
            reply.array(sum as usize);
            reply.buffer().extend_from_slice(&elements);
        }
    }
    Ok(())
}

/// Some shards and a caller.
pub struct Harness {
    /// The shards.
    pub shards: Vec<Shard>,
    /// Who calls.
    pub caller: Caller,
}

impl Harness {
    /// So many shards with the default configuration, effects recorded, at a fixed time.
    pub fn new(shards: usize) -> Self {
        let config = Arc::new(Config::default());
        let mut harness = Harness {
            shards: (0..shards)
                .map(|index| Shard::new(index, shards, config.clone(), 7))
                .collect(),
            caller: Caller::default(),
        };
        harness.set_now(1_700_000_000_000);
        for shard in &mut harness.shards {
            shard.effects.set_logged(true);
        }
        harness
    }

    /// Moves time.
    pub fn set_now(&mut self, now: i64) {
        self.shards.iter_mut().for_each(|shard| shard.set_now(now));
    }

    /// Runs a command given as words and gives the reply's bytes as text.
    pub fn run(&mut self, words: &[&str]) -> String {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        String::from_utf8_lossy(&self.run_bytes(&words)).into_owned()
    }

    /// Splits a line at blanks and runs it.
    pub fn line(&mut self, line: &str) -> String {
        self.run(&line.split(' ').collect::<Vec<_>>())
    }

    /// Runs lines of `command => reply`, where the reply's line ends are written as blanks, and compares.
    pub fn dialogue(&mut self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (command, expected) = line.split_once(" => ").expect("a command and its reply");
            let reply = self.line(command).replace("\r\n", " ");
            assert_eq!(reply.trim_end(), expected, "{command}");
        }
    }

    /// Runs a command and gives the reply's bytes.
    pub fn run_bytes(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let owned: OwnedArgs = words.iter().copied().collect();
        let args = owned.args(self.caller);
        let mut out = Vec::new();
        let outcome = admit::find(commands(), &args).and_then(|command| {
            let mut reply = Reply::new(&mut out, self.caller.resp3);
            let total = self.shards.len();
            self.shards
                .iter_mut()
                .for_each(|shard| shard.effects.begin());
            let outcome = match command.spec.run {
                Run::Cursor { begin, .. } if super::cursor_begins(args.get(1)) => {
                    let mut held: Vec<&mut Shard> = self.shards.iter_mut().collect();
                    begin(&mut Shards::new(&mut held, total), &args, &mut reply)
                }
                Run::Cursor { part: handler, .. } => {
                    let slot = usize::from(super::cursor_slot(args.get(1)));
                    handler(&mut self.shards[slot % total], &args, &mut reply)
                }
                Run::Every { part, merge } => {
                    every(&mut self.shards, part, merge, &args, &mut reply)
                }
                Run::Shard(handler) => {
                    let key = args.key(usize::from(command.first_key).max(1));
                    handler(
                        &mut self.shards[usize::from(key.slot) % total],
                        &args,
                        &mut reply,
                    )
                }
                Run::Keys { plan, .. }
                | Run::Plan(plan)
                | Run::Reach { plan, .. }
                | Run::Whole(plan) => {
                    let mut held: Vec<&mut Shard> = self.shards.iter_mut().collect();
                    plan(&mut Shards::new(&mut held, total), &args, &mut reply)
                }
                Run::Any(handler) | Run::Publish(handler) => {
                    handler(&mut self.shards[0], &args, &mut reply)
                }
                _ => panic!("{} needs a server", command.name),
            };
            for shard in &mut self.shards {
                shard.effects.end(&args);
            }
            outcome
        });
        if let Err(error) = outcome {
            out.clear();
            Reply::new(&mut out, self.caller.resp3).error(&error);
        }
        for shard in &self.shards {
            shard.keyspace.check();
        }
        out
    }

    /// One number for all data: DEBUG DIGEST.
    pub fn digest(&mut self) -> String {
        let total = self.shards.len();
        let mut held: Vec<&mut Shard> = self.shards.iter_mut().collect();
        let owned: OwnedArgs = [&b"DEBUG"[..], b"DIGEST"].into_iter().collect();
        let mut out = Vec::new();
        let outcome = super::server::digest::digest(
            &mut Shards::new(&mut held, total),
            &owned.args(self.caller),
            &mut Reply::new(&mut out, false),
        );
        assert!(outcome.is_ok(), "a digest has no error");
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Changes one directive's field on all shards.
    pub fn configure(&mut self, change: impl Fn(&mut Config)) {
        for shard in &mut self.shards {
            change(Arc::make_mut(&mut shard.config));
        }
    }

    /// What OBJECT ENCODING would say of a key that is no string; nothing when there is none.
    pub fn encoding(&self, key: &str) -> &'static str {
        let key = Key::new(key.as_bytes());
        let shard = &self.shards[usize::from(key.slot) % self.shards.len()];
        let entry = shard.keyspace.find(self.caller.db as usize, &key);
        entry
            .and_then(|entry| entry.boxed())
            .map_or("", |value| value.encoding_name())
    }

    /// Effects recorded since the last call, as text, shard after shard; what only frames them (SELECT, MULTI, EXEC) is
    /// left out.
    pub fn effects(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for shard in &mut self.shards {
            all.extend(effects_as_text(shard));
        }
        all.retain(|effect| {
            effect != "MULTI" && effect != "EXEC" && !effect.starts_with("SELECT ")
        });
        all
    }
}

/// Takes what a shard has recorded, a line for each command.
pub fn effects_as_text(shard: &mut Shard) -> Vec<String> {
    let mut parser = Parser::default();
    let mut spans = Vec::new();
    let bytes = shard.effects.recorded().to_vec();
    shard.effects.clear();
    let (mut at, mut all) = (0, Vec::new());
    while at < bytes.len() {
        let limits = Limits {
            bulk_max: u64::MAX,
            authenticated: true,
        };
        spans.clear();
        let Parsed::Request(length) = parser.next(&bytes, at, limits, &mut spans) else {
            panic!("the stream holds whole commands");
        };
        at += length;
        let words: Vec<_> = Args::new(&bytes, &spans, Caller::default())
            .iter_from(0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        all.push(words.join(" "));
    }
    all
}
