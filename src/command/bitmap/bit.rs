//! Single bits, and counting and finding them: SETBIT, GETBIT, BITCOUNT, BITPOS.

use crate::base::number::parse_i64;
use crate::command::parse;
use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};
use crate::command::string::with_bytes;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard};
use crate::structures::bitmap;

use super::{bit_offset, room_for};

pub(super) const SETBIT: Command = Command {
    name: "SETBIT",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::BITMAP,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::UPDATE),
    )],
    docs: Docs {
        group: Group::Bitmap,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Sets or clears one bit of a string, which grows as far as needed.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("offset"),
            Argument::integer("value"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(setbit),
    subcommands: &[],
};

pub(super) const GETBIT: Command = Command {
    name: "GETBIT",
    arity: Arity::Exactly(3),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::BITMAP,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Bitmap,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Reads one bit of a string.",
        arguments: &[Argument::key("key"), Argument::integer("offset")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(getbit),
    subcommands: &[],
};

pub(super) const BITCOUNT: Command = Command {
    name: "BITCOUNT",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY,
    acl: Acl::BITMAP,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Bitmap,
        since: "2.6.0",
        complexity: "O(N)",
        summary: "Counts the bits that are set in a string or a part of it.",
        arguments: &[
            Argument::key("key"),
            Argument::block(
                "range",
                &[
                    Argument::integer("start"),
                    Argument::integer("end"),
                    Argument::one_of(
                        "unit",
                        &[Argument::word("byte", "BYTE"), Argument::word("bit", "BIT")],
                    )
                    .optional()
                    .since("7.0.0"),
                ],
            )
            .optional(),
        ],
        history: &[("7.0.0", "Has the option `BYTE|BIT`.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(bitcount),
    subcommands: &[],
};

pub(super) const BITPOS: Command = Command {
    name: "BITPOS",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY,
    acl: Acl::BITMAP,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Bitmap,
        since: "2.8.7",
        complexity: "O(N)",
        summary: "Finds the first bit of a string that is set, or that is clear.",
        arguments: &[
            Argument::key("key"),
            Argument::integer("bit"),
            Argument::block(
                "range",
                &[
                    Argument::integer("start"),
                    Argument::block(
                        "end-unit-block",
                        &[
                            Argument::integer("end"),
                            Argument::one_of(
                                "unit",
                                &[Argument::word("byte", "BYTE"), Argument::word("bit", "BIT")],
                            )
                            .optional()
                            .since("7.0.0"),
                        ],
                    )
                    .optional(),
                ],
            )
            .optional(),
        ],
        history: &[("7.0.0", "Has the option `BYTE|BIT`.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(bitpos),
    subcommands: &[],
};

fn setbit(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let offset = bit_offset(shard, args.get(2))?;
    let on = match parse_i64(args.get(3)) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(ErrorReply::BIT_VALUE),
    };
    let (key, at) = (args.key(1), (offset / 8) as usize);
    let mask = 0x80 >> (offset % 8);
    let (bytes, grown) = room_for(shard, args, &key, at, at + 1)?;
    let was = bytes[at] & mask != 0;
    if was != on {
        bytes[at] ^= mask;
    }
    // As in 7.2, what changes nothing is no change, though the string is `raw` from now on.
    if grown || was != on {
        shard.changed(args.db(), &key, Class::String, "setbit");
    }
    reply.integer(was.into());
    Ok(())
}

fn getbit(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let offset = bit_offset(shard, args.get(2))?;
    let entry = shard.read(&args.caller, &args.key(1));
    let mask = 0x80 >> (offset % 8);
    let bit = with_bytes(entry, |bytes| {
        bytes
            .get((offset / 8) as usize)
            .is_some_and(|byte| byte & mask != 0)
    })?;
    reply.integer(bit.into());
    Ok(())
}

/// The unit of a range that argument `index` names, if it is there.
fn counts_bits(args: &Args<'_>, index: usize) -> Result<bool, ErrorReply> {
    match args.opt(index) {
        None => Ok(false),
        Some(_) if args.is(index, "BIT") => Ok(true),
        Some(_) if args.is(index, "BYTE") => Ok(false),
        Some(_) => Err(ErrorReply::SYNTAX),
    }
}

/// The bits of a range in bytes or bits, whose negative ends count from the end of the string: first and last one.
fn bit_range(start: i64, end: i64, in_bits: bool, length: usize) -> Option<(u64, u64)> {
    let total = length as i64 * if in_bits { 8 } else { 1 };
    let place = |at: i64| if at < 0 { (at + total).max(0) } else { at };
    let (start, end) = (place(start), place(end).min(total - 1));
    if start > end {
        return None;
    }
    let (start, end) = (start as u64, end as u64);
    Some(if in_bits {
        (start, end)
    } else {
        (start * 8, end * 8 + 7)
    })
}

fn bitcount(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    // A missing key is zero whatever else is asked, as in 7.2.
    let Some(entry) = shard.read(&args.caller, &args.key(1)) else {
        reply.count(0);
        return Ok(());
    };
    with_bytes(Some(entry), |_| ())?;
    let ones = match args.len() {
        2 => with_bytes(Some(entry), bitmap::count_ones)?,
        4 | 5 => {
            let (start, end) = (parse::integer(args, 2)?, parse::integer(args, 3)?);
            if start < 0 && end < 0 && start > end {
                0
            } else {
                let in_bits = counts_bits(args, 4)?;
                with_bytes(Some(entry), |bytes| {
                    bit_range(start, end, in_bits, bytes.len()).map_or(0, |(first, last)| {
                        bitmap::count_ones_between(bytes, first, last)
                    })
                })?
            }
        }
        _ => return Err(ErrorReply::SYNTAX),
    };
    reply.integer(ones as i64);
    Ok(())
}

fn bitpos(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let bit = match parse::integer(args, 2)? {
        0 => false,
        1 => true,
        _ => return Err(ErrorReply::BIT_ARGUMENT),
    };
    // A missing key is zeros without end.
    let Some(entry) = shard.read(&args.caller, &args.key(1)) else {
        reply.integer(if bit { -1 } else { 0 });
        return Ok(());
    };
    with_bytes(Some(entry), |_| ())?;
    let (mut start, mut end, mut in_bits) = (0, -1, false);
    let end_given = args.len() >= 5;
    match args.len() {
        3 => {}
        4..=6 => {
            start = parse::integer(args, 3)?;
            in_bits = counts_bits(args, 5)?;
            if end_given {
                end = parse::integer(args, 4)?;
            }
        }
        _ => return Err(ErrorReply::SYNTAX),
    }
    let place = with_bytes(Some(entry), |bytes| {
        let (first, last) = bit_range(start, end, in_bits, bytes.len())?;
        // Where no end was given, zeros follow the string.
        bitmap::find(bytes, bit, first, last).or_else(|| (!bit && !end_given).then_some(last + 1))
    })?;
    reply.integer(place.map_or(-1, |place| place as i64));
    Ok(())
}
