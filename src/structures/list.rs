//! The value of a list key: a listpack while it is small, a quicklist above.
//!
//! OBJECT ENCODING shows which one it is, so the passage follows Redis 7.2 exactly:
//! - Before elements are put in, the bytes of their texts and their number are added to what the listpack has; if that
//!   is too big for one node, the list becomes a quicklist *before* the command does anything. (Since the texts are
//!   counted without what encodes them, a listpack may end up a few bytes above the limit.)
//! - After elements went, or one was replaced, a quicklist of one listpack node becomes a listpack again if it takes no
//!   more than *half* of the limit; the gap keeps a list at the limit from passing to and fro.
//! - After loading, one within the limit itself does.
//!
//! One difference: while a walk is under way the quicklist stays one, because the walk has its place in it; the step
//! that ends the walk makes up for it.

use super::listpack::{self, Item, Listpack, Needle};
use super::quicklist::{self, End, Fill, Quicklist, Remains, Walked, count_matches, resolve};

/// A list; see the head of the file.
#[derive(Clone)]
pub enum List {
    /// Small: one listpack.
    Packed(Listpack),
    /// Bigger: nodes.
    Quick(Box<Quicklist>),
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl List {
    /// An empty list.
    pub fn new() -> Self {
        Self::Packed(Listpack::new())
    }

    /// What OBJECT ENCODING says.
    pub fn encoding_name(&self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Quick(_) => "quicklist",
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(pack) => pack.len(),
            Self::Quick(list) => list.len(),
        }
    }

    /// Whether there are no elements: the key goes then.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Packed(pack) => pack.is_empty(),
            Self::Quick(list) => list.is_empty(),
        }
    }

    /// What a client's index means: negative ones count from the last (-1). None if out of range.
    pub fn resolve(&self, index: i64) -> Option<usize> {
        resolve(index, self.len())
    }

    /// Bytes on the heap, scaled up from the first `samples` nodes (0: all of them): MEMORY USAGE.
    pub fn allocated(&self, samples: usize) -> usize {
        match self {
            Self::Packed(pack) => pack.allocated(),
            Self::Quick(list) => list.allocated(samples),
        }
    }

    // From one form to the other.

    /// Makes room for `count` elements of `bytes` bytes of text together; becomes a quicklist if that is too much for a
    /// listpack. To be called before any of them is put in.
    fn grow_for(&mut self, bytes: usize, count: usize, fill: Fill) {
        if let Self::Packed(pack) = self
            && fill.exceeded_by(pack.byte_len() + bytes, pack.len() + count)
        {
            let mut list = Quicklist::new();
            list.append_listpack(std::mem::take(pack));
            *self = Self::Quick(Box::new(list));
        }
    }

    fn shrink(&mut self, fill: Fill) {
        let (bytes, entries) = fill.limits();
        let halved = |limit: usize| {
            if limit == usize::MAX {
                limit
            } else {
                limit / 2
            }
        };
        self.pack_within(halved(bytes), halved(entries));
    }

    fn pack_within(&mut self, bytes_max: usize, entries_max: usize) {
        if let Self::Quick(list) = self
            && list
                .sole_listpack()
                .is_some_and(|pack| pack.byte_len() <= bytes_max && list.len() <= entries_max)
            && let Some(pack) = list.take_sole_listpack()
        {
            *self = Self::Packed(pack);
        }
    }

    /// The list that a loaded quicklist makes: a listpack if it is one within the limit.
    pub fn loaded(list: Quicklist, fill: Fill) -> Self {
        let (bytes_max, entries_max) = fill.limits();
        let mut list = Self::Quick(Box::new(list));
        list.pack_within(bytes_max, entries_max);
        list
    }

    // Reading.

    /// The element with this index.
    pub fn get(&self, index: usize) -> Option<Item<'_>> {
        match self {
            Self::Packed(pack) => pack.get(index.try_into().ok()?),
            Self::Quick(list) => list.get(index),
        }
    }

    /// The elements from `index` (included) towards an end. Out of range: none.
    pub fn iter_from(&self, index: usize, towards: End) -> Iter<'_> {
        match self {
            Self::Packed(pack) => {
                let pos = index.try_into().ok().and_then(|index| pack.seek(index));
                match (pos, towards) {
                    (None, _) => Iter::Forward(pack.iter_from(pack.end())),
                    (Some(pos), End::Tail) => Iter::Forward(pack.iter_from(pos)),
                    (Some(pos), End::Head) => Iter::Backward(pack.iter_to(pack.after(pos))),
                }
            }
            Self::Quick(list) => Iter::Quick(list.iter_from(index, towards)),
        }
    }

    /// All elements, head to tail.
    pub fn iter(&self) -> Iter<'_> {
        self.iter_from(0, End::Tail)
    }

    /// The indexes of the elements equal to `element`, from one end to the other, among the first `compared` looked at
    /// (0: all): LPOS, whose RANK is `skip` and whose COUNT is `take`.
    pub fn positions<'a>(
        &'a self,
        element: &'a [u8],
        from: End,
        compared: usize,
    ) -> impl Iterator<Item = usize> + 'a {
        let len = self.len();
        let (start, towards) = match from {
            End::Head => (0, End::Tail),
            End::Tail => (len.saturating_sub(1), End::Head),
        };
        let compared = if compared == 0 { usize::MAX } else { compared };
        self.iter_from(start, towards)
            .take(compared)
            .enumerate()
            .filter(move |(_, item)| item.is(element))
            .map(move |(step, _)| match from {
                End::Head => step,
                End::Tail => len - 1 - step,
            })
    }

    // Writing.

    /// Pushes elements one after the other, as one LPUSH or RPUSH does.
    pub fn push_all<'a>(
        &mut self,
        end: End,
        elements: impl Iterator<Item = &'a [u8]> + Clone,
        fill: Fill,
    ) {
        let (bytes, count) = elements.clone().fold((0, 0), |(bytes, count), element| {
            (bytes + element.len(), count + 1)
        });
        self.grow_for(bytes, count, fill);
        for element in elements {
            match (&mut *self, end) {
                (Self::Packed(pack), End::Head) => pack.push_front(element),
                (Self::Packed(pack), End::Tail) => pack.push_back(element),
                (Self::Quick(list), end) => list.push(end, element, fill),
            }
        }
    }

    /// Pushes one element.
    pub fn push(&mut self, end: End, element: &[u8], fill: Fill) {
        self.push_all(end, std::iter::once(element), fill);
    }

    /// Shows an end's element to `take`, then removes it. None if the list is empty.
    pub fn pop<R>(&mut self, end: End, fill: Fill, take: impl FnOnce(Item<'_>) -> R) -> Option<R> {
        let answer = match self {
            Self::Packed(pack) => {
                let pos = match end {
                    End::Head => pack.seek(0),
                    End::Tail => pack.last(),
                }?;
                let answer = take(pack.at(pos));
                pack.remove(pos);
                answer
            }
            Self::Quick(list) => list.pop(end, take)?,
        };
        self.shrink(fill);
        Some(answer)
    }

    /// Replaces an element; false if there is none with this index: LSET. As in Redis, the attempt alone may make a
    /// quicklist of a listpack.
    pub fn set(&mut self, index: usize, element: &[u8], fill: Fill) -> bool {
        self.grow_for(element.len(), 1, fill);
        if index >= self.len() {
            return false;
        }
        match self {
            Self::Packed(pack) => {
                let pos = pack.seek(index as i64).expect("an index below the length");
                pack.replace(pos, element);
            }
            Self::Quick(list) => assert!(list.set(index, element, fill), "an index in range"),
        }
        self.shrink(fill);
        true
    }

    /// Puts an element before ([`End::Head`]) or after the first one equal to `pivot`; false if there is none: LINSERT.
    /// As in Redis, the attempt alone may make a quicklist of a listpack.
    pub fn insert_pivot(&mut self, pivot: &[u8], side: End, element: &[u8], fill: Fill) -> bool {
        self.grow_for(element.len(), 1, fill);
        match self {
            Self::Packed(pack) => {
                let Some(pos) = pack.find(&Needle::new(pivot), pack.first(), 0) else {
                    return false;
                };
                match side {
                    End::Head => pack.insert_before(pos, element),
                    End::Tail => {
                        pack.insert_after(pos, element);
                    }
                }
                true
            }
            Self::Quick(list) => list.insert_pivot(pivot, side, element, fill),
        }
    }

    /// Removes up to `n` elements from `index` on. What whole nodes held is in the remains.
    pub fn remove_range(&mut self, index: usize, n: usize, fill: Fill) -> Remains {
        let remains = match self {
            Self::Packed(pack) => {
                if let Ok(index) = i64::try_from(index) {
                    pack.remove_range(index, n);
                }
                Remains::default()
            }
            Self::Quick(list) => list.remove_range(index, n),
        };
        self.shrink(fill);
        remains
    }

    /// Keeps the elements from `start` to `stop`, both included, or none if that is no range: LTRIM.
    pub fn trim(&mut self, start: usize, stop: usize, fill: Fill) -> Remains {
        let remains = match self {
            Self::Packed(pack) => {
                let len = pack.len();
                if start > stop || start >= len {
                    pack.remove_range(0, len);
                } else {
                    pack.remove_range(stop.saturating_add(1).min(len) as i64, len);
                    pack.remove_range(0, start);
                }
                Remains::default()
            }
            Self::Quick(list) => list.trim(start, stop),
        };
        self.shrink(fill);
        remains
    }

    /// Removes elements equal to `element`: LREM with its `count`, of which a negative one begins at the tail and 0 means
    /// all. Returns how many went.
    pub fn remove_matching(&mut self, element: &[u8], count: i64, fill: Fill) -> usize {
        let from = if count < 0 { End::Tail } else { End::Head };
        let max = match count.unsigned_abs() {
            0 => usize::MAX,
            max => usize::try_from(max).unwrap_or(usize::MAX),
        };
        let removed = match self {
            Self::Packed(pack) => {
                let matches = count_matches(pack, &Needle::new(element));
                let taken = matches.min(max);
                if taken == 0 {
                    return 0;
                }
                let passed = if from == End::Head {
                    0
                } else {
                    matches - taken
                };
                let mut seen = 0;
                pack.retain(|item| {
                    let hit = item.is(element);
                    seen += usize::from(hit);
                    !(hit && seen > passed && seen <= passed + taken)
                })
            }
            Self::Quick(list) => list.remove_matching(element, from, max),
        };
        if removed > 0 {
            self.shrink(fill);
        }
        removed
    }

    /// The whole list, to be freed in steps.
    pub fn into_remains(self) -> Remains {
        match self {
            Self::Packed(_) => Remains::default(),
            Self::Quick(list) => list.into_remains(),
        }
    }

    // The walk.

    /// The nodes in order, for whoever writes the list as it is now.
    pub fn walk_now(&self) -> impl Iterator<Item = Walked<'_>> {
        let (pack, list) = match self {
            Self::Packed(pack) => (Some(pack), None),
            Self::Quick(list) => (None, Some(list)),
        };
        pack.map(Walked::Packed)
            .into_iter()
            .chain(list.into_iter().flat_map(|list| list.walk_now()))
    }

    /// [`Quicklist::walk_step`] for a list whose quicklist [began a walk](Quicklist::begin_walk). A listpack has none: it
    /// is small enough to be shown at once.
    pub fn walk_step(&mut self, bytes: usize, fill: Fill, visit: impl FnMut(Walked<'_>)) -> bool {
        let Self::Quick(list) = self else {
            return true;
        };
        let over = list.walk_step(bytes, visit);
        if over {
            self.shrink(fill);
        }
        over
    }

    /// Verifies the invariants of whichever form it is.
    ///
    /// # Panics
    /// If something is not so.
    pub fn check(&self) {
        match self {
            Self::Packed(pack) => pack.check(),
            Self::Quick(list) => list.check(),
        }
    }
}

/// Elements of a list from some index on, towards one end.
#[derive(Clone)]
pub enum Iter<'a> {
    /// Of a listpack, towards the tail.
    Forward(listpack::Iter<'a>),
    /// Of a listpack, towards the head.
    Backward(listpack::Iter<'a>),
    /// Of a quicklist.
    Quick(quicklist::Iter<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        match self {
            Self::Forward(entries) => entries.next(),
            Self::Backward(entries) => entries.next_back(),
            Self::Quick(elements) => elements.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(elements: &[&str], fill: Fill) -> List {
        let mut list = List::new();
        list.push_all(End::Tail, elements.iter().map(|e| e.as_bytes()), fill);
        list
    }

    fn texts(list: &List) -> Vec<String> {
        list.iter()
            .map(|item| String::from_utf8(item.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn a_value_is_two_words() {
        assert_eq!(size_of::<List>(), 16);
    }

    #[test]
    fn a_list_passes_the_limit_upwards_at_the_limit_and_downwards_at_half_of_it() {
        let fill = Fill::new(4);
        let mut list = of(&["a", "b", "c", "d"], fill);
        assert_eq!(list.encoding_name(), "listpack");
        list.push(End::Tail, b"e", fill);
        assert_eq!(list.encoding_name(), "quicklist");
        list.pop(End::Tail, fill, |_| ());
        list.pop(End::Head, fill, |_| ());
        assert_eq!((list.encoding_name(), list.len()), ("quicklist", 3));
        list.pop(End::Head, fill, |_| ());
        assert_eq!((list.encoding_name(), list.len()), ("listpack", 2));
        assert_eq!(texts(&list), ["c", "d"]);
    }

    #[test]
    fn one_push_of_too_many_elements_converts_before_the_first() {
        let list = of(&["a", "b", "c", "d", "e"], Fill::new(4));
        assert_eq!(list.encoding_name(), "quicklist");
        assert_eq!(list.len(), 5);
    }

    #[test]
    fn bytes_count_as_texts() {
        let fill = Fill::new(-1);
        let text = "x".repeat(4096 - listpack::EMPTY_BYTES);
        assert_eq!(of(&[&text], fill).encoding_name(), "listpack");
        assert_eq!(of(&[&text, "y"], fill).encoding_name(), "quicklist");
    }

    #[test]
    fn set_counts_the_new_element_on_top_and_may_pack_again() {
        let fill = Fill::new(2);
        let mut list = of(&["a", "b"], fill);
        assert!(list.set(0, b"z", fill));
        assert_eq!(
            (list.encoding_name(), texts(&list)),
            ("quicklist", vec!["z".into(), "b".into()])
        );
        let fill = Fill::new(-2);
        let mut list = of(&["a", &"x".repeat(9000)], fill);
        assert_eq!(list.encoding_name(), "quicklist");
        assert!(list.set(1, b"small", fill));
        assert!(!list.set(2, b"none", fill));
        assert_eq!(texts(&list), ["a", "small"]);
    }

    #[test]
    fn loading_packs_within_the_whole_limit() {
        let mut loaded = Quicklist::new();
        (0..4).for_each(|_| loaded.push(End::Tail, b"e", Fill::new(10)));
        let list = List::loaded(loaded.clone(), Fill::new(4));
        assert_eq!((list.encoding_name(), list.len()), ("listpack", 4));
        let list = List::loaded(loaded, Fill::new(3));
        assert_eq!((list.encoding_name(), list.len()), ("quicklist", 4));
    }

    #[test]
    fn positions_go_either_way_and_stop_after_enough_comparisons() {
        for fill in [Fill::new(100), Fill::new(2)] {
            let list = of(&["a", "1", "a", "b", "a"], fill);
            let find = |from, compared| list.positions(b"a", from, compared).collect::<Vec<_>>();
            assert_eq!(find(End::Head, 0), [0, 2, 4]);
            assert_eq!(find(End::Tail, 0), [4, 2, 0]);
            assert_eq!(find(End::Head, 3), [0, 2]);
            assert_eq!(find(End::Tail, 2), [4]);
            assert_eq!(list.positions(b"1", End::Head, 0).next(), Some(1));
        }
    }

    #[test]
    fn both_forms_answer_alike() {
        let mut seed = 3u64;
        let mut below = move |bound: usize| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) as usize % bound.max(1)
        };
        // The first never leaves its listpack, the others pass to and fro.
        let fills = [Fill::new(30_000), Fill::new(6), Fill::new(1)];
        let mut lists = [List::new(), List::new(), List::new()];
        for _ in 0..6000 {
            let (what, at, n) = (below(11), below(lists[0].len() + 1), below(5));
            let (element, pivot) = (below(9).to_string(), below(9).to_string());
            let side = [End::Head, End::Tail][below(2)];
            let lrem = [0, 1, -1, 2, -2][below(5)];
            let answers: Vec<_> = std::iter::zip(&mut lists, fills)
                .map(|(list, fill)| {
                    let answer = match what {
                        0..5 => {
                            list.push(side, element.as_bytes(), fill);
                            list.len()
                        }
                        5 => list.set(at, element.as_bytes(), fill).into(),
                        6 => list
                            .insert_pivot(pivot.as_bytes(), side, element.as_bytes(), fill)
                            .into(),
                        7 => {
                            list.remove_range(at, n, fill);
                            list.len()
                        }
                        8 if list.len() > 30 => {
                            list.trim(n, at, fill);
                            list.len()
                        }
                        9 if n == 0 => list.remove_matching(element.as_bytes(), lrem, fill),
                        _ => list.pop(side, fill, |item| item.text_len()).unwrap_or(0),
                    };
                    list.check();
                    let back: Vec<_> = list.iter_from(at, End::Head).map(|i| i.to_vec()).collect();
                    let forth: Vec<_> = list.iter_from(at, End::Tail).map(|i| i.to_vec()).collect();
                    (
                        answer,
                        list.get(at).map(|item| item.to_vec()),
                        back,
                        forth,
                        texts(list),
                    )
                })
                .collect();
            assert_eq!(answers[0], answers[1]);
            assert_eq!(answers[0], answers[2]);
        }
        assert_eq!(lists[0].encoding_name(), "listpack");
    }

    #[test]
    fn a_list_that_shrinks_during_a_walk_is_packed_when_it_ends() {
        let fill = Fill::new(4);
        let mut list = of(&["a", "b", "c", "d", "e"], fill);
        let List::Quick(quick) = &mut list else {
            panic!("five are too many for a listpack")
        };
        quick.begin_walk();
        list.trim(0, 0, fill);
        assert_eq!(list.encoding_name(), "quicklist");
        let mut seen = 0;
        let over = list.walk_step(usize::MAX, fill, |node| {
            seen += match node {
                Walked::Packed(pack) => pack.len(),
                Walked::Plain(_) => 1,
            }
        });
        assert!(over);
        assert_eq!((seen, list.encoding_name(), list.len()), (5, "listpack", 1));
    }
}
