//! nodes.conf: what a node knows of its cluster, as lines of text (specification, section 6; CLUSTER NODES, 8.2).
//!
//! ```text
//! <id> <ip>:<port>@<bus port>,[hostname],tls-port=0[,nodename=x],shard-id=<id> <flags> <primary|-> <ping> <pong>
//!      <epoch> <connected|disconnected>[ <slots>]...[ [<slot>->-<id>]]...[ [<slot>-<-<id>]]...
//! vars currentEpoch <n> lastVoteEpoch <n>
//! ```
//!
//! Text to values and back, and nothing else: files are the driver's. The same line without the fields behind the host name
//! is what clients read. A line that cannot be read stops a start, with its number and the reason: to guess at epochs and
//! votes is to risk voting twice. Fields of newer versions are passed over, where Redis stops.

use std::fmt;
use std::fmt::Write;

use super::address::{Address, IpText, is_hostname, is_node_name};
use super::flags::NodeFlags;
use super::node_id::NodeId;
use super::slots::SlotSet;
use crate::base::slot::{SLOTS, Slot};
use crate::base::words;

/// How far the bus is from the client port when the file does not say.
const BUS_PORT_OFFSET: u16 = 10000;

/// A whole file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NodesConf {
    /// All nodes, this one among them.
    pub nodes: Vec<NodeLine>,
    /// The highest epoch seen.
    pub current_epoch: u64,
    /// The epoch of the last vote given.
    pub last_vote_epoch: u64,
}

/// What is read besides: things that were passed over, for the log.
pub type Passed = Vec<String>;

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLine {
    /// Its name.
    pub id: NodeId,
    /// Where it is.
    pub address: Address,
    /// cluster-announce-hostname; empty if there is none.
    pub hostname: String,
    /// cluster-announce-human-nodename; empty if there is none.
    pub node_name: String,
    /// Its replica group; `None` in files before 7.2.
    pub shard_id: Option<NodeId>,
    /// What it is.
    pub flags: NodeFlags,
    /// Its primary.
    pub primary: Option<NodeId>,
    /// When the ping that has no answer yet was sent, Unix milliseconds; 0 if there is none.
    pub ping_sent_ms: i64,
    /// When it last answered, Unix milliseconds; 0 if never.
    pub pong_received_ms: i64,
    /// The epoch of its slots, or of its primary's.
    pub config_epoch: u64,
    /// Whether there is a link to it. Of no meaning in a file.
    pub is_connected: bool,
    /// Its slots.
    pub slots: SlotSet,
    /// Slots under way, on the line of this node alone.
    pub open: Vec<(Slot, Open)>,
}

/// A slot under way, as the line of this node has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Keys go to that node.
    MigratingTo(NodeId),
    /// Keys come from that node.
    ImportingFrom(NodeId),
}

/// Who reads a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// nodes.conf: with all fields. `tls` says whether the bus, and so the port in front, is TLS's.
    File {
        /// tls-cluster.
        tls: bool,
    },
    /// A client, which sees the port of its own kind of connection.
    Client {
        /// It came over TLS.
        tls: bool,
    },
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1; the last line's for what is missing in the file as a whole.
    pub line: usize,
    /// Why.
    pub reason: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "line {}: {}", self.line, self.reason)
    }
}

impl NodeLine {
    /// Appends the line, without its end.
    pub fn write(&self, to: &mut String, reader: Reader) {
        let (Reader::File { tls } | Reader::Client { tls }) = reader;
        let port = self.address.client_port(tls);
        let put = &mut *to;
        let _ = write!(
            put,
            "{} {}:{port}@{}",
            self.id, self.address.ip, self.address.bus_port
        );
        if reader == (Reader::File { tls }) {
            let (other, other_port) = match tls {
                true => ("tcp-port", self.address.port),
                false => ("tls-port", self.address.tls_port),
            };
            let _ = write!(put, ",{},{other}={other_port}", self.hostname);
            if !self.node_name.is_empty() {
                let _ = write!(put, ",nodename={}", self.node_name);
            }
            if let Some(shard_id) = self.shard_id {
                let _ = write!(put, ",shard-id={shard_id}");
            }
        } else if !self.hostname.is_empty() {
            let _ = write!(put, ",{}", self.hostname);
        }
        let _ = write!(put, " {} ", self.flags);
        match self.primary {
            Some(primary) => drop(write!(put, "{primary}")),
            None => put.push('-'),
        }
        let _ = write!(
            put,
            " {} {} {} {}",
            self.ping_sent_ms,
            self.pong_received_ms,
            self.config_epoch,
            if self.is_connected {
                "connected"
            } else {
                "disconnected"
            }
        );
        for (first, last) in self.slots.ranges() {
            let _ = match first == last {
                true => write!(put, " {first}"),
                false => write!(put, " {first}-{last}"),
            };
        }
        for (slot, open) in &self.open {
            let _ = match open {
                Open::MigratingTo(id) => write!(put, " [{slot}->-{id}]"),
                Open::ImportingFrom(id) => write!(put, " [{slot}-<-{id}]"),
            };
        }
    }
}

impl NodesConf {
    /// The file's text.
    pub fn to_text(&self, tls: bool) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            node.write(&mut text, Reader::File { tls });
            text.push('\n');
        }
        let _ = writeln!(
            text,
            "vars currentEpoch {} lastVoteEpoch {}",
            self.current_epoch, self.last_vote_epoch
        );
        text
    }

    /// Reads a file's text; `None` if it is empty, which is how a file looks before the first save.
    pub fn parse(text: &[u8], tls: bool) -> Result<Option<(Self, Passed)>, BadLine> {
        if text.is_empty() {
            return Ok(None);
        }
        let mut conf = NodesConf::default();
        let mut reading = Reading {
            tls,
            owned: SlotSet::default(),
            passed: Vec::new(),
        };
        let mut number = 0;
        for line in text.split(|byte| *byte == b'\n') {
            number += 1;
            reading.line(line, &mut conf).map_err(|reason| BadLine {
                line: number,
                reason,
            })?;
        }
        if !conf
            .nodes
            .iter()
            .any(|node| node.flags.has(NodeFlags::MYSELF))
        {
            return Err(BadLine {
                line: number,
                reason: "the file ends without a line for this node (flag \"myself\")".to_owned(),
            });
        }
        Ok(Some((conf, reading.passed)))
    }
}

/// What is remembered from line to line.
struct Reading {
    tls: bool,
    owned: SlotSet,
    passed: Passed,
}

impl Reading {
    fn line(&mut self, line: &[u8], conf: &mut NodesConf) -> Result<(), String> {
        // Blank lines are what Redis pads a file with that has become shorter.
        if words::trim(line).is_empty() {
            return Ok(());
        }
        let words = words::split(line).ok_or("a quote is not closed")?;
        let words: Vec<&str> = words
            .iter()
            .map(|word| std::str::from_utf8(word).map_err(|_| "not a text"))
            .collect::<Result<_, _>>()?;
        if words[0].eq_ignore_ascii_case("vars") {
            return self.vars(&words[1..], conf);
        }
        let node = self.node(&words)?;
        if node.flags.has(NodeFlags::MYSELF)
            && conf
                .nodes
                .iter()
                .any(|node| node.flags.has(NodeFlags::MYSELF))
        {
            return Err("a second line with the flag \"myself\"".to_owned());
        }
        if conf.nodes.iter().any(|known| known.id == node.id) {
            return Err(format!("a second line for node {}", node.id));
        }
        conf.nodes.push(node);
        Ok(())
    }

    fn vars(&mut self, words: &[&str], conf: &mut NodesConf) -> Result<(), String> {
        for pair in words.chunks(2) {
            let [name, value] = pair else {
                return Err(format!("\"{}\" without a value", pair[0]));
            };
            let epoch = || number::<u64>(value, u64::MAX, name);
            if name.eq_ignore_ascii_case("currentEpoch") {
                conf.current_epoch = epoch()?;
            } else if name.eq_ignore_ascii_case("lastVoteEpoch") {
                conf.last_vote_epoch = epoch()?;
            } else {
                self.passed.push(format!("variable \"{name}\""));
            }
        }
        Ok(())
    }

    fn node(&mut self, words: &[&str]) -> Result<NodeLine, String> {
        let [
            id,
            place,
            flags,
            primary,
            ping,
            pong,
            epoch,
            _link,
            slots @ ..,
        ] = words
        else {
            return Err(format!("{} fields, at least 8 are needed", words.len()));
        };
        let mut node = NodeLine {
            id: name(id)?,
            address: Address::NONE,
            hostname: String::new(),
            node_name: String::new(),
            shard_id: None,
            flags: NodeFlags::NONE,
            primary: match *primary {
                primary if primary.starts_with('-') => None,
                primary => Some(name(primary)?),
            },
            ping_sent_ms: number::<u64>(ping, i64::MAX as u64, "ping")? as i64,
            pong_received_ms: number::<u64>(pong, i64::MAX as u64, "pong")? as i64,
            config_epoch: number(epoch, u64::MAX, "epoch")?,
            is_connected: false,
            slots: SlotSet::default(),
            open: Vec::new(),
        };
        self.place(place, &mut node)?;
        for word in flags.split(',') {
            let found = NodeFlags::WORDS
                .iter()
                .find(|(_, known)| known.eq_ignore_ascii_case(word));
            match found {
                Some((flag, _)) => node.flags |= *flag,
                None if word.eq_ignore_ascii_case("noflags") => {}
                None => return Err(format!("unknown flag \"{word}\"")),
            }
        }
        for item in slots {
            self.slots(item, &mut node)?;
        }
        Ok(node)
    }

    /// `ip:port[@bus port][,hostname][,name=value]...`
    fn place(&mut self, text: &str, node: &mut NodeLine) -> Result<(), String> {
        let mut fields = text.split(',');
        let place = fields.next().expect("a split has a first part");
        let (ip, ports) = place
            .rsplit_once(':')
            .ok_or_else(|| format!("no port in \"{place}\""))?;
        let (port, bus_port) = match ports.split_once('@') {
            Some((port, bus_port)) => (port, Some(bus_port)),
            None => (ports, None),
        };
        let port = self::port(port)?;
        node.address.ip = IpText::new(ip).ok_or_else(|| format!("\"{ip}\" is no address"))?;
        node.address.bus_port = match bus_port {
            Some(bus_port) => self::port(bus_port)?,
            None => port
                .checked_add(BUS_PORT_OFFSET)
                .ok_or_else(|| format!("no room for a bus port above port {port}"))?,
        };
        let (mut plain_port, mut tls_port) = (None, None);
        let hostname = fields.next().unwrap_or_default();
        if !is_hostname(hostname.as_bytes()) {
            return Err(format!("\"{hostname}\" is no host name"));
        }
        node.hostname = hostname.to_owned();
        for field in fields {
            let (field, value) = field
                .split_once('=')
                .ok_or_else(|| format!("\"{field}\" is not name=value"))?;
            match field {
                "shard-id" => node.shard_id = Some(name(value)?),
                "nodename" if is_node_name(value.as_bytes()) => node.node_name = value.to_owned(),
                "nodename" => return Err(format!("\"{value}\" is no node name")),
                "tcp-port" => plain_port = Some(self::port(value)?),
                "tls-port" => tls_port = Some(self::port(value)?),
                _ => self.passed.push(format!("field \"{field}\"")),
            }
        }
        // The port in front is the one that no field names; of two fields both count.
        let front_is_tls = match (plain_port, tls_port) {
            (None, None) => self.tls,
            (plain, _) => plain.is_some(),
        };
        node.address.port = plain_port.unwrap_or(if front_is_tls { 0 } else { port });
        node.address.tls_port = tls_port.unwrap_or(if front_is_tls { port } else { 0 });
        Ok(())
    }

    fn slots(&mut self, item: &str, node: &mut NodeLine) -> Result<(), String> {
        if let Some(open) = item.strip_prefix('[') {
            let (slot, other) = open
                .strip_suffix(']')
                .and_then(|open| open.split_once('-'))
                .ok_or_else(|| format!("\"{item}\" is no slot under way"))?;
            let slot = self::slot(slot)?;
            let open = match (other.strip_prefix(">-"), other.strip_prefix("<-")) {
                (Some(to), _) => Open::MigratingTo(name(to)?),
                (_, Some(from)) => Open::ImportingFrom(name(from)?),
                _ => return Err(format!("\"{item}\" is no slot under way")),
            };
            node.open.push((slot, open));
            return Ok(());
        }
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        for slot in self::slot(first)?..=self::slot(last)? {
            if !self.owned.insert(slot) {
                return Err(format!("slot {slot} has two owners"));
            }
            node.slots.insert(slot);
        }
        Ok(())
    }
}

fn name(text: &str) -> Result<NodeId, String> {
    NodeId::parse(text.as_bytes()).ok_or_else(|| format!("\"{text}\" is no node id"))
}

fn port(text: &str) -> Result<u16, String> {
    number::<u16>(text, u16::MAX.into(), "port")
}

fn slot(text: &str) -> Result<Slot, String> {
    number::<Slot>(text, SLOTS as u64 - 1, "slot")
}

fn number<N: TryFrom<u64>>(text: &str, max: u64, what: &str) -> Result<N, String> {
    text.parse::<u64>()
        .ok()
        .filter(|number| *number <= max)
        .and_then(|number| N::try_from(number).ok())
        .ok_or_else(|| format!("{what} \"{text}\" is not a number from 0 to {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn read(text: &str) -> (NodesConf, Passed) {
        NodesConf::parse(text.as_bytes(), false).unwrap().unwrap()
    }

    #[test]
    fn a_file_of_7_2_comes_back_to_the_byte() {
        let text = format!(
            "{A} 127.0.0.1:7000@17000,,tls-port=0,shard-id={B} myself,master - 0 1700000000123 3 connected 0-5460 7000 [7000->-{B}] [7001-<-{B}]\n\
             {B} ::1:7001@17001,host-b.example,tls-port=7101,nodename=east,shard-id={A} slave,fail?,nofailover {A} 5 6 3 disconnected\n\
             vars currentEpoch 6 lastVoteEpoch 4\n"
        );
        let (mut conf, passed) = read(&text);
        assert!(passed.is_empty());
        assert_eq!((conf.current_epoch, conf.last_vote_epoch), (6, 4));
        let [a, b] = &mut conf.nodes[..] else {
            panic!("two nodes");
        };
        assert_eq!(a.slots.ranges(), [(0, 5460), (7000, 7000)]);
        let b_id = NodeId::parse(B.as_bytes()).unwrap();
        assert_eq!(
            a.open,
            [
                (7000, Open::MigratingTo(b_id)),
                (7001, Open::ImportingFrom(b_id))
            ]
        );
        assert_eq!(b.address.ip.as_str(), "::1");
        assert_eq!((b.address.port, b.address.tls_port), (7001, 7101));
        a.is_connected = true;
        assert_eq!(conf.to_text(false), text);
    }

    #[test]
    fn a_file_of_7_0_has_no_fields_behind_the_host_name() {
        let text = format!(
            "\n{A} :0@0 myself,master - 0 0 0 connected\n\nvars currentEpoch 0 lastVoteEpoch 0 color red\n\n"
        );
        let (conf, passed) = read(&text);
        assert_eq!(conf.nodes[0].shard_id, None);
        assert!(conf.nodes[0].address.ip.is_empty());
        assert_eq!(passed, ["variable \"color\""]);
        let old = format!("{A} 10.0.0.1:7000 myself,master - 0 0 0 connected\n");
        assert_eq!(read(&old).0.nodes[0].address.bus_port, 17000);
        let valkey = format!(
            "{A} 1.1.1.1:1@2,,tls-port=0,zone=x,shard-id={B} myself,master - 0 0 0 connected\n"
        );
        assert_eq!(read(&valkey).1, ["field \"zone\""]);
    }

    #[test]
    fn a_cluster_over_tls_has_its_tls_port_in_front() {
        let text =
            format!("{A} 1.1.1.1:7100@17100,,tcp-port=7000 myself,master - 0 0 0 connected\n");
        let (conf, _) = NodesConf::parse(text.as_bytes(), true).unwrap().unwrap();
        let address = conf.nodes[0].address;
        assert_eq!((address.port, address.tls_port), (7000, 7100));
        assert!(
            conf.to_text(true)
                .starts_with(&format!("{A} 1.1.1.1:7100@17100,,tcp-port=7000 "))
        );
    }

    #[test]
    fn an_empty_file_is_one_before_the_first_save() {
        assert_eq!(NodesConf::parse(b"", false), Ok(None));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_with_its_reason() {
        let me = format!("{A} 1.1.1.1:1@2 myself,master - 0 0 0 connected");
        for (line, reason) in [
            ("short - line", "3 fields, at least 8 are needed"),
            (
                "x 1.1.1.1:1@2 master - 0 0 0 connected",
                "\"x\" is no node id",
            ),
            (
                &format!("{B} 1.1.1.1 master - 0 0 0 connected"),
                "no port in \"1.1.1.1\"",
            ),
            (
                &format!("{B} 1.1.1.1:99999@1 master - 0 0 0 connected"),
                "port \"99999\" is not a number from 0 to 65535",
            ),
            (
                &format!("{B} 1.1.1.1:1@2 chief - 0 0 0 connected"),
                "unknown flag \"chief\"",
            ),
            (
                &format!("{B} 1.1.1.1:1@2 slave {B}x 0 0 0 connected"),
                &format!("\"{B}x\" is no node id"),
            ),
            (
                &format!("{B} 1.1.1.1:1@2 master - 0 0 0 connected 16384"),
                "slot \"16384\" is not a number from 0 to 16383",
            ),
            (
                &format!("{B} 1.1.1.1:1@2 master - 0 0 0 connected 5 1-9"),
                "slot 5 has two owners",
            ),
            (
                &format!("{B} 1.1.1.1:1@2 master - 0 0 0 connected [5=x]"),
                "\"[5=x]\" is no slot under way",
            ),
            (
                &format!("{B} 1.1.1.1:1@2,a_b master - 0 0 0 connected"),
                "\"a_b\" is no host name",
            ),
            (
                &format!("{B} 1.1.1.1:1@2,,shard-id master - 0 0 0 connected"),
                "\"shard-id\" is not name=value",
            ),
            (&me, "a second line with the flag \"myself\""),
            ("vars currentEpoch", "\"currentEpoch\" without a value"),
            (
                "vars currentEpoch -1",
                "currentEpoch \"-1\" is not a number from 0 to 18446744073709551615",
            ),
            ("\"", "a quote is not closed"),
        ] {
            let bad = NodesConf::parse(format!("{me}\n\n{line}\n").as_bytes(), false).unwrap_err();
            assert_eq!((bad.line, &*bad.reason), (3, reason));
        }
        let nobody = format!("{A} 1.1.1.1:1@2 master - 0 0 0 connected\n");
        let bad = NodesConf::parse(nobody.as_bytes(), false).unwrap_err();
        assert_eq!(
            bad.to_string(),
            "line 2: the file ends without a line for this node (flag \"myself\")"
        );
    }
}
