//! Key to hash slot, as Redis Cluster defines it: CRC16 (XMODEM) of the key, or of its hash tag, modulo 16384.
//!
//! Every request pays for this, so the checksum runs over sixteen bytes at a time by table slicing; the `crc16` crate
//! is the reference that the tests hold it equal to.

/// How many hash slots there are (Redis Cluster specification, "Key distribution model").
pub const SLOTS: usize = 16384;

/// A hash slot, `0..16384`.
pub type Slot = u16;

const LANES: usize = 16;

/// `TABLES[k][b]` is the checksum of byte `b` followed by `k` zero bytes.
static TABLES: [[u16; 256]; LANES] = tables();

const fn tables() -> [[u16; 256]; LANES] {
    let mut tables = [[0u16; 256]; LANES];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 {
                (crc << 1) ^ 0x1021
            } else {
                crc << 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut lane = 1;
    while lane < LANES {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[lane - 1][byte];
            tables[lane][byte] = (before << 8) ^ tables[0][(before >> 8) as usize];
            byte += 1;
        }
        lane += 1;
    }
    tables
}

/// CRC16/XMODEM of `bytes`.
#[inline]
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let mut chunks = bytes.chunks_exact(LANES);
    for chunk in &mut chunks {
        let mut next = TABLES[LANES - 1][(chunk[0] ^ (crc >> 8) as u8) as usize]
            ^ TABLES[LANES - 2][(chunk[1] ^ crc as u8) as usize];
        for lane in 2..LANES {
            next ^= TABLES[LANES - 1 - lane][chunk[lane] as usize];
        }
        crc = next;
    }
    let mut rest = chunks.remainder();
    if rest.len() >= 4 {
        let (chunk, tail) = rest.split_at(4);
        crc = TABLES[3][(chunk[0] ^ (crc >> 8) as u8) as usize]
            ^ TABLES[2][(chunk[1] ^ crc as u8) as usize]
            ^ TABLES[1][chunk[2] as usize]
            ^ TABLES[0][chunk[3] as usize];
        rest = tail;
    }
    for &byte in rest {
        crc = (crc << 8) ^ TABLES[0][((crc >> 8) as u8 ^ byte) as usize];
    }
    crc
}

/// The slot of a key: of the bytes between the first `{` and the first `}` after it when there are any, else of all.
#[inline]
pub fn key_slot(key: &[u8]) -> Slot {
    crc16(hash_tag(key)) & (SLOTS as u16 - 1)
}

/// The part of the key that decides its slot.
#[inline]
fn hash_tag(key: &[u8]) -> &[u8] {
    // Most keys have no brace; a plain scan of a short key is quicker than a call.
    let Some(open) = key.iter().position(|&byte| byte == b'{') else {
        return key;
    };
    match memchr::memchr(b'}', &key[open + 1..]) {
        Some(length) if length > 0 => &key[open + 1..open + 1 + length],
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sliced_checksum_equals_the_reference_for_every_length() {
        let bytes: Vec<u8> = (0..400u32).map(|i| (i * 131 + i / 7) as u8).collect();
        for from in 0..32 {
            for length in 0..200 {
                let part = &bytes[from..from + length];
                assert_eq!(
                    crc16(part),
                    crc16::State::<crc16::XMODEM>::calculate(part),
                    "from {from}, length {length}"
                );
            }
        }
        assert_eq!(crc16(b"123456789"), 0x31C3); // the check value of the specification
    }

    #[test]
    fn a_hash_tag_decides_the_slot_only_when_it_is_not_empty() {
        assert_eq!(key_slot(b"{user1000}.following"), key_slot(b"user1000"));
        assert_eq!(key_slot(b"foo{{bar}}zap"), key_slot(b"{bar"));
        assert_eq!(key_slot(b"foo{bar}{zap}"), key_slot(b"bar"));
        assert_ne!(key_slot(b"foo{}{bar}"), key_slot(b"bar"));
        assert_eq!(key_slot(b"foo"), 12182);
    }
}
