//! Whether a core waits for the disk by itself, under `appendfsync always`: when the disk has shown to be quick.

/// A sync that takes no longer is quick.
const QUICK_SYNC_NS: u64 = 2_000_000;
/// So many quick ones in a row make a disk one that is waited for, at first and at most.
const QUICK_SYNCS_MIN: u32 = 32;
const QUICK_SYNCS_MAX: u32 = 1 << 17;
/// How many more it takes each time that it was not: on a disk that stumbles now and then nobody is to wait but who writes.
const RELAPSE: u32 = 16;

/// Whether the one core that there is may sync its log by itself.
///
/// A sync by the ring costs a thread of the kernel and two switches to it and back, more than the sync itself on a disk that
/// answers in a fraction of a millisecond. Under `always` and with a single shard nothing could be answered meanwhile. So the
/// core waits where the disk has shown to be quick, until it is not; then the ring must show it again, for much longer.
#[derive(Default)]
pub(super) struct Patience {
    /// Quick ones in a row.
    quick: u32,
    /// How many it takes.
    needed: u32,
}

impl Patience {
    pub(super) fn waits(&self) -> bool {
        self.needed > 0 && self.quick >= self.needed
    }

    /// A sync has taken so long.
    pub(super) fn note(&mut self, ns: u64) {
        self.needed = self.needed.max(QUICK_SYNCS_MIN);
        if ns <= QUICK_SYNC_NS {
            self.quick = self.quick.saturating_add(1);
            return;
        }
        if self.waits() {
            self.needed = (self.needed * RELAPSE).min(QUICK_SYNCS_MAX);
        }
        self.quick = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_waited_for_when_it_has_long_been_quick_and_longer_each_time_it_was_not() {
        let mut patience = Patience::default();
        let quick_until_it_waits = |patience: &mut Patience| {
            let mut quick = 0;
            while !patience.waits() {
                patience.note(QUICK_SYNC_NS / 2);
                quick += 1;
            }
            quick
        };
        assert_eq!(quick_until_it_waits(&mut patience), QUICK_SYNCS_MIN);
        patience.note(QUICK_SYNC_NS * 2);
        assert!(!patience.waits());
        patience.note(QUICK_SYNC_NS * 2); // by the ring now: it holds up nobody
        assert_eq!(
            quick_until_it_waits(&mut patience),
            RELAPSE * QUICK_SYNCS_MIN
        );
        for _ in 0..20 {
            patience.note(QUICK_SYNC_NS * 2);
            assert!(quick_until_it_waits(&mut patience) <= QUICK_SYNCS_MAX);
        }
    }
}
