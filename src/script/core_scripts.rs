//! Scripting as one core has it: its interpreters, and which scripts they have compiled.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use crate::resp::ErrorReply;

use super::interpreter::{Interpreter, Kind};
use super::store::{Script, Scripts, Sha};

/// Memory of one interpreter at most, in bytes.
const MEMORY_MAX: usize = 512 << 20;

/// A core's scripting. Interpreters are made when first needed.
pub struct CoreScripts {
    /// What all cores share.
    pub scripts: Arc<Scripts>,
    /// The interpreter of EVAL; away while it runs a script.
    eval: RefCell<Option<Box<Interpreter>>>,
    /// Scripts compiled by it, as of `generation`.
    compiled: RefCell<HashMap<Sha, Arc<Script>>>,
    generation: Cell<u64>,
}

impl CoreScripts {
    /// A core's share of what all have.
    pub fn new(scripts: Arc<Scripts>) -> Self {
        CoreScripts {
            scripts,
            eval: RefCell::new(None),
            compiled: RefCell::new(HashMap::new()),
            generation: Cell::new(0),
        }
    }

    /// Drops what was compiled before the last flush, and the interpreter with it.
    fn follow_flush(&self) {
        let generation = self.scripts.generation();
        if generation != self.generation.get() {
            self.generation.set(generation);
            self.compiled.borrow_mut().clear();
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

    /// Compiles a script for this core.
    pub fn compile(&self, sha: Sha, script: &Arc<Script>) -> Result<(), ErrorReply> {
        self.follow_flush();
        let mut interpreter = self.take()?;
        let outcome = interpreter.define(sha.as_str(), &script.body[script.skip..]);
        self.put_back(interpreter);
        outcome.map_err(|text| ErrorReply::script_does_not_compile(&text))?;
        self.compiled.borrow_mut().insert(sha, script.clone());
        Ok(())
    }

    /// Takes the interpreter of EVAL, made if there is none.
    pub fn take(&self) -> Result<Box<Interpreter>, ErrorReply> {
        if let Some(interpreter) = self.eval.borrow_mut().take() {
            return Ok(interpreter);
        }
        Interpreter::new(Kind::Eval, MEMORY_MAX)
            .map(Box::new)
            .map_err(|text| ErrorReply::text(format!("ERR {text}")))
    }

    /// Puts it back. If scripts were flushed meanwhile it goes with them.
    pub fn put_back(&self, interpreter: Box<Interpreter>) {
        *self.eval.borrow_mut() = Some(interpreter);
        self.follow_flush();
    }

    /// Bytes of memory that the interpreters use.
    pub fn memory(&self) -> usize {
        self.eval.borrow().as_ref().map_or(0, |one| one.memory())
    }
}
