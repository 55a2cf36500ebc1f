//! Function libraries: one immutable snapshot that all cores share and persistence saves.
//!
//! A change makes a new snapshot; a core sees by its number that it has changed and loads again what differs.

use std::collections::HashMap;
use std::sync::Arc;

use super::flags::Flags;

/// A function of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name, unique among all libraries.
    pub name: String,
    /// What it says of itself.
    pub description: Option<Vec<u8>>,
    /// Its flags.
    pub flags: Flags,
}

/// A library.
#[derive(Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name.
    pub name: String,
    /// Its whole text, the first line included.
    pub code: Vec<u8>,
    /// Its functions in the order of their names.
    pub functions: Vec<Function>,
}

/// All libraries.
#[derive(Clone, Debug, Default)]
pub struct Libraries {
    /// In the order of their names.
    list: Vec<Arc<Library>>,
    /// Which library has a function.
    owners: HashMap<String, Arc<Library>>,
}

impl Libraries {
    /// In the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Library>> {
        self.list.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many functions they have.
    pub fn functions(&self) -> usize {
        self.owners.len()
    }

    /// Bytes of memory that they take, about.
    pub fn bytes(&self) -> usize {
        let of = |library: &Arc<Library>| {
            let functions = library.functions.iter();
            let functions: usize = functions.map(|one| 2 * one.name.len() + 160).sum();
            library.code.len() + library.name.len() + functions + size_of::<Library>()
        };
        self.list.iter().map(of).sum()
    }

    /// The library of that name.
    pub fn find(&self, name: &str) -> Option<&Arc<Library>> {
        self.list.iter().find(|library| library.name == name)
    }

    /// The function of that name and its library.
    pub fn function(&self, name: &str) -> Option<(&Arc<Library>, &Function)> {
        let library = self.owners.get(name)?;
        let function = library.functions.iter().find(|one| one.name == name)?;
        Some((library, function))
    }

    /// Adds a library, in place of one of the same name where `replace` allows it. `Err` is the text of the error.
    pub fn add(&mut self, library: Arc<Library>, replace: bool) -> Result<(), String> {
        let old = self.find(&library.name).cloned();
        if old.is_some() && !replace {
            return Err(format!("Library '{}' already exists", library.name));
        }
        for function in &library.functions {
            let owner = self.owners.get(&function.name);
            if owner.is_some_and(|owner| owner.name != library.name) {
                return Err(format!("Function {} already exists", function.name));
            }
        }
        self.remove(&library.name);
        for function in &library.functions {
            self.owners.insert(function.name.clone(), library.clone());
        }
        let at = self.list.partition_point(|other| other.name < library.name);
        self.list.insert(at, library);
        Ok(())
    }

    /// Removes a library; false when there is none of that name.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(at) = self.list.iter().position(|library| library.name == name) else {
            return false;
        };
        let library = self.list.remove(at);
        for function in &library.functions {
            self.owners.remove(&function.name);
        }
        true
    }
}
