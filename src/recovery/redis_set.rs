//! The files of Redis: the manifest of its append-only directory.
//!
//! ```text
//! file appendonly.aof.1.base.rdb seq 1 type b
//! file appendonly.aof.1.incr.aof seq 1 type i
//! ```
//!
//! A base, incremental files in the order of their numbers, and files of the past (`h`), which only wait to be deleted.

use crate::base::number::parse_i64;
use crate::base::words::split;

/// The longest line that Redis reads.
const LINE_MAX: usize = 1024;

/// What a manifest of Redis lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisManifest {
    /// The base.
    pub base: Option<String>,
    /// The incremental files in order.
    pub incrementals: Vec<String>,
    /// Whether it lists files of the past.
    pub has_history: bool,
}

impl RedisManifest {
    /// Reads the text. The error is Redis's, with the number of the line.
    pub fn parse(text: &[u8]) -> Result<RedisManifest, (usize, &'static str)> {
        const FORMAT: &str = "Invalid AOF manifest file format";
        if text.is_empty() {
            return Err((0, "Found an empty AOF manifest"));
        }
        let mut manifest = RedisManifest::default();
        let mut last = 0;
        for (at, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let wrong = |reason| (at + 1, reason);
            if line.first() == Some(&b'#') {
                continue;
            }
            if line.last() != Some(&b'\n') || line.len() >= LINE_MAX {
                return Err(wrong("The AOF manifest file contains too long line"));
            }
            let line = line.trim_ascii();
            let words = split(line).ok_or(wrong(FORMAT))?;
            if words.len() < 6 || words.len() % 2 == 1 {
                return Err(wrong(FORMAT));
            }
            let (mut name, mut number, mut kind) = (None, 0, None);
            for pair in words.chunks_exact(2) {
                let (key, value) = (&pair[0], &pair[1]);
                if key.eq_ignore_ascii_case(b"file") {
                    if value.contains(&b'/') || value.is_empty() {
                        return Err(wrong("File can't be a path, just a filename"));
                    }
                    let value = String::from_utf8(value.clone()).map_err(|_| wrong(FORMAT))?;
                    name = Some(value);
                } else if key.eq_ignore_ascii_case(b"seq") {
                    number = parse_i64(value).unwrap_or(0);
                } else if key.eq_ignore_ascii_case(b"type") {
                    kind = value.first().copied();
                }
            }
            let (Some(name), Some(kind)) = (name, kind) else {
                return Err(wrong(FORMAT));
            };
            if number == 0 {
                return Err(wrong(FORMAT));
            }
            match kind {
                b'b' if manifest.base.is_some() => {
                    return Err(wrong("Found duplicate base file information"));
                }
                b'b' => manifest.base = Some(name),
                b'h' => manifest.has_history = true,
                b'i' if number <= last => {
                    return Err(wrong("Found a non-monotonic sequence number"));
                }
                b'i' => {
                    last = number;
                    manifest.incrementals.push(name);
                }
                _ => return Err(wrong("Unknown AOF file type")),
            }
        }
        Ok(manifest)
    }

    /// The files to load, in order.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.base
            .iter()
            .chain(&self.incrementals)
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_lists_its_base_and_its_incremental_files_in_order() {
        let text = b"# comment\n\
            file a.2.base.rdb seq 2 type b\n\
            FILE a.1.base.rdb SEQ 1 TYPE h\n\
            file \"a \\x41\" seq 3 type i newer thing\n\
            file a.4.incr.aof seq 4 type i\n";
        let manifest = RedisManifest::parse(text).unwrap();
        let files: Vec<&str> = manifest.files().collect();
        assert_eq!(files, ["a.2.base.rdb", "a A", "a.4.incr.aof"]);
        assert!(manifest.has_history);
    }

    #[test]
    fn what_redis_refuses_is_refused_with_its_text_and_the_line() {
        let good = "file a seq 1 type i\n";
        for (text, line, reason) in [
            ("", 0, "Found an empty AOF manifest"),
            ("\n", 1, "Invalid AOF manifest file format"),
            ("file a seq 1\n", 1, "Invalid AOF manifest file format"),
            (
                "file a seq 1 type i",
                1,
                "The AOF manifest file contains too long line",
            ),
            (
                "file a/b seq 1 type i\n",
                1,
                "File can't be a path, just a filename",
            ),
            (
                "file a seq 0 type i\n",
                1,
                "Invalid AOF manifest file format",
            ),
            ("file a seq 1 type x\n", 1, "Unknown AOF file type"),
            (
                "file b seq 1 type i\n",
                2,
                "Found a non-monotonic sequence number",
            ),
        ] {
            let text = if line == 2 {
                format!("{good}{text}")
            } else {
                text.to_owned()
            };
            assert_eq!(
                RedisManifest::parse(text.as_bytes()),
                Err((line, reason)),
                "{text}"
            );
        }
        let long = format!("file {} seq 1 type i\n", "a".repeat(2000));
        let two_bases = b"file a seq 1 type b\nfile b seq 2 type b\n";
        assert!(RedisManifest::parse(long.as_bytes()).is_err());
        assert_eq!(
            RedisManifest::parse(two_bases),
            Err((2, "Found duplicate base file information"))
        );
    }
}
