//! What replicas and operators are answered, as far as a client's core answers it.

use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::command::desk::Desk;
use crate::mesh::message::{CoreAsk, FailoverOrder};
use crate::replication::report::{LinkReport, LinkState, ReplicaReport, ReplicaState, Report};
use crate::replication::{History, Replid, SyncRequest};
use crate::resp::Reply;

fn refused(desk: &mut Desk, cases: &[(&str, &str)]) {
    for (line, error) in cases {
        assert_eq!(desk.line(line), format!("-{error}\r\n"), "{line}");
    }
}

#[test]
fn replconf_remembers_what_a_replica_says_of_itself() {
    let mut desk = Desk::new();
    for line in [
        "REPLCONF",
        "REPLCONF listening-port 22010",
        "REPLCONF ip-address 10.1.2.3",
        "REPLCONF capa eof capa psync2 capa dual-channel capa flows:4",
        "replconf RDB-ONLY 1",
        "REPLCONF rdb-filter-only functions",
    ] {
        assert_eq!(desk.line(line), "+OK\r\n", "{line}");
    }
    let facts = desk.client.peer_facts.as_deref().unwrap();
    assert_eq!((facts.port, &facts.ip[..]), (22010, "10.1.2.3"));
    assert!(facts.takes_marked && facts.knows_two_histories && facts.copy_only);
    assert_eq!(facts.flows, 4);
    assert!(facts.filter.functions && !facts.filter.data);
    assert_eq!(desk.run(&[b"REPLCONF", b"rdb-filter-only", b""]), "+OK\r\n");
    assert!(!desk.client.peer_facts.as_deref().unwrap().filter.functions);
    assert_eq!(
        desk.line("REPLCONF ack 5 fack 3"),
        "",
        "it is no replica yet"
    );
    assert_eq!(desk.line("REPLCONF getack *"), "");
}

#[test]
fn replconf_refuses_what_it_does_not_know() {
    let mut desk = Desk::new();
    refused(
        &mut desk,
        &[
            ("REPLCONF capa", "ERR syntax error"),
            ("REPLCONF foo 1", "ERR Unrecognized REPLCONF option: foo"),
            (
                "REPLCONF listening-port x",
                "ERR value is not an integer or out of range",
            ),
            (
                "REPLCONF rdb-only 2",
                "ERR value is out of range, value must between 0 and 1",
            ),
            (
                "REPLCONF rdb-filter-only keys",
                "ERR Unsupported rdb-filter-only option: keys",
            ),
            (
                "REPLCONF rdb-filter-only \"x",
                "ERR Missing rdb-filter-only values",
            ),
        ],
    );
    let long = format!("REPLCONF ip-address {}", "x".repeat(300));
    let error = "-ERR REPLCONF ip-address provided by replica instance is too long: 300 bytes\r\n";
    assert_eq!(desk.line(&long), error);
}

#[test]
fn psync_hands_the_connection_over_unless_something_stands_against_it() {
    let mut desk = Desk::new();
    match desk.step("PSYNC ? -1") {
        Ok(Step::HandOver(SyncRequest::Partial {
            id,
            from,
            takes_over,
        })) => assert_eq!((&id[..], from, takes_over), (&b"?"[..], -1, false)),
        other => panic!("{other:?}"),
    }
    let legacy = desk.step("SYNC");
    assert!(matches!(legacy, Ok(Step::HandOver(SyncRequest::Legacy))));
    refused(
        &mut desk,
        &[
            ("PSYNC ? x", "ERR value is not an integer or out of range"),
            (
                "PSYNC ?",
                "ERR wrong number of arguments for 'psync' command",
            ),
            (
                "PSYNC ? 1 FAILOVER",
                "ERR PSYNC FAILOVER can't be sent to a master.",
            ),
        ],
    );
    desk.line("REPLCONF rdb-filter-only functions");
    let error = "ERR Filtered replica requires EOF capability";
    refused(&mut desk, &[("PSYNC ? -1", error), ("SYNC", error)]);
    let status = desk.observatory.replication.clone();
    status.is_replica.store(true, Relaxed);
    let error = "NOMASTERLINK Can't SYNC while not connected with my master";
    refused(&mut desk, &[("PSYNC ? -1", error), ("SYNC", error)]);
    status.failing_over.store(true, Relaxed);
    let error = "NOMASTERLINK Can't SYNC while failing over";
    refused(&mut desk, &[("PSYNC ? -1", error)]);
}

#[test]
fn failover_reads_its_words_and_leaves_the_rest_to_the_control_core() {
    let mut desk = Desk::new();
    assert_eq!(desk.line("FAILOVER TO h 7000 FORCE TIMEOUT 50"), "+OK\r\n");
    assert_eq!(desk.line("FAILOVER"), "+OK\r\n");
    assert_eq!(desk.line("FAILOVER abort"), "+OK\r\n");
    let orders: Vec<FailoverOrder> = desk
        .asked
        .iter()
        .filter_map(|ask| match ask {
            CoreAsk::Failover(order) => Some(order.clone()),
            _ => None,
        })
        .collect();
    let expected = [
        FailoverOrder::Begin {
            target: Some(("h".to_owned(), 7000)),
            timeout_ms: Some(50),
            force: true,
        },
        FailoverOrder::Begin {
            target: None,
            timeout_ms: None,
            force: false,
        },
        FailoverOrder::Abort,
    ];
    assert_eq!(orders, expected);
    refused(
        &mut desk,
        &[
            (
                "FAILOVER TIMEOUT 0",
                "ERR FAILOVER timeout must be greater than 0",
            ),
            ("FAILOVER TIMEOUT", "ERR syntax error"),
            ("FAILOVER TO h", "ERR syntax error"),
            (
                "FAILOVER TO h x",
                "ERR value is not an integer or out of range",
            ),
            ("FAILOVER ABORT TIMEOUT 5", "ERR syntax error"),
            ("FAILOVER FORCE FORCE", "ERR syntax error"),
        ],
    );
    let status = desk.observatory.replication.clone();
    status.is_replica.store(true, Relaxed);
    let error = "ERR FAILOVER is not valid when server is a replica.";
    refused(&mut desk, &[("FAILOVER", error)]);
    status.failing_over.store(true, Relaxed);
    let error = "ERR FAILOVER already in progress.";
    refused(&mut desk, &[("FAILOVER", error)]);
}

#[test]
fn role_tells_of_online_replicas_or_of_the_link() {
    let told = |report: &Report| {
        let mut out = Vec::new();
        role::tell(report, &mut Reply::new(&mut out, false));
        String::from_utf8(out).unwrap()
    };
    let replica = |state| ReplicaReport {
        ip: "10.0.0.2".into(),
        port: 7001,
        state,
        offset: 12,
        lag_s: 0,
        flows: 0,
    };
    let mut report = Report {
        link: None,
        replicas: vec![
            replica(ReplicaState::WaitsForCopy),
            replica(ReplicaState::Online),
        ],
        good_replicas: None,
        failover: "no-failover",
        history: History::new(Replid::NONE),
        backlog: None,
    };
    report.history.offset = 20;
    let expected =
        "*3\r\n$6\r\nmaster\r\n:20\r\n*1\r\n*3\r\n$8\r\n10.0.0.2\r\n$4\r\n7001\r\n$2\r\n12\r\n";
    assert_eq!(told(&report), expected);
    report.link = Some(LinkReport {
        host: "h".into(),
        port: 6379,
        state: LinkState::Connected,
        last_io_s: 0,
        read_offset: 30,
        applied_offset: 25,
        transfer: None,
        down_s: -1,
        flows: (0, 0),
    });
    let expected = "*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:6379\r\n$9\r\nconnected\r\n:25\r\n";
    assert_eq!(told(&report), expected);
    if let Some(link) = &mut report.link {
        link.state = LinkState::Sync;
    }
    assert!(told(&report).ends_with("$4\r\nsync\r\n:-1\r\n"));
}
