//! The hash as a value: fields with their values in a packed row, or in a table.
//!
//! The forms and the moment at which one becomes the other are those of Redis 7.2, because OBJECT ENCODING shows them: a
//! hash begins as a *listpack* (field, value, field, value, in order of arrival) and becomes a *table* with one field
//! too many or with a field or value too long. Nothing ever goes back.
//!
//! In a table a field is a [`Blob`] with its value behind it: one allocation, and none when a value is replaced by one
//! of about the same length.
//!
//! **Walks** are those of `set.rs`: a small form is one step, and [`Hash::walked`] tells which fields of a table a walk
//! has passed.

use std::fmt;

use super::blob::Blob;
use super::draw::{below, choose, distinct};
use super::listpack::{self, Item, Listpack, Needle, Pos, TextBuffer};
use super::members::Members;
use super::set::table_allocated;
use super::table;
use crate::base::hash::hash;

/// Where a small hash stops being one: `hash-max-listpack-entries` and `hash-max-listpack-value`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashLimits {
    /// Most fields of a listpack.
    pub listpack_entries: usize,
    /// Bytes of the longest field or value of a listpack.
    pub listpack_value: usize,
}

impl Default for HashLimits {
    /// The defaults of Redis 7.2.
    fn default() -> Self {
        HashLimits {
            listpack_entries: 512,
            listpack_value: 64,
        }
    }
}

/// A hash; see the head of the file. The variants are open for reading (DUMP, snapshots, statistics); whoever makes one
/// by hand must see to it that no field occurs twice.
pub enum Hash {
    /// Few short fields, each followed by its value, in the order of their arrival.
    Listpack(Listpack),
    /// Anything.
    Table(Members),
}

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

impl Hash {
    /// An empty hash, which is a listpack.
    pub fn new() -> Self {
        Hash::Listpack(Listpack::new())
    }

    /// The hash that a listpack from a snapshot is under these limits, or nothing if a field occurs twice or the last one
    /// has no value.
    pub fn from_listpack(pack: Listpack, limits: HashLimits) -> Option<Self> {
        let mut fields = Members::new();
        let mut items = pack.iter();
        while let Some(field) = items.next() {
            let (mut buffer, mut value_buffer) = (TextBuffer::new(), TextBuffer::new());
            let field = field.text(&mut buffer);
            let value = items.next()?;
            if !fields.add(field, value.text(&mut value_buffer)) {
                return None;
            }
        }
        Some(if fields.len() > limits.listpack_entries {
            Hash::Table(fields)
        } else {
            Hash::Listpack(pack)
        })
    }

    /// Makes a listpack a table when a command brings more fields than that may hold, whether or not they are new (HSET).
    pub fn expect(&mut self, hint: usize, limits: HashLimits) {
        if hint > limits.listpack_entries {
            self.convert_to_table();
        }
    }

    /// The word that OBJECT ENCODING replies.
    pub fn encoding_name(&self) -> &'static str {
        match self {
            Hash::Listpack(_) => "listpack",
            Hash::Table(_) => "hashtable",
        }
    }

    /// Number of fields.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Hash::Listpack(pack) => pack.len() / 2,
            Hash::Table(table) => table.len(),
        }
    }

    /// Whether there are no fields.
    #[inline]
    pub fn is_empty(&self) -> bool {
        match self {
            Hash::Listpack(pack) => pack.is_empty(),
            Hash::Table(table) => table.is_empty(),
        }
    }

    /// The value of a field. That of a table is `Item::Bytes` even where its text is an integer.
    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<Item<'_>> {
        match self {
            Hash::Listpack(pack) => find(pack, field).map(|pos| pack.at(pack.after(pos))),
            Hash::Table(table) => table
                .find(hash(field), field)
                .map(|blob| Item::Bytes(blob.value())),
        }
    }

    /// Whether there is such a field.
    #[inline]
    pub fn contains(&self, field: &[u8]) -> bool {
        match self {
            Hash::Listpack(pack) => find(pack, field).is_some(),
            Hash::Table(table) => table.find(hash(field), field).is_some(),
        }
    }

    /// Bytes of a field's value, 0 without such a field (HSTRLEN).
    pub fn value_len(&self, field: &[u8]) -> usize {
        self.get(field).map_or(0, |value| value.text_len())
    }

    /// Gives a field a value; true if the field is new.
    pub fn set(&mut self, field: &[u8], value: &[u8], limits: HashLimits) -> bool {
        if let Hash::Listpack(pack) = self {
            if fits(pack, field, value, limits) {
                let needle = Needle::new(field);
                if let Some(pos) = pack.find(&needle, pack.first(), 1) {
                    pack.replace(pack.after(pos), value);
                    return false;
                }
                if pack.len() / 2 < limits.listpack_entries {
                    pack.insert(pack.end(), &needle);
                    pack.push_back(value);
                    return true;
                }
            }
            self.convert_to_table();
        }
        let Hash::Table(table) = self else {
            unreachable!("a listpack that takes the field has returned")
        };
        table.set(field, value)
    }

    /// Gives a field a value unless it has one; true if it had none (HSETNX).
    pub fn set_if_absent(&mut self, field: &[u8], value: &[u8], limits: HashLimits) -> bool {
        match self {
            Hash::Table(table) => table.add(field, value),
            Hash::Listpack(_) => !self.contains(field) && self.set(field, value, limits),
        }
    }

    /// Removes a field with its value; false if there was none.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self {
            Hash::Listpack(pack) => match find(pack, field) {
                Some(pos) => {
                    pack.remove_at(pos, 2);
                    true
                }
                None => false,
            },
            Hash::Table(table) => table.remove(field),
        }
    }

    /// All fields with their values: a listpack's as the fields came, a table's in no order. Items of a table are
    /// `Item::Bytes` even where the text is an integer.
    pub fn iter(&self) -> Iter<'_> {
        match self {
            Hash::Listpack(pack) => Iter::Listpack(pack.iter()),
            Hash::Table(table) => Iter::Table(table.iter()),
        }
    }

    /// A field with its value, drawn with numbers from `supply`: uniformly from a listpack, nearly so from a table
    /// ([`Table::random`]).
    pub fn random(&self, supply: &mut impl FnMut() -> u64) -> Option<(Item<'_>, Item<'_>)> {
        match self {
            Hash::Listpack(pack) if pack.is_empty() => None,
            Hash::Listpack(pack) => {
                let pos = pack.seek(2 * below(supply(), pack.len() / 2) as i64)?;
                Some((pack.at(pos), pack.at(pack.after(pos))))
            }
            Hash::Table(table) => table.random(supply).map(pair),
        }
    }

    /// `count` fields with their values, drawn one by one, so that they may repeat (HRANDFIELD with a negative count).
    /// Empty hashes have none.
    pub fn draw(
        &self,
        count: usize,
        supply: &mut impl FnMut() -> u64,
        mut emit: impl FnMut(Item<'_>, Item<'_>),
    ) {
        if let Hash::Listpack(pack) = self
            && !pack.is_empty()
        {
            // One walk instead of one per draw.
            let pairs: Vec<_> = self.iter().collect();
            for _ in 0..count {
                let (field, value) = pairs[below(supply(), pairs.len())];
                emit(field, value);
            }
            return;
        }
        for _ in 0..count {
            match self.random(supply) {
                Some((field, value)) => emit(field, value),
                None => return,
            }
        }
    }

    /// `count` different fields with their values, or all if there are not so many, in random order (HRANDFIELD).
    pub fn draw_distinct(
        &self,
        count: usize,
        supply: &mut impl FnMut() -> u64,
    ) -> Vec<(Item<'_>, Item<'_>)> {
        match self {
            Hash::Table(table) => distinct(table, count, supply)
                .into_iter()
                .map(pair)
                .collect(),
            Hash::Listpack(_) => choose(self.iter().collect(), count, supply),
        }
    }

    /// Visits the part of the hash at `cursor` and answers the next cursor; 0 begins and 0 ends (HSCAN).
    ///
    /// A part is one bucket of a table, perhaps an empty one, so a command calls this until it has seen enough. A
    /// listpack is one part, whatever the cursor. The guarantee is that of [`Table::scan`].
    pub fn scan(&self, cursor: u64, mut emit: impl FnMut(Item<'_>, Item<'_>)) -> u64 {
        match self {
            Hash::Table(table) => table.scan(cursor, |blob| {
                let (field, value) = pair(blob);
                emit(field, value);
            }),
            Hash::Listpack(_) => {
                self.iter().for_each(|(field, value)| emit(field, value));
                0
            }
        }
    }

    /// Whether a walk by [`Hash::scan`] that stands at `cursor`, begun and not ended, has passed the place where `field`
    /// is or would be.
    pub fn walked(&self, cursor: u64, field: &[u8]) -> bool {
        match self {
            Hash::Table(_) => table::walked(cursor, hash(field)),
            Hash::Listpack(_) => true,
        }
    }

    /// Whether a walk against a cut is under way (`members.rs`). A small form has none: it is given at once.
    #[inline]
    pub fn is_walking(&self) -> bool {
        matches!(self, Hash::Table(table) if table.is_walking())
    }

    /// Frees up to `budget` fields; true when nothing is left that would take long to drop. The fields of a listpack are
    /// one allocation and stay.
    pub fn drain_some(&mut self, budget: usize) -> bool {
        match self {
            Hash::Table(table) => !table.drain_some(budget),
            Hash::Listpack(_) => true,
        }
    }

    /// Bytes of heap (MEMORY USAGE). For a table `samples` fields stand for all; 0 looks at all of them.
    pub fn allocated(&self, samples: usize) -> usize {
        match self {
            Hash::Listpack(pack) => pack.allocated(),
            Hash::Table(table) => table_allocated(table, samples),
        }
    }

    /// Makes the hash a table.
    pub fn convert_to_table(&mut self) {
        let Hash::Listpack(pack) = self else { return };
        let mut table = Members::new();
        for (field, value) in Iter::Listpack(pack.iter()) {
            let (mut buffer, mut value_buffer) = (TextBuffer::new(), TextBuffer::new());
            let field = field.text(&mut buffer);
            table.add(field, value.text(&mut value_buffer));
        }
        *self = Hash::Table(table);
    }

    /// Verifies the form and that no field occurs twice. Whether the limits are kept cannot be told: they may have been
    /// others when the fields came.
    ///
    /// # Panics
    /// If something is not so.
    pub fn check(&self) {
        match self {
            Hash::Listpack(pack) => {
                pack.check();
                assert!(pack.len().is_multiple_of(2), "a field has a value");
            }
            Hash::Table(table) => table.check(),
        }
        let mut seen = std::collections::HashSet::new();
        for (field, _) in self.iter() {
            assert!(seen.insert(field.to_vec()), "a field occurs once");
        }
        assert_eq!(seen.len(), self.len(), "the length is the number of fields");
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({}, {} fields)", self.encoding_name(), self.len())
    }
}

impl<'a> IntoIterator for &'a Hash {
    type Item = (Item<'a>, Item<'a>);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The fields of a hash with their values: the answer of [`Hash::iter`].
pub enum Iter<'a> {
    /// Those of a listpack.
    Listpack(listpack::Iter<'a>),
    /// Those of a table.
    Table(table::Iter<'a, Blob>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Item<'a>, Item<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Iter::Listpack(iter) => Some((iter.next()?, iter.next()?)),
            Iter::Table(iter) => iter.next().map(pair),
        }
    }
}

fn pair(blob: &Blob) -> (Item<'_>, Item<'_>) {
    (Item::Bytes(blob.key()), Item::Bytes(blob.value()))
}

fn find(pack: &Listpack, field: &[u8]) -> Option<Pos> {
    pack.find(&Needle::new(field), pack.first(), 1)
}

/// Whether a listpack may hold such a field and value.
fn fits(pack: &Listpack, field: &[u8], value: &[u8], limits: HashLimits) -> bool {
    field.len() <= limits.listpack_value
        && value.len() <= limits.listpack_value
        && pack.has_room(field.len() + value.len())
}

#[cfg(test)]
mod tests;
