//! Claims: which slots a node says are its own, and who is right (specification, 4.3 and 4.4).
//!
//! A slot goes to whoever claims it under the higher epoch. A node that loses its last slot that way becomes a replica of
//! the one that took it: that is how a primary that comes back finds its place.

use super::super::action::Action;
use super::super::node_id::NodeId;
use super::super::packet::{self, Header, Kind};
use super::super::slots::SlotSet;
use super::Cluster;
use super::table::NodeKey;
use crate::base::slot::{SLOTS, Slot};

impl Cluster {
    /// What the sender's header says of slots: it takes those that it may, or is told whose they are.
    pub(super) fn on_claims(&mut self, sender: NodeKey, header: &Header) {
        let is_primary = self.nodes[sender].is_primary();
        let owner = match is_primary {
            true => Some(sender),
            false => self.nodes[sender].primary,
        };
        let differs = owner.is_some_and(|owner| self.nodes[owner].slots != header.slots);
        if !differs {
            return;
        }
        if is_primary {
            self.take_claims(sender, header.config_epoch, &header.slots);
        }
        self.correct(sender, header);
    }

    /// Tells a sender of the first slot that it, or its primary, claims under an epoch that is over.
    fn correct(&mut self, sender: NodeKey, header: &Header) {
        let newer = header.slots.iter().find_map(|slot| {
            let owner = self.owner(slot)?;
            let is_newer = owner != sender
                && !self.unclaimed.contains(slot)
                && self.nodes[owner].config_epoch > header.config_epoch;
            is_newer.then_some(owner)
        });
        let Some(owner) = newer else {
            return;
        };
        let text = format!(
            "Node {} has old slots configuration, sending an UPDATE message about {}",
            self.nodes[sender].id, self.nodes[owner].id
        );
        self.note(log::Level::Debug, text);
        let slots = self.claimed_slots(owner);
        let of = &self.nodes[owner];
        let packet = packet::update(&self.header(), of.config_epoch, of.id, &slots);
        self.send_to(sender, Kind::Update, packet);
    }

    /// Somebody says that this node's knowledge of `id` is over.
    pub(super) fn on_update(&mut self, id: NodeId, config_epoch: u64, slots: &SlotSet) {
        let Some(key) = self.nodes.find(&id) else {
            return;
        };
        // Of oneself one knows best.
        if key == self.myself || self.nodes[key].config_epoch >= config_epoch {
            return;
        }
        self.set_as_primary(key);
        self.nodes[key].config_epoch = config_epoch;
        self.save_durably();
        self.take_claims(key, config_epoch, slots);
    }

    /// Binds to `claimer` what it claims and may have.
    fn take_claims(&mut self, claimer: NodeKey, config_epoch: u64, claimed: &SlotSet) {
        if claimer == self.myself {
            return;
        }
        let my_owner = self.primary_of(self.myself);
        let (mut taken, mut taken_from_us) = (SlotSet::default(), 0);
        let mut claimed_count = 0;
        for slot in 0..SLOTS as Slot {
            let owner = self.owner(slot);
            if !claimed.contains(slot) {
                if owner == Some(claimer) {
                    // The binding stays, so that clients are still sent to somebody who knows better.
                    self.unclaimed.insert(slot);
                }
                continue;
            }
            claimed_count += 1;
            if owner == Some(claimer) {
                self.unclaimed.remove(slot);
                continue;
            }
            // A slot that comes to this node is closed by the operator who opened it.
            if self.importing.contains_key(&slot) {
                continue;
            }
            let is_older = owner.is_some_and(|key| self.nodes[key].config_epoch < config_epoch);
            if !self.is_free(slot) && !is_older {
                continue;
            }
            if owner == Some(self.myself) {
                taken.insert(slot);
            }
            taken_from_us += usize::from(owner == Some(my_owner));
            self.unbind(slot);
            self.bind(slot, claimer);
            self.save_by_tick();
            self.look_soon();
        }
        self.settle(claimer, my_owner, taken, taken_from_us, claimed_count);
    }

    /// What becomes of this node after `claimer` has taken slots.
    fn settle(
        &mut self,
        claimer: NodeKey,
        my_owner: NodeKey,
        taken: SlotSet,
        taken_from_us: usize,
        claimed_count: usize,
    ) {
        let may_follow = self.settings.allow_replica_migration || claimed_count == taken_from_us;
        let grand = self.me().primary.and_then(|key| self.nodes[key].primary);
        if taken_from_us > 0 && self.nodes[my_owner].slot_count == 0 && may_follow {
            let name = self.nodes[claimer].name_for_log();
            self.note(
                log::Level::Info,
                format!(
                    "Configuration change detected. Reconfiguring myself as a replica of {name}"
                ),
            );
            self.replicate_from(claimer);
            self.save_durably();
        } else if let Some(grand) = grand.filter(|key| *key != self.myself) {
            let name = self.nodes[grand].name_for_log();
            self.note(
                log::Level::Info,
                format!(
                    "I'm a sub-replica! Reconfiguring myself as a replica of grandmaster {name}"
                ),
            );
            self.replicate_from(grand);
            self.save_durably();
        } else if !taken.is_empty() {
            self.act(Action::DropKeys(taken));
        }
    }
}
