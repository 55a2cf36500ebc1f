//! One node's part in the cluster, as a machine that is told what happens and says what is to be done.
//!
//! Nothing here waits, reads a clock or talks to anybody. Every entry takes the time; chance comes from a seed; what is to
//! be done is gathered until [`Cluster::end_turn`] hands it over as one [`Turn`]: first a save of nodes.conf if there is
//! anything to save, then everything else. So whatever leaves this node stands on what its file says, and
//! however many packets a turn brings, the file is written once.
//!
//! `receive.rs` reads packets; `claims.rs`, `failure.rs`, `vote.rs` and `election.rs` hold the rules that make two nodes
//! never serve one slot for long; `commands.rs` is what an operator can ask for.

mod claims;
mod commands;
mod cron;
mod election;
mod epoch;
mod failure;
mod gossip;
mod health;
mod links;
mod manual;
mod membership;
mod migration;
mod node;
mod order;
mod receive;
mod restore;
mod roles;
mod send;
mod slots;
mod table;
mod vote;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use commands::{Failover, SetSlot};
pub use links::Link;
pub use node::Node;
pub use table::{NodeKey, Nodes};

use super::action::{Action, LinkId, Save, Turn};
use super::node_id::NodeId;
use super::packet::KINDS;
use super::settings::Settings;
use super::slot_map::SlotMap;
use super::slots::SlotSet;
use crate::base::random::Random;
use crate::base::slot::{SLOTS, Slot};

/// Most nodes that are kept, those in handshake included: what gossip adds beyond that is passed over.
pub const NODES_MAX: usize = 65_000;

/// Most handshakes that strangers can have going at a time.
pub const HANDSHAKES_MAX: usize = 1024;

/// What the rest of the server knows and decisions need: told before a tick or a packet, whenever it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// A primary's replication offset, or what a replica has processed.
    pub repl_offset: u64,
    /// A replica is connected or connecting to a primary.
    pub is_replicating: bool,
    /// When a replica last heard of its primary: the last byte on a link that is up, or the moment it went down. Unix
    /// milliseconds.
    pub primary_seen_ms: i64,
}

/// Packets by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sent.
    pub sent: [u64; KINDS],
    /// Received.
    pub received: [u64; KINDS],
    /// Links closed for what they had not sent (cluster-link-sendbuf-limit).
    pub links_over_limit: u64,
}

/// What is left to do at the end of a turn.
#[derive(Clone, Copy, Debug, Default)]
struct Todo {
    save: bool,
    is_durable: bool,
    health: bool,
    election: bool,
    manual: bool,
    map: bool,
}

/// One node's part in the cluster.
pub struct Cluster {
    pub(in crate::cluster) settings: Settings,
    pub(in crate::cluster) nodes: Nodes,
    pub(in crate::cluster) links: BTreeMap<LinkId, Link>,
    pub(in crate::cluster) myself: NodeKey,
    /// Owners.
    pub(in crate::cluster) slots: Box<[Option<NodeKey>; SLOTS]>,
    /// Slots whose owner has stopped claiming them: anybody may take them, and nobody is told whose they are.
    unclaimed: SlotSet,
    pub(in crate::cluster) migrating: BTreeMap<Slot, NodeKey>,
    pub(in crate::cluster) importing: BTreeMap<Slot, NodeKey>,
    pub(in crate::cluster) current_epoch: u64,
    pub(in crate::cluster) last_vote_epoch: u64,
    pub(in crate::cluster) health: health::Health,
    election: election::Election,
    manual: manual::Manual,
    /// Nodes that gossip does not bring back before then (Unix milliseconds).
    forgotten: BTreeMap<NodeId, i64>,
    pub(in crate::cluster) counters: Counters,
    pub(in crate::cluster) observed: Observed,
    random: Random,
    now_ms: i64,
    next_link: u64,
    ticks: u64,
    /// Nodes that the last tick found unreachable: those that still are go into every ping.
    suspects: Vec<NodeKey>,
    /// Counts packets with gossip.
    gossip_round: u64,
    /// Slots bound anew in this turn that were of this node's replica group.
    unbound: SlotSet,
    todo: Todo,
    /// The next tick saves, durably.
    owes_save: bool,
    actions: Vec<Action>,
    /// The map that shards have, or are about to get.
    published: Option<Arc<SlotMap>>,
}

impl Cluster {
    /// This node.
    pub fn me(&self) -> &Node {
        &self.nodes[self.myself]
    }

    fn me_mut(&mut self) -> &mut Node {
        &mut self.nodes[self.myself]
    }

    /// This node's name.
    pub fn my_id(&self) -> NodeId {
        self.me().id
    }

    /// All nodes that are known.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// The highest epoch that this node has seen.
    pub fn current_epoch(&self) -> u64 {
        self.current_epoch
    }

    /// The epoch of the last vote that this node gave.
    pub fn last_vote_epoch(&self) -> u64 {
        self.last_vote_epoch
    }

    /// Whether the cluster is down as this node sees it.
    pub fn is_down(&self) -> bool {
        self.health.is_down
    }

    /// The slot's owner.
    pub fn owner(&self, slot: Slot) -> Option<NodeKey> {
        self.slots[usize::from(slot)]
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it was told last of replication.
    pub fn observed(&self) -> Observed {
        self.observed
    }

    /// Takes over what has become of replication.
    pub fn observe(&mut self, observed: Observed) {
        self.observed = observed;
        if self.manual.waits_for_offset() {
            self.todo.manual = true;
        }
    }

    /// Ends a turn: all that is to be done, in the order in which it has to be.
    pub fn end_turn(&mut self, now_ms: i64) -> Turn {
        self.now_ms = now_ms;
        // A step may make the next one due at once; what waits for something comes again in another turn.
        for _ in 0..3 {
            let (manual, election) = (self.todo.manual, self.todo.election);
            (self.todo.manual, self.todo.election) = (false, false);
            if !(manual || election) {
                break;
            }
            if self.me().is_replica() {
                if manual {
                    self.manual_step();
                }
                self.election_step();
            }
        }
        if self.todo.health {
            self.look_at_health();
        }
        if !self.unbound.is_empty() {
            let slots = std::mem::take(&mut self.unbound);
            self.act(Action::DropSubscribers(slots));
        }
        if self.todo.map {
            let map = self.slot_map();
            if self.published.as_deref() != Some(&map) {
                let map = Arc::new(map);
                self.published = Some(map.clone());
                self.act(Action::PublishMap(map));
            }
        }
        self.owes_save &= !(self.todo.save && self.todo.is_durable);
        let save = self.todo.save.then(|| Save {
            text: self.conf().to_text(self.settings.tls),
            is_durable: self.todo.is_durable,
        });
        self.todo = Todo {
            manual: self.todo.manual,
            election: self.todo.election,
            ..Todo::default()
        };
        Turn {
            save,
            actions: order::in_order(std::mem::take(&mut self.actions)),
        }
    }

    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn note(&mut self, level: log::Level, text: String) {
        self.actions.push(Action::Log(level, text));
    }

    /// nodes.conf has changed.
    fn save_soon(&mut self) {
        self.todo.save = true;
    }

    /// nodes.conf has changed, and nobody must see that before it is on disk.
    fn save_durably(&mut self) {
        self.todo.save = true;
        self.todo.is_durable = true;
    }

    /// nodes.conf has changed by what another node claims of itself. To have forgotten that after a crash is to have missed
    /// a packet, since it says so again with every ping; only what this node promises must not be forgotten. So the next tick
    /// saves it, durably, and with it all that came until then: while slots are moved one by one, Redis syncs for each.
    fn save_by_tick(&mut self) {
        self.owes_save = true;
    }

    /// Whether the cluster is up has to be found out again.
    fn look_soon(&mut self) {
        self.todo.health = true;
        self.todo.map = true;
    }
}
