//! CLUSTER without cluster mode.

use super::*;
use crate::command::desk::Desk;

#[test]
fn without_cluster_mode_nothing_of_it_is_there() {
    let mut desk = Desk::new();
    for line in ["CLUSTER INFO", "CLUSTER KEYSLOT a", "READONLY", "ASKING"] {
        let refused = "-ERR This instance has cluster support disabled\r\n";
        assert_eq!(desk.line(line), refused, "{line}");
    }
}

#[test]
fn help_has_a_line_for_each_subcommand() {
    for subcommand in table::CLUSTER.subcommands {
        let is_told = HELP
            .iter()
            .any(|(line, _)| line.split(' ').next() == Some(subcommand.name));
        let is_left_out = ["SLAVES", "HELP"].contains(&subcommand.name);
        assert!(is_told || is_left_out, "{}", subcommand.name);
    }
}
