//! Commands that wait at empty lists: BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH.
//!
//! Each does at once what its twin without the B does, or says that it has to wait; when an element has come it runs
//! again (`Shards::block`). What it has done is recorded as the twin.

use smallvec::smallvec;

use crate::keyspace::blocked::{Awaits, Wait};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shards;
use crate::structures::list::List;
use crate::structures::quicklist::End;

use super::super::parse;
use super::super::spec::{Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run};
use super::super::wait::{TAKES, TIMEOUT_HISTORY, take_or_wait};
use super::ends::{end_word, lmpop_arguments, lmpop_from, move_element, pop_command, popped};
use super::fill;

const ENDS: &[Argument] = &[
    Argument::word("left", "LEFT"),
    Argument::word("right", "RIGHT"),
];

pub(super) const BLPOP: Command = Command {
    name: "BLPOP",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::BLOCKING),
    acl: Acl::LIST,
    keys: &[KeySpec::range(1, -2, 1, TAKES)],
    docs: Docs {
        group: Group::List,
        since: "2.0.0",
        complexity: "O(N) where N is the number of provided keys.",
        summary: "Takes the first element of the first list that has one, waiting for it if need be.",
        arguments: &[Argument::key("key").multiple(), Argument::double("timeout")],
        history: TIMEOUT_HISTORY,
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(blpop),
    subcommands: &[],
};

pub(super) const BRPOP: Command = Command {
    name: "BRPOP",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::BLOCKING),
    acl: Acl::LIST,
    keys: &[KeySpec::range(1, -2, 1, TAKES)],
    docs: Docs {
        group: Group::List,
        since: "2.0.0",
        complexity: "O(N) where N is the number of provided keys.",
        summary: "Takes the last element of the first list that has one, waiting for it if need be.",
        arguments: &[Argument::key("key").multiple(), Argument::double("timeout")],
        history: TIMEOUT_HISTORY,
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(brpop),
    subcommands: &[],
};

fn blpop(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    pop(shards, args, End::Head, reply)
}

fn brpop(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    pop(shards, args, End::Tail, reply)
}

fn pop(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    end: End,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let last = args.len() - 1;
    let until = parse::timeout_seconds(args, last, shards.any().now)?;
    let wait = (Awaits::List, until);
    take_or_wait::<List>(shards, args, 1..last, wait, reply, |shard, key, reply| {
        let fill = fill(shard);
        reply.array(2);
        reply.bulk(key.bytes);
        let list = shard
            .write_as::<List>(&args.caller.again(), key)?
            .ok_or(ErrorReply::NO_SUCH_KEY)?;
        list.pop(end, fill, |item| reply.bulk_item(item))
            .expect("a list without elements has no key");
        let empty = list.is_empty();
        popped(shard, args, key, end, 1, empty);
        let parts = [pop_command(end), key.bytes];
        shard.effects.record(args.db(), &parts);
        Ok(())
    })
}

pub(super) const BLMPOP: Command = Command {
    name: "BLMPOP",
    arity: Arity::AtLeast(5),
    flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLE_KEYS),
    acl: Acl::LIST,
    keys: &[KeySpec::counted(2, TAKES)],
    docs: Docs {
        group: Group::List,
        since: "7.0.0",
        complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        summary: "Takes elements from the first of several lists that has any, waiting for one if need be.",
        arguments: &[
            Argument::double("timeout"),
            Argument::integer("numkeys"),
            Argument::key("key").multiple(),
            Argument::one_of("where", ENDS),
            Argument::integer("count").token("COUNT").optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(blmpop),
    subcommands: &[],
};

fn blmpop(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (keys, end, count) = lmpop_arguments(args, 2)?;
    let until = parse::timeout_seconds(args, 1, shards.any().now)?;
    let wait = (Awaits::List, until);
    take_or_wait::<List>(shards, args, keys, wait, reply, |shard, key, reply| {
        lmpop_from(shard, args, key, end, count, reply)
    })
}

pub(super) const BLMOVE: Command = Command {
    name: "BLMOVE",
    arity: Arity::Exactly(6),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::BLOCKING),
    acl: Acl::LIST,
    keys: &[
        KeySpec::one(1, TAKES),
        KeySpec::one(2, Access::RW.and(Access::INSERT)),
    ],
    docs: Docs {
        group: Group::List,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Takes an element from one list, waiting for it if need be, and puts it to another, which is created if needed.",
        arguments: &[
            Argument::key("source"),
            Argument::key_of("destination", 1),
            Argument::one_of("wherefrom", ENDS),
            Argument::one_of("whereto", ENDS),
            Argument::double("timeout"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(blmove),
    subcommands: &[],
};

fn blmove(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (from, to) = (end_word(args, 3)?, end_word(args, 4)?);
    let (source, destination) = (args.key(1), args.key(2));
    let twin = [
        b"LMOVE",
        source.bytes,
        destination.bytes,
        args.get(3),
        args.get(4),
    ];
    move_or_wait(shards, args, (from, to, 5), &twin, reply)
}

pub(super) const BRPOPLPUSH: Command = Command {
    name: "BRPOPLPUSH",
    arity: Arity::Exactly(4),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::BLOCKING),
    acl: Acl::LIST,
    keys: &[
        KeySpec::one(1, TAKES),
        KeySpec::one(2, Access::RW.and(Access::INSERT)),
    ],
    docs: Docs {
        group: Group::List,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Takes the last element of a list, waiting for it if need be, and puts it before the head of another, which is created if needed.",
        arguments: &[
            Argument::key("source"),
            Argument::key_of("destination", 1),
            Argument::double("timeout"),
        ],
        history: TIMEOUT_HISTORY,
        tips: &[],
        deprecated: Some(("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments")),
    },
    run: Run::Plan(brpoplpush),
    subcommands: &[],
};

fn brpoplpush(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let twin = [&b"RPOPLPUSH"[..], args.get(1), args.get(2)];
    move_or_wait(shards, args, (End::Tail, End::Head, 3), &twin, reply)
}

/// Moves an element from one end to the other, or waits as long as the argument after them says.
fn move_or_wait(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    (from, to, timeout): (End, End, usize),
    twin: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let until = parse::timeout_seconds(args, timeout, shards.any().now)?;
    let (source, destination) = (args.key(1), args.key(2));
    let shard = shards.of(&source);
    if shard.write_as::<List>(&args.caller, &source)?.is_none() {
        reply.null();
        shards.block(Wait {
            awaits: Awaits::List,
            keys: smallvec![1],
            target: Some(2),
            until,
            when_gone: false,
            again: None,
        });
        return Ok(());
    }
    move_element(shards, args, from, to, reply)?;
    let together = shards.together(&source, &destination);
    let effects = &mut shards.of(&source).effects;
    if together && effects.has_changed() {
        effects.record(args.db(), twin);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::Harness;
    use crate::keyspace::blocked::{Wait, Waiter};
    use crate::resp::Reply;
    use crate::resp::request::{Caller, OwnedArgs};
    use crate::shard::{Shard, Shards};

    /// Runs a plan over the shards named, all if none, and gives the reply and what the command waits for.
    fn run(
        h: &mut Harness,
        line: &str,
        at: &[usize],
        waiter: Option<&Waiter>,
    ) -> (String, Option<Wait>) {
        let total = h.shards.len();
        let words: OwnedArgs = line.split(' ').map(str::as_bytes).collect();
        let args = words.args(h.caller);
        let mut held: Vec<&mut Shard> = h
            .shards
            .iter_mut()
            .filter(|shard| at.is_empty() || at.contains(&shard.index))
            .collect();
        let mut shards = match waiter {
            Some(waiter) => Shards::for_waiter(&mut held, total, waiter),
            None => Shards::new(&mut held, total),
        };
        let plan = match args.get(0) {
            b"BLPOP" => super::blpop,
            b"BLMPOP" => super::blmpop,
            _ => super::blmove,
        };
        shards.iter_mut().for_each(|shard| shard.effects.begin());
        let mut out = Vec::new();
        plan(&mut shards, &args, &mut Reply::new(&mut out, false)).unwrap();
        shards.iter_mut().for_each(|shard| {
            shard.effects.end(&args);
        });
        (String::from_utf8(out).unwrap(), shards.take_wait())
    }

    fn waiter(line: &str, wait: Wait) -> Waiter {
        let words: OwnedArgs = line.split(' ').map(str::as_bytes).collect();
        Waiter::new(0, 0, 0, words, Caller::default(), wait)
    }

    #[test]
    fn what_is_there_is_taken_at_once_and_recorded_as_the_twin() {
        for shards in [1, 4] {
            let mut h = Harness::new(shards);
            h.line("RPUSH b 1 2 3 4 5 6");
            h.effects();
            h.dialogue(
                "BLPOP a b 0 => *2 $1 b $1 1
                 BRPOP a b c 0.5 => *2 $1 b $1 6
                 BLMPOP 0 2 a b RIGHT COUNT 2 => *2 $1 b *2 $1 5 $1 4
                 BLMOVE b b LEFT RIGHT 0 => $1 2
                 BRPOPLPUSH b b 0 => $1 2",
            );
            assert_eq!(
                h.effects(),
                [
                    "LPOP b",
                    "RPOP b",
                    "RPOP b 2",
                    "LMOVE b b LEFT RIGHT",
                    "RPOPLPUSH b b"
                ]
            );
        }
    }

    #[test]
    fn nothing_there_means_null_or_waiting() {
        let mut h = Harness::new(4);
        h.dialogue(
            "BLPOP a b 0 => *-1
             BLMPOP 1 2 a b LEFT => *-1
             BLMOVE a b LEFT RIGHT 1 => $-1
             BRPOPLPUSH a b 1 => $-1",
        );
        let (_, wait) = run(&mut h, "BLPOP a b c 1.5", &[], None);
        let wait = wait.unwrap();
        assert_eq!(&wait.keys[..], [1, 2, 3]);
        assert_eq!(wait.until, Some(h.shards[0].now + 1500));
        let (_, wait) = run(&mut h, "BLMOVE a b LEFT RIGHT 0", &[], None);
        let wait = wait.unwrap();
        assert_eq!(
            (&wait.keys[..], wait.target, wait.until),
            (&[1][..], Some(2), None)
        );
        assert!(h.effects().is_empty());
    }

    #[test]
    fn arguments_are_judged_in_the_order_of_redis() {
        let mut h = Harness::new(4);
        h.line("SET s x");
        h.dialogue(
            "BLPOP s 0 => -WRONGTYPE Operation against a key holding the wrong kind of value
             BLPOP s x => -ERR timeout is not a float or out of range
             BLPOP s -0.1 => -ERR timeout is negative
             BLPOP s 1e30 => -ERR timeout is out of range
             BLPOP s 9223372036854775 => -ERR timeout is out of range
             BLMPOP x 0 s LEFT => -ERR numkeys should be greater than 0
             BLMPOP x 1 s UP => -ERR syntax error
             BLMPOP x 1 s LEFT COUNT 0 => -ERR count should be greater than 0
             BLMPOP x 1 s LEFT => -ERR timeout is not a float or out of range
             BLMOVE s d UP LEFT x => -ERR syntax error
             BLMOVE s d LEFT LEFT x => -ERR timeout is not a float or out of range
             BLMOVE s d LEFT LEFT 0 => -WRONGTYPE Operation against a key holding the wrong kind of value
             BRPOPLPUSH s d -1 => -ERR timeout is negative",
        );
    }

    #[test]
    fn keys_of_shards_that_are_not_at_hand_are_passed_over() {
        let mut h = Harness::new(4);
        let line = "BLPOP a b c 0";
        let (_, wait) = run(&mut h, line, &[], None);
        let waiter = waiter(line, wait.unwrap());
        h.line("RPUSH a 1");
        h.line("RPUSH b 2");
        let [a, b] = [&b"a"[..], b"b"].map(|key| usize::from(crate::base::slot::key_slot(key)) % 4);
        assert_ne!(a, b, "the keys are on two shards");
        let (reply, wait) = run(&mut h, line, &[b], Some(&waiter));
        assert_eq!(
            (reply.as_str(), wait.is_none()),
            ("*2\r\n$1\r\nb\r\n$1\r\n2\r\n", true)
        );
        assert!(waiter.is_over());
        assert_eq!(h.line("LLEN a"), ":1\r\n");
    }

    #[test]
    fn a_client_that_has_been_answered_takes_nothing() {
        for line in ["BLPOP a 0", "BLMPOP 0 1 a LEFT", "BLMOVE a b LEFT LEFT 0"] {
            let mut h = Harness::new(4);
            let (_, wait) = run(&mut h, line, &[], None);
            let waiter = waiter(line, wait.unwrap());
            assert!(waiter.win());
            h.line("RPUSH a 1");
            h.effects();
            let (_, wait) = run(&mut h, line, &[], Some(&waiter));
            assert!(wait.is_none());
            assert_eq!(h.line("LRANGE a 0 -1"), "*1\r\n$1\r\n1\r\n", "{line}");
            assert!(h.effects().is_empty(), "{line}");
        }
    }
}
