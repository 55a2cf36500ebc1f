//! The files of a snapshot: one for all shards, or one for each.
//!
//! ```text
//!   dump.rdb                                                            snapshot-files one
//!   dump.1700000000000.0-of-2.rdb  dump.1700000000000.1-of-2.rdb        snapshot-files per-shard
//! ```
//!
//! The number of a set is the time of its cut in Unix milliseconds. The files of a set get their names when all of them are
//! on the disk, the first one last; a set counts when it is complete, and of complete sets the newest. A set whose first
//! file still has a temporary name never counted. Once a set counts, what an earlier save left in either form is removed.
//!
//! Where the form changes both kinds would lie side by side for a moment, so the one file is a set of one file meanwhile.
//! Whenever the machine stops, one whole snapshot is there, and it is clear which.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::background::Consumer;
use super::file::{Disk, Output, directory_of, has_unfinished, temporary_in, temporary_part};

/// Numbers for temporary names: a save that was given up may still be clearing away when the next one begins.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The files that a save in the background writes.
pub struct Files {
    disk: Arc<dyn Disk>,
    /// The configured name.
    path: PathBuf,
    temporary: Vec<PathBuf>,
    named: Vec<PathBuf>,
    opened: usize,
}

impl Files {
    /// One file at `path`, written while nothing else is saved.
    pub fn alone(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        let temporary = temporary_in(directory_of(&path));
        Files {
            temporary: vec![temporary],
            ..Self::one(disk, path)
        }
    }

    /// One file at `path`.
    pub fn one(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        let named = vec![path.clone()];
        Self::new(disk, path, named)
    }

    /// A set of so many files beside `path`, cut at `now`.
    pub fn set(disk: Arc<dyn Disk>, path: PathBuf, now: i64, shards: usize) -> Self {
        let named = (0..shards)
            .map(|shard| path.with_file_name(name_of(&path, now, shard, shards)))
            .collect();
        Self::new(disk, path, named)
    }

    fn new(disk: Arc<dyn Disk>, path: PathBuf, named: Vec<PathBuf>) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = directory_of(&path).to_owned();
        let temporary = (0..named.len())
            .map(|part| directory.join(temporary_part(number, part)))
            .collect();
        Files {
            disk,
            path,
            temporary,
            named,
            opened: 0,
        }
    }

    /// A name for what is put aside meanwhile.
    pub fn spill(&self) -> PathBuf {
        self.temporary[0].clone()
    }

    fn directory(&self) -> &Path {
        directory_of(&self.path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to).map_err(|error| {
            log::warn!(
                "Error moving temp DB file {} on the final destination {}: {error}",
                from.display(),
                to.display()
            );
            error
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync_directory(self.directory())
    }

    /// Removes what earlier saves have left in the directory.
    fn remove_older(&self, earlier: &[PathBuf]) -> io::Result<()> {
        let older = earlier.iter().filter(|path| !self.named.contains(path));
        for path in older {
            self.disk.remove(path)?;
        }
        Ok(())
    }

    /// The one file takes the place of one, or of sets.
    fn commit_one(&self, earlier: &[PathBuf]) -> io::Result<()> {
        let (temporary, named) = (&self.temporary[0], &self.named[0]);
        let numbers = earlier.iter().filter_map(|file| part_of(&self.path, file));
        let last = match numbers.max() {
            Some((last, ..)) if !earlier.contains(named) => last,
            _ => {
                self.rename(temporary, named)?;
                self.sync()?;
                // Parts of a set that never counted.
                if let Err(error) = self.remove_older(earlier) {
                    log::warn!("Can't remove an older snapshot: {error}");
                }
                return Ok(());
            }
        };
        let passing = self
            .path
            .with_file_name(name_of(&self.path, last + 1, 0, 1));
        self.rename(temporary, &passing)?;
        self.sync()?;
        self.remove_older(earlier)?;
        self.sync()?;
        self.rename(&passing, named)?;
        self.sync()
    }

    /// The set takes the place of one file, or of sets.
    fn commit_set(&self, number: i64, earlier: &[PathBuf]) -> io::Result<()> {
        for (temporary, named) in self.temporary.iter().zip(&self.named).skip(1) {
            self.rename(temporary, named)?;
        }
        let mut earlier = earlier.to_vec();
        if let Some(one) = earlier.iter_mut().find(|file| **file == self.path) {
            let sets = self
                .path
                .with_file_name(name_of(&self.path, number - 1, 0, 1));
            self.rename(one, &sets)?;
            *one = sets;
        }
        self.sync()?;
        self.rename(&self.temporary[0], &self.named[0])?;
        self.sync()?;
        if let Err(error) = self.remove_older(&earlier) {
            log::warn!("Can't remove an older snapshot: {error}");
        }
        Ok(())
    }
}

impl Consumer for Files {
    fn open(&mut self, number: usize) -> io::Result<Box<dyn Output>> {
        let output = self.disk.create(&self.temporary[number])?;
        self.opened = self.opened.max(number + 1);
        Ok(output)
    }

    fn commit(&mut self) -> io::Result<()> {
        // What a process that was killed has renamed comes before, and the temporary name of a set's first file tells that
        // the set does not count yet.
        self.sync()?;
        let mut earlier = self.disk.list(self.directory())?;
        earlier.retain(|file| {
            file.file_name() == self.path.file_name() || part_of(&self.path, file).is_some()
        });
        match part_of(&self.path, &self.named[0]) {
            Some((number, ..)) => self.commit_set(number, &earlier),
            None => self.commit_one(&earlier),
        }
    }

    fn abandon(&mut self) {
        // What cannot be removed stays and does not count.
        if part_of(&self.path, &self.named[0]).is_some() {
            let _ = self.disk.rename(&self.named[0], &self.temporary[0]);
            for named in &self.named[1..] {
                let _ = self.disk.remove(named);
            }
            let _ = self.sync(); // the first one's temporary name tells what the others are
        }
        for path in &self.temporary[..self.opened] {
            let _ = self.disk.remove(path);
        }
    }
}

/// What stands before and behind the dot of a name.
fn halves(path: &Path) -> (String, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.rsplit_once('.') {
        Some((stem, extension)) => (stem.to_owned(), format!(".{extension}")),
        None => (name.into_owned(), String::new()),
    }
}

fn name_of(path: &Path, number: i64, part: usize, parts: usize) -> String {
    let (stem, extension) = halves(path);
    format!("{stem}.{number}.{part}-of-{parts}{extension}")
}

/// Number of the set, part and parts, if `file` is one of a set beside `path`.
fn part_of(path: &Path, file: &Path) -> Option<(i64, usize, usize)> {
    let (stem, extension) = halves(path);
    let name = file.file_name()?.to_str()?;
    let middle = name
        .strip_prefix(&stem)?
        .strip_prefix('.')?
        .strip_suffix(&extension)?;
    let (number, part) = middle.split_once('.')?;
    let (part, parts) = part.split_once("-of-")?;
    let found = (
        number.parse().ok()?,
        part.parse().ok()?,
        parts.parse().ok()?,
    );
    (found.1 < found.2).then_some(found)
}

/// Why it is not clear what to load.
#[derive(Debug)]
pub enum Unclear {
    /// There is a file for all shards and a set with a file for each.
    Both(PathBuf, PathBuf),
    /// No set is complete; a file that is missing.
    Incomplete(PathBuf),
    /// The directory cannot be read.
    Io(PathBuf, io::Error),
}

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unclear::Both(one, other) => write!(
                f,
                "There is a snapshot '{}', and one of several files with '{}': move away the one that is not to be loaded",
                one.display(),
                other.display()
            ),
            Unclear::Incomplete(missing) => write!(
                f,
                "The snapshot is incomplete: '{}' is missing. Put it back, or move the other files of the set away",
                missing.display()
            ),
            Unclear::Io(directory, error) => {
                write!(
                    f,
                    "Can't read the directory '{}': {error}",
                    directory.display()
                )
            }
        }
    }
}

/// The snapshot to load for a configured name: one file, the files of a set, or none.
pub fn find(disk: &dyn Disk, path: &Path) -> Result<Vec<PathBuf>, Unclear> {
    let directory = directory_of(path);
    let listed = disk
        .list(directory)
        .map_err(|error| Unclear::Io(directory.to_owned(), error))?;
    let mut sets: BTreeMap<(i64, usize), Vec<usize>> = BTreeMap::new();
    let mut one = None;
    for file in &listed {
        if file.file_name() == path.file_name() {
            one = Some(path.to_owned());
        } else if let Some((number, part, parts)) = part_of(path, file) {
            sets.entry((number, parts)).or_default().push(part);
        }
    }
    let is_unfinished = has_unfinished(&listed);
    sets.retain(|_, found| found.contains(&0) || !is_unfinished);
    let files_of = |(number, parts): (i64, usize)| -> Vec<PathBuf> {
        (0..parts)
            .map(|part| path.with_file_name(name_of(path, number, part, parts)))
            .collect()
    };
    let complete = sets
        .iter()
        .rev()
        .find(|((_, parts), found)| found.len() == *parts);
    match (one, complete) {
        (None, Some((set, _))) => Ok(files_of(*set)),
        (Some(one), None) => Ok(vec![one]),
        (Some(one), Some((set, _))) => Err(Unclear::Both(one, files_of(*set).remove(0))),
        (None, None) => match sets.iter().next_back() {
            None => Ok(Vec::new()),
            Some((set, found)) => {
                let missing = (0..set.1).find(|part| !found.contains(part)).unwrap_or(0);
                Err(Unclear::Incomplete(files_of(*set).remove(missing)))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::file::tests::FaultyDisk;

    fn disk_with(names: &[&str]) -> FaultyDisk {
        let disk = FaultyDisk::default();
        for name in names {
            let path = Path::new("/data").join(name);
            disk.files.lock().unwrap().insert(path, Vec::new());
        }
        disk
    }

    fn found(names: &[&str]) -> Result<Vec<String>, String> {
        let found = find(&disk_with(names), Path::new("/data/dump.rdb"));
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        found
            .map(|files| files.iter().map(name).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_newest_complete_set_is_loaded() {
        assert_eq!(found(&[]), Ok(vec![]));
        assert_eq!(
            found(&["dump.rdb", "other.rdb"]),
            Ok(vec!["dump.rdb".into()])
        );
        let files = [
            "dump.10.0-of-1.rdb",
            "dump.20.0-of-2.rdb",
            "dump.20.1-of-2.rdb",
            "dump.30.1-of-2.rdb",
        ];
        assert_eq!(found(&files), Ok(vec![files[1].into(), files[2].into()]));
        assert_eq!(found(&files[..1]), Ok(vec![files[0].into()]));
    }

    #[test]
    fn what_is_unclear_is_said() {
        let error = found(&["dump.30.1-of-2.rdb"]).unwrap_err();
        assert!(error.contains("dump.30.0-of-2.rdb"), "{error}");
        // A save that was under way tells why a set has no first file.
        let files = ["temp-bg-7.0.0.rdb", "dump.30.1-of-2.rdb"];
        assert_eq!(found(&files), Ok(vec![]));
        let error = found(&["dump.30.0-of-1.rdb", "dump.rdb"]).unwrap_err();
        assert!(error.contains("dump.30.0-of-1.rdb"), "{error}");
    }

    #[test]
    fn a_set_that_counts_replaces_what_was_there_and_one_that_fails_nothing() {
        for fails_at in [None, Some(0), Some(2), Some(3), Some(4)] {
            let mut disk = disk_with(&["dump.rdb", "dump.10.0-of-1.rdb", "mine.txt"]);
            disk.fails_at = fails_at;
            let mut files = Files::set(Arc::new(disk.clone()), "/data/dump.rdb".into(), 20, 2);
            let done = (0..2)
                .try_for_each(|part| files.open(part).map(drop))
                .and_then(|()| files.commit());
            if done.is_err() {
                files.abandon();
            }
            let left = disk.files.lock().unwrap();
            let left: Vec<&str> = left.keys().map(|path| path.to_str().unwrap()).collect();
            match fails_at {
                None => assert_eq!(
                    left,
                    [
                        "/data/dump.20.0-of-2.rdb",
                        "/data/dump.20.1-of-2.rdb",
                        "/data/mine.txt"
                    ]
                ),
                _ => {
                    assert!(left.contains(&"/data/dump.rdb") && left.contains(&"/data/mine.txt"));
                    assert!(!left.iter().any(|name| name.contains("temp")), "{left:?}");
                }
            }
        }
    }
}
