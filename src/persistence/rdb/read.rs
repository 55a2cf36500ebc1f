//! Whole files, as their bytes arrive: from a disk, or from a primary's socket.
//!
//! The owner feeds bytes in chunks of any size and asks for the next event until it is told that more is needed. Memory
//! is bounded by the greatest value, plus a chunk: a big value is built while its bytes pass.

use super::code::{CHECKSUM_SINCE, MAGIC, VERSION_MAX, opcode};
use super::input::Input;
use super::problem::{Halt, Problem, What};
use super::value::{Building, Content, Limits, Raw, module_name};
use crate::base::crc64;

/// Digits of the version.
const VERSION_DIGITS: usize = 4;

/// A key as a file has it.
#[derive(Debug)]
pub struct Loaded {
    /// Its database; not checked against how many there are.
    pub db: u64,
    /// Its name.
    pub key: Vec<u8>,
    /// What it holds; empty structures are passed on as such.
    pub content: Content,
    /// Unix milliseconds.
    pub expire_at: Option<i64>,
    /// Seconds without access before the file was written.
    pub idle_seconds: Option<u64>,
    /// The access counter.
    pub freq: Option<u8>,
}

/// What comes out of a file.
#[derive(Debug)]
pub enum Event {
    /// Nothing before more bytes are fed.
    More,
    /// A fact about the file.
    Aux(Vec<u8>, Vec<u8>),
    /// The source of a function library.
    Function(Vec<u8>),
    /// A module's data was passed over; its type's name.
    ModuleAux(String),
    /// Keys follow: their database, their number and how many have an expiry, as hints.
    Sizes(u64, u64, u64),
    /// A key.
    Key(Box<Loaded>),
    /// The end. What was fed beyond it is left in [`Reader::rest`].
    End,
}

/// The longest value that is handed on as it stands in the file (see [`Reader::leave_raw`]). A longer one is decoded as
/// its bytes pass, so that it is never there twice.
const RAW_MAX: usize = 64 * 1024;

/// The key whose value is being read.
struct Opened {
    key: Vec<u8>,
    building: Building,
}

#[derive(Clone, Copy, Default)]
struct Facts {
    expire_at: Option<i64>,
    idle_seconds: Option<u64>,
    freq: Option<u8>,
}

enum State {
    Header,
    Between,
    Value(Box<Opened>),
    /// Within a module's data; its type.
    Module(String),
    Sum,
    Done,
}

/// Reads a file; see the head of this one.
pub struct Reader {
    limits: Limits,
    raw: bool,
    check_sum: bool,
    buffer: Vec<u8>,
    /// What has been read of the buffer.
    at: usize,
    /// What of it is in the checksum.
    summed: usize,
    /// Offset of the buffer's first byte.
    base: u64,
    sum: u64,
    /// Bytes that the buffer must hold before there is anything to read.
    wanted: usize,
    ended: bool,
    version: u16,
    db: u64,
    facts: Facts,
    state: State,
}

impl Reader {
    /// A reader of a file whose values take forms within these limits. `check_sum` is `rdbchecksum`.
    pub fn new(limits: Limits, check_sum: bool) -> Self {
        Reader {
            limits,
            raw: false,
            check_sum,
            buffer: Vec::new(),
            at: 0,
            summed: 0,
            base: 0,
            sum: 0,
            wanted: 0,
            ended: false,
            version: 0,
            db: 0,
            facts: Facts::default(),
            state: State::Header,
        }
    }

    /// Values of moderate size are handed on as they stand in the file: who takes them decodes them
    /// ([`Content::Raw`]), perhaps on another core.
    #[must_use]
    pub fn leave_raw(self) -> Self {
        Reader { raw: true, ..self }
    }

    /// Hands in the next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.add_up();
        self.buffer.drain(..self.at);
        self.base += self.at as u64;
        self.wanted = self.wanted.saturating_sub(self.at);
        self.summed = 0;
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Says that nothing will follow.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Offset of what is read next.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The version of the file, once its first bytes have been read.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// What was fed beyond the end of the file.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// What comes next. After a problem nothing more can be read.
    pub fn next_event(&mut self) -> Result<Event, Problem> {
        loop {
            if self.buffer.len() < self.wanted && !self.ended {
                return Ok(Event::More);
            }
            let mut input = Input::new(
                &self.buffer[self.at..],
                self.base + self.at as u64,
                self.ended,
            );
            let state = std::mem::replace(&mut self.state, State::Done);
            let outcome = step(
                state,
                &mut input,
                &mut self.state,
                &mut self.facts,
                &mut self.db,
                (&self.limits, self.raw),
            );
            let advanced = input.at;
            match outcome {
                Ok(step) => {
                    self.at += advanced;
                    match step {
                        Step::On => {}
                        Step::Version(version) => self.version = version,
                        Step::Event(Event::End) => {
                            self.add_up();
                            if self.version < CHECKSUM_SINCE {
                                return Ok(Event::End);
                            }
                            self.state = State::Sum;
                        }
                        Step::Event(event) => return Ok(event),
                        Step::Sum(found) => {
                            self.summed = self.at;
                            if self.check_sum && found != 0 && found != self.sum {
                                return Err(Problem {
                                    offset: self.offset(),
                                    what: What::Checksum {
                                        expected: found,
                                        found: self.sum,
                                    },
                                });
                            }
                            return Ok(Event::End);
                        }
                        Step::Nothing => return Ok(Event::End),
                    }
                }
                Err(Halt::More(more)) => {
                    self.at += advanced;
                    self.wanted = self.buffer.len() + more;
                    return Ok(Event::More);
                }
                Err(Halt::Bad(problem)) => return Err(problem),
            }
        }
    }

    /// Takes what has been read into the checksum.
    fn add_up(&mut self) {
        if matches!(self.state, State::Done) {
            return;
        }
        if self.check_sum && !matches!(self.state, State::Sum) {
            self.sum = crc64::update(self.sum, &self.buffer[self.summed..self.at]);
        }
        self.summed = self.at;
    }
}

enum Step {
    On,
    Version(u16),
    Event(Event),
    Sum(u64),
    Nothing,
}

/// One step. What is left of the state goes into `next`; when bytes are missing, the input stands where the next
/// attempt must begin.
fn step(
    state: State,
    input: &mut Input<'_>,
    next: &mut State,
    facts: &mut Facts,
    db: &mut u64,
    (limits, raw): (&Limits, bool),
) -> Result<Step, Halt> {
    let before = input.at;
    match state {
        State::Done => Ok(Step::Nothing),
        State::Header => {
            *next = State::Header;
            let header = input.take(MAGIC.len() + VERSION_DIGITS)?;
            let (magic, digits) = header.split_at(MAGIC.len());
            if magic != MAGIC {
                return Err(input.bad_at(0, What::Magic));
            }
            let version = digits.iter().try_fold(0u32, |version, digit| {
                digit
                    .is_ascii_digit()
                    .then(|| version * 10 + u32::from(digit - b'0'))
            });
            match version {
                Some(version) if (1..=u32::from(VERSION_MAX)).contains(&version) => {
                    *next = State::Between;
                    Ok(Step::Version(version as u16))
                }
                Some(version) => Err(input.bad_at(MAGIC.len(), What::Version(version))),
                None => Err(input.bad_at(MAGIC.len(), What::Magic)),
            }
        }
        State::Sum => {
            *next = State::Sum;
            let sum = u64::from_le_bytes(input.take(8)?.try_into().expect("eight bytes"));
            *next = State::Done;
            Ok(Step::Sum(sum))
        }
        State::Module(name) => match skip_module(input, before) {
            Ok(true) => {
                *next = State::Between;
                Ok(Step::Event(Event::ModuleAux(name)))
            }
            Ok(false) => {
                *next = State::Module(name);
                Ok(Step::On)
            }
            Err(halt) => {
                input.at = before;
                *next = State::Module(name);
                Err(halt)
            }
        },
        State::Value(mut opened) => match opened.building.go_on(input, limits) {
            Ok(content) => {
                *next = State::Between;
                let facts = std::mem::take(facts);
                Ok(Step::Event(Event::Key(Box::new(loaded(
                    *db, opened.key, content, facts,
                )))))
            }
            Err(halt) => {
                *next = State::Value(opened);
                Err(halt)
            }
        },
        State::Between => {
            *next = State::Between;
            let step = between(input, next, facts, db, (limits, raw));
            if let Err(Halt::More(_)) = step {
                input.at = before;
            }
            step
        }
    }
}

/// What may stand between two keys, and the beginning of a key.
fn between(
    input: &mut Input<'_>,
    next: &mut State,
    facts: &mut Facts,
    db: &mut u64,
    (limits, raw): (&Limits, bool),
) -> Result<Step, Halt> {
    let at = input.at;
    let kind = input.u8()?;
    match kind {
        opcode::EXPIRE_MS => facts.expire_at = Some(input.i64_le()?),
        opcode::EXPIRE_SECONDS => facts.expire_at = Some(i64::from(input.i32_le()?) * 1000),
        opcode::IDLE => facts.idle_seconds = Some(input.length()?),
        opcode::FREQ => facts.freq = Some(input.u8()?),
        opcode::AUX => {
            let name = input.string()?.into_vec();
            let value = input.string()?.into_vec();
            return Ok(Step::Event(Event::Aux(name, value)));
        }
        opcode::RESIZE => {
            let (keys, expires) = (input.length()?, input.length()?);
            return Ok(Step::Event(Event::Sizes(*db, keys, expires)));
        }
        opcode::SELECT => *db = input.length()?,
        opcode::FUNCTION => {
            let source = input.string()?.into_vec();
            return Ok(Step::Event(Event::Function(source)));
        }
        opcode::MODULE_AUX => {
            let (name, _) = module_name(input.length()?);
            let is_number = input.length()? == MODULE_UNSIGNED;
            input.length()?;
            if !is_number {
                return Err(input.bad_at(at, What::Opcode(kind)));
            }
            *next = State::Module(name);
        }
        opcode::EOF => return Ok(Step::Event(Event::End)),
        opcode::FUNCTION_PRE_RELEASE => return Err(input.bad_at(at, What::Opcode(kind))),
        kind => {
            let key = input.string()?.into_vec();
            if raw && let Some(value) = Raw::cut(kind, input, RAW_MAX)? {
                let facts = std::mem::take(facts);
                let content = Content::Raw(value);
                return Ok(Step::Event(Event::Key(Box::new(loaded(
                    *db, key, content, facts,
                )))));
            }
            let building = Building::begin(kind, input, limits).map_err(|halt| match halt {
                // What is unknown is the type, which stands before the key.
                Halt::Bad(Problem {
                    what: what @ What::Type(_),
                    ..
                }) => input.bad_at(at, what),
                other => other,
            })?;
            *next = State::Value(Box::new(Opened { key, building }));
        }
    }
    Ok(Step::On)
}

fn loaded(db: u64, key: Vec<u8>, content: Content, facts: Facts) -> Loaded {
    Loaded {
        db,
        key,
        content,
        expire_at: facts.expire_at,
        idle_seconds: facts.idle_seconds,
        freq: facts.freq,
    }
}

const MODULE_END: u64 = 0;
const MODULE_SIGNED: u64 = 1;
const MODULE_UNSIGNED: u64 = 2;
const MODULE_FLOAT: u64 = 3;
const MODULE_DOUBLE: u64 = 4;
const MODULE_STRING: u64 = 5;

/// Passes over one item of a module's data; true at its end.
fn skip_module(input: &mut Input<'_>, at: usize) -> Result<bool, Halt> {
    match input.length()? {
        MODULE_END => return Ok(true),
        MODULE_SIGNED | MODULE_UNSIGNED => {
            input.length()?;
        }
        MODULE_FLOAT => {
            input.take(4)?;
        }
        MODULE_DOUBLE => {
            input.take(8)?;
        }
        MODULE_STRING => {
            input.string()?;
        }
        other => return Err(input.bad_at(at, What::Opcode(other as u8))),
    }
    Ok(false)
}
