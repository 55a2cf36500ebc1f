//! May a replica go on where it stopped? PSYNC's decision.

use super::{History, Replid};

/// Why a replica needs a full copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It asks for one.
    Asked,
    /// It follows another history.
    OtherHistory,
    /// It follows the one before and has seen more of it than is common: up to where that is.
    BeyondCommon(u64),
    /// What it lacks is no longer held, or has never been there.
    NotHeld,
}

/// Whether somebody who asks for byte `from` on of the history called `id` can go on. `held` is the number of the first
/// byte of the backlog and that of the next byte to come.
///
/// # Errors
/// Why it cannot.
pub fn may_continue(
    history: &History,
    held: Option<(u64, u64)>,
    id: &[u8],
    from: i64,
) -> Result<u64, Refusal> {
    let named = match Replid::parse(id) {
        Some(named) => named,
        None if id.first() == Some(&b'?') => return Err(Refusal::Asked),
        None => return Err(Refusal::OtherHistory),
    };
    if named != history.id {
        match history.previous {
            Some((previous, until)) if previous == named => {
                if from > until as i64 {
                    return Err(Refusal::BeyondCommon(until));
                }
            }
            _ => return Err(Refusal::OtherHistory),
        }
    }
    match (held, u64::try_from(from)) {
        (Some((first, next)), Ok(from)) if (first..=next).contains(&from) => Ok(from),
        _ => Err(Refusal::NotHeld),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(digit: u8) -> Replid {
        Replid::parse(&[digit; 40]).unwrap()
    }

    fn history() -> History {
        History {
            id: named(b'a'),
            offset: 200,
            previous: Some((named(b'b'), 151)),
        }
    }

    #[test]
    fn what_the_backlog_holds_can_be_had_up_to_the_byte_to_come() {
        let ask = |id: &[u8], from| may_continue(&history(), Some((101, 201)), id, from);
        for from in [101, 102, 200, 201] {
            assert_eq!(ask(&[b'a'; 40], from), Ok(from as u64));
            assert_eq!(ask(&[b'A'; 40], from), Ok(from as u64), "in either case");
        }
        for from in [i64::MIN, -1, 0, 1, 100, 202, i64::MAX] {
            assert_eq!(ask(&[b'a'; 40], from), Err(Refusal::NotHeld), "{from}");
        }
        let without = may_continue(&history(), None, &[b'a'; 40], 201);
        assert_eq!(without, Err(Refusal::NotHeld));
    }

    #[test]
    fn the_history_before_counts_up_to_where_both_agree() {
        let ask = |from| may_continue(&history(), Some((101, 201)), &[b'B'; 40], from);
        assert_eq!(ask(150), Ok(150));
        assert_eq!(ask(151), Ok(151));
        assert_eq!(ask(152), Err(Refusal::BeyondCommon(151)));
        assert_eq!(ask(100), Err(Refusal::NotHeld));
    }

    #[test]
    fn strangers_and_those_who_ask_for_it_get_a_full_copy() {
        let ask = |id: &[u8]| may_continue(&history(), Some((101, 201)), id, 150);
        assert_eq!(ask(b"?"), Err(Refusal::Asked));
        assert_eq!(ask(b"?anything"), Err(Refusal::Asked));
        assert_eq!(ask(&[b'c'; 40]), Err(Refusal::OtherHistory));
        for odd in [&b""[..], b"x", &[b'a'; 41], &[b'z'; 40]] {
            assert_eq!(ask(odd), Err(Refusal::OtherHistory));
        }
    }
}
