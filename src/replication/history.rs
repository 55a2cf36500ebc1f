//! Which history of changes a server's data belongs to, and how far it is (spec: replication, section 1).
//!
//! A history has a name, the replid, and counts the bytes of its stream. A replica that becomes a primary begins a new
//! history and remembers the one before up to where they agree, so that others who followed that one can go on here.

use std::fmt;

use crate::base::random::Random;

/// The name of a history: forty lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Replid([u8; 40]);

impl Replid {
    /// What stands for no history.
    pub const NONE: Replid = Replid([b'0'; 40]);

    /// A new one.
    pub fn new(random: &mut Random) -> Self {
        Replid(std::array::from_fn(|_| {
            b"0123456789abcdef"[(random.next_u64() >> 60) as usize]
        }))
    }

    /// One that a peer or a file names, in either case of letters; `None` unless it has forty hexadecimal digits.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let digits: [u8; 40] = text.try_into().ok()?;
        let is_hexadecimal = digits.iter().all(u8::is_ascii_hexdigit);
        is_hexadecimal.then(|| Replid(digits.map(|digit| digit.to_ascii_lowercase())))
    }

    /// Its digits.
    pub fn as_bytes(&self) -> &[u8; 40] {
        &self.0
    }
}

impl fmt::Display for Replid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Replid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The history at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Its name: `master_replid`.
    pub id: Replid,
    /// Bytes of its stream so far: `master_repl_offset`.
    pub offset: u64,
    /// The one before, and the first offset at which they may differ: `master_replid2`, `second_repl_offset`.
    pub previous: Option<(Replid, u64)>,
}

impl History {
    /// A history that begins here.
    pub fn new(id: Replid) -> Self {
        History {
            id,
            offset: 0,
            previous: None,
        }
    }

    /// Goes on under a new name from here: what followed it so far can go on as well.
    pub fn begin(&mut self, id: Replid) {
        self.previous = Some((self.id, self.offset + 1));
        self.id = id;
    }

    /// The same bytes under a new name, which nobody can go on with: some have been lost.
    pub fn break_off(&mut self, id: Replid) {
        self.previous = None;
        self.id = id;
    }

    /// Whether somebody who asks for `offset` on (the number of the first byte it lacks) of history `id` has seen
    /// nothing that this one does not hold.
    pub fn covers(&self, id: &Replid, offset: u64) -> bool {
        let before = |(previous, until): (Replid, u64)| previous == *id && offset <= until;
        self.id == *id || self.previous.is_some_and(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(digit: u8) -> Replid {
        Replid::parse(&[digit; 40]).unwrap()
    }

    #[test]
    fn names_are_forty_digits_in_either_case() {
        assert_eq!(named(b'A'), named(b'a'));
        assert_eq!(named(b'A').to_string(), "a".repeat(40));
        for wrong in ["", "?", &"g".repeat(40), &"a".repeat(39), &"a".repeat(41)] {
            assert_eq!(Replid::parse(wrong.as_bytes()), None, "{wrong}");
        }
        let mut random = Random::new(7);
        assert_ne!(Replid::new(&mut random), Replid::new(&mut random));
    }

    #[test]
    fn a_promoted_server_goes_on_with_those_who_have_seen_no_more_of_the_old_history() {
        let mut history = History::new(named(b'1'));
        history.offset = 100;
        history.begin(named(b'2'));
        assert_eq!(history.previous, Some((named(b'1'), 101)));
        assert!(history.covers(&named(b'1'), 101));
        assert!(!history.covers(&named(b'1'), 102));
        assert!(history.covers(&named(b'2'), 102));
        history.break_off(named(b'3'));
        assert!(!history.covers(&named(b'1'), 50) && !history.covers(&named(b'2'), 50));
    }
}
