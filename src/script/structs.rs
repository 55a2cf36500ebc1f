//! The library `struct`: values packed into binary strings by a format, as Roberto Ierusalimschy's library defines it.

use mlua::{Lua, MultiValue, Table, Value};

use super::arguments::Arguments;
use super::raised::raise_text;

/// Bytes of an integer at most.
const INTEGER_BYTES_MAX: usize = 32;
/// Alignment that `!` alone asks for.
const NATIVE_ALIGN: usize = 8;
/// Values that a call gives back at most: what Lua's stack has room for.
const RESULTS_MAX: usize = 7000;

/// Builds the library.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", lua.create_function(pack)?)?;
    table.raw_set("unpack", lua.create_function(unpack)?)?;
    table.raw_set("size", lua.create_function(size)?)?;
    Ok(table)
}

/// A format as it is read.
struct Format<'a> {
    args: &'a Arguments<'a>,
    rest: &'a [u8],
    big_endian: bool,
    align: usize,
}

/// One item of a format.
struct Item {
    option: u8,
    size: usize,
    /// Bytes to skip before it.
    padding: usize,
}

impl<'a> Format<'a> {
    fn new(args: &'a Arguments<'a>, text: &'a [u8]) -> Self {
        // As a string of C's it ends at a zero byte.
        let end = memchr::memchr(0, text).unwrap_or(text.len());
        Format {
            args,
            rest: &text[..end],
            big_endian: false,
            align: 1,
        }
    }

    fn number(&mut self, default: usize) -> mlua::Result<usize> {
        if !self.rest.first().is_some_and(u8::is_ascii_digit) {
            return Ok(default);
        }
        let mut value = 0_i32;
        while let Some(digit) = self.rest.first().filter(|byte| byte.is_ascii_digit()) {
            value = value
                .checked_mul(10)
                .and_then(|value| value.checked_add(i32::from(digit - b'0')))
                .ok_or_else(|| raise_text(self.args.lua, "integral size overflow"))?;
            self.rest = &self.rest[1..];
        }
        Ok(value as usize)
    }

    /// The next item, with `at` bytes before it.
    fn next(&mut self, at: usize) -> mlua::Result<Option<Item>> {
        let Some((&option, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        self.rest = rest;
        let size = match option {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1)?,
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > INTEGER_BYTES_MAX {
                    let text =
                        format!("integral size {size} is larger than limit of {INTEGER_BYTES_MAX}");
                    return Err(raise_text(self.args.lua, text));
                }
                size
            }
            _ => 0,
        };
        let padding = if size == 0 || option == b'c' {
            0
        } else {
            let unit = size.min(self.align);
            unit.wrapping_sub(at & (unit - 1)) & (unit - 1)
        };
        Ok(Some(Item {
            option,
            size,
            padding,
        }))
    }

    /// An option that is no value.
    fn control(&mut self, option: u8) -> mlua::Result<()> {
        match option {
            b' ' => {}
            b'>' => self.big_endian = true,
            b'<' => self.big_endian = false,
            b'!' => {
                let align = self.number(NATIVE_ALIGN)?;
                if !align.is_power_of_two() {
                    let text = format!("alignment {align} is not a power of 2");
                    return Err(raise_text(self.args.lua, text));
                }
                self.align = align;
            }
            other => {
                let problem = format!("invalid format option '{}'", char::from(other));
                return Err(self.args.problem(1, &problem));
            }
        }
        Ok(())
    }
}

fn is_integer(option: u8) -> bool {
    matches!(
        option,
        b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I'
    )
}

fn pack(lua: &Lua, values: MultiValue) -> mlua::Result<mlua::LuaString> {
    let args = Arguments::new(lua, &values);
    let text = args.string(1)?;
    let mut format = Format::new(&args, &text);
    let mut out = Vec::new();
    let mut next = 2;
    while let Some(Item {
        option,
        size,
        padding,
    }) = format.next(out.len())?
    {
        out.resize(out.len() + padding, 0);
        let start = out.len();
        match option {
            _ if is_integer(option) => {
                let number = args.number(next)?;
                next += 1;
                let bits = if number < 0.0 {
                    number as i64 as u64
                } else {
                    number as u64
                };
                let mut bytes = [0; INTEGER_BYTES_MAX];
                bytes[..8].copy_from_slice(&bits.to_le_bytes());
                out.extend_from_slice(&bytes[..size]);
                if format.big_endian {
                    out[start..].reverse();
                }
            }
            b'x' => out.push(0),
            b'f' => {
                let bytes = (args.number(next)? as f32).to_le_bytes();
                next += 1;
                out.extend_from_slice(&bytes);
                if format.big_endian {
                    out[start..].reverse();
                }
            }
            b'd' => {
                let bytes = args.number(next)?.to_le_bytes();
                next += 1;
                out.extend_from_slice(&bytes);
                if format.big_endian {
                    out[start..].reverse();
                }
            }
            b'c' | b's' => {
                let text = args.string(next)?;
                next += 1;
                let size = if size == 0 { text.len() } else { size };
                if text.len() < size {
                    return Err(args.problem(next, "string too short"));
                }
                out.extend_from_slice(&text[..size]);
                if option == b's' {
                    out.push(0);
                }
            }
            other => format.control(other)?,
        }
    }
    lua.create_string(out)
}

/// Bytes as an integer. More than eight keep the low ones, as shifts of a C long do.
fn integer_of(bytes: &[u8], big_endian: bool, signed: bool) -> f64 {
    let mut value = 0_u64;
    let mut take = |byte: &u8| value = value << 8 | u64::from(*byte);
    if big_endian {
        bytes.iter().for_each(&mut take);
    } else {
        bytes.iter().rev().for_each(&mut take);
    }
    if !signed {
        return value as f64;
    }
    let mask = u64::MAX.wrapping_shl((bytes.len() as u32).wrapping_mul(8).wrapping_sub(1));
    if value & mask != 0 {
        value |= mask;
    }
    value as i64 as f64
}

fn unpack(lua: &Lua, values: MultiValue) -> mlua::Result<MultiValue> {
    let args = Arguments::new(lua, &values);
    let text = args.string(1)?;
    let data = args.string(2)?;
    let mut at = args.integer_or(3, 1)? as usize;
    if at == 0 {
        return Err(args.problem(3, "offset must be 1 or greater"));
    }
    at -= 1;
    let mut format = Format::new(&args, &text);
    let mut results = MultiValue::new();
    let too_short = || args.problem(2, "data string too short");
    let fits = |at: usize, size: usize| size <= data.len() && at <= data.len() - size;
    while let Some(Item {
        option,
        mut size,
        padding,
    }) = format.next(at)?
    {
        at = at.wrapping_add(padding);
        if !fits(at, size) {
            return Err(too_short());
        }
        if results.len() >= RESULTS_MAX {
            return Err(raise_text(lua, "stack overflow (too many results)"));
        }
        match option {
            _ if is_integer(option) => {
                let signed = option.is_ascii_lowercase();
                let value = integer_of(&data[at..at + size], format.big_endian, signed);
                results.push_back(Value::Number(value));
            }
            b'x' => {}
            b'f' => {
                let mut bytes: [u8; 4] = data[at..at + 4].try_into().unwrap_or_default();
                if format.big_endian {
                    bytes.reverse();
                }
                results.push_back(Value::Number(f32::from_le_bytes(bytes).into()));
            }
            b'd' => {
                let mut bytes: [u8; 8] = data[at..at + 8].try_into().unwrap_or_default();
                if format.big_endian {
                    bytes.reverse();
                }
                results.push_back(Value::Number(f64::from_le_bytes(bytes)));
            }
            b'c' => {
                if size == 0 {
                    let before = results.pop_back().unwrap_or(Value::Nil);
                    let Some(number) = lua.coerce_number(before)? else {
                        return Err(raise_text(lua, "format 'c0' needs a previous size"));
                    };
                    size = if number < 0.0 {
                        usize::MAX
                    } else {
                        number as usize
                    };
                    if !fits(at, size) {
                        return Err(too_short());
                    }
                }
                let bytes = lua.create_string(&data[at..at + size])?;
                results.push_back(Value::String(bytes));
            }
            b's' => {
                let Some(length) = memchr::memchr(0, &data[at..]) else {
                    return Err(raise_text(lua, "unfinished string in data"));
                };
                let bytes = lua.create_string(&data[at..at + length])?;
                results.push_back(Value::String(bytes));
                size = length + 1;
            }
            other => format.control(other)?,
        }
        at += size;
    }
    results.push_back(Value::Integer(at as i64 + 1));
    Ok(results)
}

fn size(lua: &Lua, values: MultiValue) -> mlua::Result<i64> {
    let args = Arguments::new(lua, &values);
    let text = args.string(1)?;
    let mut format = Format::new(&args, &text);
    let mut at = 0_usize;
    while let Some(item) = format.next(at)? {
        at = at.wrapping_add(item.padding);
        match (item.option, item.size) {
            (b's', _) => return Err(args.problem(1, "option 's' has no fixed size")),
            (b'c', 0) => return Err(args.problem(1, "option 'c0' has no fixed size")),
            (option, _) if !option.is_ascii_alphanumeric() => format.control(option)?,
            _ => {}
        }
        at = at.wrapping_add(item.size);
    }
    Ok(at as i64)
}
