//! What does the keyspace's hash table cost? Bytes per entry, nanoseconds per look-up and insert, and the longest
//! single insert, with hashbrown beside it in the same run.
//!
//! Run with `cargo bench --bench table`; arguments choose parts: `memory`, `find`, `insert`. Elements are
//! boxes of 48 bytes (key of 16 bytes, value of 32), so a hit reads one bucket and one element. Times of one run compare
//! with each other, not with those of other machines.

use std::hint::black_box;
use std::time::Instant;

use hashbrown::HashTable;
use slotwise::structures::table::{Element, Table};
use tikv_jemalloc_ctl::{epoch, stats};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SLOTS: usize = 16384;
const BATCH: usize = 16;

struct Content {
    key: [u8; 16],
    _value: [u64; 4],
}

struct Handle(Box<Content>);

impl Handle {
    fn new(number: u64) -> Self {
        Handle(Box::new(Content {
            key: key_of(number),
            _value: [number; 4],
        }))
    }
}

impl Element for Handle {
    #[inline]
    fn key(&self) -> &[u8] {
        &self.0.key
    }

    #[inline]
    fn hash(&self) -> u64 {
        // What hashing the key would cost; reading the stored hash would flatter the splits.
        mix(u64::from_le_bytes(
            self.0.key[..8].try_into().expect("eight bytes"),
        ))
    }

    #[inline]
    fn address(&self) -> *const u8 {
        (&raw const *self.0).cast()
    }
}

/// For the measurement of memory: an element that has no allocation of its own.
struct Bare(u64);

impl Element for Bare {
    fn key(&self) -> &[u8] {
        &[]
    }

    fn hash(&self) -> u64 {
        mix(self.0)
    }

    fn address(&self) -> *const u8 {
        std::ptr::null()
    }
}

fn key_of(number: u64) -> [u8; 16] {
    let mut key = [b'k'; 16];
    key[..8].copy_from_slice(&number.to_le_bytes());
    key
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// The slot of a number: unrelated to its hash, as CRC16 is.
fn slot_of(number: u64) -> usize {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50) as usize
}

/// Bytes that the allocator has handed out, rounding included.
fn allocated() -> usize {
    epoch::advance().expect("statistics are compiled in");
    stats::allocated::read().expect("statistics are compiled in")
}

/// Bytes of pages in use by allocations: what fragmentation inside slabs adds.
fn active() -> usize {
    epoch::advance().expect("statistics are compiled in");
    stats::active::read().expect("statistics are compiled in")
}

fn memory() {
    println!("bytes per entry (allocated / active pages)      table          hashbrown");
    for (tables, entries) in [
        (SLOTS, 300_000),
        (SLOTS, 1_000_000u64),
        (SLOTS, 2_000_000),
        (SLOTS, 3_000_000),
        (SLOTS, 4_000_000),
        (SLOTS, 6_000_000),
        (SLOTS, 10_000_000),
        (1, 1_000_000),
        (1, 1_500_000),
        (1, 2_000_000),
        (1, 5_000_000),
        (1, 7_000_000),
        (1, 10_000_000),
    ] {
        let (before, before_active) = (allocated(), active());
        let mut ours: Vec<Table<Bare>> = (0..tables).map(|_| Table::new()).collect();
        for number in 0..entries {
            ours[slot_of(number) % tables].insert(mix(number), Bare(number));
        }
        let each = |now: usize, before: usize| (now - before) as f64 / entries as f64;
        let table = (each(allocated(), before), each(active(), before_active));
        drop(ours);
        let (before, before_active) = (allocated(), active());
        let mut theirs: Vec<HashTable<Bare>> = (0..tables).map(|_| HashTable::new()).collect();
        for number in 0..entries {
            theirs[slot_of(number) % tables]
                .insert_unique(mix(number), Bare(number), |bare| mix(bare.0));
        }
        let hashbrown = (
            each(allocated(), before),
            (active() as f64 - before_active as f64) / entries as f64,
        );
        println!(
            "{entries:>9} entries in {tables:>5} tables:        {:6.2} / {:6.2}   {:6.2} / {:6.2}",
            table.0, table.1, hashbrown.0, hashbrown.1
        );
    }
}

/// Nanoseconds per call of `look_up`, which is given batches of numbers.
fn time_finds(entries: u64, mut look_up: impl FnMut(&[u64; BATCH]) -> usize) -> f64 {
    const BATCHES: u64 = 200_000;
    let mut best = f64::INFINITY;
    for round in 0..3 {
        let start = Instant::now();
        let mut found = 0;
        for batch in 0..BATCHES {
            let numbers: [u64; BATCH] = std::array::from_fn(|i| {
                mix((round * BATCHES + batch) * BATCH as u64 + i as u64) % entries
            });
            found += look_up(black_box(&numbers));
        }
        assert_eq!(found as u64, BATCHES * BATCH as u64);
        best = best.min(start.elapsed().as_nanos() as f64 / (BATCHES * BATCH as u64) as f64);
    }
    best
}

fn find() {
    println!("ns per find (hit)            table   prefetched by {BATCH}   hashbrown");
    for (tables, entries) in [
        (SLOTS, 1_000_000u64),
        (1, 1_000_000),
        (SLOTS, 4_000_000),
        (1, 4_000_000),
    ] {
        let slot = |number: u64| slot_of(number) % tables;
        let mut ours: Vec<Table<Handle>> = (0..tables).map(|_| Table::new()).collect();
        for number in 0..entries {
            ours[slot(number)].insert(mix(number), Handle::new(number));
        }
        let plain = time_finds(entries, |numbers| {
            let hit = |&&number: &&u64| {
                ours[slot(number)]
                    .find(mix(number), &key_of(number))
                    .is_some()
            };
            numbers.iter().filter(hit).count()
        });
        let prefetched = time_finds(entries, |numbers| {
            let hashes = numbers.map(mix);
            for (hash, &number) in hashes.iter().zip(numbers) {
                ours[slot(number)].prefetch_bucket(*hash);
            }
            for (hash, &number) in hashes.iter().zip(numbers) {
                ours[slot(number)].prefetch_element(*hash);
            }
            for (hash, &number) in hashes.iter().zip(numbers) {
                ours[slot(number)].prefetch_rest(*hash);
            }
            let hit = |&(&number, &hash): &(&u64, &u64)| {
                ours[slot(number)].find(hash, &key_of(number)).is_some()
            };
            numbers.iter().zip(&hashes).filter(hit).count()
        });
        drop(ours);
        let mut theirs: Vec<HashTable<Handle>> = (0..tables).map(|_| HashTable::new()).collect();
        for number in 0..entries {
            theirs[slot(number)]
                .insert_unique(mix(number), Handle::new(number), |handle| handle.hash());
        }
        let hashbrown = time_finds(entries, |numbers| {
            let hit = |&&number: &&u64| {
                let key = key_of(number);
                theirs[slot(number)]
                    .find(mix(number), |handle| handle.0.key == key)
                    .is_some()
            };
            numbers.iter().filter(hit).count()
        });
        println!(
            "{entries:>8} in {tables:>5} tables:  {plain:6.1}   {prefetched:6.1}             {hashbrown:6.1}"
        );
    }
}

/// What a run of inserts cost.
struct Inserts {
    /// Of the quickest of the rounds, the clock's reading included.
    mean_ns: f64,
    /// The slowest insert in microseconds, where each insert counts with its quickest round: the work is the same in
    /// each, so what remains is the table's own and not the machine's noise.
    longest_us: f64,
}

/// Times inserts into `tables` fresh tables, round by round; elements are made before.
fn time_inserts<T>(
    entries: u64,
    tables: usize,
    make: impl Fn() -> T,
    mut insert: impl FnMut(&mut T, u64, Handle),
) -> Inserts {
    const ROUNDS: usize = 3;
    let mut quickest = vec![u32::MAX; entries as usize];
    let mut mean_ns = f64::INFINITY;
    for _ in 0..ROUNDS {
        let handles: Vec<(u64, Handle)> = (0..entries).map(|n| (n, Handle::new(n))).collect();
        let mut made: Vec<T> = (0..tables).map(|_| make()).collect();
        let start = Instant::now();
        let mut last = start;
        for (number, handle) in handles {
            insert(&mut made[slot_of(number) % tables], number, handle);
            let now = Instant::now();
            let nanoseconds = u32::try_from((now - last).as_nanos()).unwrap_or(u32::MAX);
            let best = &mut quickest[number as usize];
            *best = nanoseconds.min(*best);
            last = now;
        }
        mean_ns = mean_ns.min(start.elapsed().as_nanos() as f64 / entries as f64);
    }
    Inserts {
        mean_ns,
        longest_us: f64::from(quickest.into_iter().max().unwrap_or(0)) / 1000.0,
    }
}

fn insert() {
    println!("insert                      table: ns, longest us    hashbrown: ns, longest us");
    for (tables, entries) in [
        (SLOTS, 1_000_000u64),
        (1, 1_000_000),
        (SLOTS, 5_000_000),
        (1, 5_000_000),
    ] {
        let table = time_inserts(entries, tables, Table::new, |table, number, handle| {
            table.insert(mix(number), handle);
        });
        let hashbrown = time_inserts(entries, tables, HashTable::new, |table, number, handle| {
            table.insert_unique(mix(number), handle, |handle| handle.hash());
        });
        println!(
            "{entries:>8} in {tables:>5} tables:   {:6.1} {:9.1}        {:6.1} {:9.1}",
            table.mean_ns, table.longest_us, hashbrown.mean_ns, hashbrown.longest_us
        );
    }
}

fn main() {
    let words = std::env::args().skip(1);
    let chosen: Vec<String> = words.filter(|word| !word.starts_with('-')).collect(); // cargo adds one
    let wanted = |part: &str| chosen.is_empty() || chosen.iter().any(|name| name == part);
    if wanted("memory") {
        memory();
    }
    if wanted("find") {
        find();
    }
    if wanted("insert") {
        insert();
    }
}
