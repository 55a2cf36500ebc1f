//! Searching a geo index: GEOSEARCH, GEOSEARCHSTORE, and what GEORADIUS and its kin stand on.
//!
//! The area is covered by at most nine cells, each a range of scores; the members of those ranges are looked at one by
//! one. Results come cell by cell, or in the order of their distance, as in Redis.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use crate::base::geo::{Extent, Point, Shape};
use crate::base::number::parse_f64;
use crate::command::parse;
use crate::command::sorted_set::{in_order, pack_limits};
use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};
use crate::keyspace::{Kind, Value};
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard, Shards};
use crate::structures::entry::NewValue;
use crate::structures::zset::{Found, Pair, Zset};

use super::{ANY, COUNT, ORDER, UNIT, point, reply_distance, reply_point, unit_metres};

pub(super) const GEOSEARCH: Command = Command {
    name: "GEOSEARCH",
    arity: Arity::AtLeast(7),
    flags: Flags::READONLY,
    acl: Acl::GEO,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Geo,
        since: "6.2.0",
        complexity: "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around the shape provided as the filter and M is the number of items inside the shape",
        summary: "Finds the members of a geo index within a circle or a box.",
        arguments: &[
            Argument::key("key"),
            Argument::one_of(
                "from",
                &[
                    Argument::string("member").token("FROMMEMBER"),
                    Argument::block(
                        "fromlonlat",
                        &[Argument::double("longitude"), Argument::double("latitude")],
                    )
                    .token("FROMLONLAT"),
                ],
            ),
            Argument::one_of(
                "by",
                &[
                    Argument::block(
                        "circle",
                        &[Argument::double("radius").token("BYRADIUS"), UNIT],
                    ),
                    Argument::block(
                        "box",
                        &[
                            Argument::double("width").token("BYBOX"),
                            Argument::double("height"),
                            UNIT,
                        ],
                    ),
                ],
            ),
            ORDER,
            Argument::block("count-block", &[COUNT, ANY]).optional(),
            Argument::word("withcoord", "WITHCOORD").optional(),
            Argument::word("withdist", "WITHDIST").optional(),
            Argument::word("withhash", "WITHHASH").optional(),
        ],
        history: &[("7.0.0", "Takes names of units in upper case.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(geosearch),
    subcommands: &[],
};

pub(super) const GEOSEARCHSTORE: Command = Command {
    name: "GEOSEARCHSTORE",
    arity: Arity::AtLeast(8),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::GEO,
    keys: &[
        KeySpec::one(1, Access::OW.and(Access::UPDATE)),
        KeySpec::one(2, Access::RO.and(Access::ACCESS)),
    ],
    docs: Docs {
        group: Group::Geo,
        since: "6.2.0",
        complexity: "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around the shape provided as the filter and M is the number of items inside the shape",
        summary: "Stores the members of a geo index that are within a circle or a box.",
        arguments: &[
            Argument::key("destination"),
            Argument::key_of("source", 1),
            Argument::one_of(
                "from",
                &[
                    Argument::string("member").token("FROMMEMBER"),
                    Argument::block(
                        "fromlonlat",
                        &[Argument::double("longitude"), Argument::double("latitude")],
                    )
                    .token("FROMLONLAT"),
                ],
            ),
            Argument::one_of(
                "by",
                &[
                    Argument::block(
                        "circle",
                        &[Argument::double("radius").token("BYRADIUS"), UNIT],
                    ),
                    Argument::block(
                        "box",
                        &[
                            Argument::double("width").token("BYBOX"),
                            Argument::double("height"),
                            UNIT,
                        ],
                    ),
                ],
            ),
            ORDER,
            Argument::block("count-block", &[COUNT, ANY]).optional(),
            Argument::word("storedist", "STOREDIST").optional(),
        ],
        history: &[("7.0.0", "Takes names of units in upper case.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Plan(geosearchstore),
    subcommands: &[],
};

/// Which command asks: it decides how the arguments begin and which options there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// GEORADIUS_RO.
    Radius,
    /// GEORADIUS.
    RadiusStore,
    /// GEORADIUSBYMEMBER_RO.
    RadiusByMember,
    /// GEORADIUSBYMEMBER.
    RadiusByMemberStore,
    /// GEOSEARCH.
    Search,
    /// GEOSEARCHSTORE.
    SearchStore,
}

impl Form {
    /// GEOSEARCH and GEOSEARCHSTORE, which say everything by options.
    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }

    fn is_by_member(self) -> bool {
        matches!(self, Form::RadiusByMember | Form::RadiusByMemberStore)
    }

    /// Whether STORE and STOREDIST with a key are among the options.
    fn takes_store(self) -> bool {
        matches!(self, Form::RadiusStore | Form::RadiusByMemberStore)
    }

    /// Where the index's key is.
    fn source(self) -> usize {
        if self == Form::SearchStore { 2 } else { 1 }
    }

    /// Where the options begin.
    fn options(self) -> usize {
        match self {
            Form::Search => 2,
            Form::SearchStore => 3,
            Form::RadiusByMember | Form::RadiusByMemberStore => 5,
            Form::Radius | Form::RadiusStore => 6,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Found,
    Nearest,
    Farthest,
}

/// What a request asks for.
struct Request {
    /// Middle and extent are not known when there is no index: then nothing is searched.
    center: Option<Point>,
    extent: Option<(Extent, f64)>,
    with_distance: bool,
    with_hash: bool,
    with_point: bool,
    order: Order,
    /// Most results; none means all.
    count: Option<usize>,
    /// COUNT ANY: the search ends when so many are found.
    any: bool,
    /// The argument that names the destination.
    store: Option<usize>,
    store_distances: bool,
}

/// How many members ahead of the one that is written are asked for: they lie scattered in memory.
const PREFETCH_AHEAD: usize = 8;

/// A member inside the area.
struct Hit<'a> {
    member: Found<'a>,
    score: f64,
    point: Point,
    metres: f64,
}

/// Where a member of the index is.
fn member_point(zset: &Zset, name: &[u8]) -> Result<Point, ErrorReply> {
    let score = zset.score(name).ok_or(ErrorReply::GEO_NO_MEMBER)?;
    Ok(Point::of_score(score))
}

/// A radius and its unit, from argument `at` on.
fn circle(args: &Args<'_>, at: usize) -> Result<(Extent, f64), ErrorReply> {
    let radius = parse_f64(args.get(at)).ok_or(ErrorReply::GEO_RADIUS)?;
    if radius < 0.0 {
        return Err(ErrorReply::GEO_RADIUS_NEGATIVE);
    }
    Ok((Extent::Circle { radius }, unit_metres(args.get(at + 1))?))
}

/// Width, height and their unit, from argument `at` on.
fn rectangle(args: &Args<'_>, at: usize) -> Result<(Extent, f64), ErrorReply> {
    let width = parse_f64(args.get(at)).ok_or(ErrorReply::GEO_WIDTH)?;
    let height = parse_f64(args.get(at + 1)).ok_or(ErrorReply::GEO_HEIGHT)?;
    if width < 0.0 || height < 0.0 {
        return Err(ErrorReply::GEO_BOX_NEGATIVE);
    }
    Ok((
        Extent::Box { width, height },
        unit_metres(args.get(at + 2))?,
    ))
}

/// Reads the arguments in Redis's order, which decides between errors. `zset` is the index, if there is one.
fn read_request(args: &Args<'_>, form: Form, zset: Option<&Zset>) -> Result<Request, ErrorReply> {
    let mut request = Request {
        center: None,
        extent: None,
        with_distance: false,
        with_hash: false,
        with_point: false,
        order: Order::Found,
        count: None,
        any: false,
        store: (form == Form::SearchStore).then_some(1),
        store_distances: false,
    };
    if form.is_by_member() {
        if let Some(zset) = zset {
            request.center = Some(member_point(zset, args.get(2))?);
            request.extent = Some(circle(args, 3)?);
        }
    } else if !form.is_search() {
        request.center = Some(point(args, 2)?);
        request.extent = Some(circle(args, 4)?);
    }
    let (mut from_member, mut from_point, mut by_circle, mut by_box) = (false, false, false, false);
    let mut at = form.options();
    while at < args.len() {
        let left = args.len() - at - 1;
        let search = form.is_search();
        match () {
            () if args.is(at, "WITHDIST") => request.with_distance = true,
            () if args.is(at, "WITHHASH") => request.with_hash = true,
            () if args.is(at, "WITHCOORD") => request.with_point = true,
            () if args.is(at, "ANY") => request.any = true,
            () if args.is(at, "ASC") => request.order = Order::Nearest,
            () if args.is(at, "DESC") => request.order = Order::Farthest,
            () if args.is(at, "COUNT") && left >= 1 => {
                let count = parse::integer(args, at + 1)?;
                if count <= 0 {
                    return Err(ErrorReply::GEO_COUNT);
                }
                request.count = Some(usize::try_from(count).unwrap_or(usize::MAX));
                at += 1;
            }
            () if form.takes_store() && left >= 1 && args.is(at, "STORE") => {
                (request.store, request.store_distances) = (Some(at + 1), false);
                at += 1;
            }
            () if form.takes_store() && left >= 1 && args.is(at, "STOREDIST") => {
                (request.store, request.store_distances) = (Some(at + 1), true);
                at += 1;
            }
            () if form == Form::SearchStore && args.is(at, "STOREDIST") => {
                request.store_distances = true;
            }
            () if search && left >= 1 && !from_point && args.is(at, "FROMMEMBER") => {
                if let Some(zset) = zset {
                    request.center = Some(member_point(zset, args.get(at + 1))?);
                }
                from_member = true;
                at += 1;
            }
            () if search && left >= 2 && !from_member && args.is(at, "FROMLONLAT") => {
                request.center = Some(point(args, at + 1)?);
                from_point = true;
                at += 2;
            }
            () if search && left >= 2 && !by_box && args.is(at, "BYRADIUS") => {
                request.extent = Some(circle(args, at + 1)?);
                by_circle = true;
                at += 2;
            }
            () if search && left >= 3 && !by_circle && args.is(at, "BYBOX") => {
                request.extent = Some(rectangle(args, at + 1)?);
                by_box = true;
                at += 3;
            }
            () => return Err(ErrorReply::SYNTAX),
        }
        at += 1;
    }
    let shows = request.with_distance || request.with_hash || request.with_point;
    if request.store.is_some() && shows {
        return Err(match form {
            Form::SearchStore => ErrorReply::GEOSEARCHSTORE_WITH,
            _ => ErrorReply::GEORADIUS_STORE_WITH,
        });
    }
    if form.is_search() && !(from_member || from_point) {
        return Err(ErrorReply::geo_from(args.get(0)));
    }
    if form.is_search() && !(by_circle || by_box) {
        return Err(ErrorReply::geo_by(args.get(0)));
    }
    if request.any && request.count.is_none() {
        return Err(ErrorReply::GEO_ANY);
    }
    // So many are the nearest so many, unless any will do.
    if request.count.is_some() && request.order == Order::Found && !request.any {
        request.order = Order::Nearest;
    }
    Ok(request)
}

impl Request {
    /// The members of the index that are asked for, in order.
    fn hits<'a>(&self, zset: &'a Zset) -> Vec<Hit<'a>> {
        let (Some(center), Some((extent, unit_metres))) = (self.center, self.extent) else {
            return Vec::new();
        };
        let shape = Shape {
            center,
            extent,
            unit_metres,
        };
        let probe = shape.probe();
        let enough = self.count.filter(|_| self.any).unwrap_or(usize::MAX);
        let mut hits = Vec::new();
        for (min, max) in shape.score_ranges() {
            let looked = zset.each_between(min, max, |score, member| {
                let point = Point::of_score(score);
                if let Some(metres) = probe.distance_inside(point) {
                    hits.push(Hit {
                        member,
                        score,
                        point,
                        metres,
                    });
                    if hits.len() >= enough {
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            });
            if looked.is_break() {
                break;
            }
        }
        self.put_in_order(&mut hits);
        hits
    }

    /// Members at the same distance keep the order in which they were found.
    fn put_in_order(&self, hits: &mut Vec<Hit<'_>>) {
        let compare = |one: &Hit<'_>, other: &Hit<'_>| {
            let order = one.metres.total_cmp(&other.metres);
            match self.order {
                Order::Found => Ordering::Equal,
                Order::Nearest => order,
                Order::Farthest => order.reverse(),
            }
        };
        let count = self.count.unwrap_or(usize::MAX);
        if self.order != Order::Found {
            if count < hits.len() / 4 {
                // Few out of many: what cannot be among them is not sorted.
                let mut bounds: Vec<f64> = hits.iter().map(|hit| hit.metres).collect();
                let rank = match self.order {
                    Order::Farthest => bounds.len() - count,
                    _ => count - 1,
                };
                let bound = *bounds.select_nth_unstable_by(rank, f64::total_cmp).1;
                hits.retain(|hit| match self.order {
                    Order::Farthest => hit.metres >= bound,
                    _ => hit.metres <= bound,
                });
            }
            hits.sort_by(compare);
        }
        hits.truncate(count);
    }

    fn reply(&self, hits: &[Hit<'_>], reply: &mut Reply<'_>) {
        let unit_metres = self.extent.map_or(1.0, |(_, unit_metres)| unit_metres);
        let parts = [self.with_distance, self.with_hash, self.with_point];
        let parts = parts.iter().filter(|part| **part).count();
        reply.array(hits.len());
        let asked = |hit: &Hit<'_>| hit.member.prefetch();
        hits.iter().take(PREFETCH_AHEAD).for_each(asked);
        for (at, hit) in hits.iter().enumerate() {
            hits.get(at + PREFETCH_AHEAD).into_iter().for_each(asked);
            if parts > 0 {
                reply.array(1 + parts);
            }
            reply.bulk_item(hit.member.name());
            if self.with_distance {
                reply_distance(reply, hit.metres / unit_metres);
            }
            if self.with_hash {
                reply.integer(hit.score as i64);
            }
            if self.with_point {
                reply_point(reply, hit.point);
            }
        }
    }

    /// The sorted set to be stored: scores are those of the index, or distances.
    fn result(&self, hits: &[Hit<'_>], shard: &Shard) -> Zset {
        let unit_metres = self.extent.map_or(1.0, |(_, unit_metres)| unit_metres);
        let pairs: Vec<Pair<'_>> = hits
            .iter()
            .map(|hit| {
                let score = if self.store_distances {
                    hit.metres / unit_metres
                } else {
                    hit.score
                };
                (hit.member.name(), score)
            })
            .collect();
        let pairs = in_order(pairs);
        Zset::of_rising(pairs.iter().copied(), pack_limits(shard))
    }
}

/// Answers a search that stores nothing.
pub(super) fn search_and_reply(
    shard: &mut Shard,
    args: &Args<'_>,
    form: Form,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let zset = shard.read_as::<Zset>(&args.caller, &args.key(form.source()))?;
    let request = read_request(args, form, zset)?;
    let hits = zset.map_or_else(Vec::new, |zset| request.hits(zset));
    request.reply(&hits, reply);
    Ok(())
}

/// Answers a search that may store what it finds.
pub(super) fn search_and_store(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    form: Form,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let source = args.key(form.source());
    let shard = shards.of(&source);
    let there = shard.read_as::<Zset>(&args.caller, &source)?;
    let request = read_request(args, form, there)?;
    let Some(destination) = request.store else {
        let hits = there.map_or_else(Vec::new, |zset| request.hits(zset));
        request.reply(&hits, reply);
        return Ok(());
    };
    let shard = shards.at(&source);
    let entry = shard.keyspace.find(args.db(), &source);
    let result = entry
        .filter(|entry| !shard.is_due(entry))
        .and_then(|entry| entry.boxed())
        .and_then(Zset::of)
        .map(|zset| request.result(&request.hits(zset), shard));
    let event = if form.is_search() {
        "geosearchstore"
    } else {
        "georadiusstore"
    };
    let destination = args.key(destination);
    let together = shards.together(&source, &destination);
    let result = result.filter(|zset| !zset.is_empty());
    reply.count(result.as_ref().map_or(0, Zset::len));
    store(
        shards.of(&destination),
        args,
        &destination,
        result,
        event,
        together,
    );
    Ok(())
}

/// Puts a result in place of whatever the key held; nothing deletes the key.
fn store(
    shard: &mut Shard,
    args: &Args<'_>,
    key: &Key<'_>,
    result: Option<Zset>,
    event: &'static str,
    together: bool,
) {
    if let Some(zset) = result {
        let members = zset.len() as u64;
        let value = NewValue::<Value>::Boxed(Box::new(zset.into_value()));
        shard.put(&args.caller, key, value, false);
        shard.changed_by(args.db(), key, Class::Zset, event, members);
        if !together {
            shard.made_from_afar(args.db(), key);
        }
    } else if shard.delete(args.db(), key) {
        shard.changed(args.db(), key, Class::Generic, "del");
        if !together {
            shard.effects.record(args.db(), &[b"DEL", key.bytes]);
        }
    }
}

fn geosearch(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    search_and_reply(shard, args, Form::Search, reply)
}

fn geosearchstore(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    search_and_store(shards, args, Form::SearchStore, reply)
}
