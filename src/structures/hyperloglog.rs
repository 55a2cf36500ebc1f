//! HyperLogLog: how many different elements were seen, within 0.81 %, in at most 12 KiB. The strings are those of
//! Redis, byte for byte, since DUMP, GET and replication carry them.
//!
//! ```text
//!  0      4          5        8                16
//! +------+----------+--------+----------------+------------------------------------------------+
//! | HYLL | encoding | unused | estimate, u64  | registers                                      |
//! +------+----------+--------+----------------+------------------------------------------------+
//! ```
//!
//! - The highest bit of the estimate says that registers have changed since it was made.
//! - Encoding 0, dense: 16384 registers of 6 bits, the lowest bits of a byte first.
//! - Encoding 1, sparse: runs of equal registers. `00nnnnnn`: n+1 zeros; `01nnnnnn nnnnnnnn`: n+1 zeros;
//!   `1vvvvvnn`: n+1 registers of value v+1.
//!
//! An element's hash (64-bit MurmurHash2 with Redis's seed) names a register by its low 14 bits; the register keeps the
//! longest run of zeros seen above them, plus one. The estimate is Ertl's ("New cardinality estimation algorithms for
//! HyperLogLog sketches", arXiv:1702.01284), in the same order of floating-point steps as Redis has it, so that equal
//! registers give equal counts.
//!
//! Anybody can SET such a string, so every walk over runs is checked: whatever does not add up is `Corrupted`.

use smallvec::SmallVec;

/// How many registers there are.
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of the hash that name a register.
const INDEX_BITS: u32 = 14;
/// Bits of the hash whose zeros are counted.
const COUNTED_BITS: u32 = 64 - INDEX_BITS;
/// Most that a register can hold.
const REGISTER_MAX: usize = 63;

const HEADER: usize = 16;
const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
const ESTIMATE_AT: usize = 8;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;

/// Bytes of a dense HyperLogLog.
const DENSE_BYTES: usize = HEADER + REGISTERS * 6 / 8;

const SEED: u64 = 0xadc8_3b19;

/// Longest runs and the largest value that the sparse form has codes for.
const ZEROS_SHORT_MAX: usize = 64;
const VALUES_MAX: usize = 4;
const VALUE_MAX: u8 = 32;
/// Codes looked at after a change for neighbours that can become one.
const JOINED_CODES: usize = 5;

/// The runs of a sparse HyperLogLog do not add up to its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupted;

/// All registers, a byte each.
pub type Registers = [u8; REGISTERS];

/// A run of equal registers in the sparse form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// So many zeros in a code of one byte.
    Zeros(usize),
    /// So many zeros in a code of two bytes.
    ManyZeros(usize),
    /// A value, and how many registers have it.
    Values(u8, usize),
}

impl Run {
    /// The run that begins a string of codes; nothing when it is cut off.
    fn first(codes: &[u8]) -> Option<Run> {
        let code = *codes.first()?;
        Some(match code >> 6 {
            0 => Run::Zeros(usize::from(code & 63) + 1),
            1 => {
                let low = *codes.get(1)?;
                Run::ManyZeros((usize::from(code & 63) << 8 | usize::from(low)) + 1)
            }
            _ => Run::Values((code >> 2 & 31) + 1, usize::from(code & 3) + 1),
        })
    }

    /// How many registers it covers.
    fn registers(self) -> usize {
        match self {
            Run::Zeros(count) | Run::ManyZeros(count) | Run::Values(_, count) => count,
        }
    }

    /// Their value.
    fn value(self) -> u8 {
        match self {
            Run::Zeros(_) | Run::ManyZeros(_) => 0,
            Run::Values(value, _) => value,
        }
    }

    /// Bytes of its code.
    fn code_bytes(self) -> usize {
        match self {
            Run::ManyZeros(_) => 2,
            Run::Zeros(_) | Run::Values(..) => 1,
        }
    }
}

/// Codes that take the place of one.
type Codes = SmallVec<[u8; 8]>;

fn push_run(codes: &mut Codes, value: u8, count: usize) {
    match (value, count) {
        (_, 0) => {}
        (0, 1..=ZEROS_SHORT_MAX) => codes.push((count - 1) as u8),
        (0, _) => codes.extend([0x40 | ((count - 1) >> 8) as u8, (count - 1) as u8]),
        _ => codes.push(values_code(value, count)),
    }
}

fn values_code(value: u8, count: usize) -> u8 {
    debug_assert!((1..=VALUE_MAX).contains(&value) && (1..=VALUES_MAX).contains(&count));
    0x80 | (value - 1) << 2 | (count - 1) as u8
}

/// An empty HyperLogLog, sparse: one run over all registers.
pub const EMPTY: [u8; HEADER + 2] = *b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff";

/// Whether a string looks like a HyperLogLog; of a sparse one the runs may still be wrong.
pub fn is_one(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER
        && bytes.starts_with(MAGIC)
        && match bytes[ENCODING_AT] {
            DENSE => bytes.len() == DENSE_BYTES,
            SPARSE => true,
            _ => false,
        }
}

/// Whether a HyperLogLog is dense.
pub fn is_dense(bytes: &[u8]) -> bool {
    bytes[ENCODING_AT] == DENSE
}

/// The estimate kept in the header, unless registers have changed since.
pub fn kept_estimate(bytes: &[u8]) -> Option<u64> {
    let kept = u64::from_le_bytes(*bytes[ESTIMATE_AT..HEADER].first_chunk()?);
    (kept >> 63 == 0).then_some(kept)
}

/// Keeps an estimate in the header.
pub fn keep_estimate(bytes: &mut [u8], estimate: u64) {
    bytes[ESTIMATE_AT..HEADER].copy_from_slice(&estimate.to_le_bytes());
}

/// Marks the estimate in the header as out of date.
pub fn drop_estimate(bytes: &mut [u8]) {
    bytes[HEADER - 1] |= 0x80;
}

/// 64-bit MurmurHash2 (variant A).
fn murmur(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        word = (word ^ word >> SHIFT).wrapping_mul(FACTOR);
        hash = (hash ^ word).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> SHIFT).wrapping_mul(FACTOR);
    hash ^ hash >> SHIFT
}

/// The register that an element concerns, and the value it asks for.
pub fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur(element);
    let index = hash as usize & (REGISTERS - 1);
    let rest = hash >> INDEX_BITS | 1 << COUNTED_BITS;
    (index, rest.trailing_zeros() as u8 + 1)
}

/// The value of a register of a dense HyperLogLog.
fn dense_register(registers: &[u8], index: usize) -> u8 {
    let bit = index * 6;
    let low = registers[bit / 8];
    let high = registers.get(bit / 8 + 1).copied().unwrap_or(0);
    (u16::from_le_bytes([low, high]) >> (bit % 8)) as u8 & 63
}

fn set_dense_register(registers: &mut [u8], index: usize, value: u8) {
    let (at, shift) = (index * 6 / 8, index * 6 % 8);
    let (mask, value) = (63u16 << shift, u16::from(value) << shift);
    registers[at] = registers[at] & !(mask as u8) | value as u8;
    // A register that fits its byte leaves the next one alone: the last has none.
    if mask > 0xff {
        registers[at + 1] = registers[at + 1] & !((mask >> 8) as u8) | (value >> 8) as u8;
    }
}

/// Raises a register of a dense HyperLogLog; true when it was lower.
fn raise_dense(bytes: &mut [u8], index: usize, value: u8) -> bool {
    let registers = &mut bytes[HEADER..];
    let lower = dense_register(registers, index) < value;
    if lower {
        set_dense_register(registers, index, value);
    }
    lower
}

/// Raises a register where that keeps the string's length: always in the dense form, in the sparse one only when
/// nothing is to be raised. Nothing is answered when the string has to be edited: see [`raise`].
pub fn raise_in_place(
    bytes: &mut [u8],
    index: usize,
    value: u8,
) -> Result<Option<bool>, Corrupted> {
    if is_dense(bytes) {
        return Ok(Some(raise_dense(bytes, index, value)));
    }
    let place = locate(&bytes[HEADER..], index)?;
    Ok((place.run.value() >= value).then_some(false))
}

/// Raises a register; true when it was lower. A sparse HyperLogLog turns dense rather than pass `sparse_bytes_max`
/// (`hll-sparse-max-bytes`) or hold a value that its codes cannot.
pub fn raise(
    bytes: &mut Vec<u8>,
    index: usize,
    value: u8,
    sparse_bytes_max: usize,
) -> Result<bool, Corrupted> {
    if is_dense(bytes) {
        return Ok(raise_dense(bytes, index, value));
    }
    if value > VALUE_MAX {
        make_dense(bytes)?;
        return Ok(raise_dense(bytes, index, value));
    }
    let place = locate(&bytes[HEADER..], index)?;
    let old = place.run.value();
    if old >= value {
        return Ok(false);
    }
    let mut codes = Codes::new();
    push_run(&mut codes, old, index - place.first);
    push_run(&mut codes, value, 1);
    push_run(
        &mut codes,
        old,
        place.first + place.run.registers() - 1 - index,
    );
    let replaced = place.run.code_bytes();
    if codes.len() > replaced && bytes.len() - replaced + codes.len() > sparse_bytes_max {
        make_dense(bytes)?;
        return Ok(raise_dense(bytes, index, value));
    }
    let at = HEADER + place.at;
    if codes.len() == replaced {
        bytes[at..at + replaced].copy_from_slice(&codes);
    } else {
        bytes.splice(at..at + replaced, codes);
    }
    join_neighbours(bytes, HEADER + place.previous);
    drop_estimate(bytes);
    Ok(true)
}

/// Where a register is within the codes of a sparse HyperLogLog.
struct Place {
    /// Offset of the code.
    at: usize,
    /// Offset of the code before it; of itself when it is the first.
    previous: usize,
    /// The first register that the code covers.
    first: usize,
    run: Run,
}

fn locate(codes: &[u8], index: usize) -> Result<Place, Corrupted> {
    let (mut at, mut previous, mut first) = (0, 0, 0);
    loop {
        // Values and short zeros are one byte each and most of what there is.
        let run = Run::first(&codes[at..]).ok_or(Corrupted)?;
        let behind = first + run.registers();
        if index < behind {
            return Ok(Place {
                at,
                previous,
                first,
                run,
            });
        }
        previous = at;
        at += run.code_bytes();
        first = behind;
    }
}

/// Joins runs of the same value from `at` on, for a few codes, as Redis does after each change.
fn join_neighbours(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOINED_CODES {
        let Some(Run::Values(value, count)) = bytes.get(at..).and_then(Run::first) else {
            match bytes.get(at..).and_then(Run::first) {
                Some(zeros) => at += zeros.code_bytes(),
                None => return,
            }
            continue;
        };
        if let Some(Run::Values(next, more)) = Run::first(&bytes[at + 1..])
            && next == value
            && count + more <= VALUES_MAX
        {
            bytes[at + 1] = values_code(value, count + more);
            bytes.remove(at);
        } else {
            at += 1;
        }
    }
}

/// The runs of a sparse HyperLogLog. The walk ends early where a code is cut off.
pub fn runs(bytes: &[u8]) -> impl Iterator<Item = Run> + '_ {
    let mut codes = &bytes[HEADER..];
    std::iter::from_fn(move || {
        let run = Run::first(codes)?;
        codes = &codes[run.code_bytes()..];
        Some(run)
    })
}

/// Calls `show` with each run and its first register. All registers must be covered, and no more.
fn each_run(bytes: &[u8], mut show: impl FnMut(usize, Run)) -> Result<(), Corrupted> {
    let mut first = 0;
    for run in runs(bytes) {
        let behind = first + run.registers();
        if behind > REGISTERS {
            return Err(Corrupted);
        }
        show(first, run);
        first = behind;
    }
    if first == REGISTERS {
        Ok(())
    } else {
        Err(Corrupted)
    }
}

/// Makes a sparse HyperLogLog dense; false when it was already. The estimate stays as it is.
pub fn make_dense(bytes: &mut Vec<u8>) -> Result<bool, Corrupted> {
    if is_dense(bytes) {
        return Ok(false);
    }
    let mut dense = vec![0; DENSE_BYTES];
    dense[..HEADER].copy_from_slice(&bytes[..HEADER]);
    dense[ENCODING_AT] = DENSE;
    let registers = &mut dense[HEADER..];
    each_run(bytes, |first, run| {
        if run.value() > 0 {
            (first..first + run.registers())
                .for_each(|index| set_dense_register(registers, index, run.value()));
        }
    })?;
    *bytes = dense;
    Ok(true)
}

/// Calls `show` with four registers at a time of a dense HyperLogLog.
fn each_four(bytes: &[u8], mut show: impl FnMut(usize, [u8; 4])) {
    let (groups, _) = bytes[HEADER..].as_chunks::<3>();
    for (at, [a, b, c]) in groups.iter().enumerate() {
        let four = u32::from_le_bytes([*a, *b, *c, 0]);
        let register = |place: u32| (four >> (6 * place)) as u8 & 63;
        show(at * 4, [register(0), register(1), register(2), register(3)]);
    }
}

/// Raises each register to that of a HyperLogLog where that is higher.
pub fn merge(registers: &mut Registers, bytes: &[u8]) -> Result<(), Corrupted> {
    if is_dense(bytes) {
        each_four(bytes, |first, four| {
            let targets = registers[first..first + 4].iter_mut();
            targets
                .zip(four)
                .for_each(|(target, other)| *target = (*target).max(other));
        });
        return Ok(());
    }
    each_run(bytes, |first, run| {
        if run.value() > 0 {
            let targets = registers[first..first + run.registers()].iter_mut();
            targets.for_each(|target| *target = (*target).max(run.value()));
        }
    })
}

/// How many registers have each value.
type Histogram = [u32; REGISTER_MAX + 1];

/// The estimate of a HyperLogLog, from its registers.
pub fn estimate(bytes: &[u8]) -> Result<u64, Corrupted> {
    // Neighbours are counted apart, since equal ones would wait for each other.
    let mut counts: [Histogram; 4] = [[0; REGISTER_MAX + 1]; 4];
    if is_dense(bytes) {
        each_four(bytes, |_, four| {
            for (counts, register) in counts.iter_mut().zip(four) {
                counts[usize::from(register)] += 1;
            }
        });
    } else {
        each_run(bytes, |_, run| {
            counts[0][usize::from(run.value())] += run.registers() as u32;
        })?;
    }
    let mut histogram = counts[0];
    for other in &counts[1..] {
        histogram
            .iter_mut()
            .zip(other)
            .for_each(|(sum, count)| *sum += count);
    }
    Ok(estimate_of(&histogram))
}

/// The estimate for registers that were merged.
pub fn estimate_registers(registers: &Registers) -> u64 {
    let mut histogram = [0; REGISTER_MAX + 1];
    for &register in registers {
        histogram[usize::from(register)] += 1;
    }
    estimate_of(&histogram)
}

fn estimate_of(histogram: &Histogram) -> u64 {
    const ALPHA: f64 = 0.721_347_520_444_481_7; // 1 / (2 ln 2)
    let all = REGISTERS as f64;
    let full = f64::from(histogram[COUNTED_BITS as usize + 1]);
    let mut sum = all * tau((all - full) / all);
    for &count in histogram[1..=COUNTED_BITS as usize].iter().rev() {
        sum = (sum + f64::from(count)) * 0.5;
    }
    sum += all * sigma(f64::from(histogram[0]) / all);
    (ALPHA * all * all / sum).round() as u64
}

/// Ertl's correction for registers that are empty.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut weight, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

/// Ertl's correction for registers that are full.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut weight, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    fn add(bytes: &mut Vec<u8>, element: &[u8], sparse_bytes_max: usize) -> bool {
        let (index, value) = place(element);
        raise(bytes, index, value, sparse_bytes_max).unwrap()
    }

    fn registers(bytes: &[u8]) -> Box<Registers> {
        let mut registers = Box::new([0; REGISTERS]);
        merge(&mut registers, bytes).unwrap();
        registers
    }

    #[test]
    fn an_empty_one_is_18_bytes_and_estimates_zero() {
        let bytes = EMPTY;
        assert!(is_one(&bytes) && !is_dense(&bytes));
        assert_eq!(estimate(&bytes), Ok(0));
        assert_eq!(kept_estimate(&bytes), Some(0));
    }

    #[test]
    fn hash_and_place_are_those_of_redis() {
        // As `PFDEBUG GETREG` of redis-server shows them after PFADD of one element.
        for (element, register, value) in [
            ("hello", 9216, 1),
            ("a", 12711, 2),
            ("", 5938, 2),
            ("The quick brown fox", 13284, 1),
        ] {
            assert_eq!(place(element.as_bytes()), (register, value), "{element}");
        }
        let mut bytes = EMPTY.to_vec();
        assert!(add(&mut bytes, b"a", 3000) && !add(&mut bytes, b"a", 3000));
        assert_eq!(estimate(&bytes), Ok(1));
    }

    #[test]
    fn both_forms_hold_the_same_registers_and_estimate_alike() {
        let mut random = Random::new(11);
        let mut sparse = EMPTY.to_vec();
        let mut dense = EMPTY.to_vec();
        make_dense(&mut dense).unwrap();
        let mut plain = vec![0u8; REGISTERS];
        for n in 1..=20_000u64 {
            let element = random.next_u64().to_le_bytes();
            let changed = add(&mut sparse, &element, 3000);
            assert_eq!(add(&mut dense, &element, 3000), changed);
            let (index, value) = place(&element);
            assert_eq!(plain[index] < value, changed);
            plain[index] = plain[index].max(value);
            if n.is_power_of_two() {
                assert!(is_one(&sparse) && (is_dense(&sparse) || sparse.len() <= 3000));
                assert_eq!(registers(&sparse)[..], plain[..]);
                assert_eq!(registers(&dense)[..], plain[..]);
                let estimate = estimate(&sparse).unwrap();
                assert_eq!(super::estimate(&dense), Ok(estimate));
                assert_eq!(estimate_registers(&registers(&dense)), estimate);
                let error = estimate.abs_diff(n) as f64 / n as f64;
                assert!(error < 0.06, "{estimate} for {n}");
            }
        }
        assert!(is_dense(&sparse));
    }

    #[test]
    fn a_value_past_the_codes_makes_it_dense() {
        let mut bytes = EMPTY.to_vec();
        assert_eq!(raise(&mut bytes, 5, 32, 3000), Ok(true));
        assert!(!is_dense(&bytes));
        assert_eq!(raise(&mut bytes, REGISTERS - 1, 33, 3000), Ok(true));
        assert!(is_dense(&bytes) && bytes.len() == DENSE_BYTES);
        let registers = registers(&bytes);
        assert_eq!((registers[5], registers[REGISTERS - 1]), (32, 33));
        assert_eq!(raise_in_place(&mut bytes, 5, 40), Ok(Some(true)));
    }

    #[test]
    fn neighbours_of_the_same_value_share_a_code() {
        let mut bytes = EMPTY.to_vec();
        for index in 0..6 {
            raise(&mut bytes, index, 3, 3000).unwrap();
        }
        let all: Vec<Run> = runs(&bytes).collect();
        assert_eq!(
            all,
            [
                Run::Values(3, 4),
                Run::Values(3, 2),
                Run::ManyZeros(REGISTERS - 6)
            ]
        );
        assert_eq!(raise_in_place(&mut bytes, 3, 3), Ok(Some(false)));
        assert_eq!(raise_in_place(&mut bytes, 3, 4), Ok(None));
    }

    #[test]
    fn strings_that_do_not_add_up_are_refused_and_never_panic() {
        let header = &EMPTY[..HEADER];
        let hostile = |codes: &[u8]| [header, codes].concat();
        for codes in [
            &b""[..],
            b"\x7f",
            b"\x00",
            b"\x7f\xff\x00",
            b"\x7f\xff\x80",
            b"\x7f\xfe",
        ] {
            let mut bytes = hostile(codes);
            assert_eq!(estimate(&bytes), Err(Corrupted), "{codes:?}");
            assert_eq!(merge(&mut [0; REGISTERS], &bytes), Err(Corrupted));
            assert_eq!(make_dense(&mut bytes), Err(Corrupted));
        }
        assert_eq!(raise(&mut hostile(b"\x00"), 9, 1, 3000), Err(Corrupted));
        let mut random = Random::new(5);
        for _ in 0..20_000 {
            let length = random.below(40) as usize;
            let codes: Vec<u8> = (0..length).map(|_| random.next_u64() as u8).collect();
            let mut bytes = hostile(&codes);
            let _ = estimate(&bytes);
            let index = random.below(REGISTERS as u64) as usize;
            let _ = raise(&mut bytes, index, 1 + random.below(51) as u8, 3000);
            assert!(is_one(&bytes));
        }
        for wrong in [
            &b"HYLL"[..],
            b"HYLX\x01\0\0\0\0\0\0\0\0\0\0\0",
            b"HYLL\0\0\0\0\0\0\0\0\0\0\0\0",
        ] {
            assert!(!is_one(wrong));
        }
        assert!(!is_one(b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\0"));
    }
}
