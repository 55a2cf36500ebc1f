//! The list commands as a client sees them, and the effects they leave.

use crate::command::harness::Harness;
use crate::command::table::commands;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";

#[test]
fn pushes_put_one_element_after_the_other_and_reply_the_length() {
    for shards in [1, 4] {
        let mut h = Harness::new(shards);
        h.dialogue(
            "LPUSHX k a => :0
            RPUSHX k a => :0
            LPUSH k a b => :2
            RPUSH k c 12 => :4
            LPUSHX k x => :5
            RPUSHX k y z => :7
            LRANGE k 0 -1 => *7 $1 x $1 b $1 a $1 c $2 12 $1 y $1 z
            LLEN k => :7
            LLEN none => :0",
        );
        assert_eq!(
            h.effects(),
            ["LPUSH k a b", "RPUSH k c 12", "LPUSHX k x", "RPUSHX k y z"]
        );
    }
}

#[test]
fn pops_take_one_or_many_and_the_last_one_takes_the_key() {
    let mut h = Harness::new(4);
    h.dialogue(
        "RPUSH k a b c d e => :5
        LPOP k => $1 a
        RPOP k 2 => *2 $1 e $1 d
        RPOP k 0 => *0
        LPOP k 9 => *2 $1 b $1 c
        LPOP k => $-1
        LPOP k 1 => *-1
        LPOP k 0 => *-1
        LPOP k -1 => -ERR value is out of range, must be positive
        LPOP k x => -ERR value is out of range, must be positive
        LPOP k 1 2 => -ERR wrong number of arguments for 'lpop' command
        RPOP k 1 2 => -ERR wrong number of arguments for 'rpop' command",
    );
    assert_eq!(
        h.effects(),
        ["RPUSH k a b c d e", "LPOP k", "RPOP k 2", "LPOP k 9"]
    );
    h.caller.resp3 = true;
    h.dialogue("LPOP k => _\nLPOP k 1 => _");
}

#[test]
fn ranges_and_indexes_count_from_both_ends() {
    let mut h = Harness::new(1);
    h.dialogue(
        "RPUSH k a b c d => :4
        LRANGE k 1 2 => *2 $1 b $1 c
        LRANGE k -3 -2 => *2 $1 b $1 c
        LRANGE k -100 100 => *4 $1 a $1 b $1 c $1 d
        LRANGE k 3 1 => *0
        LRANGE k 4 9 => *0
        LRANGE none 0 -1 => *0
        LRANGE none x -1 => -ERR value is not an integer or out of range
        LINDEX k 0 => $1 a
        LINDEX k -1 => $1 d
        LINDEX k 4 => $-1
        LINDEX k -5 => $-1
        LINDEX none x => $-1
        LINDEX k x => -ERR value is not an integer or out of range",
    );
}

#[test]
fn elements_are_replaced_inserted_and_removed_in_place() {
    let mut h = Harness::new(1);
    h.dialogue(
        "RPUSH k a b a c a => :5
        LSET k 1 B => +OK
        LSET k -1 z => +OK
        LSET k 5 z => -ERR index out of range
        LSET k x z => -ERR value is not an integer or out of range
        LSET none x z => -ERR no such key
        LINSERT k BEFORE c 1 => :6
        LINSERT k after c 2 => :7
        LINSERT k AFTER nope 2 => :-1
        LINSERT none AFTER c 2 => :0
        LINSERT none BESIDE c 2 => -ERR syntax error
        LRANGE k 0 -1 => *7 $1 a $1 B $1 a $1 1 $1 c $1 2 $1 z
        LREM k -1 a => :1
        LREM k 0 nope => :0
        LREM k 2 a => :1
        LREM k x a => -ERR value is not an integer or out of range
        LREM none 0 a => :0
        LRANGE k 0 -1 => *5 $1 B $1 1 $1 c $1 2 $1 z
        LTRIM k 1 -2 => +OK
        LTRIM k 0 -1 => +OK
        LTRIM none 0 -1 => +OK
        LTRIM none x 0 => -ERR value is not an integer or out of range
        LRANGE k 0 -1 => *3 $1 1 $1 c $1 2
        LTRIM k 5 9 => +OK
        LLEN k => :0",
    );
    assert_eq!(
        h.effects(),
        [
            "RPUSH k a b a c a",
            "LSET k 1 B",
            "LSET k -1 z",
            "LINSERT k BEFORE c 1",
            "LINSERT k after c 2",
            "LREM k -1 a",
            "LREM k 2 a",
            "LTRIM k 1 -2",
            "LTRIM k 5 9"
        ]
    );
    h.dialogue("RPUSH k a a => :2\nLREM k 0 a => :2\nLLEN k => :0");
}

#[test]
fn lpos_skips_by_rank_and_stops_by_count_and_maxlen() {
    let mut h = Harness::new(1);
    h.dialogue("RPUSH k a b c 1 2 3 c c => :8
        LPOS k c => :2
        LPOS k c RANK 2 => :6
        LPOS k c RANK -1 => :7
        LPOS k c COUNT 2 => *2 :2 :6
        LPOS k c COUNT 0 RANK -2 => *2 :6 :2
        LPOS k c MAXLEN 2 => $-1
        LPOS k c MAXLEN 3 COUNT 0 => *1 :2
        LPOS k nope => $-1
        LPOS k nope COUNT 0 => *0
        LPOS none a => $-1
        LPOS none a COUNT 1 => *0
        LPOS k a RANK x => -ERR value is not an integer or out of range
        LPOS k a RANK -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        LPOS k a COUNT -1 => -ERR COUNT can't be negative
        LPOS k a COUNT x => -ERR COUNT can't be negative
        LPOS k a MAXLEN -1 => -ERR MAXLEN can't be negative
        LPOS k a RANK => -ERR syntax error
        LPOS k a FOO 1 => -ERR syntax error",
    );
    let zero = h.line("LPOS k a RANK 0");
    assert!(zero.starts_with("-ERR RANK can't be zero: use 1 to start"));
}

#[test]
fn a_moved_element_leaves_one_list_for_the_other_or_goes_round() {
    for shards in [1, 4] {
        let mut h = Harness::new(shards);
        h.dialogue(
            "RPUSH s a b c => :3
            LMOVE s d LEFT RIGHT => $1 a
            LMOVE s d right left => $1 c
            RPOPLPUSH s d => $1 b
            LMOVE s d LEFT RIGHT => $-1
            LRANGE d 0 -1 => *3 $1 b $1 c $1 a
            LMOVE d d LEFT RIGHT => $1 b
            RPOPLPUSH d d => $1 b
            LRANGE d 0 -1 => *3 $1 b $1 c $1 a
            LMOVE none d LEFT UP => -ERR syntax error
            LMOVE none d UP LEFT => -ERR syntax error
            SET string x => +OK
            LMOVE none string LEFT LEFT => $-1",
        );
        assert_eq!(h.line("LMOVE d string LEFT LEFT"), WRONG_TYPE);
        assert_eq!(h.line("LMOVE string d LEFT LEFT"), WRONG_TYPE);
        assert_eq!(h.line("LLEN d"), ":3\r\n");
        let effects = h.effects();
        if shards == 1 {
            assert!(effects.contains(&"LMOVE s d right left".to_string()));
        } else {
            assert!(effects.contains(&"LPOP s".to_string()), "{effects:?}");
            assert!(effects.contains(&"LPUSH d c".to_string()), "{effects:?}");
        }
        h.dialogue("RPUSH one x => :1\nLMOVE one one LEFT LEFT => $1 x\nLLEN one => :1");
    }
}

#[test]
fn lmpop_takes_from_the_first_list_that_has_something() {
    for shards in [1, 4] {
        let mut h = Harness::new(shards);
        h.dialogue(
            "RPUSH b 1 2 3 => :3
            LMPOP 2 a b LEFT => *2 $1 b *1 $1 1
            LMPOP 2 a b RIGHT COUNT 10 => *2 $1 b *2 $1 3 $1 2
            LMPOP 2 a b RIGHT COUNT 10 => *-1
            LMPOP 0 a LEFT => -ERR numkeys should be greater than 0
            LMPOP x a LEFT => -ERR numkeys should be greater than 0
            LMPOP 2 a LEFT => -ERR syntax error
            LMPOP 9223372036854775807 a LEFT => -ERR syntax error
            LMPOP 1 a UP => -ERR syntax error
            LMPOP 1 a LEFT COUNT => -ERR syntax error
            LMPOP 1 a LEFT COUNT 0 => -ERR count should be greater than 0
            LMPOP 1 a LEFT COUNT 0 COUNT 1 => -ERR count should be greater than 0
            LMPOP 1 a LEFT COUNT 1 COUNT 1 => -ERR syntax error",
        );
        assert_eq!(h.effects(), ["RPUSH b 1 2 3", "LPOP b 1", "RPOP b 2"]);
    }
}

#[test]
fn commands_on_a_key_of_another_type_reply_wrongtype_and_change_nothing() {
    let mut h = Harness::new(1);
    h.line("SET k v");
    for line in [
        "LPUSH k a",
        "RPUSH k a",
        "LPUSHX k a",
        "RPUSHX k a",
        "LPOP k",
        "RPOP k 1",
        "LLEN k",
        "LRANGE k 0 1",
        "LINDEX k x",
        "LSET k x a",
        "LREM k 0 a",
        "LTRIM k 0 1",
        "LINSERT k BEFORE a b",
        "LPOS k a",
        "LMOVE k k LEFT LEFT",
        "RPOPLPUSH k d",
        "LMPOP 1 k LEFT",
    ] {
        assert_eq!(h.line(line), WRONG_TYPE, "{line}");
    }
    assert_eq!(h.line("GET k"), "$1\r\nv\r\n");
    assert_eq!(h.effects(), ["SET k v"]);
}

#[test]
fn a_list_passes_its_limit_as_list_max_listpack_size_says() {
    let mut h = Harness::new(1);
    h.configure(|config| config.list_max_listpack_size = 4);
    h.line("RPUSH k a b c d");
    assert_eq!(h.encoding("k"), "listpack");
    h.line("RPUSH k e");
    assert_eq!(h.encoding("k"), "quicklist");
    h.line("LTRIM k 0 1");
    assert_eq!(h.encoding("k"), "listpack");
    h.line("RPUSH k 3 4");
    h.line("LSET k 9 x");
    assert_eq!(h.encoding("k"), "quicklist", "the attempt alone converts");
}

#[test]
fn what_ltrim_cuts_off_a_big_list_is_freed_in_steps() {
    let mut h = Harness::new(1);
    h.configure(|config| config.list_max_listpack_size = 8);
    let elements: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
    let mut push = vec!["RPUSH", "k"];
    push.extend(elements.iter().map(String::as_str));
    h.run(&push);
    h.line("LTRIM k 0 9");
    assert!(h.shards[0].has_garbage());
    while !h.shards[0].free_some(100) {}
    assert_eq!(h.line("LINDEX k -1"), "$1\r\n9\r\n");
    h.run(&push);
    h.line("LPOP k 20000");
    while !h.shards[0].free_some(100) {}
    assert!(!h.shards[0].has_garbage());
}

#[test]
fn a_counted_key_is_not_at_a_fixed_place() {
    let first_key = |name: &str| commands().find(name.as_bytes()).map(|c| c.first_key);
    assert_eq!(first_key("lmpop"), Some(0));
    assert_eq!(first_key("sintercard"), Some(0));
    assert_eq!(first_key("lmove"), Some(1));
}
