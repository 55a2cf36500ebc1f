//! WAIT and WAITAOF: until replicas, or the log, have what this client has written. There are no replicas yet, so none
//! ever confirms anything, and a client that wants it waits as long as it has said.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::client::{Context, Step};
use crate::command::parse;
use crate::command::spec::{Acl, Argument, Arity, Command, Docs, Flags, Group, Run};
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
    let replicas = parse::integer(args, 1)?;
    let until = parse::timeout_ms(args, 2, context.core.now)?;
    reply.integer(0);
    Ok(if replicas > 0 {
        Step::Block(until)
    } else {
        Step::Done
    })
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
    reply: &mut Reply<'_>,
) -> Result<Step, ErrorReply> {
    let local = parse::integer(args, 1)?;
    if !(0..=1).contains(&local) {
        return Err(ErrorReply::out_of_range(0, 1));
    }
    let replicas = parse::at_least(args, 2, 0, ErrorReply::NOT_POSITIVE)?;
    let until = parse::timeout_ms(args, 3, context.core.now)?;
    let is_logged = context.core.observatory.snapshots.log.on.load(Relaxed);
    if local > 0 && !is_logged {
        return Err(ErrorReply::WAITAOF_NO_LOG);
    }
    reply.array(2);
    reply.integer(0);
    reply.integer(0);
    Ok(match (local, replicas) {
        (_, 1..) => Step::Block(until),
        (1.., _) => Step::BlockUntilSynced(until),
        _ => Step::Done,
    })
}

/// What WAITAOF replies when the log is on disk.
pub fn synced(reply: &mut Reply<'_>) {
    reply.array(2);
    reply.integer(1);
    reply.integer(0);
}

#[cfg(test)]
mod tests {
    use crate::command::client::Step;
    use crate::command::desk::Desk;

    #[test]
    fn wait_answers_at_once_when_nothing_is_asked_for_and_blocks_otherwise() {
        let mut desk = Desk::new();
        for line in ["WAIT 0 0", "WAIT -1 1000", "WAIT 0 5"] {
            assert!(matches!(desk.step(line), Ok(Step::Done)), "{line}");
            assert_eq!(desk.line(line), ":0\r\n");
        }
        let now = desk.now;
        assert!(matches!(desk.step("WAIT 1 0"), Ok(Step::Block(None))));
        assert!(
            matches!(desk.step("WAIT 2 50"), Ok(Step::Block(Some(until))) if until == now + 50)
        );
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
    fn waitaof_has_no_log_to_wait_for() {
        let mut desk = Desk::new();
        assert_eq!(desk.line("WAITAOF 0 0 0"), "*2\r\n:0\r\n:0\r\n");
        assert!(matches!(desk.step("WAITAOF 0 1 0"), Ok(Step::Block(None))));
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
    }
}
