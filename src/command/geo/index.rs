//! Putting members into a geo index and asking about them one by one: GEOADD, GEODIST, GEOHASH, GEOPOS.

use smallvec::SmallVec;

use crate::base::geo::Point;
use crate::command::sorted_set::pack_limits;
use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run,
};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard};
use crate::structures::member::MEMBER_BYTES_MAX;
use crate::structures::zset::{AddOptions, Added, Zset};

use super::{UNIT, point, reply_distance, reply_point, unit_metres};

pub(super) const GEOADD: Command = Command {
    name: "GEOADD",
    arity: Arity::AtLeast(5),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::WAKES),
    acl: Acl::GEO,
    keys: &[KeySpec::one(1, Access::RW.and(Access::UPDATE))],
    docs: Docs {
        group: Group::Geo,
        since: "3.2.0",
        complexity: "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        summary: "Adds members with their coordinates to a geo index, or moves those that are there.",
        arguments: &[
            Argument::key("key"),
            Argument::one_of(
                "condition",
                &[Argument::word("nx", "NX"), Argument::word("xx", "XX")],
            )
            .optional()
            .since("6.2.0"),
            Argument::word("change", "CH").optional().since("6.2.0"),
            Argument::block(
                "data",
                &[
                    Argument::double("longitude"),
                    Argument::double("latitude"),
                    Argument::string("member"),
                ],
            )
            .multiple(),
        ],
        history: &[("6.2.0", "Has the options `CH`, `NX` and `XX`.")],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(geoadd),
    subcommands: &[],
};

pub(super) const GEODIST: Command = Command {
    name: "GEODIST",
    arity: Arity::AtLeast(4),
    flags: Flags::READONLY,
    acl: Acl::GEO,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Geo,
        since: "3.2.0",
        complexity: "O(1)",
        summary: "Gives the distance between two members of a geo index.",
        arguments: &[
            Argument::key("key"),
            Argument::string("member1"),
            Argument::string("member2"),
            UNIT.optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(geodist),
    subcommands: &[],
};

pub(super) const GEOHASH: Command = Command {
    name: "GEOHASH",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY,
    acl: Acl::GEO,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Geo,
        since: "3.2.0",
        complexity: "O(1) for each member requested.",
        summary: "Gives the geohash strings of members of a geo index.",
        arguments: &[
            Argument::key("key"),
            Argument::string("member").optional().multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(geohash),
    subcommands: &[],
};

pub(super) const GEOPOS: Command = Command {
    name: "GEOPOS",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY,
    acl: Acl::GEO,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Geo,
        since: "3.2.0",
        complexity: "O(1) for each member requested.",
        summary: "Gives the coordinates of members of a geo index.",
        arguments: &[
            Argument::key("key"),
            Argument::string("member").optional().multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Shard(geopos),
    subcommands: &[],
};

fn geoadd(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let mut options = AddOptions::default();
    let mut count_updated = false;
    let mut first = 2;
    while first < args.len() {
        match () {
            () if args.is(first, "NX") => options.only_new = true,
            () if args.is(first, "XX") => options.only_existing = true,
            () if args.is(first, "CH") => count_updated = true,
            () => break,
        }
        first += 1;
    }
    let words = args.len() - first;
    if words == 0 || !words.is_multiple_of(3) || options.only_new && options.only_existing {
        return Err(ErrorReply::SYNTAX);
    }
    let mut scores: SmallVec<[f64; 8]> = SmallVec::with_capacity(words / 3);
    for at in (first..args.len()).step_by(3) {
        scores.push(point(args, at)?.score());
        if args.get(at + 2).len() > MEMBER_BYTES_MAX {
            return Err(ErrorReply::STRING_TOO_LONG);
        }
    }
    let key = args.key(1);
    let limits = pack_limits(shard);
    let zset = if options.only_existing {
        shard.write_as::<Zset>(&args.caller, &key)?
    } else {
        // As with ZADD, the first member stands for all of them.
        let first_bytes = args.get(first + 2).len();
        let make = || Zset::for_contents(scores.len(), first_bytes, limits);
        Some(shard.create_as(&args.caller, &key, make)?)
    };
    let (mut added, mut updated) = (0, 0);
    if let Some(zset) = zset {
        zset.expect_more(scores.len(), limits);
        for (at, &score) in scores.iter().enumerate() {
            match zset.add(args.get(first + 3 * at + 2), score, options, limits) {
                Added::New(_) => added += 1,
                Added::Updated { .. } => updated += 1,
                Added::Same(_) | Added::Refused | Added::NotANumber => {}
            }
        }
    }
    if added + updated > 0 {
        shard.changed_by(args.db(), &key, Class::Zset, "zadd", added + updated);
    }
    reply.integer(if count_updated {
        added + updated
    } else {
        added
    } as i64);
    Ok(())
}

fn geodist(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let metres = match args.len() {
        4 => 1.0,
        5 => unit_metres(args.get(4))?,
        _ => return Err(ErrorReply::SYNTAX),
    };
    let zset = shard.read_as::<Zset>(&args.caller, &args.key(1))?;
    let place = |at| Some(Point::of_score(zset?.score(args.get(at))?));
    match place(2).zip(place(3)) {
        Some((one, other)) => reply_distance(reply, one.distance(other) / metres),
        None => reply.null(),
    }
    Ok(())
}

fn geohash(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let zset = shard.read_as::<Zset>(&args.caller, &args.key(1))?;
    reply.array(args.len() - 2);
    for member in args.iter_from(2) {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => reply.bulk(&Point::of_score(score).text()),
            None => reply.null(),
        }
    }
    Ok(())
}

fn geopos(shard: &mut Shard, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let zset = shard.read_as::<Zset>(&args.caller, &args.key(1))?;
    reply.array(args.len() - 2);
    for member in args.iter_from(2) {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => reply_point(reply, Point::of_score(score)),
            None => reply.null_array(),
        }
    }
    Ok(())
}
