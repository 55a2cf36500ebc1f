//! Whole recoveries, from files on a disk to shards.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::own::Files;
use super::{Choice, Halt, Recovered, check, choice, inspect, own, recover};
use crate::base::random::Random;
use crate::command::harness::Harness;
use crate::config::Config;
use crate::effect::{EPOCH_MARK, Step};
use crate::keyspace::Keyspace;
use crate::persistence::Status;
use crate::persistence::aof::manifest::{
    self, Durability, FileEntry, FileKind, Generation, Manifest,
};
use crate::persistence::aof::seal::Unsealed;
use crate::persistence::aof::set::boot_id;

/// A directory that goes with the test.
pub struct Scratch {
    pub path: PathBuf,
}

impl Scratch {
    pub fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("slotwise-recovery-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Scratch { path }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Shards that run commands and write what these did into logs, as a server does.
pub struct World {
    pub harness: Harness,
    /// What each shard's log holds.
    pub logs: Vec<Vec<u8>>,
    unsealed: Vec<Unsealed>,
    pub number: u64,
}

impl World {
    pub fn new(shards: usize, number: u64) -> Self {
        let mut harness = Harness::new(shards);
        harness.set_now(crate::base::clock::unix_ms());
        World {
            harness,
            logs: vec![Vec::new(); shards],
            unsealed: vec![Unsealed::default(); shards],
            number,
        }
    }

    /// The same with these keys in it.
    pub fn with(keyspaces: Vec<Keyspace>, number: u64) -> Self {
        let mut world = World::new(keyspaces.len(), number);
        for (shard, keyspace) in world.harness.shards.iter_mut().zip(keyspaces) {
            shard.keyspace = keyspace;
        }
        world
    }

    /// Runs commands as one unit; what was appended to each log by it.
    pub fn unit(&mut self, lines: &[String]) -> Vec<Vec<u8>> {
        for shard in &mut self.harness.shards {
            assert!(shard.effects.begin_unit());
        }
        for line in lines {
            match line.strip_prefix("SELECT ") {
                Some(db) => self.harness.caller.db = db.parse().unwrap(),
                None => {
                    self.harness.line(line);
                }
            }
        }
        let shards = &mut self.harness.shards;
        let parts: Vec<u16> = shards
            .iter()
            .filter(|shard| shard.effects.has_part())
            .map(|shard| shard.index as u16)
            .collect();
        if parts.len() > 1 {
            self.number += 1;
        }
        let step = (parts.len() > 1).then_some(Step::of(self.number, &parts));
        for shard in shards {
            shard.effects.end_unit(step);
        }
        self.write()
    }

    /// Marks an epoch in all logs, without its seal.
    pub fn mark(&mut self) -> Vec<Vec<u8>> {
        self.number += 1;
        for shard in &mut self.harness.shards {
            shard.effects.annotate(EPOCH_MARK, self.number);
        }
        self.write()
    }

    /// Marks an epoch in all logs.
    pub fn epoch(&mut self) {
        self.mark();
        self.seal();
    }

    /// Seals all logs that hold something new.
    pub fn seal(&mut self) {
        for (log, unsealed) in self.logs.iter_mut().zip(&mut self.unsealed) {
            if unsealed.length() > 0 {
                unsealed.seal(log);
            }
        }
    }

    fn write(&mut self) -> Vec<Vec<u8>> {
        let shards = self.harness.shards.iter_mut().zip(&mut self.logs);
        shards
            .zip(&mut self.unsealed)
            .map(|((shard, log), unsealed)| {
                let bytes = shard.effects.recorded().to_vec();
                shard.effects.clear();
                log.extend_from_slice(&bytes);
                unsealed.update(&bytes);
                bytes
            })
            .collect()
    }

    /// The data as one text: the digest, and all expiries.
    pub fn content(&mut self) -> String {
        let expiries: i64 = self
            .harness
            .shards
            .iter()
            .flat_map(|shard| (0..16).flat_map(|db| shard.keyspace.entries(db)))
            .filter_map(|entry| entry.expire_at())
            .fold(0, i64::wrapping_add);
        format!("{} {expiries}", self.harness.digest().trim_end())
    }
}

/// Random commands of all kinds: those that name several keys, that say another effect than themselves, that hit whole
/// databases.
pub fn commands(random: &mut Random) -> Vec<String> {
    let mut lines = Vec::new();
    if random.below(3) == 0 {
        lines.push(format!("SELECT {}", random.below(3)));
    }
    for _ in 0..1 + random.below(3) {
        let (a, b, n) = (random.below(12), random.below(12), random.below(100));
        lines.push(match random.below(22) {
            0 => format!("SET s:{a} value:{n}"),
            1 => format!("MSET s:{a} {n} s:{b} {n} s:x:{n} 1"),
            2 => format!("RENAME s:{a} s:{b}"),
            3 => format!("RENAME z:{a} z:{b}"),
            4 => format!("SADD t:{a} {n} {b} m:{n}"),
            5 => format!("SUNIONSTORE t:{a} t:{b} t:{n}"),
            6 => format!("SPOP t:{a}"),
            7 => format!("RPUSH l:{a} {n} x{b} y{n}"),
            8 => format!("LMOVE l:{a} l:{b} LEFT RIGHT"),
            9 => format!("ZADD z:{a} {n} m{b} {b}.5 m{n}"),
            10 => format!("ZUNIONSTORE z:{a} 2 z:{b} t:{a}"),
            11 => format!("HSET h:{a} f{b} {n} f{n} {b}"),
            12 => format!("HINCRBYFLOAT h:{a} f{b} 0.25"),
            13 => format!("INCRBY s:n:{a} {n}"),
            14 => format!("SET s:{a} gone PX {}", 100_000 + n),
            15 => format!("PEXPIRE z:{a} {}", 200_000 + n),
            16 => format!("DEL s:{a} t:{b} l:{a} h:{n}"),
            17 => format!("COPY h:{a} h:{b} REPLACE"),
            18 => format!("XADD x:{a} * f {n} g {b}"),
            19 => format!("XTRIM x:{a} MAXLEN ~ {b}"),
            20 if random.below(8) == 0 => "FLUSHDB".to_owned(),
            20 => format!("APPEND s:{a} {n}"),
            _ if random.below(6) == 0 => "SWAPDB 0 1".to_owned(),
            _ => format!("SETRANGE s:{a} {b} {n}"),
        });
    }
    lines
}

/// Writes logs as the last generation of a set.
pub fn lay_down(
    directory: &Path,
    manifest: &mut Manifest,
    logs: &[Vec<u8>],
    pieces: usize,
) -> Vec<String> {
    let number = manifest
        .generations
        .last()
        .map_or(1, |last| last.number + 1);
    let mut files = Vec::new();
    for (shard, log) in logs.iter().enumerate() {
        // Cuts between files fall where a unit ends; a whole log is one piece.
        for piece in 0..pieces {
            let kind = FileKind::Incremental;
            let name = Manifest::file_name("a.aof", number, shard, piece as u64 + 1, kind);
            let content: &[u8] = if piece + 1 == pieces { log } else { b"" };
            std::fs::write(directory.join(&name), content).unwrap();
            files.push(FileEntry { name, shard, kind });
        }
    }
    let names = files.iter().map(|file| file.name.clone()).collect();
    manifest.generations.push(Generation {
        number,
        shards: logs.len(),
        files,
    });
    std::fs::write(directory.join(manifest::NAME), manifest.to_text()).unwrap();
    names
}

pub fn manifest_of(boot: &str, durability: Durability) -> Manifest {
    Manifest {
        boot: boot.to_owned(),
        durability,
        ..Manifest::default()
    }
}

pub fn start(directory: &Path, shards: usize) -> Result<Recovered, String> {
    let choice = Choice::Own {
        directory: directory.to_owned(),
        manifest: choice::own_manifest(directory)?.expect("it is there"),
    };
    let config = Arc::new(Config::default());
    recover(choice, &config, shards, &Status::default())
        .map(|recovered| recovered.expect("nobody stops it"))
}

#[test]
fn logs_replay_to_what_was_there_generation_after_generation_under_any_numbers_of_shards() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let scratch = Scratch::new();
        let mut manifest = manifest_of(&boot_id(), Durability::Relaxed);
        let mut world = World::new(1 + random.below(5) as usize, 0);
        for _ in 0..1 + random.below(3) {
            for _ in 0..40 {
                world.unit(&commands(&mut random));
                if random.below(10) == 0 {
                    world.epoch();
                }
            }
            let before = world.content();
            lay_down(
                &scratch.path,
                &mut manifest,
                &world.logs,
                1 + seed as usize % 2,
            );
            let shards = 1 + random.below(6) as usize;
            let recovered = start(&scratch.path, shards).unwrap();
            assert_eq!(recovered.keyspaces.len(), shards);
            recovered.keyspaces.iter().for_each(Keyspace::check);
            assert!(recovered.manifest.next_number > world.number || world.number == 0);
            world = World::with(recovered.keyspaces, recovered.manifest.next_number);
            assert_eq!(world.content(), before, "seed {seed}");
        }
    }
}

/// The process is killed while a step is written: on some of its shards it is there, on one in part.
#[test]
fn a_step_half_written_when_the_process_is_killed_is_there_wholly_or_not_at_all() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let scratch = Scratch::new();
        let mut world = World::new(1 + random.below(4) as usize, 0);
        for _ in 0..30 {
            world.unit(&commands(&mut random));
        }
        let before = world.content();
        let mut logs = world.logs.clone();
        let appended = world.unit(&[
            "MSET s:1 a s:2 b s:3 c s:4 d".to_owned(),
            "SET s:9 e".to_owned(),
        ]);
        let after = world.content();
        for (log, bytes) in logs.iter_mut().zip(&appended) {
            let there = random.below(bytes.len() as u64 + 1) as usize;
            log.extend_from_slice(&bytes[..there]);
        }
        let mut manifest = manifest_of(&boot_id(), Durability::Always);
        lay_down(&scratch.path, &mut manifest, &logs, 1);
        // Looking at it says the same and changes nothing.
        let looked = check::check(&scratch.path).unwrap();
        assert!(!looked.stops_start, "{:?}", looked.lines);
        let config = Arc::new(Config::default());
        let manifest_read = choice::own_manifest(&scratch.path).unwrap().unwrap();
        let status = Status::default();
        let merged = own::recover(
            &scratch.path,
            manifest_read,
            &config,
            1,
            &status,
            Files::Leave,
        );
        let merged = World::with(merged.map_err(|_: Halt| ()).unwrap().keyspaces, 0).content();
        let recovered = start(&scratch.path, 3).unwrap();
        let found = World::with(recovered.keyspaces, 0).content();
        assert!(found == before || found == after, "seed {seed}");
        assert_eq!(found, merged);
        // What was dropped is off the disk: a second start finds everything in order.
        assert!(
            check::check(&scratch.path).unwrap().is_clean(),
            "seed {seed}"
        );
        let again = World::with(start(&scratch.path, 2).unwrap().keyspaces, 0).content();
        assert_eq!(again, found);
    }
}

#[test]
fn damage_in_the_middle_stops_the_start_and_mending_keeps_one_moment_of_all_shards() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let scratch = Scratch::new();
        let mut world = World::new(1 + random.below(4) as usize, 0);
        let mut moments = vec![world.content()];
        for _ in 0..60 {
            world.unit(&commands(&mut random));
            moments.push(world.content());
            if random.below(5) == 0 {
                world.epoch();
            }
        }
        let mut logs = world.logs.clone();
        let hit = (0..logs.len())
            .max_by_key(|shard| logs[*shard].len())
            .unwrap();
        let from = random.below(logs[hit].len() as u64) as usize;
        let command = logs[hit][from..].windows(3).position(|at| at == b"\r\n*");
        let Some(at) = command.map(|at| from + at + 2) else {
            continue;
        };
        logs[hit][at] = b'?';
        let mut manifest = manifest_of(&boot_id(), Durability::Relaxed);
        lay_down(&scratch.path, &mut manifest, &logs, 1);
        let text = start(&scratch.path, 2).err().expect("it is refused");
        assert!(
            text.contains("Bad file format") && text.contains("slotwise-dump check"),
            "{text}"
        );
        let found = check::check(&scratch.path).unwrap();
        assert!(found.stops_start && found.lines.iter().any(|line| line.contains("damaged")));
        let copies = found.mend.expect("it can be mended").apply().unwrap();
        assert!(!copies.is_empty());
        let recovered = start(&scratch.path, 3).unwrap();
        let content = World::with(recovered.keyspaces, 0).content();
        assert!(moments.contains(&content), "seed {seed}");
    }
}

#[test]
fn what_redis_would_refuse_in_a_log_is_refused_with_file_and_offset() {
    let ok = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    for (rest, text) in [
        (
            "*1\r\n$3\r\nFOO\r\n",
            "Unknown command 'FOO' reading the append only file",
        ),
        ("*1\r\n$3\r\nSET\r\n", "fits no command"),
        (
            "*2\r\n$6\r\nSELECT\r\n$2\r\n99\r\n",
            "selects database '99'",
        ),
        (
            "*3\r\n$5\r\nFCALL\r\n$1\r\nf\r\n$1\r\n0\r\n",
            "has a script at offset 27",
        ),
        ("nonsense", "offset 27"),
    ] {
        let scratch = Scratch::new();
        let logs = [format!("{ok}{rest}").into_bytes()];
        let mut manifest = manifest_of(&boot_id(), Durability::Relaxed);
        let names = lay_down(&scratch.path, &mut manifest, &logs, 1);
        let said = start(&scratch.path, 1).err().expect(rest);
        assert!(said.contains(text) && said.contains(&names[0]), "{said}");
    }
    // A key of another shard.
    let scratch = Scratch::new();
    let logs = [ok.as_bytes().to_vec(), ok.as_bytes().to_vec()];
    let mut manifest = manifest_of(&boot_id(), Durability::Relaxed);
    lay_down(&scratch.path, &mut manifest, &logs, 1);
    let said = start(&scratch.path, 1).err().unwrap();
    assert!(said.contains("belongs to another shard's file"), "{said}");
}

#[test]
fn scripts_in_a_log_are_run_again() {
    let script = |words: &[&str]| {
        let owned: crate::resp::request::OwnedArgs =
            words.iter().map(|word| word.as_bytes()).collect();
        let mut log = format!("*{}\r\n", words.len()).into_bytes();
        for word in owned.args(Default::default()).iter_from(0) {
            log.extend(format!("${}\r\n", word.len()).bytes());
            log.extend([word, b"\r\n"].concat());
        }
        log
    };
    let sha = crate::script::Sha::of(b"return redis.call('INCR', KEYS[1])");
    let logs = [[
        script(&["SET", "n", "40"]),
        script(&[
            "EVAL",
            "redis.call('SET', KEYS[1], redis.call('GET', 'n') + ARGV[1]); \
             redis.call('SELECT', 4); redis.call('PING'); redis.call('SET', 'four', 'x'); \
             return redis.pcall('INCR', 'four')",
            "1",
            "n",
            "1",
        ]),
        script(&["EVAL", "return redis.call('INCR', 'word')", "0"]),
        script(&["SET", "word", "w"]),
        script(&["EVAL", "return redis.call('INCR', 'word')", "0"]),
        script(&["SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1])"]),
        script(&["MULTI"]),
        script(&["EVALSHA", sha.as_str(), "1", "n"]),
        script(&["EXEC"]),
        script(&["EVALSHA", &"0".repeat(40), "0"]),
        script(&["EVAL", "return nonsense(", "0"]),
        script(&["SET", "last", "1"]),
    ]
    .concat()];
    let scratch = Scratch::new();
    let mut manifest = manifest_of(&boot_id(), Durability::Relaxed);
    lay_down(&scratch.path, &mut manifest, &logs, 1);
    let recovered = start(&scratch.path, 2).unwrap();
    let in_four = recovered.keyspaces.iter().flat_map(|one| one.entries(4));
    let in_four: Vec<&[u8]> = in_four.map(|entry| entry.key()).collect();
    assert_eq!(in_four, [b"four"]);
    let mut world = World::with(recovered.keyspaces, 0);
    for (key, value) in [("n", "42"), ("word", "w"), ("last", "1")] {
        let reply = world.harness.line(&format!("GET {key}"));
        assert!(reply.ends_with(&format!("{value}\r\n")), "{key}: {reply}");
    }
}

#[test]
fn a_snapshot_of_all_that_lies_there_is_made_without_touching_it() {
    let scratch = Scratch::new();
    let mut random = Random::new(5);
    let mut world = World::new(3, 0);
    for _ in 0..60 {
        world.unit(&commands(&mut random));
    }
    let mut manifest = manifest_of(&boot_id(), Durability::Relaxed);
    lay_down(&scratch.path, &mut manifest, &world.logs, 1);
    let out = scratch.path.join("out.rdb");
    inspect::merge(&scratch.path, &out).unwrap();
    let other = Scratch::new();
    std::fs::rename(&out, other.path.join("dump.rdb")).unwrap();
    let text = inspect::info(&other.path).unwrap();
    assert!(text.contains("snapshot, version 10"), "{text}");
    let places = choice::Places {
        dir: other.path.clone(),
        log_directory: "logs".to_owned(),
        log_name: "a.aof".to_owned(),
        snapshot: "dump.rdb".to_owned(),
    };
    let chosen = choice::choose_in(&places).unwrap();
    let config = Arc::new(Config::default());
    let recovered = recover(chosen, &config, 2, &Status::default());
    let recovered = recovered.unwrap().unwrap();
    assert!(recovered.needs_base && recovered.manifest.taken.len() == 1);
    assert_eq!(
        World::with(recovered.keyspaces, 0).content(),
        world.content()
    );
}
