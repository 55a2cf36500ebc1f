//! The append-only files as a set that is written: which there are, and how others take their place.
//!
//! Everything here touches the disk and waits for it, so it runs at start or on a thread of its own, never on a core.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::log::Growing;
use super::manifest::{self, Durability, FileEntry, FileKind, Generation, Manifest};
use crate::persistence::file::{self, Disk};

/// A set of files and the directory they lie in.
pub struct Set {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// What names begin with (`appendfilename`).
    prefix: String,
    manifest: Manifest,
    /// Keeps other processes away, from the first write on.
    held: Option<fs::File>,
    /// The set is being begun, for so many shards: the manifest does not say yet what they write to.
    beginning: Option<usize>,
    /// What shards have written to since then.
    strays: Vec<String>,
    /// The last number a generation was given.
    number: u64,
}

/// Files that are to take the place of all there are.
pub struct Rewrite {
    /// What each shard goes on writing to from the cut on.
    pub logs: Vec<Box<dyn Growing>>,
    /// Where each shard's keys at the cut go.
    pub bases: Vec<PathBuf>,
    generation: Generation,
}

impl Set {
    /// The set that `manifest` describes; an empty one where there is none yet.
    pub fn new(disk: Arc<dyn Disk>, directory: PathBuf, prefix: &str, manifest: Manifest) -> Self {
        Set {
            disk,
            directory,
            prefix: prefix.to_owned(),
            number: manifest.generations.last().map_or(0, |last| last.number),
            manifest,
            held: None,
            beginning: None,
            strays: Vec::new(),
        }
    }

    /// The directory is held already, while it was read.
    pub fn keep(&mut self, held: Option<fs::File>) {
        self.held = held;
    }

    fn hold(&mut self) -> io::Result<()> {
        self.disk.make_directory(&self.directory)?;
        if self.held.is_none() {
            self.held = self.disk.hold(&self.directory)?;
        }
        Ok(())
    }

    /// Which files there are.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Begins a set from nothing, which replaces what there is once its bases are written: see `finish`.
    pub fn begin_anew(&mut self, shards: usize) -> io::Result<Rewrite> {
        self.hold()?;
        if self.manifest.generations.is_empty() {
            self.publish()?; // what lies here without being listed counts for nothing
        }
        self.beginning = Some(shards);
        let number = self.next_generation();
        let names: Vec<String> = (0..shards)
            .map(|shard| self.name(number, shard, 1, FileKind::Incremental))
            .collect();
        self.strays.extend(names.iter().cloned());
        self.rewrite_into(number, names)
    }

    /// A start: from here on so many shards write. What is there stays.
    pub fn begin(&mut self, shards: usize) -> io::Result<Vec<Box<dyn Growing>>> {
        self.hold()?;
        let number = self.next_generation();
        self.manifest.generations.push(Generation {
            number,
            shards,
            files: Vec::new(),
        });
        self.add_incrementals()
    }

    /// Prepares to replace all files: each shard gets another one to go on in, which counts as soon as something is
    /// written to it, so it stands in the manifest before.
    pub fn prepare(&mut self) -> io::Result<Rewrite> {
        if let Some(shards) = self.beginning {
            return self.begin_anew(shards); // the last attempt has failed
        }
        let before = self.manifest.clone();
        let logs = match self.add_incrementals() {
            Ok(logs) => logs,
            Err(error) => {
                self.manifest = before;
                return Err(error);
            }
        };
        let names: Vec<String> = match self.manifest.generations.last() {
            Some(last) => (0..last.shards)
                .filter_map(|shard| last.of_shard(shard).last())
                .map(|file| file.name.clone())
                .collect(),
            None => Vec::new(),
        };
        let number = self.next_generation();
        let (generation, bases) = self.generation_of(number, names);
        Ok(Rewrite {
            logs,
            bases,
            generation,
        })
    }

    /// The bases are on disk: from now on they and what has been written since the cut are the set, and the rest goes.
    pub fn finish(&mut self, rewrite: Rewrite) -> io::Result<()> {
        self.disk.sync_directory(&self.directory)?;
        let new = Manifest {
            generations: vec![rewrite.generation],
            ..self.manifest.clone()
        };
        let old = std::mem::replace(&mut self.manifest, new);
        if let Err(error) = self.publish() {
            self.manifest = old; // what is on disk may be either; both describe the same data
            return Err(error);
        }
        self.beginning = None;
        let kept = &self.manifest.generations[0].files;
        let old = old.generations.iter().flat_map(|old| &old.files);
        let strays = std::mem::take(&mut self.strays);
        for name in old.map(|file| &file.name).chain(&strays) {
            if kept.iter().all(|kept| kept.name != *name)
                && let Err(error) = self.disk.remove(&self.path(name))
            {
                log::warn!("Can't remove the old file '{name}': {error}");
            }
        }
        Ok(())
    }

    /// A rewrite has failed: its bases go. What shards have gone on writing to stays a part of the set.
    pub fn abandon(&self, rewrite: &Rewrite) {
        for base in &rewrite.bases {
            let _ = self.disk.remove(base); // it may never have been made
        }
    }

    /// Says what an acknowledgement means from now on.
    pub fn set_durability(&mut self, durability: Durability) -> io::Result<()> {
        self.manifest.durability = durability;
        self.publish()
    }

    /// Sets what the next manifest says about the run that writes these files.
    pub fn set_run(&mut self, boot: &str, durability: Durability, next_number: u64) {
        boot.clone_into(&mut self.manifest.boot);
        self.manifest.durability = durability;
        self.manifest.next_number = next_number;
    }

    /// Everything is on disk and nobody writes any more: the machine may go down.
    pub fn end(&mut self) -> io::Result<()> {
        self.manifest.boot.clear();
        self.publish()
    }

    /// Puts the manifest on disk.
    pub fn publish(&self) -> io::Result<()> {
        let text = self.manifest.to_text();
        let path = self.path(manifest::NAME);
        file::replace(&*self.disk, &path, false, |output| {
            output.append(text.as_bytes())
        })
    }

    fn next_generation(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn name(&self, generation: u64, shard: usize, sequence: u64, kind: FileKind) -> String {
        Manifest::file_name(&self.prefix, generation, shard, sequence, kind)
    }

    fn open_all(&self, names: &[String]) -> io::Result<Vec<Box<dyn Growing>>> {
        let open = |name: &String| self.disk.grow(&self.path(name));
        let files = names.iter().map(open).collect::<io::Result<Vec<_>>>()?;
        self.disk.sync_directory(&self.directory)?;
        Ok(files)
    }

    /// Adds a file to go on in for each shard of the last generation.
    fn add_incrementals(&mut self) -> io::Result<Vec<Box<dyn Growing>>> {
        let Some(last) = self.manifest.generations.last() else {
            return Ok(Vec::new());
        };
        let names: Vec<String> = (0..last.shards)
            .map(|shard| {
                let sequence = 1 + last.of_shard(shard).count() as u64;
                self.name(last.number, shard, sequence, FileKind::Incremental)
            })
            .collect();
        let files = self.open_all(&names)?;
        if let Some(last) = self.manifest.generations.last_mut() {
            last.files
                .extend(names.into_iter().enumerate().map(|(shard, name)| {
                    let kind = FileKind::Incremental;
                    FileEntry { name, shard, kind }
                }));
        }
        self.publish()?;
        Ok(files)
    }

    fn rewrite_into(&self, number: u64, names: Vec<String>) -> io::Result<Rewrite> {
        let logs = self.open_all(&names)?;
        let (generation, bases) = self.generation_of(number, names);
        Ok(Rewrite {
            logs,
            bases,
            generation,
        })
    }

    /// A generation of a base for each shard, followed by these files.
    fn generation_of(&self, number: u64, logs: Vec<String>) -> (Generation, Vec<PathBuf>) {
        let shards = logs.len();
        let entry = |shard, name, kind| FileEntry { name, shard, kind };
        let mut files: Vec<FileEntry> = (0..shards)
            .map(|shard| {
                let name = self.name(number, shard, 1, FileKind::Base);
                entry(shard, name, FileKind::Base)
            })
            .collect();
        let bases = files.iter().map(|file| self.path(&file.name)).collect();
        let logs = logs.into_iter().enumerate();
        files.extend(logs.map(|(shard, name)| entry(shard, name, FileKind::Incremental)));
        let generation = Generation {
            number,
            shards,
            files,
        };
        (generation, bases)
    }
}

/// The id of this boot of the machine: whether it went down since a manifest was written.
pub fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// Where the files of a configuration lie.
pub fn directory(dir: &Path, appenddirname: &str) -> PathBuf {
    dir.join(appenddirname)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::file::tests::FaultyDisk;

    fn names(set: &Set) -> Vec<Vec<String>> {
        let generations = set.manifest().generations.iter();
        let names = |one: &Generation| one.files.iter().map(|file| file.name.clone()).collect();
        generations.map(names).collect()
    }

    fn on(disk: &FaultyDisk, manifest: Manifest) -> Set {
        Set::new(Arc::new(disk.clone()), "/aof".into(), "a", manifest)
    }

    fn read_back(disk: &FaultyDisk) -> Manifest {
        let files = disk.files.lock().unwrap();
        let text = &files[Path::new("/aof/slotwise.manifest")];
        Manifest::parse(std::str::from_utf8(text).unwrap()).unwrap()
    }

    #[test]
    fn each_start_adds_a_generation_and_a_rewrite_leaves_one() {
        let disk = FaultyDisk::default();
        let mut set = on(&disk, Manifest::default());
        set.set_run("boot", Durability::Always, 9);
        assert_eq!(set.begin(1).unwrap().len(), 1);
        let mut set = on(&disk, read_back(&disk));
        assert_eq!(set.begin(2).unwrap().len(), 2);
        assert_eq!(
            names(&set),
            [
                vec!["a.1.0.1.incr.aof"],
                vec!["a.2.0.1.incr.aof", "a.2.1.1.incr.aof"]
            ]
        );
        let rewrite = set.prepare().unwrap();
        assert_eq!(
            read_back(&disk),
            *set.manifest(),
            "it stands there before the cut"
        );
        assert_eq!(names(&set)[1].len(), 4);
        for base in &rewrite.bases {
            disk.files
                .lock()
                .unwrap()
                .insert(base.clone(), b"base".to_vec());
        }
        set.finish(rewrite).unwrap();
        let left = vec![
            "a.3.0.1.base.rdb",
            "a.3.1.1.base.rdb",
            "a.2.0.2.incr.aof",
            "a.2.1.2.incr.aof",
        ];
        assert_eq!(names(&set).concat(), left);
        assert_eq!(read_back(&disk), *set.manifest());
        assert_eq!(read_back(&disk).next_number, 9);
        assert_eq!(
            disk.files.lock().unwrap().len(),
            left.len() + 1,
            "the rest is gone"
        );
        // The next one never takes a name that is in use.
        let rewrite = set.prepare().unwrap();
        set.abandon(&rewrite);
        let again = set.prepare().unwrap();
        assert_eq!(again.logs.len(), 2);
        let all: Vec<String> = names(&set).concat();
        let mut unique = all.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), all.len());
    }

    #[test]
    fn a_set_that_could_not_be_begun_is_begun_again_in_other_files() {
        let disk = FaultyDisk::default();
        let mut set = on(&disk, Manifest::default());
        let failed = set.begin_anew(2).unwrap();
        assert!(read_back(&disk).generations.is_empty());
        set.abandon(&failed);
        let again = set.prepare().unwrap();
        assert_eq!(again.logs.len(), 2);
        for base in &again.bases {
            assert!(!failed.bases.contains(base));
            let mut files = disk.files.lock().unwrap();
            files.insert(base.clone(), b"base".to_vec());
        }
        set.finish(again).unwrap();
        assert_eq!(names(&set)[0].len(), 4);
        assert_eq!(disk.files.lock().unwrap().len(), 5, "nothing else is left");
        assert_eq!(set.prepare().unwrap().logs.len(), 2);
    }

    #[test]
    fn whatever_fails_the_manifest_on_disk_names_files_that_are_there() {
        for fails_at in 0..60 {
            let disk = FaultyDisk {
                fails_at: Some(fails_at),
                ..FaultyDisk::default()
            };
            let mut set = on(&disk, Manifest::default());
            let work = |set: &mut Set| -> io::Result<()> {
                set.begin(2)?;
                let rewrite = set.prepare()?;
                for base in &rewrite.bases {
                    disk.files
                        .lock()
                        .unwrap()
                        .insert(base.clone(), b"base".to_vec());
                }
                set.finish(rewrite)
            };
            let done = work(&mut set).is_ok();
            assert!(!done || fails_at > 15, "{fails_at}");
            let files = disk.files.lock().unwrap();
            let Some(text) = files.get(Path::new("/aof/slotwise.manifest")) else {
                continue;
            };
            let manifest = Manifest::parse(std::str::from_utf8(text).unwrap()).unwrap();
            for file in manifest.generations.iter().flat_map(|one| &one.files) {
                let path = Path::new("/aof").join(&file.name);
                assert!(files.contains_key(&path), "{fails_at}: {}", file.name);
            }
        }
    }
}
