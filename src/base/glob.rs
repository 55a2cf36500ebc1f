//! Glob patterns as KEYS, SCAN MATCH, PSUBSCRIBE and CONFIG GET read them.
//!
//! The language is small (`*`, `?`, `[a-c]`, `[^a]`, `\x`) and its corners are part of what clients see, so they are
//! kept as Redis 7.2 has them: an unclosed class reaches to the end of the pattern, `[z-a]` equals `[a-z]`, an escaped
//! character inside a class is compared with its case even when case is to be ignored, bytes above 127 sort below the
//! others in a range, and nothing but the empty pattern matches the empty string.
//!
//! The matcher goes back to the last `*` only. That is enough, because what stands between two stars has a fixed
//! length, so the leftmost place where it matches is as good as any later one; a matcher that goes back to every star
//! takes exponential time on `a*a*a*b`. Work is at most the product of both lengths, and there is no recursion that a
//! pattern could drive into the end of the stack.

/// Whether `string` matches `pattern`; `ignore_case` folds ASCII letters.
pub fn matches(pattern: &[u8], string: &[u8], ignore_case: bool) -> bool {
    if string.is_empty() {
        return pattern.is_empty();
    }
    let (mut at_pattern, mut at_string) = (0, 0);
    // Where to go on after a mismatch: the pattern behind the last star, and the string from which it was tried.
    let mut last_star: Option<(usize, usize)> = None;
    loop {
        if at_pattern < pattern.len() && pattern[at_pattern] == b'*' && at_string < string.len() {
            at_pattern = skip_stars(pattern, at_pattern);
            if at_pattern == pattern.len() {
                return true;
            }
            last_star = Some((at_pattern, at_string));
            continue;
        }
        if at_string == string.len() {
            if skip_stars(pattern, at_pattern) == pattern.len() {
                return true;
            }
        } else if let Some(next) = step(pattern, at_pattern, string[at_string], ignore_case) {
            at_pattern = next;
            at_string += 1;
            continue;
        }
        match last_star {
            Some((after_star, from)) if from + 1 < string.len() => {
                last_star = Some((after_star, from + 1));
                (at_pattern, at_string) = (after_star, from + 1);
            }
            _ => return false,
        }
    }
}

/// Whether `text` holds a character that makes CONFIG GET (and `include`) treat it as a pattern.
pub fn is_pattern(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

fn skip_stars(pattern: &[u8], mut at: usize) -> usize {
    while pattern.get(at) == Some(&b'*') {
        at += 1;
    }
    at
}

fn fold(byte: u8, ignore_case: bool) -> u8 {
    if ignore_case {
        byte.to_ascii_lowercase()
    } else {
        byte
    }
}

/// Matches one character against the element at `at`; the place behind that element when it fits.
fn step(pattern: &[u8], at: usize, byte: u8, ignore_case: bool) -> Option<usize> {
    let same = |wanted: u8| fold(wanted, ignore_case) == fold(byte, ignore_case);
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => {
            let (fits, next) = class(pattern, at + 1, byte, ignore_case);
            fits.then_some(next)
        }
        b'\\' if at + 1 < pattern.len() => same(pattern[at + 1]).then_some(at + 2),
        plain => same(plain).then_some(at + 1),
    }
}

/// Reads the class that opens before `at`: whether `byte` is in it, and the place behind its closing bracket.
fn class(pattern: &[u8], mut at: usize, byte: u8, ignore_case: bool) -> (bool, usize) {
    let negated = pattern.get(at) == Some(&b'^');
    if negated {
        at += 1;
    }
    let mut found = false;
    while at < pattern.len() {
        let rest = &pattern[at..];
        if rest[0] == b'\\' && rest.len() >= 2 {
            found |= rest[1] == byte;
            at += 2;
        } else if rest[0] == b']' {
            at += 1;
            break;
        } else if rest.len() >= 3 && rest[1] == b'-' {
            found |= in_range(rest[0], rest[2], byte, ignore_case);
            at += 3;
        } else {
            found |= fold(rest[0], ignore_case) == fold(byte, ignore_case);
            at += 1;
        }
    }
    (found != negated, at)
}

/// The bounds are put in order before their case is folded, and compared as signed bytes: both as Redis does on x86.
fn in_range(first: u8, last: u8, byte: u8, ignore_case: bool) -> bool {
    let signed = |byte: u8| byte as i8;
    let (low, high) = if signed(first) > signed(last) {
        (last, first)
    } else {
        (first, last)
    };
    let [low, high, byte] = [low, high, byte].map(|byte| signed(fold(byte, ignore_case)));
    (low..=high).contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(pattern: &str, string: &str) -> bool {
        matches(pattern.as_bytes(), string.as_bytes(), false)
    }

    #[test]
    fn plain_characters_stars_and_question_marks() {
        for (pattern, string) in [
            ("abc", "abc"),
            ("a*", "a"),
            ("a***", "a"),
            ("*", "x"),
            ("h?llo", "hallo"),
            ("h*llo", "heeeello"),
            ("*a*b*c*", "xxaxxbxxcxx"),
            ("a*a*a*b", "aaaab"),
            ("", ""),
        ] {
            assert!(hit(pattern, string), "{pattern} against {string}");
        }
        for (pattern, string) in [
            ("abc", "abd"),
            ("abc", "ab"),
            ("ab", "abc"),
            ("h?llo", "hllo"),
            ("*a", "b"),
            ("a*?", "a"),
            ("", "a"),
        ] {
            assert!(!hit(pattern, string), "{pattern} against {string}");
        }
    }

    #[test]
    fn nothing_but_the_empty_pattern_matches_the_empty_string() {
        assert!(!hit("*", ""));
        assert!(!hit("**", ""));
    }

    #[test]
    fn classes_ranges_and_negation() {
        for (pattern, string) in [
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            ("[\\]]", "]"),
            ("[a", "a"),
            ("[abc", "c"),
            ("[^", "x"),
            ("[a-]", "a"),
            ("x[]y", "x"),
        ] {
            let expected = pattern != "x[]y";
            assert_eq!(hit(pattern, string), expected, "{pattern} against {string}");
        }
        assert!(!hit("h[^e]llo", "hello"));
        assert!(!hit("[", "["));
        assert!(!hit("[]", "]"));
    }

    #[test]
    fn escapes_take_the_next_character_literally() {
        assert!(hit("a\\*b", "a*b"));
        assert!(!hit("a\\*b", "axb"));
        assert!(
            hit("a\\", "a\\"),
            "a backslash at the end stands for itself"
        );
        assert!(hit("\\a", "a"));
    }

    #[test]
    fn case_is_folded_except_for_escapes_inside_a_class() {
        let hit = |pattern: &[u8], string: &[u8]| matches(pattern, string, true);
        assert!(hit(b"HeLLo", b"hEllO"));
        assert!(hit(b"[A-C]x", b"bX"));
        assert!(hit(b"[AB]", b"b"));
        assert!(!hit(b"[\\A]", b"a"));
        assert!(hit(b"\\A", b"a"));
    }

    #[test]
    fn bytes_above_127_sort_below_the_others_in_a_range() {
        assert!(matches(b"[\xff-a]", b"\x00", false));
        assert!(
            !matches(b"[a-\xff]", b"z", false),
            "the range is turned round: 0xff..a"
        );
        assert!(matches(b"[\x80-\xff]", b"\xc3", false));
    }

    #[test]
    fn a_hostile_pattern_takes_bounded_work() {
        let pattern = "a*".repeat(500) + "b";
        let string = "a".repeat(20_000);
        assert!(!hit(&pattern, &string));
        assert!(!hit(&("*?".repeat(10_000) + "b"), &string[..15_000]));
    }

    #[test]
    fn the_matcher_agrees_with_the_definition_on_random_patterns() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = |bound: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % bound
        };
        let alphabet = b"ab*?[]^-\\c";
        for _ in 0..200_000 {
            let pattern: Vec<u8> = (0..draw(8)).map(|_| alphabet[draw(10) as usize]).collect();
            let string: Vec<u8> = (0..draw(6)).map(|_| alphabet[draw(10) as usize]).collect();
            let expected = if string.is_empty() {
                pattern.is_empty()
            } else {
                definition(&pattern, &string)
            };
            assert_eq!(
                matches(&pattern, &string, false),
                expected,
                "{pattern:?} against {string:?}"
            );
        }
    }

    /// Full backtracking, for comparison. A star inside the string must leave at least one character behind it unless
    /// it ends the pattern.
    fn definition(pattern: &[u8], string: &[u8]) -> bool {
        if string.is_empty() {
            return pattern.iter().all(|byte| *byte == b'*');
        }
        if pattern.first() == Some(&b'*') {
            let rest = &pattern[skip_stars(pattern, 0)..];
            return rest.is_empty()
                || (0..string.len()).any(|from| definition(rest, &string[from..]));
        }
        step(pattern, 0, string[0], false)
            .is_some_and(|next| definition(&pattern[next..], &string[1..]))
    }
}
