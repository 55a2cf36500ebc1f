//! What being a replica means to a core: which commands it refuses, that expired keys stay, that nothing is evicted.

use crate::command::spec::Flags;
use crate::mesh::message::Role;
use crate::net::Connection;
use crate::resp::ErrorReply;

use super::core::Core;

impl Core {
    /// The server has become a replica or a primary, or its link has come up or gone down.
    pub(super) fn set_role(&mut self, role: Role) {
        self.role = role;
        self.role_configured();
        self.memory_configured();
        if role.has_become_replica {
            self.send_blocked_away();
        }
        self.let_go();
    }

    /// In a cluster: the slots of the old primary are here already, and the word that this server may write is on its way.
    /// Nobody must see that: what writes waits.
    pub(super) fn is_being_promoted(&self) -> bool {
        let map = self.slot_map.as_ref();
        self.role.is_replica && map.is_some_and(|map| !map.facts().is_replica)
    }

    /// Works out what follows from the role and the configuration.
    pub(super) fn role_configured(&mut self) {
        let Role {
            is_replica,
            link_is_up,
            ..
        } = self.role;
        self.gates.read_only = is_replica && self.config.replica_read_only;
        self.gates.stale = is_replica && !link_is_up && !self.config.replica_serve_stale_data;
        self.look_at_writes();
        self.settle_expiry();
    }

    /// Commands that write need a look at the gates where those may hold them up.
    pub(super) fn look_at_writes(&mut self) {
        self.gates.refused = match self.gates.read_only || self.gates.crowded {
            true => Flags::WRITE.and(Flags::MAY_REPLICATE),
            false => Flags::NONE,
        };
    }

    /// Says to the own shard whether what is due goes, stays for those who read, or stays altogether.
    pub(super) fn settle_expiry(&mut self) {
        let paused = self.pause.until_ms > 0 || self.gates.loading;
        let follows = self.role.is_replica;
        if let Some(shard) = &mut self.shard {
            shard.expiry_paused = paused;
            shard.follows = follows;
        }
    }

    /// Blocked clients wait for what only a primary gives them.
    fn send_blocked_away(&mut self) {
        let blocked: Vec<_> = self
            .connections
            .iter()
            .flatten()
            .filter(|connection| connection.blocked.is_some() && !connection.closed)
            .map(|connection| connection.place)
            .collect();
        for place in blocked {
            let Some(mut connection) = self.take_connection(place) else {
                continue;
            };
            if self.recall(&connection) {
                self.give_up(&mut connection, Some(&ErrorReply::UNBLOCKED_BY_ROLE));
                end_after_reply(&mut connection);
            }
            self.put_back(connection);
        }
    }
}

fn end_after_reply(connection: &mut Connection) {
    connection.input = Vec::new();
    connection.input_at = 0;
    connection.ending = true;
}
