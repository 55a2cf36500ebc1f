//! Errors that functions of the server raise within Lua, on their way through mlua.

use mlua::{Error, Lua, Value};

/// What was raised.
#[derive(Debug)]
pub(super) enum Raised {
    /// A table with the field `err`: what commands raise.
    Table {
        /// The text, code included.
        text: Vec<u8>,
        /// It has been counted as an error reply already.
        counted: bool,
    },
    /// A plain text, the place included: what libraries raise.
    Text(Vec<u8>),
}

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Raised::Table { text, .. } | Raised::Text(text)) = self;
        f.write_str(&String::from_utf8_lossy(text))
    }
}

impl std::error::Error for Raised {}

/// The error with a text as `redis.call` and its kin raise it: `ERR` is added, or the code behind a `-` is taken.
pub(super) fn raise(text: &[u8]) -> Error {
    Error::external(Raised::Table {
        text: with_code(text),
        counted: false,
    })
}

/// An error of a library function: `bad argument` and the like, with the place of the call before it.
pub(super) fn raise_text(lua: &Lua, text: impl AsRef<[u8]>) -> Error {
    let mut whole = place(lua, 1);
    whole.extend_from_slice(text.as_ref());
    Error::external(Raised::Text(whole))
}

/// An error about an argument of the library function that runs, which has the name that its caller uses for it.
pub(super) fn raise_argument(lua: &Lua, number: usize, problem: &str) -> Error {
    let name = lua.inspect_stack(0, |debug| Some(debug.names().name?.into_owned()));
    let name = name.flatten().unwrap_or_else(|| "?".to_owned());
    raise_text(
        lua,
        format!("bad argument #{number} to '{name}' ({problem})"),
    )
}

/// `source:line: ` of the function at a level of the stack, as Lua's own errors open.
fn place(lua: &Lua, level: usize) -> Vec<u8> {
    let found = lua.inspect_stack(level, |debug| {
        let line = debug.current_line()?;
        let source = debug.source().short_src?.into_owned();
        Some(format!("{source}:{line}: "))
    });
    found.flatten().unwrap_or_default().into_bytes()
}

/// An error text as tables hold it: `-CODE text` loses the dash, any other gets `ERR`.
pub(super) fn with_code(text: &[u8]) -> Vec<u8> {
    let (code, rest) = match text.strip_prefix(b"-") {
        None => (&b"ERR"[..], text),
        Some(text) => match memchr::memchr(b' ', text) {
            None => (&b"ERR"[..], text),
            Some(at) => (&text[..at], &text[at + 1..]),
        },
    };
    let line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let from = rest
        .iter()
        .position(|byte| !line_end(byte))
        .unwrap_or(rest.len());
    let to = rest
        .iter()
        .rposition(|byte| !line_end(byte))
        .map_or(from, |at| at + 1);
    [code, b" ", &rest[from..to]].concat()
}

/// What a script sees of an error: what the server raised becomes a table or a text, and all that mlua itself has
/// to say a text.
pub(super) fn untangle(lua: &Lua, value: Value) -> mlua::Result<Value> {
    let Value::Error(error) = value else {
        return Ok(value);
    };
    match found_in(&error) {
        Some(Raised::Table { text, counted }) => {
            Ok(Value::Table(error_table(lua, text, *counted)?))
        }
        Some(Raised::Text(text)) => Ok(Value::String(lua.create_string(text)?)),
        None => Ok(Value::String(lua.create_string(shown(&error))?)),
    }
}

/// The table that stands for an error.
pub(super) fn error_table(lua: &Lua, text: &[u8], counted: bool) -> mlua::Result<mlua::Table> {
    let table = lua.create_table_with_capacity(0, 4)?;
    // As C's strings end, so does the text at a zero byte.
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    table.raw_set("err", lua.create_string(&text[..end])?)?;
    if counted {
        table.raw_set("ignore_error_stats_update", true)?;
    }
    Ok(table)
}

/// What was raised by a function of ours, if that is what the error is.
fn found_in(error: &Error) -> Option<&Raised> {
    match error {
        Error::CallbackError { cause, .. } | Error::WithContext { cause, .. } => found_in(cause),
        Error::ExternalError(inner) => inner.downcast_ref::<Raised>(),
        _ => None,
    }
}

/// The text of one of mlua's own errors.
pub(super) fn shown(error: &Error) -> String {
    match error {
        Error::CallbackError { cause, .. } => shown(cause),
        Error::RuntimeError(text) | Error::MemoryError(text) => text.clone(),
        Error::SyntaxError { message, .. } => message.clone(),
        Error::StackError => "stack overflow".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_code_when_it_opens_with_a_dash() {
        for (text, expected) in [
            (&b"oops"[..], &b"ERR oops"[..]),
            (b"-WRONGTYPE bad\r\n", b"WRONGTYPE bad"),
            (b"-alone", b"ERR alone"),
            (b"two words", b"ERR two words"),
            (b"-", b"ERR "),
        ] {
            assert_eq!(with_code(text), expected);
        }
    }
}
