//! Writing to a quicklist: pushes and pops, insertion beside an element, removal by place and by value, and the joining of
//! nodes that have become small.

use super::*;

impl Quicklist {
    /// Pushes an element.
    pub fn push(&mut self, end: End, element: &[u8], fill: Fill) {
        if let Some(at) = self.end_place(end)
            && self.node(at).has_room(element.len(), fill)
        {
            self.put(at, end, element);
            return;
        }
        let node = Node {
            body: Body::of(element, fill),
            count: 1,
            stamp: self.epoch,
        };
        match end {
            End::Head => self.insert_node(At { chunk: 0, node: 0 }, node),
            End::Tail => self.append_node(node),
        };
    }

    /// Puts an element at one end of a packed node.
    fn put(&mut self, at: At, end: End, element: &[u8]) {
        let offset = match end {
            End::Head => 0,
            End::Tail => self.node(at).count as usize,
        };
        self.put_at(at, offset, element);
    }

    fn put_at(&mut self, at: At, offset: usize, element: &[u8]) {
        let at = self.before_write(at);
        let node = self.node_mut(at);
        let Body::Packed(pack) = &mut node.body else {
            unreachable!("only a packed node has room")
        };
        let pos = match offset {
            0 => pack.first(),
            offset if offset == node.count as usize => pack.end(),
            offset => pack.seek(offset as i64).expect("an offset below the count"),
        };
        pack.insert(pos, &Needle::new(element));
        node.count += 1;
        self.chunks[at.chunk].elements += 1;
        self.len += 1;
    }

    /// Shows an end's element to `take`, then removes it. None if the list is empty.
    pub fn pop<R>(&mut self, end: End, take: impl FnOnce(Item<'_>) -> R) -> Option<R> {
        let at = self.end_place(end)?;
        let node = self.node(at);
        let offset = match end {
            End::Head => 0,
            End::Tail => node.count as usize - 1,
        };
        let answer = take(node.item(offset));
        let chunk = self.remove_entries(at, offset, 1, &mut Remains::default());
        self.settle(chunk.chunk);
        Some(answer)
    }

    /// Removes entries of one node and returns the place where the row goes on behind them: the node itself unless it
    /// went.
    fn remove_entries(&mut self, at: At, offset: usize, n: usize, remains: &mut Remains) -> At {
        if n == self.node(at).count as usize {
            return self.remove_node(at, remains);
        }
        let at = self.before_write(at);
        let node = self.node_mut(at);
        let Body::Packed(pack) = &mut node.body else {
            unreachable!("a plain node has one element")
        };
        let removed = pack.remove_range(offset as i64, n);
        assert_eq!(removed, n, "a range within the node");
        self.lose(at, n);
        at
    }

    fn lose(&mut self, at: At, n: usize) {
        self.node_mut(at).count -= n as u32; // n is at most the count
        self.chunks[at.chunk].elements -= n;
        self.len -= n;
    }

    /// Replaces an element; false if there is none with this index.
    pub fn set(&mut self, index: usize, element: &[u8], fill: Fill) -> bool {
        let Some((at, offset)) = self.locate(index) else {
            return false;
        };
        let node = self.node(at);
        let fits = match &node.body {
            _ if node.count == 1 => false, // the whole body is replaced
            Body::Packed(pack) => {
                let grown = pack.byte_len() + element.len();
                let bytes = grown.saturating_sub(node.item(offset).text_len());
                !fill.is_large(element.len()) && !fill.exceeded_by(bytes, node.count as usize)
            }
            Body::Plain(_) => unreachable!("a plain node has one element"),
        };
        if node.count == 1 {
            let at = self.before_write(at);
            self.node_mut(at).body = Body::of(element, fill);
        } else if fits {
            let at = self.before_write(at);
            if let Body::Packed(pack) = &mut self.node_mut(at).body {
                let pos = pack.seek(offset as i64).expect("an offset below the count");
                pack.replace(pos, element);
            }
        } else {
            // Too much for its node, which parts here.
            let at = self.remove_entries(at, offset, 1, &mut Remains::default());
            self.insert_at(at, offset, element, fill);
        }
        true
    }

    /// Puts an element before or after the one with this index; false if there is none.
    pub fn insert(&mut self, index: usize, side: End, element: &[u8], fill: Fill) -> bool {
        let Some((at, offset)) = self.locate(index) else {
            return false;
        };
        self.insert_at(at, offset + usize::from(side == End::Tail), element, fill);
        true
    }

    /// Puts an element before ([`End::Head`]) or after the first one equal to `pivot`; false if there is none: LINSERT.
    pub fn insert_pivot(&mut self, pivot: &[u8], side: End, element: &[u8], fill: Fill) -> bool {
        let Some((at, offset)) = self.find(pivot) else {
            return false;
        };
        self.insert_at(at, offset + usize::from(side == End::Tail), element, fill);
        true
    }

    /// Inserts at an offset of a node, which may be its count.
    fn insert_at(&mut self, at: At, offset: usize, element: &[u8], fill: Fill) {
        let (size, count) = (element.len(), self.node(at).count as usize);
        if self.node(at).has_room(size, fill) {
            return self.put_at(at, offset, element);
        }
        let node = Node {
            body: Body::of(element, fill),
            count: 1,
            stamp: self.epoch,
        };
        if offset == 0 || offset == count {
            let (side, place) = if offset == 0 {
                (End::Head, at)
            } else {
                (
                    End::Tail,
                    At {
                        node: at.node + 1,
                        ..at
                    },
                )
            };
            match self.live_neighbour(at, side) {
                Some(next) if self.node(next).has_room(size, fill) => {
                    let inner = if side == End::Head {
                        End::Tail
                    } else {
                        End::Head
                    };
                    self.put(next, inner, element);
                }
                _ => {
                    self.insert_node(place, node);
                }
            }
            return;
        }
        // The node parts in two. The element goes into whichever part has room.
        let at = self.before_write(at);
        let Body::Packed(pack) = &mut self.node_mut(at).body else {
            unreachable!("a plain node has no inside")
        };
        let pos = pack.seek(offset as i64).expect("an offset below the count");
        let rest = Body::Packed(pack.split_off(pos));
        self.lose(at, count - offset);
        let right = Node {
            body: rest,
            count: (count - offset) as u32,
            stamp: self.epoch,
        };
        let (left_room, right_room) = (
            self.node(at).has_room(size, fill),
            right.has_room(size, fill),
        );
        let right = self.insert_node(
            At {
                node: at.node + 1,
                ..at
            },
            right,
        );
        if left_room {
            let left = self.place_before(right).expect("the left part");
            self.put(left, End::Tail, element);
            self.merge_after(right, fill);
        } else if right_room {
            self.put(right, End::Head, element);
            let left = self.place_before(right).expect("the left part");
            if let Some(before) = self.place_before(left) {
                self.merge_after(before, fill);
            }
        } else {
            self.insert_node(right, node);
        }
    }

    /// Merges a node with the next of its chunk when both may be written without keeping a copy for a walk and fit into
    /// one node. Otherwise repeated insertions in the middle would leave ever smaller parts behind.
    fn merge_after(&mut self, at: At, fill: Fill) {
        let next = At {
            node: at.node + 1,
            ..at
        };
        let nodes = &mut self.chunks[at.chunk].nodes;
        if next.node >= nodes.len() || self.walk.is_some() {
            return;
        }
        let count = nodes[at.node].count + nodes[next.node].count;
        let (left, right) = nodes.split_at_mut(next.node);
        let (Body::Packed(left), Body::Packed(right)) = (&mut left[at.node].body, &right[0].body)
        else {
            return;
        };
        let bytes = left.byte_len() + right.byte_len() - listpack::EMPTY_BYTES;
        if fill.exceeded_by(bytes, count as usize) {
            return;
        }
        left.append(right);
        nodes[at.node].count = count;
        nodes.remove(next.node);
        self.nodes -= 1;
    }

    /// Removes up to `n` elements from `index` on. What whole nodes held is in the remains.
    pub fn remove_range(&mut self, index: usize, n: usize) -> Remains {
        let mut remains = Remains::default();
        let mut left = n.min(self.len.saturating_sub(index));
        let Some((first, mut offset)) = self.locate(index) else {
            return remains;
        };
        let mut next = Some(first);
        let mut around = first.chunk;
        while left > 0 {
            let at = next.expect("as many elements as were counted");
            around = at.chunk;
            let chunk = &self.chunks[at.chunk];
            if at.node == 0 && offset == 0 && left >= chunk.elements && self.walk.is_none() {
                let chunk = self.remove_chunk(at.chunk);
                left -= chunk.elements;
                self.len -= chunk.elements;
                self.nodes -= chunk.nodes.len();
                remains.chunks.push(chunk);
                next = self.valid_place(at);
                continue;
            }
            let node = &chunk.nodes[at.node];
            if node.is_ghost() {
                next = self.next_place(at);
                continue;
            }
            let held = node.count as usize;
            let taken = left.min(held - offset);
            let place = self.remove_entries(at, offset, taken, &mut remains);
            around = place.chunk;
            left -= taken;
            // A node that lost its tail only is passed; one that lost its head ends the range.
            next = if taken == held {
                self.valid_place(place)
            } else {
                self.next_place(place)
            };
            offset = 0;
        }
        self.settle(around.min(self.chunks.len()));
        remains
    }

    /// Keeps the elements from `start` to `stop`, both included, or none if that is no range: LTRIM.
    pub fn trim(&mut self, start: usize, stop: usize) -> Remains {
        if start > stop || start >= self.len {
            return self.remove_range(0, self.len);
        }
        let mut remains = self.remove_range(stop.saturating_add(1), self.len);
        remains.chunks.extend(self.remove_range(0, start).chunks);
        remains
    }

    /// Removes up to `max` elements equal to `element`, beginning at an end: LREM. Returns how many went.
    pub fn remove_matching(&mut self, element: &[u8], from: End, max: usize) -> usize {
        let needle = Needle::new(element);
        let (mut removed, mut remains) = (0, Remains::default());
        let mut next = self.end_place(from);
        while let Some(at) = next
            && removed < max
        {
            let node = self.node(at);
            let matches = match &node.body {
                _ if node.is_ghost() => 0,
                Body::Packed(pack) => count_matches(pack, &needle),
                Body::Plain(own) => usize::from(**own == *element),
            };
            let taken = matches.min(max - removed);
            removed += taken;
            if taken > 0 && taken == node.count as usize {
                let before = self.place_before(at); // stays what it is
                let behind = self.remove_node(at, &mut remains);
                next = match from {
                    End::Head => self.valid_place(behind),
                    End::Tail => before,
                };
                continue;
            }
            let mut place = at;
            if taken > 0 {
                place = self.before_write(at);
                let passed = if from == End::Head {
                    0
                } else {
                    matches - taken
                };
                let mut seen = 0;
                if let Body::Packed(pack) = &mut self.node_mut(place).body {
                    pack.retain(|item| {
                        let hit = item.is(element);
                        seen += usize::from(hit);
                        !(hit && seen > passed && seen <= passed + taken)
                    });
                }
                self.lose(place, taken);
            }
            next = match from {
                End::Head => self.next_place(place),
                End::Tail => self.place_before(place),
            };
        }
        let around = next.map_or(self.chunks.len().saturating_sub(1), |at| at.chunk);
        self.settle(around);
        removed
    }
}
