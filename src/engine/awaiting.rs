//! WAIT and WAITAOF: a client waits until replicas, or disks, have what it has written.
//!
//! The control core knows what replicas have acknowledged, this core knows what is on its disks. A client that waits is a
//! blocked one without keys: what it waits for comes as messages. When its time has come the control core is asked for
//! the count there is, which is the reply; so a client is answered once, by whatever comes first.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::client::Await;
use crate::command::table::Registered;
use crate::mesh::Place;
use crate::mesh::message::{AwaitReplicas, CoreMessage, Have};
use crate::net::{Awaiting, Blocking, Connection, Written};
use crate::resp::Reply;

use super::core::Core;

impl Core {
    /// A connection begins to wait. All that it has written has been answered, or ran here in this turn.
    pub(super) fn begin_awaiting(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        wanted: Await,
    ) {
        // The control core must find all that is waited for in the streams when it hears of it.
        self.settle_own();
        self.next_ticket += 1;
        let number = self.next_ticket;
        let has_log = self.config.appendonly;
        let is_on_disk = !connection.has_written && connection.written.on_disk && has_log;
        let awaiting = Awaiting {
            number,
            wanted,
            have: None,
            log_is_known: is_on_disk || wanted.on_disk.is_none() || !has_log,
            is_synced: is_on_disk && wanted.on_disk.is_some(),
            is_over: false,
        };
        let place = connection.place;
        if !awaiting.log_is_known {
            self.durable.asks_for_logs.push(place);
            self.look_at_logs();
        }
        let blocking = Blocking {
            command,
            waiter: None,
            until: wanted.until,
            timed_out: Vec::new(),
            awaiting: Some(awaiting),
        };
        self.block(connection, blocking);
        self.tell_control(CoreMessage::AwaitReplicas(Box::new(AwaitReplicas {
            core: self.index as u16,
            place,
            number,
            replicas: wanted.replicas,
            on_disk: wanted.on_disk.is_some(),
            offset: (!connection.has_written).then_some(connection.written.offset),
            stamp: connection.stamp_behind(1),
        })));
    }

    /// Has clients that wait for the own disk told of it, once the logs hold all data: where they are just being begun, what a
    /// client has written is in none of them yet.
    pub(super) fn look_at_logs(&mut self) {
        let log = &self.observatory.snapshots.log;
        if self.config.appendonly && !log.complete.load(Relaxed) {
            return; // again at the next tick
        }
        for place in std::mem::take(&mut self.durable.asks_for_logs) {
            self.begin_chore(move |core, held| {
                core.await_sync(place, held);
                core.log_is_known(place);
            });
        }
    }

    /// Leaves a message for the control core.
    pub(super) fn tell_control(&mut self, message: CoreMessage) {
        self.links.control().mail(message);
        self.wake(self.shards);
    }

    /// So many replicas have it.
    pub(super) fn replicas_have(&mut self, place: Place, number: u64, have: Have) {
        self.with_awaiting(place, |awaiting| {
            if awaiting.number == number {
                awaiting.have = Some(have);
            }
        });
    }

    /// What the logs held when it began to wait is on disk.
    pub(super) fn log_is_synced(&mut self, place: Place) {
        self.with_awaiting(place, |awaiting| awaiting.is_synced = true);
    }

    /// What is not on disk by now is on its way.
    fn log_is_known(&mut self, place: Place) {
        self.with_awaiting(place, |awaiting| awaiting.log_is_known = true);
    }

    /// Changes what is known of a waiting connection, and answers it when that is enough.
    fn with_awaiting(&mut self, place: Place, change: impl FnOnce(&mut Awaiting)) {
        let Some(mut connection) = self.take_connection(place) else {
            return;
        };
        let blocked = connection.blocked.as_deref_mut();
        if let Some(awaiting) = blocked.and_then(|blocking| blocking.awaiting.as_mut()) {
            change(awaiting);
            if let Some(Have { replicas, offset }) = awaiting.outcome() {
                let (on_disk, local) = (awaiting.wanted.on_disk, awaiting.is_synced);
                if let Some(offset) = offset {
                    // It has not run anything meanwhile.
                    let on_disk = local || !connection.has_written && connection.written.on_disk;
                    connection.has_written = false;
                    connection.written = Written { offset, on_disk };
                }
                self.end_wait(&mut connection, |reply| {
                    write_outcome(on_disk.is_some(), local, replicas, reply);
                });
            }
        }
        self.put_back(connection);
    }

    /// The time of a client has come: its answer is asked for. False when it waits for something else.
    pub(super) fn ask_for_outcome(&mut self, connection: &mut Connection) -> bool {
        let blocked = connection.blocked.as_deref_mut();
        let Some(awaiting) = blocked.and_then(|blocking| blocking.awaiting.as_mut()) else {
            return false;
        };
        awaiting.is_over = true;
        let number = awaiting.number;
        self.stop_awaiting(connection.place, number);
        true
    }

    /// Tells the control core that a connection waits no longer.
    pub(super) fn stop_awaiting(&mut self, place: Place, number: u64) {
        let core = self.index as u16;
        self.tell_control(CoreMessage::StopAwaiting {
            core,
            place,
            number,
        });
    }
}

/// The reply of WAIT or, with what is known of the own disk, WAITAOF.
fn write_outcome(on_disk: bool, local: bool, replicas: usize, reply: &mut Reply<'_>) {
    if on_disk {
        reply.array(2);
        reply.integer(local.into());
    }
    reply.count(replicas);
}
