//! Sorted set commands on one shard and on several. What Redis answers to random requests is compared elsewhere
//! (`tests/client/differential.py`); here stand the cases that are easy to lose.

use crate::command::harness::Harness;
use crate::resp::request::Key;
use crate::shard::{Class, Shard};
use crate::structures::set::{Set, SetLimits};

/// The values of a flat or nested reply, in one line: what a test wants to read.
fn shown(reply: &str) -> String {
    let mut words = Vec::new();
    let mut lines = reply.split("\r\n");
    while let Some(line) = lines.next() {
        match line.as_bytes() {
            [b'$', b'-', ..] | [b'_'] => words.push("nil".to_owned()),
            [b'$', ..] => words.push(lines.next().unwrap_or("").to_owned()),
            [] => {}
            _ => words.push(line.to_owned()),
        }
    }
    words.join(" ")
}

trait Ask {
    fn ask(&mut self, line: &str) -> String;
}

impl Ask for Harness {
    fn ask(&mut self, line: &str) -> String {
        shown(&self.line(line))
    }
}

fn shard_of<'a>(h: &'a mut Harness, key: &Key<'_>) -> &'a mut Shard {
    let total = h.shards.len();
    &mut h.shards[usize::from(key.slot) % total]
}

fn encoding(h: &mut Harness, key: &str) -> &'static str {
    let key = Key::new(key.as_bytes());
    let value = shard_of(h, &key)
        .peek(0, &key)
        .and_then(|entry| entry.boxed());
    value.map_or("none", |value| value.encoding_name())
}

fn add_set(h: &mut Harness, key: &str, members: &[&str]) {
    let caller = h.caller;
    let key = Key::new(key.as_bytes());
    let shard = shard_of(h, &key);
    let set = shard.create_as(&caller, &key, Set::new).unwrap();
    for member in members {
        set.add(member.as_bytes(), SetLimits::default());
    }
    shard.changed(0, &key, Class::Set, "sadd");
}

#[test]
fn zadd_obeys_each_option() {
    let mut h = Harness::new(1);
    assert_eq!(h.ask("ZADD z 1 a 2 b 3 c"), ":3");
    assert_eq!(h.ask("ZADD z 5 a 4 d"), ":1");
    assert_eq!(h.ask("ZADD z CH 6 a 4 d 1 e"), ":2");
    assert_eq!(h.ask("ZADD z nx ch 9 a 9 f"), ":1");
    assert_eq!(h.ask("ZADD z XX 7 a 7 g"), ":0");
    assert_eq!(h.ask("ZADD z GT CH 6 a 8 b"), ":1");
    assert_eq!(h.ask("ZADD z LT CH 6 a 9 b"), ":1");
    assert_eq!(h.ask("ZADD z INCR 1.5 a"), "7.5");
    assert_eq!(h.ask("ZADD z NX INCR 1 a"), "nil");
    assert_eq!(h.ask("ZADD z GT INCR -1 a"), "nil");
    assert_eq!(h.ask("ZINCRBY z 1 new"), "1");
    assert_eq!(
        h.ask("ZRANGE z 0 -1 WITHSCORES"),
        "*14 e 1 new 1 c 3 d 4 a 7.5 b 8 f 9"
    );
    assert_eq!(h.ask("ZADD none XX INCR 1 a"), "nil");
    assert_eq!(h.ask("ZADD none XX 1 a"), ":0");
    assert_eq!(h.ask("ZCARD none"), ":0");
}

#[test]
fn errors_have_the_texts_of_redis_in_its_order() {
    let mut h = Harness::new(1);
    h.line("SET s x");
    h.line("ZADD z inf a");
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    let syntax = "-ERR syntax error";
    let integer = "-ERR value is not an integer or out of range";
    for (line, error) in [
        (
            "ZADD s 1",
            "-ERR wrong number of arguments for 'zadd' command",
        ),
        ("ZADD s 1 a b", syntax),
        (
            "ZADD s NX XX 1 a",
            "-ERR XX and NX options at the same time are not compatible",
        ),
        (
            "ZADD s GT LT 1 a",
            "-ERR GT, LT, and/or NX options at the same time are not compatible",
        ),
        (
            "ZADD s INCR 1 a 2 b",
            "-ERR INCR option supports a single increment-element pair",
        ),
        ("ZADD s 1 a x b", "-ERR value is not a valid float"),
        ("ZADD s 1 a", wrong),
        (
            "ZINCRBY z -inf a",
            "-ERR resulting score is not a number (NaN)",
        ),
        ("ZINCRBY z NX a", syntax),
        ("ZREM s a", wrong),
        ("ZCOUNT s x 1", "-ERR min or max is not a float"),
        (
            "ZLEXCOUNT s a +",
            "-ERR min or max not valid string range item",
        ),
        ("ZRANK z a b", syntax),
        (
            "ZRANK z a WITHSCORE x",
            "-ERR wrong number of arguments for 'zrank' command",
        ),
        ("ZRANGE z a 1", integer),
        ("ZRANGE z 0 1 REV REV", syntax),
        ("ZRANGE z 0 1 BYSCORE BYLEX", syntax),
        (
            "ZRANGE z 0 1 LIMIT 0 1",
            "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ),
        (
            "ZRANGE z - + BYLEX WITHSCORES",
            "-ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        ),
        ("ZRANGEBYSCORE z 0 1 REV", syntax),
        ("ZRANGESTORE d z 0 1 WITHSCORES", syntax),
        ("ZRANGESTORE d s 0 1", wrong),
        (
            "ZPOPMIN z x",
            "-ERR value is out of range, must be positive",
        ),
        ("ZPOPMIN z 1 2", syntax),
        ("ZMPOP 0 z MIN", "-ERR numkeys should be greater than 0"),
        ("ZMPOP 1 z MID", syntax),
        (
            "ZMPOP 1 z MIN COUNT 0",
            "-ERR count should be greater than 0",
        ),
        ("ZMPOP 3 z MIN COUNT 1", syntax),
        (
            "ZUNION 0 z",
            "-ERR at least 1 input key is needed for 'zunion' command",
        ),
        ("ZDIFFSTORE d x z", integer),
        ("ZINTER 2 z", syntax),
        ("ZUNION 1 s FOO", wrong),
        ("ZUNION 1 z WEIGHTS x", "-ERR weight value is not a float"),
        ("ZUNION 1 z AGGREGATE avg", syntax),
        ("ZDIFF 1 z WEIGHTS 1", syntax),
        ("ZINTERCARD 1 z LIMIT -1", "-ERR LIMIT can't be negative"),
        ("ZUNIONSTORE d 1 z WITHSCORES", syntax),
        ("ZSCAN z x", "-ERR invalid cursor"),
        ("ZSCAN z 0 COUNT 0", syntax),
        ("ZSCAN s 0", wrong),
        ("ZRANDMEMBER z x", integer),
        (
            "ZRANDMEMBER z -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ),
        (
            "ZRANDMEMBER z 9223372036854775807 WITHSCORES",
            "-ERR value is out of range",
        ),
        (
            "ZRANDMEMBER z -9223372036854775807",
            "-ERR value is out of range",
        ),
        ("ZRANDMEMBER z 1 FOO", syntax),
    ] {
        assert_eq!(h.ask(line), error, "{line}");
    }
    assert!(h.effects().iter().all(|effect| !effect.contains("-inf")));
}

#[test]
fn a_set_becomes_a_tree_where_redis_7_2_says_so() {
    let mut h = Harness::new(1);
    for member in 0..128 {
        h.line(&format!("ZADD z {member} m{member}"));
    }
    assert_eq!(encoding(&mut h, "z"), "listpack");
    let again: String = (0..100).map(|member| format!(" 1 m{member}")).collect();
    h.line(&format!("ZADD z{again}"));
    assert_eq!(
        encoding(&mut h, "z"),
        "listpack",
        "what is there counts once"
    );
    h.line("ZADD z 1 more");
    assert_eq!(encoding(&mut h, "z"), "skiplist");
    let many: String = (0..129).map(|_| " 1 same").collect();
    h.line(&format!("ZADD hint{many}"));
    assert_eq!(
        encoding(&mut h, "hint"),
        "skiplist",
        "129 pairs of one member"
    );
    h.line(&format!("ZADD long 1 {}", "x".repeat(64)));
    assert_eq!(encoding(&mut h, "long"), "listpack");
    h.line(&format!("ZADD long XX 1 {}", "x".repeat(65)));
    assert_eq!(
        encoding(&mut h, "long"),
        "listpack",
        "nothing long is in it"
    );
    h.line(&format!("ZADD long 1 {}", "x".repeat(65)));
    assert_eq!(encoding(&mut h, "long"), "skiplist");
    h.line("ZRANGESTORE few z 0 127");
    assert_eq!(encoding(&mut h, "few"), "listpack");
    h.line("ZUNIONSTORE all 2 few z");
    assert_eq!(encoding(&mut h, "all"), "skiplist");
    h.line("ZREMRANGEBYRANK z 5 -1");
    assert_eq!(encoding(&mut h, "z"), "skiplist", "there is no way back");
}

#[test]
fn resp3_nests_pairs_and_writes_doubles() {
    let mut h = Harness::new(1);
    h.line("ZADD z 1 a 2.5 b inf c");
    h.caller.resp3 = true;
    for (line, reply) in [
        ("ZSCORE z b", ",2.5"),
        ("ZMSCORE z c x", "*2 ,inf nil"),
        ("ZINCRBY z 1 b", ",3.5"),
        ("ZRANK z b WITHSCORE", "*2 :1 ,3.5"),
        ("ZRANK z x WITHSCORE", "nil"),
        ("ZRANGE z 0 1", "*2 a b"),
        ("ZRANGE z 0 1 WITHSCORES", "*2 *2 a ,1 *2 b ,3.5"),
        ("ZUNION 1 z WITHSCORES", "*3 *2 a ,1 *2 b ,3.5 *2 c ,inf"),
        ("ZRANDMEMBER z -1 WITHSCORES", ""),
        ("ZSCAN z 0 MATCH a", "*2 0 *2 a 1"),
        ("ZPOPMIN z", "*2 a ,1"),
        ("ZPOPMAX z 1", "*1 *2 c ,inf"),
        ("ZPOPMAX none 1", "*0"),
        ("ZMPOP 2 none z MIN", "*2 z *1 *2 b ,3.5"),
        ("ZMPOP 2 none z MIN", "nil"),
    ] {
        let answer = h.ask(line);
        if reply.is_empty() {
            assert!(answer.starts_with("*1 *2 "), "{line}: {answer}");
        } else {
            assert_eq!(answer, reply, "{line}");
        }
    }
}

#[test]
fn ranges_are_cut_by_bounds_limits_and_direction_in_both_forms() {
    for name in [
        "m",
        "a-name-too-long-for-a-packed-set-a-name-too-long-for-a-packed-set-",
    ] {
        let mut h = Harness::new(1);
        for score in 1..=9 {
            h.line(&format!("ZADD z {score} {name}{score}"));
        }
        for (line, digits) in [
            ("ZRANGE z 0 -1", "123456789"),
            ("ZRANGE z -3 -2", "78"),
            ("ZRANGE z 5 2", ""),
            ("ZRANGE z -100 100", "123456789"),
            ("ZRANGE z 0 2 REV", "987"),
            ("ZREVRANGE z -2 -1", "21"),
            ("ZRANGE z (2 5 BYSCORE", "345"),
            ("ZRANGE z 5 (2 BYSCORE REV", "543"),
            ("ZRANGE z -inf +inf BYSCORE LIMIT 2 3", "345"),
            ("ZRANGE z +inf -inf BYSCORE REV LIMIT 2 3", "765"),
            ("ZRANGEBYSCORE z 3 (6 LIMIT 1 -1", "45"),
            ("ZREVRANGEBYSCORE z 6 3 LIMIT 1 9", "543"),
            ("ZRANGEBYSCORE z 1 9 LIMIT -1 5", ""),
            ("ZRANGEBYSCORE z 1 9 LIMIT 9 5", ""),
            ("ZRANGEBYSCORE z 1 9 LIMIT 0 0", ""),
            ("ZRANGEBYSCORE z 6 3", ""),
        ] {
            let answer = h.ask(line);
            let found: String = answer
                .split(' ')
                .skip(1)
                .filter_map(|name| name.chars().last())
                .collect();
            assert_eq!(found, digits, "{line}");
        }
        assert_eq!(h.line("ZRANGEBYSCORE none 1 2"), "*0\r\n");
    }
    let mut h = Harness::new(1);
    h.line("ZADD l 0 a 0 b 0 c 0 d 0 5");
    for (line, reply) in [
        ("ZRANGEBYLEX l - +", "*5 5 a b c d"),
        ("ZRANGEBYLEX l [a (c", "*2 a b"),
        ("ZREVRANGEBYLEX l + [b LIMIT 1 1", "*1 c"),
        ("ZRANGE l + - BYLEX REV", "*5 d c b a 5"),
        ("ZRANGE l + - BYLEX", "*0"),
        ("ZLEXCOUNT l (a +", ":3"),
        ("ZREMRANGEBYLEX l [a [b", ":2"),
        ("ZCOUNT l 0 (0", ":0"),
        ("ZRANGE l 0 -1", "*3 5 c d"),
    ] {
        assert_eq!(h.ask(line), reply, "{line}");
    }
}

#[test]
fn keys_go_with_their_last_member_and_effects_say_what_was_popped() {
    let mut h = Harness::new(4);
    h.line("ZADD a 1 x 2 y 3 z");
    h.line("ZADD b 1 x 2 y");
    h.effects();
    assert_eq!(h.ask("ZPOPMIN a"), "*2 x 1");
    assert_eq!(h.ask("ZPOPMAX a 5"), "*4 z 3 y 2");
    assert_eq!(h.ask("ZPOPMAX a 5"), "*0");
    assert_eq!(h.ask("ZPOPMAX b 0"), "*0");
    assert_eq!(h.ask("ZMPOP 2 a b MAX COUNT 9"), "*2 b *2 *2 y 2 *2 x 1");
    assert_eq!(h.ask("ZMPOP 2 a b MAX"), "*-1");
    let mut effects = h.effects();
    effects.sort();
    assert_eq!(effects, ["ZPOPMAX a 5", "ZPOPMAX b 2", "ZPOPMIN a"]);
    for (line, removed) in [
        ("ZREM a x y", ":2"),
        ("ZREMRANGEBYRANK a 0 -1", ":3"),
        ("ZREMRANGEBYSCORE a -inf +inf", ":3"),
        ("ZREMRANGEBYLEX a - +", ":3"),
        ("ZREM a z y x x", ":3"),
    ] {
        h.line("ZADD a 1 x 1 y 1 z");
        assert_eq!(h.ask(line), removed);
        if removed == ":3" {
            assert_eq!(encoding(&mut h, "a"), "none", "{line}");
        }
    }
    assert_eq!(h.ask("ZREM a x"), ":0");
    assert_eq!(h.ask("ZREMRANGEBYRANK a 0 -1"), ":0");
}

#[test]
fn what_empties_a_big_set_leaves_it_to_be_freed_in_steps() {
    for line in [
        "ZREMRANGEBYRANK z 0 -1",
        "ZPOPMIN z 5000",
        "ZREMRANGEBYSCORE z 0 9",
    ] {
        let mut h = Harness::new(1);
        for member in 0..1000 {
            h.line(&format!("ZADD z 1 member:{member}"));
        }
        h.line(line);
        assert!(h.shards[0].has_garbage(), "{line}");
        assert_eq!(h.ask("ZCARD z"), ":0");
    }
}

#[test]
fn unions_intersections_and_differences_take_sets_too_wherever_they_lie() {
    for shards in [1, 4] {
        let mut h = Harness::new(shards);
        h.line("ZADD a 1 x 2 y 3 7");
        h.line("ZADD b 10 y 20 7 30 w");
        add_set(&mut h, "s", &["7", "y", "q"]);
        add_set(&mut h, "ints", &["7", "8"]);
        for (line, reply) in [
            ("ZUNION 2 a b WITHSCORES", "*8 x 1 y 12 7 23 w 30"),
            ("ZUNION 2 a s WITHSCORES", "*8 q 1 x 1 y 3 7 4"),
            (
                "ZUNION 2 a ints AGGREGATE MAX WITHSCORES",
                "*8 8 1 x 1 y 2 7 3",
            ),
            (
                "ZUNION 2 a b WEIGHTS 2 0 AGGREGATE MIN WITHSCORES",
                "*8 7 0 w 0 y 0 x 2",
            ),
            ("ZINTER 3 a b s WITHSCORES", "*4 y 13 7 24"),
            ("ZINTER 2 s ints WITHSCORES", "*2 7 2"),
            ("ZINTER 2 a none", "*0"),
            ("ZINTER 2 a a WITHSCORES", "*6 x 2 y 4 7 6"),
            ("ZDIFF 2 a s WITHSCORES", "*2 x 1"),
            ("ZDIFF 2 s a", "*1 q"),
            ("ZDIFF 2 a a", "*0"),
            ("ZDIFF 2 none a", "*0"),
            ("ZINTERCARD 2 a s", ":2"),
            ("ZINTERCARD 2 a s LIMIT 1", ":1"),
            ("ZUNIONSTORE a 2 a b", ":4"),
            ("ZRANGE a 0 -1 WITHSCORES", "*8 x 1 y 12 7 23 w 30"),
            ("ZINTERSTORE d 2 a s", ":2"),
            ("ZDIFFSTORE d 2 a s", ":2"),
            ("ZRANGE d 0 -1", "*2 x w"),
            ("ZRANGESTORE e a 0 1 REV", ":2"),
            ("ZRANGE e 0 -1 WITHSCORES", "*4 7 23 w 30"),
            ("ZRANGESTORE e a (30 +inf BYSCORE", ":0"),
            ("ZCARD e", ":0"),
            ("ZDIFFSTORE d 2 a a", ":0"),
            ("ZCARD d", ":0"),
        ] {
            assert_eq!(h.ask(line), reply, "{line}");
        }
    }
}

#[test]
fn opposite_infinities_add_up_to_zero() {
    let mut h = Harness::new(1);
    h.line("ZADD a inf x 0 y");
    h.line("ZADD b -inf x 1 y");
    assert_eq!(h.ask("ZUNION 2 a b WITHSCORES"), "*4 x 0 y 1");
    assert_eq!(h.ask("ZINTER 2 a b WEIGHTS inf 1 WITHSCORES"), "*4 x 0 y 1");
}

#[test]
fn a_stored_result_is_recorded_as_the_request_when_all_keys_are_together() {
    let mut h = Harness::new(4);
    h.line("ZADD {t}a 1 x");
    h.line("SET {t}d old");
    h.effects();
    h.line("ZUNIONSTORE {t}d 1 {t}a");
    h.line("ZRANGESTORE {t}e {t}a 0 -1");
    h.line("ZDIFFSTORE {t}d 2 {t}a {t}a");
    h.line("ZDIFFSTORE {t}none 2 {t}a {t}a");
    let recorded = [
        "ZUNIONSTORE {t}d 1 {t}a",
        "ZRANGESTORE {t}e {t}a 0 -1",
        "ZDIFFSTORE {t}d 2 {t}a {t}a",
    ];
    assert_eq!(h.effects(), recorded);
}

#[test]
fn an_expired_input_is_no_input() {
    let mut h = Harness::new(4);
    h.line("ZADD a 1 x");
    h.line("ZADD b 1 y");
    let key = Key::new(b"a");
    let at = 1_700_000_000_500;
    shard_of(&mut h, &key)
        .keyspace
        .set_expire_at(0, &key, Some(at));
    assert_eq!(h.ask("ZUNION 2 a b"), "*2 x y");
    h.set_now(at);
    assert_eq!(h.ask("ZUNION 2 a b"), "*1 y");
    assert_eq!(h.ask("ZUNIONSTORE d 1 a"), ":0");
}

#[test]
fn zscan_shows_every_member_of_a_big_set_in_steps_of_about_count() {
    let mut h = Harness::new(1);
    for member in 0..3000 {
        h.line(&format!("ZADD z {member} m{member}"));
    }
    let mut seen = std::collections::BTreeSet::new();
    let (mut cursor, mut steps) = ("0".to_owned(), 0);
    loop {
        let reply = h.ask(&format!("ZSCAN z {cursor} COUNT 100"));
        let mut words = reply.split(' ').skip(1);
        cursor = words.next().unwrap().to_owned();
        let members: Vec<&str> = words.skip(1).collect();
        assert!(members.len() < 2 * 150, "{}", members.len());
        for pair in members.chunks(2) {
            assert_eq!(pair[0], format!("m{}", pair[1]));
            assert!(seen.insert(pair[0].to_owned()));
        }
        steps += 1;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 3000);
    assert!(steps > 15);
    assert_eq!(h.ask("ZSCAN none 0 FOO"), "*2 0 *0");
}

#[test]
fn zrandmember_draws_different_members_or_as_many_as_asked() {
    let mut h = Harness::new(1);
    assert_eq!(h.ask("ZRANDMEMBER z"), "nil");
    assert_eq!(h.ask("ZRANDMEMBER z 5"), "*0");
    h.line("ZADD z 0 m0");
    assert_eq!(h.ask("ZRANDMEMBER z 0"), "*0");
    for size in [10, 1000] {
        for member in 0..size {
            h.line(&format!("ZADD z {member} m{member}"));
        }
        for count in [1, 3, size / 2, size, size + 5] {
            let reply = h.ask(&format!("ZRANDMEMBER z {count} WITHSCORES"));
            let words: Vec<&str> = reply.split(' ').skip(1).collect();
            let drawn: std::collections::HashSet<&str> = words.iter().copied().step_by(2).collect();
            assert_eq!(drawn.len(), count.min(size), "different ones");
            assert!(
                words
                    .chunks(2)
                    .all(|pair| pair[0] == format!("m{}", pair[1]))
            );
            let reply = h.ask(&format!("ZRANDMEMBER z -{count}"));
            assert_eq!(reply.split(' ').skip(1).count(), count);
        }
    }
    let mut drawn = [0; 10];
    h.line("ZREMRANGEBYRANK z 10 -1");
    for _ in 0..1000 {
        let member = h.ask("ZRANDMEMBER z");
        drawn[member[1..].parse::<usize>().unwrap()] += 1;
        let member = h.ask("ZRANDMEMBER z 1");
        drawn[member[4..].parse::<usize>().unwrap()] += 1;
    }
    assert!(
        drawn.iter().all(|&times| (130..270).contains(&times)),
        "{drawn:?}"
    );
}
