//! The library `cmsgpack`: Lua values as MessagePack, as Salvatore Sanfilippo's library defines it.

use mlua::{Lua, MultiValue, Table, Value};

use super::arguments::Arguments;
use super::raised::raise_text;

/// Tables within tables are packed so deep; below that is nil.
const PACK_DEPTH_MAX: usize = 16;
/// Arrays and maps within one another are unpacked so deep: what Lua's stack has room for.
const UNPACK_DEPTH_MAX: usize = 1000;
/// Values that a call gives back at most.
const RESULTS_MAX: usize = 7000;

/// Builds the library.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", lua.create_function(pack)?)?;
    table.raw_set(
        "unpack",
        lua.create_function(|lua, values: MultiValue| unpack(&Arguments::new(lua, &values), 0, 0))?,
    )?;
    table.raw_set(
        "unpack_one",
        lua.create_function(|lua, values: MultiValue| {
            let args = Arguments::new(lua, &values);
            unpack(&args, 1, args.integer_or(2, 0)?)
        })?,
    )?;
    table.raw_set(
        "unpack_limit",
        lua.create_function(|lua, values: MultiValue| {
            let args = Arguments::new(lua, &values);
            unpack(&args, args.integer(2)?, args.integer_or(3, 0)?)
        })?,
    )?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(table)
}

fn pack(lua: &Lua, values: MultiValue) -> mlua::Result<mlua::LuaString> {
    if values.is_empty() {
        let args = Arguments::new(lua, &values);
        return Err(args.problem(0, "MessagePack pack needs input."));
    }
    let mut out = Vec::new();
    for value in &values {
        pack_value(&mut out, value, 0)?;
    }
    lua.create_string(out)
}

/// The kind byte and the length of something, in the shortest form. `small` holds up to 15 or 31.
fn pack_length(out: &mut Vec<u8>, length: usize, small: (u8, usize), byte: Option<u8>, wide: u8) {
    if length <= small.1 {
        out.push(small.0 | length as u8);
    } else if let (Some(kind), Ok(length)) = (byte, u8::try_from(length)) {
        out.extend_from_slice(&[kind, length]);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(wide);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(wide + 1);
        out.extend_from_slice(&(length as u32).to_be_bytes());
    }
}

fn pack_integer(out: &mut Vec<u8>, number: i64) {
    match number {
        0..=0x7f => out.push(number as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, number as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend_from_slice(&number.to_be_bytes());
        }
        -32..=-1 => out.push(number as u8),
        -128..=-33 => out.extend_from_slice(&[0xd0, number as u8]),
        -0x8000..=-129 => {
            out.push(0xd1);
            out.extend_from_slice(&(number as i16).to_be_bytes());
        }
        -0x8000_0000..=-0x8001 => {
            out.push(0xd2);
            out.extend_from_slice(&(number as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn pack_number(out: &mut Vec<u8>, number: f64) {
    if number.is_finite() && number == number as i64 as f64 {
        return pack_integer(out, number as i64);
    }
    let single = number as f32;
    if f64::from(single) == number {
        out.push(0xca);
        out.extend_from_slice(&single.to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn pack_value(out: &mut Vec<u8>, value: &Value, depth: usize) -> mlua::Result<()> {
    match value {
        Value::String(text) => {
            let text = text.as_bytes();
            pack_length(out, text.len(), (0xa0, 31), Some(0xd9), 0xda);
            out.extend_from_slice(&text);
        }
        Value::Boolean(truth) => out.push(if *truth { 0xc3 } else { 0xc2 }),
        Value::Integer(number) => pack_integer(out, *number),
        Value::Number(number) => pack_number(out, *number),
        Value::Table(table) if depth < PACK_DEPTH_MAX => pack_table(out, table, depth)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

/// A table with the keys 1 to N and no other is an array.
fn array_length(table: &Table) -> mlua::Result<Result<usize, usize>> {
    let (mut count, mut largest, mut is_array) = (0, 0, true);
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair?;
        count += 1;
        match key {
            Value::Integer(place @ 1..=0x7fff_ffff) => largest = largest.max(place as usize),
            _ => is_array = false,
        }
    }
    Ok(if is_array && largest == count {
        Ok(count)
    } else {
        Err(count)
    })
}

fn pack_table(out: &mut Vec<u8>, table: &Table, depth: usize) -> mlua::Result<()> {
    match array_length(table)? {
        Ok(length) => {
            pack_length(out, length, (0x90, 15), None, 0xdc);
            for place in 1..=length {
                pack_value(out, &table.raw_get(place)?, depth + 1)?;
            }
        }
        Err(count) => {
            pack_length(out, count, (0x80, 15), None, 0xde);
            for pair in table.pairs::<Value, Value>() {
                let (key, value) = pair?;
                pack_value(out, &key, depth + 1)?;
                pack_value(out, &value, depth + 1)?;
            }
        }
    }
    Ok(())
}

/// Why bytes are no MessagePack.
enum Fault {
    /// They end too early.
    Missing,
    /// They begin no value.
    Bad,
    /// They are nested too deep.
    Deep,
    /// Lua has failed.
    Lua(mlua::Error),
}

impl From<mlua::Error> for Fault {
    fn from(error: mlua::Error) -> Self {
        Fault::Lua(error)
    }
}

struct Reader<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Fault::Missing)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A big-endian number of so many bytes.
    fn number(&mut self, bytes: usize) -> Result<u64, Fault> {
        let taken = self.take(bytes)?.iter();
        Ok(taken.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        let kind = self.take(1)?[0];
        Ok(match kind {
            0x00..=0x7f => Value::Integer(kind.into()),
            0x80..=0x8f => self.map(usize::from(kind & 15), depth)?,
            0x90..=0x9f => self.array(usize::from(kind & 15), depth)?,
            0xa0..=0xbf => self.string(usize::from(kind & 31))?,
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xca => Value::Number(f32::from_bits(self.number(4)? as u32).into()),
            0xcb => Value::Number(f64::from_bits(self.number(8)?)),
            0xcc => Value::Number(self.number(1)? as f64),
            0xcd => Value::Number(self.number(2)? as f64),
            0xce => Value::Number(self.number(4)? as f64),
            // Lua's integers have a sign: the largest come out negative.
            0xcf | 0xd3 => Value::Number(self.number(8)? as i64 as f64),
            0xd0 => Value::Number((self.number(1)? as i8).into()),
            0xd1 => Value::Number((self.number(2)? as i16).into()),
            0xd2 => Value::Number((self.number(4)? as i32).into()),
            0xd9..=0xdb => {
                let length = self.number(1 << (kind - 0xd9))? as usize;
                self.string(length)?
            }
            0xdc | 0xdd => {
                let length = self.number(2 << (kind - 0xdc))? as usize;
                self.array(length, depth)?
            }
            0xde | 0xdf => {
                let length = self.number(2 << (kind - 0xde))? as usize;
                self.map(length, depth)?
            }
            0xe0..=0xff => Value::Integer((kind as i8).into()),
            _ => return Err(Fault::Bad),
        })
    }

    fn string(&mut self, length: usize) -> Result<Value, Fault> {
        let bytes = self.take(length)?;
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    fn array(&mut self, length: usize, depth: usize) -> Result<Value, Fault> {
        if depth >= UNPACK_DEPTH_MAX {
            return Err(Fault::Deep);
        }
        let table = self.lua.create_table()?;
        for place in 1..=length {
            let value = self.value(depth + 1)?;
            table.raw_set(place, value)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, length: usize, depth: usize) -> Result<Value, Fault> {
        if depth >= UNPACK_DEPTH_MAX {
            return Err(Fault::Deep);
        }
        let table = self.lua.create_table()?;
        for _ in 0..length {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            match key {
                Value::Nil => return Err(raise_text(self.lua, "table index is nil").into()),
                Value::Number(key) if key.is_nan() => {
                    return Err(raise_text(self.lua, "table index is NaN").into());
                }
                key => table.raw_set(key, value)?,
            }
        }
        Ok(Value::Table(table))
    }
}

/// Unpacks up to `limit` values from `offset` on; both zero mean all.
fn unpack(args: &Arguments<'_>, limit: i64, offset: i64) -> mlua::Result<MultiValue> {
    let lua = args.lua;
    let data = args.string(1)?;
    if offset < 0 || limit < 0 {
        let text = format!(
            "Invalid request to unpack with offset of {} and limit of {}.",
            offset as i32,
            data.len() as i32
        );
        return Err(raise_text(lua, text));
    }
    if offset as u64 > data.len() as u64 {
        let text = format!(
            "Start offset {} greater than input length {}.",
            offset as i32,
            data.len() as i32
        );
        return Err(raise_text(lua, text));
    }
    let all = limit == 0 && offset == 0;
    let limit = if all { i64::MAX } else { limit };
    let mut reader = Reader {
        lua,
        rest: &data[offset as usize..],
    };
    let mut results = MultiValue::new();
    const TOO_MANY: &str =
        "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)";
    while !reader.rest.is_empty() && (results.len() as i64) < limit {
        if results.len() >= RESULTS_MAX {
            return Err(raise_text(lua, TOO_MANY));
        }
        let value = reader.value(0).map_err(|fault| match fault {
            Fault::Missing => raise_text(lua, "Missing bytes in input."),
            Fault::Bad => raise_text(lua, "Bad data format in input."),
            Fault::Deep => raise_text(lua, TOO_MANY),
            Fault::Lua(error) => error,
        })?;
        results.push_back(value);
    }
    if !all {
        let next = match reader.rest.len() {
            0 => -1,
            left => (data.len() - left) as i64,
        };
        results.push_front(Value::Integer(next));
    }
    Ok(results)
}
