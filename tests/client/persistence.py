"""Does what Slotwise writes come back, here and in Redis, and does what Redis writes come back here?

    payloads  values of every type and encoding go from Redis to us and back by DUMP and RESTORE, and the other way
    files     a data set saved here is loaded by Redis and the other way round, key by key; redis-check-rdb agrees
    reload    DEBUG RELOAD keeps the digest, which is the one that Redis 7.2 tells of the same data
    reloading while DEBUG RELOAD or LOADAOF reads, everybody is told what Redis tells them, and no write gets lost
    copy      a replica takes in its primary's copy, whatever it saves itself under the same name meanwhile
    start     damaged files stop the start, absent ones do not, expired keys stay away, LASTSAVE and INFO tell
    loading   while a large file is loaded, commands that need the data are refused, and then they are not

    tests/client/persistence.py [--slotwise PATH] [--redis PATH ...] [--shards N] [--seed N] [CHECK ...]
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack

from support import (
    Client, ErrorReply, default_slotwise, redis, scratch_root, slotwise, wait_until,
)

DEBUG = ("--enable-debug-command", "yes", "--enable-protected-configs", "yes")
PACKED = ()
# Redis's forms without listpacks, lists of single elements, compressed inner nodes.
LOOSE = (
    "--hash-max-listpack-entries", "0", "--zset-max-listpack-entries", "0", "--set-max-intset-entries", "0",
    "--list-max-listpack-size", "2", "--list-compress-depth", "1",
)
LOADING = b"LOADING Redis is loading the dataset in memory"


class Failure(Exception):
    """A promise that was not kept."""


def expect(condition, text):
    if not condition:
        raise Failure(text)


class Values:
    """Random commands that make keys of every type."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def word(self):
        r = self.random
        kind = r.randrange(7)
        if kind == 0:
            return str(r.randrange(-200, 70000)).encode()
        if kind == 1:
            return str(r.randrange(-2**63, 2**63)).encode()
        if kind == 2:
            return bytes([97 + r.randrange(3)]) * r.randrange(1, 300)
        if kind == 3:
            return bytes(r.randrange(256) for _ in range(r.randrange(20)))
        if kind == 4:
            return b"member:%d" % r.randrange(5000)
        if kind == 5:
            return b"0" + str(r.randrange(1000)).encode()
        return bytes(r.choices(range(97, 123), k=r.randrange(1, 60)))

    def score(self):
        r = self.random
        return r.choice([
            str(r.randrange(-5, 5)), repr(r.uniform(-1e6, 1e6)), "inf", "-inf", "1e300", "0.1", "3.0", "-0.0", "1e17",
        ])

    def commands(self, key, streams):
        """Commands that make `key`."""
        r = self.random
        count = r.choice([1, 3, 30, 200, 700])
        kind = r.randrange(8 if streams else 7)
        made = []
        if kind == 0:
            made.append(["SET", key, r.choice([self.word(), self.word() * 50, b"x" * 20000])])
        elif kind == 1:
            made += [["RPUSH", key] + [self.word() for _ in range(r.randrange(1, 20))] for _ in range(count // 10 + 1)]
            if r.random() < 0.2:
                made.append(["LPUSH", key, b"big" * 9000])
        elif kind == 2:
            bits = r.choice([7, 15, 31, 62])
            made.append(["SADD", key] + [r.randrange(-2**bits, 2**bits) for _ in range(count)])
        elif kind == 3:
            made.append(["SADD", key] + [self.word() for _ in range(count)])
        elif kind == 4:
            for _ in range(count // 10 + 1):
                made.append(["HSET", key] + [self.word() for _ in range(20)])
        elif kind == 5:
            made.append(["ZADD", key] + [x for _ in range(count) for x in (self.score(), self.word())])
        elif kind == 6:
            made.append(["APPEND", key, str(r.randrange(10**6))])
            made.append(["APPEND", key, self.word()])
        else:
            made += self.stream(key, count)
        if r.random() < 0.3:
            made.append(["PEXPIREAT", key, 4000000000000 + r.randrange(10**9)])
        return made

    def stream(self, key, count):
        r = self.random
        made = []
        for n in range(1, count + 1):
            fields = [b"a", self.word(), b"b", self.word()] if r.random() < 0.8 else [self.word(), self.word()]
            made.append(["XADD", key, f"{n}-{r.randrange(1, 5)}"] + fields)
        made += [["XDEL", key, f"{r.randrange(1, count + 1)}-{r.randrange(1, 5)}"] for _ in range(count // 5)]
        made.append(["XGROUP", "CREATE", key, "g", "0"])
        made.append(["XGROUP", "CREATE", key, "empty", "$"])
        for name in ("c1", "c2"):
            made.append(["XREADGROUP", "GROUP", "g", name, "COUNT", r.randrange(1, 20), "STREAMS", key, ">"])
        made.append(["XGROUP", "CREATECONSUMER", key, "g", "idle"])
        made.append(["XTRIM", key, "MAXLEN", "~", max(1, count // 2)])
        return made


def content(client, key):
    """What a key holds, in a form that is equal for equal values."""
    kind = client.must("TYPE", key)
    expiry = client.must("PEXPIRETIME", key)
    if kind == b"string":
        value = client.must("GET", key)
    elif kind == b"list":
        value = client.must("LRANGE", key, 0, -1)
    elif kind == b"set":
        value = sorted(client.must("SMEMBERS", key))
    elif kind == b"hash":
        flat = client.must("HGETALL", key)
        value = sorted(zip(flat[::2], flat[1::2]))
    elif kind == b"zset":
        flat = client.must("ZRANGE", key, 0, -1, "WITHSCORES")
        value = list(zip(flat[::2], map(float, flat[1::2])))
    elif kind == b"stream":
        value = [client.must("XRANGE", key, "-", "+"), steady(client.must("XINFO", "STREAM", key, "FULL", "COUNT", 0))]
    else:
        value = None
    return kind, expiry, value


def steady(info):
    """XINFO STREAM FULL without what belongs to the structure or the clock."""
    named = dict(zip(info[::2], info[1::2]))
    for name in (b"radix-tree-keys", b"radix-tree-nodes", b"entries"):
        named.pop(name, None)
    groups = []
    for group in named.pop(b"groups", []):
        group = dict(zip(group[::2], group[1::2]))
        consumers = []
        for consumer in group.pop(b"consumers"):
            consumer = dict(zip(consumer[::2], consumer[1::2]))
            consumer.pop(b"active-time", None)  # version 10 has none
            consumers.append(sorted(consumer.items()))
        groups.append((sorted(group.items()), consumers))
    return sorted(named.items()), groups


def commands_of(client):
    return {name.lower() for name in client.must("COMMAND", "LIST")}


def fill(client, values, keys, streams, dbs=(0,)):
    names = []
    for db in dbs:
        client.must("SELECT", db)
        for n in range(keys):
            key = f"key:{db}:{n}"
            for command in values.commands(key, streams):
                client.call(*command)
            if client.must("EXISTS", key):
                names.append((db, key))
    return names


def in_both(left, right, names):
    """The keys of `names`, each with both servers at its database."""
    db = None
    for wanted, key in names:
        if wanted != db:
            db = wanted
            left.must("SELECT", db)
            right.must("SELECT", db)
        yield key


def same(left, right, names, what, view=lambda value: value):
    """Two servers hold the same keys, as `view` sees them, and no others."""
    for key in in_both(left, right, names):
        a, b = view(content(left, key)), view(content(right, key))
        at = next((n for n, pair in enumerate(zip(str(a), str(b))) if pair[0] != pair[1]), 0)
        around = slice(max(0, at - 100), at + 500)
        expect(a == b, f"{what}: {key} differs:\n  {str(a)[around]}\n  {str(b)[around]}")
    for other in range(16):
        left.must("SELECT", other)
        right.must("SELECT", other)
        expect(left.must("DBSIZE") == right.must("DBSIZE"), f"{what}: other sizes of database {other}")


def check_payloads(options):
    for path in options.redis:
        for extra in (PACKED, LOOSE):
            values = Values(options.seed)
            with slotwise(options.slotwise, options.shards, DEBUG) as ours, redis(path, (*DEBUG, *extra)) as theirs:
                a, b = ours.client(), theirs.client()
                streams = b"xrange" in commands_of(a)
                made = fill(b, values, 150, True)
                for _, key in made:
                    payload = b.must("DUMP", key)
                    expect(a.call("RESTORE", key, 0, payload) == b"OK", f"{key} of {path} is refused here")
                    back = a.must("DUMP", key)
                    answer = b.call("RESTORE", "copy", 0, back, "REPLACE")
                    expect(answer == b"OK", f"{key} is refused by {path}: {answer}")
                    b.must("PERSIST", key)
                    left, right = content(b, key), content(b, "copy")
                    expect(left == right, f"{key} came back another:\n  {str(left)[:600]}\n  {str(right)[:600]}")
                    if left[0] != b"stream" or streams:
                        expect(content(a, key) == left, f"{key} is another here")
                # What commands have made here.
                a.must("FLUSHALL")
                b.must("FLUSHALL")
                for _, key in fill(a, values, 150, streams):
                    b.must("RESTORE", key, 0, a.must("DUMP", key))
                    a.must("PERSIST", key)
                    expect(content(a, key) == content(b, key), f"{key} is another in {path}")
                print(f"  {path}{' loose' if extra else ''}: {len(made)} keys there and back")


class Place:
    """A directory that outlives servers."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="persistence-", dir=scratch_root())
        self.file = os.path.join(self.path, "dump.rdb")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)

    def args(self, *more):
        return ("--dir", self.path, *DEBUG, *more)


def check_rdb(path, file):
    """redis-check-rdb is redis-server under another name."""
    sibling = os.path.join(os.path.dirname(shutil.which(path) or path), "redis-check-rdb")
    if os.path.exists(sibling):
        done = subprocess.run([sibling, file], capture_output=True, text=True, timeout=60)
        expect(done.returncode == 0 and "RDB looks OK" in done.stdout, f"{sibling}: {done.stdout[-600:]}")


def check_files(options):
    for path in options.redis:
        values = Values(options.seed + 1)
        for policy in ("noeviction", "allkeys-lru", "allkeys-lfu"):
            with Place() as place:
                with slotwise(options.slotwise, options.shards, place.args("--maxmemory-policy", policy)) as ours:
                    a = ours.client()
                    streams = b"xrange" in commands_of(a)
                    made = fill(a, values, 60, streams, (0, 3, 15))
                    expect(a.call("SAVE") == b"OK", "SAVE failed")
                    expect(not [n for n in os.listdir(place.path) if n.startswith("temp")], "a temporary file remains")
                    check_rdb(path, place.file)
                    with redis(path, place.args()) as theirs:
                        same(a, theirs.client(), made, f"saved here ({policy}), loaded by {path}")
                    with slotwise(options.slotwise, options.shards % 4 + 1, place.args()) as again:
                        same(a, again.client(), made, "saved here, loaded here by other shards")
        for extra in (PACKED, LOOSE):
            with Place() as place:
                version = ("--maxmemory-policy", "allkeys-lru")
                with redis(path, place.args(*extra, *version)) as theirs:
                    b = theirs.client()
                    made = fill(b, values, 60, True, (0, 2))
                    expect(b.call("SAVE") == b"OK", "Redis's SAVE failed")
                    with slotwise(options.slotwise, options.shards, place.args()) as ours:
                        a = ours.client()
                        streams = b"xrange" in commands_of(a)
                        known = [name for name in made if streams or kind_of(b, name) != b"stream"]
                        same(b, a, known, f"saved by {path}, loaded here")
                        # And back again, streams included.
                        expect(a.call("SAVE") == b"OK", "SAVE failed")
                        with redis(path, place.args()) as back:
                            same(b, back.client(), made, f"saved by {path}, loaded and saved here, loaded by {path}")
        print(f"  {path}: files both ways")


def kind_of(client, name):
    client.must("SELECT", name[0])
    return client.must("TYPE", name[1])


def check_reload(options):
    with Place() as place, slotwise(options.slotwise, options.shards, place.args()) as ours:
        a = ours.client()
        values = Values(options.seed + 2)
        expect(a.must("DEBUG", "DIGEST") == b"0" * 40, "the digest of nothing is not zero")
        fill(a, values, 150, b"xrange" in commands_of(a), (0, 5))
        before = a.must("DEBUG", "DIGEST")
        for words in ((), ("NOSAVE",), ("NOFLUSH", "MERGE"), ("NOSAVE", "NOFLUSH", "MERGE")):
            expect(a.call("DEBUG", "RELOAD", *words) == b"OK", f"DEBUG RELOAD {words} failed")
            expect(a.must("DEBUG", "DIGEST") == before, f"DEBUG RELOAD {words} changes the data")
        a.must("SELECT", 0)
        refused = a.call("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH")
        expect(isinstance(refused, ErrorReply) and b"Error trying to load" in refused, f"duplicates pass: {refused}")
        refused = a.call("DEBUG", "RELOAD", "FOO")
        expect(refused == b"ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.", f"{refused}")
        expect(a.must("DEBUG", "DIGEST") == before, "a refused RELOAD changes the data")
        for path in options.redis:
            with redis(path, DEBUG) as theirs:
                b = theirs.client()
                if not info(b, "redis_version").startswith("7.2"):
                    continue  # older ones write scores with 17 digits
                dumped = [(key, a.must("DUMP", key), a.must("PEXPIRETIME", key)) for key in a.must("KEYS", "*")]
                for key, payload, expiry in dumped:
                    b.must("RESTORE", key, max(expiry, 0), payload, "ABSTTL")
                    mine, others = a.must("DEBUG", "DIGEST-VALUE", key), b.must("DEBUG", "DIGEST-VALUE", key)
                    expect(mine == others, f"digests of {key} differ: {content(b, key)}")
                a.must("SELECT", 5)
                a.must("FLUSHDB")
                a.must("SELECT", 0)
                expect(a.must("DEBUG", "DIGEST") == b.must("DEBUG", "DIGEST"), "digests of all data differ")
                print(f"  {len(dumped)} digests are those of {path}")


def info(client, name):
    for line in client.must("INFO", "everything").decode().splitlines():
        if line.startswith(name + ":"):
            return line.split(":", 1)[1]
    return None


def check_start(options):
    with Place() as place:
        with slotwise(options.slotwise, options.shards, place.args()) as ours:
            a = ours.client()
            began = a.must("LASTSAVE")
            expect(abs(began - time.time()) < 60, "LASTSAVE begins with the start")
            a.must("MSET", "a", "1", "b", "2")
            a.must("SET", "soon", "x", "PX", 300)
            a.must("SET", "later", "x", "EX", 1000)
            expect(int(info(a, "rdb_changes_since_last_save")) == 4, "changes are not counted")
            time.sleep(1.0 - time.time() % 1.0)
            a.must("SET", "soon", "x", "PX", 300)
            a.must("FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() return 7 end)")
            a.must("SAVE")
            expect(a.must("LASTSAVE") > began, "LASTSAVE does not move")
            expect(info(a, "rdb_changes_since_last_save") == "0", "changes are still counted after SAVE")
            expect(info(a, "rdb_saves") == "1", "the save is not counted")
            a.must("MULTI")
            expect(a.call("SAVE") == b"ERR Command not allowed inside a transaction", "SAVE inside MULTI")
            a.call("DISCARD")
        time.sleep(0.4)
        with slotwise(options.slotwise, options.shards, place.args()) as ours:
            a = ours.client()
            expect(sorted(a.must("KEYS", "*")) == [b"a", b"b", b"later"], "other keys than were saved")
            expect(a.must("FCALL", "f", 0) == 7, "a function is lost")
            expect(900 < a.must("TTL", "later") <= 1000, "an expiry is lost")
            expect(info(a, "rdb_last_load_keys_loaded") == "3", "loaded keys are not counted")
            expect(info(a, "rdb_last_load_keys_expired") == "1", "expired keys are not counted")
            # What cannot be written leaves the old file and an error.
            os.chmod(place.path, 0o500)
            answer = a.call("SAVE")
            os.chmod(place.path, 0o700)
            if os.geteuid() != 0:
                expect(answer == b"ERR", f"a SAVE that cannot write answers {answer}")
        for path in options.redis:
            with redis(path, place.args()) as theirs:
                expect(theirs.client().must("FCALL", "f", 0) == 7, f"{path} does not find the function")
        whole = open(place.file, "rb").read()
        for name, damaged in (
            ("cut short", whole[:-20]), ("without checksum", whole[:-8]), ("with a flipped bit", flip(whole, 40)),
            ("with a wrong checksum", flip(whole, len(whole) - 3)), ("of another kind", b"REDOS" + whole[5:]),
            ("of a version to come", whole[:5] + b"0099" + whole[9:]), ("empty", b""),
        ):
            open(place.file, "wb").write(damaged)
            server = slotwise(options.slotwise, options.shards, place.args())
            try:
                server.start()
                raise Failure(f"a file {name} is loaded")
            except RuntimeError as error:
                expect("exit status 1" in str(error), f"a file {name}: {error}")
                expect("Terminating server after rdb file reading failure" in str(error), f"a file {name}: {error}")
            expect(open(place.file, "rb").read() == damaged, "a damaged file was touched")
        os.remove(place.file)
        with slotwise(options.slotwise, options.shards, place.args()) as ours:
            expect(ours.client().must("DBSIZE") == 0, "keys out of nowhere")
        few = tempfile.mkdtemp(dir=place.path)
        open(os.path.join(few, "dump.rdb"), "wb").write(whole[:9] + b"\xfe\x14\x00\x01a\x01b\xff" + bytes(8))
        server = slotwise(options.slotwise, options.shards, ("--dir", few))
        try:
            server.start()
            raise Failure("a database too many is loaded")
        except RuntimeError as error:
            expect("more than 16 databases" in str(error), str(error))
    print("  damaged, absent and foreign files")


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def check_loading(options):
    with Place() as place:
        count = options.keys
        with slotwise(options.slotwise, options.shards, place.args()) as ours:
            a = ours.client()
            for start in range(0, count, 10000):
                a.pipeline([("SET", f"key:{n}", f"value:{n}" * 8) for n in range(start, start + 10000)])
            a.must("SADD", "set", *range(100000))
            a.must("RPUSH", "list", *[b"x" * 100] * 50000)
            digest = a.must("DEBUG", "DIGEST")
            a.must("SAVE")
        server = slotwise(options.slotwise, options.shards, place.args())
        seen = {"refused": 0, "served": 0, "info": 0}
        try:
            with open(server.log_path, "ab") as log:
                server.process = subprocess.Popen(
                    server.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=server.dir,
                    start_new_session=True,
                )
            client = wait_until(lambda: connected(server), 20, "a connection")
            limit = time.monotonic() + 30
            while time.monotonic() < limit:
                answer = client.call("GET", "key:1")
                if answer == LOADING:
                    seen["refused"] += 1
                    if info(client, "loading") == "1":
                        seen["info"] += 1
                        expect(float(info(client, "loading_loaded_perc") or 0) <= 100, "more than all is loaded")
                    continue
                expect(answer == b"value:1" * 8, f"another value: {answer}")
                break
            expect(client.must("DBSIZE") == count + 2, "keys are missing when commands are served")
            expect(client.must("DEBUG", "DIGEST") == digest, "the data is another")
            print(f"  refused {seen['refused']} times before {count} keys were there, INFO said so {seen['info']} times")
        finally:
            server.stop()


def connected(server):
    try:
        return Client(("127.0.0.1", server.port))
    except OSError:
        return None


ASKED = [
    ("GET", "k:1"), ("SET", "k:1", "x"), ("DBSIZE",), ("MGET", "k:1", "k:2"), ("PING",), ("EVAL", "return 1", "0"),
    ("FUNCTION", "LIST"), ("WAIT", "0", "0"), ("SAVE",), ("KEYS", "*"), ("BLPOP", "none", "1"), ("ECHO", "x"),
    ("CONFIG", "GET", "port"), ("CONFIG", "SET", "appendonly", "yes"), ("CLIENT", "SETNAME", "x"), ("SELECT", "1"),
    ("SELECT", "0"), ("LASTSAVE",), ("ROLE",), ("COMMAND", "COUNT"), ("SLOWLOG", "LEN"), ("ACL", "WHOAMI"), ("TIME",),
    ("MULTI",), ("GET", "k:1"), ("EXEC",), ("NOSUCH",), ("GET",),
]


def told(server):
    """What is answered while DEBUG RELOAD reads, as far as servers can agree on it."""
    with server.client() as a, server.client() as b, server.client() as c, server.client() as queueing:
        for first in range(0, 4000, 500):
            a.must("MSET", *[word for n in range(first, first + 500) for word in (f"k:{n}", "x" * 100)])
        for request in (("MULTI",), ("GET", "k:1")):
            queueing.must(*request)
        a.must("CONFIG", "SET", "key-load-delay", "1000")
        a.send("DEBUG", "RELOAD")
        wait_until(lambda: info(b, "loading") == "1", 20, "INFO telling of a file that is loaded")
        answers = []
        for request in ASKED:
            reply = c.call(*request)
            answers.append((request, reply if isinstance(reply, ErrorReply) else type(reply)))
        answers.append(("EXEC", queueing.call("EXEC")))
        if b.call("CLIENT", "INFO")[:3] != b"id=":
            raise Failure("CLIENT INFO is not answered")
        expect(info(b, "loading") == "1", "everything was loaded before all had been asked")
        expect(int(info(b, "loading_loaded_bytes")) <= int(info(b, "loading_total_bytes")), "more is loaded than there is")
        expect(a.read()[0].value() == b"OK", "DEBUG RELOAD")
        expect(info(b, "loading") == "0" and b.must("DBSIZE") == 4000, "keys are missing")
    return answers


def check_reloading(options):
    with Place() as place, slotwise(options.slotwise, options.shards, place.args()) as ours:
        mine = told(ours)
    for path in options.redis:
        with Place() as place, redis(path, place.args("--loading-process-events-interval-bytes", "1024")) as theirs:
            for own, other in zip(mine, told(theirs), strict=True):
                expect(own == other, f"while data are read again: {own} here, {other} there")
    with Place() as place:
        extra = place.args("--appendonly", "yes", "--databases", "16")
        with slotwise(options.slotwise, options.shards, extra) as ours, ours.client() as a:
            for first in range(0, options.keys // 3, 500):
                a.must("MSET", *[word for n in range(first, first + 500) for word in (f"k:{n}", "x")])
            for what in ("RELOAD", "LOADAOF"):
                expect(a.must("MULTI") == b"OK" and a.must("DEBUG", what) and a.must("GET", "k:1"), "MULTI")
                expect(a.must("EXEC") == [b"OK", b"x"], f"DEBUG {what} in MULTI")
            ended, problems, refused = threading.Event(), [], []
            writers = [threading.Thread(target=count, args=(ours, n, ended, problems, refused)) for n in range(6)]
            for writer in writers:
                writer.start()
            for what in ("RELOAD", "LOADAOF", "RELOAD", "LOADAOF"):
                time.sleep(0.2)
                expect(a.must("DEBUG", what) == b"OK", f"DEBUG {what}")
                # Whoever has read that knows that all keys are there, wherever it is connected.
                for _ in range(4):
                    with ours.client() as b:
                        expect(b.call("GET", "k:1") == b"x", "a key is refused after the end of the reading")
            ended.set()
            for writer in writers:
                writer.join()
            expect(not problems, f"{problems}")
            expect(refused, "nobody was ever told that data are loaded")
    # A server that is told to stop meanwhile does so, and nothing is missing afterwards.
    with Place() as place:
        extra = place.args("--appendonly", "yes")
        with slotwise(options.slotwise, options.shards, extra) as ours, ours.client() as a, ours.client() as b:
            a.must("MSET", *[word for n in range(4000) for word in (f"k:{n}", "x")])
            a.must("CONFIG", "SET", "key-load-delay", "1000")
            a.send("DEBUG", "RELOAD")
            wait_until(lambda: info(b, "loading") == "1", 20, "INFO telling of a file that is loaded")
            ours.process.terminate()
            expect(ours.process.wait(30) == 0, "a server that reads its data again does not stop in order")
        with slotwise(options.slotwise, options.shards, extra) as ours, ours.client() as a:
            expect(a.must("DBSIZE") == 4000, f"{a.must('DBSIZE')} keys of 4000 are there after a stop")


def check_copy(options):
    with Place() as here, Place() as there, ExitStack() as stack:
        primary = stack.enter_context(slotwise(options.slotwise, options.shards, here.args("--repl-diskless-sync-delay", "0")))
        replica = stack.enter_context(slotwise(options.slotwise, options.shards, there.args()))
        a, b = stack.enter_context(primary.client()), stack.enter_context(replica.client())
        a.must("SET", "theirs", "1")
        ended = threading.Event()

        def save():
            with replica.client() as client:
                while not ended.is_set():
                    client.call("SAVE")

        for attempt in range(3):
            b.must("REPLICAOF", "NO", "ONE")
            b.must("MSET", *[word for n in range(30000) for word in (f"own:{n}", "x")])
            ended.clear()
            savers = [threading.Thread(target=save) for _ in range(2)]
            for saver in savers:
                saver.start()
            try:
                b.must("REPLICAOF", "127.0.0.1", primary.port)
                wait_until(lambda: b"master_link_status:up" in b.must("INFO", "replication"), 30, "the link")
            finally:
                ended.set()
                for saver in savers:
                    saver.join()
            expect(b.must("KEYS", "*") == [b"theirs"], f"{b.must('DBSIZE')} keys after a copy of one (number {attempt})")


def count(server, number, ended, problems, refused):
    """Counts on two keys in one step for as long as it may: what is acknowledged stays, and nothing else comes to it."""
    names, counted = (f"count:{number}", f"beside:{number}"), 0
    try:
        with server.client() as client:
            while not ended.is_set():
                client.must("MULTI")
                queued = [client.call("INCR", name) for name in names]
                reply = client.call("EXEC")
                if reply == [counted + 1] * 2:
                    counted += 1
                elif LOADING in queued or reply == b"EXECABORT Transaction discarded because of: " + LOADING:
                    refused.append(reply)
                    time.sleep(0.001)
                else:
                    raise Failure(f"{counted} times, then {reply}")
            found = [int(value or 0) for value in client.must("MGET", *names)]
            expect(found == [counted] * 2, f"{counted} times, in the end {found}")
    except (Failure, OSError, TypeError) as problem:
        problems.append(problem)


CHECKS = {
    "payloads": check_payloads, "files": check_files, "reload": check_reload, "reloading": check_reloading,
    "copy": check_copy, "start": check_start, "loading": check_loading,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checks", nargs="*")
    parser.add_argument("--slotwise", default=default_slotwise())
    parser.add_argument("--redis", action="append", help="a redis-server to compare with; may be repeated")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7200)
    parser.add_argument("--keys", type=int, default=300000)
    options = parser.parse_args()
    if not options.redis:
        options.redis = [path for path in ["redis-server"] if shutil.which(path)]
    failed = 0
    for name in options.checks or CHECKS:
        try:
            CHECKS[name](options)
            print(f"ok   {name}")
        except Failure as failure:
            failed += 1
            print(f"FAIL {name}: {failure}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
