//! CLUSTER SLOT-STATS (Valkey 8.0): keys, time and bytes of each slot that this node's group owns.

use crate::base::number::parse_i64;
use crate::base::slot::{SLOTS, Slot};
use crate::command::client::{Context, Step};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};
use crate::shard::{Shard, Shards};

use super::{Outcome, in_cluster};

/// Names in the order of the reply. The first is there without `cluster-slot-stats-enabled` too.
const METRICS: [&str; 4] = [
    "key-count",
    "cpu-usec",
    "network-bytes-in",
    "network-bytes-out",
];

/// One slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    slot: Slot,
    /// By the names of [`METRICS`].
    values: [u64; 4],
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Range(Slot, Slot),
    Best {
        metric: usize,
        limit: usize,
        ascending: bool,
    },
}

pub(super) fn slot_stats(context: &mut Context<'_>, _: &Args<'_>, _: &mut Reply<'_>) -> Outcome {
    in_cluster(context.core.config)?;
    Ok(Step::Whole(plan))
}

fn plan(shards: &mut Shards<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorReply> {
    let shown = match shards.any().config.cluster_slot_stats_enabled {
        true => METRICS.len(),
        false => 1,
    };
    let wanted = parse(args, shown)?;
    let (first, last) = match wanted {
        Wanted::Range(first, last) => (first, last),
        Wanted::Best { .. } => (0, SLOTS as Slot - 1),
    };
    let total = shards.total();
    let mut by_index: Vec<Option<&Shard>> = vec![None; total];
    for shard in shards.iter() {
        by_index[shard.index] = Some(shard);
    }
    let mut lines: Vec<Line> = (first..=last)
        .filter_map(|slot| line(by_index[usize::from(slot) % total]?, slot))
        .collect();
    if let Wanted::Best {
        metric,
        limit,
        ascending,
    } = wanted
    {
        order(&mut lines, metric, ascending);
        lines.truncate(limit);
    }
    reply.array(lines.len());
    for line in lines {
        reply.array(2);
        reply.integer(line.slot.into());
        reply.map(shown);
        for (name, value) in METRICS.iter().zip(line.values).take(shown) {
            reply.bulk(name.as_bytes());
            reply.integer(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
    Ok(())
}

/// Best first; of equals the lower slot, whichever way.
fn order(lines: &mut [Line], metric: usize, ascending: bool) {
    lines.sort_unstable_by(|a, b| {
        let by_value = a.values[metric].cmp(&b.values[metric]);
        let by_value = match ascending {
            true => by_value,
            false => by_value.reverse(),
        };
        by_value.then(a.slot.cmp(&b.slot))
    });
}

/// One slot of this shard, if it is this node's group's.
fn line(shard: &Shard, slot: Slot) -> Option<Line> {
    shard
        .slot_map
        .as_ref()
        .filter(|map| map.is_of_my_group(slot))?;
    let cost = shard.slot_costs.as_ref().map(|costs| costs.of(slot));
    let cost = cost.unwrap_or_default();
    let keys = shard.slot_len(slot) as u64;
    let values = [keys, cost.cpu_ns / 1000, cost.bytes_in, cost.bytes_out];
    Some(Line { slot, values })
}

/// Reads the arguments; `shown` is how many of the metrics there are.
fn parse(args: &Args<'_>, shown: usize) -> Result<Wanted, ErrorReply> {
    if args.is(2, "SLOTSRANGE") && args.len() == 5 {
        let (first, last) = (slot(args.get(3))?, slot(args.get(4))?);
        return match first <= last {
            true => Ok(Wanted::Range(first, last)),
            false => Err(ErrorReply::stats_range(first, last)),
        };
    }
    if !args.is(2, "ORDERBY") {
        return Err(ErrorReply::subcommand_syntax(args.get(1), "CLUSTER"));
    }
    let metric = METRICS.iter().take(shown).position(|name| args.is(3, name));
    let metric = metric.ok_or(ErrorReply::STATS_METRIC)?;
    let (mut limit, mut ascending) = (None, None);
    let mut at = 4;
    while at < args.len() {
        let repeated = if args.is(at, "LIMIT") && at + 1 < args.len() {
            at += 1;
            let number = parse_i64(args.get(at)).ok_or(ErrorReply::STATS_LIMIT)?;
            let number = usize::try_from(number).ok();
            let number = number.filter(|number| (1..=SLOTS).contains(number));
            limit
                .replace(number.ok_or(ErrorReply::STATS_LIMIT)?)
                .is_some()
        } else if args.is(at, "ASC") || args.is(at, "DESC") {
            ascending.replace(args.is(at, "ASC")).is_some()
        } else {
            return Err(ErrorReply::SYNTAX);
        };
        if repeated {
            return Err(ErrorReply::STATS_REPEATED);
        }
        at += 1;
    }
    Ok(Wanted::Best {
        metric,
        limit: limit.unwrap_or(SLOTS),
        ascending: ascending.unwrap_or(false),
    })
}

fn slot(text: &[u8]) -> Result<Slot, ErrorReply> {
    let number = parse_i64(text).and_then(|number| usize::try_from(number).ok());
    let number = number.filter(|number| *number < SLOTS);
    Ok(number.ok_or(ErrorReply::INVALID_SLOT)? as Slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::request::{Caller, OwnedArgs};

    fn parsed(line: &str, shown: usize) -> Result<Wanted, ErrorReply> {
        let owned: OwnedArgs = line.split(' ').map(str::as_bytes).collect();
        parse(&owned.args(Caller::default()), shown)
    }

    #[test]
    fn arguments_are_read_as_valkey_reads_them() {
        let best = |metric, limit, ascending| Wanted::Best {
            metric,
            limit,
            ascending,
        };
        let good = [
            ("SLOTSRANGE 3 16383", Wanted::Range(3, 16_383)),
            ("orderby KEY-COUNT", best(0, SLOTS, false)),
            ("ORDERBY cpu-usec asc LIMIT 3", best(1, 3, true)),
            (
                "ORDERBY network-bytes-out LIMIT 16384 DESC",
                best(3, SLOTS, false),
            ),
        ];
        for (words, wanted) in good {
            assert_eq!(
                parsed(&format!("CLUSTER SLOT-STATS {words}"), 4),
                Ok(wanted)
            );
        }
        let bad = [
            ("SLOTSRANGE 3 16384", ErrorReply::INVALID_SLOT),
            ("SLOTSRANGE 5 4", ErrorReply::stats_range(5, 4)),
            ("ORDERBY nothing", ErrorReply::STATS_METRIC),
            ("ORDERBY key-count LIMIT 0", ErrorReply::STATS_LIMIT),
            ("ORDERBY key-count LIMIT", ErrorReply::SYNTAX),
            ("ORDERBY key-count ASC DESC", ErrorReply::STATS_REPEATED),
            (
                "ORDERBY key-count LIMIT 1 LIMIT 2",
                ErrorReply::STATS_REPEATED,
            ),
        ];
        for (words, error) in bad {
            assert_eq!(
                parsed(&format!("CLUSTER SLOT-STATS {words}"), 4),
                Err(error)
            );
        }
        let hidden = parsed("CLUSTER SLOT-STATS ORDERBY cpu-usec", 1);
        assert_eq!(hidden, Err(ErrorReply::STATS_METRIC));
        let syntax = parsed("CLUSTER SLOT-STATS SLOTSRANGE 1", 4);
        assert_eq!(
            syntax,
            Err(ErrorReply::subcommand_syntax(b"SLOT-STATS", "CLUSTER"))
        );
    }

    #[test]
    fn of_equals_the_lower_slot_comes_first_whichever_way() {
        let of = |slot, keys| Line {
            slot,
            values: [keys, 0, 0, 0],
        };
        let mut lines = [of(1, 5), of(2, 7), of(3, 5)];
        order(&mut lines, 0, false);
        assert_eq!(lines.map(|line| line.slot), [2, 1, 3]);
        order(&mut lines, 0, true);
        assert_eq!(lines.map(|line| line.slot), [1, 3, 2]);
    }
}
