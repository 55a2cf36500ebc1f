//! Where the stream stood at moments of the past, for WAIT: which offset has all that was handed on before a stamp.
//!
//! A client that has written, and whose answers have left, asks for replicas that have its writes, and not what others have
//! written since. Its core knows a stamp (`mesh/flow.rs`) that is higher than those of all it had written then. The older a
//! moment the fewer are remembered: what is answered is then a later one, with which nothing is promised that is not so.

use std::collections::VecDeque;

/// Moments remembered at most.
const MOMENTS_MAX: usize = 4096;
/// When there are more, of two that lie closer together than this share of their age one is forgotten.
const SHARE: u64 = 64;

/// See the head of the file.
#[derive(Debug, Default)]
pub struct Milestones {
    /// Each a stamp and an offset behind everything with lower stamps; both grow.
    moments: VecDeque<(u64, u64)>,
}

impl Milestones {
    /// All that was handed on with stamps below `stamp` stands before `offset`, the end of the stream as it is.
    pub fn note(&mut self, stamp: u64, offset: u64) {
        match self.moments.back_mut() {
            Some(last) if last.1 == offset => last.0 = last.0.max(stamp),
            Some(last) if last.0 >= stamp => {} // what came since has higher stamps
            _ => self.moments.push_back((stamp, offset)),
        }
        if self.moments.len() > MOMENTS_MAX {
            self.thin_out();
        }
    }

    /// Forgets so many that less than half is left: some 64 for each time that the age of the oldest is e times as much.
    fn thin_out(&mut self) {
        let Some(&newest) = self.moments.back() else {
            return;
        };
        let mut kept = VecDeque::with_capacity(MOMENTS_MAX + 1);
        let mut last = newest;
        kept.push_front(newest);
        for &moment in self.moments.iter().rev().skip(1) {
            if last.0 - moment.0 > (newest.0 - moment.0) / SHARE {
                kept.push_front(moment);
                last = moment;
            }
        }
        self.moments = kept;
    }

    /// An offset behind all that has stamps below this; nothing when that is not known.
    pub fn behind(&self, stamp: u64) -> Option<u64> {
        let at = self.moments.partition_point(|(known, _)| *known < stamp);
        self.moments.get(at).map(|(_, offset)| *offset)
    }

    /// The stream has ended, or begins anew.
    pub fn clear(&mut self) {
        self.moments.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_is_behind_what_was_asked_for_and_not_much_later() {
        let mut milestones = Milestones::default();
        assert_eq!(milestones.behind(0), None);
        milestones.note(3, 100);
        milestones.note(5, 100); // nothing came of these
        milestones.note(9, 160);
        milestones.note(9, 200); // it goes on with what waited: nothing is known of that
        assert_eq!(
            [0, 3, 5, 6, 9, 10].map(|stamp| milestones.behind(stamp)),
            [Some(100), Some(100), Some(100), Some(160), Some(160), None]
        );
        milestones.clear();
        assert_eq!(milestones.behind(1), None);
    }

    #[test]
    fn old_moments_are_forgotten_one_by_one_and_the_last_one_is_known() {
        let mut milestones = Milestones::default();
        for n in 1..=100_000 {
            milestones.note(n, 10 * n);
            assert_eq!(milestones.behind(n), Some(10 * n));
            assert!(milestones.moments.len() <= MOMENTS_MAX);
        }
        for stamp in [1, 777, 50_000, 99_000, 99_990, 99_999] {
            let offset = milestones.behind(stamp).expect("there are later ones");
            let late = offset - 10 * stamp;
            assert!(late <= 10 * (100_000 - stamp) / 16, "{stamp}: {offset}");
        }
    }
}
