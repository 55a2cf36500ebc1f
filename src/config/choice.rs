//! Directives whose value is one word of a list. Those that code reads are enums here; those that are only kept for
//! CONFIG GET are bare lists of names in `table/`.

/// Declares an enum together with the words that a configuration uses for it, in the order in which an error message
/// lists them. Two words may mean the same (`yes` and `relative` of oom-score-adj); CONFIG GET shows the first.
macro_rules! choices {
    ($($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal $(| $other:literal)*),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum $type { $($(#[$variant_doc])* $variant),* }

            impl $type {
                /// Every word with the code of what it means.
                pub const NAMES: &'static [(&'static str, u8)] =
                    &[$(($name, $type::$variant as u8), $(($other, $type::$variant as u8),)*)*];

                /// The word that CONFIG GET and INFO show.
                pub const fn name(self) -> &'static str {
                    match self { $($type::$variant => $name),* }
                }

                pub(super) fn from_code(code: u8) -> $type {
                    [$($type::$variant),*]
                        .into_iter()
                        .find(|variant| *variant as u8 == code)
                        .expect("codes come out of the list above")
                }
            }
        )*
    };
}

choices! {
    /// How much is logged (`loglevel`): a line is written when its level is at or above this one.
    LogLevel {
        /// Everything, for development.
        Debug = "debug",
        /// Many rarely useful lines.
        Verbose = "verbose",
        /// What an operator wants to read.
        Notice = "notice",
        /// Only what is important or critical.
        Warning = "warning",
        /// No lines at all.
        Nothing = "nothing",
    }

    /// What an error of a command ends that others have executed without one (`propagation-error-behavior`).
    PropagationErrors {
        /// Nothing: it is logged and counted.
        Ignore = "ignore",
        /// The process, whether the command came from a primary or from an append-only file.
        Panic = "panic",
        /// The process, if the command came from a primary.
        PanicOnReplicas = "panic-on-replicas",
    }

    /// When what has been written to the append-only files is on disk (`appendfsync`).
    AppendFsync {
        /// About a second later.
        EverySec = "everysec",
        /// Before anything that stands on it is answered.
        Always = "always",
        /// When the kernel likes.
        No = "no",
    }

    /// What clients are told about a node of the cluster (`cluster-preferred-endpoint-type`).
    EndpointType {
        /// Its address.
        Ip = "ip",
        /// Its announced host name.
        Hostname = "hostname",
        /// Nothing: they go on with the address that they have used.
        Unknown = "unknown-endpoint",
    }

    /// Who watches over the process (`supervised`).
    Supervised {
        /// Upstart: the process stops itself when it is ready.
        Upstart = "upstart",
        /// systemd: readiness goes to NOTIFY_SOCKET.
        Systemd = "systemd",
        /// Whichever of the two the environment speaks of.
        Auto = "auto",
        /// Nobody.
        No = "no",
    }

    /// What is evicted when memory runs out (`maxmemory-policy`).
    MaxmemoryPolicy {
        /// Least recently used, of the keys that expire.
        VolatileLru = "volatile-lru",
        /// Least frequently used, of the keys that expire.
        VolatileLfu = "volatile-lfu",
        /// Any key that expires.
        VolatileRandom = "volatile-random",
        /// The key that expires first.
        VolatileTtl = "volatile-ttl",
        /// Least recently used, of all keys.
        AllkeysLru = "allkeys-lru",
        /// Least frequently used, of all keys.
        AllkeysLfu = "allkeys-lfu",
        /// Any key.
        AllkeysRandom = "allkeys-random",
        /// Nothing: commands that need memory are refused.
        Noeviction = "noeviction",
    }

    /// Who may do what is dangerous (`enable-debug-command`, `enable-protected-configs`).
    ProtectedAction {
        /// Nobody.
        No = "no",
        /// Everybody.
        Yes = "yes",
        /// Connections from this machine.
        Local = "local",
    }

    /// Whether and how the score by which the kernel picks a process to kill is set (`oom-score-adj`).
    OomScoreAdj {
        /// Left alone.
        No = "no",
        /// Values are added to the score at start.
        Relative = "yes" | "relative",
        /// Values are written as they are.
        Absolute = "absolute",
    }

    /// Which kind of message the system's log takes ours for (`syslog-facility`).
    SyslogFacility {
        /// Of a user's program.
        User = "user",
        /// For local use, from 0 on.
        Local0 = "local0",
        /// See above.
        Local1 = "local1",
        /// See above.
        Local2 = "local2",
        /// See above.
        Local3 = "local3",
        /// See above.
        Local4 = "local4",
        /// See above.
        Local5 = "local5",
        /// See above.
        Local6 = "local6",
        /// See above.
        Local7 = "local7",
    }

    /// Which channels a new user may use (`acl-pubsub-default`).
    ChannelDefault {
        /// All of them.
        All = "allchannels",
        /// None.
        None = "resetchannels",
    }

    /// Into how many files shards write snapshots (`snapshot-files`).
    SnapshotFiles {
        /// One, as Redis does.
        One = "one",
        /// One for each shard.
        PerShard = "per-shard",
    }

    /// When a replica loads a full copy straight from the socket (`repl-diskless-load`).
    DisklessLoad {
        /// Never: it goes through a file.
        Disabled = "disabled",
        /// When there is no data of its own.
        OnEmptyDb = "on-empty-db",
        /// Always; the old data is kept until the copy is complete.
        SwapDb = "swapdb",
    }

    /// In which order the effects of one connection's pipelined commands on different shards happen
    /// (`pipeline-order`).
    PipelineOrder {
        /// A run of plain single-key commands may be under way on several shards at once; replies keep their order.
        Relaxed = "relaxed",
        /// Each change of shard waits for what came before.
        Strict = "strict",
    }
}

/// The code of a word, whatever its case.
pub(super) fn code_of(names: &[(&str, u8)], word: &[u8]) -> Option<u8> {
    names
        .iter()
        .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word))
        .map(|(_, code)| *code)
}

/// The first word for a code.
pub(super) fn name_of(names: &[(&'static str, u8)], code: u8) -> &'static str {
    names
        .iter()
        .find(|(_, other)| *other == code)
        .map_or("unknown", |(name, _)| name)
}

/// The words for a set of flags: the exact word when there is one, else those whose bits make up the set.
pub(super) fn names_of_flags(names: &[(&'static str, u8)], flags: u8) -> String {
    if let Some((name, _)) = names.iter().find(|(_, code)| *code == flags) {
        return (*name).to_string();
    }
    let mut unmatched = flags;
    let mut found = Vec::new();
    for (name, code) in names {
        if *code != 0 && unmatched & code == *code {
            found.push(*name);
            unmatched &= !code;
        }
    }
    found.join(" ")
}

/// The text of the error for a word that is not on the list.
pub(super) fn expected_one_of(names: &[(&str, u8)]) -> String {
    let words: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    format!(
        "argument(s) must be one of the following: {}",
        words.join(", ")
    )
}

impl MaxmemoryPolicy {
    /// Access frequency counts, not recency.
    #[inline]
    pub fn is_lfu(self) -> bool {
        matches!(
            self,
            MaxmemoryPolicy::VolatileLfu | MaxmemoryPolicy::AllkeysLfu
        )
    }

    /// Keys are compared by their last access.
    pub fn is_lru(self) -> bool {
        matches!(
            self,
            MaxmemoryPolicy::VolatileLru | MaxmemoryPolicy::AllkeysLru
        )
    }

    /// Only keys with an expiry are candidates.
    pub fn is_volatile(self) -> bool {
        matches!(
            self,
            MaxmemoryPolicy::VolatileLru
                | MaxmemoryPolicy::VolatileLfu
                | MaxmemoryPolicy::VolatileRandom
                | MaxmemoryPolicy::VolatileTtl
        )
    }
}
