//! What all cores share of scripting: cached scripts, and which script is running too long.
//!
//! Cores keep what they have compiled; a number that rises with every flush tells them when to drop it. So a reply to
//! SCRIPT LOAD or SCRIPT FLUSH is true on every core at once. The lock is taken when a core meets a script for the first
//! time, never for one that it knows.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::base::sha1::sha1_hex;

use super::flags::Flags;
use super::libraries::Libraries;

/// The name of a script: forty hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sha(pub [u8; 40]);

impl Sha {
    /// Of a script.
    pub fn of(body: &[u8]) -> Sha {
        Sha(sha1_hex(body))
    }

    /// As a client gave it, in any case; `None` when it cannot be one.
    pub fn parse(text: &[u8]) -> Option<Sha> {
        let digits: [u8; 40] = text.try_into().ok()?;
        Some(Sha(digits.map(|digit| digit.to_ascii_lowercase())))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

/// A cached script.
#[derive(Debug)]
pub struct Script {
    /// Its whole text.
    pub body: Vec<u8>,
    /// What its first line declares.
    pub flags: Flags,
    /// Length of that line.
    pub skip: usize,
}

/// A script or function that is over its time.
#[derive(Clone, Debug)]
pub struct Running {
    /// The core it runs on.
    pub core: usize,
    /// The script's name in hexadecimal, or the function's.
    pub name: String,
    /// The command that started it.
    pub command: Vec<Vec<u8>>,
    /// When it started, Unix milliseconds.
    pub since_ms: i64,
    /// EVAL rather than FCALL.
    pub is_eval: bool,
    /// It has written, so it cannot be killed.
    pub has_written: bool,
    /// Somebody has asked for its end.
    pub killed: bool,
}

/// What all cores share of scripting.
#[derive(Debug, Default)]
pub struct Scripts {
    scripts: Mutex<HashMap<Sha, Arc<Script>>>,
    /// Rises with every SCRIPT FLUSH.
    generation: AtomicU64,
    count: AtomicU64,
    bytes: AtomicU64,
    /// Whether any script is over its time: every core answers BUSY.
    busy: AtomicBool,
    running: Mutex<Vec<Running>>,
    libraries: Mutex<Arc<Libraries>>,
    /// Rises with every change of the libraries.
    library_generation: AtomicU64,
    /// Scripts may call what is not for scripts: for tests.
    everything_allowed: AtomicBool,
}

impl Scripts {
    fn scripts(&self) -> MutexGuard<'_, HashMap<Sha, Arc<Script>>> {
        self.scripts
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
    }

    /// DEBUG SET-DISABLE-DENY-SCRIPTS.
    pub fn allow_everything(&self, allowed: bool) {
        self.everything_allowed.store(allowed, Ordering::Release);
    }

    /// Whether scripts may call what is not for scripts.
    pub fn is_everything_allowed(&self) -> bool {
        self.everything_allowed.load(Ordering::Acquire)
    }

    /// The function libraries as they are now.
    pub fn libraries(&self) -> Arc<Libraries> {
        self.libraries
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
            .clone()
    }

    /// How often the libraries have changed.
    #[inline]
    pub fn library_generation(&self) -> u64 {
        self.library_generation.load(Ordering::Acquire)
    }

    /// Changes the libraries: `change` works on a copy, which takes the place of what was there when it succeeds.
    pub fn change_libraries<E>(
        &self,
        change: impl FnOnce(&mut Libraries) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut current = self
            .libraries
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        let mut copy = Libraries::clone(&current);
        change(&mut copy)?;
        *current = Arc::new(copy);
        self.library_generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// How often the cache has been flushed: what was compiled under another number is gone.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The cached script of that name.
    pub fn find(&self, sha: &Sha) -> Option<Arc<Script>> {
        self.scripts().get(sha).cloned()
    }

    /// Keeps a script that has compiled.
    pub fn add(&self, sha: Sha, script: Arc<Script>) {
        let bytes = script.body.len() as u64 + 128;
        if self.scripts().insert(sha, script).is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Drops all scripts, everywhere.
    pub fn flush(&self) {
        let mut scripts = self.scripts();
        let dropped = std::mem::take(&mut *scripts);
        self.count.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::AcqRel);
        drop(scripts);
        drop(dropped);
    }

    /// How many scripts are cached.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Bytes that the cached scripts take, about.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether some script is over its time.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    /// A script is over its time.
    pub fn begin_busy(&self, running: Running) {
        let mut all = self.running();
        all.push(running);
        self.busy.store(true, Ordering::Release);
    }

    /// The script of a core that was over its time has ended.
    pub fn end_busy(&self, core: usize) {
        let mut all = self.running();
        all.retain(|running| running.core != core);
        self.busy.store(!all.is_empty(), Ordering::Release);
    }

    /// Says whether the script of a core that is over its time has written; tells whether it is to end.
    pub fn update_busy(&self, core: usize, has_written: bool) -> bool {
        let mut all = self.running();
        all.iter_mut()
            .find(|running| running.core == core)
            .is_some_and(|running| {
                running.has_written |= has_written;
                running.killed && !running.has_written
            })
    }

    /// The scripts that are over their time.
    pub fn busy_ones(&self) -> Vec<Running> {
        self.running().clone()
    }

    /// Asks for the end of a script that is over its time. `Err` is the one that stands in the way; no script at all is
    /// `Ok(false)`.
    pub fn kill(&self, eval: bool) -> Result<bool, Running> {
        let mut all = self.running();
        if let Some(running) = all
            .iter_mut()
            .find(|running| running.is_eval == eval && !running.has_written)
        {
            running.killed = true;
            return Ok(true);
        }
        match all.first() {
            None => Ok(false),
            Some(other) => Err(other.clone()),
        }
    }
}
