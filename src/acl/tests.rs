//! Rules, selectors, files and the log, on a small catalogue.

use super::*;

fn catalog() -> Catalog {
    let entry = |name: &str, categories, parent, children: &[u16]| Entry {
        name: name.into(),
        categories,
        parent,
        children: children.to_vec(),
    };
    let read = Category::READ.and(Category::FAST);
    Catalog::new(vec![
        entry("get", read.and(Category::STRING), None, &[]),
        entry("set", Category::WRITE.and(Category::STRING), None, &[]),
        entry("hget", read.and(Category::HASH), None, &[]),
        entry("hset", Category::WRITE.and(Category::HASH), None, &[]),
        entry("config", Category::SLOW, None, &[5, 6]),
        entry(
            "config|get",
            Category::ADMIN.and(Category::SLOW),
            Some(4),
            &[],
        ),
        entry(
            "config|set",
            Category::ADMIN.and(Category::SLOW),
            Some(4),
            &[],
        ),
        entry(
            "select",
            Category::CONNECTION.and(Category::FAST),
            None,
            &[],
        ),
    ])
}

fn user(rules: &[&str]) -> User {
    let users = Users::new(b"", &catalog());
    let users = users.with_rules(b"u", rules, false, &catalog()).unwrap();
    User::clone(users.get(b"u").unwrap())
}

fn error(rules: &[&str]) -> String {
    let users = Users::new(b"", &catalog());
    let error = users
        .with_rules(b"u", rules, false, &catalog())
        .unwrap_err();
    let reply = crate::resp::ErrorReply::from(error);
    String::from_utf8(reply.as_bytes().to_vec()).unwrap()
}

fn commands(rules: &[&str]) -> String {
    String::from_utf8(user(rules).selectors()[0].commands_text()).unwrap()
}

fn shown(user: &User) -> String {
    String::from_utf8(user.describe()).unwrap()
}

#[test]
fn the_default_user_may_do_everything_and_a_new_one_nothing() {
    let users = Users::new(b"", &catalog());
    assert_eq!(
        shown(users.default_user()),
        "on nopass sanitize-payload ~* &* +@all"
    );
    assert!(users.default_user().is_unrestricted() && users.default_user().is_open());
    assert_eq!(
        shown(&user(&[])),
        "off sanitize-payload resetchannels -@all"
    );
    let users = users.with_default_password(b"pw", &catalog());
    assert!(!users.default_user().is_open() && users.default_user().accepts(b"pw"));
    let line = users.text();
    assert!(line.starts_with(b"user default on sanitize-payload #30c952fab122c3f9"));
    assert!(users.config_lines(b"pw", &catalog()).is_empty());
    assert_eq!(users.config_lines(b"", &catalog()).len(), 1);
}

#[test]
fn command_rules_are_kept_short_and_in_order() {
    for (rules, text) in [
        ("+@all -@hash -@slow +hget", "+@all -@hash -@slow +hget"),
        (
            "+@all -@hash -@slow +hget -@hash",
            "+@all -@slow +hget -@hash",
        ),
        ("+@hash +@HASH +@HaSh", "-@all +@hash"),
        ("+HGET +hget", "-@all +hget"),
        ("+hget -hset +hset -hget", "-@all +hset -hget"),
        ("+config|get +config -config|set +config", "-@all +config"),
        ("+@all -config|set", "+@all -config|set"),
        ("+select|0 +SELECT|1", "-@all +select|0 +select|1"),
        ("+get +@all", "+@all"),
        ("-@dangerous", "-@all -@dangerous"),
        ("allcommands -get nocommands", "-@all"),
    ] {
        let rules: Vec<&str> = rules.split(' ').collect();
        assert_eq!(commands(&rules), text, "{rules:?}");
    }
}

#[test]
fn what_is_shown_reads_back_as_the_same_user() {
    for rules in [
        "on >a >b +@all -config|set ~x %R~y %W~z &c skip-sanitize-payload",
        "off nopass ~* &* +get +select|0 (+@read ~r* -hget) (+set %W~w resetchannels &d)",
        "+@all -@string +config (allkeys allchannels allcommands)",
    ] {
        let rules: Vec<&str> = rules.split(' ').collect();
        let made = user(&rules);
        let text = shown(&made);
        let words: Vec<&str> = text.split(' ').collect();
        assert_eq!(user(&words), made, "{text}");
    }
}

#[test]
fn selectors_may_be_spread_and_are_removed_together() {
    let made = user(&["(~key1", "+get", ")", "( ~key2 +get )", "(", "~key3)"]);
    let keys: Vec<Vec<u8>> = made.selectors().iter().map(Selector::keys_text).collect();
    assert_eq!(keys, [&b""[..], b"~key1", b"~key2", b"~key3"]);
    assert_eq!(user(&["(~a)", "()", "clearselectors"]).selectors().len(), 1);
    let made = user(&["on", "nopass", "~*", "(~a)", ">x", "reset"]);
    assert_eq!(made, user(&[]));
}

#[test]
fn errors_say_which_rule_and_why() {
    let modifier =
        |rule: &str, why: &str| format!("ERR Error in ACL SETUSER modifier '{rule}': {why}");
    let unknown = "Unknown command or category name in ACL";
    for (rules, text) in [
        ("+nope", modifier("+nope", unknown)),
        ("-config|nope", modifier("-config|nope", unknown)),
        ("+config|nope", modifier("+config|nope", unknown)),
        ("+get|a|b", modifier("+get|a|b", unknown)),
        ("+@nope", modifier("+@nope", unknown)),
        (
            "+config|get|x",
            modifier(
                "+config|get|x",
                "Allowing first-arg of a subcommand is not supported",
            ),
        ),
        ("nonsense", modifier("nonsense", "Syntax error")),
        ("+select|", modifier("+select|", "Syntax error")),
        ("%X~a", modifier("%X~a", "Syntax error")),
        ("%RR~a", modifier("%RR~a", "Syntax error")),
        ("%~a", modifier("%~a", "Syntax error")),
        (")", modifier(")", "Syntax error")),
        (
            "#12",
            modifier(
                "#12",
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters",
            ),
        ),
        (
            "<pw",
            modifier(
                "<pw",
                "The password you are trying to remove from the user does not exist",
            ),
        ),
        (
            "~* ~a",
            modifier(
                "~a",
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                 effect. Try 'resetkeys' to start with an empty list of patterns",
            ),
        ),
        (
            "(&* &a)",
            modifier(
                "(&* &a)",
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels",
            ),
        ),
        (
            "on (+get (+set",
            "ERR Unmatched parenthesis in acl selector starting at '(+get'.".into(),
        ),
    ] {
        let rules: Vec<&str> = rules.split(' ').collect();
        assert_eq!(error(&rules), text, "{rules:?}");
    }
    let users = Users::new(b"", &catalog());
    let refused = users.with_rules(b"a b", &["on"], false, &catalog());
    assert_eq!(refused.unwrap_err(), SetUserError::Name);
}

#[test]
fn passwords_are_hashes_and_any_of_them_will_do() {
    let made = user(&["on", ">a", ">b", ">a"]);
    assert_eq!(made.passwords().len(), 2);
    assert!(made.accepts(b"a") && made.accepts(b"b") && !made.accepts(b"c"));
    let made = user(&["on", ">a", "<a"]);
    assert!(!made.accepts(b"a") && !made.accepts(b""));
    let hash = "34344e4d60c2b6d639b7bd22e18f2b0b91bc34bf0ac5f9952744435093cfb4e6";
    let made = user(&["on", &format!("#{hash}")]);
    assert!(made.accepts(b"passwd4"));
    assert!(!user(&["off", "nopass"]).accepts(b"x") && user(&["on", "nopass"]).accepts(b"x"));
    assert!(
        !user(&["nopass", ">a", "on"]).accepts(b"x"),
        "a password ends nopass"
    );
}

#[test]
fn channels_match_by_name_and_patterns_literally() {
    let made = user(&["&foo:1", "&bar:*"]);
    let may = |channel: &str, need| made.may_use_channel(channel.as_bytes(), need);
    assert!(may("bar:2", ChannelNeed::Literal) && !may("zap", ChannelNeed::Literal));
    assert!(may("bar:*", ChannelNeed::Pattern) && !may("bar:x", ChannelNeed::Pattern));
    assert!(made.may_use_key(b"x", Need::READ) == made.selectors()[0].allows_key(b"x", Need::READ));
}

#[test]
fn a_file_is_taken_whole_or_not_at_all() {
    let users = Users::new(b"pw", &catalog());
    let text = b"user alice on +@all ~* &* >x\r\n\n  user bob on +get ~r (+set ~w)\n";
    let loaded = users.loaded(text, "u.acl", false, &catalog()).unwrap();
    assert_eq!(loaded.iter().len(), 3);
    assert!(loaded.default_user().is_open(), "it is not in the file");
    assert_eq!(loaded.get(b"bob").unwrap().selectors().len(), 2);
    let again = loaded.loaded(&loaded.text(), "u.acl", false, &catalog());
    let again = again.unwrap();
    assert_eq!(again.text(), loaded.text());
    assert!(
        !again
            .get(b"bob")
            .unwrap()
            .is_same(loaded.get(b"bob").unwrap())
    );
    assert!(again.default_user().is_same(loaded.default_user()));
    let bad = b"user a +nope +get ~* ~b ~c\nnouser\nuser a on\nuser b\tc on\nuser d (+get\n";
    assert_eq!(
        users.loaded(bad, "u.acl", false, &catalog()).unwrap_err(),
        "u.acl:1: Error in applying operation '+nope': Unknown command or category name in ACL. u.acl:1: Adding a \
         pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try \
         'resetkeys' to start with an empty list of patterns. u.acl:2 should start with user keyword followed by the \
         username. WARNING: Duplicate user 'a' found on line 3. 'u.acl:4: username 'b\tc' contains invalid \
         characters. u.acl:5: Unmatched parenthesis in selector definition.WARNING: ACL errors detected, no change \
         to the previously active ACL rules was performed"
    );
}

#[test]
fn lines_of_a_configuration_name_each_user_once() {
    let users = Users::new(b"pw", &catalog());
    let line = |text: &str| {
        text.split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect()
    };
    let lines: Vec<Vec<Vec<u8>>> = vec![line("default on nopass +get"), line("a (+get ~x )")];
    let made = users.with_lines(&lines, false, &catalog()).unwrap();
    assert_eq!(
        shown(made.default_user()),
        "on nopass sanitize-payload resetchannels -@all +get"
    );
    let twice: Vec<Vec<Vec<u8>>> = vec![line("a"), line("a")];
    let error = users.with_lines(&twice, false, &catalog()).unwrap_err();
    assert!(error.to_string().contains("Duplicate user found."));
}

#[test]
fn denials_alike_within_a_minute_are_one_entry() {
    let mut log = DenialLog::default();
    let entry = |object: &str, at: i64| LogEntry {
        count: 1,
        reason: Reason::Key,
        context: Context::TopLevel,
        object: object.into(),
        user: b"u".to_vec(),
        client: at.to_string().into(),
        id: 0,
        created_ms: at,
        updated_ms: at,
    };
    for (object, at) in [("a", 0), ("b", 10), ("a", 60_000), ("a", 120_001)] {
        log.record(entry(object, at), 3);
    }
    let shown: Vec<_> = log
        .newest(9)
        .into_iter()
        .map(|entry| (entry.id, entry.count, entry.created_ms, entry.updated_ms))
        .collect();
    assert_eq!(
        shown,
        [(2, 1, 120_001, 120_001), (0, 2, 0, 60_000), (1, 1, 10, 10)]
    );
    log.record(entry("c", 120_002), 2);
    assert_eq!(log.newest(9).len(), 2);
    assert_eq!(log.newest(1)[0].id, 3);
    log.reset();
    assert!(log.newest(9).is_empty());
}
