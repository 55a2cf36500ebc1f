//! The fuzz targets for a few seconds each run of the tests: known good inputs, changed at random, without an engine.
//!
//! `SLOTWISE_FUZZ_SECONDS` makes each target run longer, `SLOTWISE_FUZZ_SEED` repeats a run. An input that fails is
//! printed, to become a unit test beside the code it broke.

#[path = "fuzz/targets.rs"]
mod targets;

use std::time::{Duration, Instant};

/// Bytes of an input at most: long enough to reach every state, short enough for many tries.
const INPUT_MAX: usize = 4096;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Shows the input at hand when its run ends in a panic.
struct Shown<'a>(&'a [u8], u64);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, input b\"{}\"", self.1, self.0.escape_ascii());
        }
    }
}

fn smoke(target: fn(&[u8]), seeds: &[&[u8]]) {
    let seed = setting("SLOTWISE_FUZZ_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |since| since.as_nanos() as u64)
    });
    let mut random = Random(seed);
    for input in seeds {
        let _shown = Shown(input, seed);
        target(input);
    }
    let limit =
        setting("SLOTWISE_FUZZ_SECONDS").map_or(Duration::from_millis(700), Duration::from_secs);
    let start = Instant::now();
    while start.elapsed() < limit {
        let mut input = seeds[random.below(seeds.len())].to_vec();
        for _ in 0..=random.below(8) {
            change(&mut input, seeds, &mut random);
        }
        input.truncate(INPUT_MAX);
        let _shown = Shown(&input, seed);
        target(&input);
    }
}

fn change(input: &mut Vec<u8>, seeds: &[&[u8]], random: &mut Random) {
    let at = random.below(input.len() + 1);
    match random.below(7) {
        0 => input.insert(at, random.next() as u8),
        1 if at < input.len() => drop(input.remove(at)),
        2 if at < input.len() => input[at] ^= 1 << random.below(8),
        3 if at < input.len() => {
            input[at] = *b"\r\n*$0-\"'\\ [".get(random.below(12)).unwrap_or(&0xff)
        }
        4 => input.truncate(at),
        5 => {
            // A piece of a seed goes in.
            let other = seeds[random.below(seeds.len())];
            let from = random.below(other.len());
            let piece = &other[from..from + random.below(other.len() - from)];
            input.splice(at..at, piece.iter().copied());
        }
        _ => {
            // A run of chance.
            for _ in 0..random.below(40) {
                input.push(random.next() as u8);
            }
        }
    }
}

#[test]
fn requests_cut_at_random() {
    smoke(
        targets::parser,
        &[
            b"\x08*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n*0\r\n*1\r\n$0\r\n\r\n",
            b"\x03*3\r\n$3\r\nSET\r\n$12\r\nabcdefghijkl\r\n$2\r\n\r\n\r\n  set  a   b\r\n",
            b"\x00set k \"a \\x41\\n\" 'it\\'s'\r\n",
            b"\x05*-1\r\n*2147483647\r\n$5\r\n",
            b"\x01*11\r\n$16385\r\n",
        ],
    );
}

#[test]
fn replies_of_every_kind() {
    smoke(
        targets::replies,
        &[
            b"\x34\x01\x12a\x00",
            b"\x25\x12a\x01\x12b\x47",
            b"\x3a\x08\x26\x19x\x0b",
            b"\x57\x00\x00\x00\x00\x00\x00\xf0\x7f",
        ],
    );
}

#[test]
fn configurations() {
    smoke(
        targets::config_text,
        &[
            include_bytes!("../config/slotwise.conf"),
            b"maxmemory 100mb\nmaxmemory-policy allkeys-lru\nsave 900 1 300 10\nbind 127.0.0.1 -::1\n",
            b"rename-command get \"\"\nclient-output-buffer-limit replica 1kb 512 60\nport 0\n# x\n",
            b"requirepass \"a \\x00\\\"b\"\nunixsocket '/tmp/x y'\nlogfile \"\"\n",
        ],
    );
}

#[test]
fn command_lines() {
    smoke(
        targets::command_line,
        &[
            b"--port\x006380\x00--save\x00",
            b"-\x00--bind\x00127.0.0.1\x00::1\x00--maxmemory\x0010mb",
            b"--rename-command\x00get\x00x",
        ],
    );
}

#[test]
fn table_operations() {
    smoke(
        targets::table_operations,
        &[
            b"\x00ab\x06ab\x03ab\x05ab",
            b"\x07\x00\xfe\x06..\x06..\x07\x01\xfe\x06..\x07\x00\xff\x06..",
            b"\x07\x02\xf0\x06\x00\x00\x07\x02\xf1",
        ],
    );
}

#[test]
fn listpacks() {
    smoke(
        targets::listpack_bytes,
        &[
            b"\x07\x00\x00\x00\x00\x00\xff",
            b"\x0c\x00\x00\x00\x02\x00\x05\x01\x81a\x02\xff",
            b"\x12\x00\x00\x00\x02\x00\xf1\x00\x10\x03\x84abcd\x05\xff",
        ],
    );
}

#[test]
fn snapshot_values() {
    smoke(
        targets::rdb_payload,
        &[
            b"\x00\xc3\x06\x15\x01aa\xe0\x0a\x00",
            b"\x12\x02\x01\x08abcdefgh\x02\x09\x09\x00\x00\x00\x01\x00\x01\x01\xff",
            b"\x0a\x1c\x1c\x00\x00\x00\x0e\x00\x00\x00\x03\x00\x00\xf3\x02\xf6\x02\x0bHello World\xff",
            b"\x0b\x10\x04\x00\x00\x00\x02\x00\x00\x00\xff\xff\xff\xff\x00\x00\x01\x00",
            b"\x11\x14\x14\x00\x00\x00\x04\x00\x81a\x02\x01\x01\x81b\x02\x832.5\x04\xff",
            b"\x05\x02\x01a\x00\x00\x00\x00\x00\x00\xf8?\x01b\x00\x00\x00\x00\x00\x00\x00\xc0",
            b"\x03\x03\x01a\x031.5\x01b\xfe\x01c\xff",
            b"\x0d\x16\x16\x00\x00\x00\x13\x00\x00\x00\x04\x00\x00\x01f\x03\x01v\x03\x01n\x03\xf8\xff",
            b"\x09\x19\x02\x03foo\x03\x00bar\x05hello\x05\x01worldZ\xff",
            b"\x13\x01\x10\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x1d\x1d\x00\x00\x00\x0a\x00\x01\x01\x00\x01\x01\x01\x81f\x02\x00\x01\x02\x01\x00\x01\x00\x01\x81v\x02\x04\x01\xff\x01\x01\x01\x01\x01\x00\x00\x01\x00",
        ],
    );
}

#[test]
fn snapshot_files() {
    smoke(
        targets::rdb_file,
        &[
            b"\x05REDIS0010\xfe\x00\x00\x01a\x01b\xff\x93q\x7f\x17\xb9\xd0w\xa8",
            b"\x02REDIS0003\xfe\x01\xfd\x64\x00\x00\x00\x02\x02\x01a\xc0\x05\xff",
            b"\x09REDIS0011\xfa\x03abc\x01x\xfb\x01\x00\xf8\x05\x04\x01h\x01\x01f\x01v\xff\x00\x00\x00\x00\x00\x00\x00\x00",
            b"\x01REDIS0010\xf7\x81\x00\x00\x00\x00\x00\x00\x04\x01\x02\x01\x05\x01a\x00\x00\x01a\x01b\xff\x00\x00\x00\x00\x00\x00\x00\x00",
        ],
    );
}

#[test]
fn glob_patterns() {
    smoke(
        targets::glob,
        &[
            b"a*b?c\xffaxxbyc",
            b"[^a-c]*[x\\]]\xffdx",
            b"\\*[z-a]\xff*m",
            b"*a*a*a*b\xffaaaaaaaaaaaaaaaa",
        ],
    );
}

#[test]
fn what_scripts_read_and_return() {
    smoke(
        targets::lua_values,
        &[
            b"\x00[1, -2.5e3, \"a\\u00e9\\n\", {\"k\": [null, true, {}]}, 0x1F]",
            b"\x01\x93\x01\xa2ab\x81\xa1k\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00",
            b"\x02>!4i2Hc0sbdbcdefghijklmnop",
            b"\x03*3\r\n$1\r\na\r\n%1\r\n+k\r\n,1.5\r\n|1\r\n+x\r\n:1\r\n~1\r\n#t\r\n",
            b"\x04local t = {} for i = 1, 9 do t[i] = tostring(i) .. '' end table.sort(t) return {map = t}",
        ],
    );
}

#[test]
fn logs_damaged_at_random() {
    smoke(
        targets::log,
        &[
            b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n#TS:17\r\n#TX:5 0,1\r\n*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n*1\r\n$4\r\nEXEC\r\n#EPOCH:6\r\n",
            b"*4\r\n$4\r\nZADD\r\n$1\r\nz\r\n$3\r\n1.5\r\n$1\r\nm\r\n*3\r\n$9\r\nPEXPIREAT\r\n$1\r\nz\r\n$13\r\n1700000000000\r\n*2\r\n$3\r\nDEL\r\n$1\r\nz\r\n",
            b"*5\r\n$4\r\nXADD\r\n$1\r\nx\r\n$3\r\n1-1\r\n$1\r\nf\r\n$1\r\nv\r\n*1\r\n$8\r\nFLUSHALL\r\n*3\r\n$6\r\nRENAME\r\n$1\r\na\r\n$1\r\nb\r\n",
        ],
    );
}

#[test]
fn manifests_damaged_at_random() {
    smoke(
        targets::manifest,
        &[
            b"file appendonly.aof.1.base.rdb seq 1 type b\nfile \"a\\x41 b\" seq 2 type i\n# x\n",
            b"slotwise-manifest 1\nboot 3f0c\nfsync always\ntransaction 17\ntaken 4 5 my dump\ngeneration 1 shards 1\nfile a shard 0 type b\nend 0000000000000000\n",
        ],
    );
}

/// A header of the bus with this type, and room for what follows.
fn bus_packet(kind: u8, body: &[u8], flags: u8) -> Vec<u8> {
    let mut bytes = vec![0; 2256];
    bytes[..4].copy_from_slice(b"RCmb");
    bytes[9] = 1;
    bytes[13] = kind;
    bytes[40..80].fill(b'a');
    bytes[0x8cd] = flags;
    bytes.extend_from_slice(body);
    let length = (bytes.len() as u32).to_be_bytes();
    bytes[4..8].copy_from_slice(&length);
    bytes
}

#[test]
fn packets_of_the_bus() {
    let mut ping = bus_packet(0, &[b'b'; 104], 0);
    ping[15] = 1;
    let mut named = bus_packet(2, b"\0\0\0\x10\0\0\0\0host.a\0\0\0\0\0\x08\0\x09\0\0", 4);
    named[0x8a7] = 2;
    let light = b"RCmb\0\0\0\x1a\0\x01\0\0\x80\x04\0\0\0\0\0\x01\0\0\0\x01cm";
    let seeds = [
        ping,
        named,
        bus_packet(3, &[b'c'; 40], 0),
        bus_packet(4, b"\0\0\0\x01\0\0\0\x02chi", 0),
        bus_packet(5, b"", 2),
        bus_packet(9, b"12345678\0\0\0\x03\x07abc", 0),
        light.to_vec(),
    ];
    let seeds: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
    smoke(targets::packet, &seeds);
}
