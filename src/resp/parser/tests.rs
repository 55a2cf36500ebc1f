//! Whole, split and hostile input; every outcome is compared with reading the same bytes in one piece.

use super::*;
use crate::base::random::Random;

const LIMITS: Limits = Limits {
    bulk_max: 512 << 20,
    authenticated: true,
};

fn words(bytes: &[u8], spans: &[Span]) -> Vec<Vec<u8>> {
    spans
        .iter()
        .map(|s| bytes[s.start as usize..(s.start + s.length) as usize].to_vec())
        .collect()
}

/// Reads everything in `input`, given in pieces of `piece` bytes, as a connection does.
fn read(input: &[u8], piece: usize, limits: Limits) -> (Vec<Vec<Vec<u8>>>, Option<Vec<u8>>) {
    let (mut parser, mut buffer, mut requests) = (Parser::default(), Vec::new(), Vec::new());
    for part in input.chunks(piece.max(1)) {
        buffer.extend_from_slice(part);
        let mut at = 0;
        loop {
            let mut spans = Vec::new();
            match parser.next(&buffer, at, limits, &mut spans) {
                Parsed::Request(length) => {
                    requests.push(words(&buffer, &spans));
                    at += length;
                }
                Parsed::Incomplete { missing } => {
                    assert!(missing > 0);
                    assert!(spans.is_empty());
                    break;
                }
                Parsed::Failed(text) => return (requests, Some(text)),
            }
        }
        buffer.drain(..at);
    }
    (requests, None)
}

#[test]
fn requests_are_the_same_however_the_bytes_are_cut() {
    let input = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n*0\r\n*1\r\n$0\r\n\r\n*3\r\n$3\r\nSET\r\n$12\r\nabcdefghijkl\r\n$2\r\n\r\n\r\n  set  a   b\r\n";
    let (whole, error) = read(input, input.len(), LIMITS);
    assert_eq!(error, None);
    assert_eq!(whole.len(), 6);
    assert_eq!(whole[4][2], b"\r\n");
    assert_eq!(whole[5], [b"set".to_vec(), b"a".to_vec(), b"b".to_vec()]);
    for piece in 1..input.len() {
        assert_eq!(
            read(input, piece, LIMITS),
            (whole.clone(), None),
            "piece {piece}"
        );
    }
}

#[test]
fn each_protocol_error_has_its_text() {
    let cases: &[(&[u8], &str)] = &[
        (b"*abc\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*1\r\nGET\r\n", "expected '$', got 'G'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$x\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
    ];
    for (input, text) in cases {
        let (_, error) = read(input, 3, LIMITS);
        assert_eq!(
            error.as_deref(),
            Some(text.as_bytes()),
            "{:?}",
            String::from_utf8_lossy(input)
        );
    }
    let mut long = vec![b'a'; INLINE_MAX + 10];
    assert_eq!(
        read(&long, 1000, LIMITS).1.unwrap(),
        b"too big inline request"
    );
    long[0] = b'*';
    assert_eq!(
        read(&long, 1000, LIMITS).1.unwrap(),
        b"too big mbulk count string"
    );
    let mut bulk = b"*1\r\n$".to_vec();
    bulk.resize(INLINE_MAX + 100, b'1');
    assert_eq!(
        read(&bulk, 1000, LIMITS).1.unwrap(),
        b"too big bulk count string"
    );
}

#[test]
fn before_authentication_only_small_requests_are_read() {
    let limits = Limits {
        authenticated: false,
        ..LIMITS
    };
    assert_eq!(
        read(b"*11\r\n", 9, limits).1.unwrap(),
        b"unauthenticated multibulk length"
    );
    assert_eq!(
        read(b"*1\r\n$16385\r\n", 9, limits).1.unwrap(),
        b"unauthenticated bulk length"
    );
}

#[test]
fn an_announced_request_costs_nothing_until_it_comes() {
    let mut parser = Parser::default();
    let mut spans = Vec::new();
    let input = b"*2147483647\r\n$536870912\r\n";
    let outcome = parser.next(input, 0, LIMITS, &mut spans);
    assert_eq!(outcome, Parsed::Incomplete { missing: 536870914 });
    assert!(spans.capacity() <= 2 * SPANS_RESERVE_MAX && parser.held_bytes() < 65536);
}

#[test]
fn quotes_follow_the_rules_of_redis() {
    let cases: &[(&[u8], Option<&[&[u8]]>)] = &[
        (b"set k \"a b\"", Some(&[b"set", b"k", b"a b"])),
        (
            b"set k \"\\x41\\n\\\"\\q\"",
            Some(&[b"set", b"k", b"A\n\"q"]),
        ),
        (b"set k 'it\\'s \\n'", Some(&[b"set", b"k", b"it's \\n"])),
        (b"a\"b\"", Some(&[b"ab"])),
        (b"\"\"", Some(&[b""])),
        (b"\"a\"b", None),
        (b"\"a", None),
        (b"'a", None),
    ];
    for (line, expected) in cases {
        let expected = expected.map(|words| words.iter().map(|w| w.to_vec()).collect::<Vec<_>>());
        assert_eq!(split(line), expected, "{:?}", String::from_utf8_lossy(line));
    }
    let (request, used) = unquoted(b"echo \"hi there\"\r\nPING\r\n").unwrap();
    assert_eq!(request, b"*2\r\n$4\r\necho\r\n$8\r\nhi there\r\n");
    assert_eq!(used, 17);
}

#[test]
fn random_bytes_never_panic_and_always_make_progress() {
    let mut random = Random::new(11);
    let alphabet = b"*$\r\n0123456789-GETSa\"' ";
    for _ in 0..20_000 {
        let input: Vec<u8> = (0..random.below(60))
            .map(|_| alphabet[random.below(alphabet.len() as u64) as usize])
            .collect();
        let whole = read(&input, input.len(), LIMITS);
        let piece = 1 + random.below(7) as usize;
        let cut = read(&input, piece, LIMITS);
        assert_eq!(
            whole,
            cut,
            "{:?} in pieces of {piece}",
            String::from_utf8_lossy(&input)
        );
    }
}

#[test]
fn a_request_half_read_may_be_handed_in_again_behind_others() {
    let input = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$5\r\nhel";
    let (mut parser, mut spans) = (Parser::default(), Vec::new());
    let first = parser.next(input, 0, LIMITS, &mut spans);
    assert_eq!(first, Parsed::Request(20));
    assert!(matches!(
        parser.next(input, 20, LIMITS, &mut spans),
        Parsed::Incomplete { .. }
    ));
    assert!(parser.is_midway() && parser.held_args() == 2);
    parser.restart();
    let mut whole = input.to_vec();
    whole.extend_from_slice(b"lo\r\n");
    spans.clear();
    assert_eq!(
        parser.next(&whole, 0, LIMITS, &mut spans),
        Parsed::Request(20)
    );
    spans.clear();
    assert_eq!(
        parser.next(&whole, 20, LIMITS, &mut spans),
        Parsed::Request(whole.len() - 20)
    );
    assert_eq!(
        words(&whole, &spans),
        [b"SET".to_vec(), b"b".to_vec(), b"hello".to_vec()]
    );
}
