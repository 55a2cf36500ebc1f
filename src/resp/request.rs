//! A request as a handler sees it: arguments that point into the bytes as they arrived, copied nowhere.

use crate::base::hash::hash;
use crate::base::number::format_i64;
use crate::base::slot::{Slot, key_slot};

/// Where an argument lies within the bytes of its request or batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Length in bytes.
    pub length: u32,
}

/// A key with what routing and look-up need of it, computed once.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The name.
    pub bytes: &'a [u8],
    /// Its hash, for the table.
    pub hash: u64,
    /// Its slot, for the owner.
    pub slot: Slot,
}

impl<'a> Key<'a> {
    /// Computes hash and slot.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Key {
            bytes,
            hash: hash(bytes),
            slot: key_slot(bytes),
        }
    }
}

/// What a handler may know of the client behind a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller {
    /// The client's id, zero for the server itself.
    pub client: u64,
    /// The selected database.
    pub db: u32,
    /// CLIENT NO-TOUCH is on: reading a key leaves its clock alone.
    pub no_touch: bool,
    /// The command runs inside EXEC or a script: it must not block.
    pub deny_blocking: bool,
    /// It runs inside a script.
    pub from_script: bool,
    /// The reply is written in RESP3.
    pub resp3: bool,
    /// It wants to hear when keys change that it reads: CLIENT TRACKING.
    pub remembers: bool,
    /// It is the stream of this server's primary.
    pub primary: bool,
    /// It has just sent ASKING: a slot that comes here is served.
    pub asking: bool,
    /// It has sent READONLY: slots of this replica's primary are served to it.
    pub readonly: bool,
}

impl Caller {
    /// The same caller, for a second look at a key within one command: that it was used is noted already.
    pub fn again(self) -> Self {
        Self {
            no_touch: true,
            ..self
        }
    }
}

/// The arguments of one command, the name being number zero.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
    /// The first key, when routing has computed it already.
    first: Option<(u32, u64, Slot)>,
    /// Who asks.
    pub caller: Caller,
}

impl<'a> Args<'a> {
    /// Arguments at `spans` within `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8], spans: &'a [Span], caller: Caller) -> Self {
        Args {
            bytes,
            spans,
            first: None,
            caller,
        }
    }

    /// The same, with the hash and the slot of the key at `index` known.
    #[inline]
    pub fn with_key(mut self, index: usize, hash: u64, slot: Slot) -> Self {
        self.first = Some((index as u32, hash, slot));
        self
    }

    /// How many arguments there are, the name included.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // a request always has its name
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Argument `index`; panics when there is none, which arity has excluded.
    #[inline]
    pub fn get(&self, index: usize) -> &'a [u8] {
        let span = self.spans[index];
        &self.bytes[span.start as usize..span.start as usize + span.length as usize]
    }

    /// Argument `index` when there is one.
    #[inline]
    pub fn opt(&self, index: usize) -> Option<&'a [u8]> {
        (index < self.spans.len()).then(|| self.get(index))
    }

    /// Argument `index` as a key.
    #[inline]
    pub fn key(&self, index: usize) -> Key<'a> {
        match self.first {
            Some((known, hash, slot)) if known as usize == index => Key {
                bytes: self.get(index),
                hash,
                slot,
            },
            _ => Key::new(self.get(index)),
        }
    }

    /// Whether argument `index` is `word`, case ignored.
    #[inline]
    pub fn is(&self, index: usize, word: &str) -> bool {
        self.get(index).eq_ignore_ascii_case(word.as_bytes())
    }

    /// The arguments from `index` on as a command of their own: COMMAND GETKEYS.
    pub fn from(&self, index: usize) -> Args<'a> {
        Args::new(self.bytes, &self.spans[index..], self.caller)
    }

    /// The arguments from `index` on.
    pub fn iter_from(&self, index: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + '_ {
        let from = index.min(self.spans.len());
        self.spans[from..].iter().map(move |span| {
            &self.bytes[span.start as usize..span.start as usize + span.length as usize]
        })
    }

    /// The database the client has selected.
    #[inline]
    pub fn db(&self) -> usize {
        self.caller.db as usize
    }

    /// How long the request is on the wire, as an array of bulk strings.
    pub fn wire_bytes(&self) -> usize {
        wire_bytes(self.spans)
    }

    /// The raw parts, to copy the request into a batch.
    pub fn parts(&self) -> (&'a [u8], &'a [Span]) {
        (self.bytes, self.spans)
    }
}

/// Arguments that own their bytes: what MULTI queues, and what tests and inner calls build.
#[derive(Clone, Debug, Default)]
pub struct OwnedArgs {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl OwnedArgs {
    /// Copies the arguments.
    pub fn copy_of(args: &Args<'_>) -> Self {
        Self::from_iter(args.iter_from(0))
    }

    /// Views them as the arguments of a request by `caller`.
    pub fn args(&self, caller: Caller) -> Args<'_> {
        Args::new(&self.bytes, &self.spans, caller)
    }

    /// Appends an argument.
    pub fn push(&mut self, part: &[u8]) {
        self.spans.push(Span {
            start: self.bytes.len() as u32,
            length: part.len() as u32,
        });
        self.bytes.extend_from_slice(part);
    }

    /// Takes all arguments out; the memory stays for the next ones.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    /// How many arguments there are.
    pub fn count(&self) -> usize {
        self.spans.len()
    }

    /// How long it was as a request, an array of bulk strings.
    pub fn wire_bytes(&self) -> usize {
        wire_bytes(&self.spans)
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        self.bytes.capacity() + self.spans.capacity() * size_of::<Span>()
    }
}

impl<'a> FromIterator<&'a [u8]> for OwnedArgs {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(parts: I) -> Self {
        let mut owned = OwnedArgs::default();
        for part in parts {
            owned.push(part);
        }
        owned
    }
}

fn wire_bytes(spans: &[Span]) -> usize {
    let headed = |number: usize| number.checked_ilog10().unwrap_or(0) as usize + 1 + 3;
    let words = spans.iter().map(|span| span.length as usize);
    let words = words.map(|length| headed(length) + length + 2);
    headed(spans.len()) + words.sum::<usize>()
}

/// Appends a command of so many parts as RESP.
pub fn write_parts<'a>(out: &mut Vec<u8>, count: usize, parts: impl Iterator<Item = &'a [u8]>) {
    out.push(b'*');
    out.extend_from_slice(&format_i64(count as i64));
    out.extend_from_slice(b"\r\n");
    for part in parts {
        out.push(b'$');
        out.extend_from_slice(&format_i64(part.len() as i64));
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// The same for parts that lie side by side.
pub fn write_command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    write_parts(out, parts.len(), parts.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owned_arguments_know_how_long_they_were_on_the_wire() {
        let owned: OwnedArgs = [&b"client"[..], b"list"].into_iter().collect();
        assert_eq!(
            owned.wire_bytes(),
            b"*2\r\n$6\r\nclient\r\n$4\r\nlist\r\n".len()
        );
        let owned: OwnedArgs = [&b"set"[..], b"", b"0123456789"].into_iter().collect();
        let wire = b"*3\r\n$3\r\nset\r\n$0\r\n\r\n$10\r\n0123456789\r\n";
        assert_eq!(owned.args(Caller::default()).wire_bytes(), wire.len());
    }

    #[test]
    fn a_known_key_is_used_for_its_own_index_only() {
        let owned: OwnedArgs = [&b"MSET"[..], b"a", b"1", b"b", b"2"].into_iter().collect();
        let args = owned.args(Caller::default()).with_key(1, 42, 7);
        assert_eq!((args.key(1).hash, args.key(1).slot), (42, 7));
        assert_eq!(args.key(3).slot, key_slot(b"b"));
        assert!(args.is(0, "mset") && args.opt(5).is_none());
        assert_eq!(args.iter_from(3).collect::<Vec<_>>(), [&b"b"[..], b"2"]);
    }
}
