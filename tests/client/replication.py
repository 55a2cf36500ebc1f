"""Do Slotwise and Redis replicate each other, whichever stands at which end?

    tests/client/replication.py [WORD ...] [--ends s4:r] [--jobs N] [--full] [--slotwise PATH] [--redis PATH] [--list]
    tests/client/replication.py --peer PATH [--peer-options WORDS] --ends s4:v,v:s4 ...

Each test is a function whose name is the sentence it proves; WORDs select those whose name holds one of them. --ends names
what stands at the primary's and at the replica's end: r for redis-server, sN for Slotwise with N shards, v for the server
that --peer names (Valkey, or another Redis, started with --peer-options); a chain is primary, replica, primary. Tests about one end alone (with a peer made by hand at the other) run where Slotwise stands at
that end and redis-server at the other, so that each is run once. With r:r or v:v everything runs, and everything passes: a test that
Redis does not pass against itself is wrong.

The tests: replication_data.py (what is carried), replication_link.py (links that break, chains, promotion, restart),
replication_ops.py (WAIT, FAILOVER, guards, what operators see), replication_wire.py and replication_feed.py (byte by byte,
against a replica and a primary made by hand), replication_flows.py (parallel flows).
"""

import argparse
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import replication_kit as kit


def concerns(one, primary, replica):
    """Whether a test is to run with these ends."""
    if one.end in ("both", "chain") or primary == replica and kit.is_foreign(primary):
        return True
    if one.end == "primary":
        return replica == "r" or primary == replica
    return primary == "r" or primary == replica


def run(one, options, primary, replica):
    """Runs one test with its own nodes: (skipped or None, failure or None, seconds)."""
    bench = kit.Bench(options, primary, replica)
    began = time.monotonic()
    try:
        return one(bench), None, time.monotonic() - began
    except Exception as problem:  # noqa: BLE001 (whatever it is, it is this test's result)
        plain = isinstance(problem, (AssertionError, TimeoutError, RuntimeError))
        where = [frame for frame in traceback.extract_tb(problem.__traceback__) if "replication_" in frame.filename]
        place = f" (line {where[0].lineno})" if where else ""
        detail = f"{type(problem).__name__}: {problem}{place}" if plain else traceback.format_exc()
        return None, f"{detail}\n{bench.logs()}", time.monotonic() - began
    finally:
        bench.close()


def main():
    import replication_data  # noqa: F401, I001 (they register their tests)
    import replication_feed  # noqa: F401
    import replication_flows  # noqa: F401
    import replication_link  # noqa: F401
    import replication_ops  # noqa: F401
    import replication_wire  # noqa: F401
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--ends", default="s4:r", help="primary:replica, several comma-separated")
    parser.add_argument("--jobs", type=int, default=4, help="tests at a time: most of their time is waiting")
    kit.add_peers(parser)
    parser.add_argument("--full", action="store_true", help="also the tests of big sizes and long waits")
    parser.add_argument("--flows", action="store_true", help="every Slotwise node with repl-parallel-flows yes")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    kit.ports_of_environment()
    chosen = [one for one in kit.TESTS if (options.full or not one.full)
              and (not options.words or any(word in one.__name__ for word in options.words))]
    if options.list:
        for one in chosen:
            print(f"{one.end:8} {one.__name__}")
        return 0
    passed, failed, lock = 0, 0, threading.Lock()
    for ends in options.ends.split(","):
        primary, replica = ends.split(":")

        def one_of(one):
            nonlocal passed, failed
            skipped, failure, seconds = run(one, options, primary, replica)
            with lock:
                if failure is None:
                    passed += 1
                    print(f"ok    {ends} {one.__name__} ({seconds:.1f} s){f': skipped, {skipped}' if skipped else ''}", flush=True)
                else:
                    failed += 1
                    print(f"FAIL  {ends} {one.__name__} ({seconds:.1f} s): {failure}", flush=True)

        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(one_of, [one for one in chosen if concerns(one, primary, replica)]))
    print(f"replication {options.ends}: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
