//! What users' rules need to know of the commands: their names, categories and subcommands.

use std::collections::HashMap;

use super::category::Category;

/// A command or subcommand.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Lower case; `container|sub` for a subcommand.
    pub name: String,
    /// All its categories.
    pub categories: Category,
    /// The container's place, for a subcommand.
    pub parent: Option<u16>,
    /// The subcommands' places, for a container.
    pub children: Vec<u16>,
}

/// All commands by their place in the command table. Names are those of the table, whatever `rename-command` says, so
/// that rules mean the same under every configuration.
#[derive(Debug)]
pub struct Catalog {
    entries: Vec<Entry>,
    places: HashMap<String, u16>,
}

impl Catalog {
    /// A catalogue of `entries`, whose index is the command's place.
    pub fn new(entries: Vec<Entry>) -> Self {
        let places = entries
            .iter()
            .enumerate()
            .map(|(place, entry)| (entry.name.clone(), place as u16))
            .collect();
        Catalog { entries, places }
    }

    /// How many commands and subcommands there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The place of a command (`get`) or subcommand (`config|set`), in any case.
    pub fn find(&self, name: &[u8]) -> Option<u16> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        self.places.get(name.as_str()).copied()
    }

    /// The command at a place.
    pub fn entry(&self, place: u16) -> &Entry {
        &self.entries[usize::from(place)]
    }

    /// All commands with their places, subcommands not among them.
    pub(super) fn top(&self) -> impl Iterator<Item = (u16, &Entry)> {
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.parent.is_none())
            .map(|(place, entry)| (place as u16, entry))
    }
}
