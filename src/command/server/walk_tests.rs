//! The walk of a snapshot against commands of all kinds: what is written is the data set at the cut, whatever happens
//! between the steps.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::base::random::Random;
use crate::command::harness::Harness;
use crate::config::{Config, SetContext};
use crate::keyspace::Value;
use crate::persistence::Status;
use crate::persistence::background::{Consumer, Ending, Feed, Layout};
use crate::persistence::file::tests::FaultyDisk;
use crate::persistence::file::{Disk, Output};
use crate::persistence::load::{self, Plan};
use crate::persistence::rdb::{self, Content, Limits};
use crate::persistence::status::Purpose;
use crate::resp::request::Key;
use crate::shard::saving::{Cut, cut};
use crate::shard::{Progress, Shard, Shards};
use crate::structures::entry::Payload;
use crate::structures::listpack::TextBuffer;

/// Database and key; expiry and value in a form that can be compared.
type State = BTreeMap<(usize, Vec<u8>), (Option<i64>, Vec<u8>)>;

/// A value as bytes that do not depend on the order of what has none.
fn canonical(payload: &Payload<'_, Value>) -> Vec<u8> {
    let mut rows: Vec<Vec<u8>> = match payload {
        Payload::Boxed(Value::Set(set)) => set.iter().map(|item| item.to_vec()).collect(),
        Payload::Boxed(Value::Hash(hash)) => hash
            .iter()
            .map(|(field, value)| [field.to_vec(), value.to_vec()].join(&b"\x00=\x00"[..]))
            .collect(),
        Payload::Boxed(Value::Zset(zset)) => zset
            .iter(0..zset.len())
            .map(|(name, score)| [name.text(&mut TextBuffer::new()), &score.to_le_bytes()].concat())
            .collect(),
        Payload::Boxed(Value::List(list)) => {
            let items: Vec<Vec<u8>> = list.iter().map(|item| item.to_vec()).collect();
            return [b"list".to_vec(), items.join(&b"\x00,\x00"[..])].concat();
        }
        _ => return rdb::dump(payload, false),
    };
    rows.sort();
    rows.insert(0, Vec::from(rdb::Writer::type_of(payload).to_string()));
    rows.join(&b"\x00,\x00"[..])
}

fn state(shards: &[Shard]) -> State {
    let mut state = State::new();
    for shard in shards {
        for db in 0..shard.keyspace.databases() {
            for entry in shard.keyspace.entries(db) {
                let content = (entry.expire_at(), canonical(&entry.payload()));
                state.insert((db, entry.key().to_vec()), content);
            }
        }
    }
    state
}

/// Files in memory.
struct Target {
    disk: FaultyDisk,
    /// It takes nothing before something comes here, or nothing can come any more.
    gate: Option<Receiver<()>>,
}

impl Consumer for Target {
    fn open(&mut self, number: usize) -> io::Result<Box<dyn Output>> {
        if let Some(gate) = self.gate.take() {
            let _ = gate.recv();
        }
        self.disk.create(&path(number))
    }

    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn abandon(&mut self) {}
}

fn path(number: usize) -> PathBuf {
    PathBuf::from(format!("/data/{number}.rdb"))
}

struct World {
    h: Harness,
    random: Random,
    disk: FaultyDisk,
    status: Arc<Status>,
    config: Arc<Config>,
}

impl World {
    fn new(shards: usize, seed: u64, directives: &[(&[u8], &[u8])]) -> Self {
        let context = SetContext {
            client_is_local: true,
            loading: false,
        };
        let mut pairs: Vec<(&[u8], &[u8])> = vec![(b"save", b"")];
        pairs.extend(directives);
        let config = Config::default().set(&pairs, context).unwrap().config;
        let config = Arc::new(config);
        let status = Arc::new(Status::new(0));
        let mut h = Harness::new(shards);
        for shard in &mut h.shards {
            shard.effects.set_logged(false);
            shard.configure(&config);
            shard.snapshots = status.clone();
        }
        World {
            h,
            random: Random::new(seed),
            disk: FaultyDisk::default(),
            status,
            config,
        }
    }

    fn begin(&mut self, layout: Layout) -> (Arc<Feed>, Receiver<bool>) {
        let target = Target {
            disk: self.disk.clone(),
            gate: None,
        };
        self.begin_for(Purpose::Snapshot, layout, target)
    }

    fn begin_for(
        &mut self,
        purpose: Purpose,
        layout: Layout,
        target: Target,
    ) -> (Arc<Feed>, Receiver<bool>) {
        let (sender, ended) = channel();
        let mut held: Vec<&mut Shard> = self.h.shards.iter_mut().collect();
        let total = held.len();
        let what = Cut {
            purpose,
            layout,
            disk: Arc::new(self.disk.clone()),
            spill: "/data/aside".into(),
        };
        let feed = cut(
            &mut Shards::new(&mut held, total),
            what,
            Box::new(target),
            move |ending| {
                let _ = sender.send(matches!(ending, Ending::Done { .. }));
            },
        );
        (feed.unwrap(), ended)
    }

    /// Some steps of one shard's walk.
    fn step(&mut self, shard: usize, steps: u64) -> Progress {
        let mut left = steps;
        self.h.shards[shard].step_walk(&mut || {
            left = left.saturating_sub(1);
            left > 0
        })
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn key(&mut self) -> String {
        let n = self.below(120);
        // Some share a slot, some are on a shard of their own.
        match n % 3 {
            0 => format!("key:{n}"),
            1 => format!("{{tag}}:{n}"),
            _ => format!("k{n}{{other}}"),
        }
    }

    fn text(&mut self) -> String {
        match self.below(12) {
            0 => "x".repeat(20_000 + self.below(100) as usize),
            1 if self.below(8) == 0 => "long".repeat(300_000 + self.below(1000) as usize),
            2..6 => self.below(1_000_000).to_string(),
            _ => format!("text {}", self.below(1_000_000)),
        }
    }

    /// A command with many elements, so that values become big.
    fn many(&mut self, command: &str, pairs: bool) {
        let key = self.key();
        let count = [3, 40, 900][self.below(3) as usize];
        let mut words = vec![command.to_owned(), key];
        for _ in 0..count {
            if pairs && command == "ZADD" {
                words.push(self.below(1000).to_string());
            }
            words.push(format!("element:{}", self.below(3000)));
            if pairs && command != "ZADD" {
                words.push(format!("value {}", self.below(3000)));
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.h.run(&words);
    }

    /// A random command.
    fn write(&mut self, wild: bool) {
        let (key, other) = (self.key(), self.key());
        let n = self.below(3000);
        let element = format!("element:{n}");
        match self.below(if wild { 46 } else { 43 }) {
            0..4 => {
                let text = self.text();
                self.h.run(&["SET", &key, &text]);
            }
            4 => drop(self.h.run(&["APPEND", &key, "tail"])),
            5 => drop(self.h.run(&["SETRANGE", &key, "7", "mid"])),
            6 => drop(self.h.run(&["INCR", &key])),
            7 => drop(self.h.run(&["SETBIT", &key, &n.to_string(), "1"])),
            8..10 => drop(self.h.run(&["DEL", &key, &other])),
            10..12 => drop(self.h.run(&["RENAME", &key, &other])),
            12 => drop(self.h.run(&["COPY", &key, &other, "REPLACE"])),
            13 => drop(self.h.run(&["PEXPIRE", &key, &(n + 1).to_string()])),
            14 => drop(self.h.run(&["PERSIST", &key])),
            15 => drop(self.h.run(&["GETEX", &key, "PX", &(n + 1).to_string()])),
            16 => drop(self.h.run(&["MOVE", &key, "3"])),
            17..19 => self.many("SADD", false),
            19..21 => self.many("HSET", true),
            21..23 => self.many("ZADD", true),
            23 => self.many("RPUSH", false),
            24 => self.many("LPUSH", false),
            25 => drop(self.h.run(&["SREM", &key, &element])),
            26 => drop(self.h.run(&["SPOP", &key, &(n % 1000).to_string()])),
            27 => drop(self.h.run(&["HDEL", &key, &element])),
            28 => drop(self.h.run(&["HINCRBY", &key, &element, "5"])),
            29 => drop(self.h.run(&["ZREM", &key, &element])),
            30 => drop(self.h.run(&["ZINCRBY", &key, "3", &element])),
            31 => drop(self.h.run(&["ZPOPMIN", &key, &(n % 50).to_string()])),
            32 => drop(self.h.run(&["LPOP", &key, &(n % 50).to_string()])),
            33 => drop(self.h.run(&["LTRIM", &key, "5", "-5"])),
            34 => drop(self.h.run(&["LSET", &key, &(n % 40).to_string(), "set"])),
            35 => drop(self.h.run(&["LINSERT", &key, "BEFORE", &element, "ins"])),
            36 => {
                for _ in 0..20 {
                    self.h.run(&["XADD", &key, "*", "field", &element]);
                }
            }
            37 => {
                self.h.run(&["XGROUP", "CREATE", &key, "group", "0"]);
                self.h.run(&[
                    "XREADGROUP",
                    "GROUP",
                    "group",
                    "me",
                    "COUNT",
                    "7",
                    "STREAMS",
                    &key,
                    ">",
                ]);
            }
            38 => drop(self.h.run(&["XTRIM", &key, "MAXLEN", "100"])),
            39 => drop(self.h.run(&["PFADD", &key, &element])),
            40 => drop(self.h.run(&["PFCOUNT", &key])),
            41 => drop(self.h.run(&["SUNIONSTORE", &key, &other, &key])),
            42 => {
                let now = self.h.shards[0].now + self.random.below(50) as i64;
                self.h.set_now(now);
            }
            43 => drop(self.h.run(&["FLUSHDB"])),
            44 => drop(self.h.run(&["SWAPDB", "0", "3"])),
            _ => self.h.caller.db = [0, 0, 3, 5][self.random.below(4) as usize],
        }
    }

    /// What the files hold.
    fn read(&self, layout: Layout) -> State {
        let plan = Plan {
            limits: Limits::of(&self.config),
            check_sum: true,
            databases: 16,
            now: 0,
            drop_expired: false,
            leave_raw: false,
        };
        let files = match layout {
            Layout::Joined => 1,
            Layout::Apart => self.h.shards.len(),
        };
        let mut state = State::new();
        for number in 0..files {
            let path: &Path = &path(number);
            load::load(&self.disk, path, &plan, &self.status, |loaded| {
                let content = match &loaded.content {
                    Content::Int(value) => canonical(&Payload::Int(*value)),
                    Content::Bytes(bytes) => canonical(&Payload::Bytes(bytes)),
                    Content::Value(value) => canonical(&Payload::Boxed(value)),
                    other => panic!("{other:?}"),
                };
                let name = (loaded.db as usize, loaded.key.clone());
                let old = state.insert(name, (loaded.expire_at, content));
                assert!(old.is_none(), "a key is written once");
                Ok(())
            })
            .unwrap();
        }
        state
    }
}

fn assert_same(found: &State, expected: &State) {
    let names = |state: &State| -> Vec<String> {
        let name = |(db, key): &(usize, Vec<u8>)| format!("{db}/{}", String::from_utf8_lossy(key));
        state.keys().map(name).collect()
    };
    assert_eq!(names(found), names(expected));
    for (name, content) in expected {
        let key = String::from_utf8_lossy(&name.1);
        assert_eq!(found[name].0, content.0, "expiry of {key}");
        assert!(found[name].1 == content.1, "value of {key} in {}", name.0);
    }
}

#[test]
fn what_is_written_is_the_data_set_at_the_cut() {
    for seed in 0..8 {
        let shards = [1, 3][seed as usize % 2];
        let layout = [Layout::Joined, Layout::Apart][seed as usize / 2 % 2];
        let mut world = World::new(shards, seed, &[(b"snapshot-memory-limit", b"1mb")]);
        for _ in 0..300 + world.below(500) {
            world.write(true);
        }
        // Several walks one after the other, so that stamps come round.
        for _ in 0..3 {
            let expected = state(&world.h.shards);
            let (feed, ended) = world.begin(layout);
            let (writes, steps) = ([1, 12, 60][seed as usize % 3], 1 + world.below(40));
            let mut over = vec![false; shards];
            while over.contains(&false) {
                for _ in 0..world.below(writes) {
                    world.write(seed % 4 == 0);
                    world.h.shards.iter_mut().for_each(|shard| {
                        shard.count_kept();
                    });
                }
                for (shard, over) in over.iter_mut().enumerate() {
                    let steps = 1 + world.below(steps);
                    match world.step(shard, steps) {
                        Progress::Over => *over = true,
                        Progress::Going => {}
                        Progress::Waiting => std::thread::sleep(Duration::from_micros(200)),
                    }
                }
            }
            assert!(ended.recv().unwrap(), "seed {seed}");
            assert!(!feed.is_over() && !feed.is_crowded());
            assert_eq!(feed.kept(), 0, "seed {seed}: all that was kept is written");
            let found = world.read(layout);
            assert_same(&found, &expected);
            assert_eq!(
                feed.progress(),
                (expected.len() as u64, expected.len() as u64)
            );
            for shard in &world.h.shards {
                assert!(shard.walk().is_none());
                shard.keyspace.check();
                let stamp = shard.keyspace.stamp();
                for db in 0..16 {
                    for entry in shard.keyspace.entries(db) {
                        assert_eq!(entry.stamp(), stamp, "everything has been dealt with");
                        let walking = entry.boxed().is_some_and(Value::is_walking);
                        assert!(!walking, "no value is walked any more");
                    }
                }
            }
            world.disk.files.lock().unwrap().clear();
            while world.status.saves.under_way().is_some() {
                std::thread::yield_now();
            }
        }
    }
}

#[test]
fn of_a_long_string_only_what_changes_is_kept() {
    let mut world = World::new(1, 1, &[]);
    let text = "long".repeat(1 << 20);
    world.h.run(&["SET", "a", &text]);
    world.h.run(&["SET", "b", &text]);
    let expected = state(&world.h.shards);
    let (feed, ended) = world.begin(Layout::Joined);
    world.h.run(&["APPEND", "a", &text]);
    world.h.run(&["EXPIRE", "b", "1000"]);
    world.h.run(&["RENAME", "a", "renamed"]);
    world.h.run(&["MOVE", "renamed", "2"]);
    world.h.caller.db = 2;
    world.h.run(&["RENAME", "renamed", "a"]);
    world.h.run(&["MOVE", "a", "0"]);
    world.h.caller.db = 0;
    assert_eq!(feed.copied(), 0);
    world.h.run(&["SETRANGE", "a", "100000", "x"]);
    world.h.run(&["SETBIT", "b", "1600000", "1"]);
    world.h.run(&["SETRANGE", "a", "100001", "y"]);
    assert!((1..300_000).contains(&feed.copied()));
    world.h.run(&["DEL", "b"]);
    while world.step(0, 3) != Progress::Over {
        std::thread::sleep(Duration::from_micros(100));
    }
    assert!(ended.recv().unwrap());
    assert_same(&world.read(Layout::Joined), &expected);
}

#[test]
fn long_strings_are_compressed_where_that_is_worth_it() {
    for compress in [b"yes".as_slice(), b"no"] {
        let mut world = World::new(1, 3, &[(b"rdbcompression", compress)]);
        let noise = |world: &mut World, bytes: usize| -> String {
            let letters = std::iter::repeat_with(|| char::from(33 + world.below(90) as u8));
            letters.take(bytes).collect()
        };
        // Some shrink to what fits into memory, some go by way of a file, some do not shrink, some only at first.
        let (few, much) = (noise(&mut world, 12), noise(&mut world, 1 << 21));
        let half: String = much.chars().flat_map(|letter| [letter; 6]).collect();
        let mixed = few.repeat(100_000) + &much;
        world.h.run(&["SET", "few", &few.repeat(200_000)]);
        world.h.run(&["SET", "half", &half]);
        world.h.run(&["SET", "much", &much]);
        world.h.run(&["SET", "mixed", &mixed]);
        let expected = state(&world.h.shards);
        let plain = few.len() * 200_000 + half.len() + much.len() + mixed.len();
        let (_, ended) = world.begin(Layout::Joined);
        while world.step(0, 100) != Progress::Over {
            std::thread::sleep(Duration::from_micros(100));
        }
        assert!(ended.recv().unwrap());
        assert_same(&world.read(Layout::Joined), &expected);
        let files = world.disk.files.lock().unwrap();
        assert_eq!(files.len(), 1, "nothing is left aside");
        let size = files[&path(0)].len();
        let shrinks = size < plain - 4_000_000;
        assert_eq!(shrinks, compress == b"yes", "{size} of {plain}");
    }
}

#[test]
fn long_strings_are_written_as_they_were_at_the_cut() {
    for seed in 0..6 {
        let mut world = World::new(1 + seed as usize % 2, seed, &[]);
        let keys = ["a", "b", "c", "d", "e"];
        for key in keys {
            let text = "long".repeat(262_144 + world.below(200_000) as usize);
            world.h.run(&["SET", key, &text]);
        }
        let expected = state(&world.h.shards);
        let (_, ended) = world.begin(Layout::Joined);
        let shards = world.h.shards.len();
        let mut over = vec![false; shards];
        while over.contains(&false) {
            for _ in 0..world.below(6) {
                let key = keys[world.below(5) as usize];
                let other = keys[world.below(5) as usize];
                let place = world.below(2_000_000).to_string();
                let part = "part".repeat(1 << world.below(15));
                match world.below(if seed > 2 { 13 } else { 10 }) {
                    0 => drop(world.h.run(&["APPEND", key, &part])),
                    1..4 => drop(world.h.run(&["SETRANGE", key, &place, &part])),
                    4 => drop(world.h.run(&["SETBIT", key, &place, "1"])),
                    5 => drop(world.h.run(&["BITFIELD", key, "SET", "u8", &place, "7"])),
                    6 => drop(world.h.run(&["EXPIRE", key, &place])),
                    7 => drop(world.h.run(&["PERSIST", key])),
                    8 => drop(world.h.run(&["GETEX", key, "EX", "100"])),
                    9 if world.below(4) == 0 => drop(world.h.run(&["SET", key, &part])),
                    9 => {}
                    10 => drop(world.h.run(&["RENAME", key, other])),
                    11 => drop(world.h.run(&["DEL", key])),
                    _ => drop(world.h.run(&["SWAPDB", "0", "3"])),
                }
            }
            for (shard, over) in over.iter_mut().enumerate() {
                let steps = 1 + world.below(4);
                match world.step(shard, steps) {
                    Progress::Over => *over = true,
                    Progress::Going => {}
                    Progress::Waiting => std::thread::sleep(Duration::from_micros(200)),
                }
            }
        }
        assert!(ended.recv().unwrap(), "seed {seed}");
        assert_same(&world.read(Layout::Joined), &expected);
    }
}

#[test]
fn walks_that_are_given_up_leave_nothing_behind_and_the_next_one_is_right() {
    for seed in 100..102 {
        let mut world = World::new(2, seed, &[]);
        for _ in 0..600 {
            world.write(true);
        }
        // More of them than there are stamps.
        for round in 0..40 {
            let (feed, _ended) = world.begin(Layout::Joined);
            for _ in 0..world.below(20) {
                world.write(true);
            }
            let steps = 1 + world.below(60);
            world.step(round % 2, steps);
            feed.cancel();
            for _ in 0..world.below(20) {
                world.write(true);
            }
            if round % 3 > 0 {
                world.step(0, 1);
                world.step(1, 1);
                assert!(world.h.shards.iter().all(|shard| shard.walk().is_none()));
            }
            while world.status.saves.under_way().is_some() {
                std::thread::yield_now();
            }
        }
        let expected = state(&world.h.shards);
        let (_, ended) = world.begin(Layout::Joined);
        for shard in 0..2 {
            while world.step(shard, 100) != Progress::Over {
                world.write(true);
            }
        }
        assert!(ended.recv().unwrap());
        assert_same(&world.read(Layout::Joined), &expected);
    }
}

#[test]
fn a_disk_that_fails_ends_the_walk_and_says_so() {
    for fails_at in [0, 1, 2] {
        let mut world = World::new(2, 5, &[]);
        for _ in 0..300 {
            world.write(true);
        }
        world.disk.fails_at = Some(fails_at);
        let (feed, ended) = world.begin(Layout::Joined);
        let outcome = Arc::new(Mutex::new(None));
        for shard in 0..2 {
            while world.step(shard, 50) != Progress::Over {
                std::thread::yield_now();
            }
        }
        *outcome.lock().unwrap() = ended.recv().ok();
        assert_eq!(*outcome.lock().unwrap(), Some(false), "{fails_at}");
        assert!(feed.is_over() && world.h.shards.iter().all(|shard| shard.walk().is_none()));
    }
}

/// A world with strings of 50 KB and one set, and a key of each kind of command that makes a walk keep something.
fn world_of_big_keys(directives: &[(&[u8], &[u8])]) -> World {
    let mut world = World::new(1, 1, directives);
    for n in 0..200 {
        let value = "v".repeat(50_000);
        world.h.run(&["SET", &format!("string:{n}"), &value]);
    }
    for n in 0..40 {
        let members: Vec<String> = (0..500)
            .map(|m| format!("member:{n}:{m}:{}", "m".repeat(60)))
            .collect();
        let mut words = vec!["SADD", "set"];
        words.extend(members.iter().map(String::as_str));
        world.h.run(&words);
    }
    let long = "l".repeat(3 << 20);
    world.h.run(&["SET", "long", &long]);
    world
}

#[test]
fn writes_that_would_make_a_walk_keep_more_than_it_may_are_told_to_wait_for_the_disk() {
    let rounds: [&[&str]; 4] = [
        &["SETRANGE", "string:*", "0", "new"],
        &["SREM", "set", "member:*:0", "member:*:1", "member:*:2"],
        &["SETRANGE", "long", "*", "new"],
        &["DEL", "string:*"],
    ];
    for words in rounds {
        let mut world = world_of_big_keys(&[(b"snapshot-memory-limit", b"1mb")]);
        let expected = state(&world.h.shards);
        let (release, gate) = channel();
        let target = Target {
            disk: world.disk.clone(),
            gate: Some(gate),
        };
        let (feed, ended) = world.begin_for(Purpose::Snapshot, Layout::Joined, target);
        assert!(!world.status.saves.is_crowded());
        while world.step(0, 1) == Progress::Going {} // the walk takes its part of the room
        assert!(!feed.is_crowded(), "the rest is for writers");
        let (mut n, mut crowded) = (200, false);
        while !crowded && n > 0 {
            n -= 1;
            let at = match words[1] {
                "long" => (n * 15_000).to_string(),
                _ => n.to_string(),
            };
            let with: Vec<String> = words.iter().map(|word| word.replace('*', &at)).collect();
            let with: Vec<&str> = with.iter().map(String::as_str).collect();
            world.h.run(&with);
            crowded = world.h.shards[0].count_kept();
        }
        let is_bounded = words[0] == "SREM"; // half a megabyte is all that can come of that
        assert!(crowded || is_bounded, "{words:?}");
        if crowded {
            let key = |name: &str| world.h.shards[0].would_keep(0, &Key::new(name.as_bytes()));
            assert!(world.status.saves.is_crowded() && key("string:0"));
            assert!(
                !key("another"),
                "what was not there at the cut is nothing to keep"
            );
        }
        release.send(()).unwrap();
        while world.step(0, 50) != Progress::Over {
            std::thread::yield_now();
        }
        assert!(ended.recv().unwrap());
        assert!(!feed.is_crowded() && !world.status.saves.is_crowded() && feed.kept() == 0);
        assert_same(&world.read(Layout::Joined), &expected);
    }
}

#[test]
fn a_copy_for_replicas_that_are_too_slow_is_given_up_and_no_write_waits_for_it() {
    let mut world = world_of_big_keys(&[
        (b"snapshot-memory-limit", b"1mb"),
        (b"client-output-buffer-limit", b"replica 2mb 0 0"),
    ]);
    let (_release, gate) = channel();
    let target = Target {
        disk: world.disk.clone(),
        gate: Some(gate),
    };
    let (feed, _) = world.begin_for(Purpose::Sync, Layout::Joined, target);
    let mut written = 0;
    while !feed.is_over() {
        assert!(written < 200, "more than the bound is kept");
        world
            .h
            .run(&["SETRANGE", &format!("string:{written}"), "0", "new"]);
        assert!(!world.h.shards[0].count_kept(), "nobody waits");
        written += 1;
    }
    assert!(feed.was_outrun() && written > 2 * 20, "{written}");
    assert_eq!(world.step(0, 1), Progress::Over);
}
