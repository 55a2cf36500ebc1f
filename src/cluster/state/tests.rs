//! One node, and packets of others made by hand.

use super::super::action::{Action, LinkId, Turn};
use super::super::address::{IpText, literal};
use super::super::flags::NodeFlags;
use super::super::node_id::NodeId;
use super::super::nodes_conf::NodesConf;
use super::super::packet::{
    self, Body, Extension, GossipEntry, Header, Kind, MessageFlags, Packet,
};
use super::super::settings::Settings;
use super::super::slots::SlotSet;
use super::*;
use crate::resp::ErrorReply;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const C: &str = "cccccccccccccccccccccccccccccccccccccccc";
const D: &str = "dddddddddddddddddddddddddddddddddddddddd";
const NOW: i64 = 1_700_000_000_000;

fn id(text: &str) -> NodeId {
    NodeId::parse(text.as_bytes()).unwrap()
}

fn text(error: Result<(), ErrorReply>) -> String {
    let error = error.expect_err("it is refused");
    String::from_utf8(error.as_bytes().to_vec()).unwrap()
}

/// `a` (this node) and `b` are primaries with half of the slots each, under epochs 1 and 2; `c` is a replica of `b`.
fn pair() -> Cluster {
    restored(&format!(
        "{A} 10.0.0.1:6379@16379,,tls-port=0,shard-id={A} myself,master - 0 0 1 connected 0-8191\n\
         {B} 10.0.0.2:6379@16379,,tls-port=0,shard-id={B} master - 0 0 2 connected 8192-16383\n\
         {C} 10.0.0.3:6379@16379,,tls-port=0,shard-id={B} slave {B} 0 0 2 connected\n\
         vars currentEpoch 2 lastVoteEpoch 0\n"
    ))
}

fn restored(text: &str) -> Cluster {
    let (conf, _) = NodesConf::parse(text.as_bytes(), false).unwrap().unwrap();
    let mut cluster = Cluster::restore(Settings::default(), 7, NOW, &conf);
    cluster.end_turn(NOW);
    cluster
}

/// What `from` says of itself.
fn header(from: &str, epoch: u64, slots: SlotSet) -> Header {
    Header {
        sender: id(from),
        current_epoch: epoch,
        config_epoch: epoch,
        offset: 0,
        slots,
        primary: NodeId::NONE,
        ip: IpText::EMPTY,
        port: 6379,
        other_port: 0,
        bus_port: 16379,
        flags: NodeFlags::MYSELF | NodeFlags::PRIMARY,
        is_down: false,
        message: MessageFlags::default(),
    }
}

fn half() -> SlotSet {
    SlotSet::range(8192, 16383)
}

fn ip(last: u8) -> IpText {
    literal(format!("10.0.0.{last}").as_bytes()).unwrap()
}

/// A packet on a new link from the address that ends in `last`.
fn receive(cluster: &mut Cluster, now_ms: i64, last: u8, bytes: &[u8]) -> (LinkId, Turn) {
    let link = cluster.link_accepted(now_ms, ip(last), ip(1));
    cluster.packet(now_ms, link, bytes);
    (link, cluster.end_turn(now_ms))
}

fn ping(header: &Header, gossip: &[GossipEntry]) -> Vec<u8> {
    packet::gossip(Kind::Ping, header, gossip, &[])
}

/// Opens and connects all links.
fn connect(cluster: &mut Cluster, now_ms: i64) {
    cluster.tick(now_ms);
    let opened = cluster.links().filter(|(_, of)| !of.is_inbound);
    let links: Vec<LinkId> = opened.map(|(id, _)| id).collect();
    for link in links {
        cluster.link_connected(now_ms, link, ip(1));
    }
    cluster.end_turn(now_ms);
}

/// What the packets of a turn are for, in order.
fn sent(turn: &Turn) -> Vec<(LinkId, Kind)> {
    let sends = turn.actions.iter().filter_map(|action| match action {
        Action::Send { link, packet } => {
            let kind = packet::decode(packet).unwrap().kind();
            Some((*link, Kind::from_number(kind).unwrap()))
        }
        _ => None,
    });
    sends.collect()
}

fn entry(of: &str, flags: NodeFlags) -> GossipEntry {
    GossipEntry {
        id: id(of),
        ping_sent_s: 0,
        pong_received_s: 0,
        ip: Some(ip(9)),
        port: 6379,
        bus_port: 16379,
        flags,
        other_port: 0,
    }
}

#[test]
fn a_vote_is_on_disk_before_it_leaves_and_is_not_given_twice_after_a_crash() {
    let mut cluster = pair();
    connect(&mut cluster, NOW + 100);
    let fail = packet::fail(&header(B, 2, half()), id(B));
    receive(&mut cluster, NOW + 100, 3, &fail);
    // Of a primary that another has declared dead: any acquaintance may say so.
    let key = cluster.find(B.as_bytes()).unwrap();
    assert!(cluster.nodes()[key].has_failed());
    let mut request = header(C, 3, half());
    (request.config_epoch, request.primary) = (2, id(B));
    let request = packet::plain(Kind::AuthRequest, &request);
    let (_, turn) = receive(&mut cluster, NOW + 200, 3, &request);
    assert_eq!(
        sent(&turn)
            .iter()
            .filter(|(_, kind)| *kind == Kind::AuthAck)
            .count(),
        1
    );
    let save = turn.save.expect("the vote is saved");
    assert!(save.is_durable && save.text.ends_with("vars currentEpoch 3 lastVoteEpoch 3\n"));
    let mut again = restored(&save.text);
    connect(&mut again, NOW + 300);
    let (_, turn) = receive(&mut again, NOW + 300, 3, &request);
    assert!(sent(&turn).is_empty());
}

#[test]
fn votes_are_refused_for_the_reasons_of_redis() {
    let granted = |change: &dyn Fn(&mut Cluster, &mut Header)| {
        let mut cluster = pair();
        connect(&mut cluster, NOW + 100);
        let key = cluster.find(B.as_bytes()).unwrap();
        cluster.nodes[key].flags.put(NodeFlags::FAIL, true);
        let mut request = header(C, 3, half());
        (request.config_epoch, request.primary) = (2, id(B));
        change(&mut cluster, &mut request);
        let bytes = packet::plain(Kind::AuthRequest, &request);
        let (_, turn) = receive(&mut cluster, NOW + 200, 3, &bytes);
        sent(&turn).iter().any(|(_, kind)| *kind == Kind::AuthAck)
    };
    let primary = |cluster: &mut Cluster| cluster.find(B.as_bytes()).unwrap();
    assert!(granted(&|_, _| ()));
    assert!(
        !granted(&|cluster, _| cluster.current_epoch = 4),
        "an old epoch"
    );
    assert!(
        !granted(&|cluster, _| cluster.last_vote_epoch = 3),
        "voted already"
    );
    let is_up = |cluster: &mut Cluster| {
        let key = primary(cluster);
        cluster.nodes[key].flags.put(NodeFlags::FAIL, false);
    };
    assert!(!granted(&|cluster, _| is_up(cluster)), "its primary is up");
    assert!(
        granted(&|cluster, request| {
            is_up(cluster);
            request.message.0 |= MessageFlags::FORCE_ACK;
        }),
        "its primary is up and has agreed"
    );
    assert!(
        !granted(&|cluster, _| {
            let key = primary(cluster);
            cluster.nodes[key].voted_ms = Some(NOW);
        }),
        "voted about this primary a moment ago"
    );
    assert!(
        !granted(&|_, request| request.config_epoch = 1),
        "slots of a newer epoch"
    );
    assert!(
        !granted(&|_, request| request.sender = id(B)),
        "a primary asks"
    );
    assert!(
        !granted(&|_, request| request.sender = id(D)),
        "a stranger asks"
    );
    assert!(
        !granted(&|cluster, _| cluster.unbind_all(cluster.myself)),
        "who has no slots has no vote"
    );
}

#[test]
fn a_stranger_gets_an_answer_and_nothing_else() {
    let mut cluster = pair();
    let mut stranger = header(D, 99, SlotSet::range(0, 16383));
    stranger.port = 7;
    let gossip = [entry(B, NodeFlags::FAIL), entry(D, NodeFlags::PRIMARY)];
    let (link, turn) = receive(&mut cluster, NOW, 4, &ping(&stranger, &gossip));
    assert_eq!(sent(&turn), [(link, Kind::Pong)]);
    assert!(turn.save.is_none() && cluster.nodes().len() == 3);
    assert_eq!(cluster.current_epoch(), 2);
    for kind in [Kind::AuthRequest, Kind::AuthAck, Kind::MfStart] {
        let (_, turn) = receive(&mut cluster, NOW, 4, &packet::plain(kind, &stranger));
        assert!(turn.save.is_none() && sent(&turn).is_empty());
    }
    let update = packet::update(&stranger, 99, id(B), &SlotSet::range(0, 16383));
    receive(&mut cluster, NOW, 4, &update);
    receive(&mut cluster, NOW, 4, &packet::fail(&stranger, id(B)));
    assert_eq!(cluster.me().slot_count, 8192);
    let publish = packet::publish(&stranger, false, b"c", b"m");
    let (_, turn) = receive(&mut cluster, NOW, 4, &publish);
    assert!(
        !turn
            .actions
            .iter()
            .any(|action| matches!(action, Action::Deliver { .. }))
    );
}

#[test]
fn a_meet_begins_a_handshake_and_the_answer_ends_it() {
    let mut cluster = pair();
    let stranger = header(D, 0, SlotSet::default());
    let meet = packet::gossip(Kind::Meet, &stranger, &[], &[]);
    receive(&mut cluster, NOW, 4, &meet);
    receive(&mut cluster, NOW, 4, &meet);
    assert_eq!(cluster.nodes().len(), 4, "two of one make one");
    assert!(
        cluster.find(D.as_bytes()).is_none()
            && !cluster.conf().to_text(false).contains("handshake")
    );
    connect(&mut cluster, NOW + 100);
    let (_, node) = cluster
        .nodes()
        .iter()
        .find(|(_, node)| node.is_in_handshake())
        .unwrap();
    let link = node.outbound.unwrap();
    cluster.packet(
        NOW + 110,
        link,
        &packet::gossip(Kind::Pong, &stranger, &[], &[]),
    );
    let turn = cluster.end_turn(NOW + 110);
    let key = cluster.find(D.as_bytes()).unwrap();
    assert_eq!(cluster.nodes()[key].flags, NodeFlags::PRIMARY);
    assert_eq!(cluster.nodes()[key].address.ip, ip(4));
    assert!(turn.save.is_some());
}

#[test]
fn a_handshake_that_nobody_answers_ends() {
    let mut cluster = pair();
    cluster
        .meet(NOW, b"10.0.0.8", b"7000", 7000, 17000)
        .unwrap();
    cluster
        .meet(NOW, b"10.0.0.8", b"7000", 7000, 17000)
        .unwrap();
    assert_eq!(cluster.nodes().len(), 4);
    cluster.tick(NOW + 14_000);
    assert_eq!(cluster.nodes().len(), 4);
    cluster.tick(NOW + 15_100);
    assert_eq!(cluster.nodes().len(), 3);
}

#[test]
fn another_node_at_a_known_address_costs_that_address() {
    let mut cluster = pair();
    connect(&mut cluster, NOW + 100);
    let key = cluster.find(B.as_bytes()).unwrap();
    let link = cluster.nodes()[key].outbound.unwrap();
    let stranger = header(D, 0, SlotSet::default());
    cluster.packet(
        NOW + 110,
        link,
        &packet::gossip(Kind::Pong, &stranger, &[], &[]),
    );
    let node = &cluster.nodes()[key];
    assert!(node.flags.has(NodeFlags::NO_ADDRESS) && node.address.ip.is_empty());
    assert!(node.outbound.is_none());
}

#[test]
fn claims_count_by_epoch_and_the_loser_of_all_its_slots_follows() {
    let mut cluster = pair();
    connect(&mut cluster, NOW + 100);
    // `b` takes slot 0 under a higher epoch; keys of it are dropped here.
    let mut claims = half();
    claims.insert(0);
    let (_, turn) = receive(
        &mut cluster,
        NOW + 100,
        2,
        &ping(&header(B, 5, claims), &[]),
    );
    assert_eq!(cluster.me().slot_count, 8191);
    let dropped = turn.actions.iter().find_map(|action| match action {
        Action::DropKeys(slots) => Some(slots.ranges()),
        _ => None,
    });
    assert_eq!(dropped, Some(vec![(0, 0)]));
    assert!(turn.save.is_some_and(|save| save.is_durable));
    // All of them: this node becomes its replica, and data comes from there.
    let all = SlotSet::range(0, 16383);
    let (_, turn) = receive(&mut cluster, NOW + 200, 2, &ping(&header(B, 6, all), &[]));
    assert!(cluster.me().is_replica() && cluster.me().slot_count == 0);
    assert!(
        turn.actions
            .iter()
            .any(|action| { matches!(action, Action::Replicate { id: of, .. } if *of == id(B)) })
    );
    assert!(
        !turn
            .actions
            .iter()
            .any(|action| matches!(action, Action::DropKeys(_)))
    );
}

#[test]
fn slots_that_go_one_by_one_are_saved_by_the_tick_for_all_of_them() {
    let mut cluster = pair();
    connect(&mut cluster, NOW + 100);
    let mut claims = half();
    // The first brings the new epoch, which is saved at once.
    for slot in 0..5 {
        claims.insert(slot);
        let ping = ping(&header(B, 5, claims.clone()), &[]);
        let (_, turn) = receive(&mut cluster, NOW + 110, 2, &ping);
        assert_eq!(turn.save.is_some(), slot == 0);
    }
    cluster.tick(NOW + 200);
    let save = cluster.end_turn(NOW + 200).save.unwrap();
    assert!(
        save.is_durable && save.text.contains(" connected 5-8191\n"),
        "{}",
        save.text
    );
    cluster.tick(NOW + 300);
    assert!(cluster.end_turn(NOW + 300).save.is_none());
    // An own promise takes along what is owed.
    claims.insert(5);
    receive(
        &mut cluster,
        NOW + 310,
        2,
        &ping(&header(B, 5, claims), &[]),
    );
    cluster.save_config(NOW + 320);
    let save = cluster.end_turn(NOW + 320).save.unwrap();
    assert!(save.is_durable && save.text.contains(" connected 6-8191\n"));
    cluster.tick(NOW + 400);
    assert!(cluster.end_turn(NOW + 400).save.is_none());
}

#[test]
fn an_old_claim_is_answered_with_an_update() {
    let mut cluster = pair();
    connect(&mut cluster, NOW + 100);
    let mut stale = header(C, 0, SlotSet::range(8192, 8200));
    stale.current_epoch = 2;
    let (_, turn) = receive(&mut cluster, NOW + 100, 3, &ping(&stale, &[]));
    let update = turn.actions.iter().find_map(|action| match action {
        Action::Send { packet, .. } => match packet::decode(packet) {
            Ok(Packet::Full {
                body:
                    Body::Update {
                        config_epoch,
                        owner,
                        slots,
                    },
                ..
            }) => Some((config_epoch, owner, slots)),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(update, Some((2, id(B), half())));
    assert_eq!(
        cluster.nodes()[cluster.find(B.as_bytes()).unwrap()].slot_count,
        8192
    );
}

#[test]
fn an_update_about_this_node_is_passed_over() {
    let mut cluster = pair();
    let update = packet::update(&header(B, 2, half()), 99, id(A), &SlotSet::default());
    receive(&mut cluster, NOW, 2, &update);
    assert_eq!(
        (cluster.me().config_epoch, cluster.me().slot_count),
        (1, 8192)
    );
}

#[test]
fn of_two_primaries_under_one_epoch_the_smaller_name_moves() {
    let mut cluster = pair();
    let (_, turn) = receive(&mut cluster, NOW, 2, &ping(&header(B, 2, half()), &[]));
    assert_eq!(cluster.me().config_epoch, 1);
    assert!(turn.save.is_none_or(|save| !save.is_durable));
    cluster.me_mut().config_epoch = 2;
    let (_, turn) = receive(&mut cluster, NOW, 2, &ping(&header(B, 2, half()), &[]));
    assert_eq!((cluster.me().config_epoch, cluster.current_epoch()), (3, 3));
    assert!(turn.save.is_some_and(|save| save.is_durable));
}

#[test]
fn epochs_of_a_liar_do_not_stop_the_server() {
    let mut cluster = pair();
    let liar = header(B, u64::MAX, half());
    receive(&mut cluster, NOW, 2, &ping(&liar, &[]));
    cluster.bump(NOW);
    let (_, epoch) = cluster.bump(NOW);
    assert_eq!((epoch, cluster.current_epoch()), (u64::MAX, u64::MAX));
}

#[test]
fn reports_of_primaries_and_the_own_view_make_a_failure() {
    let mut cluster = pair();
    connect(&mut cluster, NOW + 100);
    let mut now_ms = NOW + 100;
    // Nothing comes from `c`, and its own primary cannot reach it either.
    while now_ms < NOW + 20_000 {
        now_ms += 500;
        let b = header(B, 2, half());
        receive(
            &mut cluster,
            now_ms,
            2,
            &ping(&b, &[entry(C, NodeFlags::PFAIL)]),
        );
        cluster.tick(now_ms);
        cluster.end_turn(now_ms);
    }
    let key = cluster.find(C.as_bytes()).unwrap();
    assert!(cluster.nodes()[key].has_failed());
    assert_eq!(cluster.failure_reports(now_ms, C.as_bytes()), Ok(1));
    assert_eq!(
        cluster.failure_reports(now_ms + 40_000, C.as_bytes()),
        Ok(0)
    );
}

#[test]
fn gossip_with_a_name_that_is_none_is_not_believed_at_all() {
    let mut cluster = pair();
    let mut bad = entry(D, NodeFlags::PRIMARY);
    bad.id = NodeId([b'!'; 40]);
    let gossip = [entry(D, NodeFlags::PRIMARY), bad];
    receive(&mut cluster, NOW, 2, &ping(&header(B, 2, half()), &gossip));
    assert!(cluster.find(D.as_bytes()).is_none());
    // Flags that are nobody else's business do not come with gossip.
    let flags = NodeFlags(!NodeFlags::NO_ADDRESS.0);
    receive(
        &mut cluster,
        NOW,
        2,
        &ping(&header(B, 2, half()), &[entry(D, flags)]),
    );
    let key = cluster.find(D.as_bytes()).unwrap();
    let node = &cluster.nodes()[key];
    assert!(!node.is_myself() && !node.is_in_handshake() && !node.flags.has(NodeFlags::MEET));
}

#[test]
fn what_is_forgotten_does_not_come_back_by_gossip_for_a_minute() {
    let mut cluster = pair();
    assert_eq!(
        text(cluster.forget_node(NOW, A.as_bytes())),
        "ERR I tried hard but I can't forget myself..."
    );
    assert_eq!(
        text(cluster.forget_node(NOW, D.as_bytes())),
        format!("ERR Unknown node {D}")
    );
    cluster.forget_node(NOW, C.as_bytes()).unwrap();
    cluster.forget_node(NOW, C.as_bytes()).unwrap();
    let known = [entry(C, NodeFlags::REPLICA)];
    let b = header(B, 2, half());
    receive(&mut cluster, NOW + 59_000, 2, &ping(&b, &known));
    assert!(cluster.find(C.as_bytes()).is_none());
    receive(&mut cluster, NOW + 61_000, 2, &ping(&b, &known));
    assert!(cluster.find(C.as_bytes()).is_some());
    // Others spread it; whoever says so cannot mean itself.
    let forgotten = |of: &str| Extension::Forgotten {
        id: id(of),
        ttl_s: u64::MAX,
    };
    let all = [forgotten(C), forgotten(A), forgotten(B)];
    let bytes = packet::gossip(Kind::Ping, &b, &[], &all);
    receive(&mut cluster, NOW + 61_000, 2, &bytes);
    assert!(cluster.find(C.as_bytes()).is_none() && cluster.nodes().len() == 2);
}

#[test]
fn names_and_groups_come_and_go_with_pings() {
    let mut cluster = pair();
    let b = header(B, 2, half());
    let named = [
        Extension::Hostname("b.example"),
        Extension::NodeName("east"),
        Extension::ShardId(id(D)),
    ];
    let bytes = packet::gossip(Kind::Ping, &b, &[], &named);
    receive(&mut cluster, NOW, 2, &bytes);
    let key = cluster.find(B.as_bytes()).unwrap();
    let node = &cluster.nodes()[key];
    assert_eq!(
        (&*node.hostname, &*node.node_name, node.shard_id),
        ("b.example", "east", id(D))
    );
    receive(&mut cluster, NOW, 2, &ping(&b, &[]));
    let node = &cluster.nodes()[key];
    assert_eq!(
        (&*node.hostname, &*node.node_name, node.shard_id),
        ("", "", id(D))
    );
}

#[test]
fn extensions_go_to_those_who_have_shown_that_they_read_them() {
    let mut cluster = pair();
    connect(&mut cluster, NOW + 100);
    let mut plain = ping(&header(B, 2, half()), &[]);
    plain[packet::layout::MFLAGS] = 0;
    let extensions = |turn: &Turn| {
        let pong = turn.actions.iter().find_map(|action| match action {
            Action::Send { packet, .. } => Some(packet.clone()),
            _ => None,
        });
        match packet::decode(&pong.unwrap()) {
            Ok(Packet::Full {
                body: Body::Gossip { extensions, .. },
                ..
            }) => extensions.iter().count(),
            other => panic!("{other:?}"),
        }
    };
    let (link, turn) = receive(&mut cluster, NOW + 200, 2, &plain);
    assert_eq!(extensions(&turn), 0);
    let with = ping(&header(B, 2, half()), &[]);
    cluster.packet(NOW + 300, link, &with);
    cluster.end_turn(NOW + 300);
    cluster.packet(NOW + 400, link, &with);
    assert_eq!(extensions(&cluster.end_turn(NOW + 400)), 1);
}

#[test]
fn slots_are_given_all_or_none() {
    let mut cluster = restored(&format!(
        "{A} 10.0.0.1:1@2 myself,master - 0 0 0 connected\n"
    ));
    assert_eq!(
        text(cluster.add_slots(NOW, &[(1, 1), (5, 3)])),
        "ERR start slot number 5 is greater than end slot number 3"
    );
    assert_eq!(
        text(cluster.add_slots(NOW, &[(1, 5), (5, 5)])),
        "ERR Slot 5 specified multiple times"
    );
    assert_eq!(cluster.me().slot_count, 0);
    cluster.add_slots(NOW, &[(1, 5)]).unwrap();
    assert_eq!(
        text(cluster.add_slots(NOW, &[(0, 0), (5, 5)])),
        "ERR Slot 5 is already busy"
    );
    assert_eq!(
        text(cluster.del_slots(NOW, &[(5, 6)])),
        "ERR Slot 6 is already unassigned"
    );
    cluster.del_slots(NOW, &[(5, 5)]).unwrap();
    assert_eq!(cluster.me().slots.ranges(), [(1, 4)]);
    assert_eq!(
        text(cluster.flush_slots(NOW, true)),
        "ERR DB must be empty to perform CLUSTER FLUSHSLOTS."
    );
    cluster.flush_slots(NOW, false).unwrap();
    assert_eq!(cluster.me().slot_count, 0);
}

#[test]
fn setslot_refuses_what_redis_refuses() {
    let mut cluster = pair();
    let b = B.as_bytes();
    let mut set = |slot, action| cluster.set_slot(NOW, slot, action);
    assert_eq!(
        text(set(9000, SetSlot::Migrating(b))),
        "ERR I'm not the owner of hash slot 9000"
    );
    assert_eq!(
        text(set(1, SetSlot::Importing(b))),
        "ERR I'm already the owner of hash slot 1"
    );
    assert_eq!(
        text(set(1, SetSlot::Migrating(b"x"))),
        "ERR I don't know about node x"
    );
    assert_eq!(
        text(set(1, SetSlot::Migrating(C.as_bytes()))),
        "ERR Target node is not a master"
    );
    let node = |id, keys| SetSlot::Node { id, keys };
    assert_eq!(text(set(1, node(b"x", 0))), "ERR Unknown node x");
    assert_eq!(
        text(set(1, node(b, 3))),
        "ERR Can't assign hashslot 1 to a different node while I still hold keys for this hash slot."
    );
    set(1, SetSlot::Migrating(b)).unwrap();
    set(9000, SetSlot::Importing(b)).unwrap();
    set(1, node(b, 0)).unwrap();
    set(9000, node(A.as_bytes(), 5)).unwrap();
    assert!(cluster.migrating.is_empty() && cluster.importing.is_empty());
    // What came here is under an epoch above all others.
    assert_eq!((cluster.me().config_epoch, cluster.current_epoch()), (3, 3));
    let mut replica = replica();
    assert_eq!(
        text(replica.set_slot(NOW, 1, SetSlot::Stable)),
        "ERR Please use SETSLOT only with masters."
    );
}

/// This node, `a`, is a replica of `b`, which has all slots; `c` is a primary without any.
fn replica() -> Cluster {
    restored(&format!(
        "{A} 10.0.0.1:6379@16379,,tls-port=0,shard-id={B} myself,slave {B} 0 0 0 connected\n\
         {B} 10.0.0.2:6379@16379,,tls-port=0,shard-id={B} master - 0 0 2 connected 0-16383\n\
         {C} 10.0.0.3:6379@16379,,tls-port=0,shard-id={C} master - 0 0 3 connected\n\
         vars currentEpoch 3 lastVoteEpoch 0\n"
    ))
}

#[test]
fn roles_are_changed_only_where_they_can_be() {
    let mut primary = pair();
    assert_eq!(
        text(primary.replicate(NOW, A.as_bytes(), false)),
        "ERR Can't replicate myself"
    );
    assert_eq!(
        text(primary.replicate(NOW, C.as_bytes(), false)),
        "ERR I can only replicate a master, not a replica."
    );
    assert_eq!(
        text(primary.replicate(NOW, B.as_bytes(), false)),
        "ERR To set a master the node must be empty and without assigned slots."
    );
    assert_eq!(
        text(primary.failover(NOW, Failover::Force)),
        "ERR You should send CLUSTER FAILOVER to a replica"
    );
    assert_eq!(
        text(primary.reset(NOW, false, true)),
        "ERR CLUSTER RESET can't be called with master nodes containing keys"
    );
    let mut replica = replica();
    assert_eq!(
        text(replica.failover(NOW, Failover::Plain)),
        "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE"
    );
    assert_eq!(
        text(replica.forget_node(NOW, B.as_bytes())),
        "ERR Can't forget my master!"
    );
    replica.replicate(NOW, C.as_bytes(), true).unwrap();
    let c = replica.find(C.as_bytes());
    assert_eq!(replica.me().primary, c);
    assert_eq!(replica.me().shard_id, id(C));
}

#[test]
fn a_primary_that_steps_down_sends_clients_away_before_it_lets_writes_go() {
    let mut cluster = restored(&format!(
        "{A} 10.0.0.1:6379@16379,,tls-port=0,shard-id={A} myself,master - 0 0 1 connected 0-8191\n\
         {B} 10.0.0.2:6379@16379,,tls-port=0,shard-id={B} master - 0 0 2 connected 8192-16383\n\
         {C} 10.0.0.3:6379@16379,,tls-port=0,shard-id={A} slave {A} 0 0 1 connected\n\
         vars currentEpoch 2 lastVoteEpoch 0\n"
    ));
    let slots = SlotSet::range(0, 8191);
    let mut asks = header(C, 1, slots.clone());
    (asks.primary, asks.flags) = (id(A), NodeFlags::MYSELF | NodeFlags::REPLICA);
    receive(
        &mut cluster,
        NOW + 1,
        3,
        &packet::plain(Kind::MfStart, &asks),
    );
    assert!(cluster.holds_writes());
    let (_, turn) = receive(&mut cluster, NOW + 2, 3, &ping(&header(C, 3, slots), &[]));
    let place = |wanted: fn(&Action) -> bool| {
        let place = turn.actions.iter().position(wanted);
        place.expect("it is among what is to be done")
    };
    let map = place(|action| matches!(action, Action::PublishMap(_)));
    assert!(map < place(|action| matches!(action, Action::Replicate { .. })));
    assert!(map < place(|action| matches!(action, Action::ResumeWrites)));
    assert!(!cluster.holds_writes());
}

#[test]
fn a_takeover_asks_nobody() {
    let mut cluster = replica();
    cluster.failover(NOW, Failover::Takeover).unwrap();
    let turn = cluster.end_turn(NOW);
    assert!(cluster.me().is_primary() && cluster.me().slot_count == 16384);
    assert_eq!(cluster.me().config_epoch, 4);
    assert!(turn.save.is_some_and(|save| save.is_durable));
    assert!(
        turn.actions
            .iter()
            .any(|action| matches!(action, Action::StopReplicating))
    );
}

#[test]
fn a_reset_leaves_a_primary_alone_and_a_hard_one_another_node() {
    let mut cluster = replica();
    cluster.reset(NOW, false, true).unwrap();
    let turn = cluster.end_turn(NOW);
    assert!(
        turn.actions
            .iter()
            .any(|action| matches!(action, Action::DropAllKeys))
    );
    assert!(cluster.me().is_primary() && cluster.nodes().len() == 1);
    assert_eq!((cluster.my_id(), cluster.current_epoch()), (id(A), 3));
    cluster.reset(NOW, true, false).unwrap();
    assert!(cluster.my_id() != id(A) && cluster.current_epoch() == 0);
    assert_eq!(
        cluster.find(cluster.my_id().as_bytes()),
        Some(cluster.myself)
    );
}

#[test]
fn a_config_epoch_is_set_once_and_alone() {
    assert_eq!(
        text(pair().set_config_epoch(NOW, 5)),
        "ERR The user can assign a config epoch only when the node does not know any other node."
    );
    let mut cluster = restored(&format!(
        "{A} 10.0.0.1:1@2 myself,master - 0 0 0 connected\n"
    ));
    assert_eq!(
        text(cluster.set_config_epoch(NOW, -1)),
        "ERR Invalid config epoch specified: -1"
    );
    cluster.set_config_epoch(NOW, 5).unwrap();
    assert_eq!(
        text(cluster.set_config_epoch(NOW, 6)),
        "ERR Node config epoch is already non-zero"
    );
    assert_eq!(cluster.bump(NOW), (false, 5));
}

#[test]
fn meet_takes_literal_addresses_and_real_ports() {
    let mut cluster = pair();
    for (ip, port, bus_port) in [
        (&b"localhost"[..], 7000, 17000),
        (b"10.0.0.9", 0, 10000),
        (b"10.0.0.9", 60000, 70000),
    ] {
        let error = text(cluster.meet(NOW, ip, b"7000", port, bus_port));
        let ip = String::from_utf8_lossy(ip);
        assert_eq!(
            error,
            format!("ERR Invalid node address specified: {ip}:7000")
        );
    }
}

#[test]
fn keys_without_an_owner_are_adopted_at_a_start() {
    let mut cluster = pair();
    cluster.del_slots(NOW, &[(3, 3)]).unwrap();
    cluster.adopt_keys(NOW, &[3, 4, 9000].into_iter().collect());
    assert_eq!(cluster.owner(3), Some(cluster.myself));
    assert!(cluster.importing.contains_key(&9000) && cluster.importing.len() == 1);
}

#[test]
fn messages_go_to_all_and_sharded_ones_to_the_group() {
    let mut cluster = restored(&format!(
        "{A} 10.0.0.1:6379@16379,,tls-port=0,shard-id={A} myself,master - 0 0 1 connected\n\
         {B} 10.0.0.2:6379@16379,,tls-port=0,shard-id={A} slave {A} 0 0 2 connected\n\
         {C} 10.0.0.3:6379@16379,,tls-port=0,shard-id={C} master - 0 0 2 connected\n"
    ));
    connect(&mut cluster, NOW);
    assert!(cluster.publish(false, b"channel", b"message"));
    assert_eq!(sent(&cluster.end_turn(NOW)).len(), 2);
    assert!(cluster.publish(true, b"channel", b"message"));
    let turn = cluster.end_turn(NOW);
    let b = cluster.find(B.as_bytes()).unwrap();
    assert_eq!(
        sent(&turn),
        [(cluster.nodes()[b].outbound.unwrap(), Kind::PublishShard)]
    );
    // Under a light header only to those who have said that they read it.
    cluster.nodes[b].flags.put(NodeFlags::LIGHT_PUBLISH, true);
    cluster.publish(true, b"channel", b"message");
    let turn = cluster.end_turn(NOW);
    assert!(turn.actions.iter().any(|action| {
        matches!(action, Action::Send { packet, .. } if packet.len() == 24 + 14)
    }));
}

#[test]
fn a_light_packet_on_a_link_of_nobody_ends_the_link() {
    let mut cluster = pair();
    let bytes = packet::light_publish(false, b"c", b"m");
    let (link, turn) = receive(&mut cluster, NOW, 2, &bytes);
    assert!(matches!(turn.actions[..], [Action::CloseLink(closed)] if closed == link));
    let (link, _) = receive(&mut cluster, NOW, 2, &ping(&header(B, 2, half()), &[]));
    cluster.packet(NOW, link, &bytes);
    let turn = cluster.end_turn(NOW);
    assert!(matches!(&turn.actions[..], [Action::Deliver { message, .. }] if message == b"m"));
}
