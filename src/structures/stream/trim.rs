//! Shortening a stream from its low end: XTRIM and the same options of XADD.

use super::{Stream, StreamId};

/// How far to trim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrimTo {
    /// Until so many entries are left (MAXLEN).
    Length(u64),
    /// Until no entry is below this id (MINID).
    Id(StreamId),
}

impl Stream {
    /// Trims and returns how many entries went. `whole_nodes` takes nodes that can go as a whole and no part of one
    /// (`~`); a node that would bring the number beyond `limit` stays with all behind it (0: no limit).
    ///
    /// The nodes that went are moved into `gone`, a stream that is nothing but something to be freed.
    pub fn trim(&mut self, to: TrimTo, whole_nodes: bool, limit: u64, gone: &mut Stream) -> u64 {
        let mut trimmed = 0;
        while let Some((own, node)) = self.nodes.first() {
            if matches!(to, TrimTo::Length(length) if self.length <= length) {
                break;
            }
            let live = node.live();
            if limit > 0 && trimmed + live > limit {
                break;
            }
            let goes = match to {
                TrimTo::Length(length) => self.length - live >= length,
                TrimTo::Id(id) => node
                    .entries_back(own)
                    .next()
                    .is_none_or(|last| last.id < id),
            };
            if !goes {
                if !whole_nodes {
                    trimmed += self.trim_node(own, to);
                }
                break;
            }
            if let Some(node) = self.nodes.remove(own) {
                gone.nodes.insert(own, node);
            }
            self.length -= live;
            trimmed += live;
        }
        if trimmed > 0 || self.length == 0 {
            self.settle_first_id();
        }
        trimmed
    }

    /// Trims within the first node.
    fn trim_node(&mut self, own: StreamId, to: TrimTo) -> u64 {
        let mut length = self.length;
        let node = self.nodes.get_mut(own).expect("the first node is there");
        let trimmed = node.delete_while(own, |entry| {
            let goes = match to {
                TrimTo::Length(wanted) => length > wanted,
                TrimTo::Id(id) => entry.id < id,
            };
            if goes && !entry.is_deleted() {
                length -= 1;
            }
            goes
        });
        self.length -= trimmed;
        trimmed
    }
}
