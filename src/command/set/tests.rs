//! The set commands as a client sees them, and the effects they leave.

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

/// The same, in order: sets reply in none.
fn sorted(reply: &str) -> Vec<String> {
    let mut found = bulks(reply);
    found.sort();
    found
}

/// Adds members `from..to` with a prefix.
fn fill(h: &mut Harness, key: &str, prefix: &str, from: usize, to: usize) {
    let members: Vec<String> = (from..to).map(|n| format!("{prefix}{n}")).collect();
    let mut command = vec!["SADD", key];
    command.extend(members.iter().map(String::as_str));
    h.run(&command);
}

#[test]
fn members_are_added_asked_for_counted_and_removed() {
    for shards in [1, 4] {
        let mut h = Harness::new(shards);
        h.dialogue(
            "SADD s a b a => :2
            SADD s a c 7 => :2
            SADD s a => :0
            SCARD s => :4
            SCARD none => :0
            SISMEMBER s 7 => :1
            SISMEMBER s x => :0
            SISMEMBER none x => :0
            SMISMEMBER s a x 7 => *3 :1 :0 :1
            SMISMEMBER none a x => *2 :0 :0
            SMEMBERS s => *4 $1 a $1 b $1 c $1 7
            SMEMBERS none => *0
            SREM s a x 7 => :2
            SREM s a => :0
            SREM none a => :0
            SREM s b c => :2
            SCARD s => :0",
        );
        assert_eq!(
            h.effects(),
            ["SADD s a b a", "SADD s a c 7", "SREM s a x 7", "SREM s b c"]
        );
    }
}

#[test]
fn sets_are_sets_in_resp3_but_drawn_members_an_array() {
    let mut h = Harness::new(1);
    h.caller.resp3 = true;
    h.dialogue(
        "SADD s a => :1
        SMEMBERS s => ~1 $1 a
        SMEMBERS none => ~0
        SINTER s s => ~1 $1 a
        SINTER s none => ~0
        SUNION s none => ~1 $1 a
        SUNION none => ~0
        SDIFF s none => ~1 $1 a
        SDIFF none s => ~0
        SRANDMEMBER s 2 => *1 $1 a
        SRANDMEMBER none 2 => *0
        SRANDMEMBER none => _
        SSCAN s 0 => *2 $1 0 *1 $1 a
        SPOP s 0 => ~0
        SPOP s 1 => ~1 $1 a
        SPOP s 1 => ~0
        SPOP s => _",
    );
}

#[test]
fn spop_leaves_what_was_drawn_as_its_effect() {
    let mut h = Harness::new(4);
    h.dialogue(
        "SADD s a => :1
        SPOP s => $1 a
        SPOP s => $-1
        SPOP s 3 => *0
        SADD s a b => :2
        SPOP s 0 => *0
        SPOP s -1 => -ERR value is out of range, must be positive
        SPOP s x => -ERR value is out of range, must be positive
        SPOP s 1 2 => -ERR syntax error",
    );
    let mut popped = bulks(&h.line("SPOP s 1"));
    popped.extend(bulks(&h.line("SPOP s")));
    assert_eq!(
        h.effects(),
        [
            "SADD s a".to_string(),
            "SREM s a".into(),
            "SADD s a b".into(),
            format!("SREM s {}", popped[0]),
            format!("SREM s {}", popped[1])
        ]
    );
    h.line("SADD s a b");
    assert_eq!(sorted(&h.line("SPOP s 2")), ["a", "b"]);
    assert_eq!(h.line("SCARD s"), ":0\r\n");
    assert_eq!(h.effects(), ["SADD s a b", "DEL s"]);
}

#[test]
fn spop_of_many_takes_different_members_in_every_form_and_proportion() {
    for (prefix, all) in [("", 100), ("m", 100), ("m", 5000), ("", 2000)] {
        for count in [1, all / 10, all / 2, all - all / 5, all - 3] {
            let mut h = Harness::new(1);
            fill(&mut h, "s", prefix, 0, all);
            h.effects();
            let popped: BTreeSet<String> = bulks(&h.run(&["SPOP", "s", &count.to_string()]))
                .into_iter()
                .collect();
            let left: BTreeSet<String> = bulks(&h.line("SMEMBERS s")).into_iter().collect();
            assert_eq!((popped.len(), left.len()), (count, all - count));
            assert!(popped.is_disjoint(&left));
            let removed: BTreeSet<String> = h
                .effects()
                .iter()
                .flat_map(|effect| {
                    let words: Vec<_> = effect.split(' ').map(str::to_string).collect();
                    assert_eq!(words[..2], ["SREM", "s"]);
                    assert!(words.len() <= 1026);
                    words[2..].to_vec()
                })
                .collect();
            assert_eq!(removed, popped);
        }
    }
}

#[test]
fn spop_of_nearly_all_makes_a_small_form_of_the_rest() {
    let mut h = Harness::new(1);
    fill(&mut h, "s", "m", 0, 600);
    assert_eq!(h.encoding("s"), "hashtable");
    h.line("SPOP s 100");
    assert_eq!(h.encoding("s"), "hashtable");
    h.line("SPOP s 490");
    assert_eq!(h.encoding("s"), "listpack");
    assert!(h.shards[0].has_garbage() || h.line("SCARD s") == ":10\r\n");
}

#[test]
fn srandmember_draws_with_and_without_repetition() {
    let mut h = Harness::new(1);
    h.dialogue(
        "SADD one m => :1
        SRANDMEMBER one => $1 m
        SRANDMEMBER one 5 => *1 $1 m
        SRANDMEMBER one -3 => *3 $1 m $1 m $1 m
        SRANDMEMBER one 0 => *0
        SRANDMEMBER none => $-1
        SRANDMEMBER none 2 => *0
        SRANDMEMBER none x => -ERR value is not an integer or out of range
        SRANDMEMBER one 1 2 => -ERR syntax error
        SRANDMEMBER one -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
    );
    for (prefix, members) in [("", 60), ("m", 60), ("m", 900)] {
        h.line("SPOP s 10000");
        fill(&mut h, "s", prefix, 0, members);
        for count in [1, 7, members / 2, members, members + 1] {
            let drawn = bulks(&h.run(&["SRANDMEMBER", "s", &count.to_string()]));
            let different: BTreeSet<_> = drawn.iter().collect();
            assert_eq!(
                (drawn.len(), different.len()),
                (count.min(members), count.min(members))
            );
        }
        assert_eq!(bulks(&h.line("SRANDMEMBER s -2000")).len(), 2000);
    }
}

#[test]
fn every_member_is_as_likely_as_any_other() {
    let mut h = Harness::new(1);
    h.configure(|config| config.set_max_listpack_entries = 4);
    for prefix in ["", "m"] {
        fill(&mut h, "s", prefix, 0, 8);
        for count in ["1", "-1", "2", "5"] {
            let mut times: BTreeMap<String, u32> = BTreeMap::new();
            for _ in 0..4000 {
                for member in bulks(&h.run(&["SRANDMEMBER", "s", count])) {
                    *times.entry(member).or_default() += 1;
                }
            }
            let expected = 500 * count.trim_start_matches('-').parse::<u32>().unwrap();
            assert_eq!(times.len(), 8);
            for (member, times) in times {
                let off = times.abs_diff(expected);
                assert!(off < expected / 4, "{member}: {times} of {expected}");
            }
        }
        h.line("SPOP s 8");
    }
}

#[test]
fn a_small_set_is_scanned_at_once_and_a_big_one_in_parts_that_meet_every_member() {
    let mut h = Harness::new(1);
    h.dialogue(
        "SADD s 1 2 12 => :3
        SSCAN s 0 => *2 $1 0 *3 $1 1 $1 2 $2 12
        SSCAN s 5 MATCH 1* COUNT 1 => *2 $1 0 *2 $1 1 $2 12
        SSCAN none 0 NONSENSE => *2 $1 0 *0
        SSCAN none x => -ERR invalid cursor
        SSCAN s 0 COUNT 0 => -ERR syntax error
        SSCAN s 0 NONSENSE 1 => -ERR syntax error",
    );
    fill(&mut h, "big", "m", 0, 3000);
    let (mut met, mut cursor, mut calls) = (BTreeSet::new(), "0".to_string(), 0);
    loop {
        let mut found = bulks(&h.run(&["SSCAN", "big", &cursor]));
        cursor = found.remove(0);
        met.extend(found);
        calls += 1;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(met.len(), 3000);
    assert!((100..=300).contains(&calls), "{calls} calls");
}

#[test]
fn a_member_moves_from_set_to_set() {
    for shards in [1, 4] {
        let mut h = Harness::new(shards);
        h.line("SET string x");
        h.dialogue(
            "SADD s a b c => :3
            SADD d c => :1
            SMOVE s d a => :1
            SMOVE s d nope => :0
            SMOVE s s b => :1
            SMOVE s s nope => :0
            SMOVE s d c => :1
            SMOVE s d b => :1
            SCARD s => :0
            SCARD d => :3
            SMOVE none string a => :0",
        );
        assert_eq!(h.line("SMOVE d string nope"), WRONG_TYPE);
        assert_eq!(h.line("SMOVE string d a"), WRONG_TYPE);
        let mut effects = h.effects();
        effects.retain(|effect| effect.starts_with("SMOVE") || effect.starts_with("SREM"));
        if shards == 1 {
            assert_eq!(effects, ["SMOVE s d a", "SMOVE s d c", "SMOVE s d b"]);
        } else {
            assert_eq!(effects, ["SREM s a", "SREM s c", "SREM s b"]);
        }
    }
}

#[test]
fn sets_are_intersected_united_and_subtracted_wherever_they_lie() {
    for shards in [1, 4] {
        let mut h = Harness::new(shards);
        h.line("SADD a 1 2 3 x");
        h.line("SADD b 2 3 4 x");
        h.line("SADD c 3 5 x");
        let mut reply = |line: &str| sorted(&h.line(line));
        assert_eq!(reply("SINTER a b c"), ["3", "x"]);
        assert_eq!(reply("SINTER a"), ["1", "2", "3", "x"]);
        assert_eq!(reply("SINTER a a"), ["1", "2", "3", "x"]);
        assert_eq!(reply("SINTER a none"), [""; 0]);
        assert_eq!(reply("SUNION a b c none"), ["1", "2", "3", "4", "5", "x"]);
        assert_eq!(reply("SUNION none b"), ["2", "3", "4", "x"]);
        assert_eq!(reply("SDIFF a b c"), ["1"]);
        assert_eq!(reply("SDIFF a none"), ["1", "2", "3", "x"]);
        assert_eq!(reply("SDIFF none a"), [""; 0]);
        assert_eq!(reply("SDIFF a a"), [""; 0]);
        h.dialogue(
            "SINTERCARD 3 a b c => :2
            SINTERCARD 2 a b LIMIT 2 => :2
            SINTERCARD 2 a b LIMIT 0 => :3
            SINTERCARD 1 a LIMIT 2 => :2
            SINTERCARD 2 a none => :0
            SINTERCARD 2 a b LIMIT 1 LIMIT 2 => :2
            SINTERCARD 0 a => -ERR numkeys should be greater than 0
            SINTERCARD x a => -ERR numkeys should be greater than 0
            SINTERCARD 2 a => -ERR Number of keys can't be greater than number of args
            SINTERCARD 1 a LIMIT -1 => -ERR LIMIT can't be negative
            SINTERCARD 1 a LIMIT x => -ERR LIMIT can't be negative
            SINTERCARD 1 a LIMIT => -ERR syntax error
            SINTERCARD 1 a b c => -ERR syntax error
            SINTERSTORE d a b => :3
            SUNIONSTORE e a b c => :6
            SDIFFSTORE f a b => :1
            SMEMBERS f => *1 $1 1
            SDIFFSTORE f a a => :0
            SMEMBERS f => *0
            SINTERSTORE f a none => :0
            SUNIONSTORE a none => :0
            SCARD a => :0",
        );
        assert_eq!(sorted(&h.line("SMEMBERS d")), ["2", "3", "x"]);
        let effects = h.effects();
        assert!(!effects.iter().any(|effect| effect.contains("none f")));
        if shards == 1 {
            assert!(effects.contains(&"SDIFFSTORE f a a".to_string()));
            assert!(effects.contains(&"SUNIONSTORE a none".to_string()));
        } else {
            assert!(effects.contains(&"DEL a".to_string()), "{effects:?}");
        }
        h.line("RPUSH list x");
        for line in [
            "SINTER none list",
            "SUNION b list",
            "SDIFF b list",
            "SINTERCARD 2 none list",
            "SINTERSTORE d none list",
            "SUNIONSTORE d list",
            "SDIFFSTORE d b list",
        ] {
            assert_eq!(h.line(line), WRONG_TYPE, "{line}");
        }
        h.line("SUNIONSTORE list b c");
        assert_eq!(
            h.line("SCARD list"),
            ":5\r\n",
            "the result replaces any type"
        );
    }
}

#[test]
fn random_sets_combine_as_the_standard_library_says() {
    let mut h = Harness::new(4);
    h.configure(|config| {
        config.set_max_intset_entries = 20;
        config.set_max_listpack_entries = 10;
    });
    for round in 0..60 {
        let mut models: Vec<BTreeSet<String>> = Vec::new();
        for key in ["a", "b", "c"] {
            h.run(&["SPOP", key, "1000"]);
            let size = h.shards[0].random.below([3, 30, 200][round % 3]) as usize;
            let prefix = ["", "", "m"][h.shards[0].random.below(3) as usize];
            let model: BTreeSet<String> = (0..size)
                .map(|_| format!("{prefix}{}", h.shards[0].random.below(80)))
                .collect();
            for member in &model {
                h.run(&["SADD", key, member]);
            }
            models.push(model);
        }
        let [a, b, c] = [&models[0], &models[1], &models[2]];
        let inter: BTreeSet<_> = a
            .iter()
            .filter(|m| b.contains(*m) && c.contains(*m))
            .collect();
        let union: BTreeSet<_> = a.iter().chain(b).chain(c).collect();
        let diff: BTreeSet<_> = a
            .iter()
            .filter(|m| !b.contains(*m) && !c.contains(*m))
            .collect();
        for (name, model) in [("SINTER", inter), ("SUNION", union), ("SDIFF", diff)] {
            let replied = sorted(&h.run(&[name, "a", "b", "c"]));
            assert_eq!(replied.iter().collect::<BTreeSet<_>>(), model, "{name}");
            h.run(&[&format!("{name}STORE"), "d", "a", "b", "c"]);
            let stored = sorted(&h.line("SMEMBERS d"));
            assert_eq!(stored, replied, "{name}STORE");
        }
    }
}

#[test]
fn a_set_passes_its_limits_and_stays_what_it_became() {
    let mut h = Harness::new(1);
    h.configure(|config| {
        config.set_max_intset_entries = 4;
        config.set_max_listpack_entries = 6;
        config.set_max_listpack_value = 5;
    });
    let mut form = |line: &str, key: &str| {
        h.line(line);
        h.encoding(key)
    };
    assert_eq!(form("SADD i 1 2 3 4", "i"), "intset");
    assert_eq!(form("SADD i 5", "i"), "hashtable");
    assert_eq!(form("SADD j 1 2", "j"), "intset");
    assert_eq!(form("SADD j x", "j"), "listpack");
    assert_eq!(form("SREM j x", "j"), "listpack");
    assert_eq!(form("SADD j a b c d", "j"), "listpack");
    assert_eq!(form("SADD j e", "j"), "hashtable");
    assert_eq!(form("SADD l toolong", "l"), "hashtable");
    assert_eq!(
        form("SADD k 1 1 1 1 1", "k"),
        "listpack",
        "what is given counts for a new key"
    );
    assert_eq!(form("SADD m 1 2 x", "m"), "listpack");
    assert_eq!(form("SADD n 1 2 3", "n"), "intset");
    assert_eq!(form("SINTERSTORE d m n", "d"), "intset", "integers only");
    assert_eq!(form("SUNIONSTORE d m n", "d"), "listpack");
    assert_eq!(form("SDIFFSTORE d m n", "d"), "listpack");
    assert_eq!(form("SMOVE m o x", "o"), "listpack");
    assert_eq!(form("SMOVE m p 1", "p"), "intset");
}

#[test]
fn commands_on_a_key_of_another_type_reply_wrongtype_and_change_nothing() {
    let mut h = Harness::new(1);
    h.line("RPUSH k v");
    for line in [
        "SADD k a",
        "SREM k a",
        "SCARD k",
        "SISMEMBER k a",
        "SMISMEMBER k a b",
        "SMEMBERS k",
        "SPOP k",
        "SPOP k 1",
        "SRANDMEMBER k",
        "SRANDMEMBER k 1",
        "SSCAN k 0 NONSENSE",
    ] {
        assert_eq!(h.line(line), WRONG_TYPE, "{line}");
    }
    assert_eq!(h.effects(), ["RPUSH k v"]);
}
