//! Arguments of library functions, read and refused as Lua's own library does it.

use mlua::{Lua, MultiValue, Value};

use super::raised::raise_argument;

/// The arguments of a call.
pub(super) struct Arguments<'a> {
    pub lua: &'a Lua,
    values: &'a MultiValue,
}

impl<'a> Arguments<'a> {
    pub fn new(lua: &'a Lua, values: &'a MultiValue) -> Self {
        Arguments { lua, values }
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Argument `place`, from 1 on; nil when there is none.
    pub fn value(&self, place: usize) -> Value {
        self.values.get(place - 1).cloned().unwrap_or(Value::Nil)
    }

    /// The error that argument `place` is not what was asked for.
    pub fn problem(&self, place: usize, problem: &str) -> mlua::Error {
        raise_argument(self.lua, place, problem)
    }

    fn not(&self, place: usize, wanted: &str) -> mlua::Error {
        let got = match self.values.get(place.wrapping_sub(1)) {
            None => "no value",
            Some(value) => type_name(value),
        };
        self.problem(place, &format!("{wanted} expected, got {got}"))
    }

    /// A string; a number is one too.
    pub fn string(&self, place: usize) -> mlua::Result<Vec<u8>> {
        match self.value(place) {
            Value::String(text) => Ok(text.as_bytes().to_vec()),
            value @ (Value::Integer(_) | Value::Number(_)) => {
                let text = self.lua.coerce_string(value)?;
                Ok(text.map_or_else(Vec::new, |text| text.as_bytes().to_vec()))
            }
            _ => Err(self.not(place, "string")),
        }
    }

    /// A number; a string that reads as one is one too.
    pub fn number(&self, place: usize) -> mlua::Result<f64> {
        let number = match self.value(place) {
            Value::Integer(number) => Some(number as f64),
            Value::Number(number) => Some(number),
            value @ Value::String(_) => self.lua.coerce_number(value)?,
            _ => None,
        };
        number.ok_or_else(|| self.not(place, "number"))
    }

    /// A number as an integer, cut off as C does it.
    pub fn integer(&self, place: usize) -> mlua::Result<i64> {
        Ok(self.number(place)? as i64)
    }

    /// The same, or `default` when there is none.
    pub fn integer_or(&self, place: usize, default: i64) -> mlua::Result<i64> {
        match self.value(place) {
            Value::Nil => Ok(default),
            _ => self.integer(place),
        }
    }
}

/// The name of a value's type in Lua.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        Value::LightUserData(_) | Value::Error(_) => "userdata",
        other => other.type_name(),
    }
}
