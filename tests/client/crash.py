"""Kills the server with SIGKILL while many clients write, starts it again with another number of shards, and looks.

Every client knows what it has sent and what was acknowledged. After each kill: every acknowledged write is there and whatever
another client has read, nothing
is there that was not sent, and what was written in one step (MSET, MULTI, a script, RENAME, COPY, SMOVE, a move between
lists) is there wholly or not at all. Under `always` and under `everysec` alike, since a killed process leaves behind what
it has given to the kernel; and with a disk that is slow, whose answers wait for a thread to write.

    tests/client/crash.py [--slotwise PATH] [--kills N] [--seconds N] [--seed N] [--clients N]
"""

import argparse
import random
import signal
import sys
import threading
import time

from support import Client, ErrorReply, Server, default_slotwise

GROUP = 3
SCRIPT = (
    b"for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[1]) end "
    b"redis.call('INCR', KEYS[1] .. ':undeclared') return redis.call('GET', KEYS[1])"
)


class Failure(Exception):
    """A promise that was not kept."""


class Writer:
    """One client's keys and what is known about them. A number is written to all places of a step."""

    def __init__(self, index, seed):
        self.index = index
        self.random = random.Random(seed * 1000 + index)
        self.sent = {}
        self.acked = {}
        self.seen = {}  # what others have read
        self.acknowledged = 0
        self.tokens_at = [0] * GROUP  # which of its two sets a token is in, as last acknowledged
        self.token_moves = {}

    def names(self, kind):
        return [f"{kind}:{self.index}:{place}".encode() for place in range(GROUP)]

    def begin(self, kind):
        number = self.sent.get(kind, 0) + 1
        self.sent[kind] = number
        return number

    def step(self, client):
        kind = self.random.choice(("set", "incr", "push", "mset", "multi", "script", "rename", "move", "copy", "zset"))
        number = self.begin(kind)
        text = str(number).encode()
        names = self.names(kind)
        if kind == "set":
            client.call("SET", names[0], text)
        elif kind == "incr":
            got = client.call("INCR", names[0])
            if got != number:
                raise Failure(f"INCR gave {got}, expected {number}")
        elif kind == "push":
            client.call("RPUSH", names[0], text)
        elif kind == "zset":
            client.call("ZADD", names[0], text, text)
        elif kind == "mset":
            client.call("MSET", *[part for name in names for part in (name, text)])
        elif kind == "multi":
            client.call("MULTI")
            client.call("SET", names[0], text)
            client.call("RPUSH", names[1], text)
            client.call("HSET", names[2], "n", text)
            client.call("EXEC")
        elif kind == "script":
            client.call("EVAL", SCRIPT, str(GROUP), *names, text)
        elif kind == "rename":
            # The value goes round: one of the three names has it.
            place = number % GROUP
            if number == 1:
                client.call("SET", names[place], b"value")
            else:
                client.call("RENAME", names[(number - 1) % GROUP], names[place])
        elif kind == "move":
            if number == 1:
                client.call("RPUSH", names[0], b"a", b"b", b"c", b"d")
            else:
                client.call("LMOVE", names[number % 2], names[1 - number % 2], "LEFT", "RIGHT")
        elif kind == "copy":
            client.call("MULTI")
            client.call("SET", names[0], text)
            client.call("COPY", names[0], names[1], "REPLACE")
            client.call("EXEC")
        self.acked[kind] = number
        self.acknowledged += 1

    def within(self, kind, number):
        low, seen, high = self.acked.get(kind, 0), self.seen.get(kind, 0), self.sent.get(kind, 0)
        if not max(low, seen) <= number <= high:
            raise Failure(
                f"client {self.index}, {kind}: {number} is there; acknowledged up to {low}, read up to {seen}, sent up to {high}"
            )
        # From here on that is what there is.
        self.sent[kind] = self.acked[kind] = self.seen[kind] = number

    def look(self, client):
        for kind in sorted(self.sent):
            names = self.names(kind)
            if kind in ("set", "incr"):
                self.within(kind, int(client.call("GET", names[0]) or 0))
            elif kind == "push":
                found = [int(text) for text in client.call("LRANGE", names[0], "0", "-1")]
                if found != list(range(1, len(found) + 1)):
                    raise Failure(f"client {self.index}: its list holds {found}")
                self.within(kind, len(found))
            elif kind == "zset":
                found = client.call("ZCARD", names[0])
                last = client.call("ZRANGE", names[0], "-1", "-1")
                if found and int(last[0]) != found:
                    raise Failure(f"client {self.index}: its sorted set has {found} members up to {last[0]}")
                self.within(kind, found)
            elif kind in ("mset", "script"):
                values = client.call("MGET", *names)
                if len(set(values)) != 1:
                    raise Failure(f"client {self.index}: half of a step ({kind}): {values}")
                self.within(kind, int(values[0] or 0))
                if kind == "script":
                    count = int(client.call("GET", names[0] + b":undeclared") or 0)
                    if count != int(values[0] or 0):
                        raise Failure(f"client {self.index}: half of a script: {count} of {values[0]}")
            elif kind == "multi":
                value = int(client.call("GET", names[0]) or 0)
                length = client.call("LLEN", names[1])
                field = int(client.call("HGET", names[2], "n") or 0)
                if not value == length == field:
                    raise Failure(f"client {self.index}: half of an EXEC: {value}, {length}, {field}")
                self.within(kind, value)
            elif kind == "rename":
                there = [place for place, value in enumerate(client.call("MGET", *names)) if value]
                low, high = self.acked.get(kind, 0), self.sent[kind]
                fits = [n for n in range(low, high + 1) if ([n % GROUP] if n else []) == there]
                if not fits:
                    raise Failure(f"client {self.index}: renamed {low} to {high} times, found at {there}")
                self.within(kind, fits[0])
            elif kind == "move":
                found = sorted(
                    client.call("LRANGE", names[0], "0", "-1") + client.call("LRANGE", names[1], "0", "-1")
                )
                if found not in ([], [b"a", b"b", b"c", b"d"]) or (self.acked.get(kind, 0) and not found):
                    raise Failure(f"client {self.index}: elements on the move: {found}")
                self.acked[kind] = self.sent[kind] = 1 if found else 0
            elif kind == "copy":
                values = client.call("MGET", names[0], names[1])
                if values[0] != values[1]:
                    raise Failure(f"client {self.index}: half of a copy: {values}")
                self.within(kind, int(values[0] or 0))


def write_until_killed(writer, port, problems):
    try:
        with Client(("127.0.0.1", port), timeout=30.0) as client:
            while True:
                writer.step(client)
    except (OSError, ConnectionError):
        pass
    except Failure as problem:
        problems.append(problem)


def read_until_killed(writers, port, source):
    """What was read stays, too."""
    try:
        with Client(("127.0.0.1", port), timeout=30.0) as client:
            while True:
                writer, kind = source.choice(writers), source.choice(("set", "incr", "mset", "script"))
                names = writer.names(kind)[:1 if kind in ("set", "incr") else GROUP]
                if source.random() < 0.3:
                    found = client.call("MGET", *names)
                else:
                    found = [client.call("GET", source.choice(names))]
                numbers = [int(text or 0) for text in found if not isinstance(text, ErrorReply)]
                writer.seen[kind] = max([writer.seen.get(kind, 0), *numbers])
    except (OSError, ConnectionError):
        pass


def round_of(server, writers, random_source, rewrite):
    """Lets all write for a moment and kills the server."""
    problems = []
    threads = [
        threading.Thread(target=write_until_killed, args=(writer, server.port, problems)) for writer in writers
    ]
    reads = random.Random(random_source.randrange(1 << 30))
    threads.append(threading.Thread(target=read_until_killed, args=(writers, server.port, reads)))
    for thread in threads:
        thread.start()
    pause = random_source.uniform(0.05, 0.9)
    if rewrite and random_source.random() < 0.6:
        time.sleep(pause / 2)
        with server.client() as client:
            client.call(random_source.choice(("BGREWRITEAOF", "BGSAVE")))  # an error if one is under way
        pause /= 2
    time.sleep(pause)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slotwise", default=default_slotwise())
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--no-rewrite", action="store_true")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    source = random.Random(options.seed)
    writers = [Writer(index, options.seed) for index in range(options.clients)]
    server = Server("crash", [options.slotwise, "--port", "{port}", "--dir", "{dir}", "--appendonly", "yes",
                              "--enable-debug-command", "yes"])
    base = list(server.command)
    began = time.monotonic()
    kills = 0
    try:
        while kills < options.kills and time.monotonic() - began < options.seconds:
            shards = source.choice((1, 2, 3, 4, 5))
            policy = source.choice(("always", "everysec"))
            server.command = base + ["--shards", str(shards), "--appendfsync", policy]
            server.start()
            with server.client() as client:
                for writer in writers:
                    writer.look(client)
                # The disk is slow at times, so that threads write the logs.
                client.call("DEBUG", "AOF-FLUSH-SLEEP", source.choice((0, 0, 6000, 20_000, 60_000)))
            round_of(server, writers, source, not options.no_rewrite)
            kills += 1
        server.command = base + ["--shards", "2"]
        server.start()
        with server.client() as client:
            for writer in writers:
                writer.look(client)
    except (Failure, RuntimeError, OSError) as problem:
        print(f"FAILED after {kills} kills: {problem}")
        print(server.log_tail(15))
        sys.exit(1)
    finally:
        server.stop()
    writes = sum(writer.acknowledged for writer in writers)
    print(f"{kills} kills, {writes} acknowledged steps, all of them there and none half")
    print(f"crash: {kills} passed, 0 failed")


if __name__ == "__main__":
    main()
