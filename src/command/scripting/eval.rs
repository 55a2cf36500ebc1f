//! EVAL, EVALSHA, FCALL and their read-only forms: what they declare, and what their arguments mean.

use smallvec::SmallVec;

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

const WRITES: &[KeySpec] = &[KeySpec::counted(
    2,
    Access::RW.and(Access::ACCESS).and(Access::UPDATE),
)];
const READS: &[KeySpec] = &[KeySpec::counted(2, Access::RO.and(Access::ACCESS))];
const WRITES_NOTED: &[KeySpec] = &[KeySpec {
    notes: WORST_RW,
    ..WRITES[0]
}];
const READS_NOTED: &[KeySpec] = &[KeySpec {
    notes: WORST_RO,
    ..READS[0]
}];

/// The arguments of all of them, the first one being what is run.
const fn arguments(what: &'static str) -> [Argument; 4] {
    [
        Argument::string(what),
        Argument::integer("numkeys"),
        Argument::key("key").optional().multiple(),
        Argument::string("arg").optional().multiple(),
    ]
}

const OF_BODY: &[Argument] = &arguments("script");
const OF_SHA: &[Argument] = &arguments("sha1");
const OF_FUNCTION: &[Argument] = &arguments("function");

/// What all of them share.
const fn command(
    (name, since, summary): (&'static str, &'static str, &'static str),
    source: Source,
    read_only: bool,
) -> Command {
    let shared = Flags::NOSCRIPT
        .and(Flags::STALE)
        .and(Flags::SKIP_MONITOR)
        .and(Flags::NO_MANDATORY_KEYS)
        .and(Flags::MOVABLE_KEYS);
    let (arguments, complexity) = match source {
        Source::Body => (OF_BODY, "Depends on the script that is executed."),
        Source::Sha => (OF_SHA, "Depends on the script that is executed."),
        Source::Function => (OF_FUNCTION, "Depends on the function that is executed."),
    };
    Command {
        name,
        arity: Arity::AtLeast(3),
        flags: if read_only {
            shared.and(Flags::READONLY)
        } else {
            shared.and(Flags::MAY_REPLICATE)
        },
        acl: Acl::SCRIPTING,
        // Redis has no remark where the script is named by its digest.
        keys: match (source, read_only) {
            (Source::Sha, false) => WRITES,
            (Source::Sha, true) => READS,
            (_, false) => WRITES_NOTED,
            (_, true) => READS_NOTED,
        },
        docs: Docs {
            group: Group::Scripting,
            since,
            complexity,
            summary,
            arguments,
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Script { source, read_only },
        subcommands: &[],
    }
}

pub(super) const EVAL: Command = command(
    ("EVAL", "2.6.0", "Runs a Lua script on the server."),
    Source::Body,
    false,
);

pub(super) const EVALSHA: Command = command(
    (
        "EVALSHA",
        "2.6.0",
        "Runs a cached Lua script, named by its SHA1 digest.",
    ),
    Source::Sha,
    false,
);

pub(super) const EVAL_RO: Command = command(
    ("EVAL_RO", "7.0.0", "Runs a Lua script that may only read."),
    Source::Body,
    true,
);

pub(super) const EVALSHA_RO: Command = command(
    (
        "EVALSHA_RO",
        "7.0.0",
        "Runs a cached Lua script that may only read, named by its SHA1 digest.",
    ),
    Source::Sha,
    true,
);

pub(super) const FCALL: Command = command(
    ("FCALL", "7.0.0", "Calls a function of a library."),
    Source::Function,
    false,
);

pub(super) const FCALL_RO: Command = command(
    (
        "FCALL_RO",
        "7.0.0",
        "Calls a function of a library that may only read.",
    ),
    Source::Function,
    true,
);

/// The keys and the other arguments of a script.
pub struct Request<'a> {
    /// The keys that the request declares.
    pub keys: SmallVec<[&'a [u8]; 4]>,
    /// The rest.
    pub args: SmallVec<[&'a [u8]; 4]>,
}

/// Cuts a request into keys and arguments.
pub fn read<'a>(args: &Args<'a>) -> Result<Request<'a>, ErrorReply> {
    let split = split(args)?;
    Ok(Request {
        keys: (3..split).map(|at| args.get(at)).collect(),
        args: args.iter_from(split).collect(),
    })
}

/// Where the arguments behind the keys begin.
pub fn split(args: &Args<'_>) -> Result<usize, ErrorReply> {
    let count = integer(args, 2)?;
    let rest = (args.len() - 3) as i64;
    if count > rest {
        return Err(ErrorReply::NUMKEYS_TOO_MANY);
    }
    if count < 0 {
        return Err(ErrorReply::NUMKEYS_NEGATIVE);
    }
    Ok(3 + count as usize)
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
