"""Does the log tell the story? Random commands of every kind, then a kill, then a start with another number of shards:
the data set is the same, key by key, with its expiry and what groups of streams know.

    tests/client/effects.py [--slotwise PATH] [--rounds N] [--seconds N] [--seed N] [--commands N] [--rewrite]
"""

import argparse
import random
import signal
import sys
import time

import grammar
from support import ErrorReply, Server, default_slotwise, encode

SKIPPED = {
    # These end the connection, wait, or concern the server rather than keys.
    "QUIT", "RESET", "HELLO", "AUTH", "CLIENT", "CONFIG", "DEBUG", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR",
    "SHUTDOWN", "COMMAND", "WAIT", "WAITAOF", "PUBSUB", "SLOWLOG", "LATENCY", "MEMORY", "ACL",
}
MORE = [
    ("SPOP", lambda d: [d.key("t")]), ("SPOP", lambda d: [d.key("t"), str(d.random.randint(0, 9)).encode()]),
    ("SWAPDB", lambda d: [b"0", b"1"]), ("FLUSHDB", lambda d: []), ("SELECT", lambda d: [str(d.random.randint(0, 2)).encode()]),
    ("PEXPIRE", lambda d: [d.key(), str(d.random.choice((1, 30, 100000))).encode()]),
    ("XAUTOCLAIM", lambda d: [d.key("r"), b"g1", b"c1", b"0", b"0"]),
]
MORE_WEIGHTS = [3, 3, 0.2, 0.1, 4, 3, 1]


class Failure(Exception):
    """The data set is another one."""


def kind_of(client, key):
    return bytes(client.call("TYPE", key))


def facts_of(client):
    """Everything that is to be the same afterwards: for each database and key its digest, expiry and groups."""
    facts = {}
    for db in range(16):
        client.call("SELECT", str(db))
        for key in client.call("KEYS", "*"):
            expiry = client.call("PEXPIRETIME", key)
            digest = client.call("DEBUG", "DIGEST-VALUE", key)[0]
            kind = kind_of(client, key)
            info = client.call("XINFO", "STREAM", key, "FULL", "COUNT", "0") if kind == b"stream" else None
            facts[db, bytes(key)] = (kind, bytes(digest), expiry, info)
    client.call("SELECT", "0")
    return facts


def drop_what_expires(client):
    """Keys with little time left would make the two looks differ."""
    for db in range(16):
        client.call("SELECT", str(db))
        for key in client.call("KEYS", "*"):
            left = client.call("PTTL", key)
            if isinstance(left, int) and 0 <= left < 60_000:
                client.call("DEL", key)
    client.call("SELECT", "0")


def same(a, b):
    return a[:3] == b[:3] and (a[3] is None or plain(a[3]) == plain(b[3]))


def plain(info):
    """A stream's facts without times of sight, and without when a consumer was active, which bases cannot hold."""
    if not isinstance(info, list):
        return repr(info)
    kept = [one for at, one in enumerate(info) if not (at and info[at - 1] == b"active-time")]
    return [plain(one) for one in kept if not isinstance(one, int) or one < 10**12]


def load(server, source, commands, history):
    clients = [server.client() for _ in range(3)]
    draw = grammar.Draw(source)
    table = [(name, arguments) for name, arguments, _, _ in grammar.COMMANDS if name.split()[0].upper() not in SKIPPED]
    weights = [weight for name, _, _, weight in grammar.COMMANDS if name.split()[0].upper() not in SKIPPED]
    table += MORE
    weights += MORE_WEIGHTS
    sent = 0
    while sent < commands:
        client = source.choice(clients)
        batch = []
        for name, arguments in source.choices(table, weights, k=source.randint(1, 20)):
            batch.append((name, *arguments(draw)))
        if source.random() < 0.15:
            batch = [("MULTI",), *[one for one in batch if one[0] not in ("MULTI", "EXEC", "DISCARD", "WATCH")], ("EXEC",)]
        client.send_raw(b"".join(encode(*one) for one in batch))
        for one in batch:
            history.append((one, client.read()))
        sent += len(batch)
    for client in clients:
        for word in ("DISCARD", "UNWATCH"):
            client.call(word)
        client.close()


def round_of(server, base, source, options, number):
    shards = source.choice((1, 2, 3, 4, 5))
    server.command = base + ["--shards", str(shards)]
    server.start()
    history = []
    load(server, source, options.commands, history)
    with server.client(timeout=60) as client:
        if options.rewrite and source.random() < 0.7:
            client.call("BGREWRITEAOF")
            load(server, source, options.commands // 4, history)
        drop_what_expires(client)
        before = facts_of(client)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    again = source.choice((1, 2, 3, 4, 5))
    server.command = base + ["--shards", str(again)]
    server.start()
    with server.client(timeout=60) as client:
        after = facts_of(client)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    for key in sorted(set(before) | set(after)):
        was, now = before.get(key), after.get(key)
        if was is None or now is None or not same(was, now):
            touching = [entry for entry in history if any(isinstance(word, bytes) and word == key[1] for word in entry[0])]
            tail = "\n".join(f"  {str(entry)[:300]}" for entry in touching[-12:])
            raise Failure(
                f"round {number}, {shards} shards then {again}: {key}\n was {str(was)[:600]}\n now {str(now)[:600]}\n{tail}"
            )
    return len(history), len(before)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slotwise", default=default_slotwise())
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--commands", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rewrite", action="store_true")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    source = random.Random(options.seed)
    server = Server("effects", [
        options.slotwise, "--port", "{port}", "--dir", "{dir}", "--appendonly", "yes", "--enable-debug-command", "yes",
    ])
    base = list(server.command)
    began = time.monotonic()
    rounds = commands = 0
    try:
        while rounds < options.rounds and time.monotonic() - began < options.seconds:
            count, keys = round_of(server, base, source, options, rounds)
            commands += count
            rounds += 1
    except (Failure, RuntimeError) as problem:
        print(f"FAILED: {problem}")
        print(server.log_tail(12))
        sys.exit(1)
    finally:
        server.stop()
    print(f"{rounds} rounds, {commands} commands, {keys} keys at the end: the log told the same story")
    print(f"effects: {rounds} passed, 0 failed")


if __name__ == "__main__":
    main()
