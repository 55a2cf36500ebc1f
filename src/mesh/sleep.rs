//! How a core goes to sleep without missing what others leave for it.
//!
//! The sleeper announces its sleep, *then* looks at everything once more; whoever leaves something *then* looks whether
//! the receiver sleeps. With a full fence between the two steps on both sides at least one of them sees the other
//! (Dekker's handshake), so that nothing lies about while its receiver sleeps. The flag is taken back by whoever does
//! the waking: one wake-up per sleep.
//!
//! The shard takes part: it is laid into the berth before the announcement, where others may use it meanwhile. When it
//! is away (with a borrower or a transaction) and something waits that needs it, the core leaves word at the berth
//! *after* it has announced its sleep; whoever puts the shard back sees the word first and the sleep second.
//! tests/loom holds all of this to account.

use super::berth::Berth;
use super::sync::{AtomicBool, Ordering, fence};

/// What may wait for a core, as `lie_down` asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Something that can be done whether the shard is here or not.
    ForCore,
    /// Something that needs the shard.
    ForShard,
}

/// Whether one core sleeps.
#[derive(Debug)]
pub struct Sleep {
    sleeping: AtomicBool,
}

impl Default for Sleep {
    fn default() -> Self {
        Sleep {
            sleeping: AtomicBool::new(false),
        }
    }
}

impl Sleep {
    /// The core is about to sleep. It must look at all its queues again after this, before it does.
    pub fn going_to_sleep(&self) {
        // An exchange rather than a store, which is the same instruction on x86-64: it takes its place after the exchange
        // of a late waker for loom too, which orders plain stores less strictly than the standard.
        self.sleeping.swap(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The core is awake.
    pub fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Whether the caller, having left something, has to wake this core: true for one caller only.
    #[inline]
    pub fn must_be_woken(&self) -> bool {
        fence(Ordering::SeqCst);
        self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::SeqCst)
    }

    /// Lays the shard in `hand`, if any, into the berth when `park` says so, announces the sleep and looks once more:
    /// `waits` says whether something of that kind waits. True: sleep now. False: there is something to do; the shard
    /// is in hand again, or away and wanted.
    pub fn lie_down<S>(
        &self,
        berth: &Berth<S>,
        hand: &mut Option<Box<S>>,
        park: bool,
        mut waits: impl FnMut(Waiting) -> bool,
    ) -> bool {
        let away = hand.is_none();
        if park && let Some(shard) = hand.take() {
            berth.park(shard);
        }
        self.going_to_sleep();
        let mut quiet = !waits(Waiting::ForCore);
        if quiet && waits(Waiting::ForShard) {
            // What waits for a shard that is away stays where it is until whoever has it wakes this core.
            quiet = away && {
                *hand = berth.take_or_want();
                hand.is_none()
            };
        }
        if !quiet {
            self.awake();
            if hand.is_none() {
                *hand = berth.take_or_want();
            }
        }
        quiet
    }
}
