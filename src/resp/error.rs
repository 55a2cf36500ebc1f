//! Every error text a client can read, in one place, because clients match on them byte for byte.
//!
//! The texts are Redis 7.2's (7.0's where both agree). Other rooms hand back an `ErrorReply`; none of them formats
//! client text.

mod cluster;

use std::borrow::Cow;

/// An error for the client: the line after `-`, without line ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply(Cow<'static, [u8]>);

/// Declares the fixed texts and lists them for the test that pins them.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl ErrorReply {
            $($(#[$doc])* pub const $name: ErrorReply = ErrorReply(Cow::Borrowed($text.as_bytes()));)*
            /// All fixed texts with their names.
            #[cfg(test)]
            const ALL: &'static [(&'static str, ErrorReply)] = &[$((stringify!($name), ErrorReply::$name)),*];
        }
    };
}

texts! {
    /// An option is misplaced or unknown.
    SYNTAX = "ERR syntax error";
    /// The key holds another type.
    WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value";
    /// A number that must be a 64-bit integer is not.
    NOT_INTEGER = "ERR value is not an integer or out of range";
    /// A number that must be a float is not.
    NOT_FLOAT = "ERR value is not a valid float";
    /// A number that must not be negative is.
    NOT_POSITIVE = "ERR value is out of range, must be positive";
    /// HRANDFIELD WITHVALUES and friends with a count whose double is past 64 bits.
    OUT_OF_RANGE = "ERR value is out of range";
    /// HINCRBYFLOAT by infinity.
    FLOAT_NOT_FINITE = "ERR value is NaN or Infinity";
    /// INCR and friends past 64 bits.
    OVERFLOW = "ERR increment or decrement would overflow";
    /// INCRBYFLOAT to NaN or infinity.
    NAN_OR_INFINITY = "ERR increment would produce NaN or Infinity";
    /// DECRBY of the smallest integer.
    DECREMENT_OVERFLOW = "ERR decrement would overflow";
    /// A value would pass `proto-max-bulk-len`.
    STRING_TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    /// SETRANGE with a negative offset, and others.
    OFFSET_OUT_OF_RANGE = "ERR offset is out of range";
    /// The key must exist and does not.
    NO_SUCH_KEY = "ERR no such key";
    /// SELECT and friends past `databases`.
    DB_OUT_OF_RANGE = "ERR DB index is out of range";
    /// SELECT of something that is no number.
    INVALID_DB = "ERR invalid DB index";
    /// SWAPDB, first argument.
    INVALID_FIRST_DB = "ERR invalid first DB index";
    /// SWAPDB, second argument.
    INVALID_SECOND_DB = "ERR invalid second DB index";
    /// LSET, LINSERT past the end.
    INDEX_OUT_OF_RANGE = "ERR index out of range";
    /// RESTORE onto a key that is there.
    BUSY_KEY = "BUSYKEY Target key name already exists.";
    /// RESTORE and FUNCTION RESTORE of a damaged or newer payload.
    DUMP_FOOTER = "ERR DUMP payload version or checksum are wrong";
    /// RESTORE of a payload that holds no value.
    BAD_DATA_FORMAT = "ERR Bad data format";
    /// DEBUG LOADAOF without files, or with files that cannot be read.
    LOADAOF_FAILED = "ERR Error trying to load the AOF files, check server logs.";
    /// BGREWRITEAOF while one is under way.
    REWRITE_UNDER_WAY = "ERR Background append only file rewriting already in progress";
    /// Writing while snapshots cannot be written.
    MISCONF_SNAPSHOT = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.";
    /// Writing while too much waits for a slow disk.
    MISCONF_SLOW_DISK = "MISCONF The disk is slow: more than aof-buffer-limit bytes wait to be written to the append-only file. Commands that may modify the data set are refused until it has caught up.";
    /// SAVE that failed: the whole line. The log says why.
    FAILED = "ERR";
    /// BGSAVE and SAVE while a snapshot is being written.
    SAVING = "ERR Background save already in progress";
    /// BGSAVE while the append-only files are rewritten or a replica gets its copy.
    OTHER_SAVE = "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.";
    /// Writes after a snapshot has failed (`stop-writes-on-bgsave-error`).
    DISK_ERROR = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.";
    /// DEBUG RELOAD with other words.
    DEBUG_RELOAD = "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.";
    /// DEBUG RELOAD of a damaged file.
    DEBUG_RELOAD_FAILED = "ERR Error trying to load the RDB dump, check server logs.";
    /// RESTORE with a negative time.
    RESTORE_TTL = "ERR Invalid TTL value, must be >= 0";
    /// RESTORE IDLETIME.
    RESTORE_IDLETIME = "ERR Invalid IDLETIME value, must be >= 0";
    /// RESTORE FREQ.
    RESTORE_FREQ = "ERR Invalid FREQ value, must be >= 0 and <= 255";
    /// COPY and MOVE onto itself.
    SAME_OBJECT = "ERR source and destination objects are the same";
    /// SCAN with a cursor that is no number.
    INVALID_CURSOR = "ERR invalid cursor";
    /// HINCRBY on a field that is no integer.
    HASH_NOT_INTEGER = "ERR hash value is not an integer";
    /// HINCRBYFLOAT on a field that is no float.
    HASH_NOT_FLOAT = "ERR hash value is not a float";
    /// ZADD with NX and XX.
    ZADD_XX_NX = "ERR XX and NX options at the same time are not compatible";
    /// ZADD with GT, LT, NX together.
    ZADD_GT_LT_NX = "ERR GT, LT, and/or NX options at the same time are not compatible";
    /// ZADD INCR with several pairs.
    ZADD_INCR_PAIRS = "ERR INCR option supports a single increment-element pair";
    /// ZADD INCR and ZINCRBY to NaN.
    SCORE_NAN = "ERR resulting score is not a number (NaN)";
    /// Score bounds that do not parse.
    MIN_MAX_NOT_FLOAT = "ERR min or max is not a float";
    /// Lexical bounds that do not parse.
    MIN_MAX_NOT_LEX = "ERR min or max not valid string range item";
    /// ZRANGE LIMIT without BYSCORE or BYLEX.
    LIMIT_NEEDS_BY = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
    /// ZRANGE WITHSCORES with BYLEX.
    WITHSCORES_BYLEX = "ERR syntax error, WITHSCORES not supported in combination with BYLEX";
    /// ZUNION and friends, WEIGHTS.
    WEIGHT_NOT_FLOAT = "ERR weight value is not a float";
    /// A stream id that cannot be read.
    INVALID_STREAM_ID = "ERR Invalid stream ID specified as stream command argument";
    /// `(` before the highest id.
    INVALID_START_ID = "ERR invalid start ID for the interval";
    /// `(` before the lowest id.
    INVALID_END_ID = "ERR invalid end ID for the interval";
    /// XADD and XTRIM with two strategies.
    MAXLEN_AND_MINID = "ERR syntax error, MAXLEN and MINID options at the same time are not compatible";
    /// XADD and XTRIM.
    TRIM_MAXLEN_NEGATIVE = "ERR The MAXLEN argument must be >= 0.";
    /// XADD and XTRIM.
    TRIM_LIMIT_NEGATIVE = "ERR The LIMIT argument must be >= 0.";
    /// XADD with LIMIT but nothing to trim.
    TRIM_LIMIT_ALONE = "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy";
    /// LIMIT with an exact threshold.
    TRIM_LIMIT_EXACT = "ERR syntax error, LIMIT cannot be used without the special ~ option";
    /// XTRIM without MAXLEN and MINID.
    TRIM_STRATEGY_MISSING = "ERR syntax error, XTRIM must be called with a trimming strategy";
    /// XADD 0-0.
    STREAM_ID_ZERO = "ERR The ID specified in XADD must be greater than 0-0";
    /// XADD with an id that is not above the last one.
    STREAM_ID_SMALL = "ERR The ID specified in XADD is equal or smaller than the target stream top item";
    /// XADD after the highest id.
    STREAM_EXHAUSTED = "ERR The stream has exhausted the last possible ID, unable to add more items";
    /// XADD of more than 1 GiB.
    ELEMENTS_TOO_LARGE = "ERR Elements are too large to be stored";
    /// XSETID ENTRIESADDED.
    ENTRIES_ADDED_NEGATIVE = "ERR entries_added must be positive";
    /// XSETID MAXDELETEDID.
    SETID_BELOW_GIVEN_DELETED = "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id";
    /// XSETID.
    SETID_BELOW_DELETED = "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id";
    /// XSETID.
    SETID_BELOW_TOP = "ERR The ID specified in XSETID is smaller than the target stream top item";
    /// XSETID ENTRIESADDED.
    SETID_FEWER_THAN_LENGTH = "ERR The entries_added specified in XSETID is smaller than the target stream length";
    /// XREAD GROUP.
    GROUP_IN_XREAD = "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.";
    /// XREAD NOACK.
    NOACK_IN_XREAD = "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.";
    /// XREADGROUP without GROUP.
    XREADGROUP_NEEDS_GROUP = "ERR Missing GROUP option for XREADGROUP";
    /// XREADGROUP with `$`.
    LAST_ID_IN_XREADGROUP = "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.";
    /// XREAD with `>`.
    NEW_ID_IN_XREAD = "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.";
    /// XGROUP on a missing key.
    XGROUP_NEEDS_KEY = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.";
    /// XGROUP CREATE and SETID.
    ENTRIES_READ_NEGATIVE = "ERR value for ENTRIESREAD must be positive or -1";
    /// XGROUP CREATE with a name that is taken.
    BUSY_GROUP = "BUSYGROUP Consumer Group name already exists";
    /// XAUTOCLAIM COUNT.
    XAUTOCLAIM_COUNT = "ERR COUNT must be > 0";
    /// SINTERCARD and friends.
    LIMIT_NEGATIVE = "ERR LIMIT can't be negative";
    /// SINTERCARD, ZUNION, LMPOP: numkeys.
    NUMKEYS_NOT_POSITIVE = "ERR numkeys should be greater than 0";
    /// More keys announced than given.
    NUMKEYS_TOO_MANY = "ERR Number of keys can't be greater than number of args";
    /// GETKEYS on a command that has none.
    NO_KEY_ARGUMENTS = "ERR The command has no key arguments";
    /// GETKEYS on an unknown command.
    INVALID_COMMAND = "ERR Invalid command specified";
    /// GETKEYS with arguments that do not fit.
    INVALID_ARITY_FOR_COMMAND = "ERR Invalid number of arguments specified for command";
    /// GETKEYS where the keys cannot be found.
    INVALID_ARGUMENTS = "ERR Invalid arguments specified for command";
    /// AUTH without a password being set.
    AUTH_NO_PASSWORD = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";
    /// AUTH refused.
    WRONG_PASS = "WRONGPASS invalid username-password pair or user is disabled.";
    /// Anything before AUTH.
    NO_AUTH = "NOAUTH Authentication required.";
    /// ACL SETUSER with a name that would break a line of ACL LIST.
    USER_NAME_CHARACTERS = "ERR Usernames can't contain spaces or null characters";
    /// ACL DELUSER default.
    DEFAULT_USER_STAYS = "ERR The 'default' user cannot be removed";
    /// ACL LOAD and SAVE without `aclfile`.
    NO_ACL_FILE = "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.";
    /// ACL SAVE that the file system refused.
    ACL_SAVE_FAILED = "ERR There was an error trying to save the ACLs. Please check the server logs for more information";
    /// ACL GENPASS out of bounds.
    GENPASS_BITS = "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096";
    /// A key that the user may not use.
    NO_KEY_PERMISSION = "NOPERM No permissions to access a key";
    /// A channel that the user may not use.
    NO_CHANNEL_PERMISSION = "NOPERM No permissions to access a channel";
    /// EXEC of a command that the user may no longer run.
    EXEC_NO_COMMAND_PERMISSION = "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: no permission to execute the command or subcommand";
    /// EXEC of a command with a key that the user may no longer use.
    EXEC_NO_KEY_PERMISSION = "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: no permission to touch the specified keys";
    /// EXEC of a command with a channel that the user may no longer use.
    EXEC_NO_CHANNEL_PERMISSION = "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: no permission to access one of the channels used as argument to the command";
    /// SORT BY without the right to read every key.
    SORT_BY_DENIED = "ERR BY option of SORT denied due to insufficient ACL permissions.";
    /// SORT GET without the right to read every key.
    SORT_GET_DENIED = "ERR GET option of SORT denied due to insufficient ACL permissions.";
    /// MODULE LOAD and its kin while `enable-module-command` does not let this client.
    MODULE_NOT_ALLOWED = "ERR MODULE command not allowed. If the enable-module-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.";
    /// MODULE UNLOAD.
    NO_SUCH_MODULE = "ERR Error unloading module: no such module with that name";
    /// HELLO before AUTH.
    HELLO_NO_AUTH = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
    /// HELLO with a version other than 2 and 3.
    NO_PROTO = "NOPROTO unsupported protocol version";
    /// HELLO with a version that is no number.
    PROTO_NOT_INTEGER = "ERR Protocol version is not an integer or out of range";
    /// MULTI inside MULTI.
    NESTED_MULTI = "ERR MULTI calls can not be nested";
    /// EXEC without MULTI.
    EXEC_WITHOUT_MULTI = "ERR EXEC without MULTI";
    /// DISCARD without MULTI.
    DISCARD_WITHOUT_MULTI = "ERR DISCARD without MULTI";
    /// WATCH inside MULTI.
    WATCH_IN_MULTI = "ERR WATCH inside MULTI is not allowed";
    /// EXEC after a refused command.
    EXEC_ABORT = "EXECABORT Transaction discarded because of previous errors.";
    /// EXEC with arguments.
    EXEC_WITH_ARGUMENTS =
        "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
    /// CLIENT TRACKING with two clients to redirect to.
    TRACKING_REDIRECT_TWICE = "ERR A client can only redirect to a single other client";
    /// CLIENT TRACKING with a client to redirect to that is not there.
    TRACKING_REDIRECT_MISSING = "ERR The client ID you want redirect to does not exist";
    /// CLIENT TRACKING with PREFIX alone.
    TRACKING_PREFIX_WITHOUT_BCAST = "ERR PREFIX option requires BCAST mode to be enabled";
    /// CLIENT TRACKING that would change between BCAST and not.
    TRACKING_SWITCH_BCAST = "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.";
    /// CLIENT TRACKING with BCAST and an option that it excludes.
    TRACKING_OPT_WITH_BCAST = "ERR OPTIN and OPTOUT are not compatible with BCAST";
    /// CLIENT TRACKING with two options that exclude each other.
    TRACKING_OPTIN_OPTOUT = "ERR You can't specify both OPTIN mode and OPTOUT mode";
    /// CLIENT TRACKING that would change between OPTIN and OPTOUT.
    TRACKING_SWITCH_OPT = "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.";
    /// CLIENT CACHING by a client that tracks nothing.
    CACHING_WITHOUT_TRACKING = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled";
    /// CLIENT CACHING YES without OPTIN.
    CACHING_YES_WITHOUT_OPTIN = "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.";
    /// CLIENT CACHING NO without OPTOUT.
    CACHING_NO_WITHOUT_OPTOUT = "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";
    /// A command that may not be queued.
    NOT_IN_MULTI = "ERR Command not allowed inside a transaction";
    /// Memory is used up and the command would use more.
    OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'.";
    /// Too many connections.
    MAX_CLIENTS = "ERR max number of clients reached";
    /// CLIENT UNBLOCK ERROR, read by the client that was blocked.
    UNBLOCKED = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
    /// MIGRATE with a key and KEYS.
    MIGRATE_KEY_AND_KEYS = "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string";
    /// MIGRATE cannot reach the other server.
    MIGRATE_CONNECT = "IOERR error or timeout connecting to the client";
    /// MIGRATE cannot send.
    MIGRATE_WRITE = "IOERR error or timeout writing to target instance";
    /// MIGRATE is not answered.
    MIGRATE_READ = "IOERR error or timeout reading to target instance";
    /// WAITAOF for the own log, of which there is none.
    WAITAOF_NO_LOG = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
    /// WAITAOF on a replica.
    WAITAOF_ON_REPLICA = "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated.";
    /// WAIT on a replica.
    WAIT_ON_REPLICA = "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.";
    /// A write while too few replicas are well.
    NO_REPLICAS = "NOREPLICAS Not enough good replicas to write.";
    /// PSYNC or SYNC behind commands whose replies have not left.
    SYNC_WITH_OUTPUT = "ERR SYNC and PSYNC are invalid with pending output";
    /// PSYNC while this primary hands over.
    SYNC_WHILE_FAILING_OVER = "NOMASTERLINK Can't SYNC while failing over";
    /// PSYNC to a replica that has lost its primary.
    SYNC_WITHOUT_PRIMARY = "NOMASTERLINK Can't SYNC while not connected with my master";
    /// PSYNC ... FAILOVER to a primary.
    FAILOVER_OF_PRIMARY = "ERR PSYNC FAILOVER can't be sent to a master.";
    /// PSYNC ... FAILOVER of another history.
    FAILOVER_OF_OTHERS = "ERR PSYNC FAILOVER replid must match my replid.";
    /// A copy of some things for a replica that must know its length.
    FILTER_WITHOUT_MARK = "ERR Filtered replica requires EOF capability";
    /// REPLCONF rdb-filter-only with a quote left open.
    MISSING_FILTER = "ERR Missing rdb-filter-only values";
    /// A full copy that could not be begun.
    SYNC_FAILED = "ERR BGSAVE failed, replication can't continue";
    /// FAILOVER TIMEOUT of zero or less.
    FAILOVER_TIMEOUT = "ERR FAILOVER timeout must be greater than 0";
    /// FAILOVER ABORT without one.
    NO_FAILOVER = "ERR No failover in progress.";
    /// A second FAILOVER.
    FAILOVER_UNDER_WAY = "ERR FAILOVER already in progress.";
    /// FAILOVER on a replica.
    FAILOVER_OF_REPLICA = "ERR FAILOVER is not valid when server is a replica.";
    /// FAILOVER without replicas.
    FAILOVER_WITHOUT_REPLICAS = "ERR FAILOVER requires connected replicas.";
    /// FAILOVER FORCE without saying when and to whom.
    FAILOVER_FORCE = "ERR FAILOVER with force option requires both a timeout and target HOST and IP.";
    /// FAILOVER TO somebody else.
    FAILOVER_TO_STRANGER = "ERR FAILOVER target HOST and PORT is not a replica.";
    /// FAILOVER TO a replica that has not got all data.
    FAILOVER_TO_NEWCOMER = "ERR FAILOVER target replica is not online.";
    /// Loading the dataset.
    LOADING = "LOADING Redis is loading the dataset in memory";
    /// A write on a replica.
    READONLY = "READONLY You can't write against a read only replica.";
    /// A replica has lost its primary.
    MASTERDOWN = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    /// Read by clients that were blocked when the server became a replica.
    UNBLOCKED_BY_ROLE = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
    /// REPLICAOF with something that is no port.
    INVALID_PRIMARY_PORT = "ERR Invalid master port";
    /// REPLICAOF while a failover is under way.
    REPLICAOF_IN_FAILOVER = "ERR REPLICAOF not allowed while failing over.";
    /// EXPIRE with NX and another.
    EXPIRE_NX = "ERR NX and XX, GT or LT options at the same time are not compatible";
    /// EXPIRE with GT and LT.
    EXPIRE_GT_LT = "ERR GT and LT options at the same time are not compatible";
    /// LCS with LEN and IDX.
    LCS_LEN_IDX = "ERR If you want both the length and indexes, please just use IDX.";
    /// LCS on something other than strings.
    LCS_TYPE = "ERR The specified keys must contain string values";
    /// LCS past memory bounds.
    LCS_TOO_LONG = "ERR String too long for LCS";
    /// LCS whose table would pass `proto-max-bulk-len`.
    LCS_NO_MEMORY = "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
    /// EVAL and friends with a negative number of keys.
    NUMKEYS_NEGATIVE = "ERR Number of keys can't be negative";
    /// EVALSHA of a script that is not cached.
    NO_SCRIPT = "NOSCRIPT No matching script. Please use EVAL.";
    /// A script or function runs too long.
    BUSY_SCRIPT = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    /// SCRIPT KILL while a function runs too long.
    BUSY_FUNCTION = "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
    /// SCRIPT KILL with nothing to kill.
    NOT_BUSY = "NOTBUSY No scripts in execution right now.";
    /// SCRIPT KILL of a script that has written.
    UNKILLABLE = "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.";
    /// FCALL of a function that no library has.
    FUNCTION_NOT_FOUND = "ERR Function not found";
    /// FCALL with a number of keys that is none.
    BAD_NUMBER_OF_KEYS = "ERR Bad number of keys provided";
    /// SCRIPT FLUSH with an option it does not know.
    SCRIPT_FLUSH_OPTION = "ERR SCRIPT FLUSH only support SYNC|ASYNC option";
    /// SCRIPT DEBUG with a mode it does not know.
    SCRIPT_DEBUG_MODE = "ERR Use SCRIPT DEBUG YES/SYNC/NO";
    /// SCRIPT DEBUG YES.
    NO_SCRIPT_DEBUGGER = "ERR the Lua debugger is not available in Slotwise, see docs/compatibility.md";
    /// EVAL_RO of a script that declares itself without the flag `no-writes`.
    SCRIPT_MAY_WRITE = "ERR Can not execute a script with write flag using *_ro command.";
    /// A script with declared flags while memory is used up.
    SCRIPT_OUT_OF_MEMORY = "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'";
    /// LPOS with RANK 0.
    LPOS_RANK_ZERO = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list";
    /// LPOS with a negative COUNT.
    COUNT_NEGATIVE = "ERR COUNT can't be negative";
    /// LPOS with a negative MAXLEN.
    MAXLEN_NEGATIVE = "ERR MAXLEN can't be negative";
    /// LMPOP and friends with COUNT 0.
    COUNT_NOT_POSITIVE = "ERR count should be greater than 0";
    /// CLIENT SETNAME with a space.
    CLIENT_NAME_CHARACTERS = "ERR Client names cannot contain spaces, newlines or special characters.";
    /// OBJECT FREQ under an LRU policy.
    NO_LFU = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.";
    /// OBJECT IDLETIME under an LFU policy.
    LFU_NO_IDLE = "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.";
    /// CLIENT KILL and others on an unknown address.
    NO_SUCH_CLIENT = "ERR No such client";
    /// CLIENT ids must be positive.
    INVALID_CLIENT_ID = "ERR Invalid client ID";
    /// CLIENT PAUSE's time-out.
    TIMEOUT_NOT_INTEGER = "ERR timeout is not an integer or out of range";
    /// Blocking commands' time-out.
    TIMEOUT_NOT_FLOAT = "ERR timeout is not a float or out of range";
    /// Time-outs below zero.
    TIMEOUT_NEGATIVE = "ERR timeout is negative";
    /// A bounded buffer between cores is full of one oversized request.
    REQUEST_TOO_LARGE = "ERR request is too large";
    /// CLIENT KILL ID.
    CLIENT_ID_NOT_POSITIVE = "ERR client-id should be greater than 0";
    /// CLIENT PAUSE with a mode it does not know.
    PAUSE_MODE = "ERR CLIENT PAUSE mode must be WRITE or ALL";
    /// CLIENT PAUSE and others past 64 bits of milliseconds.
    TIMEOUT_OUT_OF_RANGE = "ERR timeout is out of range";
    /// CLIENT UNBLOCK with a reason it does not know.
    UNBLOCK_REASON = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
    /// SLOWLOG GET with a count below -1 or no number.
    SLOWLOG_COUNT = "ERR count should be greater than or equal to -1";
    /// SHUTDOWN ABORT when none is under way.
    NO_SHUTDOWN = "ERR No shutdown in progress.";
    /// SHUTDOWN that could not be carried out; the log says why.
    SHUTDOWN_FAILED = "ERR Errors trying to SHUTDOWN. Check logs.";
    /// CONFIG REWRITE of a server that was started without a file.
    NO_CONFIG_FILE = "ERR The server is running without a config file";
    /// DEBUG while `enable-debug-command` does not let this client.
    DEBUG_NOT_ALLOWED = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.";
    /// DEBUG PROTOCOL with a type it does not know.
    DEBUG_PROTOCOL_TYPE = "ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false";
    /// DEBUG PROTOCOL push in RESP2.
    RESP2_NOT_SUPPORTED = "ERR RESP2 is not supported by this command";
    /// DEBUG CLUSTERLINK and DROP-CLUSTER-PACKET-FILTER without cluster mode.
    DEBUG_NO_CLUSTER = "ERR Debug option only available for cluster mode enabled setup!";
    /// DEBUG HTSTATS past `databases`.
    DEBUG_DB = "ERR Out of range database";
    /// DEBUG HTSTATS-KEY on something that is no hash table.
    DEBUG_NO_TABLE = "ERR The value stored at the specified key is not represented using an hash table";
    /// DEBUG LISTPACK on something that is no listpack.
    DEBUG_NO_LISTPACK = "ERR Not a listpack encoded object.";
    /// DEBUG QUICKLIST-PACKED-THRESHOLD with a bad size.
    DEBUG_PACKED_THRESHOLD = "ERR argument must be a memory value bigger than 1 and smaller than 4gb";
    /// SETBIT, GETBIT and BITFIELD past `proto-max-bulk-len`.
    BIT_OFFSET = "ERR bit offset is not an integer or out of range";
    /// SETBIT with a value other than 0 and 1.
    BIT_VALUE = "ERR bit is not an integer or out of range";
    /// BITPOS with a bit other than 0 and 1.
    BIT_ARGUMENT = "ERR The bit argument must be 1 or 0.";
    /// BITOP NOT of several keys.
    BITOP_NOT = "ERR BITOP NOT must be called with a single source key.";
    /// BITFIELD with a type it does not know.
    BITFIELD_TYPE = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
    /// BITFIELD OVERFLOW with a word it does not know.
    BITFIELD_OVERFLOW = "ERR Invalid OVERFLOW type specified";
    /// BITFIELD_RO with something else than GET.
    BITFIELD_READS = "ERR BITFIELD_RO only supports the GET subcommand";
    /// A HyperLogLog command on another string.
    HLL_WRONG_TYPE = "WRONGTYPE Key is not a valid HyperLogLog string value.";
    /// A HyperLogLog command on one whose registers do not add up.
    HLL_CORRUPTED = "INVALIDOBJ Corrupted HLL object detected";
    /// PFDEBUG DECODE of a dense HyperLogLog.
    HLL_NOT_SPARSE = "ERR HLL encoding is not sparse";
    /// PFDEBUG on a missing key.
    PFDEBUG_NO_KEY = "ERR The specified key does not exist";
    /// A unit of length that is none.
    GEO_UNIT = "ERR unsupported unit provided. please use M, KM, FT, MI";
    /// A radius that is no number.
    GEO_RADIUS = "ERR need numeric radius";
    /// A radius below zero.
    GEO_RADIUS_NEGATIVE = "ERR radius cannot be negative";
    /// BYBOX with a width that is no number.
    GEO_WIDTH = "ERR need numeric width";
    /// BYBOX with a height that is no number.
    GEO_HEIGHT = "ERR need numeric height";
    /// BYBOX with a side below zero.
    GEO_BOX_NEGATIVE = "ERR height or width cannot be negative";
    /// A search around a member that the index does not have.
    GEO_NO_MEMBER = "ERR could not decode requested zset member";
    /// A search for no results.
    GEO_COUNT = "ERR COUNT must be > 0";
    /// ANY without COUNT.
    GEO_ANY = "ERR the ANY argument requires COUNT argument";
    /// GEOSEARCHSTORE with an option that shows something.
    GEOSEARCHSTORE_WITH =
        "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
    /// GEORADIUS and GEORADIUSBYMEMBER that store and show something.
    GEORADIUS_STORE_WITH = "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
    /// SORT of texts as numbers.
    SORT_SCORES = "ERR One or more scores can't be converted into double";
    /// A key of a slot that no node owns.
    SLOT_NOT_SERVED = "CLUSTERDOWN Hash slot not served";
    /// Keys of several slots in one request.
    CROSS_SLOT = "CROSSSLOT Keys in request don't hash to the same slot";
    /// Several keys of a slot under way, not all of them here.
    TRY_AGAIN = "TRYAGAIN Multiple keys request during rehashing of slot";
    /// The cluster is down.
    CLUSTER_DOWN = "CLUSTERDOWN The cluster is down";
    /// The cluster is down, and cluster-allow-reads-when-down lets reads pass.
    CLUSTER_DOWN_READ_ONLY = "CLUSTERDOWN The cluster is down and only accepts read commands";
    /// CLUSTER and its kin without cluster-enabled.
    CLUSTER_DISABLED = "ERR This instance has cluster support disabled";
    /// SELECT of another database than the first, in cluster mode.
    CLUSTER_SELECT = "ERR SELECT is not allowed in cluster mode";
    /// SWAPDB in cluster mode.
    CLUSTER_SWAPDB = "ERR SWAPDB is not allowed in cluster mode";
    /// MOVE in cluster mode.
    CLUSTER_MOVE = "ERR MOVE is not allowed in cluster mode";
    /// COPY to another database than the first, in cluster mode.
    CLUSTER_COPY = "ERR Copying to another database is not allowed in cluster mode";
    /// REPLICAOF in cluster mode.
    CLUSTER_REPLICAOF = "ERR REPLICAOF not allowed in cluster mode.";
    /// FAILOVER in cluster mode.
    CLUSTER_FAILOVER = "ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.";
    /// A script that has said that it does not run in cluster mode.
    SCRIPT_NO_CLUSTER = "ERR Can not run script on cluster, 'no-cluster' flag is set.";
    /// SORT with BY in cluster mode.
    CLUSTER_SORT_BY = "ERR BY option of SORT denied in Cluster mode.";
    /// SORT with GET in cluster mode.
    CLUSTER_SORT_GET = "ERR GET option of SORT denied in Cluster mode.";
    /// A slot that is no number from 0 to 16383.
    INVALID_SLOT = "ERR Invalid or out of range slot";
    /// CLUSTER SLOT-STATS ORDERBY without a metric that there is (Valkey 8.0).
    STATS_METRIC = "ERR Unrecognized sort metric for ORDERBY.";
    /// CLUSTER SLOT-STATS with a LIMIT out of range (Valkey 8.0).
    STATS_LIMIT = "ERR Limit has to lie in between 1 and 16384 (maximum number of slots).";
    /// CLUSTER SLOT-STATS with two limits or two orders (Valkey 8.0).
    STATS_REPEATED = "ERR Multiple filters of the same type are disallowed.";
    /// CLUSTER COUNTKEYSINSLOT past the last slot.
    INVALID_SLOT_TO_COUNT = "ERR Invalid slot";
    /// CLUSTER GETKEYSINSLOT past the last slot or of a negative number of keys.
    INVALID_SLOT_OR_KEYS = "ERR Invalid slot or number of keys";
    /// CLUSTER FLUSHSLOTS with keys.
    FLUSHSLOTS_NOT_EMPTY = "ERR DB must be empty to perform CLUSTER FLUSHSLOTS.";
    /// CLUSTER SET-CONFIG-EPOCH in company.
    CONFIG_EPOCH_NOT_ALONE = "ERR The user can assign a config epoch only when the node does not know any other node.";
    /// CLUSTER SET-CONFIG-EPOCH for the second time.
    CONFIG_EPOCH_IS_SET = "ERR Node config epoch is already non-zero";
    /// CLUSTER FORGET of this node.
    FORGET_MYSELF = "ERR I tried hard but I can't forget myself...";
    /// CLUSTER FORGET of a replica's primary.
    FORGET_PRIMARY = "ERR Can't forget my master!";
    /// CLUSTER REPLICATE of this node.
    REPLICATE_MYSELF = "ERR Can't replicate myself";
    /// CLUSTER REPLICATE of a replica.
    REPLICATE_REPLICA = "ERR I can only replicate a master, not a replica.";
    /// CLUSTER REPLICATE by a primary with slots or keys.
    REPLICATE_NOT_EMPTY = "ERR To set a master the node must be empty and without assigned slots.";
    /// CLUSTER REPLICAS of a replica.
    NOT_A_PRIMARY = "ERR The specified node is not a master";
    /// CLUSTER FAILOVER on a primary.
    CLUSTER_FAILOVER_OF_PRIMARY = "ERR You should send CLUSTER FAILOVER to a replica";
    /// CLUSTER FAILOVER of an unknown primary.
    FAILOVER_UNKNOWN_PRIMARY = "ERR I'm a replica but my master is unknown to me";
    /// CLUSTER FAILOVER of a primary that cannot be asked.
    FAILOVER_PRIMARY_DOWN = "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE";
    /// CLUSTER RESET of a primary with keys.
    RESET_NOT_EMPTY = "ERR CLUSTER RESET can't be called with master nodes containing keys";
    /// CLUSTER SETSLOT on a replica. redis-cli compares it whole.
    SETSLOT_ON_REPLICA = "ERR Please use SETSLOT only with masters.";
    /// CLUSTER SETSLOT with a node that is a replica.
    SETSLOT_TARGET_REPLICA = "ERR Target node is not a master";
    /// CLUSTER SETSLOT with other words.
    SETSLOT_ACTION = "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP";
    /// SCRIPT, EVAL etc. on a lent shard: reserved for commands this build lacks.
    NOT_FROM_HERE = "ERR this command cannot run in this context";
}

impl ErrorReply {
    /// A text put together elsewhere in this room or from a command's own fixed words; line ends become blanks, or go
    /// where they end it.
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        let mut text = text.into();
        while text.pop_if(|byte| matches!(byte, b'\r' | b'\n')).is_some() {}
        for byte in &mut text {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        ErrorReply(Cow::Owned(text))
    }

    /// The line, without `-` and line end.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The first word, by which `errorstats` counts.
    pub fn code(&self) -> &[u8] {
        let end = memchr::memchr(b' ', &self.0).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// Too few or too many arguments. `name` in lower case, `container|sub` for a subcommand.
    pub fn wrong_arity(name: &str) -> Self {
        Self::text(format!(
            "ERR wrong number of arguments for '{name}' command"
        ))
    }

    /// No such command; up to 128 bytes of name and of arguments are repeated, as in Redis.
    pub fn unknown_command<'a>(name: &[u8], args: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut text = b"ERR unknown command '".to_vec();
        text.extend_from_slice(printed(name, 128));
        text.extend_from_slice(b"', with args beginning with: ");
        let start = text.len();
        for arg in args {
            let used = text.len() - start;
            if used >= 128 {
                break;
            }
            text.push(b'\'');
            text.extend_from_slice(printed(arg, 128 - used));
            text.extend_from_slice(b"' ");
        }
        Self::text(text)
    }

    /// No such subcommand of `container` (given in upper case for the HELP hint).
    pub fn unknown_subcommand(sub: &[u8], container: &str) -> Self {
        let mut text = b"ERR unknown subcommand '".to_vec();
        text.extend_from_slice(printed(sub, 128));
        text.extend_from_slice(b"'. Try ");
        text.extend_from_slice(container.to_ascii_uppercase().as_bytes());
        text.extend_from_slice(b" HELP.");
        Self::text(text)
    }

    /// CLIENT TRACKING with a prefix that some other one (`an existing`, `another provided`) meets.
    pub fn prefix_overlaps(prefix: &[u8], which: &str, other: &[u8]) -> Self {
        let mut text = b"ERR Prefix '".to_vec();
        text.extend_from_slice(prefix);
        text.extend_from_slice(b"' overlaps with ");
        text.extend_from_slice(which.as_bytes());
        text.extend_from_slice(b" prefix '");
        text.extend_from_slice(other);
        text.extend_from_slice(b"'. Prefixes for a single client must not overlap.");
        Self::text(text)
    }

    /// A command that a RESP2 client with subscriptions may not send.
    pub fn subscribed(name: &str) -> Self {
        let rest = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
        Self::text(format!("ERR Can't execute '{name}': {rest}").into_bytes())
    }

    /// Unknown subcommand or a wrong number of arguments for it, as containers that check both at once put it.
    pub fn subcommand_syntax(sub: &[u8], container: &str) -> Self {
        let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
        text.extend_from_slice(printed(sub, 128));
        text.extend_from_slice(b"'. Try ");
        text.extend_from_slice(container.to_ascii_uppercase().as_bytes());
        text.extend_from_slice(b" HELP.");
        Self::text(text)
    }

    /// XREAD (or XREADGROUP, with `is_group`) whose keys and ids are not as many.
    pub fn unbalanced_streams(is_group: bool) -> Self {
        let (name, sign) = if is_group {
            ("xreadgroup", '>')
        } else {
            ("xread", '$')
        };
        Self::text(format!(
            "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{sign}' must be specified."
        ))
    }

    /// XREAD or XREADGROUP (`name` as the script spells it) with BLOCK in a script.
    pub fn block_in_script(name: &[u8]) -> Self {
        Self::text(
            [
                b"ERR ",
                printed(name, usize::MAX),
                b" command is not allowed with BLOCK option from scripts",
            ]
            .concat(),
        )
    }

    /// The other server has refused what MIGRATE sent.
    pub fn target_replied(line: &[u8]) -> Self {
        Self::text([b"ERR Target instance replied with error: ", line].concat())
    }

    /// A group that is not there, or whose key is not.
    pub fn no_key_or_group(key: &[u8], group: &[u8]) -> Self {
        Self::text(
            [
                b"NOGROUP No such key '",
                printed(key, usize::MAX),
                b"' or consumer group '",
                printed(group, usize::MAX),
                b"'",
            ]
            .concat(),
        )
    }

    /// The same in XREADGROUP.
    pub fn no_group_to_read(key: &[u8], group: &[u8]) -> Self {
        let mut text = Self::no_key_or_group(key, group).0.into_owned();
        text.extend_from_slice(b" in XREADGROUP with GROUP option");
        Self::text(text)
    }

    /// A group that is not there though its key is: XGROUP, XINFO CONSUMERS.
    pub fn no_group_at_key(group: &[u8], key: &[u8]) -> Self {
        Self::text(
            [
                b"NOGROUP No such consumer group '",
                printed(group, usize::MAX),
                b"' for key name '",
                printed(key, usize::MAX),
                b"'",
            ]
            .concat(),
        )
    }

    /// XCLAIM and XAUTOCLAIM (`name`) with an idle time that is no integer.
    pub fn invalid_min_idle_time(name: &str) -> Self {
        Self::text(format!("ERR Invalid min-idle-time argument for {name}"))
    }

    /// XCLAIM with an option whose number is none.
    pub fn invalid_xclaim_option(name: &str) -> Self {
        Self::text(format!("ERR Invalid {name} option argument for XCLAIM"))
    }

    /// XCLAIM with an option it does not know.
    pub fn unrecognized_xclaim_option(option: &[u8]) -> Self {
        Self::text(
            [
                b"ERR Unrecognized XCLAIM option '",
                printed(option, usize::MAX),
                b"'",
            ]
            .concat(),
        )
    }

    /// An expiry that is zero, negative or past 64 bits.
    pub fn invalid_expire(name: &str) -> Self {
        Self::text(format!("ERR invalid expire time in '{name}' command"))
    }

    /// ZUNION and friends with no key announced; `name` in lower case.
    pub fn input_key_needed(name: &str) -> Self {
        Self::text(format!(
            "ERR at least 1 input key is needed for '{name}' command"
        ))
    }

    /// What the parser could not read; the connection closes after it.
    pub fn protocol(detail: &[u8]) -> Self {
        let mut text = b"ERR Protocol error: ".to_vec();
        text.extend_from_slice(detail);
        Self::text(text)
    }

    /// CLIENT LIST TYPE and CLIENT KILL TYPE.
    pub fn unknown_client_type(name: &[u8]) -> Self {
        Self::text(
            [
                b"ERR Unknown client type '",
                printed(name, usize::MAX),
                b"'",
            ]
            .concat(),
        )
    }

    /// CLIENT KILL USER.
    pub fn no_such_user(name: &[u8]) -> Self {
        Self::text([b"ERR No such user '", printed(name, usize::MAX), b"'"].concat())
    }

    /// ACL SETUSER with a selector that does not end.
    pub fn acl_unmatched(opening: &[u8]) -> Self {
        let start = b"ERR Unmatched parenthesis in acl selector starting at '";
        Self::text([&start[..], printed(opening, usize::MAX), b"'."].concat())
    }

    /// ACL SETUSER with a rule that cannot be applied.
    pub fn acl_modifier(rule: &[u8], reason: &str) -> Self {
        let start = b"ERR Error in ACL SETUSER modifier '";
        let rule = printed(rule, usize::MAX);
        Self::text([&start[..], rule, b"': ", reason.as_bytes()].concat())
    }

    /// ACL LOAD of a file with errors.
    pub fn acl_file(errors: &str) -> Self {
        Self::text(format!("ERR {errors}"))
    }

    /// ACL CAT of a category that there is not.
    pub fn unknown_category(name: &[u8]) -> Self {
        Self::text([b"ERR Unknown category '", printed(name, 128), b"'"].concat())
    }

    /// ACL DRYRUN for a user that there is not.
    pub fn user_not_found(name: &[u8]) -> Self {
        let name = printed(name, usize::MAX);
        Self::text([b"ERR User '", name, b"' not found"].concat())
    }

    /// ACL DRYRUN of a command that there is not.
    pub fn command_not_found(name: &[u8]) -> Self {
        let name = printed(name, usize::MAX);
        Self::text([b"ERR Command '", name, b"' not found"].concat())
    }

    /// A command that the user may not run; `command` as in `wrong_arity`.
    pub fn no_command_permission(user: &[u8], command: &str) -> Self {
        let text = format!(" has no permissions to run the '{command}' command");
        Self::text([b"NOPERM User ", user, text.as_bytes()].concat())
    }

    /// HELLO with an option it does not know.
    pub fn hello_option(option: &[u8]) -> Self {
        Self::text(
            [
                b"ERR Syntax error in HELLO option '",
                printed(option, usize::MAX),
                b"'",
            ]
            .concat(),
        )
    }

    /// CLIENT SETINFO with an attribute it does not know.
    pub fn unrecognized_option(option: &[u8]) -> Self {
        Self::text(
            [
                b"ERR Unrecognized option '",
                printed(option, usize::MAX),
                b"'",
            ]
            .concat(),
        )
    }

    /// CLIENT SETINFO with a value that would break a line of CLIENT LIST. `option` as the client wrote it.
    pub fn attribute_characters(option: &[u8]) -> Self {
        let rest = b" cannot contain spaces, newlines or special characters.";
        Self::text([b"ERR ", option, &rest[..]].concat())
    }

    /// LATENCY GRAPH of an event that never happened.
    pub fn no_latency_samples(event: &[u8]) -> Self {
        Self::text(
            [
                b"ERR No samples available for event '",
                printed(event, usize::MAX),
                b"'",
            ]
            .concat(),
        )
    }

    /// CONFIG REWRITE that the file system refused.
    pub fn rewriting_failed(reason: &str) -> Self {
        Self::text(format!("ERR Rewriting config file: {reason}"))
    }

    /// EXPIRE with an option it does not know, which is shown up to a zero byte.
    pub fn unsupported_option(option: &[u8]) -> Self {
        let mut text = b"ERR Unsupported option ".to_vec();
        text.extend_from_slice(printed(option, usize::MAX));
        Self::text(text)
    }

    /// Coordinates that are off the map.
    pub fn geo_point(longitude: f64, latitude: f64) -> Self {
        Self::text(format!(
            "ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"
        ))
    }

    /// A search that does not say where; `name` as the client wrote it.
    pub fn geo_from(name: &[u8]) -> Self {
        let text = b"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for ";
        Self::text([&text[..], printed(name, usize::MAX)].concat())
    }

    /// A search that does not say how far; `name` as the client wrote it.
    pub fn geo_by(name: &[u8]) -> Self {
        let text = b"ERR exactly one of BYRADIUS and BYBOX can be specified for ";
        Self::text([&text[..], printed(name, usize::MAX)].concat())
    }

    /// PFDEBUG with a subcommand it does not know.
    pub fn unknown_pfdebug(name: &[u8]) -> Self {
        let shown = printed(name, usize::MAX);
        Self::text([b"ERR Unknown PFDEBUG subcommand '", shown, b"'"].concat())
    }

    /// An integer argument outside its bounds.
    pub fn out_of_range(min: i64, max: i64) -> Self {
        Self::text(format!(
            "ERR value is out of range, value must between {min} and {max}"
        ))
    }

    /// EXEC refused while the reason still stands.
    pub fn exec_abort(reason: &ErrorReply) -> Self {
        let mut text = b"EXECABORT Transaction discarded because of: ".to_vec();
        text.extend_from_slice(reason.as_bytes());
        Self::text(text)
    }

    /// An option that REPLCONF does not have.
    pub fn unrecognized_replconf(option: &[u8]) -> Self {
        Self::text(
            [
                b"ERR Unrecognized REPLCONF option: ",
                printed(option, option.len()),
            ]
            .concat(),
        )
    }

    /// A part of a copy that cannot be had by itself.
    pub fn unsupported_filter(name: &[u8]) -> Self {
        let name = printed(name, name.len());
        Self::text([b"ERR Unsupported rdb-filter-only option: ", name].concat())
    }

    /// A replica that announces an address of so many bytes.
    pub fn replica_address_too_long(bytes: usize) -> Self {
        Self::text(format!(
            "ERR REPLCONF ip-address provided by replica instance is too long: {bytes} bytes"
        ))
    }

    /// EVAL and SCRIPT LOAD of what is no Lua; `text` is Lua's.
    pub fn script_does_not_compile(text: &[u8]) -> Self {
        Self::text([b"ERR Error compiling script (new function): ", text].concat())
    }

    /// `MOVED` or `ASK`: the slot is served there.
    pub fn redirect(word: &'static str, slot: u16, endpoint: &str, port: u16) -> Self {
        Self::text(format!("{word} {slot} {endpoint}:{port}"))
    }

    /// A part of the server this build does not have.
    pub fn not_in_this_build(what: &str) -> Self {
        Self::text(format!(
            "ERR {what} is not available in this build of Slotwise, see docs/compatibility.md"
        ))
    }
}

/// What C's `printf` shows of bytes that a client sent: up to the first NUL, and `bytes_max` at most.
fn printed(bytes: &[u8], bytes_max: usize) -> &[u8] {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    &bytes[..end.min(bytes_max)]
}

#[cfg(test)]
mod tests;
