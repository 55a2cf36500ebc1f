//! EVAL, EVALSHA, FCALL and their read-only forms: what they declare, and what their arguments mean.

use crate::command::spec::{
    Access, Acl, Argument, Arity, Command, Docs, Flags, Group, KeySpec, Run, Source,
};
use crate::resp::ErrorReply;
use crate::resp::request::Args;

use crate::command::parse::integer;

const WORST_RW: &str =
    "What a script does with its keys is not known before: the most is assumed, RW and UPDATE";
const WORST_RO: &str =
    "What a script does with its keys is not known before: the most is assumed, RO and ACCESS";

pub(super) const EVAL: Command = Command {
    name: "EVAL",
    arity: Arity::AtLeast(3),
    flags: Flags::NOSCRIPT
        .and(Flags::STALE)
        .and(Flags::SKIP_MONITOR)
        .and(Flags::MAY_REPLICATE)
        .and(Flags::NO_MANDATORY_KEYS)
        .and(Flags::MOVABLE_KEYS),
    acl: Acl::SCRIPTING,
    keys: &[KeySpec {
        notes: WORST_RW,
        ..KeySpec::counted(2, Access::RW.and(Access::ACCESS).and(Access::UPDATE))
    }],
    docs: Docs {
        group: Group::Scripting,
        since: "2.6.0",
        complexity: "Depends on the script that is executed.",
        summary: "Runs a Lua script on the server.",
        arguments: &[
            Argument::string("script"),
            Argument::integer("numkeys"),
            Argument::key("key").optional().multiple(),
            Argument::string("arg").optional().multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Script {
        source: Source::Body,
        read_only: false,
    },
    subcommands: &[],
};

pub(super) const EVALSHA: Command = Command {
    name: "EVALSHA",
    arity: Arity::AtLeast(3),
    flags: Flags::NOSCRIPT
        .and(Flags::STALE)
        .and(Flags::SKIP_MONITOR)
        .and(Flags::MAY_REPLICATE)
        .and(Flags::NO_MANDATORY_KEYS)
        .and(Flags::MOVABLE_KEYS),
    acl: Acl::SCRIPTING,
    keys: &[KeySpec::counted(
        2,
        Access::RW.and(Access::ACCESS).and(Access::UPDATE),
    )],
    docs: Docs {
        group: Group::Scripting,
        since: "2.6.0",
        complexity: "Depends on the script that is executed.",
        summary: "Runs a cached Lua script, named by its SHA1 digest.",
        arguments: &[
            Argument::string("sha1"),
            Argument::integer("numkeys"),
            Argument::key("key").optional().multiple(),
            Argument::string("arg").optional().multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Script {
        source: Source::Sha,
        read_only: false,
    },
    subcommands: &[],
};

pub(super) const EVAL_RO: Command = Command {
    name: "EVAL_RO",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY
        .and(Flags::NOSCRIPT)
        .and(Flags::STALE)
        .and(Flags::SKIP_MONITOR)
        .and(Flags::NO_MANDATORY_KEYS)
        .and(Flags::MOVABLE_KEYS),
    acl: Acl::SCRIPTING,
    keys: &[KeySpec {
        notes: WORST_RO,
        ..KeySpec::counted(2, Access::RO.and(Access::ACCESS))
    }],
    docs: Docs {
        group: Group::Scripting,
        since: "7.0.0",
        complexity: "Depends on the script that is executed.",
        summary: "Runs a Lua script that may only read.",
        arguments: &[
            Argument::string("script"),
            Argument::integer("numkeys"),
            Argument::key("key").optional().multiple(),
            Argument::string("arg").optional().multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Script {
        source: Source::Body,
        read_only: true,
    },
    subcommands: &[],
};

pub(super) const EVALSHA_RO: Command = Command {
    name: "EVALSHA_RO",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY
        .and(Flags::NOSCRIPT)
        .and(Flags::STALE)
        .and(Flags::SKIP_MONITOR)
        .and(Flags::NO_MANDATORY_KEYS)
        .and(Flags::MOVABLE_KEYS),
    acl: Acl::SCRIPTING,
    keys: &[KeySpec::counted(2, Access::RO.and(Access::ACCESS))],
    docs: Docs {
        group: Group::Scripting,
        since: "7.0.0",
        complexity: "Depends on the script that is executed.",
        summary: "Runs a cached Lua script that may only read, named by its SHA1 digest.",
        arguments: &[
            Argument::string("sha1"),
            Argument::integer("numkeys"),
            Argument::key("key").optional().multiple(),
            Argument::string("arg").optional().multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Script {
        source: Source::Sha,
        read_only: true,
    },
    subcommands: &[],
};

pub(super) const FCALL: Command = Command {
    name: "FCALL",
    arity: Arity::AtLeast(3),
    flags: Flags::NOSCRIPT
        .and(Flags::STALE)
        .and(Flags::SKIP_MONITOR)
        .and(Flags::MAY_REPLICATE)
        .and(Flags::NO_MANDATORY_KEYS)
        .and(Flags::MOVABLE_KEYS),
    acl: Acl::SCRIPTING,
    keys: &[KeySpec {
        notes: WORST_RW,
        ..KeySpec::counted(2, Access::RW.and(Access::ACCESS).and(Access::UPDATE))
    }],
    docs: Docs {
        group: Group::Scripting,
        since: "7.0.0",
        complexity: "Depends on the function that is executed.",
        summary: "Calls a function of a library.",
        arguments: &[
            Argument::string("function"),
            Argument::integer("numkeys"),
            Argument::key("key").optional().multiple(),
            Argument::string("arg").optional().multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Script {
        source: Source::Function,
        read_only: false,
    },
    subcommands: &[],
};

pub(super) const FCALL_RO: Command = Command {
    name: "FCALL_RO",
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY
        .and(Flags::NOSCRIPT)
        .and(Flags::STALE)
        .and(Flags::SKIP_MONITOR)
        .and(Flags::NO_MANDATORY_KEYS)
        .and(Flags::MOVABLE_KEYS),
    acl: Acl::SCRIPTING,
    keys: &[KeySpec {
        notes: WORST_RO,
        ..KeySpec::counted(2, Access::RO.and(Access::ACCESS))
    }],
    docs: Docs {
        group: Group::Scripting,
        since: "7.0.0",
        complexity: "Depends on the function that is executed.",
        summary: "Calls a function of a library that may only read.",
        arguments: &[
            Argument::string("function"),
            Argument::integer("numkeys"),
            Argument::key("key").optional().multiple(),
            Argument::string("arg").optional().multiple(),
        ],
        history: &[],
        tips: &[],
        deprecated: None,
    },
    run: Run::Script {
        source: Source::Function,
        read_only: true,
    },
    subcommands: &[],
};

/// The keys and the other arguments of a script.
pub struct Request<'a> {
    /// The keys that the request declares.
    pub keys: Vec<&'a [u8]>,
    /// The rest.
    pub args: Vec<&'a [u8]>,
}

/// Cuts a request into keys and arguments.
pub fn read<'a>(args: &Args<'a>) -> Result<Request<'a>, ErrorReply> {
    let count = integer(args, 2)?;
    let rest = (args.len() - 3) as i64;
    if count > rest {
        return Err(ErrorReply::NUMKEYS_TOO_MANY);
    }
    if count < 0 {
        return Err(ErrorReply::NUMKEYS_NEGATIVE);
    }
    let split = 3 + count as usize;
    Ok(Request {
        keys: (3..split).map(|at| args.get(at)).collect(),
        args: args.iter_from(split).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::request::{Caller, OwnedArgs};

    #[test]
    fn keys_are_counted_before_the_rest() {
        let parsed = |line: &str| {
            let owned: OwnedArgs = line.split(' ').map(str::as_bytes).collect();
            let args = owned.args(Caller::default());
            read(&args).map(|request| (request.keys.len(), request.args.len()))
        };
        assert_eq!(parsed("EVAL s 2 a b c"), Ok((2, 1)));
        assert_eq!(parsed("EVAL s 0"), Ok((0, 0)));
        assert_eq!(parsed("EVAL s 1"), Err(ErrorReply::NUMKEYS_TOO_MANY));
        assert_eq!(parsed("EVAL s -1"), Err(ErrorReply::NUMKEYS_NEGATIVE));
        assert_eq!(parsed("EVAL s x"), Err(ErrorReply::NOT_INTEGER));
    }
}
