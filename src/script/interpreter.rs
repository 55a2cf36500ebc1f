//! One core's Lua: it compiles scripts, keeps them, and runs them against a `Host`.
//!
//! An interpreter belongs to one thread. Its memory is bounded; a script that needs more gets an error and the
//! interpreter goes on. Errors are Lua's own long jumps inside the C library; the crate `mlua` keeps them from crossing
//! our functions.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::chunk::ChunkMode;
use mlua::{Function, HookTriggers, Lua, LuaOptions, StdLib, Table, Value, VmState};

use crate::resp::{ErrorReply, Reply};

use super::api::{self, Answer, Exchange, Question, Shared, ask};
use super::host::Host;
use super::lent::Lent;
use super::raised::{self, raise};
use super::register::Loading;
use super::stack::{Outcome, Runner, Sandbox};
use super::{bits, convert, json, msgpack, structs};

/// Instructions between two looks at the time.
const PULSE_INSTRUCTIONS: u32 = 10_000;

/// Looks at the time that the code of a library may take: about half a second.
const LOAD_PULSES_MAX: u32 = 5_000;

/// What an interpreter is for: scripts of EVAL and functions of libraries never see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// EVAL and its kin.
    Eval,
    /// FCALL.
    Functions,
}

/// What to run, with what.
pub struct Call<'a> {
    /// Under which name it was defined, and what errors call it.
    pub name: &'a str,
    /// The keys.
    pub keys: &'a [&'a [u8]],
    /// The other arguments.
    pub args: &'a [&'a [u8]],
}

/// One core's Lua.
pub struct Interpreter {
    lua: Lua,
    kind: Kind,
    runner: Runner,
    environment: Table,
    define: Function,
    forget: Function,
    load: Function,
    doom: Function,
    next: Function,
    memory_max: usize,
    /// Behind all that belongs to Lua, which knows its address.
    shared: Shared,
    host: Rc<Lent>,
}

impl Interpreter {
    /// A new one that may use so many bytes of memory (zero: no bound). Fails when that is too little.
    pub fn new(kind: Kind, memory_max: usize) -> Result<Self, String> {
        Self::build(kind, memory_max).map_err(|error| raised::shown(&error))
    }

    fn build(kind: Kind, memory_max: usize) -> mlua::Result<Self> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
        // pcall and xpcall as they are: the server does not go on after a panic anyway.
        let options = LuaOptions::new().catch_rust_panics(true);
        let lua = Lua::new_with(libraries, options)?;
        let shared: Shared = Rc::new(RefCell::new(Exchange::default()));
        let host = shared.borrow().host.clone();
        let libraries = lua.create_table()?;
        libraries.set("redis", api::redis_table(&lua, &shared, kind)?)?;
        libraries.set("bit", bits::library(&lua)?)?;
        libraries.set("cjson", json::library(&lua)?)?;
        libraries.set("cmsgpack", msgpack::library(&lua)?)?;
        libraries.set("struct", structs::library(&lua)?)?;
        let prelude = lua
            .load(include_str!("prelude.lua"))
            .set_name("=prelude")
            .set_mode(ChunkMode::Text);
        let next: Function = lua.globals().get("next")?;
        let sandbox: Table = prelude.call((api::host_table(&lua, &shared, kind)?, libraries))?;
        let environment: Table = sandbox.get("environment")?;
        lua.set_globals(environment.clone())?;
        let doom: Function = sandbox.get("doom")?;
        let (of, dooming) = (shared.clone(), doom.clone());
        let triggers = HookTriggers::new().every_nth_instruction(PULSE_INSTRUCTIONS);
        lua.set_global_hook(triggers, move |lua, _| on_pulse(lua, &of, &dooming))?;
        let values = Sandbox {
            on_error: sandbox.get("on_error")?,
            functions: sandbox.get("functions")?,
            globals: sandbox.get("globals")?,
        };
        let runner = Runner::new(&lua, &values)?;
        lua.set_memory_limit(memory_max)?;
        Ok(Interpreter {
            kind,
            shared,
            environment,
            define: sandbox.get("define")?,
            forget: sandbox.get("forget")?,
            load: sandbox.get("load")?,
            runner,
            doom,
            next,
            memory_max,
            lua,
            host,
        })
    }

    /// Compiles a script and keeps it under a name. `Err` is Lua's text.
    pub fn define(&mut self, name: &str, code: &[u8]) -> Result<(), Vec<u8>> {
        let function = self
            .lua
            .load(code)
            .set_name("@user_script")
            .set_mode(ChunkMode::Text)
            .set_environment(self.environment.clone())
            .into_function();
        let defined = function.and_then(|function| self.define.call::<()>((name, function)));
        defined.map_err(|error| raised::shown(&error).into_bytes())
    }

    /// Runs a library's code (what follows its first line) and gives the functions that it registers. They can be called
    /// from then on if `keep` says so. `Err` is the text of the error.
    pub fn load(&mut self, code: &[u8], keep: bool) -> Result<Vec<super::Function>, Vec<u8>> {
        let chunk = self
            .lua
            .load(code)
            .set_name("@user_function")
            .set_mode(ChunkMode::Text)
            .set_environment(self.environment.clone())
            .into_function()
            .map_err(|error| {
                let text = raised::shown(&error).into_bytes();
                [b"Error compiling function: ", &text[..]].concat()
            })?;
        let failed = |text: &[u8]| [b"Error registering functions: ", text].concat();
        let loaded = self.load_chunk(chunk, keep);
        self.shared.borrow_mut().loading = None;
        loaded
            .unwrap_or_else(|error| Err(raised::shown(&error).into_bytes()))
            .map_err(|text| failed(&text))
    }

    fn load_chunk(
        &mut self,
        chunk: Function,
        keep: bool,
    ) -> mlua::Result<Result<Vec<super::Function>, Vec<u8>>> {
        let table = self.lua.create_table()?;
        self.shared.borrow_mut().loading = Some(Loading {
            functions: Vec::new(),
            table: table.clone(),
            pulses_left: LOAD_PULSES_MAX,
        });
        let outcome: Value = self.load.call(chunk)?;
        if let Value::Table(error) = outcome {
            let text = match error.raw_get("err")? {
                Value::String(text) => text.as_bytes().to_vec(),
                _ => b"ERR unknown error".to_vec(),
            };
            return Ok(Err(text));
        }
        let loading = self.shared.borrow_mut().loading.take();
        let mut functions = loading.map_or_else(Vec::new, |loading| loading.functions);
        functions.sort_by(|left, right| left.name.cmp(&right.name));
        if keep {
            for function in &functions {
                let name = function.name.as_str();
                self.define
                    .call::<()>((name, table.raw_get::<Function>(name)?))?;
            }
        }
        Ok(Ok(functions))
    }

    /// A function is gone.
    pub fn forget(&mut self, name: &str) {
        // It fails only for want of memory, and then nothing calls the function either: no library has it.
        let _ = self.forget.call::<()>(name);
    }

    /// Bytes of memory in use.
    pub fn memory(&self) -> usize {
        self.lua.used_memory()
    }

    /// Runs what was defined. Writes the reply; gives the error replies within it that nobody has counted yet.
    pub fn run(
        &mut self,
        host: &mut dyn Host,
        call: &Call<'_>,
        reply: &mut Reply<'_>,
    ) -> Vec<ErrorReply> {
        let start = reply.buffer().len();
        let lent = self.host.clone();
        let outcome = lent.during(host, || self.run_with(call, reply));
        self.after_run();
        self.collect_garbage();
        let errors = outcome.unwrap_or_else(|error| {
            // Lua itself has failed outside the script: its memory is used up.
            reply.buffer().truncate(start);
            let text = failed_to_run(call.name, raised::shown(&error).as_bytes());
            reply.error(&ErrorReply::text(text.clone()));
            vec![text]
        });
        errors.into_iter().map(ErrorReply::text).collect()
    }

    /// The collector keeps up with what scripts leave behind by itself: it takes a step whenever memory is asked for, and
    /// goes round when that has doubled. All of it goes after a script that has used up much, so that there is room for
    /// the next one. Redis takes a step after every fifty scripts besides, which costs a small script a tenth of its time.
    fn collect_garbage(&mut self) {
        if self.memory_max > 0 && self.lua.used_memory() > self.memory_max / 2 {
            // It fails only for want of memory, and then the next script meets that.
            let _ = self.lua.gc_collect();
        }
    }

    fn run_with(&mut self, call: &Call<'_>, reply: &mut Reply<'_>) -> mlua::Result<Vec<Vec<u8>>> {
        let as_globals = self.kind == Kind::Eval;
        let outcome = self
            .runner
            .run(&self.lua, &self.shared, call, as_globals, reply)?;
        match outcome {
            Outcome::Written => Ok(Vec::new()),
            Outcome::Returned(value) => {
                let resp3 = self.shared.borrow().resp3;
                convert::to_reply(&self.next, value, resp3, reply)
            }
            Outcome::Failed(value) => {
                let (text, counted) = error_text(call.name, &value)?;
                reply.error(&ErrorReply::text(text.clone()));
                Ok(if counted { Vec::new() } else { vec![text] })
            }
        }
    }

    /// Takes back what the script has set for itself, and what ended it.
    fn after_run(&mut self) {
        let mut exchange = self.shared.borrow_mut();
        exchange.resp3 = false;
        if std::mem::take(&mut exchange.doomed) {
            drop(exchange);
            // It assigns a variable, for which no memory is needed.
            let _ = self.doom.call::<()>(Value::Nil);
        }
    }
}

/// The reply to a script that ended by an error.
fn error_text(name: &str, value: &Value) -> mlua::Result<(Vec<u8>, bool)> {
    let Value::Table(table) = value else {
        let text = match value {
            Value::String(text) => text.as_bytes().to_vec(),
            Value::Error(error) => raised::shown(error).into_bytes(),
            _ => b"execution failure".to_vec(),
        };
        return Ok((failed_to_run(name, &text), false));
    };
    let field = |name: &str| -> mlua::Result<Option<Vec<u8>>> {
        Ok(match table.raw_get(name)? {
            Value::String(text) => Some(convert::until_zero(&text.as_bytes())),
            Value::Integer(number) => Some(number.to_string().into_bytes()),
            Value::Number(number) => Some(number.to_string().into_bytes()),
            _ => None,
        })
    };
    let mut text = field("err")?.unwrap_or_else(|| b"ERR unknown error".to_vec());
    if let (Some(source), Some(line)) = (field("source")?, field("line")?) {
        for part in [
            b" script: ",
            name.as_bytes(),
            b", on ",
            &source,
            b":",
            &line,
            b".",
        ] {
            text.extend_from_slice(part);
        }
    }
    Ok((text, convert::is_counted(table)?))
}

fn failed_to_run(name: &str, text: &[u8]) -> Vec<u8> {
    let text = &text[..text.len().min(100)];
    [b"ERR Error running script ", name.as_bytes(), b", ", text].concat()
}

/// Called every so many instructions: lets the server live while a script runs long, and ends the script when it says so.
fn on_pulse(lua: &Lua, shared: &Shared, doom: &Function) -> mlua::Result<VmState> {
    let reason = {
        let mut exchange = shared.borrow_mut();
        if let Some(loading) = &mut exchange.loading {
            loading.pulses_left = loading.pulses_left.saturating_sub(1);
            if loading.pulses_left > 0 {
                return Ok(VmState::Continue);
            }
            &b"FUNCTION LOAD timeout"[..]
        } else if !exchange.host.is_here() {
            return Ok(VmState::Continue);
        } else {
            b"Script killed by user with SCRIPT KILL..."
        }
    };
    if shared.borrow().host.is_here() && ask(shared, Question::Pulse)? != Answer::Refused {
        return Ok(VmState::Continue);
    }
    shared.borrow_mut().doomed = true;
    let error = raised::error_table(lua, &raised::with_code(reason), false)?;
    doom.call::<()>(error)?;
    Err(raise(reason))
}

#[cfg(test)]
mod tests;
