//! Which arguments of a request are its keys, read off the key specifications.

use smallvec::SmallVec;

use crate::base::number::parse_i64;
use crate::resp::request::Args;

use super::spec::{Access, Begin, Command, Find, KeySpec};

/// Places of keys among the arguments, with what is done to each.
pub type KeyPlaces = SmallVec<[(u32, Access); 8]>;

/// The keys of a request; `None` when the arguments do not fit the specifications (a bad count).
pub fn key_places(command: &Command, args: &Args<'_>) -> Option<KeyPlaces> {
    let mut places = KeyPlaces::new();
    for spec in command.keys {
        if !spec.access.has(Access::NOT_KEY) {
            collect(spec, args, &mut places)?;
        }
    }
    Some(places)
}

/// What a request is routed by: its keys, or the sharded channels that stand in their place.
pub fn routed_places(command: &Command, args: &Args<'_>) -> Option<KeyPlaces> {
    let mut places = KeyPlaces::new();
    for spec in command.keys {
        collect(spec, args, &mut places)?;
    }
    Some(places)
}

fn collect(spec: &KeySpec, args: &Args<'_>, places: &mut KeyPlaces) -> Option<()> {
    let count = args.len();
    let begin = match spec.begin {
        Begin::Index(index) => usize::from(index),
        Begin::Keyword {
            word,
            from,
            past,
            in_place_of,
        } => {
            let replaced = in_place_of.map(u32::from);
            let search = replaced.map_or(1, |place| place as usize + 1);
            match find_word(args, word, from, past, search) {
                Some(place) => {
                    // Where both are given, neither is taken for the keys.
                    if replaced.is_some_and(|place| !args.get(place as usize).is_empty()) {
                        return None;
                    }
                    places.retain(|(key, _)| Some(*key) != replaced);
                    place + 1
                }
                None => return Some(()),
            }
        }
        Begin::Computed { place, .. } => match place(args) {
            Some(place) => place,
            None => return Some(()),
        },
        Begin::Unknown => return Some(()),
    };
    if begin >= count {
        return Some(());
    }
    let (first, last, step) = match spec.find {
        Find::Range { last, step, limit } => {
            let last = if last >= 0 {
                begin + last as usize
            } else if limit <= 1 {
                (count as isize + isize::from(last)).max(0) as usize
            } else {
                // Only the first part of the rest: XREAD-like lists of keys and then values.
                begin + (count - begin) / usize::from(limit) - 1
            };
            (begin, last, usize::from(step))
        }
        Find::KeyNum { at, first, step } => {
            let number = args.opt(begin + usize::from(at))?;
            let keys = usize::try_from(parse_i64(number)?).ok()?;
            let first = begin + usize::from(first);
            let last = first.checked_add(keys.checked_sub(1)?.checked_mul(usize::from(step))?)?;
            if last >= count {
                return None;
            }
            (first, last, usize::from(step))
        }
        Find::Unknown => return Some(()),
    };
    for place in (first..=last).step_by(step.max(1)) {
        if place >= count {
            break;
        }
        places.push((place as u32, spec.access));
    }
    Some(())
}

/// Where the word is. `first` is the first argument to look at where options with their values are passed over.
fn find_word(
    args: &Args<'_>,
    word: &str,
    from: i8,
    past: &[(&str, u8)],
    first: usize,
) -> Option<usize> {
    if !past.is_empty() {
        let mut place = first;
        while place < args.len() && !args.is(place, word) {
            let option = past.iter().find(|(option, _)| args.is(place, option));
            place += 1 + option.map_or(0, |(_, taken)| usize::from(*taken));
        }
        (place < args.len()).then_some(place)
    } else if from >= 0 {
        (from as usize..args.len()).find(|&place| args.is(place, word))
    } else {
        let start = args.len().checked_sub(from.unsigned_abs() as usize)?;
        (1..=start).rev().find(|&place| args.is(place, word))
    }
}
