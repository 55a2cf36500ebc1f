//! Packets of real nodes (specification, 1.9), read and written again to the byte, and what real nodes refuse.

use super::super::address::IpText;
use super::super::flags::NodeFlags;
use super::super::node_id::NodeId;
use super::super::slots::SlotSet;
use super::layout::*;
use super::*;

const FEA2: &str = "fea204be97b7386aa6a32796ea2caffcc63cc635";
const DD8B: &str = "dd8b7b4c6a413dc95c5f2193ada4615b797796f0";

fn id(text: &str) -> NodeId {
    NodeId::parse(text.as_bytes()).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|char| char.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

/// Zeros, but for the areas given.
fn captured(length: usize, areas: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (at, area) in areas {
        bytes[*at..*at + area.len()].copy_from_slice(area);
    }
    bytes
}

fn header_and_body(bytes: &[u8]) -> (Header, Body<'_>) {
    assert_eq!(frame(bytes), Ok(Frame::Whole(bytes.len())));
    match decode(bytes) {
        Ok(Packet::Full { header, body }) => (header, body),
        other => panic!("{other:?}"),
    }
}

fn header() -> Header {
    Header {
        sender: id(FEA2),
        current_epoch: 7,
        config_epoch: 2,
        offset: 42,
        slots: SlotSet::range(5461, 10922),
        primary: NodeId::NONE,
        ip: IpText::EMPTY,
        port: 0x5209,
        other_port: 0,
        bus_port: 0x521d,
        flags: NodeFlags(0x0111),
        is_down: false,
        message: MessageFlags::default(),
    }
}

#[test]
fn a_captured_meet_is_a_fresh_primary_with_its_slots() {
    let bytes = captured(
        2256,
        &[
            (
                0,
                &hex("52436d62 000008d0 0001 5209 0002 0000 0000000000000002 0000000000000002"),
            ),
            (
                0x28,
                &hex(
                    "66656132303462653937623733383661613661333237393665613263616666636336336363363335",
                ),
            ),
            (0x50, SlotSet::range(5461, 10922).to_wire()),
            (0x8c8, &hex("521d 0011 01 000000")),
        ],
    );
    assert_eq!(bytes[0x50 + 682], 0xe0);
    let (read, body) = header_and_body(&bytes);
    assert!(matches!(body, Body::Gossip { kind: Kind::Meet, gossip, .. } if gossip.is_empty()));
    let expected = Header {
        current_epoch: 2,
        offset: 0,
        flags: NodeFlags(0x0011),
        is_down: true,
        ..header()
    };
    assert_eq!(read, expected);
}

#[test]
fn a_captured_ping_tells_of_three_nodes() {
    let entry = |ping: &str, ip: &str, rest: &str| {
        let mut ip = ip.as_bytes().to_vec();
        ip.resize(46, 0);
        [DD8B.as_bytes(), &hex(ping), &ip, &hex(rest)].concat()
    };
    let one = entry("00000000 6b00c14b", "127.0.0.1", "520b 521f 0001 0000 0000");
    assert_eq!(one.len(), 104);
    let bytes = captured(
        2568,
        &[
            (
                0,
                &hex("52436d62 00000a08 0001 520c 0000 0003 0000000000000006 0000000000000005"),
            ),
            (0x28, FEA2.as_bytes()),
            (0x8c8, &hex("5220 0011 01 000000")),
            (0x8d0, &[&one[..], &one, &one].concat()),
        ],
    );
    let (read, body) = header_and_body(&bytes);
    assert_eq!((read.port, read.bus_port), (0x520c, 0x5220));
    assert_eq!((read.current_epoch, read.config_epoch), (6, 5));
    let Body::Gossip {
        kind: Kind::Ping,
        gossip,
        ..
    } = body
    else {
        panic!("{body:?}");
    };
    assert_eq!(gossip.len(), 3);
    let entries: Vec<GossipEntry> = gossip.iter().collect();
    let expected = GossipEntry {
        id: id(DD8B),
        ping_sent_s: 0,
        pong_received_s: 0x6b00c14b,
        ip: IpText::new("127.0.0.1"),
        port: 0x520b,
        bus_port: 0x521f,
        flags: NodeFlags::PRIMARY,
        other_port: 0,
    };
    assert_eq!(entries, vec![expected; 3]);
    // Written again: the same, but that this server says that it reads extensions.
    let mut written = super::gossip(Kind::Ping, &read, &entries, &[]);
    assert_eq!(written[MFLAGS], 4);
    written[MFLAGS] = 0;
    assert!(written == bytes);
}

#[test]
fn a_captured_fail_is_written_as_it_was_read() {
    let bytes = captured(
        2296,
        &[
            (
                0,
                &hex(
                    "52436d62 000008f8 0001 5209 0003 0000 0000000000000007 0000000000000002 000000000000002a",
                ),
            ),
            (0x28, FEA2.as_bytes()),
            (0x50, SlotSet::range(5461, 10922).to_wire()),
            (0x8c8, &hex("521d 0111 00 000000")),
            (
                0x8d0,
                &hex(
                    "64643862376234633661343133646339356335663231393361646134363135623739373739366630",
                ),
            ),
        ],
    );
    let (read, body) = header_and_body(&bytes);
    assert!(matches!(body, Body::Fail(failed) if failed == id(DD8B)));
    assert_eq!(read, header());
    assert!(fail(&read, id(DD8B)) == bytes);
}

#[test]
fn captured_requests_and_votes_are_headers_alone() {
    let primary = "0845".repeat(10);
    let request = captured(
        2256,
        &[
            (
                0,
                &hex(
                    "52436d62 000008d0 0001 520b 0005 0000 0000000000000007 0000000000000001 000000000000001c",
                ),
            ),
            (0x28, DD8B.as_bytes()),
            (0x50, SlotSet::range(0, 5460).to_wire()),
            (0x850, primary.as_bytes()),
            (0x8c8, &hex("521f 0012 00 020000")),
        ],
    );
    let (read, body) = header_and_body(&request);
    assert!(matches!(body, Body::AuthRequest));
    assert!(read.message.has(MessageFlags::FORCE_ACK) && !read.message.has(MessageFlags::PAUSED));
    assert_eq!(read.primary, id(&primary));
    assert_eq!(read.flags, NodeFlags::MYSELF | NodeFlags::REPLICA);
    assert_eq!(read.offset, 0x1c);
    assert!(plain(Kind::AuthRequest, &read) == request);
    for (kind, body_is) in [
        (
            Kind::AuthAck,
            (|body| matches!(body, Body::AuthAck)) as fn(&Body<'_>) -> bool,
        ),
        (Kind::MfStart, |body| matches!(body, Body::MfStart)),
    ] {
        let bytes = plain(kind, &read);
        assert_eq!(u16_at(&bytes, TYPE), kind.number());
        assert!(body_is(&header_and_body(&bytes).1));
    }
}

#[test]
fn a_captured_update_names_the_owner_and_its_slots() {
    let owner = "0845".repeat(10);
    let bytes = captured(
        4352,
        &[
            (
                0,
                &hex("52436d62 00001100 0001 520c 0007 0000 0000000000000008 0000000000000002"),
            ),
            (0x28, FEA2.as_bytes()),
            (0x8c8, &hex("5220 0012 00 000000")),
            (0x8d0, &hex("0000000000000008")),
            (0x8d8, owner.as_bytes()),
            (0x900, SlotSet::range(0, 5460).to_wire()),
        ],
    );
    let (read, body) = header_and_body(&bytes);
    let Body::Update {
        config_epoch: 8,
        owner: named,
        slots,
    } = body
    else {
        panic!("{body:?}");
    };
    assert_eq!(named, id(&owner));
    assert_eq!(slots.ranges(), [(0, 5460)]);
    assert!(update(&read, 8, named, &slots) == bytes);
}

#[test]
fn captured_messages_have_channel_and_text() {
    let publish_bytes = captured(
        2275,
        &[
            (0, &hex("52436d62 000008e3 0001 5208 0004 0000")),
            (0x8d0, &hex("00000005 00000006 68656c6c6f776f726c6431")),
        ],
    );
    let (read, body) = header_and_body(&publish_bytes);
    let hello = Message {
        is_sharded: false,
        channel: b"hello",
        message: b"world1",
    };
    assert!(matches!(body, Body::Publish(message) if message == hello));
    assert!(publish(&read, false, b"hello", b"world1") == publish_bytes);
    let sharded = captured(
        2272,
        &[
            (0, &hex("52436d62 000008e0 0001 5208 000a 0000")),
            (0x8d0, &hex("00000004 00000004 6368616e6d736732")),
        ],
    );
    let (read, body) = header_and_body(&sharded);
    assert!(
        matches!(body, Body::Publish(message) if message.is_sharded && message.channel == b"chan")
    );
    assert!(publish(&read, true, b"chan", b"msg2") == sharded);
}

#[test]
fn a_message_under_a_light_header_has_the_bytes_of_valkey() {
    let bytes =
        hex("52436d62 00000023 0001 0000 8004 0000 00000005 00000006 68656c6c6f 776f726c6431");
    assert_eq!(frame(&bytes), Ok(Frame::Whole(35)));
    assert!(light_publish(false, b"hello", b"world1") == bytes);
    assert!(matches!(
        decode(&bytes),
        Ok(Packet::Light(Light::Publish(message))) if message.message == b"world1"
    ));
    let mut other = bytes.clone();
    other[13] = 3;
    assert_eq!(decode(&other).unwrap_err(), Ignored::LightKind(0x8003));
    let mut short = bytes;
    short[7] = 23;
    assert_eq!(frame(&short), Err(BadFrame::TooShort(23)));
}

#[test]
fn a_captured_ping_with_a_host_name_has_one_padded_extension() {
    let bytes = captured(
        2288,
        &[
            (0, &hex("52436d62 000008f0 0001 5209 0002 0000")),
            (0x8a6, &hex("0001")),
            (0x8cc, &hex("01 040000")),
            (
                0x8d0,
                &hex("00000020 0000 0000 686f7374312e6578616d706c652e636f6d"),
            ),
        ],
    );
    let (read, body) = header_and_body(&bytes);
    let Body::Gossip { extensions, .. } = body else {
        panic!("{body:?}");
    };
    let name = Extension::Hostname("host1.example.com");
    assert_eq!(extensions.iter().collect::<Vec<_>>(), [name]);
    assert!(super::gossip(Kind::Meet, &read, &[], &[name]) == bytes);
}

#[test]
fn every_extension_comes_back_and_unknown_ones_are_passed_over() {
    let all = [
        Extension::Hostname("1234567"),
        Extension::NodeName("east"),
        Extension::Forgotten {
            id: id(DD8B),
            ttl_s: 59,
        },
        Extension::Unknown(77),
        Extension::ShardId(id(FEA2)),
    ];
    let bytes = super::gossip(Kind::Pong, &header(), &[], &all);
    let lengths: Vec<usize> = all.iter().map(Extension::length).collect();
    assert_eq!(lengths, [16, 16, 56, 8, 48]);
    let (_, body) = header_and_body(&bytes);
    let Body::Gossip { extensions, .. } = body else {
        panic!("{body:?}");
    };
    assert_eq!(extensions.iter().collect::<Vec<_>>(), all);
}

#[test]
fn names_that_no_file_could_hold_are_not_taken_from_an_extension() {
    let mut bytes = super::gossip(
        Kind::Ping,
        &header(),
        &[],
        &[Extension::Hostname("a.b"), Extension::ShardId(id(FEA2))],
    );
    bytes[HEADER + EXTENSION_HEADER + 1] = b'\n';
    bytes[HEADER + 16 + EXTENSION_HEADER] = b'X';
    let (_, body) = header_and_body(&bytes);
    let Body::Gossip { extensions, .. } = body else {
        panic!("{body:?}");
    };
    let read: Vec<Extension<'_>> = extensions.iter().collect();
    assert_eq!(read, [Extension::Unknown(0), Extension::Unknown(3)]);
}

#[test]
fn module_packets_have_a_raw_id_and_a_payload() {
    let bytes = module(&header(), *b"\x01mod    ", 9, b"payload");
    assert_eq!(bytes.len(), 2269 + 7);
    let (_, body) = header_and_body(&bytes);
    assert!(matches!(
        body,
        Body::Module(message) if message.module == *b"\x01mod    " && message.kind == 9 && message.payload == b"payload"
    ));
}

#[test]
fn what_is_not_the_protocol_ends_the_link() {
    let ping = super::gossip(Kind::Ping, &header(), &[], &[]);
    let mut bad = ping.clone();
    bad[3] = b'x';
    assert_eq!(frame(&bad), Err(BadFrame::Signature(*b"RCmx")));
    assert_eq!(frame(b"RX"), Err(BadFrame::Signature(*b"RX\0\0")));
    let mut short = ping.clone();
    short[TOTLEN..TOTLEN + 4].copy_from_slice(&2255u32.to_be_bytes());
    assert_eq!(frame(&short), Err(BadFrame::TooShort(2255)));
    let mut long = ping;
    long[TOTLEN..TOTLEN + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(frame(&long), Err(BadFrame::TooLong(u32::MAX)));
    assert_eq!(frame(&long[..8]), Err(BadFrame::TooLong(u32::MAX)));
}

#[test]
fn a_packet_is_whole_when_its_last_byte_is_there_and_not_before() {
    let mut stream = super::gossip(Kind::Ping, &header(), &[], &[Extension::ShardId(id(FEA2))]);
    let length = stream.len();
    stream.extend(fail(&header(), id(DD8B)));
    for have in 0..length {
        let Ok(Frame::Incomplete { missing }) = frame(&stream[..have]) else {
            panic!("whole with {have} of {length} bytes");
        };
        assert!(missing > 0 && have + missing <= length);
    }
    assert_eq!(frame(&stream[..length]), Ok(Frame::Whole(length)));
    assert_eq!(frame(&stream), Ok(Frame::Whole(length)));
    assert_eq!(frame(&stream[length..]), Ok(Frame::Whole(2296)));
}

/// `ping`, changed and with its length put right.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = super::gossip(Kind::Ping, &header(), &[], &[Extension::ShardId(id(FEA2))]);
    change(&mut bytes);
    let length = (bytes.len() as u32).to_be_bytes();
    bytes[TOTLEN..TOTLEN + 4].copy_from_slice(&length);
    bytes
}

#[test]
fn lengths_that_do_not_add_up_cost_the_packet_and_not_the_link() {
    for (what, bytes) in [
        ("a byte more", changed(|bytes| bytes.push(0))),
        (
            "a byte less",
            changed(|bytes| bytes.truncate(bytes.len() - 1)),
        ),
        (
            "more gossip than is there",
            changed(|bytes| bytes[COUNT + 1] = 1),
        ),
        (
            "all the gossip there can be",
            changed(|bytes| bytes[COUNT..COUNT + 2].fill(0xff)),
        ),
        (
            "an extension that is not padded",
            changed(|bytes| bytes[HEADER + 3] = 47),
        ),
        (
            "an extension that is too long",
            changed(|bytes| bytes[HEADER + 3] = 56),
        ),
        (
            "an extension of a huge length",
            changed(|bytes| bytes[HEADER] = 0xff),
        ),
        (
            "an extension of no length",
            changed(|bytes| bytes[HEADER + 3] = 0),
        ),
        (
            "fewer extensions than announced",
            changed(|bytes| bytes[EXTENSIONS + 1] = 2),
        ),
        (
            "an extension without the flag",
            changed(|bytes| bytes[MFLAGS] = 0),
        ),
        (
            "a short FAIL",
            changed(|bytes| {
                bytes[TYPE + 1] = 3;
                bytes.truncate(HEADER + 39);
            }),
        ),
        (
            "a PUBLISH of lengths that wrap",
            changed(|bytes| {
                bytes[TYPE + 1] = 4;
                bytes[HEADER..HEADER + 8].fill(0xff);
            }),
        ),
        (
            "a PUBLISH without lengths",
            changed(|bytes| {
                bytes[TYPE + 1] = 10;
                bytes.truncate(HEADER);
            }),
        ),
        (
            "a MODULE without its length",
            changed(|bytes| {
                bytes[TYPE + 1] = 9;
                bytes.truncate(HEADER + 12);
            }),
        ),
        (
            "an UPDATE without slots",
            changed(|bytes| bytes[TYPE + 1] = 7),
        ),
        ("a vote with a body", changed(|bytes| bytes[TYPE + 1] = 6)),
    ] {
        assert_eq!(frame(&bytes), Ok(Frame::Whole(bytes.len())), "{what}");
        let refused = decode(&bytes).expect_err(what);
        assert!(
            matches!(refused, Ignored::Length { .. }),
            "{what}: {refused}"
        );
    }
    let other_version = changed(|bytes| bytes[VER + 1] = 2);
    assert_eq!(decode(&other_version).unwrap_err(), Ignored::Version(2));
}

#[test]
fn a_type_of_a_newer_version_is_its_header_alone() {
    let (read, body) = {
        let bytes = changed(|bytes| bytes[TYPE + 1] = 77);
        let (read, body) = header_and_body(&bytes);
        (read, matches!(body, Body::Unknown(77)))
    };
    assert!(body);
    assert_eq!(read.sender, id(FEA2));
}

#[test]
fn extensions_may_be_announced_and_be_none() {
    let bytes = super::gossip(Kind::Ping, &header(), &[], &[]);
    assert_eq!((bytes.len(), bytes[MFLAGS]), (2256, 4));
    assert!(decode(&bytes).is_ok());
}
