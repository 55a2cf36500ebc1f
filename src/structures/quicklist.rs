//! The quicklist: a list of any length as a row of *nodes*, each a listpack of many elements or one big element alone.
//!
//! What `list-max-listpack-size` means for a node is Redis's (`Fill`); where nodes part follows Redis closely enough
//! that tools which look at encodings and DUMP payloads see what they know.
//!
//! # The row of nodes
//!
//! ```text
//!   chunks: VecDeque [ 128 nodes at most, elements in them | ... | ... ]
//! ```
//!
//! An index is found by adding up chunks from the nearer end, then nodes, then entries. 10^8 small elements are some
//! 10^5 nodes or 800 chunks, so that the first part takes well under a microsecond. An insertion in the middle moves
//! the nodes of one chunk (4 KiB) and, once in 64 new nodes, the deque's entries (40 bytes a chunk: 16 KiB in that list;
//! 1.5 MB in one of 10^7 nodes, which takes 80 GB or a node size of one). The longest step is the deque's own growth,
//! which copies it: 3 MB there, a few milliseconds, once in a doubling. Measured with 11 million elements of 20 bytes in
//! 30,000 nodes: an element at random 1.2 us, an insertion at random 2.0 us; with 3 million nodes 3.8 and 8.7 us.
//! Rejected: Redis's linked list (each skipped node is a cache miss), one deque of nodes (a middle insertion moves
//! megabytes), a counted B-tree (logarithmic where the above is already short, for several times the code).
//!
//! Whole chunks leave by being moved into `Remains`, which frees them in steps.
//!
//! # The walk against a cut
//!
//! `Quicklist::begin_walk` fixes a cut; `Quicklist::walk_step` then hands over the nodes *as they were at the cut, in
//! order*, while writes go on in between. Each node bears a stamp; one whose stamp is not the current walk's has been
//! there at the cut and has not been handed over. Before such a node changes, a copy of it is put into the row right in
//! front of it as a *ghost*: a node without elements, which every operation but the walk passes over. A node that goes
//! altogether becomes a ghost itself, without copying. So the row keeps the order of the cut through all splits and
//! removals, and nothing needs numbering. Ghosts at either end of the row are put aside (`Walk::head`, `Walk::tail`),
//! which keeps the ends live and pushes and pops quick; order among ghosts and unwalked nodes is all that counts, and it
//! is kept. The memory that a walk takes is what writes made it keep (`Quicklist::walk_kept_bytes`): at most the list
//! as it was; a caller that sees it rise takes longer steps.
//!
//! Invariants, verified by `Quicklist::check`: no chunk is empty or too long; counts are right; the first and the last
//! node of the row have elements; ghosts exist during a walk only; nothing unwalked stands before `Walk::chunk`.

mod write;

use std::collections::VecDeque;

use super::listpack::{self, Item, Listpack, Needle};

/// Nodes in a chunk; few in tests, so that chunks part and join all the time.
const CHUNK_MAX: usize = if cfg!(test) { 8 } else { 128 };
/// What Redis adds to an element's size when it asks whether a node has room (its own estimate of the overhead).
const ENTRY_OVERHEAD: usize = 8;
/// Bytes in a node when the limit is a number of entries.
const SAFE_BYTES: usize = 8192;

/// How big a node may be: `list-max-listpack-size`. Positive: that many entries (and 8 KiB); -1 to -5: 4 to 64 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fill(i16);

impl Fill {
    /// The directive's value. As in Redis, what lies outside -5 to 32767 is taken for the nearest, and 0 for 1.
    pub fn new(value: i64) -> Self {
        Self(match value {
            0 => 1,
            value => value.clamp(-5, i16::MAX.into()) as i16,
        })
    }

    /// The most bytes and the most entries; one of them is unbounded.
    pub fn limits(self) -> (usize, usize) {
        if self.0 > 0 {
            (usize::MAX, self.0 as usize)
        } else {
            (4096 << (-1 - self.0), usize::MAX)
        }
    }

    /// Whether a node of so many bytes and entries would be too big.
    pub fn exceeded_by(self, bytes: usize, entries: usize) -> bool {
        match self.limits() {
            (usize::MAX, entries_max) => entries > entries_max || bytes > SAFE_BYTES,
            (bytes_max, _) => bytes > bytes_max,
        }
    }

    /// Whether an element of so many bytes gets a node of its own.
    fn is_large(self, bytes: usize) -> bool {
        match self.limits() {
            (usize::MAX, _) => bytes > SAFE_BYTES,
            (bytes_max, _) => bytes > bytes_max,
        }
    }
}

/// One end of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The left one: LPUSH, LPOP.
    Head,
    /// The right one.
    Tail,
}

/// What a node holds. Another kind (compressed, say) would be a further variant.
#[derive(Clone)]
enum Body {
    Packed(Listpack),
    Plain(Box<[u8]>),
}

impl Body {
    fn of(element: &[u8], fill: Fill) -> Self {
        if fill.is_large(element.len()) {
            return Self::Plain(element.into());
        }
        let mut pack = Listpack::new();
        pack.push_back(element);
        Self::Packed(pack)
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Packed(pack) => pack.byte_len(),
            Self::Plain(element) => element.len(),
        }
    }
}

#[derive(Clone)]
struct Node {
    body: Body,
    /// Elements; 0 makes it a ghost.
    count: u32,
    /// The walk that has passed this node, or during or after which it was made. 2^32 walks come round too late to
    /// matter: 136 years at one a second.
    stamp: u32,
}

impl Node {
    fn is_ghost(&self) -> bool {
        self.count == 0
    }

    fn has_room(&self, element: usize, fill: Fill) -> bool {
        match &self.body {
            Body::Packed(pack) if !self.is_ghost() && !fill.is_large(element) => !fill.exceeded_by(
                pack.byte_len() + element + ENTRY_OVERHEAD,
                self.count as usize + 1,
            ),
            _ => false,
        }
    }

    fn item(&self, offset: usize) -> Item<'_> {
        match &self.body {
            Body::Packed(pack) => pack.get(offset as i64).expect("an offset below the count"),
            Body::Plain(element) => Item::Bytes(element),
        }
    }
}

#[derive(Clone)]
struct Chunk {
    nodes: Vec<Node>,
    /// Elements in all nodes.
    elements: usize,
}

/// The place of a node in the row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct At {
    chunk: usize,
    node: usize,
}

/// A node as it was at the cut.
pub enum Walked<'a> {
    /// Many elements.
    Packed(&'a Listpack),
    /// One big element.
    Plain(&'a [u8]),
}

struct Walk {
    /// Everything before this chunk has been walked.
    chunk: usize,
    /// Ghosts that stood at the head of the row, first in order.
    head: VecDeque<Node>,
    /// Ghosts that stood at its tail, last in order.
    tail: VecDeque<Node>,
    kept_bytes: usize,
    cancelled: bool,
}

/// What was taken out of a list and waits to be freed; dropping it frees the rest at once.
#[derive(Default)]
pub struct Remains {
    chunks: Vec<Chunk>,
}

impl Remains {
    /// Frees some `nodes` nodes; true when nothing is left.
    pub fn drain_some(&mut self, nodes: usize) -> bool {
        let mut left = nodes;
        while let Some(chunk) = self.chunks.last_mut() {
            let taken = left.min(chunk.nodes.len());
            chunk.nodes.truncate(chunk.nodes.len() - taken);
            if !chunk.nodes.is_empty() {
                return false;
            }
            left -= taken;
            self.chunks.pop();
        }
        true
    }

    /// Nodes still to be freed.
    pub fn nodes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.nodes.len()).sum()
    }

    fn keep(&mut self, node: Node) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.nodes.len() < CHUNK_MAX => chunk.nodes.push(node),
            _ => self.chunks.push(Chunk {
                nodes: vec![node],
                elements: 0,
            }),
        }
    }
}

/// A quicklist; see the head of the file.
#[derive(Default)]
pub struct Quicklist {
    chunks: VecDeque<Chunk>,
    len: usize,
    /// Nodes with elements.
    nodes: usize,
    /// The number of the last walk.
    epoch: u32,
    walk: Option<Box<Walk>>,
}

impl Clone for Quicklist {
    /// The elements; a walk stays with the original.
    fn clone(&self) -> Self {
        let mut copy = Self::default();
        for chunk in &self.chunks {
            for node in chunk.nodes.iter().filter(|node| !node.is_ghost()) {
                copy.append_node(Node {
                    stamp: 0,
                    ..node.clone()
                });
            }
        }
        copy
    }
}

impl Quicklist {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Bytes on the heap, scaled up from the first `samples` nodes (0: all of them): MEMORY USAGE.
    pub fn allocated(&self, samples: usize) -> usize {
        let limit = if samples == 0 { usize::MAX } else { samples };
        let (mut bytes, mut seen) = (0, 0);
        for node in self.live_nodes().take(limit) {
            bytes += match &node.body {
                Body::Packed(pack) => pack.allocated(),
                Body::Plain(element) => element.len(),
            };
            seen += 1;
        }
        let of_nodes = (bytes as u128 * self.nodes as u128)
            .checked_div(seen)
            .unwrap_or(0) as usize;
        of_nodes
            + self.nodes * size_of::<Node>()
            + self.chunks.capacity() * size_of::<Chunk>()
            + size_of::<Self>()
    }

    /// The nodes in order, for whoever writes the list as it is now.
    pub fn walk_now(&self) -> impl Iterator<Item = Walked<'_>> {
        self.live_nodes().map(|node| match &node.body {
            Body::Packed(pack) => Walked::Packed(pack),
            Body::Plain(element) => Walked::Plain(element),
        })
    }

    fn live_nodes(&self) -> impl Iterator<Item = &Node> {
        self.chunks
            .iter()
            .flat_map(|chunk| &chunk.nodes)
            .filter(|node| !node.is_ghost())
    }

    /// Appends a listpack as a node of its own, as loading does. An empty one is left out.
    pub fn append_listpack(&mut self, pack: Listpack) {
        let count = u32::try_from(pack.len()).expect("a listpack below 4 GiB");
        if count > 0 {
            self.append_node(Node {
                body: Body::Packed(pack),
                count,
                stamp: self.epoch,
            });
        }
    }

    /// Appends an element as a node of its own, as loading does.
    pub fn append_plain(&mut self, element: Box<[u8]>) {
        self.append_node(Node {
            body: Body::Plain(element),
            count: 1,
            stamp: self.epoch,
        });
    }

    /// The only node's listpack, if there is one node and it is one.
    #[inline]
    pub fn sole_listpack(&self) -> Option<&Listpack> {
        if self.nodes != 1 {
            return None;
        }
        match &self.live_nodes().next()?.body {
            Body::Packed(pack) => Some(pack),
            Body::Plain(_) => None,
        }
    }

    /// Takes the [sole listpack](Quicklist::sole_listpack) out and leaves the list empty. None during a walk, which
    /// still needs the list.
    pub fn take_sole_listpack(&mut self) -> Option<Listpack> {
        if self.walk.is_some() || self.nodes != 1 {
            return None;
        }
        let node = self.chunks.front_mut()?.nodes.pop()?;
        match node.body {
            Body::Packed(pack) => {
                *self = Self {
                    epoch: self.epoch,
                    ..Self::default()
                };
                Some(pack)
            }
            Body::Plain(_) => {
                self.chunks[0].nodes.push(node);
                None
            }
        }
    }

    // Places.

    fn node(&self, at: At) -> &Node {
        &self.chunks[at.chunk].nodes[at.node]
    }

    fn node_mut(&mut self, at: At) -> &mut Node {
        &mut self.chunks[at.chunk].nodes[at.node]
    }

    fn end_place(&self, end: End) -> Option<At> {
        match end {
            End::Head => (!self.chunks.is_empty()).then_some(At { chunk: 0, node: 0 }),
            End::Tail => {
                let chunk = self.chunks.len().checked_sub(1)?;
                Some(At {
                    chunk,
                    node: self.chunks[chunk].nodes.len() - 1,
                })
            }
        }
    }

    /// The place behind `at`, ghost or not. A place behind the last node of a chunk is understood as well.
    fn next_place(&self, at: At) -> Option<At> {
        let next = At {
            node: at.node + 1,
            ..at
        };
        self.valid_place(next)
    }

    /// `at`, or the start of the next chunk if it lies behind the last node of its own.
    fn valid_place(&self, at: At) -> Option<At> {
        let chunk = self.chunks.get(at.chunk)?;
        if at.node < chunk.nodes.len() {
            return Some(at);
        }
        let next = At {
            chunk: at.chunk + 1,
            node: 0,
        };
        (next.chunk < self.chunks.len()).then_some(next)
    }

    fn place_before(&self, at: At) -> Option<At> {
        if at.node > 0 {
            return Some(At {
                node: at.node - 1,
                ..at
            });
        }
        let chunk = at.chunk.checked_sub(1)?;
        Some(At {
            chunk,
            node: self.chunks[chunk].nodes.len() - 1,
        })
    }

    fn live_neighbour(&self, at: At, towards: End) -> Option<At> {
        let mut at = at;
        loop {
            at = match towards {
                End::Head => self.place_before(at)?,
                End::Tail => self.next_place(at)?,
            };
            if !self.node(at).is_ghost() {
                return Some(at);
            }
        }
    }

    /// Where the element with this index is: its node and its offset in there.
    fn locate(&self, index: usize) -> Option<(At, usize)> {
        if index >= self.len {
            return None;
        }
        let (mut chunk, mut before) = if index < self.len / 2 {
            (0, 0)
        } else {
            (
                self.chunks.len() - 1,
                self.len - self.chunks.back()?.elements,
            )
        };
        while index < before {
            chunk -= 1;
            before -= self.chunks[chunk].elements;
        }
        while index >= before + self.chunks[chunk].elements {
            before += self.chunks[chunk].elements;
            chunk += 1;
        }
        for (node, held) in self.chunks[chunk].nodes.iter().enumerate() {
            let count = held.count as usize;
            if index < before + count {
                return Some((At { chunk, node }, index - before));
            }
            before += count;
        }
        unreachable!("a chunk with fewer elements than it counts")
    }

    /// What a client's index means: negative ones count from the last (-1). None if out of range.
    pub fn resolve(&self, index: i64) -> Option<usize> {
        resolve(index, self.len)
    }

    // Reading.

    /// The element with this index.
    pub fn get(&self, index: usize) -> Option<Item<'_>> {
        let (at, offset) = self.locate(index)?;
        Some(self.node(at).item(offset))
    }

    /// All elements, head to tail.
    pub fn iter(&self) -> Iter<'_> {
        self.iter_from(0, End::Tail)
    }

    /// The elements from `index` (included) towards an end. Out of range: none.
    pub fn iter_from(&self, index: usize, towards: End) -> Iter<'_> {
        let Some((at, offset)) = self.locate(index) else {
            return Iter {
                list: self,
                at: None,
                entries: Entries::Plain(None),
                towards,
            };
        };
        let entries = match &self.node(at).body {
            Body::Packed(pack) => {
                let pos = pack.seek(offset as i64).expect("an offset below the count");
                Entries::Packed(match towards {
                    End::Tail => pack.iter_from(pos),
                    End::Head => pack.iter_to(pack.after(pos)),
                })
            }
            Body::Plain(element) => Entries::Plain(Some(element)),
        };
        Iter {
            list: self,
            at: Some(at),
            entries,
            towards,
        }
    }

    /// Where the first element equal to `element` is, from the head.
    fn find(&self, element: &[u8]) -> Option<(At, usize)> {
        let needle = Needle::new(element);
        for (chunk, held) in self.chunks.iter().enumerate() {
            for (node, held) in held.nodes.iter().enumerate() {
                let offset = match &held.body {
                    _ if held.is_ghost() => None,
                    Body::Packed(pack) => pack
                        .find(&needle, pack.first(), 0)
                        .map(|pos| pack.iter_to(pos).count()),
                    Body::Plain(own) => (**own == *element).then_some(0),
                };
                if let Some(offset) = offset {
                    return Some((At { chunk, node }, offset));
                }
            }
        }
        None
    }

    // The row. These keep the counts and the walk's place right and know nothing of elements.

    fn insert_chunk(&mut self, index: usize, chunk: Chunk) {
        self.chunks.insert(index, chunk);
        if let Some(walk) = &mut self.walk
            && index < walk.chunk
        {
            walk.chunk += 1;
        }
    }

    fn remove_chunk(&mut self, index: usize) -> Chunk {
        if let Some(walk) = &mut self.walk
            && index < walk.chunk
        {
            walk.chunk -= 1;
        }
        self.chunks.remove(index).expect("the index of a chunk")
    }

    fn append_node(&mut self, node: Node) -> At {
        let end = match self.end_place(End::Tail) {
            Some(last) => At {
                node: last.node + 1,
                ..last
            },
            None => At { chunk: 0, node: 0 },
        };
        self.insert_node(end, node)
    }

    /// Puts a node before the one at `at`, which may lie behind the last node of its chunk. Returns the new one's place.
    fn insert_node(&mut self, at: At, node: Node) -> At {
        let (mut at, count) = (at, node.count as usize);
        let chunks = self.chunks.len();
        if chunks == 0 || self.chunks[at.chunk].nodes.len() == CHUNK_MAX {
            let fresh = Chunk {
                nodes: Vec::new(),
                elements: 0,
            };
            if chunks == 0 || at == (At { chunk: 0, node: 0 }) {
                self.insert_chunk(0, fresh);
                at = At { chunk: 0, node: 0 };
            } else if at
                == (At {
                    chunk: chunks - 1,
                    node: CHUNK_MAX,
                })
            {
                self.insert_chunk(chunks, fresh);
                at = At {
                    chunk: chunks,
                    node: 0,
                };
            } else {
                at = self.halve_chunk(at);
            }
        }
        let chunk = &mut self.chunks[at.chunk];
        chunk.nodes.insert(at.node, node);
        chunk.elements += count;
        self.len += count;
        self.nodes += usize::from(count > 0);
        at
    }

    /// Makes two chunks of the full one at `at` and returns what `at` has become.
    fn halve_chunk(&mut self, at: At) -> At {
        let chunk = &mut self.chunks[at.chunk];
        let nodes = chunk.nodes.split_off(CHUNK_MAX / 2);
        let elements = nodes.iter().map(|node| node.count as usize).sum();
        chunk.elements -= elements;
        self.insert_chunk(at.chunk + 1, Chunk { nodes, elements });
        if at.node <= CHUNK_MAX / 2 {
            at
        } else {
            At {
                chunk: at.chunk + 1,
                node: at.node - CHUNK_MAX / 2,
            }
        }
    }

    /// Joins the chunk at `index` with the next one when both together would be at most half full.
    fn join_chunks(&mut self, index: usize) {
        let sizes = |i: usize| self.chunks.get(i).map(|chunk| chunk.nodes.len());
        if let (Some(own), Some(next)) = (sizes(index), sizes(index + 1))
            && own + next <= CHUNK_MAX / 2
        {
            let walk_is_there = self
                .walk
                .as_ref()
                .is_some_and(|walk| walk.chunk == index + 1);
            let next = self.remove_chunk(index + 1);
            let own = &mut self.chunks[index];
            own.nodes.extend(next.nodes);
            own.elements += next.elements;
            if let Some(walk) = &mut self.walk
                && walk_is_there
            {
                walk.chunk = index; // what it has yet to see is in this chunk now
            }
        }
    }

    /// Whether the node has been there at the cut of a walk that has not passed it.
    fn is_unwalked(&self, at: At) -> bool {
        self.walk.as_ref().is_some_and(|walk| !walk.cancelled) && self.node(at).stamp != self.epoch
    }

    /// Must be called before the content of a node changes; returns what its place has become.
    fn before_write(&mut self, at: At) -> At {
        if !self.is_unwalked(at) {
            return at;
        }
        let epoch = self.epoch;
        let node = self.node_mut(at);
        node.stamp = epoch;
        let ghost = Node {
            count: 0,
            ..node.clone()
        };
        if let Some(walk) = &mut self.walk {
            walk.kept_bytes += ghost.body.bytes();
            if at == (At { chunk: 0, node: 0 }) {
                walk.head.push_back(ghost); // the row begins with a live node
                return at;
            }
        }
        let ghost = self.insert_node(at, ghost);
        self.next_place(ghost).expect("the node behind its ghost")
    }

    /// Takes a node with its elements out of the row, into `remains` or, if it is unwalked, by making it a ghost. Returns
    /// the place where the row goes on, which may lie behind the last node of a chunk or of all. The caller
    /// [settles](Quicklist::settle) the row in the end.
    fn remove_node(&mut self, at: At, remains: &mut Remains) -> At {
        let unwalked = self.is_unwalked(at);
        let epoch = self.epoch;
        let chunk = &mut self.chunks[at.chunk];
        let node = &mut chunk.nodes[at.node];
        let count = node.count as usize;
        chunk.elements -= count;
        self.len -= count;
        self.nodes -= 1;
        if unwalked {
            node.count = 0;
            node.stamp = epoch;
            if let Some(walk) = &mut self.walk {
                walk.kept_bytes += node.body.bytes();
            }
            return At {
                node: at.node + 1,
                ..at
            };
        }
        remains.keep(chunk.nodes.remove(at.node));
        if self.chunks[at.chunk].nodes.is_empty() {
            self.remove_chunk(at.chunk);
            return At { node: 0, ..at };
        }
        at
    }

    /// Ends an operation that removed nodes around `chunk`: puts ghosts at the ends aside and joins sparse chunks.
    fn settle(&mut self, chunk: usize) {
        if let Some(mut walk) = self.walk.take() {
            while let Some(first) = self.chunks.front_mut()
                && first.nodes[0].is_ghost()
            {
                walk.head.push_back(first.nodes.remove(0));
                if first.nodes.is_empty() {
                    self.chunks.pop_front();
                    walk.chunk = walk.chunk.saturating_sub(1);
                }
            }
            while let Some(last) = self.chunks.back_mut()
                && let Some(ghost) = last.nodes.pop_if(|node| node.is_ghost())
            {
                walk.tail.push_front(ghost);
                if last.nodes.is_empty() {
                    self.chunks.pop_back();
                    walk.chunk = walk.chunk.min(self.chunks.len());
                }
            }
            self.walk = Some(walk);
        }
        self.join_chunks(chunk);
        if chunk > 0 {
            self.join_chunks(chunk - 1);
        }
    }

    /// The whole list as remains, to be freed in steps. What a walk kept goes with it.
    pub fn into_remains(self) -> Remains {
        let mut remains = Remains {
            chunks: self.chunks.into(),
        };
        if let Some(walk) = self.walk {
            walk.head
                .into_iter()
                .chain(walk.tail)
                .for_each(|ghost| remains.keep(ghost));
        }
        remains
    }

    // The walk.

    /// Fixes a cut: the walk will hand over the list as it is now, in [`Quicklist::nodes`] nodes.
    ///
    /// # Panics
    /// If a walk is under way.
    pub fn begin_walk(&mut self) {
        assert!(self.walk.is_none(), "one walk at a time");
        self.epoch = self.epoch.wrapping_add(1);
        self.walk = Some(Box::new(Walk {
            chunk: 0,
            head: VecDeque::new(),
            tail: VecDeque::new(),
            kept_bytes: 0,
            cancelled: false,
        }));
    }

    /// Whether a walk is under way.
    pub fn is_walking(&self) -> bool {
        self.walk.is_some()
    }

    /// Bytes that are kept only because a walk has yet to see them.
    pub fn walk_kept_bytes(&self) -> usize {
        self.walk.as_ref().map_or(0, |walk| walk.kept_bytes)
    }

    /// Gives a walk up: writes keep nothing for it from now on. What was kept goes in the steps that must still be made
    /// until one says that the walk is over; they show nothing.
    pub fn cancel_walk(&mut self) {
        if let Some(walk) = &mut self.walk {
            walk.cancelled = true;
        }
    }

    /// Hands over the next nodes of the cut, in order, until at least `bytes` bytes have passed. True when the walk is
    /// over (or none was under way).
    pub fn walk_step(&mut self, bytes: usize, mut visit: impl FnMut(Walked<'_>)) -> bool {
        let Some(mut walk) = self.walk.take() else {
            return true;
        };
        let (mut passed, silent) = (0, walk.cancelled);
        let mut show = |body: &Body| {
            passed += body.bytes();
            match body {
                _ if silent => {}
                Body::Packed(pack) => visit(Walked::Packed(pack)),
                Body::Plain(element) => visit(Walked::Plain(element)),
            }
            passed < bytes
        };
        let mut go_on = true;
        while go_on {
            if let Some(ghost) = walk.head.pop_front() {
                walk.kept_bytes -= ghost.body.bytes();
                go_on = show(&ghost.body);
            } else if let Some(chunk) = self.chunks.get_mut(walk.chunk) {
                let mut at = 0;
                while go_on && at < chunk.nodes.len() {
                    let node = &mut chunk.nodes[at];
                    if node.is_ghost() {
                        let ghost = chunk.nodes.remove(at);
                        walk.kept_bytes -= ghost.body.bytes();
                        go_on = show(&ghost.body);
                        continue;
                    }
                    if node.stamp != self.epoch {
                        node.stamp = self.epoch;
                        go_on = show(&node.body);
                    }
                    at += 1;
                }
                if chunk.nodes.is_empty() {
                    self.chunks.remove(walk.chunk);
                } else if at == chunk.nodes.len() {
                    walk.chunk += 1;
                }
            } else if let Some(ghost) = walk.tail.pop_front() {
                walk.kept_bytes -= ghost.body.bytes();
                go_on = show(&ghost.body);
            } else {
                assert_eq!(walk.kept_bytes, 0, "all that was kept has passed");
                return true;
            }
        }
        self.walk = Some(walk);
        false
    }

    /// Verifies everything that is said at the head of the file.
    ///
    /// # Panics
    /// If something is not so.
    pub fn check(&self) {
        let (mut len, mut nodes, mut kept) = (0, 0, 0);
        for (index, chunk) in self.chunks.iter().enumerate() {
            assert!(
                (1..=CHUNK_MAX).contains(&chunk.nodes.len()),
                "the size of a chunk"
            );
            let elements: usize = chunk.nodes.iter().map(|node| node.count as usize).sum();
            assert_eq!(elements, chunk.elements, "the elements of a chunk");
            len += elements;
            for node in &chunk.nodes {
                nodes += usize::from(!node.is_ghost());
                match &node.body {
                    Body::Packed(pack) => {
                        pack.check();
                        assert!(node.is_ghost() || node.count as usize == pack.len());
                    }
                    Body::Plain(_) => assert!(node.count <= 1),
                }
                if node.is_ghost() {
                    assert!(self.walk.is_some(), "a ghost outside of a walk");
                    kept += node.body.bytes();
                }
                if let Some(walk) = &self.walk
                    && index < walk.chunk
                {
                    let walked = walk.cancelled || node.stamp == self.epoch;
                    assert!(!node.is_ghost() && walked, "unwalked behind the walk");
                }
            }
        }
        assert_eq!((len, nodes), (self.len, self.nodes));
        for end in [End::Head, End::Tail] {
            assert!(
                self.end_place(end)
                    .is_none_or(|at| !self.node(at).is_ghost())
            );
        }
        if let Some(walk) = &self.walk {
            assert!(walk.chunk <= self.chunks.len());
            let aside = walk.head.iter().chain(&walk.tail);
            kept += aside.map(|ghost| ghost.body.bytes()).sum::<usize>();
            assert_eq!(kept, walk.kept_bytes, "what a walk keeps");
        }
    }
}

/// What a client's index means in a list of `len` elements: negative ones count from the last (-1).
pub(super) fn resolve(index: i64, len: usize) -> Option<usize> {
    let from_head = if index < 0 { index + len as i64 } else { index };
    usize::try_from(from_head).ok().filter(|index| *index < len)
}

/// How many entries of a listpack are the needle.
pub(super) fn count_matches(pack: &Listpack, needle: &Needle<'_>) -> usize {
    let (mut from, mut matches) = (pack.first(), 0);
    while let Some(pos) = pack.find(needle, from, 0) {
        matches += 1;
        from = pack.after(pos);
    }
    matches
}

#[derive(Clone)]
enum Entries<'a> {
    Packed(listpack::Iter<'a>),
    Plain(Option<&'a [u8]>),
}

/// Elements of a quicklist from some index on, towards one end.
#[derive(Clone)]
pub struct Iter<'a> {
    list: &'a Quicklist,
    at: Option<At>,
    entries: Entries<'a>,
    towards: End,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        loop {
            let item = match (&mut self.entries, self.towards) {
                (Entries::Packed(entries), End::Tail) => entries.next(),
                (Entries::Packed(entries), End::Head) => entries.next_back(),
                (Entries::Plain(element), _) => element.take().map(Item::Bytes),
            };
            if item.is_some() {
                return item;
            }
            self.at = self.list.live_neighbour(self.at?, self.towards);
            self.entries = match &self.list.node(self.at?).body {
                Body::Packed(pack) => Entries::Packed(pack.iter()),
                Body::Plain(element) => Entries::Plain(Some(element)),
            };
        }
    }
}

#[cfg(test)]
mod tests;
