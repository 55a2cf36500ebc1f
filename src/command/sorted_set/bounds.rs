//! What the sorted set commands have in common: bounds of ranges, ranks, and how a member looks in a reply.

use std::ops::Range;

use crate::base::number::parse_f64_bound;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shard;
use crate::structures::ordered::{LexBound, ScoreBound};
use crate::structures::zset::{PackLimits, Pair};

/// How large a packed set may be.
pub(in crate::command) fn pack_limits(shard: &Shard) -> PackLimits {
    PackLimits {
        entries_max: shard.config.zset_max_listpack_entries,
        value_bytes_max: shard.config.zset_max_listpack_value,
    }
}

/// Reads a range of scores; `(` before a bound leaves the bound out.
pub(super) fn score_bounds(min: &[u8], max: &[u8]) -> Result<(ScoreBound, ScoreBound), ErrorReply> {
    let bound = |text: &[u8]| {
        let bound = match text {
            [b'(', rest @ ..] => ScoreBound::Exclusive(parse_f64_bound(rest)?),
            _ => ScoreBound::Inclusive(parse_f64_bound(text)?),
        };
        Some(bound)
    };
    bound(min)
        .zip(bound(max))
        .ok_or(ErrorReply::MIN_MAX_NOT_FLOAT)
}

/// Reads a range of names: `-`, `+`, `[name` or `(name`.
pub(super) fn lex_bounds<'a>(
    min: &'a [u8],
    max: &'a [u8],
) -> Result<(LexBound<'a>, LexBound<'a>), ErrorReply> {
    let bound = |text: &'a [u8]| match text {
        [b'-'] => Some(LexBound::Lowest),
        [b'+'] => Some(LexBound::Highest),
        [b'[', name @ ..] => Some(LexBound::Inclusive(name)),
        [b'(', name @ ..] => Some(LexBound::Exclusive(name)),
        _ => None,
    };
    bound(min)
        .zip(bound(max))
        .ok_or(ErrorReply::MIN_MAX_NOT_LEX)
}

/// The ranks from `start` to `stop`, both included and counted from the end when negative.
pub(super) fn rank_bounds(start: i64, stop: i64, len: usize) -> Range<usize> {
    let from_end = |rank: i64| {
        if rank < 0 {
            rank.saturating_add(len as i64)
        } else {
            rank
        }
    };
    let start = from_end(start).max(0) as usize;
    let stop = from_end(stop);
    if stop < 0 {
        return 0..0;
    }
    let end = (stop as usize).saturating_add(1).min(len);
    start.min(end)..end
}

/// Whether members and scores go into arrays of two: RESP3 does so where RESP2 has one flat array.
pub(super) fn is_nested(with_scores: bool, reply: &Reply<'_>) -> bool {
    with_scores && reply.is_resp3()
}

/// Opens an array of so many members, with their scores or without.
pub(super) fn open_members(reply: &mut Reply<'_>, count: usize, with_scores: bool) {
    if with_scores && !reply.is_resp3() {
        reply.array(2 * count);
    } else {
        reply.array(count);
    }
}

/// Writes a member within the array that `open_members` opened.
#[inline]
pub(super) fn write_member(reply: &mut Reply<'_>, (name, score): Pair<'_>, with_scores: bool) {
    if is_nested(with_scores, reply) {
        reply.array(2);
    }
    reply.bulk_item(name);
    if with_scores {
        reply.double(score);
    }
}
