//! What can be wrong with a rule or a user's definition, and the client error it becomes.

use std::fmt;

use crate::resp::ErrorReply;

/// Why a rule cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// No such command, subcommand or category.
    Unknown,
    /// No rule at all, or blanks where none may be.
    Syntax,
    /// A key pattern behind `~*`.
    KeysAlreadyAll,
    /// A channel pattern behind `&*`.
    ChannelsAlreadyAll,
    /// A password to remove that is not there.
    NoSuchPassword,
    /// A hash that is none.
    BadHash,
    /// `+container|sub|word`.
    WordOfSubcommand,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RuleError::Unknown => "Unknown command or category name in ACL",
            RuleError::Syntax => "Syntax error",
            RuleError::KeysAlreadyAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                 effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::ChannelsAlreadyAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            RuleError::NoSuchPassword => {
                "The password you are trying to remove from the user does not exist"
            }
            RuleError::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            RuleError::WordOfSubcommand => {
                "Allowing first-arg of a subcommand is not supported"
            }
        })
    }
}

/// Why ACL SETUSER changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetUserError {
    /// The name holds blanks or zero bytes.
    Name,
    /// A selector's parenthesis is never closed; the argument that opens it.
    Unmatched(Vec<u8>),
    /// A rule cannot be applied.
    Rule(Vec<u8>, RuleError),
}

impl From<SetUserError> for ErrorReply {
    fn from(error: SetUserError) -> Self {
        match error {
            SetUserError::Name => ErrorReply::USER_NAME_CHARACTERS,
            SetUserError::Unmatched(opening) => ErrorReply::acl_unmatched(&opening),
            SetUserError::Rule(rule, error) => ErrorReply::acl_modifier(&rule, &error.to_string()),
        }
    }
}

/// Why a `user` line of a configuration file is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserLineError {
    /// The user has a line already.
    Duplicate(Vec<u8>),
    /// See [`SetUserError`].
    Set(SetUserError),
}

impl fmt::Display for UserLineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            UserLineError::Duplicate(name) => write!(
                f,
                "Error in user declaration '{}': Duplicate user found. A user can only be defined once in config files",
                shown(name)
            ),
            UserLineError::Set(SetUserError::Name) => {
                f.write_str("Spaces not allowed in ACL usernames")
            }
            UserLineError::Set(SetUserError::Unmatched(opening)) => write!(
                f,
                "Error in user declaration: Unmatched parenthesis in acl selector starting at '{}'.",
                shown(opening)
            ),
            UserLineError::Set(SetUserError::Rule(rule, error)) => {
                write!(f, "Error in user declaration '{}': {error}", shown(rule))
            }
        }
    }
}
