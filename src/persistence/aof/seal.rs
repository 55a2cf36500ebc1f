//! Seals: lines of an append-only file with a checksum of all bytes since the seal before, or the beginning of the file.
//!
//! XXH64 tells whether bytes on a disk are those that were written, at ten gigabytes a second; it is no protection against
//! somebody who forges.

use xxhash_rust::xxh64::Xxh64;

use crate::effect::SEAL_MARK;

/// What has come since the last seal.
#[derive(Clone)]
pub struct Unsealed {
    hash: Xxh64,
    length: u64,
}

impl Default for Unsealed {
    fn default() -> Self {
        Unsealed {
            hash: Xxh64::new(0),
            length: 0,
        }
    }
}

impl Unsealed {
    /// Takes in more bytes, in pieces of any size.
    #[inline]
    pub fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// How many bytes have come.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What the seal of it says behind its mark.
    pub fn text(&self) -> String {
        format!("{:016x}", self.hash.digest())
    }

    /// Appends the line that seals it; nothing is unsealed then.
    pub fn seal(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(SEAL_MARK);
        out.extend_from_slice(self.text().as_bytes());
        out.extend_from_slice(b"\r\n");
        *self = Unsealed::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_the_xxh64_of_all_pieces() {
        let (mut unsealed, mut out) = (Unsealed::default(), Vec::new());
        unsealed.update(b"Nobody inspects the ");
        unsealed.update(b"spammish repetition");
        assert_eq!(unsealed.length(), 39);
        unsealed.seal(&mut out);
        unsealed.seal(&mut out);
        assert_eq!(out, b"#SEAL:fbcea83c8a378bf1\r\n#SEAL:ef46db3751d8e999\r\n");
    }
}
