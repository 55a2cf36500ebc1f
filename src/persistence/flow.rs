//! Keys on their way from a file to the cores that own them: one thread reads, every core decodes and takes in its own.
//!
//! The reader gathers keys for each core and hands them over in shipments. How much is under way is bounded: beyond that
//! the reader waits until cores have taken some in.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::load::LoadError;
use super::rdb::Loaded;

/// Bytes gathered for one core before they are handed over: a few milliseconds of decoding.
const SHIPMENT_BYTES: usize = 128 * 1024;
/// Bytes under way for each core beyond which the reader waits.
const UNDER_WAY_BYTES: usize = 1 << 20;
/// What a key costs beside its bytes.
const KEY_BYTES: usize = 64;

/// What cores have done with what was sent.
#[derive(Debug, Default)]
struct Account {
    under_way: usize,
    empty: u64,
    error: Option<LoadError>,
}

/// Shared by the reader and the cores.
#[derive(Debug, Default)]
pub struct Flow {
    account: Mutex<Account>,
    moved: Condvar,
}

impl Flow {
    fn account(&self) -> MutexGuard<'_, Account> {
        // A panic ends the process, so a poisoned lock is never met.
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A core has taken in a shipment of `bytes` bytes, of which so many keys had nothing in them.
    pub fn taken_in(&self, bytes: usize, empty: u64, outcome: Result<(), LoadError>) {
        let mut account = self.account();
        account.under_way -= bytes;
        account.empty += empty;
        if let Err(error) = outcome {
            account.error.get_or_insert(error);
        }
        drop(account);
        self.moved.notify_all();
    }

    /// Waits until at most `bytes` bytes are under way, or something has failed, or `is_over` says so; it is asked now
    /// and then.
    fn wait(&self, bytes: usize, is_over: impl Fn() -> bool) -> Result<(), LoadError> {
        const LOOK: std::time::Duration = std::time::Duration::from_millis(50);
        let mut account = self.account();
        loop {
            if let Some(error) = account.error.take() {
                return Err(error);
            }
            if account.under_way <= bytes {
                return Ok(());
            }
            if is_over() {
                return Err(LoadError::Stopped);
            }
            account = self
                .moved
                .wait_timeout(account, LOOK)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(account, _)| account);
        }
    }
}

/// Keys for one core.
#[derive(Debug)]
pub struct Shipment {
    /// The keys.
    pub keys: Vec<Loaded>,
    /// What they count for.
    pub bytes: usize,
    /// Where to say that they have been taken in.
    pub flow: Arc<Flow>,
    /// They are kept apart from the data that are there.
    pub apart: bool,
}

/// Gathers keys and hands them over.
pub struct Sender<S, O> {
    flow: Arc<Flow>,
    gathered: Vec<(Vec<Loaded>, usize)>,
    /// Hands a shipment to a core.
    send: S,
    /// Whether the server stops.
    is_over: O,
    apart: bool,
}

impl<S: FnMut(usize, Shipment), O: Fn() -> bool> Sender<S, O> {
    /// To so many cores.
    pub fn new(cores: usize, send: S, is_over: O) -> Self {
        Sender {
            flow: Arc::default(),
            gathered: (0..cores).map(|_| (Vec::new(), 0)).collect(),
            send,
            is_over,
            apart: false,
        }
    }

    /// The keys are kept apart from the data that are there: a full copy.
    #[must_use]
    pub fn apart(self) -> Self {
        Sender {
            apart: true,
            ..self
        }
    }

    /// A key for a core.
    pub fn add(&mut self, core: usize, loaded: Loaded) -> Result<(), LoadError> {
        let (keys, bytes) = &mut self.gathered[core];
        *bytes += KEY_BYTES + loaded.key.len() + loaded.content.raw_len();
        keys.push(loaded);
        if *bytes < SHIPMENT_BYTES {
            return Ok(());
        }
        self.hand_over(core);
        let room = UNDER_WAY_BYTES * self.gathered.len();
        self.flow.wait(room, &self.is_over)
    }

    fn hand_over(&mut self, core: usize) {
        let (keys, bytes) = std::mem::take(&mut self.gathered[core]);
        if keys.is_empty() {
            return;
        }
        self.flow.account().under_way += bytes;
        let flow = self.flow.clone();
        let apart = self.apart;
        (self.send)(
            core,
            Shipment {
                keys,
                bytes,
                flow,
                apart,
            },
        );
    }

    /// Hands over what is left and waits until all of it has been taken in; the number of keys that had nothing in them.
    pub fn finish(mut self) -> Result<u64, LoadError> {
        (0..self.gathered.len()).for_each(|core| self.hand_over(core));
        self.flow.wait(0, &self.is_over)?;
        Ok(self.flow.account().empty)
    }
}
