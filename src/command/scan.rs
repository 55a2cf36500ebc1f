//! What HSCAN and SSCAN have in common: the cursor, the options and when a call has shown enough.

use crate::base::glob;
use crate::base::number::{format_u64, parse_u64_loose};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::structures::listpack::{Item, TextBuffer};

use super::parse;

/// How many elements a scan shows when COUNT does not say.
const SCAN_COUNT: i64 = 10;
/// A scan looks at no more parts of a table than this times COUNT: tables may be sparse.
const SCAN_PARTS_PER_COUNT: u64 = 10;

/// The cursor of a scan (SCAN, 2.8): digits as C reads them, which takes nothing for 0 and a minus sign for a number from
/// the other end. Only leading blanks are refused.
pub(super) fn cursor(args: &Args<'_>, index: usize) -> Result<u64, ErrorReply> {
    let cursor = match args.get(index) {
        [] => Some(0),
        [first, ..] if first.is_ascii_whitespace() || *first == 0x0b => None,
        [b'-', digits @ ..] => parse_u64_loose(digits).map(u64::wrapping_neg),
        text => parse_u64_loose(text),
    };
    cursor.ok_or(ErrorReply::INVALID_CURSOR)
}

/// What a scan of one key was asked for.
pub(super) struct ScanOptions<'a> {
    /// COUNT: elements after which it may stop.
    pub count: u64,
    pattern: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    /// Reads COUNT and MATCH from argument `from` on.
    pub fn parse(args: &Args<'a>, from: usize) -> Result<Self, ErrorReply> {
        let mut options = ScanOptions {
            count: SCAN_COUNT as u64,
            pattern: None,
        };
        let mut at = from;
        while at < args.len() {
            if at + 1 == args.len() {
                return Err(ErrorReply::SYNTAX);
            }
            if args.is(at, "COUNT") {
                let count = parse::integer(args, at + 1)?;
                if count < 1 {
                    return Err(ErrorReply::SYNTAX);
                }
                options.count = count as u64;
            } else if args.is(at, "MATCH") {
                options.pattern = Some(args.get(at + 1)).filter(|pattern| *pattern != b"*");
            } else {
                return Err(ErrorReply::SYNTAX);
            }
            at += 2;
        }
        Ok(options)
    }

    /// Whether MATCH lets the element through.
    pub fn matches(&self, item: Item<'_>) -> bool {
        self.pattern
            .is_none_or(|pattern| glob::matches(pattern, item.text(&mut TextBuffer::new()), false))
    }

    /// Calls `step` with a cursor until enough has been seen or the scan is over. `step` visits one part, answers the
    /// next cursor and how many elements it saw. The result is the cursor to reply.
    pub fn walk(&self, cursor: u64, mut step: impl FnMut(u64) -> (u64, u64)) -> u64 {
        let mut cursor = cursor;
        let mut parts = self.count.saturating_mul(SCAN_PARTS_PER_COUNT);
        let mut seen = 0;
        loop {
            let (next, more) = step(cursor);
            (cursor, seen, parts) = (next, seen + more, parts - 1);
            if cursor == 0 || seen >= self.count || parts == 0 {
                return cursor;
            }
        }
    }
}

/// Replies what a scan of one key found: the cursor, and `shown` elements that stand in `elements` as replies already.
pub(super) fn reply_found(reply: &mut Reply<'_>, cursor: u64, shown: usize, elements: &[u8]) {
    reply.array(2);
    reply.bulk(format_u64(cursor).as_bytes());
    reply.array(shown);
    reply.buffer().extend_from_slice(elements);
}
