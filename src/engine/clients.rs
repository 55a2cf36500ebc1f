//! Memory of clients: what each takes, and closing the largest while all together take more than `maxmemory-clients`.
//!
//! Each core counts its own and publishes the sum and the size class of its largest client, sizes being told apart by
//! powers of two as in Redis. The core whose largest client is in the highest class (the first of several) closes it,
//! looks again, and calls the next core when that one has the largest. Without a limit a connection is counted when the
//! tick comes round to it, for INFO; with one, after every piece of work on it.

use std::collections::BTreeSet;

use crate::command::connection::client_line;
use crate::command::server::client_classes::{CLIENT_CLASSES, class_of};
use crate::config::{ClientMemory, Config};
use crate::mesh::Place;
use crate::mesh::message::{ClientKind, CoreMessage};
use crate::net::Connection;

use super::core::Core;

/// A lower limit would keep everybody from talking to the server.
const LIMIT_MIN: u64 = 128 * 1024;

/// What a core counts of its clients.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// Bytes for the clients of all cores; zero for no limit.
    limit: u64,
    /// Bytes that this core's clients take.
    bytes: u64,
    /// Clients that may be closed, by size class and place; empty without a limit.
    by_class: BTreeSet<(u8, u32)>,
    /// When another core was called last, Unix milliseconds.
    called_ms: i64,
}

impl Clients {
    /// Whether clients are counted after every piece of work.
    #[inline]
    pub fn are_limited(&self) -> bool {
        self.limit > 0
    }
}

/// Bytes that all clients may take; zero for no limit.
fn limit_of(config: &Config) -> u64 {
    let limit = match config.maxmemory_clients {
        ClientMemory::Bytes(bytes) => bytes,
        ClientMemory::Percent(percent) => {
            (u128::from(config.maxmemory) * u128::from(percent) / 100) as u64
        }
    };
    if limit == 0 { 0 } else { limit.max(LIMIT_MIN) }
}

impl Core {
    /// Takes over the limit that the configuration says. With a first one, everybody is counted.
    pub(super) fn client_memory_configured(&mut self) {
        let was_limited = self.clients.are_limited();
        self.clients.limit = limit_of(&self.config);
        if was_limited != self.clients.are_limited() {
            self.count_all_clients();
        }
        self.limit_clients();
    }

    fn count_all_clients(&mut self) {
        for index in 0..self.connections.len() {
            if let Some(mut connection) = self.connections[index].take() {
                self.count_client(&mut connection);
                self.connections[index] = Some(connection);
            }
        }
    }

    /// Counts what a connection takes now.
    pub(super) fn count_client(&mut self, connection: &mut Connection) {
        if connection.closed {
            return;
        }
        let bytes = connection.memory() as u64;
        let client = &connection.client;
        let may_be_closed = self.clients.are_limited()
            && !client.no_evict
            && matches!(client.kind(), ClientKind::Normal | ClientKind::PubSub);
        let class = may_be_closed.then(|| class_of(bytes));
        self.set_counted(connection, bytes, class);
    }

    /// A connection ends: it takes nothing any more.
    pub(super) fn discount_client(&mut self, connection: &mut Connection) {
        self.set_counted(connection, 0, None);
    }

    fn set_counted(&mut self, connection: &mut Connection, bytes: u64, class: Option<u8>) {
        let counted = &mut connection.counted;
        if counted.class != class {
            let index = connection.place.index;
            if let Some(old) = counted.class {
                self.clients.by_class.remove(&(old, index));
            }
            if let Some(new) = class {
                self.clients.by_class.insert((new, index));
            }
            counted.class = class;
            let largest = self.clients.by_class.last();
            let largest = largest.map_or(0, |(class, _)| u64::from(*class) + 1);
            self.observatory
                .core(self.index)
                .largest_client
                .set(largest);
        }
        if counted.bytes != bytes {
            self.clients.bytes = self.clients.bytes - counted.bytes + bytes;
            counted.bytes = bytes;
            self.observatory
                .core(self.index)
                .client_bytes
                .set(self.clients.bytes);
        }
    }

    /// How many clients may be closed of each size class, and the bytes they take.
    pub(super) fn client_classes(&self) -> Vec<(usize, u64)> {
        let mut classes = vec![(0, 0); usize::from(CLIENT_CLASSES)];
        for (class, index) in &self.clients.by_class {
            let (clients, bytes) = &mut classes[usize::from(*class)];
            *clients += 1;
            let connection = self.connections[*index as usize].as_ref();
            *bytes += connection.map_or(0, |connection| connection.counted.bytes);
        }
        classes
    }

    /// Closes the largest clients while all take more than they may.
    pub(super) fn limit_clients(&mut self) {
        while self.clients.are_limited()
            && self.observatory.sum(|core| core.client_bytes.get()) > self.clients.limit
        {
            let cores = self.observatory.cores().iter();
            let largest = cores
                .enumerate()
                .map(|(index, core)| (core.largest_client.get(), std::cmp::Reverse(index)))
                .max();
            match largest {
                Some((class, std::cmp::Reverse(index))) if class > 0 => {
                    if index != self.index {
                        self.call_to_limit_clients(index);
                        return;
                    }
                }
                _ => return, // nobody is left who may be closed
            }
            let Some(&(_, index)) = self.clients.by_class.last() else {
                return;
            };
            let place = Place {
                index,
                generation: self.generations[index as usize],
            };
            let Some(mut connection) = self.take_connection(place) else {
                return;
            };
            let line = client_line(&connection.client, &connection.facts(), self.now);
            log::info!(
                "Evicting client: {}",
                String::from_utf8_lossy(&line).trim_end()
            );
            self.counters().evicted_clients.add(1);
            self.shut_down(&mut connection);
            self.put_back(connection);
        }
    }

    /// Another core has the largest client: it looks when it is awake, which it does after every turn's work.
    fn call_to_limit_clients(&mut self, core: usize) {
        if self.clients.called_ms != self.now {
            self.clients.called_ms = self.now;
            self.links.core(core).mail(CoreMessage::Evict);
            self.wake(core);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_bytes_or_a_part_of_maxmemory_and_never_tiny() {
        let with = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(&[u8], &[u8])> = pairs
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
                .collect();
            let context = crate::config::SetContext {
                client_is_local: true,
                loading: false,
            };
            limit_of(&Config::default().set(&pairs, context).unwrap().config)
        };
        assert_eq!(with(&[]), 0);
        assert_eq!(with(&[("maxmemory-clients", "3mb")]), 3 << 20);
        assert_eq!(with(&[("maxmemory-clients", "1")]), LIMIT_MIN);
        assert_eq!(with(&[("maxmemory-clients", "7%")]), 0);
        assert_eq!(
            with(&[("maxmemory-clients", "7%"), ("maxmemory", "100mb")]),
            (100 << 20) * 7 / 100
        );
    }
}
