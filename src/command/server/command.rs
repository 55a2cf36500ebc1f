//! COMMAND: what the table says of every command, as clients and tools read it.

use crate::base::glob;
use crate::command::client::{Context, Step};
use crate::command::keys::{KeyPlaces, key_places};
use crate::command::spec::{
    Access, Acl, Argument, ArgumentFlags, ArgumentKind, Arity, Begin, Command, Docs, Find, Flags,
    Group, KeySpec, Run,
};
use crate::command::table::{Registered, commands};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::{Outcome, named, named_integer};

pub(super) const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "COUNT",
        arity: Arity::Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(1)",
            summary: "Counts the commands.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(command_count),
        subcommands: &[],
    },
    Command {
        name: "DOCS",
        arity: Arity::AtLeast(2),
        flags: Flags::LOADING.and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "7.0.0",
            complexity: "O(N), N being the commands asked for",
            summary: "Documents commands.",
            arguments: &[Argument::string("command-name").optional().multiple()],
            history: &[],
            tips: &["nondeterministic_output_order"],
            deprecated: None,
        },
        run: Run::Client(command_docs),
        subcommands: &[],
    },
    Command {
        name: "GETKEYS",
        arity: Arity::AtLeast(3),
        flags: Flags::LOADING.and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(N), N being the arguments of the command",
            summary: "Finds the keys in a whole command.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(command_getkeys),
        subcommands: &[],
    },
    Command {
        name: "GETKEYSANDFLAGS",
        arity: Arity::AtLeast(3),
        flags: Flags::LOADING.and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "7.0.0",
            complexity: "O(N), N being the arguments of the command",
            summary: "Finds the keys in a whole command, and what is done with each.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(command_getkeysandflags),
        subcommands: &[],
    },
    Command {
        name: "HELP",
        arity: Arity::Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "5.0.0",
            complexity: "O(1)",
            summary: "Lists the subcommands.",
            arguments: &[],
            history: &[],
            tips: &[],
            deprecated: None,
        },
        run: Run::Client(command_help),
        subcommands: &[],
    },
    Command {
        name: "INFO",
        arity: Arity::AtLeast(2),
        flags: Flags::LOADING.and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(N), N being the commands asked for",
            summary: "Describes some commands, or all.",
            arguments: &[Argument::string("command-name").optional().multiple()],
            history: &[("7.0.0", "Without names it describes all commands.")],
            tips: &["nondeterministic_output_order"],
            deprecated: None,
        },
        run: Run::Client(command_info),
        subcommands: &[],
    },
    Command {
        name: "LIST",
        arity: Arity::AtLeast(2),
        flags: Flags::LOADING.and(Flags::STALE),
        acl: Acl::CONNECTION,
        keys: &[],
        docs: Docs {
            group: Group::Server,
            since: "7.0.0",
            complexity: "O(N), N being the commands there are",
            summary: "Lists the names of commands.",
            arguments: &[Argument::one_of(
                "filterby",
                &[
                    Argument::string("module-name").token("MODULE"),
                    Argument::string("category").token("ACLCAT"),
                    Argument::new("pattern", ArgumentKind::Pattern).token("PATTERN"),
                ],
            )
            .token("FILTERBY")
            .optional()],
            history: &[],
            tips: &["nondeterministic_output_order"],
            deprecated: None,
        },
        run: Run::Client(command_list),
        subcommands: &[],
    },
];

pub(super) fn command(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    info_of_all(reply);
    Ok(Step::Done)
}

fn command_count(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.count(commands().top().len());
    Ok(Step::Done)
}

/// The command called `name`, or `container|sub`.
pub(super) fn look_up(name: &[u8]) -> Option<&'static Registered> {
    let mut words = name.splitn(2, |byte| *byte == b'|');
    let command = commands().find(words.next()?)?;
    match words.next() {
        None => Some(command),
        Some(sub) => command.subcommand(sub),
    }
}

fn command_info(_: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() == 2 {
        info_of_all(reply);
        return Ok(Step::Done);
    }
    reply.array(args.len() - 2);
    for name in args.iter_from(2) {
        match look_up(name) {
            Some(command) => info_of(reply, command),
            None => reply.null(),
        }
    }
    Ok(Step::Done)
}

fn info_of_all(reply: &mut Reply<'_>) {
    let all = commands().top();
    reply.array(all.len());
    for command in all {
        info_of(reply, command);
    }
}

fn info_of(reply: &mut Reply<'_>, command: &Registered) {
    let spec = command.spec;
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.integer(spec.arity.shown());
    words(reply, spec.flags.names(), "");
    for place in key_range(spec.keys) {
        reply.integer(place);
    }
    words(reply, spec.categories().names(), "@");
    reply.set(spec.docs.tips.len());
    for tip in spec.docs.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(spec.keys.len());
    for keys in spec.keys {
        key_spec(reply, keys);
    }
    reply.set(command.subcommands.len());
    for sub in &command.subcommands {
        info_of(reply, sub);
    }
}

/// A set of status words.
fn words(reply: &mut Reply<'_>, words: impl Iterator<Item = &'static str>, before: &str) {
    let words: Vec<&str> = words.collect();
    reply.set(words.len());
    for word in words {
        reply.simple(&format!("{before}{word}"));
    }
}

/// First key, last key and step, the way clients before 7.0 know keys. Of several specifications those count that are
/// ranges and follow on each other without a gap.
fn key_range(specs: &[KeySpec]) -> [i64; 3] {
    let ranges = specs
        .iter()
        .filter_map(|spec| match (spec.begin, spec.find) {
            (Begin::Index(first), Find::Range { last, step, .. }) => {
                let first = i64::from(first);
                let last = i64::from(last);
                Some((
                    first,
                    if last < 0 { last } else { first + last },
                    i64::from(step),
                ))
            }
            _ => None,
        });
    if let [_] = specs {
        return ranges
            .map(|(first, last, step)| [first, last, step])
            .next()
            .unwrap_or([0; 3]);
    }
    let mut whole: Option<(i64, i64)> = None;
    for (first, last, step) in ranges {
        match whole {
            _ if step != 1 => {}
            None => whole = Some((first, last)),
            Some((from, to)) if to == first - 1 => whole = Some((from.min(first), last)),
            Some(_) => {}
        }
    }
    whole.map_or([0; 3], |(first, last)| [first, last, 1])
}

fn key_spec(reply: &mut Reply<'_>, spec: &KeySpec) {
    reply.map(3 + usize::from(!spec.notes.is_empty()));
    if !spec.notes.is_empty() {
        named(reply, "notes", spec.notes);
    }
    reply.bulk(b"flags");
    words(reply, spec.access.names(), "");
    let mut find = spec.find;
    reply.bulk(b"begin_search");
    reply.map(2);
    match spec.begin {
        Begin::Index(index) => {
            typed(reply, "index", 1);
            named_integer(reply, "index", index.into());
        }
        Begin::Keyword { word, from, .. } => {
            typed(reply, "keyword", 2);
            named(reply, "keyword", word);
            named_integer(reply, "startfrom", from.into());
        }
        Begin::Computed { word: "", .. } | Begin::Unknown => {
            typed(reply, "unknown", 0);
            find = Find::Unknown;
        }
        Begin::Computed { word, from, .. } => {
            typed(reply, "keyword", 2);
            named(reply, "keyword", word);
            named_integer(reply, "startfrom", from.into());
        }
    }
    reply.bulk(b"find_keys");
    reply.map(2);
    match find {
        Find::Range { last, step, limit } => {
            typed(reply, "range", 3);
            named_integer(reply, "lastkey", last.into());
            named_integer(reply, "keystep", step.into());
            named_integer(reply, "limit", limit.into());
        }
        Find::KeyNum { at, first, step } => {
            typed(reply, "keynum", 3);
            named_integer(reply, "keynumidx", at.into());
            named_integer(reply, "firstkey", first.into());
            named_integer(reply, "keystep", step.into());
        }
        Find::Unknown => typed(reply, "unknown", 0),
    }
}

/// The type of a search, and its specification opened with so many pairs.
fn typed(reply: &mut Reply<'_>, kind: &str, pairs: usize) {
    named(reply, "type", kind);
    reply.bulk(b"spec");
    reply.map(pairs);
}

fn command_docs(_: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let found: Vec<&Registered> = if args.len() == 2 {
        commands().top().to_vec()
    } else {
        args.iter_from(2).filter_map(look_up).collect()
    };
    docs_of_all(reply, &found);
    Ok(Step::Done)
}

fn docs_of_all(reply: &mut Reply<'_>, commands: &[&Registered]) {
    reply.map(commands.len());
    for command in commands {
        reply.bulk(command.name.as_bytes());
        docs_of(reply, command);
    }
}

fn docs_of(reply: &mut Reply<'_>, command: &Registered) {
    let docs = &command.spec.docs;
    let mut flags = Vec::new();
    flags.extend(docs.deprecated.is_some().then_some("deprecated"));
    flags.extend(command.spec.flags.has(Flags::SYSTEM).then_some("syscmd"));
    let replaced_by = docs.deprecated.map_or("", |(_, by)| by);
    let pairs = 3
        + usize::from(!docs.complexity.is_empty())
        + usize::from(!flags.is_empty())
        + usize::from(docs.deprecated.is_some())
        + usize::from(!replaced_by.is_empty())
        + usize::from(!docs.history.is_empty())
        + usize::from(!docs.arguments.is_empty())
        + usize::from(!command.subcommands.is_empty());
    reply.map(pairs);
    named(reply, "summary", docs.summary);
    named(reply, "since", docs.since);
    named(reply, "group", docs.group.name());
    if !docs.complexity.is_empty() {
        named(reply, "complexity", docs.complexity);
    }
    if !flags.is_empty() {
        reply.bulk(b"doc_flags");
        words(reply, flags.iter().copied(), "");
    }
    if let Some((since, _)) = docs.deprecated {
        named(reply, "deprecated_since", since);
    }
    if !replaced_by.is_empty() {
        named(reply, "replaced_by", replaced_by);
    }
    if !docs.history.is_empty() {
        reply.bulk(b"history");
        reply.set(docs.history.len());
        for (version, change) in docs.history {
            reply.array(2);
            reply.bulk(version.as_bytes());
            reply.bulk(change.as_bytes());
        }
    }
    if !docs.arguments.is_empty() {
        arguments(reply, docs.arguments);
    }
    if !command.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        docs_of_all(reply, &command.subcommands);
    }
}

/// `display_text` came with 7.2: what a tool shows for the argument, the name where nothing else is said.
fn arguments(reply: &mut Reply<'_>, arguments_of: &[Argument]) {
    reply.bulk(b"arguments");
    reply.array(arguments_of.len());
    for argument in arguments_of {
        let holds_others = matches!(argument.kind, ArgumentKind::OneOf | ArgumentKind::Block);
        let has_flags = argument.flags != ArgumentFlags::NONE;
        let pairs = 2
            + usize::from(!holds_others)
            + usize::from(argument.key_spec.is_some())
            + usize::from(!argument.token.is_empty())
            + usize::from(!argument.since.is_empty())
            + usize::from(!argument.deprecated_since.is_empty())
            + usize::from(has_flags)
            + usize::from(!argument.parts.is_empty());
        reply.map(pairs);
        named(reply, "name", argument.name);
        named(reply, "type", argument.kind.name());
        if !holds_others {
            let shown = match argument.display {
                "" => argument.name,
                other => other,
            };
            named(reply, "display_text", shown);
        }
        if let Some(spec) = argument.key_spec {
            named_integer(reply, "key_spec_index", spec.into());
        }
        if !argument.token.is_empty() {
            named(reply, "token", argument.token);
        }
        if !argument.since.is_empty() {
            named(reply, "since", argument.since);
        }
        if !argument.deprecated_since.is_empty() {
            named(reply, "deprecated_since", argument.deprecated_since);
        }
        if has_flags {
            reply.bulk(b"flags");
            words(reply, argument.flags.names(), "");
        }
        if !argument.parts.is_empty() {
            arguments(reply, argument.parts);
        }
    }
}

fn command_list(_: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    enum Filter<'a> {
        None,
        Module,
        Category(Option<Acl>),
        Pattern(&'a [u8]),
    }
    let filter = match args.len() {
        2 => Filter::None,
        5 if args.is(2, "FILTERBY") && args.is(3, "MODULE") => Filter::Module,
        5 if args.is(2, "FILTERBY") && args.is(3, "ACLCAT") => {
            let named = Acl::NAMES.iter().find(|(_, name)| args.is(4, name));
            Filter::Category(named.map(|(category, _)| *category))
        }
        5 if args.is(2, "FILTERBY") && args.is(3, "PATTERN") => Filter::Pattern(args.get(4)),
        _ => return Err(ErrorReply::SYNTAX),
    };
    let fits = |command: &&&Registered| match filter {
        Filter::None => true,
        Filter::Module => false, // no command comes from a module
        Filter::Category(category) => {
            category.is_some_and(|category| command.spec.categories().has(category))
        }
        Filter::Pattern(pattern) => glob::matches(pattern, command.name.as_bytes(), true),
    };
    let found: Vec<&&Registered> = commands().all().iter().filter(fits).collect();
    reply.array(found.len());
    for command in found {
        reply.bulk(command.name.as_bytes());
    }
    Ok(Step::Done)
}

fn command_getkeys(_: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let inner = args.from(2);
    let places = keys_of(&inner)?;
    reply.array(places.len());
    for (place, _) in places {
        reply.bulk(inner.get(place as usize));
    }
    Ok(Step::Done)
}

fn command_getkeysandflags(_: &mut Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let inner = args.from(2);
    let places = keys_of(&inner)?;
    reply.array(places.len());
    for (place, access) in places {
        reply.array(2);
        reply.bulk(inner.get(place as usize));
        words(reply, access.names(), "");
    }
    Ok(Step::Done)
}

/// The keys of a command given as arguments, with what this very command does to each.
fn keys_of(args: &Args<'_>) -> Result<KeyPlaces, ErrorReply> {
    let command = commands()
        .resolve(args)
        .ok_or(ErrorReply::INVALID_COMMAND)?;
    let spec = command.spec;
    // A container was found because it has no such subcommand.
    if matches!(spec.run, Run::Container) && args.len() > 1 {
        return Err(ErrorReply::INVALID_COMMAND);
    }
    if spec
        .keys
        .iter()
        .all(|keys| keys.access.has(Access::NOT_KEY))
    {
        return Err(ErrorReply::NO_KEY_ARGUMENTS);
    }
    if !spec.arity.accepts(args.len()) {
        return Err(ErrorReply::INVALID_ARITY_FOR_COMMAND);
    }
    // As in Redis every place where keys begin must be there, also that of keys which the command can do without.
    let is_missing = |keys: &KeySpec| match keys.begin {
        Begin::Index(place) => usize::from(place) >= args.len(),
        _ => false,
    };
    if spec.keys.iter().any(is_missing) {
        return Err(ErrorReply::INVALID_ARGUMENTS);
    }
    let mut places = key_places(spec, args).unwrap_or_default();
    if places.is_empty() && !spec.flags.has(Flags::NO_MANDATORY_KEYS) {
        return Err(ErrorReply::INVALID_ARGUMENTS);
    }
    for (_, access) in &mut places {
        if access.has(Access::VARIABLE_FLAGS) {
            *access = access_of(command, args);
        }
    }
    Ok(places)
}

/// What a command whose specification leaves it open does to its key, read off its options.
pub(in crate::command) fn access_of(command: &Registered, args: &Args<'_>) -> Access {
    let reads_and_writes = Access::RW.and(Access::ACCESS).and(Access::UPDATE);
    match command.name.as_str() {
        "set" if (3..args.len()).any(|place| args.is(place, "GET")) => reads_and_writes,
        "set" => Access::OW.and(Access::UPDATE),
        "bitfield" if bitfield_only_reads(args) => Access::RO.and(Access::ACCESS),
        _ => reads_and_writes,
    }
}

/// Whether a BITFIELD does nothing but GET. What it does not know may write, as in Redis.
fn bitfield_only_reads(args: &Args<'_>) -> bool {
    let mut at = 2;
    while at < args.len() {
        let more = args.len() - 1 - at;
        if args.is(at, "GET") && more >= 2 {
            at += 3;
        } else if args.is(at, "OVERFLOW") && more >= 1 {
            at += 2;
        } else {
            return false;
        }
    }
    true
}

fn command_help(_: &mut Context<'_>, _: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.help(
        "COMMAND",
        &[
            (
                "(no subcommand)",
                &["All commands with what tools need to know of them."],
            ),
            ("COUNT", &["How many commands there are."]),
            (
                "DOCS [<command-name> ...]",
                &["Documentation of some commands, or of all."],
            ),
            ("GETKEYS <full-command>", &["The keys in a whole command."]),
            (
                "GETKEYSANDFLAGS <full-command>",
                &["The keys in a whole command, and what it does with each."],
            ),
            (
                "INFO [<command-name> ...]",
                &["What tools need to know of some commands, or of all."],
            ),
            (
                "LIST [FILTERBY (MODULE <module-name>|ACLCAT <category>|PATTERN <pattern>)]",
                &["The names of all commands, or of those that fit."],
            ),
        ],
    );
    Ok(Step::Done)
}
