//! What a loss of power leaves: a disk that has forgotten what was not synced, sector by sector.
//!
//! A writer is modelled here as the server writes: units are appended, an epoch is marked in all logs with nothing between,
//! then each log is synced in its own time, and the next epoch waits for the last of these. Power goes at any moment.
//! Of what was not synced any sectors may be missing, in the middle as well; the file may end anywhere behind what was.

use super::tests::{Scratch, World, commands, lay_down, manifest_of, start};
use crate::base::random::Random;
use crate::persistence::aof::manifest::Durability;

const SECTOR: usize = 512;

/// What the disk holds of a log of which so many bytes were synced.
fn after_power_loss(log: &[u8], synced: usize, random: &mut Random) -> Vec<u8> {
    let length = synced + random.below((log.len() - synced) as u64 + 1) as usize;
    let mut left = log[..length].to_vec();
    for start in (0..length).step_by(SECTOR) {
        let end = (start + SECTOR).min(length);
        if end > synced && random.below(3) == 0 {
            left[start.max(synced)..end].fill(0);
        }
    }
    left
}

/// One history; the number of units that were lost.
fn relaxed(seed: u64) -> usize {
    let mut random = Random::new(seed);
    let scratch = Scratch::new();
    let mut world = World::new(1 + random.below(4) as usize, 0);
    let mut synced = vec![0; world.logs.len()];
    // The content after each unit, and how many units there were at the last epoch that is on disk everywhere.
    let (mut moments, mut safe, mut pending) = (vec![world.content()], 0, 0);
    let units = 20 + random.below(60);
    for _ in 0..units {
        let mut lines = commands(&mut random);
        if random.below(4) == 0 {
            lines.push(format!(
                "SET s:long {}",
                "v".repeat(random.below(3000) as usize)
            ));
        }
        world.unit(&lines);
        moments.push(world.content());
        if random.below(6) > 0 {
            continue;
        }
        world.epoch();
        pending = moments.len() - 1;
        // Each log in its own time; power may go between two of them.
        let ends: Vec<usize> = world.logs.iter().map(Vec::len).collect();
        let mut all = true;
        for (synced, end) in synced.iter_mut().zip(&ends) {
            all &= random.below(20) > 0;
            if all {
                *synced = *end;
            }
        }
        if !all {
            break;
        }
        safe = pending;
    }
    let left: Vec<Vec<u8>> = world
        .logs
        .iter()
        .zip(&synced)
        .map(|(log, synced)| after_power_loss(log, *synced, &mut random))
        .collect();
    let mut manifest = manifest_of("an-earlier-run", Durability::Relaxed);
    lay_down(&scratch.path, &mut manifest, &left, 1);
    let recovered = start(&scratch.path, 1 + random.below(4) as usize)
        .unwrap_or_else(|text| panic!("seed {seed}: {text}"));
    let content = World::with(recovered.keyspaces, 0).content();
    let kept = moments.iter().rposition(|moment| *moment == content);
    let kept = kept.unwrap_or_else(|| panic!("seed {seed}: what is left never was"));
    assert!(
        kept >= safe,
        "seed {seed}: {kept} units are left, {safe} were on disk"
    );
    assert!(pending >= safe);
    moments.len() - 1 - kept
}

/// Every unit is on disk before the next one: of the last one anything may be missing.
fn always(seed: u64) {
    let mut random = Random::new(seed);
    let scratch = Scratch::new();
    let mut world = World::new(1 + random.below(4) as usize, 0);
    for _ in 0..20 + random.below(30) {
        world.unit(&commands(&mut random));
    }
    let (before, synced) = (world.content(), world.logs.clone());
    world.unit(&commands(&mut random));
    let after = world.content();
    let left: Vec<Vec<u8>> = world
        .logs
        .iter()
        .zip(&synced)
        .map(|(log, synced)| after_power_loss(log, synced.len(), &mut random))
        .collect();
    let mut manifest = manifest_of("an-earlier-run", Durability::Always);
    lay_down(&scratch.path, &mut manifest, &left, 1);
    let recovered = start(&scratch.path, 1 + random.below(4) as usize)
        .unwrap_or_else(|text| panic!("seed {seed}: {text}"));
    let content = World::with(recovered.keyspaces, 0).content();
    assert!(
        content == before || content == after,
        "seed {seed}: something acknowledged is lost, or a unit is there in part"
    );
}

/// Seeds: a few hundred here, as many as `SLOTWISE_POWER_SEEDS` says in tools/soak.sh.
fn seeds() -> std::ops::Range<u64> {
    let text = std::env::var("SLOTWISE_POWER_SEEDS").unwrap_or_default();
    let mut words = text.split('-').filter_map(|word| word.parse().ok());
    match (words.next(), words.next()) {
        (Some(first), Some(end)) => first..end,
        _ => 0..200,
    }
}

#[test]
fn after_a_loss_of_power_one_moment_is_left_not_older_than_the_last_epoch_on_disk() {
    let lost: usize = seeds().map(relaxed).sum();
    assert!(lost > 0, "the model loses something now and then");
}

#[test]
fn after_a_loss_of_power_nothing_that_was_synced_one_by_one_is_missing() {
    seeds().for_each(always);
}
