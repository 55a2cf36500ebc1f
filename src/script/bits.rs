//! The library `bit`: operations on 32-bit integers, as LuaJIT's BitOp defines them.

use mlua::{Lua, MultiValue, Table, Value};

use super::arguments::Arguments;

/// Added to a double it leaves the integer part modulo 2^32 in the low bits: 2^52 + 2^51.
const SHIFT: f64 = 6_755_399_441_055_744.0;

/// Argument `place` modulo 2^32.
fn bits(args: &Arguments<'_>, place: usize) -> mlua::Result<u32> {
    Ok((args.number(place)? + SHIFT).to_bits() as u32)
}

/// All functions give signed numbers.
fn signed(bits: u32) -> Value {
    Value::Integer((bits as i32).into())
}

/// Builds the library.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let one: [(&'static str, fn(u32) -> u32); 3] = [
        ("tobit", |bits| bits),
        ("bnot", |bits| !bits),
        ("bswap", u32::swap_bytes),
    ];
    for (name, of) in one {
        let function = lua.create_function(move |lua, values: MultiValue| {
            Ok(signed(of(bits(&Arguments::new(lua, &values), 1)?)))
        })?;
        table.raw_set(name, function)?;
    }
    let all: [(&'static str, fn(u32, u32) -> u32); 3] = [
        ("band", |left, right| left & right),
        ("bor", |left, right| left | right),
        ("bxor", |left, right| left ^ right),
    ];
    for (name, of) in all {
        let function = lua.create_function(move |lua, values: MultiValue| {
            let args = Arguments::new(lua, &values);
            let mut result = bits(&args, 1)?;
            for place in 2..=args.len() {
                result = of(result, bits(&args, place)?);
            }
            Ok(signed(result))
        })?;
        table.raw_set(name, function)?;
    }
    let shifts: [(&'static str, fn(u32, u32) -> u32); 5] = [
        ("lshift", |bits, by| bits << by),
        ("rshift", |bits, by| bits >> by),
        ("arshift", |bits, by| ((bits as i32) >> by) as u32),
        ("rol", u32::rotate_left),
        ("ror", u32::rotate_right),
    ];
    for (name, of) in shifts {
        let function = lua.create_function(move |lua, values: MultiValue| {
            let args = Arguments::new(lua, &values);
            Ok(signed(of(bits(&args, 1)?, bits(&args, 2)? & 31)))
        })?;
        table.raw_set(name, function)?;
    }
    table.raw_set("tohex", lua.create_function(to_hex)?)?;
    Ok(table)
}

fn to_hex(lua: &Lua, values: MultiValue) -> mlua::Result<mlua::LuaString> {
    let args = Arguments::new(lua, &values);
    let value = bits(&args, 1)?;
    let digits = if args.len() < 2 {
        8
    } else {
        bits(&args, 2)? as i32
    };
    let count = digits.unsigned_abs().min(8) as usize;
    let text = if digits < 0 {
        format!("{value:08X}")
    } else {
        format!("{value:08x}")
    };
    lua.create_string(&text[8 - count..])
}
