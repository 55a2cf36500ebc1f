//! A line of CLIENT LIST, and a core's answer to who lists its clients.

use crate::command::client::Client;
use crate::mesh::message::ClientFilter;
use crate::pubsub::Topic;

/// What a core knows of a connection beyond what commands remember of its client.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionFacts {
    /// Bytes of input that wait to be parsed.
    pub input_bytes: usize,
    /// Bytes free in the input buffer.
    pub input_free: usize,
    /// Bytes of arguments of an unfinished request.
    pub argument_bytes: usize,
    /// Size of the output buffer in bytes, and its largest use of late.
    pub output_capacity: usize,
    /// See above.
    pub output_peak: usize,
    /// Bytes of replies that wait to be sent.
    pub output_bytes: usize,
    /// Blocks of replies that wait, when they are many, and the memory they take.
    pub output_blocks: usize,
    /// See above.
    pub output_queued: usize,
    /// Bytes of memory for the connection in all.
    pub total_bytes: usize,
    /// A reply waits for the socket to take it.
    pub sending: bool,
    /// Waits in a blocking command.
    pub blocked: bool,
    /// Closes once what is written is sent, or as soon as can be.
    pub closing: bool,
}

/// One line, its end included.
pub fn client_line(client: &Client, facts: &ConnectionFacts, now_ms: i64) -> Vec<u8> {
    let mut line = format!(
        "id={} addr={} laddr={} fd={} name=",
        client.id, client.peer, client.local, client.fd
    )
    .into_bytes();
    line.extend(&client.name);
    let seconds = |since_ms: i64| (now_ms / 1000 - since_ms / 1000).max(0);
    let (multi, multi_bytes) = match &client.multi {
        Some(multi) => (multi.queue.len() as i64, multi.bytes),
        None => (-1, 0),
    };
    let tracking = client.tracking.as_ref();
    line.extend(
        format!(
            " age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={multi} qbuf={} qbuf-free={} argv-mem={} \
             multi-mem={multi_bytes} rbs={} rbp={} obl={} oll={} omem={} tot-mem={} events={} cmd={} user={} redir={} \
             resp={} lib-name=",
            seconds(client.created_ms),
            seconds(client.active_ms),
            flags(client, facts),
            client.db,
            client.subscriptions(Topic::Channel),
            client.subscriptions(Topic::Pattern),
            client.subscriptions(Topic::Shard),
            facts.input_bytes,
            facts.input_free,
            facts.argument_bytes,
            facts.output_capacity,
            facts.output_peak,
            facts.output_bytes,
            facts.output_blocks,
            facts.output_queued,
            facts.total_bytes,
            if facts.sending { "rw" } else { "r" },
            client.last_command.map_or("NULL", |command| &command.name),
            String::from_utf8_lossy(client.user.name()),
            tracking.map_or(-1, |tracking| tracking.redirect as i64),
            if client.resp3 { 3 } else { 2 },
        )
        .into_bytes(),
    );
    line.extend(&client.lib_name);
    line.extend(b" lib-ver=");
    line.extend(&client.lib_version);
    line.push(b'\n');
    line
}

/// The letters of `flags=`, in Redis's order.
fn flags(client: &Client, facts: &ConnectionFacts) -> String {
    let broken = client
        .watching
        .as_ref()
        .is_some_and(|watching| watching.token.is_broken());
    let tracking = client.tracking.as_ref();
    let letters = [
        (client.primary, 'M'),
        (client.is_replica, 'S'),
        (client.monitor, 'O'),
        (client.subscribed, 'P'),
        (client.multi.is_some(), 'x'),
        (facts.blocked, 'b'),
        (tracking.is_some(), 't'),
        (tracking.is_some_and(|tracking| tracking.broken), 'R'),
        (tracking.is_some_and(|tracking| tracking.bcast), 'B'),
        (broken, 'd'),
        (facts.closing || client.closing, 'c'),
        (client.unix, 'U'),
        (client.no_evict, 'e'),
        (client.no_touch, 'T'),
    ];
    let set: String = letters
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, letter)| letter)
        .collect();
    if set.is_empty() { "N".into() } else { set }
}

/// Adds to `lines` what a core answers about one of its clients: nothing when `filter` does not take it. Lines come in
/// the order of ids, or in the order in which the filter names them, as often as it does.
pub fn list_lines(
    client: &Client,
    facts: &ConnectionFacts,
    filter: &ClientFilter,
    now_ms: i64,
    lines: &mut Vec<(u64, Vec<u8>)>,
) {
    if !client.fits(filter) {
        return;
    }
    let line = client_line(client, facts, now_ms);
    if filter.ids.is_empty() {
        lines.push((client.id, line));
        return;
    }
    for (place, id) in filter.ids.iter().enumerate() {
        if *id == client.id {
            lines.push((place as u64, line.clone()));
        }
    }
}
