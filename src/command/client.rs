//! What is remembered of a client, and what the handlers of client commands may ask of their core.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::acl::{ChannelNeed, User, Users};
use crate::config::Config;
use crate::keyspace::watch::WatchToken;
use crate::mesh::message::{ClientFilter, ClientKind, CoreAnswer, CoreAsk};
use crate::observe::Observatory;
use crate::pubsub::{Subscriptions, Topic, Whereabouts};
use crate::replication::{PeerFacts, SyncRequest};
use crate::resp::request::{Args, Caller, OwnedArgs};
use crate::resp::{ErrorReply, Reply};
use crate::script::CoreScripts;
use crate::shard::{Shard, Shards};

use super::table::Registered;

/// A handler for one shard's keys: decides first, writes the reply last.
pub type ShardFn = fn(&mut Shard, &Args<'_>, &mut Reply<'_>) -> Result<(), ErrorReply>;

/// A handler for keys that concern each other, with all their shards at hand.
pub type PlanFn = fn(&mut Shards<'_>, &Args<'_>, &mut Reply<'_>) -> Result<(), ErrorReply>;

/// A handler that needs only the client and its core.
pub type ClientFn = fn(&mut Context<'_>, &Args<'_>, &mut Reply<'_>) -> Result<Step, ErrorReply>;

/// Writes a reply from what other cores answered.
pub type FinishFn = fn(&mut Context<'_>, Vec<CoreAnswer>, &mut Reply<'_>) -> Result<(), ErrorReply>;

/// What a client handler works with.
pub struct Context<'a> {
    /// The client.
    pub client: &'a mut Client,
    /// Its core, as far as commands need it.
    pub core: &'a CoreView<'a>,
}

/// A core as client handlers see it.
pub struct CoreView<'a> {
    /// Which core this is.
    pub index: usize,
    /// How many shards there are.
    pub shards: usize,
    /// Unix milliseconds of this turn.
    pub now: i64,
    /// The configuration.
    pub config: &'a Arc<Config>,
    /// All users.
    pub users: &'a Arc<Users>,
    /// Counters of all cores and the logs they share.
    pub observatory: &'a Observatory,
    /// Scripts: this core's and what all share.
    pub scripting: &'a CoreScripts,
}

/// How a client handler ends.
#[derive(Debug)]
pub enum Step {
    /// The reply is written.
    Done,
    /// The reply is written; the connection closes after it.
    Close,
    /// Others must be asked first; `then` writes the reply.
    Ask {
        /// Whom.
        whom: Whom,
        /// What.
        ask: CoreAsk,
        /// What to do with the answers, in the order of the cores.
        then: FinishFn,
    },
    /// Begin or drop watches, or run a transaction: the engine does it.
    Watch,
    /// Drop all watches; the handler has replied.
    Unwatch,
    /// Drop all watches and answer with this error: EXEC after a command was refused.
    Fail(ErrorReply),
    /// Drop all watches and end its MONITOR, if any; the handler has replied. RESET.
    Reset,
    /// Run the queued commands.
    Exec,
    /// Begin or end subscriptions to the arguments from 1 on; the engine confirms each.
    Subscription {
        /// To what.
        topic: Topic,
        /// Begin or end.
        begins: bool,
    },
    /// Run this over every shard, lent whole; it writes the reply. For DEBUG, which must not be a keyed command.
    Whole(PlanFn),
    /// Read files again, in the place of all data: DEBUG RELOAD and DEBUG LOADAOF.
    Reload(Reload),
    /// Wait until others have what the client has written. WAIT and WAITAOF; not where nobody may block.
    Await(Await),
    /// The connection becomes the control core's: it asks for the stream of changes.
    HandOver(SyncRequest),
    /// Move keys to another server. MIGRATE.
    Migrate(Box<Migration>),
    /// Sleep so long without serving anybody: DEBUG SLEEP, and DEBUG STALL-SHARD for one shard's core only.
    Stall {
        /// How long.
        time: std::time::Duration,
        /// The one that sleeps; all of them and the control core without.
        only: Option<usize>,
    },
}

/// What is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The snapshot: DEBUG RELOAD, with the words that it was told.
    Snapshot {
        /// It is written before.
        saves: bool,
        /// What is in memory goes before.
        flushes: bool,
        /// Keys of the file take the place of those that are there.
        merges: bool,
    },
    /// The append-only files: DEBUG LOADAOF.
    Logs,
}

/// What MIGRATE is asked for.
#[derive(Clone, Debug, Default)]
pub struct Migration {
    /// Host and port.
    pub target: (Vec<u8>, Vec<u8>),
    /// The keys to move.
    pub keys: VecDeque<Box<[u8]>>,
    /// Their database here.
    pub db: u32,
    /// The database there.
    pub target_db: i64,
    /// Milliseconds that each exchange may take.
    pub timeout_ms: i64,
    /// They stay here too.
    pub copy: bool,
    /// They take the place of keys that are there.
    pub replace: bool,
    /// Password, or user and password; empty for none.
    pub auth: Vec<Vec<u8>>,
}

/// What WAIT and WAITAOF wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Await {
    /// So many replicas have it.
    pub replicas: i64,
    /// WAITAOF: it is on disk here, where this is true, and on the replicas' disks.
    pub on_disk: Option<bool>,
    /// Until when to wait, Unix milliseconds; `None` for ever.
    pub until: Option<i64>,
}

/// Replies OK, or what went wrong where the question went.
pub fn ok_or_failed(
    _: &mut Context<'_>,
    answers: Vec<CoreAnswer>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    for answer in answers {
        if let CoreAnswer::Failed(text) = answer {
            return Err(ErrorReply::text(text));
        }
    }
    reply.ok();
    Ok(())
}

/// Whom a question goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Every shard's core, this one included.
    Cores,
    /// Every core that has clients: those of the shards, then the control core, which has the replicas.
    Clients,
    /// The control core.
    Control,
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// Replies are sent.
    #[default]
    On,
    /// None is sent.
    Off,
    /// The next command's is not sent.
    SkipNext,
    /// This command's is not sent.
    Skip,
}

/// What is remembered of a client.
#[derive(Debug)]
pub struct Client {
    /// Rises in the order of accepting, over all cores.
    pub id: u64,
    /// `ip:port` of the peer.
    pub peer: String,
    /// `ip:port` of our end.
    pub local: String,
    /// Came over a unix socket.
    pub unix: bool,
    /// Descriptor number, for CLIENT LIST.
    pub fd: i32,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_version: Vec<u8>,
    /// Selected database.
    pub db: u32,
    /// HELLO 3.
    pub resp3: bool,
    /// Whether it is let in: it has proved who it is, or nobody needs to.
    pub authenticated: bool,
    /// As whom it acts.
    pub user: Arc<User>,
    /// It has proved who it is, or nobody needed to when it came: what the default user needs later does not matter.
    proved: bool,
    /// It is let in and its user may do everything: there is nothing to ask about its commands.
    trusted: bool,
    /// The user it was refused to become just now; its core writes that down.
    pub denied: Option<Vec<u8>>,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// Between MULTI and EXEC.
    pub multi: Option<Box<Multi>>,
    /// WATCH.
    pub watching: Option<Box<Watching>>,
    /// MONITOR.
    pub monitor: bool,
    /// It has subscriptions.
    pub subscribed: bool,
    /// What it has subscribed to.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// CLIENT TRACKING.
    pub tracking: Option<Box<ClientTracking>>,
    /// What CLIENT TRACKING has asked for while the client to redirect to is looked for.
    pub tracking_wanted: Option<Box<ClientTracking>>,
    /// `tracking` has changed: the engine tells the shards.
    pub tracking_changed: bool,
    /// The keys that its next command reads are remembered for it.
    pub remembers: bool,
    /// Its commands need a second look: subscriptions forbid most of them, or CLIENT CACHING concerns the next one.
    pub special: bool,
    /// Among the requests that have been cut out of its input and not run is one that is large.
    pub heavy: bool,
    /// ASKING has been sent, and concerns the next command, a whole transaction included.
    pub asking: bool,
    /// READONLY: it reads from replicas in cluster mode.
    pub readonly: bool,
    /// The connection closes once the reply at hand is sent: CLIENT KILL of oneself.
    pub closing: bool,
    /// It is the stream of our primary: let in everywhere, answered nothing.
    pub primary: bool,
    /// REPLCONF: what it has said of itself as a replica.
    pub peer_facts: Option<Box<PeerFacts>>,
    /// It follows the stream: a replica of ours.
    pub is_replica: bool,
    /// When it connected, Unix milliseconds.
    pub created_ms: i64,
    /// When it last sent something, Unix milliseconds.
    pub active_ms: i64,
    /// Its last command, for CLIENT LIST.
    pub last_command: Option<&'static Registered>,
}

/// Commands queued since MULTI.
#[derive(Debug, Default)]
pub struct Multi {
    /// The queue.
    pub queue: Vec<Queued>,
    /// A command was refused: EXEC aborts.
    pub refused: bool,
    /// A script is queued that has declared what it does, and may write.
    pub has_writing_script: bool,
    /// Bytes of memory the queue holds.
    pub bytes: usize,
}

/// One queued command.
#[derive(Debug)]
pub struct Queued {
    /// Which.
    pub command: &'static Registered,
    /// Its arguments.
    pub args: OwnedArgs,
}

/// CLIENT TRACKING.
#[derive(Clone, Debug, Default)]
pub struct ClientTracking {
    /// The client that is told instead; zero for none.
    pub redirect: u64,
    /// Where that client is.
    pub redirect_at: Option<Whereabouts>,
    /// That client has gone.
    pub broken: bool,
    /// It is told of all keys with its prefixes.
    pub bcast: bool,
    /// Keys are remembered only after CLIENT CACHING YES.
    pub optin: bool,
    /// Keys are remembered except after CLIENT CACHING NO.
    pub optout: bool,
    /// CLIENT CACHING has been given for the next command.
    pub caching: bool,
    /// It is not told of its own changes.
    pub noloop: bool,
    /// Prefixes of BCAST, in order.
    pub prefixes: Vec<Box<[u8]>>,
    /// Bytes of memory that the prefixes take, here and in the index of a shard.
    pub bytes: usize,
}

impl ClientTracking {
    /// Bytes of memory that a prefix takes beside its own length, with its group of listeners.
    const PREFIX_BYTES: usize = 128;

    /// Works out `bytes`.
    pub fn measure(&mut self) {
        let lengths: usize = self.prefixes.iter().map(|prefix| prefix.len()).sum();
        self.bytes = Self::PREFIX_BYTES * self.prefixes.len() + 3 * lengths;
    }

    /// Whether the keys that the next command reads are remembered.
    fn remembers(&self) -> bool {
        !self.bcast
            && match self.caching {
                true => !self.optout,
                false => !self.optin,
            }
    }
}

/// Keys watched.
#[derive(Debug)]
pub struct Watching {
    /// Shared with the shards that own the keys.
    pub token: Arc<WatchToken>,
    /// Database and key.
    pub keys: Vec<(u32, Box<[u8]>)>,
    /// Bytes of memory they take, here and where they are registered.
    pub bytes: usize,
}

impl Client {
    /// A client that has just connected.
    pub fn new(
        id: u64,
        peer: String,
        local: String,
        unix: bool,
        fd: i32,
        now: i64,
        users: &Users,
    ) -> Self {
        let mut client = Client {
            id,
            peer,
            local,
            unix,
            fd,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_version: Vec::new(),
            db: 0,
            resp3: false,
            authenticated: false,
            user: users.default_user().clone(),
            proved: false,
            trusted: false,
            denied: None,
            no_evict: false,
            no_touch: false,
            reply_mode: ReplyMode::On,
            multi: None,
            watching: None,
            monitor: false,
            subscribed: false,
            subscriptions: None,
            tracking: None,
            tracking_wanted: None,
            tracking_changed: false,
            remembers: false,
            special: false,
            heavy: false,
            asking: false,
            readonly: false,
            closing: false,
            primary: false,
            peer_facts: None,
            is_replica: false,
            created_ms: now,
            active_ms: now,
            last_command: None,
        };
        client.become_default(users);
        client
    }

    /// It is the default user again, as a new connection is.
    pub fn become_default(&mut self, users: &Users) {
        self.user = users.default_user().clone();
        self.proved = self.user.is_open();
        self.settle(users);
    }

    /// It has proved to be `user`.
    pub fn become_user(&mut self, user: Arc<User>) {
        self.user = user;
        (self.proved, self.authenticated) = (true, true);
        self.trusted = self.user.is_unrestricted();
    }

    /// Its user has changed, or what the default user needs. False when the user is gone; then it is a client that has
    /// not proved anything.
    pub fn take_over(&mut self, users: &Users) -> bool {
        let user = users
            .get(self.user.name())
            .filter(|user| user.is_same(&self.user));
        let is_there = user.is_some();
        self.proved &= is_there;
        self.user = user.unwrap_or(users.default_user()).clone();
        self.settle(users);
        is_there
    }

    fn settle(&mut self, users: &Users) {
        self.authenticated = self.primary || self.proved || users.default_user().is_open();
        self.trusted = self.primary || self.authenticated && self.user.is_unrestricted();
    }

    /// It is the stream of our primary from here on.
    pub fn become_primary(&mut self) {
        self.primary = true;
        (self.authenticated, self.trusted) = (true, true);
    }

    /// Bytes of memory that what is remembered of it takes beside its own size.
    pub fn memory(&self) -> usize {
        let multi = self.multi.as_ref().map_or(0, |multi| {
            size_of::<Multi>() + multi.bytes + multi.queue.capacity() * size_of::<Queued>()
        });
        let watching = self.watching.as_ref().map_or(0, |watching| {
            size_of::<Watching>() + size_of::<WatchToken>() + watching.bytes
        });
        let subscriptions = self.subscriptions.as_ref().map_or(0, |subscriptions| {
            size_of::<Subscriptions>() + subscriptions.bytes()
        });
        let tracking = self
            .tracking
            .as_ref()
            .map_or(0, |tracking| size_of::<ClientTracking>() + tracking.bytes);
        multi
            + watching
            + subscriptions
            + tracking
            + self.name.capacity()
            + self.lib_name.capacity()
            + self.lib_version.capacity()
            + self.peer.capacity()
            + self.local.capacity()
    }

    /// Whether it has proved who it is, which HELLO insists on.
    pub fn has_proved(&self) -> bool {
        self.proved
    }

    /// What handlers may know of it.
    #[inline]
    pub fn caller(&self) -> Caller {
        Caller {
            // What a primary sends is done as it is said, as what a log says.
            client: if self.primary { 0 } else { self.id },
            db: self.db,
            no_touch: self.no_touch,
            deny_blocking: self.primary,
            from_script: false,
            resp3: self.resp3,
            remembers: self.remembers,
            primary: self.primary,
            asking: self.asking,
            readonly: self.readonly,
        }
    }

    /// Nothing about it needs a second look before a command runs.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.trusted
            && self.multi.is_none()
            && self.reply_mode == ReplyMode::On
            && !(self.monitor | self.special)
    }

    /// The permissions of its user are all that its commands must be looked at for.
    #[inline]
    pub fn is_plain_but_restricted(&self) -> bool {
        self.authenticated
            && !self.trusted
            && self.multi.is_none()
            && self.reply_mode == ReplyMode::On
            && !(self.monitor | self.special)
    }

    /// Whether it listens to something that its user, `before` as it was, must not use any more.
    pub fn has_lost_subscriptions(&self, before: &User) -> bool {
        let Some(subscriptions) = &self.subscriptions else {
            return false;
        };
        let topics = [
            (Topic::Channel, ChannelNeed::Literal),
            (Topic::Pattern, ChannelNeed::Pattern),
            (Topic::Shard, ChannelNeed::Literal),
        ];
        topics.into_iter().any(|(topic, need)| {
            subscriptions.of(topic).any(|name| {
                !self.user.may_use_channel(name, need) && before.may_use_channel(name, need)
            })
        })
    }

    /// Whether its user may do everything.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Whether it comes from this machine: loopback or a unix socket. `enable-debug-command local` asks.
    pub fn is_local(&self) -> bool {
        let host = self.peer.rsplit_once(':').map_or("", |(host, _)| host);
        self.unix || matches!(host, "127.0.0.1" | "::1" | "[::1]")
    }

    /// Which output buffer limit and which CLIENT LIST TYPE it falls under.
    pub fn kind(&self) -> ClientKind {
        if self.primary {
            ClientKind::Primary
        } else if self.is_replica {
            ClientKind::Replica
        } else if self.subscribed {
            ClientKind::PubSub
        } else {
            ClientKind::Normal
        }
    }

    /// Protocol, subscriptions or tracking have changed: works out what depends on them.
    pub fn refresh(&mut self) {
        let tracking = self.tracking.as_ref();
        self.remembers = tracking.is_some_and(|tracking| tracking.remembers());
        self.special = self.asking
            || self.heavy
            || self.subscribed && !self.resp3
            || tracking.is_some_and(|tracking| tracking.optin || tracking.optout);
    }

    /// How many subscriptions of a topic it has.
    pub fn subscriptions(&self, topic: Topic) -> usize {
        let subscriptions = self.subscriptions.as_ref();
        subscriptions.map_or(0, |subscriptions| subscriptions.count(topic))
    }

    /// Whether a filter of CLIENT LIST or CLIENT KILL takes it.
    pub fn fits(&self, filter: &ClientFilter) -> bool {
        (filter.ids.is_empty() || filter.ids.contains(&self.id))
            && filter
                .peer
                .as_ref()
                .is_none_or(|peer| peer == self.peer.as_bytes())
            && filter
                .local
                .as_ref()
                .is_none_or(|local| local == self.local.as_bytes())
            && filter.kind.is_none_or(|kind| kind == self.kind())
            && filter
                .user
                .as_ref()
                .is_none_or(|user| user == self.user.name())
            && filter.not != Some(self.id)
    }
}
