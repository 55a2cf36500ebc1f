//! Users on a data core: taking over a change, writing down what was denied, asking again at EXEC.

use std::sync::Arc;

use crate::acl::{self, Denial, LogEntry, Reason, Users};
use crate::command::client::{Client, Queued};
use crate::command::connection::{ConnectionFacts, client_line};
use crate::command::permit::{self, Refusal};
use crate::command::table::Registered;
use crate::mesh::Place;
use crate::net::Connection;
use crate::resp::ErrorReply;
use crate::resp::request::Args;

use super::core::Core;

impl Core {
    /// Takes over the users. Clients of a user that is gone are closed, `asker` when it has read the answer; so are
    /// those that listen to a channel which their user may no longer use.
    pub(super) fn set_users(&mut self, users: Arc<Users>, asker: u64) {
        self.users = users;
        let places: Vec<Place> = self
            .connections
            .iter()
            .flatten()
            .filter(|connection| !connection.closed)
            .map(|connection| connection.place)
            .collect();
        for place in places {
            let Some(mut connection) = self.take_connection(place) else {
                continue;
            };
            let before = connection.client.user.clone();
            if !connection.client.take_over(&self.users) {
                if connection.client.id == asker {
                    connection.client.closing = true;
                    connection.ending = true;
                } else {
                    self.shut_down(&mut connection);
                }
            } else if !Arc::ptr_eq(&before, &connection.client.user) {
                if connection.client.has_lost_subscriptions(&before) {
                    self.shut_down(&mut connection);
                } else if !connection.client.is_trusted() {
                    self.ask_blocked_again(&mut connection);
                }
            }
            self.put_back(connection);
        }
    }

    /// Counts and writes down a denial.
    #[cold]
    pub(super) fn note_denial(
        &self,
        connection: &Connection,
        command: &'static Registered,
        args: &Args<'_>,
        denial: Denial,
    ) {
        let context = match connection.client.multi {
            Some(_) => acl::Context::Multi,
            None => acl::Context::TopLevel,
        };
        let who = (&connection.client, &connection.facts());
        self.note_denial_in(context, who, command, args, denial);
    }

    /// The same of what a script called.
    #[cold]
    pub(super) fn note_denial_in_script(
        &self,
        client: &Client,
        command: &'static Registered,
        args: &Args<'_>,
        denial: Denial,
    ) {
        let who = (client, &ConnectionFacts::default());
        self.note_denial_in(acl::Context::Script, who, command, args, denial);
    }

    fn note_denial_in(
        &self,
        context: acl::Context,
        who: (&Client, &ConnectionFacts),
        command: &'static Registered,
        args: &Args<'_>,
        denial: Denial,
    ) {
        let object = match denial.reason {
            Reason::Command => command.name.as_bytes(),
            Reason::Key | Reason::Channel | Reason::Auth => args.get(denial.at),
        };
        let user = who.0.user.name().to_vec();
        self.write_denial(who, denial.reason, context, object.to_vec(), user);
    }

    /// AUTH or HELLO was refused: `user` is whom the client wanted to be.
    #[cold]
    pub(super) fn note_refused_password(
        &self,
        connection: &Connection,
        args: &Args<'_>,
        user: Vec<u8>,
    ) {
        // Inside EXEC no command may block, which tells it from a command on its own.
        let context = match args.caller.deny_blocking {
            true => acl::Context::Multi,
            false => acl::Context::TopLevel,
        };
        let who = (&connection.client, &connection.facts());
        self.write_denial(who, Reason::Auth, context, args.get(0).to_vec(), user);
    }

    fn write_denial(
        &self,
        (client, facts): (&Client, &ConnectionFacts),
        reason: Reason,
        context: acl::Context,
        object: Vec<u8>,
        user: Vec<u8>,
    ) {
        let counters = self.counters();
        match reason {
            Reason::Command => counters.command_denied.add(1),
            Reason::Key => counters.key_denied.add(1),
            Reason::Channel => counters.channel_denied.add(1),
            Reason::Auth => counters.auth_denied.add(1),
        }
        let mut client = client_line(client, facts, self.now);
        client.pop(); // its line end
        self.observatory.denials().record(
            LogEntry {
                count: 1,
                reason,
                context,
                object,
                user,
                client,
                id: 0,
                created_ms: self.now,
                updated_ms: self.now,
            },
            self.config.acllog_max_len,
        );
    }

    /// Whether the client may run all that it has queued; users may have changed since.
    pub(super) fn may_still_run(&self, connection: &Connection, queue: &[Queued]) -> bool {
        let client = &connection.client;
        client.is_trusted()
            || queue.iter().all(|queued| {
                let args = queued.args.args(client.caller());
                permit::check(&client.user, queued.command, &args).is_ok()
            })
    }

    /// What the client reads when its user may not run this; it is written down.
    pub(super) fn refused(
        &mut self,
        connection: &Connection,
        command: &'static Registered,
        args: &Args<'_>,
    ) -> Option<ErrorReply> {
        let user = connection.client.user.clone();
        let refusal = permit::check(&user, command, args).err()?;
        if let Refusal::Denied(denial) = refusal {
            self.note_denial(connection, command, args, denial);
        }
        Some(refusal.into_reply(&user, command))
    }

    /// What the client reads in the place of a queued command's reply when it may not run it any more.
    pub(super) fn refused_at_exec(
        &mut self,
        connection: &Connection,
        command: &'static Registered,
        args: &Args<'_>,
    ) -> Option<ErrorReply> {
        let client = &connection.client;
        if client.is_trusted() {
            return None;
        }
        let refusal = permit::check(&client.user, command, args).err()?;
        if let Refusal::Denied(denial) = refusal {
            let who = (client, &connection.facts());
            self.note_denial_in(acl::Context::Multi, who, command, args, denial);
        }
        Some(refusal.into_exec_reply())
    }
}
