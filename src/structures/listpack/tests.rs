//! The listpack against vectors of strings, against Redis's own bytes and against hostile ones.

use super::*;

struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound.max(1)
    }

    /// Elements of every encoding, edges preferred, from a small enough set that they repeat.
    fn element(&mut self) -> Vec<u8> {
        const EDGES: [i64; 15] = [
            127,
            128,
            4095,
            -4096,
            4096,
            -4097,
            32767,
            -32769,
            8388607,
            -8388609,
            i32::MAX as i64 + 1,
            i32::MIN as i64,
            i64::MAX,
            i64::MIN,
            -1,
        ];
        match self.below(8) {
            0 => EDGES[self.below(EDGES.len())].to_string().into_bytes(),
            1 => self.below(300).to_string().into_bytes(),
            2 => vec![b'x'; [0, 1, 62, 63, 64, 65, 124, 125, 126, 127, 128][self.below(11)]],
            3 if self.below(20) == 0 => {
                vec![b'y'; [4094, 4095, 4096, 16377, 16378, 16379, 20000][self.below(7)]]
            }
            4 => [
                &b"-0"[..],
                b"00",
                b"+1",
                b"-",
                b"9223372036854775808",
                b"1 ",
                b"01",
            ][self.below(7)]
            .to_vec(),
            _ => format!("field:{:04}", self.below(50)).into_bytes(),
        }
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn pack(elements: &[&[u8]]) -> Listpack {
    let mut pack = Listpack::new();
    for element in elements {
        pack.push_back(element);
    }
    pack
}

fn texts(pack: &Listpack) -> Vec<Vec<u8>> {
    pack.iter().map(|item| item.to_vec()).collect()
}

#[test]
fn the_bytes_are_those_of_redis() {
    let vectors: [(&[&[u8]], &str); 4] = [
        (
            &[
                b"127",
                b"128",
                b"-1",
                b"4095",
                b"-4096",
                b"4096",
                b"-32769",
                b"8388608",
                b"2147483648",
                b"",
            ],
            "30000000 0a00 7f01 c08002 dfff02 cfff02 d00002 f1001003 f2ff7fff04 f30000800005 \
             f4000000800000000009 8001 ff",
        ),
        (
            &[b"a", b"1", b"hello"],
            "13000000 0300 816102 0101 8568656c6c6f06 ff",
        ),
        (
            &[b"f", b"v", b"n", b"7"],
            "12000000 0400 816602 817602 816e02 0701 ff",
        ),
        (
            &[b"a", b"1", b"b", b"2.5"],
            "14000000 0400 816102 0101 816202 83322e3504 ff",
        ),
    ];
    for (elements, bytes) in vectors {
        let made = pack(elements);
        assert_eq!(made.bytes(), hex(bytes));
        let read = Listpack::from_bytes(&hex(bytes)).unwrap();
        assert_eq!(texts(&read), elements);
    }
    assert_eq!(Listpack::new().bytes(), hex("07000000 0000 ff"));
}

#[test]
fn back_lengths_change_size_one_below_the_power() {
    for (l, bytes) in [
        (127, "7f"),
        (128, "0180"),
        (16382, "7ffe"),
        (16383, "00ffff"),
        (16384, "018080"),
        (2097150, "7ffffe"),
        (2097151, "00ffffff"),
    ] {
        let mut out = vec![0; backlen_size(l)];
        write_backlen(&mut out, l);
        assert_eq!(out, hex(bytes), "for {l}");
        let mut buf = vec![0; l];
        buf.extend(out);
        assert_eq!(entry_before(&buf, buf.len()), 0);
    }
}

#[test]
fn only_canonical_text_becomes_an_integer() {
    for text in [
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "10",
    ] {
        assert_eq!(Item::of(text.as_bytes()), Item::Int(text.parse().unwrap()));
        assert_eq!(Item::of(text.as_bytes()).text_len(), text.len());
    }
    for text in [
        "",
        "-",
        "-0",
        "00",
        "+1",
        "01",
        "1a",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        " 1",
        "1.0",
    ] {
        assert_eq!(Item::of(text.as_bytes()), Item::Bytes(text.as_bytes()));
    }
}

#[test]
fn every_operation_equals_that_of_a_vector() {
    for seed in 0..60 {
        let mut random = Seeded(seed);
        let (mut pack, mut model) = (Listpack::new(), Vec::<Vec<u8>>::new());
        for _ in 0..250 {
            let element = random.element();
            let at = random.below(model.len());
            match random.below(13) {
                0 | 1 => {
                    pack.push_back(&element);
                    model.push(element);
                }
                2 => {
                    pack.push_front(&element);
                    model.insert(0, element);
                }
                3 if !model.is_empty() => {
                    pack.insert_before(pack.seek(at as i64).unwrap(), &element);
                    model.insert(at, element);
                }
                4 if !model.is_empty() => {
                    let pos = pack.insert_after(pack.seek(at as i64).unwrap(), &element);
                    assert!(pack.at(pos).is(&element));
                    model.insert(at + 1, element);
                }
                5 | 6 if !model.is_empty() => {
                    pack.replace(pack.seek(at as i64).unwrap(), &element);
                    model[at] = element;
                }
                7 if !model.is_empty() => {
                    pack.remove(pack.seek(at as i64 - model.len() as i64).unwrap());
                    model.remove(at);
                }
                8 if random.below(6) == 0 => {
                    let n = random.below(9);
                    let end = model.len().min(at + n);
                    assert_eq!(pack.remove_range(at as i64, n), end - at);
                    model.drain(at..end);
                }
                9 => {
                    let pos = pack.seek(at as i64).unwrap_or(pack.end());
                    let tail = pack.split_off(pos);
                    tail.check();
                    pack.check();
                    if random.below(2) == 0 {
                        pack.append(&tail);
                    } else {
                        pack.prepend(&tail);
                        model.rotate_left(at);
                    }
                }
                10 if random.below(10) == 0 => {
                    let before = model.len();
                    model.retain(|kept| kept.len() % 3 != 0);
                    assert_eq!(
                        pack.retain(|item| item.text_len() % 3 != 0),
                        before - model.len()
                    );
                }
                _ => {
                    let (skip, needle) = (random.below(3), Needle::new(&element));
                    let expected = model.iter().step_by(skip + 1).position(|e| *e == element);
                    let found = pack.find(&needle, pack.first(), skip);
                    let expected = expected.map(|i| pack.seek((i * (skip + 1)) as i64).unwrap());
                    assert_eq!(found, expected);
                }
            }
            pack.check();
            assert_eq!(pack.len(), model.len());
            assert_eq!(pack.is_empty(), model.is_empty());
        }
        assert_eq!(texts(&pack), model);
        let mut backward: Vec<_> = pack.iter().rev().map(|item| item.to_vec()).collect();
        backward.reverse();
        assert_eq!(backward, model);
        for (index, element) in model.iter().enumerate() {
            assert!(pack.get(index as i64).unwrap().is(element));
            let pos = pack.seek(index as i64 - model.len() as i64).unwrap();
            assert_eq!(pack.iter_from(pos).count(), model.len() - index);
            assert_eq!(pack.iter_to(pos).rev().count(), index);
        }
        assert_eq!(pack.get(model.len() as i64), None);
        assert_eq!(pack.get(-(model.len() as i64) - 1), None);
        assert_eq!(pack.get(i64::MIN), None);
    }
}

#[test]
fn visits_by_sorted_index_reach_single_entries_and_pairs() {
    let pack = pack(&[b"a", b"1", b"b", b"2", b"c", b"3"]);
    let mut seen = Vec::new();
    pack.visit_sorted([0, 0, 2], 2, |index, pos| {
        seen.push((
            index,
            pack.at(pos).to_vec(),
            pack.at(pack.after(pos)).to_vec(),
        ));
    });
    let pair = |i, k: &[u8], v: &[u8]| (i, k.to_vec(), v.to_vec());
    assert_eq!(
        seen,
        [
            pair(0, b"a", b"1"),
            pair(0, b"a", b"1"),
            pair(2, b"c", b"3")
        ]
    );
    let mut single = Vec::new();
    pack.visit_sorted([1, 5], 1, |_, pos| single.push(pack.at(pos)));
    assert_eq!(single, [Item::Int(1), Item::Int(3)]);
}

#[test]
fn from_65535_entries_on_the_count_is_unknown_and_still_right() {
    let mut pack = Listpack::new();
    for _ in 0..65534 {
        pack.push_back(b"7");
    }
    assert_eq!((pack.header_count(), pack.len()), (65534, 65534));
    pack.push_back(b"8");
    assert_eq!((pack.header_count(), pack.len()), (COUNT_UNKNOWN, 65535));
    pack.push_back(b"9");
    assert_eq!(pack.len(), 65536);
    assert_eq!(pack.get(65535), Some(Item::Int(9)));
    assert_eq!(pack.get(-1), Some(Item::Int(9)));
    assert_eq!(pack.get(-65536), Some(Item::Int(7)));
    assert_eq!(
        (pack.get(65536), pack.get(-65537), pack.get(i64::MIN)),
        (None, None, None)
    );
    assert_eq!(Listpack::from_bytes(pack.bytes()).unwrap(), pack);
    pack.remove_range(-5, 5);
    assert_eq!((pack.header_count(), pack.len()), (65531, 65531));
}

#[test]
fn a_foreign_spelling_is_rewritten_in_canonical_form() {
    // 5 as a string, 5 as a 13-bit and as an i64, "a" with a 32-bit length.
    let bytes = hex("1e000000 0400 813502 c00502 f4050000000000000009 f0010000006106 ff");
    let pack = Listpack::from_bytes(&bytes).unwrap();
    assert_eq!(pack.bytes(), hex("10000000 0400 0501 0501 0501 816102 ff"));
    pack.check();
}

#[test]
fn refusals_name_the_place() {
    let cases = [
        ("0700000000", ListpackError::TooShort { len: 5 }),
        (
            "08000000 0000 ff",
            ListpackError::WrongTotal {
                declared: 8,
                len: 7,
            },
        ),
        (
            "07000000 0000 fe",
            ListpackError::NotTerminated { offset: 6 },
        ),
        (
            "09000000 0100 f501 ff",
            ListpackError::BadEncoding {
                offset: 6,
                byte: 0xF5,
            },
        ),
        (
            "09000000 0100 8201 ff",
            ListpackError::Overrun { offset: 6 },
        ),
        ("08000000 0100 f0 ff", ListpackError::Overrun { offset: 6 }),
        (
            "09000000 0100 0102 ff",
            ListpackError::BadBackLength { offset: 6 },
        ),
        (
            "09000000 0200 0101 ff",
            ListpackError::WrongCount {
                declared: 2,
                found: 1,
            },
        ),
        (
            "09000000 0100 ff01 ff",
            ListpackError::BadEncoding {
                offset: 6,
                byte: 0xFF,
            },
        ),
    ];
    for (bytes, error) in cases {
        assert_eq!(Listpack::from_bytes(&hex(bytes)), Err(error), "{error}");
    }
}

#[test]
fn mutated_bytes_are_refused_or_sound() {
    let mut random = Seeded(99);
    for _ in 0..30_000 {
        let mut pack = Listpack::new();
        for _ in 0..random.below(8) {
            pack.push_back(&random.element());
        }
        let mut bytes = pack.bytes().to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, random.below(256) as u8),
                2 => bytes[at..].reverse(),
                _ => {
                    bytes[at] = [0x7F, 0x80, 0xE0, 0xF0, 0xF4, 0xFF, random.below(256) as u8]
                        [random.below(7)]
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        if bytes.len() >= 4 && random.below(2) == 0 {
            let len = bytes.len() as u32;
            bytes[..4].copy_from_slice(&len.to_le_bytes());
        }
        if let Ok(read) = Listpack::from_bytes(&bytes) {
            read.check();
            assert_eq!(read.iter().count(), read.iter().rev().count());
            read.find(&Needle::new(b"field:0001"), read.first(), 1);
        }
    }
}

#[test]
#[should_panic(expected = "bounds")]
fn a_position_beyond_the_end_is_caught() {
    pack(&[b"a"]).at(Pos(1000));
}
