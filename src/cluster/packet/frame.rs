//! Cutting the stream of a link into packets: signature, length, and whether the whole of it is there.
//!
//! What fails here ends the link, because nothing after it can be found. What fails later only costs the packet.

use super::layout::{HEADER, LIGHT, LIGHT_PUBLISH, PACKET_BYTES_MAX, SIGNATURE, TOTLEN, TYPE};
use super::layout::{u16_at, u32_at};

/// What the front of a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole packet of so many bytes.
    Whole(usize),
    /// So many bytes more are needed before it can be said more.
    Incomplete {
        /// At least 1.
        missing: usize,
    },
}

/// Why a link is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    /// It is not the bus's protocol.
    Signature([u8; 4]),
    /// Shorter than any packet of its form.
    TooShort(u32),
    /// Longer than [`PACKET_BYTES_MAX`].
    TooLong(u32),
}

impl std::fmt::Display for BadFrame {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadFrame::Signature(found) => {
                write!(to, "bad signature \"{}\"", found.escape_ascii())
            }
            BadFrame::TooShort(length) => write!(to, "bad packet length {length}"),
            BadFrame::TooLong(length) => {
                write!(to, "packet of {length} bytes, more than {PACKET_BYTES_MAX}")
            }
        }
    }
}

/// Bytes before which nothing is known: up to and with the type.
const PREFIX: usize = TYPE + 2;

/// Looks at the front of `bytes`.
pub fn frame(bytes: &[u8]) -> Result<Frame, BadFrame> {
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes[..seen] != SIGNATURE[..seen] {
        let mut found = [0; 4];
        found[..seen].copy_from_slice(&bytes[..seen]);
        return Err(BadFrame::Signature(found));
    }
    if bytes.len() < PREFIX {
        // The length alone condemns some, whatever the type may be.
        if bytes.len() >= TOTLEN + 4 {
            check_length(u32_at(bytes, TOTLEN), LIGHT_PUBLISH)?;
        }
        return Ok(Frame::Incomplete {
            missing: PREFIX - bytes.len(),
        });
    }
    let is_light = u16_at(bytes, TYPE) & LIGHT != 0;
    let least = if is_light { LIGHT_PUBLISH } else { HEADER };
    let length = check_length(u32_at(bytes, TOTLEN), least)?;
    Ok(if bytes.len() >= length {
        Frame::Whole(length)
    } else {
        Frame::Incomplete {
            missing: length - bytes.len(),
        }
    })
}

fn check_length(length: u32, least: usize) -> Result<usize, BadFrame> {
    match length as usize {
        bytes if bytes < least => Err(BadFrame::TooShort(length)),
        bytes if bytes > PACKET_BYTES_MAX => Err(BadFrame::TooLong(length)),
        bytes => Ok(bytes),
    }
}
