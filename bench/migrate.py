#!/usr/bin/env python3
"""How long do others wait while one large key moves to another server?

MIGRATE of a string of 512 MB (noise, so that nothing compresses it) and of a stream with a million pending entries, between
two of ours and between ours and redis-server, while a quiet client at each end asks for something every millisecond
(`prober.py`): its slowest answers, beside those of a while before in which nothing moves.

    bench/migrate.py [--slotwise PATH] [--redis PATH] [--shards N] [--ends ss,sr,rs,rr] [--keys string,stream]
                     [--megabytes N] [--pending N]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "tests" / "client"))  # after bench: some names stand in both
from support import default_slotwise, redis, slotwise  # noqa: E402

INTERVAL_US = 1000
STILL_SECONDS = 2
MIGRATE_MS = 300_000


def fill(client, kind, options):
    """Makes the key."""
    if kind == "string":
        chunk = 1 << 20
        for at in range(0, options.megabytes):
            client.must("SETRANGE", "large", at * chunk, os.urandom(chunk))
        return
    batch = 10_000
    for at in range(0, options.pending, batch):
        client.pipeline([("XADD", "large", "*", "field", n) for n in range(at, min(at + batch, options.pending))])
    client.must("XGROUP", "CREATE", "large", "group", 0)
    for at in range(0, options.pending, batch):
        client.must("XREADGROUP", "GROUP", "group", f"consumer{at // batch % 10}", "COUNT", batch, "STREAMS", "large", ">")


class Probers:
    """A quiet client at each of some servers."""

    def __init__(self, servers):
        self.directory = tempfile.TemporaryDirectory()
        self.stop = Path(self.directory.name) / "stop"
        command = [sys.executable, str(HERE / "prober.py")]
        self.running = [
            subprocess.Popen([*command, str(server.port), str(INTERVAL_US), str(self.stop)], stdout=subprocess.PIPE, text=True)
            for server in servers
        ]
        for one in self.running:
            one.stdout.readline()

    def end(self):
        """What each of them has seen."""
        self.stop.touch()
        seen = [json.loads(one.communicate()[0]) for one in self.running]
        self.directory.cleanup()
        return seen


def measure(ends, kind, options):
    start = {
        "s": lambda: slotwise(options.slotwise, shards=options.shards, extra=["--proto-max-bulk-len", "1gb"]),
        "r": lambda: redis(options.redis, extra=["--proto-max-bulk-len", "1gb"]),
    }
    with start[ends[0]]() as source, start[ends[1]]() as target:
        with source.client(timeout=600) as client:
            fill(client, kind, options)
            probers = Probers((source, target))
            time.sleep(STILL_SECONDS)
            still = probers.end()
            probers = Probers((source, target))
            began = time.perf_counter()
            answer = client.call("MIGRATE", "127.0.0.1", target.port, "large", 0, MIGRATE_MS)
            seconds = time.perf_counter() - began
            time.sleep(0.3)  # what is freed afterwards
            moved = probers.end()
        if answer != b"OK":
            sys.exit(f"migrate: {answer!r}")
    for place, before, during in zip(("source", "target"), still, moved):
        print(f"{ends} {kind:6} {place}: slowest {during['max_ms']:8.1f} ms, 99 % {during['p99_ms']:8.1f};"
              f" still {before['max_ms']:6.1f}; it took {seconds:.2f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slotwise", default=default_slotwise())
    parser.add_argument("--redis", default=shutil.which("redis-server"))
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--ends", default="ss,sr,rs,rr")
    parser.add_argument("--keys", default="string,stream")
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--pending", type=int, default=1_000_000)
    options = parser.parse_args()
    for kind in options.keys.split(","):
        for ends in options.ends.split(","):
            measure(ends, kind, options)


if __name__ == "__main__":
    main()
