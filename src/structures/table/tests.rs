//! Property tests of the table against a map of the standard library, and of its order against a cut.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::bucket::equal_bytes_twins;
use super::*;

/// xorshift64*: enough randomness for tests, and the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        super::below(self.next(), bound)
    }
}

/// A good hash of a number (the finalizer of MurmurHash3).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

struct Content {
    key: [u8; 8],
    hash: u64,
    value: u64,
    /// Counts this element while it lives.
    alive: Rc<Cell<usize>>,
}

impl Drop for Content {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
    }
}

impl Element for Box<Content> {
    fn key(&self) -> &[u8] {
        &self.key
    }

    fn hash(&self) -> u64 {
        self.hash
    }

    fn address(&self) -> *const u8 {
        (&raw const **self).cast()
    }
}

/// A table of numbers, whose hash is chosen by the test.
struct Numbers {
    table: Table<Box<Content>>,
    hash: fn(u64) -> u64,
    alive: Rc<Cell<usize>>,
}

impl Numbers {
    fn new(hash: fn(u64) -> u64) -> Self {
        Numbers {
            table: Table::new(),
            hash,
            alive: Rc::default(),
        }
    }

    fn content(&self, key: u64, value: u64) -> Box<Content> {
        self.alive.set(self.alive.get() + 1);
        Box::new(Content {
            key: key.to_le_bytes(),
            hash: (self.hash)(key),
            value,
            alive: self.alive.clone(),
        })
    }

    fn insert(&mut self, key: u64, value: u64) {
        let content = self.content(key, value);
        assert_eq!(self.table.insert((self.hash)(key), content).value, value);
    }

    fn find(&self, key: u64) -> Option<u64> {
        self.table
            .find((self.hash)(key), &key.to_le_bytes())
            .map(|content| content.value)
    }

    fn remove(&mut self, key: u64) -> Option<u64> {
        self.table
            .remove((self.hash)(key), &key.to_le_bytes())
            .map(|content| content.value)
    }
}

fn number(content: &Content) -> u64 {
    u64::from_le_bytes(content.key)
}

/// Miri is about a thousand times slower.
fn scaled(count: u64) -> u64 {
    if cfg!(miri) { count / 50 } else { count }
}

#[test]
fn an_empty_table_has_no_heap_and_answers_nothing() {
    let mut numbers = Numbers::new(mix);
    assert_eq!(numbers.table.heap_bytes(), 0);
    assert!(numbers.table.is_empty());
    assert_eq!(numbers.find(1), None);
    assert_eq!(numbers.remove(1), None);
    assert!(numbers.table.random(&mut || 0).is_none());
    assert_eq!(numbers.table.sample(5, 7, |_| panic!("nothing to see")), 0);
    assert_eq!(numbers.table.scan(12345, |_| panic!("nothing to see")), 0);
    assert_eq!(numbers.table.iter().count(), 0);
    assert!(!numbers.table.drain_some(1));
    numbers.table.prefetch_bucket(1);
    numbers.table.prefetch_element(1);
    numbers.table.check();
}

#[test]
fn three_elements_take_half_a_line_and_do_not_flap() {
    let mut numbers = Numbers::new(mix);
    let bytes = |numbers: &Numbers| {
        numbers.table.check();
        numbers.table.heap_bytes()
    };
    for key in 0..3 {
        numbers.insert(key, key);
        assert_eq!(bytes(&numbers), 32);
    }
    // Whichever of four goes, a fourth does not cost an allocation again; below three it does.
    for gone in 0..4 {
        numbers.insert(3, 3);
        assert_eq!(bytes(&numbers), 64);
        assert_eq!(numbers.remove(gone), Some(gone));
        assert_eq!(bytes(&numbers), 64);
        numbers.insert(gone, gone);
        assert_eq!(bytes(&numbers), 64);
        assert_eq!(numbers.remove(3), Some(3));
    }
    assert_eq!(numbers.remove(2), Some(2));
    assert_eq!(bytes(&numbers), 32);
    assert_eq!((numbers.find(0), numbers.find(1)), (Some(0), Some(1)));
    for key in 0..2 {
        numbers.remove(key);
    }
    assert_eq!(bytes(&numbers), 0);
}

#[test]
fn seven_elements_take_one_line() {
    let mut numbers = Numbers::new(mix);
    for key in 0..7 {
        numbers.insert(key, key);
        let bytes = if key < 3 { 32 } else { 64 };
        assert_eq!(numbers.table.heap_bytes(), bytes);
    }
    for key in 0..7 {
        assert_eq!(numbers.remove(key), Some(key));
    }
    assert_eq!(numbers.table.heap_bytes(), 0);
}

#[test]
fn tag_match_equals_its_safe_twin() {
    let mut random = Random(1);
    for _ in 0..scaled(200_000) {
        // Few distinct bytes, so that matches and near misses are frequent.
        let alphabet = [0u8, 1, 0x7f, 0x80, 0x81, 0xfe, 0xff, random.next() as u8];
        let mut bytes = [0; 8];
        bytes.fill_with(|| alphabet[random.below(8) as usize]);
        let byte = alphabet[random.below(8) as usize];
        let expected = (0..8)
            .filter(|&i| bytes[i] == byte)
            .fold(0, |mask, i| mask | 1 << i);
        assert_eq!(
            equal_bytes_twins(u64::from_le_bytes(bytes), byte),
            (expected, expected)
        );
    }
}

#[test]
fn steps_are_size_classes() {
    let steps: Vec<usize> = (1..=256).filter(|&n| step_up(n) == n).collect();
    assert_eq!(
        steps[..16],
        [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32]
    );
    assert_eq!(*steps.last().unwrap(), 256);
    for n in 2..=256 {
        let down = *steps.iter().rfind(|&&step| step < n).unwrap();
        assert_eq!(step_down(n), down);
        assert!(step_up(n) >= n && steps.contains(&step_up(n)));
    }
}

/// Random operations on keys below `keys`, in waves of growth and shrinking, against a map.
fn random_operations(seed: u64, hash: fn(u64) -> u64, keys: u64, operations: u64) {
    let mut random = Random(seed);
    let mut numbers = Numbers::new(hash);
    let mut model: HashMap<u64, u64> = HashMap::new();
    for step in 0..operations {
        let key = random.below(keys);
        let h = hash(key);
        let value = random.next();
        // In one half of the time inserts prevail, in the other removals.
        let growing = (step / (operations / 6).max(1)).is_multiple_of(2);
        match random.below(16) + if growing { 0 } else { 4 } {
            0..8 => {
                let fresh = numbers.content(key, value);
                match numbers.table.entry(h, &key.to_le_bytes()) {
                    Entry::Found(mut found) => {
                        assert_eq!(Some(&found.get().value), model.get(&key));
                        assert_eq!(found.replace(fresh).value, model[&key]);
                        assert_eq!(found.into_mut().value, value);
                    }
                    Entry::Vacant(vacant) => {
                        assert!(!model.contains_key(&key));
                        assert_eq!(vacant.insert(fresh).value, value);
                    }
                }
                model.insert(key, value);
            }
            8..12 => match numbers.table.find_mut(h, &key.to_le_bytes()) {
                Some(content) => {
                    // The element moves to a new allocation, as a string that grows does.
                    content.alive.set(content.alive.get() + 1);
                    let moved = Content {
                        key: content.key,
                        hash: h,
                        value,
                        alive: content.alive.clone(),
                    };
                    drop(std::mem::replace(content, Box::new(moved)));
                    assert!(model.insert(key, value).is_some());
                }
                None => assert!(!model.contains_key(&key)),
            },
            12..16 => assert_eq!(numbers.remove(key), model.remove(&key)),
            16..18 => {
                let removed = numbers
                    .table
                    .found(h, &key.to_le_bytes())
                    .map(|found| found.remove().value);
                assert_eq!(removed, model.remove(&key));
            }
            _ => {
                let fresh = numbers.content(key, value);
                match numbers.table.replace(h, fresh) {
                    Ok(old) => assert_eq!(model.insert(key, value), Some(old.value)),
                    Err(fresh) => {
                        assert_eq!(fresh.value, value);
                        assert!(!model.contains_key(&key));
                    }
                }
            }
        }
        assert_eq!(numbers.table.len(), model.len());
        assert_eq!(numbers.alive.get(), model.len());
        if step % (operations / 20).max(1) == 0 {
            numbers.table.check();
            for key in 0..keys.min(2000) {
                assert_eq!(numbers.find(key), model.get(&key).copied());
            }
            let all: HashMap<u64, u64> = numbers
                .table
                .iter()
                .map(|content| (number(content), content.value))
                .collect();
            assert_eq!(all, model);
            assert_eq!(numbers.table.iter().count(), model.len());
        }
    }
    for content in numbers.table.iter_mut() {
        content.value += 1;
    }
    for (key, value) in &model {
        assert_eq!(numbers.find(*key), Some(value.wrapping_add(1)));
    }
    let alive = numbers.alive.clone();
    drop(numbers);
    assert_eq!(alive.get(), 0, "dropping a table drops its elements");
}

#[test]
fn random_operations_agree_with_a_map() {
    random_operations(2, mix, 20, scaled(20_000));
    random_operations(3, mix, 500, scaled(60_000));
    random_operations(4, mix, 30_000, scaled(400_000));
}

#[test]
fn random_operations_agree_with_a_map_under_bad_hashes() {
    // All alike; few distinct; no tag bits; no bucket bits; one bucket bit in the middle.
    random_operations(5, |_| 0, 100, scaled(10_000));
    random_operations(6, |key| mix(key % 9), 300, scaled(20_000));
    random_operations(7, |key| mix(key) >> 8, 3000, scaled(40_000));
    random_operations(8, |key| mix(key) << 40, 400, scaled(20_000));
    random_operations(9, |key| mix(key) & 1 << 9, 400, scaled(20_000));
}

#[test]
fn thousands_of_equal_hashes_work() {
    let mut numbers = Numbers::new(|_| 0x1234_5678_9abc_def0);
    let count = scaled(5000);
    for key in 0..count {
        numbers.insert(key, key);
    }
    numbers.table.check();
    for key in (0..count).step_by(7) {
        assert_eq!(numbers.find(key), Some(key));
    }
    assert_eq!(numbers.find(count), None);
    let mut seen = 0;
    let mut cursor = 0;
    loop {
        cursor = numbers.table.scan(cursor, |_| seen += 1);
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen, count);
    let mut random = Random(10);
    let drawn: HashSet<u64> = (0..50)
        .map(|_| number(numbers.table.random(&mut || random.next()).unwrap()))
        .collect();
    assert!(!drawn.is_empty());
    for key in 0..count {
        assert_eq!(numbers.remove(key), Some(key));
    }
    assert_eq!(numbers.table.heap_bytes(), 0);
}

#[test]
fn memory_follows_the_number_of_elements() {
    let mut numbers = Numbers::new(mix);
    let count = scaled(100_000);
    for key in 0..count {
        numbers.insert(key, key);
        let len = numbers.table.len();
        if len > 100 {
            assert!(
                numbers.table.heap_bytes() < len * 18,
                "{} for {len}",
                numbers.table.heap_bytes()
            );
        }
    }
    numbers.table.check();
    for key in 0..count {
        assert_eq!(numbers.remove(key), Some(key));
        let len = numbers.table.len();
        if len > 100 {
            assert!(
                numbers.table.heap_bytes() < len * 22,
                "{} for {len}",
                numbers.table.heap_bytes()
            );
        }
        if key % 9973 == 0 {
            numbers.table.check();
        }
    }
    assert_eq!(numbers.table.heap_bytes(), 0);
}

#[test]
fn draining_frees_in_bounded_steps_and_leaves_a_sound_table() {
    let mut numbers = Numbers::new(mix);
    let count = scaled(30_000);
    for key in 0..count {
        numbers.insert(key, key);
    }
    let mut steps = 0;
    loop {
        let before = numbers.alive.get();
        let more = numbers.table.drain_some(100);
        assert!(before - numbers.alive.get() <= 100);
        assert_eq!(numbers.alive.get(), numbers.table.len());
        if steps % 50 == 0 {
            numbers.table.check();
            assert_eq!(
                (0..count)
                    .filter(|&key| numbers.find(key).is_some())
                    .count(),
                numbers.table.len()
            );
        }
        steps += 1;
        if !more {
            break;
        }
    }
    assert!(steps >= count / 100);
    assert_eq!(numbers.alive.get(), 0);
    assert_eq!(numbers.table.heap_bytes(), 0);
}

#[test]
fn a_half_drained_table_still_takes_inserts_and_removals() {
    let mut numbers = Numbers::new(mix);
    let mut random = Random(11);
    for round in 0..scaled(200) {
        for _ in 0..random.below(3000) {
            let key = random.below(100_000);
            match numbers.find(key) {
                Some(_) => assert_eq!(numbers.remove(key), Some(key)),
                None => numbers.insert(key, key),
            }
        }
        numbers.table.drain_some(random.below(2500) as usize);
        if round % 10 == 0 {
            numbers.table.check();
        }
    }
}

#[test]
fn a_scan_sees_every_element_that_stays_exactly_once() {
    for seed in 20..scaled(400).max(24) {
        let mut random = Random(seed);
        let mut numbers = Numbers::new(mix);
        let stay = random.below([10, 300, 4000][seed as usize % 3]) + 1;
        for key in 0..stay {
            numbers.insert(key, key);
        }
        // Others come and go in bulk, so that the table grows and shrinks by factors during the scan.
        let mut others: Vec<u64> = Vec::new();
        let mut next_other = stay;
        let mut seen: HashMap<u64, usize> = HashMap::new();
        let mut cursor = 0;
        loop {
            let before = cursor;
            cursor = numbers.table.scan(cursor, |content| {
                assert!(before == 0 || !walked(before, content.hash));
                *seen.entry(number(content)).or_default() += 1;
            });
            assert!(cursor == 0 || cursor > before);
            assert!(cursor < 1 << CURSOR_BITS);
            if cursor == 0 {
                break;
            }
            match random.below(8) {
                0 => {
                    for _ in 0..random.below(stay * 3 + 10) {
                        numbers.insert(next_other, 0);
                        others.push(next_other);
                        next_other += 1;
                    }
                }
                1 => {
                    for other in others.drain(..) {
                        assert_eq!(numbers.remove(other), Some(0));
                    }
                }
                _ => {}
            }
        }
        for key in 0..stay {
            assert_eq!(seen.get(&key), Some(&1), "seed {seed}, key {key}");
        }
        assert!(seen.values().all(|&times| times == 1));
    }
}

#[test]
fn any_cursor_from_outside_is_taken() {
    let mut numbers = Numbers::new(mix);
    for key in 0..100 {
        numbers.insert(key, key);
    }
    let mut random = Random(12);
    for _ in 0..1000 {
        let cursor = random.next() >> random.below(64);
        assert!(numbers.table.scan(cursor, |_| ()) < 1 << CURSOR_BITS);
    }
}

/// The promise that snapshots rest on: with writers handing over what the walk has not reached before they change it,
/// the walk yields the cut, each element once and as it was at the cut.
#[test]
fn a_walk_with_writers_handing_over_yields_exactly_the_cut() {
    for seed in 500..500 + scaled(300).max(3) {
        let mut random = Random(seed);
        let mut numbers = Numbers::new(mix);
        let keys = [20, 500, 6000][seed as usize % 3];
        for _ in 0..random.below(keys) {
            let key = random.below(keys);
            if numbers.find(key).is_none() {
                numbers.insert(key, random.next() >> 1);
            }
        }
        let cut: HashMap<u64, u64> = numbers
            .table
            .iter()
            .map(|content| (number(content), content.value))
            .collect();
        // Values with the top bit set were written after the cut or already handed over: not the walk's business.
        const AFTER: u64 = 1 << 63;
        let mut got: Vec<(u64, u64)> = Vec::new();
        let mut cursor = 0;
        loop {
            cursor = numbers.table.scan(cursor, |content| {
                if content.value & AFTER == 0 {
                    got.push((number(content), content.value));
                }
            });
            if cursor == 0 {
                break;
            }
            let burst = if random.below(10) == 0 { keys } else { 8 };
            let removals = random.below(9);
            for _ in 0..random.below(burst) {
                let key = random.below(keys * 2);
                let hash = mix(key);
                let fresh = numbers.content(key, random.next() | AFTER);
                match numbers.table.entry(hash, &key.to_le_bytes()) {
                    Entry::Vacant(vacant) => {
                        if removals < 5 {
                            vacant.insert(fresh);
                        }
                    }
                    Entry::Found(mut found) => {
                        if !walked(cursor, hash) && found.get().value & AFTER == 0 {
                            got.push((key, found.get().value));
                        }
                        if random.below(8) < removals {
                            found.remove();
                        } else {
                            found.replace(fresh);
                        }
                    }
                }
            }
        }
        assert_eq!(got.len(), cut.len(), "seed {seed}: each element once");
        assert_eq!(
            got.into_iter().collect::<HashMap<_, _>>(),
            cut,
            "seed {seed}"
        );
        numbers.table.check();
    }
}

#[test]
fn random_draws_are_fair() {
    for count in [1, 5, 8, 60, 1000] {
        let mut numbers = Numbers::new(mix);
        for key in 0..count {
            numbers.insert(key, key);
        }
        let mut random = Random(13);
        let draws = scaled(count * 2000).max(count);
        let mut times = vec![0u64; count as usize];
        for _ in 0..draws {
            times[number(numbers.table.random(&mut || random.next()).unwrap()) as usize] += 1;
        }
        if cfg!(miri) {
            continue;
        }
        // 2000 expected, standard deviation 45: six of them.
        let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        assert!(
            *least > 1730 && *most < 2270,
            "{least} to {most} of {count}"
        );
    }
}

#[test]
fn a_sample_holds_distinct_elements_and_reaches_all_buckets() {
    let mut numbers = Numbers::new(mix);
    for key in 0..3000 {
        numbers.insert(key, key);
    }
    let mut random = Random(14);
    let mut all: HashSet<u64> = HashSet::new();
    for _ in 0..scaled(10_000) {
        let mut seen = HashSet::new();
        let count = numbers.table.sample(16, random.next(), |content| {
            assert!(seen.insert(number(content)))
        });
        assert_eq!((count, seen.len()), (16, 16));
        all.extend(seen);
    }
    if !cfg!(miri) {
        assert!(all.len() > 2900);
    }
    let mut seen = HashSet::new();
    assert_eq!(
        numbers
            .table
            .sample(10_000, 5, |content| assert!(seen.insert(number(content)))),
        3000
    );
}

#[test]
fn a_table_may_move_to_another_thread() {
    struct Sent(Box<u64>);
    impl Element for Sent {
        fn key(&self) -> &[u8] {
            &[]
        }
        fn hash(&self) -> u64 {
            mix(*self.0)
        }
        fn address(&self) -> *const u8 {
            (&raw const *self.0).cast()
        }
    }
    let mut table = Table::new();
    for number in 0..100 {
        table.insert(mix(number), Sent(Box::new(number)));
    }
    let sum = std::thread::spawn(move || table.iter().map(|sent| *sent.0).sum::<u64>())
        .join()
        .unwrap();
    assert_eq!(sum, 4950);
}
