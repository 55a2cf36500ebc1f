//! What a replica says to its primary until a full copy or the stream comes: a state machine over lines (spec:
//! replication, section 2). It sends nothing itself.

use super::history::Replid;
use crate::base::number::parse_i64;

/// What the conversation depends on.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The user to authenticate as; empty for the default user.
    pub user: Vec<u8>,
    /// The password; empty for none.
    pub password: Vec<u8>,
    /// The port that the primary lists for this replica.
    pub port: u16,
    /// The address that it lists; empty for that of the connection.
    pub address: Vec<u8>,
    /// Name of the history at hand, and the number of the first byte of it that is missing.
    pub position: Option<(Replid, u64)>,
    /// The other end is to become the primary of this server.
    pub failover: bool,
    /// Of so many parallel flows use can be made; 0 asks for none.
    pub flows: u16,
}

/// How the capability begins by which a replica asks for flows; their number follows. Others pass over it.
pub const FLOWS: &[u8] = b"flows:";
/// The word behind the reply to PSYNC that offers them; their number and a name follow.
pub const OFFER: &str = "FLOWS";
/// What PSYNC asks for to be given one of them: the name follows, the number is in the place of the offset.
pub const FLOW_OF: &[u8] = b"flow-of:";

/// Flows that a primary has offered. The stream comes in frames then, whether they are made or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// How many.
    pub flows: u16,
    /// The name to ask for them by.
    pub name: Replid,
}

impl Offer {
    /// What is said of it behind the reply to PSYNC.
    pub fn words(&self) -> String {
        format!(" {OFFER} {} {}", self.flows, self.name)
    }

    /// The request for one of them.
    pub fn request(&self, number: u16) -> Vec<u8> {
        let name = [FLOW_OF, self.name.as_bytes()].concat();
        command(&[b"PSYNC", &name, number.to_string().as_bytes()])
    }

    fn parse<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Option<Offer> {
        words.find(|word| *word == OFFER.as_bytes())?;
        let flows = words.next().and_then(parse_i64)?;
        let flows = u16::try_from(flows).ok().filter(|flows| *flows > 0)?;
        let name = words.next().and_then(Replid::parse)?;
        Some(Offer { flows, name })
    }
}

/// What the primary will send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// The stream from the asked position on, of a history that may bear another name now.
    Continue(Option<Replid>),
    /// A full copy, then the stream of this history from this offset on.
    Full(Replid, u64),
    /// A full copy of a primary that says nothing of histories.
    Legacy,
}

/// What is to be done after a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// Bytes to send.
    pub send: Vec<u8>,
    /// The conversation is over.
    pub begins: Option<Beginning>,
}

impl Next {
    const WAIT: Next = Next {
        send: Vec::new(),
        begins: None,
    };

    fn send(send: Vec<u8>) -> Next {
        Next { send, begins: None }
    }

    fn begin(beginning: Beginning) -> Next {
        Next {
            send: Vec::new(),
            begins: Some(beginning),
        }
    }
}

/// Why it is given up, for the log; it is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is logged.
    pub text: String,
    /// The primary cannot yet answer, which is nothing to worry about.
    pub is_passing: bool,
}

/// A step whose reply is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Await {
    Ping,
    Auth,
    /// A REPLCONF, by the name of its option; a refusal is not critical.
    Option(&'static str),
    Psync,
}

/// The conversation.
#[derive(Debug)]
pub struct Handshake {
    settings: Settings,
    /// Replies that are missing, the next one at the end.
    awaits: Vec<Await>,
    offer: Option<Offer>,
}

/// A request as it goes over the wire.
pub fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        bytes.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

impl Handshake {
    /// A conversation, and the bytes that begin it.
    pub fn begin(settings: Settings) -> (Self, Vec<u8>) {
        let handshake = Handshake {
            settings,
            awaits: vec![Await::Ping],
            offer: None,
        };
        (handshake, command(&[b"PING"]))
    }

    /// The flows that the primary has offered with its reply to PSYNC.
    pub fn offer(&self) -> Option<Offer> {
        self.offer
    }

    /// Whether PSYNC is what is answered next.
    pub fn is_at_the_end(&self) -> bool {
        self.awaits.last() == Some(&Await::Psync)
    }

    /// A line has come, without its end; an empty one only says that the primary is alive.
    ///
    /// # Errors
    /// When the conversation is over without a result.
    pub fn on_line(&mut self, line: &[u8]) -> Result<Next, Refused> {
        let Some(await_for) = self.awaits.last().copied() else {
            return Ok(Next::WAIT);
        };
        if line.is_empty() {
            return Ok(Next::WAIT);
        }
        if await_for != Await::Psync {
            self.awaits.pop();
        }
        let shown = || String::from_utf8_lossy(line).into_owned();
        let fatal = |text: String| {
            Err(Refused {
                text,
                is_passing: false,
            })
        };
        let is_error = line[0] == b'-';
        match await_for {
            Await::Ping => {
                let tolerated: [&[u8]; 3] =
                    [b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted"];
                if line[0] != b'+' && !tolerated.iter().any(|start| line.starts_with(start)) {
                    return fatal(format!("Error reply to PING from master: '{}'", shown()));
                }
                log::info!("Master replied to PING, replication can continue...");
                let mut send = self.introduce();
                if self.awaits.is_empty() {
                    send.extend(self.psync());
                }
                return Ok(Next::send(send));
            }
            Await::Auth if is_error => {
                return fatal(format!("Unable to AUTH to MASTER: {}", shown()));
            }
            Await::Option(name) if is_error => {
                log::info!(
                    "(Non critical) Master does not understand REPLCONF {name}: {}",
                    shown()
                );
            }
            Await::Auth | Await::Option(_) => {}
            Await::Psync => return self.on_psync_reply(line),
        }
        if self.awaits.is_empty() {
            return Ok(Next::send(self.psync()));
        }
        Ok(Next::WAIT)
    }

    /// Everything between PING and PSYNC, sent in one piece.
    fn introduce(&mut self) -> Vec<u8> {
        let settings = &self.settings;
        let mut send = Vec::new();
        let mut awaits = Vec::new();
        if !settings.password.is_empty() {
            let mut parts: Vec<&[u8]> = vec![b"AUTH"];
            if !settings.user.is_empty() {
                parts.push(&settings.user);
            }
            parts.push(&settings.password);
            send.extend(command(&parts));
            awaits.push(Await::Auth);
        }
        let port = settings.port.to_string();
        send.extend(command(&[b"REPLCONF", b"listening-port", port.as_bytes()]));
        awaits.push(Await::Option("listening-port"));
        if !settings.address.is_empty() {
            send.extend(command(&[b"REPLCONF", b"ip-address", &settings.address]));
            awaits.push(Await::Option("ip-address"));
        }
        let flows = [FLOWS, settings.flows.to_string().as_bytes()].concat();
        let mut capabilities: Vec<&[u8]> = vec![b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"];
        if settings.flows > 0 {
            capabilities.extend([&b"capa"[..], &flows]);
        }
        send.extend(command(&capabilities));
        awaits.push(Await::Option("capa"));
        awaits.reverse();
        self.awaits = awaits;
        send
    }

    fn psync(&mut self) -> Vec<u8> {
        self.awaits.push(Await::Psync);
        match self.settings.position {
            Some((id, from)) => {
                log::info!("Trying a partial resynchronization (request {id}:{from}).");
                let from = from.to_string();
                let mut parts: Vec<&[u8]> = vec![b"PSYNC", id.as_bytes(), from.as_bytes()];
                if self.settings.failover {
                    log::info!("Failover to the new primary is asked for with this PSYNC");
                    parts.push(b"FAILOVER");
                }
                command(&parts)
            }
            None => {
                log::info!("Partial resynchronization not possible (no cached master)");
                command(&[b"PSYNC", b"?", b"-1"])
            }
        }
    }

    fn on_psync_reply(&mut self, line: &[u8]) -> Result<Next, Refused> {
        let shown = String::from_utf8_lossy(line);
        if line.starts_with(b"-NOMASTERLINK") || line.starts_with(b"-LOADING") {
            return Err(Refused {
                text: format!(
                    "Master is currently unable to PSYNC but should be in the future: {shown}"
                ),
                is_passing: true,
            });
        }
        if self.settings.failover && line[0] == b'-' {
            return Err(Refused {
                text: format!("The failover target has answered PSYNC by {shown}"),
                is_passing: false,
            });
        }
        if let Some(rest) = line.strip_prefix(b"+FULLRESYNC") {
            let mut words = rest
                .split(|byte| *byte == b' ')
                .filter(|word| !word.is_empty());
            let id = words.next().and_then(Replid::parse);
            let offset = words.next().and_then(parse_i64);
            self.offer = Offer::parse(words);
            return match (id, offset.and_then(|offset| u64::try_from(offset).ok())) {
                (Some(id), Some(offset)) => {
                    log::info!("Full resync from master: {id}:{offset}");
                    Ok(Next::begin(Beginning::Full(id, offset)))
                }
                _ => Err(Refused {
                    text: format!("Master replied with wrong +FULLRESYNC syntax: {shown}"),
                    is_passing: false,
                }),
            };
        }
        if let Some(rest) = line.strip_prefix(b"+CONTINUE") {
            if self.settings.position.is_none() {
                return Err(Refused {
                    text: "Master wants to continue a history that was not asked for".to_owned(),
                    is_passing: false,
                });
            }
            let mut words = rest
                .split(|byte| *byte == b' ')
                .filter(|word| !word.is_empty());
            let id = words.next().and_then(Replid::parse);
            self.offer = Offer::parse(words);
            return Ok(Next::begin(Beginning::Continue(id)));
        }
        if line[0] == b'-' {
            log::info!("Master does not support PSYNC or is in error state (reply: {shown})");
        } else {
            log::warn!("Unexpected reply to PSYNC from master: {shown}");
        }
        log::info!("Retrying with SYNC...");
        Ok(Next {
            send: b"SYNC\r\n".to_vec(),
            begins: Some(Beginning::Legacy),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: u8) -> Replid {
        Replid::parse(&[digit; 40]).unwrap()
    }

    fn settings() -> Settings {
        Settings {
            port: 22010,
            position: Some((id(b'a'), 101)),
            ..Settings::default()
        }
    }

    /// Up to the PSYNC, all replies being as wanted.
    fn at_psync(settings: Settings) -> (Handshake, Vec<u8>) {
        let (mut handshake, _) = Handshake::begin(settings);
        let mut sent = handshake.on_line(b"+PONG").unwrap().send;
        while handshake.awaits != [Await::Psync] {
            sent = handshake.on_line(b"+OK").unwrap().send;
        }
        (handshake, sent)
    }

    #[test]
    fn the_bytes_are_those_of_redis() {
        let (mut handshake, ping) = Handshake::begin(settings());
        assert_eq!(ping, b"*1\r\n$4\r\nPING\r\n");
        let next = handshake.on_line(b"+PONG").unwrap();
        assert_eq!(
            String::from_utf8(next.send).unwrap(),
            "*3\r\n$8\r\nREPLCONF\r\n$14\r\nlistening-port\r\n$5\r\n22010\r\n\
             *5\r\n$8\r\nREPLCONF\r\n$4\r\ncapa\r\n$3\r\neof\r\n$4\r\ncapa\r\n$6\r\npsync2\r\n"
        );
        assert_eq!(handshake.on_line(b"+OK").unwrap(), Next::WAIT);
        assert_eq!(handshake.on_line(b"").unwrap(), Next::WAIT);
        let next = handshake.on_line(b"-ERR unknown option").unwrap();
        let expected = command(&[b"PSYNC", id(b'a').as_bytes(), b"101"]);
        assert_eq!(next, Next::send(expected));
    }

    #[test]
    fn a_password_goes_first_and_its_refusal_ends_the_conversation() {
        let with_password = Settings {
            user: b"repl".to_vec(),
            password: b"secret".to_vec(),
            address: b"10.0.0.1".to_vec(),
            ..settings()
        };
        let (mut handshake, _) = Handshake::begin(with_password);
        let next = handshake
            .on_line(b"-NOAUTH Authentication required.")
            .unwrap();
        assert!(
            next.send
                .starts_with(b"*3\r\n$4\r\nAUTH\r\n$4\r\nrepl\r\n$6\r\nsecret\r\n")
        );
        assert_eq!(handshake.awaits.len(), 4);
        let refused = handshake.on_line(b"-WRONGPASS no").unwrap_err();
        assert_eq!(refused.text, "Unable to AUTH to MASTER: -WRONGPASS no");
    }

    #[test]
    fn a_primary_that_loads_is_asked_again_later() {
        let (mut handshake, _) = Handshake::begin(settings());
        assert!(handshake.on_line(b"-LOADING wait").is_err());
        let (mut handshake, _) = at_psync(settings());
        let refused = handshake.on_line(b"-NOMASTERLINK Can't SYNC").unwrap_err();
        assert!(refused.is_passing);
    }

    #[test]
    fn replies_to_psync_begin_what_they_say() {
        let reply = |line: &str| {
            let (mut handshake, _) = at_psync(settings());
            handshake.on_line(line.as_bytes())
        };
        let full = format!("+FULLRESYNC {} 42", id(b'b'));
        assert_eq!(
            reply(&full).unwrap().begins,
            Some(Beginning::Full(id(b'b'), 42))
        );
        let other = format!("+CONTINUE {}", id(b'b'));
        let continues = |with| Some(Beginning::Continue(with));
        assert_eq!(reply(&other).unwrap().begins, continues(Some(id(b'b'))));
        assert_eq!(reply("+CONTINUE").unwrap().begins, continues(None));
        for wrong in ["+FULLRESYNC x 1", "+FULLRESYNC", "+FULLRESYNC ? -1"] {
            assert!(reply(wrong).is_err(), "{wrong}");
        }
        let next = reply("-ERR unknown command").unwrap();
        assert_eq!(
            (&next.send[..], next.begins),
            (&b"SYNC\r\n"[..], Some(Beginning::Legacy))
        );
    }

    #[test]
    fn flows_are_asked_for_as_a_capability_and_offered_behind_the_reply() {
        let with_flows = Settings {
            flows: 4,
            ..settings()
        };
        let (mut handshake, _) = Handshake::begin(with_flows.clone());
        let sent = handshake.on_line(b"+PONG").unwrap().send;
        assert!(sent.ends_with(b"$6\r\npsync2\r\n$4\r\ncapa\r\n$7\r\nflows:4\r\n"));
        let offer = Offer {
            flows: 3,
            name: id(b'c'),
        };
        let (offered, words) = (Some(offer), offer.words());
        for (line, expected) in [
            (format!("+CONTINUE {}{words}", id(b'b')), offered),
            (format!("+FULLRESYNC {} 42{words}", id(b'b')), offered),
            (format!("+CONTINUE {}", id(b'b')), None),
            (format!("+CONTINUE {} FLOWS 0 {}", id(b'b'), id(b'c')), None),
            (format!("+FULLRESYNC {} 42 FLOWS 3", id(b'b')), None),
        ] {
            let (mut handshake, _) = at_psync(with_flows.clone());
            assert!(handshake.on_line(line.as_bytes()).unwrap().begins.is_some());
            assert_eq!(handshake.offer(), expected, "{line}");
        }
    }

    #[test]
    fn nobody_continues_what_was_not_asked_for() {
        let (mut handshake, sent) = at_psync(Settings::default());
        assert_eq!(sent, b"*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n");
        assert!(handshake.on_line(b"+CONTINUE").is_err());
    }

    #[test]
    fn a_failover_says_so_and_takes_no_for_an_answer() {
        let failover = Settings {
            failover: true,
            ..settings()
        };
        let (mut handshake, sent) = at_psync(failover);
        assert!(sent.starts_with(b"*4\r\n$5\r\nPSYNC\r\n") && sent.ends_with(b"FAILOVER\r\n"));
        assert!(handshake.on_line(b"-ERR no").is_err());
    }
}
