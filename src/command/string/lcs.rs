//! LCS: the longest common subsequence of two strings, by the textbook table of lengths of prefixes.
//!
//! Redis keeps four bytes for each pair of places and refuses when they pass `proto-max-bulk-len`. Here two rows of
//! lengths are enough, with one bit for each pair to find the way back; the bound is kept all the same, because it
//! bounds the time as well.

use crate::base::number::parse_i64;
use crate::keyspace::KeyEntry;
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shards;

use super::with_bytes;
use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};

pub(super) const LCS: Command = Command {
    name: "LCS",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY,
    acl: Acl::STRING,
    keys: &[KeySpec::range(1, 1, 1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::String,
        since: "7.0.0",
        complexity: "O(N*M) where N and M are the lengths of s1 and s2, respectively",
        summary: "Finds the longest common subsequence of two strings.",
        arguments: &[
            Argument::key("key1"),
            Argument::key("key2"),
            Argument::word("len", "LEN").optional(),
            Argument::word("idx", "IDX").optional(),
            Argument::integer("len").token("MINMATCHLEN").optional(),
            Argument::word("withmatchlen", "WITHMATCHLEN").optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(lcs),
    subcommands: &[],
};

/// Bytes of table that Redis takes for each pair of places.
const PAIR_BYTES: u64 = 4;

#[derive(Default)]
struct Wish {
    length: bool,
    index: bool,
    with_lengths: bool,
    length_min: usize,
}

fn lcs(shards: &mut Shards<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let mut string = |key: Key<'_>| {
        let entry: Option<&KeyEntry> = shards.of(&key).read(&args.caller, &key);
        with_bytes(entry, <[u8]>::to_vec)
    };
    // Both keys are looked at before either's type counts.
    let (a, b) = (string(args.key(1)), string(args.key(2)));
    let (Ok(a), Ok(b)) = (a, b) else {
        return Err(ErrorReply::LCS_TYPE);
    };
    let wish = wish(args)?;
    check_size(&a, &b, shards.any().config.proto_max_bulk_len)?;
    let table = Table::fill(&a, &b, !wish.length);
    if wish.length {
        reply.count(table.length);
    } else if wish.index {
        let runs = table.runs(&a, &b);
        let shown = || runs.iter().filter(|run| run.length >= wish.length_min);
        reply.map(2);
        reply.bulk(b"matches");
        reply.array(shown().count());
        for run in shown() {
            reply.array(2 + usize::from(wish.with_lengths));
            for start in [run.a, run.b] {
                reply.array(2);
                reply.count(start);
                reply.count(start + run.length - 1);
            }
            if wish.with_lengths {
                reply.count(run.length);
            }
        }
        reply.bulk(b"len");
        reply.count(table.length);
    } else {
        let runs = table.runs(&a, &b);
        let parts = runs.iter().rev().map(|run| &a[run.a..run.a + run.length]);
        let mut result = Vec::with_capacity(table.length);
        parts.for_each(|part| result.extend_from_slice(part));
        reply.bulk(&result);
    }
    Ok(())
}

fn wish(args: &Args<'_>) -> Result<Wish, ErrorReply> {
    let mut wish = Wish::default();
    let mut at = 3;
    while at < args.len() {
        if args.is(at, "IDX") {
            wish.index = true;
        } else if args.is(at, "LEN") {
            wish.length = true;
        } else if args.is(at, "WITHMATCHLEN") {
            wish.with_lengths = true;
        } else if args.is(at, "MINMATCHLEN")
            && let Some(number) = args.opt(at + 1)
        {
            let number = parse_i64(number).ok_or(ErrorReply::NOT_INTEGER)?;
            wish.length_min = usize::try_from(number).unwrap_or(0);
            at += 1;
        } else {
            return Err(ErrorReply::SYNTAX);
        }
        at += 1;
    }
    if wish.index && wish.length {
        return Err(ErrorReply::LCS_LEN_IDX);
    }
    Ok(wish)
}

fn check_size(a: &[u8], b: &[u8], bytes_max: u64) -> Result<(), ErrorReply> {
    let length_max = u32::MAX as usize - 1;
    if a.len() >= length_max || b.len() >= length_max {
        return Err(ErrorReply::LCS_TOO_LONG);
    }
    let pairs = (a.len() as u64 + 1) * (b.len() as u64 + 1);
    match pairs.checked_mul(PAIR_BYTES) {
        Some(bytes) if bytes <= bytes_max => Ok(()),
        _ => Err(ErrorReply::LCS_NO_MEMORY),
    }
}

/// What the table of lengths leaves behind.
struct Table {
    length: usize,
    columns: usize,
    /// Bit `row * columns + column`: the common subsequence without this byte of `a` is longer than the one without this
    /// byte of `b`. Empty when nobody asks for the way.
    without_a: Vec<u64>,
}

/// Bytes that stand together in both strings.
struct RunOfBytes {
    a: usize,
    b: usize,
    length: usize,
}

impl Table {
    fn fill(a: &[u8], b: &[u8], way: bool) -> Table {
        let columns = b.len();
        let bits = if way { a.len() * columns } else { 0 };
        let mut without_a = vec![0u64; bits.div_ceil(64)];
        let (mut above, mut row) = (vec![0u32; columns + 1], vec![0u32; columns + 1]);
        for (i, byte_a) in a.iter().enumerate() {
            for (j, byte_b) in b.iter().enumerate() {
                row[j + 1] = if byte_a == byte_b {
                    above[j] + 1
                } else {
                    if way && above[j + 1] > row[j] {
                        let bit = i * columns + j;
                        without_a[bit / 64] |= 1 << (bit % 64);
                    }
                    above[j + 1].max(row[j])
                };
            }
            std::mem::swap(&mut above, &mut row);
        }
        Table {
            length: above[columns] as usize,
            columns,
            without_a,
        }
    }

    /// The way back through the table: runs of bytes common to both, the last one first.
    fn runs(&self, a: &[u8], b: &[u8]) -> Vec<RunOfBytes> {
        let mut runs: Vec<RunOfBytes> = Vec::new();
        let mut open = false;
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                match runs.last_mut() {
                    Some(run) if open => {
                        (run.a, run.b) = (i, j);
                        run.length += 1;
                    }
                    _ => runs.push(RunOfBytes {
                        a: i,
                        b: j,
                        length: 1,
                    }),
                }
                open = true;
                continue;
            }
            open = false;
            let bit = (i - 1) * self.columns + j - 1;
            if self.without_a[bit / 64] >> (bit % 64) & 1 == 1 {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use crate::command::harness::Harness;
    use crate::command::string::tests::set_list;

    #[test]
    fn the_subsequence_its_length_and_its_places() {
        for shards in [1, 4] {
            let mut h = Harness::new(shards);
            h.line("MSET k1 ohmytext k2 mynewtext n 12345");
            assert_eq!(h.line("LCS k1 k2"), "$6\r\nmytext\r\n");
            assert_eq!(h.line("LCS k1 k2 LEN"), ":6\r\n");
            assert_eq!(
                h.line("LCS k1 k2 IDX"),
                "*4\r\n$7\r\nmatches\r\n*2\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n\
                 *2\r\n*2\r\n:2\r\n:3\r\n*2\r\n:0\r\n:1\r\n$3\r\nlen\r\n:6\r\n"
            );
            assert_eq!(
                h.line("LCS k1 k2 IDX MINMATCHLEN 4 WITHMATCHLEN"),
                "*4\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n\
                 $3\r\nlen\r\n:6\r\n"
            );
            assert_eq!(h.line("LCS n n MINMATCHLEN -5"), "$5\r\n12345\r\n");
            assert_eq!(h.line("LCS none n"), "$0\r\n\r\n");
            assert_eq!(
                h.line("LCS none none IDX"),
                "*4\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:0\r\n"
            );
            h.caller.resp3 = true;
            assert!(h.line("LCS k1 k2 IDX").starts_with("%2\r\n"));
        }
    }

    #[test]
    fn lcs_refuses_other_types_bad_words_and_too_much_work() {
        let mut h = Harness::new(1);
        set_list(&mut h, "l");
        h.line("SET k v");
        assert_eq!(
            h.line("LCS l k LEN IDX"),
            "-ERR The specified keys must contain string values\r\n"
        );
        assert_eq!(h.line("LCS k k foo"), "-ERR syntax error\r\n");
        assert_eq!(h.line("LCS k k MINMATCHLEN"), "-ERR syntax error\r\n");
        assert_eq!(
            h.line("LCS k k LEN IDX"),
            "-ERR If you want both the length and indexes, please just use IDX.\r\n"
        );
        let long = "x".repeat(20_000);
        h.run(&["SET", "long", &long]);
        assert_eq!(
            h.line("LCS long long LEN"),
            "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len\r\n"
        );
    }
}
