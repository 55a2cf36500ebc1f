//! The ordered index held against a sorted vector.

use super::*;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// The set as a sorted vector, which also owns the first handles.
#[derive(Default)]
struct Model(Vec<Member>);

impl Model {
    fn place(&self, score: f64, bytes: &[u8]) -> usize {
        self.0
            .partition_point(|member| compare(member, score, bytes) == Ordering::Less)
    }

    fn named(&self, bytes: &[u8]) -> Option<usize> {
        self.0.iter().position(|member| member.bytes() == bytes)
    }
}

fn same<'a>(order: impl Iterator<Item = &'a Member>, model: impl Iterator<Item = &'a Member>) {
    let (order, model): (Vec<_>, Vec<_>) = (order.collect(), model.collect());
    assert_eq!(order.len(), model.len());
    assert!(
        order
            .iter()
            .zip(&model)
            .all(|(one, other)| one.is_same(other))
    );
}

fn compare_all(order: &Ordered, model: &Model, random: &mut Random, scores: usize) {
    order.check();
    assert_eq!(order.len(), model.0.len());
    same(order.iter(0..order.len()), model.0.iter());
    same(order.iter(0..usize::MAX).rev(), model.0.iter().rev());
    for _ in 0..10 {
        let start = random.below(order.len() + 1);
        let end = start + random.below(order.len() + 1 - start);
        same(order.iter(start..end), model.0[start..end].iter());
        same(
            order.iter(start..end).rev(),
            model.0[start..end].iter().rev(),
        );
        // From both ends at once.
        let mut both = order.iter(start..end);
        let (mut low, mut high) = (start, end);
        while low < high {
            if random.below(2) == 0 {
                assert!(
                    both.next()
                        .is_some_and(|member| member.is_same(&model.0[low]))
                );
                low += 1;
            } else {
                high -= 1;
                assert!(
                    both.next_back()
                        .is_some_and(|member| member.is_same(&model.0[high]))
                );
            }
        }
        assert!(both.next().is_none() && both.next_back().is_none());

        let (min, max) = (
            random.below(scores + 2) as f64 - 1.0,
            random.below(scores + 2) as f64 - 1.0,
        );
        let bounds = |score| [ScoreBound::Inclusive(score), ScoreBound::Exclusive(score)];
        for low in bounds(min) {
            for high in bounds(max) {
                let inside = |member: &&Member| {
                    let above = match low {
                        ScoreBound::Inclusive(score) => member.score() >= score,
                        ScoreBound::Exclusive(score) => member.score() > score,
                    };
                    above
                        && match high {
                            ScoreBound::Inclusive(score) => member.score() <= score,
                            ScoreBound::Exclusive(score) => member.score() < score,
                        }
                };
                let ranks = order.ranks_by_score(low, high);
                same(order.iter(ranks), model.0.iter().filter(inside));
            }
        }
        if scores == 1 {
            let (min, max) = (
                random.below(100_000).to_string(),
                random.below(100_000).to_string(),
            );
            let (min, max) = (min.as_bytes(), max.as_bytes());
            let lows = [
                LexBound::Lowest,
                LexBound::Inclusive(min),
                LexBound::Exclusive(min),
                LexBound::Highest,
            ];
            let highs = [
                LexBound::Lowest,
                LexBound::Inclusive(max),
                LexBound::Exclusive(max),
                LexBound::Highest,
            ];
            for low in lows {
                for high in highs {
                    let inside = |member: &&Member| {
                        let above = match low {
                            LexBound::Lowest => true,
                            LexBound::Highest => false,
                            LexBound::Inclusive(name) => member.bytes() >= name,
                            LexBound::Exclusive(name) => member.bytes() > name,
                        };
                        above
                            && match high {
                                LexBound::Lowest => false,
                                LexBound::Highest => true,
                                LexBound::Inclusive(name) => member.bytes() <= name,
                                LexBound::Exclusive(name) => member.bytes() < name,
                            }
                    };
                    same(
                        order.iter(order.ranks_by_lex(low, high)),
                        model.0.iter().filter(inside),
                    );
                }
            }
        }
        if !order.is_empty() {
            let rank = random.below(order.len());
            let member = &model.0[rank];
            assert_eq!(order.rank_of(member.score(), member.bytes()), Some(rank));
            assert_eq!(order.rank_after(member.score(), member.bytes()), rank + 1);
            assert_eq!(order.rank_not_before(member.score(), member.bytes()), rank);
            assert!(order.get(rank).is_some_and(|found| found.is_same(member)));
            assert_eq!(order.rank_of(member.score() + 0.5, member.bytes()), None);
        }
    }
    assert!(order.get(order.len()).is_none());
}

/// Random operations with few scores (names decide) and with many; the set swells and shrinks in turns, so that
/// nodes split, join and level at every depth.
#[test]
fn the_order_is_that_of_a_sorted_vector() {
    for scores in [1, 3, 50, 1_000_000] {
        let mut random = Random(scores as u64 + 99);
        let (mut order, mut model) = (Ordered::new(), Model::default());
        for round in 0..40_000 {
            let swelling = (round / 8_000) % 2 == 0;
            let name = random.below(100_000).to_string();
            let score = random.below(scores) as f64;
            match random.below(10) {
                0..=4 if swelling && model.named(name.as_bytes()).is_none() => {
                    let member = Member::new(score, name.as_bytes());
                    order.insert(&member);
                    model.0.insert(model.place(score, name.as_bytes()), member);
                }
                0..=3 if !model.0.is_empty() => {
                    let member = model.0.remove(random.below(model.0.len()));
                    order.remove(&member);
                }
                5..=6 if !model.0.is_empty() => {
                    let member = model.0.remove(random.below(model.0.len()));
                    // Small moves mostly stay in place, large ones mostly do not.
                    let score = if random.below(2) == 0 {
                        member.score() + 0.25
                    } else {
                        score
                    };
                    let score = if scores == 1 { 0.0 } else { score };
                    order.update(&member, score);
                    assert_eq!(member.score(), score);
                    model.0.insert(model.place(score, member.bytes()), member);
                }
                7 if !swelling => {
                    let rank = random.below(model.0.len() + 1);
                    let count = random.below(100);
                    let end = (rank + count).min(model.0.len());
                    let mut taken = model.0.drain(rank..end);
                    order.take_at_rank(rank, count, |member| {
                        assert!(
                            taken
                                .next()
                                .is_some_and(|expected| expected.is_same(&member))
                        );
                    });
                    assert!(taken.next().is_none());
                }
                8 if !swelling => {
                    let popped = order.pop_first();
                    let expected = (!model.0.is_empty()).then(|| model.0.remove(0));
                    assert_eq!(
                        popped.map(|member| member.bytes().to_vec()),
                        expected.map(|member| member.bytes().to_vec())
                    );
                }
                9 if !swelling => {
                    let popped = order.pop_last();
                    assert_eq!(
                        popped.map(|member| member.bytes().to_vec()),
                        model.0.pop().map(|member| member.bytes().to_vec())
                    );
                }
                _ => {}
            }
            if round % 1_000 == 0 {
                compare_all(&order, &model, &mut random, scores);
            }
        }
        compare_all(&order, &model, &mut random, scores);
        while order.drain_some(1 + random.below(500)) {
            model.0.truncate(order.len());
            compare_all(&order, &model, &mut random, scores);
        }
    }
}

#[test]
fn keys_that_arrive_in_order_leave_full_leaves() {
    for falling in [false, true] {
        let mut order = Ordered::new();
        let mut members = Vec::new();
        for at in 0..100_000_i32 {
            let score = if falling { -at } else { at };
            let member = Member::new(f64::from(score), b"x");
            order.insert(&member);
            members.push(member);
        }
        order.check();
        assert!(leaves(&order.root) <= 100_000 / LEAF_MAX + 2);
    }
}

fn leaves(node: &Node) -> usize {
    match node {
        Node::Leaf(_) => 1,
        Node::Inner(inner) => inner.children.iter().map(leaves).sum(),
    }
}

#[test]
fn infinite_scores_and_both_zeros_have_their_places() {
    let scores = [f64::INFINITY, 0.0, f64::NEG_INFINITY, -0.0, 5e-324];
    let members: Vec<Member> = scores
        .iter()
        .zip(["e", "c", "a", "b", "d"])
        .map(|(score, name)| Member::new(*score, name.as_bytes()))
        .collect();
    let mut order = Ordered::new();
    members.iter().for_each(|member| order.insert(member));
    let names: Vec<&[u8]> = order.iter(0..5).map(Member::bytes).collect();
    assert_eq!(names, [b"a", b"b", b"c", b"d", b"e"]);
    assert_eq!(
        order.ranks_by_score(ScoreBound::Inclusive(-0.0), ScoreBound::Inclusive(0.0)),
        1..3
    );
    assert_eq!(
        order.ranks_by_score(
            ScoreBound::Exclusive(f64::NEG_INFINITY),
            ScoreBound::Exclusive(f64::INFINITY)
        ),
        1..4
    );
    assert_eq!(
        order
            .ranks_by_score(ScoreBound::Inclusive(2.0), ScoreBound::Inclusive(1.0))
            .len(),
        0
    );
}

/// With different scores names do not rise, and Redis leaves the answer open; it must only be a valid range.
#[test]
fn a_range_by_name_over_different_scores_is_some_range() {
    let members: Vec<Member> = (0..500)
        .map(|at| Member::new(f64::from(at % 7), at.to_string().as_bytes()))
        .collect();
    let mut order = Ordered::new();
    members.iter().for_each(|member| order.insert(member));
    let ranks = order.ranks_by_lex(LexBound::Inclusive(b"3"), LexBound::Exclusive(b"5"));
    assert!(ranks.start <= ranks.end && ranks.end <= 500);
    assert_eq!(
        order.ranks_by_lex(LexBound::Lowest, LexBound::Highest),
        0..500
    );
}

/// Large enough for inner nodes above inner nodes, which must split, join and level as well.
#[test]
fn a_deep_tree_swells_and_shrinks_in_good_order() {
    let mut random = Random(5);
    let mut order = Ordered::new();
    let mut members = Vec::new();
    for at in 0..150_000_usize {
        let member = Member::new(random.below(40_000) as f64, at.to_string().as_bytes());
        order.insert(&member);
        members.push(member);
    }
    order.check();
    assert!(leaves(&order.root) > 2 * INNER_MAX);
    members.sort_by(|one, other| compare(one, other.score(), other.bytes()));
    let mut step = 0;
    while !members.is_empty() {
        // Alternately many single members and one long run.
        let (runs, length) = if step % 2 == 0 { (1, 5_000) } else { (200, 1) };
        for _ in 0..runs {
            let rank = random.below(members.len().max(1));
            let end = (rank + length).min(members.len());
            if length == 1 && rank < end {
                order.remove(&members.remove(rank));
            } else {
                members.drain(rank..end);
                order.take_at_rank(rank, length, drop);
            }
        }
        order.check();
        same(order.iter(0..order.len()), members.iter());
        step += 1;
    }
    assert!(order.is_empty());
}
