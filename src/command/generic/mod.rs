//! Commands on keys of any type. One file for each thing that is done to a key.

use super::spec::Command;

mod dump;
mod exists;
mod expire;
mod migrate;
mod moves;
mod object;
mod scan;
mod sort;
mod wait;

pub use scan::{cursor_begins, cursor_slot};

pub(super) const COMMANDS: &[Command] = &[
    moves::COPY,
    exists::DEL,
    dump::DUMP,
    exists::EXISTS,
    expire::EXPIRE,
    expire::EXPIREAT,
    expire::EXPIRETIME,
    scan::KEYS,
    migrate::MIGRATE,
    moves::MOVE,
    object::OBJECT,
    expire::PERSIST,
    expire::PEXPIRE,
    expire::PEXPIREAT,
    expire::PEXPIRETIME,
    expire::PTTL,
    scan::RANDOMKEY,
    moves::RENAME,
    moves::RENAMENX,
    dump::RESTORE,
    dump::RESTORE_ASKING,
    scan::SCAN,
    sort::SORT,
    sort::SORT_RO,
    exists::TOUCH,
    expire::TTL,
    object::TYPE,
    exists::UNLINK,
    wait::WAIT,
    wait::WAITAOF,
];
