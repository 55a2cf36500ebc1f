//! Whole clusters in one test: virtual time, a network that delays, breaks and splits, machines that crash and whose
//! clocks run apart. Everything follows from a seed, so a failure comes back exactly.
//!
//! `SLOTWISE_SIM_SEED=n` runs one seed of every test with chance in it, `SLOTWISE_SIM_SEEDS=from-to` a range instead of
//! the few of an ordinary run (tools/soak.sh); a failure prints its seed. `world.rs` is the network and the
//! machines, `checks.rs` what must hold after every event, `chaos.rs` what goes wrong.

#[cfg(test)]
mod chaos;
#[cfg(test)]
mod checks;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod world;

/// Seeds of an ordinary run, for a test that runs `few` of them.
pub(super) fn seeds(few: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok();
    if let Some(seed) = number("SLOTWISE_SIM_SEED") {
        let seed = seed.parse().expect("SLOTWISE_SIM_SEED is a number");
        return seed..seed + 1;
    }
    let Some(range) = number("SLOTWISE_SIM_SEEDS") else {
        return 1..few + 1;
    };
    let (from, to) = range
        .split_once('-')
        .expect("SLOTWISE_SIM_SEEDS is from-to");
    let number = |text: &str| text.parse().expect("SLOTWISE_SIM_SEEDS has two numbers");
    number(from)..number(to)
}

/// Prints the seed if a check fails.
pub(super) struct Seed(pub(super) u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("again with SLOTWISE_SIM_SEED={}", self.0);
        }
    }
}
