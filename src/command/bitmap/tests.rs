//! Bitmap commands against shards without sockets.

use crate::command::harness::Harness;
use crate::command::string::tests::set_list;

#[test]
fn bits_are_set_and_read_from_the_highest_of_the_first_byte_on() {
    let mut h = Harness::new(1);
    h.dialogue(
        "
        SETBIT k 1 1 => :0
        SETBIT k 7 1 => :0
        SETBIT k 1 1 => :1
        GET k => $1 A
        OBJECT ENCODING k => $3 raw
        SETBIT k 17 0 => :0
        STRLEN k => :3
        GETBIT k 1 => :1
        GETBIT k 2 => :0
        GETBIT k 4294967295 => :0
        GETBIT none 0 => :0
        SET n 1 => +OK
        SETBIT n 6 1 => :0
        GET n => $1 3
        GETBIT n 6 => :1
        SETBIT k -1 1 => -ERR bit offset is not an integer or out of range
        SETBIT k 4294967296 1 => -ERR bit offset is not an integer or out of range
        SETBIT k x 1 => -ERR bit offset is not an integer or out of range
        SETBIT k 1 2 => -ERR bit is not an integer or out of range
        GETBIT k -1 => -ERR bit offset is not an integer or out of range
        ",
    );
    set_list(&mut h, "l");
    assert!(h.line("SETBIT l 1 1").starts_with("-WRONGTYPE"));
    assert!(h.line("GETBIT l 1").starts_with("-WRONGTYPE"));
}

#[test]
fn setting_a_bit_to_what_it_is_leaves_no_effect() {
    let mut h = Harness::new(1);
    h.line("SETBIT k 9 1");
    h.effects();
    h.line("SETBIT k 9 1");
    assert!(h.effects().is_empty());
    h.line("SETBIT k 24 0");
    assert_eq!(h.effects(), ["SETBIT k 24 0"]);
}

#[test]
fn bits_of_ranges_are_counted() {
    let mut h = Harness::new(1);
    h.dialogue(
        "
        SET k foobar => +OK
        BITCOUNT k => :26
        BITCOUNT k 0 0 => :4
        BITCOUNT k 1 1 BYTE => :6
        BITCOUNT k 5 30 bit => :17
        BITCOUNT k 5 -1 BIT => :24
        BITCOUNT k -1 -5 => :0
        BITCOUNT k 10 20 => :0
        BITCOUNT k -100 0 => :4
        BITCOUNT none a b c d => :0
        BITCOUNT k 1 => -ERR syntax error
        BITCOUNT k 1 2 nibble => -ERR syntax error
        BITCOUNT k a 2 => -ERR value is not an integer or out of range
        ",
    );
    set_list(&mut h, "l");
    assert!(h.line("BITCOUNT l").starts_with("-WRONGTYPE"));
}

#[test]
fn the_first_bit_of_a_kind_is_found() {
    let mut h = Harness::new(1);
    h.run_bytes(&[b"SET", b"k", b"\xff\xf0\x00"]);
    h.run_bytes(&[b"SET", b"ones", b"\xff\xff\xff"]);
    h.run_bytes(&[b"SET", b"empty", b""]);
    h.dialogue(
        "
        BITPOS k 0 => :12
        BITPOS k 1 2 => :-1
        BITPOS k 1 => :0
        BITPOS ones 0 => :24
        BITPOS ones 0 0 -1 => :-1
        BITPOS ones 0 1 => :24
        BITPOS k 0 3 11 BIT => :-1
        BITPOS k 0 3 12 BIT => :12
        BITPOS k 0 -9 -1 BIT => :15
        BITPOS empty 0 => :-1
        BITPOS none 0 => :0
        BITPOS none 1 => :-1
        BITPOS k 2 => -ERR The bit argument must be 1 or 0.
        BITPOS k 0 0 1 2 3 => -ERR syntax error
        BITPOS k 0 0 1 BITS => -ERR syntax error
        BITPOS k 0 x => -ERR value is not an integer or out of range
        ",
    );
}

#[test]
fn strings_are_combined_wherever_they_lie() {
    for shards in [1, 4] {
        let mut h = Harness::new(shards);
        h.run_bytes(&[b"SET", b"a", b"\x0f\xff"]);
        h.run_bytes(&[b"SET", b"b", b"\xfa"]);
        h.line("SET number 12");
        set_list(&mut h, "l");
        assert_eq!(h.line("BITOP AND d a b"), ":2\r\n");
        assert_eq!(h.run_bytes(&[b"GET", b"d"]), b"$2\r\n\x0a\x00\r\n");
        assert_eq!(h.line("OBJECT ENCODING d"), "$3\r\nraw\r\n");
        assert_eq!(h.line("BITOP or d a none b"), ":2\r\n");
        assert_eq!(h.run_bytes(&[b"GET", b"d"]), b"$2\r\n\xff\xff\r\n");
        assert_eq!(h.line("BITOP XOR d a b"), ":2\r\n");
        assert_eq!(h.run_bytes(&[b"GET", b"d"]), b"$2\r\n\xf5\xff\r\n");
        assert_eq!(h.line("BITOP NOT d number"), ":2\r\n");
        assert_eq!(h.run_bytes(&[b"GET", b"d"]), b"$2\r\n\xce\xcd\r\n");
        assert_eq!(h.line("BITOP AND d a none"), ":2\r\n");
        assert_eq!(h.run_bytes(&[b"GET", b"d"]), b"$2\r\n\0\0\r\n");
        assert_eq!(h.line("BITOP OR d none none2"), ":0\r\n");
        assert_eq!(h.line("EXISTS d"), ":0\r\n");
        assert!(h.line("BITOP OR d a l").starts_with("-WRONGTYPE"));
        assert_eq!(h.line("BITOP NAND d a"), "-ERR syntax error\r\n");
        let one = "-ERR BITOP NOT must be called with a single source key.\r\n";
        assert_eq!(h.line("BITOP NOT d a b"), one);
    }
}

#[test]
fn fields_are_read_written_and_incremented() {
    let mut h = Harness::new(1);
    h.dialogue(
        "
        BITFIELD k SET u8 0 255 GET i8 0 GET u4 4 => *3 :0 :-1 :15
        BITFIELD k INCRBY u8 0 1 OVERFLOW SAT INCRBY u8 0 -1 OVERFLOW FAIL INCRBY u8 0 -1 => *3 :0 :0 $-1
        BITFIELD k SET i5 #1 -3 GET i5 5 => *2 :0 :-3
        BITFIELD k GET u63 100000 => *1 :0
        BITFIELD k SET u8 0 -1 GET u8 0 => *2 :7 :255
        BITFIELD low OVERFLOW SAT SET i8 0 -9223372036854775808 GET i8 0 SET i8 0 -200 GET i8 0 => *4 :0 :127 :127 :-128
        BITFIELD none GET u8 0 => *1 :0
        BITFIELD none => *0
        EXISTS none => :0
        BITFIELD_RO k GET u8 0 => *1 :255
        BITFIELD_RO k GET u8 0 SET u8 0 1 => -ERR BITFIELD_RO only supports the GET subcommand
        BITFIELD k SET u64 0 1 => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
        BITFIELD k SET i0 0 1 => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
        BITFIELD k SET u8 -1 1 => -ERR bit offset is not an integer or out of range
        BITFIELD k SET u8 #9223372036854775807 1 => -ERR bit offset is not an integer or out of range
        BITFIELD k SET u8 0 x => -ERR value is not an integer or out of range
        BITFIELD k SET u8 0 => -ERR syntax error
        BITFIELD k OVERFLOW NONE => -ERR Invalid OVERFLOW type specified
        ",
    );
    set_list(&mut h, "l");
    assert!(h.line("BITFIELD l GET u8 0").starts_with("-WRONGTYPE"));
    assert!(h.line("BITFIELD l SET u8 0 1").starts_with("-WRONGTYPE"));
}
