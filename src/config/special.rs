//! The values with a grammar of their own: save points, output buffer limits, event classes and the like.

use super::choice;
use super::value::{Kind, Value, loose_number, memory};

/// How much a client of one class may leave unread (`client-output-buffer-limit`); 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferLimits {
    /// Reaching this many bytes closes the connection at once.
    pub hard_bytes: u64,
    /// Staying above this many bytes for `soft_seconds` closes it too.
    pub soft_bytes: u64,
    /// How long the soft limit may be exceeded.
    pub soft_seconds: u64,
}

/// Words of `shutdown-on-sigint` and `shutdown-on-sigterm`, with their bits.
pub(super) const SHUTDOWN_FLAGS: &[(&str, u8)] = &[
    ("default", 0),
    ("save", SHUTDOWN_SAVE),
    ("nosave", SHUTDOWN_NOSAVE),
    ("now", SHUTDOWN_NOW),
    ("force", SHUTDOWN_FORCE),
];
/// The bit of `save` in a set of shutdown flags.
pub(super) const SHUTDOWN_SAVE: u8 = 1;
/// The bit of `nosave` in a set of shutdown flags.
pub(super) const SHUTDOWN_NOSAVE: u8 = 2;
/// The bit of `now`.
pub(super) const SHUTDOWN_NOW: u8 = 4;
/// The bit of `force`.
pub(super) const SHUTDOWN_FORCE: u8 = 8;

/// How CONFIG GET names the classes of clients; files may say `replica`.
const CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

/// Addresses that `bind` takes at most.
const ADDRESSES_MAX: usize = 16;

/// Letters of `notify-keyspace-events` with their bits, in the order in which CONFIG GET shows them: first what `A`
/// stands for, then the rest. The bits are those of Redis, which RESP clients never see but modules do.
const EVENT_CLASSES: [(u8, u32); 10] = [
    (b'g', 1 << 2),
    (b'$', 1 << 3),
    (b'l', 1 << 4),
    (b's', 1 << 5),
    (b'h', 1 << 6),
    (b'z', 1 << 7),
    (b'x', 1 << 8),
    (b'e', 1 << 9),
    (b't', 1 << 10),
    (b'd', 1 << 13),
];
const EVENT_NEW: (u8, u32) = (b'n', 1 << 14);
const EVENT_CHANNELS: [(u8, u32); 3] = [(b'K', 1), (b'E', 1 << 1), (b'm', 1 << 11)];
const EVENTS_ALL: u32 = 0x27fc;

pub(super) fn parse(kind: &Kind, words: &[Vec<u8>], old: &Value) -> Result<Value, String> {
    match kind {
        Kind::ShutdownFlags => parse_shutdown_flags(words),
        Kind::SavePoints => {
            parse_save_points(words).ok_or_else(|| "Invalid save parameters".to_string())
        }
        Kind::BufferLimits => parse_buffer_limits(words, old),
        Kind::OomValues => parse_oom_values(words),
        Kind::Events => parse_events(&words[0]),
        Kind::Addresses => parse_addresses(words),
        Kind::Primary => parse_primary(words),
        Kind::Percentiles => parse_percentiles(words),
        _ => unreachable!("plain kinds are parsed in value.rs"),
    }
}

pub(super) fn show(value: &Value) -> Vec<u8> {
    let text = match value {
        Value::SavePoints(points) => join(
            points
                .iter()
                .map(|(seconds, changes)| format!("{seconds} {changes}")),
        ),
        Value::BufferLimits(limits) => join(CLASSES.iter().zip(limits).map(|(class, limit)| {
            format!(
                "{class} {} {} {}",
                limit.hard_bytes, limit.soft_bytes, limit.soft_seconds
            )
        })),
        Value::OomValues(values) => join(values.iter().map(i32::to_string)),
        Value::Events(events) => show_events(*events),
        Value::Addresses(addresses) => return addresses.join(&b' '),
        Value::Primary(None) => String::new(),
        Value::Primary(Some((host, port))) => {
            return [host.as_slice(), b" ", port.to_string().as_bytes()].concat();
        }
        Value::Percentiles(percentiles) => join(
            percentiles
                .iter()
                .map(|percentile| show_percentile(*percentile)),
        ),
        _ => unreachable!("plain values are shown in value.rs"),
    };
    text.into_bytes()
}

fn join(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

/// One empty word means no words.
fn unless_empty(words: &[Vec<u8>]) -> &[Vec<u8>] {
    if matches!(words, [word] if word.is_empty()) {
        &[]
    } else {
        words
    }
}

fn parse_shutdown_flags(words: &[Vec<u8>]) -> Result<Value, String> {
    let mut flags = 0;
    for word in words {
        flags |= choice::code_of(SHUTDOWN_FLAGS, word)
            .ok_or_else(|| choice::expected_one_of(SHUTDOWN_FLAGS))?;
    }
    if words.is_empty() {
        return Err(choice::expected_one_of(SHUTDOWN_FLAGS));
    }
    if flags & SHUTDOWN_SAVE != 0 && flags & SHUTDOWN_NOSAVE != 0 {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".to_string());
    }
    Ok(Value::Choice(flags))
}

fn parse_save_points(words: &[Vec<u8>]) -> Option<Value> {
    let (pairs, rest) = unless_empty(words).as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let number = |word: &[u8]| u64::try_from(loose_number(word, 10)?).ok();
    let point = |[seconds, changes]: &[Vec<u8>; 2]| {
        Some((number(seconds).filter(|s| *s >= 1)?, number(changes)?))
    };
    Some(Value::SavePoints(
        pairs.iter().map(point).collect::<Option<_>>()?,
    ))
}

fn parse_buffer_limits(words: &[Vec<u8>], old: &Value) -> Result<Value, String> {
    let mut limits = match old {
        Value::BufferLimits(limits) => *limits,
        _ => {
            [BufferLimits {
                hard_bytes: 0,
                soft_bytes: 0,
                soft_seconds: 0,
            }; 3]
        }
    };
    let (groups, rest) = words.as_chunks::<4>();
    if !rest.is_empty() {
        return Err("Wrong number of arguments in buffer limit configuration.".to_string());
    }
    for [class, hard, soft, seconds] in groups {
        let class = match class.to_ascii_lowercase().as_slice() {
            b"normal" => 0,
            b"slave" | b"replica" => 1,
            b"pubsub" => 2,
            _ => {
                return Err(
                    "Invalid client class specified in buffer limit configuration.".to_string(),
                );
            }
        };
        let seconds = loose_number(seconds, 10).and_then(|seconds| u64::try_from(seconds).ok());
        let (Some(hard_bytes), Some(soft_bytes), Some(soft_seconds)) =
            (memory(hard), memory(soft), seconds)
        else {
            return Err(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration."
                    .to_string(),
            );
        };
        limits[class] = BufferLimits {
            hard_bytes,
            soft_bytes,
            soft_seconds,
        };
    }
    Ok(Value::BufferLimits(limits))
}

fn parse_oom_values(words: &[Vec<u8>]) -> Result<Value, String> {
    let [primary, replica, child] = words else {
        return Err("wrong number of arguments".to_string());
    };
    let mut values = [0; 3];
    for (value, word) in values.iter_mut().zip([primary, replica, child]) {
        *value = loose_number(word, 10)
            .filter(|number| (-2000..=2000).contains(number))
            .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?
            as i32;
    }
    Ok(Value::OomValues(values))
}

fn parse_events(letters: &[u8]) -> Result<Value, String> {
    let known = || {
        EVENT_CLASSES
            .iter()
            .chain([&EVENT_NEW])
            .chain(&EVENT_CHANNELS)
    };
    let bits = |letter: &u8| match letter {
        b'A' => Some(EVENTS_ALL),
        letter => known()
            .find(|(other, _)| other == letter)
            .map(|(_, bits)| *bits),
    };
    let events = letters
        .iter()
        .try_fold(0, |events, letter| Some(events | bits(letter)?));
    let error = || "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_string();
    events.map(Value::Events).ok_or_else(error)
}

/// Redis leaves `n` out once `A` is shown (7.2), although `A` does not include it.
fn show_events(events: u32) -> String {
    let has = |(_, bits): &&(u8, u32)| events & bits != 0;
    let mut text = String::new();
    if events & EVENTS_ALL == EVENTS_ALL {
        text.push('A');
    } else {
        text.extend(
            EVENT_CLASSES
                .iter()
                .chain([&EVENT_NEW])
                .filter(has)
                .map(|(letter, _)| *letter as char),
        );
    }
    text.extend(
        EVENT_CHANNELS
            .iter()
            .filter(has)
            .map(|(letter, _)| *letter as char),
    );
    text
}

fn parse_addresses(words: &[Vec<u8>]) -> Result<Value, String> {
    if words.len() > ADDRESSES_MAX {
        return Err("Too many bind addresses specified.".to_string());
    }
    Ok(Value::Addresses(unless_empty(words).to_vec()))
}

fn parse_primary(words: &[Vec<u8>]) -> Result<Value, String> {
    let [host, port] = words else {
        return Err("wrong number of arguments".to_string());
    };
    if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        return Ok(Value::Primary(None));
    }
    let port = loose_number(port, 10)
        .and_then(|port| u16::try_from(port).ok())
        .ok_or("Invalid master port")?;
    Ok(Value::Primary(Some((host.clone(), port))))
}

fn parse_percentiles(words: &[Vec<u8>]) -> Result<Value, String> {
    let percentile = |word: &Vec<u8>| {
        let number = std::str::from_utf8(word)
            .ok()
            .and_then(|word| word.parse::<f64>().ok())
            .filter(|n| !n.is_nan());
        match number.ok_or("Invalid latency-tracking-info-percentiles parameters")? {
            number if (0.0..=100.0).contains(&number) => Ok(number),
            _ => Err(
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
                    .to_string(),
            ),
        }
    };
    Ok(Value::Percentiles(
        unless_empty(words)
            .iter()
            .map(percentile)
            .collect::<Result<_, _>>()?,
    ))
}

/// Six decimals without the zeros at the end.
pub(super) fn show_percentile(percentile: f64) -> String {
    let text = format!("{percentile:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// The absolute path of `path`, which may start from the directory in `old`; `.` and empty parts are left out.
pub(super) fn join_directory(old: &Value, path: &[u8]) -> Vec<u8> {
    let start: &[u8] = match old {
        Value::Text(old) if !path.starts_with(b"/") => old,
        _ => b"",
    };
    let parts = start
        .split(|byte| *byte == b'/')
        .chain(path.split(|byte| *byte == b'/'));
    let mut joined: Vec<u8> = Vec::new();
    for part in parts.filter(|part| !part.is_empty() && *part != b".") {
        joined.push(b'/');
        joined.extend(part);
    }
    if joined.is_empty() {
        b"/".to_vec()
    } else {
        joined
    }
}

/// Bytes in the largest unit that divides them, as CONFIG REWRITE writes them.
pub(super) fn show_memory_with_unit(bytes: u64) -> String {
    match bytes {
        0 => "0".to_string(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}gb", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}mb", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}kb", bytes >> 10),
        _ => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(kind: &Kind, line: &str) -> Result<String, String> {
        let words: Vec<Vec<u8>> = line
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        Value::parse(kind, &words, &Value::YesNo(false))
            .map(|value| String::from_utf8(value.show(kind)).unwrap())
    }

    #[test]
    fn save_points_are_pairs() {
        let parse = |line: &str| parse_line(&Kind::SavePoints, line);
        assert_eq!(parse("900 1 300 100").unwrap(), "900 1 300 100");
        assert_eq!(parse("").unwrap(), "");
        for line in ["900", "0 1", "900 -1", "x 1", "900 1 300"] {
            assert_eq!(
                parse(line).unwrap_err(),
                "Invalid save parameters",
                "{line}"
            );
        }
    }

    #[test]
    fn buffer_limits_change_the_classes_they_name() {
        let parse = |line: &str| parse_line(&Kind::BufferLimits, line);
        assert_eq!(
            parse("replica 1kb 512 60").unwrap(),
            "normal 0 0 0 slave 1024 512 60 pubsub 0 0 0"
        );
        assert_eq!(
            parse("normal 1 2").unwrap_err(),
            "Wrong number of arguments in buffer limit configuration."
        );
        for class in ["master", "x"] {
            let error = parse(&format!("{class} 1 2 3")).unwrap_err();
            assert_eq!(
                error,
                "Invalid client class specified in buffer limit configuration."
            );
        }
        for rest in ["x 2 3", "1 x 3", "1 2 -3", "1 2 3x"] {
            let error = parse(&format!("normal {rest}")).unwrap_err();
            assert_eq!(
                error,
                "Error in hard, soft or soft_seconds setting in buffer limit configuration."
            );
        }
    }

    #[test]
    fn events_show_in_a_fixed_order() {
        let parse = |line: &str| parse_line(&Kind::Events, line);
        assert_eq!(parse("KEA").unwrap(), "AKE");
        assert_eq!(parse("Elg$").unwrap(), "g$lE");
        assert_eq!(parse("g$lshzxetdm").unwrap(), "Am");
        assert_eq!(parse("nK").unwrap(), "nK");
        assert_eq!(parse("An").unwrap(), "A");
        assert_eq!(parse("").unwrap(), "");
        assert_eq!(
            parse("q").unwrap_err(),
            "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."
        );
    }

    #[test]
    fn shutdown_flags_combine() {
        let parse = |line: &str| parse_line(&Kind::ShutdownFlags, line);
        assert_eq!(parse("default").unwrap(), "default");
        assert_eq!(parse("FORCE now nosave").unwrap(), "nosave now force");
        assert_eq!(
            parse("save nosave").unwrap_err(),
            "shutdown options SAVE and NOSAVE can't be used simultaneously"
        );
        assert_eq!(
            parse("x").unwrap_err(),
            "argument(s) must be one of the following: default, save, nosave, now, force"
        );
    }

    #[test]
    fn percentiles_lose_their_zeros() {
        let parse = |line: &str| parse_line(&Kind::Percentiles, line);
        assert_eq!(parse("50 99.9 100 0").unwrap(), "50 99.9 100 0");
        assert_eq!(parse("").unwrap(), "");
        assert_eq!(
            parse("a").unwrap_err(),
            "Invalid latency-tracking-info-percentiles parameters"
        );
        assert_eq!(
            parse("101").unwrap_err(),
            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
        );
    }

    #[test]
    fn other_lists_check_their_length_and_bounds() {
        assert_eq!(
            parse_line(&Kind::OomValues, "1 2").unwrap_err(),
            "wrong number of arguments"
        );
        assert_eq!(
            parse_line(&Kind::OomValues, "1 2 2001").unwrap_err(),
            "Invalid oom-score-adj-values, elements must be between -2000 and 2000."
        );
        assert_eq!(parse_line(&Kind::OomValues, "-5 0 5").unwrap(), "-5 0 5");
        assert_eq!(
            parse_line(&Kind::Addresses, &"x ".repeat(16)).unwrap_err(),
            "Too many bind addresses specified."
        );
        assert_eq!(
            parse_line(&Kind::Addresses, "127.0.0.1 -::1").unwrap(),
            "127.0.0.1 -::1"
        );
        assert_eq!(
            parse_line(&Kind::Primary, "host 65536").unwrap_err(),
            "Invalid master port"
        );
        assert_eq!(parse_line(&Kind::Primary, "NO one").unwrap(), "");
        assert_eq!(parse_line(&Kind::Primary, "host 1").unwrap(), "host 1");
    }

    #[test]
    fn directories_are_joined_onto_the_last_one() {
        let join = |old: &str, path: &str| {
            String::from_utf8(join_directory(&Value::Text(old.into()), path.as_bytes())).unwrap()
        };
        assert_eq!(join("/a", "./"), "/a");
        assert_eq!(join("/a", "b//c/"), "/a/b/c");
        assert_eq!(join("/a", "/b"), "/b");
        assert_eq!(join("/", "."), "/");
        assert_eq!(join("/a", ".."), "/a/..");
    }
}
