//! MIGRATE: keys to another server, which has them before they are gone here.
//!
//! The handler reads the request; `engine/migrating.rs` does the work.

use crate::command::client::{Context, Migration, Step};
use crate::command::parse;
use crate::command::spec::{
    Access, Acl, Argument, Arity, Begin, Command, Docs, Find, Flags, Group, KeySpec, Run,
};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

const MOVED: Access = Access::RW.and(Access::ACCESS).and(Access::DELETE);
/// Milliseconds where none are given (MIGRATE, 2.6).
const TIMEOUT_MS: i64 = 1000;
/// The argument after the five that every request has.
const OPTIONS_FROM: usize = 6;

pub(super) const MIGRATE: Command = Command {
    name: "MIGRATE",
    arity: Arity::AtLeast(6),
    flags: Flags::WRITE.and(Flags::MOVABLE_KEYS).and(Flags::MOVES_KEYS),
    acl: Acl::KEYSPACE.and(Acl::DANGEROUS),
    keys: &[
        KeySpec::one(3, MOVED),
        KeySpec {
            begin: Begin::Keyword {
                word: "KEYS",
                from: -2,
                past: &[("AUTH", 1), ("AUTH2", 2)],
            },
            find: Find::Range {
                last: -1,
                step: 1,
                limit: 0,
            },
            access: MOVED.and(Access::INCOMPLETE),
            notes: "",
        },
    ],
    docs: Docs {
        group: Group::Generic,
        since: "2.6.0",
        complexity: "That of DUMP, DEL and, on the other server, RESTORE for each key, and O(N) to transfer N bytes",
        summary: "Moves keys to another server.",
        arguments: &[
            Argument::string("host"),
            Argument::integer("port"),
            Argument::one_of(
                "key-selector",
                &[Argument::key("key"), Argument::word("empty-string", "\"\"")],
            ),
            Argument::integer("destination-db"),
            Argument::integer("timeout"),
            Argument::word("copy", "COPY").optional().since("3.0.0"),
            Argument::word("replace", "REPLACE")
                .optional()
                .since("3.0.0"),
            Argument::one_of(
                "authentication",
                &[
                    Argument::string("auth")
                        .token("AUTH")
                        .shown("password")
                        .since("4.0.7"),
                    Argument::block(
                        "auth2",
                        &[Argument::string("username"), Argument::string("password")],
                    )
                    .token("AUTH2")
                    .since("6.0.0"),
                ],
            )
            .optional(),
            Argument::key_of("keys", 1)
                .token("KEYS")
                .shown("key")
                .optional()
                .multiple()
                .since("3.0.6"),
        ],
        history: &[
            ("3.0.0", "`COPY` and `REPLACE` were added."),
            ("3.0.6", "`KEYS` was added."),
            ("4.0.7", "`AUTH` was added."),
            ("6.0.0", "`AUTH2` was added."),
        ],
        tips: &["nondeterministic_output"],
        deprecated: None,
    },
    run: Run::Client(migrate),
    subcommands: &[],
};

fn migrate(
    context: &mut Context<'_>,
    args: &Args<'_>,
    _: &mut Reply<'_>,
) -> Result<Step, ErrorReply> {
    let mut migration = Migration {
        db: context.client.db,
        ..Migration::default()
    };
    let mut keys = 3..4;
    let mut at = OPTIONS_FROM;
    while at < args.len() {
        let operands = args.len() - at - 1;
        if args.is(at, "COPY") {
            migration.copy = true;
        } else if args.is(at, "REPLACE") {
            migration.replace = true;
        } else if args.is(at, "AUTH") && operands >= 1 {
            migration.auth = vec![args.get(at + 1).to_vec()];
            at += 1;
        } else if args.is(at, "AUTH2") && operands >= 2 {
            migration.auth = vec![args.get(at + 1).to_vec(), args.get(at + 2).to_vec()];
            at += 2;
        } else if args.is(at, "KEYS") {
            if !args.get(3).is_empty() {
                return Err(ErrorReply::MIGRATE_KEY_AND_KEYS);
            }
            keys = at + 1..args.len();
            break;
        } else {
            return Err(ErrorReply::SYNTAX);
        }
        at += 1;
    }
    migration.timeout_ms = match parse::integer(args, 5)? {
        given @ 1.. => given,
        _ => TIMEOUT_MS,
    };
    migration.target_db = parse::integer(args, 4)?;
    migration.target = (args.get(1).to_vec(), args.get(2).to_vec());
    migration.keys = keys.map(|at| args.get(at).into()).collect();
    Ok(Step::Migrate(Box::new(migration)))
}

#[cfg(test)]
mod tests {
    use crate::command::client::Step;
    use crate::command::desk::Desk;

    #[test]
    fn what_migrate_asks_for_and_what_it_refuses() {
        let mut desk = Desk::new();
        let Ok(Step::Migrate(one)) = desk.step("MIGRATE host 6379 k 3 0 COPY REPLACE AUTH2 u p")
        else {
            panic!("a valid request");
        };
        assert!(one.copy && one.replace);
        assert_eq!(
            (one.target_db, one.timeout_ms, one.keys.len()),
            (3, 1000, 1)
        );
        assert_eq!(one.auth, [b"u".to_vec(), b"p".to_vec()]);
        for (line, error) in [
            (
                "MIGRATE h 1 k 0 10 KEYS a",
                "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
            ),
            ("MIGRATE h 1 k 0 10 AUTH", "ERR syntax error"),
            ("MIGRATE h 1 k 0 10 AUTH2 u", "ERR syntax error"),
            ("MIGRATE h 1 k 0 10 NONSENSE", "ERR syntax error"),
            (
                "MIGRATE h 1 k 0 soon",
                "ERR value is not an integer or out of range",
            ),
            (
                "MIGRATE h 1 k db 10",
                "ERR value is not an integer or out of range",
            ),
        ] {
            let refused = desk.step(line).unwrap_err();
            assert_eq!(String::from_utf8_lossy(refused.as_bytes()), error, "{line}");
        }
    }
}
