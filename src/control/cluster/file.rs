//! nodes.conf on the disk: locked while the server runs, replaced as a whole, and durable where it has to be.
//!
//! The file is written beside itself and renamed, so that a crash leaves the old one or the new one. The lock is on the
//! file itself: the new one is locked before it takes the place of the old one, so there is no moment without.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use crate::cluster::Save;

/// The file that holds what this node knows of the cluster.
#[derive(Debug)]
pub struct NodesFile {
    path: PathBuf,
    /// The locked file.
    held: File,
    /// Where the one before goes. With its last handle the system takes it away, which waits for the disk: measured, as long as
    /// the rest of a save when these follow each other, as they do while slots are moved. So a thread lets go of it.
    replaced: mpsc::Sender<File>,
}

impl NodesFile {
    /// Opens the file, or makes it, and locks it; its text comes with it.
    pub fn open(path: &Path) -> Result<(NodesFile, Vec<u8>), String> {
        let shown = path.display();
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(|error| format!("Can't open {shown} in order to acquire a lock: {error}"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!(
                    "Sorry, the cluster configuration file {shown} is already used by a different Redis Cluster node. \
                     Please make sure that different nodes use different cluster configuration files."
                ));
            }
            Err(TryLockError::Error(error)) => {
                return Err(format!("Impossible to lock {shown}: {error}"));
            }
        }
        // Whoever held the lock until now may have put another file in its place meanwhile.
        let text = std::fs::read(path).map_err(|error| format!("Can't read {shown}: {error}"))?;
        let file = NodesFile {
            path: path.to_owned(),
            held: file,
            replaced: closer()?,
        };
        Ok((file, text))
    }

    /// Replaces the content.
    pub fn save(&mut self, save: &Save) -> io::Result<()> {
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut temporary = self.path.as_os_str().to_owned();
        temporary.push(format!(".tmp-{}", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let written = (|| {
            let mut file = File::create(&temporary)?;
            file.try_lock().map_err(io::Error::from)?;
            file.write_all(save.text.as_bytes())?;
            if save.is_durable {
                file.sync_all()?;
            }
            std::fs::rename(&temporary, &self.path)?;
            if save.is_durable {
                File::open(directory)?.sync_all()?;
            }
            Ok(file)
        })();
        match written {
            Ok(file) => {
                // Without the thread, which ends with this value only, it is closed here.
                let _ = self.replaced.send(std::mem::replace(&mut self.held, file));
                Ok(())
            }
            Err(error) => {
                let _ = std::fs::remove_file(&temporary);
                Err(error)
            }
        }
    }
}

/// A thread that closes files, for as long as somebody may send it any.
fn closer() -> Result<mpsc::Sender<File>, String> {
    let (sender, receiver) = mpsc::channel::<File>();
    std::thread::Builder::new()
        .name("nodes-conf".to_owned())
        .spawn(move || receiver.into_iter().for_each(drop))
        .map_err(|error| format!("Can't start a thread: {error}"))?;
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_nodes_and_holds_what_was_saved() {
        let directory = std::env::temp_dir().join(format!("slotwise-nodes-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("nodes.conf");
        let (mut file, text) = NodesFile::open(&path).unwrap();
        assert!(text.is_empty());
        for is_durable in [false, true] {
            let text = format!("durable {is_durable}\n");
            let save = Save { text, is_durable };
            file.save(&save).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), save.text);
            let second = NodesFile::open(&path).unwrap_err();
            assert!(second.contains("already used by a different"), "{second}");
        }
        drop(file);
        let (_, text) = NodesFile::open(&path).unwrap();
        assert_eq!(text, b"durable true\n");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
