//! The older way to ask what is around a point: GEORADIUS and its kin, which `search.rs` answers.

use crate::command::spec::{
    Access, Acl, Argument, Arity, Begin, Command, Docs, Find, Flags, Group, KeySpec, Run,
};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Shard, Shards};

use super::search::{Form, search_and_reply, search_and_store};
use super::{ANY, COUNT, ORDER, UNIT};

const COMPLEXITY: &str = "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.";
const WITH_COORD: Argument = Argument::word("withcoord", "WITHCOORD").optional();
const WITH_DIST: Argument = Argument::word("withdist", "WITHDIST").optional();
const WITH_HASH: Argument = Argument::word("withhash", "WITHHASH").optional();
const STORE: Argument = Argument::one_of(
    "store",
    &[
        Argument::key_of("storekey", 1).token("STORE").shown("key"),
        Argument::key_of("storedistkey", 2)
            .token("STOREDIST")
            .shown("key"),
    ],
)
.optional();

pub(super) const GEORADIUS: Command = Command {
    name: "GEORADIUS",
    arity: Arity::AtLeast(6),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLE_KEYS),
    acl: Acl::GEO,
    keys: &[
        KeySpec::one(1, Access::RO.and(Access::ACCESS)),
        stores("STORE", |args| stored_under(args, 6, "STORE"), 6),
        stores("STOREDIST", |args| stored_under(args, 6, "STOREDIST"), 6),
    ],
    docs: Docs {
        group: Group::Geo,
        since: "3.2.0",
        complexity: COMPLEXITY,
        summary: "Finds the members of a geo index around a point, and may store them.",
        arguments: &[
            Argument::key("key"),
            Argument::double("longitude"),
            Argument::double("latitude"),
            Argument::double("radius"),
            UNIT,
            WITH_COORD,
            WITH_DIST,
            WITH_HASH,
            Argument::block("count-block", &[COUNT, ANY.since("6.2.0")]).optional(),
            ORDER,
            STORE,
        ],
        history: &[
            ("6.2.0", "Has the option `ANY` for `COUNT`."),
            ("7.0.0", "Takes names of units in upper case."),
        ],
        tips: &[],
        deprecated: Some((
            "6.2.0",
            "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument",
        )),
    },
    run: Run::Plan(georadius),
    subcommands: &[],
};

pub(super) const GEORADIUS_RO: Command = Command {
    name: "GEORADIUS_RO",
    arity: Arity::AtLeast(6),
    flags: Flags::READONLY,
    acl: Acl::GEO,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Geo,
        since: "3.2.10",
        complexity: COMPLEXITY,
        summary: "Finds the members of a geo index around a point.",
        arguments: &[
            Argument::key("key"),
            Argument::double("longitude"),
            Argument::double("latitude"),
            Argument::double("radius"),
            UNIT,
            WITH_COORD,
            WITH_DIST,
            WITH_HASH,
            Argument::block("count-block", &[COUNT, ANY.since("6.2.0")]).optional(),
            ORDER,
        ],
        history: &[("6.2.0", "Has the option `ANY` for `COUNT`.")],
        tips: &[],
        deprecated: Some(("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument")),
    },
    run: Run::Shard(georadius_ro),
    subcommands: &[],
};

pub(super) const GEORADIUSBYMEMBER: Command = Command {
    name: "GEORADIUSBYMEMBER",
    arity: Arity::AtLeast(5),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLE_KEYS),
    acl: Acl::GEO,
    keys: &[
        KeySpec::one(1, Access::RO.and(Access::ACCESS)),
        stores("STORE", |args| stored_under(args, 5, "STORE"), 5),
        stores("STOREDIST", |args| stored_under(args, 5, "STOREDIST"), 5),
    ],
    docs: Docs {
        group: Group::Geo,
        since: "3.2.0",
        complexity: COMPLEXITY,
        summary: "Finds the members of a geo index around one of them, and may store them.",
        arguments: &[
            Argument::key("key"),
            Argument::string("member"),
            Argument::double("radius"),
            UNIT,
            WITH_COORD,
            WITH_DIST,
            WITH_HASH,
            Argument::block("count-block", &[COUNT, ANY]).optional(),
            ORDER,
            STORE,
        ],
        history: &[("7.0.0", "Takes names of units in upper case.")],
        tips: &[],
        deprecated: Some((
            "6.2.0",
            "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
        )),
    },
    run: Run::Plan(georadiusbymember),
    subcommands: &[],
};

pub(super) const GEORADIUSBYMEMBER_RO: Command = Command {
    name: "GEORADIUSBYMEMBER_RO",
    arity: Arity::AtLeast(5),
    flags: Flags::READONLY,
    acl: Acl::GEO,
    keys: &[KeySpec::one(1, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Geo,
        since: "3.2.10",
        complexity: COMPLEXITY,
        summary: "Finds the members of a geo index around one of them.",
        arguments: &[
            Argument::key("key"),
            Argument::string("member"),
            Argument::double("radius"),
            UNIT,
            WITH_COORD,
            WITH_DIST,
            WITH_HASH,
            Argument::block("count-block", &[COUNT, ANY]).optional(),
            ORDER,
        ],
        history: &[],
        tips: &[],
        deprecated: Some((
            "6.2.0",
            "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments",
        )),
    },
    run: Run::Shard(georadiusbymember_ro),
    subcommands: &[],
};

/// The key behind the last STORE or STOREDIST, when that is `word`: each takes the place of those before it.
fn stored_under(args: &Args<'_>, from: usize, word: &str) -> Option<usize> {
    let mut last = None;
    let mut at = from;
    while at + 1 < args.len() {
        let distances = args.is(at, "STOREDIST");
        if distances || args.is(at, "STORE") {
            last = Some((at + 1, distances));
            at += 1;
        } else if args.is(at, "COUNT") {
            at += 1;
        }
        at += 1;
    }
    let (place, distances) = last?;
    (distances == (word == "STOREDIST")).then_some(place)
}

/// The key specification of an option that stores.
const fn stores(word: &'static str, place: fn(&Args<'_>) -> Option<usize>, from: i8) -> KeySpec {
    KeySpec {
        begin: Begin::Computed { place, word, from },
        find: Find::Range {
            last: 0,
            step: 1,
            limit: 0,
        },
        access: Access::OW.and(Access::UPDATE),
        notes: "",
    }
}

fn georadius(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    search_and_store(shards, args, Form::RadiusStore, reply)
}

fn georadiusbymember(
    shards: &mut Shards<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    search_and_store(shards, args, Form::RadiusByMemberStore, reply)
}

fn georadius_ro(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    search_and_reply(shard, args, Form::Radius, reply)
}

fn georadiusbymember_ro(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    search_and_reply(shard, args, Form::RadiusByMember, reply)
}
