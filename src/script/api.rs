//! What scripts find in the table `redis`, and the functions that the prelude stands on.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use crate::base::number;
use crate::base::sha1::sha1_hex;
use crate::resp::request::OwnedArgs;

use super::environments::environment_function;
use super::host::Pulse;
use super::interpreter::Kind;
use super::lent::Lent;
use super::raised::{error_table, raise, raise_argument, raise_text, untangle, with_code};
use super::register::{Loading, register};
use super::stack;

/// The version that scripts are told, as `redis_version` of INFO has it.
pub(super) const REDIS_VERSION: &str = "7.2.4";
const REDIS_VERSION_NUM: u32 = 0x0007_0204;

/// What passes between a function that a script calls and the server, while a script runs.
#[derive(Default)]
pub(super) struct Exchange {
    /// The running script's host.
    pub host: Rc<Lent>,
    /// The command to run.
    pub args: OwnedArgs,
    /// Its reply.
    pub reply: Vec<u8>,
    /// A text for the server or from it.
    pub text: Vec<u8>,
    /// A number for the server.
    pub number: u8,
    /// The running script has been ended from outside.
    pub doomed: bool,
    /// redis.setresp(3).
    pub resp3: bool,
    /// The library that is being loaded.
    pub loading: Option<Loading>,
}

/// Shared by the functions of one interpreter.
pub(super) type Shared = Rc<RefCell<Exchange>>;

/// What the host is asked, beside commands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Pulse,
    SetRepl,
    MayRun,
    Log,
}

/// What it answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Refused,
    No,
}

/// Why a command has no reply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server has refused it, and has counted that.
    Counted,
    /// It is no command.
    Plain,
    /// No script runs.
    Homeless,
}

const NOTHING_RUNS: &[u8] = b"This Redis API function is only available while a script runs";

/// Asks the host of the running script.
pub(super) fn ask(shared: &Shared, question: Question) -> mlua::Result<Answer> {
    let exchange = &mut *shared.borrow_mut();
    let answer = exchange.host.with(|host| match question {
        Question::Pulse => match host.pulse() {
            Pulse::Continue => Answer::Done,
            Pulse::Kill => Answer::Refused,
        },
        Question::SetRepl => {
            host.set_repl(exchange.number);
            Answer::Done
        }
        Question::MayRun => match host.may_run(&exchange.args) {
            Some(true) => Answer::Done,
            Some(false) => Answer::No,
            None => Answer::Refused,
        },
        Question::Log => {
            host.log(exchange.number, &exchange.text);
            Answer::Done
        }
    });
    answer.ok_or_else(|| raise(NOTHING_RUNS))
}

/// Has the host run the command whose arguments are there; `taken` says that all of them could be. The reply is in the
/// exchange, or the text of what went wrong.
pub(super) fn run_command(exchange: &mut Exchange, taken: bool) -> Result<(), Failure> {
    let wrong = match (taken, exchange.args.count()) {
        (false, _) => Some(NO_ARGUMENT),
        (true, 0) => Some(NO_ARGUMENTS),
        (true, _) => None,
    };
    if let Some(text) = wrong {
        exchange.text = with_code(text);
        return Err(Failure::Plain);
    }
    exchange.reply.clear();
    let (args, resp3) = (&exchange.args, exchange.resp3);
    let reply = &mut exchange.reply;
    let (text, failure) = match exchange.host.with(|host| host.call(args, resp3, reply)) {
        Some(Ok(())) => return Ok(()),
        Some(Err(text)) => (with_code(&text), Failure::Counted),
        None => (with_code(NOTHING_RUNS), Failure::Homeless),
    };
    exchange.text = text;
    Err(failure)
}

const NO_ARGUMENTS: &[u8] = b"Please specify at least one argument for this redis lib call";
const NO_ARGUMENT: &[u8] = b"Lua redis lib command arguments must be strings or integers";

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
    redis.set("call", stack::calling_function(lua, shared, true)?)?;
    redis.set("pcall", stack::calling_function(lua, shared, false)?)?;
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
    host.set("name_at", lua.create_function(name_at)?)?;
    host.set("getfenv", environment_function(lua, false)?)?;
    host.set("setfenv", environment_function(lua, true)?)?;
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

/// The name that the caller of a function uses for it: of the function so many levels above this one.
fn name_at(lua: &Lua, level: usize) -> mlua::Result<String> {
    let name = lua.inspect_stack(level, |debug| Some(debug.names().name?.into_owned()));
    Ok(name.flatten().unwrap_or_else(|| "?".to_owned()))
}

/// A number as an argument of a command.
pub(super) fn push_number(args: &mut OwnedArgs, value: f64) {
    args.push(number::format_f64(value).as_bytes());
}

/// Takes a command's arguments; gives the text of the error when they are none.
fn take_args(shared: &Shared, values: &MultiValue) -> Result<(), &'static [u8]> {
    if values.is_empty() {
        return Err(NO_ARGUMENTS);
    }
    let mut exchange = shared.borrow_mut();
    exchange.args.clear();
    for value in values {
        match value {
            Value::String(text) => exchange.args.push(&text.as_bytes()),
            Value::Integer(value) => push_number(&mut exchange.args, *value as f64),
            Value::Number(value) => push_number(&mut exchange.args, *value),
            _ => return Err(NO_ARGUMENT),
        }
    }
    Ok(())
}

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
    if shared.borrow().host.is_here() {
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
        Answer::Done => Ok(true),
        Answer::No => Ok(false),
        Answer::Refused => Err(raise(b"Invalid command passed to redis.acl_check_cmd()")),
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
