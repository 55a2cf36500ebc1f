//! What the fuzz targets do with their bytes: used by the engine (`fuzz_targets/`) and by the smoke run of the ordinary
//! tests (`tests/fuzz_smoke.rs`). A target that returns has found nothing.

use std::collections::HashMap;
use std::sync::Arc;

use slotwise::base::{glob, words};
use slotwise::cluster::packet::{self, Body, Frame, Packet};
use slotwise::command::spec::Merge;
use slotwise::config::Config;
use slotwise::config::{Invocation, Origin, Source, Surroundings, load, rewrite};
use slotwise::engine::merge::merge;
use slotwise::keyspace::{Keyspace, Value};
use slotwise::persistence::aof::manifest::Manifest;
use slotwise::persistence::aof::reader::{Item, LogReader};
use slotwise::persistence::aof::recovery::Survey;
use slotwise::persistence::rdb::{self, Content, Event, Problem, Reader};
use slotwise::recovery::executor::Executor;
use slotwise::recovery::redis_set::RedisManifest;
use slotwise::resp::Reply;
use slotwise::resp::parser::{Limits, Parsed, Parser, needs_unquoting, unquoted};
use slotwise::resp::request::OwnedArgs;
use slotwise::script::{Call, Host, Interpreter, Kind, Pulse};
use slotwise::structures::listpack::Listpack;
use slotwise::structures::table::{Element, Table, walked};

/// Requests with their arguments, and the error that ended the reading.
type Requests = (Vec<Vec<Vec<u8>>>, Option<Vec<u8>>);

/// The first byte says how the rest is cut into pieces; the requests are the same as in one piece.
pub fn parser(data: &[u8]) {
    let Some((&cut, input)) = data.split_first() else {
        return;
    };
    let authenticated = cut & 1 == 0;
    let whole = requests(input, usize::MAX, authenticated);
    for piece in [1, usize::from(cut >> 1) + 1] {
        assert_eq!(
            requests(input, piece, authenticated),
            whole,
            "in pieces of {piece}"
        );
    }
    if needs_unquoting(input)
        && let Ok((request, used)) = unquoted(input)
    {
        assert!(used <= input.len());
        let (read, error) = requests(&request, usize::MAX, true);
        assert!(
            error.is_none() && read.len() == 1,
            "a rewritten request is one request"
        );
    }
}

fn requests(input: &[u8], piece: usize, authenticated: bool) -> Requests {
    let limits = Limits {
        bulk_max: 1 << 20,
        authenticated,
    };
    let (mut parser, mut buffer, mut requests) = (Parser::default(), Vec::new(), Vec::new());
    for part in input.chunks(piece.min(input.len()).max(1)) {
        buffer.extend_from_slice(part);
        let mut at = 0;
        loop {
            let mut spans = Vec::new();
            match parser.next(&buffer, at, limits, &mut spans) {
                Parsed::Request(length) => {
                    assert!(length > 0, "a request takes bytes");
                    requests.push(
                        spans
                            .iter()
                            .map(|span| {
                                buffer[span.start as usize..][..span.length as usize].to_vec()
                            })
                            .collect(),
                    );
                    at += length;
                }
                Parsed::Incomplete { missing } => {
                    assert!(missing > 0 && spans.is_empty());
                    break;
                }
                Parsed::Failed(text) => return (requests, Some(text)),
            }
        }
        buffer.drain(..at);
        assert!(
            parser.held_bytes() <= 64 * 1024 + 16 * buffer.len(),
            "memory follows what has arrived"
        );
    }
    (requests, None)
}

/// Replies of every kind, as the bytes say, are well-formed in both protocols; arrays of several shards merge into one.
pub fn replies(data: &[u8]) {
    for resp3 in [false, true] {
        let mut rest = data;
        let mut out = Vec::new();
        value(&mut Reply::new(&mut out, resp3), &mut rest, 0);
        assert_eq!(
            skip(&out, 0),
            Some(out.len()),
            "{:?}",
            String::from_utf8_lossy(&out)
        );
    }
    let mut elements = Vec::new();
    let parts: Vec<Vec<u8>> = data
        .chunks(5)
        .map(|chunk| {
            let mut out = Vec::new();
            let mut reply = Reply::new(&mut out, false);
            reply.array(chunk.len());
            for byte in chunk {
                reply.integer(i64::from(*byte));
                elements.push(*byte);
            }
            out
        })
        .collect();
    let (mut merged, mut expected) = (Vec::new(), Vec::new());
    merge(Merge::Concat, &parts, &mut Reply::new(&mut merged, false));
    let mut reply = Reply::new(&mut expected, false);
    reply.array(elements.len());
    elements
        .iter()
        .for_each(|byte| reply.integer(i64::from(*byte)));
    assert_eq!(merged, expected);
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(count.min(rest.len()));
    *rest = left;
    taken
}

fn value(reply: &mut Reply<'_>, rest: &mut &[u8], depth: usize) {
    let kind = take(rest, 1).first().copied().unwrap_or(0);
    let size = usize::from(kind >> 4);
    let many = if depth < 8 { size } else { 0 };
    match kind & 15 {
        0 => reply.null(),
        1 => reply.integer(i64::from(kind) - 128),
        2 => reply.bulk(take(rest, size)),
        3 => reply.null_array(),
        4 => {
            reply.array(many);
            (0..many).for_each(|_| value(reply, rest, depth + 1));
        }
        5 => {
            reply.map(many);
            (0..2 * many).for_each(|_| value(reply, rest, depth + 1));
        }
        6 => {
            reply.set(many);
            (0..many).for_each(|_| value(reply, rest, depth + 1));
        }
        7 => {
            let mut bits = [0; 8];
            let taken = take(rest, 8);
            bits[..taken.len()].copy_from_slice(taken);
            reply.double(f64::from_bits(u64::from_le_bytes(bits)));
        }
        8 => reply.boolean(size > 7),
        9 => reply.verbatim("txt", take(rest, size)),
        10 => {
            let deferred = reply.deferred();
            (0..many).for_each(|_| value(reply, rest, depth + 1));
            reply.array_at(deferred, many);
        }
        11 => reply.big_number("-12345678901234567890123"),
        _ => reply.ok(),
    }
}

/// Where the value that begins at `at` ends, if it is well-formed RESP.
fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    let end = at + bytes[at..].windows(2).position(|pair| pair == b"\r\n")?;
    let line = std::str::from_utf8(bytes.get(at + 1..end)?).ok()?;
    let next = end + 2;
    match bytes[at] {
        b'+' | b'-' | b',' | b'(' | b'#' | b'_' => Some(next),
        b':' => line.parse::<i64>().ok().map(|_| next),
        b'$' | b'=' => match line.parse::<i64>().ok()? {
            -1 => Some(next),
            length => {
                let end = next + usize::try_from(length).ok()?;
                (bytes.get(end..end + 2)? == b"\r\n").then_some(end + 2)
            }
        },
        kind @ (b'*' | b'%' | b'~' | b'>') => {
            let count = line.parse::<i64>().ok()?.max(0) * if kind == b'%' { 2 } else { 1 };
            (0..count).try_fold(next, |at, _| skip(bytes, at))
        }
        _ => None,
    }
}

/// A configuration's surroundings without files.
struct Nowhere;

impl Surroundings for Nowhere {
    fn include(
        &mut self,
        _directory: &[u8],
        _pattern: &[u8],
    ) -> Result<Vec<(String, Vec<u8>)>, String> {
        Ok(Vec::new())
    }

    fn is_command(&self, name: &str) -> bool {
        name.len() < 4
    }

    fn check_user(&self, _lines: &[Vec<Vec<u8>>]) -> Result<(), String> {
        Ok(())
    }

    fn working_directory(&self) -> Vec<u8> {
        b"/".to_vec()
    }
}

fn source(text: &[u8]) -> Source<'_> {
    Source {
        origin: Origin::File("fuzz.conf"),
        text,
    }
}

/// What CONFIG REWRITE writes for what it has written.
fn rewritten(text: &[u8]) -> Vec<u8> {
    match load(&[source(text)], &mut Nowhere) {
        Ok(loaded) => rewrite(b"", &loaded.config, &[], false),
        Err(error) => panic!("CONFIG REWRITE wrote what cannot be read: {error}"),
    }
}

/// Any text is read or refused with its line; what was read survives being written and read again.
pub fn config_text(data: &[u8]) {
    match load(&[source(data)], &mut Nowhere) {
        Ok(loaded) => {
            let written = rewrite(b"", &loaded.config, &[], false);
            // An empty word at the end of a list is lost in the first round, as in Redis; then nothing changes any more.
            let twice = rewritten(&written);
            let thrice = rewritten(&twice);
            assert_eq!(
                String::from_utf8_lossy(&thrice),
                String::from_utf8_lossy(&twice)
            );
        }
        Err(error) => {
            assert!(error.line_number >= 1 && !error.reason.is_empty());
            assert!(error.line_number <= data.split(|byte| *byte == b'\n').count());
        }
    }
    let mut quoted = Vec::new();
    words::quote(&mut quoted, data);
    assert_eq!(
        words::split(&quoted),
        Some(vec![data.to_vec()]),
        "quoting is undone by splitting"
    );
}

/// Arguments parted by NUL bytes are understood or refused.
pub fn command_line(data: &[u8]) {
    let arguments: Vec<Vec<u8>> = data.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    if let Invocation::Run(line) = Invocation::parse(&arguments) {
        let sources = line.sources(None, None);
        let _ = load(&sources, &mut Nowhere);
    }
}

struct Number {
    key: [u8; 2],
    value: u64,
}

/// Few bits, so that chains grow long and hashes collide.
fn hash_of(key: [u8; 2]) -> u64 {
    u64::from(u16::from_le_bytes(key) >> 3)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(20)
}

impl Element for Box<Number> {
    fn key(&self) -> &[u8] {
        &self.key
    }

    fn hash(&self) -> u64 {
        hash_of(self.key)
    }

    fn address(&self) -> *const u8 {
        (&raw const **self).cast()
    }
}

/// Operations of three bytes each on a table and on a map do the same; a scan under way sees what was there throughout.
pub fn table_operations(data: &[u8]) {
    let mut table: Table<Box<Number>> = Table::new();
    let mut model: HashMap<[u8; 2], u64> = HashMap::new();
    let mut cursor = 0;
    // Keys that have been in the table since the scan began, and how often it has seen them.
    let mut throughout: HashMap<[u8; 2], usize> = HashMap::new();
    for (step, operation) in data.chunks_exact(3).enumerate() {
        let key = [operation[1], operation[2]];
        let hash = hash_of(key);
        let value = step as u64;
        match operation[0] % 8 {
            0..=2 => {
                if let Some(found) = table.find_mut(hash, &key) {
                    found.value = value;
                } else {
                    table.insert(hash, Box::new(Number { key, value }));
                }
                model.insert(key, value);
            }
            3 | 4 => {
                let removed = table.remove(hash, &key).map(|number| number.value);
                assert_eq!(removed, model.remove(&key));
                throughout.remove(&key);
            }
            5 => assert_eq!(
                table.find(hash, &key).map(|number| number.value),
                model.get(&key).copied()
            ),
            6 => {
                if cursor == 0 {
                    throughout = model.keys().map(|key| (*key, 0)).collect();
                }
                let from = cursor;
                cursor = table.scan(from, |number| {
                    assert!(!walked(from, hash_of(number.key)), "seen before");
                    if let Some(seen) = throughout.get_mut(&number.key) {
                        *seen += 1;
                    }
                });
                if cursor == 0 {
                    assert!(throughout.values().all(|seen| *seen == 1), "each key once");
                }
            }
            _ => {
                // A run of neighbours, so that the table really grows and shrinks.
                for low in 0..operation[2] {
                    let key = [low, operation[1]];
                    let hash = hash_of(key);
                    if operation[2] & 1 == 0 {
                        if table.find(hash, &key).is_none() {
                            table.insert(hash, Box::new(Number { key, value }));
                            model.insert(key, value);
                        }
                    } else {
                        assert_eq!(
                            table.remove(hash, &key).is_some(),
                            model.remove(&key).is_some()
                        );
                        throughout.remove(&key);
                    }
                }
            }
        }
        assert_eq!(table.len(), model.len());
    }
    table.check();
}

/// Foreign bytes are refused or are a listpack whose elements, written anew, are the same.
pub fn listpack_bytes(data: &[u8]) {
    let Ok(pack) = Listpack::from_bytes(data) else {
        return;
    };
    pack.check();
    let mut again = Listpack::new();
    for item in pack.iter() {
        again.push_back(&item.to_vec());
    }
    assert_eq!(again.len(), pack.len());
    // The count may be left open by others (FFFF); everything else has one spelling.
    assert_eq!(again.bytes()[6..], pack.bytes()[6..]);
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    pack.iter().for_each(|item| forward.push(item.to_vec()));
    let mut place = pack.last();
    while let Some(here) = place {
        backward.push(pack.at(here).to_vec());
        place = pack.before(here);
    }
    backward.reverse();
    assert_eq!(forward, backward, "the same elements from both ends");
}

/// Foreign bytes after a value type are refused, or are a value that is sound and that reads back from what we write.
/// Version and checksum are put behind them, so that no time is lost on guessing those.
pub fn rdb_payload(data: &[u8]) {
    let limits = rdb::Limits::of(&Config::default());
    let sealed = rdb::seal(data.to_vec());
    let Ok(content) = rdb::restore(&sealed, &limits, true) else {
        return;
    };
    check_content(&content);
    let written = content.with_new(|value| rdb::dump(&value.payload(), true));
    assert!(
        rdb::restore(&written, &limits, true).is_ok(),
        "what is written reads back"
    );
}

fn check_content(content: &Content) {
    let Content::Value(value) = content else {
        return;
    };
    match &**value {
        Value::List(list) => list.check(),
        Value::Set(set) => set.check(),
        Value::Hash(hash) => hash.check(),
        Value::Zset(zset) => zset.check(),
        Value::Stream(stream) => stream.check(),
    }
}

/// A file is refused at the same place, or gives the same keys, however it is cut into pieces.
pub fn rdb_file(data: &[u8]) {
    let Some((&cut, file)) = data.split_first() else {
        return;
    };
    let whole = file_keys(file, usize::MAX, false);
    assert_eq!(file_keys(file, 1 + usize::from(cut), false), whole);
    let raw = file_keys(file, 1 + usize::from(cut), true);
    assert_eq!(
        raw.1.is_none(),
        whole.1.is_none(),
        "raw values are the same values"
    );
    if whole.1.is_none() {
        assert_eq!(raw.0, whole.0);
    }
}

/// The keys with what they hold, and the problem that ended the reading.
fn file_keys(file: &[u8], piece: usize, raw: bool) -> (Vec<String>, Option<Problem>) {
    let limits = rdb::Limits::of(&Config::default());
    let mut reader = Reader::new(limits, true);
    if raw {
        reader = reader.leave_raw();
    }
    let (mut pieces, mut keys) = (file.chunks(piece.min(file.len()).max(1)), Vec::new());
    loop {
        match reader.next_event() {
            Err(problem) => return (keys, Some(problem)),
            Ok(Event::End) => return (keys, None),
            Ok(Event::More) => match pieces.next() {
                Some(piece) => reader.feed(piece),
                None => reader.end(),
            },
            Ok(Event::Key(mut loaded)) => {
                if let Content::Raw(value) = &loaded.content {
                    match value.decode(&limits) {
                        Ok(content) => loaded.content = content,
                        Err(problem) => return (keys, Some(problem)),
                    }
                }
                check_content(&loaded.content);
                keys.push(format!("{loaded:?}"));
            }
            Ok(_) => {}
        }
    }
}

/// Pattern and text are parted by the first 0xFF. Matching ends, and agrees with what a few simple facts say.
pub fn glob(data: &[u8]) {
    let at = data
        .iter()
        .position(|byte| *byte == 0xff)
        .unwrap_or(data.len());
    let (pattern, text) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let found = glob::matches(pattern, text, false);
    if !pattern.contains(&b'[') {
        // Folding moves the ends of a range and fills a negated class.
        assert!(
            !found || glob::matches(pattern, text, true),
            "ignoring case matches no less"
        );
    }
    let escaped: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
    assert!(
        glob::matches(&escaped, text, false),
        "an escaped text matches itself"
    );
    // Redis's matcher never looks at a pattern for an empty text, so that a lone star does not match it.
    assert_eq!(glob::matches(b"*", text, false), !text.is_empty());
    if !glob::is_pattern(pattern) && !pattern.contains(&b'\\') {
        assert_eq!(
            found,
            pattern == text,
            "a pattern without wildcards matches itself alone"
        );
    }
    if !text.is_empty() && pattern.len() * text.len() < 4096 {
        let mut starred = pattern.to_vec();
        starred.insert(0, b'*');
        assert!(
            !found || glob::matches(&starred, text, false),
            "a star may stand for nothing"
        );
    }
}

/// Answers every command of a script with the same bytes.
struct Answering<'a>(&'a [u8]);

impl Host for Answering<'_> {
    fn call(&mut self, _: &OwnedArgs, _: bool, out: &mut Vec<u8>) -> Result<(), Vec<u8>> {
        out.extend_from_slice(self.0);
        Ok(())
    }

    fn pulse(&mut self) -> Pulse {
        Pulse::Kill
    }

    fn set_repl(&mut self, _: u8) {}

    fn may_run(&mut self, _: &OwnedArgs) -> Option<bool> {
        None
    }

    fn log(&mut self, _: u8, _: &[u8]) {}
}

/// The first byte chooses what reads the rest within a script; what was read goes back out as a reply.
pub fn lua_values(data: &[u8]) {
    const SCRIPTS: [&str; 5] = [
        "return cjson.decode(ARGV[1])",
        "return {cmsgpack.unpack(ARGV[1])}",
        "return {struct.unpack(ARGV[1], ARGV[2])}",
        "return redis.call('any')",
        "local f = loadstring(ARGV[1]) if f then return f() end",
    ];
    thread_local! {
        static LUA: std::cell::RefCell<Option<Interpreter>> = const { std::cell::RefCell::new(None) };
    }
    let Some((&kind, rest)) = data.split_first() else {
        return;
    };
    let (left, right) = rest.split_at(rest.len() / 2);
    let name = format!("script {}", usize::from(kind) % SCRIPTS.len());
    let args: Vec<&[u8]> = if name.ends_with('2') {
        vec![left, right]
    } else {
        vec![rest]
    };
    LUA.with_borrow_mut(|lua| {
        let lua = lua.get_or_insert_with(|| {
            let mut lua = Interpreter::new(Kind::Eval, 64 << 20).expect("there is memory for Lua");
            for (number, script) in SCRIPTS.iter().enumerate() {
                let name = format!("script {number}");
                lua.define(&name, script.as_bytes())
                    .expect("the script compiles");
            }
            lua
        });
        let mut out = Vec::new();
        let call = Call {
            name: &name,
            keys: &[],
            args: &args,
        };
        lua.run(&mut Answering(rest), &call, &mut Reply::new(&mut out, true));
        assert!(!out.is_empty(), "every script is answered");
    });
}

/// A log of any bytes: what is read of it does not depend on how the bytes come, and surveying ends where reading does. What
/// can be read is run over a shard, which stays whole.
pub fn log(data: &[u8]) {
    let whole = items(data, data.len().max(1));
    assert_eq!(items(data, 7), whole, "in pieces");
    let mut survey = Survey::default();
    if let Ok(is_whole) = survey.read(0, data) {
        assert!(survey.end().offset <= data.len() as u64);
        assert!(
            !is_whole || whole.1.is_empty(),
            "it ends where it cannot be read"
        );
    }
    let config = Arc::new(Config::default());
    let keyspace = Keyspace::new(0, 1, config.databases as usize);
    let mut executor = Executor::new(keyspace, &config, 1_700_000_000_000);
    for request in &whole.0 {
        let owned: OwnedArgs = request.iter().map(Vec::as_slice).collect();
        if executor.take(&owned.args(Default::default())).is_err() {
            break;
        }
    }
    executor.into_keyspace().0.check();
}

/// The commands of a log that is read in pieces, and what ended the reading.
fn items(data: &[u8], piece: usize) -> (Vec<Vec<Vec<u8>>>, String) {
    struct Pieces<'a>(&'a [u8], usize);
    impl std::io::Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let count = self.1.min(self.0.len()).min(into.len());
            let (first, rest) = self.0.split_at(count);
            into[..count].copy_from_slice(first);
            self.0 = rest;
            Ok(count)
        }
    }
    let mut reader = LogReader::new(Pieces(data, piece), 0);
    let mut all = Vec::new();
    loop {
        match reader.next_item() {
            Ok(Some(Item::Command(args))) => {
                all.push(args.iter_from(0).map(<[u8]>::to_vec).collect());
            }
            Ok(Some(Item::Annotation(_))) => {}
            Ok(None) => return (all, String::new()),
            Err(problem) => return (all, problem.to_string()),
        }
    }
}

/// Manifests, ours and Redis's: one that is read says the same again.
pub fn manifest(data: &[u8]) {
    let _ = RedisManifest::parse(data);
    let text = String::from_utf8_lossy(data);
    if let Ok(manifest) = Manifest::parse(&text) {
        assert_eq!(Manifest::parse(&manifest.to_text()), Ok(manifest));
    }
}

/// Bytes of a link: cut into packets alike in whatever pieces they come, and what is read is written again to the byte.
pub fn packet(data: &[u8]) {
    let mut at = 0;
    while let Ok(Frame::Whole(length)) = packet::frame(&data[at..]) {
        let bytes = &data[at..at + length];
        for have in [0, 3, 8, 14, length - 1] {
            assert!(
                matches!(packet::frame(&bytes[..have]), Ok(Frame::Incomplete { missing }) if have + missing <= length)
            );
        }
        packet_again(bytes);
        at += length;
    }
}

fn packet_again(bytes: &[u8]) {
    let Ok(read) = packet::decode(bytes) else {
        return;
    };
    let Packet::Full { header, body } = &read else {
        return;
    };
    let written = match body {
        Body::Gossip {
            kind,
            gossip,
            extensions,
        } => {
            let entries: Vec<_> = gossip.iter().collect();
            let extensions: Vec<_> = extensions.iter().collect();
            packet::gossip(*kind, header, &entries, &extensions)
        }
        Body::Fail(id) => packet::fail(header, *id),
        Body::Publish(of) => packet::publish(header, of.is_sharded, of.channel, of.message),
        Body::AuthRequest => packet::plain(packet::Kind::AuthRequest, header),
        Body::AuthAck => packet::plain(packet::Kind::AuthAck, header),
        Body::MfStart => packet::plain(packet::Kind::MfStart, header),
        Body::Update {
            config_epoch,
            owner,
            slots,
        } => packet::update(header, *config_epoch, *owner, slots),
        Body::Module(of) => packet::module(header, of.module, of.kind, of.payload),
        Body::Unknown(_) => return,
    };
    let Ok(Packet::Full {
        header: again,
        body: body_again,
    }) = packet::decode(&written)
    else {
        panic!("what was written is not read");
    };
    let mut expected = header.clone();
    if matches!(body, Body::Gossip { .. }) {
        expected.message.0 |= 4;
    } else {
        assert_eq!(written.len(), bytes.len());
    }
    assert_eq!(again, expected);
    assert_eq!(
        std::mem::discriminant(body),
        std::mem::discriminant(&body_again)
    );
}
