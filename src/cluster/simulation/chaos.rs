//! What goes wrong, one thing after the other, as a seed has it.

use super::super::state::Failover;
use super::world::{Faults, World};

impl World {
    /// Goes wrong for so long, then makes everything whole and lets it settle.
    pub(super) fn chaos(&mut self, ms: i64, faults: Faults) {
        let end_ms = self.now_ms() + ms;
        self.faults = faults;
        while self.now_ms() < end_ms {
            self.something();
            let pause_ms = 50 + self.random.below(3000) as i64;
            self.run_ms(pause_ms);
        }
        self.faults = Faults::default();
        self.make_whole();
    }

    /// All machines run, and the network is one.
    pub(super) fn make_whole(&mut self) {
        for at in 0..self.machines.len() {
            self.machines[at].side = 0;
            if self.machines[at].cluster.is_none() {
                self.start(at);
            }
        }
    }

    fn something(&mut self) {
        let at = self.random.below(self.machines.len() as u64) as usize;
        let down = self.machines.len() - self.running().count();
        match self.random.below(12) {
            0 | 1 => {
                // Two parts, mostly unequal.
                let part = 1 + self.random.below(3);
                for at in 0..self.machines.len() {
                    self.machines[at].side = u8::from(self.random.below(4) < part);
                }
            }
            2 | 3 => {
                for machine in &mut self.machines {
                    machine.side = 0;
                }
            }
            4 => self.machines[at].side = 2,
            5 if down * 3 < self.machines.len() => self.crash(at),
            6 | 7 => {
                if self.machines[at].cluster.is_none() {
                    self.start(at);
                }
            }
            8 => drop(self.act_on(at, |cluster, now_ms| {
                cluster.failover(now_ms, Failover::Plain)
            })),
            9 => drop(self.act_on(at, |cluster, now_ms| {
                cluster.failover(now_ms, Failover::Force)
            })),
            _ => self.break_some(),
        }
    }
}
