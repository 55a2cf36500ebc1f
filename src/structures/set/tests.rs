//! Property tests of the set against a set of the standard library, and of its forms at the limits.

use std::collections::BTreeSet;

use super::*;
use crate::base::random::Random;

const LIMITS: SetLimits = SetLimits {
    intset_entries: 6,
    listpack_entries: 4,
    listpack_value: 10,
};

fn texts(set: &Set) -> BTreeSet<Vec<u8>> {
    set.iter().map(|item| item.to_vec()).collect()
}

fn filled(members: &[&str], limits: SetLimits) -> Set {
    let mut set = Set::new();
    for member in members {
        set.add(member.as_bytes(), limits);
    }
    set.check();
    set
}

#[test]
fn any_sequence_of_commands_leaves_the_members_of_a_model() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let limits = SetLimits {
            intset_entries: random.below(12) as usize,
            listpack_entries: random.below(12) as usize,
            listpack_value: random.below(30) as usize,
        };
        let (mut set, mut model) = (Set::new(), BTreeSet::new());
        let mut rank = 0;
        let texts_from = random.below(400);
        for step in 0..400 {
            let number = random.below(60);
            let member = match random.below(3) {
                _ if step < texts_from => number.to_string(),
                0 => format!("{}", -(number as i64) << 40),
                1 => format!("m{number}"),
                _ => format!("a longer member number {number:03}"),
            };
            let member = member.as_bytes();
            match random.below(10) {
                0..6 => {
                    assert_eq!(set.add(member, limits), model.insert(member.to_vec()));
                }
                6..8 => assert_eq!(set.remove(member), model.remove(member)),
                8 => assert_eq!(set.contains(member), model.contains(member)),
                _ => {
                    let popped = set.pop_random(&mut || random.next_u64());
                    assert_eq!(popped.is_none(), model.is_empty());
                    assert!(popped.is_none_or(|member| model.remove(&member)));
                }
            }
            assert_eq!(set.len(), model.len());
            assert_eq!(set.is_empty(), model.is_empty());
            let drawn = set.random(&mut || random.next_u64());
            assert_eq!(drawn.is_none(), model.is_empty());
            assert!(drawn.is_none_or(|item| model.contains(&item.to_vec())));
            let now = match set {
                Set::Intset(_) => 0,
                Set::Listpack(_) => 1,
                Set::Table(_) => 2,
            };
            assert!(now >= rank, "a form never goes back");
            rank = now;
            if step % 20 == 0 {
                set.check();
                assert_eq!(texts(&set), model);
            }
        }
        set.check();
        assert_eq!(texts(&set), model);
    }
}

#[test]
fn the_forms_change_where_those_of_redis_do() {
    let encoding = |members: &[&str]| filled(members, LIMITS).encoding_name();
    assert_eq!(encoding(&["1", "2", "3", "4", "5", "6"]), "intset");
    assert_eq!(encoding(&["1", "2", "3", "4", "5", "6", "7"]), "hashtable");
    assert_eq!(encoding(&["1", "2", "3", "a"]), "listpack");
    assert_eq!(encoding(&["1", "2", "3", "4", "a"]), "hashtable");
    assert_eq!(encoding(&["a", "2", "3", "4"]), "listpack");
    assert_eq!(encoding(&["a", "2", "3", "4", "5"]), "hashtable");
    assert_eq!(encoding(&["1", "01", "+1", "-0"]), "listpack");
    assert_eq!(encoding(&["0123456789"]), "listpack");
    assert_eq!(encoding(&["01234567890"]), "hashtable");
    assert_eq!(encoding(&["a", "01234567890"]), "hashtable");
    // An integer longer than a listpack may hold keeps the intset from becoming one.
    assert_eq!(encoding(&["12345678901", "a"]), "hashtable");
    assert_eq!(encoding(&["-1234567890", "a"]), "hashtable");
    assert_eq!(encoding(&["1234567890", "a"]), "listpack");
    // A member that is there already changes nothing, even if the limits have fallen meanwhile.
    let mut set = filled(&["1", "2", "3", "4", "5", "6"], LIMITS);
    let none = SetLimits {
        intset_entries: 0,
        listpack_entries: 0,
        listpack_value: 0,
    };
    assert!(!set.add(b"3", none));
    assert_eq!(set.encoding_name(), "intset");
    assert!(set.add(b"7", none));
    assert_eq!(set.encoding_name(), "hashtable");
}

#[test]
fn a_new_set_has_the_form_that_its_first_members_ask_for() {
    let encoding =
        |first: &str, hint| Set::for_members(first.as_bytes(), hint, LIMITS).encoding_name();
    assert_eq!(encoding("1", 6), "intset");
    assert_eq!(encoding("1", 7), "hashtable");
    assert_eq!(encoding("a", 4), "listpack");
    assert_eq!(encoding("a", 5), "hashtable");
    for (members, hint, expected) in [
        (["1"], 6, "intset"),
        (["1"], 7, "hashtable"),
        (["a"], 4, "listpack"),
        (["a"], 5, "hashtable"),
    ] {
        let mut set = filled(&members, LIMITS);
        set.expect(hint, LIMITS);
        assert_eq!((set.encoding_name(), set.len()), (expected, 1));
        set.check();
    }
}

#[test]
fn an_intersection_of_integers_becomes_an_intset() {
    let limits = LIMITS;
    let texts_set = filled(&["a", "1", "2"], limits);
    let mut table = filled(&["a", "1", "2"], limits);
    table.convert_to_table();
    table.check();
    for smallest in [&texts_set, &table] {
        let mut result = Set::for_intersection(smallest);
        assert_eq!(result.encoding_name(), "listpack");
        for item in smallest.iter().filter(|item| !item.is(b"a")) {
            assert!(result.add_item(item, limits));
        }
        let result = result.into_intset_if_integers(limits);
        assert_eq!(result.encoding_name(), "intset");
        assert_eq!(
            texts(&result),
            BTreeSet::from([b"1".to_vec(), b"2".to_vec()])
        );
        result.check();
    }
    assert_eq!(
        texts_set.into_intset_if_integers(limits).encoding_name(),
        "listpack"
    );
    assert_eq!(
        table.into_intset_if_integers(limits).encoding_name(),
        "hashtable"
    );
}

#[test]
fn an_item_is_found_whatever_the_form_of_either_set() {
    let members = ["-5", "0", "77", "9223372036854775807"];
    let intset = filled(&members, SetLimits::default());
    let listpack: Set = Set::Listpack(intset.iter().collect());
    let mut table = filled(&members, SetLimits::default());
    table.convert_to_table();
    for from in [&intset, &listpack, &table] {
        for to in [&intset, &listpack, &table] {
            let mut rest = match to {
                Set::Intset(intset) => Set::Intset(intset.clone()),
                Set::Listpack(pack) => Set::Listpack(pack.clone()),
                Set::Table(_) => {
                    let mut copy = filled(&members, SetLimits::default());
                    copy.convert_to_table();
                    copy
                }
            };
            for item in from {
                assert!(to.contains_item(item));
                assert!(!rest.add_item(item, SetLimits::default()));
                assert!(rest.remove_item(item));
                assert!(!rest.remove_item(item));
            }
            assert!(rest.is_empty());
        }
    }
}

#[test]
fn a_scan_emits_every_member_once_and_knows_what_it_walked() {
    for members in [3, 5000] {
        let mut set = Set::new();
        for i in 0..members {
            set.add(format!("member {i}").as_bytes(), SetLimits::default());
        }
        let (mut cursor, mut seen) = (0, BTreeSet::new());
        loop {
            cursor = set.scan(cursor, |item| assert!(seen.insert(item.to_vec())));
            if cursor == 0 {
                break;
            }
            if seen.len() % 50 == 0 {
                for item in &set {
                    let member = item.to_vec();
                    assert_eq!(set.walked(cursor, &member), seen.contains(&member));
                }
            }
        }
        assert_eq!(seen, texts(&set));
    }
}

#[test]
fn a_table_is_drained_in_steps_and_stays_a_set_in_between() {
    let mut set = Set::new();
    for i in 0..1000 {
        set.add(format!("member {i}").as_bytes(), SetLimits::default());
    }
    let full = set.allocated(0);
    let estimate = set.allocated(5);
    assert!(estimate.abs_diff(full) < full / 5, "{estimate} for {full}");
    let mut steps = 0;
    while !set.drain_some(100) {
        steps += 1;
        set.check();
    }
    assert!((9..=10).contains(&steps), "{steps} steps");
    assert_eq!((set.len(), set.allocated(0)), (0, 0));
    assert!(filled(&["1", "2"], LIMITS).drain_some(1));
}

#[test]
fn draws_from_small_sets_are_uniform() {
    let mut random = Random::new(5);
    for members in [["1", "2", "3", "4"], ["a", "b", "c", "d"]] {
        let set = filled(&members, LIMITS);
        let mut counts = std::collections::HashMap::new();
        for _ in 0..4000 {
            let drawn = set.random(&mut || random.next_u64()).expect("not empty");
            *counts.entry(drawn.to_vec()).or_insert(0) += 1;
        }
        assert!(
            counts.len() == 4 && counts.values().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
    }
}

#[test]
fn sets_from_snapshots_keep_to_the_limits_and_refuse_doubles() {
    let intset = filled(&["1", "2", "3"], LIMITS);
    let Set::Intset(intset) = intset else {
        panic!("three integers are an intset")
    };
    let few = SetLimits {
        intset_entries: 2,
        ..LIMITS
    };
    assert_eq!(
        Set::from_intset(intset.clone(), LIMITS).encoding_name(),
        "intset"
    );
    assert_eq!(Set::from_intset(intset, few).encoding_name(), "hashtable");
    let pack = |texts: &[&str]| -> Listpack {
        texts.iter().map(|text| Item::of(text.as_bytes())).collect()
    };
    let encoding =
        |texts: &[&str]| Set::from_listpack(pack(texts), LIMITS).map(|set| set.encoding_name());
    assert_eq!(encoding(&["a", "b", "c", "1"]), Some("listpack"));
    assert_eq!(encoding(&["a", "b", "c", "1", "2"]), Some("hashtable"));
    assert_eq!(encoding(&["a", "1", "1"]), None);
}

#[test]
fn several_draws_are_members_and_distinct_ones_differ() {
    let mut random = Random::new(11);
    let mut supply = || random.next_u64();
    for len in [0, 1, 4, 300] {
        let members: Vec<String> = (0..len).map(|i| format!("m{i}")).collect();
        let numbers: Vec<String> = (0..len).map(|i| i.to_string()).collect();
        for texts_of in [&members, &numbers] {
            let mut set = Set::new();
            for text in texts_of {
                set.add(text.as_bytes(), LIMITS);
            }
            for count in [0, 1, 3, 50, 99, 100, 101, 299, 300, 1000] {
                let drawn: Vec<_> = set.draw_distinct(count, &mut supply);
                let different: BTreeSet<_> = drawn.iter().map(|item| item.to_vec()).collect();
                assert_eq!(
                    (drawn.len(), different.len()),
                    (count.min(len), drawn.len())
                );
                assert!(drawn.into_iter().all(|item| set.contains_item(item)));
                let mut repeated = 0;
                set.draw(count, &mut supply, |item| {
                    assert!(set.contains_item(item));
                    repeated += 1;
                });
                assert_eq!(repeated, if len == 0 { 0 } else { count });
            }
        }
    }
}

#[test]
fn a_large_set_takes_little_more_than_its_members() {
    let mut set = Set::new();
    for i in 0..100_000 {
        set.add(format!("member {i:09}").as_bytes(), LIMITS);
    }
    let each = set.allocated(0) as f64 / set.len() as f64;
    assert!(each < 30.0, "{each} bytes for a member of 16");
}
