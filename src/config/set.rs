//! CONFIG GET and CONFIG SET.
//!
//! CONFIG SET takes any number of directives and changes all of them or none: it builds a second [`Config`] and hands
//! it back with the names that differ. The caller does what a change asks for (open listeners, raise the limit of open
//! files, change directory), and only then puts the new `Config` in force; when that fails, it drops it and answers
//! with [`SetError::failed`].

use crate::resp::ErrorReply;

use std::fmt;

use super::directive::{self, Change};
use super::fields::Config;
use super::value::Value;
use crate::base::glob;

/// Who asks, and when.
#[derive(Clone, Copy, Debug)]
pub struct SetContext {
    /// The client is on this machine (loopback or unix socket).
    pub client_is_local: bool,
    /// A data set is being loaded.
    pub loading: bool,
}

/// What CONFIG SET would change.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The configuration with the new values.
    pub config: Config,
    /// The directives whose value differs, by their main name. A directive that names a file counts even when its
    /// value is the same, because the file may be another one by now.
    pub names: Vec<&'static str>,
    /// What the operator should read in the log.
    pub warnings: Vec<String>,
}

/// Why CONFIG SET changed nothing. Shown as the text behind `-ERR `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// Names and values do not come in pairs.
    Syntax,
    /// A data set is being loaded, and a directive cannot be changed meanwhile; the answer is `-LOADING ...`.
    Loading,
    /// No such directive.
    Unknown(String),
    /// A directive refused its value.
    Failed {
        /// The directive, as the client called it.
        name: String,
        /// Why.
        reason: String,
    },
}

impl From<SetError> for ErrorReply {
    fn from(error: SetError) -> Self {
        match error {
            SetError::Loading => ErrorReply::LOADING,
            SetError::Syntax => ErrorReply::SYNTAX,
            other => ErrorReply::text(format!("ERR {other}")),
        }
    }
}

impl SetError {
    /// The error for a change that was valid but could not be carried out, such as a port in use.
    pub fn failed(name: &str, reason: impl Into<String>) -> SetError {
        SetError::Failed {
            name: name.to_string(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetError::Syntax => f.write_str("syntax error"),
            SetError::Loading => f.write_str("Redis is loading the dataset in memory"),
            SetError::Unknown(name) => {
                write!(
                    f,
                    "Unknown option or number of arguments for CONFIG SET - '{name}'"
                )
            }
            SetError::Failed { name, reason } => {
                write!(
                    f,
                    "CONFIG SET failed (possibly related to argument '{name}') - {reason}"
                )
            }
        }
    }
}

impl std::error::Error for SetError {}

impl Config {
    /// Names and values of the directives that one of `patterns` names: a full name also finds what is hidden, and is
    /// answered as it was asked; a pattern finds aliases too. No name comes twice.
    pub fn get(&self, patterns: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut add = |name: &[u8], place: usize| {
            if found.iter().all(|(other, _)| other != name) {
                found.push((
                    name.to_vec(),
                    self.value(place).show(&directive::all()[place].kind),
                ));
            }
        };
        for pattern in patterns {
            if !glob::is_pattern(pattern) {
                if let Some(place) = directive::find(pattern) {
                    add(pattern, place);
                }
                continue;
            }
            for (place, one) in directive::all()
                .iter()
                .enumerate()
                .filter(|(_, one)| !one.hidden)
            {
                for name in [Some(one.name), one.alias].into_iter().flatten() {
                    if glob::matches(pattern, name.as_bytes(), true) {
                        add(name.as_bytes(), place);
                    }
                }
            }
        }
        found
    }

    /// What the configuration becomes when each directive of `pairs` takes its value.
    ///
    /// # Errors
    /// The first directive that is unknown, cannot be changed, comes twice, or refuses its value.
    pub fn set(&self, pairs: &[(&[u8], &[u8])], context: SetContext) -> Result<Changed, SetError> {
        let places = self.set_places(pairs, context)?;
        let mut values = self.values().to_vec();
        let mut warnings = Vec::new();
        for (place, (name, text)) in places.iter().zip(pairs) {
            let one = directive::all()[*place];
            let words = set_words(text, one.kind.takes_many_words());
            let failed = |reason| SetError::Failed {
                name: canonical(name),
                reason,
            };
            let value = Value::parse(&one.kind, &words, &values[*place]).map_err(failed)?;
            if let Some(reason) = one.refusal(&value) {
                return Err(failed(reason));
            }
            if one.change == Change::Settled && value != values[*place] {
                return Err(failed("can't set immutable config".to_owned()));
            }
            warnings.extend(warning(&value));
            values[*place] = value;
        }
        let mut names = Vec::new();
        for place in places {
            let one = directive::all()[place];
            if (values[place] != *self.value(place) || one.volatile) && !names.contains(&one.name) {
                names.push(one.name);
            }
        }
        Ok(Changed {
            config: Config::from_values(values, self.renamed_commands.clone()),
            names,
            warnings,
        })
    }

    /// Finds the directives that `pairs` name, and checks that each may be changed and comes once.
    fn set_places(
        &self,
        pairs: &[(&[u8], &[u8])],
        context: SetContext,
    ) -> Result<Vec<usize>, SetError> {
        let mut places = Vec::with_capacity(pairs.len());
        for (index, (name, _)) in pairs.iter().enumerate() {
            let shown = || String::from_utf8_lossy(name).into_owned();
            let failed = |reason: &str| SetError::Failed {
                name: shown(),
                reason: reason.to_string(),
            };
            let place = directive::find(name).ok_or_else(|| SetError::Unknown(shown()))?;
            let one = directive::all()[place];
            match one.change {
                Change::AtStart => return Err(failed("can't set immutable config")),
                Change::Protected
                    if !self
                        .enable_protected_configs
                        .allows(context.client_is_local) =>
                {
                    return Err(failed("can't set protected config"));
                }
                _ => {}
            }
            if context.loading && one.not_while_loading {
                return Err(SetError::Loading);
            }
            // A name and its alias are two names here, as in Redis: the later one wins.
            if pairs[..index]
                .iter()
                .any(|(earlier, _)| earlier.eq_ignore_ascii_case(name))
            {
                return Err(failed("duplicate parameter"));
            }
            places.push(place);
        }
        Ok(places)
    }
}

impl super::choice::ProtectedAction {
    /// Whether a client may do what is protected.
    pub fn allows(self, client_is_local: bool) -> bool {
        match self {
            Self::No => false,
            Self::Yes => true,
            Self::Local => client_is_local,
        }
    }
}

/// Redis names the directive in lower case once its value was looked at, and as the client wrote it before that.
fn canonical(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_ascii_lowercase()
}

/// CONFIG SET gives all words of a directive in one argument; they stand between single blanks, without quotes.
fn set_words(text: &[u8], many: bool) -> Vec<Vec<u8>> {
    match text {
        _ if !many => vec![text.to_vec()],
        b"" => Vec::new(),
        text => text
            .split(|byte| *byte == b' ')
            .map(<[u8]>::to_vec)
            .collect(),
    }
}

/// What the operator should know about a value that is accepted.
pub(super) fn warning(value: &Value) -> Option<String> {
    match value {
        Value::OomValues([primary, replica, child]) if replica < primary || child < replica => Some(
            "The oom-score-adj-values configuration may not work for non-privileged processes! Please consult the \
             documentation."
                .to_string(),
        ),
        _ => None,
    }
}
