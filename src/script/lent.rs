//! The host of the running script, lent to the functions that it calls.
//!
//! Functions within Lua live as long as their interpreter, a host only as long as one script runs. The crate's own way
//! over that gap makes a function, a userdata and a table entry for each script, which cost as much as a small script
//! itself (bench/compare.sh types, `EVAL return 1`). Here a pointer is lent for the time of the run.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr::NonNull;

use super::host::Host;

/// Where the host of the running script lies; empty while nothing runs, and while somebody uses it.
#[derive(Default)]
pub(super) struct Lent {
    host: Cell<Option<NonNull<dyn Host>>>,
}

/// Takes the host away again, however the run ends.
struct Return<'a>(&'a Lent);

impl Drop for Return<'_> {
    fn drop(&mut self) {
        self.0.host.set(None);
    }
}

impl Lent {
    /// Lends a host while `run` runs.
    pub fn during<R>(&self, host: &mut dyn Host, run: impl FnOnce() -> R) -> R {
        let host = NonNull::from(host);
        // SAFETY: only the lifetime is another. The pointer is gone when this function is left (`Return`), `host` is
        // borrowed mutably until then, and `with` hands out no reference that outlives its call.
        let host: NonNull<dyn Host> = unsafe { std::mem::transmute(host) };
        self.host.set(Some(host));
        let _end = Return(self);
        run()
    }

    /// Whether a host is here.
    pub fn is_here(&self) -> bool {
        self.host.get().is_some()
    }

    /// Uses the host; `None` when there is none. While it is in use it is not here, so nobody has it twice.
    pub fn with<R>(&self, use_host: impl FnOnce(&mut dyn Host) -> R) -> Option<R> {
        let mut host = self.host.take()?;
        // SAFETY: `during` has not been left, so the host is alive and borrowed for us; it has been taken out, so this
        // is the only reference made of it.
        let outcome = use_host(unsafe { host.as_mut() });
        self.host.set(Some(host));
        Some(outcome)
    }
}
