//! BITFIELD and BITFIELD_RO: integers of any width at any bit of a string.

use smallvec::SmallVec;

use crate::base::number::parse_i64;
use crate::command::parse;
use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};
use crate::command::string::with_bytes;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard};
use crate::structures::bitmap::{FieldKind, Overflow};

use super::{check_bit_offset, room_for};

pub(super) const BITFIELD: Command = Command {
    name: "BITFIELD",
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::BITMAP,
    keys: &[KeySpec {
        notes: "Reads the key, and changes it where an operation writes",
        ..KeySpec::one(
            1,
            Access::RW
                .and(Access::ACCESS)
                .and(Access::UPDATE)
                .and(Access::VARIABLE_FLAGS),
        )
    }],
    docs: Docs {
        group: Group::Bitmap,
        since: "3.2.0",
        complexity: "O(1) for each subcommand specified",
        summary: "Reads, writes and increments integers of any width within a string.",
        arguments: &[
            Argument::key("key"),
            Argument::one_of(
                "operation",
                &[
                    Argument::block(
                        "get-block",
                        &[Argument::string("encoding"), Argument::integer("offset")],
                    )
                    .token("GET"),
                    Argument::block(
                        "write",
                        &[
                            Argument::one_of(
                                "overflow-block",
                                &[
                                    Argument::word("wrap", "WRAP"),
                                    Argument::word("sat", "SAT"),
                                    Argument::word("fail", "FAIL"),
                                ],
                            )
                            .token("OVERFLOW")
                            .optional(),
                            Argument::one_of(
                                "write-operation",
                                &[
                                    Argument::block(
                                        "set-block",
                                        &[
                                            Argument::string("encoding"),
                                            Argument::integer("offset"),
                                            Argument::integer("value"),
                                        ],
                                    )
                                    .token("SET"),
                                    Argument::block(
                                        "incrby-block",
                                        &[
                                            Argument::string("encoding"),
                                            Argument::integer("offset"),
                                            Argument::integer("increment"),
                                        ],
                                    )
                                    .token("INCRBY"),
                                ],
                            ),
                        ],
                    ),
                ],
            )
            .optional()
            .multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(bitfield),
    subcommands: &[],
};

pub(super) const BITFIELD_RO: Command = Command {
    name: "BITFIELD_RO",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::BITMAP,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Bitmap,
        since: "6.0.0",
        complexity: "O(1) for each subcommand specified",
        summary: "Reads integers of any width within a string.",
        arguments: &[
            Argument::key("key"),
            Argument::block(
                "get-block",
                &[Argument::string("encoding"), Argument::integer("offset")],
            )
            .token("GET")
            .optional()
            .multiple()
            .multiple_token(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(bitfield_ro),
    subcommands: &[],
};

/// One operation on one field.
#[derive(Clone, Copy)]
struct Operation {
    kind: FieldKind,
    /// In bits.
    offset: u64,
    what: What,
    overflow: Overflow,
}

#[derive(Clone, Copy)]
enum What {
    Get,
    Set(i64),
    Increment(i64),
}

type Operations = SmallVec<[Operation; 4]>;

/// The kind that a word like `u8` or `i64` names.
fn field_kind(word: &[u8]) -> Result<FieldKind, ErrorReply> {
    let (signed, most) = match word.first() {
        Some(b'i') => (true, 64),
        Some(b'u') => (false, 63),
        _ => return Err(ErrorReply::BITFIELD_TYPE),
    };
    match parse_i64(&word[1..]) {
        Some(bits) if (1..=most).contains(&bits) => Ok(FieldKind {
            signed,
            bits: bits as u32,
        }),
        _ => Err(ErrorReply::BITFIELD_TYPE),
    }
}

/// An offset in bits, or with `#` before it in fields of that width.
fn field_offset(shard: &Shard, word: &[u8], kind: FieldKind) -> Result<u64, ErrorReply> {
    let offset = match word {
        [b'#', fields @ ..] => {
            parse_i64(fields).and_then(|fields| fields.checked_mul(i64::from(kind.bits)))
        }
        bits => parse_i64(bits),
    };
    check_bit_offset(shard, offset)
}

fn operations(shard: &Shard, args: &Args<'_>) -> Result<Operations, ErrorReply> {
    let mut operations = Operations::new();
    let mut overflow = Overflow::Wrap;
    let mut at = 2;
    while at < args.len() {
        let left = args.len() - at - 1;
        let (get, set, increment) = (
            args.is(at, "GET") && left >= 2,
            args.is(at, "SET") && left >= 3,
            args.is(at, "INCRBY") && left >= 3,
        );
        if !(get || set || increment) {
            if !args.is(at, "OVERFLOW") || left < 1 {
                return Err(ErrorReply::SYNTAX);
            }
            overflow = match at + 1 {
                word if args.is(word, "WRAP") => Overflow::Wrap,
                word if args.is(word, "SAT") => Overflow::Saturate,
                word if args.is(word, "FAIL") => Overflow::Fail,
                _ => return Err(ErrorReply::BITFIELD_OVERFLOW),
            };
            at += 2;
            continue;
        }
        let kind = field_kind(args.get(at + 1))?;
        let offset = field_offset(shard, args.get(at + 2), kind)?;
        let what = if get {
            What::Get
        } else {
            let number = parse::integer(args, at + 3)?;
            if set {
                What::Set(number)
            } else {
                What::Increment(number)
            }
        };
        operations.push(Operation {
            kind,
            offset,
            what,
            overflow,
        });
        at += if get { 3 } else { 4 };
    }
    Ok(operations)
}

/// How many bytes the string must have for what is written; zero when nothing is.
fn bytes_needed(operations: &Operations) -> usize {
    operations
        .iter()
        .filter(|operation| !matches!(operation.what, What::Get))
        .map(|operation| (operation.offset + u64::from(operation.kind.bits)).div_ceil(8) as usize)
        .max()
        .unwrap_or(0)
}

fn bitfield(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let operations = operations(shard, args)?;
    match bytes_needed(&operations) {
        0 => read(shard, args, &operations, reply),
        bytes => write(shard, args, &operations, bytes, reply),
    }
}

fn bitfield_ro(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let operations = operations(shard, args)?;
    if bytes_needed(&operations) > 0 {
        return Err(ErrorReply::BITFIELD_READS);
    }
    read(shard, args, &operations, reply)
}

fn read(
    shard: &mut Shard,
    args: &Args<'_>,
    operations: &Operations,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let entry = shard.read(&args.caller, &args.key(1));
    with_bytes(entry, |bytes| {
        reply.array(operations.len());
        for operation in operations {
            reply.integer(operation.kind.get(bytes, operation.offset));
        }
    })
}

fn write(
    shard: &mut Shard,
    args: &Args<'_>,
    operations: &Operations,
    bytes_needed: usize,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let key = args.key(1);
    let writes = operations
        .iter()
        .filter(|one| !matches!(one.what, What::Get));
    let first = writes.map(|one| (one.offset / 8) as usize).min();
    let (bytes, grown) = room_for(shard, args, &key, first.unwrap_or(0), bytes_needed)?;
    reply.array(operations.len());
    let mut changes = 0;
    for operation in operations {
        let (kind, offset) = (operation.kind, operation.offset);
        let old = kind.get(bytes, offset);
        let wanted = match operation.what {
            What::Get => {
                reply.integer(old);
                continue;
            }
            // Redis's sum overflows for the least numbers, so that they saturate at the other end.
            What::Set(number)
                if operation.overflow == Overflow::Saturate && kind.wraps_below(number) =>
            {
                i128::from(i64::MAX)
            }
            // A number that is too large for an unsigned field counts as 64 bits without a sign.
            What::Set(number) if !kind.signed => i128::from(number as u64),
            What::Set(number) => i128::from(number),
            What::Increment(by) => i128::from(old) + i128::from(by),
        };
        let Some(new) = kind.fit(wanted, operation.overflow) else {
            reply.null();
            continue;
        };
        kind.set(bytes, offset, new);
        changes += u64::from(grown || old != new);
        reply.integer(match operation.what {
            What::Set(_) => old,
            _ => new,
        });
    }
    if changes > 0 {
        shard.changed_by(args.db(), &key, Class::String, "setbit", changes);
    } else if grown {
        // Redis announces nothing when all writes failed, and yet the string has grown: whoever reproduces must know.
        shard.effects.count(1);
    }
    Ok(())
}
