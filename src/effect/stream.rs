//! The ordered effect stream of one shard.

use crate::resp::request::{Args, OwnedArgs};

/// One recorded effect.
#[derive(Clone, Debug)]
pub struct Effect {
    /// The database it applies to.
    pub db: u32,
    /// The command.
    pub command: OwnedArgs,
    /// It is for replicas alone: a message to subscribers, which is no data and stands in no file.
    pub replicas_only: bool,
}

/// What a shard has done, in order.
#[derive(Debug, Default)]
pub struct Effects {
    /// Somebody reads the stream.
    wanted: bool,
    /// Changes to data since start, as `rdb_changes_since_last_save` counts them.
    changes: u64,
    /// `changes` when the running command began.
    before: u64,
    /// The running command has said what to record.
    said: bool,
    stream: Vec<Effect>,
}

impl Effects {
    /// Turns recording on or off. Turning it off drops what nobody has read.
    pub fn set_wanted(&mut self, wanted: bool) {
        self.wanted = wanted;
        if !wanted {
            self.stream = Vec::new();
        }
    }

    /// Whether somebody reads the stream: worth asking before building an effect.
    #[inline]
    pub fn wanted(&self) -> bool {
        self.wanted
    }

    /// Counts `n` changes to data. Every handler that changes something calls it, through `Shard::changed`.
    #[inline]
    pub fn count(&mut self, n: u64) {
        self.changes += n;
    }

    /// Changes to data since start.
    #[inline]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// A command begins.
    #[inline]
    pub fn begin(&mut self) {
        self.before = self.changes;
        self.said = false;
    }

    /// Whether the running command has changed data so far.
    pub fn has_changed(&self) -> bool {
        self.changes != self.before
    }

    /// Records `parts` in place of the running command. Called again, it records several.
    pub fn record(&mut self, db: usize, parts: &[&[u8]]) {
        self.said = true;
        if self.wanted {
            self.stream.push(Effect {
                db: db as u32,
                command: parts.iter().copied().collect(),
                replicas_only: false,
            });
        }
    }

    /// Records nothing for the running command, though it changed something.
    pub fn suppress(&mut self) {
        self.said = true;
    }

    /// Records something that is no part of the running command: an expired or evicted key's deletion.
    pub fn record_aside(&mut self, db: usize, parts: &[&[u8]]) {
        if self.wanted {
            self.stream.push(Effect {
                db: db as u32,
                command: parts.iter().copied().collect(),
                replicas_only: false,
            });
        }
    }

    /// Records a message to subscribers, which changes no data: replicas pass it on to theirs.
    pub fn record_for_replicas(&mut self, parts: &[&[u8]]) {
        if self.wanted {
            self.stream.push(Effect {
                db: 0,
                command: parts.iter().copied().collect(),
                replicas_only: true,
            });
        }
    }

    /// The command ends: records the request itself when it changed data and said nothing else. True when it changed
    /// something.
    #[inline]
    pub fn end(&mut self, args: &Args<'_>) -> bool {
        let changed = self.has_changed();
        if self.wanted && changed && !self.said {
            self.stream.push(Effect {
                db: args.caller.db,
                command: OwnedArgs::copy_of(args),
                replicas_only: false,
            });
        }
        changed
    }

    /// Takes what has been recorded.
    pub fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::request::Caller;

    fn run(effects: &mut Effects, work: impl FnOnce(&mut Effects)) -> Vec<Vec<Vec<u8>>> {
        let request: OwnedArgs = [&b"CMD"[..], b"k"].into_iter().collect();
        effects.begin();
        work(effects);
        effects.end(&request.args(Caller::default()));
        let taken = effects.take();
        taken
            .iter()
            .map(|e| {
                e.command
                    .args(Caller::default())
                    .iter_from(0)
                    .map(<[u8]>::to_vec)
                    .collect()
            })
            .collect()
    }

    #[test]
    fn a_command_that_changes_nothing_leaves_no_effect_and_one_that_says_its_own_leaves_that() {
        let mut effects = Effects::default();
        effects.set_wanted(true);
        assert!(run(&mut effects, |_| {}).is_empty());
        assert_eq!(
            run(&mut effects, |e| e.count(1)),
            [[b"CMD".to_vec(), b"k".to_vec()]]
        );
        let other = run(&mut effects, |e| {
            e.count(1);
            e.record(0, &[b"DEL", b"k"]);
        });
        assert_eq!(other, [[b"DEL".to_vec(), b"k".to_vec()]]);
        effects.set_wanted(false);
        assert!(run(&mut effects, |e| e.count(1)).is_empty());
    }
}
