//! Parts of strings: reading them, overwriting them, adding at the end.

use crate::base::number::parse_i64;
use crate::keyspace::KeyEntry;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard};
use crate::structures::entry::{NewValue, Payload};

use super::{string_value, with_bytes};
use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};

pub(super) const APPEND: Command = Command {
    name: "APPEND",
    arity: Arity::Exactly(3),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    acl: Acl::STRING,
    keys: &[KeySpec::one(1, Access::RW.and(Access::INSERT))],
    docs: Docs {
        group: Group::String,
        since: "2.0.0",
        complexity: "O(1). The amortized time complexity is O(1) assuming the appended value is small and the already present value is of any size, since the dynamic string library used by Redis will double the free space available on every reallocation.",
        summary: "Adds bytes to the end of a string.",
        arguments: &[Argument::key("key"), Argument::string("value")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(append),
    subcommands: &[],
};

pub(super) const GETRANGE: Command = Command {
    name: "GETRANGE",
    arity: Arity::Exactly(4),
    flags: Flags::READONLY,
    acl: Acl::STRING,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::String,
        since: "2.4.0",
        complexity: "O(N) where N is the length of the returned string. The complexity is ultimately determined by the returned length, but because creating a substring from an existing string is very cheap, it can be considered O(1) for small strings.",
        summary: "Reads a part of a string.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("start"),
            Argument::integer("end"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(getrange),
    subcommands: &[],
};

pub(super) const SETRANGE: Command = Command {
    name: "SETRANGE",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::STRING,
    keys: &[KeySpec::one(1, Access::RW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::String,
        since: "2.2.0",
        complexity: "O(1), not counting the time taken to copy the new string in place. Usually, this string is very small so the amortized complexity is O(1). Otherwise, complexity is O(M) with M being the length of the value argument.",
        summary: "Overwrites a part of a string, from an offset on.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("offset"),
            Argument::string("value"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(setrange),
    subcommands: &[],
};

pub(super) const STRLEN: Command = Command {
    name: "STRLEN",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::STRING,
    keys: &[KeySpec::one(1, Access::RO)],
    docs: Docs {
        group: Group::String,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Gives the length of a string.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(strlen),
    subcommands: &[],
};

pub(super) const SUBSTR: Command = Command {
    name: "SUBSTR",
    arity: Arity::Exactly(4),
    flags: Flags::READONLY,
    acl: Acl::STRING,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::String,
        since: "1.0.0",
        complexity: "O(N) where N is the length of the returned string. The complexity is ultimately determined by the returned length, but because creating a substring from an existing string is very cheap, it can be considered O(1) for small strings.",
        summary: "Reads a part of a string; the older name of GETRANGE.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("start"),
            Argument::integer("end"),
        ],
        history: &[],
        tips: &[],
        deprecated: Some(("2.0.0", "`GETRANGE`")),
    },
    run: Run::Shard(getrange),
    subcommands: &[],
};

/// How long a string entry's bytes are.
fn length(entry: &KeyEntry) -> Result<usize, ErrorReply> {
    with_bytes(Some(entry), <[u8]>::len)
}

/// Refuses a string that would pass `proto-max-bulk-len`.
fn check_length(shard: &Shard, length: usize, more: usize) -> Result<(), ErrorReply> {
    match length.checked_add(more) {
        Some(total) if total as u64 <= shard.config.proto_max_bulk_len => Ok(()),
        _ => Err(ErrorReply::STRING_TOO_LONG),
    }
}

/// Makes a string entry's bytes editable in `edit`. A long string keeps its allocation, which grows by doubling; a short
/// one is rebuilt, which is a copy of few bytes.
pub(in crate::command) fn edit(entry: &mut KeyEntry, edit: impl FnOnce(&mut Vec<u8>)) {
    if let Some(long) = entry.long_mut() {
        edit(long);
        return;
    }
    let mut bytes = entry.take_string().unwrap_or_default();
    edit(&mut bytes);
    entry.set_string(bytes);
    entry.set_raw(true);
}

fn append(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (key, more) = (args.key(1), args.get(2));
    // What is there stays as it is.
    let none = usize::MAX..usize::MAX;
    let found = shard.write_bytes(&args.caller, &key, none.clone());
    let total = match found.map(|entry| length(entry)) {
        None => {
            shard.put(&args.caller, &key, string_value(more), false);
            more.len()
        }
        Some(length) => {
            let length = length?;
            check_length(shard, length, more.len())?;
            if let Some(entry) = shard.edit_bytes(args.db(), &key, none) {
                edit(entry, |bytes| bytes.extend_from_slice(more));
            }
            length + more.len()
        }
    };
    shard.changed(args.db(), &key, Class::String, "append");
    reply.count(total);
    Ok(())
}

fn setrange(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let (key, part) = (args.key(1), args.get(3));
    let offset = parse_i64(args.get(2)).ok_or(ErrorReply::NOT_INTEGER)?;
    let offset = usize::try_from(offset).map_err(|_| ErrorReply::OFFSET_OUT_OF_RANGE)?;
    let changes = offset..offset.saturating_add(part.len());
    let old = match shard.write_bytes(&args.caller, &key, changes.clone()) {
        Some(entry) => Some(length(entry)?),
        None => None,
    };
    if part.is_empty() {
        reply.count(old.unwrap_or(0));
        return Ok(());
    }
    check_length(shard, offset, part.len())?;
    let end = offset + part.len();
    let overwrite = |bytes: &mut Vec<u8>| {
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset..end].copy_from_slice(part);
    };
    if old.is_none() {
        shard.put(&args.caller, &key, NewValue::Bytes(b""), false);
    }
    if let Some(entry) = shard.edit_bytes(args.db(), &key, changes) {
        match entry.bytes_mut() {
            Some(bytes) if bytes.len() >= end => {
                bytes[offset..end].copy_from_slice(part);
                entry.set_raw(true);
            }
            _ => edit(entry, overwrite),
        }
    }
    shard.changed(args.db(), &key, Class::String, "setrange");
    reply.count(end.max(old.unwrap_or(0)));
    Ok(())
}

fn strlen(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let entry = shard.read(&args.caller, &args.key(1));
    reply.count(with_bytes(entry, <[u8]>::len)?);
    Ok(())
}

/// GETRANGE and its older name SUBSTR.
fn getrange(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let start = parse_i64(args.get(2)).ok_or(ErrorReply::NOT_INTEGER)?;
    let end = parse_i64(args.get(3)).ok_or(ErrorReply::NOT_INTEGER)?;
    match shard
        .read(&args.caller, &args.key(1))
        .map(KeyEntry::payload)
    {
        Some(Payload::Bytes(bytes)) => reply.bulk(cut(bytes, start, end)),
        Some(Payload::Int(number)) => {
            let digits = crate::base::number::format_i64(number);
            reply.bulk(cut(&digits, start, end));
        }
        Some(Payload::Boxed(_)) => return Err(ErrorReply::WRONG_TYPE),
        None => reply.bulk(b""),
    }
    Ok(())
}

/// The bytes from `start` to `end` inclusive; negative ones count from the end. An end before the first byte means the
/// first byte, except where both bounds are negative and crossed (GETRANGE, 7.2).
fn cut(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    let length = bytes.len() as i64;
    if length == 0 || (start < 0 && end < 0 && start > end) {
        return b"";
    }
    let place = |at: i64| {
        if at < 0 {
            at.saturating_add(length).max(0)
        } else {
            at
        }
    };
    let (start, end) = (place(start), place(end).min(length - 1));
    if start > end {
        return b"";
    }
    &bytes[start as usize..=end as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::harness::Harness;
    use crate::command::string::tests::set_list;

    #[test]
    fn ranges_are_cut_as_redis_cuts_them() {
        for (start, end, expected) in [
            (0, -1, "hello"),
            (-3, -1, "llo"),
            (-100, 2, "hel"),
            (-1, -3, ""),
            (3, 1, ""),
            (0, i64::MAX, "hello"),
            (i64::MIN, i64::MAX, "hello"),
            (-100, -200, ""),
            (-200, -100, "h"),
            (5, 5, ""),
        ] {
            assert_eq!(
                cut(b"hello", start, end),
                expected.as_bytes(),
                "{start} {end}"
            );
        }
        assert_eq!(cut(b"", 0, -1), b"");
    }

    #[test]
    fn reading_a_part_looks_at_the_numbers_first() {
        let mut h = Harness::new(1);
        h.line("SET n 12345");
        set_list(&mut h, "l");
        assert_eq!(h.line("GETRANGE n 1 2"), "$2\r\n23\r\n");
        assert_eq!(h.line("SUBSTR n -2 -1"), "$2\r\n45\r\n");
        assert_eq!(h.line("GETRANGE none 0 1"), "$0\r\n\r\n");
        assert_eq!(
            h.line("GETRANGE l a 1"),
            "-ERR value is not an integer or out of range\r\n"
        );
        assert!(h.line("GETRANGE l 0 1").starts_with("-WRONGTYPE"));
        assert!(h.line("STRLEN l").starts_with("-WRONGTYPE"));
        assert_eq!(h.line("STRLEN n"), ":5\r\n");
        assert_eq!(h.line("STRLEN none"), ":0\r\n");
    }

    #[test]
    fn an_edited_string_is_raw_and_keeps_its_expiry() {
        let mut h = Harness::new(1);
        assert_eq!(h.line("APPEND a 12"), ":2\r\n");
        assert_eq!(h.line("OBJECT ENCODING a"), "$3\r\nint\r\n");
        h.line("EXPIRE a 100");
        assert_eq!(h.line("APPEND a x"), ":3\r\n");
        assert_eq!(h.line("OBJECT ENCODING a"), "$3\r\nraw\r\n");
        assert_eq!(h.line("TTL a"), ":100\r\n");
        assert_eq!(h.line("SETRANGE b 3 abc"), ":6\r\n");
        assert_eq!(h.line("GET b"), "$6\r\n\0\0\0abc\r\n");
        assert_eq!(h.line("OBJECT ENCODING b"), "$3\r\nraw\r\n");
        h.line("SET i 56");
        assert_eq!(h.line("SETRANGE i 0 9"), ":2\r\n");
        assert_eq!(h.line("GET i"), "$2\r\n96\r\n");
        assert_eq!(h.line("OBJECT ENCODING i"), "$3\r\nraw\r\n");
    }

    #[test]
    fn appending_passes_from_short_to_long_strings() {
        let mut h = Harness::new(1);
        let mut expected = String::new();
        for n in 0..300 {
            let part = format!("part{n};");
            expected.push_str(&part);
            assert_eq!(
                h.run(&["APPEND", "k", &part]),
                format!(":{}\r\n", expected.len())
            );
        }
        assert_eq!(
            h.line("GET k"),
            format!("${}\r\n{expected}\r\n", expected.len())
        );
        assert_eq!(
            h.line("SETRANGE k 3 XYZ"),
            format!(":{}\r\n", expected.len())
        );
        assert_eq!(h.line("GETRANGE k 0 7"), "$8\r\nparXYZpa\r\n");
    }

    #[test]
    fn setrange_refuses_bad_offsets_and_writes_nothing_for_nothing() {
        let mut h = Harness::new(1);
        assert_eq!(h.run(&["SETRANGE", "k", "5", ""]), ":0\r\n");
        assert_eq!(h.line("EXISTS k"), ":0\r\n");
        assert_eq!(
            h.run(&["SETRANGE", "k", "-1", ""]),
            "-ERR offset is out of range\r\n"
        );
        let too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n";
        assert_eq!(h.line("SETRANGE k 9223372036854775807 x"), too_long);
        assert_eq!(h.line("SETRANGE k 536870912 x"), too_long);
        h.line("SET k abc");
        h.effects();
        assert_eq!(h.run(&["SETRANGE", "k", "1", ""]), ":3\r\n");
        assert!(h.effects().is_empty());
    }
}
