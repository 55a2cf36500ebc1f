//! A connection that asks for the stream leaves its core and becomes a replica's: the control core's.
//!
//! Its receive is ended first, and what it has been answered has left: then nobody here holds anything of it, and the
//! socket, what is known of the client and what has been read go to the control core as one message.

use crate::mesh::message::{Accepted, Candidate, CoreMessage};
use crate::net::Connection;
use crate::replication::SyncRequest;
use crate::resp::ErrorReply;

use super::core::Core;

impl Core {
    /// PSYNC or SYNC: the connection is on its way out, unless replies before it have not even been tried to send.
    pub(super) fn begin_handover(&mut self, connection: &mut Connection, request: SyncRequest) {
        if connection.output.has_more() {
            self.write_error(connection, &ErrorReply::SYNC_WITH_OUTPUT);
            return;
        }
        connection.waiting = true; // nothing more of its input runs here
        connection.leaving = Some(Box::new(request));
        if connection.receiving {
            self.ring.cancel_receive(connection.place.token());
        }
    }

    /// Goes on with a connection that is on its way out. It is given back while something of it is under way.
    #[cold]
    pub(super) fn hand_over(&mut self, mut connection: Box<Connection>) -> Option<Box<Connection>> {
        if connection.at_end && !connection.closed {
            self.shut_down(&mut connection); // its client has gone
        }
        if connection.closed {
            connection.leaving = None;
            connection.waiting = false;
            return Some(connection);
        }
        if connection.receiving || !connection.output.is_done() {
            return Some(connection);
        }
        let request = *connection.leaving.take()?;
        self.part_with(&mut connection);
        let Connection {
            place,
            fd,
            mut client,
            input,
            input_at,
            ..
        } = *connection;
        if client.monitor {
            self.monitor_ended(client.id);
        }
        self.vacate(place);
        self.tell_control(CoreMessage::Replica(Box::new(Candidate {
            connection: Accepted {
                fd,
                client: client.id,
                peer: client.peer,
                local: client.local,
                unix: client.unix,
            },
            facts: client
                .peer_facts
                .take()
                .map(|facts| *facts)
                .unwrap_or_default(),
            request,
            input: input.get(input_at..).unwrap_or_default().to_vec(),
            created_ms: client.created_ms,
            name: client.name,
            user: client.user,
            db: client.db,
            resp3: client.resp3,
        })));
        None
    }
}
