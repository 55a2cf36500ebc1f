//! Where a request goes: served here, or sent elsewhere with an error (specification, 7.3).
//!
//! A request whose one slot passes [`SlotMap::serves`] never comes here. The others are decided in two steps, because in
//! between somebody may have to look which keys are there: [`place`] walks the keys and says whether that is needed,
//! [`decide`] gives the answer. For EXEC the walk is over the keys of all queued commands.

use super::slot_map::{Endpoint, MapNode, SlotMap};
use crate::base::slot::{Slot, key_slot};
use crate::resp::ErrorReply;

/// How a command wants to be routed: from its declaration and the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// It may write; for EXEC, any of the queued commands may.
    pub is_write: bool,
    /// SSUBSCRIBE, SUNSUBSCRIBE or SPUBLISH: its keys are channels.
    pub is_pubsubshard: bool,
    /// MIGRATE.
    pub is_migrate: bool,
    /// The connection has just sent ASKING, or the command brings that with it (RESTORE-ASKING).
    pub is_asking: bool,
    /// The connection has sent READONLY.
    pub is_readonly: bool,
    /// The connection came over TLS.
    pub is_tls: bool,
}

/// Where the keys of a request are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The slot of all of them.
    pub slot: Slot,
    /// There are different keys among them.
    pub is_multiple: bool,
    /// The slot's place in a move.
    motion: Motion,
}

/// Which way keys of a slot go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Motion {
    Still,
    Migrating,
    Importing,
}

/// How many of a request's keys are in the database, counted without touching or expiring them. A key that is named twice
/// counts twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Keys that are there.
    pub present: usize,
    /// Keys that are not.
    pub missing: usize,
}

impl Placed {
    /// Whether [`decide`] must be told which keys are there.
    pub fn needs_presence(&self, request: &Request) -> bool {
        self.motion != Motion::Still && !request.is_pubsubshard
    }
}

/// Walks the keys; `None` if there are none, so that the request is served here whatever the state of the cluster.
pub fn place<'a>(
    map: &SlotMap,
    keys: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<Placed>, ErrorReply> {
    let mut placed: Option<(Placed, &[u8])> = None;
    for key in keys {
        let slot = key_slot(key);
        match &mut placed {
            None => {
                let Some(owner) = map.owner_at(slot) else {
                    return Err(ErrorReply::SLOT_NOT_SERVED);
                };
                let motion = match map.open(slot) {
                    Some(open) if open.migrating_to.is_some() && owner == map.facts().myself => {
                        Motion::Migrating
                    }
                    Some(open) if open.importing_from.is_some() => Motion::Importing,
                    _ => Motion::Still,
                };
                let is_multiple = false;
                placed = Some((
                    Placed {
                        slot,
                        is_multiple,
                        motion,
                    },
                    key,
                ));
            }
            Some((placed, _)) if placed.slot != slot => return Err(ErrorReply::CROSS_SLOT),
            Some((placed, first)) => placed.is_multiple |= *first != key,
        }
    }
    Ok(placed.map(|(placed, _)| placed))
}

/// Whether the request is served here; the error says where else, or why not. `presence` counts only where it was asked
/// for.
pub fn decide(
    map: &SlotMap,
    placed: &Placed,
    request: &Request,
    presence: Presence,
) -> Result<(), ErrorReply> {
    let (facts, slot) = (map.facts(), placed.slot);
    if facts.is_down {
        if request.is_pubsubshard {
            if !facts.pubsubshard_when_down {
                return Err(ErrorReply::CLUSTER_DOWN);
            }
        } else if !facts.reads_when_down {
            return Err(ErrorReply::CLUSTER_DOWN);
        } else if request.is_write {
            return Err(ErrorReply::CLUSTER_DOWN_READ_ONLY);
        }
    }
    // Keys of a slot under way must be free to go, whoever owns it.
    if placed.motion != Motion::Still && request.is_migrate {
        return Ok(());
    }
    let presence = match placed.needs_presence(request) {
        true => presence,
        false => Presence::default(),
    };
    match placed.motion {
        Motion::Migrating if presence.missing > 0 => {
            let target = map.open(slot).and_then(|open| open.migrating_to);
            let target = target.and_then(|at| map.node(at));
            return match target {
                Some(target) if presence.present == 0 => {
                    Err(redirect("ASK", map, slot, target, request))
                }
                _ => Err(ErrorReply::TRY_AGAIN),
            };
        }
        Motion::Importing if request.is_asking => {
            return match placed.is_multiple && presence.missing > 0 {
                true => Err(ErrorReply::TRY_AGAIN),
                false => Ok(()),
            };
        }
        _ => {}
    }
    let Some(owner) = map.owner_at(slot) else {
        return Err(ErrorReply::SLOT_NOT_SERVED);
    };
    let reads_here = (request.is_readonly || request.is_pubsubshard) && !request.is_write;
    if owner == facts.myself || reads_here && facts.is_replica && facts.primary == Some(owner) {
        return Ok(());
    }
    let owner = map.node(owner).expect("an owner is among the nodes");
    Err(redirect("MOVED", map, slot, owner, request))
}

/// Whether a client that is blocked on keys of `slot` has to be sent away (7.7): its slot has gone, or the cluster is
/// down. `request` is that of the command that blocks.
pub fn unblock(map: &SlotMap, slot: Slot, request: &Request) -> Option<ErrorReply> {
    let facts = map.facts();
    if facts.is_down {
        return Some(ErrorReply::CLUSTER_DOWN);
    }
    let imports = map
        .open(slot)
        .is_some_and(|open| open.importing_from.is_some());
    let Some(owner) = map.owner_at(slot) else {
        return (!imports).then_some(ErrorReply::SLOT_NOT_SERVED);
    };
    let reads_here = request.is_readonly
        && !request.is_write
        && facts.is_replica
        && facts.primary == Some(owner);
    if owner == facts.myself || imports || reads_here {
        return None;
    }
    let owner = map.node(owner).expect("an owner is among the nodes");
    Some(redirect("MOVED", map, slot, owner, request))
}

fn redirect(
    word: &'static str,
    map: &SlotMap,
    slot: Slot,
    to: &MapNode,
    request: &Request,
) -> ErrorReply {
    let port = to.address.client_port(request.is_tls);
    ErrorReply::redirect(word, slot, endpoint(map.facts().endpoint, to), port)
}

/// What clients are told of where a node is.
pub fn endpoint(kind: Endpoint, node: &MapNode) -> &str {
    match kind {
        Endpoint::Ip => node.address.ip.as_str(),
        Endpoint::Hostname if node.hostname.is_empty() => "?",
        Endpoint::Hostname => &node.hostname,
        Endpoint::Unknown => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::{Address, IpText};
    use super::super::node_id::NodeId;
    use super::super::slot_map::{MapFacts, OpenSlot};
    use super::*;

    const FOO: Slot = 12182;

    fn node(name: u8, port: u16) -> MapNode {
        MapNode {
            id: NodeId([name; 40]),
            address: Address {
                ip: IpText::new("10.0.0.1").unwrap(),
                port,
                tls_port: port + 1,
                bus_port: 0,
            },
            hostname: if name == b'b' { "b.example" } else { "" }.into(),
        }
    }

    /// This node is the first; `foo` is owned by the node at `owner`.
    fn map(owner: u16, change: impl FnOnce(&mut MapFacts)) -> SlotMap {
        let mut facts = MapFacts {
            nodes: vec![node(b'a', 7000), node(b'b', 7001), node(b'c', 7002)],
            pubsubshard_when_down: true,
            ..MapFacts::default()
        };
        change(&mut facts);
        SlotMap::new(facts, |slot| (slot == FOO).then_some(owner))
    }

    fn open(migrating_to: Option<u16>, importing_from: Option<u16>) -> Vec<OpenSlot> {
        vec![OpenSlot {
            slot: FOO,
            migrating_to,
            importing_from,
        }]
    }

    fn answer(map: &SlotMap, keys: &[&str], request: Request, presence: (usize, usize)) -> String {
        let placed = match place(map, keys.iter().map(|key| key.as_bytes())) {
            Ok(Some(placed)) => placed,
            Ok(None) => return "no keys".to_owned(),
            Err(error) => return String::from_utf8(error.as_bytes().to_vec()).unwrap(),
        };
        let presence = Presence {
            present: presence.0,
            missing: presence.1,
        };
        match decide(map, &placed, &request, presence) {
            Ok(()) => "served".to_owned(),
            Err(error) => String::from_utf8(error.as_bytes().to_vec()).unwrap(),
        }
    }

    const WRITE: Request = Request {
        is_write: true,
        is_pubsubshard: false,
        is_migrate: false,
        is_asking: false,
        is_readonly: false,
        is_tls: false,
    };
    const READ: Request = Request {
        is_write: false,
        ..WRITE
    };
    const ASKING: Request = Request {
        is_asking: true,
        ..WRITE
    };
    const CHANNEL: Request = Request {
        is_pubsubshard: true,
        ..READ
    };
    const READONLY: Request = Request {
        is_readonly: true,
        ..READ
    };

    #[test]
    fn keys_of_another_node_are_moved_to_it() {
        let map = map(1, |_| {});
        assert_eq!(
            answer(&map, &["foo"], READ, (0, 0)),
            "MOVED 12182 10.0.0.1:7001"
        );
        let tls = Request {
            is_tls: true,
            ..READ
        };
        assert_eq!(
            answer(&map, &["foo"], tls, (0, 0)),
            "MOVED 12182 10.0.0.1:7002"
        );
        assert_eq!(answer(&map, &[], READ, (0, 0)), "no keys");
    }

    #[test]
    fn the_endpoint_is_of_the_kind_that_is_preferred() {
        let hostname = |facts: &mut MapFacts| facts.endpoint = Endpoint::Hostname;
        let b = answer(&map(1, hostname), &["foo"], READ, (0, 0));
        assert_eq!(b, "MOVED 12182 b.example:7001");
        let c = answer(&map(2, hostname), &["foo"], READ, (0, 0));
        assert_eq!(c, "MOVED 12182 ?:7002");
        let unknown = map(1, |facts| facts.endpoint = Endpoint::Unknown);
        assert_eq!(
            answer(&unknown, &["foo"], READ, (0, 0)),
            "MOVED 12182 :7001"
        );
    }

    #[test]
    fn a_slot_of_nobody_comes_before_keys_that_are_apart() {
        let map = map(0, |_| {});
        let (unserved, crossed) = (
            "CLUSTERDOWN Hash slot not served",
            "CROSSSLOT Keys in request don't hash to the same slot",
        );
        assert_eq!(answer(&map, &["bar", "foo"], READ, (0, 0)), unserved);
        assert_eq!(answer(&map, &["foo", "bar"], READ, (0, 0)), crossed);
        assert_eq!(answer(&map, &["foo", "x{foo}"], READ, (0, 0)), "served");
    }

    #[test]
    fn a_slot_that_goes_away_asks_for_what_is_gone() {
        let map = map(0, |facts| facts.open = open(Some(1), None));
        let again = "TRYAGAIN Multiple keys request during rehashing of slot";
        let ask = "ASK 12182 10.0.0.1:7001";
        assert_eq!(answer(&map, &["foo"], WRITE, (1, 0)), "served");
        assert_eq!(answer(&map, &["foo"], WRITE, (0, 1)), ask);
        assert_eq!(answer(&map, &["foo", "{foo}"], READ, (0, 2)), ask);
        assert_eq!(answer(&map, &["foo", "{foo}"], READ, (1, 1)), again);
        let migrate = Request {
            is_migrate: true,
            ..WRITE
        };
        assert_eq!(answer(&map, &["foo"], migrate, (0, 1)), "served");
        assert_eq!(answer(&map, &["foo"], CHANNEL, (0, 1)), "served");
    }

    #[test]
    fn a_slot_that_comes_serves_those_who_were_sent() {
        let map = map(1, |facts| facts.open = open(None, Some(1)));
        let moved = "MOVED 12182 10.0.0.1:7001";
        assert_eq!(answer(&map, &["foo"], WRITE, (1, 0)), moved);
        assert_eq!(answer(&map, &["foo"], ASKING, (0, 1)), "served");
        assert_eq!(answer(&map, &["foo", "foo"], ASKING, (0, 2)), "served");
        let again = "TRYAGAIN Multiple keys request during rehashing of slot";
        assert_eq!(answer(&map, &["foo", "{foo}"], ASKING, (1, 1)), again);
        assert_eq!(answer(&map, &["foo", "{foo}"], ASKING, (2, 0)), "served");
        assert_eq!(answer(&map, &["foo"], CHANNEL, (0, 0)), moved);
    }

    #[test]
    fn a_cluster_that_is_down_serves_what_it_is_told_to() {
        let down = "CLUSTERDOWN The cluster is down";
        let strict = map(0, |facts| facts.is_down = true);
        assert_eq!(answer(&strict, &["foo"], READ, (0, 0)), down);
        assert_eq!(answer(&strict, &["foo"], CHANNEL, (0, 0)), "served");
        let reads = map(0, |facts| {
            (facts.is_down, facts.reads_when_down) = (true, true);
            facts.pubsubshard_when_down = false;
        });
        assert_eq!(answer(&reads, &["foo"], READ, (0, 0)), "served");
        let write = answer(&reads, &["foo"], WRITE, (0, 0));
        assert_eq!(
            write,
            "CLUSTERDOWN The cluster is down and only accepts read commands"
        );
        assert_eq!(answer(&reads, &["foo"], CHANNEL, (0, 0)), down);
    }

    #[test]
    fn a_replica_serves_reads_to_those_who_said_readonly() {
        let map = map(1, |facts| {
            (facts.is_replica, facts.primary) = (true, Some(1));
        });
        let moved = "MOVED 12182 10.0.0.1:7001";
        assert_eq!(answer(&map, &["foo"], READ, (0, 0)), moved);
        assert_eq!(answer(&map, &["foo"], READONLY, (0, 0)), "served");
        let write = Request {
            is_readonly: true,
            ..WRITE
        };
        assert_eq!(answer(&map, &["foo"], write, (0, 0)), moved);
        assert_eq!(answer(&map, &["foo"], CHANNEL, (0, 0)), "served");
    }

    #[test]
    fn a_blocked_client_is_sent_away_when_its_slot_has_gone() {
        assert_eq!(unblock(&map(0, |_| {}), FOO, &WRITE), None);
        let gone = unblock(&map(1, |_| {}), FOO, &WRITE).unwrap();
        assert_eq!(gone.as_bytes(), b"MOVED 12182 10.0.0.1:7001");
        let importing = map(1, |facts| facts.open = open(None, Some(1)));
        assert_eq!(unblock(&importing, FOO, &WRITE), None);
        assert_eq!(
            unblock(&map(0, |_| {}), 1, &WRITE),
            Some(ErrorReply::SLOT_NOT_SERVED)
        );
        let down = map(0, |facts| {
            (facts.is_down, facts.reads_when_down) = (true, true);
        });
        assert_eq!(unblock(&down, FOO, &READ), Some(ErrorReply::CLUSTER_DOWN));
        let replica = map(1, |facts| {
            (facts.is_replica, facts.primary) = (true, Some(1));
        });
        assert_eq!(unblock(&replica, FOO, &READONLY), None);
        assert!(unblock(&replica, FOO, &READ).is_some());
    }
}
