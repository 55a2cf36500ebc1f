//! Integers among the arguments, with the bounds and the errors that several groups share.

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
