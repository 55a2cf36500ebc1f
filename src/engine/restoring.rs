//! RESTORE of a large value: it is decoded in steps before the command runs, so that nobody else on this core waits for a
//! million elements to come in.
//!
//! The request stays where it is, in the connection's input, and is met again in each turn of the core; what of it is decoded
//! is kept with the connection ([`Restoring`]). Every gate is asked each time, so what becomes of the slot or the role
//! meanwhile counts. In the end the command runs like any other, and finds the value ready. In MULTI, scripts and
//! what a primary sends it is decoded as the command runs.

use std::iter;
use std::sync::atomic::Ordering::Relaxed;

use crate::command::client::ReplyMode;
use crate::command::spec::Flags;
use crate::command::table::Registered;
use crate::net::Connection;
use crate::persistence::rdb::{Limits, Restoring};
use crate::resp::request::{Args, Key, OwnedArgs};
use crate::transaction::Work;

use super::core::{Core, Held};
use super::input::Flow;
use super::wide::{Errand, Pending};

/// Bytes from which a request is looked at for a value that takes long to decode: some milliseconds.
pub(super) const HEAVY: usize = 256 * 1024;

impl Core {
    /// A request that may have a large value to decode. `None` lets it run now.
    #[cold]
    pub(super) fn decode_ahead(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        args: &Args<'_>,
    ) -> Option<Flow> {
        let decodes = command.spec.flags.has(Flags::DECODES);
        let payload = args.opt(3).filter(|it| decodes && it.len() >= HEAVY)?;
        let known = connection.restoring.take();
        let mut restoring = known
            .filter(|known| known.is_of(payload))
            .unwrap_or_else(|| Box::new(Restoring::of(payload)));
        let verify = !self.observatory.snapshots.skip_checksums.load(Relaxed);
        if !restoring.go_on(payload, &Limits::of(&self.config), verify) {
            connection.restoring = Some(restoring);
            self.decodes = true;
            return Some(Flow::Hold);
        }
        let owner = usize::from(Key::new(args.get(1)).slot) % self.shards;
        if owner == self.index {
            return match &mut self.shard {
                Some(shard) => {
                    shard.decoded = Some(restoring);
                    None
                }
                None => {
                    connection.restoring = Some(restoring);
                    Some(Flow::Hold)
                }
            };
        }
        if connection.client.reply_mode == ReplyMode::SkipNext {
            connection.client.reply_mode = ReplyMode::Skip;
        }
        connection.commands += 1;
        connection.has_written = true;
        let step = Errand::Restore(command, OwnedArgs::copy_of(args), restoring);
        self.begin(
            connection,
            vec![owner as u16],
            Pending::Lent(step),
            Work::Lend,
        );
        Some(match connection.waiting {
            true => Flow::Stop,
            false => Flow::Next,
        })
    }

    /// Runs it on another core's shard, which is in hand.
    pub(super) fn restore_held(
        &mut self,
        connection: &mut Connection,
        held: &mut Held,
        command: &'static Registered,
        args: &Args<'_>,
        decoded: Box<Restoring>,
    ) {
        let caller = connection.client.caller();
        if let Some(error) = self.refused_on(held, &caller, iter::once((command, *args))) {
            self.write_error(connection, &error);
            return;
        }
        if self.is_shown_when_run(command) {
            self.feed_monitors(&connection.client, command, args);
        }
        for shard in held.iter_mut() {
            shard.decoded = None;
        }
        if let Some(shard) = held.first_mut() {
            shard.decoded = Some(decoded);
        }
        let start = connection.output.buffer().len();
        self.run_held(held, command, args, connection.output.buffer());
        self.after_reply(connection, start);
    }
}
