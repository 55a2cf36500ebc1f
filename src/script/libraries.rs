//! Function libraries: one immutable snapshot that all cores share and persistence saves.
//!
//! A change makes a new snapshot; a core sees by its number that it has changed and loads again what differs.

use std::collections::HashMap;
use std::sync::Arc;

use super::flags::Flags;
use crate::base::words::split;

/// What names of libraries and functions are made of, as the error says it.
pub(super) const NAME_RULE: &str = "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";

/// Whether a library or function may be called so.
pub(super) fn is_name(name: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    !name.is_empty() && name.iter().all(fits)
}

/// What the first line of a library says (`#!lua name=mylib`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The library's name.
    pub name: String,
    /// How many bytes of the text the line takes; the line feed stays.
    pub skip: usize,
}

impl Metadata {
    /// Reads the first line; gives the text of the error otherwise.
    pub fn of_library(code: &[u8]) -> Result<Metadata, Vec<u8>> {
        if !code.starts_with(b"#!") {
            return Err(b"Missing library metadata".to_vec());
        }
        let invalid = || b"Invalid library metadata".to_vec();
        let skip = memchr::memchr(b'\n', code).ok_or_else(invalid)?;
        let words = split(&code[..skip]).unwrap_or_default();
        let (first, rest) = words.split_first().ok_or_else(invalid)?;
        let engine = first.get(2..).unwrap_or_default();
        let mut name: Option<Vec<u8>> = None;
        for word in rest {
            match word.split_at_checked(5) {
                Some((key, value)) if key.eq_ignore_ascii_case(b"name=") => {
                    if name.replace(value.to_vec()).is_some() {
                        return Err(
                            b"Invalid metadata value, name argument was given multiple times"
                                .to_vec(),
                        );
                    }
                }
                _ => return Err([b"Invalid metadata value given: ", &word[..]].concat()),
            }
        }
        let name = name.ok_or_else(|| b"Library name was not given".to_vec())?;
        if !is_name(&name) {
            return Err(NAME_RULE.as_bytes().to_vec());
        }
        if !engine.eq_ignore_ascii_case(b"lua") {
            return Err([b"Engine '", engine, b"' not found"].concat());
        }
        Ok(Metadata {
            name: String::from_utf8_lossy(&name).into_owned(),
            skip,
        })
    }
}

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
    /// Which library has a function, by its name in lower case: FCALL does not mind the case.
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

    /// The function of that name, in any case, and its library.
    pub fn function(&self, name: &str) -> Option<(&Arc<Library>, &Function)> {
        let library = self.owners.get(&name.to_ascii_lowercase())?;
        let mut functions = library.functions.iter();
        let function = functions.find(|one| one.name.eq_ignore_ascii_case(name))?;
        Some((library, function))
    }

    /// The texts of all libraries: what a snapshot saves, FUNCTION DUMP gives, and an append-only file begins with.
    pub fn codes(&self) -> impl Iterator<Item = &[u8]> {
        self.list.iter().map(|library| &library.code[..])
    }

    /// Adds a library, in place of one of the same name where `replace` allows it. `Err` is the text of the error.
    pub fn add(&mut self, library: Arc<Library>, replace: bool) -> Result<(), String> {
        let old = self.find(&library.name).cloned();
        if old.is_some() && !replace {
            return Err(format!("Library '{}' already exists", library.name));
        }
        for function in &library.functions {
            let owner = self.owners.get(&function.name.to_ascii_lowercase());
            if owner.is_some_and(|owner| owner.name != library.name) {
                return Err(format!("Function {} already exists", function.name));
            }
        }
        self.remove(&library.name);
        for function in &library.functions {
            self.owners
                .insert(function.name.to_ascii_lowercase(), library.clone());
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
            self.owners.remove(&function.name.to_ascii_lowercase());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(name: &str, functions: &[&str]) -> Arc<Library> {
        let function = |name: &&str| Function {
            name: (*name).to_owned(),
            description: None,
            flags: Flags::default(),
        };
        Arc::new(Library {
            name: name.to_owned(),
            code: Vec::new(),
            functions: functions.iter().map(function).collect(),
        })
    }

    #[test]
    fn a_function_belongs_to_one_library() {
        let mut all = Libraries::default();
        all.add(library("b", &["f", "g"]), false).unwrap();
        assert_eq!(
            all.add(library("b", &["h"]), false),
            Err("Library 'b' already exists".into())
        );
        assert_eq!(
            all.add(library("a", &["g"]), false),
            Err("Function g already exists".into())
        );
        all.add(library("b", &["g"]), true).unwrap();
        all.add(library("a", &["f"]), false).unwrap();
        assert_eq!((all.len(), all.functions()), (2, 2));
        assert_eq!(all.function("f").unwrap().0.name, "a");
        assert!(all.remove("a") && !all.remove("a") && all.function("f").is_none());
    }

    #[test]
    fn the_first_line_of_a_library_is_read() {
        let read = |code: &str| match Metadata::of_library(code.as_bytes()) {
            Ok(metadata) => metadata.name,
            Err(text) => String::from_utf8(text).unwrap(),
        };
        assert_eq!(read("#!LUA name=test\nx"), "test");
        assert_eq!(read("x"), "Missing library metadata");
        assert_eq!(read("#!lua name=x"), "Invalid library metadata");
        assert_eq!(read("#!lua\n"), "Library name was not given");
        assert_eq!(
            read("#!lua name=a name=b\n"),
            "Invalid metadata value, name argument was given multiple times"
        );
        assert_eq!(read("#!lua foo=a\n"), "Invalid metadata value given: foo=a");
        assert_eq!(read("#!lua name=a-b\n"), NAME_RULE);
        assert_eq!(read("#!bad name=a\n"), "Engine 'bad' not found");
    }
}
