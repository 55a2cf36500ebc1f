//! What scripts find in the table `redis`, and the functions that the prelude stands on.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mlua::{Function, Lua, MultiValue, Table, Value};

use crate::base::number;
use crate::base::sha1::sha1_hex;
use crate::resp::request::OwnedArgs;

use super::convert;
use super::interpreter::Kind;
use super::raised::{
    error_table, raise, raise_argument, raise_counted, raise_text, untangle, with_code,
};
use super::register::{Loading, register};

/// The version that scripts are told, as `redis_version` of INFO has it.
pub(super) const REDIS_VERSION: &str = "7.2.4";
const REDIS_VERSION_NUM: u32 = 0x0007_0204;

/// What passes between a function that a script calls and the server, while a script runs.
#[derive(Default)]
pub(super) struct Exchange {
    /// Hands a question to the running script's `Host`; none while nothing runs.
    pub host: Option<Function>,
    /// The command to run.
    pub args: OwnedArgs,
    /// Its reply.
    pub reply: Vec<u8>,
    /// A text for the server or from it.
    pub text: Vec<u8>,
    /// A number for the server.
    pub number: u8,
    /// redis.setresp(3).
    pub resp3: bool,
    /// The library that is being loaded.
    pub loading: Option<Loading>,
}

/// Shared by the functions of one interpreter.
pub(super) type Shared = Rc<RefCell<Exchange>>;

/// What the host is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Call,
    Pulse,
    SetRepl,
    MayRun,
    Log,
}

/// What it answers.
pub(super) const DONE: u8 = 0;
pub(super) const REFUSED: u8 = 1;
pub(super) const NO: u8 = 2;

impl Question {
    pub const ALL: [Question; 5] = [
        Question::Call,
        Question::Pulse,
        Question::SetRepl,
        Question::MayRun,
        Question::Log,
    ];
}

/// Asks the host of the running script.
pub(super) fn ask(shared: &Shared, question: Question) -> mlua::Result<u8> {
    let host = shared.borrow().host.clone();
    match host {
        Some(host) => host.call(question as u8),
        None => Err(raise(
            b"This Redis API function is only available while a script runs",
        )),
    }
}

/// Builds the table `redis` as a library's code sees it while it is loaded.
fn registering_table(lua: &Lua, shared: &Shared) -> mlua::Result<Table> {
    let redis = lua.create_table()?;
    let of = shared.clone();
    redis.set(
        "register_function",
        lua.create_function(move |lua, args: MultiValue| register(lua, &of, &args))?,
    )?;
    set_log(lua, &redis, shared)?;
    set_version(&redis)?;
    Ok(redis)
}

/// redis.log and its levels.
fn set_log(lua: &Lua, redis: &Table, shared: &Shared) -> mlua::Result<()> {
    let of = shared.clone();
    redis.set(
        "log",
        lua.create_function(move |lua, args: MultiValue| log(lua, &of, &args))?,
    )?;
    for (level, name) in ["DEBUG", "VERBOSE", "NOTICE", "WARNING"].iter().enumerate() {
        redis.set(format!("LOG_{name}"), level)?;
    }
    Ok(())
}

fn set_version(redis: &Table) -> mlua::Result<()> {
    redis.set("REDIS_VERSION", REDIS_VERSION)?;
    redis.set("REDIS_VERSION_NUM", REDIS_VERSION_NUM)
}

/// Builds the table `redis`.
pub(super) fn redis_table(lua: &Lua, shared: &Shared, kind: Kind) -> mlua::Result<Table> {
    let redis = lua.create_table()?;
    for (name, raises) in [("call", true), ("pcall", false)] {
        let shared = shared.clone();
        redis.set(
            name,
            lua.create_function(move |lua, args: MultiValue| call(lua, &shared, &args, raises))?,
        )?;
    }
    redis.set("sha1hex", lua.create_function(sha1hex)?)?;
    redis.set("error_reply", lua.create_function(error_reply)?)?;
    redis.set("status_reply", lua.create_function(status_reply)?)?;
    set_log(lua, &redis, shared)?;
    set_version(&redis)?;
    let of = shared.clone();
    redis.set(
        "setresp",
        lua.create_function(move |lua, args: MultiValue| set_resp(lua, &of, &args))?,
    )?;
    let of = shared.clone();
    redis.set(
        "set_repl",
        lua.create_function(move |lua, args: MultiValue| set_repl(lua, &of, &args))?,
    )?;
    let of = shared.clone();
    redis.set(
        "acl_check_cmd",
        lua.create_function(move |_, args: MultiValue| acl_check_cmd(&of, &args))?,
    )?;
    if kind == Kind::Eval {
        // There is no debugger to talk to: as in Redis outside a debugging session.
        redis.set("breakpoint", lua.create_function(|_, ()| Ok(false))?)?;
        redis.set("debug", lua.create_function(|_, _: MultiValue| Ok(()))?)?;
        redis.set(
            "replicate_commands",
            lua.create_function(|_, _: MultiValue| Ok(true))?,
        )?;
    }
    for (name, value) in [
        ("REPL_NONE", 0),
        ("REPL_AOF", 1),
        ("REPL_SLAVE", 2),
        ("REPL_REPLICA", 2),
        ("REPL_ALL", 3),
    ] {
        redis.set(name, value)?;
    }
    Ok(redis)
}

/// Builds what the prelude stands on.
pub(super) fn host_table(lua: &Lua, shared: &Shared, kind: Kind) -> mlua::Result<Table> {
    let host = lua.create_table()?;
    if kind == Kind::Functions {
        host.set("registering", registering_table(lua, shared)?)?;
    }
    host.set("untangle", lua.create_function(untangle)?)?;
    host.set("raised_at", lua.create_function(raised_at)?)?;
    // What drand48 begins with; every interpreter draws the same numbers, as every Redis does.
    let state = Rc::new(Cell::new(0x1234_ABCD_330E_u64));
    let of = state.clone();
    host.set(
        "random",
        lua.create_function(move |lua, args: MultiValue| random(lua, &of, &args))?,
    )?;
    host.set(
        "randomseed",
        lua.create_function(move |lua, args: MultiValue| {
            let seed = integer(lua, &args, 1)?;
            state.set(u64::from(seed as u32) << 16 | 0x330E);
            Ok(())
        })?,
    )?;
    Ok(host)
}

/// Where an error was raised, asked by the handler that is called there: the script's line, not the function of ours
/// that a line called.
fn raised_at(lua: &Lua, (): ()) -> mlua::Result<MultiValue> {
    let at = |level| {
        lua.inspect_stack(level, |debug| {
            let source = debug.source();
            (
                source.what == "C",
                source.source.map(|source| source.into_owned()),
                debug.current_line(),
            )
        })
    };
    // Level 0 is this function, 1 the handler. A function in C is named by the line that called it.
    let mut level = 2;
    let mut found = at(level);
    if matches!(found, Some((true, ..))) {
        level += 1;
        found = at(level);
    }
    while matches!(&found, Some((_, Some(source), _)) if source == "=prelude") {
        level += 1;
        found = at(level);
    }
    let mut values = MultiValue::new();
    if let Some((_, source, line)) = found {
        let source = source.unwrap_or_default();
        values.push_back(Value::String(lua.create_string(source)?));
        let line = line.map_or(-1, |line| line as i64);
        values.push_back(Value::Integer(line));
    }
    Ok(values)
}

/// A number as an argument of a command.
fn push_number(args: &mut OwnedArgs, value: f64) {
    args.push(number::format_f64(value).as_bytes());
}

/// Takes a command's arguments; gives the text of the error when they are none.
fn take_args(shared: &Shared, values: &MultiValue) -> Result<(), &'static [u8]> {
    if values.is_empty() {
        return Err(b"Please specify at least one argument for this redis lib call");
    }
    let mut exchange = shared.borrow_mut();
    exchange.args.clear();
    for value in values {
        match value {
            Value::String(text) => exchange.args.push(&text.as_bytes()),
            Value::Integer(value) => push_number(&mut exchange.args, *value as f64),
            Value::Number(value) => push_number(&mut exchange.args, *value),
            _ => return Err(b"Lua redis lib command arguments must be strings or integers"),
        }
    }
    Ok(())
}

/// redis.call and redis.pcall.
fn call(lua: &Lua, shared: &Shared, values: &MultiValue, raises: bool) -> mlua::Result<Value> {
    if let Err(text) = take_args(shared, values) {
        return if raises {
            Err(raise(text))
        } else {
            Ok(Value::Table(error_table(lua, &with_code(text), false)?))
        };
    }
    shared.borrow_mut().reply.clear();
    if ask(shared, Question::Call)? == REFUSED {
        let text = with_code(&shared.borrow().text);
        return if raises {
            Err(raise_counted(text))
        } else {
            Ok(Value::Table(error_table(lua, &text, true)?))
        };
    }
    let mut reply = std::mem::take(&mut shared.borrow_mut().reply);
    let value = match reply.first() {
        Some(b'-') if raises => {
            let end = memchr::memchr(b'\r', &reply).unwrap_or(reply.len());
            return Err(raise_counted(reply[1..end].to_vec()));
        }
        _ => convert::to_lua(lua, &reply)?,
    };
    reply.shrink_to(REPLY_KEPT_MAX);
    shared.borrow_mut().reply = reply;
    Ok(value)
}

/// Memory of a reply that is kept for the next one.
const REPLY_KEPT_MAX: usize = 64 * 1024;

/// The text of a value as `lua_tolstring` gives it: numbers have one.
pub(super) fn text_of(lua: &Lua, value: &Value) -> mlua::Result<Option<Vec<u8>>> {
    let text = lua.coerce_string(value.clone())?;
    Ok(text.map(|text| text.as_bytes().to_vec()))
}

fn sha1hex(lua: &Lua, values: MultiValue) -> mlua::Result<mlua::LuaString> {
    if values.len() != 1 {
        return Err(raise(b"wrong number of arguments"));
    }
    let text = text_of(lua, &values[0])?.unwrap_or_default();
    lua.create_string(sha1_hex(&text))
}

/// The only argument of redis.error_reply and redis.status_reply.
fn only_text(values: &MultiValue) -> Option<Vec<u8>> {
    match (values.len(), values.front()) {
        (1, Some(Value::String(text))) => Some(text.as_bytes().to_vec()),
        _ => None,
    }
}

fn error_reply(lua: &Lua, values: MultiValue) -> mlua::Result<Table> {
    let text = match only_text(&values) {
        None => with_code(b"wrong number or type of arguments"),
        Some(text) if text.starts_with(b"-") => with_code(&text),
        Some(text) => with_code(&[b"-", &text[..]].concat()),
    };
    error_table(lua, &text, false)
}

fn status_reply(lua: &Lua, values: MultiValue) -> mlua::Result<Table> {
    match only_text(&values) {
        None => error_table(lua, &with_code(b"wrong number or type of arguments"), false),
        Some(text) => {
            let table = lua.create_table_with_capacity(0, 1)?;
            table.raw_set("ok", lua.create_string(text)?)?;
            Ok(table)
        }
    }
}

/// A value as `lua_tonumber` gives it: what is no number is zero.
fn loose_number(lua: &Lua, value: &Value) -> mlua::Result<f64> {
    Ok(lua.coerce_number(value.clone())?.unwrap_or(0.0))
}

fn log(lua: &Lua, shared: &Shared, values: &MultiValue) -> mlua::Result<()> {
    if values.len() < 2 {
        return Err(raise(b"redis.log() requires two arguments or more."));
    }
    let Some(level) = lua.coerce_number(values[0].clone())? else {
        return Err(raise(b"First argument must be a number (log level)."));
    };
    let level = level as i64;
    if !(0..=3).contains(&level) {
        return Err(raise(b"Invalid debug level."));
    }
    let mut line = Vec::new();
    for (place, value) in values.iter().skip(1).enumerate() {
        if let Some(text) = text_of(lua, value)? {
            if place > 0 {
                line.push(b' ');
            }
            line.extend_from_slice(&text);
        }
    }
    {
        let mut exchange = shared.borrow_mut();
        exchange.text = line;
        exchange.number = level as u8;
    }
    if shared.borrow().host.is_some() {
        ask(shared, Question::Log)?;
    }
    Ok(())
}

fn set_resp(lua: &Lua, shared: &Shared, values: &MultiValue) -> mlua::Result<()> {
    if values.len() != 1 {
        return Err(raise(b"redis.setresp() requires one argument."));
    }
    let version = loose_number(lua, &values[0])? as i64;
    if version != 2 && version != 3 {
        return Err(raise(b"RESP version must be 2 or 3."));
    }
    shared.borrow_mut().resp3 = version == 3;
    Ok(())
}

fn set_repl(lua: &Lua, shared: &Shared, values: &MultiValue) -> mlua::Result<()> {
    if values.len() != 1 {
        return Err(raise(b"redis.set_repl() requires one argument."));
    }
    let flags = loose_number(lua, &values[0])? as i64;
    if !(0..=3).contains(&flags) {
        return Err(raise(
            b"Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
        ));
    }
    shared.borrow_mut().number = flags as u8;
    ask(shared, Question::SetRepl)?;
    Ok(())
}

fn acl_check_cmd(shared: &Shared, values: &MultiValue) -> mlua::Result<bool> {
    take_args(shared, values).map_err(raise)?;
    match ask(shared, Question::MayRun)? {
        DONE => Ok(true),
        NO => Ok(false),
        _ => Err(raise(b"Invalid command passed to redis.acl_check_cmd()")),
    }
}

/// Argument `place` as a C int.
fn integer(lua: &Lua, values: &MultiValue, place: usize) -> mlua::Result<i32> {
    let value = values.get(place - 1).cloned().unwrap_or(Value::Nil);
    let given = values.len() >= place;
    match lua.coerce_number(value.clone())? {
        Some(number) => Ok(number as i64 as i32),
        None => {
            let got = if given { value.type_name() } else { "no value" };
            let problem = format!("number expected, got {got}");
            Err(raise_argument(lua, place, &problem))
        }
    }
}

/// math.random as Redis has it: the same numbers on every machine.
fn random(lua: &Lua, state: &Cell<u64>, values: &MultiValue) -> mlua::Result<f64> {
    const MASK: u64 = (1 << 48) - 1;
    let next = state.get().wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & MASK;
    state.set(next);
    let largest = i32::MAX as u64;
    let drawn = ((next >> 17) % largest) as f64 / largest as f64;
    match values.len() {
        0 => Ok(drawn),
        1 => {
            let most = integer(lua, values, 1)?;
            if most < 1 {
                return Err(raise_argument(lua, 1, "interval is empty"));
            }
            Ok((drawn * f64::from(most)).floor() + 1.0)
        }
        2 => {
            let least = integer(lua, values, 1)?;
            let most = integer(lua, values, 2)?;
            if least > most {
                return Err(raise_argument(lua, 2, "interval is empty"));
            }
            let span = f64::from(most.wrapping_sub(least).wrapping_add(1));
            Ok((drawn * span).floor() + f64::from(least))
        }
        _ => Err(raise_text(lua, "wrong number of arguments")),
    }
}
