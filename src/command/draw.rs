//! Drawing elements at random: what HRANDFIELD, SRANDMEMBER and ZRANDMEMBER have in common.

use hashbrown::HashSet;

use crate::base::random::Random;
use crate::config::Config;
use crate::resp::request::Caller;
use crate::resp::{ErrorReply, Reply};
use crate::structures::listpack::{Item, TextBuffer};

/// Drawing one by one must leave at least this part of the elements out: else too many draws hit what was drawn before.
const SPARSE_PART: usize = 3;

/// Bytes of reply that drawing with repetition may fill, as many as a string may have by default. Redis knows no bound,
/// and one request for a few elements could take all memory there is.
const REPEATED_BYTES_MAX: usize = 512 << 20;

/// A client with fewer bytes to read is not looked at, whatever its limit.
const LIMITED_BYTES_MIN: usize = 128 << 10;

/// Bytes of reply with which a client that asks by itself is closed, whatever it is (`client-output-buffer-limit`): what
/// comes after them need not be written any more. `None` when it may be that it is not closed.
pub(super) fn closing_bytes(config: &Config, caller: &Caller) -> Option<usize> {
    let limits = &config.client_output_buffer_limit;
    let (normal, pubsub) = (limits[0].hard_bytes, limits[2].hard_bytes);
    // A subscriber that still speaks RESP2 sends no such requests.
    let needed = if caller.resp3 {
        normal.min(pubsub)
    } else {
        normal
    };
    let most = if caller.resp3 {
        normal.max(pubsub)
    } else {
        normal
    };
    (needed > 0 && !caller.deny_blocking).then(|| (most as usize).max(LIMITED_BYTES_MIN))
}

/// Shows `count` elements, each drawn by itself, until the client is closed anyway (`closing_bytes`).
pub(super) fn repeated(
    count: usize,
    closing: Option<usize>,
    reply: &mut Reply<'_>,
    mut show: impl FnMut(&mut Reply<'_>),
) -> Result<(), ErrorReply> {
    let start = reply.buffer().len();
    let bytes_max = closing.unwrap_or(usize::MAX).min(REPEATED_BYTES_MAX);
    for _ in 0..count {
        show(reply);
        if reply.buffer().len() - start > bytes_max {
            return match closing {
                Some(closing) if closing <= REPEATED_BYTES_MAX => Ok(()),
                _ => Err(ErrorReply::OUT_OF_RANGE),
            };
        }
    }
    Ok(())
}

/// Shows `count` different elements out of `total`, each choice of so many being as likely as any other.
///
/// `draw` gives one element at random, and `all` shows every element once. Few out of many are drawn one by one;
/// otherwise one pass over all decides for each (selection sampling, Knuth's algorithm S), so nothing is copied but the
/// names of those that were drawn. A pass is also the way out when draws keep hitting the same elements.
pub(super) fn different<'a, T>(
    total: usize,
    count: usize,
    random: &mut Random,
    name: impl Fn(&T) -> Item<'a>,
    mut draw: impl FnMut(&mut Random) -> Option<T>,
    all: impl Iterator<Item = T>,
    mut show: impl FnMut(T),
) {
    assert!(count <= total, "no more elements than there are");
    if count <= total / SPARSE_PART {
        let mut seen: HashSet<Vec<u8>> = HashSet::with_capacity(count);
        let mut drawn = Vec::with_capacity(count);
        for _ in 0..8 * count + 64 {
            if drawn.len() == count {
                break;
            }
            let Some(element) = draw(random) else { break };
            let text = name(&element);
            let text = text.text(&mut TextBuffer::new()).to_vec();
            if seen.insert(text) {
                drawn.push(element);
            }
        }
        if drawn.len() == count {
            drawn.into_iter().for_each(show);
            return;
        }
    }
    let (mut left, mut wanted) = (total as u64, count as u64);
    for element in all {
        if wanted == 0 {
            break;
        }
        if random.below(left) < wanted {
            show(element);
            wanted -= 1;
        }
        left -= 1;
    }
}
