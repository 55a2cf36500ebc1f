//! PSYNC and SYNC: a connection becomes a replica's, and the control core's.
//!
//! What can be refused here is: afterwards the connection has left its core, and what else is wrong ends it.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::client::{Context, Step};
use crate::command::parse;
use crate::command::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};
use crate::replication::{SyncRequest, handshake};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::Outcome;

pub(super) const PSYNC: Command = Command {
    name: "PSYNC",
    arity: Arity::AtLeast(3),
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::NO_ASYNC_LOADING)
        .and(Flags::NO_MULTI),
    acl: Acl::NONE,
    keys: &[],
    docs: Docs {
        group: Group::Server,
        since: "2.8.0",
        complexity: "",
        summary: "Asks for the stream of changes from an offset on; replicas say it to their primary.",
        arguments: &[
            Argument::string("replicationid"),
            Argument::integer("offset"),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(psync),
    subcommands: &[],
};

pub(super) const SYNC: Command = Command {
    name: "SYNC",
    arity: Arity::Exactly(1),
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::NO_ASYNC_LOADING)
        .and(Flags::NO_MULTI),
    acl: Acl::NONE,
    keys: &[],
    docs: Docs {
        group: Group::Server,
        since: "1.0.0",
        complexity: "",
        summary: "Asks for a copy of all data and the stream of changes after it, as old replicas do.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(sync),
    subcommands: &[],
};

fn psync(context: &mut Context<'_>, args: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    let status = &context.core.observatory.replication;
    let takes_over = args.len() > 3 && args.is(3, "FAILOVER");
    if takes_over && !status.is_replica.load(Relaxed) {
        return Err(ErrorReply::FAILOVER_OF_PRIMARY);
    }
    if !takes_over {
        may_sync(context)?;
    }
    let from = parse::integer(args, 2).inspect_err(|_| {
        log::warn!(
            "Replica {} asks for synchronization but with a wrong offset",
            context.client.peer
        );
    })?;
    if let Some(offer) = args.get(1).strip_prefix(handshake::FLOW_OF) {
        return Ok(Step::HandOver(SyncRequest::Flow {
            offer: offer.to_vec(),
            number: u16::try_from(from).unwrap_or(u16::MAX),
        }));
    }
    Ok(Step::HandOver(SyncRequest::Partial {
        id: args.get(1).to_vec(),
        from,
        takes_over,
    }))
}

fn sync(context: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    may_sync(context)?;
    Ok(Step::HandOver(SyncRequest::Legacy))
}

/// What stands against serving a replica just now.
fn may_sync(context: &Context<'_>) -> Result<(), ErrorReply> {
    let status = &context.core.observatory.replication;
    if status.failing_over.load(Relaxed) {
        return Err(ErrorReply::SYNC_WHILE_FAILING_OVER);
    }
    if status.is_replica.load(Relaxed) && !status.link_is_up.load(Relaxed) {
        return Err(ErrorReply::SYNC_WITHOUT_PRIMARY);
    }
    let facts = context.client.peer_facts.as_deref();
    if facts.is_some_and(|facts| !facts.filter.is_everything() && !facts.takes_marked) {
        return Err(ErrorReply::FILTER_WITHOUT_MARK);
    }
    Ok(())
}
