//! The answers to operators, compared as RESP with what Redis replies.

use crate::command::client::Step;
use crate::command::desk::Desk;
use crate::mesh::message::{CoreAnswer, CoreAsk};

#[test]
fn command_info_describes_a_command_as_redis_does() {
    let mut desk = Desk::new();
    assert_eq!(
        desk.line("COMMAND INFO watch nosuch"),
        "*2\r\n*10\r\n$5\r\nwatch\r\n:-2\r\n*5\r\n+noscript\r\n+loading\r\n+stale\r\n+fast\r\n+allow_busy\r\n:1\r\n:-1\r\n\
         :1\r\n*2\r\n+@fast\r\n+@transaction\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*1\r\n+RO\r\n$12\r\nbegin_search\r\n*4\r\n\
         $4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\n\
         range\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n$-1\r\n"
    );
    let sub = desk.line("COMMAND INFO client|id");
    assert!(
        sub.starts_with("*1\r\n*10\r\n$9\r\nclient|id\r\n:2\r\n"),
        "{sub}"
    );
    desk.client.resp3 = true;
    assert!(desk.line("COMMAND INFO watch").contains("~5\r\n+noscript"));
    assert!(desk.line("COMMAND").starts_with('*'));
}

#[test]
fn command_docs_and_list() {
    let mut desk = Desk::new();
    let docs = desk.line("COMMAND DOCS quit nosuch");
    assert!(
        docs.starts_with("*2\r\n$4\r\nquit\r\n*14\r\n$7\r\nsummary\r\n"),
        "{docs}"
    );
    assert!(docs.contains(
        "$9\r\ndoc_flags\r\n*1\r\n+deprecated\r\n$16\r\ndeprecated_since\r\n$5\r\n7.2.0\r\n"
    ));
    assert!(desk.line("COMMAND DOCS debug").contains("+syscmd\r\n"));
    assert!(
        desk.line("COMMAND DOCS config")
            .contains("$10\r\nconfig|get\r\n")
    );
    assert_eq!(
        desk.line("COMMAND LIST FILTERBY PATTERN MULT*"),
        "*1\r\n$5\r\nmulti\r\n"
    );
    assert!(
        desk.line("COMMAND LIST FILTERBY ACLCAT transaction")
            .starts_with("*5\r\n")
    );
    assert_eq!(desk.line("COMMAND LIST FILTERBY ACLCAT nosuch"), "*0\r\n");
    assert_eq!(desk.line("COMMAND LIST FILTERBY MODULE x"), "*0\r\n");
    assert_eq!(
        desk.line("COMMAND LIST FILTERBY x y"),
        "-ERR syntax error\r\n"
    );
    assert!(desk.line("COMMAND COUNT").starts_with(':'));
}

#[test]
fn getkeys_finds_keys_and_what_is_done_to_them() {
    let mut desk = Desk::new();
    assert_eq!(
        desk.line("COMMAND GETKEYS WATCH a b"),
        "*2\r\n$1\r\na\r\n$1\r\nb\r\n"
    );
    assert_eq!(
        desk.line("COMMAND GETKEYSANDFLAGS SET a b GET"),
        "*1\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+update\r\n"
    );
    assert_eq!(
        desk.line("COMMAND GETKEYSANDFLAGS SET a b"),
        "*1\r\n*2\r\n$1\r\na\r\n*2\r\n+OW\r\n+update\r\n"
    );
    // MIGRATE's key is no key where KEYS stands in its place, and only there.
    let migrate: &[&[u8]] = &[
        b"COMMAND", b"GETKEYS", b"MIGRATE", b"KEYS", b"6379", b"", b"0", b"10", b"AUTH", b"KEYS",
    ];
    assert_eq!(desk.run(migrate), "*1\r\n$0\r\n\r\n");
    let with_keys = [migrate, &[b"KEYS", b"a", b"b"]].concat();
    assert_eq!(desk.run(&with_keys), "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    for (line, error) in [
        (
            "COMMAND GETKEYS PING a",
            "ERR The command has no key arguments",
        ),
        ("COMMAND GETKEYS nosuch a", "ERR Invalid command specified"),
        (
            "COMMAND GETKEYS OBJECT nosuch a",
            "ERR Invalid command specified",
        ),
        (
            "COMMAND GETKEYS ZDIFFSTORE to 0 a",
            "ERR Invalid arguments specified for command",
        ),
        (
            "COMMAND GETKEYS SET a",
            "ERR Invalid number of arguments specified for command",
        ),
        (
            "COMMAND GETKEYS GET",
            "ERR Invalid number of arguments specified for command",
        ),
    ] {
        assert_eq!(desk.line(line), format!("-{error}\r\n"));
    }
}

#[test]
fn config_reads_here_and_changes_at_the_control_core() {
    let mut desk = Desk::new();
    assert_eq!(
        desk.line("CONFIG GET maxmemory-samples"),
        "*2\r\n$17\r\nmaxmemory-samples\r\n$1\r\n5\r\n"
    );
    assert_eq!(desk.line("CONFIG SET maxmemory 1mb hz 20"), "+OK\r\n");
    assert!(matches!(
        desk.asked.pop(),
        Some(CoreAsk::ConfigSet { pairs, local: true }) if pairs.len() == 2
    ));
    assert_eq!(desk.line("CONFIG SET a b c"), "-ERR syntax error\r\n");
    assert!(
        desk.line("CONFIG SET a")
            .starts_with("-ERR wrong number of arguments for 'config|set'")
    );
    assert_eq!(
        desk.line("CONFIG REWRITE"),
        "-ERR The server is running without a config file\r\n"
    );
    desk.answers = vec![CoreAnswer::Failed(b"ERR CONFIG SET failed".to_vec())];
    assert_eq!(desk.line("CONFIG SET a b"), "-ERR CONFIG SET failed\r\n");
}

#[test]
fn info_answers_the_sections_asked_for() {
    let mut desk = Desk::new();
    let text = desk.line("INFO server cluster");
    assert!(
        text.contains("# Server\r\nredis_version:7.2.4\r\nserver_name:slotwise\r\n"),
        "{text}"
    );
    assert!(
        text.ends_with("\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n"),
        "{text}"
    );
    assert_eq!(desk.line("INFO nonsense"), "$0\r\n\r\n");
    desk.client.resp3 = true;
    assert!(desk.line("INFO server").starts_with('='));
}

#[test]
fn slowlog_and_latency_read_the_shared_logs() {
    let mut desk = Desk::new();
    assert_eq!(desk.line("SLOWLOG GET"), "*0\r\n");
    let args: [&[u8]; 2] = [b"GET", b"k"];
    desk.observatory
        .slow_log
        .record(desk.now, 12, args.into_iter(), "1.2.3.4:5", b"me", 128);
    assert_eq!(
        desk.line("SLOWLOG GET -1"),
        "*1\r\n*6\r\n:0\r\n:1700000000\r\n:12\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n$9\r\n1.2.3.4:5\r\n$2\r\nme\r\n"
    );
    assert_eq!(desk.line("SLOWLOG LEN"), ":1\r\n");
    assert_eq!(
        desk.line("SLOWLOG GET x"),
        "-ERR count should be greater than or equal to -1\r\n"
    );
    assert_eq!(desk.line("SLOWLOG RESET"), "+OK\r\n");
    assert_eq!(desk.line("SLOWLOG LEN"), ":0\r\n");
    desk.observatory.latency.record("command", desk.now, 20, 10);
    assert_eq!(
        desk.line("LATENCY LATEST"),
        "*1\r\n*4\r\n$7\r\ncommand\r\n:1700000000\r\n:20\r\n:20\r\n"
    );
    assert_eq!(
        desk.line("LATENCY HISTORY command"),
        "*1\r\n*2\r\n:1700000000\r\n:20\r\n"
    );
    assert_eq!(
        desk.line("LATENCY GRAPH x"),
        "-ERR No samples available for event 'x'\r\n"
    );
    assert!(
        desk.line("LATENCY GRAPH command")
            .contains("command - high 20 ms")
    );
    assert_eq!(desk.line("LATENCY RESET x command"), ":1\r\n");
    assert_eq!(desk.line("LATENCY HISTOGRAM get nosuch"), "*0\r\n");
    let get = crate::command::table::commands().find(b"get").unwrap();
    let scale = desk.observatory.scale;
    let counters = &desk.observatory.core(0).commands[usize::from(get.id)];
    counters.ran(scale.ticks(3000), scale, true);
    assert_eq!(
        desk.line("LATENCY HISTOGRAM GET"),
        "*2\r\n$3\r\nget\r\n*4\r\n$5\r\ncalls\r\n:1\r\n$14\r\nhistogram_usec\r\n*2\r\n:4\r\n:1\r\n"
    );
}

#[test]
fn memory_usage_counts_what_a_key_takes() {
    let mut desk = Desk::new();
    assert_eq!(desk.line("MEMORY USAGE k"), "$-1\r\n");
    desk.line("SET k v");
    let bytes: i64 = desk.line("MEMORY USAGE k SAMPLES 0")[1..]
        .trim()
        .parse()
        .unwrap();
    assert!((16..200).contains(&bytes), "{bytes}");
    for line in [
        "MEMORY USAGE k SAMPLES",
        "MEMORY USAGE k SAMPLES -1",
        "MEMORY USAGE k FOO",
    ] {
        assert_eq!(desk.line(line), "-ERR syntax error\r\n");
    }
    assert_eq!(
        desk.line("MEMORY USAGE k SAMPLES x"),
        "-ERR value is not an integer or out of range\r\n"
    );
    desk.observatory.core(0).keys[2].set(1);
    let stats = desk.line("MEMORY STATS");
    assert!(
        stats.starts_with("*56\r\n$14\r\npeak.allocated\r\n"),
        "{stats}"
    );
    desk.client.resp3 = true;
    assert!(desk.line("MEMORY STATS").starts_with("%28\r\n"));
    assert!(
        desk.line("MEMORY DOCTOR").starts_with("=") && desk.line("MEMORY MALLOC-STATS").len() > 100
    );
    assert_eq!(desk.line("MEMORY PURGE"), "+OK\r\n");
}

#[test]
fn memory_stats_writes_as_many_pairs_as_it_says() {
    let mut desk = Desk::new();
    desk.observatory.core(0).keys[2].set(1);
    let stats = desk.line("MEMORY STATS");
    // Flat RESP2: 27 pairs and one database, whose value is three pairs more.
    let values = stats.matches("\r\n$").count()
        + stats.matches("\r\n:").count()
        + stats.matches("\r\n*").count();
    assert_eq!(values, 2 * 28 + 2 * 3);
}

#[test]
fn shutdown_and_monitor_ask_the_control_core() {
    let mut desk = Desk::new();
    for line in ["SHUTDOWN x", "SHUTDOWN SAVE NOSAVE", "SHUTDOWN ABORT NOW"] {
        assert_eq!(desk.line(line), "-ERR syntax error\r\n");
    }
    desk.line("SHUTDOWN NOSAVE NOW FORCE");
    assert!(matches!(
        desk.asked.pop(),
        Some(CoreAsk::Shutdown {
            save: Some(false),
            now: true,
            force: true
        })
    ));
    desk.line("SHUTDOWN ABORT");
    assert!(matches!(desk.asked.pop(), Some(CoreAsk::AbortShutdown)));
    assert_eq!(desk.line("MONITOR"), "+OK\r\n");
    assert!(desk.client.monitor);
    assert!(desk.line("TIME").starts_with("*2\r\n$10\r\n"));
}

#[test]
fn debug_is_for_those_the_configuration_names() {
    let mut desk = Desk::new();
    assert!(
        desk.line("DEBUG SLEEP 0")
            .starts_with("-ERR DEBUG command not allowed. If the enable-debug-command")
    );
    desk.client.peer = "10.0.0.1:5".into();
    desk.config = with_debug("local");
    assert!(
        desk.line("DEBUG JMAP")
            .starts_with("-ERR DEBUG command not allowed.")
    );
    desk.client.peer = "127.0.0.1:5".into();
    assert_eq!(desk.line("DEBUG JMAP"), "+OK\r\n");
}

/// `enable-debug-command` cannot be changed while the server runs.
fn with_debug(value: &str) -> std::sync::Arc<crate::config::Config> {
    let mut config = crate::config::Config::default();
    config.enable_debug_command = match value {
        "local" => crate::config::ProtectedAction::Local,
        _ => crate::config::ProtectedAction::Yes,
    };
    std::sync::Arc::new(config)
}

#[test]
fn debug_subcommands() {
    let mut desk = Desk::new();
    desk.config = with_debug("yes");
    for (line, reply) in [
        (
            "DEBUG PROTOCOL attrib",
            "$39\r\nSome real reply following the attribute\r\n",
        ),
        (
            "DEBUG PROTOCOL push",
            "-ERR RESP2 is not supported by this command\r\n",
        ),
        (
            "DEBUG PROTOCOL map",
            "*6\r\n:0\r\n:0\r\n:1\r\n:1\r\n:2\r\n:0\r\n",
        ),
        ("DEBUG PROTOCOL double", "$5\r\n3.141\r\n"),
        ("DEBUG STRINGMATCH-LEN 5 a*a", ":1\r\n"),
        ("DEBUG STRINGMATCH-LEN 5 b*", ":0\r\n"),
        ("DEBUG OBJECT nokey", "-ERR no such key\r\n"),
        ("DEBUG HTSTATS 99", "-ERR Out of range database\r\n"),
        ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK\r\n"),
        ("DEBUG QUICKLIST-PACKED-THRESHOLD 1b", "+OK\r\n"),
        ("DEBUG ERROR MYERR", "-MYERR\r\n"),
        (
            "DEBUG FOO",
            "-ERR unknown subcommand or wrong number of arguments for 'FOO'. Try DEBUG HELP.\r\n",
        ),
    ] {
        assert_eq!(desk.line(line), reply, "{line}");
    }
    assert!(!desk.shard.expires_actively);
    desk.line("SET k v");
    let object = desk.line("DEBUG OBJECT k");
    assert!(
        object.contains(" refcount:1 encoding:embstr serializedlength:1 lru:"),
        "{object}"
    );
    assert!(
        desk.line("DEBUG HTSTATS 0")
            .contains("number of elements: 1\n")
    );
    assert!(
        desk.line("DEBUG HTSTATS-KEY k")
            .starts_with("-ERR The value stored")
    );
    assert_eq!(
        desk.line("DEBUG LISTPACK k"),
        "-ERR Not a listpack encoded object.\r\n"
    );
    assert!(
        matches!(desk.step("DEBUG SLEEP 0.5"), Ok(Step::Stall { time, only: None }) if time.as_millis() == 500)
    );
    assert!(matches!(
        desk.step("DEBUG STALL-SHARD 0 0.5"),
        Ok(Step::Stall { only: Some(0), .. })
    ));
    assert_eq!(
        desk.line("DEBUG STALL-SHARD 7 0.5"),
        "-ERR value is not an integer or out of range\r\n"
    );
    desk.client.resp3 = true;
    assert!(
        desk.line("DEBUG PROTOCOL attrib")
            .starts_with("|1\r\n$14\r\nkey-popularity\r\n*2\r\n")
    );
    assert_eq!(
        desk.line("DEBUG PROTOCOL push"),
        ">2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n$40\r\nSome real reply following the push reply\r\n"
    );
}

#[test]
fn help_counts_its_lines() {
    let mut desk = Desk::new();
    for container in [
        "CLIENT", "COMMAND", "CONFIG", "MEMORY", "SLOWLOG", "LATENCY", "DEBUG",
    ] {
        desk.config = with_debug("yes");
        let text = desk.line(&format!("{container} HELP"));
        let (count, rest) = text[1..].split_once("\r\n").unwrap();
        assert_eq!(
            rest.lines().count(),
            count.parse::<usize>().unwrap(),
            "{container}"
        );
        assert!(rest.ends_with("+HELP\r\n+    Prints this help.\r\n"));
    }
}
