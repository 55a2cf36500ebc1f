//! A sorted set in either of its forms, behind one set of operations.
//!
//! - *Packed*, reported as `listpack`: member, score, member, score in order, byte for byte what Redis stores, because
//!   DUMP and snapshots carry those bytes. Everything is a walk over at most a few hundred entries.
//! - *Tree*, reported as `skiplist`: a table from name to member beside the order of the members (`ordered.rs`). Both
//!   hold a handle of each member; the member itself is one allocation.
//!
//! Every range is first turned into ranks (`ranks_by_score`, `ranks_by_lex`), then read with `iter` or deleted with
//! `take_ranks`; offset and limit are arithmetic on the ranks. A set turns from packed to tree when it outgrows the
//! limits that come in with each write, and only the caller's explicit wish turns it back.
//!
//! Invariants: packed scores are numbers and pairs strictly rise; table and order hold the same members.

use std::ops::{ControlFlow, Range};

use super::listpack::{Item, Listpack, Needle, Pos, TextBuffer};
use super::member::Member;
use super::ordered::{self, LexBound, Ordered, ScoreBound};
use super::ordered_walk::{Direction, OrderedWalk};
use super::table::{Element, Table, prefetch};

use crate::base::hash::hash;
use crate::base::number::{f64_as_i64, format_f64, parse_f64};

/// A sorted set.
#[derive(Debug)]
pub struct Zset {
    form: Form,
}

#[derive(Debug)]
enum Form {
    Packed(Listpack),
    Tree(Box<Tree>),
}

struct Tree {
    table: Table<Member>,
    order: Ordered,
    /// A walk against a cut; in a box of its own, since most sets never have one.
    walk: Option<Box<Walk>>,
}

/// A walk with what writes have made it keep.
struct Walk {
    order: OrderedWalk,
    /// Pairs of the cut that are there no more, or with another score.
    kept: Vec<(Box<[u8]>, f64)>,
    kept_bytes: usize,
    /// Pairs of the cut still to be given.
    left: usize,
}

/// What a kept pair costs beside its name.
const KEPT_BYTES: usize = 40;

impl Walk {
    /// To be called before a score changes; see [`OrderedWalk::before_write`].
    #[cold]
    fn before_write(&mut self, name: &[u8], old: Option<f64>, new: Option<f64>) {
        if let Some(score) = old
            && self.order.before_write(name, old, new)
        {
            self.kept.push((name.into(), score));
            self.kept_bytes += KEPT_BYTES + name.len();
        } else if old.is_none() {
            let owed = self.order.before_write(name, None, new);
            debug_assert!(!owed, "what was not there is owed to nobody");
        }
    }
}

/// How large a packed set may be: `zset-max-listpack-entries` and `zset-max-listpack-value`.
#[derive(Clone, Copy, Debug)]
pub struct PackLimits {
    /// Most members.
    pub entries_max: usize,
    /// Longest member, in bytes.
    pub value_bytes_max: usize,
}

impl PackLimits {
    fn admit(self, entries: usize, value_bytes: usize) -> bool {
        entries <= self.entries_max && value_bytes <= self.value_bytes_max
    }
}

/// The options of ZADD. Contradictory ones are refused before they come here.
#[derive(Clone, Copy, Debug, Default)]
pub struct AddOptions {
    /// NX: only add.
    pub only_new: bool,
    /// XX: only update.
    pub only_existing: bool,
    /// GT: update only to a higher score.
    pub only_greater: bool,
    /// LT: update only to a lower score.
    pub only_less: bool,
    /// INCR: the score is added to the present one.
    pub increment: bool,
}

/// What an addition did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Added {
    /// A new member with this score.
    New(f64),
    /// A member's score changed.
    Updated {
        /// The score before.
        old: f64,
        /// The score now.
        new: f64,
    },
    /// The member had this score already.
    Same(f64),
    /// The options forbade it. (ZADD INCR replies nil.)
    Refused,
    /// The sum of an increment would not be a number; nothing changed.
    NotANumber,
}

/// A member's name, and its score.
pub type Pair<'a> = (Item<'a>, f64);

/// A member that has been found. Its name lies elsewhere in memory, perhaps, and is fetched when it is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// In a packed set.
    Packed(Item<'a>),
    /// In a tree.
    Tree(&'a Member),
}

impl<'a> Found<'a> {
    /// The member's name.
    #[inline]
    pub fn name(self) -> Item<'a> {
        match self {
            Found::Packed(name) => name,
            Found::Tree(member) => Item::Bytes(member.bytes()),
        }
    }

    /// Asks for the memory in which the name lies.
    #[inline]
    pub fn prefetch(self) {
        if let Found::Tree(member) = self {
            prefetch(member.address());
        }
    }
}

impl Default for Zset {
    fn default() -> Self {
        Zset::new()
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.order.iter(0..self.order.len()))
            .finish()
    }
}

impl Zset {
    /// An empty packed set.
    pub fn new() -> Zset {
        Zset {
            form: Form::Packed(Listpack::new()),
        }
    }

    /// An empty set in the form that suits this many members of at most this length. A command that knows what it
    /// is about to add chooses so, as Redis 7.2 does, instead of converting half-way.
    pub fn for_contents(entries: usize, value_bytes: usize, limits: PackLimits) -> Zset {
        let mut set = Zset::new();
        if !limits.admit(entries, value_bytes) {
            set.unpack();
        }
        set
    }

    /// A packed set of a listpack from outside; None if it is not pairs in rising order with numbers for scores.
    pub fn from_listpack(pack: Listpack) -> Option<Zset> {
        let mut entries = pack.iter();
        let mut previous: Option<(Vec<u8>, f64)> = None;
        while let Some(name) = entries.next() {
            let pair = (name.to_vec(), score_checked(entries.next()?)?);
            let rises = previous
                .is_none_or(|(name, score)| score < pair.1 || (score == pair.1 && name < pair.0));
            if !rises {
                return None;
            }
            previous = Some(pair);
        }
        Some(Zset {
            form: Form::Packed(pack),
        })
    }

    /// The set of these pairs, which strictly rise by score and name, in the form that suits it: results of
    /// ZRANGESTORE, ZUNIONSTORE and their like.
    pub fn of_rising<'a>(
        pairs: impl Iterator<Item = Pair<'a>> + Clone,
        limits: PackLimits,
    ) -> Zset {
        let (mut entries, mut longest, mut bytes) = (0, 0, 0);
        for (name, _) in pairs.clone() {
            let len = name.text_len();
            entries += 1;
            longest = longest.max(len);
            bytes += len;
        }
        let mut set = Zset::for_contents(entries, longest, limits);
        if let Form::Packed(pack) = &mut set.form
            && pack.has_room(bytes)
        {
            for (name, score) in pairs {
                match name {
                    // A tree's names are bytes even where they spell integers.
                    Item::Bytes(name) => pack.push_back(name),
                    Item::Int(_) => pack.push_item(name),
                }
                pack_score(pack, None, score);
            }
            return set;
        }
        let tree = set.unpack();
        for (name, score) in pairs {
            tree.insert(name.text(&mut itoa::Buffer::new()), score);
        }
        set
    }

    /// A second, independent set in the same form.
    pub fn copy(&self) -> Zset {
        match &self.form {
            Form::Packed(pack) => Zset {
                form: Form::Packed(pack.clone()),
            },
            Form::Tree(_) => {
                let limits = PackLimits {
                    entries_max: 0,
                    value_bytes_max: 0,
                };
                let mut copy = Zset::for_contents(self.len(), 0, limits);
                for (name, score) in self.iter(0..self.len()) {
                    let mut digits = TextBuffer::new();
                    copy.add(name.text(&mut digits), score, AddOptions::default(), limits);
                }
                copy
            }
        }
    }

    /// The form, as OBJECT ENCODING names it.
    pub fn encoding_name(&self) -> &'static str {
        match self.form {
            Form::Packed(_) => "listpack",
            Form::Tree(_) => "skiplist",
        }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        match &self.form {
            Form::Packed(pack) => pack.len() / 2,
            Form::Tree(tree) => tree.order.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The listpack of a packed set.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match &self.form {
            Form::Packed(pack) => Some(pack),
            Form::Tree(_) => None,
        }
    }

    /// The order of a set that is not packed: what [`OrderedWalk`](super::ordered_walk::OrderedWalk) walks.
    pub fn as_order(&self) -> Option<&Ordered> {
        match &self.form {
            Form::Packed(_) => None,
            Form::Tree(tree) => Some(&tree.order),
        }
    }

    /// Adds a member or changes its score (ZADD, ZINCRBY). The score must not be NaN.
    pub fn add(
        &mut self,
        name: &[u8],
        score: f64,
        options: AddOptions,
        limits: PackLimits,
    ) -> Added {
        assert!(!score.is_nan(), "a score is never NaN");
        match &mut self.form {
            Form::Packed(pack) => {
                let needle = Needle::new(name);
                let Some(pos) = pack.find(&needle, pack.first(), 1) else {
                    if options.only_existing {
                        return Added::Refused;
                    }
                    let room =
                        limits.admit(pack.len() / 2 + 1, name.len()) && pack.has_room(name.len());
                    if room {
                        pack_insert(pack, name, score);
                    } else {
                        self.unpack().insert(name, score);
                    }
                    return Added::New(score);
                };
                let added = options.judge(score_of(pack.at(pack.after(pos))), score);
                if let Added::Updated { new, .. } = added {
                    pack.remove_at(pos, 2);
                    pack_insert(pack, name, new);
                }
                added
            }
            Form::Tree(tree) => {
                let Some(member) = tree.table.find(hash(name), name) else {
                    if options.only_existing {
                        return Added::Refused;
                    }
                    tree.insert(name, score);
                    return Added::New(score);
                };
                let added = options.judge(member.score(), score);
                if let Added::Updated { old, new } = added {
                    if let Some(walk) = &mut tree.walk {
                        walk.before_write(name, Some(old), Some(new));
                    }
                    tree.order.update(member, new);
                }
                added
            }
        }
    }

    /// The score of a member (ZSCORE).
    pub fn score(&self, name: &[u8]) -> Option<f64> {
        match &self.form {
            Form::Packed(pack) => {
                let pos = pack.find(&Needle::new(name), pack.first(), 1)?;
                Some(score_of(pack.at(pack.after(pos))))
            }
            Form::Tree(tree) => Some(tree.table.find(hash(name), name)?.score()),
        }
    }

    /// The rank from the lowest, and the score, of a member (ZRANK).
    pub fn rank(&self, name: &[u8]) -> Option<(usize, f64)> {
        match &self.form {
            Form::Packed(_) => {
                let mut pairs = self.iter(0..usize::MAX).enumerate();
                pairs.find_map(|(rank, (other, score))| other.is(name).then_some((rank, score)))
            }
            Form::Tree(tree) => {
                let score = tree.table.find(hash(name), name)?.score();
                let rank = tree.order.rank_of(score, name);
                Some((rank.expect("table and order hold the same members"), score))
            }
        }
    }

    /// Removes a member and answers the score it had (ZREM).
    pub fn remove(&mut self, name: &[u8]) -> Option<f64> {
        match &mut self.form {
            Form::Packed(pack) => {
                let pos = pack.find(&Needle::new(name), pack.first(), 1)?;
                let score = score_of(pack.at(pack.after(pos)));
                pack.remove_at(pos, 2);
                Some(score)
            }
            Form::Tree(tree) => {
                let member = tree.table.remove(hash(name), name)?;
                if let Some(walk) = &mut tree.walk {
                    walk.before_write(name, Some(member.score()), None);
                }
                tree.order.remove(&member);
                Some(member.score())
            }
        }
    }

    /// The member of a rank from the lowest. Uniform draws (ZRANDMEMBER) are draws of ranks.
    pub fn get(&self, rank: usize) -> Option<Pair<'_>> {
        match &self.form {
            Form::Packed(_) => self.iter(rank..rank.saturating_add(1)).next(),
            Form::Tree(tree) => tree.order.get(rank).map(pair_of),
        }
    }

    /// The members of a range of ranks, in order; `.rev()` gives them from the highest. Ranks past the end are cut.
    pub fn iter(&self, ranks: Range<usize>) -> Iter<'_> {
        match &self.form {
            Form::Packed(pack) => {
                let len = pack.len() / 2;
                let end = ranks.end.min(len);
                let start = ranks.start.min(end);
                let seek = |rank: usize| pack.seek(2 * rank as i64).unwrap_or_else(|| pack.end());
                Iter(IterForm::Packed {
                    pack,
                    front: seek(start),
                    back: seek(end),
                })
            }
            Form::Tree(tree) => Iter(IterForm::Tree(tree.order.iter(ranks))),
        }
    }

    /// The ranks of the members from `min` to `max`; the length is their number (ZCOUNT).
    pub fn ranks_by_score(&self, min: ScoreBound, max: ScoreBound) -> Range<usize> {
        if let Form::Tree(tree) = &self.form {
            return tree.order.ranks_by_score(min, max);
        }
        let below_min = |(_, score): &Pair<'_>| match min {
            ScoreBound::Inclusive(min) => *score < min,
            ScoreBound::Exclusive(min) => *score <= min,
        };
        let within_max = |(_, score): &Pair<'_>| match max {
            ScoreBound::Inclusive(max) => *score <= max,
            ScoreBound::Exclusive(max) => *score < max,
        };
        self.ranks_packed(below_min, within_max)
    }

    /// Shows the members with scores from `min` to below `below`, in order, until `visit` breaks off: quicker than their
    /// ranks when most of them are passed over for their score.
    pub fn each_between<'a>(
        &'a self,
        min: f64,
        below: f64,
        mut visit: impl FnMut(f64, Found<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match &self.form {
            Form::Packed(_) => self
                .iter(0..self.len())
                .skip_while(|(_, score)| *score < min)
                .take_while(|(_, score)| *score < below)
                .try_for_each(|(name, score)| visit(score, Found::Packed(name))),
            Form::Tree(tree) => tree.order.each_between(min, below, |score, member| {
                visit(score, Found::Tree(member))
            }),
        }
    }

    /// The ranks of the members whose names lie between the bounds (ZLEXCOUNT); meant for sets of equal scores.
    pub fn ranks_by_lex(&self, min: LexBound<'_>, max: LexBound<'_>) -> Range<usize> {
        if let Form::Tree(tree) = &self.form {
            return tree.order.ranks_by_lex(min, max);
        }
        let below_min = |(name, _): &Pair<'_>| match min {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Inclusive(min) => name.text(&mut itoa::Buffer::new()) < min,
            LexBound::Exclusive(min) => name.text(&mut itoa::Buffer::new()) <= min,
        };
        let within_max = |(name, _): &Pair<'_>| match max {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Inclusive(max) => name.text(&mut itoa::Buffer::new()) <= max,
            LexBound::Exclusive(max) => name.text(&mut itoa::Buffer::new()) < max,
        };
        self.ranks_packed(below_min, within_max)
    }

    /// Removes up to `count` members from `rank` on and shows each before it goes, in order: ZPOPMIN with rank 0,
    /// ZPOPMAX with the last one, ZREMRANGEBY* with the start of their ranks, as often as a bounded step asks for it.
    pub fn take_ranks(&mut self, rank: usize, count: usize, mut show: impl FnMut(Item<'_>, f64)) {
        if let Form::Packed(_) = self.form {
            self.iter(rank..rank.saturating_add(count))
                .for_each(|(name, score)| show(name, score));
        }
        match &mut self.form {
            Form::Packed(pack) => {
                let len = pack.len() / 2;
                if rank < len && count > 0 {
                    pack.remove_range(2 * rank as i64, 2 * count.min(len - rank));
                }
            }
            Form::Tree(tree) => {
                let Tree { table, order, walk } = &mut **tree;
                order.take_at_rank(rank, count, |member| {
                    let name = member.bytes();
                    show(Item::Bytes(name), member.score());
                    if let Some(walk) = walk {
                        walk.before_write(name, Some(member.score()), None);
                    }
                    let removed = table.remove(hash(name), name);
                    assert!(removed.is_some(), "table and order hold the same members");
                });
            }
        }
    }

    /// One step of ZSCAN: shows the members at the cursor and answers the next one, 0 at the end. A packed set is
    /// one step.
    pub fn scan(&self, cursor: u64, mut show: impl FnMut(Item<'_>, f64)) -> u64 {
        match &self.form {
            Form::Packed(_) => {
                self.iter(0..usize::MAX)
                    .for_each(|(name, score)| show(name, score));
                0
            }
            Form::Tree(tree) => tree.table.scan(cursor, |member| {
                show(Item::Bytes(member.bytes()), member.score());
            }),
        }
    }

    /// Turns a packed set into a tree if a command brings so many members that they alone would be too much for a
    /// packed one. Whether they are new is not asked, nor how many are there, nor how long they are (ZADD, 7.2).
    pub fn expect_more(&mut self, entries: usize, limits: PackLimits) {
        if let Form::Packed(_) = &self.form
            && entries > limits.entries_max
        {
            self.unpack();
        }
    }

    /// Turns a tree that fits the limits into a packed set: results of ZUNIONSTORE and the like, and sets just
    /// loaded, take the small form if they can.
    pub fn pack_if_small(&mut self, limits: PackLimits) {
        let Form::Tree(tree) = &self.form else { return };
        let order = &tree.order;
        if order.len() > limits.entries_max {
            return;
        }
        let names = || {
            order
                .iter(0..order.len())
                .map(|member| member.bytes().len())
        };
        let longest = names().max().unwrap_or(0);
        let mut pack = Listpack::new();
        if longest > limits.value_bytes_max || !pack.has_room(names().sum()) {
            return;
        }
        for member in order.iter(0..order.len()) {
            pack.push_back(member.bytes());
            pack_score(&mut pack, None, member.score());
        }
        self.form = Form::Packed(pack);
    }

    /// Bytes of heap (MEMORY USAGE). For a tree `samples` members, evenly spaced, stand for all; 0 looks at all of them.
    pub fn allocated(&self, samples: usize) -> usize {
        let tree = match &self.form {
            Form::Packed(pack) => return pack.allocated(),
            Form::Tree(tree) => tree,
        };
        let len = tree.order.len();
        let looked_at = if samples == 0 { len } else { samples.min(len) };
        let members: usize = if looked_at == len {
            tree.order.iter(0..len).map(Member::memory_bytes).sum()
        } else {
            (0..looked_at)
                .filter_map(|step| {
                    tree.order
                        .get((step as u128 * len as u128 / looked_at as u128) as usize)
                })
                .map(Member::memory_bytes)
                .sum()
        };
        let all = (members as u128 * len as u128)
            .checked_div(looked_at as u128)
            .unwrap_or(0);
        size_of::<Tree>() + tree.table.heap_bytes() + tree.order.heap_bytes() + all as usize
    }

    // The walk.

    /// Fixes a cut: the walk will give the members that are here now with their scores. A packed set has no walk: it is
    /// small enough to be given at once.
    ///
    /// # Panics
    /// If a walk is under way.
    pub fn begin_walk(&mut self) {
        if let Form::Tree(tree) = &mut self.form {
            assert!(tree.walk.is_none(), "one walk at a time");
            tree.walk = Some(Box::new(Walk {
                order: OrderedWalk::new(Direction::Falling),
                kept: Vec::new(),
                kept_bytes: 0,
                left: tree.order.len(),
            }));
        }
    }

    /// Whether a walk is under way.
    pub fn is_walking(&self) -> bool {
        matches!(&self.form, Form::Tree(tree) if tree.walk.is_some())
    }

    /// Bytes that are kept only because of a walk.
    pub fn walk_kept_bytes(&self) -> usize {
        match &self.form {
            Form::Tree(tree) => tree.walk.as_ref().map_or(0, |walk| walk.kept_bytes),
            Form::Packed(_) => 0,
        }
    }

    /// Gives a walk up.
    pub fn end_walk(&mut self) {
        if let Form::Tree(tree) = &mut self.form {
            tree.walk = None;
        }
    }

    /// Gives some `budget` pairs of the cut, from the highest down but for those that have changed since. True when all
    /// have been given (or no walk was under way).
    pub fn walk_step(&mut self, budget: usize, mut give: impl FnMut(&[u8], f64)) -> bool {
        let Form::Tree(tree) = &mut self.form else {
            return true;
        };
        let Some(mut walk) = tree.walk.take() else {
            return true;
        };
        let mut given = 0;
        while given < budget
            && let Some((name, score)) = walk.kept.pop()
        {
            walk.kept_bytes -= KEPT_BYTES + name.len();
            give(&name, score);
            given += 1;
            walk.left -= 1;
        }
        if given < budget {
            let left = &mut walk.left;
            walk.order.step(&tree.order, budget - given, |member| {
                give(member.bytes(), member.score());
                *left -= 1;
            });
        }
        if walk.order.is_done() && walk.kept.is_empty() {
            assert_eq!(walk.left, 0, "a walk gives what was there at the cut");
            return true;
        }
        tree.walk = Some(walk);
        false
    }

    /// Drops up to `budget` members and answers whether any are left. Frees a big set in steps; in between, the set
    /// is whole and smaller.
    pub fn drain_some(&mut self, budget: usize) -> bool {
        match &mut self.form {
            Form::Packed(pack) => *pack = Listpack::new(),
            Form::Tree(tree) => {
                tree.walk = None; // nobody can reach the set any more
                let count = budget.min(self.len());
                self.take_ranks(self.len() - count, count, |_, _| {});
            }
        }
        !self.is_empty()
    }

    /// Fails an assertion where an invariant is broken. Walks the whole set; for tests.
    pub fn check(&self) {
        match &self.form {
            Form::Packed(pack) => {
                pack.check();
                assert_eq!(pack.len() % 2, 0);
                assert!(
                    Zset::from_listpack(pack.iter().fold(Listpack::new(), |mut copy, item| {
                        copy.push_item(item);
                        copy
                    }))
                    .is_some()
                );
            }
            Form::Tree(tree) => {
                tree.table.check();
                tree.order.check();
                assert_eq!(tree.table.len(), tree.order.len());
                for member in tree.order.iter(0..tree.order.len()) {
                    let named = tree.table.find(hash(member.bytes()), member.bytes());
                    assert!(named.is_some_and(|named| named.is_same(member)));
                }
            }
        }
    }

    fn ranks_packed(
        &self,
        below_min: impl Fn(&Pair<'_>) -> bool,
        within_max: impl Fn(&Pair<'_>) -> bool,
    ) -> Range<usize> {
        let mut pairs = self
            .iter(0..usize::MAX)
            .enumerate()
            .skip_while(|(_, pair)| below_min(pair));
        let Some((start, first)) = pairs.next() else {
            let len = self.len();
            return len..len;
        };
        if !within_max(&first) {
            return start..start;
        }
        start..start + 1 + pairs.take_while(|(_, pair)| within_max(pair)).count()
    }

    /// Makes the set a tree, whatever it was.
    fn unpack(&mut self) -> &mut Tree {
        if let Form::Packed(_) = self.form {
            let mut tree = Box::new(Tree {
                table: Table::new(),
                order: Ordered::new(),
                walk: None,
            });
            for (name, score) in self.iter(0..usize::MAX) {
                tree.insert(name.text(&mut itoa::Buffer::new()), score);
            }
            self.form = Form::Tree(tree);
        }
        match &mut self.form {
            Form::Tree(tree) => tree,
            Form::Packed(_) => unreachable!("the set was just made a tree"),
        }
    }
}

impl Tree {
    /// Adds a member whose name is not in the set.
    fn insert(&mut self, name: &[u8], score: f64) {
        if let Some(walk) = &mut self.walk {
            walk.before_write(name, None, Some(score));
        }
        let member = Member::new(score, name);
        self.order.insert(&member);
        self.table.insert(hash(name), member);
    }
}

impl AddOptions {
    /// What becomes of a member that has a score already.
    fn judge(self, old: f64, score: f64) -> Added {
        if self.only_new {
            return Added::Refused;
        }
        let new = if self.increment { old + score } else { score };
        if new.is_nan() {
            return Added::NotANumber;
        }
        if (self.only_less && new >= old) || (self.only_greater && new <= old) {
            return Added::Refused;
        }
        if new == old {
            return Added::Same(old);
        }
        Added::Updated { old, new }
    }
}

/// The members of a range of ranks; made by [`Zset::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a>(IterForm<'a>);

#[derive(Clone, Debug)]
enum IterForm<'a> {
    Packed {
        pack: &'a Listpack,
        front: Pos,
        back: Pos,
    },
    Tree(ordered::Iter<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        match &mut self.0 {
            IterForm::Packed { pack, front, back } => {
                if front == back {
                    return None;
                }
                let name = pack.at(*front);
                let at = pack.after(*front);
                *front = pack.after(at);
                Some((name, score_of(pack.at(at))))
            }
            IterForm::Tree(members) => members.next().map(pair_of),
        }
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            IterForm::Packed { pack, front, back } => {
                if front == back {
                    return None;
                }
                let at = pack.before(*back)?;
                *back = pack.before(at)?;
                Some((pack.at(*back), score_of(pack.at(at))))
            }
            IterForm::Tree(members) => members.next_back().map(pair_of),
        }
    }
}

fn pair_of(member: &Member) -> Pair<'_> {
    (Item::Bytes(member.bytes()), member.score())
}

fn score_of(item: Item<'_>) -> f64 {
    score_checked(item).expect("scores were checked when they came in")
}

fn score_checked(item: Item<'_>) -> Option<f64> {
    match item {
        Item::Int(score) => Some(score as f64),
        Item::Bytes(text) => parse_f64(text),
    }
}

/// Puts a pair before the first that is above it, as Redis does.
fn pack_insert(pack: &mut Listpack, name: &[u8], score: f64) {
    let mut pos = pack.first();
    while pos != pack.end() {
        let score_pos = pack.after(pos);
        let other = score_of(pack.at(score_pos));
        if other > score || (other == score && pack.at(pos).text(&mut itoa::Buffer::new()) > name) {
            break;
        }
        pos = pack.after(score_pos);
    }
    pack.insert_before(pos, name);
    pack_score(pack, Some(pos), score);
}

/// Writes a score after the entry at `after`, or at the end. Whole scores become integer entries: -0 becomes 0 here.
fn pack_score(pack: &mut Listpack, after: Option<Pos>, score: f64) {
    let pos = after.map_or_else(|| pack.end(), |pos| pack.after(pos));
    match f64_as_i64(score) {
        Some(score) => pack.insert(pos, &Needle::from_item(Item::Int(score))),
        None => pack.insert_before(pos, &format_f64(score)),
    }
}

#[cfg(test)]
#[path = "zset_tests.rs"]
mod tests;
