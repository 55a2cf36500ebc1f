//! What a loss of power leaves in a log: parts that never reached the disk read as zeros.
//!
//! Sectors are written in any order, so what was not synced may be missing in the middle while what follows is there.
//! Nothing else makes a whole sector of zeros in a log but a value that is full of them, which is why this is asked only
//! about the little that may not have been synced, and only after the machine went down.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use memchr::memmem;

use crate::effect::EPOCH_MARK;

use super::number_of;

/// What a disk writes as a whole.
const SECTOR: u64 = 512;
/// Bytes read at a time: whole sectors.
const CHUNK: usize = 1 << 20;
/// Marks of epochs counted at most: more than can be new.
const EPOCHS_MAX: usize = 16;
/// The longest annotation of an epoch, with its line end.
const MARK_MAX: usize = 64;

/// Whether a part of a file has a sector of zeros that lies wholly in it.
pub(super) fn has_hole(path: &Path, from: u64, to: u64) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let first = from.next_multiple_of(SECTOR);
    // The last sector of a file may be short.
    let end = if to >= length {
        length
    } else {
        to - to % SECTOR
    };
    if first >= end {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(first))?;
    let mut input = file.take(end - first);
    let mut chunk = Vec::new();
    loop {
        chunk.clear();
        (&mut input).take(CHUNK as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return Ok(false);
        }
        let mut sectors = chunk.chunks(SECTOR as usize);
        if sectors.any(|sector| sector.iter().all(|byte| *byte == 0)) {
            return Ok(true);
        }
    }
}

/// Whether the byte at a place of a file is zero.
pub(super) fn is_zero_at(path: &Path, at: u64) -> io::Result<bool> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(at))?;
    let mut byte = [1];
    Ok(file.read(&mut byte)? == 1 && byte[0] == 0)
}

/// The epochs whose marks stand anywhere at or after `from`, whatever lies between. `EPOCHS_MAX` are counted at most.
pub(super) fn epochs_after(path: &Path, from: u64) -> io::Result<BTreeSet<u64>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let finder = memmem::Finder::new(EPOCH_MARK);
    let mut found = BTreeSet::new();
    let mut buffer: Vec<u8> = Vec::new();
    loop {
        let got = (&mut file).take(CHUNK as u64).read_to_end(&mut buffer)?;
        for at in finder.find_iter(&buffer) {
            let rest = &buffer[at..];
            let line = rest.split(|byte| *byte == b'\r').next().unwrap_or(rest);
            if let Some((number, false)) = number_of(line) {
                found.insert(number);
            }
        }
        if got == 0 || found.len() >= EPOCHS_MAX {
            return Ok(found);
        }
        // A mark may lie across two pieces; one seen twice is no harm.
        let keep = buffer.len().saturating_sub(MARK_MAX);
        buffer.drain(..keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::tests::Scratch;

    #[test]
    fn a_sector_of_zeros_is_a_hole_and_fewer_zeros_are_none() {
        let scratch = Scratch::new();
        let path = scratch.path.join("log");
        let mut bytes = vec![b'x'; 4096];
        bytes[600..1535].fill(0); // the second sector lacks its beginning, the third its last byte
        std::fs::write(&path, &bytes).unwrap();
        assert!(!has_hole(&path, 0, 4096).unwrap());
        bytes[1535] = 0;
        std::fs::write(&path, &bytes).unwrap();
        assert!(has_hole(&path, 0, 4096).unwrap());
        assert!(!has_hole(&path, 1025, 4096).unwrap() && !has_hole(&path, 0, 1535).unwrap());
        // At the end of the file a short one counts.
        std::fs::write(&path, [&bytes[..512], &[0; 10]].concat()).unwrap();
        assert!(has_hole(&path, 0, 522).unwrap() && !has_hole(&path, 0, 512).unwrap());
    }

    #[test]
    fn marks_of_epochs_are_found_behind_anything() {
        let scratch = Scratch::new();
        let path = scratch.path.join("log");
        let mut bytes = vec![0; CHUNK - 3];
        bytes.extend_from_slice(b"#EPOCH:17\r\n#EPOCH:x\r\n#EPOCH:5\r\n");
        std::fs::write(&path, &bytes).unwrap();
        let after = |from| {
            epochs_after(&path, from)
                .unwrap()
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(after(9), [5, 17]);
        assert_eq!(after(CHUNK as u64), [5]);
        assert!(after(1 << 30).is_empty());
    }
}
