//! Who is whose primary, and replica groups (specification, 4.2 and 5.4).

use super::super::action::Action;
use super::super::flags::NodeFlags;
use super::super::node_id::NodeId;
use super::Cluster;
use super::table::NodeKey;

impl Cluster {
    /// Makes `replica` one of `primary`'s.
    pub(super) fn attach(&mut self, replica: NodeKey, primary: NodeKey) {
        assert_ne!(replica, primary, "nobody is its own replica");
        self.detach(replica);
        self.nodes[replica].primary = Some(primary);
        let of = &mut self.nodes[primary];
        of.replicas.push(replica);
        // A primary that had replicas is one that others may move to when they are gone.
        of.flags.put(NodeFlags::MIGRATE_TO, true);
    }

    /// Takes `replica` from its primary.
    pub(super) fn detach(&mut self, replica: NodeKey) {
        if let Some(primary) = self.nodes[replica].primary.take() {
            let of = &mut self.nodes[primary];
            of.replicas.retain(|key| *key != replica);
            if of.replicas.is_empty() {
                of.flags.put(NodeFlags::MIGRATE_TO, false);
            }
        }
    }

    /// `key` is a primary from now on.
    pub(super) fn set_as_primary(&mut self, key: NodeKey) {
        if self.nodes[key].is_primary() {
            return;
        }
        let had_primary = self.nodes[key].primary.is_some();
        self.detach(key);
        let node = &mut self.nodes[key];
        node.flags.put(NodeFlags::REPLICA, false);
        node.flags.put(NodeFlags::PRIMARY, true);
        if had_primary && !node.is_myself() {
            node.flags.put(NodeFlags::MIGRATE_TO, true);
        }
        self.save_soon();
        self.look_soon();
    }

    /// This node replicates `primary` from now on. It owns no slot. All are told: gossip puts off pings between any two, so
    /// that the new primary might not hear of its replica for longer than the time-out (Redis leaves it to the pings).
    pub(super) fn replicate_from(&mut self, primary: NodeKey) {
        assert_ne!(primary, self.myself, "nobody is its own replica");
        assert_eq!(self.me().slot_count, 0, "a replica owns no slots");
        if self.me().is_primary() {
            let me = self.me_mut();
            me.flags
                .put(NodeFlags::PRIMARY | NodeFlags::MIGRATE_TO, false);
            me.flags.put(NodeFlags::REPLICA, true);
            self.close_slots();
        }
        self.attach(self.myself, primary);
        let shard_id = self.nodes[primary].shard_id;
        self.set_shard_id(self.myself, shard_id);
        let of = &self.nodes[primary];
        let (id, address) = (of.id, of.address);
        self.act(Action::Replicate { id, address });
        self.end_manual_failover();
        self.save_soon();
        self.look_soon();
        self.broadcast_pong(false);
    }

    /// `key` is of this replica group; so is this node if it is `key`'s replica.
    pub(super) fn set_shard_id(&mut self, key: NodeKey, shard_id: NodeId) {
        if self.nodes[key].shard_id != shard_id {
            self.nodes[key].shard_id = shard_id;
            self.save_soon();
        }
        if self.me().primary == Some(key) && self.me().shard_id != shard_id {
            self.me_mut().shard_id = shard_id;
            self.save_durably();
        }
    }

    /// The primary of a replica, or the node itself.
    pub(super) fn primary_of(&self, key: NodeKey) -> NodeKey {
        self.nodes[key].primary.unwrap_or(key)
    }

    /// How many of `key`'s replicas work.
    pub(super) fn working_replicas(&self, key: NodeKey) -> usize {
        let replicas = self.nodes[key].replicas.iter();
        replicas
            .filter(|replica| !self.nodes[**replica].has_failed())
            .count()
    }
}
