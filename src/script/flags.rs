//! The first line of a script (`#!lua flags=no-writes`) and the flags of scripts and functions.

use crate::base::words::split;

/// What a script declares about itself.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u8);

impl Flags {
    /// It writes nothing.
    pub const NO_WRITES: Flags = Flags(1);
    /// It may run while memory is used up.
    pub const ALLOW_OOM: Flags = Flags(2);
    /// It may run on a replica that lost its primary.
    pub const ALLOW_STALE: Flags = Flags(4);
    /// It may not run in cluster mode.
    pub const NO_CLUSTER: Flags = Flags(8);
    /// It may touch keys of several slots.
    pub const ALLOW_CROSS_SLOT: Flags = Flags(16);
    /// It declares nothing: a script without a first line of that kind.
    pub const COMPATIBLE: Flags = Flags(32);

    /// The words, in the order in which FUNCTION LIST shows them.
    const WORDS: [(&'static str, Flags); 5] = [
        ("no-writes", Flags::NO_WRITES),
        ("allow-oom", Flags::ALLOW_OOM),
        ("allow-stale", Flags::ALLOW_STALE),
        ("no-cluster", Flags::NO_CLUSTER),
        ("allow-cross-slot-keys", Flags::ALLOW_CROSS_SLOT),
    ];

    /// The flag of that name.
    pub fn of_word(word: &[u8]) -> Option<Flags> {
        let (_, flag) = Self::WORDS
            .iter()
            .find(|(known, _)| known.as_bytes() == word)?;
        Some(*flag)
    }

    /// Whether it has all of these.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether it has any of these.
    pub const fn any(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// The words of those that are set.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Self::WORDS
            .iter()
            .filter(move |(_, flag)| self.has(*flag))
            .map(|(word, _)| *word)
    }
}

impl std::fmt::Debug for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.words()).finish()
    }
}

/// What the first line of a script says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shebang {
    /// The flags.
    pub flags: Flags,
    /// How many bytes of the script it takes; the line feed stays, so that lines keep their numbers.
    pub length: usize,
}

impl Shebang {
    /// Reads the first line of a script for EVAL; gives the text of the error otherwise.
    pub fn of_script(body: &[u8]) -> Result<Shebang, Vec<u8>> {
        if !body.starts_with(b"#!") {
            return Ok(Shebang {
                flags: Flags::COMPATIBLE,
                length: 0,
            });
        }
        let length = memchr::memchr(b'\n', body).ok_or(&b"Invalid script shebang"[..])?;
        let words = split(&body[..length]).unwrap_or_default();
        let Some((engine, options)) = words.split_first() else {
            return Err(b"Invalid engine in script shebang".to_vec());
        };
        if engine != b"#!lua" {
            return Err([b"Unexpected engine in script shebang: ", &engine[..]].concat());
        }
        let mut flags = Flags::default();
        for option in options {
            let Some(list) = option.strip_prefix(b"flags=") else {
                return Err([b"Unknown lua shebang option: ", &option[..]].concat());
            };
            if list.is_empty() {
                continue;
            }
            for word in list.split(|byte| *byte == b',') {
                match Flags::of_word(word) {
                    Some(flag) => flags = flags.and(flag),
                    None => return Err([b"Unexpected flag in script shebang: ", word].concat()),
                }
            }
        }
        Ok(Shebang { flags, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_gives_flags_and_its_length() {
        let plain = Shebang::of_script(b"return 1").unwrap();
        assert_eq!((plain.flags, plain.length), (Flags::COMPATIBLE, 0));
        let script = b"#!lua flags=no-writes,allow-oom\nreturn 1";
        let found = Shebang::of_script(script).unwrap();
        assert_eq!(found.flags, Flags::NO_WRITES.and(Flags::ALLOW_OOM));
        assert_eq!(&script[found.length..], b"\nreturn 1");
        assert_eq!(
            Shebang::of_script(b"#!lua\n").unwrap().flags,
            Flags::default()
        );
    }

    #[test]
    fn a_first_line_that_asks_for_something_else_is_refused() {
        for (script, text) in [
            ("#!lua", "Invalid script shebang"),
            (
                "#!not-lua\n",
                "Unexpected engine in script shebang: #!not-lua",
            ),
            (
                "#!lua badger=data\n",
                "Unknown lua shebang option: badger=data",
            ),
            (
                "#!lua flags=bad\n",
                "Unexpected flag in script shebang: bad",
            ),
        ] {
            let error = Shebang::of_script(script.as_bytes()).unwrap_err();
            assert_eq!(String::from_utf8(error).unwrap(), text);
        }
    }
}
