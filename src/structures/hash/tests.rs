//! Property tests of the hash against a map of the standard library, and of its forms at the limits.

use std::collections::BTreeMap;

use super::*;
use crate::base::random::Random;

const LIMITS: HashLimits = HashLimits {
    listpack_entries: 3,
    listpack_value: 10,
};

fn pairs(hash: &Hash) -> BTreeMap<Vec<u8>, Vec<u8>> {
    hash.iter()
        .map(|(field, value)| (field.to_vec(), value.to_vec()))
        .collect()
}

#[test]
fn any_sequence_of_commands_leaves_the_fields_of_a_model() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let limits = HashLimits {
            listpack_entries: random.below(40) as usize,
            listpack_value: random.below(400) as usize,
        };
        let longest = random.below(400) + 1;
        let (mut hash, mut model) = (Hash::new(), BTreeMap::new());
        let mut was_table = false;
        for step in 0..500 {
            let number = random.below(40);
            let field = match number % 3 {
                0 => number.to_string(),
                1 => format!("f{number}"),
                _ => format!("a longer field, number {number:03}"),
            };
            let field = field.as_bytes();
            let value = match random.below(2) {
                0 => (random.next_u64() as i64 >> random.below(64)).to_string(),
                _ => "v".repeat(random.below(longest) as usize),
            };
            let value = value.as_bytes();
            match random.below(10) {
                0..5 => {
                    let old = model.insert(field.to_vec(), value.to_vec());
                    assert_eq!(hash.set(field, value, limits), old.is_none());
                }
                5 => {
                    let new = !model.contains_key(field);
                    model.entry(field.to_vec()).or_insert(value.to_vec());
                    assert_eq!(hash.set_if_absent(field, value, limits), new);
                }
                6..9 => {
                    assert_eq!(hash.remove(field), model.remove(field).is_some());
                }
                _ => {
                    let drawn = hash.random(&mut || random.next_u64());
                    assert_eq!(drawn.is_none(), model.is_empty());
                    assert!(drawn.is_none_or(|(field, value)| {
                        model.get(&field.to_vec()) == Some(&value.to_vec())
                    }));
                }
            }
            let expected = model.get(field);
            assert_eq!(
                hash.get(field).map(|value| value.to_vec()).as_ref(),
                expected
            );
            assert_eq!(hash.contains(field), expected.is_some());
            assert_eq!(hash.value_len(field), expected.map_or(0, Vec::len));
            assert_eq!(
                (hash.len(), hash.is_empty()),
                (model.len(), model.is_empty())
            );
            let is_table = matches!(hash, Hash::Table(_));
            assert!(is_table || !was_table, "a form never goes back");
            was_table = is_table;
            if step % 20 == 0 {
                hash.check();
                assert_eq!(pairs(&hash), model);
            }
        }
        hash.check();
        assert_eq!(pairs(&hash), model);
    }
}

#[test]
fn the_form_changes_where_that_of_redis_does() {
    let encoding = |pairs: &[(&str, &str)]| {
        let mut hash = Hash::new();
        for (field, value) in pairs {
            hash.set(field.as_bytes(), value.as_bytes(), LIMITS);
        }
        hash.check();
        hash.encoding_name()
    };
    assert_eq!(encoding(&[("a", "1"), ("b", "2"), ("c", "3")]), "listpack");
    assert_eq!(
        encoding(&[("a", "1"), ("b", "2"), ("c", "3"), ("a", "4")]),
        "listpack"
    );
    assert_eq!(
        encoding(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]),
        "hashtable"
    );
    assert_eq!(encoding(&[("0123456789", "0123456789")]), "listpack");
    assert_eq!(encoding(&[("01234567890", "")]), "hashtable");
    assert_eq!(encoding(&[("", "01234567890")]), "hashtable");
    assert_eq!(encoding(&[("a", "1"), ("a", "01234567890")]), "hashtable");
}

#[test]
fn a_command_with_many_fields_begins_with_a_table() {
    let mut hash = Hash::new();
    hash.expect(3, LIMITS);
    assert_eq!(hash.encoding_name(), "listpack");
    hash.set(b"a", b"1", LIMITS);
    hash.expect(4, LIMITS);
    assert_eq!((hash.encoding_name(), hash.len()), ("hashtable", 1));
    hash.check();
}

#[test]
fn a_listpack_keeps_its_fields_in_order_of_arrival() {
    let mut hash = Hash::new();
    for (field, value) in [("b", "1"), ("a", "2"), ("c", "b"), ("b", "a longer value")] {
        hash.set(field.as_bytes(), value.as_bytes(), HashLimits::default());
    }
    assert!(hash.remove(b"a"));
    let fields: Vec<_> = hash.iter().map(|(field, _)| field.to_vec()).collect();
    assert_eq!(fields, [b"b", b"c"]);
    // The value "b" of the field c is no field.
    assert_eq!(
        hash.get(b"b").map(|value| value.to_vec()),
        Some(b"a longer value".to_vec())
    );
    assert!(!hash.contains(b"a longer value"));
}

#[test]
fn a_scan_emits_every_field_once_and_knows_what_it_walked() {
    for fields in [3, 5000] {
        let mut hash = Hash::new();
        for i in 0..fields {
            let field = format!("field {i}");
            hash.set(
                field.as_bytes(),
                format!("{i}").as_bytes(),
                HashLimits::default(),
            );
        }
        let (mut cursor, mut seen) = (0, BTreeMap::new());
        loop {
            cursor = hash.scan(cursor, |field, value| {
                assert_eq!(seen.insert(field.to_vec(), value.to_vec()), None);
            });
            if cursor == 0 {
                break;
            }
            if seen.len() % 50 == 0 {
                for (field, _) in &hash {
                    let field = field.to_vec();
                    assert_eq!(hash.walked(cursor, &field), seen.contains_key(&field));
                }
            }
        }
        assert_eq!(seen, pairs(&hash));
    }
}

#[test]
fn a_table_is_drained_in_steps_and_stays_a_hash_in_between() {
    let mut hash = Hash::new();
    for i in 0..1000 {
        hash.set(
            format!("field {i}").as_bytes(),
            b"the value",
            HashLimits::default(),
        );
    }
    let full = hash.allocated(0);
    let estimate = hash.allocated(5);
    assert!(estimate.abs_diff(full) < full / 5, "{estimate} for {full}");
    let mut steps = 0;
    while !hash.drain_some(100) {
        steps += 1;
        hash.check();
    }
    assert!((9..=10).contains(&steps), "{steps} steps");
    assert_eq!((hash.len(), hash.allocated(0)), (0, 0));
}

#[test]
fn hashes_from_snapshots_keep_to_the_limits_and_refuse_doubles() {
    let encoding = |texts: &[&str]| {
        let pack = texts.iter().map(|text| Item::of(text.as_bytes())).collect();
        Hash::from_listpack(pack, LIMITS).map(|hash| hash.encoding_name())
    };
    assert_eq!(encoding(&["a", "1", "b", "1", "c", "1"]), Some("listpack"));
    assert_eq!(
        encoding(&["a", "1", "b", "1", "c", "1", "d", "1"]),
        Some("hashtable")
    );
    assert_eq!(encoding(&["a", "1", "a", "2"]), None);
    assert_eq!(encoding(&["a", "1", "b"]), None);
}

#[test]
fn several_draws_are_fields_with_their_values_and_distinct_ones_differ() {
    let mut random = Random::new(11);
    let mut supply = || random.next_u64();
    for len in [0, 1, 3, 300] {
        let mut hash = Hash::new();
        for i in 0..len {
            hash.set(
                format!("f{i}").as_bytes(),
                format!("v{i}").as_bytes(),
                LIMITS,
            );
        }
        let model = pairs(&hash);
        let is_pair = |field: &Item<'_>, value: &Item<'_>| {
            model.get(&field.to_vec()) == Some(&value.to_vec())
        };
        for count in [0, 1, 3, 50, 99, 100, 101, 299, 300, 1000] {
            let drawn = hash.draw_distinct(count, &mut supply);
            assert!(drawn.iter().all(|(field, value)| is_pair(field, value)));
            let different: BTreeMap<_, _> = drawn
                .iter()
                .map(|(field, _)| (field.to_vec(), ()))
                .collect();
            assert_eq!(
                (drawn.len(), different.len()),
                (count.min(len), drawn.len())
            );
            let mut repeated = 0;
            hash.draw(count, &mut supply, |field, value| {
                assert!(is_pair(&field, &value));
                repeated += 1;
            });
            assert_eq!(repeated, if len == 0 { 0 } else { count });
        }
    }
}
