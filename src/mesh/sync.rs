//! Where the mesh's lock-free parts get their atomics: the standard library's, or loom's when they are being modelled.
//!
//! `ring.rs`, `berth.rs` and `sleep.rs` name nothing else that synchronises, so that tests/loom can take these files in
//! as they are and try every order in which threads may meet. In the server this module adds nothing.

#[cfg(loom)]
pub use loom::cell::UnsafeCell;
#[cfg(loom)]
pub use loom::sync::Arc;
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};

#[cfg(not(loom))]
pub use std::sync::Arc;
#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};

/// Between two sequentially consistent accesses: nothing, since the standard puts all of them into one total order.
/// loom takes such accesses for acquire and release only, but knows the fence.
#[inline(always)]
pub fn total_order() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}

/// The standard cell with loom's way of access, by closures.
#[cfg(not(loom))]
#[derive(Debug)]
pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    /// A cell.
    pub fn new(value: T) -> Self {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    /// Access for reading; following the pointer is the caller's responsibility.
    #[inline(always)]
    pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    /// Access for writing; following the pointer is the caller's responsibility.
    #[inline(always)]
    pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}
