//! Bringing back the data set of a server with append-only files, and handing it to the cores.
//!
//! The cores serve what needs no data meanwhile; nothing reaches the shards before all of it is there.

use std::sync::Arc;

use crate::config::Config;
use crate::engine::SharedLinks;
use crate::keyspace::Keyspace;
use crate::mesh::message::CoreMessage;
use crate::observe::Observatory;
use crate::recovery::{self, Choice, Recovered};

/// Reads what was chosen, and adds its function libraries. Nothing comes back when the server is told to stop
/// meanwhile. The text of an error is for whoever started the server.
pub(super) fn bring_back(
    choice: Choice,
    config: &Arc<Config>,
    shards: usize,
    observatory: &Observatory,
) -> Result<Option<Recovered>, String> {
    let status = &observatory.snapshots;
    let Some(recovered) = recovery::recover(choice, config, shards, status)? else {
        return Ok(None);
    };
    recovery::functions::apply(&recovered.functions, &observatory.scripts)?;
    Ok(Some(recovered))
}

/// Gives each core its shard's share.
pub(super) fn hand_over(keyspaces: Vec<Keyspace>, links: &SharedLinks) {
    for (core, keyspace) in links.shard_cores().iter().zip(keyspaces) {
        core.mail(CoreMessage::Adopt(Box::new(keyspace)));
        core.wake_by_event();
    }
}
