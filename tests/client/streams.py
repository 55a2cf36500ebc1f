"""Do readers of streams that wait get what they wait for, once, in order, and the right word when there is nothing left?

usage: streams.py [WORD ...] [--shards N] [--slotwise PATH]

Every test is a function whose name is the sentence it proves; WORDs select those whose name holds one of them. What a
reader waits for is known to the server when CLIENT LIST shows it blocked, so nothing here sleeps and hopes.
"""

import argparse
import sys
import threading
import time
import traceback

import support
from support import ErrorReply, wait_until

TESTS = []
WAITING = []  # connections of the running test


def test(function):
    TESTS.append(function)
    return function


def equal(found, expected, what=""):
    if found != expected:
        raise AssertionError(f"{what}: {str(found)[:400]} instead of {str(expected)[:400]}")


def true(condition, what):
    if not condition:
        raise AssertionError(what)


def blocked(client):
    """How many clients are blocked."""
    return int(client.must("INFO", "clients").split(b"blocked_clients:")[1].split()[0])


def waiting(server, admin, *commands):
    """Connections that have sent these requests and are blocked, one after the other."""
    clients = []
    for command in commands:
        before = blocked(admin)
        client = server.client(timeout=20.0)
        client.send(*command)
        wait_until(lambda: blocked(admin) == before + 1, 10.0, "the reader to be blocked")
        clients.append(client)
        WAITING.append(client)
    return clients


def reply_of(client):
    return client.read()[0].value()


def entry(ident, *fields):
    return [ident, list(fields)]


@test
def all_readers_of_a_stream_get_what_comes(server, admin):
    readers = waiting(server, admin, *[("XREAD", "BLOCK", "0", "STREAMS", "s", "$")] * 5)
    admin.must("XADD", "s", "5-1", "f", "v")
    for reader in readers:
        equal(reply_of(reader), [[b"s", [entry(b"5-1", b"f", b"v")]]], "a reader from now on")
    equal(blocked(admin), 0, "blocked clients")


@test
def a_dollar_means_the_last_id_when_the_reader_came(server, admin):
    admin.must("XADD", "s", "5-1", "f", "v")
    [reader] = waiting(server, admin, ("XREAD", "BLOCK", "0", "STREAMS", "s", "$"))
    # Both come at once: neither is the last one when the reader is looked at.
    admin.must("MULTI")
    admin.must("XADD", "s", "6-1", "f", "1")
    admin.must("XADD", "s", "7-1", "f", "2")
    admin.must("EXEC")
    equal(reply_of(reader), [[b"s", [entry(b"6-1", b"f", b"1"), entry(b"7-1", b"f", b"2")]]], "both entries")


@test
def a_reader_of_many_streams_is_served_by_the_one_that_changes(server, admin):
    keys = [f"k{n}" for n in range(16)]
    for n in range(16):
        [reader] = waiting(server, admin, ("XREAD", "COUNT", "2", "BLOCK", "20000", "STREAMS", *keys, *["$"] * 16))
        admin.must("XADD", f"k{n}", "1-1", "n", n)
        equal(reply_of(reader), [[b"k%d" % n, [entry(b"1-1", b"n", b"%d" % n)]]], f"stream {n}")


@test
def an_entry_that_goes_within_the_same_transaction_serves_nobody(server, admin):
    [reader] = waiting(server, admin, ("XREAD", "BLOCK", "20000", "STREAMS", "s", "$"))
    admin.must("MULTI")
    admin.must("XADD", "s", "5-1", "f", "v")
    admin.must("XDEL", "s", "5-1")
    admin.must("EXEC")
    equal(blocked(admin), 1, "the reader still waits")
    admin.must("XADD", "s", "5-2", "f", "v")
    equal(reply_of(reader), [[b"s", [entry(b"5-2", b"f", b"v")]]], "the entry that stayed")


@test
def a_reader_gives_up_when_its_time_is_over(server, admin):
    with server.client() as reader:
        began = time.monotonic()
        equal(reader.call("XREAD", "BLOCK", "150", "STREAMS", "s", "t", "$", "$"), None, "nothing")
        true(time.monotonic() - began >= 0.14, "it waited")
    with server.client(resp=3) as reader:
        equal(reader.call("XREAD", "BLOCK", "10", "STREAMS", "s", "$"), None, "nothing in RESP3")
    with server.client() as reader:
        reader.must("MULTI")
        reader.must("XREAD", "BLOCK", "0", "STREAMS", "s", "$")
        equal(reader.must("EXEC"), [None], "EXEC never waits")


@test
def consumers_of_a_group_share_what_comes_in_the_order_of_waiting(server, admin):
    admin.must("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    readers = waiting(server, admin, *[("XREADGROUP", "GROUP", "g", f"c{n}", "COUNT", "1", "BLOCK", "0", "STREAMS", "s", ">") for n in range(4)])
    for n in range(4):
        admin.must("XADD", "s", f"{n + 1}-0", "n", n)
        equal(reply_of(readers[n]), [[b"s", [entry(b"%d-0" % (n + 1), b"n", b"%d" % n)]]], f"consumer {n}")
    equal([row[1] for row in admin.must("XPENDING", "s", "g", "-", "+", "10")], [b"c0", b"c1", b"c2", b"c3"], "owners")


@test
def a_transaction_of_several_entries_serves_several_consumers(server, admin):
    admin.must("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    readers = waiting(server, admin, *[("XREADGROUP", "GROUP", "g", f"c{n}", "COUNT", "1", "BLOCK", "0", "STREAMS", "s", ">") for n in range(3)])
    admin.must("MULTI")
    for n in range(1, 3):
        admin.must("XADD", "s", f"{n}-0", "n", n)
    admin.must("EXEC")
    for n in range(2):
        equal(reply_of(readers[n]), [[b"s", [entry(b"%d-0" % (n + 1), b"n", b"%d" % (n + 1))]]], f"consumer {n}")
    equal(blocked(admin), 1, "the third waits")
    admin.must("DEL", "s")
    equal(reply_of(readers[2])[:7], b"NOGROUP", "the third hears that there is no group")


@test
def a_waiting_consumer_hears_that_key_group_or_type_are_gone(server, admin):
    gone = b"NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option"
    wrong = b"WRONGTYPE Operation against a key holding the wrong kind of value"
    for what, error in [(("DEL", "s"), gone), (("UNLINK", "s"), gone), (("XGROUP", "DESTROY", "s", "g"), gone),
                        (("SET", "s", "v"), wrong), (("RENAME", "s", "other"), gone), (("PEXPIRE", "s", "1"), gone),
                        (("FLUSHALL",), gone), (("FLUSHDB", "ASYNC"), gone), (("SWAPDB", "0", "9"), gone)]:
        admin.must("FLUSHALL")
        admin.must("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
        readers = waiting(server, admin, *[("XREADGROUP", "GROUP", "g", "c", "BLOCK", "20000", "STREAMS", "s", ">")] * 2)
        admin.must(*what)
        for reader in readers:
            reply = reply_of(reader)
            true(isinstance(reply, ErrorReply), f"{what}: {reply!r}")
            equal(bytes(reply), error, str(what))
    admin.must("FLUSHALL")


@test
def a_waiting_reader_outlives_the_key(server, admin):
    admin.must("XADD", "s", "5-1", "f", "v")
    [reader] = waiting(server, admin, ("XREAD", "BLOCK", "20000", "STREAMS", "s", "$"))
    admin.must("DEL", "s")
    admin.must("SET", "s", "v")
    admin.must("DEL", "s")
    admin.must("XADD", "s", "4-1", "f", "below")
    equal(blocked(admin), 1, "an id below the one it waits for")
    admin.must("XADD", "s", "6-1", "f", "above")
    equal(reply_of(reader), [[b"s", [entry(b"6-1", b"f", b"above")]]], "what is above")


@test
def a_stream_that_is_renamed_or_copied_to_the_key_serves_too(server, admin):
    for word in ("RENAME", "COPY"):
        admin.must("FLUSHALL")
        [reader] = waiting(server, admin, ("XREAD", "BLOCK", "20000", "STREAMS", "to", "0"))
        admin.must("XADD", "from", "1-1", "f", "v")
        admin.must(word, "from", "to")
        equal(reply_of(reader), [[b"to", [entry(b"1-1", b"f", b"v")]]], word)


@test
def a_consumer_is_seen_when_it_asks_and_active_when_it_gets_something(server, admin):
    admin.must("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    [reader] = waiting(server, admin, ("XREADGROUP", "GROUP", "g", "c", "BLOCK", "20000", "STREAMS", "s", ">"))

    def consumer():
        words = admin.must("XINFO", "CONSUMERS", "s", "g")[0]
        return dict(zip(words[::2], words[1::2]))

    equal((consumer()[b"name"], consumer()[b"inactive"]), (b"c", -1), "a consumer that waits")
    wait_until(lambda: consumer()[b"idle"] >= 20, 5.0, "time to pass")
    admin.must("XADD", "s", "*", "f", "v")
    reply_of(reader)
    seen = consumer()
    true(seen[b"idle"] < 20 and 0 <= seen[b"inactive"] < 20, f"seen and active at once: {seen}")


@test
def each_entry_reaches_one_consumer_under_load(server, admin):
    keys = [f"q{n}" for n in range(4)]
    for key in keys:
        admin.must("XGROUP", "CREATE", key, "g", "$", "MKSTREAM")
    total, consumers = 1200, 8
    got, lock, failures = [], threading.Lock(), []

    def consume(number):
        try:
            with server.client(timeout=30.0) as client:
                while True:
                    reply = client.must("XREADGROUP", "GROUP", "g", f"c{number}", "COUNT", "3", "BLOCK", "15000", "STREAMS", *keys, *[">"] * 4)
                    entries = [(key, ident, fields[1]) for key, items in reply or [] for ident, fields in items]
                    for key, ident, _ in entries:
                        client.must("XACK", key, "g", ident)
                    with lock:
                        got.extend(value for _, _, value in entries if value != b"end")
                    if reply is None or any(value == b"end" for _, _, value in entries):
                        return
        except Exception as problem:  # noqa: BLE001 -- reported by the main thread
            failures.append(problem)

    threads = [threading.Thread(target=consume, args=(n,)) for n in range(consumers)]
    for thread in threads:
        thread.start()
    for n in range(total):
        admin.must("XADD", keys[n % 4], "*", "n", n)
    wait_until(lambda: len(got) >= total, 30.0, "all entries to be read")
    for n in range(consumers * 20):
        if not any(thread.is_alive() for thread in threads):
            break
        admin.must("XADD", keys[n % 4], "*", "n", "end")
        time.sleep(0.01)
    for thread in threads:
        thread.join(20.0)
    true(not failures, f"consumers failed: {failures[:1]}")
    equal(sorted(int(value) for value in got), list(range(total)), "each entry once")
    for key in keys:
        group = admin.must("XINFO", "GROUPS", key)[0]
        equal(dict(zip(group[::2], group[1::2]))[b"pending"], 0, "nothing is pending")


@test
def a_reader_that_goes_away_takes_nothing_with_it(server, admin):
    admin.must("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    gone, stays = waiting(server, admin, *[("XREADGROUP", "GROUP", "g", f"c{n}", "BLOCK", "20000", "STREAMS", "s", ">") for n in range(2)])
    gone.close()
    wait_until(lambda: blocked(admin) == 1, 10.0, "the connection's end to be noticed")
    admin.must("XADD", "s", "1-1", "f", "v")
    equal(reply_of(stays), [[b"s", [entry(b"1-1", b"f", b"v")]]], "the one who stayed")
    equal(admin.must("XPENDING", "s", "g")[3], [[b"c1", b"1"]], "the owner")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--slotwise")
    options = parser.parse_args()
    chosen = [test for test in TESTS if not options.words or any(word in test.__name__ for word in options.words)]
    failed = 0
    with support.slotwise(options.slotwise, shards=options.shards) as server:
        for function in chosen:
            name = function.__name__.replace("_", " ")
            try:
                with server.client() as admin:
                    admin.must("FLUSHALL")
                    function(server, admin)
                    while WAITING:
                        WAITING.pop().close()
                    wait_until(lambda: blocked(admin) == 0, 10.0, "all readers to be gone")
                print(f"ok    {name}", flush=True)
            except Exception:  # noqa: BLE001 -- any failure is this test's
                failed += 1
                print(f"FAIL  {name}\n{traceback.format_exc()}", flush=True)
                if not server.alive():
                    print(f"the server ended:\n{server.log_tail()}")
                    break
    print(f"streams with {options.shards} shards: {len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
