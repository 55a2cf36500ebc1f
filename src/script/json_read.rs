//! JSON text as Lua values, with the words of cjson's errors.

use mlua::{Lua, Table, Value};

use super::json::{DEPTH_LIMIT, Settings};
use super::raised::raise_text;

/// What a text is made of.
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Token {
    /// As error texts call it.
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::Text(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Error(text) => text,
        }
    }
}

/// A text as it is read.
pub(super) struct Parser<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    settings: &'a Settings,
    at: usize,
    /// Where the last token began, or where it went wrong.
    token_at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    pub fn new(lua: &'a Lua, text: &'a [u8], settings: &'a Settings) -> Self {
        Parser {
            lua,
            text,
            settings,
            at: 0,
            token_at: 0,
            depth: 0,
        }
    }

    /// The value that the whole text is.
    pub fn whole(mut self) -> mlua::Result<Value> {
        let token = self.token();
        let value = self.value(token)?;
        match self.token() {
            Token::End => Ok(value),
            other => Err(self.expected("the end", &other)),
        }
    }

    fn expected(&self, what: &str, found: &Token) -> mlua::Error {
        let text = format!(
            "Expected {what} but found {} at character {}",
            found.name(),
            self.token_at + 1
        );
        raise_text(self.lua, text)
    }

    /// The byte at a place; zero past the end.
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&mut self, text: &'static str) -> Token {
        self.token_at = self.at;
        Token::Error(text)
    }

    fn token(&mut self) -> Token {
        while matches!(self.byte(self.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.token_at = self.at;
        let single = match self.byte(self.at) {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            0 => return Token::End,
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => {
                if !self.settings.decode_invalid && self.is_invalid_number() {
                    return self.error("invalid number");
                }
                return self.number();
            }
            b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+' => return self.word(),
            _ => return self.error("invalid token"),
        };
        self.at += 1;
        single
    }

    fn word(&mut self) -> Token {
        for (word, token) in [
            (&b"true"[..], Token::Boolean(true)),
            (b"false", Token::Boolean(false)),
            (b"null", Token::Null),
        ] {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return token;
            }
        }
        if self.settings.decode_invalid && self.is_invalid_number() {
            return self.number();
        }
        self.error("invalid token")
    }

    /// What C's strtod reads and JSON has not: a plus, leading zeros, hexadecimal digits, infinity, NaN.
    fn is_invalid_number(&self) -> bool {
        let mut at = self.at;
        match self.byte(at) {
            b'+' => return true,
            b'-' => at += 1,
            _ => {}
        }
        match self.byte(at) {
            b'0' => matches!(self.byte(at + 1), b'x' | b'X' | b'0'..=b'9'),
            byte if byte <= b'9' => false,
            _ => {
                let word = self.text.get(at..at + 3).unwrap_or_default();
                word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")
            }
        }
    }

    fn number(&mut self) -> Token {
        match leading_number(self.rest()) {
            Some((number, length)) => {
                self.at += length;
                Token::Number(number)
            }
            None => self.error("invalid number"),
        }
    }

    fn string(&mut self) -> Token {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.byte(self.at) {
                b'"' => {
                    self.at += 1;
                    return Token::Text(text);
                }
                0 => return self.error("unexpected end of string"),
                b'\\' => {
                    let plain = match self.byte(self.at + 1) {
                        b'u' => match self.unicode(&mut text) {
                            Some(()) => continue,
                            None => return self.error("invalid unicode escape code"),
                        },
                        plain @ (b'"' | b'\\' | b'/') => plain,
                        b'b' => 0x08,
                        b't' => b'\t',
                        b'n' => b'\n',
                        b'f' => 0x0c,
                        b'r' => b'\r',
                        _ => return self.error("invalid escape code"),
                    };
                    text.push(plain);
                    self.at += 2;
                }
                plain => {
                    text.push(plain);
                    self.at += 1;
                }
            }
        }
    }

    /// Four hexadecimal digits.
    fn unit(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 4)?;
        digits.iter().try_fold(0, |unit, digit| {
            Some(unit << 4 | char::from(*digit).to_digit(16)?)
        })
    }

    /// An escape of `\u` and four digits, or two of them for what UTF-16 writes in two.
    fn unicode(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let first = self.unit(self.at + 2)?;
        let (point, length) = match first {
            0xdc00..=0xdfff => return None,
            0xd800..=0xdbff => {
                if self.byte(self.at + 6) != b'\\' || self.byte(self.at + 7) != b'u' {
                    return None;
                }
                let second = self.unit(self.at + 8)?;
                if second & 0xfc00 != 0xdc00 {
                    return None;
                }
                (((first & 0x3ff) << 10 | second & 0x3ff) + 0x10000, 12)
            }
            other => (other, 6),
        };
        let point = char::from_u32(point)?;
        text.extend_from_slice(point.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += length;
        Some(())
    }

    fn value(&mut self, token: Token) -> mlua::Result<Value> {
        Ok(match token {
            Token::Text(text) => Value::String(self.lua.create_string(text)?),
            Token::Number(number) => Value::Number(number),
            Token::Boolean(truth) => Value::Boolean(truth),
            Token::Null => Value::NULL,
            Token::ObjectBegin => Value::Table(self.object()?),
            Token::ArrayBegin => Value::Table(self.array()?),
            other => return Err(self.expected("value", &other)),
        })
    }

    fn descend(&mut self) -> mlua::Result<()> {
        self.depth += 1;
        if self.depth as i64 > self.settings.decode_max_depth || self.depth > DEPTH_LIMIT {
            let text = format!(
                "Found too many nested data structures ({}) at character {}",
                self.depth, self.at
            );
            return Err(raise_text(self.lua, text));
        }
        Ok(())
    }

    fn object(&mut self) -> mlua::Result<Table> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let mut token = self.token();
        if matches!(token, Token::ObjectEnd) {
            self.depth -= 1;
            return Ok(table);
        }
        loop {
            let Token::Text(key) = token else {
                return Err(self.expected("object key string", &token));
            };
            let colon = self.token();
            if !matches!(colon, Token::Colon) {
                return Err(self.expected("colon", &colon));
            }
            let token_of_value = self.token();
            let value = self.value(token_of_value)?;
            table.raw_set(self.lua.create_string(key)?, value)?;
            match self.token() {
                Token::ObjectEnd => {
                    self.depth -= 1;
                    return Ok(table);
                }
                Token::Comma => {}
                other => return Err(self.expected("comma or object end", &other)),
            }
            token = self.token();
        }
    }

    fn array(&mut self) -> mlua::Result<Table> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let mut token = self.token();
        if matches!(token, Token::ArrayEnd) {
            self.depth -= 1;
            return Ok(table);
        }
        for place in 1_usize.. {
            let value = self.value(token)?;
            table.raw_set(place, value)?;
            match self.token() {
                Token::ArrayEnd => break,
                Token::Comma => {}
                other => return Err(self.expected("comma or array end", &other)),
            }
            token = self.token();
        }
        self.depth -= 1;
        Ok(table)
    }
}

/// The number that a text begins with and its length, as C's strtod finds it.
fn leading_number(text: &[u8]) -> Option<(f64, usize)> {
    let signed = matches!(text.first(), Some(b'+' | b'-'));
    let negative = text.first() == Some(&b'-');
    let body = &text[usize::from(signed)..];
    let begins = |word: &[u8]| {
        body.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    let (value, length) = if begins(b"infinity") {
        (f64::INFINITY, 8)
    } else if begins(b"inf") {
        (f64::INFINITY, 3)
    } else if begins(b"nan") {
        (f64::NAN, 3)
    } else if begins(b"0x")
        && body
            .get(2)
            .is_some_and(|byte| byte.is_ascii_hexdigit() || *byte == b'.')
    {
        leading_hexadecimal(body)
    } else {
        leading_decimal(body)?
    };
    let value = if negative { -value } else { value };
    Some((value, length + usize::from(signed)))
}

fn digits(text: &[u8], from: usize, is_digit: fn(&u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    rest.iter().take_while(|byte| is_digit(byte)).count()
}

fn leading_decimal(text: &[u8]) -> Option<(f64, usize)> {
    let whole = digits(text, 0, u8::is_ascii_digit);
    let mut end = whole;
    let mut fraction = 0;
    if text.get(end) == Some(&b'.') {
        fraction = digits(text, end + 1, u8::is_ascii_digit);
        end += 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(text, end + 1 + sign, u8::is_ascii_digit);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let value = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Some((value, end))
}

fn leading_hexadecimal(text: &[u8]) -> (f64, usize) {
    let (mut value, mut scale, mut at) = (0.0_f64, 0_i32, 2);
    let mut past_point = false;
    while let Some(&byte) = text.get(at) {
        match char::from(byte).to_digit(16) {
            Some(digit) => {
                value = value * 16.0 + f64::from(digit);
                scale -= if past_point { 4 } else { 0 };
            }
            None if byte == b'.' && !past_point => past_point = true,
            None => break,
        }
        at += 1;
    }
    if matches!(text.get(at), Some(b'p' | b'P')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let length = digits(text, at + 1 + sign, u8::is_ascii_digit);
        if length > 0 {
            let shown = std::str::from_utf8(&text[at + 1..at + 1 + sign + length]).unwrap_or("0");
            scale = scale.saturating_add(shown.parse::<i32>().unwrap_or(0));
            at += 1 + sign + length;
        }
    }
    (value * 2.0_f64.powi(scale), at)
}
