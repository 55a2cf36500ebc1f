//! The quicklist against a deque of strings, with and without a walk under way.

use super::*;

struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound.max(1)
    }

    fn element(&mut self) -> Vec<u8> {
        match self.below(40) {
            0 => vec![b'L'; 9000 + self.below(2)], // above every byte limit used here
            1..4 => vec![b'm'; 1000 + self.below(3)],
            4..20 => self.below(12).to_string().into_bytes(),
            _ => format!("element-{}", self.below(20)).into_bytes(),
        }
    }
}

fn texts<'a>(items: impl Iterator<Item = Item<'a>>) -> Vec<Vec<u8>> {
    items.map(|item| item.to_vec()).collect()
}

fn show(node: Walked<'_>, out: &mut Vec<Vec<u8>>) {
    match node {
        Walked::Packed(pack) => out.extend(texts(pack.iter())),
        Walked::Plain(element) => out.push(element.to_vec()),
    }
}

/// One random write on the list and on its model. Growth or shrinking prevails as `grow` says.
fn write(
    list: &mut Quicklist,
    model: &mut Vec<Vec<u8>>,
    random: &mut Seeded,
    fill: Fill,
    grow: bool,
) {
    let element = random.element();
    let at = random.below(model.len());
    let side = [End::Head, End::Tail][random.below(2)];
    match random.below(if grow { 10 } else { 14 }) {
        0..3 => {
            list.push(side, &element, fill);
            model.insert(if side == End::Head { 0 } else { model.len() }, element);
        }
        3 => {
            assert_eq!(list.set(at, &element, fill), !model.is_empty());
            if let Some(old) = model.get_mut(at) {
                *old = element;
            }
        }
        4..6 => {
            assert_eq!(list.insert(at, side, &element, fill), !model.is_empty());
            if !model.is_empty() {
                model.insert(at + usize::from(side == End::Tail), element);
            }
        }
        6 => {
            let pivot = random.element();
            let found = model.iter().position(|e| *e == pivot);
            assert_eq!(
                list.insert_pivot(&pivot, side, &element, fill),
                found.is_some()
            );
            if let Some(at) = found {
                model.insert(at + usize::from(side == End::Tail), element);
            }
        }
        7 if random.below(4) == 0 => {
            let max = [1, 2, 5, usize::MAX][random.below(4)];
            let mut hits: Vec<usize> = (0..model.len()).filter(|i| model[*i] == element).collect();
            if side == End::Tail {
                hits.reverse();
            }
            hits.truncate(max);
            assert_eq!(list.remove_matching(&element, side, max), hits.len());
            let mut index = 0;
            model.retain(|_| {
                index += 1;
                !hits.contains(&(index - 1))
            });
        }
        8 | 9 => {
            let popped = list.pop(side, |item| item.to_vec());
            let expected = match side {
                End::Head if !model.is_empty() => Some(model.remove(0)),
                End::Head => None,
                End::Tail => model.pop(),
            };
            assert_eq!(popped, expected);
        }
        10 if random.below(8) == 0 => {
            let n = random.below(model.len() / 2 + 2);
            list.remove_range(at, n);
            let end = model.len().min(at + n);
            model.drain(at.min(end)..end);
        }
        11 if random.below(30) == 0 => {
            let stop = at + random.below(model.len() + 2);
            let mut remains = list.trim(at, stop);
            while !remains.drain_some(3) {}
            model.truncate(stop.saturating_add(1));
            model.drain(..at.min(model.len()));
        }
        12 => {
            if let Some(moved) = list.pop(End::Tail, |item| item.to_vec()) {
                list.push(End::Head, &moved, fill);
                model.rotate_right(1);
            }
        }
        _ => {}
    }
}

const FILLS: [i64; 6] = [1, 2, 5, 100, -1, -2];

#[test]
fn every_operation_equals_that_of_a_vector() {
    for seed in 0..60 {
        let mut random = Seeded(seed);
        let fill = Fill::new(FILLS[seed as usize % FILLS.len()]);
        let (mut list, mut model) = (Quicklist::new(), Vec::new());
        for step in 0..900 {
            write(
                &mut list,
                &mut model,
                &mut random,
                fill,
                step / 200 % 2 == 0,
            );
            assert_eq!(list.len(), model.len());
            if step % 16 == 0 {
                list.check();
                let at = random.below(model.len());
                assert_eq!(
                    list.get(at).map(|item| item.to_vec()).as_ref(),
                    model.get(at)
                );
                assert_eq!(texts(list.iter_from(at, End::Tail)), model[at..]);
                let mut back = texts(list.iter_from(at, End::Head));
                back.reverse();
                assert_eq!(back, model[..model.len().min(at + 1)]);
            }
        }
        list.check();
        assert_eq!(texts(list.iter()), model);
        list.clone().check();
        assert_eq!(texts(list.clone().iter()), model);
    }
}

#[test]
fn a_walk_shows_the_list_of_its_cut_in_order_whatever_is_written_meanwhile() {
    for seed in 0..240 {
        let mut random = Seeded(seed);
        let fill = Fill::new(FILLS[seed as usize % FILLS.len()]);
        let (mut list, mut model) = (Quicklist::new(), Vec::new());
        for _ in 0..6 {
            for _ in 0..random.below(400) {
                write(&mut list, &mut model, &mut random, fill, true);
            }
            list.begin_walk();
            let (cut, nodes) = (model.clone(), list.nodes());
            let (mut shown, mut shown_nodes) = (Vec::new(), 0);
            let writes = [0, 1, 5, 40][random.below(4)];
            let grow = random.below(2) == 0;
            loop {
                for _ in 0..writes {
                    write(&mut list, &mut model, &mut random, fill, grow);
                }
                list.check();
                if random.below(20) == 0 {
                    let left = random.below(3);
                    list.remove_range(left, model.len());
                    model.truncate(left);
                }
                let over = list.walk_step(random.below(3000), |node| {
                    shown_nodes += 1;
                    show(node, &mut shown);
                });
                if over {
                    break;
                }
            }
            assert_eq!(shown, cut);
            assert_eq!(shown_nodes, nodes);
            assert_eq!(list.walk_kept_bytes(), 0);
            list.check();
            assert_eq!(texts(list.iter()), model);
        }
    }
}

#[test]
fn a_cancelled_walk_leaves_nothing_behind() {
    for seed in 0..40 {
        let mut random = Seeded(seed);
        let fill = Fill::new(2);
        let (mut list, mut model) = (Quicklist::new(), Vec::new());
        for _ in 0..300 {
            write(&mut list, &mut model, &mut random, fill, true);
        }
        list.begin_walk();
        for _ in 0..60 {
            write(&mut list, &mut model, &mut random, fill, false);
            list.walk_step(50, |_| {});
        }
        list.cancel_walk();
        let kept = list.walk_kept_bytes();
        for _ in 0..60 {
            write(&mut list, &mut model, &mut random, fill, false);
            list.check();
        }
        assert_eq!(list.walk_kept_bytes(), kept);
        while !list.walk_step(100, |_| panic!("a cancelled walk shows nothing")) {
            list.check();
        }
        list.check();
        assert_eq!(texts(list.iter()), model);
    }
}

#[test]
fn a_list_that_vanishes_during_a_walk_is_walked_all_the_same() {
    let fill = Fill::new(3);
    for end in [End::Head, End::Tail] {
        let mut list = Quicklist::new();
        (0..500).for_each(|i: u32| list.push(End::Tail, i.to_string().as_bytes(), fill));
        list.begin_walk();
        let mut shown = Vec::new();
        list.walk_step(200, |node| show(node, &mut shown));
        while list.pop(end, |_| ()).is_some() {
            list.check();
        }
        assert!(list.is_empty() && list.walk_kept_bytes() > 0);
        list.push(End::Head, b"new", fill);
        while !list.walk_step(200, |node| show(node, &mut shown)) {}
        let all: Vec<Vec<u8>> = (0..500).map(|i: u32| i.to_string().into_bytes()).collect();
        assert_eq!(shown, all);
        assert_eq!(texts(list.iter()), [b"new"]);
    }
}

#[test]
fn remains_go_in_bounded_steps() {
    let mut list = Quicklist::new();
    (0..1000).for_each(|_| list.push(End::Tail, b"x", Fill::new(1)));
    let mut remains = list.trim(10, 19);
    assert_eq!((list.len(), remains.nodes()), (10, 990));
    let mut steps = 1;
    while !remains.drain_some(100) {
        steps += 1;
        assert_eq!(remains.nodes(), 990 - (steps - 1) * 100);
    }
    assert_eq!(steps, 10);
    list.begin_walk();
    list.pop(End::Head, |_| ());
    list.set(3, b"y", Fill::new(1));
    assert_eq!(list.into_remains().nodes(), 9 + 2);
}

#[test]
fn nodes_are_as_big_as_the_directive_says() {
    for (fill, nodes) in [(0, 1000), (1, 1000), (10, 100), (-9, 1), (-5, 1), (-1, 3)] {
        let mut list = Quicklist::new();
        (0..1000).for_each(|_| list.push(End::Tail, b"elements", Fill::new(fill)));
        assert_eq!(list.nodes(), nodes, "for {fill}");
    }
    // A number of entries does not lift the bound of 8 KiB; a big element stands alone.
    let mut list = Quicklist::new();
    (0..10).for_each(|_| list.push(End::Tail, &[b'x'; 4000], Fill::new(100)));
    assert_eq!(list.nodes(), 5);
    list.push(End::Head, &[b'x'; 8193], Fill::new(100));
    assert!(matches!(list.walk_now().next(), Some(Walked::Plain(_))));
}
