//! The types of configuration values: how each is read from words and shown as text.
//!
//! Bounds and error texts are those of Redis 7.2, because clients and test suites match on them. Where Redis lets a
//! number of bytes wrap round (`maxmemory 99999999999gb`), the value is refused instead. Values with a grammar of
//! their own (save points, buffer limits, event classes ...) are in `special.rs`.

use super::choice;
use super::special::{self, BufferLimits};

/// The type of a directive, with its bounds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `yes` or `no`.
    YesNo,
    /// A whole number within bounds.
    Number(i64, i64),
    /// A number within the first two bounds, moved into the last two.
    NumberMovedInto(i64, i64, i64, i64),
    /// A number in octal, such as a file mode, up to the bound.
    Octal(u32),
    /// A number of bytes within bounds, with a unit (`k` 1000, `kb` 1024 ...).
    Memory(u64, u64),
    /// A number of bytes, or a percentage of `maxmemory` up to 100.
    MemoryOrPercent,
    /// One word of a list.
    Choice(&'static [(&'static str, u8)]),
    /// Words of a list, of which `save` and `nosave` exclude each other.
    ShutdownFlags,
    /// Text; `unset_when_empty` says that the empty text means "not set", so that CONFIG REWRITE removes the line.
    Text {
        /// See above.
        unset_when_empty: bool,
        /// What else the text must satisfy.
        check: fn(&[u8]) -> Result<(), &'static str>,
    },
    /// A directory, kept as an absolute path.
    Directory,
    /// Pairs of seconds and changes.
    SavePoints,
    /// Class, hard limit, soft limit and seconds, for one class or several.
    BufferLimits,
    /// Three numbers from -2000 to 2000.
    OomValues,
    /// Letters for classes of keyspace events.
    Events,
    /// Addresses to listen on, at most 16.
    Addresses,
    /// Host and port of a primary, or `no one`.
    Primary,
    /// Percentiles from 0 to 100.
    Percentiles,
}

impl Kind {
    /// Text of which anything is accepted.
    pub(super) const TEXT: Kind = Kind::Text {
        unset_when_empty: false,
        check: |_| Ok(()),
    };
    /// Text of which anything is accepted, where empty means "not set".
    pub(super) const OPTIONAL_TEXT: Kind = Kind::Text {
        unset_when_empty: true,
        check: |_| Ok(()),
    };

    /// Whether the value is made of several words.
    pub fn takes_many_words(&self) -> bool {
        matches!(
            self,
            Kind::ShutdownFlags
                | Kind::SavePoints
                | Kind::BufferLimits
                | Kind::OomValues
                | Kind::Addresses
                | Kind::Primary
                | Kind::Percentiles
        )
    }
}

/// A value of one of the types above.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `yes` or `no`.
    YesNo(bool),
    /// A number; for [`Kind::Octal`] too.
    Number(i64),
    /// Bytes.
    Memory(u64),
    /// Percent of `maxmemory`.
    Percent(u8),
    /// The code of a word, or the bits of several.
    Choice(u8),
    /// Text, as bytes; a directory too.
    Text(Vec<u8>),
    /// Seconds and changes of each save point.
    SavePoints(Vec<(u64, u64)>),
    /// One limit for each class: normal, replica, pubsub.
    BufferLimits([BufferLimits; 3]),
    /// Scores of a primary, a replica and a child.
    OomValues([i32; 3]),
    /// Bits of event classes.
    Events(u32),
    /// Addresses.
    Addresses(Vec<Vec<u8>>),
    /// Host and port.
    Primary(Option<(Vec<u8>, u16)>),
    /// Percentiles.
    Percentiles(Vec<f64>),
}

impl Value {
    /// Reads a value of type `kind` from its words. `old` is the value until now: buffer limits of classes that are
    /// not named, and the directory that a relative path starts from, come from there.
    ///
    /// # Errors
    /// The reason, in Redis's words.
    pub fn parse(kind: &Kind, words: &[Vec<u8>], old: &Value) -> Result<Value, String> {
        if kind.takes_many_words() {
            return special::parse(kind, words, old);
        }
        let [word] = words else {
            return Err("wrong number of arguments".to_string());
        };
        match kind {
            Kind::YesNo => parse_yes_no(word),
            Kind::Number(low, high) => parse_number(word, *low, *high),
            Kind::NumberMovedInto(low, high, least, most) => match parse_number(word, *low, *high)?
            {
                Value::Number(number) => Ok(Value::Number(number.clamp(*least, *most))),
                other => Ok(other),
            },
            Kind::Octal(high) => parse_octal(word, *high),
            Kind::Memory(low, high) => {
                let bytes = memory(word).ok_or("argument must be a memory value")?;
                if (*low..=*high).contains(&bytes) {
                    Ok(Value::Memory(bytes))
                } else {
                    Err(between(*low, *high))
                }
            }
            Kind::MemoryOrPercent => parse_memory_or_percent(word),
            Kind::Choice(names) => choice::code_of(names, word)
                .map(Value::Choice)
                .ok_or_else(|| choice::expected_one_of(names)),
            Kind::Text { check, .. } => check(word)
                .map(|()| Value::Text(word.clone()))
                .map_err(str::to_string),
            Kind::Directory => Ok(Value::Text(special::join_directory(old, word))),
            _ => special::parse(kind, words, old),
        }
    }

    /// The value as CONFIG GET shows it.
    pub fn show(&self, kind: &Kind) -> Vec<u8> {
        match self {
            Value::YesNo(yes) => if *yes { "yes" } else { "no" }.into(),
            Value::Number(number) => match kind {
                Kind::Octal(_) => format!("{number:o}").into(),
                _ => number.to_string().into(),
            },
            Value::Memory(bytes) => bytes.to_string().into(),
            Value::Percent(percent) => format!("{percent}%").into(),
            Value::Choice(code) => match kind {
                Kind::Choice(names) => choice::name_of(names, *code).into(),
                _ => choice::names_of_flags(special::SHUTDOWN_FLAGS, *code).into(),
            },
            Value::Text(text) => text.clone(),
            _ => special::show(self),
        }
    }
}

/// A whole number in its shortest spelling: no sign but `-`, no leading zeros.
pub(super) fn whole_number(word: &[u8]) -> Option<i64> {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    let well_formed = word == b"0"
        || matches!(digits, [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit));
    if !well_formed {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// A number as C's strtoll takes it when it must use the whole word: blanks and a sign in front, leading zeros, and
/// the empty word for 0. Too large a number becomes the largest.
pub(super) fn loose_number(word: &[u8], radix: u32) -> Option<i64> {
    if word.is_empty() {
        return Some(0);
    }
    let word = word.trim_ascii_start();
    let (negative, digits) = match word {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, word),
    };
    if digits.is_empty() {
        return None;
    }
    let mut number: i64 = 0;
    for digit in digits {
        let digit = i64::from((*digit as char).to_digit(radix)?);
        let next = number.saturating_mul(i64::from(radix));
        number = if negative {
            next.saturating_sub(digit)
        } else {
            next.saturating_add(digit)
        };
    }
    Some(number)
}

/// A number of bytes with its unit: `k` and `kb`, `m` and `mb`, `g` and `gb`, `b`, whatever the case. The unit alone
/// and the empty word are 0, as in Redis. `None` also when the number does not fit.
pub fn memory(word: &[u8]) -> Option<u64> {
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, unit) = word.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    if digits.is_empty() {
        return Some(0);
    }
    std::str::from_utf8(digits)
        .ok()?
        .parse::<u64>()
        .ok()?
        .checked_mul(factor)
}

fn parse_yes_no(word: &[u8]) -> Result<Value, String> {
    match word.to_ascii_lowercase().as_slice() {
        b"yes" => Ok(Value::YesNo(true)),
        b"no" => Ok(Value::YesNo(false)),
        _ => Err("argument must be 'yes' or 'no'".to_string()),
    }
}

fn parse_number(word: &[u8], low: i64, high: i64) -> Result<Value, String> {
    let number = whole_number(word).ok_or("argument couldn't be parsed into an integer")?;
    if (low..=high).contains(&number) {
        Ok(Value::Number(number))
    } else {
        Err(between(low, high))
    }
}

fn parse_octal(word: &[u8], high: u32) -> Result<Value, String> {
    let number = loose_number(word, 8).ok_or("argument couldn't be parsed as an octal number")?;
    if (0..=i64::from(high)).contains(&number) {
        Ok(Value::Number(number))
    } else {
        Err(format!("argument must be between 0 and {high:o} inclusive"))
    }
}

fn parse_memory_or_percent(word: &[u8]) -> Result<Value, String> {
    if let Some(bytes) = memory(word) {
        let high = i64::MAX as u64;
        return if bytes <= high {
            Ok(Value::Memory(bytes))
        } else {
            Err(between(-100, high))
        };
    }
    match word.strip_suffix(b"%").and_then(whole_number) {
        Some(0) => Ok(Value::Memory(0)),
        Some(percent @ 1..=100) => Ok(Value::Percent(percent as u8)),
        Some(percent) if percent > 100 => {
            Err("percentage argument must be less or equal to 100".to_string())
        }
        _ => Err("argument must be a memory or percent value".to_string()),
    }
}

fn between(low: impl std::fmt::Display, high: impl std::fmt::Display) -> String {
    format!("argument must be between {low} and {high} inclusive")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: &Kind, word: &str) -> Result<Value, String> {
        Value::parse(kind, &[word.as_bytes().to_vec()], &Value::YesNo(false))
    }

    #[test]
    fn memory_units_are_decimal_without_and_binary_with_a_b() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("1b", 1),
            ("1k", 1000),
            ("1KB", 1024),
            ("2m", 2_000_000),
            ("2Mb", 2 << 20),
            ("3g", 3_000_000_000),
            ("3gB", 3 << 30),
            ("", 0),
            ("kb", 0),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(memory(text.as_bytes()), Some(bytes), "{text}");
        }
        for text in [
            "-1",
            "1x",
            "1 kb",
            "1tb",
            " 1",
            "1.5gb",
            "18446744073709551616",
            "99999999999gb",
        ] {
            assert_eq!(memory(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn each_type_refuses_in_redis_words() {
        let error = |kind: &Kind, word: &str| parse(kind, word).unwrap_err();
        assert_eq!(
            error(&Kind::YesNo, "maybe"),
            "argument must be 'yes' or 'no'"
        );
        assert_eq!(
            error(&Kind::Number(0, 9), "x"),
            "argument couldn't be parsed into an integer"
        );
        assert_eq!(
            error(&Kind::Number(0, i64::from(i32::MAX)), "-1"),
            "argument must be between 0 and 2147483647 inclusive"
        );
        assert_eq!(
            error(&Kind::Octal(0o777), "8"),
            "argument couldn't be parsed as an octal number"
        );
        assert_eq!(
            error(&Kind::Octal(0o777), "1000"),
            "argument must be between 0 and 777 inclusive"
        );
        assert_eq!(
            error(&Kind::Memory(0, u64::MAX), "-1"),
            "argument must be a memory value"
        );
        assert_eq!(
            error(&Kind::Memory(1024, 2048), "1"),
            "argument must be between 1024 and 2048 inclusive"
        );
        assert_eq!(
            error(&Kind::MemoryOrPercent, "x"),
            "argument must be a memory or percent value"
        );
        assert_eq!(
            error(&Kind::MemoryOrPercent, "101%"),
            "percentage argument must be less or equal to 100"
        );
        assert_eq!(
            error(&Kind::Choice(&[("one", 0), ("two", 1)]), "three"),
            "argument(s) must be one of the following: one, two"
        );
    }

    #[test]
    fn numbers_have_one_spelling() {
        for word in [
            "",
            "-",
            "-0",
            "01",
            "+1",
            " 1",
            "1 ",
            "1.0",
            "9223372036854775808",
        ] {
            assert_eq!(whole_number(word.as_bytes()), None, "{word}");
        }
        assert_eq!(whole_number(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(whole_number(b"0"), Some(0));
    }

    #[test]
    fn loose_numbers_take_what_strtoll_takes() {
        for (word, number) in [
            ("", 0),
            (" 7", 7),
            ("+7", 7),
            ("007", 7),
            ("-7", -7),
            ("99999999999999999999", i64::MAX),
        ] {
            assert_eq!(loose_number(word.as_bytes(), 10), Some(number), "{word}");
        }
        for word in [" ", "-", "7x", "7 ", "x"] {
            assert_eq!(loose_number(word.as_bytes(), 10), None, "{word}");
        }
        assert_eq!(loose_number(b"0700", 8), Some(0o700));
    }

    #[test]
    fn values_show_as_config_get_shows_them() {
        let show = |kind: &Kind, word: &str| {
            String::from_utf8(parse(kind, word).unwrap().show(kind)).unwrap()
        };
        assert_eq!(show(&Kind::YesNo, "YES"), "yes");
        assert_eq!(show(&Kind::Octal(0o777), "0755"), "755");
        assert_eq!(show(&Kind::Memory(0, u64::MAX), "1gb"), "1073741824");
        assert_eq!(show(&Kind::MemoryOrPercent, "50%"), "50%");
        assert_eq!(show(&Kind::MemoryOrPercent, "0%"), "0");
        assert_eq!(show(&Kind::NumberMovedInto(0, 9999, 1, 500), "1000"), "500");
    }
}
