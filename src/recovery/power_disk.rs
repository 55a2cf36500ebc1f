//! A disk in memory that knows what would be left of it: contents count when the file was synced, names when their
//! directory was.
//!
//! What was not synced may be there or not, in any order: sectors of contents, creations, renames (each wholly or not at all)
//! and removals. At an operation that is chosen beforehand the power goes, or the process is
//! killed; nothing works from then on.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::base::random::Random;
use crate::persistence::aof::log::Growing;
use crate::persistence::file::{Disk, Output};

const SECTOR: usize = 512;

/// What lies on a disk.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What the disk holds of a file of which so many bytes were synced.
pub fn torn(content: &[u8], synced: usize, random: &mut Random) -> Vec<u8> {
    let length = synced + random.below((content.len() - synced) as u64 + 1) as usize;
    let mut left = content[..length].to_vec();
    for start in (0..length).step_by(SECTOR) {
        let end = (start + SECTOR).min(length);
        if end > synced && random.below(3) == 0 {
            left[start.max(synced)..end].fill(0);
        }
    }
    left
}

#[derive(Default)]
struct Inode {
    content: Vec<u8>,
    /// What it was when it was last synced.
    synced: Vec<u8>,
}

impl Inode {
    fn left(&self, random: &mut Random) -> Vec<u8> {
        if self.content.starts_with(&self.synced) {
            torn(&self.content, self.synced.len(), random)
        } else if random.below(2) == 0 {
            self.synced.clone()
        } else {
            torn(&self.content, 0, random)
        }
    }
}

/// A change of names.
#[derive(Clone)]
enum Change {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Move(PathBuf, PathBuf, usize),
    Directory(PathBuf),
}

type Names = BTreeMap<PathBuf, usize>;

impl Change {
    /// The directory that it changes.
    fn directory(&self) -> Option<&Path> {
        match self {
            Change::Link(path, _) | Change::Unlink(path) | Change::Directory(path) => path.parent(),
            Change::Move(_, to, _) => to.parent(),
        }
    }

    fn make(self, names: &mut Names, directories: &mut Vec<PathBuf>) {
        match self {
            Change::Link(path, inode) => {
                names.insert(path, inode);
            }
            Change::Unlink(path) => {
                names.remove(&path);
            }
            Change::Move(from, to, inode) => {
                if names.get(&from) == Some(&inode) {
                    names.remove(&from);
                }
                names.insert(to, inode);
            }
            Change::Directory(path) => directories.push(path),
        }
    }
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    /// What processes see.
    names: Names,
    directories: Vec<PathBuf>,
    /// What is on the disk.
    durable: Names,
    durable_directories: Vec<PathBuf>,
    /// The difference, oldest first.
    pending: Vec<Change>,
    operations: usize,
    ends_at: usize,
    /// It says that names are on the disk, and they are not.
    lies: bool,
}

impl State {
    fn change(&mut self, change: Change) {
        self.pending.push(change.clone());
        change.make(&mut self.names, &mut self.directories);
    }

    fn new_inode(&mut self) -> usize {
        self.inodes.push(Inode::default());
        self.inodes.len() - 1
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        Ok(*self.names.get(path).ok_or(io::ErrorKind::NotFound)?)
    }
}

/// See the head of the file.
#[derive(Clone, Default)]
pub struct PowerDisk(Arc<Mutex<State>>);

fn gone() -> io::Error {
    io::Error::other("the power has gone")
}

impl PowerDisk {
    /// A disk that holds these files, all of it synced.
    pub fn holding(files: &Files, directories: &[PathBuf]) -> Self {
        let disk = PowerDisk::default();
        let mut state = disk.0.lock().unwrap();
        for (path, content) in files {
            let inode = state.new_inode();
            state.inodes[inode] = Inode {
                content: content.clone(),
                synced: content.clone(),
            };
            state.names.insert(path.clone(), inode);
        }
        state.durable = state.names.clone();
        state.directories = directories.to_vec();
        state.durable_directories = directories.to_vec();
        drop(state);
        disk
    }

    /// From here on it syncs no directories, without an error.
    pub fn lies(&self) {
        self.0.lock().unwrap().lies = true;
    }

    /// It ends after so many operations.
    pub fn ends_at(&self, operations: usize) {
        let mut state = self.0.lock().unwrap();
        state.ends_at = state.operations.saturating_add(operations);
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.operations >= state.ends_at
    }

    /// An operation. Of the last one the outcome is not known to who asks for it, and what waits for the disk has not
    /// waited long enough.
    fn operation<T>(
        &self,
        waits: bool,
        work: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.0.lock().unwrap();
        if state.operations >= state.ends_at {
            return Err(gone());
        }
        state.operations += 1;
        let is_last = state.operations >= state.ends_at;
        if is_last && waits {
            return Err(gone());
        }
        let done = work(&mut state);
        if is_last { Err(gone()) } else { done }
    }

    /// What processes see.
    pub fn seen(&self) -> (Files, Vec<PathBuf>) {
        let state = self.0.lock().unwrap();
        let content = |(path, inode): (&PathBuf, &usize)| {
            (path.clone(), state.inodes[*inode].content.clone())
        };
        let files = state.names.iter().map(content).collect();
        (files, state.directories.clone())
    }

    /// What is left when the power goes.
    pub fn left(&self, random: &mut Random) -> (Files, Vec<PathBuf>) {
        let state = self.0.lock().unwrap();
        let (mut names, mut directories) =
            (state.durable.clone(), state.durable_directories.clone());
        let mut pending = state.pending.clone();
        // Most of the time all, or none, or any in any order.
        let share = [0, 1, 1, 2][random.below(4) as usize];
        pending.retain(|_| random.below(2) < share);
        if random.below(2) == 0 {
            for at in (1..pending.len()).rev() {
                pending.swap(at, random.below(at as u64 + 1) as usize);
            }
        }
        for change in pending {
            change.make(&mut names, &mut directories);
        }
        let is_there = |path: &PathBuf| {
            let directory = path.parent().expect("files lie in directories");
            directories.iter().any(|one| one == directory)
        };
        names.retain(|path, _| is_there(path));
        let files = names
            .into_iter()
            .map(|(path, inode)| (path, state.inodes[inode].left(random)))
            .collect();
        (files, directories)
    }

    /// Somebody has cut and synced a file by another way.
    pub fn was_cut(&self, path: &Path, length: usize) {
        let mut state = self.0.lock().unwrap();
        let inode = state.names[path];
        state.inodes[inode].content.truncate(length);
        state.inodes[inode].synced = state.inodes[inode].content.clone();
    }
}

struct PowerFile(PowerDisk, usize);

impl PowerFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.operation(false, |state| {
            state.inodes[self.1].content.extend_from_slice(bytes);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.0.operation(true, |state| {
            let inode = &mut state.inodes[self.1];
            inode.synced.clone_from(&inode.content);
            Ok(())
        })
    }
}

impl Output for PowerFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        PowerFile::append(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        PowerFile::sync(self)
    }
}

impl Growing for PowerFile {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        PowerFile::append(self, bytes)?;
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        PowerFile::sync(self)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.operation(false, |state| {
            state.inodes[self.1].content.truncate(length as usize);
            Ok(())
        })
    }

    fn fd(&self) -> Option<RawFd> {
        None
    }
}

impl Disk for PowerDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        let inode = self.operation(false, |state| match state.inode(path) {
            Ok(inode) => {
                state.inodes[inode].content.clear();
                Ok(inode)
            }
            Err(_) => {
                let inode = state.new_inode();
                state.change(Change::Link(path.into(), inode));
                Ok(inode)
            }
        })?;
        Ok(Box::new(PowerFile(self.clone(), inode)))
    }

    fn grow(&self, path: &Path) -> io::Result<Box<dyn Growing>> {
        let inode = self.operation(false, |state| {
            if state.inode(path).is_ok() {
                state.change(Change::Unlink(path.into()));
            }
            let inode = state.new_inode();
            state.change(Change::Link(path.into(), inode));
            Ok(inode)
        })?;
        Ok(Box::new(PowerFile(self.clone(), inode)))
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.operation(false, |state| {
            if !state.directories.iter().any(|one| one == path) {
                state.change(Change::Directory(path.into()));
            }
            Ok(())
        })?;
        self.sync_directory(path.parent().expect("it lies in one"))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation(false, |state| {
            let inode = state.inode(from)?;
            state.change(Change::Move(from.into(), to.into(), inode));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operation(false, |state| {
            state.inode(path)?;
            state.change(Change::Unlink(path.into()));
            Ok(())
        })
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.operation(true, |state| {
            if state.lies {
                return Ok(());
            }
            let pending = std::mem::take(&mut state.pending);
            for change in pending {
                if change.directory() == Some(directory) {
                    change.make(&mut state.durable, &mut state.durable_directories);
                } else {
                    state.pending.push(change);
                }
            }
            Ok(())
        })
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.0.lock().unwrap();
        let here = |path: &&PathBuf| path.parent() == Some(directory);
        Ok(state.names.keys().filter(here).cloned().collect())
    }

    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let state = self.0.lock().unwrap();
        let content = state.inodes[state.inode(path)?].content.clone();
        let size = content.len() as u64;
        Ok((Box::new(io::Cursor::new(content)), size))
    }
}
