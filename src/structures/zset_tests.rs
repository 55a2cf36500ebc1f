//! Sorted sets in both forms held against a sorted vector.

use super::*;

const SMALL: PackLimits = PackLimits {
    entries_max: 128,
    value_bytes_max: 64,
};
const NEVER: PackLimits = PackLimits {
    entries_max: 0,
    value_bytes_max: 0,
};
const ALWAYS: PackLimits = PackLimits {
    entries_max: usize::MAX,
    value_bytes_max: usize::MAX,
};

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn pairs(set: &Zset) -> Vec<(Vec<u8>, f64)> {
    set.iter(0..usize::MAX)
        .map(|(name, score)| (name.to_vec(), score))
        .collect()
}

fn add(set: &mut Zset, name: &str, score: f64) -> Added {
    set.add(name.as_bytes(), score, AddOptions::default(), SMALL)
}

#[test]
fn both_forms_behave_as_a_sorted_vector() {
    for (seed, limits) in [(1, ALWAYS), (2, NEVER), (3, SMALL)] {
        let mut random = Random(seed);
        let mut set = Zset::new();
        let mut model: Vec<(Vec<u8>, f64)> = Vec::new();
        for round in 0..6_000 {
            let name = match random.below(2) {
                0 => random.below(200).to_string(),
                _ => format!("member:{}", random.below(200)),
            };
            let name = name.as_bytes();
            let present = model.iter().position(|(other, _)| other == name);
            match random.below(12) {
                0..=5 => {
                    let options = AddOptions {
                        only_new: random.below(6) == 0,
                        only_existing: random.below(6) == 0,
                        only_greater: random.below(6) == 0,
                        only_less: random.below(6) == 0,
                        increment: random.below(3) == 0,
                    };
                    let score = random.below(60) as f64 / 4.0 - 5.0;
                    let added = set.add(name, score, options, limits);
                    let expected = match present {
                        Some(at) => options.judge(model[at].1, score),
                        None if options.only_existing => Added::Refused,
                        None => Added::New(score),
                    };
                    assert_eq!(added, expected);
                    match added {
                        Added::New(score) => model.push((name.to_vec(), score)),
                        Added::Updated { new, .. } => model[present.expect("it was there")].1 = new,
                        _ => {}
                    }
                    model.sort_by(|one, other| {
                        one.1.total_cmp(&other.1).then_with(|| one.0.cmp(&other.0))
                    });
                }
                6..=7 => {
                    let expected = present.map(|at| model.remove(at).1);
                    assert_eq!(set.remove(name), expected);
                }
                8 => {
                    let rank = random.below(model.len() + 2);
                    let count = random.below(4);
                    let mut taken = Vec::new();
                    set.take_ranks(rank, count, |name, score| {
                        taken.push((name.to_vec(), score))
                    });
                    let start = rank.min(model.len());
                    let end = (rank + count).min(model.len());
                    assert_eq!(taken, model.drain(start..end).collect::<Vec<_>>());
                }
                9 => {
                    assert_eq!(set.score(name), present.map(|at| model[at].1));
                    assert_eq!(set.rank(name), present.map(|at| (at, model[at].1)));
                }
                10 => {
                    let (start, end) =
                        (random.below(model.len() + 1), random.below(model.len() + 3));
                    let mut expected: Vec<_> =
                        model.iter().take(end).skip(start).cloned().collect();
                    let read = |(name, score): Pair<'_>| (name.to_vec(), score);
                    assert_eq!(set.iter(start..end).map(read).collect::<Vec<_>>(), expected);
                    expected.reverse();
                    assert_eq!(
                        set.iter(start..end).rev().map(read).collect::<Vec<_>>(),
                        expected
                    );
                    assert_eq!(set.get(start).map(read), model.get(start).cloned());
                }
                _ => {
                    let (min, max) = (
                        random.below(80) as f64 / 4.0 - 8.0,
                        random.below(80) as f64 / 4.0 - 8.0,
                    );
                    let ranks =
                        set.ranks_by_score(ScoreBound::Exclusive(min), ScoreBound::Inclusive(max));
                    let expected = model
                        .iter()
                        .filter(|(_, score)| *score > min && *score <= max)
                        .count();
                    assert_eq!(ranks.len(), expected);
                    let ranks =
                        set.ranks_by_score(ScoreBound::Inclusive(min), ScoreBound::Exclusive(max));
                    let expected = model
                        .iter()
                        .filter(|(_, score)| *score >= min && *score < max)
                        .count();
                    assert_eq!(ranks.len(), expected);
                }
            }
            if round % 200 == 0 {
                set.check();
                assert_eq!(pairs(&set), model);
                let mut scanned = Vec::new();
                let mut cursor = 0;
                loop {
                    cursor = set.scan(cursor, |name, score| scanned.push((name.to_vec(), score)));
                    if cursor == 0 {
                        break;
                    }
                }
                scanned.sort_by(|one, other| {
                    one.1.total_cmp(&other.1).then_with(|| one.0.cmp(&other.0))
                });
                assert_eq!(scanned, model);
                if seed == 3 {
                    set.pack_if_small(SMALL);
                    assert_eq!(set.as_listpack().is_some(), model.len() <= 128);
                    set.check();
                    assert_eq!(pairs(&set), model);
                }
            }
        }
        while set.drain_some(50) {
            set.check();
        }
        assert!(set.is_empty());
    }
}

#[test]
fn ranges_by_name_agree_in_both_forms() {
    let mut random = Random(17);
    let (mut packed, mut tree) = (Zset::new(), Zset::new());
    for _ in 0..100 {
        let name = random.below(1000).to_string();
        packed.add(name.as_bytes(), 0.0, AddOptions::default(), ALWAYS);
        tree.add(name.as_bytes(), 0.0, AddOptions::default(), NEVER);
    }
    assert_eq!(
        (packed.encoding_name(), tree.encoding_name()),
        ("listpack", "skiplist")
    );
    for _ in 0..500 {
        let (low, high) = (
            random.below(1000).to_string(),
            random.below(1000).to_string(),
        );
        let (low, high) = (low.as_bytes(), high.as_bytes());
        for min in [
            LexBound::Lowest,
            LexBound::Inclusive(low),
            LexBound::Exclusive(low),
            LexBound::Highest,
        ] {
            for max in [
                LexBound::Lowest,
                LexBound::Inclusive(high),
                LexBound::Exclusive(high),
                LexBound::Highest,
            ] {
                let ranks = packed.ranks_by_lex(min, max);
                let other = tree.ranks_by_lex(min, max);
                assert!(
                    ranks == other || (ranks.is_empty() && other.is_empty()),
                    "{min:?} {max:?}"
                );
            }
        }
    }
}

#[test]
fn a_set_outgrows_the_packed_form_as_in_redis() {
    let mut set = Zset::new();
    for at in 0..128 {
        add(&mut set, &at.to_string(), f64::from(at));
    }
    assert_eq!(set.encoding_name(), "listpack");
    add(&mut set, "5", 500.0); // an update never converts
    assert_eq!(set.encoding_name(), "listpack");
    add(&mut set, "more", 1.0);
    assert_eq!(set.encoding_name(), "skiplist");
    set.remove(b"more");
    assert_eq!(set.encoding_name(), "skiplist");

    let mut set = Zset::new();
    add(&mut set, &"x".repeat(64), 1.0);
    assert_eq!(set.encoding_name(), "listpack");
    add(&mut set, &"y".repeat(65), 1.0);
    assert_eq!(set.encoding_name(), "skiplist");

    assert_eq!(
        Zset::for_contents(129, 1, SMALL).encoding_name(),
        "skiplist"
    );
    assert_eq!(
        Zset::for_contents(128, 64, SMALL).encoding_name(),
        "listpack"
    );
    let mut set = Zset::new();
    set.expect_more(128, SMALL);
    assert_eq!(set.encoding_name(), "listpack");
    set.expect_more(129, SMALL);
    assert_eq!(set.encoding_name(), "skiplist");
}

#[test]
fn packed_scores_are_written_as_redis_writes_them() {
    let mut set = Zset::new();
    for (name, score) in [
        ("a", -0.0),
        ("b", 1.5),
        ("c", 3.0),
        ("d", f64::INFINITY),
        ("7", 3.0),
    ] {
        add(&mut set, name, score);
    }
    let items: Vec<Item<'_>> = set
        .as_listpack()
        .expect("five members are packed")
        .iter()
        .collect();
    let expected = [
        Item::Bytes(b"a"),
        Item::Int(0),
        Item::Bytes(b"b"),
        Item::Bytes(b"1.5"),
        Item::Int(7),
        Item::Int(3),
        Item::Bytes(b"c"),
        Item::Int(3),
        Item::Bytes(b"d"),
        Item::Bytes(b"inf"),
    ];
    assert_eq!(items, expected);
}

#[test]
fn a_listpack_that_is_no_sorted_set_is_refused() {
    let pack = |items: &[&str]| {
        let mut pack = Listpack::new();
        items
            .iter()
            .for_each(|item| pack.push_back(item.as_bytes()));
        Zset::from_listpack(pack)
    };
    assert!(pack(&["a", "1", "b", "1", "c", "2.5"]).is_some());
    assert!(pack(&["a", "1", "b"]).is_none());
    assert!(pack(&["a", "2", "b", "1"]).is_none());
    assert!(pack(&["b", "1", "a", "1"]).is_none());
    assert!(pack(&["a", "1", "a", "1"]).is_none());
    assert!(pack(&["a", "nan"]).is_none());
    assert!(pack(&["a", "one"]).is_none());
}

#[test]
fn an_increment_that_gives_no_number_changes_nothing() {
    for limits in [ALWAYS, NEVER] {
        let mut set = Zset::new();
        let increment = AddOptions {
            increment: true,
            ..AddOptions::default()
        };
        assert_eq!(
            set.add(b"m", f64::INFINITY, increment, limits),
            Added::New(f64::INFINITY)
        );
        assert_eq!(
            set.add(b"m", f64::NEG_INFINITY, increment, limits),
            Added::NotANumber
        );
        assert_eq!(set.score(b"m"), Some(f64::INFINITY));
        assert_eq!(
            set.add(b"m", 1.0, increment, limits),
            Added::Same(f64::INFINITY)
        );
    }
}

#[test]
fn a_set_of_rising_pairs_has_the_form_that_fits_and_all_members() {
    let names: Vec<String> = (0..300).map(|at| format!("{}", 1000 + at)).collect();
    for (len, longest, form) in [
        (128, 4, "listpack"),
        (129, 4, "skiplist"),
        (3, 65, "skiplist"),
    ] {
        let long = "x".repeat(longest);
        let mut pairs: Vec<Pair<'_>> = names[..len - 1]
            .iter()
            .enumerate()
            .map(|(at, name)| (Item::Bytes(name.as_bytes()), at as f64 / 4.0))
            .collect();
        pairs.push((Item::Bytes(long.as_bytes()), 1e9));
        let mut set = Zset::of_rising(pairs.iter().copied(), SMALL);
        assert_eq!((set.encoding_name(), set.len()), (form, len));
        set.check();
        assert_eq!(set.rank(long.as_bytes()), Some((len - 1, 1e9)));
        assert_eq!(set.score(b"1001"), Some(0.25));
        assert_eq!(set.remove(b"1000"), Some(0.0));
    }
}

#[test]
fn the_memory_of_a_set_is_estimated_from_a_sample() {
    let mut set = Zset::new();
    for at in 0..5_000 {
        add(&mut set, &format!("member:{at:06}"), f64::from(at));
    }
    let exact = set.allocated(0);
    assert!((5_000 * 40..5_000 * 90).contains(&exact), "{exact}");
    let sampled = set.allocated(5);
    assert!(
        sampled.abs_diff(exact) < exact / 50,
        "{sampled} for {exact}"
    );
    assert!(Zset::new().allocated(5) < 64);
}

#[test]
fn what_lies_between_two_scores_is_shown_in_either_form_until_the_visitor_breaks_off() {
    let mut random = Random(77);
    for size in [0, 1, 5, 60, 64, 700] {
        for limits in [NEVER, ALWAYS] {
            let mut set = Zset::for_contents(size, 0, limits);
            for member in 0..size {
                let score = random.below(size) as f64;
                let name = format!("{member}");
                set.add(name.as_bytes(), score, AddOptions::default(), limits);
            }
            for _ in 0..50 {
                let (min, below) = (
                    random.below(size + 2) as f64 - 1.0,
                    random.below(size + 2) as f64,
                );
                let most = 1 + random.below(40);
                let wanted: Vec<_> = pairs(&set)
                    .into_iter()
                    .filter(|(_, score)| (min..below).contains(score))
                    .take(most)
                    .collect();
                let mut shown = Vec::new();
                let looked = set.each_between(min, below, |score, member| {
                    member.prefetch();
                    shown.push((member.name().to_vec(), score));
                    if shown.len() == most {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                });
                assert_eq!(shown, wanted);
                assert_eq!(looked.is_break(), wanted.len() == most);
            }
        }
    }
}
