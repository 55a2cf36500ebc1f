//! The house rules that a machine can hold: the order of the rooms, file headers, where `unsafe` may stand, what the pure
//! rooms leave alone, no stray output, no files that have grown past the point of looking for a second idea.
//!
//! The rules read the source as text. Comments and the unit tests at the foot of a file are passed over where a rule
//! is about the server itself.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms that open no file or socket and read no clock or entropy: what they need comes in from outside.
const PURE: &[&str] = &[
    "structures",
    "resp",
    "config",
    "effect",
    "keyspace",
    "acl",
    "cluster",
    "pubsub",
    "shard",
    "transaction",
];

/// What a pure room does not name.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "SystemTime",
    "Instant",
    "clock::unix_ms",
    "clock::unix_us",
    "clock::ticks",
    "sys::entropy",
];

/// Files in which `unsafe` may stand, each with its reason. All the rest is safe code.
const UNSAFE: &[(&str, &str)] = &[
    ("base/allocator.rs", "the allocator's controls"),
    ("base/clock.rs", "the processor's time stamp counter"),
    ("base/collate.rs", "the C library's orders of texts"),
    ("base/sys.rs", "system calls without a safe form"),
    ("base/system.rs", "system calls without a safe form"),
    ("base/title.rs", "the memory of the process's arguments"),
    ("mesh/berth.rs", "the cell in which a shard is lent"),
    ("mesh/ring.rs", "slots that two cores hand to each other"),
    ("ring/buffers.rs", "buffers that the kernel fills"),
    ("ring/uring.rs", "operations whose memory the kernel reads"),
    (
        "script/environments.rs",
        "two functions of Lua's library, written anew in its terms",
    ),
    (
        "script/lent.rs",
        "the host of a running script, for its run",
    ),
    ("script/stack.rs", "Lua's stack, where every call passes"),
    (
        "structures/bitmap.rs",
        "counting with what the processor is found to have",
    ),
    ("structures/blob.rs", "packed bytes in one allocation"),
    ("structures/entry.rs", "key and value in one allocation"),
    (
        "structures/member.rs",
        "score and member in one allocation, two handles",
    ),
    ("structures/table.rs", "buckets as raw memory"),
    (
        "structures/table/bucket.rs",
        "tags compared together; chains of nodes",
    ),
    ("structures/table/growth.rs", "the buckets' memory"),
    (
        "structures/thin.rs",
        "a slice whose length lies before its bytes",
    ),
];

/// Where the process speaks to whoever started it, before there is a log and after.
const MAY_PRINT: &[&str] = &["server/boot.rs", "bin/slotwise.rs", "bin/slotwise-dump.rs"];

/// Lines after which a file is looked at for a second idea.
const LINES_MAX: usize = 1000;

/// Files beyond that which hold one idea all the same, each with its reason.
const LONG: &[(&str, &str)] = &[];

struct Source {
    /// Below `src/`.
    path: String,
    text: String,
    /// Without comments and unit tests, line by line.
    code: Vec<(usize, String)>,
    /// Compiled for tests only.
    is_test: bool,
}

impl Source {
    fn room(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let base = root().join("src");
    let mut found = Vec::new();
    collect(&base, &mut found);
    found.sort();
    let mut for_tests: Vec<PathBuf> = Vec::new();
    let mut read: Vec<Source> = found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file is text");
            for_tests.extend(test_modules(&path, &text));
            let path = path
                .strip_prefix(&base)
                .expect("found below src")
                .to_string_lossy()
                .into_owned();
            let code = code_of(&text);
            Source {
                path,
                text,
                code,
                is_test: false,
            }
        })
        .collect();
    for source in &mut read {
        source.is_test = for_tests.contains(&base.join(&source.path));
    }
    read
}

/// Files of the modules that `text` declares for tests only.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let stem = path.file_stem().unwrap_or_default();
    let parent = path.parent().expect("a file has a directory");
    let directory = if stem == "mod" || stem == "lib" {
        parent.to_owned()
    } else {
        parent.join(stem)
    };
    let lines: Vec<&str> = text.lines().collect();
    let mut modules = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some((_, name)) = line
            .strip_suffix(';')
            .and_then(|line| line.rsplit_once("mod "))
        else {
            continue;
        };
        let attributes = lines[..at]
            .iter()
            .rev()
            .take_while(|line| line.starts_with("#["));
        let (mut tested, mut named) = (false, None);
        for attribute in attributes {
            tested |= *attribute == "#[cfg(test)]";
            named = named.or(attribute
                .strip_prefix("#[path = \"")
                .and_then(|rest| rest.strip_suffix("\"]")));
        }
        if tested {
            modules.push(match named {
                Some(file) => parent.join(file),
                None => directory.join(format!("{name}.rs")),
            });
        }
    }
    modules
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("src can be read") {
        let path = entry.expect("src can be read").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Lines with their numbers, up to the unit tests, comments cut off. A `//` in a string ends the line early, which
/// spares nothing that the rules look for.
fn code_of(text: &str) -> Vec<(usize, String)> {
    let mut code = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let begins_tests = line.starts_with("#[cfg(") && line.contains("test");
        if begins_tests && lines.peek().is_some_and(|(_, next)| next.ends_with('{')) {
            // A block at the left edge ends with a brace there.
            for (_, inside) in lines.by_ref() {
                if inside == "}" {
                    break;
                }
            }
            continue;
        }
        let kept = line.split("//").next().unwrap_or_default();
        code.push((number + 1, kept.to_owned()));
    }
    code
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether `word` stands in `line` as a whole word.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.as_bytes()[..at].last();
        let after = line.as_bytes().get(at + word.len());
        !before.is_some_and(|byte| is_word_byte(*byte))
            && !after.is_some_and(|byte| is_word_byte(*byte))
    })
}

/// Rooms in the order of `lib.rs`.
fn rooms() -> Vec<String> {
    let text =
        fs::read_to_string(root().join("src/lib.rs")).expect("the library has a table of contents");
    text.lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn the_table_of_contents_says_what_each_room_is() {
    let text =
        fs::read_to_string(root().join("src/lib.rs")).expect("the library has a table of contents");
    let lines: Vec<&str> = text.lines().collect();
    let mut problems = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if line.starts_with("pub mod ") && (at == 0 || !lines[at - 1].starts_with("/// ")) {
            problems.push(format!(
                "lib.rs:{}: `{line}` without a sentence on it",
                at + 1
            ));
        }
    }
    let listed = rooms();
    for entry in fs::read_dir(root().join("src")).expect("src can be read") {
        let name = entry
            .expect("src can be read")
            .file_name()
            .to_string_lossy()
            .into_owned();
        if !["lib.rs", "bin"].contains(&name.as_str()) && !listed.contains(&name) {
            problems.push(format!("src/{name} is no room of lib.rs"));
        }
    }
    none(problems);
}

#[test]
fn a_room_uses_only_rooms_listed_before_it() {
    let rooms = rooms();
    let place = |room: &str| rooms.iter().position(|one| one == room);
    let mut problems = Vec::new();
    for source in sources() {
        let Some(here) = place(source.room()) else {
            continue;
        };
        if source.is_test {
            continue;
        }
        for (number, line) in &source.code {
            for (at, _) in line.match_indices("crate::") {
                let rest = &line[at + "crate::".len()..];
                let end = rest
                    .bytes()
                    .position(|byte| !is_word_byte(byte))
                    .unwrap_or(rest.len());
                if rest.starts_with('{') {
                    problems.push(format!(
                        "{}:{number}: one `use` for each room, please",
                        source.path
                    ));
                }
                if place(&rest[..end]).is_some_and(|used| used > here) {
                    problems.push(format!(
                        "{}:{number}: uses {}, a room above",
                        source.path,
                        &rest[..end]
                    ));
                }
            }
        }
    }
    none(problems);
}

#[test]
fn every_file_opens_with_what_it_is() {
    let mut problems = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            problems.push(format!("{}: opens without `//!`", source.path));
        }
    }
    none(problems);
}

#[test]
fn unsafe_stands_in_named_files_and_every_block_says_why_it_is_sound() {
    let mut problems = Vec::new();
    for source in sources() {
        let listed = UNSAFE.iter().any(|(path, _)| *path == source.path);
        let allows = source.text.contains("allow(unsafe_code)");
        if !source.is_test && allows != listed {
            problems.push(format!(
                "{}: `unsafe` and the list of tests/tidy.rs disagree",
                source.path
            ));
        }
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in &source.code {
            if !has_word(line, "unsafe") {
                continue;
            }
            if !listed && !source.is_test {
                problems.push(format!("{}:{number}: unsafe code", source.path));
                continue;
            }
            if line.contains("unsafe fn") || line.contains("unsafe_code") {
                continue; // its callers are asked
            }
            // The comment stands above the statement that the block is part of, a few lines up at most.
            let above = number.saturating_sub(12);
            if !lines[above..*number]
                .iter()
                .any(|line| line.contains("SAFETY:"))
            {
                problems.push(format!("{}:{number}: unsafe without SAFETY:", source.path));
            }
        }
    }
    none(problems);
}

#[test]
fn the_list_of_unsafe_files_is_short_of_nothing_and_of_no_surplus() {
    let files = sources();
    let mut problems = Vec::new();
    for (path, reason) in UNSAFE.iter().chain(LONG) {
        if !files.iter().any(|source| source.path == *path) {
            problems.push(format!("{path} ({reason}): no such file"));
        }
    }
    none(problems);
}

#[test]
fn pure_rooms_read_no_clock_no_entropy_no_file_and_no_socket() {
    let mut problems = Vec::new();
    for source in sources() {
        if !PURE.contains(&source.room()) || source.is_test {
            continue;
        }
        for (number, line) in &source.code {
            for impure in IMPURE {
                if has_word(line, impure) {
                    problems.push(format!("{}:{number}: {impure} in a pure room", source.path));
                }
            }
        }
    }
    none(problems);
}

#[test]
fn nothing_is_printed_left_open_or_unwrapped() {
    let mut problems = Vec::new();
    for source in sources() {
        if source.is_test {
            continue;
        }
        for (number, line) in &source.code {
            let mut complain =
                |what: &str| problems.push(format!("{}:{number}: {what}", source.path));
            if has_word(line, "dbg!") || line.contains("dbg!(") {
                complain("dbg!");
            }
            let prints = ["println!(", "print!(", "eprintln!(", "eprint!("];
            if prints.iter().any(|print| line.contains(print))
                && !MAY_PRINT.contains(&source.path.as_str())
            {
                complain("output that is no log line");
            }
            if line.contains("todo!(") || line.contains("unimplemented!(") {
                complain("something unfinished");
            }
            if line.contains(".unwrap()") {
                complain("unwrap: `expect` says why it cannot fail");
            }
        }
        if source.text.contains("#[ignore") {
            problems.push(format!("{}: an ignored test", source.path));
        }
    }
    none(problems);
}

#[test]
fn no_file_has_grown_past_a_thousand_lines_without_a_reason() {
    let mut problems = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > LINES_MAX && !LONG.iter().any(|(path, _)| *path == source.path) {
            problems.push(format!(
                "{}: {lines} lines; is there a second idea inside?",
                source.path
            ));
        }
    }
    none(problems);
}
