//! DUMP payloads: a value, or function libraries, with version and checksum behind them.

use super::code::{VERSION, VERSION_MAX, opcode};
use super::input::Input;
use super::problem::{Halt, Problem, What};
use super::value::{Building, Content, Limits};
use super::write::Writer;
use crate::base::crc64::crc64;
use crate::keyspace::Value;
use crate::structures::entry::Payload;

/// Version and checksum.
pub(super) const FOOTER_BYTES: usize = 10;

/// Why a payload is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// Too short, of a newer version, or with a wrong checksum.
    Footer,
    /// What is inside is wrong.
    Content(Problem),
}

/// What DUMP replies for a value.
pub fn dump(payload: &Payload<'_, Value>, compress: bool) -> Vec<u8> {
    let mut writer = Writer::new(compress);
    writer.out.push(Writer::type_of(payload));
    writer.value(payload, |_| {});
    seal(writer.out)
}

/// Bytes that a value takes in a snapshot: DEBUG OBJECT's `serializedlength`.
pub fn dump_bytes(payload: &Payload<'_, Value>, compress: bool) -> usize {
    let (mut writer, mut passed) = (Writer::new(compress), 0);
    writer.value(payload, |out| {
        passed += out.len();
        out.clear();
    });
    passed + writer.out.len()
}

/// What FUNCTION DUMP replies for these libraries, given by their sources.
pub fn dump_functions<'a>(sources: impl Iterator<Item = &'a [u8]>, compress: bool) -> Vec<u8> {
    let mut writer = Writer::new(compress);
    sources.for_each(|source| writer.function(source));
    seal(writer.out)
}

/// Puts version and checksum behind a body.
pub fn seal(mut out: Vec<u8>) -> Vec<u8> {
    out.extend_from_slice(&VERSION.to_le_bytes());
    let sum = crc64(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// What is inside a payload whose version and checksum are right.
fn open(payload: &[u8], verify: bool) -> Result<&[u8], PayloadError> {
    let body_len = payload
        .len()
        .checked_sub(FOOTER_BYTES)
        .ok_or(PayloadError::Footer)?;
    let (body, footer) = payload.split_at(body_len);
    let version = u16::from_le_bytes([footer[0], footer[1]]);
    let sum = u64::from_le_bytes(footer[2..].try_into().expect("eight bytes"));
    if version > VERSION_MAX || verify && sum != crc64(&payload[..body_len + 2]) {
        return Err(PayloadError::Footer);
    }
    Ok(body)
}

pub(super) fn refused(halt: Halt) -> PayloadError {
    PayloadError::Content(match halt {
        Halt::Bad(problem) => problem,
        Halt::More(_) => Problem {
            offset: 0,
            what: What::Truncated,
        },
    })
}

/// The value in a DUMP payload (RESTORE). Bytes behind the value are left alone, as in Redis.
/// `verify` false believes it without its checksum.
pub fn restore(payload: &[u8], limits: &Limits, verify: bool) -> Result<Content, PayloadError> {
    let body = open(payload, verify)?;
    let mut input = Input::new(body, 0, true);
    let mut read = || {
        let kind = input.u8()?;
        let mut building = Building::begin(kind, &mut input, limits)?;
        building.go_on(&mut input, limits)
    };
    restored(read().map_err(refused)?)
}

/// What has been read of a payload, if a key may hold it.
pub(super) fn restored(content: Content) -> Result<Content, PayloadError> {
    match content {
        Content::Empty => Err(PayloadError::Content(Problem {
            offset: 0,
            what: What::Truncated,
        })),
        content => Ok(content),
    }
}

/// The sources of the libraries in a payload of FUNCTION DUMP (FUNCTION RESTORE). [`What::Type`] when it holds a value.
pub fn restore_functions(payload: &[u8]) -> Result<Vec<Vec<u8>>, PayloadError> {
    let body = open(payload, true)?;
    let mut input = Input::new(body, 0, true);
    let mut sources = Vec::new();
    while input.at < body.len() {
        let at = input.at;
        let kind = input.u8().map_err(refused)?;
        if kind != opcode::FUNCTION {
            return Err(refused(input.bad_at(at, What::Type(kind))));
        }
        sources.push(input.string().map_err(refused)?.into_vec());
    }
    Ok(sources)
}
