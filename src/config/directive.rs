//! What a configuration directive is, and how one is found by name.
//!
//! Each directive is declared once, in `table/`. From that one line follow parsing, CONFIG GET, CONFIG SET, CONFIG
//! REWRITE and the lists in docs/compatibility.md; the typed names that code reads are in `fields.rs`, and a
//! test holds the two together: what is [`Role::Honoured`] has a field.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::table;
use super::value::{Kind, Value};

/// One directive.
#[derive(Debug)]
pub struct Directive {
    /// The name, in lower case.
    pub name: &'static str,
    /// An older name for the same thing; CONFIG GET shows both, CONFIG REWRITE writes `name`.
    pub alias: Option<&'static str>,
    /// The type and its bounds.
    pub kind: Kind,
    /// The default, as it would stand in a file.
    pub default: &'static str,
    /// When it can be changed.
    pub change: Change,
    /// What this build does with it.
    pub role: Role,
    /// Left out of CONFIG GET unless asked for by its full name.
    pub hidden: bool,
    /// A password or the like: its value must not reach logs, MONITOR or the slow log.
    pub sensitive: bool,
    /// Setting it to the value it has counts as a change, because the file that it names may be another one by now.
    pub volatile: bool,
    /// Cannot be set while a data set is being loaded.
    pub not_while_loading: bool,
}

/// When a directive can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// At start only.
    AtStart,
    /// At start only, but CONFIG SET may name the value in force: for what Redis does not have, since tools that put back
    /// all that CONFIG GET gave know which of Redis's to leave out and not which of ours.
    Settled,
    /// With CONFIG SET.
    AtRunTime,
    /// With CONFIG SET if `enable-protected-configs` lets this client.
    Protected,
}

/// What this build does with a directive.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// What it says is done.
    Honoured,
    /// Known and kept, but without effect, for the reason given: no promise to the user hangs on it.
    Accepted(&'static str),
    /// Refused when `asks` says that the value asks for a promise that this build cannot keep.
    Refused {
        /// Whether a value asks for it.
        asks: fn(&Value) -> bool,
        /// What is missing, as it fits into "this build does not have ... yet".
        feature: &'static str,
        /// The value that can be set instead.
        instead: &'static str,
    },
}

impl Directive {
    /// A directive with none of the rare properties; the methods below add those.
    pub(super) const fn new(
        name: &'static str,
        alias: Option<&'static str>,
        kind: Kind,
        default: &'static str,
        change: Change,
        role: Role,
    ) -> Directive {
        Directive {
            name,
            alias,
            kind,
            default,
            change,
            role,
            hidden: false,
            sensitive: false,
            volatile: false,
            not_while_loading: false,
        }
    }

    pub(super) const fn hidden(mut self) -> Directive {
        self.hidden = true;
        self
    }

    pub(super) const fn sensitive(mut self) -> Directive {
        self.sensitive = true;
        self
    }

    pub(super) const fn volatile(mut self) -> Directive {
        self.volatile = true;
        self
    }

    pub(super) const fn not_while_loading(mut self) -> Directive {
        self.not_while_loading = true;
        self
    }

    /// The text that refuses `value`, if it asks for what this build does not have.
    pub(super) fn refusal(&self, value: &Value) -> Option<String> {
        match self.role {
            Role::Refused {
                asks,
                feature,
                instead,
            } if asks(value) => Some(refusal_text(feature, Some(instead))),
            _ => None,
        }
    }
}

/// The text that refuses a directive whose promise this build cannot keep.
pub(super) fn refusal_text(feature: &str, instead: Option<&str>) -> String {
    let instead = match instead {
        Some("") => " or set it to \"\"".to_string(),
        Some(value) => format!(" or set it to {value}"),
        None => String::new(),
    };
    format!("this build of Slotwise does not have {feature} yet; remove the line{instead}")
}

/// A directive that stands in files only: it is an act (`include`) or a list kept elsewhere, and CONFIG GET and SET do
/// not know it.
#[derive(Debug)]
pub struct FileDirective {
    /// The name, in lower case.
    pub name: &'static str,
    /// What is missing for it; `None` when it is honoured.
    pub lacks: Option<&'static str>,
}

/// All directives, in the order in which CONFIG GET lists them.
pub fn all() -> &'static [&'static Directive] {
    static ALL: LazyLock<Vec<&'static Directive>> = LazyLock::new(|| {
        table::TOPICS
            .iter()
            .flat_map(|topic| topic.iter())
            .collect()
    });
    &ALL
}

/// The place in [`all`] of the directive called `name` (or with that alias), whatever the case.
pub fn find(name: &[u8]) -> Option<usize> {
    static PLACES: LazyLock<HashMap<&'static str, usize>> = LazyLock::new(|| {
        let names = all().iter().enumerate();
        names
            .flat_map(|(place, one)| {
                [Some(one.name), one.alias]
                    .into_iter()
                    .flatten()
                    .map(move |n| (n, place))
            })
            .collect()
    });
    let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
    PLACES.get(name.as_str()).copied()
}

/// The directives that are known but have no effect, each with the reason.
pub fn accepted() -> impl Iterator<Item = (&'static str, &'static str)> {
    all().iter().filter_map(|one| match one.role {
        Role::Accepted(reason) => Some((one.name, reason)),
        _ => None,
    })
}

/// The directives that are refused when their value asks for it, each with what is missing; those that stand in files
/// only come last.
pub fn refused() -> impl Iterator<Item = (&'static str, &'static str)> {
    let settable = all().iter().filter_map(|one| match one.role {
        Role::Refused { feature, .. } => Some((one.name, feature)),
        _ => None,
    });
    settable.chain(
        table::FILE_ONLY
            .iter()
            .filter_map(|one| Some((one.name, one.lacks?))),
    )
}

/// The directives that do what they say; those that stand in files only come last.
pub fn honoured() -> impl Iterator<Item = &'static str> {
    let settable = all()
        .iter()
        .filter(|one| matches!(one.role, Role::Honoured))
        .map(|one| one.name);
    settable.chain(
        table::FILE_ONLY
            .iter()
            .filter(|one| one.lacks.is_none())
            .map(|one| one.name),
    )
}

/// Whether the value of the directive called `name` must be kept out of logs, MONITOR and the slow log.
pub fn is_sensitive(name: &[u8]) -> bool {
    find(name).is_some_and(|place| all()[place].sensitive)
}
