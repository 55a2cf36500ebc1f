//! SORT and SORT_RO: the elements of a list, a set or a sorted set in the order of numbers or texts, which other keys may
//! hold, with what yet other keys hold.
//!
//! The elements are copied first, since BY and GET look up keys, which moves clocks and deletes what has expired, on any
//! shard. What is sorted are their numbers; equal elements keep their places.

use std::cmp::Ordering;
use std::ops::Range;

use crate::base::collate::Collation;
use crate::base::number::parse_f64;
use crate::command::list::fill;
use crate::command::parse;
use crate::command::spec::{
    Access, Acl, Argument, ArgumentKind, Arity, Begin, Command, Docs, Find, Flags, Group, KeySpec,
    Run,
};
use crate::command::string::with_bytes;
use crate::keyspace::{Kind, Value};
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shards};
use crate::structures::entry::NewValue;
use crate::structures::hash::Hash;
use crate::structures::list::List;
use crate::structures::listpack::{Item, TextBuffer};
use crate::structures::quicklist::End;

const COMPLEXITY: &str = "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned elements. When the elements are not sorted, complexity is O(N).";
/// Keys that the elements name.
const BY_PATTERNS: KeySpec = KeySpec {
    begin: Begin::Unknown,
    find: Find::Unknown,
    access: Access::RO.and(Access::ACCESS),
    notes: "Keys of BY and GET follow from the elements, so they are not known beforehand",
};
/// The arguments of both; SORT has one more.
const ARGUMENTS: [Argument; 6] = [
    Argument::key("key"),
    pattern("by-pattern")
        .token("BY")
        .shown("pattern")
        .optional(),
    Argument::block(
        "limit",
        &[Argument::integer("offset"), Argument::integer("count")],
    )
    .token("LIMIT")
    .optional(),
    pattern("get-pattern")
        .token("GET")
        .shown("pattern")
        .optional()
        .multiple()
        .multiple_token(),
    Argument::one_of(
        "order",
        &[Argument::word("asc", "ASC"), Argument::word("desc", "DESC")],
    )
    .optional(),
    Argument::word("sorting", "ALPHA").optional(),
];

pub(super) const SORT: Command = Command {
    name: "SORT",
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLE_KEYS),
    acl: Acl::SET
        .and(Acl::SORTEDSET)
        .and(Acl::LIST)
        .and(Acl::DANGEROUS),
    keys: &[
        KeySpec::one(1, Access::RO.and(Access::ACCESS)),
        BY_PATTERNS,
        KeySpec {
            begin: Begin::Computed {
                place: stored_under,
                word: "",
                from: 0,
            },
            find: Find::Range {
                last: 0,
                step: 1,
                limit: 0,
            },
            access: Access::OW.and(Access::UPDATE),
            notes: "STORE may stand anywhere among the options, so its key is not at a known place",
        },
    ],
    docs: Docs {
        group: Group::Generic,
        since: "1.0.0",
        complexity: COMPLEXITY,
        summary: "Sorts the elements of a list, a set or a sorted set, and may store the result.",
        arguments: &[
            ARGUMENTS[0],
            ARGUMENTS[1],
            ARGUMENTS[2],
            ARGUMENTS[3],
            ARGUMENTS[4],
            ARGUMENTS[5],
            Argument::key_of("destination", 2).token("STORE").optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Reach {
        plan: sort,
        everything: reaches_everything,
    },
    subcommands: &[],
};

pub(super) const SORT_RO: Command = Command {
    name: "SORT_RO",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY.and(Flags::MOVABLE_KEYS),
    acl: Acl::SET
        .and(Acl::SORTEDSET)
        .and(Acl::LIST)
        .and(Acl::DANGEROUS),
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS)), BY_PATTERNS],
    docs: Docs {
        group: Group::Generic,
        since: "7.0.0",
        complexity: COMPLEXITY,
        summary: "Sorts the elements of a list, a set or a sorted set.",
        arguments: &ARGUMENTS,
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Reach {
        plan: sort_ro,
        everything: reaches_everything,
    },
    subcommands: &[],
};

/// A pattern of keys, which belong to the second specification.
const fn pattern(name: &'static str) -> Argument {
    Argument {
        key_spec: Some(1),
        ..Argument::new(name, ArgumentKind::Pattern)
    }
}

/// The key behind the last STORE, as Redis's GETKEYS finds it.
fn stored_under(args: &Args<'_>) -> Option<usize> {
    let mut last = None;
    let mut at = 2;
    while at < args.len() {
        at += match () {
            () if args.is(at, "LIMIT") => 2,
            () if args.is(at, "GET") || args.is(at, "BY") => 1,
            () if args.is(at, "STORE") && at + 1 < args.len() => {
                last = Some(at + 1);
                1
            }
            () => 0,
        };
        at += 1;
    }
    last
}

/// Whether a request looks up keys that follow from the elements.
fn reaches_everything(args: &Args<'_>) -> bool {
    Request::read(args, true).is_ok_and(|request| request.reaches_everything())
}

/// What BY and GET look up for an element.
#[derive(Clone, Copy)]
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// Names no key: nothing is found.
    Nothing,
    /// A key, or a field of a hash.
    Key {
        before: &'a [u8],
        behind: &'a [u8],
        field: Option<&'a [u8]>,
    },
}

impl<'a> Pattern<'a> {
    /// As C reads it: what makes the pattern one must come before any NUL byte.
    fn read(text: &'a [u8]) -> Pattern<'a> {
        if text == b"#" {
            return Pattern::Element;
        }
        let end = memchr::memchr(0, text).unwrap_or(text.len());
        let Some(star) = memchr::memchr(b'*', &text[..end]) else {
            return Pattern::Nothing;
        };
        let (before, behind) = (&text[..star], &text[star + 1..]);
        let arrow = memchr::memmem::find(&text[star + 1..end], b"->");
        // An arrow at the end is a part of the key's name.
        match arrow.filter(|arrow| star + 1 + arrow + 2 < end) {
            Some(arrow) => Pattern::Key {
                before,
                behind: &behind[..arrow],
                field: Some(&behind[arrow + 2..]),
            },
            None => Pattern::Key {
                before,
                behind,
                field: None,
            },
        }
    }

    fn is_key(self) -> bool {
        matches!(self, Pattern::Key { .. })
    }

    /// Calls `use_value` with what is found for an element.
    fn look_up<R>(
        self,
        shards: &mut Shards<'_>,
        args: &Args<'_>,
        element: &[u8],
        use_value: impl FnOnce(Option<&[u8]>) -> R,
    ) -> R {
        let (before, behind, field) = match self {
            Pattern::Element => return use_value(Some(element)),
            Pattern::Nothing => return use_value(None),
            Pattern::Key {
                before,
                behind,
                field,
            } => (before, behind, field),
        };
        let name = [before, element, behind].concat();
        let key = Key::new(&name);
        let Some(entry) = shards.of(&key).read(&args.caller, &key) else {
            return use_value(None);
        };
        let Some(field) = field else {
            if !entry.is_string() {
                return use_value(None);
            }
            return with_bytes(Some(entry), |bytes| use_value(Some(bytes)))
                .unwrap_or_else(|_| unreachable!("a string has bytes"));
        };
        let value = entry
            .boxed()
            .and_then(Hash::of)
            .and_then(|hash| hash.get(field));
        let mut digits = TextBuffer::new();
        use_value(value.as_ref().map(|value| value.text(&mut digits)))
    }
}

/// What a request asks for.
struct Request<'a> {
    descending: bool,
    texts: bool,
    offset: i64,
    count: i64,
    by: Option<Pattern<'a>>,
    get: Vec<Pattern<'a>>,
    /// The argument that names the destination.
    store: Option<usize>,
}

impl<'a> Request<'a> {
    fn read(args: &Args<'a>, may_store: bool) -> Result<Request<'a>, ErrorReply> {
        let mut request = Request {
            descending: false,
            texts: false,
            offset: 0,
            count: -1,
            by: None,
            get: Vec::new(),
            store: None,
        };
        let mut at = 2;
        while at < args.len() {
            let left = args.len() - at - 1;
            match () {
                () if args.is(at, "ASC") => request.descending = false,
                () if args.is(at, "DESC") => request.descending = true,
                () if args.is(at, "ALPHA") => request.texts = true,
                () if args.is(at, "LIMIT") && left >= 2 => {
                    request.offset = parse::integer(args, at + 1)?;
                    request.count = parse::integer(args, at + 2)?;
                    at += 2;
                }
                () if may_store && args.is(at, "STORE") && left >= 1 => {
                    request.store = Some(at + 1);
                    at += 1;
                }
                () if args.is(at, "BY") && left >= 1 => {
                    request.by = Some(Pattern::read(args.get(at + 1)));
                    at += 1;
                }
                () if args.is(at, "GET") && left >= 1 => {
                    request.get.push(Pattern::read(args.get(at + 1)));
                    at += 1;
                }
                () => return Err(ErrorReply::SYNTAX),
            }
            at += 1;
        }
        Ok(request)
    }

    fn reaches_everything(&self) -> bool {
        self.by
            .iter()
            .chain(&self.get)
            .any(|pattern| pattern.is_key())
    }

    /// The elements that LIMIT leaves, of so many.
    fn window(&self, len: usize) -> Range<usize> {
        let len = len as i64;
        let start = self.offset.clamp(0, len);
        let end = match self.count {
            count if count < 0 => len,
            count => (start + count.min(len)).min(len),
        };
        start as usize..end as usize
    }
}

/// Elements one after another in one allocation.
#[derive(Default)]
struct Elements {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Elements {
    fn push(&mut self, item: Item<'_>) {
        self.bytes
            .extend_from_slice(item.text(&mut TextBuffer::new()));
        self.ends.push(self.bytes.len());
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }
}

/// What is sorted, and whether its own order stands.
struct Loaded {
    elements: Elements,
    keeps_order: bool,
}

fn sort(shards: &mut Shards<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    sort_any(shards, args, true, reply)
}

fn sort_ro(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    sort_any(shards, args, false, reply)
}

fn sort_any(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    may_store: bool,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let mut request = Request::read(args, may_store)?;
    if shards.any().config.cluster_enabled {
        // Their keys may be anywhere.
        if request.by.iter().any(|by| by.is_key()) {
            return Err(ErrorReply::CLUSTER_SORT_BY);
        }
        if request.get.iter().any(|get| get.is_key()) {
            return Err(ErrorReply::CLUSTER_SORT_GET);
        }
    }
    if request.reaches_everything() && shards.held() < shards.total() {
        return Err(ErrorReply::NOT_FROM_HERE); // keys out of reach must not look missing
    }
    let loaded = load(shards, args, &mut request)?;
    let elements = &loaded.elements;
    let mut order: Vec<usize> = (0..elements.len()).collect();
    if loaded.keeps_order {
        order.truncate(request.window(elements.len()).end);
        order.drain(..request.window(elements.len()).start.min(order.len()));
    } else {
        put_in_order(shards, args, &request, elements, &mut order)?;
    }
    let Some(destination) = request.store else {
        reply.array(order.len() * request.get.len().max(1));
        for &index in &order {
            let element = elements.get(index);
            if request.get.is_empty() {
                reply.bulk(element);
            }
            for pattern in &request.get {
                pattern.look_up(shards, args, element, |value| match value {
                    Some(value) => reply.bulk(value),
                    None => reply.null(),
                });
            }
        }
        return Ok(());
    };
    let fill = fill(shards.any());
    let mut result = List::new();
    for &index in &order {
        let element = elements.get(index);
        if request.get.is_empty() {
            result.push(End::Tail, element, fill);
        }
        for pattern in &request.get {
            pattern.look_up(shards, args, element, |value| {
                result.push(End::Tail, value.unwrap_or_default(), fill);
            });
        }
    }
    reply.count(result.len());
    let (source, destination) = (args.key(1), args.key(destination));
    let together = shards.together(&source, &destination) && !request.reaches_everything();
    store(shards, args, &destination, result, together);
    Ok(())
}

/// Puts the result in place of whatever the key held; an empty one deletes the key.
fn store(shards: &mut Shards<'_>, args: &Args<'_>, key: &Key<'_>, result: List, together: bool) {
    let together = together || shards.total() == 1;
    let shard = shards.of(key);
    if !result.is_empty() {
        let elements = result.len() as u64;
        let value = NewValue::<Value>::Boxed(Box::new(result.into_value()));
        shard.put(&args.caller, key, value, false);
        shard.changed_by(args.db(), key, Class::List, "sortstore", elements);
        if !together {
            shard.made_from_afar(args.db(), key);
        }
    } else if shard.delete(args.db(), key) {
        shard.changed(args.db(), key, Class::Generic, "del");
        if !together {
            shard.effects.record(args.db(), &[b"DEL", key.bytes]);
        }
    }
}

/// Copies the elements. Where nothing is to be sorted they come in the order asked for.
fn load(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    request: &mut Request<'_>,
) -> Result<Loaded, ErrorReply> {
    let source = args.key(1);
    let mut loaded = Loaded {
        elements: Elements::default(),
        // A BY that names no key says that nothing is to be sorted.
        keeps_order: request.by.is_some_and(|by| !by.is_key()),
    };
    let Some(entry) = shards.of(&source).read(&args.caller, &source) else {
        return Ok(loaded);
    };
    let elements = &mut loaded.elements;
    let backwards = loaded.keeps_order && request.descending;
    match entry.boxed() {
        Some(Value::List(list)) if backwards => {
            let last = list.len().saturating_sub(1);
            list.iter_from(last, End::Head)
                .for_each(|item| elements.push(item));
        }
        Some(Value::List(list)) => list.iter().for_each(|item| elements.push(item)),
        Some(Value::Zset(zset)) if backwards => {
            let all = zset.iter(0..zset.len()).rev();
            all.for_each(|(name, _)| elements.push(name));
        }
        Some(Value::Zset(zset)) => {
            let all = zset.iter(0..zset.len());
            all.for_each(|(name, _)| elements.push(name));
        }
        Some(Value::Set(set)) => {
            set.iter().for_each(|item| elements.push(item));
            // A set has no order of its own: what is stored, or what a script sees, must not depend on chance.
            if loaded.keeps_order && (request.store.is_some() || args.caller.deny_blocking) {
                loaded.keeps_order = false;
                request.texts = true;
                request.by = None;
            }
        }
        _ => return Err(ErrorReply::WRONG_TYPE),
    }
    Ok(loaded)
}

/// Sorts the numbers of the elements, and leaves those that LIMIT wants.
fn put_in_order(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    request: &Request<'_>,
    elements: &Elements,
    order: &mut Vec<usize>,
) -> Result<(), ErrorReply> {
    let turned = |order: Ordering| {
        if request.descending {
            order.reverse()
        } else {
            order
        }
    };
    let window = request.window(order.len());
    if !request.texts {
        let scores = scores(shards, args, request, elements)?;
        arrange(order, window, |one, other| {
            let by_score = scores[one]
                .partial_cmp(&scores[other])
                .unwrap_or(Ordering::Equal);
            turned(by_score.then_with(|| elements.get(one).cmp(elements.get(other))))
        });
        return Ok(());
    }
    // What is stored must not depend on the locale either.
    let collation = match request.store {
        Some(_) => Collation::bytes(),
        None => Collation::named(&shards.any().config.locale_collate),
    };
    if let Some(by) = request.by {
        let values: Vec<Option<Vec<u8>>> = (0..elements.len())
            .map(|index| {
                by.look_up(shards, args, elements.get(index), |value| {
                    value.map(|value| collation.key(value))
                })
            })
            .collect();
        arrange(order, window, |one, other| {
            turned(values[one].cmp(&values[other]))
        });
    } else if request.store.is_some() {
        arrange(order, window, |one, other| {
            turned(elements.get(one).cmp(elements.get(other)))
        });
    } else {
        let keys: Vec<Vec<u8>> = (0..elements.len())
            .map(|index| collation.key(elements.get(index)))
            .collect();
        arrange(order, window, |one, other| {
            turned(keys[one].cmp(&keys[other]))
        });
    }
    Ok(())
}

/// The number of each element, or of what BY finds for it; where that is nothing, zero.
fn scores(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    request: &Request<'_>,
    elements: &Elements,
) -> Result<Vec<f64>, ErrorReply> {
    let by = request.by.unwrap_or(Pattern::Element);
    // All are looked up even where one is no number, since looking up is a use of the key.
    let scores: Vec<Option<f64>> = (0..elements.len())
        .map(|index| {
            by.look_up(shards, args, elements.get(index), |value| {
                value.map_or(Some(0.0), score_of)
            })
        })
        .collect();
    let scores: Option<Vec<f64>> = scores.into_iter().collect();
    scores.ok_or(ErrorReply::SORT_SCORES)
}

/// A number as C's `strtod` reads a whole string: nothing is zero, blanks may come first, a NUL byte ends it, and what a
/// double cannot hold is refused.
fn score_of(text: &[u8]) -> Option<f64> {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    if end == 0 {
        return Some(0.0);
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let blanks = text[..end].iter().take_while(|byte| is_blank(byte)).count();
    parse_f64(&text[blanks..end])
}

/// Sorts so that equal ones keep their places, as far as the window is concerned, and leaves the window.
fn arrange(
    order: &mut Vec<usize>,
    window: Range<usize>,
    compare: impl Fn(usize, usize) -> Ordering,
) {
    let full = |one: &usize, other: &usize| compare(*one, *other).then(one.cmp(other));
    if window.end < order.len() && !window.is_empty() {
        order.select_nth_unstable_by(window.end, full);
    }
    order.truncate(window.end);
    order.sort_unstable_by(full);
    order.drain(..window.start.min(order.len()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::harness::Harness;

    fn harness(shards: usize) -> Harness {
        let mut h = Harness::new(shards);
        h.line("RPUSH l 3 1 2 10");
        h.line("SADD s banana apple cherry");
        h.line("ZADD z 3 one 2 two 1 three");
        for (name, weight) in [("1", "9"), ("2", "5"), ("3", "7"), ("10", "1")] {
            h.line(&format!("SET w_{name} {weight}"));
            h.line(&format!("HSET h_{name} f field{name}"));
        }
        h
    }

    #[test]
    fn numbers_and_texts_are_sorted_both_ways() {
        harness(1).dialogue(
            "
            SORT l => *4 $1 1 $1 2 $1 3 $2 10
            SORT l DESC => *4 $2 10 $1 3 $1 2 $1 1
            SORT l ALPHA => *4 $1 1 $2 10 $1 2 $1 3
            SORT l LIMIT 1 2 => *2 $1 2 $1 3
            SORT l LIMIT -5 1 => *1 $1 1
            SORT l LIMIT 4 9 => *0
            SORT l LIMIT 0 -7 => *4 $1 1 $1 2 $1 3 $2 10
            SORT_RO l LIMIT 3 100 => *1 $2 10
            SORT s ALPHA DESC => *3 $6 cherry $6 banana $5 apple
            SORT z ALPHA => *3 $3 one $5 three $3 two
            SORT z BY nosort => *3 $5 three $3 two $3 one
            SORT z BY nosort DESC LIMIT 0 2 => *2 $3 one $3 two
            SORT l BY nosort DESC LIMIT 1 2 => *2 $1 2 $1 1
            SORT l BY nosort LIMIT 5 2 => *0
            SORT none => *0
            SORT s => -ERR One or more scores can't be converted into double
            SORT l LIMIT 0 => -ERR syntax error
            SORT l LIMIT 0 x => -ERR value is not an integer or out of range
            SORT_RO l STORE d => -ERR syntax error
            SORT w_1 => -WRONGTYPE Operation against a key holding the wrong kind of value
            ",
        );
    }

    #[test]
    fn other_keys_give_the_order_and_the_values() {
        for shards in [1, 4] {
            harness(shards).dialogue(
                "
                SORT l BY w_* => *4 $2 10 $1 2 $1 3 $1 1
                SORT l BY w_* DESC LIMIT 0 1 => *1 $1 1
                SORT l BY none_* => *4 $1 1 $2 10 $1 2 $1 3
                SORT l BY none_* ALPHA => *4 $1 3 $1 1 $1 2 $2 10
                SORT l BY h_*->f ALPHA => *4 $1 1 $2 10 $1 2 $1 3
                SORT l BY h_*->f => -ERR One or more scores can't be converted into double
                SORT l GET # GET h_*->f LIMIT 0 2 => *4 $1 1 $6 field1 $1 2 $6 field2
                SORT l GET h_* GET w_*-> GET w_ LIMIT 0 1 => *3 $-1 $-1 $-1
                SORT l GET w_*->f LIMIT 0 1 => *1 $-1
                ",
            );
        }
    }

    #[test]
    fn results_are_stored_as_lists() {
        for shards in [1, 4] {
            let mut h = harness(shards);
            h.dialogue(
                "
                SORT l STORE d => :4
                LRANGE d 0 -1 => *4 $1 1 $1 2 $1 3 $2 10
                OBJECT ENCODING d => $8 listpack
                SORT l BY w_* GET w_* GET none_* STORE d LIMIT 0 2 => :4
                LRANGE d 0 -1 => *4 $1 1 $0  $1 5 $0
                SORT s BY nosort STORE d => :3
                LRANGE d 0 -1 => *3 $5 apple $6 banana $6 cherry
                SORT s STORE d => -ERR One or more scores can't be converted into double
                LLEN d => :3
                SORT none STORE d => :0
                EXISTS d => :0
                ",
            );
            h.effects();
            h.line("SORT l STORE l");
            assert_eq!(h.effects(), ["SORT l STORE l"]);
        }
    }

    #[test]
    fn keys_are_found_behind_options_only() {
        let place = |line: &str| {
            let words =
                crate::resp::request::OwnedArgs::from_iter(line.split(' ').map(str::as_bytes));
            stored_under(&words.args(Default::default()))
        };
        assert_eq!(place("SORT k STORE a"), Some(3));
        assert_eq!(place("SORT k GET STORE BY STORE STORE a STORE b"), Some(9));
        assert_eq!(place("SORT k STORE"), None);
        assert_eq!(place("SORT k LIMIT STORE a"), None);
    }

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (text, score) in [
            (&b""[..], Some(0.0)),
            (b" 5", Some(5.0)),
            (b"5 ", None),
            (b" ", None),
            (b"5\0x", Some(5.0)),
            (b"\0", Some(0.0)),
            (b"-inf", Some(f64::NEG_INFINITY)),
            (b"nan", None),
            (b"1e999", None),
            (b"0x10", Some(16.0)),
        ] {
            assert_eq!(score_of(text), score, "{text:?}");
        }
    }
}
