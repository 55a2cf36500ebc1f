//! The process, its log, what it measures about itself, and who may do what.

use super::{COUNT, INT_MAX, LONG_COUNT};
use crate::config::choice::{
    ChannelDefault, LogLevel, OomScoreAdj, PropagationErrors, ProtectedAction, Supervised,
    SyslogFacility,
};
use crate::config::directive::Change::{AtRunTime, AtStart};
use crate::config::directive::Directive;
use crate::config::directive::Role::{self, Accepted, Honoured};
use crate::config::title;
use crate::config::value::Kind;

const SANITIZE: &[(&str, u8)] = &[("no", 0), ("yes", 1), ("clients", 2)];
const PROTECTED: Kind = Kind::Choice(ProtectedAction::NAMES);

const FOR_DEBUGGING_REDIS: Role = Accepted("it exists to debug Redis itself");

pub(super) const DIRECTIVES: &[Directive] = &[
    // Process.
    Directive::new("daemonize", None, Kind::YesNo, "no", AtStart, Honoured),
    Directive::new("pidfile", None, Kind::OPTIONAL_TEXT, "", AtStart, Honoured),
    Directive::new(
        "supervised",
        None,
        Kind::Choice(Supervised::NAMES),
        "no",
        AtStart,
        Honoured,
    ),
    Directive::new(
        "shutdown-on-sigint",
        None,
        Kind::ShutdownFlags,
        "default",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "shutdown-on-sigterm",
        None,
        Kind::ShutdownFlags,
        "default",
        AtRunTime,
        Honoured,
    ),
    Directive::new("shutdown-timeout", None, COUNT, "10", AtRunTime, Honoured),
    Directive::new(
        "set-proc-title",
        None,
        Kind::YesNo,
        "yes",
        AtStart,
        Honoured,
    ),
    Directive::new(
        "proc-title-template",
        None,
        Kind::Text {
            unset_when_empty: false,
            check: title::check,
        },
        "{title} {listen-addr} {server-mode}",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "oom-score-adj",
        None,
        Kind::Choice(OomScoreAdj::NAMES),
        "no",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "oom-score-adj-values",
        None,
        Kind::OomValues,
        "0 200 800",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "disable-thp",
        None,
        Kind::YesNo,
        "yes",
        AtStart,
        Accepted("no process is forked, which is what makes huge pages costly"),
    ),
    Directive::new(
        "locale-collate",
        None,
        Kind::Text {
            unset_when_empty: false,
            check: check_locale,
        },
        "",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "ignore-warnings",
        None,
        Kind::TEXT,
        "",
        AtRunTime,
        Accepted("the warnings it silences do not exist here"),
    ),
    Directive::new(
        "enable-debug-command",
        None,
        PROTECTED,
        "no",
        AtStart,
        Honoured,
    ),
    Directive::new(
        "enable-protected-configs",
        None,
        PROTECTED,
        "no",
        AtStart,
        Honoured,
    ),
    Directive::new(
        "enable-module-command",
        None,
        PROTECTED,
        "no",
        AtStart,
        Honoured,
    ),
    // Log.
    Directive::new(
        "loglevel",
        None,
        Kind::Choice(LogLevel::NAMES),
        "notice",
        AtRunTime,
        Honoured,
    ),
    Directive::new("logfile", None, Kind::TEXT, "", AtStart, Honoured),
    Directive::new(
        "crash-log-enabled",
        None,
        Kind::YesNo,
        "yes",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "crash-memcheck-enabled",
        None,
        Kind::YesNo,
        "yes",
        AtRunTime,
        Accepted("a crash report does not test memory"),
    ),
    Directive::new(
        "always-show-logo",
        None,
        Kind::YesNo,
        "no",
        AtStart,
        Accepted("there is no logo"),
    ),
    Directive::new("syslog-enabled", None, Kind::YesNo, "no", AtStart, Honoured),
    Directive::new("syslog-ident", None, Kind::TEXT, "redis", AtStart, Honoured),
    Directive::new(
        "syslog-facility",
        None,
        Kind::Choice(SyslogFacility::NAMES),
        "local0",
        AtStart,
        Honoured,
    ),
    // Slow log and latency.
    Directive::new(
        "slowlog-log-slower-than",
        None,
        Kind::Number(-1, i64::MAX),
        "10000",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "slowlog-max-len",
        None,
        LONG_COUNT,
        "128",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "latency-monitor-threshold",
        None,
        LONG_COUNT,
        "0",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "latency-tracking",
        None,
        Kind::YesNo,
        "yes",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "latency-tracking-info-percentiles",
        None,
        Kind::Percentiles,
        "50 99 99.9",
        AtRunTime,
        Honoured,
    ),
    // Access.
    Directive::new(
        "requirepass",
        None,
        Kind::OPTIONAL_TEXT,
        "",
        AtRunTime,
        Honoured,
    )
    .sensitive(),
    Directive::new("aclfile", None, Kind::TEXT, "", AtStart, Honoured),
    Directive::new(
        "acl-pubsub-default",
        None,
        Kind::Choice(ChannelDefault::NAMES),
        "resetchannels",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "acllog-max-len",
        None,
        LONG_COUNT,
        "128",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "sanitize-dump-payload",
        None,
        Kind::Choice(SANITIZE),
        "no",
        AtRunTime,
        Accepted("payloads and files are always checked in full"),
    ),
    Directive::new(
        "busy-reply-threshold",
        Some("lua-time-limit"),
        LONG_COUNT,
        "5000",
        AtRunTime,
        Honoured,
    ),
    // For tests of Redis itself.
    Directive::new(
        "propagation-error-behavior",
        None,
        Kind::Choice(PropagationErrors::NAMES),
        "ignore",
        AtRunTime,
        Honoured,
    ),
    Directive::new(
        "use-exit-on-panic",
        None,
        Kind::YesNo,
        "no",
        AtRunTime,
        FOR_DEBUGGING_REDIS,
    )
    .hidden(),
    Directive::new(
        "watchdog-period",
        None,
        COUNT,
        "0",
        AtRunTime,
        FOR_DEBUGGING_REDIS,
    )
    .hidden(),
    Directive::new(
        "rdb-key-save-delay",
        None,
        Kind::Number(i32::MIN as i64, INT_MAX),
        "0",
        AtRunTime,
        Honoured,
    )
    .hidden(),
    Directive::new(
        "key-load-delay",
        None,
        Kind::Number(i32::MIN as i64, INT_MAX),
        "0",
        AtRunTime,
        Honoured,
    )
    .hidden(),
    Directive::new(
        "loading-process-events-interval-bytes",
        None,
        Kind::Number(1024, INT_MAX),
        "2097152",
        AtRunTime,
        FOR_DEBUGGING_REDIS,
    )
    .hidden(),
];

/// A locale must be one that the C library knows.
fn check_locale(name: &[u8]) -> Result<(), &'static str> {
    match std::str::from_utf8(name) {
        Ok(name) if crate::base::collate::is_known(name) => Ok(()),
        _ => Err("Invalid locale name"),
    }
}
