//! ASKING, READONLY, READWRITE: what a connection says of itself before a node serves what is not simply its own.

use crate::command::client::{Context, Step};
use crate::command::spec::{Acl, Arity, Command, Docs, Flags, Group, Run};
use crate::resp::Reply;
use crate::resp::request::Args;

use super::{Outcome, in_cluster};

pub(super) const ASKING: Command = Command {
    name: "ASKING",
    arity: Arity::Exactly(1),
    flags: Flags::FAST.and(Flags::ASKS),
    acl: Acl::CONNECTION,
    keys: &[],
    docs: Docs {
        group: Group::Cluster,
        since: "3.0.0",
        complexity: "O(1)",
        summary: "The next command follows an ASK redirection.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(asking),
    subcommands: &[],
};

pub(super) const READONLY: Command = Command {
    name: "READONLY",
    arity: Arity::Exactly(1),
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
    acl: Acl::CONNECTION,
    keys: &[],
    docs: Docs {
        group: Group::Cluster,
        since: "3.0.0",
        complexity: "O(1)",
        summary: "Lets this connection read from a replica.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(readonly),
    subcommands: &[],
};

pub(super) const READWRITE: Command = Command {
    name: "READWRITE",
    arity: Arity::Exactly(1),
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
    acl: Acl::CONNECTION,
    keys: &[],
    docs: Docs {
        group: Group::Cluster,
        since: "3.0.0",
        complexity: "O(1)",
        summary: "Ends READONLY.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(readwrite),
    subcommands: &[],
};

fn asking(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    in_cluster(context.core.config)?;
    context.client.asking = true;
    context.client.refresh();
    reply.ok();
    Ok(Step::Done)
}

fn readonly(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    in_cluster(context.core.config)?;
    context.client.readonly = true;
    reply.ok();
    Ok(Step::Done)
}

fn readwrite(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    in_cluster(context.core.config)?;
    context.client.readonly = false;
    reply.ok();
    Ok(Step::Done)
}
