//! Records put aside until a big value has been written: in memory, and beyond a bound in a file that nobody else sees.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use super::file::{Disk, Output};

/// Bytes read back at a time.
const CHUNK: usize = 256 * 1024;

/// See the head of the file.
pub(super) struct Spill {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Bytes kept in memory at most.
    limit: usize,
    memory: Vec<u8>,
    file: Option<Box<dyn Output>>,
}

impl Spill {
    /// Empty; beyond `limit` bytes there will be a file at `path`.
    pub fn new(disk: Arc<dyn Disk>, path: PathBuf, limit: usize) -> Self {
        Spill {
            disk,
            path,
            limit,
            memory: Vec::new(),
            file: None,
        }
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.file.is_none()
    }

    /// Puts bytes aside.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.memory.is_empty() && self.memory.len() + bytes.len() > self.limit {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(self.disk.create(&self.path)?),
            };
            file.append(&self.memory)?;
            self.memory.clear();
        }
        self.memory.extend_from_slice(bytes);
        Ok(())
    }

    /// All of it, to be read in the order in which it came; what is put aside from now on is separate.
    pub fn take(&mut self) -> Spilled {
        let empty = Spill::new(self.disk.clone(), self.path.clone(), self.limit);
        Spilled {
            spill: std::mem::replace(self, empty),
            reading: None,
            chunk: Vec::new(),
            stage: Stage::File,
        }
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        if self.file.take().is_some()
            && let Err(error) = self.disk.remove(&self.path)
        {
            log::warn!("Can't remove '{}': {error}", self.path.display());
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    File,
    Memory,
    End,
}

/// What was put aside, on its way back.
pub(super) struct Spilled {
    spill: Spill,
    reading: Option<Box<dyn Read + Send>>,
    chunk: Vec<u8>,
    stage: Stage,
}

impl Spilled {
    /// The next bytes; none at the end.
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.stage == Stage::File {
            if self.spill.file.is_some() {
                let file = match &mut self.reading {
                    Some(file) => file,
                    None => {
                        let (file, _) = self.spill.disk.open(&self.spill.path)?;
                        self.chunk = vec![0; CHUNK];
                        self.reading.insert(file)
                    }
                };
                let read = file.read(&mut self.chunk)?;
                if read > 0 {
                    return Ok(Some(&self.chunk[..read]));
                }
            }
            self.stage = Stage::Memory;
        }
        if self.stage == Stage::Memory {
            self.stage = Stage::End;
            return Ok(Some(&self.spill.memory));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::file::tests::FaultyDisk;

    #[test]
    fn what_is_put_aside_comes_back_in_order_and_leaves_no_file() {
        for limit in [10, 1000, 100_000] {
            let disk = FaultyDisk::default();
            let mut spill = Spill::new(Arc::new(disk.clone()), "/tmp/aside".into(), limit);
            assert!(spill.is_empty());
            let mut all = Vec::new();
            for n in 0..500_u32 {
                let bytes = n.to_le_bytes().repeat(n as usize % 7 + 1);
                spill.put(&bytes).unwrap();
                all.extend_from_slice(&bytes);
            }
            assert!(!spill.is_empty());
            assert_eq!(disk.files.lock().unwrap().len(), usize::from(limit < 5000));
            let mut back = Vec::new();
            let mut spilled = spill.take();
            while let Some(bytes) = spilled.next().unwrap() {
                back.extend_from_slice(bytes);
            }
            drop(spilled);
            assert_eq!(back, all);
            assert!(spill.is_empty() && disk.files.lock().unwrap().is_empty());
        }
    }
}
