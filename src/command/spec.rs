//! What a command is: one declaration from which routing, gates, ACL categories, COMMAND and the documentation follow.
//!
//! A command group's file declares its commands next to their handlers; `table.rs` gathers them. The literal has no
//! defaults, so a field left out does not compile.

pub use crate::acl::Category as Acl;
use crate::base::bits::bits;
use crate::command::client::{ClientFn, PlanFn, ShardFn};
use crate::resp::request::Args;

/// A command or, within a container, a subcommand.
#[derive(Debug)]
pub struct Command {
    /// Upper-case name; a subcommand's own word only.
    pub name: &'static str,
    /// How many arguments it takes, the name (and the container's name) included.
    pub arity: Arity,
    /// What gates and tools need to know.
    pub flags: Flags,
    /// ACL categories beyond those that follow from the flags.
    pub acl: Acl,
    /// Where the keys are.
    pub keys: &'static [KeySpec],
    /// What COMMAND DOCS says.
    pub docs: Docs,
    /// How far it travels and what runs.
    pub run: Run,
    /// Subcommands, for a container.
    pub subcommands: &'static [Command],
}

/// How many arguments a command takes, its name included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Exactly so many.
    Exactly(u8),
    /// So many or more.
    AtLeast(u8),
}

impl Arity {
    /// Whether so many arguments will do.
    #[inline]
    pub fn accepts(self, count: usize) -> bool {
        match self {
            Arity::Exactly(n) => count == usize::from(n),
            Arity::AtLeast(n) => count >= usize::from(n),
        }
    }

    /// As COMMAND INFO shows it: negative for "at least".
    pub fn shown(self) -> i64 {
        match self {
            Arity::Exactly(n) => i64::from(n),
            Arity::AtLeast(n) => -i64::from(n),
        }
    }
}

bits! {
    /// Command flags, with the words of COMMAND INFO. A word that is empty is ours and never shown.
    Flags: u64 {
        /// Changes data.
        WRITE = 0, "write";
        /// Reads data.
        READONLY = 1, "readonly";
        /// Refused while memory is used up.
        DENYOOM = 2, "denyoom";
        /// For the operator.
        ADMIN = 3, "admin";
        /// Publish and subscribe.
        PUBSUB = 4, "pubsub";
        /// Not from scripts.
        NOSCRIPT = 5, "noscript";
        /// May block the client.
        BLOCKING = 6, "blocking";
        /// Allowed while loading.
        LOADING = 7, "loading";
        /// Allowed on a replica that lost its primary.
        STALE = 8, "stale";
        /// Not shown by MONITOR.
        SKIP_MONITOR = 9, "skip_monitor";
        /// Not in the slow log.
        SKIP_SLOWLOG = 10, "skip_slowlog";
        /// Accepted for an importing slot.
        ASKING = 11, "asking";
        /// Constant or logarithmic time.
        FAST = 12, "fast";
        /// Needs no authentication.
        NO_AUTH = 13, "no_auth";
        /// May be propagated though it is no write. Redis does not show it.
        MAY_REPLICATE = 14, "";
        /// Keys are optional.
        NO_MANDATORY_KEYS = 15, "no_mandatory_keys";
        /// Behind `enable-protected-configs` and the like.
        PROTECTED = 16, "protected";
        /// Refused while loading asynchronously.
        NO_ASYNC_LOADING = 17, "no_async_loading";
        /// Refused inside MULTI.
        NO_MULTI = 18, "no_multi";
        /// Key positions depend on the arguments.
        MOVABLE_KEYS = 19, "movablekeys";
        /// Allowed while a script is over its time.
        ALLOW_BUSY = 20, "allow_busy";
        /// May serve a blocked client: runs only after its connection's earlier commands, whatever shard they are on.
        WAKES = 24, "";
        /// Touches keys it does not name.
        TOUCHES_ARBITRARY_KEYS = 21, "";
        /// Runs at once inside MULTI instead of being queued.
        IMMEDIATE = 22, "";
        /// Allowed while a RESP2 client has subscriptions: all that such a client may send.
        WHILE_SUBSCRIBED = 25, "";
        /// Refused like a write while what is written cannot be kept, so that monitoring notices: PING.
        TELLS_TROUBLE = 26, "";
        /// May take keys of a slot under way whoever owns it: MIGRATE.
        MOVES_KEYS = 27, "";
        /// What it is given in the place of keys are channels, which have slots too.
        SHARDED = 28, "";
        /// The next command is served by a node that its slot comes to: ASKING.
        ASKS = 29, "";
        /// Needs nothing of the data, so that it is answered while they come in: where nodes and slots are. Redis never shows
        /// that state for a copy that takes no time.
        BESIDE_DATA = 30, "";
        /// Its third argument is a value in the form of DUMP, which is decoded in steps before it runs when it is long.
        DECODES = 31, "";
        /// Meant for the server's own use and for tests (COMMAND DOCS: `syscmd`).
        SYSTEM = 23, "";
    }
}

impl Flags {
    /// What may leave something in the stream of changes.
    pub const CHANGES: Flags = Flags::WRITE.and(Flags::MAY_REPLICATE);
}

impl Command {
    /// All ACL categories, those that the flags imply included.
    pub fn categories(&self) -> Acl {
        let mut acl = self.acl;
        let mut imply = |flag, category| {
            if self.flags.has(flag) {
                acl = acl.and(category);
            }
        };
        imply(Flags::WRITE, Acl::WRITE);
        // Redis counts a reading command as @read only when it is no script.
        if !acl.has(Acl::SCRIPTING) && self.flags.has(Flags::READONLY) {
            acl = acl.and(Acl::READ);
        }
        let mut imply = |flag, category| {
            if self.flags.has(flag) {
                acl = acl.and(category);
            }
        };
        imply(Flags::ADMIN, Acl::ADMIN.and(Acl::DANGEROUS));
        imply(Flags::PUBSUB, Acl::PUBSUB);
        imply(Flags::FAST, Acl::FAST);
        imply(Flags::BLOCKING, Acl::BLOCKING);
        if !acl.has(Acl::FAST) {
            acl = acl.and(Acl::SLOW);
        }
        acl
    }

    /// Position of the first key when it is at a fixed place. Where keys are counted it is not: the count is there.
    pub const fn first_key(&self) -> Option<usize> {
        match self.keys {
            [
                KeySpec {
                    begin: Begin::Index(index),
                    find: Find::Range { .. },
                    access,
                    ..
                },
                ..,
            ] if !access.has(Access::NOT_KEY) => Some(*index as usize),
            _ => None,
        }
    }
}

/// Where some of a command's keys are (Redis 7 key specifications).
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// Where to begin.
    pub begin: Begin,
    /// Which arguments from there on are keys.
    pub find: Find,
    /// What is done with them.
    pub access: Access,
    /// A remark for COMMAND INFO.
    pub notes: &'static str,
}

/// Where the keys of a specification begin.
#[derive(Clone, Copy, Debug)]
pub enum Begin {
    /// At this argument.
    Index(u8),
    /// After this word, searched from `from` (negative: backwards from the end).
    Keyword {
        /// The word.
        word: &'static str,
        /// Where the search starts, as COMMAND shows it.
        from: i8,
        /// Options before the word, each with the number of arguments it takes: what these are given is never the word.
        /// The search then starts at the first argument.
        past: &'static [(&'static str, u8)],
        /// The argument in whose place the keys after the word stand, which then is none: MIGRATE's empty key. The search
        /// starts behind it.
        in_place_of: Option<u8>,
    },
    /// At an argument that the command's own syntax tells: an option that may come several times, or may be the value of
    /// another one. It is for the server's own use; COMMAND INFO shows what a client can make of it.
    Computed {
        /// Where the key is, when the request has it.
        place: fn(&Args<'_>) -> Option<usize>,
        /// Shown as a search for this word; where it is empty, the key counts as unknown.
        word: &'static str,
        /// Where that search starts.
        from: i8,
    },
    /// Not known without running the command.
    Unknown,
}

/// Which arguments from the beginning on are keys.
#[derive(Clone, Copy, Debug)]
pub enum Find {
    /// A range.
    Range {
        /// Last key relative to the first; negative counts from the last argument (-1 is the last one).
        last: i8,
        /// Arguments from key to key.
        step: u8,
        /// With `last` -1: only the first 1/limit of the rest; 0 and 1 mean all.
        limit: u8,
    },
    /// An argument that says how many follow.
    KeyNum {
        /// Where the number is, relative to the beginning.
        at: u8,
        /// Where the first key is, relative to the beginning.
        first: u8,
        /// Arguments from key to key.
        step: u8,
    },
    /// Not known without running the command.
    Unknown,
}

bits! {
    /// What a command does with the keys of a specification.
    Access: u16 {
        /// Reads the value, changes nothing.
        RO = 0, "RO";
        /// Changes the value.
        RW = 1, "RW";
        /// Overwrites the value whatever it was.
        OW = 2, "OW";
        /// Deletes the key.
        RM = 3, "RM";
        /// Gives the user something of the value.
        ACCESS = 4, "access";
        /// Changes something that is there.
        UPDATE = 5, "update";
        /// Adds without changing what is there.
        INSERT = 6, "insert";
        /// Takes something away.
        DELETE = 7, "delete";
        /// Looks like a key but is none (a channel).
        NOT_KEY = 8, "not_key";
        /// There may be more keys than the specification finds.
        INCOMPLETE = 9, "incomplete";
        /// The flags depend on the arguments.
        VARIABLE_FLAGS = 10, "variable_flags";
    }
}

impl KeySpec {
    /// One key at argument `index`.
    pub const fn one(index: u8, access: Access) -> KeySpec {
        KeySpec {
            begin: Begin::Index(index),
            find: Find::Range {
                last: 0,
                step: 1,
                limit: 0,
            },
            access,
            notes: "",
        }
    }

    /// Keys from argument `index` to the last (`last` -1) or another end, every `step` arguments.
    pub const fn range(index: u8, last: i8, step: u8, access: Access) -> KeySpec {
        KeySpec {
            begin: Begin::Index(index),
            find: Find::Range {
                last,
                step,
                limit: 0,
            },
            access,
            notes: "",
        }
    }

    /// A number at argument `index` and so many keys after it.
    pub const fn counted(index: u8, access: Access) -> KeySpec {
        KeySpec {
            begin: Begin::Index(index),
            find: Find::KeyNum {
                at: 0,
                first: 1,
                step: 1,
            },
            access,
            notes: "",
        }
    }
}

/// How far a command travels, stated here and nowhere else.
#[derive(Clone, Copy)]
pub enum Run {
    /// Needs only what the home core remembers of the client and the server.
    Client(ClientFn),
    /// Has one key; the shard that owns it runs the handler.
    Shard(ShardFn),
    /// Has several keys, each dealt with by itself: where they are spread, each shard runs the same command on its own.
    Keys {
        /// Runs with all shards concerned at hand.
        plan: PlanFn,
        /// Arguments from key to key.
        step: u8,
        /// How the parts' replies become one.
        merge: Merge,
    },
    /// Several keys that concern each other: one step over all shards concerned.
    Plan(PlanFn),
    /// As `Plan`, but some requests have keys that their arguments do not name (SORT with BY or GET): those are one step
    /// over every shard.
    Reach {
        /// Runs with all shards concerned at hand.
        plan: PlanFn,
        /// Whether a request may touch keys anywhere.
        everything: fn(&Args<'_>) -> bool,
    },
    /// Every shard answers; the answers merge.
    Every {
        /// Runs on each shard.
        part: ShardFn,
        /// How the parts' replies become one.
        merge: Merge,
    },
    /// Goes on where the cursor in the first argument says, on the shard that it names: SCAN.
    Cursor {
        /// Runs on that shard.
        part: ShardFn,
        /// Begins an iteration, with all shards at hand: a small database is shown whole.
        begin: PlanFn,
    },
    /// Has no key; any shard's copy of what all of them know will do: the home shard's, or whichever is at hand.
    Any(ShardFn),
    /// Speaks to subscribers. By itself it is delivered at once and its receivers are counted; within a transaction or a
    /// script the handler runs on whichever shard is at hand, and the message leaves when that is over.
    Publish(ShardFn),
    /// One step over every shard, lent whole: SWAPDB and what must see all of the keyspace at once.
    Whole(PlanFn),
    /// A script, whose commands may touch any key.
    Script {
        /// What the first argument names.
        source: Source,
        /// It may not write.
        read_only: bool,
    },
    /// A container: one of its subcommands runs.
    Container,
}

/// What the first argument of a command that runs a script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The script.
    Body,
    /// The digest of a cached script.
    Sha,
    /// The name of a library's function.
    Function,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Run::Client(_) => "Client",
            Run::Shard(_) => "Shard",
            Run::Keys { .. } => "Keys",
            Run::Plan(_) => "Plan",
            Run::Reach { .. } => "Reach",
            Run::Every { .. } => "Every",
            Run::Cursor { .. } => "Cursor",
            Run::Any(_) => "Any",
            Run::Publish(_) => "Publish",
            Run::Whole(_) => "Whole",
            Run::Script { .. } => "Script",
            Run::Container => "Container",
        })
    }
}

/// How replies of parts become the reply of the whole. The first error wins in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The sum of integers: DEL, EXISTS, DBSIZE.
    Sum,
    /// One status for all: MSET, FLUSHALL.
    Ok,
    /// Array elements in the order of the keys: MGET.
    Interleave,
    /// Array elements one after another: KEYS.
    Concat,
}

/// What COMMAND DOCS says of a command.
#[derive(Debug)]
pub struct Docs {
    /// The group, which is also the name of the file.
    pub group: Group,
    /// Version of Redis that introduced it.
    pub since: &'static str,
    /// Big-O, in the words of the field.
    pub complexity: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// What it takes.
    pub arguments: &'static [Argument],
    /// Changes of behaviour by version.
    pub history: &'static [(&'static str, &'static str)],
    /// Tips for clients (`nondeterministic_output`, `request_policy:all_shards`, ...).
    pub tips: &'static [&'static str],
    /// Since when it is deprecated and what replaces it.
    pub deprecated: Option<(&'static str, &'static str)>,
}

/// Command groups, as COMMAND DOCS names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Bits of strings.
    Bitmap,
    /// The cluster.
    Cluster,
    /// Connections.
    Connection,
    /// Keys of any type.
    Generic,
    /// Geo indexes.
    Geo,
    /// Hashes.
    Hash,
    /// HyperLogLogs.
    Hyperloglog,
    /// Lists.
    List,
    /// Scripts and functions.
    Scripting,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Strings.
    String,
    /// Publish and subscribe.
    Pubsub,
    /// The server.
    Server,
    /// Streams.
    Stream,
    /// MULTI and its kin.
    Transactions,
}

impl Group {
    /// The word in COMMAND DOCS.
    pub const fn name(self) -> &'static str {
        match self {
            Group::Bitmap => "bitmap",
            Group::Cluster => "cluster",
            Group::Connection => "connection",
            Group::Generic => "generic",
            Group::Geo => "geo",
            Group::Hash => "hash",
            Group::Hyperloglog => "hyperloglog",
            Group::List => "list",
            Group::Scripting => "scripting",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::String => "string",
            Group::Pubsub => "pubsub",
            Group::Server => "server",
            Group::Stream => "stream",
            Group::Transactions => "transactions",
        }
    }
}

/// One argument in COMMAND DOCS.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Name.
    pub name: &'static str,
    /// Kind.
    pub kind: ArgumentKind,
    /// The word that introduces it, if any.
    pub token: &'static str,
    /// `optional`, `multiple`, `multiple_token`.
    pub flags: ArgumentFlags,
    /// Parts of a block or choices of a one-of.
    pub parts: &'static [Argument],
    /// Which key specification it belongs to.
    pub key_spec: Option<u8>,
    /// Version that added it, where later than the command.
    pub since: &'static str,
    /// Version since which something else should be used.
    pub deprecated_since: &'static str,
    /// What a tool shows for it, where that is not its name.
    pub display: &'static str,
}

/// Kinds of arguments in COMMAND DOCS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the words are COMMAND DOCS's own
pub enum ArgumentKind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl ArgumentKind {
    /// The word in COMMAND DOCS.
    pub const fn name(self) -> &'static str {
        match self {
            ArgumentKind::String => "string",
            ArgumentKind::Integer => "integer",
            ArgumentKind::Double => "double",
            ArgumentKind::Key => "key",
            ArgumentKind::Pattern => "pattern",
            ArgumentKind::UnixTime => "unix-time",
            ArgumentKind::PureToken => "pure-token",
            ArgumentKind::OneOf => "oneof",
            ArgumentKind::Block => "block",
        }
    }
}

bits! {
    /// Flags of an argument.
    ArgumentFlags: u8 {
        /// May be left out.
        OPTIONAL = 0, "optional";
        /// May be given several times.
        MULTIPLE = 1, "multiple";
        /// Its word is repeated with each.
        MULTIPLE_TOKEN = 2, "multiple_token";
    }
}

impl Argument {
    /// An argument of this kind.
    pub const fn new(name: &'static str, kind: ArgumentKind) -> Argument {
        Argument {
            name,
            kind,
            token: "",
            flags: ArgumentFlags::NONE,
            parts: &[],
            key_spec: None,
            since: "",
            deprecated_since: "",
            display: "",
        }
    }

    /// The key of the first specification.
    pub const fn key(name: &'static str) -> Argument {
        Argument {
            key_spec: Some(0),
            ..Argument::new(name, ArgumentKind::Key)
        }
    }

    /// A key of specification `spec`.
    pub const fn key_of(name: &'static str, spec: u8) -> Argument {
        Argument {
            key_spec: Some(spec),
            ..Argument::new(name, ArgumentKind::Key)
        }
    }

    /// A string.
    pub const fn string(name: &'static str) -> Argument {
        Argument::new(name, ArgumentKind::String)
    }

    /// An integer.
    pub const fn integer(name: &'static str) -> Argument {
        Argument::new(name, ArgumentKind::Integer)
    }

    /// A float.
    pub const fn double(name: &'static str) -> Argument {
        Argument::new(name, ArgumentKind::Double)
    }

    /// A word of its own.
    pub const fn word(name: &'static str, token: &'static str) -> Argument {
        Argument::new(name, ArgumentKind::PureToken).token(token)
    }

    /// One of several.
    pub const fn one_of(name: &'static str, parts: &'static [Argument]) -> Argument {
        Argument {
            parts,
            ..Argument::new(name, ArgumentKind::OneOf)
        }
    }

    /// Several together.
    pub const fn block(name: &'static str, parts: &'static [Argument]) -> Argument {
        Argument {
            parts,
            ..Argument::new(name, ArgumentKind::Block)
        }
    }

    /// Introduced by `token`.
    #[must_use]
    pub const fn token(self, token: &'static str) -> Argument {
        Argument { token, ..self }
    }

    /// May be left out.
    #[must_use]
    pub const fn optional(self) -> Argument {
        Argument {
            flags: self.flags.and(ArgumentFlags::OPTIONAL),
            ..self
        }
    }

    /// May be given several times.
    #[must_use]
    pub const fn multiple(self) -> Argument {
        Argument {
            flags: self.flags.and(ArgumentFlags::MULTIPLE),
            ..self
        }
    }

    /// Its word is repeated with each.
    #[must_use]
    pub const fn multiple_token(self) -> Argument {
        Argument {
            flags: self.flags.and(ArgumentFlags::MULTIPLE_TOKEN),
            ..self
        }
    }

    /// Shown by tools as this.
    #[must_use]
    pub const fn shown(self, display: &'static str) -> Argument {
        Argument { display, ..self }
    }

    /// Added in this version.
    #[must_use]
    pub const fn since(self, since: &'static str) -> Argument {
        Argument { since, ..self }
    }

    /// Better not used since this version.
    #[must_use]
    pub const fn deprecated_since(self, deprecated_since: &'static str) -> Argument {
        Argument {
            deprecated_since,
            ..self
        }
    }
}
