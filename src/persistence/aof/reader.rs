//! A log as it is read: commands and annotations, with the offset of each; at the end, whether it ends where it should.

use std::io::{self, Read};

use crate::effect::SEAL_MARK;
use crate::resp::parser::{Limits, Parsed, Parser};
use crate::resp::request::{Args, Caller, Span};

use super::seal::Unsealed;

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;
/// The longest annotation line that Redis's own reader takes.
const ANNOTATION_MAX: usize = 1024;

/// Why a log cannot be read on.
#[derive(Debug)]
pub enum LogProblem {
    /// It ends within a command or an annotation that begins at this offset.
    Truncated {
        /// Where what is whole ends.
        offset: u64,
    },
    /// Something else than a command is there.
    Malformed {
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The disk would not give it.
    Disk(io::Error),
}

impl std::fmt::Display for LogProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LogProblem::Truncated { offset } => {
                write!(f, "it ends within the command at offset {offset}")
            }
            LogProblem::Malformed { offset, reason } => write!(f, "at offset {offset}: {reason}"),
            LogProblem::Disk(error) => write!(f, "it cannot be read: {error}"),
        }
    }
}

/// What a log holds.
#[derive(Clone, Copy)]
pub enum Item<'a> {
    /// A command.
    Command(Args<'a>),
    /// An annotation, without its line end.
    Annotation(&'a [u8]),
}

/// Reads a log from its start, or from where a base in front of it ends.
pub struct LogReader<R> {
    input: R,
    buffer: Vec<u8>,
    /// Where in `buffer` the next item begins.
    at: usize,
    /// The offset of `buffer[0]` in the file.
    base: u64,
    parser: Parser,
    spans: Vec<Span>,
    ended: bool,
    /// Every argument must end with a line end, which Redis does not look at.
    strict: bool,
    /// What has been read since the last seal, and where that ended.
    unsealed: Unsealed,
    sealed_to: u64,
}

impl<R: Read> LogReader<R> {
    /// Reads from `input`, whose first byte is at `offset` of the file.
    pub fn new(input: R, offset: u64) -> Self {
        LogReader {
            input,
            buffer: Vec::new(),
            at: 0,
            base: offset,
            parser: Parser::default(),
            spans: Vec::new(),
            ended: false,
            strict: false,
            unsealed: Unsealed::default(),
            sealed_to: offset,
        }
    }

    /// The same for a log of our own: a part of it that never reached the disk must not pass for an argument's end.
    #[must_use]
    pub fn strict(self) -> Self {
        LogReader {
            strict: true,
            ..self
        }
    }

    /// Where the last seal ends: all before it is what was written.
    pub fn sealed_to(&self) -> u64 {
        self.sealed_to
    }

    /// The offset of the next item.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The next item; nothing at the end of the file.
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>, LogProblem> {
        self.spans.clear();
        // Offsets within the buffer, since what is handed out borrows from it at the very end only.
        let (start, end) = loop {
            let start = self.at;
            let offset = self.offset();
            match self.buffer.get(start) {
                None => {
                    if !self.fill()? {
                        return Ok(None);
                    }
                    continue;
                }
                Some(b'*') => {
                    let limits = Limits {
                        bulk_max: u64::MAX,
                        authenticated: true,
                    };
                    let parsed = self
                        .parser
                        .next(&self.buffer, start, limits, &mut self.spans);
                    match parsed {
                        Parsed::Request(_) if self.spans.is_empty() => {
                            return Err(LogProblem::Malformed {
                                offset,
                                reason: "a command without a name".to_owned(),
                            });
                        }
                        Parsed::Request(_)
                            if self.strict && !ends_lines(&self.buffer, &self.spans) =>
                        {
                            return Err(LogProblem::Malformed {
                                offset,
                                reason: "an argument without a line end".to_owned(),
                            });
                        }
                        Parsed::Request(length) => {
                            self.at += length;
                            self.unsealed.update(&self.buffer[start..][..length]);
                            return Ok(Some(Item::Command(Args::new(
                                &self.buffer,
                                &self.spans,
                                Caller::default(),
                            ))));
                        }
                        Parsed::Failed(reason) => {
                            return Err(LogProblem::Malformed {
                                offset,
                                reason: String::from_utf8_lossy(&reason).into_owned(),
                            });
                        }
                        Parsed::Incomplete { .. } => {}
                    }
                }
                Some(b'#') => {
                    let rest = &self.buffer[start..];
                    match memchr::memchr(b'\n', rest) {
                        Some(length) if length <= ANNOTATION_MAX => {
                            break (start, start + length + 1);
                        }
                        _ if rest.len() > ANNOTATION_MAX => {
                            return Err(LogProblem::Malformed {
                                offset,
                                reason: "an annotation of more than 1024 bytes".to_owned(),
                            });
                        }
                        _ => {}
                    }
                }
                Some(byte) => {
                    return Err(LogProblem::Malformed {
                        offset,
                        reason: format!("a command begins with *, found byte {byte:#04x}"),
                    });
                }
            }
            if !self.fill()? {
                return Err(LogProblem::Truncated { offset });
            }
        };
        self.at = end;
        let line = &self.buffer[start..end];
        let text = line.trim_ascii_end();
        match text.strip_prefix(SEAL_MARK) {
            Some(seal) => {
                let unsealed = std::mem::take(&mut self.unsealed);
                if seal != unsealed.text().as_bytes() {
                    return Err(LogProblem::Malformed {
                        offset: self.sealed_to,
                        reason: format!(
                            "the {} bytes from there on are not those that were written, says their checksum",
                            unsealed.length()
                        ),
                    });
                }
                self.sealed_to = self.base + end as u64;
            }
            None => self.unsealed.update(line),
        }
        Ok(Some(Item::Annotation(text)))
    }

    /// Reads on; false at the end of the file. What has been handed out is dropped from the buffer.
    fn fill(&mut self) -> Result<bool, LogProblem> {
        if self.ended {
            return Ok(false);
        }
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.base += self.at as u64;
            self.at = 0;
        }
        let held = self.buffer.len();
        // A big command doubles the buffer as its bytes come: what a header announces costs nothing by itself.
        let room = CHUNK.max(held);
        self.buffer.resize(held + room, 0);
        let got = loop {
            match self.input.read(&mut self.buffer[held..]) {
                Ok(got) => break got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LogProblem::Disk(error)),
            }
        };
        self.buffer.truncate(held + got);
        self.ended = got == 0;
        Ok(got > 0)
    }
}

/// Whether each argument is followed by a line end.
fn ends_lines(bytes: &[u8], spans: &[Span]) -> bool {
    spans.iter().all(|span| {
        let end = span.start as usize + span.length as usize;
        bytes.get(end..end + 2) == Some(b"\r\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n#TS:17\r\n*1\r\n$5\r\nMULTI\r\n#TX:5 0,1\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n";

    /// Gives a byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            into[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn read_all(mut reader: LogReader<impl Read>) -> (Vec<(u64, String)>, Option<LogProblem>) {
        let mut all = Vec::new();
        loop {
            let offset = reader.offset();
            match reader.next_item() {
                Ok(None) => return (all, None),
                Err(problem) => return (all, Some(problem)),
                Ok(Some(Item::Annotation(text))) => {
                    all.push((offset, String::from_utf8_lossy(text).into_owned()));
                }
                Ok(Some(Item::Command(args))) => {
                    let words: Vec<_> = args.iter_from(0).map(String::from_utf8_lossy).collect();
                    all.push((offset, words.join(" ")));
                }
            }
        }
    }

    #[test]
    fn a_seal_is_compared_with_what_stands_before_it() {
        let (mut log, mut unsealed) = (Vec::new(), Unsealed::default());
        for _ in 0..2 {
            unsealed.update(TEXT);
            log.extend_from_slice(TEXT);
            unsealed.seal(&mut log);
        }
        let sealed = log.len() as u64 / 2;
        log.extend_from_slice(TEXT);
        let (all, problem) = read_all(LogReader::new(&log[..], 0));
        assert!(problem.is_none() && all.len() == 17, "{all:?}");
        let at = log.len() / 2 + 22; // the key of the second part
        log[at] ^= 1;
        match read_all(LogReader::new(Slow(&log), 0)).1 {
            Some(LogProblem::Malformed { offset, .. }) => assert_eq!(offset, sealed),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_and_annotations_come_with_their_offsets_however_the_bytes_come() {
        let (all, problem) = read_all(LogReader::new(TEXT, 100));
        assert!(problem.is_none());
        let expected: Vec<(u64, String)> = [
            (100, "SELECT 0"),
            (123, "#TS:17"),
            (131, "MULTI"),
            (146, "#TX:5 0,1"),
            (157, "SET k \r\n"),
        ]
        .map(|(offset, text)| (offset, text.to_owned()))
        .to_vec();
        assert_eq!(all, expected);
        let (slowly, problem) = read_all(LogReader::new(Slow(TEXT), 100));
        assert!(problem.is_none());
        assert_eq!(slowly, expected);
    }

    #[test]
    fn a_log_cut_anywhere_says_where_what_is_whole_ends() {
        let (whole, _) = read_all(LogReader::new(TEXT, 0));
        let starts: Vec<u64> = whole.iter().map(|(offset, _)| *offset).collect();
        for length in 0..TEXT.len() {
            let (_, problem) = read_all(LogReader::new(&TEXT[..length], 0));
            let at_start = starts.contains(&(length as u64));
            match problem {
                None => assert!(at_start, "{length}"),
                Some(LogProblem::Truncated { offset }) => {
                    let expected = starts.iter().filter(|start| **start < length as u64).max();
                    assert_eq!(Some(&offset), expected);
                }
                Some(other) => panic!("{length}: {other}"),
            }
        }
    }

    #[test]
    fn what_is_no_command_is_refused_with_its_place() {
        let mut torn = TEXT.to_vec();
        *torn.last_mut().unwrap() = 0;
        assert!(read_all(LogReader::new(&torn[..], 0)).1.is_none());
        let strictly = read_all(LogReader::new(&torn[..], 0).strict());
        assert!(matches!(
            strictly.1,
            Some(LogProblem::Malformed { offset: 57, .. })
        ));
        for bad in [
            &b"\0\0\0"[..],
            b"PING\r\n",
            b"*x\r\n",
            b"*0\r\n",
            b"*-1\r\n",
        ] {
            let mut text = TEXT.to_vec();
            text.extend_from_slice(bad);
            let (all, problem) = read_all(LogReader::new(&text[..], 0));
            assert_eq!(all.len(), 5);
            match problem {
                Some(LogProblem::Malformed { offset, .. }) => {
                    assert_eq!(offset, TEXT.len() as u64, "{bad:?}");
                }
                other => panic!("{bad:?}: {other:?}"),
            }
        }
    }
}
