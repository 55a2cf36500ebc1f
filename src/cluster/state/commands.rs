//! What an operator can ask for: the subcommands of CLUSTER that change something (specification, section 8).
//!
//! Each is done at once or answers with Redis's error; what it needs to know of keys the caller has counted. Those that only
//! show something are in `render.rs`.

use super::super::action::Action;
use super::super::address::{Address, literal};
use super::super::flags::NodeFlags;
use super::super::node_id::NodeId;
use super::super::slots::SlotSet;
use super::Cluster;
use super::table::NodeKey;
use crate::base::slot::Slot;
use crate::resp::ErrorReply;

/// How long CLUSTER FORGET keeps gossip from bringing a node back, milliseconds.
const FORGET_MS: i64 = 60_000;

/// CLUSTER SETSLOT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetSlot<'a> {
    /// Keys go to that node.
    Migrating(&'a [u8]),
    /// Keys come from that node.
    Importing(&'a [u8]),
    /// Neither.
    Stable,
    /// The slot is that node's.
    Node {
        /// Whose.
        id: &'a [u8],
        /// Keys of the slot that are here; they matter if [`Cluster::may_hold_keys`] says so.
        keys: usize,
    },
}

/// CLUSTER FAILOVER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failover {
    /// When everything is replicated.
    Plain,
    /// Without asking the primary.
    Force,
    /// Without asking anybody.
    Takeover,
}

impl Cluster {
    /// CLUSTER ADDSLOTS and ADDSLOTSRANGE, with ranges of first and last slot.
    pub fn add_slots(&mut self, now_ms: i64, ranges: &[(Slot, Slot)]) -> Result<(), ErrorReply> {
        let is_busy = |cluster: &Self, slot| {
            let owner = cluster.owner(slot);
            owner.is_some().then(|| ErrorReply::slot_is_busy(slot))
        };
        for slot in self.checked_slots(ranges, is_busy)?.iter() {
            self.importing.remove(&slot);
            self.bind(slot, self.myself);
        }
        self.changed(now_ms)
    }

    /// CLUSTER DELSLOTS and DELSLOTSRANGE: whoever owns them, here they have no owner any more.
    pub fn del_slots(&mut self, now_ms: i64, ranges: &[(Slot, Slot)]) -> Result<(), ErrorReply> {
        let is_nobodys = |cluster: &Self, slot| {
            let owner = cluster.owner(slot);
            owner
                .is_none()
                .then(|| ErrorReply::slot_is_unassigned(slot))
        };
        for slot in self.checked_slots(ranges, is_nobodys)?.iter() {
            self.importing.remove(&slot);
            self.unbind(slot);
        }
        self.changed(now_ms)
    }

    /// The slots of all ranges, if none is refused, given twice or in a range that runs backwards.
    fn checked_slots(
        &self,
        ranges: &[(Slot, Slot)],
        refusal: impl Fn(&Self, Slot) -> Option<ErrorReply>,
    ) -> Result<SlotSet, ErrorReply> {
        let mut slots = SlotSet::default();
        for (first, last) in ranges {
            if first > last {
                return Err(ErrorReply::slot_range(*first, *last));
            }
            for slot in *first..=*last {
                if let Some(error) = refusal(self, slot) {
                    return Err(error);
                }
                if !slots.insert(slot) {
                    return Err(ErrorReply::slot_is_repeated(slot));
                }
            }
        }
        Ok(slots)
    }

    /// CLUSTER FLUSHSLOTS.
    pub fn flush_slots(&mut self, now_ms: i64, has_keys: bool) -> Result<(), ErrorReply> {
        if has_keys {
            return Err(ErrorReply::FLUSHSLOTS_NOT_EMPTY);
        }
        self.unbind_all(self.myself);
        self.changed(now_ms)
    }

    /// Whether SETSLOT NODE depends on the keys that there are here: the slot is this node's, or keys of it go to another.
    pub fn may_hold_keys(&self, slot: Slot) -> bool {
        self.owner(slot) == Some(self.myself) || self.migrating.contains_key(&slot)
    }

    /// CLUSTER SETSLOT.
    pub fn set_slot(
        &mut self,
        now_ms: i64,
        slot: Slot,
        action: SetSlot<'_>,
    ) -> Result<(), ErrorReply> {
        self.now_ms = now_ms;
        if self.me().is_replica() {
            return Err(ErrorReply::SETSLOT_ON_REPLICA);
        }
        let is_mine = self.owner(slot) == Some(self.myself);
        let other = |cluster: &Self, id: &[u8]| {
            let key = cluster.find(id);
            let key = key.ok_or_else(|| ErrorReply::setslot_unknown_node(id))?;
            cluster.only_primary(key)
        };
        match action {
            SetSlot::Migrating(_) if !is_mine => return Err(ErrorReply::not_the_owner(slot)),
            SetSlot::Migrating(id) => {
                let to = other(self, id)?;
                self.migrating.insert(slot, to);
            }
            SetSlot::Importing(_) if is_mine => return Err(ErrorReply::already_the_owner(slot)),
            SetSlot::Importing(id) => {
                let from = other(self, id)?;
                self.importing.insert(slot, from);
            }
            SetSlot::Stable => {
                self.migrating.remove(&slot);
                self.importing.remove(&slot);
            }
            SetSlot::Node { id, keys } => {
                let key = self.find(id).ok_or_else(|| ErrorReply::unknown_node(id))?;
                let key = self.only_primary(key)?;
                self.assign(slot, key, keys)?;
            }
        }
        self.changed(now_ms)
    }

    fn assign(&mut self, slot: Slot, key: NodeKey, keys: usize) -> Result<(), ErrorReply> {
        let (was_mine, is_mine) = (self.owner(slot) == Some(self.myself), key == self.myself);
        if was_mine && !is_mine && keys > 0 {
            return Err(ErrorReply::slot_has_keys(slot));
        }
        if keys == 0 {
            self.migrating.remove(&slot);
        }
        self.unbind(slot);
        self.bind(slot, key);
        if was_mine
            && !is_mine
            && self.me().slot_count == 0
            && self.settings.allow_replica_migration
        {
            let name = self.nodes[key].name_for_log();
            self.note(
                log::Level::Info,
                format!(
                    "Configuration change detected. Reconfiguring myself as a replica of {name}"
                ),
            );
            self.replicate_from(key);
            self.save_durably();
        }
        if is_mine && self.importing.remove(&slot).is_some() {
            if self.bump_epoch() {
                self.note(
                    log::Level::Info,
                    format!("configEpoch updated after importing slot {slot}"),
                );
            }
            self.broadcast_pong(false);
        }
        Ok(())
    }

    /// CLUSTER BUMPEPOCH: whether it moved, and the epoch that this node has now.
    pub fn bump(&mut self, now_ms: i64) -> (bool, u64) {
        self.now_ms = now_ms;
        (self.bump_epoch(), self.me().config_epoch)
    }

    /// CLUSTER SET-CONFIG-EPOCH.
    pub fn set_config_epoch(&mut self, now_ms: i64, epoch: i64) -> Result<(), ErrorReply> {
        self.now_ms = now_ms;
        let Ok(wanted) = u64::try_from(epoch) else {
            return Err(ErrorReply::invalid_config_epoch(epoch));
        };
        if self.nodes.len() > 1 {
            return Err(ErrorReply::CONFIG_EPOCH_NOT_ALONE);
        }
        if self.me().config_epoch != 0 {
            return Err(ErrorReply::CONFIG_EPOCH_IS_SET);
        }
        self.me_mut().config_epoch = wanted;
        self.current_epoch = self.current_epoch.max(wanted);
        self.note(
            log::Level::Info,
            format!("configEpoch set to {epoch} via CLUSTER SET-CONFIG-EPOCH"),
        );
        self.changed(now_ms)
    }

    /// CLUSTER SAVECONFIG: the turn saves, and the answer waits for that.
    pub fn save_config(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        self.save_durably();
    }

    /// CLUSTER MEET. `port_text` is the port as the client wrote it.
    pub fn meet(
        &mut self,
        now_ms: i64,
        ip: &[u8],
        port_text: &[u8],
        port: i64,
        bus_port: i64,
    ) -> Result<(), ErrorReply> {
        self.now_ms = now_ms;
        let port_of = |port: i64| u16::try_from(port).ok().filter(|port| *port != 0);
        let (Some(ip_text), Some(port), Some(bus_port)) =
            (literal(ip), port_of(port), port_of(bus_port))
        else {
            return Err(ErrorReply::meet_address(ip, port_text));
        };
        let address = Address::of_wire(ip_text, port, 0, bus_port, self.settings.tls);
        self.start_handshake(address, NodeFlags::MEET);
        Ok(())
    }

    /// CLUSTER FORGET.
    pub fn forget_node(&mut self, now_ms: i64, id: &[u8]) -> Result<(), ErrorReply> {
        self.now_ms = now_ms;
        let Some(key) = self.find(id) else {
            // Another node may have spread it already.
            return match NodeId::parse(id) {
                Some(id) if self.is_forgotten(&id) => Ok(()),
                _ => Err(ErrorReply::unknown_node(id)),
            };
        };
        if key == self.myself {
            return Err(ErrorReply::FORGET_MYSELF);
        }
        if self.me().is_replica() && self.me().primary == Some(key) {
            return Err(ErrorReply::FORGET_PRIMARY);
        }
        self.forget(key, FORGET_MS);
        Ok(())
    }

    /// CLUSTER REPLICATE.
    pub fn replicate(&mut self, now_ms: i64, id: &[u8], has_keys: bool) -> Result<(), ErrorReply> {
        self.now_ms = now_ms;
        let key = self.find(id).ok_or_else(|| ErrorReply::unknown_node(id))?;
        if key == self.myself {
            return Err(ErrorReply::REPLICATE_MYSELF);
        }
        if self.nodes[key].is_replica() {
            return Err(ErrorReply::REPLICATE_REPLICA);
        }
        let me = self.me();
        if me.is_primary() && (me.slot_count > 0 || has_keys) {
            return Err(ErrorReply::REPLICATE_NOT_EMPTY);
        }
        self.replicate_from(key);
        self.changed(now_ms)
    }

    /// CLUSTER FAILOVER.
    pub fn failover(&mut self, now_ms: i64, how: Failover) -> Result<(), ErrorReply> {
        self.now_ms = now_ms;
        if !self.me().is_replica() {
            return Err(ErrorReply::CLUSTER_FAILOVER_OF_PRIMARY);
        }
        let primary = self.me().primary;
        let primary = primary.ok_or(ErrorReply::FAILOVER_UNKNOWN_PRIMARY)?;
        let node = &self.nodes[primary];
        if how == Failover::Plain && (node.has_failed() || node.outbound.is_none()) {
            return Err(ErrorReply::FAILOVER_PRIMARY_DOWN);
        }
        let text = match how {
            Failover::Plain => "Manual failover user request accepted.",
            Failover::Force => "Forced failover user request accepted.",
            Failover::Takeover => "Taking over the master (user request).",
        };
        self.note(log::Level::Info, text.to_owned());
        if how == Failover::Takeover {
            self.end_manual_failover();
            self.bump_epoch();
            self.take_over();
        } else {
            self.start_manual_failover(primary, how == Failover::Force);
        }
        Ok(())
    }

    /// CLUSTER RESET.
    pub fn reset(&mut self, now_ms: i64, is_hard: bool, has_keys: bool) -> Result<(), ErrorReply> {
        self.now_ms = now_ms;
        if !self.me().is_replica() && has_keys {
            return Err(ErrorReply::RESET_NOT_EMPTY);
        }
        if self.me().is_replica() {
            self.set_as_primary(self.myself);
            self.act(Action::StopReplicating);
            self.act(Action::DropAllKeys);
        }
        self.close_slots();
        self.end_manual_failover();
        self.drop_election();
        for key in self.nodes.keys() {
            self.unbind_all(key);
        }
        for key in self.nodes.keys() {
            if key != self.myself {
                self.remove_node(key);
            }
        }
        self.forgive_all();
        if is_hard {
            (self.current_epoch, self.last_vote_epoch) = (0, 0);
            let id = NodeId::random(&mut self.random);
            let shard_id = NodeId::random(&mut self.random);
            self.nodes.rename(self.myself, id);
            let me = self.me_mut();
            (me.config_epoch, me.shard_id) = (0, shard_id);
            self.note(
                log::Level::Info,
                "configEpoch set to 0 via CLUSTER RESET HARD".to_owned(),
            );
            self.note(log::Level::Info, format!("Node hard reset, now I'm {id}"));
        }
        self.save_durably();
        self.look_soon();
        Ok(())
    }

    /// CLUSTER COUNT-FAILURE-REPORTS.
    pub fn failure_reports(&mut self, now_ms: i64, id: &[u8]) -> Result<usize, ErrorReply> {
        self.now_ms = now_ms;
        let key = self.find(id).ok_or_else(|| ErrorReply::unknown_node(id))?;
        Ok(self.report_count(key))
    }

    /// The node of that name as a client has written it.
    pub fn find(&self, id: &[u8]) -> Option<NodeKey> {
        self.nodes.find(&NodeId(id.try_into().ok()?))
    }

    fn only_primary(&self, key: NodeKey) -> Result<NodeKey, ErrorReply> {
        match self.nodes[key].is_replica() {
            true => Err(ErrorReply::SETSLOT_TARGET_REPLICA),
            false => Ok(key),
        }
    }

    fn changed(&mut self, now_ms: i64) -> Result<(), ErrorReply> {
        self.now_ms = now_ms;
        self.save_soon();
        self.look_soon();
        Ok(())
    }
}
