//! Streams against a plain model, and what hostile bytes may not do.

use std::collections::BTreeMap;

use super::*;
use crate::structures::listpack::{Item, Listpack};

type Fields = Vec<Vec<u8>>;

fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

fn read(entry: &StreamEntry<'_>) -> (StreamId, Fields) {
    let fields = entry
        .pairs()
        .flat_map(|(name, value)| [name.to_vec(), value.to_vec()]);
    (entry.id, fields.collect())
}

fn add(stream: &mut Stream, id: StreamId, fields: &[Vec<u8>], limits: NodeLimits) {
    stream.append(id, fields.iter().map(|field| &field[..]), limits);
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A node that Redis 7.0 wrote: 474-55 {name: a}, 475-0 deleted, 475-1 {x: 1, y: 2}.
const REDIS_NODE: &str = "410000001800 0201 0101 0101 846e616d6505 0001 \
    0201 0001 0001 816102 0401 0301 0101 dfc902 816202 0401 \
    0001 0101 dfca02 0201 817802 0101 817902 0201 0801 ff";

fn redis_node_id() -> StreamId {
    StreamId::new(0x0163_8377_66ca, 0x37)
}

#[test]
fn the_same_entries_make_the_same_bytes_as_in_redis() {
    let mut stream = Stream::new();
    let own = redis_node_id();
    let limits = NodeLimits::new(4096, 100);
    let fields =
        |words: &[&str]| -> Fields { words.iter().map(|w| w.as_bytes().to_vec()).collect() };
    add(&mut stream, own, &fields(&["name", "a"]), limits);
    let (second, third) = (StreamId::new(own.ms + 1, 0), StreamId::new(own.ms + 1, 1));
    add(&mut stream, second, &fields(&["name", "b"]), limits);
    add(&mut stream, third, &fields(&["x", "1", "y", "2"]), limits);
    assert_eq!(stream.delete([second].into_iter()), 1);
    let nodes: Vec<(StreamId, &[u8])> = stream
        .nodes()
        .map(|(id, node)| (id, node.bytes()))
        .collect();
    assert_eq!(nodes, [(own, &unhex(REDIS_NODE)[..])]);
    assert_eq!(
        (stream.length(), stream.entries_added, stream.max_deleted_id),
        (2, 3, second)
    );

    let mut builder = StreamBuilder::new();
    builder.node(own, &unhex(REDIS_NODE)).unwrap();
    builder.numbers(2, third).unwrap();
    builder.history(second, 3);
    let again = builder.finish().unwrap();
    again.check();
    assert_eq!(again.first_id(), own);
    let entries: Vec<_> = again
        .range(StreamId::MIN, StreamId::MAX)
        .map(|e| read(&e))
        .collect();
    let expected = [
        (own, fields(&["name", "a"])),
        (third, fields(&["x", "1", "y", "2"])),
    ];
    assert_eq!(entries, expected);
}

#[test]
fn a_stream_equals_a_plain_ordered_map_under_random_use() {
    for round in 0..120 {
        let mut random = random(0x9E37_79B9 + round);
        let limits = NodeLimits::new(
            [4096, 120, 0][round as usize % 3],
            [100, 5, 0][round as usize / 3 % 3],
        );
        let mut stream = Stream::new();
        let mut model: BTreeMap<StreamId, Fields> = BTreeMap::new();
        let (mut added, mut last, mut max_deleted) = (0_u64, StreamId::MIN, StreamId::MIN);
        for _ in 0..400 {
            match random(12) {
                0..8 => {
                    last = StreamId::new(last.ms + random(3), last.seq);
                    last = if random(2) == 0 {
                        StreamId::new(last.ms + 1, random(4))
                    } else {
                        last.next().unwrap()
                    };
                    let fields: Fields = (0..1 + random(3))
                        .flat_map(|n| {
                            let name = if random(5) == 0 { random(300) } else { n };
                            let length = if random(20) == 0 { 300 } else { 8 };
                            let value = vec![b'v'; random(length) as usize];
                            let value = if random(3) == 0 {
                                random(1 << 40).to_string().into_bytes()
                            } else {
                                value
                            };
                            [name.to_string().into_bytes(), value]
                        })
                        .collect();
                    add(&mut stream, last, &fields, limits);
                    model.insert(last, fields);
                    added += 1;
                }
                8 | 9 => {
                    let ids: Vec<StreamId> = (0..random(4))
                        .map(|_| {
                            let at = random(model.len() as u64 + 1) as usize;
                            model.keys().nth(at).copied().unwrap_or(last)
                        })
                        .collect();
                    let mut expected = 0;
                    for id in &ids {
                        if model.remove(id).is_some() {
                            expected += 1;
                            max_deleted = max_deleted.max(*id);
                        }
                    }
                    assert_eq!(stream.delete(ids.into_iter()), expected);
                }
                10 if random(4) == 0 => {
                    let length = random(model.len() as u64 + 3);
                    let (before, whole) = (model.len() as u64, random(2) == 0);
                    let mut gone = Stream::new();
                    let trimmed = stream.trim(TrimTo::Length(length), whole, 0, &mut gone);
                    if !whole {
                        assert_eq!(trimmed, before.saturating_sub(length));
                    }
                    assert!(before - trimmed >= length.min(before));
                    (0..trimmed).for_each(|_| drop(model.pop_first()));
                }
                11 if random(4) == 0 => {
                    let at = random(model.len() as u64 + 1) as usize;
                    let id = model.keys().nth(at).copied().unwrap_or(last);
                    let whole = random(2) == 0;
                    let mut gone = Stream::new();
                    let trimmed = stream.trim(TrimTo::Id(id), whole, 0, &mut gone);
                    if !whole {
                        assert_eq!(trimmed, model.range(..id).count() as u64);
                    }
                    (0..trimmed).for_each(|_| drop(model.pop_first()));
                    assert!(
                        model
                            .first_key_value()
                            .is_none_or(|_| whole || model.keys().all(|k| *k >= id))
                    );
                }
                _ => {
                    let bound = |random: &mut dyn FnMut(u64) -> u64| {
                        StreamId::new(random(last.ms + 2), random(6))
                    };
                    let (start, end) = (bound(&mut random), bound(&mut random));
                    let found: Vec<_> = stream.range(start, end).map(|e| read(&e)).collect();
                    let mut back: Vec<_> =
                        stream.range_back(start, end).map(|e| read(&e)).collect();
                    back.reverse();
                    assert_eq!(found, back);
                    let expected: Vec<_> = if start <= end {
                        model
                            .range(start..=end)
                            .map(|(id, fields)| (*id, fields.clone()))
                            .collect()
                    } else {
                        Vec::new()
                    };
                    assert_eq!(found, expected);
                }
            }
            let first = model
                .first_key_value()
                .map_or(StreamId::MIN, |entry| *entry.0);
            let state = (
                stream.length(),
                stream.entries_added,
                stream.last_id,
                stream.first_id(),
                stream.max_deleted_id,
            );
            assert_eq!(state, (model.len() as u64, added, last, first, max_deleted));
            assert_eq!(
                stream.last_entry_id(),
                model.last_key_value().map(|entry| *entry.0)
            );
        }
        stream.check();
        let all: Vec<_> = stream
            .range(StreamId::MIN, StreamId::MAX)
            .map(|e| read(&e))
            .collect();
        assert!(all.into_iter().eq(model));
        let mut builder = StreamBuilder::new();
        for (id, node) in stream.nodes() {
            builder.node(id, node.bytes()).unwrap();
        }
        builder.numbers(stream.length(), stream.last_id).unwrap();
        builder.history(stream.max_deleted_id, stream.entries_added);
        let again = builder.finish().unwrap();
        assert_eq!(again.first_id(), stream.first_id());
        assert!(
            again
                .nodes()
                .map(|n| n.1.bytes())
                .eq(stream.nodes().map(|n| n.1.bytes()))
        );
    }
}

#[test]
fn a_group_equals_plain_maps_under_random_use() {
    let mut random = random(77);
    for _ in 0..40 {
        let mut group = Group::new(b"g", StreamId::MIN, READ_UNKNOWN);
        let mut model: BTreeMap<StreamId, (String, i64, u64)> = BTreeMap::new();
        for step in 0..600 {
            let id = StreamId::new(random(60), 0);
            let name = format!("c{}", random(5));
            match random(10) {
                0..5 => {
                    let place = group
                        .create_consumer(name.as_bytes(), step)
                        .unwrap_or_else(|place| place);
                    group.assign(id, place, step, 1);
                    model.insert(id, (name, step, 1));
                }
                5..8 => assert_eq!(group.acknowledge(id), model.remove(&id).is_some()),
                8 => {
                    group.deliver_again(id, step);
                    if let Some(pending) = model.get_mut(&id) {
                        *pending = (pending.0.clone(), step, pending.2 + 1);
                    }
                }
                _ if random(4) == 0 => {
                    let before = model.len();
                    model.retain(|_, pending| pending.0 != name);
                    let owned = group.delete_consumer(name.as_bytes());
                    assert_eq!(owned.unwrap_or(0), before - model.len());
                }
                _ => {}
            }
        }
        group.check();
        let all = group.pending_from(StreamId::MIN).map(|(id, pending)| {
            let owner = String::from_utf8_lossy(group.consumer(pending.owner()).name());
            (
                id,
                (
                    owner.into_owned(),
                    pending.delivery_time,
                    pending.deliveries,
                ),
            )
        });
        assert!(all.eq(model));
    }
}

/// What a snapshot holds of a group goes in and comes out; whatever contradicts itself is refused.
#[test]
fn a_group_is_taken_in_when_it_is_whole() {
    let (one, two) = (StreamId::new(1, 0), StreamId::new(2, 0));
    let build = |work: &dyn Fn(&mut GroupBuilder<'_>) -> Result<(), StreamError>| {
        let mut builder = StreamBuilder::new();
        builder.numbers(0, two)?;
        let mut group = builder.group(b"g", one, None)?;
        group.pending(one, 5, 3)?;
        work(&mut group)?;
        builder.finish()
    };
    let stream = build(&|group| {
        let place = group.consumer(b"c", 7, -1)?;
        group.own(place, one)
    })
    .unwrap();
    stream.check();
    let group = stream.group(b"g").unwrap();
    assert_eq!(
        group.pending(one).map(|p| (p.delivery_time, p.deliveries)),
        Some((5, 3))
    );
    let refused =
        |work: &dyn Fn(&mut GroupBuilder<'_>) -> Result<(), StreamError>| build(work).unwrap_err();
    assert_eq!(refused(&|_| Ok(())), StreamError::Unowned);
    assert_eq!(
        refused(&|group| group.pending(one, 0, 0)),
        StreamError::DuplicatePending
    );
    assert_eq!(
        refused(&|group| {
            let place = group.consumer(b"c", 7, -1)?;
            group.own(place, two)
        }),
        StreamError::UnknownPending
    );
    assert_eq!(
        refused(&|group| {
            let (c, d) = (group.consumer(b"c", 7, -1)?, group.consumer(b"d", 7, -1)?);
            group.own(c, one)?;
            group.own(d, one)
        }),
        StreamError::OwnedTwice
    );
    assert_eq!(
        refused(&|group| {
            group.consumer(b"c", 7, -1)?;
            group.consumer(b"c", 7, -1).map(drop)
        }),
        StreamError::DuplicateConsumer
    );
}

/// Nodes whose listpack is sound and whose items are anything: taken in or refused, and what is taken in can be used.
#[test]
fn a_node_of_arbitrary_items_is_refused_or_can_be_walked_both_ways() {
    let mut random = random(5);
    let (mut taken, own) = (0, redis_node_id());
    let sound = Listpack::from_bytes(&unhex(REDIS_NODE)).unwrap();
    for round in 0..40_000_u64 {
        let mut items: Vec<Vec<u8>> = sound.iter().map(|item| item.to_vec()).collect();
        for _ in 0..1 + random(3) {
            let at = random(items.len() as u64) as usize;
            match random(5) {
                0 => drop(items.remove(at)),
                1 => items.insert(at, random(4).to_string().into_bytes()),
                2 => items[at] = b"x".to_vec(),
                3 => {
                    items[at] = i64::MIN
                        .wrapping_add(random(u64::MAX) as i64)
                        .to_string()
                        .into_bytes()
                }
                _ => items[at] = random(4).to_string().into_bytes(),
            }
        }
        let pack: Listpack = items.iter().map(|item| Item::of(item)).collect();
        let mut bytes = pack.bytes().to_vec();
        if round % 4 == 0 {
            let at = random(bytes.len() as u64) as usize;
            bytes[at] = random(256) as u8;
        }
        let Ok(node) = Node::from_bytes(&bytes) else {
            continue;
        };
        taken += 1;
        let live = node.live();
        let mut builder = StreamBuilder::new();
        builder.node(own, &bytes).unwrap();
        builder
            .numbers(live, StreamId::new(u64::MAX - 5, 0))
            .unwrap();
        let mut stream = builder.finish().unwrap();
        let ids: Vec<StreamId> = node.entries(own).map(|entry| read(&entry).0).collect();
        let back: Vec<StreamId> = node.entries_back(own).map(|entry| read(&entry).0).collect();
        assert!(ids.iter().eq(back.iter().rev()));
        assert_eq!(ids.len() as u64, node.places());
        stream
            .range(StreamId::MIN, StreamId::MAX)
            .for_each(|entry| drop(read(&entry)));
        stream
            .range_back(StreamId::MIN, StreamId::MAX)
            .for_each(|entry| drop(read(&entry)));
        stream.delete(ids.into_iter());
        let limits = NodeLimits::new(4096, 100);
        let last = StreamId::new(u64::MAX - 4, 0);
        add(&mut stream, last, &[b"a".to_vec(), b"b".to_vec()], limits);
        stream.trim(TrimTo::Length(1), false, 0, &mut Stream::new());
        stream.trim(TrimTo::Id(StreamId::MAX), false, 0, &mut Stream::new());
        stream.trim(TrimTo::Length(0), false, 0, &mut Stream::new());
    }
    assert!(taken > 500, "{taken} were taken");
}

#[test]
fn a_big_stream_is_freed_in_steps() {
    let limits = NodeLimits::new(4096, 100);
    let mut stream = Stream::new();
    let mut group = Group::new(b"g", StreamId::MIN, 0);
    let place = group.create_consumer(b"c", 0).unwrap();
    for n in 1..=5000 {
        add(
            &mut stream,
            StreamId::new(n, 0),
            &[b"f".to_vec(), b"v".to_vec()],
            limits,
        );
        group.assign(StreamId::new(n, 0), place, 0, 1);
    }
    assert!(stream.put_group(Box::new(group)).is_ok());
    assert_eq!(stream.nodes_len(), 50);
    let weight = stream.weight();
    assert!(stream.allocated(0) > 5000 * 5 && stream.allocated(5) > 5000 * 5);
    let mut steps = 0;
    while !stream.drain_some(10) {
        steps += 1;
    }
    assert!(
        steps >= weight / 10,
        "{steps} steps for a weight of {weight}"
    );
}

#[test]
fn lag_is_told_where_it_follows_from_the_counts() {
    let limits = NodeLimits::new(4096, 100);
    let mut stream = Stream::new();
    let id = |n| StreamId::new(n, 0);
    for n in 1..=5 {
        add(&mut stream, id(n), &[b"f".to_vec(), b"v".to_vec()], limits);
    }
    let group = |last, read| Group::new(b"g", id(last), read);
    assert_eq!(stream.lag(&group(0, READ_UNKNOWN)), Some(5));
    assert_eq!(stream.lag(&group(1, READ_UNKNOWN)), Some(4));
    assert_eq!(stream.lag(&group(3, READ_UNKNOWN)), None);
    assert_eq!(stream.lag(&group(3, 3)), Some(2));
    assert_eq!(stream.lag(&group(5, READ_UNKNOWN)), Some(0));
    assert_eq!(stream.lag(&group(9, READ_UNKNOWN)), None);
    stream.delete([id(4)].into_iter());
    assert_eq!(stream.lag(&group(3, 3)), None);
    assert_eq!(stream.lag(&group(4, 4)), None);
    assert_eq!(stream.lag(&group(5, 5)), Some(0));
    // As in Redis the counter goes on by one past a gap that lies behind it.
    assert_eq!(stream.entries_read_after(3, id(5)), 4);
    assert_eq!(stream.entries_read_after(READ_UNKNOWN, id(5)), 5);
}

/// A whole stream as a walk gives it, in words.
fn walked(stream: &mut Stream, words: &mut Vec<String>, budget: usize) -> bool {
    stream.walk_step(budget, |part| {
        words.push(match part {
            Walked::Node(id, node) => format!("node {id} {:?}", node.bytes()),
            Walked::Pending(id, pending) => {
                format!(
                    "pending {id} {} {}",
                    pending.delivery_time, pending.deliveries
                )
            }
            other => format!("{other:?}"),
        });
    })
}

#[test]
fn a_walk_gives_the_stream_as_it_was_whatever_is_written_meanwhile() {
    let mut random = random(99);
    let limits = NodeLimits::new(4096, 4);
    let names: [&[u8]; 3] = [b"g0", b"g1", b"g2"];
    let consumers: [&[u8]; 3] = [b"a", b"b", b"c"];
    for _ in 0..250 {
        let mut stream = Stream::new();
        let step = |stream: &mut Stream, random: &mut dyn FnMut(u64) -> u64| {
            let id = StreamId::new(1 + random(stream.last_id.ms + 1), 0);
            let name = names[random(3) as usize];
            let consumer = consumers[random(3) as usize];
            match random(14) {
                0..4 => {
                    let id = StreamId::new(stream.last_id.ms + 1 + random(2), 0);
                    let value = random(1000).to_string().into_bytes();
                    add(stream, id, &[b"f".to_vec(), value], limits);
                }
                4 => drop(stream.delete([id].into_iter())),
                5 if random(4) == 0 => {
                    stream.trim(TrimTo::Id(id), random(2) == 0, 0, &mut Stream::new());
                }
                6 => {
                    let group = Group::new(name, id, random(5) as i64);
                    let _ = stream.put_group(Box::new(group));
                }
                7 if random(3) == 0 => drop(stream.take_group(name)),
                8 => {
                    if let Some(group) = stream.group_mut(name) {
                        group.delete_consumer(consumer);
                    }
                }
                9 => {
                    if let Some(group) = stream.group_mut(name) {
                        group.acknowledge(id);
                        group.last_id = id;
                    }
                }
                _ => {
                    if let Some(group) = stream.group_mut(name) {
                        let now = random(100) as i64;
                        let place = group.create_consumer(consumer, now).unwrap_or_else(|p| p);
                        group.consumer_mut(place).seen_time = now;
                        group.assign(id, place, now, random(5));
                    }
                }
            }
        };
        for _ in 0..random(150) {
            step(&mut stream, &mut random);
        }
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let mut copy = stream.clone();
        copy.begin_walk();
        assert!(walked(&mut copy, &mut expected, usize::MAX));
        stream.begin_walk();
        while !walked(&mut stream, &mut found, 1 + random(6) as usize) {
            for _ in 0..random(8) {
                step(&mut stream, &mut random);
            }
        }
        assert_eq!(found, expected);
        stream.end_walk();
        assert!(!stream.is_walked() && stream.walk_kept_bytes() == 0);
        stream.check();
    }
}
