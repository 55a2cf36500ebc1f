"""Is every element given out once, to whoever waited longest, and does a blocked client always get an answer?

usage: blocking.py [WORD ...] [--shards N] [--no-borrow] [--slotwise PATH] [--seconds S] [--seed N]

Every test is a function whose name is the sentence it proves; WORDs select those whose name holds one of them. The
last test, `every_element_...`, lets many clients push, block, give up, be unblocked and vanish at random for S seconds
and then accounts for each element.
"""

import argparse
import collections
import random
import socket
import sys
import threading
import time
import traceback

import support
from support import Client, ErrorReply, encode

TESTS = []


def test(function):
    TESTS.append(function)
    return function


def equal(found, expected, what=""):
    if found != expected:
        raise AssertionError(f"{what}: {str(found)[:300]} instead of {str(expected)[:300]}")


def true(condition, what):
    if not condition:
        raise AssertionError(what)


class House:
    """The server that all tests share, and the clients of the running test."""

    def __init__(self, options):
        self.options = options
        extra = ("--borrow", "no") if options.no_borrow else ()
        self.server = support.slotwise(options.slotwise, shards=options.shards, extra=extra).start()
        self.clients = []
        self.watcher = self.server.client()

    def client(self, **options):
        client = self.server.client(**options)
        self.clients.append(client)
        return client

    def blocked(self, count):
        """Waits until so many clients are blocked."""
        def there():
            return info(self.watcher, "blocked_clients") == count

        support.wait_until(there, 10, f"{count} blocked clients")

    def block(self, *command):
        """A client that blocks in `command`, once it does."""
        before = info(self.watcher, "blocked_clients")
        client = self.client()
        client.send(*command)
        self.blocked(before + 1)
        return client

    def end_test(self):
        for client in self.clients:
            client.close()
        self.clients = []


def info(client, field):
    text = client.must("INFO", "clients").decode()
    return int(text.split(f"{field}:")[1].split("\r\n")[0])


def answer(client):
    return client.read()[0].value()


def keys(prefix, count):
    """So many keys, which fall on all shards."""
    return [f"{prefix}:{n}" for n in range(count)]


# --- one after the other ------------------------------------------------------------------------------------------------

@test
def a_timeout_answers_null_in_time_in_both_protocols(house):
    two, three = house.client(), house.client(resp=3)
    for command in (("BLPOP", "a", "b", "c"), ("BRPOP", "a"), ("BLMOVE", "a", "b", "LEFT", "RIGHT"),
                    ("BRPOPLPUSH", "a", "b"), ("BZPOPMIN", "a", "b"), ("BZPOPMAX", "c")):
        for client, null in ((two, b"*-1\r\n"), (three, b"_\r\n")):
            start = time.monotonic()
            client.send(*command, "0.05")
            _, raw = client.read()
            took = time.monotonic() - start
            equal(raw, null, command[0])
            true(0.045 <= took < 5, f"{command[0]} took {took} s")
    for name, word in (("BLMPOP", "LEFT"), ("BZMPOP", "MAX")):
        two.send(name, "0.01", "2", "a", "b", word, "COUNT", "5")
        equal(two.read()[1], b"*-1\r\n", name)
    equal(info(two, "clients_in_timeout_table"), 0)


@test
def timeouts_that_make_no_sense_are_refused(house):
    client = house.client()
    for timeout, error in (("-1", "timeout is negative"), ("x", "timeout is not a float or out of range"),
                           ("nan", "timeout is not a float or out of range"), ("1e400", "timeout is out of range"),
                           ("-inf", "timeout is negative"), ("0x7FFFFFFFFFFFFFFF", "timeout is out of range"),
                           ("9223372036854775", "timeout is out of range")):
        for command in (("BLPOP", "a", timeout), ("BLMPOP", timeout, "1", "a", "LEFT"),
                        ("BLMOVE", "a", "b", "LEFT", "LEFT", timeout), ("BZPOPMAX", "a", timeout)):
            equal(client.call(*command), ErrorReply(f"ERR {error}".encode()), str(command))


@test
def data_that_is_there_is_taken_at_once_in_the_order_of_the_keys(house):
    client = house.client()
    for number in range(20):
        first, second = f"first:{number}", f"second:{number}"
        client.must("RPUSH", second, "x", "y")
        equal(client.call("BLPOP", first, second, "0"), [second.encode(), b"x"])
        client.must("RPUSH", first, "a", "b", "c")
        equal(client.call("BRPOP", first, second, "0"), [first.encode(), b"c"])
        equal(client.call("BLMPOP", "0", "2", second, first, "RIGHT", "COUNT", "9"), [second.encode(), [b"y"]])
        equal(client.call("BLMOVE", first, second, "LEFT", "RIGHT", "0"), b"a")
        equal(client.call("BRPOPLPUSH", first, second, "0"), b"b")
        equal(client.call("LRANGE", second, "0", "-1"), [b"b", b"a"])
        client.must("ZADD", "z" + first, "1", "a", "2.5", "b", "3", "c")
        equal(client.call("BZPOPMIN", "z" + second, "z" + first, "0"), [b"z" + first.encode(), b"a", b"1"])
        equal(client.call("BZPOPMAX", "z" + first, "0"), [b"z" + first.encode(), b"c", b"3"])
        equal(client.call("BZMPOP", "0", "1", "z" + first, "MIN"), [b"z" + first.encode(), [[b"b", b"2.5"]]])


@test
def clients_are_served_in_the_order_of_blocking(house):
    pusher = house.client()
    for number, many in ((0, False), (1, True), (2, False), (3, True)):
        key, other = f"fifo:{number}", f"elsewhere:{number}"
        waiting = [house.block("BLPOP", *((key, other) if n % 2 else (other, key)), "0") for n in range(12)]
        elements = [str(n) for n in range(12)]
        if many:
            pusher.must("RPUSH", key, *elements)
        else:
            for element in elements:
                equal(pusher.must("RPUSH", key, element), 1)
        for client, element in zip(waiting, elements):
            equal(answer(client), [key.encode(), element.encode()], "first come, first served")
        equal(pusher.call("EXISTS", key), 0)
    equal(info(pusher, "total_blocking_keys"), 0)


@test
def whatever_makes_a_key_serves_those_who_wait_for_it(house):
    pusher = house.client()
    ways = [
        lambda key: pusher.must("LPUSH", key, "v"),
        lambda key: (pusher.must("RPUSH", key + "x", "v"), pusher.must("RENAME", key + "x", key)),
        lambda key: (pusher.must("RPUSH", key + "x", "v"), pusher.must("COPY", key + "x", key)),
        lambda key: (pusher.must("RPUSH", key + "x", "v"), pusher.must("LMOVE", key + "x", key, "LEFT", "LEFT")),
        lambda key: pusher.transaction([("RPUSH", key + "y", "w"), ("RPUSH", key, "v")]),
        lambda key: pusher.transaction([("SET", key, "x"), ("DEL", key), ("RPUSH", key, "v")]),
        lambda key: (pusher.must("SELECT", "1"), pusher.must("RPUSH", key, "v"), pusher.must("MOVE", key, "0"),
                     pusher.must("SELECT", "0")),
        lambda key: (pusher.must("SELECT", "1"), pusher.must("RPUSH", key, "v"), pusher.must("SELECT", "0"),
                     pusher.must("SWAPDB", "0", "1")),
    ]
    for number, way in enumerate(ways):
        for repeat in range(4):
            key = f"made:{number}:{repeat}"
            client = house.block("BRPOP", "never:" + key, key, "0")
            way(key)
            equal(answer(client), [key.encode(), b"v"], f"way {number}")
            equal(pusher.call("EXISTS", key), 0)
    for key in keys("zmade", 4):
        client = house.block("BZPOPMIN", key, "0")
        pusher.must("ZADD", key + "x", "1", "v")
        pusher.must("ZUNIONSTORE", key, "2", key + "x", key + "y")
        equal(answer(client), [key.encode(), b"v", b"1"])
    pusher.must("FLUSHALL")


@test
def a_transaction_is_over_before_anybody_is_served(house):
    pusher = house.client()
    for key in keys("unit", 6):
        client = house.block("BLPOP", key, "0")
        equal(pusher.transaction([("RPUSH", key, "a"), ("LPUSH", key, "b"), ("SET", key + "s", "1"),
                                  ("LLEN", key)]), [1, 2, b"OK", 2])
        equal(answer(client), [key.encode(), b"b"])
        client = house.block("BRPOP", key + "n", "0")
        equal(pusher.transaction([("RPUSH", key + "n", "a"), ("DEL", key + "n")]), [1, 1])
        equal(pusher.transaction([("RPUSH", key + "n", "a"), ("LPOP", key + "n")]), [1, b"a"])
        house.blocked(1)
        pusher.must("RPUSH", key + "n", "z")
        equal(answer(client), [key.encode() + b"n", b"z"])


@test
def nobody_blocks_in_a_transaction(house):
    client = house.client()
    client.must("SET", "string", "x")
    for key in keys("multi", 4):
        equal(client.transaction([("BLPOP", key, "0"), ("BLMOVE", key, key + "d", "LEFT", "LEFT", "0"),
                                  ("BLMPOP", "0", "2", key, key + "b", "LEFT"), ("BZPOPMIN", key, key + "z", "0"),
                                  ("WAIT", "1", "0"), ("BLPOP", key, "x", "0")]),
              [None, None, None, None, 0, None])
        equal(client.transaction([("BLPOP", key, "0")]), [None])


@test
def a_blocked_client_comes_before_the_next_command_even_when_its_element_goes_elsewhere(house):
    """The commands behind the push never see the element, wherever it was moved and whatever else goes on."""
    stop = threading.Event()

    def noise(number):
        with house.server.client() as client:
            rand = random.Random(number)
            while not stop.is_set():
                pairs = [word for key in rand.sample(keys("noise", 40), 6) for word in (key, "v")]
                client.must("MSET", *pairs)
                client.transaction([("INCR", f"n:{rand.randrange(20)}"), ("INCR", f"n:{rand.randrange(20)}"),
                                    ("LLEN", f"src:{rand.randrange(60)}"), ("LPOP", f"src:{rand.randrange(60)}")])

    threads = [threading.Thread(target=noise, args=(number,)) for number in range(3)]
    [thread.start() for thread in threads]
    try:
        pusher, mover, reader = house.client(), house.client(), house.client()
        for number in range(60):
            source, target = f"src:{number}", f"dst:{number}"
            mover.send("BLMOVE", source, target, "LEFT", "RIGHT", "0")
            house.blocked(1)
            if number % 3 == 0:
                replies = pusher.pipeline([("RPUSH", source, "v"), ("LLEN", source), ("LPOP", source)])
                equal(replies, [1, 0, None], "the pipeline behind the push")
            elif number % 3 == 1:
                equal(pusher.transaction([("RPUSH", source, "v"), ("LLEN", source), ("SET", target + "s", "1")]),
                      [1, 1, b"OK"])
                equal(reader.call("LPOP", source), None, "another client after EXEC")
            else:
                equal(pusher.must("RPUSH", source, "v"), 1)
                equal(reader.call("LRANGE", source, "0", "-1"), [], "another client")
            equal(answer(mover), b"v")
            equal(reader.call("LRANGE", target, "0", "-1"), [b"v"])
    finally:
        stop.set()
        [thread.join() for thread in threads]


@test
def elements_go_along_chains_and_round_in_circles(house):
    pusher = house.client()
    for number in range(10):
        stops = [f"stop:{number}:{n}" for n in range(7)]
        movers = [house.block("BLMOVE", stops[n], stops[n + 1], "RIGHT", "LEFT", "0") for n in reversed(range(6))]
        last = house.block("BLPOP", stops[6], "0")
        equal(pusher.must("RPUSH", stops[0], "v"), 1)
        equal(answer(last), [stops[6].encode(), b"v"])
        for mover in movers:
            equal(answer(mover), b"v")
        equal(pusher.call("EXISTS", *stops), 0)
        one, other = f"one:{number}", f"other:{number}"
        there, back = house.block("BRPOPLPUSH", one, other, "0"), house.block("BRPOPLPUSH", other, one, "0")
        itself = house.block("BLMOVE", other, other, "LEFT", "RIGHT", "0")
        equal(pusher.must("RPUSH", one, "v"), 1)
        equal((answer(there), answer(back)), (b"v", b"v"))
        equal(pusher.call("LRANGE", one, "0", "-1"), [b"v"])
        pusher.must("RPUSH", other, "w")
        equal(answer(itself), b"w")
        equal(pusher.call("LRANGE", other, "0", "-1"), [b"w"])
        house.end_test()
        pusher = house.client()


@test
def a_target_of_the_wrong_type_loses_nothing(house):
    pusher = house.client()
    for number in range(12):
        source, target = f"from:{number}", f"to:{number}"
        pusher.must("SET", target, "string")
        mover = house.block("BLMOVE", source, target, "LEFT", "LEFT", "0")
        popper = house.block("BLPOP", source, "0")
        pusher.must("RPUSH", source, "v")
        true(str(answer(mover)).startswith("b'WRONGTYPE"), "an error")
        equal(answer(popper), [source.encode(), b"v"])
        house.end_test()
        pusher = house.client()


@test
def a_key_of_another_type_serves_nobody(house):
    pusher = house.client()
    for key in keys("type", 4):
        lists, sets = house.block("BLPOP", key, "0"), house.block("BZPOPMIN", key, "0")
        pusher.must("SET", key, "x")
        pusher.must("DEL", key)
        pusher.must("ZADD", key, "1", "m")
        equal(answer(sets), [key.encode(), b"m", b"1"])
        pusher.must("RPUSH", key, "e")
        equal(answer(lists), [key.encode(), b"e"])


@test
def unblocking_answers_as_told_and_once(house):
    watcher = house.client()
    for key in keys("unblock", 4):
        for command in (("BLPOP", key, key + "2", "0"), ("BLMOVE", key, key + "2", "LEFT", "LEFT", "0"),
                        ("BZPOPMIN", key, "0"), ("WAIT", "3", "0")):
            client = house.client()
            number = client.must("CLIENT", "ID")
            equal(watcher.call("CLIENT", "UNBLOCK", number), 0)
            for reason in ((), ("TIMEOUT",), ("ERROR",)):
                client.send(*command)
                house.blocked(1)
                equal(watcher.call("CLIENT", "UNBLOCK", number, *reason), 1)
                equal(watcher.call("CLIENT", "UNBLOCK", number, *reason), 0)
                if reason == ("ERROR",):
                    expected = ErrorReply(b"UNBLOCKED client unblocked via CLIENT UNBLOCK")
                else:
                    expected = 0 if command[0] == "WAIT" else None
                equal(answer(client), expected, f"{command} {reason}")
            equal(client.call("PING"), b"PONG")
    equal((info(watcher, "blocked_clients"), info(watcher, "total_blocking_keys")), (0, 0))


@test
def unblocking_and_pushing_at_once_have_one_winner(house):
    killer, pusher, client = house.client(), house.client(), house.client()
    name = client.must("CLIENT", "ID")
    for number in range(150):
        key = f"race:{number % 10}"
        client.send("BLPOP", key, "elsewhere", "0")
        house.blocked(1)
        killer.send("CLIENT", "UNBLOCK", name)
        pusher.send("RPUSH", key, "v")
        unblocked, length = answer(killer), answer(pusher)
        equal(length, 1)
        left = pusher.must("LLEN", key)
        equal(answer(client), None if unblocked else [key.encode(), b"v"])
        equal(left, unblocked, "the element is where the winner says")
        pusher.must("DEL", key)


@test
def what_follows_a_blocking_command_waits_for_it(house):
    client, pusher = house.client(), house.client()
    for number in range(10):
        key = f"pipe:{number}"
        client.send_raw(b"".join(encode(*command) for command in (
            ("SET", "before" + key, "1"), ("BLPOP", key, "0"), ("SET", "after" + key, "1"),
            ("BLPOP", key, "0.01"), ("INCR", "count" + key), ("BLMOVE", key + "m", key, "LEFT", "LEFT", "0"), ("PING",))))
        house.blocked(1)
        equal(pusher.call("EXISTS", "before" + key, "after" + key), 1)
        pusher.must("RPUSH", key, "v")
        equal([answer(client) for _ in range(5)], [b"OK", [key.encode(), b"v"], b"OK", None, 1])
        house.blocked(1)
        pusher.must("RPUSH", key + "m", "w")
        equal([answer(client) for _ in range(2)], [b"w", b"PONG"])


@test
def a_long_pipeline_behind_a_blocked_client_is_kept_and_its_end_is_noticed(house):
    pusher = house.client()
    client = house.client()
    flood = encode("SET", "flood", "x" * 1000) * 2000
    client.send("BLPOP", "dam", "0")
    house.blocked(1)
    client.send_raw(flood)
    time.sleep(0.1)
    equal(pusher.call("EXISTS", "flood"), 0)
    pusher.must("RPUSH", "dam", "v")
    equal(answer(client), [b"dam", b"v"])
    equal({answer(client) for _ in range(2000)}, {b"OK"})
    client.send("BLPOP", "dam", "0")
    client.send_raw(flood)
    house.blocked(1)
    client.close()
    house.blocked(0)


@test
def clients_that_vanish_take_nothing_with_them(house):
    pusher = house.client()
    for number in range(40):
        key = f"gone:{number}"
        client = house.block("BLPOP", key, key + "2", "0")
        if number % 4 == 0:
            client.close()
        elif number % 4 == 1:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()  # by a reset
        elif number % 4 == 2:
            client.socket.shutdown(socket.SHUT_WR)
        else:
            listed = [line for line in pusher.must("CLIENT", "LIST").decode().split("\n") if " cmd=blpop " in line]
            true(len(listed) == 1 and " flags=b " in listed[0], str(listed))
            equal(pusher.must("CLIENT", "KILL", "ID", listed[0].split()[0].split("=")[1]), 1)
        house.blocked(0)
        pusher.must("RPUSH", key, "v")
        equal(pusher.call("LRANGE", key, "0", "-1"), [b"v"])
    equal(info(pusher, "total_blocking_keys"), 0)


@test
def a_script_is_over_before_anybody_is_served_and_blocks_nobody(house):
    pusher = house.client()
    if isinstance(pusher.call("EVAL", "return 1", "0"), ErrorReply):
        return "no scripts in this build"
    push = "redis.call('RPUSH', KEYS[1], 'a', 'b'); return redis.call('LLEN', KEYS[1])"
    for key in keys("script", 6):
        client = house.block("BRPOP", key, "0")
        equal(pusher.pipeline([("EVAL", push, "1", key), ("LRANGE", key, "0", "-1")]), [2, [b"a"]])
        equal(answer(client), [key.encode(), b"b"])
        mover = house.block("BLMOVE", key + "m", key + "t", "LEFT", "LEFT", "0")
        equal(pusher.pipeline([("EVAL", push, "1", key + "m"), ("LLEN", key + "m")]), [2, 1])
        equal(answer(mover), b"a")
        block = "return {redis.call('BLPOP', KEYS[1], 0), redis.call('BLMOVE', KEYS[1], 'd', 'LEFT', 'LEFT', 0), 'end'}"
        equal(pusher.call("EVAL", block, "1", key + "none"), [None, None, b"end"])


@test
def the_time_blocked_is_no_time_of_the_command_and_it_counts_once(house):
    watcher = house.client()
    watcher.must("CONFIG", "RESETSTAT")
    watcher.must("SLOWLOG", "RESET")
    before = watcher.must("CONFIG", "GET", "slowlog-log-slower-than")[1]
    watcher.must("CONFIG", "SET", "slowlog-log-slower-than", "100000")
    for number, key in enumerate(keys("stats", 6)):
        client = house.block("BLPOP", key, "0")
        time.sleep(0.15)
        watcher.must("RPUSH", key, "v")
        equal(answer(client), [key.encode(), b"v"])
        client.call("BLPOP", key, "0.001")
        number = client.must("CLIENT", "ID")
        client.send("BLPOP", key, "0")
        house.blocked(1)
        equal(watcher.must("CLIENT", "UNBLOCK", number, "ERROR"), 1)
        answer(client)
    line = [line for line in watcher.must("INFO", "commandstats").decode().split("\r\n") if line.startswith("cmdstat_blpop:")]
    facts = dict(part.split("=") for part in line[0].split(":")[1].split(","))
    equal((facts["calls"], facts["rejected_calls"], facts["failed_calls"]), ("18", "0", "6"))
    true(int(facts["usec"]) < 100_000, str(facts))
    logged = [entry[3][0] for entry in watcher.must("SLOWLOG", "GET", "50")]
    true(b"BLPOP" not in logged, str(logged))
    watcher.must("CONFIG", "SET", "slowlog-log-slower-than", before)


@test
def a_pause_holds_back_who_would_push_and_time_goes_on_for_who_waits(house):
    pusher, admin = house.client(), house.client()
    waiting = house.block("BLPOP", "paused", "0")
    giving_up = house.block("BLPOP", "paused", "0.2")
    admin.must("CLIENT", "PAUSE", "600", "WRITE")
    pusher.send("RPUSH", "paused", "v", "w")
    equal(answer(giving_up), None)
    admin.must("CLIENT", "UNPAUSE")
    equal(answer(pusher), 2)
    equal(answer(waiting), [b"paused", b"v"])


@test
def waiting_for_replicas_ends_with_its_time(house):
    client = house.client()
    start = time.monotonic()
    equal(client.call("WAIT", "1", "60"), 0)
    true(time.monotonic() - start >= 0.055, "it waited")
    equal(client.call("WAIT", "0", "0"), 0)
    equal(client.call("WAITAOF", "0", "1", "20"), [0, 0])
    equal(client.call("WAITAOF", "1", "0", "0"),
          ErrorReply(b"ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."))


@test
def many_clients_on_one_key_are_all_served(house):
    count = 500
    pusher = house.client()
    clients = [house.client() for _ in range(count)]
    for client in clients:
        client.send("BLPOP", "crowd", "crowd:2", "crowd", "0")
    house.blocked(count)
    equal(info(pusher, "total_blocking_keys"), 2)
    for start in range(0, count, 50):
        pusher.must("RPUSH", "crowd" if start % 100 else "crowd:2", *(str(n) for n in range(start, start + 50)))
    equal(sorted(int(answer(client)[1]) for client in clients), list(range(count)))
    house.blocked(0)


# --- all at once ---------------------------------------------------------------------------------------------------------

class Account:
    """Who pushed and who got what."""

    def __init__(self):
        self.lock = threading.Lock()
        self.next = 0
        self.pushed = set()
        self.got = collections.Counter()
        self.problems = []

    def fresh(self, count):
        with self.lock:
            names = [f"e{n}" for n in range(self.next, self.next + count)]
            self.next += count
        return names

    def push(self, names):
        with self.lock:
            self.pushed.update(names)

    def get(self, names):
        with self.lock:
            self.got.update(names)


def pushing(house, account, lists, seed, until):
    rand = random.Random(seed)
    with house.server.client() as client:
        while time.monotonic() < until:
            names = account.fresh(rand.choice((1, 1, 1, 2, 5)))
            account.push(names)
            key, other = rand.choice(lists), rand.choice(lists)
            way = rand.randrange(6)
            if way <= 2:
                client.must(rand.choice(("LPUSH", "RPUSH")), key, *names)
            elif way == 3:
                client.transaction([("RPUSH", key, *names[:1]), *([("LPUSH", other, *names[1:])] if names[1:] else [])])
            elif way == 4:
                temporary = f"temporary:{seed}"
                client.must("RPUSH", temporary, *names)
                client.must("RENAMENX", temporary, key)
                while (moved := client.call("LMOVE", temporary, key, "LEFT", "LEFT")) is not None:
                    true(not isinstance(moved, ErrorReply), str(moved))
            else:
                client.pipeline([("RPUSH", rand.choice(lists), name) for name in names])
            if rand.random() < 0.3:
                time.sleep(rand.random() * 0.003)


def popping(house, account, lists, seed, until):
    rand = random.Random(seed)
    client = house.server.client()
    try:
        while time.monotonic() < until:
            wanted = rand.sample(lists, rand.choice((1, 2, 3)))
            timeout = rand.choice(("0.002", "0.02", "0.2"))
            way = rand.randrange(8)
            if way <= 2:
                command = (rand.choice(("BLPOP", "BRPOP")), *wanted, timeout)
            elif way == 3:
                command = ("BLMPOP", timeout, str(len(wanted)), *wanted, rand.choice(("LEFT", "RIGHT")), "COUNT", "3")
            elif way <= 5:
                command = ("BLMOVE", wanted[0], rand.choice(lists), "LEFT", rand.choice(("LEFT", "RIGHT")), timeout)
            elif way == 6:
                command = ("LPOP", wanted[0])
            else:
                command = ("BRPOPLPUSH", wanted[0], wanted[-1], timeout)
            client.send(*command)
            reply = answer(client)
            if reply is None or command[0] in ("BLMOVE", "BRPOPLPUSH"):
                continue
            if isinstance(reply, ErrorReply):
                if not reply.startswith(b"UNBLOCKED"):
                    raise AssertionError(f"{command}: {reply}")
                continue
            taken = [reply] if command[0] == "LPOP" else reply[1] if command[0] == "BLMPOP" else reply[1:]
            account.get(name.decode() for name in taken)
    finally:
        client.close()


def vanishing(house, account, lists, seed, until):
    """Clients that block at keys of their own, where nothing must be lost, and go while elements come."""
    rand = random.Random(seed)
    with house.server.client() as own:
        while time.monotonic() < until:
            key = f"vanish:{seed}:{rand.randrange(1000)}"
            client = house.server.client()
            number = client.must("CLIENT", "ID")
            client.send("BLMOVE", key, rand.choice(lists), "LEFT", "LEFT", "0")
            (name,) = account.fresh(1)
            account.push([name])
            time.sleep(rand.random() * 0.004)
            if rand.random() < 0.5:
                client.close()
                own.must("RPUSH", key, name)
            else:
                own.send_raw(encode("RPUSH", key, name) + encode("CLIENT", "KILL", "ID", str(number)))
                answer(own), answer(own)
                client.close()
            # It was moved, or it is there.
            own.call("LMOVE", key, rand.choice(lists), "LEFT", "RIGHT")


def unblocking(house, account, lists, seed, until):
    rand = random.Random(seed)
    with house.server.client() as client:
        while time.monotonic() < until:
            lines = client.must("CLIENT", "LIST").decode().split("\n")
            numbers = [line.split()[0][3:] for line in lines if " flags=b " in line]
            for number in rand.sample(numbers, min(3, len(numbers))):
                client.must("CLIENT", "UNBLOCK", number, rand.choice(("TIMEOUT", "ERROR")))
            time.sleep(0.003)


@test
def every_element_is_given_out_once_whatever_clients_do(house):
    account, lists = Account(), keys("list", 9)
    until = time.monotonic() + house.options.seconds
    rand = random.Random(house.options.seed)
    roles = [pushing] * 3 + [popping] * 8 + [vanishing] * 2 + [unblocking]

    def role(work, seed):
        try:
            work(house, account, lists, seed, until)
        except Exception:
            account.problems.append(traceback.format_exc())

    threads = [threading.Thread(target=role, args=(work, rand.randrange(1 << 30))) for work in roles]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    equal(account.problems, [])
    client = house.client()
    house.blocked(0)
    left = []
    for key in client.must("KEYS", "*"):
        left.extend(name.decode() for name in client.must("LRANGE", key, "0", "-1"))
    account.get(left)
    twice = [name for name, count in account.got.items() if count > 1]
    equal(twice, [], "given out twice")
    equal(sorted(account.pushed - set(account.got)), [], "lost")
    equal(sorted(set(account.got) - account.pushed), [], "out of nowhere")
    support.wait_until(lambda: info(client, "total_blocking_keys") == 0, 5, "no blocking keys")
    return f"{len(account.pushed)} elements, {len(left)} left"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--slotwise", help="the server under test (target/quick/slotwise)")
    parser.add_argument("--no-borrow", action="store_true", help="cores talk by messages only")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    support.raise_file_limit()
    chosen = [one for one in TESTS if not options.words or any(word in one.__name__ for word in options.words)]
    house, passed, failed = House(options), 0, 0
    try:
        for one in chosen:
            start = time.monotonic()
            try:
                with house.server.client() as client:
                    client.must("FLUSHALL")
                note = one(house)
                passed += 1
                print(f"ok    {one.__name__} ({time.monotonic() - start:.1f} s){f': {note}' if note else ''}", flush=True)
            except Exception as problem:
                failed += 1
                detail = str(problem) if isinstance(problem, AssertionError) else traceback.format_exc()
                print(f"FAIL  {one.__name__}: {detail}", flush=True)
                if not house.server.alive():
                    print(house.server.log_tail(60), flush=True)
                    break
            finally:
                house.end_test()
    finally:
        house.server.stop()
    print(f"blocking with {options.shards} shards, seed {options.seed}: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
