//! Words and quotes: how a line of a configuration file or an inline request becomes arguments, and how a value becomes
//! quoted text.
//!
//! Words stand between blanks. A word may be in double quotes, with `\n \r \t \b \a \xhh` and `\` before any other
//! character, or in single quotes, where only `\'` is special; what follows a closing quote must be a blank. [`quote`]
//! writes what [`split`] reads back unchanged, which is what CONFIG REWRITE and the command line stand on.

/// Cuts `line` into words; `None` when a quote is left open or something other than a blank follows a closing one.
pub fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let blanks = rest.iter().take_while(|byte| is_blank(**byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Some(words);
        }
        let mut word = Vec::new();
        rest = take_word(rest, &mut word)?;
        words.push(word);
    }
}

/// What C's isspace accepts in the plain locale.
#[inline]
pub fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// What a word without quotes ends at. A vertical tab or form feed separates words but does not end one: Redis's reader
/// has this corner.
#[inline]
pub fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Reads one word from the front of `rest`, which does not begin with a blank; what is left behind it.
fn take_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match *rest {
            [] => return Some(rest),
            [byte, ..] if ends_word(byte) => return Some(rest),
            [b'"', ..] => {
                rest = take_double_quoted(&rest[1..], word)?;
                return behind_quote(rest);
            }
            [b'\'', ..] => {
                rest = take_single_quoted(&rest[1..], word)?;
                return behind_quote(rest);
            }
            [byte, ..] => {
                word.push(byte);
                rest = &rest[1..];
            }
        }
    }
}

fn behind_quote(rest: &[u8]) -> Option<&[u8]> {
    rest.first()
        .is_none_or(|byte| is_blank(*byte))
        .then_some(rest)
}

fn take_double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match *rest {
            [] => return None,
            [b'"', ..] => return Some(&rest[1..]),
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex_value(high) * 16 + hex_value(low));
                rest = &rest[4..];
            }
            [b'\\', escaped, ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                rest = &rest[2..];
            }
            [byte, ..] => {
                word.push(byte);
                rest = &rest[1..];
            }
        }
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match *rest {
            [] => return None,
            [b'\'', ..] => return Some(&rest[1..]),
            [b'\\', b'\'', ..] => {
                word.push(b'\'');
                rest = &rest[2..];
            }
            [byte, ..] => {
                word.push(byte);
                rest = &rest[1..];
            }
        }
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

/// Appends `word` to `line` in double quotes, so that [`split`] reads exactly these bytes back.
pub fn quote(line: &mut Vec<u8>, word: &[u8]) {
    line.push(b'"');
    for byte in word {
        match *byte {
            b'\\' | b'"' => line.extend([b'\\', *byte]),
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            b'\t' => line.extend(b"\\t"),
            0x07 => line.extend(b"\\a"),
            0x08 => line.extend(b"\\b"),
            b' '..=b'~' => line.push(*byte),
            other => line.extend(format!("\\x{other:02x}").bytes()),
        }
    }
    line.push(b'"');
}

/// `line` without the blanks (space, tab, CR, LF) at both ends.
pub fn trim(line: &[u8]) -> &[u8] {
    let is_edge = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = line
        .iter()
        .position(|byte| !is_edge(byte))
        .unwrap_or(line.len());
    let end = line
        .iter()
        .rposition(|byte| !is_edge(byte))
        .map_or(start, |last| last + 1);
    &line[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        Some(
            split(line.as_bytes())?
                .into_iter()
                .map(|word| String::from_utf8_lossy(&word).into_owned())
                .collect(),
        )
    }

    #[test]
    fn words_stand_between_blanks() {
        assert_eq!(words("save  900\t1 ").unwrap(), ["save", "900", "1"]);
        assert_eq!(words("").unwrap(), [""; 0]);
        assert_eq!(words(" \t").unwrap(), [""; 0]);
    }

    #[test]
    fn quotes_keep_blanks_and_escapes() {
        assert_eq!(
            words(r#"a "b c" 'd e' "" '' "\x41\n\q" 'it\'s'"#).unwrap(),
            ["a", "b c", "d e", "", "", "A\nq", "it's"]
        );
        assert_eq!(
            words(r#"ab"c d""#).unwrap(),
            ["abc d"],
            "a quote may open inside a word"
        );
    }

    #[test]
    fn an_open_quote_or_text_behind_a_closing_one_is_refused() {
        for line in [r#"a "b"#, "a 'b", r#""a"b"#, "'a'b", r#""\""#] {
            assert_eq!(split(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn whatever_is_quoted_reads_back_unchanged() {
        let every_byte: Vec<u8> = (0..=255).collect();
        let mut line = b"x ".to_vec();
        quote(&mut line, &every_byte);
        assert_eq!(split(&line).unwrap()[1], every_byte);
    }

    #[test]
    fn trimming_takes_both_ends() {
        assert_eq!(trim(b" \t a b\r\n"), b"a b");
        assert_eq!(trim(b" \r\n"), b"");
    }
}
