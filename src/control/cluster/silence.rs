//! A node with a shard that hangs, as the bus sees it: cut off in both directions, like one behind a broken cable.
//!
//! To answer no pings would be enough for the others to replace it. But its other shards still run, and would take writes
//! that are lost; a node that hears nobody stops serving by the rule for minorities, and in time, because that rule is
//! made for exactly this. So nothing new is decided here.

use crate::control::Control;

impl Control {
    /// Cuts this node off from the bus, or lets it come back.
    pub(in crate::control) fn keep_silent(&mut self, silent: bool) {
        let Some(bus) = self.bus.as_mut().filter(|bus| bus.is_silent != silent) else {
            return;
        };
        bus.is_silent = silent;
        log::warn!(
            "The cluster bus {}.",
            match silent {
                true => "is silent: a shard hangs, so this node behaves as one that has failed",
                false => "is there again: all shards turn",
            }
        );
    }
}
