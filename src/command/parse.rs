//! Numbers among the arguments, with the bounds and the errors that several groups share.

use crate::base::long_double::LongDouble;
use crate::base::number::parse_i64;
use crate::resp::ErrorReply;
use crate::resp::request::Args;

/// Argument `index` as an integer.
pub(super) fn integer(args: &Args<'_>, index: usize) -> Result<i64, ErrorReply> {
    parse_i64(args.get(index)).ok_or(ErrorReply::NOT_INTEGER)
}

/// Argument `index` as an integer whose negative is one too: what most counts with a sign are.
pub(super) fn negatable(args: &Args<'_>, index: usize) -> Result<i64, ErrorReply> {
    match integer(args, index)? {
        i64::MIN => Err(ErrorReply::out_of_range(-i64::MAX, i64::MAX)),
        number => Ok(number),
    }
}

/// Argument `index` as an integer of at least `min`; anything else is `error`.
pub(super) fn at_least(
    args: &Args<'_>,
    index: usize,
    min: i64,
    error: ErrorReply,
) -> Result<u64, ErrorReply> {
    assert!(min >= 0, "what is counted is never negative");
    match parse_i64(args.get(index)) {
        Some(number) if number >= min => Ok(number as u64),
        _ => Err(error),
    }
}

/// Argument `index` as a time-out in seconds, fractions allowed: until when to wait in Unix milliseconds, `None` for ever.
pub(super) fn timeout_seconds(
    args: &Args<'_>,
    index: usize,
    now: i64,
) -> Result<Option<i64>, ErrorReply> {
    let seconds = LongDouble::parse(args.get(index)).ok_or(ErrorReply::TIMEOUT_NOT_FLOAT)?;
    match seconds.times(1000).ceil_to_i64() {
        Some(ms) => deadline(ms, now),
        None if seconds.is_negative() => Err(ErrorReply::TIMEOUT_NEGATIVE),
        None => Err(ErrorReply::TIMEOUT_OUT_OF_RANGE),
    }
}

/// The same for a time-out in milliseconds.
pub(super) fn timeout_ms(
    args: &Args<'_>,
    index: usize,
    now: i64,
) -> Result<Option<i64>, ErrorReply> {
    let ms = parse_i64(args.get(index)).ok_or(ErrorReply::TIMEOUT_NOT_INTEGER)?;
    deadline(ms, now)
}

fn deadline(ms: i64, now: i64) -> Result<Option<i64>, ErrorReply> {
    match ms {
        ..0 => Err(ErrorReply::TIMEOUT_NEGATIVE),
        0 => Ok(None),
        _ => match now.checked_add(ms) {
            Some(until) => Ok(Some(until)),
            None => Err(ErrorReply::TIMEOUT_OUT_OF_RANGE),
        },
    }
}
