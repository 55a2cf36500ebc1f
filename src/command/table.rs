//! All commands, and the look-up of a name: the only place where a name becomes a command.

use std::sync::OnceLock;

use crate::acl::{Catalog, Entry};
use crate::config::Config;
use crate::resp::request::Args;

use super::spec::{Command, Run};

/// A command in the table.
#[derive(Debug)]
pub struct Registered {
    /// Its declaration.
    pub spec: &'static Command,
    /// Its place: what messages between cores and counters use.
    pub id: u16,
    /// Lower-case name, `container|sub` for a subcommand.
    pub name: String,
    /// Place of the first key, zero for none at a fixed place.
    pub first_key: u16,
    /// Subcommands.
    pub subcommands: Vec<&'static Registered>,
    /// The container, for a subcommand.
    pub parent: Option<&'static str>,
    /// Takes constant time: may run on a borrowed shard.
    pub quick: bool,
}

/// All commands by id and by name.
pub struct CommandTable {
    by_id: Vec<&'static Registered>,
    /// Open addressing over names; a power of two, at most half full.
    places: Vec<Option<(Box<[u8]>, &'static Registered)>>,
    top: Vec<&'static Registered>,
}

static TABLE: OnceLock<CommandTable> = OnceLock::new();

/// The groups, in the order of COMMAND.
fn groups() -> &'static [&'static [Command]] {
    &[
        super::acl::COMMANDS,
        super::bitmap::COMMANDS,
        super::cluster::COMMANDS,
        super::connection::COMMANDS,
        super::flush::COMMANDS,
        super::generic::COMMANDS,
        super::geo::COMMANDS,
        super::hash::COMMANDS,
        super::hyperloglog::COMMANDS,
        super::list::COMMANDS,
        super::pubsub::COMMANDS,
        super::replication::COMMANDS,
        super::scripting::COMMANDS,
        super::server::COMMANDS,
        super::set::COMMANDS,
        super::sorted_set::COMMANDS,
        super::stream::COMMANDS,
        super::string::COMMANDS,
        super::transactions::COMMANDS,
    ]
}

/// The table, with the names that `rename-command` gives once `CommandTable::start` has said so.
#[inline]
pub fn commands() -> &'static CommandTable {
    TABLE.get_or_init(|| CommandTable::build(&[]))
}

/// What rules about users need to know of all commands.
pub fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| {
        // A table of its own: a configuration's `user` lines are read before its `rename-command` lines are in force.
        let table = CommandTable::build(&[]);
        let entries = table.all().iter().map(|command| Entry {
            name: command.name.clone(),
            categories: command.spec.categories(),
            parent: command
                .parent
                .and_then(|parent| table.find(parent.as_bytes()))
                .map(|parent| parent.id),
            children: command.subcommands.iter().map(|sub| sub.id).collect(),
        });
        Catalog::new(entries.collect())
    })
}

/// Whether there is a command of that name (lower case), for `rename-command`.
pub fn is_known(name: &str) -> bool {
    groups().iter().any(|group| {
        group
            .iter()
            .any(|command| command.name.eq_ignore_ascii_case(name))
    })
}

/// Builds the table with renamed commands; must come before the first `commands()`. Names of unknown commands are
/// given back as an error.
pub fn start(config: &Config) -> Result<(), String> {
    let mut renamed = Vec::new();
    for rename in &config.renamed_commands {
        let known = groups().iter().any(|group| {
            group.iter().any(|command| {
                command
                    .name
                    .as_bytes()
                    .eq_ignore_ascii_case(rename.command.as_bytes())
            })
        });
        if !known {
            return Err(format!(
                "No such command in rename-command: {}",
                rename.command
            ));
        }
        let new_name = rename.new_name.clone().unwrap_or_default();
        renamed.push((rename.command.clone().into_bytes(), new_name.into_bytes()));
    }
    let _ = TABLE.set(CommandTable::build(&renamed));
    Ok(())
}

impl CommandTable {
    fn build(renamed: &[(Vec<u8>, Vec<u8>)]) -> Self {
        let mut table = CommandTable {
            by_id: Vec::new(),
            places: (0..2048).map(|_| None).collect(),
            top: Vec::new(),
        };
        for group in groups() {
            for spec in *group {
                let registered = table.register(spec, None);
                table.top.push(registered);
                let new_name = renamed
                    .iter()
                    .find(|(from, _)| from.eq_ignore_ascii_case(spec.name.as_bytes()))
                    .map_or(spec.name.as_bytes(), |(_, to)| to);
                if !new_name.is_empty() {
                    table.add_name(new_name, registered);
                }
            }
        }
        table
    }

    /// Commands live as long as the process; leaking them gives plain references.
    fn register(
        &mut self,
        spec: &'static Command,
        parent: Option<&'static str>,
    ) -> &'static Registered {
        let name = match parent {
            Some(parent) => format!("{}|{}", parent, spec.name).to_ascii_lowercase(),
            None => spec.name.to_ascii_lowercase(),
        };
        let subcommands: Vec<&'static Registered> = spec
            .subcommands
            .iter()
            .map(|sub| self.register(sub, Some(spec.name)))
            .collect();
        let id = self.by_id.len();
        let first_key = spec.first_key().unwrap_or(0);
        let registered: &'static Registered = Box::leak(Box::new(Registered {
            spec,
            id: u16::try_from(id).expect("far fewer commands than 65536"),
            name,
            first_key: first_key as u16,
            subcommands,
            parent,
            quick: spec.docs.complexity.starts_with("O(1)"),
        }));
        self.by_id.push(registered);
        registered
    }

    fn add_name(&mut self, name: &[u8], registered: &'static Registered) {
        let mut place = Self::place(name) & (self.places.len() - 1);
        while self.places[place].is_some() {
            place = (place + 1) & (self.places.len() - 1);
        }
        self.places[place] = Some((name.to_ascii_lowercase().into(), registered));
    }

    /// Case-blind and cheap: the first eight bytes, the last one and the length decide.
    #[inline]
    fn place(name: &[u8]) -> usize {
        let mut word = name.len() as u64;
        for &byte in name.iter().take(8) {
            word = word << 7 ^ word >> 57 ^ u64::from(byte | 0x20);
        }
        let last = name.last().copied().unwrap_or(0) | 0x20;
        (word ^ u64::from(last) << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15) as usize >> 40
    }

    /// The command of that name, in any case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&'static Registered> {
        let mask = self.places.len() - 1;
        let mut place = Self::place(name) & mask;
        while let Some((known, registered)) = &self.places[place] {
            if known.len() == name.len() && known.eq_ignore_ascii_case(name) {
                return Some(registered);
            }
            place = (place + 1) & mask;
        }
        None
    }

    /// The command at a place.
    #[inline]
    pub fn by_id(&self, id: u16) -> &'static Registered {
        self.by_id[usize::from(id)]
    }

    /// All commands and subcommands.
    pub fn all(&self) -> &[&'static Registered] {
        &self.by_id
    }

    /// All commands, without subcommands.
    pub fn top(&self) -> &[&'static Registered] {
        &self.top
    }

    /// The command or subcommand that `args` name; for a container without a known subcommand the container itself.
    pub fn resolve(&self, args: &Args<'_>) -> Option<&'static Registered> {
        let command = self.find(args.get(0))?;
        if command.subcommands.is_empty() {
            return Some(command);
        }
        let sub = args.opt(1).and_then(|word| command.subcommand(word));
        Some(sub.unwrap_or(command))
    }
}

impl Registered {
    /// The container itself, where it does something without a subcommand (COMMAND).
    pub fn bare(&'static self) -> Option<&'static Registered> {
        (!matches!(self.spec.run, Run::Container)).then_some(self)
    }

    /// A subcommand by its word, in any case.
    pub fn subcommand(&self, word: &[u8]) -> Option<&'static Registered> {
        self.subcommands
            .iter()
            .find(|sub| sub.spec.name.as_bytes().eq_ignore_ascii_case(word))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::spec::Flags;

    #[test]
    fn every_name_finds_its_command_in_any_case_and_ids_are_places() {
        let table = commands();
        for (id, command) in table.all().iter().enumerate() {
            assert_eq!(usize::from(command.id), id);
            assert_eq!(table.by_id(command.id).name, command.name);
        }
        for command in table.top() {
            let found = table.find(command.name.as_bytes()).unwrap();
            assert_eq!(found.id, command.id);
            assert_eq!(
                table.find(command.spec.name.as_bytes()).unwrap().id,
                command.id
            );
        }
        assert!(table.find(b"nosuchcommand").is_none() && table.find(b"").is_none());
    }

    #[test]
    fn names_are_unique_and_declarations_make_sense() {
        let mut names = std::collections::HashSet::new();
        for command in commands().all() {
            assert!(names.insert(&command.name), "{} twice", command.name);
            let spec = command.spec;
            assert_eq!(
                spec.name,
                spec.name.to_ascii_uppercase(),
                "{}",
                command.name
            );
            assert!(
                !spec.docs.summary.is_empty() && !spec.docs.since.is_empty(),
                "{}",
                command.name
            );
            assert!(!spec.docs.summary.ends_with('\n'));
            if matches!(spec.run, Run::Shard(_)) {
                assert!(
                    command.first_key > 0,
                    "{} has a key at a fixed place",
                    command.name
                );
            }
            assert!(
                !(spec.flags.has(Flags::WRITE) && spec.flags.has(Flags::READONLY)),
                "{}",
                command.name
            );
            assert!(!matches!(spec.run, Run::Container) || !spec.subcommands.is_empty());
        }
    }
}
