//! A node with a shard that hangs, as the bus sees it: cut off in both directions, like one behind a broken cable.
//!
//! To answer no pings would be enough for the others to replace it. But its other shards still run, and would take writes
//! that are lost; a node that hears nobody stops serving by the rule for minorities, and in time, because that rule is
//! made for exactly this. So nothing new is decided here: all links end, and none begins until the silence does.
//!
//! Links end rather than lose packets, since nodes take it for granted that a connection loses none: one whose ping went
//! astray would wait for the answer for as long as other packets come. Others may still connect, as they can to a
//! process that is stopped; who finds the door open and nobody there tries again less often than who finds it shut.

use std::os::fd::OwnedFd;

use crate::control::Control;

/// Connections kept while nobody is heard; later ones are closed at once.
const UNHEARD_MAX: usize = 1024;

/// Connections that nobody reads.
#[derive(Debug, Default)]
pub(super) struct Silence {
    unheard: Vec<OwnedFd>,
}

impl Silence {
    /// Somebody has connected.
    pub(super) fn keep(&mut self, fd: OwnedFd) {
        if self.unheard.len() < UNHEARD_MAX {
            self.unheard.push(fd);
        }
    }
}

impl Control {
    /// Cuts this node off from the bus, or lets it come back.
    pub(in crate::control) fn keep_silent(&mut self, silent: bool) {
        let differs = |is_silent: bool| is_silent != silent;
        let Some(bus) = (self.bus.as_mut()).filter(|bus| differs(bus.silence.is_some())) else {
            return;
        };
        // What others sent into the silence is not read later: they begin anew.
        bus.silence = silent.then(Silence::default);
        bus.broken.extend(bus.wires.keys().copied());
        bus.hands_over = None;
        log::warn!(
            "The cluster bus {}.",
            match silent {
                true => "is silent: a shard hangs, so this node behaves as one that has failed",
                false => "is there again: all shards turn",
            }
        );
    }
}
