//! Looking through the keyspace: SCAN, KEYS, RANDOMKEY.
//!
//! **The cursor of SCAN** is `position << 14 | slot`: a place in the order of one slot's table (38 bits, see
//! `structures/table.rs`) and the slot, 52 bits in all, because some clients read a cursor as a double. The order is
//! shard, slot, position; 0 is the beginning and the end. A call goes on within one shard, from slot to slot, empty
//! ones skipped; where the shard has no more, the cursor is the first slot of the next shard, whose number is that
//! shard's index. Only the call that begins goes on from shard to shard. So every cursor names a slot of the shard that must go on, [`cursor_slot`] is all that routing needs
//! to know, and no state is kept between calls. Redis's guarantee holds because it holds in each table: a key that is
//! there all the time is shown, whatever grows or shrinks meanwhile.

use crate::base::glob;
use crate::base::number::parse_i64;
use crate::base::slot::{SLOTS, Slot};
use crate::keyspace::KeyEntry;
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Shard, Shards};

use super::object::type_name;
use crate::command::spec::{
    Acl, Argument, ArgumentKind, Arity, Command, Docs, Flags, Group, Merge, Run,
};

pub(super) const SCAN: Command = Command {
    name: "SCAN",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY.and(Flags::TOUCHES_ARBITRARY_KEYS),
    acl: Acl::KEYSPACE,
    keys: &[],
    docs: Docs {
        group: Group::Generic,
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.",
        summary: "Walks through the keys, some at a time.",
        arguments: &[
            Argument::integer("cursor"),
            Argument::new("pattern", ArgumentKind::Pattern)
                .token("MATCH")
                .optional(),
            Argument::integer("count").token("COUNT").optional(),
            Argument::string("type")
                .token("TYPE")
                .optional()
                .since("6.0.0"),
        ],
        history: &[("6.0.0", "Learned `TYPE`.")],
        tips: &["nondeterministic_output", "request_policy:special"],
        deprecated: None,
    },
    run: Run::Cursor {
        part: scan,
        begin: scan_from_start,
    },
    subcommands: &[],
};

pub(super) const KEYS: Command = Command {
    name: "KEYS",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY.and(Flags::TOUCHES_ARBITRARY_KEYS),
    acl: Acl::KEYSPACE.and(Acl::DANGEROUS),
    keys: &[],
    docs: Docs {
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) with N being the number of keys in the database, under the assumption that the key names in the database and the given pattern have limited length.",
        summary: "Lists the keys that match a pattern.",
        arguments: &[Argument::new("pattern", ArgumentKind::Pattern)],
        history: &[],
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        deprecated: None,
    },
    run: Run::Every {
        part: keys,
        merge: Merge::Concat,
    },
    subcommands: &[],
};

pub(super) const RANDOMKEY: Command = Command {
    name: "RANDOMKEY",
    arity: Arity::Exactly(1),
    flags: Flags::READONLY.and(Flags::TOUCHES_ARBITRARY_KEYS),
    acl: Acl::KEYSPACE,
    keys: &[],
    docs: Docs {
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Draws a key at random.",
        arguments: &[],
        history: &[],
        tips: &["request_policy:all_shards", "nondeterministic_output"],
        deprecated: None,
    },
    run: Run::Whole(randomkey),
    subcommands: &[],
};

const SLOT_BITS: u32 = SLOTS.trailing_zeros();
/// Keys that a call of SCAN visits when it is not told otherwise.
const COUNT: u64 = 10;
/// Parts of tables that a call looks at for each key it wants, before it gives up on finding that many (SCAN, 2.8).
const PARTS_PER_KEY: u64 = 10;
/// Tries of RANDOMKEY while expired keys must stay where they are.
const DRAWS_MAX: usize = 100;

/// The slot at which the SCAN cursor `text` stands: the shard that owns it goes on. A cursor that does not parse stands
/// anywhere; whichever shard gets it replies the error.
pub fn cursor_slot(text: &[u8]) -> Slot {
    cursor_of(text).map_or(0, slot_of)
}

/// Whether the SCAN cursor `text` begins an iteration.
pub fn cursor_begins(text: &[u8]) -> bool {
    cursor_of(text) == Some(0)
}

fn slot_of(cursor: u64) -> Slot {
    (cursor % SLOTS as u64) as Slot
}

/// Reads a cursor as C's `strtoul` does, which Redis hands it to: nothing at all is 0, and a sign is allowed. Leading
/// space is not.
fn cursor_of(text: &[u8]) -> Option<u64> {
    let (negative, digits) = match text {
        [] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if negative {
        number.wrapping_neg()
    } else {
        number
    })
}

/// What SCAN is asked to show.
struct Filter<'a> {
    pattern: Option<&'a [u8]>,
    type_name: Option<&'a [u8]>,
    count: u64,
}

impl Filter<'_> {
    /// Whether the name is one that is asked for.
    fn takes_name(&self, entry: &KeyEntry) -> bool {
        self.pattern
            .is_none_or(|pattern| glob::matches(pattern, entry.key(), false))
    }

    /// Whether the type is the one that is asked for.
    fn takes_type(&self, entry: &KeyEntry) -> bool {
        self.type_name
            .is_none_or(|name| name.eq_ignore_ascii_case(type_name(entry).as_bytes()))
    }
}

fn filter<'a>(args: &Args<'a>) -> Result<Filter<'a>, ErrorReply> {
    let mut filter = Filter {
        pattern: None,
        type_name: None,
        count: COUNT,
    };
    let mut at = 2;
    while at < args.len() {
        let value = args.opt(at + 1).ok_or(ErrorReply::SYNTAX)?;
        if args.is(at, "COUNT") {
            let count = parse_i64(value).ok_or(ErrorReply::NOT_INTEGER)?;
            filter.count = u64::try_from(count).map_err(|_| ErrorReply::SYNTAX)?;
            if count == 0 {
                return Err(ErrorReply::SYNTAX);
            }
        } else if args.is(at, "MATCH") {
            filter.pattern = (value != b"*").then_some(value);
        } else if args.is(at, "TYPE") {
            filter.type_name = Some(value);
        } else {
            return Err(ErrorReply::SYNTAX);
        }
        at += 2;
    }
    Ok(filter)
}

/// What a call of SCAN has found.
struct Shown {
    /// The names, as RESP.
    names: Vec<u8>,
    count: usize,
    /// Keys to visit yet.
    left: u64,
}

impl Shown {
    fn new(filter: &Filter<'_>) -> Self {
        Shown {
            names: Vec::new(),
            count: 0,
            left: filter.count,
        }
    }

    fn reply(&self, next: u64, reply: &mut Reply<'_>) {
        reply.array(2);
        reply.bulk(next.to_string().as_bytes());
        reply.array(self.count);
        reply.buffer().extend_from_slice(&self.names);
    }
}

fn scan(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let cursor = cursor_of(args.get(1)).ok_or(ErrorReply::INVALID_CURSOR)?;
    let filter = filter(args)?;
    let mut shown = Shown::new(&filter);
    let next = scan_shard(shard, args.db(), cursor, &filter, &mut shown);
    shown.reply(next, reply);
    Ok(())
}

/// Begins an iteration: goes on to the next shard while keys are wanted, so that a database with fewer keys than that is
/// shown whole by one call, as applications and tests of small data sets rely on.
fn scan_from_start(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let filter = filter(args)?;
    let mut shown = Shown::new(&filter);
    let mut next = 0;
    for shard in shards.iter_mut() {
        next = scan_shard(shard, args.db(), next, &filter, &mut shown);
        let is_over = next == first_of_next(shard);
        if shown.left == 0 || !is_over {
            break;
        }
    }
    shown.reply(next, reply);
    Ok(())
}

/// Shows keys of one shard from `cursor` on and gives the next cursor.
fn scan_shard(
    shard: &mut Shard,
    db: usize,
    cursor: u64,
    filter: &Filter<'_>,
    shown: &mut Shown,
) -> u64 {
    let mut overdue = Vec::new();
    let (next, visited) = {
        let shard = &*shard;
        let mut names = Reply::new(&mut shown.names, false);
        let count = &mut shown.count;
        walk(shard, db, cursor, shown.left, |entry| {
            if !filter.takes_name(entry) {
                return;
            }
            // A key whose time has come goes, whatever its type (SCAN, 7.2).
            if shard.is_due(entry) {
                overdue.push(Box::<[u8]>::from(entry.key()));
                return;
            }
            if !filter.takes_type(entry) {
                return;
            }
            *count += 1;
            names.bulk(entry.key());
        })
    };
    shown.left = shown.left.saturating_sub(visited);
    shard.effects.let_asides_stand_alone();
    for key in overdue {
        shard.expire(db, &Key::new(&key));
    }
    next
}

/// Visits about `count` keys of the shard from `cursor` on; gives the next cursor and how many it were.
fn walk(
    shard: &Shard,
    db: usize,
    cursor: u64,
    count: u64,
    mut visit: impl FnMut(&KeyEntry),
) -> (u64, u64) {
    let keyspace = &shard.keyspace;
    let (mut place, mut position) = (keyspace.place(slot_of(cursor)), cursor >> SLOT_BITS);
    let parts_max = count.saturating_mul(PARTS_PER_KEY);
    let (mut visited, mut parts) = (0, 0);
    loop {
        if position == 0 {
            match keyspace.next_used(db, place) {
                Some(used) => place = used,
                None => return (first_of_next(shard), visited),
            }
        }
        if visited >= count || parts >= parts_max {
            let cursor = position << SLOT_BITS | u64::from(keyspace.slot_at(place));
            return (cursor, visited);
        }
        position = keyspace.scan(db, place, position, |entry| {
            visited += 1;
            visit(entry);
        });
        parts += 1;
        if position == 0 {
            place += 1;
        }
    }
}

/// The first slot of the next shard, or the end.
fn first_of_next(shard: &Shard) -> u64 {
    match shard.index + 1 {
        next if next < shard.keyspace.shards() => next as u64,
        _ => 0,
    }
}

fn keys(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let pattern = args.get(1);
    let all = pattern == b"*";
    let (db, mut count) = (args.db(), 0);
    let at = reply.deferred();
    let keyspace = &shard.keyspace;
    let mut from = 0;
    while let Some(place) = keyspace.next_used(db, from) {
        let mut position = 0;
        loop {
            position = keyspace.scan(db, place, position, |entry| {
                if (all || glob::matches(pattern, entry.key(), false)) && !shard.is_due(entry) {
                    count += 1;
                    reply.bulk(entry.key());
                }
            });
            if position == 0 {
                break;
            }
        }
        from = place + 1;
    }
    reply.array_at(at, count);
    Ok(())
}

fn randomkey(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let db = args.db();
    let mut draws = 0;
    loop {
        let total: usize = shards
            .iter_mut()
            .map(|shard| shard.keyspace.db(db).keys())
            .sum();
        if total == 0 {
            reply.null();
            return Ok(());
        }
        shards
            .iter_mut()
            .for_each(|shard| shard.effects.let_asides_stand_alone());
        // A shard by its number of keys, then a key of that shard.
        let mut rank = shards.any().random.below(total as u64) as usize;
        let shard = shards
            .iter_mut()
            .find(|shard| {
                let keys = shard.keyspace.db(db).keys();
                let here = rank < keys;
                if !here {
                    rank -= keys;
                }
                here
            })
            .expect("a rank below the total lies on some shard");
        let entry = shard
            .keyspace
            .random(db, &mut shard.random)
            .expect("the shard has keys");
        draws += 1;
        let due = entry.expire_at().is_some_and(|at| at <= shard.now);
        if !due || (shard.expiry_paused && draws >= DRAWS_MAX) {
            reply.bulk(entry.key());
            return Ok(());
        }
        let key = Box::<[u8]>::from(entry.key());
        shard.expire(db, &Key::new(&key));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::command::harness::Harness;

    /// The bulk strings of a reply.
    fn bulks(reply: &str) -> Vec<String> {
        let mut lines = reply.split("\r\n");
        let mut found = Vec::new();
        while let Some(line) = lines.next() {
            if line.starts_with('$') {
                found.extend(lines.next().map(String::from));
            }
        }
        found
    }

    fn scan_all(
        h: &mut Harness,
        options: &str,
        mut between: impl FnMut(&mut Harness),
    ) -> Vec<String> {
        let (mut cursor, mut all, mut calls) = ("0".to_string(), Vec::new(), 0);
        loop {
            let mut found = bulks(&h.line(format!("SCAN {cursor} {options}").trim_end()));
            cursor = found.remove(0);
            assert!(cursor.parse::<u64>().unwrap() < 1 << 53);
            all.extend(found);
            if cursor == "0" {
                return all;
            }
            calls += 1;
            assert!(calls < 100_000, "a scan ends");
            between(h);
        }
    }

    #[test]
    fn a_scan_shows_every_key_once_on_any_number_of_shards() {
        for shards in [1, 3, 4] {
            let mut h = Harness::new(shards);
            assert!(scan_all(&mut h, "", |_| ()).is_empty());
            for n in 0..500 {
                h.line(&format!("SET key:{n} v"));
                h.line(&format!("SET {{tag}}:{n} v"));
            }
            for options in ["", "COUNT 1", "COUNT 7", "COUNT 100000"] {
                let all = scan_all(&mut h, options, |_| ());
                assert_eq!(all.len(), 1000, "{shards} shards, {options}");
                assert_eq!(all.iter().collect::<HashSet<_>>().len(), 1000);
            }
            let large = h.line("SCAN 0 COUNT 50");
            assert!((50..=75).contains(&(bulks(&large).len() - 1)), "{large}");
        }
    }

    #[test]
    fn a_small_database_is_shown_whole_by_one_call() {
        for shards in [1, 4, 16] {
            let mut h = Harness::new(shards);
            assert_eq!(h.line("SCAN 0"), "*2\r\n$1\r\n0\r\n*0\r\n");
            for key in ["a", "b", "c", "d"] {
                h.line(&format!("SET {key} v"));
            }
            let mut found = bulks(&h.line("SCAN 0"));
            assert_eq!(found.remove(0), "0", "{shards} shards");
            found.sort();
            assert_eq!(found, ["a", "b", "c", "d"]);
            assert_ne!(bulks(&h.line("SCAN 0 COUNT 1"))[0], "0");
        }
    }

    #[test]
    fn keys_that_stay_are_shown_while_others_come_and_go() {
        let mut h = Harness::new(2);
        for n in 0..300 {
            h.line(&format!("SET stays:{n} v"));
            h.line(&format!("SET {{one}}goes:{n} v"));
        }
        let mut n = 0;
        let all = scan_all(&mut h, "COUNT 20", |h| {
            for _ in 0..20 {
                h.line(&format!("DEL {{one}}goes:{n}"));
                h.line(&format!("SET {{two}}comes:{n} v"));
                n += 1;
            }
        });
        let stayed = all.iter().filter(|key| key.starts_with("stays"));
        assert_eq!(stayed.collect::<HashSet<_>>().len(), 300);
    }

    #[test]
    fn scan_filters_by_pattern_and_type_and_hides_expired_keys() {
        let mut h = Harness::new(4);
        h.line("MSET a1 x a2 x b1 x");
        crate::command::string::tests::set_list(&mut h, "al");
        h.line("SET agone v PX 1");
        h.set_now(1_700_000_000_001);
        let sorted = |mut keys: Vec<String>| {
            keys.sort();
            keys.join(" ")
        };
        assert_eq!(sorted(scan_all(&mut h, "MATCH a*", |_| ())), "a1 a2 al");
        h.line("SET agone v PX 1");
        h.set_now(1_700_000_000_002);
        assert_eq!(sorted(scan_all(&mut h, "TYPE LIST", |_| ())), "al");
        assert_eq!(
            sorted(scan_all(&mut h, "type string match *1", |_| ())),
            "a1 b1"
        );
        assert!(scan_all(&mut h, "TYPE nosuch", |_| ()).is_empty());
        assert_eq!(sorted(bulks(&h.line("KEYS a*"))), "a1 a2 al");
        assert_eq!(h.line("KEYS none*"), "*0\r\n");
    }

    #[test]
    fn cursors_are_read_as_c_reads_them() {
        let mut h = Harness::new(3);
        for line in ["SCAN a", "SCAN 1x", "SCAN 99999999999999999999", "SCAN -"] {
            assert_eq!(h.line(line), "-ERR invalid cursor\r\n", "{line}");
        }
        assert_eq!(h.run(&["SCAN", " 1"]), "-ERR invalid cursor\r\n");
        for cursor in ["-1", "+5", "", "18446744073709551615", "16383"] {
            assert!(h.run(&["SCAN", cursor]).starts_with("*2"), "{cursor}");
        }
        for line in [
            "SCAN 0 COUNT 0",
            "SCAN 0 COUNT -1",
            "SCAN 0 foo",
            "SCAN 0 MATCH",
            "SCAN 0 foo bar",
        ] {
            assert_eq!(h.line(line), "-ERR syntax error\r\n", "{line}");
        }
        assert_eq!(
            h.line("SCAN 0 COUNT a"),
            "-ERR value is not an integer or out of range\r\n"
        );
    }

    #[test]
    fn randomkey_draws_from_every_shard_and_removes_what_has_expired() {
        let mut h = Harness::new(4);
        assert_eq!(h.line("RANDOMKEY"), "$-1\r\n");
        h.line("MSET a 1 b 2 c 3 d 4");
        let drawn: HashSet<String> = (0..200).map(|_| h.line("RANDOMKEY")).collect();
        assert_eq!(drawn.len(), 4);
        for key in ["a", "b", "c", "d"] {
            h.line(&format!("PEXPIRE {key} 10"));
        }
        h.set_now(1_700_000_000_010);
        assert_eq!(h.line("RANDOMKEY"), "$-1\r\n");
        assert_eq!(h.line("DBSIZE"), ":0\r\n");
    }
}
