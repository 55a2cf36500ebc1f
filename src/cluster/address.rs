//! Where a node is: its address as text with room for any IPv6 address, and its ports.
//!
//! Address and names come from other nodes and go into a file of lines and words, so text that would break a line is
//! refused where it enters.

use std::fmt;

/// Bytes that the wire has for an address as text, its end included.
pub const IP_BYTES: usize = 46;

/// Longest host name, without its end: RFC 1035 as Redis counts it.
pub const HOSTNAME_BYTES_MAX: usize = 255;

/// Longest human name of a node that is kept, bytes.
pub const NODE_NAME_BYTES_MAX: usize = 255;

/// An address as text, `127.0.0.1` or `::1`; empty when it is not known. `cluster-announce-ip` may be any word.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpText {
    bytes: [u8; IP_BYTES],
    length: u8,
}

impl IpText {
    /// No address.
    pub const EMPTY: IpText = IpText {
        bytes: [0; IP_BYTES],
        length: 0,
    };

    /// The address `text`; `None` if it is too long, or holds what no address holds.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let fits = text.len() < IP_BYTES && text.iter().copied().all(is_address_byte);
        fits.then(|| {
            let mut bytes = [0; IP_BYTES];
            bytes[..text.len()].copy_from_slice(text);
            IpText {
                bytes,
                length: text.len() as u8,
            }
        })
    }

    /// The address in a field of the wire: up to the first zero byte. `None` as in [`IpText::new`].
    pub fn from_wire(field: &[u8; IP_BYTES]) -> Option<Self> {
        let end = field.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&field[..end])
            .ok()
            .and_then(IpText::new)
    }

    /// The field of the wire.
    pub fn to_wire(&self) -> &[u8; IP_BYTES] {
        &self.bytes
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)])
            .expect("only ASCII goes into an address")
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl fmt::Display for IpText {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.as_str())
    }
}

impl fmt::Debug for IpText {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.as_str())
    }
}

/// A literal IPv4 or IPv6 address in its usual form, as CLUSTER MEET takes it.
pub fn literal(text: &[u8]) -> Option<IpText> {
    let text = std::str::from_utf8(text).ok()?;
    let address: core::net::IpAddr = text.parse().ok()?;
    IpText::new(&address.to_string())
}

/// Address and ports of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// The address.
    pub ip: IpText,
    /// Port for clients without TLS, 0 if there is none.
    pub port: u16,
    /// Port for clients with TLS, 0 if there is none.
    pub tls_port: u16,
    /// Port of the bus.
    pub bus_port: u16,
}

impl Address {
    /// Nowhere.
    pub const NONE: Address = Address {
        ip: IpText::EMPTY,
        port: 0,
        tls_port: 0,
        bus_port: 0,
    };

    /// From the two ports as the bus has them: first the one that the bus's own kind of connection uses.
    pub fn of_wire(ip: IpText, first: u16, second: u16, bus_port: u16, tls: bool) -> Self {
        let (port, tls_port) = if tls {
            (second, first)
        } else {
            (first, second)
        };
        Address {
            ip,
            port,
            tls_port,
            bus_port,
        }
    }

    /// The client ports in the order of the bus.
    pub fn wire_ports(&self, tls: bool) -> (u16, u16) {
        if tls {
            (self.tls_port, self.port)
        } else {
            (self.port, self.tls_port)
        }
    }

    /// The port for clients with or without TLS.
    pub fn client_port(&self, tls: bool) -> u16 {
        if tls { self.tls_port } else { self.port }
    }
}

/// Letters, digits and the few signs that addresses and host names hold.
fn is_address_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-' | b'_' | b'%')
}

/// Whether `name` may stand as host name in a reply and in nodes.conf.
pub fn is_hostname(name: &[u8]) -> bool {
    name.len() <= HOSTNAME_BYTES_MAX
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// Whether `name` may stand as a node's human name in nodes.conf: Redis's own rule, and nothing that ends a word there.
pub fn is_node_name(name: &[u8]) -> bool {
    name.len() <= NODE_NAME_BYTES_MAX
        && std::str::from_utf8(name).is_ok()
        && name.iter().all(|byte| {
            *byte > b' ' && *byte != 0x7f && !b"!#$%&()*+:;<>?@[]^{|}~,=\"'\\".contains(byte)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_would_break_a_line_is_refused() {
        assert_eq!(IpText::new("10.0.0.1").unwrap().as_str(), "10.0.0.1");
        assert!(IpText::new("10.0.0.1 x").is_none() && IpText::new("a\n").is_none());
        assert!(IpText::new(&"1".repeat(46)).is_none() && IpText::new(&"1".repeat(45)).is_some());
        assert!(IpText::from_wire(&[b'1'; IP_BYTES]).is_none());
        assert_eq!(IpText::from_wire(&[0; IP_BYTES]), Some(IpText::EMPTY));
    }

    #[test]
    fn a_literal_address_is_put_into_its_usual_form() {
        assert_eq!(literal(b"0:0:0:0:0:0:0:1").unwrap().as_str(), "::1");
        assert!(literal(b"localhost").is_none() && literal(b"1.2.3").is_none());
    }

    #[test]
    fn names_that_would_break_a_line_are_refused() {
        assert!(is_hostname(b"a-1.example") && !is_hostname(b"a_b") && !is_hostname(b"a b"));
        assert!(is_node_name(b"east_1/a") && !is_node_name(b"a b") && !is_node_name(b"a,b=c"));
    }
}
