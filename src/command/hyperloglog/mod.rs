//! HyperLogLog commands: estimates of how many different elements were seen. The strings themselves are in
//! `structures/hyperloglog.rs`.

use crate::base::random::Random;
use crate::keyspace::KeyEntry;
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard, Shards};
use crate::structures::entry::{NewValue, Payload};
use crate::structures::hyperloglog::{self as hll, Corrupted, REGISTERS, Registers, Run as Runs};

use super::client::{Context, Step};
use super::spec::{Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run};
use super::string::edit;

#[cfg(test)]
mod tests;

pub(super) const COMMANDS: &[Command] = &[PFADD, PFCOUNT, PFDEBUG, PFMERGE, PFSELFTEST];

pub(super) const PFADD: Command = Command {
    name: "PFADD",
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    acl: Acl::HYPERLOGLOG,
    keys: &[KeySpec::one(1, Access::RW.and(Access::INSERT))],
    docs: Docs {
        group: Group::Hyperloglog,
        since: "2.8.9",
        complexity: "O(1) to add every element.",
        summary: "Adds elements to a HyperLogLog, which is made if it is missing.",
        arguments: &[
            Argument::key("key"),
            Argument::string("element").optional().multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(pfadd),
    subcommands: &[],
};

pub(super) const PFCOUNT: Command = Command {
    name: "PFCOUNT",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY.and(Flags::MAY_REPLICATE),
    acl: Acl::HYPERLOGLOG,
    keys: &[KeySpec {
        notes: "RW since the estimate is kept in the value, which the replicas then learn",
        ..KeySpec::range(1, -1, 1, Access::RW.and(Access::ACCESS))
    }],
    docs: Docs {
        group: Group::Hyperloglog,
        since: "2.8.9",
        complexity: "O(1) with a very small average constant time when called with a single key. O(N) with N being the number of keys, and much bigger constant times, when called with multiple keys.",
        summary: "Estimates how many different elements were added to HyperLogLogs.",
        arguments: &[Argument::key("key").multiple()],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(pfcount),
    subcommands: &[],
};

pub(super) const PFMERGE: Command = Command {
    name: "PFMERGE",
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::HYPERLOGLOG,
    keys: &[
        KeySpec::one(1, Access::RW.and(Access::ACCESS).and(Access::INSERT)),
        KeySpec::range(2, -1, 1, Access::RO.and(Access::ACCESS)),
    ],
    docs: Docs {
        group: Group::Hyperloglog,
        since: "2.8.9",
        complexity: "O(N) to merge N HyperLogLogs, but with high constant times.",
        summary: "Makes a HyperLogLog of all elements that others have seen.",
        arguments: &[
            Argument::key("destkey"),
            Argument::key_of("sourcekey", 1).optional().multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(pfmerge),
    subcommands: &[],
};

pub(super) const PFDEBUG: Command = Command {
    name: "PFDEBUG",
    arity: Arity::Exactly(3),
    flags: Flags::WRITE
        .and(Flags::DENYOOM)
        .and(Flags::ADMIN)
        .and(Flags::SYSTEM),
    acl: Acl::HYPERLOGLOG,
    keys: &[KeySpec::one(2, Access::RW.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Hyperloglog,
        since: "2.8.9",
        complexity: "N/A",
        summary: "Shows the inside of a HyperLogLog, for the tests of the server.",
        arguments: &[Argument::string("subcommand"), Argument::key("key")],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(pfdebug),
    subcommands: &[],
};

pub(super) const PFSELFTEST: Command = Command {
    name: "PFSELFTEST",
    arity: Arity::Exactly(1),
    flags: Flags::ADMIN.and(Flags::SYSTEM),
    acl: Acl::HYPERLOGLOG,
    keys: &[],
    docs: Docs {
        group: Group::Hyperloglog,
        since: "2.8.9",
        complexity: "N/A",
        summary: "Checks the HyperLogLog code, for the tests of the server.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(pfselftest),
    subcommands: &[],
};

impl From<Corrupted> for ErrorReply {
    fn from(_: Corrupted) -> Self {
        ErrorReply::HLL_CORRUPTED
    }
}

/// The bytes of an entry that is a HyperLogLog.
fn bytes_of(entry: &KeyEntry) -> Result<&[u8], ErrorReply> {
    match entry.payload() {
        Payload::Bytes(bytes) if hll::is_one(bytes) => Ok(bytes),
        Payload::Boxed(_) => Err(ErrorReply::WRONG_TYPE),
        _ => Err(ErrorReply::HLL_WRONG_TYPE),
    }
}

fn sparse_bytes_max(shard: &Shard) -> usize {
    usize::try_from(shard.config.hll_sparse_max_bytes).unwrap_or(usize::MAX)
}

/// Raises one register of an entry that is a HyperLogLog; true when it was lower.
fn raise(
    entry: &mut KeyEntry,
    index: usize,
    value: u8,
    sparse_bytes_max: usize,
) -> Result<bool, Corrupted> {
    if let Some(long) = entry.long_mut() {
        return hll::raise(long, index, value, sparse_bytes_max);
    }
    // A short one lies beside its key: it is copied only when it has to grow.
    if let Some(bytes) = entry.bytes_mut()
        && let Some(raised) = hll::raise_in_place(bytes, index, value)?
    {
        return Ok(raised);
    }
    let mut raised = Ok(false);
    edit(entry, |bytes| {
        raised = hll::raise(bytes, index, value, sparse_bytes_max);
    });
    raised
}

/// Marks the estimate that a HyperLogLog keeps as out of date, and the string as edited.
fn outdate(entry: &mut KeyEntry) {
    entry.set_raw(true);
    if let Some(bytes) = entry.bytes_mut() {
        hll::drop_estimate(bytes);
    }
}

fn pfadd(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let key = args.key(1);
    let sparse_bytes_max = sparse_bytes_max(shard);
    let (entry, new) = shard.write_or_put(&args.caller, &key, || NewValue::Bytes(&hll::EMPTY));
    bytes_of(entry)?;
    entry.set_raw(true);
    let mut changes = u64::from(new);
    for element in args.iter_from(2) {
        let (index, value) = hll::place(element);
        changes += u64::from(raise(entry, index, value, sparse_bytes_max)?);
    }
    if changes > 0 {
        outdate(entry);
        shard.changed_by(args.db(), &key, Class::String, "pfadd", changes);
    }
    reply.integer((changes > 0).into());
    Ok(())
}

/// Merges the HyperLogLogs of the keys from argument 1 on. The answer says whether one of them was dense.
fn merge_keys(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    registers: &mut Registers,
) -> Result<bool, ErrorReply> {
    let mut any_dense = false;
    for at in 1..args.len() {
        let key = args.key(at);
        let Some(entry) = shards.of(&key).read(&args.caller, &key) else {
            continue;
        };
        let bytes = bytes_of(entry)?;
        any_dense |= hll::is_dense(bytes);
        hll::merge(registers, bytes)?;
    }
    Ok(any_dense)
}

fn pfcount(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    if args.len() > 2 {
        let mut registers = [0; REGISTERS];
        merge_keys(shards, args, &mut registers)?;
        reply.integer(hll::estimate_registers(&registers) as i64);
        return Ok(());
    }
    let key = args.key(1);
    let shard = shards.of(&key);
    let Some(entry) = shard.read(&args.caller, &key) else {
        reply.count(0);
        return Ok(());
    };
    bytes_of(entry)?;
    let entry = shard.edit(args.db(), &key);
    let entry = entry.expect("it was found just now");
    entry.set_raw(true); // as in Redis, even where nothing is written
    let kept = hll::kept_estimate(bytes_of(entry)?);
    if let Some(estimate) = kept {
        reply.integer(estimate as i64);
        return Ok(());
    }
    let estimate = hll::estimate(bytes_of(entry)?)?;
    if let Some(bytes) = entry.bytes_mut() {
        hll::keep_estimate(bytes, estimate);
    }
    // The string has changed, and so for whoever watches it and for replicas; no event tells of it.
    shard.effects.count(1);
    shard.watched.touch(args.db(), key.bytes);
    reply.integer(estimate as i64);
    Ok(())
}

fn pfmerge(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let mut registers = [0; REGISTERS];
    let any_dense = merge_keys(shards, args, &mut registers)?;
    let key = args.key(1);
    let together = (2..args.len()).all(|at| shards.together(&key, &args.key(at)));
    let shard = shards.of(&key);
    let sparse_bytes_max = sparse_bytes_max(shard);
    let (entry, _) = shard.write_or_put(&args.caller, &key, || NewValue::Bytes(&hll::EMPTY));
    let mut merged = Ok(());
    edit(entry, |bytes| {
        merged = write_registers(bytes, &registers, any_dense, sparse_bytes_max)
    });
    merged?;
    outdate(entry);
    shard.changed(args.db(), &key, Class::String, "pfadd");
    if !together {
        shard.made_from_afar(args.db(), &key);
    }
    reply.ok();
    Ok(())
}

/// Raises all registers that are not zero, one after another as Redis does it, so that the bytes are the same.
fn write_registers(
    bytes: &mut Vec<u8>,
    registers: &Registers,
    dense: bool,
    sparse_bytes_max: usize,
) -> Result<(), Corrupted> {
    if dense {
        hll::make_dense(bytes)?;
    }
    for (index, &value) in registers.iter().enumerate() {
        if value > 0 {
            hll::raise(bytes, index, value, sparse_bytes_max)?;
        }
    }
    Ok(())
}

fn pfdebug(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let key = args.key(2);
    let Some(entry) = shard.write(&args.caller, &key) else {
        return Err(ErrorReply::PFDEBUG_NO_KEY);
    };
    bytes_of(entry)?;
    entry.set_raw(true);
    let bytes = bytes_of(entry)?;
    let was_dense = hll::is_dense(bytes);
    if args.is(1, "GETREG") {
        let mut registers = [0; REGISTERS];
        hll::merge(&mut registers, bytes)?;
        make_dense(shard, args, &key)?;
        reply.array(REGISTERS);
        registers
            .iter()
            .for_each(|register| reply.integer((*register).into()));
    } else if args.is(1, "DECODE") {
        if was_dense {
            return Err(ErrorReply::HLL_NOT_SPARSE);
        }
        let words: Vec<String> = hll::runs(bytes)
            .map(|run| match run {
                Runs::Zeros(count) => format!("z:{count}"),
                Runs::ManyZeros(count) => format!("Z:{count}"),
                Runs::Values(value, count) => format!("v:{value},{count}"),
            })
            .collect();
        reply.bulk(words.join(" ").as_bytes());
    } else if args.is(1, "ENCODING") {
        reply.simple(if was_dense { "dense" } else { "sparse" });
    } else if args.is(1, "TODENSE") {
        make_dense(shard, args, &key)?;
        reply.integer((!was_dense).into());
    } else {
        return Err(ErrorReply::unknown_pfdebug(args.get(1)));
    }
    Ok(())
}

fn make_dense(shard: &mut Shard, args: &Args<'_>, key: &Key<'_>) -> Result<(), ErrorReply> {
    let mut made = Ok(false);
    if let Some(entry) = shard.edit(args.db(), key) {
        edit(entry, |bytes| made = hll::make_dense(bytes));
    }
    if made? {
        shard.effects.count(1); // replicas turn it as well
    }
    Ok(())
}

/// Elements of the self-test. Redis adds ten times as many, which would hold this core up for a second.
const SELF_TEST_ELEMENTS: u64 = 1_000_000;

fn pfselftest(
    context: &mut Context<'_>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Step, ErrorReply> {
    let seed = Random::new(context.core.now as u64).next_u64();
    let (mut dense, mut either) = (hll::EMPTY.to_vec(), hll::EMPTY.to_vec());
    hll::make_dense(&mut dense)?;
    let mut checkpoint = 1;
    for n in 1..=SELF_TEST_ELEMENTS {
        let (index, value) = hll::place(&(n ^ seed).to_le_bytes());
        hll::raise(&mut dense, index, value, usize::MAX)?;
        hll::raise(&mut either, index, value, 3000)?;
        if n < checkpoint {
            continue;
        }
        let estimate = hll::estimate(&dense)?;
        if n < 1500 && hll::is_dense(&either) {
            return Err(ErrorReply::text("TESTFAILED sparse encoding not used"));
        }
        if hll::estimate(&either)? != estimate {
            return Err(ErrorReply::text("TESTFAILED dense/sparse disagree"));
        }
        // Six times the standard error; with ten elements one may well collide.
        let allowed = match n {
            10 => 1,
            _ => (1.04 / (REGISTERS as f64).sqrt() * 6.0 * n as f64).ceil() as u64,
        };
        let error = estimate.abs_diff(n);
        if error > allowed {
            return Err(ErrorReply::text(format!(
                "TESTFAILED Too big error. card:{n} abserr:{error}"
            )));
        }
        checkpoint *= 10;
    }
    reply.ok();
    Ok(Step::Done)
}
