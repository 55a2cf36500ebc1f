//! Strings as numbers: the integer counters, and INCRBYFLOAT on the 80-bit floats of C's `long double`.

use crate::base::long_double::LongDouble;
use crate::base::number::parse_i64;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard};
use crate::structures::entry::{NewValue, Payload};

use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};

pub(super) const DECR: Command = Command {
    name: "DECR",
    arity: Arity::Exactly(2),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    acl: Acl::STRING,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::UPDATE),
    )],
    docs: Docs {
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Takes one from an integer.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(decr),
    subcommands: &[],
};

pub(super) const DECRBY: Command = Command {
    name: "DECRBY",
    arity: Arity::Exactly(3),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    acl: Acl::STRING,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::UPDATE),
    )],
    docs: Docs {
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Subtracts from an integer.",
        arguments: &[Argument::key("key"), Argument::integer("decrement")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(decrby),
    subcommands: &[],
};

pub(super) const INCR: Command = Command {
    name: "INCR",
    arity: Arity::Exactly(2),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    acl: Acl::STRING,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::UPDATE),
    )],
    docs: Docs {
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Adds one to an integer.",
        arguments: &[Argument::key("key")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(incr),
    subcommands: &[],
};

pub(super) const INCRBY: Command = Command {
    name: "INCRBY",
    arity: Arity::Exactly(3),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    acl: Acl::STRING,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::UPDATE),
    )],
    docs: Docs {
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Adds to an integer.",
        arguments: &[Argument::key("key"), Argument::integer("increment")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(incrby),
    subcommands: &[],
};

pub(super) const INCRBYFLOAT: Command = Command {
    name: "INCRBYFLOAT",
    arity: Arity::Exactly(3),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    acl: Acl::STRING,
    keys: &[KeySpec::one(
        1,
        Access::RW.and(Access::ACCESS).and(Access::UPDATE),
    )],
    docs: Docs {
        group: Group::String,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Adds to a floating-point number.",
        arguments: &[Argument::key("key"), Argument::double("increment")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(incrbyfloat),
    subcommands: &[],
};

fn incr(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    add(shard, args, 1, reply)
}

fn decr(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    add(shard, args, -1, reply)
}

fn incrby(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let increment = parse_i64(args.get(2)).ok_or(ErrorReply::NOT_INTEGER)?;
    add(shard, args, increment, reply)
}

fn decrby(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let decrement = parse_i64(args.get(2)).ok_or(ErrorReply::NOT_INTEGER)?;
    let increment = decrement
        .checked_neg()
        .ok_or(ErrorReply::DECREMENT_OVERFLOW)?;
    add(shard, args, increment, reply)
}

fn add(
    shard: &mut Shard,
    args: &Args<'_>,
    increment: i64,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let key = args.key(1);
    let sum = match shard.write(&args.caller, &key) {
        None => {
            shard.put(&args.caller, &key, NewValue::Int(increment), false);
            increment
        }
        Some(entry) => {
            let old = match entry.payload() {
                Payload::Int(old) => old,
                Payload::Bytes(bytes) => parse_i64(bytes).ok_or(ErrorReply::NOT_INTEGER)?,
                Payload::Boxed(_) => return Err(ErrorReply::WRONG_TYPE),
            };
            let sum = old.checked_add(increment).ok_or(ErrorReply::OVERFLOW)?;
            if !entry.set_int_in_place(sum) {
                entry.set_value(NewValue::Int(sum));
            }
            sum
        }
    };
    shard.changed(args.db(), &key, Class::String, "incrby");
    reply.integer(sum);
    Ok(())
}

fn incrbyfloat(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let key = args.key(1);
    let parse = |text: &[u8]| LongDouble::parse(text).ok_or(ErrorReply::NOT_FLOAT);
    let old = match shard.write(&args.caller, &key).map(|entry| entry.payload()) {
        None => Ok(LongDouble::from_i64(0)),
        Some(Payload::Int(old)) => Ok(LongDouble::from_i64(old)),
        Some(Payload::Bytes(bytes)) => parse(bytes),
        Some(Payload::Boxed(_)) => return Err(ErrorReply::WRONG_TYPE),
    }?;
    let sum = old
        .checked_add(parse(args.get(2))?)
        .ok_or(ErrorReply::NAN_OR_INFINITY)?
        .to_text();
    // Never kept as an integer, even when it is one: OBJECT ENCODING says `embstr`.
    shard.put(&args.caller.again(), &key, NewValue::Bytes(&sum), true);
    shard.changed(args.db(), &key, Class::String, "incrbyfloat");
    // The sum, because another machine's floats may differ in the last digit.
    shard
        .effects
        .record(args.db(), &[b"SET", key.bytes, &sum, b"KEEPTTL"]);
    reply.bulk(&sum);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::Harness;
    use crate::command::string::tests::set_list;

    #[test]
    fn counters_begin_at_zero_and_stop_at_64_bits() {
        let mut h = Harness::new(1);
        assert_eq!(h.line("INCR n"), ":1\r\n");
        assert_eq!(h.line("INCRBY n 41"), ":42\r\n");
        assert_eq!(h.line("DECR n"), ":41\r\n");
        assert_eq!(h.line("DECRBY n 50"), ":-9\r\n");
        assert_eq!(h.line("DECR m"), ":-1\r\n");
        assert_eq!(h.line("OBJECT ENCODING n"), "$3\r\nint\r\n");
        h.line("SET n 9223372036854775807");
        let overflow = "-ERR increment or decrement would overflow\r\n";
        assert_eq!(h.line("INCR n"), overflow);
        assert_eq!(h.line("GET n"), "$19\r\n9223372036854775807\r\n");
        assert_eq!(
            h.line("DECRBY n -9223372036854775808"),
            "-ERR decrement would overflow\r\n"
        );
        let not_integer = "-ERR value is not an integer or out of range\r\n";
        assert_eq!(h.line("INCRBY n 1.5"), not_integer);
        h.line("SET n 01");
        assert_eq!(h.line("INCR n"), not_integer);
        set_list(&mut h, "l");
        assert!(h.line("INCR l").starts_with("-WRONGTYPE"));
        assert_eq!(h.line("INCRBY l x"), not_integer);
    }

    #[test]
    fn counting_keeps_the_expiry_and_makes_an_edited_string_an_integer_again() {
        let mut h = Harness::new(1);
        h.line("SET n 5 EX 100");
        h.line("APPEND n 6");
        assert_eq!(h.line("OBJECT ENCODING n"), "$3\r\nraw\r\n");
        assert_eq!(h.line("INCR n"), ":57\r\n");
        assert_eq!(h.line("OBJECT ENCODING n"), "$3\r\nint\r\n");
        assert_eq!(h.line("TTL n"), ":100\r\n");
    }

    #[test]
    fn incrbyfloat_adds_like_a_long_double_and_records_the_sum() {
        let mut h = Harness::new(1);
        assert_eq!(h.line("INCRBYFLOAT f 0.1"), "$3\r\n0.1\r\n");
        assert_eq!(h.line("INCRBYFLOAT f 0.2"), "$3\r\n0.3\r\n");
        h.line("SET f 3.0e3");
        h.effects();
        assert_eq!(h.line("INCRBYFLOAT f 200"), "$4\r\n3200\r\n");
        assert_eq!(h.effects(), ["SET f 3200 KEEPTTL"]);
        assert_eq!(h.line("OBJECT ENCODING f"), "$6\r\nembstr\r\n");
        assert_eq!(
            h.line("INCRBYFLOAT f inf"),
            "-ERR increment would produce NaN or Infinity\r\n"
        );
        assert_eq!(
            h.line("INCRBYFLOAT f nan"),
            "-ERR value is not a valid float\r\n"
        );
        set_list(&mut h, "l");
        assert!(h.line("INCRBYFLOAT l nan").starts_with("-WRONGTYPE"));
    }
}
