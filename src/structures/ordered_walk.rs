//! A walk over an ordered set that other commands may interrupt, and that still yields the set as it was when the
//! walk began.
//!
//! Snapshots take a big set in steps and writes come in between. The walk remembers the last pair it yielded, not a
//! place in memory, so nothing pins the tree. A writer reports each change before making it
//! ([`OrderedWalk::before_write`]); if that change would hide a pair of the old state, the writer hands that pair
//! out at once. What a writer puts ahead of the walk is remembered by name and passed over later: that costs memory
//! for the writes during one walk, never for the set.
//!
//! Invariant: a name is in `newer` if and only if its member stands ahead of the walk and is not (or no longer with
//! this score) part of the old state. So each pair of the old state is yielded exactly once.

use std::cmp::Ordering as Comparison;
use std::collections::BTreeSet;

use super::member::Member;
use super::ordered::Ordered;

/// Which way a walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the lowest pair up.
    Rising,
    /// From the highest pair down: the order of the snapshot format, which a loader inserts fastest.
    Falling,
}

/// How far a walk has come, and what it has to pass over.
#[derive(Debug)]
pub struct OrderedWalk {
    direction: Direction,
    place: Place,
    newer: BTreeSet<Box<[u8]>>,
}

#[derive(Debug)]
enum Place {
    Start,
    After(f64, Box<[u8]>),
    End,
}

impl OrderedWalk {
    /// Begins a walk: the state of the set at this moment is what it will yield.
    pub fn new(direction: Direction) -> OrderedWalk {
        OrderedWalk {
            direction,
            place: Place::Start,
            newer: BTreeSet::new(),
        }
    }

    /// Whether all has been yielded.
    pub fn is_done(&self) -> bool {
        matches!(self.place, Place::End)
    }

    /// Goes on for up to `budget` members and yields those of the old state; true once the walk has ended.
    pub fn step(
        &mut self,
        order: &Ordered,
        budget: usize,
        mut yields: impl FnMut(&Member),
    ) -> bool {
        assert!(budget > 0, "a step without budget never ends");
        let ranks = match (&self.place, self.direction) {
            (Place::Start, _) => 0..order.len(),
            (Place::After(score, bytes), Direction::Rising) => {
                order.rank_after(*score, bytes)..order.len()
            }
            (Place::After(score, bytes), Direction::Falling) => {
                0..order.rank_not_before(*score, bytes)
            }
            (Place::End, _) => return true,
        };
        let left = ranks.len();
        let mut members = order.iter(ranks);
        let mut last = None;
        for _ in 0..budget.min(left) {
            let member = match self.direction {
                Direction::Rising => members.next(),
                Direction::Falling => members.next_back(),
            };
            let member = member.expect("the range of ranks has that many members");
            last = Some(member);
            if !self.newer.remove(member.bytes()) {
                yields(member);
            }
        }
        if left <= budget {
            self.place = Place::End;
            self.newer.clear();
        } else if let Some(member) = last {
            self.place = Place::After(member.score(), member.bytes().into());
        }
        self.is_done()
    }

    /// Whether the walk has passed the place of this pair (whether or not the pair is there).
    pub fn has_walked(&self, score: f64, bytes: &[u8]) -> bool {
        match &self.place {
            Place::Start => false,
            Place::End => true,
            Place::After(last_score, last_bytes) => {
                let scores = score.partial_cmp(last_score).expect("a score is never NaN");
                let comparison = scores.then_with(|| bytes.cmp(last_bytes));
                match self.direction {
                    Direction::Rising => comparison != Comparison::Greater,
                    Direction::Falling => comparison != Comparison::Less,
                }
            }
        }
    }

    /// To be called before a member's score changes from `old` to `new`, None meaning that it is not in the set.
    /// If true comes back, the old pair is part of the walk's state and now or never yielded: the caller hands it to
    /// whoever consumes the walk, and then makes the change.
    #[must_use]
    pub fn before_write(&mut self, bytes: &[u8], old: Option<f64>, new: Option<f64>) -> bool {
        let old_is_ahead = old.is_some_and(|score| !self.has_walked(score, bytes));
        let was_newer = old_is_ahead && self.newer.remove(bytes);
        if new.is_some_and(|score| !self.has_walked(score, bytes)) {
            self.newer.insert(bytes.into());
        }
        old_is_ahead && !was_newer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Random writes between the steps of a walk: what the walk and the writers yield together is the old state.
    #[test]
    fn a_walk_with_writes_between_yields_each_pair_of_the_old_state_once() {
        let mut state = 7_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for round in 0..300_u64 {
            let direction = if round % 2 == 0 {
                Direction::Rising
            } else {
                Direction::Falling
            };
            let mut order = Ordered::new();
            let mut members: BTreeMap<Vec<u8>, Member> = BTreeMap::new();
            for _ in 0..random(600) {
                let name = format!("m{}", random(800)).into_bytes();
                members.entry(name.clone()).or_insert_with(|| {
                    let member = Member::new(random(20) as f64, &name);
                    order.insert(&member);
                    member
                });
            }
            let expected: BTreeMap<Vec<u8>, f64> = members
                .iter()
                .map(|(name, member)| (name.clone(), member.score()))
                .collect();
            let mut seen: BTreeMap<Vec<u8>, f64> = BTreeMap::new();
            let mut walk = OrderedWalk::new(direction);
            loop {
                for _ in 0..random(20) {
                    let name = format!("m{}", random(800)).into_bytes();
                    let old = members.get(&name).map(Member::score);
                    let new = (random(4) > 0).then(|| random(20) as f64);
                    if walk.before_write(&name, old, new) {
                        let score = old.expect("only what is there is handed out");
                        assert_eq!(seen.insert(name.clone(), score), None);
                    }
                    match (old, new) {
                        (Some(_), Some(score)) => order.update(&members[&name], score),
                        (Some(_), None) => {
                            let member = members.remove(&name).expect("it is there");
                            order.remove(&member);
                        }
                        (None, Some(score)) => {
                            let member = Member::new(score, &name);
                            order.insert(&member);
                            members.insert(name, member);
                        }
                        (None, None) => {}
                    }
                }
                let budget = 1 + random(30) as usize;
                let done = walk.step(&order, budget, |member| {
                    assert_eq!(seen.insert(member.bytes().to_vec(), member.score()), None);
                });
                if done {
                    break;
                }
            }
            order.check();
            assert!(walk.has_walked(1e300, b"anything"));
            assert_eq!(seen, expected);
        }
    }
}
