//! The table of all directives: every one that Redis 7.2 knows, and our own. One line is one declaration.
//!
//! A directive moves from accepted or refused to honoured by changing its last word here, giving it a field in
//! `../fields.rs` and a paragraph in `config/slotwise.conf`; tests insist on the latter two.

mod cluster;
mod durability;
mod keyspace;
mod process;
mod serving;

use super::directive::{Directive, FileDirective, Role};
use super::value::{Kind, Value};

/// The directives by topic.
pub(super) const TOPICS: [&[Directive]; 5] = [
    serving::DIRECTIVES,
    keyspace::DIRECTIVES,
    process::DIRECTIVES,
    durability::DIRECTIVES,
    cluster::DIRECTIVES,
];

/// The directives that stand in files only.
pub(super) const FILE_ONLY: &[FileDirective] = &[
    FileDirective {
        name: "include",
        lacks: None,
    },
    FileDirective {
        name: "rename-command",
        lacks: None,
    },
    FileDirective {
        name: "user",
        lacks: None,
    },
    FileDirective {
        name: "loadmodule",
        lacks: Some("modules"),
    },
    FileDirective {
        name: "sentinel",
        lacks: Some("the Sentinel mode"),
    },
];

/// Directives that Redis dropped but still lets stand in a file, with one value.
pub(super) const DROPPED: [&str; 3] = [
    "list-max-ziplist-entries",
    "list-max-ziplist-value",
    "lua-replicate-commands",
];

const INT_MAX: i64 = i32::MAX as i64;
const UINT_MAX: i64 = u32::MAX as i64;
const LONG_MAX: u64 = i64::MAX as u64;

/// A count from 0 to the largest int.
const COUNT: Kind = Kind::Number(0, INT_MAX);
/// A count from 0 to the largest long.
const LONG_COUNT: Kind = Kind::Number(0, i64::MAX);
/// A TCP port; 0 means none.
const PORT: Kind = Kind::Number(0, 65535);
/// Bytes up to what a signed number holds.
const BYTES: Kind = Kind::Memory(0, LONG_MAX);

/// Refused for every value but `no` or 0, the empty text and nothing.
const fn refused(feature: &'static str, instead: &'static str) -> Role {
    Role::Refused {
        asks: is_set,
        feature,
        instead,
    }
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::YesNo(yes) => *yes,
        Value::Number(number) => *number != 0,
        Value::Text(text) => !text.is_empty(),
        Value::Primary(primary) => primary.is_some(),
        _ => true,
    }
}

fn base_name(text: &[u8], error: &'static str) -> Result<(), &'static str> {
    if text.contains(&b'/') || text.contains(&b'\\') {
        Err(error)
    } else {
        Ok(())
    }
}
