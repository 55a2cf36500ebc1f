//! The numbers of the format.

/// The version that is written.
pub const VERSION: u16 = 10;
/// The newest version that is read: Redis 7.2.
pub const VERSION_MAX: u16 = 11;
/// What a file begins with, before the four digits of its version.
pub const MAGIC: &[u8; 5] = b"REDIS";
/// Since this version a file ends in a checksum.
pub const CHECKSUM_SINCE: u16 = 5;

/// Value types; the names are those of the structures, the numbers those of the files.
pub mod value_type {
    /// A string.
    pub const STRING: u8 = 0;
    /// A list, element by element.
    pub const LIST: u8 = 1;
    /// A set, member by member.
    pub const SET: u8 = 2;
    /// A sorted set with scores as text.
    pub const ZSET: u8 = 3;
    /// A hash, field by field.
    pub const HASH: u8 = 4;
    /// A sorted set with binary scores.
    pub const ZSET_2: u8 = 5;
    /// A module's value before modules were released.
    pub const MODULE: u8 = 6;
    /// A module's value.
    pub const MODULE_2: u8 = 7;
    /// A hash as a zipmap.
    pub const HASH_ZIPMAP: u8 = 9;
    /// A list as a ziplist.
    pub const LIST_ZIPLIST: u8 = 10;
    /// A set as an intset.
    pub const SET_INTSET: u8 = 11;
    /// A sorted set as a ziplist.
    pub const ZSET_ZIPLIST: u8 = 12;
    /// A hash as a ziplist.
    pub const HASH_ZIPLIST: u8 = 13;
    /// A list as ziplists.
    pub const LIST_QUICKLIST: u8 = 14;
    /// A stream, Redis 5.0.
    pub const STREAM: u8 = 15;
    /// A hash as a listpack.
    pub const HASH_LISTPACK: u8 = 16;
    /// A sorted set as a listpack.
    pub const ZSET_LISTPACK: u8 = 17;
    /// A list as listpacks and big elements.
    pub const LIST_QUICKLIST_2: u8 = 18;
    /// A stream, Redis 7.0.
    pub const STREAM_2: u8 = 19;
    /// A set as a listpack, Redis 7.2.
    pub const SET_LISTPACK: u8 = 20;
    /// A stream, Redis 7.2.
    pub const STREAM_3: u8 = 21;
}

/// What stands where a value type could stand.
pub mod opcode {
    /// A function library: a string, its source.
    pub const FUNCTION: u8 = 245;
    /// The same in a form that no release ever wrote.
    pub const FUNCTION_PRE_RELEASE: u8 = 246;
    /// A module's data beside the keys.
    pub const MODULE_AUX: u8 = 247;
    /// Seconds without access of the next key: a length.
    pub const IDLE: u8 = 248;
    /// Access counter of the next key: a byte.
    pub const FREQ: u8 = 249;
    /// A fact about the file: two strings.
    pub const AUX: u8 = 250;
    /// Keys, and keys with an expiry, in this database: two lengths.
    pub const RESIZE: u8 = 251;
    /// Expiry of the next key in Unix milliseconds: an i64.
    pub const EXPIRE_MS: u8 = 252;
    /// Expiry of the next key in Unix seconds: an i32.
    pub const EXPIRE_SECONDS: u8 = 253;
    /// The database of what follows: a length.
    pub const SELECT: u8 = 254;
    /// The end; the checksum follows.
    pub const EOF: u8 = 255;
}

/// A node of a quicklist that is one element.
pub const NODE_PLAIN: u64 = 1;
/// A node of a quicklist that is a listpack.
pub const NODE_PACKED: u64 = 2;

/// First bytes of lengths and encoded strings.
pub mod lead {
    /// 00xxxxxx: a length of six bits.
    pub const SIX_BITS_MAX: u64 = 0x3f;
    /// 01xxxxxx: a length of fourteen bits, big endian.
    pub const FOURTEEN_BITS: u8 = 0x40;
    /// The greatest such length.
    pub const FOURTEEN_BITS_MAX: u64 = 0x3fff;
    /// Four bytes follow, big endian.
    pub const FOUR_BYTES: u8 = 0x80;
    /// Eight bytes follow, big endian.
    pub const EIGHT_BYTES: u8 = 0x81;
    /// A string that is an integer of one byte.
    pub const INT_8: u8 = 0xc0;
    /// A string that is an integer of two bytes.
    pub const INT_16: u8 = 0xc1;
    /// A string that is an integer of four bytes.
    pub const INT_32: u8 = 0xc2;
    /// A compressed string.
    pub const LZF: u8 = 0xc3;
}
