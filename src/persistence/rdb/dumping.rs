//! DUMP payloads of large values, made and taken apart in steps, so that a key with a million elements does not hold up its
//! core while it moves to another server (MIGRATE, RESTORE).
//!
//! [`Dumping`] asks that the value be the same from the first step to the last; whoever dumps it watches the key.
//! [`Restoring`] is given the same payload each time. What it does not cut up: a string within a value, and a compressed one.

use super::code::{VERSION, VERSION_MAX, value_type};
use super::input::Input;
use super::payload::{FOOTER_BYTES, PayloadError, refused, restored};
use super::problem::Halt;
use super::stream::GroupsAt;
use super::value::{Building, Content, Limits};
use super::write::Writer;
use crate::base::crc64;
use crate::keyspace::Value;
use crate::structures::entry::Payload;
use crate::structures::hash::Hash;
use crate::structures::list::List;
use crate::structures::listpack::TextBuffer;
use crate::structures::set::Set;

/// Bytes after which a step ends, and elements.
const STEP_BYTES: usize = 64 * 1024;
const STEP_ELEMENTS: usize = 512;
/// What a stream's groups hold is small and of one form.
const STEP_PENDING: usize = 2048;
/// A string that is longer is copied in pieces, and not compressed.
const LONG_STRING: usize = 256 * 1024;
/// Longer elements are not compressed: it takes a hundred times as long as copying.
const COMPRESSED_MAX: usize = 16 * 1024;
/// Bytes of which a step forms the checksum, or that it copies as they are: that is quicker than decoding.
const SUMMED_BYTES: usize = 512 * 1024;
/// Before the bytes of a long string: its type, and its length as four bytes that follow this one.
const TEXT_AT: usize = 6;
const LENGTH_32: u8 = 0x80;

/// How far a value has been written.
enum At {
    /// Bytes of a string.
    Byte(usize),
    /// The cursor in a hash's or a set's table.
    Cursor(u64),
    /// Members of a sorted set that are left, which is written from the highest down.
    Rank(usize),
    /// Nodes of a list.
    Node(usize),
    /// Nodes of a stream.
    StreamNode(usize),
    /// Its consumer groups.
    Groups(GroupsAt),
}

/// The payload of a large value, under way.
pub struct Dumping {
    writer: Writer,
    at: At,
    sum: u64,
}

impl Dumping {
    /// Begins, if the value is one that may be large; a small one is dumped at once.
    pub fn begin(payload: &Payload<'_, Value>, compress: bool) -> Option<Dumping> {
        let (count, at) = match payload {
            Payload::Bytes(bytes) if bytes.len() > LONG_STRING => (bytes.len(), At::Byte(0)),
            Payload::Boxed(Value::Hash(hash @ Hash::Table(_))) => (hash.len(), At::Cursor(0)),
            Payload::Boxed(Value::Set(set @ Set::Table(_))) => (set.len(), At::Cursor(0)),
            Payload::Boxed(Value::Zset(zset)) if zset.as_listpack().is_none() => {
                (zset.len(), At::Rank(zset.len()))
            }
            Payload::Boxed(Value::List(list @ List::Quick(_))) => {
                (list.walk_now().count(), At::Node(0))
            }
            Payload::Boxed(Value::Stream(stream)) => (stream.nodes_len(), At::StreamNode(0)),
            _ => return None,
        };
        let mut writer = Writer::new(compress).compressing_up_to(COMPRESSED_MAX);
        writer.out.push(Writer::type_of(payload));
        writer.count(count);
        let sum = 0;
        Some(Dumping { writer, at, sum })
    }

    /// Goes on with the same value; true when it is complete, footer and all. [`Dumping::take`] has what is there.
    pub fn go_on(&mut self, payload: &Payload<'_, Value>) -> bool {
        let is_done = self.step(payload);
        self.sum = crc64::update(self.sum, &self.writer.out);
        if is_done {
            let version = VERSION.to_le_bytes();
            self.sum = crc64::update(self.sum, &version);
            self.writer.out.extend_from_slice(&version);
            self.writer.out.extend_from_slice(&self.sum.to_le_bytes());
        }
        is_done
    }

    /// What the last step has written.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.writer.out)
    }

    /// # Panics
    /// If the value is of another form than at the beginning.
    fn step(&mut self, payload: &Payload<'_, Value>) -> bool {
        let writer = &mut self.writer;
        match (payload, &mut self.at) {
            (Payload::Bytes(bytes), At::Byte(at)) => {
                let end = bytes.len().min(*at + STEP_BYTES);
                writer.out.extend_from_slice(&bytes[*at..end]);
                *at = end;
                end == bytes.len()
            }
            (Payload::Boxed(Value::Hash(hash)), At::Cursor(cursor)) => {
                let mut seen = 0;
                loop {
                    *cursor = hash.scan(*cursor, |field, value| {
                        writer.item(field);
                        writer.item(value);
                        seen += 2;
                    });
                    if *cursor == 0 || seen >= STEP_ELEMENTS || writer.out.len() >= STEP_BYTES {
                        return *cursor == 0;
                    }
                }
            }
            (Payload::Boxed(Value::Set(set)), At::Cursor(cursor)) => {
                let mut seen = 0;
                loop {
                    *cursor = set.scan(*cursor, |member| {
                        writer.item(member);
                        seen += 1;
                    });
                    if *cursor == 0 || seen >= STEP_ELEMENTS || writer.out.len() >= STEP_BYTES {
                        return *cursor == 0;
                    }
                }
            }
            (Payload::Boxed(Value::Zset(zset)), At::Rank(left)) => {
                let first = left.saturating_sub(STEP_ELEMENTS);
                for (member, score) in zset.iter(first..*left).rev() {
                    writer.scored(member.text(&mut TextBuffer::new()), score);
                    *left -= 1;
                    if writer.out.len() >= STEP_BYTES {
                        break;
                    }
                }
                *left == 0
            }
            (Payload::Boxed(Value::List(list)), At::Node(at)) => {
                let mut nodes = list.walk_now().skip(*at).peekable();
                for node in nodes.by_ref() {
                    writer.node(&node);
                    *at += 1;
                    if writer.out.len() >= STEP_BYTES {
                        break;
                    }
                }
                nodes.peek().is_none()
            }
            (Payload::Boxed(Value::Stream(stream)), At::StreamNode(at)) => {
                if *at < stream.nodes_len() {
                    *at += writer.stream_nodes(stream, *at, STEP_BYTES);
                    return false;
                }
                writer.stream_numbers(stream);
                let mut groups = GroupsAt::default();
                let is_done = writer.stream_groups(stream, &mut groups, STEP_PENDING);
                self.at = At::Groups(groups);
                is_done
            }
            (Payload::Boxed(Value::Stream(stream)), At::Groups(at)) => {
                writer.stream_groups(stream, at, STEP_PENDING)
            }
            _ => panic!("a value that is dumped in steps stays as it is"),
        }
    }
}

/// A payload that is decoded in steps.
pub struct Restoring {
    /// The payload's length and footer, by which it is known again.
    length: usize,
    footer: Box<[u8]>,
    sum: u64,
    summed: usize,
    at: usize,
    /// Bytes that a step looks at: more when an element is longer.
    window: usize,
    building: Option<Building>,
    /// What is there of a long string.
    text: Vec<u8>,
    found: Option<Result<Content, PayloadError>>,
}

/// Whether a payload without its footer is one long string as it is, and nothing else.
fn is_long_text(body: &[u8]) -> bool {
    let Some((head, text)) = body.split_first_chunk::<TEXT_AT>() else {
        return false;
    };
    let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
    text.len() > LONG_STRING
        && head[..2] == [value_type::STRING, LENGTH_32]
        && usize::try_from(length) == Ok(text.len())
}

/// The end of a payload: its footer, if it has one.
fn footer(payload: &[u8]) -> &[u8] {
    &payload[payload.len().saturating_sub(FOOTER_BYTES)..]
}

impl Restoring {
    /// Nothing of this payload is decoded.
    pub fn of(payload: &[u8]) -> Restoring {
        Restoring {
            length: payload.len(),
            footer: footer(payload).into(),
            sum: 0,
            summed: 0,
            at: 0,
            window: STEP_BYTES,
            building: None,
            text: Vec::new(),
            found: None,
        }
    }

    /// Whether this is about that payload.
    pub fn is_of(&self, payload: &[u8]) -> bool {
        self.length == payload.len() && *self.footer == *footer(payload)
    }

    /// Goes on with the same payload; true when it is known what is in it. `verify` false believes it without its checksum.
    pub fn go_on(&mut self, payload: &[u8], limits: &Limits, verify: bool) -> bool {
        if self.found.is_none() {
            self.found = self.step(payload, limits, verify);
        }
        self.found.is_some()
    }

    /// What is in the payload, if that is known.
    pub fn into_found(self) -> Option<Result<Content, PayloadError>> {
        self.found
    }

    fn step(
        &mut self,
        payload: &[u8],
        limits: &Limits,
        verify: bool,
    ) -> Option<Result<Content, PayloadError>> {
        let Some(body_len) = payload.len().checked_sub(FOOTER_BYTES) else {
            return Some(Err(PayloadError::Footer));
        };
        let (body, footer) = payload.split_at(body_len);
        let signed = &payload[..body_len + 2];
        if verify && self.summed < signed.len() {
            let end = signed.len().min(self.summed + SUMMED_BYTES);
            self.sum = crc64::update(self.sum, &signed[self.summed..end]);
            self.summed = end;
            return None;
        }
        let version = u16::from_le_bytes([footer[0], footer[1]]);
        let is_wrong = verify && self.sum.to_le_bytes() != footer[2..];
        if version > VERSION_MAX || is_wrong {
            return Some(Err(PayloadError::Footer));
        }
        if is_long_text(body) {
            return self.copy_text(&body[TEXT_AT..]);
        }
        let end = body.len().min(self.at + self.window);
        let mut input = Input::new(&body[self.at..end], self.at as u64, end == body.len());
        let read = self.read(&mut input, limits);
        let taken = input.at;
        self.at += taken;
        match read {
            Err(Halt::More(_)) => {
                // An element that is longer than the window has it grow until it is there.
                self.window = match taken {
                    0 => 2 * self.window,
                    _ => STEP_BYTES,
                };
                None
            }
            Err(halt) => Some(Err(refused(halt))),
            Ok(content) => Some(restored(content)),
        }
    }

    /// Goes on with a long string that is not compressed, of which all bytes are there.
    fn copy_text(&mut self, text: &[u8]) -> Option<Result<Content, PayloadError>> {
        self.text.reserve_exact(text.len() - self.text.len());
        let begun = self.text.len();
        let end = text.len().min(begun + SUMMED_BYTES);
        self.text.extend_from_slice(&text[begun..end]);
        let is_done = end == text.len();
        is_done.then(|| restored(Content::Bytes(std::mem::take(&mut self.text))))
    }

    fn read(&mut self, input: &mut Input<'_>, limits: &Limits) -> Result<Content, Halt> {
        if self.building.is_none() {
            let before = input.at;
            let begun = input
                .u8()
                .and_then(|kind| Building::begin(kind, input, limits));
            if begun.is_err() {
                input.at = before;
            }
            self.building = Some(begun?);
        }
        let building = self.building.as_mut().expect("it has just been begun");
        building.go_on(input, limits)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{dump, restore};
    use super::*;
    use crate::config::Config;
    use crate::structures::hash::HashLimits;

    fn in_steps(payload: &Payload<'_, Value>) -> (Vec<u8>, usize) {
        let mut dumping = Dumping::begin(payload, true).expect("a value of a large form");
        let (mut out, mut steps) = (Vec::new(), 0);
        loop {
            let is_done = dumping.go_on(payload);
            out.extend(dumping.take());
            steps += 1;
            if is_done {
                return (out, steps);
            }
        }
    }

    fn back(payload: &[u8], verify: bool) -> (Result<Content, PayloadError>, usize) {
        let limits = Limits::of(&Config::default());
        let (mut restoring, mut steps) = (Restoring::of(payload), 1);
        while !restoring.go_on(payload, &limits, verify) {
            assert!(restoring.is_of(payload));
            steps += 1;
        }
        let found = restoring.into_found();
        (found.expect("it has come to its end"), steps)
    }

    /// The value, dumped in steps, restored in steps, dumped at once.
    fn round(value: &Value, steps_min: usize) {
        let whole = Payload::Boxed(value);
        let (payload, steps) = in_steps(&whole);
        assert!(steps >= steps_min, "{steps} steps");
        let limits = Limits::of(&Config::default());
        let Ok(Content::Value(at_once)) = restore(&payload, &limits, true) else {
            panic!("a payload that can be restored at once");
        };
        let (Ok(Content::Value(found)), steps) = back(&payload, true) else {
            panic!("a payload that can be restored in steps");
        };
        assert!(steps >= steps_min, "{steps} steps");
        let bytes = |value: &Value| dump(&Payload::Boxed(value), false);
        assert_eq!(bytes(&found), bytes(&at_once));
        assert_eq!(found.elements(), value.elements());
    }

    fn hash_of(fields: usize, value_bytes: usize) -> Value {
        let limits = Limits::of(&Config::default()).hash;
        let mut hash = Hash::new();
        for number in 0..fields {
            let field = format!("field:{number}");
            hash.set(field.as_bytes(), &vec![b'v'; value_bytes], limits);
        }
        Value::Hash(hash)
    }

    #[test]
    fn large_values_come_back_from_steps_as_they_were() {
        let config = Limits::of(&Config::default());
        round(&hash_of(20_000, 20), 10);
        // Elements that are longer than a step.
        round(&hash_of(5, 300_000), 1);
        let mut set = Set::new();
        let mut zset = crate::structures::zset::Zset::new();
        let mut list = List::new();
        for number in 0..20_000 {
            let member = format!("member:{number}");
            set.add(member.as_bytes(), config.set);
            let options = Default::default();
            zset.add(
                member.as_bytes(),
                f64::from(number % 777),
                options,
                config.zset,
            );
            list.push(
                crate::structures::quicklist::End::Tail,
                member.as_bytes(),
                config.list,
            );
        }
        round(&Value::Set(set), 4);
        round(&Value::Zset(zset), 4);
        round(&Value::List(list), 2);
    }

    #[test]
    fn groups_of_a_stream_come_back_from_steps_as_they_were() {
        use crate::structures::stream::{StreamBuilder, StreamId};
        let mut builder = StreamBuilder::new();
        builder.numbers(0, StreamId::new(90_000, 0)).unwrap();
        for (name, consumers, owned) in
            [("a", 3, 3000u64), ("b", 5000, 1), ("c", 0, 0), ("d", 1, 1)]
        {
            let id = |consumer, entry| StreamId::new(1 + consumer * owned + entry, 7);
            let mut group = builder
                .group(name.as_bytes(), StreamId::new(80_000, 1), Some(5))
                .unwrap();
            for consumer in 0..consumers {
                for entry in 0..owned {
                    group.pending(id(consumer, entry), 1000, 1 + entry).unwrap();
                }
            }
            for consumer in 0..consumers {
                let place = group
                    .consumer(format!("consumer {consumer:05}").as_bytes(), 77, 77)
                    .unwrap();
                for entry in 0..owned {
                    group.own(place, id(consumer, entry)).unwrap();
                }
            }
        }
        let stream = builder.finish().unwrap();
        round(&Value::Stream(Box::new(stream)), 10);
    }

    #[test]
    fn a_long_string_goes_in_pieces() {
        let text: Vec<u8> = (0..1_000_000u32).map(|number| number as u8).collect();
        let (payload, steps) = in_steps(&Payload::Bytes(&text));
        assert!(steps > 10);
        let (Ok(Content::Bytes(found)), steps) = back(&payload, true) else {
            panic!("a string");
        };
        assert_eq!(found, text);
        assert!(steps >= 4, "two for the checksum, two for the bytes");
        // A length that is not the payload's is left to the reader of all others.
        let with_length = |length: u32| {
            let mut other = payload.clone();
            other[2..6].copy_from_slice(&length.to_be_bytes());
            back(&other, false).0
        };
        assert!(matches!(
            with_length(1_000_001),
            Err(PayloadError::Content(_))
        ));
        let shorter = with_length(999_999);
        assert!(matches!(shorter, Ok(Content::Bytes(found)) if found[..] == text[..999_999]));
    }

    #[test]
    fn small_values_are_not_cut_up() {
        let limits = HashLimits::default();
        let mut hash = Hash::new();
        hash.set(b"field", b"value", limits);
        assert!(Dumping::begin(&Payload::Boxed(&Value::Hash(hash)), true).is_none());
        assert!(Dumping::begin(&Payload::Bytes(b"short"), true).is_none());
    }

    #[test]
    fn what_is_wrong_with_a_payload_is_found_in_steps_too() {
        let value = hash_of(20_000, 20);
        let (payload, _) = in_steps(&Payload::Boxed(&value));
        let mut broken = payload.clone();
        broken[100_000] ^= 1;
        assert!(matches!(back(&broken, true).0, Err(PayloadError::Footer)));
        assert!(matches!(back(b"short", true).0, Err(PayloadError::Footer)));
        for length in [11, 20, 1000, payload.len() / 2] {
            let mut cut = payload[..length].to_vec();
            cut.extend_from_slice(&payload[payload.len() - FOOTER_BYTES..]);
            let (found, _) = back(&cut, false);
            assert!(matches!(found, Err(PayloadError::Content(_))), "{length}");
        }
    }
}
