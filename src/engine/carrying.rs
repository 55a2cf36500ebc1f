//! Several steps with the same shards in hand.
//!
//! To gather the shards of a step from other cores takes many times as long as most steps do. So a core that has them runs
//! more of its own steps that want the very same shards before it gives them back: those of other connections that are
//! scheduled already, and what follows in the pipelines of all of them. Scripts live on this, because they take every shard.
//!
//! **Why the order stays the same everywhere.** A carried step happens while all its shards are in hand, between its request
//! and its reply. Against other steps of that kind there is nothing more to ask for. A transaction whose parts run by
//! themselves (`Work::Part`) stands in the queues of its participants; the first step in hand was behind what stood before
//! it and before all else there, and so are those that are carried with it, since no shard of theirs meets its queue
//! meanwhile: the others are here, and the own core looks at its queue before and after, not in between.
//!
//! **Bounds.** The others wait for their shards, so it ends after [`CARRY_NS`].

use std::sync::Arc;

use crate::base::clock::ticks;
use crate::net::Connection;
use crate::transaction::{Transaction, Work};

use super::core::{Core, Held};
use super::wide::{Errand, Pending};

/// No step begins with shards of others that have been in hand for so long: some times what it takes to gather them.
const CARRY_NS: u64 = 300_000;

/// Shards of others that are in hand between two steps; the own one is at home meanwhile.
pub(super) struct Carried {
    /// The shards of the steps, the own one too if it takes part.
    participants: Vec<u16>,
    others: Held,
    /// Clock ticks from which on no further step begins.
    until: u64,
    /// What is ready is run with them; else they go back when the input at hand is used up.
    stays: bool,
}

impl Errand {
    /// Whether others may follow it with the same shards in hand, and it others.
    fn carries(&self) -> bool {
        matches!(
            self,
            Errand::Script(..) | Errand::Plan(..) | Errand::Exec(..)
        )
    }
}

impl Core {
    /// Whether a step may be one of several with the same shards in hand.
    pub(super) fn may_carry(connection: &Connection, step: &Errand) -> bool {
        step.carries() && !connection.client.primary
    }

    /// The step of a scheduled transaction has been run: runs what else wants just these shards, then gives them back.
    pub(super) fn carry_on(&mut self, participants: &[u16], mut held: Held) {
        let until = self.carry_until();
        while ticks() < until
            && !held.iter().any(|shard| shard.blocked.has_ready())
            && let Some(transaction) = self.take_follower(participants)
        {
            let index = transaction.place.index;
            let pending = self.pending.remove(&index);
            let connection = self.take_connection(transaction.place);
            let (Some(Pending::Lent(step)), Some(mut connection)) = (pending, connection) else {
                unreachable!("a follower has been found with its connection and its step");
            };
            for shard in &mut held {
                shard.set_now(self.now);
            }
            let back = self.run_step(&mut connection, step, held);
            held = match back {
                Some(mut held) => {
                    self.end_step(&mut held);
                    self.put_back(connection);
                    held
                }
                None => return self.put_back(connection), // it goes on later with them, or they are back
            };
        }
        self.carry(participants.to_vec(), held, until, true);
        for _ in 0..self.ready.len() {
            match &self.carried {
                Some(carried) if ticks() < carried.until => self.run_first_ready(),
                _ => break,
            }
        }
        self.put_down();
    }

    /// When shards that have just come to hand are to go back.
    pub(super) fn carry_until(&self) -> u64 {
        ticks() + self.observatory.scale.ticks(CARRY_NS)
    }

    /// A transaction begun here that wants just these shards and has not had its turn on any of them.
    fn take_follower(&mut self, participants: &[u16]) -> Option<Arc<Transaction>> {
        let follows = |transaction: &Arc<Transaction>| {
            let index = transaction.place.index;
            let connection = self.connections.get(index as usize)?.as_ref()?;
            let Pending::Lent(step) = self.pending.get(&index)? else {
                return None;
            };
            let is_here = connection.place == transaction.place;
            let wants =
                matches!(transaction.work, Work::Lend) && transaction.participants == participants;
            (is_here && wants && Self::may_carry(connection, step)).then_some(())
        };
        let at = self
            .under_way
            .iter()
            .position(|transaction| follows(transaction).is_some())?;
        let transaction = self.under_way.swap_remove(at);
        transaction.take();
        Some(transaction)
    }

    /// Keeps the shards of a step in hand for the next one.
    pub(super) fn carry(&mut self, participants: Vec<u16>, held: Held, until: u64, stays: bool) {
        let (mut own, mut others) = (None, Held::with_capacity(held.len()));
        for shard in held {
            match shard.index == self.index {
                true => own = Some(shard),
                false => others.push(shard),
            }
        }
        if let Some(own) = own {
            self.have_back(own);
        }
        self.carried = Some(Carried {
            participants,
            others,
            until,
            stays,
        });
    }

    /// Runs a step with the shards that are carried, if it wants just those. Gives it back otherwise, and them too.
    pub(super) fn run_carried(
        &mut self,
        connection: &mut Connection,
        participants: &[u16],
        step: Errand,
    ) -> Option<Errand> {
        let Some(carried) = self.carried.take() else {
            return Some(step);
        };
        let Carried {
            participants: shards,
            others: mut held,
            until,
            stays,
        } = carried;
        let own = self.index as u16;
        let takes_own = shards.contains(&own);
        let fits = Self::may_carry(connection, &step) && shards == participants && ticks() < until;
        if !fits || (takes_own && self.shard.is_none()) {
            self.give_back(held);
            return Some(step);
        }
        if takes_own && let Some(shard) = self.shard.take() {
            let at = held.partition_point(|other| other.index < shard.index);
            held.insert(at, shard);
        }
        if held.iter().any(|shard| shard.blocked.has_ready()) {
            self.give_back(held);
            return Some(step);
        }
        for shard in &mut held {
            shard.set_now(self.now);
        }
        if let Some(mut held) = self.run_step(connection, step, held) {
            self.end_step(&mut held);
            self.carry(shards, held, until, stays);
        }
        None
    }

    /// The input at hand is used up: shards that were borrowed for a step of it go back.
    #[inline]
    pub(super) fn input_ends(&mut self) {
        if self.carried.as_ref().is_some_and(|carried| !carried.stays) {
            self.put_down();
        }
    }

    /// Shards that are carried go back.
    pub(super) fn put_down(&mut self) {
        if let Some(carried) = self.carried.take() {
            self.give_back(carried.others);
        }
    }
}
