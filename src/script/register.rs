//! redis.register_function: how the code of a library says what functions it has.

use mlua::{Function as LuaFunction, Lua, MultiValue, Table, Value};

use super::api::{Shared, text_of};
use super::flags::Flags;
use super::libraries::{Function, NAME_RULE, is_name};
use super::raised::raise;

/// A library as it is loaded.
pub(super) struct Loading {
    /// What it has registered so far.
    pub functions: Vec<Function>,
    /// The same as Lua has them, by name.
    pub table: Table,
    /// Looks at the time that are left.
    pub pulses_left: u32,
}

/// What one call says.
#[derive(Default)]
struct Said {
    name: Option<Vec<u8>>,
    description: Option<Vec<u8>>,
    callback: Option<LuaFunction>,
    flags: Flags,
}

/// redis.register_function, in both forms.
pub(super) fn register(lua: &Lua, shared: &Shared, values: &MultiValue) -> mlua::Result<()> {
    if shared.borrow().loading.is_none() {
        return Err(raise(
            b"redis.register_function can only be called on FUNCTION LOAD command",
        ));
    }
    let said = match values.len() {
        1 => named(lua, &values[0])?,
        2 => positional(lua, values)?,
        _ => {
            return Err(raise(
                b"wrong number of arguments to redis.register_function",
            ));
        }
    };
    let (Some(name), Some(callback)) = (said.name, said.callback) else {
        unreachable!("both forms have seen to it");
    };
    if !is_name(&name) {
        return Err(raise(NAME_RULE.as_bytes()));
    }
    let name = String::from_utf8_lossy(&name).into_owned();
    let mut exchange = shared.borrow_mut();
    let Some(loading) = &mut exchange.loading else {
        return Ok(());
    };
    if loading
        .functions
        .iter()
        .any(|other| other.name.eq_ignore_ascii_case(&name))
    {
        return Err(raise(b"Function already exists in the library"));
    }
    loading.table.raw_set(name.as_str(), callback)?;
    loading.functions.push(Function {
        name,
        description: said.description,
        flags: said.flags,
    });
    Ok(())
}

fn positional(lua: &Lua, values: &MultiValue) -> mlua::Result<Said> {
    let name = text_of(lua, &values[0])?;
    if name.is_none() {
        return Err(raise(
            b"first argument to redis.register_function must be a string",
        ));
    }
    let Value::Function(callback) = &values[1] else {
        return Err(raise(
            b"second argument to redis.register_function must be a function",
        ));
    };
    Ok(Said {
        name,
        callback: Some(callback.clone()),
        ..Said::default()
    })
}

fn named(lua: &Lua, value: &Value) -> mlua::Result<Said> {
    let Value::Table(table) = value else {
        return Err(raise(
            b"calling redis.register_function with a single argument is only applicable to Lua table \
              (representing named arguments).",
        ));
    };
    let mut said = Said::default();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let Some(key) = text_of(lua, &key)? else {
            return Err(raise(
                b"named argument key given to redis.register_function is not a string",
            ));
        };
        match &key.to_ascii_lowercase()[..] {
            b"function_name" => {
                said.name = text_of(lua, &value)?;
                if said.name.is_none() {
                    return Err(raise(
                        b"function_name argument given to redis.register_function must be a string",
                    ));
                }
            }
            b"description" => {
                said.description = text_of(lua, &value)?;
                if said.description.is_none() {
                    return Err(raise(
                        b"description argument given to redis.register_function must be a string",
                    ));
                }
            }
            b"callback" => match value {
                Value::Function(callback) => said.callback = Some(callback),
                _ => {
                    return Err(raise(
                        b"callback argument given to redis.register_function must be a function",
                    ));
                }
            },
            b"flags" => match value {
                Value::Table(list) => said.flags = flags(lua, &list)?,
                _ => {
                    return Err(raise(
                        b"flags argument to redis.register_function must be a table representing function flags",
                    ));
                }
            },
            _ => {
                return Err(raise(b"unknown argument given to redis.register_function"));
            }
        }
    }
    if said.name.is_none() {
        return Err(raise(
            b"redis.register_function must get a function name argument",
        ));
    }
    if said.callback.is_none() {
        return Err(raise(
            b"redis.register_function must get a callback argument",
        ));
    }
    Ok(said)
}

fn flags(lua: &Lua, list: &Table) -> mlua::Result<Flags> {
    let mut flags = Flags::default();
    for place in 1.. {
        let value: Value = list.raw_get(place)?;
        if value == Value::Nil {
            break;
        }
        let word = text_of(lua, &value)?.unwrap_or_default();
        match Flags::of_word(&word.to_ascii_lowercase()) {
            Some(flag) => flags = flags.and(flag),
            None => return Err(raise(b"unknown flag given")),
        }
    }
    Ok(flags)
}
