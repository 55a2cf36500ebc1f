//! CLUSTER: the subcommands that the control core answers.
//!
//! One that changes something is answered when nodes.conf says so and all cores have taken over the map that follows: who
//! has read the answer can rely on it. One that depends on what keys there are has them counted first.

use std::sync::atomic::Ordering::Relaxed;

use crate::base::clock::unix_ms;
use crate::base::number::parse_i64;
use crate::base::slot::{SLOTS, Slot};
use crate::cluster::render;
use crate::cluster::state::{Failover, SetSlot};
use crate::cluster::{Cluster, SlotSet};
use crate::control::Control;
use crate::mesh::message::{ClusterAsk, CoreAnswer, CoreAsk, CoreMessage};
use crate::resp::{ErrorReply, Reply};

use super::{BUS_PORT_OFFSET, Bus};

/// Numbers of this file's questions to the cores bear this.
const COUNT: u64 = 1 << 61;

type Asker = (u16, u64);

/// Cores are being asked for their keys.
pub(super) struct Counting {
    missing: usize,
    keys: usize,
    asker: Option<Asker>,
    wanted: Wanted,
}

/// What for.
pub(super) enum Wanted {
    /// This subcommand.
    Command(Box<ClusterAsk>),
    /// To find out at start which slots have keys.
    Adopt(Box<SlotSet>),
}

/// A subcommand that needs to know of keys: in which slot, or of all.
fn keys_needed(cluster: &Cluster, ask: &ClusterAsk) -> Option<Option<Slot>> {
    let args = &ask.args;
    let is = |at: usize, word: &str| {
        args.get(at)
            .is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    if is(1, "SETSLOT") && is(3, "NODE") && args.len() == 5 {
        // The target of a move and those beside it need not ask their cores.
        let slot = slot(&args[2]).ok();
        return slot.filter(|slot| cluster.may_hold_keys(*slot)).map(Some);
    }
    let of_all = is(1, "FLUSHSLOTS") || is(1, "REPLICATE") || is(1, "RESET");
    of_all.then_some(None)
}

/// A slot's number as ADDSLOTS and SETSLOT take it.
fn slot(text: &[u8]) -> Result<Slot, ErrorReply> {
    let number = parse_i64(text).and_then(|number| usize::try_from(number).ok());
    let number = number.filter(|number| *number < SLOTS);
    let number = number.ok_or(ErrorReply::INVALID_SLOT)?;
    Ok(number as Slot)
}

/// What is written for one that only changes something.
const OK: &[u8] = b"+OK\r\n";

impl Control {
    /// CLUSTER.
    pub(in crate::control) fn on_cluster_ask(&mut self, asker: Asker, ask: ClusterAsk) {
        if let Some(reply) = self.cached_reply(&ask) {
            self.answer(asker.0, asker.1, CoreAnswer::Reply(reply));
            return;
        }
        let done = self.with_bus(|control, bus| {
            let Some(slot) = keys_needed(&bus.cluster, &ask) else {
                return Some(control.run_cluster(bus, &ask, 0));
            };
            if ask.in_transaction {
                // The shards are in hand and cannot count. What they said last errs on the side of keys that are there.
                let keys = control.published_keys();
                return Some(control.run_cluster(bus, &ask, keys));
            }
            let wanted = Wanted::Command(Box::new(ask.clone()));
            control.count_on_all(bus, CoreAsk::CountKeys(slot), wanted, Some(asker));
            None
        });
        match done {
            Some(Some(outcome)) => self.finish_cluster(asker, outcome),
            Some(None) => {}
            None => {
                let error = ErrorReply::CLUSTER_DISABLED.as_bytes().to_vec();
                self.answer(asker.0, asker.1, CoreAnswer::Failed(error));
            }
        }
    }

    /// Ends the turn in which a command has run, and answers when everybody knows.
    fn finish_cluster(&mut self, asker: Asker, outcome: Result<Vec<u8>, ErrorReply>) {
        if let Some(bus) = &mut self.bus {
            bus.map_round = None;
        }
        self.bus_turn();
        let answer = match outcome {
            Ok(reply) => CoreAnswer::Reply(reply),
            Err(error) => CoreAnswer::Failed(error.as_bytes().to_vec()),
        };
        let round = self.bus.as_mut().and_then(|bus| bus.map_round.take());
        match round {
            // A core that is the only one reads its mail in order: it has the map when it reads the answer.
            Some(round) if self.links.shards() > 1 => self.answer_after(round, asker, answer),
            _ => self.answer(asker.0, asker.1, answer),
        }
    }

    fn published_keys(&self) -> usize {
        let cores = 0..self.links.shards();
        let keys = cores.map(|core| self.observatory.core(core).keys[0].get() as usize);
        keys.sum()
    }

    /// Asks every core for keys.
    pub(super) fn count_on_all(
        &mut self,
        bus: &mut Bus,
        ask: CoreAsk,
        wanted: Wanted,
        asker: Option<Asker>,
    ) {
        bus.next_count += 1;
        let ticket = COUNT | bus.next_count;
        bus.counting.insert(
            ticket,
            Counting {
                missing: self.links.shards(),
                keys: 0,
                asker,
                wanted,
            },
        );
        let from = self.links.shards() as u16;
        self.tell_cores(|| CoreMessage::Ask {
            from,
            ticket,
            ask: ask.clone(),
        });
    }

    /// A core has counted; false if it has answered something else.
    pub(in crate::control) fn on_bus_answer(&mut self, ticket: u64, answer: &CoreAnswer) -> bool {
        let Some(bus) = self.bus.as_mut() else {
            return false;
        };
        let Some(counting) = bus.counting.get_mut(&ticket) else {
            return false;
        };
        counting.missing -= 1;
        match (answer, &mut counting.wanted) {
            (CoreAnswer::Count(keys), _) => counting.keys += keys,
            (CoreAnswer::Slots(slots), Wanted::Adopt(all)) => {
                for slot in slots.iter() {
                    all.insert(slot);
                }
            }
            _ => {}
        }
        if counting.missing > 0 {
            return true;
        }
        let Some(counting) = bus.counting.remove(&ticket) else {
            return true;
        };
        let Counting {
            keys,
            asker,
            wanted,
            ..
        } = counting;
        match wanted {
            Wanted::Adopt(slots) => bus.cluster.adopt_keys(unix_ms(), &slots),
            Wanted::Command(ask) => {
                let outcome = self.with_bus(|control, bus| control.run_cluster(bus, &ask, keys));
                if let (Some(asker), Some(outcome)) = (asker, outcome) {
                    self.finish_cluster(asker, outcome);
                }
            }
        }
        true
    }

    /// Runs a subcommand; `keys` are those that it had counted.
    fn run_cluster(
        &mut self,
        bus: &mut Bus,
        ask: &ClusterAsk,
        keys: usize,
    ) -> Result<Vec<u8>, ErrorReply> {
        let args: Vec<&[u8]> = ask.args.iter().map(Vec::as_slice).collect();
        let name = args[1].to_ascii_uppercase();
        let (now, cluster) = (unix_ms(), &mut bus.cluster);
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, ask.resp3);
        let is = |at: usize, word: &str| args[at].eq_ignore_ascii_case(word.as_bytes());
        match &name[..] {
            b"ADDSLOTS" => cluster.add_slots(now, &singles(&args[2..])?)?,
            b"DELSLOTS" => cluster.del_slots(now, &singles(&args[2..])?)?,
            b"ADDSLOTSRANGE" => cluster.add_slots(now, &ranges(&args, "addslotsrange")?)?,
            b"DELSLOTSRANGE" => cluster.del_slots(now, &ranges(&args, "delslotsrange")?)?,
            b"FLUSHSLOTS" => cluster.flush_slots(now, keys > 0)?,
            b"SETSLOT" => {
                // redis-cli moves the last slot away from a node that has become a replica by then, and may be loading:
                // it goes on when it is told that.
                if cluster.me().is_replica() {
                    return Err(ErrorReply::SETSLOT_ON_REPLICA);
                }
                if self.observatory.snapshots.loading.load(Relaxed) {
                    return Err(ErrorReply::LOADING);
                }
                let slot = slot(args[2])?;
                let action = match args.len() {
                    5 if is(3, "MIGRATING") => SetSlot::Migrating(args[4]),
                    5 if is(3, "IMPORTING") => SetSlot::Importing(args[4]),
                    5 if is(3, "NODE") => SetSlot::Node { id: args[4], keys },
                    4 if is(3, "STABLE") => SetSlot::Stable,
                    _ => return Err(ErrorReply::SETSLOT_ACTION),
                };
                cluster.set_slot(now, slot, action)?;
            }
            b"BUMPEPOCH" => {
                let (moved, epoch) = cluster.bump(now);
                let word = if moved { "BUMPED" } else { "STILL" };
                reply.simple(&format!("{word} {epoch}"));
                return Ok(out);
            }
            b"SET-CONFIG-EPOCH" => {
                let epoch = parse_i64(args[2]).ok_or(ErrorReply::NOT_INTEGER)?;
                cluster.set_config_epoch(now, epoch)?;
            }
            b"SAVECONFIG" => cluster.save_config(now),
            b"MEET" if args.len() <= 5 => {
                let port = parse_i64(args[3]).ok_or_else(|| ErrorReply::meet_port(args[3]))?;
                let bus_port = match args.get(4) {
                    Some(text) => parse_i64(text).ok_or_else(|| ErrorReply::meet_bus_port(text))?,
                    None => port.saturating_add(BUS_PORT_OFFSET.into()),
                };
                cluster.meet(now, args[2], args[3], port, bus_port)?;
            }
            b"FORGET" => cluster.forget_node(now, args[2])?,
            b"REPLICATE" => cluster.replicate(now, args[2], keys > 0)?,
            b"FAILOVER" if args.len() <= 3 => {
                let how = match args.len() {
                    2 => Failover::Plain,
                    _ if is(2, "FORCE") => Failover::Force,
                    _ if is(2, "TAKEOVER") => Failover::Takeover,
                    _ => return Err(ErrorReply::SYNTAX),
                };
                cluster.failover(now, how)?;
            }
            b"RESET" if args.len() <= 3 => {
                let is_hard = match args.len() {
                    2 => false,
                    _ if is(2, "HARD") => true,
                    _ if is(2, "SOFT") => false,
                    _ => return Err(ErrorReply::SYNTAX),
                };
                cluster.reset(now, is_hard, keys > 0)?;
            }
            b"COUNT-FAILURE-REPORTS" => {
                reply.count(cluster.failure_reports(now, args[2])?);
                return Ok(out);
            }
            b"MYID" => {
                reply.bulk(cluster.my_id().as_bytes());
                return Ok(out);
            }
            b"MYSHARDID" => {
                reply.bulk(cluster.me().shard_id.as_bytes());
                return Ok(out);
            }
            b"REPLICAS" | b"SLAVES" => {
                let lines = render::replicas(cluster, args[2], false)?;
                reply.array(lines.len());
                lines.iter().for_each(|line| reply.bulk(line.as_bytes()));
                return Ok(out);
            }
            b"INFO" => {
                reply.verbatim("txt", render::info(cluster).as_bytes());
                return Ok(out);
            }
            b"LINKS" => {
                render::links(&bus.cluster, &mut reply, |link| bus.usage(link));
                return Ok(out);
            }
            // These two are words of DEBUG.
            b"DROP-CLUSTER-PACKET-FILTER" => {
                let kind = parse_i64(args[2]).ok_or(ErrorReply::NOT_INTEGER)?;
                bus.dropped_kind = u16::try_from(kind).ok();
            }
            b"CLUSTERLINK" => {
                let (opened, accepted) = match args[3].to_ascii_lowercase().as_slice() {
                    b"to" => (true, false),
                    b"from" => (false, true),
                    b"all" => (true, true),
                    _ => return Err(ErrorReply::debug_link_direction(args[3])),
                };
                cluster.kill_links(now, args[4], opened, accepted)?;
            }
            _ => return Err(ErrorReply::subcommand_syntax(args[1], "CLUSTER")),
        }
        bus.cache.clear();
        Ok(OK.to_vec())
    }
}

fn singles(args: &[&[u8]]) -> Result<Vec<(Slot, Slot)>, ErrorReply> {
    let slots = args.iter().map(|text| slot(text));
    slots.map(|slot| slot.map(|slot| (slot, slot))).collect()
}

fn ranges(args: &[&[u8]], name: &str) -> Result<Vec<(Slot, Slot)>, ErrorReply> {
    let (pairs, rest) = args[2..].as_chunks::<2>();
    if !rest.is_empty() {
        return Err(ErrorReply::wrong_arity(&format!("cluster|{name}")));
    }
    let pairs = pairs.iter();
    pairs
        .map(|[first, last]| Ok((slot(first)?, slot(last)?)))
        .collect()
}
