"""Does the server stay within maxmemory, let the right keys go, and refuse only when none is left?

usage: eviction.py [check ...] [--shards N] [--seed N] [--slotwise PATH]

Checks (all by default):
  bounds    under each of the seven evicting policies, writing several times maxmemory never fails and never goes far
            beyond it, whether values are small or large, lists or strings
  hot       under LRU and LFU, keys that are read while others are written survive
  ttl       under volatile-ttl the keys that expire first go
  volatile  volatile-* policies leave keys without an expiry alone, and answer OOM when nothing else is left
  refuse    noeviction answers OOM to commands that need memory and to no other, in MULTI and EXEC too
  tagged    all data in one slot: one shard holds everything, and connections of the others can write
  change    CONFIG SET maxmemory below what is in use evicts at once, while writers go on
  expiry    keys that expire together are gone soon without being asked for
  idle      a server with nothing to do does next to nothing

What is measured is used_memory of INFO. The slack is 1 MiB a shard, one value, and what is on its way in buffers.
"""

import argparse
import random
import sys
import time
from pathlib import Path

import support
from support import ErrorReply

MIB = 1 << 20
OOM = b"OOM command not allowed when used memory > 'maxmemory'."
EVICTING = [
    "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
]
ROOM = 12 * MIB
PIPELINE = 200
PIPELINE_BYTES = 2 * MIB  # what is on its way counts as well, and must not fill the room alone


class Failure(Exception):
    """What a check found wrong."""


def expect(condition, what):
    if not condition:
        raise Failure(what)


def info(client, field):
    for line in client.must("INFO", "everything").splitlines():
        name, _, value = line.partition(b":")
        if name == field.encode():
            return value.decode()
    raise Failure(f"INFO has no {field}")


def used(client):
    return int(info(client, "used_memory"))


def fresh(options, policy, *extra, room=ROOM):
    """A started server whose limit leaves `room` for data."""
    server = support.slotwise(options.slotwise, options.shards, extra=("--maxmemory-policy", policy, *extra))
    server.start()
    with server.client() as client:
        server.limit = used(client) + room
        client.must("CONFIG", "SET", "maxmemory", server.limit)
    server.slack = (2 if support.is_redis(server.command[0]) else options.shards) * MIB + MIB
    return server


def write(client, commands, refusals=False):
    """Sends commands in pipelines; an error raises unless it is an OOM that may come. Returns how many were refused."""
    refused = 0
    for start in range(0, len(commands), PIPELINE):
        for reply in client.pipeline(commands[start:start + PIPELINE]):
            if isinstance(reply, ErrorReply):
                expect(refusals and reply == OOM, f"unexpected error {reply!r}")
                refused += 1
    return refused


def alive(client, names):
    found = 0
    for start in range(0, len(names), PIPELINE):
        found += sum(client.pipeline([("EXISTS", name) for name in names[start:start + PIPELINE]]))
    return found


def check_bounds(options):
    for policy in EVICTING:
        with_ttl = policy.startswith("volatile")
        server = fresh(options, policy)
        try:
            with server.client() as one, server.client() as two:
                worst = 0
                for size, count in ((64, 60000), (5000, 12000), (300000, 120)):
                    value = b"v" * size
                    batch = min(PIPELINE, PIPELINE_BYTES // size)
                    for start in range(0, count, 2 * batch):
                        for client in (one, two):
                            names = [f"k:{size}:{start}:{client is one}:{n}" for n in range(batch)]
                            if size == 64 and start % (8 * batch) == 0:
                                commands = []
                                for name in names:
                                    commands.append(("RPUSH", name, value, value, value))
                                    if with_ttl:
                                        commands.append(("EXPIRE", name, 10000))
                            elif with_ttl:
                                commands = [("SET", name, value, "EX", 10000 + n) for n, name in enumerate(names)]
                            else:
                                commands = [("SET", name, value) for name in names]
                            write(client, commands)
                            worst = max(worst, used(client) - server.limit)
                keys = one.must("DBSIZE")
                evicted = int(info(one, "evicted_keys"))
                expect(keys > 0 and evicted > 1000, f"{policy}: {keys} keys stay, {evicted} were evicted")
                expect(worst < server.slack, f"{policy}: memory went {worst} bytes beyond the limit")
                print(f"  {policy}: at most {worst / 1024:.0f} KiB over, {evicted} evicted, {keys} stay")
        finally:
            server.stop()


def check_hot(options):
    for policy in ("allkeys-lru", "allkeys-lfu", "volatile-lru", "volatile-lfu"):
        server = fresh(options, policy)
        tail = ("EX", 10000) if policy.startswith("volatile") else ()
        hot = [f"hot:{n}" for n in range(2000)]
        value = b"v" * 200
        try:
            with server.client() as client:
                write(client, [("SET", name, value, *tail) for name in hot])
                for turn in range(8):
                    write(client, [("GET", name) for name in hot for _ in range(3)])
                    if policy.endswith("lru"):
                        time.sleep(1.05)  # the clock of LRU counts seconds
                    write(client, [("SET", f"cold:{turn}:{n}", value, *tail) for n in range(8000)])
                expect(int(info(client, "evicted_keys")) > 10000, f"{policy}: too few keys were evicted to tell")
                share = alive(client, hot) / len(hot)
                expect(share > 0.9, f"{policy}: only {share:.2f} of the hot keys survive")
                print(f"  {policy}: {share:.3f} of the hot keys survive")
        finally:
            server.stop()


def check_ttl(options):
    server = fresh(options, "volatile-ttl")
    value = b"v" * 200
    try:
        with server.client() as client:
            order = list(range(140000))
            random.Random(options.seed).shuffle(order)
            write(client, [("SET", f"k:{n}", value, "EX", 10000 + n) for n in order])
            early = alive(client, [f"k:{n}" for n in range(10000)]) / 10000
            late = alive(client, [f"k:{n}" for n in range(130000, 140000)]) / 10000
            evicted = int(info(client, "evicted_keys")) / len(order)
            expect(early < 0.3 and late > 0.8, f"{early:.2f} of the first to expire and {late:.2f} of the last stay")
            print(f"  {early:.3f} of the first to expire and {late:.3f} of the last stay; {evicted:.2f} went")
    finally:
        server.stop()


def check_volatile(options):
    for policy in ("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"):
        server = fresh(options, policy)
        value = b"v" * 500
        try:
            with server.client() as client:
                write(client, [("SET", f"stays:{n}", value) for n in range(6000)])
                write(client, [("SET", f"goes:{n}", value, "EX", 10000) for n in range(30000)])
                expect(alive(client, [f"stays:{n}" for n in range(6000)]) == 6000, f"{policy}: a lasting key has gone")
                refused = write(client, [("SET", f"more:{n}", value) for n in range(30000)], refusals=True)
                expect(refused > 1000, f"{policy}: only {refused} writes were refused")
                expect(alive(client, [f"stays:{n}" for n in range(6000)]) == 6000, f"{policy}: a lasting key has gone")
                left = alive(client, [f"goes:{n}" for n in range(30000)])
                expect(left == 0, f"{policy}: refused with {left} keys left to evict")
        finally:
            server.stop()


def check_refuse(options):
    server = fresh(options, "noeviction")
    value = b"v" * 1000
    try:
        with server.client() as client, server.client() as other:
            for turn in range(100):
                if write(client, [("SET", f"k:{turn}:{n}", value) for n in range(1000)], refusals=True):
                    break
            else:
                raise Failure("never refused")
            # What the pipeline took in buffers has been given back: fill that too.
            in_a_row = 0
            for n in range(20000):
                in_a_row = in_a_row + 1 if client.call("SET", f"fill:{n}", value) == OOM else 0
                if in_a_row == 50:
                    break
            for command in (
                ("SET", "a", "b"), ("INCR", "n"), ("LPUSH", "l", "x"), ("HSET", "h", "f", "v"), ("SADD", "s", "m"),
                ("ZADD", "z", "1", "m"), ("APPEND", "a", "b"), ("MSET", "a", "b", "c", "d"),
                ("SUNIONSTORE", "to", "a", "b", "c"), ("COPY", "k:0:0", "k:new"),
            ):
                reply = client.call(*command)
                expect(reply == OOM, f"{command[0]} answered {reply!r}")
            for n in range(50):  # each on some shard
                expect(client.call("GET", f"k:0:{n}") == value, "GET is refused")
            expect(client.call("EXPIRE", "k:0:0", 1000) == 1, "EXPIRE is refused")
            expect(client.call("PING") == b"PONG", "PING is refused")

            # A transaction: refused when queued, and then as a whole.
            expect(client.must("MULTI") == b"OK", "MULTI")
            expect(client.call("SET", "a", "b") == OOM, "SET is queued")
            expect(client.call("EXEC").startswith(b"EXECABORT"), "EXEC runs what was refused")
            expect(client.must("MULTI") == b"OK", "MULTI")
            expect(client.call("GET", "a") == OOM, "the queue grows though memory is used up")
            expect(client.must("DISCARD") == b"OK", "DISCARD")

            # Queued while there was room, run when there is none.
            other.must("CONFIG", "SET", "maxmemory", server.limit * 4)
            client.must("MULTI")
            expect(client.must("SET", "k:0:1", "b") == b"QUEUED", "SET is not queued")
            other.must("CONFIG", "SET", "maxmemory", server.limit // 2)
            time.sleep(0.05)
            reply = client.call("EXEC")
            expect(reply == b"EXECABORT Transaction discarded because of: " + OOM, f"EXEC answered {reply!r}")
            client.must("MULTI")
            expect(client.call("EXEC") == [], "an empty EXEC is refused")
            other.must("CONFIG", "SET", "maxmemory", server.limit)

            # Room again after keys were deleted.
            for turn in range(100):
                write(client, [("DEL", f"k:{turn}:{n}") for n in range(1000)])
            write(client, [("DEL", f"fill:{n}") for n in range(20000)])
            support.wait_until(lambda: client.call("SET", "a", "b") == b"OK", 2, "a write after memory was freed")
            expect(int(info(client, "evicted_keys")) == 0, "noeviction has evicted")
    finally:
        server.stop()


def check_tagged(options):
    for policy in ("allkeys-lru", "allkeys-random", "volatile-ttl"):
        server = fresh(options, policy)
        value = b"v" * 1000
        clients = [server.client() for _ in range(4 * options.shards)]
        try:
            worst = 0
            for turn in range(40):
                for number, client in enumerate(clients):
                    names = [f"{{tag}}:{turn}:{number}:{n}" for n in range(100 if options.shards > 1 else 300)]
                    write(client, [("SET", name, value, "EX", 10000) for name in names])
                    if turn % 10 == 5:  # a few keys elsewhere, so that there is something to compare
                        write(client, [("SET", f"else:{turn}:{number}:{n}", value, "EX", 10000) for n in range(5)])
                    worst = max(worst, used(client) - server.limit)
            evicted = int(info(clients[0], "evicted_keys"))
            expect(evicted > 1000, f"{policy}: {evicted} were evicted")
            expect(worst < server.slack, f"{policy}: memory went {worst} bytes beyond the limit")
            expect(clients[0].must("DBSIZE") > 2000, f"{policy}: {clients[0].must('DBSIZE')} keys stay")
            print(f"  {policy}: at most {worst / 1024:.0f} KiB over, {evicted} evicted")
        finally:
            for client in clients:
                client.close()
            server.stop()


def check_change(options):
    server = fresh(options, "allkeys-lru", room=200 * MIB)
    value = b"v" * 300
    try:
        with server.client() as client, server.client() as writer:
            write(client, [("SET", f"k:{n}", value) for n in range(150000)])
            goal = used(client) - 30 * MIB
            client.must("CONFIG", "SET", "maxmemory", goal)
            slowest = 0
            while used(client) > goal:
                began = time.monotonic()
                expect(writer.must("SET", "other", value) == b"OK", "a writer is refused")
                slowest = max(slowest, time.monotonic() - began)
                expect(slowest < 2, "a writer waits for long")
            expect(0 < client.must("DBSIZE") < 150000, "no key went")
            print(f"  30 MiB evicted; the slowest write meanwhile took {slowest * 1000:.1f} ms")
            # With nobody writing it goes on by itself.
            goal -= 10 * MIB
            client.must("CONFIG", "SET", "maxmemory", goal)
            support.wait_until(lambda: used(client) <= goal, 10, "eviction without a writer")
            # One key holds nearly everything.
            client.must("FLUSHALL")
            client.must("CONFIG", "SET", "maxmemory", "0")
            for start in range(0, 200000, 1000):
                client.must("SADD", "big", *[f"member:{n}" for n in range(start, start + 1000)])
            client.must("CONFIG", "SET", "maxmemory", used(client) - 5 * MIB)
            support.wait_until(lambda: client.must("EXISTS", "big") == 0, 5, "the eviction of a big set")
            support.wait_until(lambda: client.call("SET", "a", "b") == b"OK", 5, "a write after that")
    finally:
        server.stop()


def check_expiry(options):
    server = support.slotwise(options.slotwise, options.shards)
    with server:
        with server.client() as client:
            write(client, [("SET", f"k:{n}", "v", "PX", 1500) for n in range(60000)])
            write(client, [("SET", f"stays:{n}", "v") for n in range(1000)])
            time.sleep(1.5)
            began = time.monotonic()
            # A tenth may linger: that is what the effort of active expiry means.
            support.wait_until(lambda: client.must("DBSIZE") < 8000, 10, "the end of expired keys")
            print(f"  gone {time.monotonic() - began:.2f} s after their time")
            expect(alive(client, [f"stays:{n}" for n in range(1000)]) == 1000, "a lasting key has gone")


def check_idle(options):
    """CPU of all threads over three seconds, in which nobody asks for anything."""
    if support.is_redis(options.slotwise or ""):
        return
    ticks_per_second = 100
    with support.slotwise(options.slotwise, options.shards, extra=("--maxmemory", "100mb")) as server:
        def spent():
            fields = Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / ticks_per_second

        def sleeps():
            return sum(int(path.read_text().split("nonvoluntary")[0].rsplit(":", 1)[1].split()[0])
                       for path in Path(f"/proc/{server.pid}/task").glob("*/status")
                       if "shard-" in path.read_text().split("\n")[0])

        with server.client() as client:
            client.must("SET", "a", "b")
            time.sleep(1.5)
            before, woken = spent(), sleeps()
            time.sleep(3)
            share = (spent() - before) / 3
            wakes = (sleeps() - woken) / 3 / options.shards
            expect(share < 0.005 * (options.shards + 1), f"{share * 100:.2f} % of a CPU while idle")
            expect(wakes < 4, f"each shard wakes {wakes:.1f} times a second")
            print(f"  {share * 100:.2f} % of a CPU, each shard wakes {wakes:.1f} times a second")


CHECKS = {
    "bounds": check_bounds, "hot": check_hot, "ttl": check_ttl, "volatile": check_volatile, "refuse": check_refuse,
    "tagged": check_tagged, "change": check_change, "expiry": check_expiry, "idle": check_idle,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", metavar="check")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slotwise")
    options = parser.parse_args()
    unknown = [name for name in options.checks if name not in CHECKS]
    if unknown:
        parser.error(f"no such check: {', '.join(unknown)}")
    passed = failed = 0
    for name in options.checks or CHECKS:
        began = time.monotonic()
        print(f"{name}:", flush=True)
        try:
            CHECKS[name](options)
        except (Failure, RuntimeError, TimeoutError, ConnectionError, OSError) as problem:
            failed += 1
            print(f"  FAILED: {problem}", flush=True)
        else:
            passed += 1
            print(f"  ok in {time.monotonic() - began:.1f} s", flush=True)
    print(f"eviction: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
