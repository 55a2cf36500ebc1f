//! The library `cjson`: Lua values as JSON and back, as Mark Pulford's library defines it, its settings included.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use super::arguments::{Arguments, type_name};
use super::json_read::Parser;
use super::raised::raise_text;

/// Tables within one another are followed so deep whatever the settings say: the thread's own stack has an end.
pub(super) const DEPTH_LIMIT: usize = 1000;

/// What scripts can set.
#[derive(Clone)]
pub(super) struct Settings {
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_max_depth: i64,
    pub decode_max_depth: i64,
    encode_invalid: u8,
    pub decode_invalid: bool,
    keep_buffer: bool,
    precision: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_max_depth: 1000,
            decode_max_depth: 1000,
            encode_invalid: 0,
            decode_invalid: true,
            keep_buffer: true,
            precision: 14,
        }
    }
}

type Shared = Rc<RefCell<Settings>>;

/// Builds the library with settings of its own.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let shared = Shared::default();
    type Function = fn(&Arguments<'_>, &mut Settings) -> mlua::Result<MultiValue>;
    let functions: [(&'static str, Function); 9] = [
        ("encode", encode),
        ("decode", decode),
        ("encode_sparse_array", |args, settings| {
            at_most(args, 3)?;
            let convert = on_or_off(args, 1, &mut settings.sparse_convert)?;
            let ratio = whole(args, 2, &mut settings.sparse_ratio, 0, i32::MAX)?;
            let safe = whole(args, 3, &mut settings.sparse_safe, 0, i32::MAX)?;
            Ok([convert, ratio, safe].into_iter().collect())
        }),
        ("encode_max_depth", |args, settings| {
            at_most(args, 1)?;
            one(whole(args, 1, &mut settings.encode_max_depth, 1, i32::MAX)?)
        }),
        ("decode_max_depth", |args, settings| {
            at_most(args, 1)?;
            one(whole(args, 1, &mut settings.decode_max_depth, 1, i32::MAX)?)
        }),
        ("encode_number_precision", |args, settings| {
            at_most(args, 1)?;
            one(whole(args, 1, &mut settings.precision, 1, 14)?)
        }),
        ("encode_keep_buffer", |args, settings| {
            at_most(args, 1)?;
            one(on_or_off(args, 1, &mut settings.keep_buffer)?)
        }),
        ("encode_invalid_numbers", |args, settings| {
            at_most(args, 1)?;
            match args.value(1) {
                Value::Nil => {}
                Value::Boolean(on) => settings.encode_invalid = on.into(),
                _ => settings.encode_invalid = option(args, 1, &["off", "on", "null"])? as u8,
            }
            one(match settings.encode_invalid {
                2 => Value::String(args.lua.create_string("null")?),
                on => Value::Boolean(on == 1),
            })
        }),
        ("decode_invalid_numbers", |args, settings| {
            at_most(args, 1)?;
            one(on_or_off(args, 1, &mut settings.decode_invalid)?)
        }),
    ];
    for (name, function) in functions {
        let shared = shared.clone();
        let function = lua.create_function(move |lua, values: MultiValue| {
            let args = Arguments::new(lua, &values);
            // Encoding may call a metamethod of Lua's no more than decoding does: nothing comes here from within.
            function(&args, &mut shared.borrow_mut())
        })?;
        table.raw_set(name, function)?;
    }
    let new = lua.create_function(|lua, _: MultiValue| library(lua))?;
    table.raw_set("new", new)?;
    table.raw_set("null", Value::NULL)?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    Ok(table)
}

fn one(value: Value) -> mlua::Result<MultiValue> {
    Ok([value].into_iter().collect())
}

fn at_most(args: &Arguments<'_>, count: usize) -> mlua::Result<()> {
    if args.len() > count {
        return Err(args.problem(count + 1, "found too many arguments"));
    }
    Ok(())
}

/// Sets a number when one is given, and gives what it is then.
fn whole(
    args: &Arguments<'_>,
    place: usize,
    setting: &mut i64,
    min: i32,
    max: i32,
) -> mlua::Result<Value> {
    if !matches!(args.value(place), Value::Nil) {
        let value = args.integer(place)? as i32;
        if !(min..=max).contains(&value) {
            let problem = format!("expected integer between {min} and {max}");
            return Err(args.problem(1, &problem));
        }
        *setting = value.into();
    }
    Ok(Value::Integer(*setting))
}

fn on_or_off(args: &Arguments<'_>, place: usize, setting: &mut bool) -> mlua::Result<Value> {
    match args.value(place) {
        Value::Nil => {}
        Value::Boolean(on) => *setting = on,
        _ => *setting = option(args, place, &["off", "on"])? == 1,
    }
    Ok(Value::Boolean(*setting))
}

fn option(args: &Arguments<'_>, place: usize, options: &[&str]) -> mlua::Result<usize> {
    let text = args.string(place)?;
    let found = options.iter().position(|option| option.as_bytes() == text);
    found.ok_or_else(|| {
        let problem = format!("invalid option '{}'", String::from_utf8_lossy(&text));
        args.problem(place, &problem)
    })
}

fn decode(args: &Arguments<'_>, settings: &mut Settings) -> mlua::Result<MultiValue> {
    if args.len() != 1 {
        return Err(args.problem(1, "expected 1 argument"));
    }
    let text = args.string(1)?;
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(raise_text(
            args.lua,
            "JSON parser does not support UTF-16 or UTF-32",
        ));
    }
    one(Parser::new(args.lua, &text, settings).whole()?)
}

// Encoding.

struct Writer<'a> {
    lua: &'a Lua,
    settings: &'a Settings,
    out: Vec<u8>,
}

fn encode(args: &Arguments<'_>, settings: &mut Settings) -> mlua::Result<MultiValue> {
    if args.len() != 1 {
        return Err(args.problem(1, "expected 1 argument"));
    }
    let mut writer = Writer {
        lua: args.lua,
        settings,
        out: Vec::new(),
    };
    writer.value(&args.value(1), 0)?;
    one(Value::String(args.lua.create_string(writer.out)?))
}

impl Writer<'_> {
    fn cannot(&self, value: &Value, reason: &str) -> mlua::Error {
        let text = format!("Cannot serialise {}: {reason}", type_name(value));
        raise_text(self.lua, text)
    }

    fn value(&mut self, value: &Value, depth: usize) -> mlua::Result<()> {
        match value {
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Integer(number) => self.number(value, *number as f64)?,
            Value::Number(number) => self.number(value, *number)?,
            Value::Boolean(truth) => {
                let word: &[u8] = if *truth { b"true" } else { b"false" };
                self.out.extend_from_slice(word);
            }
            Value::Table(table) => self.table(table, depth + 1)?,
            Value::Nil => self.out.extend_from_slice(b"null"),
            value if value.is_null() => self.out.extend_from_slice(b"null"),
            other => return Err(self.cannot(other, "type not supported")),
        }
        Ok(())
    }

    fn table(&mut self, table: &Table, depth: usize) -> mlua::Result<()> {
        if depth as i64 > self.settings.encode_max_depth || depth > DEPTH_LIMIT {
            let text = format!("Cannot serialise, excessive nesting ({depth})");
            return Err(raise_text(self.lua, text));
        }
        match self.array_length(table)? {
            Some(length) if length > 0 => {
                self.out.push(b'[');
                for place in 1..=length {
                    if place > 1 {
                        self.out.push(b',');
                    }
                    self.value(&table.raw_get(place)?, depth)?;
                }
                self.out.push(b']');
            }
            _ => self.object(table, depth)?,
        }
        Ok(())
    }

    fn object(&mut self, table: &Table, depth: usize) -> mlua::Result<()> {
        self.out.push(b'{');
        let mut first = true;
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            match &key {
                Value::String(text) => self.string(&text.as_bytes()),
                Value::Integer(_) | Value::Number(_) => {
                    self.out.push(b'"');
                    self.value(&key, depth)?;
                    self.out.push(b'"');
                }
                other => {
                    return Err(self.cannot(other, "table key must be a number or string"));
                }
            }
            self.out.push(b':');
            self.value(&value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// How long an array a table is, `None` for an object.
    fn array_length(&self, table: &Table) -> mlua::Result<Option<i64>> {
        let (mut largest, mut count) = (0, 0);
        for pair in table.pairs::<Value, Value>() {
            let (Value::Integer(place @ 1..), _) = pair? else {
                return Ok(None);
            };
            largest = largest.max(place);
            count += 1;
        }
        let Settings {
            sparse_ratio,
            sparse_safe,
            sparse_convert,
            ..
        } = *self.settings;
        if sparse_ratio > 0 && largest > count * sparse_ratio && largest > sparse_safe {
            if !sparse_convert {
                let text = "Cannot serialise table: excessively sparse array";
                return Err(raise_text(self.lua, text));
            }
            return Ok(None);
        }
        Ok(Some(largest))
    }

    fn number(&mut self, value: &Value, number: f64) -> mlua::Result<()> {
        if !number.is_finite() {
            match self.settings.encode_invalid {
                0 => return Err(self.cannot(value, "must not be NaN or Inf")),
                1 if number.is_nan() => self.out.extend_from_slice(b"nan"),
                1 if number > 0.0 => self.out.extend_from_slice(b"inf"),
                1 => self.out.extend_from_slice(b"-inf"),
                _ => self.out.extend_from_slice(b"null"),
            }
            return Ok(());
        }
        let text = general(number, self.settings.precision as usize);
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn string(&mut self, text: &[u8]) {
        self.out.reserve(text.len() + 2);
        self.out.push(b'"');
        for &byte in text {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'/' => self.out.extend_from_slice(b"\\/"),
                0x08 => self.out.extend_from_slice(b"\\b"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                0x0c => self.out.extend_from_slice(b"\\f"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                0..=0x1f | 0x7f => {
                    let digits = b"0123456789abcdef";
                    let (high, low) = (
                        digits[usize::from(byte >> 4)],
                        digits[usize::from(byte & 15)],
                    );
                    self.out
                        .extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
                }
                other => self.out.push(other),
            }
        }
        self.out.push(b'"');
    }
}

/// A finite number as C's `%.{precision}g`.
pub(super) fn general(number: f64, precision: usize) -> String {
    if number == 0.0 {
        return if number.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let text = format!("{:.*e}", precision - 1, number);
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= precision as i32 {
        let digits = without_zeros(digits);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    without_zeros(&format!("{number:.decimals$}")).to_owned()
}

/// Without the zeros at the end of a fraction.
fn without_zeros(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::general;

    #[test]
    fn numbers_look_as_printf_writes_them() {
        for (number, text) in [
            (0.1, "0.1"),
            (100.0, "100"),
            (1e15, "1e+15"),
            (123456789012345.0, "1.2345678901234e+14"),
            (-1.5e-7, "-1.5e-07"),
            (0.0001, "0.0001"),
            (1.0 / 3.0, "0.33333333333333"),
            (99999999999999.0, "99999999999999"),
            (1e300, "1e+300"),
        ] {
            assert_eq!(general(number, 14), text);
        }
        assert_eq!(general(3.14159, 3), "3.14");
    }
}
