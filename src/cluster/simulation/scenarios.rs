//! What clusters do, from meeting to losing machines.

use super::super::flags::NodeFlags;
use super::super::settings::Settings;
use super::super::state::{Failover, SetSlot};
use super::world::{Faults, World};
use super::{Seed, seeds};
use crate::base::slot::Slot;

/// Long enough for a handshake, some gossip and collisions of epochs.
const FORMING_MS: i64 = 15_000;

fn settings(node_timeout_ms: i64) -> Settings {
    Settings {
        node_timeout_ms,
        // A replica that was cut off for long has to do when there is no other.
        replica_validity_factor: 0,
        ..Settings::default()
    }
}

/// `primaries`, each with so many replicas: machine `n` replicates machine `n % primaries`.
fn cluster(seed: u64, primaries: usize, replicas: usize, settings: &Settings) -> World {
    let machines = primaries * (1 + replicas);
    let mut world = World::new(seed, machines, settings);
    for at in 0..primaries {
        let first = (at * 16384 / primaries) as Slot;
        let last = ((at + 1) * 16384 / primaries - 1) as Slot;
        let added = world.act_on(at, |cluster, now_ms| {
            cluster.add_slots(now_ms, &[(first, last)])
        });
        added.unwrap().unwrap();
        let epoch = at as i64 + 1;
        let set = world.act_on(at, |cluster, now_ms| {
            cluster.set_config_epoch(now_ms, epoch)
        });
        set.unwrap().unwrap();
    }
    let ip = world.machines[0].ip;
    for at in 1..machines {
        let met = world.act_on(at, |cluster, now_ms| {
            cluster.meet(now_ms, ip.as_str().as_bytes(), b"6379", 6379, 16379)
        });
        met.unwrap().unwrap();
    }
    let all_known = |world: &World| {
        world.running().all(|(_, cluster)| {
            let nodes = cluster.nodes();
            nodes.len() == machines && nodes.iter().all(|(_, node)| !node.is_in_handshake())
        })
    };
    assert!(world.run_until(60_000, all_known), "all know each other");
    for at in primaries..machines {
        let id = world.machines[at % primaries]
            .cluster
            .as_ref()
            .unwrap()
            .my_id();
        let replicates = world.act_on(at, |cluster, now_ms| {
            cluster.replicate(now_ms, id.as_bytes(), false)
        });
        replicates.unwrap().unwrap();
    }
    assert!(
        world.run_until(60_000, World::is_settled),
        "{:?}",
        world.why_not_settled()
    );
    world.run_ms(FORMING_MS);
    settled(&mut world, 0);
    world
}

/// Within so long everything is settled.
fn settled(world: &mut World, ms: i64) {
    let done = world.run_until(ms, World::is_settled);
    assert!(done, "after {ms} ms: {:?}", world.why_not_settled());
}

/// The machine that serves the slot, if one does.
fn server(world: &World, slot: Slot) -> Option<usize> {
    (0..world.machines.len()).find(|at| world.accepts_writes(*at, slot))
}

#[test]
fn strangers_meet_and_sort_out_their_epochs() {
    for seed in seeds(4) {
        let _seed = Seed(seed);
        let mut world = World::new(seed, 7, &settings(2000));
        for at in 0..7 {
            let last = if at < 6 { (at + 1) * 2340 - 1 } else { 16383 };
            let slots = ((at * 2340) as Slot, last as Slot);
            let added = world.act_on(at, |cluster, now_ms| cluster.add_slots(now_ms, &[slots]));
            added.unwrap().unwrap();
        }
        // A chain: everybody knows one other.
        for at in 1..7 {
            let ip = world.machines[at - 1].ip;
            let met = world.act_on(at, |cluster, now_ms| {
                cluster.meet(now_ms, ip.as_str().as_bytes(), b"6379", 6379, 16379)
            });
            met.unwrap().unwrap();
        }
        settled(&mut world, 30_000);
        assert!(
            world
                .running()
                .all(|(_, cluster)| cluster.nodes().len() == 7)
        );
    }
}

#[test]
fn a_replica_takes_over_within_the_time_out_a_second_and_its_own_delay() {
    for (seed, primaries) in seeds(6).zip([3, 3, 5, 9, 20, 3].into_iter().cycle()) {
        let _seed = Seed(seed);
        let node_timeout_ms = 5000;
        let mut world = cluster(seed, primaries, 1, &settings(node_timeout_ms));
        let killed_ms = world.now_ms();
        world.crash(0);
        let taken = world.run_until(30_000, |world| server(world, 0).is_some());
        assert!(taken, "{:?}", world.why_not_settled());
        assert_eq!(server(&world, 0), Some(primaries));
        let took_ms = world.now_ms() - killed_ms;
        // The delay of an election is half a second, and up to half a second of chance.
        let most_ms = node_timeout_ms + 1000 + 1000;
        assert!(
            took_ms <= most_ms,
            "it took {took_ms} ms with {primaries} primaries"
        );
        // The old primary comes back as its replica.
        world.start(0);
        settled(&mut world, 20_000);
        let back = world.machines[0].cluster.as_ref().unwrap();
        assert!(back.me().is_replica());
    }
}

#[test]
fn of_two_replicas_the_one_with_more_data_takes_over() {
    for seed in seeds(3) {
        let _seed = Seed(seed);
        let mut world = cluster(seed, 3, 2, &settings(2000));
        // The second replica of the first primary, machine 6, is cut off from its primary's stream.
        world.machines[6].replicates = None;
        world.machines[6].offset = 1;
        world.machines[3].offset = 1_000_000;
        world.crash(0);
        assert!(world.run_until(20_000, |world| server(world, 0).is_some()));
        assert_eq!(server(&world, 0), Some(3));
        settled(&mut world, 20_000);
        let other = world.machines[6].cluster.as_ref().unwrap();
        let new = world.machines[3].cluster.as_ref().unwrap().my_id();
        assert_eq!(
            other.me().primary.map(|key| other.nodes()[key].id),
            Some(new)
        );
    }
}

#[test]
fn a_manual_failover_swaps_the_two_without_a_moment_of_two_owners() {
    for seed in seeds(4) {
        let _seed = Seed(seed);
        let mut world = cluster(seed, 3, 1, &settings(5000));
        let started_ms = world.now_ms();
        let asked = world.act_on(3, |cluster, now_ms| {
            cluster.failover(now_ms, Failover::Plain)
        });
        asked.unwrap().unwrap();
        assert!(world.run_until(5000, |world| server(world, 0) == Some(3)));
        assert!(
            world.now_ms() - started_ms < 1500,
            "{} ms",
            world.now_ms() - started_ms
        );
        settled(&mut world, 5000);
        let old = world.machines[0].cluster.as_ref().unwrap();
        assert!(old.me().is_replica() && world.machines[0].paused_until_ms == 0);
    }
}

#[test]
fn a_manual_failover_that_cannot_get_votes_lets_writes_go_on() {
    let mut world = cluster(1, 3, 1, &settings(5000));
    // The other voters hear nothing for a while: primary and replica are among themselves.
    for at in [1, 2, 4, 5] {
        world.machines[at].side = 1;
    }
    let asked = world.act_on(3, |cluster, now_ms| {
        cluster.failover(now_ms, Failover::Plain)
    });
    asked.unwrap().unwrap();
    world.run_ms(1000);
    assert!(world.machines[0].paused_until_ms > 0);
    world.run_ms(4500);
    assert_eq!(world.machines[0].paused_until_ms, 0);
    for machine in &mut world.machines {
        machine.side = 0;
    }
    settled(&mut world, 30_000);
}

#[test]
fn force_and_takeover_do_not_ask_the_primary() {
    let mut world = cluster(2, 3, 1, &settings(5000));
    let forced = world.act_on(3, |cluster, now_ms| {
        cluster.failover(now_ms, Failover::Force)
    });
    forced.unwrap().unwrap();
    settled(&mut world, 5000);
    world.run_ms(1000);
    assert_eq!(server(&world, 0), Some(3));
    // No majority: only a takeover helps.
    for at in [1, 2, 4, 5] {
        world.crash(at);
    }
    world.crash(3);
    world.run_ms(12_000);
    assert_eq!(server(&world, 0), None);
    let taken = world.act_on(0, |cluster, now_ms| {
        cluster.failover(now_ms, Failover::Takeover)
    });
    taken.unwrap().unwrap();
    let me = world.machines[0].cluster.as_ref().unwrap();
    assert!(me.me().is_primary() && me.me().slot_count > 0);
    world.checks.allow_both = true;
    world.make_whole();
    settled(&mut world, 40_000);
}

#[test]
fn a_minority_stops_serving_and_a_majority_goes_on() {
    for seed in seeds(3) {
        let _seed = Seed(seed);
        let timeout_ms = 3000;
        let mut world = cluster(seed, 3, 1, &settings(timeout_ms));
        world.machines[0].side = 1;
        // A ping that is due after half of the time-out, then the time-out.
        world.run_ms(timeout_ms * 3 / 2 + 500);
        assert!(
            !world.accepts_writes(0, 0),
            "the one that is cut off serves"
        );
        assert!(world.run_until(10_000, |world| server(world, 0) == Some(3)));
        world.run_ms(10_000);
        world.machines[0].side = 0;
        settled(&mut world, 20_000);
        assert!(
            world.machines[0]
                .cluster
                .as_ref()
                .unwrap()
                .me()
                .is_replica()
        );
    }
}

#[test]
fn a_primary_without_replicas_gets_one_from_where_there_are_most() {
    let mut world = cluster(3, 3, 1, &settings(2000));
    // The replica of the first goes to the second, which then has two.
    let second = world.machines[1].cluster.as_ref().unwrap().my_id();
    let moved = world.act_on(3, |cluster, now_ms| {
        cluster.replicate(now_ms, second.as_bytes(), false)
    });
    moved.unwrap().unwrap();
    world.run_ms(2000);
    // The third loses its replica; it is an orphan and was not meant to be.
    world.crash(5);
    let third = world.machines[2].cluster.as_ref().unwrap().my_id();
    let gets_one = |world: &World| {
        world.running().any(|(_, cluster)| {
            let primary = cluster.me().primary;
            primary.is_some_and(|key| cluster.nodes()[key].id == third)
        })
    };
    assert!(world.run_until(40_000, gets_one));
}

#[test]
fn a_slot_is_moved_by_the_steps_of_redis_cli() {
    let mut world = cluster(4, 3, 0, &settings(2000));
    let id = |world: &World, at: usize| world.machines[at].cluster.as_ref().unwrap().my_id();
    let (from, to) = (id(&world, 0), id(&world, 1));
    let set = |world: &mut World, at: usize, action: SetSlot<'_>| {
        world
            .act_on(at, |cluster, now_ms| cluster.set_slot(now_ms, 7, action))
            .unwrap()
            .unwrap();
    };
    set(&mut world, 1, SetSlot::Importing(from.as_bytes()));
    set(&mut world, 0, SetSlot::Migrating(to.as_bytes()));
    world.run_ms(500);
    let node = SetSlot::Node {
        id: to.as_bytes(),
        keys: 0,
    };
    set(&mut world, 1, node);
    set(&mut world, 0, node);
    set(&mut world, 2, node);
    settled(&mut world, 5000);
    assert_eq!(server(&world, 7), Some(1));
    let text = world.machines[0]
        .cluster
        .as_ref()
        .unwrap()
        .conf()
        .to_text(false);
    assert!(!text.contains('['), "no slot is under way: {text}");
}

#[test]
fn a_node_that_is_forgotten_somewhere_is_forgotten_everywhere() {
    let mut world = cluster(5, 3, 1, &settings(2000));
    let gone = world.machines[5].cluster.as_ref().unwrap().my_id();
    world.crash(5);
    let forgotten = world.act_on(0, |cluster, now_ms| {
        cluster.forget_node(now_ms, gone.as_bytes())
    });
    forgotten.unwrap().unwrap();
    world.run_ms(10_000);
    for (at, cluster) in world.running() {
        assert!(
            cluster.find(gone.as_bytes()).is_none(),
            "machine {at} knows it"
        );
    }
}

#[test]
fn a_machine_that_has_lost_its_file_is_a_stranger() {
    let mut world = cluster(6, 3, 1, &settings(2000));
    let old = world.machines[0].cluster.as_ref().unwrap().my_id();
    world.crash(0);
    world.lose_file(0);
    world.run_ms(8000);
    assert_eq!(server(&world, 0), Some(3));
    world.start(0);
    world.run_ms(5000);
    let me = world.machines[0].cluster.as_ref().unwrap();
    assert!(me.nodes().len() == 1 && me.my_id() != old);
    // Its old name has lost its address: somebody else answers there.
    let other = world.machines[1].cluster.as_ref().unwrap();
    let key = other.find(old.as_bytes()).unwrap();
    assert!(other.nodes()[key].flags.has(NodeFlags::NO_ADDRESS));
}

#[test]
fn whatever_goes_wrong_votes_and_owners_stay_unique_and_all_settles() {
    for seed in seeds(12) {
        let _seed = Seed(seed);
        let mut world = cluster(
            seed,
            3 + (seed % 3) as usize,
            1 + (seed % 2) as usize,
            &settings(1500),
        );
        let faults = Faults {
            break_one_in: 400,
            crash_one_in: 60,
        };
        world.chaos(60_000, faults);
        settled(&mut world, 60_000);
    }
}

#[test]
fn hundreds_of_nodes_agree_and_lose_a_few() {
    let seeds = seeds(1);
    let primaries = if seeds.end - seeds.start > 1 { 60 } else { 25 };
    for seed in seeds.take(3) {
        let _seed = Seed(seed);
        let mut world = cluster(seed, primaries, 1, &settings(4000));
        for at in 0..3 {
            world.crash(at);
        }
        assert!(world.run_until(30_000, |world| server(world, 0).is_some()));
        world.make_whole();
        settled(&mut world, 60_000);
    }
}
