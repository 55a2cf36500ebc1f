//! One connection's commands under way on several shards at once, and their replies put back into order.
//!
//! A wave is a run of plain single-key commands of one pipeline. Those of the home shard run at once, those of other
//! shards travel as one part for each. When all parts are back, the replies are spliced in the order of the requests.
//! Until then the connection's further input waits: replies leave in order, and whatever follows the wave sees it done.

use crate::mesh::Part;

/// A wave in the making or under way.
#[derive(Default)]
pub struct Wave {
    /// The owner of each command in order.
    order: Vec<u16>,
    /// Replies of the home shard.
    local: Vec<u8>,
    local_ends: Vec<usize>,
    /// For each shard, its part.
    parts: Vec<Option<Box<Part>>>,
    /// Parts that are not back yet.
    waiting: usize,
    launched: bool,
    runs_on: RunsOn,
    /// A command in it takes effect only after those before it, and before those behind it.
    strict: bool,
}

/// Where the commands of a wave run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum RunsOn {
    #[default]
    None,
    One(u16),
    Several,
}

impl Wave {
    /// Empties it for so many shards.
    pub fn reset(&mut self, shards: usize) {
        self.order.clear();
        self.local.clear();
        self.local_ends.clear();
        self.parts.clear();
        self.parts.resize_with(shards, || None);
        self.waiting = 0;
        self.launched = false;
        self.runs_on = RunsOn::None;
        self.strict = false;
    }

    /// Lets a command for `shard` join, or says that it must wait for the end of the wave. A strict command waits for
    /// those before it and holds back those behind it, unless they run on the same shard, which keeps their order.
    #[inline]
    pub fn join(&mut self, shard: usize, strict: bool) -> bool {
        let here = RunsOn::One(shard as u16);
        let strict = strict || self.strict;
        if strict && self.runs_on != here && self.runs_on != RunsOn::None {
            return false;
        }
        self.strict = strict;
        match self.runs_on {
            RunsOn::None => self.runs_on = here,
            one if one == here => {}
            _ => self.runs_on = RunsOn::Several,
        }
        true
    }

    /// Where the reply of a command of the home shard goes; `end_local` must follow.
    pub fn local(&mut self) -> &mut Vec<u8> {
        &mut self.local
    }

    /// A reply of the home shard is complete.
    pub fn end_local(&mut self, home: usize) {
        self.order.push(home as u16);
        self.local_ends.push(self.local.len());
    }

    /// The part for `shard`, made by `make` when there is none yet, for one more command.
    pub fn part(&mut self, shard: usize, make: impl FnOnce() -> Box<Part>) -> &mut Part {
        self.order.push(shard as u16);
        self.parts[shard].get_or_insert_with(make)
    }

    /// The part for `shard`, which has commands in it already.
    pub fn part_of(&mut self, shard: usize) -> &mut Part {
        self.parts[shard]
            .as_mut()
            .expect("a command has been put into it")
    }

    /// All commands of the only part have one reply together: EXEC.
    pub fn as_one_reply(&mut self) {
        self.order.truncate(1);
    }

    /// Commands in it.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether some of its commands ran on the home shard.
    pub fn has_local(&self) -> bool {
        !self.local_ends.is_empty()
    }

    /// Whether its parts are on their way.
    pub fn is_launched(&self) -> bool {
        self.launched
    }

    /// Sends the parts off.
    pub fn launch(&mut self, mut send: impl FnMut(usize, Box<Part>)) {
        self.launched = true;
        for (shard, part) in self.parts.iter_mut().enumerate() {
            if let Some(part) = part.take() {
                self.waiting += 1;
                send(shard, part);
            }
        }
    }

    /// A part is back; true when it was the last one.
    pub fn back(&mut self, shard: usize, part: Box<Part>) -> bool {
        assert!(
            self.waiting > 0 && self.parts[shard].is_none(),
            "each part comes back once"
        );
        self.parts[shard] = Some(part);
        self.waiting -= 1;
        self.waiting == 0
    }

    /// Writes the replies in order and gives the parts back for reuse.
    pub fn splice(&mut self, home: usize, out: &mut Vec<u8>, mut reuse: impl FnMut(Box<Part>)) {
        let mut next = [0u32; 64];
        let mut many;
        let next: &mut [u32] = if self.parts.len() <= next.len() {
            &mut next
        } else {
            many = vec![0u32; self.parts.len()];
            &mut many
        };
        for &shard in &self.order {
            let shard = usize::from(shard);
            let index = next[shard] as usize;
            next[shard] += 1;
            if shard == home {
                let start = if index == 0 {
                    0
                } else {
                    self.local_ends[index - 1]
                };
                out.extend_from_slice(&self.local[start..self.local_ends[index]]);
            } else if let Some(part) = &self.parts[shard] {
                out.extend_from_slice(part.reply(index));
            }
        }
        self.parts
            .iter_mut()
            .filter_map(Option::take)
            .for_each(&mut reuse);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::request::{Caller, OwnedArgs};

    #[test]
    fn a_strict_command_shares_a_wave_only_with_commands_of_its_shard() {
        let mut wave = Wave::default();
        wave.reset(3);
        assert!(wave.join(1, true) && wave.join(1, false) && wave.join(1, true));
        assert!(
            !wave.join(2, false) && !wave.join(0, true),
            "what follows waits"
        );
        wave.reset(3);
        assert!(
            wave.join(1, false) && wave.join(2, false),
            "plain commands overtake each other"
        );
        assert!(
            !wave.join(1, true) && !wave.join(2, true),
            "what is before it comes first"
        );
        assert!(wave.join(0, false));
        wave.reset(3);
        assert!(wave.join(1, false) && wave.join(1, true));
        assert!(!wave.join(0, false));
    }

    #[test]
    fn replies_come_out_in_the_order_of_the_requests() {
        let mut wave = Wave::default();
        wave.reset(3);
        let owned: OwnedArgs = [&b"GET"[..], b"k"].into_iter().collect();
        for i in 0..10usize {
            if i % 3 == 1 {
                wave.local().extend_from_slice(format!("{i},").as_bytes());
                wave.end_local(1);
            } else {
                wave.part(i % 3, Box::default)
                    .push(0, &owned.args(Caller::default()), 1, 0, 0);
            }
        }
        let mut away = Vec::new();
        wave.launch(|shard, part| away.push((shard, part)));
        assert_eq!(away.len(), 2);
        for (shard, mut part) in away.into_iter().rev() {
            for k in 0..part.requests.len() {
                part.out
                    .extend_from_slice(format!("{},", shard + 3 * k).as_bytes());
                part.ends.push(part.out.len());
            }
            wave.back(shard, part);
        }
        let (mut out, mut reused) = (Vec::new(), 0);
        wave.splice(1, &mut out, |_| reused += 1);
        assert_eq!(String::from_utf8(out).unwrap(), "0,1,2,3,4,5,6,7,8,9,");
        assert_eq!(reused, 2);
    }
}
