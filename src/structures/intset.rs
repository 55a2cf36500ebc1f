//! The intset: a sorted row of integers in one run of bytes, byte for byte Redis's. Small sets of integers are intsets.
//!
//! ```text
//!   width: u32 LE (2, 4 or 8) | count: u32 LE | count integers of that width, LE, strictly ascending
//! ```
//!
//! The width is that of the widest member there ever was: a wider one widens all, and none ever narrows them. A member is
//! found by binary search. The run sits behind an 8-byte handle (`thin.rs`) whose length prefix is not part of the form.

use std::fmt;

use super::thin::{self, ThinBytes};

/// Where the form begins in the run.
const START: usize = thin::PREFIX;
const HEADER: usize = 8;

/// Members that fit at any width. Redis bounds `set-max-intset-entries` by 2^30, which no set reaches before it takes
/// gigabytes; a caller turns the set into a table when [`Intset::is_full`] says so.
pub const MEMBERS_MAX: usize = (thin::LEN_MAX - START - HEADER) / 8;

/// Why bytes are no intset. Offsets count from their first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntsetError {
    /// Fewer bytes than the header has.
    TooShort {
        /// Bytes given.
        len: usize,
    },
    /// A width other than 2, 4 and 8.
    BadWidth {
        /// The width declared.
        width: u32,
    },
    /// The count does not fit the size, or is zero, or beyond [`MEMBERS_MAX`].
    WrongCount {
        /// The count declared.
        declared: u32,
        /// Bytes given.
        len: usize,
    },
    /// A member that is not greater than the one before.
    NotAscending {
        /// Where it stands.
        offset: usize,
    },
}

impl fmt::Display for IntsetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { len } => write!(f, "an intset of {len} bytes"),
            Self::BadWidth { width } => write!(f, "an intset of width {width}"),
            Self::WrongCount { declared, len } => {
                write!(
                    f,
                    "an intset of {len} bytes that declares {declared} members"
                )
            }
            Self::NotAscending { offset } => {
                write!(f, "the member at offset {offset} is out of order")
            }
        }
    }
}

impl std::error::Error for IntsetError {}

/// The width that holds `value`, in bytes.
fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

#[inline]
fn read(members: &[u8], width: usize, index: usize) -> i64 {
    let at = index * width;
    match width {
        2 => i16::from_le_bytes(members[at..at + 2].try_into().expect("two bytes")).into(),
        4 => i32::from_le_bytes(members[at..at + 4].try_into().expect("four bytes")).into(),
        _ => i64::from_le_bytes(members[at..at + 8].try_into().expect("eight bytes")),
    }
}

fn write(members: &mut [u8], width: usize, index: usize, value: i64) {
    members[index * width..][..width].copy_from_slice(&value.to_le_bytes()[..width]);
}

/// An intset; see the head of the file.
#[derive(Clone)]
pub struct Intset {
    run: ThinBytes,
}

impl Default for Intset {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Intset {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Intset {}

impl fmt::Debug for Intset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Intset {
    /// An empty intset, of width 2.
    pub fn new() -> Self {
        let mut run = ThinBytes::zeroed(START + HEADER);
        run.body_mut()[0] = 2;
        Self { run }
    }

    /// An intset of foreign bytes, every one of which is checked. None at all is refused: no server writes an empty set.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IntsetError> {
        let len = bytes.len();
        if len < HEADER {
            return Err(IntsetError::TooShort { len });
        }
        let word =
            |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let (width, declared) = (word(0), word(4));
        if !matches!(width, 2 | 4 | 8) {
            return Err(IntsetError::BadWidth { width });
        }
        let count = declared as usize;
        if count == 0 || count > MEMBERS_MAX || HEADER + count * width as usize != len {
            return Err(IntsetError::WrongCount { declared, len });
        }
        let (members, width) = (&bytes[HEADER..], width as usize);
        for index in 1..count {
            if read(members, width, index - 1) >= read(members, width, index) {
                return Err(IntsetError::NotAscending {
                    offset: HEADER + index * width,
                });
            }
        }
        let mut run = ThinBytes::zeroed(START + len);
        run.body_mut().copy_from_slice(bytes);
        Ok(Self { run })
    }

    /// The whole intset, as it goes into a DUMP payload.
    pub fn bytes(&self) -> &[u8] {
        &self.run.as_slice()[START..]
    }

    /// Bytes allocated on the heap.
    pub fn allocated(&self) -> usize {
        self.run.allocated()
    }

    #[inline]
    fn width(&self) -> usize {
        self.bytes()[0].into() // 2, 4 or 8
    }

    #[inline]
    fn members(&self) -> &[u8] {
        &self.bytes()[HEADER..]
    }

    /// Number of members.
    #[inline]
    pub fn len(&self) -> usize {
        u32::from_le_bytes(self.bytes()[4..8].try_into().expect("four bytes")) as usize
    }

    fn set_len(&mut self, count: usize) {
        let count = u32::try_from(count).expect("at most MEMBERS_MAX");
        self.run.body_mut()[4..8].copy_from_slice(&count.to_le_bytes());
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no further member fits.
    pub fn is_full(&self) -> bool {
        self.len() >= MEMBERS_MAX
    }

    /// Where `value` is, or where it belongs.
    #[inline]
    fn search(&self, value: i64) -> Result<usize, usize> {
        let (members, width) = (self.members(), self.width());
        let (mut low, mut high) = (0, self.len());
        // Sets tend to be filled in ascending order: the last member answers most insertions.
        if high > 0 && value > read(members, width, high - 1) {
            return Err(high);
        }
        while low < high {
            let middle = low.midpoint(high);
            let found = read(members, width, middle);
            if found == value {
                return Ok(middle);
            }
            if found < value {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Err(low)
    }

    /// Whether `value` is a member.
    #[inline]
    pub fn contains(&self, value: i64) -> bool {
        width_of(value) <= self.width() && self.search(value).is_ok()
    }

    /// Adds a member; false if it was one.
    ///
    /// # Panics
    /// If the set [is full](Intset::is_full).
    pub fn add(&mut self, value: i64) -> bool {
        let width = self.width();
        if width_of(value) > width {
            self.widen(width_of(value));
        }
        let Err(index) = self.search(value) else {
            return false;
        };
        let (count, width) = (self.len(), self.width());
        assert!(count < MEMBERS_MAX, "an intset beyond its bound");
        self.run.splice(START + HEADER + index * width, 0, width);
        write(&mut self.run.body_mut()[HEADER..], width, index, value);
        self.set_len(count + 1);
        true
    }

    /// Spreads the members to a greater width, last one first, since each moves to the right.
    fn widen(&mut self, width: usize) {
        let (count, old) = (self.len(), self.width());
        self.run.resize(START + HEADER + count * width);
        let body = self.run.body_mut();
        body[0] = width as u8; // 2, 4 or 8
        for index in (0..count).rev() {
            let value = read(&body[HEADER..], old, index);
            write(&mut body[HEADER..], width, index, value);
        }
    }

    /// Removes a member; false if it was none.
    pub fn remove(&mut self, value: i64) -> bool {
        if width_of(value) > self.width() {
            return false;
        }
        let Ok(index) = self.search(value) else {
            return false;
        };
        self.remove_at(index);
        true
    }

    /// Removes and returns the member with this index in ascending order: with a random index, a random pop.
    ///
    /// # Panics
    /// If there is none.
    pub fn remove_at(&mut self, index: usize) -> i64 {
        let value = self.get(index).expect("the index of a member");
        let (count, width) = (self.len(), self.width());
        self.run.splice(START + HEADER + index * width, width, 0);
        self.set_len(count - 1);
        value
    }

    /// The member with this index in ascending order: with a random index, a random member.
    #[inline]
    pub fn get(&self, index: usize) -> Option<i64> {
        (index < self.len()).then(|| read(self.members(), self.width(), index))
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + '_ {
        let (members, width) = (self.members(), self.width());
        (0..self.len()).map(move |index| read(members, width, index))
    }

    /// Verifies everything that is said at the head of the file.
    ///
    /// # Panics
    /// If something is not so.
    pub fn check(&self) {
        match Self::from_bytes(self.bytes()) {
            Err(IntsetError::WrongCount {
                declared: 0,
                len: HEADER,
            })
            | Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn random(seed: &mut u64) -> u64 {
        *seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        *seed >> 20
    }

    fn of(members: &[i64]) -> Intset {
        let mut set = Intset::new();
        for member in members {
            set.add(*member);
        }
        set
    }

    #[test]
    fn the_bytes_are_those_of_redis() {
        for (members, bytes) in [
            (
                &[1, 3, 2][..],
                &b"\x02\0\0\0\x03\0\0\0\x01\0\x02\0\x03\0"[..],
            ),
            (
                &[-1, 65536],
                b"\x04\0\0\0\x02\0\0\0\xff\xff\xff\xff\0\0\x01\0",
            ),
            (
                &[1, 1 << 32],
                b"\x08\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0",
            ),
        ] {
            assert_eq!(of(members).bytes(), bytes);
            assert_eq!(Intset::from_bytes(bytes).unwrap(), of(members));
        }
    }

    #[test]
    fn the_width_never_shrinks() {
        let mut set = of(&[1, 1 << 40]);
        assert!(set.remove(1 << 40));
        assert_eq!(set.bytes(), b"\x08\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0");
    }

    #[test]
    fn every_operation_equals_that_of_an_ordered_set() {
        for seed in 0..100 {
            let mut seed = seed;
            let (mut set, mut model) = (Intset::new(), BTreeSet::new());
            for step in 0..400 {
                let spread = [10, 300, 70_000, 1 << 34, u64::MAX][(step / 80) as usize];
                let value = (random(&mut seed) % spread) as i64 - (spread / 2) as i64;
                match random(&mut seed) % 4 {
                    0 | 1 => assert_eq!(set.add(value), model.insert(value)),
                    2 => assert_eq!(set.remove(value), model.remove(&value)),
                    _ if !model.is_empty() => {
                        let index = random(&mut seed) as usize % model.len();
                        let expected = model.iter().nth(index).copied();
                        assert_eq!(set.get(index), expected);
                        if random(&mut seed).is_multiple_of(4) {
                            assert_eq!(Some(set.remove_at(index)), expected);
                            model.remove(&expected.unwrap());
                        }
                    }
                    _ => assert_eq!(set.get(0), None),
                }
                assert_eq!(set.contains(value), model.contains(&value));
                assert_eq!(set.len(), model.len());
                set.check();
            }
            assert!(set.iter().eq(model.iter().copied()));
        }
        let edges = [i64::MIN, i64::MAX, 0, -1, i32::MIN.into(), i16::MAX.into()];
        let set = of(&edges);
        assert!(edges.iter().all(|edge| set.contains(*edge)));
        assert!(!set.contains(1));
    }

    #[test]
    fn mutated_bytes_are_refused_or_sound() {
        let mut seed = 5;
        for _ in 0..30_000 {
            let mut bytes = of(&[1, -5, random(&mut seed) as i64 % 100_000, 7])
                .bytes()
                .to_vec();
            for _ in 0..=random(&mut seed) % 3 {
                let at = random(&mut seed) as usize % bytes.len().max(1);
                match random(&mut seed) % 4 {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, random(&mut seed) as u8),
                    _ if !bytes.is_empty() => bytes[at] = random(&mut seed) as u8,
                    _ => {}
                }
            }
            if let Ok(read) = Intset::from_bytes(&bytes) {
                read.check();
                assert_eq!(read.bytes(), bytes);
                assert!(read.iter().is_sorted());
            }
        }
    }
}
