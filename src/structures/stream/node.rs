//! A node: some hundred entries of a stream in one listpack, byte for byte as Redis keeps and saves them.
//!
//! ```text
//!   master entry   live | deleted | fields | name ... | 0
//!   each entry     flags | ms delta | seq delta | [fields] | [name] value ... | items
//! ```
//!
//! Ids are differences to the node's own id, which is that of its first entry. With flag 2 an entry has the names of
//! the master entry and only its values follow; flag 1 marks one that was deleted and stays in place. `items` counts
//! what comes before it in its entry, so that a reader from the end finds the start. The zero of the master entry
//! stands in the same place and ends such a reading.

use smallvec::SmallVec;

use super::{StreamError, StreamId};
use crate::structures::listpack::{Item, Listpack, Needle, Pos};

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;
/// Items of an entry beside names and values: flags and the two deltas.
const FIXED_ITEMS: usize = 3;

/// The listpack of a node; see the head of the file.
#[derive(Clone, Debug)]
pub struct Node {
    pack: Listpack,
}

/// Where things are in a node.
#[derive(Clone, Copy)]
struct Master {
    /// Fields of the master entry.
    fields: usize,
    /// The name of the first.
    names: Pos,
}

/// One entry of a stream, in place.
#[derive(Clone, Copy)]
pub struct StreamEntry<'a> {
    /// Its id.
    pub id: StreamId,
    pack: &'a Listpack,
    flags: i64,
    /// Pairs of a name and a value.
    fields: usize,
    start: Pos,
    /// The first name: in the master entry where names are the same.
    names: Pos,
    /// The first name, or the first value where names are the same.
    body: Pos,
    /// Where the next entry begins.
    end: Pos,
}

impl<'a> StreamEntry<'a> {
    /// How many fields it has.
    #[inline]
    pub fn len(&self) -> usize {
        self.fields
    }

    /// Whether it has none: such entries come from outside only.
    pub fn is_empty(&self) -> bool {
        self.fields == 0
    }

    /// Whether it was deleted and only its place is left.
    #[inline]
    pub fn is_deleted(&self) -> bool {
        self.flags & DELETED != 0
    }

    /// Names with their values.
    #[inline]
    pub fn pairs(&self) -> Pairs<'a> {
        Pairs {
            pack: self.pack,
            name: self.names,
            value: self.body,
            left: self.fields,
            same: self.flags & SAME_FIELDS != 0,
        }
    }

    pub(super) fn place(&self) -> Pos {
        self.start
    }
}

/// The fields of an entry.
#[derive(Clone)]
pub struct Pairs<'a> {
    pack: &'a Listpack,
    name: Pos,
    value: Pos,
    left: usize,
    same: bool,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Item<'a>, Item<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name_at = if self.same { self.name } else { self.value };
        let name = self.pack.at(name_at);
        let after_name = self.pack.after(name_at);
        if self.same {
            self.name = after_name;
        } else {
            self.value = after_name;
        }
        let value = self.pack.at(self.value);
        self.value = self.pack.after(self.value);
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pairs<'_> {}

/// The number at `pos`. That there is one was settled when the node was made or taken in.
#[inline]
fn number(pack: &Listpack, pos: Pos) -> i64 {
    match pack.at(pos) {
        Item::Int(number) => number,
        Item::Bytes(_) => unreachable!("a node's frame is made of numbers"),
    }
}

impl Node {
    /// A node with its first entry, whose id becomes the node's: names and values alternate in `fields`.
    pub fn new<'f>(fields: impl ExactSizeIterator<Item = &'f [u8]> + Clone) -> Node {
        let count = fields.len() / 2;
        let mut items = SmallVec::<[Needle<'_>; 24]>::new();
        let int = |number: usize| Needle::from_item(Item::Int(number as i64));
        items.extend([int(1), int(0), int(count)]);
        items.extend(fields.clone().step_by(2).map(Needle::new));
        items.push(int(0));
        items.extend([Needle::from_item(Item::Int(SAME_FIELDS)), int(0), int(0)]);
        items.extend(fields.skip(1).step_by(2).map(Needle::new));
        items.push(int(count + FIXED_ITEMS));
        let mut pack = Listpack::new();
        pack.extend_back(&items);
        Node { pack }
    }

    /// Takes in a node from outside, every item of which is checked. Entries may stand in any order of ids, for a
    /// server can be told to forget how far it was (XSETID).
    pub fn from_bytes(bytes: &[u8]) -> Result<Node, StreamError> {
        let node = Node {
            pack: Listpack::from_bytes(bytes).map_err(StreamError::Listpack)?,
        };
        node.verify()?;
        Ok(node)
    }

    fn verify(&self) -> Result<(), StreamError> {
        let mut items = self.pack.iter();
        let mut frame = || match items.next() {
            Some(Item::Int(number)) => Ok(number),
            _ => Err(StreamError::Frame),
        };
        let count = |number: i64| u32::try_from(number).map_err(|_| StreamError::Frame);
        let (live, deleted) = (count(frame()?)?, count(frame()?)?);
        let fields = count(frame()?)?;
        let mut skip = |count: u64| -> Result<(), StreamError> {
            for _ in 0..count {
                items.next().ok_or(StreamError::Frame)?;
            }
            Ok(())
        };
        skip(u64::from(fields))?;
        if items.next() != Some(Item::Int(0)) {
            return Err(StreamError::Frame);
        }
        let (mut seen_live, mut seen_deleted) = (0_u32, 0_u32);
        while let Some(flags) = items.next() {
            let Item::Int(flags) = flags else {
                return Err(StreamError::Frame);
            };
            let mut frame = || match items.next() {
                Some(Item::Int(number)) => Ok(number),
                _ => Err(StreamError::Frame),
            };
            frame()?;
            frame()?;
            let (body, before) = if flags & SAME_FIELDS != 0 {
                (u64::from(fields), FIXED_ITEMS as u64)
            } else {
                (2 * u64::from(count(frame()?)?), FIXED_ITEMS as u64 + 1)
            };
            for _ in 0..body {
                items.next().ok_or(StreamError::Frame)?;
            }
            if items.next() != Some(Item::Int((body + before) as i64)) {
                return Err(StreamError::Frame);
            }
            if flags & DELETED != 0 {
                seen_deleted += 1;
            } else {
                seen_live += 1;
            }
        }
        if (seen_live, seen_deleted) != (live, deleted) || live == 0 && deleted == 0 {
            return Err(StreamError::Counts);
        }
        Ok(())
    }

    /// The node's bytes, as snapshots hold them.
    pub fn bytes(&self) -> &[u8] {
        self.pack.bytes()
    }

    /// Bytes on the heap.
    pub fn allocated(&self) -> usize {
        self.pack.allocated()
    }

    /// Entries that are there.
    #[inline]
    pub fn live(&self) -> u64 {
        number(&self.pack, self.pack.first()) as u64
    }

    /// Entries that are there and places of deleted ones.
    #[inline]
    pub fn places(&self) -> u64 {
        let first = self.pack.first();
        let deleted = number(&self.pack, self.pack.after(first));
        number(&self.pack, first) as u64 + deleted as u64
    }

    #[inline]
    fn master(&self) -> Master {
        let at = self.pack.after(self.pack.after(self.pack.first()));
        Master {
            fields: number(&self.pack, at) as usize,
            names: self.pack.after(at),
        }
    }

    /// Whether an entry whose names and values take `added` bytes together still belongs into this node.
    pub fn has_room(&self, added: usize, limits: NodeLimits) -> bool {
        self.pack.byte_len() + added < limits.bytes_max
            && (limits.entries_max == 0 || self.places() < limits.entries_max)
    }

    /// Appends an entry to the node whose id is `own`. Names and values alternate in `fields`.
    pub fn push<'f>(
        &mut self,
        own: StreamId,
        id: StreamId,
        fields: impl ExactSizeIterator<Item = &'f [u8]> + Clone,
    ) {
        let count = fields.len() / 2;
        let live = self.live() + 1;
        let master = self.master();
        let same = master.fields == count && {
            let mut at = master.names;
            fields.clone().step_by(2).all(|name| {
                let equal = self.pack.at(at).is(name);
                at = self.pack.after(at);
                equal
            })
        };
        let int = |number: i64| Needle::from_item(Item::Int(number));
        let mut items = SmallVec::<[Needle<'_>; 24]>::new();
        items.extend([
            int(if same { SAME_FIELDS } else { 0 }),
            int(id.ms.wrapping_sub(own.ms) as i64),
            int(id.seq.wrapping_sub(own.seq) as i64),
        ]);
        if same {
            items.extend(fields.skip(1).step_by(2).map(Needle::new));
        } else {
            items.push(int(count as i64));
            items.extend(fields.map(Needle::new));
        }
        items.push(int(items.len() as i64));
        self.pack.extend_back(&items);
        self.pack
            .replace_item(self.pack.first(), Item::Int(live as i64));
    }

    /// The entry that begins at `start`.
    #[inline]
    fn entry(&self, own: StreamId, master: Master, start: Pos) -> StreamEntry<'_> {
        let pack = &self.pack;
        let flags = number(pack, start);
        let mut at = pack.after(start);
        let ms = own.ms.wrapping_add(number(pack, at) as u64);
        at = pack.after(at);
        let seq = own.seq.wrapping_add(number(pack, at) as u64);
        at = pack.after(at);
        let (fields, items, names) = if flags & SAME_FIELDS != 0 {
            (master.fields, master.fields, master.names)
        } else {
            let fields = number(pack, at) as usize;
            at = pack.after(at);
            (fields, 2 * fields, at)
        };
        let body = at;
        for _ in 0..items {
            at = pack.after(at);
        }
        StreamEntry {
            id: StreamId::new(ms, seq),
            pack,
            flags,
            fields,
            start,
            names,
            body,
            end: pack.after(at),
        }
    }

    /// The entries first to last, deleted ones included; `own` is the node's id.
    #[inline]
    pub fn entries(&self, own: StreamId) -> Entries<'_> {
        let master = self.master();
        let mut at = master.names;
        for _ in 0..=master.fields {
            at = self.pack.after(at);
        }
        Entries {
            node: self,
            own,
            master,
            at,
        }
    }

    /// The entries last to first, deleted ones included; `own` is the node's id.
    #[inline]
    pub fn entries_back(&self, own: StreamId) -> EntriesBack<'_> {
        EntriesBack {
            node: self,
            own,
            master: self.master(),
            at: self.pack.end(),
        }
    }

    /// Marks the entry that begins at `start` and is there as deleted. Other places may move.
    pub(super) fn delete(&mut self, start: Pos) {
        let flags = number(&self.pack, start);
        assert!(flags & DELETED == 0, "an entry is deleted once");
        let live = self.live();
        let deleted = self.places() - live;
        self.pack.replace_item(start, Item::Int(flags | DELETED));
        let first = self.pack.first();
        self.pack.replace_item(first, Item::Int(live as i64 - 1));
        self.pack
            .replace_item(self.pack.after(first), Item::Int(deleted as i64 + 1));
    }

    /// Marks entries from the first on as deleted for as long as `more` says so of each that is there or was, and
    /// returns how many that were there have gone.
    pub(super) fn delete_while(
        &mut self,
        own: StreamId,
        mut more: impl FnMut(&StreamEntry<'_>) -> bool,
    ) -> u64 {
        let mut marks = Vec::new();
        for entry in self.entries(own) {
            if !more(&entry) {
                break;
            }
            if !entry.is_deleted() {
                marks.push((entry.start, entry.flags | DELETED));
            }
        }
        let live = self.live();
        let deleted = self.places() - live;
        let gone = marks.len() as u64;
        for (start, flags) in marks {
            self.pack.replace_item(start, Item::Int(flags)); // flags take one byte, so nothing moves
        }
        let first = self.pack.first();
        self.pack
            .replace_item(first, Item::Int((live - gone) as i64));
        self.pack
            .replace_item(self.pack.after(first), Item::Int((deleted + gone) as i64));
        gone
    }
}

/// When a node is full: `stream-node-max-bytes` and `stream-node-max-entries`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeLimits {
    bytes_max: usize,
    entries_max: u64,
}

impl NodeLimits {
    /// The directives' values: for both, 0 means no limit, which for bytes is that of the format (1 GiB).
    pub fn new(bytes: u64, entries: u64) -> Self {
        let format_max = crate::structures::listpack::BYTES_MAX;
        NodeLimits {
            bytes_max: match usize::try_from(bytes) {
                Ok(1..) if bytes <= format_max as u64 => bytes as usize,
                _ => format_max,
            },
            entries_max: entries,
        }
    }
}

/// The entries of a node, first to last.
#[derive(Clone)]
pub struct Entries<'a> {
    node: &'a Node,
    own: StreamId,
    master: Master,
    at: Pos,
}

impl<'a> Iterator for Entries<'a> {
    type Item = StreamEntry<'a>;

    #[inline]
    fn next(&mut self) -> Option<StreamEntry<'a>> {
        if self.at == self.node.pack.end() {
            return None;
        }
        let entry = self.node.entry(self.own, self.master, self.at);
        self.at = entry.end;
        Some(entry)
    }
}

/// The entries of a node, last to first.
#[derive(Clone)]
pub struct EntriesBack<'a> {
    node: &'a Node,
    own: StreamId,
    master: Master,
    /// Behind the next entry.
    at: Pos,
}

impl<'a> Iterator for EntriesBack<'a> {
    type Item = StreamEntry<'a>;

    #[inline]
    fn next(&mut self) -> Option<StreamEntry<'a>> {
        let pack = &self.node.pack;
        let mut at = pack.before(self.at)?;
        let items = number(pack, at);
        if items == 0 {
            return None; // the end of the master entry
        }
        for _ in 0..items {
            at = pack.before(at)?;
        }
        self.at = at;
        Some(self.node.entry(self.own, self.master, at))
    }
}
