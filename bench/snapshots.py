#!/usr/bin/env python3
"""What does a snapshot cost those who are served meanwhile?

BGSAVE of many small keys under a write load of half of what the server can do, server and writer pinned to the same core,
the load to another: throughput during the save beside that before it, the longest answer, extra resident memory, and how long the
save took. The same against redis-server, whose child shares the core. A figure counts beside the other one of the same run only.

    bench/snapshots.py [--slotwise PATH] [--redis PATH] [--keys N] [--rounds N] [--json]
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "client"))  # after bench: some names stand in both
from support import default_slotwise, redis, slotwise  # noqa: E402

VALUE = b"x" * 64
BATCH = 16


def resident(server):
    """Bytes of the server and its children; shared pages of a child count once."""
    pids = [server.pid]
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    if children.exists():
        pids += [int(pid) for pid in children.read_text().split()]
    total = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            pass
    return total


def info(client, name):
    for line in client.must("INFO", "persistence").decode().splitlines():
        if line.startswith(name + ":"):
            return line.split(":", 1)[1]
    return None


class Load:
    """Overwrites of random keys at a given rate."""

    def __init__(self, server, keys):
        self.client = server.client()
        self.keys = keys
        self.seed = 1

    def batch(self):
        commands = []
        for _ in range(BATCH):
            self.seed = (self.seed * 6364136223846793005 + 1442695040888963407) % 2**64
            commands.append(("SET", f"key:{(self.seed >> 33) % self.keys:012d}", VALUE))
        began = time.perf_counter()
        self.client.pipeline(commands)
        return time.perf_counter() - began

    def run(self, rate, until):
        """Writes per second and the longest answer in seconds; `rate` 0 means as fast as it goes."""
        began, done, longest = time.perf_counter(), 0, 0.0
        while not until(time.perf_counter() - began):
            if rate:
                ahead = done / rate - (time.perf_counter() - began)
                if ahead > 0:
                    time.sleep(ahead)
            longest = max(longest, self.batch())
            done += BATCH
        return done / (time.perf_counter() - began), longest


def measure(server, keys):
    with server as running:
        client = running.client(timeout=300)
        for start in range(0, keys, 10000):
            client.pipeline([("SET", f"key:{n:012d}", VALUE) for n in range(start, min(start + 10000, keys))])
        load = Load(running, keys)
        full, _ = load.run(0, lambda spent: spent > 2)
        rate = full / 2
        before, pause_before = load.run(rate, lambda spent: spent > 3)
        memory = resident(running)
        peak, began, next_look = memory, time.perf_counter(), [0.0, False]
        client.must("BGSAVE")

        def over(spent):
            nonlocal peak
            if spent >= next_look[0]:
                next_look[0] = spent + 0.1
                peak = max(peak, resident(running))
                next_look[1] = info(client, "rdb_bgsave_in_progress") == "0"
            return next_look[1]

        during, pause = load.run(rate, over)
        seconds = time.perf_counter() - began
        client.must("BGSAVE")
        full_during, _ = load.run(0, lambda spent: info(client, "rdb_bgsave_in_progress") == "0" if spent > 0.5 else False)
        return {
            "writes_per_second": round(before), "share_during": round(during / before, 3),
            "share_at_full_load": round(full_during / full, 3),
            "pause_before_ms": round(pause_before * 1000, 2), "pause_ms": round(pause * 1000, 2),
            "extra_memory_percent": round(100 * (peak - memory) / memory, 2), "seconds": round(seconds, 2),
        }


def compare(ours, theirs, keys, rounds):
    """Rows of both servers, round by round."""
    rows = {"slotwise": [], "redis": []}
    for _ in range(rounds):
        rows["slotwise"].append(measure(slotwise(ours, 1, cpus={0}), keys))
        if theirs:
            rows["redis"].append(measure(redis(theirs, cpus={0}), keys))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slotwise", default=default_slotwise())
    parser.add_argument("--redis", default=shutil.which("redis-server"))
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if os.cpu_count() > 1:
        os.sched_setaffinity(0, {1})
    rows = compare(options.slotwise, options.redis, options.keys, options.rounds)
    if options.json:
        print(json.dumps(rows))
        return
    for name, results in rows.items():
        for key in results[0] if results else ():
            values = [result[key] for result in results]
            print(f"{name:9} {key:22} {statistics.median(values):>12} {values}")


if __name__ == "__main__":
    main()
