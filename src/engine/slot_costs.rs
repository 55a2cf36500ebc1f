//! Charges what a command took to its slot, where `cluster-slot-stats-enabled` asks for that.
//!
//! The shard's own switch is looked at together with two others that a command looks at anyway, so without it there is
//! nothing to be measured. What a script calls is charged with the script; EXEC charges what it runs.

use crate::base::clock::ticks;
use crate::base::slot::{Slot, key_slot};
use crate::command::table::Registered;
use crate::resp::request::Args;
use crate::shard::{Shard, SlotCost};

use super::core::Core;
use super::slots::{Keys, keys_of};

/// The slot of a command's keys, which are all in one.
fn slot_of(command: &Registered, args: &Args<'_>) -> Option<Slot> {
    if command.first_key > 0 {
        return Some(args.key(usize::from(command.first_key)).slot);
    }
    let mut keys = Keys::new();
    keys_of(command, args, &mut keys);
    Some(key_slot(keys.first()?))
}

impl Core {
    /// A command that began when the last one ended has run on one of these shards and written so many bytes.
    #[cold]
    pub(super) fn charge<'a>(
        &self,
        shards: impl IntoIterator<Item = &'a mut Shard>,
        command: &Registered,
        args: &Args<'_>,
        bytes: usize,
    ) {
        if args.caller.from_script {
            return;
        }
        let Some(slot) = slot_of(command, args) else {
            return;
        };
        let owner = usize::from(slot) % self.shards;
        let mut shards = shards.into_iter();
        let Some(costs) = shards
            .find(|shard| shard.index == owner)
            .and_then(|shard| shard.slot_costs.as_mut())
        else {
            return;
        };
        let spent = ticks().wrapping_sub(self.last_ticks);
        costs.add(
            slot,
            SlotCost {
                cpu_ns: self.observatory.scale.ns(spent),
                bytes_in: args.wire_bytes() as u64,
                bytes_out: match args.caller.primary {
                    true => 0, // nobody is sent a reply
                    false => bytes as u64,
                },
            },
        );
    }

    /// CONFIG RESETSTAT: what the shard counts begins anew, at the latest when it is back.
    pub(super) fn reset_shard_stats(&mut self) {
        match &mut self.shard {
            Some(shard) => shard.reset_stats(),
            None => self.reset_due = true,
        }
    }
}
