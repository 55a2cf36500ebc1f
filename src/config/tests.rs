//! Tests of the whole room: the table agrees with itself, with the reference configuration and with the documents;
//! files, CONFIG GET, SET and REWRITE do what clients and operators see.

use std::collections::HashSet;

use super::*;
use crate::config::set::SetError;

const REFERENCE: &str = include_str!("../../config/slotwise.conf");
const COMPATIBILITY: &str = include_str!("../../docs/compatibility.md");

/// Files by name, and the commands GET, SET and CONFIG.
#[derive(Default)]
struct Around(Vec<(&'static str, &'static str)>);

impl Surroundings for Around {
    fn include(
        &mut self,
        directory: &[u8],
        pattern: &[u8],
    ) -> Result<Vec<(String, Vec<u8>)>, String> {
        let is_absolute = pattern.starts_with(b"/");
        let path = if is_absolute {
            pattern.to_vec()
        } else {
            [directory, b"/", pattern].concat()
        };
        let pattern = String::from_utf8_lossy(&path).into_owned();
        let matching =
            |name: &str| crate::base::glob::matches(pattern.as_bytes(), name.as_bytes(), false);
        let files = self.0.iter().filter(|(name, _)| matching(name));
        let files: Vec<_> = files
            .map(|(name, text)| (name.to_string(), text.as_bytes().to_vec()))
            .collect();
        if files.is_empty() && !crate::base::glob::is_pattern(pattern.as_bytes()) {
            return Err(format!("'{pattern}': No such file or directory"));
        }
        Ok(files)
    }

    fn is_command(&self, name: &str) -> bool {
        ["get", "set", "config"].contains(&name)
    }

    fn check_user(&self, lines: &[Vec<Vec<u8>>]) -> Result<(), String> {
        let last = lines.last().expect("a line was read");
        match last.contains(&b"bad".to_vec()) {
            true => Err(format!("line {} is bad", lines.len())),
            false => Ok(()),
        }
    }

    fn working_directory(&self) -> Vec<u8> {
        b"/srv".to_vec()
    }
}

fn load_with(text: &[u8], mut around: Around) -> Result<Loaded, LoadError> {
    load(
        &[Source {
            origin: Origin::File("a.conf"),
            text,
        }],
        &mut around,
    )
}

fn read(text: &str) -> Config {
    load_with(text.as_bytes(), Around::default())
        .unwrap_or_else(|error| panic!("{error}"))
        .config
}

/// The reason for which a file of this one line is refused.
fn reason(line: &str) -> String {
    load_with(line.as_bytes(), Around::default())
        .expect_err(line)
        .reason
}

fn shown(config: &Config, name: &str) -> String {
    String::from_utf8(config.show(name).unwrap()).unwrap()
}

const ANYONE: SetContext = SetContext {
    client_is_local: false,
    loading: false,
};

fn set(config: &Config, pairs: &[(&str, &str)]) -> Result<Changed, SetError> {
    let pairs: Vec<(&[u8], &[u8])> = pairs
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    config.set(&pairs, ANYONE)
}

fn set_error(pairs: &[(&str, &str)]) -> String {
    set(&Config::default(), pairs)
        .expect_err("refused")
        .to_string()
}

fn rewritten(old: &str, config: &Config) -> String {
    String::from_utf8(rewrite(old.as_bytes(), config, &[], false)).unwrap()
}

// The table.

#[test]
fn names_are_unique_and_in_lower_case() {
    let mut names = HashSet::new();
    for one in all() {
        for name in [Some(one.name), one.alias].into_iter().flatten() {
            assert!(names.insert(name), "{name} is declared twice");
            assert_eq!(name, name.to_ascii_lowercase());
        }
    }
    for name in table::FILE_ONLY
        .iter()
        .map(|one| one.name)
        .chain(table::DROPPED)
    {
        assert!(names.insert(name), "{name} is declared twice");
    }
}

#[test]
fn every_honoured_directive_has_a_field() {
    let fields: HashSet<&str> = Config::FIELDS.iter().copied().collect();
    for one in all()
        .iter()
        .filter(|one| matches!(one.role, Role::Honoured))
    {
        assert!(
            fields.contains(one.name),
            "{} is honoured but nothing can read it",
            one.name
        );
    }
}

#[test]
fn a_field_holds_every_value_that_its_directive_takes() {
    for place in 0..all().len() {
        let bounds = match all()[place].kind {
            Kind::Number(low, high) => vec![Value::Number(low), Value::Number(high)],
            Kind::NumberMovedInto(_, _, least, most) => {
                vec![Value::Number(least), Value::Number(most)]
            }
            Kind::Octal(high) => vec![Value::Number(0), Value::Number(i64::from(high))],
            Kind::Memory(low, high) => vec![Value::Memory(low), Value::Memory(high)],
            Kind::Choice(names) => names.iter().map(|(_, code)| Value::Choice(*code)).collect(),
            _ => continue,
        };
        for bound in bounds {
            let mut values = fields::default_values(b"/");
            values[place] = bound;
            // Panics when a field is too small.
            let config = Config::from_values(values, Vec::new());
            assert!(!shown(&config, all()[place].name).is_empty());
        }
    }
}

#[test]
fn no_default_is_refused() {
    for one in all() {
        let value = fields::default_value(one, b"/");
        assert_eq!(one.refusal(&value), None, "{}", one.name);
    }
}

// The reference configuration and the documents.

#[test]
fn the_reference_configuration_changes_nothing() {
    let config = read(REFERENCE);
    for one in all() {
        let expected = fields::default_value(one, b"/srv").show(&one.kind);
        assert_eq!(config.show(one.name).unwrap(), expected, "{}", one.name);
    }
}

#[test]
fn the_reference_configuration_names_every_directive() {
    let starts = |line: &str, name: &str| line.split_whitespace().next() == Some(name);
    let is_hidden = |name: &str| find(name.as_bytes()).is_some_and(|at| all()[at].hidden);
    for name in honoured().filter(|name| !is_hidden(name)) {
        let is_written = REFERENCE.lines().any(|line| starts(line, name));
        // What has no default that could be written stands as an example behind a comment sign.
        let is_example = REFERENCE.lines().any(|line| {
            line.strip_prefix("# ")
                .is_some_and(|line| starts(line, name))
        });
        assert!(
            is_written || is_example,
            "{name} is missing from config/slotwise.conf"
        );
    }
    for (name, _) in accepted().filter(|(name, _)| !all()[find(name.as_bytes()).unwrap()].hidden) {
        let is_listed = REFERENCE.lines().any(|line| {
            line.strip_prefix("# ")
                .is_some_and(|line| starts(line, name))
        });
        assert!(
            is_listed,
            "{name} is missing from the list at the end of config/slotwise.conf"
        );
    }
}

#[test]
fn the_examples_of_the_reference_configuration_are_valid() {
    for line in REFERENCE.lines().filter_map(|line| line.strip_prefix("# ")) {
        let name = line.split_whitespace().next().unwrap_or_default();
        let example = find(name.as_bytes()).is_some_and(|place| all()[place].name == name);
        // A sentence may begin with the name of a directive; it goes on with more than a value does.
        if example && !line.ends_with(['.', ',', ':', ';']) {
            let result = load_with(line.as_bytes(), Around::default());
            assert!(result.is_ok(), "{line}: {}", result.unwrap_err());
        }
    }
}

#[test]
fn the_compatibility_document_lists_what_is_accepted_and_what_is_refused() {
    let row = |name: &str, text: &str| format!("| `{name}` | {text} |");
    for (name, text) in accepted().chain(refused()) {
        assert!(
            COMPATIBILITY.contains(&row(name, text)),
            "missing: {}",
            row(name, text)
        );
    }
    let rows = COMPATIBILITY
        .lines()
        // Two columns; the table of commands has three.
        .filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 1)
        .count();
    assert_eq!(
        rows,
        accepted().chain(refused()).count(),
        "the document lists something that the table does not"
    );
}

// Files.

#[test]
fn a_real_redis_conf_is_read() {
    // Debian's file, where there is one; `sample.conf` stands for it elsewhere.
    for path in [
        "/etc/redis/redis.conf",
        "/usr/share/doc/redis-server/examples/redis.conf",
    ] {
        if let Ok(text) = std::fs::read(path) {
            load_with(&text, Around::default()).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    let loaded = load_with(include_bytes!("sample.conf"), Around::default())
        .unwrap_or_else(|error| panic!("{error}"));
    let config = loaded.config;
    assert_eq!(config.bind, ["127.0.0.1", "-::1"]);
    assert_eq!(config.maxclients, 4000);
    assert_eq!(config.save, [(900, 1), (300, 10)]);
    assert_eq!(config.requirepass, b"two words");
    assert_eq!(config.maxmemory_clients, ClientMemory::Percent(5));
    assert_eq!(config.client_output_buffer_limit[1].hard_bytes, 512 << 20);
    assert_eq!(
        config.client_output_buffer_limit[2].hard_bytes,
        32 << 20,
        "not named, so left alone"
    );
    assert_eq!(config.hash_max_listpack_entries, 256, "by its old name");
    assert_eq!(
        config.renamed_commands,
        [
            RenamedCommand {
                command: "config".into(),
                new_name: Some("b840fc02".into())
            },
            RenamedCommand {
                command: "get".into(),
                new_name: None
            },
        ]
    );
    assert_eq!(shown(&config, "notify-keyspace-events"), "AKE");
    assert_eq!(config.dir.to_str().unwrap(), "/srv/data");
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].ends_with("list-compress-depth"));
}

#[test]
fn each_bad_line_is_refused_with_its_reason() {
    for (line, expected) in [
        ("maxclients", "wrong number of arguments"),
        ("maxclients 1 2", "wrong number of arguments"),
        (
            "maxclients x",
            "argument couldn't be parsed into an integer",
        ),
        (
            "maxclients 0",
            "argument must be between 1 and 4294967295 inclusive",
        ),
        (
            "maxclients -1",
            "argument must be between 1 and 4294967295 inclusive",
        ),
        ("daemonize maybe", "argument must be 'yes' or 'no'"),
        ("maxmemory 1tb", "argument must be a memory value"),
        (
            "loglevel loud",
            "argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
        ),
        (
            "pipeline-order x",
            "argument(s) must be one of the following: relaxed, strict",
        ),
        ("save 1", "Invalid save parameters"),
        (
            "dbfilename a/b",
            "dbfilename can't be a path, just a filename",
        ),
        ("appendfilename \"\"", "appendfilename can't be empty"),
        (
            "appenddirname a/b",
            "appenddirname can't be a path, just a dirname",
        ),
        (
            "cluster-announce-hostname a_b",
            "Hostnames may only contain alphanumeric characters, hyphens or dots",
        ),
        (
            "proc-title-template {what}",
            "template format is invalid or contains unknown variables",
        ),
        (
            "requirepass \"open",
            "Unbalanced quotes in configuration line",
        ),
        ("requirepass a\0b", "The line holds a NUL byte"),
        ("nonsense 1", "Bad directive or wrong number of arguments"),
        ("include", "Bad directive or wrong number of arguments"),
        ("include a b", "Bad directive or wrong number of arguments"),
        (
            "include missing.conf",
            "Fatal error, can't open config file '/srv/missing.conf': No such file or directory",
        ),
        (
            "rename-command get",
            "Bad directive or wrong number of arguments",
        ),
        (
            "rename-command nothing x",
            "No such command in rename-command",
        ),
        (
            "rename-command get SET",
            "Target command name already exists",
        ),
        (
            "sentinel monitor a b",
            "sentinel directive while not in sentinel mode",
        ),
        (
            "list-max-ziplist-entries 1 2",
            "Bad directive or wrong number of arguments",
        ),
    ] {
        assert_eq!(reason(line), expected, "{line}");
    }
}

#[test]
fn what_this_build_cannot_promise_is_refused() {
    let text = |feature: &str, instead: &str| {
        format!("this build of Slotwise does not have {feature} yet; remove the line{instead}")
    };
    for (line, feature, instead) in [
        ("tls-port 6380", "TLS", " or set it to 0"),
        ("tls-replication yes", "TLS", " or set it to no"),
        ("loadmodule a.so 1", "modules", ""),
        ("search.maxresults 1", "modules", ""),
        ("sentinel", "the Sentinel mode", ""),
    ] {
        assert_eq!(reason(line), text(feature, instead), "{line}");
    }
    read(
        "appendonly no\naclfile \"\"\ntls-port 0\ntls-cert-file a.crt\nreplicaof no one\nappendfsync always\n",
    );
    read("user default on nopass sanitize-payload ~* &* +@all\nlua-replicate-commands yes\n");
    assert_eq!(
        set_error(&[("tls-port", "1")]),
        format!(
            "CONFIG SET failed (possibly related to argument 'tls-port') - {}",
            text("TLS", " or set it to 0")
        )
    );
}

#[test]
fn an_error_shows_file_line_and_reason() {
    let around = Around(vec![("/srv/more.conf", "timeout 1\n\n  port x \n")]);
    let error = load_with(b"# comment\ninclude more.conf\n", around).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "\n*** FATAL CONFIG FILE ERROR (Slotwise {}) ***\nReading the configuration file '/srv/more.conf', at \
             line 3\n>>> 'port x'\nargument couldn't be parsed into an integer",
            env!("CARGO_PKG_VERSION")
        )
    );
    let source = Source {
        origin: Origin::CommandLine,
        text: b"port 1\ntimeout x",
    };
    let error = load(&[source], &mut Around::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("Reading the options of the command line, at option 2\n>>> 'timeout x'\n")
    );
}

#[test]
fn included_files_are_read_in_their_place() {
    let files = || {
        Around(vec![
            ("/etc/x/1.conf", "timeout 1\nport 1"),
            ("/etc/x/2.conf", "port 2"),
            ("/etc/y", "port 3"),
        ])
    };
    let read = |text: &str| load_with(text.as_bytes(), files()).unwrap().config;
    let config = read("port 9\ntimeout 9\ninclude /etc/x/*.conf\n");
    assert_eq!((config.port, config.timeout_seconds), (2, 1));
    assert_eq!(read("include /etc/y\nport 9").port, 9);
    assert_eq!(
        read("include /nowhere/*.conf").port,
        6379,
        "a pattern may match nothing"
    );
    assert_eq!(
        read("dir /etc\ninclude y").port,
        3,
        "dir takes effect at once"
    );
}

#[test]
fn files_that_include_themselves_are_refused() {
    let error = load_with(b"include a", Around(vec![("/srv/a", "include a")])).unwrap_err();
    assert_eq!(
        error.reason,
        "files include one another more than 16 levels deep"
    );
}

#[test]
fn repeated_save_lines_add_up_and_an_empty_one_starts_over() {
    assert_eq!(read("").save, [(3600, 1), (300, 100), (60, 10000)]);
    assert_eq!(
        read("save 900 1\nsave 300 10 60 1").save,
        [(900, 1), (300, 10), (60, 1)]
    );
    assert_eq!(read("save 900 1\nsave \"\"\nsave 5 5").save, [(5, 5)]);
    assert_eq!(read("save ''").save, []);
    assert_eq!(read("save \"900 1 300 10\"").save, [(900, 1), (300, 10)]);
    let sources = [
        Source {
            origin: Origin::File("a"),
            text: b"save 900 1",
        },
        Source {
            origin: Origin::CommandLine,
            text: b"save \"\"",
        },
    ];
    assert_eq!(
        load(&sources, &mut Around::default()).unwrap().config.save,
        []
    );
}

#[test]
fn a_renamed_command_can_be_renamed_again() {
    let renamed = |text| read(text).renamed_commands;
    let one = |new_name: Option<&str>| {
        vec![RenamedCommand {
            command: "get".into(),
            new_name: new_name.map(Into::into),
        }]
    };
    assert_eq!(
        renamed("rename-command GET fetch\nrename-command fetch take"),
        one(Some("take"))
    );
    assert_eq!(
        renamed("rename-command GET fetch\nrename-command fetch \"\""),
        one(None)
    );
    assert_eq!(renamed("rename-command GET get"), []);
    let error = load_with(
        b"rename-command get x\nrename-command get y",
        Around::default(),
    )
    .unwrap_err();
    assert_eq!(
        (error.line_number, error.reason.as_str()),
        (2, "No such command in rename-command")
    );
    read("rename-command get x\nrename-command set get");
}

#[test]
fn random_lines_never_panic() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = |bound: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % bound as u64) as usize
    };
    let pieces: [&[u8]; 24] = [
        b"yes",
        b"no",
        b"0",
        b"-1",
        b"1gb",
        b"50%",
        b"99999999999999999999",
        b"\"",
        b"'",
        b"\\",
        b" ",
        b"\t",
        b"\\x4",
        b"#",
        b"\n",
        b"\r",
        b"\0",
        b"\xff",
        b"normal",
        b"*",
        b"",
        b"18446744073709551615",
        b"9223372036854775807kb",
        b"nan",
    ];
    for round in 0..20_000 {
        let name = all()[round % all().len()].name;
        let mut line: Vec<u8> = if draw(4) == 0 {
            Vec::new()
        } else {
            format!("{name} ").into_bytes()
        };
        for _ in 0..draw(6) {
            line.extend(pieces[draw(pieces.len())]);
            if draw(3) == 0 {
                line.push(draw(256) as u8);
            }
            line.extend(&b" "[draw(2)..]);
        }
        if let Ok(loaded) = load_with(&line, Around::default()) {
            rewrite(&line, &loaded.config, &[], false);
        }
        let _ = Config::default()
            .set(&[(name.as_bytes(), &line)], ANYONE)
            .map(|changed| changed.config.get(&[b"*"]));
    }
}

// CONFIG GET and SET.

#[test]
fn get_answers_names_patterns_and_aliases_once() {
    let config = Config::default();
    let names = |patterns: &[&str]| -> Vec<String> {
        let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
        config
            .get(&patterns)
            .into_iter()
            .map(|(name, _)| String::from_utf8(name).unwrap())
            .collect()
    };
    assert_eq!(names(&["maxmemory"]), ["maxmemory"]);
    assert_eq!(
        names(&["MaxMemory"]),
        ["MaxMemory"],
        "a full name is answered as it was asked"
    );
    assert_eq!(names(&["maxmemory*", "maxmemory"]).len(), 5);
    assert_eq!(
        names(&["MIN-*-LAG"]),
        ["min-replicas-max-lag", "min-slaves-max-lag"]
    );
    assert_eq!(names(&["watchdog-period"]), ["watchdog-period"]);
    assert_eq!(names(&["watchdog*", "nothing", "include"]), [""; 0]);
    assert_eq!(names(&["*"]).len(), names(&["*", "*"]).len());
}

#[test]
fn set_changes_all_or_nothing() {
    let config = Config::default();
    let changed = set(
        &config,
        &[("MAXMEMORY", "1gb"), ("timeout", "0"), ("port", "7000")],
    )
    .unwrap();
    assert_eq!(changed.names, ["maxmemory", "port"]);
    assert_eq!(
        (changed.config.maxmemory, changed.config.port),
        (1 << 30, 7000)
    );
    assert_eq!((config.maxmemory, config.port), (0, 6379));
    assert!(set(&config, &[("maxmemory", "1gb"), ("port", "x")]).is_err());
}

#[test]
fn set_takes_lists_in_one_argument() {
    let config = Config::default();
    let after = |name, value| shown(&set(&config, &[(name, value)]).unwrap().config, name);
    assert_eq!(after("save", "900 1 300 10"), "900 1 300 10");
    assert_eq!(after("save", ""), "");
    assert_eq!(after("bind", ""), "");
    assert_eq!(after("bind", "127.0.0.1 ::1"), "127.0.0.1 ::1");
    assert_eq!(after("latency-tracking-info-percentiles", ""), "");
    assert_eq!(
        after("client-output-buffer-limit", "pubsub 1mb 0 0"),
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 1048576 0 0"
    );
    assert_eq!(
        set(&config, &[("tls-cert-file", "")]).unwrap().names,
        ["tls-cert-file"],
        "the file may be another one"
    );
    assert_eq!(
        set(
            &config,
            &[("slave-priority", "1"), ("replica-priority", "2")]
        )
        .unwrap()
        .names,
        ["replica-priority"]
    );
    assert_eq!(after("hz", "0"), "1");
}

#[test]
fn set_refuses_in_redis_words() {
    let failed = |name: &str, reason: &str| {
        format!("CONFIG SET failed (possibly related to argument '{name}') - {reason}")
    };
    for (pairs, expected) in [
        (
            &[("maxmemory", "x")][..],
            failed("maxmemory", "argument must be a memory value"),
        ),
        (
            &[("MAXMEMORY", "x")],
            failed("maxmemory", "argument must be a memory value"),
        ),
        (
            &[("tcp-keepalive", "-1")],
            failed(
                "tcp-keepalive",
                "argument must be between 0 and 2147483647 inclusive",
            ),
        ),
        (
            &[("Port", "1"), ("pORT", "2")],
            failed("pORT", "duplicate parameter"),
        ),
        (
            &[("Databases", "1")],
            failed("Databases", "can't set immutable config"),
        ),
        (
            &[("maxmemory", "1"), ("shards", "3")],
            failed("shards", "can't set immutable config"),
        ),
        (&[("dir", "/")], failed("dir", "can't set protected config")),
        (
            &[("what", "1")],
            "Unknown option or number of arguments for CONFIG SET - 'what'".to_string(),
        ),
        (
            &[("databases", "1"), ("what", "1")],
            failed("databases", "can't set immutable config"),
        ),
        (
            &[("maxmemory", "x"), ("what", "1")],
            "Unknown option or number of arguments for CONFIG SET - 'what'".to_string(),
        ),
        (
            &[("include", "x")],
            "Unknown option or number of arguments for CONFIG SET - 'include'".to_string(),
        ),
        (
            &[("shutdown-on-sigint", "")],
            failed(
                "shutdown-on-sigint",
                "argument(s) must be one of the following: default, save, nosave, now, force",
            ),
        ),
    ] {
        assert_eq!(set_error(pairs), expected, "{pairs:?}");
    }
    assert_eq!(SetError::Syntax.to_string(), "syntax error");
    assert_eq!(
        SetError::failed("port", "in use").to_string(),
        failed("port", "in use")
    );
}

#[test]
fn protected_directives_open_to_whom_the_configuration_says() {
    let local = SetContext {
        client_is_local: true,
        loading: false,
    };
    let pair: [(&[u8], &[u8]); 1] = [(b"dir", b"data")];
    let config = read("enable-protected-configs local");
    assert!(config.set(&pair, ANYONE).is_err());
    assert_eq!(
        config
            .set(&pair, local)
            .unwrap()
            .config
            .dir
            .to_str()
            .unwrap(),
        "/srv/data"
    );
    let loading = SetContext {
        client_is_local: true,
        loading: true,
    };
    assert_eq!(config.set(&pair, loading).unwrap_err(), SetError::Loading);
    assert!(
        read("enable-protected-configs yes")
            .set(&pair, ANYONE)
            .is_ok()
    );
}

#[test]
fn passwords_are_known_as_sensitive() {
    for name in [
        "requirepass",
        "masterauth",
        "MASTERUSER",
        "tls-key-file-pass",
    ] {
        assert!(is_sensitive(name.as_bytes()), "{name}");
    }
    assert!(!is_sensitive(b"maxmemory") && !is_sensitive(b"nothing"));
}

// CONFIG REWRITE.

/// What Redis writes even when nothing was set.
const ALWAYS: &str = "# Generated by CONFIG REWRITE\nlatency-tracking-info-percentiles 50 99 99.9\ndir \"/\"\nsave 3600 1\nsave 300 \
                      100\nsave 60 10000\n";

#[test]
fn rewriting_nothing_writes_what_redis_always_writes() {
    assert_eq!(rewritten("", &Config::default()), ALWAYS);
    assert_eq!(
        rewritten(ALWAYS, &Config::default()),
        ALWAYS,
        "it is stable"
    );
}

#[test]
fn rewriting_keeps_comments_order_and_acts() {
    let old = "# head\n\n\n  port 1 \nslave-priority 1\ninclude x.conf\nrename-command get \"\"\nmaxmemory 1gb\n# mid\nport 2\n\
               what is this\ntimeout 5\nsave 1 1\ndir x\nlatency-tracking-info-percentiles 50\n";
    let config = read(
        "port 7\nslave-priority 5\nmaxmemory 3kb\nsave 9 9\nsave 8 8\nrequirepass \"a\\\"b\"\nhz 20\nclient-output-buffer-limit replica 1mb 0 0\nbind 1.1.1.1 2.2.2.2",
    );
    assert_eq!(
        rewritten(old, &config),
        "# head\n\nport 7\nreplica-priority 5\ninclude x.conf\nrename-command get \"\"\nmaxmemory 3kb\n# mid\n\n# ??? what is \
         this\ntimeout 0\nsave 9 9\ndir \"/srv\"\nlatency-tracking-info-percentiles 50 99 99.9\n# Generated by CONFIG \
         REWRITE\nbind 1.1.1.1 2.2.2.2\nhz 20\nclient-output-buffer-limit replica 1mb 0 0\nrequirepass \"a\\\"b\"\nsave 8 8\n"
    );
}

#[test]
fn user_lines_are_read_apart_and_rewritten_in_their_places() {
    let text = "user a on\nport 7\nUSER b \"~two\" off\nuser c\n";
    let loaded = load_with(text.as_bytes(), Around::default()).unwrap();
    assert_eq!(loaded.users.len(), 3);
    assert_eq!(
        loaded.users[1],
        [b"b".to_vec(), b"~two".to_vec(), b"off".to_vec()]
    );
    assert_eq!(reason("user a\nuser b bad"), "line 2 is bad");
    assert_eq!(reason("user"), "Bad directive or wrong number of arguments");
    let lines = [b"user x on".to_vec(), b"user y off".to_vec()];
    let new = rewrite(text.as_bytes(), &loaded.config, &lines, false);
    let new = String::from_utf8(new).unwrap();
    assert!(
        new.starts_with("user x on\nport 7\nuser y off\n\n"),
        "{new}"
    );
    let fresh = String::from_utf8(rewrite(b"", &loaded.config, &lines, false)).unwrap();
    assert!(
        fresh.contains("REWRITE\nuser x on\nuser y off\n"),
        "{fresh}"
    );
}

#[test]
fn rewriting_removes_what_is_no_longer_set() {
    let old = "requirepass x\nbind 1.1.1.1\nsave 1 1\nsave 2 2\n";
    let config = set(&Config::default(), &[("save", "")]).unwrap().config;
    assert_eq!(
        rewritten(old, &config),
        "\nsave \"\"\n\n# Generated by CONFIG REWRITE\nlatency-tracking-info-percentiles 50 99 99.9\ndir \"/\"\n"
    );
}

#[test]
fn a_rewritten_file_yields_the_same_configuration() {
    let texts = [
        include_str!("sample.conf"),
        REFERENCE,
        "save ''\nbind ''\nmaxmemory-clients 7%\nunixsocketperm 700\nshutdown-on-sigint nosave now\noom-score-adj relative\n\
         notify-keyspace-events nK\nlatency-tracking-info-percentiles ''\nlogfile \"a \\x01\"\noom-score-adj-values 1 2 3",
    ];
    for text in texts {
        let config = read(text);
        let again = read(&rewritten(text, &config));
        let fresh = read(&rewritten("", &config));
        for one in all() {
            assert_eq!(again.show(one.name), config.show(one.name), "{}", one.name);
            assert_eq!(fresh.show(one.name), config.show(one.name), "{}", one.name);
        }
    }
}
