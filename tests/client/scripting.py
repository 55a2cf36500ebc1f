"""Is a script one step for everybody, whatever keys it touches, and does the server live while one runs too long?

usage: scripting.py [WORD ...] [--shards N] [--slotwise PATH] [--full]

The tests have the form of runtime.py.
"""

import random
import sys
import threading
import time

import runtime
from runtime import equal, true
from support import wait_until

TESTS = []


def test(function):
    TESTS.append(function)
    return function


def text(reply):
    """A reply as text, errors too."""
    return reply.decode() if isinstance(reply, bytes) else str(reply)


# --- one step ---------------------------------------------------------------------------------------------------------

ACCOUNTS = 40

TRANSFERS = [
    # Undeclared keys, plainly.
    """local a, b = 'acc:' .. ARGV[1], 'acc:' .. ARGV[2]
       redis.call('DECRBY', a, ARGV[3]) redis.call('INCRBY', b, ARGV[3]) return 1""",
    # Within pcall, after a command that fails.
    """local ok = pcall(function()
         redis.pcall('LPUSH', 'acc:' .. ARGV[1], 'x')
         redis.call('DECRBY', 'acc:' .. ARGV[1], ARGV[3]) redis.call('INCRBY', 'acc:' .. ARGV[2], ARGV[3])
       end) return ok and 1 or 0""",
    # Within a comparator, which cannot yield.
    """local done = false
       local t = {3, 1, 2}
       table.sort(t, function(x, y)
         if not done then done = true
           redis.call('DECRBY', 'acc:' .. ARGV[1], ARGV[3]) redis.call('INCRBY', 'acc:' .. ARGV[2], ARGV[3]) end
         return x < y end)
       return 1""",
    # Declared keys, and a coroutine.
    """local co = coroutine.wrap(function()
         redis.call('DECRBY', KEYS[1], ARGV[3]) coroutine.yield() redis.call('INCRBY', KEYS[2], ARGV[3]) end)
       co() co() return 1""",
]


@test
def transfers_by_undeclared_keys_are_seen_whole_or_not_at_all(house):
    with house.server() as server:
        with server.client() as client:
            client.call("MSET", *[word for n in range(ACCOUNTS) for word in (f"acc:{n}", 1000)])
        stop, failures = threading.Event(), []
        seconds = 10 if house.full else 2
        moved = [0] * 8

        def transfer(seed):
            rng = random.Random(seed)
            with server.client() as client:
                while not stop.is_set() and not failures:
                    a, b = rng.sample(range(ACCOUNTS), 2)
                    script = rng.choice(TRANSFERS)
                    keys = [f"acc:{a}", f"acc:{b}"] if "KEYS[1]" in script else []
                    reply = client.call("EVAL", script, len(keys), *keys, a, b, rng.randrange(1, 10))
                    if reply != 1:
                        failures.append(f"a transfer was answered {reply}")
                    moved[seed] += 1

        def read(seed):
            with server.client() as client:
                while not stop.is_set() and not failures:
                    client.call("MULTI")
                    for n in range(ACCOUNTS):
                        client.call("GET", f"acc:{n}")
                    total = sum(int(value) for value in client.call("EXEC"))
                    if total != 1000 * ACCOUNTS:
                        failures.append(f"the accounts were seen with {total} in all")
                    by_script = client.call("EVAL", """local s = 0
                        for n = 0, ARGV[1] - 1 do s = s + redis.call('GET', 'acc:' .. n) end return s""", 0, ACCOUNTS)
                    if by_script != 1000 * ACCOUNTS:
                        failures.append(f"a script saw {by_script} in all")

        threads = [threading.Thread(target=transfer, args=(seed,)) for seed in range(8)]
        threads += [threading.Thread(target=read, args=(seed,)) for seed in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        stop.set()
        for thread in threads:
            thread.join(30)
        equal(failures, [])
        true(all(moved), f"every client moved something: {moved}")


@test
def a_script_in_a_transaction_is_part_of_it(house):
    server = house.common()
    with server.client() as client, server.client() as other:
        client.call("MULTI")
        client.call("EVAL", "return redis.call('SET', KEYS[1], ARGV[1])", 1, "a", "1")
        client.call("EVAL", "redis.call('SET', 'b', '2') return redis.call('DBSIZE')", 0)
        client.call("GET", "b")
        equal(client.call("EXEC"), [b"OK", 2, b"2"])
        client.call("WATCH", "w")
        other.call("EVAL", "return redis.call('SET', 'w', '1')", 0)
        client.call("MULTI")
        client.call("GET", "w")
        equal(client.call("EXEC"), None, "a script breaks a watch")


@test
def commands_about_all_keys_see_all_of_them(house):
    server = house.common()
    with server.client() as client:
        client.call("MSET", *[word for n in range(300) for word in (f"k{n}", n)])
        equal(client.call("EVAL", "return redis.call('DBSIZE')", 0), 300)
        equal(client.call("EVAL", "return #redis.call('KEYS', '*')", 0), 300)
        seen = client.call("EVAL", """local c, n = '0', 0
            repeat local r = redis.call('SCAN', c, 'COUNT', 50) c = r[1] n = n + #r[2] until c == '0'
            return n""", 0)
        equal(seen, 300)
        true(client.call("EVAL", "return redis.call('RANDOMKEY')", 0).startswith(b"k"), "RANDOMKEY gives a key")
        equal(client.call("EVAL", "redis.call('FLUSHALL') return redis.call('DBSIZE')", 0), 0)


@test
def time_stands_still_in_a_script(house):
    server = house.common()
    with server.client() as client:
        reply = client.call("EVAL", """redis.call('SET', 'k', 'v', 'PX', 1)
            for i = 1, 300000 do local x = i * 2 end
            return {redis.call('GET', 'k'), redis.call('EXISTS', 'k')}""", 0)
        equal(reply, [b"v", 1])


# --- what all cores know ----------------------------------------------------------------------------------------------

@test
def a_cached_script_is_known_on_every_core_at_once_and_so_is_its_end(house):
    server = house.common()
    clients = [server.client() for _ in range(8)]
    for round_ in range(30):
        script = f"return {round_}"
        sha = random.choice(clients).call("SCRIPT", "LOAD", script)
        for client in clients:
            equal(client.call("EVALSHA", sha, 0), round_)
            equal(client.call("SCRIPT", "EXISTS", sha, "0" * 40), [1, 0])
        equal(random.choice(clients).call("SCRIPT", "FLUSH"), b"OK")
        for client in clients:
            true(text(client.call("EVALSHA", sha, 0)).startswith("NOSCRIPT"), "a flushed script is gone")


@test
def a_library_is_known_on_every_core_at_once_and_so_is_its_end(house):
    server = house.common()
    clients = [server.client() for _ in range(8)]
    clients[0].call("FUNCTION", "FLUSH")
    for round_ in range(15):
        code = f"#!lua name=lib\nredis.register_function('f', function(keys, args) return {round_} end)"
        equal(random.choice(clients).call("FUNCTION", "LOAD", "REPLACE", code), b"lib")
        for client in clients:
            equal(client.call("FCALL", "f", 0), round_)
    payload = clients[1].call("FUNCTION", "DUMP")
    equal(clients[2].call("FUNCTION", "DELETE", "lib"), b"OK")
    for client in clients:
        equal(text(client.call("FCALL", "f", 0)), "ERR Function not found")
    equal(clients[3].call("FUNCTION", "RESTORE", payload), b"OK")
    for client in clients:
        true("write flag" in text(client.call("FCALL_RO", "f", 0)), "it has not said that it only reads")
        equal(client.call("FCALL", "F", 0), 14)
    true(text(clients[4].call("FUNCTION", "RESTORE", payload)).startswith("ERR Library lib already exists"), "APPEND refuses")
    clients[0].call("FUNCTION", "FLUSH")


# --- scripts that run too long ----------------------------------------------------------------------------------------

@test
def a_script_over_its_time_leaves_every_client_an_answer_and_can_be_killed(house):
    with house.server("--busy-reply-threshold", "150") as server:
        clients = [server.client() for _ in range(8)]
        runner = clients[0]
        for loop in ("while true do end", "while true do pcall(function() while true do end end) end"):
            runner.send("EVAL", loop, 0)
            runner.send("PING")
            wait_until(lambda: text(clients[1].call("PING")).startswith("BUSY"), 10, "the script is over its time")
            for client in clients[1:]:
                true(text(client.call("GET", f"key:{id(client)}")).startswith("BUSY"), "GET is refused")
                equal(client.call("MULTI"), b"OK")
                true(text(client.call("SET", "a", "b")).startswith("BUSY"), "a command is not queued")
                true(text(client.call("EXEC")).startswith("EXECABORT"), "EXEC gives up")
            with server.client() as late:
                true(text(late.call("GET", "x")).startswith("BUSY"), "one that comes later is refused too")
            true(text(clients[2].call("FUNCTION", "KILL")).startswith("BUSY"), "FUNCTION KILL is not for scripts")
            equal(clients[3].call("SCRIPT", "KILL"), b"OK")
            true("killed by user" in text(runner.read()[0].value()), "the script ends by an error")
            equal(runner.read()[0].value(), b"PONG")
            for client in clients:
                equal(client.call("PING"), b"PONG")
            true(text(clients[4].call("SCRIPT", "KILL")).startswith("NOTBUSY"), "nothing is left to kill")


@test
def what_is_on_its_way_when_a_script_begins_is_answered_before_it_ends(house):
    with house.server("--busy-reply-threshold", "50") as server:
        control, runner = server.client(), server.client()
        for _ in range(6):
            over = threading.Event()
            last = {}

            def ask(number):
                with server.client() as client:
                    client.socket.settimeout(20)
                    turn = 0
                    while not over.is_set():
                        turn += 1
                        for key in range(8):
                            client.send("GET" if key % 3 else "INCR", f"key:{(number * 31 + turn * 7 + key) % 1000}")
                        if turn % 5 == 0:
                            for word in (("MULTI",), ("INCR", f"t{turn}"), ("EXEC",)):
                                client.send(*word)
                        for _ in range(8 + 3 * (turn % 5 == 0)):
                            client.read()
                        last[number] = time.monotonic()

            threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
            for thread in threads:
                thread.start()
            time.sleep(0.1)
            runner.send("EVAL", "while true do end", 0)
            wait_until(lambda: text(control.call("PING")).startswith("BUSY"), 10, "the script is over its time")
            since = time.monotonic()
            try:
                wait_until(lambda: len(last) == 12 and min(last.values()) > since, 5, "everybody to go on being answered")
            finally:
                over.set()
                equal(control.call("SCRIPT", "KILL"), b"OK")
                for thread in threads:
                    thread.join()
            runner.read()


@test
def a_function_over_its_time_is_told_of_and_killed(house):
    with house.server("--busy-reply-threshold", "150") as server:
        runner, other = server.client(), server.client()
        runner.call("FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('spin', function() while true do end end)")
        runner.send("FCALL", "spin", 0)
        wait_until(lambda: text(other.call("PING")).startswith("BUSY"), 10, "the function is over its time")
        stats = other.call("FUNCTION", "STATS")
        equal(stats[1][:4], [b"name", b"spin", b"command", [b"FCALL", b"spin", b"0"]])
        true(text(other.call("SCRIPT", "KILL")).startswith("BUSY"), "SCRIPT KILL is not for functions")
        equal(other.call("FUNCTION", "KILL"), b"OK")
        true("killed by user" in text(runner.read()[0].value()), "the function ends by an error")
        equal(other.call("PING"), b"PONG")


@test
def a_script_that_has_written_cannot_be_killed_and_the_server_can_be_stopped(house):
    server = house.server("--busy-reply-threshold", "150").start()
    try:
        runner, other = server.client(), server.client()
        runner.send("EVAL", "redis.call('SET', 'a', '1') while true do end", 0)
        wait_until(lambda: text(other.call("PING")).startswith("BUSY"), 10, "the script is over its time")
        true(text(other.call("SCRIPT", "KILL")).startswith("UNKILLABLE"), "it has written")
        other.send("SHUTDOWN", "NOSAVE")
        wait_until(lambda: not server.alive(), 10, "the server stops")
    finally:
        server.stop()


@test
def the_client_of_a_long_script_may_vanish(house):
    with house.server("--busy-reply-threshold", "100") as server:
        runner, other = server.client(), server.client()
        runner.send("EVAL", "while true do end", 0)
        wait_until(lambda: text(other.call("PING")).startswith("BUSY"), 10, "the script is over its time")
        runner.socket.close()
        time.sleep(0.1)
        equal(other.call("SCRIPT", "KILL"), b"OK")
        wait_until(lambda: other.call("PING") == b"PONG", 10, "the server serves on")


@test
def a_script_that_uses_up_memory_gets_an_error_and_the_next_one_runs(house):
    with house.server() as server, server.client() as client:
        client.socket.settimeout(60)
        reply = client.call("EVAL", "local t, s = {}, string.rep('x', 1e6) while true do t[#t + 1] = s .. #t end", 0)
        true("not enough memory" in text(reply), f"it is told so: {text(reply)}")
        equal(client.call("EVAL", "return 1", 0), 1)


if __name__ == "__main__":
    runtime.TESTS = TESTS
    sys.exit(runtime.main())
