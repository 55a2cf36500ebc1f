//! What must hold after every event, and what must hold once everything is whole again.

use std::collections::BTreeMap;

use super::super::node_id::NodeId;
use super::super::packet::{Body, Packet, decode};
use super::world::World;
use crate::base::slot::{SLOTS, Slot};

/// Two nodes on one side may both serve a slot for so long: until the first packet tells the old owner. The
/// protocol has no leases, so that much it allows; what it never allows is that they do so under one epoch.
const BOTH_MS: i64 = 1000;

/// Slots that are looked at after every event: they are spread over all owners.
pub(super) const SAMPLES: [Slot; 9] = [0, 1000, 4095, 5461, 8000, 10922, 10923, 13000, 16383];

/// What has been seen so far.
#[derive(Default)]
pub(super) struct Checks {
    /// Who got a voter's vote in an epoch.
    votes: BTreeMap<(NodeId, u64), NodeId>,
    /// Who was elected in an epoch, as far as it had to be asked for.
    claims: BTreeMap<u64, NodeId>,
    /// Since when two machines serve a slot.
    both_since: BTreeMap<(Slot, usize, usize), i64>,
    /// An operator has made epochs without asking: they may meet.
    pub(super) allow_both: bool,
}

impl Checks {
    /// A packet leaves for `to`.
    pub(super) fn on_sent(&mut self, packet: &[u8], to: Option<NodeId>) {
        let Ok(Packet::Full { header, body }) = decode(packet) else {
            panic!("a packet that this server itself would not read");
        };
        if matches!(body, Body::AuthAck)
            && let Some(to) = to
        {
            let voter = (header.sender, header.current_epoch);
            let before = *self.votes.entry(voter).or_insert(to);
            assert!(before == to, "{} votes twice in epoch {}", voter.0, voter.1);
        }
        if matches!(body, Body::AuthRequest) {
            let of = header.sender;
            let before = *self.claims.entry(header.current_epoch).or_insert(of);
            let both = before != of;
            // Two may ask in one epoch; that only one wins follows from the votes, of which each voter has one.
            debug_assert!(!both || before.is_valid());
        }
    }

    /// After every event.
    pub(super) fn after_event(world: &mut World) {
        let now_ms = world.now_ms();
        let (mut some, mut several) = (0, 0);
        for machine in &world.machines {
            several |= some & machine.serves;
            some |= machine.serves;
        }
        if several == 0 {
            world.checks.both_since.clear();
            return;
        }
        for slot in SAMPLES {
            let servers: Vec<usize> = (0..world.machines.len())
                .filter(|at| world.accepts_writes(*at, slot))
                .collect();
            if servers.len() < 2 {
                if !world.checks.both_since.is_empty() {
                    world
                        .checks
                        .both_since
                        .retain(|(other, ..), _| *other != slot);
                }
                continue;
            }
            let epoch = |at: usize| {
                world.machines[at]
                    .cluster
                    .as_ref()
                    .map(|one| one.me().config_epoch)
            };
            for (at, one) in servers.iter().enumerate() {
                for other in &servers[at + 1..] {
                    assert!(
                        epoch(*one) != epoch(*other) || world.checks.allow_both,
                        "slot {slot} is served by machines {one} and {other} under one epoch"
                    );
                    if !world.is_in_majority(*one) || !world.is_in_majority(*other) {
                        world.checks.both_since.remove(&(slot, *one, *other));
                        continue;
                    }
                    let key = (slot, *one, *other);
                    let since_ms = *world.checks.both_since.entry(key).or_insert(now_ms);
                    assert!(
                        now_ms - since_ms <= BOTH_MS || world.checks.allow_both,
                        "slot {slot} is served by machines {one} and {other} since {since_ms} ms"
                    );
                }
            }
        }
    }
}

impl World {
    /// Whether a machine is where most of the voters are, as it knows them itself.
    pub(super) fn is_in_majority(&self, at: usize) -> bool {
        let Some(cluster) = &self.machines[at].cluster else {
            return false;
        };
        let voters = cluster.nodes().iter().filter(|(_, node)| node.is_voter());
        let (mut all, mut here) = (0, 0);
        for (_, node) in voters {
            all += 1;
            let machine = self.find(node.id);
            here += usize::from(machine.is_some_and(|other| self.reaches(at, other)));
        }
        here > all / 2
    }

    /// Whether all that run agree on every slot, every slot is served, and epochs differ.
    pub(super) fn is_settled(&self) -> bool {
        self.why_not_settled().is_none()
    }

    /// Why not.
    pub(super) fn why_not_settled(&self) -> Option<String> {
        let running: Vec<usize> = self.running().map(|(at, _)| at).collect();
        let owners = |at: usize| -> Vec<Option<NodeId>> {
            let cluster = self.machines[at].cluster.as_ref().unwrap();
            let id = |slot| Some(cluster.nodes()[cluster.owner(slot)?].id);
            (0..SLOTS as Slot).map(id).collect()
        };
        let first = owners(*running.first()?);
        let mut epochs: BTreeMap<u64, NodeId> = BTreeMap::new();
        for at in &running {
            let cluster = self.machines[*at].cluster.as_ref().unwrap();
            if cluster.is_down() {
                return Some(format!("for machine {at} the cluster is down"));
            }
            let mine = owners(*at);
            if let Some(slot) = (0..SLOTS).find(|slot| mine[*slot] != first[*slot]) {
                let (mine, first) = (mine[slot], first[slot]);
                return Some(format!(
                    "machine {at}: slot {slot} is {mine:?}'s, not {first:?}'s"
                ));
            }
            let me = cluster.me();
            if me.is_voter() && epochs.insert(me.config_epoch, me.id).is_some() {
                return Some(format!(
                    "epoch {} of machine {at} is another's",
                    me.config_epoch
                ));
            }
            for (_, node) in cluster.nodes().iter() {
                let runs = self.find(node.id);
                let lost =
                    super::super::flags::NodeFlags::PFAIL | super::super::flags::NodeFlags::FAIL;
                if runs.is_some() && node.flags.has(lost) {
                    return Some(format!("machine {at} believes that {} fails", node.id));
                }
                if let Some(other) = runs {
                    let other = self.machines[other].cluster.as_ref().unwrap();
                    if other.me().is_primary() != node.is_primary() {
                        return Some(format!("machine {at} takes {} for what it is not", node.id));
                    }
                }
            }
        }
        for slot in [0, 5000, 10000, 16383] {
            let servers = running.iter().filter(|at| self.accepts_writes(**at, slot));
            let count = servers.count();
            if count != 1 {
                return Some(format!("slot {slot} is served by {count} machines"));
            }
        }
        None
    }
}
