//! Configuration files: text in, a [`Config`] or the first error out.
//!
//! The syntax is that of redis.conf: one directive a line, words as in `base/words.rs`, `#` for comments, later lines win,
//! repeated `save` lines add up, `include` reads another file (or all that a pattern matches) at that place. Standard
//! input and the command line are further sources after the file, see `command_line.rs`. This file opens nothing: the
//! caller reads the sources and provides [`Surroundings`] for what only it can know.

use std::fmt;

use crate::base::words;

use super::directive::{self, Role, refusal_text};
use super::fields::{Config, RenamedCommand, default_values};
use super::set;
use super::table::{DROPPED, FILE_ONLY};
use super::value::{Kind, Value};

/// How deep files may include one another.
const INCLUDE_DEPTH_MAX: usize = 16;

/// What reading a configuration needs from outside.
pub trait Surroundings {
    /// Reads the files that `include` names: the one file called `pattern`, or all that match when it holds `*`, `?`
    /// or `[` (then none is fine too), in order of their names. A relative name starts at `directory`, in which such
    /// characters stand for themselves. Yields name and content of each file.
    ///
    /// # Errors
    /// The file that could not be read in quotes, a colon, and why.
    fn include(
        &mut self,
        directory: &[u8],
        pattern: &[u8],
    ) -> Result<Vec<(String, Vec<u8>)>, String>;

    /// Whether there is a command of that name (lower case), for `rename-command`.
    fn is_command(&self, name: &str) -> bool;

    /// Checks the last of the `user` lines read so far, words behind `user` each.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check_user(&self, lines: &[Vec<Vec<u8>>]) -> Result<(), String>;

    /// The directory in which the process was started, absolute.
    fn working_directory(&self) -> Vec<u8>;
}

/// One text to read, and how to call it in an error.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Where the text comes from.
    pub origin: Origin<'a>,
    /// The text.
    pub text: &'a [u8],
}

/// Where a text comes from.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// A file.
    File(&'a str),
    /// Standard input.
    StandardInput,
    /// Options of the command line, one a line.
    CommandLine,
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(f, "the configuration file '{path}', at line"),
            Origin::StandardInput => f.write_str("the configuration from standard input, at line"),
            Origin::CommandLine => f.write_str("the options of the command line, at option"),
        }
    }
}

/// A configuration that was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What the operator should read in the log.
    pub warnings: Vec<String>,
    /// The `user` lines, words behind `user` each. They are no part of the configuration, because ACL SETUSER changes
    /// users and CONFIG SET does not.
    pub users: Vec<Vec<Vec<u8>>>,
}

/// The line that stopped the reading. Shown as the block that is written to standard error before the process ends
/// with status 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// Where the line stands: the source and how its lines are called.
    pub place: String,
    /// The number of the line in its source, from 1.
    pub line_number: usize,
    /// The line, without blanks around it.
    pub line: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n*** FATAL CONFIG FILE ERROR (Slotwise {}) ***",
            env!("CARGO_PKG_VERSION")
        )?;
        writeln!(f, "Reading {} {}", self.place, self.line_number)?;
        writeln!(f, ">>> '{}'", self.line)?;
        write!(f, "{}", self.reason)
    }
}

impl std::error::Error for LoadError {}

/// Reads `sources` one after the other on top of the defaults.
///
/// # Errors
/// The first line that is wrong or asks for what this build does not have.
pub fn load(
    sources: &[Source<'_>],
    surroundings: &mut dyn Surroundings,
) -> Result<Loaded, LoadError> {
    let working_directory = surroundings.working_directory();
    let mut loader = Loader {
        values: default_values(&working_directory),
        renamed: Vec::new(),
        save_was_read: false,
        warnings: Vec::new(),
        users: Vec::new(),
        surroundings,
    };
    for source in sources {
        loader.read(*source, 0)?;
    }
    Ok(loader.finish(&working_directory))
}

struct Loader<'a> {
    values: Vec<Value>,
    renamed: Vec<RenamedCommand>,
    /// The first `save` replaces the default save points, each further one adds to them.
    save_was_read: bool,
    warnings: Vec<String>,
    users: Vec<Vec<Vec<u8>>>,
    surroundings: &'a mut dyn Surroundings,
}

impl Loader<'_> {
    fn read(&mut self, source: Source<'_>, depth: usize) -> Result<(), LoadError> {
        for (index, line) in source.text.split(|byte| *byte == b'\n').enumerate() {
            let line = words::trim(line);
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let at_this_line = |reason| LoadError {
                place: source.origin.to_string(),
                line_number: index + 1,
                line: String::from_utf8_lossy(line).into_owned(),
                reason,
            };
            match self.read_line(line).map_err(at_this_line)? {
                Next::Line => {}
                Next::Include(_) if depth == INCLUDE_DEPTH_MAX => {
                    let reason = format!(
                        "files include one another more than {INCLUDE_DEPTH_MAX} levels deep"
                    );
                    return Err(at_this_line(reason));
                }
                Next::Include(pattern) => {
                    let directory = self.directory();
                    let files = self.surroundings.include(&directory, &pattern);
                    let reason = |error| format!("Fatal error, can't open config file {error}");
                    for (path, text) in files.map_err(|error| at_this_line(reason(error)))? {
                        self.read(
                            Source {
                                origin: Origin::File(&path),
                                text: &text,
                            },
                            depth + 1,
                        )?;
                    }
                }
            }
        }
        Ok(())
    }

    /// `dir` takes effect at once, so a relative path behind it starts from there.
    fn directory(&self) -> Vec<u8> {
        let place = directive::find(b"dir").expect("the table has it");
        self.values[place].show(&Kind::Directory)
    }

    fn read_line(&mut self, line: &[u8]) -> Result<Next, String> {
        if line.contains(&0) {
            return Err("The line holds a NUL byte".to_string());
        }
        let all_words = words::split(line).ok_or("Unbalanced quotes in configuration line")?;
        let Some((name, rest)) = all_words.split_first() else {
            return Ok(Next::Line);
        };
        match directive::find(name) {
            Some(place) => self.take_directive(place, rest).map(|()| Next::Line),
            None => {
                self.take_file_directive(&String::from_utf8_lossy(name).to_ascii_lowercase(), rest)
            }
        }
    }

    fn take_directive(&mut self, place: usize, rest: &[Vec<u8>]) -> Result<(), String> {
        let one = directive::all()[place];
        let resplit;
        let rest = match rest {
            // All words of a list may come in one pair of quotes. Unbalanced quotes inside leave no words at all.
            [word] if one.kind.takes_many_words() && !word.is_empty() => {
                resplit = words::split(word).unwrap_or_default();
                resplit.as_slice()
            }
            rest => rest,
        };
        let value = Value::parse(&one.kind, rest, &self.values[place])?;
        if let Some(reason) = one.refusal(&value) {
            return Err(reason);
        }
        self.values[place] = match (value, &mut self.values[place]) {
            (Value::SavePoints(new), Value::SavePoints(points))
                if self.save_was_read && !new.is_empty() =>
            {
                points.extend(new);
                return Ok(());
            }
            (value, _) => value,
        };
        self.save_was_read |= matches!(one.kind, Kind::SavePoints);
        Ok(())
    }

    fn take_file_directive(&mut self, name: &str, rest: &[Vec<u8>]) -> Result<Next, String> {
        match (name, rest) {
            ("include", [pattern]) => return Ok(Next::Include(pattern.clone())),
            ("rename-command", [command, new_name]) => self.rename_command(command, new_name)?,
            ("user", [_, ..]) => {
                self.users.push(rest.to_vec());
                self.surroundings.check_user(&self.users)?;
            }
            ("sentinel", [_, ..]) => {
                return Err("sentinel directive while not in sentinel mode".to_string());
            }
            (name, [_]) if DROPPED.contains(&name) => {}
            (name, _) if name.contains('.') => return Err(refusal_text("modules", None)),
            (name, rest) => {
                let known = FILE_ONLY.iter().find(|one| one.name == name);
                return Err(match known.and_then(|one| one.lacks) {
                    Some(feature) if !rest.is_empty() || name == "sentinel" => {
                        refusal_text(feature, None)
                    }
                    _ => "Bad directive or wrong number of arguments".to_string(),
                });
            }
        }
        Ok(Next::Line)
    }

    fn rename_command(&mut self, command: &[u8], new_name: &[u8]) -> Result<(), String> {
        let lower = |name: &[u8]| String::from_utf8_lossy(name).to_ascii_lowercase();
        let (called, new_name) = (lower(command), lower(new_name));
        let answers_to = |name: &str| {
            self.renamed
                .iter()
                .position(|one| one.new_name.as_deref() == Some(name))
        };
        // A command that was renamed answers to its new name only, and can be renamed again by that.
        let earlier = answers_to(&called);
        let gone = |name: &str| self.renamed.iter().any(|one| one.command == name);
        let is_original = !gone(&called) && self.surroundings.is_command(&called);
        if earlier.is_none() && !is_original {
            return Err("No such command in rename-command".to_string());
        }
        let is_same = new_name == called;
        let taken = answers_to(&new_name).is_some()
            || (!gone(&new_name) && self.surroundings.is_command(&new_name));
        if !new_name.is_empty() && taken && !is_same {
            return Err("Target command name already exists".to_string());
        }
        let new_name = (!new_name.is_empty()).then_some(new_name);
        match earlier {
            Some(index) => self.renamed[index].new_name = new_name,
            None if is_same => {}
            None => self.renamed.push(RenamedCommand {
                command: called,
                new_name,
            }),
        }
        Ok(())
    }

    fn finish(mut self, working_directory: &[u8]) -> Loaded {
        let defaults = default_values(working_directory);
        let mut without_effect = Vec::new();
        for ((one, value), default) in directive::all().iter().zip(&self.values).zip(&defaults) {
            let warning = set::warning(value);
            if warning.is_none() && matches!(one.role, Role::Accepted(_)) && value != default {
                without_effect.push(one.name);
            }
            self.warnings.extend(warning);
        }
        if !without_effect.is_empty() {
            self.warnings.push(format!(
                "Set, but without effect in this build of Slotwise (docs/compatibility.md says why): {}",
                without_effect.join(", ")
            ));
        }
        Loaded {
            config: Config::from_values(self.values, self.renamed),
            warnings: self.warnings,
            users: self.users,
        }
    }
}

enum Next {
    Line,
    Include(Vec<u8>),
}
