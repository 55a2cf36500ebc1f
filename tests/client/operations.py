"""Does the server do what its operators ask of it while it runs: listen elsewhere, show commands, sleep, come back?

usage: operations.py [WORD ...] [--shards N] [--slotwise PATH]

Every test is a function whose name is the sentence it proves, in the manner of runtime.py, whose helpers it uses.
"""

import os
import re
import signal
import socket
import sys
import threading
import time

import runtime
import support
from runtime import equal, main, true
from support import Client, ErrorReply, wait_until

TESTS = []


def test(function):
    TESTS.append(function)
    return function


def answers(port, host="127.0.0.1"):
    """Whether a server answers PING at this address."""
    try:
        with Client((host, port), timeout=2.0) as client:
            return client.call("PING") == b"PONG"
    except (OSError, ConnectionError):
        return False


def spread_keys(count):
    """Keys of many slots: with several shards, some of each."""
    return [f"key:{number}" for number in range(count)]


# --- listening --------------------------------------------------------------------------------------------------------

@test
def config_set_port_moves_the_listener_and_keeps_the_clients(house):
    with house.server() as server, server.client() as client:
        old, new = server.port, support.free_port()
        equal(client.call("CONFIG", "SET", "port", new), b"OK")
        equal(client.call("CONFIG", "GET", "port"), [b"port", str(new).encode()])
        true(answers(new), "the new port answers")
        true(not answers(old), "the old port is closed")
        equal(client.call("PING"), b"PONG", "the client of the old port")
        true(f"tcp_port:{new}".encode() in client.must("INFO", "server"), "INFO tells the new port")
        equal(client.call("CONFIG", "SET", "port", 0), b"OK")
        true(not answers(new), "port 0 closes the listener")
        equal(client.call("CONFIG", "SET", "port", old), b"OK")
        true(answers(old), "the old port answers again")


@test
def config_set_bind_listens_on_the_new_addresses_of_the_same_port(house):
    with house.server() as server, server.client() as client:
        port = server.port
        equal(client.call("CONFIG", "SET", "bind", "127.0.0.2 127.0.0.3"), b"OK")
        true(answers(port, "127.0.0.2") and answers(port, "127.0.0.3"), "the new addresses answer")
        true(not answers(port), "the old address is closed")
        # Each of these stands in the other's way, so the old one has to go first.
        equal(client.call("CONFIG", "SET", "bind", "* -::*"), b"OK")
        true(answers(port) and answers(port, "127.0.0.2"), "every address answers")
        equal(client.call("CONFIG", "SET", "bind", "127.0.0.1"), b"OK")
        true(answers(port) and not answers(port, "127.0.0.2"), "only the one address answers")
        equal(client.call("CONFIG", "SET", "bind", "127.0.0.1 -192.0.2.1"), b"OK", "an address that may be missing")
        true(answers(port), "the address that is there answers")


def title_of(server):
    with open(f"/proc/{server.pid}/cmdline", "rb") as file:
        return file.read().rstrip(b"\0").decode()


@test
def ps_shows_where_the_server_listens(house):
    with house.server() as server, server.client() as client:
        program = title_of(server).split(" ")[0]
        true(program.endswith("slotwise"), f"the program of {title_of(server)!r}")
        equal(title_of(server), f"{program} 127.0.0.1:{server.port}", "the title")
        long = "x" * 60
        equal(client.call("CONFIG", "SET", "proc-title-template", f"{long} {{port}} {{server-mode}} "), b"OK")
        equal(title_of(server), f"{long} {server.port}", "the title by a template, longer than the arguments")
        refused = client.call("CONFIG", "SET", "proc-title-template", "{who}")
        true(isinstance(refused, ErrorReply) and b"unknown variables" in refused, f"an unknown variable: {refused}")
    with house.server("--set-proc-title", "no") as server:
        true(f"--port\0{server.port}" in title_of(server), "the arguments, when no title is wanted")


@test
def an_address_that_cannot_be_had_changes_nothing(house):
    with house.server() as server, server.client() as client, socket.socket() as taken:
        taken.bind(("127.0.0.1", support.free_port()))
        taken.listen()
        used = taken.getsockname()[1]
        before = client.must("CONFIG", "GET", "port", "bind", "maxmemory", "dir")
        refused = b"ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. " \
                  b"Check server logs."
        equal(client.call("CONFIG", "SET", "maxmemory", "100mb", "port", used), refused)
        equal(client.call("CONFIG", "SET", "port", used), refused)
        equal(client.call("CONFIG", "SET", "bind", "127.0.0.1 192.0.2.1"),
              b"ERR CONFIG SET failed (possibly related to argument 'bind') - Failed to bind to specified addresses.")
        equal(client.call("CONFIG", "SET", "bind", "* 192.0.2.1"),
              b"ERR CONFIG SET failed (possibly related to argument 'bind') - Failed to bind to specified addresses.")
        equal(client.must("CONFIG", "GET", "port", "bind", "maxmemory", "dir"), before)
        true(answers(server.port), "the old address answers")


@test
def a_restart_right_after_a_kill_gets_the_same_port(house):
    server = house.server().start()
    try:
        for _ in range(3):
            clients = [server.client() for _ in range(8)]
            for client in clients:
                equal(client.call("PING"), b"PONG")
            os.kill(server.pid, signal.SIGKILL)
            server.process.wait(10)
            server.start()  # raises if the port cannot be had
            for client in clients:
                client.close()
            true(answers(server.port), "the new server answers")
    finally:
        server.stop()


# --- what is shown ----------------------------------------------------------------------------------------------------

def monitor(server):
    """A connection that monitors."""
    client = server.client()
    equal(client.call("MONITOR"), b"OK")
    return client


def shown(client, count):
    """The next lines, without the time: (address and database, words)."""
    lines = []
    while len(lines) < count:
        line = client.read()[0].value().decode()
        found = re.fullmatch(r"\d+\.\d{6} \[(\d+ [^\]]+)\] (.*)", line)
        true(found, f"a line of MONITOR: {line}")
        lines.append((found[1], found[2]))
    return lines


@test
def monitor_shows_the_commands_of_exec_between_multi_and_exec(house):
    server = house.common()
    with monitor(server) as watcher, server.client() as client:
        peer = "%s:%d" % client.socket.getsockname()
        keys = spread_keys(8)
        commands = [("SET", key, "v") for key in keys] + [("CONFIG", "GET", "maxmemory"), ("SELECT", "2"), ("DBSIZE",)]
        client.transaction(commands)
        client.transaction([("GET", keys[0])])  # everything on one shard
        client.transaction([("GET", keys[1])])
        expected = ["MULTI"] + [f'SET" "{key}" "v' for key in keys] + ["SELECT", "DBSIZE", "EXEC"]
        expected += ["MULTI", f'GET" "{keys[0]}', "EXEC", "MULTI", f'GET" "{keys[1]}', "EXEC"]
        lines = [words for source, words in shown(watcher, len(expected)) if source.endswith(peer)]
        equal([line.strip('"').split('" "2')[0] for line in lines], expected)


@test
def monitor_keeps_the_order_of_each_connection_and_of_each_key(house):
    server = house.common()
    rounds, writers = 200, 3
    with monitor(server) as watcher:
        def write(name):
            with server.client() as client:
                client.pipeline([("SET", f"key:{number % 7}", f"{name}:{number}") for number in range(rounds)])

        threads = [threading.Thread(target=write, args=(name,)) for name in range(writers)]
        for thread in threads:
            thread.start()
        lines = [words.strip('"').split('" "') for _, words in shown(watcher, rounds * writers)]
        for thread in threads:
            thread.join()
    last = {}
    for name in range(writers):
        own = [int(words[2].split(":")[1]) for words in lines if words[2].startswith(f"{name}:")]
        equal(own, list(range(rounds)), f"order of connection {name}")
    for words in lines:
        last[words[1]] = words[2]
    with server.client() as client:
        for key, value in last.items():
            equal(client.call("GET", key), value.encode(), f"the last line of {key} is what it holds")


@test
def monitor_does_not_show_what_a_broken_watch_kept_from_running(house):
    server = house.common()
    with monitor(server) as watcher, server.client() as client, server.client() as other:
        for key in spread_keys(6):
            client.call("WATCH", key)
            other.call("SET", key, "other")
            client.call("MULTI")
            client.call("SET", key, "mine")
            equal(client.call("EXEC"), None)
            lines = [words.split('"')[1] for _, words in shown(watcher, 4)]
            equal(lines, ["WATCH", "SET", "MULTI", "EXEC"])


@test
def asking_does_not_use_up_memory(house):
    server = house.common()
    with server.client() as client:
        def used():
            lines = client.must("INFO", "memory").decode().splitlines()
            return int(next(line for line in lines if line.startswith("used_memory:")).split(":")[1])

        for _ in range(10):
            client.must("INFO")
        before = used()
        for _ in range(300):
            client.must("INFO")
        true(used() - before < 200_000, f"used_memory after many INFO: {before} -> {used()}")


@test
def the_slow_log_bears_the_clients_address_and_name_whichever_core_ran_the_command(house):
    server = house.common()
    with server.client() as client:
        peer = b"%s:%d" % (client.socket.getsockname()[0].encode(), client.socket.getsockname()[1])
        client.must("CLIENT", "SETNAME", "slowpoke")
        client.must("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "1000")
        client.must("SLOWLOG", "RESET")
        for key in spread_keys(20):
            client.must("SET", key, "v")
            client.transaction([("GET", key)])
        client.must("KEYS", "*")
        client.must("MGET", *spread_keys(5))
        client.must("CONFIG", "SET", "slowlog-log-slower-than", "10000")
        entries = client.must("SLOWLOG", "GET", "1000")
        for entry in entries:
            equal(entry[4:6], [peer, b"slowpoke"], f"entry {entry[3]}")
        names = [entry[3][0] for entry in entries]
        equal((names.count(b"SET"), names.count(b"GET"), names.count(b"KEYS"), names.count(b"MGET")), (20, 20, 1, 1))
        true(b"EXEC" not in names, "EXEC is not in the slow log, its commands are")


@test
def a_command_that_every_shard_answers_for_itself_counts_once(house):
    server = house.common()
    with server.client() as client:
        client.must("CONFIG", "RESETSTAT")
        for _ in range(5):
            client.must("KEYS", "*")
            client.must("DBSIZE")
        stats = client.must("INFO", "commandstats").decode()
        for name in ("keys", "dbsize", "config|resetstat"):
            calls = int(re.search(rf"cmdstat_{re.escape(name)}:calls=(\d+)", stats)[1])
            equal(calls, 1 if name.startswith("config") else 5, name)


# --- what is held back ------------------------------------------------------------------------------------------------

@test
def debug_sleep_makes_the_whole_server_unresponsive(house):
    with house.server("--enable-debug-command", "yes") as server:
        others = [server.client() for _ in range(2 * house.shards)]  # clients of every core
        with server.client() as sleeper:
            for key, other in zip(spread_keys(len(others)), others):
                equal(other.call("SET", key, "v"), b"OK")
            began = time.monotonic()
            sleeper.send("DEBUG", "SLEEP", "0.6")
            time.sleep(0.15)
            for other in others:
                other.send("PING")
            for other in others:
                equal(other.read()[0].value(), b"PONG")
                true(time.monotonic() - began > 0.5, "nobody is served meanwhile")
            equal(sleeper.read()[0].value(), b"OK")
            took = time.monotonic() - began
            true(0.6 <= took < 5, f"it took {took} s")
            stats = sleeper.must("INFO", "commandstats").decode()
            counted = int(re.search(r"cmdstat_debug:calls=1,usec=(\d+)", stats)[1])
            true(counted >= 590_000, f"its time is counted, but as {counted} us")  # by the cycle counter, scaled
        for other in others:
            other.close()


@test
def client_reply_within_exec_silences_what_follows_it(house):
    server = house.common()
    keys = spread_keys(3)

    def raw(*commands):
        """The bytes of EXEC's reply, with a mark behind it."""
        with server.client() as client:
            client.must("MSET", keys[0], "0", keys[1], "1", keys[2], "2")
            client.send("MULTI")
            equal(client.read()[0].value(), b"OK")
            for command in commands:
                client.send(*command)
                equal(client.read()[0].value(), b"QUEUED")
            client.send_raw(support.encode("EXEC") + support.encode("GET", keys[2]) + support.encode("ECHO", "end"))
            time.sleep(0.2)
            return client.socket.recv(1 << 16)

    get = [("GET", key) for key in keys]
    off, on, skip = [("CLIENT", "REPLY", word) for word in ("OFF", "ON", "SKIP")]
    value = [b"$1\r\n%d\r\n" % number for number in range(3)]
    end = value[2] + b"$3\r\nend\r\n"
    equal(raw(get[0], on, get[1]), b"*3\r\n" + value[0] + b"+OK\r\n" + value[1] + end)
    equal(raw(get[0], off, get[1], on, get[2]), b"*5\r\n" + value[0] + b"+OK\r\n" + value[2] + end)
    equal(raw(get[0], skip, get[1]), b"*3\r\n" + value[0] + value[1] + b"$3\r\nend\r\n", "SKIP is for the next command")
    with server.client() as client:
        client.send_raw(b"".join(support.encode(*words) for words in
                                 [("CLIENT", "REPLY", "OFF"), ("MULTI",), get[0], on, get[1], ("EXEC",)]))
        time.sleep(0.2)
        equal(client.socket.recv(1 << 16), b"+OK\r\n" + value[1], "the array's header fell into the silence")


# --- whether it tells the truth ---------------------------------------------------------------------------------------

@test
def tools_that_put_back_what_config_get_gave_are_not_refused_for_our_directives(house):
    server = house.common()
    with server.client() as client:
        for name in ("shards", "pin", "borrow", "pipeline-order"):
            value = client.must("CONFIG", "GET", name)[1]
            equal(client.call("CONFIG", "SET", name, value), b"OK", name)
        wrong = client.call("CONFIG", "SET", "shards", str(house.shards + 1))
        true(isinstance(wrong, ErrorReply) and b"immutable" in wrong, wrong)


@test
def client_list_counts_the_request_that_asks(house):
    server = house.common()
    with server.client() as client:
        line = client.must("CLIENT", "LIST", "ID", client.must("CLIENT", "ID")).decode()
        length = len(support.encode("CLIENT", "LIST", "ID", re.search(r"id=(\d+)", line)[1]))
        true(f" qbuf={length} " in line, line)
        wait_until(lambda: f" qbuf={len(support.encode('CLIENT', 'INFO'))} " in client.must("CLIENT", "INFO").decode(),
                   2, "qbuf of CLIENT INFO")


if __name__ == "__main__":
    runtime.TESTS[:] = TESTS
    sys.exit(main())
