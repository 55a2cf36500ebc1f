//! Requests out of bytes, in place.
//!
//! `next` cuts one request out of what has arrived, as spans into it: nothing is copied or allocated. When a request
//! is not complete yet, what was read of it is kept in the `Parser` (offsets relative to the start of the request), so
//! that a request of a hundred thousand arguments that comes in small pieces is read once, not once for each piece.
//! Limits and texts are Redis 7.2's; after an error the connection is closed, as there.

use super::request::Span;
use crate::base::words::{ends_word, is_blank, split};

/// The longest inline request and the longest count line (Redis: PROTO_INLINE_MAX_SIZE).
pub const INLINE_MAX: usize = 64 * 1024;
/// The longest bulk whatever `proto-max-bulk-len` says: offsets into a request have 32 bits.
const BULK_MAX: u64 = u32::MAX as u64 / 2;
/// Bulk length a client may announce before it has authenticated.
const UNAUTHENTICATED_BULK_MAX: i64 = 16384;
/// Number of arguments a client may announce before it has authenticated.
const UNAUTHENTICATED_ARGS_MAX: i64 = 10;
/// Room made for arguments before they have arrived: an announced count costs nothing until bytes follow.
const SPANS_RESERVE_MAX: usize = 1024;

/// What the parser must know of the client and the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `proto-max-bulk-len`.
    pub bulk_max: u64,
    /// The client has authenticated (or need not).
    pub authenticated: bool,
}

/// Outcome of one attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A request of so many bytes; its spans were appended. No spans: an empty request, which has no reply.
    Request(usize),
    /// More bytes are needed; `missing` is a lower bound of how many, where the announced length tells.
    Incomplete {
        /// Bytes still to come at least.
        missing: usize,
    },
    /// What the client reads after `ERR Protocol error: ` before the connection closes.
    Failed(Vec<u8>),
}

/// What is known of a request that has not arrived whole.
#[derive(Debug, Default)]
pub struct Parser {
    /// Arguments still to come; zero when no multibulk request is under way.
    args_left: u32,
    /// Announced length of the bulk whose header has been read.
    bulk: Option<u32>,
    /// How far the request has been read.
    at: usize,
    /// Arguments read so far, relative to the start of the request.
    spans: Vec<Span>,
}

impl Parser {
    /// Whether a request is half read. Its bytes must then be handed in again from its first one on.
    pub fn is_midway(&self) -> bool {
        self.at > 0
    }

    /// Forgets a half-read request: it will be read from its first byte again.
    pub fn restart(&mut self) {
        self.at = 0;
        self.args_left = 0;
        self.bulk = None;
        self.spans.clear();
    }

    /// Bytes of memory held for a half-read request.
    pub fn held_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>()
    }

    /// Bytes of the half-read request that need not be looked at again: whole arguments, and the length of the next.
    pub fn bytes_read(&self) -> usize {
        self.at
    }

    /// Arguments of the half-read request that are there (CLIENT LIST `argv-mem` and tests look at it).
    pub fn held_args(&self) -> usize {
        self.spans.len()
    }

    /// Reads the request that starts at `from` in `bytes`, and appends its spans (relative to `bytes`) to `spans`.
    #[inline]
    pub fn next(
        &mut self,
        bytes: &[u8],
        from: usize,
        limits: Limits,
        spans: &mut Vec<Span>,
    ) -> Parsed {
        let input = &bytes[from..];
        if self.at == 0 {
            match input.first() {
                None => return Parsed::Incomplete { missing: 1 },
                Some(b'*') => {}
                Some(_) => return self.inline(input, from, spans),
            }
        }
        if self.at > 0 {
            return self.resume(input, from, limits, spans);
        }
        let known = spans.len();
        let outcome = self.multibulk(input, from, limits, spans);
        match outcome {
            Parsed::Request(_) => {}
            // Keep what was read for the next attempt, and leave the caller's list as it was.
            Parsed::Incomplete { .. } => self.spans.extend(spans.drain(known..).map(|span| Span {
                start: span.start - from as u32,
                length: span.length,
            })),
            Parsed::Failed(_) => {
                spans.truncate(known);
                self.restart();
            }
        }
        outcome
    }

    /// Goes on with a half-read request. Its arguments stay in the parser until all are there: handing them back and
    /// forth would cost the square of their number when they come in small pieces.
    fn resume(
        &mut self,
        input: &[u8],
        from: usize,
        limits: Limits,
        spans: &mut Vec<Span>,
    ) -> Parsed {
        let mut held = std::mem::take(&mut self.spans);
        let outcome = self.multibulk(input, 0, limits, &mut held);
        match outcome {
            Parsed::Request(_) => spans.extend(held.iter().map(|span| Span {
                start: span.start + from as u32,
                length: span.length,
            })),
            Parsed::Incomplete { .. } => self.spans = held,
            Parsed::Failed(_) => self.restart(),
        }
        outcome
    }

    #[inline]
    fn multibulk(
        &mut self,
        input: &[u8],
        from: usize,
        limits: Limits,
        spans: &mut Vec<Span>,
    ) -> Parsed {
        let mut at = self.at;
        let mut left = self.args_left;
        if at == 0 {
            match line_number(input, 1) {
                Line::Number(count, next) => {
                    if count > i64::from(i32::MAX) || count < i64::from(i32::MIN) {
                        return failed("invalid multibulk length");
                    }
                    if count > UNAUTHENTICATED_ARGS_MAX && !limits.authenticated {
                        return failed("unauthenticated multibulk length");
                    }
                    if count <= 0 {
                        return Parsed::Request(next);
                    }
                    left = count as u32;
                    at = next;
                }
                Line::Incomplete => {
                    if input.len() > INLINE_MAX {
                        return failed("too big mbulk count string");
                    }
                    return Parsed::Incomplete { missing: 1 };
                }
                Line::Invalid => return failed("invalid multibulk length"),
            }
            self.bulk = None;
        }
        spans.reserve((left as usize).min(SPANS_RESERVE_MAX));
        while left > 0 {
            let length = match self.bulk.take() {
                Some(length) => length,
                None => {
                    match input.get(at) {
                        Some(b'$') => {}
                        None => return self.pause(at, left, None, 1),
                        Some(&other) => {
                            let mut text = b"expected '$', got '".to_vec();
                            text.push(other);
                            text.push(b'\'');
                            return Parsed::Failed(text);
                        }
                    }
                    match line_number(input, at + 1) {
                        Line::Number(length, next) => {
                            if length < 0 || length as u64 > limits.bulk_max.min(BULK_MAX) {
                                return failed("invalid bulk length");
                            }
                            if length > UNAUTHENTICATED_BULK_MAX && !limits.authenticated {
                                return failed("unauthenticated bulk length");
                            }
                            at = next;
                            length as u32
                        }
                        Line::Incomplete => {
                            if input.len() - at > INLINE_MAX {
                                return failed("too big bulk count string");
                            }
                            return self.pause(at, left, None, 1);
                        }
                        Line::Invalid => return failed("invalid bulk length"),
                    }
                }
            };
            let end = at + length as usize + 2;
            if end > input.len() {
                let missing = end - input.len();
                return self.pause(at, left, Some(length), missing);
            }
            spans.push(Span {
                start: (from + at) as u32,
                length,
            });
            at = end;
            left -= 1;
        }
        self.at = 0;
        self.args_left = 0;
        Parsed::Request(at)
    }

    fn pause(&mut self, at: usize, left: u32, bulk: Option<u32>, missing: usize) -> Parsed {
        self.at = at;
        self.args_left = left;
        self.bulk = bulk;
        Parsed::Incomplete { missing }
    }

    #[cold]
    fn inline(&mut self, input: &[u8], from: usize, spans: &mut Vec<Span>) -> Parsed {
        let Some(newline) = memchr::memchr(b'\n', input) else {
            if input.len() > INLINE_MAX {
                return failed("too big inline request");
            }
            return Parsed::Incomplete { missing: 1 };
        };
        let mut line = &input[..newline];
        if let [rest @ .., b'\r'] = line {
            line = rest;
        }
        if line.len() > INLINE_MAX {
            return failed("too big inline request");
        }
        // Words without quotes are spans of the line. A line with quotes is rewritten by `unquoted` first.
        let mut at = 0;
        while at < line.len() {
            if is_blank(line[at]) {
                at += 1;
                continue;
            }
            let start = at;
            while at < line.len() && !ends_word(line[at]) {
                at += 1;
            }
            spans.push(Span {
                start: (from + start) as u32,
                length: (at - start) as u32,
            });
        }
        Parsed::Request(newline + 1)
    }
}

/// Whether the request at the start of `input` is an inline one with quotes or escapes, which `unquoted` must rewrite.
pub fn needs_unquoting(input: &[u8]) -> bool {
    if matches!(input.first(), None | Some(b'*')) {
        return false;
    }
    let end = memchr::memchr(b'\n', input).unwrap_or(0);
    memchr::memchr2(b'"', b'\'', &input[..end]).is_some()
}

/// Rewrites an inline line with quotes as a multibulk request, by the rules of `sdssplitargs`: double quotes know
/// `\n \r \t \b \a \xHH` and escaped characters, single quotes only `\'`, and a closing quote ends its word.
///
/// Gives the request and how many bytes of `input` it stands for; an error when the quotes do not balance.
pub fn unquoted(input: &[u8]) -> Result<(Vec<u8>, usize), Vec<u8>> {
    let newline = memchr::memchr(b'\n', input).unwrap_or(input.len());
    let mut line = &input[..newline];
    if let [rest @ .., b'\r'] = line {
        line = rest;
    }
    let words = split(line).ok_or_else(|| b"unbalanced quotes in request".to_vec())?;
    let mut request = Vec::with_capacity(line.len() + 16 * words.len() + 8);
    request.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(&word);
        request.extend_from_slice(b"\r\n");
    }
    Ok((request, (newline + 1).min(input.len())))
}

fn failed(text: &str) -> Parsed {
    Parsed::Failed(text.as_bytes().to_vec())
}

enum Line {
    /// The number and the offset after its line end.
    Number(i64, usize),
    Incomplete,
    Invalid,
}

/// Reads digits up to CR LF at `at`.
#[inline]
fn line_number(input: &[u8], at: usize) -> Line {
    // One or two digits, the usual case, without a loop.
    if let Some(&[first, second, third, fourth]) =
        input.get(at..at + 4).and_then(|four| four.first_chunk())
        && first.is_ascii_digit()
    {
        // The byte after CR is not looked at, as in Redis.
        if second == b'\r' {
            if first != b'0' || third == b'\n' {
                return Line::Number(i64::from(first - b'0'), at + 3);
            }
        } else if second.is_ascii_digit() && third == b'\r' && first != b'0' {
            let _ = fourth;
            return Line::Number(
                i64::from(first - b'0') * 10 + i64::from(second - b'0'),
                at + 4,
            );
        }
    }
    let window = &input[at.min(input.len())..input.len().min(at + INLINE_MAX + 2)];
    let Some(end) = memchr::memchr(b'\r', window) else {
        return Line::Incomplete;
    };
    if at + end + 2 > input.len() {
        return Line::Incomplete;
    }
    match crate::base::number::parse_i64(&window[..end]) {
        Some(number) => Line::Number(number, at + end + 2),
        None => Line::Invalid,
    }
}

#[cfg(test)]
mod tests;
