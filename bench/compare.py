"""Question: what does a request, a key and a pause cost in Slotwise, as a ratio to Redis in the same run?

Rules of measuring:
- All servers of a workload are started and preloaded first, then take turns; each round changes who begins.
- One round gives one ratio to Redis; the result is the median of the ratios, with the smallest and the largest.
- The server is pinned to the first CPU of the affinity mask, the load to the second (two_shards: both free to both).
- CPU per request is user+system of all threads of the server, from schedstat, divided by requests.
- A rate or latency row is void when the load's CPU was over 90 % busy; its CPU row stands.
- A ratio in one run counts. An absolute time says something about the machine.

A ratio below 1 is better for CPU, latency, memory and pauses; above 1 is better for requests per second.
"""

import argparse
import binascii
import itertools
import json
import math
import os
import platform
import random
import re
import shlex
import socket
import statistics
import sys
import time
from pathlib import Path

import clusters
import durable
import replication
import snapshots
from measure import (
    BUSY_SHARE_MAX, benchmark, find_errors, probe, run_command, server_cpu_ns, settled_rss_bytes, subscribe, support,
)

KEYS = 1_000_000
VALUE = b"v" * 64
REFERENCE = "redis"
SLOTS = 16384


class Bench:
    """Options, the CPUs to use, and everything measured so far."""

    def __init__(self, options):
        self.options = options
        self.rounds = options.rounds or (3 if options.quick else 5)
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) < 2:
            raise SystemExit("compare.sh: two CPUs are needed, one for the server and one for the load")
        self.server_cpus, self.load_cpus = {cpus[0]}, {cpus[1]}
        self.both_cpus = {cpus[0], cpus[1]}
        self.results = {}
        self.errors = []

    def requests(self, count):
        return max(1000, count // 5) if self.options.quick else count

    def servers(self, cpus=None):
        """The servers that take turns, Redis first, not yet started."""
        cpus = cpus or self.server_cpus
        found = [support.redis(cpus=cpus, extra=["--io-threads", "1"])]
        if not self.options.no_slotwise:
            found.append(support.slotwise(self.options.slotwise, shards=1, cpus=cpus))
        for peer in self.options.peer:
            name, _, command = peer.partition("=")
            if not command:
                raise SystemExit(f"compare.sh: --peer wants NAME=COMMAND, not {peer!r}")
            found.append(support.Server(name, shlex.split(command), cpus=cpus))
        return found

    def record(self, workload, row):
        self.results.setdefault(workload, []).append(row)

    def error(self, text):
        print(f"  ERROR {text}", flush=True)
        self.errors.append(text)


class Started:
    """Starts a list of servers and ends all of them at exit, whatever happens in between."""

    def __init__(self, servers):
        self.servers = servers

    def __enter__(self):
        try:
            for server in self.servers:
                server.start()
        except BaseException:
            self.__exit__()
            raise
        return self.servers

    def __exit__(self, *_):
        for server in self.servers:
            server.stop()


# --- rounds and their ratios -----------------------------------------------------------------------------------------

MEASURES = [("cpu_us", "CPU us/req"), ("rps", "req/s"), ("p50", "p50 ms"), ("p99", "p99 ms"), ("p999", "p99.9 ms")]


def spread(ratios):
    """Median, smallest and largest of the per-round ratios."""
    good = [ratio for ratio in ratios if ratio is not None and math.isfinite(ratio) and ratio > 0]
    if not good:
        return None
    return {"median": statistics.median(good), "min": min(good), "max": max(good), "rounds": len(good)}


def in_turn(bench, workload, title, servers, arguments, requests, reference=None, load_cpus=None, void=True,
            before=None, after=None):
    """Alternating rounds of one redis-benchmark test over all servers; prints and records a row for each.

    `before` and `after` are called with the server around each run; what `after` returns is an error, if anything.
    """
    if bench.options.only and bench.options.only.lower() not in title.lower():
        return
    load_cpus = load_cpus or bench.load_cpus
    reference = reference or servers[0]
    runs = {server.name: [] for server in servers}
    for turn in range(bench.rounds):
        for server in servers if turn % 2 == 0 else reversed(servers):
            if before:
                before(server)
            run = benchmark(server, load_cpus, requests, arguments)
            problem = after(server) if after else None
            for text in run.errors + ([problem] if problem else []):
                bench.error(f"{workload} {title} {server.name}: {text}")
            runs[server.name].append(run)
    for server in servers:
        mine, base = runs[server.name], runs[reference.name]
        busy = statistics.median(run.load_busy for run in mine + base)
        row = {
            "test": title, "server": server.name, "reference": reference.name, "load_busy": round(busy, 3),
            "void": bool(void and busy > BUSY_SHARE_MAX), "requests": requests, "arguments": arguments,
            "wait_us": round(statistics.median(run.wait_us for run in mine), 3),
            "serving_us": round(statistics.median(run.serving_us for run in mine), 4), "errors": sum(len(r.errors) for r in mine),
        }
        for measure, _ in MEASURES:
            row[measure] = round(statistics.median(getattr(run, measure) for run in mine), 4)
            row[measure + "_ratio"] = spread(
                [safe_ratio(getattr(a, measure), getattr(b, measure)) for a, b in zip(mine, base)])
        bench.record(workload, row)
        print_row(row)


def safe_ratio(a, b):
    return a / b if a and b else None


def print_head(title):
    print(f"\n== {title}")
    print(f"{'test':<26} {'server':<11} {'CPU us/req':>10} {'ratio (min-max)':>19} {'req/s':>10} {'ratio (min-max)':>19}"
          f" {'p50':>7} {'p99':>7} {'p99.9':>7} {'p99.9 x':>8} {'load':>5}", flush=True)


def show(ratio):
    return "-" if not ratio else f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"


def print_row(row):
    is_reference = row["server"] == row["reference"]
    tail = row["p999_ratio"]
    rate_ratio = "" if is_reference else "void" if row["void"] else show(row["rps_ratio"])
    tail_ratio = "" if is_reference else "void" if row["void"] or not tail else f"{tail['median']:.2f}"
    print(f"{row['test']:<26} {row['server']:<11} {row['cpu_us']:>10.3f}"
          f" {'' if is_reference else show(row['cpu_us_ratio']):>19} {row['rps']:>10.0f} {rate_ratio:>19}"
          f" {row['p50']:>7.3f} {row['p99']:>7.3f} {row['p999']:>7.3f} {tail_ratio:>8} {row['load_busy']:>5.0%}", flush=True)


def preload(server, keys, value=VALUE, key=b"key:%012d"):
    """Fills a server with keys 0..keys in the form redis-benchmark asks for them."""
    key_size = len(key % 0)
    form = b"*3\r\n$3\r\nSET\r\n$%d\r\n" % key_size + key + b"\r\n$%d\r\n%s\r\n" % (len(value), value)
    support.load_pipelined(("127.0.0.1", server.port), (form % number for number in range(keys)), 5)


def flushall(server):
    with server.client(timeout=120.0) as client:
        client.must("FLUSHALL")


# --- workloads ---------------------------------------------------------------------------------------------------------

def get_set(bench):
    """SET and GET, 64-byte values, a million random keys, four loads."""
    keys = KEYS // 5 if bench.options.quick else KEYS
    with Started(bench.servers()) as servers:
        for server in servers:
            preload(server, keys)
        print_head(f"get_set: 64-byte values, {keys} random keys, server on one core, one shard")
        for clients, depth, requests in [(1, 1, 100_000), (50, 1, 300_000), (50, 16, 1_500_000), (50, 100, 3_000_000)]:
            for test in ("set", "get"):
                arguments = ["-t", test, "-c", str(clients), "-P", str(depth), "-r", str(keys), "-d", "64"]
                in_turn(bench, "get_set", f"{test.upper()} c={clients} P={depth}", servers, arguments,
                        bench.requests(requests))


def mget(bench):
    """MGET and MSET of ten random keys."""
    with Started(bench.servers()) as servers:
        for server in servers:
            preload(server, KEYS // 5)
        print_head("mget: ten random keys in a command, 64-byte values")
        many = ["key:__rand_int__"] * 10
        pairs = [word for key in many for word in (key, VALUE.decode())]
        for depth, requests in [(1, 100_000), (16, 300_000)]:
            load = ["-c", "50", "-P", str(depth), "-r", str(KEYS // 5)]
            in_turn(bench, "mget", f"MGET 10 P={depth}", servers, [*load, "MGET", *many], bench.requests(requests))
            in_turn(bench, "mget", f"MSET 10 P={depth}", servers, [*load, "MSET", *pairs], bench.requests(requests))


def big(bench):
    """Values of 10 KB."""
    with Started(bench.servers()) as servers:
        for server in servers:
            preload(server, 10_000, b"v" * 10_240)
        print_head("big: 10 KB values, 10,000 keys")
        for depth, requests in [(1, 100_000), (16, 200_000)]:
            for test in ("set", "get"):
                arguments = ["-t", test, "-c", "50", "-P", str(depth), "-r", "10000", "-d", "10240"]
                in_turn(bench, "big", f"{test.upper()} 10KB P={depth}", servers, arguments, bench.requests(requests))


def conns5000(bench):
    """5,000 busy connections, and what 10,000 idle ones cost in memory."""
    with Started(bench.servers()) as servers:
        for server in servers:
            preload(server, KEYS // 5)
        print_head("conns5000: 5,000 connections")
        for test in ("set", "get"):
            arguments = ["-t", test, "-c", "5000", "-P", "1", "-r", str(KEYS // 5), "-d", "64"]
            in_turn(bench, "conns5000", f"{test.upper()} c=5000 P=1", servers, arguments, bench.requests(300_000))
    wanted = 2_000 if bench.options.quick else 9_900  # Redis's maxclients is 10,000 by default
    support.raise_file_limit()
    print(f"\nidle connections, each after one PING: resident bytes for each of {wanted}")
    with Started(bench.servers()) as servers:
        for server in servers:
            before = settled_rss_bytes(server.pid)
            clients = []
            try:
                for _ in range(wanted):
                    client = server.client()
                    clients.append(client)
                    if client.call("PING") != b"PONG":
                        bench.error(f"conns5000 idle {server.name}: no PONG on connection {len(clients)}")
                        break
                each = (settled_rss_bytes(server.pid) - before) / len(clients)
            except OSError as problem:
                bench.error(f"conns5000 idle {server.name}: {problem} on connection {len(clients)}")
                continue
            finally:
                for client in clients:
                    client.close()
            bench.record("conns5000", {"test": "idle connection bytes", "server": server.name, "bytes": round(each)})
            print(f"  {server.name:<11} {each:>8.0f}", flush=True)


def memory(bench):
    """Resident bytes for each key of 20 bytes with 64 of value, at five sizes, fresh servers for each."""
    sizes = [200_000, 400_000] if bench.options.quick else [1_000_000, 2_000_000, 3_000_000, 4_000_000, 6_000_000]
    print("\n== memory: resident bytes per key, 20-byte key, 64-byte value")
    print(f"{'keys':>9} {'server':<11} {'empty MB':>9} {'bytes/key':>10} {'ratio':>7}")
    ratios = {}
    for size in sizes:
        per_key = {}
        for server in bench.servers():
            with server:
                empty = settled_rss_bytes(server.pid)
                preload(server, size, key=b"key:%016d")
                per_key[server.name] = (settled_rss_bytes(server.pid) - empty) / size
            ratio = per_key[server.name] / per_key[REFERENCE]
            ratios.setdefault(server.name, []).append(ratio)
            bench.record("memory", {"keys": size, "server": server.name, "empty_bytes": empty,
                                    "bytes_per_key": round(per_key[server.name], 1), "ratio": round(ratio, 3)})
            print(f"{size:>9} {server.name:<11} {empty / 1e6:>9.1f} {per_key[server.name]:>10.1f} {ratio:>7.3f}", flush=True)
    for name, values in ratios.items():
        if name != REFERENCE:
            bench.record("memory", {"server": name, "mean_ratio": round(statistics.mean(values), 3),
                                    "worst_ratio": round(max(values), 3)})
            print(f"{'all':>9} {name:<11} mean ratio {statistics.mean(values):.3f}, worst {max(values):.3f}")
    memory_of_sparse_slots(bench)


def memory_of_sparse_slots(bench):
    """Bytes of a database with one key in each slot, for which a table for each slot pays most."""
    keys = {}
    for number in itertools.count():
        key = b"key:%016d" % number
        keys.setdefault(binascii.crc_hqx(key, 0) % SLOTS, key)
        if len(keys) == SLOTS:
            break
    of_redis = None
    for server in bench.servers():
        with server, server.client(timeout=60.0) as client:
            warm_buffers(client)
            empty = settled_rss_bytes(server.pid)
            for key in keys.values():
                client.must("SET", key, b"v" * 64)
            full = settled_rss_bytes(server.pid)
        of_redis = of_redis or full
        bench.record("memory", {"keys": SLOTS, "one_in_each_slot": True, "server": server.name, "empty_bytes": empty,
                                "bytes": full, "ratio": round(full / of_redis, 3)})
        print(f"one key in each slot: {server.name:<11} {full / 1e6:.1f} MB in all, {full / of_redis:.3f} of Redis's,"
              f" {(full - empty) / SLOTS:.1f} bytes/key")


def warm_buffers(client):
    """Makes a server's own buffers resident: they are no key's memory, and weigh as much as a small list's."""
    for _ in range(300):
        client.must("ECHO", b"e" * 16_000)


def memory_types(bench):
    """Resident bytes for each member of one big set, sorted set, hash and list, fresh servers for each."""
    size = 200_000 if bench.options.quick else 1_000_000
    forms = [("set", "SADD", lambda n: [b"member:%d" % n]), ("sorted set", "ZADD", lambda n: [b"%d" % n, b"member:%d" % n]),
             ("hash", "HSET", lambda n: [b"field:%d" % n, b"value:%d" % n]), ("list", "RPUSH", lambda n: [b"element:%d" % n])]
    print(f"\n== memory_types: resident bytes per member, one key of {size}")
    print(f"{'type':<11} {'server':<11} {'bytes/member':>13} {'ratio':>7}")
    for title, command, words in forms:
        if bench.options.only and bench.options.only.lower() not in title:
            continue
        each = {}
        for server in bench.servers():
            with server, server.client(timeout=60.0) as client:
                warm_buffers(client)
                empty = settled_rss_bytes(server.pid)
                for start in range(0, size, 1000):
                    client.must(command, "key", *(word for n in range(start, start + 1000) for word in words(n)))
                each[server.name] = (settled_rss_bytes(server.pid) - empty) / size
            ratio = each[server.name] / each[REFERENCE]
            bench.record("memory_types", {"type": title, "members": size, "server": server.name,
                                          "bytes_per_member": round(each[server.name], 1), "ratio": round(ratio, 3)})
            print(f"{title:<11} {server.name:<11} {each[server.name]:>13.1f} {ratio:>7.3f}", flush=True)


def grow(bench):
    """The longest pause, seen by a quiet client, while a table grows, and while a big set is deleted.

    `added` is over the idle phase of the same server; `turn` is the server's own longest loop turn in CPU time, if it
    tells it; `queued` is how long the server's threads waited for a CPU: much of it means the machine made the pauses.
    """
    keys = 500_000 if bench.options.quick else 5_000_000
    rounds = 1 if bench.options.quick else min(3, bench.rounds)
    print(f"\n== grow: answer times of a quiet client (one GET each 0.2 ms), growth to {keys} keys, {rounds} round(s)")
    print(f"{'phase':<24} {'server':<11} {'p50 ms':>8} {'p99.99 ms':>10} {'max ms':>9} {'added ms':>9} {'turn ms':>8} {'queued ms':>9}")
    for turn in range(rounds):
        for server in bench.servers():
            with server:
                grow_server(bench, server, keys, turn)
    for name in dict.fromkeys(row["server"] for row in bench.results.get("grow", [])):
        for phase in dict.fromkeys(row["phase"] for row in bench.results["grow"]):
            rows = [r for r in bench.results["grow"] if r["server"] == name and r.get("phase") == phase]
            if rounds > 1 and rows:
                print(f"{phase + ' (median)':<24} {name:<11} {statistics.median(r['p50_ms'] for r in rows):>8.3f}"
                      f" {statistics.median(r['p9999_ms'] for r in rows):>10.3f}"
                      f" {statistics.median(r['max_ms'] for r in rows):>9.3f}"
                      f" {statistics.median(r['added_ms'] for r in rows):>9.3f}")


def grow_server(bench, server, keys, turn):
    """All phases on one fresh server. `steady` is the same load with nothing left to grow: the baseline of growth."""

    def while_probed(phase, work, baseline=None):
        stop_path = os.path.join(server.dir, f"stop-{phase}")
        with server.client() as client:
            client.call("CONFIG", "RESETSTAT")
        _, wait_before = server_cpu_ns(server.pid)
        process = probe(server, bench.load_cpus, 200, stop_path)
        try:
            work()
        finally:
            Path(stop_path).touch()
            try:
                output, _ = process.communicate(timeout=120)
            except BaseException:
                process.kill()
                process.wait()
                raise
        if process.returncode != 0:
            bench.error(f"grow {phase} {server.name}: the prober failed")
            return None
        row = json.loads(output)
        _, wait_after = server_cpu_ns(server.pid)
        row.update(phase=phase, server=server.name, round=turn, longest_turn_ms=longest_turn_ms(server),
                   wait_ms=round((wait_after - wait_before) / 1e6, 3))
        row["added_ms"] = round(row["max_ms"] - baseline["max_ms"], 3) if baseline else 0.0
        turn_text = "-" if row["longest_turn_ms"] is None else f"{row['longest_turn_ms']:.3f}"
        bench.record("grow", row)
        print(f"{phase:<24} {server.name:<11} {row['p50_ms']:>8.3f} {row['p9999_ms']:>10.3f} {row['max_ms']:>9.3f}"
              f" {row['added_ms']:>9.3f} {turn_text:>8} {row['wait_ms']:>9.1f}", flush=True)
        return row

    def load():
        # Small batches: the loader's own batch must not be the pause that the prober sees.
        form = b"*3\r\n$3\r\nSET\r\n$20\r\nkey:%016d\r\n$64\r\n" + VALUE + b"\r\n"
        support.load_pipelined(("127.0.0.1", server.port), (form % n for n in range(keys)), 5, batch=50)

    def delete(command):
        def work():
            time.sleep(0.5)
            with server.client(timeout=120.0) as client:
                client.must(command, "big:set")
            time.sleep(2.0)
        return work

    idle = while_probed("idle", lambda: time.sleep(2.0))
    while_probed("growing", load, idle)
    steady = while_probed("steady", load, idle)
    if steady:
        rows = bench.results["grow"]
        growing = [r for r in rows if r["server"] == server.name and r["round"] == turn and r["phase"] == "growing"][-1]
        growing["added_over_steady_ms"] = round(growing["max_ms"] - steady["max_ms"], 3)
        print(f"{'':<24} {server.name:<11} growth added {growing['added_over_steady_ms']:.3f} ms to the same load"
              " without growth", flush=True)
    for command in ("DEL", "UNLINK"):
        flushall(server)
        fill_set(server, keys)
        settled_rss_bytes(server.pid)
        while_probed(f"{command} of {keys} members", delete(command), idle)


def fill_set(server, members, batch=500):
    with server.client(timeout=120.0) as client:
        for begin in range(0, members, batch * 20):
            client.pipeline([("SADD", "big:set", *(b"member:%d" % n for n in range(start, min(start + batch, members))))
                             for start in range(begin, min(begin + batch * 20, members), batch)])


def longest_turn_ms(server):
    """The longest loop turn in thread CPU time, if the server tells it in INFO shards (a field turn_cpu_max_us)."""
    with server.client() as client:
        text = client.call("INFO", "shards")
    found = re.findall(rb"turn_cpu_max_us[:=](\d+)", text) if isinstance(text, bytes) else []
    return max(int(number) for number in found) / 1000 if found else None


def two_shards(bench):
    """Two shards on two cores against one shard, and against Redis with two I/O threads; both cores free to both."""
    servers = [support.redis(cpus=bench.both_cpus, name="redis-io2",
                             extra=["--io-threads", "2", "--io-threads-do-reads", "yes"])]
    if not bench.options.no_slotwise:
        servers += [support.slotwise(bench.options.slotwise, shards=1, cpus=bench.both_cpus, name="one-shard"),
                    support.slotwise(bench.options.slotwise, shards=2, cpus=bench.both_cpus, name="two-shards")]
    keys = KEYS // 5 if bench.options.quick else KEYS
    with Started(servers) as servers:
        for server in servers:
            preload(server, keys)
        print_head("two_shards: both cores free to server and load; ratio to redis-io2")
        tests = [(f"{test.upper()} c={clients} P={depth}", ["-t", test], clients, depth, requests)
                 for clients, depth, requests in [(200, 1, 300_000), (50, 16, 1_500_000), (50, 100, 3_000_000)]
                 for test in ("get", "set")]
        # What takes all shards at once.
        script = ["EVAL", "return redis.call('incr', KEYS[1])", "1", "count:__rand_int__"]
        tests += [("EVAL c=50 P=16", script, 50, 16, 300_000), ("MSET of 10 c=50 P=16", ["-t", "mset"], 50, 16, 300_000)]
        for title, what, clients, depth, requests in tests:
            arguments = ["-c", str(clients), "-P", str(depth), "-r", str(keys), "-d", "64", "--threads", "2", *what]
            in_turn(bench, "two_shards", title, servers, arguments, bench.requests(requests),
                    load_cpus=bench.both_cpus, void=False)
            rows = {r["server"]: r for r in bench.results["two_shards"] if r.get("test") == title}
            if "one-shard" in rows:
                own = rows["two-shards"]["cpu_us"] / rows["one-shard"]["cpu_us"]
                bench.record("two_shards", {"test": title + " two/one", "cpu_us_ratio": round(own, 3)})
                print(f"{title:<26} two shards cost {own:.2f} times one shard's CPU per request", flush=True)


def fill_big(client, members=100_000, batch=1_000):
    """The big keys of `types`, so that any of its tests can run alone. Points lie 100 degrees by 10 far apart."""
    draw = random.Random(7)
    for start in range(0, members, batch):
        some = [b"%012d" % n for n in range(start, start + batch)]
        drawn = [b"%d" % draw.randrange(members) for _ in range(2 * batch)]
        pairs = list(zip(some, drawn, drawn[batch:]))
        client.must("HSET", "hash", *(word for n in some for word in (b"field:" + n, b"value")))
        client.must("SADD", "set", *(b"member:" + n for n in some))
        client.must("ZADD", "zset", *(word for n, score, _ in pairs for word in (score, b"member:" + n)))
        client.must("GEOADD", "geo", *(word for n, x, y in pairs for word in (x + b"e-3", y + b"e-4", b"member:" + n)))
        client.must("PFADD", "hll", *some)
        client.pipeline([("XADD", "stream", "*", "field", "value")] * batch)


def types(bench):
    """One or two commands of each type over 100,000 random keys."""
    key = "__rand_int__"
    tests = [
        ("INCR", ["INCR", f"count:{key}"]), ("APPEND", ["SETRANGE", f"text:{key}", "3", "abc"]),
        ("EXPIRE", ["EXPIRE", f"count:{key}", "100"]), ("HSET", ["HSET", f"hash:{key}", "field", "value"]),
        ("HGET", ["HGET", f"hash:{key}", "field"]), ("HSET one big", ["HSET", "hash", f"field:{key}", "value"]),
        ("HGET one big", ["HGET", "hash", f"field:{key}"]),
        ("LPUSH", ["LPUSH", f"list:{key}", "element"]), ("LRANGE 0 9", ["LRANGE", f"list:{key}", "0", "9"]),
        ("RPOP", ["RPOP", f"list:{key}"]), ("SADD", ["SADD", f"set:{key}", "member"]),
        ("SADD one big", ["SADD", "set", f"member:{key}"]), ("SISMEMBER one big", ["SISMEMBER", "set", f"member:{key}"]),
        ("ZADD", ["ZADD", f"zset:{key}", "1.5", "member"]), ("ZADD one big", ["ZADD", "zset", key, f"member:{key}"]),
        ("ZSCORE one big", ["ZSCORE", "zset", f"member:{key}"]), ("ZRANK one big", ["ZRANK", "zset", f"member:{key}"]),
        ("ZRANGE 0 9 one big", ["ZRANGE", "zset", "0", "9"]),
        ("ZRANGEBYSCORE one big", ["ZRANGEBYSCORE", "zset", key, "+inf", "LIMIT", "0", "10"]), ("DEL", ["DEL", f"set:{key}"]),
        ("SETBIT", ["SETBIT", f"bits:{key}", "100", "1"]), ("BITCOUNT of 4 KB", ["BITCOUNT", "bits"]),
        ("PFADD one big", ["PFADD", "hll", f"element:{key}"]), ("PFADD", ["PFADD", f"hll:{key}", "element"]),
        ("PFCOUNT one big", ["PFCOUNT", "hll"]),
        ("GEOADD one big", ["GEOADD", "geo", f"{key}e-3", f"{key}e-4", f"member:{key}"]),
        ("GEOSEARCH 10 of 65", ["GEOSEARCH", "geo", "FROMLONLAT", f"{key}e-3", f"{key}e-4", "BYRADIUS", "50", "km", "COUNT", "10"]),
        ("SORT 10", ["SORT", "sorted", "LIMIT", "0", "10"]),
        ("XADD", ["XADD", f"stream:{key}", "*", "field", "value"]), ("XADD one big", ["XADD", "stream", "*", "field", "value"]),
        ("XADD MAXLEN ~", ["XADD", "trimmed", "MAXLEN", "~", "10000", "*", "field", "value"]),
        ("XRANGE 10 of many", ["XRANGE", "stream", "-", "+", "COUNT", "10"]),
        ("EVAL return 1", ["EVAL", "return 1", "0"]),
        ("EVAL of one GET", ["EVAL", "return redis.call('GET', KEYS[1])", "1", f"key:{key}"]),
    ]
    with Started(bench.servers()) as servers:
        for server in servers:
            preload(server, 10_000)
            with server.client() as client:
                client.must("SET", "bits", bytes(range(256)) * 16)
                client.must("RPUSH", "sorted", *(str(n * 7919 % 100) for n in range(100)))
                fill_big(client)
        print_head("types: P=16, c=50, 100,000 random keys or members")
        for title, command in tests:
            in_turn(bench, "types", title, servers, ["-c", "50", "-P", "16", "-r", "100000", *command],
                    bench.requests(500_000))


def groups(bench):
    """Reads of a consumer group over a long stream, with and without a list of what is pending."""
    entries = bench.requests(500_000)

    def again(server):
        """Puts a new group at the start of the stream: each round delivers the whole of it."""
        with server.client(timeout=60.0) as client:
            client.call("XGROUP", "DESTROY", "stream", "group")
            client.must("XGROUP", "CREATE", "stream", "group", "0")

    with Started(bench.servers()) as servers:
        for server in servers:
            with server.client(timeout=60.0) as client:
                for start in range(0, entries, 1000):
                    client.pipeline([("XADD", "stream", f"{n + 1}-0", "field", "value") for n in range(start, start + 1000)])
        print_head(f"groups: c=50, a stream of {entries} entries, read to its end in each round")
        read = ["XREADGROUP", "GROUP", "group", "consumer", "COUNT"]
        for title, command, reads in [
            ("XREADGROUP COUNT 1", [*read, "1", "STREAMS", "stream", ">"], entries),
            ("XREADGROUP COUNT 10", [*read, "10", "STREAMS", "stream", ">"], entries // 10),
            ("XREADGROUP 1 NOACK", [*read, "1", "NOACK", "STREAMS", "stream", ">"], entries),
        ]:
            in_turn(bench, "groups", title, servers, ["-c", "50", "-P", "16", *command], reads, before=again)


def publish(bench):
    """PUBLISH to 1, 100 and 10,000 subscribers of one channel, who read all of it."""
    support.raise_file_limit()
    payload = "v" * 16
    # Multiples of all clients' pipelines: of any other number redis-benchmark sends a few more.
    counts = [(1, 200_000), (100, 8_000), (10_000, 320)]
    if bench.options.quick:
        counts = [(1, 40_000), (100, 4_000), (10_000, 160)]
    print_head(f"publish: c=10 P=16, {len(payload)} bytes to each subscriber of one channel; CPU is for one PUBLISH")
    for subscribers, requests in counts:
        servers = bench.servers()
        for server in servers:
            server.command += ["--maxclients", "20000"]
        with Started(servers):
            listeners = {}
            try:
                for server in servers:
                    listeners[server.name] = subscribe(server, bench.load_cpus, subscribers, "channel")
                in_turn(bench, "publish", f"PUBLISH to {subscribers}", servers,
                        ["-c", "10", "-P", "16", "PUBLISH", "channel", payload], requests,
                        after=lambda server: hear(listeners[server.name], requests, subscribers, payload))
            finally:
                for listener in listeners.values():
                    listener.stdin.close()
                    listener.wait(60)


def hear(listener, requests, subscribers, payload):
    """Asks a process of subscribers for all that has been published: what is wrong with it, if anything."""
    message = b"*3\r\n$7\r\nmessage\r\n$7\r\nchannel\r\n$%d\r\n%s\r\n" % (len(payload), payload.encode())
    wanted = requests * subscribers * len(message)
    listener.stdin.write(b"%d\n" % wanted)
    listener.stdin.flush()
    heard = int(listener.stdout.readline())
    return None if heard == wanted else f"{heard} bytes of messages instead of {wanted}"


def bgsave(bench):
    """BGSAVE of many small keys under half of the load that a server can take: pauses, throughput, memory, time."""
    keys = 500_000 if bench.options.quick else 5_000_000
    print_head(f"bgsave: {keys} keys of 64 bytes, one client that overwrites")
    for _ in range(bench.rounds):
        for server in bench.servers():
            bench.record("bgsave", {"server": server.name, **snapshots.measure(server, keys)})
    for row in bench.results["bgsave"]:
        print("  " + "  ".join(f"{name} {value}" for name, value in row.items()))


def aof(bench):
    """Append-only files: everysec beside none for each server, and always against Redis's, c=50 and c=200."""
    keys = KEYS // 10
    kinds = {"none": [], "everysec": ["--appendonly", "yes"],
             "always": ["--appendonly", "yes", "--appendfsync", "always"]}

    def of(kind):
        found = [support.redis(cpus=bench.server_cpus, name=f"redis-{kind}", extra=kinds[kind])]
        if not bench.options.no_slotwise:
            found.append(support.slotwise(bench.options.slotwise, shards=1, cpus=bench.server_cpus, name=f"slotwise-{kind}",
                                          extra=kinds[kind]))
        return found

    with Started(of("none") + of("everysec")) as servers:
        for server in servers:
            preload(server, keys)
        print_head(f"aof: 64-byte values, {keys} random keys, appendfsync everysec beside no log")
        arguments = ["-t", "set", "-c", "50", "-P", "16", "-r", str(keys), "-d", "64"]
        in_turn(bench, "aof", "SET c=50 P=16", servers, arguments, bench.requests(1_500_000), void=False)
        rates = {row["server"]: row["rps"] for row in bench.results.get("aof", []) if row.get("test") == "SET c=50 P=16"}
        for name in ("redis", "slotwise"):
            if rates.get(f"{name}-none"):
                share = rates[f"{name}-everysec"] / rates[f"{name}-none"]
                bench.record("aof", {"test": "everysec/none", "server": name, "rps_share": round(share, 3)})
                print(f"{name}: {share:.2f} of its throughput without a log", flush=True)
    with Started(of("always")) as servers:
        print_head("aof: appendfsync always")
        for clients in (50, 200):
            arguments = ["-t", "set", "-c", str(clients), "-r", str(keys), "-d", "64"]
            in_turn(bench, "aof", f"SET always c={clients}", servers, arguments, bench.requests(60_000), void=False)


def startup(bench):
    """Seconds to start with so many keys, from a snapshot and from append-only files, on one core."""
    keys = 500_000 if bench.options.quick else 5_000_000
    print_head(f"startup: {keys} keys of 64 bytes, one core, one shard")
    makers = {"redis": lambda extra: support.redis(cpus=bench.server_cpus, extra=extra)}
    if not bench.options.no_slotwise:
        makers["slotwise"] = lambda extra: support.slotwise(
            bench.options.slotwise, shards=1, cpus=bench.server_cpus, extra=extra)
    for kind in ("snapshot", "log"):
        times = {name: [] for name in makers}
        for turn in range(bench.rounds):
            for name in makers if turn % 2 == 0 else reversed(makers):
                times[name].append(durable.seconds_to_start(makers[name], keys, kind))
        for name, found in times.items():
            ratio = spread([safe_ratio(a, b) for a, b in zip(found, times["redis"])])
            seconds = statistics.median(found)
            bench.record("startup", {"test": kind, "server": name, "seconds": round(seconds, 3), "ratio": ratio})
            print(f"{kind:<26} {name:<11} {seconds:8.3f} s  {'' if name == 'redis' else show(ratio)}", flush=True)


def ends(bench):
    """The servers whose replication is measured: name to a function that makes one with further arguments."""
    found = {"redis": lambda *extra, cpus=None, name="redis": support.redis(
        cpus=cpus or bench.server_cpus, name=name, extra=[*replication.SYNC_NOW, *extra])}
    if not bench.options.no_slotwise:
        found["slotwise"] = lambda *extra, cpus=None, name="slotwise": support.slotwise(
            bench.options.slotwise, shards=1, cpus=cpus or bench.server_cpus, name=name, extra=[*replication.SYNC_NOW, *extra])
    return found


def replica(bench):
    """SET at c=50 P=16 with one replica beside none. The replica is a sink on the load's CPU, and then redis-server there, whose
    work takes from the load's: only the first says something of throughput where there are two CPUs."""
    keys = KEYS // 10
    makers = ends(bench)
    kinds = ("alone", "sink", "replica")
    primaries = {f"{name}-{kind}": make(name=f"{name}-{kind}") for name, make in makers.items() for kind in kinds}
    followers = {f"{name}-replica": support.redis(cpus=bench.load_cpus, name=f"of-{name}") for name in makers}
    sinks = {}
    with Started([*primaries.values(), *followers.values()]):
        for name, server in primaries.items():
            preload(server, keys)
            if name in followers:
                replication.attach(followers[name], server)
            elif name.endswith("-sink"):
                sinks[name] = replication.Sink(server, bench.load_cpus)
        print_head(f"replica: 64-byte values, {keys} random keys, one replica beside none")

        def after(server):
            if server.name in followers:
                replication.catch_up(server, followers[server.name])
            elif server.name in sinks:
                sinks[server.name].catch_up(server)

        arguments = ["-t", "set", "-c", "50", "-P", "16", "-r", str(keys), "-d", "64"]
        in_turn(bench, "replica", "SET c=50 P=16", list(primaries.values()), arguments, bench.requests(1_500_000), void=False, after=after)
        for sink in sinks.values():
            sink.close()
    rows = {row["server"]: row for row in bench.results.get("replica", [])}
    for name in makers:
        for kind in kinds[1:]:
            if f"{name}-{kind}" not in rows:
                continue
            alone, fed = rows[f"{name}-alone"], rows[f"{name}-{kind}"]
            rps, cpu = fed["rps"] / alone["rps"], fed["cpu_us"] / alone["cpu_us"]
            serving = fed["serving_us"] / alone["serving_us"]
            bench.record("replica", {"test": f"{kind}/alone", "server": name, "rps_share": round(rps, 3), "cpu_ratio": round(cpu, 3),
                                     "serving_ratio": round(serving, 3)})
            print(f"{name}, {kind}: {rps:.2f} of its throughput without a replica, {cpu:.2f} of its CPU per request, {serving:.2f} of the "
                  f"threads that run commands ({alone['serving_us']:.3f} and {fed['serving_us']:.3f} us)", flush=True)


def sync(bench):
    """A full sync of many small keys under half of the write load that a server can take, to redis-server and to a sink."""
    keys = 300_000 if bench.options.quick else 5_000_000
    rounds = 1 if bench.options.quick else min(3, bench.rounds)
    print(f"\n== sync: {keys} keys of 64 bytes, one client that overwrites, one that probes each 0.5 ms; the sink (bench/sink.py)"
          " takes no time from the latter")
    for turn in range(rounds):
        makers = ends(bench)
        for name in makers if turn % 2 == 0 else reversed(makers):
            for to in ("sink", "redis"):
                row = {"server": name, "to": to, **sync_to(bench, makers[name], to, keys)}
                bench.record("sync", row)
                print("  " + "  ".join(f"{key} {value}" for key, value in row.items()), flush=True)


def sync_to(bench, make, to, keys):
    """One full sync to a replica of this kind."""
    with make() as primary:
        preload(primary, keys)
        if to == "sink":
            with replication.IdleSink(bench.load_cpus) as sink:
                return replication.sync(primary, sink.follow, keys, bench.load_cpus)
        with support.redis(cpus=bench.load_cpus, name="follower") as follower:
            return replication.sync(primary, lambda _: replication.attach(follower, primary), keys, bench.load_cpus)


def apply(bench):
    """How quickly a replica applies a stream of SETs that a primary made by hand sends as fast as it goes."""
    commands = bench.requests(3_000_000)
    print(f"\n== apply: {commands} SETs of 64 bytes over {KEYS // 10} keys")
    found = {}
    for turn in range(bench.rounds):
        makers = ends(bench)
        for name in makers if turn % 2 == 0 else reversed(makers):
            with makers[name]() as server:
                row = {"server": name, **replication.applying(server, commands, KEYS // 10)}
            found.setdefault(name, []).append(row)
            bench.record("apply", row)
    for name, rows in found.items():
        for measure in ("commands_per_second", "cpu_us"):
            ratio = spread([safe_ratio(a[measure], b[measure]) for a, b in zip(rows, found["redis"])])
            print(f"{measure:<26} {name:<11} {statistics.median(row[measure] for row in rows):>12}"
                  f"  {'' if name == 'redis' else show(ratio)}", flush=True)


def flows(bench):
    """How quickly a replica of two shards takes in what one of two shards has written, by one stream and by parallel flows."""
    commands = bench.requests(2_000_000)
    print(f"\n== flows: {commands} SETs of 64 bytes over {KEYS // 10} keys, all cores free to both ends")
    found = {"no": [], "yes": []}
    for turn in range(bench.rounds):
        for word in ("no", "yes") if turn % 2 == 0 else ("yes", "no"):
            extra = [*replication.SYNC_NOW, "--repl-parallel-flows", word, "--client-output-buffer-limit", "replica 0 0 0"]
            servers = [support.slotwise(bench.options.slotwise, shards=2, cpus=bench.both_cpus, name=name, extra=extra)
                       for name in ("primary", "replica")]
            with Started(servers) as (primary, follower):
                row = {"flows": word, **replication.catching_up(primary, follower, commands, KEYS // 10)}
            found[word].append(row)
            bench.record("flows", row)
    for measure in ("commands_per_second", "primary_cpu_us", "replica_cpu_us"):
        ratio = spread([safe_ratio(a[measure], b[measure]) for a, b in zip(found["yes"], found["no"])])
        medians = [statistics.median(row[measure] for row in found[word]) for word in ("no", "yes")]
        print(f"{measure:<26} one stream {medians[0]:>10}  flows {medians[1]:>10}  {show(ratio)}", flush=True)


def idle_link(bench):
    """CPU of a link over which nothing is sent but pings and acknowledgements, in percent of a core."""
    seconds = 5 if bench.options.quick else 30
    print(f"\n== idle_link: percent of a core over {seconds} s")
    for name, make in ends(bench).items():
        alone, primary, follower = make(), make(name=f"{name}-primary"), make(name=f"{name}-replica")
        with Started([alone, primary, follower]) as servers:
            replication.attach(follower, primary)
            time.sleep(2)
            for server, share in zip(servers, replication.idle(servers, seconds)):
                bench.record("idle_link", {"server": server.name, "cpu_percent": share})
                print(f"{server.name:<26} {share:8.3f} %", flush=True)


def cluster_nodes(bench, name, cpus=None):
    """Makes nodes of one kind, `redis` or `slotwise`, for clusters."""
    cpus = cpus or bench.server_cpus
    if name == "redis":
        return lambda extra=clusters.CLUSTER, title=name: clusters.node(lambda: support.redis(cpus=cpus, extra=extra, name=title))
    return lambda extra=clusters.CLUSTER, title=name: clusters.node(
        lambda: support.slotwise(bench.options.slotwise, shards=1, cpus=cpus, extra=extra, name=title))


def cluster_kinds(bench):
    return ["redis"] if bench.options.no_slotwise else ["redis", "slotwise"]


def cluster_on(bench):
    """Cluster mode on, one node with all slots, beside the same server without it."""
    keys = KEYS // 10
    for name in cluster_kinds(bench):
        make = cluster_nodes(bench, name)
        with Started([make([], f"{name}-off"), clusters.Cluster(f"{name}-on", [make()])]) as servers:
            for server in servers:
                preload(server, keys)
            print_head(f"cluster_on: {name}, 64-byte values, {keys} random keys, all slots on one node; ratio to cluster mode off")
            for depth, requests in [(1, 300_000), (16, 1_500_000), (100, 3_000_000)]:
                for test in ("get", "set"):
                    arguments = ["-t", test, "-c", "50", "-P", str(depth), "-r", str(keys), "-d", "64"]
                    in_turn(bench, "cluster_on", f"{test.upper()} c=50 P={depth}", servers, arguments, bench.requests(requests))


def cluster3(bench):
    """redis-benchmark --cluster against three nodes on one core: CPU of all three for a request."""
    keys = KEYS // 10
    made = []
    for name in cluster_kinds(bench):
        make = cluster_nodes(bench, name)
        made.append(clusters.Cluster(name, [make() for _ in range(3)]))
    with Started(made) as servers:
        print_head(f"cluster3: three nodes, 64-byte values, {keys} random keys")
        for depth, requests in [(1, 300_000), (16, 1_500_000)]:
            for test in ("set", "get"):
                arguments = ["--cluster", "-t", test, "-c", "48", "-P", str(depth), "-r", str(keys), "-d", "64"]
                in_turn(bench, "cluster3", f"{test.upper()} c=48 P={depth}", servers, arguments, bench.requests(requests))


def reshard(bench):
    """Moving 1,000 slots with a million small keys by redis-cli, and what another client notices of it."""
    keys, slots = (50_000, 200) if bench.options.quick else (KEYS, 1000)
    rounds = 1 if bench.options.quick else min(3, bench.rounds)
    print(f"\n== reshard: {slots} slots with {keys} small keys between two nodes, {rounds} round(s)")
    found = {}
    kinds = cluster_kinds(bench)
    for turn in range(rounds):
        for name in kinds if turn % 2 == 0 else reversed(kinds):
            make = cluster_nodes(bench, name)
            cluster = clusters.Cluster(name, [make(), make()])
            try:
                row = {"server": name, **clusters.reshard(cluster.start(owners=1), keys, slots, bench.load_cpus)}
            finally:
                cluster.stop()
            found.setdefault(name, []).append(row)
            bench.record("reshard", row)
            print("  " + "  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    for name, rows in found.items():
        ratio = spread([safe_ratio(a["seconds"], b["seconds"]) for a, b in zip(rows, found["redis"])])
        print(f"seconds {name:<11} {statistics.median(row['seconds'] for row in rows):>8.2f}"
              f"  {'' if name == 'redis' else show(ratio)}", flush=True)


DEFAULT_TESTS = ["ping_inline", "ping_mbulk", "set", "get", "incr", "lpush", "rpush", "lpop", "rpop", "sadd", "hset",
                 "spop", "zadd", "zpopmin"]


def default_list(bench):
    """redis-benchmark's default list: each test alone with its CPU, then the whole list in five variants for errors."""
    with Started(bench.servers()) as servers:
        print_head("default_list: each test of redis-benchmark's default list, c=50 P=1, 3-byte values")
        for test in DEFAULT_TESTS:
            in_turn(bench, "default_list", test.upper(), servers, ["-t", test], bench.requests(100_000))
        for server in servers:
            with server.client() as client:
                client.must("DEL", "mylist")
                client.must("RPUSH", "mylist", *(["xxx"] * 1000))
        for length in (100, 300, 500, 600):
            in_turn(bench, "default_list", f"LRANGE_{length}", servers,
                    ["LRANGE", "mylist", "0", str(length - 1)], bench.requests(50_000))
        in_turn(bench, "default_list", "MSET 10", servers, ["-t", "mset"], bench.requests(100_000))
        variants = [
            ("as it is", [], False), ("-P 16 -r 100000 --threads 2", ["-P", "16", "-r", "100000", "--threads", "2"], False),
            ("-d 10240", ["-d", "10240"], False), ("-3", ["-3"], False), ("unix socket", [], True),
        ]
        print(f"\n{'whole list':<30} {'server':<11} {'tests':>5} {'errors':>6} {'mean rps ratio':>15}")
        for title, arguments, unix in variants:
            base = {}
            for server in servers:
                flushall(server)
                rates, problems = whole_list(bench, server, arguments, unix)
                base = base or rates
                shared = [rates[test] / base[test] for test in rates if base.get(test)]
                ratio = math.exp(statistics.fmean(math.log(r) for r in shared)) if shared else 0.0
                bench.record("default_list", {"variant": title, "server": server.name, "tests": len(rates),
                                              "errors": problems, "rps": rates, "mean_rps_ratio": round(ratio, 3)})
                print(f"{title:<30} {server.name:<11} {len(rates):>5} {len(problems):>6} {ratio:>15.2f}", flush=True)
                for text in problems:
                    bench.error(f"default_list {title} {server.name}: {text}")


DEFAULT_LIST_LENGTH = 20


def whole_list(bench, server, arguments, unix):
    """One run of the whole list: ({test: requests per second}, what went wrong)."""
    where = ["-s", server.socket_path] if unix else ["-p", str(server.port)]
    count = bench.requests(20_000 if "10240" in arguments else 100_000)
    command = ["redis-benchmark", *where, "-n", str(count), "--csv", *arguments]
    status, text, _, _ = run_command(command, bench.load_cpus)
    rates = {name: float(rate) for name, rate in re.findall(r'"([A-Z][^"]*)","([0-9.]+)"', text)}
    problems = find_errors(status, text)
    if len(rates) != DEFAULT_LIST_LENGTH and not problems:
        problems.append(f"{len(rates)} results instead of {DEFAULT_LIST_LENGTH}")
    return rates, problems


WORKLOADS = {function.__name__: function for function in
             (get_set, mget, types, groups, publish, big, conns5000, default_list, two_shards, memory, memory_types, grow,
              bgsave, aof, startup, replica, sync, apply, flows, idle_link, cluster_on, cluster3, reshard)}


# --- the program -------------------------------------------------------------------------------------------------------

def parse_options():
    listing = "\n".join(f"  {name:<14} {function.__doc__.splitlines()[0]}" for name, function in WORKLOADS.items())
    parser = argparse.ArgumentParser(
        prog="bench/compare.sh", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__, epilog=f"workloads:\n{listing}")
    parser.add_argument("workloads", nargs="*", metavar="workload", help="which to run; none means all")
    parser.add_argument("--quick", action="store_true", help="a fifth of the requests and three rounds")
    parser.add_argument("--rounds", type=int, help="alternating rounds (5, or 3 with --quick)")
    parser.add_argument("--only", metavar="TEXT", help="only tests (and types of memory_types) whose title holds this text")
    parser.add_argument("--slotwise", default=str(support.ROOT / "target" / "release" / "slotwise"), metavar="PATH",
                        help="the binary to measure (target/release/slotwise)")
    parser.add_argument("--no-slotwise", action="store_true", help="only Redis and the peers")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND",
                        help="another server; {port}, {socket} and {dir} in its command are filled in")
    parser.add_argument("--out", metavar="FILE", help="where the JSON goes (target/bench/<time>.json)")
    options = parser.parse_args()
    unknown = [name for name in options.workloads if name not in WORKLOADS]
    if unknown:
        parser.error(f"unknown workload {unknown[0]}; there are: {' '.join(WORKLOADS)}")
    if not options.no_slotwise and not os.path.exists(options.slotwise):
        parser.error(f"{options.slotwise} does not exist: cargo build --release, or name it with --slotwise")
    return options


def cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def machine():
    _, version, _, _ = run_command(["redis-server", "--version"], os.sched_getaffinity(0), 10)
    return {"cpu": cpu_model(), "cpus": len(os.sched_getaffinity(0)), "kernel": platform.release(),
            "redis": version.strip().split(" sha=")[0], "load_average": os.getloadavg()[0]}


def main():
    sys.stdout.reconfigure(line_buffering=True)
    bench = Bench(parse_options())
    about = machine()
    print(f"machine: {about['cpu']}, {about['cpus']} CPUs, Linux {about['kernel']}; {about['redis']};"
          f" rounds: {bench.rounds}; load average at start {about['load_average']:.2f}")
    began = time.time()
    names = bench.options.workloads or list(WORKLOADS)
    out = Path(bench.options.out or support.ROOT / "target" / "bench" / time.strftime("%Y%m%d-%H%M%S.json"))
    out.parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            WORKLOADS[name](bench)
        except (OSError, RuntimeError, socket.timeout) as problem:
            bench.error(f"{name}: {problem}")
        out.write_text(json.dumps({"machine": about, "rounds": bench.rounds, "quick": bench.options.quick,
                                   "seconds": round(time.time() - began), "errors": bench.errors,
                                   "results": bench.results}, indent=1))
    print(f"\n{len(bench.errors)} errors; {time.time() - began:.0f} s; results in {os.path.relpath(out)}")
    return 1 if bench.errors else 0


if __name__ == "__main__":
    sys.exit(main())
