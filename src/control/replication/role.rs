//! Changes of this server's part in replication.

use crate::control::Control;

impl Control {
    /// Becomes a replica of that server.
    pub(in crate::control) fn follow(&mut self, host: String, port: u16, takes_over: bool) {
        log::warn!("Cannot follow {host}:{port}");
        if takes_over {
            self.failover_ended(Err(()));
        }
    }

    /// Becomes a primary.
    pub(in crate::control) fn promote(&mut self, why: &str) {
        log::info!("MASTER MODE enabled ({why})");
    }
}
