//! The 80-bit floating-point number of x86, in software: what INCRBYFLOAT and HINCRBYFLOAT calculate with.
//!
//! Redis adds in C's `long double` and prints `%.17Lf` without trailing zeros, so `0.1 + 0.2` answers `0.3` where
//! doubles would answer 0.30000000000000004. Rust has no such type; here are the few operations those commands
//! need, with the bits x87 gives: every result is the exact one rounded once, to nearest and ties to even, to a
//! 64-bit significand. Double-double arithmetic was rejected: it is as long and only nearly the same.
//!
//! Short numbers, the usual case, stay within `u128`; long ones go through a plain big integer.

use super::number::{
    HexFloat, is_infinity, parse_exponent, parse_hex, parse_i64, round_half_even, split_sign,
};

/// A finite or infinite number: `significand * 2^exponent`. There is no NaN: what would give one gives None.
///
/// Invariant: the significand's top bit is set, or the exponent is `EXPONENT_MIN` (subnormal), or the number is zero
/// (then the exponent is `EXPONENT_MIN` too) or infinite (exponent above `EXPONENT_MAX`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    significand: u64,
    exponent: i32,
}

const EXPONENT_MIN: i32 = -16_445;
const EXPONENT_MAX: i32 = 16_320;
const EXPONENT_INFINITE: i32 = EXPONENT_MAX + 1;

/// Longest text that Redis reads as a long double (MAX_LONG_DOUBLE_CHARS with its final zero byte).
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// Digits after the point in the text of a long double.
const FRACTION_DIGITS: usize = 17;
const FRACTION_SCALE: u128 = 10_u128.pow(FRACTION_DIGITS as u32);

impl LongDouble {
    const ZERO: LongDouble = LongDouble {
        negative: false,
        significand: 0,
        exponent: EXPONENT_MIN,
    };

    /// Reads a number as INCRBYFLOAT does: one whole C floating-point number, decimal, hexadecimal or any case of
    /// `inf`. Refused: spaces around it, NaN, 5120 bytes or more, overflow, and underflow to zero.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if let Some(integer) = parse_i64(text) {
            return Some(LongDouble::from_i64(integer));
        }
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, magnitude) = split_sign(text);
        let value = match magnitude {
            [b'0', b'x' | b'X', rest @ ..] => {
                let HexFloat {
                    significand,
                    exponent,
                    inexact,
                } = parse_hex(rest)?;
                LongDouble::round(significand, exponent, inexact)
            }
            [b'0'..=b'9' | b'.', ..] => LongDouble::parse_decimal(magnitude)?,
            _ if is_infinity(magnitude) => {
                return Some(LongDouble {
                    negative,
                    significand: 1 << 63,
                    exponent: EXPONENT_INFINITE,
                });
            }
            _ => return None,
        };
        let vanished = value.significand == 0 && LongDouble::has_nonzero_digit(magnitude);
        if value.is_infinite() || vanished {
            return None;
        }
        Some(LongDouble { negative, ..value })
    }

    /// The number of an integer, exactly.
    pub fn from_i64(value: i64) -> LongDouble {
        LongDouble {
            negative: value < 0,
            ..LongDouble::round(u128::from(value.unsigned_abs()), 0, false)
        }
    }

    /// The number of a double, exactly; None for NaN.
    pub fn from_f64(value: f64) -> Option<LongDouble> {
        if value.is_nan() {
            return None;
        }
        let negative = value.is_sign_negative();
        if value.is_infinite() {
            return Some(LongDouble {
                negative,
                significand: 1 << 63,
                exponent: EXPONENT_INFINITE,
            });
        }
        let bits = value.to_bits();
        let (fraction, power) = (bits & ((1 << 52) - 1), (bits >> 52 & 0x7ff) as i64);
        let significand = if power == 0 {
            fraction
        } else {
            fraction | 1 << 52
        };
        Some(LongDouble {
            negative,
            ..LongDouble::round(u128::from(significand), power.max(1) - 1075, false)
        })
    }

    /// Whether the number is one of the two infinities.
    pub fn is_infinite(self) -> bool {
        self.exponent > EXPONENT_MAX
    }

    /// Whether the number is below zero; a negative zero is not.
    pub fn is_negative(self) -> bool {
        self.negative && self.significand != 0
    }

    /// The sum, or None where Redis answers that the result would be NaN or infinity.
    pub fn checked_add(self, other: LongDouble) -> Option<LongDouble> {
        if self.is_infinite() || other.is_infinite() {
            return None;
        }
        let (large, small) =
            if (self.exponent, self.significand) >= (other.exponent, other.significand) {
                (self, other)
            } else {
                (other, self)
            };
        // 63 bits below the larger significand. Bits that fall off even there are folded into the lowest one, which
        // rounding never sees as more than "a little": a difference that far apart loses at most one leading bit.
        let distance = (large.exponent - small.exponent) as u32;
        let wide_large = u128::from(large.significand) << 63;
        let wide_small = u128::from(small.significand) << 63;
        let shifted = wide_small.checked_shr(distance).unwrap_or(0);
        let lost = shifted.checked_shl(distance).unwrap_or(0) != wide_small;
        let shifted = shifted | u128::from(lost);
        let same_sign = large.negative == small.negative;
        let wide = if same_sign {
            wide_large + shifted
        } else {
            wide_large - shifted
        };
        let sum = LongDouble::round(wide, i64::from(large.exponent) - 63, false);
        let negative = if wide == 0 {
            large.negative && small.negative
        } else {
            large.negative
        };
        (!sum.is_infinite()).then_some(LongDouble { negative, ..sum })
    }

    /// The product with a small integer, rounded once; overflow gives infinity. (BLPOP and others turn seconds into
    /// milliseconds this way.)
    pub fn times(self, factor: u32) -> LongDouble {
        if self.is_infinite() {
            return self;
        }
        let product = u128::from(self.significand) * u128::from(factor);
        LongDouble {
            negative: self.negative,
            ..LongDouble::round(product, i64::from(self.exponent), false)
        }
    }

    /// The least integer not below the number, or None outside the range of `i64`.
    pub fn ceil_to_i64(self) -> Option<i64> {
        let (whole, has_fraction) = match self.exponent {
            exponent if exponent > 0 => return None,
            exponent if exponent > -64 => {
                let whole = self.significand >> -exponent;
                (whole, whole << -exponent != self.significand)
            }
            _ => (0, self.significand != 0),
        };
        let whole = i128::from(whole);
        let ceiling = match (self.negative, has_fraction) {
            (true, _) => -whole,
            (false, true) => whole + 1,
            (false, false) => whole,
        };
        i64::try_from(ceiling).ok()
    }

    /// The text as INCRBYFLOAT replies and stores it: in full, never scientific, at most 17 digits after the point
    /// and none of them a trailing zero. `inf` and `-inf` for the infinities.
    pub fn to_text(self) -> Vec<u8> {
        let mut text = Vec::with_capacity(40);
        if self.negative {
            text.push(b'-');
        }
        if self.is_infinite() {
            text.extend_from_slice(b"inf");
            return text;
        }
        let (whole, fraction) = self.split_rounded();
        match whole {
            Whole::Small(value) => text.extend_from_slice(value.to_string().as_bytes()),
            Whole::Large => {
                let mut big = Big::from_u128(u128::from(self.significand));
                big.shift_left(self.exponent as usize);
                big.append_decimal(&mut text);
            }
        }
        if fraction != 0 {
            text.push(b'.');
            text.extend_from_slice(format!("{fraction:017}").trim_end_matches('0').as_bytes());
        }
        if text == b"-0" {
            text.remove(0);
        }
        text
    }

    /// The whole part and the fraction in units of 10^-17, after rounding to such units.
    fn split_rounded(self) -> (Whole, u128) {
        if self.exponent > 64 {
            return (Whole::Large, 0);
        }
        if self.exponent >= 0 {
            return (
                Whole::Small(u128::from(self.significand) << self.exponent),
                0,
            );
        }
        let shift = -self.exponent as u32;
        let whole = self.significand.checked_shr(shift).unwrap_or(0);
        let below = if shift < 64 {
            self.significand & ((1 << shift) - 1)
        } else {
            self.significand
        };
        // Under 2^121: from a shift of 122 on it is less than half a unit, which rounds to nothing.
        let scaled = u128::from(below) * FRACTION_SCALE;
        let fraction = if shift <= 121 {
            round_half_even(scaled, shift, false)
        } else {
            0
        };
        let carry = fraction / FRACTION_SCALE;
        (
            Whole::Small(u128::from(whole) + carry),
            fraction % FRACTION_SCALE,
        )
    }

    /// Rounds `wide * 2^exponent`, plus a little when `inexact`, to the nearest number of the format.
    fn round(wide: u128, exponent: i64, inexact: bool) -> LongDouble {
        if wide == 0 {
            return LongDouble::ZERO;
        }
        let bits = i64::from(128 - wide.leading_zeros());
        // How many low bits go, so that 64 remain or the smallest exponent is reached.
        let drop = (bits - 64).max(i64::from(EXPONENT_MIN) - exponent);
        if exponent + drop > i64::from(EXPONENT_MAX) {
            return LongDouble::infinite();
        }
        if drop > 128 {
            return LongDouble::ZERO;
        }
        let mut exponent = (exponent + drop) as i32;
        let kept = if drop >= 0 {
            round_half_even(wide, drop as u32, inexact)
        } else {
            wide << -drop
        };
        let mut significand = kept as u64;
        if kept >> 64 != 0 {
            significand = 1 << 63; // rounding carried into a 65th bit
            exponent += 1;
            if exponent > EXPONENT_MAX {
                return LongDouble::infinite();
            }
        }
        LongDouble {
            negative: false,
            significand,
            exponent,
        }
    }

    fn infinite() -> LongDouble {
        LongDouble {
            negative: false,
            significand: 1 << 63,
            exponent: EXPONENT_INFINITE,
        }
    }

    fn parse_decimal(text: &[u8]) -> Option<LongDouble> {
        let mut digits = Vec::with_capacity(text.len());
        let mut exponent: i64 = 0;
        let (mut digits_seen, mut after_point) = (false, false);
        let mut rest = text;
        while let Some((&byte, tail)) = rest.split_first() {
            match byte {
                b'.' if !after_point => after_point = true,
                b'0'..=b'9' => {
                    digits_seen = true;
                    exponent -= i64::from(after_point);
                    if byte != b'0' || !digits.is_empty() {
                        digits.push(byte - b'0');
                    }
                }
                b'e' | b'E' if digits_seen => {
                    exponent += parse_exponent(tail)?;
                    break;
                }
                _ => return None,
            }
            rest = tail;
        }
        if !digits_seen {
            return None;
        }
        while digits.last() == Some(&0) {
            digits.pop();
            exponent += 1;
        }
        Some(LongDouble::from_decimal(&digits, exponent))
    }

    /// The number nearest to the integer of these digits times `10^exponent`.
    fn from_decimal(digits: &[u8], exponent: i64) -> LongDouble {
        if digits.is_empty() {
            return LongDouble::ZERO;
        }
        // The format spans 3.6e-4951 to 1.2e4932; these bounds also keep the big integers small.
        let magnitude = digits.len() as i64 + exponent;
        if magnitude > 4_940 {
            return LongDouble::infinite();
        }
        if magnitude < -4_960 {
            return LongDouble::ZERO;
        }
        if digits.len() <= 38 {
            let integer = digits
                .iter()
                .fold(0_u128, |sum, digit| sum * 10 + u128::from(*digit));
            match exponent {
                0..=19 => {
                    if let Some(product) = integer.checked_mul(10_u128.pow(exponent as u32)) {
                        return LongDouble::round(product, 0, false);
                    }
                }
                -18..0 => {
                    // The divisor has at most 60 bits, so the quotient keeps at least 68.
                    let divisor = 10_u128.pow(-exponent as u32);
                    let shift = integer.leading_zeros();
                    let dividend = integer << shift;
                    let quotient = dividend / divisor;
                    return LongDouble::round(
                        quotient,
                        -i64::from(shift),
                        quotient * divisor != dividend,
                    );
                }
                _ => {}
            }
        }
        LongDouble::from_decimal_big(digits, exponent)
    }

    /// The same by division of big integers, one bit of the quotient at a time.
    fn from_decimal_big(digits: &[u8], exponent: i64) -> LongDouble {
        const QUOTIENT_BITS: usize = 100;
        let mut numerator = Big::from_digits(digits);
        let mut denominator = Big::from_u128(1);
        if exponent >= 0 {
            numerator.multiply_pow10(exponent as usize);
        } else {
            denominator.multiply_pow10(-exponent as usize);
        }
        // Scaled to equal lengths the quotient lies between 1/2 and 2, so its first bit is near the top.
        let scale = numerator.bits() as i64 - denominator.bits() as i64;
        if scale < 0 {
            numerator.shift_left(-scale as usize);
        } else {
            denominator.shift_left(scale as usize);
        }
        let mut quotient: u128 = 0;
        for _ in 0..QUOTIENT_BITS {
            quotient <<= 1;
            if numerator.subtract_if_not_less(&denominator) {
                quotient |= 1;
            }
            numerator.shift_left(1);
        }
        LongDouble::round(
            quotient,
            scale - (QUOTIENT_BITS as i64 - 1),
            !numerator.is_zero(),
        )
    }

    /// Whether the significand part of a decimal or hexadecimal text has a digit other than zero.
    fn has_nonzero_digit(text: &[u8]) -> bool {
        let (digits, stop): (&[u8], &[u8]) = match text {
            [b'0', b'x' | b'X', rest @ ..] => (rest, b"pP"),
            _ => (text, b"eE"),
        };
        digits
            .iter()
            .take_while(|byte| !stop.contains(byte))
            .any(|byte| !matches!(byte, b'0' | b'.'))
    }
}

/// The whole part of a number about to be printed.
enum Whole {
    Small(u128),
    /// Beyond 128 bits: the significand and exponent themselves.
    Large,
}

/// An unsigned integer of any length: 64-bit limbs, lowest first, the last one not zero.
struct Big {
    limbs: Vec<u64>,
}

impl Big {
    fn from_u128(value: u128) -> Big {
        let mut big = Big {
            limbs: vec![value as u64, (value >> 64) as u64],
        };
        big.trim();
        big
    }

    fn from_digits(digits: &[u8]) -> Big {
        let mut big = Big { limbs: Vec::new() };
        for chunk in digits.chunks(19) {
            let value = chunk
                .iter()
                .fold(0_u64, |sum, digit| sum * 10 + u64::from(*digit));
            big.multiply_add(10_u64.pow(chunk.len() as u32), value);
        }
        big
    }

    fn trim(&mut self) {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }

    fn is_zero(&self) -> bool {
        self.limbs.is_empty()
    }

    fn bits(&self) -> usize {
        match self.limbs.last() {
            Some(last) => self.limbs.len() * 64 - last.leading_zeros() as usize,
            None => 0,
        }
    }

    fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = u128::from(addend);
        for limb in &mut self.limbs {
            carry += u128::from(*limb) * u128::from(factor);
            *limb = carry as u64;
            carry >>= 64;
        }
        if carry != 0 {
            self.limbs.push(carry as u64);
        }
    }

    fn multiply_pow10(&mut self, mut power: usize) {
        while power > 0 {
            let step = power.min(19);
            self.multiply_add(10_u64.pow(step as u32), 0);
            power -= step;
        }
    }

    fn shift_left(&mut self, count: usize) {
        let bits = (count % 64) as u32;
        if bits != 0 {
            self.multiply_add(1 << bits, 0);
        }
        if count >= 64 && !self.is_zero() {
            self.limbs.splice(0..0, std::iter::repeat_n(0, count / 64));
        }
    }

    fn subtract_if_not_less(&mut self, other: &Big) -> bool {
        let less = self.limbs.len() < other.limbs.len()
            || (self.limbs.len() == other.limbs.len()
                && self.limbs.iter().rev().lt(other.limbs.iter().rev()));
        if less {
            return false;
        }
        let mut borrow = false;
        for (index, limb) in self.limbs.iter_mut().enumerate() {
            let taken = other.limbs.get(index).copied().unwrap_or(0);
            let (difference, under) = limb.overflowing_sub(taken);
            let (difference, under_again) = difference.overflowing_sub(u64::from(borrow));
            *limb = difference;
            borrow = under || under_again;
        }
        assert!(!borrow, "the larger was subtracted from the smaller");
        self.trim();
        true
    }

    /// Divides in place and returns the remainder.
    fn divide(&mut self, divisor: u64) -> u64 {
        let mut remainder: u128 = 0;
        for limb in self.limbs.iter_mut().rev() {
            let dividend = remainder << 64 | u128::from(*limb);
            *limb = (dividend / u128::from(divisor)) as u64;
            remainder = dividend % u128::from(divisor);
        }
        self.trim();
        remainder as u64
    }

    fn append_decimal(mut self, text: &mut Vec<u8>) {
        const CHUNK: u64 = 10_u64.pow(19);
        let mut chunks = Vec::new();
        while !self.is_zero() {
            chunks.push(self.divide(CHUNK));
        }
        let Some(first) = chunks.pop() else {
            text.push(b'0');
            return;
        };
        text.extend_from_slice(first.to_string().as_bytes());
        for chunk in chunks.iter().rev() {
            text.extend_from_slice(format!("{chunk:019}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(left: &str, right: &str) -> String {
        let left = LongDouble::parse(left.as_bytes()).expect("left parses");
        let right = LongDouble::parse(right.as_bytes()).expect("right parses");
        let sum = left.checked_add(right).expect("sum is finite");
        String::from_utf8(sum.to_text()).expect("text is ASCII")
    }

    /// Each answer was given by INCRBYFLOAT of a Redis server on x86-64.
    #[test]
    fn sums_are_those_of_incrbyfloat() {
        let cases = [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3.0", "1.000000000000000005", "4.00000000000000001"),
            ("-0", "0", "0"),
            ("-0", "-0", "0"),
            ("1e-400", "0", "0"),
            ("1", "-1", "0"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("-9223372036854775808", "0", "-9223372036854775808"),
            ("18446744073709551615", "0.5", "18446744073709551616"),
            ("0x1p-17", "0", "0.00000762939453125"),
            ("1e17", "0.01", "100000000000000000.0078125"),
            ("0.99999999999999999999", "0", "1"),
            ("-0.000000000000000001", "0", "0"),
        ];
        for (left, right, sum) in cases {
            assert_eq!(add(left, right), sum, "{left} + {right}");
        }
    }

    #[test]
    fn what_incrbyfloat_refuses_does_not_parse() {
        for text in [
            "",
            " 1",
            "1 ",
            "nan",
            "-nan",
            "1e",
            "--5",
            "0x",
            ".",
            "e1",
            "1e5000",
            "-1e5000",
            "1e-5000",
            "0x1p-17000",
            "0x1p16384",
            "1.2.3",
            "1_0",
            "1e99999999999999999999",
            "1e-99999999999999999999",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(
            LongDouble::parse(&[b'1'; 4900]).map(|value| value.to_text().len()),
            Some(4900)
        );
        assert_eq!(
            LongDouble::parse(&[b'0'; TEXT_BYTES_MAX]).map(|value| value.to_text()),
            Some(b"0".to_vec())
        );
        assert_eq!(LongDouble::parse(&[b'0'; TEXT_BYTES_MAX + 1]), None);
        let infinite = LongDouble::parse(b"-Infinity").expect("infinity parses");
        assert!(infinite.is_infinite() && infinite.is_negative());
        assert_eq!(infinite.to_text(), b"-inf");
        assert_eq!(infinite.checked_add(LongDouble::ZERO), None);
    }

    #[test]
    fn the_largest_number_does_not_overflow_and_twice_it_does() {
        let largest = LongDouble::parse(b"0x1.fffffffffffffffep16383").expect("the largest number");
        assert_eq!(largest.to_text().len(), 4933);
        assert_eq!(largest.checked_add(largest), None);
        assert_eq!(LongDouble::parse(&largest.to_text()), Some(largest));
        let smallest = LongDouble::parse(b"3.6452e-4951").expect("the smallest number");
        assert_eq!((smallest.significand, smallest.exponent), (1, EXPONENT_MIN));
        assert_eq!(LongDouble::parse(b"1e-4951"), None);
        let twice = smallest.checked_add(smallest).expect("finite");
        assert_eq!((twice.significand, twice.exponent), (2, EXPONENT_MIN));
    }

    #[test]
    fn the_short_and_the_long_way_of_reading_agree() {
        let mut state = 1_u64;
        for round in 0..20_000_u32 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let length = 1 + (state >> 59) as usize % 30;
            let mut digits: Vec<u8> = (0..length)
                .map(|at| (state.rotate_left(at as u32 * 7) % 10) as u8)
                .collect();
            digits[0] = 1 + digits[0] % 9;
            let exponent = i64::from(round % 38) - 18;
            let long = LongDouble::from_decimal_big(&digits, exponent);
            assert_eq!(
                LongDouble::from_decimal(&digits, exponent),
                long,
                "{digits:?} {exponent}"
            );
        }
    }

    #[test]
    fn doubles_convert_exactly() {
        let text = |value: f64| {
            let number = LongDouble::from_f64(value).expect("not NaN");
            String::from_utf8(number.to_text()).expect("text is ASCII")
        };
        assert_eq!(text(13.361_389_338_970_184), "13.36138933897018433");
        assert_eq!(text(-0.0), "0");
        assert_eq!(text(5e-324), "0");
        assert_eq!(text(f64::INFINITY), "inf");
        assert_eq!(text(1e22), "10000000000000000000000");
        assert_eq!(LongDouble::from_f64(f64::NAN), None);
    }

    #[test]
    fn seconds_become_whole_milliseconds_rounded_up() {
        let milliseconds = |text: &[u8]| {
            LongDouble::parse(text)
                .expect("parses")
                .times(1000)
                .ceil_to_i64()
        };
        assert_eq!(milliseconds(b"0.001"), Some(1));
        assert_eq!(milliseconds(b"0.0001"), Some(1));
        assert_eq!(milliseconds(b"1.5"), Some(1500));
        assert_eq!(milliseconds(b"0"), Some(0));
        assert_eq!(milliseconds(b"-0.0015"), Some(-1));
        assert_eq!(
            milliseconds(b"9223372036854775"),
            Some(9_223_372_036_854_775_000)
        );
        assert_eq!(milliseconds(b"9223372036854776"), None);
        assert_eq!(LongDouble::from_i64(i64::MIN).ceil_to_i64(), Some(i64::MIN));
        assert_eq!(milliseconds(b"1e30"), None);
        assert_eq!(milliseconds(b"1e-30"), Some(1));
    }
}
