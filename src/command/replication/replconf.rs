//! REPLCONF: what a replica says of itself before it asks for the stream.
//!
//! Whatever is said here is remembered with the client and goes along when its connection does. What a replica says
//! later (ACK) never comes here: the control core reads its connection then.

use crate::base::number::parse_i64;
use crate::base::words;
use crate::command::client::{Context, Step};
use crate::command::spec::{Acl, Arity, Command, Docs, Flags, Group, Run};
use crate::replication::{Filter, PeerFacts, handshake};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::Outcome;

/// An address as long as this is none (Redis: NET_HOST_STR_LEN).
const ADDRESS_MAX: usize = 256;

pub(super) const REPLCONF: Command = Command {
    name: "REPLCONF",
    arity: Arity::AtLeast(1),
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::LOADING)
        .and(Flags::STALE)
        .and(Flags::ALLOW_BUSY)
        .and(Flags::SYSTEM),
    acl: Acl::NONE,
    keys: &[],
    docs: Docs {
        group: Group::Server,
        since: "3.0.0",
        complexity: "O(1)",
        summary: "Tells a primary about the replica that speaks; servers say it to each other.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(replconf),
    subcommands: &[],
};

/// Options count one by one: what stands before a wrong one has been taken over.
fn replconf(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len().is_multiple_of(2) {
        return Err(ErrorReply::SYNTAX);
    }
    let facts = context.client.peer_facts.get_or_insert_default();
    for at in (1..args.len()).step_by(2) {
        let value = args.get(at + 1);
        if args.is(at, "listening-port") {
            let port = parse_i64(value).ok_or(ErrorReply::NOT_INTEGER)?;
            facts.port = u16::try_from(port).unwrap_or(0);
        } else if args.is(at, "ip-address") {
            if value.len() >= ADDRESS_MAX {
                return Err(ErrorReply::replica_address_too_long(value.len()));
            }
            facts.ip = String::from_utf8_lossy(value).into_owned();
        } else if args.is(at, "capa") {
            // What is not known here is not used: that is how more recent servers learn what to leave out.
            facts.takes_marked |= value.eq_ignore_ascii_case(b"eof");
            facts.knows_two_histories |= value.eq_ignore_ascii_case(b"psync2");
            if let Some(flows) = value.strip_prefix(handshake::FLOWS) {
                facts.flows = parse_i64(flows).map_or(0, |flows| flows.clamp(0, 1 << 10) as u16);
            }
        } else if args.is(at, "ack") || args.is(at, "getack") {
            return Ok(Step::Done); // from one that is no replica: there is nothing to say to it
        } else if args.is(at, "rdb-only") {
            facts.copy_only = match parse_i64(value).ok_or(ErrorReply::NOT_INTEGER)? {
                0 => false,
                1 => true,
                _ => return Err(ErrorReply::out_of_range(0, 1)),
            };
        } else if args.is(at, "rdb-filter-only") {
            filter(facts, value)?;
        } else {
            return Err(ErrorReply::unrecognized_replconf(args.get(at)));
        }
    }
    reply.ok();
    Ok(Step::Done)
}

/// Takes over what a copy is to hold: nothing but what is named.
fn filter(facts: &mut PeerFacts, value: &[u8]) -> Result<(), ErrorReply> {
    let names = words::split(value).ok_or(ErrorReply::MISSING_FILTER)?;
    facts.filter.data = false;
    let mut wanted = Filter {
        data: false,
        functions: false,
    };
    for name in names {
        if !name.eq_ignore_ascii_case(b"functions") {
            facts.filter = wanted;
            return Err(ErrorReply::unsupported_filter(&name));
        }
        wanted.functions = true;
    }
    facts.filter = wanted;
    Ok(())
}
