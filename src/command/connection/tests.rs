//! The connection commands, run on a harness without sockets.

use super::*;
use crate::command::desk::Desk;
use crate::mesh::message::{ClientFilter, CoreAnswer, CoreAsk};

#[test]
fn hello_answers_in_the_version_it_agrees_on() {
    let mut desk = Desk::new();
    let reply = desk.line("HELLO 3 SETNAME me");
    assert!(
        reply.starts_with("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n")
    );
    assert!(reply.ends_with("$7\r\nmodules\r\n*0\r\n"));
    assert!(reply.contains("$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n"));
    assert_eq!(desk.client.name, b"me");
    assert!(desk.line("HELLO 2").starts_with("*14\r\n"));
    assert_eq!(
        desk.line("HELLO 4"),
        "-NOPROTO unsupported protocol version\r\n"
    );
    assert_eq!(
        desk.line("HELLO x"),
        "-ERR Protocol version is not an integer or out of range\r\n"
    );
    assert_eq!(
        desk.line("HELLO 3 AUTH a"),
        "-ERR Syntax error in HELLO option 'AUTH'\r\n"
    );
    assert_eq!(
        desk.run(&[b"HELLO", b"3", b"SETNAME", b"a b"]),
        "-ERR Client names cannot contain spaces, newlines or special characters.\r\n"
    );
    assert!(!desk.client.resp3);
}

#[test]
fn auth_compares_with_requirepass() {
    let mut desk = Desk::new();
    assert!(
        desk.line("AUTH a")
            .starts_with("-ERR AUTH <password> called without any password")
    );
    assert_eq!(desk.line("AUTH default anything"), "+OK\r\n");
    assert!(desk.line("AUTH other a").starts_with("-WRONGPASS "));
    assert_eq!(desk.line("AUTH default a b"), "-ERR syntax error\r\n");
    desk.set("requirepass", "secret");
    let users = desk.users.clone();
    desk.client.become_default(&users);
    assert!(desk.line("HELLO 3").starts_with("-NOAUTH HELLO must"));
    for wrong in [
        "AUTH secre",
        "AUTH secrets",
        "AUTH default wrong",
        "HELLO 3 AUTH default x",
    ] {
        assert!(desk.line(wrong).starts_with("-WRONGPASS "), "{wrong}");
        assert!(!desk.client.authenticated);
    }
    assert_eq!(desk.line("AUTH secret"), "+OK\r\n");
    assert!(desk.client.authenticated);
    assert_eq!(desk.line("RESET"), "+RESET\r\n");
    assert!(!desk.client.authenticated);
    assert!(desk.line("HELLO 3 AUTH default secret").starts_with('%'));
}

#[test]
fn select_takes_an_index_below_databases() {
    let mut desk = Desk::new();
    assert_eq!(desk.line("SELECT 15"), "+OK\r\n");
    assert_eq!(desk.client.db, 15);
    assert_eq!(desk.line("SELECT 16"), "-ERR DB index is out of range\r\n");
    assert_eq!(desk.line("SELECT -1"), "-ERR DB index is out of range\r\n");
    assert_eq!(
        desk.line("SELECT x"),
        "-ERR value is not an integer or out of range\r\n"
    );
    assert_eq!(
        desk.line("SELECT 99999999999"),
        "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n"
    );
}

#[test]
fn names_and_library_are_one_word_each() {
    let mut desk = Desk::new();
    assert_eq!(desk.line("CLIENT GETNAME"), "$-1\r\n");
    assert_eq!(desk.line("CLIENT SETNAME worker-1"), "+OK\r\n");
    assert_eq!(desk.line("CLIENT GETNAME"), "$8\r\nworker-1\r\n");
    assert!(
        desk.run(&[b"CLIENT", b"SETNAME", b"a\nb"])
            .starts_with("-ERR Client names")
    );
    assert_eq!(desk.line("CLIENT SETINFO lib-name lib"), "+OK\r\n");
    assert_eq!(desk.line("CLIENT SETINFO LIB-VER 1.0"), "+OK\r\n");
    assert_eq!(
        desk.run(&[b"CLIENT", b"SETINFO", b"lib-ver", b"1 0"]),
        "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n"
    );
    assert_eq!(
        desk.line("CLIENT SETINFO x y"),
        "-ERR Unrecognized option 'x'\r\n"
    );
}

#[test]
fn a_line_of_client_list_has_the_fields_of_redis_in_their_order() {
    let mut desk = Desk::new();
    desk.line("CLIENT SETINFO LIB-NAME lib");
    desk.client.unix = true;
    let line = client_line(&desk.client, &ConnectionFacts::default(), desk.now + 2500);
    assert_eq!(
        String::from_utf8(line).unwrap(),
        "id=7 addr=127.0.0.1:5000 laddr=127.0.0.1:6379 fd=9 name= age=2 idle=2 flags=U db=0 sub=0 psub=0 ssub=0 \
         multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r \
         cmd=client|setinfo user=default redir=-1 resp=2 lib-name=lib lib-ver=\n"
    );
    let mut lines = Vec::new();
    let filter = ClientFilter {
        ids: vec![9, 7, 7],
        ..ClientFilter::default()
    };
    list_lines(
        &desk.client,
        &ConnectionFacts::default(),
        &filter,
        desk.now,
        &mut lines,
    );
    assert_eq!(
        lines.iter().map(|(order, _)| *order).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn client_list_joins_the_lines_of_all_cores() {
    let mut desk = Desk::new();
    desk.answers = vec![
        CoreAnswer::Lines(vec![(3, b"c\n".to_vec())]),
        CoreAnswer::Lines(vec![(2, b"b\n".to_vec())]),
    ];
    assert_eq!(desk.line("CLIENT LIST"), "$4\r\nb\nc\n\r\n");
    assert_eq!(
        desk.line("CLIENT LIST TYPE foo"),
        "-ERR Unknown client type 'foo'\r\n"
    );
    assert_eq!(desk.line("CLIENT LIST ID x"), "-ERR Invalid client ID\r\n");
    assert_eq!(desk.line("CLIENT LIST ID"), "-ERR syntax error\r\n");
    assert_eq!(desk.line("CLIENT LIST FOO bar"), "-ERR syntax error\r\n");
}

#[test]
fn client_kill_of_oneself_closes_after_the_reply() {
    let mut desk = Desk::new();
    desk.answers = vec![CoreAnswer::Count(0), CoreAnswer::Count(2)];
    assert_eq!(desk.line("CLIENT KILL TYPE normal"), ":2\r\n");
    assert!(!desk.client.closing);
    assert_eq!(desk.line("CLIENT KILL TYPE normal SKIPME no"), ":3\r\n");
    assert!(desk.client.closing);
    desk.client.closing = false;
    desk.answers = vec![CoreAnswer::Count(0)];
    assert_eq!(
        desk.line("CLIENT KILL 1.2.3.4:5"),
        "-ERR No such client\r\n"
    );
    assert_eq!(desk.line("CLIENT KILL 127.0.0.1:5000"), "+OK\r\n");
    assert!(desk.client.closing);
    for (line, error) in [
        ("CLIENT KILL ID 0", "ERR client-id should be greater than 0"),
        ("CLIENT KILL ID x", "ERR client-id should be greater than 0"),
        ("CLIENT KILL TYPE x", "ERR Unknown client type 'x'"),
        ("CLIENT KILL USER x", "ERR No such user 'x'"),
        ("CLIENT KILL SKIPME maybe", "ERR syntax error"),
        ("CLIENT KILL ID 1 ADDR", "ERR syntax error"),
    ] {
        assert_eq!(desk.line(line), format!("-{error}\r\n"));
    }
}

#[test]
fn pause_unblock_reply_and_switches() {
    let mut desk = Desk::new();
    assert_eq!(desk.line("CLIENT PAUSE 50 WRITE"), "+OK\r\n");
    let until = desk.now + 50;
    assert!(matches!(
        desk.asked.pop(),
        Some(CoreAsk::SetPause { until_ms, writes_only: true, waits: true }) if until_ms == until
    ));
    assert_eq!(desk.line("CLIENT PAUSE 9223372036854775807"), "+OK\r\n");
    assert_eq!(desk.line("CLIENT UNPAUSE"), "+OK\r\n");
    assert!(matches!(
        desk.asked.pop(),
        Some(CoreAsk::SetPause { until_ms: 0, .. })
    ));
    for (line, error) in [
        (
            "CLIENT PAUSE x",
            "ERR timeout is not an integer or out of range",
        ),
        ("CLIENT PAUSE -1", "ERR timeout is negative"),
        (
            "CLIENT PAUSE 0 x",
            "ERR CLIENT PAUSE mode must be WRITE or ALL",
        ),
        (
            "CLIENT UNBLOCK x",
            "ERR value is not an integer or out of range",
        ),
        (
            "CLIENT UNBLOCK 5 x",
            "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
        ),
        ("CLIENT NO-EVICT x", "ERR syntax error"),
        ("CLIENT REPLY x", "ERR syntax error"),
        (
            "CLIENT UNBLOCK 1 TIMEOUT x",
            "ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.",
        ),
    ] {
        assert_eq!(desk.line(line), format!("-{error}\r\n"));
    }
    assert_eq!(desk.line("CLIENT UNBLOCK 5"), ":0\r\n");
    assert_eq!(desk.line("CLIENT NO-TOUCH ON"), "+OK\r\n");
    assert!(desk.client.no_touch);
    assert_eq!(desk.line("CLIENT REPLY SKIP"), "");
    assert_eq!(desk.client.reply_mode, ReplyMode::SkipNext);
    assert_eq!(desk.line("CLIENT REPLY OFF"), "");
    assert_eq!(desk.line("CLIENT REPLY SKIP"), "");
    assert_eq!(desk.client.reply_mode, ReplyMode::Off);
    assert_eq!(desk.line("CLIENT REPLY ON"), "+OK\r\n");
}

#[test]
fn reset_forgets_all_but_the_library() {
    let mut desk = Desk::new();
    desk.line("HELLO 3 SETNAME me");
    desk.line("CLIENT SETINFO LIB-NAME lib");
    desk.line("SELECT 3");
    desk.line("MULTI");
    assert!(matches!(desk.step("RESET"), Ok(Step::Reset)));
    let client = &desk.client;
    assert!(client.multi.is_none() && client.db == 0 && !client.resp3 && client.name.is_empty());
    assert_eq!(client.lib_name, b"lib");
    assert!(matches!(desk.step("QUIT"), Ok(Step::Close)));
}
