//! Numbers as text, exactly as Redis 7.2 reads and writes them.
//!
//! Clients see these rules everywhere: which strings count as integers decides encodings and error replies, and the
//! text of a score is compared byte for byte by test suites. The parsers here are strict where Redis is strict (one
//! spelling per integer) and lenient where Redis leans on the C library (hexadecimal floats, any case of `inf`).
//!
//! A double prints as the shortest digits that read back as the same double, and of those as the closest, in the
//! layout Redis 7.2 took over with its fpconv library; 7.0 and older printed `%.17g` instead. The digits differ from
//! fpconv's in rare cases: its algorithm, Grisu2, works with 64-bit approximations and sometimes ends with a digit more
//! than needed. Those texts are kept out on purpose. A user who wrote a score expects to read what was written, which
//! only the shortest digits promise; both texts read back as the same double, so files, replicas and clients that parse
//! are served by either; and nobody can have come to rely on which doubles get the longer one.
//!
//! The 80-bit numbers of INCRBYFLOAT are in `long_double.rs`.

use std::ops::Deref;

/// A number as text, held in place: no allocation for what is about to be copied into a reply.
#[derive(Clone, Copy)]
pub struct NumberText {
    bytes: [u8; NUMBER_TEXT_BYTES_MAX],
    len: u8,
}

/// Longest text of an integer or a double is 25 bytes: sign, 17 digits and 7 zeros.
const NUMBER_TEXT_BYTES_MAX: usize = 32;

impl NumberText {
    fn new() -> NumberText {
        NumberText {
            bytes: [0; NUMBER_TEXT_BYTES_MAX],
            len: 0,
        }
    }

    fn from_bytes(text: &[u8]) -> NumberText {
        let mut number = NumberText::new();
        number.push_all(text);
        number
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len as usize] = byte;
        self.len += 1;
    }

    fn push_all(&mut self, text: &[u8]) {
        let start = self.len as usize;
        self.bytes[start..start + text.len()].copy_from_slice(text);
        self.len += text.len() as u8;
    }

    fn push_zeros(&mut self, count: usize) {
        for _ in 0..count {
            self.push(b'0');
        }
    }

    /// The text, always ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

impl Deref for NumberText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl std::fmt::Debug for NumberText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// Reads an integer that is spelled the one way Redis would print it: no spaces, no `+`, no leading zeros, no `-0`.
/// Because of that, a string for which this succeeds can be stored as the integer and printed back unchanged.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', digits @ ..] => {
            let magnitude = parse_u64(digits)?;
            match magnitude {
                0 => None,
                1..=0x7fff_ffff_ffff_ffff => Some(-(magnitude as i64)),
                0x8000_0000_0000_0000 => Some(i64::MIN),
                _ => None,
            }
        }
        digits => i64::try_from(parse_u64(digits)?).ok(),
    }
}

/// The unsigned twin of [`parse_i64`]: digits only, without leading zeros, up to `u64::MAX`.
pub fn parse_u64(digits: &[u8]) -> Option<u64> {
    let (&first, rest) = digits.split_first()?;
    if first == b'0' {
        return rest.is_empty().then_some(0);
    }
    if digits.len() > 20 {
        return None;
    }
    // 19 digits always fit 64 bits, so only a twentieth needs checked arithmetic.
    let (plain, last) = digits.split_at(digits.len().min(19));
    let mut value: u64 = 0;
    for &byte in plain {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    match last {
        [] => Some(value),
        [byte, ..] => {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value.checked_mul(10)?.checked_add(u64::from(digit))
        }
    }
}

/// Reads an unsigned integer the way stream ids are read: what the strict spelling refuses goes to the rules of C's
/// `strtoull`, so leading spaces, `+` and leading zeros pass, and `-01` wraps around as it does there.
pub fn parse_u64_loose(text: &[u8]) -> Option<u64> {
    if let Some(value) = parse_u64(text) {
        return Some(value);
    }
    if parse_i64(text).is_some() {
        return None; // a strict negative integer is refused outright
    }
    let spaces = text.iter().take_while(|byte| is_c_space(**byte)).count();
    let (negative, digits) = split_sign(&text[spaces..]);
    if digits.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
    }
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// Reads a double as ZADD, ZRANGEBYSCORE and the like do: the whole string must be one C floating-point number
/// (decimal, hexadecimal or any case of `inf`/`infinity`). Refused: leading or trailing spaces, NaN, and numbers
/// that overflow to infinity or vanish to zero; subnormal results pass.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let (negative, magnitude) = split_sign(text);
    let first = *magnitude.first()?;
    if first == b'0' && matches!(magnitude.get(1), Some(b'x' | b'X')) {
        let value = parse_hex(&magnitude[2..])?.to_f64()?;
        return Some(if negative { -value } else { value });
    }
    if !first.is_ascii_digit() && first != b'.' {
        return is_infinity(magnitude).then_some(if negative {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        });
    }
    // From here on the grammar of C and of the standard library are the same.
    let value: f64 = std::str::from_utf8(magnitude).ok()?.parse().ok()?;
    if value.is_infinite() || (value == 0.0 && has_nonzero_digit(magnitude)) {
        return None;
    }
    Some(if negative { -value } else { value })
}

/// Reads a bound of a score range the way Redis does, by C's `strtod` alone: beyond what [`parse_f64`] takes, the empty
/// string is 0, leading spaces pass, what is too large is infinite, what is too small is 0, and a NUL byte ends the
/// text (ZCOUNT, ZRANGEBYSCORE). NaN is refused.
pub fn parse_f64_bound(text: &[u8]) -> Option<f64> {
    if let Some(value) = parse_f64(text) {
        return Some(value);
    }
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    let text = &text[..end];
    if text.is_empty() {
        return Some(0.0);
    }
    let spaces = text.iter().take_while(|byte| is_c_space(**byte)).count();
    let text = &text[spaces..];
    if let Some(value) = parse_f64(text) {
        return Some(value);
    }
    // What is left is wrong, or a number out of range.
    let (negative, magnitude) = split_sign(text);
    let value = match magnitude {
        [b'0', b'x' | b'X', digits @ ..] => {
            let parsed = parse_hex(digits)?;
            // Where rounding gave no double, the exponent tells on which side.
            if parsed.exponent > 0 {
                f64::INFINITY
            } else {
                0.0
            }
        }
        [b'0'..=b'9' | b'.', ..] => std::str::from_utf8(magnitude).ok()?.parse().ok()?,
        _ => return None,
    };
    Some(if negative { -value } else { value })
}

/// The integer a double stands for, when it stands for one within +-2^62. Scores of that kind print as integers and
/// are stored as integers in a listpack (Redis: double2ll).
pub fn f64_as_i64(value: f64) -> Option<i64> {
    const LIMIT: f64 = (1_u64 << 62) as f64;
    if !(-LIMIT..=LIMIT).contains(&value) {
        return None;
    }
    let integer = value as i64;
    (integer as f64 == value).then_some(integer)
}

/// The decimal text of an integer.
pub fn format_i64(value: i64) -> NumberText {
    NumberText::from_bytes(itoa::Buffer::new().format(value).as_bytes())
}

/// The decimal text of an unsigned integer.
pub fn format_u64(value: u64) -> NumberText {
    NumberText::from_bytes(itoa::Buffer::new().format(value).as_bytes())
}

/// Appends the decimal text of an integer: the form for replies and protocol headers.
pub fn append_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The text of a double as Redis 7.2 replies it (ZSCORE, 7.2): integers in full, else the shortest digits that read
/// back the same, as a plain fraction for moderate exponents and as `1.5e+300` otherwise.
pub fn format_f64(value: f64) -> NumberText {
    if value.is_nan() {
        return NumberText::from_bytes(b"nan");
    }
    if value.is_infinite() {
        return NumberText::from_bytes(if value < 0.0 { b"-inf" } else { b"inf" });
    }
    if value == 0.0 {
        return NumberText::from_bytes(if value.is_sign_negative() {
            b"-0"
        } else {
            b"0"
        });
    }
    if let Some(integer) = f64_as_i64(value) {
        return format_i64(integer);
    }
    format_f64_digits(value)
}

/// The same without the exception for integers: large ones are `1e+17` (DEBUG DIGEST, 7.2).
pub fn format_f64_shortest(value: f64) -> NumberText {
    if value.is_finite() && value != 0.0 {
        format_f64_digits(value)
    } else {
        format_f64(value)
    }
}

fn format_f64_digits(value: f64) -> NumberText {
    let mut buffer = zmij::Buffer::new();
    let (digits, exponent) = ShortDigits::of_text(buffer.format_finite(value.abs()).as_bytes());
    let mut text = NumberText::new();
    if value < 0.0 {
        text.push(b'-');
    }
    format_f64_lay_out(&mut text, digits.as_bytes(), exponent);
    text
}

/// Lays out `digits * 10^exponent` as fpconv does. Its rule mixes the position of the point with the number of
/// digits, which is why 1234.5678901 is plain and 12345.6789012 is `1.23456789012e+4`.
fn format_f64_lay_out(text: &mut NumberText, digits: &[u8], exponent: i32) {
    let count = digits.len() as i32;
    let scientific = exponent + count - 1;
    if exponent >= 0 && scientific.abs() < count + 7 {
        text.push_all(digits);
        text.push_zeros(exponent as usize);
    } else if exponent < 0 && (exponent > -7 || scientific.abs() < 4) {
        let point = count + exponent;
        if point <= 0 {
            text.push_all(b"0.");
            text.push_zeros(-point as usize);
            text.push_all(digits);
        } else {
            text.push_all(&digits[..point as usize]);
            text.push(b'.');
            text.push_all(&digits[point as usize..]);
        }
    } else {
        text.push(digits[0]);
        if digits.len() > 1 {
            text.push(b'.');
            text.push_all(&digits[1..]);
        }
        text.push(b'e');
        text.push(if scientific < 0 { b'-' } else { b'+' });
        text.push_all(itoa::Buffer::new().format(scientific.abs()).as_bytes());
    }
}

/// The significant digits of a double, without zeros at either end.
struct ShortDigits(NumberText);

impl ShortDigits {
    /// Takes the digits and the power of ten out of a text in any plain or scientific layout.
    fn of_text(text: &[u8]) -> (ShortDigits, i32) {
        let mut digits = NumberText::new();
        let mut exponent = 0;
        let mut after_point = false;
        let mut zeros_held = 0;
        let mut bytes = text.iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'.' => after_point = true,
                b'e' | b'E' => {
                    exponent += exponent_of(bytes.as_slice());
                    break;
                }
                _ => {
                    exponent -= i32::from(after_point);
                    if byte == b'0' {
                        // Zeros count only once a later digit shows that they stand inside the number.
                        zeros_held += i32::from(digits.len > 0);
                    } else {
                        digits.push_zeros(zeros_held as usize);
                        zeros_held = 0;
                        digits.push(byte);
                    }
                }
            }
        }
        (ShortDigits(digits), exponent + zeros_held)
    }

    fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn exponent_of(text: &[u8]) -> i32 {
    let (negative, digits) = split_sign(text);
    let magnitude = digits
        .iter()
        .fold(0, |sum, byte| sum * 10 + i32::from(byte - b'0'));
    if negative { -magnitude } else { magnitude }
}

/// A hexadecimal floating-point number: `significand * 2^exponent`, plus a little when `inexact`.
/// The significand is zero or has its top bit set.
#[derive(Clone, Copy)]
pub(super) struct HexFloat {
    pub(super) significand: u128,
    pub(super) exponent: i64,
    pub(super) inexact: bool,
}

impl HexFloat {
    /// Rounds to the nearest double, ties to even; None on overflow and on underflow to zero.
    fn to_f64(self) -> Option<f64> {
        if self.significand == 0 {
            return Some(0.0);
        }
        // The significand is 1.xxx * 2^(exponent + 127). Below 2^-1022 fewer than 53 bits remain.
        let power = self.exponent + 127;
        if power > 1023 {
            return None;
        }
        let bits = (53 + (power + 1022).min(0)).max(-1);
        if bits < 0 {
            return None;
        }
        let kept = round_half_even(self.significand, 128 - bits as u32, self.inexact) as u64;
        let low_power = (power + 1 - bits) as i32;
        // Two steps, because 2^-1074 alone is out of reach of a normal factor; both products are exact.
        let value =
            (kept as f64) * power_of_two(low_power / 2) * power_of_two(low_power - low_power / 2);
        (value.is_finite() && value != 0.0).then_some(value)
    }
}

/// `2^power` for powers whose result is a normal double.
fn power_of_two(power: i32) -> f64 {
    f64::from_bits(((power + 1023) as u64) << 52)
}

/// Drops the low `drop` bits (at most 128), rounding to nearest and ties to even; `inexact` says that more nonzero
/// bits follow below.
pub(super) fn round_half_even(value: u128, drop: u32, inexact: bool) -> u128 {
    if drop == 0 {
        return value;
    }
    let kept = value.checked_shr(drop).unwrap_or(0);
    let half = 1_u128 << (drop - 1);
    let rest = if drop == 128 {
        value
    } else {
        value & ((1 << drop) - 1)
    };
    let up = rest > half || (rest == half && (inexact || kept & 1 == 1));
    kept + u128::from(up)
}

/// Reads what follows `0x`: hexadecimal digits with at most one point, then an optional binary exponent.
pub(super) fn parse_hex(text: &[u8]) -> Option<HexFloat> {
    let mut significand: u128 = 0;
    let mut exponent: i64 = 0;
    let mut inexact = false;
    let (mut digits_seen, mut after_point) = (false, false);
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'.' && !after_point {
            after_point = true;
        } else if let Some(digit) = (byte as char).to_digit(16) {
            digits_seen = true;
            if significand >> 124 == 0 {
                significand = significand << 4 | u128::from(digit);
                exponent -= if after_point { 4 } else { 0 };
            } else {
                inexact |= digit != 0;
                exponent += if after_point { 0 } else { 4 };
            }
        } else {
            break;
        }
        rest = tail;
    }
    if !digits_seen {
        return None;
    }
    if let Some((&mark, tail)) = rest.split_first() {
        if mark != b'p' && mark != b'P' {
            return None;
        }
        exponent += parse_exponent(tail)?;
    }
    let shift = significand.leading_zeros();
    if significand != 0 {
        significand <<= shift;
        exponent -= i64::from(shift);
    }
    Some(HexFloat {
        significand,
        exponent,
        inexact,
    })
}

/// Reads an optional sign and at least one digit; values beyond any exponent's use are clamped, not refused.
pub(super) fn parse_exponent(text: &[u8]) -> Option<i64> {
    const CLAMP: i64 = 1 << 40;
    let (negative, digits) = split_sign(text);
    if digits.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = (value * 10 + i64::from(byte - b'0')).min(CLAMP);
    }
    Some(if negative { -value } else { value })
}

/// Splits one leading sign off: (is it negative, the rest).
pub(super) fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

/// Whether the text is `inf` or `infinity` in any case.
pub(super) fn is_infinity(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity")
}

/// Whether the significand of a decimal number has a digit other than zero.
fn has_nonzero_digit(text: &[u8]) -> bool {
    text.iter()
        .take_while(|byte| !matches!(byte, b'e' | b'E'))
        .any(|byte| matches!(byte, b'1'..=b'9'))
}

/// What C's `isspace` accepts in the default locale.
fn is_c_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_exactly_one_spelling() {
        for value in [0, 1, -1, 42, i64::MAX, i64::MIN, -9_223_372_036_854_775_807] {
            assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
            assert_eq!(format_i64(value).as_bytes(), value.to_string().as_bytes());
        }
        let refused = [
            "",
            "-",
            "+1",
            " 1",
            "1 ",
            "01",
            "-0",
            "00",
            "1a",
            "a",
            "--1",
            "-01",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "184467440737095516150",
        ];
        for text in refused {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"1844674407370955161x"), None);
        assert_eq!(format_u64(u64::MAX).as_bytes(), b"18446744073709551615");
        let mut out = b":".to_vec();
        append_i64(&mut out, -7);
        assert_eq!(out, b":-7");
    }

    #[test]
    fn stream_ids_are_read_with_the_rules_of_strtoull() {
        let cases: [(&str, Option<u64>); 11] = [
            ("5", Some(5)),
            ("007", Some(7)),
            ("+5", Some(5)),
            (" 5", Some(5)),
            ("-5", None),
            ("-05", Some(u64::MAX - 4)),
            ("", None),
            ("-", None),
            ("5 ", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
        ];
        for (text, value) in cases {
            assert_eq!(parse_u64_loose(text.as_bytes()), value, "{text}");
        }
    }

    /// Each case was seen on a Redis server through ZADD.
    #[test]
    fn doubles_are_accepted_and_refused_as_by_zadd() {
        let accepted: [(&str, f64); 21] = [
            ("0x10", 16.0),
            ("0x1p3", 8.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("+5", 5.0),
            ("inf", f64::INFINITY),
            ("+Infinity", f64::INFINITY),
            ("-iNf", f64::NEG_INFINITY),
            ("1e-310", 1e-310),
            ("5e-324", 5e-324),
            ("0e-400", 0.0),
            ("0e99999999999999999999", 0.0),
            ("0x1.8p1", 3.0),
            ("+0x.8", 0.5),
            ("0X1P+3", 8.0),
            ("0x1p-1074", 5e-324),
            ("0x1.8p-1074", 1e-323),
            ("0x1p-1070", 8e-323),
            ("0x1.fffffffffffff8p0", 2.0),
            ("0x1.00000000000008p0", 1.0),
            ("0x0p0", 0.0),
        ];
        for (text, value) in accepted {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
        }
        let refused = [
            "",
            " 1",
            "1 ",
            "1e400",
            "-1e400",
            "1e-400",
            "nan",
            "-nan",
            "nan(1)",
            "1e",
            "--5",
            "infinit",
            "0x",
            "1_0",
            ".",
            "+.e1",
            "1e5 ",
            "0x1p1024",
            "0x1p-1080",
            "0x1p-1075",
            "0x1p",
            "0x.p1",
            "1e+",
            "+-5",
            "e5",
            "0x1.8.1",
            "\u{e9}",
        ];
        for text in refused {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
        assert!(parse_f64(b"-0").is_some_and(|zero| zero == 0.0 && zero.is_sign_negative()));
    }

    /// Each case was seen on a Redis server through ZCOUNT.
    #[test]
    fn bounds_of_ranges_are_read_as_by_strtod() {
        let accepted: [(&str, f64); 9] = [
            ("", 0.0),
            ("  5", 5.0),
            ("1e400", f64::INFINITY),
            ("-1e400", f64::NEG_INFINITY),
            ("1e-400", 0.0),
            ("0x1p2000", f64::INFINITY),
            ("0x1p-2000", 0.0),
            ("5\0x", 5.0),
            ("-inf", f64::NEG_INFINITY),
        ];
        for (text, value) in accepted {
            assert_eq!(parse_f64_bound(text.as_bytes()), Some(value), "{text:?}");
        }
        for text in [
            " ", "5 ", "nan", "-nan", "x", "+", "-", "1e", ".", "0x", "((5",
        ] {
            assert_eq!(parse_f64_bound(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn doubles_print_in_the_layout_of_redis_7_2() {
        let cases: [(f64, &str); 29] = [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (1e20, "1e+20"),
            (1e-7, "1e-7"),
            (1e-6, "0.000001"),
            (1.5e-7, "1.5e-7"),
            (1.5e300, "1.5e+300"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (4611686018427387904.0, "4611686018427387904"),
            (4611686018427388928.0, "4611686018427389000"),
            (1e19, "1e+19"),
            (1.234567890123e20, "1.234567890123e+20"),
            (12345.6789012, "1.23456789012e+4"),
            (1234.5678901, "1234.5678901"),
            (0.30000000000000004, "0.30000000000000004"),
            (-3.25, "-3.25"),
            (5e-324, "5e-324"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (123456789012345680000.0, "123456789012345680000"),
            (0.00012345678901, "1.2345678901e-4"),
            (0.0012345678901, "0.0012345678901"),
            (0.000012345678901, "1.2345678901e-5"),
            (1e100, "1e+100"),
            (2.7, "2.7"),
        ];
        for (value, text) in cases {
            assert_eq!(String::from_utf8_lossy(&format_f64(value)), text);
        }
    }

    #[test]
    fn every_printed_double_reads_back_as_itself() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..50_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits(state);
            if value.is_finite() {
                assert_eq!(parse_f64(&format_f64(value)), Some(value));
            }
            let small = (state >> 40) as f64 / 1000.0;
            assert_eq!(parse_f64(&format_f64(small)), Some(small));
        }
    }

    #[test]
    fn scores_that_are_integers_are_known_as_such() {
        assert_eq!(f64_as_i64(-0.0), Some(0));
        assert_eq!(f64_as_i64(-4611686018427387904.0), Some(-(1 << 62)));
        assert_eq!(f64_as_i64(4611686018427388928.0), None);
        assert_eq!(f64_as_i64(1.5), None);
        assert_eq!(f64_as_i64(f64::NAN), None);
        assert_eq!(f64_as_i64(f64::INFINITY), None);
    }
}
