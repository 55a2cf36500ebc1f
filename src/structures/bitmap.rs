//! Strings as arrays of bits, the first bit being the highest of the first byte: counting, searching, combining, and
//! integers of any width at any bit.
//!
//! Everything works on words or whole slices, which the compiler turns into vector code; bits at the edges of a range
//! are masked, never walked. Reading past the end of a string finds zeros.
#![allow(unsafe_code)]

/// Bytes combined at a time, so that the result stays in the cache while all sources pass over it.
const BLOCK: usize = 16 * 1024;

/// How two bitmaps become one (BITOP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// Bits that are in all.
    And,
    /// Bits that are in any.
    Or,
    /// Bits that are in an odd number of them.
    Xor,
}

/// How many bits are set.
///
/// The baseline that the server is built for promises neither an instruction that counts a word's bits nor wide
/// vectors, so what the processor has is asked for when it runs. Measured on 4 KB: 22 ns with vectors of counts, 76 with
/// AVX2, 260 without either, which was a third of a BITCOUNT (bench/compare.sh types).
pub fn count_ones(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vpopcntdq") {
            // SAFETY: the processor has just been asked for both features, which is all that the function demands.
            return unsafe { count_ones_512(bytes) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
            // SAFETY: as above.
            return unsafe { count_ones_256(bytes) };
        }
    }
    count_ones_anywhere(bytes)
}

/// [`count_ones`] where whole vectors are counted by one instruction.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn count_ones_512(bytes: &[u8]) -> u64 {
    count_ones_anywhere(bytes)
}

/// [`count_ones`] with vectors of 256 bits.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn count_ones_256(bytes: &[u8]) -> u64 {
    count_ones_anywhere(bytes)
}

/// The loop itself, from which the compiler makes the best that the function around it may use.
#[inline(always)]
fn count_ones_anywhere(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let in_word = |word: &[u8; 8]| u64::from(u64::from_le_bytes(*word).count_ones());
    let in_byte = |byte: &u8| u64::from(byte.count_ones());
    words.iter().map(in_word).sum::<u64>() + rest.iter().map(in_byte).sum::<u64>()
}

/// How many bits are set from bit `first` to bit `last`, both included and within the bytes.
pub fn count_ones_between(bytes: &[u8], first: u64, last: u64) -> u64 {
    assert!(
        first <= last && last / 8 < bytes.len() as u64,
        "a range within the bytes"
    );
    let (head, tail) = ((first / 8) as usize, (last / 8) as usize);
    let before = bytes[head] & !(0xff >> (first % 8));
    let behind = bytes[tail] & (0x7f >> (last % 8));
    count_ones(&bytes[head..=tail]) - u64::from(before.count_ones() + behind.count_ones())
}

/// The place of the first bit that is `bit`, from bit `first` to bit `last`, both included and within the bytes.
pub fn find(bytes: &[u8], bit: bool, first: u64, last: u64) -> Option<u64> {
    assert!(
        first <= last && last / 8 < bytes.len() as u64,
        "a range within the bytes"
    );
    let (head, tail) = ((first / 8) as usize, (last / 8) as usize);
    // With `flip` what is searched is always a one.
    let flip = if bit { 0 } else { 0xff };
    let found =
        |at: usize, byte: u8| (byte != 0).then(|| at as u64 * 8 + u64::from(byte.leading_zeros()));
    let opening = (bytes[head] ^ flip) & (0xff >> (first % 8));
    if let Some(place) = found(head, opening) {
        return Some(place).filter(|place| *place <= last);
    }
    if head == tail {
        return None;
    }
    let between = &bytes[head + 1..=tail];
    let at = first_other(between, flip)?;
    found(head + 1 + at, between[at] ^ flip).filter(|place| *place <= last)
}

/// Where the first byte lies that is not `usual`.
fn first_other(bytes: &[u8], usual: u8) -> Option<usize> {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let differs = |byte: &u8| *byte != usual;
    // Within a block no branch: that is what makes it vectors.
    let block = blocks
        .iter()
        .position(|block| block.iter().fold(0, |all, byte| all | (byte ^ usual)) != 0);
    match block {
        Some(block) => blocks[block]
            .iter()
            .position(differs)
            .map(|at| block * 64 + at),
        None => rest
            .iter()
            .position(differs)
            .map(|at| blocks.len() * 64 + at),
    }
}

/// Combines bitmaps, shorter ones being continued by zeros. The result is as long as the longest.
pub fn combine(how: Combine, sources: &[&[u8]]) -> Vec<u8> {
    let length = sources.iter().map(|source| source.len()).max().unwrap_or(0);
    let Some((first, others)) = sources.split_first() else {
        return Vec::new();
    };
    let mut result = Vec::with_capacity(length);
    result.extend_from_slice(first);
    result.resize(length, 0);
    for (block, target) in result.chunks_mut(BLOCK).enumerate() {
        for other in others {
            let part = other.get(block * BLOCK..).unwrap_or_default();
            let both = target.iter_mut().zip(part);
            match how {
                Combine::And => {
                    both.for_each(|(bits, other)| *bits &= other);
                    let covered = part.len().min(target.len());
                    target[covered..].fill(0);
                }
                Combine::Or => both.for_each(|(bits, other)| *bits |= other),
                Combine::Xor => both.for_each(|(bits, other)| *bits ^= other),
            }
        }
    }
    result
}

/// The bitmap with every bit turned.
pub fn invert(source: &[u8]) -> Vec<u8> {
    source.iter().map(|byte| !byte).collect()
}

/// The kind of an integer within a bitmap (BITFIELD).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldKind {
    /// Two's complement; else never negative.
    pub signed: bool,
    /// 1 to 64 when signed, 1 to 63 when not: every value fits an `i64`.
    pub bits: u32,
}

/// What happens to a value that its field is too narrow for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The higher bits are lost.
    Wrap,
    /// The nearest value that fits is taken.
    Saturate,
    /// Nothing is written.
    Fail,
}

/// Bytes that a field of 64 bits can touch.
const WINDOW: usize = 9;

impl FieldKind {
    fn bounds(self) -> (i128, i128) {
        if self.signed {
            (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1)
        } else {
            (0, (1 << self.bits) - 1)
        }
    }

    /// Whether a number is so far below a signed field's bounds that the way from it to the highest passes 64 bits.
    pub fn wraps_below(self, value: i64) -> bool {
        let (_, max) = self.bounds();
        self.signed && self.bits < 64 && max - i128::from(value) > i128::from(i64::MAX)
    }

    /// The field's lowest bits of `raw` as a number.
    fn number(self, raw: u64) -> i64 {
        let unused = 64 - self.bits;
        if self.signed {
            (raw << unused) as i64 >> unused
        } else {
            ((raw << unused) >> unused) as i64
        }
    }

    /// What a field shows after `value` went into it; nothing when it must not (`Overflow::Fail`).
    pub fn fit(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (min, max) = self.bounds();
        if (min..=max).contains(&value) {
            return Some(value as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.number(value as u64)),
            Overflow::Saturate => Some(value.clamp(min, max) as i64),
            Overflow::Fail => None,
        }
    }

    /// The number at bit `offset`; bits past the end are zero.
    pub fn get(self, bytes: &[u8], offset: u64) -> i64 {
        let (window, _) = window(bytes, offset);
        let raw = (window << (offset % 8)) >> (128 - self.bits);
        self.number(raw as u64)
    }

    /// Writes the number at bit `offset`. The bytes must reach to its end.
    pub fn set(self, bytes: &mut [u8], offset: u64, value: i64) {
        let end = offset + u64::from(self.bits);
        assert!(
            end.div_ceil(8) <= bytes.len() as u64,
            "room was made for the field"
        );
        let shift = 128 - self.bits - (offset % 8) as u32;
        let mask = (u128::MAX >> (128 - self.bits)) << shift;
        let (window, length) = window(bytes, offset);
        let written = window & !mask | (value as u128) << shift & mask;
        let first = (offset / 8) as usize;
        bytes[first..first + length].copy_from_slice(&written.to_be_bytes()[..length]);
    }
}

/// The bytes around a field, from the one that holds its first bit on, and how many of them are there.
fn window(bytes: &[u8], offset: u64) -> (u128, usize) {
    let from = usize::try_from(offset / 8).unwrap_or(usize::MAX);
    let part = bytes.get(from..).unwrap_or_default();
    let length = part.len().min(WINDOW);
    let mut window = [0; 16];
    window[..length].copy_from_slice(&part[..length]);
    (u128::from_be_bytes(window), length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    fn bits(bytes: &[u8]) -> Vec<bool> {
        let bit = |at: usize| bytes[at / 8] & (0x80 >> (at % 8)) != 0;
        (0..bytes.len() * 8).map(bit).collect()
    }

    fn noise(random: &mut Random, length: usize, sparse: bool) -> Vec<u8> {
        let keep = |byte: u64| {
            if sparse && byte >> 8 & 63 != 0 {
                0
            } else {
                byte as u8
            }
        };
        (0..length).map(|_| keep(random.next_u64())).collect()
    }

    #[test]
    fn all_ways_of_counting_agree() {
        let mut random = Random::new(11);
        for length in (0..300).chain([4096, 4097, 70_003]) {
            let bytes = noise(&mut random, length, length % 2 == 0);
            let walked = bits(&bytes).iter().filter(|bit| **bit).count() as u64;
            assert_eq!(count_ones(&bytes), walked);
            assert_eq!(count_ones_anywhere(&bytes), walked);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
                // SAFETY: the features are there.
                assert_eq!(unsafe { count_ones_256(&bytes) }, walked);
            }
        }
    }

    #[test]
    fn counting_and_searching_agree_with_a_walk_over_the_bits() {
        let mut random = Random::new(3);
        for round in 0..400 {
            let length = 1 + random.below(300) as usize;
            let mut bytes = noise(&mut random, length, round % 2 == 0);
            if round % 4 == 0 {
                bytes.iter_mut().for_each(|byte| *byte = !*byte);
            }
            let bits = bits(&bytes);
            let mut ends = [
                random.below(bits.len() as u64),
                random.below(bits.len() as u64),
            ];
            ends.sort_unstable();
            let [first, last] = ends;
            let part = &bits[first as usize..=last as usize];
            let ones = part.iter().filter(|bit| **bit).count() as u64;
            assert_eq!(count_ones_between(&bytes, first, last), ones);
            for bit in [false, true] {
                let at = part.iter().position(|other| *other == bit);
                assert_eq!(
                    find(&bytes, bit, first, last),
                    at.map(|at| first + at as u64)
                );
            }
            assert_eq!(
                count_ones(&bytes),
                bits.iter().filter(|bit| **bit).count() as u64
            );
        }
    }

    #[test]
    fn combining_continues_shorter_bitmaps_with_zeros() {
        let (long, short) = ([0b1100_1100, 0xff, 0x0f], [0b1010_1010]);
        assert_eq!(combine(Combine::And, &[&long, &short]), [0b1000_1000, 0, 0]);
        assert_eq!(
            combine(Combine::Or, &[&short, &long]),
            [0b1110_1110, 0xff, 0x0f]
        );
        assert_eq!(
            combine(Combine::Xor, &[&long, &short, b""]),
            [0b0110_0110, 0xff, 0x0f]
        );
        assert_eq!(invert(&short), [0b0101_0101]);
        let mut random = Random::new(5);
        let sources: Vec<Vec<u8>> = [BLOCK * 2 + 7, BLOCK + 1, BLOCK * 3]
            .map(|length| noise(&mut random, length, false))
            .into();
        let slices: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
        let result = combine(Combine::Xor, &slices);
        for (at, byte) in result.iter().enumerate() {
            let expected = slices
                .iter()
                .fold(0, |all, source| all ^ source.get(at).copied().unwrap_or(0));
            assert_eq!(*byte, expected);
        }
    }

    #[test]
    fn fields_of_every_width_at_every_bit_hold_what_was_put_in() {
        let mut random = Random::new(9);
        for bits in 1..=64 {
            for signed in [true, false] {
                let kind = FieldKind { signed, bits };
                if !signed && bits == 64 {
                    continue;
                }
                for offset in 0..24 {
                    let mut bytes = noise(&mut random, 12, false);
                    let before = super::tests::bits(&bytes);
                    let value = kind.number(random.next_u64());
                    kind.set(&mut bytes, offset, value);
                    assert_eq!(kind.get(&bytes, offset), value, "{kind:?} at {offset}");
                    let after = super::tests::bits(&bytes);
                    let field = offset as usize..offset as usize + bits as usize;
                    let outside = |at: &usize| !field.contains(at);
                    assert!((0..96).filter(outside).all(|at| before[at] == after[at]));
                }
            }
        }
    }

    #[test]
    fn reading_past_the_end_finds_zeros() {
        let kind = FieldKind {
            signed: false,
            bits: 16,
        };
        assert_eq!(kind.get(&[0xff], 0), 0xff00);
        assert_eq!(kind.get(&[0xff], 4), 0xf000);
        assert_eq!(kind.get(&[0xff], u64::MAX), 0);
    }

    #[test]
    fn values_too_wide_wrap_saturate_or_fail() {
        let (i8, u8) = (
            FieldKind {
                signed: true,
                bits: 8,
            },
            FieldKind {
                signed: false,
                bits: 8,
            },
        );
        for (kind, value, wrapped, saturated) in [
            (i8, 128, -128, 127),
            (i8, -129, 127, -128),
            (u8, 256, 0, 255),
            (u8, -1, 255, 0),
            (i8, 1 << 80, 0, 127),
        ] {
            assert_eq!(kind.fit(value, Overflow::Wrap), Some(wrapped));
            assert_eq!(kind.fit(value, Overflow::Saturate), Some(saturated));
            assert_eq!(kind.fit(value, Overflow::Fail), None);
        }
        let widest = FieldKind {
            signed: true,
            bits: 64,
        };
        let past = i128::from(i64::MAX) + 1;
        assert_eq!(widest.fit(past, Overflow::Wrap), Some(i64::MIN));
        assert_eq!(widest.fit(past - 1, Overflow::Fail), Some(i64::MAX));
    }
}
