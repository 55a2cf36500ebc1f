//! DEBUG RELOAD and DEBUG LOADAOF: what files hold takes the place of all data while the server runs.
//!
//! All shards are in hand when it begins, and what must come before reading is done with them: saving, emptying. Then a thread
//! has them until everything is in, and the gates are closed as they are for a file that is loaded at the start (`loading.rs`):
//! who asks for data meanwhile is told LOADING, and the rest needs no shard. What was let in before waits for the
//! shards, as behind every long step, so nothing comes between the old data and the new. In a transaction, which is one
//! step, it is done where it stands, and everybody waits.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::base::clock::ticks;
use crate::command::client::Reload;
use crate::command::server::{prepare_reload, reload_snapshot};
use crate::command::table::Registered;
use crate::mesh::Place;
use crate::mesh::message::CoreMessage;
use crate::net::Connection;
use crate::persistence::status::Purpose;
use crate::recovery;
use crate::resp::ErrorReply;
use crate::resp::request::OwnedArgs;
use crate::shard::{Shard, Shards};

use super::core::{Core, Held};
use super::wide::Pending;

/// What is left to do when everything is ready to be read.
type Reading = Box<dyn FnOnce(&mut Held) -> Outcome + Send>;

type Outcome = Result<(), ErrorReply>;

/// A thread that has all shards and reads.
pub(super) struct Reloading {
    /// None comes back when it was given nothing.
    thread: JoinHandle<Option<(Held, Outcome)>>,
    command: &'static Registered,
    args: OwnedArgs,
    /// Clock ticks when it began.
    begun: u64,
}

impl Core {
    /// All shards are in hand: begins. Gives them back when it is over already.
    pub(super) fn begin_reload(
        &mut self,
        connection: &mut Connection,
        mut held: Held,
        what: Reload,
        command: &'static Registered,
        args: OwnedArgs,
    ) -> Option<Held> {
        let (place, begun) = (connection.place, ticks());
        let (give, take) = mpsc::channel::<(Held, Reading)>();
        let (links, home) = (self.links.clone(), self.index);
        let status = self.observatory.snapshots.clone();
        let thread = std::thread::Builder::new().name("reload".to_owned());
        let started = thread.spawn(move || {
            let (mut held, read) = take.recv().ok()?;
            let account = status.beside.account();
            let outcome = read(&mut held);
            drop(account);
            links.core(home).mail(CoreMessage::Reloaded(place));
            links.core(home).wake_by_event();
            Some((held, outcome))
        });
        let begins = started
            .map_err(|error| {
                log::warn!("Can't start a thread that reads the files again: {error}");
                ErrorReply::FAILED
            })
            .and_then(|thread| Ok((thread, self.prepare_to_reload(&mut held, what)?)));
        let (thread, read) = match begins {
            Ok(begins) => begins,
            Err(error) => {
                self.ran(command, &args.args(connection.client.caller()));
                self.answer_reload(connection, Err(error));
                return Some(held);
            }
        };
        self.tell_loading(false);
        let given = give.send((held, read));
        assert!(given.is_ok(), "the thread waits for what it is to read");
        let reloading = Reloading {
            thread,
            command,
            args,
            begun,
        };
        self.pending
            .insert(place.index, Pending::Reloading(reloading));
        None
    }

    /// The same as a whole, with everybody waiting: in a transaction.
    pub(super) fn reload_held(&mut self, held: &mut Held, what: Reload) -> Outcome {
        let read = self.prepare_to_reload(held, what)?;
        let outcome = read(held);
        self.observatory.snapshots.loading.store(false, Relaxed);
        outcome
    }

    /// The thread has come to its end.
    pub(super) fn take_reloaded(&mut self, place: Place) {
        let Some(Pending::Reloading(reloading)) = self.pending.remove(&place.index) else {
            unreachable!("who waits for a thread waits for nothing else");
        };
        let Reloading {
            thread,
            command,
            args,
            begun,
        } = reloading;
        let Some((held, outcome)) = thread.join().expect("a panic ends the process") else {
            unreachable!("it has been given the shards");
        };
        self.observatory.snapshots.loading.store(false, Relaxed);
        self.tell_loaded();
        if let Some(mut connection) = self.take_connection(place) {
            self.ran_since(command, &args.args(connection.client.caller()), begun);
            self.answer_reload(&mut connection, outcome);
            self.put_back(connection);
        }
        self.give_back(held);
    }

    /// The server stops: so does the thread, and what it has comes back.
    pub(super) fn end_reload(&mut self) -> Held {
        let is_reload = |pending: &mut Pending| matches!(pending, Pending::Reloading(_));
        let found = self
            .pending
            .extract_if(|_, pending| is_reload(pending))
            .next();
        match found {
            Some((_, Pending::Reloading(Reloading { thread, .. }))) => {
                let came_back = thread.join().expect("a panic ends the process");
                came_back.map(|(held, _)| held).unwrap_or_default()
            }
            _ => Held::new(),
        }
    }

    fn answer_reload(&mut self, connection: &mut Connection, outcome: Outcome) {
        connection.waiting = false;
        match outcome {
            Ok(()) => self.write_reply(connection, |reply| reply.ok()),
            Err(error) => self.write_error(connection, &error),
        }
        self.resume(connection);
    }

    /// Says that data are being loaded, and does what comes before reading.
    fn prepare_to_reload(&mut self, held: &mut Held, what: Reload) -> Result<Reading, ErrorReply> {
        let status = self.observatory.snapshots.clone();
        // Files are being loaded already, or a primary's copy is.
        if status.loading_beside.load(Relaxed) || status.loading.swap(true, Relaxed) {
            return Err(ErrorReply::LOADING);
        }
        let total = self.shards;
        let prepared: Result<Reading, ErrorReply> = match what {
            Reload::Snapshot {
                saves,
                flushes,
                merges,
            } => with_all(held, total, |shards| prepare_reload(shards, saves, flushes)).map(
                |()| -> Reading {
                    Box::new(move |held| {
                        with_all(held, total, |shards| {
                            reload_snapshot(shards, !flushes, merges)
                        })
                    })
                },
            ),
            Reload::Logs => self.prepare_logs(held).map_err(|text| {
                log::warn!("{text}");
                ErrorReply::LOADAOF_FAILED
            }),
        };
        if prepared.is_err() {
            status.loading.store(false, Relaxed);
        }
        prepared
    }

    /// The same of the append-only files.
    fn prepare_logs(&mut self, held: &mut Held) -> Result<Reading, String> {
        self.settle_all(held);
        held.iter()
            .filter_map(|shard| shard.log.as_ref())
            .for_each(|log| log.drain());
        let status = self.observatory.snapshots.clone();
        if let Some((Purpose::Rewrite, _)) = status.saves.under_way()
            && !status.log.rewrites.is_under_way()
        {
            // It is over, INFO says so too, and its thread is about to go.
            status.saves.wait_for_writers(Duration::from_secs(1));
        }
        if status.saves.under_way().is_some() {
            return Err("A snapshot or a rewrite is under way, and reads what would go".to_owned());
        }
        let set = status.log.lock_set();
        let manifest = set.as_ref().map(|set| set.manifest().clone());
        let manifest = manifest.ok_or("There are no append-only files")?;
        drop(set);
        let (config, total) = (self.config.clone(), self.shards);
        let scripts = self.observatory.scripts.clone();
        Ok(Box::new(move |held| {
            let directory = config.dir.join(&config.appenddirname);
            let read = recovery::read_again(&directory, manifest, &config, total, &status);
            let recovered = read.and_then(|recovered| {
                recovery::functions::replace(&recovered.functions, &scripts)?;
                Ok(recovered)
            });
            let recovered = recovered.map_err(|text| {
                log::warn!("{text}");
                ErrorReply::LOADAOF_FAILED
            })?;
            for (shard, keyspace) in held.iter_mut().zip(recovered.keyspaces) {
                for db in 0..shard.keyspace.databases() {
                    shard.touch_watched_keys_of(db);
                    shard.flush_db(db);
                }
                shard.keyspace = keyspace;
            }
            log::info!("Append Only File loaded by DEBUG LOADAOF");
            Ok(())
        }))
    }
}

fn with_all(
    held: &mut Held,
    total: usize,
    step: impl FnOnce(&mut Shards<'_>) -> Outcome,
) -> Outcome {
    let mut shards: Vec<&mut Shard> = held.iter_mut().map(|shard| &mut **shard).collect();
    step(&mut Shards::new(&mut shards, total))
}
