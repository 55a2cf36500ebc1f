//! The cluster, and TLS, which does not exist in this build.

use super::{COUNT, PORT, refused};
use crate::config::choice::EndpointType;
use crate::config::directive::Change::{AtRunTime, AtStart};
use crate::config::directive::Directive;
use crate::config::directive::Role::{self, Accepted, Honoured};
use crate::config::value::Kind;

const TLS_AUTH_CLIENTS: &[(&str, u8)] = &[("no", 0), ("yes", 1), ("optional", 2)];

const NO_TLS: Role = Accepted("it only matters with a tls-port, which is refused");

/// Longest host name, with its end: RFC 1035 as Redis counts it.
const HOSTNAME_BYTES: usize = 256;
const HOSTNAME: Kind = Kind::Text {
    unset_when_empty: true,
    check: |name| match name {
        name if name.len() >= HOSTNAME_BYTES => Err("Hostnames must be less than 256 characters"),
        name if name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) =>
        {
            Ok(())
        }
        _ => Err("Hostnames may only contain alphanumeric characters, hyphens or dots"),
    },
};
const NODE_NAME: Kind = Kind::Text {
    unset_when_empty: true,
    check: |name| {
        // Redis takes blanks, quotes and commas too, and does not start again with the nodes.conf that it then writes.
        let bad = b"!#$%&()*+:;<>?@[]^{|}~,=\"'\\\x7f";
        if name.iter().any(|byte| *byte <= b' ' || bad.contains(byte)) {
            return Err("Announced human node name contained invalid character");
        }
        Ok(())
    },
};
const TEXT: Kind = Kind::OPTIONAL_TEXT;

pub(super) const DIRECTIVES: &[Directive] = &[
    // Cluster.
    Directive::new(
        "cluster-enabled",
        None,
        Kind::YesNo,
        "no",
        AtStart,
        Honoured,
    ),
    Directive::new(
        "cluster-config-file",
        None,
        Kind::TEXT,
        "nodes.conf",
        AtStart,
        Honoured,
    ),
    Directive::new(
        "cluster-node-timeout",
        None,
        Kind::Number(0, i64::MAX),
        "15000",
        AtRunTime,
        Honoured,
    ),
    Directive::new("cluster-port", None, PORT, "0", AtStart, Honoured),
    Directive::new("cluster-announce-ip", None, TEXT, "", AtRunTime, Honoured),
    Directive::new(
        "cluster-announce-port",
        None,
        PORT,
        "0",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "cluster-announce-tls-port",
        None,
        PORT,
        "0",
        AtRunTime,
        NO_TLS,
    ),
    Directive::new(
        "cluster-announce-bus-port",
        None,
        PORT,
        "0",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "cluster-announce-hostname",
        None,
        HOSTNAME,
        "",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "cluster-announce-human-nodename",
        None,
        NODE_NAME,
        "",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "cluster-preferred-endpoint-type",
        None,
        Kind::Choice(EndpointType::NAMES),
        "ip",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "cluster-replica-validity-factor",
        Some("cluster-slave-validity-factor"),
        COUNT,
        "10",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "cluster-migration-barrier",
        None,
        COUNT,
        "1",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "cluster-allow-replica-migration",
        None,
        Kind::YesNo,
        "yes",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "cluster-require-full-coverage",
        None,
        Kind::YesNo,
        "yes",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "cluster-replica-no-failover",
        Some("cluster-slave-no-failover"),
        Kind::YesNo,
        "no",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "cluster-allow-reads-when-down",
        None,
        Kind::YesNo,
        "no",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "cluster-allow-pubsubshard-when-down",
        None,
        Kind::YesNo,
        "yes",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "cluster-link-sendbuf-limit",
        None,
        Kind::Memory(0, u64::MAX),
        "0",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "cluster-slot-stats-enabled",
        None,
        Kind::YesNo,
        "no",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "cluster-ping-interval",
        None,
        Kind::Number(0, i64::MAX),
        "0",
        AtRunTime,
        Honoured,
    )
    .hidden(),
    // TLS.
    Directive::new("tls-port", None, PORT, "0", AtRunTime, refused("TLS", "0")),
    Directive::new(
        "tls-cluster",
        None,
        Kind::YesNo,
        "no",
        AtRunTime,
        refused("TLS", "no"),
    ),
    Directive::new(
        "tls-replication",
        None,
        Kind::YesNo,
        "no",
        AtRunTime,
        refused("TLS", "no"),
    ),
    Directive::new(
        "tls-auth-clients",
        None,
        Kind::Choice(TLS_AUTH_CLIENTS),
        "yes",
        AtRunTime,
        NO_TLS,
    ),
    Directive::new(
        "tls-prefer-server-ciphers",
        None,
        Kind::YesNo,
        "no",
        AtRunTime,
        NO_TLS,
    ),
    Directive::new(
        "tls-session-caching",
        None,
        Kind::YesNo,
        "yes",
        AtRunTime,
        NO_TLS,
    ),
    Directive::new(
        "tls-session-cache-size",
        None,
        COUNT,
        "20480",
        AtRunTime,
        NO_TLS,
    ),
    Directive::new(
        "tls-session-cache-timeout",
        None,
        COUNT,
        "300",
        AtRunTime,
        NO_TLS,
    ),
    Directive::new("tls-cert-file", None, TEXT, "", AtRunTime, NO_TLS).volatile(),
    Directive::new("tls-key-file", None, TEXT, "", AtRunTime, NO_TLS).volatile(),
    Directive::new("tls-key-file-pass", None, TEXT, "", AtRunTime, NO_TLS).sensitive(),
    Directive::new("tls-client-cert-file", None, TEXT, "", AtRunTime, NO_TLS).volatile(),
    Directive::new("tls-client-key-file", None, TEXT, "", AtRunTime, NO_TLS).volatile(),
    Directive::new(
        "tls-client-key-file-pass",
        None,
        TEXT,
        "",
        AtRunTime,
        NO_TLS,
    )
    .sensitive(),
    Directive::new("tls-dh-params-file", None, TEXT, "", AtRunTime, NO_TLS).volatile(),
    Directive::new("tls-ca-cert-file", None, TEXT, "", AtRunTime, NO_TLS).volatile(),
    Directive::new("tls-ca-cert-dir", None, TEXT, "", AtRunTime, NO_TLS).volatile(),
    Directive::new("tls-protocols", None, TEXT, "", AtRunTime, NO_TLS),
    Directive::new("tls-ciphers", None, TEXT, "", AtRunTime, NO_TLS),
    Directive::new("tls-ciphersuites", None, TEXT, "", AtRunTime, NO_TLS),
];
