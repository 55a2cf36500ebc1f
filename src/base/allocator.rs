//! What only the allocator can do: report on itself and give unused memory back.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tikv_jemalloc_ctl::{arenas, raw, stats_print, thread};

/// jemalloc's own report.
pub fn report() -> Vec<u8> {
    let mut text = Vec::new();
    let options = stats_print::Options::default();
    if let Err(error) = stats_print::stats_print(&mut text, options) {
        text = format!("Stats not supported for the current allocator: {error}\n").into_bytes();
    }
    text
}

/// Gives pages that hold nothing back to the system, at once.
///
/// An arena whose pages may stay unused for no time gives them all back as that time is set; then the old time is set
/// again. (`arena.<i>.purge` would do it in one call, but it takes no value and the wrapper always passes one.)
pub fn purge() {
    let Ok(count) = arenas::narenas::read() else {
        return;
    };
    for arena in 0..count {
        for kind in ["dirty", "muzzy"] {
            let name = CString::new(format!("arena.{arena}.{kind}_decay_ms"))
                .expect("a formatted number has no zero byte");
            // SAFETY: the value of both names is a `ssize_t`; an arena not in use answers with an error.
            let old = unsafe { raw::update(name.as_bytes_with_nul(), 0_isize) };
            if let Ok(old) = old {
                // SAFETY: as above.
                let _ = unsafe { raw::write(name.as_bytes_with_nul(), old) };
            }
        }
    }
}

/// The allocation counters of the thread that made this, at hand.
pub struct Allocation {
    allocated: Option<thread::ThreadLocal<u64>>,
    freed: Option<thread::ThreadLocal<u64>>,
}

impl Allocation {
    /// Of the calling thread.
    pub fn of_this_thread() -> Self {
        Allocation {
            allocated: thread::allocatedp::read().ok(),
            freed: thread::deallocatedp::read().ok(),
        }
    }

    /// Bytes allocated less bytes freed, modulo 2^64: a thread may free what others allocated.
    #[inline]
    pub fn balance(&self) -> u64 {
        match (&self.allocated, &self.freed) {
            (Some(allocated), Some(freed)) => allocated.get().wrapping_sub(freed.get()),
            _ => 0,
        }
    }
}

/// The balance of the calling thread, for those who ask now and then.
fn thread_balance() -> u64 {
    Allocation::of_this_thread().balance()
}

/// What threads beside the cores have allocated less what they have freed: each core counts for itself, and memory goes from
/// one thread to another.
#[derive(Clone, Debug, Default)]
pub struct Beside(Arc<AtomicU64>);

impl Beside {
    /// The sum, modulo 2^64.
    pub fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// The calling thread counts from here on.
    pub fn account(&self) -> Account {
        Account {
            sum: self.0.clone(),
            told: thread_balance(),
        }
    }
}

/// One thread's part of that.
#[derive(Debug)]
pub struct Account {
    sum: Arc<AtomicU64>,
    told: u64,
}

impl Account {
    /// Tells what the thread, which must be the one that began the account, has allocated and freed since.
    pub fn settle(&mut self) {
        let balance = thread_balance();
        if balance != self.told {
            self.sum.fetch_add(balance.wrapping_sub(self.told), Relaxed);
            self.told = balance;
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_allocator_answers() {
        super::purge();
        assert!(!super::report().is_empty());
    }

    #[test]
    fn what_a_thread_leaves_behind_is_counted_when_it_ends() {
        let beside = super::Beside::default();
        let left = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let account = beside.account();
                let left = vec![0_u8; 1 << 20];
                drop(account);
                left
            });
            thread.join().expect("the thread does not panic")
        });
        // Test binaries may run on another allocator, which counts nothing.
        let counted = beside.bytes();
        assert!(counted == 0 || counted >= left.len() as u64, "{counted}");
    }
}
