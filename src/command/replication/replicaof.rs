//! REPLICAOF and its older name: whose replica this server is. The control core does it.

use crate::base::number::parse_i64;
use crate::command::client::{Context, Step, Whom};
use crate::command::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};
use crate::mesh::message::{CoreAnswer, CoreAsk};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

const ARGUMENTS: &[Argument] = &[Argument::one_of(
    "args",
    &[
        Argument::block(
            "host-port",
            &[Argument::string("host"), Argument::integer("port")],
        ),
        Argument::block(
            "no-one",
            &[Argument::word("no", "NO"), Argument::word("one", "ONE")],
        ),
    ],
)];

pub(super) const REPLICAOF: Command = Command {
    name: "REPLICAOF",
    arity: Arity::Exactly(3),
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::STALE)
        .and(Flags::NO_ASYNC_LOADING),
    acl: Acl::NONE,
    keys: &[],
    docs: Docs {
        group: Group::Server,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Makes this server follow another one, or follow none any more.",
        arguments: ARGUMENTS,
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(replicaof),
    subcommands: &[],
};

pub(super) const SLAVEOF: Command = Command {
    name: "SLAVEOF",
    docs: Docs {
        since: "1.0.0",
        summary: "The older name of REPLICAOF.",
        deprecated: Some(("5.0.0", "`REPLICAOF`")),
        ..REPLICAOF.docs
    },
    ..REPLICAOF
};

fn replicaof(
    context: &mut Context<'_>,
    args: &Args<'_>,
    _: &mut Reply<'_>,
) -> Result<Step, ErrorReply> {
    if context.core.config.cluster_enabled {
        return Err(ErrorReply::CLUSTER_REPLICAOF);
    }
    let primary = if args.is(1, "no") && args.is(2, "one") {
        None
    } else {
        let port = parse_i64(args.get(2)).ok_or(ErrorReply::INVALID_PRIMARY_PORT)?;
        let port = u16::try_from(port).map_err(|_| ErrorReply::INVALID_PRIMARY_PORT)?;
        Some((args.get(1).to_vec(), port))
    };
    Ok(Step::Ask {
        whom: Whom::Control,
        ask: CoreAsk::ReplicaOf {
            primary,
            // Within EXEC shards may be in hand, which the change may have to wait for.
            waits: !args.caller.deny_blocking,
            client: context.client.peer.clone(),
        },
        then: replied,
    })
}

fn replied(
    _: &mut Context<'_>,
    answers: Vec<CoreAnswer>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    match answers.into_iter().next() {
        Some(CoreAnswer::Failed(text)) => return Err(ErrorReply::text(text)),
        Some(CoreAnswer::Known) => reply.simple("OK Already connected to specified master"),
        _ => reply.ok(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::desk::Desk;

    #[test]
    fn a_primary_has_a_host_and_a_port() {
        let mut desk = Desk::new();
        for line in [
            "REPLICAOF host x",
            "REPLICAOF host -1",
            "SLAVEOF host 65536",
            "REPLICAOF no two",
        ] {
            assert_eq!(desk.line(line), "-ERR Invalid master port\r\n", "{line}");
        }
        let asked = |step| match step {
            Ok(Step::Ask {
                ask: CoreAsk::ReplicaOf { primary, .. },
                ..
            }) => primary,
            other => panic!("{other:?}"),
        };
        assert_eq!(asked(desk.step("SLAVEOF No One")), None);
        let primary = Some((b"host".to_vec(), 6379));
        assert_eq!(asked(desk.step("REPLICAOF host 6379")), primary);
    }
}
