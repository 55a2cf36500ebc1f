//! ROLE: primary or replica, and of whom. The control core knows.

use crate::command::client::{Context, Step, Whom};
use crate::command::spec::{Acl, Arity, Command, Docs, Flags, Group, Run};
use crate::mesh::message::{CoreAnswer, CoreAsk};
use crate::replication::report::{LinkState, ReplicaState, Report};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::Outcome;

pub(super) const ROLE: Command = Command {
    name: "ROLE",
    arity: Arity::Exactly(1),
    flags: Flags::NOSCRIPT
        .and(Flags::LOADING)
        .and(Flags::STALE)
        .and(Flags::FAST),
    acl: Acl::ADMIN.and(Acl::DANGEROUS),
    keys: &[],
    docs: Docs {
        group: Group::Server,
        since: "2.8.12",
        complexity: "O(1)",
        summary: "Tells whether this is a primary or a replica, and of whom.",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Client(role),
    subcommands: &[],
};

fn role(_: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    Ok(Step::Ask {
        whom: Whom::Control,
        ask: CoreAsk::Replication { note: 0 },
        then: |_, answers, reply| {
            for answer in answers {
                if let CoreAnswer::Replication { report, .. } = answer {
                    tell(&report, reply);
                }
            }
            Ok::<(), ErrorReply>(())
        },
    })
}

pub(super) fn tell(report: &Report, reply: &mut Reply<'_>) {
    if let Some(link) = &report.link {
        reply.array(5);
        reply.bulk(b"slave");
        reply.bulk(link.host.as_bytes());
        reply.integer(i64::from(link.port));
        reply.bulk(link.state.word().as_bytes());
        let is_up = link.state == LinkState::Connected;
        reply.integer(if is_up {
            link.applied_offset as i64
        } else {
            -1
        });
        return;
    }
    let online = |state| state == ReplicaState::Online;
    let online: Vec<_> = report
        .replicas
        .iter()
        .filter(|replica| online(replica.state))
        .collect();
    reply.array(3);
    reply.bulk(b"master");
    reply.integer(report.history.offset as i64);
    reply.array(online.len());
    for replica in online {
        reply.array(3);
        reply.bulk(replica.ip.as_bytes());
        reply.bulk_integer(i64::from(replica.port));
        reply.bulk_integer(replica.offset as i64);
    }
}
