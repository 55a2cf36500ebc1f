//! Commands that other cores must answer: the question goes out by mail, the connection waits, the answers become a reply.

use crate::command::client::{Context, CoreView, FinishFn, Whom};
use crate::command::table::Registered;
use crate::mesh::Place;
use crate::mesh::message::{CoreAnswer, CoreAsk, CoreMessage};
use crate::net::Connection;
use crate::resp::Reply;
use crate::resp::request::{Args, OwnedArgs};

use super::core::Core;
use super::exec::Exec;
use super::wide::Pending;

/// What is asked, whom, and what becomes of the answers.
pub(super) struct Question {
    pub whom: Whom,
    pub ask: CoreAsk,
    pub then: FinishFn,
}

impl Core {
    /// Asks other cores; the connection waits for their answers.
    pub(super) fn ask(
        &mut self,
        connection: &mut Connection,
        command: &'static Registered,
        args: &Args<'_>,
        question: Question,
        exec: Option<Box<Exec>>,
    ) {
        let Question { whom, ask, then } = question;
        connection.waiting = true;
        let place = connection.place;
        // Who waits for the stop counts as blocked, as in Redis.
        let blocks = matches!(ask, CoreAsk::Shutdown { .. });
        if blocks {
            self.counters().blocked.add(1);
        }
        let expected = match whom {
            Whom::Cores => self.shards,
            Whom::Clients => self.shards + 1,
            Whom::Control => 1,
        };
        self.pending.insert(
            place.index,
            Pending::Answers {
                answers: vec![None; expected],
                then,
                command,
                args: OwnedArgs::copy_of(args),
                asked: self.last_ticks,
                blocks,
                exec,
            },
        );
        let from = self.index as u16;
        match whom {
            Whom::Control => {
                if matches!(
                    ask,
                    CoreAsk::Replication { .. }
                        | CoreAsk::CountReplicas { .. }
                        | CoreAsk::Cluster(_)
                ) {
                    self.settle_own(); // the answer counts what this turn has done so far
                }
                let ticket = self.ticket(place, 0);
                self.tell_control(CoreMessage::Ask { from, ticket, ask });
            }
            Whom::Cores | Whom::Clients => {
                if whom == Whom::Clients {
                    let (ticket, ask) = (self.ticket(place, self.shards), ask.clone());
                    self.tell_control(CoreMessage::Ask { from, ticket, ask });
                }
                for core in 0..self.shards {
                    let ticket = self.ticket(place, core);
                    let ask = ask.clone();
                    // Its own answer is taken by mail too, when the connection is back in its place.
                    self.links
                        .core(core)
                        .mail(CoreMessage::Ask { from, ticket, ask });
                    if core != self.index {
                        self.wake(core);
                    }
                }
            }
        }
    }

    /// An EXEC has run that changes whose replica this server is: its reply waits until every core knows.
    pub(super) fn await_role(&mut self, connection: &Connection, exec: Box<Exec>) {
        let place = connection.place;
        self.pending.insert(place.index, Pending::Role(exec));
        let from = self.index as u16;
        let ticket = self.ticket(place, 0);
        let ask = CoreAsk::AwaitRole;
        self.tell_control(CoreMessage::Ask { from, ticket, ask });
    }

    /// Every core knows the new role.
    fn on_role_known(&mut self, place: Place) {
        let Some(Pending::Role(exec)) = self.pending.remove(&place.index) else {
            return;
        };
        if let Some(mut connection) = self.take_connection(place) {
            self.answer_exec(&mut connection, *exec);
            self.put_back(connection);
        }
    }

    fn ticket(&mut self, place: Place, answer: usize) -> u64 {
        self.next_ticket += 1;
        let ticket = self.next_ticket << 16 | answer as u64;
        self.tickets.insert(ticket, place);
        ticket
    }

    /// An answer has come.
    pub(super) fn on_answer(&mut self, ticket: u64, answer: CoreAnswer) {
        let Some(place) = self.tickets.remove(&ticket) else {
            return;
        };
        let answers = match self.pending.get_mut(&place.index) {
            Some(Pending::Answers { answers, .. }) => answers,
            Some(Pending::Role(_)) => return self.on_role_known(place),
            _ => return,
        };
        answers[(ticket & 0xffff) as usize] = Some(answer);
        if answers.iter().any(Option::is_none) {
            return;
        }
        let Some(Pending::Answers {
            answers,
            then,
            command,
            args,
            asked,
            blocks,
            exec,
        }) = self.pending.remove(&place.index)
        else {
            return;
        };
        if blocks {
            let blocked = self.counters().blocked.get();
            self.counters().blocked.set(blocked.saturating_sub(1));
        }
        let Some(mut connection) = self.take_connection(place) else {
            if let Some(exec) = exec {
                self.give_back(exec.held);
            }
            return;
        };
        let answers: Vec<CoreAnswer> = answers.into_iter().flatten().collect();
        let mut out = Vec::new();
        let core = CoreView {
            index: self.index,
            shards: self.shards,
            now: self.now,
            config: &self.config,
            users: &self.users,
            observatory: &self.observatory,
            scripting: &self.scripting,
        };
        let mut context = Context {
            client: &mut connection.client,
            core: &core,
        };
        let resp3 = context.client.resp3;
        let outcome = then(&mut context, answers, &mut Reply::new(&mut out, resp3));
        if let Err(error) = outcome {
            self.failed(command, &error, &mut out, 0);
        }
        self.ran_since(command, &args.args(connection.client.caller()), asked);
        self.note_tracking(&mut connection);
        match exec {
            Some(mut exec) => {
                let start = exec.out.len();
                exec.out.extend_from_slice(&out);
                exec.mute(connection.client.reply_mode, start);
                if let Some(held) = self.run_exec(&mut connection, exec) {
                    self.give_back(held);
                }
            }
            None => {
                connection.waiting = false;
                self.write_reply(&mut connection, |reply| {
                    reply.buffer().extend_from_slice(&out)
                });
                self.await_confirmation(&mut connection);
                if !connection.waiting {
                    self.resume(&mut connection);
                }
            }
        }
        self.put_back(connection);
    }
}
