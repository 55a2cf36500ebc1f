//! Transaction commands. They only change what is remembered of the client or say what is to be done; the engine watches
//! keys and runs the queue, because only it knows which shards are concerned.

use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::client::{Context, Multi, Step};
use super::spec::{Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run};
use super::table::Registered;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "MULTI",
        arity: Arity::Exactly(1),
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::ALLOW_BUSY)
            .and(Flags::IMMEDIATE),
        acl: Acl::TRANSACTION,
        keys: &[],
        docs: Docs {
            group: Group::Transactions,
            since: "1.2.0",
            complexity: "O(1)",
            summary: "Begins a transaction: the commands that follow are queued.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(multi),
        subcommands: &[],
    },
    Command {
        name: "EXEC",
        arity: Arity::Exactly(1),
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::SKIP_SLOWLOG)
            .and(Flags::IMMEDIATE),
        acl: Acl::TRANSACTION,
        keys: &[],
        docs: Docs {
            group: Group::Transactions,
            since: "1.2.0",
            complexity: "That of the queued commands",
            summary: "Runs the commands queued since MULTI as one step.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(exec),
        subcommands: &[],
    },
    Command {
        name: "DISCARD",
        arity: Arity::Exactly(1),
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::ALLOW_BUSY)
            .and(Flags::IMMEDIATE),
        acl: Acl::TRANSACTION,
        keys: &[],
        docs: Docs {
            group: Group::Transactions,
            since: "2.0.0",
            complexity: "O(N), N being the queued commands",
            summary: "Drops the commands queued since MULTI.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(discard),
        subcommands: &[],
    },
    Command {
        name: "WATCH",
        arity: Arity::AtLeast(2),
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::ALLOW_BUSY)
            .and(Flags::IMMEDIATE),
        acl: Acl::TRANSACTION,
        keys: &[KeySpec::range(1, -1, 1, Access::RO)],
        docs: Docs {
            group: Group::Transactions,
            since: "2.2.0",
            complexity: "O(1) per key",
            summary: "Makes the next EXEC depend on keys that stay unchanged.",
            arguments: &[Argument::key("key").multiple()],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(watch),
        subcommands: &[],
    },
    Command {
        name: "UNWATCH",
        arity: Arity::Exactly(1),
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::ALLOW_BUSY),
        acl: Acl::TRANSACTION,
        keys: &[],
        docs: Docs {
            group: Group::Transactions,
            since: "2.2.0",
            complexity: "O(1)",
            summary: "Forgets all watched keys.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(unwatch),
        subcommands: &[],
    },
];

fn multi(
    context: &mut Context<'_>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Step, ErrorReply> {
    if context.client.multi.is_some() {
        return Err(ErrorReply::NESTED_MULTI);
    }
    context.client.multi = Some(Box::<Multi>::default());
    reply.ok();
    Ok(Step::Done)
}

/// Whether a command is EXEC, whose refusal ends a transaction.
pub fn is_exec(command: &Registered) -> bool {
    command.spec.name == "EXEC"
}

fn exec(context: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Result<Step, ErrorReply> {
    match &context.client.multi {
        None => Err(ErrorReply::EXEC_WITHOUT_MULTI),
        Some(multi) if multi.refused => {
            context.client.multi = None;
            Ok(Step::Fail(ErrorReply::EXEC_ABORT))
        }
        Some(_) => Ok(Step::Exec),
    }
}

fn discard(
    context: &mut Context<'_>,
    _: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Step, ErrorReply> {
    if context.client.multi.take().is_none() {
        return Err(ErrorReply::DISCARD_WITHOUT_MULTI);
    }
    reply.ok();
    Ok(Step::Unwatch)
}

fn watch(context: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Result<Step, ErrorReply> {
    if context.client.multi.is_some() {
        return Err(ErrorReply::WATCH_IN_MULTI);
    }
    Ok(Step::Watch)
}

fn unwatch(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Result<Step, ErrorReply> {
    reply.ok();
    Ok(Step::Unwatch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::desk::Desk;

    #[test]
    fn a_transaction_begins_once_and_ends_by_exec_or_discard() {
        let mut desk = Desk::new();
        assert_eq!(desk.line("EXEC"), "-ERR EXEC without MULTI\r\n");
        assert_eq!(desk.line("DISCARD"), "-ERR DISCARD without MULTI\r\n");
        assert_eq!(desk.line("MULTI"), "+OK\r\n");
        assert_eq!(desk.line("MULTI"), "-ERR MULTI calls can not be nested\r\n");
        assert_eq!(
            desk.line("WATCH k"),
            "-ERR WATCH inside MULTI is not allowed\r\n"
        );
        assert!(matches!(desk.step("EXEC"), Ok(Step::Exec)));
        assert_eq!(desk.line("DISCARD"), "+OK\r\n");
        assert!(matches!(desk.step("WATCH k"), Ok(Step::Watch)));
    }

    #[test]
    fn exec_after_a_refused_command_drops_the_queue() {
        let mut desk = Desk::new();
        desk.line("MULTI");
        desk.client.multi.as_mut().unwrap().refused = true;
        assert!(
            matches!(desk.step("EXEC"), Ok(Step::Fail(error)) if error == ErrorReply::EXEC_ABORT)
        );
        assert!(desk.client.multi.is_none());
    }
}
