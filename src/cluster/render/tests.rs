//! Replies as clients read them.

use super::super::action::LinkId;
use super::super::address::literal;
use super::super::nodes_conf::NodesConf;
use super::super::settings::Settings;
use super::super::slot_map::Endpoint;
use super::super::state::{Cluster, Observed};
use super::*;
use crate::resp::{ErrorReply, Reply};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const C: &str = "cccccccccccccccccccccccccccccccccccccccc";

/// This node is `a`, a primary; `b` is its replica, `c` a primary that has failed.
fn cluster(endpoint: Endpoint) -> Cluster {
    let text = format!(
        "{A} 10.0.0.1:7000@17000,,tls-port=0,shard-id={A} myself,master - 0 0 2 connected 0-1 7 [7->-{C}] [9-<-{C}]\n\
         {B} 10.0.0.2:7000@17000,b.example,tls-port=7100,shard-id={A} slave {A} 0 5 0 connected\n\
         {C} 10.0.0.3:7000@17000,,tls-port=0,shard-id={C} master,fail - 0 0 3 connected 9-16383\n\
         vars currentEpoch 5 lastVoteEpoch 0\n"
    );
    let (conf, _) = NodesConf::parse(text.as_bytes(), false).unwrap().unwrap();
    let settings = Settings {
        endpoint,
        port: 7000,
        bus_port: 17000,
        ..Settings::default()
    };
    let mut cluster = Cluster::restore(settings, 1, 1_000_000, &conf);
    cluster.observe(Observed {
        repl_offset: 42,
        is_replicating: false,
        primary_seen_ms: 0,
    });
    cluster
}

fn written(resp3: bool, write: impl FnOnce(&mut Reply<'_>)) -> String {
    let mut out = Vec::new();
    write(&mut Reply::new(&mut out, resp3));
    String::from_utf8(out).unwrap().replace("\r\n", " ")
}

#[test]
fn nodes_are_lines_without_the_fields_of_the_file() {
    let expected = format!(
        "{A} 10.0.0.1:7000@17000 myself,master - 0 0 2 connected 0-1 7 [7->-{C}] [9-<-{C}]\n\
         {B} 10.0.0.2:7000@17000,b.example slave {A} 0 1000000 2 disconnected\n\
         {C} 10.0.0.3:7000@17000 master,fail - 0 0 3 disconnected 9-16383\n"
    );
    assert_eq!(nodes(&cluster(Endpoint::Ip), false), expected);
    let tls = nodes(&cluster(Endpoint::Ip), true);
    assert!(tls.contains(&format!("{B} 10.0.0.2:7100@17000,b.example ")));
}

#[test]
fn replicas_are_those_of_a_primary() {
    let cluster = cluster(Endpoint::Ip);
    let of_a = replicas(&cluster, A.as_bytes(), false).unwrap();
    assert!(of_a.len() == 1 && of_a[0].starts_with(B) && of_a[0].ends_with("disconnected"));
    let of_b = replicas(&cluster, B.as_bytes(), false).unwrap_err();
    assert_eq!(of_b, ErrorReply::NOT_A_PRIMARY);
    let of_x = replicas(&cluster, b"x", false).unwrap_err();
    assert_eq!(of_x.as_bytes(), b"ERR Unknown node x");
}

#[test]
fn info_has_the_lines_of_redis_in_their_order() {
    let mut cluster = cluster(Endpoint::Ip);
    cluster.counters.sent[0] = 3;
    cluster.counters.sent[3] = 1;
    let text = info(&cluster);
    let expected = "cluster_state:fail\r\ncluster_slots_assigned:16378\r\ncluster_slots_ok:3\r\ncluster_slots_pfail:0\r\n\
        cluster_slots_fail:16375\r\ncluster_known_nodes:3\r\ncluster_size:1\r\ncluster_current_epoch:5\r\n\
        cluster_my_epoch:2\r\ncluster_stats_messages_ping_sent:3\r\ncluster_stats_messages_fail_sent:1\r\n\
        cluster_stats_messages_sent:4\r\ncluster_stats_messages_received:0\r\n\
        total_cluster_links_buffer_limit_exceeded:0\r\n";
    assert_eq!(text, expected);
}

#[test]
fn slots_are_runs_of_one_owner() {
    let with_ip = cluster(Endpoint::Ip);
    let a = format!("*4 $8 10.0.0.1 :7000 $40 {A} *0 ");
    let c = format!("*4 $8 10.0.0.3 :7000 $40 {C} *0 ");
    let expected = format!("*3 *3 :0 :1 {a}*3 :7 :7 {a}*3 :9 :16383 {c}");
    // The replica has not replicated anything yet, so nobody is sent to it.
    assert_eq!(
        written(false, |reply| slots(&with_ip, reply, false)),
        expected
    );
    let unknown = cluster(Endpoint::Unknown);
    let text = written(true, |reply| slots(&unknown, reply, false));
    let a = format!("*4 _ :7000 $40 {A} %1 $2 ip $8 10.0.0.1 ");
    assert!(text.starts_with(&format!("*3 *3 :0 :1 {a}")), "{text}");
    let named = cluster(Endpoint::Hostname);
    let text = written(false, |reply| slots(&named, reply, false));
    assert!(
        text.contains(&format!("*4 $1 ? :7000 $40 {A} *2 $2 ip $8 10.0.0.1 ")),
        "{text}"
    );
}

#[test]
fn shards_are_groups_with_their_primary_first() {
    let cluster = cluster(Endpoint::Ip);
    let text = written(false, |reply| shards(&cluster, reply));
    let start = format!(
        "*2 *4 $5 slots *4 :0 :1 :7 :7 $5 nodes *2 *14 $2 id $40 {A} $4 port :7000 $2 ip $8 10.0.0.1 \
         $8 endpoint $8 10.0.0.1 $4 role $6 master $18 replication-offset :42 $6 health $6 online \
         *18 $2 id $40 {B} $4 port :7000 $8 tls-port :7100 $2 ip $8 10.0.0.2 $8 endpoint $8 10.0.0.2 \
         $8 hostname $9 b.example $4 role $7 replica $18 replication-offset :0 $6 health $7 loading *4 $5 slots"
    );
    assert!(text.starts_with(&start), "{text}");
    assert!(text.ends_with("$6 health $4 fail "), "{text}");
}

#[test]
fn links_go_both_ways() {
    let mut cluster = cluster(Endpoint::Ip);
    cluster.tick(1_000_100);
    let opened: Vec<LinkId> = cluster.links().map(|(id, _)| id).collect();
    assert_eq!(opened.len(), 2);
    cluster.link_connected(1_000_101, opened[0], literal(b"10.0.0.1").unwrap());
    let text = written(true, |reply| {
        links(&cluster, reply, |link| LinkUse {
            allocated_bytes: 10,
            queued_bytes: usize::from(link == opened[0]) * 7,
        });
    });
    let expected = format!(
        "*2 %6 $9 direction $2 to $4 node $40 {B} $11 create-time :1000100 $6 events $2 rw $21 send-buffer-allocated :10 \
         $16 send-buffer-used :7 %6 $9 direction $2 to $4 node $40 {C} $11 create-time :1000100 $6 events $1 w \
         $21 send-buffer-allocated :10 $16 send-buffer-used :0 "
    );
    assert_eq!(text, expected);
}
