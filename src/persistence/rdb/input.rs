//! Bytes at hand, perhaps not all there will be: the ground on which everything is read.

use std::borrow::Cow;

use super::code::lead;
use super::lzf;
use super::problem::{Halt, Problem, What};
use crate::structures::listpack::{Item, TextBuffer};

/// The longest string taken: far beyond `proto-max-bulk-len`, and within what keys and elements can be.
pub(super) const STRING_MAX: u64 = i32::MAX as u64;

/// A window on what is read.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    /// What has been read of it.
    pub at: usize,
    /// Offset of the first byte at hand.
    base: u64,
    /// Nothing will follow.
    ended: bool,
}

/// A length, or a string's encoding where a string may stand.
enum Head {
    Length(u64),
    Encoded(u8),
}

/// A string as it was found.
pub(super) enum Text<'a> {
    Bytes(Cow<'a, [u8]>),
    Int(i64),
}

impl<'a> Text<'a> {
    /// The bytes; an integer's are written to `buffer`.
    pub fn bytes<'b>(&'b self, buffer: &'b mut TextBuffer) -> &'b [u8] {
        match self {
            Text::Bytes(bytes) => bytes,
            Text::Int(value) => buffer.format(*value).as_bytes(),
        }
    }

    /// The bytes, owned.
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            Text::Bytes(bytes) => bytes.into_owned(),
            Text::Int(value) => Item::Int(value).to_vec(),
        }
    }
}

impl<'a> Input<'a> {
    /// A window on `bytes`, whose first one is at `base`, and after which nothing follows if it has `ended`.
    pub fn new(bytes: &'a [u8], base: u64, ended: bool) -> Self {
        Input {
            bytes,
            at: 0,
            base,
            ended,
        }
    }

    /// How many bytes are at hand that have not been read.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What has been read since `from`.
    pub fn since(&self, from: usize) -> &'a [u8] {
        &self.bytes[from..self.at]
    }

    /// Where the next byte is in the whole.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// A refusal at this place.
    pub fn bad(&self, what: What) -> Halt {
        Halt::Bad(Problem {
            offset: self.offset(),
            what,
        })
    }

    /// A refusal at another place.
    pub fn bad_at(&self, at: usize, what: What) -> Halt {
        Halt::Bad(Problem {
            offset: self.base + at as u64,
            what,
        })
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Halt> {
        let left = self.bytes.len() - self.at;
        if count > left {
            return Err(if self.ended {
                Halt::Bad(Problem {
                    offset: self.base + self.bytes.len() as u64,
                    what: What::Truncated,
                })
            } else {
                Halt::More(count - left)
            });
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Halt> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("as many bytes as asked for"))
    }

    pub fn u8(&mut self) -> Result<u8, Halt> {
        Ok(self.array::<1>()?[0])
    }

    pub fn i32_le(&mut self) -> Result<i32, Halt> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    pub fn i64_le(&mut self) -> Result<i64, Halt> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub fn u64_be(&mut self) -> Result<u64, Halt> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub fn f64_le(&mut self) -> Result<f64, Halt> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    fn head(&mut self) -> Result<Head, Halt> {
        let at = self.at;
        let first = self.u8()?;
        Ok(match first {
            0x00..=0x3f => Head::Length(first.into()),
            0x40..=0x7f => Head::Length(u64::from(first & 0x3f) << 8 | u64::from(self.u8()?)),
            lead::FOUR_BYTES => Head::Length(u32::from_be_bytes(self.array()?).into()),
            lead::EIGHT_BYTES => Head::Length(self.u64_be()?),
            lead::INT_8..=lead::LZF => Head::Encoded(first),
            _ => return Err(self.bad_at(at, What::Length(first))),
        })
    }

    /// A number: a length, a count, a database.
    pub fn length(&mut self) -> Result<u64, Halt> {
        let at = self.at;
        match self.head()? {
            Head::Length(length) => Ok(length),
            Head::Encoded(byte) => Err(self.bad_at(at, What::Length(byte))),
        }
    }

    fn string_length(&mut self, length: u64) -> Result<usize, Halt> {
        if length > STRING_MAX {
            return Err(self.bad(What::TooLong));
        }
        Ok(length as usize)
    }

    /// A string.
    pub fn string(&mut self) -> Result<Text<'a>, Halt> {
        let at = self.at;
        Ok(match self.head()? {
            Head::Length(length) => {
                let length = self.string_length(length)?;
                Text::Bytes(Cow::Borrowed(self.take(length)?))
            }
            Head::Encoded(lead::INT_8) => Text::Int(i8::from_le_bytes(self.array()?).into()),
            Head::Encoded(lead::INT_16) => Text::Int(i16::from_le_bytes(self.array()?).into()),
            Head::Encoded(lead::INT_32) => Text::Int(self.i32_le()?.into()),
            Head::Encoded(_) => {
                let packed = self.length()?;
                let packed = self.string_length(packed)?;
                let plain = self.length()?;
                let plain = self.string_length(plain)?;
                let packed = self.take(packed)?;
                let plain = lzf::decompress(packed, plain)
                    .map_err(|error| self.bad_at(at, What::Lzf(error)))?;
                Text::Bytes(Cow::Owned(plain))
            }
        })
    }

    /// Passes over a string without looking into it.
    pub fn skip_string(&mut self) -> Result<(), Halt> {
        let length = match self.head()? {
            Head::Length(length) => length,
            Head::Encoded(lead::INT_8) => 1,
            Head::Encoded(lead::INT_16) => 2,
            Head::Encoded(lead::INT_32) => 4,
            Head::Encoded(_) => {
                let packed = self.length()?;
                self.length()?;
                packed
            }
        };
        let length = self.string_length(length)?;
        self.take(length)?;
        Ok(())
    }

    /// A string that holds a packed form.
    pub fn blob(&mut self) -> Result<Cow<'a, [u8]>, Halt> {
        Ok(match self.string()? {
            Text::Bytes(bytes) => bytes,
            integer => Cow::Owned(integer.into_vec()),
        })
    }

    /// A score as text, of the oldest sorted sets.
    pub fn text_score(&mut self) -> Result<f64, Halt> {
        let at = self.at;
        let score = match self.u8()? {
            255 => f64::NEG_INFINITY,
            254 => f64::INFINITY,
            253 => f64::NAN,
            length => {
                let text = self.take(length.into())?;
                crate::base::number::parse_f64_bound(text).unwrap_or(f64::NAN)
            }
        };
        if score.is_nan() {
            return Err(self.bad_at(at, What::Score));
        }
        Ok(score)
    }

    /// A binary score.
    pub fn score(&mut self) -> Result<f64, Halt> {
        let at = self.at;
        let score = self.f64_le()?;
        if score.is_nan() {
            return Err(self.bad_at(at, What::Score));
        }
        Ok(score)
    }
}
