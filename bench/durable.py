#!/usr/bin/env python3
"""How long does a start take that brings the data back, from a snapshot and from append-only files?

Called by compare.py (`startup`). The server that wrote the files reads them again, pinned to one core; what counts is the time
from starting the process to the first PONG.
"""

import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "client"))  # after bench: some names stand in both
from support import load_pipelined, scratch_root, wait_until  # noqa: E402

VALUE = b"x" * 64


def fill(server, keys):
    """Each key by a command of its own, so that a log without a rewrite holds as many."""
    form = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$64\r\n" + VALUE + b"\r\n"
    load_pipelined(("127.0.0.1", server.port), (form % number for number in range(keys)), 5)


def seconds_to_start(make, keys, kind):
    """Seconds of a start with so many keys; `make(arguments)` gives a server that is not started."""
    directory = tempfile.mkdtemp(prefix="startup-", dir=scratch_root())
    extra = ["--dir", directory]
    if kind == "log":
        extra += ["--appendonly", "yes", "--auto-aof-rewrite-percentage", "0", "--appendfsync", "no"]
    first, second = make(extra), make(extra)
    try:
        with first:
            fill(first, keys)
            with first.client(timeout=600.0) as client:
                if kind == "snapshot":
                    client.must("SAVE")
            first.process.send_signal(signal.SIGKILL)
            wait_until(lambda: not first.alive(), 20, "the end of the server")
        began = time.perf_counter()
        with second:
            seconds = time.perf_counter() - began
            with second.client() as client:
                found = client.call("DBSIZE")
        if found != keys:
            raise RuntimeError(f"{second.name} has {found} keys of {keys} back")
        return seconds
    finally:
        first.stop()
        second.stop()
        shutil.rmtree(directory, ignore_errors=True)
