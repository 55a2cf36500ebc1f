//! What is told of a command after it ran: its entry in the slow log, its latency event, its line for MONITOR, with
//! secrets left out.

use std::io::Write;

use smallvec::SmallVec;

use crate::config::{self, Config};
use crate::observe::Observatory;
use crate::observe::slowlog::REDACTED;
use crate::resp::request::Args;

use super::client::Client;
use super::spec::Flags;
use super::table::Registered;

/// Places of arguments that nobody may read.
pub type Secrets = SmallVec<[usize; 4]>;

/// Which arguments of a command are secrets. The commands that take one are few and each has its own place for it.
pub fn secrets(command: &Registered, args: &Args<'_>) -> Secrets {
    match command.name.as_str() {
        "auth" if args.len() <= 3 => (1..args.len()).collect(),
        "acl|setuser" => (2..args.len()).collect(),
        "hello" => hello_secrets(args),
        "migrate" => migrate_secrets(args),
        "config|set" => (2..args.len().saturating_sub(1))
            .step_by(2)
            .filter(|place| config::is_sensitive(args.get(*place)))
            .map(|place| place + 1)
            .collect(),
        _ => Secrets::new(),
    }
}

fn hello_secrets(args: &Args<'_>) -> Secrets {
    let mut secrets = Secrets::new();
    let mut place = 2;
    while place < args.len() {
        let more = args.len() - 1 - place;
        if args.is(place, "AUTH") && more >= 2 {
            secrets.extend([place + 1, place + 2]);
            place += 3;
        } else if args.is(place, "SETNAME") && more >= 1 {
            place += 2;
        } else {
            break;
        }
    }
    secrets
}

fn migrate_secrets(args: &Args<'_>) -> Secrets {
    let mut secrets = Secrets::new();
    let mut place = 6;
    while place < args.len() {
        let words = if args.is(place, "AUTH") {
            1
        } else if args.is(place, "AUTH2") {
            2
        } else if args.is(place, "COPY") || args.is(place, "REPLACE") {
            0
        } else {
            break; // KEYS and whatever follows it
        };
        let end = (place + words).min(args.len() - 1);
        secrets.extend(place + 1..=end);
        place += words + 1;
    }
    secrets
}

/// Whether a run of so many microseconds deserves `slow`: the one comparison that every command pays.
#[inline]
pub fn is_slow(config: &Config, duration_us: u64) -> bool {
    let threshold = config.slowlog_log_slower_than_us;
    (threshold >= 0 && duration_us >= threshold as u64)
        || (config.latency_monitor_threshold_ms != 0
            && duration_us / 1000 >= config.latency_monitor_threshold_ms)
}

/// Writes a slow command to the slow log and the latency events, each by its own threshold. `(peer, name)` is whose it
/// was.
#[cold]
pub fn slow(
    observatory: &Observatory,
    config: &Config,
    command: &Registered,
    args: &Args<'_>,
    (peer, name): (&str, &[u8]),
    duration_us: u64,
    now_ms: i64,
) {
    let flags = command.spec.flags;
    let event = if flags.has(Flags::FAST) {
        "fast-command"
    } else {
        "command"
    };
    observatory.latency.record(
        event,
        now_ms,
        duration_us / 1000,
        config.latency_monitor_threshold_ms,
    );
    let threshold = config.slowlog_log_slower_than_us;
    if threshold < 0 || duration_us < threshold as u64 || flags.has(Flags::SKIP_SLOWLOG) {
        return;
    }
    let words = readable(command, args);
    observatory.slow_log.record(
        now_ms,
        duration_us,
        words.iter().copied(),
        peer,
        name,
        config.slowlog_max_len,
    );
}

/// The arguments with secrets replaced.
fn readable<'a>(command: &Registered, args: &Args<'a>) -> Vec<&'a [u8]> {
    let secrets = secrets(command, args);
    let mut words: Vec<&[u8]> = args.iter_from(0).collect();
    for place in secrets {
        words[place] = REDACTED;
    }
    words
}

/// Whether MONITOR shows the command.
#[inline]
pub fn is_monitored(command: &Registered) -> bool {
    !command
        .spec
        .flags
        .any(Flags::ADMIN.and(Flags::SKIP_MONITOR))
}

/// Whose a command is, as MONITOR shows it.
pub fn monitor_source(client: &Client) -> String {
    if client.unix {
        let path = client.peer.strip_suffix(":0").unwrap_or(&client.peer);
        format!("unix:{path}")
    } else {
        client.peer.clone()
    }
}

/// A line of MONITOR, as RESP; `source` is what `monitor_source` says.
pub fn monitor_line(command: &Registered, args: &Args<'_>, source: &str, now_us: i64) -> Vec<u8> {
    let mut line = Vec::with_capacity(64);
    let (seconds, micros) = (now_us.div_euclid(1_000_000), now_us.rem_euclid(1_000_000));
    // Writing to a Vec cannot fail.
    let _ = write!(line, "+{seconds}.{micros:06} [{} {source}]", args.caller.db);
    for word in readable(command, args) {
        line.push(b' ');
        quoted(&mut line, word);
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// Bytes between quotes, everything but printable characters escaped.
fn quoted(line: &mut Vec<u8>, bytes: &[u8]) {
    line.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => line.extend([b'\\', byte]),
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            b'\t' => line.extend(b"\\t"),
            7 => line.extend(b"\\a"),
            8 => line.extend(b"\\b"),
            b' '..=b'~' => line.push(byte),
            _ => line.extend(format!("\\x{byte:02x}").into_bytes()),
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::desk::Desk;
    use crate::command::table::commands;
    use crate::resp::request::OwnedArgs;

    fn shown(line: &str) -> String {
        let desk = Desk::new();
        let owned: OwnedArgs = line.split(' ').map(str::as_bytes).collect();
        let args = owned.args(desk.client.caller());
        let command = commands().resolve(&args).unwrap();
        let source = monitor_source(&desk.client);
        let line = monitor_line(command, &args, &source, 1_339_518_083_007_412);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_monitor_line_quotes_what_is_not_printable_and_hides_secrets() {
        assert_eq!(
            shown("SET k a\n\"\\\u{1}"),
            "+1339518083.007412 [0 127.0.0.1:5000] \"SET\" \"k\" \"a\\n\\\"\\\\\\x01\"\r\n"
        );
        assert!(shown("AUTH u p").ends_with("\"AUTH\" \"(redacted)\" \"(redacted)\"\r\n"));
        assert!(
            shown("HELLO 3 SETNAME x AUTH u p")
                .ends_with("\"x\" \"AUTH\" \"(redacted)\" \"(redacted)\"\r\n")
        );
        assert!(
            shown("MIGRATE h 1 k 0 9 COPY AUTH2 u p KEYS")
                .ends_with("\"AUTH2\" \"(redacted)\" \"(redacted)\" \"KEYS\"\r\n")
        );
        assert!(
            shown("CONFIG SET hz 10 RequirePass p")
                .ends_with("\"hz\" \"10\" \"RequirePass\" \"(redacted)\"\r\n")
        );
    }

    #[test]
    fn slow_commands_enter_the_log_and_the_events_each_by_its_threshold() {
        let mut desk = Desk::new();
        desk.set("latency-monitor-threshold", "50");
        let owned: OwnedArgs = [&b"AUTH"[..], b"secret"].into_iter().collect();
        let args = owned.args(desk.client.caller());
        let command = commands().resolve(&args).unwrap();
        assert!(!is_slow(&desk.config, 9_999) && is_slow(&desk.config, 10_000));
        for us in [20_000, 60_000] {
            slow(
                &desk.observatory,
                &desk.config,
                command,
                &args,
                (&desk.client.peer, &desk.client.name),
                us,
                desk.now,
            );
        }
        let newest = &desk.observatory.slow_log.newest(9)[0];
        assert_eq!(
            (newest.duration_us, &newest.args[1][..]),
            (60_000, REDACTED)
        );
        assert_eq!(desk.observatory.slow_log.len(), 2);
        assert_eq!(
            desk.observatory
                .latency
                .series(b"fast-command")
                .unwrap()
                .worst_ms,
            60
        );
    }
}
