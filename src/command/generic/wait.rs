//! WAIT and WAITAOF: until replicas, or disks, have what this client has written. Where nobody may block they count.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::client::{Await, Context, Step, Whom};
use crate::command::parse;
use crate::command::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};
use crate::mesh::message::{CoreAnswer, CoreAsk};
use crate::replication::Status;
use crate::replication::report::ReplicaState;
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

pub(super) const WAIT: Command = Command {
    name: "WAIT",
    arity: Arity::Exactly(3),
    flags: Flags::NONE,
    acl: Acl::CONNECTION,
    keys: &[],
    docs: Docs {
        group: Group::Generic,
        since: "3.0.0",
        complexity: "O(1)",
        summary: "Waits until so many replicas have what the connection has written.",
        arguments: &[
            Argument::integer("numreplicas"),
            Argument::integer("timeout"),
        ],
        history: &[],
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        deprecated: None,
    },
    run: Run::Client(wait),
    subcommands: &[],
};

fn wait(
    context: &mut Context<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Step, ErrorReply> {
    let status = &context.core.observatory.replication;
    if status.is_replica.load(Relaxed) {
        return Err(ErrorReply::WAIT_ON_REPLICA);
    }
    let replicas = parse::integer(args, 1)?;
    let until = parse::timeout_ms(args, 2, context.core.now)?;
    if args.caller.from_script {
        reply.count(reported(status));
        return Ok(Step::Done);
    }
    if args.caller.deny_blocking {
        return Ok(count(false, counted));
    }
    Ok(Step::Await(Await {
        replicas,
        on_disk: None,
        until,
    }))
}

/// How many replicas a script is told of, which cannot wait for the control core: those that had all that was there when
/// it last looked. What the script itself has written has not left yet.
fn reported(status: &Status) -> usize {
    let Some(report) = status.last_report() else {
        return 0;
    };
    let up_to_date = report.replicas.iter().filter(|replica| {
        replica.state == ReplicaState::Online && replica.offset >= report.history.offset
    });
    up_to_date.count()
}

fn count(
    on_disk: bool,
    then: fn(&mut Context<'_>, Vec<CoreAnswer>, &mut Reply<'_>) -> Result<(), ErrorReply>,
) -> Step {
    Step::Ask {
        whom: Whom::Control,
        ask: CoreAsk::CountReplicas { on_disk },
        then,
    }
}

fn counted(
    _: &mut Context<'_>,
    answers: Vec<CoreAnswer>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    if let [CoreAnswer::Count(replicas)] = answers[..] {
        reply.count(replicas);
    }
    Ok(())
}

pub(super) const WAITAOF: Command = Command {
    name: "WAITAOF",
    arity: Arity::Exactly(4),
    flags: Flags::NOSCRIPT,
    acl: Acl::CONNECTION,
    keys: &[],
    docs: Docs {
        group: Group::Generic,
        since: "7.2.0",
        complexity: "O(1)",
        summary: "Waits until the logs of this server and of so many replicas have what the connection has written.",
        arguments: &[
            Argument::integer("numlocal"),
            Argument::integer("numreplicas"),
            Argument::integer("timeout"),
        ],
        history: &[],
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        deprecated: None,
    },
    run: Run::Client(waitaof),
    subcommands: &[],
};

fn waitaof(
    context: &mut Context<'_>,
    args: &Args<'_>,
    _: &mut Reply<'_>,
) -> Result<Step, ErrorReply> {
    let local = parse::integer(args, 1)?;
    if !(0..=1).contains(&local) {
        return Err(ErrorReply::out_of_range(0, 1));
    }
    let replicas = parse::at_least(args, 2, 0, ErrorReply::NOT_POSITIVE)?;
    let until = parse::timeout_ms(args, 3, context.core.now)?;
    let core = context.core;
    if core.observatory.replication.is_replica.load(Relaxed) {
        return Err(ErrorReply::WAITAOF_ON_REPLICA);
    }
    if local > 0 && !core.config.appendonly {
        return Err(ErrorReply::WAITAOF_NO_LOG);
    }
    if args.caller.deny_blocking {
        return Ok(count(true, counted_on_disk));
    }
    Ok(Step::Await(Await {
        replicas: i64::try_from(replicas).unwrap_or(i64::MAX),
        on_disk: Some(local > 0),
        until,
    }))
}

/// In EXEC, whose own changes are not written down yet: what came before is on disk for sure only under `always`.
fn counted_on_disk(
    context: &mut Context<'_>,
    answers: Vec<CoreAnswer>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let log = &context.core.observatory.snapshots.log;
    let is_synced = log.on.load(Relaxed) && log.always.load(Relaxed);
    reply.array(2);
    reply.integer(is_synced.into());
    counted(context, answers, reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::desk::Desk;

    fn wanted(desk: &mut Desk, line: &str) -> Await {
        match desk.step(line) {
            Ok(Step::Await(wanted)) => wanted,
            other => panic!("{line} gave {other:?}"),
        }
    }

    #[test]
    fn wait_waits_for_replicas() {
        let mut desk = Desk::new();
        let expected = Await {
            replicas: 1,
            on_disk: None,
            until: None,
        };
        assert_eq!(wanted(&mut desk, "WAIT 1 0"), expected);
        let until = Some(desk.now + 50);
        let expected = Await {
            replicas: -1,
            until,
            ..expected
        };
        assert_eq!(wanted(&mut desk, "WAIT -1 50"), expected);
        for (line, error) in [
            ("WAIT x 0", "value is not an integer or out of range"),
            ("WAIT 1 x", "timeout is not an integer or out of range"),
            ("WAIT 1 -1", "timeout is negative"),
            ("WAIT 1 9223372036854775807", "timeout is out of range"),
        ] {
            assert_eq!(desk.line(line), format!("-ERR {error}\r\n"), "{line}");
        }
    }

    #[test]
    fn waitaof_waits_for_the_own_disk_only_where_there_is_a_log() {
        let mut desk = Desk::new();
        let expected = Await {
            replicas: 1,
            on_disk: Some(false),
            until: None,
        };
        assert_eq!(wanted(&mut desk, "WAITAOF 0 1 0"), expected);
        for (line, error) in [
            (
                "WAITAOF 1 0 0",
                "WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
            ),
            (
                "WAITAOF 2 0 0",
                "value is out of range, value must between 0 and 1",
            ),
            ("WAITAOF 0 -1 0", "value is out of range, must be positive"),
            ("WAITAOF 0 1 x", "timeout is not an integer or out of range"),
        ] {
            assert_eq!(desk.line(line), format!("-ERR {error}\r\n"), "{line}");
        }
        desk.set("appendonly", "yes");
        let expected = Await {
            replicas: 0,
            on_disk: Some(true),
            until: None,
        };
        assert_eq!(wanted(&mut desk, "WAITAOF 1 0 0"), expected);
    }

    #[test]
    fn nobody_waits_for_replicas_of_a_replica() {
        let mut desk = Desk::new();
        let status = desk.observatory.replication.clone();
        status.is_replica.store(true, Relaxed);
        let wait = "-ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.\r\n";
        assert_eq!(desk.line("WAIT 0 0"), wait);
        let waitaof = "-ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated.\r\n";
        assert_eq!(desk.line("WAITAOF 0 0 0"), waitaof);
    }
}
