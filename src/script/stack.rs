//! What every script and every command that it calls passes through, on Lua's own stack: a script's keys and arguments,
//! its start, `redis.call`, and values that become replies.
//!
//! The crate `mlua` does all of that safely, at a price: a protected call for each table, string and entry, and a place
//! on a second stack for each value. With it a script of one GET took 1.9 times the processor time of Redis's, with this
//! file less than Redis's (bench/compare.sh types, `EVAL`). Whatever is not in every script's way stays with the crate.
//!
//! What makes it sound is the same everywhere: Lua's errors are long jumps, so
//! - every function here runs below a protected call, which `Lua::exec_raw` makes, or is called by Lua;
//! - where one of Lua's functions may raise an error (it allocates, or runs a script), no frame between it and the
//!   protected call owns anything that would have to be dropped: texts wait in [`Exchange`], and only numbers,
//!   references and raw slices are at hand;
//! - what uses values of Rust calls only what never raises: types, lengths, numbers, and the bytes of what *is* a string.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_void};
use std::rc::Rc;

use mlua::ffi::{self, lua_State};
use mlua::{Function, Lua, Table, Value};

use crate::base::number::parse_i64;
use crate::resp::Reply;

use super::api::{self, Exchange, Failure, Shared};
use super::convert::{one_line, truncated, until_zero};
use super::interpreter::Call;

/// Arrays within arrays of a command's reply at most; none comes near.
pub(super) const REPLY_DEPTH_MAX: usize = 100;

/// Tables within tables that become a reply here at most; what is deeper goes the crate's way.
const TABLE_DEPTH_MAX: usize = 50;

/// Memory of a reply that is kept for the next one.
const REPLY_KEPT_MAX: usize = 64 * 1024;

/// Lua's values that a run needs.
pub(super) struct Sandbox {
    /// What becomes of an error where it is raised.
    pub on_error: Function,
    /// What was defined, by name.
    pub functions: Table,
    /// The globals, unprotected.
    pub globals: Table,
}

/// How a run has ended.
pub(super) enum Outcome {
    /// The reply is written.
    Written,
    /// The script returned this, which is no plain value.
    Returned(Value),
    /// The script ended by this error.
    Failed(Value),
}

/// Makes redis.call (which raises errors) or redis.pcall (which returns them).
pub(super) fn calling_function(lua: &Lua, shared: &Shared, raises: bool) -> mlua::Result<Function> {
    let function = if raises { call } else { pcall };
    let exchange: *const RefCell<Exchange> = Rc::as_ptr(shared);
    // SAFETY: runs protected. The function holds the address of what the interpreter owns and drops after Lua.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_pushlightuserdata(state, exchange as *mut c_void);
            ffi::lua_pushcclosure(state, function, 1);
        })
    }
}

/// Runs what was defined. It calls Lua directly: a way in through the crate makes two functions for each run.
pub(super) struct Runner {
    /// The main thread of Lua, which lives as long as the interpreter.
    state: *mut lua_State,
    /// Where the registry has `run_job`, with the sandbox for its upvalues.
    start: c_int,
    /// Where it has what a run leaves for the crate to look at.
    left: c_int,
}

/// One run.
struct Job<'a, 'b> {
    call: &'a Call<'a>,
    as_globals: bool,
    exchange: &'a RefCell<Exchange>,
    reply: &'a mut Reply<'b>,
    left: c_int,
    written: bool,
    failed: bool,
}

impl Runner {
    /// For an interpreter, to be used as long as that is there.
    pub fn new(lua: &Lua, sandbox: &Sandbox) -> mlua::Result<Runner> {
        let mut runner = Runner {
            state: std::ptr::null_mut(),
            start: 0,
            left: 0,
        };
        let upvalues = (&sandbox.on_error, &sandbox.functions, &sandbox.globals);
        // SAFETY: runs protected, and the closure owns nothing.
        unsafe {
            lua.exec_raw::<()>(upvalues, |state| {
                ffi::lua_pushcclosure(state, run_job, 3);
                runner.start = ffi::luaL_ref(state, ffi::LUA_REGISTRYINDEX);
                ffi::lua_pushboolean(state, 0);
                runner.left = ffi::luaL_ref(state, ffi::LUA_REGISTRYINDEX);
                runner.state = state;
            })?;
        }
        Ok(runner)
    }

    /// Runs what was defined. A plain value that it returns is written as the reply at once.
    pub fn run(
        &self,
        lua: &Lua,
        shared: &Shared,
        call: &Call<'_>,
        as_globals: bool,
        reply: &mut Reply<'_>,
    ) -> mlua::Result<Outcome> {
        let start = reply.buffer().len();
        let mut job = Job {
            call,
            as_globals,
            exchange: shared,
            reply,
            left: self.left,
            written: false,
            failed: false,
        };
        // SAFETY: the caller's interpreter has made this runner, so the state is alive; it is not in use, and its stack has
        // room for the few values that C may always push. Nothing here raises: the function is fetched by number and
        // called protected. The job outlives the call.
        unsafe {
            let state = self.state;
            ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, self.start);
            ffi::lua_pushlightuserdata(state, (&raw mut job).cast::<c_void>());
            if ffi::lua_pcall(state, 1, 0, 0) != ffi::LUA_OK {
                let text = match ffi::lua_type(state, -1) {
                    ffi::LUA_TSTRING => String::from_utf8_lossy(string_at(state, -1)).into_owned(),
                    _ => "error in error handling".to_owned(),
                };
                ffi::lua_settop(state, -2);
                return Err(mlua::Error::MemoryError(text));
            }
        }
        let (written, failed) = (job.written, job.failed);
        if written {
            return Ok(Outcome::Written);
        }
        reply.buffer().truncate(start);
        // SAFETY: runs protected, and the closure owns nothing.
        let left: Value = unsafe {
            lua.exec_raw((), |state| {
                ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, self.left);
                ffi::lua_pushboolean(state, 0);
                ffi::lua_rawseti_(state, ffi::LUA_REGISTRYINDEX, self.left);
            })?
        };
        Ok(if failed {
            Outcome::Failed(left)
        } else {
            Outcome::Returned(left)
        })
    }
}

/// Does the job that it is given.
// SAFETY: Lua calls it, with a state of its own.
pub(super) unsafe extern "C-unwind" fn run_job(state: *mut lua_State) -> c_int {
    const ON_ERROR: c_int = ffi::lua_upvalueindex(1);
    const FUNCTIONS: c_int = ffi::lua_upvalueindex(2);
    const GLOBALS: c_int = ffi::lua_upvalueindex(3);
    // SAFETY: called by `Runner::run` with a job, which nobody else uses meanwhile. All that is used here is borrowed or
    // copied; an error leaves the job as it is.
    unsafe {
        let job = &mut *ffi::lua_touserdata(state, 1).cast::<Job<'_, '_>>();
        ffi::lua_settop(state, 0);
        ffi::lua_pushvalue(state, ON_ERROR);
        push_string(state, job.call.name.as_bytes());
        ffi::lua_rawget_(state, FUNCTIONS);
        let mut passed = 0;
        for (name, list) in [(&b"KEYS"[..], job.call.keys), (b"ARGV", job.call.args)] {
            if job.as_globals {
                push_string(state, name);
                push_strings(state, list);
                ffi::lua_rawset(state, GLOBALS);
            } else {
                push_strings(state, list);
                passed += 1;
            }
        }
        job.failed = ffi::lua_pcall(state, passed, 1, 1) != ffi::LUA_OK;
        if !job.failed {
            let resp3 = job.exchange.borrow().resp3;
            job.written = write_value(state, job.reply, resp3, 0);
        }
        if !job.written {
            // The outcome is the second from the bottom, whatever has been pushed since.
            ffi::lua_pushvalue(state, 2);
            ffi::lua_rawseti_(state, ffi::LUA_REGISTRYINDEX, job.left);
        }
        0
    }
}

unsafe fn push_string(state: *mut lua_State, text: &[u8]) {
    // SAFETY: so many bytes are there, and Lua copies them.
    unsafe { ffi::lua_pushlstring_(state, text.as_ptr().cast::<c_char>(), text.len()) }
}

unsafe fn push_strings(state: *mut lua_State, list: &[&[u8]]) {
    // SAFETY: the caller has room for two more values on the stack.
    unsafe {
        ffi::lua_createtable(state, list.len() as c_int, 0);
        for (place, text) in list.iter().enumerate() {
            push_string(state, text);
            ffi::lua_rawseti_(state, -2, place as c_int + 1);
        }
    }
}

/// The bytes of what is a string, as long as it stays on the stack. Never raises.
unsafe fn string_at<'a>(state: *mut lua_State, at: c_int) -> &'a [u8] {
    let mut length = 0;
    // SAFETY: the caller has seen that it is a string, which is not converted and has so many bytes.
    unsafe {
        let first = ffi::lua_tolstring(state, at, &mut length);
        std::slice::from_raw_parts(first.cast::<u8>(), length)
    }
}

// Commands.

unsafe extern "C-unwind" fn call(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua as a function made by `calling_function`.
    unsafe { command(state, true) }
}

unsafe extern "C-unwind" fn pcall(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe { command(state, false) }
}

/// redis.call and redis.pcall.
unsafe fn command(state: *mut lua_State, raises: bool) -> c_int {
    // SAFETY: the upvalue is the address of the interpreter's exchange, which outlives Lua. Nothing is owned here: what
    // `ask` and `release` own they drop before they return, and they raise nothing. The reply and the text lie in the
    // exchange, where nobody writes while Lua takes them in: it allocates, which calls back nowhere.
    unsafe {
        let exchange = &*ffi::lua_touserdata(state, ffi::lua_upvalueindex(1))
            .cast::<RefCell<Exchange>>()
            .cast_const();
        let asked = ask(state, exchange, raises);
        ffi::lua_settop(state, 0);
        match asked {
            Ok(reply) => {
                let mut rest = &*reply;
                push_reply(state, &mut rest, 0);
                if reply.len() > REPLY_KEPT_MAX {
                    release(exchange);
                }
                1
            }
            Err((failure, text)) => {
                push_error(state, &*text, failure == Failure::Counted);
                if raises || failure == Failure::Homeless {
                    ffi::lua_error(state)
                }
                1
            }
        }
    }
}

/// Hands the command on the stack to the host: its reply, or what has gone wrong and the text of it, both in the exchange.
/// Never raises.
unsafe fn ask(
    state: *mut lua_State,
    exchange: &RefCell<Exchange>,
    raises: bool,
) -> Result<*const [u8], (Failure, *const [u8])> {
    let exchange = &mut *exchange.borrow_mut();
    exchange.args.clear();
    // SAFETY: the places are on the stack; a string's bytes are copied before anything else happens.
    let taken = unsafe {
        (1..=ffi::lua_gettop(state)).all(|at| match ffi::lua_type(state, at) {
            ffi::LUA_TSTRING => {
                exchange.args.push(string_at(state, at));
                true
            }
            ffi::LUA_TNUMBER => {
                api::push_number(&mut exchange.args, ffi::lua_tonumber(state, at));
                true
            }
            _ => false,
        })
    };
    match api::run_command(exchange, taken) {
        Ok(()) => {}
        Err(failure) => return Err((failure, &raw const *exchange.text)),
    }
    if raises && exchange.reply.first() == Some(&b'-') {
        let end = memchr::memchr(b'\r', &exchange.reply).unwrap_or(exchange.reply.len());
        return Err((Failure::Counted, &raw const exchange.reply[1..end]));
    }
    Ok(&raw const *exchange.reply)
}

/// Gives the memory of a big reply back.
fn release(exchange: &RefCell<Exchange>) {
    let mut exchange = exchange.borrow_mut();
    exchange.reply.clear();
    exchange.reply.shrink_to(REPLY_KEPT_MAX);
}

/// Pushes the table that stands for an error.
unsafe fn push_error(state: *mut lua_State, text: &[u8], counted: bool) {
    // As C's strings end, so does the text at a zero byte.
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    // SAFETY: three values at most, for which the caller has room.
    unsafe {
        ffi::lua_createtable(state, 0, 4);
        push_string(state, &text[..end]);
        ffi::lua_setfield(state, -2, c"err".as_ptr());
        if counted {
            ffi::lua_pushboolean(state, 1);
            ffi::lua_setfield(state, -2, c"ignore_error_stats_update".as_ptr());
        }
    }
}

// Replies of commands as values.

/// Pushes a reply of this server's own commands as one value and takes it off the bytes. Such replies are well formed and
/// never deep; what does not parse becomes nil: nothing that a client sends gets here.
unsafe fn push_reply(state: *mut lua_State, rest: &mut &[u8], depth: usize) {
    // SAFETY: room for four more values is made sure of here, and more is not used at a time.
    unsafe {
        if depth == REPLY_DEPTH_MAX || ffi::lua_checkstack(state, 4) == 0 {
            return ffi::lua_pushnil(state);
        }
        let line = take_line(rest);
        let Some((kind, text)) = line.split_first() else {
            return ffi::lua_pushnil(state);
        };
        match kind {
            b':' => ffi::lua_pushnumber(state, number(text) as f64),
            b'$' => match usize::try_from(number(text)) {
                Ok(length) => push_string(state, take_bytes(rest, length)),
                Err(_) => ffi::lua_pushboolean(state, 0),
            },
            b'+' => push_field(state, c"ok", text),
            b'-' => push_error(state, text, true),
            b'*' | b'>' => {
                if number(text) < 0 {
                    return ffi::lua_pushboolean(state, 0);
                }
                let count = fitting(rest, number(text));
                ffi::lua_createtable(state, count as c_int, 0);
                for place in 1..=count {
                    push_reply(state, rest, depth + 1);
                    // A nil among the elements leaves a hole.
                    ffi::lua_rawseti_(state, -2, place as c_int);
                }
            }
            b'%' => {
                ffi::lua_createtable(state, 0, 1);
                ffi::lua_createtable(state, 0, 0);
                for _ in 0..fitting(rest, number(text)) {
                    push_reply(state, rest, depth + 1);
                    push_reply(state, rest, depth + 1);
                    set_if_key(state);
                }
                ffi::lua_setfield(state, -2, c"map".as_ptr());
            }
            b'~' => {
                ffi::lua_createtable(state, 0, 1);
                ffi::lua_createtable(state, 0, 0);
                for _ in 0..fitting(rest, number(text)) {
                    push_reply(state, rest, depth + 1);
                    ffi::lua_pushboolean(state, 1);
                    set_if_key(state);
                }
                ffi::lua_setfield(state, -2, c"set".as_ptr());
            }
            // An attribute is for whoever knows it; the reply comes after it.
            b'|' => {
                for _ in 0..fitting(rest, number(text).saturating_mul(2)) {
                    push_reply(state, rest, depth + 1);
                    ffi::lua_settop(state, -2);
                }
                push_reply(state, rest, depth + 1);
            }
            b'#' => ffi::lua_pushboolean(state, c_int::from(text == b"t")),
            b',' => {
                ffi::lua_createtable(state, 0, 1);
                ffi::lua_pushnumber(state, double(text));
                ffi::lua_setfield(state, -2, c"double".as_ptr());
            }
            b'(' => push_field(state, c"big_number", text),
            b'=' => {
                let whole = take_bytes(rest, usize::try_from(number(text)).unwrap_or_default());
                let (format, string) = whole.split_at(whole.len().min(4));
                ffi::lua_createtable(state, 0, 1);
                ffi::lua_createtable(state, 0, 2);
                push_string(state, string);
                ffi::lua_setfield(state, -2, c"string".as_ptr());
                push_string(state, &format[..format.len().min(3)]);
                ffi::lua_setfield(state, -2, c"format".as_ptr());
                ffi::lua_setfield(state, -2, c"verbatim_string".as_ptr());
            }
            _ => ffi::lua_pushnil(state),
        }
    }
}

/// Pushes a table with a text in one field.
unsafe fn push_field(state: *mut lua_State, name: &std::ffi::CStr, text: &[u8]) {
    // SAFETY: two values, for which the caller has room; the table has no metatable that a new field could call.
    unsafe {
        ffi::lua_createtable(state, 0, 1);
        push_string(state, text);
        ffi::lua_setfield(state, -2, name.as_ptr());
    }
}

/// Sets the entry on top of the stack in the table below it. Nil and NaN are no keys of tables in Lua.
unsafe fn set_if_key(state: *mut lua_State) {
    // SAFETY: a table, a key and a value are on the stack.
    unsafe {
        let is_key = match ffi::lua_type(state, -2) {
            ffi::LUA_TNIL => false,
            ffi::LUA_TNUMBER => !ffi::lua_tonumber(state, -2).is_nan(),
            _ => true,
        };
        if is_key {
            ffi::lua_rawset(state, -3);
        } else {
            ffi::lua_settop(state, -3);
        }
    }
}

fn take_line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    // Most lines are the length of a string, and a search has its price.
    let near = rest.iter().take(8).position(|byte| *byte == b'\r');
    let end = match near {
        Some(end) if rest.get(end + 1) == Some(&b'\n') => end,
        _ => memchr::memmem::find(rest, b"\r\n").unwrap_or(rest.len()),
    };
    let line = &rest[..end];
    *rest = rest.get(end + 2..).unwrap_or_default();
    line
}

fn take_bytes<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let bytes = rest.get(..length).unwrap_or_default();
    *rest = rest.get(length.saturating_add(2)..).unwrap_or_default();
    bytes
}

fn number(text: &[u8]) -> i64 {
    parse_i64(text).unwrap_or_default()
}

/// So many elements, or fewer when the bytes that are left cannot hold them: each takes three at least.
fn fitting(rest: &[u8], count: i64) -> usize {
    usize::try_from(count).unwrap_or(0).min(rest.len())
}

pub(super) fn double(text: &[u8]) -> f64 {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(f64::NAN)
}

// What a script returns as a reply.

/// Writes the value on top of the stack as a reply. Of tables only a status and a plain array are written here; if
/// something else is met the answer is false, and what has been written and pushed until then is the caller's to take
/// back.
unsafe fn write_value(
    state: *mut lua_State,
    reply: &mut Reply<'_>,
    resp3: bool,
    depth: usize,
) -> bool {
    // SAFETY: what is asked of values does not raise. `reply` is borrowed: a long jump (the stack cannot grow) leaves it
    // with what has been written so far, which `Interpreter::run` cuts off.
    unsafe {
        match ffi::lua_type(state, -1) {
            ffi::LUA_TSTRING => reply.bulk(string_at(state, -1)),
            ffi::LUA_TNUMBER => reply.integer(truncated(ffi::lua_tonumber(state, -1))),
            ffi::LUA_TBOOLEAN => {
                let truth = ffi::lua_toboolean(state, -1) != 0;
                match (resp3, truth) {
                    (true, _) => reply.boolean(truth),
                    (false, true) => reply.integer(1),
                    (false, false) => reply.null(),
                }
            }
            ffi::LUA_TTABLE => return write_table(state, reply, resp3, depth),
            _ => reply.null(),
        }
        true
    }
}

unsafe fn write_table(
    state: *mut lua_State,
    reply: &mut Reply<'_>,
    resp3: bool,
    depth: usize,
) -> bool {
    // SAFETY: as in `write_value`. `lua_next` would raise an error for a key that the table does not have: it gets none,
    // or the length, which is 0 or has an element.
    unsafe {
        if depth == TABLE_DEPTH_MAX || ffi::lua_checkstack(state, 6) == 0 {
            return false;
        }
        let length = ffi::lua_objlen(state, -1);
        if length == 0 {
            ffi::lua_pushnil(state);
        } else {
            ffi::lua_pushnumber(state, length as f64);
        }
        if ffi::lua_next(state, -2) != 0 {
            return length == 0 && write_status(state, reply);
        }
        let mut count: c_int = 0;
        while (count as usize) < length {
            ffi::lua_rawgeti_(state, -1, count + 1);
            let is_nil = ffi::lua_type(state, -1) == ffi::LUA_TNIL;
            ffi::lua_settop(state, -2);
            if is_nil {
                break;
            }
            count += 1;
        }
        reply.array(count as usize);
        for place in 1..=count {
            ffi::lua_rawgeti_(state, -1, place);
            if !write_value(state, reply, resp3, depth + 1) {
                return false;
            }
            ffi::lua_settop(state, -2);
        }
        true
    }
}

/// Writes a table, of which the first entry has been pushed, if its only entry is a status.
unsafe fn write_status(state: *mut lua_State, reply: &mut Reply<'_>) -> bool {
    // SAFETY: a table, a key of it and the value are on the stack, with room for two more.
    unsafe {
        let is_string = |at| ffi::lua_type(state, at) == ffi::LUA_TSTRING;
        if !(is_string(-2) && is_string(-1) && string_at(state, -2) == b"ok") {
            return false;
        }
        ffi::lua_pushvalue(state, -2);
        if ffi::lua_next(state, -4) != 0 {
            return false;
        }
        reply.status(&one_line(&until_zero(string_at(state, -1))));
        ffi::lua_settop(state, -3);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::convert;

    /// A value as text, the same for equal values.
    fn shown(value: &Value) -> String {
        match value {
            Value::Table(table) => {
                let mut entries: Vec<String> = table
                    .pairs::<Value, Value>()
                    .map(|entry| entry.unwrap())
                    .map(|(key, value)| format!("{}={}", shown(&key), shown(&value)))
                    .collect();
                entries.sort();
                format!("{{{}}}", entries.join(","))
            }
            Value::String(text) => format!("{:?}", text.as_bytes().to_vec()),
            Value::Integer(number) => format!("{}", *number as f64),
            Value::Number(number) => format!("{number}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_reply_becomes_what_the_safe_reader_makes_of_it() {
        let lua = Lua::new();
        let deep = [&b"*1\r\n".repeat(150)[..], b":1\r\n"].concat();
        let replies: &[&[u8]] = &[
            b"",
            b":12\r\n",
            b":-9223372036854775808\r\n",
            b"$3\r\nabc\r\n",
            b"$0\r\n\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*3\r\n:1\r\n$-1\r\n*2\r\n+OK\r\n-ERR no\0t\r\n",
            b"+two words\r\n",
            b"-WRONGTYPE no\r\n",
            b"%2\r\n$1\r\na\r\n,1.5\r\n_\r\n:3\r\n",
            b"%1\r\n,nan\r\n:3\r\n",
            b"~3\r\n:1\r\n:2\r\n_\r\n",
            b">2\r\n:1\r\n:2\r\n",
            b"|1\r\n$1\r\na\r\n:1\r\n:7\r\n",
            b"#t\r\n",
            b"#f\r\n",
            b",inf\r\n",
            b"(123456789012345678901234567890\r\n",
            b"=8\r\ntxt:some\r\n",
            b"=2\r\nab\r\n",
            b"_\r\n",
            b"?what\r\n",
            b"*5\r\n:1\r\n",
            b"$100\r\nshort\r\n",
            b"$12345678901\r\n",
            b"no end",
            b"+a line that is longer than a number\r\n",
            b"+\rnot the end\r\n",
            &deep,
        ];
        for reply in replies {
            // SAFETY: runs protected; the closure owns nothing.
            let raw: Value = unsafe {
                lua.exec_raw((), |state| {
                    let mut rest = *reply;
                    push_reply(state, &mut rest, 0);
                })
                .unwrap()
            };
            let safe = convert::reader::to_lua(&lua, reply).unwrap();
            assert_eq!(
                shown(&raw),
                shown(&safe),
                "{}",
                String::from_utf8_lossy(reply)
            );
        }
    }

    #[test]
    fn a_value_becomes_the_reply_that_the_safe_writer_makes_of_it() {
        let lua = Lua::new();
        let next: Function = lua.globals().get("next").unwrap();
        for code in [
            "nil",
            "1",
            "-3.99",
            "0/0",
            "1e300",
            "true",
            "false",
            "'text'",
            "{}",
            "{1,2,3}",
            "{1,nil,3}",
            "{nil,2}",
            "{1,2,nil}",
            "{[1]=1,[2]=2,[4]=4}",
            "{1,{2,{3,'x',{}}},false}",
            "{1,2,ok='fine'}",
            "{ok='fine'}",
            "{ok='two\\r\\nlines\\0cut'}",
            "{ok='fine',x=1}",
            "{ok=1}",
            "{ok=true}",
            "{x='y'}",
            "{err='ERR no'}",
            "{1,{err='ERR no'}}",
            "{{ok='a'},{ok='b'},{double=1.5}}",
            "{map={a=1}}",
            "(function() local t = {} for i = 1, 60 do t = {t} end return t end)()",
            "(function() local t = {} for i = 1, 1000 do t[i] = i end t[500] = nil return t end)()",
            "(function() local t = {} t[1] = t return t end)()",
        ] {
            for resp3 in [false, true] {
                let value: Value = lua.load(format!("return {code}")).eval().unwrap();
                let mut safe = Vec::new();
                let mut reply = Reply::new(&mut safe, resp3);
                convert::to_reply(&next, value.clone(), resp3, &mut reply).unwrap();
                let mut raw = Vec::new();
                let mut reply = Reply::new(&mut raw, resp3);
                let mut written = false;
                // SAFETY: runs protected; the closure owns nothing.
                unsafe {
                    lua.exec_raw::<()>(&value, |state| {
                        written = write_value(state, &mut reply, resp3, 0);
                        if written {
                            assert_eq!(ffi::lua_gettop(state), 1, "nothing is left behind");
                        }
                        ffi::lua_settop(state, 0);
                    })
                    .unwrap();
                }
                if written {
                    assert_eq!(raw, safe, "{code}");
                } else {
                    assert!(
                        code.contains('=') || code.contains("for"),
                        "{code} is written here"
                    );
                }
            }
        }
    }
}
