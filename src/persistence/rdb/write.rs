//! The writer: appends to a buffer that its owner empties, so that a snapshot can be written a piece at a time.
//!
//! A value as it is now goes in one call ([`Writer::value`]), with a look at the buffer after each element or node, at
//! which the owner may hand on what is there. A value that is walked while it changes goes piece by piece: its type and
//! count first ([`Writer::entry`], [`Writer::count`]), then as many of [`Writer::node`], [`Writer::member`],
//! [`Writer::pair`] or [`Writer::scored`] as the count says, in as many steps as the walk takes.

use super::code::{MAGIC, NODE_PACKED, NODE_PLAIN, VERSION, lead, opcode, value_type};
use super::lzf::Compressor;
use crate::base::number::{format_i64, parse_i64};
use crate::keyspace::Value;
use crate::structures::entry::Payload;
use crate::structures::hash::Hash;
use crate::structures::listpack::{Item, TextBuffer};
use crate::structures::quicklist::Walked;
use crate::structures::set::Set;

/// Longer strings are no integers of 32 bits.
const INTEGER_TEXT_MAX: usize = 11;
/// Shorter strings are not worth compressing.
const COMPRESSED_MIN: usize = 21;
/// What compressing must gain, in bytes.
const GAIN_MIN: usize = 4;

/// When a key was last used, as far as the eviction policy keeps account of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// The policy asks for neither.
    None,
    /// Seconds without access.
    Idle(u64),
    /// Access counter.
    Freq(u8),
}

/// Writes the format; see the head of the file.
pub struct Writer {
    /// What has been written and not been taken.
    pub out: Vec<u8>,
    /// Strings that somebody else is to encode, each with its place in what has been written: see [`Writer::put_off`].
    pub put_off: Vec<(usize, Box<[u8]>)>,
    /// Strings from this length on are put off.
    put_off_from: usize,
    /// Compress strings (`rdbcompression`).
    compress: bool,
    /// Longer ones are not.
    compressed_max: usize,
    compressor: Compressor,
    scratch: Vec<u8>,
}

impl Writer {
    /// A writer that compresses strings or does not.
    pub fn new(compress: bool) -> Self {
        Writer {
            out: Vec::new(),
            put_off: Vec::new(),
            put_off_from: usize::MAX,
            compress,
            compressed_max: usize::MAX,
            compressor: Compressor::default(),
            scratch: Vec::new(),
        }
    }

    /// Strings of more than `length` bytes are written as they are.
    pub fn compressing_up_to(mut self, length: usize) -> Self {
        self.compressed_max = length;
        self
    }

    /// Strings of `length` bytes and more are copied and put off, for a writer elsewhere to encode: compressing takes a
    /// hundred times as long as copying, and a core has other things to do. The owner takes them with what is in `out`.
    pub fn putting_off(mut self, length: usize) -> Self {
        self.put_off_from = length;
        self
    }

    // Files.

    /// The first nine bytes of a file.
    pub fn magic(&mut self) {
        self.out.extend_from_slice(MAGIC);
        self.out
            .extend_from_slice(format!("{VERSION:04}").as_bytes());
    }

    /// A fact about the file.
    pub fn aux(&mut self, name: &[u8], value: &[u8]) {
        self.out.push(opcode::AUX);
        self.string(name);
        self.string(value);
    }

    /// A function library's source.
    pub fn function(&mut self, source: &[u8]) {
        self.out.push(opcode::FUNCTION);
        self.string(source);
    }

    /// What follows is in this database.
    pub fn database(&mut self, db: usize) {
        self.out.push(opcode::SELECT);
        self.count(db);
    }

    /// What follows is in this database, which has so many keys, so many of them with an expiry.
    pub fn select(&mut self, db: usize, keys: usize, expires: usize) {
        self.database(db);
        self.out.push(opcode::RESIZE);
        self.count(keys);
        self.count(expires);
    }

    /// A key, up to where its value begins.
    pub fn entry(&mut self, key: &[u8], value_type: u8, expire_at: Option<i64>, usage: Usage) {
        if let Some(at) = expire_at {
            self.out.push(opcode::EXPIRE_MS);
            self.out.extend_from_slice(&at.to_le_bytes());
        }
        match usage {
            Usage::None => {}
            Usage::Idle(seconds) => {
                self.out.push(opcode::IDLE);
                self.length(seconds);
            }
            Usage::Freq(counter) => self.out.extend_from_slice(&[opcode::FREQ, counter]),
        }
        self.out.push(value_type);
        self.string(key);
    }

    /// The end of the file but for its checksum, which is that of all bytes so far: eight bytes, little endian.
    pub fn end(&mut self) {
        self.out.push(opcode::EOF);
    }

    // Lengths and strings.

    /// A length.
    pub fn length(&mut self, length: u64) {
        match length {
            0..=lead::SIX_BITS_MAX => self.out.push(length as u8),
            _ if length <= lead::FOURTEEN_BITS_MAX => {
                self.out.push(lead::FOURTEEN_BITS | (length >> 8) as u8);
                self.out.push(length as u8);
            }
            _ => match u32::try_from(length) {
                Ok(length) => {
                    self.out.push(lead::FOUR_BYTES);
                    self.out.extend_from_slice(&length.to_be_bytes());
                }
                Err(_) => {
                    self.out.push(lead::EIGHT_BYTES);
                    self.out.extend_from_slice(&length.to_be_bytes());
                }
            },
        }
    }

    /// A number of elements.
    pub fn count(&mut self, count: usize) {
        self.length(count as u64);
    }

    /// A string in its shortest form.
    pub fn string(&mut self, bytes: &[u8]) {
        if bytes.len() <= INTEGER_TEXT_MAX
            && let Some(value) = parse_i64(bytes)
            && self.short_integer(value)
        {
            return;
        }
        if bytes.len() >= self.put_off_from {
            self.put_off.push((self.out.len(), bytes.into()));
            return;
        }
        let may_gain = (COMPRESSED_MIN..=self.compressed_max).contains(&bytes.len());
        if self.compress && may_gain {
            let mut packed = std::mem::take(&mut self.scratch);
            packed.clear();
            let max = bytes.len() - GAIN_MIN;
            let fits = self.compressor.compress(bytes, max, &mut packed);
            if fits {
                self.begin_packed(packed.len(), bytes.len());
                self.out.extend_from_slice(&packed);
            }
            self.scratch = packed;
            if fits {
                return;
            }
        }
        self.count(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    /// The beginning of a string of so many bytes that follow compressed.
    pub fn begin_packed(&mut self, packed: usize, length: usize) {
        self.out.push(lead::LZF);
        self.count(packed);
        self.count(length);
    }

    /// An integer as a string.
    pub fn integer(&mut self, value: i64) {
        if !self.short_integer(value) {
            let text = format_i64(value);
            self.count(text.len());
            self.out.extend_from_slice(&text);
        }
    }

    fn short_integer(&mut self, value: i64) -> bool {
        if let Ok(value) = i8::try_from(value) {
            self.out.extend_from_slice(&[lead::INT_8, value as u8]);
        } else if let Ok(value) = i16::try_from(value) {
            self.out.push(lead::INT_16);
            self.out.extend_from_slice(&value.to_le_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.out.push(lead::INT_32);
            self.out.extend_from_slice(&value.to_le_bytes());
        } else {
            return false;
        }
        true
    }

    // Values.

    /// The type under which a value is written.
    pub fn type_of(payload: &Payload<'_, Value>) -> u8 {
        match payload {
            Payload::Int(_) | Payload::Bytes(_) => value_type::STRING,
            Payload::Boxed(value) => match value {
                Value::List(_) => value_type::LIST_QUICKLIST_2,
                Value::Set(Set::Intset(_)) => value_type::SET_INTSET,
                Value::Set(_) => value_type::SET,
                Value::Hash(Hash::Listpack(_)) => value_type::HASH_LISTPACK,
                Value::Hash(Hash::Table(_)) => value_type::HASH,
                Value::Zset(zset) if zset.as_listpack().is_some() => value_type::ZSET_LISTPACK,
                Value::Zset(_) => value_type::ZSET_2,
                Value::Stream(_) => value_type::STREAM_2,
            },
        }
    }

    /// A value as it is now. After each element or node `spill` may take bytes out of the buffer.
    pub fn value(&mut self, payload: &Payload<'_, Value>, mut spill: impl FnMut(&mut Vec<u8>)) {
        match payload {
            Payload::Int(value) => self.integer(*value),
            Payload::Bytes(bytes) => self.string(bytes),
            Payload::Boxed(Value::List(list)) => {
                self.count(list.walk_now().count());
                for node in list.walk_now() {
                    self.node(&node);
                    spill(&mut self.out);
                }
            }
            Payload::Boxed(Value::Set(set)) => match set {
                Set::Intset(intset) => self.string(intset.bytes()),
                _ => {
                    self.count(set.len());
                    for member in set.iter() {
                        self.item(member);
                        spill(&mut self.out);
                    }
                }
            },
            Payload::Boxed(Value::Hash(hash)) => match hash {
                Hash::Listpack(pack) => self.string(pack.bytes()),
                Hash::Table(_) => {
                    self.count(hash.len());
                    for (field, value) in hash.iter() {
                        self.item(field);
                        self.item(value);
                        spill(&mut self.out);
                    }
                }
            },
            Payload::Boxed(Value::Zset(zset)) => match zset.as_listpack() {
                Some(pack) => self.string(pack.bytes()),
                None => {
                    self.count(zset.len());
                    // From the highest down, as Redis does: a loader that inserts at the head is quickest so.
                    for (member, score) in zset.iter(0..zset.len()).rev() {
                        self.scored(member.text(&mut TextBuffer::new()), score);
                        spill(&mut self.out);
                    }
                }
            },
            Payload::Boxed(Value::Stream(stream)) => self.stream(stream, &mut spill),
        }
        spill(&mut self.out);
    }

    /// One element, field or value.
    pub(super) fn item(&mut self, item: Item<'_>) {
        match item {
            Item::Int(value) => self.integer(value),
            Item::Bytes(bytes) => self.string(bytes),
        }
    }

    /// One node of a list.
    pub fn node(&mut self, node: &Walked<'_>) {
        match node {
            Walked::Packed(pack) => {
                self.length(NODE_PACKED);
                self.string(pack.bytes());
            }
            Walked::Plain(element) => {
                self.length(NODE_PLAIN);
                self.string(element);
            }
        }
    }

    /// One member of a set that is written member by member.
    pub fn member(&mut self, member: &[u8]) {
        self.string(member);
    }

    /// One field of a hash that is written field by field.
    pub fn pair(&mut self, field: &[u8], value: &[u8]) {
        self.string(field);
        self.string(value);
    }

    /// One member of a sorted set that is written member by member.
    pub fn scored(&mut self, member: &[u8], score: f64) {
        self.string(member);
        self.out.extend_from_slice(&score.to_le_bytes());
    }
}
