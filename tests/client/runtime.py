"""Does the server hold when clients misbehave, rush, stall, vanish or come in thousands, and does its life run clean?

usage: runtime.py [WORD ...] [--shards N] [--slotwise PATH] [--full]

Every test is a function whose name is the sentence it proves; WORDs select those whose name holds one of them. A test
takes a `House`, which starts servers with the wanted number of shards. --full uses the sizes of the requirements (a
million requests, 10,000 and 20,000 connections) where the usual run, which must be quick, uses a tenth.
"""

import argparse
import os
import random
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import support
from support import Client, ErrorReply, encode, wait_until

TESTS = []
MEGABYTE = 1 << 20


def test(function):
    TESTS.append(function)
    return function


class House:
    """Starts servers for tests, and keeps one that tests share as long as it lives."""

    def __init__(self, options):
        self.options = options
        self.shards = options.shards
        self.full = options.full
        self.shared = None

    def server(self, *extra, shards=None):
        """A server of the test's own; use it in a `with`."""
        return support.slotwise(self.options.slotwise, shards=shards or self.shards, extra=extra)

    def common(self):
        """The shared server, empty."""
        if self.shared is None or not self.shared.alive():
            self.shared = self.server().start()
        with self.shared.client() as client:
            empty(client)
        return self.shared

    def close(self):
        if self.shared is not None:
            self.shared.stop()


def empty(client):
    """Removes all keys, also where FLUSHALL does not exist."""
    if isinstance(client.call("FLUSHALL"), ErrorReply):
        keys = client.call("KEYS", "*")
        if isinstance(keys, list):
            for start in range(0, len(keys), 1000):
                client.call("DEL", *keys[start:start + 1000])


def equal(found, expected, what=""):
    if found != expected:
        raise AssertionError(f"{what}: {str(found)[:300]} instead of {str(expected)[:300]}")


def true(condition, what):
    if not condition:
        raise AssertionError(what)


def read_exactly(sock, count):
    """`count` bytes; fewer when the other side closes."""
    parts, left = [], count
    while left > 0:
        data = sock.recv(min(left, 1 << 20))
        if not data:
            break
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


def read_to_end(sock, seconds=10.0):
    """Everything until the server closes; a reset counts as the end."""
    sock.settimeout(seconds)
    parts = []
    try:
        while data := sock.recv(1 << 20):
            parts.append(data)
    except ConnectionError:
        pass
    return b"".join(parts)


def connect(server, **options):
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=options.pop("timeout", 30))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def exchange(server, data, seconds=10.0):
    """Writes, then reads until the server closes."""
    with connect(server) as sock:
        sock.sendall(data)
        return read_to_end(sock, seconds)


def resident_bytes(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid):
    """CPU time of all threads so far, by the scheduler's own exact count."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
        except OSError:
            pass
    return total / 1e9


def idle_share(pid, seconds):
    """Share of one core that the server uses over some seconds."""
    before, start = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - start)


def quiet_again(server, cores_share=0.01, what="the server"):
    """The server answers on new connections, does nothing by itself, and ends within a second of SIGTERM."""
    for _ in range(8):
        with server.client() as client:
            equal(client.call("PING"), b"PONG", f"{what} answers")
            for n in range(20):
                equal(client.call("SET", f"after:{n}", n), b"OK", f"{what} writes")
            equal(client.call("MGET", *(f"after:{n}" for n in range(20))),
                  [b"%d" % n for n in range(20)], f"{what} reads several")
    cores = len(threads_of(server.pid))
    wait_until(lambda: idle_share(server.pid, 0.5) < cores_share * cores, 10, f"{what} to become idle")


def threads_of(pid):
    names = []
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            name = Path(f"/proc/{pid}/task/{task}/comm").read_text().strip()
        except OSError:
            continue
        if re.fullmatch(r"shard-\d+|control", name):
            names.append(name)
    return sorted(set(names))


def terminate(server, number=signal.SIGTERM, seconds=10.0):
    """Ends the server by a signal; gives its exit status and how long it took."""
    start = time.monotonic()
    server.process.send_signal(number)
    status = server.process.wait(seconds + 10)
    took = time.monotonic() - start
    true(took < seconds, f"the end took {took:.2f} s")
    return status


# --- many requests, few reads ------------------------------------------------------------------------------------------

@test
def replies_to_requests_written_before_the_first_read_all_come_in_order(house):
    server = house.common()
    keys, total = 1000, 1_000_000 if house.full else 200_000
    values = [(b"%d." % n) * 400 for n in range(keys)]
    values = [value[:1000].ljust(1000, b"x") for value in values]
    with server.client() as client:
        client.pipeline([("SET", f"big:{n}", values[n]) for n in range(keys)])
    expected = b"".join(b"$1000\r\n%s\r\n" % value for value in values)
    requests = b"".join(encode("GET", f"big:{n}") for n in range(keys))
    with connect(server, timeout=120) as sock:
        for _ in range(total // keys):
            sock.sendall(requests)
        for round_number in range(total // keys):
            got = read_exactly(sock, len(expected))
            true(got == expected, f"replies of round {round_number} are not those of the requests")
    with server.client() as client:
        equal(client.call("PING"), b"PONG")


@test
def a_client_that_reads_slowly_gets_everything(house):
    server = house.common()
    with server.client() as client:
        client.call("SET", "v", b"y" * 10_000)
    with connect(server, timeout=60) as sock:
        sock.sendall(encode("GET", "v") * 500 + encode("PING"))
        total = 500 * 10_010
        got, reads = 0, 0
        while got < total:
            data = sock.recv(65536)
            true(data, "the server closed")
            got += len(data)
            reads += 1
            if reads % 8 == 0:
                time.sleep(0.005)
        equal((sock.recv(100) if got == total else b"") or b"+PONG\r\n", b"+PONG\r\n")


@test
def a_reply_larger_than_the_socket_takes_does_not_wait_for_the_clock(house):
    server = house.common()

    def middle(times, work):
        """The middle one of so many durations: a busy machine may stretch some of them."""
        durations = []
        for _ in range(times):
            start = time.monotonic()
            work()
            durations.append(time.monotonic() - start)
        return sorted(durations)[times // 2]

    def fetch():
        client.send("GET", "v")
        equal(len(read_exactly(client.socket, size + len(f"${size}\r\n\r\n"))), size + len(f"${size}\r\n\r\n"))

    def fetch_many():
        client.send_raw(encode("GET", "v") * 1000)
        read_exactly(client.socket, 1000 * 1009)

    # Each that waited for the next tick would take about 100 ms, four of them the largest.
    with server.client() as client:
        for size, most in ((40_000, 0.05), (1_000_000, 0.05), (10_000_000, 0.35)):
            client.call("SET", "v", b"y" * size)
            took = middle(15, fetch)
            true(took < most, f"a reply of {size} bytes took {took:.3f} s")
        client.call("SET", "v", b"y" * 1000)
        took = middle(15, fetch_many)
        true(took < 0.05, f"1000 replies of 1000 bytes took {took:.3f} s")


@test
def an_output_limit_closes_the_client_that_does_not_read(house):
    with house.server("--client-output-buffer-limit", "normal 4mb 0 0") as server:
        with server.client() as client:
            client.call("SET", "v", b"y" * 100_000)
            with connect(server) as sock:
                try:
                    for _ in range(200):
                        sock.sendall(encode("GET", "v") * 10)
                except ConnectionError:
                    pass
                got = read_to_end(sock)
            true(len(got) < 100 * MEGABYTE, f"the client got {len(got)} bytes")
            wait_until(lambda: b"closed for overcoming of output buffer limits" in Path(server.log_path).read_bytes(),
                       5, "the log line")
            equal(client.call("PING"), b"PONG")
            true(resident_bytes(server.pid) < 150 * MEGABYTE, "the memory of unread replies is bounded")


@test
def a_soft_output_limit_closes_after_its_time(house):
    with house.server("--client-output-buffer-limit", "normal 0 1mb 1") as server, server.client() as client:
        client.call("SET", "v", b"y" * 100_000)
        with connect(server) as sock:
            sock.sendall(encode("GET", "v") * 200)
            time.sleep(3)
            got = read_to_end(sock)
            true(len(got) < 200 * 100_000, "the client was closed before it had everything")


@test
def an_input_limit_closes_the_client_that_sends_too_much(house):
    with house.server("--client-query-buffer-limit", "1mb") as server, server.client() as client:
        with connect(server) as sock:
            try:
                sock.sendall(b"*2\r\n$3\r\nGET\r\n$100000000\r\n")
                for _ in range(100):
                    sock.sendall(b"z" * 100_000)
                    time.sleep(0.002)
                raise AssertionError("the server read 10 MB of a request")
            except ConnectionError:
                pass
        equal(client.call("PING"), b"PONG")


@test
def a_long_pipeline_is_not_an_oversized_request(house):
    with house.server("--client-query-buffer-limit", "1mb") as server:
        with server.client(timeout=60) as client:
            commands = [("SET", f"k:{n}", "v" * 50) for n in range(100_000)]
            sender = threading.Thread(target=client.send_raw, args=(b"".join(encode(*c) for c in commands),))
            sender.start()
            for _ in commands:
                equal(client.read()[1], b"+OK\r\n")
            sender.join()


@test
def announced_sizes_cost_nothing_until_bytes_come(house):
    server = house.common()
    before = resident_bytes(server.pid)
    socks = []
    for n in range(200):
        sock = connect(server)
        sock.sendall([b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc", b"*2147483647\r\n$4\r\nMGET\r\n$1\r\na\r\n",
                      b"*1048576\r\n$3\r\nDEL\r\n"][n % 3])
        socks.append(sock)
    time.sleep(0.3)
    grown = resident_bytes(server.pid) - before
    true(grown < 8 * MEGABYTE, f"200 announced requests took {grown} bytes")
    for sock in socks:
        sock.close()
    equal(exchange(server, b"*2147483648\r\n"), b"-ERR Protocol error: invalid multibulk length\r\n")


@test
def a_bulk_above_proto_max_bulk_len_is_a_protocol_error(house):
    with house.server("--proto-max-bulk-len", "1mb") as server:
        equal(exchange(server, b"*2\r\n$3\r\nGET\r\n$1048577\r\n"), b"-ERR Protocol error: invalid bulk length\r\n")
        with server.client() as client:
            equal(client.call("SET", "k", b"x" * MEGABYTE), b"OK")


@test
def huge_values_pass_between_shards_and_back(house):
    server = house.common()
    size = (100 if house.full else 30) * MEGABYTE
    with server.client(timeout=60) as client:
        for n in range(3):
            value = (b"%d" % n) * size
            equal(client.call("SET", f"huge:{n}", value), b"OK")
            equal(client.call("STRLEN", f"huge:{n}"), size)
            true(client.call("GET", f"huge:{n}") == value, "the value came back changed")
        for n in range(3):
            client.call("DEL", f"huge:{n}")


@test
def a_request_of_very_many_arguments_is_read_in_linear_time(house):
    server = house.common()
    with server.client(timeout=60) as client:
        count = 1_000_000
        words = ["DEL", *(f"a:{n}" for n in range(count))]
        data = encode(*words)
        start = time.monotonic()
        client.send_raw(data)
        equal(client.read()[0].value(), 0)
        true(time.monotonic() - start < 20, f"a million arguments took {time.monotonic() - start:.1f} s")


# --- how requests are cut ---------------------------------------------------------------------------------------------

def mixed_commands(generator, count):
    """Commands with known replies that touch one shard, another, several, all or none; each with its reply."""
    commands, state = [], {}
    keys = [f"m:{n}" for n in range(40)]
    for number in range(count):
        roll = generator.randrange(14)
        key = generator.choice(keys)
        if roll < 3:
            state[key] = b"%d" % number
            commands.append((("SET", key, number), b"OK"))
        elif roll < 6:
            commands.append((("GET", key), state.get(key)))
        elif roll == 6:
            chosen = generator.sample(keys, 5)
            for one in chosen:
                state[one] = b"v%d" % number
            commands.append((("MSET", *(word for one in chosen for word in (one, f"v{number}"))), b"OK"))
        elif roll == 7:
            chosen = generator.sample(keys, 6)
            commands.append((("MGET", *chosen), [state.get(one) for one in chosen]))
        elif roll == 8:
            commands.append((("ECHO", f"e{number}"), b"e%d" % number))
        elif roll == 9:
            commands.append((("DBSIZE",), len(state)))
        elif roll == 10:
            other = generator.choice(keys)
            if key in state:
                state[other] = state.pop(key)
                commands.append((("RENAME", key, other), b"OK"))
            else:
                commands.append((("RENAME", key, other), ErrorReply(b"ERR no such key")))
        elif roll == 11:
            commands.append((("NOSUCH",), ErrorReply(b"ERR unknown command 'NOSUCH', with args beginning with: ")))
        elif roll == 12:
            commands += [(("MULTI",), b"OK"), (("SET", key, f"t{number}"), b"QUEUED"), (("GET", key), b"QUEUED"),
                         (("EXEC",), [b"OK", b"t%d" % number])]
            state[key] = b"t%d" % number
        else:
            chosen = generator.sample(keys, 3)
            commands.append((("DEL", *chosen), sum(state.pop(one, None) is not None for one in chosen)))
    return commands


@test
def a_pipeline_of_every_kind_of_command_keeps_the_order_of_its_replies(house):
    with house.server("--pipeline-order", "strict") as server:
        mixed_pipelines(server, random.Random(7), 5 if not house.full else 40)


@test
def a_relaxed_pipeline_on_own_keys_keeps_the_order_of_its_replies(house):
    mixed_pipelines(house.common(), random.Random(8), 5 if not house.full else 40)


def mixed_pipelines(server, generator, rounds):
    """Sends mixed commands in pieces of any size and checks every reply."""
    for _ in range(rounds):
        with server.client() as client:
            empty(client)
            commands = mixed_commands(generator, 3000)
            data = b"".join(encode(*command) for command, _ in commands)
            sender = threading.Thread(target=send_in_pieces, args=(client.socket, data, generator.randrange(1 << 30)))
            sender.start()
            for number, (command, expected) in enumerate(commands):
                found = client.read()[0].value()
                if found != expected:
                    sender.join(5)
                    raise AssertionError(f"command {number} {command}: {found!r} instead of {expected!r}")
            sender.join()


def send_in_pieces(sock, data, seed):
    generator = random.Random(seed)
    at = 0
    while at < len(data):
        size = generator.choice([1, 7, 100, 1000, 16 * 1024, 16 * 1024 + 1, 40_000, 200_000])
        sock.sendall(data[at:at + size])
        at += size
        if generator.random() < 0.1:
            time.sleep(0.001)


@test
def a_request_half_read_behind_one_that_waits_is_read_again(house):
    server = house.common()
    for cut in range(1, 40, 3):
        with connect(server) as sock:
            keys = [f"h:{n}" for n in range(16)]
            last = encode("SET", "half:read", "value")
            first = b"".join(encode("GET", key) for key in keys) + encode("MGET", *keys) + encode("DBSIZE")
            sock.sendall(first + last[:cut])
            time.sleep(0.03)
            sock.sendall(last[cut:] + encode("GET", "half:read") + b"QUIT\r\n")
            got = read_to_end(sock)
            true(got.endswith(b"+OK\r\n$5\r\nvalue\r\n+OK\r\n"), f"cut at {cut}: {got[-80:]!r}")


@test
def a_client_that_sends_byte_by_byte_is_answered(house):
    server = house.common()
    with server.client() as client:
        for byte in encode("SET", "slow", "typist") + b"GET slow\r\n" + b"SET q \"a b\"\r\n" + encode("GET", "q"):
            client.send_raw(bytes([byte]))
        equal([client.read()[0].value() for _ in range(4)], [b"OK", b"typist", b"OK", b"a b"])


@test
def inline_requests_may_be_quoted(house):
    server = house.common()
    with server.client() as client:
        cases = [(b'ECHO "a b"\r\n', b"a b"), (b"ECHO 'it\\'s'\r\n", b"it's"), (b'ECHO "\\x41\\n"\n', b"A\n"),
                 (b"  ECHO   plain  \r\n", b"plain"), (b'SET "in line" \'v w\'\r\nGET "in line"\r\n', b"OK")]
        for line, expected in cases:
            client.send_raw(line)
            equal(client.read()[0].value(), expected, str(line))
        equal(client.read()[0].value(), b"v w")
        client.send_raw(b"\r\n\r\n*0\r\n*-1\r\nPING\r\n")
        equal(client.read()[0].value(), b"PONG")


PROTOCOL_ERRORS = [
    (b"*abc\r\n", b"invalid multibulk length"), (b"*3000000000\r\n", b"invalid multibulk length"),
    (b"*2\r\n:3\r\n", b"expected '$', got ':'"), (b"*1\r\n$-5\r\n", b"invalid bulk length"),
    (b"*1\r\n$999999999999\r\n", b"invalid bulk length"), (b'ECHO "a\r\n', b"unbalanced quotes in request"),
    (b"a" * 70_000, b"too big inline request"), (b"*" + b"1" * 70_000, b"too big mbulk count string"),
    (b"*1\r\n$" + b"1" * 70_000, b"too big bulk count string"),
]


@test
def a_protocol_error_has_its_text_comes_after_earlier_replies_and_closes(house):
    server = house.common()
    before = b"".join(encode("SET", f"p:{n}", n) for n in range(20)) + encode("MGET", *(f"p:{n}" for n in range(20)))
    replies = b"+OK\r\n" * 20 + b"*20\r\n" + b"".join(b"$%d\r\n%d\r\n" % (len(str(n)), n) for n in range(20))
    for request, text in PROTOCOL_ERRORS:
        for prefix, expected in ((b"", b""), (before, replies)):
            got = exchange(server, prefix + request)
            equal(got, expected + b"-ERR Protocol error: " + text + b"\r\n", str(request[:20]))


@test
def quit_answers_and_closes_and_what_follows_it_does_not_run(house):
    server = house.common()
    for request in (encode("QUIT"), b"QUIT\r\n", encode("quit", "now")):
        data = encode("SET", "q:a", 1) + encode("SET", "q:b", 2) + request + encode("SET", "q:c", 3)
        got = exchange(server, data)
        true(got in (b"+OK\r\n" * 3, b"+OK\r\n" * 2 + b"-ERR wrong number of arguments for 'quit' command\r\n+OK\r\n"),
             f"{got!r}")
    with server.client() as client:
        equal(client.call("EXISTS", "q:a", "q:b"), 2)


# --- how clients leave ------------------------------------------------------------------------------------------------

@test
def a_client_that_ends_its_side_gets_the_replies_to_what_it_sent(house):
    server = house.common()
    keys = [f"e:{n}" for n in range(50)]
    with server.client() as client:
        client.pipeline([("SET", key, "x" * 100) for key in keys])
    for count in (1, 50, 3000):
        for tail in (b"", encode("MGET", *keys)[:40]):
            with connect(server) as sock:
                sock.sendall(b"".join(encode("GET", keys[n % 50]) for n in range(count)) + encode("DBSIZE") + tail)
                sock.shutdown(socket.SHUT_WR)
                got = read_to_end(sock)
                equal(got, (b"$100\r\n" + b"x" * 100 + b"\r\n") * count + b":%d\r\n" % len(keys), f"{count} requests")
    with connect(server) as sock:
        sock.shutdown(socket.SHUT_WR)
        equal(read_to_end(sock), b"")


@test
def clients_that_vanish_in_the_middle_of_anything_leave_nothing_behind(house):
    with house.server() as server:
        keys = [f"van:{n}" for n in range(64)]
        with server.client() as client:
            client.pipeline([("SET", key, "x" * 200) for key in keys])
            files = open_files(server.pid)
        generator = random.Random(3)
        pairs = [word for key in keys for word in (key, "y" * 200)]
        works = [encode("MSET", *pairs), encode("MGET", *keys), b"".join(encode("GET", key) for key in keys) * 10,
                 encode("WATCH", *keys) + encode("MULTI") + encode("MSET", *pairs) + encode("EXEC"),
                 encode("MULTI") + encode("GET", keys[0]) + encode("DBSIZE") + encode("EXEC"),
                 encode("KEYS", "*") * 20, encode("CLIENT", "LIST") * 5, encode("CONFIG", "SET", "timeout", "0"),
                 encode("RENAME", keys[0], keys[1]) + encode("DBSIZE"), encode("SET", "half", "x" * 1000)[:500],
                 encode("WATCH", *keys), encode("MULTI") + encode("SET", "a", "b")]
        for _ in range(3000 if house.full else 600):
            sock = connect(server)
            sock.sendall(b"".join(generator.choices(works, k=generator.randint(1, 4))))
            leave(sock, generator.randrange(3))
        wait_until(lambda: open_files(server.pid) <= files, 5, "the descriptors of clients that left")
        with server.client() as client:
            for key in keys:
                client.call("SET", key, "z")
            info = client.call("INFO", "clients")
            if not isinstance(info, ErrorReply):
                equal(re.search(rb"connected_clients:(\d+)", info)[1], b"1", "clients counted")
                watched = re.search(rb"watching_clients:(\d+)", info)
                equal(watched and watched[1] or b"0", b"0", "watching clients")
        quiet_again(server)
        equal(terminate(server), 0, "exit status")


def leave(sock, how):
    """Closes in one of three ways: plainly, with a reset, or after ending the write side."""
    if how == 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif how == 1:
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    sock.close()


@test
def a_storm_of_short_connections_leaks_nothing(house):
    with house.server() as server:
        def storm(count):
            for n in range(count):
                sock = connect(server)
                if n % 2:
                    sock.sendall(b"PING\r\n")
                    equal(sock.recv(100), b"+PONG\r\n")
                leave(sock, n % 3)

        def storms(total):
            runners = [threading.Thread(target=storm, args=(total // 4,)) for _ in range(4)]
            for runner in runners:
                runner.start()
            for runner in runners:
                runner.join()

        storms(2000)
        time.sleep(0.3)
        files, memory = open_files(server.pid), resident_bytes(server.pid)
        storms(20_000 if house.full else 4000)
        wait_until(lambda: open_files(server.pid) <= files, 10, "the descriptors")
        grown = resident_bytes(server.pid) - memory
        true(grown < 3 * MEGABYTE, f"memory grew by {grown} bytes")
        quiet_again(server)


# --- many at once -----------------------------------------------------------------------------------------------------

@test
def work_over_several_shards_by_many_clients_ends_in_peace(house):
    with house.server() as server:
        keys = [f"w:{n}" for n in range(30)]
        deadline = time.monotonic() + (20 if house.full else 5)
        problems = []

        def worker(number):
            generator = random.Random(number)
            try:
                with server.client() as client:
                    while time.monotonic() < deadline:
                        some = generator.sample(keys, 5)
                        roll = generator.randrange(7)
                        if roll == 0:
                            client.must("MSET", *(word for key in some for word in (key, number)))
                        elif roll == 1:
                            client.call("RENAME", some[0], some[1])
                        elif roll == 2:
                            client.must("MGET", *some)
                        elif roll == 3:
                            client.must("WATCH", *some[:3])
                            client.transaction([("SET", some[3], 1), ("DEL", some[4], some[0]), ("DBSIZE",)])
                        elif roll == 4:
                            client.transaction([("INCR", f"n:{number}"), ("GET", some[0])])
                        elif roll == 5:
                            client.pipeline([("SET", key, "v") for key in some] + [("KEYS", "*"), ("DBSIZE",)])
                        else:
                            client.must("CLIENT", "LIST")
                            client.must("CONFIG", "SET", "timeout", "0")
            except Exception:
                problems.append(traceback.format_exc())

        workers = [threading.Thread(target=worker, args=(number,)) for number in range(24)]
        for one in workers:
            one.start()
        for one in workers:
            one.join()
        true(not problems, "\n".join(problems[:2]))
        quiet_again(server)
        equal(terminate(server), 0, "exit status")


@test
def transactions_that_queue_up_do_not_wait_for_the_clock(house):
    server = house.common()
    keys = [f"t:{n}" for n in range(40)]
    request = encode("MSET", *(word for key in keys for word in (key, "v")))

    def queue_up():
        socks = [connect(server) for _ in range(100)]
        start = time.monotonic()
        for _ in range(10):
            for sock in socks:
                sock.sendall(request)
        for sock in socks:
            equal(read_exactly(sock, 50), b"+OK\r\n" * 10)
            sock.close()
        return time.monotonic() - start

    took = queue_up()
    for _ in range(4):  # something else may have had the processors
        took = took if took < 2 else queue_up()
    true(took < 2, f"1000 commands over all shards took {took:.1f} s, five times")


@test
def nothing_is_written_once_a_pause_has_been_answered(house):
    """Writes on their way between cores have run by then: a hand-over relies on it."""
    with house.server() as server, server.client() as client:
        over = threading.Event()

        def load(seed):
            with server.client() as writer:
                for number in range(1_000_000):
                    if over.is_set():
                        return
                    keys = [f"k{(seed * 31 + at) % 64}" for at in range(40)]
                    many = ["MSET"] + [word for at in "abc" for word in (f"{at}{seed}:{number}", 1)]
                    writer.pipeline([("INCR", key) for key in keys] + [tuple(many)])

        threads = [threading.Thread(target=load, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()

        def seen():
            counters = client.must("MGET", *[f"k{at}" for at in range(64)])
            return sum(int(counter or 0) for counter in counters), client.must("DBSIZE")

        try:
            for _ in range(15):
                time.sleep(0.03)
                client.must("CLIENT", "PAUSE", 5000, "WRITE")
                before = seen()
                time.sleep(0.03)
                equal(seen(), before, "counters and keys during a pause")
                client.must("CLIENT", "UNPAUSE")
        finally:
            over.set()
            client.must("CLIENT", "UNPAUSE")
            for thread in threads:
                thread.join(10)
        true(seen()[0] > 0, "somebody has written")


@test
def cores_that_wait_for_a_lent_shard_sleep(house):
    for borrow in ("no", "yes"):
        with house.server("--borrow", borrow) as server:
            request = encode("MSET", *(word for n in range(12) for word in (f"l:{n}", "v")))

            def work():
                with connect(server) as sock:
                    for _ in range(300):
                        sock.sendall(request)
                        equal(sock.recv(100), b"+OK\r\n")

            before, start = cpu_seconds(server.pid), time.monotonic()
            workers = [threading.Thread(target=work) for _ in range(6)]
            for one in workers:
                one.start()
            for one in workers:
                one.join()
            each = (cpu_seconds(server.pid) - before) / 1800
            took = time.monotonic() - start
            true(each < 0.001, f"--borrow {borrow}: {1e6 * each:.0f} us of CPU for an MSET")
            true(took < 20, f"--borrow {borrow}: 1800 MSETs of six clients took {took:.1f} s")


@test
def a_quiet_client_is_served_beside_a_flood(house):
    with house.server() as server:
        with server.client() as client:
            client.pipeline([("SET", f"f:{n}", "x" * 64) for n in range(1000)])
        burst = b"".join(encode("GET", f"f:{n % 1000}") for n in range(100_000))
        flood = subprocess.Popen([sys.executable, "-c", FLOOD, str(server.port)], stdin=subprocess.PIPE)
        flood.stdin.write(burst)
        flood.stdin.close()
        time.sleep(0.5)
        times = []
        with server.client() as client:
            for n in range(1500):
                start = time.perf_counter()
                equal(client.call("GET", f"f:{n % 1000}"), b"x" * 64)
                times.append(time.perf_counter() - start)
                time.sleep(0.001)
        flood.kill()
        flood.wait()
        times.sort()
        p50, p99 = times[len(times) // 2] * 1000, times[len(times) * 99 // 100] * 1000
        print(f"    beside a pipeline of 100,000: p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {times[-1] * 1000:.2f} ms")
        true(p99 < 50, f"p99 of the quiet client is {p99:.1f} ms")


FLOOD = """
import socket, sys, threading
burst = sys.stdin.buffer.read()
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def read():
    while sock.recv(1 << 20):
        pass
threading.Thread(target=read, daemon=True).start()
while True:
    sock.sendall(burst)
"""


@test
def a_million_commands_pass_through_redis_cli_pipe(house):
    server = house.common()
    total = 1_000_000 if house.full else 100_000
    with tempfile.TemporaryFile(dir=support.scratch_root()) as data:
        for start in range(0, total, 10_000):
            data.write(b"".join(encode("SET", f"pipe:{n}", n) for n in range(start, start + 10_000)))
        data.seek(0)
        done = subprocess.run(["redis-cli", "-p", str(server.port), "--pipe"], stdin=data, capture_output=True, timeout=120)
    true(f"errors: 0, replies: {total}" in done.stdout.decode(), f"{done.stdout!r} {done.stderr!r}")
    with server.client() as client:
        equal(client.call("DBSIZE"), total)


# --- connections ------------------------------------------------------------------------------------------------------

@test
def one_client_too_many_reads_why(house):
    with house.server("--maxclients", "10") as server:
        clients = [server.client()]
        # Whoever asked whether the server is up may not have left yet.
        wait_until(lambda: b"connected_clients:1\r" in clients[0].call("INFO", "clients"), 5, "one client alone")
        clients += [server.client() for _ in range(9)]
        for client in clients:
            equal(client.call("PING"), b"PONG")
        for _ in range(3):
            equal(exchange(server, b""), b"-ERR max number of clients reached\r\n")
        clients.pop().close()
        wait_until(lambda: exchange(server, b"QUIT\r\n") == b"+OK\r\n", 5, "room for a client")
        equal(clients[0].call("CONFIG", "SET", "maxclients", "12"), b"OK")
        clients += [server.client() for _ in range(3)]
        for client in clients:
            equal(client.call("PING"), b"PONG")
            client.close()


@test
def a_client_from_elsewhere_is_refused_in_protected_mode(house):
    address = other_address()
    if address is None:
        return "this machine has loopback only"
    for extra, refused in ((("--protected-mode", "yes"), True), (("--protected-mode", "no"), False),
                           (("--protected-mode", "yes", "--requirepass", "x"), False)):
        with started(house, "--bind", "0.0.0.0", *extra) as server:
            with socket.create_connection((address, server.port), timeout=10) as sock:
                sock.sendall(b"AUTH x\r\nQUIT\r\n" if "--requirepass" in extra else b"QUIT\r\n")
                got = read_to_end(sock)
            true(got.startswith(b"-DENIED Redis is running in protected mode") == refused, f"{extra}: {got[:60]!r}")


class started:
    """A server whose PING may be refused: waits for its log instead."""

    def __init__(self, house, *extra):
        self.server = house.server(*extra)

    def __enter__(self):
        server = self.server
        with open(server.log_path, "ab") as log:
            server.process = subprocess.Popen(server.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                              cwd=server.dir, start_new_session=True)
        wait_until(lambda: b"Ready to accept" in Path(server.log_path).read_bytes() or not server.alive(), 20, "start")
        true(server.alive(), server.log_tail())
        return server

    def __exit__(self, *_):
        self.server.stop()


def other_address():
    """An IPv4 address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; the kernel picks the source address
            address = probe.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


@test
def a_unix_socket_has_its_permissions_and_goes_with_the_server(house):
    with house.server("--unixsocketperm", "770") as server:
        equal(os.stat(server.socket_path).st_mode & 0o777, 0o770, "mode")
        with server.client(unix=True) as client:
            equal(client.call("PING"), b"PONG")
            many = [server.client(unix=True) for _ in range(50)]
            for one in many:
                equal(one.pipeline([("SET", f"u:{n}", n) for n in range(50)]), [b"OK"] * 50)
            for one in many:
                one.close()
        terminate(server)
        true(not os.path.exists(server.socket_path), "the socket's file is gone")


@test
def several_addresses_and_optional_ones_are_bound(house):
    with started(house, "--bind", "127.0.0.1", "127.0.0.2", "-::*", "-192.0.2.77") as server:
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as sock:
                try:
                    sock.connect((address, server.port))
                except OSError:
                    if family == socket.AF_INET6 and not os.path.exists("/proc/net/if_inet6"):
                        continue
                    raise
                sock.sendall(b"PING\r\n")
                equal(sock.recv(100), b"+PONG\r\n", address)


@test
def port_zero_leaves_the_unix_socket(house):
    with started(house, "--port", "0") as server:
        with server.client(unix=True) as client:
            equal(client.call("PING"), b"PONG")


def run_to_end(house, *arguments, data=None, seconds=10, **more):
    """Runs the server's program with these arguments alone until it ends."""
    binary = os.path.abspath(house.options.slotwise or support.default_slotwise())
    return subprocess.run([binary, *arguments], input=data, capture_output=True, timeout=seconds, **more)


@test
def what_keeps_the_server_from_starting_is_one_clear_line(house):
    server = house.common()
    scratch = tempfile.mkdtemp(dir=support.scratch_root())
    bad = os.path.join(scratch, "bad.conf")
    Path(bad).write_text("port 0\n\nmaxmemory lots\n")
    cases = [
        (["--port", str(server.port), "--bind", "127.0.0.1"], r"Address already in use"),
        (["--port", str(support.free_port()), "--bind", "192.0.2.1"], r"192\.0\.2\.1.*Cannot assign requested address"),
        ([bad], r"bad\.conf.*\n?.*line 3|bad\.conf:3"),
        (["--no-such-directive", "1"], r"no-such-directive"),
        (["/no/such/file.conf"], r"/no/such/file\.conf.*No such file"),
        (["--port", "0", "--dir", "/no/such/dir"], r"/no/such/dir"),
        (["--port", "0", "--logfile", "/no/such/dir/log"], r"/no/such/dir/log"),
        (["--port", "0", "--unixsocket", "/no/such/dir/s"], r"/no/such/dir/s"),
        (["--port", "99999"], r"port"),
        (["--tls-port", "6380"], r"tls-port"),
    ]
    for arguments, pattern in cases:
        done = run_to_end(house, *arguments)
        text = (done.stdout + done.stderr).decode()
        equal(done.returncode, 1, f"exit status of {arguments}: {text[-300:]}")
        true(re.search(pattern, text), f"{arguments}: {text[-300:]}")
        true("panicked" not in text and "BUG REPORT" not in text, text[-500:])
    equal(server.alive(), True, "the server that has the port")


@test
def the_program_tells_its_version_and_help_and_reads_standard_input(house):
    for word in ("--version", "-v"):
        done = run_to_end(house, word)
        true(done.returncode == 0 and b"Slotwise" in done.stdout, f"{word}: {done}")
    for word in ("--help", "-h"):
        done = run_to_end(house, word)
        true(done.returncode == 0 and b"Usage: slotwise" in done.stdout, f"{word}: {done}")
    server = house.server()
    binary = server.command[0]
    server.process = subprocess.Popen([binary, "-", "--loglevel", "warning"], stdin=subprocess.PIPE, cwd=server.dir)
    try:
        server.process.stdin.write(f"port {server.port}\nbind 127.0.0.1\nshards {house.shards}\nsave ''\n"
                                   f"databases 3\n".encode())
        server.process.stdin.close()
        wait_until(lambda: answers(server), 10, "the server")
        with server.client() as client:
            equal(client.call("CONFIG", "GET", "databases"), [b"databases", b"3"])
            equal(client.call("CONFIG", "GET", "loglevel"), [b"loglevel", b"warning"])
    finally:
        server.stop()


def answers(server):
    try:
        with server.client(timeout=2) as client:
            return client.call("PING") == b"PONG"
    except OSError:
        return False


@test
def idle_connections_cost_little(house):
    count = 10_000 if house.full else 2000
    support.raise_file_limit()
    with house.server("--maxclients", "12000") as server:
        warm = [connect(server) for _ in range(50)]
        for sock in warm:
            sock.sendall(b"PING\r\n")
            sock.recv(10)
        before = resident_bytes(server.pid)
        socks = []
        for _ in range(count):
            sock = connect(server)
            sock.sendall(encode("SET", "k", "v"))
            equal(sock.recv(10), b"+OK\r\n")
            socks.append(sock)
        each = (resident_bytes(server.pid) - before) / count
        share = idle_share(server.pid, 3)
        cores = len(threads_of(server.pid))
        print(f"    {count} idle connections: {each:.0f} bytes each; {100 * share:.2f} % CPU over {cores} threads")
        true(each < 2048, f"an idle connection costs {each:.0f} bytes")
        true(share < 0.005 * cores, f"idle CPU is {100 * share:.2f} % of a core")
        for sock in socks + warm:
            sock.close()
        wait_until(lambda: open_files(server.pid) < 200, 20, "the descriptors")


@test
def an_idle_server_sleeps(house):
    with house.server() as server:
        time.sleep(0.5)
        share, cores = idle_share(server.pid, 4), len(threads_of(server.pid))
        print(f"    idle: {100 * share:.2f} % CPU over {cores} threads")
        true(share < 0.005 * cores, f"idle CPU is {100 * share:.2f} % of a core")


@test
def an_idle_client_is_closed_after_timeout(house):
    with house.server("--timeout", "1") as server:
        with connect(server) as idle, server.client() as busy:
            start = time.monotonic()
            while time.monotonic() - start < 15 and not select.select([idle], [], [], 0.2)[0]:
                equal(busy.call("PING"), b"PONG")
            equal(idle.recv(10), b"", "closed")
            true(0.9 < time.monotonic() - start < 12, f"closed after {time.monotonic() - start:.1f} s")
            equal(busy.call("PING"), b"PONG")


@test
def tcp_keepalive_is_set_on_connections(house):
    with house.server("--tcp-keepalive", "300") as server, server.client() as client:
        equal(client.call("PING"), b"PONG")
        try:
            shown = subprocess.run(["ss", "-tno", "sport", "=", f":{server.port}"], capture_output=True, text=True).stdout
        except FileNotFoundError:
            return "ss is missing"
        true("timer:(keepalive" in shown, shown)


# --- life -------------------------------------------------------------------------------------------------------------

@test
def signals_end_it_cleanly_and_hangups_do_not(house):
    for number in (signal.SIGTERM, signal.SIGINT):
        with house.server() as server:
            with server.client() as client:
                client.call("SET", "a", "b")
                server.process.send_signal(signal.SIGHUP)
                server.process.send_signal(signal.SIGPIPE)
                time.sleep(0.2)
                equal(client.call("GET", "a"), b"b")
                equal(terminate(server, number), 0, f"exit status after {number}")
                equal(client.socket.recv(10), b"")
            true(b"bye bye" in Path(server.log_path).read_bytes(), server.log_tail())


@test
def a_daemon_writes_its_pid_and_a_moved_log_begins_anew(house):
    server = house.server()
    pid_file, log = os.path.join(server.dir, "pid"), os.path.join(server.dir, "daemon.log")
    done = subprocess.run([*server.command, "--daemonize", "yes", "--pidfile", pid_file, "--logfile", log,
                           "--loglevel", "verbose"], cwd=server.dir, timeout=10, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    equal(done.returncode, 0, "the parent's status")
    pid = None
    try:
        wait_until(lambda: answers(server), 10, "the daemon")
        pid = int(Path(pid_file).read_text())
        os.rename(log, log + ".1")
        time.sleep(1.2)
        with server.client() as client:
            client.call("CONFIG", "SET", "maxclients", "100")
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not os.path.exists(f"/proc/{pid}") or zombie(pid), 5, "the daemon's end")
        true(b"bye bye" in Path(log).read_bytes(), "the new log has the last lines")
        true(b"Ready to accept" in Path(log + ".1").read_bytes(), "the old log has the first lines")
        true(not os.path.exists(pid_file), "the pid file is gone")
    finally:
        if pid and os.path.exists(f"/proc/{pid}") and not zombie(pid):
            os.kill(pid, signal.SIGKILL)
        server.stop()


def zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@test
def a_user_without_privileges_and_with_small_limits_can_run_it(house):
    if os.geteuid() != 0:
        return "only root can become another user"
    server = house.server("--maxclients", "10000")
    for place in (server.dir, server.socket_dir):
        os.chmod(place, 0o777)
    binary = os.path.join(tempfile.mkdtemp(prefix="sw-"), "slotwise")
    try:
        os.chmod(os.path.dirname(binary), 0o755)
        with open(server.command[0], "rb") as source, open(binary, "wb") as copy:
            while piece := source.read(1 << 20):
                copy.write(piece)
        os.chmod(binary, 0o755)

        def lessen():
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (8 * MEGABYTE, 8 * MEGABYTE))
            resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)

        log_path = os.path.join("/tmp", os.path.basename(server.dir) + ".log")
        with open(log_path, "wb") as log:
            words = [binary if word == server.command[0] else word for word in server.command]
            words[words.index("--dir") + 1] = server.socket_dir
            server.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                              cwd="/", preexec_fn=lessen)
        try:
            wait_until(lambda: answers(server) or not server.alive(), 20, "the server")
            true(server.alive(), Path(log_path).read_text()[-600:])
            text = Path(log_path).read_text()
            lowered = re.search(r"maxclients has been reduced to (\d+)", text)
            true(lowered, text[-600:])
            with server.client() as client:
                equal(client.call("CONFIG", "GET", "maxclients"), [b"maxclients", lowered[1].encode()])
                support.raise_file_limit()
                socks = [connect(server) for _ in range(int(lowered[1]) - 1)]
                for sock in socks:
                    sock.sendall(b"PING\r\n")
                for sock in socks:
                    equal(sock.recv(100), b"+PONG\r\n")
                equal(exchange(server, b""), b"-ERR max number of clients reached\r\n")
                for sock in socks:
                    sock.close()
        finally:
            server.stop()
            os.unlink(log_path)
    finally:
        if os.path.exists(binary):
            os.unlink(binary)
        os.rmdir(os.path.dirname(binary))


@test
def threads_bear_names(house):
    server = house.common()
    equal(threads_of(server.pid), ["control", *(f"shard-{n}" for n in range(house.shards))])


# --- all of them ------------------------------------------------------------------------------------------------------

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--slotwise", help="the server under test (target/quick/slotwise)")
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    chosen = [one for one in TESTS if not options.words or any(word in one.__name__ for word in options.words)]
    house, passed, failed = House(options), 0, 0
    try:
        for one in chosen:
            start = time.monotonic()
            try:
                skipped = one(house)
                passed += 1
                print(f"ok    {one.__name__} ({time.monotonic() - start:.1f} s){f': skipped, {skipped}' if skipped else ''}",
                      flush=True)
            except Exception as problem:
                failed += 1
                detail = str(problem) if isinstance(problem, AssertionError) else traceback.format_exc()
                print(f"FAIL  {one.__name__}: {detail}", flush=True)
                if house.shared is not None and not house.shared.alive():
                    print(house.shared.log_tail(60), flush=True)
    finally:
        house.close()
    print(f"{Path(sys.argv[0]).stem} with {options.shards} shards: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
