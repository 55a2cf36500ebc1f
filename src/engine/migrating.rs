//! MIGRATE as a core performs it: values are copied with the shards in hand, sent while everybody goes on, and deleted in
//! another step, if they are still what was sent.
//!
//! A key that has changed meanwhile is sent again. One that changes all the time would never be gone: from the third try on
//! its shards are kept in hand until the other server has answered, which is what Redis does with the whole server at each
//! try. In EXEC they are in hand anyway.
//!
//! A large value is copied in pieces, one in each turn of the core, while its key is watched; when that changes it is copied
//! anew, from the third time on at once. The pieces are sent when all are there, since their length comes first.
//!
//! Links to other servers are the core's own, are used in turn by all MIGRATEs that go there, and are closed when nobody has
//! used them for a while. They have a place among the connections, for the ring's tokens, but are none: what comes is
//! lines that answer what was sent, in order.

use std::collections::VecDeque;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{IntoRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use crate::command::client::Migration;
use crate::command::table::Registered;
use crate::keyspace::watch::WatchToken;
use crate::mesh::Place;
use crate::mesh::message::CoreMessage;
use crate::net::Connection;
use crate::persistence::rdb::{self, Dumping};
use crate::resp::request::{Args, Caller, Key, OwnedArgs, write_parts};
use crate::resp::{ErrorReply, write_command};
use crate::ring::Completion;
use crate::shard::Class;
use crate::transaction::Work;

use super::core::{Core, Held};
use super::exec::Exec;
use super::wide::{Errand, Owners, Pending};

/// Milliseconds after which a link that nobody uses is closed (Redis: MIGRATE_SOCKET_CACHE_TTL).
const LINK_IDLE_MS: i64 = 10_000;
/// Tries after which the shards are kept in hand.
const TRIES_IN_PASSING: u32 = 2;
/// What is to be sent is kept in pieces of about so many bytes.
const PIECE_BYTES: usize = 64 * 1024;
/// Bytes of an answer's line at most: longer ones come from no server that speaks the protocol.
const LINE_MAX: usize = 64 * 1024;

/// How soon the next MIGRATE follows where a tool moves a slot, nanoseconds: on this machine or one beside it.
const LINGER_NS: u64 = 200_000;

/// The moment after a MIGRATE. A tool that moves a slot asks for the next keys as soon as it is answered, thousands of times,
/// and most of what that takes is falling asleep and being woken. So once a MIGRATE has come so soon after the one before, the
/// core looks for what comes next instead of sleeping, for no longer than that.
#[derive(Default)]
pub(super) struct Lingering {
    /// Ticks until which the next MIGRATE would be soon.
    soon: u64,
    /// Ticks until which the core stays awake.
    until: u64,
}

impl Lingering {
    /// A MIGRATE that began then has been answered.
    fn begin(&mut self, begun: u64, now: u64, length: u64) {
        let was_soon = begun < self.soon;
        self.soon = now + length;
        self.until = if was_soon { self.soon } else { 0 };
    }

    /// There is something else to wait for.
    fn end(&mut self) {
        self.until = 0;
    }

    /// Whether the core stays awake.
    #[inline]
    pub(super) fn goes_on(&self, now: u64) -> bool {
        now < self.until
    }
}

/// A MIGRATE under way.
pub(super) struct Migrating {
    what: Migration,
    command: &'static Registered,
    args: OwnedArgs,
    /// Clock ticks at its beginning.
    begun: u64,
    /// Keys that are on their way, with what tells whether they have changed since.
    sent: Vec<(Box<[u8]>, Arc<WatchToken>)>,
    /// What is to be sent: requests for those keys.
    out: Vec<Vec<u8>>,
    /// A large value of which a part has been copied.
    copying: Option<Box<Copying>>,
    /// How often such a value has changed meanwhile.
    restarts: u32,
    tries: u32,
    /// The link broke before it said anything, and another was tried.
    retried: bool,
    /// What the other server has said to what is on its way.
    answer: Option<Answer>,
    /// The error that it comes to.
    error: Option<ErrorReply>,
    /// Shards kept in hand.
    held: Held,
    exec: Option<Box<Exec>>,
}

/// A large value that is copied in pieces.
struct Copying {
    name: Box<[u8]>,
    token: Arc<WatchToken>,
    dumping: Dumping,
    pieces: Vec<Vec<u8>>,
}

/// What became of a batch.
enum Answer {
    /// A line for each request before the keys, and for each key, as far as they came; the rest is missing for this reason.
    Lines(Vec<Vec<u8>>, Option<Failure>),
    /// The link had been closed by the other side before it said anything: it is worth another try.
    Again,
}

/// Why a link answers no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Connect,
    Write,
    Read,
    Timeout,
}

/// A batch on a link.
struct Batch {
    client: Place,
    /// Lines that answer it.
    lines_due: usize,
    lines: Vec<Vec<u8>>,
    /// Unix milliseconds.
    deadline: i64,
}

/// A link to another server.
pub(super) struct Target {
    name: (Vec<u8>, Vec<u8>),
    place: Place,
    /// None while it is being made.
    fd: Option<RawFd>,
    receiving: bool,
    sending: bool,
    failed: Option<Failure>,
    batches: VecDeque<Batch>,
    /// What has not been handed to the ring.
    out: VecDeque<Vec<u8>>,
    /// How much of what the ring has is sent.
    sent: usize,
    input: Vec<u8>,
    used_ms: i64,
}

impl Core {
    /// MIGRATE: begins the step in which the values are copied.
    pub(super) fn migrate(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        args: &Args<'_>,
        what: Migration,
        exec: Option<Box<Exec>>,
    ) {
        self.lingering.end();
        let mut migrating = Box::new(Migrating {
            what,
            command,
            args: OwnedArgs::copy_of(args),
            begun: self.last_ticks,
            sent: Vec::new(),
            out: Vec::new(),
            copying: None,
            restarts: 0,
            tries: 0,
            retried: false,
            answer: None,
            error: None,
            held: Held::new(),
            exec,
        });
        match &mut migrating.exec {
            Some(exec) => {
                let held = std::mem::take(&mut exec.held);
                connection.waiting = true;
                self.migrate_held(connection, migrating, held);
            }
            None => self.gather_for(connection, migrating),
        }
    }

    /// Gets the shards of its keys.
    fn gather_for(&mut self, connection: &mut Connection, migrating: Box<Migrating>) {
        let mut owners = Owners::new();
        let sent = migrating.sent.iter().map(|(name, _)| name);
        let copied = migrating.copying.iter().map(|copying| &copying.name);
        for key in migrating.what.keys.iter().chain(sent).chain(copied) {
            self.add_owner(&mut owners, key);
        }
        owners.sort_unstable();
        let step = Pending::Lent(Errand::Migrate(migrating));
        self.begin(connection, owners.to_vec(), step, Work::Lend);
    }

    /// The shards are in hand: deletes what has arrived, copies what is still to go. None when they are kept in hand.
    pub(super) fn migrate_held(
        &mut self,
        connection: &mut Connection,
        mut migrating: Box<Migrating>,
        mut held: Held,
    ) -> Option<Held> {
        let is_first = migrating.tries == 0;
        if let Some(answer) = migrating.answer.take() {
            self.take_answer(&mut migrating, answer, &mut held);
        }
        let has_keys = !migrating.what.keys.is_empty() || migrating.copying.is_some();
        if migrating.error.is_none() && has_keys {
            if !self.copy_keys(connection, &mut migrating, &mut held) {
                // Others go on meanwhile.
                connection.waiting = true;
                self.copying.push(connection.place);
                self.migrations.insert(connection.place.index, migrating);
                return Some(held);
            }
            if !migrating.sent.is_empty() {
                migrating.tries += 1;
                connection.waiting = true;
                let keeps = migrating.exec.is_some() || migrating.tries > TRIES_IN_PASSING;
                self.send_keys(connection.place, &mut migrating);
                let given = if keeps {
                    self.settle_all(&mut held);
                    migrating.held = held;
                    None
                } else {
                    Some(held)
                };
                self.migrations.insert(connection.place.index, migrating);
                return given;
            }
            if is_first {
                return self.end_migration(connection, migrating, held, "+NOKEY\r\n");
            }
        }
        self.end_migration(connection, migrating, held, "+OK\r\n")
    }

    /// Replies, and lets the connection go on.
    fn end_migration(
        &mut self,
        connection: &mut Connection,
        migrating: Box<Migrating>,
        held: Held,
        reply: &str,
    ) -> Option<Held> {
        let Migrating {
            command,
            args,
            begun,
            error,
            exec,
            ..
        } = *migrating;
        let mut out = Vec::new();
        match &error {
            Some(error) => self.failed(command, error, &mut out, 0),
            None => out.extend_from_slice(reply.as_bytes()),
        }
        self.ran_since(command, &args.args(connection.client.caller()), begun);
        let length = self.observatory.scale.ticks(LINGER_NS);
        self.lingering.begin(begun, self.last_ticks, length);
        match exec {
            Some(mut exec) => {
                exec.held = held;
                let start = exec.out.len();
                exec.out.extend_from_slice(&out);
                exec.mute(connection.client.reply_mode, start);
                if let Some(held) = self.run_exec(connection, exec) {
                    self.give_back(held);
                }
                None
            }
            None => {
                connection.waiting = false;
                self.write_reply(connection, |reply| reply.buffer().extend_from_slice(&out));
                self.resume(connection);
                Some(held)
            }
        }
    }

    /// Copies the values of the keys that are there, and watches them. False if it is to go on in the next turn.
    fn copy_keys(
        &mut self,
        connection: &Connection,
        migrating: &mut Migrating,
        held: &mut Held,
    ) -> bool {
        let caller = connection.client.caller();
        let (db, replaces) = (
            migrating.what.db as usize,
            migrating.what.replace || migrating.tries > 0,
        );
        loop {
            if !self.copy_on_with(migrating, held, &caller, replaces) {
                return false;
            }
            let Some(name) = migrating.next_key() else {
                return true;
            };
            let key = Key::new(&name);
            let owner = usize::from(key.slot) % self.shards;
            let Some(shard) = held.iter_mut().find(|shard| shard.index == owner) else {
                continue;
            };
            let (now, compress) = (shard.now, shard.config.rdbcompression);
            let Some(entry) = shard.read(&caller, &key) else {
                continue;
            };
            let token = Arc::new(WatchToken::default());
            if let Some(dumping) = Dumping::begin(&entry.payload(), compress) {
                shard.watched.add(db, &name, &token);
                migrating.copying = Some(Box::new(Copying {
                    name,
                    token,
                    dumping,
                    pieces: Vec::new(),
                }));
                continue;
            }
            let left = time_left(entry.expire_at(), now);
            let payload = rdb::dump(&entry.payload(), compress);
            let mut words: Vec<&[u8]> = vec![self.restore_word(), &name, left.as_bytes(), &payload];
            if replaces {
                words.push(b"REPLACE");
            }
            write_command(migrating.last_piece(), &words);
            shard.watched.add(db, &name, &token);
            migrating.sent.push((name, token));
        }
    }

    /// RESTORE, or its form for a node of a cluster, to which the slot is still on its way.
    fn restore_word(&self) -> &'static [u8] {
        match self.config.cluster_enabled {
            true => b"RESTORE-ASKING",
            false => b"RESTORE",
        }
    }

    /// Goes on with a large value, if one is being copied: a piece of it, or all where the shards are kept in hand anyway.
    /// False if it is not complete.
    fn copy_on_with(
        &mut self,
        migrating: &mut Migrating,
        held: &mut Held,
        caller: &Caller,
        replaces: bool,
    ) -> bool {
        let Some(mut copying) = migrating.copying.take() else {
            return true;
        };
        let db = migrating.what.db as usize;
        let key = Key::new(&copying.name);
        let owner = usize::from(key.slot) % self.shards;
        let Some(shard) = held.iter_mut().find(|shard| shard.index == owner) else {
            return true;
        };
        let in_passing = migrating.exec.is_none()
            && migrating.tries < TRIES_IN_PASSING
            && migrating.restarts < TRIES_IN_PASSING;
        let now = shard.now;
        let entry = match copying.token.is_broken() {
            true => None,
            false => shard.peek(caller.db as usize, &key),
        };
        let Some(entry) = entry else {
            // It has changed or is gone: whatever it is now is copied from the beginning.
            shard.watched.remove(db, &copying.name, &copying.token);
            migrating.restarts += 1;
            migrating.what.keys.push_back(copying.name);
            return true;
        };
        let left = time_left(entry.expire_at(), now);
        loop {
            let is_done = copying.dumping.go_on(&entry.payload());
            copying.pieces.push(copying.dumping.take());
            if is_done {
                break;
            }
            if in_passing {
                migrating.copying = Some(copying);
                return false;
            }
        }
        let Copying {
            name,
            token,
            pieces,
            ..
        } = *copying;
        let length: usize = pieces.iter().map(Vec::len).sum();
        let words: [&[u8]; 3] = [self.restore_word(), &name, left.as_bytes()];
        let out = migrating.last_piece();
        let count = words.len() + 1 + usize::from(replaces);
        write_parts(out, count, words.into_iter());
        out.extend_from_slice(format!("${length}\r\n").as_bytes());
        migrating.out.extend(pieces);
        let out = migrating.last_piece();
        out.extend_from_slice(b"\r\n");
        if replaces {
            out.extend_from_slice(b"$7\r\nREPLACE\r\n");
        }
        migrating.sent.push((name, token));
        true
    }

    /// The next turn of those who copy large values.
    pub(super) fn copy_on(&mut self) {
        for client in std::mem::take(&mut self.copying) {
            let Some(mut connection) = self.take_connection(client) else {
                // It has ended, and another one may have its place.
                if self.connections[client.index as usize].is_none()
                    && let Some(migrating) = self.migrations.remove(&client.index)
                {
                    self.forget_migration(migrating);
                }
                continue;
            };
            if let Some(migrating) = self.migrations.remove(&client.index) {
                self.gather_for(&mut connection, migrating);
            }
            self.put_back(connection);
        }
    }

    /// Nobody is there any more whose MIGRATE this is. (A client that only goes away keeps its place until it is over.)
    fn forget_migration(&mut self, migrating: Box<Migrating>) {
        let Migrating {
            what,
            sent,
            copying,
            held,
            ..
        } = *migrating;
        self.give_back(held);
        let copied = copying.map(|copying| (copying.name, copying.token));
        let watches: Vec<_> = sent.into_iter().chain(copied).collect();
        self.begin_chore(move |core, held| {
            for (name, token) in watches {
                let owner = usize::from(Key::new(&name).slot) % core.shards;
                if let Some(shard) = held.iter_mut().find(|shard| shard.index == owner) {
                    shard.watched.remove(what.db as usize, &name, &token);
                }
            }
        });
    }

    /// The other server has answered: deletes what it has and what has not changed since; what has goes once more.
    fn take_answer(&mut self, migrating: &mut Migrating, answer: Answer, held: &mut Held) {
        let db = migrating.what.db as usize;
        let (lines, failure) = match answer {
            Answer::Lines(lines, failure) => (lines, failure),
            Answer::Again => {
                migrating.tries -= 1; // as if it had not been sent
                for (name, token) in std::mem::take(&mut migrating.sent) {
                    let owner = usize::from(Key::new(&name).slot) % self.shards;
                    if let Some(shard) = held.iter_mut().find(|shard| shard.index == owner) {
                        shard.watched.remove(db, &name, &token);
                    }
                    migrating.what.keys.push_back(name);
                }
                return;
            }
        };
        let is_unit = Self::begin_unit_on(held);
        let before = lines.len().min(migrating.lines_before());
        let refused = |line: &&Vec<u8>| line.first() == Some(&b'-');
        let refusal = lines[..before].iter().find(refused).cloned();
        let mut of_keys = lines[before..].iter();
        let mut first_error = refusal.clone();
        for (name, token) in std::mem::take(&mut migrating.sent) {
            let key = Key::new(&name);
            let owner = usize::from(key.slot) % self.shards;
            let Some(shard) = held.iter_mut().find(|shard| shard.index == owner) else {
                continue;
            };
            shard.watched.remove(db, &name, &token);
            match of_keys.next() {
                None => {}
                Some(line) if line.first() == Some(&b'-') => {
                    first_error.get_or_insert_with(|| line.clone());
                }
                Some(_) if refusal.is_some() || migrating.what.copy => {}
                Some(_) if token.is_broken() => migrating.what.keys.push_back(name),
                Some(_) if shard.delete(db, &key) => {
                    shard.changed(db, &key, Class::Generic, "del");
                    shard.effects.count(1);
                    shard.effects.record_aside(db, &[b"DEL", &name]);
                }
                Some(_) => {} // it has expired meanwhile
            }
        }
        if is_unit {
            self.end_unit_on(held);
        }
        migrating.error = match (first_error, failure) {
            (Some(line), _) => Some(ErrorReply::target_replied(&line[1..])),
            (None, None) => None,
            (None, Some(Failure::Connect)) => Some(ErrorReply::MIGRATE_CONNECT),
            (None, Some(Failure::Write)) => Some(ErrorReply::MIGRATE_WRITE),
            (None, Some(Failure::Read | Failure::Timeout)) => Some(ErrorReply::MIGRATE_READ),
        };
    }

    // Links.

    /// Puts a batch on the link to where it is to go.
    fn send_keys(&mut self, client: Place, migrating: &mut Migrating) {
        let what = &migrating.what;
        let at = match self
            .targets
            .iter()
            .position(|target| target.name == what.target)
        {
            Some(at) => at,
            None => self.begin_link(&what.target, what.timeout_ms),
        };
        let now = self.now;
        let target = &mut self.targets[at];
        let mut bytes = Vec::new();
        if !what.auth.is_empty() {
            let mut words: Vec<&[u8]> = vec![b"AUTH"];
            words.extend(what.auth.iter().map(|word| &word[..]));
            write_command(&mut bytes, &words);
        }
        // It is said each time: a batch in between may have been for another one, or refused.
        let db = what.target_db.to_string();
        write_command(&mut bytes, &[b"SELECT", db.as_bytes()]);
        let mut pieces = std::mem::take(&mut migrating.out).into_iter();
        if let Some(first) = pieces.next() {
            bytes.extend_from_slice(&first);
        }
        target.out.push_back(bytes);
        target.out.extend(pieces);
        target.used_ms = now;
        target.batches.push_back(Batch {
            client,
            lines_due: migrating.lines_before() + migrating.sent.len(),
            lines: Vec::new(),
            deadline: now + what.timeout_ms,
        });
        self.next_tick_ms = self.next_tick_ms.min(now + super::core::TICK_MS);
        self.send_on_link(at);
    }
}

/// Milliseconds that a key has left, in the form of RESTORE.
fn time_left(expire_at: Option<i64>, now: i64) -> String {
    expire_at.map_or(0, |at| (at - now).max(1)).to_string()
}

impl Migrating {
    /// The key that is to be copied next.
    fn next_key(&mut self) -> Option<Box<[u8]>> {
        self.what.keys.pop_front()
    }

    /// Where what is to be sent goes on.
    fn last_piece(&mut self) -> &mut Vec<u8> {
        let is_full = self.out.last().is_none_or(|last| last.len() >= PIECE_BYTES);
        if is_full {
            self.out.push(Vec::new());
        }
        self.out.last_mut().expect("there is one now")
    }

    /// Requests that are answered before those for keys: AUTH, SELECT.
    fn lines_before(&self) -> usize {
        1 + usize::from(!self.what.auth.is_empty())
    }
}

impl Core {
    /// Takes a place for a link and begins to connect, on a thread that may wait for names to be resolved.
    fn begin_link(&mut self, name: &(Vec<u8>, Vec<u8>), timeout_ms: i64) -> usize {
        let place = self.new_place();
        self.targets.push(Box::new(Target {
            name: name.clone(),
            place,
            fd: None,
            receiving: false,
            sending: false,
            failed: None,
            batches: VecDeque::new(),
            out: VecDeque::new(),
            sent: 0,
            input: Vec::new(),
            used_ms: self.now,
        }));
        let (links, home, name) = (self.links.clone(), self.index, name.clone());
        let timeout = Duration::from_millis(timeout_ms.clamp(1, i64::from(i32::MAX)) as u64);
        let connecting = move || {
            let fd = connect(&name, timeout);
            let core = links.core(home);
            core.mail(CoreMessage::Linked { place, fd });
            core.wake_by_event();
        };
        let thread = std::thread::Builder::new().name("migrate".to_owned());
        if let Err(error) = thread.spawn(connecting) {
            log::warn!("Can't connect to another server for MIGRATE: {error}");
            let core = self.link();
            core.mail(CoreMessage::Linked { place, fd: None });
        }
        self.count_links();
        self.targets.len() - 1
    }

    fn count_links(&self) {
        let kept = self.targets.iter().filter(|target| target.failed.is_none());
        self.counters().migrate_links.set(kept.count() as u64);
    }

    fn target_at(&self, place: Place) -> Option<usize> {
        self.targets.iter().position(|target| target.place == place)
    }

    /// A link is there, or could not be made.
    pub(super) fn on_linked(&mut self, place: Place, fd: Option<RawFd>) {
        let Some(at) = self.target_at(place) else {
            fd.into_iter().for_each(crate::base::sys::close); // given up meanwhile
            return;
        };
        let Some(fd) = fd else {
            self.fail_link(at, Failure::Connect);
            return;
        };
        let target = &mut self.targets[at];
        target.fd = Some(fd);
        target.receiving = true;
        self.ring.receive(fd, place.token());
        self.send_on_link(at);
    }

    /// Hands what waits on a link to the ring, unless something is under way.
    fn send_on_link(&mut self, at: usize) {
        let target = &mut self.targets[at];
        let Some(fd) = target
            .fd
            .filter(|_| !target.sending && target.failed.is_none())
        else {
            return;
        };
        let Some(mut bytes) = target.out.pop_front() else {
            return;
        };
        while let Some(next) = target.out.front()
            && bytes.len() + next.len() <= PIECE_BYTES
        {
            bytes.extend_from_slice(next);
            target.out.pop_front();
        }
        if !bytes.is_empty() {
            (target.sending, target.sent) = (true, 0);
            self.follow_up |= !target.out.is_empty();
            self.ring.send(fd, target.place.token(), bytes, 0, false);
        }
    }

    /// A send is over that is no client's.
    #[cold]
    pub(super) fn on_link_sent(&mut self, completion: &Completion, bytes: Vec<u8>) {
        let Some(at) = self.target_at(Place::of_token(completion.token)) else {
            return;
        };
        let target = &mut self.targets[at];
        let sent = completion.result.max(0) as usize;
        let retry = completion.result == -libc::EAGAIN || completion.result == -libc::EINTR;
        if let Some(fd) = target.fd
            && target.failed.is_none()
            && (retry || completion.result > 0)
            && target.sent + sent < bytes.len()
        {
            target.sent += sent;
            let from = target.sent;
            self.ring.send(fd, completion.token, bytes, from, true);
            return;
        }
        target.sending = false;
        if completion.result <= 0 && !bytes.is_empty() {
            self.fail_link(at, Failure::Write);
        } else if target.failed.is_some() {
            self.drop_link(at);
        } else {
            self.send_on_link(at);
        }
    }

    /// Something has come that is no client's: answers, line by line.
    #[cold]
    pub(super) fn on_link_received(&mut self, completion: &Completion) {
        let Some(at) = self.target_at(Place::of_token(completion.token)) else {
            return;
        };
        let target = &mut self.targets[at];
        target.receiving &= completion.more;
        let bytes = completion.received.as_deref().unwrap_or_default();
        if bytes.is_empty() {
            match -completion.result {
                libc::ENOBUFS => self.ring.grow_buffers(),
                libc::EINTR | libc::EAGAIN => {}
                _ => {
                    self.fail_link(at, Failure::Read);
                    return;
                }
            }
        }
        let target = &mut self.targets[at];
        target.input.extend_from_slice(bytes);
        let mut taken = 0;
        let mut done = Vec::new();
        while let Some(end) = memchr::memchr(b'\n', &target.input[taken..]) {
            let line = target.input[taken..taken + end].trim_ascii_end().to_vec();
            taken += end + 1;
            let Some(batch) = target.batches.front_mut() else {
                break; // it says more than it was asked
            };
            batch.lines.push(line);
            if batch.lines.len() == batch.lines_due
                && let Some(batch) = target.batches.pop_front()
            {
                done.push((batch.client, Answer::Lines(batch.lines, None)));
            }
        }
        target.input.drain(..taken);
        let is_garbage = target.input.len() > LINE_MAX;
        if let (false, Some(fd)) = (target.receiving, target.fd) {
            target.receiving = true;
            self.ring.receive(fd, target.place.token());
        }
        if is_garbage {
            self.fail_link(at, Failure::Read);
        }
        for (client, answer) in done {
            self.on_migrated(client, answer);
        }
    }

    /// A link answers no more: whoever waits for it is told, and it is closed.
    fn fail_link(&mut self, at: usize, failure: Failure) {
        let target = &mut self.targets[at];
        target.failed = Some(failure);
        target.name = Default::default(); // the next one makes a link of its own
        if let Some(fd) = target.fd {
            crate::base::sys::shutdown_socket(fd);
        }
        target.out.clear();
        let batches = std::mem::take(&mut target.batches);
        self.drop_link(at);
        self.count_links();
        for batch in batches {
            let untouched = batch.lines.is_empty() && failure != Failure::Timeout;
            let migrating = self.migrations.get_mut(&batch.client.index);
            let answer = match migrating {
                Some(migrating)
                    if untouched && failure != Failure::Connect && !migrating.retried =>
                {
                    migrating.retried = true;
                    Answer::Again
                }
                _ => Answer::Lines(batch.lines, Some(failure)),
            };
            self.on_migrated(batch.client, answer);
        }
    }

    /// Gives up a failed link's place once the ring is through with it.
    fn drop_link(&mut self, at: usize) {
        let target = &self.targets[at];
        if target.receiving || target.sending {
            return;
        }
        let target = self.targets.swap_remove(at);
        target.fd.into_iter().for_each(crate::base::sys::close);
        self.free_place(target.place);
    }

    /// A batch has been answered, as far as it will be.
    fn on_migrated(&mut self, client: Place, answer: Answer) {
        let Some(mut migrating) = self.migrations.remove(&client.index) else {
            return;
        };
        let Some(mut connection) = self.take_connection(client) else {
            self.forget_migration(migrating);
            return;
        };
        migrating.answer = Some(answer);
        if migrating.held.is_empty() {
            self.gather_for(&mut connection, migrating);
        } else {
            let held = std::mem::take(&mut migrating.held);
            if let Some(held) = self.migrate_held(&mut connection, migrating, held) {
                self.give_back(held);
            }
        }
        self.put_back(connection);
    }

    /// Now and then: links that are too slow, and those that nobody uses.
    pub(super) fn mind_links(&mut self) {
        let mut at = 0;
        while at < self.targets.len() {
            let (before, target) = (self.targets.len(), &self.targets[at]);
            let late = |batch: &Batch| batch.deadline <= self.now;
            if target.failed.is_some() {
                // It goes when the ring is through with it.
            } else if target.batches.front().is_some_and(late) {
                let failure = match target.fd {
                    Some(_) => Failure::Timeout,
                    None => Failure::Connect,
                };
                self.fail_link(at, failure);
            } else if target.batches.is_empty() && self.now - target.used_ms > LINK_IDLE_MS {
                self.fail_link(at, Failure::Read);
            }
            at += usize::from(self.targets.len() == before);
        }
    }
}

/// Connects within `timeout`; none when that fails. Runs on a thread of its own.
fn connect((host, port): &(Vec<u8>, Vec<u8>), timeout: Duration) -> Option<RawFd> {
    let host = std::str::from_utf8(host).ok()?;
    let port: u16 = std::str::from_utf8(port).ok()?.parse().ok()?;
    let addresses = (host, port).to_socket_addrs().ok()?;
    let stream = addresses
        .into_iter()
        .find_map(|address| TcpStream::connect_timeout(&address, timeout).ok())?;
    stream.set_nodelay(true).ok()?;
    Some(stream.into_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_stays_awake_only_once_migrates_follow_each_other_and_not_for_long() {
        let mut lingering = Lingering::default();
        lingering.begin(1000, 1100, 200);
        assert!(!lingering.goes_on(1100), "the first one says nothing");
        lingering.begin(1200, 1250, 200);
        assert!(lingering.goes_on(1449) && !lingering.goes_on(1450));
        lingering.end();
        assert!(!lingering.goes_on(1300));
        lingering.begin(1700, 1800, 200);
        assert!(!lingering.goes_on(1800), "it came late");
    }
}
