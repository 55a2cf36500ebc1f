"""The append-only files as an operator meets them.

    switch    appendonly and appendfsync change at run time, and what was written meanwhile is there after a kill
    begun     a kill while the first files are written leaves what was there before; beginning again takes no old file for new
    rewrite   BGREWRITEAOF and the automatic rewrite leave one generation of small files; redis-check agrees with them
    waitaof   WAITAOF answers when the logs are on disk
    full      a full disk: MISCONF, nothing acknowledged is lost, and writes go on by themselves once there is room
    slow      a disk that is slow holds up who writes and nobody else, which is told; what waits is bounded, and a kill in the
              middle loses nothing acknowledged
    gates     with several shards, what a step rests on on other shards holds its answer back, whatever comes meanwhile
    later     what is behind two gates leaves with the later of them, whichever log is written first
    names     files are found again whatever appendfilename is
    alone     two servers never write in one directory
    torn      half a command at the end of a file is cut off, or stops the start if it is told to

    tests/client/aof.py [--slotwise PATH] [--shards N] [CHECK ...]
"""

import argparse
import binascii
import glob
import itertools
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack

from support import ErrorReply, Server, default_slotwise, encode, readable, scratch_root, wait_until


class Failure(Exception):
    """A promise that was not kept."""


def expect(condition, text):
    if not condition:
        raise Failure(text)


class Run:
    """A server whose directory outlives it."""

    def __init__(self, options, directory, *extra):
        self.server = Server("aof", [
            options.slotwise, "--port", "{port}", "--dir", directory, "--shards", str(options.shards), *extra,
        ])

    def __enter__(self):
        return self.server.start()

    def __exit__(self, *_):
        self.server.stop()


def kill(server):
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()


def info(client, field):
    text = client.call("INFO", "persistence").decode()
    found = [line.split(":", 1)[1] for line in text.split("\r\n") if line.startswith(field + ":")]
    return found[0] if found else None


def rewritten(client):
    return wait_until(lambda: info(client, "aof_rewrite_in_progress") == "0", 20, "the end of a rewrite")


def base_size(client):
    return int(info(client, "aof_base_size"))


def files(directory, pattern):
    return sorted(glob.glob(os.path.join(directory, "appendonlydir", pattern)))


def check_switch(options, directory):
    with Run(options, directory) as server:
        with server.client() as client:
            for number in range(200):
                client.call("SET", f"before:{number}", str(number))
            expect(info(client, "aof_enabled") == "0", "it is off")
            client.call("CONFIG", "SET", "appendonly", "yes")
            expect(rewritten(client), "the first files are written")
            expect(info(client, "aof_last_bgrewrite_status") == "ok", "and well")
            client.call("MSET", *[word for number in range(50) for word in (f"after:{number}", "x")])
            for policy in ("always", "no", "always", "everysec"):
                client.call("CONFIG", "SET", "appendfsync", policy)
                client.call("SET", f"under:{policy}", "1")
        kill(server)
    with Run(options, directory, "--appendonly", "yes") as server:
        with server.client() as client:
            expect(client.call("DBSIZE") == 253, f"{client.call('DBSIZE')} keys of 253 are back")
            client.call("CONFIG", "SET", "appendonly", "no")
            client.call("SET", "unwritten", "1")
            expect(wait_until(lambda: info(client, "aof_current_size") is None, 5, "the end of the logs"), "the files are closed")
        kill(server)
    with Run(options, directory, "--appendonly", "yes") as server:
        with server.client() as client:
            expect(client.call("EXISTS", "unwritten") == 0, "what came after appendonly no is nowhere")
            expect(client.call("DBSIZE") == 253, "the rest is")


def check_begun(options, directory):
    saved = 100
    with Run(options, directory) as server:
        with server.client() as client:
            for number in range(saved):
                client.call("SET", f"saved:{number}", "x")
            client.call("SAVE")
    for round_number in range(2):
        with Run(options, directory, "--rdb-key-save-delay", "100000") as server:
            with server.client() as client:
                expect(client.call("DBSIZE") == saved, f"{client.call('DBSIZE')} keys in round {round_number}")
                client.call("CONFIG", "SET", "appendonly", "yes")
                expect(wait_until(lambda: info(client, "aof_current_size") is not None, 5, "logs"), "they are begun")
                client.call("SET", f"lost:{round_number}", "x")
            kill(server)
    with Run(options, directory, "--save", "") as server:
        with server.client() as client:
            expect(client.call("DBSIZE") == saved, "what was lost is lost")
            client.call("CONFIG", "SET", "appendonly", "yes")
            expect(rewritten(client), "the first files are written")
            client.call("SET", "last", "x")
        kill(server)
    with Run(options, directory, "--appendonly", "yes") as server:
        with server.client() as client:
            found = client.call("DBSIZE"), client.call("EXISTS", "last", "lost:0", "lost:1")
            expect(found == (saved + 1, 1), f"{found}")
        kill(server)
    shutil.rmtree(os.path.join(directory, "appendonlydir"))
    with Run(options, directory, "--rdb-key-save-delay", "100000") as server:
        with server.client() as client:
            client.call("CONFIG", "SET", "appendonly", "yes")
            expect(wait_until(lambda: info(client, "aof_current_size") is not None, 5, "logs"), "they are begun")
            client.call("SET", "lost", "x")
        kill(server)
    with Run(options, directory, "--appendonly", "yes") as server:
        with server.client() as client:
            expect(client.call("DBSIZE") == saved, "a start from what was begun serves the snapshot")


def check_rewrite(options, directory):
    extra = ("--appendonly", "yes", "--auto-aof-rewrite-min-size", "200kb", "--auto-aof-rewrite-percentage", "100")
    with Run(options, directory, *extra) as server:
        with server.client() as client:
            client.call("FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('five', function() return 5 end)")
            for _ in range(6000):
                client.send_raw(encode("INCR", "n") + encode("RPUSH", "l", "x"))
            for _ in range(12000):
                client.read()
            expect(wait_until(lambda: int(info(client, "aof_rewrites")) > 0, 20, "a rewrite"), "it is rewritten by itself")
            expect(rewritten(client), "that ends")
            expect(client.call("BGREWRITEAOF") == b"Background append only file rewriting started", "and when asked for")
            client.call("SET", "during", "1")
            expect(rewritten(client), "that ends too")

            def grown():
                """What comes while the files are written anew belongs to the size that growth is measured against."""
                client.call("BGREWRITEAOF")
                while info(client, "aof_rewrite_in_progress") == "1":
                    client.call("SET", "meanwhile", "x" * 1000)
                return base_size(client) > sum(os.path.getsize(path) for path in files(directory, "*.base.rdb"))
            expect(wait_until(grown, 20, "a write during a rewrite"), "only the bases count")
            expect(base_size(client) <= int(info(client, "aof_current_size")), "more than there is")
            client.call("DEL", "meanwhile")
            client.call("BGREWRITEAOF")
            expect(rewritten(client), "the last one ends")
            bases, logs = files(directory, "*.base.rdb"), files(directory, "*.incr.aof")
            expect(len(bases) == options.shards and len(logs) == options.shards, f"one generation: {bases} {logs}")
            size = sum(os.path.getsize(path) for path in bases + logs)
            expect(size < 100_000, f"{size} bytes hold a counter and a list")
            if shutil.which("redis-check-rdb"):
                for path in bases:
                    done = subprocess.run(["redis-check-rdb", path], capture_output=True, check=False)
                    expect(done.returncode == 0, f"redis-check-rdb on {path}: {done.stdout[-300:]}")
                for path in logs:
                    done = subprocess.run(["redis-check-aof", path], capture_output=True, check=False)
                    # An empty file is nothing to it.
                    expect(done.returncode == 0 or not os.path.getsize(path), f"redis-check-aof {path}: {done.stdout[-300:]}")
        kill(server)
    with Run(options, directory, "--appendonly", "yes") as server:
        with server.client() as client:
            expect(client.call("GET", "n") == b"6000" and client.call("LLEN", "l") == 6000, "all of it is back")
            expect(client.call("GET", "during") == b"1", "what came during the rewrite, too")
            expect(client.call("FCALL", "five", "0") == 5, "and the functions")
            size = sum(os.path.getsize(path) for path in files(directory, "*.base.rdb"))
            expect(base_size(client) == size, "after a start growth is measured against the bases")


def check_waitaof(options, directory):
    with Run(options, directory, "--appendonly", "yes", "--appendfsync", "no") as server:
        with server.client() as client:
            client.call("MSET", "a", "1", "b", "2", "c", "3")
            expect(client.call("WAITAOF", "1", "0", "10000") == [1, 0], "the log is on disk")
            expect(client.call("WAITAOF", "0", "0", "0") == [1, 0], "nothing is asked for, and the log is told of all the same")
            began = time.monotonic()
            expect(client.call("WAITAOF", "1", "1", "100") == [1, 0], "there are no replicas")
            expect(time.monotonic() - began >= 0.09, "it waited for them")
            client.call("CONFIG", "SET", "appendonly", "no")
            wait_until(lambda: info(client, "aof_current_size") is None, 5, "the end of the logs")
            answer = client.call("WAITAOF", "1", "0", "0")
            expect(isinstance(answer, ErrorReply) and b"appendonly is disabled" in answer, f"no log: {answer}")


def check_full(options, directory):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", directory], capture_output=True, check=False)
    if mounted.returncode != 0:
        return "skipped: no right to mount a small file system"
    acknowledged = {}
    try:
        with Run(options, directory, "--appendonly", "yes", "--save", "") as server:
            with server.client() as client:
                ballast = os.path.join(directory, "ballast")
                with open(ballast, "wb") as file:
                    file.write(b"x" * (2 << 20))
                refused = None
                for number in range(4000):
                    answer = client.call("SET", f"k{number}", b"v" * 1000)
                    if isinstance(answer, ErrorReply):
                        refused = bytes(answer)
                        break
                    acknowledged[f"k{number}"] = True
                expect(refused and refused.startswith(b"MISCONF Errors writing to the AOF file: No space left"), f"{refused}")
                expect(client.call("GET", "k0") == b"v" * 1000, "reading goes on")
                expect(isinstance(client.call("PING"), ErrorReply), "PING tells")
                expect(info(client, "aof_last_write_status") == "err", "and so does INFO")
                os.remove(ballast)
                went_on = wait_until(lambda: client.call("SET", "later", "1") == b"OK", 10, "room")
                expect(went_on, "writes go on once there is room")
                acknowledged["later"] = True
                expect(info(client, "aof_last_write_status") == "ok", "all is well again")
            kill(server)
        with Run(options, directory, "--appendonly", "yes", "--save", "") as server:
            with server.client() as client:
                missing = [key for key in acknowledged if client.call("EXISTS", key) != 1]
                expect(not missing, f"{len(missing)} acknowledged keys are missing: {missing[:5]}")
    finally:
        subprocess.run(["umount", directory], check=False)
    return None


def slot(key):
    return binascii.crc_hqx(key.encode(), 0) % 16384


def key_of(shard, shards, number):
    """The key number so-and-so of those that a shard has; no two in one slot."""
    names = (f"key:{n}" for n in itertools.count())
    return next(itertools.islice((key for key in names if slot(key) % shards == shard), number, None))


def answer(client):
    return client.read()[0].value()


def threads(server):
    """The threads that write logs."""
    names = glob.glob(f"/proc/{server.process.pid}/task/*/comm")
    return [name for name in (open(path).read().strip() for path in names) if name.startswith("log-")]


def check_slow(options, directory):
    extra = ("--appendonly", "yes", "--latency-monitor-threshold", "20", "--enable-debug-command", "yes",
             "--aof-buffer-limit", "100kb")
    shards = options.shards
    hot, cold = key_of(0, shards, 0), key_of(0, shards, 1)
    kept = {}
    with Run(options, directory, *extra) as server:
        with ExitStack() as stack:
            client, writer, reader, other = (stack.enter_context(server.client()) for _ in range(4))
            crowd = [stack.enter_context(server.client()) for _ in range(8)]

            def put(connection, key, value):
                expect(connection.call("SET", key, value) == b"OK", f"SET {key}")
                kept[key] = value.encode()

            put(client, cold, "cold")
            colds = [cold] + [key_of(shard, shards, 3) for shard in range(shards)]
            for key in colds:
                put(client, key, "cold")
            light = [("PING",), ("ECHO", "x"), ("MGET", *colds), ("CONFIG", "GET", "maxmemory"), ("CLIENT", "ID"),
                     ("INFO", "clients"), ("EXISTS", *colds), ("CLIENT", "LIST")]
            every = [key_of(shard, shards, 2) for shard in range(shards)]

            def slow_down(us):
                """From here on threads write."""
                client.call("DEBUG", "AOF-FLUSH-SLEEP", str(us))
                for key in every:
                    put(client, key, "slow")
                wait_until(lambda: len(threads(server)) == shards, 5, f"{shards} threads that write")

            slow_down(200_000)
            put(client, hot, "0")
            # Nobody waits who has only read what is written; who writes, and who reads that, waits for the write.
            light.append(("GET", cold))
            passed, number, turn = set(), 0, 0
            while number < 3 or (len(passed) < len(light) and number < 20):  # a busy machine gets little into 200 ms
                number += 1
                writer.send("SET", hot, str(number))
                began, asked = time.monotonic(), False
                while not readable(writer):
                    said = reader.call(*light[turn % len(light)] if asked else light[-1])
                    expect(not isinstance(said, ErrorReply), f"{said}")
                    if asked and not readable(writer):
                        passed.add(turn % len(light))
                    turn += asked
                    if not asked and time.monotonic() > began + 0.05:  # the SET has been run by now
                        other.send("GET", hot)
                        asked = True
                if not asked:
                    other.send("GET", hot)
                said = answer(writer), answer(other)
                expect(said == (b"OK", str(number).encode()), f"{said} to SET and GET {number}")
            expect(len(passed) == len(light), f"of {light} only {sorted(passed)} were answered meanwhile")
            kept[hot] = str(number).encode()
            for number in range(number + 1, number + 5):
                writer.send("SET", hot, str(number))
                other.send("GET", hot)
                if answer(other) == str(number).encode():
                    expect(readable(writer, 0.1), "a write was seen before it was written")
                expect(answer(writer) == b"OK", "SET")
                kept[hot] = str(number).encode()
            # Steps over all shards, and a rewrite meanwhile.
            writer.send("MSET", *[word for key in every for word in (key, "step")])
            expect(answer(writer) == b"OK", "MSET")
            kept.update((key, b"step") for key in every)
            client.call("BGREWRITEAOF")
            put(writer, hot, "during")
            rewritten(client)
            expect(info(client, "aof_last_bgrewrite_status") == "ok", "the rewrite")
            put(writer, hot, "after")
            # Too much waits: refused, and reading goes on. Once more where the disk was quicker than this program.
            refused = None
            for us in (200_000, 400_000, 800_000, 1_600_000, 3_200_000):
                client.call("DEBUG", "AOF-FLUSH-SLEEP", str(us))
                for number, one in enumerate(crowd):
                    one.send("SET", key_of(0, shards, 10 + number), "x" * 40_000)
                for _ in range(5):
                    reader.call("GET", cold)
                refused = other.call("SET", cold, "refused")
                if refused == b"OK":
                    kept[cold] = b"refused"
                else:
                    expect(refused.startswith(b"MISCONF The disk is slow"), f"{refused}")
                    expect(reader.call("GET", cold) == kept[cold], "a refused command has done something")
                for number, one in enumerate(crowd):
                    said = answer(one)
                    if said == b"OK":
                        kept[key_of(0, shards, 10 + number)] = b"x" * 40_000
                    else:
                        expect(said.startswith(b"MISCONF The disk is slow"), f"{said}")
                if refused != b"OK":
                    break
            expect(isinstance(refused, ErrorReply), "nothing is refused")
            expect(wait_until(lambda: other.call("SET", hot, "room") == b"OK", 5, "room"), "it goes on")
            kept[hot] = b"room"
            client.call("DEBUG", "AOF-FLUSH-SLEEP", "200000")
            # Under always an answer waits for write and sync.
            client.call("CONFIG", "SET", "appendfsync", "always")
            put(writer, hot, "always")
            client.call("CONFIG", "SET", "appendfsync", "everysec")
            events = [event[0] for event in client.call("LATENCY", "LATEST")]
            expect(b"aof-write" in events, f"not told: {events}")
            debug = client.call("INFO", "debug").decode()
            spent = int(debug.split("eventloop_duration_aof_sum:")[1].split()[0])
            expect(spent < 200_000 * (shards + 1) + 400_000, f"cores have waited for {spent} us")
            # Well again: written without threads.
            client.call("DEBUG", "AOF-FLUSH-SLEEP", "0")

            def is_well():
                for key in every:
                    put(client, key, "well")
                return not threads(server)
            expect(wait_until(is_well, 10, "the threads to end"), "threads still write")
            expect(info(client, "aof_buffer_length") == "0", "something has piled up")
            # An epoch that is due while the one before it is not on disk, and an end in the middle of it all.
            slow_down(40_000)
            put(client, hot, "slow again")
            client.call("DEBUG", "AOF-FLUSH-SLEEP", "2200000")
            before = int(info(client, "aof_delayed_fsync"))
            writer.send("SET", hot, "never acknowledged")
            expect(wait_until(lambda: int(info(client, "aof_delayed_fsync")) > before, 5, "an epoch"), "no delay is counted")
            del kept[hot]
        kill(server)
    with Run(options, directory, "--appendonly", "yes") as server:
        with server.client() as client:
            for key, value in kept.items():
                found = client.call("GET", key)
                expect(found == value, f"{key}: {found[:20] if found else found} after a kill, acknowledged was {value[:20]}")
            expect(client.call("GET", hot) in (b"slow again", b"never acknowledged"), "what was acknowledged last")


def check_names(options, directory):
    extra = ("--appendonly", "yes", "--appendfilename", " it's \n a name ")
    for round_number in range(3):
        with Run(options, directory, *extra) as server:
            with server.client() as client:
                expect(client.call("DBSIZE") == round_number, f"keys at start {round_number}")
                client.call("SET", f"key:{round_number}", "x")
                if round_number == 1:
                    client.call("BGREWRITEAOF")
                    expect(rewritten(client), "rewritten")
    expect(files(directory, "*\n a name .*"), f"no file is called so: {files(directory, '*')}")


def check_alone(options, directory):
    extra = ("--appendonly", "yes")
    with Run(options, directory, *extra) as server:
        with server.client() as client:
            client.call("SET", "a", "1")
        other = Run(options, directory, *extra)
        try:
            other.server.start()
            raise Failure("two servers write in one directory")
        except RuntimeError as refusal:
            expect("another process writes" in str(refusal), f"{refusal}")
        finally:
            other.server.stop()
        with Run(options, directory) as third, third.client() as client:
            client.call("CONFIG", "SET", "appendonly", "yes")
            wait_until(lambda: info(client, "aof_last_bgrewrite_status") == "err", 5, "a refusal")
        kill(server)
    with Run(options, directory, *extra) as server:
        with server.client() as client:
            expect(client.call("GET", "a") == b"1", "the data are there")


def check_torn(options, directory):
    with Run(options, directory, "--appendonly", "yes") as server:
        with server.client() as client:
            for number in range(100):
                client.call("SET", f"k{number}", "value")
        kill(server)
    torn = max(files(directory, "*.incr.aof"), key=os.path.getsize)
    with open(torn, "ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nhal")
    refusing = Server("aof", [
        options.slotwise, "--port", "{port}", "--dir", directory, "--shards", str(options.shards), "--appendonly", "yes",
        "--aof-load-truncated", "no",
    ])
    try:
        refusing.start()
        raise Failure("aof-load-truncated no: it started all the same")
    except RuntimeError as problem:
        expect("truncated" in str(problem).lower() or "end" in str(problem).lower(), f"it says why: {problem}")
    finally:
        refusing.stop()
    with Run(options, directory, "--appendonly", "yes") as server:
        with server.client() as client:
            expect(client.call("DBSIZE") == 100, "everything but the torn end is there")


def check_gates(options, directory):
    """An answer that rests on what other shards have not written waits for that, whatever else the connection does."""
    shards = options.shards
    if shards < 3:
        return "needs two shards besides that of the connection"
    every = [key_of(shard, shards, 0) for shard in range(shards)]
    with Run(options, directory, "--appendonly", "yes", "--enable-debug-command", "yes") as server:
        with server.client() as client, server.client() as writer:
            client.call("DEBUG", "AOF-FLUSH-SLEEP", "120000")
            for key in every:
                expect(client.call("SET", key, "slow") == b"OK", "SET")
            expect(wait_until(lambda: len(threads(server)) == shards, 5, "threads that write"), "no threads write")
            delay = 1.5
            client.call("DEBUG", "AOF-FLUSH-SLEEP", str(int(delay * 1e6)))
            # The connection is at home on one shard: one of the pairs leaves that out.
            pairs = [every[:2], every[-2:]] if shards > 3 else [every[:2], every[1:], every[::2]]
            for pair in pairs:
                began = time.monotonic()
                writer.send("MSET", *[word for key in pair for word in (key, "step")])
                for _ in range(6):
                    time.sleep(0.05)
                    writer.send("PING")  # it has to do with the connection, and nothing is to come of it
                    early = readable(writer, 0.02)
                    # If this test was kept from running until then, it says nothing.
                    expect(not early or time.monotonic() > began + delay, "an answer left before what it rests on was written")
                expect(answer(writer) == b"OK", "MSET")
                expect([answer(writer) for _ in range(6)] == [b"PONG"] * 6, "PING")
            client.call("DEBUG", "AOF-FLUSH-SLEEP", "0")
    return None


def logged(directory, token):
    """In how many logs it is."""
    found = 0
    for path in files(directory, "*.aof*"):
        with open(path, "rb") as log:
            found += token.encode() in log.read()
    return found


def check_later(options, directory):
    """A step over two shards, and then a message of a third: the connection is behind a gate for each. Which log is written
    first depends on which thread is at a write already."""
    shards = options.shards
    if shards < 3:
        return "needs two shards besides that of the message"
    own = [key_of(shard, shards, 0) for shard in range(shards)]
    pushed = [f"pushed:{next(n for n in itertools.count() if slot(f'pushed:{n}') % shards == shard)}" for shard in range(shards)]
    with Run(options, directory, "--appendonly", "yes", "--enable-debug-command", "yes") as server, ExitStack() as stack:
        client, stepping, telling, *busy = (stack.enter_context(server.client()) for _ in range(5))
        expect(stepping.call("HELLO", "3") and stepping.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "pushed:") == b"OK",
               "TRACKING")
        client.call("DEBUG", "AOF-FLUSH-SLEEP", "120000")
        for key in own:
            expect(client.call("SET", key, "slow") == b"OK", "SET")
        expect(wait_until(lambda: len(threads(server)) == shards, 5, "threads that write"), "no threads write")

        def attempt(step, message, delay, message_first):
            """Whether the log of the message is written before those of the step (or after), as is wanted here."""
            client.call("DEBUG", "AOF-FLUSH-SLEEP", str(int(delay * 1e6)))
            late = step if message_first else [message]
            for connection, key in zip(busy, late):
                connection.send("SET", own[key], "late")
            time.sleep(delay / 5)
            attempt.number += 1
            stepped, told = f"step-{attempt.number}-", f"told-{attempt.number}-"
            stepping.send("MSET", *[word for key in step for word in (own[key], stepped)])
            time.sleep(delay / 5)
            telling.send("SET", pushed[message], told)
            left, at_step, is_told, early = [], None, False, False
            while len(left) < 2 or not is_told:
                waiting = [stepping.socket, telling.socket]
                ready = select.select(waiting, [], [], 0 if stepping.buffer else 30)[0]
                ready += [stepping.socket] if stepping.buffer and stepping.socket not in ready else []
                expect(ready, "nothing comes any more")
                if telling.socket in ready:
                    expect(answer(telling) == b"OK", "SET")
                    is_told = True
                if stepping.socket in ready:
                    left.append(answer(stepping))
                    if left[-1] == b"OK":
                        expect(logged(directory, stepped) == 2, "an answer left before all it rests on was written")
                        at_step = is_told
                    else:
                        expect(left[-1] == [b"invalidate", [pushed[message].encode()]], f"{left[-1]}")
                        early = logged(directory, told) == 0
            for connection, _ in zip(busy, late):
                expect(answer(connection) == b"OK", "SET")
            early_ones[message] |= early
            # A busy machine may have had it in another order.
            return left[0] == b"OK" and at_step == message_first

        attempt.number = 0
        # A message of the shard that the connection is at home on rests on that one's log; one from another core is said as
        # soon as it is known, and waits for what the connection's own core waits for.
        early_ones = [False] * shards
        for message in range(shards):
            step = [shard for shard in range(shards) if shard != message][-2:]
            for message_first in (True, False):
                delays = (0.25, 0.25, 0.5, 1, 2, 4)
                expect(any(attempt(step, message, delay, message_first) for delay in delays), "the logs are never in this order")
        expect(not all(early_ones), "messages of the own core leave before what they tell of is written")
        client.call("DEBUG", "AOF-FLUSH-SLEEP", "0")
    return None


CHECKS = {
    "switch": check_switch, "begun": check_begun, "rewrite": check_rewrite, "waitaof": check_waitaof, "full": check_full,
    "slow": check_slow, "gates": check_gates, "later": check_later, "names": check_names, "alone": check_alone, "torn": check_torn,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slotwise", default=default_slotwise())
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("checks", nargs="*", choices=[*CHECKS, []])
    options = parser.parse_args()
    failed = 0
    for name in options.checks or CHECKS:
        directory = tempfile.mkdtemp(prefix="aof-", dir=scratch_root())
        try:
            note = CHECKS[name](options, directory)
            print(f"{name}: {note or 'ok'}")
        except (Failure, RuntimeError, OSError) as problem:
            failed += 1
            print(f"{name}: FAILED: {problem}")
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    print(f"aof: {len(options.checks or CHECKS) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
