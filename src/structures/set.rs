//! The set as a value: a sorted row of integers, a packed row of anything short, or a table.
//!
//! The forms and the moments at which one becomes the next are those of Redis 7.2, because OBJECT ENCODING shows them:
//!
//! - A set begins as an *intset*. Its first member that is no integer makes it a *listpack*, if the limits allow that;
//!   one integer too many makes it a *table* at once (not a listpack, even where that would have room).
//! - A listpack with one member too many, or with one too long, becomes a table.
//! - Nothing ever goes back on removal. Only a result of SINTERSTORE is looked through once, by
//!   [`Set::into_intset_if_integers`].
//!
//! In a table a member is a [`Blob`] without value: up to seven bytes lie in the bucket itself, longer ones take an
//! allocation without header.
//!
//! **Walks.** A walk that is cut in pieces ([`Set::scan`]) takes a small form in one step, so a set that becomes a table
//! during a walk was either walked whole or not at all. Inside a table, [`Set::walked`] tells which members the walk
//! has passed. Whoever must hand members to a walker before a write asks it first.

use std::fmt;

use super::blob::Blob;
use super::draw::{below, choose, distinct};
use super::intset::{self, Intset};
use super::listpack::{self, Item, Listpack, Needle, TextBuffer};
use super::members::Members;
use super::table::{self, Table};
use crate::base::hash::hash;

/// Where a small set stops being one: `set-max-intset-entries`, `set-max-listpack-entries` and
/// `set-max-listpack-value`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetLimits {
    /// Most members of an intset.
    pub intset_entries: usize,
    /// Most members of a listpack.
    pub listpack_entries: usize,
    /// Bytes of the longest member of a listpack.
    pub listpack_value: usize,
}

impl Default for SetLimits {
    /// The defaults of Redis 7.2.
    fn default() -> Self {
        SetLimits {
            intset_entries: 512,
            listpack_entries: 128,
            listpack_value: 64,
        }
    }
}

/// A set; see the head of the file. The variants are open for reading (DUMP, snapshots, statistics); whoever makes one
/// by hand must see to it that no member occurs twice.
pub enum Set {
    /// Integers only, in ascending order.
    Intset(Intset),
    /// Few short members in the order of their arrival.
    Listpack(Listpack),
    /// Anything.
    Table(Members),
}

impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

impl Set {
    /// An empty set, which is an intset: where SUNIONSTORE and SDIFFSTORE begin.
    pub fn new() -> Self {
        Set::Intset(Intset::new())
    }

    /// An empty set for a command that brings `hint` members, of which `first` is the first: SADD and SMOVE to a key that
    /// does not exist.
    pub fn for_members(first: &[u8], hint: usize, limits: SetLimits) -> Self {
        if hint <= limits.intset_entries && matches!(Item::of(first), Item::Int(_)) {
            Set::Intset(Intset::new())
        } else if hint <= limits.listpack_entries {
            Set::Listpack(Listpack::new())
        } else {
            Set::Table(Members::new())
        }
    }

    /// An empty set for the intersection of sets of which `smallest` has the fewest members (SINTERSTORE): of the same
    /// form. When it is filled, [`Set::into_intset_if_integers`] gives the final one.
    pub fn for_intersection(smallest: &Set) -> Self {
        match smallest {
            Set::Intset(_) => Set::Intset(Intset::new()),
            // It becomes a table when it outgrows a listpack (SINTERSTORE, 7.2).
            Set::Listpack(_) | Set::Table(_) => Set::Listpack(Listpack::new()),
        }
    }

    /// The set that an intset from a snapshot is under these limits.
    pub fn from_intset(intset: Intset, limits: SetLimits) -> Self {
        let mut set = Set::Intset(intset);
        if set.len() > limits.intset_entries {
            set.convert_to_table();
        }
        set
    }

    /// The set that a listpack from a snapshot is under these limits, or nothing if a member occurs twice.
    pub fn from_listpack(pack: Listpack, limits: SetLimits) -> Option<Self> {
        let mut members = Members::new();
        for item in pack.iter() {
            if !members.add(item.text(&mut TextBuffer::new()), b"") {
                return None;
            }
        }
        Some(if members.len() > limits.listpack_entries {
            Set::Table(members)
        } else {
            Set::Listpack(pack)
        })
    }

    /// Makes a small form a table when a command brings more members than the form may hold, whether or not they are
    /// new: SADD to a key that exists.
    pub fn expect(&mut self, hint: usize, limits: SetLimits) {
        match self {
            Set::Intset(_) if hint > limits.intset_entries => self.convert_to_table(),
            Set::Listpack(_) if hint > limits.listpack_entries => self.convert_to_table(),
            _ => {}
        }
    }

    /// The word that OBJECT ENCODING replies.
    pub fn encoding_name(&self) -> &'static str {
        match self {
            Set::Intset(_) => "intset",
            Set::Listpack(_) => "listpack",
            Set::Table(_) => "hashtable",
        }
    }

    /// Number of members.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Set::Intset(intset) => intset.len(),
            Set::Listpack(pack) => pack.len(),
            Set::Table(table) => table.len(),
        }
    }

    /// Whether there are no members.
    #[inline]
    pub fn is_empty(&self) -> bool {
        match self {
            Set::Intset(intset) => intset.is_empty(),
            Set::Listpack(pack) => pack.is_empty(),
            Set::Table(table) => table.is_empty(),
        }
    }

    /// Whether `member` is one.
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        match self {
            Set::Table(table) => table.find(hash(member), member).is_some(),
            _ => self.contains_item(Item::of(member)),
        }
    }

    /// Whether the element is a member. For items of other sets this is quicker than [`Set::contains`].
    pub fn contains_item(&self, item: Item<'_>) -> bool {
        match self {
            Set::Intset(intset) => integer(item).is_some_and(|value| intset.contains(value)),
            Set::Listpack(pack) => pack
                .find(&Needle::from_item(item), pack.first(), 0)
                .is_some(),
            Set::Table(table) => {
                let mut buffer = TextBuffer::new();
                let text = item.text(&mut buffer);
                table.find(hash(text), text).is_some()
            }
        }
    }

    /// Adds a member; false if it was one.
    #[inline]
    pub fn add(&mut self, member: &[u8], limits: SetLimits) -> bool {
        match self {
            Set::Table(table) => table.add(member, b""),
            _ => self.add_item(Item::of(member), limits),
        }
    }

    /// Adds a member; false if it was one. For items of other sets this is quicker than [`Set::add`].
    pub fn add_item(&mut self, item: Item<'_>, limits: SetLimits) -> bool {
        match self {
            Set::Intset(intset) => match integer(item) {
                Some(value) if !intset.is_full() => {
                    let added = intset.add(value);
                    if added && intset.len() > limits.intset_entries {
                        self.convert_to_table();
                    }
                    return added;
                }
                Some(value) if intset.contains(value) => return false,
                Some(_) => self.convert_to_table(),
                None => match listpack_of(intset, item.text_len(), limits) {
                    Some(mut pack) => {
                        pack.push_item(item);
                        *self = Set::Listpack(pack);
                        return true;
                    }
                    None => self.convert_to_table(),
                },
            },
            Set::Listpack(pack) => {
                let needle = Needle::from_item(item);
                if pack.find(&needle, pack.first(), 0).is_some() {
                    return false;
                }
                let len = item.text_len();
                if pack.len() < limits.listpack_entries
                    && len <= limits.listpack_value
                    && pack.has_room(len)
                {
                    pack.insert(pack.end(), &needle);
                    return true;
                }
                self.convert_to_table();
            }
            Set::Table(_) => {}
        }
        let Set::Table(table) = self else {
            unreachable!("a small form that takes the member has returned")
        };
        table.add(item.text(&mut TextBuffer::new()), b"")
    }

    /// Removes a member; false if it was none.
    #[inline]
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Set::Table(table) => table.remove(member),
            _ => self.remove_item(Item::of(member)),
        }
    }

    /// Removes a member; false if it was none. For items of other sets this is quicker than [`Set::remove`].
    pub fn remove_item(&mut self, item: Item<'_>) -> bool {
        match self {
            Set::Intset(intset) => integer(item).is_some_and(|value| intset.remove(value)),
            Set::Listpack(pack) => match pack.find(&Needle::from_item(item), pack.first(), 0) {
                Some(pos) => {
                    pack.remove(pos);
                    true
                }
                None => false,
            },
            Set::Table(table) => {
                let mut buffer = TextBuffer::new();
                let text = item.text(&mut buffer);
                table.remove(text)
            }
        }
    }

    /// All members: an intset's in ascending order, a listpack's as they came, a table's in no order.
    ///
    /// The items of a table are `Item::Bytes` even where the text is an integer, so items of different sets are to be
    /// compared by their text.
    pub fn iter(&self) -> Iter<'_> {
        match self {
            Set::Intset(intset) => Iter::Intset { intset, next: 0 },
            Set::Listpack(pack) => Iter::Listpack(pack.iter()),
            Set::Table(table) => Iter::Table(table.iter()),
        }
    }

    /// A member drawn with numbers from `supply`: uniformly from a small form, nearly so from a table
    /// ([`Table::random`]).
    pub fn random(&self, supply: &mut impl FnMut() -> u64) -> Option<Item<'_>> {
        if self.is_empty() {
            return None;
        }
        match self {
            Set::Intset(intset) => intset.get(below(supply(), intset.len())).map(Item::Int),
            Set::Listpack(pack) => pack.get(below(supply(), pack.len()) as i64),
            Set::Table(table) => table.random(supply).map(|blob| Item::Bytes(blob.key())),
        }
    }

    /// `count` members drawn one by one, so that they may repeat (SRANDMEMBER with a negative count). Empty sets have none.
    pub fn draw(
        &self,
        count: usize,
        supply: &mut impl FnMut() -> u64,
        mut emit: impl FnMut(Item<'_>),
    ) {
        if let Set::Listpack(pack) = self
            && !pack.is_empty()
        {
            // One walk instead of one per draw.
            let items: Vec<_> = pack.iter().collect();
            (0..count).for_each(|_| emit(items[below(supply(), items.len())]));
            return;
        }
        for _ in 0..count {
            match self.random(supply) {
                Some(item) => emit(item),
                None => return,
            }
        }
    }

    /// `count` different members, or all if there are not so many, in random order (SRANDMEMBER and SPOP with a count).
    pub fn draw_distinct(&self, count: usize, supply: &mut impl FnMut() -> u64) -> Vec<Item<'_>> {
        match self {
            Set::Table(table) => distinct(table, count, supply)
                .into_iter()
                .map(|blob| Item::Bytes(blob.key()))
                .collect(),
            _ => choose(self.iter().collect(), count, supply),
        }
    }

    /// Removes a member drawn like [`Set::random`] and returns its text (SPOP).
    pub fn pop_random(&mut self, supply: &mut impl FnMut() -> u64) -> Option<Vec<u8>> {
        if self.is_empty() {
            return None;
        }
        match self {
            Set::Intset(intset) => {
                let value = intset.remove_at(below(supply(), intset.len()));
                Some(Item::Int(value).to_vec())
            }
            Set::Listpack(pack) => {
                let pos = pack.seek(below(supply(), pack.len()) as i64)?;
                let text = pack.at(pos).to_vec();
                pack.remove(pos);
                Some(text)
            }
            Set::Table(table) => table.pop_random(supply),
        }
    }

    /// Visits the part of the set at `cursor` and answers the next cursor; 0 begins and 0 ends (SSCAN).
    ///
    /// A part is one bucket of a table, perhaps an empty one, so a command calls this until it has seen enough. A small
    /// form is one part, whatever the cursor. The guarantee is that of [`Table::scan`].
    pub fn scan(&self, cursor: u64, mut emit: impl FnMut(Item<'_>)) -> u64 {
        match self {
            Set::Table(table) => table.scan(cursor, |blob| emit(Item::Bytes(blob.key()))),
            _ => {
                self.iter().for_each(emit);
                0
            }
        }
    }

    /// Whether a walk by [`Set::scan`] that stands at `cursor`, begun and not ended, has passed the place where `member`
    /// is or would be.
    pub fn walked(&self, cursor: u64, member: &[u8]) -> bool {
        match self {
            Set::Table(_) => table::walked(cursor, hash(member)),
            _ => true,
        }
    }

    /// Whether a walk against a cut is under way (`members.rs`). A small form has none: it is given at once.
    #[inline]
    pub fn is_walking(&self) -> bool {
        matches!(self, Set::Table(table) if table.is_walking())
    }

    /// Frees up to `budget` members; true when nothing is left that would take long to drop. The members of a small form
    /// are one allocation and stay.
    pub fn drain_some(&mut self, budget: usize) -> bool {
        match self {
            Set::Table(table) => !table.drain_some(budget),
            _ => true,
        }
    }

    /// Bytes of heap (MEMORY USAGE). For a table `samples` members stand for all; 0 looks at all of them.
    pub fn allocated(&self, samples: usize) -> usize {
        match self {
            Set::Intset(intset) => intset.allocated(),
            Set::Listpack(pack) => pack.allocated(),
            Set::Table(table) => table_allocated(table, samples),
        }
    }

    /// Makes the set a table.
    pub fn convert_to_table(&mut self) {
        if matches!(self, Set::Table(_)) {
            return;
        }
        let mut table = Members::new();
        for item in self.iter() {
            table.add(item.text(&mut TextBuffer::new()), b"");
        }
        *self = Set::Table(table);
    }

    /// The set as an intset, if all members are integers and not too many: the last step of SINTERSTORE. Looks at members
    /// up to the first that is no integer.
    pub fn into_intset_if_integers(self, limits: SetLimits) -> Self {
        let len = self.len();
        if matches!(self, Set::Intset(_))
            || len > limits.intset_entries
            || len > intset::MEMBERS_MAX
        {
            return self;
        }
        let integers: Option<Vec<i64>> = self.iter().map(integer).collect();
        let Some(mut integers) = integers else {
            return self;
        };
        // In ascending order each is appended.
        integers.sort_unstable();
        let mut intset = Intset::new();
        for value in integers {
            intset.add(value);
        }
        Set::Intset(intset)
    }

    /// Verifies the form and that no member occurs twice. Whether the limits are kept cannot be told: they may have
    /// been others when the members came.
    ///
    /// # Panics
    /// If something is not so.
    pub fn check(&self) {
        match self {
            Set::Intset(intset) => intset.check(),
            Set::Listpack(pack) => pack.check(),
            Set::Table(table) => {
                table.check();
                for blob in table.iter() {
                    assert!(blob.value().is_empty(), "a member has no value");
                }
            }
        }
        let mut seen = std::collections::HashSet::new();
        for item in self.iter() {
            assert!(seen.insert(item.to_vec()), "a member occurs once");
        }
        assert_eq!(
            seen.len(),
            self.len(),
            "the length is the number of members"
        );
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Set({}, {} members)", self.encoding_name(), self.len())
    }
}

impl<'a> IntoIterator for &'a Set {
    type Item = Item<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The members of a set: the answer of [`Set::iter`].
pub enum Iter<'a> {
    /// Those of an intset from an index on.
    Intset {
        /// The set.
        intset: &'a Intset,
        /// Index of the next member.
        next: usize,
    },
    /// Those of a listpack.
    Listpack(listpack::Iter<'a>),
    /// Those of a table.
    Table(table::Iter<'a, Blob>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        match self {
            Iter::Intset { intset, next } => {
                let value = intset.get(*next)?;
                *next += 1;
                Some(Item::Int(value))
            }
            Iter::Listpack(iter) => iter.next(),
            Iter::Table(iter) => iter.next().map(|blob| Item::Bytes(blob.key())),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Iter::Intset { intset, next } => {
                let left = intset.len() - next;
                (left, Some(left))
            }
            Iter::Listpack(iter) => iter.size_hint(),
            Iter::Table(iter) => iter.size_hint(),
        }
    }
}

/// The integer that the item's text spells.
fn integer(item: Item<'_>) -> Option<i64> {
    let value = match item {
        Item::Bytes(bytes) => Item::of(bytes),
        int => int,
    };
    match value {
        Item::Int(value) => Some(value),
        Item::Bytes(_) => None,
    }
}

/// The intset as a listpack with room for a member of `added` bytes, if limits and format allow one.
fn listpack_of(intset: &Intset, added: usize, limits: SetLimits) -> Option<Listpack> {
    if intset.len() >= limits.listpack_entries || added > limits.listpack_value {
        return None;
    }
    // The longest is the first or the last. A hostile limit must not make a listpack beyond the format: 11 bytes are the
    // most that an integer takes there.
    let longest = [intset.get(0), intset.iter().next_back()]
        .into_iter()
        .flatten()
        .map(|value| Item::Int(value).text_len())
        .max()
        .unwrap_or(0);
    if longest > limits.listpack_value || intset.len() * 11 + added > listpack::BYTES_MAX / 2 {
        return None;
    }
    Some(intset.iter().map(Item::Int).collect())
}

/// Bytes of heap of a table with its blobs, `samples` of which (0: all) stand for the others.
pub(super) fn table_allocated(table: &Table<Blob>, samples: usize) -> usize {
    let samples = if samples == 0 { usize::MAX } else { samples };
    let looked_at = samples.min(table.len());
    let bytes: usize = table.iter().take(looked_at).map(Blob::allocated).sum();
    let all = (bytes as u128 * table.len() as u128)
        .checked_div(looked_at as u128)
        .unwrap_or(0);
    table.heap_bytes() + all as usize
}

#[cfg(test)]
mod tests;
