//! CLIENT TRACKING and what belongs to it: caches of clients, told when keys change.
//!
//! The handlers decide how a client tracks. The engine makes that known to all shards (`engine/push.rs`), which remember
//! who has read what (`pubsub/tracking.rs`).

use crate::base::number::parse_i64;
use crate::command::client::{Client, ClientTracking, Context, Step, Whom};
use crate::command::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};
use crate::mesh::message::{CoreAnswer, CoreAsk};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

pub(super) const CACHING: Command = Command {
    name: "CACHING",
    arity: Arity::Exactly(3),
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
    acl: Acl::CONNECTION,
    keys: &[],
    docs: Docs {
        group: Group::Connection,
        since: "6.0.0",
        complexity: "O(1)",
        summary: "Says whether the keys that the next command reads are tracked.",
        arguments: &[Argument::one_of(
            "mode",
            &[Argument::word("yes", "YES"), Argument::word("no", "NO")],
        )],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(client_caching),
    subcommands: &[],
};

pub(super) const GETREDIR: Command = Command {
    name: "GETREDIR",
    arity: Arity::Exactly(2),
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
    acl: Acl::CONNECTION,
    keys: &[],
    docs: Docs {
        group: Group::Connection,
        since: "6.0.0",
        complexity: "O(1)",
        summary: "Reads the id of the client that is told of changes instead of this one.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(client_getredir),
    subcommands: &[],
};

pub(super) const TRACKING: Command = Command {
    name: "TRACKING",
    arity: Arity::AtLeast(3),
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
    acl: Acl::CONNECTION,
    keys: &[],
    docs: Docs {
        group: Group::Connection,
        since: "6.0.0",
        complexity: "O(1), and more for prefixes",
        summary: "Switches on or off that the client is told when keys change that it has cached.",
        arguments: &[
            Argument::one_of(
                "status",
                &[Argument::word("on", "ON"), Argument::word("off", "OFF")],
            ),
            Argument::integer("client-id").token("REDIRECT").optional(),
            Argument::string("prefix")
                .token("PREFIX")
                .optional()
                .multiple()
                .multiple_token(),
            Argument::word("bcast", "BCAST").optional(),
            Argument::word("optin", "OPTIN").optional(),
            Argument::word("optout", "OPTOUT").optional(),
            Argument::word("noloop", "NOLOOP").optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(client_tracking),
    subcommands: &[],
};

pub(super) const TRACKINGINFO: Command = Command {
    name: "TRACKINGINFO",
    arity: Arity::Exactly(2),
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
    acl: Acl::CONNECTION,
    keys: &[],
    docs: Docs {
        group: Group::Connection,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Describes how the connection tracks keys.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(client_trackinginfo),
    subcommands: &[],
};

type Outcome = Result<Step, ErrorReply>;

fn client_tracking(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut wanted = ClientTracking::default();
    let mut at = 3;
    while at < args.len() {
        let more = args.len() - 1 - at;
        if args.is(at, "REDIRECT") && more > 0 {
            if wanted.redirect != 0 {
                return Err(ErrorReply::TRACKING_REDIRECT_TWICE);
            }
            at += 1;
            let id = parse_i64(args.get(at)).ok_or(ErrorReply::NOT_INTEGER)?;
            // No client has such a number.
            wanted.redirect = u64::try_from(id)
                .ok()
                .filter(|id| *id > 0)
                .ok_or(ErrorReply::TRACKING_REDIRECT_MISSING)?;
        } else if args.is(at, "PREFIX") && more > 0 {
            at += 1;
            wanted.prefixes.push(args.get(at).into());
        } else if args.is(at, "BCAST") {
            wanted.bcast = true;
        } else if args.is(at, "OPTIN") {
            wanted.optin = true;
        } else if args.is(at, "OPTOUT") {
            wanted.optout = true;
        } else if args.is(at, "NOLOOP") {
            wanted.noloop = true;
        } else {
            return Err(ErrorReply::SYNTAX);
        }
        at += 1;
    }
    let client = &mut *context.client;
    if args.is(2, "OFF") {
        client.tracking_changed = client.tracking.take().is_some();
        reply.ok();
        return Ok(Step::Done);
    }
    if !args.is(2, "ON") {
        return Err(ErrorReply::SYNTAX);
    }
    check(client.tracking.as_deref(), &wanted)?;
    if wanted.redirect == 0 {
        begin(client, wanted);
        reply.ok();
        return Ok(Step::Done);
    }
    let ask = CoreAsk::FindClient(wanted.redirect);
    client.tracking_wanted = Some(Box::new(wanted));
    Ok(Step::Ask {
        whom: Whom::Cores,
        ask,
        then: redirect_found,
    })
}

/// Whether options fit each other and what is in force.
fn check(present: Option<&ClientTracking>, wanted: &ClientTracking) -> Result<(), ErrorReply> {
    if !wanted.bcast && !wanted.prefixes.is_empty() {
        return Err(ErrorReply::TRACKING_PREFIX_WITHOUT_BCAST);
    }
    if present.is_some_and(|present| present.bcast != wanted.bcast) {
        return Err(ErrorReply::TRACKING_SWITCH_BCAST);
    }
    if wanted.bcast && (wanted.optin || wanted.optout) {
        return Err(ErrorReply::TRACKING_OPT_WITH_BCAST);
    }
    if wanted.optin && wanted.optout {
        return Err(ErrorReply::TRACKING_OPTIN_OPTOUT);
    }
    if let Some(present) = present
        && (wanted.optin && present.optout || wanted.optout && present.optin)
    {
        return Err(ErrorReply::TRACKING_SWITCH_OPT);
    }
    let known = present.map_or(&[][..], |present| &present.prefixes);
    for (at, prefix) in wanted.prefixes.iter().enumerate() {
        if let Some(other) = known.iter().find(|other| overlap(prefix, other)) {
            return Err(ErrorReply::prefix_overlaps(prefix, "an existing", other));
        }
        let later = &wanted.prefixes[at + 1..];
        if let Some(other) = later.iter().find(|other| overlap(prefix, other)) {
            return Err(ErrorReply::prefix_overlaps(
                prefix,
                "another provided",
                other,
            ));
        }
    }
    Ok(())
}

/// Whether some key has both prefixes.
fn overlap(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn begin(client: &mut Client, mut wanted: ClientTracking) {
    if wanted.bcast {
        if wanted.prefixes.is_empty() {
            wanted.prefixes.push(Box::default());
        }
        if let Some(present) = &mut client.tracking {
            wanted.prefixes.append(&mut present.prefixes);
        }
        wanted.prefixes.sort_unstable();
        wanted.prefixes.dedup();
        wanted.measure();
    }
    client.tracking = Some(Box::new(wanted));
    client.tracking_changed = true;
}

fn redirect_found(
    context: &mut Context<'_>,
    answers: Vec<CoreAnswer>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let wanted = context.client.tracking_wanted.take();
    let found = answers.iter().find_map(|answer| match answer {
        CoreAnswer::Found(at) => Some(*at),
        _ => None,
    });
    let own = wanted
        .as_ref()
        .is_some_and(|wanted| wanted.redirect == context.client.id);
    let (Some(mut wanted), true) = (wanted, own || found.is_some()) else {
        return Err(ErrorReply::TRACKING_REDIRECT_MISSING);
    };
    wanted.redirect_at = found;
    begin(context.client, *wanted);
    reply.ok();
    Ok(())
}

fn client_caching(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Some(tracking) = &mut context.client.tracking else {
        return Err(ErrorReply::CACHING_WITHOUT_TRACKING);
    };
    if args.is(2, "YES") {
        if !tracking.optin {
            return Err(ErrorReply::CACHING_YES_WITHOUT_OPTIN);
        }
    } else if args.is(2, "NO") {
        if !tracking.optout {
            return Err(ErrorReply::CACHING_NO_WITHOUT_OPTOUT);
        }
    } else {
        return Err(ErrorReply::SYNTAX);
    }
    tracking.caching = true;
    context.client.refresh();
    reply.ok();
    Ok(Step::Done)
}

/// The client that is told instead: zero for none, -1 when nothing is tracked.
fn redirect_of(client: &Client) -> i64 {
    client
        .tracking
        .as_ref()
        .map_or(-1, |tracking| tracking.redirect as i64)
}

fn client_getredir(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.integer(redirect_of(context.client));
    Ok(Step::Done)
}

fn client_trackinginfo(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let off = ClientTracking::default();
    let present = context.client.tracking.as_deref();
    let tracking = present.unwrap_or(&off);
    let flags = [
        (present.is_some(), "on"),
        (present.is_none(), "off"),
        (tracking.bcast, "bcast"),
        (tracking.optin, "optin"),
        (tracking.optin && tracking.caching, "caching-yes"),
        (tracking.optout, "optout"),
        (tracking.optout && tracking.caching, "caching-no"),
        (tracking.noloop, "noloop"),
        (tracking.broken, "broken_redirect"),
    ];
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.iter().filter(|(set, _)| *set).count());
    for (_, word) in flags.iter().filter(|(set, _)| *set) {
        reply.bulk(word.as_bytes());
    }
    reply.bulk(b"redirect");
    reply.integer(redirect_of(context.client));
    reply.bulk(b"prefixes");
    reply.array(tracking.prefixes.len());
    for prefix in &tracking.prefixes {
        reply.bulk(prefix);
    }
    Ok(Step::Done)
}

#[cfg(test)]
mod tests {
    use crate::command::desk::Desk;
    use crate::mesh::message::CoreAnswer;

    #[test]
    fn options_must_fit_each_other_and_what_is_in_force() {
        let mut desk = Desk::new();
        for (line, expected) in [
            ("CLIENT TRACKING maybe", "-ERR syntax error"),
            ("CLIENT TRACKING ON what", "-ERR syntax error"),
            (
                "CLIENT TRACKING ON PREFIX a",
                "-ERR PREFIX option requires BCAST mode to be enabled",
            ),
            (
                "CLIENT TRACKING ON BCAST OPTIN",
                "-ERR OPTIN and OPTOUT are not compatible with BCAST",
            ),
            (
                "CLIENT TRACKING ON OPTIN OPTOUT",
                "-ERR You can't specify both OPTIN mode and OPTOUT mode",
            ),
            (
                "CLIENT TRACKING ON REDIRECT 5 REDIRECT 6",
                "-ERR A client can only redirect to a single other client",
            ),
            (
                "CLIENT TRACKING ON REDIRECT 5",
                "-ERR The client ID you want redirect to does not exist",
            ),
            (
                "CLIENT TRACKING ON BCAST PREFIX ab PREFIX a",
                "-ERR Prefix 'ab' overlaps with another provided prefix 'a'. Prefixes for a single client must not overlap.",
            ),
            ("CLIENT TRACKING ON BCAST PREFIX b", "+OK"),
            (
                "CLIENT TRACKING ON BCAST PREFIX bc",
                "-ERR Prefix 'bc' overlaps with an existing prefix 'b'. Prefixes for a single client must not overlap.",
            ),
            ("CLIENT TRACKING ON BCAST PREFIX a", "+OK"),
            (
                "CLIENT TRACKING ON",
                "-ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.",
            ),
            (
                "CLIENT TRACKINGINFO",
                "*6 $5 flags *2 $2 on $5 bcast $8 redirect :0 $8 prefixes *2 $1 a $1 b",
            ),
            ("CLIENT TRACKING OFF", "+OK"),
            ("CLIENT GETREDIR", ":-1"),
        ] {
            assert_eq!(
                desk.line(line).replace("\r\n", " ").trim_end(),
                expected,
                "{line}"
            );
        }
        desk.answers = vec![CoreAnswer::Done, CoreAnswer::Found((1, 5))];
        assert_eq!(desk.line("CLIENT TRACKING ON REDIRECT 5"), "+OK\r\n");
        assert_eq!(desk.line("CLIENT GETREDIR"), ":5\r\n");
        assert!(desk.client.tracking_changed, "the engine tells the shards");
        desk.client.refresh();
        assert!(desk.client.remembers);
    }

    #[test]
    fn caching_concerns_the_modes_that_ask_for_it() {
        let mut desk = Desk::new();
        let lines = [
            (
                "CLIENT CACHING YES",
                "-ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
            ),
            ("CLIENT TRACKING ON OPTIN", "+OK"),
            (
                "CLIENT CACHING NO",
                "-ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
            ),
            ("CLIENT CACHING maybe", "-ERR syntax error"),
            ("CLIENT CACHING YES", "+OK"),
            (
                "CLIENT TRACKINGINFO",
                "*6 $5 flags *3 $2 on $5 optin $11 caching-yes $8 redirect :0 $8 prefixes *0",
            ),
        ];
        for (line, expected) in lines {
            assert_eq!(
                desk.line(line).replace("\r\n", " ").trim_end(),
                expected,
                "{line}"
            );
        }
        assert!(desk.client.remembers);
        desk.line("CLIENT TRACKING OFF");
        desk.line("CLIENT TRACKING ON OPTOUT");
        assert_eq!(
            desk.line("CLIENT CACHING YES"),
            "-ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.\r\n"
        );
        assert_eq!(desk.line("CLIENT CACHING NO"), "+OK\r\n");
        assert!(!desk.client.remembers);
    }
}
