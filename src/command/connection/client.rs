//! CLIENT: names, lists, closes, pauses and wakes connections.
//!
//! What concerns other connections is asked of all cores; each answers for its own.

use crate::acl::Users;
use crate::base::number::parse_i64;
use crate::command::client::{Client, Context, FinishFn, ReplyMode, Step, Whom};
use crate::command::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};
use crate::mesh::message::{ClientFilter, ClientKind, CoreAnswer, CoreAsk};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

pub(super) const SUBCOMMANDS: &[Command] = &[
    super::tracking::CACHING,
    Command {
        name: "GETNAME",
        arity: Arity::Exactly(2),
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "2.6.9",
            complexity: "O(1)",
            summary: "Reads the connection's name.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(client_getname),
        subcommands: &[],
    },
    super::tracking::GETREDIR,
    Command {
        name: "HELP",
        arity: Arity::Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "5.0.0",
            complexity: "O(1)",
            summary: "Lists the subcommands.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(client_help),
        subcommands: &[],
    },
    Command {
        name: "ID",
        arity: Arity::Exactly(2),
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "5.0.0",
            complexity: "O(1)",
            summary: "Reads the connection's id.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(client_id),
        subcommands: &[],
    },
    Command {
        name: "INFO",
        arity: Arity::Exactly(2),
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "6.2.0",
            complexity: "O(1)",
            summary: "Describes this connection in one line.",
            arguments: &[],
            history: &[],
            tips: &["nondeterministic_output"],
            deprecated: None,
        },
        run: Run::Client(client_info),
        subcommands: &[],
    },
    Command {
        name: "KILL",
        arity: Arity::AtLeast(3),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "2.4.0",
            complexity: "O(N), N being the connections",
            summary: "Closes connections that fit a filter.",
            arguments: &[Argument::one_of(
                "filter",
                &[
                    Argument::string("ip:port").deprecated_since("2.8.12"),
                    Argument::one_of(
                        "new-format",
                        &[
                            Argument::integer("client-id")
                                .token("ID")
                                .optional()
                                .since("2.8.12"),
                            Argument::one_of(
                                "normal_master_slave_pubsub",
                                &[
                                    Argument::word("normal", "NORMAL"),
                                    Argument::word("master", "MASTER").since("3.2.0"),
                                    Argument::word("slave", "SLAVE"),
                                    Argument::word("replica", "REPLICA").since("5.0.0"),
                                    Argument::word("pubsub", "PUBSUB"),
                                ],
                            )
                            .token("TYPE")
                            .optional()
                            .since("2.8.12"),
                            Argument::string("username").token("USER").optional(),
                            Argument::string("ip:port").token("ADDR").optional(),
                            Argument::string("ip:port")
                                .token("LADDR")
                                .optional()
                                .since("6.2.0"),
                            Argument::string("yes/no").token("SKIPME").optional(),
                        ],
                    )
                    .multiple(),
                ],
            )],
            history: &[
                ("2.8.12", "Filters by several properties."),
                ("2.8.12", "The `ID` filter."),
                ("3.2.0", "The type `master`."),
                ("5.0.0", "The type is `replica`; `slave` still works."),
                ("6.2.0", "The `LADDR` filter."),
            ],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(client_kill),
        subcommands: &[],
    },
    Command {
        name: "LIST",
        arity: Arity::AtLeast(2),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "2.4.0",
            complexity: "O(N), N being the connections",
            summary: "Describes all connections, one line each.",
            arguments: &[
                Argument::one_of(
                    "normal_master_replica_pubsub",
                    &[
                        Argument::word("normal", "NORMAL"),
                        Argument::word("master", "MASTER"),
                        Argument::word("replica", "REPLICA"),
                        Argument::word("pubsub", "PUBSUB"),
                    ],
                )
                .token("TYPE")
                .optional()
                .since("5.0.0"),
                Argument::block("id", &[Argument::integer("client-id").multiple()])
                    .token("ID")
                    .optional()
                    .since("6.2.0"),
            ],
            history: &[
                ("2.8.12", "The field `id`."),
                ("5.0.0", "The filter `TYPE`."),
                ("6.0.0", "The field `user`."),
                (
                    "6.2.0",
                    "The fields `argv-mem`, `tot-mem`, `laddr` and `redir`, and the filter `ID`.",
                ),
                ("7.0.0", "The fields `resp`, `multi-mem`, `rbs` and `rbp`."),
                ("7.0.3", "The field `ssub`."),
                ("7.2.0", "The fields `lib-name` and `lib-ver`."),
            ],
            tips: &["nondeterministic_output"],
            deprecated: None,
        },
        run: Run::Client(client_list),
        subcommands: &[],
    },
    Command {
        name: "NO-EVICT",
        arity: Arity::Exactly(3),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "7.0.0",
            complexity: "O(1)",
            summary: "Exempts the connection from being closed when clients use too much memory.",
            arguments: &[Argument::one_of(
                "enabled",
                &[Argument::word("on", "ON"), Argument::word("off", "OFF")],
            )],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(client_no_evict),
        subcommands: &[],
    },
    Command {
        name: "NO-TOUCH",
        arity: Arity::Exactly(3),
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "7.2.0",
            complexity: "O(1)",
            summary: "Lets the connection read keys without refreshing their access clocks.",
            arguments: &[Argument::one_of(
                "enabled",
                &[Argument::word("on", "ON"), Argument::word("off", "OFF")],
            )],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(client_no_touch),
        subcommands: &[],
    },
    Command {
        name: "PAUSE",
        arity: Arity::AtLeast(3),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "2.9.50",
            complexity: "O(1)",
            summary: "Holds back the commands of all clients for some time.",
            arguments: &[
                Argument::integer("timeout"),
                Argument::one_of(
                    "mode",
                    &[
                        Argument::word("write", "WRITE"),
                        Argument::word("all", "ALL"),
                    ],
                )
                .optional()
                .since("6.2.0"),
            ],
            history: &[("6.2.0", "The mode, and with it pauses of writes alone.")],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(client_pause),
        subcommands: &[],
    },
    Command {
        name: "REPLY",
        arity: Arity::Exactly(3),
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "3.2.0",
            complexity: "O(1)",
            summary: "Switches the replies to this connection on or off.",
            arguments: &[Argument::one_of(
                "on_off_skip",
                &[
                    Argument::word("on", "ON"),
                    Argument::word("off", "OFF"),
                    Argument::word("skip", "SKIP"),
                ],
            )],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(client_reply),
        subcommands: &[],
    },
    Command {
        name: "SETINFO",
        arity: Arity::Exactly(4),
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "7.2.0",
            complexity: "O(1)",
            summary: "Tells the server about the client library behind the connection.",
            arguments: &[Argument::one_of(
                "attr",
                &[
                    Argument::string("libname").token("LIB-NAME"),
                    Argument::string("libver").token("LIB-VER"),
                ],
            )],
            history: &[],
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            deprecated: None,
        },
        run: Run::Client(client_setinfo),
        subcommands: &[],
    },
    Command {
        name: "SETNAME",
        arity: Arity::Exactly(3),
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "2.6.9",
            complexity: "O(1)",
            summary: "Names the connection.",
            arguments: &[Argument::string("connection-name")],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(client_setname),
        subcommands: &[],
    },
    super::tracking::TRACKING,
    super::tracking::TRACKINGINFO,
    Command {
        name: "UNBLOCK",
        arity: Arity::AtLeast(3),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "5.0.0",
            complexity: "O(log N), N being the connections",
            summary: "Wakes a client that waits in a blocking command.",
            arguments: &[
                Argument::integer("client-id"),
                Argument::one_of(
                    "timeout_error",
                    &[
                        Argument::word("timeout", "TIMEOUT"),
                        Argument::word("error", "ERROR"),
                    ],
                )
                .optional(),
            ],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(client_unblock),
        subcommands: &[],
    },
    Command {
        name: "UNPAUSE",
        arity: Arity::Exactly(2),
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Connection,
            since: "6.2.0",
            complexity: "O(N), N being the paused clients",
            summary: "Ends a pause of the clients.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(client_unpause),
        subcommands: &[],
    },
];

type Outcome = Result<Step, ErrorReply>;

fn client_id(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.integer(context.client.id as i64);
    Ok(Step::Done)
}

fn client_getname(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match context.client.name.as_slice() {
        b"" => reply.null(),
        name => reply.bulk(name),
    }
    Ok(Step::Done)
}

fn client_setname(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    context.client.name = checked_name(args.get(2))?.to_vec();
    reply.ok();
    Ok(Step::Done)
}

/// A name, if it cannot break a line of CLIENT LIST.
pub(super) fn checked_name(name: &[u8]) -> Result<&[u8], ErrorReply> {
    if is_one_word(name) {
        Ok(name)
    } else {
        Err(ErrorReply::CLIENT_NAME_CHARACTERS)
    }
}

fn is_one_word(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn client_setinfo(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (option, value) = (args.get(2), args.get(3));
    let place = if args.is(2, "LIB-NAME") {
        &mut context.client.lib_name
    } else if args.is(2, "LIB-VER") {
        &mut context.client.lib_version
    } else {
        return Err(ErrorReply::unrecognized_option(option));
    };
    if !is_one_word(value) {
        return Err(ErrorReply::attribute_characters(option));
    }
    *place = value.to_vec();
    reply.ok();
    Ok(Step::Done)
}

fn on_or_off(args: &Args<'_>) -> Result<bool, ErrorReply> {
    if args.is(2, "ON") {
        Ok(true)
    } else if args.is(2, "OFF") {
        Ok(false)
    } else {
        Err(ErrorReply::SYNTAX)
    }
}

fn client_no_evict(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    context.client.no_evict = on_or_off(args)?;
    reply.ok();
    Ok(Step::Done)
}

fn client_no_touch(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    context.client.no_touch = on_or_off(args)?;
    reply.ok();
    Ok(Step::Done)
}

/// OFF and SKIP have no reply of their own.
fn client_reply(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mode = &mut context.client.reply_mode;
    if args.is(2, "ON") {
        *mode = ReplyMode::On;
        reply.ok();
    } else if args.is(2, "OFF") {
        *mode = ReplyMode::Off;
    } else if args.is(2, "SKIP") {
        if *mode != ReplyMode::Off {
            *mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(ErrorReply::SYNTAX);
    }
    Ok(Step::Done)
}

fn client_info(context: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    let filter = ClientFilter {
        ids: vec![context.client.id],
        ..ClientFilter::default()
    };
    Ok(list(filter))
}

fn client_list(_: &mut Context<'_>, args: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    let mut filter = ClientFilter::default();
    if args.len() == 4 && args.is(2, "TYPE") {
        filter.kind = Some(kind_named(args.get(3))?);
    } else if args.len() > 3 && args.is(2, "ID") {
        for id in args.iter_from(3) {
            let id = parse_i64(id).ok_or(ErrorReply::INVALID_CLIENT_ID)?;
            filter.ids.push(id as u64);
        }
    } else if args.len() != 2 {
        return Err(ErrorReply::SYNTAX);
    }
    Ok(list(filter))
}

fn list(filter: ClientFilter) -> Step {
    Step::Ask {
        whom: Whom::Clients,
        ask: CoreAsk::ListClients(filter),
        then: list_reply,
    }
}

fn list_reply(
    _: &mut Context<'_>,
    answers: Vec<CoreAnswer>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let mut lines = Vec::new();
    for answer in answers {
        if let CoreAnswer::Lines(some) = answer {
            lines.extend(some);
        }
    }
    lines.sort_by_key(|(order, _)| *order);
    let mut text = Vec::new();
    for (_, line) in lines {
        text.extend(line);
    }
    reply.verbatim("txt", &text);
    Ok(())
}

/// The kind of clients that a word means, in any case.
fn kind_named(word: &[u8]) -> Result<ClientKind, ErrorReply> {
    match word.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(ClientKind::Normal),
        b"slave" | b"replica" => Ok(ClientKind::Replica),
        b"pubsub" => Ok(ClientKind::PubSub),
        b"master" => Ok(ClientKind::Primary),
        _ => Err(ErrorReply::unknown_client_type(word)),
    }
}

fn client_kill(context: &mut Context<'_>, args: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    let own = context.client.id;
    let (mut filter, skip_me, then): (_, _, FinishFn) = if args.len() == 3 {
        let filter = ClientFilter {
            peer: Some(args.get(2).to_vec()),
            ..ClientFilter::default()
        };
        (filter, false, killed_one)
    } else {
        let (filter, skip_me) = kill_filter(args, context.core.users)?;
        (filter, skip_me, killed_many)
    };
    // One's own connection closes after the reply, so it is no matter for the cores.
    context.client.closing |= !skip_me && context.client.fits(&filter);
    filter.not = Some(own);
    Ok(Step::Ask {
        whom: Whom::Clients,
        ask: CoreAsk::KillClients(filter),
        then,
    })
}

/// The filter that pairs of options and values make up, and whether the caller is spared.
fn kill_filter(args: &Args<'_>, users: &Users) -> Result<(ClientFilter, bool), ErrorReply> {
    let mut filter = ClientFilter::default();
    let mut skip_me = true;
    let mut at = 2;
    while at < args.len() {
        let value = args.opt(at + 1).ok_or(ErrorReply::SYNTAX)?;
        if args.is(at, "ID") {
            let id = parse_i64(value).filter(|id| *id > 0);
            filter.ids = vec![id.ok_or(ErrorReply::CLIENT_ID_NOT_POSITIVE)? as u64];
        } else if args.is(at, "TYPE") {
            filter.kind = Some(kind_named(value)?);
        } else if args.is(at, "ADDR") {
            filter.peer = Some(value.to_vec());
        } else if args.is(at, "LADDR") {
            filter.local = Some(value.to_vec());
        } else if args.is(at, "USER") {
            if users.get(value).is_none() {
                return Err(ErrorReply::no_such_user(value));
            }
            filter.user = Some(value.to_vec());
        } else if args.is(at, "SKIPME") && args.is(at + 1, "YES") {
            skip_me = true;
        } else if args.is(at, "SKIPME") && args.is(at + 1, "NO") {
            skip_me = false;
        } else {
            return Err(ErrorReply::SYNTAX);
        }
        at += 2;
    }
    Ok((filter, skip_me))
}

fn killed(client: &Client, answers: &[CoreAnswer]) -> usize {
    sum(answers) + usize::from(client.closing)
}

fn sum(answers: &[CoreAnswer]) -> usize {
    let counts = answers.iter().map(|answer| match answer {
        CoreAnswer::Count(count) => *count,
        _ => 0,
    });
    counts.sum()
}

fn killed_one(
    context: &mut Context<'_>,
    answers: Vec<CoreAnswer>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    if killed(context.client, &answers) == 0 {
        return Err(ErrorReply::NO_SUCH_CLIENT);
    }
    reply.ok();
    Ok(())
}

fn killed_many(
    context: &mut Context<'_>,
    answers: Vec<CoreAnswer>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    reply.count(killed(context.client, &answers));
    Ok(())
}

fn client_pause(context: &mut Context<'_>, args: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    let writes_only = match args.len() {
        3 => false,
        4 if args.is(3, "WRITE") => true,
        4 if args.is(3, "ALL") => false,
        4 => return Err(ErrorReply::PAUSE_MODE),
        _ => return Err(ErrorReply::subcommand_syntax(args.get(1), "CLIENT")),
    };
    let timeout_ms = parse_i64(args.get(2)).ok_or(ErrorReply::TIMEOUT_NOT_INTEGER)?;
    if timeout_ms < 0 {
        return Err(ErrorReply::TIMEOUT_NEGATIVE);
    }
    // Zero means "no pause" to the cores: a pause that is over at once ends a moment ago instead.
    let until_ms = context.core.now.saturating_add(timeout_ms).max(1);
    Ok(set_pause(until_ms, writes_only, !args.caller.deny_blocking))
}

fn client_unpause(_: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    Ok(set_pause(0, false, false))
}

fn set_pause(until_ms: i64, writes_only: bool, waits: bool) -> Step {
    Step::Ask {
        whom: Whom::Control,
        ask: CoreAsk::SetPause {
            until_ms,
            writes_only,
            waits,
        },
        then: crate::command::client::ok_or_failed,
    }
}

fn client_unblock(_: &mut Context<'_>, args: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    let error = match args.len() {
        3 => false,
        4 if args.is(3, "TIMEOUT") => false,
        4 if args.is(3, "ERROR") => true,
        4 => return Err(ErrorReply::UNBLOCK_REASON),
        _ => return Err(ErrorReply::subcommand_syntax(args.get(1), "CLIENT")),
    };
    let id = parse_i64(args.get(2)).ok_or(ErrorReply::NOT_INTEGER)?;
    Ok(Step::Ask {
        whom: Whom::Cores,
        ask: CoreAsk::Unblock {
            client: id as u64,
            error,
        },
        then: |_, answers, reply| {
            reply.count(sum(&answers));
            Ok(())
        },
    })
}

fn client_help(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.help(
        "CLIENT",
        &[
            ("CACHING (YES|NO)", &["Whether the keys that the next command reads are tracked, with OPTIN or OPTOUT."]),
            ("GETNAME", &["The name of this connection."]),
            ("GETREDIR", &["The client that is told of changes instead of this one."]),
            ("ID", &["The id of this connection."]),
            ("INFO", &["This connection in one line."]),
            ("KILL <ip:port>", &["Closes the connection from that address."]),
            (
                "KILL <option> <value> [<option> <value> [...]]",
                &[
                    "Closes the connections that fit all options:",
                    "* ADDR (<ip:port>|<unixsocket>:0), LADDR: the address at its end, at ours",
                    "* ID <client-id>",
                    "* TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
                    "* USER <username>",
                    "* SKIPME (YES|NO): spares this connection (default: yes)",
                ],
            ),
            (
                "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB) | ID <client-id> [...]]",
                &["All connections, or those of a type or with an id, one line each."],
            ),
            ("NO-EVICT (ON|OFF)", &["Exempts this connection from eviction."]),
            ("NO-TOUCH (ON|OFF)", &["Reads by this connection leave access clocks alone."]),
            (
                "PAUSE <timeout> [WRITE|ALL]",
                &["Holds back the commands of all clients, or writes only, for so many milliseconds."],
            ),
            ("REPLY (ON|OFF|SKIP)", &["Switches the replies to this connection."]),
            ("SETINFO (LIB-NAME|LIB-VER) <value>", &["Says which library speaks."]),
            ("SETNAME <name>", &["Names this connection."]),
            (
                "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
                &["Switches on or off that this connection hears of changes to keys that it has read."],
            ),
            ("TRACKINGINFO", &["How this connection tracks keys."]),
            ("UNBLOCK <client-id> [TIMEOUT|ERROR]", &["Wakes a blocked client."]),
            ("UNPAUSE", &["Ends the pause."]),
        ],
    );
    Ok(Step::Done)
}
