#!/usr/bin/env python3
"""What does a replica cost those who are served, and how quick are a full sync and the stream?

Called by compare.py (`replica`, `sync`, `apply`, `idle_link`, `flows`). The other end is redis-server in all of them, or a primary
made by hand, so that only the end under test differs; it shares the load's CPU. A figure counts beside the other one of
the same run only.
"""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "client"))  # after bench: some names stand in both
from measure import probed, rss_bytes, server_cpu_ns  # noqa: E402
from replication_kit import FakePrimary, FakeReplica, snapshot  # noqa: E402
from snapshots import Load  # noqa: E402
from support import encode, load_pipelined, wait_until  # noqa: E402

SYNC_NOW = ["--repl-diskless-sync-delay", "0"]
REPLID = "0123456789abcdef0123456789abcdef01234567"
ATTACH_SECONDS_MAX = 600


def info(server, section="replication"):
    with server.client(timeout=120.0) as client:
        text = client.must("INFO", section).decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def attach(replica, primary, seconds_max=ATTACH_SECONDS_MAX):
    """Makes one a replica of the other, and waits until it is synced and the primary streams to it."""
    with replica.client(timeout=120.0) as client:
        client.must("REPLICAOF", "127.0.0.1", primary.port)
    wait_until(lambda: "state=online" in info(primary).get("slave0", ""), seconds_max, "the replica to be online")
    wait_until(lambda: info(replica).get("master_link_status") == "up", seconds_max, "the link to be up")


class Sink:
    """A replica that takes the stream and does nothing with it: what is left is what it costs the primary to have one."""

    def __init__(self, primary, cpus):
        self.replica = FakeReplica(primary, capa=("eof", "psync2"), port=1, timeout=ATTACH_SECONDS_MAX)
        self.replica.sync()
        self.taken, self.stopped = self.replica.offset, threading.Event()
        self.thread = threading.Thread(target=self.drain, args=(cpus,), daemon=True)
        self.thread.start()

    def drain(self, cpus):
        os.sched_setaffinity(0, cpus)
        replica, told = self.replica, 0.0
        self.taken += len(replica.buffer)
        block = bytearray(1 << 20)
        replica.socket.settimeout(0.5)
        while not self.stopped.is_set():
            try:
                count = replica.socket.recv_into(block)
                if not count:
                    return
                self.taken += count
            except TimeoutError:
                pass
            if time.monotonic() - told > 0.5:
                told = time.monotonic()
                replica.ack(self.taken)

    def catch_up(self, primary, seconds_max=120):
        wait_until(lambda: self.taken >= int(info(primary)["master_repl_offset"]), seconds_max, "the sink to take the stream")

    def close(self):
        self.stopped.set()
        self.thread.join(5)
        self.replica.close()


def catch_up(primary, replica, seconds_max=120):
    """Seconds until the replica has applied all; the next run begins with nothing owed."""
    began = time.perf_counter()
    wait_until(lambda: int(info(replica)["slave_repl_offset"]) >= int(info(primary)["master_repl_offset"]), seconds_max, "the replica")
    return time.perf_counter() - began


def copied_on_write(primary):
    """Bytes beside a server's own that its last child has had copied: Redis's own figure; Slotwise has no child."""
    found = info(primary, "persistence")
    return 0 if "slotwise" in primary.name else int(found["rdb_last_cow_size"])


class IdleSink:
    """bench/sink.py as the replica of a full sync: what it does not do takes no time from whoever asks and measures."""

    def __init__(self, cpus):
        self.cpus, self.process = cpus, None

    def follow(self, primary, seconds_max=ATTACH_SECONDS_MAX):
        """Takes the copy, and returns when the primary streams."""
        program = Path(__file__).resolve().parent / "sink.py"
        self.process = subprocess.Popen([sys.executable, str(program), str(primary.port)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, self.cpus))
        if not self.process.stdout.readline():
            raise RuntimeError("the sink got no copy")
        wait_until(lambda: "state=online" in info(primary).get("slave0", ""), seconds_max, "the sink to be online")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(20)


def sync(primary, follow, keys, load_cpus):
    """A full sync under half of the load that the primary takes. `primary` runs and is filled; `follow` makes an empty replica
    follow it, and returns when it is synced.

    What asks and looks stays off the primary's CPU: there its turns were the longest pauses. Memory is therefore not read
    from smaps, which takes milliseconds in the kernel and holds up the server's own calls for memory; and the server is
    asked for what it keeps for the replica (its part of the stream, by configuration up to the output buffer limit) only
    once a second.
    """
    os.sched_setaffinity(0, load_cpus)
    load = Load(primary, keys)
    full, _ = load.run(0, lambda spent: spent > 1.5)
    before, _ = load.run(full / 2, lambda spent: spent > 1.5)
    stop, ended = threading.Event(), threading.Event()
    peak = memory = rss_bytes(primary.pid)
    kept = beside = 0

    def watch():
        nonlocal peak, kept, beside
        looks = 0
        while not stop.wait(0.1):
            now = rss_bytes(primary.pid)
            peak, looks = max(peak, now), looks + 1
            if looks % 10 == 0:
                buffers = int(info(primary, "memory")["mem_total_replication_buffers"])
                kept, beside = max(kept, buffers), max(beside, now - memory - buffers)

    quiet = probed(primary, load_cpus, 500, lambda: load.run(full / 2, lambda spent: spent > 2))
    seconds = during = 0.0

    def link():
        nonlocal seconds
        began = time.perf_counter()
        try:
            follow(primary)
            seconds = time.perf_counter() - began
        finally:
            ended.set()

    watcher, linker = threading.Thread(target=watch), threading.Thread(target=link)

    def work():
        nonlocal during
        watcher.start()
        linker.start()
        during, _ = load.run(full / 2, lambda spent: ended.is_set())
        linker.join()

    probing = probed(primary, load_cpus, 500, work)
    stop.set()
    watcher.join()
    if not seconds:
        raise RuntimeError("the sync did not come to its end")
    copied = copied_on_write(primary)
    share = lambda bytes_more: round(100 * bytes_more / memory, 2)  # noqa: E731 (three times below)
    return {
        "seconds": round(seconds, 2), "share_during": round(during / before, 3),
        "p9999_ms": round(probing["p9999_ms"], 3), "max_ms": round(probing["max_ms"], 3),
        "quiet_p9999_ms": round(quiet["p9999_ms"], 3), "quiet_max_ms": round(quiet["max_ms"], 3),
        "extra_memory_percent": share(peak + copied - memory), "kept_for_replica_percent": share(kept),
        "beside_it_percent": share(beside + copied),
    }


def applying(replica, commands, keys):
    """Commands a second and CPU microseconds for each, of a replica that is fed by a primary made by hand."""
    chunk = b"".join(encode("SET", b"key:%012d" % (n * 7919 % keys), b"x" * 64) for n in range(10_000))
    rounds = max(1, commands // 10_000)

    def behave(link):
        link.handshake()
        link.full(REPLID, 0, snapshot([("first", "1")]))
        link.wait_ack(0)
        go.wait()

        def drain():  # acknowledgements are taken, so that nothing stands in the way
            try:
                while True:
                    link.more()
                    link.buffer.clear()
            except OSError:
                pass
        threading.Thread(target=drain, daemon=True).start()
        link.socket.settimeout(300)
        for _ in range(rounds):
            link.raw(chunk)
        link.stays = True

    go = threading.Event()
    primary = FakePrimary(behave)
    try:
        with replica.client() as client:
            client.must("REPLICAOF", "127.0.0.1", primary.port)
        wait_until(lambda: info(replica)["master_link_status"] == "up", 60, "the link")
        time.sleep(1.5)
        cpu, _ = server_cpu_ns(replica.pid)
        began = time.perf_counter()
        go.set()
        with replica.client(timeout=300) as client:
            while True:
                text = client.must("INFO", "replication")
                if b"slave_repl_offset:%d\r" % (len(chunk) * rounds) in text:
                    break
                if primary.problems or not replica.alive():
                    raise RuntimeError(f"the stream broke off: {primary.problems}")
                time.sleep(0.005)
        seconds = time.perf_counter() - began
        used = server_cpu_ns(replica.pid)[0] - cpu
        return {"commands_per_second": round(rounds * 10_000 / seconds), "cpu_us": round(used / 1000 / (rounds * 10_000), 3)}
    finally:
        primary.close()


def catching_up(primary, replica, commands, keys):
    """Commands a second and CPU microseconds for each at both ends while a replica takes in what was written during a pause."""
    attach(replica, primary)
    with replica.client(timeout=300) as client, primary.client(timeout=300) as writer:
        writer.must("CONFIG", "SET", "repl-backlog-size", "4gb")
        client.must("CLIENT", "PAUSE", 600_000, "WRITE")
        time.sleep(0.3)
        requests = (encode("SET", b"key:%012d" % (n * 7919 % keys), b"x" * 64) for n in range(commands))
        load_pipelined(("127.0.0.1", primary.port), requests, 5)
        before = [server_cpu_ns(server.pid)[0] for server in (primary, replica)]
        began = time.perf_counter()
        client.must("CLIENT", "UNPAUSE")
        end = int(info(primary)["master_repl_offset"])
        while True:
            found = info(replica)
            if int(found["slave_repl_offset"]) >= end:
                break
            if found["master_link_status"] != "up":
                raise RuntimeError("the link broke")
            time.sleep(0.005)
        seconds = time.perf_counter() - began
        used = [server_cpu_ns(server.pid)[0] - then for server, then in zip((primary, replica), before)]
    return {"commands_per_second": round(commands / seconds), "primary_cpu_us": round(used[0] / 1000 / commands, 3),
            "replica_cpu_us": round(used[1] / 1000 / commands, 3), "flow_bytes": int(found.get("master_link_flow_bytes", 0))}


def idle(servers, seconds):
    """Share of a core in percent that each server uses while nothing is asked of it."""
    before = [server_cpu_ns(server.pid)[0] for server in servers]
    began = time.perf_counter()
    time.sleep(seconds)
    spent = time.perf_counter() - began
    return [round((server_cpu_ns(server.pid)[0] - then) / 1e7 / spent, 3) for server, then in zip(servers, before)]
