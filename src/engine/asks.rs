//! What other cores tell and ask this one, and what it answers.

use crate::base::clock::unix_us;
use crate::command::client::Client;
use crate::command::connection::list_lines;
use crate::command::table::Registered;
use crate::command::trace;
use crate::mesh::Place;
use crate::mesh::message::{Accepted, CoreAnswer, CoreAsk, CoreMessage, Part, SlowRun};
use crate::net::Connection;
use crate::resp::request::{Args, OwnedArgs};

use super::blocked::Served;
use super::core::Core;
use super::pausing::Pause;
use super::wide::Pending;

impl Core {
    /// Reads the inbox.
    pub(super) fn take_mail(&mut self) {
        self.before_mail();
        // A script that runs too long reads mail from within: the order stays.
        self.inbox.extend(self.links.core(self.index).take_mail());
        while let Some(message) = self.inbox.pop_front() {
            self.on_message(message);
        }
    }

    /// One message.
    pub(super) fn on_message(&mut self, message: CoreMessage) {
        match message {
            CoreMessage::Accept(accepted) => self.accept(accepted),
            CoreMessage::Ask {
                from,
                ticket,
                ask: CoreAsk::FinalSave { force, followed },
            } => self.save_finally((from, ticket), force, followed),
            CoreMessage::Ask {
                from,
                ticket,
                ask:
                    CoreAsk::Save {
                        background,
                        schedule,
                        followed,
                    },
            } => self.save_between((from, ticket), (background, schedule), followed),
            CoreMessage::Ask {
                from,
                ticket,
                ask: ask @ (CoreAsk::CountKeys(_) | CoreAsk::SlotsWithKeys),
            } => {
                let answer = match &ask {
                    CoreAsk::CountKeys(slot) => self.count_keys(*slot),
                    _ => self.slots_with_keys(),
                };
                match answer {
                    Some(answer) => self.reply_to(usize::from(from), ticket, answer),
                    None => self.deferred.push(CoreMessage::Ask { from, ticket, ask }),
                }
            }
            CoreMessage::Ask {
                from,
                ticket,
                ask:
                    CoreAsk::Pause {
                        until_ms,
                        writes_only,
                        waits,
                    },
            } => {
                let pause = Pause {
                    until_ms,
                    writes_only,
                };
                self.pause(pause, waits, (from, ticket));
            }
            CoreMessage::DropKeys(slots) => self.on_drop_keys(&slots),
            CoreMessage::DropAllKeys => self.on_drop_all_keys(),
            CoreMessage::DropSubscribers(slots) => self.on_drop_subscribers(&slots),
            CoreMessage::BusDeliver(message) => self.on_bus_message(message),
            CoreMessage::Ask { from, ticket, ask } => {
                let answer = self.answer(ask);
                self.reply_to(usize::from(from), ticket, answer);
            }
            CoreMessage::Answer { ticket, answer } => self.on_answer(ticket, answer),
            CoreMessage::Forget { token, keys } => match &mut self.shard {
                Some(shard) => {
                    for (db, key) in &keys {
                        shard.watched.remove(*db as usize, key, &token);
                    }
                }
                None => self.deferred.push(CoreMessage::Forget { token, keys }),
            },
            CoreMessage::Depart(waiter) => self.on_depart(waiter),
            CoreMessage::Served {
                place,
                waiter,
                reply,
            } => self.on_served(Served {
                place,
                waiter,
                reply,
            }),
            CoreMessage::Complete | CoreMessage::Evict => {} // looked at every turn
            CoreMessage::Push(pushes) => self.on_pushes(pushes),
            CoreMessage::Counted(counts) => {
                for (place, receivers) in counts {
                    self.on_counted(place, receivers);
                }
            }
            CoreMessage::Audience {
                from,
                number,
                changes,
            } => self.on_audience(from, number, changes),
            CoreMessage::AudienceKnown { by, number } => {
                self.on_audience_known(usize::from(by), number);
            }
            CoreMessage::Monitor { client, lines } => self.write_monitor(client, &lines),
            CoreMessage::Stall { until } => {
                std::thread::sleep(until.saturating_duration_since(std::time::Instant::now()));
            }
            CoreMessage::Load(shipment) => self.take_in(shipment),
            CoreMessage::CutLogs(rewrite) => self.cut_logs(rewrite),
            CoreMessage::Linked { place, fd } => self.on_linked(place, fd),
            CoreMessage::CutStream(cut) => self.cut_stream(cut),
            CoreMessage::Flows(_)
            | CoreMessage::BusPublish(_)
            | CoreMessage::Link(..)
            | CoreMessage::Restored { .. }
            | CoreMessage::Applied(..)
            | CoreMessage::FeedEnded { .. }
            | CoreMessage::PiecesExecuted { .. }
            | CoreMessage::WantsRest(..)
            | CoreMessage::CutWithoutStream { .. }
            | CoreMessage::CopyRefused(_)
            | CoreMessage::CopyEnded { .. }
            | CoreMessage::Replica(_)
            | CoreMessage::AwaitReplicas(_)
            | CoreMessage::StopAwaiting { .. } => {
                log::error!("a message for the control core has come to another one");
            }
            CoreMessage::Rebase(bytes) => self.rebase_log(bytes),
            CoreMessage::KeepLog(log) => self.keep_log(log),
            CoreMessage::Adopt(keyspace) => self.adopt(keyspace),
            CoreMessage::Arrived(done) => self.say_arrived(done),
            CoreMessage::Loaded => self.loading_ended(),
            CoreMessage::Reloaded(place) => self.take_reloaded(place),
            CoreMessage::Loading { beside } => self.refuse_while_loading(beside),
            CoreMessage::Feed(message) => self.on_feed(message),
            CoreMessage::BeginCopy {
                empties,
                refuses,
                done,
            } => self.begin_copy_in(empties, refuses, done),
            CoreMessage::EndCopy { whole, done } => self.end_copy_in(whole, done),
            CoreMessage::ReplicasHave {
                place,
                number,
                have,
            } => self.replicas_have(place, number, have),
            CoreMessage::Stop => self.stopping = true,
        }
    }

    pub(super) fn reply_to(&mut self, from: usize, ticket: u64, answer: CoreAnswer) {
        if from == self.index {
            self.on_answer(ticket, answer);
        } else {
            self.links
                .core(from)
                .mail(CoreMessage::Answer { ticket, answer });
            self.wake(from);
        }
    }

    /// A connection to serve.
    fn accept(&mut self, accepted: Accepted) {
        let place = self.new_place();
        let client = Client::new(
            accepted.client,
            accepted.peer,
            accepted.local,
            accepted.unix,
            accepted.fd,
            self.now,
            &self.users,
        );
        let mut connection = Box::new(Connection::new(place, accepted.fd, client));
        if self.durable.gating {
            connection.output.begin_gate();
        }
        self.ring.receive(accepted.fd, place.token());
        connection.receiving = true;
        self.counters().accepted.add(1);
        self.counters().connected.add(1);
        self.connections[place.index as usize] = Some(connection);
    }

    /// A place for a connection.
    pub(super) fn new_place(&mut self) -> Place {
        let index = match self.free_places.pop() {
            Some(index) => index,
            None => {
                self.connections.push(None);
                self.generations.push(0);
                self.connections.len() as u32 - 1
            }
        };
        Place {
            index,
            generation: self.generations[index as usize],
        }
    }

    fn answer(&mut self, ask: CoreAsk) -> CoreAnswer {
        match ask {
            CoreAsk::Configure(config) => {
                self.config = config;
                self.configured();
                CoreAnswer::Done
            }
            CoreAsk::SetUsers { users, asker } => {
                self.set_users(users, asker);
                CoreAnswer::Done
            }
            CoreAsk::ListClients(filter) => {
                self.limit_clients();
                let mut lines = Vec::new();
                for connection in self.connections.iter().flatten().filter(|one| !one.closed) {
                    let mut facts = connection.facts();
                    // The request that asks is in nobody's buffer any more; Redis counts it while it runs.
                    if let Some(Pending::Answers { args, .. }) =
                        self.pending.get(&connection.place.index)
                    {
                        facts.input_bytes += args.wire_bytes();
                        facts.argument_bytes += args.size();
                    }
                    list_lines(&connection.client, &facts, &filter, self.now, &mut lines);
                }
                CoreAnswer::Lines(lines)
            }
            CoreAsk::KillClients(filter) => {
                let places: Vec<Place> = self
                    .connections
                    .iter()
                    .flatten()
                    .filter(|connection| !connection.closed && connection.client.fits(&filter))
                    .map(|connection| connection.place)
                    .collect();
                for &place in &places {
                    if self.cut_link(place) {
                        continue;
                    }
                    if let Some(mut connection) = self.take_connection(place) {
                        self.shut_down(&mut connection);
                        self.put_back(connection);
                    }
                }
                CoreAnswer::Count(places.len())
            }
            CoreAsk::Unblock { client, error } => {
                CoreAnswer::Count(self.unblock_client(client, error).into())
            }
            CoreAsk::FindClient(id) => {
                let known = self.connections.iter().flatten();
                let mut living = known.filter(|connection| !connection.closed);
                match living.find(|connection| connection.client.id == id) {
                    Some(found) => CoreAnswer::Found((self.index as u16, found.place.token())),
                    None => CoreAnswer::Done,
                }
            }
            CoreAsk::TakeSlotMap(map) => {
                self.take_slot_map(map);
                CoreAnswer::Done
            }
            CoreAsk::SetRole(role) => {
                self.set_role(role);
                CoreAnswer::Done
            }
            CoreAsk::CountClients => CoreAnswer::Classes(self.client_classes()),
            CoreAsk::ResetStats => {
                self.counters().reset();
                self.reset_shard_stats();
                if self.index == 0 {
                    self.observatory.replication.reset_counts();
                }
                CoreAnswer::Done
            }
            CoreAsk::Monitors(monitors) => {
                self.monitors = monitors;
                CoreAnswer::Done
            }
            CoreAsk::CountKeys(_) | CoreAsk::SlotsWithKeys => {
                unreachable!("they wait for the shard")
            }
            CoreAsk::FinalSave { .. } | CoreAsk::Save { .. } | CoreAsk::Pause { .. } => {
                unreachable!("it is answered when it is done")
            }
            CoreAsk::SetMonitor { .. }
            | CoreAsk::ConfigSet { .. }
            | CoreAsk::ChangeUsers { .. }
            | CoreAsk::AbortShutdown
            | CoreAsk::ReplicaOf { .. }
            | CoreAsk::AwaitRole
            | CoreAsk::Replication { .. }
            | CoreAsk::CountReplicas { .. }
            | CoreAsk::DebugStream(_)
            | CoreAsk::Failover(_)
            | CoreAsk::Cluster(_)
            | CoreAsk::ConfigRewrite { .. }
            | CoreAsk::SetPause { .. }
            | CoreAsk::Shutdown { .. } => unreachable!("this question goes to the control core"),
        }
    }

    /// Takes over what the configuration says.
    pub(super) fn configured(&mut self) {
        // One comparison a command: against the lower of both thresholds.
        let slow_log = u64::try_from(self.config.slowlog_log_slower_than_us).unwrap_or(u64::MAX);
        let latency = match self.config.latency_monitor_threshold_ms {
            0 => u64::MAX,
            ms => ms.saturating_mul(1000),
        };
        self.slow_ticks = match slow_log.min(latency) {
            u64::MAX => u64::MAX,
            us => self.observatory.scale.ticks(us.saturating_mul(1000)),
        };
        if let Some(shard) = &mut self.shard {
            shard.configure(&self.config);
        }
        self.configure_logs();
        self.switch_logs();
        self.role_configured();
        self.memory_configured();
        self.client_memory_configured();
    }

    // CLIENT PAUSE.

    /// Whether a command is held back now.
    pub(super) fn is_paused(&self, command: &Registered, args: &Args<'_>, client: &Client) -> bool {
        self.pause.until_ms > self.now
            && (!self.pause.writes_only || self.writes(command, args, client))
    }

    /// Whether a command may write, or EXEC run one that may.
    pub(super) fn writes(&self, command: &Registered, args: &Args<'_>, client: &Client) -> bool {
        use crate::command::spec::Flags;
        // A script that says that it does not write is taken at its word.
        let writes = |command: &Registered, args: &Args<'_>| {
            let kinds = Flags::WRITE.and(Flags::MAY_REPLICATE);
            command.spec.flags.any(kinds) && !self.is_reading_script(command, args)
        };
        writes(command, args)
            || (command.name == "exec"
                && client.multi.as_ref().is_some_and(|multi| {
                    let mut queue = multi.queue.iter();
                    queue.any(|queued| writes(queued.command, &queued.args.args(client.caller())))
                }))
    }

    // MONITOR.

    /// Shows a command to the monitors of all cores. Called by the core that runs it, with the shards concerned in
    /// hand, so that the lines of one key stand in the order in which its commands ran; and a connection waits for its
    /// command on one shard before the next one goes to another, so its own order is kept as well.
    #[cold]
    pub(super) fn feed_monitors(
        &mut self,
        client: &Client,
        command: &'static Registered,
        args: &Args<'_>,
    ) {
        let mut lines = Vec::new();
        self.monitor_lines(&mut lines, client, command, args);
        self.send_to_monitors(lines);
    }

    /// Adds the line of a command; none when nobody monitors or the command is not shown.
    pub(super) fn monitor_lines(
        &self,
        lines: &mut Vec<u8>,
        client: &Client,
        command: &'static Registered,
        args: &Args<'_>,
    ) {
        if self.monitors.is_empty() || !trace::is_monitored(command) {
            return;
        }
        let mut args = *args;
        args.caller.db = client.db; // SELECT is shown in the database that it selects, as in Redis
        let source = trace::monitor_source(client);
        lines.extend(trace::monitor_line(command, &args, &source, unix_us()));
    }

    /// Shows what a part of another core's connection has run, as one block when it is a transaction.
    #[cold]
    ///
    /// `source` is whose it is; `ran` is false when a broken watch has kept its commands from running.
    pub(super) fn show_part(&mut self, part: &Part, source: &str, ran: bool) {
        let mut lines = Vec::new();
        let now_us = unix_us();
        for request in part.requests.iter().filter(|_| ran) {
            let command = self.table.by_id(request.command);
            if trace::is_monitored(command) {
                let args = part.args(request);
                lines.extend(trace::monitor_line(command, &args, source, now_us));
            }
        }
        if let Some(exec) = &part.exec {
            lines.extend_from_slice(&exec.shown);
        }
        self.send_to_monitors(lines);
    }

    /// Sends lines to the monitors of all cores. To those of this core too they go by mail: what other cores have run
    /// before may still lie there.
    pub(super) fn send_to_monitors(&mut self, lines: Vec<u8>) {
        if lines.is_empty() {
            return;
        }
        let monitors = self.monitors.clone();
        for &(core, client) in monitors.iter() {
            let core = usize::from(core);
            self.links.core(core).mail(CoreMessage::Monitor {
                client,
                lines: lines.clone(),
            });
            self.wake(core);
        }
    }

    fn write_monitor(&mut self, client: u64, lines: &[u8]) {
        let place = self
            .connections
            .iter()
            .flatten()
            .find(|connection| connection.client.id == client)
            .map(|connection| connection.place);
        if let Some(mut connection) = place.and_then(|place| self.take_connection(place)) {
            connection.output.buffer().extend_from_slice(lines);
            connection.output.close_reply();
            self.put_back(connection);
        }
    }

    /// A monitor has gone: the control core tells everybody.
    pub(super) fn monitor_ended(&mut self, client: u64) {
        let ask = CoreAsk::SetMonitor {
            core: self.index as u16,
            client,
            on: false,
        };
        self.links.control().mail(CoreMessage::Ask {
            from: self.index as u16,
            ticket: 0,
            ask,
        });
        let control = self.shards;
        self.wake(control);
    }

    /// A command took as long as the slow log or the latency monitor wants to hear of. Its connection is in use just
    /// now, so it is written down at the end of the turn.
    #[cold]
    pub(super) fn slow(&mut self, command: &'static Registered, args: &Args<'_>, ns: u64) {
        self.slow_runs.push(SlowRun {
            command: command.id,
            args: OwnedArgs::copy_of(args),
            caller: args.caller,
            duration_us: ns / 1000,
        });
    }

    /// Writes down the turn's slow commands. Those that another core sent have gone back to it with their replies.
    #[cold]
    pub(super) fn write_slow_runs(&mut self) {
        for run in std::mem::take(&mut self.slow_runs) {
            let client = self
                .connections
                .iter()
                .flatten()
                .map(|connection| &connection.client)
                .find(|client| client.id == run.caller.client);
            let whose = client.map_or(("", &b""[..]), |client| {
                (&client.peer[..], &client.name[..])
            });
            trace::slow(
                &self.observatory,
                &self.config,
                self.table.by_id(run.command),
                &run.args.args(run.caller),
                whose,
                run.duration_us,
                self.now,
            );
        }
    }
}
