//! Several members of a collection at random: SRANDMEMBER, SPOP and HRANDFIELD with a count.
//!
//! Without repetition there are two ways, as in Redis. A large part of a collection is a shuffle of all of it that stops
//! early (Fisher and Yates); a small part of a large table is drawn one by one, doubles being thrown away. The second
//! would take ever longer where few are left to draw, so it is used below a third, and its tries have a bound.

use std::collections::HashSet;

use super::blob::Blob;
use super::table::Table;

/// Tries for each member wanted. One and a half are the most to expect below a third.
const TRIES: usize = 8;

/// A uniform number below `bound`, out of a uniform 64-bit one.
pub(super) fn below(random: u64, bound: usize) -> usize {
    ((u128::from(random) * bound as u128) >> 64) as usize
}

/// `count` of the items (or all) in random order.
pub(super) fn choose<T>(
    mut items: Vec<T>,
    count: usize,
    supply: &mut impl FnMut() -> u64,
) -> Vec<T> {
    let count = count.min(items.len());
    for at in 0..count {
        let other = at + below(supply(), items.len() - at);
        items.swap(at, other);
    }
    items.truncate(count);
    items
}

/// `count` different blobs of a table (or all) in random order.
pub(super) fn distinct<'a>(
    table: &'a Table<Blob>,
    count: usize,
    supply: &mut impl FnMut() -> u64,
) -> Vec<&'a Blob> {
    if count < table.len().div_ceil(3) {
        let mut seen = HashSet::with_capacity(count);
        let mut drawn = Vec::with_capacity(count);
        for _ in 0..count.saturating_mul(TRIES) {
            if drawn.len() == count {
                return drawn;
            }
            let Some(blob) = table.random(supply) else {
                break;
            };
            if seen.insert(std::ptr::from_ref(blob)) {
                drawn.push(blob);
            }
        }
        if drawn.len() == count {
            return drawn;
        }
    }
    choose(table.iter().collect(), count, supply)
}
