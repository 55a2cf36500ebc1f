"""Question: how long does a quiet client wait at worst, while others load the server?

usage: prober.py PORT INTERVAL_US STOP_PATH

Sends GET on a connection of its own at a fixed pace until STOP_PATH exists, then prints one JSON line. A late answer
also counts for the requests that would have been sent meanwhile (each one interval shorter): without that, one pause
of 100 ms would be a single sample among thousands. It runs under a real-time policy where that is allowed, so that
the loader on the same core is not taken for a pause of the server; `realtime` in the result says whether it was.
"""

import gc
import json
import os
import socket
import sys
import time

SECONDS_MAX = 600


def main():
    port, interval_us, stop_path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    realtime = True
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    except OSError:
        realtime = False
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = b"*2\r\n$3\r\nGET\r\n$11\r\nprober:none\r\n"
    interval = interval_us * 1000
    gc.disable()
    samples = []
    print("ready", flush=True)
    limit = time.monotonic() + SECONDS_MAX
    following = time.perf_counter_ns()
    count = 0
    while count % 64 or not (os.path.exists(stop_path) or time.monotonic() > limit):
        count += 1
        following = max(following + interval, time.perf_counter_ns())
        time.sleep(max(0, following - time.perf_counter_ns()) / 1e9)
        began = time.perf_counter_ns()
        connection.sendall(request)
        reply = connection.recv(64)
        took = time.perf_counter_ns() - began
        if not reply.startswith((b"$-1", b"_")):
            raise SystemExit(f"prober: unexpected reply {reply!r}")
        samples.append(took)
    corrected = []
    for took in samples:
        while took > 0:
            corrected.append(took)
            took -= interval
    corrected.sort()

    def percentile(share):
        return corrected[min(len(corrected) - 1, int(len(corrected) * share))] / 1e6

    print(json.dumps({
        "samples": len(samples), "realtime": realtime, "p50_ms": percentile(0.5), "p99_ms": percentile(0.99),
        "p9999_ms": percentile(0.9999), "max_ms": corrected[-1] / 1e6,
    }))


main()
