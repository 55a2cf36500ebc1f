//! What a script returns as a reply: all values that `stack.rs` leaves over, and the safe twin of what it writes.

use mlua::{Table, Value};

use crate::resp::Reply;

/// Tables within tables of a returned value at most. Each is held by up to three of the 8000 references that Lua's own
/// stack allows; Redis stops a little below 8000.
const DEPTH_MAX: usize = 2500;

/// What is left to write of a table.
enum Frame {
    /// Elements `next..` of an array of `count`.
    Array {
        table: Table,
        next: usize,
        count: usize,
    },
    /// What follows `key` in a map or a set; the value that belongs to `key` comes first when it is still due.
    Fields {
        table: Table,
        key: Value,
        due: Option<Value>,
        with_values: bool,
    },
}

/// Writes the value that a script returned. `resp3` is what the script chose for itself by redis.setresp. Gives whether
/// the reply is an error that has not been counted yet. Iterates with Lua's `next`.
pub(super) fn to_reply(
    next: &mlua::Function,
    value: Value,
    resp3: bool,
    reply: &mut Reply<'_>,
) -> mlua::Result<Vec<Vec<u8>>> {
    let mut errors = Vec::new();
    let mut frames: Vec<Frame> = Vec::new();
    let mut pending = Some(value);
    loop {
        if let Some(value) = pending.take()
            && let Some(frame) = write_one(next, value, resp3, frames.len(), reply, &mut errors)?
        {
            frames.push(frame);
        }
        let Some(frame) = frames.last_mut() else {
            return Ok(errors);
        };
        let over = match frame {
            Frame::Array {
                table,
                next: place,
                count,
            } => {
                if place > count {
                    true
                } else {
                    pending = Some(table.raw_get(*place)?);
                    *place += 1;
                    false
                }
            }
            Frame::Fields {
                table,
                key,
                due,
                with_values,
            } => {
                pending = due.take();
                if pending.is_some() {
                    false
                } else {
                    let (found, value): (Value, Value) = next.call((&*table, &*key))?;
                    if found == Value::Nil {
                        true
                    } else {
                        *due = with_values.then_some(value);
                        *key = found.clone();
                        pending = Some(found);
                        false
                    }
                }
            }
        };
        if over {
            frames.pop();
        }
    }
}

fn too_deep(reply: &mut Reply<'_>, errors: &mut Vec<Vec<u8>>) {
    let text = b"ERR reached lua stack limit".to_vec();
    reply.error(&crate::resp::ErrorReply::text(text.clone()));
    errors.push(text);
}

/// Writes a value, or the header of a table that is gone through next.
fn write_one(
    next: &mlua::Function,
    value: Value,
    resp3: bool,
    depth: usize,
    reply: &mut Reply<'_>,
    errors: &mut Vec<Vec<u8>>,
) -> mlua::Result<Option<Frame>> {
    if depth >= DEPTH_MAX {
        too_deep(reply, errors);
        return Ok(None);
    }
    match value {
        Value::String(text) => reply.bulk(&text.as_bytes()),
        Value::Boolean(truth) if resp3 => reply.boolean(truth),
        Value::Boolean(true) => reply.integer(1),
        Value::Boolean(false) => reply.null(),
        Value::Integer(number) => reply.integer(number),
        Value::Number(number) => reply.integer(truncated(number)),
        Value::Table(table) => return write_table(next, table, reply, errors),
        _ => reply.null(),
    }
    Ok(None)
}

/// As C's cast of a double to a long long on x86-64 does it.
pub(super) fn truncated(number: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) {
        number as i64
    } else {
        i64::MIN
    }
}

fn write_table(
    next: &mlua::Function,
    table: Table,
    reply: &mut Reply<'_>,
    errors: &mut Vec<Vec<u8>>,
) -> mlua::Result<Option<Frame>> {
    if let Value::String(text) = table.raw_get("err")? {
        let (text, counted) = (until_zero(&text.as_bytes()), is_counted(&table)?);
        reply.error(&crate::resp::ErrorReply::text(text.clone()));
        if !counted {
            errors.push(text);
        }
        return Ok(None);
    }
    if let Value::String(text) = table.raw_get("ok")? {
        let text = until_zero(&text.as_bytes());
        reply.status(&one_line(&text));
        return Ok(None);
    }
    match table.raw_get("double")? {
        Value::Number(number) => {
            reply.double(number);
            return Ok(None);
        }
        Value::Integer(number) => {
            reply.double(number as f64);
            return Ok(None);
        }
        _ => {}
    }
    if let Value::String(digits) = table.raw_get("big_number")? {
        let digits = one_line(&digits.as_bytes());
        reply.big_number(&String::from_utf8_lossy(&digits));
        return Ok(None);
    }
    if let Value::Table(verbatim) = table.raw_get("verbatim_string")?
        && let Value::String(format) = verbatim.raw_get("format")?
        && let Value::String(text) = verbatim.raw_get("string")?
    {
        let mut three = String::from_utf8_lossy(&format.as_bytes()).into_owned();
        three.retain(|letter| letter.is_ascii_graphic());
        while three.len() < 3 {
            three.push(' ');
        }
        three.truncate(3);
        reply.verbatim(&three, &text.as_bytes());
        return Ok(None);
    }
    if let Value::Table(map) = table.raw_get("map")? {
        reply.map(count_of(next, &map)?);
        return Ok(Some(Frame::Fields {
            table: map,
            key: Value::Nil,
            due: None,
            with_values: true,
        }));
    }
    if let Value::Table(set) = table.raw_get("set")? {
        reply.set(count_of(next, &set)?);
        return Ok(Some(Frame::Fields {
            table: set,
            key: Value::Nil,
            due: None,
            with_values: false,
        }));
    }
    let mut count = 0;
    while !matches!(table.raw_get::<Value>(count + 1)?, Value::Nil) {
        count += 1;
    }
    reply.array(count);
    Ok(Some(Frame::Array {
        table,
        next: 1,
        count,
    }))
}

fn count_of(next: &mlua::Function, table: &Table) -> mlua::Result<usize> {
    let (mut count, mut key) = (0, Value::Nil);
    loop {
        let (found, _): (Value, Value) = next.call((table, &key))?;
        if found == Value::Nil {
            return Ok(count);
        }
        (count, key) = (count + 1, found);
    }
}

/// Whether an error table says that its error has been counted.
pub(super) fn is_counted(table: &Table) -> mlua::Result<bool> {
    let counted = table.raw_get("ignore_error_stats_update")?;
    Ok(matches!(counted, Value::Boolean(true)))
}

/// What a C string keeps of bytes: what Redis shows of the texts of errors and statuses.
pub(super) fn until_zero(text: &[u8]) -> Vec<u8> {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    text[..end].to_vec()
}

pub(super) fn one_line(text: &[u8]) -> Vec<u8> {
    let blank = |byte: &u8| match byte {
        b'\r' | b'\n' => b' ',
        other => *other,
    };
    text.iter().map(blank).collect()
}

/// Replies of commands as Lua values, by the crate's safe means: the twin of `stack.rs`.
#[cfg(test)]
pub(super) mod reader {
    use mlua::{Lua, Table, Value};

    use crate::base::number::parse_i64;
    use crate::script::raised::error_table;
    use crate::script::stack::{REPLY_DEPTH_MAX, double};

    /// A reply of this server's own commands as a Lua value. Such replies are well formed and never deep.
    pub(in crate::script) fn to_lua(lua: &Lua, reply: &[u8]) -> mlua::Result<Value> {
        let mut reader = Reader {
            lua,
            rest: reply,
            depth: 0,
        };
        reader.value()
    }

    /// Reads a reply from front to back. What does not parse becomes nil: nothing that a client sends gets here.
    struct Reader<'a> {
        lua: &'a Lua,
        rest: &'a [u8],
        depth: usize,
    }

    impl<'a> Reader<'a> {
        fn line(&mut self) -> &'a [u8] {
            let end = memchr::memmem::find(self.rest, b"\r\n").unwrap_or(self.rest.len());
            let line = &self.rest[..end];
            self.rest = self.rest.get(end + 2..).unwrap_or_default();
            line
        }

        fn bytes(&mut self, length: usize) -> &'a [u8] {
            let bytes = self.rest.get(..length).unwrap_or_default();
            self.rest = self
                .rest
                .get(length.saturating_add(2)..)
                .unwrap_or_default();
            bytes
        }

        fn value(&mut self) -> mlua::Result<Value> {
            if self.depth == REPLY_DEPTH_MAX || self.rest.is_empty() {
                return Ok(Value::Nil);
            }
            self.depth += 1;
            let value = self.value_inside();
            self.depth -= 1;
            value
        }

        fn value_inside(&mut self) -> mlua::Result<Value> {
            let line = self.line();
            let Some((kind, text)) = line.split_first() else {
                return Ok(Value::Nil);
            };
            let number = || parse_i64(text).unwrap_or_default();
            Ok(match kind {
                b':' => Value::Number(number() as f64),
                b'$' => match usize::try_from(number()) {
                    Ok(length) => self.string(length)?,
                    Err(_) => Value::Boolean(false),
                },
                b'+' => self.field("ok", self.lua.create_string(text)?)?,
                b'-' => Value::Table(error_table(self.lua, text, true)?),
                b'*' | b'>' => match usize::try_from(number()) {
                    Ok(count) => self.array(count)?,
                    Err(_) => Value::Boolean(false),
                },
                b'%' => {
                    let map = self.lua.create_table()?;
                    for _ in 0..self.fitting(number()) {
                        let key = self.value()?;
                        let value = self.value()?;
                        set_if_key(&map, key, value)?;
                    }
                    self.field("map", map)?
                }
                b'~' => {
                    let set = self.lua.create_table()?;
                    for _ in 0..self.fitting(number()) {
                        let member = self.value()?;
                        set_if_key(&set, member, Value::Boolean(true))?;
                    }
                    self.field("set", set)?
                }
                b'_' => Value::Nil,
                // An attribute is for whoever knows it; the reply comes after it.
                b'|' => {
                    for _ in 0..self.fitting(number().saturating_mul(2)) {
                        self.value()?;
                    }
                    return self.value();
                }
                b'#' => Value::Boolean(text == b"t"),
                b',' => self.field("double", double(text))?,
                b'(' => self.field("big_number", self.lua.create_string(text)?)?,
                b'=' => {
                    let whole = self.bytes(usize::try_from(number()).unwrap_or_default());
                    let verbatim = self.lua.create_table()?;
                    let (format, string) = whole.split_at(whole.len().min(4));
                    verbatim.raw_set("string", self.lua.create_string(string)?)?;
                    let format = &format[..format.len().min(3)];
                    verbatim.raw_set("format", self.lua.create_string(format)?)?;
                    self.field("verbatim_string", verbatim)?
                }
                _ => Value::Nil,
            })
        }

        /// So many elements, or fewer when the bytes that are left cannot hold them: each takes three at least.
        fn fitting(&self, count: i64) -> usize {
            usize::try_from(count).unwrap_or(0).min(self.rest.len())
        }

        fn string(&mut self, length: usize) -> mlua::Result<Value> {
            let bytes = self.bytes(length);
            Ok(Value::String(self.lua.create_string(bytes)?))
        }

        fn array(&mut self, count: usize) -> mlua::Result<Value> {
            let count = self.fitting(i64::try_from(count).unwrap_or(i64::MAX));
            let table = self.lua.create_table_with_capacity(count, 0)?;
            for place in 1..=count {
                let value = self.value()?;
                // A nil among the elements leaves a hole.
                table.raw_set(place, value)?;
            }
            Ok(Value::Table(table))
        }

        fn field(&self, name: &str, value: impl mlua::IntoLua) -> mlua::Result<Value> {
            let table = self.lua.create_table_with_capacity(0, 1)?;
            table.raw_set(name, value)?;
            Ok(Value::Table(table))
        }
    }

    /// Nil and NaN are no keys of tables in Lua.
    fn set_if_key(table: &Table, key: Value, value: Value) -> mlua::Result<()> {
        match key {
            Value::Nil => Ok(()),
            Value::Number(number) if number.is_nan() => Ok(()),
            key => table.raw_set(key, value),
        }
    }
}
