//! May this user run this command? What the command's declaration says of its keys and channels, put to the user.
//!
//! The gates ask (`admit.rs`), EXEC asks again, and so does a script for each of its calls. An unrestricted user is never
//! asked about: the connection remembers that there is nothing to ask.

use smallvec::SmallVec;

use crate::acl::{Asked, ChannelNeed, Denial, Need, Reason, User};
use crate::resp::ErrorReply;
use crate::resp::request::Args;

use super::keys::key_places;
use super::server::access_of;
use super::spec::{Access, Flags};
use super::table::Registered;

/// Why a user may not run a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user lacks a permission: this belongs into the log of denials.
    Denied(Denial),
    /// Anything else.
    Error(ErrorReply),
}

impl Refusal {
    /// What the client reads.
    pub fn into_reply(self, user: &User, command: &Registered) -> ErrorReply {
        match self {
            Refusal::Denied(denial) => match denial.reason {
                Reason::Command => ErrorReply::no_command_permission(user.name(), &command.name),
                Reason::Key => ErrorReply::NO_KEY_PERMISSION,
                Reason::Channel => ErrorReply::NO_CHANNEL_PERMISSION,
                Reason::Auth => ErrorReply::WRONG_PASS,
            },
            Refusal::Error(error) => error,
        }
    }

    /// What the client reads in the place of a queued command's reply when it may no longer run at EXEC.
    pub fn into_exec_reply(self) -> ErrorReply {
        match self {
            Refusal::Denied(denial) => match denial.reason {
                Reason::Key => ErrorReply::EXEC_NO_KEY_PERMISSION,
                Reason::Channel => ErrorReply::EXEC_NO_CHANNEL_PERMISSION,
                Reason::Command | Reason::Auth => ErrorReply::EXEC_NO_COMMAND_PERMISSION,
            },
            Refusal::Error(error) => error,
        }
    }
}

/// Whether `user` may run `command` with these arguments, whose number fits the command.
pub fn check(user: &User, command: &Registered, args: &Args<'_>) -> Result<(), Refusal> {
    if let Some(denial) = denial(user, command, args) {
        return Err(Refusal::Denied(denial));
    }
    match reads_unnamed_keys(command, args) {
        Some(error) if !may_read_all(user, command, args) => Err(Refusal::Error(error)),
        _ => Ok(()),
    }
}

/// Which permission `user` lacks to run `command` with these arguments, if any.
pub fn denial(user: &User, command: &Registered, args: &Args<'_>) -> Option<Denial> {
    asked(command, args, |asked| user.check(asked).err())
}

fn may_read_all(user: &User, command: &Registered, args: &Args<'_>) -> bool {
    asked(command, args, |asked| {
        user.check_with_all_keys(asked, Need::READ)
    })
}

fn asked<T>(command: &Registered, args: &Args<'_>, ask: impl FnOnce(&Asked<'_>) -> T) -> T {
    let flags = command.spec.flags;
    // Arguments that do not fit the specifications name no key: the command itself will refuse them.
    let places = key_places(command.spec, args).unwrap_or_default();
    let keys: SmallVec<[(u32, Need); 8]> = places
        .iter()
        .map(
            |&(place, access)| match access.has(Access::VARIABLE_FLAGS) {
                true => (place, need_of(access_of(command, args))),
                false => (place, need_of(access)),
            },
        )
        .collect();
    let channels = match flags.has(Flags::PUBSUB) {
        true => channels(command, args),
        false => Channels::new(),
    };
    ask(&Asked {
        command: command.id,
        is_open: flags.has(Flags::NO_AUTH),
        word: if command.parent.is_some() { 2 } else { 1 },
        args,
        keys: &keys,
        channels: &channels,
    })
}

/// A command that only asks whether a key is there or how long it is has neither flag, so any permission will do.
fn need_of(access: Access) -> Need {
    Need {
        read: access.has(Access::ACCESS),
        write: access.any(Access::INSERT.and(Access::DELETE).and(Access::UPDATE)),
    }
}

type Channels = SmallVec<[(u32, ChannelNeed); 8]>;

/// The channels that a command publishes or subscribes to. Giving up a subscription needs no permission.
fn channels(command: &Registered, args: &Args<'_>) -> Channels {
    let (last, need) = match command.name.as_str() {
        "publish" | "spublish" => (1, ChannelNeed::Literal),
        "subscribe" | "ssubscribe" => (args.len() - 1, ChannelNeed::Literal),
        "psubscribe" => (args.len() - 1, ChannelNeed::Pattern),
        _ => return Channels::new(),
    };
    (1..=last.min(args.len() - 1))
        .map(|place| (place as u32, need))
        .collect()
}

/// SORT's patterns name keys that are known only when it runs: the error for a user who may not read every key.
fn reads_unnamed_keys(command: &Registered, args: &Args<'_>) -> Option<ErrorReply> {
    if !matches!(command.name.as_str(), "sort" | "sort_ro") {
        return None;
    }
    let mut at = 2;
    while at < args.len() {
        let more = args.len() - 1 - at;
        if args.is(at, "LIMIT") && more >= 2 {
            at += 2;
        } else if args.is(at, "STORE") && more >= 1 {
            at += 1;
        } else if args.is(at, "BY") && more >= 1 {
            // Without a star it only says not to sort.
            if args.get(at + 1).contains(&b'*') {
                return Some(ErrorReply::SORT_BY_DENIED);
            }
            at += 1;
        } else if args.is(at, "GET") && more >= 1 {
            return Some(ErrorReply::SORT_GET_DENIED);
        }
        at += 1;
    }
    None
}
