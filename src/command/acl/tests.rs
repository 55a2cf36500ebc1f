//! ACL, AUTH with users and permissions, run without a server.

use crate::command::desk::Desk;
use crate::command::permit::{self, Refusal};
use crate::command::table::commands;
use crate::mesh::message::{AclChange, CoreAnswer, CoreAsk};
use crate::resp::request::OwnedArgs;

/// What a user reads who runs this line: `None` when it may.
fn refusal(desk: &Desk, name: &str, line: &str) -> Option<String> {
    let owned: OwnedArgs = line.split(' ').map(str::as_bytes).collect();
    let args = owned.args(desk.client.caller());
    let user = desk.users.get(name.as_bytes()).unwrap();
    let command = commands().resolve(&args).unwrap();
    let refusal = permit::check(user, command, &args).err()?;
    let error = refusal.into_reply(user, command);
    Some(String::from_utf8(error.as_bytes().to_vec()).unwrap())
}

#[test]
fn a_user_runs_what_its_rules_allow() {
    let mut desk = Desk::new();
    desk.set_user("u", "on nopass +get +set %R~r* %W~w* ~a* +config|get");
    let may = |line: &str| refusal(&desk, "u", line);
    let no_key = Some("NOPERM No permissions to access a key".to_owned());
    assert_eq!(may("GET a1"), None);
    assert_eq!(may("GET r1"), None);
    assert_eq!(may("GET w1"), no_key);
    assert_eq!(may("SET w1 x"), None);
    assert_eq!(may("SET w1 x GET"), no_key, "it reads too");
    assert_eq!(may("SET r1 x"), no_key);
    assert_eq!(may("CONFIG GET maxmemory"), None);
    assert_eq!(
        may("CONFIG SET maxmemory 1").unwrap(),
        "NOPERM User u has no permissions to run the 'config|set' command"
    );
    assert_eq!(
        may("DEL a1").unwrap(),
        "NOPERM User u has no permissions to run the 'del' command"
    );
    assert_eq!(may("AUTH u x"), None, "everybody may try to be somebody");
}

#[test]
fn of_two_selectors_the_one_that_comes_further_gives_the_denial() {
    let mut desk = Desk::new();
    desk.set_user("u", "on nopass +mget ~key (+mget ~key ~otherkey)");
    let user = desk.users.get(b"u").unwrap();
    for (line, place) in [
        ("MGET otherkey someotherkey", 2),
        ("MGET key otherkey someotherkey", 3),
    ] {
        let owned: OwnedArgs = line.split(' ').map(str::as_bytes).collect();
        let args = owned.args(desk.client.caller());
        let command = commands().resolve(&args).unwrap();
        match permit::check(user, command, &args) {
            Err(Refusal::Denied(denial)) => assert_eq!(denial.at, place, "{line}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refusal(&desk, "u", "MGET key otherkey"), None);
}

#[test]
fn auth_makes_the_client_another_user() {
    let mut desk = Desk::new();
    desk.set_user("u", "on >secret +@all");
    assert_eq!(desk.line("ACL WHOAMI"), "$7\r\ndefault\r\n");
    assert!(desk.client.is_trusted());
    assert!(desk.line("AUTH u wrong").starts_with("-WRONGPASS "));
    assert_eq!(desk.client.denied.take().unwrap(), b"u");
    assert_eq!(desk.line("AUTH u secret"), "+OK\r\n");
    assert_eq!(desk.line("ACL WHOAMI"), "$1\r\nu\r\n");
    assert!(!desk.client.is_trusted() && desk.client.authenticated);
    desk.set_user("u", "~* &*");
    assert!(desk.client.is_trusted(), "it takes over changes");
    assert_eq!(desk.line("RESET"), "+RESET\r\n");
    assert_eq!(desk.line("ACL WHOAMI"), "$7\r\ndefault\r\n");
    assert!(desk.line("HELLO 3 AUTH u secret").starts_with('%'));
    let (without, removed) = desk.users.without(&["u", "nobody"]);
    assert_eq!(removed, 1);
    assert!(!desk.client.take_over(&without), "its user is gone");
    assert_eq!(desk.client.user.name(), b"default");
}

#[test]
fn a_user_made_anew_under_a_name_is_another_one() {
    let mut desk = Desk::new();
    desk.set_user("u", "on nopass");
    desk.line("AUTH u x");
    let (without, _) = desk.users.without(&["u"]);
    let again = without
        .with_rules(
            b"u",
            &["on", "nopass"],
            false,
            super::super::table::catalog(),
        )
        .unwrap();
    assert!(!desk.client.take_over(&again));
}

#[test]
fn a_default_user_with_a_password_is_not_open_to_new_clients() {
    let mut desk = Desk::new();
    desk.set_user("default", ">pw");
    assert!(desk.client.authenticated, "it was there before");
    let users = desk.users.clone();
    desk.client.become_default(&users);
    assert!(!desk.client.authenticated && !desk.client.is_plain());
    assert!(desk.line("AUTH no").starts_with("-WRONGPASS"));
    assert_eq!(desk.line("AUTH pw"), "+OK\r\n");
    assert!(desk.client.is_plain());
    desk.set_user("default", "off nopass");
    let users = desk.users.clone();
    desk.client.become_default(&users);
    assert!(!desk.client.authenticated, "nobody is a user that is off");
}

#[test]
fn changes_are_asked_of_the_control_core() {
    let mut desk = Desk::new();
    assert_eq!(desk.line("ACL SETUSER u on ~a"), "+OK\r\n");
    assert!(matches!(
        desk.asked.pop(),
        Some(CoreAsk::ChangeUsers {
            change: AclChange::SetUser { name, rules },
            asker: 7
        }) if name == b"u" && rules == [b"on".to_vec(), b"~a".to_vec()]
    ));
    desk.answers = vec![CoreAnswer::Count(2)];
    assert_eq!(desk.line("ACL DELUSER u v"), ":2\r\n");
    desk.answers = vec![CoreAnswer::Failed(b"ERR no".to_vec())];
    assert_eq!(desk.line("ACL SETUSER u bad"), "-ERR no\r\n");
    desk.asked.clear();
    assert_eq!(
        desk.line("ACL DELUSER u default"),
        "-ERR The 'default' user cannot be removed\r\n"
    );
    for line in ["ACL LOAD", "ACL SAVE"] {
        assert!(
            desk.line(line)
                .starts_with("-ERR This Redis instance is not configured to use an ACL file."),
            "{line}"
        );
    }
    assert!(desk.asked.is_empty());
}

#[test]
fn users_are_shown_as_lines_and_as_fields() {
    let mut desk = Desk::new();
    desk.set_user("u", "on +get ~a* &c (+set %R~b)");
    assert_eq!(
        desk.line("ACL LIST"),
        "*2\r\n$57\r\nuser default on nopass sanitize-payload ~* &* +@all\r\n"
            .replace("$57", "$51")
            + "$82\r\nuser u on sanitize-payload ~a* resetchannels &c -@all +get (%R~b resetchannels -@all +set)\r\n"
                .replace("$82", "$90")
                .as_str()
    );
    assert_eq!(desk.line("ACL USERS"), "*2\r\n$7\r\ndefault\r\n$1\r\nu\r\n");
    assert_eq!(desk.line("ACL GETUSER nobody"), "$-1\r\n");
    desk.line("HELLO 3");
    assert_eq!(
        desk.line("ACL GETUSER u"),
        "%6\r\n$5\r\nflags\r\n~2\r\n$2\r\non\r\n$16\r\nsanitize-payload\r\n$9\r\npasswords\r\n*0\r\n\
         $8\r\ncommands\r\n$10\r\n-@all +get\r\n$4\r\nkeys\r\n$3\r\n~a*\r\n$8\r\nchannels\r\n$2\r\n&c\r\n\
         $9\r\nselectors\r\n*1\r\n%3\r\n$8\r\ncommands\r\n$10\r\n-@all +set\r\n$4\r\nkeys\r\n$4\r\n%R~b\r\n\
         $8\r\nchannels\r\n$0\r\n\r\n"
    );
}

#[test]
fn dryrun_names_what_is_missing() {
    let mut desk = Desk::new();
    desk.set_user("u", "+get +set ~a*");
    assert_eq!(desk.line("ACL DRYRUN u GET a"), "+OK\r\n");
    for (line, reply) in [
        (
            "ACL DRYRUN u GET b",
            "$49\r\nUser u has no permissions to access the 'b' key\r\n",
        ),
        (
            "ACL DRYRUN u DEL a",
            "$52\r\nUser u has no permissions to run the 'del' command\r\n",
        ),
        ("ACL DRYRUN v GET a", "-ERR User 'v' not found\r\n"),
        ("ACL DRYRUN u nope a", "-ERR Command 'nope' not found\r\n"),
        (
            "ACL DRYRUN u config nope",
            "-ERR Command 'config' not found\r\n",
        ),
        (
            "ACL DRYRUN u SET a",
            "-ERR wrong number of arguments for 'set' command\r\n",
        ),
    ] {
        let shown = desk.line(line);
        let without_length = |text: &str| match text.strip_prefix('$') {
            Some(rest) => rest.split_once("\r\n").unwrap().1.to_owned(),
            None => text.to_owned(),
        };
        assert_eq!(without_length(&shown), without_length(reply), "{line}");
    }
}

#[test]
fn cat_genpass_and_log_check_their_arguments() {
    let mut desk = Desk::new();
    assert!(
        desk.line("ACL CAT")
            .starts_with("*21\r\n$8\r\nkeyspace\r\n")
    );
    assert!(desk.line("ACL CAT STRING").contains("\r\nget\r\n"));
    assert_eq!(desk.line("ACL CAT no"), "-ERR Unknown category 'no'\r\n");
    assert_eq!(
        desk.line("ACL CAT a b"),
        "-ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.\r\n"
    );
    assert!(desk.line("ACL GENPASS").starts_with("$64\r\n"));
    assert!(desk.line("ACL GENPASS 5").starts_with("$2\r\n"));
    assert!(desk.line("ACL GENPASS 4096").starts_with("$1024\r\n"));
    for bits in ["0", "-1", "4097"] {
        assert!(
            desk.line(&format!("ACL GENPASS {bits}"))
                .starts_with("-ERR ACL GENPASS argument must be the number of bits"),
            "{bits}"
        );
    }
    assert_eq!(desk.line("ACL LOG"), "*0\r\n");
    assert_eq!(desk.line("ACL LOG RESET"), "+OK\r\n");
    assert_eq!(desk.line("ACL LOG -1"), "*0\r\n");
    assert_eq!(
        desk.line("ACL LOG x"),
        "-ERR value is not an integer or out of range\r\n"
    );
}
