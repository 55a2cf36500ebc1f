//! A whole data set as one snapshot file, written while nothing changes.

use std::io;
use std::time::Duration;

use super::background::Consumer;
use super::file::{Output, Syncing};
use super::rdb::{Usage, Writer};
use crate::base::crc64;
use crate::base::number::{format_i64, format_u64};
use crate::keyspace::{KeyEntry, Keyspace};

/// Bytes gathered before they go to the file.
const CHUNK: usize = 256 * 1024;

/// What a snapshot says and how it is written.
pub struct About<'a> {
    /// What it begins with.
    pub header: Header,
    /// Compress strings.
    pub compress: bool,
    /// Write a checksum rather than zero.
    pub check_sum: bool,
    /// Tell the disk every few megabytes.
    pub incremental_sync: bool,
    /// A wait behind each key, for who tests with a slow save (`rdb-key-save-delay`).
    pub key_delay_us: u64,
    /// What is noted of a key's use.
    pub usage: &'a dyn Fn(&KeyEntry) -> Usage,
}

/// Passes what has been written on to the file.
struct Sink<'a> {
    output: &'a mut dyn Output,
    sum: u64,
    check_sum: bool,
    /// The first failure; after it nothing more is written.
    failed: Option<io::Error>,
}

impl Sink<'_> {
    fn spill(&mut self, bytes: &mut Vec<u8>, at_least: usize) {
        if bytes.len() < at_least.max(1) {
            return;
        }
        if self.failed.is_none() {
            if self.check_sum {
                self.sum = crc64::update(self.sum, bytes);
            }
            self.failed = self.output.append(bytes).err();
        }
        bytes.clear();
    }
}

/// Writes the shards of one server into files, each of which takes some of the keyspaces; gives the number of keys. On any
/// error nothing has changed.
pub fn save(
    files: &mut dyn Consumer,
    keyspaces: &[&[&Keyspace]],
    about: &About<'_>,
) -> io::Result<u64> {
    let written = (|| {
        let mut keys = 0;
        for (number, keyspaces) in keyspaces.iter().enumerate() {
            let mut output = Syncing::new(files.open(number)?, about.incremental_sync);
            keys += write(&mut output, keyspaces, about)?;
            output.sync()?;
        }
        files.commit()?;
        Ok(keys)
    })();
    if written.is_err() {
        files.abandon();
    }
    written
}

/// Writes some keyspaces to an output; gives the number of keys.
pub fn write(
    output: &mut dyn Output,
    keyspaces: &[&Keyspace],
    about: &About<'_>,
) -> io::Result<u64> {
    let mut writer = Writer::new(about.compress);
    let mut sink = Sink {
        output,
        sum: 0,
        check_sum: about.check_sum,
        failed: None,
    };
    header(&mut writer, &about.header);
    let databases = keyspaces.first().map_or(0, |keyspace| keyspace.databases());
    let mut keys = 0;
    for db in 0..databases {
        let of = |count: fn(&crate::keyspace::Db) -> usize| -> usize {
            keyspaces.iter().map(|one| count(one.db(db))).sum()
        };
        let total = of(crate::keyspace::Db::keys);
        if total == 0 {
            continue;
        }
        writer.select(db, total, of(crate::keyspace::Db::expires));
        for keyspace in keyspaces {
            for entry in keyspace.entries(db) {
                let payload = entry.payload();
                writer.entry(
                    entry.key(),
                    Writer::type_of(&payload),
                    entry.expire_at(),
                    (about.usage)(entry),
                );
                writer.value(&payload, |out| sink.spill(out, CHUNK));
                keys += 1;
                if about.key_delay_us > 0 {
                    std::thread::sleep(Duration::from_micros(about.key_delay_us));
                }
            }
            if let Some(error) = sink.failed.take() {
                return Err(error);
            }
        }
    }
    writer.end();
    sink.spill(&mut writer.out, 0);
    if let Some(error) = sink.failed {
        return Err(error);
    }
    let sum = if about.check_sum { sink.sum } else { 0 };
    sink.output.append(&sum.to_le_bytes())?;
    Ok(keys)
}

/// What a file says of itself before its keys.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// Unix milliseconds of the cut.
    pub now: i64,
    /// Memory in use, in bytes.
    pub used_memory: u64,
    /// It is the base of an append-only file.
    pub aof_base: bool,
    /// Sources of function libraries.
    pub functions: Vec<Vec<u8>>,
    /// Where it stands in the stream that replicas follow, if there is one.
    pub stream: Option<StreamPlace>,
}

/// A place in the stream of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPlace {
    /// The history: forty hexadecimal digits.
    pub id: Vec<u8>,
    /// Bytes of it so far.
    pub offset: u64,
    /// The database selected there.
    pub db: u32,
}

/// Writes what a file begins with.
pub fn header(writer: &mut Writer, about: &Header) {
    writer.magic();
    writer.aux(b"redis-ver", b"7.2.4");
    // Redis passes over names it does not know. It tells our own files from those that were put here.
    writer.aux(b"slotwise-ver", env!("CARGO_PKG_VERSION").as_bytes());
    writer.aux(b"redis-bits", b"64");
    writer.aux(b"ctime", &format_i64(about.now / 1000));
    writer.aux(b"used-mem", &format_u64(about.used_memory));
    if let Some(place) = &about.stream {
        writer.aux(b"repl-stream-db", &format_u64(place.db.into()));
        writer.aux(b"repl-id", &place.id);
        writer.aux(b"repl-offset", &format_u64(place.offset));
    }
    writer.aux(b"aof-base", if about.aof_base { b"1" } else { b"0" });
    for source in &about.functions {
        writer.function(source);
    }
}
