//! The command line: `slotwise [file | -] [--directive value ...]`.
//!
//! Options become lines of a configuration that is read after the file and standard input, so that whatever holds for
//! a line in a file holds for an option. The corners are Redis's: an option takes all words up to the next one that
//! begins with `--`; its first word is taken even if it begins with `--` (a password may), except after `--save`,
//! which may stand alone; name and value may come in one word (`"--port 7000"`).

use crate::base::words;

use super::file::{Origin, Source};

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Print the version and end.
    Version,
    /// Print the usage and end.
    Help,
    /// Start the server.
    Run(CommandLine),
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// Path of the configuration file, if one was named.
    pub file: Option<Vec<u8>>,
    /// Whether standard input is read as well, after the file.
    pub reads_standard_input: bool,
    /// The options as lines of a configuration.
    pub options: Vec<u8>,
}

impl Invocation {
    /// Reads the arguments behind the name of the program.
    pub fn parse(arguments: &[Vec<u8>]) -> Invocation {
        match arguments.first().map(Vec::as_slice) {
            Some(b"-v" | b"--version") => Invocation::Version,
            Some(b"-h" | b"--help") => Invocation::Help,
            _ => Invocation::Run(CommandLine::parse(arguments)),
        }
    }
}

impl CommandLine {
    /// The sources to load, given the texts of the file and of standard input that the caller has read.
    pub fn sources<'a>(
        &'a self,
        file: Option<(&'a str, &'a [u8])>,
        input: Option<&'a [u8]>,
    ) -> Vec<Source<'a>> {
        let file = file.map(|(path, text)| Source {
            origin: Origin::File(path),
            text,
        });
        let input = input.map(|text| Source {
            origin: Origin::StandardInput,
            text,
        });
        let options = Source {
            origin: Origin::CommandLine,
            text: &self.options,
        };
        [file, input, Some(options)].into_iter().flatten().collect()
    }

    fn parse(arguments: &[Vec<u8>]) -> CommandLine {
        let mut line = CommandLine::default();
        let mut rest = arguments;
        if let [file, behind @ ..] = arguments
            && !file.starts_with(b"-")
        {
            line.file = Some(file.clone());
            rest = behind;
        }
        let is_first = |index: usize| line.file.is_none() && index == 0;
        // Whether the option before has its value, so that a word with dashes begins another one.
        let mut is_complete = true;
        for (index, word) in rest.iter().enumerate() {
            let is_last = index + 1 == rest.len();
            if word == b"-" && (is_first(index) || is_last) {
                line.reads_standard_input = true;
            } else if let Some(name) = word.strip_prefix(b"--")
                && is_complete
            {
                if !line.options.is_empty() {
                    line.options.push(b'\n');
                }
                line.options.extend(name);
                line.options.push(b' ');
                let next_is_option = rest
                    .get(index + 1)
                    .is_some_and(|next| next.starts_with(b"--"));
                // Name and value in one word make a complete option.
                is_complete = words::split(word).is_none_or(|words| words.len() != 1);
                if !is_complete && (next_is_option || is_last) {
                    if word.eq_ignore_ascii_case(b"--save") {
                        line.options.extend(b"\"\"");
                        is_complete = next_is_option;
                    } else if word.eq_ignore_ascii_case(b"--sentinel") {
                        is_complete = next_is_option;
                    }
                }
            } else {
                words::quote(&mut line.options, word);
                line.options.push(b' ');
                is_complete = true;
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> CommandLine {
        let arguments: Vec<Vec<u8>> = arguments
            .iter()
            .map(|word| word.as_bytes().to_vec())
            .collect();
        match Invocation::parse(&arguments) {
            Invocation::Run(line) => line,
            other => panic!("{other:?}"),
        }
    }

    fn options(arguments: &[&str]) -> String {
        String::from_utf8(parse(arguments).options).unwrap()
    }

    #[test]
    fn options_become_lines() {
        assert_eq!(
            options(&["--port", "7000", "--save", "", "--appendonly", "no"]),
            "port \"7000\" \nsave \"\" \nappendonly \"no\" "
        );
        assert_eq!(
            options(&["--bind", "127.0.0.1", "::1"]),
            "bind \"127.0.0.1\" \"::1\" "
        );
        assert_eq!(
            options(&["--port 7000", "--bind 1.2.3.4"]),
            "port 7000 \nbind 1.2.3.4 "
        );
        assert_eq!(
            options(&["--save 60 1", "--port", "1"]),
            "save 60 1 \nport \"1\" "
        );
    }

    #[test]
    fn save_may_stand_alone() {
        assert_eq!(
            options(&["--save", "--port", "1"]),
            "save \"\"\nport \"1\" "
        );
        assert_eq!(options(&["--save"]), "save \"\"");
        assert_eq!(options(&["--save", "''"]), "save \"''\" ");
    }

    #[test]
    fn the_first_word_of_an_option_may_begin_with_dashes() {
        assert_eq!(
            options(&["--requirepass", "--secret", "--port", "1"]),
            "requirepass \"--secret\" \nport \"1\" "
        );
    }

    #[test]
    fn a_file_comes_first_and_standard_input_first_or_last() {
        assert_eq!(parse(&["a.conf"]).file.unwrap(), b"a.conf");
        assert!(parse(&["-"]).reads_standard_input);
        assert!(parse(&["-", "--port", "1"]).reads_standard_input);
        let line = parse(&["a.conf", "--port", "1", "-"]);
        assert!(line.reads_standard_input && line.file.is_some());
        assert_eq!(line.options, b"port \"1\" ");
        assert!(!parse(&["a.conf", "-", "--port", "1"]).reads_standard_input);
        assert_eq!(parse(&[]), CommandLine::default());
    }

    #[test]
    fn version_and_help_are_recognized_in_first_place_only() {
        let run = |words: &[&str]| {
            Invocation::parse(
                &words
                    .iter()
                    .map(|w| w.as_bytes().to_vec())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(run(&["-v"]), Invocation::Version);
        assert_eq!(run(&["--version", "x"]), Invocation::Version);
        assert_eq!(run(&["--help"]), Invocation::Help);
        assert!(matches!(
            run(&["--port", "1", "--help"]),
            Invocation::Run(_)
        ));
    }
}
