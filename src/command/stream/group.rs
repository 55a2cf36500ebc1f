//! XGROUP: groups and consumers come and go.

use crate::base::number::parse_i64;
use crate::command::client::{Context, Step};
use crate::keyspace::Value;
use crate::resp::request::{Args, Key};
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Class, Shard};
use crate::structures::stream::{Group as StreamGroup, READ_UNKNOWN, Stream, StreamId};

use super::super::spec::{Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run};
use super::id;

pub(super) const XGROUP: Command = Command {
    name: "XGROUP",
    arity: Arity::AtLeast(2),
    flags: Flags::NONE,
    acl: Acl::NONE,
    keys: &[],
    docs: Docs {
        group: Group::Stream,
        since: "5.0.0",
        complexity: "Depends on subcommand.",
        summary: "Subcommands that manage the consumer groups of a stream.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Container,
    subcommands: &[
        Command {
            name: "CREATE",
            arity: Arity::AtLeast(5),
            flags: Flags::WRITE.and(Flags::DENYOOM),
            acl: Acl::STREAM,
            keys: &[KeySpec::one(2, Access::RW.and(Access::INSERT))],
            docs: Docs {
                group: Group::Stream,
                since: "5.0.0",
                complexity: "O(1)",
                summary: "Adds a group to a stream.",
                arguments: &[
                    Argument::key("key"),
                    Argument::string("group"),
                    Argument::one_of(
                        "id-selector",
                        &[Argument::string("id"), Argument::word("new-id", "$")],
                    ),
                    Argument::word("mkstream", "MKSTREAM").optional(),
                    Argument::integer("entries-read")
                        .token("ENTRIESREAD")
                        .optional(),
                ],
                history: &[("7.0.0", "Takes `ENTRIESREAD`.")],
                tips: &[],
                deprecated: None,
            },
            run: Run::Shard(xgroup_create),
            subcommands: &[],
        },
        Command {
            name: "CREATECONSUMER",
            arity: Arity::Exactly(5),
            flags: Flags::WRITE.and(Flags::DENYOOM),
            acl: Acl::STREAM,
            keys: &[KeySpec::one(2, Access::RW.and(Access::INSERT))],
            docs: Docs {
                group: Group::Stream,
                since: "6.2.0",
                complexity: "O(1)",
                summary: "Adds a consumer to a group.",
                arguments: &[
                    Argument::key("key"),
                    Argument::string("group"),
                    Argument::string("consumer"),
                ],
                history: &[],
                tips: &[],
                deprecated: None,
            },
            run: Run::Shard(xgroup_createconsumer),
            subcommands: &[],
        },
        Command {
            name: "DELCONSUMER",
            arity: Arity::Exactly(5),
            flags: Flags::WRITE,
            acl: Acl::STREAM,
            keys: &[KeySpec::one(2, Access::RW.and(Access::DELETE))],
            docs: Docs {
                group: Group::Stream,
                since: "5.0.0",
                complexity: "O(1)",
                summary: "Removes a consumer from a group, with its pending entries.",
                arguments: &[
                    Argument::key("key"),
                    Argument::string("group"),
                    Argument::string("consumer"),
                ],
                history: &[],
                tips: &[],
                deprecated: None,
            },
            run: Run::Shard(xgroup_delconsumer),
            subcommands: &[],
        },
        Command {
            name: "DESTROY",
            arity: Arity::Exactly(4),
            flags: Flags::WRITE.and(Flags::WAKES),
            acl: Acl::STREAM,
            keys: &[KeySpec::one(2, Access::RW.and(Access::DELETE))],
            docs: Docs {
                group: Group::Stream,
                since: "5.0.0",
                complexity: "O(N), N being the pending entries of the group.",
                summary: "Removes a group from a stream.",
                arguments: &[Argument::key("key"), Argument::string("group")],
                history: &[],
                tips: &[],
                deprecated: None,
            },
            run: Run::Shard(xgroup_destroy),
            subcommands: &[],
        },
        Command {
            name: "HELP",
            arity: Arity::Exactly(2),
            flags: Flags::LOADING.and(Flags::STALE),
            acl: Acl::STREAM,
            keys: &[],
            docs: Docs {
                group: Group::Stream,
                since: "5.0.0",
                complexity: "O(1)",
                summary: "Explains the subcommands of XGROUP.",
                arguments: &[],
                history: &[],
                tips: &[],
                deprecated: None,
            },
            run: Run::Client(xgroup_help),
            subcommands: &[],
        },
        Command {
            name: "SETID",
            arity: Arity::AtLeast(5),
            flags: Flags::WRITE,
            acl: Acl::STREAM,
            keys: &[KeySpec::one(2, Access::RW.and(Access::UPDATE))],
            docs: Docs {
                group: Group::Stream,
                since: "5.0.0",
                complexity: "O(1)",
                summary: "Sets how far a group has read.",
                arguments: &[
                    Argument::key("key"),
                    Argument::string("group"),
                    Argument::one_of(
                        "id-selector",
                        &[Argument::string("id"), Argument::word("new-id", "$")],
                    ),
                    Argument::integer("entriesread")
                        .shown("entries-read")
                        .token("ENTRIESREAD")
                        .optional(),
                ],
                history: &[("7.0.0", "Takes `ENTRIESREAD`.")],
                tips: &[],
                deprecated: None,
            },
            run: Run::Shard(xgroup_setid),
            subcommands: &[],
        },
    ],
};

/// The key, as the subcommands that need it name its absence.
fn existing<'s>(
    shard: &'s mut Shard,
    args: &Args<'_>,
    key: &Key<'_>,
) -> Result<&'s mut Stream, ErrorReply> {
    shard
        .write_as::<Stream>(&args.caller, key)?
        .ok_or(ErrorReply::XGROUP_NEEDS_KEY)
}

/// The options behind the id: whether to make the stream, and what the group has read. Words other than these are an
/// error, and MKSTREAM is known to `may_make` only.
fn options(args: &Args<'_>, may_make: bool) -> Result<(bool, i64), ErrorReply> {
    let (mut make, mut read) = (false, READ_UNKNOWN);
    let mut at = 5;
    while at < args.len() {
        if may_make && args.is(at, "MKSTREAM") {
            make = true;
            at += 1;
        } else if args.is(at, "ENTRIESREAD") && at + 1 < args.len() {
            read = parse_i64(args.get(at + 1)).ok_or(ErrorReply::NOT_INTEGER)?;
            if read < READ_UNKNOWN {
                return Err(ErrorReply::ENTRIES_READ_NEGATIVE);
            }
            at += 2;
        } else {
            return Err(misused(args));
        }
    }
    Ok((make, read))
}

fn misused(args: &Args<'_>) -> ErrorReply {
    ErrorReply::subcommand_syntax(args.get(1), "XGROUP")
}

fn xgroup_create(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (make, read) = options(args, true)?;
    let key = args.key(2);
    let stream = match shard.write_as::<Stream>(&args.caller, &key)? {
        None if !make => return Err(ErrorReply::XGROUP_NEEDS_KEY),
        stream => stream,
    };
    if args.len() > 8 {
        return Err(misused(args));
    }
    let last_id = match args.get(4) {
        b"$" => stream
            .as_ref()
            .map_or(StreamId::MIN, |stream| stream.last_id),
        text => id::strict(text)?,
    };
    let made = stream.is_none();
    let stream = match stream {
        Some(stream) => stream,
        None => shard.create_as(&args.caller.again(), &key, Stream::new)?,
    };
    let group = Box::new(StreamGroup::new(args.get(3), last_id, read));
    if stream.put_group(group).is_err() {
        return Err(ErrorReply::BUSY_GROUP);
    }
    if made {
        shard.changed(args.db(), &key, Class::Stream, "xgroup-create");
    } else {
        shard.changed_aside(args.db(), &key, Class::Stream, "xgroup-create", 1);
    }
    reply.ok();
    Ok(())
}

fn xgroup_setid(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (_, read) = options(args, false)?;
    let (key, name) = (args.key(2), args.get(3));
    let stream = existing(shard, args, &key)?;
    let last = stream.last_id;
    let group = stream
        .group_mut(name)
        .ok_or_else(|| ErrorReply::no_group_at_key(name, key.bytes))?;
    if args.len() > 7 {
        return Err(misused(args));
    }
    group.last_id = match args.get(4) {
        b"$" => last,
        text => id::loose(text, 0)?,
    };
    group.entries_read = read;
    shard.changed_aside(args.db(), &key, Class::Stream, "xgroup-setid", 1);
    reply.ok();
    Ok(())
}

fn xgroup_destroy(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let key = args.key(2);
    let stream = existing(shard, args, &key)?;
    let Some(group) = stream.take_group(args.get(3)) else {
        reply.integer(0);
        return Ok(());
    };
    shard.discard(Box::new(Value::Stream(Box::new(group))));
    shard.changed_aside(args.db(), &key, Class::Stream, "xgroup-destroy", 1);
    // Consumers that wait for entries of this group wait for nothing now.
    shard.wake(args.db(), &key);
    reply.integer(1);
    Ok(())
}

fn xgroup_createconsumer(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (key, name, now) = (args.key(2), args.get(3), shard.now);
    let group = existing(shard, args, &key)?
        .group_mut(name)
        .ok_or_else(|| ErrorReply::no_group_at_key(name, key.bytes))?;
    let created = group.create_consumer(args.get(4), now).is_ok();
    if created {
        shard.changed_aside(args.db(), &key, Class::Stream, "xgroup-createconsumer", 1);
    }
    reply.integer(created.into());
    Ok(())
}

fn xgroup_delconsumer(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let (key, name) = (args.key(2), args.get(3));
    let group = existing(shard, args, &key)?
        .group_mut(name)
        .ok_or_else(|| ErrorReply::no_group_at_key(name, key.bytes))?;
    let pending = group.delete_consumer(args.get(4));
    if pending.is_some() {
        shard.changed_aside(args.db(), &key, Class::Stream, "xgroup-delconsumer", 1);
    }
    reply.count(pending.unwrap_or(0));
    Ok(())
}

fn xgroup_help(
    _: &mut Context<'_>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Step, ErrorReply> {
    reply.help(
        "XGROUP",
        &[
            (
                "CREATE <key> <groupname> <id|$> [option]",
                &[
                    "Add a group that reads from behind <id> on, or from now on. Options:",
                    "* MKSTREAM",
                    "  Make an empty stream if there is none.",
                    "* ENTRIESREAD entries_read",
                    "  Say how many entries the group has read so far (for replication).",
                ],
            ),
            (
                "CREATECONSUMER <key> <groupname> <consumer>",
                &["Add a consumer to a group."],
            ),
            (
                "DELCONSUMER <key> <groupname> <consumer>",
                &["Remove a consumer and what is pending for it."],
            ),
            ("DESTROY <key> <groupname>", &["Remove a group."]),
            (
                "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
                &["Set how far a group has read, and how many entries that were."],
            ),
        ],
    );
    Ok(Step::Done)
}
