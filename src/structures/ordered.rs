//! The order of a big sorted set: members by score, then by bytes, with ranks in logarithmic time.
//!
//! A counted B+ tree: leaves hold up to 63 (score, handle) pairs, inner nodes hold for each child how many members
//! lie below it. Every range (by score, by name, by rank) becomes a range of ranks first, and reading or deleting
//! works on ranks. A skiplist as in Redis was rejected: it takes about 70 bytes a member against 23 here, and visits
//! twenty scattered nodes where this visits four wide ones.
//!
//! - Leaves repeat the score beside the handle, so a search touches members only among equal scores.
//! - There are no links between leaves: going to the next leaf is a new descent from the root, once in some forty
//!   members. In exchange all of this file is safe code without shared ownership.
//! - A separator is a score and the shortest text that tells left from right among equal scores (none when the
//!   scores differ). It is a bound, not a copy of a member, so removals never need to correct one.
//!
//! Invariants (`check` walks them): members strictly rise; all leaves are equally deep; counts are exact; what lies
//! left of a separator is below it, what lies right of it is not; no node but an empty root is empty.
//!
//! See `member.rs` for the handles and `ordered_walk.rs` for walks that writers may interrupt.

use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};

use super::member::Member;
use super::table::{Element, prefetch};

/// Pairs in a leaf: with its length a leaf then fills an allocator class of 1024 bytes.
const LEAF_MAX: usize = 63;
/// Children of an inner node.
const INNER_MAX: usize = 64;
/// How many members ahead an iterator asks for: their blobs are scattered, and the reader wants each in turn.
const PREFETCH_AHEAD: usize = 8;
/// A node below this size is joined or levelled with a neighbour.
const LEAF_MIN: usize = LEAF_MAX / 3;
const INNER_MIN: usize = INNER_MAX / 3;

/// The members of one sorted set in order. It holds the second handle of each member; the first is the caller's.
#[derive(Debug)]
pub struct Ordered {
    root: Node,
    len: usize,
}

/// One end of a range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScoreBound {
    /// Members with this score belong to the range.
    Inclusive(f64),
    /// Members with this score do not.
    Exclusive(f64),
}

/// One end of a range of names (ZRANGEBYLEX, 2.8.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// `-`: below every name.
    Lowest,
    /// `+`: above every name.
    Highest,
    /// `[name`.
    Inclusive(&'a [u8]),
    /// `(name`.
    Exclusive(&'a [u8]),
}

/// A place between two members of one score.
#[derive(Clone, Copy)]
enum Edge<'a> {
    Lowest,
    Before(&'a [u8]),
    After(&'a [u8]),
    Highest,
}

#[derive(Debug)]
enum Node {
    Leaf(Box<Leaf>),
    Inner(Box<Inner>),
}

#[derive(Debug)]
struct Leaf {
    len: usize,
    scores: [f64; LEAF_MAX],
    members: [Option<Member>; LEAF_MAX],
}

const _: () = assert!(size_of::<Leaf>() <= 1024);

#[derive(Debug)]
struct Inner {
    /// `separators[i]` and `texts[i]` stand between `children[i]` and `children[i + 1]`.
    separators: Vec<f64>,
    texts: Vec<Box<[u8]>>,
    counts: Vec<usize>,
    children: Vec<Node>,
}

/// What stands between two neighbours, kept in their parent.
type Separator = (f64, Box<[u8]>);

/// Where a descent runs: along the left or right rim of the tree a split leaves full nodes behind, because there
/// the keys usually arrive in order.
#[derive(Clone, Copy)]
struct Rim {
    left: bool,
    right: bool,
}

impl Default for Ordered {
    fn default() -> Self {
        Ordered::new()
    }
}

impl Ordered {
    /// An empty order.
    pub fn new() -> Ordered {
        Ordered {
            root: Node::Leaf(Leaf::new()),
            len: 0,
        }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a member at the place its score and bytes give it. It must not be in here yet.
    pub fn insert(&mut self, member: &Member) {
        let rim = Rim {
            left: true,
            right: true,
        };
        if let Some((separator, right)) = self.root.insert(member.share(), rim) {
            let left = std::mem::replace(&mut self.root, Node::Leaf(Leaf::new()));
            self.root = Node::Inner(Inner::over(left, separator, right));
        }
        self.len += 1;
    }

    /// Takes a member out. It must be in here.
    pub fn remove(&mut self, member: &Member) {
        let rank = self.rank_of(member.score(), member.bytes());
        let rank = rank.expect("a member to be removed is in the order");
        self.take_at_rank(rank, 1, |_| {});
    }

    /// Moves a member to the place of a new score and notes the score in the member. It must be in here.
    pub fn update(&mut self, member: &Member, score: f64) {
        assert!(!score.is_nan(), "a score is never NaN");
        if self.root.update_in_place(member, score) {
            member.set_score(score);
            return;
        }
        self.remove(member);
        member.set_score(score);
        self.insert(member);
    }

    /// The rank, from 0 for the lowest, of the member with this score and name.
    pub fn rank_of(&self, score: f64, bytes: &[u8]) -> Option<usize> {
        let rank = self.rank_at(score, Edge::Before(bytes));
        let found = self.get(rank)?;
        (found.score() == score && found.bytes() == bytes).then_some(rank)
    }

    /// The member of a rank.
    pub fn get(&self, rank: usize) -> Option<&Member> {
        if rank >= self.len {
            return None;
        }
        let (leaf, at) = self.leaf_of_rank(rank);
        Some(leaf.member(at))
    }

    /// The lowest member.
    pub fn first(&self) -> Option<&Member> {
        self.get(0)
    }

    /// The highest member.
    pub fn last(&self) -> Option<&Member> {
        self.get(self.len.checked_sub(1)?)
    }

    /// The ranks of the members from `min` to `max`; its length is their number. Empty if the bounds cross.
    pub fn ranks_by_score(&self, min: ScoreBound, max: ScoreBound) -> Range<usize> {
        // Open ends are frequent and need no descent.
        let start = match min {
            ScoreBound::Inclusive(f64::NEG_INFINITY) => 0,
            ScoreBound::Inclusive(score) => self.rank_at(score, Edge::Lowest),
            ScoreBound::Exclusive(score) => self.rank_at(score, Edge::Highest),
        };
        let end = match max {
            ScoreBound::Inclusive(f64::INFINITY) => self.len,
            ScoreBound::Inclusive(score) => self.rank_at(score, Edge::Highest),
            ScoreBound::Exclusive(score) => self.rank_at(score, Edge::Lowest),
        };
        start..end.max(start)
    }

    /// The ranks of the members whose names lie between the bounds. As in Redis this means something only if all
    /// scores are equal; if they are not, some range of ranks comes back.
    pub fn ranks_by_lex(&self, min: LexBound<'_>, max: LexBound<'_>) -> Range<usize> {
        let start = match min {
            LexBound::Lowest => 0,
            LexBound::Highest => self.len,
            LexBound::Inclusive(name) => self.rank_of_name(Edge::Before(name)),
            LexBound::Exclusive(name) => self.rank_of_name(Edge::After(name)),
        };
        let end = match max {
            LexBound::Lowest => 0,
            LexBound::Highest => self.len,
            LexBound::Inclusive(name) => self.rank_of_name(Edge::After(name)),
            LexBound::Exclusive(name) => self.rank_of_name(Edge::Before(name)),
        };
        start..end.max(start)
    }

    /// The members of a range of ranks, in order; `.rev()` gives them from the highest. Ranks past the end are cut.
    pub fn iter(&self, ranks: Range<usize>) -> Iter<'_> {
        let end = ranks.end.min(self.len);
        Iter {
            order: self,
            ranks: ranks.start.min(end)..end,
            front: None,
            back: None,
        }
    }

    /// The first rank whose member comes after (score, bytes), which itself need not be in here.
    pub fn rank_after(&self, score: f64, bytes: &[u8]) -> usize {
        self.rank_at(score, Edge::After(bytes))
    }

    /// The first rank whose member does not come before (score, bytes): the number of members below that key.
    pub fn rank_not_before(&self, score: f64, bytes: &[u8]) -> usize {
        self.rank_at(score, Edge::Before(bytes))
    }

    /// Takes out up to `count` members from `rank` on and hands each over, in order. Deleting a range in bounded
    /// steps means calling this again with the same rank. The time grows with `count`, not with the set.
    pub fn take_at_rank(&mut self, rank: usize, count: usize, mut take: impl FnMut(Member)) {
        let mut left = count.min(self.len.saturating_sub(rank));
        while left > 0 {
            let taken = self.root.take(rank, left, &mut take);
            assert!(taken > 0, "every rank below the length has a member");
            self.len -= taken;
            left -= taken;
            self.shrink_root();
        }
    }

    /// Takes out the lowest member.
    pub fn pop_first(&mut self) -> Option<Member> {
        let mut popped = None;
        self.take_at_rank(0, 1, |member| popped = Some(member));
        popped
    }

    /// Takes out the highest member.
    pub fn pop_last(&mut self) -> Option<Member> {
        let mut popped = None;
        self.take_at_rank(self.len.checked_sub(1)?, 1, |member| popped = Some(member));
        popped
    }

    /// Drops up to `budget` members from the high end and answers whether any are left. Frees a big set in steps.
    pub fn drain_some(&mut self, budget: usize) -> bool {
        let count = budget.min(self.len);
        self.take_at_rank(self.len - count, count, drop);
        !self.is_empty()
    }

    /// Bytes of heap that the order itself holds, members excluded. Looks at every node but not into the leaves.
    pub fn heap_bytes(&self) -> usize {
        self.root.heap_bytes()
    }

    /// Walks everything and fails an assertion where an invariant of this file is broken. For tests.
    pub fn check(&self) {
        let mut depths = Vec::new();
        let count = self.root.check(0, &mut depths);
        assert_eq!(count, self.len);
        assert!(
            depths.windows(2).all(|pair| pair[0] == pair[1]),
            "leaves are equally deep"
        );
        let mut previous: Option<&Member> = None;
        for member in self.iter(0..self.len) {
            if let Some(previous) = previous {
                assert_eq!(
                    compare(previous, member.score(), member.bytes()),
                    Ordering::Less
                );
            }
            previous = Some(member);
        }
    }

    fn shrink_root(&mut self) {
        loop {
            let Node::Inner(inner) = &mut self.root else {
                return;
            };
            self.root = match inner.children.len() {
                0 => Node::Leaf(Leaf::new()),
                1 => inner.children.remove(0),
                _ => return,
            };
        }
    }

    /// Shows the members with scores from `min` to below `below`, in order, until `visit` breaks off. Scores come from
    /// the leaves: the memory of a member is read only by whoever asks it for its name.
    pub fn each_between<'a>(
        &'a self,
        min: f64,
        below: f64,
        mut visit: impl FnMut(f64, &'a Member) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (mut rank, mut leaf, mut at) = self.place_at(min, Edge::Lowest);
        loop {
            for place in at..leaf.len {
                if leaf.scores[place] >= below {
                    return ControlFlow::Continue(());
                }
                visit(leaf.scores[place], leaf.member(place))?;
            }
            rank += leaf.len - at;
            if rank >= self.len {
                return ControlFlow::Continue(());
            }
            (leaf, at) = self.leaf_of_rank(rank);
        }
    }

    /// How many members lie before this place.
    fn rank_at(&self, score: f64, edge: Edge<'_>) -> usize {
        self.place_at(score, edge).0
    }

    /// How many members lie before this place; its leaf, and where it is in there: behind the last one, perhaps.
    fn place_at(&self, score: f64, edge: Edge<'_>) -> (usize, &Leaf, usize) {
        let mut node = &self.root;
        let mut rank = 0;
        loop {
            match node {
                Node::Leaf(leaf) => {
                    let at = leaf.position(score, edge);
                    return (rank + at, leaf, at);
                }
                Node::Inner(inner) => {
                    let at = inner.child_of(score, edge);
                    rank += inner.counts[..at].iter().sum::<usize>();
                    node = &inner.children[at];
                }
            }
        }
    }

    /// How many names lie before this place.
    fn rank_of_name(&self, edge: Edge<'_>) -> usize {
        let (Some(first), Some(last)) = (self.first(), self.last()) else {
            return 0;
        };
        if first.score() == last.score() {
            return self.rank_at(first.score(), edge);
        }
        // Names do not rise along the tree, so separators say nothing: search by rank instead.
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low + (high - low) / 2;
            let member = self.get(middle).expect("the middle lies below the length");
            if edge.is_above(member.bytes()) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn leaf_of_rank(&self, rank: usize) -> (&Leaf, usize) {
        let mut node = &self.root;
        let mut rest = rank;
        loop {
            match node {
                Node::Leaf(leaf) => return (leaf, rest),
                Node::Inner(inner) => {
                    let at = inner.child_of_rank(&mut rest);
                    node = &inner.children[at];
                }
            }
        }
    }
}

impl Edge<'_> {
    /// Whether a name (among members of equal score) lies before this place.
    fn is_above(self, name: &[u8]) -> bool {
        match self {
            Edge::Lowest => false,
            Edge::Before(bytes) => name < bytes,
            Edge::After(bytes) => name <= bytes,
            Edge::Highest => true,
        }
    }
}

/// The order of the whole file.
pub(super) fn compare(member: &Member, score: f64, bytes: &[u8]) -> Ordering {
    let scores = member
        .score()
        .partial_cmp(&score)
        .expect("a score is never NaN");
    scores.then_with(|| member.bytes().cmp(bytes))
}

/// The members of a range of ranks; made by [`Ordered::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    order: &'a Ordered,
    ranks: Range<usize>,
    /// The leaf at hand and the place in it of the next member from the front.
    front: Option<(&'a Leaf, usize)>,
    /// The leaf at hand and the place in it just past the next member from the back.
    back: Option<(&'a Leaf, usize)>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Member;

    fn next(&mut self) -> Option<&'a Member> {
        if self.ranks.is_empty() {
            return None;
        }
        let (leaf, at) = match self.front {
            Some((leaf, at)) if at < leaf.len => (leaf, at),
            _ => {
                let (leaf, at) = self.order.leaf_of_rank(self.ranks.start);
                let asked = PREFETCH_AHEAD.min(self.ranks.len());
                (at + 1..at + asked).for_each(|at| leaf.prefetch(at));
                (leaf, at)
            }
        };
        if self.ranks.len() > PREFETCH_AHEAD {
            leaf.prefetch(at + PREFETCH_AHEAD);
        }
        self.front = Some((leaf, at + 1));
        self.ranks.start += 1;
        Some(leaf.member(at))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.ranks.len(), Some(self.ranks.len()))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.ranks.is_empty() {
            return None;
        }
        let (leaf, past) = match self.back {
            Some((leaf, past)) if past > 0 => (leaf, past),
            _ => {
                let (leaf, at) = self.order.leaf_of_rank(self.ranks.end - 1);
                let asked = PREFETCH_AHEAD.min(self.ranks.len());
                (1..asked).for_each(|back| leaf.prefetch(at.wrapping_sub(back)));
                (leaf, at + 1)
            }
        };
        if self.ranks.len() > PREFETCH_AHEAD {
            leaf.prefetch(past.wrapping_sub(1 + PREFETCH_AHEAD));
        }
        self.back = Some((leaf, past - 1));
        self.ranks.end -= 1;
        Some(leaf.member(past - 1))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl Node {
    fn heap_bytes(&self) -> usize {
        match self {
            Node::Leaf(_) => size_of::<Leaf>(),
            Node::Inner(inner) => {
                size_of::<Inner>()
                    + inner.separators.capacity() * size_of::<f64>()
                    + inner.texts.capacity() * size_of::<Box<[u8]>>()
                    + inner.counts.capacity() * size_of::<usize>()
                    + inner.children.capacity() * size_of::<Node>()
                    + inner.texts.iter().map(|text| text.len()).sum::<usize>()
                    + inner.children.iter().map(Node::heap_bytes).sum::<usize>()
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len,
            Node::Inner(inner) => inner.children.len(),
        }
    }

    fn is_below_minimum(&self) -> bool {
        match self {
            Node::Leaf(leaf) => leaf.len < LEAF_MIN,
            Node::Inner(inner) => inner.children.len() < INNER_MIN,
        }
    }

    /// Members below this node.
    fn count(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len,
            Node::Inner(inner) => inner.counts.iter().sum(),
        }
    }

    /// Adds a member below this node. If that splits the node, the right part comes back.
    fn insert(&mut self, member: Member, rim: Rim) -> Option<(Separator, Node)> {
        match self {
            Node::Leaf(leaf) => leaf.insert(member, rim),
            Node::Inner(inner) => inner.insert(member, rim),
        }
    }

    /// Hands over up to `count` members from `rank` on, all out of one leaf, and says how many.
    fn take(&mut self, rank: usize, count: usize, take: &mut impl FnMut(Member)) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.take(rank, count, take),
            Node::Inner(inner) => {
                let mut rest = rank;
                let at = inner.child_of_rank(&mut rest);
                let taken = inner.children[at].take(rest, count, take);
                inner.counts[at] -= taken;
                inner.mend(at);
                taken
            }
        }
    }

    /// Gives a member its new score where it stands, if its neighbours in the leaf allow that.
    fn update_in_place(&mut self, member: &Member, score: f64) -> bool {
        let (old, bytes) = (member.score(), member.bytes());
        let mut node = self;
        loop {
            match node {
                Node::Inner(inner) => {
                    let at = inner.child_of(old, Edge::Before(bytes));
                    node = &mut inner.children[at];
                }
                Node::Leaf(leaf) => {
                    let at = leaf.position(old, Edge::Before(bytes));
                    assert!(
                        at < leaf.len && leaf.member(at).is_same(member),
                        "a member to be updated is in the order"
                    );
                    // At a rim of the leaf a separator may stand closer than the next member.
                    let fits = at > 0
                        && at + 1 < leaf.len
                        && compare(leaf.member(at - 1), score, bytes) == Ordering::Less
                        && compare(leaf.member(at + 1), score, bytes) == Ordering::Greater;
                    if fits {
                        leaf.scores[at] = score;
                    }
                    return fits;
                }
            }
        }
    }

    fn first(&self) -> &Member {
        match self {
            Node::Leaf(leaf) => leaf.member(0),
            Node::Inner(inner) => inner
                .children
                .first()
                .expect("an inner node has children")
                .first(),
        }
    }

    fn last(&self) -> &Member {
        match self {
            Node::Leaf(leaf) => leaf.member(leaf.len - 1),
            Node::Inner(inner) => inner
                .children
                .last()
                .expect("an inner node has children")
                .last(),
        }
    }

    fn check(&self, depth: usize, depths: &mut Vec<usize>) -> usize {
        match self {
            Node::Leaf(leaf) => {
                assert!(leaf.len > 0 || depth == 0, "only a root may be empty");
                for at in 0..LEAF_MAX {
                    assert_eq!(leaf.members[at].is_some(), at < leaf.len);
                    assert!(at >= leaf.len || leaf.member(at).score() == leaf.scores[at]);
                }
                depths.push(depth);
                leaf.len
            }
            Node::Inner(inner) => {
                let children = inner.children.len();
                assert!((1..=INNER_MAX).contains(&children));
                assert!(depth > 0 || children > 1, "a root has more than one child");
                assert_eq!(inner.counts.len(), children);
                assert_eq!(inner.separators.len(), children - 1);
                assert_eq!(inner.texts.len(), children - 1);
                for (at, child) in inner.children.iter().enumerate() {
                    assert_eq!(child.check(depth + 1, depths), inner.counts[at]);
                }
                for at in 1..children {
                    let (score, text) = (inner.separators[at - 1], &inner.texts[at - 1]);
                    assert_eq!(
                        compare(inner.children[at - 1].last(), score, text),
                        Ordering::Less
                    );
                    assert_ne!(
                        compare(inner.children[at].first(), score, text),
                        Ordering::Less
                    );
                }
                inner.counts.iter().sum()
            }
        }
    }
}

impl Leaf {
    fn new() -> Box<Leaf> {
        Box::new(Leaf {
            len: 0,
            scores: [0.0; LEAF_MAX],
            members: [const { None }; LEAF_MAX],
        })
    }

    fn member(&self, at: usize) -> &Member {
        self.members[at]
            .as_ref()
            .expect("places below the length are taken")
    }

    /// Asks for the memory of the member at `at`, if there is one.
    fn prefetch(&self, at: usize) {
        if let Some(Some(member)) = self.members.get(at) {
            prefetch(member.address());
        }
    }

    /// How many members of the leaf lie before this place.
    fn position(&self, score: f64, edge: Edge<'_>) -> usize {
        let scores = &self.scores[..self.len];
        let low = scores.partition_point(|&other| other < score);
        if matches!(edge, Edge::Lowest) || scores.get(low).is_none_or(|&other| other != score) {
            return low;
        }
        let high = low + scores[low..].partition_point(|&other| other <= score);
        let (mut low, mut high) = (low, high);
        while low < high {
            let middle = (low + high) / 2;
            if edge.is_above(self.member(middle).bytes()) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn insert(&mut self, member: Member, rim: Rim) -> Option<(Separator, Node)> {
        let at = self.position(member.score(), Edge::Before(member.bytes()));
        if self.len < LEAF_MAX {
            self.insert_at(at, member);
            return None;
        }
        let mut right = Leaf::new();
        let cut = split_place(self.len, at, rim);
        self.move_tail(cut, &mut right);
        if at < cut || (at == cut && right.len >= self.len) {
            self.insert_at(at, member);
        } else {
            right.insert_at(at - cut, member);
        }
        let separator = separate(self.member(self.len - 1), right.member(0));
        Some((separator, Node::Leaf(right)))
    }

    fn insert_at(&mut self, at: usize, member: Member) {
        self.scores.copy_within(at..self.len, at + 1);
        self.scores[at] = member.score();
        // The place at the old length is free, so the rotation brings it to `at`.
        self.members[at..=self.len].rotate_right(1);
        let replaced = self.members[at].replace(member);
        debug_assert!(replaced.is_none());
        self.len += 1;
    }

    fn take(&mut self, at: usize, count: usize, take: &mut impl FnMut(Member)) -> usize {
        let count = count.min(self.len - at);
        for place in &mut self.members[at..at + count] {
            take(place.take().expect("places below the length are taken"));
        }
        self.scores.copy_within(at + count..self.len, at);
        self.members[at..self.len].rotate_left(count);
        self.len -= count;
        count
    }

    /// Moves what stands at `cut` and after to the empty front of `right`.
    fn move_tail(&mut self, cut: usize, right: &mut Leaf) {
        let count = self.len - cut;
        right.scores.copy_within(0..right.len, count);
        right.members[..right.len + count].rotate_right(count);
        right.scores[..count].copy_from_slice(&self.scores[cut..self.len]);
        right.members[..count].swap_with_slice(&mut self.members[cut..self.len]);
        right.len += count;
        self.len = cut;
    }

    /// Moves the first `count` pairs of `right` to the end.
    fn move_head(&mut self, right: &mut Leaf, count: usize) {
        self.scores[self.len..self.len + count].copy_from_slice(&right.scores[..count]);
        self.members[self.len..self.len + count].swap_with_slice(&mut right.members[..count]);
        self.len += count;
        right.scores.copy_within(count..right.len, 0);
        right.members[..right.len].rotate_left(count);
        right.len -= count;
    }
}

impl Inner {
    fn empty() -> Box<Inner> {
        Box::new(Inner {
            separators: Vec::with_capacity(INNER_MAX),
            texts: Vec::with_capacity(INNER_MAX),
            counts: Vec::with_capacity(INNER_MAX),
            children: Vec::with_capacity(INNER_MAX),
        })
    }

    fn over(left: Node, (score, text): Separator, right: Node) -> Box<Inner> {
        let mut inner = Inner::empty();
        inner.separators.push(score);
        inner.texts.push(text);
        inner.counts.extend([left.count(), right.count()]);
        inner.children.extend([left, right]);
        inner
    }

    /// The child in which this place lies: as many as there are separators not above it.
    fn child_of(&self, score: f64, edge: Edge<'_>) -> usize {
        let low = self.separators.partition_point(|&other| other < score);
        if matches!(edge, Edge::Lowest)
            || self.separators.get(low).is_none_or(|&other| other != score)
        {
            return low;
        }
        let high = low + self.separators[low..].partition_point(|&other| other <= score);
        match edge {
            Edge::Lowest => low,
            Edge::Before(bytes) | Edge::After(bytes) => {
                low + self.texts[low..high].partition_point(|text| text[..] <= *bytes)
            }
            Edge::Highest => high,
        }
    }

    /// The child in which a rank lies; the rank becomes the one within that child.
    fn child_of_rank(&self, rank: &mut usize) -> usize {
        for (at, count) in self.counts.iter().enumerate() {
            if *rank < *count {
                return at;
            }
            *rank -= count;
        }
        unreachable!("a rank below the length lies in some child")
    }

    fn insert(&mut self, member: Member, rim: Rim) -> Option<(Separator, Node)> {
        let at = self.child_of(member.score(), Edge::Before(member.bytes()));
        let rim = Rim {
            left: rim.left && at == 0,
            right: rim.right && at + 1 == self.children.len(),
        };
        self.counts[at] += 1;
        let ((score, text), node) = self.children[at].insert(member, rim)?;
        let moved = node.count();
        self.counts[at] -= moved;
        if self.children.len() < INNER_MAX {
            self.insert_child(at, score, text, moved, node);
            return None;
        }
        // The new child goes to `at + 1`; at a rim of the tree that decides where to cut.
        let cut = split_place(self.children.len(), at + 1, rim).clamp(1, INNER_MAX - 1);
        let mut right = Inner::empty();
        let separator = self.move_tail(cut, &mut right);
        if at < cut {
            self.insert_child(at, score, text, moved, node);
        } else {
            right.insert_child(at - cut, score, text, moved, node);
        }
        Some((separator, Node::Inner(right)))
    }

    /// Puts a child after the one at `at`, with what separates the two.
    fn insert_child(&mut self, at: usize, score: f64, text: Box<[u8]>, count: usize, node: Node) {
        self.separators.insert(at, score);
        self.texts.insert(at, text);
        self.counts.insert(at + 1, count);
        self.children.insert(at + 1, node);
    }

    /// Moves the children from `cut` on to the empty `right`; what stood between the parts comes back.
    fn move_tail(&mut self, cut: usize, right: &mut Inner) -> Separator {
        right.separators.extend(self.separators.drain(cut..));
        right.texts.extend(self.texts.drain(cut..));
        right.counts.extend(self.counts.drain(cut..));
        right.children.extend(self.children.drain(cut..));
        self.pop_separator()
    }

    fn pop_separator(&mut self) -> Separator {
        let score = self.separators.pop().expect("two parts have a separator");
        let text = self
            .texts
            .pop()
            .expect("separators and texts come in pairs");
        (score, text)
    }

    /// Brings the child at `at`, from which members were taken, back to a good size.
    fn mend(&mut self, at: usize) {
        if self.children[at].len() == 0 {
            self.children.remove(at);
            self.counts.remove(at);
            // Either neighbouring separator will do: there is nothing left between them.
            if !self.separators.is_empty() {
                let between = at.min(self.separators.len() - 1);
                self.separators.remove(between);
                self.texts.remove(between);
            }
            return;
        }
        if self.children.len() < 2 || !self.children[at].is_below_minimum() {
            return;
        }
        let left_at = at.saturating_sub(1);
        let (left, right) = self.children.split_at_mut(left_at + 1);
        let separator = (
            self.separators[left_at],
            std::mem::take(&mut self.texts[left_at]),
        );
        let separator = match (&mut left[left_at], &mut right[0]) {
            (Node::Leaf(left), Node::Leaf(right)) => Leaf::level(left, right),
            (Node::Inner(left), Node::Inner(right)) => Inner::level(left, separator, right),
            _ => unreachable!("neighbours are equally deep"),
        };
        self.counts[left_at] = self.children[left_at].count();
        match separator {
            Some((score, text)) => {
                self.counts[left_at + 1] = self.children[left_at + 1].count();
                self.separators[left_at] = score;
                self.texts[left_at] = text;
            }
            None => {
                self.children.remove(left_at + 1);
                self.counts.remove(left_at + 1);
                self.separators.remove(left_at);
                self.texts.remove(left_at);
            }
        }
    }

    /// Joins two neighbours into the left one (None) or makes them about equal (the new separator).
    fn level(left: &mut Inner, (score, text): Separator, right: &mut Inner) -> Option<Separator> {
        let total = left.children.len() + right.children.len();
        let left_len = left.children.len();
        left.separators.push(score);
        left.texts.push(text);
        left.separators.append(&mut right.separators);
        left.texts.append(&mut right.texts);
        left.counts.append(&mut right.counts);
        left.children.append(&mut right.children);
        if total <= INNER_MAX {
            return None;
        }
        debug_assert!(left_len <= INNER_MAX);
        let separator = left.move_tail(total / 2, right);
        // Joined for a moment, the left node grew past its usual capacity.
        left.separators.shrink_to(INNER_MAX);
        left.texts.shrink_to(INNER_MAX);
        left.counts.shrink_to(INNER_MAX);
        left.children.shrink_to(INNER_MAX);
        Some(separator)
    }
}

impl Leaf {
    /// Joins two neighbours into the left one (None) or makes them about equal (the new separator).
    fn level(left: &mut Leaf, right: &mut Leaf) -> Option<Separator> {
        let total = left.len + right.len;
        if total <= LEAF_MAX {
            let count = right.len;
            left.move_head(right, count);
            return None;
        }
        let half = total / 2;
        if left.len > half {
            left.move_tail(half, right);
        } else {
            let count = half - left.len;
            left.move_head(right, count);
        }
        Some(separate(left.member(left.len - 1), right.member(0)))
    }
}

/// Where to cut a full node that is to take one more at `at`: in the middle, except that a node at the rim of the
/// tree which grows outwards stays full.
fn split_place(len: usize, at: usize, rim: Rim) -> usize {
    if rim.right && at == len {
        len
    } else if rim.left && at == 0 {
        0
    } else {
        len / 2
    }
}

/// The shortest key that is above `left` and not above `right`.
fn separate(left: &Member, right: &Member) -> Separator {
    if left.score() < right.score() {
        return (right.score(), Box::default());
    }
    let (left, bytes) = (left.bytes(), right.bytes());
    let common = left
        .iter()
        .zip(bytes)
        .take_while(|(one, other)| one == other)
        .count();
    (right.score(), bytes[..common + 1].into())
}

#[cfg(test)]
#[path = "ordered_tests.rs"]
mod tests;
