//! INFO's section on replication, out of what the control core has reported.

use super::info::Lines;
use crate::config::Config;
use crate::replication::Replid;
use crate::replication::report::{LinkReport, LinkState, Report};

/// Writes the section; without a report that of a server whose control core has not begun.
pub(super) fn write(lines: &mut Lines, report: Option<&Report>, config: &Config) {
    let link = report.and_then(|report| report.link.as_ref());
    lines.put("role", if link.is_some() { "slave" } else { "master" });
    if let Some(link) = link {
        write_link(lines, link, config);
    }
    let replicas = report.map_or(&[][..], |report| &report.replicas);
    lines.put("connected_slaves", replicas.len());
    if let Some(good) = report.and_then(|report| report.good_replicas) {
        lines.put("min_slaves_good_slaves", good);
    }
    for (number, replica) in replicas.iter().enumerate() {
        let (ip, port, state) = (&replica.ip, replica.port, replica.state.word());
        let (offset, lag) = (replica.offset, replica.lag_s);
        let flows = match replica.flows {
            0 => String::new(),
            flows => format!(",flows={flows}"),
        };
        lines.put(
            &format!("slave{number}"),
            format_args!("ip={ip},port={port},state={state},offset={offset},lag={lag}{flows}"),
        );
    }
    let failover = report.map_or("no-failover", |report| report.failover);
    lines.put("master_failover_state", failover);
    let history = report.map(|report| report.history);
    let previous = history.and_then(|history| history.previous);
    lines.put(
        "master_replid",
        history.map_or(Replid::NONE, |history| history.id),
    );
    lines.put(
        "master_replid2",
        previous.map_or(Replid::NONE, |(id, _)| id),
    );
    lines.put(
        "master_repl_offset",
        history.map_or(0, |history| history.offset),
    );
    lines.put(
        "second_repl_offset",
        previous.map_or(-1, |(_, until)| until as i64),
    );
    let backlog = report.and_then(|report| report.backlog);
    lines.put("repl_backlog_active", u8::from(backlog.is_some()));
    lines.put("repl_backlog_size", config.repl_backlog_size);
    let (first, length) = backlog.unwrap_or_default();
    lines.put("repl_backlog_first_byte_offset", first);
    lines.put("repl_backlog_histlen", length);
}

fn write_link(lines: &mut Lines, link: &LinkReport, config: &Config) {
    let is_up = link.state == LinkState::Connected;
    lines.put("master_host", &link.host);
    lines.put("master_port", link.port);
    lines.put("master_link_status", if is_up { "up" } else { "down" });
    lines.put("master_last_io_seconds_ago", link.last_io_s);
    lines.put("master_sync_in_progress", u8::from(link.transfer.is_some()));
    lines.put("slave_read_repl_offset", link.read_offset);
    lines.put("slave_repl_offset", link.applied_offset);
    let (flows, flow_bytes) = link.flows;
    if flows > 0 {
        lines.put("master_link_flows", flows);
        lines.put("master_link_flow_bytes", flow_bytes);
    }
    if let Some(transfer) = &link.transfer {
        let (total, read) = (transfer.total_bytes, transfer.read_bytes);
        lines.put("master_sync_total_bytes", total);
        lines.put("master_sync_read_bytes", read);
        lines.put("master_sync_left_bytes", total - read as i64);
        let percent = match total {
            1.. => read as f64 * 100.0 / total as f64,
            _ => 0.0,
        };
        lines.put("master_sync_perc", format_args!("{percent:.2}"));
        lines.put("master_sync_last_io_seconds_ago", transfer.last_io_s);
    }
    if !is_up {
        lines.put("master_link_down_since_seconds", link.down_s);
    }
    lines.put("slave_priority", config.replica_priority);
    lines.put("slave_read_only", u8::from(config.replica_read_only));
    lines.put("replica_announced", u8::from(config.replica_announced));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::History;
    use crate::replication::report::{ReplicaReport, ReplicaState, TransferReport};

    fn report() -> Report {
        let mut history = History::new(Replid::parse(&[b'a'; 40]).unwrap());
        history.offset = 114;
        Report {
            link: None,
            replicas: Vec::new(),
            good_replicas: None,
            failover: "no-failover",
            history,
            backlog: None,
        }
    }

    fn text(report: &Report) -> String {
        let mut lines = Lines::default();
        write(&mut lines, Some(report), &Config::default());
        lines.text().replace("\r\n", " ")
    }

    #[test]
    fn a_primary_lists_its_replicas() {
        let mut report = report();
        let (zeros, letters) = ("0".repeat(40), "a".repeat(40));
        let tail = format!(
            "master_failover_state:no-failover master_replid:{letters} master_replid2:{zeros} master_repl_offset:114 \
             second_repl_offset:-1 repl_backlog_active:"
        );
        let lone = format!(
            "role:master connected_slaves:0 {tail}0 repl_backlog_size:1048576 repl_backlog_first_byte_offset:0 \
             repl_backlog_histlen:0 "
        );
        assert_eq!(text(&report), lone);
        report.replicas.push(ReplicaReport {
            ip: "127.0.0.1".into(),
            port: 22002,
            state: ReplicaState::Online,
            offset: 114,
            lag_s: 1,
            flows: 0,
        });
        report.good_replicas = Some(1);
        report.backlog = Some((1, 114));
        let with_one = format!(
            "role:master connected_slaves:1 min_slaves_good_slaves:1 \
             slave0:ip=127.0.0.1,port=22002,state=online,offset=114,lag=1 {tail}1 repl_backlog_size:1048576 \
             repl_backlog_first_byte_offset:1 repl_backlog_histlen:114 "
        );
        assert_eq!(text(&report), with_one);
    }

    #[test]
    fn a_replica_tells_of_its_link() {
        let mut report = report();
        report.link = Some(LinkReport {
            host: "10.0.0.1".into(),
            port: 6379,
            state: LinkState::Sync,
            last_io_s: -1,
            read_offset: 1,
            applied_offset: 1,
            transfer: Some(TransferReport {
                total_bytes: 200,
                read_bytes: 50,
                last_io_s: 0,
            }),
            down_s: -1,
            flows: (0, 0),
        });
        let head = "role:slave master_host:10.0.0.1 master_port:6379 master_link_status:down \
                    master_last_io_seconds_ago:-1 master_sync_in_progress:1 slave_read_repl_offset:1 \
                    slave_repl_offset:1 master_sync_total_bytes:200 master_sync_read_bytes:50 \
                    master_sync_left_bytes:150 master_sync_perc:25.00 master_sync_last_io_seconds_ago:0 \
                    master_link_down_since_seconds:-1 slave_priority:100 slave_read_only:1 replica_announced:1 \
                    connected_slaves:0 ";
        assert!(text(&report).starts_with(head), "{}", text(&report));
    }
}
