//! A reply on its way into the output buffer, in RESP2 or RESP3.
//!
//! A handler says what it means (a map, a double, nothing); how that looks in the client's protocol version is decided
//! here and nowhere else.

use super::error::ErrorReply;
use crate::base::number;
use crate::structures::listpack::{Item, TextBuffer};

/// Writes one reply to the end of a buffer.
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    resp3: bool,
}

/// Where a header whose count is not known yet will go.
#[must_use]
pub struct Deferred {
    at: usize,
}

impl<'a> Reply<'a> {
    /// A reply at the end of `out`.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, resp3: bool) -> Self {
        Reply { out, resp3 }
    }

    /// Whether the client speaks RESP3.
    #[inline]
    pub fn is_resp3(&self) -> bool {
        self.resp3
    }

    /// Goes on in the other version of the protocol: HELLO answers in the one it has just agreed on.
    pub fn set_resp3(&mut self, resp3: bool) {
        self.resp3 = resp3;
    }

    /// The bytes so far, replies before this one included.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A status line.
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']), "a status is one line");
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// A status line of any bytes without line ends: what a script answers.
    pub fn status(&mut self, text: &[u8]) {
        debug_assert!(
            !text.contains(&b'\r') && !text.contains(&b'\n'),
            "a status is one line"
        );
        self.out.push(b'+');
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    /// An error line.
    pub fn error(&mut self, error: &ErrorReply) {
        self.out.push(b'-');
        self.out.extend_from_slice(error.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    /// A count or length as an integer.
    #[inline]
    pub fn count(&mut self, value: usize) {
        self.header(b':', value as i64);
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 16);
        self.header(b'$', bytes.len() as i64);
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer as a bulk string of its digits.
    #[inline]
    pub fn bulk_integer(&mut self, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.bulk(digits.format(value).as_bytes());
    }

    /// An element of a list, a set or a hash as a bulk string.
    #[inline]
    pub fn bulk_item(&mut self, item: Item<'_>) {
        self.bulk(item.text(&mut TextBuffer::new()));
    }

    /// Nothing where a string was asked for.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(if self.resp3 {
            b"_\r\n".as_slice()
        } else {
            b"$-1\r\n"
        });
    }

    /// Nothing where an array was asked for.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(if self.resp3 {
            b"_\r\n".as_slice()
        } else {
            b"*-1\r\n"
        });
    }

    /// Opens an array of `count` replies.
    #[inline]
    pub fn array(&mut self, count: usize) {
        self.header(b'*', count as i64);
    }

    /// Opens a map of `pairs`; in RESP2 an array of twice as many replies.
    pub fn map(&mut self, pairs: usize) {
        if self.resp3 {
            self.header(b'%', pairs as i64);
        } else {
            self.header(b'*', 2 * pairs as i64);
        }
    }

    /// Opens a set of `count`; in RESP2 an array.
    pub fn set(&mut self, count: usize) {
        self.header(if self.resp3 { b'~' } else { b'*' }, count as i64);
    }

    /// Opens a push message of `count`; in RESP2 an array.
    pub fn push(&mut self, count: usize) {
        self.header(if self.resp3 { b'>' } else { b'*' }, count as i64);
    }

    /// A float: a double in RESP3, a bulk string in RESP2.
    pub fn double(&mut self, value: f64) {
        self.double_text(&number::format_f64(value));
    }

    /// A float whose text is given: coordinates have digits of their own.
    pub fn double_text(&mut self, text: &[u8]) {
        if self.resp3 {
            self.out.push(b',');
            self.out.extend_from_slice(text);
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    /// A truth value: a boolean in RESP3, 0 or 1 in RESP2.
    pub fn boolean(&mut self, value: bool) {
        if self.resp3 {
            self.out
                .extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" });
        } else {
            self.integer(value.into());
        }
    }

    /// A number past 64 bits, given as digits: a big number in RESP3, a bulk string in RESP2.
    pub fn big_number(&mut self, digits: &str) {
        if self.resp3 {
            self.out.push(b'(');
            self.out.extend_from_slice(digits.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.bulk(digits.as_bytes());
        }
    }

    /// Text with a three-letter format (`txt`, `mkd`): a verbatim string in RESP3, a bulk string in RESP2.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        assert_eq!(format.len(), 3, "a verbatim format has three letters");
        if self.resp3 {
            self.header(b'=', text.len() as i64 + 4);
            self.out.extend_from_slice(format.as_bytes());
            self.out.push(b':');
            self.out.extend_from_slice(text);
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    /// Leaves room for a header whose count is known later. What follows is moved once when the count is set.
    pub fn deferred(&mut self) -> Deferred {
        Deferred { at: self.out.len() }
    }

    /// Puts the array header where it was deferred.
    pub fn array_at(&mut self, deferred: Deferred, count: usize) {
        self.insert_header(deferred, b'*', count as i64);
    }

    /// Puts the map header where it was deferred.
    pub fn map_at(&mut self, deferred: Deferred, pairs: usize) {
        if self.resp3 {
            self.insert_header(deferred, b'%', pairs as i64);
        } else {
            self.insert_header(deferred, b'*', 2 * pairs as i64);
        }
    }

    /// Puts the set header where it was deferred.
    pub fn set_at(&mut self, deferred: Deferred, count: usize) {
        self.insert_header(deferred, if self.resp3 { b'~' } else { b'*' }, count as i64);
    }

    /// What a container's HELP subcommand answers: each subcommand with some lines about it.
    pub fn help(&mut self, container: &str, subcommands: &[(&str, &[&str])]) {
        let lines: usize = subcommands.iter().map(|(_, lines)| 1 + lines.len()).sum();
        self.array(lines + 3);
        self.simple(&format!(
            "{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
        ));
        for (usage, lines) in subcommands {
            self.simple(usage);
            for line in *lines {
                self.simple(&format!("    {line}"));
            }
        }
        self.simple("HELP");
        self.simple("    Prints this help.");
    }

    /// Takes back everything written since `deferred`.
    pub fn rewind(&mut self, deferred: Deferred) {
        self.out.truncate(deferred.at);
    }

    fn insert_header(&mut self, deferred: Deferred, kind: u8, count: i64) {
        let mut header = Vec::with_capacity(24);
        Reply::new(&mut header, self.resp3).header(kind, count);
        self.out.splice(deferred.at..deferred.at, header);
    }

    #[inline]
    fn header(&mut self, kind: u8, value: i64) {
        // Most lengths and counts have one or two digits; they skip the general formatter.
        if (0..10).contains(&value) {
            self.out
                .extend_from_slice(&[kind, b'0' + value as u8, b'\r', b'\n']);
        } else if (10..100).contains(&value) {
            self.out.extend_from_slice(&[
                kind,
                b'0' + (value / 10) as u8,
                b'0' + (value % 10) as u8,
                b'\r',
                b'\n',
            ]);
        } else {
            self.out.push(kind);
            let mut digits = itoa::Buffer::new();
            self.out.extend_from_slice(digits.format(value).as_bytes());
            self.out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(resp3: bool, write: impl FnOnce(&mut Reply<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Reply::new(&mut out, resp3));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_kind_has_its_bytes_in_both_versions() {
        let all = |reply: &mut Reply<'_>| {
            reply.null();
            reply.null_array();
            reply.map(1);
            reply.set(2);
            reply.push(3);
            reply.double(1.5);
            reply.boolean(true);
            reply.big_number("123");
            reply.verbatim("txt", b"hi");
            reply.integer(-1234);
            reply.bulk_integer(42);
        };
        assert_eq!(
            written(false, all),
            "$-1\r\n*-1\r\n*2\r\n*2\r\n*3\r\n$3\r\n1.5\r\n:1\r\n$3\r\n123\r\n$2\r\nhi\r\n:-1234\r\n$2\r\n42\r\n"
        );
        assert_eq!(
            written(true, all),
            "_\r\n_\r\n%1\r\n~2\r\n>3\r\n,1.5\r\n#t\r\n(123\r\n=6\r\ntxt:hi\r\n:-1234\r\n$2\r\n42\r\n"
        );
    }

    #[test]
    fn a_deferred_count_goes_before_what_was_written_since() {
        let text = written(false, |reply| {
            reply.integer(7);
            let at = reply.deferred();
            (0..12).for_each(|_| reply.null());
            reply.array_at(at, 12);
        });
        assert!(text.starts_with(":7\r\n*12\r\n$-1\r\n"));
    }
}
