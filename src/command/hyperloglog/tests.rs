//! HyperLogLog commands against shards without sockets.

use crate::command::harness::Harness;
use crate::command::string::tests::set_list;

#[test]
fn elements_are_counted_and_bytes_are_those_of_redis() {
    let mut h = Harness::new(1);
    assert_eq!(h.line("PFADD k a b c d e f g"), ":1\r\n");
    assert_eq!(h.line("OBJECT ENCODING k"), "$3\r\nraw\r\n");
    assert_eq!(h.line("PFCOUNT k"), ":7\r\n");
    assert_eq!(h.line("PFADD k a g"), ":0\r\n");
    // What redis-server 7.2 holds after the same commands.
    let expected = b"HYLL\x01\0\0\0\x07\0\0\0\0\0\0\0";
    let reply = h.run_bytes(&[b"GET", b"k"]);
    let start = reply.iter().position(|byte| *byte == b'H').unwrap();
    assert_eq!(&reply[start..start + 16], expected);
    assert_eq!(h.line("PFADD empty"), ":1\r\n");
    assert_eq!(h.line("PFADD empty"), ":0\r\n");
    assert_eq!(h.line("PFCOUNT empty"), ":0\r\n");
    assert_eq!(h.line("PFCOUNT none"), ":0\r\n");
}

#[test]
fn counting_is_an_effect_once() {
    let mut h = Harness::new(1);
    h.line("PFADD k a");
    h.effects();
    h.line("PFCOUNT k");
    h.line("PFCOUNT k");
    assert_eq!(h.effects(), ["PFCOUNT k"]);
}

#[test]
fn several_keys_are_counted_and_merged_wherever_they_lie() {
    for shards in [1, 4] {
        let mut h = Harness::new(shards);
        h.line("PFADD x a b c");
        h.line("PFADD y b c d");
        h.line("PFADD z e");
        assert_eq!(h.line("PFCOUNT x y none z"), ":5\r\n");
        assert_eq!(h.line("PFMERGE d x y z"), "+OK\r\n");
        assert_eq!(h.line("PFCOUNT d"), ":5\r\n");
        assert_eq!(h.line("PFMERGE new"), "+OK\r\n");
        assert_eq!(h.line("PFCOUNT new"), ":0\r\n");
        assert_eq!(h.line("PFDEBUG TODENSE z"), ":1\r\n");
        assert_eq!(h.line("PFMERGE d z"), "+OK\r\n");
        assert_eq!(h.line("PFDEBUG ENCODING d"), "+dense\r\n");
        assert_eq!(h.line("PFCOUNT d"), ":5\r\n");
        h.line("EXPIRE d 100");
        h.line("PFMERGE d x");
        assert_eq!(h.line("TTL d"), ":100\r\n");
    }
}

#[test]
fn a_sparse_one_turns_dense_past_its_limit() {
    let mut h = Harness::new(1);
    h.configure(|config| config.hll_sparse_max_bytes = 100);
    for n in 0..60 {
        h.line(&format!("PFADD k element:{n}"));
    }
    assert_eq!(h.line("PFDEBUG ENCODING k"), "+dense\r\n");
    assert_eq!(h.line("STRLEN k"), ":12304\r\n");
    assert_eq!(
        h.line("PFDEBUG DECODE k"),
        "-ERR HLL encoding is not sparse\r\n"
    );
    assert_eq!(h.line("PFCOUNT k"), ":60\r\n");
}

#[test]
fn the_inside_is_shown() {
    let mut h = Harness::new(1);
    h.line("PFADD k a");
    h.dialogue(
        "
        PFDEBUG ENCODING k => +sparse
        PFDEBUG TODENSE k => :1
        PFDEBUG TODENSE k => :0
        PFDEBUG ENCODING none => -ERR The specified key does not exist
        PFDEBUG NOTHING k => -ERR Unknown PFDEBUG subcommand 'NOTHING'
        ",
    );
    let registers = h.line("PFDEBUG GETREG k");
    assert!(registers.starts_with("*16384\r\n"));
    assert_eq!(registers.matches(":0\r\n").count(), 16383);
    h.line("PFADD e");
    assert_eq!(h.line("PFDEBUG DECODE e"), "$7\r\nZ:16384\r\n");
}

#[test]
fn strings_that_are_none_are_refused() {
    let mut h = Harness::new(1);
    let wrong = "-WRONGTYPE Key is not a valid HyperLogLog string value.\r\n";
    let corrupted = "-INVALIDOBJ Corrupted HLL object detected\r\n";
    h.line("SET s something-long-enough-to-be-one");
    h.line("SET n 12");
    set_list(&mut h, "l");
    h.line("PFADD cut a b c");
    h.line("APPEND cut hello");
    for key in ["s", "n"] {
        for command in [
            "PFADD",
            "PFCOUNT",
            "PFMERGE x",
            "PFCOUNT x",
            "PFDEBUG DECODE",
        ] {
            assert_eq!(
                h.line(&format!("{command} {key}")),
                wrong,
                "{command} {key}"
            );
        }
    }
    for command in ["PFADD", "PFCOUNT", "PFMERGE x"] {
        let reply = h.line(&format!("{command} l"));
        assert!(reply.starts_with("-WRONGTYPE Operation"), "{reply}");
    }
    for command in ["PFCOUNT", "PFCOUNT x", "PFMERGE x", "PFDEBUG GETREG"] {
        assert_eq!(h.line(&format!("{command} cut")), corrupted, "{command}");
    }
}
