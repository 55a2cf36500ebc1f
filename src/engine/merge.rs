//! Replies of parts made into the reply of the whole.

use crate::base::number::parse_i64;
use crate::command::spec::Merge;
use crate::resp::Reply;

/// Merges the parts' replies, in the order of the shards. The first error is the reply.
pub fn merge(how: Merge, parts: &[Vec<u8>], reply: &mut Reply<'_>) {
    if let Some(error) = parts.iter().find(|part| part.first() == Some(&b'-')) {
        reply.buffer().extend_from_slice(error);
        return;
    }
    match how {
        Merge::Ok => match parts.first() {
            Some(first) => reply.buffer().extend_from_slice(first),
            None => reply.ok(),
        },
        Merge::Sum => {
            let sum = parts
                .iter()
                .filter_map(|part| header(part))
                .map(|(count, _)| count)
                .sum();
            reply.integer(sum);
        }
        Merge::Concat | Merge::Interleave => {
            let kind = parts.first().and_then(|part| part.first()).copied();
            let counted: Vec<(i64, usize)> = parts.iter().filter_map(|part| header(part)).collect();
            let total: i64 = counted.iter().map(|(count, _)| count).sum();
            match kind {
                Some(b'~') => reply.set(total as usize),
                _ => reply.array(total as usize),
            }
            for (part, (_, start)) in parts.iter().zip(&counted) {
                reply.buffer().extend_from_slice(&part[*start..]);
            }
        }
    }
}

/// The number in a reply's first line, and where the rest begins.
fn header(part: &[u8]) -> Option<(i64, usize)> {
    let end = memchr::memchr(b'\r', part)?;
    Some((parse_i64(part.get(1..end)?)?, end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(how: Merge, parts: &[&str]) -> String {
        let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.as_bytes().to_vec()).collect();
        let mut out = Vec::new();
        merge(how, &parts, &mut Reply::new(&mut out, false));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parts_become_one_reply_and_an_error_wins() {
        assert_eq!(
            merged(Merge::Sum, &[":3\r\n", ":-1\r\n", ":40\r\n"]),
            ":42\r\n"
        );
        assert_eq!(merged(Merge::Ok, &["+OK\r\n", "+OK\r\n"]), "+OK\r\n");
        assert_eq!(
            merged(
                Merge::Concat,
                &[
                    "*1\r\n$1\r\na\r\n",
                    "*0\r\n",
                    "*2\r\n$1\r\nb\r\n$1\r\nc\r\n"
                ]
            ),
            "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"
        );
        assert_eq!(merged(Merge::Sum, &[":3\r\n", "-ERR x\r\n"]), "-ERR x\r\n");
    }
}
