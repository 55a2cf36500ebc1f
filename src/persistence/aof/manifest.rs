//! The manifest: which files together are the data set, and how they were written.
//!
//! One small text file names all append-only files of all shards. It lists *generations*: files written under one
//! number of shards. Recovery loads generation after generation; within one, each shard's base and then its
//! incremental files in order. A rewrite leaves one generation. The file is replaced whole, and its last line holds a
//! checksum of the lines before it, so a torn or edited manifest is noticed.
//!
//! ```text
//! slotwise-manifest 1
//! boot 3f0c...                                     the boot id of the machine when files were last written
//! fsync relaxed                                    or always: every acknowledged write was on disk
//! transaction 1234                                 a number above all that the files' annotations bear
//! taken 4711 1700000000000000000 dump.rdb          the data came from this file: bytes, nanoseconds of its last change
//! generation 1 shards 2
//! file appendonly.aof.1.0.1.base.rdb shard 0 type b
//! file appendonly.aof.1.0.1.incr.aof shard 0 type i
//! file appendonly.aof.1.1.1.base.rdb shard 1 type b
//! file appendonly.aof.1.1.1.incr.aof shard 1 type i
//! end 9d5c0b2f6a1e4477
//! ```
//!
//! Names never collide with Redis's, which have no generation and no shard in them, so both kinds can stand in one
//! directory.

use std::fmt::Write;

use crate::base::crc64::crc64;
use crate::base::words;

/// Name of the manifest within `appenddirname`.
pub const NAME: &str = "slotwise.manifest";
const HEADER: &str = "slotwise-manifest 1";

/// Whether what was acknowledged survives a loss of power, so far as files tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// Written to the kernel before the reply; on disk up to a second or more later.
    #[default]
    Relaxed,
    /// On disk before the reply.
    Always,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// All keys at one point, as a snapshot.
    Base,
    /// What was written from there on.
    Incremental,
}

/// A file of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its name within the directory.
    pub name: String,
    /// Whose it is.
    pub shard: usize,
    /// What it is.
    pub kind: FileKind,
}

/// Files written under one number of shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its number; rises.
    pub number: u64,
    /// How many shards there were.
    pub shards: usize,
    /// Its files; those of one shard in the order in which they are loaded.
    pub files: Vec<FileEntry>,
}

impl Generation {
    /// A shard's files, in order.
    pub fn of_shard(&self, shard: usize) -> impl Iterator<Item = &FileEntry> {
        self.files.iter().filter(move |file| file.shard == shard)
    }
}

/// A file of another kind (Redis's, or a snapshot) that the data set was once made from. While it is as it was, nobody has
/// to be asked whether it is to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its name below the server's directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// When its content was last changed, in Unix nanoseconds.
    pub modified_ns: u64,
}

/// The manifest.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Manifest {
    /// Boot id of the machine.
    pub boot: String,
    /// What an acknowledgement meant.
    pub durability: Durability,
    /// Numbers below this one may have been used for transactions and epochs.
    pub next_number: u64,
    /// What the data set was made from, if it did not begin empty.
    pub taken: Vec<Taken>,
    /// The files, oldest generation first.
    pub generations: Vec<Generation>,
}

/// Why a manifest cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Number of the line, from one.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// A name with blanks or control characters in it, as one word.
fn quoted(name: &str) -> String {
    // What is no plain character is written in digits, so all of it is text.
    let mut word = Vec::new();
    words::quote(&mut word, name.as_bytes());
    String::from_utf8_lossy(&word).into_owned()
}

impl Manifest {
    /// The text of the file.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        let durability = match self.durability {
            Durability::Relaxed => "relaxed",
            Durability::Always => "always",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "boot {}\nfsync {durability}", self.boot);
        let _ = writeln!(text, "transaction {}", self.next_number);
        for taken in &self.taken {
            let (bytes, modified, name) = (taken.bytes, taken.modified_ns, &taken.name);
            let name = match name.starts_with('"') || name.contains(['\n', '\r']) {
                true => quoted(name),
                false => name.clone(),
            };
            let _ = writeln!(text, "taken {bytes} {modified} {name}");
        }
        for generation in &self.generations {
            let _ = writeln!(
                text,
                "generation {} shards {}",
                generation.number, generation.shards
            );
            for file in &generation.files {
                let kind = match file.kind {
                    FileKind::Base => 'b',
                    FileKind::Incremental => 'i',
                };
                let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'');
                let name = match file.name.bytes().all(plain) {
                    true => file.name.clone(),
                    false => quoted(&file.name),
                };
                let _ = writeln!(text, "file {name} shard {} type {kind}", file.shard);
            }
        }
        let _ = writeln!(text, "end {:016x}", crc64(text.as_bytes()));
        text
    }

    /// Reads the text of the file.
    pub fn parse(text: &str) -> Result<Manifest, Malformed> {
        let wrong = |line: usize, reason: &str| Malformed {
            line: line + 1,
            reason: reason.to_owned(),
        };
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let Some((last, body)) = lines.split_last() else {
            return Err(wrong(0, "the file is empty"));
        };
        let body_bytes: usize = body.iter().map(|line| line.len()).sum();
        let expected = format!("end {:016x}\n", crc64(&text.as_bytes()[..body_bytes]));
        if *last != expected {
            let reason = if last.starts_with("end ") {
                "the checksum does not fit the lines before it"
            } else {
                "the file breaks off: its last line must be `end` and a checksum"
            };
            return Err(wrong(body.len(), reason));
        }
        if body.first().map(|line| line.trim_end()) != Some(HEADER) {
            return Err(wrong(0, "this is no manifest of a version known here"));
        }
        let mut manifest = Manifest::default();
        for (at, line) in body.iter().enumerate().skip(1) {
            let quoted_name = line
                .strip_prefix("file ")
                .filter(|rest| rest.starts_with('"'))
                .map(|_| words::split(line.as_bytes()).ok_or_else(|| wrong(at, "an open quote")))
                .transpose()?;
            let owned: Vec<String> = match quoted_name {
                Some(words) => words
                    .into_iter()
                    .map(String::from_utf8)
                    .collect::<Result<_, _>>()
                    .map_err(|_| wrong(at, "a name that is no text"))?,
                None => line.split_ascii_whitespace().map(str::to_owned).collect(),
            };
            let words: Vec<&str> = owned.iter().map(String::as_str).collect();
            match words[..] {
                ["boot", id] => manifest.boot = id.to_owned(),
                ["boot"] => {}
                ["fsync", "always"] => manifest.durability = Durability::Always,
                ["fsync", "relaxed"] => manifest.durability = Durability::Relaxed,
                ["transaction", number] => {
                    manifest.next_number = number
                        .parse()
                        .map_err(|_| wrong(at, "the transaction is no number"))?;
                }
                ["taken", bytes, modified, _, ..] => {
                    let number = |text: &str| {
                        text.parse()
                            .map_err(|_| wrong(at, "a size or a time is no number"))
                    };
                    let name = line.splitn(4, ' ').nth(3).unwrap_or_default();
                    let name = name.trim_end_matches('\n');
                    let read = words::split(name.as_bytes())
                        .filter(|_| name.starts_with('"'))
                        .and_then(|mut words| String::from_utf8(words.pop()?).ok());
                    manifest.taken.push(Taken {
                        name: read.unwrap_or_else(|| name.to_owned()),
                        bytes: number(bytes)?,
                        modified_ns: number(modified)?,
                    });
                }
                ["generation", number, "shards", shards] => {
                    let number = number
                        .parse()
                        .map_err(|_| wrong(at, "the generation is no number"))?;
                    let shards = shards
                        .parse()
                        .ok()
                        .filter(|shards| (1..=16384).contains(shards))
                        .ok_or_else(|| wrong(at, "the number of shards is out of range"))?;
                    if manifest
                        .generations
                        .last()
                        .is_some_and(|before| before.number >= number)
                    {
                        return Err(wrong(at, "generations must rise"));
                    }
                    manifest.generations.push(Generation {
                        number,
                        shards,
                        files: Vec::new(),
                    });
                }
                ["file", name, "shard", shard, "type", kind] => {
                    let Some(generation) = manifest.generations.last_mut() else {
                        return Err(wrong(at, "a file comes before the first generation"));
                    };
                    let kind = match kind {
                        "b" => FileKind::Base,
                        "i" => FileKind::Incremental,
                        _ => return Err(wrong(at, "a file is of type b or i")),
                    };
                    if name.contains('/') {
                        return Err(wrong(at, "a file is named, not a path"));
                    }
                    let shard = shard
                        .parse()
                        .ok()
                        .filter(|shard| *shard < generation.shards)
                        .ok_or_else(|| wrong(at, "the shard is out of range"))?;
                    if kind == FileKind::Base && generation.of_shard(shard).next().is_some() {
                        return Err(wrong(at, "a shard's base must be its first file"));
                    }
                    generation.files.push(FileEntry {
                        name: name.to_owned(),
                        shard,
                        kind,
                    });
                }
                _ => return Err(wrong(at, "the line is not understood")),
            }
        }
        Ok(manifest)
    }

    /// The name of a new file.
    pub fn file_name(
        prefix: &str,
        generation: u64,
        shard: usize,
        sequence: u64,
        kind: FileKind,
    ) -> String {
        let ending = match kind {
            FileKind::Base => "base.rdb",
            FileKind::Incremental => "incr.aof",
        };
        format!("{prefix}.{generation}.{shard}.{sequence}.{ending}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let file = |name: &str, shard, kind| FileEntry {
            name: name.to_owned(),
            shard,
            kind,
        };
        Manifest {
            boot: "3f0c".to_owned(),
            durability: Durability::Always,
            next_number: 17,
            taken: vec![Taken {
                name: "my dump.rdb".to_owned(),
                bytes: 12,
                modified_ns: 1_700_000_000_000_000_001,
            }],
            generations: vec![
                Generation {
                    number: 1,
                    shards: 1,
                    files: vec![file("a.1.0.1.incr.aof", 0, FileKind::Incremental)],
                },
                Generation {
                    number: 3,
                    shards: 2,
                    files: vec![
                        file("a.3.0.1.base.rdb", 0, FileKind::Base),
                        file("a.3.1.1.base.rdb", 1, FileKind::Base),
                        file("a.3.0.1.incr.aof", 0, FileKind::Incremental),
                    ],
                },
            ],
        }
    }

    #[test]
    fn a_manifest_reads_back_as_written() {
        let manifest = sample();
        let text = manifest.to_text();
        assert_eq!(Manifest::parse(&text), Ok(manifest));
        let mut odd = sample();
        odd.taken[0].name = " a\r\n\"b\" ".to_owned();
        odd.taken.push(odd.taken[0].clone());
        odd.taken[1].name = "\"c\"".to_owned();
        let names = [" file seq \n\n.aof ", "it's", "\"", "\\x\t\u{e9}"];
        for (file, name) in odd.generations[1].files.iter_mut().zip(names) {
            file.name = name.to_owned();
        }
        assert_eq!(Manifest::parse(&odd.to_text()), Ok(odd));
        assert_eq!(
            Manifest::file_name("a", 3, 1, 2, FileKind::Incremental),
            "a.3.1.2.incr.aof"
        );
    }

    #[test]
    fn a_manifest_that_was_torn_or_edited_is_refused_with_the_line() {
        let text = sample().to_text();
        for length in 0..text.len() {
            assert!(Manifest::parse(&text[..length]).is_err(), "{length}");
        }
        let edited = text.replace("shards 2", "shards 3");
        let problem = Manifest::parse(&edited).unwrap_err();
        assert!(problem.reason.contains("checksum"), "{problem}");
    }

    #[test]
    fn lines_that_make_no_sense_are_refused_even_under_a_right_checksum() {
        for (line, reason) in [
            ("generation 1 shards 0", "number of shards"),
            ("generation 1 shards 99999", "number of shards"),
            ("file a shard 0 type b", "before the first generation"),
            (
                "generation 1 shards 1\nfile a/b shard 0 type b",
                "not a path",
            ),
            (
                "generation 1 shards 1\nfile a shard 1 type b",
                "out of range",
            ),
            (
                "generation 1 shards 1\nfile a shard 0 type x",
                "type b or i",
            ),
            (
                "generation 1 shards 1\nfile a shard 0 type i\nfile b shard 0 type b",
                "first file",
            ),
            ("generation 2 shards 1\ngeneration 2 shards 1", "rise"),
            ("nonsense", "not understood"),
        ] {
            let mut text = format!("{HEADER}\n{line}\n");
            let _ = writeln!(text, "end {:016x}", crc64(text.as_bytes()));
            let problem = Manifest::parse(&text).unwrap_err();
            assert!(problem.reason.contains(reason), "{line}: {problem}");
        }
    }
}
