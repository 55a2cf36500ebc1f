//! FAILOVER: hands this primary's part to one of its replicas. The control core does it; here the words are read.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::client::{Context, Step, Whom, ok_or_failed};
use crate::command::parse;
use crate::command::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};
use crate::mesh::message::{CoreAsk, FailoverOrder};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::Outcome;

pub(super) const FAILOVER: Command = Command {
    name: "FAILOVER",
    arity: Arity::AtLeast(1),
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::STALE),
    acl: Acl::NONE,
    keys: &[],
    docs: Docs {
        group: Group::Server,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Has this primary and one of its replicas change places.",
        arguments: &[
            Argument::block(
                "target",
                &[
                    Argument::string("host"),
                    Argument::integer("port"),
                    Argument::word("force", "FORCE").optional(),
                ],
            )
            .token("TO")
            .optional(),
            Argument::word("abort", "ABORT").optional(),
            Argument::integer("milliseconds")
                .token("TIMEOUT")
                .optional(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(failover),
    subcommands: &[],
};

fn failover(context: &mut Context<'_>, args: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    if context.core.config.cluster_enabled {
        return Err(ErrorReply::CLUSTER_FAILOVER);
    }
    let order = match args.len() == 2 && args.is(1, "ABORT") {
        true => FailoverOrder::Abort,
        false => begin(context, args)?,
    };
    Ok(Step::Ask {
        whom: Whom::Control,
        ask: CoreAsk::Failover(order),
        then: ok_or_failed,
    })
}

fn begin(context: &Context<'_>, args: &Args<'_>) -> Result<FailoverOrder, ErrorReply> {
    let (mut timeout_ms, mut target, mut force) = (None, None, false);
    let mut at = 1;
    while at < args.len() {
        let left = args.len() - at - 1;
        if args.is(at, "TIMEOUT") && left >= 1 && timeout_ms.is_none() {
            let ms = parse::integer(args, at + 1)?;
            if ms <= 0 {
                return Err(ErrorReply::FAILOVER_TIMEOUT);
            }
            timeout_ms = Some(ms);
            at += 2;
        } else if args.is(at, "TO") && left >= 2 && target.is_none() {
            let port = parse::integer(args, at + 2)?;
            let host = String::from_utf8_lossy(args.get(at + 1)).into_owned();
            target = Some((host, port));
            at += 3;
        } else if args.is(at, "FORCE") && !force {
            force = true;
            at += 1;
        } else {
            return Err(ErrorReply::SYNTAX);
        }
    }
    // What depends on the moment is asked of the control core, in Redis's order: whether one is under way comes first.
    let status = &context.core.observatory.replication;
    if status.failing_over.load(Relaxed) {
        return Err(ErrorReply::FAILOVER_UNDER_WAY);
    }
    if status.is_replica.load(Relaxed) {
        return Err(ErrorReply::FAILOVER_OF_REPLICA);
    }
    Ok(FailoverOrder::Begin {
        target,
        timeout_ms,
        force,
    })
}
