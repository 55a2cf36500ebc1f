//! The cluster: CLUSTER, and what a connection says before it is served something that is not simply this node's.
//!
//! What concerns keys is answered by the shards. All else is asked of the control core, which has the state machine
//! (`control/cluster/`); it is sent the whole request and answers with the reply.

mod client;
mod slot_stats;
mod table;

#[cfg(test)]
mod tests;

use crate::base::slot::{self, SLOTS, Slot};
use crate::config::Config;
use crate::mesh::message::{ClusterAsk, CoreAnswer, CoreAsk};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::Shard;

use super::client::{Context, Step, Whom};
use super::parse;
use super::spec::Command;

pub(super) const COMMANDS: &[Command] = &[
    client::ASKING,
    table::CLUSTER,
    client::READONLY,
    client::READWRITE,
];

type Outcome = Result<Step, ErrorReply>;

/// Refuses what only a node of a cluster does.
fn in_cluster(config: &Config) -> Result<(), ErrorReply> {
    match config.cluster_enabled {
        true => Ok(()),
        false => Err(ErrorReply::CLUSTER_DISABLED),
    }
}

/// Asks the control core.
fn ask(context: &mut Context<'_>, args: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    in_cluster(context.core.config)?;
    Ok(Step::Ask {
        whom: Whom::Control,
        ask: CoreAsk::Cluster(Box::new(ClusterAsk {
            args: args.iter_from(0).map(<[u8]>::to_vec).collect(),
            resp3: args.caller.resp3,
            in_transaction: args.caller.deny_blocking,
        })),
        then: answered,
    })
}

/// The words of DEBUG that concern the bus; `None` when it is another one.
pub(super) fn debug(
    context: &mut Context<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Option<Outcome> {
    let drops = args.is(1, "DROP-CLUSTER-PACKET-FILTER") && args.len() == 3;
    let kills = args.is(1, "CLUSTERLINK") && args.len() == 5 && args.is(2, "KILL");
    if !drops && !kills {
        return None;
    }
    if context.core.config.cluster_enabled {
        return Some(ask(context, args, reply));
    }
    if drops {
        reply.ok(); // there are no packets
        return Some(Ok(Step::Done));
    }
    Some(Err(ErrorReply::DEBUG_NO_CLUSTER))
}

fn answered(
    _: &mut Context<'_>,
    answers: Vec<CoreAnswer>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    match answers.into_iter().next() {
        Some(CoreAnswer::Failed(text)) => return Err(ErrorReply::text(text)),
        Some(CoreAnswer::Reply(bytes)) => reply.buffer().extend_from_slice(&bytes),
        _ => reply.ok(),
    }
    Ok(())
}

fn key_slot(context: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    in_cluster(context.core.config)?;
    reply.integer(slot::key_slot(args.get(2)).into());
    Ok(Step::Done)
}

/// The slot that argument 2 names.
fn slot_in(args: &Args<'_>, error: ErrorReply) -> Result<Slot, ErrorReply> {
    let number = parse::integer(args, 2)?;
    let slot = usize::try_from(number).ok().filter(|slot| *slot < SLOTS);
    slot.map(|slot| slot as Slot).ok_or(error)
}

fn count_keys_in_slot(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    in_cluster(&shard.config)?;
    let slot = slot_in(args, ErrorReply::INVALID_SLOT_TO_COUNT)?;
    reply.count(shard.slot_len(slot));
    Ok(())
}

fn get_keys_in_slot(
    shard: &mut Shard,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    in_cluster(&shard.config)?;
    let number = parse::integer(args, 2)?;
    let most = parse::integer(args, 3)?;
    let slot = usize::try_from(number).ok().filter(|slot| *slot < SLOTS);
    let most = usize::try_from(most).ok();
    let (Some(slot), Some(most)) = (slot, most) else {
        return Err(ErrorReply::INVALID_SLOT_OR_KEYS);
    };
    let keys = shard.keys_of_slot(slot as Slot, most);
    reply.array(keys.len());
    for key in &keys {
        reply.bulk(key);
    }
    Ok(())
}

/// Subcommands, and what they do.
const HELP: &[(&str, &[&str])] = &[
    (
        "ADDSLOTS <slot> [<slot> ...]",
        &["Make this node the owner of slots that nobody owns."],
    ),
    (
        "ADDSLOTSRANGE <first slot> <last slot> [<first slot> <last slot> ...]",
        &["The same for ranges."],
    ),
    (
        "BUMPEPOCH",
        &["Raise this node's config epoch above all others."],
    ),
    (
        "COUNT-FAILURE-REPORTS <node-id>",
        &["Count the nodes that report another one as failing."],
    ),
    ("COUNTKEYSINSLOT <slot>", &["Count the keys of a slot."]),
    ("DELSLOTS <slot> [<slot> ...]", &["Forget who owns slots."]),
    (
        "DELSLOTSRANGE <first slot> <last slot> [<first slot> <last slot> ...]",
        &["The same for ranges."],
    ),
    (
        "FAILOVER [FORCE|TAKEOVER]",
        &["Make this replica take the place of its primary."],
    ),
    ("FLUSHSLOTS", &["Give up all slots of this node."]),
    (
        "FORGET <node-id>",
        &["Take a node out of the table of nodes."],
    ),
    (
        "GETKEYSINSLOT <slot> <count>",
        &["Name some keys of a slot."],
    ),
    ("INFO", &["Tell whether the cluster works."]),
    ("KEYSLOT <key>", &["Compute the slot of a key."]),
    ("LINKS", &["List the connections to and from other nodes."]),
    (
        "MEET <ip> <port> [<bus-port>]",
        &["Introduce this node to another one."],
    ),
    ("MYID", &["Name this node."]),
    (
        "MYSHARDID",
        &["Name this node's group of primary and replicas."],
    ),
    ("NODES", &["List all nodes, a line for each."]),
    ("REPLICAS <node-id>", &["List the replicas of a primary."]),
    ("REPLICATE <node-id>", &["Make this node a replica."]),
    (
        "RESET [HARD|SOFT]",
        &["Forget the cluster. SOFT keeps the node's name and epochs."],
    ),
    ("SAVECONFIG", &["Write the node's file."]),
    (
        "SET-CONFIG-EPOCH <epoch>",
        &["Give a new node its first config epoch."],
    ),
    (
        "SETSLOT <slot> (IMPORTING <node-id>|MIGRATING <node-id>|STABLE|NODE <node-id>)",
        &["Say who owns a slot, or where its keys go or come from."],
    ),
    (
        "SHARDS",
        &["List groups of primary and replicas with their slots."],
    ),
    (
        "SLOT-STATS (SLOTSRANGE <first slot> <last slot>|ORDERBY <metric> [LIMIT <limit>] [ASC|DESC])",
        &["Tell what each slot of this node holds and costs."],
    ),
    ("SLOTS", &["List ranges of slots with their nodes."]),
];

fn help(context: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    in_cluster(context.core.config)?;
    reply.help("CLUSTER", HELP);
    Ok(Step::Done)
}
