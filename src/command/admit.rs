//! May this command run? The gates in their fixed order; they read flags and state, never a command's name.

use crate::persistence::Trouble;
use crate::resp::ErrorReply;
use crate::resp::request::Args;

use super::client::Client;
use super::permit::{self, Refusal};
use super::spec::Flags;
use super::table::{CommandTable, Registered};
use super::transactions::is_exec;

/// State of the server that gates read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gates {
    /// Memory is used up and nothing can be evicted.
    pub out_of_memory: bool,
    /// The dataset is being loaded.
    pub loading: bool,
    /// Another one is being loaded beside it.
    pub loading_beside: bool,
    /// A script or function runs too long.
    pub busy: bool,
    /// What is written cannot be kept.
    pub trouble: Option<Trouble>,
    /// A replica that takes writes from its primary only.
    pub read_only: bool,
    /// A replica without its primary, whose data nobody is to see.
    pub stale: bool,
    /// Commands with one of these flags need a look at all of this; what they are refused for is found then.
    pub refused: Flags,
    /// Some log is slow: what reads rest on is noted as they run.
    pub notes_reads: bool,
    /// Too few replicas are well: `min-replicas-to-write`.
    pub lacks_replicas: bool,
    /// A snapshot's walk keeps as much as it may because of writes: those that would add to it wait for the disk.
    pub crowded: bool,
}

/// The command that `args` name, checked for existence and arity: what is wrong with the request itself.
#[inline]
pub fn find(table: &CommandTable, args: &Args<'_>) -> Result<&'static Registered, ErrorReply> {
    let Some(command) = table.find(args.get(0)) else {
        return Err(ErrorReply::unknown_command(args.get(0), args.iter_from(1)));
    };
    if command.subcommands.is_empty() {
        if command.spec.arity.accepts(args.len()) {
            return Ok(command);
        }
        return Err(ErrorReply::wrong_arity(&command.name));
    }
    find_subcommand(command, args)
}

#[cold]
fn find_subcommand(
    container: &'static Registered,
    args: &Args<'_>,
) -> Result<&'static Registered, ErrorReply> {
    let Some(word) = args.opt(1) else {
        // COMMAND alone is a command of its own that happens to have subcommands.
        return match container.bare() {
            Some(bare) => Ok(bare),
            None => Err(ErrorReply::wrong_arity(&container.name)),
        };
    };
    let Some(command) = container.subcommand(word) else {
        return Err(ErrorReply::unknown_subcommand(word, container.spec.name));
    };
    if !command.spec.arity.accepts(args.len()) {
        return Err(ErrorReply::wrong_arity(&command.name));
    }
    Ok(command)
}

/// Whether a command is refused when memory is used up: those that may use more, and whatever a transaction would queue.
pub fn needs_memory(command: &Registered, client: &Client) -> bool {
    let flags = command.spec.flags;
    flags.has(Flags::DENYOOM) || client.multi.is_some() && !flags.has(Flags::IMMEDIATE)
}

/// What commands that write are answered while what they do cannot be kept.
#[cold]
pub fn misconfigured(trouble: Trouble) -> ErrorReply {
    match trouble {
        Trouble::Snapshot => ErrorReply::MISCONF_SNAPSHOT,
        Trouble::Log(errno) => {
            let error = crate::base::sys::error_text(errno);
            ErrorReply::text(format!("MISCONF Errors writing to the AOF file: {error}"))
        }
        Trouble::Behind => ErrorReply::MISCONF_SLOW_DISK,
    }
}

/// Asks the gates in order: authentication, permissions, memory, subscriptions, loading.
pub fn admit(
    command: &Registered,
    client: &Client,
    args: &Args<'_>,
    gates: Gates,
) -> Result<(), Refusal> {
    admit_client(command, client, args)?;
    admit_now(command, client, gates)
}

/// The first half: who asks. Where a cluster sends a request elsewhere, it does so in between.
pub fn admit_client(command: &Registered, client: &Client, args: &Args<'_>) -> Result<(), Refusal> {
    let flags = command.spec.flags;
    if !client.authenticated && !flags.has(Flags::NO_AUTH) {
        return Err(Refusal::Error(ErrorReply::NO_AUTH));
    }
    if client.multi.is_some() && flags.has(Flags::NO_MULTI) {
        return Err(Refusal::Error(ErrorReply::NOT_IN_MULTI));
    }
    if !client.is_trusted() {
        permit::check(&client.user, command, args)?;
    }
    Ok(())
}

/// The second half: what state the server is in.
pub fn admit_now(command: &Registered, client: &Client, gates: Gates) -> Result<(), Refusal> {
    let flags = command.spec.flags;
    if gates.out_of_memory && needs_memory(command, client) {
        return Err(Refusal::Error(ErrorReply::OUT_OF_MEMORY));
    }
    // EXEC is as what it would run.
    let queued = |flag: Flags, with: bool| {
        let multi = client.multi.as_ref().filter(|_| is_exec(command));
        multi.is_some_and(|multi| {
            let mut queue = multi.queue.iter();
            let is_declared = with && flag.has(Flags::WRITE) && multi.has_writing_script;
            is_declared || queue.any(|queued| queued.command.spec.flags.has(flag) == with)
        })
    };
    if let Some(trouble) = gates.trouble
        && (flags.any(Flags::WRITE.and(Flags::TELLS_TROUBLE)) || queued(Flags::WRITE, true))
    {
        return Err(Refusal::Error(misconfigured(trouble)));
    }
    if gates.lacks_replicas && flags.has(Flags::WRITE) {
        return Err(Refusal::Error(ErrorReply::NO_REPLICAS));
    }
    if gates.read_only && (flags.has(Flags::WRITE) || queued(Flags::WRITE, true)) {
        return Err(Refusal::Error(ErrorReply::READONLY));
    }
    if client.subscribed && !client.resp3 && !flags.has(Flags::WHILE_SUBSCRIBED) {
        return Err(Refusal::Error(ErrorReply::subscribed(&command.name)));
    }
    if gates.stale && (!flags.has(Flags::STALE) || queued(Flags::STALE, false)) {
        return Err(Refusal::Error(ErrorReply::MASTERDOWN));
    }
    let needs_data = !flags.has(Flags::BESIDE_DATA);
    let disturbs = || flags.has(Flags::NO_ASYNC_LOADING) || queued(Flags::NO_ASYNC_LOADING, true);
    if gates.loading_beside && needs_data && disturbs() {
        return Err(Refusal::Error(ErrorReply::LOADING));
    }
    let asks = || !flags.has(Flags::LOADING) || queued(Flags::LOADING, false);
    if gates.loading && needs_data && asks() {
        return Err(Refusal::Error(ErrorReply::LOADING));
    }
    Ok(())
}
