//! Stream commands by their replies and their effects, on one shard and on four.

use crate::command::harness::Harness;

const NOW: i64 = 1_700_000_000_000;

fn harness(shards: usize) -> Harness {
    let mut harness = Harness::new(shards);
    harness.caller.client = 1; // 0 would be the server itself, which is obeyed
    harness
}

#[test]
fn ids_rise_whoever_chooses_them() {
    let mut h = harness(1);
    h.dialogue(
        "XADD s 5-1 f v => $3 5-1
         XADD s 5-* f v => $3 5-2
         XADD s 7-* f v => $3 7-0
         XADD s 7-0 f v => -ERR The ID specified in XADD is equal or smaller than the target stream top item
         XADD s 6-* f v => -ERR The ID specified in XADD is equal or smaller than the target stream top item
         XADD s 0-0 f v => -ERR The ID specified in XADD must be greater than 0-0
         XADD s x f v => -ERR Invalid stream ID specified as stream command argument
         XADD s * f => -ERR wrong number of arguments for 'xadd' command
         XADD s * f v g => -ERR wrong number of arguments for 'xadd' command
         XADD none NOMKSTREAM * f v => $-1
         EXISTS none => :0
         XADD s * f v => $15 1700000000000-0
         XADD s * f v => $15 1700000000000-1
         XLEN s => :5
         XADD s 9999999999999-18446744073709551615 f v => $34 9999999999999-18446744073709551615
         XADD s * f v => $16 10000000000000-0
         XADD s 18446744073709551615-18446744073709551615 f v => $41 18446744073709551615-18446744073709551615
         XADD s * f v => -ERR The stream has exhausted the last possible ID, unable to add more items
         TYPE s => +stream
         OBJECT ENCODING s => $6 stream
         SET k v => +OK
         XADD k * f v => -WRONGTYPE Operation against a key holding the wrong kind of value
         XADD new 0-* f v => $3 0-1",
    );
}

#[test]
fn ranges_take_both_ends_or_leave_them_out() {
    let mut h = harness(1);
    for n in 1..=4 {
        h.line(&format!("XADD s {n}-0 f {n}"));
    }
    h.dialogue(
        "XRANGE s 2 3 => *2 *2 $3 2-0 *2 $1 f $1 2 *2 $3 3-0 *2 $1 f $1 3
         XRANGE s (2 (4-0 => *1 *2 $3 3-0 *2 $1 f $1 3
         XREVRANGE s + - COUNT 1 => *1 *2 $3 4-0 *2 $1 f $1 4
         XREVRANGE s (4-0 - COUNT 1 => *1 *2 $3 3-0 *2 $1 f $1 3
         XRANGE s - + COUNT 0 => *-1
         XRANGE s 3 2 => *0
         XRANGE none - + COUNT 0 => *0
         XRANGE s - + BOGUS 1 => -ERR syntax error
         XRANGE s - + COUNT x => -ERR value is not an integer or out of range
         XRANGE s (18446744073709551615-18446744073709551615 + => -ERR invalid start ID for the interval
         XRANGE s - (0-0 => -ERR invalid end ID for the interval
         XDEL s 2-0 3-0 9-0 => :2
         XDEL s 1-0 bad => -ERR Invalid stream ID specified as stream command argument
         XRANGE s - + => *2 *2 $3 1-0 *2 $1 f $1 1 *2 $3 4-0 *2 $1 f $1 4
         XLEN s => :2",
    );
}

#[test]
fn trims_are_exact_or_take_whole_nodes() {
    let mut h = harness(1);
    h.configure(|config| config.stream_node_max_entries = 10);
    for n in 1..=95 {
        h.line(&format!("XADD s {n}-0 f v"));
    }
    h.effects();
    h.dialogue(
        "XTRIM s MAXLEN ~ 62 => :30
         XTRIM s MAXLEN 62 => :3
         XTRIM s MINID ~ 45 => :7
         XTRIM s MINID = 45 => :4
         XTRIM s MAXLEN ~ 0 LIMIT 25 => :16
         XTRIM s MAXLEN 5 LIMIT 3 => -ERR syntax error, LIMIT cannot be used without the special ~ option
         XTRIM s LIMIT 3 => -ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
         XTRIM s MAXLEN -1 => -ERR The MAXLEN argument must be >= 0.
         XTRIM s MAXLEN 5 MINID 5 => -ERR syntax error, MAXLEN and MINID options at the same time are not compatible
         XADD s MAXLEN ~ 30 LIMIT 100 * f v => $15 1700000000000-0
         XTRIM none MAXLEN 0 => :0
         XADD t MINID ~ 5 8-1 f v => $3 8-1",
    );
    assert_eq!(
        h.effects(),
        [
            "XTRIM s MAXLEN = 65",
            "XTRIM s MAXLEN 62",
            "XTRIM s MINID = 41-0",
            "XTRIM s MINID = 45",
            "XTRIM s MAXLEN = 35",
            "XADD s MAXLEN = 36 1700000000000-0 f v",
            "XADD t MINID = 8-1 8-1 f v",
        ]
    );
    // What a primary says is done as it is said, LIMIT or not.
    h.caller.client = 0;
    h.dialogue("XTRIM s MAXLEN = 1 LIMIT 1 => :35");
}

#[test]
fn a_group_reads_each_entry_once_and_remembers_what_is_not_acknowledged() {
    for shards in [1, 4] {
        let mut h = harness(shards);
        for n in 1..=4 {
            h.line(&format!("XADD s {n}-0 f {n}"));
        }
        h.dialogue(
            "XGROUP CREATE s g 0 => +OK
             XGROUP CREATE s g 0 => -BUSYGROUP Consumer Group name already exists
             XGROUP CREATE none g 0 => -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
             XREADGROUP GROUP g alice COUNT 2 STREAMS s > => *1 *2 $1 s *2 *2 $3 1-0 *2 $1 f $1 1 *2 $3 2-0 *2 $1 f $1 2
             XREADGROUP GROUP g bob COUNT 1 STREAMS s > => *1 *2 $1 s *1 *2 $3 3-0 *2 $1 f $1 3
             XREADGROUP GROUP g bob STREAMS s 0 => *1 *2 $1 s *1 *2 $3 3-0 *2 $1 f $1 3
             XREADGROUP GROUP g carol STREAMS s 0 => *1 *2 $1 s *0
             XPENDING s g => *4 :3 $3 1-0 $3 3-0 *2 *2 $5 alice $1 2 *2 $3 bob $1 1
             XACK s g 1-0 9-0 => :1
             XDEL s 2-0 => :1
             XREADGROUP GROUP g alice STREAMS s 0 => *1 *2 $1 s *1 *2 $3 2-0 *-1
             XPENDING s g - + 10 => *2 *4 $3 2-0 $5 alice :0 :1 *4 $3 3-0 $3 bob :0 :2
             XPENDING s g IDLE 1 - + 10 => *0
             XPENDING s g - + 10 bob => *1 *4 $3 3-0 $3 bob :0 :2
             XPENDING s g - + 10 nobody => *0
             XPENDING s none => -NOGROUP No such key 's' or consumer group 'none'
             XREADGROUP GROUP none c STREAMS s > => -NOGROUP No such key 's' or consumer group 'none' in XREADGROUP with GROUP option
             XREADGROUP GROUP g alice NOACK STREAMS s > => *1 *2 $1 s *1 *2 $3 4-0 *2 $1 f $1 4
             XREADGROUP GROUP g alice STREAMS s > => *-1
             XGROUP DELCONSUMER s g bob => :1
             XGROUP DELCONSUMER s g bob => :0
             XPENDING s g => *4 :1 $3 2-0 $3 2-0 *1 *2 $5 alice $1 1
             XGROUP DESTROY s g => :1
             XGROUP DESTROY s g => :0",
        );
    }
}

#[test]
fn several_streams_are_read_as_one_step_wherever_they_are() {
    for shards in [1, 4] {
        let mut h = harness(shards);
        h.dialogue(
            "XADD a 1-0 f 1 => $3 1-0
             XADD b 2-0 f 2 => $3 2-0
             XADD c 3-0 f 3 => $3 3-0
             XREAD STREAMS a b c none 0 2 0 0 => *2 *2 $1 a *1 *2 $3 1-0 *2 $1 f $1 1 *2 $1 c *1 *2 $3 3-0 *2 $1 f $1 3
             XREAD COUNT 1 STREAMS a b $ $ => *-1
             XREAD STREAMS a b 0 => -ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.
             XREAD STREAMS a > => -ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.
             XREAD COUNT STREAMS STREAMS a 0 => -ERR value is not an integer or out of range
             XREAD BLOCK -1 STREAMS a 0 => -ERR timeout is negative
             XREAD BLOCK x STREAMS a 0 => -ERR timeout is not an integer or out of range
             XREAD COUNT 5 STREAMS => -ERR syntax error",
        );
        h.caller.resp3 = true;
        h.dialogue(
            "XREAD STREAMS a b 0 0 => %2 $1 a *1 *2 $3 1-0 *2 $1 f $1 1 $1 b *1 *2 $3 2-0 *2 $1 f $1 2
             XREAD STREAMS a 9 => _",
        );
    }
}

#[test]
fn words_that_options_take_are_never_the_word_streams() {
    let mut h = harness(4);
    h.dialogue(
        "XADD k 1-0 f v => $3 1-0
         XGROUP CREATE k STREAMS 0 => +OK
         XREADGROUP NOACK GROUP STREAMS STREAMS STREAMS k > => *1 *2 $1 k *1 *2 $3 1-0 *2 $1 f $1 v",
    );
}

#[test]
fn entries_change_hands() {
    let mut h = harness(1);
    for n in 1..=4 {
        h.line(&format!("XADD s {n}-0 f {n}"));
    }
    h.line("XGROUP CREATE s g 0");
    h.line("XREADGROUP GROUP g alice COUNT 3 STREAMS s >");
    h.set_now(NOW + 5000);
    h.dialogue(
        "XCLAIM s g bob 9000 1-0 => *0
         XCLAIM s g bob 5000 1-0 => *1 *2 $3 1-0 *2 $1 f $1 1
         XCLAIM s g bob 0 4-0 JUSTID => *0
         XCLAIM s g bob 0 4-0 FORCE JUSTID RETRYCOUNT 7 => *1 $3 4-0
         XPENDING s g - + 10 bob => *2 *4 $3 1-0 $3 bob :0 :2 *4 $3 4-0 $3 bob :0 :7
         XCLAIM s g bob 0 1-0 IDLE 100 JUSTID => *1 $3 1-0
         XPENDING s g - + 1 bob => *1 *4 $3 1-0 $3 bob :100 :2
         XDEL s 2-0 => :1
         XCLAIM s g bob 0 2-0 => *0
         XPENDING s g - + 10 alice => *1 *4 $3 3-0 $5 alice :5000 :1
         XCLAIM s none bob 0 1-0 => -NOGROUP No such key 's' or consumer group 'none'
         XCLAIM s g bob x 1-0 => -ERR Invalid min-idle-time argument for XCLAIM
         XCLAIM s g bob 0 1-0 BOGUS => -ERR Unrecognized XCLAIM option 'BOGUS'
         XCLAIM s g bob 0 1-0 IDLE x => -ERR Invalid IDLE option argument for XCLAIM
         XDEL s 3-0 => :1
         XAUTOCLAIM s g carol 0 - COUNT 1 => *3 $3 3-0 *1 *2 $3 1-0 *2 $1 f $1 1 *0
         XAUTOCLAIM s g carol 0 1-1 JUSTID => *3 $3 0-0 *1 $3 4-0 *1 $3 3-0
         XAUTOCLAIM s g carol 0 - COUNT 0 => -ERR COUNT must be > 0
         XPENDING s g => *4 :2 $3 1-0 $3 4-0 *1 *2 $5 carol $1 2",
    );
}

#[test]
fn effects_tell_the_outcome_of_reads_and_claims() {
    let mut h = harness(1);
    h.line("XADD s 1-0 f v");
    h.line("XADD s 2-* f v");
    h.line("XADD s * f v");
    h.line("XGROUP CREATE s g 0 ENTRIESREAD 0");
    assert_eq!(
        h.effects(),
        [
            "XADD s 1-0 f v",
            "XADD s 2-0 f v",
            "XADD s 1700000000000-0 f v",
            "XGROUP CREATE s g 0 ENTRIESREAD 0"
        ]
    );
    h.line("XREADGROUP GROUP g c COUNT 1 STREAMS s >");
    assert_eq!(
        h.effects(),
        [
            "XGROUP CREATECONSUMER s g c",
            "XCLAIM s g c 0 1-0 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 1-0",
            "XGROUP SETID s g 1-0 ENTRIESREAD 1"
        ]
    );
    h.line("XREADGROUP GROUP g c COUNT 1 NOACK STREAMS s >");
    assert_eq!(h.effects(), ["XGROUP SETID s g 2-0 ENTRIESREAD 2"]);
    h.line("XREADGROUP GROUP g c STREAMS s 0");
    assert!(h.effects().is_empty());
    h.line("XCLAIM s g d 0 1-0 LASTID 2-0");
    assert_eq!(
        h.effects(),
        [
            "XGROUP CREATECONSUMER s g d",
            "XCLAIM s g d 0 1-0 TIME 1700000000000 RETRYCOUNT 3 FORCE JUSTID LASTID 2-0"
        ]
    );
    h.line("XCLAIM s g d 0 7-7 LASTID 5-0");
    assert_eq!(h.effects(), ["XGROUP SETID s g 5-0 ENTRIESREAD 2"]);
    h.line("XDEL s 1-0");
    h.line("XAUTOCLAIM s g c 0 -");
    assert_eq!(
        h.effects(),
        [
            "XDEL s 1-0",
            "XCLAIM s g d 0 1-0 TIME 1700000000000 RETRYCOUNT 3 FORCE JUSTID LASTID 5-0"
        ]
    );
    h.line("XACK s g 1-0");
    assert!(h.effects().is_empty());
}

#[test]
fn a_stream_describes_itself() {
    let mut h = harness(1);
    h.dialogue(
        "XADD s 1-0 f v => $3 1-0
         XADD s 2-0 f v => $3 2-0
         XGROUP CREATE s g 0 => +OK
         XINFO GROUPS s => *1 *12 $4 name $1 g $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 0-0 $12 entries-read $-1 $3 lag :2
         XREADGROUP GROUP g c COUNT 1 STREAMS s > => *1 *2 $1 s *1 *2 $3 1-0 *2 $1 f $1 v
         XGROUP CREATECONSUMER s g d => :1
         XINFO CONSUMERS s g => *2 *8 $4 name $1 c $7 pending :1 $4 idle :0 $8 inactive :0 *8 $4 name $1 d $7 pending :0 $4 idle :0 $8 inactive :-1
         XINFO STREAM s => *20 $6 length :2 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 2-0 $20 max-deleted-entry-id $3 0-0 $13 entries-added :2 $23 recorded-first-entry-id $3 1-0 $6 groups :1 $11 first-entry *2 $3 1-0 *2 $1 f $1 v $10 last-entry *2 $3 2-0 *2 $1 f $1 v
         XINFO STREAM none => -ERR no such key
         XINFO STREAM s FULL BOGUS => -ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
         XINFO CONSUMERS s none => -NOGROUP No such consumer group 'none' for key name 's'
         XSETID s 1-0 => -ERR The ID specified in XSETID is smaller than the target stream top item
         XSETID s 5-0 ENTRIESADDED 1 => -ERR The entries_added specified in XSETID is smaller than the target stream length
         XSETID s 5-0 ENTRIESADDED 9 MAXDELETEDID 4-0 => +OK
         XSETID s 3-0 => -ERR The ID specified in XSETID is smaller than current max_deleted_entry_id
         XSETID none 1-0 => -ERR no such key
         COPY s t => :1
         XDEL s 1-0 2-0 => :2
         XINFO STREAM s => *20 $6 length :0 $15 radix-tree-keys :0 $16 radix-tree-nodes :1 $17 last-generated-id $3 5-0 $20 max-deleted-entry-id $3 4-0 $13 entries-added :9 $23 recorded-first-entry-id $3 0-0 $6 groups :1 $11 first-entry $-1 $10 last-entry $-1
         EXISTS s => :1
         XLEN t => :2
         XPENDING t g => *4 :1 $3 1-0 $3 1-0 *1 *2 $1 c $1 1
         XGROUP CREATE m g $ MKSTREAM => +OK
         XLEN m => :0
         XGROUP SETID m g 5 ENTRIESREAD -2 => -ERR value for ENTRIESREAD must be positive or -1
         XGROUP SETID m g + ENTRIESREAD 3 => +OK",
    );
}

#[test]
fn what_a_trim_takes_from_a_long_stream_is_let_go_in_steps() {
    let mut h = harness(1);
    h.configure(|config| config.stream_node_max_entries = 10);
    for n in 1..=2000 {
        h.line(&format!("XADD s {n}-0 f v"));
    }
    h.line("XGROUP CREATE s g 0");
    h.dialogue("XTRIM s MAXLEN 10 => :1990");
    h.dialogue("DEL s => :1");
    assert_eq!(h.shards[0].garbage_len(), 1);
    while !h.shards[0].free_some(100) {}
    assert!(!h.shards[0].has_garbage());
}
