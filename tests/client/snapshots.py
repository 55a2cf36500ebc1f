"""Snapshots while the server goes on: is what BGSAVE writes the data set at the moment it was begun?

    cut       digests: what a save under writes of all kinds holds is what was there when BGSAVE was answered
    flush     FLUSHALL ends a save, FLUSHDB and SWAPDB do not disturb one
    errors    a disk that fails: MISCONF, INFO, and recovery by itself
    points    save points begin saves, SAVE and BGSAVE do not run beside one
    shutdown  SHUTDOWN with its options, SIGTERM with save points, a save that fails
    crowd     a disk that is slow: what writes make the save keep is bounded, who would keep more waits, who reads does not
    parts     a file for each shard: complete or refused, whatever the number of shards at the next start

    tests/client/snapshots.py [--slotwise PATH] [--redis PATH] [--shards N] [--seed N] [CHECK ...]
"""

import argparse
import glob
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from support import default_slotwise, redis, scratch_root, slotwise, wait_until

DEBUG = ("--enable-debug-command", "yes", "--enable-protected-configs", "yes")


class Failure(Exception):
    """A promise that was not kept."""


def expect(condition, text):
    if not condition:
        raise Failure(text)


def info(client, name):
    for line in client.must("INFO", "persistence").decode().splitlines():
        if line.startswith(name + ":"):
            return line.split(":", 1)[1]
    return None


class Place:
    """A directory for snapshots that outlives servers."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="snap-", dir=scratch_root())
        self.file = os.path.join(self.path, "dump.rdb")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)

    def args(self, *more):
        return (*DEBUG, "--dir", self.path, *more)

    def names(self):
        return sorted(name for name in os.listdir(self.path) if not name.endswith(".log"))


def saved(client, seconds=30):
    """Waits for the end of a save; whether it was well."""
    wait_until(lambda: info(client, "rdb_bgsave_in_progress") == "0", seconds, "the end of a save")
    return info(client, "rdb_last_bgsave_status") == "ok"


def fill(client, keys):
    """Small keys in several databases, and a big value of each type."""
    for db in (0, 1, 9):
        client.must("SELECT", db)
        count = keys if db == 0 else keys // 20
        for start in range(0, count, 5000):
            client.pipeline([
                ("SET", f"key:{n}", f"value {n} " * 8, *(("PX", 10**9 + n) if n % 10 == 0 else ()))
                for n in range(start, min(start + 5000, count))
            ])
        client.pipeline([
            *(("SADD", "set", *(f"member:{n}" for n in range(start, start + 1000))) for start in range(0, 20000, 1000)),
            *(("HSET", "hash", *(x for n in range(start, start + 1000) for x in (f"field:{n}", f"v{n}")))
              for start in range(0, 20000, 1000)),
            *(("ZADD", "zset", *(x for n in range(start, start + 1000) for x in (n, f"name:{n}")))
              for start in range(0, 20000, 1000)),
            *(("RPUSH", "list", *(f"element:{n}" * 3 for n in range(start, start + 1000)))
              for start in range(0, 20000, 1000)),
            *(("XADD", "stream", f"{n + 1}-0", "field", f"value:{n}") for n in range(5000)),
            ("SET", "long", b"0123456789" * 300000),
            ("XGROUP", "CREATE", "stream", "group", "0"),
            ("XREADGROUP", "GROUP", "group", "me", "COUNT", "500", "STREAMS", "stream", ">"),
        ])
    client.must("SELECT", 0)


def disturb(server, seed, stop, wild):
    """Writes of all kinds until told to stop."""
    r = random.Random(seed)
    with server.client() as client:
        count = 0
        while not stop.is_set():
            db = r.choice([0, 0, 0, 1, 9])
            n = r.randrange(20000)
            batch = [
                ("SELECT", db), ("SET", f"key:{n}", "new"), ("DEL", f"key:{n + 1}"), ("SET", f"fresh:{n}", "x" * 100),
                ("RENAME", f"key:{n + 2}", f"renamed:{n}"), ("APPEND", f"key:{n + 3}", "tail"),
                ("PEXPIRE", f"key:{n + 4}", 1 + n % 5), ("SADD", "set", f"new:{n}"), ("SREM", "set", f"member:{n}"),
                ("HSET", "hash", f"field:{n}", "changed", f"other:{n}", "x"), ("HDEL", "hash", f"field:{n + 1}"),
                ("ZINCRBY", "zset", 5, f"name:{n}"), ("ZREM", "zset", f"name:{n + 7}"), ("LPUSH", "list", "head"),
                ("RPOP", "list"), ("LSET", "list", n % 1000, "set"), ("XADD", "stream", "*", "f", "v"),
                ("XDEL", "stream", f"{n % 5000}-0"), ("XACK", "stream", "group", f"{n % 500}-0"),
                ("SETRANGE", "long", n, "middle"), ("COPY", "hash", f"copy:{n % 3}", "REPLACE"),
                ("MOVE", f"key:{n + 5}", (db + 1) % 16),
            ]
            if wild and count % 40 == 20:
                batch += [("SWAPDB", 1, 9), ("SELECT", 9), ("FLUSHDB",), ("SET", "after", "flush")]
            if count % 60 == 30:
                key = r.choice(["set", "hash", "zset", "list", "stream", "long"])
                batch.append(r.choice([("DEL", key), ("RENAME", key, "elsewhere"), ("SET", key, "string")]))
            client.pipeline(batch)
            count += 1
    return count


def check_cut(options, wild=False):
    with Place() as place:
        slow = ("--snapshot-memory-limit", "1mb", "--rdb-key-save-delay", "6")
        with slotwise(options.slotwise, options.shards, place.args(*slow)) as ours:
            client = ours.client()
            fill(client, options.keys)
            digest = client.must("DEBUG", "DIGEST")
            keys = client.must("DBSIZE")
            stop = threading.Event()
            client.must("BGSAVE")
            writers = [
                threading.Thread(target=disturb, args=(ours, options.seed + n, stop, wild)) for n in range(2)
            ]
            for writer in writers:
                writer.start()
            expect(client.call("BGSAVE") == b"ERR Background save already in progress", "a second BGSAVE")
            expect(client.call("SAVE") == b"ERR Background save already in progress", "SAVE beside a BGSAVE")
            expect(info(client, "rdb_bgsave_in_progress") == "1", "INFO knows nothing of a save")
            expect(int(info(client, "current_save_keys_total")) > keys, "INFO does not know how many keys there are")
            good = saved(client)
            stop.set()
            for writer in writers:
                writer.join()
            expect(good, "the save failed")
            expect(int(info(client, "rdb_last_cow_size")) > 0, "writes made the save copy nothing")
            expect(client.must("PING") == b"PONG", "the server is gone")
        expect(place.names() == ["dump.rdb"], f"files: {place.names()}")
        if shutil.which("redis-check-rdb"):
            checked = subprocess.run(["redis-check-rdb", place.file], capture_output=True, text=True)
            expect(checked.returncode == 0, checked.stdout[-500:])
        with slotwise(options.slotwise, options.shards, place.args()) as ours:
            client = ours.client()
            expect(client.must("DBSIZE") == keys, "another number of keys")
            expect(client.must("DEBUG", "DIGEST") == digest, "the file is not the data set at the cut")
        if options.redis:
            with redis(options.redis, place.args()) as theirs:
                client = theirs.client()
                expect(client.must("DBSIZE") == keys, "Redis finds another number of keys")
                expect(client.must("SCARD", "set") == 20000, "Redis finds another set")
                expect(client.must("STRLEN", "long") == 3000000, "Redis finds another string")


def check_wild(options):
    check_cut(options, wild=True)


def check_flush(options):
    with Place() as place:
        with slotwise(options.slotwise, options.shards, place.args("--rdb-key-save-delay", "1000000")) as ours:
            client = ours.client()
            client.pipeline([("SET", f"key:{n}", "x") for n in range(2000)])
            client.must("BGSAVE")
            expect(info(client, "rdb_bgsave_in_progress") == "1", "a save that takes its time is over")
            client.must("FLUSHALL")
            wait_until(lambda: info(client, "rdb_bgsave_in_progress") == "0", 5, "the end of a save")
            expect(info(client, "rdb_last_bgsave_status") == "ok", "a save that was given up is no failure")
            wait_until(lambda: place.names() == [], 5, "nothing to be left behind")
            client.must("CONFIG", "SET", "rdb-key-save-delay", 0)
            client.must("SET", "a", "b")
            client.must("BGSAVE")
            expect(saved(client), "a save after one that was given up")
            client.must("CONFIG", "SET", "save", "3600 1")
            client.must("FLUSHALL")
            expect(info(client, "rdb_changes_since_last_save") == "0", "FLUSHALL with save points saves")
        os.remove(place.file) if not os.path.getsize(place.file) else None
        with slotwise(options.slotwise, options.shards, place.args()) as ours:
            expect(ours.client().must("DBSIZE") == 0, "FLUSHALL with save points leaves keys in the file")


MISCONF = b"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."


def check_errors(options):
    with Place() as place:
        with slotwise(options.slotwise, options.shards, place.args("--save", "1 1")) as ours:
            client = ours.client()
            client.must("CONFIG", "SET", "save", "3600 1")
            client.must("SET", "a", "b")
            moved = place.path + ".away"
            os.rename(place.path, moved)
            try:
                client.must("BGSAVE")
                expect(not saved(client), "a save without a directory succeeds")
                for command in (("SET", "a", "c"), ("PING",), ("EVAL", "return redis.call('set', 'x', 1)", 0)):
                    answer = client.call(*command)
                    expect(MISCONF in bytes(answer), f"{command}: {answer}")
                client.must("MULTI")
                expect(MISCONF in bytes(client.call("SET", "a", "c")), "a write is queued")
                expect(bytes(client.call("EXEC")).startswith(b"EXECABORT"), "EXEC after a refusal")
                expect(client.must("GET", "a") == b"b", "reads are refused")
                expect(client.call("SAVE") == b"ERR", "a SAVE without a directory succeeds")
                client.must("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
                client.must("SET", "a", "d")
                client.must("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes")
                expect(MISCONF in bytes(client.call("SET", "a", "e")), "a write is let in")
            finally:
                os.rename(moved, place.path)
            client.must("CONFIG", "SET", "save", "1 1")
            wait_until(lambda: client.call("SET", "a", "f") == b"OK", 15, "writes to be let in again")
            expect(info(client, "rdb_last_bgsave_status") == "ok", "INFO still tells of the failure")
        if os.geteuid() == 0:
            full_disk(options)


def full_disk(options):
    """A disk that is full; where mounting is not permitted there is nothing to see."""
    directory = tempfile.mkdtemp(prefix="full-", dir=scratch_root())
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", directory], capture_output=True,
    ).returncode == 0
    try:
        if not mounted:
            return
        with slotwise(options.slotwise, options.shards, (*DEBUG, "--dir", directory)) as ours:
            client = ours.client()
            client.must("SET", "small", "x")
            client.must("BGSAVE")
            expect(saved(client), "there is room for a small file")
            client.pipeline([("SET", f"key:{n}", os.urandom(100)) for n in range(20000)])
            client.must("BGSAVE")
            expect(not saved(client), "a save into a full disk succeeds")
            expect(os.listdir(directory) == ["dump.rdb"], f"files: {os.listdir(directory)}")
            client.must("FLUSHALL")
            client.must("BGSAVE")
            expect(saved(client), "a save fails with room on the disk")
    finally:
        if mounted:
            subprocess.run(["umount", directory], check=False)
        shutil.rmtree(directory, ignore_errors=True)


def check_crowd(options):
    """Strings that a small change makes a save copy whole, and a writer that takes nothing."""
    def used(client):
        lines = client.must("INFO", "memory").decode().splitlines()
        return int(next(line for line in lines if line.startswith("used_memory:")).split(":")[1])

    count, size = 400, 60_000
    with Place() as place:
        slow = ("--snapshot-memory-limit", "1mb", "--rdb-key-save-delay", "0", "--rdbcompression", "no", "--save", "")
        with slotwise(options.slotwise, options.shards, place.args(*slow)) as ours:
            client = ours.client()
            for start in range(0, count, 50):
                client.pipeline([("SET", f"key:{n}", b"v" * size) for n in range(start, start + 50)])
            client.must("SET", "read", "me")
            digest = client.must("DEBUG", "DIGEST")
            before = used(client)
            client.must("CONFIG", "SET", "rdb-key-save-delay", 2_000_000)
            client.must("BGSAVE")
            done = threading.Event()

            def write():
                with ours.client() as writer:
                    for n in range(count):
                        writer.must("SETRANGE", f"key:{n}", 0, "new")
                done.set()

            writer = threading.Thread(target=write)
            writer.start()
            # Somebody waits for the disk. What is kept is the bound, a value, and what was on its way.
            wait_until(lambda: b"blocked_clients:1" in client.must("INFO", "clients"), 20, "a writer that waits")
            more = used(client) - before
            expect(more < options.shards * (1 << 20) + (4 << 20), f"{more} bytes are kept")
            expect(not done.is_set(), "the writer has not waited")
            expect(client.must("GET", "read") == b"me", "nobody reads")
            expect(len(client.must("GET", f"key:{count - 1}")) == size, "nobody reads what the save has not seen")
            client.must("SET", "fresh", "what was not there is nothing to keep") if options.shards == 1 else None
            client.must("CONFIG", "SET", "rdb-key-save-delay", 0)
            writer.join(30)
            expect(done.is_set(), "the writer waits for ever")
            expect(saved(client), "the save failed")
            expect(b"blocked_clients:0" in client.must("INFO", "clients"), "somebody waits still")
        with slotwise(options.slotwise, options.shards, place.args()) as ours:
            expect(ours.client().must("DEBUG", "DIGEST") == digest, "the file is not the data set at the cut")


def check_points(options):
    with Place() as place:
        with slotwise(options.slotwise, options.shards, place.args("--save", "1 3")) as ours:
            client = ours.client()
            began = client.must("LASTSAVE")
            client.pipeline([("SET", f"key:{n}", "x") for n in range(2)])
            time.sleep(2.5)
            expect(client.must("LASTSAVE") == began, "a save point before its time")
            client.must("SET", "third", "x")
            wait_until(lambda: client.must("LASTSAVE") > began, 6, "a save point to save")
            expect(saved(client), "a save point fails")
            expect(info(client, "rdb_changes_since_last_save") == "0", "changes are still counted")
            expect(info(client, "rdb_saves") == "1", "saves are miscounted")
            expect(int(info(client, "rdb_last_bgsave_time_sec")) >= 0, "INFO does not say how long it took")
            client.must("CONFIG", "SET", "save", "")
            client.must("MULTI")
            client.must("SET", "a", "1")
            client.must("BGSAVE")
            client.must("SET", "b", "2")
            reply = client.must("EXEC")
            expect(reply[1] == b"Background saving scheduled", f"BGSAVE in EXEC: {reply}")
            wait_until(lambda: info(client, "rdb_saves") == "2", 5, "a scheduled save")
            expect(saved(client), "a scheduled save fails")
            expect(client.call("BGSAVE", "later") == b"ERR syntax error", "BGSAVE with another word")
        with slotwise(options.slotwise, options.shards, place.args()) as ours:
            expect(ours.client().must("DBSIZE") == 5, "a scheduled save went through the middle of a transaction")


def ended(server, seconds=10):
    wait_until(lambda: not server.alive(), seconds, "the end of the server")


def check_shutdown(options):
    def run(save, end, alive=False, broken=False):
        """Whether a file is there after `end`."""
        with Place() as place:
            server = slotwise(options.slotwise, options.shards, place.args("--save", save))
            with server as ours:
                client = ours.client()
                client.pipeline([("SET", f"key:{n}", "x") for n in range(1000)])
                moved = place.path + ".away"
                if broken:
                    os.rename(place.path, moved)
                try:
                    answer = end(ours, client)
                finally:
                    if broken:
                        time.sleep(0.3)
                        os.rename(moved, place.path)
                if alive:
                    expect(ours.alive(), "the server has stopped")
                    expect(client.must("GET", "key:1") == b"x", "the server does not serve")
                    return answer
                ended(ours)
                expect(ours.process.returncode == 0, f"exit status {ours.process.returncode}")
            if not os.path.exists(place.file):
                return False
            with slotwise(options.slotwise, options.shards, place.args()) as again:
                expect(again.client().must("DBSIZE") == 1000, "the last snapshot is not whole")
            return True

    def command(*words):
        def end(_, client):
            try:
                return client.call("SHUTDOWN", *words)
            except (ConnectionError, OSError):
                return None
        return end

    def term(server, _):
        os.kill(server.pid, signal.SIGTERM)

    expect(run("", command("SAVE")), "SHUTDOWN SAVE saves nothing")
    expect(run("3600 1", command()), "SHUTDOWN with save points saves nothing")
    expect(not run("3600 1", command("NOSAVE")), "SHUTDOWN NOSAVE saves")
    expect(not run("", command("NOW")), "SHUTDOWN without save points saves")
    expect(run("3600 1", term), "SIGTERM with save points saves nothing")
    failed = run("3600 1", command(), alive=True, broken=True)
    expect(failed == b"ERR Errors trying to SHUTDOWN. Check logs.", f"a save that fails: {failed}")
    expect(not run("3600 1", command("FORCE"), broken=True), "a file out of nowhere")


def check_parts(options):
    with Place() as place:
        apart = ("--snapshot-files", "per-shard")
        with slotwise(options.slotwise, options.shards, place.args()) as ours:
            client = ours.client()
            fill(client, 3000)
            client.must("SAVE")
            client.must("CONFIG", "SET", "snapshot-files", "per-shard")
            client.must("BGSAVE")
            expect(saved(client), "a save into several files fails")
            expect(len(place.names()) == options.shards, f"files: {place.names()}")
            first = place.names()
            client.must("SET", "more", "x")
            client.must("SAVE")
            expect(len(place.names()) == options.shards and place.names() != first, f"files: {place.names()}")
            digest = client.must("DEBUG", "DIGEST")
            client.must("DEBUG", "RELOAD")
            expect(client.must("DEBUG", "DIGEST") == digest, "DEBUG RELOAD changes the data")
        for name in place.names():
            if shutil.which("redis-check-rdb"):
                path = os.path.join(place.path, name)
                checked = subprocess.run(["redis-check-rdb", path], capture_output=True, text=True)
                expect(checked.returncode == 0, checked.stdout[-500:])
        for shards in {1, options.shards, 3}:
            with slotwise(options.slotwise, shards, place.args(*apart)) as ours:
                expect(ours.client().must("DEBUG", "DIGEST") == digest, f"other data with {shards} shards")
        shutil.copy(os.path.join(place.path, place.names()[0]), place.file)
        refused(options, place, "move away the one that is not to be loaded")
        os.remove(place.file)
        if options.shards > 1:
            os.remove(glob.glob(os.path.join(place.path, "dump.*.1-of-*.rdb"))[0])
            refused(options, place, "is incomplete")


def check_memory(options):
    """What INFO counts as used is what the data take, whatever threads the bytes have passed through."""
    def used(client):
        for line in client.must("INFO", "memory").decode().splitlines():
            if line.startswith("used_memory:"):
                return int(line.split(":")[1])

    with Place() as place:
        with slotwise(options.slotwise, options.shards, place.args()) as ours:
            client = ours.client()
            client.must("DEBUG", "POPULATE", "20000", "key", "1000")
            for _ in range(2):
                client.must("BGSAVE")  # what comes with the first stays
                expect(saved(client), "a save fails")
            before = used(client)
            for _ in range(3):
                client.must("BGSAVE")
                expect(saved(client), "a save fails")
            client.pipeline([("INFO",)] * 3000)
            after = used(client)
            expect(abs(after - before) < 2_000_000, f"used_memory was {before} and is {after}")
            client.must("SAVE")
        with slotwise(options.slotwise, options.shards, place.args()) as ours:
            loaded = used(ours.client())
            expect(abs(loaded - before) < 4_000_000, f"used_memory was {before} and is {loaded} after a start")


def refused(options, place, text):
    server = slotwise(options.slotwise, options.shards, place.args())
    try:
        server.start()
        server.stop()
        raise Failure("a server starts with files that are unclear")
    except RuntimeError as error:
        expect(text in str(error), str(error))


CHECKS = {
    "cut": check_cut, "wild": check_wild, "flush": check_flush, "errors": check_errors, "crowd": check_crowd,
    "points": check_points,
    "shutdown": check_shutdown, "parts": check_parts, "memory": check_memory,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checks", nargs="*")
    parser.add_argument("--slotwise", default=default_slotwise())
    parser.add_argument("--redis", default=shutil.which("redis-server"))
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7200)
    parser.add_argument("--keys", type=int, default=100000)
    options = parser.parse_args()
    failed = 0
    for name in options.checks or CHECKS:
        began = time.monotonic()
        try:
            CHECKS[name](options)
            print(f"ok   {name} ({time.monotonic() - began:.1f} s)")
        except (Failure, TimeoutError) as failure:
            failed += 1
            print(f"FAIL {name}: {failure}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
