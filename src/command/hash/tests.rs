//! The hash commands as a client sees them, and the effects they leave.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::harness::Harness;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";

/// The bulk strings of a reply, wherever they stand in it.
fn bulks(reply: &str) -> Vec<String> {
    let mut lines = reply.split("\r\n");
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with('$') && !line.starts_with("$-") {
            found.push(lines.next().unwrap().to_string());
        }
    }
    found
}

#[test]
fn fields_are_set_read_counted_and_removed() {
    for shards in [1, 4] {
        let mut h = Harness::new(shards);
        h.dialogue(
            "HSET h a 1 b two => :2
            HSET h a 11 c => -ERR wrong number of arguments for 'hset' command
            HMSET h a 11 c => -ERR wrong number of arguments for 'hmset' command
            HSET h a 11 c x => :1
            HMSET h d 4 => +OK
            HSETNX h d 5 => :0
            HSETNX h e 5 => :1
            HGET h a => $2 11
            HGET h nope => $-1
            HGET none a => $-1
            HMGET h a nope b => *3 $2 11 $-1 $3 two
            HMGET none a b => *2 $-1 $-1
            HLEN h => :5
            HLEN none => :0
            HEXISTS h a => :1
            HEXISTS h nope => :0
            HEXISTS none a => :0
            HSTRLEN h b => :3
            HSTRLEN h a => :2
            HSTRLEN h nope => :0
            HSTRLEN none a => :0
            HGETALL h => *10 $1 a $2 11 $1 b $3 two $1 c $1 x $1 d $1 4 $1 e $1 5
            HKEYS h => *5 $1 a $1 b $1 c $1 d $1 e
            HVALS h => *5 $2 11 $3 two $1 x $1 4 $1 5
            HGETALL none => *0
            HKEYS none => *0
            HVALS none => *0
            HDEL h a nope c => :2
            HDEL h nope => :0
            HDEL none a => :0
            HDEL h b d e => :3
            HLEN h => :0",
        );
        assert_eq!(
            h.effects(),
            [
                "HSET h a 1 b two",
                "HSET h a 11 c x",
                "HMSET h d 4",
                "HSETNX h e 5",
                "HDEL h a nope c",
                "HDEL h b d e"
            ]
        );
    }
}

#[test]
fn maps_are_maps_in_resp3() {
    let mut h = Harness::new(1);
    h.caller.resp3 = true;
    h.dialogue(
        "HSET h a 1 => :1
        HGETALL h => %1 $1 a $1 1
        HGETALL none => %0
        HKEYS h => *1 $1 a
        HGET h nope => _
        HRANDFIELD h 3 WITHVALUES => *1 *2 $1 a $1 1
        HRANDFIELD h -2 WITHVALUES => *2 *2 $1 a $1 1 *2 $1 a $1 1
        HRANDFIELD none => _
        HSCAN h 0 => *2 $1 0 *2 $1 a $1 1",
    );
}

#[test]
fn hincrby_adds_to_integers_only_and_within_64_bits() {
    let mut h = Harness::new(1);
    h.dialogue(
        "HINCRBY h n 5 => :5
        HINCRBY h n -7 => :-2
        HSET h text x float 1.5 max 9223372036854775807 => :3
        HINCRBY h text 1 => -ERR hash value is not an integer
        HINCRBY h float 1 => -ERR hash value is not an integer
        HINCRBY h max 1 => -ERR increment or decrement would overflow
        HINCRBY h n x => -ERR value is not an integer or out of range
        HINCRBY h n 1.5 => -ERR value is not an integer or out of range
        HGET h n => $2 -2",
    );
    assert_eq!(
        h.effects(),
        [
            "HINCRBY h n 5",
            "HINCRBY h n -7",
            "HSET h text x float 1.5 max 9223372036854775807"
        ]
    );
}

#[test]
fn hincrbyfloat_replies_and_records_the_sum() {
    let mut h = Harness::new(1);
    h.dialogue(
        "HINCRBYFLOAT h n 10.5 => $4 10.5
        HINCRBYFLOAT h n 0.1 => $4 10.6
        HINCRBYFLOAT h n -5 => $3 5.6
        HINCRBYFLOAT h n 5.0e3 => $22 5005.60000000000000009
        HSET h text x i inf => :2
        HINCRBYFLOAT h text 1 => -ERR hash value is not a float
        HINCRBYFLOAT h i 1 => -ERR increment would produce NaN or Infinity
        HINCRBYFLOAT h n x => -ERR value is not a valid float
        HINCRBYFLOAT h n nan => -ERR value is not a valid float
        HINCRBYFLOAT h n inf => -ERR value is NaN or Infinity
        HINCRBYFLOAT none n -inf => -ERR value is NaN or Infinity
        HLEN none => :0",
    );
    assert_eq!(
        h.effects(),
        [
            "HSET h n 10.5",
            "HSET h n 10.6",
            "HSET h n 5.6",
            "HSET h n 5005.60000000000000009",
            "HSET h text x i inf"
        ]
    );
}

#[test]
fn a_small_hash_is_scanned_at_once_and_a_big_one_in_parts_that_meet_every_field() {
    let mut h = Harness::new(1);
    h.dialogue(
        "HSET h a 1 b 2 ab 3 => :3
        HSCAN h 0 => *2 $1 0 *6 $1 a $1 1 $1 b $1 2 $2 ab $1 3
        HSCAN h 0 COUNT 1 MATCH a* => *2 $1 0 *4 $1 a $1 1 $2 ab $1 3
        HSCAN h 77 match * => *2 $1 0 *6 $1 a $1 1 $1 b $1 2 $2 ab $1 3
        HSCAN none 0 NONSENSE => *2 $1 0 *0
        HSCAN none x => -ERR invalid cursor
        HSCAN h -x => -ERR invalid cursor
        HSCAN h 0 COUNT 0 => -ERR syntax error
        HSCAN h 0 COUNT x => -ERR value is not an integer or out of range
        HSCAN h 0 COUNT => -ERR syntax error
        HSCAN h 0 TYPE hash => -ERR syntax error",
    );
    for n in 0..2000 {
        h.run(&["HSET", "big", &format!("f{n}"), &n.to_string()]);
    }
    let (mut met, mut cursor, mut calls) = (BTreeSet::new(), "0".to_string(), 0);
    loop {
        let found = bulks(&h.run(&["HSCAN", "big", &cursor, "COUNT", "50"]));
        cursor = found[0].clone();
        for pair in found[1..].chunks(2) {
            assert_eq!(pair[0][1..], pair[1]);
            met.insert(pair[0].clone());
        }
        calls += 1;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(met.len(), 2000);
    assert!((10..=50).contains(&calls), "{calls} calls");
}

#[test]
fn hrandfield_draws_with_and_without_repetition() {
    let mut h = Harness::new(1);
    h.dialogue(
        "HSET one f v => :1
        HRANDFIELD one => $1 f
        HRANDFIELD one 5 => *1 $1 f
        HRANDFIELD one -3 => *3 $1 f $1 f $1 f
        HRANDFIELD one 0 => *0
        HRANDFIELD one -2 WITHVALUES => *4 $1 f $1 v $1 f $1 v
        HRANDFIELD one 2 withvalues => *2 $1 f $1 v
        HRANDFIELD none => $-1
        HRANDFIELD none 2 => *0
        HRANDFIELD none x => -ERR value is not an integer or out of range
        HRANDFIELD one 1 WITHSCORES => -ERR syntax error
        HRANDFIELD one 1 WITHVALUES x => -ERR syntax error
        HRANDFIELD one 4611686018427387904 WITHVALUES => -ERR value is out of range
        HRANDFIELD one -4611686018427387904 WITHVALUES => -ERR value is out of range
        HRANDFIELD one -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
    );
    for fields in [20, 700] {
        h.line("HDEL h x");
        for n in 0..fields {
            h.run(&["HSET", "h", &format!("f{n}"), &n.to_string()]);
        }
        for count in [1, 5, fields / 2, fields - 1, fields, fields + 5] {
            let drawn = bulks(&h.run(&["HRANDFIELD", "h", &count.to_string(), "WITHVALUES"]));
            let drawn: BTreeMap<_, _> = drawn
                .chunks(2)
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .collect();
            assert_eq!(drawn.len(), count.min(fields));
            assert!(drawn.iter().all(|(field, value)| field[1..] == *value));
        }
        let drawn = bulks(&h.run(&["HRANDFIELD", "h", "-1000"]));
        let different: BTreeSet<_> = drawn.iter().collect();
        assert_eq!(drawn.len(), 1000);
        assert!(different.len() > fields / 2 && different.len() <= fields);
    }
}

#[test]
fn every_field_is_as_likely_as_any_other() {
    let mut h = Harness::new(1);
    h.line("HSET h a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8");
    for count in ["1", "-1", "2", "5"] {
        let mut times: BTreeMap<String, u32> = BTreeMap::new();
        let rounds = 4000;
        for _ in 0..rounds {
            for field in bulks(&h.run(&["HRANDFIELD", "h", count])) {
                *times.entry(field).or_default() += 1;
            }
        }
        let expected = rounds * count.trim_start_matches('-').parse::<u32>().unwrap() / 8;
        for (field, times) in times {
            let off = times.abs_diff(expected);
            assert!(off < expected / 4, "{field}: {times} of {expected}");
        }
    }
}

#[test]
fn a_hash_passes_its_limits_and_stays_a_table() {
    let mut h = Harness::new(1);
    h.configure(|config| {
        config.hash_max_listpack_entries = 4;
        config.hash_max_listpack_value = 10;
    });
    h.line("HSET h a 1 b 2 c 3 d 4");
    assert_eq!(h.encoding("h"), "listpack");
    h.line("HSET h e 5");
    assert_eq!(h.encoding("h"), "hashtable");
    h.line("HDEL h a b c d");
    assert_eq!(h.encoding("h"), "hashtable");
    h.line("HSET v a 0123456789");
    assert_eq!(h.encoding("v"), "listpack");
    h.line("HSETNX v b 0123456789x");
    assert_eq!(h.encoding("v"), "hashtable");
    h.line("HSET w a 1 a 1 a 1 a 1 a 1");
    assert_eq!(
        h.encoding("w"),
        "hashtable",
        "counted before they are compared"
    );
}

#[test]
fn commands_on_a_key_of_another_type_reply_wrongtype_and_change_nothing() {
    let mut h = Harness::new(1);
    h.line("RPUSH k v");
    for line in [
        "HSET k a 1",
        "HMSET k a 1",
        "HSETNX k a 1",
        "HGET k a",
        "HMGET k a b",
        "HGETALL k",
        "HDEL k a",
        "HLEN k",
        "HEXISTS k a",
        "HKEYS k",
        "HVALS k",
        "HINCRBY k a 1",
        "HINCRBYFLOAT k a 1",
        "HSTRLEN k a",
        "HSCAN k 0 NONSENSE",
        "HRANDFIELD k",
        "HRANDFIELD k 1",
    ] {
        assert_eq!(h.line(line), WRONG_TYPE, "{line}");
    }
    assert_eq!(h.effects(), ["RPUSH k v"]);
}
