//! The format against what real servers have written, and against itself.

use super::payload::{PayloadError, dump, restore};
use super::*;
use crate::base::crc64::{self, crc64};
use crate::base::random::Random;
use crate::config::Config;
use crate::keyspace::Value;
use crate::structures::entry::{NewValue, Payload};
use crate::structures::hash::Hash;
use crate::structures::list::List;
use crate::structures::quicklist::{End, Fill};
use crate::structures::set::Set;
use crate::structures::stream::{NodeLimits, Stream, StreamId};
use crate::structures::zset::{AddOptions, Zset};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn limits() -> Limits {
    Limits::of(&Config::default())
}

fn seal(mut body: Vec<u8>) -> Vec<u8> {
    body.extend_from_slice(&11u16.to_le_bytes());
    let sum = crc64(&body);
    body.extend_from_slice(&sum.to_le_bytes());
    body
}

fn load(body: &str) -> Result<Content, PayloadError> {
    restore(&seal(hex(body)), &limits(), true)
}

/// A value as text: `list[a b]`, `set{a b}`, `hash{f=v}`, `zset{a=1}`, in the order of the structure but for sets and
/// hashes, which are sorted.
fn show(content: &Content) -> String {
    match content {
        Content::Int(value) => format!("int {value}"),
        Content::Bytes(bytes) => format!("bytes {}", String::from_utf8_lossy(bytes)),
        Content::Empty => "empty".into(),
        Content::Raw(raw) => show(&raw.decode(&limits()).expect("what was written is right")),
        Content::Value(value) => show_value(value),
    }
}

fn show_value(value: &Value) -> String {
    let text = |item: &crate::structures::listpack::Item<'_>| {
        String::from_utf8_lossy(&item.to_vec()).into_owned()
    };
    match value {
        Value::List(list) => {
            let all: Vec<String> = list.iter().map(|item| text(&item)).collect();
            format!("list[{}]", all.join(" "))
        }
        Value::Set(set) => {
            let mut all: Vec<String> = set.iter().map(|item| text(&item)).collect();
            all.sort();
            format!("{}{{{}}}", value.encoding_name(), all.join(" "))
        }
        Value::Hash(hash) => {
            let mut all: Vec<String> = hash
                .iter()
                .map(|(field, value)| format!("{}={}", text(&field), text(&value)))
                .collect();
            all.sort();
            format!("hash {}{{{}}}", value.encoding_name(), all.join(" "))
        }
        Value::Zset(zset) => {
            let all: Vec<String> = zset
                .iter(0..zset.len())
                .map(|(member, score)| format!("{}={score}", text(&member)))
                .collect();
            format!("zset {}{{{}}}", value.encoding_name(), all.join(" "))
        }
        Value::Stream(stream) => show_stream(stream),
    }
}

fn show_stream(stream: &Stream) -> String {
    let mut text = format!(
        "stream {} last {} first {} deleted {} added {}",
        stream.length(),
        stream.last_id,
        stream.first_id(),
        stream.max_deleted_id,
        stream.entries_added
    );
    for entry in stream.range(StreamId::MIN, StreamId::MAX) {
        text += &format!(" {}:", entry.id);
        for (field, value) in entry.pairs() {
            text += &format!(
                "{}={},",
                String::from_utf8_lossy(&field.to_vec()),
                String::from_utf8_lossy(&value.to_vec())
            );
        }
    }
    for group in stream.groups() {
        let name = String::from_utf8_lossy(group.name());
        text += &format!(
            " group {name} at {} read {}",
            group.last_id, group.entries_read
        );
        for (id, pending) in group.pending_from(StreamId::MIN) {
            text += &format!(" {id}@{}x{}", pending.delivery_time, pending.deliveries);
        }
        for consumer in group.consumers() {
            let name = String::from_utf8_lossy(consumer.name());
            text += &format!(
                " {name} {} {} owns",
                consumer.seen_time, consumer.active_time
            );
            for id in consumer.pending_from(StreamId::MIN) {
                text += &format!(" {id}");
            }
        }
    }
    text
}

#[test]
fn strings_take_their_shortest_form() {
    for (text, expected) in [
        (&b""[..], "00"),
        (b"0", "C000"),
        (b"-1", "C0FF"),
        (b"-128", "C080"),
        (b"128", "C18000"),
        (b"-32769", "C2FF7FFFFF"),
        (b"2147483648", "0A32313437343833363438"),
        (b"01", "023031"),
        (&[b'a'; 21], "C305150061E00B00"),
        (&[b'x'; 20], &format!("14{}", "78".repeat(20))),
    ] {
        let mut writer = Writer::new(true);
        writer.string(text);
        assert_eq!(writer.out, hex(expected), "{text:?}");
    }
    let mut writer = Writer::new(false);
    writer.string(&[b'a'; 21]);
    assert_eq!(writer.out.len(), 22);
}

#[test]
fn what_real_servers_have_written_is_read() {
    let big = "-1000000000000000000";
    for (body, expected) in [
        ("00 0568656c6c6f", "bytes hello"),
        ("00 c00c", "int 12"),
        ("00 c118fc", "int -1000"),
        ("00 c2a0860100", "int 100000"),
        (
            "12 01 02 13 13000000 0300 816102 0101 8568656c6c6f06 ff",
            "list[a 1 hello]",
        ),
        (
            "12 02 01 086162636465666768 02 09 090000000100 0101 ff",
            "list[abcdefgh 1]",
        ),
        ("01 02 0161 c005", "list[a 5]"),
        (
            "0a 1c 1c0000000e0000000300 00f3 02f6 020b48656c6c6f20576f726c64 ff",
            "list[2 5 Hello World]",
        ),
        (
            "0a37370000002f0000000900 00f1 02fd 02fef0 03c018fc 04f0a08601 05d000ca9a3b 06e000009c584c491ff2 0a40026162 058000000001 63 ff",
            &format!("list[0 12 -16 -1000 100000 1000000000 {big} ab c]"),
        ),
        (
            "0e 02 0e0e0000000a0000000100000161ff 0e0e0000000a0000000100000162ff",
            "list[a b]",
        ),
        ("02 01 0161", "listpack{a}"),
        ("0b 0e 02000000 03000000 0100 0200 0300", "intset{1 2 3}"),
        (
            "0b 10 04000000 02000000 ffffffff 00000100",
            "intset{-1 65536}",
        ),
        (
            "0b c31218 040800000002200300012003c000200b0000",
            "intset{1 4294967296}",
        ),
        (
            "14 0f 0f0000000300 816102 816202 0701 ff",
            "listpack{7 a b}",
        ),
        (
            "11 14 140000000400 816102 0101 816202 83322e3504 ff",
            "zset listpack{a=1 b=2.5}",
        ),
        (
            "05 02 0161 000000000000f83f 0162 00000000000000c0",
            "zset listpack{b=-2 a=1.5}",
        ),
        (
            "03 03 0161 03312e35 0162 fe 0163 ff",
            "zset listpack{c=-inf a=1.5 b=inf}",
        ),
        (
            "0c 18 18000000120000000400 000161 03f2 020162 0303322e35 ff",
            "zset listpack{a=1 b=2.5}",
        ),
        (
            "10 12 120000000400 816602 817602 816e02 0701 ff",
            "hash listpack{f=v n=7}",
        ),
        ("04 01 0166 0176", "hash listpack{f=v}"),
        (
            "0d 16 16000000130000000400 000166 030176 03016e 03f8 ff",
            "hash listpack{f=v n=7}",
        ),
        (
            "13 01 10 00000000000000010000000000000001 1d 1d0000000a00 0101 0001 0101 816602 0001 0201 0001 0001 817602 0401 ff 01 01 01 01 01 00 00 01 00",
            "stream 1 last 1-1 first 1-1 deleted 0-0 added 1 1-1:f=v,",
        ),
        (
            "0f 01 10 00000000000000010000000000000001 1d 1d0000000a00 0101 0001 0101 816602 0001 0201 0001 0001 817602 0401 ff 01 01 01 00",
            "stream 1 last 1-1 first 1-1 deleted 0-0 added 1 1-1:f=v,",
        ),
        (
            "0f 01 10 00000000000000010000000000000001 1d 1d0000000a00 0101 0001 0101 816602 0001 0201 0001 0001 817602 0401 ff 01 01 01 01 0167 01 01 01 00000000000000010000000000000001 e803000000000000 01 01 0163 e803000000000000 01 00000000000000010000000000000001",
            "stream 1 last 1-1 first 1-1 deleted 0-0 added 1 1-1:f=v, group g at 1-1 read 1 1-1@1000x1 c 1000 1000 owns 1-1",
        ),
        (
            "15 01 10 00000000000000010000000000000001 1d 1d0000000a00 0101 0001 0101 816602 0001 0201 0001 0001 817602 0401 ff 01 01 01 01 01 00 00 01 01 0167 01 01 01 01 00000000000000010000000000000001 2594f6faa1010000 01 01 0163 2594f6faa1010000 2594f6faa1010000 01 00000000000000010000000000000001",
            "stream 1 last 1-1 first 1-1 deleted 0-0 added 1 1-1:f=v, group g at 1-1 read 1 1-1@1795211826213x1 c 1795211826213 1795211826213 owns 1-1",
        ),
        (
            "13 00 00 05 06 00 00 05 06 07 00",
            "stream 0 last 5-6 first 0-0 deleted 5-6 added 7",
        ),
        (
            "09 19 02 03666f6f 03 00 626172 05 68656c6c6f 05 01 776f726c64 5a ff",
            "hash listpack{foo=bar hello=world}",
        ),
    ] {
        assert_eq!(
            load(body).map(|content| show(&content)),
            Ok(expected.to_owned()),
            "{body}"
        );
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let at = |offset, what| Err(PayloadError::Content(Problem { offset, what }));
    for (body, expected) in [
        ("00 0568656c6c", at(6, What::Truncated)),
        ("00 82", at(1, What::Length(0x82))),
        ("01 c001", at(1, What::Length(0xc0))),
        ("02 02 0161 0161", at(4, What::Duplicate)),
        ("04 02 0161 0162 0161 0162", at(6, What::Duplicate)),
        ("05 01 0161 000000000000f87f", at(4, What::Score)),
        ("03 01 0161 fd", at(4, What::Score)),
        ("12 01 03 0161", at(2, What::Container(3))),
        ("12 01 01 00", at(2, What::Odd)),
        ("10 09 090000000100 0101 ff", at(1, What::Odd)),
        (
            "11 0c 0c0000000200 816102 816102 ff",
            at(
                1,
                What::Listpack(crate::structures::listpack::ListpackError::WrongTotal {
                    declared: 12,
                    len: 12,
                }),
            ),
        ),
        ("08 00", at(1, What::Type(8))),
        (
            "07 81 0000000000000401",
            at(1, What::Module("AAAAAAAAB".into(), 1)),
        ),
        ("00 81 ffffffffffffffff", at(10, What::TooLong)),
        (
            "00 c3 04 81 0000000080000000 00000000",
            at(12, What::TooLong),
        ),
    ] {
        let loaded = load(body).map(|content| show(&content));
        if body.starts_with("11") {
            assert!(loaded.is_err());
            continue;
        }
        assert_eq!(loaded, expected, "{body}");
    }
    assert!(matches!(load("02 00"), Err(PayloadError::Content(_))));
    assert_eq!(
        restore(b"short", &limits(), true).map(|_| ()),
        Err(PayloadError::Footer)
    );
    // A length is believed only as far as there are bytes: nothing is allocated for four milliards of members.
    for kind in ["01", "02", "04", "05", "12"] {
        let loaded = load(&format!("{kind} 80ffffffff 0161"));
        assert!(matches!(loaded, Err(PayloadError::Content(_))), "{kind}");
    }
}

/// A random value of any type and encoding.
fn random_value(random: &mut Random) -> NewValue<'static, Value> {
    let mut word = {
        let mut random = Random::new(random.next_u64());
        move || -> Vec<u8> {
            match random.below(6) {
                0 => random.below(300).to_string().into_bytes(),
                1 => (random.next_u64() as i64).to_string().into_bytes(),
                2 => vec![b'a' + random.below(3) as u8; random.below(200) as usize],
                3 => (0..random.below(20))
                    .map(|_| random.next_u64() as u8)
                    .collect(),
                4 => vec![b'z'; random.below(6000) as usize],
                _ => format!("m{}", random.below(1000)).into_bytes(),
            }
        }
    };
    let count = [1, 5, 100, 600, 3000][random.below(5) as usize];
    let config = Config::default();
    let limits = Limits::of(&config);
    match random.below(8) {
        7 => NewValue::Boxed(Box::new(Value::Stream(Box::new(random_stream(random))))),
        0 => NewValue::Int(random.next_u64() as i64 >> random.below(60)),
        1 => NewValue::Long(Box::new([&b"x"[..], &word()].concat())),
        2 => {
            let mut list = List::new();
            let fill = Fill::new([-2, 1, 5, -1][random.below(4) as usize]);
            (0..count).for_each(|_| list.push(End::Tail, &word(), fill));
            NewValue::Boxed(Box::new(Value::List(list)))
        }
        3 => {
            let mut set = Set::new();
            for _ in 0..count {
                set.add(
                    &(random.next_u64() as i32).to_string().into_bytes(),
                    limits.set,
                );
            }
            NewValue::Boxed(Box::new(Value::Set(set)))
        }
        4 => {
            let mut set = Set::new();
            (0..count).for_each(|_| {
                set.add(&word(), limits.set);
            });
            NewValue::Boxed(Box::new(Value::Set(set)))
        }
        5 => {
            let mut hash = Hash::new();
            (0..count).for_each(|_| {
                hash.set(&word(), &word(), limits.hash);
            });
            NewValue::Boxed(Box::new(Value::Hash(hash)))
        }
        _ => {
            let mut zset = Zset::new();
            for _ in 0..count {
                let score = match random.below(4) {
                    0 => random.below(10) as f64,
                    1 => f64::from_bits(random.next_u64()),
                    2 => f64::INFINITY,
                    _ => random.next_u64() as f64 / 7.0,
                };
                if !score.is_nan() {
                    zset.add(&word(), score, AddOptions::default(), limits.zset);
                }
            }
            zset.add(b"one at least", 1.0, AddOptions::default(), limits.zset);
            NewValue::Boxed(Box::new(Value::Zset(zset)))
        }
    }
}

/// A random stream with deleted entries, groups, and pending entries with owners.
fn random_stream(random: &mut Random) -> Stream {
    let mut stream = Stream::new();
    let limits = NodeLimits::new(4096, [3, 100][random.below(2) as usize]);
    let count = random.below(300);
    for number in 1..=count {
        let field = format!("f{}", random.below(3));
        let value = vec![b'v'; random.below(50) as usize];
        let fields = [field.as_bytes(), &value];
        stream.append(
            StreamId::new(number, random.below(3)),
            fields.into_iter(),
            limits,
        );
    }
    let gone: Vec<StreamId> = stream
        .range(StreamId::MIN, StreamId::MAX)
        .map(|entry| entry.id)
        .filter(|_| random.below(4) == 0)
        .collect();
    stream.delete(gone.into_iter());
    for name in ["g", "h"] {
        let read = [-1, 5][random.below(2) as usize];
        let mut group = crate::structures::stream::Group::new(
            name.as_bytes(),
            StreamId::new(random.below(300), 0),
            read,
        );
        for consumer in ["c", "d", "idle"] {
            let place = group.create_consumer(consumer.as_bytes(), 1000).unwrap();
            group.consumer_mut(place).active_time = 1000;
            for number in 0..random.below(20) {
                if consumer != "idle" {
                    let id = StreamId::new(random.below(300), number);
                    group.assign(id, place, random.below(1 << 40) as i64, 1 + number);
                }
            }
        }
        assert!(stream.put_group(Box::new(group)).is_ok());
    }
    stream
}

fn show_new(value: &NewValue<'_, Value>) -> String {
    match value {
        NewValue::Int(value) => format!("int {value}"),
        NewValue::Bytes(bytes) => format!("bytes {}", String::from_utf8_lossy(bytes)),
        NewValue::Long(bytes) => format!("bytes {}", String::from_utf8_lossy(bytes)),
        NewValue::Boxed(value) => show_value(value),
    }
}

fn payload_of<'a>(value: &'a NewValue<'_, Value>) -> Payload<'a, Value> {
    match value {
        NewValue::Int(value) => Payload::Int(*value),
        NewValue::Bytes(bytes) => Payload::Bytes(bytes),
        NewValue::Long(bytes) => Payload::Bytes(bytes),
        NewValue::Boxed(value) => Payload::Boxed(value),
    }
}

#[test]
fn any_value_reads_back_as_it_was_written() {
    let mut random = Random::new(1);
    for _ in 0..150 {
        let value = random_value(&mut random);
        let expected = show_new(&value);
        for compress in [false, true] {
            let bytes = dump(&payload_of(&value), compress);
            let read = restore(&bytes, &limits(), true).expect("what was written is right");
            assert_eq!(show(&read), expected);
            let body = bytes.len() - 11;
            assert_eq!(payload::dump_bytes(&payload_of(&value), compress), body);
        }
    }
}

#[test]
fn no_damage_to_a_payload_makes_it_panic() {
    let mut random = Random::new(2);
    for _ in 0..1000 {
        let value = random_value(&mut random);
        let mut bytes = dump(&payload_of(&value), random.below(2) == 0);
        bytes.truncate(bytes.len() - 10);
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len().min(2000) as u64) as usize;
            match random.below(3) {
                0 => bytes[at] = random.next_u64() as u8,
                1 => bytes[at] ^= 1 << random.below(8),
                _ => bytes.truncate(at.max(1)),
            }
        }
        if let Ok(Content::Value(value)) = restore(&seal(bytes), &limits(), true) {
            match &*value {
                Value::List(list) => list.check(),
                Value::Set(set) => set.check(),
                Value::Hash(hash) => hash.check(),
                Value::Zset(zset) => zset.check(),
                Value::Stream(stream) => stream.check(),
            }
        }
    }
}

/// A file of random keys, and what should come out of it.
fn random_file(random: &mut Random, keys: usize) -> (Vec<u8>, Vec<String>) {
    let mut writer = Writer::new(random.below(2) == 0);
    let mut expected = vec!["aux redis-bits=64".to_owned()];
    writer.magic();
    writer.aux(b"redis-bits", b"64");
    writer.function(b"#!lua name=l\nreturn 1");
    expected.push("function #!lua name=l\nreturn 1".into());
    writer.select(3, keys, 1);
    expected.push(format!("sizes 3 {keys} 1"));
    for number in 0..keys {
        let key = format!("key:{number}");
        let value = random_value(random);
        let expire_at = (random.below(3) == 0).then(|| random.next_u64() as i64);
        let usage = match random.below(3) {
            0 => Usage::Idle(random.below(1 << 20)),
            1 => Usage::Freq(random.below(256) as u8),
            _ => Usage::None,
        };
        let payload = payload_of(&value);
        writer.entry(key.as_bytes(), Writer::type_of(&payload), expire_at, usage);
        writer.value(&payload, |_| {});
        let (idle, freq) = match usage {
            Usage::None => (None, None),
            Usage::Idle(seconds) => (Some(seconds), None),
            Usage::Freq(counter) => (None, Some(counter)),
        };
        expected.push(format!(
            "{key} {} {expire_at:?} {idle:?} {freq:?}",
            show_new(&value)
        ));
    }
    writer.end();
    let sum = crc64::crc64(&writer.out);
    writer.out.extend_from_slice(&sum.to_le_bytes());
    (writer.out, expected)
}

fn read_in_pieces(file: &[u8], mut piece: impl FnMut() -> usize) -> Result<Vec<String>, Problem> {
    let mut reader = Reader::new(limits(), true);
    let (mut rest, mut all) = (file, Vec::new());
    loop {
        match reader.next_event()? {
            Event::More if rest.is_empty() => reader.end(),
            Event::More => {
                let (now, later) = rest.split_at(piece().min(rest.len()));
                reader.feed(now);
                rest = later;
            }
            Event::Aux(name, value) => all.push(format!(
                "aux {}={}",
                String::from_utf8_lossy(&name),
                String::from_utf8_lossy(&value)
            )),
            Event::Function(source) => {
                all.push(format!("function {}", String::from_utf8_lossy(&source)))
            }
            Event::ModuleAux(name) => all.push(format!("module {name}")),
            Event::Sizes(db, keys, expires) => all.push(format!("sizes {db} {keys} {expires}")),
            Event::Key(loaded) => all.push(format!(
                "{} {} {:?} {:?} {:?}",
                String::from_utf8_lossy(&loaded.key),
                show(&loaded.content),
                loaded.expire_at,
                loaded.idle_seconds,
                loaded.freq
            )),
            Event::End => return Ok(all),
        }
    }
}

#[test]
fn a_file_reads_the_same_in_pieces_of_any_size() {
    let mut random = Random::new(3);
    for round in 0..8 {
        let (file, expected) = random_file(&mut random, 20);
        assert_eq!(read_in_pieces(&file, || usize::MAX).as_ref(), Ok(&expected));
        let mut sizes = Random::new(round);
        let read = read_in_pieces(&file, || 1 + sizes.below(4000) as usize);
        assert_eq!(read.as_ref(), Ok(&expected));
        if round == 0 {
            assert_eq!(read_in_pieces(&file, || 1).as_ref(), Ok(&expected));
        }
    }
}

#[test]
fn a_damaged_file_is_refused_wherever_it_was_damaged() {
    let mut random = Random::new(4);
    for _ in 0..30 {
        let (file, expected) = random_file(&mut random, 5);
        let mut cut = file.clone();
        cut.truncate(random.below(file.len() as u64) as usize);
        let problem = read_in_pieces(&cut, || 1000).expect_err("something is missing");
        assert_eq!(
            problem,
            Problem {
                offset: cut.len() as u64,
                what: What::Truncated
            }
        );
        let mut flipped = file.clone();
        let at = random.below(file.len() as u64) as usize;
        flipped[at] ^= 1 << random.below(8);
        // A checksum of zero would say that there is none; a flipped bit does not make one.
        match read_in_pieces(&flipped, || 1000) {
            Err(_) => {}
            // The version is covered by the checksum since it exists: an older one leaves it out.
            Ok(read) => assert!(
                at < 9 && read == expected,
                "damage at {at} of {}",
                file.len()
            ),
        }
    }
}

#[test]
fn files_of_old_versions_and_without_checksum_are_read() {
    let whole = hex("5245444953 30303130 fe00 000161 0162 ff 93717f17b9d077a8");
    assert_eq!(
        read_in_pieces(&whole, || 3).unwrap(),
        ["a bytes b None None None"]
    );
    let mut zero = whole.clone();
    zero[17..].fill(0);
    assert!(read_in_pieces(&zero, || 3).is_ok());
    let old = hex("5245444953 30303033 fe01 fd 64000000 000161 0162 ff");
    assert_eq!(
        read_in_pieces(&old, || 1).unwrap(),
        ["a bytes b Some(100000) None None"]
    );
    for (bytes, what) in [
        ("5245444953 30303132 ff", What::Version(12)),
        ("5245444953 30303030 ff", What::Version(0)),
        ("5245444954 30303130 ff", What::Magic),
        ("5245444953 3030313a ff", What::Magic),
    ] {
        assert_eq!(read_in_pieces(&hex(bytes), || 9).unwrap_err().what, what);
    }
}

#[test]
fn module_data_beside_the_keys_is_passed_over() {
    let mut file = hex(
        "5245444953 30303130 f7 81 0000000000000401 02 01 05 0161 04 0000000000000000 02 07 00 000161 0162 ff",
    );
    file.extend_from_slice(&[0; 8]);
    assert_eq!(
        read_in_pieces(&file, || 2).unwrap(),
        ["module AAAAAAAAB", "a bytes b None None None"]
    );
}

#[test]
fn a_packed_sorted_set_out_of_order_is_sorted() {
    let zset = load("11 11 110000000400 816202 0201 816102 0101 ff").unwrap();
    assert_eq!(show(&zset), "zset listpack{a=1 b=2}");
    let twice = load("11 11 110000000400 816102 0201 816102 0301 ff");
    assert!(twice.is_err());
}
