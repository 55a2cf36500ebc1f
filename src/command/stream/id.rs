//! Ids as clients write them.

use crate::base::number::parse_u64_loose;
use crate::resp::ErrorReply;
use crate::structures::stream::StreamId;

/// An id longer than this is none.
const TEXT_MAX: usize = 127;

/// An id that may leave its second half to the server: XADD's `ms-*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NewId {
    /// All of it is given.
    Whole(StreamId),
    /// Only the milliseconds are.
    Milliseconds(u64),
}

/// What a C string holds of these bytes.
fn up_to_nul(text: &[u8]) -> &[u8] {
    &text[..memchr::memchr(0, text).unwrap_or(text.len())]
}

/// The halves of an id; the second one is missing where there is no dash.
fn halves(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if text.len() > TEXT_MAX {
        return None;
    }
    let text = up_to_nul(text);
    Some(match memchr::memchr(b'-', text) {
        Some(dash) => (&text[..dash], Some(&text[dash + 1..])),
        None => (text, None),
    })
}

fn parse(text: &[u8], missing_seq: u64) -> Option<StreamId> {
    let (ms, seq) = halves(text)?;
    let ms = parse_u64_loose(ms)?;
    let seq = match seq {
        Some(seq) => parse_u64_loose(seq)?,
        None => missing_seq,
    };
    Some(StreamId::new(ms, seq))
}

/// `ms` or `ms-seq`; where the sequence is left out it is 0.
pub(super) fn strict(text: &[u8]) -> Result<StreamId, ErrorReply> {
    parse(text, 0).ok_or(ErrorReply::INVALID_STREAM_ID)
}

/// The same, and `-` and `+` for the lowest and the highest id.
pub(super) fn loose(text: &[u8], missing_seq: u64) -> Result<StreamId, ErrorReply> {
    match up_to_nul(text) {
        _ if text.len() > TEXT_MAX => Err(ErrorReply::INVALID_STREAM_ID),
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => parse(text, missing_seq).ok_or(ErrorReply::INVALID_STREAM_ID),
    }
}

/// XADD's id: `ms`, `ms-seq` or `ms-*`.
pub(super) fn new_id(text: &[u8]) -> Result<NewId, ErrorReply> {
    if let Some((ms, Some(b"*"))) = halves(text) {
        let ms = parse_u64_loose(ms).ok_or(ErrorReply::INVALID_STREAM_ID)?;
        return Ok(NewId::Milliseconds(ms));
    }
    strict(text).map(NewId::Whole)
}

/// The start of an interval; `(` leaves the id itself out.
pub(super) fn start(text: &[u8]) -> Result<StreamId, ErrorReply> {
    match text {
        [b'(', rest @ ..] if !rest.is_empty() => {
            strict(rest)?.next().ok_or(ErrorReply::INVALID_START_ID)
        }
        _ => loose(text, 0),
    }
}

/// The end of an interval; `(` leaves the id itself out.
pub(super) fn end(text: &[u8]) -> Result<StreamId, ErrorReply> {
    match text {
        [b'(', rest @ ..] if !rest.is_empty() => parse(rest, u64::MAX)
            .ok_or(ErrorReply::INVALID_STREAM_ID)?
            .previous()
            .ok_or(ErrorReply::INVALID_END_ID),
        _ => loose(text, u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        let id = StreamId::new;
        assert_eq!(strict(b"5"), Ok(id(5, 0)));
        assert_eq!(strict(b"5-7"), Ok(id(5, 7)));
        assert_eq!(strict(b"5\0rest"), Ok(id(5, 0)));
        for bad in [
            &b"-"[..],
            b"+",
            b"",
            b"5-",
            b"-5",
            b"5-*",
            b"a",
            b"5-6-7",
            b"5-6 ",
        ] {
            assert_eq!(strict(bad), Err(ErrorReply::INVALID_STREAM_ID), "{bad:?}");
        }
        assert_eq!(strict(&[b'1'; 200]), Err(ErrorReply::INVALID_STREAM_ID));
        assert_eq!(loose(b"-", 3), Ok(StreamId::MIN));
        assert_eq!(loose(b"+", 3), Ok(StreamId::MAX));
        assert_eq!(loose(b"4", 3), Ok(id(4, 3)));
        assert_eq!(new_id(b"4-*"), Ok(NewId::Milliseconds(4)));
        assert_eq!(new_id(b"4"), Ok(NewId::Whole(id(4, 0))));
        assert_eq!(new_id(b"4-**"), Err(ErrorReply::INVALID_STREAM_ID));
        assert_eq!(start(b"(4"), Ok(id(4, 1)));
        assert_eq!(end(b"(4"), Ok(id(4, u64::MAX - 1)));
        assert_eq!(end(b"(4-0"), Ok(id(3, u64::MAX)));
        assert_eq!(end(b"(0-0"), Err(ErrorReply::INVALID_END_ID));
        let highest = b"(18446744073709551615-18446744073709551615";
        assert_eq!(start(highest), Err(ErrorReply::INVALID_START_ID));
        assert_eq!(start(b"(-"), Err(ErrorReply::INVALID_STREAM_ID));
        assert_eq!(start(b"("), Err(ErrorReply::INVALID_STREAM_ID));
    }
}
