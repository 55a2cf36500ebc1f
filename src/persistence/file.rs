//! Files: the one place that makes, replaces and removes them.
//!
//! A file becomes live by fsync, rename, and fsync of its directory; until then it has a name of its own, and what was
//! there before is untouched. What the disk does goes through [`Disk`], so that tests can make any of it fail.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::aof::log::Growing;

/// Bytes after which a growing file is told to the disk (`rdb-save-incremental-fsync`), so that the last fsync is not a
/// long one.
pub const SYNC_EVERY: u64 = 4 << 20;

/// A file that is being written.
pub trait Output: Send {
    /// Appends bytes.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Waits until all of it is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// What this room asks of a disk.
pub trait Disk: Send + Sync {
    /// Makes a file, or empties one that is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>>;
    /// Makes a file to append to. What has its name counts for nothing and goes.
    fn grow(&self, path: &Path) -> io::Result<Box<dyn Growing>>;
    /// Makes a directory if it is not there. It is on the disk when this returns, whoever has made it.
    fn make_directory(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name, replacing what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Waits until the names in a directory are on the disk.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
    /// Keeps other processes from holding this directory too, as long as what comes back is there. An error when one does.
    fn hold(&self, directory: &Path) -> io::Result<Option<fs::File>> {
        let _ = directory;
        Ok(None)
    }
    /// The files in a directory. A disk that keeps no account of them has none.
    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let _ = directory;
        Ok(Vec::new())
    }
    /// Opens a file to read; its size in bytes beside it.
    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read + Send>, u64)>;
}

/// The real one.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Output for fs::File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        Ok(Box::new(fs::File::create(path)?))
    }

    fn grow(&self, path: &Path) -> io::Result<Box<dyn Growing>> {
        let open = || {
            let mut options = fs::OpenOptions::new();
            options.append(true).create_new(true).open(path)
        };
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(path)?;
                open()?
            }
            opened => opened?,
        };
        Ok(Box::new(file))
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            // Perhaps by a process that was killed before it could do the rest.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        self.sync_directory(directory_of(path))
    }

    fn hold(&self, directory: &Path) -> io::Result<Option<fs::File>> {
        let held = fs::File::open(directory)?;
        match held.try_lock() {
            Ok(()) => Ok(Some(held)),
            Err(fs::TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another process writes append-only files there",
            )),
            // A file system without locks.
            Err(fs::TryLockError::Error(_)) => Ok(None),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        fs::File::open(directory)?.sync_all()
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(directory)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    }

    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let file = fs::File::open(path)?;
        let size = file.metadata()?.len();
        Ok((Box::new(file), size))
    }
}

/// Counts what passes and tells the disk now and then.
pub(super) struct Syncing {
    inner: Box<dyn Output>,
    unsynced: u64,
    every: u64,
}

impl Syncing {
    /// Around an output; `incremental` tells the disk every [`SYNC_EVERY`] bytes.
    pub fn new(inner: Box<dyn Output>, incremental: bool) -> Self {
        Syncing {
            inner,
            unsynced: 0,
            every: if incremental { SYNC_EVERY } else { u64::MAX },
        }
    }
}

/// The directory that a path lies in.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

impl Output for Syncing {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.append(bytes)?;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= self.every {
            self.unsynced = 0;
            self.inner.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.inner.sync()
    }
}

/// What a file is called in its directory until it is complete. The name is Redis's, whose tools and users know it for
/// what it is.
pub(super) fn temporary_in(directory: &Path) -> PathBuf {
    directory.join(format!("temp-{}.rdb", std::process::id()))
}

/// Whether a save that was not completed has left the first of its parts among these files.
pub(super) fn has_unfinished(files: &[PathBuf]) -> bool {
    files.iter().any(|file| {
        let name = name_of(file);
        name.starts_with("temp-bg-") && name.ends_with(".0.rdb")
    })
}

/// The same for the parts of save number `number` that runs beside others.
pub(super) fn temporary_part(number: u64, part: usize) -> String {
    format!("{}{number}.{part}.rdb", parts_prefix())
}

fn parts_prefix() -> String {
    format!("temp-bg-{}.", std::process::id())
}

/// Removes what this process has not completed in a directory: it ends, and nobody else will.
pub fn remove_temporaries(directory: &Path) {
    let (whole, parts) = (temporary_in(directory), parts_prefix());
    for path in RealDisk.list(directory).unwrap_or_default() {
        if path == whole || name_of(&path).starts_with(&parts) {
            // Where it cannot be removed it stays, as it would after any sudden end.
            let _ = RealDisk.remove(&path);
        }
    }
}

/// Writes a file that replaces `path` when it is complete. On any error what was there stays, and nothing else remains.
/// `incremental` tells the disk every [`SYNC_EVERY`] bytes.
pub fn replace(
    disk: &dyn Disk,
    path: &Path,
    incremental: bool,
    write: impl FnOnce(&mut dyn Output) -> io::Result<()>,
) -> io::Result<()> {
    let directory = directory_of(path);
    let temporary = temporary_in(directory);
    let result = (|| {
        let mut output = Syncing::new(disk.create(&temporary)?, incremental);
        write(&mut output)?;
        output.sync()?;
        disk.rename(&temporary, path).map_err(|error| {
            log::warn!(
                "Error moving temp DB file {} on the final destination {} (in server root dir {}): {error}",
                name_of(&temporary),
                name_of(path),
                directory.display()
            );
            error
        })?;
        disk.sync_directory(directory)
    })();
    if result.is_err() {
        let _ = disk.remove(&temporary);
    }
    result
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    /// A disk in memory, on which the operation number `fails_at` fails.
    #[derive(Clone, Default)]
    pub(crate) struct FaultyDisk {
        pub files: Arc<Mutex<BTreeMap<PathBuf, Vec<u8>>>>,
        pub operations: Arc<Mutex<usize>>,
        pub fails_at: Option<usize>,
    }

    impl FaultyDisk {
        fn operation(&self) -> io::Result<()> {
            let mut operations = self.operations.lock().unwrap();
            *operations += 1;
            if Some(*operations - 1) == self.fails_at {
                return Err(io::Error::from_raw_os_error(28));
            }
            Ok(())
        }
    }

    struct FaultyFile(FaultyDisk, PathBuf);

    impl Output for FaultyFile {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.operation()?;
            let mut files = self.0.files.lock().unwrap();
            files.get_mut(&self.1).unwrap().extend_from_slice(bytes);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            self.0.operation()
        }
    }

    impl Growing for FaultyFile {
        fn append(&self, bytes: &[u8]) -> io::Result<usize> {
            self.0.operation()?;
            let mut files = self.0.files.lock().unwrap();
            files.get_mut(&self.1).unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn sync(&self) -> io::Result<()> {
            self.0.operation()
        }

        fn truncate(&self, length: u64) -> io::Result<()> {
            self.0.operation()?;
            let mut files = self.0.files.lock().unwrap();
            files.get_mut(&self.1).unwrap().truncate(length as usize);
            Ok(())
        }

        fn fd(&self) -> Option<std::os::fd::RawFd> {
            None
        }
    }

    impl Disk for FaultyDisk {
        fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
            self.operation()?;
            self.files.lock().unwrap().insert(path.into(), Vec::new());
            Ok(Box::new(FaultyFile(self.clone(), path.into())))
        }

        fn grow(&self, path: &Path) -> io::Result<Box<dyn Growing>> {
            self.operation()?;
            self.files.lock().unwrap().insert(path.into(), Vec::new());
            Ok(Box::new(FaultyFile(self.clone(), path.into())))
        }

        fn make_directory(&self, _: &Path) -> io::Result<()> {
            self.operation()
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.operation()?;
            let mut files = self.files.lock().unwrap();
            let content = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
            files.insert(to.into(), content);
            Ok(())
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            self.files.lock().unwrap().remove(path);
            Ok(())
        }

        fn sync_directory(&self, _: &Path) -> io::Result<()> {
            self.operation()
        }

        fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
            let files = self.files.lock().unwrap();
            let here = files.keys().filter(|path| path.parent() == Some(directory));
            Ok(here.cloned().collect())
        }

        fn open(&self, path: &Path) -> io::Result<(Box<dyn Read + Send>, u64)> {
            self.operation()?;
            let content = self.files.lock().unwrap()[path].clone();
            let size = content.len() as u64;
            Ok((Box::new(io::Cursor::new(content)), size))
        }
    }

    #[test]
    fn whatever_fails_the_old_file_stays_or_the_new_one_is_whole() {
        let path = Path::new("/data/dump.rdb");
        for fails_at in 0..8 {
            let disk = FaultyDisk {
                fails_at: Some(fails_at),
                ..FaultyDisk::default()
            };
            disk.files
                .lock()
                .unwrap()
                .insert(path.into(), b"old".to_vec());
            let result = replace(&disk, path, true, |output| {
                output.append(b"ne")?;
                output.append(b"w")
            });
            let files = disk.files.lock().unwrap();
            assert_eq!(files.len(), 1, "nothing else remains");
            // Create, append, append, sync, rename, sync of the directory.
            let expected: &[u8] = if fails_at < 5 { b"old" } else { b"new" };
            assert_eq!(files[path], expected);
            assert_eq!(result.is_ok(), fails_at >= 6, "{fails_at}");
        }
    }
}
