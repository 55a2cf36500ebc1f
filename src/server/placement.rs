//! How many shards, and on which CPUs.

use std::fs;

use crate::config::Config;

/// Where the cores run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// How many shards.
    pub shards: usize,
    /// The CPU of each shard when every shard has one of its own, else empty.
    pub pinned: Vec<usize>,
}

/// Decides from the configuration and the machine.
pub fn placement(config: &Config) -> Result<Placement, String> {
    let affinity = match parse_list(&config.server_cpulist)? {
        list if list.is_empty() => affinity(),
        list => list,
    };
    let quota = fs::read_to_string("/sys/fs/cgroup/cpu.max")
        .ok()
        .and_then(|text| quota(&text));
    Ok(decide(config.shards as usize, config.pin, &affinity, quota))
}

fn decide(wanted: usize, pin: bool, cpus: &[usize], quota: Option<usize>) -> Placement {
    let available = cpus.len().max(1).min(quota.unwrap_or(usize::MAX)).max(1);
    let shards = if wanted > 0 { wanted } else { available };
    let pinned = if pin && shards <= cpus.len() && shards <= available {
        cpus[..shards].to_vec()
    } else {
        Vec::new()
    };
    Placement { shards, pinned }
}

/// CPUs that `cpu.max` allows, rounded up; `None` without a limit.
fn quota(text: &str) -> Option<usize> {
    let mut words = text.split_whitespace();
    let quota: u64 = words.next()?.parse().ok()?;
    let period: u64 = words.next()?.parse().ok()?;
    (period > 0).then(|| quota.div_ceil(period).max(1) as usize)
}

/// CPUs this process may run on.
fn affinity() -> Vec<usize> {
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
            parse_list(line.trim()).ok()
        })
        .unwrap_or_default()
}

/// A list such as `0-3,6` or `0-11:2`, as taskset and Redis write it.
fn parse_list(text: &str) -> Result<Vec<usize>, String> {
    let mut cpus = Vec::new();
    let bad = || format!("'{text}' is no list of CPUs such as 0-3,6");
    for word in text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
    {
        let (range, step) = match word.split_once(':') {
            Some((range, step)) => (range, step.parse::<usize>().map_err(|_| bad())?),
            None => (word, 1),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (
                first.parse::<usize>().map_err(|_| bad())?,
                last.parse::<usize>().map_err(|_| bad())?,
            ),
            None => {
                let one = range.parse::<usize>().map_err(|_| bad())?;
                (one, one)
            }
        };
        if first > last || step == 0 || last > 65_535 {
            return Err(bad());
        }
        cpus.extend((first..=last).step_by(step));
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_quotas_are_read_as_written() {
        assert_eq!(parse_list("0-3,6").unwrap(), [0, 1, 2, 3, 6]);
        assert_eq!(parse_list("0-6:2, 1").unwrap(), [0, 1, 2, 4, 6]);
        assert!(parse_list("3-1").is_err() && parse_list("a").is_err());
        assert_eq!(quota("150000 100000\n"), Some(2));
        assert_eq!(quota("max 100000\n"), None);
    }

    #[test]
    fn shards_are_pinned_only_when_each_has_a_cpu_of_its_own() {
        let cpus = [0, 1, 2, 3];
        let of = |wanted, pin, quota| decide(wanted, pin, &cpus, quota);
        assert_eq!(
            (of(0, true, None).shards, of(0, true, None).pinned.len()),
            (4, 4)
        );
        assert_eq!(
            (
                of(0, true, Some(2)).shards,
                of(0, true, Some(2)).pinned.len()
            ),
            (2, 2)
        );
        assert_eq!(
            (of(8, true, None).shards, of(8, true, None).pinned.len()),
            (8, 0)
        );
        assert_eq!(of(2, false, None).pinned.len(), 0);
    }
}
