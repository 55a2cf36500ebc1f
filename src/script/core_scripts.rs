//! Scripting as one core has it: its interpreters, and what they have compiled and loaded.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use crate::base::hash::hash;
use crate::resp::ErrorReply;

use super::flags::{Flags, Shebang};
use super::interpreter::{Interpreter, Kind};
use super::libraries::{Libraries, Library, Metadata};
use super::store::{Script, Scripts, Sha};

/// Memory of one interpreter at most, in bytes.
const MEMORY_MAX: usize = 512 << 20;

/// Scripts that are found by their text; a power of two.
const RECENT: usize = 64;

/// A script that EVAL has run: its name costs more to compute than a small script takes to run.
#[derive(Clone)]
struct Recent {
    sha: Sha,
    script: Arc<Script>,
}

/// A core's scripting. Interpreters are made when first needed, and are away while they run something.
pub struct CoreScripts {
    /// What all cores share.
    pub scripts: Arc<Scripts>,
    eval: RefCell<Option<Box<Interpreter>>>,
    /// Scripts compiled by it, as of `generation`.
    compiled: RefCell<HashMap<Sha, Arc<Script>, ahash::RandomState>>,
    /// Some of them, each where the hash of its text says.
    recent: RefCell<Vec<Option<Recent>>>,
    generation: Cell<u64>,
    functions: RefCell<Option<Box<Interpreter>>>,
    /// The libraries loaded by it, as of `library_generation`.
    loaded: RefCell<Arc<Libraries>>,
    library_generation: Cell<u64>,
}

impl CoreScripts {
    /// A core's share of what all have.
    pub fn new(scripts: Arc<Scripts>) -> Self {
        CoreScripts {
            scripts,
            eval: RefCell::new(None),
            compiled: RefCell::default(),
            recent: RefCell::new(vec![None; RECENT]),
            generation: Cell::new(0),
            functions: RefCell::new(None),
            loaded: RefCell::default(),
            library_generation: Cell::new(0),
        }
    }

    /// Drops what was compiled before the last flush, and the interpreter with it.
    fn follow_flush(&self) {
        let generation = self.scripts.generation();
        if generation != self.generation.get() {
            self.generation.set(generation);
            self.compiled.borrow_mut().clear();
            self.recent.borrow_mut().fill(None);
            *self.eval.borrow_mut() = None;
        }
    }

    /// A cached script, compiled here.
    pub fn find(&self, sha: &Sha) -> Result<Option<Arc<Script>>, ErrorReply> {
        self.follow_flush();
        if let Some(script) = self.compiled.borrow().get(sha) {
            return Ok(Some(script.clone()));
        }
        let Some(script) = self.scripts.find(sha) else {
            return Ok(None);
        };
        self.compile(*sha, &script)?;
        Ok(Some(script))
    }

    /// A script that has run here lately, by its text.
    pub fn find_recent(&self, body: &[u8]) -> Option<(Sha, Flags)> {
        self.follow_flush();
        let recent = self.recent.borrow();
        let found = recent[place_of(body)].as_ref()?;
        (found.script.body == body).then_some((found.sha, found.script.flags))
    }

    /// Remembers a script that is compiled here.
    pub fn remember(&self, sha: Sha, script: Arc<Script>) {
        let place = place_of(&script.body);
        self.recent.borrow_mut()[place] = Some(Recent { sha, script });
    }

    /// Takes in a script that nobody has yet: compiled for this core, known to all. Its flags.
    pub fn learn(&self, sha: Sha, text: &[u8]) -> Result<Flags, ErrorReply> {
        let Shebang { flags, length } = Shebang::of_script(text)
            .map_err(|text| ErrorReply::text([b"ERR ", &text[..]].concat()))?;
        let script = Arc::new(Script {
            body: text.to_vec(),
            flags,
            skip: length,
        });
        self.compile(sha, &script)?;
        self.scripts.add(sha, script);
        Ok(flags)
    }

    /// Compiles a script for this core.
    pub fn compile(&self, sha: Sha, script: &Arc<Script>) -> Result<(), ErrorReply> {
        self.follow_flush();
        let mut interpreter = self.take(Kind::Eval)?;
        let outcome = interpreter.define(sha.as_str(), &script.body[script.skip..]);
        self.put_back(Kind::Eval, interpreter);
        outcome.map_err(|text| ErrorReply::script_does_not_compile(&text))?;
        self.compiled.borrow_mut().insert(sha, script.clone());
        Ok(())
    }

    /// A function, loaded here: its name as its library has it, and its flags.
    pub fn function(&self, name: &[u8]) -> Result<Option<(String, Flags)>, ErrorReply> {
        self.follow_libraries()?;
        let name = std::str::from_utf8(name).unwrap_or("");
        let loaded = self.loaded.borrow();
        let found = loaded.function(name);
        Ok(found.map(|(_, function)| (function.name.clone(), function.flags)))
    }

    /// Loads the libraries that have come since this core looked, and forgets those that have gone.
    fn follow_libraries(&self) -> Result<(), ErrorReply> {
        let generation = self.scripts.library_generation();
        if generation == self.library_generation.get() {
            return Ok(());
        }
        let wanted = self.scripts.libraries();
        let mut interpreter = self.take(Kind::Functions)?;
        let loaded = self.loaded.replace(wanted.clone());
        let is_in = |library: &Arc<Library>, all: &Libraries| {
            all.find(&library.name)
                .is_some_and(|other| Arc::ptr_eq(library, other))
        };
        for library in loaded.iter().filter(|library| !is_in(library, &wanted)) {
            for function in &library.functions {
                interpreter.forget(&function.name);
            }
        }
        for library in wanted.iter().filter(|library| !is_in(library, &loaded)) {
            // It has been loaded once, on the core where it came in, and does the same here.
            let skip = Metadata::of_library(&library.code).map_or(0, |found| found.skip);
            if let Err(text) = interpreter.load(&library.code[skip..], true) {
                log::warn!(
                    "The function library {} could not be loaded on this core: {}",
                    library.name,
                    String::from_utf8_lossy(&text)
                );
            }
        }
        self.put_back(Kind::Functions, interpreter);
        self.library_generation.set(generation);
        Ok(())
    }

    /// Runs a library's code to see what functions it has. `Err` is the text of the error.
    pub fn read_library(&self, code: &[u8]) -> Result<Library, ErrorReply> {
        let error = |text: &[u8]| ErrorReply::text([b"ERR ", text].concat());
        let Metadata { name, skip } = Metadata::of_library(code).map_err(|text| error(&text))?;
        let mut interpreter = self.take(Kind::Functions)?;
        let outcome = interpreter.load(&code[skip..], false);
        self.put_back(Kind::Functions, interpreter);
        let functions = outcome.map_err(|text| error(&text))?;
        if functions.is_empty() {
            return Err(error(b"No functions registered"));
        }
        Ok(Library {
            name,
            code: code.to_vec(),
            functions,
        })
    }

    fn place(&self, kind: Kind) -> &RefCell<Option<Box<Interpreter>>> {
        match kind {
            Kind::Eval => &self.eval,
            Kind::Functions => &self.functions,
        }
    }

    /// Takes an interpreter, made if there is none.
    pub fn take(&self, kind: Kind) -> Result<Box<Interpreter>, ErrorReply> {
        if let Some(interpreter) = self.place(kind).borrow_mut().take() {
            return Ok(interpreter);
        }
        Interpreter::new(kind, MEMORY_MAX)
            .map(Box::new)
            .map_err(|text| ErrorReply::text(format!("ERR {text}")))
    }

    /// Puts it back. If scripts were flushed meanwhile it goes with them.
    pub fn put_back(&self, kind: Kind, interpreter: Box<Interpreter>) {
        *self.place(kind).borrow_mut() = Some(interpreter);
        self.follow_flush();
    }

    /// Bytes of memory that an interpreter uses.
    pub fn memory(&self, kind: Kind) -> usize {
        self.place(kind)
            .borrow()
            .as_ref()
            .map_or(0, |one| one.memory())
    }
}

fn place_of(body: &[u8]) -> usize {
    hash(body) as usize % RECENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_found_by_its_whole_text_until_scripts_are_flushed() {
        let scripts = Arc::new(Scripts::default());
        let core = CoreScripts::new(scripts.clone());
        let script = |body: &[u8]| {
            let body = body.to_vec();
            let (flags, skip) = (Flags::COMPATIBLE, 0);
            Arc::new(Script { body, flags, skip })
        };
        let names: Vec<Vec<u8>> = (0..500)
            .map(|n| format!("return {n}").into_bytes())
            .collect();
        for body in &names {
            let sha = Sha::of(body);
            assert!(core.find_recent(body).is_none());
            core.remember(sha, script(body));
            assert_eq!(core.find_recent(body).map(|(sha, _)| sha), Some(sha));
        }
        let kept = names.iter().filter(|body| core.find_recent(body).is_some());
        assert!((1..=RECENT).contains(&kept.count()));
        scripts.flush();
        assert!(names.iter().all(|body| core.find_recent(body).is_none()));
    }
}
