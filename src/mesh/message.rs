//! All that one core may ask of another.
//!
//! Requests for another core's slots travel as `Part`s in batches over the rings; everything rarer is a `CoreMessage`
//! in the inbox; several shards in one step are a transaction (see `transaction/`).

use std::fs::File;
use std::os::fd::RawFd;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use crate::acl::{User, Users};
use crate::base::slot::Slot;
use crate::cluster::{SlotMap, SlotSet};
use crate::config::Config;
use crate::keyspace::Keyspace;
use crate::keyspace::blocked::Waiter;
use crate::keyspace::watch::WatchToken;
use crate::persistence::aof::log::Log;
use crate::persistence::aof::set::Rewrite;
use crate::persistence::flow::Shipment;
use crate::persistence::snapshot::StreamPlace;
use crate::pubsub::{Change, Invalidation, Publication, Whereabouts};
use crate::replication::report::Report;
use crate::replication::{Backlog, Cut, PeerFacts, Replid, SyncRequest};
use crate::resp::request::{Args, Caller, OwnedArgs, Span};
use crate::structures::table::prefetch;

use super::flow::FlowEnd;
use super::place::Place;
use super::primary::{FeedMessage, LinkEvent};

/// What travels over the ring between two cores: everything one turn has produced.
pub enum Batch {
    /// Requests for the receiver's shard.
    Requests(Vec<Box<Part>>),
    /// The same parts back, with their replies.
    Replies(Vec<Box<Part>>),
}

/// The requests of one connection for one shard, and later their replies.
#[derive(Default)]
pub struct Part {
    /// The connection, on its home core.
    pub place: Place,
    /// Who asks.
    pub caller: Caller,
    /// The requests in order.
    pub requests: Vec<PartRequest>,
    spans: Vec<Span>,
    bytes: Vec<u8>,
    /// The replies one after the other.
    pub out: Vec<u8>,
    /// Where each reply ends in `out`.
    pub ends: Vec<usize>,
    /// The requests are one transaction: EXEC with everything on one shard.
    pub exec: Option<ExecUnit>,
    /// Those that took long: for the slow log, which the home core writes, since it knows the client.
    pub slow: Vec<SlowRun>,
    /// Somebody monitors: whose these requests are, for the lines that the receiver writes when it has run them.
    pub shown: Option<String>,
    /// The last request has found nothing and its client is blocked: it has no reply yet.
    pub blocked: Option<Arc<Waiter>>,
}

/// A command that took as long as the slow log or the latency monitor wants to hear of.
#[derive(Clone, Debug)]
pub struct SlowRun {
    /// Place in the command table.
    pub command: u16,
    /// Its arguments.
    pub args: OwnedArgs,
    /// Who asked.
    pub caller: Caller,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}

/// What EXEC adds to its requests.
#[derive(Clone, Debug)]
pub struct ExecUnit {
    /// The client's watch: a broken one makes the whole a null reply.
    pub watch: Option<Watch>,
    /// What monitors see of EXEC itself, behind its commands.
    pub shown: Vec<u8>,
}

/// A watch whose keys are all on the receiver's shard. It ends there, with the EXEC: were it taken off by a message of
/// its own, that could come before the EXEC, and a change in between would go unnoticed.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Says whether a key has changed.
    pub token: Arc<WatchToken>,
    /// Database and key.
    pub keys: Vec<(u32, Box<[u8]>)>,
}

/// One request within a part.
#[derive(Clone, Copy, Debug)]
pub struct PartRequest {
    /// Place in the command table.
    pub command: u16,
    /// Which argument is the first key; zero for none.
    pub key: u16,
    /// Slot of that key.
    pub slot: Slot,
    /// Hash of that key.
    pub hash: u64,
    spans_from: u32,
    spans_to: u32,
}

impl Part {
    /// Empties it for the next use; memory beyond a usual batch is given back.
    pub fn reset(&mut self) {
        const KEEP: usize = 64 * 1024;
        self.requests.clear();
        self.spans.clear();
        self.bytes.clear();
        self.out.clear();
        self.ends.clear();
        self.exec = None;
        self.slow.clear();
        self.shown = None;
        self.blocked = None;
        self.bytes.shrink_to(KEEP);
        self.out.shrink_to(KEEP);
        self.spans.shrink_to(KEEP / 16);
        self.requests.shrink_to(KEEP / 32);
    }

    /// Appends a request, copying its arguments.
    #[inline]
    pub fn push(&mut self, command: u16, args: &Args<'_>, key: usize, hash: u64, slot: Slot) {
        let (bytes, spans) = args.parts();
        let from = self.spans.len() as u32;
        // The arguments of one request lie close together in the input; one copy takes them all, separators included.
        let (Some(first), Some(last)) = (spans.first(), spans.last()) else {
            return;
        };
        let (start, end) = (first.start, last.start + last.length);
        let base = self.bytes.len() as u32;
        self.bytes
            .extend_from_slice(&bytes[start as usize..end as usize]);
        self.spans.extend(spans.iter().map(|span| Span {
            start: span.start - start + base,
            length: span.length,
        }));
        self.requests.push(PartRequest {
            command,
            key: key as u16,
            slot,
            hash,
            spans_from: from,
            spans_to: self.spans.len() as u32,
        });
    }

    /// The arguments of a request.
    #[inline]
    pub fn args(&self, request: &PartRequest) -> Args<'_> {
        let spans = &self.spans[request.spans_from as usize..request.spans_to as usize];
        let args = Args::new(&self.bytes, spans, self.caller);
        if request.key > 0 {
            args.with_key(usize::from(request.key), request.hash, request.slot)
        } else {
            args
        }
    }

    /// Brings the part itself into the cache: another core has written it.
    #[inline]
    pub fn prefetch(&self) {
        let start = std::ptr::from_ref(self).cast::<u8>();
        for behind in (0..size_of::<Part>()).step_by(LINE) {
            prefetch(start.wrapping_add(behind));
        }
    }

    /// Brings its first requests into the cache; where there are many, the processor sees the rest coming.
    #[inline]
    pub fn prefetch_requests(&self) {
        prefetch_start(&self.requests);
        prefetch_start(&self.spans);
        prefetch_start(&self.bytes);
    }

    /// Brings its first replies into the cache.
    #[inline]
    pub fn prefetch_replies(&self) {
        prefetch_start(&self.ends);
        prefetch_start(&self.out);
    }

    /// The reply to request `index`.
    pub fn reply(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.out[start..self.ends[index]]
    }
}

/// Bytes of a line of the cache.
const LINE: usize = 64;
/// Lines of each vector that are asked for.
const LINES_AHEAD: usize = 8;

fn prefetch_start<T>(items: &[T]) {
    let start = items.as_ptr().cast::<u8>();
    for behind in (0..size_of_val(items)).step_by(LINE).take(LINES_AHEAD) {
        prefetch(start.wrapping_add(behind));
    }
}

/// A rare message to a core.
pub enum CoreMessage {
    /// A connection to serve.
    Accept(Accepted),
    /// A question; the answer goes back under the same number.
    Ask {
        /// Which core wants to know.
        from: u16,
        /// The asker's number for it.
        ticket: u64,
        /// The question.
        ask: CoreAsk,
    },
    /// An answer.
    Answer {
        /// The asker's number for it.
        ticket: u64,
        /// The answer.
        answer: CoreAnswer,
    },
    /// A client has given up watching these keys of the receiver's shard.
    Forget {
        /// Its watch.
        token: Arc<WatchToken>,
        /// Database and key.
        keys: Vec<(u32, Box<[u8]>)>,
    },
    /// A blocked client is over and leaves the keys of the receiver's shard.
    Depart(Arc<Waiter>),
    /// A blocked client of the receiver has been served.
    Served {
        /// Its connection.
        place: Place,
        /// What it was blocked as.
        waiter: Arc<Waiter>,
        /// The reply.
        reply: Vec<u8>,
    },
    /// A transaction that the receiver began has all its participants.
    Complete,
    /// Memory is used up and the receiver has keys that deserve to go: it looks, which it does every turn.
    Evict,
    /// Something to be said to clients of the receiver, in order.
    Push(Vec<Push>),
    /// Connections of the receiver whose PUBLISH has reached everybody, with the numbers of receivers.
    Counted(Vec<(Place, usize)>),
    /// What another core's clients subscribe to and track, as it changes: to be known on the receiver's shard.
    Audience {
        /// Which core's.
        from: u16,
        /// That core's number for it.
        number: u64,
        /// What changes.
        changes: Arc<[Change]>,
    },
    /// The receiver's changes are known on a shard.
    AudienceKnown {
        /// On which.
        by: u16,
        /// The receiver's number for them.
        number: u64,
    },
    /// Lines for a MONITOR client of this core.
    Monitor {
        /// The client.
        client: u64,
        /// The lines, as RESP.
        lines: Vec<u8>,
    },
    /// DEBUG SLEEP on another core: the receiver serves nobody until then either.
    Stall {
        /// When to go on.
        until: Instant,
    },
    /// Keys from a file for the receiver's shard.
    Load(Shipment),
    /// New append-only files are there: the receiver cuts all shards.
    CutLogs(Box<Rewrite>),
    /// To the first core: a moment of all shards is to be marked in the stream that replicas follow.
    CutStream(Box<Cut>),
    /// To the control core: the shards hand on what they do from here on, in the order of the shards.
    Flows(Vec<FlowEnd>),
    /// To the control core: a cut was made while the shards handed on nothing. What came before of a primary's stream has
    /// been told.
    CutWithoutStream {
        /// The cut's number.
        number: u64,
        /// The database selected in the primary's stream.
        db: u32,
    },
    /// To the control core: the copy of the cut with this number could not be begun.
    CopyRefused(u64),
    /// All that the receiver's shard wrote down before its present file is in a base of so many bytes.
    Rebase(u64),
    /// From now on the receiver's shard writes its changes down here.
    KeepLog(Box<Log>),
    /// The share of the receiver's shard, brought back from files.
    Adopt(Box<Keyspace>),
    /// Say when everything that was sent before has arrived at the receiver's shard.
    Arrived(mpsc::Sender<()>),
    /// All keys of the file are where they belong: the receiver serves.
    Loaded,
    /// The thread that has read files again for this connection of the receiver is done.
    Reloaded(Place),
    /// To the core that applies the stream of a primary.
    Feed(FeedMessage),
    /// To the control core: the thread of a link, by its number, wants something.
    Link(u64, LinkEvent),
    /// To the control core: bytes of the stream of this link have been applied.
    Applied(u64, Vec<Vec<u8>>),
    /// To the control core: how much of its pieces a core has executed, and how much of them is in nobody's way.
    PiecesExecuted {
        /// The link.
        link: u64,
        /// The core.
        core: u16,
        /// Bytes executed.
        executed: u64,
        /// Bytes dealt with, or such that nothing can be done without more.
        taken: u64,
        /// The selected database.
        db: u32,
    },
    /// To the control core: the first core wants the stream of this link to rest between two commands, or wants that no
    /// more.
    WantsRest(u64, bool),
    /// To the control core: the stream of this link is applied no further.
    FeedEnded {
        /// The link.
        link: u64,
        /// The core.
        core: u16,
        /// Bytes of it that were executed there.
        executed: u64,
        /// The selected database.
        db: u32,
        /// It held what no primary sends: nobody can go on with it.
        broken: bool,
    },
    /// To the control core: the snapshot loaded at the start is this moment of this history.
    Restored {
        /// The history's name.
        id: Replid,
        /// Bytes of its stream.
        offset: u64,
        /// The selected database.
        db: u32,
        /// What a primary's stream goes on with: the ends of keys that were not loaded. Bytes count from 1.
        ends: Box<Backlog>,
        /// Told when the stream goes on from there; dropped where nothing is to be waited for.
        begun: mpsc::Sender<()>,
    },
    /// To the first core: makes all shards ready for a full copy.
    BeginCopy {
        /// The data that are there go at once; else they stay until the copy is in.
        empties: bool,
        /// Commands that need the data are refused meanwhile.
        refuses: bool,
        /// Told when the shards are ready.
        done: mpsc::Sender<()>,
    },
    /// Until `Loaded`, commands that need the data are refused; or, where a copy is loaded beside them, those few that it
    /// would disturb.
    Loading {
        /// It is loaded beside the data.
        beside: bool,
    },
    /// To the first core: the copy is in and takes its place, or is given up.
    EndCopy {
        /// It is whole.
        whole: bool,
        /// Told when it is in its place.
        done: mpsc::Sender<()>,
    },
    /// A link of the receiver's to another server has been made, or could not be (MIGRATE).
    Linked {
        /// Its place among the connections.
        place: Place,
        /// The socket; the receiver owns it.
        fd: Option<RawFd>,
    },
    /// To the control core: a connection that has asked for the stream, with its descriptor.
    Replica(Box<Candidate>),
    /// To the control core: a client waits until replicas have what it has written.
    AwaitReplicas(Box<AwaitReplicas>),
    /// To the control core: that client waits no longer. It is answered with what there is, if it still wants to know.
    StopAwaiting {
        /// Its core.
        core: u16,
        /// Its connection.
        place: Place,
        /// As it was asked for.
        number: u64,
    },
    /// To the control core: a full copy is over, or a part of it.
    CopyEnded {
        /// The copy's number.
        number: u64,
        /// How.
        outcome: CopyOutcome,
    },
    /// From the control core: so many replicas have what the client has written.
    ReplicasHave {
        /// Its connection.
        place: Place,
        /// As it was asked for.
        number: u64,
        /// How many, of which offset.
        have: Have,
    },
    /// Delete all keys of these slots of the receiver's shard: another node has them now.
    DropKeys(Arc<SlotSet>),
    /// To the first core: delete everything.
    DropAllKeys,
    /// End subscriptions to sharded channels of these slots, and say so.
    DropSubscribers(Arc<SlotSet>),
    /// To the control core: a message for subscribers on other nodes.
    BusPublish(Box<BusMessage>),
    /// To the first core: a message from another node, for all subscribers here.
    BusDeliver(Box<BusMessage>),
    /// The server ends: reply what can be replied and stop.
    Stop,
}

/// A message to subscribers on its way to other nodes, or from them.
#[derive(Debug)]
pub struct BusMessage {
    /// It is for a sharded channel.
    pub is_sharded: bool,
    /// The channel.
    pub channel: Box<[u8]>,
    /// The message.
    pub message: Box<[u8]>,
}

/// A connection on its way from a data core to the control core: a replica from now on.
#[derive(Debug)]
pub struct Candidate {
    /// The connection; the receiver owns the socket.
    pub connection: Accepted,
    /// What it has said of itself.
    pub facts: PeerFacts,
    /// What it asks for.
    pub request: SyncRequest,
    /// What has been read behind its request.
    pub input: Vec<u8>,
    /// When it connected, Unix milliseconds.
    pub created_ms: i64,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// As whom it acts.
    pub user: Arc<User>,
    /// Selected database.
    pub db: u32,
    /// HELLO 3.
    pub resp3: bool,
}

/// How a full copy for replicas ended. They are named by their places.
#[derive(Debug)]
pub enum CopyOutcome {
    /// These have got it.
    Sent(Vec<u32>),
    /// It is in this file, to be sent to each.
    Written(File),
    /// It has been sent to this one, or could not be.
    FileSent(u32, bool),
    /// It could not be made, and why.
    Failed(String),
}

/// What the control core says to a client in WAIT or WAITAOF.
#[derive(Clone, Copy, Debug)]
pub struct Have {
    /// So many replicas have what was waited for.
    pub replicas: usize,
    /// The offset that they were asked for, if all that the client has written is known to stand before it.
    pub offset: Option<u64>,
}

/// WAIT and WAITAOF on their way to the control core.
#[derive(Debug)]
pub struct AwaitReplicas {
    /// The client's core.
    pub core: u16,
    /// Its connection.
    pub place: Place,
    /// That core's number for it.
    pub number: u64,
    /// How many replicas.
    pub replicas: i64,
    /// They are to have it on disk.
    pub on_disk: bool,
    /// What it has written is known to stand before this offset.
    pub offset: Option<u64>,
    /// Else a stamp above those of all that it has written; without, all counts that was written by now.
    pub stamp: Option<u64>,
}

/// FAILOVER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailoverOrder {
    /// Hand over.
    Begin {
        /// To whom; to whoever is ready first without.
        target: Option<(String, i64)>,
        /// For how long to try, in milliseconds.
        timeout_ms: Option<i64>,
        /// Then hand over anyway.
        force: bool,
    },
    /// Stay what we are.
    Abort,
}

/// Something that clients are sent without having asked.
#[derive(Clone, Debug)]
pub enum Push {
    /// To all subscribers of the receiving core.
    Publication {
        /// What.
        publication: Arc<Publication>,
        /// The core and the connection that wait for the number of receivers.
        asker: Option<(u16, Place)>,
    },
    /// To one client: keys are no longer valid.
    Invalidation {
        /// Which client.
        place: Place,
        /// The core and place of the client that has read them, if another one is told.
        on_behalf_of: Option<(u16, Place)>,
        /// Which keys.
        invalidation: Arc<Invalidation>,
    },
    /// The client that this one redirects to has gone.
    RedirectBroken {
        /// Which client.
        place: Place,
    },
}

impl Push {
    /// Bytes of memory it takes at most, about: several cores may share it.
    pub fn size(&self) -> usize {
        match self {
            Push::Publication { publication, .. } => publication.size(),
            Push::Invalidation { invalidation, .. } => invalidation.size(),
            Push::RedirectBroken { .. } => 0,
        }
    }
}

/// A descriptor on its way to the core that will serve it.
#[derive(Debug)]
pub struct Accepted {
    /// The socket; the receiver owns it.
    pub fd: RawFd,
    /// The client's id.
    pub client: u64,
    /// `ip:port` of the peer, or the path of the unix socket with `:0`.
    pub peer: String,
    /// `ip:port` of our end.
    pub local: String,
    /// Came over a unix socket.
    pub unix: bool,
}

/// A question to a core about its connections or itself, or to the control core.
#[derive(Clone, Debug)]
pub enum CoreAsk {
    /// The new configuration.
    Configure(Arc<Config>),
    /// The new users; clients of users that are gone are closed.
    SetUsers {
        /// All of them.
        users: Arc<Users>,
        /// The client who asked for the change: it reads the answer before it is closed.
        asker: u64,
    },
    /// To the control core: ACL SETUSER and the like.
    ChangeUsers {
        /// What to do.
        change: AclChange,
        /// The client who asks.
        asker: u64,
    },
    /// One line for each client that fits.
    ListClients(ClientFilter),
    /// Close clients that fit.
    KillClients(ClientFilter),
    /// Hold back commands.
    Pause {
        /// Until when, Unix milliseconds; zero ends the pause.
        until_ms: i64,
        /// Only commands that write.
        writes_only: bool,
        /// Answered when what came before has run.
        waits: bool,
    },
    /// Wake a blocked client.
    Unblock {
        /// Which.
        client: u64,
        /// By an error instead of a time-out.
        error: bool,
    },
    /// Where a client is.
    FindClient(u64),
    /// How many clients there are of each size class, and the bytes they take: DEBUG CLIENT-EVICTION.
    CountClients,
    /// Set the counters to zero.
    ResetStats,
    /// Monitors were added or removed: `(core, client)` of all.
    Monitors(Arc<Vec<(u16, u64)>>),
    /// To the control core: a MONITOR client begins (true) or ends.
    SetMonitor {
        /// Its core.
        core: u16,
        /// Its id.
        client: u64,
        /// Begins or ends.
        on: bool,
    },
    /// To the control core: CONFIG SET.
    ConfigSet {
        /// Names and values.
        pairs: Vec<(Vec<u8>, Vec<u8>)>,
        /// The client is on this machine, which `enable-protected-configs local` asks for.
        local: bool,
    },
    /// To the control core: CONFIG REWRITE.
    ConfigRewrite {
        /// Every directive, those at their defaults too: DEBUG CONFIG-REWRITE-FORCE-ALL.
        all: bool,
    },
    /// To the control core: CLIENT PAUSE and UNPAUSE, applied everywhere.
    SetPause {
        /// Until when, Unix milliseconds; zero ends the pause.
        until_ms: i64,
        /// Only commands that write.
        writes_only: bool,
        /// Answered when what came before has run everywhere; not within EXEC, which has the shards that it may wait for.
        waits: bool,
    },
    /// To the control core: SHUTDOWN.
    Shutdown {
        /// As the arguments say: `Some(true)` SAVE, `Some(false)` NOSAVE.
        save: Option<bool>,
        /// NOW: do not wait for replicas.
        now: bool,
        /// FORCE: go on where saving fails.
        force: bool,
    },
    /// To the first core: the last snapshot before the server stops. Answered `Failed` when it cannot be written and FORCE
    /// was not said; else nothing runs any more when the answer comes.
    FinalSave {
        /// FORCE was said.
        force: bool,
        /// On a replica whose link is down: the moment of its primary's stream that the data are.
        followed: Option<StreamPlace>,
    },
    /// To the control core, which passes it on to the first one: SAVE and BGSAVE of a replica, between two commands of its
    /// primary's stream. Answered `Reply` or `Failed`.
    Save {
        /// BGSAVE.
        background: bool,
        /// BGSAVE SCHEDULE.
        schedule: bool,
        /// On a replica whose link is down: the moment of its primary's stream that the data are.
        followed: Option<StreamPlace>,
    },
    /// To the control core: DEBUG REPLICATE, a command that goes into the stream as it is; with none, DEBUG CHANGE-REPL-ID.
    DebugStream(Option<Vec<u8>>),
    /// To the control core: REPLICAOF. Answered `Known` when nothing changes, `Failed` when it cannot be.
    ReplicaOf {
        /// Host and port; none for NO ONE.
        primary: Option<(Vec<u8>, u16)>,
        /// Answered when the change is in force everywhere; else when it has begun.
        waits: bool,
        /// Who asks, for the log.
        client: String,
    },
    /// To the control core: answered when every core knows of all changes of the role that have been asked for.
    AwaitRole,
    /// What the server is to others has changed.
    SetRole(Role),
    /// To the control core: SHUTDOWN ABORT. Answered `Failed` when none is under way.
    AbortShutdown,
    /// To the control core: how replication stands, with all that has been executed so far.
    Replication {
        /// What the asker wants to find in the answer again.
        note: u32,
    },
    /// To the control core: how many replicas have all that has been executed so far. WAIT where nobody may block.
    CountReplicas {
        /// On disk.
        on_disk: bool,
    },
    /// To the control core: FAILOVER.
    Failover(FailoverOrder),
    /// Who owns which slot has changed.
    TakeSlotMap(Arc<SlotMap>),
    /// How many keys there are, in one slot or at all. Counted when the shard is in hand.
    CountKeys(Option<Slot>),
    /// In which slots there are keys. Found out when the shard is in hand.
    SlotsWithKeys,
    /// To the control core: CLUSTER. Answered `Reply` or `Failed`.
    Cluster(Box<ClusterAsk>),
}

/// A subcommand of CLUSTER on its way to the control core.
#[derive(Clone, Debug)]
pub struct ClusterAsk {
    /// The whole request.
    pub args: Vec<Vec<u8>>,
    /// The reply is written in RESP3.
    pub resp3: bool,
    /// Shards may be in hand, for which nobody must wait.
    pub in_transaction: bool,
}

/// What a core knows of replication when it lets commands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// This server is a replica.
    pub is_replica: bool,
    /// A replica's link is up.
    pub link_is_up: bool,
    /// It has just become one: clients that block are sent away.
    pub has_become_replica: bool,
}

/// What is to be done with the users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AclChange {
    /// Make one or change one.
    SetUser {
        /// Its name.
        name: Vec<u8>,
        /// The rules, as the client gave them.
        rules: Vec<Vec<u8>>,
    },
    /// Remove these; answered by how many there were.
    DelUser(Vec<Vec<u8>>),
    /// Replace all by those of the ACL file.
    Load,
    /// Write all into the ACL file.
    Save,
}

/// Which clients: CLIENT LIST and CLIENT KILL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// One of these ids, when not empty.
    pub ids: Vec<u64>,
    /// `ip:port` of the peer.
    pub peer: Option<Vec<u8>>,
    /// `ip:port` of our end.
    pub local: Option<Vec<u8>>,
    /// `normal`, `pubsub`, `master`, `replica`.
    pub kind: Option<ClientKind>,
    /// Authenticated as this user.
    pub user: Option<Vec<u8>>,
    /// Not this client.
    pub not: Option<u64>,
}

/// Client kinds of CLIENT LIST TYPE, CLIENT KILL TYPE and the output buffer limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// Any other.
    Normal,
    /// A replica of ours.
    Replica,
    /// Subscribed to something.
    PubSub,
    /// Our primary.
    Primary,
}

/// What a core answers.
#[derive(Clone, Debug)]
pub enum CoreAnswer {
    /// Done.
    Done,
    /// That is so already.
    Known,
    /// So many.
    Count(usize),
    /// Here.
    Found(Whereabouts),
    /// Clients and bytes by size class.
    Classes(Vec<(usize, u64)>),
    /// Lines with the id they are ordered by.
    Lines(Vec<(u64, Vec<u8>)>),
    /// This reply.
    Reply(Vec<u8>),
    /// These slots.
    Slots(Box<SlotSet>),
    /// How replication stands.
    Replication {
        /// All of it.
        report: Box<Report>,
        /// As it came with the question.
        note: u32,
    },
    /// It cannot be done: the error's text.
    Failed(Vec<u8>),
}
