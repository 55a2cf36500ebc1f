//! LZF, the compression of strings in snapshots.
//!
//! ```text
//!   000nnnnn                      n + 1 bytes follow as they are
//!   lllooooo oooooooo             copy l + 2 bytes from o + 1 bytes back          l = 1..6
//!   111ooooo llllllll oooooooo    copy l + 9 bytes from o + 1 bytes back
//! ```
//!
//! The compressor looks for the last place with the same three bytes, remembered in a table by their hash. Places count
//! from the beginning of time rather than of the string, so the table is never cleared between strings: most are short,
//! and clearing would cost more than compressing. Written here because the crates at hand either allocate such a table
//! for each string or refuse lengths that Redis writes.

/// The longest run of literal bytes.
const LITERALS_MAX: usize = 32;
/// How far back a copy may reach.
const DISTANCE_MAX: usize = 1 << 13;
/// The longest copy.
const COPY_MAX: usize = 264;
/// A copy of so many bytes gains something.
const COPY_MIN: usize = 3;
/// A compressed byte stands for at most so many: three bytes copy 264.
const RATIO_MAX: usize = COPY_MAX / 3;
/// Bits of the hash of three bytes.
const HASH_BITS: u32 = 14;

/// Why compressed bytes do not decompress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LzfError {
    /// The input ends within a run or an operand.
    Truncated,
    /// A copy from before the beginning.
    BeforeBeginning,
    /// More or fewer bytes than declared.
    WrongLength,
}

/// Decompresses to exactly `len` bytes. Memory is taken only for as many as the input can stand for.
pub fn decompress(input: &[u8], len: usize) -> Result<Vec<u8>, LzfError> {
    if len > input.len().saturating_mul(RATIO_MAX) {
        return Err(LzfError::WrongLength);
    }
    let mut out = Vec::with_capacity(len);
    let mut rest = input;
    while let Some((&control, after)) = rest.split_first() {
        let control = usize::from(control);
        if control < LITERALS_MAX {
            let (literals, after) = after
                .split_at_checked(control + 1)
                .ok_or(LzfError::Truncated)?;
            if out.len() + literals.len() > len {
                return Err(LzfError::WrongLength);
            }
            out.extend_from_slice(literals);
            rest = after;
            continue;
        }
        let (count, operands) = match control >> 5 {
            7 => {
                let (&more, after) = after.split_first().ok_or(LzfError::Truncated)?;
                (usize::from(more) + 9, after)
            }
            count => (count + 2, after),
        };
        let (&low, after) = operands.split_first().ok_or(LzfError::Truncated)?;
        let distance = ((control & 0x1f) << 8 | usize::from(low)) + 1;
        if out.len() + count > len {
            return Err(LzfError::WrongLength);
        }
        let from = out
            .len()
            .checked_sub(distance)
            .ok_or(LzfError::BeforeBeginning)?;
        // What is copied becomes what is copied from: each round has twice as much to take.
        let end = out.len() + count;
        while out.len() < end {
            let piece = (end - out.len()).min(out.len() - from);
            out.extend_from_within(from..from + piece);
        }
        rest = after;
    }
    if out.len() == len {
        Ok(out)
    } else {
        Err(LzfError::WrongLength)
    }
}

/// Compresses strings, one after another.
#[derive(Default)]
pub struct Compressor {
    /// For each hash the last place, counted from the first string ever, plus one.
    places: Box<[u32]>,
    /// The place of the present string's first byte.
    base: u32,
}

fn hash(bytes: &[u8]) -> usize {
    let word = u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 8 | u32::from(bytes[2]);
    (word.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
}

impl Compressor {
    /// Appends `input` compressed to `out`; if it takes more than `max` bytes, `out` is as before and the answer
    /// false.
    pub fn compress(&mut self, input: &[u8], max: usize, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let fits = self.try_compress(input, max, out);
        if !fits {
            out.truncate(start);
        }
        fits
    }

    fn try_compress(&mut self, input: &[u8], max: usize, out: &mut Vec<u8>) -> bool {
        let Ok(len) = u32::try_from(input.len()) else {
            return false;
        };
        if self.places.is_empty() {
            self.places = vec![0; 1 << HASH_BITS].into();
        }
        if self.base.checked_add(len).is_none_or(|end| end == u32::MAX) {
            self.places.fill(0);
            self.base = 0;
            if len >= u32::MAX - 1 {
                return false;
            }
        }
        let base = self.base;
        self.base += len;
        let limit = out.len() + max;
        let (mut at, mut literals_from) = (0, 0);
        while at + COPY_MIN <= input.len() {
            let place = &mut self.places[hash(&input[at..])];
            let before = place.checked_sub(base + 1);
            *place = base + at as u32 + 1;
            let found = before.map(|before| before as usize).filter(|before| {
                at - before <= DISTANCE_MAX && input[*before..][..3] == input[at..][..3]
            });
            let Some(before) = found else {
                at += 1;
                // A run that is full is written, and shows in time that the string does not shrink.
                if at - literals_from == LITERALS_MAX {
                    push_literals(&input[literals_from..at], out);
                    literals_from = at;
                    if out.len() > limit {
                        return false;
                    }
                }
                continue;
            };
            push_literals(&input[literals_from..at], out);
            let most = (input.len() - at).min(COPY_MAX);
            let count = 3 + common_length(&input[at + 3..at + most], &input[before + 3..]);
            push_copy(count, at - before, out);
            if out.len() > limit {
                return false;
            }
            // The last places of a copy are worth remembering: the next one often begins there.
            for inside in (at + count).saturating_sub(2).max(at + 1)..at + count {
                if inside + COPY_MIN <= input.len() {
                    self.places[hash(&input[inside..])] = base + inside as u32 + 1;
                }
            }
            at += count;
            literals_from = at;
        }
        input[literals_from..]
            .chunks(LITERALS_MAX)
            .for_each(|run| push_literals(run, out));
        out.len() <= limit
    }
}

/// How many bytes at the beginning of `a` are those of `b`, which is not shorter.
fn common_length(a: &[u8], b: &[u8]) -> usize {
    const WORD: usize = size_of::<u64>();
    let word = |bytes: &[u8], at: usize| {
        u64::from_le_bytes(bytes[at..at + WORD].try_into().expect("a word of bytes"))
    };
    let mut at = 0;
    while at + WORD <= a.len() {
        let different = word(a, at) ^ word(b, at);
        if different != 0 {
            return at + different.trailing_zeros() as usize / 8;
        }
        at += WORD;
    }
    at + a[at..]
        .iter()
        .zip(&b[at..])
        .take_while(|(a, b)| a == b)
        .count()
}

fn push_literals(run: &[u8], out: &mut Vec<u8>) {
    if !run.is_empty() {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

fn push_copy(count: usize, distance: usize, out: &mut Vec<u8>) {
    let (length, offset) = (count - 2, distance - 1);
    if length < 7 {
        out.push((length << 5 | offset >> 8) as u8);
    } else {
        out.push((7 << 5 | offset >> 8) as u8);
        out.push((length - 7) as u8);
    }
    out.push(offset as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn what_redis_has_compressed_reads_back() {
        for (packed, plain) in [
            ("016161E00A00", b"a".repeat(21)),
            ("016161E01100016161", b"a".repeat(30)),
            (
                "0A6162636465666768696A61E0FF09E1D60D01696A",
                b"abcdefghij".repeat(50),
            ),
        ] {
            let packed = unhex(packed);
            // The control byte in front of the first run is part of the stream.
            assert_eq!(decompress(&packed, plain.len()), Ok(plain));
        }
    }

    #[test]
    fn any_string_reads_back_as_it_was() {
        let mut random = Random::new(5);
        let mut compressor = Compressor::default();
        for round in 0..3000 {
            let letters = [1, 2, 4, 30, 256][round % 5];
            let len = random.below([10, 100, 1000, 20_000][round % 4]) as usize;
            let text: Vec<u8> = (0..len).map(|_| random.below(letters) as u8).collect();
            let mut out = b"before".to_vec();
            if compressor.compress(&text, text.len().saturating_sub(4), &mut out) {
                assert!(out.len() - 6 <= len.saturating_sub(4));
                assert_eq!(decompress(&out[6..], len), Ok(text));
            } else {
                assert_eq!(out, b"before");
            }
        }
        let mut out = Vec::new();
        assert!(compressor.compress(&[b'x'; 100_000], 2000, &mut out));
        assert_eq!(decompress(&out, 100_000), Ok(vec![b'x'; 100_000]));
    }

    #[test]
    fn damaged_input_is_refused() {
        assert_eq!(decompress(&[5, b'a'], 6), Err(LzfError::Truncated));
        assert_eq!(decompress(&[0, b'a', 0x20], 6), Err(LzfError::Truncated));
        assert_eq!(decompress(&[0, b'a', 0xe0], 9), Err(LzfError::Truncated));
        assert_eq!(
            decompress(&[0, b'a', 0x20, 1], 4),
            Err(LzfError::BeforeBeginning)
        );
        assert_eq!(
            decompress(&[0, b'a', 0x20, 0], 3),
            Err(LzfError::WrongLength)
        );
        assert_eq!(decompress(&[0, b'a'], 2), Err(LzfError::WrongLength));
        assert_eq!(decompress(&[1, b'a', b'b'], 1), Err(LzfError::WrongLength));
        assert_eq!(
            decompress(&[0, b'a'], usize::MAX),
            Err(LzfError::WrongLength)
        );
        let mut random = Random::new(6);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..random.below(30))
                .map(|_| random.next_u64() as u8)
                .collect();
            let _ = decompress(&bytes, random.below(300) as usize);
        }
    }
}
